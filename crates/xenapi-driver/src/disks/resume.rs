//! An import in several transfers, with a journal of those that succeeded.

use std::path::Path;

use disk_stream::{Image, Progress, UploadJournal, Zeros};
use uuid::Uuid;
use xenapi_storage::ownership;
use xenapi_types::{Vdi, sr, vdi};

use super::{DiskImport, ImportJournal, ImportedDisk, ResumedImport};
use crate::cancel::Stop;
use crate::error::Cause;
use crate::image_cache;
use crate::import::{self, Wanted};
use crate::job::{Disk, Failed, Job};
use crate::plan::{ImportPlan, choose_import};
use crate::progress::Stage;
use crate::spec::{Flavor, InstanceSpec, SrChoice};
use crate::transfer::{self, Source};

pub(super) async fn import(
    job: &Job,
    request: &DiskImport,
    journal: &ImportJournal,
    stop: &Stop,
) -> Result<ImportedDisk, Failed> {
    let path = &journal.path;
    let image = job.stage(Stage::Image, open(job, request, path)).await?;
    let (disk, upload) = match job.stage(Stage::Find, begun(job, request, &image, path, stop)).await? {
        Some(disk) => {
            job.would(|| vec![format!("go on with the import into disk {}", disk.uuid)])?;
            let upload = job.stage(Stage::Scan, open_journal(path, &image, &disk, stop)).await?;
            (disk, upload)
        }
        None => Box::pin(make(job, request, &image, path, stop)).await?,
    };
    let kept_bytes = upload.accepted() * u64::from(upload.missing().block_size());
    let sending = send(job, &disk, &image, upload, journal.batch_bytes, stop);
    let (upload, sent_bytes) = job.stage(Stage::RootDisk, sending).await?;
    let sr_uuid = job.stage(Stage::RootDisk, repository_of(job, &disk)).await?;
    let source = Source::Disk(image, false);
    let comparing = async {
        transfer::compare_image(job, &source, &disk, stop).await?;
        // From here on nobody needs to know what has arrived.
        blocking(stop, move || upload.remove()).await
    };
    job.stage(Stage::RootDiskCheck, comparing).await?;
    let resumed = Some(ResumedImport { kept_bytes, sent_bytes });
    Ok(ImportedDisk { uuid: disk.uuid, sr_uuid, virtual_bytes: disk.virtual_bytes, resumed })
}

async fn blocking<T: Send + 'static>(
    stop: &Stop,
    work: impl FnOnce() -> Result<T, disk_stream::Error> + Send + 'static,
) -> Result<T, Cause> {
    let done = stop.guard(tokio::task::spawn_blocking(work)).await?;
    done.unwrap_or(Err(disk_stream::Error::Interrupted)).map_err(Cause::ImportJournal)
}

fn refused(path: &Path, why: String) -> Cause {
    Cause::ImportJournal(disk_stream::Error::Refused { path: path.to_owned(), why })
}

/// The image, which is read as often as the connection breaks.
async fn open(job: &Job, request: &DiskImport, journal: &Path) -> Result<Image, Cause> {
    let mut spec = InstanceSpec::new(&*request.name, Flavor::new(1, 1, 0), request.image.clone());
    spec.image_format = request.image_format;
    match Source::open(&spec, job.driver.settings()).await? {
        Source::Disk(image, _) => Ok(image),
        source => {
            let why = "which cannot be read at any place and more than once; give a file that is not packed";
            Err(refused(journal, format!("it would be of image {}, {why}", source.facts().name)))
        }
    }
}

/// The disk into which an import was begun, if one was and can go on.
async fn begun(
    job: &Job,
    request: &DiskImport,
    image: &Image,
    path: &Path,
    stop: &Stop,
) -> Result<Option<Disk>, Cause> {
    let (journal, source) = (path.to_owned(), image.clone());
    let found = blocking(stop, move || UploadJournal::begun(&journal, &source)).await?;
    let Some(begun) = found else { return Ok(None) };
    let target = begun.target;
    let foreign = |_| refused(path, "it is the journal of something else than an import".to_owned());
    let uuid: Uuid = target.parse().map_err(foreign)?;
    if !begun.same_source {
        let image = image.path().display();
        let why = format!("{image} is not what it was when its import into disk {uuid} began");
        return Err(refused(path, why));
    }
    let (client, doing) = (job.client(), || Cause::host(format!("looking for disk {uuid}")));
    let Some(reference) = client.by_uuid_opt::<Vdi>(&target).await.map_err(doing())? else {
        if begun.sent {
            return Err(refused(path, format!("disk {uuid}, of which it says what has arrived, is gone")));
        }
        let failed = |source| disk_stream::Error::Write { path: path.to_owned(), source };
        std::fs::remove_file(path).map_err(failed).map_err(Cause::ImportJournal)?;
        return Ok(None);
    };
    // A transfer that broke off has it for some seconds more.
    let patience = job.driver.settings().detach_timeout;
    stop.guard(client.wait_until_detached(&reference, patience)).await?.map_err(doing())?;
    let disk = super::find(client, uuid).await?;
    fits(job, request, image, path, &disk).await?;
    let keys = client.get_field(&reference, vdi::field::OTHER_CONFIG).await.map_err(doing())?;
    if keys.contains_key(ownership::OPERATION) {
        // A program ended between the journal and this.
        super::release(job, &disk).await?;
    }
    Ok(Some(disk))
}

/// Whether a disk is what is asked for now.
async fn fits(job: &Job, request: &DiskImport, image: &Image, path: &Path, disk: &Disk) -> Result<(), Cause> {
    let Disk { uuid, virtual_bytes, .. } = disk;
    let wanted = request.virtual_bytes.unwrap_or(0).max(image.virtual_size());
    if *virtual_bytes < wanted {
        let why = format!("disk {uuid} has {virtual_bytes} bytes by now, and the import needs {wanted}");
        return Err(refused(path, why));
    }
    if request.sr == SrChoice::default() {
        return Ok(());
    }
    let sr = image_cache::choose_sr(job, &request.image, &request.sr).await?;
    if sr.reference == disk.sr {
        return Ok(());
    }
    let why =
        format!("the import was begun into disk {uuid}, which is not in repository {:?}", sr.name_label);
    Err(refused(path, why))
}

/// A new disk, with a journal that knows it before it is nobody's: whenever this program ends, one of the two leads to it.
async fn make(
    job: &Job,
    request: &DiskImport,
    image: &Image,
    path: &Path,
    stop: &Stop,
) -> Result<(Disk, UploadJournal), Failed> {
    let name = request.name.clone();
    let choosing = async {
        let sr = image_cache::choose_sr(job, &request.image, &request.sr).await?;
        if choose_import(&sr, image.virtual_size()) == ImportPlan::Raw {
            let why = "is not empty in the beginning, so that all of it has to be written at once";
            return Err(refused(path, format!("a new disk of repository {:?} {why}", sr.name_label)));
        }
        Ok(sr)
    };
    let sr = job.stage(Stage::Plan, choosing).await?;
    job.remember_lost_answers(&name, vec![name.clone()]);
    let wanted = Wanted {
        name: name.clone(),
        image: request.image.clone(),
        image_format: request.image_format,
        sr: SrChoice::Uuid(sr.uuid.clone()),
        bytes: request.virtual_bytes,
        discs: true,
    };
    let nobody = image_cache::nobody(&sr);
    let ready = Box::pin(import::ready(job, &nobody, Uuid::new_v4(), wanted, stop)).await?;
    let plan = ready.into_plan();
    job.would(|| vec![format!("make disk {name:?} of the image in storage repository {:?}", sr.name_label)])?;
    let making = async {
        let disk = import::empty(job, &plan, stop).await?;
        let upload = open_journal(path, image, &disk, stop).await?;
        super::release(job, &disk).await?;
        Ok((disk, upload))
    };
    job.stage(Stage::RootDisk, making).await
}

async fn open_journal(path: &Path, image: &Image, disk: &Disk, stop: &Stop) -> Result<UploadJournal, Cause> {
    let (path, image, target) = (path.to_owned(), image.clone(), disk.uuid.clone());
    blocking(stop, move || UploadJournal::open(&path, &image, &target, Zeros::Detect)).await
}

/// Sends what is missing, and counts its bytes.
async fn send(
    job: &Job,
    disk: &Disk,
    image: &Image,
    mut upload: UploadJournal,
    batch_bytes: u64,
    stop: &Stop,
) -> Result<(UploadJournal, u64), Cause> {
    let mut sent = 0;
    while let Some((body, receipt)) = upload.batch(batch_bytes, Progress::new()) {
        sent += body.stream_len();
        transfer::import_blocks(job, image, body, disk, stop).await?;
        let noting = move || {
            upload.accept(receipt)?;
            Ok(upload)
        };
        upload = blocking(stop, noting).await?;
    }
    Ok((upload, sent))
}

async fn repository_of(job: &Job, disk: &Disk) -> Result<String, Cause> {
    let asked = job.client().get_field(&disk.sr, sr::field::UUID).await;
    asked.map_err(Cause::host(format!("looking for the repository of disk {}", disk.uuid)))
}
