//! What cloud-init sees on a drive, in either format and either layout.
//!
//! Needs the cloud-init Python package and 7zz (7zip), which unpacks both formats; without one of them its
//! test is skipped, or fails if `CI` is `true`.

mod common;

use std::process::Command;

use common::{assert_same, collect, drive, meta_data, network_data, run, skip, write};
use config_drive::{
    Addressing, BondMode, Format, ImageOptions, Ipv6Mode, Label, Link, LinkKind, MetaData, Network, NoCloud,
    Route, Service, Tree,
};
use serde_json::Value;

const SCRIPT: &str = include_str!("cloud_init.py");

/// Unpacks the image of a tree in each format and has cloud-init read it as the layout it is labelled with.
fn check(tree: &Tree, label: Label, layout: &str, expected: &str) {
    // Debian's package belongs to Debian's Python, which may not be the first one in PATH.
    let python = ["/usr/bin/python3", "python3"].into_iter().find(|python| {
        let import = Command::new(python).args(["-c", "import cloudinit.sources"]).output();
        import.is_ok_and(|output| output.status.success())
    });
    let Some(python) = python else { return skip("the cloud-init Python package is not installed") };
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
    let ip = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
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
