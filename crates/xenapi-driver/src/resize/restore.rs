//! The two ways out of a resize, each of which can be repeated from wherever it broke off.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;
use xenapi_client::{Client, Result};
use xenapi_storage::ownership::{self, Ownership};
use xenapi_types::{Ref, Vbd, VbdMode, VbdType, Vdi, Vm, VmPowerState, VmRecord, host, vbd, vdi, vm};

use super::journal::{Journal, Phase, Replaced, Shape};
use crate::driver::Driver;
use crate::find;
use crate::ports;
use crate::remove::{self, Dom0, gone_is_fine};

/// Has the VM as it was before, with the disks it had, running if it was; what was made for the new size goes. Once a disk
/// that it had is removed there is only the way forward, and that is gone.
pub(crate) async fn revert(driver: &Driver, vm: &Ref<Vm>) -> Result<()> {
    let client = driver.client();
    let Some(record) = client.record_opt(vm).await? else { return Ok(()) };
    let Some((journal, phase)) = Journal::read(&record) else { return Ok(()) };
    if phase == Phase::Confirming && !all_there(client, &journal).await? {
        return confirm(driver, vm).await;
    }
    journal.set_reverting(client, vm).await?;
    if has_changed(client, &record, &journal).await? {
        remove::stop(client, vm, &record).await?;
        if record.resident_on != journal.before.affinity {
            ports::leave(driver, &record, &record.resident_on).await;
        }
        for disk in &journal.disks {
            if let Some(old) = client.by_uuid_opt::<Vdi>(&disk.vdi).await? {
                put(driver, vm, &record, disk, &old, journal.operation).await?;
            }
        }
        journal.before.apply(client, vm).await?;
    }
    let kept: BTreeSet<&str> = journal.disks.iter().map(|disk| &*disk.vdi).collect();
    remove_made(driver, &journal, &kept).await?;
    let state = client.get_field(vm, vm::field::POWER_STATE).await?;
    if journal.was_running && state == VmPowerState::Halted {
        start(client, vm, &journal.before).await?;
    }
    journal.end(client, vm).await
}

/// Removes the disks of the old size.
pub(crate) async fn confirm(driver: &Driver, vm: &Ref<Vm>) -> Result<()> {
    let client = driver.client();
    let Some(record) = client.record_opt(vm).await? else { return Ok(()) };
    let Some((journal, _)) = Journal::read(&record) else { return Ok(()) };
    journal.set_confirming(client, vm).await?;
    if *ports::home(&record) != journal.before.affinity {
        ports::leave(driver, &record, &journal.before.affinity).await;
    }
    let owner = &driver.settings().owner;
    let instance = find::made_for(&record.other_config, &record.uuid, owner);
    for disk in &journal.disks {
        let Some(old) = client.by_uuid_opt::<Vdi>(&disk.vdi).await? else { continue };
        let Some(old_record) = client.record_opt(&old).await? else { continue };
        // Whatever somebody did in between: a disk in use is not removed, nor is one of others.
        let is_ours = find::made_for(&old_record.other_config, &old_record.uuid, owner) == instance;
        if is_ours && old_record.vbds.is_empty() {
            remove::vdi(client, &old, Dom0::Detach, driver.settings().detach_timeout).await?;
        }
    }
    journal.end(client, vm).await
}

/// Whether the disks that are replaced still exist.
async fn all_there(client: &Client, journal: &Journal) -> Result<bool> {
    for disk in &journal.disks {
        if client.by_uuid_opt::<Vdi>(&disk.vdi).await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the VM is other than before: then it has to be stopped for the way back.
async fn has_changed(client: &Client, vm: &VmRecord, journal: &Journal) -> Result<bool> {
    if Shape::of(vm) != journal.before {
        return Ok(true);
    }
    for disk in &journal.disks {
        let Some((_, vdi)) = drive_at(client, vm, &disk.userdevice).await? else { return Ok(true) };
        if client.by_uuid_opt::<Vdi>(&disk.vdi).await? != Some(vdi) {
            return Ok(true);
        }
    }
    Ok(false)
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

/// Puts a disk at its place in a halted VM, whatever is there now.
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
    let call = vbd::Create {
        vm: vm.clone(),
        vdi: vdi.clone(),
        userdevice: place.userdevice.clone(),
        bootable: place.bootable,
        mode: if place.writable { VbdMode::Rw } else { VbdMode::Ro },
        r#type: VbdType::Disk,
        unpluggable: true,
        empty: false,
        other_config: Ownership { owner, instance, operation }.keys(),
        ..vbd::Create::default()
    };
    client.call(call).await.map(drop)
}

/// Removes the disks that an operation made.
pub(crate) async fn remove_of(driver: &Driver, operation: Uuid) -> Result<()> {
    let (client, patience) = (driver.client(), driver.settings().detach_timeout);
    let operation = operation.to_string();
    for (vdi, record) in client.all_records::<Vdi>().await? {
        if record.managed && record.other_config.get(ownership::OPERATION) == Some(&operation) {
            remove::vdi(client, &vdi, Dom0::Detach, patience).await?;
        }
    }
    Ok(())
}

/// Removes the disks that a resize made, and its marks on those it did not.
async fn remove_made(driver: &Driver, journal: &Journal, kept: &BTreeSet<&str>) -> Result<()> {
    let (client, marker, patience) = (driver.client(), journal.marker(), driver.settings().detach_timeout);
    for sent in journal.disks.iter().filter_map(|disk| disk.sent.as_ref()) {
        sent.discard(client, patience).await?;
    }
    let operation = journal.operation.to_string();
    let made = |keys: &BTreeMap<String, String>| {
        keys.contains_key(&marker) || keys.get(ownership::OPERATION) == Some(&operation)
    };
    for (vdi, record) in client.all_records::<Vdi>().await? {
        if !made(&record.other_config) || !record.managed {
            continue;
        }
        if kept.contains(&*record.uuid) {
            client.remove_from(&vdi, vdi::field::OTHER_CONFIG, &*marker).await?;
        } else {
            remove::vdi(client, &vdi, Dom0::Detach, patience).await?;
        }
    }
    Ok(())
}

/// Starts a VM where it prefers to be, if that takes guests; else wherever it can run.
pub(crate) async fn start(client: &Client, vm: &Ref<Vm>, shape: &Shape) -> Result<()> {
    let home = shape.affinity.clone();
    let enabled = match home.is_null() {
        true => false,
        false => client.get_field(&home, host::field::ENABLED).await.unwrap_or(false),
    };
    let vm = vm.clone();
    let task = if enabled {
        client.spawn_task(vm::StartOn { vm, host: home, start_paused: false, force: false }).await?
    } else {
        client.spawn_task(vm::Start { vm, start_paused: false, force: false }).await?
    };
    task.wait().await
}
