//! What is said on a connection, whatever carries it: the negotiation, and reads of which several are under way.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use xenapi_types::nbd::{self, Request};

use crate::error::{Error, ErrorKind, Result};

/// How many reads are under way when a whole disk is read.
const DEPTH: usize = 4;
/// The longest text that a server may put into a reply to an option.
const MAX_REPLY: u32 = 64 << 10;

/// Makes sure that the server speaks the fixed dialect.
///
/// # Errors
/// `Protocol` when it does not; `Unreachable` when the connection breaks.
pub(crate) async fn greet(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<()> {
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

/// Chooses an export, which ends the negotiation, and gives its size in bytes.
///
/// # Errors
/// `Failure` when the server refuses it, `Unreachable` when the connection breaks.
pub(crate) async fn export(io: &mut (impl AsyncRead + AsyncWrite + Unpin), name: &[u8]) -> Result<u64> {
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
    Ok(size)
}

/// The kind of a reply to an option.
///
/// # Errors
/// `Protocol` when it is none, `Unreachable` when the connection breaks.
pub(crate) async fn reply(io: &mut (impl AsyncRead + Unpin), option: u32) -> Result<u32> {
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

pub(crate) fn broken(error: io::Error) -> Error {
    Error::new(ErrorKind::Unreachable, format!("the NBD connection broke ({error})")).because(error)
}

/// A connection on which an export was chosen.
pub(crate) struct Wire<T> {
    io: T,
    size: u64,
    next_handle: u64,
    /// Offset and length of what has been asked for, by handle.
    in_flight: HashMap<u64, (u64, u32)>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    pub(crate) fn new(io: T, size: u64) -> Self {
        Self { io, size, next_handle: 0, in_flight: HashMap::new() }
    }

    /// The size of the disk in bytes, as the server says.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Asks for a part of the disk.
    ///
    /// # Errors
    /// `Transfer` when the connection breaks.
    pub(crate) async fn ask(&mut self, offset: u64, len: u32) -> Result<()> {
        let handle = self.next_handle;
        self.next_handle += 1;
        self.in_flight.insert(handle, (offset, len));
        let request = Request { command: nbd::COMMAND_READ, handle, offset, len };
        let sending = async {
            self.io.write_all(&request.to_bytes()).await?;
            self.io.flush().await
        };
        sending.await.map_err(|error| broken(error).into_kind(ErrorKind::Transfer))
    }

    /// The next answer, whichever it is: offset and data.
    ///
    /// # Errors
    /// `Transfer` when it is none, tells of a failure, or does not come within `stall`.
    pub(crate) async fn take(&mut self, stall: Option<Duration>) -> Result<(u64, Vec<u8>)> {
        let taken = match stall {
            Some(stall) => tokio::time::timeout(stall, self.answer()).await.unwrap_or_else(|_| {
                let message = format!("nothing moved for {} s", stall.as_secs_f32());
                Err(Error::new(ErrorKind::Transfer, message))
            }),
            None => self.answer().await,
        };
        taken.map_err(|error| error.into_kind(ErrorKind::Transfer))
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

    /// Writes the whole disk into `out`, asked for in pieces of `piece` bytes; `progress` is called with the number of
    /// bytes that are written. No more than four pieces are kept, in whatever order they come.
    ///
    /// # Errors
    /// As [`Wire::take`]; `Transfer` also when `out` fails.
    pub(crate) async fn copy_to<W: AsyncWrite + Unpin>(
        &mut self,
        out: &mut W,
        piece: u32,
        stall: Option<Duration>,
        progress: &mut impl FnMut(u64),
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
                let len = u64::from(piece).min(self.size - asked);
                self.ask(asked, len as u32).await?;
                asked += len;
            }
            let (offset, data) = self.take(stall).await?;
            early.insert(offset, data);
            while let Some(data) = early.remove(&written) {
                out.write_all(&data).await.map_err(unwritable)?;
                written += data.len() as u64;
                progress(written);
            }
        }
        out.flush().await.map_err(unwritable)
    }

    /// Takes leave of the server, which need not hear it.
    pub(crate) async fn leave(&mut self) {
        let leave = Request { command: nbd::COMMAND_DISCONNECT, handle: self.next_handle, offset: 0, len: 0 };
        // All has ended whether the server hears it or not.
        let _ = self.io.write_all(&leave.to_bytes()).await;
        let _ = self.io.shutdown().await;
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
            let mut io = ours;
            let read = reply(&mut io, 7).await;
            match fits {
                true => assert_eq!(read.unwrap(), 1),
                false => assert_eq!(read.unwrap_err().kind(), ErrorKind::Protocol),
            }
        }
    }
}
