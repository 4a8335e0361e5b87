//! Rescued, rebuilt, evacuated: the instance is what it was, or what it was to become, and nothing between.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::pool::{NETWORK, Pool, writes};
use examples::demo_image::DemoImage;
use tempfile::TempDir;
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xenapi_driver::evacuate::EvacuateOptions;
use xenapi_driver::plan::Conflict;
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::{RebuildOptions, ResizeOptions};
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Nic, SrChoice};
use xenapi_driver::{Cause, PowerChange, Progress, Shutdown, Which};
use xenapi_types::{Ref, Vbd, VbdRecord, Vdi, Vm, VmPowerState, vbd, vdi, vm};
use xenapi_wire::Failure;

struct Bench {
    pool: Pool,
    _files: TempDir,
    image: PathBuf,
    rescue: PathBuf,
    which: Which,
    vm: Ref<Vm>,
}

/// The power, the keys, the disks by their places with their names and modes, and all disks that there are.
type State = (VmPowerState, BTreeMap<String, String>, BTreeMap<String, (String, bool)>, Vec<String>);

impl Bench {
    async fn new() -> Result<Self> {
        Self::of(World::demo(), SrChoice::PoolDefault).await
    }

    async fn of(world: World, sr: SrChoice) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let (image, rescue) = (files.path().join("demo.img"), files.path().join("rescue.img"));
        DemoImage { virtual_bytes: 64 << 20, payload_bytes: 1 << 20 }.write(&image)?;
        DemoImage { virtual_bytes: 40 << 20, payload_bytes: 1 << 20 }.write(&rescue)?;
        let pool = Pool::of(world).await?;
        let home = pool.client().all_records::<xenapi_types::Pool>().await?;
        let home = home.into_values().next().context("a pool")?.master;
        if let SrChoice::NameLabel(name) = &sr {
            pool.share(name).await?;
        }
        let nodes = pool.driver.nodes().await?;
        let node = nodes.iter().find(|node| node.reference == home).context("a node")?;
        let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), &image);
        (spec.node, spec.sr) = (Some(node.uuid.parse()?), sr);
        spec.nics = vec![Nic::on(NETWORK)];
        spec.config_drive = Some(ConfigDrive::default());
        let instance = pool.spawn(spec).await?;
        let vm = pool.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
        Ok(Self { pool, _files: files, image, rescue, which: Which::Instance(instance.uuid), vm })
    }

    async fn state(&self) -> Result<State> {
        let client = self.pool.client();
        let record = client.record(&self.vm).await?;
        let mut places = BTreeMap::new();
        for vbd in &record.vbds {
            let vbd = client.record::<Vbd>(vbd).await?;
            let name = client.get_field(&vbd.vdi, vdi::field::UUID).await?;
            places.insert(vbd.userdevice, (name, vbd.bootable));
        }
        let disks = client.all_records::<Vdi>().await?.into_values().filter(|vdi| vdi.managed);
        let mut disks: Vec<String> = disks.map(|vdi| vdi.uuid).collect();
        disks.sort();
        let mut keys = record.other_config;
        keys.remove("last_dom_id");
        Ok((record.power_state, keys, places, disks))
    }

    async fn rescue(&self) -> xenapi_driver::Result<()> {
        self.pool.driver.rescue(self.which.clone(), RescueOptions::with(&self.rescue)).await
    }

    async fn unrescue(&self) -> xenapi_driver::Result<()> {
        self.pool.driver.unrescue(self.which.clone(), Progress::none()).await
    }

    async fn rebuild(&self) -> xenapi_driver::Result<()> {
        self.pool.driver.rebuild(self.which.clone(), RebuildOptions::with(&self.rescue)).await.map(drop)
    }
}

#[tokio::test]
async fn rescued_and_back() -> Result<()> {
    let bench = Bench::new().await?;
    let before = bench.state().await?;
    bench.rescue().await?;
    let (power, _, places, disks) = bench.state().await?;
    assert_eq!((power, disks.len()), (VmPowerState::Running, before.3.len() + 1));
    assert_eq!(places["1"], (before.2["0"].0.clone(), false), "its own root disk is beside the rescue disk");
    assert!(places["0"].1 && places["0"].0 != before.2["0"].0);
    assert_eq!(places["3"], before.2["3"]);
    assert!(bench.pool.driver.instance(&bench.which).await?.rescued);
    let error = bench.rescue().await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Rescued { .. }), "{error}");
    let error = bench.pool.driver.resize(bench.which.clone(), ResizeOptions::default()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Rescued { .. }), "{error}");
    bench.unrescue().await?;
    assert_eq!(bench.state().await?, before);
    let error = bench.unrescue().await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NotRescued { .. }), "{error}");

    // One that was off is off again.
    let off = PowerChange::Off(Shutdown::Hard);
    bench.pool.driver.power(bench.which.clone(), off, Progress::none()).await?;
    let before = bench.state().await?;
    bench.rescue().await?;
    assert_eq!(bench.state().await?.0, VmPowerState::Running);
    bench.unrescue().await?;
    assert_eq!(bench.state().await?, before);
    Ok(())
}

/// What the rescue disk has is all that the instance has then.
#[tokio::test]
async fn without_its_own_root_disk_it_keeps_the_rescue_disk() -> Result<()> {
    let bench = Bench::new().await?;
    bench.rescue().await?;
    let client = bench.pool.client();
    bench.pool.driver.power(bench.which.clone(), PowerChange::Off(Shutdown::Hard), Progress::none()).await?;
    let root = bench.state().await?.2["1"].0.clone();
    client.destroy(&client.by_uuid::<Vdi>(&root).await?).await?;
    let before = bench.state().await?;
    let error = bench.unrescue().await.unwrap_err().to_string();
    assert!(error.contains(&format!("without its own root disk {root}")), "{error}");
    assert!(error.contains("remove the key xenapi-rs:rescue"), "{error}");
    let (power, mut keys, places, disks) = bench.state().await?;
    keys.remove("xenapi-rs:rescue-ending");
    assert_eq!((power, keys, places, disks), before);

    // As it says: then it is an instance as any other.
    for key in ["xenapi-rs:rescue", "xenapi-rs:rescue-ending"] {
        client.remove_from(&bench.vm, vm::field::OTHER_CONFIG, key).await?;
    }
    let all = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
    let reconciled = bench.pool.driver.reconcile(all).await?;
    assert!(reconciled.leftovers.is_empty(), "{reconciled:?}");
    assert_eq!((bench.state().await?.2, bench.state().await?.3), (before.2, before.3));
    bench.pool.driver.power(bench.which.clone(), PowerChange::On, Progress::none()).await?;
    Ok(())
}

/// The drives as they were set up, but for their uuids and what comes and goes with the guest.
async fn drives(bench: &Bench) -> Result<BTreeMap<String, VbdRecord>> {
    let client = bench.pool.client();
    let mut drives = BTreeMap::new();
    for vbd in client.record(&bench.vm).await?.vbds {
        let vbd = client.record(&vbd).await?;
        let mut like = VbdRecord::default();
        (like.vdi, like.bootable, like.mode) = (vbd.vdi, vbd.bootable, vbd.mode);
        (like.unpluggable, like.other_config) = (vbd.unpluggable, vbd.other_config);
        like.qos_algorithm_type = vbd.qos_algorithm_type;
        like.qos_algorithm_params = vbd.qos_algorithm_params;
        drives.insert(vbd.userdevice, like);
    }
    Ok(drives)
}

/// What somebody has set of a drive belongs to its place: it is there again afterwards, and goes along to another disk.
#[tokio::test]
async fn a_drive_keeps_what_was_set_of_it() -> Result<()> {
    let bench = Bench::new().await?;
    let client = bench.pool.client();
    for vbd in client.record(&bench.vm).await?.vbds {
        client.set_field(&vbd, vbd::field::QOS_ALGORITHM_TYPE, "ionice".to_owned()).await?;
        client.add_to(&vbd, vbd::field::QOS_ALGORITHM_PARAMS, "sched", "rt").await?;
        client.add_to(&vbd, vbd::field::OTHER_CONFIG, "theirs", "stays").await?;
        client.set_field(&vbd, vbd::field::UNPLUGGABLE, false).await?;
    }
    let before = drives(&bench).await?;
    bench.rescue().await?;
    bench.unrescue().await?;
    assert_eq!(drives(&bench).await?, before, "after a rescue");
    let larger = || ResizeOptions { flavor: Some(Flavor::new(1, 512, 1)), ..ResizeOptions::default() };
    let driver = &bench.pool.driver;
    driver.resize(bench.which.clone(), larger()).await?;
    let root = drives(&bench).await?["0"].clone();
    assert_ne!(root.vdi, before["0"].vdi);
    assert_eq!((&*root.other_config["theirs"], &*root.qos_algorithm_params["sched"]), ("stays", "rt"));
    assert!(!root.unpluggable);
    driver.revert_resize(bench.which.clone(), Progress::none()).await?;
    assert_eq!(drives(&bench).await?, before, "after a resize");
    Ok(())
}

#[tokio::test]
async fn an_instance_that_is_destroyed_while_it_is_rescued_leaves_nothing() -> Result<()> {
    let bench = Bench::new().await?;
    bench.rescue().await?;
    let destroyed = bench.pool.driver.destroy(bench.which.clone(), Progress::none()).await?;
    assert_eq!((destroyed.disk_uuids.len(), destroyed.kept_disk_uuids.len()), (3, 0));
    assert!(bench.pool.client().all_records::<Vdi>().await?.values().all(|vdi| !vdi.managed));
    Ok(())
}

#[tokio::test]
async fn rebuilt_with_another_image() -> Result<()> {
    let bench = Bench::new().await?;
    let before = bench.state().await?;
    bench.rebuild().await?;
    let after = bench.state().await?;
    assert_eq!((&after.0, &after.1, after.3.len()), (&before.0, &before.1, before.3.len()));
    assert_ne!(after.2["0"].0, before.2["0"].0);
    assert_eq!(after.2["3"], before.2["3"]);
    let root = bench.pool.client().by_uuid::<Vdi>(&after.2["0"].0).await?;
    assert_eq!(bench.pool.client().get_field(&root, vdi::field::VIRTUAL_SIZE).await?, 64 << 20);
    let destroyed = bench.pool.driver.destroy(bench.which.clone(), Progress::none()).await?;
    assert_eq!((destroyed.disk_uuids.len(), destroyed.kept_disk_uuids.len()), (2, 0));
    Ok(())
}

#[tokio::test]
async fn an_image_that_does_not_fit_is_told_before_the_guest_is_touched() -> Result<()> {
    let bench = Bench::new().await?;
    let before = bench.state().await?;
    DemoImage { virtual_bytes: 128 << 20, payload_bytes: 1 << 20 }.write(&bench.image)?;
    let large = RebuildOptions::with(&bench.image);
    let error = bench.pool.driver.rebuild(bench.which.clone(), large).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Conflicts(_)), "{error}");
    let missing = RescueOptions::with("no/such/image");
    let error = bench.pool.driver.rescue(bench.which.clone(), missing).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Image(_)), "{error}");
    assert!(error.leftovers().is_empty());
    assert_eq!(bench.state().await?, before);
    Ok(())
}

/// What rescuing and rebuilding ask of the host, in common.
const CALLS: &[(&str, usize)] = &[
    ("VM.add_to_other_config", 1),
    ("VDI.create", 1),
    ("/import_raw_vdi", 1),
    ("VM.hard_shutdown", 1),
    ("VBD.destroy", 1),
    ("VBD.create", 1),
    ("VM.start_on", 1),
];

#[tokio::test]
async fn a_fault_at_every_call_leaves_all_as_it_was() -> Result<()> {
    let bench = Bench::new().await?;
    let mut before = bench.state().await?;
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for is_rescue in [true, false] {
        // The rescue disk comes in first, and its own root disk beside it.
        let more = if is_rescue { &[("VBD.create", 2)][..] } else { &[] };
        for &(method, k) in CALLS.iter().chain(more) {
            for fault in [&refusal, &Fault::DropAfterExecution] {
                // A task whose reference was lost goes on.
                let is_task = matches!(method, "VM.hard_shutdown" | "VM.start_on");
                if is_task && *fault == Fault::DropAfterExecution {
                    continue;
                }
                let faults = bench.pool.simulator.faults();
                faults.on_nth(method, k, fault.clone());
                let result = if is_rescue { bench.rescue().await } else { bench.rebuild().await };
                assert_eq!(faults.clear(), 0, "{method} was called less than {k} times");
                match result {
                    // What can be asked again without harm is, when its answer is lost.
                    Ok(()) if *fault == Fault::DropAfterExecution && is_rescue => bench.unrescue().await?,
                    Ok(()) if *fault == Fault::DropAfterExecution => {
                        let rebuilt = bench.state().await?;
                        assert_eq!(rebuilt.3.len(), before.3.len());
                        before = rebuilt;
                    }
                    Ok(()) => panic!("{method} {k} does not matter"),
                    Err(error) => assert!(error.leftovers().is_empty(), "{method} {k} {fault:?}: {error}"),
                }
                assert_eq!(bench.state().await?, before, "{method} {k} {fault:?}, rescue: {is_rescue}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_put_back_any_more_is_finished() -> Result<()> {
    let bench = Bench::new().await?;
    let before = bench.state().await?;
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    // The old root disk is removed, and that is not heard of; the same, and then the journal cannot be closed.
    for (method, k, fault) in
        [("VDI.destroy", 1, Fault::DropAfterExecution), ("VM.remove_from_other_config", 2, refusal)]
    {
        let faults = bench.pool.simulator.faults();
        faults.on_nth(method, k, fault);
        let root = bench.state().await?.2["0"].clone();
        let result = bench.rebuild().await;
        assert_eq!(faults.clear(), 0, "{method} was called less than {k} times");
        let after = bench.state().await?;
        assert_eq!(after.0, before.0, "{method}: {result:?}");
        assert!(!after.1.keys().any(|key| key.contains("resize")), "{method}: {:?}", after.1);
        assert_ne!(after.2["0"], root, "{method}: it has the new root disk");
        assert_eq!(after.3.len(), before.3.len(), "{method}");
    }
    Ok(())
}

#[tokio::test]
async fn a_rescue_that_broke_off_is_ended_later() -> Result<()> {
    let bench = Bench::new().await?;
    let before = bench.state().await?;
    let refusal = || Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    let faults = bench.pool.simulator.faults();
    faults.on("VM.start_on", refusal());
    // The undo fails as well, as if the program had been killed.
    faults.on("VM.get_power_state", refusal());
    let error = bench.rescue().await.unwrap_err();
    assert_eq!(error.leftovers().len(), 1, "{error}");
    bench.unrescue().await?;
    assert_eq!(bench.state().await?, before);
    Ok(())
}

#[tokio::test]
async fn evacuated_from_a_dead_host() -> Result<()> {
    let world = World::demo().with_hosts(2).with_all_drivers();
    let bench = Bench::of(world, SrChoice::NameLabel("shared".into())).await?;
    let client = bench.pool.client();
    let record = client.record(&bench.vm).await?;
    let nodes = bench.pool.driver.nodes().await?;
    let there = nodes.iter().find(|node| node.reference != record.resident_on).context("two nodes")?;
    let there_uuid = there.uuid.parse()?;
    let evacuate = || bench.pool.driver.evacuate(bench.which.clone(), EvacuateOptions::to(there_uuid));
    let error = evacuate().await.unwrap_err();
    assert!(matches!(error.cause(), Cause::HostLives { .. }), "{error}");
    assert_eq!(client.record(&bench.vm).await?.domid, record.domid);
    let metrics = client.record(&record.resident_on).await?.metrics.to_string();
    bench.pool.simulator.core().db().write(|tx| tx.set("host_metrics", &metrics, "live", false))?;
    // A host that takes no guests, and one that nobody knows.
    bench.pool.driver.set_node_enabled(there_uuid, false, Progress::none()).await?;
    let before = bench.pool.census().await?;
    for there in [there_uuid, uuid::Uuid::new_v4()] {
        bench.pool.simulator.faults().record();
        let evacuating = bench.pool.driver.evacuate(bench.which.clone(), EvacuateOptions::to(there));
        let error = evacuating.await.unwrap_err();
        assert_eq!(writes(bench.pool.simulator.faults().recorded()), [""; 0], "{error}");
        let Cause::Conflicts(conflicts) = error.cause() else { panic!("{error}") };
        let is_disabled = |conflict: &Conflict| matches!(conflict, Conflict::NodeDisabled { .. });
        assert_eq!(conflicts.iter().any(is_disabled), there == there_uuid, "{error}");
        bench.pool.census().await?.assert_as(&before, &error.to_string());
    }
    bench.pool.driver.set_node_enabled(there_uuid, true, Progress::none()).await?;
    let plan = bench
        .pool
        .driver
        .dry_run(|driver| driver.evacuate(bench.which.clone(), EvacuateOptions::to(there_uuid)))
        .await?;
    assert_eq!(plan.steps.len(), 2, "{plan}");
    assert_eq!(client.record(&bench.vm).await?.resident_on, record.resident_on, "nothing was done");
    evacuate().await?;
    let after = client.record(&bench.vm).await?;
    assert_eq!((after.power_state, &after.resident_on), (VmPowerState::Running, &there.reference));
    assert_eq!(after.affinity, there.reference);
    Ok(())
}

#[tokio::test]
async fn not_evacuated_where_the_disks_are_gone_with_the_host() -> Result<()> {
    let bench = Bench::of(World::demo().with_hosts(2), SrChoice::PoolDefault).await?;
    let client = bench.pool.client();
    let record = client.record(&bench.vm).await?;
    let nodes = bench.pool.driver.nodes().await?;
    let there = nodes.iter().find(|node| node.reference != record.resident_on).context("two nodes")?;
    let metrics = client.record(&record.resident_on).await?.metrics.to_string();
    bench.pool.simulator.core().db().write(|tx| tx.set("host_metrics", &metrics, "live", false))?;
    let error = bench
        .pool
        .driver
        .evacuate(bench.which.clone(), EvacuateOptions::to(there.uuid.parse()?))
        .await
        .unwrap_err();
    assert!(matches!(error.cause(), Cause::DiskLost { disk, .. } if disk.starts_with("disk ")), "{error}");
    assert_eq!(client.record(&bench.vm).await?.power_state, VmPowerState::Running, "nothing was done");
    Ok(())
}
