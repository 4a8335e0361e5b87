//! One driver for one endpoint.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use uuid::Uuid;
use xenapi_client::Client;
use xenapi_config::{Settings as Options, Value};

use crate::clock::Clock;
use crate::dom0_write::ImportVia;
use crate::error::{Cause, Error, Op, Result};
use crate::gates::Gates;
use crate::inventory::{self, Node};
use crate::operation::Running;
use crate::progress::Stage;
use crate::resize::CopyVia;

/// Speaks for one XAPI endpoint, a host or a pool, and shows each host as a node.
///
/// It keeps nothing in memory that matters: what it made is marked in XAPI itself
/// ([`xenapi_storage::ownership`]), so that several drivers may work on the same pool and any of them can
/// be ended at any time. Cloning is cheap; clones share the connection.
#[derive(Debug, Clone)]
pub struct Driver(pub(crate) Arc<Inner>);

/// How many spawns of a driver are under way at a time; the others wait in the order in which they were asked
/// for. XAPI forgets how tasks ended when there are more than 200 in the pool, and a spawn has up to four at
/// a time.
pub const MAX_SPAWNS: usize = 40;

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) running: Running,
    pub(crate) gates: Gates,
    /// The time in what is noted for other programs, and by which theirs is judged.
    pub(crate) clock: Arc<Clock>,
    /// Those that want to spawn are let in in the order in which they asked, so many at a time.
    pub(crate) spawning: Arc<Semaphore>,
    /// The operations under way.
    active: Mutex<HashSet<Uuid>>,
    /// Operations that failed, and whose notes on a VM keep others waiting.
    given_up: Mutex<HashSet<Uuid>>,
    /// What would be done is told, and nothing is done.
    pub(crate) rehearses: bool,
}

impl Inner {
    pub(crate) fn active(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        // A panic cannot leave the set half changed.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn given_up(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a driver behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who this driver is in the objects that it makes; only its own objects are ever removed.
    /// Drivers with the same name are one and the same to each other.
    pub owner: String,
    /// How long a VM may take from its start until it is `Running`.
    pub running_timeout: Duration,
    /// How long to wait until a host lets go of a disk that is to be removed or detached, or has plugged one; as long it may
    /// take for an interface, and to switch a VM off.
    pub detach_timeout: Duration,
    /// How long a storage server may take to answer; the hosts themselves would wait for minutes.
    pub storage_timeout: Duration,
    /// The most that is kept of an image that cannot be read while it arrives, in bytes: one of format qcow2 that comes
    /// from elsewhere, is compressed or has its tables between its data. It is in an unnamed file in
    /// [`std::env::temp_dir`] until its disk is complete.
    pub spool_bytes: u64,
    /// How data get onto disks.
    pub import_via: ImportVia,
    /// How disks get to another repository at a resize or a cold migration in the pool.
    pub copy_via: CopyVia,
    /// Where control domains have the folders of repositories of files; only for [`CopyVia::Dom0`].
    pub sr_base_path: String,
    /// The bridge of Open vSwitch that interfaces with `other_config:neutron-port-id` are connected to by Nova's chain of
    /// [bridges](crate::bridges), whenever their guests begin to run on a host. Without it no interface is.
    pub integration_bridge: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            owner: "xenapi-rs".to_owned(),
            running_timeout: Duration::from_secs(60),
            detach_timeout: Duration::from_secs(120),
            storage_timeout: Duration::from_secs(30),
            spool_bytes: 16 << 30,
            import_via: ImportVia::default(),
            copy_via: CopyVia::default(),
            sr_base_path: "/var/run/sr-mount".to_owned(),
            integration_bridge: None,
        }
    }
}

impl Settings {
    /// As the options say, Nova's and ours: `running_timeout`, `import_via`, `copy_via`,
    /// `sr_base_path` and `ovs_integration_bridge`.
    pub fn of(options: &Options) -> Self {
        let seconds = match options.get("running_timeout") {
            Some(Value::Integer(seconds)) => u64::try_from(seconds).ok(),
            _ => None,
        };
        let usual = Self::default();
        Self {
            running_timeout: seconds.map_or(usual.running_timeout, Duration::from_secs),
            // One that is not known was found when the options were read.
            import_via: options.text("import_via").parse().unwrap_or_default(),
            copy_via: options.text("copy_via").parse().unwrap_or_default(),
            sr_base_path: options.text("sr_base_path").to_owned(),
            integration_bridge: Some(options.text("ovs_integration_bridge").to_owned())
                .filter(|bridge| !bridge.is_empty()),
            ..usual
        }
    }
}

impl Driver {
    /// Logs in to the endpoint, makes sure that it is one, and looks how far this machine's clock is off its coordinator's:
    /// what is noted for other programs has the pool's time.
    ///
    /// # Errors
    ///
    /// When the host cannot be reached or is not trusted, or the log-in is refused.
    pub async fn connect(config: xenapi_client::Config) -> Result<Self> {
        Self::connect_as(config, Settings::default()).await
    }

    /// As [`Driver::connect`], for a driver that behaves like this.
    ///
    /// # Errors
    ///
    /// Those of [`Driver::connect`].
    pub async fn connect_as(config: xenapi_client::Config, settings: Settings) -> Result<Self> {
        let failed =
            |object: &str, error| Error::new(Op::Connect, object, Stage::Connect, Cause::host("")(error));
        let client = Client::new(config).map_err(|error| failed("the host", error))?;
        let endpoint = client.endpoint().to_string();
        client.login().await.map_err(|error| failed(&endpoint, error))?;
        let driver = Self::over(client, settings);
        driver.set_clock().await;
        Ok(driver)
    }

    /// A driver over a client that there is already. Until [`Driver::set_clock`], it takes this machine's
    /// clock for the pool's.
    #[expect(clippy::needless_pass_by_value, reason = "the driver's own from now on")]
    pub fn over(client: Client, settings: Settings) -> Self {
        // So that a task which nobody heard of is known for its own later.
        let client = client.with_task_owner(&settings.owner);
        Self(Arc::new(Inner {
            client,
            settings,
            running: Running::default(),
            gates: Gates::default(),
            clock: Arc::default(),
            spawning: Arc::new(Semaphore::new(MAX_SPAWNS)),
            active: Mutex::default(),
            given_up: Mutex::default(),
            rehearses: false,
        }))
    }

    /// This driver, but one that only tells what it would do: each verb looks and decides as it always does, and then
    /// ends with [`Cause::DryRun`] instead of doing anything ([`Error::planned`]). [`Driver::dry_run`] does this for a
    /// single verb.
    ///
    /// That nothing is changed does not depend on the verbs: their client cannot
    /// ([`Client::reading_only`](xenapi_client::Client::reading_only)). What only XAPI can tell while it is being done
    /// is not known, nor what `VM.assert_can_migrate` and `SR.probe` say: both need objects that are made for them.
    pub fn rehearsing(&self) -> Self {
        Self(Arc::new(Inner {
            client: self.0.client.reading_only(),
            settings: self.0.settings.clone(),
            running: self.0.running.clone(),
            gates: Gates::default(),
            clock: Arc::clone(&self.0.clock),
            spawning: Arc::new(Semaphore::new(MAX_SPAWNS)),
            active: Mutex::default(),
            given_up: Mutex::default(),
            rehearses: true,
        }))
    }

    /// Looks how far this machine's clock is off the coordinator's: what is noted for other programs has the
    /// pool's time from then on, and what they have noted is judged by it. A coordinator that does not tell
    /// its time changes nothing. [`Driver::reconcile`] does this, too.
    pub async fn set_clock(&self) {
        self.0.clock.set(self.client()).await;
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The client that the driver uses.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// How this driver behaves.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The hosts of the endpoint, in the order of their names.
    ///
    /// # Errors
    ///
    /// When the host cannot be asked.
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        let nodes = inventory::read_nodes(self).await;
        nodes.map_err(|cause| Error::new(Op::Nodes, self.endpoint(), Stage::Find, cause))
    }

    /// Waits until operations that were cancelled or dropped have undone what they did, and logs
    /// out. Clones of this driver end with it.
    ///
    /// # Errors
    ///
    /// When the host does not confirm the log-out.
    pub async fn close(self) -> Result<()> {
        self.0.running.settled().await;
        let closed = self.0.client.close().await;
        closed.map_err(|error| Error::new(Op::Close, self.endpoint(), Stage::Connect, Cause::host("")(error)))
    }

    pub(crate) fn endpoint(&self) -> String {
        self.0.client.endpoint().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_options_say() {
        let of = |text: &str| {
            let settings = Settings::of(&Options::new().nova_conf("nova.conf", text).unwrap());
            (
                settings.running_timeout.as_secs(),
                settings.import_via,
                settings.copy_via,
                settings.sr_base_path,
            )
        };
        let usual = || "/var/run/sr-mount".to_owned();
        assert_eq!(of(""), (60, ImportVia::Handler, CopyVia::Xapi, usual()));
        assert_eq!(
            of("[xenserver]\nimport_via = dom0\ncopy_via = dom0\nrunning_timeout = 9\nsr_base_path = /srv\n"),
            (9, ImportVia::Dom0, CopyVia::Dom0, "/srv".to_owned())
        );
        assert_eq!(
            of("[xenserver]\nimport_via = elsewhere\n"),
            (60, ImportVia::Handler, CopyVia::Xapi, usual())
        );
    }
}
