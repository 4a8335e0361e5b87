//! The two ways out of a resize, each of which can be repeated from wherever it broke off.

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_client::{Client, Result};
use xenapi_storage::ownership::{self, Ownership};
use xenapi_types::{
    Ref, Vbd, VbdMode, VbdType, Vdi, VdiRecord, Vm, VmPowerState, VmRecord, host, vbd, vdi, vm,
};

use super::journal::{Journal, KEYS, Phase, Replaced, Shape};
use crate::cancel::Stop;
use crate::driver::{Driver, Settings};
use crate::error::Cause;
use crate::find;
use crate::held::Held;
use crate::job;
use crate::journal::{Way, changed, taken_back};
use crate::marks::made_by;
use crate::ports;
use crate::remove::{self, Dom0, gone_is_fine};
use crate::soft_delete;

/// Who ends an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// The operation itself.
    Itself,
    /// Somebody who was asked to.
    Request,
    /// Who puts the pool in order: what is complete is not his.
    Reconciling,
}

/// Has the VM as it was before, with the disks it had, running if it was; what was made for the new size goes. What another
/// operation does is left alone. Without the disks that it had there is no way back, and nothing is touched.
///
/// Once it is being confirmed there is only the way forward, but for an operation that itself does that at
/// its end: as long as all its disks are there.
pub(crate) async fn revert(driver: &Driver, vm: &Ref<Vm>, operation: Uuid, by: By) -> Result<(), Held> {
    let client = driver.client();
    let Some(record) = remove::at_rest(driver, vm).await? else { return Ok(()) };
    let Some((journal, phase)) = Journal::of(&record, operation) else {
        if by == By::Itself {
            // It was taken back by somebody: what it has made since then.
            remove_of(driver, &record, operation).await?;
        }
        return Ok(());
    };
    let was_done = KEYS.is_done(&record, operation);
    match phase {
        Phase::Confirming if by == By::Itself && !was_done => {
            if missing(client, &journal).await?.is_some() {
                return confirm(driver, vm, operation, by).await.map(drop);
            }
            KEYS.undecide(client, vm).await?;
        }
        Phase::Confirming => return Err(Cause::ResizePending { vm: record.uuid }.into()),
        Phase::Done if by == By::Reconciling => return Ok(()),
        Phase::Done | Phase::Unfinished => {}
    }
    all_there(client, &record, &journal).await?;
    let decided = KEYS.decide(client, vm, Way::Back, operation).await?;
    let Some(now) = decided else { return Err(changed(&record).into()) };
    if by == By::Reconciling && !was_done && KEYS.is_done(&now, operation) {
        // It has come to its end in this moment.
        return Ok(KEYS.undecide(client, vm).await?);
    }
    if has_changed(client, &record, &journal).await? {
        remove::stop(driver, vm, &record).await?;
        if record.resident_on != journal.before.affinity {
            ports::leave(driver, &record, &record.resident_on).await;
        }
        for disk in &journal.disks {
            let old = client.by_uuid::<Vdi>(&disk.vdi).await?;
            put(driver, vm, &record, disk, &old, journal.operation).await?;
        }
        for place in &journal.added {
            if let Some(drive) = added_at(client, &record, place, &journal).await? {
                gone_is_fine(client.destroy(&drive).await)?;
            }
        }
        journal.before.apply(client, vm).await?;
    }
    remove_made(driver, &record, &journal).await?;
    let state = client.get_field(vm, vm::field::POWER_STATE).await?;
    if journal.was_running && state == VmPowerState::Halted {
        start(driver, vm, &journal.before).await?;
    }
    Ok(journal.end(client, vm).await?)
}

/// What became of the disks that were replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OldDisks {
    /// Uuids of those that are still there, each with why.
    pub kept: BTreeMap<String, String>,
}

/// Removes the disks of the old size, of what this operation changed. An operation that does that itself at
/// its end need not be complete before, but nobody may have taken it back.
pub(crate) async fn confirm(
    driver: &Driver,
    vm: &Ref<Vm>,
    operation: Uuid,
    by: By,
) -> Result<OldDisks, Held> {
    let (client, mut old_disks) = (driver.client(), OldDisks::default());
    let Some(record) = client.record_opt(vm).await? else { return Ok(old_disks) };
    let journal = match Journal::of(&record, operation) {
        Some((_, Phase::Unfinished)) if by != By::Itself => {
            return Err(Cause::ResizePending { vm: record.uuid }.into());
        }
        Some((journal, _)) => journal,
        None if by == By::Itself => return Err(taken_back(&record).into()),
        None => return Ok(old_disks),
    };
    if KEYS.decide(client, vm, Way::Forward, operation).await?.is_none() {
        let cause = if by == By::Itself { taken_back(&record) } else { changed(&record) };
        return Err(cause.into());
    }
    if *ports::home(&record) != journal.before.affinity {
        ports::leave(driver, &record, &journal.before.affinity).await;
    }
    let owner = &driver.settings().owner;
    let instance = find::made_for(&record.other_config, &record.uuid, owner);
    for disk in &journal.disks {
        let Some(old) = client.by_uuid_opt::<Vdi>(&disk.vdi).await? else { continue };
        let Some(old_record) = client.record_opt(&old).await? else { continue };
        // Whatever somebody did in between: a disk in use is not removed, nor is one of others.
        let kept = match find::made_for(&old_record.other_config, &old_record.uuid, owner) == instance {
            true => remove_old(driver, &old, &old_record, operation).await?,
            false => Some("it is not this instance's any more".to_owned()),
        };
        if let Some(why) = kept {
            tracing::warn!(disk = old_record.uuid, why, "a disk that was replaced stays");
            old_disks.kept.insert(old_record.uuid, why);
        }
    }
    journal.end(client, vm).await?;
    Ok(old_disks)
}

/// On a disk that could not be removed yet: the operation that replaced it.
const REPLACED: &str = "xenapi-rs:replaced";

/// The operation that replaced a disk, if there was no more to do than to remove it.
pub(crate) fn replaced_by(disk: &VdiRecord) -> Option<Uuid> {
    disk.other_config.get(REPLACED)?.parse().ok()
}

/// Removes a disk that was replaced. One that a VM has by now stays: that somebody wants something of it. One
/// that a control domain does not let go of, as for a backup, is left to who reconciles. Says why it stays,
/// if it does.
async fn remove_old(
    driver: &Driver,
    old: &Ref<Vdi>,
    record: &VdiRecord,
    operation: Uuid,
) -> Result<Option<String>> {
    let (client, patience) = (driver.client(), driver.settings().detach_timeout);
    for vbd in &record.vbds {
        let Some(vbd) = client.record_opt(vbd).await? else { continue };
        let Some(user) = client.record_opt(&vbd.vm).await? else { continue };
        if !user.is_control_domain {
            return Ok(Some(format!("VM {} has it by now; remove it when nobody needs it", user.uuid)));
        }
    }
    let dom0 = if record.vbds.is_empty() { Dom0::Detach } else { Dom0::Wait };
    match remove::vdi(client, old, dom0, patience).await {
        Err(error) if dom0 == Dom0::Wait && error.is("VDI_IN_USE") => {
            let noted = client.put_in(old, vdi::field::OTHER_CONFIG, REPLACED, operation.to_string()).await;
            gone_is_fine(noted)?;
            Ok(Some("a control domain has it, as for a backup; reconcile when that has ended".to_owned()))
        }
        other => other.map(|()| None),
    }
}

/// The first of the disks that are replaced that does not exist any more.
async fn missing<'a>(client: &Client, journal: &'a Journal) -> Result<Option<&'a str>> {
    for disk in &journal.disks {
        if client.by_uuid_opt::<Vdi>(&disk.vdi).await?.is_none() {
            return Ok(Some(&disk.vdi));
        }
    }
    Ok(None)
}

/// Makes sure that the disks that were replaced are there: else what the VM has now is all that there is.
pub(super) async fn all_there(client: &Client, vm: &VmRecord, journal: &Journal) -> Result<(), Held> {
    let Some(disk) = missing(client, journal).await? else { return Ok(()) };
    let state = format!("without disk {disk}, which it had before its resize and which somebody has removed");
    let remedy = "confirm the resize, or, if it is not complete, destroy the instance, or remove the key \
                  xenapi-rs:resize from its other_config to keep it as it is now";
    Err(Cause::WrongState { vm: vm.uuid.clone(), state, remedy }.into())
}

/// Whether the VM is other than before: then it has to be stopped for the way back.
async fn has_changed(client: &Client, vm: &VmRecord, journal: &Journal) -> Result<bool> {
    if Shape::of(vm) != journal.before {
        return Ok(true);
    }
    for place in &journal.added {
        if added_at(client, vm, place, journal).await?.is_some() {
            return Ok(true);
        }
    }
    for disk in &journal.disks {
        let Some((_, vdi)) = drive_at(client, vm, &disk.userdevice).await? else { return Ok(true) };
        if client.by_uuid_opt::<Vdi>(&disk.vdi).await? != Some(vdi) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The drive that the resize put where none was.
async fn added_at(
    client: &Client,
    vm: &VmRecord,
    place: &str,
    journal: &Journal,
) -> Result<Option<Ref<Vbd>>> {
    let Some((drive, _)) = drive_at(client, vm, place).await? else { return Ok(None) };
    let keys = client.record_opt(&drive).await?.map(|drive| drive.other_config).unwrap_or_default();
    let is_ours = keys.get(ownership::OPERATION) == Some(&journal.operation.to_string());
    Ok(is_ours.then_some(drive))
}

/// What is at a place of a VM.
pub(crate) async fn drive_at(
    client: &Client,
    vm: &VmRecord,
    userdevice: &str,
) -> Result<Option<(Ref<Vbd>, Ref<Vdi>)>> {
    for reference in &vm.vbds {
        let Some(record) = client.record_opt(reference).await? else { continue };
        if record.userdevice == userdevice {
            return Ok(Some((reference.clone(), record.vdi)));
        }
    }
    Ok(None)
}

/// Puts a disk at its place in a halted VM, whatever is there now. A drive for discs may be put there without one.
pub(crate) async fn put(
    driver: &Driver,
    vm: &Ref<Vm>,
    record: &VmRecord,
    place: &Replaced,
    vdi: &Ref<Vdi>,
    operation: Uuid,
) -> Result<()> {
    let client = driver.client();
    let now = client.record(vm).await?;
    match drive_at(client, &now, &place.userdevice).await? {
        Some((_, present)) if present == *vdi => return Ok(()),
        Some((drive, _)) => gone_is_fine(client.destroy(&drive).await)?,
        None => {}
    }
    let owner = driver.settings().owner.clone();
    let instance = find::made_for(&record.other_config, &record.uuid, &owner).unwrap_or_default();
    let mut other_config = place.keys.clone();
    if !other_config.contains_key(ownership::OWNER) {
        other_config.extend(Ownership { owner, instance, operation }.keys());
    }
    let (qos_algorithm_type, qos_algorithm_params) = place.qos.clone().unwrap_or_default();
    let call = vbd::Create {
        vm: vm.clone(),
        vdi: vdi.clone(),
        userdevice: place.userdevice.clone(),
        bootable: place.bootable,
        mode: if place.writable { VbdMode::Rw } else { VbdMode::Ro },
        r#type: if place.disc { VbdType::Cd } else { VbdType::Disk },
        unpluggable: !place.stays,
        empty: vdi.is_null(),
        other_config,
        qos_algorithm_type,
        qos_algorithm_params,
        ..vbd::Create::default()
    };
    client.call(call).await.map(drop)
}

/// Removes the disks that an operation made for the instance, but for those that a VM has.
pub(crate) async fn remove_of(driver: &Driver, vm: &VmRecord, operation: Uuid) -> Result<()> {
    let (client, owner) = (driver.client(), &driver.settings().owner);
    let patience = driver.settings().detach_timeout;
    let instance = find::made_for(&vm.other_config, &vm.uuid, owner).unwrap_or_default();
    for (vdi, record) in client.all_records::<Vdi>().await? {
        let is_its = record.managed
            && made_by(&record.other_config, &record.uuid, operation)
            && find::made_for(&record.other_config, &record.uuid, owner) == Some(instance);
        if is_its && !remove::has_user(client, &record, None).await? {
            remove::vdi(client, &vdi, Dom0::Detach, patience).await?;
        }
    }
    Ok(())
}

/// Removes the disks that a resize made, and its marks on those it did not.
async fn remove_made(driver: &Driver, vm: &VmRecord, journal: &Journal) -> Result<()> {
    let (client, marker, patience) = (driver.client(), journal.marker(), driver.settings().detach_timeout);
    for sent in journal.disks.iter().filter_map(|disk| disk.sent.as_ref()) {
        sent.discard(client, patience).await?;
    }
    remove::marked(client, &marker, journal.operation, patience).await?;
    remove_of(driver, vm, journal.operation).await
}

/// Starts a VM where it prefers to be, if that takes guests; else wherever it can run. One that was
/// soft-deleted meanwhile stays off. A start that takes longer than both timeouts of guests in [`Settings`]
/// is cancelled: storage may hang, and whoever puts things in order must come to an end.
pub(crate) async fn start(driver: &Driver, vm: &Ref<Vm>, shape: &Shape) -> Result<(), Held> {
    let Settings { running_timeout, detach_timeout, .. } = *driver.settings();
    let (client, patience, stop) = (driver.client(), running_timeout.max(detach_timeout), Stop::new());
    let home = shape.affinity.clone();
    let enabled = match home.is_null() {
        true => false,
        false => client.get_field(&home, host::field::ENABLED).await.unwrap_or(false),
    };
    let (doing, vm) = ("starting it again".to_owned(), vm.clone());
    let started = if enabled {
        let call = vm::StartOn { vm, host: home, start_paused: false, force: false };
        job::within(client, call, doing, patience, &stop).await
    } else {
        let call = vm::Start { vm, start_paused: false, force: false };
        job::within(client, call, doing, patience, &stop).await
    };
    match started.map_err(Held::from) {
        Err(Held::Host(error)) if soft_delete::keeps_off(&error) => Ok(()),
        started => started,
    }
}
