//! Keeping the cache: following events, reading again what may have been missed, publishing.

use std::any::TypeId;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use xenapi_wire::Ref;

use super::decode::{self, Classes};
use super::writer::Slot;
use super::{Counters, Progress, Shared, State, Status};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::event::WAIT;
use crate::follow::{Follower, Step, is_final};

/// The one who keeps a cache. It goes round: a batch of events, then what has to be read.
///
/// Records are read at different moments after a token; the events since that token make them all of
/// one moment, except for one thing: an object that was created after the token, read, and destroyed
/// before the events were asked for, is in none of them. The server's numbers of objects give it away.
pub(super) struct Keeper<L> {
    client: Client,
    follower: Follower<decode::Changes<L>>,
    classes: Vec<Kept>,
    shared: Arc<Shared>,
    counters: Counters,
    /// Whether what is published is the state at the follower's token.
    settled: bool,
}

/// What is known of a class.
struct Kept {
    slot: Box<dyn Slot>,
    todo: Todo,
    /// How often in a row the server had another number of objects.
    misses: u32,
    /// When to look again, when looking has not helped.
    look_again: Instant,
}

/// What has to be read before the tables can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Todo {
    Nothing,
    /// Objects vanished without an event.
    Prune,
    /// Anything may have happened.
    Load,
}

/// How often in a row a class is looked through at once. Beyond, the server's numbers do not mean what
/// we think: XAPI says 0 of the messages and the roles, which are not in its database.
const LOOKS: u32 = 4;

/// After how long it is looked through again then.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

impl<L: Classes> Keeper<L> {
    pub(super) fn new(client: &Client, mut slots: Vec<Box<dyn Slot>>, classes: Vec<TypeId>) -> Self {
        let names: Vec<&'static str> = slots.iter().map(|slot| slot.name()).collect();
        // The pool is one object, whose events tell where the server is (Cache::catch_up).
        let mut followed: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        if !names.contains(&"pool") {
            followed.push("pool".to_owned());
        }
        let counters = Counters::default();
        let tables = slots.iter_mut().filter_map(|slot| slot.publish()).collect();
        let shared = Shared {
            listeners: slots.iter().map(|slot| slot.listeners()).collect(),
            state: RwLock::new(Arc::new(State { token: String::new(), classes: classes.clone(), tables })),
            status: watch::Sender::new(Status::Following),
            progress: watch::Sender::new(Progress {
                token: String::new(),
                session: None,
                pool: Ref::NULL,
                counters,
            }),
            classes,
            names,
        };
        let kept = |slot| Kept { slot, todo: Todo::Load, misses: 0, look_again: Instant::now() };
        Self {
            client: client.clone(),
            follower: Follower::new(client, followed),
            classes: slots.into_iter().map(kept).collect(),
            shared: Arc::new(shared),
            counters,
            settled: false,
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Goes on until the first state is published.
    ///
    /// # Errors
    /// The first one: whoever starts a cache wants to know.
    pub(super) async fn first(&mut self) -> Result<()> {
        while self.shared.state().token.is_empty() {
            self.round().await?.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// Goes on for ever, or until an error that does not pass.
    pub(super) async fn keep(mut self) {
        let end = loop {
            match self.round().await {
                Ok(None) => {}
                Ok(Some(error)) => {
                    tracing::warn!(%error, classes = ?self.shared.names, "the cache falls behind, trying again");
                    self.shared.status.send_replace(Status::Interrupted(Arc::new(error)));
                }
                Err(error) => break error,
            }
        };
        tracing::error!(error = %end, classes = ?self.shared.names, "the cache has ended");
        self.shared.status.send_replace(Status::Ended(Some(Arc::new(end))));
    }

    /// One step of following and what it entails. `Some` is trouble that may pass.
    async fn round(&mut self) -> Result<Option<Error>> {
        let wait = if self.settled { WAIT } else { Duration::ZERO };
        match self.follower.next(wait).await? {
            Step::Trouble(error) => return Ok(Some(error)),
            Step::Resync(cause) => {
                self.counters.resyncs += 1;
                self.settled = false;
                self.shared.status.send_replace(Status::Resyncing(cause));
                for class in &mut self.classes {
                    class.todo = Todo::Load;
                }
            }
            Step::Batch(batch) => self.apply(batch)?,
        }
        self.read().await
    }

    /// # Errors
    /// As [`Keeper::bounded`].
    fn apply(&mut self, batch: decode::Changes<L>) -> Result<()> {
        self.counters.batches += 1;
        self.counters.changes += batch.changes.len() as u64;
        for change in batch.changes {
            self.classes[change.class].slot.apply(&change.reference, change.record);
        }
        self.bounded()?;
        for (class, count) in self.classes.iter_mut().zip(batch.counts) {
            class.compare(count);
        }
        self.settled = self.classes.iter().all(|class| class.todo == Todo::Nothing);
        if self.settled {
            self.publish(batch.token);
        }
        Ok(())
    }

    /// Makes sure that no more is kept than [`Limits::cached_objects`](crate::Limits::cached_objects): a server that goes
    /// on telling of new objects must not fill the memory.
    ///
    /// # Errors
    /// `Protocol`, which ends the cache.
    fn bounded(&self) -> Result<()> {
        let limit = self.client.inner.config.limits.cached_objects;
        let here: usize = self.classes.iter().map(|class| class.slot.count()).sum();
        if here <= limit {
            return Ok(());
        }
        let classes = self.shared.names.join(", ");
        let message = format!("there are more than {limit} objects of {classes}, and a cache keeps no more");
        let error = Error::new(ErrorKind::Protocol, message).at(&self.client.endpoint());
        Err(error.remedy("raise Limits::cached_objects if the pool is so large, or watch fewer classes"))
    }

    /// Reads what has to be read. The events that come next make it consistent.
    async fn read(&mut self) -> Result<Option<Error>> {
        for index in 0..self.classes.len() {
            let class = &mut self.classes[index];
            let read = match class.todo {
                Todo::Nothing => continue,
                Todo::Prune => class.slot.prune(&self.client).await,
                Todo::Load => class.slot.load(&self.client).await,
            };
            match read {
                Ok(()) => class.todo = Todo::Nothing,
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    self.follower.trouble();
                    return Ok(Some(error));
                }
            }
            self.counters.recounts += u64::from(class.misses > 0);
            self.bounded()?;
        }
        Ok(None)
    }

    fn publish(&mut self, token: String) {
        let mut shown = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut tables = shown.tables.clone();
        for (class, table) in self.classes.iter_mut().zip(&mut tables) {
            if let Some(new) = class.slot.publish() {
                *table = new;
            }
        }
        *shown = Arc::new(State { token: token.clone(), classes: self.shared.classes.clone(), tables });
        for class in &mut self.classes {
            class.slot.tell();
        }
        drop(shown);
        self.shared.progress.send_replace(Progress {
            token,
            session: self.follower.session().cloned(),
            pool: self.follower.pool().clone(),
            counters: self.counters,
        });
        self.shared.status.send_if_modified(|status| {
            let changed = !matches!(status, Status::Following);
            *status = Status::Following;
            changed
        });
    }
}

impl Kept {
    /// Compares the number of objects with the server's, at the same token.
    fn compare(&mut self, count: Option<usize>) {
        let here = self.slot.count();
        let Some(there) = count.filter(|_| self.todo == Todo::Nothing) else { return };
        if here == there {
            self.misses = 0;
            return;
        }
        if self.misses >= LOOKS && self.look_again > Instant::now() {
            return;
        }
        self.misses += 1;
        self.look_again = Instant::now() + LOOK_AGAIN;
        self.todo = if here > there { Todo::Prune } else { Todo::Load };
        tracing::debug!(class = self.slot.name(), here, there, "objects came or went without an event");
    }
}
