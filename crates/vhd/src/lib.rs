//! The VHD disk format, without IO.
//!
//! This crate decides, its callers move bytes.
//!
//! * [`Decoder`] reads a VHD from a stream, whoever wrote it, and refuses what is malformed before
//!   data are given out; [`FixedDecoder`] a fixed one of unknown length.
//! * [`DiskMap`] does the same for a file that can be read at any place, and answers where a byte
//!   of the disk is.
//! * [`Layout`] plans a new VHD from what is allocated: its exact length, then its pieces.
//! * [`mod@format`] has the structures, [`BlockSet`], [`bitmap`] and [`zero`] the tools.
//!
//! ```
//! use vhd::format::Timestamp;
//! use vhd::layout::{Dialect, Layout, Parameters, Segment};
//!
//! let parameters = Parameters {
//!     virtual_size: 64 << 20,
//!     uuid: uuid::Uuid::from_u128(1),
//!     timestamp: Timestamp::from_unix(1_700_000_000),
//!     dialect: Dialect::XenapiRs,
//! };
//! let layout = Layout::dynamic_from_extents(&parameters, [0..4096, (40 << 20)..(41 << 20)])?;
//! assert_eq!(layout.stream_len(), 1536 + 512 + 2 * ((2 << 20) + 512) + 512);
//! for segment in layout.into_segments() {
//!     match segment {
//!         Segment::Meta(bytes) => { /* send them */ }
//!         Segment::Payload { virtual_offset, len } => { /* read the disk there, send it */ }
//!         Segment::Zeros { len } => { /* send zeros */ }
//!     }
//! }
//! # Ok::<(), vhd::Error>(())
//! ```
//!
//! * [`chain`] judges whether disks are layers of each other, [`mod@coalesce`] plans how one of them is
//!   merged into its parent, [`inspect`] says what is odd about a disk and how to repair it.
//!
//! What it does not do: open a file or a socket, read a clock, or draw a random number.

pub mod bitmap;
mod blocks;
pub mod chain;
pub mod coalesce;
mod error;
pub mod format;
#[doc(hidden)]
pub mod fuzzing;
pub mod inspect;
pub mod layout;
mod limits;
mod map;
mod parse;
mod probe;
mod table;
pub mod zero;

pub use blocks::BlockSet;
pub use error::{Error, Neighbour, Structure};
pub use layout::Layout;
pub use limits::{Limits, Surplus};
pub use map::{BlockPlace, DiskMap, EndFooterPolicy, Place, ReadError, Warning, Window};
pub use parse::{Ahead, Decoder, Event, FixedDecoder, Summary};
pub use probe::{Probe, probe};
