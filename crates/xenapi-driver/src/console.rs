//! A console for whoever connects: a local port or socket as the way to an instance's screen or terminal.
//!
//! Each viewer gets a connection and a session of its own, in which nothing but that console can be had of
//! the host; both end when the viewer leaves.

use std::fmt;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use xenapi_types::ConsoleProtocol;

use crate::driver::Driver;
use crate::error::Result;
use crate::find::Which;

/// A console of an instance, for viewers that know nothing of XenAPI: `vncviewer`, `nc`.
#[derive(Debug, Clone)]
pub struct ConsoleBridge {
    driver: Driver,
    which: Which,
    protocol: ConsoleProtocol,
}

/// Where viewers come in. It is the caller's: whom it lets in gets the console, without a password.
#[derive(Debug)]
#[non_exhaustive]
pub enum Door {
    /// A port: open to every user of a machine that reaches it.
    Port(TcpListener),
    /// A socket: open to whom its permissions allow.
    Socket(UnixListener),
}

/// Somebody who has come in.
pub struct Viewer {
    stream: Box<dyn Stream>,
    /// Where from, as far as it is known.
    pub from: String,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Door {
    /// The next viewer. Cancelling loses none.
    ///
    /// # Errors
    ///
    /// The operating system's, as when there are too many open files.
    pub async fn open(&self) -> io::Result<Viewer> {
        Ok(match self {
            Self::Port(listener) => {
                let (stream, from) = listener.accept().await?;
                Viewer::new(stream, from.to_string())
            }
            Self::Socket(listener) => Viewer::new(listener.accept().await?.0, "a viewer"),
        })
    }
}

impl Viewer {
    /// Who is at the other end of any stream.
    pub fn new(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        from: impl Into<String>,
    ) -> Self {
        Self { stream: Box::new(stream), from: from.into() }
    }
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewer").field("from", &self.from).finish_non_exhaustive()
    }
}

impl ConsoleBridge {
    /// To the screen (`Rfb`, the protocol of VNC) or the terminal (`Vt100`) of an instance of this driver. Nothing is asked
    /// for before a viewer comes.
    pub fn new(driver: &Driver, which: Which, protocol: ConsoleProtocol) -> Self {
        Self { driver: driver.clone(), which, protocol }
    }

    /// Lets one viewer at the console until it leaves, or the guest stops or moves. Several may be served at a time. The
    /// session is over when this returns, whatever the outcome; cancelling ends it in the background.
    ///
    /// # Errors
    ///
    /// As [`Driver::console`]: nothing was shown then. A connection that breaks later is an end as any other.
    pub async fn serve(&self, mut viewer: Viewer) -> Result<()> {
        let mut console = self.driver.console(&self.which, self.protocol.clone()).await?;
        let copied = tokio::io::copy_bidirectional(&mut viewer.stream, &mut console).await;
        if let Err(error) = console.close().await {
            tracing::warn!(%error, "the console's session ends when the host gives it up");
        }
        if let Err(error) = copied {
            tracing::debug!(%error, from = viewer.from, "the connection broke");
        }
        Ok(())
    }
}
