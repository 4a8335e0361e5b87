//! What a machine can be like, and memory that is never promised twice.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::bench::Bench;
use e2e::pool::{NETWORK, plays};
use uuid::Uuid;
use xapi_simulator::fault::Fault;
use xapi_simulator::{Personality, World};
use xenapi_driver::reconcile::{Kind, ReconcileOptions};
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::{
    ConfigDrive, Firmware, Flavor, Hardware, InstanceSpec, Locking, Nic, Power, Vga, VmMode,
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
#[tokio::test]
async fn tpm_and_virtual_gpus() -> Result<()> {
    let bench = Bench::of(World::demo().with_devices()).await?;
    let client = bench.pool.client();
    let node = bench.pool.driver.nodes().await?.remove(0).uuid.parse()?;
    let gpus = client.all::<Pgpu>().await?.len();
    assert_eq!(bench.pool.driver.node(node).await?.gpus as usize, gpus);
    assert!(gpus > 0);
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
    let lacking =
        ["restrict_vtpm", "restrict_vgpu", "restrict_nested_virt", "restrict_dmc", "restrict_vif_locking"];
    let bench = Bench::of(World::demo().restricted(&lacking)).await?;
    let flavor = Flavor { memory_min_mib: Some(256), ..Flavor::new(1, 512, 0) };
    let mut spec = spec_of(&bench, "web1", flavor);
    spec.nics = vec![Nic { locking: Locking::Disabled, ..Nic::on(NETWORK) }];
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
    ] {
        assert!(error.contains(part), "{part:?} is missing in {error}");
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
    bench.pool.destroy(&instance).await?;
    bench.pool.census().await?.assert_as(&before, "in the end");
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
