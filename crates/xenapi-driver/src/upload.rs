//! An instance's root disk as an image in some other place.

use std::sync::{Arc, Mutex, PoisonError};

use disk_stream::{PackBody, Package};
use image_store::{Content, Declared, Image, ImageSink, Pending, Stored};
use xenapi_client::ExportFormat;

use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Error, Op};
use crate::find::Which;
use crate::job::{Disk, Failed, Job};
use crate::operation::Operation;
use crate::progress::{Progress, Stage};
use crate::rollback::Leftover;
use crate::{snapshot, transfer};

/// What the image is, and how it is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UploadFormat {
    /// A gzip tar with the disk as one dynamic VHD, `0.vhd`: what Nova's driver for XenServer uploads and boots from
    /// (`vhd` in `ovf`, as Glance calls it). It holds the disk of all layers.
    #[default]
    VhdArchive,
    /// One dynamic VHD (`vhd` in `bare`).
    Vhd,
    /// A gzip tar with the raw disk (`raw` in `tgz`).
    RawArchive,
}

impl UploadFormat {
    /// Glance's names for it: of the container and of the disk.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::VhdArchive => ("ovf", "vhd"),
            Self::Vhd => ("bare", "vhd"),
            Self::RawArchive => ("tgz", "raw"),
        }
    }
}

/// How an image is made.
#[derive(Debug, Clone, Default)]
pub struct UploadOptions {
    /// What it is.
    pub format: UploadFormat,
    /// gzip's level, from 1 to 9; its usual one if left out. Nova calls it `image_compression_level`.
    pub compression_level: Option<u32>,
    /// Who is told what happens.
    pub progress: Progress,
}

/// An image that was made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Uploaded {
    /// Where it is, how long it is, and its digest.
    pub stored: Stored,
    /// Size of the disk in bytes.
    pub virtual_bytes: u64,
    /// Uuid of the disk that was snapshotted.
    pub disk_uuid: String,
    /// The snapshot in the SR, if it could not be removed again. The image is good all the same.
    pub leftovers: Vec<Leftover>,
}

impl Driver {
    /// Snapshots the root disk of an instance, running or not, streams the snapshot to `sink`, and removes it from its
    /// SR. Nothing is staged on the way; where the sink tries again, the same snapshot is read again.
    ///
    /// The guest is not asked: the disk is as it would be after a power cut. A chain is read as the one disk that it
    /// is, so that it does not matter when the SR coalesces it; an image of several layers is not made.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::NoRootDisk`], [`Cause::Host`], and [`Cause::Source`] from the sink. There is
    /// neither image nor snapshot then.
    pub fn upload(
        &self,
        which: Which,
        sink: Arc<dyn ImageSink>,
        options: UploadOptions,
    ) -> Operation<Uploaded> {
        let object = format!("instance {which}");
        let name = object.clone();
        let job = Job::new(self.clone(), options.progress.clone());
        Operation::start(&self.0.running, Op::Snapshot, object, |stop| async move {
            match body(&job, &which, &*sink, &options, &stop).await {
                Ok(uploaded) => {
                    let leftovers = job.rollback.undo(&Progress::none()).await;
                    Ok(Uploaded { leftovers, ..uploaded })
                }
                Err(Failed { stage, cause }) => {
                    let leftovers = job.rollback.undo(&job.progress).await;
                    Err(Error::new(Op::Snapshot, name, stage, cause).with_leftovers(leftovers))
                }
            }
        })
    }
}

async fn body(
    job: &Job,
    which: &Which,
    sink: &dyn ImageSink,
    options: &UploadOptions,
    stop: &Stop,
) -> Result<Uploaded, Failed> {
    let (root, record) = job.stage(Stage::Find, snapshot::find_root(job, which)).await?;
    let disk = job.stage(Stage::Snapshot, snapshot::take(job, &root, &record, stop)).await?;
    let stored = job.stage(Stage::Export, pour(job, &disk, sink, options, stop)).await?;
    let (virtual_bytes, disk_uuid) = (disk.virtual_bytes, record.uuid);
    Ok(Uploaded { stored, virtual_bytes, disk_uuid, leftovers: Vec::new() })
}

async fn pour(
    job: &Job,
    disk: &Disk,
    sink: &dyn ImageSink,
    options: &UploadOptions,
    stop: &Stop,
) -> Result<Stored, Cause> {
    // What the host says does not survive the way through the sink.
    let refusal = Mutex::new(None);
    let make = || -> Pending<'_, image_store::Result<Image>> {
        Box::pin(async {
            export(job, disk, options, stop).await.map_err(|cause| {
                let text = cause.to_string();
                *refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
                let source = std::io::Error::other(text);
                image_store::Error::Io { doing: "read", what: format!("disk {}", disk.uuid), source }
            })
        })
    };
    let stored = stop.guard(sink.store(&make)).await?;
    stored.map_err(|error| {
        let refusal = refusal.lock().unwrap_or_else(PoisonError::into_inner).take();
        refusal.unwrap_or(Cause::Source(error))
    })
}

async fn export(job: &Job, disk: &Disk, options: &UploadOptions, stop: &Stop) -> Result<Image, Cause> {
    let (format, package) = match options.format {
        UploadFormat::VhdArchive => (ExportFormat::Vhd, Package::VhdArchive),
        UploadFormat::Vhd => (ExportFormat::Vhd, Package::Vhd),
        UploadFormat::RawArchive => (ExportFormat::Raw, Package::RawArchive(disk.virtual_bytes)),
    };
    let doing = || format!("exporting disk {}", disk.uuid);
    let body = transfer::export(job, Stage::Export, disk, format, doing, stop).await?;
    let content = PackBody::new(body, package, options.compression_level);
    let (container, kind) = options.format.names();
    let declared = Declared {
        container: Some(container.to_owned()),
        disk: Some(kind.to_owned()),
        ..Declared::default()
    };
    Ok(Image {
        declared,
        len: None,
        content: Content::from_body(format!("disk {}", disk.uuid), None, content),
    })
}
