//! An instance's root disk as a VHD file.

use std::path::{Path, PathBuf};

pub use disk_stream::Existing;
use xenapi_storage::ownership::{self, Ownership};
use xenapi_types::{Ref, Vdi, VdiRecord, vdi};

use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Error, Op};
use crate::find::{self, Which};
use crate::job::{Disk, Failed, Job};
use crate::operation::Operation;
use crate::progress::{Progress, Stage};
use crate::remove;
use crate::rollback::Leftover;
use crate::transfer;

/// A snapshot in a file.
#[derive(Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The file, a dynamic VHD.
    pub path: PathBuf,
    /// Length of the file in bytes.
    pub file_bytes: u64,
    /// Size of the disk in bytes.
    pub virtual_bytes: u64,
    /// Uuid of the disk that was snapshotted.
    pub disk_uuid: String,
    /// The snapshot in the SR, if it could not be removed again. The file is good all the same.
    pub leftovers: Vec<Leftover>,
}

impl Driver {
    /// Snapshots the root disk of an instance, running or not, writes the snapshot to `path` as a
    /// dynamic VHD, and removes it from its SR.
    ///
    /// The guest is not asked: the disk is as it would be after a power cut. `path` appears when the
    /// file is complete; until then the data are in a file beside it.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::NoRootDisk`], [`Cause::File`], [`Cause::Host`]. Neither
    /// file nor snapshot is left then.
    pub fn snapshot(
        &self,
        which: Which,
        path: impl Into<PathBuf>,
        existing: Existing,
        progress: Progress,
    ) -> Operation<Snapshot> {
        let object = format!("instance {which}");
        let (name, path) = (object.clone(), path.into());
        let job = Job::new(self.clone(), progress);
        Operation::start(&self.0.running, Op::Snapshot, object, |stop| async move {
            match body(&job, &which, &path, existing, &stop).await {
                Ok(snapshot) => {
                    let leftovers = job.rollback.undo(&Progress::none()).await;
                    Ok(Snapshot { leftovers, ..snapshot })
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
    path: &Path,
    existing: Existing,
    stop: &Stop,
) -> Result<Snapshot, Failed> {
    let (root, record) = job.stage(Stage::Find, find_root(job, which)).await?;
    let disk = job.stage(Stage::Snapshot, take(job, &root, &record, stop)).await?;
    let saved = job.stage(Stage::Export, transfer::export_to_file(job, &disk, path, existing, stop)).await?;
    Ok(Snapshot {
        path: path.to_owned(),
        file_bytes: saved.stream_len,
        virtual_bytes: saved.virtual_size,
        disk_uuid: record.uuid,
        leftovers: Vec::new(),
    })
}

pub(crate) async fn find_root(job: &Job, which: &Which) -> Result<(Ref<Vdi>, VdiRecord), Cause> {
    let Some((_, vm)) = find::vm(job.client(), which).await? else {
        return Err(which.unknown());
    };
    let disks = find::disks(job.client(), &vm).await?;
    let Some((_, root)) = disks.into_iter().find(|(_, vbd)| vbd.userdevice == "0") else {
        return Err(Cause::NoRootDisk(vm.uuid));
    };
    let record = job.client().record(&root.vdi).await;
    let record = record.map_err(Cause::host(format!("reading the root disk of VM {}", vm.uuid)))?;
    Ok((root.vdi, record))
}

/// The snapshot is never meant to stay: it is put on the undo stack, which runs in any case.
///
/// A key that the disk has while it is taken goes with it into the snapshot, and so even a snapshot whose
/// reference was lost on the way can be told from those of others.
pub(crate) async fn take(job: &Job, root: &Ref<Vdi>, record: &VdiRecord, stop: &Stop) -> Result<Disk, Cause> {
    let doing = || format!("taking a snapshot of disk {}", record.uuid);
    let client = job.client();
    let marker = format!("xenapi-rs:snapshot:{}", job.operation);
    stop.check()?;
    let (undo, original, key) = (client.clone(), root.clone(), marker.clone());
    let patience = job.driver.settings().detach_timeout;
    job.rollback.push_sweep(format!("snapshots of disk {} with key {marker}", record.uuid), async move {
        remove::marked_snapshots(&undo, &original, &key, patience).await
    });
    let mark = client.add_to(root, vdi::field::OTHER_CONFIG, &*marker, "true");
    mark.await.map_err(Cause::host(doing()))?;
    let call = vdi::Snapshot { vdi: root.clone(), driver_params: None };
    let snapshot = client.call(call).await.map_err(Cause::host(doing()))?;
    job.remember_disk(&snapshot, "snapshot");
    let unmark = client.remove_from(root, vdi::field::OTHER_CONFIG, &*marker);
    unmark.await.map_err(Cause::host(doing()))?;
    let taken = client.record(&snapshot).await.map_err(Cause::host(doing()))?;
    // The keys are those of the original; from now on they say what this is.
    let mut keys = taken.other_config.clone();
    let instance = keys.get(ownership::INSTANCE).and_then(|uuid| uuid.parse().ok()).unwrap_or_default();
    let owner = job.driver.settings().owner.clone();
    keys.extend(Ownership { owner, instance, operation: job.operation }.keys());
    keys.insert(ownership::SELF.to_owned(), taken.uuid.clone());
    client.set_field(&snapshot, vdi::field::OTHER_CONFIG, keys).await.map_err(Cause::host(doing()))?;
    let virtual_bytes = u64::try_from(taken.virtual_size).unwrap_or(0);
    Ok(Disk { reference: snapshot, uuid: taken.uuid, virtual_bytes })
}
