//! Moving instances to another pool with a way back: what is there is what was here, and nothing is lost wherever it
//! breaks off.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use disk_stream::{SumSink, Sums, receive};
use e2e::pool::{Census, EXT, LVM, NETWORK, PASSWORD, Pool};
use examples::demo_image::DemoImage;
use http_body_util::Full;
use tempfile::TempDir;
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xenapi_client::{Client, ExportFormat};
use xenapi_driver::pool_move::{MoveOptions, Moved};
use xenapi_driver::pools::{PoolMigrateOptions, PoolPlace};
use xenapi_driver::reconcile::{Kind, ReconcileOptions};
use xenapi_driver::resize::ResizeState;
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Nic, SrChoice};
use xenapi_driver::volume::{AttachOptions, Storage, Volume, VolumeDisk};
use xenapi_driver::{
    Cause, Checks, Event, Instance, PowerChange, Progress, Settings, Shutdown, SpawnOptions, Stage, Which,
};
use xenapi_types::{
    Sr, Task, Vbd, Vdi, VdiType, Vm, VmOperations, VmPowerState, VmRecord, sr, vdi, vif, vm, vtpm,
};
use xenapi_wire::{Failure, Value};

struct Bench {
    here: Arc<Pool>,
    there: Arc<Pool>,
    _files: TempDir,
    image: PathBuf,
    /// Both pools, without an instance.
    before: [Census; 2],
}

const NOW: ReconcileOptions =
    ReconcileOptions { older_than: Duration::ZERO, dry_run: false, progress: Progress::none() };

fn refusal() -> Fault {
    Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]))
}

fn hard() -> MoveOptions {
    MoveOptions { shutdown: Shutdown::Hard, ..MoveOptions::default() }
}

impl Bench {
    async fn new() -> Result<Self> {
        let files = tempfile::tempdir()?;
        let image = files.path().join("demo.img");
        DemoImage { virtual_bytes: 64 << 20, payload_bytes: 1 << 20 }.write(&image)?;
        let here = Arc::new(Box::pin(Pool::demo()).await?);
        let there = Arc::new(Box::pin(Pool::of(World::demo().elsewhere(2))).await?);
        let before = [here.census().await?, there.census().await?];
        Ok(Self { here, there, _files: files, image, before })
    }

    /// An instance with all the kinds of disks that end with it.
    async fn spawn(&self, sr: &str) -> Result<Instance> {
        let flavor =
            Flavor { swap_mib: 4, ephemeral_gib: 1, vcpu_weight: Some(512), ..Flavor::new(1, 512, 0) };
        let mut spec = InstanceSpec::new("web1", flavor, &self.image);
        spec.sr = SrChoice::NameLabel(sr.into());
        spec.nics = vec![Nic::on(NETWORK)];
        spec.tags = ["red".to_owned()].into();
        spec.config_drive = Some(ConfigDrive::default());
        Ok(self.here.spawn(spec).await?)
    }

    async fn go(&self, instance: &Instance, options: MoveOptions) -> xenapi_driver::Result<Moved> {
        self.here.driver.move_to_pool(Which::Instance(instance.uuid), &self.there.driver, options).await
    }

    async fn confirm(&self, instance: &Instance) -> xenapi_driver::Result<()> {
        let which = Which::Instance(instance.uuid);
        self.here.driver.confirm_move(which, &self.there.driver, Progress::none()).await
    }

    async fn revert(&self, instance: &Instance) -> xenapi_driver::Result<()> {
        let which = Which::Instance(instance.uuid);
        self.here.driver.revert_move(which, &self.there.driver, Progress::none()).await
    }

    async fn vm_here(&self, instance: &Instance) -> Result<VmRecord> {
        record(self.here.client(), &instance.vm_uuid).await
    }

    /// It is here as it was, and nothing of it is there.
    async fn is_unhurt(&self, instance: &Instance, as_it_was: &Census, what: &str) -> Result<()> {
        let mut here = Box::pin(self.here.census()).await?;
        let mut before = as_it_was.clone();
        domains(&mut here);
        domains(&mut before);
        here.assert_as(&before, what);
        Box::pin(self.there.census()).await?.assert_as(&self.before[1], what);
        let vm = self.vm_here(instance).await?;
        assert_eq!(vm.power_state, VmPowerState::Running, "{what}");
        assert!(vm.blocked_operations.is_empty(), "{what}: {:?}", vm.blocked_operations);
        let left: Vec<_> = vm.other_config.keys().filter(|key| key.starts_with("xenapi-rs:move")).collect();
        assert!(left.is_empty(), "{what}: {left:?}");
        Ok(())
    }

    async fn destroy_here(&self, instance: &Instance) -> Result<()> {
        self.here.destroy(instance).await?;
        self.here.census().await?.assert_as(&self.before[0], "where it was");
        Ok(())
    }
}

/// What a domain has of its own, and layers of disks that a snapshot split, which merge by themselves.
fn domains(census: &mut Census) {
    for class in ["VM_guest_metrics", "console", "VM_metrics", "VBD_metrics", "VIF_metrics", "VDI"] {
        census.objects.remove(class);
    }
    census.disk_files.clear();
}

async fn record(client: &Client, uuid: &str) -> Result<VmRecord> {
    Ok(client.record(&client.by_uuid::<Vm>(uuid).await?).await?)
}

/// Sums of what is on a VM's disks, by place.
async fn contents(pool: &Pool, vm: &VmRecord) -> Result<BTreeMap<String, Sums>> {
    let mut all = BTreeMap::new();
    for vbd in &vm.vbds {
        let vbd = pool.client().record::<Vbd>(vbd).await?;
        let mut export = pool.client().export_vdi(&vbd.vdi, ExportFormat::Vhd, None).await?;
        let mut stream = Vec::new();
        while let Some(chunk) = export.chunk().await? {
            stream.extend_from_slice(&chunk);
        }
        let body = Full::new(Bytes::from(stream));
        all.insert(vbd.userdevice, receive(body, SumSink::default(), disk_stream::Progress::new()).await?);
    }
    Ok(all)
}

fn same(a: &BTreeMap<String, Sums>, b: &BTreeMap<String, Sums>) -> bool {
    a.keys().eq(b.keys()) && a.iter().all(|(place, sums)| sums.difference(&b[place]).is_none())
}

async fn off(pool: &Pool, instance: &Instance) -> Result<()> {
    let off = PowerChange::Off(Shutdown::Hard);
    pool.driver.power(Which::Instance(instance.uuid), off, Progress::none()).await?;
    Ok(())
}

/// Whatever the repositories are: those that tell what has changed, those that have to be filled with zeros.
#[tokio::test]
async fn all_its_disks_arrive_and_stay_until_it_is_confirmed() -> Result<()> {
    let bench = Bench::new().await?;
    for (from, to) in [(EXT, LVM), (LVM, EXT)] {
        let instance = bench.spawn(from).await?;
        off(&bench.here, &instance).await?;
        let vm = bench.vm_here(&instance).await?;
        for (n, vbd) in (1..).zip(&vm.vbds) {
            let vbd = bench.here.client().record::<Vbd>(vbd).await?;
            let disk = bench.here.client().record::<Vdi>(&vbd.vdi).await?;
            if vbd.userdevice != instance_drive(&vm, bench.here.client()).await? {
                bench.here.write(&disk.uuid, 1 << 20, &[n; 4096]).await?;
            }
        }
        let before = contents(&bench.here, &vm).await?;
        assert_eq!(before.len(), 4, "root, swap, ephemeral, config drive");
        let place = PoolPlace { sr: Some(SrChoice::NameLabel(to.into())), ..PoolPlace::default() };
        let moved = bench.go(&instance, MoveOptions { place, checks: Checks::AllDisks, ..hard() }).await?;
        assert_eq!((moved.disks.len(), &moved.power_state), (4, &VmPowerState::Halted));
        let arrived = record(bench.there.client(), &moved.vm_uuid).await?;
        assert!(same(&contents(&bench.there, &arrived).await?, &before), "{from} to {to}");
        // Both are there until somebody decides.
        assert!(same(&contents(&bench.here, &bench.vm_here(&instance).await?).await?, &before));
        let alike = |a: &VmRecord, b: &VmRecord| {
            assert_eq!((&a.name_label, &a.tags, &a.platform), (&b.name_label, &b.tags, &b.platform));
            assert_eq!((&a.vcpus_params, a.memory_static_max), (&b.vcpus_params, b.memory_static_max));
            assert_eq!((&a.hvm_boot_params, &a.xenstore_data), (&b.hvm_boot_params, &b.xenstore_data));
        };
        alike(&arrived, &vm);
        let vif = bench.there.client().record(&arrived.vifs[0]).await?;
        assert_eq!(vif.mac, instance.macs[0]);
        let info = bench.here.driver.instance(&Which::Instance(instance.uuid)).await?;
        assert_eq!(info.moving, Some(ResizeState::Done));
        assert_eq!(bench.here.driver.reconcile(NOW).await?.waiting, std::slice::from_ref(&instance.vm_uuid));
        bench.confirm(&instance).await?;
        bench.here.census().await?.assert_as(&bench.before[0], "confirmed");
        bench.confirm(&instance).await.unwrap_err();
        assert_eq!(bench.there.driver.reconcile(NOW).await?.done, []);
        // It is the other driver's in every respect.
        let which = Which::Instance(instance.uuid);
        let on = bench.there.driver.power(which.clone(), PowerChange::On, Progress::none()).await?;
        assert_eq!(on, VmPowerState::Running);
        bench.there.driver.check_config_drive(which.clone(), Progress::none()).await?;
        let destroyed = bench.there.driver.destroy(which, Progress::none()).await?;
        assert_eq!(destroyed.kept_disk_uuids, [""; 0]);
        bench.there.census().await?.assert_as(&bench.before[1], "where it went");
    }
    Ok(())
}

/// The device of the config drive, which nobody writes to.
async fn instance_drive(vm: &VmRecord, client: &Client) -> Result<String> {
    for vbd in &vm.vbds {
        let vbd = client.record::<Vbd>(vbd).await?;
        let disk = client.record::<Vdi>(&vbd.vdi).await?;
        if disk.other_config.get("nova_disk_type").is_some_and(|kind| kind == "configdrive") {
            return Ok(vbd.userdevice);
        }
    }
    anyhow::bail!("no config drive")
}

/// Most is copied while it runs. What the guest writes meanwhile arrives, and so do the zeros it writes.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_it_is_copied_arrives_too() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn(EXT).await?;
    let (pool, root) = (Arc::clone(&bench.here), instance.root_uuid.clone());
    let runtime = tokio::runtime::Handle::current();
    let (told, mut stages) = tokio::sync::mpsc::unbounded_channel();
    // In the moment in which the guest is down and nothing is copied.
    let progress = Progress::to(move |event| {
        if let Event::Started(stage) = event {
            let _ = told.send(stage);
        }
        if matches!(event, Event::Finished(Stage::Stop, _)) {
            let writing = async {
                pool.write(&root, 0, &[0; 8192]).await?;
                pool.write(&root, 40 << 20, &[7; 4096]).await
            };
            tokio::task::block_in_place(|| runtime.block_on(writing)).expect("written");
        }
    });
    assert_ne!(bench.here.content(&instance.root_uuid).await?[..8192], [0; 8192], "else nothing changes");
    let moved = bench.go(&instance, MoveOptions { progress, checks: Checks::AllDisks, ..hard() }).await?;
    let stages: Vec<Stage> = std::iter::from_fn(|| stages.try_recv().ok()).collect();
    let at = |stage| stages.iter().position(|seen| *seen == stage);
    assert!(at(Stage::Storage) < at(Stage::Stop) && at(Stage::Stop) < at(Stage::RootDisk), "{stages:?}");
    assert_eq!(moved.power_state, VmPowerState::Running);
    let here = bench.here.content(&instance.root_uuid).await?;
    let there = bench.there.content(&moved.disks[&instance.root_uuid]).await?;
    assert!(there.starts_with(&here) && here[40 << 20] == 7 && here[..8192] == [0; 8192]);
    // It runs there, and cannot be started here, by anybody.
    let vm = bench.vm_here(&instance).await?;
    assert_eq!(vm.power_state, VmPowerState::Halted);
    let start = vm::Start {
        vm: bench.here.client().by_uuid::<Vm>(&instance.vm_uuid).await?,
        start_paused: false,
        force: false,
    };
    assert!(bench.here.client().call(start).await.unwrap_err().is("OPERATION_BLOCKED"));
    bench.confirm(&instance).await?;
    bench.here.census().await?.assert_as(&bench.before[0], "confirmed");
    assert_eq!(record(bench.there.client(), &moved.vm_uuid).await?.power_state, VmPowerState::Running);
    Ok(())
}

#[tokio::test]
async fn reverted_it_runs_on_where_it_was() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn(EXT).await?;
    let vm = bench.here.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
    // What others have blocked stays blocked, here and there.
    let (field, theirs) = (vm::field::BLOCKED_OPERATIONS, VmOperations::Destroy);
    bench.here.client().add_to(&vm, field, theirs.clone(), "somebody's").await?;
    let moved = bench.go(&instance, hard()).await?;
    let arrived = record(bench.there.client(), &moved.vm_uuid).await?;
    assert_eq!(arrived.blocked_operations, BTreeMap::from([(theirs.clone(), "somebody's".to_owned())]));
    let there = bench.there.client().by_uuid::<Vm>(&moved.vm_uuid).await?;
    bench.there.client().remove_from(&there, vm::field::BLOCKED_OPERATIONS, theirs.clone()).await?;
    let here = bench.here.census().await?;
    bench.revert(&instance).await?;
    let vm_after = bench.vm_here(&instance).await?;
    assert_eq!(vm_after.blocked_operations, BTreeMap::from([(theirs.clone(), "somebody's".to_owned())]));
    bench.here.client().remove_from(&vm, vm::field::BLOCKED_OPERATIONS, theirs).await?;
    bench.is_unhurt(&instance, &here, "reverted").await?;
    assert!(matches!(bench.revert(&instance).await.unwrap_err().cause(), Cause::NotMoved { .. }));
    bench.destroy_here(&instance).await
}

/// Larger there, and in no other way than a resize would make it.
#[tokio::test]
async fn it_can_be_larger_there() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn(EXT).await?;
    let moved = bench.go(&instance, MoveOptions { flavor: Some(Flavor::new(2, 1024, 1)), ..hard() }).await?;
    let arrived = record(bench.there.client(), &moved.vm_uuid).await?;
    assert_eq!((arrived.vcpus_max, arrived.memory_static_max), (2, 1 << 30));
    let root = bench.there.client().by_uuid::<Vdi>(&moved.disks[&instance.root_uuid]).await?;
    assert_eq!(bench.there.client().get_field(&root, vdi::field::VIRTUAL_SIZE).await?, 1 << 30);
    bench.revert(&instance).await?;
    assert_eq!(bench.vm_here(&instance).await?.vcpus_max, 1);
    bench.destroy_here(&instance).await
}

/// Every call that changes something fails once, in either pool: the instance runs on here, and nothing is left there.
#[tokio::test]
async fn whatever_fails_it_runs_on_here() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn(EXT).await?;
    bench.here.simulator.faults().record();
    bench.there.simulator.faults().record();
    bench.go(&instance, hard()).await?;
    let changes = |calls: Vec<String>| {
        let mut counts = BTreeMap::new();
        let passing = ["session.", "event.", "task.", "SR.update"];
        for call in calls.into_iter().filter(|call| !call.contains(".get_")) {
            if !passing.iter().any(|prefix| call.starts_with(prefix)) {
                *counts.entry(call.trim_start_matches("Async.").to_owned()).or_insert(0) += 1;
            }
        }
        counts
    };
    let seen = [&bench.here, &bench.there].map(|pool| changes(pool.simulator.faults().recorded()));
    bench.revert(&instance).await?;
    let here = bench.here.census().await?;
    let mut tried = 0;
    for (pool, calls) in [&bench.here, &bench.there].into_iter().zip(&seen) {
        for (call, times) in calls {
            for n in 1..=*times {
                let what = format!("{call} number {n} at {}", pool.simulator.faults().clear());
                pool.simulator.faults().on_nth(call, n, refusal());
                let moved = bench.go(&instance, hard()).await;
                pool.simulator.faults().clear();
                tried += 1;
                match moved {
                    Ok(_) => bench.revert(&instance).await.with_context(|| what.clone())?,
                    Err(error) => assert!(error.leftovers().is_empty(), "{what}: {error:?}"),
                }
                bench.is_unhurt(&instance, &here, &what).await?;
            }
        }
    }
    assert!(tried > 30, "{tried}");
    bench.destroy_here(&instance).await
}

/// A program that is killed leaves a journal, from which either pool can be put in order without the other.
#[tokio::test]
async fn killed_at_every_stage_either_pool_can_be_put_in_order() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn(EXT).await?;
    let urls = [
        bench.here.simulator.listen("127.0.0.1:0").await?,
        bench.there.simulator.listen("127.0.0.1:0").await?,
    ];
    let here = bench.here.census().await?;
    let (mut n, mut kinds) = (1, Vec::new());
    loop {
        let over = kill_at(&bench, &urls, &instance, n).await?;
        // In both orders: neither needs the other.
        let pools = if n % 2 == 0 { [&bench.here, &bench.there] } else { [&bench.there, &bench.here] };
        let mut waiting = Vec::new();
        for pool in pools {
            let result = pool.driver.reconcile(NOW).await?;
            assert!(result.leftovers.is_empty(), "{:?}", result.leftovers);
            kinds.extend(result.done.iter().map(|finding| finding.kind));
            waiting.extend(result.waiting);
            running_at_most_once(&bench).await?;
        }
        if !waiting.is_empty() {
            bench.revert(&instance).await?;
        }
        bench.is_unhurt(&instance, &here, &format!("killed at stage {n}, {kinds:?}")).await?;
        for pool in pools {
            assert_eq!(pool.driver.reconcile(NOW).await?.done, [], "the second time there is nothing to do");
        }
        if over {
            break;
        }
        n += 1;
    }
    assert!(n > 6 && kinds.contains(&Kind::BrokenMove), "{n} stages, {kinds:?}");
    assert!(kinds.contains(&Kind::OrphanedDisk), "{kinds:?}");
    bench.destroy_here(&instance).await
}

async fn running_at_most_once(bench: &Bench) -> Result<()> {
    let mut running = 0;
    for pool in [&bench.here, &bench.there] {
        let vms = pool.client().all_records::<Vm>().await?.into_values();
        running += vms.filter(|vm| !vm.is_control_domain && vm.power_state == VmPowerState::Running).count();
    }
    assert!(running <= 1, "{running}");
    Ok(())
}

/// Has another program move the instance, kills it when its `n`-th stage begins, and waits until both hosts have
/// done what it asked for. Says whether it was over before.
async fn kill_at(bench: &Bench, urls: &[String; 2], instance: &Instance, n: usize) -> Result<bool> {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_victim"));
    command.args([&urls[0], PASSWORD, "move", &instance.uuid.to_string(), &urls[1]]);
    let over = e2e::victim::kill_at(command, n).await?;
    for pool in [&bench.here, &bench.there] {
        pool.simulator.connections().count().wait_for(|count| count.open == 0).await?;
        e2e::victim::forget_tasks(pool).await?;
    }
    Ok(over)
}

/// A confirmation that breaks off is completed by whoever comes by, also where the other pool is unknown.
#[tokio::test]
async fn a_confirmation_that_breaks_off_is_completed() -> Result<()> {
    let bench = Bench::new().await?;
    for by_reconciling in [false, true] {
        let instance = bench.spawn(EXT).await?;
        let moved = bench.go(&instance, hard()).await?;
        bench.here.simulator.faults().on("VDI.destroy", refusal());
        bench.confirm(&instance).await.unwrap_err();
        if by_reconciling {
            bench.here.driver.reconcile(NOW).await?;
            bench.confirm(&instance).await?;
        } else {
            bench.here.simulator.faults().on("VM.destroy", refusal());
            // The disks that are left are nobody's.
            bench.confirm(&instance).await?;
            bench.here.simulator.faults().clear();
            bench.here.driver.reconcile(NOW).await?;
        }
        bench.here.census().await?.assert_as(&bench.before[0], "confirmed");
        let arrived = record(bench.there.client(), &moved.vm_uuid).await?;
        assert_eq!(arrived.power_state, VmPowerState::Running);
        assert!(!arrived.other_config.keys().any(|key| key.starts_with("xenapi-rs:move")));
        bench.there.destroy(&instance).await?;
    }
    // What is left is the destruction of what was moved.
    let instance = bench.spawn(EXT).await?;
    bench.go(&instance, hard()).await?;
    bench.here.simulator.faults().on("VM.destroy", refusal());
    bench.confirm(&instance).await.unwrap_err();
    assert!(matches!(bench.revert(&instance).await.unwrap_err().cause(), Cause::MovePending { .. }));
    let kinds: Vec<Kind> = bench.here.driver.reconcile(NOW).await?.done.iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [Kind::BrokenDestruction]);
    bench.here.census().await?.assert_as(&bench.before[0], "completed");
    Ok(())
}

/// Somebody removed it there: it is not confirmed, and can be had back.
#[tokio::test]
async fn what_is_gone_there_is_not_removed_here() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn(EXT).await?;
    bench.go(&instance, hard()).await?;
    let here = bench.here.census().await?;
    bench.there.destroy(&instance).await?;
    let error = bench.confirm(&instance).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NotArrived { .. }), "{error}");
    bench.revert(&instance).await?;
    bench.is_unhurt(&instance, &here, "had back").await?;
    bench.destroy_here(&instance).await
}

#[tokio::test]
async fn in_between_it_is_left_alone() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn(EXT).await?;
    bench.go(&instance, hard()).await?;
    let which = || Which::Instance(instance.uuid);
    let on = bench.here.driver.power(which(), PowerChange::On, Progress::none()).await.unwrap_err();
    assert!(matches!(on.cause(), Cause::MovePending { .. }), "{on}");
    // It can be looked at.
    let (interfaces, volumes) =
        (bench.here.driver.interfaces(&which()).await?, bench.here.driver.volumes(&which()).await?);
    assert_eq!((interfaces.len(), volumes.len()), (1, 0));
    let again = bench.go(&instance, hard()).await.unwrap_err();
    assert!(matches!(again.cause(), Cause::MovePending { .. }), "{again}");
    // Nor does it go on to a third pool, from where nobody could bring it back.
    let (here, there) = (&bench.here.driver, &bench.there.driver);
    let onward = there.migrate_to_pool(which(), here, PoolMigrateOptions::default()).await.unwrap_err();
    assert!(matches!(onward.cause(), Cause::MovePending { .. }), "{onward}");
    let wrong = here.revert_move(which(), here, Progress::none()).await.unwrap_err();
    assert!(matches!(wrong.cause(), Cause::NotMoved { .. }), "{wrong}");
    // Other things can be done with it there.
    there.power(which(), PowerChange::Pause, Progress::none()).await?;
    bench.revert(&instance).await?;
    bench.there.census().await?.assert_as(&bench.before[1], "reverted");
    bench.destroy_here(&instance).await
}

#[tokio::test]
async fn what_cannot_be_is_told_before_anything_is_done() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn(EXT).await?;
    let which = || Which::Instance(instance.uuid);
    let (here, client) = (&bench.here.driver, bench.here.client());
    let census = bench.here.census().await?;
    let told = async |options: MoveOptions, part: &str| {
        let error = bench.go(&instance, options).await.unwrap_err();
        assert!(error.to_string().contains(part), "{part:?} is missing in {error}");
        assert_eq!(error.stage(), Stage::Plan, "{error}");
    };
    told(MoveOptions { flavor: Some(Flavor::new(1, 1 << 20, 0)), ..hard() }, "memory").await;
    let place = PoolPlace { sr: Some(SrChoice::NameLabel("tape".into())), ..PoolPlace::default() };
    told(MoveOptions { place, ..hard() }, "tape").await;
    let same = here.move_to_pool(which(), here, hard()).await.unwrap_err();
    assert!(matches!(same.cause(), Cause::SamePool(_)), "{same}");
    let owner = Settings { owner: "somebody else".into(), ..Settings::default() };
    let foreign = bench.there.driver_with(owner)?;
    let error = here.move_to_pool(which(), &foreign, hard()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::OtherOwner { .. }), "{error}");
    let nothing = bench.revert(&instance).await.unwrap_err();
    assert!(matches!(nothing.cause(), Cause::NotMoved { .. }), "{nothing}");

    let ext = client.by_name_label::<Sr>(EXT).await?;
    let call = vdi::Create {
        name_label: "volume".into(),
        sr: ext.clone(),
        virtual_size: 1 << 20,
        r#type: VdiType::User,
        ..<_>::default()
    };
    let disk = client.call(call).await?;
    let uuid = client.get_field(&disk, vdi::field::UUID).await?;
    let sr = client.get_field(&ext, sr::field::UUID).await?;
    let volume = Volume::new(Storage::Repository(sr.parse()?), VolumeDisk::Uuid(uuid.parse()?));
    here.attach_volume(which(), volume, AttachOptions::default()).await?;
    told(hard(), &uuid).await;
    here.detach_volume(which(), uuid, Progress::none()).await?;
    client.destroy(&disk).await?;

    here.power(which(), PowerChange::Pause, Progress::none()).await?;
    told(hard(), "Paused").await;
    off(&bench.here, &instance).await?;
    if e2e::pool::plays(xapi_simulator::Personality::default()) {
        let vm = client.by_uuid::<Vm>(&instance.vm_uuid).await?;
        let tpm = client.call(vtpm::Create { vm, is_unique: false }).await?;
        told(hard(), "a virtual TPM").await;
        client.destroy(&tpm).await?;
    }
    let dry = here.dry_run(|driver| driver.move_to_pool(which(), &bench.there.driver, hard())).await?;
    assert!(dry.steps.len() >= 6 && dry.to_string().contains("until it is confirmed"), "{dry}");
    let mut same = InstanceSpec::new("web1", Flavor::new(1, 512, 0), &bench.image);
    same.uuid = uuid::Uuid::new_v4();
    let there = bench.there.spawn(same).await?;
    told(hard(), "the name \"web1\" is already in use").await;
    bench.there.destroy(&there).await?;
    here.power(which(), PowerChange::On, Progress::none()).await?;
    bench.is_unhurt(&instance, &census, "after all refusals").await?;
    assert!(client.all_records::<Task>().await?.is_empty());
    bench.destroy_here(&instance).await
}

#[tokio::test]
async fn what_the_other_pools_edition_lacks() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn(EXT).await?;
    let census = bench.here.census().await?;
    let pool = bench.there.client().all::<xenapi_types::Pool>().await?.remove(0).to_string();
    let vm = bench.here.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
    let vif = bench.here.client().get_field(&vm, vm::field::VIFS).await?.remove(0);
    let limits = BTreeMap::from([("kbps".to_owned(), "100".to_owned())]);
    bench.here.client().set_field(&vif, vif::field::QOS_ALGORITHM_TYPE, "ratelimit".to_owned()).await?;
    bench.here.client().set_field(&vif, vif::field::QOS_ALGORITHM_PARAMS, limits).await?;
    let balloons = Flavor { memory_min_mib: Some(256), ..Flavor::new(1, 512, 0) };
    let cases = [("restrict_qos", None), ("restrict_dmc", Some(balloons))];
    for (key, flavor) in cases {
        let lacks = Value::Struct([(key.to_owned(), "true".into())].into_iter().collect());
        bench.there.simulator.core().db().write(|tx| tx.set("pool", &pool, "restrictions", lacks))?;
        let error = bench.go(&instance, MoveOptions { flavor, ..hard() }).await.unwrap_err();
        assert!(error.to_string().contains(key), "{key}: {error}");
        assert_eq!(error.stage(), Stage::Plan, "{key}: {error}");
    }
    bench.is_unhurt(&instance, &census, "after both").await
}

/// Snapshots are named before anything is done, and left only where that is asked for; nor are they taken along alive.
#[tokio::test]
async fn snapshots_are_not_left_unasked() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn(EXT).await?;
    let (client, which) = (bench.here.client(), || Which::Instance(instance.uuid));
    bench.here.simulator.meet(&bench.there.simulator);
    let vm = client.by_uuid::<Vm>(&instance.vm_uuid).await?;
    let root = client.by_uuid::<Vdi>(&instance.root_uuid).await?;
    let of_vm = client.call(vm::Snapshot { vm, new_name: "before".into(), ignore_vdis: None }).await?;
    let of_disk = client.call(vdi::Snapshot { vdi: root, driver_params: None }).await?;
    let named = [
        client.get_field(&of_vm, vm::field::UUID).await?,
        client.get_field(&of_disk, vdi::field::UUID).await?,
    ];
    let census = bench.here.census().await?;
    let alive =
        bench.here.driver.migrate_to_pool(which(), &bench.there.driver, PoolMigrateOptions::default());
    for error in [bench.go(&instance, hard()).await.unwrap_err(), alive.await.unwrap_err()] {
        assert!(matches!(error.cause(), Cause::SnapshotsStay { .. }), "{error}");
        assert_eq!(error.stage(), Stage::Plan, "{error}");
        assert!(named.iter().all(|uuid| error.to_string().contains(uuid)), "{error}");
    }
    bench.is_unhurt(&instance, &census, "refused").await?;

    bench.go(&instance, MoveOptions { leave_snapshots: true, ..hard() }).await?;
    bench.confirm(&instance).await?;
    assert!(client.record_opt(&of_vm).await?.is_some() && client.record_opt(&of_disk).await?.is_some());
    assert!(bench.there.driver.instance(&which()).await.is_ok());
    Ok(())
}

/// What software may know its machine by.
#[tokio::test]
async fn the_firmware_says_the_same_there() -> Result<()> {
    let bench = Bench::new().await?;
    let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), &bench.image);
    spec.power = xenapi_driver::spec::Power::Off;
    let instance = bench.here.driver.spawn(spec, SpawnOptions::default()).await?;
    let vm = bench.here.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
    let texts = [("bios-vendor", "Acme"), ("system-serial-number", "42-17")];
    let value: BTreeMap<String, String> = texts.map(|(key, text)| (key.to_owned(), text.to_owned())).into();
    match bench.here.client().call(vm::SetBiosStrings { vm, value }).await {
        // A release that cannot do it.
        Err(error) if error.is("MESSAGE_METHOD_UNKNOWN") => return Ok(()),
        set => set?,
    }
    let before = bench.vm_here(&instance).await?.bios_strings;
    let moved = bench.go(&instance, hard()).await?;
    let there = record(bench.there.client(), &moved.vm_uuid).await?.bios_strings;
    assert_eq!(there, before);
    assert_eq!(there["system-serial-number"], "42-17");
    Ok(())
}

/// Disks for swap and data grow with the size, or are added; what would be smaller, or is no disk of its, is told before.
#[tokio::test]
async fn disks_for_swap_and_data_are_larger_there() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn(EXT).await?;
    let census = bench.here.census().await?;
    let to = |swap_mib, ephemeral_gib| MoveOptions {
        flavor: Some(Flavor { swap_mib, ephemeral_gib, ..Flavor::new(1, 512, 0) }),
        ..hard()
    };
    let error = bench.go(&instance, to(2, 1)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Shrink { .. }), "{error}");
    let disks = BTreeMap::from([("00000000-0000-0000-0000-000000000007".into(), SrChoice::PoolDefault)]);
    let place = PoolPlace { disks, ..PoolPlace::default() };
    let error = bench.go(&instance, MoveOptions { place, ..hard() }).await.unwrap_err();
    assert!(error.to_string().contains("has no disk 00000000-"), "{error}");
    bench.is_unhurt(&instance, &census, "refused").await?;

    bench.go(&instance, to(8, 2)).await?;
    let (client, which) = (bench.there.client(), Which::Instance(instance.uuid));
    let vm_uuid = bench.there.driver.instance(&which).await?.vm_uuid;
    let sizes = async |vm: VmRecord| {
        let mut sizes = BTreeMap::new();
        for vbd in &vm.vbds {
            let vbd = client.record(vbd).await?;
            sizes.insert(vbd.userdevice, client.record(&vbd.vdi).await?.virtual_size >> 20);
        }
        anyhow::Ok(sizes)
    };
    let now = sizes(record(client, &vm_uuid).await?).await?;
    assert_eq!([now["2"], now["4"]], [8, 2048], "{now:?}");
    bench.revert(&instance).await?;
    bench.there.census().await?.assert_as(&bench.before[1], "reverted");
    bench.destroy_here(&instance).await?;

    // Those that it did not have are added.
    let mut spec = InstanceSpec::new("web2", Flavor::new(1, 512, 0), &bench.image);
    spec.nics = vec![Nic::on(NETWORK)];
    let plain = bench.here.spawn(spec).await?;
    let count = bench.vm_here(&plain).await?.vbds.len();
    let moved = bench.go(&plain, to(4, 1)).await?;
    let now = record(client, &moved.vm_uuid).await?;
    assert_eq!((now.vbds.len(), now.power_state.clone()), (count + 2, VmPowerState::Running));
    let now = sizes(now).await?;
    assert_eq!([now["2"], now["4"]], [4, 1024], "{now:?}");
    bench.confirm(&plain).await?;
    bench.there.destroy(&plain).await?;
    bench.there.census().await?.assert_as(&bench.before[1], "all of it was its own");
    Ok(())
}

/// Who confirms it dies when it is gone here: there it is not known that it stays, and whoever puts that pool
/// in order hears of it.
#[tokio::test]
async fn a_confirmation_that_dies_when_the_instance_is_gone_here_can_be_completed() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn(EXT).await?;
    let moved = bench.go(&instance, hard()).await?;
    bench.there.simulator.faults().on("VM.remove_from_other_config", refusal());
    bench.confirm(&instance).await.expect_err("the last step failed");
    bench.there.simulator.faults().clear();
    bench.here.census().await?.assert_as(&bench.before[0], "where it was");
    for _ in 0..2 {
        let found = bench.there.driver.reconcile(NOW).await?;
        assert_eq!(
            (&found.waiting, &found.arrived),
            (&vec![moved.vm_uuid.clone()], &found.waiting),
            "{found:?}"
        );
    }
    bench.confirm(&instance).await?;
    let found = bench.there.driver.reconcile(NOW).await?;
    assert!(found.waiting.is_empty() && found.done.is_empty(), "{found:?}");
    bench.there.driver.destroy(Which::Instance(instance.uuid), Progress::none()).await?;
    bench.there.census().await?.assert_as(&bench.before[1], "where it went");
    Ok(())
}
