//! Downloads: the content of a disk.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use xenapi_types::archive::{ArchiveError, Decoder};
use xenapi_types::handler::{ExportRawVdi, Format, Handler};
use xenapi_types::{Task as TaskClass, TaskRecord, Vdi, vdi};
use xenapi_wire::Ref;

use super::accept::{Accepted, Answer, Proposal, Reception, head, negotiate, receive};
use super::attached::LOOK_FOR_HOLDERS;
use super::import::Queued;
use super::queue::Direction;
use super::request::{ExportRequest, Options};
use super::task::{Look, StallWatch, TransferTask};
use super::{Meter, lost, unanswered};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::event::name;
use crate::http::Connection;
use crate::service::Broken;
use crate::session::Session;

/// What the bytes of a download shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExportFormat {
    /// The whole content of the disk, zeros included.
    Raw,
    /// A dynamic VHD of what is allocated; with a base, a differencing one of what differs from it.
    Vhd,
    /// The pieces that are not zeros with their checksums, as
    /// [`archive::Decoder::of_disk`](xenapi_types::archive::Decoder::of_disk) reads them. The
    /// checksums have been compared.
    Tar,
}

/// What a download that succeeded was.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// How many bytes came.
    pub bytes: u64,
    /// The host that they came from.
    pub endpoint: Endpoint,
    /// The SHA-256 of what came, if it was asked for ([`Export::checksum`]).
    pub sha256: Option<[u8; 32]>,
}

/// A download under way.
///
/// Its end is only reported ([`Export::chunk`] gives `None`, the stream ends) when the transfer's
/// task has succeeded: a download that breaks off ends with an error instead. Data are read ahead
/// by a few pieces only, so a slow reader slows down the host. Dropping it closes the connection.
#[derive(Debug)]
pub struct Export {
    pieces: mpsc::Receiver<Piece>,
    pump: AbortHandle,
    end: Option<Exported>,
    received: Meter,
    /// Of what has been handed over.
    read: Option<Meter>,
}

#[derive(Debug)]
enum Piece {
    Data(Bytes),
    End(Result<Exported>),
}

impl Client {
    /// Begins to read a disk, as a whole or, for a VHD, what differs from `base`.
    ///
    /// XAPI reads the disk as it is: export a snapshot of a disk that is in use. `base` must be an
    /// ancestor of it, as an older snapshot is. Returns when the host has accepted the transfer;
    /// the first data may take minutes.
    ///
    /// # Errors
    /// `NotFound` when there is no such disk; else as [`Client::import_vdi`].
    pub fn export_vdi(&self, vdi: &Ref<Vdi>, format: ExportFormat, base: Option<&Ref<Vdi>>) -> ExportRequest {
        let (vdi, base) = (vdi.clone(), base.cloned());
        ExportRequest::new(self, move |client, options| async move {
            client.begin_export(vdi, format, base, options).await
        })
    }

    async fn begin_export(
        &self,
        vdi: Ref<Vdi>,
        format: ExportFormat,
        base: Option<Ref<Vdi>>,
        options: Options,
    ) -> Result<Export> {
        let subject = format!("export of {}", name(&vdi));
        if base.is_some() && format != ExportFormat::Vhd {
            return Err(Error::new(ErrorKind::Config, "only a VHD can be relative to a base").about(subject));
        }
        let route = match options.route {
            Some(route) => route,
            None => self.route_to(&vdi).await.map_err(|error| error.renamed(subject.as_str()))?,
        };
        let content = match format {
            ExportFormat::Raw => Content::Raw(vdi.clone()),
            ExportFormat::Vhd => Content::Vhd,
            ExportFormat::Tar => Content::archive(Decoder::of_disk()),
        };
        let handler = ExportRawVdi {
            vdi: Some(vdi.clone()),
            format: Some(match format {
                ExportFormat::Raw => Format::Raw,
                ExportFormat::Vhd => Format::Vhd,
                ExportFormat::Tar => Format::Tar,
            }),
            base,
        };
        let what = Subject { label: "export of a disk", object: name(&vdi), content, queued: options.queued };
        match self.download(handler, route.endpoint, what).await {
            Ok(export) => Ok(export),
            Err(error) => Err(self.say_who_holds(error.renamed(subject), LOOK_FOR_HOLDERS).await),
        }
    }

    /// Begins a download of whatever a handler gives.
    pub(super) async fn download<H: Handler + Clone + Send>(
        &self,
        handler: H,
        mut endpoint: Endpoint,
        what: Subject,
    ) -> Result<Export> {
        let Subject { label, object, content, queued } = what;
        let subject = format!("export of {object}");
        let accepted =
            Box::pin(negotiate(self, Download { handler, queued }, &mut endpoint, label, &object)).await;
        let Accepted { answer, task, endpoint } = accepted?;
        let received = Meter::new();
        let (sender, pieces) = mpsc::channel(4);
        let pump = Pump {
            client: self.clone(),
            content,
            endpoint,
            received: received.clone(),
            sender: sender.clone(),
            tail: BytesMut::new(),
        };
        let pump = tokio::spawn(async move {
            let client = pump.client.clone();
            let result = match pump.run(answer, task).await {
                Ok(exported) => Ok(exported),
                Err(error) => Err(client.say_who_holds(error.renamed(&subject), LOOK_FOR_HOLDERS).await),
            };
            // Nobody listens any more when the download was dropped.
            let _ = sender.send(Piece::End(result)).await;
        });
        Ok(Export { pieces, pump: pump.abort_handle(), end: None, received, read: None })
    }
}

impl Export {
    /// Computes the SHA-256 of what comes, on the way: call it before the first [`Export::chunk`].
    #[must_use]
    pub fn checksum(mut self) -> Self {
        self.read = Some(Meter::with_checksum());
        self
    }

    /// The next piece, or `None` when all has come and the host has confirmed it. Can be dropped
    /// and called again without losing anything.
    ///
    /// # Errors
    /// `Transfer` when the download broke off or the task failed, also after all of the data.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        std::future::poll_fn(|cx| self.poll_piece(cx)).await
    }

    /// Reads and drops what is left, and says what came in all.
    ///
    /// # Errors
    /// As [`Export::chunk`].
    pub async fn finish(mut self) -> Result<Exported> {
        while self.chunk().await?.is_some() {}
        self.end.take().ok_or_else(stopped)
    }

    /// How many bytes have come from the host so far.
    pub fn bytes_received(&self) -> u64 {
        self.received.bytes()
    }

    /// Writes everything into `out`, and says what came. `progress` is called with the number of bytes
    /// as they come. What has been written of a download that fails is not usable.
    ///
    /// # Errors
    /// As [`Export::chunk`]; `Transfer` also when `out` fails.
    pub async fn copy_to<W: AsyncWrite + Unpin>(
        mut self,
        out: &mut W,
        mut progress: impl FnMut(u64),
    ) -> Result<Exported> {
        let unwritable = |error: std::io::Error| {
            let message = format!("what comes cannot be written ({error})");
            Error::new(ErrorKind::Transfer, message).because(error)
        };
        let mut written = 0;
        while let Some(data) = self.chunk().await? {
            out.write_all(&data).await.map_err(unwritable)?;
            written += data.len() as u64;
            progress(written);
        }
        out.flush().await.map_err(unwritable)?;
        self.finish().await
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if self.end.is_some() {
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(match ready!(self.pieces.poll_recv(cx)) {
            Some(Piece::Data(data)) => {
                if let Some(read) = &self.read {
                    read.data(&data);
                }
                Ok(Some(data))
            }
            Some(Piece::End(Ok(end))) => {
                self.end = Some(Exported { sha256: self.read.as_ref().and_then(Meter::checksum), ..end });
                Ok(None)
            }
            Some(Piece::End(Err(error))) => Err(error),
            None => Err(stopped()),
        })
    }
}

impl futures_core::Stream for Export {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_piece(cx).map(Result::transpose)
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Transfer, "the download has already ended with an error")
}

/// The request for a download.
struct Download<H> {
    handler: H,
    queued: Option<Queued>,
}

impl<H: Handler + Clone + Send> Proposal for Download<H> {
    type Sent = Empty<Bytes>;
    const DIRECTION: Direction = Direction::Download;

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
    ) -> Result<Reception<Empty<Bytes>>> {
        let request = head(self.handler.clone(), endpoint, session, task, Empty::new())?;
        let mut connection = Connection::open(&client.inner.rpc.http.dialer, endpoint).await?;
        let answer = tokio::time::timeout(client.inner.config.timeouts.stall, connection.send(request)).await;
        let response = answer
            .map_err(|_| Error::new(ErrorKind::Transfer, "no answer to the request"))?
            .map_err(unanswered)?;
        receive(connection, response, endpoint, session).await
    }
}

/// Has the host end a task: it fails the task of any transfer that it refuses, as it does with one of no disk. Hosts
/// before XenServer 7.2 have no call for that.
///
/// # Errors
/// When the host cannot be asked.
pub(crate) async fn fail_task(client: &Client, task: &Ref<TaskClass>) -> Result<()> {
    let session = client.session().await?;
    let handler = ExportRawVdi { vdi: Some(Ref::NULL), format: Some(Format::Raw), base: None };
    Download { handler, queued: None }.make(client, &session.endpoint, &session, task).await.map(drop)
}

/// What a download is of.
pub(super) struct Subject {
    /// The name of the task.
    pub(super) label: &'static str,
    pub(super) object: String,
    pub(super) content: Content,
    pub(super) queued: Option<Queued>,
}

/// What the bytes are, as far as they can be checked.
pub(super) enum Content {
    /// All of a disk.
    Raw(Ref<Vdi>),
    Vhd,
    Archive {
        decoder: Box<Decoder>,
        wrong: Option<ArchiveError>,
    },
    /// Text that ends like this.
    Document {
        end: &'static str,
    },
    Unknown,
}

impl Content {
    pub(super) fn archive(decoder: Decoder) -> Self {
        Self::Archive { decoder: Box::new(decoder), wrong: None }
    }

    /// How large the disk is, in bytes, when all of it shall come.
    async fn size(&self, client: &Client) -> Option<u64> {
        let Self::Raw(vdi) = self else { return None };
        u64::try_from(client.get_field(vdi, vdi::field::VIRTUAL_SIZE).await.ok()?).ok()
    }

    /// Looks at what has come. What is wrong is told when it is known whether the host knows better.
    fn look(&mut self, mut data: &[u8]) {
        if let Self::Archive { decoder, wrong } = self {
            while wrong.is_none() && !data.is_empty() {
                *wrong = decoder.next(&mut data).err();
            }
        }
    }
}

/// Moves the data from the connection to whoever reads them.
struct Pump {
    client: Client,
    content: Content,
    endpoint: Endpoint,
    received: Meter,
    sender: mpsc::Sender<Piece>,
    /// The last bytes that came.
    tail: BytesMut,
}

/// The footer of a VHD begins with this and has 512 bytes.
const VHD_COOKIE: &[u8] = b"conectix";
const VHD_FOOTER_LEN: usize = 512;

/// What a failing export begins with, or goes on with wherever it was.
const SECOND_ANSWER: &[u8] = b"HTTP/1.";

impl Pump {
    async fn run(mut self, answer: Answer<Empty<Bytes>>, task: TransferTask) -> Result<Exported> {
        let Answer { mut incoming, connection } = answer;
        let patience = self.client.inner.config.timeouts.stall;
        let mut stall = StallWatch::new(patience);
        let mut look = tokio::time::interval(stall.period());
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Held back until it is clear that they are not an answer.
        let mut first = Some(BytesMut::new());
        let broken = loop {
            let frame = tokio::select! {
                frame = incoming.frame() => frame,
                _ = look.tick() => match stall.look(&self.received, &task).await {
                    Look::Moving => continue,
                    // When the task has ended, what is still in the socket comes first, but not for ever.
                    Look::Ended if stall.still() < patience => continue,
                    Look::Ended => {
                        drop(connection);
                        let error = task.finish().await.err().unwrap_or_else(|| stall.error());
                        return Err(error.at(&self.endpoint));
                    }
                    Look::Stalled => {
                        drop(connection);
                        task.abandon().await;
                        return Err(stall.error().at(&self.endpoint));
                    }
                },
            };
            let data = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(_) => continue,
                },
                Some(Err(error)) => break Some(error),
                None => break None,
            };
            self.received.add(data.len());
            self.remember(&data);
            self.content.look(&data);
            let Some(held) = &mut first else {
                self.pass(data).await?;
                continue;
            };
            held.extend_from_slice(&data);
            let known = held.len().min(SECOND_ANSWER.len());
            if held[..known] != SECOND_ANSWER[..known]
                && let Some(held) = first.take()
            {
                self.pass(held.freeze()).await?;
            }
        };
        drop((incoming, connection));
        // A disk's size is asked for while the task is.
        let (ended, size) = tokio::join!(task.finish(), self.content.size(&self.client));
        let page = first.filter(|held| held.starts_with(SECOND_ANSWER));
        self.judge(ended, broken, page.as_deref(), size).map_err(|error| error.at(&self.endpoint))?;
        Ok(Exported { bytes: self.received.bytes(), endpoint: self.endpoint, sha256: None })
    }

    async fn pass(&self, data: Bytes) -> Result<()> {
        let passed = self.sender.send(Piece::Data(data)).await;
        passed.map_err(|_| Error::new(ErrorKind::Closed, "nobody reads the download any more"))
    }

    fn remember(&mut self, data: &[u8]) {
        self.tail.extend_from_slice(&data[data.len().saturating_sub(VHD_FOOTER_LEN)..]);
        let excess = self.tail.len().saturating_sub(VHD_FOOTER_LEN);
        let _ = self.tail.split_to(excess);
    }

    /// Whether what came is the whole disk: the task decides, and what can be checked is checked.
    fn judge(
        &self,
        ended: Result<TaskRecord>,
        broken: Option<Broken>,
        page: Option<&[u8]>,
        size: Option<u64>,
    ) -> Result<()> {
        let bytes = self.received.bytes();
        let incomplete = |what: String| {
            Error::new(ErrorKind::Transfer, what).remedy("the data are not usable: do the export again")
        };
        if let Err(error) = ended {
            return Err(match (error.kind(), broken) {
                (ErrorKind::OutcomeUnknown, Some(cut)) => lost(cut),
                (ErrorKind::Failure, _) => {
                    error.into_kind(ErrorKind::Transfer).remedy(format!("it failed after {bytes} bytes"))
                }
                _ => error,
            });
        }
        if let Some(page) = page {
            return Err(incomplete(format!(
                "an error page came instead of data: {}",
                self.client.inner.sessions.secrets().page(page)
            )));
        }
        if let Some(cut) = broken {
            return Err(lost(cut));
        }
        match &self.content {
            Content::Unknown => Ok(()),
            Content::Document { end } if self.tail.trim_ascii_end().ends_with(end.as_bytes()) => Ok(()),
            Content::Document { end } => {
                Err(incomplete(format!("it does not end with {end}, after {bytes} bytes")))
            }
            Content::Archive { decoder, wrong } => {
                let checked = wrong.clone().map_or_else(|| decoder.finish(), Err);
                checked.map_err(|wrong| incomplete(wrong.to_string()).because(wrong))
            }
            Content::Vhd if self.tail.starts_with(VHD_COOKIE) => Ok(()),
            Content::Vhd => Err(incomplete(format!("the VHD has no footer at its end, after {bytes} bytes"))),
            Content::Raw(_) => match size {
                Some(size) if bytes < size => Err(incomplete(format!("only {bytes} of {size} bytes came"))),
                _ => Ok(()),
            },
        }
    }
}
