//! `host` and `pool`.

use jiff::tz::TimeZone;
use xenapi_wire::{Failure, Value};

use super::vm::power::free_memory_bytes;
use crate::db::Tx;
use crate::dispatch::{Router, void};

pub(super) fn register(router: &mut Router) {
    router.raw("host.compute_free_memory", |ctx, args| {
        ctx.read(|view| Ok(Value::Int(free_memory_bytes(view, view.object("host", args.str(0))?))))
    });
    router.raw("host.compute_memory_overhead", |ctx, args| {
        ctx.read(|view| Ok(Value::Int(view.object("host", args.str(0))?.int("memory_overhead"))))
    });
    router.raw("host.get_servertime", |ctx, args| {
        ctx.read(|view| view.object("host", args.str(0)).map(|_| Value::DateTime(ctx.date())))
    });
    router.raw("host.get_server_localtime", |ctx, args| {
        ctx.read(|view| view.object("host", args.str(0)).map(|_| ()))?;
        let now = ctx.core.clock().now().to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H:%M:%S").to_string();
        now.parse().map(Value::DateTime).map_err(|_| Failure::new("INTERNAL_ERROR", [now]))
    });
    for (method, enabled) in [("host.enable", true), ("host.disable", false)] {
        router.raw(method, move |ctx, args| {
            ctx.write(|tx| tx.set("host", args.str(0), "enabled", Value::Bool(enabled)))?;
            Ok(void())
        });
    }
    router.raw("host.get_uncooperative_resident_VMs", |ctx, args| {
        ctx.read(|view| view.object("host", args.str(0)).map(|_| Value::Array(Vec::new())))
    });
    router.raw("host.is_in_emergency_mode", |_, _| Ok(Value::Bool(false)));
    router.raw("host.get_management_interface", |ctx, args| {
        ctx.read(|view| {
            let host = view.object("host", args.str(0))?;
            let management = view.follow(host, "PIFs", "PIF").find(|pif| pif.bool("management"));
            management
                .map(|pif| pif.reference().into())
                .ok_or_else(|| Failure::new("NO_MANAGEMENT_INTERFACE", [host.reference()]))
        })
    });
    router.raw("pool.is_slave", |ctx, args| {
        ctx.read(|view| {
            view.object("host", args.str(0))?;
            Ok(Value::Bool(false))
        })
    });
    router.raw("pool.sync_database", |_, _| Ok(void()));
    // Any reference is taken, null and dangling ones too.
    for (method, field) in [
        ("pool.set_default_SR", "default_SR"),
        ("pool.set_suspend_image_SR", "suspend_image_SR"),
        ("pool.set_crash_dump_SR", "crash_dump_SR"),
    ] {
        router.raw(method, move |ctx, args| {
            ctx.write(|tx| tx.set("pool", args.str(0), field, args.str(1)))?;
            Ok(void())
        });
    }
}

/// What a host allows follows from whether it is enabled.
pub(super) fn derive(tx: &mut Tx<'_>, host: &str) {
    let Ok(object) = tx.object("host", host) else { return };
    let always = ["vm_migrate", "provision", "vm_resume", "enable", "evacuate", "vm_start"];
    let disabled: &[&str] =
        if object.bool("enabled") { &[] } else { &["apply_updates", "reboot", "shutdown"] };
    let allowed = always.iter().chain(disabled).map(|op| Value::from(*op)).collect();
    // The object was found above, so setting its field cannot fail.
    let _ = tx.set("host", host, "allowed_operations", Value::Array(allowed));
}
