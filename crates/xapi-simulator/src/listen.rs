//! How clients reach a pool: ports, TLS, streams inside the process.

use std::io::ErrorKind::AddrNotAvailable;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::connections::Open;
use crate::core::Core;
use crate::db::Object;
use crate::http::{Conn, serve};
use crate::simulator::{Simulator, StartError};
use crate::transfer::nbd;

/// A host of the pool on a port of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listening {
    /// The host's name.
    pub host: String,
    /// Where it listens.
    pub url: String,
    /// The SHA-256 fingerprint of its certificate, with TLS.
    pub fingerprint: Option<String>,
}

/// For whom a port answers.
#[derive(Clone)]
enum Speaker {
    /// Whoever is the master at the time.
    Master,
    /// The host of this reference.
    Host(String),
    /// The host whose address the client has called; the master for other addresses.
    Called,
}

impl Simulator {
    /// Listens for plain HTTP and returns the URL. Port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub async fn listen(&self, address: &str) -> Result<String, StartError> {
        let (listener, local) = bind(address).await?;
        self.accept(listener, None, Speaker::Master);
        Ok(format!("http://{local}"))
    }

    /// Listens as one host of the pool, by reference, uuid or name. A host that is not the master sends clients away
    /// with `HOST_IS_SLAVE` and the master's address, and transfers to where the storage is.
    ///
    /// # Errors
    /// When there is no such host, or the address is taken or not ours.
    pub async fn listen_as(&self, host: &str, address: &str) -> Result<String, StartError> {
        let found = self.core().db.read(|view| {
            let named = |object: &Object<'_>| {
                [object.reference(), object.str("uuid"), object.str("name_label")].contains(&host)
            };
            view.objects("host").find(named).map(|object| object.reference().to_owned())
        });
        let found = found.ok_or_else(|| StartError::UnknownHost(host.to_owned()))?;
        let (listener, local) = bind(address).await?;
        self.accept(listener, None, Speaker::Host(found));
        Ok(format!("http://{local}"))
    }

    /// Listens for HTTPS with a certificate made for the occasion, and returns the URL and the certificate's SHA-256
    /// fingerprint.
    ///
    /// # Errors
    /// When the address is taken or not ours, or no certificate can be made.
    pub async fn listen_tls(&self, address: &str) -> Result<(String, String), StartError> {
        let (listener, local) = bind(address).await?;
        let (acceptor, fingerprint) =
            self.core().certificate.acceptor(&local.ip().to_string()).map_err(StartError::Certificate)?;
        self.accept(listener, Some(acceptor), Speaker::Master);
        Ok((format!("https://{local}"), fingerprint))
    }

    /// Listens for plain HTTP as every host of the pool, the master first: the master at `address`, the
    /// others at the same port of their own addresses. Those whose address is not one of this machine are
    /// left out. From then on transfers are sent on to these ports, where real hosts name none.
    ///
    /// # Errors
    /// When an address is taken, or the master's is not ours.
    pub async fn listen_pool(&self, address: &str) -> Result<Vec<Listening>, StartError> {
        self.listen_as_hosts(address, false).await
    }

    /// As [`Simulator::listen_pool`], for HTTPS, with certificates made for the occasion.
    ///
    /// # Errors
    /// As there, and when no certificate can be made.
    pub async fn listen_pool_tls(&self, address: &str) -> Result<Vec<Listening>, StartError> {
        self.listen_as_hosts(address, true).await
    }

    async fn listen_as_hosts(&self, address: &str, tls: bool) -> Result<Vec<Listening>, StartError> {
        let core = self.core();
        let master = master(core);
        let (listener, local) = bind(address).await?;
        let mut hosts: Vec<(String, String, String)> = core.db.read(|view| {
            let hosts = view
                .objects("host")
                .map(|host| (host.reference(), host.str("name_label"), host.str("address")));
            hosts
                .map(|(host, name, address)| (host.to_owned(), name.to_owned(), address.to_owned()))
                .collect()
        });
        hosts.sort_by_key(|(host, name, _)| (*host != master, name.clone()));
        let mut listener = Some(listener);
        let mut listening = Vec::new();
        for (host, name, own) in hosts {
            let any = local.ip().is_unspecified();
            let at = match own.parse::<IpAddr>() {
                Ok(ip) if any || host != master => SocketAddr::new(ip, local.port()),
                _ => local,
            };
            let (acceptor, fingerprint) = match tls {
                true => {
                    core.certificate.acceptor(&at.ip().to_string()).map(|(a, print)| (Some(a), Some(print)))
                }
                false => Ok((None, None)),
            }
            .map_err(StartError::Certificate)?;
            match listener.take() {
                Some(listener) if any => self.accept(listener, acceptor, Speaker::Called),
                Some(listener) => self.accept(listener, acceptor, Speaker::Host(host.clone())),
                None if any => {}
                None => match bind(&at.to_string()).await {
                    Ok((listener, _)) => self.accept(listener, acceptor, Speaker::Host(host.clone())),
                    Err(StartError::Listen { source, .. }) if source.kind() == AddrNotAvailable => {
                        tracing::warn!(
                            host = name,
                            "nobody listens for it: {at} is not an address of this machine"
                        );
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            }
            // A port for all of them shows the master's certificate.
            let first: Option<&Listening> = listening.first();
            let fingerprint = first.filter(|_| any).map_or(fingerprint, |first| first.fingerprint.clone());
            let url = format!("{}://{at}", if tls { "https" } else { "http" });
            core.urls().insert(host, url.clone());
            listening.push(Listening { host: name, url, fingerprint });
        }
        Ok(listening)
    }

    /// Listens for NBD and returns the address, which `VDI.get_nbd_info` names from then on. What is served, and whether
    /// over TLS, follows from the purposes of the networks.
    ///
    /// # Errors
    /// When the address is taken or not ours, no certificate can be made, or NBD is served already.
    pub async fn listen_nbd(&self, address: &str) -> Result<SocketAddr, StartError> {
        let (listener, local) = bind(address).await?;
        let certificate = &self.core().certificate;
        let (acceptor, _) = certificate.acceptor(&local.ip().to_string()).map_err(StartError::Certificate)?;
        let pem = certificate.pem().map_err(StartError::Certificate)?;
        if !self.core().nbd.serves_at(local, acceptor, pem) {
            let source = std::io::ErrorKind::AlreadyExists.into();
            return Err(StartError::Listen { address: address.to_owned(), source });
        }
        let core = self.core().clone();
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = core.stopped() => return,
                };
                let Ok((stream, _)) = accepted else { continue };
                let core = core.clone();
                tokio::spawn(async move {
                    let host = master(&core);
                    tokio::select! {
                        () = nbd::serve(core.clone(), host, stream) => {}
                        () = core.stopped() => {}
                    }
                });
            }
        });
        Ok(local)
    }

    /// Serves connections.
    fn accept(&self, listener: TcpListener, acceptor: Option<TlsAcceptor>, speaker: Speaker) {
        let core = self.core().clone();
        tokio::spawn(async move {
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => stream,
                        Err(error) => {
                            // Out of descriptors, most likely: those in use will come free.
                            tracing::warn!(%error, "cannot accept a connection");
                            tokio::time::sleep(Duration::from_millis(100)).await;
                            continue;
                        }
                    },
                    () = core.stopped() => return,
                };
                let _ = stream.set_nodelay(true);
                if !core.toolstack.is_up() {
                    // Nobody listens: a reset is as near as this comes.
                    let _ = stream.set_zero_linger();
                    continue;
                }
                let (core, member) = core.answering();
                let host = member.unwrap_or_else(|| speaker.host(&core, &stream));
                let acceptor = acceptor.clone();
                let ended = core.toolstack.ended();
                let (open, stream) = Open::new(&core, stream);
                tokio::spawn(async move {
                    let _open = open;
                    let serving = async {
                        match acceptor {
                            None => serve(core.clone(), host, Conn::new(stream)).await,
                            Some(acceptor) => match acceptor.accept(stream).await {
                                Ok(stream) => serve(core.clone(), host, Conn::new(stream)).await,
                                Err(error) => tracing::debug!(%error, "no TLS"),
                            },
                        }
                    };
                    until_the_end(&core, ended, serving).await;
                });
            }
        });
    }

    /// A connection inside the process, without a port, to the host that speaks for the pool.
    pub fn connect(&self) -> impl AsyncRead + AsyncWrite + Send + Unpin + use<> {
        self.connect_to("")
    }

    /// A connection inside the process to the host with this address; where none has it, as [`Simulator::connect`].
    pub fn connect_to(&self, address: &str) -> impl AsyncRead + AsyncWrite + Send + Unpin + use<> {
        let (client, server) = tokio::io::duplex(256 << 10);
        if self.core().toolstack.is_up() {
            let (core, member) = self.core().answering();
            let ended = core.toolstack.ended();
            let host = host_at(&core, address).or(member).unwrap_or_else(|| master(&core));
            tokio::spawn(async move {
                until_the_end(&core, ended, serve(core.clone(), host, Conn::new(server))).await;
            });
        }
        client
    }
}

impl Speaker {
    fn host(&self, core: &Core, stream: &TcpStream) -> String {
        let called = match self {
            Self::Master => None,
            Self::Host(host) => Some(host.clone()),
            Self::Called => stream
                .local_addr()
                .ok()
                .and_then(|local| host_at(core, &local.ip().to_canonical().to_string())),
        };
        called.unwrap_or_else(|| master(core))
    }
}

/// Serves until the connection, the simulator or the toolstack ends.
async fn until_the_end(core: &Core, ended: impl Future<Output = ()>, serving: impl Future<Output = ()>) {
    tokio::select! {
        // Calls in progress end too, and nobody is to hear of it.
        biased;
        () = core.stopped() => {}
        () = ended => {}
        () = serving => {}
    }
}

async fn bind(address: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let refused = |source| StartError::Listen { address: address.to_owned(), source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let local = listener.local_addr().map_err(refused)?;
    Ok((listener, local))
}

fn host_at(core: &Core, address: &str) -> Option<String> {
    core.db.read(|view| {
        let host = view.objects("host").find(|host| host.str("address") == address)?;
        Some(host.reference().to_owned())
    })
}

/// The host that speaks for the pool.
fn master(core: &Core) -> String {
    core.db.read(|view| {
        view.objects("pool").next().map_or_else(String::new, |pool| pool.str("master").to_owned())
    })
}
