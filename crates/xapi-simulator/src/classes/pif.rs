//! `PIF`: the interfaces of hosts.
//!
//! A simulated host has the interfaces that its world gives it: a scan finds no others.

use std::collections::BTreeMap;
use std::net::IpAddr;

use xenapi_wire::{Failure, Value};

use super::change;
use crate::db::{Object, Tx};
use crate::dispatch::{Args, Router, void};

pub(super) fn register(router: &mut Router) {
    change(router, "PIF.plug", |tx, pif| tx.set("PIF", pif, "currently_attached", true));
    change(router, "PIF.unplug", |tx, pif| {
        let object = tx.object("PIF", pif)?;
        not_for_management(object)?;
        if object.bool("disallow_unplug") {
            return Err(Failure::new("PIF_DOES_NOT_ALLOW_UNPLUG", [pif]));
        }
        tx.set("PIF", pif, "currently_attached", false)
    });
    change(router, "PIF.forget", |tx, pif| {
        let object = tx.object("PIF", pif)?;
        not_for_management(object)?;
        if object.int("VLAN") >= 0 {
            return Err(Failure::new("PIF_IS_VLAN", [pif]));
        }
        tx.delete("PIF", pif);
        Ok(())
    });
    change(router, "PIF.scan", |tx, host| tx.object("host", host).map(|_| ()));
    router.raw("PIF.introduce", |ctx, args| {
        let (host, mac, device) = (args.str(0), args.str(1), args.str(2));
        ctx.read(|view| {
            let host = view.object("host", host)?;
            let known = view.follow(host, "PIFs", "PIF").any(|pif| pif.str("device") == device);
            // Those that a simulated host has are in the database from the start.
            Err(match known {
                true => Failure::new("DUPLICATE_PIF_DEVICE_NAME", [device]),
                false => Failure::new(
                    "COULD_NOT_FIND_NETWORK_INTERFACE_WITH_SPECIFIED_DEVICE_NAME_AND_MAC_ADDRESS",
                    [device, mac],
                ),
            })
        })
    });
    for field in ["disallow_unplug", "primary_address_type"] {
        router.raw(&format!("PIF.set_{field}"), move |ctx, args| {
            ctx.write(|tx| tx.set("PIF", args.str(0), field, args.get(1).clone()))?;
            Ok(void())
        });
    }
    router.raw("PIF.set_property", |ctx, args| {
        let (name, value) = (args.str(1), args.str(2));
        if !matches!((name, value), ("gro" | "tso", "on" | "off")) {
            return Err(Failure::new("INVALID_VALUE", ["properties", &format!("{name} = {value}")]));
        }
        ctx.write(|tx| tx.set_entry("PIF", args.str(0), "properties", name, value))?;
        Ok(void())
    });
    router.raw("PIF.reconfigure_ip", |ctx, args| {
        ctx.write(|tx| reconfigure(tx, args))?;
        Ok(void())
    });
}

fn not_for_management(pif: Object<'_>) -> Result<(), Failure> {
    match pif.bool("management") {
        true => Err(Failure::new("PIF_IS_MANAGEMENT_INTERFACE", [pif.reference()])),
        false => Ok(()),
    }
}

/// `PIF.reconfigure_ip`: a static address is kept as it is given; DHCP gives none here.
///
/// # Errors
/// `INVALID_IP_ADDRESS_SPECIFIED` with the name of the parameter that is none.
fn reconfigure(tx: &mut Tx<'_>, args: &Args) -> Result<(), Failure> {
    const FIELDS: [&str; 4] = ["IP", "netmask", "gateway", "DNS"];
    let (pif, mode) = (args.str(0), args.str(1));
    tx.object("PIF", pif)?;
    let mut given = BTreeMap::new();
    for (index, field) in FIELDS.into_iter().enumerate() {
        let text = if mode == "Static" { args.str(index + 2) } else { "" };
        let required = mode == "Static" && ["IP", "netmask"].contains(&field);
        let valid = text.split(',').all(|address| address.trim().parse::<IpAddr>().is_ok());
        if !valid && (required || !text.is_empty()) {
            return Err(Failure::new("INVALID_IP_ADDRESS_SPECIFIED", [field]));
        }
        given.insert(field, Value::from(text));
    }
    tx.set("PIF", pif, "ip_configuration_mode", mode)?;
    given.into_iter().try_for_each(|(field, value)| tx.set("PIF", pif, field, value))
}
