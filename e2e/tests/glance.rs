//! Images from a real Glance to a host, changed there, and back: what is in Glance then is what was on the disk.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use disk_stream::{Declared, Existing, Image, Upload};
use e2e::openstack::OpenStack;
use e2e::pool::{EXT, LVM, Pool};
use e2e::tools;
use image_store::glance::{Glance, GlanceSink, GlanceSource, NewImage};
use image_store::{ImageSink, ImageSource};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use xenapi_driver::spec::{Flavor, InstanceSpec, Power, RootImage, SrChoice};
use xenapi_driver::upload::{UploadFormat, UploadOptions};
use xenapi_driver::{Checks, Instance, SpawnOptions, Which};
use xenapi_types::{Vdi, vdi};

const TOOLS: &[&str] = &["mkfs.ext4", "debugfs", "e2fsck", "qemu-img", "tar"];
const DISK_BYTES: u64 = 64 << 20;

struct Bench {
    openstack: OpenStack,
    pool: Pool,
    files: TempDir,
}

impl Bench {
    /// With `disk.raw`, an ext4 file system.
    async fn new(openstack: OpenStack) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let content = files.path().join("content");
        fs::create_dir(&content)?;
        for number in 0..200 {
            fs::write(content.join(format!("file {number}")), format!("number {number}\n").repeat(500))?;
        }
        let raw = files.path().join("disk.raw");
        File::create_new(&raw)?.set_len(DISK_BYTES)?;
        let arguments = ["-q", "-F", "-d"].map(std::ffi::OsStr::new);
        tools::run("mkfs.ext4", arguments.into_iter().chain([content.as_os_str(), raw.as_os_str()]))?;
        Ok(Self { openstack, pool: Pool::demo().await?, files })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn glance(&self) -> Glance {
        self.openstack.glance()
    }

    /// Puts a file there, and gives back its id.
    async fn put(&self, path: &Path, container: &str, disk: &str) -> Result<String> {
        self.openstack.put(path, container, disk).await
    }

    fn image(&self, id: &str) -> RootImage {
        let source: Arc<dyn ImageSource> = Arc::new(GlanceSource::new(self.glance(), id));
        source.into()
    }

    /// An instance that is off, so that its disk can be written to, of an image that was compared with its disk.
    async fn spawn(&self, name: &str, image: RootImage, sr: &str) -> Result<Instance> {
        let mut spec = InstanceSpec::new(name, Flavor::new(1, 128, 0), image);
        (spec.sr, spec.power) = (SrChoice::Named(sr.into()), Power::Off);
        let options = SpawnOptions { checks: Checks::AllDisks, ..SpawnOptions::default() };
        let instance = self.pool.driver.spawn(spec, options).await?;
        assert!(instance.root_checked);
        Ok(instance)
    }

    async fn destroy(&self, instance: &Instance) -> Result<()> {
        self.pool.destroy(instance).await?;
        Ok(())
    }

    /// Writes a file into the file system of an instance that is off, as its guest would, and gives back the disk.
    async fn write_inside(&self, instance: &Instance, name: &str, text: &str) -> Result<Vec<u8>> {
        let (disk, file) = (self.at("inside.raw"), self.at("inside.txt"));
        let before = self.pool.content(&instance.root_uuid).await?;
        fs::write(&disk, &before)?;
        fs::write(&file, text)?;
        let request = format!("write {} {name}", file.display());
        tools::run("debugfs", ["-w".as_ref(), "-R".as_ref(), request.as_ref(), disk.as_os_str()])?;
        let after = fs::read(&disk)?;
        for (number, (old, new)) in before.chunks(4096).zip(after.chunks(4096)).enumerate() {
            if old != new {
                self.pool.write(&instance.root_uuid, number as u64 * 4096, new).await?;
            }
        }
        Ok(after)
    }

    /// Whether a disk is a sound file system with these files.
    fn look_inside(&self, disk: &[u8], files: &[(&str, &str)]) -> Result<()> {
        let path = self.at("looked at.raw");
        fs::write(&path, disk)?;
        tools::e2fsck_clean(&path, 0)?;
        for (name, text) in files {
            let request = format!("cat {name}");
            let found = tools::run("debugfs", ["-R".as_ref(), request.as_ref(), path.as_os_str()])?;
            assert_eq!(&found, text, "{name}");
        }
        Ok(())
    }
}

#[tokio::test]
async fn from_glance_to_a_host_changed_and_back() -> Result<()> {
    let Some(openstack) = OpenStack::get().filter(|_| tools::present(TOOLS)) else { return Ok(()) };
    let bench = Bench::new(openstack).await?;
    let raw = bench.at("disk.raw");
    let image = Image::open_blocking(&raw, Declared::Raw)?;
    let folder = bench.at("archive");
    fs::create_dir(&folder)?;
    image.save_vhd(&folder.join("0.vhd"), Existing::Refuse, &Upload::default())?;
    let text = |path: &Path| path.display().to_string();
    let (archive, qcow2) = (bench.at("disk.tar.gz"), bench.at("disk.qcow2"));
    tools::run("tar", ["-zcf", &text(&archive), "--directory", &text(&folder), "0.vhd"])?;
    // Compressed, as distributions offer them: it cannot be read as it comes.
    tools::run("qemu-img", ["convert", "-c", "-O", "qcow2", &text(&raw), &text(&qcow2)])?;
    let first = [
        bench.put(&raw, "bare", "raw").await?,
        bench.put(&folder.join("0.vhd"), "bare", "vhd").await?,
        bench.put(&archive, "ovf", "vhd").await?,
        bench.put(&qcow2, "bare", "qcow2").await?,
    ];
    let disk = fs::read(&raw)?;
    for (number, (format, member)) in [
        (UploadFormat::VhdChain, "0.vhd"),
        (UploadFormat::VhdArchive, "0.vhd"),
        (UploadFormat::Vhd, ""),
        (UploadFormat::RawArchive, "disk.raw"),
        (UploadFormat::Qcow2, ""),
    ]
    .into_iter()
    .enumerate()
    {
        let (here, there) = if number % 2 == 0 { (EXT, LVM) } else { (LVM, EXT) };
        let instance = bench.spawn("first", bench.image(&first[number % first.len()]), here).await?;
        assert!(bench.pool.content(&instance.root_uuid).await? == disk, "{format:?}");
        bench.write_inside(&instance, "one", "written in the instance\n").await?;
        if format == UploadFormat::VhdChain {
            // So that there is a layer below.
            let root = bench.pool.client().by_uuid::<Vdi>(&instance.root_uuid).await?;
            bench.pool.client().call(vdi::Snapshot { vdi: root, driver_params: None }).await?;
        }
        let changed = bench.write_inside(&instance, "two", "and again\n").await?;

        let (container, kind) = format.names();
        let name = format!("snapshot {number}");
        let mut new = NewImage::new(&*name, container, kind);
        new.properties = [("os_type", "linux"), ("auto_disk_config", "disabled")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let sink: Arc<dyn ImageSink> = Arc::new(GlanceSink::new(bench.glance(), new));
        let options = UploadOptions { format, compression_level: Some(1), ..UploadOptions::default() };
        let uploaded = bench.pool.driver.upload(Which::Instance(instance.uuid), sink, options).await?;
        assert!(uploaded.leftovers.is_empty(), "{uploaded:?}");
        let record = bench.glance().show(&uploaded.stored.place).await?;
        assert_eq!(record.properties()["auto_disk_config"], "disabled");
        assert_eq!(record.disk_format.as_deref(), Some(kind));
        bench.destroy(&instance).await?;

        // What is in Glance is what others make of it.
        let file = bench.at(&name);
        let from = GlanceSource::new(bench.glance(), &*name);
        image_store::FileSink::new(&file).store(&|| from.open()).await?;
        match format {
            UploadFormat::Qcow2 => {
                tools::run("qemu-img", ["check", "-f", "qcow2", &text(&file)])?;
            }
            UploadFormat::Vhd => tools::qemu_img_check(&file)?,
            _ => {
                let listed = tools::run("tar", ["-tzf", &text(&file)])?;
                let layers = if format == UploadFormat::VhdChain { 2 } else { 1 };
                assert!(listed.starts_with(member) && listed.lines().count() == layers, "{listed}");
            }
        }
        let again = bench.spawn("again", bench.image(&name), there).await?;
        let there = bench.pool.content(&again.root_uuid).await?;
        assert!(there == changed, "{format:?}");
        bench.look_inside(&there, &[("one", "written in the instance\n"), ("two", "and again\n")])?;
        bench.destroy(&again).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_glance_refuses_ends_soon_and_leaves_nothing() -> Result<()> {
    let Some(openstack) = OpenStack::get().filter(|_| tools::present(TOOLS)) else { return Ok(()) };
    let bench = Bench::new(openstack).await?;
    let id = bench.put(&bench.at("disk.raw"), "bare", "raw").await?;
    let as_iso = bench.put(&bench.at("disk.raw"), "bare", "iso").await?;
    let as_vhd = bench.put(&bench.at("disk.raw"), "bare", "vhd").await?;
    let as_archive = bench.put(&bench.at("disk.raw"), "tgz", "raw").await?;
    // Somebody between us and Glance who has had enough.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let tired = format!("http://{}", listener.local_addr()?);
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut head = [0; 4096];
            let _ = socket.read(&mut head).await;
            let _ =
                socket.write_all(b"HTTP/1.1 503 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        }
    });
    let before = bench.pool.census().await?;
    let glance = || bench.glance();
    for (glance, image, words) in [
        (glance(), "no such image", "not found"),
        (glance(), "00000000-0000-0000-0000-000000000000", "not found"),
        (openstack.glance_with("a wrong password"), &*id, "401"),
        (glance().endpoints([&tired])?, &*id, "503"),
        (glance(), &*as_iso, "no disc"),
        (glance(), &*as_vhd, "declared as a VHD"),
        (glance(), &*as_archive, "declared as a tar archive"),
    ] {
        let source: Arc<dyn ImageSource> = Arc::new(GlanceSource::new(glance, image));
        let mut spec = InstanceSpec::new("web1", Flavor::new(1, 128, 1), source);
        spec.sr = SrChoice::Named(EXT.into());
        let error = bench.pool.spawn(spec).await.expect_err(words);
        assert!(error.to_string().contains(words), "{words:?} is missing in: {error}");
        assert!(error.leftovers().is_empty(), "{error}");
        bench.pool.census().await?.assert_as(&before, words);
    }
    // Nova's schedule: one attempt and three more.
    assert_eq!(requests.load(Ordering::Relaxed), 4);
    Ok(())
}
