//! A stream that knows whether everything it was given has gone out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether what was written has been handed to the system. hyper keeps some hundred kilobytes to itself while
/// the host does not read, which are lost when its connection is closed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox(Arc<AtomicBool>);

impl Outbox {
    /// Whether nothing has been written since all was handed over.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// A stream that is watched.
    pub(crate) fn watch<S>(&self, stream: S) -> Watched<S> {
        Watched { stream, outbox: self.clone() }
    }
}

/// A stream whose outbox is watched.
pub(crate) struct Watched<S> {
    stream: S,
    outbox: Outbox,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.outbox.0.store(false, Ordering::Release);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.outbox.0.store(false, Ordering::Release);
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.outbox.0.store(true, Ordering::Release);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_the_other_end_has_not_taken_is_not_out() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let outbox = Outbox::default();
        let mut stream = tokio::io::BufWriter::with_capacity(64, outbox.watch(ours));
        let writing = tokio::spawn(async move {
            stream.write_all(b"12345678").await?;
            stream.flush().await?;
            Ok::<_, io::Error>(stream)
        });
        let mut read = [0; 4];
        theirs.read_exact(&mut read).await.unwrap();
        assert!(!outbox.is_empty() || writing.is_finished());
        theirs.read_exact(&mut read).await.unwrap();
        let _open = writing.await.unwrap().unwrap();
        assert!(outbox.is_empty());
    }
}
