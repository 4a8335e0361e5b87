//! Finding a disk's bytes in a file that can be read at any place.

use std::ops::Range;

use crate::blocks::BlockSet;
use crate::error::{Error, Structure};
use crate::format::{DiskType, DynamicHeader, FOOTER_LEN, Footer, HEADER_LEN, SECTOR, UNALLOCATED};
use crate::limits::Limits;
use crate::parse::check_fixed;
use crate::probe::end_footer;
use crate::table::{self, Placed, Shape};

/// Where the bytes of a disk are: footer, header and table of a VHD file, checked as a whole.
///
/// Memory: eight bytes for each block in the file, at most four for each block of the disk (4 MiB
/// for 2 TiB); up to 16 for each block of the disk while it is made.
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
}

/// The block allocation table in whichever form is smaller.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Table {
    /// As in the file: what is looked up is decoded then.
    Dense(Vec<u8>),
    /// Only what is allocated, by block. Chains have many layers with few blocks each.
    Sparse(Vec<Placed>),
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

/// Whether a file must end with its footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EndFooterPolicy {
    /// It must; what a broken-off copy or a running writer leaves is refused. blktap overwrites
    /// the end footer with `0xC7` while it has the file open.
    #[default]
    Required,
    /// The copy at the start is enough.
    FrontSuffices,
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

/// Entries looked at for one answer, so that many answers about a large gap stay cheap.
const LOOK_AHEAD: u32 = 4096;

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
        let Some(end_at) = len.checked_sub(FOOTER_LEN as u64) else {
            let missing = FOOTER_LEN as u64 - len;
            return Err(Error::Truncated { what: Structure::EndFooter, at: len, missing }.into());
        };
        let (mut front, mut last) = ([0; FOOTER_LEN], [0; FOOTER_LEN]);
        read(end_at, &mut last)?;
        read(0, &mut front)?;
        let mut warnings = Vec::new();
        let (footer, end) = choose_footer(&front, &last, len, &mut warnings)?;
        footer_warnings(&footer, &mut warnings);
        if footer.disk_type == DiskType::Fixed {
            check_fixed(&footer, end.map_or(len, |end| end + FOOTER_LEN as u64), limits)?;
            return Ok(Self { footer, dynamic: None, warnings });
        }
        table::check_footer(&footer, limits)?;

        let within = |what, structure_end: u64, otherwise: Error| match structure_end.checked_sub(len) {
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

        let mut table = vec![0; shape.blocks as usize * 4];
        read(offset, &mut table)?;
        let placed = table::place(&table, &footer, &header, &shape, end)?;
        if end.is_none() {
            let metadata_end = (header.table_offset + header.table_len()).min(len);
            let blocks_end =
                placed.last().map_or(metadata_end, |last: Placed| last.offset() + shape.block_len());
            missing_end(blocks_end, len, &footer, policy, &mut read)?;
            warnings.push(Warning::EndFooterMissing);
        }
        let allocated = u32::try_from(placed.len()).unwrap_or(u32::MAX);
        let table = if allocated < shape.blocks / 2 {
            let mut placed: Vec<Placed> = placed.iter().collect();
            placed.sort_unstable_by_key(|placed| placed.block);
            Table::Sparse(placed)
        } else {
            Table::Dense(table)
        };
        Ok(Self { footer, dynamic: Some(Dynamic { header, shape, table, allocated }), warnings })
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

    /// The disk's size in bytes.
    pub fn virtual_size(&self) -> u64 {
        self.footer.current_size
    }

    /// Oddities that do not stand in the way of reading.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Number of blocks in the file; 0 for a fixed disk.
    pub fn allocated_blocks(&self) -> u32 {
        self.dynamic.as_ref().map_or(0, |dynamic| dynamic.allocated)
    }

    /// The blocks in the file, in the order of the disk; none for a fixed disk.
    pub fn blocks(&self) -> impl Iterator<Item = BlockPlace> + '_ {
        self.dynamic.iter().flat_map(|dynamic| {
            let mut from = 0;
            std::iter::from_fn(move || {
                let next = dynamic.next_allocated(from, u32::MAX)?;
                from = next + 1;
                dynamic.block(next)
            })
        })
    }

    /// Where the last block ends in the file, or the table when there is no block; where the data of a
    /// fixed disk end. Locators and other metadata may lie behind.
    pub fn data_end(&self) -> u64 {
        let Some(dynamic) = &self.dynamic else { return self.virtual_size() };
        let table_end = dynamic.header.table_offset + dynamic.header.table_len();
        let block_size = u64::from(dynamic.shape.block_size);
        self.blocks().map(|block| block.data_offset + block_size).fold(table_end, u64::max)
    }

    /// Where the byte `virtual_offset` of the disk is, and how much follows it there.
    ///
    /// `None` behind the end of the disk.
    pub fn place(&self, virtual_offset: u64) -> Option<Place> {
        let left = self.virtual_size().checked_sub(virtual_offset).filter(|left| *left > 0)?;
        let Some(dynamic) = &self.dynamic else {
            return Some(Place::File { offset: virtual_offset, len: left });
        };
        let number = virtual_offset / u64::from(dynamic.shape.block_size);
        // Inside of the disk, whose blocks are counted in 32 bits.
        let number = u32::try_from(number).ok()?;
        if let Some(block) = dynamic.block(number) {
            return Some(Place::Block(block));
        }
        let last = dynamic.shape.blocks.min(number.saturating_add(LOOK_AHEAD));
        let next = dynamic.next_allocated(number + 1, last);
        let end = dynamic.start(next.unwrap_or(last)).min(self.virtual_size());
        Some(Place::Unallocated { len: end - virtual_offset })
    }

    /// The allocated blocks as a set of `piece_size` pieces of the disk: everything for a fixed
    /// disk. What the bitmaps say is not considered.
    pub fn allocation(&self, piece_size: u32) -> BlockSet {
        let mut set = BlockSet::new(self.virtual_size(), piece_size);
        if self.dynamic.is_none() {
            set.insert_bytes(0..self.virtual_size());
        }
        self.blocks().for_each(|block| set.insert_bytes(block.bytes));
        set
    }
}

impl Dynamic {
    fn entry(&self, block: u32) -> u32 {
        match &self.table {
            Table::Dense(table) => {
                let entry = table.as_chunks::<4>().0.get(block as usize);
                entry.map_or(UNALLOCATED, |entry| u32::from_be_bytes(*entry))
            }
            Table::Sparse(placed) => placed
                .binary_search_by_key(&block, |placed| placed.block)
                .map_or(UNALLOCATED, |at| placed[at].sector),
        }
    }

    /// The first allocated block from `from` on and before `end`.
    fn next_allocated(&self, from: u32, end: u32) -> Option<u32> {
        let end = end.min(self.shape.blocks);
        match &self.table {
            Table::Dense(_) => (from..end).find(|block| self.entry(*block) != UNALLOCATED),
            Table::Sparse(placed) => {
                let at = placed.partition_point(|placed| placed.block < from);
                placed.get(at).map(|placed| placed.block).filter(|block| *block < end)
            }
        }
    }

    fn start(&self, block: u32) -> u64 {
        u64::from(block) * u64::from(self.shape.block_size)
    }

    fn block(&self, block: u32) -> Option<BlockPlace> {
        let sector = Some(self.entry(block)).filter(|sector| *sector != UNALLOCATED)?;
        let start = self.start(block);
        let bitmap_offset = u64::from(sector) * SECTOR;
        Some(BlockPlace {
            block,
            bytes: start..self.shape.virtual_size.min(start + u64::from(self.shape.block_size)),
            bitmap_offset,
            bitmap_len: self.shape.bitmap_len,
            data_offset: bitmap_offset + u64::from(self.shape.bitmap_len),
        })
    }
}

/// The footer to trust, and where the end footer starts if there is one.
fn choose_footer(
    front: &[u8; FOOTER_LEN],
    last: &[u8; FOOTER_LEN],
    len: u64,
    warnings: &mut Vec<Warning>,
) -> Result<(Footer, Option<u64>), Error> {
    let end_at = len - FOOTER_LEN as u64;
    let front_has_cookie = Footer::has_cookie(front);
    let front = Footer::parse(front, 0, Structure::FrontFooter);
    let short = !Footer::has_cookie(last) && Footer::has_cookie(&last[1..]) && len % 512 == 511;
    match (end_footer(last, len), front) {
        // One sector alone is the copy at the start of a disk that was cut behind it.
        (Ok(only), Ok(_)) if end_at == 0 && only.disk_type != DiskType::Fixed => Ok((only, None)),
        (Ok(end), front) => {
            if short {
                warnings.push(Warning::ShortEndFooter);
            }
            match front {
                // The first sector of a fixed disk belongs to whoever writes the disk. A footer
                // of another type there is either a damaged file or an attempt to be misread.
                Ok(front) if end.disk_type == DiskType::Fixed && front.disk_type == DiskType::Fixed => {}
                Err(_) if end.disk_type == DiskType::Fixed => {}
                Ok(front) => {
                    if let Some(field) = front.difference(&end) {
                        return Err(Error::FooterMismatch { field });
                    }
                }
                Err(Error::Poisoned { at }) => return Err(Error::Poisoned { at }),
                Err(_) => warnings.push(Warning::FrontFooterDamaged),
            }
            Ok((end, Some(end_at + u64::from(short))))
        }
        (Err(Error::Poisoned { at }), _) => Err(Error::Poisoned { at }),
        (Err(_), Ok(front)) if front.disk_type == DiskType::Fixed => Err(Error::FrontFooterFixed),
        (Err(Error::NotVhd { .. }), Ok(front)) => Ok((front, None)),
        (Err(_), Ok(front)) => {
            warnings.push(Warning::EndFooterDamaged);
            Ok((front, Some(end_at)))
        }
        (Err(_), Err(front)) if front_has_cookie => Err(front),
        (Err(end), Err(front)) => Err(if matches!(end, Error::NotVhd { .. }) { front } else { end }),
    }
}

/// Says why there is no end footer, or that none is needed.
fn missing_end<E>(
    blocks_end: u64,
    len: u64,
    footer: &Footer,
    policy: EndFooterPolicy,
    read: &mut impl FnMut(u64, &mut [u8]) -> Result<(), ReadError<E>>,
) -> Result<(), ReadError<E>> {
    let whole = blocks_end + FOOTER_LEN as u64;
    if blocks_end > len {
        return Err(Error::Truncated { what: Structure::Data, at: len, missing: whole - len }.into());
    }
    let mut sector = [0; FOOTER_LEN];
    // Less than a sector is left when the footer itself is cut.
    let left = usize::try_from(len - blocks_end).unwrap_or(usize::MAX).min(FOOTER_LEN);
    read(blocks_end, &mut sector[..left])?;
    if left > 0 && left < FOOTER_LEN && footer.to_bytes()[..left.min(8)] == sector[..left.min(8)] {
        return Err(Error::Truncated { what: Structure::EndFooter, at: len, missing: whole - len }.into());
    }
    if Footer::parse(&sector, blocks_end, Structure::EndFooter)
        .is_ok_and(|end| end.difference(footer).is_none())
    {
        return Err(Error::TrailingData { at: whole, len: len - whole }.into());
    }
    match policy {
        EndFooterPolicy::Required => Err(Error::MissingEndFooter { at: len }.into()),
        EndFooterPolicy::FrontSuffices => Ok(()),
    }
}

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
