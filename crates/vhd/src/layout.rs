//! Planning a VHD: which bytes stand where, known before the first one is read.
//!
//! ```text
//! dynamic:       footer | header | (reserved) | table | { bitmap | 2 MiB } ... | footer
//! differencing:  footer | header | locators   | table | { bitmap | 2 MiB } ... | footer
//! fixed:         the disk's bytes                                              | footer
//! ```
//!
//! The dynamic layout is the one that every reader accepts: blocks ascend with the disk, follow
//! each other without gaps, and have all bits set (QEMU and Xen Orchestra never look at bitmaps,
//! XAPI writes each run of set bits by itself). Data the disk lacks inside a block are zeros.
//!
//! A differencing disk follows the same rule: a block is in it whole, sectors that equal the
//! parent's included, because readers that ignore bitmaps would take clear sectors for zeros. Its
//! locators stand before the table so that nothing lies between the table and the blocks.

use bytes::Bytes;
use uuid::Uuid;

use crate::blocks::BlockSet;
use crate::error::Error;
use crate::format::{
    BLOCK_SIZE, Creator, DiskType, DynamicHeader, FOOTER_LEN, Footer, Geometry, HEADER_LEN, MAX_VIRTUAL_SIZE,
    ParentLocator, ParentPath, Platform, SECTOR, Timestamp,
};

mod segments;

pub use segments::{Segment, Segments};

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
    pub(crate) fn creator(self) -> Creator {
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

/// The parent of a new differencing VHD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The parent's uuid; null says that the parent is a raw disk (blktap's extension).
    pub uuid: Uuid,
    /// When the parent's file was last written.
    pub timestamp: Timestamp,
    /// Where the parent is, with `/` between names: relative to the child's folder, or absolute.
    /// An absolute path tells whoever gets the file how the folders of this machine are named.
    pub path: String,
}

impl Parent {
    /// The locators for this parent and the bytes they point to, which start at byte `offset` of
    /// the file: whole sectors, in the order that blktap tries them.
    ///
    /// As blktap does, the "absolute" `W2ku` holds a relative path when only that is known. An
    /// absolute path has no `W2ru`.
    ///
    /// # Errors
    /// [`Error::ParentPath`] when the path has no file name, a name too long for the header, or
    /// characters that no path should have.
    pub fn locators(&self, offset: u64) -> Result<(Vec<ParentLocator>, Bytes), Error> {
        let wrong = |why| Error::ParentPath { path: self.path.clone(), why };
        let path = ParentPath::new(&self.path).ok_or_else(|| wrong("it names no file"))?;
        if path.file_name().encode_utf16().count() > 255 {
            return Err(wrong("the file's name has more than 255 UTF-16 units"));
        }
        let mut data = Vec::new();
        let mut locators = Vec::new();
        for platform in [Platform::MACX, Platform::W2KU, Platform::W2RU] {
            let Some(bytes) = path.encode(platform) else { continue };
            let at = offset + data.len() as u64;
            let len = u32::try_from(bytes.len()).ok().filter(|len| *len <= ParentLocator::MAX_LEN);
            let len = len.ok_or_else(|| wrong("it has more than 4096 bytes"))?;
            data.extend_from_slice(&bytes);
            data.resize(data.len().next_multiple_of(512), 0);
            locators.push(ParentLocator { platform, space: len.next_multiple_of(512), len, offset: at });
        }
        Ok((locators, data.into()))
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
    Dynamic {
        header: DynamicHeader,
        /// What stands between header and table.
        lead: Bytes,
        blocks: BlockSet,
        aligned: bool,
    },
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
        let reserved = usize::try_from(parameters.dialect.reserved()).unwrap_or_default();
        Self::sparse(footer, None, vec![0; reserved].into(), blocks)
    }

    /// Plans a differencing VHD with the 2 MiB blocks in `blocks`; all others are the parent's.
    ///
    /// # Errors
    /// As [`Layout::dynamic`], and [`Error::ParentPath`].
    pub fn differencing(parameters: &Parameters, parent: &Parent, blocks: BlockSet) -> Result<Self, Error> {
        let footer = footer(parameters, DiskType::Differencing)?;
        let (locators, data) = parent.locators((FOOTER_LEN + HEADER_LEN) as u64)?;
        Self::sparse(footer, Some((parent, locators)), data, blocks)
    }

    /// Plans a differencing VHD that names its parent as another one does, whose header is `like`: with these of its locators,
    /// each with the bytes that it points to.
    ///
    /// # Errors
    /// As [`Layout::dynamic`].
    pub fn layer(
        parameters: &Parameters,
        like: &DynamicHeader,
        locators: &[(ParentLocator, Vec<u8>)],
        blocks: BlockSet,
    ) -> Result<Self, Error> {
        let footer = footer(parameters, DiskType::Differencing)?;
        let (mut data, mut placed) = (Vec::new(), Vec::new());
        for (locator, bytes) in locators {
            let offset = (FOOTER_LEN + HEADER_LEN + data.len()) as u64;
            data.extend_from_slice(bytes);
            data.resize(data.len().next_multiple_of(512), 0);
            // A path is far shorter than 4 GiB.
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let space = len.next_multiple_of(512);
            placed.push(ParentLocator { platform: locator.platform, space, len, offset });
        }
        let mut layout = Self::sparse(footer, None, data.into(), blocks)?;
        if let Body::Dynamic { header, .. } = &mut layout.body {
            header.parent_uuid = like.parent_uuid;
            header.parent_timestamp = like.parent_timestamp;
            header.parent_name.clone_from(&like.parent_name);
            header.locators = placed;
        }
        Ok(layout)
    }

    fn sparse(
        footer: Footer,
        parent: Option<(&Parent, Vec<ParentLocator>)>,
        lead: Bytes,
        blocks: BlockSet,
    ) -> Result<Self, Error> {
        let size = footer.current_size;
        if blocks.block_size() != BLOCK_SIZE {
            return Err(Error::BlockSize { found: blocks.block_size() });
        }
        if let Some(beyond) = blocks.extents().last().filter(|last| last.end > size) {
            return Err(Error::ExtentBeyondDisk { start: beyond.start, end: beyond.end, virtual_size: size });
        }
        let table_offset = (FOOTER_LEN + HEADER_LEN + lead.len()) as u64;
        let entries = size.div_ceil(u64::from(BLOCK_SIZE));
        let entries = u32::try_from(entries).expect("2040 GiB have about a million blocks");
        let mut header = DynamicHeader::new(table_offset, entries);
        if let Some((parent, locators)) = parent {
            header.set_parent(parent, locators);
        }
        Ok(Self { footer, body: Body::Dynamic { header, lead, blocks, aligned: false } })
    }

    /// The same, with the data of each block at a multiple of 4096 bytes, as blktap places them:
    /// for files on storage with sectors of 4 KiB. Costs 3584 bytes a block. Does nothing to a
    /// fixed VHD, whose data are aligned.
    #[must_use]
    pub fn aligned(mut self) -> Self {
        if let Body::Dynamic { aligned, .. } = &mut self.body {
            *aligned = true;
        }
        self
    }

    /// The same, with blktap's mark of a disk that is only the parent of others.
    #[must_use]
    pub fn hidden(mut self, hidden: bool) -> Self {
        self.footer.hidden = u8::from(hidden);
        self
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
                Body::Dynamic { header, blocks, aligned, .. } => {
                    Placement::new(header, *aligned).end(blocks.len())
                }
            }
    }

    /// The pieces of the VHD in order; their lengths add up to [`Layout::stream_len`].
    pub fn into_segments(self) -> Segments {
        Segments::new(self)
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

/// Where blocks stand.
#[derive(Debug, Clone, Copy)]
struct Placement {
    table_end: u64,
    /// Bytes before the first block's bitmap, and before each other's.
    gaps: [u64; 2],
}

/// A block with its bitmap.
const BLOCK_LEN: u64 = BLOCK_SIZE as u64 + 512;

/// What blktap aligns data to.
const PAGE: u64 = 4096;

impl Placement {
    fn new(header: &DynamicHeader, aligned: bool) -> Self {
        let table_end = header.table_offset + header.table_len();
        let first_data = (table_end + SECTOR).next_multiple_of(PAGE);
        let gaps = if aligned { [first_data - SECTOR - table_end, PAGE - SECTOR] } else { [0, 0] };
        Self { table_end, gaps }
    }

    /// Where the bitmap of the `index`th block in the file is.
    fn bitmap(self, index: u64) -> u64 {
        self.table_end + self.gaps[0] + index * (BLOCK_LEN + self.gaps[1])
    }

    /// Where the last of so many blocks ends.
    fn end(self, blocks: u64) -> u64 {
        blocks.checked_sub(1).map_or(self.table_end, |last| self.bitmap(last) + BLOCK_LEN)
    }

    /// The gap and the bitmap of a block.
    fn lead(self, first: bool) -> Bytes {
        // Both gaps are shorter than a page.
        let gap = usize::try_from(self.gaps[usize::from(!first)]).unwrap_or_default();
        Bytes::from_static(&BITMAP_PAGE[PAGE as usize - 512 - gap..])
    }
}

/// A bitmap with all bits set at the end of a page of zeros.
static BITMAP_PAGE: [u8; PAGE as usize] = {
    let mut page = [0; PAGE as usize];
    let mut at = PAGE as usize - 512;
    while at < page.len() {
        page[at] = 0xff;
        at += 1;
    }
    page
};

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
            let mut set = BlockSet::new(size, BLOCK_SIZE);
            extents.iter().for_each(|extent| set.insert_bytes(extent.clone()));
            let layout = Layout::dynamic_from_extents(&parameters(size), extents).unwrap();
            let parent = Parent { uuid: Uuid::nil(), timestamp: Timestamp(0), path: "a/b.vhd".into() };
            for aligned in [
                layout.clone().aligned(),
                Layout::differencing(&parameters(size), &parent, set).unwrap().aligned(),
            ] {
                let len = aligned.stream_len();
                assert_eq!(aligned.into_segments().map(|s| s.len()).sum::<u64>(), len, "{size}, aligned");
            }
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
