//! Disks over NBD: reads of any part, without a transfer's task.
//!
//! Hosts serve it on the networks whose purpose is `nbd`, read-only, to 16 connections at a time.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use xenapi_types::nbd::{self, Request};
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
    io: Box<dyn Io>,
    size: u64,
    next_handle: u64,
    /// Offset and length of what has been asked for, by handle.
    in_flight: HashMap<u64, (u64, u32)>,
    client: Client,
    session: OwnSession,
    endpoint: Endpoint,
}

/// How much is asked for at once, in bytes: what other clients of these hosts ask for.
const READ_LEN: u32 = 2 << 20;
/// How many such reads are under way when a whole disk is read.
const DEPTH: usize = 4;
/// The longest text that a server may put into a reply to an option.
const MAX_REPLY: u32 = 64 << 10;

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
            Ok((io, size, endpoint)) => Ok(NbdReader {
                io,
                size,
                next_handle: 0,
                in_flight: HashMap::new(),
                client: self.clone(),
                session,
                endpoint,
            }),
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
    ) -> Result<(Box<dyn Io>, u64, Endpoint)> {
        const METHOD: &str = "VDI.get_nbd_info";
        let answer = self.exchange(session.get(), METHOD, &(vdi,), Typed::NEW).await?;
        // The names of the exports hold the session that asks for them.
        let servers: Vec<VdiNbdServerInfoRecord> =
            answer.map_err(|failure| self.refuse(METHOD, session.get(), failure))?;
        let mut first_error = None;
        for server in servers {
            let port = u16::try_from(server.port).unwrap_or(0);
            let endpoint = Endpoint(Place::Tcp { tls: false, host: server.address.clone(), port });
            let opening = tokio::time::timeout(self.deadline(), self.open_at(&server, &endpoint, security));
            let opened =
                opening.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "no answer in time")));
            match opened {
                Ok((io, size)) => return Ok((io, size, endpoint)),
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
    ) -> Result<(Box<dyn Io>, u64)> {
        let mut io = self.inner.rpc.http.dialer.dial(endpoint).await?;
        greet(&mut io).await?;
        if security == NbdSecurity::Tls {
            io = start_tls(io, server).await?;
        }
        let name = server.exportname.as_bytes();
        io.write_all(&nbd::option(nbd::OPTION_EXPORT_NAME, name)).await.map_err(broken)?;
        io.flush().await.map_err(broken)?;
        let size = io.read_u64().await.map_err(|error| match error.kind() {
            // There is no other way to say no.
            io::ErrorKind::UnexpectedEof => Error::new(ErrorKind::Failure, "the host refuses the export")
                .remedy("check that the disk is not in use, and that fewer than 16 exports are open")
                .because(error),
            _ => broken(error),
        })?;
        let mut rest = [0; 2 + nbd::EXPORT_PADDING];
        io.read_exact(&mut rest).await.map_err(broken)?;
        Ok((io, size))
    }
}

async fn greet(io: &mut Box<dyn Io>) -> Result<()> {
    let mut greeting = [0; nbd::GREETING.len()];
    io.read_exact(&mut greeting).await.map_err(broken)?;
    let flags = io.read_u16().await.map_err(broken)?;
    if greeting != nbd::GREETING || flags & nbd::FIXED_NEWSTYLE == 0 {
        let message = "what answers there does not speak NBD, or only an old dialect of it";
        return Err(Error::new(ErrorKind::Protocol, message));
    }
    io.write_u32(nbd::FIXED_NEWSTYLE.into()).await.map_err(broken)?;
    io.flush().await.map_err(broken)
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

/// The kind of a reply to an option.
async fn reply(io: &mut Box<dyn Io>, option: u32) -> Result<u32> {
    let magic = io.read_u64().await.map_err(broken)?;
    let of = io.read_u32().await.map_err(broken)?;
    let kind = io.read_u32().await.map_err(broken)?;
    let len = io.read_u32().await.map_err(broken)?;
    if magic != nbd::OPTION_REPLY_MAGIC || of != option || len > MAX_REPLY {
        return Err(Error::new(ErrorKind::Protocol, "the server's reply is not one of NBD"));
    }
    let mut text = vec![0; len as usize];
    io.read_exact(&mut text).await.map_err(broken)?;
    Ok(kind)
}

fn broken(error: io::Error) -> Error {
    Error::new(ErrorKind::Unreachable, format!("the NBD connection broke ({error})")).because(error)
}

impl NbdReader {
    /// The size of the disk in bytes.
    pub fn size(&self) -> u64 {
        self.size
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
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.size) {
            let message = format!("{} bytes at {offset} of a disk of {} bytes", buffer.len(), self.size);
            return Err(Error::new(ErrorKind::Config, message).at(&self.endpoint));
        }
        let mut at = offset;
        for part in buffer.chunks_mut(READ_LEN as usize) {
            self.ask(at, part.len() as u32).await?;
            let (_, data) = self.take().await?;
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
        let unwritable = |error: io::Error| {
            let message = format!("what comes cannot be written ({error})");
            Error::new(ErrorKind::Transfer, message).because(error)
        };
        let (mut asked, mut written) = (0, 0);
        // A server may answer in another order.
        let mut early: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        while written < self.size {
            while asked < self.size && self.in_flight.len() + early.len() < DEPTH {
                let len = u64::from(READ_LEN).min(self.size - asked);
                self.ask(asked, len as u32).await?;
                asked += len;
            }
            let (offset, data) = self.take().await?;
            early.insert(offset, data);
            while let Some(data) = early.remove(&written) {
                out.write_all(&data).await.map_err(unwritable)?;
                written += data.len() as u64;
                progress(written);
            }
        }
        out.flush().await.map_err(unwritable)
    }

    /// Takes leave of the server and ends the session.
    pub async fn close(mut self) {
        let leave = Request { command: nbd::COMMAND_DISCONNECT, handle: self.next_handle, offset: 0, len: 0 };
        // All has ended whether the server hears it or not.
        let _ = self.io.write_all(&leave.to_bytes()).await;
        let _ = self.io.shutdown().await;
        self.session.end().await;
    }

    async fn ask(&mut self, offset: u64, len: u32) -> Result<()> {
        let handle = self.next_handle;
        self.next_handle += 1;
        self.in_flight.insert(handle, (offset, len));
        let request = Request { command: nbd::COMMAND_READ, handle, offset, len };
        let sending = async {
            self.io.write_all(&request.to_bytes()).await?;
            self.io.flush().await
        };
        sending.await.map_err(|error| broken(error).into_kind(ErrorKind::Transfer).at(&self.endpoint))
    }

    /// The next answer, whichever it is: offset and data.
    async fn take(&mut self) -> Result<(u64, Vec<u8>)> {
        let stall = self.client.inner.config.timeouts.stall;
        let taken = tokio::time::timeout(stall, self.answer()).await.unwrap_or_else(|_| {
            let message = format!("nothing moved for {} s", stall.as_secs_f32());
            Err(Error::new(ErrorKind::Transfer, message))
        });
        taken.map_err(|error| error.into_kind(ErrorKind::Transfer).at(&self.endpoint))
    }

    async fn answer(&mut self) -> Result<(u64, Vec<u8>)> {
        let magic = self.io.read_u32().await.map_err(broken)?;
        let errno = self.io.read_u32().await.map_err(broken)?;
        let handle = self.io.read_u64().await.map_err(broken)?;
        let asked = self.in_flight.remove(&handle);
        let Some((offset, len)) = asked.filter(|_| magic == nbd::REPLY_MAGIC) else {
            return Err(Error::new(ErrorKind::Protocol, "an answer to nothing that was asked"));
        };
        if errno != 0 {
            let message = format!("the host cannot read {len} bytes at {offset}: error {errno}");
            return Err(Error::new(ErrorKind::Transfer, message));
        }
        let mut data = vec![0; len as usize];
        self.io.read_exact(&mut data).await.map_err(broken)?;
        Ok((offset, data))
    }
}

impl fmt::Debug for NbdReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NbdReader")
            .field("endpoint", &self.endpoint)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn long_replies_are_not_read() {
        for (len, fits) in [(0, true), (3, true), (MAX_REPLY + 1, false), (u32::MAX, false)] {
            let (ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_u64(nbd::OPTION_REPLY_MAGIC).await.unwrap();
            for number in [7, 1, len] {
                theirs.write_u32(number).await.unwrap();
            }
            theirs.write_all(b"abc").await.unwrap();
            let mut io: Box<dyn Io> = Box::new(ours);
            let read = reply(&mut io, 7).await;
            match fits {
                true => assert_eq!(read.unwrap(), 1),
                false => assert_eq!(read.unwrap_err().kind(), ErrorKind::Protocol),
            }
        }
    }
}
