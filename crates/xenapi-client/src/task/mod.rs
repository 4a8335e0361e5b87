//! Tasks: operations that go on in the host while one waits, or does something else.

mod mark;
mod progress;
mod watch;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;
use xenapi_types::{TaskRecord, TaskStatusType};
use xenapi_wire::{Call, Failure, Limits, Ref, xmlrpc};

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::redact::Secrets;
use crate::transfer::LOOK_FOR_HOLDERS;

use mark::Hold;
pub use mark::TaskMark;
pub(crate) use mark::{Carried, HEADER as MARK_HEADER, Held};
pub use progress::TaskProgress;
use watch::TaskWatch;
pub(crate) use watch::Tasks;

/// An operation under way in the host, whose result is a `T`.
///
/// It goes on whether anyone waits for it or not: dropping a `Task`, or the future of a wait,
/// neither stops it nor loses its result, which XAPI keeps for about an hour. [`Task::cancel`]
/// asks it to stop.
pub struct Task<T> {
    client: Client,
    reference: Ref<xenapi_types::Task>,
    label: String,
    cancelled: Arc<AtomicBool>,
    /// What its failure may repeat.
    secrets: Secrets,
    /// Of a call that this program has made.
    _hold: Option<Hold>,
    output: PhantomData<fn() -> T>,
}

/// Stops a task that somebody else waits for. See [`Task::canceller`].
#[derive(Debug, Clone)]
pub struct Canceller {
    client: Client,
    reference: Ref<xenapi_types::Task>,
    cancelled: Arc<AtomicBool>,
}

impl Canceller {
    /// As [`Task::cancel`].
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn cancel(&self) -> Result<()> {
        self.cancelled.store(true, Ordering::Relaxed);
        self.client.invoke("task.cancel", &(&self.reference,)).await
    }
}

impl Client {
    /// Starts a call as a task, `Async.<method>`, and returns as soon as the host has accepted it. Where the answer is
    /// lost, the task is looked for by its [`TaskMark`].
    ///
    /// # Errors
    /// As [`Client::call`]; `Config` when the call has no such form.
    pub async fn spawn_task<C: Call>(&self, call: C) -> Result<Task<C::Output>> {
        if !C::HAS_ASYNC {
            let message = "this call cannot run as a task";
            return Err(Error::new(ErrorKind::Config, message).about(C::METHOD));
        }
        self.spawn_task_of(C::METHOD, &call).await
    }

    /// Starts any call as a task by its name, with parameters as for [`Client::invoke`], plain values among
    /// them: `client.spawn_task_of::<[Value], Value>("VM.clone", &params)`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn spawn_task_of<P, T>(&self, method: &str, params: &P) -> Result<Task<T>>
    where
        P: Serialize + Sync + ?Sized,
        T: DeserializeOwned,
    {
        let method = format!("Async.{method}");
        let (mark, hold) = self.mark_task();
        let reference = match self.marking(&mark).invoke(&method, params).await {
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => self.find_marked(&mark, error).await?,
            answered => answered?,
        };
        Ok(Task { secrets: Secrets::of(params), _hold: Some(hold), ..Task::attach(self, reference, method) })
    }
}

impl<T> Task<T> {
    /// A task that somebody else has started.
    pub fn attach(client: &Client, reference: Ref<xenapi_types::Task>, label: impl Into<String>) -> Self {
        let (client, label) = (client.clone(), label.into());
        let (cancelled, secrets) = (Arc::default(), Secrets::default());
        Self { client, reference, label, cancelled, secrets, _hold: None, output: PhantomData }
    }

    /// The task as XAPI knows it.
    pub fn reference(&self) -> &Ref<xenapi_types::Task> {
        &self.reference
    }

    /// Asks the task to stop. It may go on to its end nevertheless: wait for it to know.
    ///
    /// Some operations cannot be stopped, and XAPI says nothing about that; the transfer of a disk
    /// is one, which ends when its connection is closed. A cancelled `VDI.copy` fails with
    /// `VDI_COPY_FAILED`, which a wait for this very `Task` tells as `Cancelled`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn cancel(&self) -> Result<()> {
        self.canceller().cancel().await
    }

    /// What can stop the task while it is waited for.
    pub fn canceller(&self) -> Canceller {
        Canceller {
            client: self.client.clone(),
            reference: self.reference.clone(),
            cancelled: Arc::clone(&self.cancelled),
        }
    }

    /// The end of the task, whatever it is, as its record.
    pub(crate) async fn settle(&self, mut progress: impl FnMut(f64)) -> Result<Arc<TaskRecord>> {
        let mut watch = TaskWatch::new(&self.client, &self.reference);
        let mut told = -1.0;
        loop {
            let record = match watch.next().await {
                Ok(Some(record)) => record,
                Ok(None) => return Err(self.vanished()),
                Err(error) if error.kind() == ErrorKind::Failure => return Err(error.renamed(&self.label)),
                Err(error) => {
                    let message =
                        "the host cannot be asked about the task, which may or may not have been carried out";
                    let error = Error::new(ErrorKind::OutcomeUnknown, message)
                        .remedy("when the host is back, look what became of it before doing it again")
                        .because(error);
                    return Err(error.about(&self.label).at(&self.client.endpoint()));
                }
            };
            // Progress reaches 1.0 before the result is there, and failures end with 1.0 too: only
            // the status counts, which XAPI writes last.
            if is_over(&record) {
                return Ok(record);
            }
            let now = record.progress.clamp(0.0, 1.0);
            if now > told {
                told = now;
                progress(now);
            }
        }
    }

    /// Takes the record of a task that is over out of the host's database; nothing is lost when
    /// that fails, for XAPI does it after an hour. Who stops waiting does not stop it.
    pub(crate) async fn destroy_record(&self) {
        let (client, reference, label) = (self.client.clone(), self.reference.clone(), self.label.clone());
        to_its_end(async move { destroy_record(&client, &reference, &label).await }).await;
    }

    /// Ends a task that nobody in the host will end: one that was made for a transfer which the
    /// host did not accept. Who stops waiting does not stop it.
    pub(crate) async fn abandon(&self) {
        let (client, reference, label) = (self.client.clone(), self.reference.clone(), self.label.clone());
        to_its_end(async move {
            let mut ended = client.invoke::<_, ()>("task.set_status", &(&reference, "cancelled")).await;
            if ended.as_ref().is_err_and(|error| error.is("MESSAGE_METHOD_UNKNOWN")) {
                ended = crate::transfer::fail_task(&client, &reference).await;
            }
            if let Err(error) = ended {
                tracing::debug!(task = %label, %error, "the task cannot be ended");
            }
            destroy_record(&client, &reference, &label).await;
        })
        .await;
    }

    fn vanished(&self) -> Error {
        Error::new(
            ErrorKind::OutcomeUnknown,
            "the task vanished before its end: its toolstack was restarted, or somebody destroyed it",
        )
        .remedy("look whether the operation has been carried out")
        .about(&self.label)
        .at(&self.client.endpoint())
    }
}

impl<T: DeserializeOwned> Task<T> {
    /// Waits for the end of the task, and takes its record out of the host's database.
    ///
    /// # Errors
    /// `Failure` with what XAPI says; `Cancelled`; `OutcomeUnknown` when the task vanished with
    /// its toolstack, or the host has been out of reach for too long.
    pub async fn wait(self) -> Result<T> {
        self.wait_with(|_| {}).await
    }

    /// [`Task::wait`], with the progress from 0.0 to 1.0 told whenever the task has come further. It says
    /// nothing about the outcome. [`Task::progress`] is the same as a stream.
    ///
    /// # Errors
    /// As [`Task::wait`].
    pub async fn wait_with(self, progress: impl FnMut(f64)) -> Result<T> {
        let record = self.settle(progress).await?;
        self.destroy_record().await;
        self.output(&record).await
    }

    /// [`Task::wait`], and what comes next: it is begun as soon as the task has ended well, while its record is
    /// taken out, and not at all when the task fails.
    ///
    /// # Errors
    /// As [`Task::wait`].
    pub async fn wait_then<R>(self, next: impl AsyncFnOnce(T) -> R) -> Result<R> {
        let record = self.settle(|_| {}).await?;
        let next = async {
            match self.output(&record).await {
                Ok(output) => Ok(next(output).await),
                Err(error) => Err(error),
            }
        };
        let ((), next) = tokio::join!(self.destroy_record(), next);
        next
    }

    async fn output(&self, record: &TaskRecord) -> Result<T> {
        let outcome = check_without(&self.client, record, &self.secrets).map_err(|error| {
            match error.is("VDI_COPY_FAILED") {
                true if self.cancelled.load(Ordering::Relaxed) => error.into_kind(ErrorKind::Cancelled),
                _ => error,
            }
        });
        if let Err(error) = outcome {
            let error = error.about(&self.label).at(&self.client.endpoint());
            return Err(self.client.say_who_holds(error, LOOK_FOR_HOLDERS).await);
        }
        xmlrpc::decode_value(&record.result, &Limits::RESPONSE).map_err(|e| {
            Error::new(ErrorKind::Protocol, format!("the task's result cannot be read: {e}"))
                .because(e)
                .about(&self.label)
                .at(&self.client.endpoint())
        })
    }
}

impl<T: DeserializeOwned + Send + 'static> IntoFuture for Task<T> {
    type Output = Result<T>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.wait())
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("label", &self.label).field("reference", &self.reference).finish()
    }
}

/// Work that goes on when its caller is dropped: a task that nobody knows any more would stay.
async fn to_its_end(work: impl Future<Output = ()> + Send + 'static) {
    // It fails only where the runtime ends, and takes everything with it.
    let _ = tokio::spawn(work).await;
}

async fn destroy_record(client: &Client, reference: &Ref<xenapi_types::Task>, label: &str) {
    if let Err(error) = client.destroy(reference).await
        && error.kind() != ErrorKind::NotFound
    {
        tracing::debug!(task = %label, %error, "the task's record stays behind");
    }
}

pub(crate) fn is_over(record: &TaskRecord) -> bool {
    matches!(record.status, TaskStatusType::Success | TaskStatusType::Failure | TaskStatusType::Cancelled)
}

/// Whether a task that is over was successful.
pub(crate) fn check(client: &Client, record: &TaskRecord) -> Result<()> {
    check_without(client, record, &Secrets::default())
}

/// [`check`], with what its call had of secrets cut out.
fn check_without(client: &Client, record: &TaskRecord, secrets: &Secrets) -> Result<()> {
    if record.status == TaskStatusType::Success {
        return Ok(());
    }
    let failure = secrets.cut_out(client.inner.sessions.redact(Failure::from(record.error_info.clone())));
    Err(match record.status {
        TaskStatusType::Cancelled => {
            Error::new(ErrorKind::Cancelled, "it was cancelled").with_failure(Some(failure))
        }
        _ => Error::from_failure(failure),
    })
}
