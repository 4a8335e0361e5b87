//! Merging a differencing disk into its parent, planned so that the parent is a good VHD at every moment.
//!
//! Blocks that the parent lacks go where its footer was, which first gets a new place behind all of them.
//! A block is entered into the table only when it is whole on the disk, and a sector's bit is set only when
//! the sector is. What the parent's file says is therefore always true; and what the child shows does
//! not change while its data are copied under it. The copy can be begun anew at any point: the same blocks
//! go to the same places.

use crate::format::{DiskType, FOOTER_LEN, SECTOR};
use crate::map::{BlockPlace, DiskMap, Place};

/// What to write into the parent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// Where the parent's footer ends up, in bytes of its file; `None` when it stays where it is.
    pub footer_at: Option<u64>,
    /// The child's blocks, in the order of the disk.
    pub merges: Vec<Merge>,
    /// Whether absent sectors of a new block are the grandparent's: then its bitmap is the child's. A disk
    /// without a parent gets whole blocks.
    pub differencing: bool,
}

/// Why a child cannot be merged into its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// One of them is a fixed disk, which has no blocks.
    #[error("a fixed disk has no blocks to merge")]
    Flat,
    /// Their blocks differ in size.
    #[error("the child's blocks have {child} bytes, the parent's {parent}")]
    BlockSizes {
        /// Of the child, in bytes.
        child: u32,
        /// Of the parent, in bytes.
        parent: u32,
    },
    /// Their disks differ in size.
    #[error("the child's disk has {child} bytes, the parent's {parent}")]
    Sizes {
        /// Of the child, in bytes.
        child: u64,
        /// Of the parent, in bytes.
        parent: u64,
    },
    /// The parent's file would have more sectors than its table can count.
    #[error("the parent's file would become larger than 2 TiB")]
    FileTooLarge,
}

/// A block of the child, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Merge {
    /// Where it is in the child's file.
    pub child: BlockPlace,
    /// Where it goes in the parent's.
    pub parent: BlockPlace,
    /// For a block that the parent does not have yet.
    pub entry: Option<Entry>,
}

/// An entry of the parent's table that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Where it is in the parent's file, in bytes; it has four.
    pub at: u64,
    /// What it says.
    pub bytes: [u8; 4],
}

impl Plan {
    /// Plans the merge of a differencing disk into a dynamic or differencing one.
    ///
    /// `area` is the byte of the parent's file where new blocks begin: where its footer was when the merge
    /// was begun, whether that was just now or before an interruption.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn new(child: &DiskMap, parent: &DiskMap, area: u64) -> Result<Self, Refusal> {
        let (Some(own), Some(header)) = (child.header(), parent.header()) else {
            return Err(Refusal::Flat);
        };
        if own.block_size != header.block_size {
            return Err(Refusal::BlockSizes { child: own.block_size, parent: header.block_size });
        }
        if child.virtual_size() != parent.virtual_size() {
            return Err(Refusal::Sizes { child: child.virtual_size(), parent: parent.virtual_size() });
        }
        let area = area.next_multiple_of(SECTOR);
        let (mut merges, mut next) = (Vec::new(), area);
        for block in child.blocks() {
            let existing = match parent.place(block.bytes.start) {
                Some(Place::Block(place)) => Some(place),
                _ => None,
            };
            // One that is there already since an interrupted merge has its place in the area, too.
            let len = u64::from(block.bitmap_len) + u64::from(header.block_size);
            let is_new = existing.as_ref().is_none_or(|place| place.bitmap_offset >= area);
            let place = BlockPlace {
                bitmap_offset: next,
                data_offset: next + u64::from(block.bitmap_len),
                ..block.clone()
            };
            let merge = match existing {
                Some(parent) if !is_new => Merge { child: block, parent, entry: None },
                _ => {
                    let sector = u32::try_from(next / SECTOR).ok().filter(|sector| *sector != u32::MAX);
                    let number = block.block;
                    let sector = sector.ok_or(Refusal::FileTooLarge)?;
                    let at = header.table_offset + u64::from(number) * 4;
                    next += len;
                    Merge {
                        child: block,
                        parent: place,
                        entry: Some(Entry { at, bytes: sector.to_be_bytes() }),
                    }
                }
            };
            merges.push(merge);
        }
        let differencing = parent.footer().disk_type == DiskType::Differencing;
        Ok(Self { footer_at: (next > area).then_some(next), merges, differencing })
    }

    /// Length of the parent's file when everything is written, in bytes, if it grows.
    pub fn file_len(&self) -> Option<u64> {
        self.footer_at.map(|at| at + FOOTER_LEN as u64)
    }
}
