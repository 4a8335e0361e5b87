//! A plan as the pieces of its file, in order.

use bytes::Bytes;

use super::{Body, Layout, Placement};
use crate::blocks::BlockSet;
use crate::format::{BLOCK_SIZE, DynamicHeader, SECTOR, UNALLOCATED};

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

/// The table is made in pieces of this many entries.
const TABLE_PIECE: u32 = 16 << 10;

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

impl Segments {
    pub(super) fn new(layout: Layout) -> Self {
        Self { footer: Bytes::copy_from_slice(&layout.footer.to_bytes()), layout, next: Next::Front }
    }
}

impl Iterator for Segments {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        let size = self.layout.footer.current_size;
        let Body::Dynamic { header, lead, blocks, aligned } = &self.layout.body else {
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
        let placement = Placement::new(header, *aligned);
        let (segment, next) = match self.next {
            Next::Front => {
                (Segment::Meta(front(&self.footer, header, lead)), Next::Table { entry: 0, placed: 0 })
            }
            Next::Table { entry, placed } => {
                let (bytes, end, placed) = table_piece(header, placement, blocks, entry, placed);
                let next = if end == header.max_table_entries {
                    Next::Bitmap(0)
                } else {
                    Next::Table { entry: end, placed }
                };
                (Segment::Meta(bytes), next)
            }
            Next::Bitmap(from) => match blocks.next_where(from, true) {
                Some(block) => (Segment::Meta(placement.lead(from == 0)), Next::Data(block)),
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

/// Front footer, header and what stands before the table.
fn front(footer: &Bytes, header: &DynamicHeader, lead: &Bytes) -> Bytes {
    [footer.as_ref(), &header.to_bytes(), lead].concat().into()
}

/// Entries from `entry` on, padded behind the last one; also where they end and how many blocks
/// are placed by then.
fn table_piece(
    header: &DynamicHeader,
    placement: Placement,
    blocks: &BlockSet,
    entry: u32,
    mut placed: u64,
) -> (Bytes, u32, u64) {
    let entries = header.max_table_entries;
    let end = entries.min(entry + TABLE_PIECE);
    let mut bytes = Vec::with_capacity((TABLE_PIECE as usize) * 4);
    for block in entry..end {
        let sector = if blocks.contains(u64::from(block)) {
            let sector = placement.bitmap(placed) / SECTOR;
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
