//! `VM.create` and `VM.destroy`, and the fields that follow from others.

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_wire::{Failure, Value};

use super::operations::{self, check};
use super::power::refs;
use crate::db::{NULL, Tx};
use crate::dispatch::{Args, Ctx, storable};

/// Finishes a VM whose constructor fields have been stored.
///
/// Next to nothing is validated, as on a real server: memory and vCPU values out of order are accepted here and
/// refused by the setters or at the start. What the server decides itself is set whatever was sent.
fn created(tx: &mut Tx<'_>, vm: &str) -> Result<(), Failure> {
    let object = tx.object("VM", vm)?;
    let hvm = !object.str("HVM_boot_policy").is_empty();
    let unspecified = matches!(object.str("domain_type"), "" | "unspecified");
    let mut other_config = object.map("other_config").clone();
    other_config.entry("mac_seed".to_owned()).or_insert_with(|| Uuid::new_v4().to_string().into());
    if unspecified {
        tx.set("VM", vm, "domain_type", if hvm { "hvm" } else { "pv" })?;
    }
    tx.set("VM", vm, "other_config", Value::Struct(other_config))?;
    // A value given for these is dropped.
    for map in ["blocked_operations", "bios_strings"] {
        tx.set("VM", vm, map, Value::Struct(BTreeMap::new()))?;
    }
    for reference in ["resident_on", "guest_metrics", "snapshot_schedule", "protection_policy"] {
        tx.set("VM", vm, reference, NULL)?;
    }
    for flag in ["is_control_domain", "is_default_template", "is_a_snapshot", "requires_reboot"] {
        tx.set("VM", vm, flag, Value::Bool(false))?;
    }
    tx.set("VM", vm, "power_state", "Halted")?;
    tx.set("VM", vm, "domid", Value::Int(-1))?;
    tx.set("VM", vm, "domarch", "")?;
    let metrics = new_metrics(tx);
    tx.set("VM", vm, "metrics", metrics)
}

/// `VM.create`. What follows from the record is filled in by changes of their own, between which clients can look.
pub(super) fn create(ctx: &Ctx, args: &Args) -> Result<Value, Failure> {
    let members = args.map(0);
    members.values().try_for_each(storable)?;
    let vm = ctx.write(|tx| {
        let vm = tx.create("VM", members.iter().map(|(name, value)| (name.as_str(), value.clone())));
        created(tx, &vm)?;
        tx.leave("VM", &vm);
        Ok::<_, Failure>(vm)
    })?;
    follow(ctx, &vm, |tx, vm| {
        derive_operations(tx, vm)?;
        tx.leave("VM", vm);
        Ok(())
    })?;
    follow(ctx, &vm, |tx, vm| {
        tx.touch("VM", vm);
        Ok(())
    })?;
    follow(ctx, &vm, set_hardware_version)?;
    Ok(vm.into())
}

/// One of those changes. Somebody may have destroyed the VM already.
fn follow(
    ctx: &Ctx,
    vm: &str,
    change: impl Fn(&mut Tx<'_>, &str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    ctx.write(|tx| if tx.exists("VM", vm) { change(tx, vm) } else { Ok(()) })
}

/// A guest that is offered the vendor's device needs the second version of the virtual hardware.
fn set_hardware_version(tx: &mut Tx<'_>, vm: &str) -> Result<(), Failure> {
    let object = tx.object("VM", vm)?;
    let version =
        object.int("hardware_platform_version").max(if object.bool("has_vendor_device") { 2 } else { 0 });
    tx.set("VM", vm, "hardware_platform_version", Value::Int(version))
}

/// The metrics of a VM that has never run.
pub(crate) fn new_metrics(tx: &mut Tx<'_>) -> String {
    let idle = Value::Struct(BTreeMap::from([("0".to_owned(), Value::Double(0.0))]));
    tx.create("VM_metrics", [("VCPUs_utilisation", idle), ("current_domain_type", "unspecified".into())])
}

/// Removes a VM and what belongs to it alone. Disks stay, whoever made them.
///
/// # Errors
/// Those of the operation check; `VM_CANNOT_DELETE_DEFAULT_TEMPLATE` is never reached, since the check answers
/// `VM_IS_TEMPLATE` first.
pub(crate) fn destroy(tx: &mut Tx<'_>, vm: &str) -> Result<(), Failure> {
    check(tx.object("VM", vm)?, "destroy", None)?;
    remove(tx, vm)
}

/// The same for a VM whose destruction has been announced.
pub(super) fn remove(tx: &mut Tx<'_>, vm: &str) -> Result<(), Failure> {
    let owned = [
        ("VBDs", "VBD"),
        ("VIFs", "VIF"),
        ("VGPUs", "VGPU"),
        ("VUSBs", "VUSB"),
        ("VTPMs", "VTPM"),
        ("consoles", "console"),
    ];
    for (set, class) in owned {
        for reference in refs(tx, vm, set)? {
            if matches!(class, "VBD" | "VIF") {
                let metrics = tx.object(class, &reference)?.str("metrics").to_owned();
                let metrics_class = if class == "VBD" { "VBD_metrics" } else { "VIF_metrics" };
                tx.delete(metrics_class, &metrics);
            }
            tx.delete(class, &reference);
        }
    }
    for (field, class) in [("metrics", "VM_metrics"), ("guest_metrics", "VM_guest_metrics")] {
        let reference = tx.object("VM", vm)?.str(field).to_owned();
        tx.delete(class, &reference);
    }
    super::super::blob::destroy_all(tx, "VM", vm)?;
    // The snapshots of this VM hang on its parent from now on.
    let parent = tx.object("VM", vm)?.str("parent").to_owned();
    for child in refs(tx, vm, "children")? {
        tx.set("VM", &child, "parent", parent.clone())?;
    }
    tx.delete("VM", vm);
    Ok(())
}

/// `allowed_operations` and `memory_overhead` follow from the rest of the record.
pub(crate) fn derive(tx: &mut Tx<'_>, vm: &str) {
    let Ok(object) = tx.object("VM", vm) else { return };
    let overhead = super::memory::overhead_bytes(object);
    // The object was found above, so setting its fields cannot fail.
    let _ = derive_operations(tx, vm);
    let _ = tx.set("VM", vm, "memory_overhead", Value::Int(overhead));
}

fn derive_operations(tx: &mut Tx<'_>, vm: &str) -> Result<(), Failure> {
    let object = tx.object("VM", vm)?;
    let features: Vec<String> = tx
        .find("VM_guest_metrics", object.str("guest_metrics"))
        .map(|metrics| metrics.map("other").keys().cloned().collect())
        .unwrap_or_default();
    let allowed = operations::allowed(object, &features).into_iter().map(Value::from).collect();
    tx.set("VM", vm, "allowed_operations", Value::Array(allowed))
}
