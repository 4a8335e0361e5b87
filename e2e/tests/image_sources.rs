//! Root disks from images that are packed, come from elsewhere, or are not what they should be.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use disk_stream::{Declared, Image, Parents, Upload};
use e2e::pool::{Census, EXT, LVM, Pool};
use e2e::tools;
use examples::demo_image::DemoImage;
use flate2::Compression;
use flate2::write::GzEncoder;
use image_store::{Algorithm, Content, Digest, FileSink, FileSource, ImageSink, ImageSource, Pending};
use tempfile::TempDir;
use xenapi_driver::spec::{Flavor, ImageFormat, InstanceSpec, RootImage, SrChoice};
use xenapi_driver::upload::{UploadFormat, UploadOptions};
use xenapi_driver::{Progress, SpawnOptions, Which};
use xenapi_types::{Sr, sr};

const DISK_BYTES: u64 = 64 << 20;

/// A disk in layers, as Nova packs it.
struct Bench {
    pool: Pool,
    files: TempDir,
    /// What the root disk must hold.
    disk: Vec<u8>,
    archive: PathBuf,
    before: Census,
}

impl Bench {
    async fn new() -> Result<Self> {
        let files = tempfile::tempdir()?;
        let at = |name: &str| files.path().join(name);
        let raw = at("disk.raw");
        DemoImage { virtual_bytes: DISK_BYTES, payload_bytes: 12 << 20 }.write(&raw)?;
        let staging = at("staging");
        fs::create_dir(&staging)?;
        let existing = disk_stream::Existing::Refuse;
        let base = staging.join("2.vhd");
        Image::open_blocking(&raw, Declared::Raw)?.save_vhd(&base, existing, &Upload::default())?;
        for (layer, below, byte) in [("1.vhd", "2.vhd", 1_u8), ("0.vhd", "1.vhd", 2)] {
            let file = File::options().write(true).open(&raw)?;
            file.write_all_at(&[byte; 70_000], u64::from(byte) * (9 << 20) + 512)?;
            file.sync_all()?;
            let within = Parents::Within(staging.clone());
            let opening = disk_stream::Opening { parents: within, ..Default::default() };
            let below = Image::open_with(&staging.join(below), &opening)?;
            let now = Image::open_blocking(&raw, Declared::Raw)?;
            now.save_difference(&below, &staging.join(layer), existing, &Upload::default())?;
        }
        let archive = at("image.tar.gz");
        let (directory, target) = (staging.display().to_string(), archive.display().to_string());
        tools::run("tar", ["-zcf", &target, "--directory", &directory, "."])?;
        let disk = fs::read(&raw)?;
        let pool = Pool::demo().await?;
        let before = pool.census().await?;
        Ok(Self { pool, files, disk, archive, before })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn gzipped(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.at(name);
        let mut encoder = GzEncoder::new(File::create(&path)?, Compression::fast());
        encoder.write_all(bytes)?;
        encoder.finish()?;
        Ok(path)
    }

    fn spec(image: impl Into<RootImage>, root_gib: u64, sr: &str) -> InstanceSpec {
        let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, root_gib), image);
        spec.sr = SrChoice::Named(sr.into());
        spec
    }

    /// Spawns, and gives back what is on the root disk.
    async fn root_of(&self, spec: InstanceSpec) -> Result<Vec<u8>> {
        let driver = &self.pool.driver;
        let instance = driver.spawn(spec, SpawnOptions::default()).await?;
        let disk = self.pool.content(&instance.root_uuid).await?;
        driver.destroy(Which::Instance(instance.uuid), Progress::none()).await?;
        self.pool.census().await?.assert_as(&self.before, "after the instance is destroyed");
        Ok(disk)
    }

    /// Spawns, expects an error with these words, and that it leaves nothing.
    async fn refused(&self, spec: InstanceSpec, words: &[&str]) -> Result<()> {
        let error = self.pool.spawn(spec).await.expect_err("an error");
        assert!(error.leftovers().is_empty(), "{error}");
        self.pool.census().await?.assert_as(&self.before, &format!("after: {error}"));
        let text = error.to_string();
        for word in words {
            assert!(text.contains(word), "{word:?} is missing in: {text}");
        }
        Ok(())
    }
}

/// A place that takes so many bytes and then no more, or says so before it begins.
#[derive(Debug)]
struct Full(usize);

impl ImageSink for Full {
    fn store<'a>(
        &'a self,
        make: &'a (dyn Fn() -> Pending<'a, image_store::Result<image_store::Image>> + Send + Sync),
    ) -> Pending<'a, image_store::Result<image_store::Stored>> {
        Box::pin(async {
            let mut content = make().await?.content;
            let mut taken = 0;
            while taken < self.0
                && let Some(piece) = content.chunk().await?
            {
                taken += piece.len();
            }
            Err(image_store::Error::Status {
                what: "the place".into(),
                status: 507,
                said: "it is full".into(),
            })
        })
    }
}

/// The content of a file, that breaks off after so many bytes.
#[derive(Debug)]
struct Broken(PathBuf, usize);

impl ImageSource for Broken {
    fn open(&self) -> Pending<'_, image_store::Result<image_store::Image>> {
        Box::pin(async {
            let bytes = fs::read(&self.0).expect("the test made it");
            let (len, cut) = (bytes.len() as u64, Bytes::from(bytes).slice(..self.1));
            let inner = Content::from_bytes("inner", cut);
            let content = Content::from_body("the image", Some(len), inner);
            Ok(image_store::Image { declared: Default::default(), len: Some(len), content })
        })
    }
}

fn source(source: impl ImageSource + 'static) -> RootImage {
    let source: Arc<dyn ImageSource> = Arc::new(source);
    source.into()
}

fn digest_of(path: &Path) -> Result<Digest> {
    Ok(Digest::of(Algorithm::Sha256, &fs::read(path)?))
}

#[tokio::test]
async fn every_packing_on_thin_and_thick_storage() -> Result<()> {
    let bench = Bench::new().await?;
    let raw = bench.gzipped("raw.gz", &bench.disk)?;
    let leaf = Image::open_blocking(&bench.at("disk.raw"), Declared::Raw)?;
    leaf.save_fixed_vhd(&bench.at("fixed.vhd"), disk_stream::Existing::Refuse, &Upload::default())?;
    let fixed = bench.gzipped("fixed.vhd.gz", &fs::read(bench.at("fixed.vhd"))?)?;
    for sr in [EXT, LVM] {
        let root = bench.root_of(Bench::spec(&bench.archive, 0, sr)).await.context("archive")?;
        assert!(root == bench.disk, "archive on {sr}");
        let digest = digest_of(&bench.archive)?;
        let verified = source(FileSource::new(&bench.archive).digest(digest));
        let root = bench.root_of(Bench::spec(verified, 0, sr)).await.context("source")?;
        assert!(root == bench.disk, "source on {sr}");
    }
    // Nobody knows the size of a compressed raw disk: the flavor decides.
    for (path, sr) in [(raw, EXT), (fixed, LVM)] {
        let root = bench.root_of(Bench::spec(&path, 1, sr)).await.context("raw")?;
        assert_eq!(root.len(), 1 << 30);
        let (disk, rest) = root.split_at(bench.disk.len());
        assert!(disk == bench.disk && rest.iter().all(|byte| *byte == 0), "{} on {sr}", path.display());
    }
    Ok(())
}

#[tokio::test]
async fn a_snapshot_is_an_image_again() -> Result<()> {
    let bench = Bench::new().await?;
    let driver = &bench.pool.driver;
    let instance = driver.spawn(Bench::spec(&bench.archive, 0, EXT), SpawnOptions::default()).await?;
    let which = || Which::Instance(instance.uuid);
    let running = bench.pool.visible().await?;
    let upload = |sink: Arc<dyn ImageSink>, format: UploadFormat, compression_level: Option<u32>| {
        driver.upload(which(), sink, UploadOptions { format, compression_level, ..UploadOptions::default() })
    };
    let formats = [
        (UploadFormat::VhdArchive, None, "0.vhd"),
        (UploadFormat::VhdArchive, Some(1), "0.vhd"),
        (UploadFormat::Vhd, None, ""),
        (UploadFormat::RawArchive, None, "disk.raw"),
        (UploadFormat::Qcow2, None, ""),
    ];
    let mut images = Vec::new();
    for (number, (format, level, member)) in formats.into_iter().enumerate() {
        let path = bench.at(&format!("upload{number}"));
        let uploaded = upload(Arc::new(FileSink::new(&path)), format, level).await?;
        assert!(uploaded.leftovers.is_empty() && uploaded.virtual_bytes == DISK_BYTES, "{uploaded:?}");
        assert_eq!(uploaded.stored.digest, Digest::of(Algorithm::Sha512, &fs::read(&path)?));
        bench.pool.visible().await?.assert_as(&running, "after an upload");
        if !member.is_empty() {
            let listed = tools::run("tar", ["-tzf".as_ref(), path.as_os_str()])?;
            assert_eq!(listed.trim_end(), member);
        }
        images.push(path);
    }
    // A place that exists already, that is full at once, and that becomes full.
    let taken: Arc<dyn ImageSink> = Arc::new(FileSink::new(&images[0]));
    for (sink, words) in [
        (taken, "exists already"),
        (Arc::new(Full(0)) as _, "it is full"),
        (Arc::new(Full(3 << 20)) as _, "it is full"),
    ] {
        let error = upload(sink, UploadFormat::Vhd, None).await.expect_err(words);
        assert!(error.to_string().contains(words) && error.leftovers().is_empty(), "{error}");
        bench.pool.visible().await?.assert_as(&running, words);
    }
    driver.destroy(which(), Progress::none()).await?;
    let sr = bench.pool.client().by_name_label::<Sr>(EXT).await?;
    bench.pool.client().call(sr::Scan { sr }).await?;
    for image in images {
        let root = bench.root_of(Bench::spec(&image, 0, LVM)).await?;
        assert!(root == bench.disk, "{}", image.display());
    }
    Ok(())
}

#[tokio::test]
async fn an_image_that_is_not_right_leaves_no_disk() -> Result<()> {
    let bench = Bench::new().await?;
    let archive = || FileSource::new(&bench.archive);
    let wrong = Digest::of(Algorithm::Sha512, b"another image");
    let spec = |image: RootImage| Bench::spec(image, 1, EXT);
    bench
        .refused(spec(source(archive().digest(wrong))), &["image.tar.gz", "damaged or not the image"])
        .await?;
    let len = fs::metadata(&bench.archive)?.len() as usize;
    for cut in [0, 1, 300, len / 3, len / 2, len - 9, len - 1] {
        bench.refused(spec(source(Broken(bench.archive.clone(), cut))), &["were announced"]).await?;
    }
    let missing = source(FileSource::new(bench.at("missing")));
    bench.refused(spec(missing), &["missing is not found"]).await?;

    let raw = bench.gzipped("raw.gz", &bench.disk)?;
    bench.refused(Bench::spec(&raw, 0, EXT), &["raw.gz", "give the size of the disk"]).await?;
    // Zeros for a GiB, and a byte.
    let (zeros, end) = (bench.gzipped("zeros.gz", &vec![0; 64 << 20])?, bench.gzipped("end.gz", &[7])?);
    let large = bench.at("large.gz");
    fs::write(&large, [fs::read(zeros)?.repeat(16), fs::read(end)?].concat())?;
    bench.refused(Bench::spec(&large, 1, EXT), &["does not fit into 1073741824 bytes"]).await?;
    let declared = image_store::Declared { min_disk_gib: Some(2), ..Default::default() };
    let small = source(archive().declared(declared));
    bench.refused(spec(small), &["is a disk of 2 GiB", "has only 1 GiB"]).await?;

    let staging = bench.at("staging");
    let pack = |name: &str, members: &[&str]| -> Result<PathBuf> {
        let target = bench.at(name);
        let command = ["-cf".as_ref(), target.as_os_str(), "--directory".as_ref(), staging.as_os_str()];
        tools::run("tar", command.into_iter().chain(members.iter().map(AsRef::as_ref)))?;
        Ok(target)
    };
    let orphan = pack("orphan.tar", &["0.vhd", "1.vhd"])?;
    bench.refused(spec(orphan.into()), &["the parent of layer 1", "is missing"]).await?;
    let headless = pack("headless.tar", &["2.vhd", "1.vhd"])?;
    bench.refused(spec(headless.into()), &["no 0.vhd"]).await?;
    fs::copy(staging.join("2.vhd"), staging.join("other.vhd"))?;
    let two = pack("two.tar", &["2.vhd", "other.vhd"])?;
    bench.refused(spec(two.into()), &["several disks"]).await?;
    let mut as_raw = Bench::spec(&bench.archive, 1, EXT);
    as_raw.image_format = ImageFormat::Vhd;
    as_raw.image = bench.at("raw.gz").into();
    bench.refused(as_raw, &["declared as a VHD"]).await
}
