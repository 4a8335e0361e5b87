//! Running instances on the move: over shared storage, with their disks, aborted, and refused beforehand.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::pool::{LVM, NETWORK, Pool};
use examples::demo_image::DemoImage;
use tempfile::TempDir;
use tokio::sync::mpsc;
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xapi_simulator::targets::Target;
use xenapi_client::Secret;
use xenapi_driver::inventory::Node;
use xenapi_driver::live::MigrateOptions;
use xenapi_driver::reconcile::{Kind, ReconcileOptions};
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::{Flavor, InstanceSpec, Nic, SrChoice};
use xenapi_driver::volume::{AttachOptions, Iscsi, Storage, Volume, VolumeDisk};
use xenapi_driver::{Cause, Event, PowerChange, Progress, Settings, Shutdown, Stage, Which};
use xenapi_types::{Host, Ref, Sr, Vdi, Vm, VmRecord, host, sr, vdi};
use xenapi_wire::Failure;

struct Bench {
    pool: Pool,
    _files: TempDir,
    which: Which,
    vm: Ref<Vm>,
    there: Node,
}

const IQN: &str = "iqn.2010-10.org.example:volume-1";

impl Bench {
    /// Two hosts; the instance is on the first, on a repository of its own or on one that both have.
    async fn new(shared: bool) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let image = files.path().join("demo.img");
        DemoImage { virtual_bytes: 64 << 20, payload_bytes: 1 << 20 }.write(&image)?;
        let pool = Pool::of(World::demo().with_hosts(2).with_all_drivers()).await?;
        pool.simulator
            .targets()
            .add(Target::iscsi("192.0.2.1", IQN, [(0, 32 << 20)]).login("user", "password"));
        pool.share("shared").await?;
        let nodes = pool.driver.nodes().await?;
        let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), &image);
        let home = pool.client().all_records::<xenapi_types::Pool>().await?;
        let home = home.into_values().next().context("a pool")?.master;
        let there = nodes.iter().find(|node| node.reference != home).context("two nodes")?.clone();
        let here = nodes.iter().find(|node| node.reference == home).context("two nodes")?;
        spec.node = Some(here.uuid.parse()?);
        spec.nics = vec![Nic::on(NETWORK)];
        spec.sr = if shared { SrChoice::NameLabel("shared".into()) } else { SrChoice::PoolDefault };
        let instance = pool.spawn(spec).await?;
        let vm = pool.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
        Ok(Self { pool, _files: files, which: Which::Instance(instance.uuid), vm, there })
    }

    fn options(&self) -> Result<MigrateOptions> {
        Ok(MigrateOptions::to(self.there.uuid.parse()?))
    }

    async fn record(&self) -> Result<VmRecord> {
        Ok(self.pool.client().record(&self.vm).await?)
    }

    /// All disks that there are, by uuid, with the names of their repositories.
    async fn disks(&self) -> Result<BTreeMap<String, String>> {
        let mut disks = BTreeMap::new();
        for vdi in self.pool.client().all_records::<Vdi>().await?.into_values().filter(|vdi| vdi.managed) {
            let sr = self.pool.client().get_field(&vdi.sr, sr::field::UUID).await?;
            disks.insert(vdi.uuid, sr);
        }
        Ok(disks)
    }
}

#[tokio::test]
async fn over_shared_storage_only_memory_moves() -> Result<()> {
    let bench = Bench::new(true).await?;
    let disks = bench.disks().await?;
    // Names of hosts are nobody's business: these have one in common.
    for host in bench.pool.client().all::<Host>().await? {
        bench.pool.client().set_field(&host, host::field::NAME_LABEL, "xen".to_owned()).await?;
    }
    let planned = bench.pool.driver.plan_live_migration(&bench.which, &bench.options()?).await?;
    assert!(planned.disks.is_empty());
    let (sender, mut events) = mpsc::unbounded_channel();
    let progress = Progress::to(move |event| {
        let _ = sender.send(event);
    });
    let options = MigrateOptions { progress, ..bench.options()? };
    assert_eq!(bench.pool.driver.live_migrate(bench.which.clone(), options).await?, planned);
    let after = bench.record().await?;
    assert_eq!((&after.resident_on, &after.affinity), (&bench.there.reference, &bench.there.reference));
    // Each host numbers its domains itself, so that it can be the same number.
    assert_eq!(after.other_config.get("last_dom_id"), Some(&after.domid.to_string()));
    assert_eq!(bench.disks().await?, disks);
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.extend(matches!(event, Event::Percent(Stage::Migrate, _)).then_some(event));
    }
    assert!(!told.is_empty(), "nothing was told of how far it is");
    // It is there: once more does nothing.
    bench.pool.driver.live_migrate(bench.which.clone(), bench.options()?).await?;
    assert_eq!(bench.record().await?.domid, after.domid);
    Ok(())
}

#[tokio::test]
async fn disks_that_the_host_does_not_reach_go_with_it() -> Result<()> {
    let bench = Bench::new(false).await?;
    let before = bench.disks().await?;
    let error = bench.pool.driver.live_migrate(bench.which.clone(), bench.options()?).await.unwrap_err();
    assert!(
        matches!(error.cause(), Cause::Conflicts(_)),
        "the default repository is the other host's: {error}"
    );

    let options = MigrateOptions { sr: Some(SrChoice::NameLabel(LVM.into())), ..bench.options()? };
    let moved = bench.pool.driver.live_migrate(bench.which.clone(), options).await?;
    assert_eq!(moved.disks.len(), 1);
    let after = bench.disks().await?;
    assert_eq!(after.len(), before.len(), "the original is gone");
    let (old, sr) = moved.disks.first_key_value().context("a disk")?;
    assert!(before.contains_key(old) && !after.contains_key(old));
    assert!(after.values().all(|now| now == sr));
    assert_eq!(bench.record().await?.resident_on, bench.there.reference);
    // What XAPI moved is still the driver's.
    let destroyed = bench.pool.driver.destroy(bench.which.clone(), Progress::none()).await?;
    assert_eq!(destroyed.kept_disk_uuids, [""; 0]);
    assert!(bench.disks().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_volume_is_connected_where_it_is_needed() -> Result<()> {
    let bench = Bench::new(true).await?;
    let client = bench.pool.client();
    let chap = Some(("user".to_owned(), Secret::new("password")));
    let iscsi = Iscsi { portal: "192.0.2.1".parse()?, iqn: IQN.into(), chap };
    let volume = Volume::new(Storage::Iscsi(iscsi), VolumeDisk::Lun(0));
    let attach =
        |volume| bench.pool.driver.attach_volume(bench.which.clone(), volume, AttachOptions::default());
    let attached = attach(volume).await?;
    bench.pool.driver.live_migrate(bench.which.clone(), bench.options()?).await?;
    let sr = client.record(&client.by_uuid::<Sr>(&attached.sr_uuid).await?).await?;
    assert_eq!(sr.pbds.len(), 2);
    assert_eq!(client.all::<xenapi_types::Secret>().await?.len(), 2, "each connection has its own");
    bench.pool.driver.detach_volume(bench.which.clone(), attached.vdi_uuid, Progress::none()).await?;
    assert!(client.by_uuid_opt::<Sr>(&attached.sr_uuid).await?.is_none());
    assert_eq!(client.all::<xenapi_types::Secret>().await?, []);

    // A disk of the first host's own repository does not go along.
    let local = client.all_records::<xenapi_types::Pool>().await?.into_values().next().context("a pool")?;
    let call = vdi::Create {
        sr: local.default_sr.clone(),
        virtual_size: 1 << 20,
        r#type: xenapi_types::VdiType::User,
        ..vdi::Create::default()
    };
    let disk = client.call(call).await?;
    let uuid = client.get_field(&disk, vdi::field::UUID).await?.parse()?;
    let sr = client.get_field(&local.default_sr, sr::field::UUID).await?.parse()?;
    let back = bench.pool.driver.nodes().await?;
    let back = back.iter().find(|node| node.uuid != bench.there.uuid).context("two nodes")?;
    let options = MigrateOptions::to(back.uuid.parse()?);
    bench.pool.driver.live_migrate(bench.which.clone(), options).await?;
    attach(Volume::new(Storage::Repository(sr), VolumeDisk::Uuid(uuid))).await?;
    let error = bench.pool.driver.live_migrate(bench.which.clone(), bench.options()?).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NotConnected { .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_is_told_before_anything_is_moved() -> Result<()> {
    let bench = Bench::new(true).await?;
    let client = bench.pool.client();
    let migrate = || async {
        bench
            .pool
            .driver
            .live_migrate(bench.which.clone(), bench.options()?)
            .await
            .map_err(anyhow::Error::from)
    };
    client.call(host::Disable { host: bench.there.reference.clone(), auto_enable: None }).await?;
    let error = migrate().await.unwrap_err();
    assert!(error.to_string().contains("disabled") || error.to_string().contains("enable"), "{error}");
    client.call(host::Enable { host: bench.there.reference.clone() }).await?;
    let unknown = MigrateOptions::to("00000000-0000-0000-0000-000000000001".parse()?);
    let error = bench.pool.driver.live_migrate(bench.which.clone(), unknown).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Conflicts(_)), "{error}");
    let size = ResizeOptions {
        flavor: Some(Flavor::new(2, 256, 0)),
        shutdown: Shutdown::Hard,
        ..ResizeOptions::default()
    };
    bench.pool.driver.resize(bench.which.clone(), size).await?;
    let error = bench.pool.driver.live_migrate(bench.which.clone(), bench.options()?).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::ResizePending { .. }), "{error}");
    bench.pool.driver.revert_resize(bench.which.clone(), Progress::none()).await?;
    let off = PowerChange::Off(Shutdown::Hard);
    bench.pool.driver.power(bench.which.clone(), off, Progress::none()).await?;
    let error = bench.pool.driver.live_migrate(bench.which.clone(), bench.options()?).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::WrongState { .. }), "{error}");
    Ok(())
}

#[tokio::test]
async fn aborted_and_failed_it_runs_on_where_it_was() -> Result<()> {
    let bench = Bench::new(false).await?;
    let before = (bench.record().await?.domid, bench.disks().await?);
    let options = || -> Result<MigrateOptions> {
        Ok(MigrateOptions { sr: Some(SrChoice::NameLabel(LVM.into())), ..bench.options()? })
    };
    let refusal = || Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for method in ["host.migrate_receive", "VM.assert_can_migrate", "VM.migrate_send"] {
        bench.pool.simulator.faults().on(method, refusal());
        let error = bench.pool.driver.live_migrate(bench.which.clone(), options()?).await.unwrap_err();
        assert!(error.leftovers().is_empty() && error.stage() == Stage::Migrate, "{error}");
        assert_eq!((bench.record().await?.domid, bench.disks().await?), before, "{method}");
    }
    bench.pool.simulator.faults().on("VM.migrate_send", Fault::Slow(Duration::from_millis(300)));
    let (sender, mut events) = mpsc::unbounded_channel();
    let progress = Progress::to(move |event| {
        let _ = sender.send(event);
    });
    let migrating =
        bench.pool.driver.live_migrate(bench.which.clone(), MigrateOptions { progress, ..options()? });
    while let Some(event) = events.recv().await {
        if matches!(event, Event::Started(Stage::Migrate)) {
            break;
        }
    }
    migrating.cancel();
    let error = migrating.await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Cancelled), "{error}");
    assert_eq!((bench.record().await?.domid, bench.disks().await?), before);
    assert!(bench.pool.census().await?.tasks.is_empty());
    Ok(())
}

/// The migration failed, its program ended, and XAPI left its copies: the next program finds them, and only them.
#[tokio::test]
async fn what_a_broken_migration_left_is_removed_and_nothing_else() -> Result<()> {
    let bench = Bench::new(false).await?;
    let (client, faults) = (bench.pool.client(), bench.pool.simulator.faults());
    let options = MigrateOptions { sr: Some(SrChoice::NameLabel(LVM.into())), ..bench.options()? };
    let planned = bench.pool.driver.plan_live_migration(&bench.which, &options).await?;
    let refusal = || Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    faults.on("VM.migrate_send", refusal());
    faults.on_every("VM.remove_from_other_config", refusal());
    let error = bench.pool.driver.live_migrate(bench.which.clone(), options.clone()).await.unwrap_err();
    assert_eq!(error.leftovers().len(), 1, "{error}");
    faults.clear();

    let (original, sr) = planned.disks.first_key_value().context("a disk")?;
    let disk = client.by_uuid::<Vdi>(original).await?;
    let record = client.record(&disk).await?;
    let here = client.get_field(&record.sr, sr::field::UUID).await?;
    let there = client.by_uuid::<Sr>(sr).await?;
    let make = async |mirror: Option<&str>| {
        let call = vdi::Create {
            name_label: record.name_label.clone(),
            name_description: record.name_description.clone(),
            sr: there.clone(),
            virtual_size: record.virtual_size,
            r#type: xenapi_types::VdiType::User,
            ..vdi::Create::default()
        };
        let made = client.call(call).await?;
        if let Some(mirror) = mirror {
            client.add_to(&made, vdi::field::SM_CONFIG, "base_mirror", mirror).await?;
        }
        anyhow::Ok(made)
    };
    let left = make(Some(&format!("{here}/{original}"))).await?;
    let others_mirror = make(Some(&format!("{here}/00000000-0000-0000-0000-000000000001"))).await?;
    let namesake = make(None).await?;
    let snapshot = client.call(vdi::Snapshot { vdi: disk.clone(), driver_params: None }).await?;
    let copy = vdi::Copy { vdi: snapshot.clone(), sr: Some(there.clone()), base_vdi: None, into_vdi: None };
    let copied = client.call(copy).await?;

    let options_of_all = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
    let next = bench.pool.driver_with(Settings::default())?;
    let done = next.reconcile(options_of_all.clone()).await?;
    let kinds: Vec<Kind> = done.done.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [Kind::BrokenMigration], "{done:?}");
    assert!(next.reconcile(options_of_all).await?.done.is_empty());
    assert!(client.record_opt(&left).await?.is_none());
    for kept in [&disk, &others_mirror, &namesake, &snapshot, &copied] {
        assert!(client.record_opt(kept).await?.is_some(), "{kept} is gone");
    }
    // And it can go now.
    next.live_migrate(bench.which.clone(), options).await?;
    assert_eq!(bench.record().await?.resident_on, bench.there.reference);
    Ok(())
}
