//! The driver has the real plugin work on the disk of a simulated host: through XAPI's calls, as a program,
//! on bytes that other people's tools judge.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::dom0::Dom0;
use e2e::pool::{EXT, Pool};
use e2e::tools;
use tempfile::TempDir;
use xapi_simulator::core::Config;
use xapi_simulator::fault::Fault;
use xenapi_client::{ExportFormat, Timeouts};
use xenapi_driver::pool_move::MoveOptions;
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::{DiskSetup, Flavor, Grow, InstanceSpec, Power, SrChoice};
use xenapi_driver::{
    Cause, DiskWork, Event, Injection, Instance, PowerChange, Progress, Shutdown, Stage, Which,
};
use xenapi_types::{Ref, Vbd, Vdi, Vm, VmPowerState, vm};
use xenapi_wire::Failure;

const START: u64 = 2048 * 512;
const MIB: u64 = 1 << 20;
const PLUGINS: &str = env!("CARGO_BIN_EXE_dom0-plugins");
const NAMES: &[&str] = &["dom0_protocol.py", "dom0_plugin_version.py"];

/// A pool with our plugins, and an instance that is off, its root disk larger than its image.
struct World {
    pool: Pool,
    instance: Instance,
    plugins: PathBuf,
    scratch: TempDir,
    _dom0: Dom0,
}

impl World {
    async fn new() -> Result<Self> {
        Self::of(xapi_simulator::World::demo()).await
    }

    async fn of(world: xapi_simulator::World) -> Result<Self> {
        Self::on(world, Dom0::new(PLUGINS, NAMES)?, None).await
    }

    /// Dom0 has no loop devices: disks are files, which nobody can mount.
    async fn of_files() -> Result<Self> {
        Self::files_of(xapi_simulator::World::demo()).await
    }

    async fn files_of(world: xapi_simulator::World) -> Result<Self> {
        let dom0 = Dom0::new(PLUGINS, NAMES)?.without_loops()?;
        let devices = dom0.path("/dev");
        std::fs::create_dir_all(&devices)?;
        Self::on(world, dom0, Some(devices)).await
    }

    async fn on(world: xapi_simulator::World, dom0: Dom0, disk_files: Option<PathBuf>) -> Result<Self> {
        let plugins = dom0.plugins();
        let behaviour = Config { plugins: Some(plugins.clone()), disk_files, ..Config::default() };
        let pool = Pool::behaving(world, Timeouts::default(), behaviour).await?;
        let scratch = tempfile::tempdir()?;
        let image = tools::disk_with_ext4(scratch.path(), 64)?;
        let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 1), image);
        let nodes = pool.driver.nodes().await?;
        spec.node =
            nodes.iter().find(|node| node.name == "demo-host").and_then(|node| node.uuid.parse().ok());
        let instance = pool.spawn(spec).await?;
        let off = PowerChange::Off(Shutdown::Hard);
        pool.driver.power(Which::Instance(instance.uuid), off, Progress::none()).await?;
        Ok(Self { pool, instance, plugins, scratch, _dom0: dom0 })
    }

    async fn work(&self, work: DiskWork) -> xenapi_driver::Result<()> {
        self.pool.driver.work_on_disk(&self.instance.root_uuid, work, Progress::none()).await
    }

    /// The content of a disk.
    async fn disk(&self, uuid: &str) -> Result<PathBuf> {
        Self::disk_in(&self.pool, uuid).await
    }

    async fn disk_in(pool: &Pool, uuid: &str) -> Result<PathBuf> {
        let files = pool.census().await?.disk_files;
        let name = format!("{uuid}.raw");
        files.into_iter().find(|path| path.ends_with(&name)).map(PathBuf::from).context("the disk's file")
    }

    /// The first partition of a disk, in a file of its own.
    async fn partition(&self, uuid: &str) -> Result<PathBuf> {
        self.partition_of(&self.disk(uuid).await?)
    }

    fn partition_of(&self, disk: &Path) -> Result<PathBuf> {
        let disk = std::fs::File::open(disk)?;
        let mut bytes = vec![0; (disk.metadata()?.len() - START) as usize];
        disk.read_exact_at(&mut bytes, START)?;
        let path = self.scratch.path().join("partition");
        std::fs::write(&path, bytes)?;
        Ok(path)
    }

    async fn spawn(&self, name: &str, setup: DiskSetup) -> xenapi_driver::Result<Instance> {
        let image = self.scratch.path().join("disk.raw");
        let flavor = Flavor { swap_mib: 64, ephemeral_gib: 1, ..Flavor::new(1, 512, 1) };
        let spec = InstanceSpec { disk_setup: setup, ..InstanceSpec::new(name, flavor, image) };
        self.pool.spawn(spec).await
    }

    /// Uuids of the disks that are no base copies.
    async fn disks(&self) -> Result<BTreeSet<String>> {
        let all = self.pool.client().all_records::<Vdi>().await?;
        Ok(all.into_values().filter(|vdi| vdi.managed).map(|vdi| vdi.uuid).collect())
    }

    /// The bytes of a disk that no guest uses, as many as its image has.
    async fn exported(&self, uuid: &str) -> Result<Vec<u8>> {
        let vdi = self.pool.client().by_uuid::<Vdi>(uuid).await?;
        let mut export = self.pool.client().export_vdi(&vdi, ExportFormat::Raw, None).await?;
        let mut bytes = Vec::new();
        while bytes.len() < (64 * MIB) as usize
            && let Some(chunk) = export.chunk().await?
        {
            bytes.extend_from_slice(&chunk);
        }
        bytes.truncate((64 * MIB) as usize);
        Ok(bytes)
    }

    /// Uuid of the disk that an instance has in a place.
    async fn disk_at(&self, instance: &Instance, place: &str) -> Result<String> {
        let client = self.pool.client();
        let vm: Ref<Vm> = client.by_uuid(&instance.vm_uuid).await?;
        for vbd in client.record(&vm).await?.vbds {
            let vbd = client.record(&vbd).await?;
            if vbd.userdevice == place {
                return Ok(client.record(&vbd.vdi).await?.uuid);
            }
        }
        anyhow::bail!("nothing is at {place}")
    }
}

fn file_in(partition: &Path, path: &str) -> Result<String> {
    tools::run("debugfs", ["-R".as_ref(), format!("cat {path}").as_ref(), partition.as_os_str()])
}

/// Name and size of a file system as `dumpe2fs` has them.
fn size_and_label(partition: &Path) -> Result<(u64, String)> {
    let head = tools::run("dumpe2fs", ["-h".as_ref(), partition.as_os_str()])?;
    let value = |name: &str| {
        head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    Ok((
        value("Block count:").parse::<u64>()? * value("Block size:").parse::<u64>()?,
        value("Filesystem volume name:"),
    ))
}

#[tokio::test]
async fn a_root_disk_is_grown_written_to_and_shrunk() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::new().await?;
    let root = &world.instance.root_uuid;
    let before = world.pool.census().await?;

    let shrink = || DiskWork::ResizeDown { len_bytes: 256 * MIB };
    let told = world.pool.driver.dry_run(|d| d.work_on_disk(root, shrink(), Progress::none())).await?;
    assert!(told.to_string().contains("resize_down"), "{told}");
    world.pool.census().await?.assert_as(&before, "what is only told");

    world.work(DiskWork::AutoConfigure).await?;
    let partition = world.partition(root).await?;
    tools::run("e2fsck", ["-fn".as_ref(), partition.as_os_str()])?;
    assert!(size_and_label(&partition)?.0 > 1000 * MIB);

    let ssh_key = Some("ssh-ed25519 AAAA me".to_owned());
    world.work(DiskWork::Inject(Injection { ssh_key, ..Injection::default() })).await?;
    world.work(shrink()).await?;
    let partition = world.partition(root).await?;
    std::fs::File::options().write(true).open(&partition)?.set_len(255 * MIB)?;
    tools::run("e2fsck", ["-fn".as_ref(), partition.as_os_str()])?;
    assert_eq!(file_in(&partition, "/etc/hostname")?, "web1\n");
    assert_eq!(file_in(&partition, "/root/.ssh/authorized_keys")?, "ssh-ed25519 AAAA me\n");
    world.pool.census().await?.assert_as(&before, "after all of it");
    Ok(())
}

#[tokio::test]
async fn an_instance_starts_with_its_disks_set_up() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::new().await?;
    let setup = DiskSetup {
        grow: Grow::Require,
        injection: Some(Injection {
            ssh_key: Some("ssh-ed25519 AAAA me".to_owned()),
            ..Injection::default()
        }),
        format_swap: true,
        ephemeral_fs: Some("ext3".to_owned()),
    };
    let instance = world.spawn("web2", setup).await?;
    assert_eq!(instance.not_grown, None);

    let partition = world.partition(&instance.root_uuid).await?;
    tools::run("e2fsck", ["-fn".as_ref(), partition.as_os_str()])?;
    assert!(size_and_label(&partition)?.0 > 1000 * MIB);
    assert_eq!(file_in(&partition, "/etc/hostname")?, "web1\n");
    assert_eq!(file_in(&partition, "/root/.ssh/authorized_keys")?, "ssh-ed25519 AAAA me\n");

    let swap = world.disk_at(&instance, "2").await?;
    let table = tools::run("sfdisk", ["-d".as_ref(), world.disk(&swap).await?.as_os_str()])?;
    assert!(table.contains("type=82"), "{table}");
    let head = std::fs::read(world.partition(&swap).await?)?;
    assert_eq!(&head[4086..4096], b"SWAPSPACE2");

    let ephemeral = world.disk_at(&instance, "4").await?;
    let partition = world.partition(&ephemeral).await?;
    tools::run("e2fsck", ["-fn".as_ref(), partition.as_os_str()])?;
    assert_eq!(size_and_label(&partition)?.1, "ephemeral");
    let held = world.pool.client().all_records::<Vbd>().await?;
    assert!(held.values().all(|vbd| !vbd.device.starts_with("sm/backend")), "dom0 holds nothing");
    Ok(())
}

/// The same without loop devices, whether this machine has them or not: partitions made, formatted, grown and shrunk.
#[tokio::test]
async fn disks_that_are_plain_files() -> Result<()> {
    if !tools::present(&["sfdisk", "mkfs.ext4", "e2fsck", "resize2fs", "debugfs", "mkswap"]) {
        return Ok(());
    }
    let world = World::of_files().await?;
    let setup = DiskSetup {
        grow: Grow::Require,
        format_swap: true,
        ephemeral_fs: Some("ext4".to_owned()),
        ..DiskSetup::default()
    };
    let instance = world.spawn("web2", setup).await?;
    let partition = world.partition(&instance.root_uuid).await?;
    tools::run("e2fsck", ["-fn".as_ref(), partition.as_os_str()])?;
    assert!(size_and_label(&partition)?.0 > 1000 * MIB);
    assert_eq!(file_in(&partition, "/etc/hostname")?, "web1\n");
    let swap = world.disk_at(&instance, "2").await?;
    assert_eq!(&std::fs::read(world.partition(&swap).await?)?[4086..4096], b"SWAPSPACE2");
    let ephemeral = world.partition(&world.disk_at(&instance, "4").await?).await?;
    tools::run("e2fsck", ["-fn".as_ref(), ephemeral.as_os_str()])?;
    assert_eq!(size_and_label(&ephemeral)?.1, "ephemeral");

    world.work(DiskWork::AutoConfigure).await?;
    world.work(DiskWork::ResizeDown { len_bytes: 256 * MIB }).await?;
    let partition = world.partition(&world.instance.root_uuid).await?;
    std::fs::File::options().write(true).open(&partition)?.set_len(255 * MIB)?;
    tools::run("e2fsck", ["-fn".as_ref(), partition.as_os_str()])?;
    assert_eq!(file_in(&partition, "/etc/hostname")?, "web1\n");
    // A disk that was attached is none any more.
    for folder in ["host/dev", "store"] {
        let folder = world.plugins.with_file_name(folder);
        assert_eq!(
            tools::run("find", [folder.as_os_str(), "-not".as_ref(), "-type".as_ref(), "d".as_ref()])?,
            ""
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_root_disk_is_resized_down_and_up_again() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::new().await?;
    let instance = large(&world).await?;
    let which = || Which::Instance(instance.uuid);
    let smaller = || ResizeOptions {
        flavor: Some(Flavor::new(1, 512, 1)),
        shutdown: Shutdown::Hard,
        ..ResizeOptions::default()
    };
    let before = world.disks().await?;

    world.pool.driver.resize(which(), smaller()).await?;
    let root = world.disk_at(&instance, "0").await?;
    assert_ne!(root, instance.root_uuid);
    is_smaller(&world, &world.disk(&root).await?)?;
    world.pool.driver.revert_resize(which(), Progress::none()).await?;
    assert_eq!(world.disk_at(&instance, "0").await?, instance.root_uuid);
    assert_eq!(world.disks().await?, before);

    world.pool.driver.resize(which(), smaller()).await?;
    world.pool.driver.confirm_resize(which(), Progress::none()).await?;
    let root = world.disk_at(&instance, "0").await?;
    tools::run("e2fsck", ["-fn".as_ref(), world.partition(&root).await?.as_os_str()])?;
    let vdis = world.pool.client().all_records::<Vdi>().await?;
    assert!(vdis.values().all(|vdi| vdi.uuid != instance.root_uuid), "the old disk is still there");
    assert!(vdis.values().all(|vdi| vdi.uuid == root || vdi.name_label != "web2"), "a clone is still there");
    Ok(())
}

/// An instance with 2 GiB, whose file system has all of it.
async fn large(world: &World) -> Result<Instance> {
    let setup = DiskSetup { grow: Grow::Require, ..DiskSetup::default() };
    let spec = InstanceSpec::new("web2", Flavor::new(1, 512, 2), world.scratch.path().join("disk.raw"));
    let nodes = world.pool.driver.nodes().await?;
    let home = nodes.iter().find(|node| node.name == "demo-host").context("the first host")?;
    let spec = InstanceSpec { disk_setup: setup, node: Some(home.uuid.parse()?), ..spec };
    Ok(world.pool.spawn(spec).await?)
}

/// A GiB, with a sound file system that has what it had.
fn is_smaller(world: &World, disk: &Path) -> Result<()> {
    assert_eq!(std::fs::metadata(disk)?.len(), 1024 * MIB);
    let partition = world.partition_of(disk)?;
    tools::run("e2fsck", ["-fn".as_ref(), partition.as_os_str()])?;
    assert_eq!(file_in(&partition, "/etc/hostname")?, "web1\n");
    Ok(())
}

/// No host reaches both repositories: it is made smaller where it is, and goes on as any disk does.
#[tokio::test]
async fn a_root_disk_is_resized_down_on_another_host() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::of(xapi_simulator::World::demo().with_hosts(2)).await?;
    let instance = large(&world).await?;
    let which = || Which::Instance(instance.uuid);
    let nodes = world.pool.driver.nodes().await?;
    let other = nodes.iter().find(|node| node.name != "demo-host").context("two hosts")?;
    let elsewhere = || ResizeOptions {
        flavor: Some(Flavor::new(1, 512, 1)),
        node: other.uuid.parse().ok(),
        sr: Some(SrChoice::NameLabel(EXT.into())),
        shutdown: Shutdown::Hard,
        ..ResizeOptions::default()
    };
    let before = world.disks().await?;

    // After all that dom0 has done.
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    world.pool.simulator.faults().on("VDI.copy", refusal);
    let error = world.pool.driver.resize(which(), elsewhere()).await.unwrap_err();
    assert!(error.leftovers().is_empty(), "{error}");
    assert_eq!(
        (world.disks().await?, world.disk_at(&instance, "0").await?),
        (before.clone(), instance.root_uuid.clone())
    );

    world.pool.driver.resize(which(), elsewhere()).await?;
    let root = world.disk_at(&instance, "0").await?;
    is_smaller(&world, &world.disk(&root).await?)?;
    let vm = world.pool.client().by_uuid::<Vm>(&instance.vm_uuid).await?;
    assert_eq!(world.pool.client().get_field(&vm, vm::field::RESIDENT_ON).await?, other.reference);
    let mut expected = before.clone();
    expected.insert(root);
    assert_eq!(world.disks().await?, expected, "what was passing is still there");
    world.pool.driver.revert_resize(which(), Progress::none()).await?;
    assert_eq!(
        (world.disks().await?, world.disk_at(&instance, "0").await?),
        (before, instance.root_uuid.clone())
    );
    Ok(())
}

#[tokio::test]
async fn a_root_disk_is_smaller_in_another_pool() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::new().await?;
    let there = Pool::of(xapi_simulator::World::demo().elsewhere(2)).await?;
    let instance = large(&world).await?;
    let which = || Which::Instance(instance.uuid);
    let smaller = || MoveOptions {
        flavor: Some(Flavor::new(1, 512, 1)),
        shutdown: Shutdown::Hard,
        ..MoveOptions::default()
    };
    let (before, nothing) = (world.disks().await?, there.census().await?);

    there
        .simulator
        .faults()
        .on("VDI.create", Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"])));
    let error = world.pool.driver.move_to_pool(which(), &there.driver, smaller()).await.unwrap_err();
    assert!(error.leftovers().is_empty(), "{error}");
    assert_eq!(world.disks().await?, before);
    there.census().await?.assert_as(&nothing, "there, after a failure");

    world.pool.driver.move_to_pool(which(), &there.driver, smaller()).await?;
    let moved = there.driver.instance(&which()).await?;
    let vm = there.client().by_uuid::<Vm>(&moved.vm_uuid).await?;
    let drives = there.client().record(&vm).await?.vbds;
    let root = there.client().record(&there.client().record(&drives[0]).await?.vdi).await?.uuid;
    is_smaller(&world, &World::disk_in(&there, &root).await?)?;
    assert_eq!(world.disks().await?, before, "what was passing is still there");
    world.pool.driver.confirm_move(which(), &there.driver, Progress::none()).await?;
    assert!(!world.disks().await?.contains(&instance.root_uuid));
    Ok(())
}

#[tokio::test]
async fn a_disk_whose_files_do_not_fit_stays_and_so_does_its_instance() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::new().await?;
    // Not grown: one that is larger than the disk that is wanted, and not its only partition.
    let image = world.scratch.path().join("large.raw");
    std::fs::copy(world.scratch.path().join("disk.raw"), &image)?;
    std::fs::File::options().write(true).open(&image)?.set_len(2048 * MIB)?;
    let script = world.scratch.path().join("table");
    std::fs::write(&script, "2048,129024,83,*\n,,83\n")?;
    let mut sfdisk = tools::command("sfdisk")?;
    tools::output(sfdisk.arg("-q").arg("--force").arg(&image).stdin(std::fs::File::open(script)?))?;
    let spec = InstanceSpec::new("web2", Flavor::new(1, 512, 2), image);
    let instance = world.pool.spawn(spec).await?;
    world
        .pool
        .driver
        .power(Which::Instance(instance.uuid), PowerChange::Off(Shutdown::Hard), Progress::none())
        .await?;
    let before = world.disks().await?;
    let content = world.exported(&instance.root_uuid).await?;
    world.pool.driver.power(Which::Instance(instance.uuid), PowerChange::On, Progress::none()).await?;
    let flavor = Some(Flavor::new(1, 512, 1));
    let smaller = ResizeOptions { flavor, shutdown: Shutdown::Hard, ..ResizeOptions::default() };
    let error =
        world.pool.driver.resize(Which::Instance(instance.uuid), smaller).await.unwrap_err().to_string();
    assert!(error.contains("partitions"), "{error}");
    let vm: Ref<Vm> = world.pool.client().by_uuid(&instance.vm_uuid).await?;
    assert_eq!(world.pool.client().record(&vm).await?.power_state, VmPowerState::Running);
    assert_eq!(world.disk_at(&instance, "0").await?, instance.root_uuid);
    assert_eq!(world.disks().await?, before);
    world
        .pool
        .driver
        .power(Which::Instance(instance.uuid), PowerChange::Off(Shutdown::Hard), Progress::none())
        .await?;
    assert!(world.exported(&instance.root_uuid).await? == content, "the disk changed");
    Ok(())
}

#[tokio::test]
async fn a_disk_that_cannot_grow_stops_only_who_requires_it() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::new().await?;
    let image = world.scratch.path().join("disk.raw");
    // Two partitions.
    let script = world.scratch.path().join("table");
    std::fs::write(&script, "2048,65536,83,*\n,,83\n")?;
    let mut sfdisk = tools::command("sfdisk")?;
    tools::output(sfdisk.arg("-q").arg("--force").arg(&image).stdin(std::fs::File::open(script)?))?;
    let before = world.pool.census().await?;
    let require = DiskSetup { grow: Grow::Require, ..DiskSetup::default() };
    let error = world.spawn("web2", require).await.unwrap_err().to_string();
    assert!(error.contains("partitions"), "{error}");
    world.pool.census().await?.assert_as(&before, "after the refusal");

    let instance = world.spawn("web2", DiskSetup { grow: Grow::Try, ..DiskSetup::default() }).await?;
    let why = instance.not_grown.context("a reason")?;
    assert!(why.contains("partitions"), "{why}");
    let (mut disk, mut wanted) = (vec![0; 64 << 20], vec![0; 64 << 20]);
    std::fs::File::open(world.disk(&instance.root_uuid).await?)?.read_exact_at(&mut disk, 0)?;
    std::fs::File::open(image)?.read_exact_at(&mut wanted, 0)?;
    assert!(disk == wanted, "the disk is not as it was");
    Ok(())
}

#[tokio::test]
async fn setup_without_the_plugin_is_refused_before_anything_is_made() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::new().await?;
    std::fs::remove_file(world.plugins.join("dom0_plugin_version.py"))?;
    let before = world.pool.census().await?;
    let setup = DiskSetup { format_swap: true, ..DiskSetup::default() };
    let error = world.spawn("web2", setup).await.unwrap_err().to_string();
    assert!(error.contains("its plugins lack generate_disk; install the plugins there"), "{error}");
    let setup = DiskSetup { ephemeral_fs: Some("zfs".to_owned()), ..DiskSetup::default() };
    let error = world.spawn("web2", setup).await.unwrap_err().to_string();
    assert!(error.contains("\"zfs\" cannot be made on an ephemeral disk"), "{error}");
    world.pool.census().await?.assert_as(&before, "after the refusals");
    // Nothing to write is nothing to do: no plugin is needed for it.
    let setup = DiskSetup { injection: Some(Injection::default()), ..DiskSetup::default() };
    world.spawn("web2", setup).await?;
    Ok(())
}

#[tokio::test]
async fn what_the_plugin_refuses_is_told_and_nothing_stays_attached() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::new().await?;
    let before = world.pool.census().await?;
    let error = world.work(DiskWork::ResizeDown { len_bytes: 2 * MIB }).await.unwrap_err().to_string();
    assert!(error.contains("its files need"), "{error}");
    world.pool.census().await?.assert_as(&before, "after the refusal");
    assert!(world.pool.client().all_records::<Vbd>().await?.values().all(|vbd| !vbd.currently_attached));
    Ok(())
}

#[tokio::test]
async fn the_disk_is_attached_on_the_host_that_has_it() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::of(xapi_simulator::World::demo().with_hosts(2)).await?;
    let home = world.instance.node_uuid.clone();
    let nodes = world.pool.driver.nodes().await?;
    let other = nodes.iter().find(|node| node.uuid != home).context("another host")?;
    let storage = world.pool.driver.node(other.uuid.parse()?).await?.storage;
    let sr = storage.iter().find(|sr| sr.name == EXT).context("its repository")?;
    let flavor = Flavor { ephemeral_gib: 1, ..Flavor::new(1, 512, 1) };
    let mut spec = InstanceSpec::new("web2", flavor, world.scratch.path().join("disk.raw"));
    (spec.node, spec.sr) = (Some(other.uuid.parse()?), SrChoice::Uuid(sr.uuid.parse()?));
    spec.disk_setup =
        DiskSetup { grow: Grow::Require, ephemeral_fs: Some("ext4".to_owned()), ..DiskSetup::default() };
    let instance = world.pool.spawn(spec).await?;
    assert_eq!(instance.node_uuid, other.uuid);
    // A disk of the coordinator's is worked on there, whichever host is asked for the list of disks.
    world.work(DiskWork::AutoConfigure).await?;
    for uuid in [&instance.root_uuid, &world.instance.root_uuid] {
        let (bytes, _) = size_and_label(&world.partition(uuid).await?)?;
        assert!(bytes > 900 * MIB, "{bytes}");
    }
    Ok(())
}

#[tokio::test]
async fn how_far_dom0_is_and_a_plugin_of_another_protocol() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::new().await?;
    let plugin = world.plugins.join("dom0_protocol.py");
    // A host that is slow: the work begins once somebody has asked how far it is.
    let (asked, answer) = (world.scratch.path().join("asked"), world.scratch.path().join("answer"));
    let answers = |text: &str| -> Result<()> {
        Ok(std::fs::write(&answer, xenapi_wire::plugin::encode_response(Ok(text))?)?)
    };
    let report = dom0_protocol::Report { step: "copying".to_owned(), done: 512, total: 1024 };
    answers(&dom0_protocol::Reply::Answer(report).encode())?;
    let body = format!(
        "case \"$1\" in\n*'>progress<'*) touch '{0}'; exec cat '{1}' ;;\nesac\n\
         while [ ! -e '{0}' ]; do sleep 0.1; done\nexec -a dom0_protocol.py '{2}' \"$1\"",
        asked.display(),
        answer.display(),
        env!("CARGO_BIN_EXE_dom0-plugins")
    );
    std::fs::remove_file(&plugin)?;
    script(&plugin, &body)?;
    let (sender, events) = std::sync::mpsc::channel();
    let progress = Progress::to(move |event| drop(sender.send(event)));
    let done =
        world.pool.driver.work_on_disk(&world.instance.root_uuid, DiskWork::AutoConfigure, progress).await;
    done?;
    let step = Event::Step { stage: Stage::DiskSetup, step: "copying".to_owned(), percent: Some(50) };
    assert!(events.try_iter().any(|event| event == step));

    answers(r#"{"version":{"major":2,"minor":0},"answer":null}"#)?;
    script(&plugin, &format!("exec cat '{}'", answer.display()))?;
    let error = world.work(DiskWork::AutoConfigure).await.unwrap_err().to_string();
    assert!(error.contains("speaks version 2.0 of the dom0 protocol, and this one 1.1"), "{error}");
    assert!(world.pool.client().all_records::<Vbd>().await?.values().all(|vbd| !vbd.currently_attached));
    Ok(())
}

/// A program of dom0 that says that it has begun, and waits until it may go on, where its arguments are such;
/// else it is the real one.
fn slow(world: &World, program: &str, such: &str) -> Result<(PathBuf, PathBuf)> {
    let at = |name: &str| world.scratch.path().join(format!("{program}-{name}"));
    let (begun, go) = (at("begun"), at("go"));
    for file in [&begun, &go] {
        let _ = std::fs::remove_file(file);
    }
    let body = format!(
        "case \" $* \" in {such}) echo > '{}'; while [ ! -e '{}' ]; do sleep 0.05; done ;; esac\n\
         export PATH=\"${{PATH#*:}}\"\nexec {program} \"$@\"",
        begun.display(),
        go.display()
    );
    world._dom0.tool(program, &body)?;
    Ok((begun, go))
}

async fn begins(file: &Path) -> Result<()> {
    let waiting = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.context("it does not begin")
}

/// What is only looked at ends at once; a program that changes the file system is waited for, and nothing is
/// begun after it; where the disk is thrown away, nothing is waited for.
#[tokio::test]
async fn work_that_is_cancelled() -> Result<()> {
    if !tools::present(&["sfdisk", "mkfs.ext4", "e2fsck", "resize2fs", "debugfs"]) {
        return Ok(());
    }
    let world = World::of_files().await?;
    let (driver, root) = (&world.pool.driver, world.instance.root_uuid.clone());
    let before = world.pool.census().await?;
    let begin = || driver.work_on_disk(&root, DiskWork::AutoConfigure, Progress::none());
    let ends = async |operation: xenapi_driver::Operation<()>| -> Result<()> {
        let ended = tokio::time::timeout(Duration::from_secs(30), operation).await;
        let error = ended.context("it is waited for")?.err().context("it was done")?;
        anyhow::ensure!(matches!(error.cause(), Cause::Cancelled) && error.leftovers().is_empty(), "{error}");
        world.pool.census().await?.assert_as(&before, "cancelled");
        Ok(())
    };
    let (begun, go) = slow(&world, "e2fsck", "*' -n '*")?;
    let operation = begin();
    begins(&begun).await?;
    operation.cancel();
    ends(operation).await?;
    let untouched = world.partition(&root).await?;
    assert!(size_and_label(&untouched)?.0 < 70 * MIB, "it has grown");
    std::fs::write(go, "")?;

    let (begun, go) = slow(&world, "resize2fs", "*' -P '*) ;; *")?;
    let mut operation = begin();
    begins(&begun).await?;
    operation.cancel();
    let early = tokio::time::timeout(Duration::from_secs(3), &mut operation).await;
    assert!(early.is_err(), "the file system was left half way: {early:?}");
    std::fs::write(&go, "")?;
    ends(operation).await?;
    let whole = world.partition(&root).await?;
    tools::run("e2fsck", ["-fn".as_ref(), whole.as_os_str()])?;
    world.work(DiskWork::AutoConfigure).await?;
    assert!(size_and_label(&world.partition(&root).await?)?.0 > 1000 * MIB);

    // A smaller root disk is made of a clone, which goes.
    let larger = ResizeOptions { flavor: Some(Flavor::new(1, 512, 2)), ..ResizeOptions::default() };
    let which = || Which::Instance(world.instance.uuid);
    driver.resize(which(), larger).await?;
    driver.confirm_resize(which(), Progress::none()).await?;
    let root = world.disk_at(&world.instance, "0").await?;
    driver.work_on_disk(&root, DiskWork::AutoConfigure, Progress::none()).await?;
    let (disks, keys) = (world.disks().await?, world.pool.vm(&world.instance).await?.1.other_config);
    std::fs::remove_file(&go)?;
    std::fs::remove_file(&begun)?;
    let smaller = ResizeOptions { flavor: Some(Flavor::new(1, 512, 1)), ..ResizeOptions::default() };
    let operation = driver.resize(which(), smaller);
    begins(&begun).await?;
    operation.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(30), operation).await;
    let error = ended.context("it is waited for")?.unwrap_err();
    assert!(matches!(error.cause(), Cause::Cancelled) && error.leftovers().is_empty(), "{error}");
    assert_eq!((world.disks().await?, world.pool.vm(&world.instance).await?.1.other_config), (disks, keys));
    Ok(())
}

/// XAPI lets a control domain have what a guest has.
#[tokio::test]
async fn a_disk_that_a_guest_has_is_left_alone() -> Result<()> {
    if !tools::present(&["sfdisk", "mkfs.ext4", "e2fsck", "resize2fs", "debugfs"]) {
        return Ok(());
    }
    let world = World::of_files().await?;
    let (pool, which) = (&world.pool, || Which::Instance(world.instance.uuid));
    let content = std::fs::read(world.disk(&world.instance.root_uuid).await?)?;
    let injection = Injection { ssh_key: Some("ssh-ed25519 AAAA me".to_owned()), ..Injection::default() };
    let works = [
        DiskWork::AutoConfigure,
        DiskWork::ResizeDown { len_bytes: 256 * MIB },
        DiskWork::Generate { fs: "ext4".to_owned(), label: String::new() },
        DiskWork::Inject(injection),
    ];
    for power in [PowerChange::On, PowerChange::Suspend] {
        pool.driver.power(which(), power, Progress::none()).await?;
        let before = pool.census().await?;
        for work in &works {
            pool.simulator.faults().record();
            let error = world.work(work.clone()).await.err().context("it was done")?;
            let seen = pool.simulator.faults().recorded();
            assert!(
                matches!(error.cause(), Cause::DiskInUse { vm, .. } if *vm == world.instance.vm_uuid),
                "{error}"
            );
            assert!(!seen.iter().any(|call| call == "host.call_plugin" || call == "VBD.create"), "{seen:?}");
            pool.census().await?.assert_as(&before, &format!("{power:?} {work:?}"));
        }
        assert!(std::fs::read(world.disk(&world.instance.root_uuid).await?)? == content, "{power:?}");
    }
    Ok(())
}

/// While the disk is on its way to dom0: what this driver is asked for waits, and of what others start it is heard.
#[tokio::test]
async fn a_guest_that_is_started_meanwhile() -> Result<()> {
    if !tools::present(&["sfdisk", "mkfs.ext4", "e2fsck", "resize2fs", "debugfs"]) {
        return Ok(());
    }
    let world = World::of_files().await?;
    let (pool, root) = (&world.pool, &world.instance.root_uuid);
    let (begun, go) = slow(&world, "e2fsck", "*")?;
    let operation = pool.driver.work_on_disk(root, DiskWork::AutoConfigure, Progress::none());
    begins(&begun).await?;
    let which = Which::Instance(world.instance.uuid);
    let mut starting = pool.driver.power(which.clone(), PowerChange::On, Progress::none());
    let early = tokio::time::timeout(Duration::from_secs(1), &mut starting).await;
    assert!(early.is_err(), "its disk is worked on: {early:?}");
    std::fs::write(&go, "")?;
    operation.await?;
    starting.await?;
    pool.driver.power(which, PowerChange::Off(Shutdown::Hard), Progress::none()).await?;

    let before = pool.census().await?;
    let mut struck = pool.simulator.faults().struck();
    pool.simulator.faults().on("VBD.plug", Fault::Slow(Duration::from_secs(2)));
    let operation = pool.driver.work_on_disk(root, DiskWork::AutoConfigure, Progress::none());
    let struck = tokio::time::timeout(Duration::from_secs(30), struck.changed()).await;
    struck.context("it is not plugged")??;
    let (vm, _) = pool.vm(&world.instance).await?;
    pool.client().call(vm::Start { vm, start_paused: false, force: false }).await?;
    let error = operation.await.unwrap_err();
    assert!(matches!(error.cause(), Cause::DiskInUse { .. }) && error.leftovers().is_empty(), "{error}");
    let (vm, _) = pool.vm(&world.instance).await?;
    pool.client().call(vm::HardShutdown { vm }).await?;
    pool.census().await?.assert_as(&before, "after the refusal");
    Ok(())
}

/// Of two hosts that see the disk: the first is dead, and then it has no plugin.
#[tokio::test]
async fn the_next_host_does_it() -> Result<()> {
    if !tools::present(&["sfdisk", "mkfs.ext4", "e2fsck", "resize2fs", "debugfs"]) {
        return Ok(());
    }
    let world = World::files_of(xapi_simulator::World::demo().with_hosts(2).with_all_drivers()).await?;
    let (pool, client) = (&world.pool, world.pool.client());
    pool.share("shared").await?;
    let mut spec = InstanceSpec::new("web2", Flavor::new(1, 512, 1), world.scratch.path().join("disk.raw"));
    (spec.sr, spec.power) = (SrChoice::NameLabel("shared".into()), Power::Off);
    spec.node = Some(world.instance.node_uuid.parse()?);
    let root = pool.spawn(spec).await?.root_uuid;
    let sr = client.record(&client.by_uuid::<Vdi>(&root).await?).await?.sr;
    let first = client.record(&client.record(&sr).await?.pbds[0]).await?.host;
    let metrics = client.record(&first).await?.metrics.to_string();
    let live =
        |live: bool| pool.simulator.core().db().write(|tx| tx.set("host_metrics", &metrics, "live", live));

    let works_elsewhere = async || -> Result<()> {
        let (begun, go) = slow(&world, "e2fsck", "*")?;
        let operation = pool.driver.work_on_disk(&root, DiskWork::AutoConfigure, Progress::none());
        begins(&begun).await?;
        let vbds = client.all_records::<Vbd>().await?;
        let plugged = vbds.values().find(|vbd| vbd.currently_attached).context("a drive")?;
        let dom0 = client.record(&plugged.vm).await?;
        std::fs::write(&go, "")?;
        operation.await?;
        anyhow::ensure!(dom0.is_control_domain && dom0.resident_on != first, "it was the first host");
        Ok(())
    };
    live(false)?;
    works_elsewhere().await.context("the first is dead")?;
    live(true)?;
    let missing = Failure::new("XENAPI_MISSING_PLUGIN", ["dom0_plugin_version.py"]);
    pool.simulator.faults().on("host.call_plugin", Fault::Failure(missing));
    works_elsewhere().await.context("the first has no plugin")?;
    Ok(())
}

fn script(path: &Path, body: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, format!("#!/bin/bash\n{body}\n"))?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}

#[tokio::test]
async fn a_disk_of_somebody_else_and_a_host_without_the_plugin() -> Result<()> {
    if !tools::can_be_dom0() {
        return Ok(());
    }
    let world = World::new().await?;
    let settings =
        xenapi_driver::Settings { owner: "other".to_owned(), ..xenapi_driver::Settings::default() };
    let other = world.pool.driver_with(settings)?;
    let refused =
        other.work_on_disk(&world.instance.root_uuid, DiskWork::AutoConfigure, Progress::none()).await;
    assert!(refused.unwrap_err().to_string().contains("was not made by owner \"other\""));

    std::fs::remove_file(world.plugins.join("dom0_protocol.py"))?;
    let before = world.pool.census().await?;
    let error = world.work(DiskWork::AutoConfigure).await.unwrap_err().to_string();
    assert!(error.contains("install the plugin in /etc/xapi.d/plugins"), "{error}");
    world.pool.census().await?.assert_as(&before, "after the refusal");
    Ok(())
}
