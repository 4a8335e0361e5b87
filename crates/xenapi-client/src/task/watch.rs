//! One wait for events for all tasks that a client waits for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use xenapi_types::{Task as TaskClass, TaskRecord};
use xenapi_wire::Ref;

use crate::client::Client;
use crate::error::Result;
use crate::event::Patience;
use crate::pulse::{Beat, Pulse};

/// How long the watcher stays when nobody waits for a task: the next one will soon.
const LINGER: Duration = Duration::from_secs(10);

/// Who waits for which task.
#[derive(Default)]
pub(crate) struct Tasks {
    state: Mutex<State>,
    /// Somebody has begun to wait, or nobody waits any more.
    changed: Notify,
}

#[derive(Default)]
struct State {
    waiting: HashMap<Ref<TaskClass>, watch::Sender<Note>>,
    watched: bool,
}

/// What is heard of a task.
#[derive(Debug, Clone)]
enum Note {
    /// It may have changed.
    Look,
    /// It has changed into this.
    Seen(Arc<TaskRecord>),
}

impl Tasks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, task: &Ref<TaskClass>, note: Note) {
        if let Some(sender) = self.lock().waiting.get(task) {
            sender.send_replace(note);
        }
    }

    fn tell_all(&self) {
        for sender in self.lock().waiting.values() {
            sender.send_replace(Note::Look);
        }
    }

    fn is_idle(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// Ends the watching if nobody waits.
    fn retire(&self) -> bool {
        let mut state = self.lock();
        state.watched = !state.waiting.is_empty();
        !state.watched
    }
}

/// The records of a task, whenever it may have changed.
///
/// It is registered before its task is looked at for the first time, so that nothing can happen unseen
/// between the two. A task that has ended by then costs one call and no wait.
pub(super) struct TaskWatch {
    client: Client,
    task: Ref<TaskClass>,
    notes: watch::Receiver<Note>,
    looked: bool,
    patience: Patience,
}

impl TaskWatch {
    pub(super) fn new(client: &Client, task: &Ref<TaskClass>) -> Self {
        let mut state = client.inner.tasks.lock();
        let sender = state.waiting.entry(task.clone()).or_insert_with(|| watch::Sender::new(Note::Look));
        let notes = sender.subscribe();
        drop(state);
        let patience = Patience::new(client);
        Self { client: client.clone(), task: task.clone(), notes, looked: false, patience }
    }

    /// The record now, at once the first time; `None` when the task is gone. It can be dropped at any time.
    pub(super) async fn next(&mut self) -> Result<Option<Arc<TaskRecord>>> {
        if std::mem::replace(&mut self.looked, true) {
            watch_over(&self.client);
            // The sender stays as long as there is a receiver.
            let _ = self.notes.changed().await;
            if let Note::Seen(record) = self.notes.borrow_and_update().clone() {
                return Ok(Some(record));
            }
        }
        loop {
            let record = self.client.record_opt(&self.task).await;
            if let Some(record) = self.patience.with(record).await? {
                return Ok(record.map(Arc::new));
            }
        }
    }
}

impl Drop for TaskWatch {
    fn drop(&mut self) {
        let tasks = &self.client.inner.tasks;
        let mut state = tasks.lock();
        if state.waiting.get(&self.task).is_some_and(|sender| sender.receiver_count() <= 1) {
            state.waiting.remove(&self.task);
        }
        if state.waiting.is_empty() {
            tasks.changed.notify_one();
        }
    }
}

/// Sees to it that the tasks of a client are watched.
fn watch_over(client: &Client) {
    let tasks = &client.inner.tasks;
    let watched = std::mem::replace(&mut tasks.lock().watched, true);
    if watched {
        tasks.changed.notify_one();
        return;
    }
    let watcher = Watcher(client.clone());
    tokio::spawn(async move { watcher.run().await });
}

struct Watcher(Client);

impl Watcher {
    async fn run(self) {
        let tasks = &self.0.inner.tasks;
        let mut pulse = Pulse::new(&self.0, vec!["task".to_owned()]);
        loop {
            if tasks.is_idle() {
                tokio::select! {
                    () = tasks.changed.notified() => {}
                    () = tokio::time::sleep(LINGER) => {
                        if tasks.retire() {
                            return;
                        }
                    }
                }
                continue;
            }
            let beat = pulse.next();
            tokio::pin!(beat);
            let beat = loop {
                tokio::select! {
                    beat = &mut beat => break Some(beat),
                    () = tasks.changed.notified() => if tasks.is_idle() { break None },
                }
            };
            match beat {
                None => {}
                Some(Ok(Beat::Changes(batch))) => tell(tasks, &batch),
                Some(Ok(Beat::Look)) => tasks.tell_all(),
                Some(Err(error)) => {
                    // Each of those who wait finds out for itself, and for how long it does so.
                    tracing::debug!(%error, "the tasks' events cannot be followed");
                    tasks.tell_all();
                }
            }
        }
    }
}

impl Drop for Watcher {
    /// Also when its runtime ends: waits in another one begin to watch again.
    fn drop(&mut self) {
        let tasks = &self.0.inner.tasks;
        tasks.lock().watched = false;
        tasks.tell_all();
    }
}

fn tell(tasks: &Tasks, batch: &xenapi_types::EventBatch) {
    for event in &batch.events {
        let Some(task) = event.object::<TaskClass>() else { continue };
        match event.record::<TaskClass>() {
            Some(Ok(record)) => tasks.tell(&task, Note::Seen(Arc::new(record))),
            // It is gone, or cannot be read: a look tells.
            _ => tasks.tell(&task, Note::Look),
        }
    }
}
