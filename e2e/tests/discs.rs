//! Instances that install themselves: from a disc, onto a blank root disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use e2e::pool::{Census, EXT, LVM, Pool};
use image_store::{Declared, FileSource, Image, ImageSource, Pending};
use tempfile::TempDir;
use xapi_simulator::fault::Fault;
use xenapi_driver::image_cache::{CachePolicy, CacheRequest};
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::{
    ConfigDrive, DiskSetup, Flavor, Grow, ImageUse, InstanceSpec, Power, RootImage, SrChoice,
};
use xenapi_driver::{Checks, Instance, PowerChange, Progress, Shutdown, SpawnOptions, Which};
use xenapi_types::{VbdMode, VbdType, Vm, vbd};
use xenapi_wire::Failure;

struct Bench {
    pool: Pool,
    files: TempDir,
    disc: Vec<u8>,
    before: Census,
}

/// A file of which its place says that it is a disc, as Glance does.
#[derive(Debug)]
struct Iso(FileSource);

impl ImageSource for Iso {
    fn open(&self) -> Pending<'_, image_store::Result<Image>> {
        Box::pin(async {
            let declared =
                Declared { container: Some("bare".into()), disk: Some("iso".into()), ..Declared::default() };
            Ok(Image { declared, ..self.0.open().await? })
        })
    }
}

impl Bench {
    /// With `installer.iso`: the disc of another instance's configuration, which is one as good as any.
    async fn new() -> Result<Self> {
        let (pool, files) = (Pool::demo().await?, tempfile::tempdir()?);
        let blank = files.path().join("blank.raw");
        fs::File::create(&blank)?.set_len(4 << 20)?;
        let mut spec = InstanceSpec::new("other", Flavor::new(1, 128, 0), &blank);
        (spec.config_drive, spec.power) = (Some(ConfigDrive::default()), Power::Off);
        let other = pool.spawn(spec).await?;
        let mut disc = pool.content(other.config_drive_uuid.as_ref().context("a config drive")?).await?;
        pool.destroy(&other).await?;
        // No disc ends where a disk does.
        disc.truncate(400 << 10);
        fs::write(files.path().join("installer.iso"), &disc)?;
        let before = pool.census().await?;
        Ok(Self { pool, files, disc, before })
    }

    fn path(&self) -> PathBuf {
        self.files.path().join("installer.iso")
    }

    fn glance_image(&self) -> RootImage {
        let source: Arc<dyn ImageSource> = Arc::new(Iso(FileSource::new(self.path())));
        source.into()
    }

    fn spec(&self, image: RootImage, sr: &str) -> InstanceSpec {
        let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 2), image);
        spec.sr = SrChoice::Named(sr.into());
        spec.config_drive = Some(ConfigDrive::default());
        spec
    }

    /// Looks at the drives, and at what is on them.
    async fn check(&self, instance: &Instance) -> Result<()> {
        let client = self.pool.client();
        let vm = client.record(&client.by_uuid::<Vm>(&instance.vm_uuid).await?).await?;
        assert_eq!((&*vm.hvm_boot_policy, &*vm.hvm_boot_params["order"]), ("BIOS order", "dc"));
        let mut drives = Vec::new();
        for vbd in &vm.vbds {
            let vbd = client.record(vbd).await?;
            let vdi = client.record(&vbd.vdi).await?;
            let keys = (vdi.other_config["nova_disk_type"].clone(), vdi.name_label);
            drives.push((vbd.userdevice, vbd.r#type, vbd.mode, vbd.bootable, keys.0, keys.1, vdi.uuid));
        }
        drives.sort_by(|a, b| a.0.cmp(&b.0));
        let shape: Vec<_> = drives
            .iter()
            .map(|(place, kind, mode, boot, disk_use, name, _)| {
                (&**place, kind, mode, *boot, &**disk_use, &**name)
            })
            .collect();
        assert_eq!(
            shape,
            [
                ("0", &VbdType::Disk, &VbdMode::Rw, true, "user", "web1"),
                ("1", &VbdType::Cd, &VbdMode::Ro, true, "iso", "web1 iso"),
                ("3", &VbdType::Disk, &VbdMode::Ro, false, "configdrive", "config-2"),
            ]
        );
        assert_eq!(instance.root_uuid, drives[0].6);
        assert_eq!(instance.disc_uuid.as_deref(), Some(&*drives[1].6));
        assert_eq!(instance.root_bytes, 2 << 30);
        let disc = self.pool.content(&drives[1].6).await?;
        assert!(disc.starts_with(&self.disc) && disc[self.disc.len()..].iter().all(|byte| *byte == 0));
        Ok(())
    }
}

#[tokio::test]
async fn a_disc_to_boot_from_and_a_blank_root_disk() -> Result<()> {
    let bench = Bench::new().await?;
    let driver = &bench.pool.driver;
    let request = CacheRequest::new("installer", bench.glance_image());
    let cached = driver.root_image(request, CachePolicy::default(), false, Progress::none()).await?;
    assert!(matches!(&cached, RootImage::Cached(image, _) if image.disc), "{cached:?}");
    let evict = xenapi_driver::image_cache::Eviction { keep_bytes: Some(0), ..Default::default() };
    for (image, image_use, sr) in [
        (bench.glance_image(), ImageUse::Declared, EXT),
        (bench.glance_image(), ImageUse::Declared, LVM),
        (bench.path().into(), ImageUse::Disc, EXT),
        (cached, ImageUse::Declared, LVM),
    ] {
        let spec = InstanceSpec { image_use, ..bench.spec(image, sr) };
        let options = SpawnOptions { checks: Checks::AllDisks, ..SpawnOptions::default() };
        let instance = driver.spawn(spec, options).await?;
        assert!(instance.root_checked, "{sr}");
        let off = PowerChange::Off(Shutdown::Hard);
        driver.power(Which::Instance(instance.uuid), off, Progress::none()).await?;
        bench.check(&instance).await?;
        driver.destroy(Which::Instance(instance.uuid), Progress::none()).await?;
    }
    assert_eq!(driver.evict_images(evict, Progress::none()).await?.len(), 1);
    bench.pool.census().await?.assert_as(&bench.before, "in the end");
    Ok(())
}

/// The disc is at the place that the own root disk has during a rescue: it is there again afterwards, and
/// goes along with a resize.
#[tokio::test]
async fn the_disc_comes_back_after_a_rescue_and_goes_along_with_a_resize() -> Result<()> {
    let bench = Bench::new().await?;
    let (driver, client) = (&bench.pool.driver, bench.pool.client());
    let instance = bench.pool.spawn(bench.spec(bench.glance_image(), EXT)).await?;
    let which = || Which::Instance(instance.uuid);
    let drives = async || {
        let vm = client.record(&client.by_uuid::<Vm>(&instance.vm_uuid).await?).await?;
        let mut drives = BTreeMap::new();
        for vbd in &vm.vbds {
            let vbd = client.record(vbd).await?;
            drives.insert(vbd.userdevice, (vbd.r#type, vbd.empty, vbd.vdi));
        }
        anyhow::Ok(drives)
    };
    let before = drives().await?;
    let image = bench.files.path().join("rescue.raw");
    fs::write(&image, vec![1; 1 << 20])?;
    let rescue = || driver.rescue(which(), RescueOptions::with(&image));
    let refusal = || Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for (method, k) in [("VBD.create", 1), ("VBD.create", 2), ("VM.start_on", 1)] {
        bench.pool.simulator.faults().on_nth(method, k, refusal());
        let error = rescue().await.unwrap_err();
        assert!(error.leftovers().is_empty(), "{method} {k}: {error}");
        assert_eq!(drives().await?, before, "{method} {k}");
    }
    rescue().await?;
    assert!(
        drives().await?.values().all(|(kind, ..)| *kind == VbdType::Disk),
        "the guest would boot from the disc"
    );
    driver.unrescue(which(), Progress::none()).await?;
    assert_eq!(drives().await?, before);
    driver.power(which(), PowerChange::Off(Shutdown::Hard), Progress::none()).await?;
    bench.check(&instance).await?;

    let had = drives().await?;
    let elsewhere =
        || ResizeOptions { sr: Some(SrChoice::NameLabel(LVM.into())), ..ResizeOptions::default() };
    assert_eq!(
        driver.resize(which(), elsewhere()).await?.replaced_disks,
        3,
        "root disk, disc and config drive"
    );
    driver.revert_resize(which(), Progress::none()).await?;
    bench.check(&instance).await?;
    driver.resize(which(), elsewhere()).await?;
    driver.confirm_resize(which(), Progress::none()).await?;
    let has = drives().await?;
    for (place, (kind, empty, vdi)) in &has {
        assert_eq!((kind, empty), (&had[place].0, &false), "{place}");
        assert_ne!(*vdi, had[place].2, "{place}");
    }
    let disc = client.get_field(&has["1"].2, xenapi_types::vdi::field::UUID).await?;
    assert!(bench.pool.content(&disc).await?.starts_with(&bench.disc));

    // Without a disc in it, the drive is there again too.
    let vm = client.record(&client.by_uuid::<Vm>(&instance.vm_uuid).await?).await?;
    for vbd in &vm.vbds {
        if client.get_field(vbd, vbd::field::USERDEVICE).await? == "1" {
            client.call(vbd::Eject { vbd: vbd.clone() }).await?;
        }
    }
    let had = drives().await?;
    assert!(had["1"].1);
    driver.rescue(which(), RescueOptions::with(&image)).await?;
    driver.unrescue(which(), Progress::none()).await?;
    assert_eq!(drives().await?, had);
    driver.destroy(which(), Progress::none()).await?;
    bench.pool.census().await?.assert_as(&bench.before, "in the end");
    Ok(())
}

#[tokio::test]
async fn what_is_no_disc_or_has_no_place_is_refused() -> Result<()> {
    let bench = Bench::new().await?;
    let refused = async |spec: InstanceSpec, words: &str| -> Result<()> {
        let error = bench.pool.spawn(spec).await.expect_err(words);
        assert!(error.to_string().contains(words) && error.leftovers().is_empty(), "{error}");
        bench.pool.census().await?.assert_as(&bench.before, words);
        Ok(())
    };
    let disk = bench.files.path().join("disk.raw");
    fs::write(&disk, vec![1; 1 << 20])?;
    let source: Arc<dyn ImageSource> = Arc::new(Iso(FileSource::new(&disk)));
    refused(bench.spec(source.into(), EXT), "no disc").await?;
    let as_disc = |image: RootImage| InstanceSpec { image_use: ImageUse::Disc, ..bench.spec(image, EXT) };
    refused(as_disc(disk.into()), "no disc").await?;
    refused(as_disc("/does/not/exist.iso".into()), "/does/not/exist.iso").await?;
    let without = InstanceSpec { flavor: Flavor::new(1, 512, 0), ..as_disc(bench.path().into()) };
    refused(without, "a flavor with a root disk").await?;
    let mut grown = as_disc(bench.path().into());
    grown.disk_setup = DiskSetup { grow: Grow::Require, ..DiskSetup::default() };
    refused(grown, "neither grown nor written to").await?;

    // Nobody is rescued by a disc.
    let instance = bench.pool.spawn(bench.spec(bench.glance_image(), EXT)).await?;
    let rescue = RescueOptions::with(bench.glance_image());
    let error = bench.pool.driver.rescue(Which::Instance(instance.uuid), rescue).await.expect_err("a disc");
    assert!(error.to_string().contains("no root disk"), "{error}");
    Ok(())
}
