//! `openstack/<version>/network_data.json`.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::{Error, MacAddr};

pub(crate) const FILE: &str = "network_data.json";

/// The network cards of the instance and how each is to be configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkData {
    /// The network cards.
    pub links: Vec<Link>,
    /// Addresses, each on one card.
    pub networks: Vec<Network>,
    /// Name servers for all of them. Those of the networks are added to them in the document, as some guests
    /// only look here.
    pub services: Vec<Service>,
}

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// How networks refer to it: the name of the host's device, or `interface0` and on.
    pub id: String,
    /// The id of the port, in Neutron's terms.
    pub vif_id: Option<String>,
    /// What it hangs on.
    pub kind: LinkKind,
    /// The largest packet, when it is not for the guest to find out.
    pub mtu: Option<u32>,
    /// The hardware address, by which the guest finds the card.
    pub mac: MacAddr,
}

/// What a network card hangs on. Guests treat all of these as physical cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LinkKind {
    /// A plain card.
    #[default]
    Phy,
    /// A bridge of the host.
    Bridge,
    /// Open vSwitch.
    Ovs,
    /// A virtual interface of Xen.
    Vif,
}

/// An address on a network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its own name: `network0` and on.
    pub id: String,
    /// The [`Link::id`] of its card.
    pub link: String,
    /// The id of the network, in Neutron's terms.
    pub network_id: Option<String>,
    /// Where the address comes from.
    pub addressing: Addressing,
    /// Routes over this card. Not used with DHCP.
    pub routes: Vec<Route>,
    /// Name servers of this network. Not used with DHCP.
    pub services: Vec<Service>,
}

/// Where an address comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressing {
    /// `ipv4_dhcp`.
    Dhcp4,
    /// `ipv6_dhcp`.
    Dhcp6,
    /// `ipv4` or `ipv6`: this address, in a subnet with a prefix of so many bits.
    Static {
        /// The address.
        address: IpAddr,
        /// The length of the subnet's prefix.
        prefix: u8,
    },
    /// `ipv6_slaac` and its kin: the router says, and the address is what the network knows it will be.
    Router {
        /// How the router goes about it.
        mode: Ipv6Mode,
        /// The address.
        address: Ipv6Addr,
        /// The length of the subnet's prefix.
        prefix: u8,
    },
}

/// Neutron's `ipv6_address_mode` of a subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv6Mode {
    /// Address and options from router advertisements.
    Slaac,
    /// Address from DHCP.
    Dhcpv6Stateful,
    /// Address from router advertisements, options from DHCP.
    Dhcpv6Stateless,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The first address of the destination.
    pub network: IpAddr,
    /// The length of its prefix.
    pub prefix: u8,
    /// The next hop.
    pub gateway: IpAddr,
}

/// A service that does not belong to the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Service {
    /// A name server.
    Dns(IpAddr),
}

impl Route {
    /// The default route of the gateway's family.
    pub fn default_via(gateway: IpAddr) -> Self {
        let network = match gateway {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self { network, prefix: 0, gateway }
    }

    fn to_json(&self) -> Value {
        json!({
            "network": self.network, "netmask": netmask(self.network, self.prefix), "gateway": self.gateway,
        })
    }
}

impl Service {
    fn to_json(&self) -> Value {
        match self {
            Self::Dns(address) => json!({"type": "dns", "address": address}),
        }
    }
}

impl NetworkData {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let invalid = |field: String, value: String, reason| {
            Err(Error::InvalidField { file: FILE, field, value, reason })
        };
        let (mut ids, mut macs) = (BTreeSet::new(), BTreeSet::new());
        for (i, link) in self.links.iter().enumerate() {
            if link.id.is_empty() || !ids.insert(&link.id) {
                return invalid(format!("links[{i}].id"), link.id.clone(), "must be unique and not empty");
            }
            if !macs.insert(link.mac) {
                let reason = "is also the address of another link, and guests find cards by it";
                return invalid(format!("links[{i}].ethernet_mac_address"), link.mac.to_string(), reason);
            }
            if let Some(mtu) = link.mtu.filter(|mtu| !(68..=65535).contains(mtu)) {
                return invalid(format!("links[{i}].mtu"), mtu.to_string(), "is not between 68 and 65535");
            }
        }
        for (i, network) in self.networks.iter().enumerate() {
            if !ids.contains(&network.link) {
                return invalid(
                    format!("networks[{i}].link"),
                    network.link.clone(),
                    "is not the id of a link",
                );
            }
            let (address, prefix) = match network.addressing {
                Addressing::Static { address, prefix } => (address, prefix),
                Addressing::Router { address, prefix, .. } => (address.into(), prefix),
                Addressing::Dhcp4 | Addressing::Dhcp6 => continue,
            };
            if prefix > bits(address) {
                let field = format!("networks[{i}].netmask");
                return invalid(field, format!("/{prefix}"), "is longer than the address");
            }
            for (j, route) in network.routes.iter().enumerate() {
                let field = format!("networks[{i}].routes[{j}]");
                let value = format!("{}/{} via {}", route.network, route.prefix, route.gateway);
                if [route.network, route.gateway].iter().any(|part| bits(*part) != bits(address)) {
                    return invalid(field, value, "mixes IPv4 and IPv6");
                }
                if route.prefix > bits(address) {
                    return invalid(field, value, "has a prefix longer than the address");
                }
            }
        }
        Ok(())
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut services: Vec<&Service> = Vec::new();
        for service in self.services.iter().chain(self.networks.iter().flat_map(|network| &network.services))
        {
            if !services.contains(&service) {
                services.push(service);
            }
        }
        json!({
            "links": self.links.iter().map(link_to_json).collect::<Vec<_>>(),
            "networks": self.networks.iter().map(network_to_json).collect::<Vec<_>>(),
            "services": services.into_iter().map(Service::to_json).collect::<Vec<_>>(),
        })
    }
}

fn link_to_json(link: &Link) -> Value {
    let kind = match link.kind {
        LinkKind::Phy => "phy",
        LinkKind::Bridge => "bridge",
        LinkKind::Ovs => "ovs",
        LinkKind::Vif => "vif",
    };
    json!({
        "id": link.id, "vif_id": link.vif_id, "type": kind, "mtu": link.mtu, "ethernet_mac_address": link.mac,
    })
}

fn network_to_json(network: &Network) -> Value {
    let mut object = Map::new();
    let mut set = |key: &str, value: Value| object.insert(key.to_owned(), value);
    let (kind, address) = match network.addressing {
        Addressing::Dhcp4 => ("ipv4_dhcp", None),
        Addressing::Dhcp6 => ("ipv6_dhcp", None),
        Addressing::Static { address: address @ IpAddr::V4(_), prefix } => ("ipv4", Some((address, prefix))),
        Addressing::Static { address: address @ IpAddr::V6(_), prefix } => ("ipv6", Some((address, prefix))),
        Addressing::Router { mode, address, prefix } => {
            let kind = match mode {
                Ipv6Mode::Slaac => "ipv6_slaac",
                Ipv6Mode::Dhcpv6Stateful => "ipv6_dhcpv6-stateful",
                Ipv6Mode::Dhcpv6Stateless => "ipv6_dhcpv6-stateless",
            };
            (kind, Some((IpAddr::V6(address), prefix)))
        }
    };
    set("id", json!(network.id));
    set("type", json!(kind));
    set("link", json!(network.link));
    set("network_id", json!(network.network_id));
    if let Some((address, prefix)) = address {
        set("ip_address", json!(address));
        set("netmask", json!(netmask(address, prefix)));
        set("routes", network.routes.iter().map(Route::to_json).collect());
        set("services", network.services.iter().map(Service::to_json).collect());
    }
    object.into()
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The mask of a prefix of so many bits, in the address's family; longer prefixes than addresses count as whole.
pub fn netmask(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(_) => {
            Ipv4Addr::from_bits(u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0))
                .into()
        }
        IpAddr::V6(_) => {
            Ipv6Addr::from_bits(u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0))
                .into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netmasks() {
        for (address, prefix, expected) in [
            ("10.0.0.1", 0, "0.0.0.0"),
            ("10.0.0.1", 23, "255.255.254.0"),
            ("10.0.0.1", 32, "255.255.255.255"),
            ("fd00::1", 0, "::"),
            ("fd00::1", 64, "ffff:ffff:ffff:ffff::"),
            ("10.0.0.1", 33, "255.255.255.255"),
            ("fd00::1", 128, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ] {
            assert_eq!(netmask(address.parse().unwrap(), prefix).to_string(), expected);
        }
    }

    fn link(id: &str, mac: &str) -> Link {
        Link { id: id.into(), vif_id: None, kind: LinkKind::Phy, mtu: Some(1500), mac: mac.parse().unwrap() }
    }

    fn fixed(link: &str, address: &str, prefix: u8, route: Option<(&str, u8, &str)>) -> Network {
        let routes = route.map(|(network, prefix, gateway)| Route {
            network: network.parse().unwrap(),
            prefix,
            gateway: gateway.parse().unwrap(),
        });
        Network {
            id: "network0".into(),
            link: link.into(),
            network_id: None,
            addressing: Addressing::Static { address: address.parse().unwrap(), prefix },
            routes: routes.into_iter().collect(),
            services: Vec::new(),
        }
    }

    #[test]
    fn what_a_guest_could_not_use_is_refused() {
        const A: &str = "fa:16:3e:00:00:01";
        let check = |links: &[Link], networks: &[Network], expected: &str| {
            let data = NetworkData { links: links.into(), networks: networks.into(), services: Vec::new() };
            match data.check() {
                Ok(()) => assert_eq!(expected, ""),
                Err(error) => {
                    assert!(!expected.is_empty() && error.to_string().contains(expected), "{error}");
                }
            }
        };
        let one = [link("a", A)];
        check(&one, &[fixed("a", "10.0.0.2", 24, Some(("0.0.0.0", 0, "10.0.0.1")))], "");
        check(&[link("a", A), link("a", "fa:16:3e:00:00:02")], &[], "links[1].id \"a\" must be unique");
        check(&[link("a", A), link("b", A)], &[], "links[1].ethernet_mac_address");
        check(&[Link { mtu: Some(1), ..link("a", A) }], &[], "links[0].mtu \"1\"");
        check(&one, &[fixed("b", "10.0.0.2", 24, None)], "networks[0].link \"b\"");
        check(&one, &[fixed("a", "10.0.0.2", 33, None)], "networks[0].netmask \"/33\"");
        check(&one, &[fixed("a", "fd00::2", 129, None)], "networks[0].netmask \"/129\"");
        check(&one, &[fixed("a", "10.0.0.2", 24, Some(("0.0.0.0", 0, "fd00::1")))], "mixes IPv4 and IPv6");
        check(&one, &[fixed("a", "10.0.0.2", 24, Some(("0.0.0.0", 40, "10.0.0.1")))], "prefix longer");
    }
}
