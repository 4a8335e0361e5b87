//! Removing objects, so that it can be done twice and at any point of their lives.

use std::time::{Duration, Instant};

use uuid::Uuid;
use xenapi_client::{Client, Error, ErrorKind, Result};
use xenapi_types::{Ref, Vbd, Vdi, VdiRecord, Vm, VmOperations, VmPowerState, VmRecord, vbd, vdi, vm};

use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::Cause;
use crate::held::{Held, tolerated};
use crate::job;
use crate::marks::{self, Marked, made_by};

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
    vdi_while(client, vdi, dom0, patience, &Stop::new()).await
}

/// As [`vdi`], but when it is to stop, it does not wait for who holds the disk.
pub(crate) async fn vdi_while(
    client: &Client,
    vdi: &Ref<Vdi>,
    dom0: Dom0,
    patience: Duration,
    stop: &Stop,
) -> Result<()> {
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
            detach_from_dom0(client, vdi, patience).await?;
        }
        // What holds the disk need not show in its record, so that there is no event to wait for.
        if stop.guard(tokio::time::sleep(pause)).await.is_err() {
            return Err(error);
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Between two tries: many are over in no time, some take minutes.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// Takes a disk from the control domains, each of which has so long. Other VMs keep it.
pub(crate) async fn detach_from_dom0(client: &Client, vdi: &Ref<Vdi>, patience: Duration) -> Result<()> {
    let unplugging = client.with_deadline(patience);
    let Some(record) = client.record_opt(vdi).await? else { return Ok(()) };
    for holder in &record.vbds {
        let Some(vbd_record) = client.record_opt(holder).await? else { continue };
        let Some(vm) = client.record_opt(&vbd_record.vm).await? else { continue };
        if !vm.is_control_domain {
            continue;
        }
        tracing::warn!(vdi = record.uuid, vbd = vbd_record.uuid, "taking a disk from dom0");
        if vbd_record.currently_attached {
            let unplugged = unplugging.call(vbd::Unplug { vbd: holder.clone() }).await;
            tolerate(unplugged, &["DEVICE_ALREADY_DETACHED"])?;
        }
        gone_is_fine(client.destroy::<Vbd>(holder).await)?;
    }
    Ok(())
}

/// Whether a VM has this disk, be it off or a template, that is neither a control domain nor `own`.
pub(crate) async fn has_user(client: &Client, disk: &VdiRecord, own: Option<&Ref<Vm>>) -> Result<bool> {
    for holder in &disk.vbds {
        let Some(drive) = client.record_opt(holder).await? else { continue };
        if Some(&drive.vm) == own {
            continue;
        }
        if client.record_opt(&drive.vm).await?.is_some_and(|vm| !vm.is_control_domain) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Stops a VM and removes it with its VBDs and VIFs; its disks stay. That it is gone already is no
/// error.
///
/// While something else is done with the VM, as when the answer to its start was lost, XAPI refuses:
/// then it is tried again.
pub(crate) async fn vm(driver: &Driver, vm: &Ref<Vm>) -> Result<(), Held> {
    let (client, patience) = (driver.client(), driver.settings().detach_timeout);
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let removed = async {
            let Some(record) = client.record_opt(vm).await? else { return Ok(()) };
            stop(driver, vm, &record).await?;
            Ok(gone_is_fine(client.destroy(vm).await)?)
        };
        match removed.await {
            Err(Held::Host(error)) if is_passing(&error) && start.elapsed() < patience => {
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

/// Stops a VM at once, as pulling its plug would; a host that does not let go of its disks is not waited for any longer than
/// for a disk alone.
pub(crate) async fn stop(driver: &Driver, vm: &Ref<Vm>, record: &VmRecord) -> Result<(), Held> {
    if record.power_state == VmPowerState::Halted {
        return Ok(());
    }
    let (client, patience) = (driver.client(), driver.settings().detach_timeout);
    let start = Instant::now();
    loop {
        let (call, doing) = (vm::HardShutdown { vm: vm.clone() }, switching_off(record));
        let stopped = job::within(client, call, doing, patience, &Stop::new()).await;
        let error = match stopped.map_err(Held::from) {
            Err(Held::Host(error)) if error.is("VM_BAD_POWER_STATE") => error,
            other => return tolerated(other, &[]),
        };
        // It may have halted by itself in between, and somebody may have started it since.
        match client.get_field(vm, vm::field::POWER_STATE).await {
            Ok(VmPowerState::Halted) => return Ok(()),
            Ok(_) if start.elapsed() < patience => tokio::time::sleep(FIRST_PAUSE).await,
            Ok(_) => return Err(error.into()),
            gone => return Ok(gone_is_fine(gone.map(drop))?),
        }
    }
}

pub(crate) fn switching_off(record: &VmRecord) -> String {
    format!("switching VM {} off", record.uuid)
}

/// A VM that nobody switches off any more, or on that is off: whoever gave that up does not know what it
/// comes to, and what is as before depends on it.
pub(crate) async fn at_rest(driver: &Driver, vm: &Ref<Vm>) -> Result<Option<VmRecord>, Held> {
    let (client, patience) = (driver.client(), driver.settings().detach_timeout);
    let changes = |vm: &VmRecord| {
        let is_off = vm.power_state == VmPowerState::Halted;
        vm.current_operations.values().any(|operation| match operation {
            VmOperations::HardShutdown => true,
            VmOperations::Start | VmOperations::StartOn => is_off,
            _ => false,
        })
    };
    let Some(record) = client.record_opt(vm).await? else { return Ok(None) };
    if !changes(&record) {
        return Ok(Some(record));
    }
    let doing = if record.power_state == VmPowerState::Halted {
        format!("waiting for the start of VM {}", record.uuid)
    } else {
        switching_off(&record)
    };
    match client.wait_until(vm, patience, |vm| !changes(vm)).await {
        Ok(record) => Ok(Some(record)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::Timeout => {
            Err(Cause::NoAnswer { doing, seconds: patience.as_secs() }.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// A guest that was switched off before a device was plugged has it from its next start on.
pub(crate) async fn went_down(client: &Client, vm: &Ref<Vm>, plugged: Result<(), Held>) -> Result<(), Held> {
    match plugged {
        Err(Held::Host(error)) if error.is("VM_BAD_POWER_STATE") => {
            match client.get_field(vm, vm::field::POWER_STATE).await? {
                VmPowerState::Halted => Ok(()),
                _ => Err(error.into()),
            }
        }
        other => other,
    }
}

/// Removes what an operation created under these names, as far as its other undo steps did not
/// know of it: a call whose answer was lost on the way may have been carried out.
pub(crate) async fn sweep(
    driver: &Driver,
    operation: Uuid,
    vm_name: &str,
    disk_names: &[String],
) -> Result<(), Held> {
    let (client, patience) = (driver.client(), driver.settings().detach_timeout);
    for (reference, record) in client.records_named::<Vm>(vm_name).await? {
        if made_by(&record.other_config, &record.uuid, operation) {
            vm(driver, &reference).await?;
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

/// Removes the snapshots and clones that an operation has made of disks with its [mark](crate::marks), and
/// the mark from the others. Where it is not known whose they are, both stay.
pub(crate) async fn marked(client: &Client, key: &str, operation: Uuid, patience: Duration) -> Result<()> {
    let disks = client.all_records::<Vdi>().await?;
    for (reference, record, marked) in marks::sort(&disks, key, operation) {
        match marked {
            Marked::Made => vdi(client, reference, Dom0::Detach, patience).await?,
            Marked::Original | Marked::Theirs => {
                gone_is_fine(client.remove_from(reference, vdi::field::OTHER_CONFIG, key).await)?;
            }
            Marked::Unknown => tracing::warn!(disk = record.uuid, key, "may be ours, or somebody else's"),
        }
    }
    Ok(())
}

/// What others have made of a disk while it had the mark is not the operation's, whose own is known by now.
/// They lose the mark, or else [`marked`] has to tell them apart later.
pub(crate) async fn unmark_others(client: &Client, key: &str, operation: Uuid) {
    let unmarking = async {
        let disks = client.all_records::<Vdi>().await?;
        for (reference, _, marked) in marks::sort(&disks, key, operation) {
            if marked == Marked::Theirs {
                gone_is_fine(client.remove_from(reference, vdi::field::OTHER_CONFIG, key).await)?;
            }
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = unmarking.await {
        tracing::debug!(%error, key, "a mark may stay on what others have made");
    }
}

/// Removes the snapshots that an operation has taken of a VM with a key in their `other_config`, and the key
/// from the VM and from those of others. Their disks stay.
pub(crate) async fn marked_vm_snapshots(
    driver: &Driver,
    original: &Ref<Vm>,
    key: &str,
    operation: Uuid,
) -> Result<(), Held> {
    let client = driver.client();
    let Some(record) = client.record_opt(original).await? else { return Ok(()) };
    if record.other_config.contains_key(key) {
        client.remove_from(original, vm::field::OTHER_CONFIG, key).await?;
    }
    for reference in &record.snapshots {
        let Some(snapshot) = client.record_opt(reference).await? else { continue };
        if !snapshot.is_a_snapshot || !snapshot.other_config.contains_key(key) {
            continue;
        }
        match is_taken_by(&snapshot, operation) {
            true => vm(driver, reference).await?,
            false => gone_is_fine(client.remove_from(reference, vm::field::OTHER_CONFIG, key).await)?,
        }
    }
    Ok(())
}

/// Whether an operation took this snapshot of a VM: until it has keys of its own, that is in its name.
pub(crate) fn is_taken_by(snapshot: &VmRecord, operation: Uuid) -> bool {
    made_by(&snapshot.other_config, &snapshot.uuid, operation)
        || snapshot.name_label.contains(&operation.to_string())
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
