//! The framing of `PUT /import_raw_vdi?chunked=true`: extents of a raw disk in any order.
//!
//! ```text
//! repeated: u64 offset | u32 length | length bytes        little-endian, the header is 12 bytes
//! at the end: 12 zero bytes
//! ```
//!
//! It has nothing to do with HTTP's chunked encoding. Offsets and lengths are multiples of 512, since
//! the server writes with `O_DIRECT`; what no chunk covers stays as it was. The end without the
//! terminator is an error on the server.
//!
//! ```
//! use xenapi_types::chunked::{Decoder, Header, TERMINATOR};
//!
//! let mut stream = Header::new(4096, 512)?.to_bytes().to_vec();
//! stream.extend([7; 512]);
//! stream.extend(TERMINATOR);
//!
//! let (mut decoder, mut rest) = (Decoder::new(), &stream[..]);
//! let piece = decoder.next(&mut rest)?.expect("one chunk");
//! assert_eq!((piece.offset, piece.bytes), (4096, &[7; 512][..]));
//! assert_eq!(decoder.next(&mut rest)?, None);
//! decoder.finish()?;
//! # Ok::<(), xenapi_types::chunked::ChunkError>(())
//! ```

/// Bytes of a header.
pub const HEADER_LEN: usize = 12;

/// What ends a stream: the header of a chunk without content.
pub const TERMINATOR: [u8; HEADER_LEN] = [0; HEADER_LEN];

/// The alignment of offsets and lengths, in bytes.
pub const SECTOR: u64 = 512;

/// The longest chunk, in bytes: the server holds lengths in a signed 32-bit integer.
pub const MAX_LEN: u32 = i32::MAX as u32 & !(SECTOR as u32 - 1);

/// The header of a chunk with content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    offset: u64,
    len: u32,
}

/// Why a stream of chunks is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChunkError {
    /// An offset or a length is no multiple of a sector, or the length is zero or too large.
    Header {
        /// The offset in the disk, in bytes.
        offset: u64,
        /// The length, in bytes.
        len: u32,
    },
    /// The stream ended before the terminator.
    Truncated {
        /// How many bytes of the chunk, or of a header, were still to come.
        missing: u64,
    },
    /// There are bytes after the terminator.
    Trailing,
}

impl std::fmt::Display for ChunkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header { offset, len } => write!(
                f,
                "chunk of {len} bytes at offset {offset}: both must be multiples of {SECTOR}, the length from \
                 {SECTOR} to {MAX_LEN}"
            ),
            Self::Truncated { missing } => {
                write!(f, "chunked stream ends early: {missing} more bytes were expected at least")
            }
            Self::Trailing => f.write_str("chunked stream goes on after its terminator"),
        }
    }
}

impl std::error::Error for ChunkError {}

impl Header {
    /// The header of `len` bytes at `offset` of the disk, both multiples of [`SECTOR`].
    ///
    /// # Errors
    /// [`ChunkError::Header`] when they are not, or when `len` is zero or above [`MAX_LEN`].
    pub const fn new(offset: u64, len: u32) -> Result<Self, ChunkError> {
        let aligned = offset.is_multiple_of(SECTOR) && (len as u64).is_multiple_of(SECTOR);
        if !aligned || len == 0 || len > MAX_LEN || offset.checked_add(len as u64).is_none() {
            return Err(ChunkError::Header { offset, len });
        }
        Ok(Self { offset, len })
    }

    /// Where the content goes, in bytes from the start of the disk.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The length of the content in bytes.
    pub const fn content_len(&self) -> u32 {
        self.len
    }

    /// The header on the wire.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = TERMINATOR;
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` for the terminator.
    ///
    /// # Errors
    /// [`ChunkError::Header`] as for [`Header::new`].
    pub fn from_bytes(bytes: &[u8; HEADER_LEN]) -> Result<Option<Self>, ChunkError> {
        if *bytes == TERMINATOR {
            return Ok(None);
        }
        let (offset, len) = bytes.split_at(8);
        let offset = offset.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let len = len.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        Self::new(offset, len).map(Some)
    }
}

/// A part of a chunk's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece<'a> {
    /// Where the bytes go, from the start of the disk.
    pub offset: u64,
    /// The bytes; never empty.
    pub bytes: &'a [u8],
}

/// Takes a stream apart as it comes, without copying its content.
#[derive(Debug, Default)]
pub struct Decoder {
    header: [u8; HEADER_LEN],
    /// How much of `header` has been read.
    filled: usize,
    /// Where the next byte of content goes, and how many are to come.
    offset: u64,
    left: u32,
    ended: bool,
}

impl Decoder {
    /// At the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next piece of content in `input`, which is moved on by what was read. `None` when `input` is
    /// used up: give more, or call [`Decoder::finish`].
    ///
    /// # Errors
    /// [`ChunkError::Header`], and [`ChunkError::Trailing`] when there is input after the terminator.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, ChunkError> {
        while !input.is_empty() {
            if self.ended {
                return Err(ChunkError::Trailing);
            }
            if self.left > 0 {
                let take = input.len().min(self.left as usize);
                let (bytes, rest) = input.split_at(take);
                *input = rest;
                let piece = Piece { offset: self.offset, bytes };
                self.offset += take as u64;
                self.left -= take as u32;
                return Ok(Some(piece));
            }
            let take = input.len().min(HEADER_LEN - self.filled);
            let (bytes, rest) = input.split_at(take);
            *input = rest;
            self.header[self.filled..self.filled + take].copy_from_slice(bytes);
            self.filled += take;
            if self.filled == HEADER_LEN {
                self.filled = 0;
                match Header::from_bytes(&self.header)? {
                    Some(header) => (self.offset, self.left) = (header.offset, header.len),
                    None => self.ended = true,
                }
            }
        }
        Ok(None)
    }

    /// Whether the terminator has been read.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// The stream is over.
    ///
    /// # Errors
    /// [`ChunkError::Truncated`] when the terminator has not come.
    pub fn finish(self) -> Result<(), ChunkError> {
        if self.ended {
            return Ok(());
        }
        let missing = HEADER_LEN - self.filled;
        Err(ChunkError::Truncated { missing: u64::from(self.left) + missing as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(chunks: &[(u64, &[u8])]) -> Vec<u8> {
        let mut all = Vec::new();
        for (offset, bytes) in chunks {
            all.extend(Header::new(*offset, bytes.len() as u32).unwrap().to_bytes());
            all.extend(*bytes);
        }
        all.extend(TERMINATOR);
        all
    }

    #[test]
    fn any_split_of_the_input_gives_the_same_content() {
        let (first, second) = ([1; 1024], [2; 512]);
        let all = stream(&[(1 << 40, &first), (0, &second)]);
        for step in [1, 5, 12, 13, 511, 512, 1024, all.len()] {
            let mut decoder = Decoder::new();
            let mut content = Vec::new();
            for mut input in all.chunks(step) {
                while let Some(piece) = decoder.next(&mut input).unwrap() {
                    let at = (piece.offset..).zip(piece.bytes.iter().copied());
                    content.extend(at);
                }
            }
            assert!(decoder.is_ended());
            decoder.finish().unwrap();
            let expected: Vec<(u64, u8)> = (1 << 40..).zip(first).chain((0..).zip(second)).collect();
            assert_eq!(content, expected, "in steps of {step}");
        }
    }

    #[test]
    fn early_and_late_ends_are_errors() {
        let all = stream(&[(0, &[1; 512])]);
        for cut in 0..all.len() {
            let mut decoder = Decoder::new();
            let mut input = &all[..cut];
            while decoder.next(&mut input).unwrap().is_some() {}
            let error = decoder.finish().unwrap_err();
            assert!(
                matches!(error, ChunkError::Truncated { missing } if missing <= (all.len() - cut) as u64)
            );
        }
        let mut decoder = Decoder::new();
        let longer = [&all[..], &[0]].concat();
        let mut input = &longer[..];
        decoder.next(&mut input).unwrap();
        assert_eq!(decoder.next(&mut input), Err(ChunkError::Trailing));
    }

    #[test]
    fn unaligned_and_empty_chunks_are_refused() {
        for (offset, len) in
            [(1, 512), (512, 1), (512, 0), (0, u32::MAX), (0, 1 << 31), (u64::MAX - 511, 512)]
        {
            assert_eq!(Header::new(offset, len), Err(ChunkError::Header { offset, len }));
        }
        let header = Header::new(1 << 20, MAX_LEN).unwrap();
        assert_eq!(Header::from_bytes(&header.to_bytes()), Ok(Some(header)));
    }
}
