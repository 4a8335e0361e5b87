//! Storage repositories.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;
use xenapi_wire::{Failure, Value};

use super::{task, vdi};
use crate::db::{NULL, Object, Tx, View};
use crate::dispatch::{Args, Ctx, Router, internal_error, void};
use crate::sr_types::{Layout, SrType, backend_failure};
use crate::storage::Sr;
use crate::targets;

pub(crate) fn register(router: &mut Router) {
    router.blocking("SR.create", create);
    router.raw("SR.introduce", introduce);
    router.blocking("SR.destroy", destroy);
    router.raw("SR.forget", |ctx, args| {
        ctx.write(|tx| {
            assert_unplugged(tx, tx.object("SR", args.str(0))?)?;
            delete(tx, args.str(0))
        })?;
        Ok(void())
    });
    router.future("SR.scan", |ctx, args| async move {
        let pbds = ctx.read(|view| {
            let sr = view.object("SR", args.str(0))?;
            let plugged = view.follow(sr, "PBDs", "PBD").filter(|pbd| pbd.bool("currently_attached"));
            Ok::<_, Failure>(plugged.map(|pbd| pbd.reference().to_owned()).collect::<Vec<_>>())
        })?;
        for pbd in pbds {
            targets::reach(&ctx, &pbd).await?;
        }
        tokio::task::spawn_blocking(move || scan(&ctx, args.str(0)).map(|()| void()))
            .await
            .unwrap_or_else(|e| Err(internal_error(&e.to_string())))
    });
    router.blocking("SR.update", |ctx, args| {
        let backend = vdi::backend(ctx, args.str(0))?;
        ctx.write(|tx| vdi::refresh_sr(tx, &backend))?;
        Ok(void())
    });
    router.raw("SR.make", |_, _| Err(Failure::new("MESSAGE_DEPRECATED", [] as [&str; 0])));
    router.raw("SR.probe", probe);
    router.raw("SR.probe_ext", |_, _| Err(Failure::new("SR_OPERATION_NOT_SUPPORTED", [] as [&str; 0])));
    router.raw("SR.get_supported_types", |ctx, _| {
        Ok(ctx.read(|view| Value::from(view.objects("SM").map(|sm| sm.str("type")).collect::<Vec<_>>())))
    });
    setters(router);
    statistics(router);
}

fn setters(router: &mut Router) {
    for field in ["name_label", "name_description"] {
        router.raw(&format!("SR.set_{field}"), move |ctx, args| {
            crate::dispatch::storable(args.get(1))?;
            ctx.write(|tx| tx.set("SR", args.str(0), field, args.get(1).clone()))?;
            Ok(void())
        });
    }
    router.raw("SR.set_shared", |ctx, args| {
        ctx.write(|tx| {
            let sr = tx.object("SR", args.str(0))?;
            let pbds: Vec<String> = sr.strs("PBDs").map(str::to_owned).collect();
            if !args.bool(1) && pbds.len() > 1 {
                return Err(Failure::new("SR_HAS_MULTIPLE_PBDS", pbds));
            }
            tx.set("SR", args.str(0), "shared", args.bool(1))
        })?;
        Ok(void())
    });
    // Only the storage manager's own sessions may set these.
    for field in ["physical_size", "virtual_allocation", "physical_utilisation"] {
        router.raw(&format!("SR.set_{field}"), |_, _| Err(Failure::new("PERMISSION_DENIED", [""])));
    }
    for method in ["assert_can_host_ha_statefile", "assert_supports_database_replication"] {
        router.raw(&format!("SR.{method}"), |ctx, args| {
            ctx.read(|view| view.object("SR", args.str(0)).map(drop))?;
            Err(Failure::new("SR_OPERATION_NOT_SUPPORTED", [args.str(0)]))
        });
    }
}

fn statistics(router: &mut Router) {
    let known = |ctx: &Ctx, args: &Args| ctx.read(|view| view.object("SR", args.str(0)).map(drop));
    router.raw("SR.get_data_sources", move |ctx, args| known(ctx, args).map(|()| Value::Array(Vec::new())));
    router.raw("SR.query_data_source", move |ctx, args| known(ctx, args).map(|()| Value::Double(0.0)));
    router.raw("SR.record_data_source", move |ctx, args| known(ctx, args).map(|()| void()));
    router.raw("SR.forget_data_source_archives", move |ctx, args| known(ctx, args).map(|()| void()));
}

/// The size of an SR whose creator gave none: 1 TiB.
const DEFAULT_SIZE: i64 = 1 << 40;

/// The driver of this name, if the pool has it.
fn driver(view: &View, name: &str) -> Result<&'static SrType, Failure> {
    let name = name.to_lowercase();
    let mut installed = view.objects("SM");
    SrType::find(&name)
        .filter(|_| installed.any(|sm| sm.str("type") == name))
        .ok_or_else(|| Failure::new("SR_UNKNOWN_DRIVER", [name]))
}

/// What the driver misses in its configuration.
fn check_config(kind: &SrType, config: &BTreeMap<String, Value>) -> Result<(), Failure> {
    if let Some((key, code)) = kind.required_config.iter().find(|(key, _)| !config.contains_key(*key)) {
        return Err(backend_failure(*code, &format!("The request is missing the {key} parameter")));
    }
    let text = |key: &str| config.get(key).map(View::text_of);
    let local = kind.layout == Layout::Isos && text("legacy_mode").as_deref() == Some("true");
    if local && !text("location").is_some_and(|path| Path::new(&path).is_dir()) {
        return Err(backend_failure(226, "Invalid local path"));
    }
    Ok(())
}

fn create(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    let (host, config, shared) = (args.str(0), args.map(1), args.bool(7));
    let kind = ctx.read(|view| {
        view.find("host", host).ok_or_else(|| Failure::new("HOST_OFFLINE", [host]))?;
        driver(view, args.str(5))
    })?;
    check_config(kind, config)?;
    let (size, used) = match kind.layout {
        Layout::Isos => (-1, -1),
        _ if args.int(2) > 0 => (args.int(2), 0),
        _ => (DEFAULT_SIZE, 0),
    };
    let mut sm_config = args.map(8).clone();
    if kind.layout == Layout::VhdVolumes {
        sm_config.insert("allocation".into(), "thick".into());
        sm_config.insert("use_vhd".into(), "true".into());
    }
    let sr = ctx.write(|tx| {
        let sr = tx.create(
            "SR",
            [
                ("name_label", args.str(3).into()),
                ("name_description", args.str(4).into()),
                ("type", kind.name.into()),
                ("content_type", args.str(6).into()),
                ("shared", shared.into()),
                ("physical_size", Value::Int(size)),
                ("physical_utilisation", Value::Int(used)),
                ("sm_config", Value::Struct(sm_config)),
                ("other_config", Value::Struct(BTreeMap::from([("dirty".into(), "".into())]))),
                ("introduced_by", NULL.into()),
            ],
        );
        let hosts: Vec<String> = if shared {
            tx.objects("host").map(|host| host.reference().to_owned()).collect()
        } else {
            vec![host.to_owned()]
        };
        for host in hosts {
            let fields = [
                ("host", host.into()),
                ("SR", sr.as_str().into()),
                ("device_config", Value::Struct(config.clone())),
                ("currently_attached", true.into()),
            ];
            tx.create("PBD", fields);
        }
        Ok::<_, Failure>(sr)
    })?;
    // Nothing is left of an SR that cannot be used.
    if let Err(failure) = vdi::backend(ctx, &sr) {
        ctx.write(|tx| delete(tx, &sr))?;
        return Err(failure);
    }
    if ctx.has_task_object() {
        plugging_tasks(ctx, &sr)?;
    }
    Ok(sr.into())
}

/// A task plugs each PBD of a new SR in one of its own, which outlives it.
fn plugging_tasks(ctx: &Ctx, sr: &str) -> Result<(), Failure> {
    let pbds = ctx.read(|view| view.object("SR", sr).map(|sr| sr.strs("PBDs").count()))?;
    for _ in 0..pbds {
        let task = task::create(&ctx.core, &ctx.host, &ctx.session, "Async.PBD.plug", "")?;
        ctx.write(|tx| tx.set("task", &task, "subtask_of", ctx.task.as_str()))?;
        task::finish(&ctx.core, &task, Ok(void()));
    }
    Ok(())
}

fn introduce(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    let uuid = match args.str(0) {
        "" => Uuid::new_v4().to_string(),
        given => given.to_owned(),
    };
    let sr = ctx.write(|tx| {
        if tx.by_uuid("SR", &uuid).is_ok() {
            return Err(Failure::new("SR_UUID_EXISTS", [uuid]));
        }
        Ok(tx.create(
            "SR",
            [
                ("uuid", uuid.into()),
                ("name_label", args.str(1).into()),
                ("name_description", args.str(2).into()),
                ("type", args.str(3).to_lowercase().into()),
                ("content_type", args.str(4).into()),
                ("shared", args.bool(5).into()),
                ("sm_config", args.get(6).clone()),
                ("physical_size", Value::Int(-1)),
                ("physical_utilisation", Value::Int(-1)),
                ("introduced_by", NULL.into()),
            ],
        ))
    })?;
    Ok(sr.into())
}

/// An SR that a host has plugged can neither be forgotten nor destroyed.
fn assert_unplugged(view: &View, sr: Object<'_>) -> Result<(), Failure> {
    if view.follow(sr, "PBDs", "PBD").any(|pbd| pbd.bool("currently_attached")) {
        return Err(Failure::new("SR_HAS_PBD", [sr.reference()]));
    }
    Ok(())
}

fn destroy(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    let reference = args.str(0);
    let sr = ctx.read(|view| {
        let sr = view.object("SR", reference)?;
        assert_unplugged(view, sr)?;
        if sr.entry("other_config", "indestructible") == Some("true") {
            return Err(Failure::new("SR_INDESTRUCTIBLE", [reference]));
        }
        if view.follow(sr, "VDIs", "VDI").any(|vdi| vdi.bool("managed") && vdi.str("type") != "rrd") {
            return Err(Failure::new("SR_NOT_EMPTY", [] as [&str; 0]));
        }
        if sr.strs("PBDs").next().is_none() {
            return Err(Failure::new("SR_HAS_NO_PBDS", [reference]));
        }
        Sr::of(view, reference)
    })?;
    let storage = ctx.core.storage();
    storage.remove(&storage.open(sr)?)?;
    ctx.write(|tx| delete(tx, reference))?;
    Ok(void())
}

/// Deletes the row of an SR with its PBDs and VDIs.
fn delete(tx: &mut Tx<'_>, reference: &str) -> Result<(), Failure> {
    let sr = tx.object("SR", reference)?;
    let pbds: Vec<String> = sr.strs("PBDs").map(str::to_owned).collect();
    let vdis: Vec<String> = sr.strs("VDIs").map(str::to_owned).collect();
    vdis.iter().for_each(|vdi| vdi::delete(tx, vdi));
    pbds.iter().for_each(|pbd| tx.delete("PBD", pbd));
    tx.delete("SR", reference);
    Ok(())
}

/// Makes the rows of an SR fit its content.
pub(super) fn scan(ctx: &Ctx, sr: &str) -> Result<(), Failure> {
    let backend = vdi::backend(ctx, sr)?;
    let _exclusive = backend.exclusive();
    let isos = backend.isos(ctx.core.storage());
    let luns = match backend.sr.kind.layout {
        Layout::Luns => ctx.read(|view| {
            let sr = view.object("SR", sr)?;
            Ok::<_, Failure>(targets::luns(&ctx.core.config().targets, view, sr))
        })?,
        _ => Vec::new(),
    };
    for (lun, uuid) in &luns {
        backend.ensure(*uuid, lun.bytes)?;
    }
    ctx.write(|tx| {
        vdi::insert_luns(tx, &backend, &luns);
        vdi::sync(tx, &backend, &backend.volumes(), &isos)?;
        tx.remove_from("SR", sr, "other_config", "dirty")
    })
}

fn probe(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    let kind = ctx.read(|view| {
        view.find("host", args.str(0)).ok_or_else(|| Failure::new("HOST_OFFLINE", [args.str(0)]))?;
        driver(view, args.str(2))
    })?;
    if !kind.has("SR_PROBE") {
        return Err(internal_error("Operation 'sr_probe' not supported by this SR type"));
    }
    check_config(kind, args.map(1))?;
    let text = |key: &str| args.map(1).get(key).map(View::text_of).unwrap_or_default();
    let (address, path) = match kind.name {
        "smb" => {
            let server = text("server").replace('\\', "/");
            let (address, path) = server.trim_start_matches('/').split_once('/').unwrap_or_default();
            (address.to_owned(), format!("/{path}"))
        }
        _ => (text("server"), text("serverpath")),
    };
    let uuids = targets::srs_on(&ctx.core.config().targets, &address, &path);
    if uuids.is_empty() {
        return Ok("<?xml version=\"1.0\" ?>\n<SRlist/>\n".into());
    }
    let srs = uuids.iter().map(|uuid| format!("\t<SR>\n\t\t<UUID>\n\t\t\t{uuid}\n\t\t</UUID>\n\t</SR>\n"));
    Ok(format!("<?xml version=\"1.0\" ?>\n<SRlist>\n{}</SRlist>\n", srs.collect::<String>()).into())
}

/// The operations that `SR.allowed_operations` speaks of, with the driver's feature that each needs.
const OPERATIONS: [(&str, &str); 20] = [
    ("vdi_introduce", "VDI_INTRODUCE"),
    ("unplug", ""),
    ("plug", ""),
    ("pbd_create", ""),
    ("update", "SR_UPDATE"),
    ("pbd_destroy", ""),
    ("vdi_resize", "VDI_RESIZE"),
    ("forget", ""),
    ("vdi_clone", ""),
    ("scan", ""),
    ("vdi_snapshot", "VDI_SNAPSHOT"),
    ("vdi_mirror", "VDI_MIRROR"),
    ("vdi_create", "VDI_CREATE"),
    ("vdi_destroy", "VDI_DELETE"),
    ("vdi_set_on_boot", "VDI_RESET_ON_BOOT"),
    ("vdi_enable_cbt", "VDI_CONFIG_CBT"),
    ("vdi_disable_cbt", "VDI_CONFIG_CBT"),
    ("vdi_data_destroy", "VDI_CONFIG_CBT"),
    ("vdi_list_changed_blocks", "VDI_CONFIG_CBT"),
    ("destroy", ""),
];

/// Computes `allowed_operations`.
pub(crate) fn derive(tx: &mut Tx<'_>, reference: &str) {
    let Some(sr) = tx.find("SR", reference) else { return };
    let kind = SrType::find(sr.str("type"));
    let plugged = assert_unplugged(tx, sr).is_err();
    let has_pbd = sr.strs("PBDs").next().is_some();
    let is_empty = !tx.follow(sr, "VDIs", "VDI").any(|vdi| vdi.bool("managed"));
    let allowed = OPERATIONS.iter().filter(|(operation, feature)| match *operation {
        "forget" => !plugged,
        "destroy" => !plugged && has_pbd && is_empty,
        "vdi_create" | "vdi_destroy" if sr.bool("is_tools_sr") => false,
        _ => feature.is_empty() || kind.is_some_and(|kind| kind.has(feature)),
    });
    let allowed: Vec<&str> = allowed.map(|(operation, _)| *operation).collect();
    // The object was found above, so this cannot fail.
    let _ = tx.set("SR", reference, "allowed_operations", allowed);
}
