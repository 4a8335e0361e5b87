//! Virtual disk images.

mod allowed;
pub(crate) mod copy;
mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use xenapi_wire::{Failure, Value};

use crate::db::{NULL, Object, Tx, View};
use crate::dispatch::{Args, Busy, Ctx, Router, internal_error, storable, void};
use crate::sr_types::Layout;
use crate::storage::{Backend, Sr};

pub(crate) use allowed::{check, derive};
pub(crate) use copy::{copy_to, duplicate};
pub(crate) use rows::{insert, insert_luns, refresh_sr, sync};

pub(crate) fn register(router: &mut Router) {
    router.blocking("VDI.create", create);
    router.blocking("VDI.introduce", introduce);
    operation(router, "VDI.destroy", "destroy", destroy);
    operation(router, "VDI.resize", "resize", resize);
    operation(router, "VDI.snapshot", "snapshot", copy::snapshot);
    operation(router, "VDI.clone", "clone", copy::clone);
    operation(router, "VDI.copy", "copy", copy::copy);
    operation(router, "VDI.forget", "forget", forget);
    operation(router, "VDI.update", "update", update);
    operation(router, "VDI.generate_config", "generate_config", |_, _| Ok(void()));
    for field in ["name_label", "name_description", "allow_caching"] {
        router.raw(&format!("VDI.set_{field}"), move |ctx, args| {
            storable(args.get(1))?;
            ctx.write(|tx| tx.set("VDI", args.str(0), field, args.get(1).clone()))?;
            Ok(void())
        });
    }
    router.raw("VDI.set_on_boot", set_on_boot);
    // Only the storage manager's own sessions may set these.
    for method in [
        "set_read_only",
        "set_sharable",
        "set_managed",
        "set_missing",
        "set_virtual_size",
        "set_physical_utilisation",
        "set_is_a_snapshot",
        "set_snapshot_of",
        "set_snapshot_time",
        "set_metadata_of_pool",
        "set_cbt_enabled",
        "db_introduce",
        "db_forget",
        "pool_introduce",
    ] {
        router.raw(&format!("VDI.{method}"), |_, _| Err(Failure::new("PERMISSION_DENIED", [""])));
    }
    for operation in ["enable_cbt", "disable_cbt", "data_destroy", "list_changed_blocks"] {
        let method = format!("VDI.{operation}");
        router.raw(&method.clone(), move |ctx, args| {
            ctx.read(|view| check(view, view.object("VDI", args.str(0))?, operation))?;
            Err(Failure::new("NOT_IMPLEMENTED", [method.clone()]))
        });
    }
    router.raw("VDI.get_nbd_info", crate::transfer::nbd::info);
    router.raw("VDI.pool_migrate", pool_migrate);
    router.raw("VDI.force_unlock", |_, _| Err(Failure::new("MESSAGE_DEPRECATED", [] as [&str; 0])));
}

/// Registers a method whose first argument is a VDI that is busy with `operation` while it lasts.
fn operation(
    router: &mut Router,
    method: &'static str,
    operation: &'static str,
    f: fn(&Arc<Ctx>, &Args) -> Result<Value, Failure>,
) {
    router.future(method, move |ctx, args| async move {
        let busy = begin(&ctx, args.str(0), operation).await?;
        let result = tokio::task::spawn_blocking(move || f(&ctx, &args)).await;
        drop(busy);
        result.unwrap_or_else(|e| Err(internal_error(&e.to_string())))
    });
}

/// How long a call waits for another operation on the same object.
const PATIENCE: Duration = Duration::from_secs(2 * 60 * 60);

/// Marks a VDI as busy once no other operation is in the way: XAPI parks a call rather than refuse it.
async fn begin(ctx: &Arc<Ctx>, vdi: &str, operation: &'static str) -> Result<Busy, Failure> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut commits = ctx.core.db().subscribe();
    loop {
        commits.borrow_and_update();
        let marked = ctx.write(|tx| {
            let object = tx.object("VDI", vdi)?;
            check(tx, object, operation)?;
            require_plugged(tx, object.str("SR"))?;
            if !object.bool("managed") && !matches!(operation, "forget" | "update") {
                return Err(Failure::new("VDI_NOT_MANAGED", [vdi]));
            }
            tx.set_entry("VDI", vdi, "current_operations", &ctx.task, operation)
        });
        match marked {
            Ok(()) => return Ok(ctx.announced("VDI", vdi)),
            Err(failure) if failure.code == "OTHER_OPERATION_IN_PROGRESS" => {
                if tokio::time::timeout_at(deadline, commits.changed()).await.is_err() {
                    return Err(failure);
                }
            }
            Err(failure) => {
                // XAPI finds out that no host sees the SR after it has announced the operation, and so computes
                // anew what is allowed.
                if failure.code == "SR_HAS_NO_PBDS" {
                    let touched = ctx.write(|tx| {
                        tx.touch("VDI", vdi);
                        Ok::<_, Failure>(())
                    });
                    touched?;
                }
                return Err(failure);
            }
        }
    }
}

/// Refuses an SR that no host has plugged.
pub(crate) fn require_plugged(view: &View, sr: &str) -> Result<(), Failure> {
    let object = view.object("SR", sr)?;
    if view.follow(object, "PBDs", "PBD").any(|pbd| pbd.bool("currently_attached")) {
        return Ok(());
    }
    Err(Failure::new("SR_HAS_NO_PBDS", [sr]))
}

/// Opens the SR of this reference, which must be plugged. Does file work.
pub(crate) fn backend(ctx: &Ctx, sr: &str) -> Result<Backend, Failure> {
    let sr = ctx.read(|view| {
        require_plugged(view, sr)?;
        Sr::of(view, sr)
    })?;
    ctx.core.storage().open(sr)
}

/// The SR and the disk behind a VDI. Does file work.
pub(crate) fn disk_of(ctx: &Ctx, vdi: &str) -> Result<(Backend, Uuid), Failure> {
    let (sr, uuid) = ctx.read(|view| {
        let vdi = view.object("VDI", vdi)?;
        Ok::<_, Failure>((vdi.str("SR").to_owned(), uuid_of(vdi)))
    })?;
    Ok((backend(ctx, &sr)?, uuid))
}

/// The name of a VDI's disk.
pub(crate) fn uuid_of(vdi: Object<'_>) -> Uuid {
    // A uuid that is none belongs to a VDI that was introduced by hand: it has no disk.
    Uuid::parse_str(vdi.str("uuid")).unwrap_or_default()
}

fn require_feature(view: &View, sr: &str, feature: &str) -> Result<(), Failure> {
    if Sr::of(view, sr)?.kind.has(feature) {
        return Ok(());
    }
    Err(Failure::new("SR_OPERATION_NOT_SUPPORTED", [sr]))
}

fn create(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    let members = args.map(0);
    let text = |name: &str| match members.get(name) {
        Some(Value::String(text)) => text.as_str(),
        _ => "",
    };
    let requested = match members.get("virtual_size") {
        Some(Value::Int(size)) => *size,
        _ => 0,
    };
    members.values().try_for_each(storable)?;
    if text("type") == "cbt_metadata" {
        return Err(Failure::new("VDI_INCOMPATIBLE_TYPE", ["", "CBT metadata"]));
    }
    let sr = text("SR");
    let backend = backend(ctx, sr)?;
    ctx.read(|view| require_feature(view, sr, "VDI_CREATE"))?;
    let _exclusive = backend.exclusive();
    let volume = backend.create(requested)?;
    let given = ["name_label", "name_description", "type", "sharable", "read_only", "other_config"];
    let fields = given.into_iter().chain(["xenstore_data", "tags"]).filter_map(|name| {
        let (name, value) = members.get_key_value(name)?;
        Some((name.as_str(), value.clone()))
    });
    let mut fields: Vec<_> = fields.chain([("metadata_of_pool", "".into())]).collect();
    let wants_raw = matches!(members.get("sm_config"), Some(Value::Struct(config)) if is_raw(config));
    if backend.sr.kind.layout == Layout::VhdVolumes && wants_raw {
        let config = [("type".to_owned(), "raw".into()), ("vdi_type".to_owned(), "aio".into())];
        fields.push(("sm_config", Value::Struct(config.into())));
    }
    if !backend.sr.is_prezeroed(wants_raw) {
        backend.soil(volume.uuid, 0, volume.virtual_size)?;
    }
    let made = ctx.write(|tx| {
        // The SR may have been forgotten meanwhile.
        tx.object("SR", sr)?;
        Ok(insert(tx, &backend, &volume, fields))
    });
    if made.is_err() {
        backend.remove(volume.uuid)?;
    }
    made.map(Value::from)
}

/// Whether `sm_config` is that of a volume without a VHD in it.
pub(crate) fn is_raw(sm_config: &BTreeMap<String, Value>) -> bool {
    sm_config.get("type") == Some(&Value::from("raw"))
}

fn destroy(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    let vdi = args.str(0);
    let (backend, uuid) = disk_of(ctx, vdi)?;
    remove(ctx, &backend, uuid, vdi)?;
    Ok(void())
}

/// Removes a disk that was made for something that failed.
pub(crate) fn discard(ctx: &Ctx, vdi: &str) -> Result<(), Failure> {
    let (backend, uuid) = disk_of(ctx, vdi)?;
    remove(ctx, &backend, uuid, vdi)
}

/// Removes a disk, its row, and the base copies that only it needed with theirs.
fn remove(ctx: &Ctx, backend: &Backend, uuid: Uuid, vdi: &str) -> Result<(), Failure> {
    let _exclusive = backend.exclusive();
    let swept = backend.remove(uuid)?;
    ctx.write(|tx| {
        delete(tx, vdi);
        for base in swept {
            let base = tx.by_uuid("VDI", &base.to_string()).map(|base| base.reference().to_owned());
            base.iter().for_each(|base| tx.delete("VDI", base));
        }
        refresh_sr(tx, backend)
    })
}

/// Deletes the row of a VDI and what cannot be without it.
pub(crate) fn delete(tx: &mut Tx<'_>, vdi: &str) {
    let Some(object) = tx.find("VDI", vdi) else { return };
    let vbds: Vec<(String, String, bool)> = object
        .strs("VBDs")
        .filter_map(|vbd| tx.find("VBD", vbd))
        .map(|vbd| (vbd.reference().to_owned(), vbd.str("metrics").to_owned(), vbd.str("type") == "CD"))
        .collect();
    for (vbd, metrics, is_cd) in vbds {
        if is_cd {
            // The drive stays, empty.
            let _ = tx.set("VBD", &vbd, "VDI", NULL);
            let _ = tx.set("VBD", &vbd, "empty", true);
        } else {
            tx.delete("VBD_metrics", &metrics);
            tx.delete("VBD", &vbd);
        }
    }
    let suspended: Vec<String> = tx
        .objects("VM")
        .filter(|vm| vm.str("suspend_VDI") == vdi)
        .map(|vm| vm.reference().to_owned())
        .collect();
    for vm in suspended {
        let _ = tx.set("VM", &vm, "suspend_VDI", NULL);
    }
    tx.delete("VDI", vdi);
}

fn resize(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    let vdi = args.str(0);
    let (backend, uuid) = disk_of(ctx, vdi)?;
    let (from, is_raw) = ctx.read(|view| {
        let vdi = view.object("VDI", vdi)?;
        Ok::<_, Failure>((vdi.int("virtual_size"), is_raw(vdi.map("sm_config"))))
    })?;
    let volume = backend.resize(uuid, from as u64, args.int(1))?;
    if !backend.sr.is_prezeroed(is_raw) {
        backend.soil(uuid, from as u64, volume.virtual_size)?;
    }
    ctx.write(|tx| {
        rows::update(tx, vdi, &backend, &volume)?;
        refresh_sr(tx, &backend)
    })?;
    Ok(void())
}

fn forget(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    ctx.write(|tx| {
        delete(tx, args.str(0));
        Ok::<_, Failure>(void())
    })
}

fn update(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    let vdi = args.str(0);
    let (backend, uuid) = disk_of(ctx, vdi)?;
    let size = ctx.read(|view| view.object("VDI", vdi).map(|vdi| vdi.int("virtual_size")))?;
    let volume = backend.volume(uuid, size as u64);
    ctx.write(|tx| rows::update(tx, vdi, &backend, &volume))?;
    Ok(void())
}

/// Makes a row for a disk that exists.
fn introduce(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    let (uuid, sr, location) = (args.str(0), args.str(3), args.str(8));
    let backend = backend(ctx, sr)?;
    ctx.read(|view| require_feature(view, sr, "VDI_INTRODUCE"))?;
    let volume = backend.volumes().into_iter().find(|volume| volume.uuid.to_string() == location);
    let missing = || Failure::new("SR_BACKEND_FAILURE_46", ["", "The VDI is not available", ""]);
    let volume = match volume {
        Some(volume) => volume,
        None if backend.has_content() => return Err(missing()),
        None => backend.volume(Uuid::parse_str(uuid).unwrap_or_else(|_| Uuid::new_v4()), 0),
    };
    let reference = ctx.write(|tx| {
        let sr_object = tx.object("SR", sr)?;
        let here = tx.follow(sr_object, "VDIs", "VDI").find(|vdi| vdi.str("location") == location);
        let here = here.map(|vdi| (vdi.reference().to_owned(), vdi.bool("managed") || volume.hidden));
        if here.as_ref().is_some_and(|(_, managed)| *managed) {
            return Err(Failure::new("LOCATION_NOT_UNIQUE", [sr, location]));
        }
        let names = ["name_label", "name_description", "", "type", "sharable", "read_only", "other_config"];
        let fields = names.into_iter().zip(1..).filter(|(name, _)| !name.is_empty());
        let mut fields: Vec<(&str, Value)> =
            fields.map(|(name, index)| (name, args.get(index).clone())).collect();
        fields.push(("xenstore_data", args.get(9).clone()));
        fields.push(("metadata_of_pool", NULL.into()));
        // A disk that a scan has found, but that nobody has taken over yet.
        if let Some((found, _)) = here {
            fields.push(("managed", true.into()));
            for (name, value) in fields {
                tx.set("VDI", &found, name, value)?;
            }
            return Ok(found);
        }
        Ok(insert(tx, &backend, &volume, fields))
    })?;
    Ok(reference.into())
}

fn set_on_boot(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    let vdi = args.str(0);
    ctx.write(|tx| {
        let object = tx.object("VDI", vdi)?;
        check(tx, object, "set_on_boot")?;
        tx.set("VDI", vdi, "on_boot", args.get(1).clone())
    })?;
    Ok(void())
}

fn pool_migrate(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    let vdi = args.str(0);
    ctx.read(|view| {
        let object = view.object("VDI", vdi)?;
        view.object("SR", args.str(1))?;
        if !view.follow(object, "VBDs", "VBD").any(|vbd| vbd.bool("currently_attached")) {
            return Err(Failure::new("VDI_NEEDS_VM_FOR_MIGRATE", [vdi]));
        }
        Err(Failure::new("NOT_IMPLEMENTED", ["VDI.pool_migrate"]))
    })
}
