//! Removing objects, so that it can be done twice and at any point of their lives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;
use xenapi_client::{Client, Error, ErrorKind, Result};
use xenapi_storage::ownership::Claim;
use xenapi_types::{Ref, Vbd, Vdi, Vm, VmPowerState, VmRecord, vbd, vdi, vm};

/// What to do about a control domain that does not let go of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dom0 {
    /// Nothing: somebody may be making a backup.
    Wait,
    /// Take the disk from it, for nobody but us has used it.
    Detach,
}

/// Removes a disk. That it is gone already is no error.
///
/// A disk stays attached to dom0 for a while after a transfer has ended, seconds when it failed: until
/// then `VDI.destroy` answers `VDI_IN_USE`, and it is tried again. XAPI itself gives up unplugging
/// after a while; for disks of our own making, we do it at half of `patience`.
pub(crate) async fn vdi(client: &Client, vdi: &Ref<Vdi>, dom0: Dom0, patience: Duration) -> Result<()> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match client.destroy(vdi).await {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => error,
        };
        let held = ["VDI_IN_USE", "OTHER_OPERATION_IN_PROGRESS"].iter().any(|code| error.is(code));
        if !held || start.elapsed() >= patience {
            return Err(error);
        }
        if dom0 == Dom0::Detach && start.elapsed() >= patience / 2 {
            detach_from_dom0(client, vdi).await?;
        }
        // What holds the disk need not show in its record, so that there is no event to wait for.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Between two tries: many are over in no time, some take minutes.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// Takes a disk from the control domains. Other VMs keep it.
pub(crate) async fn detach_from_dom0(client: &Client, vdi: &Ref<Vdi>) -> Result<()> {
    let Some(record) = client.record_opt(vdi).await? else { return Ok(()) };
    for holder in &record.vbds {
        let Some(vbd_record) = client.record_opt(holder).await? else { continue };
        let Some(vm) = client.record_opt(&vbd_record.vm).await? else { continue };
        if !vm.is_control_domain {
            continue;
        }
        tracing::warn!(vdi = record.uuid, vbd = vbd_record.uuid, "taking a disk from dom0");
        if vbd_record.currently_attached {
            tolerate(client.call(vbd::Unplug { vbd: holder.clone() }).await, &["DEVICE_ALREADY_DETACHED"])?;
        }
        gone_is_fine(client.destroy::<Vbd>(holder).await)?;
    }
    Ok(())
}

/// Stops a VM and removes it with its VBDs and VIFs; its disks stay. That it is gone already is no
/// error.
///
/// While something else is done with the VM, as when the answer to its start was lost, XAPI refuses:
/// then it is tried again.
pub(crate) async fn vm(client: &Client, vm: &Ref<Vm>, patience: Duration) -> Result<()> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let removed = async {
            let Some(record) = client.record_opt(vm).await? else { return Ok(()) };
            stop(client, vm, &record).await?;
            gone_is_fine(client.destroy(vm).await)
        };
        match removed.await {
            Err(error) if is_passing(&error) && start.elapsed() < patience => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
            other => return other,
        }
    }
}

/// Whether a VM may be about to change its state.
fn is_passing(error: &Error) -> bool {
    ["OTHER_OPERATION_IN_PROGRESS", "VM_BAD_POWER_STATE"].iter().any(|code| error.is(code))
}

/// Stops a VM at once, as pulling its plug would.
pub(crate) async fn stop(client: &Client, vm: &Ref<Vm>, record: &VmRecord) -> Result<()> {
    if record.power_state == VmPowerState::Halted {
        return Ok(());
    }
    let stopped = match client.spawn_task(vm::HardShutdown { vm: vm.clone() }).await {
        Ok(task) => task.wait().await,
        Err(error) => Err(error),
    };
    // It may have halted by itself in between.
    match stopped {
        Err(error) if error.is("VM_BAD_POWER_STATE") => {
            match client.get_field(vm, vm::field::POWER_STATE).await {
                Ok(VmPowerState::Halted) => Ok(()),
                Ok(_) => Err(error),
                gone => gone_is_fine(gone.map(drop)),
            }
        }
        other => gone_is_fine(other),
    }
}

/// Removes what an operation created under these names, as far as its other undo steps did not
/// know of it: a call whose answer was lost on the way may have been carried out.
pub(crate) async fn sweep(
    client: &Client,
    operation: Uuid,
    vm_name: &str,
    disk_names: &[String],
    patience: Duration,
) -> Result<()> {
    for (reference, record) in client.records_named::<Vm>(vm_name).await? {
        if made_by(&record.other_config, &record.uuid, operation) {
            vm(client, &reference, patience).await?;
        }
    }
    for name in disk_names {
        for (reference, record) in client.records_named::<Vdi>(name).await? {
            if made_by(&record.other_config, &record.uuid, operation) {
                vdi(client, &reference, Dom0::Detach, patience).await?;
            }
        }
    }
    Ok(())
}

/// Removes the snapshots of a disk that have a key in their `other_config`, and the key from the disk.
pub(crate) async fn marked_snapshots(
    client: &Client,
    original: &Ref<Vdi>,
    key: &str,
    patience: Duration,
) -> Result<()> {
    let Some(record) = client.record_opt(original).await? else { return Ok(()) };
    if record.other_config.contains_key(key) {
        client.remove_from(original, vdi::field::OTHER_CONFIG, key).await?;
    }
    for reference in &record.snapshots {
        let Some(snapshot) = client.record_opt(reference).await? else { continue };
        if snapshot.is_a_snapshot && snapshot.other_config.contains_key(key) {
            vdi(client, reference, Dom0::Detach, patience).await?;
        }
    }
    Ok(())
}

/// Removes the snapshots of a VM that have a key in their `other_config`, and the key from the VM. Their disks stay.
pub(crate) async fn marked_vm_snapshots(
    client: &Client,
    original: &Ref<Vm>,
    key: &str,
    patience: Duration,
) -> Result<()> {
    let Some(record) = client.record_opt(original).await? else { return Ok(()) };
    if record.other_config.contains_key(key) {
        client.remove_from(original, vm::field::OTHER_CONFIG, key).await?;
    }
    for reference in &record.snapshots {
        let Some(snapshot) = client.record_opt(reference).await? else { continue };
        if snapshot.is_a_snapshot && snapshot.other_config.contains_key(key) {
            vm(client, reference, patience).await?;
        }
    }
    Ok(())
}

/// Whether an operation made this object, which is no copy of one that it made.
fn made_by(other_config: &BTreeMap<String, String>, uuid: &str, operation: Uuid) -> bool {
    match Claim::read(other_config, uuid) {
        Claim::Original(maker) | Claim::Unsealed(maker) => maker.operation == operation,
        Claim::None | Claim::Copy(_) | Claim::Broken => false,
    }
}

pub(crate) fn gone_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound || error.is("HANDLE_INVALID") => Ok(()),
        other => other,
    }
}

pub(crate) fn tolerate(result: Result<()>, codes: &[&str]) -> Result<(), Error> {
    match result {
        Err(error) if codes.iter().any(|code| error.is(code)) => Ok(()),
        other => gone_is_fine(other),
    }
}
