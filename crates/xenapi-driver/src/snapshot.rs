//! An instance's root disk as a VHD file.

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use disk_stream::Existing;
use xenapi_client::Client;
use xenapi_storage::ownership::{self, Ownership};
use xenapi_types::{Call, Ref, Vdi, VdiRecord, Vm, VmRecord, vdi, vm};

use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::{self, Which};
use crate::held::Held;
use crate::job::{Disk, Job, Leaves};
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
        let (object, path) = (format!("instance {which}"), path.into());
        self.passing(Op::Snapshot, object, progress, move |job, stop| {
            Box::pin(async move {
                let (root, record) = job.stage(Stage::Find, find_root(job, &which)).await?;
                job.would(|| passing(&record.uuid, &format!("write it to {}", path.display())))?;
                let disk = job.stage(Stage::Snapshot, take(job, &root, &record, stop)).await?;
                let saving = transfer::export_to_file(job, &disk, &path, existing, stop);
                let saved = job.stage(Stage::Export, saving).await?;
                let (file_bytes, virtual_bytes) = (saved.stream_len, saved.virtual_size);
                let (disk_uuid, leftovers) = (record.uuid, Vec::new());
                Ok(Snapshot { path, file_bytes, virtual_bytes, disk_uuid, leftovers })
            })
        })
    }
}

impl Leaves for Snapshot {
    fn leave(&mut self, leftovers: Vec<Leftover>) {
        self.leftovers = leftovers;
    }
}

/// What is done with a snapshot that does not stay, in words.
pub(crate) fn passing(disk: &str, what: &str) -> Vec<String> {
    vec![format!("take a snapshot of disk {disk}"), what.to_owned(), "remove the snapshot".to_owned()]
}

pub(crate) async fn find_root(job: &Job, which: &Which) -> Result<(Ref<Vdi>, VdiRecord), Cause> {
    let (_, vm) = find::ours(job, which).await?;
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
    let call = vdi::Snapshot { vdi: root.clone(), driver_params: None };
    taken(job, root, record, call, format!("taking a snapshot of disk {}", record.uuid), stop).await
}

/// As [`take`], but a clone, which can be written to.
pub(crate) async fn clone(
    job: &Job,
    root: &Ref<Vdi>,
    record: &VdiRecord,
    stop: &Stop,
) -> Result<Disk, Cause> {
    let call = vdi::Clone { vdi: root.clone(), driver_params: None };
    taken(job, root, record, call, format!("cloning disk {}", record.uuid), stop).await
}

async fn taken<C: Call<Output = Ref<Vdi>>>(
    job: &Job,
    root: &Ref<Vdi>,
    record: &VdiRecord,
    call: C,
    doing: String,
    stop: &Stop,
) -> Result<Disk, Cause> {
    let doing = || Cause::host(&*doing);
    stop.check()?;
    remember_marked(job, None);
    mark(job, root, &record.uuid).await.map_err(doing())?;
    let snapshot = job.client().call(call).await.map_err(doing())?;
    job.remember_disk(&snapshot, "snapshot");
    unmark(job, root).await.map_err(doing())?;
    let snapshot = seal(job, &snapshot).await.map_err(doing())?;
    remove::unmark_others(job.client(), &marker(job), job.operation).await;
    Ok(snapshot)
}

/// The key of what a snapshot or a clone is made of, as long as that takes, and of what is made on the way.
pub(crate) fn marker(job: &Job) -> String {
    format!("xenapi-rs:snapshot:{}", job.operation)
}

/// Has the snapshots of a VM and of disks that have our mark removed in the end, and the marks with them.
fn remember_marked(job: &Job, vm: Option<Ref<Vm>>) {
    let (driver, key, operation) = (job.driver.clone(), marker(job), job.operation);
    let patience = driver.settings().detach_timeout;
    job.rollback.push_sweep(format!("snapshots of disks with key {key}"), async move {
        let taken = match vm {
            Some(vm) => remove::marked_vm_snapshots(&driver, &vm, &key, operation).await,
            None => Ok(()),
        };
        let removed = remove::marked(driver.client(), &key, operation, patience).await;
        taken.and(removed.map_err(Held::from))
    });
}

async fn mark(job: &Job, vdi: &Ref<Vdi>, uuid: &str) -> xenapi_client::Result<()> {
    job.client().add_to(vdi, vdi::field::OTHER_CONFIG, marker(job), uuid).await
}

async fn unmark(job: &Job, vdi: &Ref<Vdi>) -> xenapi_client::Result<()> {
    job.client().remove_from(vdi, vdi::field::OTHER_CONFIG, marker(job)).await
}

/// Replaces a snapshot's keys, which are those of its original: from now on they say what it is. The mark stays, so
/// that it is found by that as well.
async fn seal(job: &Job, snapshot: &Ref<Vdi>) -> xenapi_client::Result<Disk> {
    let taken = job.client().record(snapshot).await?;
    let keys = own_keys(job, taken.other_config, &taken.uuid);
    job.client().set_field(snapshot, vdi::field::OTHER_CONFIG, keys).await?;
    let virtual_bytes = u64::try_from(taken.virtual_size).unwrap_or(0);
    Ok(Disk { reference: snapshot.clone(), sr: taken.sr, uuid: taken.uuid, virtual_bytes })
}

fn own_keys(job: &Job, mut keys: BTreeMap<String, String>, uuid: &str) -> BTreeMap<String, String> {
    let instance = keys.get(ownership::INSTANCE).and_then(|uuid| uuid.parse().ok()).unwrap_or_default();
    let owner = job.driver.settings().owner.clone();
    keys.extend(Ownership { owner, instance, operation: job.operation }.keys());
    keys.insert(ownership::SELF.to_owned(), uuid.to_owned());
    keys
}

/// Turns a snapshot that was passing into one that stays, with this beside the mark.
pub(crate) async fn keep(
    job: &Job,
    snapshot: &Ref<Vdi>,
    beside: Option<(&str, String)>,
) -> xenapi_client::Result<()> {
    let mut keys = job.client().get_field(snapshot, vdi::field::OTHER_CONFIG).await?;
    keys.remove(&marker(job));
    keys.insert(ownership::KEPT.to_owned(), "true".to_owned());
    keys.extend(beside.map(|(key, value)| (key.to_owned(), value)));
    job.client().set_field(snapshot, vdi::field::OTHER_CONFIG, keys).await
}

/// A disk of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceDisk {
    /// Its number in the VM; `0` is the root disk.
    pub userdevice: String,
    /// Its uuid.
    pub uuid: String,
    /// Its `name_label`.
    pub name: String,
    /// Its size in bytes.
    pub virtual_bytes: u64,
}

/// A snapshot, and what it was taken of.
pub(crate) struct Taken {
    pub(crate) of: InstanceDisk,
    pub(crate) snapshot: Disk,
}

/// Snapshots of those disks of an instance that are `wanted`, all of the same moment.
///
/// As [`take`]: all of it is on the undo stack.
pub(crate) async fn take_all(
    job: &Job,
    which: &Which,
    wanted: impl Fn(&InstanceDisk) -> bool,
    stop: &Stop,
) -> Result<Vec<Taken>, Cause> {
    let client = job.client();
    let (vm, vm_record) = find::ours(job, which).await?;
    let doing = || Cause::host(format!("taking a snapshot of VM {}", vm_record.uuid));
    let (chosen, ignored): (Vec<_>, Vec<_>) =
        disks_of(client, &vm_record).await?.into_iter().partition(|(_, disk)| wanted(disk));
    job.would(|| {
        let disks = chosen.iter().map(|(_, disk)| disk.uuid.as_str()).collect::<Vec<_>>().join(", ");
        let take = format!("take a snapshot of VM {} with its disks {disks}", vm_record.uuid);
        vec![take, "upload each disk as an image".to_owned(), "remove the snapshot".to_owned()]
    })?;
    stop.check()?;
    let new_name = format!("{} (snapshot of {})", vm_record.name_label, job.operation);
    remember_marked(job, Some(vm.clone()));
    client.add_to(&vm, vm::field::OTHER_CONFIG, marker(job), "true").await.map_err(doing())?;
    for (vdi, disk) in &chosen {
        mark(job, vdi, &disk.uuid).await.map_err(doing())?;
    }
    let ignored = ignored.into_iter().map(|(vdi, _)| vdi).collect();
    let snapshot = snapshot_vm(client, &vm, new_name, ignored).await.map_err(doing())?;
    let (driver, made) = (job.driver.clone(), snapshot.clone());
    job.rollback.push(format!("snapshot ({snapshot}) of VM {}", vm_record.uuid), async move {
        remove::vm(&driver, &made).await
    });
    client.remove_from(&vm, vm::field::OTHER_CONFIG, marker(job)).await.map_err(doing())?;
    let record = client.record(&snapshot).await.map_err(doing())?;
    let keys = own_keys(job, record.other_config.clone(), &record.uuid);
    client.set_field(&snapshot, vm::field::OTHER_CONFIG, keys).await.map_err(doing())?;
    let mut snapshots = BTreeMap::new();
    for (_, vbd) in find::disks(client, &record).await? {
        job.remember_disk(&vbd.vdi, "snapshot");
        snapshots.insert(vbd.userdevice, seal(job, &vbd.vdi).await.map_err(doing())?);
    }
    let mut taken = Vec::new();
    for (vdi, of) in chosen {
        unmark(job, &vdi).await.map_err(doing())?;
        let snapshot =
            snapshots.remove(&of.userdevice).ok_or_else(|| Cause::NoRootDisk(record.uuid.clone()))?;
        taken.push(Taken { of, snapshot });
    }
    remove::unmark_others(client, &marker(job), job.operation).await;
    Ok(taken)
}

/// The disks of an instance.
async fn disks_of(client: &Client, vm: &VmRecord) -> Result<Vec<(Ref<Vdi>, InstanceDisk)>, Cause> {
    let mut disks = Vec::new();
    for (_, vbd) in find::disks(client, vm).await? {
        let doing = Cause::host(format!("taking a snapshot of VM {}", vm.uuid));
        let record = client.record(&vbd.vdi).await.map_err(doing)?;
        let virtual_bytes = u64::try_from(record.virtual_size).unwrap_or(0);
        let (userdevice, uuid, name) = (vbd.userdevice, record.uuid, record.name_label);
        disks.push((vbd.vdi, InstanceDisk { userdevice, uuid, name, virtual_bytes }));
    }
    Ok(disks)
}

async fn snapshot_vm(
    client: &Client,
    vm: &Ref<Vm>,
    new_name: String,
    ignored: Vec<Ref<Vdi>>,
) -> xenapi_client::Result<Ref<Vm>> {
    let ignore_vdis = Some(ignored).filter(|disks| !disks.is_empty());
    let call = vm::Snapshot { vm: vm.clone(), new_name, ignore_vdis };
    match client.call(call.clone()).await {
        // Hosts before XAPI 21.4 can leave no disk out: the snapshots of the others go when that of the VM goes.
        Err(error) if call.ignore_vdis.is_some() && error.is("MESSAGE_PARAMETER_COUNT_MISMATCH") => {
            client.call(vm::Snapshot { ignore_vdis: None, ..call }).await
        }
        answer => answer,
    }
}
