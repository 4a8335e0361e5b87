//! An instance's root disk as an image in some other place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use disk_stream::{PackBody, Package};
use image_store::{Content, Declared, Image, ImageSink, Pending, Stored};
use xenapi_client::ExportFormat;
use xenapi_config::{Settings as Options, Value};

use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::Which;
use crate::job::{Disk, Job, Leaves};
use crate::layers::{self, Exports};
use crate::operation::Operation;
use crate::progress::{Progress, Stage};
use crate::rollback::Leftover;
use crate::snapshot::{self, InstanceDisk, Taken};
use crate::transfer;

/// What the image is, and how it is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UploadFormat {
    /// A gzip tar with the disk as one dynamic VHD, `0.vhd`: what Nova's driver for XenServer uploads and boots from
    /// (`vhd` in `ovf`, as Glance calls it). It holds the disk of all layers.
    #[default]
    VhdArchive,
    /// One dynamic VHD (`vhd` in `bare`).
    Vhd,
    /// A gzip tar of the disk's layers, `0.vhd` what has changed since `1.vhd` and so on: one for each earlier snapshot
    /// of the disk and for the cached image it was cloned from, as far as the SR has them; 16 at most. What Nova's
    /// `direct_vhd` uploads (`vhd` in `ovf`).
    VhdChain,
    /// A gzip tar with the raw disk (`raw` in `tgz`).
    RawArchive,
    /// A qcow2 image, uncompressed, which can be read while it arrives (`qcow2` in `bare`).
    Qcow2,
}

impl UploadFormat {
    /// Glance's names for it: of the container and of the disk.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::VhdArchive | Self::VhdChain => ("ovf", "vhd"),
            Self::Vhd => ("bare", "vhd"),
            Self::RawArchive => ("tgz", "raw"),
            Self::Qcow2 => ("bare", "qcow2"),
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
    /// How long to wait until the SR has merged what the snapshot has split, if it is going to; `None` does not wait.
    /// No image is wrong without it: hosts read a chain as the disk that it is. But for a while, a host then does not
    /// do both at once. Nova waits 100 seconds (`vhd_coalesce_max_attempts` times `vhd_coalesce_poll_interval`).
    pub coalesce_patience: Option<Duration>,
    /// Who is told what happens.
    pub progress: Progress,
}

impl UploadOptions {
    /// As Nova's options say: the level of compression, and how long chains are waited for
    /// (`vhd_coalesce_max_attempts` times `vhd_coalesce_poll_interval`; nothing is polled here).
    pub fn of(options: &Options) -> Self {
        let number = |name: &str| match options.get(name) {
            Some(Value::Integer(number)) => number as f64,
            Some(Value::Float(number)) => number,
            _ => 0.0,
        };
        let seconds = number("vhd_coalesce_max_attempts") * number("vhd_coalesce_poll_interval");
        let compression_level = options.get("image_compression_level").map(|level| match level {
            Value::Integer(level) => u32::try_from(level).unwrap_or_default(),
            _ => 0,
        });
        Self {
            compression_level: compression_level.filter(|level| (1..=9).contains(level)),
            coalesce_patience: Some(Duration::try_from_secs_f64(seconds).unwrap_or_default()),
            ..Self::default()
        }
    }
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

impl Leaves for Uploaded {
    fn leave(&mut self, leftovers: Vec<Leftover>) {
        self.leftovers = leftovers;
    }
}

/// With the first image.
impl Leaves for Vec<Uploaded> {
    fn leave(&mut self, leftovers: Vec<Leftover>) {
        if let Some(first) = self.first_mut() {
            first.leave(leftovers);
        }
    }
}

impl Driver {
    /// Snapshots the root disk of an instance, running or not, streams the snapshot to `sink`, and removes it from its
    /// SR. Nothing is staged on the way; where the sink tries again, the same snapshot is read again.
    ///
    /// The guest is not asked: the disk is as it would be after a power cut. Cancelling ends the transfer at
    /// once, and removes the snapshot.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::NoRootDisk`], [`Cause::NotCoalesced`], [`Cause::Host`], and
    /// [`Cause::Source`] from the sink. There is neither image nor snapshot then.
    pub fn upload(
        &self,
        which: Which,
        sink: Arc<dyn ImageSink>,
        options: UploadOptions,
    ) -> Operation<Uploaded> {
        let object = format!("instance {which}");
        self.passing(Op::Snapshot, object, options.progress.clone(), |job, stop| {
            Box::pin(async move {
                let (root, record) = job.stage(Stage::Find, snapshot::find_root(job, &which)).await?;
                job.would(|| snapshot::passing(&record.uuid, "upload it as an image"))?;
                let taking = async {
                    let before = layers::before(job, &record).await?;
                    let disk = snapshot::take(job, &root, &record, stop).await?;
                    if let Some(patience) = options.coalesce_patience {
                        layers::coalesced(job, &root, &record, &before, patience, stop).await?;
                    }
                    Ok(disk)
                };
                let disk = job.stage(Stage::Snapshot, taking).await?;
                let stored = job.stage(Stage::Export, pour(job, &disk, &*sink, &options, stop)).await?;
                let (virtual_bytes, disk_uuid) = (disk.virtual_bytes, record.uuid);
                Ok(Uploaded { stored, virtual_bytes, disk_uuid, leftovers: Vec::new() })
            })
        })
    }

    /// As [`Driver::upload`], for several disks of an instance: all snapshots are of the same moment (`VM.snapshot`).
    /// `sinks` is asked where each disk goes, `None` leaves it out; the images are in the order of their disks.
    ///
    /// The order of a chain's layers is not waited for: [`UploadOptions::coalesce_patience`] is for single disks.
    ///
    /// # Errors
    ///
    /// As [`Driver::upload`]. No snapshot is left then, but images that were complete before stay; the progress names
    /// them.
    pub fn upload_disks(
        &self,
        which: Which,
        sinks: impl Fn(&InstanceDisk) -> Option<Arc<dyn ImageSink>> + Send + Sync + 'static,
        options: UploadOptions,
    ) -> Operation<Vec<Uploaded>> {
        let object = format!("instance {which}");
        self.passing(Op::Snapshot, object, options.progress.clone(), |job, stop| {
            Box::pin(async move {
                let places = Mutex::new(BTreeMap::new());
                let wanted = |disk: &InstanceDisk| {
                    let sink = sinks(disk);
                    let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
                    sink.map(|sink| places.insert(disk.uuid.clone(), sink)).is_some()
                };
                let taking = snapshot::take_all(job, &which, wanted, stop);
                let taken = job.stage(Stage::Snapshot, taking).await?;
                let mut sinks = places.into_inner().unwrap_or_else(PoisonError::into_inner);
                let mut images = Vec::new();
                for Taken { of, snapshot } in taken {
                    let Some(sink) = sinks.remove(&of.uuid) else { continue };
                    let stored = pour(job, &snapshot, &*sink, &options, stop);
                    let stored = job.stage(Stage::Export, stored).await?;
                    let (virtual_bytes, disk_uuid) = (snapshot.virtual_bytes, of.uuid);
                    images.push(Uploaded { stored, virtual_bytes, disk_uuid, leftovers: Vec::new() });
                }
                Ok(images)
            })
        })
    }
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
        UploadFormat::VhdChain => {
            let found = layers::find(job, disk).await?;
            let package = Package::VhdArchive { layers: found.len() };
            let body = Exports::new(job, &found);
            return Ok(image(disk, options, PackBody::new(body, package, options.compression_level)));
        }
        UploadFormat::VhdArchive => (ExportFormat::Vhd, Package::VhdArchive { layers: 1 }),
        UploadFormat::Vhd => (ExportFormat::Vhd, Package::Vhd),
        UploadFormat::Qcow2 => (ExportFormat::Vhd, Package::Qcow2),
        UploadFormat::RawArchive => (ExportFormat::Raw, Package::RawArchive(disk.virtual_bytes)),
    };
    let doing = || format!("exporting disk {}", disk.uuid);
    let body = transfer::export(job, Stage::Export, disk, format, doing, stop).await?;
    Ok(image(disk, options, PackBody::new(body, package, options.compression_level)))
}

fn image(disk: &Disk, options: &UploadOptions, content: PackBody) -> Image {
    let (container, kind) = options.format.names();
    let declared = Declared {
        container: Some(container.to_owned()),
        disk: Some(kind.to_owned()),
        ..Declared::default()
    };
    let content = Content::from_body(format!("disk {}", disk.uuid), None, content);
    Image { declared, len: None, content }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_options_say() {
        let of = |text: &str| UploadOptions::of(&Options::new().nova_conf("nova.conf", text).unwrap());
        for (text, level, seconds) in [
            ("", None, 100.0),
            ("[xenserver]\nimage_compression_level = 3", Some(3), 100.0),
            ("[xenserver]\nvhd_coalesce_max_attempts = 4", None, 20.0),
            ("[xenserver]\nvhd_coalesce_max_attempts = 3\nvhd_coalesce_poll_interval = 2.5", None, 7.5),
        ] {
            let options = of(text);
            assert_eq!(options.compression_level, level, "{text}");
            assert_eq!(options.coalesce_patience, Some(Duration::from_secs_f64(seconds)), "{text}");
        }
    }
}
