//! Running instances on the move: over shared storage, with their disks, aborted, and refused beforehand.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::pool::{LVM, NETWORK, Pool, foreign_disk, foreign_drive};
use examples::demo_image::DemoImage;
use tempfile::TempDir;
use tokio::sync::mpsc;
use uuid::Uuid;
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xapi_simulator::targets::Target;
use xenapi_client::Secret;
use xenapi_driver::evacuate::EvacuateOptions;
use xenapi_driver::inventory::Node;
use xenapi_driver::live::MigrateOptions;
use xenapi_driver::plan::Conflict;
use xenapi_driver::pool_move::MoveOptions;
use xenapi_driver::reconcile::{Kind, ReconcileOptions};
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::{RebuildOptions, ResizeOptions};
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Nic, SrChoice};
use xenapi_driver::volume::{AttachOptions, AttachedVolume, Iscsi, Storage, Volume, VolumeDisk};
use xenapi_driver::{Cause, Event, NewDrive, PowerChange, Progress, Settings, Shutdown, Stage, Which};
use xenapi_types::{
    Host, Pbd, Ref, Sr, VbdMode, VbdType, Vdi, Vm, VmPowerState, VmRecord, host, sr, vbd, vdi,
};
use xenapi_wire::Failure;

struct Bench {
    pool: Pool,
    _files: TempDir,
    which: Which,
    vm: Ref<Vm>,
    here: Node,
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
        let here = nodes.iter().find(|node| node.reference == home).context("two nodes")?.clone();
        spec.node = Some(here.uuid.parse()?);
        spec.nics = vec![Nic::on(NETWORK)];
        spec.sr = if shared { SrChoice::NameLabel("shared".into()) } else { SrChoice::PoolDefault };
        let instance = pool.spawn(spec).await?;
        let vm = pool.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
        Ok(Self { pool, _files: files, which: Which::Instance(instance.uuid), vm, here, there })
    }

    fn options(&self) -> Result<MigrateOptions> {
        Ok(MigrateOptions::to(self.there.uuid.parse()?))
    }

    /// Uuid of the host where the instance began.
    async fn home(&self) -> Result<Uuid> {
        let nodes = self.pool.driver.nodes().await?;
        let home = nodes.iter().find(|node| node.reference != self.there.reference);
        Ok(home.context("two nodes")?.uuid.parse()?)
    }

    /// The host where the instance began, before anybody has moved it.
    fn record_home(&self) -> Result<Uuid> {
        Ok(self.here.uuid.parse()?)
    }

    async fn record(&self) -> Result<VmRecord> {
        Ok(self.pool.client().record(&self.vm).await?)
    }

    /// Another instance, whose root disk is shared, and its config drive, whose uuid is given as well, the host's own.
    async fn with_a_drive_apart(&self) -> Result<(Which, String)> {
        let (driver, client) = (&self.pool.driver, self.pool.client());
        let mut spec = InstanceSpec::new("db1", Flavor::new(1, 512, 0), self._files.path().join("demo.img"));
        (spec.node, spec.sr) = (Some(self.home().await?), SrChoice::NameLabel("shared".into()));
        spec.config_drive = Some(ConfigDrive::default());
        let instance = self.pool.spawn(spec).await?;
        let which = Which::Instance(instance.uuid);
        let drive = instance.config_drive_uuid.context("a config drive")?;
        let local =
            client.all_records::<xenapi_types::Pool>().await?.into_values().next().context("a pool")?;
        let local = client.get_field(&local.default_sr, sr::field::UUID).await?;
        let resize = ResizeOptions {
            disks: BTreeMap::from([(drive, SrChoice::Uuid(local.clone()))]),
            shutdown: Shutdown::Hard,
            ..ResizeOptions::default()
        };
        driver.resize(which.clone(), resize).await?;
        driver.confirm_resize(which.clone(), Progress::none()).await?;
        let drives = self.drives_of(&which).await?;
        Ok((which, drives.get("3").context("a config drive")?.clone()))
    }

    /// The disks of an instance by their places.
    async fn drives_of(&self, which: &Which) -> Result<BTreeMap<String, String>> {
        let (client, mut drives) = (self.pool.client(), BTreeMap::new());
        let Which::Instance(uuid) = which else { anyhow::bail!("by its uuid") };
        let vms = client.all_records::<Vm>().await?;
        let key = |vm: &VmRecord| vm.other_config.get("xenapi-rs:instance") == Some(&uuid.to_string());
        for vbd in &vms.into_values().find(key).context("a VM")?.vbds {
            let vbd = client.record(vbd).await?;
            drives.insert(vbd.userdevice, client.get_field(&vbd.vdi, vdi::field::UUID).await?);
        }
        Ok(drives)
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

impl Bench {
    /// A LUN of the demo server as a volume of the instance.
    async fn with_lun(&self) -> Result<AttachedVolume> {
        let chap = Some(("user".to_owned(), Secret::new("password")));
        let iscsi = Iscsi { portal: "192.0.2.1".parse()?, iqn: IQN.into(), chap };
        let volume = Volume::new(Storage::Iscsi(iscsi), VolumeDisk::Lun(0));
        let attaching = self.pool.driver.attach_volume(self.which.clone(), volume, AttachOptions::default());
        Ok(attaching.await?)
    }

    /// How many hosts use a repository, how many of these connections wait for their guest, and the secrets there are.
    async fn connections(&self, sr_uuid: &str) -> Result<[usize; 3]> {
        let client = self.pool.client();
        let sr = client.by_uuid::<Sr>(sr_uuid).await?;
        let pbds: Vec<_> =
            client.all_records::<Pbd>().await?.into_values().filter(|pbd| pbd.sr == sr).collect();
        let unfinished = pbds.iter().filter(|pbd| pbd.other_config.contains_key("xenapi-rs:unfinished"));
        Ok([pbds.len(), unfinished.count(), client.all::<xenapi_types::Secret>().await?.len()])
    }

    /// The pool gives up the host where the instance began, or has it back.
    async fn home_is_live(&self, live: bool) -> Result<()> {
        let home = self.pool.client().by_uuid::<Host>(&self.home().await?.to_string()).await?;
        let metrics = self.pool.client().record(&home).await?.metrics.to_string();
        self.pool.simulator.core().db().write(|tx| tx.set("host_metrics", &metrics, "live", live))?;
        Ok(())
    }

    /// A new program puts the pool in order; there is nothing left to do then.
    async fn reconcile(&self) -> Result<Vec<Kind>> {
        let options = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
        let next = self.pool.driver_with(Settings::default())?;
        let done = next.reconcile(options.clone()).await?;
        anyhow::ensure!(done.leftovers.is_empty(), "{:?}", done.leftovers);
        anyhow::ensure!(next.reconcile(options).await?.done.is_empty());
        Ok(done.done.iter().map(|finding| finding.kind).collect())
    }
}

fn refusal() -> Fault {
    Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]))
}

/// What was connected for a guest that did not come is disconnected.
#[tokio::test]
async fn a_move_that_fails_leaves_no_connection() -> Result<()> {
    let bench = Bench::new(true).await?;
    let (driver, faults) = (&bench.pool.driver, bench.pool.simulator.faults());
    let lun = bench.with_lun().await?;
    let before = bench.pool.census().await?;
    let resize = || -> Result<_> {
        let node = Some(bench.there.uuid.parse()?);
        let options = ResizeOptions { node, shutdown: Shutdown::Hard, ..ResizeOptions::default() };
        Ok(driver.resize(bench.which.clone(), options))
    };
    for method in ["PBD.plug", "VM.pool_migrate"] {
        faults.on(method, refusal());
        let error = driver.live_migrate(bench.which.clone(), bench.options()?).await.unwrap_err();
        assert!(error.leftovers().is_empty(), "{method}: {error}");
        assert_eq!(bench.connections(&lun.sr_uuid).await?, [1, 0, 1], "{method}");
        bench.pool.census().await?.assert_as(&before, method);
    }
    for method in ["PBD.plug", "VM.add_to_other_config", "VM.start_on"] {
        faults.on(method, refusal());
        let error = resize()?.await.unwrap_err();
        assert!(error.leftovers().is_empty(), "{method}: {error}");
        assert_eq!(bench.connections(&lun.sr_uuid).await?, [1, 0, 1], "{method}");
        assert_eq!(bench.record().await?.power_state, VmPowerState::Running);
    }
    // What cannot be removed now is found by the next program.
    faults.on("VM.pool_migrate", refusal());
    faults.on("PBD.unplug", refusal());
    let error = driver.live_migrate(bench.which.clone(), bench.options()?).await.unwrap_err();
    assert_eq!(error.leftovers().len(), 1, "{error}");
    assert_eq!(bench.connections(&lun.sr_uuid).await?, [2, 1, 2]);
    assert_eq!(bench.reconcile().await?, [Kind::HalfConnection, Kind::UnusedSecret]);
    assert_eq!(bench.connections(&lun.sr_uuid).await?, [1, 0, 1]);
    // It came, and the program ended before it noted that.
    faults.on("PBD.remove_from_other_config", refusal());
    driver.live_migrate(bench.which.clone(), bench.options()?).await?;
    assert_eq!(bench.connections(&lun.sr_uuid).await?, [2, 1, 2]);
    assert_eq!(bench.reconcile().await?, [Kind::HalfConnection]);
    assert_eq!(bench.connections(&lun.sr_uuid).await?, [2, 0, 2]);
    Ok(())
}

#[tokio::test]
async fn evacuated_with_a_volume_that_the_host_has_to_be_connected_to() -> Result<()> {
    let bench = Bench::new(true).await?;
    let (driver, faults, client) = (&bench.pool.driver, bench.pool.simulator.faults(), bench.pool.client());
    let lun = bench.with_lun().await?;
    let before = bench.record().await?;
    bench.home_is_live(false).await?;
    let there = bench.there.uuid.parse()?;
    let evacuate = || driver.evacuate(bench.which.clone(), EvacuateOptions::to(there));
    let plan =
        driver.dry_run(|driver| driver.evacuate(bench.which.clone(), EvacuateOptions::to(there))).await?;
    assert_eq!(plan.steps.len(), 3, "{plan}");
    // Before the pool is told: nothing is other than it was.
    for method in ["PBD.plug", "host.add_to_other_config", "VM.power_state_reset"] {
        faults.on(method, refusal());
        let error = evacuate().await.unwrap_err();
        assert!(error.leftovers().is_empty(), "{method}: {error}");
        assert_eq!(bench.connections(&lun.sr_uuid).await?, [1, 0, 1], "{method}");
        let now = bench.record().await?;
        assert_eq!(
            (now.power_state, now.affinity),
            (VmPowerState::Running, before.affinity.clone()),
            "{method}"
        );
        assert_eq!(now.other_config, before.other_config, "{method}");
    }
    // Later: it is off, as it was in truth, and nothing else.
    faults.on("VM.start_on", refusal());
    let error = evacuate().await.unwrap_err();
    assert!(error.leftovers().is_empty(), "{error}");
    let now = bench.record().await?;
    assert_eq!((now.power_state, now.affinity), (VmPowerState::Halted, before.affinity.clone()));
    assert_eq!(now.other_config, before.other_config);
    assert_eq!(bench.connections(&lun.sr_uuid).await?, [1, 0, 1]);

    evacuate().await?;
    let now = bench.record().await?;
    assert_eq!((&now.resident_on, &now.affinity), (&bench.there.reference, &bench.there.reference));
    assert_eq!(bench.connections(&lun.sr_uuid).await?, [2, 0, 2]);
    let keys = client.record(&bench.there.reference).await?.other_config;
    assert!(!keys.keys().any(|key| key.starts_with("xenapi-rs:memory")), "{keys:?}");
    assert!(!now.other_config.contains_key("xenapi-rs:evacuate"));
    assert_eq!(bench.reconcile().await?, []);
    Ok(())
}

/// The program ended when the pool had been told that the instance is off: the next one brings it up.
#[tokio::test]
async fn an_evacuation_that_broke_off_is_completed() -> Result<()> {
    let bench = Bench::new(true).await?;
    let (driver, faults) = (&bench.pool.driver, bench.pool.simulator.faults());
    let lun = bench.with_lun().await?;
    let there = bench.there.uuid.parse()?;
    bench.home_is_live(false).await?;
    faults.on("VM.start_on", refusal());
    // As good as a crash: nothing of it is undone.
    faults.on_nth("VM.set_affinity", 2, refusal());
    for method in ["host.remove_from_other_config", "PBD.unplug"] {
        faults.on_every(method, refusal());
    }
    let error = driver.evacuate(bench.which.clone(), EvacuateOptions::to(there)).await.unwrap_err();
    assert_eq!(error.leftovers().len(), 2, "{error}");
    faults.clear();
    assert_eq!(bench.record().await?.power_state, VmPowerState::Halted);
    let done = bench.reconcile().await?;
    assert_eq!(done, [Kind::BrokenEvacuation, Kind::HalfConnection, Kind::StalePromise]);
    let now = bench.record().await?;
    assert_eq!((&now.resident_on, &now.affinity), (&bench.there.reference, &bench.there.reference));
    assert_eq!(bench.connections(&lun.sr_uuid).await?, [2, 0, 2]);
    Ok(())
}

/// Two at once, as those run that watch over hosts: the guest runs where the first has brought it up, and no second time.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_evacuate_an_instance_one_does() -> Result<()> {
    let bench = Bench::new(true).await?;
    let second = bench.pool.driver_with(Settings::default())?;
    bench.home_is_live(false).await?;
    let to = || anyhow::Ok(EvacuateOptions::to(bench.there.uuid.parse()?));
    // The second has seen that the host is dead, and then the first does all of it.
    let (handle, first) = (tokio::runtime::Handle::current(), std::sync::Mutex::new(None));
    *first.lock().expect("nobody panics") = Some(bench.pool.driver.evacuate(bench.which.clone(), to()?));
    let progress = Progress::to(move |event| {
        if matches!(event, Event::Started(Stage::Start))
            && let Some(first) = first.lock().expect("nobody panics").take()
        {
            tokio::task::block_in_place(|| handle.block_on(first)).expect("the first evacuates it");
        }
    });
    bench.pool.simulator.faults().record();
    let late = second.evacuate(bench.which.clone(), EvacuateOptions { progress, ..to()? }).await;
    let error = late.expect_err("it runs elsewhere by now");
    assert!(matches!(error.cause(), Cause::WrongState { .. }) && error.leftovers().is_empty(), "{error}");
    let now = bench.record().await?;
    assert_eq!((&now.power_state, &now.resident_on), (&VmPowerState::Running, &bench.there.reference));
    assert!(!now.other_config.contains_key("xenapi-rs:evacuate"), "{:?}", now.other_config);
    let resets = bench.pool.simulator.faults().recorded();
    let resets = resets.iter().filter(|call| *call == "VM.power_state_reset");
    assert_eq!(resets.count(), 1, "the second has lost a domain that runs");
    Ok(())
}

/// While one is about it, the other leaves it alone.
#[tokio::test]
async fn an_instance_that_is_being_evacuated_is_left_to_who_does_it() -> Result<()> {
    let bench = Bench::new(true).await?;
    let (second, faults) = (bench.pool.driver_with(Settings::default())?, bench.pool.simulator.faults());
    bench.home_is_live(false).await?;
    let there = bench.there.uuid.parse()?;
    let mut struck = faults.struck();
    struck.mark_unchanged();
    faults.on("VM.power_state_reset", Fault::Slow(Duration::from_secs(2)));
    let late = async {
        struck.changed().await.expect("the pool is there");
        second.evacuate(bench.which.clone(), EvacuateOptions::to(there)).await
    };
    let first = bench.pool.driver.evacuate(bench.which.clone(), EvacuateOptions::to(there));
    let (first, late) = tokio::join!(first, late);
    first?;
    let error = late.expect_err("the other one is about it");
    assert!(matches!(error.cause(), Cause::WrongState { .. }) && error.leftovers().is_empty(), "{error}");
    assert_eq!(bench.record().await?.resident_on, bench.there.reference);
    Ok(())
}

/// A disc in a drive has to be where the guest is, as a disk.
#[tokio::test]
async fn a_disc_of_its_host_keeps_a_guest_there() -> Result<()> {
    let bench = Bench::new(true).await?;
    let (driver, client) = (&bench.pool.driver, bench.pool.client());
    let pool = client.all_records::<xenapi_types::Pool>().await?.into_values().next().context("a pool")?;
    let disc = vdi::Create {
        sr: pool.default_sr,
        virtual_size: 1 << 20,
        r#type: xenapi_types::VdiType::User,
        ..vdi::Create::default()
    };
    let drive = vbd::Create {
        vm: bench.vm.clone(),
        vdi: client.call(disc).await?,
        userdevice: "1".to_owned(),
        mode: VbdMode::Ro,
        r#type: VbdType::Cd,
        ..vbd::Create::default()
    };
    client.call(drive).await?;
    let (before, census) = (bench.record().await?, bench.pool.census().await?);
    let node = Some(bench.there.uuid.parse()?);
    let options = ResizeOptions { node, shutdown: Shutdown::Hard, ..ResizeOptions::default() };
    let live = driver.live_migrate(bench.which.clone(), bench.options()?).await.map(drop);
    let cold = driver.resize(bench.which.clone(), options).await.map(drop);
    bench.home_is_live(false).await?;
    let there = bench.there.uuid.parse()?;
    let evacuated = driver.evacuate(bench.which.clone(), EvacuateOptions::to(there)).await;
    bench.home_is_live(true).await?;
    let live = live.unwrap_err();
    assert!(matches!(live.cause(), Cause::DiscStays { .. }), "{live}");
    assert!(live.to_string().contains("in drive 1 of VM") && live.to_string().contains("eject it"), "{live}");
    for error in [cold, evacuated].map(|result| result.unwrap_err()) {
        assert!(matches!(error.cause(), Cause::NotConnected { .. }), "{error}");
    }
    assert_eq!(bench.record().await?.domid, before.domid, "it was not stopped");
    bench.pool.census().await?.assert_as(&census, "refused");
    Ok(())
}

#[tokio::test]
async fn not_evacuated_to_a_host_that_is_too_small() -> Result<()> {
    let bench = Bench::new(true).await?;
    bench.home_is_live(false).await?;
    let much = bench.there.memory_free_bytes as i64 + 1;
    let vm = bench.vm.to_string();
    bench.pool.simulator.core().db().write(|tx| tx.set("VM", &vm, "memory_dynamic_max", much))?;
    let before = bench.record().await?;
    let evacuating =
        bench.pool.driver.evacuate(bench.which.clone(), EvacuateOptions::to(bench.there.uuid.parse()?));
    let error = evacuating.await.unwrap_err();
    let Cause::Conflicts(conflicts) = error.cause() else { panic!("{error}") };
    assert!(matches!(conflicts.iter().next(), Some(Conflict::NotEnoughMemory { .. })), "{error}");
    assert_eq!(bench.record().await?, before, "nothing was done");
    Ok(())
}

/// Nothing has died with a host that lives: an instance that is off is started, not evacuated.
#[tokio::test]
async fn what_is_off_in_a_healthy_pool_is_not_evacuated() -> Result<()> {
    let bench = Bench::new(true).await?;
    let there: Uuid = bench.there.uuid.parse()?;
    let off = PowerChange::Off(Shutdown::Hard);
    bench.pool.driver.power(bench.which.clone(), off, Progress::none()).await?;
    let evacuate = || bench.pool.driver.evacuate(bench.which.clone(), EvacuateOptions::to(there));
    let error = evacuate().await.unwrap_err();
    assert!(matches!(error.cause(), Cause::HostLives { .. }), "{error}");
    bench.home_is_live(false).await?;
    evacuate().await?;
    assert_eq!(bench.record().await?.resident_on, bench.there.reference);
    Ok(())
}

/// Disks that each have room, and not together, are refused before the first one goes.
#[tokio::test]
async fn all_disks_that_go_to_a_repository_need_room_there() -> Result<()> {
    let bench = Bench::new(true).await?;
    let client = bench.pool.client();
    let sr = client.by_name_label::<Sr>("shared").await?;
    let srs = client.all_records::<Sr>().await?;
    let there = srs.values().find(|sr| sr.name_label == LVM).context("a repository")?;
    let most = (there.physical_size - there.physical_utilisation) / 5 * 3 / (4 << 20) * (4 << 20);
    for userdevice in [1, 2] {
        let mut keys = client.record(&bench.vm).await?.other_config;
        keys.retain(|key, _| {
            ["xenapi-rs:owner", "xenapi-rs:instance", "xenapi-rs:operation"].contains(&&**key)
        });
        let create =
            vdi::Create { virtual_size: most, other_config: keys, ..foreign_disk("data", sr.clone()) };
        let disk = client.call(create).await?;
        let uuid = client.get_field(&disk, vdi::field::UUID).await?;
        client.add_to(&disk, vdi::field::OTHER_CONFIG, "xenapi-rs:self", uuid).await?;
        client.call(foreign_drive(&bench.vm, &disk, userdevice)).await?;
    }
    let all = bench.pool.driver.plan_live_migration(&bench.which, &bench.options()?).await?;
    assert!(all.disks.is_empty(), "they can stay");
    let disks: Vec<String> = bench.disks().await?.into_keys().collect();
    let lvm = || SrChoice::NameLabel(LVM.into());
    let going = |disks: &[String]| -> Result<MigrateOptions> {
        let disks = disks.iter().map(|disk| (disk.clone(), lvm())).collect();
        Ok(MigrateOptions { disks, ..bench.options()? })
    };
    for disk in &disks {
        bench.pool.driver.plan_live_migration(&bench.which, &going(std::slice::from_ref(disk))?).await?;
    }
    let error = bench.pool.driver.live_migrate(bench.which.clone(), going(&disks)?).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Conflicts(_)), "{error}");
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
    let sessions = bench.pool.simulator.count_of_sessions();
    let options = || -> Result<MigrateOptions> {
        Ok(MigrateOptions { sr: Some(SrChoice::NameLabel(LVM.into())), ..bench.options()? })
    };
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
    bench.pool.driver.plan_live_migration(&bench.which, &options()?).await?;
    bench.pool.driver.live_migrate(bench.which.clone(), options()?).await?;
    assert_eq!(bench.pool.simulator.count_of_sessions(), sessions, "the hosts' own have ended");
    Ok(())
}

/// The migration failed, its program ended, and XAPI left its copies: the next program finds them, and only them.
#[tokio::test]
async fn what_a_broken_migration_left_is_removed_and_nothing_else() -> Result<()> {
    let bench = Bench::new(false).await?;
    let (client, faults) = (bench.pool.client(), bench.pool.simulator.faults());
    let options = MigrateOptions { sr: Some(SrChoice::NameLabel(LVM.into())), ..bench.options()? };
    let planned = bench.pool.driver.plan_live_migration(&bench.which, &options).await?;
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

/// XAPI is asked before anything is changed, also where only memory moves; what is begun can be aborted.
#[tokio::test]
async fn memory_alone_is_checked_aborted_and_failed() -> Result<()> {
    let bench = Bench::new(true).await?;
    let (driver, faults) = (&bench.pool.driver, bench.pool.simulator.faults());
    let (before, census) = (bench.record().await?, bench.pool.census().await?);
    let sessions = bench.pool.simulator.count_of_sessions();
    for method in ["host.migrate_receive", "VM.assert_can_migrate"] {
        faults.on(method, refusal());
        faults.record();
        let error = driver.live_migrate(bench.which.clone(), bench.options()?).await.unwrap_err();
        let mut written = e2e::pool::writes(faults.recorded());
        written.retain(|call| call != "host.migrate_receive" && call != "VM.assert_can_migrate");
        assert_eq!(written, [""; 0], "{method}: {error}");
        faults.on(method, refusal());
        let planned = driver.plan_live_migration(&bench.which, &bench.options()?).await;
        assert!(planned.unwrap_err().to_string().contains("a fault of the test"), "{method}");
    }
    faults.record();
    faults.on("VM.pool_migrate", Fault::Slow(Duration::from_millis(300)));
    let (sender, mut events) = mpsc::unbounded_channel();
    let progress = Progress::to(move |event| {
        let _ = sender.send(event);
    });
    let migrating = driver.live_migrate(bench.which.clone(), MigrateOptions { progress, ..bench.options()? });
    // Its journal says that it has begun.
    while !bench.record().await?.other_config.contains_key("xenapi-rs:moving") {
        tokio::task::yield_now().await;
    }
    assert!(events.recv().await.is_some());
    migrating.cancel();
    let error = migrating.await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Cancelled) && error.leftovers().is_empty(), "{error}");
    assert_eq!(bench.record().await?, before);
    bench.pool.census().await?.assert_as(&census, "aborted");

    faults.on("VM.pool_migrate", refusal());
    let error = driver.live_migrate(bench.which.clone(), bench.options()?).await.unwrap_err();
    assert!(error.leftovers().is_empty(), "{error}");
    assert_eq!(bench.record().await?, before);

    // An edition without storage migration does not answer the question, and moves memory all the same.
    let pool = bench.pool.client().all::<xenapi_types::Pool>().await?.remove(0).to_string();
    let lacks = xenapi_wire::Value::Struct(
        [("restrict_storage_xen_motion".to_owned(), "true".into())].into_iter().collect(),
    );
    bench.pool.simulator.core().db().write(|tx| tx.set("pool", &pool, "restrictions", lacks))?;
    faults.record();
    driver.live_migrate(bench.which.clone(), bench.options()?).await?;
    let calls = faults.recorded();
    assert!(!calls.iter().any(|call| call == "VM.assert_can_migrate"), "{calls:?}");
    assert_eq!(bench.record().await?.resident_on, bench.there.reference);
    assert_eq!(bench.pool.simulator.count_of_sessions(), sessions);
    Ok(())
}

/// It arrived, and its program ended before it noted that: the next one knows where it is, and in which domain.
#[tokio::test]
async fn what_only_moved_its_memory_is_settled_after_a_kill() -> Result<()> {
    let bench = Bench::new(true).await?;
    let (driver, faults) = (&bench.pool.driver, bench.pool.simulator.faults());
    let before = bench.record().await?;
    // As good as a crash: nothing is noted any more.
    for method in ["VM.set_affinity", "VM.remove_from_other_config"] {
        faults.on_every(method, refusal());
    }
    faults.on_every("VM.add_to_other_config", refusal());
    let error = driver.live_migrate(bench.which.clone(), bench.options()?).await.unwrap_err();
    assert!(error.to_string().contains("noting"), "{error}");
    assert_eq!(bench.record().await?.resident_on, before.resident_on, "nothing moves without a journal");
    faults.clear();

    for method in ["VM.set_affinity", "VM.remove_from_other_config"] {
        faults.on_every(method, refusal());
    }
    let error = driver.live_migrate(bench.which.clone(), bench.options()?).await.unwrap_err();
    assert_eq!(error.leftovers().len(), 1, "{error}");
    faults.clear();
    let now = bench.record().await?;
    assert_eq!((&now.resident_on, &now.affinity), (&bench.there.reference, &before.affinity));
    assert!(now.other_config.contains_key("xenapi-rs:moving"));

    assert_eq!(bench.reconcile().await?, [Kind::BrokenMigration]);
    let now = bench.record().await?;
    assert_eq!((&now.resident_on, &now.affinity), (&bench.there.reference, &bench.there.reference));
    assert_eq!(now.other_config.get("last_dom_id"), Some(&now.domid.to_string()));
    assert!(!now.other_config.contains_key("xenapi-rs:moving"));
    // What never left keeps what it preferred.
    let back = || -> Result<MigrateOptions> { Ok(MigrateOptions::to(bench.record_home()?)) };
    faults.on("VM.pool_migrate", refusal());
    faults.on_every("VM.remove_from_other_config", refusal());
    driver.live_migrate(bench.which.clone(), back()?).await.unwrap_err();
    faults.clear();
    assert_eq!(bench.reconcile().await?, [Kind::BrokenMigration]);
    assert_eq!(bench.record().await?.affinity, now.affinity);
    Ok(())
}

/// What a broken move has left would be in the way of what comes next, which does not know where the guest is: it is settled first.
#[tokio::test]
async fn what_comes_after_a_broken_migration_settles_it_first() -> Result<()> {
    for verb in ["rescue", "rebuild", "resize", "move_to_pool"] {
        let bench = Bench::new(true).await?;
        let (driver, faults) = (&bench.pool.driver, bench.pool.simulator.faults());
        for method in ["VM.set_affinity", "VM.remove_from_other_config"] {
            faults.on_every(method, refusal());
        }
        driver.live_migrate(bench.which.clone(), bench.options()?).await.unwrap_err();
        faults.clear();
        assert!(bench.record().await?.other_config.contains_key("xenapi-rs:moving"), "{verb}");

        let next = bench.pool.driver_with(Settings::default())?;
        let (which, image) = (bench.which.clone(), bench._files.path().join("demo.img"));
        let shared = SrChoice::NameLabel("shared".into());
        match verb {
            "rescue" => {
                let options = RescueOptions { sr: shared, ..RescueOptions::with(&image) };
                next.rescue(which, options).await?;
            }
            "rebuild" => drop(next.rebuild(which, RebuildOptions::with(&image)).await?),
            "resize" => {
                let flavor = Some(Flavor::new(2, 512, 0));
                let options = ResizeOptions { flavor, shutdown: Shutdown::Hard, ..ResizeOptions::default() };
                drop(next.resize(which, options).await?);
            }
            _ => {
                let other = Pool::of(World::demo().elsewhere(2)).await?;
                let options = MoveOptions { shutdown: Shutdown::Hard, ..MoveOptions::default() };
                drop(next.move_to_pool(which, &other.driver, options).await?);
            }
        }
        let now = bench.record().await?;
        assert!(!now.other_config.contains_key("xenapi-rs:moving"), "{verb}: {:?}", now.other_config);
        assert_eq!(now.affinity, bench.there.reference, "{verb}");
        // What has moved to another pool is off here.
        let runs_there = now.resident_on == bench.there.reference;
        assert_eq!(runs_there, verb != "move_to_pool", "{verb}");
    }
    Ok(())
}

/// Each disk goes where it is said, also one that would not have to; what is no disk of the instance is told.
#[tokio::test]
async fn single_disks_go_where_they_are_said_to() -> Result<()> {
    let bench = Bench::new(true).await?;
    let (driver, client) = (&bench.pool.driver, bench.pool.client());
    let (root, _) = bench.disks().await?.into_iter().next().context("a disk")?;
    let stranger = Uuid::from_u128(7).to_string();
    let lvm = || SrChoice::NameLabel(LVM.into());
    let with = |disk: &str| -> Result<MigrateOptions> {
        Ok(MigrateOptions { disks: BTreeMap::from([(disk.to_owned(), lvm())]), ..bench.options()? })
    };
    let cold = |disk: &str| -> Result<ResizeOptions> {
        Ok(ResizeOptions {
            node: Some(bench.there.uuid.parse()?),
            disks: BTreeMap::from([(disk.to_owned(), lvm())]),
            shutdown: Shutdown::Hard,
            ..ResizeOptions::default()
        })
    };
    bench.pool.simulator.faults().record();
    let live = driver.live_migrate(bench.which.clone(), with(&stranger)?).await.unwrap_err();
    let off = driver.resize(bench.which.clone(), cold(&stranger)?).await.unwrap_err();
    for error in [live, off] {
        assert!(error.to_string().contains(&stranger) && error.to_string().contains(&root), "{error}");
    }
    assert_eq!(e2e::pool::writes(bench.pool.simulator.faults().recorded()), [""; 0]);

    let before = bench.disks().await?;
    driver.resize(bench.which.clone(), cold(&root)?).await?;
    let of = |vm: VmRecord| async move {
        let drive = client.record(vm.vbds.first().context("a drive")?).await?;
        let disk = client.record(&drive.vdi).await?;
        let sr = client.record(&disk.sr).await?;
        anyhow::Ok((disk.uuid, sr.name_label, sr.pbds))
    };
    assert_eq!(of(bench.record().await?).await?.1, LVM);
    driver.revert_resize(bench.which.clone(), Progress::none()).await?;
    assert_eq!(bench.disks().await?, before);

    let moved = driver.live_migrate(bench.which.clone(), with(&root)?).await?;
    assert_eq!(moved.disks.keys().collect::<Vec<_>>(), [&root]);
    let (_, name, pbds) = of(bench.record().await?).await?;
    let pbd = client.record(pbds.first().context("a connection")?).await?;
    assert_eq!((&*name, &pbd.host), (LVM, &bench.there.reference), "the one that the host has");
    Ok(())
}

/// One that died with its host is made anew when its content is said again; what broke off is taken back or completed.
#[tokio::test]
async fn a_config_drive_that_died_with_its_host_is_made_anew() -> Result<()> {
    let bench = Bench::new(true).await?;
    let (driver, client, faults) = (&bench.pool.driver, bench.pool.client(), bench.pool.simulator.faults());
    let (which, lost) = bench.with_a_drive_apart().await?;
    bench.home_is_live(false).await?;
    let before = bench.disks().await?;
    let drive = |name: &str| NewDrive {
        content: ConfigDrive { hostname: Some(name.to_owned()), ..ConfigDrive::default() },
        ..NewDrive::default()
    };
    let options = |name: &str| -> Result<EvacuateOptions> {
        let to = EvacuateOptions::to(bench.there.uuid.parse()?);
        Ok(EvacuateOptions { config_drive: Some(drive(name)), ..to })
    };
    let error = driver.evacuate(which.clone(), options("no name")?).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::ConfigDrive(_)), "{error}");
    let plan = options("db2")?;
    let plan = driver.dry_run(|driver| driver.evacuate(which.clone(), plan)).await?;
    assert!(
        plan.steps.iter().any(|step| step.contains("new config drive") && step.contains(&lost)),
        "{plan}"
    );
    for method in ["VM.power_state_reset", "VBD.create", "VM.start_on"] {
        faults.on(method, refusal());
        let error = driver.evacuate(which.clone(), options("db2")?).await.unwrap_err();
        assert!(error.leftovers().is_empty(), "{method}: {error}");
        assert_eq!(bench.disks().await?, before, "{method}");
        assert_eq!(bench.drives_of(&which).await?.get("3"), Some(&lost), "{method}");
    }
    // As good as a crash, before the start: it is completed, with the drive that was made.
    faults.on("VM.start_on", refusal());
    faults.on_nth("VBD.create", 2, refusal());
    let error = driver.evacuate(which.clone(), options("db2")?).await.unwrap_err();
    assert_eq!(error.leftovers().len(), 1, "{error}");
    faults.clear();
    assert_eq!(bench.reconcile().await?, [Kind::BrokenEvacuation, Kind::OrphanedDisk]);
    let now = bench.drives_of(&which).await?;
    let made = now.get("3").context("a config drive")?;
    let sr = client.get_field(&client.by_name_label::<Sr>("shared").await?, sr::field::UUID).await?;
    assert!(*made != lost && bench.disks().await?.get(made) == Some(&sr), "{now:?}");
    assert!(!bench.disks().await?.contains_key(&lost), "its repository is there: it could be removed");
    driver.check_config_drive(which.clone(), Progress::none()).await?;
    assert_eq!(bench.reconcile().await?, []);
    Ok(())
}

/// A config drive on a host's own repository, the root disk being on a shared one: alive it goes to the root
/// disk's; of a dead host it is lost, and that is said before anything is done.
#[tokio::test]
async fn a_config_drive_of_its_host_goes_along_alive() -> Result<()> {
    let bench = Bench::new(true).await?;
    let (driver, client) = (&bench.pool.driver, bench.pool.client());
    let (which, _) = bench.with_a_drive_apart().await?;
    let there = bench.there.uuid.parse()?;
    bench.home_is_live(false).await?;
    let census = bench.pool.census().await?;
    let error = driver.evacuate(which.clone(), EvacuateOptions::to(there)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::ConfigDriveLost { .. }), "{error}");
    let says = |part: &str| error.to_string().contains(part);
    assert!(says("bring that one back") && says("--new-config-drive"), "{error}");
    bench.pool.census().await?.assert_as(&census, "refused");
    bench.home_is_live(true).await?;

    let moved = driver.live_migrate(which.clone(), MigrateOptions::to(there)).await?;
    let shared = client.by_name_label::<Sr>("shared").await?;
    let shared = client.get_field(&shared, sr::field::UUID).await?;
    assert_eq!(moved.disks.values().collect::<Vec<_>>(), [&shared]);
    driver.check_config_drive(which, Progress::none()).await?;
    Ok(())
}
