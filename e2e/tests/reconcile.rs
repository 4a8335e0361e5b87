//! A program is killed in the middle of something: the pool is put in order from what XAPI knows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::pool::{Census, EXT, NETWORK, PASSWORD, Pool};
use e2e::victim;
use examples::demo_image::DemoImage;
use tempfile::TempDir;
use uuid::Uuid;
use xapi_simulator::fault::Fault;
use xapi_simulator::targets::Target;
use xapi_simulator::{Guests, World};
use xenapi_driver::network::NetworkSpec;
use xenapi_driver::reconcile::{Finding, Kind, ReconcileOptions, Reconciled};
use xenapi_driver::resize::ResizeState;
use xenapi_driver::spec::Nic;
use xenapi_driver::{Progress, Settings, Which};
use xenapi_storage::ownership::UNFINISHED;
use xenapi_types::{
    Ref, Sr, Task, TaskRecord, TaskStatusType, Vbd, VbdRecord, Vdi, VdiType, Vif, Vm, VmOperations, sr, task,
    vbd, vdi, vif, vm,
};
use xenapi_wire::Failure;

struct Bench {
    pool: Pool,
    _files: TempDir,
    image: PathBuf,
    url: String,
}

const NOW: ReconcileOptions =
    ReconcileOptions { older_than: Duration::ZERO, dry_run: false, progress: Progress::none() };

impl Bench {
    async fn new() -> Result<Self> {
        Self::of(Pool::of(World::demo().with_all_drivers()).await?).await
    }

    async fn of(pool: Pool) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let image = files.path().join("demo.img");
        DemoImage { virtual_bytes: 64 << 20, payload_bytes: 1 << 20 }.write(&image)?;
        let target = Target::iscsi(victim::PORTAL, victim::IQN, [(0, 8 << 20)]);
        pool.simulator.targets().add(target.login("user", victim::CHAP));
        let url = pool.simulator.listen("127.0.0.1:0").await?;
        Ok(Self { pool, _files: files, image, url })
    }

    async fn spawn(&self) -> Result<Uuid> {
        let image = self.image.display().to_string();
        Ok(self.pool.spawn(victim::spec(&image)).await?.uuid)
    }

    async fn reconcile(&self, options: ReconcileOptions) -> Result<Reconciled> {
        let result = self.pool.driver.reconcile(options).await?;
        assert!(result.leftovers.is_empty(), "{:?}", result.leftovers);
        Ok(result)
    }

    /// Starts the program, and kills it when it says that this stage has begun, or at its `n`-th stage. Says
    /// whether it was over before.
    async fn kill_at(&self, verb: &str, what: &str, n: usize, slow: &str) -> Result<bool> {
        // Otherwise it would be through with the stage before it is killed.
        self.pool.simulator.faults().on(slow, Fault::Slow(Duration::from_millis(400)));
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_victim"));
        command.args([&self.url, PASSWORD, verb, what]);
        let over = victim::kill_at(command, n).await?;
        self.pool.simulator.faults().clear();
        self.quiet().await?;
        Ok(over)
    }

    /// What the dead program had asked for goes on in the host for a while: calls that are served later than
    /// their connection lives, and tasks.
    async fn quiet(&self) -> Result<()> {
        self.pool.simulator.connections().count().wait_for(|count| count.open == 0).await?;
        victim::forget_tasks(&self.pool).await
    }
}

/// What an instance consists of, which must be the same afterwards: the domain's own objects come and go.
fn lasting(census: &Census) -> Vec<(&String, usize)> {
    let passing = ["VM_guest_metrics", "console", "VM_metrics", "VBD", "VBD_metrics", "VDI"];
    census
        .objects
        .iter()
        .filter(|(class, _)| !passing.contains(&class.as_str()))
        .map(|(c, o)| (c, o.len()))
        .collect()
}

#[tokio::test]
async fn a_spawn_killed_at_every_stage() -> Result<()> {
    let bench = Bench::new().await?;
    let before = bench.pool.census().await?;
    let image = bench.image.display().to_string();
    let (mut n, mut found) = (1, 0);
    while !bench.kill_at("spawn", &image, n, "VM.start_on").await? {
        let result = bench.reconcile(NOW).await?;
        found += result.done.len();
        if let Ok(instance) = bench.pool.driver.instance(&Which::parse("victim")).await {
            // It was quicker than the kill.
            assert!(!instance.unfinished && result.done.is_empty(), "{instance:?} {:?}", result.done);
            bench.pool.driver.destroy(Which::Instance(instance.uuid), Progress::none()).await?;
        }
        bench.pool.census().await?.assert_as(&before, &format!("killed at stage {n}: {:?}", result.done));
        assert!(bench.reconcile(NOW).await?.done.is_empty(), "the second time there is nothing to do");
        n += 1;
    }
    assert!(n > 8 && found > 5, "{n} stages, {found} findings");
    // What is complete stays.
    assert!(bench.reconcile(NOW).await?.done.is_empty());
    bench.pool.driver.destroy(Which::parse("victim"), Progress::none()).await?;
    bench.pool.census().await?.assert_as(&before, "in the end");
    Ok(())
}

#[tokio::test]
async fn a_resize_killed_at_every_stage() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn().await?;
    let which = Which::Instance(instance);
    let info = || async { bench.pool.driver.instance(&which).await };
    let (before, census) = (info().await?, bench.pool.census().await?);
    let mut n = 1;
    let mut reverted = 0;
    while !bench.kill_at("resize", &instance.to_string(), n, "VM.start_on").await? {
        let result = bench.reconcile(NOW).await?;
        reverted += result.done.iter().filter(|finding| finding.kind == Kind::BrokenResize).count();
        if info().await?.resize == Some(ResizeState::Done) {
            // It was quicker than the kill.
            bench.pool.driver.revert_resize(which.clone(), Progress::none()).await?;
        }
        assert_eq!(info().await?, before, "killed at stage {n}: {:?}", result.done);
        assert_eq!(lasting(&bench.pool.census().await?), lasting(&census), "killed at stage {n}");
        assert!(bench.reconcile(NOW).await?.done.is_empty());
        n += 1;
    }
    assert!(reverted >= 3, "{reverted} reverted at {n} stages");
    let result = bench.reconcile(NOW).await?;
    assert!(result.done.is_empty(), "a resize that is complete waits for a decision: {:?}", result.done);
    assert_eq!(result.waiting, *std::slice::from_ref(&before.vm_uuid));
    Ok(())
}

#[tokio::test]
async fn an_attachment_killed_at_every_stage() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn().await?;
    // The files of LUNs are their content, not the pool's.
    let changes = |now: Census, before: &Census| {
        let mut changes = now.changes_since(before);
        changes.retain(|change| !change.contains("/disks/"));
        changes
    };
    let before = bench.pool.census().await?;
    for slow in ["PBD.plug", "VBD.plug", "VBD.create", "secret.create"] {
        for n in 1..=3 {
            if bench.kill_at("attach", &instance.to_string(), n, slow).await? {
                let (which, ..) = victim::attachment(&instance.to_string(), Progress::none())?;
                bench.pool.driver.detach_volume(which, "4", Progress::none()).await?;
            }
            let result = bench.reconcile(NOW).await?;
            let now = changes(bench.pool.census().await?, &before);
            // A drive that is complete but for its stage's end is as good as attached.
            if now.iter().any(|change| change.starts_with("+VBD ")) {
                bench.pool.driver.detach_volume(Which::Instance(instance), "4", Progress::none()).await?;
            }
            let now = changes(bench.pool.census().await?, &before);
            assert_eq!(now, [""; 0], "{slow}, stage {n}: {:?}", result.done);
        }
    }
    Ok(())
}

#[tokio::test]
async fn only_what_is_ours_and_old_enough_and_only_told_when_asked() -> Result<()> {
    let bench = Bench::new().await?;
    let client = bench.pool.client();
    let image = bench.image.display().to_string();
    bench.spawn().await?;
    // A disk of somebody else, and one of another owner whose program was killed as well.
    let sr =
        client.all_records::<xenapi_types::Pool>().await?.into_values().next().context("a pool")?.default_sr;
    let call = vdi::Create {
        name_label: "somebody's".into(),
        sr: sr.clone(),
        virtual_size: 1 << 20,
        r#type: VdiType::User,
        ..vdi::Create::default()
    };
    client.call(call).await?;
    let theirs = bench.pool.census().await?;
    let spec = xenapi_driver::spec::InstanceSpec { name: "other".into(), ..victim::spec(&image) };
    let spawned = bench.pool.spawn(spec).await?;
    client
        .destroy(&{
            let vm = client.by_uuid::<Vm>(&spawned.vm_uuid).await?;
            client.call(vm::HardShutdown { vm: vm.clone() }).await?;
            vm
        })
        .await?;
    let before = bench.pool.census().await?;

    let young = bench.reconcile(ReconcileOptions::default()).await?;
    assert!(young.done.is_empty());
    assert_eq!(young.too_young.len(), 2, "{:?}", young.too_young);
    let told = bench.reconcile(ReconcileOptions { dry_run: true, ..NOW }).await?;
    let kinds: Vec<Kind> = told.done.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [Kind::OrphanedDisk, Kind::OrphanedDisk]);
    assert!(told.done[0].to_string().contains("has no instance"));
    bench.pool.census().await?.assert_as(&before, "after a dry run");
    let settings = Settings { owner: "somebody-else".into(), ..Settings::default() };
    let other = bench.pool.driver_with(settings)?;
    assert!(other.reconcile(NOW).await?.done.is_empty());
    bench.pool.census().await?.assert_as(&before, "another owner");
    assert_eq!(bench.reconcile(NOW).await?.done, told.done);
    bench.pool.census().await?.assert_as(&theirs, "in the end");
    Ok(())
}

#[tokio::test]
async fn disks_that_dom0_holds_and_networks_that_were_being_made() -> Result<()> {
    let bench = Bench::new().await?;
    let client = bench.pool.client();
    let instance = bench.spawn().await?;
    bench
        .pool
        .driver
        .power(
            Which::Instance(instance),
            xenapi_driver::PowerChange::Off(xenapi_driver::Shutdown::Hard),
            Progress::none(),
        )
        .await?;
    let before = bench.pool.census().await?;
    let root = client.records_named::<Vdi>("victim").await?.into_iter().next().context("a root disk")?;
    let dom0 = client.all_records::<Vm>().await?;
    let dom0 = dom0.into_iter().find(|(_, vm)| vm.is_control_domain).context("dom0")?.0;
    let call = vbd::Create {
        vm: dom0,
        vdi: root.0,
        userdevice: "autodetect".into(),
        mode: xenapi_types::VbdMode::Ro,
        r#type: xenapi_types::VbdType::Disk,
        unpluggable: true,
        // XAPI's own key: the transfer that needed it, whose task is gone.
        other_config: BTreeMap::from([("task_id".into(), "OpaqueRef:gone".into())]),
        ..vbd::Create::default()
    };
    let vbd = client.call(call).await?;
    client.call(vbd::Plug { vbd }).await?;
    // A network whose driver is killed before it is marked, and whose undo fails.
    let refusal = || Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    bench.pool.simulator.faults().on("network.add_to_other_config", refusal());
    bench.pool.simulator.faults().on("network.destroy", refusal());
    let spec = NetworkSpec { name: "half".into(), mtu: None, vlan: None };
    bench.pool.driver.ensure_network(spec, Progress::none()).await.unwrap_err();
    let done = bench.reconcile(NOW).await?.done;
    let kinds: Vec<Kind> = done.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [Kind::HeldDisk, Kind::UnfinishedNetwork]);
    bench.pool.census().await?.assert_as(&before, "in the end");
    Ok(())
}

/// What somebody has unplugged, and may plug again, is not what a crash has left: that has a mark.
#[tokio::test]
async fn what_an_operator_unplugs_stays() -> Result<()> {
    let bench = Bench::new().await?;
    let (client, driver) = (bench.pool.client(), &bench.pool.driver);
    let instance = bench.spawn().await?.to_string();
    let (which, volume, options) = victim::attachment(&instance, Progress::none())?;
    let attached = driver.attach_volume(which.clone(), volume.clone(), options).await?;
    let nic = driver.attach_interface(which.clone(), Nic::on(NETWORK), Progress::none()).await?;
    let vif = client.by_uuid::<Vif>(&nic.uuid).await?;
    let drives = client.all_records::<Vbd>().await?;
    let is_volume = |(_, vbd): &(Ref<Vbd>, VbdRecord)| vbd.userdevice == attached.device && !vbd.empty;
    let (vbd, keys) = drives.into_iter().find(is_volume).context("the volume's drive")?;
    let is_marked = |keys: &BTreeMap<String, String>| keys.contains_key(UNFINISHED);
    assert!(!is_marked(&keys.other_config) && !is_marked(&client.record(&vif).await?.other_config));
    client.call(vbd::Unplug { vbd: vbd.clone() }).await?;
    client.call(vif::Unplug { vif: vif.clone() }).await?;
    let unplugged = bench.pool.census().await?;
    assert_eq!(bench.reconcile(NOW).await?.done, []);
    bench.pool.census().await?.assert_as(&unplugged, "unplugged by hand");
    // It can be plugged again, by hand or by whoever attaches it once more.
    client.call(vif::Plug { vif: vif.clone() }).await?;
    let (_, _, options) = victim::attachment(&instance, Progress::none())?;
    assert!(driver.attach_volume(which.clone(), volume, options).await?.plugged);
    client.call(vbd::Unplug { vbd: vbd.clone() }).await?;

    // The same with the mark of an operation that has ended: of one that was about to plug it, or to remove it.
    let theirs = Uuid::now_v7().to_string();
    client.add_to(&vbd, vbd::field::OTHER_CONFIG, UNFINISHED, &theirs).await?;
    client.add_to(&vif, vif::field::OTHER_CONFIG, UNFINISHED, &theirs).await?;
    assert!(bench.reconcile(ReconcileOptions::default()).await?.done.is_empty(), "it may be under way");
    // A clone has the keys, and nobody was at it.
    let vm = client.by_name_label::<Vm>("victim").await?;
    client.call(vm::HardShutdown { vm: vm.clone() }).await?;
    let clone = client.call(vm::Clone { vm, new_name: "theirs".to_owned() }).await?;
    let found = bench.reconcile(NOW).await?.done;
    let kinds = found.iter().map(|finding| finding.kind).collect::<Vec<_>>();
    assert_eq!(kinds[..2], [Kind::HalfAttachedVolume, Kind::HalfAttachedInterface], "{found:?}");
    assert_eq!((client.record_opt(&vbd).await?, client.record_opt(&vif).await?), (None, None));
    assert!(client.record_opt(&clone).await?.is_some_and(|vm| vm.vifs.len() == 2));
    let left = driver.interfaces(&which).await?.len();
    assert_eq!((left, driver.volumes(&which).await?.len()), (1, 0));
    Ok(())
}

/// A program that ends between the calls that make an interface and plug it.
#[tokio::test]
async fn an_interface_that_was_never_plugged_is_removed() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn().await?;
    let before = bench.pool.census().await?;
    let refusal = || Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    bench.pool.simulator.faults().on("VIF.plug", refusal());
    bench.pool.simulator.faults().on("VIF.destroy", refusal());
    let attach =
        bench.pool.driver.attach_interface(Which::Instance(instance), Nic::on(NETWORK), Progress::none());
    assert_eq!(attach.await.unwrap_err().leftovers().len(), 1);
    let done = bench.reconcile(NOW).await?.done;
    assert_eq!(done.iter().map(|one| one.kind).collect::<Vec<_>>(), [Kind::HalfAttachedInterface]);
    bench.pool.census().await?.assert_as(&before, "in the end");
    Ok(())
}

/// What cannot be put in order is told, and the rest is done all the same.
#[tokio::test]
async fn one_failure_does_not_stop_the_rest() -> Result<()> {
    let bench = Bench::new().await?;
    let before = bench.pool.census().await?;
    let image = bench.image.display().to_string();
    assert!(!bench.kill_at("spawn", &image, 9, "VM.start_on").await?);
    let refusal = Fault::Failure(Failure::new("SR_BACKEND_FAILURE_80", ["", "a fault of the test", ""]));
    bench.pool.simulator.faults().on("VDI.destroy", refusal);
    let first = bench.pool.driver.reconcile(NOW).await?;
    assert_eq!(first.leftovers.len(), 1, "{:?}", first.leftovers);
    assert!(first.leftovers[0].to_string().contains("SR_BACKEND_FAILURE_80"), "{}", first.leftovers[0]);
    bench.reconcile(NOW).await?;
    bench.pool.census().await?.assert_as(&before, "after the second");
    Ok(())
}

/// A program that lets go of a task leaves its record, which XAPI would keep for an hour.
#[tokio::test]
async fn records_of_tasks_that_nobody_waits_for() -> Result<()> {
    let bench = Bench::new().await?;
    let client = bench.pool.driver.client();
    let theirs = client.with_task_owner("somebody-else");
    let sr = client.by_name_label::<Sr>(EXT).await?;
    let scan = || sr::Scan { sr: sr.clone() };
    let held = client.spawn_task(scan()).await?;
    let forgotten = client.spawn_task(scan()).await?.reference().clone();
    let forgotten_of_others = theirs.spawn_task(scan()).await?.reference().clone();
    let of_nobody = client.with_task_owner("").spawn_task(scan()).await?.reference().clone();
    let made = task::Create { label: "Async.SR.scan".into(), description: String::new() };
    let foreign = client.call(made).await?;
    client.call(task::SetStatus { task: foreign.clone(), value: TaskStatusType::Success }).await?;
    for task in [&forgotten, held.reference(), &forgotten_of_others, &of_nobody] {
        while client.get_field(task, task::field::STATUS).await? == TaskStatusType::Pending {
            tokio::task::yield_now().await;
        }
    }
    let uuid = client.get_field(&forgotten, task::field::UUID).await?;

    let young = bench.reconcile(ReconcileOptions::default()).await?;
    let found = |all: Vec<Finding>| all.into_iter().map(|one| (one.kind, one.uuid)).collect::<Vec<_>>();
    assert_eq!(
        found(young.too_young),
        [(Kind::ForgottenTask, uuid.clone())],
        "another program may wait for it"
    );
    assert_eq!(found(bench.reconcile(NOW).await?.done), [(Kind::ForgottenTask, uuid)]);
    assert_eq!(client.record_opt(&forgotten).await?, None);
    held.wait().await?;
    for task in [forgotten_of_others, of_nobody, foreign] {
        assert!(client.record_opt(&task).await?.is_some(), "it may be somebody else's");
    }
    assert!(bench.reconcile(NOW).await?.done.is_empty());
    Ok(())
}

/// A guest that does not answer keeps its VM busy for twenty minutes, also when nobody waits for it any more.
#[tokio::test]
async fn a_request_of_a_dead_program_that_the_guest_ignores() -> Result<()> {
    let mut guests = Guests::new();
    guests.ignore_requests = true;
    let bench = Bench::of(Pool::of_guests(guests).await?).await?;
    let (client, instance) = (bench.pool.client(), bench.spawn().await?);
    let vm = client.by_name_label::<Vm>("victim").await?;
    let before = client.record(&vm).await?;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_victim"));
    command.args([&bench.url, PASSWORD, "reboot", &instance.to_string()]);
    let mut program = command.stdout(std::process::Stdio::null()).kill_on_drop(true).spawn()?;
    let marked = |task: &TaskRecord| task.other_config.keys().any(|key| key.starts_with("xenapi-rs:asked:"));
    let task = loop {
        let tasks = client.all_records::<Task>().await?;
        match tasks.into_iter().find(|(_, task)| marked(task)) {
            Some((_, task)) => break task,
            None => anyhow::ensure!(program.try_wait()?.is_none(), "it has ended by itself"),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(task.name_label, "Async.VM.clean_reboot");
    program.kill().await?;
    // Another one's request is not ours to cancel, nor is one that may still be waited for.
    let settings = Settings { owner: "somebody-else".into(), ..Settings::default() };
    assert!(bench.pool.driver_with(settings)?.reconcile(NOW).await?.done.is_empty());
    let young = bench.reconcile(ReconcileOptions::default()).await?;
    assert_eq!(young.too_young.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [Kind::HungRequest]);
    let busy = client.get_field(&vm, vm::field::CURRENT_OPERATIONS).await?;
    assert_eq!(busy.into_values().collect::<Vec<_>>(), [VmOperations::CleanReboot]);

    let done = bench.reconcile(NOW).await?.done;
    let found: Vec<_> = done.into_iter().map(|finding| (finding.kind, finding.uuid)).collect();
    assert_eq!(found, [(Kind::HungRequest, task.uuid)]);
    let now = client.record(&vm).await?;
    assert_eq!((now.power_state, now.domid), (before.power_state, before.domid), "it runs on");
    assert!(now.current_operations.is_empty(), "{:?}", now.current_operations);
    assert_eq!(client.all::<Task>().await?, []);
    assert!(bench.reconcile(NOW).await?.done.is_empty());
    Ok(())
}
