//! The driver has the real plugin work on the disk of a simulated host: through XAPI's calls, as a program,
//! on bytes that other people's tools judge.

use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::pool::Pool;
use e2e::tools;
use tempfile::TempDir;
use xenapi_driver::spec::{Flavor, InstanceSpec};
use xenapi_driver::{DiskWork, Injection, Instance, PowerChange, Progress, Shutdown, SpawnOptions, Which};
use xenapi_types::{Ref, Vbd, Vdi};

const TOOLS: &[&str] = &["sfdisk", "mkfs.ext4", "e2fsck", "resize2fs", "losetup", "mount", "debugfs"];
const START: u64 = 2048 * 512;
const MIB: u64 = 1 << 20;

/// A pool with our plugins, and an instance that is off, its root disk larger than its image.
struct World {
    pool: Pool,
    instance: Instance,
    plugins: TempDir,
    scratch: TempDir,
}

impl World {
    async fn new() -> Result<Self> {
        let plugins = tempfile::tempdir()?;
        symlink(env!("CARGO_BIN_EXE_dom0-plugins"), plugins.path().join("partition_utils.py"))?;
        let pool = Pool::with_plugins(plugins.path()).await?;
        let scratch = tempfile::tempdir()?;
        let image = image(scratch.path())?;
        let spec = InstanceSpec::new("web1", Flavor::new(1, 512, 1), image);
        let instance = pool.driver.spawn(spec, SpawnOptions::default()).await?;
        let off = PowerChange::Off(Shutdown::Hard);
        pool.driver.power(Which::Instance(instance.uuid), off, Progress::none()).await?;
        Ok(Self { pool, instance, plugins, scratch })
    }

    async fn work(&self, work: DiskWork) -> xenapi_driver::Result<()> {
        self.pool.driver.work_on_disk(&self.instance.root_uuid, work, Progress::none()).await
    }

    /// The simulator's file of the root disk.
    async fn file(&self) -> Result<PathBuf> {
        let name = format!("{}.raw", self.instance.root_uuid);
        let files = self.pool.census().await?.disk_files;
        files.into_iter().find(|path| path.ends_with(&name)).map(PathBuf::from).context("the disk's file")
    }

    /// The disk where dom0 has it while it is attached there.
    async fn device(&self) -> Result<Device> {
        let client = self.pool.client();
        let vdi: Ref<Vdi> = client.by_uuid(&self.instance.root_uuid).await?;
        let sr = client.record(&client.record(&vdi).await?.sr).await?;
        let folder = Path::new("/dev/sm/backend").join(&sr.uuid);
        std::fs::create_dir_all(&folder)?;
        let link = folder.join(&self.instance.root_uuid);
        symlink(self.file().await?, &link)?;
        Ok(Device(link))
    }

    /// The first partition, in a file of its own.
    async fn partition(&self) -> Result<PathBuf> {
        let disk = std::fs::File::open(self.file().await?)?;
        let mut bytes = vec![0; (disk.metadata()?.len() - START) as usize];
        disk.read_exact_at(&mut bytes, START)?;
        let path = self.scratch.path().join("partition");
        std::fs::write(&path, bytes)?;
        Ok(path)
    }
}

/// A link that goes when the test ends.
struct Device(PathBuf);

impl Drop for Device {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = self.0.parent().map(std::fs::remove_dir);
    }
}

/// A disk of 64 MiB with one partition, an ext4 with a file.
fn image(folder: &Path) -> Result<PathBuf> {
    let (disk, part, files) = (folder.join("disk.raw"), folder.join("part.raw"), folder.join("files"));
    std::fs::create_dir_all(files.join("etc"))?;
    std::fs::write(files.join("etc/hostname"), "web1\n")?;
    std::fs::File::create(&part)?.set_len(63 * MIB)?;
    tools::run("mkfs.ext4", ["-q".as_ref(), "-d".as_ref(), files.as_os_str(), part.as_os_str()])?;
    let file = std::fs::File::create(&disk)?;
    file.set_len(64 * MIB)?;
    file.write_all_at(&std::fs::read(&part)?, START)?;
    let script = folder.join("table");
    std::fs::write(&script, "2048,,83,*\n")?;
    let mut sfdisk = tools::command("sfdisk")?;
    tools::output(sfdisk.arg("-q").arg(&disk).stdin(std::fs::File::open(script)?))?;
    Ok(disk)
}

#[expect(clippy::print_stderr, reason = "a skip must be seen")]
fn is_possible() -> bool {
    if !tools::present(TOOLS) {
        return false;
    }
    let is_root =
        tools::run("losetup", ["--find"]).is_ok() && std::fs::create_dir_all("/dev/sm/backend").is_ok();
    if !is_root {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "this wants root and loop devices");
        eprintln!("skipped: this wants root and loop devices");
    }
    is_root
}

#[tokio::test]
async fn a_root_disk_is_grown_written_to_and_shrunk() -> Result<()> {
    if !is_possible() {
        return Ok(());
    }
    let world = World::new().await?;
    let _device = world.device().await?;
    let before = world.pool.census().await?;

    world.work(DiskWork::AutoConfigure).await?;
    let partition = world.partition().await?;
    tools::run("e2fsck", ["-fn".as_ref(), partition.as_os_str()])?;
    let size = tools::run("dumpe2fs", ["-h".as_ref(), partition.as_os_str()])?;
    let blocks = |text: &str| -> Option<u64> {
        let value =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse::<u64>().ok();
        Some(value("Block count:")? * value("Block size:")?)
    };
    assert!(blocks(&size) > Some(1000 * MIB), "{size}");

    let ssh_key = Some("ssh-ed25519 AAAA me".to_owned());
    world.work(DiskWork::Inject(Injection { ssh_key, ..Injection::default() })).await?;
    world.work(DiskWork::ResizeDown { len_bytes: 256 * MIB }).await?;
    let partition = world.partition().await?;
    std::fs::File::options().write(true).open(&partition)?.set_len(255 * MIB)?;
    tools::run("e2fsck", ["-fn".as_ref(), partition.as_os_str()])?;
    for (path, content) in
        [("/etc/hostname", "web1\n"), ("/root/.ssh/authorized_keys", "ssh-ed25519 AAAA me\n")]
    {
        let cat = format!("cat {path}");
        assert_eq!(tools::run("debugfs", ["-R".as_ref(), cat.as_ref(), partition.as_os_str()])?, content);
    }
    world.pool.census().await?.assert_as(&before, "after all of it");
    Ok(())
}

#[tokio::test]
async fn what_the_plugin_refuses_is_told_and_nothing_stays_attached() -> Result<()> {
    if !is_possible() {
        return Ok(());
    }
    let world = World::new().await?;
    let _device = world.device().await?;
    let before = world.pool.census().await?;
    let error = world.work(DiskWork::ResizeDown { len_bytes: 2 * MIB }).await.unwrap_err().to_string();
    assert!(error.contains("its files need"), "{error}");
    world.pool.census().await?.assert_as(&before, "after the refusal");
    assert!(world.pool.client().all_records::<Vbd>().await?.values().all(|vbd| !vbd.currently_attached));
    Ok(())
}

#[tokio::test]
async fn a_disk_of_somebody_else_and_a_host_without_the_plugin() -> Result<()> {
    if !is_possible() {
        return Ok(());
    }
    let world = World::new().await?;
    let settings =
        xenapi_driver::Settings { owner: "other".to_owned(), ..xenapi_driver::Settings::default() };
    let other = world.pool.driver_with(settings)?;
    let refused =
        other.work_on_disk(&world.instance.root_uuid, DiskWork::AutoConfigure, Progress::none()).await;
    assert!(refused.unwrap_err().to_string().contains("was not made by owner \"other\""));

    std::fs::remove_file(world.plugins.path().join("partition_utils.py"))?;
    let before = world.pool.census().await?;
    let error = world.work(DiskWork::AutoConfigure).await.unwrap_err().to_string();
    assert!(error.contains("install the plugin in /etc/xapi.d/plugins"), "{error}");
    world.pool.census().await?.assert_as(&before, "after the refusal");
    Ok(())
}
