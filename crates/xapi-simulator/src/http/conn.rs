//! The connection: any stream, with the bytes already received.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::link::Link;

/// What a connection can be made of.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Makes the coming close a reset, where the transport knows such a thing.
    fn reset_on_close(&mut self) {}
}

impl Stream for TcpStream {
    fn reset_on_close(&mut self) {
        let _ = self.set_zero_linger();
    }
}

impl<S: Stream> Stream for tokio_rustls::server::TlsStream<S> {
    fn reset_on_close(&mut self) {
        self.get_mut().0.reset_on_close();
    }
}

impl Stream for DuplexStream {}

/// A connection. Reading starts with what was received along with the request's headers.
pub struct Conn {
    stream: Box<dyn Stream>,
    buffered: BytesMut,
    /// How many more bytes pass, in both directions together, before the connection breaks.
    budget: Option<usize>,
    link: Option<Arc<Link>>,
    /// Until when what was read or written last is on its way.
    read_pause: Pause,
    write_pause: Pause,
}

type Pause = Option<Pin<Box<Sleep>>>;

/// Ready when the pause is over.
fn poll_pause(pause: &mut Pause, cx: &mut Context<'_>) -> Poll<()> {
    if let Some(sleep) = pause {
        std::task::ready!(sleep.as_mut().poll(cx));
        *pause = None;
    }
    Poll::Ready(())
}

/// How much is asked of the stream at once while headers are read.
const CHUNK: usize = 16 << 10;

impl Conn {
    pub(crate) fn new(stream: impl Stream + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            buffered: BytesMut::new(),
            budget: None,
            link: None,
            read_pause: None,
            write_pause: None,
        }
    }

    /// Has all bytes pass a link.
    pub(crate) fn through(&mut self, link: Arc<Link>) {
        self.link = Some(link);
    }

    fn pass(&self, bytes: usize) -> Pause {
        self.link.as_ref()?.pass(bytes)
    }

    fn portion(&self) -> usize {
        self.link.as_ref().map_or(usize::MAX, |link| link.portion())
    }

    /// Has the connection break after so many more bytes, read and written together.
    pub(crate) fn break_after(&mut self, bytes: usize) {
        self.budget = Some(bytes);
    }

    /// The bytes received and not yet read.
    pub fn buffered(&self) -> &[u8] {
        &self.buffered
    }

    /// Throws away the first bytes of [`Conn::buffered`].
    pub fn discard(&mut self, len: usize) {
        self.buffered.advance(len);
    }

    /// Waits for more bytes; `false` at the end of the stream.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn fill(&mut self) -> io::Result<bool> {
        self.buffered.reserve(CHUNK);
        let len = self.stream.read_buf(&mut self.buffered).await?;
        if let Some(pause) = self.pass(len) {
            pause.await;
        }
        Ok(len > 0)
    }

    /// Reads exactly so many bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` when the stream ends before.
    pub async fn read_body(&mut self, len: usize) -> io::Result<BytesMut> {
        while self.buffered.len() < len {
            if !self.fill().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffered.split_to(len))
    }

    /// Writes all bytes and flushes.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes).await?;
        self.flush().await
    }

    /// Ends the connection in order: the client sees the end of the stream.
    pub(crate) async fn close(mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(mut self) {
        self.stream.reset_on_close();
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(poll_pause(&mut self.read_pause, cx));
        let Some(mut left) = self.budget else {
            if self.buffered.is_empty() {
                let (before, portion) = (buf.filled().len(), self.portion());
                if portion >= buf.remaining() {
                    std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
                } else {
                    let mut chunk = vec![0; portion];
                    let mut part = ReadBuf::new(&mut chunk);
                    std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
                    buf.put_slice(part.filled());
                }
                self.read_pause = self.pass(buf.filled().len() - before);
                return Poll::Ready(Ok(()));
            }
            let len = buf.remaining().min(self.buffered.len());
            buf.put_slice(&self.buffered.split_to(len));
            return Poll::Ready(Ok(()));
        };
        if left == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.buffered.is_empty() {
            let mut chunk = [0; 4096];
            let len = left.min(chunk.len()).min(buf.remaining());
            let mut part = ReadBuf::new(&mut chunk[..len]);
            std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
            left -= part.filled().len();
            buf.put_slice(part.filled());
        } else {
            let len = buf.remaining().min(self.buffered.len()).min(left);
            left -= len;
            buf.put_slice(&self.buffered.split_to(len));
        }
        self.budget = Some(left);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(poll_pause(&mut self.write_pause, cx));
        let bytes = &bytes[..bytes.len().min(self.portion())];
        let Some(left) = self.budget else {
            let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
            self.write_pause = self.pass(written);
            return Poll::Ready(Ok(written));
        };
        if left == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let len = bytes.len().min(left);
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..len]))?;
        self.budget = Some(left - written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
