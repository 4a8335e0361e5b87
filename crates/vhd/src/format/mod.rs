//! The fixed-size structures of the format, as values (VHD specification, "Hard Disk Footer
//! Format" and "Dynamic Disk Header Format"). Everything on disk is big-endian, a sector has 512
//! bytes.

mod checksum;
mod footer;
mod geometry;
mod header;
mod locator;
mod time;

pub(crate) use footer::footer_sum;
pub use footer::{Creator, DiskType, FOOTER_LEN, Footer};
pub use geometry::Geometry;
pub use header::{DynamicHeader, HEADER_LEN};
pub use locator::{ParentLocator, ParentPath, Platform};
pub use time::Timestamp;

/// Bytes in a sector.
pub const SECTOR: u64 = 512;

/// The block size everybody uses and the only one that works in XenServer: 2 MiB.
pub const BLOCK_SIZE: u32 = 2 << 20;

/// An entry of the block allocation table that means "not allocated".
pub const UNALLOCATED: u32 = u32::MAX;

/// The largest disk that XAPI, SM, Hyper-V and QEMU handle as a VHD: 2040 GiB, in bytes.
pub const MAX_VIRTUAL_SIZE: u64 = 2040 << 30;

/// Rounds a disk's size up to whole 2 MiB blocks, as a XenServer VDI is sized.
///
/// `None` when the result would not fit 64 bits.
pub fn round_up_to_block(size: u64) -> Option<u64> {
    size.checked_next_multiple_of(u64::from(BLOCK_SIZE))
}

/// Length in bytes of the sector bitmap in front of each block: one bit a sector, padded to 512.
pub fn bitmap_len(block_size: u32) -> u32 {
    (block_size / 4096).next_multiple_of(512).max(512)
}
