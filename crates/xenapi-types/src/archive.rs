//! XAPI's archives: guests (XVA) and, as `format=tar`, single disks.
//!
//! A tar stream whose members are pieces of 1 MiB of a disk, each followed by its checksum:
//!
//! ```text
//! ova.xml                      of a guest only: the records of everything in it
//! Ref:4/00000000               a disk's first MiB; `vdi/00000000` where there is one disk only
//! Ref:4/00000000.xxhash        XXH64 of it in 16 hexadecimal digits; `.checksum` with SHA-1 in old ones
//! Ref:4/00000003               what is left out is zeros; the first and the last piece are always there
//! Ref:4/00000003.xxhash
//! two empty records            the end
//! ```
//!
//! A piece without content says nothing: hosts send one when they have had nothing to send for a while.
//!
//! ```
//! use xenapi_types::archive::{Header, PieceName, RECORD};
//!
//! let name = PieceName { disk: "vdi", index: 3 };
//! let header = Header { name: name.to_string(), len: 1 << 20 };
//! let bytes: [u8; RECORD] = header.to_bytes(0)?;
//! assert_eq!(Header::parse(&bytes)?, Some(header));
//! assert_eq!(PieceName::parse("vdi/00000003"), Some(name));
//! # Ok::<(), xenapi_types::archive::HeaderError>(())
//! ```

mod decoder;

use std::fmt;

pub use decoder::{ArchiveError, ArchiveErrorKind, Decoder, Item};
use sha1::{Digest, Sha1};
use twox_hash::XxHash64;

/// Bytes of a record: headers have this size, and contents are filled up to a multiple of it.
pub const RECORD: usize = 512;

/// Bytes of a disk in a piece; the last one of a disk may have fewer.
pub const PIECE_LEN: u64 = 1 << 20;

/// What an archive ends with.
pub const END: [u8; 2 * RECORD] = [0; 2 * RECORD];

/// The member that describes a guest; it comes first.
pub const DESCRIPTION: &str = "ova.xml";

/// The header of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The member's path.
    pub name: String,
    /// The length of its content in bytes.
    pub len: u64,
}

/// Why a record is no header, or a member cannot have one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// The sum over the record is not the one in it.
    Checksum,
    /// The length is no octal number.
    Length,
    /// The name is not UTF-8, empty, or longer than 100 bytes.
    Name,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checksum => "no header of a tar archive: its checksum is wrong",
            Self::Length => "header of a tar archive without a length",
            Self::Name => "header of a tar archive whose name is empty, too long or not UTF-8",
        })
    }
}

impl std::error::Error for HeaderError {}

/// Where in a header what is.
const NAME: std::ops::Range<usize> = 0..100;
const LENGTH: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const MAGIC: std::ops::Range<usize> = 257..262;
const PREFIX: std::ops::Range<usize> = 345..500;

impl Header {
    /// Reads a record; `None` for an empty one, as there are at the end.
    ///
    /// # Errors
    /// [`HeaderError`] when it is no header.
    pub fn parse(record: &[u8; RECORD]) -> Result<Option<Self>, HeaderError> {
        if record.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if octal(&record[CHECKSUM]) != Some(sum(record)) {
            return Err(HeaderError::Checksum);
        }
        let len = octal(&record[LENGTH]).ok_or(HeaderError::Length)?;
        let mut name = text(&record[NAME])?.to_owned();
        if &record[MAGIC] == b"ustar" {
            let prefix = text(&record[PREFIX])?;
            if !prefix.is_empty() {
                name = format!("{prefix}/{name}");
            }
        }
        if name.is_empty() { Err(HeaderError::Name) } else { Ok(Some(Self { name, len })) }
    }

    /// Writes it as XAPI does: mode 400, owner 0, no magic; `modified` in seconds since 1970.
    ///
    /// # Errors
    /// [`HeaderError`] when the name is too long, or the content longer than 8 GiB.
    pub fn to_bytes(&self, modified: u32) -> Result<[u8; RECORD], HeaderError> {
        if self.name.is_empty() || self.name.len() > NAME.len() {
            return Err(HeaderError::Name);
        }
        if self.len >= 1 << 33 {
            return Err(HeaderError::Length);
        }
        let mut record = [0; RECORD];
        let mut put = |at: usize, text: &str| record[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, &self.name);
        put(100, "0000400");
        put(108, "0000000");
        put(116, "0000000");
        put(LENGTH.start, &format!("{:011o}", self.len));
        put(136, &format!("{modified:011o}"));
        let checksum = format!("{:07o}\0", sum(&record));
        record[CHECKSUM].copy_from_slice(checksum.as_bytes());
        Ok(record)
    }

    /// How many bytes follow the content to fill its last record.
    pub fn padding(&self) -> usize {
        let last = (self.len % RECORD as u64) as usize;
        (RECORD - last) % RECORD
    }
}

/// The sum of a header's bytes, those of the sum itself counted as blanks.
fn sum(record: &[u8; RECORD]) -> u64 {
    let counted = |(i, byte): (usize, &u8)| if CHECKSUM.contains(&i) { b' ' } else { *byte };
    record.iter().enumerate().map(|byte| u64::from(counted(byte))).sum()
}

/// A number with blanks and zero bytes around.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(field).ok()?.trim_matches(|c| matches!(c, ' ' | '\0'));
    u64::from_str_radix(digits, 8).ok()
}

/// What is before the first zero byte.
fn text(field: &[u8]) -> Result<&str, HeaderError> {
    let len = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    std::str::from_utf8(&field[..len]).map_err(|_| HeaderError::Name)
}

/// The name of a piece of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceName<'a> {
    /// The disk's name in the archive: `Ref:4`, or `vdi`.
    pub disk: &'a str,
    /// The number of the piece: it begins at this many MiB.
    pub index: u64,
}

impl<'a> PieceName<'a> {
    /// Reads a member's name; `None` when it is not that of a piece.
    pub fn parse(name: &'a str) -> Option<Self> {
        let (disk, index) = name.rsplit_once('/')?;
        let is_number = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
        (is_number && !disk.is_empty()).then_some(())?;
        Some(Self { disk, index: index.parse().ok()? })
    }
}

impl fmt::Display for PieceName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:08}", self.disk, self.index)
    }
}

/// How a piece's checksum is written, behind the piece's name and in what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// XXH64 in 16 hexadecimal digits.
    XxHash,
    /// SHA-1 in 40 hexadecimal digits, as older hosts wrote it.
    Sha1,
}

impl Checksum {
    /// Reads the name of the member that follows the piece `piece`; `None` when it is not that of a checksum.
    pub fn parse(name: &str, piece: &str) -> Option<Self> {
        match name.strip_prefix(piece)? {
            ".xxhash" => Some(Self::XxHash),
            ".checksum" => Some(Self::Sha1),
            _ => None,
        }
    }

    /// Whether `written`, the content of such a member, is the checksum of `content`.
    pub fn is_of(self, content: &[u8], written: &[u8]) -> bool {
        written.trim_ascii().eq_ignore_ascii_case(self.of(content).as_bytes())
    }

    /// The checksum of `content`, as it is written.
    pub fn of(self, content: &[u8]) -> String {
        match self {
            Self::XxHash => format!("{:016X}", xxh64(content)),
            Self::Sha1 => Sha1::digest(content).iter().map(|byte| format!("{byte:02X}")).collect(),
        }
    }
}

/// The checksum of a piece: XXH64 with seed 0.
pub fn xxh64(content: &[u8]) -> u64 {
    XxHash64::oneshot(0, content)
}

/// A whole member: header, content, padding.
///
/// # Errors
/// As [`Header::to_bytes`].
pub fn member(name: &str, content: &[u8], modified: u32) -> Result<Vec<u8>, HeaderError> {
    let header = Header { name: name.to_owned(), len: content.len() as u64 };
    let mut out = Vec::with_capacity(content.len() + 2 * RECORD);
    out.extend_from_slice(&header.to_bytes(modified)?);
    out.extend_from_slice(content);
    out.resize(out.len() + header.padding(), 0);
    Ok(out)
}

/// The two members of a piece: its content and its XXH64.
///
/// # Errors
/// As [`Header::to_bytes`].
pub fn piece(name: PieceName<'_>, content: &[u8]) -> Result<Vec<u8>, HeaderError> {
    let mut out = member(&name.to_string(), content, 0)?;
    out.extend(member(&format!("{name}.xxhash"), Checksum::XxHash.of(content).as_bytes(), 0)?);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_are_written() {
        for (name, len) in [("ova.xml", 19_765), ("Ref:4/00000003", PIECE_LEN), ("a", 0)] {
            let header = Header { name: name.to_owned(), len };
            assert_eq!(Header::parse(&header.to_bytes(1_795_215_847).unwrap()), Ok(Some(header)));
        }
        let mut long = Header { name: "n".repeat(101), len: 1 };
        assert_eq!(long.to_bytes(0), Err(HeaderError::Name));
        long.name.truncate(100);
        assert_eq!(Header::parse(&long.to_bytes(0).unwrap()), Ok(Some(long)));
        assert_eq!(Header { name: "n".to_owned(), len: 1 << 33 }.to_bytes(0), Err(HeaderError::Length));
    }

    #[test]
    fn other_programs_headers_are_read() {
        let mut record = Header { name: "00000001".to_owned(), len: 512 }.to_bytes(0).unwrap();
        record[MAGIC].copy_from_slice(b"ustar");
        record[PREFIX.start..PREFIX.start + 5].copy_from_slice(b"Ref:7");
        let checksum = format!("{:06o}\0 ", sum(&record));
        record[CHECKSUM].copy_from_slice(checksum.as_bytes());
        assert_eq!(Header::parse(&record).unwrap().unwrap().name, "Ref:7/00000001");
    }

    #[test]
    fn junk_is_no_header() {
        assert_eq!(Header::parse(&[0; RECORD]), Ok(None));
        assert_eq!(Header::parse(&[b'j'; RECORD]), Err(HeaderError::Checksum));
        let mut record = Header { name: "x".to_owned(), len: 8 }.to_bytes(0).unwrap();
        record[LENGTH.start] = b'9';
        assert_eq!(Header::parse(&record), Err(HeaderError::Checksum));
        record[LENGTH.start + 1] -= 9 - 8;
        let checksum = format!("{:07o}\0", sum(&record));
        record[CHECKSUM].copy_from_slice(checksum.as_bytes());
        assert_eq!(Header::parse(&record), Err(HeaderError::Length));
    }

    #[test]
    fn known_checksums() {
        // The first two from the reference implementation, the last as XAPI wrote it for a MiB of zeros.
        assert_eq!(xxh64(b""), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"abc"), 0x44bc_2cf5_ad77_0999);
        assert_eq!(xxh64(&vec![0; 1 << 20]), 0x87d2_a1b6_e116_3ef1);
        assert!(Checksum::XxHash.is_of(b"abc", b"44BC2CF5AD770999"));
        assert!(Checksum::Sha1.is_of(b"abc", b"a9993e364706816aba3e25717850c26c9cd0d89d\n"));
        assert!(!Checksum::Sha1.is_of(b"abd", b"a9993e364706816aba3e25717850c26c9cd0d89d"));
    }

    #[test]
    fn names_of_pieces() {
        for (name, piece) in [
            ("Ref:4/00000003", Some(("Ref:4", 3))),
            ("vdi/100000000", Some(("vdi", 100_000_000))),
            ("vdi/00000003.xxhash", None),
            ("vdi/", None),
            ("/00000001", None),
            ("ova.xml", None),
            ("vdi/99999999999999999999", None),
        ] {
            assert_eq!(PieceName::parse(name).map(|p| (p.disk, p.index)), piece, "{name}");
        }
        assert_eq!(Checksum::parse("v/0.xxhash", "v/0"), Some(Checksum::XxHash));
        assert_eq!(Checksum::parse("v/0.checksum", "v/0"), Some(Checksum::Sha1));
        assert_eq!(Checksum::parse("v/1.xxhash", "v/0"), None);
    }
}
