//! What each group of options of `spawn` makes of an instance's records.

mod simulated;

use std::collections::BTreeMap;

use anyhow::Result;
use simulated::Simulated;
use xapi_simulator::World;
use xenapi_types::{VbdMode, VbdRecord, VdiRecord, VifLockingMode, VmPowerState};

#[tokio::test(flavor = "multi_thread")]
async fn the_machine() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    pool.run(
        "spawn",
        "--name web1 --image disk.raw --flavor 4:512:0 --cores-per-socket 2 --vcpu-weight 512 --vcpu-cap 150 \
         --vcpu-mask 0-1,3 --memory-min-mib 256 --firmware secure-boot --tpm --nested --device-id 0002 --vga std \
         --video-ram-mib 16 --tag team-a --tag web --power paused --uuid 6f1f8c2e-5a0a-4a53-9a3b-0d8a1ce2a8f1 --meta role=web",
    )?;
    let (_, vm) = pool.vm("web1").await?;
    let of = |map: &BTreeMap<String, String>, key: &str| map.get(key).cloned().unwrap_or_default();
    let mib = |bytes: i64| bytes >> 20;
    assert_eq!((mib(vm.memory_dynamic_min), mib(vm.memory_dynamic_max), vm.vcpus_max), (256, 512, 4));
    for (key, value) in [("weight", "512"), ("cap", "150"), ("mask", "0,1,3")] {
        assert_eq!(of(&vm.vcpus_params, key), value, "{key}");
    }
    for (key, value) in [
        ("cores-per-socket", "2"),
        ("nested-virt", "true"),
        ("device_id", "0002"),
        ("vga", "std"),
        ("videoram", "16"),
        ("secureboot", "true"),
    ] {
        assert_eq!(of(&vm.platform, key), value, "{key}");
    }
    assert_eq!(of(&vm.hvm_boot_params, "firmware"), "uefi");
    assert_eq!((vm.vtpms.len(), vm.power_state), (1, VmPowerState::Paused));
    let mut tags = vm.tags.clone();
    tags.sort();
    assert_eq!(tags, ["team-a", "web"]);
    assert_eq!(of(&vm.other_config, "nova_uuid"), "6f1f8c2e-5a0a-4a53-9a3b-0d8a1ce2a8f1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_of_the_host() -> Result<()> {
    let pool = Simulated::new(World::demo().with_devices()).await?;
    let devices = ["--gpu GRID-small", "--pci 0000:04:00.0 --pci 0000:05:00.1"].join(" ");
    let error = pool.fails("spawn", &format!("--name web1 --image disk.raw {devices}"))?;
    assert!(error.contains("GRID-small"), "{error}");
    let types = pool.client.all_records::<xenapi_types::VgpuType>().await?;
    let small =
        types.into_values().find(|kind| kind.model_name == "GRID small").expect("a type of the world");
    let devices = devices.replace("GRID-small", &small.uuid);
    let told = pool.run("pool", "devices demo-host")?;
    assert!(told.iter().any(|row| row["address"] == "0000:0b:00.0" && row["offer"] == "gpu"), "{told:?}");
    pool.run("spawn", &format!("--name web1 --image disk.raw {devices} --power off"))?;
    let (_, vm) = pool.vm("web1").await?;
    assert_eq!((vm.vgpus.len(), vm.power_state), (1, VmPowerState::Halted));
    assert_eq!(vm.other_config["pci"], "0/0000:04:00.0,1/0000:05:00.1");
    Ok(())
}

/// The disks of an instance by their places.
async fn disks(pool: &Simulated, name: &str) -> Result<BTreeMap<String, (VbdRecord, VdiRecord)>> {
    let mut disks = BTreeMap::new();
    for vbd in pool.vm(name).await?.1.vbds {
        let vbd = pool.client.record(&vbd).await?;
        let vdi = pool.client.record(&vbd.vdi).await?;
        disks.insert(vbd.userdevice.clone(), (vbd, vdi));
    }
    Ok(disks)
}

#[tokio::test(flavor = "multi_thread")]
async fn further_disks_and_volumes() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    let (sr, data) = pool.disk("data", 8 << 20).await?;
    pool.run(
        "spawn",
        &format!(
            "--name web1 --image disk.raw --swap-mib 64 --ephemeral-gib 1 \
             --volume sr={sr},vdi={data},id=data,device=xvdh,read-only --disk-tag 7=archive"
        ),
    )?;
    let disks = disks(&pool, "web1").await?;
    assert_eq!((&*disks["2"].1.name_description, disks["2"].1.virtual_size), ("swap", 64 << 20));
    assert_eq!((&*disks["4"].1.name_description, disks["4"].1.virtual_size), ("ephemeral", 1 << 30));
    let (vbd, vdi) = &disks["7"];
    assert_eq!((&vdi.uuid, vbd.mode.clone(), vbd.currently_attached), (&data, VbdMode::Ro, true));
    let listed = pool.run("volumes", "list web1")?;
    assert_eq!((listed.len(), &listed[0]["volume"]), (1, &"data".into()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn booted_from_a_volume() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    let (sr, system) = pool.disk("system", 8 << 20).await?;
    pool.run("spawn", &format!("--name web1 --boot-volume sr={sr},vdi={system},id=system"))?;
    assert_eq!(disks(&pool, "web1").await?["0"].1.uuid, system);
    pool.run("instances", "destroy web1")?;
    // It outlives the instance.
    pool.client.by_uuid::<xenapi_types::Vdi>(&system).await?;
    let error = pool.fails("spawn", &format!("--boot-volume sr={sr},vdi={system},device=3"))?;
    assert!(error.contains("a root disk has the place 0"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn interfaces_in_order() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    let port = "6f1f8c2e-5a0a-4a53-9a3b-0d8a1ce2a8f1";
    pool.run(
        "spawn",
        &format!(
            "--name web1 --image disk.raw --network xenbr0,mac=52:54:00:12:34:56,mtu=1400,qos-kbps=512,allowed=192.0.2.5,\
             allowed=2001:db8::5,address=192.0.2.5/24,gateway=192.0.2.1,port={port} --network xenbr0,locking=disabled,tag=back"
        ),
    )?;
    let mut vifs = Vec::new();
    for vif in pool.vm("web1").await?.1.vifs {
        vifs.push(pool.client.record(&vif).await?);
    }
    vifs.sort_by(|a, b| a.device.cmp(&b.device));
    let [front, back] = &vifs[..] else { panic!("{vifs:?}") };
    assert_eq!(
        (&*front.mac, front.mtu, front.locking_mode.clone()),
        ("52:54:00:12:34:56", 1400, VifLockingMode::Locked)
    );
    assert_eq!(
        (&front.ipv4_allowed[..], &front.ipv6_allowed[..]),
        (&["192.0.2.5".to_owned()][..], &["2001:db8::5".to_owned()][..])
    );
    assert_eq!((&*front.qos_algorithm_type, &*front.qos_algorithm_params["kbps"]), ("ratelimit", "512"));
    assert_eq!(front.other_config["neutron-port-id"], port);
    assert_eq!(back.locking_mode, VifLockingMode::Disabled);
    let (_, vm) = pool.vm("web1").await?;
    let told: String = vm.xenstore_data.values().cloned().collect();
    assert!(told.contains("192.0.2.5") && told.contains("192.0.2.1"), "{told}");
    Ok(())
}

/// What needs our plugins says so, before anything is made.
#[tokio::test(flavor = "multi_thread")]
async fn work_in_dom0_needs_plugins() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    let before = pool.simulator.snapshot_of_objects();
    std::fs::write(pool.files.path().join("vmlinuz"), b"a kernel")?;
    std::fs::write(pool.files.path().join("hash"), b"$6$salt$hash\n")?;
    for args in [
        "--grow require",
        "--swap-mib 64 --format-swap",
        "--ephemeral-gib 1 --ephemeral-fs ext4",
        "--inject --file /etc/motd=hash",
        "--inject-password-hash-file hash",
        "--inject-interfaces hash",
        "--vm-mode pvh --kernel vmlinuz --ramdisk vmlinuz --kernel-args quiet",
    ] {
        let error = pool.fails("spawn", &format!("--name web1 --image disk.raw {args}"))?;
        assert!(error.contains("plugin"), "{args}: {error}");
    }
    for (option, wanted) in [
        ("--format-swap", "--swap-mib"),
        ("--ephemeral-fs ext4", "--ephemeral-gib"),
        ("--inject", "--ssh-key or --file"),
    ] {
        let error = pool.fails("spawn", &format!("--name web1 --image disk.raw {option}"))?;
        assert!(error.contains("does nothing without") && error.contains(wanted), "{option}: {error}");
    }
    let error =
        pool.fails("spawn", "--name web1 --image disk.raw --ephemeral-gib 1 --ephemeral-fs reiserfs")?;
    assert!(error.contains("reiserfs") && error.contains("ext4"), "{error}");
    let objects = pool.simulator.snapshot_of_objects();
    assert_eq!([objects.get("VM"), objects.get("VDI")], [before.get("VM"), before.get("VDI")]);
    Ok(())
}

/// By its id, an image is fetched once.
#[tokio::test(flavor = "multi_thread")]
async fn from_the_cache() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    pool.run("spawn", "--name web1 --image disk.raw --image-id one")?;
    std::fs::remove_file(pool.files.path().join("disk.raw"))?;
    pool.run("spawn", "--name web2 --image disk.raw --image-id one")?;
    let images = pool.run("images", "list")?;
    assert_eq!(
        (&images[0]["images"][0]["image_id"], &images[0]["images"][0]["in_use"]),
        (&"one".into(), &true.into())
    );
    let error = pool.fails("spawn", "--name web3 --image disk.raw --image-id two")?;
    assert!(error.contains("disk.raw"), "{error}");
    Ok(())
}

/// No stage is told twice.
#[tokio::test(flavor = "multi_thread")]
async fn each_stage_ends_once() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    let told = pool.run("spawn", "--name web1 --image disk.raw")?;
    for stage in ["VM", "completion"] {
        assert!(told[0]["seconds"][stage].is_number(), "{stage}: {told:?}");
    }
    Ok(())
}
