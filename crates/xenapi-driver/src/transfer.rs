//! Moving the content of disks: images and config drives in, the same back for comparison, snapshots
//! out.

use std::io::Read;
use std::path::Path;
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use disk_stream::{
    Consume, Declared, DiskBody, Existing, Image, Opening, Packed, Packing, Parents, RawSink, Rest, Saved,
    SumSink, Sums, Unpack, Upload, Verifier, VhdSink, receive,
};
use futures_core::Stream;
use http_body::{Body, Frame};
use image_store::FileSource;
use tokio::io::AsyncWrite;
use xenapi_client::{Export, ExportFormat, ImportFormat};
use xenapi_storage::Repository;
use xenapi_types::{Ref, Vdi, sr, vdi};

use crate::cancel::Stop;
use crate::dom0_write::{self, ImportVia};
use crate::driver::Settings;
use crate::error::Cause;
use crate::image::{self, Arriving, RootImage, Watched};
use crate::image_cache::{CachedImage, Copying};
use crate::job::{Disk, Job};
use crate::plan::{self, ImageFacts, ImportPlan, Plan};
use crate::progress::{Event, Progress, Stage, Transfer};
use crate::spec::{ImageUse, InstanceSpec};
use crate::volume::Volume;

/// Where the content of a root disk comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A disk that can be read at any place, as often as one likes; and whether it is a disc to install from.
    Disk(Image, bool),
    /// One that comes once, from front to back.
    Arriving(Arriving),
    /// One that the host has already.
    Cached(CachedImage, Copying),
    /// A volume, which is the root disk itself.
    Volume(Volume),
}

/// Between two looks at the counters of a transfer.
const TICK: Duration = Duration::from_millis(200);

impl Source {
    /// Opens an image and checks its structure; the data are not read.
    pub(crate) async fn open(spec: &InstanceSpec, settings: &Settings) -> Result<Self, Cause> {
        let disc = spec.image_use == ImageUse::Disc;
        let path = match &spec.image {
            RootImage::Source(source) => {
                return Box::pin(image::open(&**source, spec, settings.spool_bytes)).await;
            }
            RootImage::Cached(image, copying) => {
                let image = CachedImage { disc: disc || image.disc, ..image.clone() };
                return Ok(Self::Cached(image, *copying));
            }
            RootImage::Volume(volume) => return Ok(Self::Volume(volume.clone())),
            RootImage::Chain(path) => return Self::open_chain(path).await,
            RootImage::File(path) => path,
        };
        if disc {
            let opened = Box::pin(Image::open(path, Declared::Raw)).await.map_err(Cause::Image)?;
            return match image::is_disc(path) {
                Ok(true) => Ok(Self::Disk(opened, true)),
                _ => Err(Cause::NotADisc(path.display().to_string())),
            };
        }
        if spec.image_use == ImageUse::FileSystem {
            let source = FileSource::new(path);
            return Box::pin(image::open(&source, spec, settings.spool_bytes)).await;
        }
        if let Some(source) = image::packed_file(path, spec.image_format).await {
            return Box::pin(image::open(&source, spec, settings.spool_bytes)).await;
        }
        let opened = Box::pin(Image::open(path, spec.image_format)).await;
        opened.map(|image| Self::Disk(image, false)).map_err(Cause::Image)
    }

    async fn open_chain(leaf: &Path) -> Result<Self, Cause> {
        let folder = leaf.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (declared, parents) = (Declared::Vhd, Parents::Within(folder.to_owned()));
        let (path, opening) = (leaf.to_owned(), Opening { declared, parents, ..Opening::default() });
        let opened = tokio::task::spawn_blocking(move || Image::open_with(&path, &opening)).await;
        opened
            .unwrap_or(Err(disk_stream::Error::Interrupted))
            .map(|image| Self::Disk(image, false))
            .map_err(Cause::Image)
    }

    pub(crate) fn facts(&self) -> ImageFacts {
        match self {
            Self::Disk(image, disc) => ImageFacts {
                name: image.path().display().to_string(),
                virtual_bytes: image.virtual_size(),
                disc: *disc,
            },
            Self::Arriving(image) => image.facts(),
            Self::Cached(image, _) => ImageFacts {
                name: image.image_id.clone(),
                virtual_bytes: image.virtual_bytes,
                disc: image.disc,
            },
            // It has its size already, which the flavor does not change.
            Self::Volume(volume) => {
                ImageFacts { name: volume.disk.to_string(), virtual_bytes: 0, disc: false }
            }
        }
    }

    /// Whether what was written can be compared with it: of a volume, nothing was. Without the handlers, what the host
    /// copied cannot be read.
    pub(crate) fn can_be_compared(&self, via: ImportVia) -> bool {
        !matches!((self, via), (Self::Volume(_), _) | (Self::Cached(..), ImportVia::Dom0))
    }
}

/// An upload that is ready: how much it will be is known.
#[derive(Debug)]
pub(crate) enum Prepared {
    Disk { format: ImportFormat, body: DiskBody },
    Packed { packed: Packed, data_bytes: u64 },
    Nothing,
}

impl Prepared {
    /// Bytes of the disk that will be written, at most.
    pub(crate) fn data_bytes(&self) -> u64 {
        match self {
            Self::Disk { body, .. } => body.stream_len(),
            Self::Packed { data_bytes, .. } => *data_bytes,
            Self::Nothing => 0,
        }
    }
}

/// Looks through the image for what has to be sent. Nothing in the host is touched.
pub(crate) async fn prepare(job: &Job, plan: &Plan, source: &Source, stop: &Stop) -> Result<Prepared, Cause> {
    let (image, import) = match (source, plan.import) {
        (Source::Disk(image, _), Some(import)) => (image, import),
        (Source::Disk(..) | Source::Cached(..) | Source::Volume(_), _) => return Ok(Prepared::Nothing),
        (Source::Arriving(image), _) => {
            return Ok(Prepared::Packed { packed: image.take()?, data_bytes: image.packed_bytes() });
        }
    };
    let counters = disk_stream::Progress::new();
    let upload = Upload {
        virtual_size: Some(plan.root.virtual_bytes),
        progress: counters.clone(),
        ..Upload::default()
    };
    let making = async {
        match import {
            ImportPlan::Vhd if job.driver.settings().import_via == ImportVia::Handler => {
                image.vhd_body(upload).await.map(|body| (ImportFormat::Vhd, body))
            }
            // Of these the size does not matter: only what is allocated is sent.
            ImportPlan::Vhd | ImportPlan::Chunked => {
                image.chunked_body(upload).await.map(|body| (ImportFormat::RawChunked, body))
            }
            ImportPlan::Raw => image.raw_body(upload).map(|body| (ImportFormat::Raw, body)),
        }
    };
    let making = watched(&job.progress, Stage::Scan, &counters, making);
    let (format, body) = stop.guard(making).await?.map_err(Cause::Image)?;
    Ok(Prepared::Disk { format, body })
}

/// Writes the image to a disk that has never been written to.
pub(crate) async fn import_image(
    job: &Job,
    plan: &Plan,
    source: &Source,
    prepared: Prepared,
    disk: &Disk,
    stop: &Stop,
) -> Result<Transfer, Cause> {
    let doing = || {
        let image = source.facts().name;
        format!("importing image {image} into disk {} of SR {:?}", disk.uuid, plan.sr.name_label)
    };
    let label = format!("import of the root disk of {}", plan.vm.name_label);
    let (image, format, mut body) = match (source, prepared) {
        (Source::Disk(image, _), Prepared::Disk { format, body }) => (image, format, body),
        (_, Prepared::Disk { .. } | Prepared::Nothing) => {
            return Err(Cause::Image(disk_stream::Error::Interrupted));
        }
        (_, Prepared::Packed { packed, .. }) => {
            return import_packed(job, plan, packed, disk, label, doing, stop).await;
        }
    };
    if format == ImportFormat::Raw && body.virtual_size() < disk.virtual_bytes {
        // The SR made the disk larger, and what others left behind there must not be seen.
        let upload = Upload { virtual_size: Some(disk.virtual_bytes), ..Upload::default() };
        body = image.raw_body(upload).map_err(Cause::Image)?;
    }
    let needed_bytes = body.stream_len();
    match import(job, Stage::RootDisk, disk, format, body.virtual_size(), body, label, doing, stop).await {
        Ok(moved) => {
            image.check_unchanged().map_err(Cause::Image)?;
            Ok(moved)
        }
        Err(cause) => Err(explain(job, plan, disk, needed_bytes, cause).await),
    }
}

/// Writes some blocks of an image to a disk.
pub(crate) async fn import_blocks(
    job: &Job,
    image: &Image,
    body: DiskBody,
    disk: &Disk,
    stop: &Stop,
) -> Result<(), Cause> {
    let doing = || format!("importing a part of image {} into disk {}", image.path().display(), disk.uuid);
    let label = format!("import into disk {}", disk.uuid);
    let (format, size) = (ImportFormat::RawChunked, body.virtual_size());
    import(job, Stage::RootDisk, disk, format, size, body, label, doing, stop).await.map(drop)
}

/// Writes what arrives to a disk that has never been written to.
async fn import_packed(
    job: &Job,
    plan: &Plan,
    packed: Packed,
    disk: &Disk,
    label: String,
    doing: impl Fn() -> String,
    stop: &Stop,
) -> Result<Transfer, Cause> {
    let rest = if plan.import == Some(ImportPlan::Raw) { Rest::Anything } else { Rest::Zeros };
    let counters = disk_stream::Progress::new();
    let (body, failure) = Watched::new(packed.chunked_body(disk.virtual_bytes, rest, counters.clone()));
    let imported = import(
        job,
        Stage::RootDisk,
        disk,
        ImportFormat::RawChunked,
        disk.virtual_bytes,
        body,
        label,
        doing,
        stop,
    )
    .await;
    let failure = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (imported, failure) {
        (_, Some(failure)) => Err(image::blame(failure)),
        (Ok(moved), None) => Ok(moved),
        (Err(cause), None) => Err(explain(job, plan, disk, counters.snapshot().wire_bytes, cause).await),
    }
}

/// XAPI reports every failure of a transfer as `VDI_IO_ERROR`, that of a repository which ran full
/// among them, and what it says about free space is old: it is asked again.
async fn explain(job: &Job, plan: &Plan, disk: &Disk, needed_bytes: u64, cause: Cause) -> Cause {
    let Cause::Host { source, .. } = &cause else { return cause };
    if source.diagnosis().is_none() {
        return cause;
    }
    let client = job.client();
    let room = async {
        client.call(sr::Update { sr: plan.sr.reference.clone() }).await?;
        let sr = client.record(&plan.sr.reference).await?;
        let ours = client.get_field(&disk.reference, vdi::field::PHYSICAL_UTILISATION).await?;
        Ok::<_, xenapi_client::Error>(room_bytes(sr.physical_size, sr.physical_utilisation, ours))
    };
    match room.await {
        Ok(Some(room_bytes)) if room_bytes < needed_bytes => {
            Cause::SrRanFull { sr: plan.sr.name_label.clone(), room_bytes, needed_bytes }
        }
        // The host may have other worries now; what it said first is what counts.
        _ => cause,
    }
}

/// What is free in a repository and what a disk of it takes, in bytes, if it says how large it is: some say -1 or 0.
fn room_bytes(size: i64, used: i64, ours: i64) -> Option<u64> {
    let free = (size > 0).then(|| size.saturating_sub(used).max(0))?;
    u64::try_from(free.saturating_add(ours.max(0))).ok()
}

/// Writes a config drive to a disk, which may be larger: the rest is filled with zeros.
pub(crate) async fn import_config_drive(
    job: &Job,
    vm_name: &str,
    image: &config_drive::Image,
    disk: &Disk,
    stop: &Stop,
) -> Result<Transfer, Cause> {
    let mut bytes = image.to_vec();
    bytes.resize(bytes.len().max(usize::try_from(disk.virtual_bytes).unwrap_or(0)), 0);
    let body = DiskBody::from_bytes(bytes);
    let label = format!("import of the config drive of {vm_name}");
    let doing = || format!("importing the config drive into disk {}", disk.uuid);
    import(job, Stage::ConfigDrive, disk, ImportFormat::Raw, body.virtual_size(), body, label, doing, stop)
        .await
}

/// Writes a kernel or ramdisk to the beginning of a disk.
pub(crate) async fn import_kernel(
    job: &Job,
    vm_name: &str,
    bytes: &[u8],
    disk: &Disk,
    stop: &Stop,
) -> Result<Transfer, Cause> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().max(usize::try_from(disk.virtual_bytes).unwrap_or(0)), 0);
    let label = format!("import of the kernel of {vm_name}");
    let doing = || format!("importing the kernel into disk {}", disk.uuid);
    let body = DiskBody::from_bytes(bytes);
    import(job, Stage::DiskSetup, disk, ImportFormat::Raw, body.virtual_size(), body, label, doing, stop)
        .await
}

/// Uploads a stream that was made here and describes a disk of `virtual_size` bytes.
#[allow(clippy::too_many_arguments, reason = "one call for all kinds of disks")]
pub(crate) async fn import<B>(
    job: &Job,
    stage: Stage,
    disk: &Disk,
    format: ImportFormat,
    virtual_size: u64,
    body: B,
    label: String,
    doing: impl Fn() -> String,
    stop: &Stop,
) -> Result<Transfer, Cause>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let wire_total_bytes = body.size_hint().exact();
    let at = move |wire_bytes, virtual_bytes| Transfer { wire_bytes, wire_total_bytes, virtual_bytes };
    let (progress, virtual_bytes) = (job.progress.clone(), disk.virtual_bytes);
    progress.send(Event::Bytes(stage, at(0, virtual_bytes)));
    let sent = move |sent| progress.send(Event::Bytes(stage, at(sent, virtual_bytes)));
    let settings = job.driver.settings();
    if settings.import_via == ImportVia::Dom0 {
        let moved = at(dom0_write::pour(job, disk, format, body, sent, stop).await?, virtual_bytes);
        job.progress.send(Event::Bytes(stage, moved));
        return Ok(moved);
    }
    let patience = settings.detach_timeout;
    let route = job.route(&disk.sr).await.map_err(Cause::host(doing()))?;
    let import = job
        .client()
        .import_vdi(&disk.reference, format, body)
        .via(route)
        .validated(virtual_size)
        .until_detached(patience)
        .label(label)
        .on_progress(sent);
    // Closing the connection is the only way to make a host give up a transfer.
    let imported = stop.guard(import.into_future()).await?.map_err(Cause::host(doing()))?;
    let moved = at(imported.bytes, virtual_bytes);
    job.progress.send(Event::Bytes(stage, moved));
    Ok(moved)
}

/// Tells how far the look through an image is while its upload is being made.
async fn watched<T>(
    progress: &Progress,
    stage: Stage,
    counters: &disk_stream::Progress,
    work: impl Future<Output = T>,
) -> T {
    let mut tick = tokio::time::interval(TICK);
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return result,
            _ = tick.tick() => {
                let now = counters.snapshot();
                if now.stage == disk_stream::Stage::Scanning && now.virtual_size > 0 {
                    let (done_bytes, total_bytes) = (now.virtual_bytes, now.virtual_size);
                    progress.send(Event::Scanned { stage, done_bytes, total_bytes });
                }
            }
        }
    }
}

/// Reads a config drive back and compares it with what was to be written, unless the plugin did.
pub(crate) async fn compare_config_drive(
    job: &Job,
    image: &config_drive::Image,
    disk: &Disk,
    stop: &Stop,
) -> Result<(), Cause> {
    if job.driver.settings().import_via == ImportVia::Dom0 {
        return Ok(());
    }
    let mut reader = image.reader();
    let (mut position, mut expected) = (0, Vec::new());
    read_config_drive(job, disk, stop, |chunk| {
        expected.clear();
        // Reading from memory cannot fail; what lies behind the image is zero.
        let _ = (&mut reader).take(chunk.len() as u64).read_to_end(&mut expected);
        expected.resize(chunk.len(), 0);
        if let Some(index) = chunk.iter().zip(&expected).position(|(got, wanted)| got != wanted) {
            return Err(differs("the config drive", disk, position + index as u64));
        }
        position += chunk.len() as u64;
        Ok(())
    })
    .await?;
    if position < image.len_bytes() { Err(differs("the config drive", disk, position)) } else { Ok(()) }
}

/// Reads a config drive back, to its end or until `look` has seen enough.
pub(crate) async fn read_config_drive(
    job: &Job,
    disk: &Disk,
    stop: &Stop,
    mut look: impl FnMut(&[u8]) -> Result<(), Cause>,
) -> Result<(), Cause> {
    let doing = || format!("reading the config drive back from disk {}", disk.uuid);
    let route = job.route(&disk.sr).await.map_err(Cause::host(doing()))?;
    let export = job.client().export_vdi(&disk.reference, ExportFormat::Raw, None).via(route);
    let mut export = stop.guard(export).await?.map_err(Cause::host(doing()))?;
    while let Some(chunk) = stop.guard(export.chunk()).await?.map_err(Cause::host(doing()))? {
        look(&chunk)?;
        let wire_bytes = export.bytes_received();
        let moved = Transfer { wire_bytes, wire_total_bytes: None, virtual_bytes: disk.virtual_bytes };
        job.progress.send(Event::Bytes(Stage::ConfigDriveCheck, moved));
    }
    Ok(())
}

fn differs(what: &str, disk: &Disk, offset: u64) -> Cause {
    Cause::Differs { disk: format!("{what} ({})", disk.uuid), offset }
}

/// Reads a root disk back and compares it with its image: every byte that either side has. An image that came and is
/// gone is compared by its sums, a cached one with the disk that it is. What the plugin wrote, it has compared.
pub(crate) async fn compare_image(job: &Job, source: &Source, disk: &Disk, stop: &Stop) -> Result<(), Cause> {
    if job.driver.settings().import_via == ImportVia::Dom0 {
        return Ok(());
    }
    let image = match source {
        Source::Disk(image, _) => image,
        Source::Arriving(image) => return compare_sums(job, &image.sums, disk, stop).await,
        Source::Cached(image, _) => {
            let doing = || Cause::host(format!("looking for cached image {}", image.uuid));
            let reference = job.client().by_uuid::<Vdi>(&image.uuid).await.map_err(doing())?;
            let record = job.client().record(&reference).await.map_err(doing())?;
            let virtual_bytes = image.virtual_bytes;
            let cached = Disk { reference, sr: record.sr, uuid: record.uuid, virtual_bytes };
            let sums = sums(job, &cached, stop).await?;
            return compare_sums(job, &sums, disk, stop).await;
        }
        Source::Volume(_) => return Ok(()),
    };
    let doing = || format!("reading the root disk back from disk {}", disk.uuid);
    let body = export(job, Stage::RootDiskCheck, disk, ExportFormat::Vhd, doing, stop).await?;
    let comparing = receive(body, Verifier::of_vhd(image), disk_stream::Progress::new());
    match stop.guard(comparing).await? {
        Ok(_) => Ok(()),
        Err(disk_stream::Error::Differs { offset, .. }) => Err(differs("the root disk", disk, offset)),
        Err(disk_stream::Error::TooSmall { got, .. }) => Err(differs("the root disk", disk, got)),
        Err(error) => Err(received(error, doing(), Cause::Image)),
    }
}

async fn compare_sums(job: &Job, written: &Sums, disk: &Disk, stop: &Stop) -> Result<(), Cause> {
    match sums(job, disk, stop).await?.difference(written) {
        None => Ok(()),
        Some(offset) => Err(differs("the root disk", disk, offset)),
    }
}

/// Reads a disk and adds it up.
async fn sums(job: &Job, disk: &Disk, stop: &Stop) -> Result<Sums, Cause> {
    let doing = || format!("reading disk {} back", disk.uuid);
    let body = export(job, Stage::RootDiskCheck, disk, ExportFormat::Vhd, doing, stop).await?;
    let summing = receive(body, SumSink::default(), disk_stream::Progress::new());
    stop.guard(summing).await?.map_err(|error| received(error, doing(), Cause::Image))
}

/// A disk that is copied to another pool, through this program.
pub(crate) struct Relay<'a> {
    pub(crate) from: &'a Disk,
    /// A snapshot of it whose content the copy holds already.
    pub(crate) base: Option<&'a Ref<Vdi>>,
    pub(crate) into: &'a Disk,
    /// The repository of the copy.
    pub(crate) sr: &'a Repository,
    /// Of what was written so far; what is written again is not compared.
    pub(crate) sums: &'a Sums,
    /// Of what it is a part.
    pub(crate) stage: Stage,
}

/// Copies a disk of `job`'s pool to an empty one of `there`, whole, or what has changed since it was copied.
pub(crate) async fn relay(job: &Job, relay: Relay<'_>, there: &Job, stop: &Stop) -> Result<(), Cause> {
    let Relay { from, base, into, sr, sums, stage } = relay;
    let doing = || format!("copying disk {} to disk {} of {}", from.uuid, into.uuid, there.driver.endpoint());
    let route = job.route(&from.sr).await.map_err(Cause::host(doing()))?;
    let export = job.client().export_vdi(&from.reference, ExportFormat::Vhd, base).via(route);
    let export = stop.guard(export).await?.map_err(Cause::host(doing()))?;
    let export = Download::new(export, Stage::Export, Progress::none(), from.virtual_bytes);
    let options = Unpack {
        declared: Declared::Vhd,
        packing: Packing::Bare,
        change: base.is_some(),
        ..Unpack::default()
    };
    let failed = |error| received(error, doing(), Cause::Image);
    let packed = stop.guard(Packed::open(export, options)).await?.map_err(failed)?.summed(sums);
    let rest = match () {
        () if base.is_some() => Rest::Kept,
        () if plan::choose_import(sr, into.virtual_bytes) == ImportPlan::Raw => Rest::Anything,
        () => Rest::Zeros,
    };
    let body = packed.chunked_body(into.virtual_bytes, rest, disk_stream::Progress::new());
    let (body, failure) = Watched::new(body);
    let label = format!("copy of disk {}", from.uuid);
    let format = ImportFormat::RawChunked;
    let imported = import(there, stage, into, format, into.virtual_bytes, body, label, doing, stop).await;
    match (imported, failure.lock().unwrap_or_else(PoisonError::into_inner).take()) {
        (_, Some(failure)) => Err(failed(failure)),
        (imported, None) => imported.map(drop),
    }
}

/// Reads a copy back and compares it with what was written to it.
pub(crate) async fn compare_copy(there: &Job, sums: &Sums, copy: &Disk, stop: &Stop) -> Result<(), Cause> {
    match self::sums(there, copy, stop).await?.difference(sums) {
        None => Ok(()),
        Some(offset) => Err(differs("the copy of a disk", copy, offset)),
    }
}

/// Writes a disk to a file, as a VHD.
pub(crate) async fn export_to_file(
    job: &Job,
    disk: &Disk,
    path: &Path,
    existing: Existing,
    stop: &Stop,
) -> Result<Saved, Cause> {
    // Before the transfer: a directory that is not there costs no more than a look.
    let sink = VhdSink::create(path, existing).map_err(Cause::File)?;
    export_into(job, disk, ExportFormat::Vhd, sink, stop).await
}

/// Writes a disk to a sparse file, byte by byte.
pub(crate) async fn export_to_raw(
    job: &Job,
    disk: &Disk,
    path: &Path,
    existing: Existing,
    stop: &Stop,
) -> Result<Saved, Cause> {
    let sink = RawSink::of_raw(path, existing, disk.virtual_bytes).map_err(Cause::File)?;
    export_into(job, disk, ExportFormat::Raw, sink, stop).await
}

async fn export_into<C: Consume<Output = Saved>>(
    job: &Job,
    disk: &Disk,
    format: ExportFormat,
    sink: C,
    stop: &Stop,
) -> Result<Saved, Cause> {
    let doing = || exporting(disk);
    let body = export(job, Stage::Export, disk, format, doing, stop).await?;
    let saved = stop.guard(receive(body, sink, disk_stream::Progress::new())).await?;
    saved.map_err(|error| received(error, doing(), Cause::File))
}

/// Writes a disk to a pipe, as it comes, and says how many bytes that were.
pub(crate) async fn export_to_pipe(
    job: &Job,
    disk: &Disk,
    format: ExportFormat,
    mut pipe: impl AsyncWrite + Unpin,
    stop: &Stop,
) -> Result<u64, Cause> {
    let doing = || exporting(disk);
    let download = export(job, Stage::Export, disk, format, doing, stop).await?;
    let (progress, virtual_bytes) = (&job.progress, disk.virtual_bytes);
    let tell = |wire_bytes| {
        let moved = Transfer { wire_bytes, wire_total_bytes: None, virtual_bytes };
        progress.send(Event::Bytes(Stage::Export, moved));
    };
    let copied = stop.guard(download.export.copy_to(&mut pipe, tell)).await?;
    Ok(copied.map_err(Cause::host(doing()))?.bytes)
}

fn exporting(disk: &Disk) -> String {
    format!("exporting disk {}", disk.uuid)
}

/// Begins an export.
pub(crate) async fn export(
    job: &Job,
    stage: Stage,
    disk: &Disk,
    format: ExportFormat,
    doing: impl Fn() -> String,
    stop: &Stop,
) -> Result<Download, Cause> {
    let route = job.route(&disk.sr).await.map_err(Cause::host(doing()))?;
    let export = job.client().export_vdi(&disk.reference, format, None).via(route);
    let export = stop.guard(export).await?;
    let export = export.map_err(Cause::host(doing()))?;
    Ok(Download::new(export, stage, job.progress.clone(), disk.virtual_bytes))
}

/// An export as a body whose bytes are counted.
pub(crate) struct Download {
    export: Export,
    stage: Stage,
    progress: Progress,
    virtual_bytes: u64,
    told: Option<Instant>,
}

impl Download {
    pub(crate) fn new(export: Export, stage: Stage, progress: Progress, virtual_bytes: u64) -> Self {
        Self { export, stage, progress, virtual_bytes, told: None }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = xenapi_client::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, xenapi_client::Error>>> {
        let piece = ready!(Pin::new(&mut self.export).poll_next(cx));
        let is_end = piece.is_none();
        if is_end || self.told.is_none_or(|told| told.elapsed() >= TICK) {
            self.told = Some(Instant::now());
            let wire_bytes = self.export.bytes_received();
            let wire_total_bytes = is_end.then_some(wire_bytes);
            let moved = Transfer { wire_bytes, wire_total_bytes, virtual_bytes: self.virtual_bytes };
            self.progress.send(Event::Bytes(self.stage, moved));
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }
}

/// Tells what failed in the host from what failed `here`.
pub(crate) fn received(
    error: disk_stream::Error,
    doing: String,
    here: fn(disk_stream::Error) -> Cause,
) -> Cause {
    match error {
        disk_stream::Error::Body { position, source } => match source.downcast::<xenapi_client::Error>() {
            Ok(source) => Cause::Host { doing, source: *source },
            Err(source) => here(disk_stream::Error::Body { position, source }),
        },
        error => here(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_in_a_repository() {
        for (size, used, ours, room) in [
            (100, 30, 5, Some(75)),
            (100, 130, 5, Some(5)),
            (100, 30, -1, Some(70)),
            (0, 0, 5, None),
            (-1, 30, 5, None),
            // Whatever a repository says.
            (i64::MAX, i64::MIN, i64::MAX, Some(i64::MAX as u64)),
            (1, i64::MAX, i64::MIN, Some(0)),
        ] {
            assert_eq!(room_bytes(size, used, ours), room, "{size} {used} {ours}");
        }
    }
}
