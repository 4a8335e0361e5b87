//! What all parts of a running pool share.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;

use crate::classes::event::Listeners;
use crate::classes::vm::Guests;
use crate::clock::Clock;
use crate::connections::Connections;
use crate::db::{Db, View};
use crate::dispatch::Router;
use crate::fault::Faults;
use crate::guest::{Machines, Qemu};
use crate::link::Link;
use crate::personality::Personality;
use crate::schema::Schema;
use crate::state::StateLock;
use crate::storage::Storage;
use crate::strange::Strangeness;
use crate::targets::Targets;
use crate::tls::Certificate;
use crate::toolstack::Toolstack;
use crate::transfer::nbd::Nbd;

/// A running pool.
pub struct Core {
    pub(crate) db: Db,
    pub(crate) router: Router,
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) connections: Connections,
    pub(crate) config: Config,
    pub(crate) storage: Storage,
    pub(crate) certificate: Certificate,
    pub(crate) nbd: Nbd,
    /// The sessions of `session.slave_local_login`, which are not in the database.
    pub(crate) local_sessions: Mutex<HashSet<String>>,
    pub(crate) strangeness: Option<Strangeness>,
    pub(crate) listeners: Mutex<Listeners>,
    /// How many calls wait for an event.
    pub(crate) event_waits: watch::Sender<usize>,
    pub(crate) link: Arc<Link>,
    pub(crate) toolstack: Toolstack,
    pub(crate) machines: Machines,
    /// Where hosts listen, by reference, if that is not where real ones do.
    pub(crate) urls: Mutex<HashMap<String, String>>,
    /// Other pools that this one can reach.
    pub(crate) peers: Mutex<Vec<Weak<Core>>>,
    /// The pool that the host has joined.
    pub(crate) membership: Mutex<Option<Membership>>,
    /// Turns true when the simulator ends: whoever waits gives up then.
    pub(crate) stop: watch::Sender<bool>,
    /// Given up when nothing is written to the state directory any more.
    pub(crate) lock: Mutex<Option<StateLock>>,
}

/// A host in another pool than its own.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) pool: Weak<Core>,
    /// Its reference, there and here.
    pub(crate) host: String,
}

/// How the pool behaves.
#[derive(Clone)]
pub struct Config {
    /// The name that may log in.
    pub user: String,
    /// Its password.
    pub password: String,
    /// What the members of the pool know, for `session.slave_login` and the cookie `pool_secret`.
    pub pool_secret: String,
    /// How long a wrong password takes to be refused; seconds on a real host.
    pub auth_delay: Duration,
    /// How long `event.from` gathers changes before it answers.
    pub event_batching: Duration,
    /// What every call, import and export waits before it is carried out, until [`Link::set_latency`].
    pub latency: Duration,
    /// How many bytes a second pass between the pool and its clients, until [`Link::set_bandwidth`]; `None` for as
    /// many as the machine can.
    pub bandwidth: Option<u64>,
    /// Which release of XAPI is played. A state directory does not remember it.
    pub personality: Personality,
    /// With a seed, answers hold unknown fields, enum values and classes, as those of a release to come would.
    pub strange: Option<u64>,
    /// What guests do.
    pub guests: Guests,
    /// What runs guests. Without it they are bookkeeping.
    pub qemu: Option<Qemu>,
    /// The storage servers that the hosts can reach.
    pub targets: Targets,
    /// Where the programs are that `host.call_plugin` runs; a real host keeps them in `/etc/xapi.d/plugins`. They are those
    /// of all hosts, but of one for whose uuid there is a directory in it. Without a directory there is none.
    pub plugins: Option<PathBuf>,
    /// Where plugins find the folders of file-based SRs; on a real host they are in `/var/run/sr-mount`. Without a
    /// directory they find none.
    pub sr_mounts: Option<PathBuf>,
    /// Where plugins find the disks that dom0 has attached, as plain files under the names that they would have below
    /// `/dev`. Without a directory they are there: loop devices, where root and loop devices are to be had, and else links
    /// to plain files.
    pub disk_files: Option<PathBuf>,
    /// Where the programs are that answer methods which XAPI does not have, alone and through `host.call_extension`; a
    /// real host keeps them in `/etc/xapi.d/extensions`. Without a directory there is none.
    pub extensions: Option<PathBuf>,
    /// How long a plugin or an extension may run before it is killed; on a real host, for ever.
    pub plugin_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            user: "root".into(),
            password: "xapi-test".into(),
            pool_secret: uuid::Uuid::new_v4().to_string(),
            auth_delay: Duration::from_millis(50),
            event_batching: Duration::from_millis(50),
            latency: Duration::ZERO,
            bandwidth: None,
            personality: Personality::default(),
            strange: None,
            guests: Guests::new(),
            qemu: None,
            plugins: None,
            sr_mounts: None,
            disk_files: None,
            extensions: None,
            plugin_timeout: Duration::from_secs(3600),
            targets: Targets::default(),
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("user", &self.user)
            .field("personality", &self.personality)
            .field("auth_delay", &self.auth_delay)
            .field("event_batching", &self.event_batching)
            .field("latency", &self.latency)
            .field("bandwidth", &self.bandwidth)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// The objects.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The methods and HTTP handlers.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The other pools that can be reached and still run.
    pub(crate) fn peers(&self) -> Vec<Arc<Core>> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.iter().filter_map(Weak::upgrade).collect()
    }

    /// Who answers what reaches this pool's hosts: this pool, or the one that its host has joined, as that host.
    pub(crate) fn answering(self: &Arc<Self>) -> (Arc<Core>, Option<String>) {
        let membership = self.membership.lock().unwrap_or_else(PoisonError::into_inner);
        let joined = membership.as_ref().and_then(|of| Some((of.pool.upgrade()?, Some(of.host.clone()))));
        joined.unwrap_or_else(|| (self.clone(), None))
    }

    /// The datamodel.
    pub fn schema(&self) -> &'static Schema {
        self.router.schema
    }

    /// Simulated time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The planned faults.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// How the pool behaves.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The disks.
    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Waits for the end of the simulator.
    pub(crate) async fn stopped(&self) {
        // The sender lives as long as this.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    pub(crate) fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn local_sessions(&self) -> MutexGuard<'_, HashSet<String>> {
        self.local_sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where clients are sent for what a host has: where it listens, or as real hosts say it.
    pub(crate) fn url_of(&self, view: &View, host: &str) -> String {
        let address = || view.find("host", host).map_or("", |host| host.str("address"));
        self.urls().get(host).cloned().unwrap_or_else(|| format!("https://{}", address()))
    }

    pub(crate) fn urls(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.urls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the server: what is not on disk on a real host is gone.
    pub(crate) fn stop_toolstack(&self) {
        self.toolstack.stop();
        self.db.forget();
        self.local_sessions().clear();
        *self.listeners() = Listeners::default();
    }

    /// Starts the server, which finds nothing in progress.
    pub(crate) fn start_toolstack(&self) {
        if let Err(failure) = crate::classes::recover(&self.db) {
            tracing::error!(%failure, "cannot end what was in progress");
        }
        self.toolstack.start();
    }
}
