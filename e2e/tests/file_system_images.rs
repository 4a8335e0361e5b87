//! Images that are a file system and no more: a partition table is made for them, which other people's tools read.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use e2e::pool::{Census, EXT, LVM, Pool};
use e2e::tools;
use image_store::{Content, Declared, FileSource, Image, ImageSource, Pending};
use tempfile::TempDir;
use xenapi_driver::image_cache::{CacheRequest, Copying};
use xenapi_driver::spec::{Flavor, ImageUse, InstanceSpec, Power, RootImage, SrChoice};
use xenapi_driver::{Checks, Instance, Progress, SpawnOptions};

/// Where the partition begins, in bytes.
const START: usize = 63 * 512;

struct Bench {
    pool: Pool,
    files: TempDir,
    before: Census,
    file_system: Vec<u8>,
}

impl Bench {
    async fn new() -> Result<Self> {
        let files = tempfile::tempdir()?;
        tools::disk_with_ext4(files.path(), 17)?;
        let file_system = fs::read(files.path().join("part.raw"))?;
        let pool = Pool::demo().await?;
        let before = pool.census().await?;
        Ok(Self { pool, files, before, file_system })
    }

    fn path(&self) -> PathBuf {
        self.files.path().join("part.raw")
    }

    fn spec(image: RootImage, image_use: ImageUse, root_gib: u64, sr: &str) -> InstanceSpec {
        let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, root_gib), image);
        (spec.sr, spec.power, spec.image_use) = (SrChoice::Named(sr.into()), Power::Off, image_use);
        spec
    }

    /// Looks at the root disk as `sfdisk`, `e2fsck` and `debugfs` do.
    async fn check(&self, instance: &Instance) -> Result<()> {
        let disk = self.pool.content(&instance.root_uuid).await?;
        let end = START + self.file_system.len();
        assert!(disk[START..end] == self.file_system && disk[end..].iter().all(|byte| *byte == 0));
        let path = self.files.path().join("root.raw");
        fs::write(&path, &disk)?;
        let table = tools::run("sfdisk", ["-d".as_ref(), path.as_os_str()])?;
        let parts: Vec<&str> = table.lines().filter(|line| line.contains("start=")).collect();
        let [only] = parts[..] else { panic!("one partition is wanted: {table}") };
        let words: String = only.split_once(':').context("fields")?.1.split_whitespace().collect();
        assert_eq!(words, format!("start=63,size={},type=83", self.file_system.len() / 512));
        let part = self.files.path().join("root.part");
        fs::write(&part, &disk[START..end])?;
        tools::run("e2fsck", ["-fn".as_ref(), part.as_os_str()])?;
        let name = tools::run("debugfs", ["-R".as_ref(), "cat /etc/hostname".as_ref(), part.as_os_str()])?;
        assert_eq!(name, "web1\n");
        Ok(())
    }

    async fn refused(&self, spec: InstanceSpec, words: &str) -> Result<()> {
        let error = self.pool.spawn(spec).await.expect_err(words);
        assert!(error.to_string().contains(words) && error.leftovers().is_empty(), "{error}");
        self.pool.census().await?.assert_as(&self.before, words);
        Ok(())
    }
}

/// A place that calls its file an AMI, and may not know how long it is.
#[derive(Debug)]
struct Ami {
    path: PathBuf,
    knows_len: bool,
}

impl ImageSource for Ami {
    fn open(&self) -> Pending<'_, image_store::Result<Image>> {
        Box::pin(async {
            let declared =
                Declared { container: Some("ami".into()), disk: Some("ami".into()), ..Declared::default() };
            let image = FileSource::new(&self.path).declared(declared).open().await?;
            if self.knows_len {
                return Ok(image);
            }
            Ok(Image { content: Content::from_body("the image", None, image.content), len: None, ..image })
        })
    }
}

fn ami(path: PathBuf, knows_len: bool) -> RootImage {
    let source: Arc<dyn ImageSource> = Arc::new(Ami { path, knows_len });
    source.into()
}

#[tokio::test]
async fn a_file_system_becomes_the_first_partition() -> Result<()> {
    if !tools::present(&["mkfs.ext4", "e2fsck", "debugfs", "sfdisk"]) {
        return Ok(());
    }
    let bench = Bench::new().await?;
    let cached = bench.pool.driver.cache_image(
        CacheRequest {
            sr: SrChoice::Named(EXT.into()),
            ..CacheRequest::new("an-ami", ami(bench.path(), true))
        },
        Progress::none(),
    );
    let cached = RootImage::Cached(cached.await?, Copying::Full);
    for (image, image_use, root_gib, sr) in [
        (bench.path().into(), ImageUse::FileSystem, 0, EXT),
        (bench.path().into(), ImageUse::FileSystem, 1, LVM),
        (ami(bench.path(), true), ImageUse::Declared, 1, EXT),
        (ami(bench.path(), true), ImageUse::Declared, 0, LVM),
        (cached, ImageUse::Declared, 1, LVM),
    ] {
        let options = SpawnOptions { checks: Checks::AllDisks, ..SpawnOptions::default() };
        let instance = bench.pool.driver.spawn(Bench::spec(image, image_use, root_gib, sr), options).await?;
        assert!(instance.root_checked);
        bench.check(&instance).await.with_context(|| format!("{image_use:?} {root_gib} {sr}"))?;
        bench.pool.destroy(&instance).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_a_partition_is_refused_and_leaves_nothing() -> Result<()> {
    if !tools::present(&["mkfs.ext4", "sfdisk"]) {
        return Ok(());
    }
    let bench = Bench::new().await?;
    let at = |name: &str| bench.files.path().join(name);
    fs::write(at("empty"), b"")?;
    for (image, words) in [
        (ami(at("disk.raw"), true), "it has a partition table of its own"),
        (ami(at("empty"), true), "it is empty"),
        (ami(bench.path(), false), "does not say how long it is"),
    ] {
        bench.refused(Bench::spec(image, ImageUse::Declared, 1, EXT), words).await?;
    }
    // One that fills the flavor's disk leaves no room for the table.
    let large = fs::File::create(at("large"))?;
    large.set_len(1 << 30)?;
    let spec = Bench::spec(ami(at("large"), true), ImageUse::Declared, 1, LVM);
    bench.refused(spec, "the flavor's root disk has only").await?;
    // As a disk it is what it is.
    let spec = Bench::spec(ami(at("disk.raw"), true), ImageUse::Disk, 0, EXT);
    let instance = bench.pool.spawn(spec).await?;
    assert!(bench.pool.content(&instance.root_uuid).await?.starts_with(&fs::read(at("disk.raw"))?));
    Ok(())
}
