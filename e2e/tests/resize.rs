//! Another size and another host: complete, confirmed or reverted, and as before when anything fails.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use e2e::bench::{Bench, Running};
use e2e::pool::{LVM, NETWORK, foreign_drive};
use tokio::sync::mpsc;
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xenapi_client::ExportFormat;
use xenapi_driver::reconcile::{Kind, ReconcileOptions};
use xenapi_driver::resize::{ResizeOptions, ResizeState};
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Nic, SrChoice};
use xenapi_driver::volume::{AttachOptions, Storage, Volume, VolumeDisk};
use xenapi_driver::{Cause, Event, PowerChange, Progress, Settings, Shutdown, Stage, Which};
use xenapi_types::{Host, Ref, Sr, Vbd, Vdi, VdiType, Vm, VmPowerState, sr, vbd, vdi, vm};
use xenapi_wire::Failure;

const MIB: u64 = 1 << 20;

/// What must be the same before and after a resize that was reverted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    shape: (i64, i64, i64, i64, BTreeMap<String, String>),
    power: VmPowerState,
    /// Uuids of disks by their places.
    disks: BTreeMap<String, String>,
    /// The disks of the pool, with their keys.
    all_disks: BTreeMap<String, BTreeMap<String, String>>,
    keys: BTreeMap<String, String>,
    affinity: Ref<Host>,
}

/// An instance on the first host.
async fn bench() -> Result<Running> {
    bench_of(World::demo()).await
}

async fn bench_of(world: World) -> Result<Running> {
    let own = Bench::of(world).await?;
    let mut spec = own.spec();
    spec.node = Some(own.nodes().await?[0].uuid.parse()?);
    spec.nics = vec![Nic::on(NETWORK)];
    spec.config_drive = Some(ConfigDrive::default());
    own.start(spec).await
}

async fn state(bench: &Running) -> Result<State> {
    let client = bench.pool.client();
    let record = bench.record().await?;
    let mut disks = BTreeMap::new();
    for vbd in &record.vbds {
        let vbd = client.record::<Vbd>(vbd).await?;
        disks.insert(vbd.userdevice, client.get_field(&vbd.vdi, vdi::field::UUID).await?);
    }
    let all_disks = client.all_records::<Vdi>().await?.into_values().filter(|vdi| vdi.managed);
    let mut keys = record.other_config.clone();
    keys.remove("last_dom_id");
    Ok(State {
        shape: (
            record.vcpus_max,
            record.vcpus_at_startup,
            record.memory_static_max,
            record.memory_dynamic_min,
            record.vcpus_params.clone(),
        ),
        power: record.power_state.clone(),
        disks,
        all_disks: all_disks.map(|vdi| (vdi.uuid, without_content(vdi.other_config))).collect(),
        keys,
        affinity: record.affinity.clone(),
    })
}

async fn resize(
    bench: &Running,
    options: ResizeOptions,
) -> xenapi_driver::Result<xenapi_driver::resize::Resized> {
    bench.pool.driver.resize(bench.which.clone(), options).await
}

async fn confirm(bench: &Running) -> xenapi_driver::Result<()> {
    bench.pool.driver.confirm_resize(bench.which.clone(), Progress::none()).await.map(drop)
}

async fn revert(bench: &Running) -> xenapi_driver::Result<()> {
    bench.pool.driver.revert_resize(bench.which.clone(), Progress::none()).await
}

/// The bytes of the disk at a place, as many as the image has. The guest must not run.
async fn content(bench: &Running, place: &str) -> Result<Vec<u8>> {
    const LEN: usize = 64 << 20;
    let uuid = state(bench).await?.disks.get(place).context("a disk")?.clone();
    let vdi = bench.pool.client().by_uuid::<Vdi>(&uuid).await?;
    let mut bytes = Vec::new();
    let mut export = bench.pool.client().export_vdi(&vdi, ExportFormat::Raw, None).await?;
    while let Some(chunk) = export.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= LEN {
            break;
        }
    }
    bytes.truncate(LEN);
    Ok(bytes)
}

async fn pending(bench: &Running) -> Result<Option<ResizeState>> {
    Ok(bench.pool.driver.instance(&bench.which).await?.resize)
}

/// XAPI writes a new `content_id` whenever it copies.
fn without_content(mut keys: BTreeMap<String, String>) -> BTreeMap<String, String> {
    keys.remove("content_id");
    keys
}

fn larger() -> ResizeOptions {
    let flavor = Flavor { vcpu_weight: Some(512), ..Flavor::new(2, 1024, 1) };
    ResizeOptions { flavor: Some(flavor), shutdown: Shutdown::Hard, ..ResizeOptions::default() }
}

#[tokio::test]
async fn up_and_confirmed() -> Result<()> {
    let bench = bench().await?;
    let before = state(&bench).await?;
    let resized = resize(&bench, larger()).await?;
    assert_eq!((resized.power_state, resized.replaced_disks), (VmPowerState::Running, 1));
    assert_eq!(pending(&bench).await?, Some(ResizeState::Done));
    let record = bench.record().await?;
    assert_eq!((record.vcpus_max, record.vcpus_at_startup), (2, 2));
    assert_eq!(record.memory_static_max, 1 << 30);
    assert_eq!(record.vcpus_params.get("weight").map(String::as_str), Some("512"));
    let error = resize(&bench, larger()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::ResizePending { .. }), "{error}");

    confirm(&bench).await?;
    let after = state(&bench).await?;
    assert_eq!(pending(&bench).await?, None);
    assert_eq!(after.keys, before.keys, "the journal is gone");
    assert_eq!(after.all_disks.len(), before.all_disks.len(), "the old root disk is gone");
    assert!(!after.all_disks.contains_key(&before.disks["0"]));
    let root = bench.pool.client().by_uuid::<Vdi>(&after.disks["0"]).await?;
    assert_eq!(bench.pool.client().get_field(&root, vdi::field::VIRTUAL_SIZE).await?, 1 << 30);
    let error = confirm(&bench).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NotResized { .. }), "{error}");
    // All of it is still the driver's.
    let destroyed = bench.pool.driver.destroy(bench.which.clone(), Progress::none()).await?;
    assert_eq!((destroyed.disk_uuids.len(), destroyed.kept_disk_uuids.len()), (2, 0));
    Ok(())
}

#[tokio::test]
async fn up_and_reverted() -> Result<()> {
    let bench = bench().await?;
    let before = state(&bench).await?;
    resize(&bench, larger()).await?;
    revert(&bench).await?;
    assert_eq!(state(&bench).await?, before);
    let error = revert(&bench).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NotResized { .. }), "{error}");
    Ok(())
}

/// Sizes of the disks by their places, in MiB.
async fn sizes(bench: &Running) -> Result<BTreeMap<String, i64>> {
    let mut sizes = BTreeMap::new();
    for (place, uuid) in state(bench).await?.disks {
        let vdi = bench.pool.client().by_uuid::<Vdi>(&uuid).await?;
        sizes.insert(place, bench.pool.client().get_field(&vdi, vdi::field::VIRTUAL_SIZE).await? >> 20);
    }
    Ok(sizes)
}

/// Disks for swap and data are added and grow with the flavor, and are never smaller.
#[tokio::test]
async fn disks_for_swap_and_data_grow_and_are_added() -> Result<()> {
    let bench = bench().await?;
    let (driver, faults) = (&bench.pool.driver, bench.pool.simulator.faults());
    let to = |swap_mib, ephemeral_gib| ResizeOptions {
        flavor: Some(Flavor { swap_mib, ephemeral_gib, ..Flavor::new(1, 512, 0) }),
        shutdown: Shutdown::Hard,
        ..ResizeOptions::default()
    };
    let before = state(&bench).await?;
    let plan = driver.dry_run(|driver| driver.resize(bench.which.clone(), to(8, 1))).await?;
    assert!(plan.steps.iter().any(|step| step.contains("of 1024 MiB at device 4")), "{plan}");
    let refusal = || Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for (method, k) in
        [("VDI.create", 1), ("VDI.create", 2), ("VBD.create", 1), ("VBD.create", 2), ("VM.start_on", 1)]
    {
        faults.on_nth(method, k, refusal());
        let error = resize(&bench, to(8, 1)).await.unwrap_err();
        assert!(error.leftovers().is_empty(), "{method} {k}: {error}");
        assert_eq!(state(&bench).await?, before, "{method} {k}");
    }
    resize(&bench, to(8, 1)).await?;
    revert(&bench).await?;
    assert_eq!(state(&bench).await?, before);
    resize(&bench, to(8, 1)).await?;
    confirm(&bench).await?;
    let now = sizes(&bench).await?;
    assert_eq!([now["2"], now["4"]], [8, 1024]);
    assert_eq!(now.len(), before.disks.len() + 2);

    // As they are, and as large as they are.
    let before = state(&bench).await?;
    for same in [to(0, 0), to(8, 1)] {
        assert_eq!(resize(&bench, same).await?.replaced_disks, 0);
        revert(&bench).await?;
        assert_eq!(state(&bench).await?, before);
    }
    let domid = bench.record().await?.domid;
    resize(&bench, to(16, 3)).await?;
    revert(&bench).await?;
    assert_eq!(state(&bench).await?, before);
    assert_ne!(bench.record().await?.domid, domid);
    resize(&bench, to(16, 3)).await?;
    confirm(&bench).await?;
    let now = sizes(&bench).await?;
    assert_eq!([now["2"], now["4"]], [16, 3072]);
    let (before, domid) = (state(&bench).await?, bench.record().await?.domid);
    for smaller in [to(8, 0), to(0, 2)] {
        let error = resize(&bench, smaller).await.unwrap_err();
        assert!(matches!(error.cause(), Cause::Shrink { .. }), "{error}");
    }
    assert_eq!((state(&bench).await?, bench.record().await?.domid), (before, domid), "it was not stopped");
    let destroyed = driver.destroy(bench.which.clone(), Progress::none()).await?;
    assert_eq!((destroyed.disk_uuids.len(), destroyed.kept_disk_uuids.len()), (4, 0));
    Ok(())
}

#[tokio::test]
async fn down_and_what_cannot_be() -> Result<()> {
    let bench = bench().await?;
    resize(&bench, larger()).await?;
    confirm(&bench).await?;
    let before = state(&bench).await?;
    bench.off().await?;
    // Memory and processors go down; a root disk of 0 GiB is the one there is.
    let down = ResizeOptions { flavor: Some(Flavor::new(1, 256, 0)), ..larger() };
    let resized = resize(&bench, down).await?;
    assert_eq!((resized.power_state, resized.replaced_disks), (VmPowerState::Halted, 0));
    let record = bench.record().await?;
    assert_eq!((record.vcpus_max, record.memory_static_max), (1, 256 << 20));
    revert(&bench).await?;
    bench.pool.driver.power(bench.which.clone(), PowerChange::On, Progress::none()).await?;
    assert_eq!(state(&bench).await?, before);

    let huge = ResizeOptions { flavor: Some(Flavor::new(1, 1 << 20, 0)), ..larger() };
    let error = resize(&bench, huge).await.unwrap_err();
    assert!(error.to_string().contains("memory"), "{error}");
    let grown = ResizeOptions { flavor: Some(Flavor::new(1, 256, 2)), ..larger() };
    resize(&bench, grown).await?;
    confirm(&bench).await?;
    let (before, domid) = (state(&bench).await?, bench.record().await?.domid);
    let error = resize(&bench, larger()).await.unwrap_err();
    assert!(error.to_string().contains("its plugins lack resize_down, copy_disk"), "{error}");
    assert_eq!(bench.record().await?.domid, domid, "the guest was not stopped for it");
    bench.pool.driver.power(bench.which.clone(), PowerChange::Pause, Progress::none()).await?;
    let error = resize(&bench, larger()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::WrongState { .. }), "{error}");
    bench.pool.driver.power(bench.which.clone(), PowerChange::On, Progress::none()).await?;
    assert_eq!(state(&bench).await?, before);
    Ok(())
}

/// To another repository of the same host: copied ahead while the guest runs.
#[tokio::test]
async fn to_another_repository_with_all_that_is_on_the_disks() -> Result<()> {
    let bench = bench().await?;
    bench.off().await?;
    let contents = (content(&bench, "0").await?, content(&bench, "3").await?);
    bench.pool.driver.power(bench.which.clone(), PowerChange::On, Progress::none()).await?;
    let before = state(&bench).await?;
    let there = ResizeOptions {
        sr: Some(SrChoice::NameLabel(LVM.into())),
        shutdown: Shutdown::Hard,
        ..ResizeOptions::default()
    };
    assert_eq!(resize(&bench, there.clone()).await?.replaced_disks, 2);
    let lvm = bench.pool.client().by_name_label::<Sr>(LVM).await?;
    for uuid in state(&bench).await?.disks.values() {
        let vdi = bench.pool.client().by_uuid::<Vdi>(uuid).await?;
        assert_eq!(bench.pool.client().get_field(&vdi, vdi::field::SR).await?, lvm);
    }
    bench.off().await?;
    assert!((content(&bench, "0").await?, content(&bench, "3").await?) == contents, "the content differs");
    revert(&bench).await?;
    assert_eq!(state(&bench).await?, before);
    resize(&bench, there).await?;
    confirm(&bench).await?;
    let after = state(&bench).await?;
    assert_eq!(after.all_disks.len(), before.all_disks.len());
    assert!(after.disks.values().all(|uuid| !before.all_disks.contains_key(uuid)));
    Ok(())
}

/// Between hosts that share nothing.
#[tokio::test]
async fn to_another_host_and_back() -> Result<()> {
    let bench = bench_of(World::demo().with_hosts(2)).await?;
    let client = bench.pool.client();
    let before = state(&bench).await?;
    let nodes = bench.pool.driver.nodes().await?;
    let other = nodes.iter().find(|node| node.reference != before.affinity).context("a second node")?;
    let node = Some(other.uuid.parse()?);
    // The pool's default repository is the first host's own: that is said before anything is done.
    let there = ResizeOptions { node, ..larger() };
    let error = resize(&bench, there.clone()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Conflicts(_)), "{error}");
    assert_eq!(state(&bench).await?, before);

    let there = ResizeOptions { sr: Some(SrChoice::NameLabel(LVM.into())), ..there };
    let resized = resize(&bench, there.clone()).await?;
    assert_eq!((&resized.node_uuid, resized.replaced_disks), (&other.uuid, 2));
    assert_eq!(bench.record().await?.resident_on, other.reference);
    revert(&bench).await?;
    assert_eq!(state(&bench).await?, before);
    assert_eq!(bench.record().await?.resident_on, before.affinity);
    resize(&bench, there).await?;
    confirm(&bench).await?;
    let after = state(&bench).await?;
    assert_eq!(after.all_disks.len(), before.all_disks.len());
    for uuid in after.disks.values() {
        let vdi = client.by_uuid::<Vdi>(uuid).await?;
        let sr = client.record(&client.get_field(&vdi, vdi::field::SR).await?).await?;
        let pbd = client.record(&sr.pbds[0]).await?;
        assert_eq!(pbd.host, other.reference);
    }
    Ok(())
}

/// A volume is neither copied nor lost, and an unreachable one is noticed before anything is done.
#[tokio::test]
async fn volumes_stay() -> Result<()> {
    let bench = bench_of(World::demo().with_hosts(2)).await?;
    let client = bench.pool.client();
    let default = client.all_records::<xenapi_types::Pool>().await?.into_values().next().context("a pool")?;
    let call = vdi::Create {
        name_label: "volume".into(),
        sr: default.default_sr.clone(),
        virtual_size: (8 * MIB) as i64,
        r#type: VdiType::User,
        ..vdi::Create::default()
    };
    let volume = client.call(call).await?;
    let uuid = client.get_field(&volume, vdi::field::UUID).await?;
    let sr = client.get_field(&default.default_sr, sr::field::UUID).await?.parse()?;
    let attach = Volume::new(Storage::Repository(sr), VolumeDisk::Uuid(uuid.parse()?));
    bench.pool.driver.attach_volume(bench.which.clone(), attach, AttachOptions::default()).await?;
    let before = state(&bench).await?;
    resize(&bench, larger()).await?;
    assert_eq!(state(&bench).await?.disks["4"], uuid);
    revert(&bench).await?;
    assert_eq!(state(&bench).await?, before);

    let nodes = bench.pool.driver.nodes().await?;
    let other = nodes.iter().find(|node| node.reference != before.affinity).context("a second node")?;
    let there = ResizeOptions {
        node: Some(other.uuid.parse()?),
        sr: Some(SrChoice::NameLabel(LVM.into())),
        ..larger()
    };
    let error = resize(&bench, there).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NotConnected { .. }), "{error}");
    assert_eq!(state(&bench).await?, before);
    Ok(())
}

/// What a resize to another repository asks of the host.
const CALLS: &[(&str, usize)] = &[
    ("VM.add_to_other_config", 2),
    ("VDI.add_to_other_config", 4),
    ("VDI.remove_from_other_config", 2),
    ("VDI.set_other_config", 2),
    ("VDI.snapshot", 2),
    ("VDI.create", 2),
    ("VDI.copy", 4),
    ("VM.hard_shutdown", 1),
    ("VBD.destroy", 2),
    ("VBD.create", 2),
    ("VDI.destroy", 2),
    ("VM.set_memory_limits", 1),
    ("VM.set_VCPUs_max", 1),
    ("VM.set_VCPUs_at_startup", 1),
    ("VM.set_VCPUs_params", 1),
    ("VM.start_on", 1),
];

fn elsewhere() -> ResizeOptions {
    ResizeOptions { sr: Some(SrChoice::NameLabel(LVM.into())), ..larger() }
}

#[tokio::test]
async fn a_fault_at_every_call_leaves_all_as_it_was() -> Result<()> {
    let bench = bench().await?;
    let before = state(&bench).await?;
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for &(method, count) in CALLS {
        for k in 1..=count {
            for fault in [&refusal, &Fault::DropAfterExecution] {
                // A task whose reference was lost goes on; what it did is undone, but for what it still does.
                let is_task = matches!(method, "VDI.copy" | "VM.hard_shutdown" | "VM.start_on");
                if is_task && *fault == Fault::DropAfterExecution {
                    continue;
                }
                let faults = bench.pool.simulator.faults();
                faults.on_nth(method, k, fault.clone());
                let result = resize(&bench, elsewhere()).await;
                assert_eq!(faults.clear(), 0, "{method} was called less than {k} times");
                match result {
                    Ok(_) if *fault == Fault::DropAfterExecution => revert(&bench).await?,
                    Ok(_) => panic!("{method} {k} does not matter"),
                    Err(error) => assert!(error.leftovers().is_empty(), "{method} {k} {fault:?}: {error}"),
                }
                assert_eq!(state(&bench).await?, before, "{method} {k} {fault:?}");
            }
        }
    }
    Ok(())
}

/// The undo fails as well: as a program that is killed would leave it. Another driver reverts it.
#[tokio::test]
async fn a_resize_that_broke_off_anywhere_is_reverted_later() -> Result<()> {
    let bench = bench().await?;
    let before = state(&bench).await?;
    let refusal = || Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for &(method, count) in CALLS.iter().filter(|(method, _)| *method != "VM.remove_from_other_config") {
        for k in 1..=count {
            let faults = bench.pool.simulator.faults();
            faults.on_nth(method, k, refusal());
            // The first step of the way back that changes anything, before which the domain of a guest may be noted.
            if method != "VM.add_to_other_config" {
                for nth in [2, 3] {
                    faults.on_nth("VM.add_to_other_config", nth, refusal());
                }
            }
            let error = resize(&bench, elsewhere()).await.unwrap_err();
            faults.clear();
            if method != "VM.add_to_other_config" {
                assert_eq!(error.leftovers().len(), 1, "{method} {k}: {error}");
                assert_eq!(pending(&bench).await?, Some(ResizeState::Unfinished), "{method} {k}");
                revert(&bench).await?;
            }
            assert_eq!(state(&bench).await?, before, "{method} {k}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn cancelled_at_every_stage() -> Result<()> {
    let bench = bench().await?;
    let before = state(&bench).await?;
    for stage in [Stage::Plan, Stage::Storage, Stage::Stop, Stage::RootDisk, Stage::Start] {
        let (sender, mut events) = mpsc::unbounded_channel();
        let progress = Progress::to(move |event| {
            let _ = sender.send(event);
        });
        let options = ResizeOptions { progress, ..elsewhere() };
        let mut resizing = bench.pool.driver.resize(bench.which.clone(), options);
        let result = loop {
            tokio::select! {
                result = &mut resizing => break result,
                Some(event) = events.recv() => {
                    if matches!(event, Event::Started(begun) if begun == stage) {
                        resizing.cancel();
                    }
                }
            }
        };
        match result {
            Ok(_) => revert(&bench).await?,
            Err(error) => {
                assert!(matches!(error.cause(), Cause::Cancelled), "{stage}: {error}");
                assert!(error.leftovers().is_empty(), "{stage}: {error}");
            }
        }
        assert_eq!(state(&bench).await?, before, "cancelled at {stage}");
    }
    Ok(())
}

/// Confirming is not undone but repeated.
#[tokio::test]
async fn a_confirmation_that_fails_is_finished_by_the_next_one() -> Result<()> {
    let bench = bench().await?;
    let refusal = || Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    let clean = state(&bench).await?.keys;
    for (method, k) in [("VM.add_to_other_config", 1), ("VDI.destroy", 1), ("VM.remove_from_other_config", 1)]
    {
        resize(&bench, elsewhere()).await?;
        bench.pool.simulator.faults().on_nth(method, k, refusal());
        confirm(&bench).await.unwrap_err();
        let pending = pending(&bench).await?;
        assert!(matches!(pending, Some(ResizeState::Confirming | ResizeState::Done)), "{pending:?}");
        confirm(&bench).await?;
        let state = state(&bench).await?;
        assert_eq!((state.keys, state.all_disks.len()), (clean.clone(), 2), "{method}");
        resize(&bench, ResizeOptions { sr: Some(SrChoice::PoolDefault), ..larger() }).await?;
        confirm(&bench).await?;
    }
    let spec = InstanceSpec::new("web2", Flavor::new(1, 256, 0), &bench.image);
    bench.pool.spawn(spec).await?;
    let other = Which::parse("web2");
    let error = bench.pool.driver.confirm_resize(other, Progress::none()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NotResized { .. }), "{error}");
    Ok(())
}

/// What a user makes of the disks while they are resized, and until that is decided, is the user's.
#[tokio::test]
async fn copies_that_users_make_outlive_a_resize_and_its_end() -> Result<()> {
    let bench = bench().await?;
    let client = bench.pool.client();
    resize(&bench, larger()).await?;
    let root = client.by_uuid::<Vdi>(&state(&bench).await?.disks["0"]).await?;
    let clone = client.call(vdi::Clone { vdi: root.clone(), driver_params: None }).await?;
    let snapshot = client.call(vdi::Snapshot { vdi: root, driver_params: None }).await?;
    let twin = client.call(vm::Clone { vm: bench.vm.clone(), new_name: "twin".into() }).await;
    // A running one cannot be cloned.
    assert!(twin.is_err());
    bench.off().await?;
    let twin = client.call(vm::Clone { vm: bench.vm.clone(), new_name: "twin".into() }).await?;
    let drives = client.get_field(&twin, vm::field::VBDS).await?.len();
    revert(&bench).await?;
    let theirs = client.record(&twin).await?;
    assert_eq!((theirs.vbds.len(), drives), (2, 2));
    for vbd in &theirs.vbds {
        let disk = client.record(&client.record(vbd).await?.vdi).await?;
        assert!(disk.managed, "{}", disk.uuid);
    }
    for disk in [clone, snapshot] {
        assert!(client.record(&disk).await?.managed);
    }
    Ok(())
}

/// The snapshot that a resize needs goes; one that somebody takes in that moment does not.
#[tokio::test]
async fn a_snapshot_that_a_user_takes_meanwhile_stays() -> Result<()> {
    let bench = bench().await?;
    let (client, before) = (bench.pool.client().clone(), state(&bench).await?);
    let root = client.by_uuid::<Vdi>(&before.disks["0"]).await?;
    // As XAPI would take it while the disk has the mark, and as it would after that.
    let faults = bench.pool.simulator.faults();
    faults.on_nth("VDI.copy", 1, Fault::Slow(std::time::Duration::from_secs(2)));
    let resizing = bench.pool.driver.resize(bench.which.clone(), elsewhere());
    let snapshot = async {
        loop {
            let taken = client.get_field(&root, vdi::field::SNAPSHOTS).await?;
            if !taken.is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let taken = client.call(vdi::Snapshot { vdi: root.clone(), driver_params: None }).await?;
        anyhow::Ok(taken)
    };
    let (resized, snapshot) = tokio::join!(resizing, snapshot);
    resized?;
    let snapshot = snapshot?;
    let taken = client.get_field(&root, vdi::field::SNAPSHOTS).await?;
    assert_eq!(taken, std::slice::from_ref(&snapshot), "only the user's");
    revert(&bench).await?;
    assert!(client.record(&snapshot).await?.is_a_snapshot);
    let now = ReconcileOptions { older_than: std::time::Duration::ZERO, ..ReconcileOptions::default() };
    let found = bench.pool.driver.reconcile(now).await?;
    assert!(client.record(&snapshot).await?.is_a_snapshot, "{found:?}");
    let keys = client.get_field(&snapshot, vdi::field::OTHER_CONFIG).await?;
    assert!(!keys.keys().any(|key| key.starts_with("xenapi-rs:resize")), "{keys:?}");
    client.destroy(&snapshot).await?;
    assert_eq!(state(&bench).await?, before);
    Ok(())
}

/// A disk that was replaced and that somebody has is not removed, and not forgotten either.
#[tokio::test]
async fn a_replaced_disk_that_somebody_has_is_told_of_when_it_is_free() -> Result<()> {
    let bench = bench().await?;
    let (client, old) = (bench.pool.client().clone(), state(&bench).await?.disks["0"].clone());
    let now = || ReconcileOptions { older_than: std::time::Duration::ZERO, ..ReconcileOptions::default() };
    resize(&bench, larger()).await?;
    let disk = client.by_uuid::<Vdi>(&old).await?;
    let (theirs, _) = bench.pool.make_foreign("theirs", "a disk", BTreeMap::new()).await?;
    let drive = client.call(foreign_drive(&theirs, &disk, 1)).await?;
    let kept = bench.pool.driver.confirm_resize(bench.which.clone(), Progress::none()).await?.kept;
    let vm = client.get_field(&theirs, vm::field::UUID).await?;
    assert!(kept.len() == 1 && kept[&old].contains(&vm), "{kept:?}");
    assert!(bench.pool.driver.reconcile(now()).await?.unclear.is_empty(), "it is used");
    client.destroy(&drive).await?;
    let found = bench.pool.driver.reconcile(now()).await?;
    let told: Vec<_> = found.unclear.iter().map(|finding| (finding.kind, finding.uuid.clone())).collect();
    assert_eq!(told, [(Kind::UnusedDisk, old.clone())], "{found:?}");
    assert!(found.done.is_empty() && client.record(&disk).await?.managed);

    // Of one that dom0 holds it is known that it is to go.
    let old = state(&bench).await?.disks["0"].clone();
    let disk = client.by_uuid::<Vdi>(&old).await?;
    let flavor = Some(Flavor::new(2, 1024, 2));
    resize(&bench, ResizeOptions { flavor, shutdown: Shutdown::Hard, ..ResizeOptions::default() }).await?;
    let vms = client.all_records::<Vm>().await?;
    let dom0 = vms.into_iter().find(|(_, vm)| vm.is_control_domain).context("dom0")?.0;
    // For a transfer that is over.
    let other_config = BTreeMap::from([("task_id".into(), "OpaqueRef:gone".into())]);
    let drive =
        vbd::Create { userdevice: "autodetect".into(), other_config, ..foreign_drive(&dom0, &disk, 1) };
    let vbd = client.call(drive).await?;
    client.call(vbd::Plug { vbd }).await?;
    let detach_timeout = std::time::Duration::from_millis(300);
    let hasty = bench.pool.driver_with(Settings { detach_timeout, ..Settings::default() })?;
    let kept = hasty.confirm_resize(bench.which.clone(), Progress::none()).await?.kept;
    assert!(kept.len() == 1 && kept[&old].contains("a control domain has it"), "{kept:?}");
    assert_eq!((pending(&bench).await?, client.record(&disk).await?.managed), (None, true));
    let done = bench.pool.driver.reconcile(now()).await?.done;
    let done: Vec<_> = done.iter().map(|finding| (finding.kind, finding.uuid.clone())).collect();
    assert_eq!(done, [(Kind::HeldDisk, old.clone()), (Kind::ReplacedDisk, old)]);
    Ok(())
}

/// Whoever has removed the disk that was replaced: what the instance has now is all that there is of it.
#[tokio::test]
async fn what_it_has_now_stays_when_what_it_had_is_gone() -> Result<()> {
    let bench = bench().await?;
    let (client, driver, old) = (bench.client(), &bench.driver, state(&bench).await?.disks["0"].clone());
    let now = || ReconcileOptions { older_than: std::time::Duration::ZERO, ..ReconcileOptions::default() };
    resize(&bench, larger()).await?;
    client.destroy(&client.by_uuid::<Vdi>(&old).await?).await?;
    let (after, domid) = (state(&bench).await?, bench.record().await?.domid);
    let error = revert(&bench).await.unwrap_err();
    assert!(error.to_string().contains(&old), "{error}");
    assert_eq!((state(&bench).await?, bench.record().await?.domid), (after.clone(), domid));

    // As a program leaves it that dies before it is complete.
    let (field, done) = (vm::field::OTHER_CONFIG, "xenapi-rs:resize-done");
    client.remove_from(&bench.vm, field, done).await?;
    let found = driver.reconcile(now()).await?;
    assert!(found.leftovers.len() == 1 && found.done.is_empty(), "{found:?}");
    assert!(found.leftovers[0].to_string().contains(&old), "{found:?}");
    let mut left = state(&bench).await?;
    left.keys.insert(done.into(), after.keys[done].clone());
    assert_eq!((left, bench.record().await?.domid), (after.clone(), domid));

    client.add_to(&bench.vm, field, done, after.keys[done].clone()).await?;
    confirm(&bench).await?;
    assert_eq!((state(&bench).await?.disks, pending(&bench).await?), (after.disks, None));
    Ok(())
}
