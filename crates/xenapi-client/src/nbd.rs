//! Disks over NBD: reads of any part, without a transfer's task.
//!
//! Hosts serve it on the networks whose purpose is `nbd`, read-only, to 16 connections at a time.

pub(crate) mod wire;

use std::fmt;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use xenapi_types::nbd;
use xenapi_types::{Vdi, VdiNbdServerInfoRecord};
use xenapi_wire::Ref;

use crate::client::Client;
use crate::config::Trust;
use crate::connect::Io;
use crate::endpoint::{Endpoint, Place};
use crate::error::{Error, ErrorKind, Result};
use crate::event::name;
use crate::own_session::OwnSession;
use crate::rpc::Typed;
use crate::tls::{Fingerprint, Tls};

use self::wire::{Wire, broken, export, greet, reply};

/// Whether a disk's content, and the session that opens it, may go over the network as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NbdSecurity {
    /// Only over TLS, with the very certificate that XAPI names: for networks whose purpose is `nbd`.
    #[default]
    Tls,
    /// As they are: for networks whose purpose is `insecure_nbd`.
    Plain,
}

/// A disk opened for reading. It stays attached to its host's control domain meanwhile.
///
/// It has a session of its own, which [`NbdReader::close`] ends; dropping the reader does so in the background.
/// After a read whose future was dropped, the answer is lost and the reader of no more use.
pub struct NbdReader {
    wire: Wire<Box<dyn Io>>,
    client: Client,
    session: OwnSession,
    endpoint: Endpoint,
}

/// How much is asked for at once, in bytes: what other clients of these hosts ask for.
const READ_LEN: u32 = 2 << 20;

impl Client {
    /// Opens a disk for reading over NBD. Take a snapshot: a disk that is in use cannot be attached once more.
    ///
    /// # Errors
    /// `Config` when no network of the pool is marked for NBD; `Untrusted` when the server has another certificate than
    /// XAPI says, or no TLS; `Unreachable`; `Protocol`.
    pub async fn open_nbd(&self, vdi: &Ref<Vdi>, security: NbdSecurity) -> Result<NbdReader> {
        let session = OwnSession::new(self).await?;
        let opened = self.open_nbd_with(vdi, security, &session).await;
        match opened {
            Ok((wire, endpoint)) => Ok(NbdReader { wire, client: self.clone(), session, endpoint }),
            Err(error) => {
                session.end().await;
                Err(error.renamed(format!("NBD export of {}", name(vdi))))
            }
        }
    }

    async fn open_nbd_with(
        &self,
        vdi: &Ref<Vdi>,
        security: NbdSecurity,
        session: &OwnSession,
    ) -> Result<(Wire<Box<dyn Io>>, Endpoint)> {
        const METHOD: &str = "VDI.get_nbd_info";
        let course = self.course();
        course.under_way(true);
        let asking = async {
            let answer = self.exchange(session.get(), METHOD, &(vdi,), Typed::NEW).await?;
            // The names of the exports hold the session that asks for them.
            answer.map_err(|failure| self.refuse(METHOD, session.get(), failure))
        };
        let servers: Vec<VdiNbdServerInfoRecord> = self.within(METHOD, &course, asking).await?;
        let mut first_error = None;
        for server in servers {
            let port = u16::try_from(server.port).unwrap_or(0);
            let endpoint = Endpoint(Place::Tcp { tls: false, host: server.address.clone(), port });
            let opening = tokio::time::timeout(self.deadline(), self.open_at(&server, &endpoint, security));
            let opened =
                opening.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "no answer in time")));
            match opened {
                Ok(wire) => return Ok((wire, endpoint)),
                Err(error) => {
                    tracing::debug!(%endpoint, %error, "no NBD there");
                    first_error.get_or_insert(error.at(&endpoint));
                }
            }
        }
        Err(first_error.unwrap_or_else(|| {
            Error::new(ErrorKind::Config, "no network is marked for NBD on a host that sees the disk")
                .remedy("call network.add_purpose with the value nbd")
        }))
    }

    async fn open_at(
        &self,
        server: &VdiNbdServerInfoRecord,
        endpoint: &Endpoint,
        security: NbdSecurity,
    ) -> Result<Wire<Box<dyn Io>>> {
        let mut io = self.inner.rpc.http.dialer.dial(endpoint).await?;
        greet(&mut io).await?;
        if security == NbdSecurity::Tls {
            io = start_tls(io, server).await?;
        }
        let size = export(&mut io, server.exportname.as_bytes()).await?;
        Ok(Wire::new(io, size))
    }
}

/// Goes on over TLS, with the certificate that XAPI has named and no other.
async fn start_tls(mut io: Box<dyn Io>, server: &VdiNbdServerInfoRecord) -> Result<Box<dyn Io>> {
    let certificate = CertificateDer::from_pem_slice(server.cert.as_bytes()).map_err(|error| {
        Error::new(ErrorKind::Protocol, "the host names no readable certificate for NBD").because(error)
    })?;
    let trust = Trust::Fingerprints(vec![Fingerprint::of_certificate(&certificate)]);
    io.write_all(&nbd::option(nbd::OPTION_STARTTLS, &[])).await.map_err(broken)?;
    io.flush().await.map_err(broken)?;
    if reply(&mut io, nbd::OPTION_STARTTLS).await? != nbd::REPLY_ACK {
        let message = "the server does not offer TLS: the network's purpose is insecure_nbd";
        return Err(Error::new(ErrorKind::Untrusted, message)
            .remedy("give the network the purpose nbd, or allow plain connections explicitly"));
    }
    let host = ServerName::try_from(server.subject.clone());
    let host = host.or_else(|_| ServerName::try_from(server.address.clone())).map_err(|error| {
        Error::new(ErrorKind::Protocol, "the host has no name that TLS can use").because(error)
    })?;
    let config = Tls::new(trust).config()?;
    let stream = TlsConnector::from(config).connect(host, io).await.map_err(|error| {
        let message = format!("the TLS handshake failed ({error}): it is not the server that XAPI names");
        Error::new(ErrorKind::Untrusted, message).because(error)
    })?;
    Ok(Box::new(stream))
}

impl NbdReader {
    /// The size of the disk in bytes.
    pub fn size(&self) -> u64 {
        self.wire.size()
    }

    /// The server.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// `Config` when that reaches behind the end of the disk; `Transfer` when the host cannot read it, or nothing
    /// comes for [`Timeouts::stall`](crate::Timeouts::stall).
    pub async fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size()) {
            let message = format!("{} bytes at {offset} of a disk of {} bytes", buffer.len(), self.size());
            return Err(Error::new(ErrorKind::Config, message).at(&self.endpoint));
        }
        let mut at = offset;
        for part in buffer.chunks_mut(READ_LEN as usize) {
            let (stall, endpoint) = self.patience();
            let read = async {
                self.wire.ask(at, part.len() as u32).await?;
                self.wire.take(Some(stall)).await
            };
            let (_, data) = read.await.map_err(|error| error.at(&endpoint))?;
            part.copy_from_slice(&data);
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Writes the whole disk into `out`; `progress` is called with the number of bytes. Several reads are under way
    /// at the same time.
    ///
    /// # Errors
    /// As [`NbdReader::read_at`]; `Transfer` also when `out` fails.
    pub async fn copy_to<W: AsyncWrite + Unpin>(
        &mut self,
        out: &mut W,
        mut progress: impl FnMut(u64),
    ) -> Result<()> {
        let (stall, endpoint) = self.patience();
        let copied = self.wire.copy_to(out, READ_LEN, Some(stall), &mut progress).await;
        copied.map_err(|error| error.at(&endpoint))
    }

    /// Takes leave of the server and ends the session.
    pub async fn close(mut self) {
        self.wire.leave().await;
        self.session.end().await;
    }

    /// How long nothing may come, and from whom.
    fn patience(&self) -> (std::time::Duration, Endpoint) {
        (self.client.inner.config.timeouts.stall, self.endpoint.clone())
    }
}

impl fmt::Debug for NbdReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NbdReader")
            .field("endpoint", &self.endpoint)
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}
