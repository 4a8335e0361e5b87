//! Planning a VHD: which bytes stand where, known before the first one is read.
//!
//! ```text
//! dynamic:  footer | header | (reserved) | table | { bitmap | 2 MiB } ... | footer
//! fixed:    the disk's bytes                                             | footer
//! ```
//!
//! The dynamic layout is the one that every reader accepts: blocks ascend with the disk, follow
//! each other without gaps, and have all bits set (QEMU and Xen Orchestra never look at bitmaps,
//! XAPI writes each run of set bits by itself). Data the disk lacks inside a block are zeros.

use bytes::Bytes;
use uuid::Uuid;

use crate::blocks::BlockSet;
use crate::error::Error;
use crate::format::{
    BLOCK_SIZE, Creator, DiskType, DynamicHeader, FOOTER_LEN, Footer, Geometry, HEADER_LEN, MAX_VIRTUAL_SIZE,
    SECTOR, Timestamp, UNALLOCATED,
};

/// What a new VHD says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// The disk's size in bytes, at most 2040 GiB. For a XenServer VDI it must be a whole number
    /// of blocks: see [`round_up_to_block`](crate::format::round_up_to_block). Otherwise any size
    /// is kept exactly.
    pub virtual_size: u64,
    /// The disk's identity; `vhd-util check` refuses null.
    pub uuid: Uuid,
    /// When it was made; `vhd-util check` refuses the future.
    pub timestamp: Timestamp,
    /// Whose layout it is.
    pub dialect: Dialect,
}

/// Small differences between writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// This library's.
    #[default]
    XenapiRs,
    /// The layout of XAPI's exporter, byte for byte: creator `caml`, a reserved sector between
    /// header and table. XAPI also writes a timestamp of 0.
    Xapi,
}

impl Dialect {
    fn creator(self) -> Creator {
        match self {
            Self::XenapiRs => Creator::XENAPI_RS,
            Self::Xapi => Creator::XAPI,
        }
    }

    fn geometry(self, size: u64) -> Geometry {
        match self {
            Self::XenapiRs => Geometry::for_size(size),
            Self::Xapi => Geometry::for_size_as_vhd_tool(size),
        }
    }

    /// Bytes between header and table.
    fn reserved(self) -> u64 {
        match self {
            Self::XenapiRs => 0,
            Self::Xapi => SECTOR,
        }
    }
}

/// The plan of a VHD.
#[derive(Debug, Clone)]
pub struct Layout {
    footer: Footer,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    Fixed,
    Dynamic { header: DynamicHeader, blocks: BlockSet },
}

/// A piece of the stream, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// These bytes.
    Meta(Bytes),
    /// Bytes of the disk, to be read by the caller.
    Payload {
        /// Where on the disk, in bytes.
        virtual_offset: u64,
        /// How many bytes.
        len: u64,
    },
    /// Zeros: the rest of the last block behind the end of the disk.
    Zeros {
        /// How many bytes.
        len: u64,
    },
}

impl Segment {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Meta(bytes) => bytes.len() as u64,
            Self::Payload { len, .. } | Self::Zeros { len } => *len,
        }
    }

    /// Whether there are no bytes; the segments of a layout always have some.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Layout {
    /// Plans a dynamic VHD with the 2 MiB blocks in `blocks`.
    ///
    /// # Errors
    /// [`Error::EmptyDisk`] and [`Error::TooLarge`] for the size; [`Error::BlockSize`] when
    /// `blocks` has another block size; [`Error::ExtentBeyondDisk`] when it describes a larger
    /// disk. A smaller one is fine: the rest is zero.
    pub fn dynamic(parameters: &Parameters, blocks: BlockSet) -> Result<Self, Error> {
        let footer = footer(parameters, DiskType::Dynamic)?;
        let size = parameters.virtual_size;
        if blocks.block_size() != BLOCK_SIZE {
            return Err(Error::BlockSize { found: blocks.block_size() });
        }
        if let Some(beyond) = blocks.extents().last().filter(|last| last.end > size) {
            return Err(Error::ExtentBeyondDisk { start: beyond.start, end: beyond.end, virtual_size: size });
        }
        let table_offset = (FOOTER_LEN + HEADER_LEN) as u64 + parameters.dialect.reserved();
        let entries = size.div_ceil(u64::from(BLOCK_SIZE));
        let entries = u32::try_from(entries).expect("2040 GiB have about a million blocks");
        let header = DynamicHeader::new(table_offset, entries);
        Ok(Self { footer, body: Body::Dynamic { header, blocks } })
    }

    /// Plans a dynamic VHD for the allocated `extents` (bytes of the disk, any order).
    ///
    /// # Errors
    /// As [`Layout::dynamic`].
    pub fn dynamic_from_extents(
        parameters: &Parameters,
        extents: impl IntoIterator<Item = std::ops::Range<u64>>,
    ) -> Result<Self, Error> {
        let size = parameters.virtual_size;
        // Checked before a set of that size is made.
        footer(parameters, DiskType::Dynamic)?;
        let mut blocks = BlockSet::new(size, BLOCK_SIZE);
        for extent in extents {
            if extent.end > size {
                return Err(Error::ExtentBeyondDisk {
                    start: extent.start,
                    end: extent.end,
                    virtual_size: size,
                });
            }
            blocks.insert_bytes(extent);
        }
        Self::dynamic(parameters, blocks)
    }

    /// Plans a fixed VHD.
    ///
    /// # Errors
    /// [`Error::EmptyDisk`] and [`Error::TooLarge`].
    pub fn fixed(parameters: &Parameters) -> Result<Self, Error> {
        Ok(Self { footer: footer(parameters, DiskType::Fixed)?, body: Body::Fixed })
    }

    /// The footer.
    pub fn footer(&self) -> &Footer {
        &self.footer
    }

    /// The header, unless the disk is fixed.
    pub fn header(&self) -> Option<&DynamicHeader> {
        match &self.body {
            Body::Fixed => None,
            Body::Dynamic { header, .. } => Some(header),
        }
    }

    /// Number of blocks in the file; 0 for a fixed disk.
    pub fn block_count(&self) -> u64 {
        match &self.body {
            Body::Fixed => 0,
            Body::Dynamic { blocks, .. } => blocks.len(),
        }
    }

    /// Exact length of the whole VHD in bytes.
    pub fn stream_len(&self) -> u64 {
        FOOTER_LEN as u64
            + match &self.body {
                Body::Fixed => self.footer.current_size,
                Body::Dynamic { header, blocks } => first_block(header) + blocks.len() * BLOCK_LEN,
            }
    }

    /// The pieces of the VHD in order; their lengths add up to [`Layout::stream_len`].
    pub fn into_segments(self) -> Segments {
        Segments { footer: Bytes::copy_from_slice(&self.footer.to_bytes()), layout: self, next: Next::Front }
    }
}

fn footer(parameters: &Parameters, disk_type: DiskType) -> Result<Footer, Error> {
    let Parameters { virtual_size, uuid, timestamp, dialect } = *parameters;
    if virtual_size == 0 {
        return Err(Error::EmptyDisk);
    }
    if virtual_size > MAX_VIRTUAL_SIZE {
        return Err(Error::TooLarge { virtual_size, limit: MAX_VIRTUAL_SIZE });
    }
    let mut footer = Footer::new(disk_type, virtual_size, uuid, timestamp, dialect.creator());
    footer.geometry = dialect.geometry(virtual_size);
    Ok(footer)
}

/// Where the first block starts.
fn first_block(header: &DynamicHeader) -> u64 {
    header.table_offset + header.table_len()
}

/// A block with its bitmap.
const BLOCK_LEN: u64 = BLOCK_SIZE as u64 + 512;

/// The table is made in pieces of this many entries.
const TABLE_PIECE: u32 = 16 << 10;

static FULL_BITMAP: [u8; 512] = [0xff; 512];

/// The pieces of a VHD in order; see [`Layout::into_segments`]. Holds one bit a block and makes
/// the table as it goes.
#[derive(Debug, Clone)]
pub struct Segments {
    layout: Layout,
    footer: Bytes,
    next: Next,
}

#[derive(Debug, Clone, Copy)]
enum Next {
    Front,
    /// From this entry on; this many blocks were placed by then.
    Table {
        entry: u32,
        placed: u64,
    },
    /// The bitmap of the first block from this one on.
    Bitmap(u64),
    Data(u64),
    Padding(u64),
    Footer,
    Done,
}

impl Iterator for Segments {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        let size = self.layout.footer.current_size;
        let Body::Dynamic { header, blocks } = &self.layout.body else {
            return match self.next {
                Next::Front => {
                    self.next = Next::Footer;
                    Some(Segment::Payload { virtual_offset: 0, len: size })
                }
                Next::Footer => {
                    self.next = Next::Done;
                    Some(Segment::Meta(self.footer.clone()))
                }
                _ => None,
            };
        };
        let (segment, next) = match self.next {
            Next::Front => (Segment::Meta(front(&self.footer, header)), Next::Table { entry: 0, placed: 0 }),
            Next::Table { entry, placed } => {
                let (bytes, end, placed) = table_piece(header, blocks, entry, placed);
                let next = if end == header.max_table_entries {
                    Next::Bitmap(0)
                } else {
                    Next::Table { entry: end, placed }
                };
                (Segment::Meta(bytes), next)
            }
            Next::Bitmap(from) => match blocks.next_where(from, true) {
                Some(block) => (Segment::Meta(Bytes::from_static(&FULL_BITMAP)), Next::Data(block)),
                None => (Segment::Meta(self.footer.clone()), Next::Done),
            },
            Next::Data(block) => {
                let range = blocks.block_bytes(block);
                let len = range.end - range.start;
                let next = if len == u64::from(BLOCK_SIZE) {
                    Next::Bitmap(block + 1)
                } else {
                    Next::Padding(u64::from(BLOCK_SIZE) - len)
                };
                (Segment::Payload { virtual_offset: range.start, len }, next)
            }
            // Only the last block is padded.
            Next::Padding(len) => (Segment::Zeros { len }, Next::Footer),
            Next::Footer => (Segment::Meta(self.footer.clone()), Next::Done),
            Next::Done => return None,
        };
        self.next = next;
        Some(segment)
    }
}

/// Front footer, header and the reserved sector.
fn front(footer: &Bytes, header: &DynamicHeader) -> Bytes {
    let mut front = Vec::with_capacity(FOOTER_LEN + HEADER_LEN + 512);
    front.extend_from_slice(footer);
    front.extend_from_slice(&header.to_bytes());
    // The table offset is one of the two that `Dialect::reserved` makes.
    front.resize(usize::try_from(header.table_offset).unwrap_or(front.len()), 0);
    front.into()
}

/// Entries from `entry` on, padded behind the last one; also where they end and how many blocks
/// are placed by then.
fn table_piece(header: &DynamicHeader, blocks: &BlockSet, entry: u32, mut placed: u64) -> (Bytes, u32, u64) {
    let entries = header.max_table_entries;
    let end = entries.min(entry + TABLE_PIECE);
    let first = first_block(header);
    let mut bytes = Vec::with_capacity((TABLE_PIECE as usize) * 4);
    for block in entry..end {
        let sector = if blocks.contains(u64::from(block)) {
            let sector = (first + placed * BLOCK_LEN) / SECTOR;
            placed += 1;
            u32::try_from(sector).expect("the blocks of 2040 GiB end below 2^32 sectors")
        } else {
            UNALLOCATED
        };
        bytes.extend_from_slice(&sector.to_be_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(512), 0xff);
    (bytes.into(), end, placed)
}

const _: () = assert!(TABLE_PIECE.is_multiple_of(128), "pieces end at sector boundaries");

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(virtual_size: u64) -> Parameters {
        Parameters {
            virtual_size,
            uuid: Uuid::from_u128(9),
            timestamp: Timestamp(1),
            dialect: Dialect::XenapiRs,
        }
    }

    fn one(range: std::ops::Range<u64>) -> Vec<std::ops::Range<u64>> {
        std::iter::once(range).collect()
    }

    #[test]
    fn the_length_is_exact() {
        for (size, extents) in [
            (1, vec![]),
            (512, one(0..1)),
            (8 << 20, vec![0..1, (4 << 20)..(4 << 20) + 1]),
            ((8 << 20) + 1, one(0..(8 << 20) + 1)),
            (MAX_VIRTUAL_SIZE, vec![0..1, MAX_VIRTUAL_SIZE - 1..MAX_VIRTUAL_SIZE]),
            (MAX_VIRTUAL_SIZE, one(0..MAX_VIRTUAL_SIZE)),
        ] {
            let layout = Layout::dynamic_from_extents(&parameters(size), extents).unwrap();
            let len = layout.stream_len();
            assert_eq!(layout.into_segments().map(|s| s.len()).sum::<u64>(), len, "{size}");
            let fixed = Layout::fixed(&parameters(size)).unwrap();
            assert_eq!(fixed.stream_len(), size + 512);
            assert_eq!(fixed.into_segments().map(|s| s.len()).sum::<u64>(), size + 512);
        }
    }

    #[test]
    fn impossible_disks_are_refused() {
        let over = MAX_VIRTUAL_SIZE + 1;
        assert_eq!(Layout::fixed(&parameters(0)).unwrap_err(), Error::EmptyDisk);
        assert_eq!(
            Layout::dynamic_from_extents(&parameters(over), []).unwrap_err(),
            Error::TooLarge { virtual_size: over, limit: MAX_VIRTUAL_SIZE }
        );
        assert_eq!(
            Layout::dynamic_from_extents(&parameters(512), one(0..513)).unwrap_err(),
            Error::ExtentBeyondDisk { start: 0, end: 513, virtual_size: 512 }
        );
    }
}
