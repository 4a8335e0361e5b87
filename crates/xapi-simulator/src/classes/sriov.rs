//! `network_sriov`: networks whose interfaces are parts of a network card.

use xenapi_wire::{Failure, Value};

use super::change;
use crate::db::{Object, Tx, View};
use crate::dispatch::Router;

/// Virtual functions that a simulated card has.
const FUNCTIONS: i64 = 4;

pub(super) fn register(router: &mut Router) {
    router.raw("network_sriov.create", |ctx, args| {
        ctx.write(|tx| create(tx, args.str(0), args.str(1))).map(Value::from)
    });
    change(router, "network_sriov.destroy", destroy);
    router.raw("network_sriov.get_remaining_capacity", |ctx, args| {
        ctx.read(|view| Ok(Value::Int(remaining(view, view.object("network_sriov", args.str(0))?))))
    });
}

/// # Errors
/// `PIF_IS_NOT_PHYSICAL`, `PIF_IS_NOT_SRIOV_CAPABLE`, `NETWORK_SRIOV_ALREADY_ENABLED`, and what a network answers
/// that the host is on already.
fn create(tx: &mut Tx<'_>, physical: &str, network: &str) -> Result<String, Failure> {
    let pif = tx.object("PIF", physical)?;
    super::vlan::unconnected(tx, network, pif.str("host"))?;
    if !pif.bool("physical") {
        return Err(Failure::new("PIF_IS_NOT_PHYSICAL", [physical]));
    }
    if !pif.strs("capabilities").any(|capability| capability == "sriov") {
        return Err(Failure::new("PIF_IS_NOT_SRIOV_CAPABLE", [physical]));
    }
    if pif.strs("sriov_physical_PIF_of").next().is_some() {
        return Err(Failure::new("NETWORK_SRIOV_ALREADY_ENABLED", [physical]));
    }
    let (device, host, mac) = (pif.str("device"), pif.str("host"), pif.str("MAC"));
    let metrics = pif.str("metrics");
    let fields = [
        ("device", Value::from(device)),
        ("host", host.into()),
        ("MAC", mac.into()),
        ("network", network.into()),
        ("MTU", tx.object("network", network)?.get("MTU").clone()),
        ("VLAN", Value::Int(-1)),
        ("metrics", metrics.into()),
        ("currently_attached", true.into()),
        ("managed", true.into()),
    ];
    let logical = tx.create("PIF", fields);
    let fields = [
        ("physical_PIF", physical.into()),
        ("logical_PIF", logical.into()),
        ("configuration_mode", "sysfs".into()),
    ];
    Ok(tx.create("network_sriov", fields))
}

fn destroy(tx: &mut Tx<'_>, sriov: &str) -> Result<(), Failure> {
    let logical = tx.object("network_sriov", sriov)?.str("logical_PIF").to_owned();
    tx.delete("PIF", &logical);
    tx.delete("network_sriov", sriov);
    Ok(())
}

/// The network of a host's card, if that is what `network` is there.
fn of<'v>(view: &'v View, network: &str, host: &str) -> Option<Object<'v>> {
    view.objects("network_sriov").find(|sriov| {
        let pif = view.find("PIF", sriov.str("logical_PIF"));
        pif.is_some_and(|pif| pif.str("network") == network && pif.str("host") == host)
    })
}

fn remaining(view: &View, sriov: Object<'_>) -> i64 {
    let Some(pif) = view.find("PIF", sriov.str("logical_PIF")) else { return 0 };
    let on_host = |vif: &Object<'_>| {
        let vm = view.find("VM", vif.str("VM"));
        vif.bool("currently_attached") && vm.is_some_and(|vm| vm.str("resident_on") == pif.str("host"))
    };
    let vifs = view.objects("VIF").filter(|vif| vif.str("network") == pif.str("network"));
    FUNCTIONS - vifs.filter(on_host).count() as i64
}

/// Whether there is a function for each interface of a VM.
///
/// # Errors
/// `NETWORK_SRIOV_INSUFFICIENT_CAPACITY`.
pub(in crate::classes) fn assert_room(view: &View, vm: Object<'_>, host: &str) -> Result<(), Failure> {
    for vif in view.follow(vm, "VIFs", "VIF") {
        let network = vif.str("network");
        let needed = view.follow(vm, "VIFs", "VIF").filter(|vif| vif.str("network") == network).count();
        if of(view, network, host).is_some_and(|sriov| remaining(view, sriov) < needed as i64) {
            return Err(Failure::new("NETWORK_SRIOV_INSUFFICIENT_CAPACITY", [network]));
        }
    }
    Ok(())
}

/// Whether an interface of a VM is a part of a card.
pub(in crate::classes) fn has(view: &View, vm: Object<'_>) -> bool {
    view.follow(vm, "VIFs", "VIF").any(|vif| {
        of(view, vif.str("network"), vm.str("resident_on")).is_some_and(|_| vif.bool("currently_attached"))
    })
}
