//! Whose turn it is: dom0 moves every byte of a transfer, so each host is given a few at once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::endpoint::Endpoint;

/// Which way the data go. Each way has a queue of its own, so that copies from one disk to another, which
/// hold a place in both, never wait for each other in a circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the host.
    Upload,
    /// From the host.
    Download,
}

/// The transfers of one direction at one host: see [`Client::transfer_queues`](crate::Client::transfer_queues).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferQueue {
    /// The host.
    pub endpoint: Endpoint,
    /// Which way the data go.
    pub direction: Direction,
    /// How many are under way.
    pub running: usize,
    /// The labels of those that wait, the next one first.
    pub waiting: Vec<String>,
}

type Key = (Endpoint, Direction);

/// All queues of a client.
#[derive(Clone)]
pub(crate) struct Queues {
    limit: usize,
    queues: Arc<Mutex<HashMap<Key, Queue>>>,
}

#[derive(Default)]
struct Queue {
    running: usize,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    label: String,
    /// How many are before it, itself included; 0 when it is its turn.
    position: watch::Sender<usize>,
}

impl Queue {
    /// Lets in whoever has a place, and tells the others where they are.
    fn advance(&mut self, limit: usize) {
        while self.running < limit
            && let Some(next) = self.waiting.pop_front()
        {
            self.running += 1;
            next.position.send_replace(0);
        }
        for (position, waiting) in (1..).zip(&self.waiting) {
            waiting.position.send_if_modified(|told| std::mem::replace(told, position) != position);
        }
    }
}

impl Queues {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), queues: Arc::default() }
    }

    /// A place in the queue of a host.
    pub(super) fn enter(&self, endpoint: &Endpoint, direction: Direction, label: &str) -> Turn {
        let key = (endpoint.clone(), direction);
        let (sender, position) = watch::channel(usize::MAX);
        let mut queues = self.lock();
        let queue = queues.entry(key.clone()).or_default();
        queue.waiting.push_back(Waiting { label: label.to_owned(), position: sender });
        queue.advance(self.limit);
        Turn { queues: self.clone(), key, position }
    }

    pub(crate) fn snapshot(&self) -> Vec<TransferQueue> {
        let shown = |((endpoint, direction), queue): (&Key, &Queue)| TransferQueue {
            endpoint: endpoint.clone(),
            direction: *direction,
            running: queue.running,
            waiting: queue.waiting.iter().map(|waiting| waiting.label.clone()).collect(),
        };
        self.lock().iter().map(shown).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a queue, and then among those under way, until it is dropped.
pub(super) struct Turn {
    queues: Queues,
    key: Key,
    position: watch::Receiver<usize>,
}

impl Turn {
    /// Waits for its turn; `moved` is told the position whenever it changes, from 1 for the next one.
    pub(super) async fn wait(&mut self, mut moved: impl FnMut(usize)) {
        loop {
            let position = *self.position.borrow_and_update();
            if position == 0 {
                return;
            }
            moved(position);
            // The sender is dropped only after it has told the 0.
            let _ = self.position.changed().await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queues = self.queues.lock();
        let Some(queue) = queues.get_mut(&self.key) else { return };
        if *self.position.borrow() == 0 {
            queue.running -= 1;
        } else {
            queue.waiting.retain(|waiting| !waiting.position.subscribe().same_channel(&self.position));
        }
        queue.advance(self.queues.limit);
        if queue.running == 0 && queue.waiting.is_empty() {
            queues.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_come_in_order_and_those_who_leave_are_not_waited_for() {
        let host: Endpoint = "http://h".parse().unwrap();
        let queues = Queues::new(2);
        let enter = |label| queues.enter(&host, Direction::Upload, label);
        let (mut a, mut b) = (enter("a"), enter("b"));
        a.wait(|_| panic!("there was room")).await;
        b.wait(|_| panic!("there was room")).await;
        let (mut c, d, e) = (enter("c"), enter("d"), enter("e"));
        let position = |turn: &Turn| *turn.position.borrow();
        assert_eq!([&c, &d, &e].map(position), [1, 2, 3]);
        let mut other = queues.enter(&host, Direction::Download, "other");
        other.wait(|_| panic!("the other way is free")).await;

        drop(d);
        assert_eq!([&c, &e].map(position), [1, 2]);
        let shown = queues.snapshot();
        let shown = shown.iter().find(|queue| queue.direction == Direction::Upload).unwrap();
        assert_eq!((shown.running, &shown.waiting[..]), (2, &["c".to_owned(), "e".to_owned()][..]));

        drop(a);
        c.wait(|_| panic!("its turn has come")).await;
        assert_eq!(position(&e), 1);
        // One whose turn has come, and who leaves without having noticed.
        drop(b);
        assert_eq!(position(&e), 0);
        drop((e, c, other));
        assert_eq!(queues.snapshot(), []);
    }
}
