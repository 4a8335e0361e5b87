//! Merging a differencing disk into its parent, planned so that the parent is a good VHD at every moment.
//!
//! Blocks that the parent lacks go where its footer was, which first gets a new place behind all of them.
//! A block is entered into the table only when it is whole on the disk, and a sector's bit is set only when
//! the sector is. What the parent's file says is therefore always true; and what the child shows does
//! not change while its data are copied under it. The copy can be begun anew at any point: the same blocks
//! go to the same places.

use crate::format::{DiskType, FOOTER_LEN, SECTOR, UNALLOCATED, bitmap_len};
use crate::map::{BlockPlace, DiskMap, Place, ReadError, Window};

/// What to write into the parent.
///
/// Memory: four bytes for each block of the child.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// Where the parent's footer ends up, in bytes of its file; `None` when it stays where it is.
    pub footer_at: Option<u64>,
    /// Whether absent sectors of a new block are the grandparent's: then its bitmap is the child's. A disk
    /// without a parent gets whole blocks.
    pub differencing: bool,
    /// The sector of the parent's file to which each of the child's blocks goes, in their order.
    sectors: Vec<u32>,
    /// The sector at which new blocks begin.
    area: u32,
    /// Where the parent's table is, in bytes of its file.
    table_offset: u64,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError<E> {
    /// They cannot be merged.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A table could not be read.
    #[error(transparent)]
    Read(#[from] ReadError<E>),
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
    /// A merge that was begun cannot be gone on with where it was: the child or the parent has become another one. Planned anew,
    /// with an area that begins where the parent's footer is now, it loses nothing.
    #[error(
        "blocks of the parent lie at or behind byte {area}, where new ones go, and are not of this merge"
    )]
    Area {
        /// Where the new blocks would begin, in bytes of the parent's file.
        area: u64,
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
    /// was begun, whether that was just now or before an interruption. Whatever the parent has there since then must be of
    /// this plan ([`Refusal::Area`]). `read_parent` is what [`DiskMap::read`] had for the
    /// parent's file; nothing may have been written there since then.
    ///
    /// # Errors
    /// [`Refusal`], and those of [`DiskMap::place`].
    pub fn new<E>(
        child: &DiskMap,
        parent: &DiskMap,
        area: u64,
        mut read_parent: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Self, PlanError<E>> {
        let (Some(own), Some(header)) = (child.header(), parent.header()) else {
            return Err(Refusal::Flat.into());
        };
        if own.block_size != header.block_size {
            return Err(Refusal::BlockSizes { child: own.block_size, parent: header.block_size }.into());
        }
        if child.virtual_size() != parent.virtual_size() {
            let (child, parent) = (child.virtual_size(), parent.virtual_size());
            return Err(Refusal::Sizes { child, parent }.into());
        }
        let area = area.next_multiple_of(SECTOR);
        let len = u64::from(bitmap_len(own.block_size)) + u64::from(own.block_size);
        let sector = |at: u64| u32::try_from(at / SECTOR).ok().filter(|sector| *sector != UNALLOCATED);
        let (mut sectors, mut window, mut next, mut back) = (Vec::new(), Window::default(), area, 0_u64);
        for extent in child.allocated() {
            for start in extent.step_by(own.block_size as usize) {
                let old = match parent.place(start, &mut window, &mut read_parent)? {
                    // One that is there already since an interrupted merge has its place in the area, too.
                    Some(Place::Block(place)) if place.bitmap_offset == next => {
                        back += 1;
                        None
                    }
                    Some(Place::Block(place)) if place.bitmap_offset >= area => {
                        return Err(Refusal::Area { area }.into());
                    }
                    Some(Place::Block(place)) => Some(place.bitmap_offset),
                    _ => None,
                };
                sectors.push(sector(old.unwrap_or(next)).ok_or(Refusal::FileTooLarge)?);
                next += if old.is_none() { len } else { 0 };
            }
        }
        // Nothing else may be there: it would be written over.
        if parent.data_end() > area {
            for block in parent.blocks(&mut read_parent) {
                if block?.bitmap_offset >= area {
                    back = back.checked_sub(1).ok_or(Refusal::Area { area })?;
                }
            }
        }
        Ok(Self {
            footer_at: (next > area).then_some(next),
            differencing: parent.footer().disk_type == DiskType::Differencing,
            sectors,
            // Where not even the area can be counted, no block is in it.
            area: sector(area).unwrap_or(UNALLOCATED),
            table_offset: header.table_offset,
        })
    }

    /// How many blocks are merged.
    pub fn blocks(&self) -> u64 {
        self.sectors.len() as u64
    }

    /// The blocks of the `child` that it was made for, in the order of the disk. `read_child` is what [`DiskMap::read`] had for
    /// the child's file.
    ///
    /// # Errors
    /// For each block those of [`DiskMap::place`].
    pub fn merges<E>(
        &self,
        child: &DiskMap,
        read_child: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> impl Iterator<Item = Result<Merge, ReadError<E>>> {
        child.blocks(read_child).zip(&self.sectors).map(|(child, sector)| {
            let child = child?;
            let bitmap_offset = u64::from(*sector) * SECTOR;
            let data_offset = bitmap_offset + u64::from(child.bitmap_len);
            let at = self.table_offset + u64::from(child.block) * 4;
            let entry = Entry { at, bytes: sector.to_be_bytes() };
            Ok(Merge {
                parent: BlockPlace { bitmap_offset, data_offset, ..child.clone() },
                entry: (*sector >= self.area).then_some(entry),
                child,
            })
        })
    }

    /// Length of the parent's file when everything is written, in bytes, if it grows.
    pub fn file_len(&self) -> Option<u64> {
        self.footer_at.map(|at| at + FOOTER_LEN as u64)
    }
}
