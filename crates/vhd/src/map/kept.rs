//! What a map keeps of a block allocation table.
//!
//! Most tables are a few runs of blocks. One in disorder has as many runs as blocks, 12 MiB for 2040 GiB, and chains have
//! thirty of them: of such a one only a bit for each block is kept, and the table is read again where a block is asked for,
//! a window at a time.

use std::hash::{DefaultHasher, Hasher};

use super::ReadError;
use crate::blocks::BlockSet;
use crate::error::Error;
use crate::format::{DynamicHeader, SECTOR, UNALLOCATED};
use crate::table::{Collector, Placed, Rules, Run, Shape, entries};

/// Entries that are looked up together; 16 KiB.
const WINDOW: u32 = 4096;
/// Bytes of a window.
const WINDOW_LEN: usize = WINDOW as usize * 4;
/// Bytes of the table that are read at a time while it is checked: whole windows, and not more than a cache holds.
const PIECE: usize = 16 * WINDOW_LEN;

/// The part of a block allocation table that was read last.
///
/// Whoever asks a map for one place after the other keeps it between two questions ([`DiskMap::place`](super::DiskMap::place)).
/// It stays empty for most maps, and has 16 KiB where the table is too much in disorder to be in memory.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// Which one it is, and the sum of its bytes: another map has another one there.
    key: Option<(u32, u64)>,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Table {
    /// By block.
    Runs(Vec<Run>),
    Listed(Listed),
}

/// A table that stays in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Where it is in the file, in bytes.
    offset: u64,
    /// Entries that the disk needs.
    blocks: u32,
    allocated: BlockSet,
    /// Of each window, to know when the table is not any longer what was checked.
    sums: Vec<u64>,
}

/// A table that was read and checked.
pub(super) struct Checked {
    pub(super) table: Table,
    /// Blocks in the file.
    pub(super) allocated: u32,
    /// Where the last of them ends, in bytes of the file.
    pub(super) end: Option<u64>,
}

impl Table {
    /// Reads a table, of which at most `most` runs are kept.
    pub(super) fn read<E>(
        header: &DynamicHeader,
        shape: &Shape,
        rules: &Rules,
        most: u32,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), ReadError<E>>,
    ) -> Result<Checked, ReadError<E>> {
        let offset = header.table_offset;
        let mut collected = Collector::new(rules);
        let mut fits = true;
        pieces(offset, shape.blocks, &mut read, |piece| {
            collected.feed(piece);
            fits = collected.runs.len() <= most as usize;
            fits
        })?;
        let mut runs = collected.runs;
        let ordered = runs.is_sorted_by_key(|run| run.start);
        if fits && !ordered {
            runs.sort_unstable_by_key(|run| run.start);
        }
        if fits && rules.allow(&runs) {
            let end = runs.last().map(|last| rules.bytes(last).end);
            if !ordered {
                runs.sort_unstable_by_key(|run| run.start.block);
            }
            runs.shrink_to_fit();
            let allocated = runs.iter().map(|run| run.count).sum();
            return Ok(Checked { table: Self::Runs(runs), allocated, end });
        }
        drop(runs);
        Listed::read(offset, shape, rules, read)
    }

    /// The first block from `from` on that is in the file.
    pub(super) fn next_allocated(&self, from: u32) -> Option<u32> {
        match self {
            Self::Runs(runs) => {
                let at = runs.partition_point(|run| run.start.block + (run.count - 1) < from);
                runs.get(at).map(|run| run.start.block.max(from))
            }
            // A set of at most 2^32 blocks.
            Self::Listed(listed) => {
                listed.allocated.next_where(from.into(), true).and_then(|block| u32::try_from(block).ok())
            }
        }
    }

    /// The bytes of the disk that are in the file, ascending. Neighbours may come one by one.
    pub(super) fn extents(&self, shape: Shape) -> impl Iterator<Item = std::ops::Range<u64>> + '_ {
        let (runs, listed) = match self {
            Self::Runs(runs) => (Some(runs), None),
            Self::Listed(listed) => (None, Some(listed)),
        };
        let runs = runs.into_iter().flatten().map(move |run| {
            let start = u64::from(run.start.block) * u64::from(shape.block_size);
            start..shape.virtual_size.min(start + u64::from(run.count) * u64::from(shape.block_size))
        });
        runs.chain(listed.into_iter().flat_map(|listed| listed.allocated.extents()))
    }

    /// The sector at which a block starts; `None` if the file has none.
    pub(super) fn sector<E>(
        &self,
        block: u32,
        step: u32,
        window: &mut Window,
        read_at: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Option<u32>, ReadError<E>> {
        match self {
            Self::Runs(runs) => {
                let Some(before) = runs.partition_point(|run| run.start.block <= block).checked_sub(1) else {
                    return Ok(None);
                };
                let Run { start: Placed { sector, block: first }, count } = runs[before];
                Ok((block - first < count).then(|| sector + (block - first) * step))
            }
            Self::Listed(listed) if listed.allocated.contains(block.into()) => {
                listed.sector(block, window, read_at).map(Some)
            }
            Self::Listed(_) => Ok(None),
        }
    }
}

impl Listed {
    fn read<E>(
        offset: u64,
        shape: &Shape,
        rules: &Rules,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<(), ReadError<E>>,
    ) -> Result<Checked, ReadError<E>> {
        let mut allocated = BlockSet::new(shape.virtual_size, shape.block_size);
        let (mut sums, mut sectors, mut block) = (Vec::new(), Vec::new(), 0);
        pieces(offset, shape.blocks, &mut read, |piece| {
            sums.extend(piece.chunks(WINDOW_LEN).map(sum));
            for sector in entries(piece) {
                if sector != UNALLOCATED {
                    allocated.insert(block);
                    sectors.push(sector);
                }
                block += 1;
            }
            true
        })?;
        let again = |each: &mut dyn FnMut(&[u8])| {
            pieces(offset, shape.blocks, &mut read, |piece| {
                each(piece);
                true
            })
        };
        // Sorts them.
        if let Some(error) = rules.refuse(&mut sectors, again)? {
            return Err(error.into());
        }
        let last = sectors.last().map(|sector| Placed { sector: *sector, block: 0 });
        let end = last.map(|start| rules.bytes(&Run { start, count: 1 }).end);
        Ok(Checked {
            allocated: u32::try_from(sectors.len()).unwrap_or(u32::MAX),
            table: Table::Listed(Self { offset, blocks: shape.blocks, allocated, sums }),
            end,
        })
    }

    /// Of a block that the file has.
    fn sector<E>(
        &self,
        block: u32,
        window: &mut Window,
        mut read_at: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<u32, ReadError<E>> {
        let number = block / WINDOW;
        let wanted = self.sums.get(number as usize).copied().unwrap_or_default();
        if window.key != Some((number, wanted)) {
            let offset = self.offset + u64::from(number) * WINDOW_LEN as u64;
            let len = (self.blocks - number * WINDOW).min(WINDOW) as usize * 4;
            // What is half read is nobody's.
            window.key = None;
            window.bytes.resize(len, 0);
            read_at(offset, &mut window.bytes).map_err(|source| ReadError::Io { offset, len, source })?;
            if sum(&window.bytes) != wanted {
                return Err(Error::TableChanged { at: offset }.into());
            }
            window.key = Some((number, wanted));
        }
        Ok(entries(&window.bytes).nth((block % WINDOW) as usize).unwrap_or(UNALLOCATED))
    }
}

/// Gives out the entries that a disk needs piece by piece, until `take` has enough.
fn pieces<E>(
    offset: u64,
    blocks: u32,
    read: &mut impl FnMut(u64, &mut [u8]) -> Result<(), ReadError<E>>,
    mut take: impl FnMut(&[u8]) -> bool,
) -> Result<(), ReadError<E>> {
    let (mut at, mut left) = (offset, u64::from(blocks) * 4);
    let mut buffer = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
    while left > 0 {
        let piece = &mut buffer[..usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
        read(at, piece)?;
        if !take(piece) {
            break;
        }
        at += piece.len() as u64;
        left -= piece.len() as u64;
    }
    Ok(())
}

fn sum(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

// Windows are read at once from where sectors begin.
const _: () = assert!((WINDOW_LEN as u64).is_multiple_of(SECTOR));
