//! The way out of an archive.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use xenapi_types::handler::Compression;
use xenapi_wire::Failure;

use super::super::packing::Packer;
use crate::dispatch::internal_error;
use crate::http::Conn;

/// A connection, with a compressor before it if the client wants one. Shutting it down ends the compressed stream; the
/// connection stays open.
pub(super) struct Output<'a> {
    conn: &'a mut Conn,
    packer: Option<Packer>,
    /// What the compressor has given and the connection has not taken yet.
    waiting: Vec<u8>,
}

impl<'a> Output<'a> {
    /// # Errors
    /// A compression that XAPI does not know.
    pub(super) fn new(conn: &'a mut Conn, compression: Option<&Compression>) -> Result<Self, Failure> {
        let unknown = |name: String| internal_error(&format!("Unknown compression algorithm: {name}"));
        Ok(Self { conn, packer: Packer::of(compression).map_err(unknown)?, waiting: Vec::new() })
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
        let this = &mut *self;
        match &mut this.packer {
            Some(packer) => Poll::Ready(packer.pack(bytes, &mut this.waiting)),
            None => Pin::new(&mut *this.conn).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut *self.conn).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(packer) = self.packer.take() {
            packer.finish(&mut self.waiting)?;
        }
        self.poll_flush(cx)
    }
}
