//! What can be wrong with a VHD, exactly where.

use std::fmt;

/// Why bytes are not an acceptable VHD, or why a VHD cannot be laid out as asked.
///
/// Offsets are bytes from the start of the file or stream. Values compare, so that a test or a
/// caller can tell one malformation from another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// blktap's key hash is set: the data can be read with the key only.
    #[error("the data are encrypted, as the batmap at byte {at} says; export the disk from its host instead")]
    Encrypted {
        /// Where the batmap is, in bytes.
        at: u64,
    },
    /// The bytes end too early.
    #[error("truncated: the data end at byte {at}, inside the {what}, {missing} bytes too early")]
    Truncated {
        /// What was being read.
        what: Structure,
        /// Where the data end.
        at: u64,
        /// How many bytes are missing at least.
        missing: u64,
    },
    /// There is no footer where one must be.
    #[error("not a VHD: byte {at} holds \"{}\" instead of the cookie \"conectix\"", found.escape_ascii())]
    NotVhd {
        /// Where the footer was expected.
        at: u64,
        /// What is there.
        found: [u8; 8],
    },
    /// The cookie is `v_poison`: blktap's mark of a journaled operation in flight.
    #[error(
        "the VHD is disabled (cookie \"v_poison\" at byte {at}): an interrupted operation must be finished by its host first"
    )]
    Poisoned {
        /// Where the footer is.
        at: u64,
    },
    /// A checksum is wrong.
    #[error("the checksum of the {what} at byte {at} is {stored:#010x}, its bytes sum to {computed:#010x}")]
    Checksum {
        /// Which structure.
        what: Structure,
        /// Where it starts.
        at: u64,
        /// The checksum it carries.
        stored: u32,
        /// The checksum of its bytes.
        computed: u32,
    },
    /// A format version that is not 1.0.
    #[error("the {what} at byte {at} has version {found:#010x}, only 1.0 (0x00010000) is known")]
    Version {
        /// Which structure.
        what: Structure,
        /// Where it starts.
        at: u64,
        /// Its version.
        found: u32,
    },
    /// A disk type other than fixed (2), dynamic (3) and differencing (4).
    #[error(
        "the footer at byte {at} has disk type {found}, known are 2 (fixed), 3 (dynamic) and 4 (differencing)"
    )]
    DiskType {
        /// Where the footer starts.
        at: u64,
        /// The type's number.
        found: u32,
    },
    /// The two footers are both valid and say different things.
    #[error("the footers at the start and at the end disagree about the {field}")]
    FooterMismatch {
        /// The first field that differs.
        field: &'static str,
    },
    /// A fixed disk whose size does not fit its file.
    #[error("a fixed disk of {virtual_size} bytes makes a file of {} bytes, this one has {file_len}", virtual_size.saturating_add(512))]
    FixedSize {
        /// The disk's size according to the footer, in bytes.
        virtual_size: u64,
        /// The length of the file, in bytes.
        file_len: u64,
    },
    /// A dynamic disk starts with a footer that says it is a fixed one.
    #[error("the first sector is the footer of a fixed disk; a fixed disk has its only footer at the end")]
    FrontFooterFixed,
    /// blktap 0.1 and older: the bits of its bitmaps stand in another order, so that its sectors would be taken for others.
    #[error(
        "it was written by blktap {major}.{minor}, whose bitmaps are in another byte order and which blktap itself refuses: \
         take another copy of the disk"
    )]
    OldBlktap {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// A disk of no bytes.
    #[error("the disk has a size of 0 bytes")]
    EmptyDisk,
    /// A disk larger than allowed.
    #[error("the disk has {virtual_size} bytes, the limit is {limit}")]
    TooLarge {
        /// The disk's size in bytes.
        virtual_size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The footer points to a dynamic header that cannot be there.
    #[error("the dynamic header cannot be at byte {offset}")]
    HeaderOffset {
        /// The offset in the footer.
        offset: u64,
    },
    /// No dynamic header where the footer points.
    #[error("byte {at} holds \"{}\" instead of the dynamic header's cookie \"cxsparse\"", found.escape_ascii())]
    HeaderCookie {
        /// Where the header was expected.
        at: u64,
        /// What is there.
        found: [u8; 8],
    },
    /// A block size that is not a power of two from 4 KiB to 256 MiB.
    #[error("the block size is {found} bytes; it must be a power of two from 4 KiB to 256 MiB")]
    BlockSize {
        /// The block size in bytes.
        found: u32,
    },
    /// The header points to a block allocation table that cannot be there.
    #[error("the block allocation table ({entries} entries) cannot be at byte {offset}")]
    TableOffset {
        /// The offset in the header.
        offset: u64,
        /// The number of entries in the header.
        entries: u32,
    },
    /// The table does not cover the disk.
    #[error("the block allocation table has {entries} entries, the disk needs {needed}")]
    TableTooSmall {
        /// The number of entries in the header.
        entries: u32,
        /// The number of blocks of the disk.
        needed: u64,
    },
    /// The table is larger than what the caller allows to be held in memory.
    #[error("the block allocation table has {entries} entries, the limit is {limit}")]
    TableTooLarge {
        /// The number of entries in the header.
        entries: u32,
        /// The limit in entries.
        limit: u32,
    },
    /// A block that lies in metadata or past the end.
    #[error(
        "block {block} is said to be at byte {offset}, outside of the room for blocks ({first} to {end})"
    )]
    BlockBounds {
        /// The block's number on the virtual disk.
        block: u32,
        /// Where the table puts it.
        offset: u64,
        /// The first byte that may belong to a block.
        first: u64,
        /// The byte behind the last that may.
        end: u64,
    },
    /// A block that shares bytes with another block or with metadata.
    #[error("block {block} at byte {offset} overlaps {other}")]
    BlockOverlap {
        /// The block's number on the virtual disk.
        block: u32,
        /// Where the table puts it.
        offset: u64,
        /// What it overlaps.
        other: Neighbour,
    },
    /// The table is not the one that was checked when the VHD was opened.
    #[error(
        "the block allocation table at byte {at} has changed since the VHD was opened: somebody writes to it"
    )]
    TableChanged {
        /// Where the part of it that has changed begins.
        at: u64,
    },
    /// A stream would have to be read backwards.
    #[error(
        "cannot be read as a stream: the {what} at byte {offset} lies before byte {position}, which was already passed"
    )]
    NotForward {
        /// Which structure.
        what: Structure,
        /// Where it is.
        offset: u64,
        /// How far the stream has been read when it is needed.
        position: u64,
    },
    /// A stream with more unused bytes than allowed.
    #[error("{len} unused bytes up to the {before} at byte {offset}, the limit for the stream is {limit}")]
    GapTooLong {
        /// What follows the unused bytes.
        before: Structure,
        /// Where that is.
        offset: u64,
        /// How many bytes of the stream would be unused by then.
        len: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The blocks are all there, the footer behind them is not.
    #[error("there is no footer at the end (byte {at})")]
    MissingEndFooter {
        /// Where the data end.
        at: u64,
    },
    /// Bytes behind the footer.
    #[error("{len} bytes follow the footer that ends at byte {at}")]
    TrailingData {
        /// Where the VHD ends.
        at: u64,
        /// How many bytes are too many (at least).
        len: u64,
    },
    /// Data that the bitmap says are not there: nobody can tell which of both is true.
    #[error("block {block} has data at byte {at} of which its bitmap says that they are not there")]
    AbsentData {
        /// The block's number on the virtual disk.
        block: u32,
        /// Where the first sector with such data is, in bytes.
        at: u64,
    },
    /// A differencing disk that names no parent.
    #[error("a differencing disk that names no parent: no uuid, no name, no locator")]
    NoParent,
    /// A parent that cannot be named in a VHD.
    #[error("{path:?} cannot be named as a parent: {why}")]
    ParentPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Allocated data behind the end of the disk.
    #[error("bytes {start} to {end} are said to be allocated, the disk ends at {virtual_size}")]
    ExtentBeyondDisk {
        /// First byte of the extent.
        start: u64,
        /// The byte behind its last.
        end: u64,
        /// The disk's size in bytes.
        virtual_size: u64,
    },
}

/// A part of a VHD, as errors name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Structure {
    /// The copy of the footer at the start of a dynamic or differencing disk.
    FrontFooter,
    /// The footer at the end.
    EndFooter,
    /// The dynamic disk header.
    Header,
    /// The block allocation table.
    Table,
    /// The sector bitmap of a block.
    Bitmap,
    /// The data of a block or of a fixed disk.
    Data,
    /// Bytes that belong to nothing that is read.
    Gap,
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FrontFooter => "front footer",
            Self::EndFooter => "end footer",
            Self::Header => "dynamic header",
            Self::Table => "block allocation table",
            Self::Bitmap => "sector bitmap",
            Self::Data => "data",
            Self::Gap => "gap between structures",
        })
    }
}

/// What a block overlaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Neighbour {
    /// Another block, by its number.
    Block(u32),
    /// A piece of metadata.
    Structure(Structure),
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(block) => write!(f, "block {block}"),
            Self::Structure(structure) => write!(f, "the {structure}"),
        }
    }
}
