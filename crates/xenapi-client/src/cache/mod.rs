//! A local copy of chosen classes that follows the pool.
//!
//! ```text
//! event.from ─► Follower ─► decode: records of the watched classes, typed at once
//!                  │            │
//!                resync         ▼
//! get_all_records ─────► Writer of each class: its table, what changed
//!                               │  when all tables are of one moment
//!                               ▼
//!                        State (token, copies of the tables) ─► Snapshot, Changes, wait_until
//! ```

mod decode;
mod keep;
mod listen;
mod table;
mod trie;
mod writer;

use std::any::{Any, TypeId};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::watch;
use xenapi_types::Pool;
use xenapi_types::implicit::Listed;
use xenapi_wire::Ref;

use self::decode::Classes;
use self::keep::Keeper;
use self::listen::Listeners;
use self::table::Table;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::event::name;
use crate::follow::{ResyncCause, is_after, place_of};
use crate::session::Session;

pub(crate) use self::decode::Changes as Typed;
pub use self::listen::{Change, Changes};
pub use self::table::Object;

/// A class that a [`Cache`] can watch: any with `get_all_records`.
///
/// XAPI sends no events of sessions, users and secrets, so watching these shows them as they were at
/// the last resync.
pub trait Watched: Listed<Record: PartialEq> + Sized {}

impl<C: Listed<Record: PartialEq>> Watched for C {}

/// A copy of the objects of some classes, which follows the pool.
///
/// ```no_run
/// # async fn example(client: xenapi_client::Client) -> xenapi_client::Result<()> {
/// use std::time::Duration;
/// use xenapi_client::Cache;
/// use xenapi_types::{Vbd, Vm, VmPowerState};
///
/// let cache = Cache::builder().watch::<Vm>().watch::<Vbd>().start(&client).await?;
/// for vm in cache.by_name_label::<Vm>("web") {
///     println!("{} {} on {}", vm.reference(), vm.power_state, vm.resident_on);
/// }
///
/// // Several looks at one state of the pool:
/// let pool = cache.snapshot();
/// for vm in pool.iter::<Vm>() {
///     let disks = vm.vbds.iter().filter_map(|vbd| pool.get(vbd)).count();
///     println!("{} has {disks} disks", vm.name_label);
/// }
///
/// // Waiting costs the server nothing.
/// let vm = pool.iter::<Vm>().next().unwrap().reference().clone();
/// cache.wait_until(&vm, Duration::from_secs(600), |vm| vm.power_state == VmPowerState::Halted).await?;
/// # Ok(()) }
/// ```
///
/// * All classes are of one moment: what readers see is replaced as a whole when every table has
///   caught up with the same token. A reader never waits for the network.
/// * The cache lags behind the server by a round trip and the 50 ms during which XAPI gathers events.
///   After a call of your own, [`Cache::catch_up`] waits until its effect is visible.
/// * While the server cannot be reached, the last known state stays visible; [`Cache::status`] tells.
/// * Objects that vanish without an event, as tasks do when the toolstack restarts, are noticed by the
///   number of objects that XAPI tells with all events, on the next of them.
/// * It keeps [`Limits::cached_objects`](crate::Limits::cached_objects) at most and ends with an error beyond.
/// * The cost of following is that of what changes. What makes the cache read everything again is
///   listed at [`ResyncCause`]; objects that turn out to be the same are kept, and nobody is told
///   of them.
///
/// Clones are handles to the same cache. It ends when the last one is dropped.
#[derive(Clone)]
pub struct Cache(Arc<Handle>);

struct Handle {
    client: Client,
    shared: Arc<Shared>,
    task: tokio::task::AbortHandle,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.status.send_replace(Status::Ended(None));
    }
}

/// What the keeper and the readers share.
struct Shared {
    /// The watched classes, in the order of their tables.
    classes: Vec<TypeId>,
    names: Vec<&'static str>,
    listeners: Vec<Arc<dyn Any + Send + Sync>>,
    state: RwLock<Arc<State>>,
    status: watch::Sender<Status>,
    progress: watch::Sender<Progress>,
}

/// All tables at one moment.
struct State {
    token: String,
    classes: Vec<TypeId>,
    tables: Vec<Arc<dyn Any + Send + Sync>>,
}

/// How far the cache has come.
#[derive(Clone)]
struct Progress {
    token: String,
    session: Option<Arc<Session>>,
    pool: Ref<Pool>,
    counters: Counters,
}

/// How a [`Cache`] is getting on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Status {
    /// It follows the pool.
    Following,
    /// It reads everything again; until that is done, the state before stays visible.
    Resyncing(ResyncCause),
    /// It has trouble that may pass and tries again; the last known state stays visible.
    Interrupted(Arc<Error>),
    /// It follows no more: it was dropped, or met an error that does not pass.
    Ended(Option<Arc<Error>>),
}

/// What a [`Cache`] has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Answers of `event.from`.
    pub batches: u64,
    /// Changes of objects of watched classes in these.
    pub changes: u64,
    /// How often everything was read again, the start included.
    pub resyncs: u64,
    /// How often one class was looked through because the server has another number of objects.
    pub recounts: u64,
}

/// A cache before it starts.
#[derive(Debug)]
pub struct Builder<L = ()>(PhantomData<fn() -> L>);

impl<L: Classes> Builder<L> {
    /// Watches a class.
    #[must_use]
    pub fn watch<C: Watched>(self) -> Builder<(C, L)> {
        Builder(PhantomData)
    }

    /// Reads the records of all watched classes, and follows the pool from then on.
    ///
    /// # Errors
    /// What keeps the records from being read the first time; later, trouble that may pass is waited
    /// out. `Config` when a class is watched twice.
    pub async fn start(self, client: &Client) -> Result<Cache> {
        let mut slots = Vec::new();
        L::slots(&mut slots);
        let names: Vec<&'static str> = slots.iter().map(|slot| slot.name()).collect();
        if let Some((_, name)) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
            return Err(Error::new(ErrorKind::Config, format!("class {name} is watched twice")));
        }
        let mut classes = Vec::new();
        L::classes(&mut classes);
        let mut keeper = Keeper::<L>::new(client, slots, classes);
        keeper.first().await?;
        let shared = Arc::clone(keeper.shared());
        let task = tokio::spawn(keeper.keep()).abort_handle();
        Ok(Cache(Arc::new(Handle { client: client.clone(), shared, task })))
    }
}

impl Cache {
    /// A cache of no classes yet.
    pub fn builder() -> Builder {
        Builder(PhantomData)
    }

    /// The present state, which stays as it is. Cheap, and never waits.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(Arc::clone(&self.0.shared.state()))
    }

    /// An object by its reference, or `None` when there is none (any more).
    ///
    /// # Panics
    /// When the class is not watched. So do all methods that look at a class.
    pub fn get<C: Watched>(&self, object: &Ref<C>) -> Option<Arc<Object<C>>> {
        self.0.shared.state().table::<C>().get(object).cloned()
    }

    /// An object by its uuid.
    pub fn by_uuid<C: Watched>(&self, uuid: &str) -> Option<Arc<Object<C>>> {
        self.0.shared.state().table::<C>().by_uuid(uuid).cloned()
    }

    /// The objects with a name: XAPI allows several.
    pub fn by_name_label<C: Watched>(&self, name: &str) -> Vec<Arc<Object<C>>> {
        self.0.shared.state().table::<C>().by_name_label(name).cloned().collect()
    }

    /// How many objects a class has.
    pub fn count<C: Watched>(&self) -> usize {
        self.0.shared.state().table::<C>().len()
    }

    /// The present state, and the changes of a class from that state on.
    pub fn subscribe<C: Watched>(&self) -> (Snapshot, Changes<C>) {
        self.listen(None)
    }

    /// An object as it is, and its changes from then on.
    pub fn subscribe_to<C: Watched>(&self, object: &Ref<C>) -> (Option<Arc<Object<C>>>, Changes<C>) {
        let (snapshot, changes) = self.listen(Some(object.clone()));
        (snapshot.get(object), changes)
    }

    fn listen<C: Watched>(&self, only: Option<Ref<C>>) -> (Snapshot, Changes<C>) {
        let shared = &self.0.shared;
        let place = shared.place::<C>();
        let listeners = Arc::clone(&shared.listeners[place]);
        let listeners = listeners.downcast::<Listeners<C>>().expect("listeners are kept by class");
        // Nothing is published while this is held.
        let state = shared.state();
        let changes = listeners.add(only, shared);
        (Snapshot(Arc::clone(&state)), changes)
    }

    /// Waits until an object fulfils a condition, and gives it back as it was then.
    ///
    /// An object that is younger than the cache's state is waited for ([`Cache::catch_up`]).
    ///
    /// # Errors
    /// `NotFound` when the object is gone, `Timeout` when `patience` is at its end, and what ended the
    /// cache.
    pub async fn wait_until<C: Watched>(
        &self,
        object: &Ref<C>,
        patience: Duration,
        mut condition: impl FnMut(&C::Record) -> bool,
    ) -> Result<Arc<Object<C>>> {
        let endpoint = self.0.client.endpoint();
        let watching = async {
            let (mut now, mut changes) = self.subscribe_to(object);
            if now.is_none() {
                self.catch_up().await?;
                now = self.get(object);
            }
            loop {
                match now {
                    Some(object) if condition(&object) => return Ok(object),
                    Some(_) => {}
                    None => {
                        let error = Error::new(ErrorKind::NotFound, "it does not exist, or was destroyed");
                        return Err(error.about(name(object)).at(&endpoint));
                    }
                }
                match changes.next().await {
                    Some(change) => now = change.after,
                    None => return Err(self.0.shared.end().about(name(object)).at(&endpoint)),
                }
            }
        };
        tokio::time::timeout(patience, watching).await.unwrap_or_else(|_| {
            let message = format!("not in the state waited for after {} s", patience.as_secs_f32());
            Err(Error::new(ErrorKind::Timeout, message).about(name(object)).at(&endpoint))
        })
    }

    /// Waits until everything that has happened in the pool before this call is visible here.
    ///
    /// # Errors
    /// As [`Client::call`]; what ended the cache. It waits as long as the server cannot be reached.
    pub async fn catch_up(&self) -> Result<()> {
        let (client, shared) = (&self.0.client, &self.0.shared);
        let mut progress = shared.progress.subscribe();
        let before = progress.borrow().clone();
        // The pool's event comes after all that happened before it. A token counts for its session only: that
        // call may have been made again with another one, on an older database.
        let (session, token) = loop {
            let session = client.session_now().await?;
            let token = place_of(client, &before.pool).await?;
            if Arc::ptr_eq(&session, &client.session_now().await?) {
                break (session, token);
            }
        };
        let reached = progress.wait_for(|now| {
            let same_session = now.session.as_ref().is_some_and(|now| Arc::ptr_eq(now, &session));
            now.counters.resyncs > before.counters.resyncs
                || same_session && token.as_ref().is_none_or(|token| is_after(&now.token, token))
        });
        tokio::select! {
            _ = reached => Ok(()),
            () = shared.ended() => Err(shared.end().at(&client.endpoint())),
        }
    }

    /// How the cache is getting on.
    pub fn status(&self) -> Status {
        self.0.shared.status.borrow().clone()
    }

    /// What the cache has done so far.
    pub fn counters(&self) -> Counters {
        self.0.shared.progress.borrow().counters
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &self.0.shared;
        f.debug_struct("Cache")
            .field("classes", &shared.names)
            .field("status", &*shared.status.borrow())
            .finish_non_exhaustive()
    }
}

/// All watched classes at one moment.
#[derive(Clone)]
pub struct Snapshot(Arc<State>);

impl Snapshot {
    /// An object by its reference.
    ///
    /// # Panics
    /// When the class is not watched. So do all methods that look at a class.
    pub fn get<C: Watched>(&self, object: &Ref<C>) -> Option<Arc<Object<C>>> {
        self.0.table::<C>().get(object).cloned()
    }

    /// An object by its uuid.
    pub fn by_uuid<C: Watched>(&self, uuid: &str) -> Option<Arc<Object<C>>> {
        self.0.table::<C>().by_uuid(uuid).cloned()
    }

    /// The objects with a name.
    pub fn by_name_label<'a, C: Watched>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Object<C>>> {
        self.0.table::<C>().by_name_label(name)
    }

    /// All objects of a class, in no particular order.
    pub fn iter<C: Watched>(&self) -> impl Iterator<Item = &Arc<Object<C>>> {
        self.0.table::<C>().iter()
    }

    /// How many objects a class has.
    pub fn count<C: Watched>(&self) -> usize {
        self.0.table::<C>().len()
    }

    /// The token of `event.from` that this is the state of.
    pub fn token(&self) -> &str {
        &self.0.token
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("token", &self.0.token).finish_non_exhaustive()
    }
}

impl State {
    fn table<C: Watched>(&self) -> &Table<C> {
        let place = place_in::<C>(&self.classes);
        self.tables[place].downcast_ref().expect("tables are kept by class")
    }
}

fn place_in<C: Watched>(classes: &[TypeId]) -> usize {
    let class = TypeId::of::<C>();
    classes
        .iter()
        .position(|other| *other == class)
        .unwrap_or_else(|| panic!("class {} is not watched: name it when the cache is built", C::NAME))
}

impl Shared {
    fn state(&self) -> RwLockReadGuard<'_, Arc<State>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn place<C: Watched>(&self) -> usize {
        place_in::<C>(&self.classes)
    }

    /// Waits for the end.
    async fn ended(&self) {
        // The sender is here, so this cannot fail.
        let _ = self.status.subscribe().wait_for(|status| matches!(status, Status::Ended(_))).await;
    }

    /// The error of those who are told of the end.
    fn end(&self) -> Error {
        match &*self.status.borrow() {
            Status::Ended(Some(error)) => {
                Error::new(error.kind(), format!("the cache has ended: {error}")).because(Arc::clone(error))
            }
            _ => Error::new(ErrorKind::Closed, "the cache has ended"),
        }
    }
}
