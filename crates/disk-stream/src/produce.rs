//! The bytes of a stream, one piece after the other. Blocking; run by [`DiskBody`] on a thread of
//! its own, or directly into a file.
//!
//! [`DiskBody`]: crate::DiskBody

use bytes::Bytes;
use vhd::BlockSet;
use vhd::format::BLOCK_SIZE;
use vhd::layout::{Layout, Segment};

use crate::error::Error;
use crate::pool::{PIECE, Pool, zeros};
use crate::reader::Reader;

/// A piece of a stream, at most [`PIECE`] long.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    /// How far on the disk the stream is behind this piece.
    pub(crate) virtual_end: u64,
    /// Whether these are bytes of the disk, and allocated.
    pub(crate) data: bool,
}

impl Piece {
    /// Bytes of the disk; what is before them does not count.
    pub(crate) fn data(bytes: Bytes, virtual_end: u64) -> Self {
        Self { bytes, virtual_end, data: true }
    }

    /// Bytes of the format.
    pub(crate) fn meta(bytes: Bytes, virtual_end: u64) -> Self {
        Self { bytes, virtual_end, data: false }
    }
}

/// Something that makes a stream.
pub(crate) trait Produce: Send {
    /// The next piece; `None` at the end. Before the last piece of a disk is given out, the image
    /// was found unchanged.
    fn next(&mut self) -> Result<Option<Piece>, Error>;

    /// Allocated bytes of the disk in the whole stream; 0 when that is not known.
    fn data_len(&self) -> u64 {
        0
    }
}

/// Bytes read between two looks at whether the image is still the same.
const CHECK_EVERY: u64 = 64 << 20;

/// Reads a disk in pieces and watches for changes.
pub(crate) struct Source {
    reader: Reader,
    pool: Pool,
    unchecked: u64,
}

impl Source {
    pub(crate) fn new(reader: Reader) -> Self {
        Self { reader, pool: Pool::default(), unchecked: 0 }
    }

    /// At most a piece.
    pub(crate) fn read(&mut self, at: u64, len: u64) -> Result<Bytes, Error> {
        let mut buffer = self.pool.take();
        let len = usize::try_from(len).unwrap_or(PIECE).min(PIECE);
        self.reader.read(at, buffer.fill(len))?;
        self.unchecked += len as u64;
        if self.unchecked >= CHECK_EVERY {
            self.check()?;
        }
        Ok(buffer.freeze())
    }

    pub(crate) fn check(&mut self) -> Result<(), Error> {
        self.unchecked = 0;
        self.reader.image().check_unchanged()
    }
}

/// The pieces of an image in order, as far as what they are made of can be read.
pub(crate) type Planned = Box<dyn Iterator<Item = Result<Segment, Error>> + Send>;

/// An image that is going to be written, in whatever format.
pub(crate) struct Plan {
    pub(crate) segments: Planned,
    /// Exact length of the image in bytes.
    pub(crate) stream_len: u64,
    /// The disk's size in bytes.
    pub(crate) virtual_size: u64,
    /// Allocated bytes of the disk.
    pub(crate) data_len: u64,
    /// Blocks of a VHD; 0 of another format.
    pub(crate) blocks: u32,
    /// Whether the last segment is a footer, which on a device stands at the device's end.
    pub(crate) footer: bool,
}

impl From<Layout> for Plan {
    fn from(layout: Layout) -> Self {
        // A disk of 2040 GiB has about a million blocks.
        let blocks = u32::try_from(layout.block_count()).unwrap_or(u32::MAX);
        Self {
            stream_len: layout.stream_len(),
            virtual_size: layout.footer().current_size,
            data_len: u64::from(blocks) * u64::from(BLOCK_SIZE),
            blocks,
            footer: true,
            segments: Box::new(layout.into_segments().map(Ok)),
        }
    }
}

impl<F> From<qcow2::Layout<F>> for Plan
where
    F: Fn(u64) -> Option<std::ops::Range<u64>> + Send + 'static,
{
    fn from(layout: qcow2::Layout<F>) -> Self {
        let (stream_len, virtual_size) = (layout.stream_len(), layout.virtual_size());
        let data_len = layout.allocated();
        let segments = layout.into_segments().map(|segment| match segment {
            qcow2::Segment::Meta(bytes) => Ok(Segment::Meta(bytes.into())),
            qcow2::Segment::Payload { virtual_offset, len } => Ok(Segment::Payload { virtual_offset, len }),
        });
        Self { segments: Box::new(segments), stream_len, virtual_size, data_len, blocks: 0, footer: false }
    }
}

/// An image by its plan.
pub(crate) struct PlannedStream {
    source: Source,
    segments: std::iter::Peekable<Planned>,
    data_len: u64,
    payload: std::ops::Range<u64>,
    virtual_end: u64,
}

impl PlannedStream {
    pub(crate) fn new(reader: Reader, plan: Plan) -> Self {
        let Plan { segments, data_len, .. } = plan;
        let segments = segments.peekable();
        Self { source: Source::new(reader), segments, data_len, payload: 0..0, virtual_end: 0 }
    }
}

impl Produce for PlannedStream {
    fn next(&mut self) -> Result<Option<Piece>, Error> {
        if self.payload.is_empty() {
            let bytes = match self.segments.next().transpose()? {
                None => return Ok(None),
                Some(Segment::Payload { virtual_offset, len }) => {
                    self.payload = virtual_offset..virtual_offset + len;
                    return self.next();
                }
                Some(Segment::Meta(bytes)) => bytes,
                Some(Segment::Zeros { len }) => {
                    // A block at most, and blocks are a few pieces: no need to cut it.
                    Bytes::from(vec![0; usize::try_from(len).unwrap_or(PIECE)])
                }
            };
            if self.segments.peek().is_none() {
                // The footer completes the disk: not for one that is no longer what was planned.
                self.source.check()?;
            }
            return Ok(Some(Piece::meta(bytes, self.virtual_end)));
        }
        let bytes = self.source.read(self.payload.start, self.payload.end - self.payload.start)?;
        self.payload.start += bytes.len() as u64;
        self.virtual_end = self.payload.start;
        if self.payload.is_empty() && self.segments.peek().is_none() {
            // Of formats without a footer, the last data complete it.
            self.source.check()?;
        }
        Ok(Some(Piece::data(bytes, self.virtual_end)))
    }

    fn data_len(&self) -> u64 {
        self.data_len
    }
}

/// The disk's bytes, all of them, and what the format has behind them.
pub(crate) struct RawStream {
    source: Source,
    at: u64,
    end: u64,
    tail: Bytes,
}

impl RawStream {
    pub(crate) fn new(reader: Reader, len: u64, tail: Bytes) -> Self {
        Self { source: Source::new(reader), at: 0, end: len, tail }
    }
}

impl Produce for RawStream {
    fn next(&mut self) -> Result<Option<Piece>, Error> {
        let left = self.end - self.at;
        if left == 0 {
            let tail = std::mem::take(&mut self.tail);
            return Ok((!tail.is_empty()).then(|| Piece::meta(tail, self.end)));
        }
        let piece = self.source.reader.piece(self.at)?;
        let (bytes, data) = match piece {
            (None, len) if len.min(left) >= PIECE as u64 => (zeros(left), false),
            _ => (self.source.read(self.at, left)?, true),
        };
        self.at += bytes.len() as u64;
        if self.at == self.end {
            self.source.check()?;
        }
        Ok(Some(Piece { bytes, virtual_end: self.at, data }))
    }
}

/// XAPI's `chunked` framing of the allocated parts: offset (u64) and length (u32), little-endian,
/// then the data; twelve zero bytes end it.
pub(crate) struct ChunkedStream {
    source: Source,
    set: BlockSet,
    at: u64,
    chunk: std::ops::Range<u64>,
    ended: bool,
}

/// Longest chunk: XAPI takes the data in steps of 2 MiB, longer ones save nothing.
const CHUNK: u64 = 2 << 20;
const CHUNK_HEADER: u64 = 12;

impl ChunkedStream {
    /// `set` has pieces of whole sectors.
    pub(crate) fn new(reader: Reader, set: BlockSet) -> Self {
        Self { source: Source::new(reader), set, at: 0, chunk: 0..0, ended: false }
    }

    /// The disk's size in bytes.
    pub(crate) fn virtual_size(&self) -> u64 {
        self.set.virtual_size()
    }

    /// Exact length of the stream in bytes.
    pub(crate) fn stream_len(set: &BlockSet) -> u64 {
        let chunk = |extent: std::ops::Range<u64>| {
            let len = whole_sectors(extent.end) - extent.start;
            len + len.div_ceil(CHUNK) * CHUNK_HEADER
        };
        set.extents().map(chunk).sum::<u64>() + CHUNK_HEADER
    }

    fn header(offset: u64, len: u64) -> Bytes {
        let mut header = Vec::with_capacity(12);
        header.extend_from_slice(&offset.to_le_bytes());
        // At most CHUNK.
        header.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        header.into()
    }
}

/// The last sector of a disk that has no whole number of them is padded.
fn whole_sectors(bytes: u64) -> u64 {
    bytes.next_multiple_of(512)
}

impl Produce for ChunkedStream {
    fn next(&mut self) -> Result<Option<Piece>, Error> {
        if self.ended {
            return Ok(None);
        }
        let data = !self.chunk.is_empty();
        let bytes = if !data {
            match self.set.extent_from(self.at) {
                Some(extent) => {
                    let end = whole_sectors(extent.end).min(extent.start + CHUNK);
                    self.chunk = extent.start..end;
                    self.at = end;
                    Self::header(self.chunk.start, end - self.chunk.start)
                }
                None => {
                    self.source.check()?;
                    self.ended = true;
                    Self::header(0, 0)
                }
            }
        } else {
            let bytes = self.source.read(self.chunk.start, self.chunk.end - self.chunk.start)?;
            self.chunk.start += bytes.len() as u64;
            bytes
        };
        let virtual_end = if self.ended { self.set.virtual_size() } else { self.chunk.start };
        Ok(Some(Piece { bytes, virtual_end, data }))
    }

    fn data_len(&self) -> u64 {
        self.set.extents().map(|extent| whole_sectors(extent.end) - extent.start).sum()
    }
}
