//! A stream as an HTTP body.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

use crate::digest::{StreamDigest, hex};
use crate::error::Error;
use crate::produce::{Piece, Produce};
use crate::progress::{Progress, Stage};

/// A body whose exact length is known before its first byte: XAPI refuses everything else.
///
/// There is no constructor without a length, and a body that does not deliver exactly that many
/// bytes fails, so that the receiver never takes a part for the whole.
///
/// Reading begins when the body is first polled, on a thread of Tokio's blocking pool, at most
/// three pieces of 1 MiB ahead of the network. Dropping the body stops it.
pub struct DiskBody {
    state: State,
    len: u64,
    left: u64,
    virtual_size: u64,
    progress: Progress,
    digest: Option<oneshot::Sender<String>>,
}

enum State {
    Waiting(Box<dyn Produce>),
    Bytes(Bytes),
    Running(mpsc::Receiver<Result<Piece, Error>>),
    Done,
}

/// Pieces that wait between the reader and the network.
const AHEAD: usize = 2;

impl DiskBody {
    pub(crate) fn new(produce: Box<dyn Produce>, len: u64, virtual_size: u64, progress: Progress) -> Self {
        Self { state: State::Waiting(produce), len, left: len, virtual_size, progress, digest: None }
    }

    /// A disk that is in memory, such as a config drive.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let len = bytes.len() as u64;
        let (state, progress) = (State::Bytes(bytes), Progress::new());
        Self { state, len, left: len, virtual_size: len, progress, digest: None }
    }

    /// Computes the SHA-256 of the stream on the way, on the thread that reads the disk; what is returned
    /// knows it when all of the stream was read.
    #[must_use]
    pub fn with_digest(mut self) -> (Self, StreamDigest) {
        let (sender, digest) = StreamDigest::new();
        self.digest = Some(sender);
        (self, digest)
    }

    /// Length of the stream in bytes: the `Content-Length`.
    pub fn stream_len(&self) -> u64 {
        self.len
    }

    /// Size of the disk in bytes that the stream describes.
    pub fn virtual_size(&self) -> u64 {
        self.virtual_size
    }

    /// Counters of this transfer.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    fn start(&mut self) {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Waiting(mut produce) => {
                let (sender, receiver) = mpsc::channel(AHEAD);
                let data_len = produce.data_len();
                let digest = self.digest.take();
                tokio::task::spawn_blocking(move || {
                    let mut sum = digest.map(|digest| (Sha256::new(), digest));
                    while let Some(piece) = produce.next().transpose() {
                        let failed = piece.is_err();
                        if let (Some((sum, _)), Ok(piece)) = (&mut sum, &piece) {
                            sum.update(&piece.bytes);
                        }
                        // Nobody to send to: the body was dropped, and with it the wish to read.
                        if sender.blocking_send(piece).is_err() || failed {
                            return;
                        }
                    }
                    if let Some((sum, digest)) = sum {
                        // Nobody may want to know it any longer.
                        let _unheard = digest.send(hex(sum));
                    }
                });
                self.progress.begin(Stage::Streaming, self.len, self.virtual_size);
                self.progress.set_data_size(data_len);
                self.state = State::Running(receiver);
            }
            State::Bytes(bytes) => {
                if let Some(digest) = self.digest.take() {
                    let _unheard = digest.send(hex(Sha256::new_with_prefix(&bytes)));
                }
                self.progress.begin(Stage::Streaming, self.len, self.virtual_size);
                self.state = State::Bytes(bytes);
            }
            other => self.state = other,
        }
    }

    fn hand_over(&mut self, bytes: Bytes, virtual_end: u64) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            self.state = State::Done;
            let got = self.len - self.left + bytes.len() as u64;
            return Poll::Ready(Some(Err(Error::Length { got, expected: self.len })));
        };
        self.left = left;
        if left == 0 {
            self.state = State::Done;
        }
        self.progress.add_wire(bytes.len());
        self.progress.reach(if left == 0 { self.virtual_size } else { virtual_end });
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl Body for DiskBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.left == self.len {
            self.start();
        }
        match &mut self.state {
            State::Done | State::Waiting(_) => Poll::Ready(None),
            State::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                if bytes.is_empty() {
                    self.state = State::Done;
                    return Poll::Ready(None);
                }
                let virtual_end = self.virtual_size;
                self.hand_over(bytes, virtual_end)
            }
            State::Running(receiver) => match ready!(receiver.poll_recv(context)) {
                Some(Ok(piece)) => {
                    if piece.data {
                        self.progress.add_data(piece.bytes.len());
                    }
                    self.hand_over(piece.bytes, piece.virtual_end)
                }
                Some(Err(error)) => {
                    self.state = State::Done;
                    Poll::Ready(Some(Err(error)))
                }
                // The thread is gone and bytes are missing: the runtime is shutting down.
                None => {
                    self.state = State::Done;
                    Poll::Ready(Some(Err(Error::Interrupted)))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl fmt::Debug for DiskBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskBody")
            .field("len", &self.len)
            .field("left", &self.left)
            .field("virtual_size", &self.virtual_size)
            .finish_non_exhaustive()
    }
}
