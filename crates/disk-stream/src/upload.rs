//! Images as upload streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use uuid::Uuid;
use vhd::Layout;
use vhd::format::{BLOCK_SIZE, Footer, SECTOR, Timestamp, round_up_to_block};
use vhd::layout::{Dialect, Parameters};

use crate::body::DiskBody;
use crate::error::Error;
use crate::image::Image;
use crate::produce::{ChunkedStream, Plan, PlannedStream, RawStream};
use crate::progress::Progress;
use crate::scan::{Zeros, scan_while};
use crate::tar::{self, TarChecksum, TarStream};

/// How an image becomes a stream.
#[derive(Debug, Clone, Default)]
pub struct Upload {
    /// What to make of zeros in allocated parts of the image.
    pub zeros: Zeros,
    /// Counters to use; a UI keeps a clone.
    pub progress: Progress,
    /// Size of the disk in the stream, in bytes; what lies behind the image is zero. By default
    /// the image's own size; for a VHD rounded up to whole 2 MiB, as a VDI is. The chunked framing
    /// says nothing of a size and does not use it.
    pub virtual_size: Option<u64>,
    /// Identity of a VHD; random by default.
    pub uuid: Option<Uuid>,
    /// Time of creation of a VHD; now by default.
    pub timestamp: Option<Timestamp>,
    /// Place the data of a VHD's blocks at multiples of 4 KiB: see [`Layout::aligned`].
    pub aligned: bool,
}

impl Upload {
    pub(crate) fn parameters(&self, virtual_size: u64) -> Parameters {
        Parameters {
            virtual_size,
            uuid: self.uuid.unwrap_or_else(Uuid::new_v4),
            timestamp: self.timestamp.unwrap_or_else(now),
            dialect: Dialect::XenapiRs,
        }
    }
}

/// Finest grain of the chunked framing: smaller holes are sent as zeros.
const CHUNKED_GRAIN: u32 = 64 << 10;

impl Image {
    /// The disk as a dynamic VHD with only what is allocated: the form for `import_raw_vdi` with
    /// `format=vhd`. Looks the disk through first ([`Zeros::Detect`]) because the length must be
    /// known; dropping the future stops that.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`], [`Error::Layout`] (larger than 2040 GiB), [`Error::Read`] and
    /// [`Error::Changed`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn vhd_body(&self, upload: Upload) -> Result<DiskBody, Error> {
        let image = self.clone();
        blocking(move |wanted| {
            let plan = image.plan(&upload, wanted)?;
            Ok(image.planned_body(plan.into(), upload.progress))
        })
        .await
    }

    /// All bytes of the disk: the form for `import_raw_vdi` with `format=raw`.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`].
    pub fn raw_body(&self, upload: Upload) -> Result<DiskBody, Error> {
        let len = self.size_for(&upload)?;
        let produce = RawStream::new(self.reader(), len, Bytes::new());
        Ok(DiskBody::new(Box::new(produce), len, len, upload.progress))
    }

    /// The disk as a fixed VHD: all its bytes, those of a whole number of sectors, and a footer behind them. No host takes
    /// that; other programs do.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`], and [`Error::Layout`] for a disk larger than a VHD can be.
    pub fn fixed_vhd_body(&self, upload: Upload) -> Result<DiskBody, Error> {
        let footer = self.plan_fixed(&upload)?;
        let (size, tail) = (footer.current_size, Bytes::copy_from_slice(&footer.to_bytes()));
        let len = size + tail.len() as u64;
        let produce = RawStream::new(self.reader(), size, tail);
        Ok(DiskBody::new(Box::new(produce), len, size, upload.progress))
    }

    /// The disk as a qcow2 image with only what is allocated, all tables before the data: the form for
    /// `import_raw_vdi` with `format=qcow2`, which hosts of XCP-ng take for disks on repositories of that
    /// format. Looks the disk through first, as [`Image::vhd_body`]. Zeros are left out in units of 64 KiB.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`], [`Error::Qcow2`] (larger than 64 TiB), [`Error::Read`] and [`Error::Changed`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn qcow2_body(&self, upload: Upload) -> Result<DiskBody, Error> {
        let image = self.clone();
        blocking(move |wanted| {
            let plan = image.plan_qcow2(&upload, wanted)?;
            Ok(image.planned_body(plan, upload.progress))
        })
        .await
    }

    /// The allocated parts of the disk in XAPI's `chunked` framing, in units of 64 KiB: the form
    /// for `import_raw_vdi` with `chunked=true`, into a VDI that reads as zeros. Looks the disk
    /// through first, as [`Image::vhd_body`].
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Changed`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn chunked_body(&self, upload: Upload) -> Result<DiskBody, Error> {
        let image = self.clone();
        blocking(move |wanted| {
            image.refuse_part()?;
            let set = scan_while(&image, CHUNKED_GRAIN, upload.zeros, &upload.progress, wanted)?;
            let len = ChunkedStream::stream_len(&set);
            let produce = ChunkedStream::new(image.reader(), set);
            Ok(DiskBody::new(Box::new(produce), len, image.virtual_size(), upload.progress))
        })
        .await
    }

    /// The disk as an archive of chunks of 1 MiB, each with its checksum: the form that XAPI exports with
    /// `format=tar`, and XVA has inside. Looks the disk through first, as [`Image::vhd_body`].
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Changed`]; [`Error::TooLargeForTar`] for disks of more than 95 TiB.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn tar_body(&self, upload: Upload, checksum: TarChecksum) -> Result<DiskBody, Error> {
        let image = self.clone();
        blocking(move |wanted| {
            image.refuse_part()?;
            let set = scan_while(&image, tar::CHUNK, upload.zeros, &upload.progress, wanted)?;
            let too_large = || Error::TooLargeForTar { path: image.path().to_owned() };
            let produce = TarStream::new(image.reader(), set, checksum).ok_or_else(too_large)?;
            let len = produce.stream_len();
            Ok(DiskBody::new(Box::new(produce), len, image.virtual_size(), upload.progress))
        })
        .await
    }

    /// The disk as a plan of it says.
    pub(crate) fn planned_body(&self, plan: Plan, progress: Progress) -> DiskBody {
        let (len, size) = (plan.stream_len, plan.virtual_size);
        DiskBody::new(Box::new(PlannedStream::new(self.reader(), plan)), len, size, progress)
    }

    /// The plan of the whole disk as a qcow2 image. Blocking.
    pub(crate) fn plan_qcow2(&self, upload: &Upload, wanted: &AtomicBool) -> Result<Plan, Error> {
        let failed = |source| Error::Qcow2 { path: self.path().to_owned(), source };
        let size = self.size_for(upload)?;
        // Sizes are judged before the disk is looked through.
        qcow2::Layout::new(size, |_| None).map_err(failed)?;
        // A cluster has 64 KiB.
        let set = scan_while(self, qcow2::CLUSTER as u32, upload.zeros, &upload.progress, wanted)?;
        let layout = qcow2::Layout::new(size, move |from| set.extent_from(from)).map_err(failed)?;
        Ok(layout.into())
    }

    /// The plan of the whole disk as a VHD. Blocking.
    pub(crate) fn plan(&self, upload: &Upload, wanted: &AtomicBool) -> Result<Layout, Error> {
        let layout = |source| Error::Layout { path: self.path().to_owned(), source };
        self.refuse_part()?;
        let virtual_size = match upload.virtual_size {
            Some(_) => self.size_for(upload)?,
            None => round_up_to_block(self.virtual_size()).unwrap_or(u64::MAX),
        };
        let parameters = upload.parameters(virtual_size);
        // Sizes are judged before the disk is looked through.
        Layout::fixed(&parameters).map_err(layout)?;
        let blocks = scan_while(self, BLOCK_SIZE, upload.zeros, &upload.progress, wanted)?;
        let plan = Layout::dynamic(&parameters, blocks).map_err(layout)?;
        Ok(if upload.aligned { plan.aligned() } else { plan })
    }

    /// The footer of the disk as a fixed VHD.
    pub(crate) fn plan_fixed(&self, upload: &Upload) -> Result<Footer, Error> {
        let failed = |source| Error::Layout { path: self.path().to_owned(), source };
        let size = self.size_for(upload)?;
        let size = size.checked_next_multiple_of(SECTOR).unwrap_or(u64::MAX);
        let layout = Layout::fixed(&upload.parameters(size)).map_err(failed)?;
        Ok(layout.footer().clone())
    }

    /// The size that is asked for, or its own.
    pub(crate) fn size_for(&self, upload: &Upload) -> Result<u64, Error> {
        self.refuse_part()?;
        self.at_least(upload.virtual_size.unwrap_or(self.virtual_size()))
    }

    /// As [`Image::size_for`], also of a difference without its parent, which is no disk.
    pub(crate) fn at_least(&self, asked: u64) -> Result<u64, Error> {
        if asked < self.virtual_size() {
            let virtual_size = self.virtual_size();
            return Err(Error::DoesNotFit { path: self.path().to_owned(), virtual_size, asked });
        }
        Ok(asked)
    }
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::from_unix(since.map_or(0, |since| since.as_secs()))
}

/// Runs `work` on Tokio's blocking pool, and tells it when the future is dropped.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&AtomicBool) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    struct Guard(Arc<AtomicBool>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Relaxed);
        }
    }
    let wanted = Arc::new(AtomicBool::new(true));
    let _guard = Guard(wanted.clone());
    tokio::task::spawn_blocking(move || work(&wanted)).await.unwrap_or(Err(Error::Interrupted))
}
