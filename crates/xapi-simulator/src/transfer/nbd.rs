//! `VDI.get_nbd_info` and the NBD server it points to: disks to read, for sessions, on networks marked for it.
//!
//! As on a real host: TLS is a must where the purpose is `nbd` and absent where it is `insecure_nbd`; the export's name
//! holds VDI and session; 16 connections at most; nothing but reads. All hosts share the one address that the simulator
//! listens on.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use xenapi_types::nbd::{self, Request};
use xenapi_wire::{Failure, Value};

use super::handler::{Format, blocking, hosts_of};
use super::source::{Source, find_vdi};
use crate::classes::session;
use crate::core::Core;
use crate::db::View;
use crate::disk::{Disk, DiskError};
use crate::dispatch::{Args, Ctx};

/// How many clients a host serves at the same time.
const MAX_CLIENTS: usize = 16;
/// The longest option and the longest transfer, in bytes.
const MAX_OPTION: u32 = 4 << 10;
const MAX_TRANSFER: u32 = 32 << 20;

/// What NBD says when something is not permitted, not readable, not sensible, or has no room.
const EPERM: u32 = 1;
const EIO: u32 = 5;
const EINVAL: u32 = 22;
const ENOSPC: u32 = 28;

/// Where NBD is served, if it is.
#[derive(Default)]
pub(crate) struct Nbd(OnceLock<Served>);

struct Served {
    address: SocketAddr,
    pem: String,
    acceptor: TlsAcceptor,
    clients: Semaphore,
}

impl Nbd {
    /// Notes the address; `false` when there is one already.
    pub(crate) fn serves_at(&self, address: SocketAddr, acceptor: TlsAcceptor, pem: String) -> bool {
        let served = Served { address, pem, acceptor, clients: Semaphore::new(MAX_CLIENTS) };
        self.0.set(served).is_ok()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Tls,
    Plain,
}

/// What the networks are marked for; nothing also when that is contradictory.
fn mode(view: &View) -> Option<Mode> {
    let is_marked = |purpose: &str| view.objects("network").any(|n| n.strs("purpose").any(|p| p == purpose));
    match (is_marked("nbd"), is_marked("insecure_nbd")) {
        (true, false) => Some(Mode::Tls),
        (false, true) => Some(Mode::Plain),
        _ => None,
    }
}

/// A record for each interface on a marked network of each host that sees the disk.
pub(crate) fn info(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    let served = ctx.core.nbd.0.get();
    ctx.read(|view| {
        let vdi = view.object("VDI", args.str(0))?;
        if vdi.str("type") == "cbt_metadata" {
            return Err(Failure::new("VDI_INCOMPATIBLE_TYPE", [vdi.reference(), "cbt_metadata"]));
        }
        let hosts = hosts_of(view, vdi.str("SR"));
        let is_marked = |network: &str| {
            let marked = |purpose: &str| matches!(purpose, "nbd" | "insecure_nbd");
            view.find("network", network).is_some_and(|network| network.strs("purpose").any(marked))
        };
        let pifs = view.objects("PIF").filter(|pif| {
            pif.bool("currently_attached")
                && !pif.str("IP").is_empty()
                && hosts.contains(&pif.str("host"))
                && is_marked(pif.str("network"))
        });
        let records = pifs.map(|pif| {
            let subject = view.find("host", pif.str("host")).map_or("", |host| host.str("hostname"));
            let name = format!("/{}?session_id={}", vdi.str("uuid"), ctx.session);
            let (address, port, cert) = match served {
                Some(served) => (served.address.ip().to_string(), served.address.port(), served.pem.as_str()),
                None => (pif.str("IP").to_owned(), 10_809, ""),
            };
            Value::Struct(BTreeMap::from([
                ("exportname".to_owned(), name.into()),
                ("address".to_owned(), address.into()),
                ("port".to_owned(), Value::Int(port.into())),
                ("cert".to_owned(), cert.into()),
                ("subject".to_owned(), subject.into()),
            ]))
        });
        Ok(Value::Array(records.collect()))
    })
}

/// Serves a connection to its end.
pub(crate) async fn serve(core: Arc<Core>, host: String, stream: TcpStream) {
    let Some(served) = core.nbd.0.get() else { return };
    // The seventeenth client is dropped.
    let Ok(_client) = served.clients.try_acquire() else { return };
    let Some(mode) = core.db().read(mode) else { return };
    let mut stream = BufStream::new(stream);
    let served = match negotiate(&mut stream, mode, true).await {
        Ok(Chosen::Export(name)) => export(&core, &host, &mut stream, &name).await,
        Ok(Chosen::Tls) => match served.acceptor.accept(stream.into_inner()).await {
            Ok(stream) => {
                let mut stream = BufStream::new(stream);
                match negotiate(&mut stream, Mode::Plain, false).await {
                    Ok(Chosen::Export(name)) => export(&core, &host, &mut stream, &name).await,
                    Ok(_) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        },
        Ok(Chosen::Nothing) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::debug!(%error, "an NBD connection ended");
    }
}

/// What a negotiation comes to.
enum Chosen {
    Export(String),
    Tls,
    Nothing,
}

async fn negotiate(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    mode: Mode,
    is_first: bool,
) -> io::Result<Chosen> {
    if is_first {
        stream.write_all(&nbd::GREETING).await?;
        stream.write_u16(nbd::FIXED_NEWSTYLE).await?;
        stream.flush().await?;
        stream.read_u32().await?;
    }
    loop {
        let mut magic = [0; nbd::OPTION_MAGIC.len()];
        stream.read_exact(&mut magic).await?;
        let (option, len) = (stream.read_u32().await?, stream.read_u32().await?);
        if magic != nbd::OPTION_MAGIC || len > MAX_OPTION {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut data = vec![0; len as usize];
        stream.read_exact(&mut data).await?;
        let (reply, chosen) = match (option, mode) {
            (nbd::OPTION_ABORT, _) => (nbd::REPLY_ACK, Some(Chosen::Nothing)),
            (nbd::OPTION_STARTTLS, Mode::Tls) => (nbd::REPLY_ACK, Some(Chosen::Tls)),
            // The only option that has no reply.
            (nbd::OPTION_EXPORT_NAME, Mode::Tls) => return Ok(Chosen::Nothing),
            (nbd::OPTION_EXPORT_NAME, Mode::Plain) => {
                return Ok(Chosen::Export(String::from_utf8_lossy(&data).into_owned()));
            }
            (_, Mode::Tls) => (nbd::REPLY_TLS_REQUIRED, None),
            (_, Mode::Plain) => (nbd::REPLY_UNSUPPORTED, None),
        };
        stream.write_u64(nbd::OPTION_REPLY_MAGIC).await?;
        stream.write_u32(option).await?;
        stream.write_u32(reply).await?;
        stream.write_u32(0).await?;
        stream.flush().await?;
        if let Some(chosen) = chosen {
            return Ok(chosen);
        }
    }
}

/// Attaches the disk of this name and serves it. A name that is no good ends the connection.
async fn export(
    core: &Arc<Core>,
    host: &str,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    name: &str,
) -> io::Result<()> {
    let refused = |failure: Failure| {
        tracing::info!(%failure, "no NBD export");
        io::Error::from(io::ErrorKind::PermissionDenied)
    };
    let Some((uuid, session)) = name.trim_start_matches('/').split_once("?session_id=") else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    session::check(core, session).map_err(refused)?;
    let vdi = core.db().read(|view| find_vdi(view, uuid)).map_err(refused)?;
    let (worker, host) = (core.clone(), host.to_owned());
    let source = blocking(move || Source::open(&worker, &host, &vdi, Format::Raw, None, "nbd"));
    let source = source.await.map_err(refused)?;
    let device = Device { disk: source.disk.clone(), len_bytes: source.len_bytes, is_writable: false };
    transmit(stream, &device).await
}

/// What an export shows.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) disk: Disk,
    pub(crate) len_bytes: u64,
    pub(crate) is_writable: bool,
}

/// Serves a disk by its name to a neighbour who needs no session: `find` does file work.
///
/// # Errors
/// When the connection breaks, or there is no disk of that name.
pub(crate) async fn serve_neighbour(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    find: impl FnOnce(&str) -> Result<Device, Failure> + Send + 'static,
) -> io::Result<()> {
    let mut stream = BufStream::new(stream);
    let Chosen::Export(name) = negotiate(&mut stream, Mode::Plain, true).await? else { return Ok(()) };
    let found = blocking(move || find(&name)).await;
    let device = found.map_err(|failure| io::Error::other(format!("no such disk: {failure}")))?;
    transmit(&mut stream, &device).await
}

/// The requests after a negotiation, one after the other, until the client has enough.
async fn transmit(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), device: &Device) -> io::Result<()> {
    stream.write_u64(device.len_bytes).await?;
    let flags = if device.is_writable { nbd::WRITABLE_EXPORT } else { nbd::READ_ONLY_EXPORT };
    stream.write_u16(flags).await?;
    stream.write_all(&[0; nbd::EXPORT_PADDING]).await?;
    stream.flush().await?;
    loop {
        let mut bytes = [0; nbd::REQUEST_LEN];
        stream.read_exact(&mut bytes).await?;
        let request = Request::parse(&bytes).ok_or(io::ErrorKind::InvalidData)?;
        let result = match request.command {
            nbd::COMMAND_DISCONNECT => return Ok(()),
            nbd::COMMAND_READ => read(device, request).await,
            nbd::COMMAND_WRITE if device.is_writable && request.len <= MAX_TRANSFER => {
                let mut data = vec![0; request.len as usize];
                stream.read_exact(&mut data).await?;
                write(device, request, data).await
            }
            nbd::COMMAND_WRITE => {
                let mut data = (&mut *stream).take(request.len.into());
                tokio::io::copy(&mut data, &mut tokio::io::sink()).await?;
                Err(if device.is_writable { EINVAL } else { EPERM })
            }
            nbd::COMMAND_FLUSH if device.is_writable => flush(device).await,
            _ => Err(EINVAL),
        };
        stream.write_u32(nbd::REPLY_MAGIC).await?;
        stream.write_u32(result.as_ref().err().copied().unwrap_or(0)).await?;
        stream.write_u64(request.handle).await?;
        stream.write_all(&result.unwrap_or_default()).await?;
        stream.flush().await?;
    }
}

/// Whether a transfer stays within the disk.
fn fits(device: &Device, request: Request) -> bool {
    let end = request.offset.checked_add(request.len.into());
    request.len <= MAX_TRANSFER && end.is_some_and(|end| end <= device.len_bytes)
}

async fn read(device: &Device, request: Request) -> Result<Vec<u8>, u32> {
    if !fits(device, request) {
        return Err(EINVAL);
    }
    let disk = device.disk.clone();
    on_disk("NBD read", move || {
        let mut data = vec![0; request.len as usize];
        disk.read_at(request.offset, &mut data).map(|()| data)
    })
    .await
}

async fn write(device: &Device, request: Request, data: Vec<u8>) -> Result<Vec<u8>, u32> {
    if !fits(device, request) {
        return Err(EINVAL);
    }
    let disk = device.disk.clone();
    on_disk("NBD write", move || disk.write_at(request.offset, &data).map(|()| Vec::new())).await
}

async fn flush(device: &Device) -> Result<Vec<u8>, u32> {
    let disk = device.disk.clone();
    on_disk("NBD flush", move || disk.sync().map(|()| Vec::new())).await
}

/// Does file work; an error becomes NBD's number, a full repository one of its own.
async fn on_disk(
    what: &'static str,
    work: impl FnOnce() -> Result<Vec<u8>, DiskError> + Send + 'static,
) -> Result<Vec<u8>, u32> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(data)) => Ok(data),
        Ok(Err(DiskError::Full(_))) => Err(ENOSPC),
        Ok(Err(error)) => {
            tracing::info!(%error, "{what} failed");
            Err(EIO)
        }
        Err(error) => {
            tracing::error!(%error, "{what} failed");
            Err(EIO)
        }
    }
}
