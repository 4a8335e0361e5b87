//! Hosts: what they have, and their maintenance with guests on them.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::{Context, Result};
use e2e::dom0::Dom0;
use e2e::pool::{NETWORK, Pool};
use examples::demo_image::DemoImage;
use tempfile::TempDir;
use uuid::Uuid;
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xenapi_config::Settings as Options;
use xenapi_driver::compatibility::{Machine, Mode, Strictness};
use xenapi_driver::host_boot::ResumeOptions;
use xenapi_driver::node::DrainOptions;
use xenapi_driver::spec::{Flavor, InstanceSpec, Nic, SrChoice};
use xenapi_driver::{Cause, PowerChange, Progress, Settings, Which};
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
    assert!(info.memory_total_bytes > info.node.memory_free_bytes && info.node.memory_free_bytes > 0);
    let shared = info.storage.iter().find(|sr| sr.name == "shared").context("the shared repository")?;
    assert!(shared.shared && shared.allocated_bytes >= 64 << 20);
    assert_eq!(shared.total_bytes, Some(1 << 32));
    let other = bench.pool.driver.node(bench.there).await?;
    assert_eq!((other.guests, other.vcpus_used), (0, 0));
    bench.pool.driver.node(Uuid::nil()).await.unwrap_err();
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
