//! Images are fetched once, whoever wants them, and cloned from then on.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use e2e::pool::{EXT, LVM, Pool, foreign, foreign_drive};
use examples::demo_image::DemoImage;
use image_store::{Algorithm, Digest, FileSource, ImageSource, Pending};
use tempfile::TempDir;
use xapi_simulator::fault::Fault;
use xenapi_driver::image_cache::{CacheImages, CachePolicy, CacheRequest, CachedImage, Copying, Eviction};
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::spec::{Flavor, InstanceSpec, RootImage, SrChoice};
use xenapi_driver::{Driver, Progress, Settings, SpawnOptions, Which};
use xenapi_types::{Failure, Sr, VbdMode, Vdi, sr, vbd, vdi};

/// A file that counts how often it is read.
#[derive(Debug)]
struct Counted(FileSource, AtomicUsize);

impl ImageSource for Counted {
    fn open(&self) -> Pending<'_, image_store::Result<image_store::Image>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.open()
    }
}

struct Bench {
    pool: Pool,
    _files: TempDir,
    image: PathBuf,
    source: Arc<Counted>,
}

impl Bench {
    async fn new() -> Result<Self> {
        let files = tempfile::tempdir()?;
        let image = files.path().join("disk.raw");
        DemoImage { virtual_bytes: 64 << 20, payload_bytes: 4 << 20 }.write(&image)?;
        let source = Arc::new(Counted(FileSource::new(&image), AtomicUsize::new(0)));
        Ok(Self { pool: Pool::demo().await?, _files: files, image, source })
    }

    fn request(&self, sr: &str) -> CacheRequest {
        let source: Arc<dyn ImageSource> = self.source.clone();
        let mut request = CacheRequest::new("6f70656e-0001", source);
        request.sr = SrChoice::Named(sr.into());
        request
    }

    fn reads(&self) -> usize {
        self.source.1.load(Ordering::Relaxed)
    }

    async fn cached(&self, driver: &Driver, request: CacheRequest) -> xenapi_driver::Result<CachedImage> {
        driver.cache_image(request, Progress::none()).await
    }
}

#[tokio::test]
async fn one_fetch_for_all_who_want_it() -> Result<()> {
    let bench = Bench::new().await?;
    let others: Vec<_> =
        (0..2).map(|_| bench.pool.driver_with(Settings::default())).collect::<Result<_>>()?;
    let (first, second, third) = tokio::join!(
        bench.cached(&bench.pool.driver, bench.request(EXT)),
        bench.cached(&others[0], bench.request(EXT)),
        bench.cached(&others[1], bench.request(EXT)),
    );
    let image = first?;
    assert_eq!((&image, &image), (&second?, &third?));
    assert_eq!(bench.reads(), 1);
    assert!(image.physical_bytes > 9 << 20, "{image:?}");
    let client = bench.pool.client();
    let vdi = client.by_uuid::<Vdi>(&image.uuid).await?;
    let record = client.record(&vdi).await?;
    // As Nova would have it.
    assert_eq!((&*record.name_label, &*record.name_description), ("Glance Image 6f70656e-0001", "root"));
    assert_eq!(record.other_config["image-id"], "6f70656e-0001");
    assert!(record.other_config["cached-time"].parse::<u64>().is_ok() && record.other_config.len() == 3);
    let sr = client.by_name_label::<Sr>(EXT).await?;
    let keys = client.get_field(&sr, sr::field::OTHER_CONFIG).await?;
    assert!(!keys.keys().any(|key| key.contains("fetching")), "{keys:?}");

    // Somebody died during a fetch: after his time, the next one begins.
    bench
        .pool
        .driver
        .evict_images(Eviction { older_than: Some(Duration::ZERO), ..Eviction::default() }, Progress::none())
        .await?;
    client.add_to(&sr, sr::field::OTHER_CONFIG, "xenapi-rs:fetching:6f70656e-0001", "somebody 17").await?;
    bench.cached(&bench.pool.driver, bench.request(EXT)).await?;
    assert_eq!(bench.reads(), 2);

    // Another digest is another image, and one that is wrong is none.
    let wrong = Digest::of(Algorithm::Sha256, b"another");
    let source: Arc<dyn ImageSource> = Arc::new(FileSource::new(&bench.image).digest(wrong.clone()));
    let mut request =
        CacheRequest { image: source.into(), digest: Some(wrong.to_string()), ..bench.request(EXT) };
    let before = bench.pool.census().await?;
    let error = bench.cached(&bench.pool.driver, request.clone()).await.expect_err("a wrong digest");
    assert!(
        error.to_string().contains("damaged or not the image") && error.leftovers().is_empty(),
        "{error}"
    );
    bench.pool.census().await?.assert_as(&before, "after a wrong digest");
    let keys = client.get_field(&sr, sr::field::OTHER_CONFIG).await?;
    assert!(!keys.keys().any(|key| key.contains("fetching")), "{keys:?}");
    request.image = RootImage::from(&bench.image);
    assert_ne!(bench.cached(&bench.pool.driver, request).await?.digest, None);
    Ok(())
}

#[tokio::test]
async fn instances_are_cloned_or_copied() -> Result<()> {
    let bench = Bench::new().await?;
    let driver = &bench.pool.driver;
    let image = bench.cached(driver, bench.request(EXT)).await?;
    let disk = fs::read(&bench.image)?;
    let mut instances = Vec::new();
    for (name, sr, copying, gib) in
        [("a", EXT, Copying::Clone, 0), ("b", EXT, Copying::Full, 0), ("c", LVM, Copying::Clone, 1)]
    {
        let root = RootImage::Cached(image.clone(), copying);
        let mut spec = InstanceSpec::new(name, Flavor::new(1, 128, gib), root);
        spec.sr = SrChoice::Named(sr.into());
        let instance = driver.spawn(spec, SpawnOptions::default()).await?;
        let root = bench.pool.content(&instance.root_uuid).await?;
        assert_eq!(root.len() as u64, if gib == 0 { 64 << 20 } else { gib << 30 });
        assert!(root.starts_with(&disk) && root[disk.len()..].iter().all(|byte| *byte == 0), "{name}");
        let vdi = bench.pool.client().by_uuid::<Vdi>(&instance.root_uuid).await?;
        let record = bench.pool.client().record(&vdi).await?;
        assert_eq!(record.name_label, name);
        assert!(!record.other_config.contains_key("image-id"), "{record:?}");
        let keys = ["nova_instance_uuid", "xenapi-rs:self"].map(|key| record.other_config[key].clone());
        assert_eq!(keys, [instance.uuid.to_string(), record.uuid], "its own, and not those of the first");
        instances.push(instance);
    }
    assert_eq!(bench.reads(), 1);

    // What is shared stays; what is not goes, and the instances do not mind.
    let all = Eviction { keep_bytes: Some(0), ..Eviction::default() };
    assert!(driver.cached_images().await?[0].in_use);
    assert_eq!(driver.evict_images(all.clone(), Progress::none()).await?, []);
    driver.destroy(Which::Instance(instances[0].uuid), Progress::none()).await?;
    let sr = bench.pool.client().by_name_label::<Sr>(EXT).await?;
    bench.pool.client().call(sr::Scan { sr }).await?;
    let dry = Eviction { dry_run: true, ..all.clone() };
    assert_eq!(driver.evict_images(dry, Progress::none()).await?.len(), 1);
    assert_eq!(driver.evict_images(all.clone(), Progress::none()).await?.len(), 1);
    assert_eq!(driver.cached_images().await?, []);
    for instance in &instances[1..] {
        assert!(bench.pool.content(&instance.root_uuid).await?.starts_with(&disk));
    }
    Ok(())
}

/// What somebody takes while the first is being removed stays, and what somebody else removes is no reason to stop.
#[tokio::test]
async fn an_image_that_is_taken_meanwhile_stays() -> Result<()> {
    let bench = Bench::new().await?;
    let (driver, client) = (&bench.pool.driver, bench.pool.client());
    let mut disks = Vec::new();
    for (id, minutes) in [("a", 40), ("b", 30), ("c", 20), ("d", 10)] {
        let image =
            bench.cached(driver, CacheRequest { image_id: id.to_owned(), ..bench.request(EXT) }).await?;
        age(&bench, &image, minutes).await?;
        disks.push(client.by_uuid::<Vdi>(&image.uuid).await?);
    }
    bench.pool.simulator.faults().on("VDI.destroy", Fault::Slow(Duration::from_secs(1)));
    let all = Eviction { keep_bytes: Some(0), ..Eviction::default() };
    let evicted = driver.evict_images(all, Progress::none());
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let vm = client.call(foreign("reader")).await?;
        client.call(vbd::Create { mode: VbdMode::Ro, ..foreign_drive(&vm, &disks[1], 0) }).await?;
        client.destroy(&disks[2]).await?;
        anyhow::Ok(())
    };
    let (evicted, meanwhile) = tokio::join!(evicted, meanwhile);
    meanwhile?;
    let evicted: Vec<_> = evicted?.into_iter().map(|image| image.image_id).collect();
    assert_eq!(evicted, ["a", "d"]);
    let left: Vec<_> = driver.cached_images().await?.into_iter().map(|image| image.image_id).collect();
    assert_eq!(left, ["b"]);
    Ok(())
}

/// Has an image be fetched so many minutes ago.
async fn age(bench: &Bench, image: &CachedImage, minutes: u64) -> Result<()> {
    let (client, field) = (bench.pool.client(), vdi::field::OTHER_CONFIG);
    let vdi = client.by_uuid::<Vdi>(&image.uuid).await?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    client.remove_from(&vdi, field, "cached-time").await?;
    Ok(client.add_to(&vdi, field, "cached-time", (now - minutes * 60).to_string()).await?)
}

/// By their age and by what all take, the oldest first; what an instance shares never.
#[tokio::test]
async fn the_old_and_the_too_many_leave() -> Result<()> {
    let bench = Bench::new().await?;
    let driver = &bench.pool.driver;
    let cached = async |id: &str| {
        bench.cached(driver, CacheRequest { image_id: id.to_owned(), ..bench.request(EXT) }).await
    };
    let evicted = async |eviction: Eviction| -> Result<Vec<String>> {
        let gone = driver.evict_images(eviction, Progress::none()).await?;
        Ok(gone.into_iter().map(|image| image.image_id).collect())
    };
    let left = async || -> Result<Vec<String>> {
        Ok(driver.cached_images().await?.into_iter().map(|image| image.image_id).collect())
    };
    let (a, b, c) = (cached("a").await?, cached("b").await?, cached("c").await?);
    let root = RootImage::Cached(a.clone(), Copying::Clone);
    let mut spec = InstanceSpec::new("web1", Flavor::new(1, 128, 0), root);
    spec.sr = SrChoice::Named(EXT.into());
    let instance = driver.spawn(spec, SpawnOptions::default()).await?;
    age(&bench, &a, 120).await?;
    age(&bench, &b, 60).await?;
    assert_eq!(left().await?, ["a", "b", "c"], "the oldest first");

    let half_an_hour = Duration::from_secs(30 * 60);
    let old = || Eviction { older_than: Some(half_an_hour), ..Eviction::default() };
    assert_eq!(evicted(Eviction { dry_run: true, ..old() }).await?, ["b"]);
    assert_eq!(evicted(old()).await?, ["b"], "the older one is in use, the other one is not old");
    assert_eq!(evicted(old()).await?, [""; 0]);
    assert_eq!(left().await?, ["a", "c"]);

    age(&bench, &c, 10).await?;
    cached("d").await?;
    let all = driver.cached_images().await?;
    assert!(all[0].image_id == "a" && all[0].in_use, "{all:?}");
    let bytes: u64 = all.iter().map(|image| image.physical_bytes).sum();
    let at_most = |keep_bytes| Eviction { keep_bytes: Some(keep_bytes), ..Eviction::default() };
    assert_eq!(evicted(at_most(bytes)).await?, [""; 0], "there is room for all of them");
    assert_eq!(evicted(at_most(bytes - 1)).await?, ["c"]);
    assert_eq!(evicted(at_most(0)).await?, ["d"]);
    assert_eq!(left().await?, ["a"]);
    assert!(bench.pool.content(&instance.root_uuid).await? == fs::read(&bench.image)?);

    driver.destroy(Which::Instance(instance.uuid), Progress::none()).await?;
    let sr = bench.pool.client().by_name_label::<Sr>(EXT).await?;
    bench.pool.client().call(sr::Scan { sr }).await?;
    assert_eq!(evicted(old()).await?, ["a"], "nobody uses it any more");
    assert_eq!(left().await?, [""; 0]);
    Ok(())
}

/// XAPI copies an image's keys into what somebody makes of it: that is theirs, whoever cached the image.
#[tokio::test]
async fn what_somebody_made_of_an_image_is_none() -> Result<()> {
    let bench = Bench::new().await?;
    let (driver, client) = (&bench.pool.driver, bench.pool.client());
    let image = bench.cached(driver, bench.request(EXT)).await?;
    let cached = client.by_uuid::<Vdi>(&image.uuid).await?;
    // As Nova caches it, without our own key.
    let keys = client.get_field(&cached, vdi::field::OTHER_CONFIG).await?;
    let novas = keys.iter().filter(|(key, _)| !key.starts_with("xenapi-rs:"));
    let novas: BTreeMap<_, _> = novas.map(|(key, value)| (key.clone(), value.clone())).collect();
    for (name, keys) in [("ours", keys.clone()), ("Nova's", novas)] {
        client.set_field(&cached, vdi::field::OTHER_CONFIG, keys).await?;
        let vm = client.call(foreign(name)).await?;
        let sr = client.get_field(&cached, vdi::field::SR).await?;
        let copy = vdi::Copy { vdi: cached.clone(), sr: Some(sr), base_vdi: None, into_vdi: None };
        let copy = client.call(copy).await?;
        client.call(foreign_drive(&vm, &copy, 0)).await?;
        let listed: Vec<_> = driver.cached_images().await?.into_iter().map(|image| image.uuid).collect();
        assert_eq!(listed, std::slice::from_ref(&image.uuid), "{name}");
    }
    client.set_field(&cached, vdi::field::OTHER_CONFIG, keys).await?;
    let all = Eviction { keep_bytes: Some(0), ..Eviction::default() };
    let gone = driver.evict_images(all, Progress::none()).await?;
    assert_eq!(gone.iter().map(|image| &image.uuid).collect::<Vec<_>>(), [&image.uuid]);
    let left = client.all_records::<Vdi>().await?;
    let theirs = left.values().filter(|disk| disk.other_config.contains_key("image-id"));
    assert_eq!(
        theirs.filter(|disk| disk.vbds.len() == 1).count(),
        2,
        "both copies are still in their drives"
    );
    Ok(())
}

#[tokio::test]
async fn a_fetch_that_fails_leaves_neither_disk_nor_lock() -> Result<()> {
    let bench = Bench::new().await?;
    let client = bench.pool.client();
    let sr = client.by_name_label::<Sr>(EXT).await?;
    let (before, keys) = (bench.pool.census().await?, client.get_field(&sr, sr::field::OTHER_CONFIG).await?);
    let faults = bench.pool.simulator.faults();
    for method in
        ["VDI.create", "VDI.add_to_other_config", "VDI.set_name_description", "VDI.set_other_config"]
    {
        faults.on_nth(method, 1, Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"])));
        let error = bench.cached(&bench.pool.driver, bench.request(EXT)).await.expect_err(method);
        assert!(error.leftovers().is_empty(), "{method}: {error}");
        bench.pool.census().await?.assert_as(&before, method);
        assert_eq!(client.get_field(&sr, sr::field::OTHER_CONFIG).await?, keys, "{method}");
    }
    bench.cached(&bench.pool.driver, bench.request(EXT)).await?;
    Ok(())
}

/// A file that takes its time to be opened.
#[derive(Debug)]
struct Slow(Arc<Counted>, Duration);

impl ImageSource for Slow {
    fn open(&self) -> Pending<'_, image_store::Result<image_store::Image>> {
        Box::pin(async {
            tokio::time::sleep(self.1).await;
            self.0.open().await
        })
    }
}

#[tokio::test]
async fn a_long_fetch_is_not_taken_for_a_dead_one() -> Result<()> {
    let bench = Bench::new().await?;
    let request = || {
        let source: Arc<dyn ImageSource> = Arc::new(Slow(bench.source.clone(), Duration::from_secs(11)));
        CacheRequest { image: source.into(), patience: Duration::from_secs(5), ..bench.request(EXT) }
    };
    let other = bench.pool.driver_with(Settings::default())?;
    let (first, second) =
        tokio::join!(bench.cached(&bench.pool.driver, request()), bench.cached(&other, request()));
    assert_eq!(first?, second?);
    assert_eq!(bench.reads(), 1);
    let sr = bench.pool.client().by_name_label::<Sr>(EXT).await?;
    let keys = bench.pool.client().get_field(&sr, sr::field::OTHER_CONFIG).await?;
    assert!(!keys.keys().any(|key| key.contains("fetching")), "{keys:?}");
    Ok(())
}

#[tokio::test]
async fn a_clone_whose_answer_is_lost_is_no_cached_image() -> Result<()> {
    let bench = Bench::new().await?;
    let (driver, client) = (&bench.pool.driver, bench.pool.client());
    let image = bench.cached(driver, bench.request(EXT)).await?;
    let spawn = |name: &str, copying: Copying| {
        let root = RootImage::Cached(image.clone(), copying);
        let mut spec = InstanceSpec::new(name, Flavor::new(1, 128, 0), root);
        spec.sr = SrChoice::Named(EXT.into());
        driver.spawn(spec, SpawnOptions::default())
    };
    // What a clone splits stays split until the SR joins it: compared is what is there after the first one.
    let first = spawn("first", Copying::Clone).await?;
    let before = bench.pool.census().await?;
    let faults = bench.pool.simulator.faults();
    for (copying, method) in [
        (Copying::Clone, "VDI.clone"),
        (Copying::Clone, "VDI.set_other_config"),
        (Copying::Clone, "VDI.add_to_other_config"),
        (Copying::Full, "VDI.clone"),
        (Copying::Full, "Async.VDI.copy"),
        (Copying::Full, "VDI.set_other_config"),
    ] {
        for fault in [
            Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"])),
            Fault::DropAfterExecution,
        ] {
            faults.on_nth(method, 1, fault.clone());
            let result = spawn("web1", copying).await;
            faults.clear();
            match result {
                Ok(instance) => {
                    driver.destroy(Which::Instance(instance.uuid), Progress::none()).await?;
                }
                Err(error) => assert!(error.leftovers().is_empty(), "{method}, {fault:?}: {error}"),
            }
            // A task whose name got lost with the answer ends by itself, and its record stays a while.
            for (task, record) in client.all_records::<xenapi_types::Task>().await? {
                if record.name_label.starts_with("Async.") {
                    client.destroy(&task).await?;
                }
            }
            assert_eq!(driver.cached_images().await?.len(), 1, "{method}, {fault:?}");
            bench.pool.census().await?.assert_as(&before, &format!("{copying:?}, {method}, {fault:?}"));
            let vdi = client.by_uuid::<Vdi>(&image.uuid).await?;
            let keys = client.get_field(&vdi, vdi::field::OTHER_CONFIG).await?;
            assert!(!keys.keys().any(|key| key.contains("cloning")), "{method}, {fault:?}: {keys:?}");
        }
    }

    // As many as like at the same time.
    let (a, b, c) =
        tokio::join!(spawn("a", Copying::Clone), spawn("b", Copying::Full), spawn("c", Copying::Clone),);
    for instance in [&a?, &b?, &c?, &first] {
        assert!(
            bench.pool.content(&instance.root_uuid).await? == fs::read(&bench.image)?,
            "{}",
            instance.name
        );
        driver.destroy(Which::Instance(instance.uuid), Progress::none()).await?;
    }

    // One that was killed between the clone and its keys: nobody lists what it left, and who clones next removes it.
    let vdi = client.by_uuid::<Vdi>(&image.uuid).await?;
    let value = format!("{} {} 1", uuid::Uuid::now_v7(), image.uuid);
    client.add_to(&vdi, vdi::field::OTHER_CONFIG, "xenapi-rs:cloning", value).await?;
    let lost = client.call(vdi::Clone { vdi, driver_params: None }).await?;
    assert_eq!(
        driver.cached_images().await?.iter().map(|image| &image.uuid).collect::<Vec<_>>(),
        [&image.uuid]
    );
    // Its time is over: nobody waits for it.
    let next = spawn("next", Copying::Clone).await?;
    driver.destroy(Which::Instance(next.uuid), Progress::none()).await?;
    let now = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
    assert!(client.record_opt(&lost).await?.is_none());
    assert_eq!(driver.reconcile(now).await?.done, []);
    assert_eq!(driver.cached_images().await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn what_is_cached_is_the_operators_choice() -> Result<()> {
    let bench = Bench::new().await?;
    let driver = &bench.pool.driver;
    for (images, marked, cached) in [
        (CacheImages::None, true, 0),
        (CacheImages::Some, false, 0),
        (CacheImages::Some, true, 1),
        (CacheImages::All, false, 1),
    ] {
        let policy = CachePolicy { images, copying: Copying::Full };
        let root = driver.root_image(bench.request(EXT), policy, marked, Progress::none()).await?;
        assert_eq!(matches!(root, RootImage::Cached(_, Copying::Full)), cached == 1, "{images:?}: {root:?}");
        assert_eq!((driver.cached_images().await?.len(), bench.reads()), (cached, cached), "{images:?}");
    }
    Ok(())
}
