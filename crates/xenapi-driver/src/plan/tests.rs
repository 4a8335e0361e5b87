use xenapi_storage::Connection;
use xenapi_types::Ref;

use super::*;
use crate::spec::{ConfigDrive, Flavor, Grow, Nic, SrChoice};
use crate::volume::{Mount, Storage, Volume, VolumeDisk};

const OPERATION: Uuid = Uuid::from_u128(0xabcd);

fn inventory() -> Inventory {
    let sr = |uuid: &str, name: &str, kind: &str| Repository {
        reference: format!("OpaqueRef:{uuid}").into(),
        uuid: uuid.into(),
        name_label: name.into(),
        sr_type: kind.into(),
        is_tools_sr: false,
        other_config: BTreeMap::new(),
        sm_config: map([("use_vhd", "true")]),
        physical_size: Some(100 << 30),
        physical_utilisation: Some(10 << 30),
        connections: vec![Connection { host: "OpaqueRef:node-1".into(), attached: true }],
    };
    let network = |uuid: &str, name: &str| Network {
        reference: Ref::NULL,
        uuid: uuid.into(),
        name: name.into(),
        bridge: format!("xapi-{uuid}"),
        mtu: 1500,
    };
    Inventory {
        nodes: vec![Node {
            reference: "OpaqueRef:node-1".into(),
            uuid: "node-1".into(),
            name: "xen1".into(),
            address: "10.0.0.1".into(),
            enabled: true,
            live: true,
            product: "XenServer 8.4.0".into(),
            cpus: 4,
            memory_free_bytes: 4 << 30,
        }],
        srs: vec![
            sr("sr-ext", "Local storage", "ext"),
            sr("sr-lvm", "Fast storage", "lvm"),
            sr("sr-a", "twin", "nfs"),
            sr("sr-b", "twin", "nfs"),
        ],
        default_sr: "OpaqueRef:sr-ext".into(),
        networks: vec![network("net-0", "lan"), network("net-1", "dmz")],
        name_taken_by: None,
        macs_taken: BTreeMap::from([("02:00:00:00:00:01".to_owned(), "old-vm".to_owned())]),
        ..Inventory::default()
    }
}

fn mac(text: &str) -> MacAddr {
    text.parse().unwrap()
}

fn image() -> ImageFacts {
    ImageFacts { name: "disk.vhd".into(), virtual_bytes: 3 << 30, disc: false }
}

fn spec() -> InstanceSpec {
    InstanceSpec {
        uuid: Uuid::from_u128(1),
        ..InstanceSpec::new("web1", Flavor::new(2, 1024, 4), "disk.vhd")
    }
}

fn planned(change: impl FnOnce(&mut InstanceSpec)) -> Plan {
    let mut spec = spec();
    change(&mut spec);
    plan(&spec, &inventory(), &image(), "me", OPERATION).expect("a plan")
}

#[track_caller]
fn refused(change: impl FnOnce(&mut InstanceSpec, &mut Inventory, &mut ImageFacts), sentence: &str) {
    let (mut spec, mut inventory, mut image) = (spec(), inventory(), image());
    change(&mut spec, &mut inventory, &mut image);
    match plan(&spec, &inventory, &image, "me", OPERATION) {
        Ok(plan) => panic!("planned {plan:?}, expected {sentence:?}"),
        Err(conflicts) => assert_eq!(conflicts.to_string(), sentence),
    }
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

#[test]
fn an_hvm_guest() {
    let plan = planned(|spec| spec.os_type = Some(OsType::Linux));
    assert_eq!(plan.vm.mode, VmMode::Hvm);
    assert_eq!(plan.vm.memory_bytes, 1 << 30);
    assert_eq!(
        plan.vm.platform,
        map([
            ("acpi", "true"),
            ("apic", "true"),
            ("nx", "true"),
            ("pae", "true"),
            ("timeoffset", "0"),
            ("viridian", "false"),
        ])
    );
    assert_eq!(
        plan.vm.xenstore_data,
        map([
            ("vm-data/allowvssprovider", "false"),
            ("vm-data/auto-disk-config", "False"),
            ("vm-data/hostname", "web1"),
        ])
    );
    assert_eq!(plan.vm.vcpus_params, map([]));
    assert_eq!(
        plan.vm.other_config,
        map([
            ("nova_uuid", "00000000-0000-0000-0000-000000000001"),
            ("xenapi-rs:instance", "00000000-0000-0000-0000-000000000001"),
            ("xenapi-rs:operation", "00000000-0000-0000-0000-00000000abcd"),
            ("xenapi-rs:owner", "me"),
        ])
    );
}

#[test]
fn modes() {
    for (mode, os_type, nx, viridian) in [
        (None, None, "true", "false"),
        (None, Some(OsType::Windows), "true", "true"),
        (Some(VmMode::Pv), Some(OsType::Linux), "false", "false"),
        (Some(VmMode::Hvm), Some(OsType::Linux), "true", "false"),
    ] {
        let plan = planned(|spec| (spec.vm_mode, spec.os_type) = (mode, os_type));
        assert_eq!(
            (&*plan.vm.platform["nx"], &*plan.vm.platform["viridian"]),
            (nx, viridian),
            "{mode:?} {os_type:?}"
        );
    }
}

#[test]
fn processor_wishes() {
    let params = |change: fn(&mut Flavor)| planned(|spec| change(&mut spec.flavor)).vm.vcpus_params;
    assert_eq!(params(|f| f.vcpu_weight = Some(2)), map([("cap", "0"), ("weight", "2")]));
    assert_eq!(params(|f| f.vcpu_cap = Some(50)), map([("cap", "50"), ("weight", "256")]));
    assert_eq!(params(|f| f.vcpu_mask = vec![0, 2, 3]), map([("mask", "0,2,3")]));
}

#[test]
fn disks() {
    let plan = planned(|spec| spec.config_drive = Some(ConfigDrive::default()));
    assert_eq!((plan.root.virtual_bytes, plan.import), (4 << 30, Some(ImportPlan::Vhd)));
    assert_eq!((plan.root.userdevice, plan.root.bootable), (UserDevice::ROOT, true));
    assert_eq!(plan.root.other_config["nova_disk_type"], "root");
    assert_eq!(plan.root.other_config["nova_instance_uuid"], plan.instance.to_string());
    let drive = plan.config_drive.expect("a config drive");
    assert_eq!((drive.userdevice.number(), drive.bootable, &*drive.name_label), (3, false, "config-2"));
    assert_eq!(planned(|spec| spec.flavor.root_gib = 0).root.virtual_bytes, 3 << 30);
    assert_eq!(planned(|spec| spec.flavor.root_gib = 3).root.virtual_bytes, 3 << 30);
}

#[test]
fn the_config_drive_gives_way_to_a_volume() {
    let volume = |device: u8| {
        let volume =
            Volume::new(Storage::Repository(Uuid::from_u128(1)), VolumeDisk::Uuid(Uuid::from_u128(2)));
        Mount { device: UserDevice::new(device), ..Mount::from(volume) }
    };
    for (devices, ephemeral_gib, place) in
        [(&[][..], 0, 3), (&[4], 0, 3), (&[3], 0, 4), (&[3, 4, 6], 0, 5), (&[3], 1, 5)]
    {
        let plan = planned(|spec| {
            spec.config_drive = Some(ConfigDrive::default());
            spec.flavor.ephemeral_gib = ephemeral_gib;
            spec.volumes = devices.iter().map(|device| volume(*device)).collect();
        });
        assert_eq!(plan.config_drive.unwrap().userdevice.number(), place, "{devices:?}");
    }
}

#[test]
fn places() {
    for (choice, uuid) in [
        (SrChoice::PoolDefault, "sr-ext"),
        (SrChoice::Named("Fast storage".into()), "sr-lvm"),
        (SrChoice::Named("sr-b".into()), "sr-b"),
    ] {
        assert_eq!(planned(|spec| spec.sr = choice).sr.uuid, uuid);
    }
}

#[test]
fn interfaces_keep_their_order() {
    let given = MacChoice::Given(mac("02:00:00:00:00:09"));
    let plan = planned(|spec| {
        spec.nics = vec![Nic::on("dmz"), Nic { mac: given, ..Nic::on("net-0") }, Nic::on("xapi-net-1")];
    });
    let seen: Vec<_> = plan.nics.iter().map(|nic| (nic.device, &*nic.network.uuid)).collect();
    assert_eq!(seen, [(0, "net-1"), (1, "net-0"), (2, "net-1")]);
    assert_eq!(plan.nics[1].mac.to_string(), "02:00:00:00:00:09");
    assert_ne!(plan.nics[0].mac, plan.nics[2].mac);
    assert_eq!(plan.nics[0].other_config["xenapi-rs:instance"], plan.instance.to_string());
}

#[test]
fn metadata_goes_to_xenstore_as_json() {
    let plan = planned(|spec| spec.metadata = map([("hi.there", "say \"x\""), ("ok-key@1", "")]));
    assert_eq!(plan.vm.xenstore_data["vm-data/user-metadata/hi_there"], r#""say \"x\"""#);
    assert_eq!(plan.vm.xenstore_data["vm-data/user-metadata/ok-key@1"], "\"\"");
    let plan = planned(|spec| spec.disk_setup.grow = Grow::Try);
    assert_eq!(plan.vm.xenstore_data["vm-data/auto-disk-config"], "True");
}

#[test]
fn each_conflict_is_one_sentence() {
    refused(
        |_, inventory, _| inventory.name_taken_by = Some("vm-9".into()),
        "the name \"web1\" is already in use by VM vm-9; choose another name, or destroy that VM first",
    );
    refused(
        |spec, inventory, _| {
            spec.sr = SrChoice::Named("fast".into());
            inventory.srs.truncate(1);
        },
        "no SR matches \"fast\" and can be used: \"Local storage\" (ext, sr-ext) does not match; use another SR",
    );
    refused(
        |spec, inventory, _| {
            spec.sr = SrChoice::Named("twin".into());
            inventory.srs.drain(..2);
        },
        "more than one SR matches \"twin\"; choose one by its uuid: \"twin\" (nfs, sr-a) matches, but not alone; \
         \"twin\" (nfs, sr-b) matches, but not alone",
    );
    refused(
        |_, inventory, _| {
            inventory.srs.truncate(1);
            inventory.srs[0].connections[0].attached = false;
        },
        "no SR matches \"default-sr:true\" and can be used: \"Local storage\" (ext, sr-ext) has a PBD on host \"xen1\" \
         that is not plugged; plug that PBD, or use another SR",
    );
    refused(
        |spec, inventory, _| {
            spec.sr = SrChoice::Named("sr-lvm".into());
            inventory.srs[1].physical_size = Some(12 << 30);
        },
        "SR \"Fast storage\" (lvm, sr-lvm) has 2 GiB free and 4311744512 bytes (4.01 GiB) are needed; free some space, wait for the \
         garbage collector to coalesce deleted snapshots, or choose another SR",
    );
    refused(
        |spec, _, _| spec.nics = vec![Nic::on("wan")],
        "no network has the uuid, name or bridge \"wan\"; use one of lan, dmz",
    );
    refused(
        |_, _, image| image.virtual_bytes = (4 << 30) + 512,
        "image disk.vhd is a disk of 4294967808 bytes (4.00 GiB) but the flavor's root disk has only 4 GiB; \
         use a flavor with a larger root disk",
    );
    refused(
        |spec, _, _| spec.flavor.memory_mib = 8192,
        "host \"xen1\" has 4 GiB of memory free but an instance takes 8663334912 bytes (8.06 GiB) with what the host keeps for it; \
         free memory there, or use another host or a smaller flavor",
    );
    refused(
        |spec, _, _| spec.node = Some(Uuid::from_u128(5)),
        "no host of the pool has the uuid 00000000-0000-0000-0000-000000000005; use one of node-1 (xen1)",
    );
    refused(
        |spec, _, _| spec.flavor.root_gib = 3000,
        "a disk of 3000 GiB cannot be created in SR \"Local storage\" (ext, sr-ext), where the largest is 2040 GiB; \
         choose a smaller disk or another SR",
    );
    refused(
        |spec, _, _| {
            spec.nics = vec![Nic { mac: MacChoice::Given(mac("02:00:00:00:00:01")), ..Nic::on("lan") }];
        },
        "the MAC address 02:00:00:00:00:01 is already in use by VM \"old-vm\"; choose another address",
    );
    refused(
        |spec, _, _| spec.metadata = map([("a.b", "1"), ("a_b", "2")]),
        "metadata key \"a_b\" and another one are both written to xenstore as \"a_b\"; rename one",
    );
}

#[test]
fn all_conflicts_are_told_at_once() {
    let mut spec = spec();
    spec.sr = SrChoice::Named("gone".into());
    let twice = Nic { mac: MacChoice::Given(mac("02:00:00:00:00:07")), ..Nic::on("lan") };
    spec.nics = vec![Nic::on("gone"), twice.clone(), twice];
    spec.name = String::new();
    spec.nics.push(Nic { mtu: Some(67), limit_kbytes: Some(0), ..Nic::on("lan") });
    let conflicts = plan(&spec, &inventory(), &image(), "me", OPERATION).unwrap_err();
    assert_eq!(conflicts.iter().count(), 6);
    let text = conflicts.to_string();
    assert!(text.starts_with("(1) ") && text.contains("; (6) "), "{text}");
}

#[test]
fn the_limits_of_an_interface() {
    for (mtu, limit_kbytes, wanted) in [
        (None, None, None),
        (Some(68), Some(1), None),
        (Some(65_535), Some(u32::MAX), None),
        (Some(0), None, Some(Conflict::Mtu(0))),
        (Some(67), None, Some(Conflict::Mtu(67))),
        (Some(65_536), None, Some(Conflict::Mtu(65_536))),
        (None, Some(0), Some(Conflict::NoRate)),
    ] {
        let mut spec = spec();
        spec.nics = vec![Nic { mtu, limit_kbytes, ..Nic::on("lan") }];
        let planned = plan(&spec, &inventory(), &image(), "me", OPERATION);
        let found = planned.err().map(|conflicts| conflicts.iter().cloned().collect::<Vec<_>>());
        assert_eq!(found, wanted.map(|conflict| vec![conflict]), "{mtu:?} {limit_kbytes:?}");
    }
}

#[test]
fn ephemeral_disks_are_split_as_nova_split_them() {
    for (gib, sizes) in [
        (0, &[][..]),
        (20, &[20]),
        (1024, &[1024]),
        (2000, &[2000]),
        (2048, &[1024, 1024]),
        (4000, &[2000, 2000]),
        (4030, &[2000, 2000, 30]),
    ] {
        assert_eq!(ephemeral_sizes(gib), sizes, "{gib}");
    }
    let plan = planned(|spec| (spec.flavor.ephemeral_gib, spec.flavor.swap_mib) = (2, 64));
    let shown: Vec<_> = plan.blank.iter().map(|disk| (&*disk.name_label, disk.userdevice.number())).collect();
    assert_eq!(shown, [("web1 swap", 2), ("web1 ephemeral", 4)]);
}
