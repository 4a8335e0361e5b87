//! `VM.clone`, `VM.copy` and `VM.provision`.

use std::sync::Arc;

use uuid::Uuid;
use xenapi_wire::{Failure, Value};

use super::lifecycle::new_metrics;
use super::power::{new_generation_id, refs};
use super::{begin, operations};
use crate::classes::{vdi, vif};
use crate::db::{NULL, Tx, is_null};
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

async fn on_thread<T: Send + 'static>(
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
    let vbds: Vec<(String, String)> = ctx.read(|view| {
        let vm = view.object("VM", vm)?;
        let vbds = view.follow(vm, "VBDs", "VBD");
        Ok::<_, Failure>(vbds.map(|vbd| (vbd.reference().to_owned(), vbd.str("VDI").to_owned())).collect())
    })?;
    let mut made: Vec<(String, String)> = Vec::new();
    let result = vbds.into_iter().try_for_each(|(vbd, disk)| {
        let is_disk = ctx.read(|view| Ok::<_, Failure>(view.object("VBD", &vbd)?.str("type") == "Disk"))?;
        let disk = match disks {
            _ if is_null(&disk) || !is_disk => disk,
            Disks::Clone => vdi::duplicate(ctx, &disk, false)?,
            Disks::Copy { sr } if is_null(sr) => {
                let own =
                    ctx.read(|view| Ok::<_, Failure>(view.object("VDI", &disk)?.str("SR").to_owned()))?;
                vdi::copy_to(ctx, &disk, &own, NULL)?
            }
            Disks::Copy { sr } => vdi::copy_to(ctx, &disk, sr, NULL)?,
        };
        made.push((vbd, disk));
        Ok(())
    });
    let result = result.and_then(|()| ctx.write(|tx| record(tx, vm, name, &made)));
    if result.is_err() {
        for (vbd, disk) in &made {
            let original = ctx.read(|view| view.find("VBD", vbd).map(|vbd| vbd.str("VDI").to_owned()));
            if original.as_deref() != Some(disk) && !is_null(disk) {
                vdi::discard(ctx, disk)?;
            }
        }
    }
    result.map(Value::from)
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

fn record(tx: &mut Tx<'_>, vm: &str, name: &str, disks: &[(String, String)]) -> Result<String, Failure> {
    let source = tx.object("VM", vm)?;
    let template = operations::is_template(source);
    let source_name = source.str("name_label").to_owned();
    let class = source.class();
    let names: Vec<String> = class.fields().iter().map(|f| f.name.to_string()).collect();
    let mut fields: Vec<(&str, Value)> = Vec::new();
    for field in names.iter().filter(|field| !OWN.contains(&field.as_str())) {
        fields.push((field, source.get(field).clone()));
    }
    let mut other_config = source.map("other_config").clone();
    for key in ["default_template", "xensource_internal"] {
        other_config.remove(key);
    }
    other_config.insert("mac_seed".to_owned(), Uuid::new_v4().to_string().into());
    if template {
        other_config.insert("base_template_name".to_owned(), source_name.into());
    }
    let vifs: Vec<String> = refs(tx, vm, "VIFs")?;
    let copy = tx.create("VM", fields);
    for (field, value) in [
        ("name_label", Value::from(name)),
        ("other_config", Value::Struct(other_config)),
        ("power_state", "Halted".into()),
        ("domid", Value::Int(-1)),
        ("generation_id", new_generation_id().into()),
        ("last_boot_CPU_flags", Value::Struct(Default::default())),
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
    let metrics = new_metrics(tx);
    tx.set("VM", &copy, "metrics", metrics)?;
    for (vbd, disk) in disks {
        crate::classes::vbd::copy(tx, vbd, &copy, disk)?;
    }
    for vif in vifs {
        vif::copy(tx, &vif, &copy)?;
    }
    Ok(copy)
}
