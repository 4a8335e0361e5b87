//! Reconciling judges by lists that are of different moments, and works for minutes: what it finds must still
//! be so when it acts, and what is somebody else's stays.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use e2e::pool::{EXT, Pool, foreign, foreign_drive};
use e2e::victim;
use examples::demo_image::DemoImage;
use jiff::SignedDuration;
use tempfile::TempDir;
use uuid::{NoContext, Timestamp, Uuid};
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xenapi_driver::image_cache::{CacheRequest, CachedImage, Copying};
use xenapi_driver::reconcile::{Finding, Kind, ReconcileOptions, Reconciled};
use xenapi_driver::spec::{Flavor, InstanceSpec, RootImage, SrChoice};
use xenapi_driver::{Driver, Existing, PowerChange, Progress, Settings, Shutdown, SpawnOptions, Which};
use xenapi_types::{Host, Ref, Vdi, Vm, host, task, vbd, vdi, vm};

struct Bench {
    pool: Pool,
    files: TempDir,
}

const NOW: ReconcileOptions =
    ReconcileOptions { older_than: Duration::ZERO, dry_run: false, progress: Progress::none() };

impl Bench {
    async fn new() -> Result<Self> {
        let pool = Pool::of(World::demo().with_all_drivers()).await?;
        let files = tempfile::tempdir()?;
        DemoImage { virtual_bytes: 64 << 20, payload_bytes: 1 << 20 }
            .write(&files.path().join("demo.img"))?;
        Ok(Self { pool, files })
    }

    async fn spawn(&self) -> Result<Uuid> {
        let image = self.files.path().join("demo.img").display().to_string();
        Ok(self.pool.spawn(victim::spec(&image)).await?.uuid)
    }

    async fn vm(&self, instance: Uuid) -> Result<Ref<Vm>> {
        let info = self.pool.driver.instance(&Which::Instance(instance)).await?;
        Ok(self.pool.client().by_uuid::<Vm>(&info.vm_uuid).await?)
    }

    async fn reconcile(&self, driver: &Driver, options: ReconcileOptions) -> Result<Reconciled> {
        let result = driver.reconcile(options).await?;
        assert!(result.leftovers.is_empty(), "{:?}", result.leftovers);
        Ok(result)
    }

    async fn image(&self) -> Result<CachedImage> {
        let sr = SrChoice::Named(EXT.into());
        let request = CacheRequest { sr, ..CacheRequest::new("image", self.files.path().join("demo.img")) };
        Ok(self.pool.driver.cache_image(request, Progress::none()).await?)
    }

    /// Removes the VM of an instance, and that alone, as `xe vm-destroy` does. Its disks.
    async fn without_vm(&self, instance: Uuid) -> Result<Vec<Ref<Vdi>>> {
        let client = self.pool.client();
        let vm = self.vm(instance).await?;
        client.call(vm::HardShutdown { vm: vm.clone() }).await?;
        let mut disks = Vec::new();
        for vbd in client.record(&vm).await?.vbds {
            disks.push(client.record(&vbd).await?.vdi);
        }
        client.destroy(&vm).await?;
        disks.retain(|disk| !disk.is_null());
        Ok(disks)
    }

    async fn are_there(&self, disks: &[Ref<Vdi>]) -> Result<usize> {
        let mut there = 0;
        for disk in disks {
            there += usize::from(self.pool.client().record_opt(disk).await?.is_some());
        }
        Ok(there)
    }
}

#[tokio::test]
async fn whoever_removed_a_vm_alone_has_time_to_use_its_disks() -> Result<()> {
    let bench = Bench::new().await?;
    let (client, driver) = (bench.pool.client(), &bench.pool.driver);
    let older_than = Duration::from_secs(1);
    let options = || ReconcileOptions { older_than, ..ReconcileOptions::default() };
    let lost = bench.without_vm(bench.spawn().await?).await?;
    tokio::time::sleep(older_than).await;
    let told = bench.reconcile(driver, ReconcileOptions { dry_run: true, ..options() }).await?;
    assert_eq!((told.done.len(), told.too_young.len()), (0, lost.len()), "{told:?}");
    let first = bench.reconcile(driver, options()).await?;
    assert_eq!((first.done.len(), first.too_young.len()), (0, lost.len()), "{first:?}");
    assert!(first.too_young.iter().all(|found| found.kind == Kind::OrphanedDisk), "{first:?}");
    // One of them gets a VM of somebody's, which is off.
    let theirs = client.call(foreign("theirs")).await?;
    client.call(foreign_drive(&theirs, &lost[0], 0)).await?;
    tokio::time::sleep(older_than).await;
    let second = bench.reconcile(driver, options()).await?;
    let removed = second.done.iter().filter(|found| found.kind == Kind::OrphanedDisk).count();
    assert_eq!((removed, bench.are_there(&lost).await?), (lost.len() - 1, 1), "{second:?}");
    let keys = client.get_field(&lost[0], vdi::field::OTHER_CONFIG).await?;
    assert!(!keys.contains_key("xenapi-rs:orphaned"), "it is in use: {keys:?}");
    Ok(())
}

#[tokio::test]
async fn a_disk_that_is_used_meanwhile_stays() -> Result<()> {
    let bench = Bench::new().await?;
    let (client, driver) = (bench.pool.client(), &bench.pool.driver);
    let lost = bench.without_vm(bench.spawn().await?).await?;
    assert!(lost.len() > 1, "{lost:?}");
    let theirs = client.call(foreign("theirs")).await?;
    // While the first one is being removed, all that are left get a VM.
    bench.pool.simulator.faults().on_nth("VDI.destroy", 1, Fault::Slow(Duration::from_secs(2)));
    let mut struck = bench.pool.simulator.faults().struck();
    struck.borrow_and_update();
    let reconciling = driver.reconcile(NOW);
    let using = async {
        struck.changed().await?;
        for (userdevice, disk) in lost.iter().enumerate() {
            // The first one may go under it.
            let _ = client.call(foreign_drive(&theirs, disk, userdevice)).await;
        }
        anyhow::Ok(())
    };
    let (reconciled, used) = tokio::join!(reconciling, using);
    used?;
    let reconciled = reconciled?;
    assert_eq!(bench.are_there(&lost).await?, lost.len() - 1, "{reconciled:?}");
    Ok(())
}

#[tokio::test]
async fn what_another_owner_is_busy_with_stays() -> Result<()> {
    let bench = Bench::new().await?;
    let instance = bench.spawn().await?;
    let settings = Settings { owner: "another cloud".to_owned(), ..Settings::default() };
    let other = bench.pool.driver_with(settings)?;
    let faults = bench.pool.simulator.faults();
    // A snapshot that is being uploaded.
    faults.on_nth("/export_raw_vdi", 1, Fault::Slow(Duration::from_secs(2)));
    let mut struck = faults.struck();
    struck.borrow_and_update();
    let file = bench.files.path().join("snapshot.vhd");
    let none = Progress::none();
    let uploading = bench.pool.driver.snapshot(Which::Instance(instance), &file, Existing::Refuse, none);
    let meanwhile = async {
        struck.changed().await?;
        bench.reconcile(&other, NOW).await
    };
    let (uploaded, reconciled) = tokio::join!(uploading, meanwhile);
    let reconciled = reconciled?;
    uploaded?;
    assert!(reconciled.done.is_empty() && reconciled.unclear.is_empty(), "{reconciled:?}");
    // A cached image that is being cloned and copied.
    let image = bench.image().await?;
    for (call, copying) in [("VDI.clone", Copying::Clone), ("VDI.copy", Copying::Full)] {
        faults.on_nth(call, 1, Fault::Slow(Duration::from_secs(2)));
        struck.borrow_and_update();
        let root = RootImage::Cached(image.clone(), copying);
        let mut spec = InstanceSpec::new(call, Flavor::new(1, 256, 0), root);
        spec.sr = SrChoice::Named(EXT.into());
        let spawning = bench.pool.driver.spawn(spec, SpawnOptions::default());
        let meanwhile = async {
            struck.changed().await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            bench.reconcile(&other, NOW).await
        };
        let (spawned, reconciled) = tokio::join!(spawning, meanwhile);
        let reconciled = reconciled?;
        spawned?;
        assert!(reconciled.done.is_empty() && reconciled.unclear.is_empty(), "{call}: {reconciled:?}");
    }
    Ok(())
}

#[tokio::test]
async fn copies_that_users_make_of_a_cached_image_stay() -> Result<()> {
    let bench = Bench::new().await?;
    let (client, image) = (bench.pool.client(), bench.image().await?);
    let cached = client.by_uuid::<Vdi>(&image.uuid).await?;
    // As a program leaves it that was killed while it cloned the image.
    let (operation, field) = (Uuid::from_u128(7), vdi::field::OTHER_CONFIG);
    let cloning = format!("{operation} {} 1", image.uuid);
    for (copies, there) in [(1, 0), (2, 2)] {
        client.add_to(&cached, field, "xenapi-rs:cloning", cloning.as_str()).await?;
        let mut made = Vec::new();
        for _ in 0..copies {
            made.push(client.call(vdi::Clone { vdi: cached.clone(), driver_params: None }).await?);
        }
        let reconciled = bench.reconcile(&bench.pool.driver, NOW).await?;
        assert_eq!(bench.are_there(&made).await?, there, "{reconciled:?}");
        assert_eq!(reconciled.unclear.len(), there, "{reconciled:?}");
        // By it they are known, as long as nobody has looked at them.
        let keys = client.get_field(&cached, field).await?;
        assert_eq!(keys.contains_key("xenapi-rs:cloning"), there > 0, "{keys:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_disk_that_somebody_works_on_in_dom0_stays_there() -> Result<()> {
    let bench = Bench::new().await?;
    let (client, driver) = (bench.pool.client(), &bench.pool.driver);
    let instance = bench.spawn().await?;
    let off = PowerChange::Off(Shutdown::Hard);
    driver.power(Which::Instance(instance), off, Progress::none()).await?;
    let vm = bench.vm(instance).await?;
    let disk = client.record(&client.record(&vm).await?.vbds[0]).await?.vdi;
    let disk_uuid = client.record(&disk).await?.uuid;
    let vms = client.all_records::<Vm>().await?;
    let dom0 = vms.into_iter().find(|(_, vm)| vm.is_control_domain).context("dom0")?.0;
    let call = |other_config| vbd::Create {
        userdevice: "autodetect".into(),
        bootable: false,
        other_config,
        unpluggable: true,
        ..foreign_drive(&dom0, &disk, 0)
    };
    // By a program that does not say what it does: a person has to look.
    let vbd = client.call(call(BTreeMap::new())).await?;
    client.call(vbd::Plug { vbd: vbd.clone() }).await?;
    let reconciled = bench.reconcile(driver, NOW).await?;
    let told: Vec<_> = reconciled.unclear.iter().map(|found| (found.kind, &found.uuid)).collect();
    assert_eq!((reconciled.done.len(), told), (0, vec![(Kind::HeldDisk, &disk_uuid)]));
    client.call(vbd::Unplug { vbd: vbd.clone() }).await?;
    client.destroy(&vbd).await?;
    // By a transfer that is under way, and that ends.
    let label = "a backup".to_owned();
    let task = client.call(task::Create { label, description: String::new() }).await?;
    let keys = BTreeMap::from([("task_id".to_owned(), task.to_string())]);
    let vbd = client.call(call(keys)).await?;
    client.call(vbd::Plug { vbd: vbd.clone() }).await?;
    let reconciled = bench.reconcile(driver, NOW).await?;
    assert!(reconciled.done.is_empty() && reconciled.unclear.is_empty(), "{reconciled:?}");
    let db = bench.pool.simulator.core().db();
    db.write(|tx| tx.set("task", &task.to_string(), "status", "success"))?;
    let reconciled = bench.reconcile(driver, NOW).await?;
    let done: Vec<_> = reconciled.done.iter().map(|found| (found.kind, &found.uuid)).collect();
    assert_eq!(done, [(Kind::HeldDisk, &disk_uuid)], "{reconciled:?} {:?}", client.record(&vbd).await?);
    assert!(client.record_opt(&vbd).await?.is_none());
    Ok(())
}

/// How long ago something began is judged by the pool's time, which another machine has noted, and not by
/// this machine's clock.
#[tokio::test]
async fn age_is_told_by_the_pools_clock() -> Result<()> {
    let pool = Pool::ahead(SignedDuration::from_hours(3)).await?;
    let host = pool.client().all::<Host>().await?.remove(0);
    let of_this_machine = UNIX_EPOCH.elapsed()?.as_secs();
    let begun = |hours: u64| {
        Uuid::new_v7(Timestamp::from_unix(NoContext, of_this_machine + hours * 3_600, 0)).to_string()
    };
    // In the pool's time: just now, and two hours ago.
    let (young, old) = (begun(3), begun(1));
    let owner = Settings::default().owner;
    for operation in [&young, &old] {
        let key = format!("xenapi-rs:memory:{operation}");
        pool.client().add_to(&host, host::field::OTHER_CONFIG, key, format!("4096/{owner}")).await?;
    }
    let looked = pool.driver.reconcile(ReconcileOptions::default()).await?;
    let uuids = |found: &[Finding]| found.iter().map(|found| found.uuid.clone()).collect::<Vec<_>>();
    assert_eq!((uuids(&looked.done), uuids(&looked.too_young)), (vec![old], vec![young.clone()]));

    // What is noted from now on has that time, too.
    let other = pool.driver_with(Settings::default())?;
    other.set_clock().await;
    let image = DemoImage { virtual_bytes: 64 << 20, payload_bytes: 1 << 20 };
    let files = tempfile::tempdir()?;
    image.write(&files.path().join("demo.img"))?;
    let spec = victim::spec(&files.path().join("demo.img").display().to_string());
    let instance = other.spawn(spec, SpawnOptions::default()).await?;
    let vm = pool.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
    let keys = pool.client().get_field(&vm, vm::field::OTHER_CONFIG).await?;
    let operation: Uuid = keys["xenapi-rs:operation"].parse()?;
    let (seconds, _) = operation.get_timestamp().context("of version 7")?.to_unix();
    assert!(seconds.abs_diff(of_this_machine + 3 * 3_600) < 1_800, "{operation}");
    Ok(())
}
