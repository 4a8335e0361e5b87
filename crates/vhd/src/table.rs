//! The block allocation table: where each block is, and whether that can be true.

use std::ops::Range;

use crate::error::{Error, Neighbour, Structure};
use crate::format::{
    Creator, DiskType, DynamicHeader, FOOTER_LEN, Footer, HEADER_LEN, SECTOR, UNALLOCATED, bitmap_len,
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
    let Creator { application, version, .. } = footer.creator;
    if footer.disk_type != DiskType::Fixed && application == *b"tap\0" && version <= 1 {
        let [a, b, c, d] = version.to_be_bytes();
        let (major, minor) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        return Err(Error::OldBlktap { major, minor });
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
pub(crate) struct Run {
    /// The first one.
    pub(crate) start: Placed,
    /// How many there are in it; in a [`Placement`], how many there are before it in all.
    pub(crate) count: u32,
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

/// What the blocks of a disk must keep away from, and how much each of them takes.
#[derive(Debug)]
pub(crate) struct Rules {
    metadata: [(Structure, Range<u64>); 3],
    /// Where the metadata end that lie farthest behind.
    metadata_end: u64,
    block_len: u64,
    /// Sectors of the file from one block to the next.
    step: u32,
    /// Where the file ends for them, if that is known.
    end: Option<u64>,
}

impl Rules {
    pub(crate) fn new(footer: &Footer, header: &DynamicHeader, shape: &Shape, end: Option<u64>) -> Self {
        let metadata = [
            (Structure::FrontFooter, 0..FOOTER_LEN as u64),
            (Structure::Header, header_range(footer)),
            (Structure::Table, header.table_offset..header.table_offset + header.table_len()),
        ];
        Self {
            metadata_end: metadata.iter().map(|(_, range)| range.end).max().unwrap_or(0),
            metadata,
            block_len: shape.block_len(),
            // A block has at most 256 MiB and its bitmap.
            step: u32::try_from(shape.block_len() / SECTOR).unwrap_or(u32::MAX),
            end,
        }
    }

    /// Where the bytes of a run lie in the file.
    pub(crate) fn bytes(&self, run: &Run) -> Range<u64> {
        run.start.offset()..run.start.offset() + u64::from(run.count) * self.block_len
    }

    /// Whether runs in the order of the file can be where they are.
    pub(crate) fn allow(&self, runs: &[Run]) -> bool {
        let bytes = |run: &Run| self.bytes(run);
        let apart = runs.windows(2).all(|pair| bytes(&pair[0]).end <= bytes(&pair[1]).start);
        let low = runs.iter().take_while(|run| run.start.offset() < self.metadata_end);
        let clear =
            low.into_iter().all(|run| self.metadata.iter().all(|(_, part)| !overlap(part, &bytes(run))));
        let inside = runs.last().is_none_or(|run| self.end.is_none_or(|end| bytes(run).end <= end));
        apart && clear && inside
    }

    /// The first block, in the order of the file, that cannot be where it is, by the sectors at which they all start.
    ///
    /// `table` gives out the table piece by piece, to find its number.
    pub(crate) fn refuse<E>(
        &self,
        sectors: &mut [u32],
        table: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), E>,
    ) -> Result<Option<Error>, E> {
        sectors.sort_unstable();
        let mut previous: Option<u32> = None;
        let found = sectors.iter().find_map(|sector| {
            let wrong = self.wrong(*sector, previous);
            previous = Some(*sector);
            Some((*sector, wrong?))
        });
        let Some((sector, wrong)) = found else { return Ok(None) };
        let before = if let Wrong::Reached(before) = wrong { before } else { sector };
        // Of two blocks at one place the second one is wrong.
        let (mut own, mut its, mut block) = ([None; 2], None, 0);
        table(&mut |piece| {
            for entry in entries(piece) {
                if entry == sector {
                    own = [own[0].or(Some(block)), own[0].and(own[1].or(Some(block)))];
                } else if entry == before {
                    its = its.or(Some(block));
                }
                block += 1;
            }
        })?;
        let (own, its) = if wrong == Wrong::Reached(sector) { (own[1], own[0]) } else { (own[0], its) };
        // They are there unless the table changes while it is read.
        let (block, before) = (own.unwrap_or(u32::MAX), its.unwrap_or(u32::MAX));
        let offset = u64::from(sector) * SECTOR;
        Ok(Some(match wrong {
            Wrong::Meets(structure) => {
                Error::BlockOverlap { block, offset, other: Neighbour::Structure(structure) }
            }
            Wrong::Reached(_) => Error::BlockOverlap { block, offset, other: Neighbour::Block(before) },
            Wrong::Outside(end) => Error::BlockBounds { block, offset, first: FOOTER_LEN as u64, end },
        }))
    }

    fn wrong(&self, sector: u32, previous: Option<u32>) -> Option<Wrong> {
        let start = u64::from(sector) * SECTOR;
        let range = start..start + self.block_len;
        if start < self.metadata_end
            && let Some((structure, _)) = self.metadata.iter().find(|(_, part)| overlap(part, &range))
        {
            return Some(Wrong::Meets(*structure));
        }
        if let Some(before) = previous.filter(|before| sector - before < self.step) {
            return Some(Wrong::Reached(before));
        }
        self.end.filter(|end| range.end > *end).map(Wrong::Outside)
    }
}

/// Why no block can be at some place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// That is there.
    Meets(Structure),
    /// The block at this sector, which is not behind it, reaches there.
    Reached(u32),
    /// It would end behind this byte.
    Outside(u64),
}

/// Reads a table that is in memory.
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
    let rules = Rules::new(footer, header, shape, end);
    let mut collected = Collector::new(&rules);
    collected.feed(table);
    let mut runs = collected.runs;
    if !runs.is_sorted_by_key(|run| run.start) {
        runs.sort_unstable_by_key(|run| run.start);
    }
    if !rules.allow(&runs) {
        drop(runs);
        let mut sectors: Vec<u32> = entries(table).filter(|sector| *sector != UNALLOCATED).collect();
        let whole = |piece: &mut dyn FnMut(&[u8])| {
            piece(table);
            Ok::<(), Error>(())
        };
        rules.refuse(&mut sectors, whole)?.map_or(Ok(()), Err)?;
        runs = Vec::new();
    }
    let mut len = 0;
    for run in &mut runs {
        len += std::mem::replace(&mut run.count, len);
    }
    runs.shrink_to_fit();
    Ok(Placement { runs, len, step: rules.step })
}

/// Puts the entries of a table together as runs, in the order of the table. Strides of entries that go on as the last one
/// did, and of free ones, are found without looking at each of them.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(crate) runs: Vec<Run>,
    /// The block that comes next.
    block: u32,
    /// The sector at which it goes on with the last run; more than there are if it cannot.
    next: u64,
    step: u32,
}

impl Collector {
    pub(crate) fn new(rules: &Rules) -> Self {
        Self { runs: Vec::new(), block: 0, next: u64::MAX, step: rules.step }
    }

    /// Takes the next entries, a whole number of them.
    pub(crate) fn feed(&mut self, table: &[u8]) {
        let step = self.step;
        let (mut next, mut first) = (self.next, self.block);
        for stride in table.chunks(STRIDE * 4) {
            let at = first;
            first += (stride.len() / 4) as u32;
            if let (Some(stride), Some(last)) =
                (stride.as_chunks::<4>().0.first_chunk::<STRIDE>(), self.runs.last_mut())
            {
                let odd = |wanted: &dyn Fn(u32) -> u32| {
                    stride
                        .iter()
                        .zip(0_u32..)
                        .fold(0, |odd, (e, i)| odd | (u32::from_be_bytes(*e) ^ wanted(i)))
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
            for (sector, block) in entries(stride).zip(at..) {
                if sector == UNALLOCATED {
                    next = u64::MAX;
                    continue;
                }
                match self.runs.last_mut() {
                    Some(last) if u64::from(sector) == next => last.count += 1,
                    _ => self.runs.push(Run { start: Placed { sector, block }, count: 1 }),
                }
                next = u64::from(sector) + u64::from(step);
            }
        }
        (self.next, self.block) = (next, first);
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The entries in `bytes`; what does not make four bytes is left over.
pub(crate) fn entries(bytes: &[u8]) -> impl Iterator<Item = u32> {
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
        fn runs_say_what_the_entries_say(entries in tables(), piece in 1..100_usize) {
            let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_be_bytes()).collect();
            let mut collected = Collector { runs: Vec::new(), block: 0, next: u64::MAX, step: 9 };
            // In pieces that are no strides.
            bytes.chunks(piece * 4).for_each(|piece| collected.feed(piece));
            let runs = collected.runs;
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
