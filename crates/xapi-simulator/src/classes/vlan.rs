//! `VLAN`, and the calls of other classes that make them.

use xenapi_wire::{Failure, Value};

use super::change;
use crate::db::{Object, Tx, View};
use crate::dispatch::Router;

pub(super) fn register(router: &mut Router) {
    router.raw("VLAN.create", |ctx, args| {
        let vlan = ctx.write(|tx| create(tx, args.str(0), args.str(2), args.int(1)))?;
        Ok(vlan.0.into())
    });
    change(router, "VLAN.destroy", destroy);
    // Only the refusal that comes first: simulated hosts have no bonds.
    router.raw("Bond.create", |ctx, args| {
        ctx.read(|view| {
            for pif in args.strs(1) {
                unconnected(view, args.str(0), view.object("PIF", pif)?.str("host"))?;
            }
            Err(Failure::new("NOT_IMPLEMENTED", ["Bond.create"]))
        })
    });
    router.raw("pool.create_VLAN_from_PIF", |ctx, args| {
        let pifs = ctx.write(|tx| {
            let device = tx.object("PIF", args.str(0))?.str("device").to_owned();
            on_all_hosts(tx, &device, args.str(1), args.int(2))
        })?;
        Ok(pifs.into())
    });
    router.raw("pool.create_VLAN", |ctx, args| {
        let pifs = ctx.write(|tx| on_all_hosts(tx, args.str(0), args.str(1), args.int(2)))?;
        Ok(pifs.into())
    });
}

/// One for each host that has the device; all of them or none.
fn on_all_hosts(tx: &mut Tx<'_>, device: &str, network: &str, tag: i64) -> Result<Vec<String>, Failure> {
    let same = tx.objects("PIF").filter(|pif| pif.bool("physical") && pif.str("device") == device);
    let pifs: Vec<String> = same.map(|pif| pif.reference().to_owned()).collect();
    pifs.iter().map(|pif| create(tx, pif, network, tag).map(|(_, untagged)| untagged)).collect()
}

/// The VLAN and its untagged PIF.
///
/// # Errors
/// `NETWORK_ALREADY_CONNECTED`; `VLAN_TAG_INVALID`; `PIF_IS_VLAN`; `PIF_VLAN_EXISTS` for a tag that the interface has
/// already.
fn create(tx: &mut Tx<'_>, tagged: &str, network: &str, tag: i64) -> Result<(String, String), Failure> {
    let pif = tx.object("PIF", tagged)?;
    unconnected(tx, network, pif.str("host"))?;
    if !(0..4095).contains(&tag) {
        return Err(Failure::new("VLAN_TAG_INVALID", [tag.to_string()]));
    }
    if pif.int("VLAN") >= 0 {
        return Err(Failure::new("PIF_IS_VLAN", [tagged]));
    }
    let (device, host, mac) = (pif.str("device"), pif.str("host"), pif.str("MAC"));
    let same = |other: &Object<'_>| {
        other.str("host") == host && other.str("device") == device && other.int("VLAN") == tag
    };
    if tx.objects("PIF").any(|other| same(&other)) {
        return Err(Failure::new("PIF_VLAN_EXISTS", [tagged]));
    }
    let metrics = pif.str("metrics");
    let fields = [
        ("device", Value::from(device)),
        ("host", host.into()),
        ("MAC", mac.into()),
        ("network", network.into()),
        ("MTU", tx.object("network", network)?.get("MTU").clone()),
        ("VLAN", Value::Int(tag)),
        ("metrics", metrics.into()),
        ("currently_attached", true.into()),
        ("managed", true.into()),
    ];
    let untagged = tx.create("PIF", fields);
    let vlan = tx.create(
        "VLAN",
        [("tagged_PIF", tagged.into()), ("untagged_PIF", untagged.as_str().into()), ("tag", Value::Int(tag))],
    );
    tx.set("PIF", &untagged, "VLAN_master_of", vlan.as_str())?;
    Ok((vlan, untagged))
}

/// # Errors
/// `NETWORK_ALREADY_CONNECTED`: a host has one interface on a network.
pub(super) fn unconnected(view: &View, network: &str, host: &str) -> Result<(), Failure> {
    let network = view.object("network", network)?;
    match view.follow(network, "PIFs", "PIF").find(|pif| pif.str("host") == host) {
        Some(pif) => Err(Failure::new("NETWORK_ALREADY_CONNECTED", [host, pif.reference()])),
        None => Ok(()),
    }
}

fn destroy(tx: &mut Tx<'_>, vlan: &str) -> Result<(), Failure> {
    let untagged = tx.object("VLAN", vlan)?.str("untagged_PIF").to_owned();
    let network = tx.object("PIF", &untagged)?.str("network").to_owned();
    let users = tx.object("network", &network)?;
    let host = tx.object("PIF", &untagged)?.str("host");
    let busy = tx.follow(users, "VIFs", "VIF").any(|vif| {
        let vm = tx.find("VM", vif.str("VM"));
        vif.bool("currently_attached") && vm.is_some_and(|vm| vm.str("resident_on") == host)
    });
    if busy {
        return Err(Failure::new("VIF_IN_USE", [network.as_str(), ""]));
    }
    tx.delete("PIF", &untagged);
    tx.delete("VLAN", vlan);
    Ok(())
}
