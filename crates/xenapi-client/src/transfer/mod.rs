//! Disk data to and from a host (`/import_raw_vdi`, `/export_raw_vdi`).
//!
//! XAPI answers `200 OK` before it does anything, reports every mishap on the way as
//! `VDI_IO_ERROR`, and ends a broken export like a finished one. So each transfer has a task, is
//! sent to a host that sees the disk's storage, and its result is the task's result:
//!
//! ```text
//! route -> task.create -> head of the request -> 200 -> body -> connection closed -> task's end
//!                                  |-> 302: the same again at another host, before any body
//!                                  '-> else: the task says why, or is ended by us
//! ```

mod attached;
mod body;
mod diagnosis;
mod export;
mod import;
mod route;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{StatusCode, header};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::Instant;
use xenapi_types::Task as TaskClass;
use xenapi_types::handler::{self, Handler, Method};
use xenapi_wire::Ref;

pub use diagnosis::{Cause, Diagnosis};
pub use export::{Export, ExportFormat, Exported};
pub use import::{Import, ImportFormat, Imported};
pub use route::Route;

use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::http::{Connection, Unanswered, request};
use crate::session::Session;
use crate::task::{self, Task};

/// How many hosts a transfer is passed on to before it is called a loop.
const MAX_REDIRECTS: usize = 3;

/// How long a task may stay pending after its connection has ended before it is taken for one that
/// nobody will end. After a cut XAPI still flushes the disk and detaches it, for up to 5 minutes.
const AFTERMATH: Duration = Duration::from_secs(360);

/// How long a look at the task may take while the data wait.
const LOOK: Duration = Duration::from_secs(20);

/// The head of a transfer's request.
fn head<H: Handler, B: Body>(
    handler: H,
    endpoint: &Endpoint,
    session: &Session,
    task: &Ref<TaskClass>,
    body: B,
) -> Result<http::Request<B>> {
    let method = match H::METHOD {
        Method::Get => http::Method::GET,
        Method::Put => http::Method::PUT,
        Method::Connect => http::Method::CONNECT,
    };
    let target = handler::Request { task_id: Some(task.clone()), ..handler.into() }.path_and_query();
    // The session goes into a cookie: what is in a URL ends up in logs.
    let cookie = format!("session_id={}", session.reference.expose());
    request(method, endpoint, &target, &[(header::COOKIE, &cookie)], body)
}

/// The address that a redirect names, with nothing but host and port taken from it: path and query
/// stay ours.
fn redirect_target(headers: &http::HeaderMap) -> Option<Endpoint> {
    let location = headers.get(header::LOCATION)?.to_str().ok()?.trim();
    let (scheme, rest) = location.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    format!("{scheme}://{authority}").parse().ok()
}

/// The body of the answer that comes with a connection which must be kept alive for it.
struct Answer<B> {
    incoming: Incoming,
    /// Dropping this closes the socket.
    connection: Connection<B>,
}

/// What a host makes of the head of a transfer.
enum Reception<B> {
    Accepted(Answer<B>),
    Moved(Endpoint),
    Denied { status: StatusCode, page: String },
}

/// Reads what came back for the head.
async fn receive<B>(
    endpoint: &Endpoint,
    connection: Connection<B>,
    response: http::Response<Incoming>,
) -> Result<Reception<B>> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(Reception::Accepted(Answer { incoming: response.into_body(), connection }));
    }
    if status.is_redirection() {
        let target = redirect_target(response.headers()).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, format!("HTTP {status} without a usable Location")).at(endpoint)
        })?;
        return Ok(Reception::Moved(target));
    }
    // Some of these answers have no length and stay open: what has come after a second is enough.
    let page = body::read_some(response.into_body(), Duration::from_secs(1)).await;
    drop(connection);
    Ok(Reception::Denied { status, page: crate::http::page_text(&page) })
}

/// Bytes moved, and when the last of them was.
#[derive(Debug, Clone)]
struct Meter(Arc<AtomicU64>);

impl Meter {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The task of a transfer. While it is held, nothing in the host is forgotten: when it is dropped
/// before [`TransferTask::finish`], the task is destroyed in the background, which XAPI does as
/// soon as the closed connection has ended the transfer.
struct TransferTask {
    task: Option<Task<()>>,
    client: Client,
}

impl TransferTask {
    async fn create(client: &Client, label: &str, description: &str) -> Result<Self> {
        let reference: Ref<TaskClass> = client.invoke("task.create", &(label, description)).await?;
        let task = Task::attach(client, reference, label);
        Ok(Self { task: Some(task), client: client.clone() })
    }

    fn task(&self) -> &Task<()> {
        self.task.as_ref().expect("only finish and drop take the task")
    }

    fn reference(&self) -> &Ref<TaskClass> {
        self.task().reference()
    }

    /// What the task says now, if it has ended.
    async fn peek(&self) -> Result<Option<Result<()>>> {
        match self.client.record_opt(self.reference()).await? {
            None => Ok(Some(Err(Error::new(ErrorKind::OutcomeUnknown, "the transfer's task vanished")
                .remedy("the toolstack may have been restarted: do the transfer again")))),
            Some(record) if task::is_over(&record) => Ok(Some(task::check(&record))),
            Some(_) => Ok(None),
        }
    }

    /// Waits for the end of the task after the connection has ended, and takes its record away.
    async fn finish(mut self, patience: Duration) -> Result<()> {
        let ended = tokio::time::timeout(patience, self.task().settle(|_| {})).await;
        let task = self.task.take().expect("taken only here");
        match ended {
            Ok(Ok(record)) => {
                task.destroy_record().await;
                task::check(&record)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                task.abandon().await;
                let message =
                    format!("its task did not end within {} s of its connection", patience.as_secs());
                Err(Error::new(ErrorKind::OutcomeUnknown, message))
            }
        }
    }

    /// The reason why a host did not take the transfer: the task's if it has one, else what HTTP
    /// said. Answers such as 401 leave the task pending for ever; it is ended here.
    async fn denied(mut self, status: StatusCode, page: &str) -> Error {
        let said = self.peek().await;
        if let Some(task) = self.task.take() {
            match said {
                Ok(Some(_)) => task.destroy_record().await,
                _ => task.abandon().await,
            }
        }
        match said {
            Ok(Some(Err(error))) => error,
            _ => Error::new(ErrorKind::Transfer, format!("the host answered HTTP {status}: {page}")),
        }
    }

    async fn abandon(mut self) {
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
        runtime.spawn(async move { task.destroy_record().await });
    }
}

/// Notices that nothing moves any more.
struct StallWatch {
    stall: Duration,
    last_count: u64,
    last_progress: f64,
    moved_at: Instant,
}

/// What a look at a transfer showed.
enum Look {
    Moving,
    Ended(Result<()>),
    Stalled,
}

impl StallWatch {
    fn new(stall: Duration) -> Self {
        Self { stall, last_count: 0, last_progress: 0.0, moved_at: Instant::now() }
    }

    /// How often to look.
    fn period(&self) -> Duration {
        (self.stall / 4).clamp(Duration::from_millis(50), Duration::from_secs(15))
    }

    /// Looks at the bytes, and when these stand still at the task: a host that has stopped reading
    /// may be waiting for its storage, or have failed without closing the connection.
    async fn look(&mut self, meter: &Meter, task: &TransferTask) -> Look {
        let count = meter.bytes();
        if count != self.last_count {
            self.last_count = count;
            self.moved_at = Instant::now();
            return Look::Moving;
        }
        let client = task.client.with_deadline(LOOK);
        match client.record_opt(task.reference()).await {
            Ok(Some(record)) if task::is_over(&record) => return Look::Ended(task::check(&record)),
            Ok(Some(record)) if (record.progress - self.last_progress).abs() > f64::EPSILON => {
                self.last_progress = record.progress;
                self.moved_at = Instant::now();
            }
            _ => {}
        }
        if self.moved_at.elapsed() >= self.stall { Look::Stalled } else { Look::Moving }
    }

    fn error(&self) -> Error {
        let message = format!("nothing moved for {} s", self.stall.as_secs_f32());
        Error::new(ErrorKind::Transfer, message)
            .remedy("look at the host's storage and network, and do the transfer again")
    }
}

fn lost(error: impl Into<BoxError>) -> Error {
    let error = error.into();
    let cause = crate::error::root_cause(&*error);
    Error::new(ErrorKind::Transfer, format!("the connection broke ({cause})")).because(error)
}

fn unanswered(error: Unanswered) -> Error {
    match error {
        Unanswered::NotSent => {
            Error::new(ErrorKind::Unreachable, "the host closed the connection before the request was sent")
        }
        Unanswered::Lost(error) => lost(error),
    }
}

fn loop_of_redirects() -> Error {
    Error::new(ErrorKind::Protocol, format!("the hosts passed the transfer on {MAX_REDIRECTS} times"))
        .remedy("check which hosts have the storage repository attached")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_only_an_address() {
        let target = |location: &str| {
            let mut headers = http::HeaderMap::new();
            headers.insert(header::LOCATION, location.parse().unwrap());
            redirect_target(&headers).map(|endpoint| endpoint.to_string())
        };
        assert_eq!(target("https://10.0.0.2/import_raw_vdi?vdi=x").as_deref(), Some("https://10.0.0.2"));
        assert_eq!(target("https://[fd00::2]/export").as_deref(), Some("https://[fd00::2]"));
        assert_eq!(target("/elsewhere"), None);
        assert_eq!(target("ftp://h/x"), None);
    }
}
