//! Consoles: the screen or the terminal of a running VM, as a stream of bytes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use xenapi_types::{ConsoleProtocol, Vm, console, handler, vm};
use xenapi_wire::Ref;

use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result, root_cause};
use crate::event::name;
use crate::handler::head;
use crate::own_session::OwnSession;
use crate::service::arriving;
use crate::session::Session;
use crate::transfer::read_some;

/// A console: RFB (the protocol of VNC) or the bytes of a terminal, in both directions.
///
/// It ends, as a stream, when the VM stops or moves to another host. It has a session of its own, so
/// that whoever is given the stream holds nothing of the client's. [`ConsoleStream::close`] logs that
/// session out; dropping the stream does so in the background.
pub struct ConsoleStream {
    io: TokioIo<Upgraded>,
    session: OwnSession,
    endpoint: Endpoint,
}

impl Client {
    /// Opens a console of a running VM, for example one of [`vm::field::CONSOLES`].
    ///
    /// Connects to the host that the VM runs on, at the address that the pool knows it by unless it
    /// is the coordinator, and follows no redirects.
    ///
    /// # Errors
    /// `NotFound` when there is no such console (any more); `Failure` with the host's words when it
    /// does not give the console, as when the VM has moved meanwhile.
    pub async fn console(&self, console: &Ref<xenapi_types::Console>) -> Result<ConsoleStream> {
        let opening = async {
            let vm = self.get_field(console, console::field::VM).await?;
            let host = self.get_field(&vm, vm::field::RESIDENT_ON).await?;
            if host.is_null() {
                return Err(Error::new(ErrorKind::Failure, "the VM does not run").remedy("start the VM"));
            }
            let endpoint = self.endpoint_of(&host).await?;
            self.open_console(console, endpoint).await
        };
        opening.await.map_err(|error| error.renamed(format!("console {}", name(console))))
    }

    /// Opens the console of a running VM that speaks `protocol`: `Rfb` for its screen, `Vt100` for
    /// its terminal.
    ///
    /// # Errors
    /// `NotFound` when the VM has none such, which is so while it does not run; else as
    /// [`Client::console`].
    pub async fn vm_console(&self, vm: &Ref<Vm>, protocol: ConsoleProtocol) -> Result<ConsoleStream> {
        for console in self.get_field(vm, vm::field::CONSOLES).await? {
            if self.get_field(&console, console::field::PROTOCOL).await? == protocol {
                return self.console(&console).await;
            }
        }
        let message = format!("it has no {protocol} console at present");
        Err(Error::new(ErrorKind::NotFound, message)
            .remedy("check that the VM runs")
            .about(name(vm))
            .at(&self.endpoint()))
    }

    async fn open_console(
        &self,
        console: &Ref<xenapi_types::Console>,
        endpoint: Endpoint,
    ) -> Result<ConsoleStream> {
        let session = OwnSession::new(self).await?;
        match self.connect_console(console, &endpoint, session.get()).await {
            Ok(io) => Ok(ConsoleStream { io, session, endpoint }),
            Err(error) => {
                session.end().await;
                Err(error.at(&endpoint))
            }
        }
    }

    async fn connect_console(
        &self,
        console: &Ref<xenapi_types::Console>,
        endpoint: &Endpoint,
        session: &Session,
    ) -> Result<TokioIo<Upgraded>> {
        let target = handler::Console { reference: Some(console.clone().cast()), ..Default::default() };
        let request = head(&target.into(), endpoint, session, Empty::<Bytes>::new())?;
        let broken = |error: hyper::Error| {
            let message = format!("the connection broke before the console began ({})", root_cause(&error));
            Error::new(ErrorKind::Unreachable, message).because(error)
        };
        let io = self.inner.rpc.http.dialer.dial(endpoint).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(broken)?;
        // Ends with the stream, which takes the socket over.
        tokio::spawn(connection.with_upgrades());
        let answer = tokio::time::timeout(self.deadline(), sender.send_request(request)).await;
        let response = answer
            .map_err(|_| Error::new(ErrorKind::Timeout, "no answer to the request for the console"))?
            .map_err(broken)?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(TokioIo::new(hyper::upgrade::on(response).await.map_err(broken)?));
        }
        let page = read_some(arriving(response.into_body()), Duration::from_secs(1)).await;
        let message = format!("the host answered HTTP {status}: {}", session.secrets().page(&page));
        Err(Error::new(ErrorKind::Failure, message).remedy("check that the VM runs, and on which host"))
    }
}

impl ConsoleStream {
    /// The host that the console is on.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Closes the connection and ends its session.
    ///
    /// # Errors
    /// When the connection cannot be closed in order, as when it is broken: all has ended nevertheless.
    pub async fn close(mut self) -> Result<()> {
        let closed = self.io.shutdown().await;
        self.session.end().await;
        closed.map_err(|error| {
            Error::new(ErrorKind::Unreachable, format!("the console's connection broke ({error})"))
                .because(error)
                .at(&self.endpoint)
        })
    }
}

impl AsyncRead for ConsoleStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for ConsoleStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl fmt::Debug for ConsoleStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleStream").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
