//! What cloud-init sees on a drive, in either format and either layout.
//!
//! Needs the cloud-init Python package and 7zz (7zip), which unpacks both formats; without one of them its
//! test is skipped, or fails if `CI` is `true`.

mod common;

use std::net::IpAddr;
use std::process::Command;

use common::{assert_same, collect, drive, meta_data, network_data, run, skip, write};
use config_drive::{
    Addressing, BondMode, Format, ImageOptions, Ipv6Mode, Label, Link, LinkKind, MetaData, Network,
    NetworkData, NoCloud, Route, Service, Tree,
};
use serde_json::Value;

const SCRIPT: &str = include_str!("cloud_init.py");

/// A Python that has cloud-init.
fn python() -> Option<&'static str> {
    // Debian's package belongs to Debian's Python, which may not be the first one in PATH.
    let python = ["/usr/bin/python3", "python3"].into_iter().find(|python| {
        let import = Command::new(python).args(["-c", "import cloudinit.sources"]).output();
        import.is_ok_and(|output| output.status.success())
    });
    if python.is_none() {
        skip("the cloud-init Python package is not installed");
    }
    python
}

/// Unpacks the image of a tree in each format and has cloud-init read it as the layout it is labelled with.
fn check(tree: &Tree, label: Label, layout: &str, expected: &str) {
    let Some(python) = python() else { return };
    for format in [Format::Iso9660, Format::Vfat] {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        write(tree, ImageOptions { format, label, ..ImageOptions::default() }, &image);
        let out = directory.path().join("out");
        let kind = if format == Format::Vfat { "-tfat" } else { "-tiso" };
        let arguments = ["x", kind, image.to_str().unwrap(), &format!("-o{}", out.to_str().unwrap())];
        if run("7zz", &arguments).is_none() {
            return;
        }
        assert_same(tree, &collect(&out), "7-Zip");
        let report = run(python, &["-c", SCRIPT, layout, out.to_str().unwrap()]).unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert_eq!(report, expected, "{format:?}: {report:#}");
    }
}

#[test]
fn config_drive() {
    let expected = include_str!("cloud_init_sees_config_drive.json");
    check(&drive().tree().unwrap(), Label::ConfigDrive, "config-drive", expected);
}

/// Two cards as one with an IPv6 address and one that the router gives, and a VLAN on it with a route of its own.
#[test]
fn bonds_vlans_and_ipv6() {
    let mut data = network_data();
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let bond = LinkKind::Bond {
        links: vec!["tap0".into(), "tap1".into()],
        mode: BondMode::ActiveBackup,
        miimon: Some(100),
        xmit_hash_policy: Some("layer2+3".into()),
    };
    let bond = Link { id: "team".into(), kind: bond, ..data.links[0].clone() };
    let vlan = LinkKind::Vlan { link: "team".into(), tag: 101 };
    let mac = "fa:16:3e:00:00:03".parse().unwrap();
    data.links.push(Link { id: "tagged".into(), kind: vlan, mac, ..bond.clone() });
    data.links.push(bond);
    data.networks[0].link = "tagged".into();
    data.networks[0].routes.push(Route { network: ip("192.168.0.0"), prefix: 16, gateway: ip("10.0.0.9") });
    data.networks[1] = Network {
        link: "team".into(),
        addressing: Addressing::Static { address: ip("fd00::5"), prefix: 64 },
        routes: vec![Route::default_via(ip("fd00::1"))],
        services: vec![Service::Dns(ip("fd00::53"))],
        ..data.networks[1].clone()
    };
    let addressing = Addressing::Router {
        mode: Ipv6Mode::Dhcpv6Stateful,
        address: "fd00::6".parse().unwrap(),
        prefix: 64,
    };
    let (routes, services) = (vec![], vec![]);
    data.networks.push(Network {
        id: "network2".into(),
        addressing,
        routes,
        services,
        ..data.networks[1].clone()
    });
    let expected = include_str!("cloud_init_sees_bonds.json");
    check(&drive().network_data(data).tree().unwrap(), Label::ConfigDrive, "config-drive", expected);
}

#[test]
fn nocloud() {
    // What JSON lets pass and YAML does not.
    let meta = [("odd".to_owned(), "\u{7f}\u{85}\u{9b}\u{2028}\u{feff} é 😀 \" \\ : # - {".to_owned())];
    let meta_data = MetaData { meta: meta.into(), ..meta_data() };
    let tree = NoCloud::new(meta_data)
        .user_data("#cloud-config\npackages: [nginx]\n")
        .vendor_data("#cloud-config\n")
        .network_data(network_data())
        .tree()
        .unwrap();
    check(&tree, Label::NoCloud, "nocloud", include_str!("cloud_init_sees_nocloud.json"));
}

/// A network, and what a guest's configuration must say somewhere: of netplan, of ifupdown.
type Form = (&'static str, NetworkData, Vec<(&'static str, &'static str)>);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn addressed(addressing: Addressing, routes: Vec<Route>, dns: &[&str]) -> NetworkData {
    let mut data = network_data();
    data.networks.truncate(1);
    data.links.truncate(1);
    let services = dns.iter().map(|address| Service::Dns(ip(address))).collect();
    data.networks[0] = Network { addressing, routes, services, ..data.networks[0].clone() };
    data
}

fn fixed(address: &str, prefix: u8) -> Addressing {
    Addressing::Static { address: ip(address), prefix }
}

fn router(mode: Ipv6Mode) -> Addressing {
    Addressing::Router { mode, address: "fd00::6".parse().unwrap(), prefix: 64 }
}

/// Every kind of card.
fn cards() -> Vec<Form> {
    let kinds = [
        LinkKind::Phy,
        LinkKind::Bridge,
        LinkKind::Ovs,
        LinkKind::Vif,
        LinkKind::Tap,
        LinkKind::Dvs,
        LinkKind::HwVeb,
        LinkKind::Hyperv,
        LinkKind::VhostUser,
    ];
    let forms = kinds.into_iter().map(|kind| {
        let mut data = network_data();
        data.links.iter_mut().for_each(|link| link.kind = kind.clone());
        ("card", data, vec![("10.0.0.5/24", "10.0.0.5/24"), ("dhcp4: true", "inet dhcp"), ("1450", "1450")])
    });
    forms.collect()
}

/// Every mode of bonds and every hash, with a VLAN on each.
fn bonds() -> Vec<Form> {
    let modes = [
        (BondMode::BalanceRr, "balance-rr", None),
        (BondMode::ActiveBackup, "active-backup", Some("layer2")),
        (BondMode::BalanceXor, "balance-xor", Some("layer2+3")),
        (BondMode::Broadcast, "broadcast", Some("layer3+4")),
        (BondMode::Ieee8023ad, "802.3ad", Some("encap2+3")),
        (BondMode::BalanceTlb, "balance-tlb", Some("encap3+4")),
        (BondMode::BalanceAlb, "balance-alb", None),
    ];
    let forms = modes.into_iter().map(|(mode, name, policy)| {
        let mut data = network_data();
        let links = vec!["tap0".into(), "tap1".into()];
        let kind =
            LinkKind::Bond { links, mode, miimon: Some(100), xmit_hash_policy: policy.map(str::to_owned) };
        let bond = Link { id: "bond0".into(), kind, ..data.links[0].clone() };
        let mac = "fa:16:3e:00:00:03".parse().unwrap();
        let kind = LinkKind::Vlan { link: "bond0".into(), tag: 4094 };
        data.links.push(Link { id: "vlan".into(), kind, mac, ..bond.clone() });
        data.links.push(bond);
        data.networks[0].link = "vlan".into();
        data.networks[1].link = "bond0".into();
        let mut facts = vec![(name, name), ("4094", "4094"), ("10.0.0.5/24", "10.0.0.5/24")];
        facts.extend(policy.map(|policy| (policy, policy)));
        ("bond", data, facts)
    });
    forms.collect()
}

/// Every way to an address, with routes and name servers of both families.
fn addresses() -> Vec<Form> {
    let v4 = vec![
        Route::default_via(ip("10.0.0.1")),
        Route { network: ip("192.168.0.0"), prefix: 16, gateway: ip("10.0.0.9") },
        Route { network: ip("172.16.7.7"), prefix: 32, gateway: ip("10.0.0.9") },
    ];
    let v6 = vec![
        Route::default_via(ip("fd00::1")),
        Route { network: ip("fd01::"), prefix: 48, gateway: ip("fd00::9") },
    ];
    let both = |fact| (fact, fact);
    let global = NetworkData {
        services: vec![Service::Dns(ip("10.9.9.9")), Service::Dns(ip("fd09::9"))],
        ..addressed(fixed("10.0.0.5", 24), vec![], &[])
    };
    vec![
        (
            "ipv4",
            addressed(fixed("10.0.0.5", 22), v4, &["10.0.0.53", "fd00::53"]),
            vec![
                both("10.0.0.5/22"),
                both("10.0.0.1"),
                both("192.168.0.0/16"),
                both("172.16.7.7"),
                both("10.0.0.53"),
                both("fd00::53"),
            ],
        ),
        (
            "ipv6",
            addressed(fixed("fd00::5", 64), v6, &["fd00::53"]),
            vec![both("fd00::5/64"), both("fd00::1"), both("fd01::/48"), both("fd00::53")],
        ),
        ("one address", addressed(fixed("10.0.0.5", 32), vec![], &[]), vec![both("10.0.0.5/32")]),
        ("everybody's name servers", global, vec![both("10.9.9.9"), both("fd09::9")]),
        ("dhcp4", addressed(Addressing::Dhcp4, vec![], &[]), vec![("dhcp4: true", "inet dhcp")]),
        ("dhcp6", addressed(Addressing::Dhcp6, vec![], &[]), vec![("dhcp6: true", "inet6 dhcp")]),
        (
            "dhcpv6-stateful",
            addressed(router(Ipv6Mode::Dhcpv6Stateful), vec![], &[]),
            vec![("dhcp6: true", "inet6 dhcp")],
        ),
        ("dhcpv6-stateless", addressed(router(Ipv6Mode::Dhcpv6Stateless), vec![], &[]), vec![]),
        ("slaac", addressed(router(Ipv6Mode::Slaac), vec![], &[]), vec![]),
    ]
}

/// What cloud-init writes for guests with netplan and with ifupdown, of every form that a network can have, in both
/// layouts; and it has nothing to complain about.
#[test]
fn every_form_of_network_is_rendered_without_complaint() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().unwrap();
    let forms = [cards(), bonds(), addresses()].concat();
    for (n, (_, data, _)) in forms.iter().enumerate() {
        let save = |tree: Tree, from: &str, to: &str| {
            let (_, content) = tree.files().find(|(path, _)| *path == from).unwrap();
            std::fs::write(directory.path().join(format!("{n}-{to}")), content).unwrap();
        };
        let openstack = drive().network_data(data.clone()).tree().unwrap();
        save(openstack, "openstack/latest/network_data.json", "network_data.json");
        save(
            NoCloud::new(meta_data()).network_data(data.clone()).tree().unwrap(),
            "network-config",
            "network-config",
        );
    }
    let report = run(python, &["-c", SCRIPT, "networks", directory.path().to_str().unwrap()]).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    for (n, (name, _, facts)) in forms.iter().enumerate() {
        for layout in ["network_data.json", "network-config"] {
            let seen = &report[format!("{n}-{layout}")];
            assert_eq!(seen["complaints"], serde_json::json!([]), "{name}, {layout}");
            let said = |kind: &str| seen[kind].as_str().unwrap_or_default().to_owned();
            for (netplan, eni) in facts {
                let (of_netplan, of_eni) = (said("netplan"), said("eni"));
                assert!(of_netplan.contains(netplan), "{name}, {layout}: no {netplan} in\n{of_netplan}");
                assert!(of_eni.contains(eni), "{name}, {layout}: no {eni} in\n{of_eni}");
            }
        }
    }
}
