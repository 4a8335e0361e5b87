//! Reading and writing the qcow2 disk format, without IO.
//!
//! As `vhd`, this crate decides and its callers move bytes.
//!
//! * [`Header`] is what an image says of itself. What this crate does not read (an external data file, encryption,
//!   features it does not know) is refused there, by name; a backing file is told there, and refused by all else.
//! * [`Map`] answers where a byte of the disk is, in a file that can be read at any place. Versions 2 and
//!   3, clusters of 512 bytes to 2 MiB, subclusters, clusters of zeros, clusters compressed by
//!   deflate and Zstandard.
//! * [`Decoder`] reads an image forward only, if its tables precede its data, as in what XAPI exports.
//! * [`Layout`] plans an image in that order, of a length that is known before its first byte.
//!
//! ```
//! use qcow2::{Decoder, Event, Layout, Segment};
//!
//! // An image of a disk of 1 GiB with 100 bytes at its start.
//! let layout = Layout::new(1 << 30, |from| (from < 100).then_some(from..100))?;
//! let mut image = Vec::new();
//! for segment in layout.into_segments() {
//!     match segment {
//!         Segment::Meta(bytes) => image.extend(bytes),
//!         Segment::Payload { len, .. } => image.resize(image.len() + len as usize, 7),
//!     }
//! }
//!
//! // And read as if it arrived.
//! let (mut decoder, mut rest, mut data_len) = (Decoder::default(), &image[..], 0);
//! while let Some(event) = decoder.feed(&mut rest)? {
//!     if let Event::Data { bytes, .. } = event {
//!         data_len += bytes.len();
//!     }
//! }
//! assert_eq!(data_len, 64 << 10, "one cluster");
//! assert_eq!(decoder.finish()?.virtual_size, 1 << 30);
//! # Ok::<(), qcow2::Error>(())
//! ```
//!
//! Whatever a table says is checked before it is used: a table or a cluster of data lies inside of the
//! file and outside of header and tables, and no two tables are the same. Memory is bounded by
//! [`Limits`], never by what the image claims.
//!
//! What it does not do: open a file or a socket; read internal snapshots (the disk's current content is read), bitmaps or
//! reference counts; write compressed clusters, or anything into an image that exists.

mod cluster;
mod error;
mod first;
#[doc(hidden)]
pub mod fuzzing;
mod header;
mod layout;
mod map;
mod stream;

pub use cluster::Compressed;
pub use error::{Error, ReadError};
pub use first::Window;
pub use header::{Compression, Header, MAGIC};
pub use layout::{CLUSTER, Layout, Segment, Segments};
pub use map::{Map, Piece, Table};
pub use stream::{Decoder, Event};

/// Bounds on what an image may claim, checked before memory is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest virtual size in bytes; 64 TiB by default.
    pub virtual_size: u64,
    /// Most entries of the first table; 4 Mi by default (32 MiB), which is what QEMU allows.
    pub l1_entries: u32,
    /// Most entries of a first table that a [`Map`] keeps in memory, at 16 bytes each; 256 Ki by default (4 MiB), as many as
    /// 2 TiB in clusters of 8 KiB have. One with more is read where it is asked for, and not while it arrives.
    pub kept_entries: u32,
    /// Most runs of clusters whose places a [`Decoder`] remembers; 512 Ki by default (12 MiB). A disk
    /// that is written in its own order has one run for each extent of data.
    pub runs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { virtual_size: 64 << 40, l1_entries: 4 << 20, kept_entries: 256 << 10, runs: 512 << 10 }
    }
}
