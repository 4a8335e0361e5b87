//! Opening connections: the seam at which a network can be replaced.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::endpoint::{Endpoint, Place};
use crate::error::{Error, ErrorKind, Result, root_cause};
use crate::service::Exchange;
use crate::tls::{Refused, Tls};

/// A stream of bytes to a server.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A connection about to be opened.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// Opens connections to hosts. The client asks for one whenever it needs one, wraps it in TLS
/// where the endpoint says so, and speaks HTTP/1.1 on it.
///
/// The network is [`Network`]; a simulator in the same process gives one end of a
/// [`tokio::io::duplex`] instead.
pub trait Connect: Send + Sync + 'static {
    /// Opens a connection to `endpoint`.
    fn connect(&self, endpoint: &Endpoint) -> Connecting;

    /// Whether the streams are used as they are even for an `https` endpoint, because nobody else
    /// can see them.
    fn is_private(&self) -> bool {
        false
    }
}

/// TCP and Unix sockets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Network;

impl Connect for Network {
    fn connect(&self, endpoint: &Endpoint) -> Connecting {
        let endpoint = endpoint.clone();
        Box::pin(async move {
            let io: Box<dyn Io> = match endpoint.0 {
                Place::Tcp { host, port, .. } => Box::new(open_tcp(&host, port).await?),
                #[cfg(unix)]
                Place::Unix(path) => Box::new(tokio::net::UnixStream::connect(path).await?),
                #[cfg(not(unix))]
                Place::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
            };
            Ok(io)
        })
    }
}

/// How long a connection may be silent before the system asks whether its other end is still there, how often it asks,
/// and how many questions may stay without an answer.
const ALIVE_AFTER: Duration = Duration::from_secs(30);
const ALIVE_EVERY: Duration = Duration::from_secs(10);
const ALIVE_PROBES: u32 = 3;

async fn open_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    keep_alive(&stream)?;
    Ok(stream)
}

/// Has the system end a connection whose other end is gone without a word, as a host that loses its power is: within a
/// minute, where a wait for events or an answer would else go on for its whole time.
///
/// There is no `TCP_USER_TIMEOUT` beside it, as that also ends an upload to a host that is there and takes nothing for a
/// while because its storage is slow.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(ALIVE_AFTER).with_interval(ALIVE_EVERY);
    socket.set_tcp_keepalive(&keepalive.with_retries(ALIVE_PROBES))
}

/// Connections made by a closure: through a proxy or a tunnel, or to addresses of its own. To an `https` endpoint the client
/// speaks TLS on them, as on those of [`Network`].
pub fn connect_fn<F, Fut, S>(open: F) -> impl Connect
where
    F: Fn(&Endpoint) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<S>> + Send + 'static,
    S: Io,
{
    FromFn { open, is_private: false }
}

/// Pipes in this process made by a closure, as to a simulator: they are used as they are for an `https` endpoint too,
/// without TLS and whatever [`Config::trust`](crate::Config::trust) says. What leaves the process is for [`connect_fn`].
pub fn private_connect_fn<F, Fut, S>(open: F) -> impl Connect
where
    F: Fn(&Endpoint) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<S>> + Send + 'static,
    S: Io,
{
    FromFn { open, is_private: true }
}

struct FromFn<F> {
    open: F,
    is_private: bool,
}

impl<F, Fut, S> Connect for FromFn<F>
where
    F: Fn(&Endpoint) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<S>> + Send + 'static,
    S: Io,
{
    fn connect(&self, endpoint: &Endpoint) -> Connecting {
        let opening = (self.open)(endpoint);
        Box::pin(async move { Ok(Box::new(opening.await?) as Box<dyn Io>) })
    }

    fn is_private(&self) -> bool {
        self.is_private
    }
}

/// Connections with TLS where it belongs, and errors that say what is wrong.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) connector: Arc<dyn Connect>,
    pub(crate) tls: Arc<Tls>,
    pub(crate) timeout: Duration,
    /// Takes the requests instead of connections.
    pub(crate) service: Option<Arc<dyn Exchange>>,
}

impl Dialer {
    /// # Errors
    /// `Unreachable` or `Untrusted`, with the endpoint in the text.
    pub(crate) async fn dial(&self, endpoint: &Endpoint) -> Result<Box<dyn Io>> {
        if self.service.is_some() {
            let message = "this needs a connection of its own, which a service does not give";
            return Err(Error::new(ErrorKind::Config, message).at(endpoint));
        }
        match tokio::time::timeout(self.timeout, self.open(endpoint)).await {
            Ok(result) => result.map_err(|error| error.at(endpoint)),
            Err(_) => {
                let message = format!("no connection within {} s", self.timeout.as_secs_f32());
                Err(Error::new(ErrorKind::Unreachable, message)
                    .remedy("check that the host is up and that no firewall is in between")
                    .at(endpoint))
            }
        }
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Box<dyn Io>> {
        let io = self.connector.connect(endpoint).await.map_err(unreachable)?;
        if !endpoint.is_tls() || self.connector.is_private() {
            return Ok(io);
        }
        let host = endpoint.host().unwrap_or_default();
        let name = ServerName::try_from(host.to_owned()).map_err(|e| {
            Error::new(ErrorKind::Config, "the host's name cannot be used with TLS").because(e)
        })?;
        let stream = TlsConnector::from(self.tls.config()?).connect(name, io).await.map_err(untrusted)?;
        self.tls.admit(endpoint, stream.get_ref().1).await?;
        Ok(Box::new(stream))
    }
}

fn unreachable(error: io::Error) -> Error {
    let (message, remedy) = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            ("connection refused".to_owned(), "check the port and that the toolstack (xapi) is running")
        }
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
            (error.to_string(), "check the path of the socket and the rights on it")
        }
        // The standard library has no kind for names that do not resolve.
        _ if error.to_string().contains("lookup address") => {
            (format!("the host's name cannot be resolved ({error})"), "check its spelling and the DNS")
        }
        _ => (format!("cannot connect ({error})"), "check the address and the network"),
    };
    Error::new(ErrorKind::Unreachable, message).remedy(remedy).because(error)
}

fn untrusted(error: io::Error) -> Error {
    if let Some(refused) = Refused::find(&error) {
        return Error::new(
            ErrorKind::Untrusted,
            format!("the server's certificate is not trusted: {}", refused.reason),
        )
        .remedy(format!(
            "if its SHA-256 fingerprint {} is the one the host shows on its console or in \
             /etc/xensource/xapi-ssl.pem, trust that fingerprint",
            refused.seen
        ))
        .because(refused.clone());
    }
    let plain = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::InvalidMessage(_)) = plain {
        return Error::new(ErrorKind::Unreachable, "what answers there does not speak TLS")
            .remedy("check the port, or use an http:// URL if the network is trusted")
            .because(error);
    }
    let message = format!("the TLS handshake failed ({})", root_cause(&error));
    Error::new(ErrorKind::Unreachable, message)
        .remedy("hosts that know only TLS 1.0 or 1.1 are not supported")
        .because(error)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_that_is_gone_is_noticed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = open_tcp("127.0.0.1", listener.local_addr().unwrap().port()).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        let times = [socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap()];
        assert_eq!(times.map(|time| time.as_secs()), [30, 10]);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
    }
}
