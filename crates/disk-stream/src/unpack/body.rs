//! Between the network and the thread that decodes.

use std::fmt;
use std::io::{self, Read};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::progress::Progress;
use crate::unpack::assembly::Target;
use crate::unpack::{Found, Work};

/// Pieces that wait on either side of the decoder.
pub(super) const AHEAD: usize = 4;

/// Feeds `body` to `decode`, which runs on Tokio's blocking pool and reads it to its end.
pub(super) async fn pump<B, T>(
    body: B,
    decode: impl FnOnce(BodyReader) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error>
where
    T: Send + 'static,
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = pin!(body);
    let (sender, pieces) = mpsc::channel(AHEAD);
    let worker =
        tokio::task::spawn_blocking(move || decode(BodyReader { pieces, piece: Bytes::new(), ended: false }));
    let mut position = 0;
    loop {
        let next = std::future::poll_fn(|context| {
            body.as_mut().poll_frame(context).map(|frame| Some(frame?.map_err(Into::into)))
        });
        let Some(frame) = next.await else { break };
        let frame = match frame {
            Ok(frame) => frame,
            Err(source) => {
                drop(sender);
                // Wait for it, so that nothing is being written when the error is seen.
                let _interrupted = worker.await;
                return Err(Error::Body { position, source });
            }
        };
        let Ok(bytes) = frame.into_data() else { continue };
        position += bytes.len() as u64;
        if sender.send(Some(bytes)).await.is_err() {
            // It gave up, and says why below.
            break;
        }
    }
    let _gave_up = sender.send(None).await;
    worker.await.unwrap_or(Err(Error::Interrupted))
}

/// The body, for a thread that may block.
pub(super) struct BodyReader {
    pieces: mpsc::Receiver<Option<Bytes>>,
    piece: Bytes,
    ended: bool,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Some(piece)) => self.piece = piece,
                Some(None) => self.ended = true,
                // It vanished before it said that this was all.
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let len = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..len]);
        Ok(len)
    }
}

/// Makes chunks of what is written.
#[derive(Debug)]
pub(super) struct Frames(pub(super) mpsc::Sender<Bytes>);

const HEADER: usize = 12;

impl Target for Frames {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut frame = BytesMut::with_capacity(HEADER + bytes.len());
        frame.extend_from_slice(&offset.to_le_bytes());
        // Pieces are far below the limit.
        frame.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        frame.extend_from_slice(bytes);
        self.0.blocking_send(frame.freeze()).map_err(|_| Error::Interrupted)
    }
}

/// A packed disk on its way into a VDI, in XAPI's `chunked` framing.
///
/// It is a body without an exact length: the framing has an end mark of its own.
pub struct ChunkedBody {
    frames: mpsc::Receiver<Bytes>,
    work: Work,
    found: Found,
    size: u64,
    progress: Progress,
    ended: bool,
}

impl ChunkedBody {
    pub(super) fn new(
        frames: mpsc::Receiver<Bytes>,
        work: Work,
        found: Found,
        size: u64,
        progress: Progress,
    ) -> Self {
        Self { frames, work, found, size, progress, ended: false }
    }

    /// What is on its way.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Counters of this transfer.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl Body for ChunkedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(frame) = ready!(self.frames.poll_recv(context)) {
            self.progress.add_wire(frame.len());
            if let Some(offset) = frame.first_chunk().map(|offset| u64::from_le_bytes(*offset)) {
                self.progress.reach(offset + (frame.len() - HEADER) as u64);
            }
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        // The end mark says that all was well: only now that is known.
        let ended = ready!(Pin::new(&mut self.work.0).poll(context));
        self.ended = true;
        let ended = ended.unwrap_or(Err(Error::Interrupted));
        Poll::Ready(Some(ended.map(|_| {
            self.progress.add_wire(HEADER);
            self.progress.reach(self.size);
            Frame::data(Bytes::from_static(&[0; HEADER]))
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl fmt::Debug for ChunkedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkedBody")
            .field("found", &self.found)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
