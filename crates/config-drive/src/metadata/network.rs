//! `openstack/<version>/network_data.json`.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::link::{self, Link};
use crate::Error;

pub(crate) const FILE: &str = "network_data.json";

/// The network cards of the instance and how each is to be configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkData {
    /// The network cards, and what the guest makes of them.
    pub links: Vec<Link>,
    /// Addresses, each on one link.
    pub networks: Vec<Network>,
    /// Name servers for all of them. Those of the networks are added to them in the document, as some guests
    /// only look here.
    pub services: Vec<Service>,
}

/// An address on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its own name: `network0` and on.
    pub id: String,
    /// The [`Link::id`] of what it is on: not of a card in a bond.
    pub link: String,
    /// The id of the network, in Neutron's terms.
    pub network_id: Option<String>,
    /// Where the address comes from.
    pub addressing: Addressing,
    /// Routes over this card. Not used with DHCP. Those over the address itself, which is what Neutron says of a guest that
    /// is its own network's router, are left out.
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
    /// Checks that a guest can follow it: that is done for every drive, too.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidField`] for the first part that contradicts another one, or that no guest could use.
    pub fn check(&self) -> Result<(), Error> {
        let invalid = |field: String, value: String, reason| {
            Err(Error::InvalidField { file: FILE, field, value, reason })
        };
        let links = link::check(&self.links)?;
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for (i, network) in self.networks.iter().enumerate() {
            if network.id.is_empty() || !ids.insert(&network.id) {
                return invalid(
                    format!("networks[{i}].id"),
                    network.id.clone(),
                    "must be unique and not empty",
                );
            }
            if !links.contains(&*network.link) {
                let reason = "is not the id of a link that can have addresses";
                return invalid(format!("networks[{i}].link"), network.link.clone(), reason);
            }
            let (address, prefix) = match network.addressing {
                Addressing::Static { address, prefix } => (address, prefix),
                Addressing::Router { address, prefix, .. } => (address.into(), prefix),
                Addressing::Dhcp4 | Addressing::Dhcp6 => continue,
            };
            if address.is_unspecified() || address.is_multicast() {
                let field = format!("networks[{i}].ip_address");
                return invalid(field, address.to_string(), "is not the address of a single host");
            }
            // Networks that are apart from each other may have the same addresses.
            if !taken.insert((&network.link, address)) {
                let field = format!("networks[{i}].ip_address");
                let reason = "is also the address of another network on the same link";
                return invalid(field, address.to_string(), reason);
            }
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
            "links": self.links.iter().map(Link::to_json).collect::<Vec<_>>(),
            "networks": self.networks.iter().map(network_to_json).collect::<Vec<_>>(),
            "services": services.into_iter().map(Service::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Network {
    /// The routes that lead away from the guest.
    pub(crate) fn routes_away(&self) -> impl Iterator<Item = &Route> {
        let own = match self.addressing {
            Addressing::Static { address, .. } => Some(address),
            Addressing::Router { address, .. } => Some(address.into()),
            Addressing::Dhcp4 | Addressing::Dhcp6 => None,
        };
        self.routes.iter().filter(move |route| Some(route.gateway) != own)
    }
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
        set("routes", network.routes_away().map(Route::to_json).collect());
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
    use crate::{BondMode, LinkKind};

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
        let (first, again) = (fixed("a", "10.0.0.2", 24, None), fixed("a", "10.0.0.3", 24, None));
        check(&one, &[first.clone(), again.clone()], "networks[1].id \"network0\" must be unique");
        let other = Network { id: "network1".into(), ..again };
        check(&one, &[first.clone(), other], "");
        let other = Network { id: "network1".into(), ..first.clone() };
        check(&one, &[first, other], "networks[1].ip_address \"10.0.0.2\" is also");
        check(&one, &[fixed("a", "224.0.0.1", 24, None)], "networks[0].ip_address \"224.0.0.1\"");
        check(&one, &[fixed("a", "::", 64, None)], "networks[0].ip_address \"::\"");
        check(&one, &[fixed("a", "10.0.0.2", 33, None)], "networks[0].netmask \"/33\"");
        check(&one, &[fixed("a", "fd00::2", 129, None)], "networks[0].netmask \"/129\"");
        check(&one, &[fixed("a", "10.0.0.2", 24, Some(("0.0.0.0", 0, "fd00::1")))], "mixes IPv4 and IPv6");
        check(&one, &[fixed("a", "10.0.0.2", 24, Some(("0.0.0.0", 40, "10.0.0.1")))], "prefix longer");
    }

    /// What Neutron says of a guest that is its network's router, and of one on two networks that are apart.
    #[test]
    fn routers_and_overlapping_networks() {
        let links = vec![link("a", "fa:16:3e:00:00:01"), link("b", "fa:16:3e:00:00:02")];
        let mut first = fixed("a", "10.0.0.1", 24, Some(("0.0.0.0", 0, "10.0.0.1")));
        let away = Route::default_via("10.0.0.9".parse().unwrap());
        first.routes.push(away.clone());
        let second = Network { id: "network1".into(), ..fixed("b", "10.0.0.1", 24, None) };
        let data = NetworkData { links, networks: vec![first, second], services: Vec::new() };
        data.check().unwrap();
        assert_eq!(data.to_json()["networks"][0]["routes"], json!([away.to_json()]));
        assert_eq!(data.to_json()["networks"][1]["ip_address"], "10.0.0.1");
    }

    #[test]
    fn bonds_and_vlans_that_contradict_each_other_are_refused() {
        let bond = |links: &[&str]| Link {
            kind: LinkKind::Bond {
                links: links.iter().map(|id| (*id).to_owned()).collect(),
                mode: BondMode::ActiveBackup,
                miimon: None,
                xmit_hash_policy: None,
            },
            ..link("bond", "fa:16:3e:00:00:01")
        };
        let vlan = |id: &str, on: &str, tag| Link {
            kind: LinkKind::Vlan { link: on.into(), tag },
            ..link(id, "fa:16:3e:00:00:01")
        };
        let check = |more: &[Link], network: &str, expected: &str| {
            let cards = [link("a", "fa:16:3e:00:00:01"), link("b", "fa:16:3e:00:00:02")];
            let networks = vec![fixed(network, "10.0.0.2", 24, None)];
            let data = NetworkData { links: [&cards, more].concat(), networks, services: Vec::new() };
            let said = data.check().map_or_else(|error| error.to_string(), |()| String::new());
            assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{said}");
        };
        check(&[bond(&["a", "b"]), vlan("v", "bond", 7)], "v", "");
        check(&[vlan("v", "a", 7), vlan("w", "a", 8), vlan("x", "b", 7)], "a", "");
        check(&[bond(&["a"])], "a", "networks[0].link \"a\"");
        check(&[bond(&[])], "a", "links[2].bond_links \"\" names no card");
        check(&[bond(&["c"])], "a", "links[2].bond_links \"c\"");
        check(&[bond(&["bond"])], "a", "links[2].bond_links \"bond\"");
        check(&[bond(&["a"]), Link { id: "bond2".into(), ..bond(&["a"]) }], "b", "is in a bond already");
        check(&[vlan("v", "a", 0)], "a", "links[2].vlan_id \"0\"");
        check(&[vlan("v", "a", 4095)], "a", "links[2].vlan_id \"4095\"");
        check(&[vlan("v", "c", 7)], "a", "links[2].vlan_link \"c\"");
        check(&[vlan("v", "a", 7), vlan("w", "v", 8)], "a", "links[3].vlan_link \"v\"");
        check(&[vlan("v", "a", 7), vlan("w", "a", 7)], "a", "links[3].vlan_id \"7\" is that of another");
        check(&[bond(&["a"]), vlan("v", "a", 7)], "b", "links[3].vlan_link \"a\" is a card in a bond");
        let mut odd = bond(&["a"]);
        if let LinkKind::Bond { xmit_hash_policy, .. } = &mut odd.kind {
            *xmit_hash_policy = Some("layer9".into());
        }
        check(&[odd], "b", "bond_xmit_hash_policy \"layer9\"");
    }
}
