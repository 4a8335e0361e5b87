//! The way out of an archive.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use flate2::write::GzEncoder;
use tokio::io::AsyncWrite;
use xenapi_types::handler::Compression;
use xenapi_wire::Failure;

use crate::dispatch::internal_error;
use crate::http::Conn;

/// A connection, with a compressor before it if the client wants one. Shutting it down ends the compressed stream; the
/// connection stays open.
pub(super) struct Output<'a> {
    conn: &'a mut Conn,
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// What the compressor has given and the connection has not taken yet.
    waiting: Vec<u8>,
}

impl<'a> Output<'a> {
    /// # Errors
    /// A compression that is not simulated.
    pub(super) fn new(conn: &'a mut Conn, compression: Option<&Compression>) -> Result<Self, Failure> {
        let gzip = match compression.map(Compression::as_str) {
            None | Some("false") => None,
            Some("true" | "gzip") => Some(GzEncoder::new(Vec::new(), flate2::Compression::fast())),
            Some(other) => return Err(internal_error(&format!("the compression {other} is not simulated"))),
        };
        Ok(Self { conn, gzip, waiting: Vec::new() })
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(gzip) = &mut self.gzip {
            self.waiting.append(gzip.get_mut());
        }
        while !self.waiting.is_empty() {
            let written = ready!(Pin::new(&mut *self.conn).poll_write(cx, &self.waiting))?;
            self.waiting.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Output<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx))?;
        match &mut self.gzip {
            Some(gzip) => Poll::Ready(gzip.write(bytes)),
            None => Pin::new(&mut *self.conn).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut *self.conn).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(gzip) = self.gzip.take() {
            let mut rest = gzip.finish()?;
            self.waiting.append(&mut rest);
        }
        self.poll_flush(cx)
    }
}
