//! Hosts: what they have, and their maintenance with guests on them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use e2e::dom0::Dom0;
use e2e::pool::{NETWORK, PASSWORD, Pool};
use e2e::victim;
use examples::demo_image::DemoImage;
use tempfile::TempDir;
use uuid::Uuid;
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xenapi_client::{Client, Config};
use xenapi_config::Settings as Options;
use xenapi_driver::compatibility::{Machine, Mode, Strictness};
use xenapi_driver::host_boot::ResumeOptions;
use xenapi_driver::live::MigrateOptions;
use xenapi_driver::load::LoadFrom;
use xenapi_driver::node::DrainOptions;
use xenapi_driver::plan::Conflict;
use xenapi_driver::reconcile::{Kind, ReconcileOptions, Reconciled};
use xenapi_driver::spec::{Flavor, InstanceSpec, Nic, SrChoice};
use xenapi_driver::{Cause, Driver, Instance, PowerChange, Progress, Settings, Shutdown, Stage, Which};
use xenapi_types::{Host, Vm, VmPowerState, host, vm};
use xenapi_wire::Failure;

struct Bench {
    pool: Pool,
    _files: TempDir,
    here: Uuid,
    there: Uuid,
}

impl Bench {
    /// Two hosts with a repository that both have, and an instance on each repository of the first.
    async fn new() -> Result<Self> {
        let files = tempfile::tempdir()?;
        let image = files.path().join("demo.img");
        DemoImage { virtual_bytes: 64 << 20, payload_bytes: 1 << 20 }.write(&image)?;
        let pool = Pool::of(World::demo().with_hosts(2).with_all_drivers()).await?;
        pool.share("shared").await?;
        let home = pool.client().all_records::<xenapi_types::Pool>().await?;
        let home = home.into_values().next().context("a pool")?.master;
        let nodes = pool.driver.nodes().await?;
        let of = |is_home| nodes.iter().find(|node| (node.reference == home) == is_home).context("two nodes");
        let (here, there) = (of(true)?.uuid.parse()?, of(false)?.uuid.parse()?);
        for (name, sr) in [("moves", SrChoice::NameLabel("shared".into())), ("stays", SrChoice::PoolDefault)]
        {
            let mut spec = InstanceSpec::new(name, Flavor::new(2, 512, 0), &image);
            (spec.node, spec.sr, spec.nics) = (Some(here), sr, vec![Nic::on(NETWORK)]);
            pool.spawn(spec).await?;
        }
        Ok(Self { pool, _files: files, here, there })
    }
}

#[tokio::test]
async fn what_a_host_has() -> Result<()> {
    let bench = Bench::new().await?;
    // As XAPI notes it when a host boots.
    let host = bench.pool.client().by_uuid::<Host>(&bench.here.to_string()).await?;
    let hour_ago = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs() - 3_600;
    let (field, boot_time) = (host::field::OTHER_CONFIG, format!("{hour_ago}."));
    bench.pool.client().add_to(&host, field, "boot_time", boot_time).await?;
    let info = bench.pool.driver.node(bench.here).await?;
    assert_eq!((info.guests, info.vcpus_used, info.live), (2, 4, true));
    assert!(info.uptime.is_some_and(|time| (3_598..9_999).contains(&time.as_secs())), "{info:?}");
    let record = bench.pool.client().record(&host).await?;
    assert_eq!((&*info.cpu_model, info.cpu_sockets), ("Simulated CPU", 1));
    assert!(info.capabilities.iter().any(|can| can.starts_with("hvm-3.0-")), "{:?}", info.capabilities);
    assert_eq!((info.capabilities.clone(), info.gpus.len()), (record.capabilities, 0));
    assert!(info.memory_total_bytes > info.node.memory_free_bytes && info.node.memory_free_bytes > 0);
    let shared = info.storage.iter().find(|sr| sr.name == "shared").context("the shared repository")?;
    assert!(shared.shared && shared.allocated_bytes >= 64 << 20);
    assert_eq!(shared.total_bytes, Some(1 << 32));
    let other = bench.pool.driver.node(bench.there).await?;
    assert_eq!((other.guests, other.vcpus_used), (0, 0));
    bench.pool.driver.node(Uuid::nil()).await.unwrap_err();
    Ok(())
}

/// As the host measures it, and as Nova's plugin tells it: one type, in the same units.
#[tokio::test]
async fn how_busy_a_host_is() -> Result<()> {
    let dom0 = Dom0::new(env!("CARGO_BIN_EXE_dom0-plugins"), &["xenhost.py"])?;
    dom0.tool("xe", r#"echo "memory-total ( RO): 17179869184"; echo "memory-free ( RO): 4096""#)?;
    let pool = Pool::with_plugins(&dom0.plugins()).await?;
    let (driver, client) = (&pool.driver, pool.client());
    let node: Uuid = driver.nodes().await?.remove(0).uuid.parse()?;
    let host = client.record(&client.by_uuid::<Host>(&node.to_string()).await?).await?;
    let load = driver.node_load(node, LoadFrom::Measurements).await?;
    let share = |cpu: &Option<f64>| cpu.is_some_and(|cpu| (0.0..=1.0).contains(&cpu));
    assert!(share(&load.cpu) && load.cpus.iter().all(share) && load.load_average.is_some(), "{load:?}");
    assert_eq!(Some(load.cpus.len().to_string()), host.cpu_info.get("cpu_count").cloned());
    let age = SystemTime::now().duration_since(load.measured_at.context("a time")?)?;
    assert!(age < Duration::from_secs(3_600), "{age:?}");
    let info = driver.node(node).await?;
    assert_eq!(load.memory_total_bytes, Some(info.memory_total_bytes));
    assert!(
        load.memory_free_bytes.is_some_and(|free| free > 0 && free < info.memory_total_bytes),
        "{load:?}"
    );
    assert!(load.networks.iter().any(|nic| nic.name == "eth0" && nic.sent_per_second.is_some()), "{load:?}");
    let repositories: BTreeSet<_> = info.storage.iter().map(|sr| sr.uuid.clone()).collect();
    assert_eq!(load.disks.iter().map(|disk| disk.name.clone()).collect::<BTreeSet<_>>(), repositories);
    assert!(load.disks.iter().all(|disk| disk.read_per_second.is_some()), "{load:?}");

    let told = driver.node_load(node, LoadFrom::Plugin).await?;
    assert_eq!((told.memory_total_bytes, told.memory_free_bytes), (Some(16 << 30), Some(4096)));
    assert_eq!((told.cpu, told.measured_at, told.networks.len()), (None, None, 0));
    dom0.tool("xe", "exit 1")?;
    let error = driver.node_load(node, LoadFrom::Plugin).await.unwrap_err();
    assert!(error.to_string().contains("xenhost.py"), "{error}");

    // Before it has measured anything, nothing is known of it; and of one that is down nobody can be asked.
    let soon = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs() + 3_600;
    let reference = client.by_uuid::<Host>(&node.to_string()).await?;
    client.add_to(&reference, host::field::OTHER_CONFIG, "boot_time", format!("{soon}.")).await?;
    assert_eq!(driver.node_load(node, LoadFrom::Measurements).await?.cpu, None);
    let metrics = host.metrics.to_string();
    pool.simulator.core().db().write(|tx| tx.set("host_metrics", &metrics, "live", false))?;
    for from in [LoadFrom::Measurements, LoadFrom::Plugin] {
        let error = driver.node_load(node, from).await.unwrap_err();
        assert!(matches!(error.cause(), Cause::HostDown { .. }), "{error}");
    }
    driver.node_load(Uuid::nil(), LoadFrom::Measurements).await.unwrap_err();
    Ok(())
}

#[tokio::test]
async fn a_host_without_the_plugin_or_without_measurements() -> Result<()> {
    let pool = Pool::demo().await?;
    let node: Uuid = pool.driver.nodes().await?.remove(0).uuid.parse()?;
    let error = pool.driver.node_load(node, LoadFrom::Plugin).await.unwrap_err().to_string();
    assert!(error.contains("install the plugin"), "{error}");
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    pool.simulator.faults().on_every("/rrd_updates", refusal);
    let error = pool.driver.node_load(node, LoadFrom::Measurements).await.unwrap_err();
    assert!(error.to_string().contains("asking how busy host"), "{error}");
    Ok(())
}

/// The driver's own machine may be a VM of the pool, or one of somewhere else.
#[tokio::test]
async fn which_vm_this_machine_is() -> Result<()> {
    let pool = Pool::demo().await?;
    let vms = pool.client().all_records::<Vm>().await?;
    let vm = vms.into_values().next().context("a VM")?;
    let files = tempfile::tempdir()?;
    let path = files.path().join("uuid");
    let mut machine = Machine::default();
    machine.hypervisor_uuid.clone_from(&path);

    std::fs::write(&path, format!("{}\n", vm.uuid))?;
    let report = pool.driver.compatibility(&Options::new(), Strictness::Able, &machine).await?;
    assert_eq!(report.mode, Mode::Inside { vm_uuid: vm.uuid, name: vm.name_label });

    std::fs::write(&path, format!("{}\n", Uuid::new_v4()))?;
    let report = pool.driver.compatibility(&Options::new(), Strictness::Able, &machine).await?;
    let Mode::Independent { because } = &report.mode else { panic!("{:?}", report.mode) };
    assert!(because.ends_with("which is none of the endpoint's"), "{because}");
    Ok(())
}

/// What the plugin finds of dom0's folders gets into the report, one that is not there too.
#[tokio::test]
async fn the_room_in_folders_of_dom0() -> Result<()> {
    let dom0 = Dom0::new(env!("CARGO_BIN_EXE_dom0-plugins"), &["xenhost.py"])?;
    let pool = Pool::with_plugins(&dom0.plugins()).await?;
    let folders = async || {
        let report =
            pool.driver.compatibility(&Options::new(), Strictness::Able, &Machine::default()).await?;
        let host = report.hosts.into_iter().next().context("a host")?;
        anyhow::Ok(host.folders)
    };
    // The real one, in the folders of this dom0.
    dom0.tool("df", r#"PATH=/usr/bin:/bin; exec df "$1" "$2" "$DOM0_ROOT$3""#)?;
    let there = async || {
        let found = folders().await?;
        // Whatever room there is on this machine, it is some.
        anyhow::Ok(
            found
                .into_iter()
                .map(|(path, free)| (path, free.is_some_and(|bytes| bytes > 0)))
                .collect::<BTreeMap<_, _>>(),
        )
    };
    let wanted = |kernels, images| {
        BTreeMap::from([("/boot/guest".to_owned(), kernels), ("/images".to_owned(), images)])
    };
    assert_eq!(folders().await?.into_values().collect::<Vec<_>>(), [None, None]);
    std::fs::create_dir_all(dom0.path("/images"))?;
    assert_eq!(there().await?, wanted(false, true));
    std::fs::create_dir_all(dom0.path("/boot/guest"))?;
    assert_eq!(there().await?, wanted(true, true));
    Ok(())
}

/// A service does not start with options that it cannot have, and is told of all of them.
#[tokio::test]
async fn options_that_do_not_fit_at_the_start() -> Result<()> {
    let pool = Pool::demo().await?;
    let vm = pool.client().all_records::<Vm>().await?.into_values().next().context("a VM")?;
    let files = tempfile::tempdir()?;
    let machine = |uuid: &str| {
        let mut machine = Machine::default();
        machine.hypervisor_uuid = files.path().join(uuid);
        std::fs::write(&machine.hypervisor_uuid, uuid).map(|()| machine)
    };
    let (elsewhere, inside) = (machine("not Xen's")?, machine(&vm.uuid)?);

    let (strict, injected) = (("strictness", "strict"), ("flat_injected", "true"));
    for (machine, options, refused) in [
        (&elsewhere, &[][..], &[][..]),
        (&elsewhere, &[strict], &["check_host (default)"]),
        (&elsewhere, &[strict, ("check_host", "false")], &[]),
        (&elsewhere, &[strict, injected], &["check_host (default)", "flat_injected (command line)"]),
        // Nobody has a plugin that could do it.
        (&elsewhere, &[injected], &["flat_injected (command line)"]),
        (&inside, &[strict], &[]),
        (&inside, &[strict, ("independent_compute", "true")], &["check_host (default)"]),
    ] {
        let given = Options::new().command_line(options.iter().copied());
        let conflicts = match pool.driver.check_options(&given, machine).await {
            Ok(()) => Vec::new(),
            Err(error) => match error.cause() {
                Cause::Incompatible(all) => all.0.clone(),
                other => panic!("{other}"),
            },
        };
        assert_eq!(conflicts.len(), refused.len(), "{options:?}: {conflicts:?}");
        for (conflict, name) in conflicts.iter().zip(refused) {
            assert!(conflict.starts_with(name), "{options:?}: {conflicts:?}");
        }
        // The start and the report say the same.
        let strictness = Strictness::of(&given);
        assert_eq!(pool.driver.compatibility(&given, strictness, machine).await?.conflicts, conflicts);
    }
    Ok(())
}

#[tokio::test]
async fn drained_as_far_as_it_can_be_and_rebooted_when_it_is_empty() -> Result<()> {
    let bench = Bench::new().await?;
    let driver = &bench.pool.driver;
    let error = driver.reboot_node(bench.here, Progress::none()).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NodeBusy { .. }), "{error}");

    let drained = driver.drain_node(bench.here, DrainOptions::default()).await?;
    let by_name = |name: &'static str| async move { driver.instance(&Which::parse(name)).await };
    let (moves, stays) = (by_name("moves").await?, by_name("stays").await?);
    assert_eq!(drained.moved, [moves.vm_uuid]);
    assert_eq!(moves.node, Some(bench.there.to_string()));
    assert_eq!(drained.stuck.iter().map(|(vm, _)| vm).collect::<Vec<_>>(), [&stays.vm_uuid]);
    assert!(!driver.node(bench.here).await?.node.enabled);
    let error = driver.reboot_node(bench.here, Progress::none()).await.unwrap_err();
    assert!(error.to_string().contains("drain it"), "{error}");
    driver.destroy(Which::parse("stays"), Progress::none()).await?;
    let refusal = || Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    bench.pool.simulator.faults().on("host.reboot", refusal());
    let error = driver.reboot_node(bench.here, Progress::none()).await.unwrap_err();
    assert!(error.to_string().contains("a fault of the test"), "{error}");
    driver.reboot_node(bench.here, Progress::none()).await?;
    bench.pool.simulator.faults().on("host.shutdown", refusal());
    let error = driver.shutdown_node(bench.here, Progress::none()).await.unwrap_err();
    assert!(error.to_string().contains("a fault of the test"), "{error}");
    driver.shutdown_node(bench.here, Progress::none()).await?;
    bench.pool.simulator.faults().on("host.enable", refusal());
    let error = driver.set_node_enabled(bench.here, true, Progress::none()).await.unwrap_err();
    assert!(error.to_string().contains("a fault of the test"), "{error}");
    assert!(!driver.node(bench.here).await?.node.enabled);
    driver.set_node_enabled(bench.here, true, Progress::none()).await?;
    driver.set_node_enabled(bench.here, true, Progress::none()).await?;
    assert!(driver.node(bench.here).await?.node.enabled);
    Ok(())
}

/// A guest whose disks only its host has goes too, where it is said where to; and the plan says what will be.
#[tokio::test]
async fn drained_with_the_disks_and_planned() -> Result<()> {
    let bench = Bench::new().await?;
    let driver = &bench.pool.driver;
    let planned = async |options: DrainOptions| {
        anyhow::Ok(driver.dry_run(|driver| driver.drain_node(bench.here, options)).await?.to_string())
    };
    let stays = driver.instance(&Which::parse("stays")).await?.vm_uuid;
    let plan = planned(DrainOptions::default()).await?;
    assert!(plan.contains(&format!("leave VM {stays}: ")), "{plan}");
    let options =
        || DrainOptions { sr: Some(SrChoice::NameLabel("shared".into())), ..DrainOptions::default() };
    let plan = planned(options()).await?;
    assert!(plan.contains("to storage repository \"shared\"") && !plan.contains("leave"), "{plan}");
    let drained = driver.drain_node(bench.here, options()).await?;
    assert_eq!((drained.moved.len(), drained.stuck.len(), drained.left.len()), (2, 0, 0), "{drained:?}");
    Ok(())
}

/// What fails on the way to one host leaves nothing that keeps the guest from the next one.
#[tokio::test]
async fn the_next_host_is_tried_when_one_does_not_take_a_guest() -> Result<()> {
    let files = tempfile::tempdir()?;
    let image = files.path().join("demo.img");
    DemoImage { virtual_bytes: 64 << 20, payload_bytes: 1 << 20 }.write(&image)?;
    let pool = Pool::of(World::demo().with_hosts(3).with_all_drivers()).await?;
    pool.share("shared").await?;
    let node: Uuid = pool.driver.nodes().await?[0].uuid.parse()?;
    let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), &image);
    (spec.node, spec.sr) = (Some(node), SrChoice::NameLabel("shared".into()));
    let instance = pool.spawn(spec).await?;
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    pool.simulator.faults().on_nth("VM.pool_migrate", 1, refusal);
    let drained = pool.driver.drain_node(node, DrainOptions::default()).await?;
    assert_eq!(pool.simulator.faults().clear(), 0, "the first host refused it");
    assert_eq!(
        (drained.moved, drained.left),
        (vec![instance.vm_uuid.clone()], vec![]),
        "{:?}",
        drained.stuck
    );
    let vm = pool.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
    let record = pool.client().record(&vm).await?;
    assert!(!record.other_config.contains_key("xenapi-rs:moving"), "{:?}", record.other_config);
    assert_eq!(record.affinity, record.resident_on);
    Ok(())
}

/// XAPI goes on to call a host that has died enabled, and to compute what memory it has.
#[tokio::test]
async fn a_dead_host_takes_no_guests() -> Result<()> {
    let files = tempfile::tempdir()?;
    let image = files.path().join("demo.img");
    DemoImage { virtual_bytes: 64 << 20, payload_bytes: 1 << 20 }.write(&image)?;
    let pool = Pool::of(World::demo().with_hosts(3).with_all_drivers()).await?;
    pool.share("shared").await?;
    let nodes = pool.driver.nodes().await?;
    // The one that would be tried first.
    let (home, dead) = (&nodes[0], &nodes[1]);
    let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), &image);
    (spec.node, spec.sr) = (Some(home.uuid.parse()?), SrChoice::NameLabel("shared".into()));
    let instance = pool.spawn(spec.clone()).await?;
    let metrics = pool.client().record(&dead.reference).await?.metrics.to_string();
    pool.simulator.core().db().write(|tx| tx.set("host_metrics", &metrics, "live", false))?;

    let told = pool.driver.nodes().await?.remove(1);
    assert_eq!((told.enabled, told.live, told.memory_free_bytes), (true, false, 0));
    assert!(nodes.iter().all(|node| node.live && node.memory_free_bytes > 0));
    let before = pool.census().await?;
    (spec.name, spec.uuid, spec.node) = ("web2".to_owned(), Uuid::new_v4(), Some(dead.uuid.parse()?));
    let error = pool.spawn(spec).await.unwrap_err();
    let Cause::Conflicts(conflicts) = error.cause() else { panic!("{error}") };
    let is_dead = |conflict: &Conflict| matches!(conflict, Conflict::NodeNotLive { .. });
    assert!(error.stage() == Stage::Plan && conflicts.iter().all(is_dead), "{error}");
    pool.census().await?.assert_as(&before, "after the refusal");
    let there = MigrateOptions::to(dead.uuid.parse()?);
    let error = pool.driver.live_migrate(Which::Instance(instance.uuid), there).await.unwrap_err();
    assert!(error.to_string().contains("is not live by the pool's account"), "{error}");

    pool.simulator.faults().record();
    let drained = pool.driver.drain_node(home.uuid.parse()?, DrainOptions::default()).await?;
    assert_eq!(
        (drained.moved, drained.left),
        (vec![instance.vm_uuid.clone()], vec![]),
        "{:?}",
        drained.stuck
    );
    let moves = pool.simulator.faults().recorded();
    assert_eq!(moves.iter().filter(|call| call.contains("pool_migrate")).count(), 1, "{moves:?}");
    // One that prefers it is started on another.
    let vm = pool.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
    let power = |change| pool.driver.power(Which::Instance(instance.uuid), change, Progress::none());
    power(PowerChange::Off(Shutdown::Hard)).await?;
    pool.client().set_field(&vm, vm::field::AFFINITY, dead.reference.clone()).await?;
    power(PowerChange::On).await?;
    assert_ne!(pool.client().record(&vm).await?.resident_on, dead.reference);
    Ok(())
}

/// One driver places guests on all hosts at the same time, and another one knows of each, wherever it is.
#[tokio::test]
async fn one_driver_for_all_hosts() -> Result<()> {
    let files = tempfile::tempdir()?;
    let image = files.path().join("demo.img");
    DemoImage { virtual_bytes: 64 << 20, payload_bytes: 1 << 20 }.write(&image)?;
    let pool = Pool::of(World::demo().with_hosts(3).with_all_drivers()).await?;
    pool.share("shared").await?;
    let nodes = pool.nodes().await?;
    assert_eq!(nodes.len(), 3);
    let spawn = async |n: usize| -> Result<Instance> {
        let mut spec = InstanceSpec::new(format!("web{n}"), Flavor::new(1, 512, 0), &image);
        (spec.node, spec.sr) = (Some(nodes[n].uuid.parse()?), SrChoice::NameLabel("shared".into()));
        Ok(pool.spawn(spec).await?)
    };
    let (first, second, third) = tokio::join!(spawn(0), spawn(1), spawn(2));
    let instances = [first?, second?, third?];
    for (instance, node) in instances.iter().zip(&nodes) {
        let (_, vm) = pool.vm(instance).await?;
        assert_eq!((&vm.resident_on, vm.power_state), (&node.reference, VmPowerState::Running));
        assert_eq!(pool.driver.node(node.uuid.parse()?).await?.guests, 1, "{}", node.name);
    }

    let another = pool.driver_with(Settings::default())?;
    let listed: Vec<_> = another.instances().await?.into_iter().map(|it| (it.name, it.node)).collect();
    let wanted = nodes.iter().enumerate().map(|(n, node)| (format!("web{n}"), Some(node.uuid.clone())));
    assert_eq!(listed, wanted.collect::<Vec<_>>());
    let before = pool.vm(&instances[1]).await?.1.domid;
    let which = |n: usize| Which::Instance(instances[n].uuid);
    let (off, rebooted) = tokio::join!(
        another.power(which(0), PowerChange::Off(Shutdown::Hard), Progress::none()),
        pool.driver.power(which(1), PowerChange::Reboot(Shutdown::Hard), Progress::none()),
    );
    assert_eq!((off?, rebooted?), (VmPowerState::Halted, VmPowerState::Running));
    let mut guests = Vec::new();
    for node in &nodes {
        guests.push(pool.driver.node(node.uuid.parse()?).await?.guests);
    }
    assert_eq!(guests, [0, 1, 1]);
    let vm = pool.vm(&instances[1]).await?.1;
    assert_eq!(vm.resident_on, nodes[1].reference);
    assert_ne!(vm.domid, before, "it has booted");
    assert_eq!(pool.vm(&instances[2]).await?.1.power_state, VmPowerState::Running);

    let foreign = pool.driver_with(Settings { owner: "somebody-else".into(), ..Settings::default() })?;
    assert_eq!(foreign.instances().await?, []);
    Ok(())
}

#[tokio::test]
async fn guests_of_others_move_only_when_asked_for() -> Result<()> {
    let bench = Bench::new().await?;
    let other = bench.pool.driver_with(Settings { owner: "somebody-else".into(), ..Settings::default() })?;
    let drained = other.drain_node(bench.here, DrainOptions::default()).await?;
    assert_eq!((drained.moved.len(), drained.stuck.len()), (0, 2), "{drained:?}");
    let drained =
        other.drain_node(bench.here, DrainOptions { others: true, ..DrainOptions::default() }).await?;
    assert_eq!((drained.moved.len(), drained.stuck.len()), (1, 1), "{drained:?}");
    Ok(())
}

#[tokio::test]
async fn a_host_that_cannot_be_looked_through_is_as_it_was() -> Result<()> {
    let bench = Bench::new().await?;
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    bench.pool.simulator.faults().on("VM.get_all_records", refusal);
    let error = bench.pool.driver.drain_node(bench.here, DrainOptions::default()).await.unwrap_err();
    assert!(error.leftovers().is_empty(), "{error}");
    assert!(bench.pool.driver.node(bench.here).await?.node.enabled, "it takes guests again");
    Ok(())
}

/// The host was started anew: those that are meant come up, each of them, and nobody else's.
#[tokio::test]
async fn the_guests_of_a_host_come_up_with_it() -> Result<()> {
    let bench = Bench::new().await?;
    let (driver, client) = (&bench.pool.driver, bench.pool.client());
    let mut all = driver.instances().await?;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let vms: Vec<String> = all.iter().map(|instance| instance.vm_uuid.clone()).collect();
    let crash = async || {
        for uuid in &vms {
            let vm = client.by_uuid::<Vm>(uuid).await?;
            if client.get_field(&vm, vm::field::POWER_STATE).await? != VmPowerState::Halted {
                client.call(vm::PowerStateReset { vm }).await?;
            }
        }
        anyhow::Ok(())
    };
    let of = |instances: &[usize]| ResumeOptions {
        instances: Some(instances.iter().map(|n| all[*n].uuid).collect()),
        ..ResumeOptions::default()
    };
    crash().await?;
    assert_eq!(driver.resume_guests(bench.there, of(&[0, 1])).await?.running, [""; 0], "of the other host");
    let somebody =
        bench.pool.driver_with(Settings { owner: "somebody else".into(), ..Settings::default() })?;
    assert_eq!(somebody.resume_guests(bench.here, of(&[0, 1])).await?.running, [""; 0]);
    assert_eq!(driver.resume_guests(bench.here, of(&[1])).await?.running, [vms[1].clone()]);
    // One that does not come up is told, and the other one runs; it did before.
    let refusal = Fault::Failure(Failure::new("VM_REQUIRES_SR", ["a fault of the test"]));
    bench.pool.simulator.faults().on("VM.start_on", refusal);
    let resumed = driver.resume_guests(bench.here, of(&[0, 1])).await?;
    assert_eq!((resumed.running, resumed.down.len()), (vec![vms[1].clone()], 1));
    assert!(
        resumed.down[0].1.contains("VM_REQUIRES_SR") && resumed.down[0].0 == vms[0],
        "{:?}",
        resumed.down
    );
    let resumed = driver.resume_guests(bench.here, of(&[0, 1])).await?;
    assert_eq!((resumed.running, resumed.down), (vms.clone(), vec![]));

    // Without a list, it is XAPI's own mark that counts; suspended and paused ones run again, too.
    let none = driver.resume_guests(bench.here, ResumeOptions::default()).await?;
    assert_eq!((none.running, none.down), (vec![], vec![]));
    for uuid in &vms {
        let vm = client.by_uuid::<Vm>(uuid).await?;
        client.add_to(&vm, vm::field::OTHER_CONFIG, "auto_poweron", "true").await?;
    }
    let which = |n: usize| Which::Instance(all[n].uuid);
    driver.power(which(0), PowerChange::Suspend, Progress::none()).await?;
    driver.power(which(1), PowerChange::Pause, Progress::none()).await?;
    assert_eq!(driver.resume_guests(bench.here, ResumeOptions::default()).await?.running, vms);
    // What is not to be started stays down.
    crash().await?;
    driver.soft_delete(which(0), Progress::none()).await?;
    let resumed = driver.resume_guests(bench.here, ResumeOptions::default()).await?;
    assert_eq!((resumed.running, resumed.down.len()), (vec![vms[1].clone()], 1));
    Ok(())
}

const NOW: ReconcileOptions =
    ReconcileOptions { older_than: Duration::ZERO, dry_run: false, progress: Progress::none() };

impl Bench {
    /// The keys by which drains are noted on the first host, and whether it takes guests.
    async fn notes(&self) -> Result<(Vec<String>, bool)> {
        let host = self.pool.client().by_uuid::<Host>(&self.here.to_string()).await?;
        let record = self.pool.client().record(&host).await?;
        let keys = record.other_config.into_keys().filter(|key| key.starts_with("xenapi-rs:drain"));
        Ok((keys.collect(), record.enabled))
    }

    /// Puts the pool in order, and says what there was.
    async fn reconcile(&self, options: ReconcileOptions) -> Result<Reconciled> {
        let reconciled = self.pool.driver.reconcile(options).await?;
        assert!(reconciled.leftovers.is_empty(), "{reconciled:?}");
        Ok(reconciled)
    }

    /// Has a program drain the host that ends, as if it were killed, at its `n`-th call: before the pool carries it out, or
    /// after that. Says whether it was through before.
    async fn drain_until(&self, url: &str, n: usize, fault: Fault) -> Result<bool> {
        let program = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let config = Config::new(url, "root", PASSWORD)?;
        let faults = self.pool.simulator.faults();
        let mut struck = faults.struck();
        struck.borrow_and_update();
        faults.on_nth("*", n, fault);
        let here = self.here;
        let draining = program.spawn(async move {
            let driver = Driver::over(Client::connect(config).await?, Settings::default());
            anyhow::Ok(driver.drain_node(here, DrainOptions::default()).await?)
        });
        let over = tokio::select! {
            changed = struck.changed() => changed.map(|()| false)?,
            drained = draining => drained?.map(|_| true)?,
        };
        tokio::task::spawn_blocking(|| program.shutdown_timeout(Duration::from_secs(600))).await?;
        faults.clear();
        self.pool.simulator.connections().count().wait_for(|count| count.open == 0).await?;
        // What it had begun goes on without it.
        victim::forget_tasks(&self.pool).await?;
        Ok(over)
    }
}

/// Whatever it was that the program did last, the host is not left disabled without anybody who knows why.
#[tokio::test]
async fn a_drain_that_dies_at_every_call() -> Result<()> {
    let bench = Bench::new().await?;
    let driver = &bench.pool.driver;
    let url = bench.pool.simulator.listen("127.0.0.1:0").await?;
    let (mut n, mut enabled_again, mut complete) = (1, 0, 0);
    let mut is_over = false;
    // How often a task is looked at depends on time, so the two may differ by a call.
    while !is_over {
        is_over = true;
        for fault in [Fault::Hang, Fault::Silence] {
            is_over &= bench.drain_until(&url, n, fault.clone()).await?;
            let (keys, enabled) = bench.notes().await?;
            let took_guests = keys.iter().any(|key| key == "xenapi-rs:drain-disabled");
            assert!(enabled || took_guests || keys.len() < 2, "{n} {fault:?}: {keys:?}");
            let told = bench.reconcile(ReconcileOptions { dry_run: true, ..NOW }).await?;
            assert_eq!(bench.notes().await?, (keys.clone(), enabled), "{n} {fault:?}: only told");
            let done = bench.reconcile(NOW).await?.done;
            assert_eq!(done, told.done, "{n} {fault:?}");
            let found = done.iter().filter(|finding| finding.kind == Kind::BrokenDrain).count();
            assert_eq!(found, usize::from(!keys.is_empty()), "{n} {fault:?}: {done:?}");
            assert_eq!(bench.notes().await?, (vec![], enabled || took_guests), "{n} {fault:?}: {done:?}");
            assert_eq!(bench.reconcile(NOW).await?.done, [], "{n} {fault:?}: the second time");
            (enabled_again, complete) = (
                enabled_again + u32::from(!enabled && took_guests),
                complete + u32::from(!enabled && !took_guests),
            );
            driver.set_node_enabled(bench.here, true, Progress::none()).await?;
            let moves = driver.instance(&Which::parse("moves")).await?;
            if moves.node != Some(bench.here.to_string()) {
                driver.live_migrate(Which::Instance(moves.uuid), MigrateOptions::to(bench.here)).await?;
            }
        }
        n += 1;
    }
    // Whole once with each fault at least, and often ended between the first change and the last.
    assert!(
        enabled_again > 10 && complete >= 2,
        "{n} calls: {enabled_again} times enabled, {complete} complete"
    );
    Ok(())
}

#[tokio::test]
async fn a_host_stays_disabled_as_long_as_somebody_drains_it() -> Result<()> {
    let bench = Bench::new().await?;
    let (client, driver) = (bench.pool.client(), &bench.pool.driver);
    let host = client.by_uuid::<Host>(&bench.here.to_string()).await?;
    let refusal = || Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    let other = |owner: &'static str| {
        let (key, host) = (format!("xenapi-rs:drain:{}", Uuid::now_v7()), host.clone());
        async move {
            let noted = client.add_to(&host, host::field::OTHER_CONFIG, key.clone(), owner).await;
            noted.map(|()| key)
        }
    };
    let ends = async |key: String| client.remove_from(&host, host::field::OTHER_CONFIG, key).await;

    // One that breaks off leaves it to the other program of ours, which dies.
    let key = other("xenapi-rs").await?;
    assert_eq!(Settings::default().owner, "xenapi-rs");
    bench.pool.simulator.faults().on("VM.get_all_records", refusal());
    let error = driver.drain_node(bench.here, DrainOptions::default()).await.unwrap_err();
    assert!(error.leftovers().is_empty(), "{error}");
    assert_eq!(bench.notes().await?, (vec!["xenapi-rs:drain-disabled".to_owned(), key.clone()], false));
    let young = bench.reconcile(ReconcileOptions::default()).await?;
    assert_eq!((young.done.len(), young.too_young.len()), (0, 1), "{young:?}");
    assert!(!bench.notes().await?.1);
    let done = bench.reconcile(NOW).await?.done;
    assert_eq!(
        done.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [format!("have host {} as it was before its draining, which broke off", bench.here)]
    );
    assert_eq!(bench.notes().await?, (vec![], true));

    // Of another owner, nobody knows but it itself.
    let (ours, theirs) = (other("xenapi-rs").await?, other("somebody else").await?);
    driver.set_node_enabled(bench.here, false, Progress::none()).await?;
    let by = format!("{}/xenapi-rs", ours.rsplit(':').next().context("an operation")?);
    client.add_to(&host, host::field::OTHER_CONFIG, "xenapi-rs:drain-disabled", by).await?;
    let waits = bench.reconcile(NOW).await?;
    assert_eq!((waits.done.len(), waits.too_young.len()), (0, 1), "{waits:?}");
    ends(theirs).await?;
    assert_eq!(bench.reconcile(NOW).await?.done.len(), 1);
    assert_eq!(bench.notes().await?, (vec![], true));

    // One that ends well decides it, and so does who says what the host is to do.
    let key = other("xenapi-rs").await?;
    driver.drain_node(bench.here, DrainOptions::default()).await?;
    assert_eq!(bench.notes().await?, (vec![key.clone()], false));
    assert_eq!(bench.reconcile(NOW).await?.done.len(), 1);
    assert_eq!(bench.notes().await?, (vec![], false), "it was drained");
    client
        .add_to(
            &host,
            host::field::OTHER_CONFIG,
            "xenapi-rs:drain-disabled",
            format!("{}/xenapi-rs", Uuid::now_v7()),
        )
        .await?;
    driver.set_node_enabled(bench.here, false, Progress::none()).await?;
    assert_eq!(bench.notes().await?, (vec![], false));
    assert_eq!(bench.reconcile(NOW).await?.done, []);
    Ok(())
}
