//! What an operation is doing, told to whoever draws it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A part of an operation. Stages that do not depend on each other run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Logging in and finding out what the endpoint is.
    Connect,
    /// Reading the image's head and map, without moving its data.
    Image,
    /// Checking everything that can be checked before anything is touched.
    Plan,
    /// Looking through the image for what has to be sent.
    Scan,
    /// Creating the root disk and filling it.
    RootDisk,
    /// Reading the root disk back and comparing it with the image.
    RootDiskCheck,
    /// Working on a disk's partitions and files in dom0.
    DiskSetup,
    /// Building the config drive and importing it.
    ConfigDrive,
    /// Reading the config drive back and comparing it.
    ConfigDriveCheck,
    /// Creating the VM record.
    Vm,
    /// Giving the VM its disks and network interfaces.
    Devices,
    /// Starting the VM and waiting until it runs.
    Start,
    /// Asking the agent in the guest.
    Agent,
    /// Noting that an instance is complete.
    Complete,
    /// Connecting or forgetting storage.
    Storage,
    /// Finding an instance and what belongs to it.
    Find,
    /// Stopping the VM.
    Stop,
    /// Changing the VM's power state.
    Power,
    /// Taking a snapshot of a disk.
    Snapshot,
    /// Exporting a disk.
    Export,
    /// Moving a running VM.
    Migrate,
    /// Having a host join the pool or leave it.
    Membership,
    /// Removing objects.
    Remove,
}

impl Stage {
    /// A few words for a progress bar: `root disk`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Image => "image",
            Self::Plan => "plan",
            Self::Scan => "scan",
            Self::RootDisk => "root disk",
            Self::RootDiskCheck => "root disk check",
            Self::DiskSetup => "disk setup",
            Self::ConfigDrive => "config drive",
            Self::ConfigDriveCheck => "config drive check",
            Self::Vm => "VM",
            Self::Devices => "devices",
            Self::Start => "start",
            Self::Agent => "agent",
            Self::Complete => "completion",
            Self::Storage => "storage",
            Self::Find => "find",
            Self::Stop => "stop",
            Self::Power => "power",
            Self::Snapshot => "snapshot",
            Self::Export => "export",
            Self::Migrate => "migrate",
            Self::Membership => "membership",
            Self::Remove => "remove",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A stage began.
    Started(Stage),
    /// How far the look through an image is, in bytes of its disk.
    Scanned {
        /// The stage.
        stage: Stage,
        /// Bytes looked at.
        done_bytes: u64,
        /// Size of the disk.
        total_bytes: u64,
    },
    /// Bytes moved; sent often, and at the end of every transfer.
    Bytes(Stage, Transfer),
    /// How far XAPI says that a stage is, in percent.
    Percent(Stage, u8),
    /// What dom0 is doing for a stage that takes long.
    Step {
        /// The stage.
        stage: Stage,
        /// A program, or what is done: `e2fsck`, `copying`.
        step: String,
        /// How much of that, where it is known.
        percent: Option<u8>,
    },
    /// A stage ended well.
    Finished(Stage, Duration),
    /// A stage ended with an error, which the operation will return.
    Failed(Stage, Duration),
    /// The operation failed or was cancelled; what it made is being removed.
    Undoing {
        /// Number of steps to undo.
        steps: usize,
    },
    /// One step was undone, or could not be.
    Undone {
        /// What the step was: `VDI 7f…`.
        what: String,
        /// Why it could not be undone.
        error: Option<String>,
    },
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Transfer {
    /// Bytes that went over the wire.
    pub wire_bytes: u64,
    /// Bytes that will have gone over the wire at the end, when that is known.
    pub wire_total_bytes: Option<u64>,
    /// Size of the disk.
    pub virtual_bytes: u64,
}

/// Receives events; cheap to clone. It is called from the tasks that do the work, so it must not
/// block.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(Event) + Send + Sync>>);

impl Progress {
    /// Nobody listens.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Calls `listener` with every event.
    pub fn to(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub(crate) fn send(&self, event: Event) {
        if let Some(listener) = &self.0 {
            listener(event);
        }
    }

    /// Runs `body` as `stage`: tells its begin, its end and how long it took.
    pub(crate) async fn stage<T, E>(
        &self,
        stage: Stage,
        body: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.send(Event::Started(stage));
        let start = Instant::now();
        let result = body.await;
        self.send(match result {
            Ok(_) => Event::Finished(stage, start.elapsed()),
            Err(_) => Event::Failed(stage, start.elapsed()),
        });
        result
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(listener)" } else { "Progress(none)" })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn a_stage_tells_its_begin_and_its_end() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let progress = Progress::to(move |event| sink.lock().unwrap().push(event));
        let ok: Result<u8, ()> = progress.stage(Stage::Vm, async { Ok(7) }).await;
        let bad: Result<(), u8> = progress.stage(Stage::Start, async { Err(3) }).await;
        assert_eq!((ok, bad), (Ok(7), Err(3)));
        let seen = seen.lock().unwrap();
        assert!(
            matches!(
                seen[..],
                [
                    Event::Started(Stage::Vm),
                    Event::Finished(Stage::Vm, _),
                    Event::Started(Stage::Start),
                    Event::Failed(Stage::Start, _)
                ]
            ),
            "{seen:?}"
        );
    }
}
