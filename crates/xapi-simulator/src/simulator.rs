//! Starting a pool and looking into it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::classes;
use crate::clock::Clock;
use crate::connections::Connections;
use crate::core::{Config, Core};
use crate::db::{Db, StateError};
use crate::dispatch::Router;
use crate::fault::Faults;
use crate::guest::Machines;
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
use crate::world::{World, WorldError};

/// A running pool. Dropping it ends its listeners, connections and guests; the state directory keeps what was committed.
pub struct Simulator {
    core: Arc<Core>,
}

/// How a pool is started.
#[derive(Debug, Default)]
pub struct Builder {
    world: World,
    state_dir: Option<PathBuf>,
    config: Config,
    clock: Option<Clock>,
}

/// A pool that cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The world does not fit.
    #[error(transparent)]
    World(#[from] WorldError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// There is no such host.
    #[error("the pool has no host {0}; use the reference, the uuid or the name of one")]
    UnknownHost(String),
    /// What is to run guests is not there.
    #[error(transparent)]
    Guests(std::io::Error),
    /// No certificate can be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(String),
}

impl Builder {
    /// The objects of a new pool. A state directory that holds objects already wins.
    pub fn world(mut self, world: World) -> Self {
        self.world = world;
        self
    }

    /// Where objects and disks are kept. Without it, they are gone with the simulator.
    pub fn state_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(path.into());
        self
    }

    /// How the pool behaves.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The password of `root`.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.config.password = password.into();
        self
    }

    /// Which release of XAPI is played; the newest by default.
    pub fn personality(mut self, personality: Personality) -> Self {
        self.config.personality = personality;
        self
    }

    /// Simulated time; the machine's by default.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Starts the pool. Nothing listens yet.
    ///
    /// # Errors
    /// When the state directory or the world cannot be used, or guests are to be run and cannot.
    pub async fn build(mut self) -> Result<Simulator, StartError> {
        if let Some(qemu) = &self.config.qemu {
            qemu.find().map_err(StartError::Guests)?;
            self.config.guests.are_real = true;
        }
        let schema = Schema::of(self.config.personality);
        let lock = match &self.state_dir {
            Some(directory) => Some(StateLock::acquire(directory).await?),
            None => None,
        };
        let mut db = match &self.state_dir {
            Some(directory) => Db::open(schema, &directory.join("objects"))?,
            None => Db::in_memory(schema),
        };
        let mut router = Router::new(schema);
        classes::register(&mut router);
        classes::derive(&mut db);
        if db.read(|view| view.count("pool")) == 0 {
            self.world.populate(&db)?;
        }
        classes::recover(&db).map_err(WorldError::from)?;
        if self.config.qemu.is_some() {
            classes::vm::power_failed(&db, &self.config.guests).map_err(WorldError::from)?;
        }
        classes::role::install(&db);
        classes::sm::install(&db);
        db.write(|tx| self.config.personality.introduce(tx)).map_err(WorldError::from)?;
        let storage = match &self.state_dir {
            Some(directory) => Storage::at(&directory.join("disks")),
            None => Storage::temporary(),
        };
        let link = Arc::new(Link::new(&self.config));
        let strangeness = self.config.strange.map(Strangeness::new);
        let core = Arc::new(Core {
            db,
            router,
            clock: self.clock.unwrap_or_else(Clock::system),
            faults: Faults::default(),
            connections: Connections::default(),
            config: self.config,
            storage,
            certificate: Certificate::default(),
            nbd: Nbd::default(),
            local_sessions: Mutex::new(HashSet::new()),
            strangeness,
            listeners: Mutex::default(),
            event_waits: watch::Sender::new(0),
            link,
            toolstack: Toolstack::new(),
            machines: Machines::default(),
            urls: Mutex::default(),
            peers: Mutex::default(),
            membership: Mutex::default(),
            stop: watch::Sender::new(false),
            lock: Mutex::new(lock),
        });
        Ok(Simulator { core })
    }
}

impl Simulator {
    /// Starts to describe a pool.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The pool's inside, for tests.
    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The storage servers that the hosts can reach.
    pub fn targets(&self) -> &Targets {
        &self.core.config.targets
    }

    /// The faults to come.
    pub fn faults(&self) -> &Faults {
        &self.core.faults
    }

    /// How fast the pool's network is.
    pub fn link(&self) -> &Link {
        &self.core.link
    }

    /// Ends the server, as `xe-toolstack-restart` does first: connections break and new ones are reset. Sessions and
    /// tasks are gone, and no event tells of their end; asynchronous calls are given up where they wait. Guests go on.
    pub fn stop_toolstack(&self) {
        self.core.stop_toolstack();
    }

    /// Starts the server again after [`Simulator::stop_toolstack`].
    pub fn start_toolstack(&self) {
        self.core.start_toolstack();
    }

    /// Ends the server and starts it again at once.
    pub fn restart_toolstack(&self) {
        self.stop_toolstack();
        self.start_toolstack();
    }

    /// Lets this pool and another one reach each other, so that VMs can be moved between them.
    pub fn meet(&self, other: &Self) {
        for (one, two) in [(&self.core, &other.core), (&other.core, &self.core)] {
            one.peers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(two));
        }
    }

    /// The references of all objects by class, sessions and tasks left out: equal before and after an operation that
    /// was undone completely.
    pub fn snapshot_of_objects(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.core.db.read(|view| {
            let classes = view.schema().classes().filter(|class| class.persistent);
            let tables = classes.map(|class| {
                let references = view.objects(class.name()).map(|o| o.reference().to_owned()).collect();
                (class.name().to_owned(), references)
            });
            tables.filter(|(_, references): &(_, BTreeSet<String>)| !references.is_empty()).collect()
        })
    }

    /// Bytes of a disk, by the uuid of its VDI, for who judges what became of it: whoever uses the disk, and whether or not
    /// its SR is attached. No call and no task of the pool's. Fewer come at the end of the disk.
    ///
    /// # Errors
    /// `UUID_INVALID`; what the SR's driver says when it has no such disk.
    pub fn peek(&self, vdi_uuid: &str, offset: u64, len: usize) -> Result<Vec<u8>, xenapi_wire::Failure> {
        crate::transfer::peek(&self.core, vdi_uuid, offset, len)
    }

    /// The connections to its ports.
    pub fn connections(&self) -> &Connections {
        &self.core.connections
    }

    /// What QEMU says of the machine behind a VM (`running`, `paused`, `shutdown`, ...), by the VM's uuid; nothing where
    /// there is none.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub async fn machine_status(&self, vm_uuid: &str) -> std::io::Result<Option<String>> {
        crate::guest::status(&self.core, vm_uuid).await
    }

    /// How many calls of `event.from` and `event.next` have found nothing and wait, for who waits for that.
    pub fn event_waits(&self) -> watch::Receiver<usize> {
        self.core.event_waits.subscribe()
    }

    /// How many sessions are open.
    pub fn count_of_sessions(&self) -> usize {
        self.core.db.read(|view| view.count("session"))
    }

    /// Ends listeners, connections and waiting calls, waits until all objects are on disk and leaves the state
    /// directory to the next simulator. What is changed afterwards, through [`Simulator::core`], is not kept.
    ///
    /// # Errors
    /// When something could not be written.
    pub fn shutdown(&self) -> Result<(), StateError> {
        self.core.stop.send_replace(true);
        self.core.machines.end();
        let closed = self.core.db.close();
        drop(self.core.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        closed
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.core.stop.send_replace(true);
        self.core.machines.end();
    }
}
