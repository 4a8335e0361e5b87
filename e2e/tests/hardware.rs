//! What a machine can be like, and memory that is never promised twice.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::bench::Bench;
use e2e::pool::{NETWORK, plays};
use uuid::Uuid;
use xapi_simulator::fault::Fault;
use xapi_simulator::{Personality, World};
use xenapi_driver::inventory::GpuInfo;
use xenapi_driver::live::MigrateOptions;
use xenapi_driver::node::PciOffer;
use xenapi_driver::plan::Conflict;
use xenapi_driver::reconcile::{Kind, ReconcileOptions};
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::{
    ConfigDrive, Firmware, Flavor, Hardware, InstanceSpec, Locking, Nic, Power, SrChoice, Vga, VmMode,
};
use xenapi_driver::{Cause, Instance, PowerChange, Progress, Settings, Shutdown, SpawnOptions, Stage, Which};
use xenapi_types::{Host, Pgpu, Pif, VbdMode, VmPowerState, VmRecord, host, network, network_sriov};
use xenapi_wire::Failure;

fn spec_of(bench: &Bench, name: &str, flavor: Flavor) -> InstanceSpec {
    InstanceSpec::new(name, flavor, &bench.image)
}

async fn destroy(bench: &Bench, instance: &Instance) -> Result<()> {
    let destroyed = bench.destroy(instance).await?;
    assert_eq!(destroyed.kept_disk_uuids, [""; 0]);
    bench.as_before("after the instance").await
}

/// The keys by which memory is promised.
async fn promises(bench: &Bench) -> Result<Vec<String>> {
    let hosts = bench.pool.client().all_records::<Host>().await?;
    let keys = hosts.into_values().flat_map(|host| host.other_config.into_keys());
    Ok(keys.filter(|key| key.starts_with("xenapi-rs:memory")).collect())
}

#[tokio::test]
async fn firmware_topology_devices_and_tags() -> Result<()> {
    let bench = Bench::new().await?;
    let mut spec = spec_of(&bench, "web1", Flavor::new(4, 512, 0));
    if !plays(Personality::XcpNg82) {
        spec.hardware.firmware = Firmware::Uefi { secure_boot: true };
        let error = bench.spawn(spec.clone()).await.unwrap_err().to_string();
        assert!(error.contains("which has no UEFI"), "{error}");
    }
    let firmware = match plays(Personality::XcpNg82) {
        true => Firmware::Uefi { secure_boot: true },
        false => Firmware::Bios,
    };
    spec.hardware = Hardware {
        firmware,
        cores_per_socket: Some(2),
        nested: true,
        device_id: Some("0002".into()),
        pci: vec!["0000:04:00.0".into(), "0000:05:00.1".into()],
        ..Hardware::default()
    };
    spec.tags = vec!["team-a".into()];
    let instance = bench.spawn(spec).await?;
    let vm = bench.vm(&instance).await?.1;
    if firmware != Firmware::Bios {
        assert_eq!(vm.hvm_boot_params.get("firmware").map(String::as_str), Some("uefi"));
        assert_eq!(vm.platform.get("secureboot").map(String::as_str), Some("true"));
    }
    for (key, value) in [("cores-per-socket", "2"), ("nested-virt", "true"), ("device_id", "0002")] {
        assert_eq!(vm.platform.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(vm.other_config.get("pci").map(String::as_str), Some("0/0000:04:00.0,1/0000:05:00.1"));
    assert_eq!(vm.tags, ["team-a"]);
    destroy(&bench, &instance).await
}

/// A range of memory, also after a resize, and a graphics card; and what can be neither.
#[tokio::test]
async fn ballooning_and_graphics() -> Result<()> {
    let bench = Bench::new().await?;
    let range = |least, memory| Flavor { memory_min_mib: Some(least), ..Flavor::new(1, memory, 0) };
    let mut spec = spec_of(&bench, "web1", range(256, 512));
    (spec.hardware.vga, spec.hardware.video_ram_mib) = (Some(Vga::Std), Some(16));
    let instance = bench.spawn(spec.clone()).await?;
    let mib = |vm: &VmRecord| {
        [vm.memory_static_min, vm.memory_dynamic_min, vm.memory_dynamic_max, vm.memory_static_max]
            .map(|bytes| bytes >> 20)
    };
    let vm = bench.pool.vm(&instance).await?.1;
    assert_eq!(mib(&vm), [0, 256, 512, 512]);
    let platform = |key: &str| vm.platform.get(key).map(String::as_str);
    assert_eq!((platform("vga"), platform("videoram")), (Some("std"), Some("16")));
    let resize = async |flavor| {
        let options =
            ResizeOptions { flavor: Some(flavor), shutdown: Shutdown::Hard, ..ResizeOptions::default() };
        let which = Which::Instance(instance.uuid);
        bench.pool.driver.resize(which.clone(), options).await?;
        bench.pool.driver.confirm_resize(which, Progress::none()).await
    };
    resize(range(128, 1024)).await?;
    assert_eq!(mib(&bench.pool.vm(&instance).await?.1), [0, 128, 1024, 1024]);
    let error = resize(range(2048, 1024)).await.unwrap_err().to_string();
    assert!(error.contains("at least 2048 MiB of 1024 MiB"), "{error}");
    resize(Flavor::new(1, 512, 0)).await?;
    assert_eq!(mib(&bench.pool.vm(&instance).await?.1), [0, 512, 512, 512]);

    spec.name = "web2".into();
    spec.uuid = Uuid::new_v4();
    spec.flavor = range(0, 512);
    spec.hardware.video_ram_mib = Some(0);
    let error = bench.spawn(spec.clone()).await.unwrap_err().to_string();
    for part in ["at least 0 MiB of 512 MiB", "0 MiB is no memory of an emulated graphics card"] {
        assert!(error.contains(part), "{part:?} is missing in {error}");
    }
    spec.vm_mode = Some(VmMode::Pv);
    let error = bench.spawn(spec).await.unwrap_err().to_string();
    assert!(error.contains("has no graphics card"), "{error}");
    destroy(&bench, &instance).await
}

#[tokio::test]
async fn blank_disks_of_all_uses() -> Result<()> {
    let bench = Bench::new().await?;
    let flavor = Flavor { swap_mib: 64, ephemeral_gib: 2, ..Flavor::new(1, 512, 0) };
    let mut spec = spec_of(&bench, "web1", flavor);
    spec.config_drive = Some(ConfigDrive::default());
    let instance = bench.spawn(spec.clone()).await?;
    let client = bench.pool.client();
    let mut disks = BTreeMap::new();
    for vbd in bench.vm(&instance).await?.1.vbds {
        let vbd = client.record(&vbd).await?;
        let vdi = client.record(&vbd.vdi).await?;
        disks.insert(vbd.userdevice, (vdi.name_description, vdi.virtual_size, vbd.mode == VbdMode::Rw));
    }
    assert_eq!(disks["2"], ("swap".to_owned(), 64 << 20, true));
    assert_eq!(disks["4"], ("ephemeral".to_owned(), 2 << 30, true));
    assert_eq!((disks.len(), disks["0"].2, disks["3"].2), (4, true, false));
    destroy(&bench, &instance).await?;

    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for k in 1..=4 {
        for (method, fault) in
            [("VDI.create", &refusal), ("VDI.create", &Fault::DropAfterExecution), ("VBD.create", &refusal)]
        {
            bench.pool.simulator.faults().on_nth(method, k, fault.clone());
            let error = bench.spawn(spec.clone()).await.unwrap_err();
            assert_eq!(bench.pool.simulator.faults().clear(), 0, "{method} {k}");
            assert!(error.leftovers().is_empty(), "{method} {k} {fault:?}: {error}");
            bench.pool.census().await?.assert_as(&bench.before, &format!("{method} {k} {fault:?}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_a_machine_cannot_be_is_told_all_at_once() -> Result<()> {
    let bench = Bench::new().await?;
    let mut spec = spec_of(&bench, "web1", Flavor::new(3, 512, 0));
    spec.vm_mode = Some(VmMode::Pv);
    spec.hardware = Hardware {
        firmware: Firmware::Uefi { secure_boot: false },
        cores_per_socket: Some(2),
        nested: false,
        device_id: Some("2".into()),
        pci: vec!["04:00.0".into(), "0000:04:00.0".into(), "0000:04.00:0".into()],
        tpm: false,
        gpus: vec!["GRID large".into()],
        ..Hardware::default()
    };
    let error = bench.spawn(spec).await.unwrap_err();
    let text = error.to_string();
    for part in [
        "sockets of 2 cores",
        "mode hvm for UEFI",
        "four hexadecimal digits",
        "\"04:00.0\"",
        "0000:04.00:0",
        "GRID large",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    bench.pool.census().await?.assert_as(&bench.before, "in the end");
    Ok(())
}

#[tokio::test]
async fn started_paused() -> Result<()> {
    let bench = Bench::new().await?;
    let mut spec = spec_of(&bench, "web1", Flavor::new(1, 512, 0));
    (spec.power, spec.nics) = (Power::Paused, vec![Nic::on(NETWORK)]);
    let instance = bench.spawn(spec).await?;
    assert_eq!(bench.vm(&instance).await?.1.power_state, VmPowerState::Paused);
    let which = Which::Instance(instance.uuid);
    let state = bench.pool.driver.power(which, PowerChange::On, Progress::none()).await?;
    assert_eq!(state, VmPowerState::Running);
    destroy(&bench, &instance).await
}

/// Three at once, each of which needs more than half of the memory: one is made, and the others hear at once, and
/// not after their disks have been copied, that there is no room.
#[tokio::test]
async fn memory_is_never_promised_twice() -> Result<()> {
    let bench = Bench::new().await?;
    let node = bench.pool.driver.nodes().await?.into_iter().next().context("a node")?;
    let most = (node.memory_free_bytes / 10 * 6) >> 20;
    let spawn = |name: &str| bench.spawn(spec_of(&bench, name, Flavor::new(1, most, 0)));
    let (a, b, c) = tokio::join!(spawn("a"), spawn("b"), spawn("c"));
    let results = [a, b, c];
    let made: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    assert_eq!(made.len(), 1);
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!(error.stage(), Stage::Plan, "{error}");
        assert!(matches!(error.cause(), Cause::Conflicts(_)), "{error}");
    }
    destroy(&bench, made[0]).await?;
    assert_eq!(promises(&bench).await?, [""; 0]);
    // What was promised is free again, after a failure too.
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    bench.pool.simulator.faults().on("VM.create", refusal);
    spawn("d").await.unwrap_err();
    let instance = spawn("e").await?;
    destroy(&bench, &instance).await
}

/// Virtual GPUs of one type as far as they go, a TPM, and what a guest has for itself; and nothing left of it when
/// any of it fails.
/// What placement has to know of a host's devices: what each is, how a guest gets it, and who has it.
#[tokio::test]
async fn the_devices_of_a_host() -> Result<()> {
    let bench = Bench::of(World::demo().with_hosts(2).with_devices()).await?;
    let nodes = bench.pool.driver.nodes().await?;
    let mut of = BTreeMap::new();
    for node in &nodes {
        of.insert(node.uuid.clone(), bench.pool.driver.node(node.uuid.parse()?).await?.pci);
    }
    assert_eq!(
        of.values().filter(|devices| devices.is_empty()).count(),
        1,
        "those of the other host: {of:?}"
    );
    let (home, devices) = of.into_iter().find(|(_, devices)| !devices.is_empty()).context("devices")?;
    let home: Uuid = home.parse()?;
    let told: Vec<_> = devices.iter().map(|d| (d.address.as_str(), d.offer, d.is_free())).collect();
    let wanted = [
        ("0000:02:00.0", PciOffer::Dom0, false),
        ("0000:04:00.0", PciOffer::Whole, true),
        ("0000:06:00.0", PciOffer::Whole, true),
        ("0000:06:00.1", PciOffer::Whole, true),
        ("0000:0b:00.0", PciOffer::Gpu, false),
    ];
    assert_eq!(told, wanted);
    let [card, _, storage, ..] = &devices[..] else { panic!("{devices:?}") };
    assert_eq!((card.interface.as_deref(), card.driver.as_deref()), (Some("eth0"), Some("ixgbe")));
    assert_eq!((card.class.as_str(), card.vendor.as_str()), ("Ethernet controller", "Simulated"));
    assert_eq!(storage.together_with, ["0000:06:00.1"]);

    let mut spec = spec_of(&bench, "web1", Flavor::new(1, 512, 0));
    (spec.node, spec.power) = (Some(home), Power::Off);
    spec.hardware.pci = vec!["0000:04:00.0".into()];
    let other = nodes.iter().find(|node| node.uuid != home.to_string()).context("the other host")?;
    let elsewhere = InstanceSpec { node: Some(other.uuid.parse()?), ..spec.clone() };
    let error = bench.spawn(elsewhere).await.unwrap_err();
    let wanted = format!("host {:?} has no PCI device 0000:04:00.0", other.name);
    assert!(error.stage() == Stage::Plan && error.to_string().contains(&wanted), "{error}");
    spec.hardware.gpus = vec!["GRID small".into(); 2];
    let instance = bench.spawn(spec).await?;
    let vm_uuid = bench.vm(&instance).await?.1.uuid;
    let users = async || {
        let devices = bench.pool.driver.node(home).await?.pci;
        let used = devices.into_iter().filter(|device| !device.used_by.is_empty());
        anyhow::Ok(used.map(|device| (device.address.clone(), device.used_by)).collect::<BTreeMap<_, _>>())
    };
    let power = async |change| {
        let which = Which::Instance(instance.uuid);
        bench.pool.driver.power(which, change, Progress::none()).await
    };
    let given = users().await?;
    assert_eq!(given.keys().collect::<Vec<_>>(), ["0000:04:00.0"], "as long as it is off");
    let [user] = &given["0000:04:00.0"][..] else { panic!("{given:?}") };
    assert_eq!((user.vm_uuid.as_str(), user.name.as_str(), user.is_attached), (&*vm_uuid, "web1", false));
    power(PowerChange::On).await?;
    let given = users().await?;
    assert_eq!(given.keys().collect::<Vec<_>>(), ["0000:04:00.0", "0000:0b:00.0"]);
    for users in given.values() {
        let [user] = &users[..] else { panic!("{given:?}") };
        assert!(user.is_attached && user.vm_uuid == vm_uuid, "{user:?}");
    }
    destroy(&bench, &instance).await?;
    assert_eq!(users().await?, BTreeMap::new());
    Ok(())
}

#[tokio::test]
async fn tpm_and_virtual_gpus() -> Result<()> {
    let bench = Bench::of(World::demo().with_devices()).await?;
    let client = bench.pool.client();
    let node = bench.pool.driver.nodes().await?.remove(0).uuid.parse()?;
    let gpus = client.all::<Pgpu>().await?.len();
    let known = async || anyhow::Ok(bench.pool.driver.node(node).await?.gpus);
    let free = |gpus: &[GpuInfo]| -> Vec<(String, String, i64)> {
        let kinds = gpus.iter().flat_map(|gpu| &gpu.kinds);
        kinds.map(|kind| (kind.vendor.clone(), kind.model.clone(), kind.free)).collect()
    };
    let kind = |model: &str, free| ("Simulated".to_owned(), model.to_owned(), free);
    let at_first = known().await?;
    assert_eq!((at_first.len(), gpus), (1, 1));
    assert_eq!((&*at_first[0].address, &*at_first[0].vendor), ("0000:0b:00.0", "Simulated"));
    assert_eq!(at_first[0].device, "VGA compatible controller");
    assert_eq!(free(&at_first), [kind("GRID large", 2), kind("GRID small", 4)]);
    let spec = |name: &str, gpus: &[&str]| {
        let mut spec = spec_of(&bench, name, Flavor::new(1, 512, 0));
        spec.hardware.firmware = Firmware::Uefi { secure_boot: true };
        spec.hardware.tpm = true;
        spec.hardware.gpus = gpus.iter().map(|&gpu| gpu.to_owned()).collect();
        spec.hardware.pci = vec!["0000:04:00.0".into()];
        spec
    };
    if !plays(Personality::XcpNg83) {
        let error = bench.spawn(spec("web1", &[])).await.unwrap_err().to_string();
        assert!(error.contains("has no virtual TPMs"), "{error}");
        bench.pool.census().await?.assert_as(&bench.before, "refused");
        return Ok(());
    }
    // The GPU is divided into parts of one type, also for one guest.
    let error = bench.spawn(spec("web1", &["GRID small", "GRID large"])).await.unwrap_err();
    assert!(error.stage() == Stage::Plan && error.to_string().contains("GRID large"), "{error}");
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for (method, k) in [("VGPU.create", 1), ("VGPU.create", 2), ("VTPM.create", 1), ("VM.start_on", 1)] {
        bench.pool.simulator.faults().on_nth(method, k, refusal.clone());
        let error = bench.spawn(spec("web1", &["GRID small"; 2])).await.unwrap_err();
        assert_eq!(bench.pool.simulator.faults().clear(), 0, "{method} {k}: {error}");
        assert!(error.leftovers().is_empty(), "{method} {k}: {error}");
        bench.pool.census().await?.assert_as(&bench.before, &format!("{method} {k}"));
    }
    let instance = bench.spawn(spec("web1", &["GRID small"; 3])).await?;
    let vm = bench.vm(&instance).await?.1;
    assert_eq!((vm.vgpus.len(), vm.vtpms.len()), (3, 1));
    for (device, vgpu) in vm.vgpus.iter().enumerate() {
        let vgpu = client.record(vgpu).await?;
        assert!(vgpu.currently_attached && !vgpu.resident_on.is_null(), "{vgpu:?}");
        assert_eq!(vgpu.device, device.to_string());
        assert_eq!(vgpu.other_config["nova-instance-uuid"], instance.uuid.to_string());
    }
    // One is left of the type that the GPU is divided into, and none of the other.
    assert_eq!(free(&known().await?), [kind("GRID large", 0), kind("GRID small", 1)]);
    for gpus in [&["GRID small"; 2][..], &["GRID large"], &["GRID huge"]] {
        let error = bench.spawn(spec("web2", gpus)).await.unwrap_err().to_string();
        assert!(error.contains(gpus[0]) && error.contains("0000:04:00.0"), "{error}");
    }
    let mut other = spec("web2", &["GRID small"]);
    other.hardware.pci.clear();
    other.power = Power::Off;
    let other = bench.spawn(other).await?;
    bench.pool.destroy(&other).await?;
    destroy(&bench, &instance).await?;
    let instance = bench.spawn(spec("web3", &["GRID large"; 2])).await?;
    // With another size it has them still.
    let before = bench.vm(&instance).await?.1;
    let size = ResizeOptions {
        flavor: Some(Flavor::new(2, 512, 0)),
        shutdown: Shutdown::Hard,
        ..ResizeOptions::default()
    };
    let which = || Which::Instance(instance.uuid);
    bench.pool.driver.resize(which(), size).await?;
    bench.pool.driver.confirm_resize(which(), Progress::none()).await?;
    let after = bench.vm(&instance).await?.1;
    assert_eq!((after.vcpus_max, after.vgpus, after.vtpms), (2, before.vgpus, before.vtpms));
    destroy(&bench, &instance).await
}

/// What the edition or the release lacks is told before anything is made.
#[tokio::test]
async fn what_the_edition_lacks() -> Result<()> {
    let lacking = [
        "restrict_vtpm",
        "restrict_vgpu",
        "restrict_nested_virt",
        "restrict_dmc",
        "restrict_vif_locking",
        "restrict_qos",
    ];
    let bench = Bench::of(World::demo().restricted(&lacking)).await?;
    let flavor = Flavor { memory_min_mib: Some(256), ..Flavor::new(1, 512, 0) };
    let mut spec = spec_of(&bench, "web1", flavor);
    spec.nics = vec![Nic { locking: Locking::Disabled, limit_kbytes: Some(9), ..Nic::on(NETWORK) }];
    spec.hardware =
        Hardware { tpm: true, nested: true, gpus: vec!["GRID small".into()], ..Hardware::default() };
    let error = bench.spawn(spec.clone()).await.unwrap_err().to_string();
    assert!(error.contains("a virtual TPM needs UEFI"), "{error}");
    spec.hardware.firmware = Firmware::Uefi { secure_boot: false };
    let error = bench.spawn(spec).await.unwrap_err().to_string();
    for part in [
        "no virtual TPMs",
        "no nested virtualisation",
        "no virtual GPUs",
        "no ballooning",
        "no locking of interfaces",
        "no limits of rates",
    ] {
        assert!(error.contains(part), "{part:?} is missing in {error}");
    }
    for key in lacking {
        assert!(error.contains(&format!("({key})")), "{key} is missing in {error}");
    }
    bench.pool.census().await?.assert_as(&bench.before, "in the end");
    Ok(())
}

/// As many interfaces as the network card has virtual functions, and not one more.
#[tokio::test]
async fn parts_of_a_network_card() -> Result<()> {
    if !plays(Personality::XenServer76) {
        // There are none.
        return Ok(());
    }
    let bench = Bench::of(World::demo().with_devices()).await?;
    let client = bench.pool.client();
    let network = network::Create { name_label: "fast".into(), ..network::Create::default() };
    let network = client.call(network).await?;
    let pif = client.all_records::<Pif>().await?.into_iter().find(|(_, pif)| pif.physical);
    let (pif, _) = pif.context("a network card")?;
    client.call(network_sriov::Create { pif, network: network.clone() }).await?;
    let before = bench.pool.census().await?;
    let spec = |name: &str, nics: usize| {
        let mut spec = spec_of(&bench, name, Flavor::new(1, 512, 0));
        spec.nics = vec![Nic::on("fast"); nics];
        spec
    };
    let error = bench.spawn(spec("web1", 5)).await.unwrap_err().to_string();
    assert!(error.contains("\"fast\" has 4 virtual functions free"), "{error}");
    bench.pool.census().await?.assert_as(&before, "too many");
    let instance = bench.spawn(spec("web1", 3)).await?;
    let error = bench.spawn(spec("web2", 2)).await.unwrap_err().to_string();
    assert!(error.contains("\"fast\" has 1 virtual functions free"), "{error}");
    // One that runs gets the last one, and no other: that is told before its interface is made.
    let attach = || {
        let which = Which::Instance(instance.uuid);
        bench.pool.driver.attach_interface(which, Nic::on("fast"), Progress::none())
    };
    let last = attach().await?;
    let full = bench.pool.census().await?;
    bench.pool.simulator.faults().record();
    let error = attach().await.unwrap_err();
    assert!(error.to_string().contains("\"fast\" has 0 virtual functions free"), "{error}");
    assert_eq!(e2e::pool::writes(bench.pool.simulator.faults().recorded()), [""; 0]);
    bench.pool.census().await?.assert_as(&full, "the card is full");
    bench.pool.driver.detach_interface(Which::Instance(instance.uuid), &last.mac, Progress::none()).await?;
    let pool = client.all::<xenapi_types::Pool>().await?.remove(0).to_string();
    let lacks = [("restrict_network_sriov".to_owned(), "true".into())].into_iter().collect();
    let lacks = xenapi_wire::Value::Struct(lacks);
    bench.pool.simulator.core().db().write(|tx| tx.set("pool", &pool, "restrictions", lacks))?;
    bench.pool.simulator.faults().record();
    let hot = attach().await.unwrap_err();
    let new = bench.spawn(spec("web3", 1)).await.unwrap_err();
    for error in [hot, new] {
        assert!(error.to_string().contains("no SR-IOV networks (restrict_network_sriov)"), "{error}");
    }
    assert_eq!(e2e::pool::writes(bench.pool.simulator.faults().recorded()), [""; 0]);
    bench.pool.destroy(&instance).await?;
    bench.pool.census().await?.assert_as(&before, "in the end");
    Ok(())
}

/// A host keeps memory of its own for each guest: one that fits without that is refused before a disk is made, and the
/// largest one that is not refused starts.
#[tokio::test]
async fn a_guest_takes_more_memory_than_it_is_given() -> Result<()> {
    let bench = Bench::new().await?;
    let before = bench.pool.census().await?;
    let node = bench.pool.driver.nodes().await?.into_iter().next().context("a node")?;
    let free_mib = node.memory_free_bytes >> 20;
    let error = bench.spawn(spec_of(&bench, "all", Flavor::new(4, free_mib, 0))).await.unwrap_err();
    assert_eq!(error.stage(), Stage::Plan, "{error}");
    assert!(error.to_string().contains("of memory free"), "{error}");
    bench.pool.census().await?.assert_as(&before, "refused");
    let Cause::Conflicts(conflicts) = error.cause() else { anyhow::bail!("{error}") };
    let needed = conflicts.iter().find_map(|conflict| match conflict {
        Conflict::NotEnoughMemory { needed_bytes, .. } => Some(needed_bytes >> 20),
        _ => None,
    });
    // A table grows with the guest: a few MiB less than the difference would do, too.
    let most = free_mib - (needed.context("memory")? - free_mib);
    let instance = bench.spawn(spec_of(&bench, "most", Flavor::new(4, most, 0))).await?;
    destroy(&bench, &instance).await?;
    Ok(())
}

/// What a guest has of its host is looked for on the other one before the guest is stopped or moved.
#[tokio::test]
async fn what_a_guest_has_of_its_host_has_to_be_on_the_other_one() -> Result<()> {
    let bench = Bench::of(World::demo().with_hosts(2).with_devices().with_all_drivers()).await?;
    let (driver, client) = (&bench.pool.driver, bench.pool.client());
    bench.pool.share("shared").await?;
    let with_gpu = client.all_records::<Pgpu>().await?.into_values().next().context("a GPU")?.host;
    let (here, there): (Vec<_>, Vec<_>) =
        driver.nodes().await?.into_iter().partition(|node| node.reference == with_gpu);
    let mut spec = spec_of(&bench, "web1", Flavor::new(1, 512, 0));
    (spec.node, spec.sr) = (Some(here[0].uuid.parse()?), SrChoice::NameLabel("shared".into()));
    spec.hardware.gpus = vec!["GRID small".into()];
    spec.hardware.pci = vec!["0000:04:00.0".into()];
    let has_cards = plays(Personality::XenServer76);
    if has_cards {
        let network = network::Create { name_label: "fast".into(), ..network::Create::default() };
        let network = client.call(network).await?;
        let pif = client.all_records::<Pif>().await?.into_iter();
        let (pif, _) =
            pif.filter(|(_, pif)| pif.host == with_gpu).find(|(_, pif)| pif.physical).context("a card")?;
        client.call(network_sriov::Create { pif, network }).await?;
        spec.nics = vec![Nic::on("fast")];
    }
    let instance = bench.spawn(spec).await?;
    let which = || Which::Instance(instance.uuid);
    let (before, census) = (bench.vm(&instance).await?.1, bench.pool.census().await?);
    let node: Uuid = there[0].uuid.parse()?;
    let options = ResizeOptions { node: Some(node), ..ResizeOptions::default() };
    let cold = driver.resize(which(), options).await.unwrap_err().to_string();
    let live = driver.live_migrate(which(), MigrateOptions::to(node)).await.unwrap_err().to_string();
    for text in [&cold, &live] {
        assert!(text.contains("has no PCI device 0000:04:00.0"), "{text}");
        assert!(text.contains("no GPU of host"), "{text}");
        assert_eq!(text.contains("has 0 virtual functions free"), has_cards, "{text}");
    }
    assert!(
        live.contains("PCI device 0000:04:00.0 of its host, which a guest that runs cannot leave"),
        "{live}"
    );
    assert_eq!(live.contains("virtual function of a network card of its host"), has_cards, "{live}");
    assert_eq!(bench.vm(&instance).await?.1.domid, before.domid);
    bench.pool.census().await?.assert_as(&census, "refused");
    Ok(())
}

/// Programs that know nothing of each other, each with several instances to make, and room for three in all. Whoever
/// is made starts, and whoever is refused is refused before a disk is made.
#[tokio::test]
async fn several_programs_never_promise_memory_twice() -> Result<()> {
    let bench = Bench::new().await?;
    let node = bench.pool.driver.nodes().await?.into_iter().next().context("a node")?;
    let third = (node.memory_free_bytes / 100 * 30) >> 20;
    for round in 0..3 {
        let mut spawns = tokio::task::JoinSet::new();
        for program in 0..3 {
            let driver = bench.pool.driver_with(Settings::default())?;
            for n in 0..2 {
                let spec = spec_of(&bench, &format!("web-{round}-{program}-{n}"), Flavor::new(1, third, 0));
                let driver = driver.clone();
                spawns.spawn(async move { driver.spawn(spec, SpawnOptions::default()).await });
            }
        }
        let (made, refused): (Vec<_>, Vec<_>) = spawns.join_all().await.into_iter().partition(Result::is_ok);
        assert!(!made.is_empty() && made.len() <= 3, "{} were made", made.len());
        for error in refused.into_iter().filter_map(Result::err) {
            assert_eq!(error.stage(), Stage::Plan, "{error}");
            assert!(error.to_string().contains("of memory free"), "{error}");
        }
        assert_eq!(promises(&bench).await?, [""; 0]);
        for instance in made.into_iter().flatten() {
            bench.pool.destroy(&instance).await?;
        }
        bench.pool.census().await?.assert_as(&bench.before, "after a round");
    }
    Ok(())
}

/// A program that crashed has promised memory to an instance that will never be.
#[tokio::test]
async fn a_promise_without_an_instance_is_taken_back() -> Result<()> {
    let bench = Bench::new().await?;
    let client = bench.pool.client();
    let host = client.all::<Host>().await?.pop().context("a host")?;
    let free = bench.pool.driver.nodes().await?[0].memory_free_bytes;
    for owner in ["xenapi-rs", "somebody else"] {
        let key = format!("xenapi-rs:memory:{}", Uuid::now_v7());
        client.add_to(&host, host::field::OTHER_CONFIG, key, format!("{}/{owner}", 1 << 30)).await?;
    }
    assert_eq!(bench.pool.driver.nodes().await?[0].memory_free_bytes, free - (2 << 30));
    let options = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
    let done = bench.pool.driver.reconcile(options).await?.done;
    assert_eq!(done.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [Kind::StalePromise]);
    assert_eq!(bench.pool.driver.nodes().await?[0].memory_free_bytes, free - (1 << 30));
    Ok(())
}
