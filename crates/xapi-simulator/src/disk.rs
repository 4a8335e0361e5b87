//! The contents of VDIs as sparse files.
//!
//! A [`Store`] is a directory that holds the disks of one SR, a raw sparse file and a small map
//! for each. Disks share unchanged blocks with hidden parents the way VHD chains do:
//!
//! ```text
//!   before a snapshot:   leaf L ──► (parent of L)
//!   after:               leaf L ─┐                    L keeps its uuid and is empty,
//!                                ├─► base B ──► …      B has the data that L had,
//!                     snapshot S ─┘                    S is empty
//! ```
//!
//! A disk without a parent is a plain raw image under its uuid, readable by any tool.

mod layer;
mod map;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use layer::{BLOCK, Disk};
pub(crate) use map::BlockMap;
pub(crate) use store::{DiskInfo, Overrun, Store};

use uuid::Uuid;

/// Why an operation on a store or a disk failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    /// No disk of that uuid.
    #[error("there is no disk {0}")]
    Missing(Uuid),
    /// A disk of that uuid exists.
    #[error("disk {0} exists already")]
    Exists(Uuid),
    /// Other disks are built on this one.
    #[error("disk {0} is the parent of another disk")]
    HasChildren(Uuid),
    /// Disks never shrink.
    #[error("disk {uuid} has {from} bytes and cannot shrink to {to}")]
    Shrinking {
        /// The disk.
        uuid: Uuid,
        /// Its size.
        from: u64,
        /// The size asked for.
        to: u64,
    },
    /// Access behind the end of the disk.
    #[error("{len} bytes at {offset} reach behind the end of disk {uuid}")]
    OutOfRange {
        /// The disk.
        uuid: Uuid,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
    /// The store's space is used up.
    #[error("no space is left for another block of disk {0}")]
    Full(Uuid),
    /// A map file that is not one.
    #[error("{0} is not a disk map: {1}")]
    BadMap(std::path::PathBuf, &'static str),
    /// The file system under the store.
    #[error("{0}: {1}")]
    Io(std::path::PathBuf, #[source] std::io::Error),
}
