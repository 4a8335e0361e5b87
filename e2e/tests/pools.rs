//! Instances on their way from one pool to another.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;

use anyhow::{Context, Result};
use e2e::pool::{Census, LVM, NETWORK, PASSWORD, Pool};
use examples::demo_image::DemoImage;
use tempfile::TempDir;
use xapi_simulator::fault::Fault;
use xenapi_client::{Client, ExportFormat};
use xenapi_driver::live::Migration;
use xenapi_driver::pools::{PoolMigrateOptions, PoolPlace};
use xenapi_driver::reconcile::{Kind, ReconcileOptions};
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Nic, SrChoice};
use xenapi_driver::volume::{AttachOptions, Storage, Volume, VolumeDisk};
use xenapi_driver::{Cause, Event, Instance, PowerChange, Progress, Settings, Shutdown, Stage, Which};
use xenapi_types::{Host, Sr, Vdi, VdiType, Vm, VmPowerState, VmRecord, host, network, sr, vdi};
use xenapi_wire::Failure;

const NOW: ReconcileOptions =
    ReconcileOptions { older_than: std::time::Duration::ZERO, dry_run: false, progress: Progress::none() };

struct Bench {
    here: Pool,
    there: Pool,
    _files: TempDir,
    image: PathBuf,
    /// Both pools, without an instance.
    before: [Census; 2],
}

impl Bench {
    async fn new() -> Result<Self> {
        let files = tempfile::tempdir()?;
        let image = files.path().join("demo.img");
        DemoImage { virtual_bytes: 64 << 20, payload_bytes: 1 << 20 }.write(&image)?;
        let here = Box::pin(Pool::demo()).await?;
        let there = Box::pin(Pool::demo()).await?;
        here.simulator.meet(&there.simulator);
        let before = [here.census().await?, there.census().await?];
        Ok(Self { here, there, _files: files, image, before })
    }

    async fn spawn(&self) -> Result<Instance> {
        let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), &self.image);
        spec.nics = vec![Nic::on(NETWORK)];
        spec.config_drive = Some(ConfigDrive::default());
        Ok(self.here.spawn(spec).await?)
    }

    async fn go(&self, instance: &Instance, options: PoolMigrateOptions) -> xenapi_driver::Result<Migration> {
        self.here.driver.migrate_to_pool(Which::Instance(instance.uuid), &self.there.driver, options).await
    }

    /// The instance in the other pool, and nothing of it here.
    async fn arrived(&self, instance: &Instance) -> Result<VmRecord> {
        self.here.census().await?.assert_as(&self.before[0], "where it was");
        let client = self.there.client();
        Ok(client.record(&client.by_uuid::<Vm>(&instance.vm_uuid).await?).await?)
    }

    /// It is the other driver's in every respect.
    async fn destroy_there(&self, instance: &Instance) -> Result<()> {
        let destroyed = self.there.destroy(instance).await?;
        assert_eq!(destroyed.kept_disk_uuids, [""; 0]);
        self.there.census().await?.assert_as(&self.before[1], "where it went");
        Ok(())
    }
}

/// Digests of a VM's disks, by place.
async fn contents(client: &Client, vm: &VmRecord) -> Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for vbd in &vm.vbds {
        let vbd = client.record(vbd).await?;
        let mut export = client.export_vdi(&vbd.vdi, ExportFormat::Raw, None).await?;
        let mut digest = DefaultHasher::new();
        while let Some(chunk) = export.chunk().await? {
            digest.write(&chunk);
        }
        export.finish().await?;
        all.insert(vbd.userdevice, digest.finish());
    }
    Ok(all)
}

#[tokio::test]
async fn running_and_halted_with_their_disks() -> Result<()> {
    let bench = Bench::new().await?;
    let (client, other) = (bench.here.client(), bench.there.client());
    let tenant = network::Create { name_label: "tenant".into(), ..network::Create::default() };
    let tenant = other.call(tenant).await?;
    let census = bench.there.census().await?;
    let here = client.by_name_label::<xenapi_types::Network>(NETWORK).await?;
    let here = client.get_field(&here, network::field::UUID).await?;
    let tenant_uuid = other.get_field(&tenant, network::field::UUID).await?;
    for halted in [false, true] {
        let instance = bench.spawn().await?;
        if halted {
            let off = PowerChange::Off(Shutdown::Hard);
            bench.here.driver.power(Which::Instance(instance.uuid), off, Progress::none()).await?;
        }
        let vm = client.record(&client.by_uuid::<Vm>(&instance.vm_uuid).await?).await?;
        let (told, mut telling) = tokio::sync::mpsc::unbounded_channel();
        let progress = Progress::to(move |event| drop(told.send(event)));
        let sr = Some(SrChoice::NameLabel(LVM.into()));
        let networks = BTreeMap::from([(here.clone(), tenant_uuid.clone())]);
        let place = PoolPlace { sr, networks, ..PoolPlace::default() };
        let options = PoolMigrateOptions { place, progress, ..PoolMigrateOptions::default() };
        let before = if halted { contents(client, &vm).await? } else { BTreeMap::new() };
        let planned = bench
            .here
            .driver
            .plan_pool_migration(&Which::Instance(instance.uuid), &bench.there.driver, &options)
            .await?;
        let moved = bench.go(&instance, options).await?;
        assert_eq!((&moved, moved.disks.len()), (&planned, 2));
        let percents = std::iter::from_fn(|| telling.try_recv().ok());
        assert!(
            percents.into_iter().any(|event| matches!(event, Event::Percent(Stage::Migrate, n) if n > 0))
        );

        let arrived = bench.arrived(&instance).await?;
        let state = if halted { VmPowerState::Halted } else { VmPowerState::Running };
        assert_eq!((arrived.power_state.clone(), &arrived.name_label), (state, &vm.name_label));
        let vif = other.record(&arrived.vifs[0]).await?;
        assert_eq!((vif.mac, &vif.network), (instance.macs[0].clone(), &tenant));
        for vbd in &arrived.vbds {
            let disk = other.record(&other.record(vbd).await?.vdi).await?;
            assert_eq!(other.get_field(&disk.sr, sr::field::NAME_LABEL).await?, LVM);
            assert_eq!(disk.other_config["xenapi-rs:self"], disk.uuid, "it is marked as ours");
        }
        if halted {
            assert_eq!(contents(other, &arrived).await?, before);
        }
        let destroyed = bench.there.destroy(&instance).await?;
        assert_eq!(destroyed.kept_disk_uuids, [""; 0]);
        bench.there.census().await?.assert_as(&census, "where it went");
    }
    Ok(())
}

/// Whatever fails, the instance goes on where it is, and the other pool is as it was.
#[tokio::test]
async fn aborted_and_failed_it_goes_on_where_it_was() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn().await?;
    let (which, here) = (Which::Instance(instance.uuid), bench.here.census().await?);
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    bench.there.driver.instances().await?;
    let sessions = bench.there.simulator.count_of_sessions();
    let unhurt = async |what: &str| -> Result<()> {
        Box::pin(bench.here.census()).await?.assert_as(&here, what);
        Box::pin(bench.there.census()).await?.assert_as(&bench.before[1], what);
        assert_eq!(
            bench.there.simulator.count_of_sessions(),
            sessions,
            "{what}: what the source pool can call with"
        );
        let client = bench.here.client();
        let vm = client.record(&client.by_uuid::<Vm>(&instance.vm_uuid).await?).await?;
        assert_eq!(vm.power_state, VmPowerState::Running, "{what}");
        Ok(())
    };
    bench.there.simulator.faults().on("host.migrate_receive", refusal.clone());
    bench.go(&instance, PoolMigrateOptions::default()).await.unwrap_err();
    unhurt("the other pool refuses").await?;
    for method in ["VM.assert_can_migrate", "VM.migrate_send"] {
        bench.here.simulator.faults().on(method, refusal.clone());
        bench.go(&instance, PoolMigrateOptions::default()).await.unwrap_err();
        unhurt(method).await?;
    }
    let (told, mut telling) = tokio::sync::mpsc::unbounded_channel();
    let options = PoolMigrateOptions {
        progress: Progress::to(move |event| drop(told.send(event))),
        ..PoolMigrateOptions::default()
    };
    bench.here.simulator.faults().on("VM.migrate_send", Fault::Slow(std::time::Duration::from_millis(300)));
    let moving = bench.here.driver.migrate_to_pool(which, &bench.there.driver, options);
    while let Some(event) = telling.recv().await {
        if matches!(event, Event::Started(Stage::Migrate)) {
            moving.cancel();
            break;
        }
    }
    let error = moving.await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Cancelled), "{error}");
    bench.here.simulator.faults().clear();
    unhurt("cancelled").await?;
    // And then it goes.
    bench.go(&instance, PoolMigrateOptions::default()).await?;
    assert_eq!(bench.arrived(&instance).await?.power_state, VmPowerState::Running);
    assert_eq!(bench.there.simulator.count_of_sessions(), sessions);
    bench.destroy_there(&instance).await
}

#[tokio::test]
async fn what_cannot_be_is_told_before_anything_is_moved() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn().await?;
    let which = || Which::Instance(instance.uuid);
    let (client, other) = (bench.here.client(), bench.there.client());
    let told = async |place: PoolPlace, part: &str| {
        let options = PoolMigrateOptions { place, ..PoolMigrateOptions::default() };
        let error = bench.go(&instance, options).await.unwrap_err();
        assert!(error.to_string().contains(part), "{part:?} is missing in {error}");
        assert_eq!(error.stage(), Stage::Plan, "{error}");
    };
    let usual = PoolPlace::default;
    let networks = client.all_records::<xenapi_types::Network>().await?.into_values();
    let networks = networks.map(|network| (network.uuid, "nowhere".to_owned())).collect();
    told(PoolPlace { networks, ..usual() }, "no network has the uuid, name or bridge \"nowhere\"").await;
    told(PoolPlace { sr: Some(SrChoice::NameLabel("tape".into())), ..usual() }, "tape").await;
    told(PoolPlace { node: Some(uuid::Uuid::nil()), ..usual() }, "no host of the pool has the uuid").await;
    let host = other.all::<Host>().await?.pop().context("a host")?;
    other.call(host::Disable { host: host.clone(), auto_enable: None }).await?;
    told(usual(), "is disabled").await;
    other.call(host::Enable { host }).await?;

    let owner = Settings { owner: "somebody else".into(), ..Settings::default() };
    let foreign = bench.there.driver_with(owner)?;
    let error = bench
        .here
        .driver
        .migrate_to_pool(which(), &foreign, PoolMigrateOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error.cause(), Cause::OtherOwner { .. }), "{error}");

    let ext = client.by_name_label::<Sr>(e2e::pool::EXT).await?;
    let call = vdi::Create {
        name_label: "volume".into(),
        sr: ext.clone(),
        virtual_size: 1 << 20,
        r#type: VdiType::User,
        ..<_>::default()
    };
    let disk = client.call(call).await?;
    let (uuid, sr) = (
        client.get_field::<_>(&disk, vdi::field::UUID).await?,
        client.get_field(&ext, sr::field::UUID).await?,
    );
    let volume = Volume::new(Storage::Repository(sr.parse()?), VolumeDisk::Uuid(uuid.parse()?));
    bench.here.driver.attach_volume(which(), volume, AttachOptions::default()).await?;
    told(usual(), &uuid).await;
    bench.here.driver.detach_volume(which(), uuid, Progress::none()).await?;

    bench.here.driver.power(which(), PowerChange::Pause, Progress::none()).await?;
    told(usual(), "Paused").await;
    bench.here.driver.power(which(), PowerChange::On, Progress::none()).await?;
    let mut same = InstanceSpec::new("web1", Flavor::new(1, 512, 0), &bench.image);
    same.uuid = uuid::Uuid::new_v4();
    bench.there.spawn(same).await?;
    told(usual(), "the name \"web1\" is already in use").await;
    Ok(())
}

/// The program ended before it could mark the disks: they are ours all the same, and reconciling says so.
#[tokio::test]
async fn what_arrived_without_us_is_marked_by_reconciling() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn().await?;
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    bench.there.simulator.faults().on("VM.set_affinity", refusal);
    let error = bench.go(&instance, PoolMigrateOptions::default()).await.unwrap_err();
    assert_eq!(error.stage(), Stage::Vm, "{error}");
    bench.arrived(&instance).await?;
    let options = ReconcileOptions { older_than: std::time::Duration::ZERO, ..ReconcileOptions::default() };
    let done = bench.there.driver.reconcile(options).await?.done;
    let kinds: Vec<Kind> = done.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [Kind::BrokenMigration], "{done:?}");
    let mut sealed = 0;
    for disk in bench.there.client().all_records::<Vdi>().await?.into_values() {
        sealed += usize::from(disk.other_config.get("xenapi-rs:self") == Some(&disk.uuid));
    }
    assert_eq!(sealed, 2);
    bench.destroy_there(&instance).await
}

/// As a killed program and a toolstack that ends leave it: copies in the other pool, with which nobody there has to do.
#[tokio::test]
async fn copies_that_were_left_are_removed_by_either_pool_and_nothing_else() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn().await?;
    let (client, other) = (bench.here.client(), bench.there.client());
    let here = bench.here.census().await?;
    let refusal = || Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    let root = client.record(&client.by_uuid::<Vdi>(&instance.root_uuid).await?).await?;
    let from = client.get_field(&root.sr, sr::field::UUID).await?;
    let pool = other.all_records::<xenapi_types::Pool>().await?.into_values().next().context("a pool")?;
    let left = async |mirror: &str| {
        let call = vdi::Create {
            name_label: root.name_label.clone(),
            sr: pool.default_sr.clone(),
            virtual_size: root.virtual_size,
            r#type: VdiType::User,
            ..vdi::Create::default()
        };
        let made = other.call(call).await?;
        other.add_to(&made, vdi::field::SM_CONFIG, "base_mirror", format!("{from}/{mirror}")).await?;
        anyhow::Ok(made)
    };
    let theirs = left("00000000-0000-0000-0000-000000000001").await?;
    let there = bench.there.census().await?;
    for there_first in [true, false] {
        bench.here.simulator.faults().on("VM.migrate_send", refusal());
        bench.here.simulator.faults().on_every("VM.remove_from_other_config", refusal());
        bench.there.simulator.faults().on_every("pool.remove_from_other_config", refusal());
        let error = bench.go(&instance, PoolMigrateOptions::default()).await.unwrap_err();
        assert_eq!(error.leftovers().len(), 1, "{error}");
        bench.here.simulator.faults().clear();
        bench.there.simulator.faults().clear();
        left(&root.location).await?;

        // It may be under way in that program.
        let young = bench.there.driver.reconcile(ReconcileOptions::default()).await?;
        assert_eq!((young.done.len(), young.too_young.len()), (0, 1), "{young:?}");
        let somebody = Settings { owner: "somebody else".into(), ..Settings::default() };
        assert_eq!(bench.there.driver_with(somebody)?.reconcile(NOW).await?.done, []);
        let both = [(&bench.there, Kind::LostArrival), (&bench.here, Kind::BrokenMigration)];
        for n in if there_first { [0, 1] } else { [1, 0] } {
            let (pool, kind) = both[n];
            let done = pool.driver.reconcile(NOW).await?.done;
            assert_eq!(done.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [kind]);
            assert_eq!(pool.driver.reconcile(NOW).await?.done, [], "the second time there is nothing to do");
        }
        bench.there.census().await?.assert_as(&there, "what was left is gone, and nothing else");
        bench.here.census().await?.assert_as(&here, "here");
    }
    assert!(other.record_opt(&theirs).await?.is_some());
    other.destroy(&theirs).await?;
    bench.go(&instance, PoolMigrateOptions::default()).await?;
    bench.arrived(&instance).await?;
    bench.destroy_there(&instance).await
}

/// The program is killed, and every second time the toolstack with it: the instance is whole, in one of the pools, and what
/// is not its own is gone from both.
#[tokio::test]
async fn killed_at_every_stage_it_is_whole_in_one_of_the_pools() -> Result<()> {
    let bench = Bench::new().await?;
    let urls = [
        bench.here.simulator.listen("127.0.0.1:0").await?,
        bench.there.simulator.listen("127.0.0.1:0").await?,
    ];
    let (mut ends, mut kinds) = ([0, 0], Vec::new());
    let mut n = 1;
    loop {
        let mut over = false;
        for toolstack_too in [false, true] {
            let instance = bench.spawn().await?;
            let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_victim"));
            command.args([&urls[0], PASSWORD, "migrate", &instance.uuid.to_string(), &urls[1]]);
            over = e2e::victim::kill_at(command, n).await?;
            if toolstack_too {
                bench.here.simulator.restart_toolstack();
            }
            for pool in [&bench.here, &bench.there] {
                pool.simulator.connections().count().wait_for(|count| count.open == 0).await?;
                e2e::victim::forget_tasks(pool).await?;
            }
            for pool in [&bench.there, &bench.here] {
                let result = pool.driver.reconcile(NOW).await?;
                assert!(result.leftovers.is_empty(), "{:?}", result.leftovers);
                kinds.extend(result.done.iter().map(|finding| finding.kind));
                assert_eq!(pool.driver.reconcile(NOW).await?.done, []);
            }
            let which = || Which::Instance(instance.uuid);
            let found =
                [bench.here.driver.instance(&which()).await, bench.there.driver.instance(&which()).await];
            let at = usize::from(found[1].is_ok());
            assert!(found[at].is_ok() && found[1 - at].is_err(), "{found:?}");
            ends[at] += 1;
            let pool = [&bench.here, &bench.there][at];
            let destroyed = pool.driver.destroy(which(), Progress::none()).await?;
            assert_eq!((destroyed.disk_uuids.len(), destroyed.kept_disk_uuids.len()), (2, 0));
            let what = format!("killed at stage {n}, toolstack too: {toolstack_too}, {kinds:?}");
            bench.here.census().await?.assert_as(&bench.before[0], &what);
            bench.there.census().await?.assert_as(&bench.before[1], &what);
        }
        if over {
            break;
        }
        n += 1;
    }
    assert!(n >= 4 && ends.iter().all(|n| *n > 0), "{n} stages, {ends:?}, {kinds:?}");
    Ok(())
}
