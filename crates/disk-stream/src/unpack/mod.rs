//! Packed disks, unpacked while they arrive: gzip, Zstandard, and the archives in which XenServer's images travel.
//!
//! ```text
//! bytes ─► gzip, zstd? ─► tar? ─► VHDs, raw disk ─► layers as one disk ─► chunked upload, or a file
//! ```
//!
//! Everything is read once, from front to back, and nothing is unpacked anywhere. That works for layers in whatever
//! order they come, because XAPI's `chunked` framing takes pieces in any order: a layer nearer to the root is written
//! only where none nearer to the leaf was before. Which sectors are taken is one bit for a full block of 2 MiB and 512
//! bytes for a partly filled one: 16 MiB of these in memory, further ones in an unnamed temporary file of at most
//! 512 MiB ([`std::env::temp_dir`]).

mod assembly;
mod body;
mod coverage;
mod decode;
mod inflate;
pub(crate) mod levels;
mod pack;
pub(crate) mod problem;
pub(crate) mod tar;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::image::{Declared, Format};
use crate::progress::{Progress, Stage};
use crate::sums::{Summing, Sums};
use crate::target::{Existing, Partial};
pub(crate) use crate::unpack::assembly::{Assembly, Target};
pub use crate::unpack::body::ChunkedBody;
use crate::unpack::body::{Frames, pump};
pub(crate) use crate::unpack::decode::decode;
use crate::unpack::inflate::Ahead;
pub use crate::unpack::inflate::Compression;
pub use crate::unpack::pack::{PackBody, Package};
use crate::unpack::problem::Fault;
pub use crate::unpack::problem::Problem;

/// Whether a file begins like something that [`Packed`] unpacks, and so is no disk itself. Blocking.
///
/// A raw disk's content belongs to whoever used it: not a question to ask where it is declared as raw.
///
/// # Errors
/// [`Error::Open`].
pub fn is_packed(path: &Path) -> Result<bool, Error> {
    let failed = |source| Error::Open { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Ok(false);
    }
    let from = Ahead::new(file).map_err(failed)?;
    Ok(Compression::of(from.head()).is_some() || tar::recognises(from.head()))
}

/// What is known of a packed disk beforehand.
#[derive(Debug, Clone, Default)]
pub struct Unpack {
    /// What the disk is said to be. A raw disk is never looked into: its content belongs to whoever used it.
    pub declared: Declared,
    /// In what it is said to be packed.
    pub packing: Packing,
    /// Length of the stream in bytes, where that is known.
    pub len: Option<u64>,
    /// Whether a differencing VHD may come without its parent: it is what has changed on a disk whose earlier content
    /// the target holds, and goes to [`Rest::Kept`].
    pub change: bool,
}

/// In what a disk is said to be packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Packing {
    /// Nothing is said; the content decides.
    #[default]
    Unknown,
    /// In nothing: what looks compressed is the disk itself.
    Bare,
    /// In a tar archive, which may be compressed.
    Archive,
}

/// What a stream turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// How it is compressed.
    pub compression: Option<Compression>,
    /// Whether it is an archive.
    pub archive: bool,
    /// What the disk is; of layers, what the first one is.
    pub format: Format,
    /// Its size in bytes; unknown for a compressed raw disk, and where the stream's length is.
    ///
    /// A fixed VHD that nobody declared as one shows only at its end: it is counted with its footer of 512 bytes.
    pub virtual_size: Option<u64>,
    /// Whether this is the size of the leaf. If another layer came first, the disk may be larger.
    pub leaf: bool,
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unpacked {
    /// What it was.
    pub found: Found,
    /// How many layers it had.
    pub layers: usize,
}

/// What a target holds where nothing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Zeros, so that those of the disk are left out.
    Zeros,
    /// Anything: every byte of the disk is written.
    Anything,
    /// What stays: all that comes is written, zeros too, and nothing else.
    Kept,
}

/// A packed disk whose beginning was read.
///
/// Dropping it ends the transfer.
#[derive(Debug)]
pub struct Packed {
    found: Found,
    order: oneshot::Sender<Order>,
    work: Work,
    sums: Option<Sums>,
}

/// What becomes of the disk.
#[derive(Debug)]
struct Order {
    target: Box<dyn Target>,
    size: u64,
    rest: Rest,
}

/// The work of reading and decoding; it ends when this is dropped.
#[derive(Debug)]
struct Work(JoinHandle<Result<Unpacked, Error>>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Work {
    async fn end(&mut self) -> Result<Unpacked, Error> {
        (&mut self.0).await.unwrap_or(Err(Error::Interrupted))
    }
}

impl Packed {
    /// Reads as much of `body` as it takes to know what it is.
    ///
    /// # Errors
    /// [`Error::Packed`] if it cannot be used, [`Error::Body`] if the body fails.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn open<B>(body: B, options: Unpack) -> Result<Self, Error>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (tell, told) = oneshot::channel();
        let (order, orders) = oneshot::channel::<Order>();
        let mut talk = Some((tell, orders));
        let mut work = Work(tokio::spawn(pump(body, move |from| {
            let mut begin = |found| {
                // Asked for once; nobody who listens is nobody who wants the disk.
                let (tell, orders) = talk.take().ok_or(Error::Interrupted)?;
                let _ = tell.send(found);
                let Order { target, size, rest } = orders.blocking_recv().map_err(|_| Error::Interrupted)?;
                Ok(Assembly::new(target, size, rest))
            };
            decode(from, &options, &mut begin).map_err(Fault::into_error)
        })));
        match told.await {
            Ok(found) => Ok(Self { found, order, work, sums: None }),
            // It ended before there was a disk.
            Err(_) => Err(work.end().await.err().unwrap_or(Error::Interrupted)),
        }
    }

    /// What it is.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Has what is written added up, so that it can be compared with what is read back.
    #[must_use]
    pub fn summed(self, sums: &Sums) -> Self {
        Self { sums: Some(sums.clone()), ..self }
    }

    /// The disk in XAPI's `chunked` framing, for a target of `size` bytes, a multiple of 512.
    ///
    /// Its length is not known before its end, and the framing does not need it. The end mark is given out only after
    /// the whole stream was read and found right.
    pub fn chunked_body(self, size: u64, rest: Rest, progress: Progress) -> ChunkedBody {
        let Self { found, order, work, sums } = self;
        let (sender, receiver) = mpsc::channel(body::AHEAD);
        progress.begin(Stage::Streaming, 0, size);
        // If the work has failed, its end says so.
        let target: Box<dyn Target> = Box::new(Frames(sender));
        let target = match sums {
            Some(sums) => Box::new(Summing { target, sums }),
            None => target,
        };
        let _ = order.send(Order { target, size, rest });
        ChunkedBody::new(receiver, work, found, size, progress)
    }

    /// Writes the disk as a sparse raw file of `size` bytes, which appears when it is complete, or to a device.
    ///
    /// # Errors
    /// [`Error::Packed`], [`Error::Body`], and those of the file.
    pub async fn save_raw(self, path: &Path, existing: Existing, size: u64) -> Result<Unpacked, Error> {
        let Self { order, mut work, .. } = self;
        let file = Arc::new(Partial::private(path, existing)?);
        let target = Box::new(ToFile(file.clone()));
        let _ = order.send(Order { target, size, rest: Rest::Zeros });
        let unpacked = work.end().await?;
        let complete = tokio::task::spawn_blocking(move || {
            Arc::into_inner(file).ok_or(Error::Interrupted)?.complete(size)
        });
        complete.await.unwrap_or(Err(Error::Interrupted))?;
        Ok(unpacked)
    }
}

#[derive(Debug)]
struct ToFile(Arc<Partial>);

impl Target for ToFile {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.0.overwrite_at(offset, bytes)
    }
}
