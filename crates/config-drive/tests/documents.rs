//! The documents on the drive, as tables.

use config_drive::{
    Addressing, BondMode, Bus, ConfigDrive, Device, DeviceKind, Ec2MetaData, Error, Ipv6Mode, KeyKind,
    KeyPair, Link, LinkKind, MetaData, Network, NetworkData, NoCloud, Route, Service, Tree,
};
use serde_json::{Value, json};

const UUID: &str = "6f70656e-7374-4163-8b00-000000000001";

fn meta_data() -> MetaData {
    MetaData {
        availability_zone: Some("nova".into()),
        project_id: Some("p1".into()),
        meta: [("role".to_owned(), "web".to_owned())].into(),
        keys: vec![
            KeyPair::ssh("mine", "ssh-ed25519 AAAA me"),
            KeyPair { name: "win".into(), kind: KeyKind::X509, data: "-----BEGIN CERTIFICATE-----\n".into() },
        ],
        admin_pass: Some("hunter2".into()),
        random_seed: vec![1, 2, 3],
        devices: vec![Device {
            kind: DeviceKind::Disk { serial: Some("s1".into()), path: None },
            bus: Bus::Xen,
            address: Some("51712".into()),
            tags: vec!["data".into()],
        }],
        ..MetaData::new(UUID.parse().unwrap(), "web 1", "web-1")
    }
}

fn document(tree: &Tree, path: &str) -> Value {
    let content = tree.file(path).unwrap_or_else(|| panic!("{path} is not there"));
    serde_json::from_slice(content).unwrap()
}

#[test]
fn which_files_each_version_has() {
    let tree = ConfigDrive::new(meta_data())
        .user_data("#!/bin/sh\n")
        .ec2(Ec2MetaData::default())
        .injected_file("/etc/motd", "hello")
        .tree()
        .unwrap();
    let mut expected = vec![
        "ec2/2009-04-04/meta-data.json".to_owned(),
        "ec2/2009-04-04/user-data".into(),
        "ec2/latest/meta-data.json".into(),
        "ec2/latest/user-data".into(),
        "openstack/content/0000".into(),
    ];
    for (version, files) in [
        ("2012-08-10", &["meta_data.json", "user_data"][..]),
        ("2013-04-04", &["meta_data.json", "user_data"]),
        ("2013-10-17", &["meta_data.json", "user_data", "vendor_data.json"]),
        ("2015-10-15", &["meta_data.json", "network_data.json", "user_data", "vendor_data.json"]),
        ("2016-06-30", &["meta_data.json", "network_data.json", "user_data", "vendor_data.json"]),
        (
            "2016-10-06",
            &["meta_data.json", "network_data.json", "user_data", "vendor_data.json", "vendor_data2.json"],
        ),
        (
            "2017-02-22",
            &["meta_data.json", "network_data.json", "user_data", "vendor_data.json", "vendor_data2.json"],
        ),
        (
            "2018-08-27",
            &["meta_data.json", "network_data.json", "user_data", "vendor_data.json", "vendor_data2.json"],
        ),
        (
            "latest",
            &["meta_data.json", "network_data.json", "user_data", "vendor_data.json", "vendor_data2.json"],
        ),
    ] {
        expected.extend(files.iter().map(|file| format!("openstack/{version}/{file}")));
    }
    expected.sort();
    assert_eq!(tree.files().map(|(path, _)| path).collect::<Vec<_>>(), expected);
}

#[test]
fn optional_files_are_absent_and_defaults_are_empty_objects() {
    let tree = ConfigDrive::new(MetaData::new(UUID.parse().unwrap(), "a", "a")).tree().unwrap();
    assert!(tree.files().all(|(path, _)| !path.starts_with("ec2") && !path.ends_with("user_data")));
    for file in ["network_data.json", "vendor_data.json", "vendor_data2.json"] {
        assert_eq!(document(&tree, &format!("openstack/latest/{file}")), json!({}));
    }
    assert_eq!(
        document(&tree, "openstack/latest/meta_data.json"),
        json!({
            "uuid": UUID, "name": "a", "hostname": "a", "launch_index": 0, "availability_zone": null,
            "project_id": null, "devices": [],
        })
    );
}

#[test]
fn keys_of_meta_data_by_version() {
    let tree = ConfigDrive::new(meta_data())
        .network_config("auto lo\n")
        .injected_file("/etc/motd", "hello")
        .injected_file("/etc/issue", "x")
        .tree()
        .unwrap();
    let mut expected = json!({
        "uuid": UUID,
        "name": "web 1",
        "hostname": "web-1",
        "launch_index": 0,
        "availability_zone": "nova",
        "meta": {"role": "web"},
        "public_keys": {"mine": "ssh-ed25519 AAAA me", "win": "-----BEGIN CERTIFICATE-----\n"},
        "keys": [
            {"name": "mine", "type": "ssh", "data": "ssh-ed25519 AAAA me"},
            {"name": "win", "type": "x509", "data": "-----BEGIN CERTIFICATE-----\n"},
        ],
        "admin_pass": "hunter2",
        "network_config": {"name": "network_config", "content_path": "/content/0000"},
        "files": [
            {"path": "/etc/motd", "content_path": "/content/0001"},
            {"path": "/etc/issue", "content_path": "/content/0002"},
        ],
    });
    assert_eq!(document(&tree, "openstack/2012-08-10/meta_data.json"), expected);
    expected["random_seed"] = json!("AQID");
    assert_eq!(document(&tree, "openstack/2013-04-04/meta_data.json"), expected);
    assert_eq!(document(&tree, "openstack/2013-10-17/meta_data.json"), expected);
    expected["project_id"] = json!("p1");
    assert_eq!(document(&tree, "openstack/2015-10-15/meta_data.json"), expected);
    expected["devices"] =
        json!([{"type": "disk", "serial": "s1", "bus": "xen", "address": "51712", "tags": ["data"]}]);
    for version in ["2016-06-30", "2016-10-06", "2017-02-22", "2018-08-27", "latest"] {
        assert_eq!(document(&tree, &format!("openstack/{version}/meta_data.json")), expected, "{version}");
    }
    for (path, content) in [("0000", "auto lo\n"), ("0001", "hello"), ("0002", "x")] {
        assert_eq!(tree.file(&format!("openstack/content/{path}")).unwrap(), content);
    }
}

#[test]
fn network_data() {
    let link = |id: &str, mac: &str, mtu| Link {
        id: id.into(),
        vif_id: Some(format!("port-{id}")),
        kind: LinkKind::Phy,
        mtu,
        mac: mac.parse().unwrap(),
    };
    let network = |id: &str, link: &str, addressing, routes, services| Network {
        id: id.into(),
        link: link.into(),
        network_id: Some("net".into()),
        addressing,
        routes,
        services,
    };
    let dns = Service::Dns("10.0.0.53".parse().unwrap());
    let data = NetworkData {
        links: vec![link("a", "FA:16:3E:00:00:01", Some(1450)), link("b", "fa:16:3e:00:00:02", None)],
        networks: vec![
            network(
                "network0",
                "a",
                Addressing::Static { address: "10.0.0.5".parse().unwrap(), prefix: 20 },
                vec![Route::default_via("10.0.0.1".parse().unwrap())],
                vec![dns.clone()],
            ),
            network("network1", "b", Addressing::Dhcp4, vec![], vec![]),
            network(
                "network2",
                "b",
                Addressing::Router { mode: Ipv6Mode::Slaac, address: "fd00::5".parse().unwrap(), prefix: 64 },
                vec![Route::default_via("fe80::1".parse().unwrap())],
                vec![],
            ),
        ],
        services: vec![dns],
    };
    let tree = ConfigDrive::new(meta_data()).network_data(data).tree().unwrap();
    assert_eq!(
        document(&tree, "openstack/2015-10-15/network_data.json"),
        json!({
            "links": [
                {"id": "a", "vif_id": "port-a", "type": "phy", "mtu": 1450, "ethernet_mac_address": "fa:16:3e:00:00:01"},
                {"id": "b", "vif_id": "port-b", "type": "phy", "mtu": null, "ethernet_mac_address": "fa:16:3e:00:00:02"},
            ],
            "networks": [
                {
                    "id": "network0", "type": "ipv4", "link": "a", "network_id": "net",
                    "ip_address": "10.0.0.5", "netmask": "255.255.240.0",
                    "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.0.0.1"}],
                    "services": [{"type": "dns", "address": "10.0.0.53"}],
                },
                {"id": "network1", "type": "ipv4_dhcp", "link": "b", "network_id": "net"},
                {
                    "id": "network2", "type": "ipv6_slaac", "link": "b", "network_id": "net",
                    "ip_address": "fd00::5", "netmask": "ffff:ffff:ffff:ffff::",
                    "routes": [{"network": "::", "netmask": "::", "gateway": "fe80::1"}], "services": [],
                },
            ],
            "services": [{"type": "dns", "address": "10.0.0.53"}],
        })
    );
}

#[test]
fn ec2() {
    let ec2 = Ec2MetaData {
        ami_id: "ami-00000001".into(),
        instance_id: "i-00000001".into(),
        reservation_id: "r-1".into(),
        launch_index: 2,
        instance_type: "m1.small".into(),
        local_ipv4: Some("10.0.0.5".parse().unwrap()),
        security_groups: vec!["default".into()],
        block_device_mapping: [("root".to_owned(), "/dev/sda1".to_owned())].into(),
        availability_zone: Some("nova".into()),
        kernel_id: Some("aki-1".into()),
        ..Ec2MetaData::default()
    };
    let mut meta_data = meta_data();
    meta_data.keys.truncate(1);
    let tree = ConfigDrive::new(meta_data).ec2(ec2).tree().unwrap();
    let expected = json!({
        "ami-id": "ami-00000001",
        "ami-launch-index": 2,
        "ami-manifest-path": "FIXME",
        "block-device-mapping": {"root": "/dev/sda1"},
        "hostname": "web-1",
        "instance-action": "none",
        "instance-id": "i-00000001",
        "instance-type": "m1.small",
        "kernel-id": "aki-1",
        "local-hostname": "web-1",
        "local-ipv4": "10.0.0.5",
        "placement": {"availability-zone": "nova"},
        "public-hostname": "web-1",
        "public-ipv4": "",
        "public-keys": {"0": {"_name": "0=mine", "openssh-key": "ssh-ed25519 AAAA me"}},
        "reservation-id": "r-1",
        "security-groups": ["default"],
    });
    for version in ["2009-04-04", "latest"] {
        assert_eq!(document(&tree, &format!("ec2/{version}/meta-data.json")), expected);
    }
}

#[test]
fn fields_a_guest_could_not_use() {
    #[track_caller]
    fn check(drive: &ConfigDrive, expected: &str) {
        let error = drive.tree().unwrap_err();
        assert!(matches!(error, Error::InvalidField { .. }), "{error:?}");
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    let plain = || ConfigDrive::new(meta_data());
    let with = |change: &dyn Fn(&mut MetaData)| {
        let mut meta_data = meta_data();
        change(&mut meta_data);
        ConfigDrive::new(meta_data)
    };
    check(&with(&|m| m.hostname = "web 1".into()), "meta_data.json: hostname \"web 1\" is not a host name");
    check(
        &with(&|m| m.keys[0].data = "ssh-rsa A\nssh-rsa B".into()),
        "meta_data.json: keys[0] \"mine\" is more",
    );
    check(&with(&|m| m.keys[1].data = " ".into()), "meta_data.json: keys[1] \"win\" has no key");
    check(&with(&|m| m.keys[1].name = "mine".into()), "meta_data.json: keys[1] \"mine\" has the name");
    check(&plain().injected_file("etc/motd", ""), "meta_data.json: files[0].path \"etc/motd\" is not");
    check(&plain().injected_file("/etc/../motd", ""), "meta_data.json: files[0].path");
    check(
        &plain().injected_file("/a", "").injected_file("/a", ""),
        "meta_data.json: files[1].path \"/a\" is given",
    );
    let ec2 = Ec2MetaData { hostname: "-".into(), ..Ec2MetaData::default() };
    check(&plain().ec2(ec2), "meta-data.json: hostname \"-\"");
}

#[test]
fn debug_tells_no_secret() {
    let drive = ConfigDrive::new(MetaData { random_seed: b"seedseed".into(), ..meta_data() })
        .user_data("password: swordfish")
        .injected_file("/etc/shadow", "root:swordfish");
    let text = format!("{drive:?} {:?}", drive.tree().unwrap());
    for secret in ["hunter2", "swordfish", "seedseed", "AQID", "115, 101"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.contains("/etc/shadow"));
}

#[test]
fn nocloud_files_and_networks() {
    let bare = NoCloud::new(MetaData::new(UUID.parse().unwrap(), "web 1", "web-1")).tree().unwrap();
    assert_eq!(bare.files().map(|(path, _)| path).collect::<Vec<_>>(), ["meta-data", "user-data"]);
    assert_eq!(
        document(&bare, "meta-data"),
        json!({"instance-id": UUID, "local-hostname": "web-1", "name": "web 1", "launch-index": 0})
    );

    let link = |id: &str, mac: &str| Link {
        id: id.into(),
        vif_id: None,
        kind: LinkKind::Vif,
        mtu: None,
        mac: mac.parse().unwrap(),
    };
    let network = |id: &str, link: &str, addressing, services: &[&str]| Network {
        id: id.into(),
        link: link.into(),
        network_id: None,
        addressing,
        routes: Vec::new(),
        services: services.iter().map(|address| Service::Dns(address.parse().unwrap())).collect(),
    };
    let router =
        |mode, address: &str| Addressing::Router { mode, address: address.parse().unwrap(), prefix: 64 };
    let fixed = |address: &str, prefix| Addressing::Static { address: address.parse().unwrap(), prefix };
    let data = NetworkData {
        links: vec![
            link("a", "fa:16:3e:00:00:01"),
            link("b", "fa:16:3e:00:00:02"),
            link("c", "fa:16:3e:00:00:03"),
        ],
        networks: vec![
            network("n1", "a", Addressing::Dhcp4, &["10.0.0.1"]),
            network("n2", "a", router(Ipv6Mode::Slaac, "fd00::1:2"), &[]),
            network("n3", "b", fixed("10.0.0.2", 24), &["10.0.0.53", "10.0.0.54"]),
            network("n4", "b", fixed("fd00::2", 64), &["10.0.0.53"]),
            network("n5", "b", router(Ipv6Mode::Dhcpv6Stateful, "fd00::3"), &[]),
        ],
        services: vec![Service::Dns("9.9.9.9".parse().unwrap())],
    };
    let tree = NoCloud::new(MetaData::new(UUID.parse().unwrap(), "web 1", "web-1")).network_data(data).tree();
    assert_eq!(
        document(&tree.unwrap(), "network-config"),
        json!({"version": 2, "ethernets": {
            "a": {"match": {"macaddress": "fa:16:3e:00:00:01"}, "dhcp4": true, "accept-ra": true},
            "b": {
                "match": {"macaddress": "fa:16:3e:00:00:02"}, "dhcp6": true,
                "addresses": ["10.0.0.2/24", "fd00::2/64"],
                "nameservers": {"addresses": ["10.0.0.53", "10.0.0.54", "9.9.9.9"]},
            },
            "c": {"match": {"macaddress": "fa:16:3e:00:00:03"}},
        }})
    );
}

/// Two cards as one, and a VLAN on it.
fn bonded() -> NetworkData {
    let card = |id: &str, mac: &str| Link {
        id: id.into(),
        vif_id: None,
        kind: LinkKind::Phy,
        mtu: None,
        mac: mac.parse().unwrap(),
    };
    let bond = LinkKind::Bond {
        links: vec!["a".into(), "b".into()],
        mode: BondMode::Ieee8023ad,
        miimon: Some(100),
        xmit_hash_policy: Some("layer3+4".into()),
    };
    NetworkData {
        links: vec![
            card("a", "fa:16:3e:00:00:01"),
            card("b", "fa:16:3e:00:00:02"),
            Link { kind: bond, mtu: Some(9000), ..card("bond", "fa:16:3e:00:00:01") },
            Link { kind: LinkKind::Vlan { link: "bond".into(), tag: 101 }, ..card("v", "fa:16:3e:00:00:03") },
        ],
        networks: vec![Network {
            id: "network0".into(),
            link: "v".into(),
            network_id: None,
            addressing: Addressing::Static { address: "10.0.0.5".parse().unwrap(), prefix: 24 },
            routes: vec![],
            services: vec![],
        }],
        services: vec![],
    }
}

#[test]
fn bonds_and_vlans() {
    let tree = ConfigDrive::new(meta_data()).network_data(bonded()).tree().unwrap();
    let links = document(&tree, "openstack/latest/network_data.json")["links"].take();
    assert_eq!(
        links.as_array().unwrap()[2..],
        [
            json!({
                "id": "bond", "type": "bond", "vif_id": null, "mtu": 9000,
                "ethernet_mac_address": "fa:16:3e:00:00:01", "bond_links": ["a", "b"],
                "bond_mode": "802.3ad", "bond_miimon": 100, "bond_xmit_hash_policy": "layer3+4",
            }),
            json!({
                "id": "v", "type": "vlan", "vif_id": null, "mtu": null,
                "ethernet_mac_address": "fa:16:3e:00:00:03",
                "vlan_link": "bond", "vlan_id": 101, "vlan_mac_address": "fa:16:3e:00:00:03",
            }),
        ]
    );
    let data = MetaData::new(UUID.parse().unwrap(), "web 1", "web-1");
    let tree = NoCloud::new(data).network_data(bonded()).tree().unwrap();
    assert_eq!(
        document(&tree, "network-config"),
        json!({
            "version": 2,
            "ethernets": {
                "a": {"match": {"macaddress": "fa:16:3e:00:00:01"}},
                "b": {"match": {"macaddress": "fa:16:3e:00:00:02"}},
            },
            "bonds": {"bond": {
                "interfaces": ["a", "b"], "macaddress": "fa:16:3e:00:00:01", "mtu": 9000,
                "parameters": {
                    "mode": "802.3ad", "mii-monitor-interval": 100, "transmit-hash-policy": "layer3+4",
                },
            }},
            "vlans": {"v": {
                "id": 101, "link": "bond", "macaddress": "fa:16:3e:00:00:03", "addresses": ["10.0.0.5/24"],
            }},
        })
    );
}

#[test]
fn nocloud_says_what_it_cannot_hold() {
    let fails = |change: fn(&mut MetaData), expected: &str| {
        let mut data = MetaData::new(UUID.parse().unwrap(), "web 1", "web-1");
        change(&mut data);
        let error = NoCloud::new(data).tree().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    fails(|data| data.hostname = "a b".into(), "hostname \"a b\"");
    fails(
        |data| data.keys = vec![KeyPair { name: "win".into(), kind: KeyKind::X509, data: "x".into() }],
        "keys[0] \"win\" is not a key for SSH",
    );
    fails(
        |data| data.devices = vec![Device::nic("fa:16:3e:00:00:01".parse().unwrap(), Vec::new())],
        "has device tags nowhere",
    );
}

#[test]
fn user_data_over_the_limit_is_refused() {
    let long = vec![b'#'; ConfigDrive::MAX_USER_DATA_BYTES];
    ConfigDrive::new(meta_data()).user_data(long.clone()).tree().unwrap();
    let longer = [&long[..], b"#"].concat();
    let nocloud = MetaData::new(UUID.parse().unwrap(), "web 1", "web-1");
    for error in [
        ConfigDrive::new(meta_data()).user_data(longer.clone()).tree().unwrap_err(),
        NoCloud::new(nocloud).user_data(longer).tree().unwrap_err(),
    ] {
        assert!(matches!(error, Error::UserDataTooLong { len: 49150, limit: 49149, .. }), "{error}");
    }
}
