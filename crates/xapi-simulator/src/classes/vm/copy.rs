//! `VM.clone`, `VM.copy` and `VM.provision`.

use std::sync::Arc;

use uuid::Uuid;
use xenapi_wire::{Failure, Value};

use super::begin;
use super::lifecycle::new_metrics;
use super::power::{new_generation_id, refs};
use crate::classes::{vdi, vif};
use crate::db::{NULL, Object, Tx, is_null};
use crate::dispatch::{Ctx, Router, void};

pub(super) fn register(router: &mut Router) {
    router.future("VM.clone", |ctx, args| async move {
        let [vm, name] = [0, 1].map(|index| args.str(index).to_owned());
        let _busy = begin(&ctx, &vm, "clone").await?;
        on_thread(&ctx, move |ctx| duplicate(ctx, &vm, &name, &Disks::Clone)).await
    });
    router.future("VM.copy", |ctx, args| async move {
        let [vm, name, sr] = [0, 1, 2].map(|index| args.str(index).to_owned());
        let _busy = begin(&ctx, &vm, "copy").await?;
        on_thread(&ctx, move |ctx| duplicate(ctx, &vm, &name, &Disks::Copy { sr })).await
    });
    router.future("VM.provision", |ctx, args| async move {
        let vm = args.str(0).to_owned();
        let _busy = begin(&ctx, &vm, "provision").await?;
        ctx.write(|tx| {
            tx.set("VM", &vm, "is_a_template", Value::Bool(false))?;
            Ok(void())
        })
    });
}

/// What becomes of the disks.
enum Disks {
    /// They share blocks with the originals, on the same SRs.
    Clone,
    /// They are copied, to this SR or, where it is null, to their own.
    Copy { sr: String },
}

/// Whether what is made is somebody else or the same at another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    /// With addresses of its own.
    Copy,
    /// With the same addresses.
    Snapshot,
}

pub(super) async fn on_thread<T: Send + 'static>(
    ctx: &Arc<Ctx>,
    work: impl FnOnce(&Arc<Ctx>) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let ctx = ctx.clone();
    tokio::task::spawn_blocking(move || work(&ctx))
        .await
        .unwrap_or_else(|e| Err(crate::dispatch::internal_error(&e.to_string())))
}

/// Makes a VM like another one: its record with an identity of its own, its disks, its interfaces.
fn duplicate(ctx: &Arc<Ctx>, vm: &str, name: &str, disks: &Disks) -> Result<Value, Failure> {
    let copy = |disk: &str| match disks {
        Disks::Clone => vdi::duplicate(ctx, disk, false),
        Disks::Copy { sr } if is_null(sr) => {
            let own = ctx.read(|view| Ok::<_, Failure>(view.object("VDI", disk)?.str("SR").to_owned()))?;
            vdi::copy_to(ctx, disk, &own, NULL)
        }
        Disks::Copy { sr } => vdi::copy_to(ctx, disk, sr, NULL),
    };
    let made = copy_disks(
        ctx,
        vm,
        |disk| copy(disk).map(Some),
        |tx, disks| record(tx, vm, name, Identity::Copy, disks),
    );
    made.map(Value::from)
}

/// Copies every disk of a VM with `copy`, which may leave one out, and then does the rest: `finish` gets the VM's
/// drives, each with what goes into its copy. When anything fails, the copies are removed.
pub(super) fn copy_disks<T>(
    ctx: &Arc<Ctx>,
    vm: &str,
    copy: impl Fn(&str) -> Result<Option<String>, Failure>,
    finish: impl FnOnce(&mut Tx<'_>, &[(String, String)]) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let drives: Vec<(String, String, bool)> = ctx.read(|view| {
        let vbds = view.follow(view.object("VM", vm)?, "VBDs", "VBD");
        let drive = |vbd: Object<'_>| {
            (vbd.reference().to_owned(), vbd.str("VDI").to_owned(), vbd.str("type") == "Disk")
        };
        Ok::<_, Failure>(vbds.map(drive).collect())
    })?;
    let mut made = Vec::new();
    let mut copies = Vec::new();
    let result = drives.into_iter().try_for_each(|(drive, disk, is_disk)| {
        if is_null(&disk) || !is_disk {
            made.push((drive, disk));
        } else if let Some(copy) = copy(&disk)? {
            copies.push(copy.clone());
            made.push((drive, copy));
        }
        Ok(())
    });
    let result = result.and_then(|()| ctx.write(|tx| finish(tx, &made)));
    if result.is_err() {
        copies.iter().try_for_each(|copy| vdi::discard(ctx, copy))?;
    }
    result
}

/// What a copy does not take over: what it is, where it runs, what belongs to the original.
const OWN: &[&str] = &[
    "uuid",
    "allowed_operations",
    "current_operations",
    "name_label",
    "suspend_VDI",
    "resident_on",
    "scheduled_to_be_resident_on",
    "consoles",
    "VIFs",
    "VBDs",
    "VUSBs",
    "VTPMs",
    "VGPUs",
    "crash_dumps",
    "domid",
    "domarch",
    "is_control_domain",
    "is_default_template",
    "metrics",
    "guest_metrics",
    "is_a_snapshot",
    "snapshot_of",
    "snapshots",
    "snapshot_time",
    "snapshot_info",
    "snapshot_metadata",
    "transportable_snapshot_id",
    "blobs",
    "blocked_operations",
    "parent",
    "children",
    "appliance",
    "protection_policy",
    "snapshot_schedule",
    "attached_PCIs",
    "requires_reboot",
    "power_state",
    "last_booted_record",
    "groups",
];

/// The record of a copy, with the drives, each with its disk, and the interfaces of the original.
pub(super) fn record(
    tx: &mut Tx<'_>,
    vm: &str,
    name: &str,
    identity: Identity,
    disks: &[(String, String)],
) -> Result<String, Failure> {
    let source = tx.object("VM", vm)?;
    let is_template = source.bool("is_a_template") && identity == Identity::Copy;
    let source_name = source.str("name_label").to_owned();
    let class = source.class();
    let names: Vec<String> = class.fields().iter().map(|f| f.name.to_string()).collect();
    let mut fields: Vec<(&str, Value)> = Vec::new();
    for field in names.iter().filter(|field| !OWN.contains(&field.as_str())) {
        fields.push((field, source.get(field).clone()));
    }
    let ran = source.get("last_boot_CPU_flags").clone();
    let mut other_config = source.map("other_config").clone();
    for key in ["default_template", "xensource_internal"] {
        other_config.remove(key);
    }
    if identity == Identity::Copy {
        other_config.insert("mac_seed".to_owned(), Uuid::new_v4().to_string().into());
    }
    if is_template {
        other_config.insert("base_template_name".to_owned(), source_name.into());
    }
    let copy = tx.create("VM", fields);
    let flags = if identity == Identity::Copy { Value::Struct(Default::default()) } else { ran };
    for (field, value) in [
        ("name_label", Value::from(name)),
        ("other_config", Value::Struct(other_config)),
        ("power_state", "Halted".into()),
        ("domid", Value::Int(-1)),
        ("generation_id", new_generation_id().into()),
        ("last_boot_CPU_flags", flags),
    ] {
        tx.set("VM", &copy, field, value)?;
    }
    for field in [
        "resident_on",
        "scheduled_to_be_resident_on",
        "guest_metrics",
        "parent",
        "suspend_VDI",
        "snapshot_of",
    ] {
        tx.set("VM", &copy, field, NULL)?;
    }
    match identity {
        Identity::Copy => {
            let metrics = new_metrics(tx);
            tx.set("VM", &copy, "metrics", metrics)?;
        }
        Identity::Snapshot => metrics(tx, vm, &copy)?,
    }
    devices(tx, vm, &copy, disks, identity)?;
    Ok(copy)
}

/// Gives a VM the drives, each with its disk, and the interfaces of another.
pub(super) fn devices(
    tx: &mut Tx<'_>,
    from: &str,
    to: &str,
    disks: &[(String, String)],
    identity: Identity,
) -> Result<(), Failure> {
    for (drive, disk) in disks {
        crate::classes::vbd::copy(tx, drive, to, disk)?;
    }
    for vif in refs(tx, from, "VIFs")? {
        vif::copy(tx, &vif, to, identity == Identity::Snapshot)?;
    }
    Ok(())
}

/// Gives a VM what another one's metrics say, in place of its own.
pub(super) fn metrics(tx: &mut Tx<'_>, from: &str, to: &str) -> Result<(), Failure> {
    for (field, class) in [("metrics", "VM_metrics"), ("guest_metrics", "VM_guest_metrics")] {
        let own = tx.object("VM", to)?.str(field).to_owned();
        tx.delete(class, &own);
        let source = tx.object("VM", from)?.str(field).to_owned();
        let copy = match tx.find(class, &source) {
            None => NULL.to_owned(),
            Some(source) => {
                let names = source.class().fields().iter().map(|field| field.name.to_string());
                let names: Vec<String> = names.filter(|name| name != "uuid").collect();
                let fields: Vec<(&str, Value)> =
                    names.iter().map(|name| (name.as_str(), source.get(name).clone())).collect();
                tx.create(class, fields)
            }
        };
        tx.set("VM", to, field, copy)?;
    }
    Ok(())
}
