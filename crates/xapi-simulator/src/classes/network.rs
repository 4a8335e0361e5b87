//! `network`.

use xenapi_wire::{Failure, Value};

use super::{change, constructor};
use crate::db::Tx;
use crate::dispatch::Router;

pub(super) fn register(router: &mut Router) {
    constructor(router, "network", created);
    change(router, "network.destroy", destroy);
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
        return Err(Failure::new("NETWORK_CONTAINS_VIF", vifs));
    }
    for vif in vifs {
        super::vif::destroy(tx, &vif)?;
    }
    tx.delete("network", network);
    Ok(())
}
