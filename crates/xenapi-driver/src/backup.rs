//! An instance's root disk in files, of which each holds what has changed since the one before.
//!
//! ```text
//! full.vhd ◄── monday.vhd ◄── tuesday.vhd        files: each names the one before as its parent
//!    ▲             ▲              ▲
//! snapshot      snapshot       snapshot          in the SR: only the last one is kept
//! ```
//!
//! A file has the uuid of the snapshot that it was made from, so that nothing has to be written down: the next one
//! finds the snapshot by the file. The disk is restored by spawning from the last file with the others beside it.

use std::path::{Path, PathBuf};

use disk_stream::{
    Existing, Identified, Identity, Image, Opening, Parents, Progress as Counters, VhdSink, receive,
};
use uuid::Uuid;
use xenapi_client::ExportFormat;
use xenapi_storage::ownership;
use xenapi_types::{Ref, Vdi, VdiRecord};

use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::{self, Which};
use crate::job::{Disk, Job};
use crate::operation::Operation;
use crate::progress::{Progress, Stage};
use crate::remove::{self, Dom0};
use crate::rollback::Leftover;
use crate::snapshot;
use crate::transfer::{self, Download};

/// How a backup is made.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// The file made before, which the new one is to be based on; `None` makes a full one. It must be in the folder of
    /// the new one or below, together with those it is based on itself.
    pub base: Option<PathBuf>,
    /// What to do if the file exists.
    pub existing: Existing,
    /// Whether the snapshot stays in the SR, so that the next file can be based on this one. It takes the space of what
    /// is written from now on, and ends with the instance.
    pub keep: bool,
    /// Who is told what happens.
    pub progress: Progress,
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self { base: None, existing: Existing::Refuse, keep: true, progress: Progress::none() }
    }
}

/// A backup.
#[derive(Debug)]
#[non_exhaustive]
pub struct Backup {
    /// The file: a dynamic VHD, or a differencing one.
    pub path: PathBuf,
    /// Its length in bytes.
    pub file_bytes: u64,
    /// Size of the disk in bytes.
    pub virtual_bytes: u64,
    /// Uuid of the disk.
    pub disk_uuid: String,
    /// Uuid of the snapshot it was made from, and of the file.
    pub snapshot_uuid: String,
    /// Whether that snapshot is still in the SR. When it was to be and could not be marked so, a backup that replaced a file
    /// ends well without it: the file is good, and the earlier snapshot stays.
    pub kept: bool,
    /// Snapshots that could not be removed. The file is good all the same.
    pub leftovers: Vec<Leftover>,
}

impl Driver {
    /// Snapshots the root disk of an instance, running or not, and writes the snapshot to `path`, or what has changed
    /// since an earlier backup. `path` appears when the file is complete. The snapshot of the earlier one is removed
    /// then.
    ///
    /// The guest is not asked: the disk is as it would be after a power cut.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::NoRootDisk`], [`Cause::NoBase`] when the earlier file's snapshot is gone or
    /// is one of another disk, [`Cause::File`], [`Cause::Host`]. Neither file nor snapshot is left then, and the
    /// earlier snapshot stays.
    pub fn backup(
        &self,
        which: Which,
        path: impl Into<PathBuf>,
        options: BackupOptions,
    ) -> Operation<Backup> {
        let (object, path) = (format!("instance {which}"), path.into());
        self.verb(Op::Snapshot, object, options.progress.clone(), move |job, stop| {
            Box::pin(async move {
                let finding = async {
                    let (root, record) = snapshot::find_root(job, &which).await?;
                    let base = match &options.base {
                        Some(file) => Some(Base::find(job, &root, file, &path).await?),
                        None => None,
                    };
                    Ok((root, record, base))
                };
                let (root, record, base) = job.stage(Stage::Find, finding).await?;
                job.would(|| {
                    let what = format!("write it to {}", path.display());
                    let mut steps = snapshot::passing(&record.uuid, &what);
                    if options.keep {
                        steps[2] = "keep the snapshot for the next backup".to_owned();
                    }
                    if base.is_some() {
                        steps.push("remove the snapshot of the earlier backup".to_owned());
                    }
                    steps
                })?;
                let disk = job.stage(Stage::Snapshot, snapshot::take(job, &root, &record, stop)).await?;
                let saving = save(job, &disk, base.as_ref(), &path, options.existing, stop);
                let saved = job.stage(Stage::Export, saving).await?;
                let settling = settle(job, &disk, base.as_ref(), &path, &options);
                let (kept, leftovers) = job.stage(Stage::Remove, settling).await?;
                Ok(Backup {
                    path,
                    file_bytes: saved.stream_len,
                    virtual_bytes: saved.virtual_size,
                    disk_uuid: record.uuid,
                    snapshot_uuid: disk.uuid,
                    kept,
                    leftovers,
                })
            })
        })
    }
}

/// On a kept snapshot: the uuid of that which it stands in for, and which goes.
const REPLACES: &str = "xenapi-rs:replaces";

/// What the new file is based on.
struct Base {
    image: Image,
    snapshot: Ref<Vdi>,
    uuid: Uuid,
}

impl Base {
    async fn find(job: &Job, root: &Ref<Vdi>, file: &Path, place: &Path) -> Result<Self, Cause> {
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (parents, path) = (Parents::Within(folder.to_owned()), file.to_owned());
        let opening = Opening { parents, ..Opening::default() };
        let opened = tokio::task::spawn_blocking(move || Image::open_with(&path, &opening)).await;
        let image = opened.unwrap_or(Err(disk_stream::Error::Interrupted)).map_err(Cause::Image)?;
        let snapshot = image.map().map(|map| map.footer().uuid).unwrap_or_default();
        let failed = |why| Cause::NoBase { base: file.to_owned(), snapshot, why };
        let doing = || Cause::host(format!("looking for snapshot {snapshot}"));
        let found = job.client().by_uuid_opt::<Vdi>(&snapshot.to_string()).await.map_err(doing())?;
        let reference = found.ok_or_else(|| failed("is not in the pool any more"))?;
        let record = job.client().record(&reference).await.map_err(doing())?;
        if !record.is_a_snapshot || record.snapshot_of != *root {
            return Err(failed("is not one of this disk"));
        }
        Ok(Self { image, snapshot: reference, uuid: snapshot })
    }
}

async fn save(
    job: &Job,
    disk: &Disk,
    base: Option<&Base>,
    path: &Path,
    existing: Existing,
    stop: &Stop,
) -> Result<disk_stream::Saved, Cause> {
    let doing = || format!("exporting disk {}", disk.uuid);
    let uuid = disk.uuid.parse().unwrap_or_else(|_| Uuid::new_v4());
    let identity = match base {
        Some(base) => Identity::child_of(uuid, &base.image, path).map_err(Cause::File)?,
        None => Identity::whole(uuid),
    };
    // Before the transfer: a directory that is not there costs no more than a look.
    let sink = VhdSink::create(path, existing).map_err(Cause::File)?;
    let relative = base.map(|base| &base.snapshot);
    let export = stop.guard(job.client().export_vdi(&disk.reference, ExportFormat::Vhd, relative)).await?;
    let export = export.map_err(Cause::host(doing()))?;
    let export = Download::new(export, Stage::Export, job.progress.clone(), disk.virtual_bytes);
    let saved = stop.guard(receive(Identified::new(export, identity), sink, Counters::new())).await?;
    saved.map_err(|error| transfer::received(error, doing(), Cause::File))
}

/// The file is complete: what it was made from stays or goes, and what the one before was made from goes. Tells what
/// could not be removed.
async fn settle(
    job: &Job,
    disk: &Disk,
    base: Option<&Base>,
    path: &Path,
    options: &BackupOptions,
) -> Result<(bool, Vec<Leftover>), Cause> {
    let (client, patience) = (job.client(), job.driver.settings().detach_timeout);
    let (mut going, mut leftovers) = (Vec::new(), Vec::new());
    let mut kept = options.keep;
    if options.keep {
        let replaces = base.map(|base| (REPLACES, base.uuid.to_string()));
        if let Err(error) = snapshot::keep(job, &disk.reference, replaces).await {
            if options.existing != Existing::Replace {
                // A file that nothing can be based on is not what was asked for.
                if let Err(error) = std::fs::remove_file(path) {
                    tracing::warn!(%error, path = %path.display(), "cannot be removed");
                }
                return Err(Cause::host(format!("keeping snapshot {}", disk.uuid))(error));
            }
            // The file that was there is gone, and this one is good.
            kept = false;
            let what = format!("snapshot {}, which is not kept for the next backup", disk.uuid);
            leftovers.push(Leftover { what, error: error.into() });
        }
    }
    if !kept {
        going.push(disk.reference.clone());
    }
    // Without a snapshot of this one, the next backup is based on the one before.
    if let Some(base) = base.filter(|_| kept || !options.keep) {
        let mut record = client.record_opt(&base.snapshot).await;
        if record.is_err() {
            record = client.record_opt(&base.snapshot).await;
        }
        let owner = &job.driver.settings().owner;
        let ours = |record: &VdiRecord| {
            is_kept(record) && find::made_for(&record.other_config, &record.uuid, owner).is_some()
        };
        // What cannot be read is not removed; it ends with the instance.
        going.extend(record.ok().flatten().filter(ours).map(|_| base.snapshot.clone()));
    }
    for vdi in going {
        let mut removed = remove::vdi(client, &vdi, Dom0::Detach, patience).await;
        if removed.is_err() {
            // The backup is complete, so that nobody comes by here again: what passes has passed now.
            removed = remove::vdi(client, &vdi, Dom0::Detach, patience).await;
        }
        if let Err(error) = removed {
            leftovers.push(Leftover { what: format!("snapshot {vdi}"), error: error.into() });
        }
    }
    Ok((kept, leftovers))
}

/// The uuid of the snapshot that a kept one stands in for.
pub(crate) fn replaced(snapshot: &VdiRecord) -> Option<&str> {
    snapshot.other_config.get(REPLACES).filter(|_| is_kept(snapshot)).map(String::as_str)
}

/// Whether a snapshot is there for the next backup.
pub(crate) fn is_kept(snapshot: &VdiRecord) -> bool {
    snapshot.is_a_snapshot && snapshot.other_config.contains_key(ownership::KEPT)
}
