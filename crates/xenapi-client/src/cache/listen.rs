//! Telling those who listen what has changed, each at its own speed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use xenapi_wire::Ref;

use super::table::Object;
use super::{Shared, Watched};

/// What became of an object between two looks at it.
#[non_exhaustive]
pub struct Change<C: Watched> {
    /// The object.
    pub reference: Ref<C>,
    /// As it was when last told of; `None` when it is new.
    pub before: Option<Arc<Object<C>>>,
    /// As it is now; `None` when it was destroyed. At least one of the two is there.
    pub after: Option<Arc<Object<C>>>,
}

impl<C: Watched> std::fmt::Debug for Change<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match (&self.before, &self.after) {
            (None, _) => "created",
            (_, None) => "destroyed",
            _ => "changed",
        };
        write!(f, "{} {} {what}", C::NAME, self.reference)
    }
}

/// The changes of a class, or of one object. See [`Cache::subscribe`](super::Cache::subscribe).
///
/// What happens while nobody calls [`Changes::next`] is put together: each object is told of once,
/// from the state that was told last to the present one, so the memory needed is bounded by the
/// number of objects and a slow listener falls behind no further than one round.
pub struct Changes<C: Watched> {
    queue: Arc<Queue<C>>,
    only: Option<Ref<C>>,
    listeners: Arc<Listeners<C>>,
    shared: Arc<Shared>,
}

impl<C: Watched> Changes<C> {
    /// Waits for the next change. `None` when the cache has ended: its last handle was dropped, or it
    /// met an error that does not pass.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Change<C>> {
        loop {
            if let Some(change) = self.try_next() {
                return Some(change);
            }
            tokio::select! {
                () = self.queue.wake.notified() => {}
                () = self.shared.ended() => return self.try_next(),
            }
        }
    }

    /// The next change if there is one already.
    pub fn try_next(&mut self) -> Option<Change<C>> {
        // While this is held nothing is published: what is taken from the queue and the state that
        // is looked up belong together.
        let state = self.shared.state();
        let table = state.table::<C>();
        let mut pending = self.queue.lock();
        loop {
            let reference = pending.order.pop_front()?;
            let before = pending.before.remove(&reference).unwrap_or_default();
            let after = table.get(&reference).cloned();
            let same = match (&before, &after) {
                (Some(before), Some(after)) => Arc::ptr_eq(before, after),
                (None, None) => true,
                _ => false,
            };
            if !same {
                return Some(Change { reference, before, after });
            }
        }
    }
}

impl<C: Watched> Drop for Changes<C> {
    fn drop(&mut self) {
        self.listeners.remove(&self.queue, self.only.as_ref());
    }
}

struct Queue<C: Watched> {
    pending: Mutex<Pending<C>>,
    wake: Notify,
}

struct Pending<C: Watched> {
    order: VecDeque<Ref<C>>,
    /// What the listener saw last of each object in `order`.
    before: HashMap<Ref<C>, Option<Arc<Object<C>>>>,
}

impl<C: Watched> Queue<C> {
    fn lock(&self) -> MutexGuard<'_, Pending<C>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, reference: &Ref<C>, before: Option<&Arc<Object<C>>>) {
        let mut pending = self.lock();
        if !pending.before.contains_key(reference) {
            pending.before.insert(reference.clone(), before.cloned());
            pending.order.push_back(reference.clone());
        }
        self.wake.notify_one();
    }
}

/// Who listens to a class.
pub(super) struct Listeners<C: Watched>(Mutex<Lists<C>>);

struct Lists<C: Watched> {
    all: Vec<Weak<Queue<C>>>,
    one: HashMap<Ref<C>, Vec<Weak<Queue<C>>>>,
}

impl<C: Watched> Default for Listeners<C> {
    fn default() -> Self {
        Self(Mutex::new(Lists { all: Vec::new(), one: HashMap::new() }))
    }
}

impl<C: Watched> Listeners<C> {
    fn lock(&self) -> MutexGuard<'_, Lists<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(self: &Arc<Self>, only: Option<Ref<C>>, shared: &Arc<Shared>) -> Changes<C> {
        let pending = Pending { order: VecDeque::new(), before: HashMap::new() };
        let queue = Arc::new(Queue { pending: Mutex::new(pending), wake: Notify::new() });
        let mut lists = self.lock();
        match &only {
            None => lists.all.push(Arc::downgrade(&queue)),
            Some(object) => lists.one.entry(object.clone()).or_default().push(Arc::downgrade(&queue)),
        }
        Changes { queue, only, listeners: Arc::clone(self), shared: Arc::clone(shared) }
    }

    fn remove(&self, queue: &Arc<Queue<C>>, only: Option<&Ref<C>>) {
        let other = |listed: &Weak<Queue<C>>| !std::ptr::eq(listed.as_ptr(), Arc::as_ptr(queue));
        let mut lists = self.lock();
        match only {
            None => lists.all.retain(other),
            Some(object) => {
                if let Some(list) = lists.one.get_mut(object) {
                    list.retain(other);
                    if list.is_empty() {
                        lists.one.remove(object);
                    }
                }
            }
        }
    }

    /// Tells everybody about objects and what they were before.
    pub(super) fn tell<'a>(&self, changed: impl Iterator<Item = (&'a Ref<C>, Option<&'a Arc<Object<C>>>)>) {
        let lists = self.lock();
        if lists.all.is_empty() && lists.one.is_empty() {
            return;
        }
        for (reference, before) in changed {
            let one = lists.one.get(reference).into_iter().flatten();
            for queue in lists.all.iter().chain(one).filter_map(Weak::upgrade) {
                queue.push(reference, before);
            }
        }
    }
}
