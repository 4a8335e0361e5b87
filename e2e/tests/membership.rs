//! Hosts join a pool from outside and leave it, and clients find the coordinator.

use anyhow::{Context, Result};
use e2e::pool::{EXT, NETWORK, PASSWORD, Pool};
use examples::demo_image::DemoImage;
use tempfile::TempDir;
use uuid::Uuid;
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xenapi_driver::membership::{EjectOptions, JoinOptions};
use xenapi_driver::spec::{Flavor, InstanceSpec, Nic, Power, SrChoice};
use xenapi_driver::{Cause, Instance, Node, PowerChange, Progress, Settings, Which};
use xenapi_types::{Vdi, Vm};
use xenapi_wire::Value;

struct Bench {
    pool: Pool,
    /// A host that is a pool of its own.
    single: Pool,
    files: TempDir,
}

impl Bench {
    async fn new() -> Result<Self> {
        let files = tempfile::tempdir()?;
        let image = files.path().join("demo.img");
        DemoImage { virtual_bytes: 64 << 20, payload_bytes: 1 << 20 }.write(&image)?;
        let pool = Box::pin(Pool::demo()).await?;
        let single = Box::pin(Pool::of(World::demo().elsewhere(2))).await?;
        pool.simulator.meet(&single.simulator);
        Ok(Self { pool, single, files })
    }

    async fn join(&self) -> xenapi_driver::Result<Node> {
        self.pool.driver.join_pool(&self.single.driver, JoinOptions::new("root", PASSWORD)).await
    }

    async fn spawn(&self, on: &Pool, name: &str, power: Power, node: Option<&str>) -> Result<Instance> {
        let mut spec = InstanceSpec::new(name, Flavor::new(1, 512, 0), self.files.path().join("demo.img"));
        (spec.power, spec.nics) = (power, vec![Nic::on(NETWORK)]);
        if let Some(node) = node {
            let nodes = on.driver.node(node.parse()?).await?;
            let sr = nodes.storage.iter().find(|sr| sr.name == EXT).context("its repository")?;
            spec.node = Some(node.parse()?);
            spec.sr = SrChoice::Uuid(sr.uuid.parse()?);
        }
        Ok(on.spawn(spec).await?)
    }

    /// What stands in the way of joining.
    async fn reasons(&self) -> Result<Vec<String>> {
        match self.join().await.err().context("it joined")?.cause() {
            Cause::Membership { reasons, .. } => Ok(reasons.clone()),
            other => anyhow::bail!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_host_joins_from_outside_and_leaves_again() -> Result<()> {
    let bench = Bench::new().await?;
    let (pool, single) = (&bench.pool, &bench.single);
    let before = pool.driver.nodes().await?;
    let halted = bench.spawn(single, "halted", Power::Off, None).await?;
    let content = single.content(&halted.root_uuid).await?;

    let rehearsal = pool
        .driver
        .dry_run(|driver| driver.join_pool(&single.driver, JoinOptions::new("root", PASSWORD)))
        .await?;
    assert!(rehearsal.steps[0].contains("join the pool at"), "{rehearsal}");
    assert_eq!(pool.driver.nodes().await?, before);

    let node = bench.join().await?;
    assert_eq!(node.name, "demo-host-2");
    assert!(node.enabled);
    assert_eq!(pool.driver.nodes().await?.len(), 2);
    // Its guests and disks came along.
    let guests = pool.driver.instances().await?;
    assert!(guests.iter().any(|guest| guest.vm_uuid == halted.vm_uuid), "{guests:?}");
    assert!(pool.content(&halted.root_uuid).await? == content);
    // Who was connected to it is sent to the coordinator.
    assert_eq!(single.driver.nodes().await?.len(), 2);
    assert_eq!(bench.join().await?.uuid, node.uuid, "once more");

    // It takes guests, and those that came run where their disks are.
    let new = bench.spawn(pool, "new", Power::On, Some(&node.uuid)).await?;
    assert_eq!(new.node_uuid, node.uuid);
    pool.driver.power(Which::Instance(halted.uuid), PowerChange::On, Progress::none()).await?;

    let uuid: Uuid = node.uuid.parse()?;
    let refused = pool.driver.eject_node(uuid, EjectOptions::default()).await;
    let error = refused.err().context("guests are there")?.to_string();
    for part in
        ["VM \"new\" is there", "VM \"halted\" is there", "2 disks of its SR \"Local storage\" would be lost"]
    {
        assert!(error.contains(part), "{error}");
    }
    for instance in [&new, &halted] {
        pool.destroy(instance).await?;
    }
    let rehearsal = pool.driver.dry_run(|driver| driver.eject_node(uuid, EjectOptions::default())).await?;
    assert!(rehearsal.steps[0].contains("eject host \"demo-host-2\""), "{rehearsal}");
    assert_eq!(pool.driver.nodes().await?.len(), 2);
    pool.driver.eject_node(uuid, EjectOptions::default()).await?;
    assert_eq!(pool.driver.nodes().await?, before);
    // Who followed it into the pool stays there; its own address is that of a pool of one again.
    let alone = single.driver_with(Settings::default())?.nodes().await?;
    assert_eq!(alone.iter().map(|node| &node.uuid).collect::<Vec<_>>(), [&node.uuid]);
    pool.driver.eject_node(uuid, EjectOptions::default()).await?;
    Ok(())
}

/// A host that does not come back keeps nobody waiting who does not want to wait.
#[tokio::test]
async fn waiting_for_the_host_ends_when_it_is_cancelled() -> Result<()> {
    let bench = Bench::new().await?;
    let node: Uuid = bench.join().await?.uuid.parse()?;
    let driver = &bench.pool.driver;
    driver.set_node_enabled(node, false, Progress::none()).await?;
    bench.pool.simulator.faults().on("event.from", Fault::Hang);
    let mut waits = bench.pool.simulator.faults().struck();
    waits.borrow_and_update();
    // It is a member already, so that all there is to do is to wait.
    let joining = driver.join_pool(&bench.single.driver, JoinOptions::new("root", PASSWORD));
    waits.changed().await?;
    joining.cancel();
    let error = joining.await.err().context("it was not cancelled")?;
    assert!(matches!(error.cause(), Cause::Cancelled) && error.leftovers().is_empty(), "{error}");
    bench.pool.simulator.faults().clear();
    assert_eq!(driver.nodes().await?.len(), 2, "it is a member still");
    let joining = driver.join_pool(&bench.single.driver, JoinOptions::new("root", PASSWORD));
    driver.set_node_enabled(node, true, Progress::none()).await?;
    assert_eq!(joining.await?.uuid, node.to_string());
    Ok(())
}

#[tokio::test]
async fn what_is_in_the_way_is_told_at_once_and_nothing_is_touched() -> Result<()> {
    let bench = Bench::new().await?;
    bench.spawn(&bench.single, "runs", Power::On, None).await?;
    let before = (bench.pool.census().await?, bench.single.census().await?);
    let host = bench.single.driver.nodes().await?.swap_remove(0).reference;
    let set = |key: &str, field: &'static str, value: &str| {
        let host = host.to_string();
        bench
            .single
            .simulator
            .core()
            .db()
            .write(|tx| tx.set_entry("host", &host, field, key, Value::from(value)))
    };
    set("vendor", "cpu_info", "AcmeCPU")?;
    set("product_version", "software_version", "6.5.0")?;
    let reasons = bench.reasons().await?;
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    for (reason, part) in
        reasons.iter().zip(["product_version is \"6.5.0\"", "vendor is \"AcmeCPU\"", "VM \"runs\" runs"])
    {
        assert!(reason.contains(part), "{reason}");
    }
    bench.pool.census().await?.assert_as(&before.0, "the pool");
    bench.single.census().await?.assert_as(&before.1, "the host");

    // What an edition lacks, of either pool, is told with its key.
    for (pool, whose) in [(&bench.pool, "the pool's edition"), (&bench.single, "its edition")] {
        let reference = pool.client().all::<xenapi_types::Pool>().await?.remove(0).to_string();
        let restrict = |set: &str| {
            let db = pool.simulator.core().db();
            db.write(|tx| {
                tx.set_entry("pool", &reference, "restrictions", "restrict_pooling", Value::from(set))
            })
        };
        restrict("true")?;
        let reasons = bench.reasons().await?;
        assert_eq!(reasons.len(), 4, "{reasons:?}");
        assert!(
            reasons.iter().any(|why| why.starts_with(whose) && why.contains("(restrict_pooling)")),
            "{reasons:?}"
        );
        restrict("false")?;
    }

    // The coordinator stays.
    let own: Uuid = bench.pool.driver.nodes().await?[0].uuid.parse()?;
    let refused = bench.pool.driver.eject_node(own, EjectOptions::default()).await;
    let error = refused.err().context("it is the coordinator")?.to_string();
    assert!(error.contains("it is the coordinator"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_host_of_another_make_joins_by_force() -> Result<()> {
    let bench = Bench::new().await?;
    let host = bench.single.driver.nodes().await?.swap_remove(0).reference;
    let db = bench.single.simulator.core().db();
    db.write(|tx| tx.set_entry("host", &host.to_string(), "cpu_info", "vendor", Value::from("AcmeCPU")))?;
    assert_eq!(bench.reasons().await?.len(), 1);
    let force = JoinOptions { force: true, ..JoinOptions::new("root", PASSWORD) };
    bench.pool.driver.join_pool(&bench.single.driver, force).await?;
    assert_eq!(bench.pool.driver.nodes().await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_an_answer_that_is_lost_and_disks_that_may_be() -> Result<()> {
    let bench = Bench::new().await?;
    let wrong = JoinOptions::new("root", "not the pool's secret");
    let refused = bench.pool.driver.join_pool(&bench.single.driver, wrong).await;
    let error = refused.err().context("the password is wrong")?;
    assert!(matches!(error.cause(), Cause::Membership { .. }), "{error}");
    assert!(error.to_string().contains("does not accept the password of \"root\""), "{error}");
    assert!(!format!("{error:?} {error}").contains("not the pool's secret"));
    assert_eq!(bench.pool.driver.nodes().await?.len(), 1);

    let disk = bench.spawn(&bench.single, "halted", Power::Off, None).await?;
    bench.single.simulator.faults().on("pool.join", Fault::DropAfterExecution);
    let node = bench.join().await?;
    bench.pool.client().by_uuid::<Vdi>(&disk.root_uuid).await?;

    bench.pool.simulator.faults().on("pool.eject", Fault::DropAfterExecution);
    let lose = EjectOptions { lose_local_disks: true, ..EjectOptions::default() };
    bench.pool.driver.eject_node(node.uuid.parse()?, lose).await?;
    assert!(bench.pool.client().by_uuid_opt::<Vdi>(&disk.root_uuid).await?.is_none());
    // The guest is the pool's, without a disk.
    bench.pool.client().by_uuid::<Vm>(&disk.vm_uuid).await?;
    assert_eq!(bench.pool.driver.nodes().await?.len(), 1);
    Ok(())
}
