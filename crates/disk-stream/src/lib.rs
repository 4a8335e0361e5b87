//! Disk images as HTTP bodies of exact length, and back.
//!
//! [`vhd`] decides, this crate moves bytes: nothing of the API is known here, only files, block
//! devices and [`http_body::Body`].
//!
//! ```
//! use disk_stream::{Declared, Image, Upload};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let files = tempfile::tempdir()?;
//! # let disk = files.path().join("disk.img");
//! # std::fs::write(&disk, vec![1; 4 << 20])?;
//! let image = Image::open(&disk, Declared::Raw).await?;
//! let body = image.vhd_body(Upload::default()).await?;
//! println!("{} bytes for a disk of {}", body.stream_len(), body.virtual_size());
//! // client.import(vdi, body)
//! # Ok(()) }
//! ```
//!
//! * [`Image`] is a raw disk, a qcow2 image, a VHD or a chain of VHDs, in files, on block devices or in a
//!   tar archive; it becomes a [`DiskBody`] by
//!   [`Image::vhd_body`], [`Image::fixed_vhd_body`], [`Image::raw_body`], [`Image::qcow2_body`], [`Image::chunked_body`] or
//!   [`Image::tar_body`]; what it has and another has not, by [`Image::difference_body`].
//! * [`BlockSource`] is what it takes to read another format: [`Image::of_source`].
//! * [`Image::save_vhd`], [`Image::save_raw`], [`Image::save_qcow2`] and [`Image::save_difference`] write files.
//! * [`Packed`] is a disk in a stream that is compressed, an archive of layers, or both; it becomes a
//!   [`ChunkedBody`] or a raw file while it arrives. [`PackBody`] is the other direction.
//! * [`Identified`] gives the VHDs that a host exports uuids and parents of one's own choice.
//! * [`receive`] gives a body to a [`VhdSink`], a [`RawSink`] (files that appear complete or not at
//!   all; devices that are marked until they are complete), a [`Recode`] (a canonical VHD while it passes),
//!   a [`Flatten`] (a raw disk or a fixed VHD) or a [`Verifier`] (is it the image that was sent?); [`Digesting`] computes its digest on the way.
//! * [`coalesce()`], [`coalesce_and_remove`], [`apply`] and [`relink`] work on chains in place, and survive being killed.
//! * [`UploadJournal`] sends a disk in several transfers, and after a break only what is missing.
//!
//! Memory does not depend on what a disk holds: a stream needs one bit for each 2 MiB of the disk
//! (128 KiB for 2 TiB), and at most five pieces of 1 MiB. Of the table of a VHD in a file, the runs of blocks that follow
//! each other on the disk and in the file are kept, 12 bytes each, if there are at most 32,768 ([`vhd::Limits::runs`]); a
//! table with more stays in its file: 128 KiB say which blocks are there, and 16 KiB of the table are read where one is
//! asked for. Of a VHD that arrives, and cannot be read again, all runs are kept.
//!
//! What it does not do: speak to a host, or decide what a format is.

mod archive;
mod body;
mod chunked;
mod coalesce;
mod convert;
mod copy;
mod difference;
mod digest;
mod draft;
mod error;
mod family;
mod flatten;
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod image;
mod incoming;
mod journal;
mod layer;
mod parents;
mod pipe;
mod pool;
mod produce;
mod progress;
mod reader;
mod receive;
mod recode;
mod relink;
mod repair;
mod scan;
mod single;
mod sink;
mod source;
mod spool;
mod sums;
mod tar;
mod target;
mod unpack;
mod upload;
mod verify;

pub use body::DiskBody;
pub use chunked::ChunkedError;
pub use coalesce::{Coalesced, coalesce, coalesce_and_remove};
pub use digest::{Digesting, StreamDigest};
pub use error::Error;
pub use family::children_of;
pub use flatten::{Arriving, Flat, Flatten};
pub use identity::{Identified, Identity};
pub use image::{Bitmaps, Declared, Format, Image, Opening};
pub use journal::{BegunUpload, Receipt, UploadJournal};
pub use layer::{DiskFile, Layer};
pub use parents::Parents;
pub use pipe::enlarge_pipe;
pub use progress::{Progress, Snapshot, Stage};
pub use reader::Reader;
pub use receive::{Consume, receive};
pub use recode::Recode;
pub use relink::{apply, relink};
pub use repair::{Inspected, Repaired, inspect, inspect_with};
pub use scan::{Zeros, scan};
pub use sink::{RawSink, Saved, VhdSink};
pub use source::{BlockSource, Extent, Memo};
pub use spool::{Preview, Reading, Spool};
pub use sums::{SumSink, Sums};
pub use tar::{TarChecksum, TarError, is_archive};
pub use target::Existing;
pub use unpack::{
    ChunkedBody, Compression, Found, PackBody, Package, Packed, Packing, Problem, Rest, Unpack, Unpacked,
    is_packed,
};
pub use upload::Upload;
pub use verify::{Verified, Verifier};
