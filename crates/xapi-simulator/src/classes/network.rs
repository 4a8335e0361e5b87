//! `network`.

use xenapi_wire::{Failure, Value};

use super::{change, constructor};
use crate::db::Tx;
use crate::dispatch::{Router, void};

pub(super) fn register(router: &mut Router) {
    constructor(router, "network", created);
    change(router, "network.destroy", destroy);
    router.raw("network.attach", |ctx, args| {
        ctx.read(|view| {
            view.object("network", args.str(0))?;
            view.object("host", args.str(1)).map(|_| void())
        })
    });
    router.raw("network.set_default_locking_mode", |ctx, args| {
        ctx.write(|tx| set_default_locking_mode(tx, args.str(0), args.str(1)))?;
        Ok(void())
    });
    router.raw("network.add_purpose", |ctx, args| {
        ctx.write(|tx| add_purpose(tx, args.str(0), args.str(1)))?;
        Ok(void())
    });
    router.raw("network.remove_purpose", |ctx, args| {
        ctx.write(|tx| {
            let purposes = tx.object("network", args.str(0))?.strs("purpose");
            let others: Vec<String> = purposes.filter(|p| *p != args.str(1)).map(str::to_owned).collect();
            tx.set("network", args.str(0), "purpose", others)
        })?;
        Ok(void())
    });
}

/// # Errors
/// `VIF_IN_USE` while a plugged VIF goes by what the network says.
fn set_default_locking_mode(tx: &mut Tx<'_>, network: &str, mode: &str) -> Result<(), Failure> {
    let object = tx.object("network", network)?;
    let user = tx
        .follow(object, "VIFs", "VIF")
        .find(|vif| vif.bool("currently_attached") && vif.str("locking_mode") == "network_default");
    if let Some(vif) = user {
        return Err(Failure::new("VIF_IN_USE", [network, vif.reference()]));
    }
    tx.set("network", network, "default_locking_mode", mode)
}

/// # Errors
/// `NETWORK_INCOMPATIBLE_PURPOSES`: disks are served with TLS or without, over all networks.
fn add_purpose(tx: &mut Tx<'_>, network: &str, purpose: &str) -> Result<(), Failure> {
    tx.object("network", network)?;
    let other = if purpose == "nbd" { "insecure_nbd" } else { "nbd" };
    if tx.objects("network").any(|network| network.strs("purpose").any(|p| p == other)) {
        return Err(Failure::new("NETWORK_INCOMPATIBLE_PURPOSES", [purpose, other]));
    }
    let mut purposes: Vec<String> =
        tx.object("network", network)?.strs("purpose").map(str::to_owned).collect();
    if !purposes.iter().any(|p| p == purpose) {
        purposes.push(purpose.to_owned());
    }
    tx.set("network", network, "purpose", purposes)
}

/// Linux limits a bridge's name to 15 bytes.
const LONGEST_BRIDGE: usize = 15;
const DEFAULT_MTU: i64 = 1500;

/// Checks and finishes a network whose constructor fields have been stored.
///
/// # Errors
/// `INVALID_VALUE` for a bridge name that is too long or taken.
fn created(tx: &mut Tx<'_>, network: &str) -> Result<(), Failure> {
    let object = tx.object("network", network)?;
    let (bridge, mtu) = (object.str("bridge").to_owned(), object.int("MTU"));
    let taken =
        |name: &str| tx.objects("network").any(|n| n.reference() != network && n.str("bridge") == name);
    if bridge.is_empty() {
        let free = (0..).map(|n| format!("xapi{n}")).find(|name| !taken(name)).unwrap_or_default();
        tx.set("network", network, "bridge", free)?;
    } else if bridge.len() > LONGEST_BRIDGE || taken(&bridge) {
        return Err(Failure::new("INVALID_VALUE", ["bridge", &bridge]));
    }
    if mtu <= 0 {
        tx.set("network", network, "MTU", Value::Int(DEFAULT_MTU))?;
    }
    tx.set("network", network, "default_locking_mode", "unlocked")
}

/// `network.destroy`: the VIFs of halted VMs go with it.
///
/// # Errors
/// `NETWORK_CONTAINS_PIF`, `CANNOT_DESTROY_SYSTEM_NETWORK`, and `NETWORK_CONTAINS_VIF` with all VIFs while one of
/// them is plugged.
fn destroy(tx: &mut Tx<'_>, network: &str) -> Result<(), Failure> {
    let object = tx.object("network", network)?;
    let pifs: Vec<&str> = object.strs("PIFs").collect();
    if !pifs.is_empty() {
        return Err(Failure::new("NETWORK_CONTAINS_PIF", pifs));
    }
    if object.entry("other_config", "is_host_internal_management_network") == Some("true") {
        return Err(Failure::new("CANNOT_DESTROY_SYSTEM_NETWORK", [network]));
    }
    let vifs: Vec<String> = object.strs("VIFs").map(str::to_owned).collect();
    if tx.follow(object, "VIFs", "VIF").any(|vif| vif.bool("currently_attached")) {
        // The latest first.
        return Err(Failure::new("NETWORK_CONTAINS_VIF", vifs.into_iter().rev()));
    }
    for vif in vifs {
        super::vif::destroy(tx, &vif)?;
    }
    tx.delete("network", network);
    Ok(())
}
