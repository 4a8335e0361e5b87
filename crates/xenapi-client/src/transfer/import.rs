//! Uploads: data into an existing disk.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use xenapi_types::Vdi;
use xenapi_types::handler::{Format, ImportRawVdi, Present};
use xenapi_wire::Ref;

use super::body::{Fault, Gate, Gated};
use super::{
    AFTERMATH, Answer, Diagnosis, Look, MAX_REDIRECTS, Meter, Reception, Route, StallWatch, TransferTask,
    head, loop_of_redirects, lost, receive, unanswered,
};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::event::name;
use crate::http::{Connection, page_text};

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
}

impl fmt::Display for ImportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw data",
            Self::RawChunked => "chunked raw data",
            Self::Vhd => "a VHD",
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
}

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
    progress: Option<Box<dyn FnMut(u64) + Send>>,
}

impl Client {
    /// Writes `body` into a disk. The body must know its exact length ([`Body::size_hint`]): XAPI
    /// accepts nothing else.
    ///
    /// The body is not touched before a host has accepted the transfer; up to then it follows
    /// redirects and replaces an expired session. Afterwards nothing is repeated, for the body
    /// cannot be sent twice: a failed upload is made again with a new body.
    ///
    /// When this returns, the disk may be attached to dom0 for some seconds more:
    /// [`Client::wait_until_detached`].
    ///
    /// # Errors
    /// The result is that of the transfer's task, whatever HTTP said. `Transfer` carries a
    /// [`Diagnosis`]; `Body` when the body failed or has another length than it said.
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

/// An upload that a host has accepted.
struct Started<B> {
    answer: Answer<Gated<B>>,
    task: TransferTask,
    endpoint: Endpoint,
    sent: Meter,
    fault: Fault,
}

impl<B> Import<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    async fn run(mut self) -> Result<Imported> {
        let subject = format!("import of {} into {}", self.format, name(&self.vdi));
        let Some(len) = self.body.size_hint().exact() else {
            return Err(Error::new(ErrorKind::Body, "the body does not know its length, which XAPI needs")
                .about(subject));
        };
        if len == 0 {
            // XAPI starts the transfer and fails it with VDI_IO_ERROR.
            return Err(Error::new(ErrorKind::Body, "the body is empty").about(subject));
        }
        let mut progress = self.progress.take();
        let client = self.client.clone();
        let (vdi, format) = (self.vdi.clone(), self.format);
        let sent = Meter::new();
        let result = async {
            let started = self.start(len, sent.clone()).await?;
            let endpoint = started.endpoint.clone();
            match started.pour(&client, len, progress.as_deref_mut()).await {
                Ok(()) => Ok(Imported { bytes: len, endpoint }),
                Err(error) => Err(error.at(&endpoint)),
            }
        }
        .await;
        match result {
            Err(error) if matches!(error.kind(), ErrorKind::Failure | ErrorKind::Transfer) => {
                let failure = error.failure().cloned();
                let diagnosis = Diagnosis::of_import(&client, &vdi, format, sent.bytes(), len, failure).await;
                Err(error
                    .into_kind(ErrorKind::Transfer)
                    .remedy(diagnosis.to_string())
                    .with_diagnosis(diagnosis)
                    .renamed(subject))
            }
            Err(error) => Err(error.renamed(subject)),
            Ok(imported) => Ok(imported),
        }
    }

    /// Finds a host that accepts the transfer, without touching the body; then hands it over.
    async fn start(self, len: u64, sent: Meter) -> Result<Started<B>> {
        let client = self.client;
        let route = match self.route {
            Some(route) => route,
            None => client.route_to(&self.vdi).await?,
        };
        let handler = ImportRawVdi {
            vdi: Some(self.vdi.clone()),
            format: Some(match self.format {
                ImportFormat::Raw | ImportFormat::RawChunked => Format::Raw,
                ImportFormat::Vhd => Format::Vhd,
            }),
            chunked: Present(self.format == ImportFormat::RawChunked),
            ..ImportRawVdi::default()
        };
        let mut body = self.body;
        let mut endpoint = route.endpoint;
        let mut renewed = false;
        let mut task =
            TransferTask::create(&client, &self.label, &format!("xenapi-rs: {}", name(&self.vdi))).await?;
        for _ in 0..=MAX_REDIRECTS {
            let session = client.session().await?;
            let fault = Fault::default();
            let (gate, gated) = Gated::new(len, sent.clone(), fault.clone());
            let request = head(handler.clone(), &endpoint, &session, task.reference(), gated)?;
            let sending = async {
                let mut connection = Connection::open(&client.inner.rpc.http.dialer, &endpoint).await?;
                let (response, gate) = offer(&mut connection, request, gate, body, &client).await?;
                Ok((receive(&endpoint, connection, response).await?, gate))
            };
            let (reception, gate) = match sending.await {
                Ok(received) => received,
                Err(error) => {
                    let error: Error = error;
                    task.abandon().await;
                    return Err(fault_or(&fault, error).at(&endpoint));
                }
            };
            match (reception, gate) {
                (Reception::Accepted(answer), gate) => {
                    if let Offer::Kept(gate, body) = gate {
                        // The receiver is gone only when the connection is, which the next step sees.
                        drop(gate.send(body));
                    }
                    return Ok(Started { answer, task, endpoint, sent, fault });
                }
                (Reception::Moved(_) | Reception::Denied { .. }, Offer::Given) => {
                    task.abandon().await;
                    let message = "the host turned the transfer away after its body had been begun";
                    return Err(Error::new(ErrorKind::Transfer, message).at(&endpoint));
                }
                (Reception::Moved(target), Offer::Kept(_, kept)) => {
                    tracing::debug!(from = %endpoint, to = %target, "the transfer is passed on to another host");
                    body = kept;
                    endpoint = target;
                }
                (Reception::Denied { status, page }, Offer::Kept(_, kept)) => {
                    if status == http::StatusCode::UNAUTHORIZED && !renewed {
                        renewed = true;
                        body = kept;
                        task.abandon().await;
                        // Any call replaces the session if it is the session that is wrong.
                        client.inner.sessions.forget(&session);
                        task = TransferTask::create(&client, &self.label, &name(&self.vdi)).await?;
                        continue;
                    }
                    return Err(task.denied(status, &page).await.at(&endpoint));
                }
            }
        }
        task.abandon().await;
        Err(loop_of_redirects().at(&endpoint))
    }
}

/// Whose the body is by the time that the answer's head is there.
enum Offer<B> {
    Kept(Gate<B>, B),
    Given,
}

/// Sends the head and waits for the answer's, which XAPI sends at once. If none comes, something
/// in between wants the body first, and gets it.
async fn offer<B>(
    connection: &mut Connection<Gated<B>>,
    request: http::Request<Gated<B>>,
    gate: Gate<B>,
    body: B,
    client: &Client,
) -> Result<(http::Response<hyper::body::Incoming>, Offer<B>)>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let timeouts = &client.inner.config.timeouts;
    let sending = connection.send(request);
    tokio::pin!(sending);
    match tokio::time::timeout(timeouts.upload_head, &mut sending).await {
        Ok(Ok(response)) => Ok((response, Offer::Kept(gate, body))),
        Ok(Err(error)) => Err(unanswered(error)),
        Err(_) => {
            tracing::debug!("no answer to the head of an upload, sending the body");
            drop(gate.send(body));
            match tokio::time::timeout(timeouts.stall, sending).await {
                Ok(Ok(response)) => Ok((response, Offer::Given)),
                Ok(Err(error)) => Err(unanswered(error)),
                Err(_) => Err(Error::new(ErrorKind::Transfer, "no answer to the upload")),
            }
        }
    }
}

impl<B> Started<B> {
    /// Waits for the end: of the connection, then of the task.
    async fn pour(
        self,
        client: &Client,
        len: u64,
        mut progress: Option<&mut (dyn FnMut(u64) + Send + 'static)>,
    ) -> Result<()> {
        let Self { answer, task, sent, fault, .. } = self;
        let Answer { mut incoming, connection } = answer;
        let mut stall = StallWatch::new(client.inner.config.timeouts.stall);
        let mut look = tokio::time::interval(stall.period());
        let mut tell = tokio::time::interval(std::time::Duration::from_millis(200));
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tell.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut told = 0;
        let mut said = Vec::new();
        let broken = loop {
            tokio::select! {
                frame = incoming.frame() => match frame {
                    // What comes after a 200 is the host's complaint, or nothing.
                    Some(Ok(frame)) => if let Some(data) = frame.data_ref() {
                        let room = 8_192_usize.saturating_sub(said.len());
                        said.extend_from_slice(&data[..data.len().min(room)]);
                    },
                    Some(Err(error)) => break Some(error),
                    None => break None,
                },
                _ = tell.tick() => if let Some(progress) = &mut progress && sent.bytes() != told {
                    told = sent.bytes();
                    progress(told);
                },
                _ = look.tick() => match stall.look(&sent, &task).await {
                    Look::Moving => {}
                    Look::Ended(Ok(())) if sent.bytes() == len => break None,
                    Look::Ended(_) => break None,
                    Look::Stalled => {
                        drop(connection);
                        task.abandon().await;
                        return Err(stall.error());
                    }
                },
            }
        };
        drop((incoming, connection));
        if let Some(progress) = progress
            && sent.bytes() != told
        {
            progress(sent.bytes());
        }
        // However the connection ended, the task knows.
        let ended = task.finish(AFTERMATH).await;
        if let Some(problem) = fault.take() {
            return Err(Error::new(ErrorKind::Body, problem.to_string()).because(problem));
        }
        match (ended, broken) {
            (Ok(()), _) if sent.bytes() == len => Ok(()),
            (Ok(()), _) => {
                let message = "the host says that it is done, but has not read the whole body";
                Err(Error::new(ErrorKind::Transfer, message))
            }
            (Err(error), Some(cut)) if error.kind() == ErrorKind::OutcomeUnknown => Err(lost(cut)),
            (Err(error), _) => {
                if !said.is_empty() {
                    tracing::debug!(page = page_text(&said), "the host's complaint");
                }
                Err(error)
            }
        }
    }
}

/// The body's own error in place of what the network made of it.
fn fault_or(fault: &Fault, error: Error) -> Error {
    match fault.take() {
        Some(problem) => Error::new(ErrorKind::Body, problem.to_string()).because(problem),
        None => error,
    }
}
