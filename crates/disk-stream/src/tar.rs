//! Disks as archives, the way XAPI exports and imports them with `format=tar`.
//!
//! A disk is cut into chunks of 1 MiB. Each that is not zero is a member `PREFIX/00000000` with its
//! number, followed by one with its checksum: `.xxhash` (XXH64, 16 digits) of today's XAPI, `.checksum`
//! (SHA-1) of older ones and of `vhd-tool`. The first and the last chunk are always there; the last one may
//! be short, and so tells the size of the disk. An empty member keeps the connection alive, and says nothing.

use std::ops::Range;

use bytes::Bytes;
use sha1::{Digest, Sha1};
use twox_hash::XxHash64;
use vhd::BlockSet;

use crate::error::Error;
use crate::pool::PIECE;
use crate::produce::{Piece, Produce, Source};
use crate::reader::Reader;

const RECORD: usize = 512;
/// Two empty records end an archive.
const END: usize = 2 * RECORD;
/// Bytes of a chunk that is written. Of one that is read, the first member tells.
pub(crate) const CHUNK: u32 = PIECE as u32;
/// Chunks that are read are not larger.
const LARGEST_CHUNK: u64 = 64 << 20;
/// Members of XAPI are numbered with eight digits.
const CHUNKS: u64 = 100_000_000;

/// Which checksums an archive has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TarChecksum {
    /// XXH64, as XAPI writes it now.
    #[default]
    Xxhash,
    /// SHA-1, which old hosts want.
    Sha1,
}

impl TarChecksum {
    fn suffix(self) -> &'static str {
        match self {
            Self::Xxhash => ".xxhash",
            Self::Sha1 => ".checksum",
        }
    }

    fn digits(self) -> usize {
        match self {
            Self::Xxhash => 16,
            Self::Sha1 => 40,
        }
    }

    fn of(self, chunk: &[u8]) -> String {
        let mut sum = Sum::new();
        sum.add(chunk);
        sum.text(self)
    }
}

/// Both checksums of a chunk that comes in parts: which one is wanted is told behind it.
struct Sum {
    xxhash: XxHash64,
    sha1: Sha1,
}

impl std::fmt::Debug for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sum")
    }
}

impl Sum {
    fn new() -> Self {
        Self { xxhash: XxHash64::with_seed(0), sha1: Sha1::new() }
    }

    fn add(&mut self, bytes: &[u8]) {
        std::hash::Hasher::write(&mut self.xxhash, bytes);
        self.sha1.update(bytes);
    }

    fn text(&self, which: TarChecksum) -> String {
        match which {
            TarChecksum::Xxhash => format!("{:016X}", std::hash::Hasher::finish(&self.xxhash)),
            TarChecksum::Sha1 => {
                self.sha1.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
            }
        }
    }
}

/// What is wrong with an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// A header that is none.
    #[error("no header of a member stands at byte {at}")]
    Header {
        /// Byte of the stream.
        at: u64,
    },
    /// A member that is no part of a disk.
    #[error("the member {name:?} at byte {at} is no chunk of the disk: {why}")]
    Member {
        /// Byte of the stream.
        at: u64,
        /// Its name.
        name: String,
        /// Why it cannot be here.
        why: &'static str,
    },
    /// A chunk whose checksum is not that of its data.
    #[error("the checksum of the chunk {name:?} is {found}, it should be {expected}")]
    Checksum {
        /// The chunk.
        name: String,
        /// Checksum of what came.
        found: String,
        /// Checksum in the archive.
        expected: String,
    },
    /// The end came too early.
    #[error("the archive breaks off at byte {at}")]
    Truncated {
        /// Byte of the stream.
        at: u64,
    },
}

/// Whether an archive of a disk, as XAPI exports it with `format=tar`, begins so: 512 bytes tell.
pub fn is_archive(first: &[u8]) -> bool {
    let member = first.get(..RECORD).and_then(Member::parse);
    member.is_some_and(|member| member.chunk().is_some_and(|(_, number)| number == 0))
}

/// Reads an archive forward only.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    position: u64,
    state: State,
    /// Everything before the number of a chunk.
    prefix: Option<String>,
    chunk_size: u64,
    /// The chunk that was last, by number and length.
    last: Option<(u64, u64)>,
}

#[derive(Debug)]
enum State {
    Header(Vec<u8>),
    /// Data of a chunk: bytes of the disk, and padding behind it.
    Chunk {
        name: String,
        left: Range<u64>,
        padding: u64,
        sum: Box<Sum>,
    },
    /// The header of the checksum of the last chunk.
    SumHeader {
        name: String,
        sum: Box<Sum>,
        header: Vec<u8>,
    },
    Sum {
        name: String,
        which: TarChecksum,
        expected: String,
        text: Vec<u8>,
    },
    /// Zeros, so many bytes of them so far.
    Ended(usize),
}

impl Default for State {
    fn default() -> Self {
        Self::Header(Vec::new())
    }
}

impl Decoder {
    /// The next data, as where they are on the disk and what they are; `None` when all of `input` is taken.
    pub(crate) fn feed<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<(u64, &'a [u8])>, TarError> {
        while !input.is_empty() {
            match std::mem::take(&mut self.state) {
                State::Header(mut header) => {
                    self.state = if self.collect(&mut header, RECORD, input) {
                        self.chunk(&header)?
                    } else {
                        State::Header(header)
                    };
                }
                State::Chunk { name, mut left, padding, mut sum } if !left.is_empty() => {
                    let len = take(left.end - left.start, input);
                    let (bytes, rest) = input.split_at(len);
                    *input = rest;
                    self.position += len as u64;
                    sum.add(bytes);
                    let at = left.start;
                    left.start += len as u64;
                    self.state = State::Chunk { name, left, padding, sum };
                    return Ok(Some((at, bytes)));
                }
                State::Chunk { name, left, padding, sum } => {
                    let len = take(padding, input);
                    *input = &input[len..];
                    self.position += len as u64;
                    let padding = padding - len as u64;
                    self.state = if padding > 0 {
                        State::Chunk { name, left, padding, sum }
                    } else {
                        State::SumHeader { name, sum, header: Vec::new() }
                    };
                }
                State::SumHeader { name, sum, mut header } => {
                    self.state = if self.collect(&mut header, RECORD, input) {
                        self.checksum(&header, &name, &sum)?
                    } else {
                        State::SumHeader { name, sum, header }
                    };
                }
                State::Sum { name, which, expected: found, mut text } => {
                    if !self.collect(&mut text, RECORD, input) {
                        self.state = State::Sum { name, which, expected: found, text };
                        continue;
                    }
                    let expected = String::from_utf8_lossy(&text[..which.digits()]).into_owned();
                    if !expected.eq_ignore_ascii_case(&found) {
                        return Err(TarError::Checksum { name, found, expected });
                    }
                    self.state = State::default();
                }
                State::Ended(zeros) => {
                    // Whoever writes archives in blocks of 10 KiB adds more of them. Anything else is a disk that goes
                    // on behind a header that was lost, or another archive.
                    if let Some(behind) = input.iter().position(|byte| *byte != 0) {
                        return Err(TarError::Header { at: self.position + behind as u64 });
                    }
                    self.position += input.len() as u64;
                    self.state = State::Ended(zeros.saturating_add(input.len()));
                    *input = &[];
                }
            }
        }
        Ok(None)
    }

    /// The size of the disk, when the archive is complete.
    pub(crate) fn finish(self) -> Result<u64, TarError> {
        match (self.state, self.last) {
            (State::Ended(END..), Some((number, len))) => Ok(number * self.chunk_size + len),
            _ => Err(TarError::Truncated { at: self.position }),
        }
    }

    /// Bytes taken so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    fn collect(&mut self, buffer: &mut Vec<u8>, len: usize, input: &mut &[u8]) -> bool {
        let part = take((len - buffer.len()) as u64, input);
        buffer.extend_from_slice(&input[..part]);
        *input = &input[part..];
        self.position += part as u64;
        buffer.len() == len
    }

    fn chunk(&mut self, header: &[u8]) -> Result<State, TarError> {
        let at = self.position - RECORD as u64;
        if vhd::zero::is_zero(header) {
            return Ok(State::Ended(RECORD));
        }
        let member = Member::parse(header).ok_or(TarError::Header { at })?;
        let wrong = |why| TarError::Member { at, name: member.name.clone(), why };
        let (prefix, number) = member.chunk().ok_or_else(|| wrong("its name is not PREFIX/NUMBER"))?;
        match &self.prefix {
            None => {
                self.prefix = Some(prefix.to_owned());
                self.chunk_size = member.len;
                if number != 0 || member.len == 0 || member.len > LARGEST_CHUNK {
                    return Err(wrong("the first one has the number 0, and 1 byte to 64 MiB"));
                }
            }
            Some(first) if first != prefix => return Err(wrong("it belongs to another disk")),
            Some(_) => {}
        }
        // An empty one says nothing, not even of its number.
        if member.len > 0 {
            if self.last.is_some_and(|(last, _)| number <= last) {
                return Err(wrong("its number is not above the last one"));
            }
            if self.last.is_some_and(|(_, len)| len < self.chunk_size) {
                return Err(wrong("it follows a short one, which is the last"));
            }
            if member.len > self.chunk_size {
                return Err(wrong("it is longer than the first"));
            }
            self.last = Some((number, member.len));
        }
        let start = number * self.chunk_size;
        Ok(State::Chunk {
            left: start..start + member.len,
            padding: padding(member.len),
            name: member.name,
            sum: Box::new(Sum::new()),
        })
    }

    fn checksum(&self, header: &[u8], name: &str, sum: &Sum) -> Result<State, TarError> {
        let at = self.position - RECORD as u64;
        let member = Member::parse(header).ok_or(TarError::Header { at })?;
        let wrong = |why| TarError::Member { at, name: member.name.clone(), why };
        let kinds = [TarChecksum::Xxhash, TarChecksum::Sha1];
        let named = |kind: &TarChecksum| member.name.strip_suffix(kind.suffix()) == Some(name);
        let which = kinds.into_iter().find(named).ok_or_else(|| wrong("a checksum must follow a chunk"))?;
        if member.len != which.digits() as u64 {
            return Err(wrong("its length is not that of a checksum"));
        }
        Ok(State::Sum { name: name.to_owned(), which, expected: sum.text(which), text: Vec::new() })
    }
}

fn take(most: u64, input: &[u8]) -> usize {
    usize::try_from(most).unwrap_or(usize::MAX).min(input.len())
}

fn padding(len: u64) -> u64 {
    len.next_multiple_of(RECORD as u64) - len
}

/// What a header says.
struct Member {
    name: String,
    len: u64,
}

impl Member {
    fn parse(header: &[u8]) -> Option<Self> {
        let text = |field: Range<usize>| {
            let bytes = header[field].split(|byte| *byte == 0).next()?;
            std::str::from_utf8(bytes).ok()
        };
        let octal = |field| u64::from_str_radix(text(field)?.trim_matches(' '), 8).ok();
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        let own: u64 = header[148..156].iter().map(|byte| u64::from(*byte)).sum();
        // Its own field counts as blanks.
        (octal(148..156)? == sum - own + 8 * u64::from(b' ')).then_some(())?;
        matches!(header[156], 0 | b'0').then_some(())?;
        Some(Self { name: text(0..100)?.to_owned(), len: octal(124..136)? })
    }

    /// What is before the number of a chunk, and the number.
    fn chunk(&self) -> Option<(&str, u64)> {
        let (prefix, number) = self.name.rsplit_once('/')?;
        let digits = number.len() == 8 && number.bytes().all(|byte| byte.is_ascii_digit());
        Some((prefix, number.parse().ok().filter(|_| digits)?))
    }
}

/// Header as XAPI writes it: mode 400, everything else zero, no magic.
fn header(out: &mut Vec<u8>, name: &str, len: u64) {
    let mut header = [0; RECORD];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000400");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{len:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
    out.extend_from_slice(&header);
}

/// A disk as an archive.
pub(crate) struct TarStream {
    source: Source,
    set: BlockSet,
    checksum: TarChecksum,
    at: u64,
    /// What follows the chunk that was given out last.
    behind: Option<(Bytes, u64)>,
    /// The chunk whose header was given out last.
    chunk: Option<Range<u64>>,
    ended: bool,
}

impl TarStream {
    /// `set` has pieces of [`CHUNK`] bytes. `None` for more chunks than there are numbers.
    pub(crate) fn new(reader: Reader, mut set: BlockSet, checksum: TarChecksum) -> Option<Self> {
        let chunks = set.capacity();
        if chunks > CHUNKS {
            return None;
        }
        set.insert(0);
        set.insert(chunks - 1);
        Some(Self {
            source: Source::new(reader),
            set,
            checksum,
            at: 0,
            behind: None,
            chunk: None,
            ended: false,
        })
    }

    /// Exact length of the stream in bytes.
    pub(crate) fn stream_len(&self) -> u64 {
        let record = RECORD as u64;
        let data: u64 = self
            .set
            .iter()
            .map(|chunk| {
                let bytes = self.set.block_bytes(chunk);
                (bytes.end - bytes.start).next_multiple_of(record) + 3 * record
            })
            .sum();
        data + END as u64
    }

    fn name(&self, chunk: u64) -> String {
        format!("vdi/{:08}", chunk / u64::from(CHUNK))
    }
}

impl Produce for TarStream {
    fn next(&mut self) -> Result<Option<Piece>, Error> {
        if let Some((bytes, virtual_end)) = self.behind.take() {
            return Ok(Some(Piece::meta(bytes, virtual_end)));
        }
        if let Some(chunk) = self.chunk.take() {
            let len = chunk.end - chunk.start;
            let bytes = self.source.read(chunk.start, len)?;
            let mut behind = vec![0; usize::try_from(padding(len)).unwrap_or(RECORD)];
            let sum = self.checksum.of(&bytes);
            let name = self.name(chunk.start) + self.checksum.suffix();
            header(&mut behind, &name, sum.len() as u64);
            behind.extend_from_slice(sum.as_bytes());
            behind.resize(behind.len() + usize::try_from(padding(sum.len() as u64)).unwrap_or(RECORD), 0);
            self.behind = Some((behind.into(), chunk.end));
            return Ok(Some(Piece::data(bytes, chunk.end)));
        }
        if self.ended {
            return Ok(None);
        }
        let Some(extent) = self.set.extent_from(self.at) else {
            self.source.check()?;
            self.ended = true;
            return Ok(Some(Piece::meta(Bytes::from_static(&[0; END]), self.set.virtual_size())));
        };
        let chunk = self.set.block_bytes(extent.start / u64::from(CHUNK));
        self.at = chunk.end;
        let mut head = Vec::with_capacity(RECORD);
        header(&mut head, &self.name(chunk.start), chunk.end - chunk.start);
        let virtual_end = chunk.start;
        self.chunk = Some(chunk);
        Ok(Some(Piece::meta(head.into(), virtual_end)))
    }

    fn data_len(&self) -> u64 {
        self.set.extents().map(|extent| extent.end - extent.start).sum()
    }
}
