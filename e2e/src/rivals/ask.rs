//! What the programs ask for, and what they are told.

use std::fmt;

use serde::{Deserialize, Serialize};
use xenapi_driver::InstanceInfo;
use xenapi_driver::resize::ResizeState;
use xenapi_types::VmPowerState;

/// What is asked of the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Ask {
    /// To make it.
    Spawn,
    /// To remove it.
    Destroy,
    /// To halt it.
    Off,
    /// To start it.
    On,
    /// To start it anew.
    Reboot,
    /// To halt it and keep it from being started.
    SoftDelete,
    /// To take that back.
    Restore,
    /// To write its disk to a file.
    Snapshot,
    /// To give it a volume.
    AttachVolume,
    /// To take it away.
    DetachVolume,
    /// Whether it has the volume.
    Volumes,
    /// To give it another interface.
    AttachInterface,
    /// To take it away.
    DetachInterface,
    /// Whether it has that interface.
    Interfaces,
    /// To give it so many virtual CPUs.
    Resize(u32),
    /// To keep that.
    ConfirmResize,
    /// To take that back.
    RevertResize,
    /// To start it from a rescue disk.
    Rescue,
    /// To end that.
    Unrescue,
    /// To give it a new root disk.
    Rebuild,
    /// To move it to the other host while it runs.
    LiveMigrate,
    /// What it is.
    Look,
}

/// All, each as often as it is to be drawn.
pub const ASKS: [Ask; 34] = [
    Ask::Spawn,
    Ask::Spawn,
    Ask::Spawn,
    Ask::Spawn,
    Ask::Destroy,
    Ask::Destroy,
    Ask::Off,
    Ask::On,
    Ask::On,
    Ask::Reboot,
    Ask::SoftDelete,
    Ask::Restore,
    Ask::Restore,
    Ask::Snapshot,
    Ask::AttachVolume,
    Ask::AttachVolume,
    Ask::DetachVolume,
    Ask::DetachVolume,
    Ask::Volumes,
    Ask::AttachInterface,
    Ask::AttachInterface,
    Ask::DetachInterface,
    Ask::DetachInterface,
    Ask::Interfaces,
    Ask::Resize(1),
    Ask::Resize(2),
    Ask::ConfirmResize,
    Ask::RevertResize,
    Ask::Rescue,
    Ask::Unrescue,
    Ask::Rebuild,
    Ask::LiveMigrate,
    Ask::Look,
    Ask::Look,
];

/// Those that need no journal in XAPI, each as often as it is to be drawn.
pub const CALM: [Ask; 11] = [
    Ask::Spawn,
    Ask::Spawn,
    Ask::Spawn,
    Ask::Destroy,
    Ask::Destroy,
    Ask::Off,
    Ask::On,
    Ask::Reboot,
    Ask::Snapshot,
    Ask::Look,
    Ask::Look,
];

impl Ask {
    /// Whether it changes nothing.
    pub fn only_looks(self) -> bool {
        matches!(self, Self::Look | Self::Volumes | Self::Interfaces)
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{self:?}");
        f.pad(text.split('(').next().unwrap_or_default())
    }
}

/// What a verb that succeeded tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// It is done.
    Done,
    /// Of [`Ask::Destroy`]: there was no VM.
    WasGone,
    /// Of [`Ask::Look`]: what it is, if it is there and complete.
    Seen(Option<Seen>),
    /// Of [`Ask::Volumes`] and [`Ask::Interfaces`].
    Has(bool),
}

/// What shows of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Whether it runs.
    pub runs: bool,
    /// Whether it is soft-deleted.
    pub deleted: bool,
    /// Whether it is being rescued.
    pub rescued: bool,
    /// Whether it has another size that can be taken back.
    pub resized: bool,
    /// Its virtual CPUs.
    pub vcpus: u32,
    /// Whether somebody has begun to destroy it.
    pub destroying: bool,
    /// What is neither before nor after something: another power state, a resize that is not complete.
    pub between: Option<String>,
}

impl Seen {
    /// What a driver says of it; nothing of one that is being made.
    pub fn of(info: &InstanceInfo) -> Option<Self> {
        let odd_power = !matches!(info.power_state, VmPowerState::Running | VmPowerState::Halted);
        let odd_size = !matches!(info.resize, None | Some(ResizeState::Done));
        let between = (odd_power || odd_size).then(|| format!("{:?} {:?}", info.power_state, info.resize));
        (!info.unfinished).then(|| Self {
            runs: info.power_state == VmPowerState::Running,
            deleted: info.soft_deleted,
            rescued: info.rescued,
            resized: info.resize.is_some(),
            vcpus: info.vcpus,
            destroying: info.destroying,
            between,
        })
    }
}

/// A verb that is over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// Who asked; one verb at a time.
    pub client: usize,
    /// Which instance.
    pub instance: usize,
    /// What was asked.
    pub ask: Ask,
    /// When it was asked, in nanoseconds of a clock that all share.
    pub begin: u64,
    /// When it was over.
    pub end: u64,
    /// What became of it.
    pub outcome: Result<Told, String>,
}

impl Event {
    /// Whether somebody else was at it at the same time.
    pub fn overlaps(&self, other: &Self) -> bool {
        (self.client, self.instance) != (other.client, other.instance)
            && self.instance == other.instance
            && self.begin <= other.end
            && other.begin <= self.end
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, ask, begin, end, outcome, .. } = self;
        let ms = |nanos: u64| (nanos / 1_000_000) % 10_000_000;
        write!(f, "{}-{} client {client} {ask:?}: {outcome:?}", ms(*begin), ms(*end))
    }
}
