//! What the verbs of `instances` make of an instance that `tests/verbs.rs` does not try.

mod simulated;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use examples::foreign;
use serde_json::Value;
use simulated::{Simulated, plugins};
use xapi_simulator::World;
use xapi_simulator::core::Config as Behaviour;
use xapi_simulator::fault::Fault;
use xenapi_types::{Host, Pool, Ref, Vdi, VdiRecord, Vm, VmPowerState, VmRecord, vm};
use xenapi_wire::Failure;

#[tokio::test(flavor = "multi_thread")]
async fn deleted_softly_and_restored() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    pool.run("spawn", "--name web1 --image disk.raw")?;
    assert!(pool.would("instances", "soft-delete web1")?.contains("VM"));
    assert_eq!(pool.vm("web1").await?.1.power_state, VmPowerState::Running);
    pool.run("instances", "soft-delete web1")?;
    let listed = pool.run("instances", "list")?;
    assert_eq!((&listed[0]["state"], &listed[0]["deleted"]), (&"Halted".into(), &true.into()));
    let error = pool.fails("instances", "power web1 on")?;
    assert!(error.contains("soft-deleted"), "{error}");
    assert!(!pool.would("instances", "restore web1")?.is_empty());
    pool.run("instances", "restore web1")?;
    assert_eq!(pool.run("instances", "power web1 on")?[0]["state"], "Running");
    Ok(())
}

/// A VM with a disk, as somebody's own tools make it.
async fn theirs(pool: &Simulated) -> Result<Ref<Vm>> {
    let vm = pool.client.call(foreign::vm("theirs")).await?;
    let (_, disk) = pool.disk("their disk", 4 << 20).await?;
    pool.client.call(foreign::drive(&vm, &pool.client.by_uuid::<Vdi>(&disk).await?, 0)).await?;
    pool.client.call(vm::Start { vm: vm.clone(), start_paused: false, force: false }).await?;
    Ok(vm)
}

/// The records of that VM and of its disk, but for what XAPI computes.
async fn their_records(pool: &Simulated) -> Result<(VmRecord, VdiRecord)> {
    let (_, mut vm) = pool.vm("theirs").await?;
    (vm.allowed_operations, vm.current_operations) = (Vec::new(), BTreeMap::new());
    let drive = pool.client.record(vm.vbds.first().context("a drive")?).await?;
    let mut disk = pool.client.record(&drive.vdi).await?;
    (disk.allowed_operations, disk.current_operations) = (Vec::new(), BTreeMap::new());
    Ok((vm, disk))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_of_somebody_else_is_touched_only_when_told() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    let vm = theirs(&pool).await?;
    let before = their_records(&pool).await?;
    for args in
        ["power theirs off --hard", "power theirs reboot --hard", "soft-delete theirs", "destroy theirs"]
    {
        let error = pool.fails("instances", args)?;
        assert!(error.contains(&before.0.uuid), "{args}: {error}");
        assert_eq!(format!("{:?}", their_records(&pool).await?), format!("{before:?}"), "{args}");
    }
    assert_eq!(before.0.power_state, VmPowerState::Running);

    pool.client.call(vm::HardShutdown { vm }).await?;
    let before = their_records(&pool).await?;
    assert!(pool.fails("instances", "power theirs on")?.contains(&before.0.uuid));
    // Of the verb behind it nothing can be foretold.
    let told = pool.run("instances", "power theirs on --adopt --dry-run")?;
    assert_eq!(told[0]["incomplete"], true, "{told:?}");
    let told = pool.run("instances", "adopt theirs --dry-run")?;
    assert!(told[0].get("incomplete").is_none(), "{told:?}");
    let would = pool.would("instances", "power theirs on --adopt")?;
    assert!(would.contains("xenapi-rs:owner") && would.contains(&before.0.uuid), "{would}");
    assert_eq!(format!("{:?}", their_records(&pool).await?), format!("{before:?}"), "a dry run");

    assert_eq!(pool.run("instances", "power theirs on --adopt")?[0]["state"], "Running");
    let (vm, disk) = their_records(&pool).await?;
    assert_eq!((vm.power_state, vm.uuid), (VmPowerState::Running, before.0.uuid));
    for (keys, own) in
        [(&vm.other_config, &before.0.other_config), (&disk.other_config, &before.1.other_config)]
    {
        for key in ["xenapi-rs:owner", "xenapi-rs:instance", "xenapi-rs:operation", "xenapi-rs:self"] {
            assert!(keys.contains_key(key) && !own.contains_key(key), "{key}: {keys:?}");
        }
        assert!(own.iter().all(|(key, value)| keys.get(key) == Some(value)), "{keys:?}");
    }
    assert_eq!(pool.run("instances", "list")?[0]["state"], "Running");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuilt_with_another_config_drive() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    pool.run("spawn", "--name web1 --image disk.raw --hostname old")?;
    let disks = async || -> Result<Vec<String>> {
        let mut disks = Vec::new();
        for vbd in pool.vm("web1").await?.1.vbds {
            let vbd = pool.client.record(&vbd).await?;
            disks.push((vbd.userdevice, pool.client.record(&vbd.vdi).await?.uuid));
        }
        disks.sort();
        Ok(disks.into_iter().map(|(_, uuid)| uuid).collect())
    };
    let (before, uuid) = (disks().await?, pool.vm("web1").await?.1.uuid);
    assert!(!pool.would("instances", "rebuild web1 --image disk.raw")?.is_empty());
    pool.run("instances", "rebuild web1 --image disk.raw --image-format raw --clean")?;
    let rebuilt = disks().await?;
    assert_eq!((before.len(), rebuilt.len()), (2, 2));
    assert_ne!(before[0], rebuilt[0], "a new root disk");
    assert_eq!(before[1], rebuilt[1], "the config drive stays");
    for verb in ["rebuild web1 --image disk.raw", "rescue web1 --image disk.raw", "resize web1"] {
        let error = pool.fails("instances", &format!("{verb} --hostname new"))?;
        assert!(error.contains("--hostname") && error.contains("--new-config-drive"), "{verb}: {error}");
    }
    let error = pool.fails("spawn", "--name web2 --image disk.raw --no-config-drive --hostname new")?;
    assert!(error.contains("--hostname") && error.contains("--no-config-drive"), "{error}");
    pool.run("instances", "rebuild web1 --image disk.raw --new-config-drive --hostname new --meta role=web")?;
    assert_ne!(disks().await?[1], rebuilt[1], "a new config drive");
    assert_eq!(pool.vm("web1").await?.1.uuid, uuid);
    let error = pool.fails("instances", "rebuild web1 --image none")?;
    assert!(error.contains("none"), "{error}");
    Ok(())
}

/// A host that lives is not taken for dead, whether the instance runs or not; one that died has lost what ran on it.
#[tokio::test(flavor = "multi_thread")]
async fn evacuated() -> Result<()> {
    let pool = Simulated::new(World::demo().with_hosts(2)).await?;
    let hosts = pool.client.all_records::<Host>().await?;
    let mut hosts: Vec<_> = hosts.into_values().collect();
    hosts.sort_by(|a, b| a.name_label.cmp(&b.name_label));
    pool.run("spawn", &format!("--name web1 --image disk.raw --node {}", hosts[0].uuid))?;
    let error = pool.fails("instances", &format!("evacuate web1 --to {}", hosts[1].name_label))?;
    assert!(error.contains(&hosts[0].name_label), "{error}");
    let error = pool.fails("instances", "evacuate web1 --to nowhere")?;
    assert!(
        error.contains(&format!("there are {}, {}", hosts[0].name_label, hosts[1].name_label)),
        "{error}"
    );
    pool.run("instances", "power web1 off --hard")?;
    let evacuate = format!("evacuate web1 --to {}", hosts[1].name_label);
    let error = pool.fails("instances", &evacuate)?;
    assert!(error.contains(&hosts[0].name_label), "{error}");
    let metrics = hosts[0].metrics.to_string();
    pool.simulator.core().db().write(|tx| tx.set("host_metrics", &metrics, "live", false))?;
    let error = pool.fails("instances", &evacuate)?;
    assert!(error.contains("disk"), "its root disk died with the host: {error}");
    Ok(())
}

/// The config drive, on the dead host's own repository, is lost: the root disk, on a share, is not.
#[tokio::test(flavor = "multi_thread")]
async fn evacuated_from_a_dead_host_with_a_new_config_drive() -> Result<()> {
    let pool = Simulated::new(World::demo().with_hosts(2).with_all_drivers()).await?;
    let shared = pool.share("shared").await?;
    let hosts = pool.client.all_records::<Host>().await?;
    let told = pool.client.all_records::<Pool>().await?.into_values().next().context("a pool")?;
    let local = pool.client.record(&told.default_sr).await?.uuid;
    let home = told.master;
    let there = hosts.iter().find(|(host, _)| **host != home).context("another host")?.1.clone();
    let home = hosts[&home].clone();
    pool.run(
        "spawn",
        &format!("--name web1 --image disk.raw --hostname old --sr shared --node {}", home.uuid),
    )?;
    let drive = async || -> Result<VdiRecord> {
        for vbd in pool.vm("web1").await?.1.vbds {
            let vbd = pool.client.record(&vbd).await?;
            if vbd.userdevice == "3" {
                return Ok(pool.client.record(&vbd.vdi).await?);
            }
        }
        anyhow::bail!("no config drive")
    };
    pool.run("instances", &format!("resize web1 --hard --disk {}={local}", drive().await?.uuid))?;
    pool.run("instances", "confirm web1")?;
    let lost = drive().await?;
    let metrics = home.metrics.to_string();
    pool.simulator.core().db().write(|tx| tx.set("host_metrics", &metrics, "live", false))?;
    let evacuate = format!("evacuate web1 --to {}", there.name_label);
    let error = pool.fails("instances", &evacuate)?;
    assert!(error.contains(&lost.uuid) && error.contains("--new-config-drive"), "{error}");
    let evacuate = format!("{evacuate} --new-config-drive --hostname new --meta role=web");
    assert!(pool.would("instances", &evacuate)?.contains("a new config drive"));
    pool.run("instances", &evacuate)?;
    let vm = pool.vm("web1").await?.1;
    assert_eq!(
        (vm.power_state, &*pool.client.record(&vm.resident_on).await?.uuid),
        (VmPowerState::Running, &*there.uuid)
    );
    let made = drive().await?;
    assert!(made.uuid != lost.uuid && made.sr == shared, "{made:?}");
    pool.run("instances", "check-drive web1")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_in_the_guest() -> Result<()> {
    let folder = tempfile::tempdir()?;
    plugins::write(folder.path())?;
    let behaviour = Behaviour { plugins: Some(folder.path().to_owned()), ..Behaviour::default() };
    let pool = Simulated::behaving(World::demo(), behaviour).await?;
    pool.run("spawn", "--name web1 --image disk.raw")?;
    std::fs::write(pool.files.path().join("password"), "tiger\n")?;
    let fields: [&[u8]; 3] = [b"ssh-rsa", &[3], &[0xff; 128]];
    let field = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
    let key = format!("ssh-rsa {} me\n", BASE64_STANDARD.encode(fields.map(field).concat()));
    std::fs::write(pool.files.path().join("key"), key)?;
    let asked = || std::fs::read_to_string(folder.path().join("asked")).unwrap_or_default();

    for (args, steps) in [
        ("set-password web1 --admin-password-file password", "key_init"),
        ("inject-file web1 /etc/motd password", "inject_file"),
        ("reset-network web1", "resetnetwork"),
    ] {
        assert!(pool.would("instances", args)?.contains(steps), "{args}");
    }
    let seal = "set-password web1 --admin-password-file password --seal-for";
    assert!(pool.would("instances", &format!("{seal} key"))?.contains("sealed"));
    let error = pool.fails("instances", &format!("{seal} password"))?;
    assert!(error.contains("the ssh key cannot be read"), "{error}");
    assert_eq!(asked(), "", "nobody is asked by a dry run, nor where the key is none");

    assert_eq!(pool.run("instances", "agent-version web1")?[0]["version"], "1.39.1");
    pool.run("instances", "inject-file web1 /etc/motd password")?;
    assert!(asked().contains("inject_file") && asked().contains("L2V0Yy9tb3Rk"), "the path in base64");
    pool.run("instances", "reset-network web1 --hostname front")?;
    assert!(asked().contains("resetnetwork"));
    let update = "update-agent web1 1.40,url=http://agents/1.40,md5=0f";
    assert!(pool.run("instances", update)?[0]["state"].as_str().is_some_and(|told| told.contains("by 1.40")));
    assert!(asked().contains("http://agents/1.40"));
    let older = update.replace("1.40", "1.2");
    assert!(pool.run("instances", &older)?[0]["state"].as_str().is_some_and(|told| told.contains("stays")));
    pool.run("instances", "set-password web1 --admin-password-file password")?;
    assert!(asked().contains("enc_pass") && !asked().contains("tiger"));
    assert!(pool.run("instances", "sealed-password web1")?[0]["sealed_password"].is_null());
    Ok(())
}

/// Each event as it comes, with names for its parts; a pool that is lost is no end in good order.
#[tokio::test(flavor = "multi_thread")]
async fn watched_as_it_happens() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    pool.run("spawn", "--name web1 --image disk.raw")?;
    pool.run("instances", &format!("traffic web1 --last {}", u64::MAX))?;
    let waits = *pool.simulator.event_waits().borrow();
    let mut child = pool.command("instances", "watch")?.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
    pool.simulator.event_waits().wait_for(|now| *now > waits).await?;
    pool.run("instances", "power web1 pause")?;
    let told = tokio::task::block_in_place(|| lines.next()).context("an event")??;
    let told: Value = serde_json::from_str(&told)?;
    let uuid = pool.vm("web1").await?.1.uuid;
    assert_eq!((&told["name"], &told["vm"]), (&"web1".into(), &uuid.into()), "{told}");
    assert_eq!(
        (&told["event"], &told["from"], &told["to"]),
        (&"power".into(), &"Running".into(), &"Paused".into()),
        "{told}"
    );
    pool.lock_out();
    let ended = tokio::task::block_in_place(|| child.wait())?;
    ensure!(ended.code() == Some(1), "{ended:?}");
    let last = tokio::task::block_in_place(|| lines.next()).context("an error")??;
    assert!(last.contains("the pool is followed no more"), "{last}");
    Ok(())
}

/// What reconcile cannot put in order is told, and is no success.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reconciled() -> Result<()> {
    let pool = Simulated::new(World::demo()).await?;
    pool.run("spawn", "--name web1 --image disk.raw")?;
    let (vm, _) = pool.vm("web1").await?;
    pool.client.add_to(&vm, vm::field::OTHER_CONFIG, "xenapi-rs:unfinished", "true").await?;
    let refusal = Failure::new("INTERNAL_ERROR", ["out of order"]);
    pool.simulator.faults().on_every("VM.destroy", Fault::Failure(refusal));
    let output = pool.tool("instances", "reconcile --older-than 0")?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    assert!(str::from_utf8(&output.stdout)?.contains("\"failed\""), "{output:?}");
    Ok(())
}
