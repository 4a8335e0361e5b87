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

/// The allocated blocks in the order of the file, checked: inside `end`, apart from each other
/// and from the metadata. Sorting makes this O(n log n) at worst, linear for most writers.
pub(crate) fn place(
    table: &[u8],
    footer: &Footer,
    header: &DynamicHeader,
    shape: &Shape,
    end: Option<u64>,
) -> Result<Vec<Placed>, Error> {
    let allocated = || (0..shape.blocks).zip(entries(table)).filter(|(_, sector)| *sector != UNALLOCATED);
    // Counted first: growing would touch twice the memory.
    let mut placed = Vec::with_capacity(allocated().count());
    placed.extend(allocated().map(|(block, sector)| Placed { sector, block }));
    if !placed.is_sorted() {
        placed.sort_unstable();
    }
    let metadata = [
        (Structure::FrontFooter, 0..FOOTER_LEN as u64),
        (Structure::Header, header_range(footer)),
        (Structure::Table, header.table_offset..header.table_offset + header.table_len()),
    ];
    let metadata_end = metadata.iter().map(|(_, range)| range.end).max().unwrap_or(0);
    let block_len = shape.block_len();
    let mut previous: Option<Placed> = None;
    for at in &placed {
        let range = at.offset()..at.offset() + block_len;
        let wrong = |other| Error::BlockOverlap { block: at.block, offset: range.start, other };
        if range.start < metadata_end
            && let Some((structure, _)) = metadata.iter().find(|(_, part)| overlap(part, &range))
        {
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
    Ok(placed)
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The entries in `bytes`; what does not make four bytes is left over.
fn entries(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks::<4>().0.iter().map(|entry| u32::from_be_bytes(*entry))
}
