//! `pool`.

mod members;

use std::collections::BTreeMap;

use xenapi_wire::{Failure, Value};

use crate::core::Core;
use crate::dispatch::{Router, void};

/// Makes another host the master, if there is one.
pub(crate) fn hand_over(core: &Core) {
    let done = core.db().write(|tx| {
        let Some((pool, master)) = tx
            .objects("pool")
            .next()
            .map(|pool| (pool.reference().to_owned(), pool.str("master").to_owned()))
        else {
            return Ok(());
        };
        let heir = tx.objects("host").map(|host| host.reference().to_owned()).find(|host| *host != master);
        heir.map_or(Ok(()), |heir| tx.set("pool", &pool, "master", heir.as_str()))
    });
    if let Err(failure) = done {
        tracing::error!(%failure, "cannot change the master");
    }
}

pub(super) fn register(router: &mut Router) {
    router.raw("pool.is_slave", |ctx, args| {
        // It tells of the host that is asked, not of the one it is asked about.
        ctx.read(|view| {
            view.object("host", args.str(0))?;
            let master = view.objects("pool").next().map(|pool| pool.str("master"));
            Ok(Value::Bool(master.is_some_and(|master| master != ctx.host)))
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
    router.raw("pool.designate_new_master", |ctx, args| {
        ctx.write(|tx| {
            tx.object("host", args.str(0))?;
            let pool = tx.objects("pool").next().map(|pool| pool.reference().to_owned());
            pool.map_or(Ok(()), |pool| tx.set("pool", &pool, "master", args.str(0)))
        })?;
        Ok(void())
    });
    router.raw("pool.get_license_state", |ctx, args| {
        ctx.read(|view| {
            view.object("pool", args.str(0))?;
            let edition = view.objects("host").next().map_or("", |host| host.str("edition"));
            let state = [("edition", edition), ("expiry", "never")];
            Ok(Value::Struct(BTreeMap::from(state.map(|(key, value)| (key.to_owned(), value.into())))))
        })
    });
    router.raw("pool.set_igmp_snooping_enabled", |ctx, args| {
        let openvswitch = ctx.read(|view| {
            view.objects("host")
                .all(|host| host.entry("software_version", "network_backend") == Some("openvswitch"))
        });
        if !openvswitch {
            return Err(Failure::new("OPENVSWITCH_NOT_ACTIVE", [""; 0]));
        }
        ctx.write(|tx| tx.set("pool", args.str(0), "igmp_snooping_enabled", args.get(1).clone()))?;
        Ok(void())
    });
    high_availability(router);
    members::register(router);
}

/// A simulated pool has none: nothing is restarted, so that all hosts but one could fail without breaking a promise.
fn high_availability(router: &mut Router) {
    router.raw("pool.ha_prevent_restarts_for", |_, _| Ok(void()));
    router.raw("pool.ha_compute_max_host_failures_to_tolerate", |ctx, _| {
        Ok(Value::Int(ctx.read(|view| view.count("host")).try_into().unwrap_or(i64::MAX)))
    });
    router.raw("pool.enable_ha", |_, _| Err(Failure::new("CANNOT_CREATE_STATE_FILE", [""; 0])));
    router.raw("pool.disable_ha", |_, _| Err(Failure::new("HA_NOT_ENABLED", [""; 0])));
}
