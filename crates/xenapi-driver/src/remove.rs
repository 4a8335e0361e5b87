//! Removing objects, so that it can be done twice and at any point of their lives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use uuid::Uuid;
use xenapi_client::{Client, Error, ErrorKind, Result};
use xenapi_storage::ownership::Claim;
use xenapi_types::{Vbd, Vdi, VdiRecord, Vm, VmPowerState, VmRecord};
use xenapi_types::{vbd, vm};
use xenapi_wire::Ref;

/// Removes a disk. That it is gone already is no error.
///
/// A disk stays attached to dom0 for a while after a transfer has ended, seconds when it failed: until
/// then `VDI.destroy` answers `VDI_IN_USE`, and it is tried again. XAPI itself gives up unplugging
/// after a while; half of `patience` later we do it.
pub(crate) async fn vdi(client: &Client, vdi: &Ref<Vdi>, patience: Duration) -> Result<()> {
    let start = Instant::now();
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
        if start.elapsed() >= patience / 2 {
            detach_from_dom0(client, vdi).await?;
        }
        let free = |record: &VdiRecord| record.vbds.is_empty() && record.current_operations.is_empty();
        match client.wait_until(vdi, Duration::from_secs(2), free).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Timeout => {}
            Err(error) => return Err(error),
        }
    }
}

/// Takes a disk from the control domains. Other VMs keep it.
async fn detach_from_dom0(client: &Client, vdi: &Ref<Vdi>) -> Result<()> {
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
    loop {
        let removed = async {
            let Some(record) = client.record_opt(vm).await? else { return Ok(()) };
            stop(client, vm, &record).await?;
            gone_is_fine(client.destroy(vm).await)
        };
        match removed.await {
            Err(error) if is_passing(&error) && start.elapsed() < patience => {
                let idle = |record: &VmRecord| record.current_operations.is_empty();
                match client.wait_until(vm, Duration::from_secs(2), idle).await {
                    Ok(_) => {}
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Timeout) => {}
                    Err(error) => return Err(error),
                }
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
            let state = client.get_field(vm, vm::field::POWER_STATE).await?;
            if state == VmPowerState::Halted { Ok(()) } else { Err(error) }
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
                vdi(client, &reference, patience).await?;
            }
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

fn gone_is_fine(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound || error.is("HANDLE_INVALID") => Ok(()),
        other => other,
    }
}

fn tolerate(result: Result<()>, codes: &[&str]) -> Result<(), Error> {
    match result {
        Err(error) if codes.iter().any(|code| error.is(code)) => Ok(()),
        other => gone_is_fine(other),
    }
}
