//! Uploads: data into an existing disk.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::time::{Interval, MissedTickBehavior};
use xenapi_types::handler::{Format, Handler, ImportRawVdi, Present};
use xenapi_types::{Task as TaskClass, TaskRecord, Vdi};
use xenapi_wire::Ref;

use super::accept::{Accepted, Answer, Proposal, Reception, head, negotiate, receive};
use super::attached::LOOK_FOR_HOLDERS;
use super::body::{Fault, Gate, Gated, Length};
use super::checked::Checked;
use super::diagnosis::{Ours, Redirect};
use super::queue::Direction;
use super::task::{Look, StallWatch};
use super::{Diagnosis, Meter, Route, lost, unanswered};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::event::name;
use crate::http::Connection;
use crate::service::{Arriving, Broken};
use crate::session::Session;

/// What the bytes of an upload are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ImportFormat {
    /// The disk's content from its beginning. A shorter body leaves the rest as it is.
    Raw,
    /// Pieces of the disk's content in XAPI's own framing: offset (8 bytes, little endian), length
    /// (4 bytes), data, and a header of zeros at the end. Offsets and lengths are multiples of 512.
    RawChunked,
    /// A dynamic or differencing VHD, whose allocated sectors are written. Not for raw LVM disks,
    /// which XAPI refuses.
    Vhd,
    /// Pieces of a MiB of the disk's content in a tar archive, each with its checksum, as
    /// [`ExportFormat::Tar`](super::ExportFormat::Tar) gives them; of a disk called `vdi`. What is left out stays as
    /// it is. The archive is checked on the way, and by the host.
    Tar,
}

impl fmt::Display for ImportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw data",
            Self::RawChunked => "chunked raw data",
            Self::Vhd => "a VHD",
            Self::Tar => "a tar archive",
        })
    }
}

/// What an upload that succeeded did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// The length of the body in bytes.
    pub bytes: u64,
    /// The host that it went to.
    pub endpoint: Endpoint,
    /// The SHA-256 of the body, if it was asked for ([`Import::checksum`]).
    pub sha256: Option<[u8; 32]>,
}

pub(super) type Progress = Box<dyn FnMut(u64) + Send>;

pub(super) type Queued = Box<dyn FnMut(usize) + Send>;

/// An upload about to be made: `.await` makes it.
///
/// Dropping the future closes the connection, which makes the host give up; what it has written
/// until then stays on the disk.
#[must_use = "nothing is sent before this is awaited"]
pub struct Import<B> {
    client: Client,
    vdi: Ref<Vdi>,
    format: ImportFormat,
    body: B,
    route: Option<Route>,
    label: String,
    progress: Option<Progress>,
    queued: Option<Queued>,
    checksum: bool,
    validated: Option<u64>,
    detached: Option<Duration>,
}

impl Client {
    /// Writes `body` into a disk. The body must know its exact length ([`Body::size_hint`]): XAPI
    /// accepts nothing else, but for [`ImportFormat::RawChunked`], which has an end mark of its own.
    ///
    /// The body is not touched before a host has accepted the transfer; up to then it follows
    /// redirects and replaces an expired session. Afterwards nothing is repeated, for the body
    /// cannot be sent twice: a failed upload is made again with a new body.
    ///
    /// When this returns, the disk may be attached to dom0 for some seconds more:
    /// [`Import::until_detached`].
    ///
    /// # Errors
    /// The result is that of the transfer's task, whatever HTTP said. `Transfer` carries a
    /// [`Diagnosis`]; `Body` when the body failed, has another length than it said, or is a damaged archive.
    pub fn import_vdi<B>(&self, vdi: &Ref<Vdi>, format: ImportFormat, body: B) -> Import<B>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Import {
            client: self.clone(),
            vdi: vdi.clone(),
            format,
            body,
            route: None,
            label: format!("import of {format}"),
            progress: None,
            queued: None,
            checksum: false,
            validated: None,
            detached: None,
        }
    }
}

impl<B> Import<B> {
    /// Sends it through this host instead of finding one out.
    pub fn via(mut self, route: Route) -> Self {
        self.route = Some(route);
        self
    }

    /// Calls `progress` with the number of bytes sent, several times a second while it changes.
    pub fn on_progress(mut self, progress: impl FnMut(u64) + Send + 'static) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Computes the SHA-256 of what is sent, on the way.
    pub fn checksum(mut self) -> Self {
        self.checksum = true;
        self
    }

    /// Tells that the body was made or looked through on this side, holds together, and describes a disk of
    /// `virtual_size` bytes. It changes nothing but what is said when the upload fails: the likely cause is
    /// then not looked for in the body ([`Diagnosis::validated`]).
    pub fn validated(mut self, virtual_size: u64) -> Self {
        self.validated = Some(virtual_size);
        self
    }

    /// Calls `queued` with the position in the host's queue whenever it changes, from 1 for the next one, while
    /// the host has as many uploads as [`Limits::transfers_per_host`](crate::Limits::transfers_per_host) allows.
    pub fn on_queue(mut self, queued: impl FnMut(usize) + Send + 'static) -> Self {
        self.queued = Some(Box::new(queued));
        self
    }

    /// Does not return before dom0 has let go of the disk, as [`Client::wait_until_detached`]; this fails with
    /// `Timeout` although the data have been written.
    pub fn until_detached(mut self, patience: Duration) -> Self {
        self.detached = Some(patience);
        self
    }

    /// The name of the task in the host, which operators see.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }
}

impl<B> IntoFuture for Import<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Imported>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Imported>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<B> Import<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    async fn run(self) -> Result<Imported> {
        let Self { client, vdi, format, body, route, label, progress, queued, checksum, validated, detached } =
            self;
        let subject = format!("import of {format} into {}", name(&vdi));
        let len = length(&body, format).map_err(|error| error.about(subject.clone()))?;
        let sent = if checksum { Meter::with_checksum() } else { Meter::new() };
        let fault = Fault::default();
        let proposal = Upload {
            handler: ImportRawVdi {
                vdi: Some(vdi.clone()),
                format: Some(match format {
                    ImportFormat::Raw | ImportFormat::RawChunked => Format::Raw,
                    ImportFormat::Vhd => Format::Vhd,
                    ImportFormat::Tar => Format::Tar,
                }),
                chunked: Present(format == ImportFormat::RawChunked),
                ..ImportRawVdi::default()
            },
            len: len.clone(),
            sent: sent.clone(),
            fault: fault.clone(),
            queued,
            body: Some(Checked::disk(body, format == ImportFormat::Tar)),
        };
        let route = match route {
            Some(route) => route,
            None => client.route_to(&vdi).await.map_err(|error| error.renamed(&subject))?,
        };
        let (host, mut last) = (route.endpoint.clone(), route.endpoint);
        let transfer = async {
            let accepted = Box::pin(negotiate(&client, proposal, &mut last, &label, &name(&vdi))).await?;
            let endpoint = accepted.endpoint.clone();
            let until_detached = async {
                match detached {
                    Some(patience) => client.wait_until_detached(&vdi, patience).await,
                    None => Ok(()),
                }
            };
            let pouring = Box::pin(pour(accepted, &client, &len, &sent, progress, until_detached)).await;
            pouring.and_then(Poured::complete).map_err(|error| error.at(&endpoint))?;
            Ok::<_, Error>(Imported { bytes: sent.bytes(), endpoint, sha256: sent.checksum() })
        };
        let imported = transfer.await;
        let redirect = Redirect::between(&host, &last);
        match (imported, fault.take()) {
            (Ok(imported), _) => Ok(imported),
            (Err(_), Some(problem)) => Err(Error::new(ErrorKind::Body, problem.to_string())
                .remedy("check the source of the data, and send everything again")
                .because(problem)
                .at(&host)
                .renamed(subject)),
            (Err(error), None) => {
                let ours = Ours { sent: sent.bytes(), total: len.known(), validated, redirect };
                Err(diagnosed(&client, &vdi, format, ours, error).await.renamed(subject))
            }
        }
    }
}

/// The error with what is known on both sides of the wire about its reason.
async fn diagnosed(client: &Client, vdi: &Ref<Vdi>, format: ImportFormat, ours: Ours, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Failure | ErrorKind::Transfer => {
            let error = client.say_who_holds(error, LOOK_FOR_HOLDERS).await;
            let diagnosis = Diagnosis::of_import(client, vdi, format, ours, &error).await;
            let error = error.into_kind(ErrorKind::Transfer).remedy(diagnosis.to_string());
            error.with_diagnosis(diagnosis)
        }
        // The address is not the caller's: it must be said whose it is.
        ErrorKind::Unreachable if ours.redirect.is_some() => {
            let ours = Ours { sent: 0, ..ours };
            let diagnosis = Diagnosis::of_import(client, vdi, format, ours, &error).await;
            error.remedy(diagnosis.to_string()).with_diagnosis(diagnosis)
        }
        _ => error,
    }
}

/// How long the body is; only chunks may come without an end.
fn length(body: &impl Body, format: ImportFormat) -> Result<Length> {
    match body.size_hint().exact() {
        // XAPI starts the transfer and fails it with VDI_IO_ERROR.
        Some(0) => Err(Error::new(ErrorKind::Body, "the body is empty")),
        Some(len) => Ok(Length::exact(len)),
        None if format == ImportFormat::RawChunked => Ok(Length::open_ended()),
        None => {
            let message = "the body does not know its length, which XAPI needs";
            Err(Error::new(ErrorKind::Body, message))
        }
    }
}

/// An upload that looks for its host.
pub(super) struct Upload<H, B> {
    pub(super) handler: H,
    pub(super) len: Length,
    pub(super) sent: Meter,
    pub(super) fault: Fault,
    /// Hears where in its host's queue it is.
    pub(super) queued: Option<Queued>,
    /// Here until a host has accepted it.
    pub(super) body: Option<B>,
}

impl<H, B> Proposal for Upload<H, B>
where
    H: Handler + Clone + Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Sent = Gated<B>;
    const DIRECTION: Direction = Direction::Upload;

    fn queued(&mut self, position: usize) {
        if let Some(told) = &mut self.queued {
            told(position);
        }
    }

    async fn make(
        &mut self,
        client: &Client,
        endpoint: &Endpoint,
        session: &Session,
        task: &Ref<TaskClass>,
    ) -> Result<Reception<Gated<B>>> {
        let timeouts = &client.inner.config.timeouts;
        let (gate, gated) = Gated::new(self.len.clone(), self.sent.clone(), self.fault.clone());
        let request = head(self.handler.clone(), endpoint, session, task, gated)?;
        let mut connection = Connection::open(&client.inner.rpc.http.dialer, endpoint).await?;
        let mut gate = Some(gate);
        let response = {
            let sending = connection.send(request);
            tokio::pin!(sending);
            match tokio::time::timeout(timeouts.upload_head, &mut sending).await {
                Ok(answer) => answer,
                // XAPI sends the head of its answer at once. If none comes, something in between
                // wants the body first, and gets it.
                Err(_) => {
                    tracing::debug!("no answer to the head of an upload, sending the body");
                    self.open(gate.take());
                    let answer = tokio::time::timeout(timeouts.stall, sending).await;
                    answer.map_err(|_| Error::new(ErrorKind::Transfer, "no answer to the upload"))?
                }
            }
        };
        let reception = receive(connection, response.map_err(unanswered)?, endpoint, session).await?;
        match reception {
            Reception::Accepted(_) => self.open(gate),
            _ if self.body.is_none() => {
                let message = "the host turned the transfer away after its body had been begun";
                return Err(Error::new(ErrorKind::Transfer, message));
            }
            _ => {}
        }
        Ok(reception)
    }
}

impl<H, B> Upload<H, B> {
    fn open(&mut self, gate: Option<Gate<B>>) {
        if let (Some(gate), Some(body)) = (gate, self.body.take()) {
            // The other end is gone only when the connection is, which shows in its answer.
            drop(gate.send(body));
        }
    }
}

/// An upload whose task has succeeded.
pub(super) struct Poured {
    /// The task in the end.
    pub(super) record: TaskRecord,
    is_complete: bool,
}

impl Poured {
    /// Refuses an upload of which the host has not taken everything.
    pub(super) fn complete(self) -> Result<()> {
        if self.is_complete {
            return Ok(());
        }
        let message = "the host says that it is done, but has not read the whole body";
        Err(Error::new(ErrorKind::Transfer, message))
    }
}

/// Waits for the end: of the connection, then of the task, then of the `rest` if all went well.
pub(super) async fn pour<B>(
    accepted: Accepted<Gated<B>>,
    client: &Client,
    len: &Length,
    sent: &Meter,
    progress: Option<Progress>,
    rest: impl Future<Output = Result<()>>,
) -> Result<Poured> {
    let Accepted { answer: Answer { incoming, connection }, task, .. } = accepted;
    let timeouts = &client.inner.config.timeouts;
    // Until everything has been sent and the host has had time to say something.
    let mut wire = Some((incoming, connection));
    let mut settling = Settling::default();
    let mut stall = StallWatch::new(timeouts.stall);
    let mut look = ticks(stall.period());
    let mut tell = ticks(Duration::from_millis(200));
    let mut told = Told { progress, bytes: 0 };
    let broken = loop {
        tokio::select! {
            // What comes after a 200 is the host's complaint, which its task knows too.
            frame = next_frame(&mut wire) => match frame {
                Some(Ok(_)) => {}
                Some(Err(error)) => break Some(error),
                None => break None,
            },
            _ = tell.tick() => {
                told.tell(sent.bytes());
                // A host that misses something, as of a VHD that lacks its end, reads on until it is told
                // that no more will come. One that is still writing does not read any more.
                let out = wire.as_ref().is_some_and(|(_, connection)| connection.has_sent_all());
                let settled = settling.look(out && sent.bytes() == len.bytes(), stall.still());
                if settled.is_some_and(|time| time >= timeouts.settle)
                    && let Some((_, connection)) = wire.take()
                {
                    connection.leave().await;
                }
            }
            _ = look.tick() => match stall.look(sent, &task).await {
                Look::Moving => {}
                Look::Ended => break None,
                Look::Stalled => {
                    drop(wire);
                    task.abandon().await;
                    return Err(stall.error());
                }
            },
        }
    };
    drop(wire);
    told.tell(sent.bytes());
    // However the connection ended, the task knows.
    match (task.finish_and(rest).await, broken) {
        (Ok(record), _) => Ok(Poured { record, is_complete: sent.bytes() == len.bytes() }),
        (Err(error), Some(cut)) if error.kind() == ErrorKind::OutcomeUnknown => Err(lost(cut)),
        (Err(error), _) => Err(error),
    }
}

/// What was last said of the progress, so that nothing is said twice.
struct Told {
    progress: Option<Progress>,
    bytes: u64,
}

impl Told {
    fn tell(&mut self, bytes: u64) {
        if let Some(progress) = &mut self.progress
            && std::mem::replace(&mut self.bytes, bytes) != bytes
        {
            progress(bytes);
        }
    }
}

/// Since when everything has been sent.
#[derive(Default)]
struct Settling(Option<Instant>);

impl Settling {
    /// For how long everything has been sent and nothing has moved, if it has been sent.
    fn look(&mut self, is_out: bool, still: Duration) -> Option<Duration> {
        if !is_out {
            self.0 = None;
            return None;
        }
        Some(still.min(self.0.get_or_insert_with(Instant::now).elapsed()))
    }
}

/// What the host says; nothing, once the connection is closed.
async fn next_frame<C>(wire: &mut Option<(Arriving, C)>) -> Option<Result<Frame<Bytes>, Broken>> {
    match wire {
        Some((incoming, _)) => incoming.frame().await,
        None => std::future::pending().await,
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
