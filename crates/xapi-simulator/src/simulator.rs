//! Starting a pool and looking into it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::classes;
use crate::clock::Clock;
use crate::core::{Config, Core};
use crate::db::{Db, Object, StateError};
use crate::dispatch::Router;
use crate::fault::Faults;
use crate::http::{Conn, serve};
use crate::schema::Schema;
use crate::state::StateLock;
use crate::storage::Storage;
use crate::targets::Targets;
use crate::tls::Certificate;
use crate::world::{World, WorldError};

/// A running pool. Dropping it ends its listeners and connections; the state directory keeps what was committed.
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

    /// Simulated time; the machine's by default.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Starts the pool. Nothing listens yet.
    ///
    /// # Errors
    /// When the state directory or the world cannot be used.
    pub async fn build(self) -> Result<Simulator, StartError> {
        let schema = Schema::xapi();
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
        classes::role::install(&db);
        classes::sm::install(&db);
        let storage = match &self.state_dir {
            Some(directory) => Storage::at(&directory.join("disks")),
            None => Storage::temporary(),
        };
        let core = Arc::new(Core {
            db,
            router,
            clock: self.clock.unwrap_or_else(Clock::system),
            faults: Faults::default(),
            config: self.config,
            storage,
            certificate: Certificate::default(),
            local_sessions: Mutex::new(HashSet::new()),
            listeners: Mutex::default(),
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

    /// Listens for plain HTTP and returns the URL. Port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn listen(&self, address: &str) -> Result<String, StartError> {
        let (listener, local) = bind(address).await?;
        self.accept(listener, None, None);
        Ok(format!("http://{local}"))
    }

    /// Listens as one host of the pool, by reference, uuid or name. A host that is not the master sends clients away
    /// with `HOST_IS_SLAVE` and the master's address, and transfers to where the storage is.
    ///
    /// # Errors
    /// When there is no such host, or the address is taken or not ours.
    pub async fn listen_as(&self, host: &str, address: &str) -> Result<String, StartError> {
        let found = self.core.db.read(|view| {
            let named = |object: &Object<'_>| {
                [object.reference(), object.str("uuid"), object.str("name_label")].contains(&host)
            };
            view.objects("host").find(named).map(|object| object.reference().to_owned())
        });
        let found = found.ok_or_else(|| StartError::UnknownHost(host.to_owned()))?;
        let (listener, local) = bind(address).await?;
        self.accept(listener, None, Some(found));
        Ok(format!("http://{local}"))
    }

    /// Listens for HTTPS with a certificate made for the occasion, and returns the URL and the certificate's SHA-256
    /// fingerprint.
    ///
    /// # Errors
    /// When the address is taken or not ours, or no certificate can be made.
    pub async fn listen_tls(&self, address: &str) -> Result<(String, String), StartError> {
        let (listener, local) = bind(address).await?;
        let (acceptor, fingerprint) =
            self.core.certificate.acceptor(&local.ip().to_string()).map_err(StartError::Certificate)?;
        self.accept(listener, Some(acceptor), None);
        Ok((format!("https://{local}"), fingerprint))
    }

    /// Serves connections as a host, or as whoever is the master at the time.
    fn accept(&self, listener: TcpListener, acceptor: Option<TlsAcceptor>, host: Option<String>) {
        let core = self.core.clone();
        let mut stop = self.core.stop.subscribe();
        tokio::spawn(async move {
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => stream,
                        Err(error) => {
                            // Out of descriptors, most likely: those in use will come free.
                            tracing::warn!(%error, "cannot accept a connection");
                            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                            continue;
                        }
                    },
                    () = stopped(&mut stop) => return,
                };
                let _ = stream.set_nodelay(true);
                let (core, acceptor, mut stop) = (core.clone(), acceptor.clone(), stop.clone());
                let host = host.clone();
                tokio::spawn(async move {
                    let host = host.unwrap_or_else(|| master(&core));
                    let serving = async {
                        match acceptor {
                            None => serve(core, host, Conn::new(stream)).await,
                            Some(acceptor) => match acceptor.accept(stream).await {
                                Ok(stream) => serve(core, host, Conn::new(stream)).await,
                                Err(error) => tracing::debug!(%error, "no TLS"),
                            },
                        }
                    };
                    tokio::select! {
                        () = serving => {}
                        () = stopped(&mut stop) => {}
                    }
                });
            }
        });
    }

    /// A connection inside the process, without a port.
    pub fn connect(&self) -> impl AsyncRead + AsyncWrite + Send + Unpin + use<> {
        let (client, server) = tokio::io::duplex(256 << 10);
        let core = self.core.clone();
        let mut stop = self.core.stop.subscribe();
        tokio::spawn(async move {
            let host = master(&core);
            tokio::select! {
                () = serve(core, host, Conn::new(server)) => {}
                () = stopped(&mut stop) => {}
            }
        });
        client
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
        let closed = self.core.db.close();
        drop(self.core.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        closed
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.core.stop.send_replace(true);
    }
}

/// Waits for the end of the simulator.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone has said so before.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn bind(address: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let refused = |source| StartError::Listen { address: address.to_owned(), source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let local = listener.local_addr().map_err(refused)?;
    Ok((listener, local))
}

/// The host that speaks for the pool.
fn master(core: &Core) -> String {
    core.db.read(|view| {
        view.objects("pool").next().map_or_else(String::new, |pool| pool.str("master").to_owned())
    })
}
