//! Snapshots that grow out of each other: as one image of several layers, as a file and what has changed since, of all
//! disks at once.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use disk_stream::{Image, Opening, Parents};
use e2e::bench::Bench;
use e2e::pool::{EXT, LVM, Pool};
use e2e::tools;
use examples::demo_image::DemoImage;
use image_store::{FileSink, FileSource, ImageSink, ImageSource};
use xapi_simulator::fault::Fault;
use xenapi_driver::backup::BackupOptions;
use xenapi_driver::image_cache::{CacheRequest, Copying};
use xenapi_driver::reconcile::{Kind, ReconcileOptions};
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Power, RootImage, SrChoice};
use xenapi_driver::upload::{UploadFormat, UploadOptions};
use xenapi_driver::{Cause, Existing, Instance, Progress, Which};
use xenapi_types::{Failure, Vdi, Vm, vdi, vm};

const DISK_BYTES: u64 = 64 << 20;

async fn bench() -> Result<Bench> {
    let image = DemoImage { virtual_bytes: DISK_BYTES, payload_bytes: 4 << 20 };
    Bench::with(Pool::demo().await?, image).await
}

/// An instance that is off, so that its disk can be written to.
async fn spawn(bench: &Bench, name: &str, image: impl Into<RootImage>, sr: &str) -> Result<Instance> {
    let mut spec = InstanceSpec::new(name, Flavor::new(1, 128, 0), image);
    (spec.sr, spec.power) = (SrChoice::Named(sr.into()), Power::Off);
    spec.config_drive = Some(ConfigDrive::default());
    Ok(bench.pool.spawn(spec).await?)
}

async fn snapshots(bench: &Bench) -> Result<Vec<String>> {
    let all = bench.client().all_records::<Vdi>().await?;
    Ok(all.into_values().filter(|vdi| vdi.is_a_snapshot).map(|vdi| vdi.uuid).collect())
}

fn file(path: &PathBuf) -> Arc<dyn ImageSink> {
    Arc::new(FileSink::new(path))
}

#[tokio::test]
async fn an_image_has_a_layer_for_each_earlier_time() -> Result<()> {
    let bench = bench().await?;
    let driver = &bench.pool.driver;
    for sr in [EXT, LVM] {
        let source: Arc<dyn ImageSource> = Arc::new(FileSource::new(&bench.image));
        let mut request = CacheRequest::new(format!("image-{}", sr.len()), source);
        request.sr = SrChoice::Named(sr.into());
        let cached = driver.cache_image(request, Progress::none()).await?;
        let before = bench.visible().await?;
        let instance = spawn(&bench, "web1", RootImage::Cached(cached, Copying::Clone), sr).await?;
        let root = bench.client().by_uuid::<Vdi>(&instance.root_uuid).await?;
        let mut kept = Vec::new();
        for round in 1..=2_u8 {
            bench
                .pool
                .write(&instance.root_uuid, u64::from(round) * (9 << 20) + 512, &[round; 69_632])
                .await?;
            if round == 1 {
                // Somebody's own.
                let call = vdi::Snapshot { vdi: root.clone(), driver_params: None };
                kept.push(bench.client().call(call).await?);
            }
        }
        let disk = bench.pool.content(&instance.root_uuid).await?;
        let visible = bench.visible().await?;
        for (number, level) in [None, Some(9)].into_iter().enumerate() {
            let path = bench.at(&format!("{sr}-{number}.tar.gz"));
            let options = UploadOptions {
                format: UploadFormat::VhdChain,
                compression_level: level,
                coalesce_patience: Some(Duration::from_secs(60)),
                ..UploadOptions::default()
            };
            let uploaded = driver.upload(Which::Instance(instance.uuid), file(&path), options).await?;
            assert!(uploaded.leftovers.is_empty(), "{uploaded:?}");
            bench.visible().await?.assert_as(&visible, "after an upload");
        }
        // What changed since the snapshot, what changed until then, and the image.
        let path = bench.at(&format!("{sr}-0.tar.gz"));
        let listed = tools::run("tar", ["-tzf".as_ref(), path.as_os_str()])?;
        assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), ["0.vhd", "1.vhd", "2.vhd"]);
        let chain = bench.at(&format!("{sr}.chain"));
        fs::create_dir(&chain)?;
        tools::run("tar", ["-xzf".as_ref(), path.as_os_str(), "-C".as_ref(), chain.as_os_str()])?;
        let lengths: Vec<u64> = (0..3)
            .map(|layer| Ok(fs::metadata(chain.join(format!("{layer}.vhd")))?.len()))
            .collect::<Result<_>>()?;
        // One block of 2 MiB, or two where the write crosses a border.
        assert!(lengths[0] < 5 << 20 && lengths[1] < 5 << 20 && lengths[2] > 4 << 20, "{lengths:?}");
        let opening = Opening { parents: Parents::Within(chain.clone()), ..Opening::default() };
        let image = Image::open_with(&chain.join("0.vhd"), &opening)?;
        assert_eq!(image.layers().len(), 3);
        image.save_raw(&chain.join("raw"), Existing::Refuse, &disk_stream::Upload::default())?;
        assert!(fs::read(chain.join("raw"))? == disk);

        for snapshot in kept {
            bench.client().destroy(&snapshot).await?;
        }
        bench.destroy(&instance).await?;
        bench.visible().await?.assert_as(&before, "after the instance is destroyed");
        let again = spawn(&bench, "web2", &path, if sr == EXT { LVM } else { EXT }).await?;
        assert!(bench.pool.content(&again.root_uuid).await? == disk, "from {}", path.display());
        bench.destroy(&again).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_disk_is_restored_from_a_full_file_and_what_changed_since() -> Result<()> {
    let bench = bench().await?;
    let driver = &bench.pool.driver;
    for sr in [EXT, LVM] {
        let (before, folder) = (bench.pool.census().await?, bench.at(sr));
        fs::create_dir(&folder)?;
        let instance = spawn(&bench, "web1", &bench.image, sr).await?;
        let which = || Which::Instance(instance.uuid);
        let (mut base, mut states, mut sizes) = (None, Vec::new(), Vec::new());
        for (round, name) in ["full.vhd", "monday.vhd", "tuesday.vhd"].into_iter().enumerate() {
            let path = folder.join(name);
            let options = BackupOptions { base: base.clone(), ..BackupOptions::default() };
            let backup = driver.backup(which(), &path, options).await?;
            assert!(backup.kept && backup.leftovers.is_empty(), "{backup:?}");
            // Only the last one takes space in the SR.
            assert_eq!(snapshots(&bench).await?, [backup.snapshot_uuid]);
            states.push(bench.pool.content(&instance.root_uuid).await?);
            sizes.push(backup.file_bytes);
            let now = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
            assert_eq!(driver.reconcile(now).await?.done, [], "it is no leftover");
            bench
                .pool
                .write(&instance.root_uuid, (round as u64 + 1) * (8 << 20), &[round as u8 + 1; 4096])
                .await?;
            base = Some(path);
        }
        assert!(sizes[1] < 3 << 20 && sizes[2] < 3 << 20 && sizes[0] > 4 << 20, "{sizes:?}");

        // What is in the way: nothing is made, and the base stays.
        let visible = bench.visible().await?;
        let foreign = spawn(&bench, "web2", &bench.image, sr).await?;
        let base_of =
            |name: &str| BackupOptions { base: Some(folder.join(name)), ..BackupOptions::default() };
        for (which, options, words) in [
            (which(), base_of("monday.vhd"), "is not in the pool any more; take a full copy"),
            (Which::Instance(foreign.uuid), base_of("tuesday.vhd"), "is not one of this disk"),
            (which(), base_of("missing.vhd"), "missing.vhd"),
        ] {
            let error = driver.backup(which, folder.join("new.vhd"), options).await.expect_err(words);
            assert!(error.to_string().contains(words) && error.leftovers().is_empty(), "{error}");
        }
        bench.destroy(&foreign).await?;
        let faults = bench.pool.simulator.faults();
        for (method, nth) in [("VDI.snapshot", 1), ("VDI.set_other_config", 1), ("VDI.set_other_config", 2)] {
            faults.on_nth(
                method,
                nth,
                Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"])),
            );
            let options = base_of("tuesday.vhd");
            let error = driver.backup(which(), folder.join("new.vhd"), options).await.expect_err(method);
            assert!(error.leftovers().is_empty() && !folder.join("new.vhd").exists(), "{method}: {error}");
            bench.visible().await?.assert_as(&visible, method);
        }

        // Where the new file has replaced one, it stays although its snapshot cannot be kept.
        let replaced = folder.join("replaced.vhd");
        fs::copy(folder.join("tuesday.vhd"), &replaced)?;
        let fault = Failure::new("INTERNAL_ERROR", ["a fault of the test"]);
        faults.on_nth("VDI.set_other_config", 2, Fault::Failure(fault));
        let options = BackupOptions { existing: Existing::Replace, ..base_of("tuesday.vhd") };
        let backup = driver.backup(which(), &replaced, options).await?;
        assert_eq!((faults.clear(), backup.kept, backup.leftovers.len()), (0, false, 1), "{backup:?}");
        let parents = Parents::Within(folder.to_owned());
        Image::open_with(&replaced, &Opening { parents, ..Opening::default() })?;
        bench
            .visible()
            .await?
            .assert_as(&visible, "the snapshot of the earlier backup stays, and no other one");

        // The snapshot that was kept ends with the instance.
        bench.destroy(&instance).await?;
        bench.pool.census().await?.assert_as(&before, "after the instance is destroyed");
        for (name, state) in ["full.vhd", "monday.vhd", "tuesday.vhd"].into_iter().zip(&states) {
            let image = RootImage::Chain(folder.join(name));
            let again = spawn(&bench, "web1", image, if sr == EXT { LVM } else { EXT }).await?;
            assert!(bench.pool.content(&again.root_uuid).await? == *state, "{name} of {sr}");
            bench.destroy(&again).await?;
        }
        bench.pool.census().await?.assert_as(&before, "in the end");
    }
    Ok(())
}

#[tokio::test]
async fn all_disks_are_of_one_moment() -> Result<()> {
    let bench = bench().await?;
    let driver = &bench.pool.driver;
    let instance = spawn(&bench, "web1", &bench.image, EXT).await?;
    let which = || Which::Instance(instance.uuid);
    let visible = bench.visible().await?;
    let folder = bench.files.path().to_owned();
    let options = || UploadOptions { format: UploadFormat::Vhd, ..UploadOptions::default() };
    let to = |name: &'static str, all: bool| {
        let folder = folder.clone();
        move |disk: &xenapi_driver::InstanceDisk| {
            let wanted = all || disk.userdevice == "0";
            wanted.then(|| file(&folder.join(format!("{name}-{}.vhd", disk.userdevice))))
        }
    };
    let images = driver.upload_disks(which(), to("all", true), options()).await?;
    assert_eq!(images.len(), 2);
    bench.visible().await?.assert_as(&visible, "after an upload of all disks");
    let vm = bench.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
    assert!(
        !bench
            .client()
            .get_field(&vm, vm::field::OTHER_CONFIG)
            .await?
            .keys()
            .any(|key| key.contains(":snapshot:"))
    );
    for image in &images {
        let path = PathBuf::from(&image.stored.place);
        let disk = Image::open_blocking(&path, disk_stream::Declared::Vhd)?;
        let raw = path.with_extension("raw");
        disk.save_raw(&raw, Existing::Refuse, &disk_stream::Upload::default())?;
        assert!(fs::read(&raw)? == bench.pool.content(&image.disk_uuid).await?, "{}", path.display());
    }
    let images = driver.upload_disks(which(), to("root", false), options()).await?;
    assert_eq!((images.len(), &images[0].disk_uuid), (1, &instance.root_uuid));
    bench.visible().await?.assert_as(&visible, "after an upload of one of them");
    // The first image is there already when the second one's place turns out to be taken.
    fs::rename(folder.join("all-0.vhd"), folder.join("kept"))?;
    let error = driver.upload_disks(which(), to("all", true), options()).await.expect_err("it exists");
    assert!(error.to_string().contains("exists already") && error.leftovers().is_empty(), "{error}");
    bench.visible().await?.assert_as(&visible, "after a place that is taken");
    let faults = bench.pool.simulator.faults();
    for method in ["VM.snapshot", "VM.set_other_config", "VDI.set_other_config", "VDI.add_to_other_config"] {
        for fault in [
            Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"])),
            Fault::DropAfterExecution,
        ] {
            faults.on_nth(method, 1, fault);
            let result = driver.upload_disks(which(), to(method, true), options()).await;
            faults.clear();
            if let Err(error) = &result {
                assert!(error.leftovers().is_empty(), "{method}: {error}");
            }
            for device in ["0", "4"] {
                let _of_a_success = fs::remove_file(folder.join(format!("{method}-{device}.vhd")));
            }
            bench.visible().await?.assert_as(&visible, method);
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_a_killed_snapshot_left_is_found() -> Result<()> {
    let bench = bench().await?;
    let instance = spawn(&bench, "web1", &bench.image, EXT).await?;
    let visible = bench.visible().await?;
    let client = bench.client();
    let vm = client.by_uuid::<Vm>(&instance.vm_uuid).await?;
    // As the driver does it, up to the moment at which it is killed.
    let operation = uuid::Uuid::now_v7();
    let key = format!("xenapi-rs:snapshot:{operation}");
    client.add_to(&vm, vm::field::OTHER_CONFIG, &*key, "true").await?;
    for disk in [&instance.root_uuid, instance.config_drive_uuid.as_ref().expect("it was asked for")] {
        let disk = client.by_uuid::<Vdi>(disk).await?;
        let uuid = client.get_field(&disk, vdi::field::UUID).await?;
        client.add_to(&disk, vdi::field::OTHER_CONFIG, &*key, uuid).await?;
    }
    let new_name = format!("web1 (snapshot of {operation})");
    client.call(vm::Snapshot { vm: vm.clone(), new_name, ignore_vdis: None }).await?;
    let now = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
    let found = bench.pool.driver.reconcile(now.clone()).await?;
    assert!(found.leftovers.is_empty(), "{found:?}");
    let count = |kind: Kind| found.done.iter().filter(|finding| finding.kind == kind).count();
    assert_eq!((count(Kind::PassingSnapshot), count(Kind::Mark)), (3, 3), "{found:?}");
    bench.visible().await?.assert_as(&visible, "after reconciling");
    assert_eq!(bench.pool.driver.reconcile(now).await?.done, []);
    Ok(())
}

#[tokio::test]
async fn a_snapshot_waits_for_the_chain() -> Result<()> {
    let bench = bench().await?;
    let driver = &bench.pool.driver;
    let instance = spawn(&bench, "web1", &bench.image, EXT).await?;
    let client = bench.client();
    let root = client.by_uuid::<Vdi>(&instance.root_uuid).await?;
    let upload = |name: &str, seconds: u64| {
        let coalesce_patience = Some(Duration::from_secs(seconds));
        let options = UploadOptions { coalesce_patience, ..UploadOptions::default() };
        driver.upload(Which::Instance(instance.uuid), file(&bench.at(name)), options)
    };
    // The first snapshot of a disk that was never cloned splits nothing that could be merged. XAPI knows of it: no
    // repository is scanned, and none in the place of the disk's.
    bench.pool.simulator.faults().record();
    upload("first", 3600).await?;
    let calls = bench.pool.simulator.faults().recorded();
    assert!(!calls.iter().any(|call| call.ends_with("SR.scan")), "{calls:?}");
    let parent = client.get_field(&root, vdi::field::SM_CONFIG).await?["vhd-parent"].clone();
    bench.pool.write(&instance.root_uuid, 1 << 20, &[1; 512]).await?;
    let visible = bench.visible().await?;
    let error = upload("second", 0).await.expect_err("nobody merges anything");
    assert!(matches!(error.cause(), Cause::NotCoalesced { .. }), "{error}");
    assert!(error.to_string().contains(EXT) && error.leftovers().is_empty(), "{error}");
    bench.visible().await?.assert_as(&visible, "after a chain that was not merged");
    bench.pool.write(&instance.root_uuid, 1 << 20, &[2; 512]).await?;
    // A garbage collector, as far as it shows: the disk is built on what was there before.
    let merged = async {
        let split = |disk: &xenapi_types::VdiRecord| disk.sm_config.get("vhd-parent") != Some(&parent);
        let before = client.get_field(&root, vdi::field::SM_CONFIG).await?;
        client
            .wait_until(&root, Duration::from_secs(60), |disk| disk.sm_config != before && split(disk))
            .await?;
        let keys = [("vhd-parent".to_owned(), parent.clone())];
        client.set_field(&root, vdi::field::SM_CONFIG, keys).await?;
        anyhow::Ok(())
    };
    let (merged, uploaded) = tokio::join!(merged, upload("third", 60));
    merged?;
    uploaded?;
    Ok(())
}
