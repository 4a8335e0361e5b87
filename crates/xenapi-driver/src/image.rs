//! Images that are not simply a file with a disk: fetched, unpacked and written while they arrive.

use std::collections::VecDeque;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use disk_stream::{Declared, Packed, Packing, Preview, Reading, Spool, Sums, Unpack};
use http_body::{Body, Frame, SizeHint};
use image_store::{Content, FileSource, ImageSource};

use crate::error::Cause;
use crate::image_cache::{CachedImage, Copying};
use crate::partition;
use crate::plan::ImageFacts;
use crate::spec::{ImageUse, InstanceSpec};
use crate::transfer::Source;
use crate::volume::Volume;

/// Where the content of a root disk comes from.
///
/// Whatever it is, it is streamed: nothing is unpacked or staged anywhere, and an image that turns out to be
/// damaged or another one than was meant leaves no disk behind.
#[derive(Debug, Clone)]
pub enum RootImage {
    /// A file or block device: raw, VHD or qcow2; also compressed, and archives as [`disk_stream::Packed`] reads them.
    File(PathBuf),
    /// A VHD and those it is based on, as [`Driver::backup`](crate::Driver::backup) makes them: in its folder or below.
    /// They name each other, so that this is not for files of people who should not see what else is there.
    Chain(PathBuf),
    /// Any other place. Besides what a file may be, it is verified on the way with the digests that are known of it. A
    /// qcow2 image whose tables do not precede its data, or that is compressed, is kept meanwhile
    /// ([`Settings::spool_bytes`](crate::Settings::spool_bytes)).
    Source(Arc<dyn ImageSource>),
    /// An image in the cache: nothing is fetched. It is copied in full into another SR than its own.
    Cached(CachedImage, Copying),
    /// A volume, as it is: the instance boots from it, and it outlives the instance.
    Volume(Volume),
}

macro_rules! from_paths {
    ($($path:ty),*) => {$(
        impl From<$path> for RootImage {
            fn from(path: $path) -> Self {
                Self::File(path.into())
            }
        }
    )*};
}
from_paths!(PathBuf, &PathBuf, &Path, &str, String);

impl From<Volume> for RootImage {
    fn from(volume: Volume) -> Self {
        Self::Volume(volume)
    }
}

impl From<Arc<dyn ImageSource>> for RootImage {
    fn from(source: Arc<dyn ImageSource>) -> Self {
        Self::Source(source)
    }
}

/// An image whose beginning was read.
#[derive(Debug)]
pub(crate) struct Arriving {
    facts: ImageFacts,
    packed_bytes: u64,
    packed: Mutex<Option<Packed>>,
    /// What was written of it, where that is to be compared.
    pub(crate) sums: Sums,
}

/// Opens an image in its place. What cannot be read as it comes is fetched first, up to so many bytes.
pub(crate) async fn open(
    source: &dyn ImageSource,
    spec: &InstanceSpec,
    spool_bytes: u64,
) -> Result<Source, Cause> {
    let mut image = source.open().await.map_err(Cause::Source)?;
    if spec.image_use == ImageUse::Declared && spec.image_format == Declared::Unknown {
        check(&image)?;
    }
    let is = |wanted, name| match spec.image_use {
        ImageUse::Declared => image.declared.disk.as_deref() == Some(name),
        said => said == wanted,
    };
    let (disc, file_system) = (is(ImageUse::Disc, "iso"), is(ImageUse::FileSystem, "ami"));
    let (declared, packing) = match disc || file_system {
        true => (Declared::Raw, Packing::Bare),
        false => declared(&image.declared, spec.image_format),
    };
    if file_system {
        image = partition::around(image, spec.uuid).await?;
    }
    let (mut head, mut preview) = (Head::default(), Preview::new(declared));
    while (disc && head.len < DISC_HEAD) || (!disc && preview.reading() == Reading::Unknown) {
        let Some(piece) = image.content.chunk().await.map_err(Cause::Source)? else { break };
        preview.feed(&piece);
        head.push(piece);
    }
    if disc && !head.is_disc() {
        return Err(Cause::NotADisc(image.content.what().to_owned()));
    }
    if preview.reading() == Reading::Random {
        let name = image.content.what().to_owned();
        if image.len.is_some_and(|len| len > spool_bytes) {
            let error = disk_stream::Error::TooLargeToKeep { path: name.into(), limit: spool_bytes };
            return Err(Cause::Image(error));
        }
        let spool = Spool::new(&name, Declared::Qcow2, spool_bytes).map_err(Cause::Image)?;
        let content = Replay { head, rest: image.content };
        let kept = disk_stream::receive(content, spool, disk_stream::Progress::new()).await;
        return kept.map(|image| Source::Disk(image, disc)).map_err(blame);
    }
    Arriving::open(image, head, (declared, packing), disc, spec).await.map(Source::Arriving)
}

impl Arriving {
    async fn open(
        image: image_store::Image,
        head: Head,
        (declared, packing): (Declared, Packing),
        disc: bool,
        spec: &InstanceSpec,
    ) -> Result<Self, Cause> {
        let name = image.content.what().to_owned();
        let options = Unpack { declared, packing, len: image.len, change: false };
        let content = Replay { head, rest: image.content };
        let packed = Packed::open(content, options).await.map_err(blame)?;
        let least = image.declared.min_disk_gib.unwrap_or(0) << 30;
        let known = packed.found().virtual_size.map(|size| size.max(least)).or((least > 0).then_some(least));
        // Of a compressed raw disk nobody knows the size: it is found out whether it fits.
        let Some(virtual_bytes) = known.or(spec.flavor.root_bytes()) else {
            return Err(Cause::ImageSizeUnknown(name));
        };
        let packed_bytes = image.len.unwrap_or(0);
        let sums = Sums::new();
        let packed = Mutex::new(Some(packed.summed(&sums)));
        Ok(Self { facts: ImageFacts { name, virtual_bytes, disc }, packed_bytes, packed, sums })
    }

    pub(crate) fn facts(&self) -> ImageFacts {
        self.facts.clone()
    }

    /// Bytes that arrive, where that is known: the disk takes about as many, at least.
    pub(crate) fn packed_bytes(&self) -> u64 {
        self.packed_bytes
    }

    /// The image itself, which can be had once.
    pub(crate) fn take(&self) -> Result<Packed, Cause> {
        let packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner).take();
        packed.ok_or(Cause::Image(disk_stream::Error::Interrupted))
    }
}

/// What was read of an image to find out what it is.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pieces: VecDeque<Bytes>,
    len: usize,
}

/// Where a disc says what it is: in its first volume descriptor.
const DISC_DESCRIPTOR: usize = 16 * 2048;
const DISC_HEAD: usize = DISC_DESCRIPTOR + 6;

/// Whether the first volume descriptor of a disc begins so: ISO 9660, or UDF alone.
pub(crate) fn is_disc_descriptor(bytes: &[u8]) -> bool {
    bytes.get(1..6).is_some_and(|name| name == b"CD001" || name == b"BEA01")
}

impl Head {
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        self.pieces.push_back(piece);
    }

    pub(crate) fn push_front(&mut self, piece: Bytes) {
        self.len += piece.len();
        self.pieces.push_front(piece);
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// So many bytes of the beginning, or all there are.
    pub(crate) fn first(&self, len: usize) -> Vec<u8> {
        self.pieces.iter().flatten().copied().take(len).collect()
    }

    fn is_disc(&self) -> bool {
        let bytes = self.pieces.iter().flatten().copied();
        is_disc_descriptor(&bytes.skip(DISC_DESCRIPTOR).take(6).collect::<Vec<_>>())
    }
}

/// Whether a file is a disc. What cannot be opened is told of when it is opened in earnest.
pub(crate) fn is_disc(path: &Path) -> std::io::Result<bool> {
    let mut descriptor = [0; 6];
    std::fs::File::open(path)?.read_exact_at(&mut descriptor, DISC_DESCRIPTOR as u64)?;
    Ok(is_disc_descriptor(&descriptor))
}

/// An image from its beginning on, though some of it was read.
pub(crate) struct Replay {
    pub(crate) head: Head,
    pub(crate) rest: Content,
}

impl Body for Replay {
    type Data = Bytes;
    type Error = image_store::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, image_store::Error>>> {
        match self.head.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }
}

/// A file that is no disk by itself but has one packed in it.
pub(crate) async fn packed_file(path: &Path, declared: Declared) -> Option<FileSource> {
    let path = path.to_owned();
    let looked = path.clone();
    let is_packed = tokio::task::spawn_blocking(move || disk_stream::is_packed(&looked));
    // What cannot be opened is told of when it is opened in earnest.
    let is_packed = declared != Declared::Raw && is_packed.await.is_ok_and(|looked| looked.unwrap_or(false));
    is_packed.then(|| FileSource::new(path))
}

/// Refuses what Glance has and nothing here reads: its content would be taken for that of a raw disk.
fn check(image: &image_store::Image) -> Result<(), Cause> {
    match &image.declared.disk {
        Some(format) if ["vmdk", "vhdx", "vdi", "ploop", "aki", "ari"].contains(&&**format) => {
            let image = image.content.what().to_owned();
            Err(Cause::FormatNotRead { image, format: format.clone() })
        }
        _ => Ok(()),
    }
}

/// What Glance's formats mean. What the user says goes before.
fn declared(place: &image_store::Declared, user: Declared) -> (Declared, Packing) {
    let disk = match place.disk.as_deref() {
        Some("raw" | "iso" | "ami") => Declared::Raw,
        Some("vhd") => Declared::Vhd,
        Some("qcow2") => Declared::Qcow2,
        _ => Declared::Unknown,
    };
    let disk = if user == Declared::Unknown { disk } else { user };
    let packing = match (place.container.as_deref(), disk) {
        (Some("tgz"), _) => Packing::Archive,
        // A raw disk's content belongs to whoever used it, and may look like anything.
        (Some("bare"), Declared::Raw) => Packing::Bare,
        // Nova says `ovf` of archives of VHDs, and does not look at what is said of others.
        _ => Packing::Unknown,
    };
    (disk, packing)
}

/// Whose fault it is: the place's that the image comes from, or the image's.
pub(crate) fn blame(error: disk_stream::Error) -> Cause {
    match error {
        disk_stream::Error::Body { position, source } => match source.downcast::<image_store::Error>() {
            Ok(source) => Cause::Source(*source),
            Err(source) => Cause::Image(disk_stream::Error::Body { position, source }),
        },
        error => Cause::Image(error),
    }
}

/// Where a body's own error goes: on the way through the client it becomes a text.
pub(crate) type Failure = Arc<Mutex<Option<disk_stream::Error>>>;

/// A body that keeps its error.
pub(crate) struct Watched<B> {
    body: B,
    failure: Failure,
}

impl<B> Watched<B> {
    pub(crate) fn new(body: B) -> (Self, Failure) {
        let failure = Failure::default();
        (Self { body, failure: failure.clone() }, failure)
    }
}

impl<B: Body<Data = Bytes, Error = disk_stream::Error> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Err(error)) => {
                let text = error.to_string();
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Some(Err(std::io::Error::other(text)))
            }
            Some(Ok(frame)) => Some(Ok(frame)),
            None => None,
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_glance_says_of_images() {
        let place = |container: &str, disk: &str| image_store::Declared {
            container: Some(container.to_owned()),
            disk: Some(disk.to_owned()),
            ..image_store::Declared::default()
        };
        let unknown = Declared::Unknown;
        for (container, disk, user, expected) in [
            ("ovf", "vhd", unknown, (Declared::Vhd, Packing::Unknown)),
            ("bare", "vhd", unknown, (Declared::Vhd, Packing::Unknown)),
            ("tgz", "raw", unknown, (Declared::Raw, Packing::Archive)),
            ("bare", "raw", unknown, (Declared::Raw, Packing::Bare)),
            ("bare", "iso", unknown, (Declared::Raw, Packing::Bare)),
            ("bare", "qcow2", unknown, (Declared::Qcow2, Packing::Unknown)),
            ("bare", "raw", Declared::Vhd, (Declared::Vhd, Packing::Unknown)),
            ("docker", "new", unknown, (unknown, Packing::Unknown)),
        ] {
            assert_eq!(declared(&place(container, disk), user), expected, "{container} {disk}");
        }
    }
}
