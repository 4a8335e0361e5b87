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
    /// Most unused bytes in a stream, 64 MiB by default; 1/64 of the bytes read comes on top,
    /// which covers blktap's page alignment. A map of a file needs no such limit: it skips.
    pub stream_gap: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { virtual_size: MAX_VIRTUAL_SIZE, table_entries: 4 << 20, stream_gap: 64 << 20 }
    }
}
