//! An instance from its first to its last day: its records in XAPI are what OpenStack Nova's driver
//! made them, and its end takes away what was made for it and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::bench::Bench;
use e2e::pool::{Census, LVM, NETWORK, Pool, personality, plays};
use e2e::tools;
use uuid::Uuid;
use xapi_simulator::targets::Target;
use xapi_simulator::{Personality, World};
use xenapi_client::{ExportFormat, Secret};
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::{
    ConfigDrive, ConfigDriveFormat, Firmware, Flavor, Hardware, InstanceSpec, Locking, MacChoice, Nic,
    OsType, Power, SrChoice, VmMode,
};
use xenapi_driver::volume::{AttachOptions, Iscsi, Storage, Volume, VolumeDisk};
use xenapi_driver::{Cause, Driver, Existing, Progress, Settings, Shutdown, SpawnOptions, Which};
use xenapi_types::{
    DomainType, Host, OnCrashBehaviour, OnNormalExit, Ref, Sr, VbdMode, VbdRecord, VbdType, Vdi, VdiType,
    VifLockingMode, VmPowerState, sr, vbd, vdi, vm,
};

async fn vdi(bench: &Bench, uuid: &str) -> Result<Ref<Vdi>> {
    Ok(bench.client().by_uuid::<Vdi>(uuid).await?)
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// Nova's driver made 86 requests for such an instance, one after the other. How many of these wait for another is
/// measured (`cargo bench -p benches --bench spawn`); that they do not grow in number is asked here.
#[tokio::test]
async fn a_spawn_takes_few_requests() -> Result<()> {
    let bench = Bench::new().await?;
    let spec = |name: &str| InstanceSpec {
        name: name.into(),
        nics: vec![Nic::on(NETWORK)],
        config_drive: Some(ConfigDrive::default()),
        ..bench.spec()
    };
    bench.spawn(spec("first")).await?;
    bench.pool.simulator.faults().record();
    bench.spawn(spec("second")).await?;
    let mut requests = bench.pool.simulator.faults().recorded();
    // A long poll comes back as often as something happens.
    requests.retain(|request| request != "event.from");
    assert!(requests.len() <= 86 * 2 / 3, "{} requests: {requests:?}", requests.len());
    Ok(())
}

#[tokio::test]
async fn the_record_of_an_hvm_guest() -> Result<()> {
    let bench = Bench::new().await?;
    let (vcpu_weight, vcpu_cap) = (Some(512), Some(150));
    let flavor = Flavor { vcpu_weight, vcpu_cap, vcpu_mask: vec![0, 2], ..Flavor::new(2, 1024, 1) };
    let mut spec = InstanceSpec { flavor, os_type: Some(OsType::Windows), ..bench.spec() };
    spec.metadata = map([("role.name", "front")]);
    let id = spec.uuid.to_string();
    let instance = bench.spawn(spec).await?;
    let (_, mut vm) = bench.vm(&instance).await?;
    assert_eq!((&*vm.name_label, &*vm.name_description), ("web1", ""));
    assert_eq!(vm.power_state, VmPowerState::Running);
    let gib = 1 << 30;
    assert_eq!(
        (vm.memory_static_min, vm.memory_dynamic_min, vm.memory_dynamic_max, vm.memory_static_max),
        (0, gib, gib, gib)
    );
    assert_eq!((vm.vcpus_max, vm.vcpus_at_startup), (2, 2));
    assert_eq!(vm.vcpus_params, map([("weight", "512"), ("cap", "150"), ("mask", "0,2")]));
    assert_eq!(vm.actions_after_shutdown, OnNormalExit::Destroy);
    assert_eq!(vm.actions_after_reboot, OnNormalExit::Restart);
    assert_eq!(vm.actions_after_crash, OnCrashBehaviour::Destroy);
    assert_eq!(vm.hvm_boot_policy, "BIOS order");
    assert_eq!(vm.hvm_boot_params, map([("order", "dc")]));
    assert_eq!((&*vm.pv_bootloader, &*vm.pv_args, &*vm.pv_kernel), ("", "", ""));
    let platform = map([
        ("acpi", "true"),
        ("apic", "true"),
        ("nx", "true"),
        ("pae", "true"),
        ("timeoffset", "0"),
        ("viridian", "true"),
    ]);
    // XAPI adds this one to every HVM guest.
    vm.platform.remove("device-model");
    assert_eq!(vm.platform, platform);
    let data = map([
        ("vm-data/allowvssprovider", "false"),
        ("vm-data/auto-disk-config", "False"),
        ("vm-data/user-metadata/role_name", "\"front\""),
    ]);
    assert_eq!(vm.xenstore_data, data);
    for (key, value) in [
        ("nova_uuid", &id),
        ("xenapi-rs:instance", &id),
        ("xenapi-rs:owner", &"xenapi-rs".to_owned()),
        ("xenapi-rs:self", &vm.uuid),
        ("last_dom_id", &vm.domid.to_string()),
    ] {
        assert_eq!(vm.other_config.get(key), Some(value), "{key}");
    }
    Ok(())
}

#[tokio::test]
async fn the_record_of_a_pv_guest() -> Result<()> {
    let bench = Bench::new().await?;
    let spec = InstanceSpec { vm_mode: Some(VmMode::Pv), power: Power::Off, ..bench.spec() };
    let instance = bench.spawn(spec).await?;
    let (_, vm) = bench.vm(&instance).await?;
    assert_eq!(vm.power_state, VmPowerState::Halted);
    assert_eq!((&*vm.pv_bootloader, &*vm.pv_args), ("pygrub", ""));
    assert_eq!((&*vm.hvm_boot_policy, vm.hvm_boot_params), ("", map([])));
    assert_eq!((&*vm.platform["nx"], &*vm.platform["viridian"]), ("false", "false"));
    assert_eq!(vm.vcpus_params, map([]));
    Ok(())
}

#[tokio::test]
async fn the_record_of_a_pvh_guest() -> Result<()> {
    let bench = Bench::new().await?;
    let spec = InstanceSpec { vm_mode: Some("PVH".parse().expect("a mode")), ..bench.spec() };
    if !plays(Personality::XcpNg82) {
        let error = bench.spawn(spec).await.unwrap_err().to_string();
        assert!(error.contains("which has no PVH guests"), "{error}");
        return Ok(());
    }
    let instance = bench.spawn(spec).await?;
    let (_, vm) = bench.vm(&instance).await?;
    assert_eq!((vm.power_state, vm.domain_type), (VmPowerState::Running, DomainType::Pvh));
    assert_eq!((&*vm.pv_bootloader, &*vm.hvm_boot_policy), ("pygrub", ""));
    assert_eq!(&*vm.platform["nx"], "true");
    let uefi = Hardware { firmware: Firmware::Uefi { secure_boot: false }, ..Hardware::default() };
    let wrong =
        InstanceSpec { vm_mode: Some(VmMode::Pvh), hardware: uefi, name: "web2".into(), ..bench.spec() };
    assert!(bench.spawn(wrong).await.is_err(), "it has no firmware");
    Ok(())
}

#[tokio::test]
async fn disks_and_interfaces() -> Result<()> {
    let bench = Bench::new().await?;
    let mac = MacChoice::Given("00:16:3e:01:02:03".parse()?);
    let locking = Locking::Locked { ipv4: vec!["10.0.0.5".into()], ipv6: vec![] };
    let mut nic = Nic { mac, locking, ..Nic::on(NETWORK) };
    nic.other_config = map([("neutron-port-id", "p-1")]);
    let nics = vec![nic, Nic::on("xenbr1")];
    let config_drive = Some(ConfigDrive::default());
    let sr = SrChoice::Named(LVM.into());
    let instance = bench.spawn(InstanceSpec { nics, config_drive, sr, ..bench.spec() }).await?;
    let (_, vm) = bench.vm(&instance).await?;
    let client = bench.pool.client();

    let mut disks = Vec::new();
    for vbd in &vm.vbds {
        let record: VbdRecord = client.record(vbd).await?;
        let vdi = client.record(&record.vdi).await?;
        disks.push((record.userdevice.clone(), record, vdi));
    }
    disks.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let [(_, root, root_vdi), (_, drive, drive_vdi)] = &disks[..] else { panic!("{disks:?}") };
    assert_eq!((&*root.userdevice, root.bootable, root.mode.clone()), ("0", true, VbdMode::Rw));
    assert_eq!((&*drive.userdevice, drive.bootable, drive.mode.clone()), ("3", false, VbdMode::Ro));
    assert_eq!((root.r#type.clone(), drive.r#type.clone()), (VbdType::Disk, VbdType::Disk));
    assert_eq!((&*root_vdi.name_label, &*root_vdi.name_description), ("web1", "root"));
    assert_eq!((&*drive_vdi.name_label, &*drive_vdi.name_description), ("config-2", "configdrive"));
    for (vdi, kind) in [(root_vdi, "root"), (drive_vdi, "configdrive")] {
        assert_eq!(vdi.r#type, VdiType::User);
        assert_eq!(vdi.other_config["nova_disk_type"], kind);
        assert_eq!(vdi.other_config["nova_instance_uuid"], instance.uuid.to_string());
        assert_eq!(vdi.other_config["xenapi-rs:self"], vdi.uuid);
    }

    let mut vifs = Vec::new();
    for vif in &vm.vifs {
        vifs.push(client.record(vif).await?);
    }
    vifs.sort_by(|a, b| a.device.cmp(&b.device));
    let [first, second] = &vifs[..] else { panic!("{vifs:?}") };
    assert_eq!((&*first.device, &*first.mac, first.mtu), ("0", "00:16:3e:01:02:03", 1500));
    assert_eq!(first.locking_mode, VifLockingMode::Locked);
    assert_eq!(first.ipv4_allowed, ["10.0.0.5"]);
    assert_eq!(first.other_config["neutron-port-id"], "p-1");
    assert_eq!((&*second.device, &second.mac), ("1", &instance.macs[1]));
    assert_eq!(second.locking_mode, VifLockingMode::NetworkDefault);

    // The address is taken now, for everybody.
    let nics = vec![Nic { mac, ..Nic::on(NETWORK) }];
    let spec = InstanceSpec { name: "web2".into(), nics, ..bench.spec() };
    let error = bench.pool.spawn(spec).await.expect_err("a refusal");
    assert!(error.to_string().contains("00:16:3e:01:02:03 is already in use by VM \"web1\""), "{error}");
    Ok(())
}

#[tokio::test]
async fn the_config_drive_is_what_a_guest_can_read() -> Result<()> {
    if !tools::present(&["fsck.vfat", "7zz", "blkid"]) {
        return Ok(());
    }
    let bench = Bench::new().await?;
    for format in [ConfigDriveFormat::Iso9660, ConfigDriveFormat::Vfat] {
        let name = format!("My Web {format}");
        let mut spec = InstanceSpec { nics: vec![Nic::on(NETWORK)], name, ..bench.spec() };
        spec.config_drive = Some(ConfigDrive {
            user_data: Some(b"#cloud-config\n{}\n".to_vec()),
            ssh_keys: map([("mine", "ssh-ed25519 AAAA me@example.org")]),
            format,
            ..ConfigDrive::default()
        });
        let instance = bench.spawn(spec).await?;
        let drive = instance.config_drive_uuid.as_deref().context("a config drive")?;
        let mut export =
            bench.pool.client().export_vdi(&vdi(&bench, drive).await?, ExportFormat::Raw, None).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = export.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        let path = bench.files.path().join("drive.img");
        fs::write(&path, bytes)?;
        let path = path.display().to_string();
        let report = tools::run("blkid", ["-p", "-o", "export", &path])?;
        for line in ["LABEL=config-2".to_owned(), format!("TYPE={format}")] {
            assert!(report.lines().any(|found| found == line), "{line} is not in {report}");
        }
        if format == ConfigDriveFormat::Vfat {
            tools::run("fsck.vfat", ["-n", &path])?;
        }
        let read = |file: &str| tools::run("7zz", ["x", "-so", &path, &format!("openstack/latest/{file}")]);
        assert_eq!(read("user_data")?, "#cloud-config\n{}\n");
        let meta_data: serde_json::Value = serde_json::from_str(&read("meta_data.json")?)?;
        assert_eq!(meta_data["uuid"], instance.uuid.to_string());
        assert_eq!(meta_data["name"], format!("My Web {format}"));
        assert_eq!(meta_data["hostname"], format!("my-web-{format}"));
        assert_eq!(meta_data["public_keys"]["mine"], "ssh-ed25519 AAAA me@example.org");
        let network: serde_json::Value = serde_json::from_str(&read("network_data.json")?)?;
        assert_eq!(network["links"][0]["ethernet_mac_address"], instance.macs[0]);
        assert_eq!(network["networks"][0]["type"], "ipv4_dhcp");
    }
    Ok(())
}

#[tokio::test]
async fn nodes_are_the_hosts() -> Result<()> {
    let bench = Bench::new().await?;
    let nodes = bench.pool.driver.nodes().await?;
    let [node] = &nodes[..] else { panic!("{nodes:?}") };
    let product = match personality() {
        Personality::XenServer70 => "XenServer 7.0.0",
        Personality::XenServer76 => "XenServer 7.6.0",
        Personality::XcpNg82 => "XCP-ng 8.2.1",
        Personality::XcpNg83 => "XCP-ng 8.3.0",
        Personality::Xapi26 => "XenServer 8.4.0",
    };
    assert_eq!((&*node.name, &*node.product, node.cpus), ("demo-host", product, 8));
    assert!(node.memory_free_bytes > 32 << 30, "{node:?}");
    let node_uuid: Uuid = node.uuid.parse()?;
    let instance = bench.spawn(InstanceSpec { node: Some(node_uuid), ..bench.spec() }).await?;
    assert_eq!(instance.node_uuid, node.uuid);
    let (_, vm) = bench.vm(&instance).await?;
    assert_eq!(vm.resident_on, node.reference);
    Ok(())
}

#[tokio::test]
async fn destroy_takes_what_was_made_for_the_instance() -> Result<()> {
    let bench = Bench::new().await?;
    let spec = InstanceSpec { config_drive: Some(ConfigDrive::default()), ..bench.spec() };
    let instance = bench.spawn(spec).await?;
    let destroyed = bench.destroy(&instance).await?;
    assert_eq!(destroyed.vm_uuid.as_deref(), Some(&*instance.vm_uuid));
    assert_eq!(destroyed.disk_uuids.len(), 2);
    bench.pool.census().await?.assert_as(&bench.before, "after destroy");
    // Once more: there is nothing left to do, and that is fine.
    assert_eq!(bench.destroy(&instance).await?, xenapi_driver::Destroyed::default());
    Ok(())
}

/// An instance of all that one can have.
fn with_everything(bench: &Bench) -> InstanceSpec {
    let flavor = Flavor { swap_mib: 8, ephemeral_gib: 1, ..Flavor::new(1, 512, 0) };
    let mut spec = InstanceSpec { flavor, config_drive: Some(ConfigDrive::default()), ..bench.spec() };
    spec.nics = vec![Nic::on(NETWORK), Nic::on("xenbr1")];
    spec.hardware.pci = vec!["0000:04:00.0".into()];
    if plays(Personality::XcpNg83) {
        spec.hardware.firmware = Firmware::Uefi { secure_boot: false };
        spec.hardware.tpm = true;
        spec.hardware.gpus = vec!["GRID small".into()];
    }
    spec
}

/// A LUN of a target that asks for a password.
fn lun_with_chap(bench: &Bench) -> Result<Volume> {
    let (portal, iqn) = ("192.0.2.1", "iqn.2010-10.org.openstack:volume-00000001");
    let target = Target::iscsi(portal, iqn, [(0, 32 << 20)]).login("user", "correct-horse");
    bench.pool.simulator.targets().add(target);
    let chap = Some(("user".to_owned(), Secret::new("correct-horse")));
    let storage = Storage::Iscsi(Iscsi { portal: portal.parse()?, iqn: iqn.into(), chap });
    Ok(Volume { id: Some("vol-1".into()), ..Volume::new(storage, VolumeDisk::Lun(0)) })
}

/// The driver's keys on what instances share.
async fn keys_on_what_is_shared(bench: &Bench) -> Result<Vec<String>> {
    let client = bench.pool.client();
    let mut keys: Vec<String> = bench.settings().await?.other_config.into_keys().collect();
    for host in client.all_records::<Host>().await?.into_values() {
        keys.extend(host.other_config.into_keys());
    }
    for sr in client.all_records::<Sr>().await?.into_values() {
        keys.extend(sr.other_config.into_keys());
    }
    keys.retain(|key| key.starts_with("xenapi-rs"));
    Ok(keys)
}

/// In whatever it is in the middle of.
#[tokio::test]
async fn destroy_takes_all_that_an_instance_can_have() -> Result<()> {
    let bench = Bench::of(World::demo().with_devices().with_all_drivers()).await?;
    let (client, driver) = (bench.pool.client(), &bench.pool.driver);
    let volume = lun_with_chap(&bench)?;
    let keys = keys_on_what_is_shared(&bench).await?;
    for (state, disks) in [("running", 4), ("rescued", 5), ("resized", 5)] {
        let instance = bench.spawn(with_everything(&bench)).await?;
        let which = || Which::Instance(instance.uuid);
        let attached = driver.attach_volume(which(), volume.clone(), AttachOptions::default()).await?;
        let vm = bench.vm(&instance).await?.1;
        assert_eq!((vm.vbds.len(), vm.vifs.len()), (5, 2), "{state}");
        assert_eq!(client.all::<xenapi_types::Secret>().await?.len(), 1, "{state}");
        match state {
            "rescued" => driver.rescue(which(), RescueOptions::with(&bench.image)).await?,
            "resized" => {
                let flavor = Flavor { swap_mib: 8, ephemeral_gib: 1, ..Flavor::new(2, 512, 1) };
                let options = ResizeOptions {
                    flavor: Some(flavor),
                    shutdown: Shutdown::Hard,
                    ..ResizeOptions::default()
                };
                assert_eq!(driver.resize(which(), options).await?.replaced_disks, 1);
            }
            _ => {}
        }
        let destroyed = bench.destroy(&instance).await?;
        assert_eq!((destroyed.vm_uuid, destroyed.disk_uuids.len()), (Some(vm.uuid), disks), "{state}");
        assert_eq!(destroyed.kept_disk_uuids, [&*attached.vdi_uuid], "{state}");
        // The repository joins what was split when it gets round to it.
        client.call(sr::Scan { sr: bench.settings().await?.default_sr }).await?;
        let mut left = bench.census().await?.changes_since(&bench.before);
        // What is on the LUN stays there.
        left.retain(|change| !(change.contains("/disks/") && change.contains(&attached.sr_uuid)));
        assert_eq!(left, [""; 0], "{state}");
        assert_eq!(client.all::<xenapi_types::Secret>().await?, [], "{state}");
        assert_eq!(keys_on_what_is_shared(&bench).await?, keys, "{state}");
    }
    Ok(())
}

#[tokio::test]
async fn destroy_finds_disks_that_are_not_attached_any_more() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn(InstanceSpec { power: Power::Off, ..bench.spec() }).await?;
    // As after a crash between two steps.
    let (vm, _) = bench.vm(&instance).await?;
    bench.pool.client().call(vm::Destroy { vm }).await?;
    let destroyed = bench.destroy(&instance).await?;
    assert_eq!((destroyed.vm_uuid, destroyed.disk_uuids), (None, vec![instance.root_uuid]));
    bench.pool.census().await?.assert_as(&bench.before, "after destroy");
    Ok(())
}

#[tokio::test]
async fn destroy_leaves_what_others_made() -> Result<()> {
    let bench = Bench::new().await?;
    let client = bench.pool.client();
    let instance = bench.spawn(InstanceSpec { power: Power::Off, ..bench.spec() }).await?;
    let root = vdi(&bench, &instance.root_uuid).await?;
    let (vm, _) = bench.vm(&instance).await?;
    // A user's backups: XAPI copies the keys of the original to each of them.
    let snapshot = client.call(vdi::Snapshot { vdi: root.clone(), driver_params: None }).await?;
    let clone = client.call(vdi::Clone { vdi: root.clone(), driver_params: None }).await?;
    let vm_clone = client.call(vm::Clone { vm: vm.clone(), new_name: "web1 copy".into() }).await?;
    // A user's own disk, attached to the instance.
    let data = vdi::Create {
        name_label: "data".into(),
        sr: client.get_field(&root, vdi::field::SR).await?,
        virtual_size: 8 << 20,
        r#type: VdiType::User,
        ..vdi::Create::default()
    };
    let data = client.call(data).await?;
    let attach = vbd::Create {
        vm: vm.clone(),
        vdi: data.clone(),
        userdevice: "5".into(),
        mode: VbdMode::Rw,
        r#type: VbdType::Disk,
        ..vbd::Create::default()
    };
    client.call(attach).await?;

    let destroyed = bench.destroy(&instance).await?;
    assert_eq!(destroyed.disk_uuids, vec![instance.root_uuid]);
    let data_uuid = client.get_field(&data, vdi::field::UUID).await?;
    assert_eq!(destroyed.kept_disk_uuids, [data_uuid]);
    for kept in [&snapshot, &clone, &data] {
        assert!(client.record_opt(kept).await?.is_some(), "a user's disk is gone");
    }
    assert!(client.record_opt(&vm_clone).await?.is_some(), "a user's VM is gone");
    assert!(client.record_opt(&vm).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn destroy_refuses_the_vms_of_others() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn(bench.spec()).await?;
    let owner = "another cloud".to_owned();
    let other = Driver::over(bench.pool.client().clone(), Settings { owner, ..Settings::default() });
    let before = bench.pool.census().await?;
    let error = other.destroy(Which::Named("web1".into()), Progress::none()).await.expect_err("a refusal");
    assert!(matches!(error.cause(), Cause::NotOurs { uuid, .. } if *uuid == instance.vm_uuid), "{error}");
    let unknown = other.destroy(Which::Named("web9".into()), Progress::none()).await.expect_err("a refusal");
    assert!(unknown.to_string().contains("\"web9\"; check the spelling"), "{unknown}");
    bench.pool.census().await?.assert_as(&before, "after two refusals");
    Ok(())
}

#[tokio::test]
async fn a_snapshot_of_a_running_instance() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn(bench.spec()).await?;
    let before = bench.pool.census().await?;
    let path = bench.files.path().join("web1.vhd");
    let take = |existing| {
        let which = Which::parse(&instance.uuid.to_string());
        bench.pool.driver.snapshot(which, &path, existing, Progress::none())
    };
    let snapshot = take(Existing::Refuse).await?;
    assert!(snapshot.leftovers.is_empty(), "{:?}", snapshot.leftovers);
    assert_eq!((snapshot.virtual_bytes, &snapshot.disk_uuid), (64 << 20, &instance.root_uuid));
    assert_eq!(snapshot.file_bytes, fs::metadata(&path)?.len());
    if tools::present(&["qemu-img"]) {
        let info = tools::qemu_img_info(&path)?;
        assert_eq!((info.format.as_str(), info.virtual_size), ("vpc", 64 << 20));
        tools::qemu_img_compare(&bench.image, &path)?;
    }
    same_disks(&bench, &before).await?;

    let error = take(Existing::Refuse).await.expect_err("the file is there");
    assert!(error.to_string().contains("web1.vhd exists already"), "{error}");
    take(Existing::Replace).await?;
    let nowhere = bench.files.path().join("nowhere/web1.vhd");
    let which = Which::Named("web1".into());
    let error = bench.pool.driver.snapshot(which, nowhere, Existing::Refuse, Progress::none()).await;
    assert!(error.as_ref().is_err_and(|error| error.to_string().contains("nowhere/web1.vhd")), "{error:?}");
    same_disks(&bench, &before).await?;
    let files: Vec<_> =
        fs::read_dir(bench.files.path())?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    assert_eq!(files.len(), 2, "{files:?}");
    Ok(())
}

/// Taking a snapshot splits a disk on the SR, and removing it leaves a hidden part until the host's
/// garbage collector joins them again: only what a user can see must be as before.
async fn same_disks(bench: &Bench, before: &Census) -> Result<()> {
    let sr = bench.pool.client().by_name_label::<Sr>(e2e::pool::EXT).await?;
    bench.pool.client().call(sr::Scan { sr }).await?;
    let mut disks = bench.pool.client().all_records::<Vdi>().await?;
    disks.retain(|_, vdi| vdi.managed);
    assert_eq!(disks.len(), before.objects["VDI"].len(), "{disks:#?}");
    let now = bench.pool.census().await?;
    assert_eq!((&now.objects["VBD"], &now.tasks), (&before.objects["VBD"], &before.tasks));
    Ok(())
}

#[tokio::test]
async fn a_guest_that_never_runs_is_undone() -> Result<()> {
    let files = Bench::new().await?;
    let mut guests = xapi_simulator::Guests::new();
    guests.crash_at_boot = true;
    let pool = Pool::of_guests(guests).await?;
    let before = pool.census().await?;
    let settings = Settings { running_timeout: Duration::from_millis(200), ..Settings::default() };
    let error = pool.driver_with(settings)?.spawn(files.spec(), SpawnOptions::default()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NotRunning { state, .. } if state == "Halted"), "{error}");
    assert!(error.leftovers().is_empty(), "{error}");
    pool.census().await?.assert_as(&before, "after a guest that crashed at once");
    Ok(())
}
