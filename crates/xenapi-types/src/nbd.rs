//! The part of NBD that hosts speak on port 10809: fixed newstyle negotiation with TLS, then plain reads.
//!
//! All numbers are big-endian. The whole protocol is in NetworkBlockDevice/nbd's `doc/proto.md`.

/// What a server says first, twice eight bytes.
pub const GREETING: [u8; 16] = *b"NBDMAGICIHAVEOPT";
/// What every option begins with.
pub const OPTION_MAGIC: [u8; 8] = *b"IHAVEOPT";
/// What every reply to an option begins with.
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// What every request begins with.
pub const REQUEST_MAGIC: u32 = 0x2560_9513;
/// What every reply to a request begins with.
pub const REPLY_MAGIC: u32 = 0x6744_6698;

/// The flag by which both sides agree on the fixed negotiation.
pub const FIXED_NEWSTYLE: u16 = 1;
/// Zero bytes behind the answer to [`OPTION_EXPORT_NAME`].
pub const EXPORT_PADDING: usize = 124;

/// Chooses an export and ends the negotiation: the answer is size, flags, padding, or the end of the connection.
pub const OPTION_EXPORT_NAME: u32 = 1;
/// Ends the negotiation for good.
pub const OPTION_ABORT: u32 = 2;
/// Begins TLS, after which the negotiation goes on.
pub const OPTION_STARTTLS: u32 = 5;

/// It is so.
pub const REPLY_ACK: u32 = 1;
/// The server knows no such option.
pub const REPLY_UNSUPPORTED: u32 = 1 << 31 | 1;
/// Not before TLS.
pub const REPLY_TLS_REQUIRED: u32 = 1 << 31 | 5;

/// The flags of an export: these are flags, and it is only to be read.
pub const READ_ONLY_EXPORT: u16 = 0b11;
/// The flags of an export: these are flags, it can be written, and told to make what was written last.
pub const WRITABLE_EXPORT: u16 = 0b101;

/// Reads.
pub const COMMAND_READ: u16 = 0;
/// Writes: its data follow the request.
pub const COMMAND_WRITE: u16 = 1;
/// Ends the connection, without an answer.
pub const COMMAND_DISCONNECT: u16 = 2;
/// Waits until everything that was written will last.
pub const COMMAND_FLUSH: u16 = 3;

/// Bytes of a request.
pub const REQUEST_LEN: usize = 28;

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub command: u16,
    /// By which the reply is known.
    pub handle: u64,
    /// The first byte.
    pub offset: u64,
    /// How many bytes.
    pub len: u32,
}

impl Request {
    /// As it is sent.
    pub fn to_bytes(self) -> [u8; REQUEST_LEN] {
        let mut bytes = [0; REQUEST_LEN];
        bytes[..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
        bytes[6..8].copy_from_slice(&self.command.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.handle.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_be_bytes());
        bytes[24..].copy_from_slice(&self.len.to_be_bytes());
        bytes
    }

    /// Reads one; `None` when it does not begin like one.
    pub fn parse(bytes: &[u8; REQUEST_LEN]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (_flags, rest) = rest.split_first_chunk::<2>()?;
        let (command, rest) = rest.split_first_chunk()?;
        let (handle, rest) = rest.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        (u32::from_be_bytes(*magic) == REQUEST_MAGIC).then_some(())?;
        Some(Self {
            command: u16::from_be_bytes(*command),
            handle: u64::from_be_bytes(*handle),
            offset: u64::from_be_bytes(*offset),
            len: u32::from_be_bytes(*rest.first_chunk()?),
        })
    }
}

/// An option as it is sent.
pub fn option(number: u32, data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    [&OPTION_MAGIC[..], &number.to_be_bytes(), &len.to_be_bytes(), data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_are_written() {
        let request = Request { command: COMMAND_READ, handle: 7, offset: 1 << 40, len: 2 << 20 };
        let mut bytes = request.to_bytes();
        assert_eq!(Request::parse(&bytes), Some(request));
        assert_eq!(bytes[..8], [0x25, 0x60, 0x95, 0x13, 0, 0, 0, 0]);
        bytes[0] = 0;
        assert_eq!(Request::parse(&bytes), None);
    }
}
