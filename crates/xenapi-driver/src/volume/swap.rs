//! Another volume in the place of one, with the same content.
//!
//! ```text
//! connect the new one ─► note ─► unplug the old one ─► copy ─► move its drive aside ─► plug the new one ─► release
//! ```
//!
//! The note is on the old volume's drive: the operation, and the place. Until the new volume has its drive,
//! the way out of a crash is back; from then on the guest may have written to it, and the way is forward.

use uuid::Uuid;
use xenapi_storage::device::UserDevice;
use xenapi_types::{Ref, Vbd, VbdRecord, Vdi, VdiRecord, Vm, VmPowerState, vbd, vdi, vm};

use super::{
    AttachedVolume, Drive, Mount, Target, Volume, connect, hosts_of, id_is_free, is_volume, named, plug,
    release,
};
use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::{self, Which, plugs};
use crate::half::Device;
use crate::held::Held;
use crate::job::{Failed, Job};
use crate::operation::Operation;
use crate::progress::{Progress, Stage};

/// On the drive of a volume that is being exchanged: `operation/userdevice`.
pub(crate) const SWAPPED: &str = "xenapi-rs:swapped";

impl Driver {
    /// Puts another volume in the place of one of an instance's volumes, with a copy of its content, and lets go
    /// of the old one as [`Driver::detach_volume`] does. `volume` is named as there; `new` must be at least as
    /// large, and nobody may be using it. What was in it is lost.
    ///
    /// A guest that runs does without the disk while it is copied: it has to be able to let go of it, and the disk
    /// that it boots from can only be exchanged while it is off. Until the new volume is plugged, whatever fails
    /// is taken back, and cancelling it ends the copying at once.
    ///
    /// # Errors
    ///
    /// [`Cause::Shrink`] when `new` is smaller; [`Cause::DiskInUse`]; else as [`Driver::attach_volume`] and
    /// [`Driver::detach_volume`].
    pub fn swap_volume(
        &self,
        which: Which,
        volume: impl Into<String>,
        new: Volume,
        progress: Progress,
    ) -> Operation<AttachedVolume> {
        let volume = volume.into();
        self.verb(Op::SwapVolume, format!("instance {which}"), progress, move |job, stop| {
            Box::pin(async move { swap(job, &which, &volume, new, stop).await })
        })
    }
}

type Outcome<T, E = Cause> = Result<T, E>;

async fn swap(
    job: &Job,
    which: &Which,
    name: &str,
    new: Volume,
    stop: &Stop,
) -> Outcome<AttachedVolume, Failed> {
    let (target, old, alive) = job.stage(Stage::Find, find_both(job, which, name, &new, stop)).await?;
    // In one order for all, so that no two wait for each other.
    let mut names = vec![&target.sr_uuid, &old.sr_uuid];
    names.sort();
    names.dedup();
    let mut gates = Vec::new();
    for name in names {
        gates.push(job.turn(name, stop).await?);
    }
    remember(job, &target, &old);
    let device = old.record.userdevice.parse::<UserDevice>().ok();
    let read_only = old.record.mode == xenapi_types::VbdMode::Ro;
    let mount = Mount { volume: new, device, read_only };
    let copying = async {
        let (new, disk) = connect_empty(job, &target, &mount.volume, &old, stop).await?;
        id_is_free(job, &target, &mount, &new, Some(&old)).await?;
        set_aside(job, &old, alive, stop).await?;
        let call = vdi::Copy {
            vdi: old.vdi.clone(),
            sr: Some(Ref::NULL),
            base_vdi: Some(Ref::NULL),
            into_vdi: Some(new.clone()),
        };
        let doing = format!("copying disk {} into {}", old.disk.uuid, disk.uuid);
        job.run(call, doing, Stage::Storage, stop).await?;
        Ok((new, disk))
    };
    let (new, disk) = job.stage(Stage::Storage, copying).await?;
    let _gate = job.turn(&target.record.uuid, stop).await?;
    let attached = async {
        still_as_found(job, &target, &old, alive).await?;
        move_aside(job, &target, &old).await?;
        plug(job, &target, &mount, (&new, &disk), stop).await
    };
    let attached = job.stage(Stage::Devices, attached).await?;
    // Nothing can be taken back any more. What is not released now, reconciling releases.
    job.rollback.forget();
    let none = Stop::new();
    let release = || release::volume(&job.driver, &old.reference, true, &old.disk.sr, &none);
    let mut released = release().await;
    if released.is_err() {
        released = release().await;
    }
    if let Err(error) = released {
        tracing::warn!(%error, vdi = old.disk.uuid, "the old volume is not released");
    }
    Ok(attached)
}

/// Where the new volume goes, the old one's drive, and whether the guest has it plugged.
async fn find_both(
    job: &Job,
    which: &Which,
    name: &str,
    new: &Volume,
    stop: &Stop,
) -> Outcome<(Target, Drive, bool)> {
    let (vm, record) = find::ours(job, which).await?;
    let alive = plugs(&record)?;
    let old = named(job, &record, name).await?;
    if alive && old.record.bootable {
        let (vm, state) = (record.uuid, record.power_state.to_string());
        return Err(Cause::WrongState { vm, state, remedy: "switch the instance off: it boots from it" });
    }
    if let Some((operation, _)) = note(&old.record) {
        let state = format!("having volume {:?} exchanged already, by operation {operation}", old.shown().id);
        let remedy = "wait until that has ended; if its program has died, reconcile";
        return Err(Cause::WrongState { vm: record.uuid, state, remedy });
    }
    let instance = find::made_for(&record.other_config, &record.uuid, &job.driver.settings().owner);
    let hosts = hosts_of(job, &record).await?;
    if job.driver.0.rehearses {
        let mut steps = super::steps::attaching(job, &record, new).await?;
        let at = &old.record.userdevice;
        steps.insert(1, format!("copy disk {} into it", old.disk.uuid));
        steps.push(format!("let go of the old volume, which was at device {at}"));
        job.would(|| steps)?;
    }
    let first = hosts.first().ok_or(Cause::NoHost)?;
    let sr_uuid = connect::sr_uuid(job, &new.storage, first, stop).await?;
    Ok((Target { vm, record, instance: instance.unwrap_or_default(), hosts, sr_uuid }, old, alive))
}

/// The new volume's disk: large enough, and nobody's.
async fn connect_empty(
    job: &Job,
    target: &Target,
    volume: &Volume,
    old: &Drive,
    stop: &Stop,
) -> Outcome<(Ref<Vdi>, VdiRecord)> {
    let (sr, record) = connect::connect(job, &volume.storage, &target.sr_uuid, &target.hosts, stop).await?;
    let (new, disk) = connect::disk(job, volume, &sr, &record.name_label, stop).await?;
    if disk.virtual_size < old.disk.virtual_size {
        let bytes = |size: i64| u64::try_from(size).unwrap_or(0);
        let (have_bytes, wanted_bytes) = (bytes(old.disk.virtual_size), bytes(disk.virtual_size));
        return Err(Cause::Shrink { disk: old.disk.uuid.clone(), have_bytes, wanted_bytes });
    }
    is_volume(&disk)?;
    if let Some(vbd) = disk.vbds.first() {
        let doing = || Cause::host(format!("looking who uses disk {}", disk.uuid));
        let user = job.client().get_field(vbd, vbd::field::VM).await.map_err(doing())?;
        let vm = job.client().get_field(&user, vm::field::UUID).await.map_err(doing())?;
        return Err(Cause::DiskInUse { disk: disk.uuid, vm });
    }
    Ok((new, disk))
}

/// Has the old volume back in its place if it fails, and then what the operation connected disconnected.
fn remember(job: &Job, target: &Target, old: &Drive) {
    let (driver, operation) = (job.driver.clone(), job.operation);
    let (vm, sr_uuid, old) = (target.vm.clone(), target.sr_uuid.clone(), old.reference.clone());
    job.rollback.push_sweep(format!("what operation {operation} exchanged"), async move {
        // The guest does not wait for a repository that does not let go.
        if let Err(error) = release::drives(&driver, operation, &vm).await {
            tracing::debug!(%error, "tried again below");
        }
        let old_is_back = back(&driver, &old, operation).await;
        release::operation(&driver, operation, &vm, &sr_uuid).await.and(old_is_back)
    });
}

/// Takes the old volume from the guest, whatever becomes of us noted on its drive.
async fn set_aside(job: &Job, old: &Drive, alive: bool, stop: &Stop) -> Outcome<()> {
    let doing = || Cause::host(format!("setting volume {:?} aside", old.shown().id));
    stop.check()?;
    let note = format!("{}/{}", job.operation, old.record.userdevice);
    let client = job.client();
    client.add_to(&old.reference, vbd::field::OTHER_CONFIG, SWAPPED, &note).await.map_err(doing())?;
    let aside = format!("setting volume {:?} aside", old.shown().id);
    release::unplug(&job.driver, &old.reference, alive, stop).await.map_err(Held::while_doing(aside))
}

/// The guest has not got the old volume while it was copied: what it writes there since then would be lost.
async fn still_as_found(job: &Job, target: &Target, old: &Drive, alive: bool) -> Outcome<()> {
    let doing = || Cause::host(format!("looking whether volume {:?} is still aside", old.shown().id));
    let now = job.client().record(&target.vm).await.map_err(doing())?;
    let plugged =
        job.client().get_field(&old.reference, vbd::field::CURRENTLY_ATTACHED).await.map_err(doing())?;
    if plugged || (plugs(&now)? && !alive) {
        let (vm, state) = (now.uuid, now.power_state.to_string());
        let remedy = "exchange the volume once more: the guest was started while it was copied";
        return Err(Cause::WrongState { vm, state, remedy });
    }
    Ok(())
}

/// Makes room at the old volume's place, without letting go of its drive.
async fn move_aside(job: &Job, target: &Target, old: &Drive) -> Outcome<()> {
    let free = super::choose_device(job, target, None).await?;
    let moved = job.client().set_field(&old.reference, vbd::field::USERDEVICE, free.to_string()).await;
    moved.map_err(Cause::host(format!("making room for a volume in VM {}", target.record.uuid)))
}

/// Puts the old volume where it was, if it was this operation that has set it aside.
async fn back(driver: &Driver, old: &Ref<Vbd>, operation: Uuid) -> Result<(), Held> {
    let client = driver.client();
    let Some(record) = client.record_opt(old).await? else { return Ok(()) };
    let Some((_, place)) = note(&record).filter(|(by, _)| *by == operation) else { return Ok(()) };
    if record.userdevice != place {
        client.set_field(old, vbd::field::USERDEVICE, place.to_owned()).await?;
    }
    let state = client.get_field(&record.vm, vm::field::POWER_STATE).await?;
    if state == VmPowerState::Running && !record.currently_attached {
        release::plug(driver, old, &Stop::new()).await?;
    }
    Ok(client.remove_from(old, vbd::field::OTHER_CONFIG, SWAPPED).await?)
}

/// The operation that exchanges the volume of this drive, and the drive's place.
pub(crate) fn note(drive: &VbdRecord) -> Option<(Uuid, &str)> {
    let (operation, place) = drive.other_config.get(SWAPPED)?.split_once('/')?;
    Some((operation.parse().ok()?, place))
}

/// After a crash: forward, if the guest may have the new volume, and else back.
pub(crate) async fn settle(driver: &Driver, old: &Ref<Vbd>) -> Result<(), Held> {
    let client = driver.client();
    let Some(record) = client.record_opt(old).await? else { return Ok(()) };
    let Some((operation, _)) = note(&record) else { return Ok(()) };
    let Some(vm) = client.record_opt::<Vm>(&record.vm).await? else { return Ok(()) };
    let alive = vm.power_state != VmPowerState::Halted;
    for reference in &vm.vbds {
        let Some(drive) = client.record_opt(reference).await? else { continue };
        if !release::made_by(&drive.other_config, operation) {
            continue;
        }
        if drive.currently_attached || !alive {
            Device::Drive(reference).complete(client).await?;
            let sr = client.get_field(&record.vdi, vdi::field::SR).await?;
            return release::volume(driver, old, alive, &sr, &Stop::new()).await;
        }
        release::drive_of(driver, reference, alive).await?;
    }
    back(driver, old, operation).await
}
