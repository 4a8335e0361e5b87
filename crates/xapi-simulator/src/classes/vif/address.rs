//! The addresses that a guest may use, and those that it is told to use.

use std::net::{Ipv4Addr, Ipv6Addr};

use xenapi_wire::Failure;

use crate::db::{Tx, View};
use crate::dispatch::{Args, Router, void};

/// The fields of one kind of address.
#[derive(Clone, Copy)]
pub(super) struct Family {
    name: &'static str,
    allowed: &'static str,
    mode: &'static str,
    addresses: &'static str,
    gateway: &'static str,
    longest_prefix: u8,
    valid: fn(&str) -> bool,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [
        Self {
            name: "ipv4",
            allowed: "ipv4_allowed",
            mode: "ipv4_configuration_mode",
            addresses: "ipv4_addresses",
            gateway: "ipv4_gateway",
            longest_prefix: 32,
            valid: |text| text.parse::<Ipv4Addr>().is_ok(),
        },
        Self {
            name: "ipv6",
            allowed: "ipv6_allowed",
            mode: "ipv6_configuration_mode",
            addresses: "ipv6_addresses",
            gateway: "ipv6_gateway",
            longest_prefix: 128,
            valid: |text| text.parse::<Ipv6Addr>().is_ok(),
        },
    ];
}

/// Registers the calls of one kind of address.
pub(super) fn addresses(router: &mut Router, family: Family) {
    let Family { name, allowed, .. } = family;
    router.raw(&format!("VIF.set_{allowed}"), move |ctx, args| {
        let given = args.strs(1).map(str::to_owned).collect();
        ctx.write(|tx| set_allowed(tx, args.str(0), family, given))?;
        Ok(void())
    });
    for adds in [true, false] {
        let verb = if adds { "add" } else { "remove" };
        router.raw(&format!("VIF.{verb}_{allowed}"), move |ctx, args| {
            ctx.write(|tx| {
                let now = tx.object("VIF", args.str(0))?.strs(allowed);
                let mut others: Vec<String> = now.filter(|a| *a != args.str(1)).map(str::to_owned).collect();
                if adds {
                    others.push(args.str(1).to_owned());
                }
                set_allowed(tx, args.str(0), family, others)
            })?;
            Ok(void())
        });
    }
    router.raw(&format!("VIF.configure_{name}"), move |ctx, args| {
        ctx.write(|tx| configure(tx, family, args))?;
        Ok(void())
    });
}

/// # Errors
/// `INVALID_IP_ADDRESS_SPECIFIED` for a text that is no address.
fn set_allowed(tx: &mut Tx<'_>, vif: &str, family: Family, addresses: Vec<String>) -> Result<(), Failure> {
    if !addresses.iter().all(|address| (family.valid)(address)) {
        return Err(Failure::new("INVALID_IP_ADDRESS_SPECIFIED", [family.allowed]));
    }
    tx.set("VIF", vif, family.allowed, addresses)
}

/// `VIF.configure_ipv4` and `VIF.configure_ipv6`.
///
/// # Errors
/// `INVALID_CIDR_ADDRESS_SPECIFIED`, `INVALID_IP_ADDRESS_SPECIFIED`; `ADDRESS_VIOLATES_LOCKING_CONSTRAINT` for an
/// address that the VIF's lock does not let through.
fn configure(tx: &mut Tx<'_>, family: Family, args: &Args) -> Result<(), Failure> {
    let (vif, mode, address, gateway) = (args.str(0), args.str(1), args.str(2), args.str(3));
    tx.object("VIF", vif)?;
    let fixed = mode == "Static";
    if fixed {
        let (ip, prefix) = address.split_once('/').unwrap_or((address, ""));
        let fits = prefix.parse::<u8>().is_ok_and(|bits| bits <= family.longest_prefix);
        if !fits || !(family.valid)(ip) {
            return Err(Failure::new("INVALID_CIDR_ADDRESS_SPECIFIED", ["address"]));
        }
        if !gateway.is_empty() && !(family.valid)(gateway) {
            return Err(Failure::new("INVALID_IP_ADDRESS_SPECIFIED", ["gateway"]));
        }
        if !passes_lock(tx, vif, family, ip)? {
            return Err(Failure::new("ADDRESS_VIOLATES_LOCKING_CONSTRAINT", [address]));
        }
    }
    tx.set("VIF", vif, family.mode, mode)?;
    tx.set("VIF", vif, family.addresses, if fixed { vec![address.to_owned()] } else { Vec::new() })?;
    tx.set("VIF", vif, family.gateway, if fixed { gateway } else { "" })
}

fn passes_lock(view: &View, vif: &str, family: Family, ip: &str) -> Result<bool, Failure> {
    let vif = view.object("VIF", vif)?;
    let mode = match vif.str("locking_mode") {
        "network_default" => view.object("network", vif.str("network"))?.str("default_locking_mode"),
        own => own,
    };
    Ok(match mode {
        "locked" => vif.strs(family.allowed).any(|allowed| allowed == ip),
        mode => mode != "disabled",
    })
}
