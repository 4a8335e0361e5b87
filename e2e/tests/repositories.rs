//! The same image on every type of storage repository: the same bytes, in a disk of the size that the repository makes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use disk_stream::{Declared, Existing, Image, Upload};
use e2e::pool::Pool;
use e2e::tools;
use examples::demo_image::DemoImage;
use image_store::{FileSource, ImageSource};
use tempfile::TempDir;
use xapi_simulator::World;
use xapi_simulator::targets::Target;
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, RootImage, SrChoice};
use xenapi_driver::{Checks, Progress, Shutdown, SpawnOptions, Which};
use xenapi_types::{Ref, Sr, Vdi, VdiType, sr, vdi};

const SERVER: &str = "192.0.2.1";
const IQN: &str = "iqn.2010-10.org.openstack:repository";
const SCSI_ID: (&str, &str) = ("SCSIid", "36001405a5a5a5a5a5a5a5a5a5a5a5a5a");
/// No multiple of what any repository has its sizes in.
const IMAGE_BYTES: u64 = (41 << 20) + 512;

/// Type, what it is connected by, the steps of its sizes, and whether its disks take their space at once.
type Row = (&'static str, &'static [(&'static str, &'static str)], u64, bool);

const REPOSITORIES: &[Row] = &[
    ("ext", &[("device", "/dev/sdb")], 2 << 20, false),
    ("nfs", &[("server", SERVER), ("serverpath", "/srv")], 2 << 20, false),
    ("smb", &[("server", "//192.0.2.1/srv")], 2 << 20, false),
    ("lvm", &[("device", "/dev/sdc")], 2 << 20, true),
    ("lvmoiscsi", &[("target", SERVER), ("targetIQN", IQN), SCSI_ID], 2 << 20, true),
    ("lvmohba", &[SCSI_ID], 2 << 20, true),
    (RAW_LVM, &[("device", "/dev/sdd")], 4 << 20, true),
];

/// A volume group of before there were VHDs: what others left in a volume is there until it is overwritten.
const RAW_LVM: &str = "raw lvm";

struct Bench {
    pool: Pool,
    files: TempDir,
    image: Vec<u8>,
}

impl Bench {
    async fn new() -> Result<Self> {
        let files = tempfile::tempdir()?;
        let raw = files.path().join("disk.raw");
        DemoImage { virtual_bytes: 41 << 20, payload_bytes: 5 << 20 }.write(&raw)?;
        fs::File::options().write(true).open(&raw)?.set_len(IMAGE_BYTES)?;
        let image = Image::open_blocking(&raw, Declared::Raw)?;
        image.save_vhd(&files.path().join("0.vhd"), Existing::Refuse, &Upload::default())?;
        let (folder, archive) = (files.path().display(), files.path().join("image.tar.gz"));
        let archive = archive.display().to_string();
        tools::run("tar", ["-zcf", &archive, "--directory", &folder.to_string(), "0.vhd"])?;
        let pool = Pool::of(World::demo().with_all_drivers()).await?;
        let targets = pool.simulator.targets();
        targets.add(Target::share(SERVER, "/srv"));
        targets.add(Target::iscsi(SERVER, IQN, [(0, 8 << 30)]));
        Ok(Self { pool, image: fs::read(raw)?, files })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    async fn make(&self, (name, device_config, ..): &Row) -> Result<Ref<Sr>> {
        let client = self.pool.client();
        let sr_type = if *name == RAW_LVM { "lvm" } else { name };
        let sr = self.pool.make_sr(name, sr_type, device_config, 8 << 30, false).await?;
        if *name == RAW_LVM {
            client.set_field(&sr, sr::field::SM_CONFIG, BTreeMap::new()).await?;
        }
        Ok(sr)
    }
}

#[tokio::test]
async fn the_same_bytes_on_every_type() -> Result<()> {
    let bench = Bench::new().await?;
    let stream: Arc<dyn ImageSource> = Arc::new(FileSource::new(bench.at("image.tar.gz")));
    let images: [(&str, RootImage); 3] =
        [("raw", bench.at("disk.raw").into()), ("VHD", bench.at("0.vhd").into()), ("archive", stream.into())];
    for row in REPOSITORIES {
        let (name, _, step, thick) = *row;
        let sr = bench.make(row).await.with_context(|| name)?;
        let before = bench.pool.census().await?;
        // As large as the image, and larger; a GiB takes its time.
        let larger = u64::from(name == "ext" || name == RAW_LVM);
        for ((kind, image), root_gib) in images.iter().zip([0, larger, 0]) {
            let when = format!("{kind} of {root_gib} GiB on {name}");
            let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, root_gib), image.clone());
            spec.sr = SrChoice::Named(name.into());
            spec.config_drive = Some(ConfigDrive::default());
            let options = SpawnOptions { checks: Checks::AllDisks, ..SpawnOptions::default() };
            let instance = bench.pool.driver.spawn(spec, options).await.with_context(|| when.clone())?;
            let wanted = if root_gib == 0 { IMAGE_BYTES } else { root_gib << 30 };
            assert_eq!(instance.root_bytes, wanted.next_multiple_of(step), "{when}");
            let disk = bench.pool.content(&instance.root_uuid).await?;
            assert_eq!(disk.len() as u64, instance.root_bytes, "{when}");
            let (begin, rest) = disk.split_at(bench.image.len());
            assert!(begin == bench.image && rest.iter().all(|byte| *byte == 0), "{when}");
            let client = bench.pool.client();
            let record = client.record(&client.by_uuid::<Vdi>(&instance.root_uuid).await?).await?;
            assert_eq!(record.sr, sr, "{when}");
            let taken = u64::try_from(record.physical_utilisation)?;
            assert!(
                if thick { taken >= wanted } else { taken > 5 << 20 && taken < wanted },
                "{when}: {taken}"
            );
            bench.pool.destroy(&instance).await?;
            bench.pool.census().await?.assert_as(&before, &when);
        }
    }
    Ok(())
}

/// What is blank, and what a disk grows by, shows the guest nothing of others.
#[tokio::test]
async fn what_others_left_is_not_shown() -> Result<()> {
    let bench = Bench::new().await?;
    let row = REPOSITORIES.iter().find(|row| row.0 == RAW_LVM).context("the row")?;
    let sr = bench.make(row).await?;
    let mut spec =
        InstanceSpec::new("web1", Flavor { swap_mib: 8, ..Flavor::new(1, 512, 0) }, bench.at("disk.raw"));
    spec.sr = SrChoice::Named(RAW_LVM.into());
    let instance = bench.pool.driver.spawn(spec, SpawnOptions::default()).await?;
    let client = bench.pool.client();
    let clean = async |when: &str, sizes: [u64; 2]| {
        let mut have = Vec::new();
        for (_, disk) in
            client.all_records::<Vdi>().await?.into_iter().filter(|(_, disk)| disk.sr == sr && disk.managed)
        {
            let content = bench.pool.content(&disk.uuid).await?;
            let image = if disk.uuid == instance.root_uuid { &bench.image[..] } else { &[] };
            let (begin, rest) = content.split_at(image.len().min(content.len()));
            anyhow::ensure!(begin == image && rest.iter().all(|byte| *byte == 0), "{when}: {disk:?}");
            have.push(content.len() as u64 >> 20);
        }
        have.sort_unstable();
        assert_eq!(have, sizes, "{when}");
        anyhow::Ok(())
    };
    clean("a new instance", [8, 44]).await?;
    let which = Which::Instance(instance.uuid);
    let flavor = Flavor { swap_mib: 24, ..Flavor::new(1, 512, 0) };
    let options =
        ResizeOptions { flavor: Some(flavor), shutdown: Shutdown::Hard, ..ResizeOptions::default() };
    bench.pool.driver.resize(which.clone(), options).await?;
    bench.pool.driver.confirm_resize(which, Progress::none()).await?;
    clean("a larger disk for swap", [24, 44]).await
}

/// The bench itself: of a volume that is not zeroed, what is not written is not zero.
#[tokio::test]
async fn a_raw_volume_has_what_others_left_there() -> Result<()> {
    let bench = Bench::new().await?;
    let row = REPOSITORIES.iter().find(|row| row.0 == RAW_LVM).context("the row")?;
    let sr = bench.make(row).await?;
    let new = vdi::Create {
        name_label: "new".into(),
        sr,
        r#type: VdiType::User,
        virtual_size: 8 << 20,
        ..vdi::Create::default()
    };
    let client = bench.pool.client();
    let vdi = client.call(new).await?;
    let record = client.record(&vdi).await?;
    let content = bench.pool.content(&record.uuid).await?;
    assert!(content.chunks(1 << 20).all(|piece| piece.iter().any(|byte| *byte != 0)));
    Ok(())
}
