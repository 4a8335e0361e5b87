//! The task of a transfer: its only witness in the host.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;
use xenapi_types::{Task as TaskClass, TaskRecord};
use xenapi_wire::Ref;

use super::Meter;
use super::diagnosis::StoodStill;
use super::queue::Turn;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::task::{self, Task};

/// How long a task may stay pending after its connection has ended before it is taken for one that
/// nobody will end. After a cut XAPI still flushes the disk and detaches it, for up to 5 minutes.
const AFTERMATH: Duration = Duration::from_secs(360);

/// The same for a transfer that was given up before a host answered: none may have seen its request.
const UNANSWERED: Duration = Duration::from_secs(5);

/// How long a look at the task may take while the data wait.
const LOOK: Duration = Duration::from_secs(20);

/// Creates a task and finds it again if the answer is lost: nobody would ever end it, for it is known to none.
async fn create(client: &Client, label: &str, description: &str) -> Result<Ref<TaskClass>> {
    // What tells it from all others.
    let description = format!("{description} ({})", Uuid::new_v4());
    let error = match client.invoke("task.create", &(label, &description)).await {
        Err(error) if error.kind() == ErrorKind::OutcomeUnknown => error,
        answered => return answered,
    };
    let tasks = client.all_records::<TaskClass>().await?;
    match tasks.into_iter().find(|(_, record)| record.name_description == description) {
        Some((found, _)) => Ok(found),
        None => Err(error),
    }
}

/// The task of a transfer. While it is held, nothing in the host is forgotten: when it is dropped
/// before [`TransferTask::finish`], the task is destroyed in the background, as soon as the closed
/// connection has ended the transfer.
pub(super) struct TransferTask {
    task: Option<Task<()>>,
    client: Client,
    known: Known,
    /// The place among the host's transfers.
    turn: Option<Turn>,
}

/// Whether a host knows of a task, and will end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    ToNone,
    PerhapsToOne,
    ToOne,
}

impl TransferTask {
    pub(super) async fn create(client: &Client, label: &str, description: &str) -> Result<Self> {
        let (client, label, description) = (client.clone(), label.to_owned(), description.to_owned());
        // On its own: if the transfer is dropped before the answer has come, the task is destroyed
        // when it comes, for nobody else would ever know of it.
        let creating = tokio::spawn(async move {
            let reference = create(&client, &label, &description).await?;
            let task = Some(Task::attach(&client, reference, label));
            Ok(Self { task, client, known: Known::ToNone, turn: None })
        });
        creating.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "the runtime is shutting down")))
    }

    /// A host is about to be told of the task.
    pub(super) fn proposed(&mut self) {
        self.known = Known::PerhapsToOne;
    }

    /// A host has taken it over.
    pub(super) fn accepted(&mut self) {
        self.known = Known::ToOne;
    }

    /// Holds a place among the host's transfers until the transfer is over.
    pub(super) fn keep(&mut self, turn: Turn) {
        self.turn = Some(turn);
    }

    fn task(&self) -> &Task<()> {
        self.task.as_ref().expect("only finish and drop take the task")
    }

    pub(super) fn reference(&self) -> &Ref<TaskClass> {
        self.task().reference()
    }

    /// What the task says now, if it has ended.
    pub(super) async fn peek(&self) -> Result<Option<Result<()>>> {
        match self.client.record_opt(self.reference()).await? {
            None => Ok(Some(Err(Error::new(ErrorKind::OutcomeUnknown, "the transfer's task vanished")
                .remedy("the toolstack may have been restarted: do the transfer again")))),
            Some(record) if task::is_over(&record) => Ok(Some(task::check(&self.client, &record))),
            Some(_) => Ok(None),
        }
    }

    /// Waits for the end of the task after the connection has ended, and takes its record away.
    pub(super) async fn finish(self) -> Result<TaskRecord> {
        self.finish_and(async { Ok(()) }).await
    }

    /// [`TransferTask::finish`], with something else that is waited for when it ended well.
    pub(super) async fn finish_and(mut self, rest: impl Future<Output = Result<()>>) -> Result<TaskRecord> {
        let ended = tokio::time::timeout(AFTERMATH, self.task().settle(|_| {})).await;
        let task = self.task.take().expect("taken only here");
        match ended {
            Ok(Ok(record)) => {
                let checked = task::check(&self.client, &record);
                let rest = async { if checked.is_ok() { rest.await } else { Ok(()) } };
                let ((), rested) = tokio::join!(task.destroy_record(), rest);
                checked.and(rested).map(|()| Arc::unwrap_or_clone(record))
            }
            Ok(Err(error)) => {
                task.destroy_record().await;
                Err(error)
            }
            Err(_) => {
                task.abandon().await;
                let message =
                    format!("its task did not end within {} s of its connection", AFTERMATH.as_secs());
                Err(Error::new(ErrorKind::OutcomeUnknown, message))
            }
        }
    }

    /// The reason why a transfer did not begin: the task's if it has one, else the one at hand.
    /// Answers such as 401 leave the task pending for ever; it is ended here.
    pub(super) async fn refused(mut self, at_hand: Error) -> Error {
        let said = self.peek().await;
        if let Some(task) = self.task.take() {
            match said {
                Ok(Some(_)) => task.destroy_record().await,
                _ => task.abandon().await,
            }
        }
        match said {
            Ok(Some(Err(error))) => error,
            _ => at_hand,
        }
    }

    pub(super) async fn abandon(mut self) {
        if let Some(task) = self.task.take() {
            task.abandon().await;
        }
    }
}

impl Drop for TransferTask {
    fn drop(&mut self) {
        let (Some(task), Ok(runtime)) = (self.task.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let patience = match self.known {
            Known::ToNone => Duration::ZERO,
            Known::PerhapsToOne => UNANSWERED,
            Known::ToOne => AFTERMATH,
        };
        runtime.spawn(async move {
            if !patience.is_zero() {
                // Of a pending task this is only a wish, which XAPI fulfils some day.
                task.destroy_record().await;
                if tokio::time::timeout(patience, task.settle(|_| {})).await.is_ok() {
                    return task.destroy_record().await;
                }
            }
            task.abandon().await;
        });
    }
}

/// Notices that nothing moves any more.
pub(super) struct StallWatch {
    stall: Duration,
    last_count: u64,
    last_progress: f64,
    moved_at: Instant,
}

/// What a look at a transfer showed.
pub(super) enum Look {
    Moving,
    Ended,
    Stalled,
}

impl StallWatch {
    pub(super) fn new(stall: Duration) -> Self {
        Self { stall, last_count: 0, last_progress: 0.0, moved_at: Instant::now() }
    }

    /// How often to look.
    pub(super) fn period(&self) -> Duration {
        (self.stall / 4).clamp(Duration::from_millis(50), Duration::from_secs(15))
    }

    /// Looks at the bytes, and when these stand still at the task: a host that has stopped reading
    /// may be waiting for its storage, or have failed without closing the connection.
    pub(super) async fn look(&mut self, meter: &Meter, task: &TransferTask) -> Look {
        let count = meter.bytes();
        if count != self.last_count {
            self.last_count = count;
            self.moved_at = Instant::now();
            return Look::Moving;
        }
        let client = task.client.with_deadline(LOOK);
        match client.record_opt(task.reference()).await {
            Ok(Some(record)) if task::is_over(&record) => return Look::Ended,
            Ok(Some(record)) if (record.progress - self.last_progress).abs() > f64::EPSILON => {
                self.last_progress = record.progress;
                self.moved_at = Instant::now();
            }
            _ => {}
        }
        if self.moved_at.elapsed() >= self.stall { Look::Stalled } else { Look::Moving }
    }

    /// For how long neither bytes nor the task have moved, as far as was looked.
    pub(super) fn still(&self) -> Duration {
        self.moved_at.elapsed()
    }

    pub(super) fn error(&self) -> Error {
        let message = format!("nothing moved for {} s", self.stall.as_secs_f32());
        Error::new(ErrorKind::Transfer, message)
            .remedy("look at the host's storage and network, and do the transfer again")
            .because(StoodStill)
    }
}
