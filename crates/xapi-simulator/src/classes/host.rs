//! `host`.

mod evacuate;

use std::time::Duration;

use jiff::tz::TimeZone;
use xenapi_wire::{Failure, Value};

use super::vm::power::free_memory_bytes;
use crate::db::Tx;
use crate::dispatch::{Router, internal_error, void};

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
    evacuate::register(router);
    maintenance(router);
    from_dom0(router);
}

/// How long after `host.restart_agent` has answered the server ends.
const RESTART_AFTER: Duration = Duration::from_millis(200);

/// Power and settings. A simulated host never goes away.
fn maintenance(router: &mut Router) {
    router.raw("host.restart_agent", |ctx, args| {
        ctx.read(|view| view.object("host", args.str(0)).map(|_| ()))?;
        let core = ctx.core.clone();
        tokio::spawn(async move {
            // The caller shall still hear that it will happen.
            core.clock().sleep(RESTART_AFTER).await;
            core.stop_toolstack();
            core.start_toolstack();
        });
        Ok(void())
    });
    for method in ["host.reboot", "host.shutdown"] {
        router.raw(method, |ctx, args| {
            ctx.read(|view| match view.object("host", args.str(0))?.bool("enabled") {
                true => Err(Failure::new("HOST_NOT_DISABLED", [""; 0])),
                false => Ok(void()),
            })
        });
    }
    for method in ["host.destroy", "host.power_on"] {
        router.raw(method, |ctx, args| {
            ctx.read(|view| view.object("host", args.str(0)).map(|_| ()))?;
            Err(Failure::new("HOST_IS_LIVE", [args.str(0)]))
        });
    }
    router.raw("host.set_power_on_mode", |ctx, args| {
        ctx.write(|tx| {
            tx.set("host", args.str(0), "power_on_mode", args.str(1))?;
            tx.set("host", args.str(0), "power_on_config", args.get(2).clone())
        })?;
        Ok(void())
    });
    router.raw("host.set_hostname_live", |ctx, args| {
        let name = args.str(1);
        let reason = match name.len() {
            0 => Some("hostname empty"),
            256.. => Some("hostname is too long"),
            _ if name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)) => None,
            _ => Some("hostname contains invalid characters"),
        };
        if let Some(reason) = reason {
            return Err(Failure::new("HOST_NAME_INVALID", [reason]));
        }
        ctx.write(|tx| tx.set("host", args.str(0), "hostname", name))?;
        Ok(void())
    });
}

/// What programs of dom0 would say or do, which are not there.
fn from_dom0(router: &mut Router) {
    type Answer = fn() -> Result<Value, Failure>;
    let answers: [(&str, Answer); 9] = [
        ("host.dmesg", || Ok("Xen simulator".into())),
        ("host.get_log", || Err(Failure::new("NOT_IMPLEMENTED", ["get_log"]))),
        // The recorded host had no such program either: this is its exit code.
        ("host.get_system_status_capabilities", || Err(internal_error("127"))),
        ("host.get_data_sources", || Ok(Value::Array(Vec::new()))),
        ("host.query_data_source", || Ok(Value::Double(0.0))),
        ("host.backup_rrds", || Ok(void())),
        ("host.send_debug_keys", || Ok(void())),
        ("host.apply_edition", || Ok(void())),
        ("host.retrieve_wlb_evacuate_recommendations", || Err(Failure::new("WLB_NOT_INITIALIZED", [""; 0]))),
    ];
    for (method, answer) in answers {
        router.raw(method, move |ctx, args| {
            ctx.read(|view| view.object("host", args.str(0)).map(|_| ()))?;
            answer()
        });
    }
    router.raw("host.get_server_certificate", |ctx, args| {
        ctx.read(|view| view.object("host", args.str(0)).map(|_| ()))?;
        ctx.core.certificate.pem().map(Value::from).map_err(|e| internal_error(&e))
    });
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
