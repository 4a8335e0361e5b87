//! How much a reader puts up with.

use crate::format::MAX_VIRTUAL_SIZE;

/// Bounds on what a VHD may claim, checked before memory is taken or bytes are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Largest virtual size in bytes; 2040 GiB by default.
    pub virtual_size: u64,
    /// Most entries of a block allocation table; 4 Mi by default (16 MiB on disk). A disk of
    /// 2040 GiB in 2 MiB blocks needs 1,044,480.
    pub table_entries: u32,
    /// Most runs of blocks that follow each other on the disk and in the file for which a [`DiskMap`](crate::DiskMap) keeps
    /// a table in memory, 32,768 by default (384 KiB). A table with more, one in disorder, is read again where it is needed.
    pub runs: u32,
    /// Most unused bytes in a stream, 64 MiB by default; 1/64 of the bytes read comes on top,
    /// which covers blktap's page alignment. A map of a file needs no such limit: it skips.
    pub stream_gap: u64,
    /// Most zeros in a file or on a device that may follow the last footer, or lie between a fixed disk and its footer,
    /// 1 GiB by default; they are read. A stream has neither.
    pub padding: u64,
    /// What stands there otherwise.
    pub surplus: Surplus,
}

/// What may stand behind the last footer of a file or device, or between a fixed disk and its footer.
///
/// The footer of a fixed disk is found behind its disk only if nothing but zeros follow it: everything else may be a part
/// of the disk, and belong to whoever writes that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Surplus {
    /// Zeros, at most [`Limits::padding`] of them.
    #[default]
    Zeros,
    /// Anything, and any length; it is not looked at.
    Anything,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            virtual_size: MAX_VIRTUAL_SIZE,
            table_entries: 4 << 20,
            runs: 32 << 10,
            stream_gap: 64 << 20,
            padding: 1 << 30,
            surplus: Surplus::Zeros,
        }
    }
}
