//! The block allocation table: where each block is, and whether that can be true.

use std::ops::Range;

use crate::error::{Error, Neighbour, Structure};
use crate::format::{
    DiskType, DynamicHeader, FOOTER_LEN, Footer, HEADER_LEN, SECTOR, UNALLOCATED, bitmap_len,
};
use crate::limits::Limits;

/// Sizes that follow from footer and header, after both were found to make sense together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) virtual_size: u64,
    pub(crate) block_size: u32,
    pub(crate) bitmap_len: u32,
    /// Blocks of the disk; the table may have more entries.
    pub(crate) blocks: u32,
}

impl Shape {
    /// Length of a block in the file, bitmap included.
    pub(crate) fn block_len(&self) -> u64 {
        u64::from(self.bitmap_len) + u64::from(self.block_size)
    }

    pub(crate) fn sectors(&self) -> u32 {
        self.block_size / 512
    }
}

/// Checks the footer of a dynamic or differencing disk before the header is looked for.
pub(crate) fn check_footer(footer: &Footer, limits: &Limits) -> Result<(), Error> {
    if footer.current_size == 0 {
        return Err(Error::EmptyDisk);
    }
    if footer.current_size > limits.virtual_size {
        return Err(Error::TooLarge { virtual_size: footer.current_size, limit: limits.virtual_size });
    }
    let offset = footer.data_offset;
    let fits = offset >= FOOTER_LEN as u64
        && offset.is_multiple_of(SECTOR)
        && offset.checked_add(HEADER_LEN as u64).is_some();
    if footer.disk_type != DiskType::Fixed && !fits {
        return Err(Error::HeaderOffset { offset });
    }
    Ok(())
}

/// Checks the header against its footer before the table is read.
pub(crate) fn check_header(footer: &Footer, header: &DynamicHeader, limits: &Limits) -> Result<Shape, Error> {
    if footer.disk_type == DiskType::Differencing && !header.names_parent() {
        return Err(Error::NoParent);
    }
    let entries = header.max_table_entries;
    if entries > limits.table_entries {
        return Err(Error::TableTooLarge { entries, limit: limits.table_entries });
    }
    let needed = footer.current_size.div_ceil(u64::from(header.block_size));
    let Some(blocks) = u32::try_from(needed).ok().filter(|needed| *needed <= entries) else {
        return Err(Error::TableTooSmall { entries, needed });
    };
    let offset = header.table_offset;
    let table = offset..offset.saturating_add(header.table_len());
    let front = 0..FOOTER_LEN as u64;
    let own = header_range(footer);
    if !offset.is_multiple_of(SECTOR)
        || table.end == u64::MAX
        || overlap(&table, &front)
        || overlap(&table, &own)
    {
        return Err(Error::TableOffset { offset, entries });
    }
    Ok(Shape {
        virtual_size: footer.current_size,
        block_size: header.block_size,
        bitmap_len: bitmap_len(header.block_size),
        blocks,
    })
}

fn header_range(footer: &Footer) -> Range<u64> {
    footer.data_offset..footer.data_offset.saturating_add(HEADER_LEN as u64)
}

/// A block and the sector at which its bitmap starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Placed {
    pub(crate) sector: u32,
    pub(crate) block: u32,
}

impl Placed {
    pub(crate) fn offset(self) -> u64 {
        u64::from(self.sector) * SECTOR
    }
}

/// Blocks that follow each other on the disk and in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// The first one.
    start: Placed,
    /// How many there are before it in all; while runs are collected, how many there are in it.
    count: u32,
}

/// The allocated blocks in the order of the file, checked: apart from each other and from the metadata,
/// and inside of the file.
///
/// Most writers place blocks one behind the other, so that a few runs say it all; at worst they are 12 bytes
/// a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Placement {
    runs: Vec<Run>,
    /// Blocks in all.
    len: u32,
    /// Sectors of the file from one block to the next.
    step: u32,
}

impl Placement {
    /// Number of blocks.
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// The block with this number in the order of the file.
    pub(crate) fn get(&self, index: usize) -> Option<Placed> {
        let index = u32::try_from(index).ok().filter(|index| *index < self.len)?;
        let run = self.runs[self.runs.partition_point(|run| run.count <= index) - 1];
        Some(self.inside(&run, index - run.count))
    }

    pub(crate) fn first(&self) -> Option<Placed> {
        self.get(0)
    }

    pub(crate) fn last(&self) -> Option<Placed> {
        self.get(self.len().checked_sub(1)?)
    }

    /// All of them, in the order of the file.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Placed> + '_ {
        let ends = self.runs.iter().skip(1).map(|run| run.count).chain([self.len]);
        self.runs.iter().zip(ends).flat_map(|(run, end)| (0..end - run.count).map(|at| self.inside(run, at)))
    }

    fn inside(&self, run: &Run, at: u32) -> Placed {
        Placed { sector: run.start.sector + at * self.step, block: run.start.block + at }
    }
}

/// Entries that are looked at together.
const STRIDE: usize = 16;

/// Reads the table.
///
/// # Errors
/// [`Error::BlockOverlap`] and, for a known `end`, [`Error::BlockBounds`].
pub(crate) fn place(
    table: &[u8],
    footer: &Footer,
    header: &DynamicHeader,
    shape: &Shape,
    end: Option<u64>,
) -> Result<Placement, Error> {
    // A block has at most 256 MiB and its bitmap.
    let step = u32::try_from(shape.block_len() / SECTOR).unwrap_or(u32::MAX);
    let mut runs = collect_runs(table, shape.blocks, step);
    if !runs.is_sorted_by_key(|run| run.start) {
        runs.sort_unstable_by_key(|run| run.start);
    }
    let bytes = |run: &Run| run.start.offset()..run.start.offset() + u64::from(run.count) * shape.block_len();
    let apart = runs.windows(2).all(|pair| bytes(&pair[0]).end <= bytes(&pair[1]).start);
    let metadata = metadata(footer, header);
    let metadata_end = metadata.iter().map(|(_, range)| range.end).max().unwrap_or(0);
    let low = runs.iter().take_while(|run| run.start.offset() < metadata_end);
    let clear = low.into_iter().all(|run| metadata.iter().all(|(_, part)| !overlap(part, &bytes(run))));
    let inside = runs.last().is_none_or(|run| end.is_none_or(|end| bytes(run).end <= end));
    if !(apart && clear && inside) {
        drop(runs);
        refuse(table, &metadata, shape, end)?;
        runs = Vec::new();
    }
    let mut len = 0;
    for run in &mut runs {
        len += std::mem::replace(&mut run.count, len);
    }
    runs.shrink_to_fit();
    Ok(Placement { runs, len, step })
}

/// The blocks in the order of the table. Strides of entries that go on as the last one did, and of free
/// ones, are found without looking at each of them.
fn collect_runs(table: &[u8], blocks: u32, step: u32) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    // The sector at which the next block goes on with the last run; more than there are if it cannot.
    let mut next = u64::MAX;
    let table = &table[..table.len().min(blocks as usize * 4)];
    for (stride, first) in table.chunks(STRIDE * 4).zip((0_u32..).step_by(STRIDE)) {
        if let (Some(stride), Some(last)) =
            (stride.as_chunks::<4>().0.first_chunk::<STRIDE>(), runs.last_mut())
        {
            let odd = |wanted: &dyn Fn(u32) -> u32| {
                stride.iter().zip(0_u32..).fold(0, |odd, (e, i)| odd | (u32::from_be_bytes(*e) ^ wanted(i)))
            };
            let start = next as u32;
            if u64::from(start) == next && odd(&|i| start.wrapping_add(i.wrapping_mul(step))) == 0 {
                let count = STRIDE as u32;
                let behind = next + u64::from(count) * u64::from(step);
                // One that wraps around is told by the long way.
                if behind <= u64::from(u32::MAX) {
                    last.count += count;
                    next = behind;
                    continue;
                }
            } else if odd(&|_| UNALLOCATED) == 0 {
                next = u64::MAX;
                continue;
            }
        }
        for (sector, block) in entries(stride).zip(first..) {
            if sector == UNALLOCATED {
                next = u64::MAX;
                continue;
            }
            match runs.last_mut() {
                Some(last) if u64::from(sector) == next => last.count += 1,
                _ => runs.push(Run { start: Placed { sector, block }, count: 1 }),
            }
            next = u64::from(sector) + u64::from(step);
        }
    }
    runs
}

fn metadata(footer: &Footer, header: &DynamicHeader) -> [(Structure, Range<u64>); 3] {
    [
        (Structure::FrontFooter, 0..FOOTER_LEN as u64),
        (Structure::Header, header_range(footer)),
        (Structure::Table, header.table_offset..header.table_offset + header.table_len()),
    ]
}

/// Finds the block that cannot be where it is, one by one: only a damaged table needs that.
fn refuse(
    table: &[u8],
    metadata: &[(Structure, Range<u64>); 3],
    shape: &Shape,
    end: Option<u64>,
) -> Result<(), Error> {
    let allocated = || (0..shape.blocks).zip(entries(table)).filter(|(_, sector)| *sector != UNALLOCATED);
    // Counted first: growing would touch twice the memory.
    let mut placed = Vec::with_capacity(allocated().count());
    placed.extend(allocated().map(|(block, sector)| Placed { sector, block }));
    placed.sort_unstable();
    let block_len = shape.block_len();
    let mut previous: Option<Placed> = None;
    for at in &placed {
        let range = at.offset()..at.offset() + block_len;
        let wrong = |other| Error::BlockOverlap { block: at.block, offset: range.start, other };
        if let Some((structure, _)) = metadata.iter().find(|(_, part)| overlap(part, &range)) {
            return Err(wrong(Neighbour::Structure(*structure)));
        }
        if let Some(before) = previous.filter(|before| before.offset() + block_len > range.start) {
            return Err(wrong(Neighbour::Block(before.block)));
        }
        if let Some(end) = end.filter(|end| range.end > *end) {
            let first = FOOTER_LEN as u64;
            return Err(Error::BlockBounds { block: at.block, offset: range.start, first, end });
        }
        previous = Some(*at);
    }
    Ok(())
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The entries in `bytes`; what does not make four bytes is left over.
fn entries(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks::<4>().0.iter().map(|entry| u32::from_be_bytes(*entry))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces of a table: so many entries that go on from a sector, backwards, or are free.
    fn tables() -> impl Strategy<Value = Vec<u32>> {
        let piece = (0..4_u8, 0..60_u32, any::<u16>(), any::<bool>()).prop_map(|(kind, len, from, high)| {
            let from = if high { u32::MAX - u32::from(from) } else { u32::from(from) };
            let entry = move |i: u32| match kind {
                0 | 1 => from.wrapping_add(i * 9),
                2 => from.wrapping_sub(i * 9),
                _ => UNALLOCATED,
            };
            (0..len).map(entry).collect::<Vec<u32>>()
        });
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn runs_say_what_the_entries_say(entries in tables()) {
            let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_be_bytes()).collect();
            let runs = collect_runs(&bytes, entries.len() as u32, 9);
            let placed = |run: &Run| {
                let Placed { sector, block } = run.start;
                (0..run.count).map(move |i| (block + i, sector + i * 9)).collect::<Vec<_>>()
            };
            let found: Vec<(u32, u32)> = runs.iter().flat_map(placed).collect();
            let expected: Vec<(u32, u32)> =
                (0_u32..).zip(entries).filter(|(_, sector)| *sector != UNALLOCATED).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
