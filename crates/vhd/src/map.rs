//! Finding a disk's bytes in a file that can be read at any place.

use std::ops::Range;

use crate::blocks::BlockSet;
use crate::error::{Error, Structure};
use crate::format::{Creator, DiskType, DynamicHeader, FOOTER_LEN, Footer, HEADER_LEN, SECTOR, Timestamp};
use crate::limits::Limits;
use crate::table::{self, Rules, Shape};

mod ends;
mod kept;

pub use kept::Window;
use kept::{Checked, Table};

/// Where the bytes of a disk are: footer, header and table of a VHD file, checked as a whole.
///
/// Memory: twelve bytes for each run of blocks that follow each other on the disk and in the file, as far as there are at
/// most [`Limits::runs`] of them. A table with more stays in the file, to be read where it is needed, and takes a bit for
/// each block of the disk (128 KiB for 2 TiB), and four bytes for each block while it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskMap {
    footer: Footer,
    dynamic: Option<Dynamic>,
    warnings: Vec<Warning>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Dynamic {
    header: Box<DynamicHeader>,
    shape: Shape,
    table: Table,
    allocated: u32,
    /// Where the last block ends in the file, or the table or a locator if that lies behind; in bytes.
    data_end: u64,
}

/// Why a map could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError<E> {
    /// The file is not an acceptable VHD.
    #[error(transparent)]
    Format(#[from] Error),
    /// The file could not be read.
    #[error("cannot read {len} bytes at byte {offset}")]
    Io {
        /// Where, in bytes.
        offset: u64,
        /// How many bytes.
        len: usize,
        /// What the reader said.
        source: E,
    },
}

/// Whether a file must end with its footer, and which of two footers counts. Of a fixed disk there is only the one at the
/// end: see [`Limits::padding`] for where that may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EndFooterPolicy {
    /// It must; what a broken-off copy or a running writer leaves is refused. blktap overwrites
    /// the end footer with `0xC7` while it has the file open.
    #[default]
    Required,
    /// The copy at the start is enough.
    FrontSuffices,
    /// The copy at the start counts, whatever is at the end; where that says something else,
    /// [`Warning::FootersDisagree`] tells.
    FrontCounts,
    /// The one at the end counts, whatever is at the start.
    EndCounts,
}

/// An oddity that does not stand in the way of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// The copy of the footer at the start is damaged; the one at the end was used.
    #[error("the front footer is damaged")]
    FrontFooterDamaged,
    /// The footer at the end is damaged; the copy at the start was used.
    #[error("the end footer is damaged")]
    EndFooterDamaged,
    /// There is no footer at the end; the copy at the start was used.
    #[error("the end footer is missing")]
    EndFooterMissing,
    /// The end footer has 511 bytes.
    #[error("the end footer lacks its last byte")]
    ShortEndFooter,
    /// Both footers are sound and disagree; which one counts was said by the caller.
    #[error(
        "the footers at the start and at the end disagree about the {0}; the one that was asked for is used"
    )]
    FootersDisagree(&'static str),
    /// So many bytes follow the footer: zeros, unless [`Limits::surplus`] allows more.
    #[error("{0} bytes follow the footer, as on a device larger than the VHD")]
    Trailing(u64),
    /// So many bytes lie between a fixed disk and its footer: zeros, unless [`Limits::surplus`] allows more.
    #[error("{0} bytes lie between the disk and its footer, as on a device larger than the VHD")]
    Gap(u64),
    /// Feature bit 1 is clear.
    #[error("the feature bits are {0:#x}, bit 1 must be set")]
    Features(u32),
    /// Bytes that must be zero are not.
    #[error("reserved bytes of the {0} are not zero")]
    StrayBytes(Structure),
    /// The uuid is null.
    #[error("the uuid is null")]
    NullUuid,
    /// The disk is marked as the parent of others only.
    #[error("the disk is marked hidden ({0}): it is only the parent of others")]
    Hidden(u8),
    /// A machine's memory was saved with the disk.
    #[error("the disk belongs to a saved state")]
    SavedState,
    /// The header's link to a next header is not all ones.
    #[error("the dynamic header's data offset is {0:#x} instead of all ones")]
    HeaderLink(u64),
    /// blktap's name, and a version that blktap does not know: the latest is 1.3.
    #[error("the creator is blktap {major}.{minor}, a version that blktap does not know")]
    CreatorVersion {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// It was created in the future: see [`DiskMap::future`].
    #[error("it was created {0} s in the future; is the clock right?")]
    Future(u32),
    /// A bitmap of a dynamic disk leaves out sectors of this block that have data in the file. Only whoever reads data sees
    /// that.
    #[error(
        "the bitmap of block {0} leaves out sectors that have data in the file: they are zero, as XenServer has it; other \
         readers do not look at bitmaps"
    )]
    AbsentData(u32),
    /// The size is not a whole number of sectors.
    #[error("the size of {0} bytes is not a whole number of sectors")]
    UnevenSize(u64),
}

/// Where a byte of the disk is, and how far that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a fixed disk, here.
    File {
        /// Byte of the file.
        offset: u64,
        /// Bytes of the disk that follow in the file.
        len: u64,
    },
    /// In this block, if its bitmap says so; zero (or the parent's) otherwise.
    Block(BlockPlace),
    /// Not in this file: zero, or the parent's.
    Unallocated {
        /// Bytes of the disk of which this is true, and maybe of more behind them.
        len: u64,
    },
}

/// A block in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPlace {
    /// Its number on the disk.
    pub block: u32,
    /// The bytes of the disk it stands for, cut at the end of the disk.
    pub bytes: Range<u64>,
    /// Where its sector bitmap is, in bytes of the file.
    pub bitmap_offset: u64,
    /// Length of the bitmap in bytes, padding included.
    pub bitmap_len: u32,
    /// Where its data are, in bytes of the file.
    pub data_offset: u64,
}

impl BlockPlace {
    /// Number of sectors of the disk in the block.
    pub fn sectors(&self) -> u32 {
        u32::try_from((self.bytes.end - self.bytes.start).div_ceil(SECTOR)).unwrap_or(u32::MAX)
    }
}

impl DiskMap {
    /// Reads and checks everything but bitmaps and data of a file (or block device) of `len`
    /// bytes. `read_at` fills the buffer from the given byte of the file.
    ///
    /// # Errors
    /// [`ReadError::Format`] with the first malformation found, before any data were read;
    /// [`ReadError::Io`] when `read_at` fails.
    pub fn read<E>(
        len: u64,
        policy: EndFooterPolicy,
        limits: &Limits,
        mut read_at: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Self, ReadError<E>> {
        let mut read = |offset: u64, buffer: &mut [u8]| {
            read_at(offset, buffer).map_err(|source| ReadError::Io { offset, len: buffer.len(), source })
        };
        let mut warnings = Vec::new();
        let (footer, end) = ends::find(len, policy, limits, &mut read, &mut warnings)?;
        footer_warnings(&footer, &mut warnings);
        if footer.disk_type == DiskType::Fixed {
            let at = end.unwrap_or(len - FOOTER_LEN as u64);
            ends::fixed(&footer, at, limits, &mut read, &mut warnings)?;
            return Ok(Self { footer, dynamic: None, warnings });
        }
        table::check_footer(&footer, limits)?;

        // What claims to be the footer at the end, sound or not, is no part of anything else: a repair writes it anew.
        let before = end.unwrap_or(len);
        let within = |what, structure_end: u64, otherwise: Error| match structure_end.checked_sub(before) {
            None | Some(0) => Ok(()),
            Some(missing) if end.is_none() => Err(Error::Truncated { what, at: len, missing }),
            Some(_) => Err(otherwise),
        };
        let offset = footer.data_offset;
        within(Structure::Header, offset + HEADER_LEN as u64, Error::HeaderOffset { offset })?;
        let mut header = [0; HEADER_LEN];
        read(offset, &mut header)?;
        let header = Box::new(DynamicHeader::parse(&header, offset)?);
        header_warnings(&header, &mut warnings);
        let shape = table::check_header(&footer, &header, limits)?;
        let (offset, entries) = (header.table_offset, header.max_table_entries);
        let table_end = offset + u64::from(entries) * 4;
        within(Structure::Table, table_end, Error::TableOffset { offset, entries })?;

        let rules = Rules::new(&footer, &header, &shape, end);
        let Checked { table, allocated, end: blocks_end } =
            Table::read(&header, &shape, &rules, limits.runs, &mut read)?;
        let table_end = header.table_offset + header.table_len();
        // What the header refers to is not behind the disk, and no footer is between.
        let locators = header.locators.iter().filter_map(|locator| locator.range(len));
        let locators_end = locators.map(|range| range.end.next_multiple_of(SECTOR)).max().unwrap_or_default();
        if end.is_none() {
            let blocks_end = blocks_end.unwrap_or(table_end.min(len)).max(locators_end.min(len));
            let blocks_end = blocks_end.max(ends::batmap(&footer, table_end, len, &mut read)?);
            let behind = ends::missing(blocks_end, len, &footer, (policy, limits), &mut read)?;
            warnings.push(behind.map_or(Warning::EndFooterMissing, Warning::Trailing));
        }
        let data_end = table_end.max(blocks_end.unwrap_or_default()).max(locators_end);
        Ok(Self { footer, dynamic: Some(Dynamic { header, shape, table, allocated, data_end }), warnings })
    }

    /// The footer that was used.
    pub fn footer(&self) -> &Footer {
        &self.footer
    }

    /// The header, unless the disk is fixed.
    pub fn header(&self) -> Option<&DynamicHeader> {
        self.dynamic.as_ref().map(|dynamic| &*dynamic.header)
    }

    /// Where blktap's map of full blocks is, if blktap wrote the VHD: a sector, which may be behind the end.
    pub fn batmap_offset(&self) -> Option<u64> {
        let header = self.header().filter(|_| self.footer.creator.application == *b"tap\0")?;
        Some(header.table_offset + header.table_len())
    }

    /// Whether the data are encrypted, after the sector at [`DiskMap::batmap_offset`]: blktap keeps the hash
    /// of the key there. What is read of such a disk is of no use, though nothing else tells.
    pub fn is_encrypted(batmap: &[u8; FOOTER_LEN]) -> bool {
        // Cookie, offset, size, version, checksum, marker; then the cookie of the key hash.
        batmap.starts_with(b"tdbatmap") && batmap[29] == 1
    }

    /// Where the map ends of which the sector at [`DiskMap::batmap_offset`] tells, in bytes of the file, if it tells of one.
    pub fn batmap_end(batmap: &[u8; FOOTER_LEN]) -> Option<u64> {
        Self::batmap_range(batmap).map(|range| range.end)
    }

    /// The bytes of the file that the map has of which that sector tells.
    pub(crate) fn batmap_range(batmap: &[u8; FOOTER_LEN]) -> Option<Range<u64>> {
        let (offset, rest) = batmap.strip_prefix(b"tdbatmap")?.split_first_chunk()?;
        let sectors = u32::from_be_bytes(*rest.first_chunk()?);
        let offset = u64::from_be_bytes(*offset);
        Some(offset..offset.checked_add(u64::from(sectors) * SECTOR)?)
    }

    /// The disk's size in bytes.
    pub fn virtual_size(&self) -> u64 {
        self.footer.current_size
    }

    /// Oddities that do not stand in the way of reading.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// [`Warning::Future`] if its time of creation is more than half an hour ahead of `now`, which `vhd-util check` takes for
    /// damage. No clock is read here.
    pub fn future(&self, now: Timestamp) -> Option<Warning> {
        let ahead = self.footer.timestamp.0.checked_sub(now.0)?;
        (ahead > CLOCK_SLACK).then_some(Warning::Future(ahead))
    }

    /// Number of blocks in the file; 0 for a fixed disk.
    pub fn allocated_blocks(&self) -> u32 {
        self.dynamic.as_ref().map_or(0, |dynamic| dynamic.allocated)
    }

    /// The blocks in the file, in the order of the disk; none for a fixed disk. `read_at` is what [`DiskMap::read`] had.
    ///
    /// # Errors
    /// For each block as [`DiskMap::place`]; it is the last answer then.
    pub fn blocks<E>(
        &self,
        mut read_at: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> impl Iterator<Item = Result<BlockPlace, ReadError<E>>> {
        let (mut from, mut window) = (Some(0), Window::default());
        std::iter::from_fn(move || {
            let dynamic = self.dynamic.as_ref()?;
            let next = dynamic.table.next_allocated(from?)?;
            let found = dynamic.block(next, &mut window, &mut read_at);
            from = found.is_ok().then_some(next + 1);
            found.transpose()
        })
    }

    /// The bytes of the disk that the blocks in the file stand for, ascending; none for a fixed disk. Neighbours may come
    /// one by one. What the bitmaps say is not considered.
    pub fn allocated(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.dynamic.iter().flat_map(|dynamic| dynamic.table.extents(dynamic.shape))
    }

    /// Where the last block ends in the file, or the table or a parent locator if that lies behind; where the data of a
    /// fixed disk end. Metadata of others may lie behind.
    pub fn data_end(&self) -> u64 {
        self.dynamic.as_ref().map_or(self.virtual_size(), |dynamic| dynamic.data_end)
    }

    /// Where the byte `virtual_offset` of the disk is, and how much follows it there; `None` behind the end of the disk.
    ///
    /// Nothing is read but for a table that is too much in disorder to be in memory ([`Limits::runs`]): a window of 16 KiB of
    /// it with `read_at`, which is what [`DiskMap::read`] had, if it is not the one that is kept.
    ///
    /// # Errors
    /// [`ReadError::Io`] when `read_at` fails, and [`Error::TableChanged`] when the table is another one than when the map was
    /// made.
    pub fn place<E>(
        &self,
        virtual_offset: u64,
        window: &mut Window,
        read_at: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Option<Place>, ReadError<E>> {
        let Some(left) = self.virtual_size().checked_sub(virtual_offset).filter(|left| *left > 0) else {
            return Ok(None);
        };
        let Some(dynamic) = &self.dynamic else {
            return Ok(Some(Place::File { offset: virtual_offset, len: left }));
        };
        // Inside of the disk, whose blocks are counted in 32 bits.
        let number = u32::try_from(virtual_offset / u64::from(dynamic.shape.block_size)).unwrap_or(u32::MAX);
        if let Some(block) = dynamic.block(number, window, read_at)? {
            return Ok(Some(Place::Block(block)));
        }
        let end = dynamic.table.next_allocated(number).map_or(u64::MAX, |next| dynamic.start(next));
        Ok(Some(Place::Unallocated { len: end.min(self.virtual_size()) - virtual_offset }))
    }

    /// The allocated blocks as a set of `piece_size` pieces of the disk: everything for a fixed
    /// disk. What the bitmaps say is not considered.
    pub fn allocation(&self, piece_size: u32) -> BlockSet {
        let mut set = BlockSet::new(self.virtual_size(), piece_size);
        if self.dynamic.is_none() {
            set.insert_bytes(0..self.virtual_size());
        }
        self.allocated().for_each(|bytes| set.insert_bytes(bytes));
        set
    }
}

impl Dynamic {
    fn start(&self, block: u32) -> u64 {
        u64::from(block) * u64::from(self.shape.block_size)
    }

    fn block<E>(
        &self,
        block: u32,
        window: &mut Window,
        read_at: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<Option<BlockPlace>, ReadError<E>> {
        // A block has at most 256 MiB and its bitmap.
        let step = u32::try_from(self.shape.block_len() / SECTOR).unwrap_or(u32::MAX);
        let Some(sector) = self.table.sector(block, step, window, read_at)? else { return Ok(None) };
        let start = self.start(block);
        let bitmap_offset = u64::from(sector) * SECTOR;
        Ok(Some(BlockPlace {
            block,
            bytes: start..self.shape.virtual_size.min(start + u64::from(self.shape.block_size)),
            bitmap_offset,
            bitmap_len: self.shape.bitmap_len,
            data_offset: bitmap_offset + u64::from(self.shape.bitmap_len),
        }))
    }
}

/// How wrong clocks may be, in seconds.
pub(crate) const CLOCK_SLACK: u32 = 1800;

fn footer_warnings(footer: &Footer, warnings: &mut Vec<Warning>) {
    let mut warn = |odd: bool, warning| {
        if odd {
            warnings.push(warning);
        }
    };
    warn(footer.features & 2 == 0, Warning::Features(footer.features));
    warn(footer.stray_bytes, Warning::StrayBytes(Structure::EndFooter));
    warn(footer.uuid.is_nil(), Warning::NullUuid);
    warn(footer.hidden != 0, Warning::Hidden(footer.hidden));
    warn(footer.saved_state != 0, Warning::SavedState);
    let Creator { application, version, .. } = footer.creator;
    let [a, b, c, d] = version.to_be_bytes();
    let (major, minor) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    warn(application == *b"tap\0" && (major, minor) > (1, 3), Warning::CreatorVersion { major, minor });
    warn(!footer.current_size.is_multiple_of(SECTOR), Warning::UnevenSize(footer.current_size));
}

fn header_warnings(header: &DynamicHeader, warnings: &mut Vec<Warning>) {
    if header.next_offset != u64::MAX {
        warnings.push(Warning::HeaderLink(header.next_offset));
    }
    if header.stray_bytes {
        warnings.push(Warning::StrayBytes(Structure::Header));
    }
}
