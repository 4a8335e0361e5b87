//! Data that go onto disks by way of the control domain, written by the real plugin, while the host's handlers work for
//! nobody: the same bytes, always detached, and nothing left.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use disk_stream::{Declared, Existing, Image, Upload};
use e2e::pool::{Census, EXT, LVM, Pool};
use e2e::tools;
use image_store::{Algorithm, Digest, FileSink, FileSource, ImageSource};
use tempfile::TempDir;
use xapi_simulator::fault::Fault;
use xenapi_driver::image_cache::{CacheRequest, Copying};
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Power, RootImage, SrChoice};
use xenapi_driver::upload::{UploadFormat, UploadOptions};
use xenapi_driver::{
    Cause, Checks, Driver, Event, ImportVia, Progress, Settings, SpawnOptions, Stage, Transfer, Which,
};
use xenapi_types::{Failure, Vbd};

const MIB: usize = 1 << 20;

/// A pool whose hosts have the plugins, images of one disk, and what was there before.
struct World {
    pool: Pool,
    plugins: TempDir,
    files: TempDir,
    disk: Vec<u8>,
    before: Census,
}

impl World {
    async fn new() -> Result<Self> {
        let plugins = tempfile::tempdir()?;
        for name in ["dom0_protocol.py", "dom0_plugin_version.py"] {
            symlink(env!("CARGO_BIN_EXE_dom0-plugins"), plugins.path().join(name))?;
        }
        let pool = Pool::with_plugins(plugins.path()).await?;
        let files = tempfile::tempdir()?;
        let mut disk = vec![0; 5 * MIB];
        for (at, byte) in disk.iter_mut().enumerate().filter(|(at, _)| at % MIB < 200_000) {
            *byte = (at % 251) as u8;
        }
        let raw = files.path().join("disk.raw");
        fs::write(&raw, &disk)?;
        let image = Image::open_blocking(&raw, Declared::Raw)?;
        image.save_vhd(&files.path().join("disk.vhd"), Existing::Refuse, &Upload::default())?;
        image.save_qcow2(&files.path().join("disk.qcow2"), Existing::Refuse, &Upload::default())?;
        tools::run("gzip", ["-k".as_ref(), raw.as_os_str()])?;
        let before = pool.census().await?;
        Ok(Self { pool, plugins, files, disk, before })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// The images that come as streams.
    fn source(&self, name: &str) -> RootImage {
        let source: Arc<dyn ImageSource> = Arc::new(FileSource::new(self.at(name)));
        source.into()
    }

    /// A driver that does not use the handlers.
    fn driver(&self) -> Driver {
        let settings = self.pool.driver.settings().clone();
        Driver::over(self.pool.driver.client().clone(), Settings { import_via: ImportVia::Dom0, ..settings })
    }

    fn spec(image: impl Into<RootImage>, sr: &str) -> InstanceSpec {
        let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), image);
        (spec.sr, spec.power) = (SrChoice::Named(sr.into()), Power::Off);
        spec
    }

    async fn nothing_is_attached(&self, when: &str) -> Result<()> {
        let vbds = self.pool.client().all_records::<Vbd>().await?;
        assert!(vbds.values().all(|vbd| !vbd.currently_attached), "{when}: something is still attached");
        Ok(())
    }

    async fn is_as_before(&self, when: &str) -> Result<()> {
        self.nothing_is_attached(when).await?;
        self.pool.census().await?.assert_as(&self.before, when);
        Ok(())
    }

    /// Puts a script before the plugin.
    fn intercept(&self, body: &str) -> Result<()> {
        let plugin = self.plugins.path().join("dom0_protocol.py");
        fs::remove_file(&plugin)?;
        let real = env!("CARGO_BIN_EXE_dom0-plugins");
        script(&plugin, &format!("{body}\nexec -a dom0_protocol.py '{real}' \"$1\""))
    }
}

fn all_disks() -> SpawnOptions {
    SpawnOptions { checks: Checks::AllDisks, ..SpawnOptions::default() }
}

fn script(path: &Path, body: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/bash\n{body}\n"))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// Files, streams and packed ones, onto thin and thick storage, into disks that are larger; with a config drive.
#[tokio::test]
async fn the_bytes_are_those_of_the_handlers() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::new().await?;
    let faults = world.pool.simulator.faults();
    for (number, (image, sr, root_gib)) in [
        (RootImage::from(world.at("disk.raw")), EXT, 0),
        (world.at("disk.vhd").into(), LVM, 0),
        (world.at("disk.qcow2").into(), EXT, 1),
        (world.source("disk.vhd"), LVM, 1),
        (world.source("disk.qcow2"), EXT, 0),
        (world.source("disk.raw.gz"), LVM, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let mut spec = World::spec(image, sr);
        spec.flavor.root_gib = root_gib;
        spec.config_drive = Some(ConfigDrive::default());
        let plain = world.pool.spawn(spec.clone()).await?;
        let wanted = world.pool.content(&plain.root_uuid).await?;
        world.pool.destroy(&plain).await?;
        assert!(wanted.starts_with(&world.disk));

        let broken = Fault::Failure(Failure::new("INTERNAL_ERROR", ["the handler does not work"]));
        faults.on_every("/import_raw_vdi", broken.clone());
        faults.on_every("/export_raw_vdi", broken);
        let driver = world.driver();
        spec.uuid = uuid::Uuid::new_v4();
        let instance = driver.spawn(spec, all_disks()).await?;
        assert_eq!(faults.clear(), 2, "a handler was used");
        world.nothing_is_attached("after the spawn").await?;
        assert!(instance.root_checked);
        assert!(world.pool.content(&instance.root_uuid).await? == wanted, "image {number} on {sr}");
        // By the handler of exports, and the digest of what was to be written.
        let which = || Which::Instance(instance.uuid);
        world.pool.driver.check_config_drive(which(), Progress::none()).await?;
        driver.destroy(which(), Progress::none()).await?;
        world.is_as_before("after the instance is destroyed").await?;
    }
    Ok(())
}

#[tokio::test]
async fn it_tells_how_far_it_is_and_fills_the_cache() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::new().await?;
    let (sender, events) = std::sync::mpsc::channel();
    let progress = Progress::to(move |event| drop(sender.send(event)));
    let driver = world.driver();
    let mut request = CacheRequest::new("image-1", world.source("disk.vhd"));
    request.sr = SrChoice::Named(EXT.into());
    let image = driver.cache_image(request, progress).await?;
    let bytes: Vec<u64> = events
        .try_iter()
        .filter_map(|event| match event {
            Event::Bytes(Stage::RootDisk, Transfer { wire_bytes, .. }) => Some(wire_bytes),
            _ => None,
        })
        .collect();
    assert!(bytes.len() > 4 && bytes.is_sorted() && bytes[0] == 0, "{bytes:?}");
    assert!(world.pool.content(&image.uuid).await?.starts_with(&world.disk));

    // What the host copies needs no way for data, and cannot be compared without one.
    let instance = driver
        .spawn(World::spec(RootImage::Cached(image, Copying::Clone), EXT), SpawnOptions::default())
        .await?;
    assert!(!instance.root_checked);
    // Data go out as always.
    let place = world.at("out.qcow2");
    let options = UploadOptions { format: UploadFormat::Qcow2, ..UploadOptions::default() };
    driver.upload(Which::Instance(instance.uuid), Arc::new(FileSink::new(&place)), options).await?;
    assert!(fs::metadata(place)?.len() > 0);
    world.nothing_is_attached("in the end").await
}

/// A plugin that fails, a connection that is cut before or after the work, a host that does not let go at once: at every
/// call of the VBD, and at some of the plugin's.
#[tokio::test]
async fn whatever_fails_in_the_middle_it_is_detached_and_nothing_is_left() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::new().await?;
    let faults = world.pool.simulator.faults();
    let spec = || World::spec(world.at("disk.raw"), EXT);
    faults.record();
    let instance = world.driver().spawn(spec(), SpawnOptions::default()).await?;
    let recorded = faults.recorded();
    world.driver().destroy(Which::Instance(instance.uuid), Progress::none()).await?;
    let times = |call: &str| recorded.iter().filter(|seen| *seen == call).count();
    assert!(times("host.call_plugin") > 8, "{recorded:?}");

    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    let plugin = Failure::new("XENAPI_PLUGIN_FAILURE", ["write_disk", "OSError", "No space left on device"]);
    let kinds = [refusal, Fault::Failure(plugin), Fault::DropBefore, Fault::DropAfterExecution];
    for call in ["host.call_plugin", "VBD.create", "VBD.plug", "VBD.unplug", "VBD.destroy"] {
        for k in (1..=times(call)).step_by(times(call).div_ceil(6)) {
            for fault in &kinds {
                let when = format!("{fault:?} at call {k} of {call}");
                faults.on_nth(call, k, fault.clone());
                let spawned = world.driver().spawn(spec(), SpawnOptions::default()).await;
                faults.clear();
                match spawned {
                    Ok(instance) => {
                        let content = world.pool.content(&instance.root_uuid).await?;
                        assert!(content.starts_with(&world.disk), "{when}");
                        world.driver().destroy(Which::Instance(instance.uuid), Progress::none()).await?;
                    }
                    Err(error) => assert!(error.leftovers().is_empty(), "{when}: {error}"),
                }
                if matches!(fault, Fault::DropAfterExecution) {
                    world.pool.remove_forgotten_tasks().await?;
                }
                world.is_as_before(&when).await?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_fails_or_dies_half_way_is_told_of() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::new().await?;
    let count_file = world.at("count");
    // The third piece of a disk ends otherwise.
    let third = |what: &str| {
        let count = count_file.display();
        let asked = "[[ \"$1\" == *'>write_disk<'* ]]";
        let _ = fs::remove_file(&count_file);
        world.intercept(&format!(
            "if {asked}; then\necho >> '{count}'\n[ $(wc -l < '{count}') = 3 ] && {{ {what}; }}\nfi"
        ))
    };
    let refusal = dom0_protocol::Failure::new(dom0_protocol::FailureKind::File, "/dev/xvdb: it is on fire");
    let answer = dom0_protocol::Reply::<u64>::Failed(refusal).encode();
    let answer_file = world.at("answer");
    fs::write(&answer_file, xenapi_wire::plugin::encode_response(Ok(&answer))?)?;
    for (what, words) in [
        (format!("exec cat '{}'", answer_file.display()), "it is on fire"),
        ("exit 3".to_owned(), "write_disk"),
        ("kill -9 $$".to_owned(), "write_disk"),
    ] {
        third(&what)?;
        let spec = World::spec(world.source("disk.vhd"), EXT);
        let error = world.driver().spawn(spec, SpawnOptions::default()).await.expect_err(&what);
        assert!(error.to_string().contains(words) && error.leftovers().is_empty(), "{error}");
        assert_eq!(fs::read_to_string(&count_file)?.lines().count(), 3, "it goes on after: {error}");
        world.is_as_before(&what).await?;
    }
    Ok(())
}

#[tokio::test]
async fn cancelled_or_dropped_between_two_pieces() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::new().await?;
    for drops in [false, true] {
        let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
        let progress = Progress::to(move |event| drop(sender.send(event)));
        let options = SpawnOptions { progress, ..SpawnOptions::default() };
        let driver = world.driver();
        let spawning = driver.spawn(World::spec(world.source("disk.vhd"), EXT), options);
        while let Some(event) = events.recv().await {
            if matches!(event, Event::Bytes(Stage::RootDisk, moved) if moved.wire_bytes > 0) {
                break;
            }
        }
        if drops {
            drop(spawning);
            driver.close().await?;
        } else {
            spawning.cancel();
            let error = spawning.await.expect_err("cancelled");
            assert!(matches!(error.cause(), Cause::Cancelled) && error.leftovers().is_empty(), "{error}");
        }
        world.is_as_before(if drops { "dropped" } else { "cancelled" }).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_leaves_nothing_and_a_missing_plugin_is_found_first() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::new().await?;
    let other = Digest::of(Algorithm::Sha256, b"another");
    let wrong: Arc<dyn ImageSource> = Arc::new(FileSource::new(world.at("disk.vhd")).digest(other));
    let error =
        world.driver().spawn(World::spec(wrong, EXT), SpawnOptions::default()).await.expect_err("a digest");
    assert!(error.to_string().contains("damaged or not the image"), "{error}");
    assert!(error.leftovers().is_empty(), "{error}");
    world.is_as_before("after the wrong digest").await?;

    // Nothing is asked of the host that changes anything.
    fs::remove_file(world.plugins.path().join("dom0_plugin_version.py"))?;
    let faults = world.pool.simulator.faults();
    faults.record();
    let spec = World::spec(world.at("disk.vhd"), EXT);
    let error = world.driver().spawn(spec, SpawnOptions::default()).await.expect_err("no plugin").to_string();
    assert!(error.contains("its plugins lack write_disk; install the plugins there"), "{error}");
    assert!(!faults.recorded().iter().any(|call| call == "VDI.create"));
    world.is_as_before("after the refusal").await
}
