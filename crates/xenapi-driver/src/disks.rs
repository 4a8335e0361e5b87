//! Disks of nobody: an image into a storage repository, and the content of a disk out of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use tokio::io::AsyncWrite;
use uuid::Uuid;
use xenapi_client::{Client, ExportFormat};
use xenapi_types::{Vbd, VbdMode, Vdi, vdi, vm};

use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::image_cache;
use crate::import::{self, Wanted};
use crate::job::{Disk, Failed, Job};
use crate::operation::Operation;
use crate::progress::{Progress, Stage};
use crate::snapshot::Existing;
use crate::spec::{ImageFormat, RootImage, SrChoice};
use crate::transfer;

mod resume;

/// An image that becomes a disk.
#[derive(Debug, Clone)]
pub struct DiskImport {
    /// The disk's `name_label`.
    pub name: String,
    /// Where it is.
    pub image: RootImage,
    /// What it is, if that is known.
    pub image_format: ImageFormat,
    /// Size of the disk in bytes, at least that of the image; `None` takes the image's. What does not say how large it
    /// is, as a raw disk that comes through a pipe, needs one of a GiB or more.
    pub virtual_bytes: Option<u64>,
    /// Where to.
    pub sr: SrChoice,
    /// Where it is noted what has arrived, if it is to go on where it broke.
    pub journal: Option<ImportJournal>,
}

/// An import that is made in several transfers, because a host acknowledges nothing before the end of one.
///
/// If it fails or is cancelled, the disk stays, and the same import goes on with it: what was in a transfer
/// that succeeded is not sent again. In the end the whole disk is read back and compared, and the journal
/// removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportJournal {
    /// The file. It belongs to one import: while it is there, it says into which disk.
    pub path: PathBuf,
    /// What is sent in one transfer, in bytes: what a break costs at most. Each transfer takes some seconds more.
    pub batch_bytes: u64,
}

impl ImportJournal {
    /// In this file, with transfers of 1 GiB.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), batch_bytes: 1 << 30 }
    }
}

/// A disk that was made of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportedDisk {
    /// Its uuid.
    pub uuid: String,
    /// Uuid of the SR it is in.
    pub sr_uuid: String,
    /// Its size in bytes.
    pub virtual_bytes: u64,
    /// Of an import with a journal, what it did.
    pub resumed: Option<ResumedImport>,
}

/// What an import with a journal found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResumedImport {
    /// Bytes of the disk that had arrived before and were kept.
    pub kept_bytes: u64,
    /// Bytes that were sent now.
    pub sent_bytes: u64,
}

/// What an exported disk becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DiskFormat {
    /// A dynamic VHD.
    #[default]
    Vhd,
    /// The disk's bytes; in a file, zeros are holes.
    Raw,
}

/// Where an exported disk goes.
#[non_exhaustive]
pub enum DiskTarget {
    /// A file, which has no name until it is complete.
    File(PathBuf, Existing),
    /// A pipe or the like, which gets the bytes as they come. Of an export that fails it has a part.
    Pipe(Box<dyn AsyncWrite + Send + Unpin>),
}

impl fmt::Debug for DiskTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, existing) => f.debug_tuple("File").field(path).field(existing).finish(),
            Self::Pipe(_) => f.write_str("Pipe"),
        }
    }
}

/// A disk that was written elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportedDisk {
    /// Its uuid.
    pub uuid: String,
    /// Its size in bytes.
    pub virtual_bytes: u64,
    /// How many bytes came from the host.
    pub stream_bytes: u64,
}

impl Driver {
    /// Makes a disk of an image, which belongs to no instance: nothing that reconciles touches it.
    ///
    /// # Errors
    ///
    /// As those of [`Driver::spawn`] about images and SRs. No disk is left then, nor when it is cancelled, unless there is a
    /// [journal](DiskImport::journal), with which it stays.
    ///
    /// With a journal, [`Cause::ImportJournal`] before anything is sent: when the image can be read but once,
    /// when image or disk are not what they were when the import began, or when the repository's disks are
    /// not empty in the beginning. [`Cause::Differs`] when the disk that is read back is not the image.
    pub fn import_disk(&self, request: DiskImport, progress: Progress) -> Operation<ImportedDisk> {
        let object = format!("disk {:?}", request.name);
        self.verb(Op::ImportDisk, object, progress, |job, stop| {
            Box::pin(async move { import(job, request, stop).await })
        })
    }

    /// Writes a disk, given by its uuid, to a file or a pipe.
    ///
    /// # Errors
    ///
    /// [`Cause::DiskInUse`] while a VM has it and may write to it: export a snapshot instead.
    /// [`Cause::File`], [`Cause::Host`]. No file is left then, nor when it is cancelled.
    pub fn export_disk(
        &self,
        uuid: Uuid,
        format: DiskFormat,
        target: DiskTarget,
        progress: Progress,
    ) -> Operation<ExportedDisk> {
        self.verb(Op::ExportDisk, format!("disk {uuid}"), progress, move |job, stop| {
            Box::pin(async move {
                let disk = job.stage(Stage::Find, find(job.client(), uuid)).await?;
                job.would(|| vec![format!("write disk {uuid} to {target:?}")])?;
                job.stage(Stage::Export, export(job, &disk, format, target, stop)).await
            })
        })
    }
}

async fn import(job: &Job, request: DiskImport, stop: &Stop) -> Result<ImportedDisk, Failed> {
    if let Some(journal) = &request.journal {
        return resume::import(job, &request, journal, stop).await;
    }
    let DiskImport { name, image, image_format, virtual_bytes, sr, .. } = request;
    let sr = job.stage(Stage::Plan, image_cache::choose_sr(job, &image, &sr)).await?;
    job.remember_lost_answers(&name, vec![name.clone()]);
    let wanted = Wanted {
        name: name.clone(),
        image,
        image_format,
        sr: SrChoice::Uuid(sr.uuid.clone()),
        bytes: virtual_bytes,
        discs: true,
    };
    let nobody = image_cache::nobody(&sr);
    let ready = Box::pin(import::ready(job, &nobody, Uuid::new_v4(), wanted, stop)).await?;
    job.would(|| vec![format!("make disk {name:?} of the image in storage repository {:?}", sr.name_label)])?;
    let (disk, _) = Box::pin(ready.make(job, stop)).await?;
    job.stage(Stage::RootDisk, release(job, &disk)).await?;
    let (uuid, virtual_bytes) = (disk.uuid, disk.virtual_bytes);
    Ok(ImportedDisk { uuid, sr_uuid: sr.uuid, virtual_bytes, resumed: None })
}

/// From here on it is nobody's: nothing that undoes an operation takes it for its own. That is the last thing that can
/// fail.
async fn release(job: &Job, disk: &Disk) -> Result<(), Cause> {
    let doing = || Cause::host(format!("taking our marks from disk {}", disk.uuid));
    let call = vdi::SetNameDescription { vdi: disk.reference.clone(), value: String::new() };
    job.client().call(call).await.map_err(doing())?;
    let released = job.client().set_field(&disk.reference, vdi::field::OTHER_CONFIG, BTreeMap::new());
    released.await.map_err(doing())
}

/// The disk, unless somebody may write to it meanwhile.
async fn find(client: &Client, uuid: Uuid) -> Result<Disk, Cause> {
    let doing = || Cause::host(format!("looking for disk {uuid}"));
    let reference = client.by_uuid::<Vdi>(&uuid.to_string()).await.map_err(doing())?;
    let record = client.record(&reference).await.map_err(doing())?;
    for vbd in &record.vbds {
        let Some(vbd) = client.record_opt::<Vbd>(vbd).await.map_err(doing())? else { continue };
        if vbd.currently_attached && vbd.mode != VbdMode::Ro {
            let vm = client.get_field(&vbd.vm, vm::field::UUID).await.map_err(doing())?;
            return Err(Cause::DiskInUse { disk: record.uuid, vm });
        }
    }
    let virtual_bytes = u64::try_from(record.virtual_size).unwrap_or(0);
    Ok(Disk { reference, sr: record.sr, uuid: record.uuid, virtual_bytes })
}

async fn export(
    job: &Job,
    disk: &Disk,
    format: DiskFormat,
    target: DiskTarget,
    stop: &Stop,
) -> Result<ExportedDisk, Cause> {
    let stream_bytes = match (target, format) {
        (DiskTarget::File(path, existing), DiskFormat::Vhd) => {
            transfer::export_to_file(job, disk, &path, existing, stop).await?.stream_len
        }
        (DiskTarget::File(path, existing), DiskFormat::Raw) => {
            transfer::export_to_raw(job, disk, &path, existing, stop).await?.stream_len
        }
        (DiskTarget::Pipe(pipe), DiskFormat::Vhd) => {
            transfer::export_to_pipe(job, disk, ExportFormat::Vhd, pipe, stop).await?
        }
        (DiskTarget::Pipe(pipe), DiskFormat::Raw) => {
            transfer::export_to_pipe(job, disk, ExportFormat::Raw, pipe, stop).await?
        }
    };
    Ok(ExportedDisk { uuid: disk.uuid.clone(), virtual_bytes: disk.virtual_bytes, stream_bytes })
}
