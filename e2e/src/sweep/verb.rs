//! The verbs, and what each needs.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use image_store::{FileSink, ImageSink};
use xenapi_driver::backup::BackupOptions;
use xenapi_driver::image_cache::{CacheRequest, Copying};
use xenapi_driver::live::MigrateOptions;
use xenapi_driver::network::{NetworkSpec, Vlan};
use xenapi_driver::pools::PoolMigrateOptions;
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::{RebuildOptions, ResizeOptions};
use xenapi_driver::spec::{
    ConfigDrive, DiskSetup, Flavor, Grow, ImageUse, InstanceSpec, MacChoice, Nic, RootImage, SrChoice,
};
use xenapi_driver::upload::{UploadFormat, UploadOptions};
use xenapi_driver::volume::AttachOptions;
use xenapi_driver::{
    Checks, Existing, InstanceDisk, Otherwise, PowerChange, Progress, Result, Shutdown, SpawnOptions,
};
use xenapi_types::VmPowerState;

use crate::pool::{LVM, NETWORK};
use crate::sweep::scene::{self, SHARED, Scene};

/// A verb in a situation.
#[derive(Debug)]
pub struct Verb {
    /// How it is called on the command line and in the table.
    pub name: &'static str,
    /// What is done before, without faults.
    pub prepare: &'static [Step],
    /// What is tried.
    pub act: Step,
}

/// Something that the driver does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Spawns from a raw image, with a config drive and an interface, all disks read back.
    Spawn,
    /// Spawns on a thick SR.
    SpawnOnLvm,
    /// Spawns on an SR that both hosts reach.
    SpawnOnShared,
    /// Spawns with its root disk grown and its swap disk formatted by the plugins of dom0.
    SpawnSetUp,
    /// Spawns through the control domain: no data go through the handlers.
    SpawnViaDom0,
    /// Spawns from a disc to install from, with a blank root disk.
    SpawnFromDisc,
    /// Destroys.
    Destroy,
    /// Writes a snapshot to a file.
    Snapshot,
    /// Fetches an image into the cache.
    CacheImage,
    /// Spawns from the cached image: by a clone, or by a full copy.
    SpawnCached(Copying),
    /// Puts a snapshot of the root disk into a file as an image of all its layers.
    Upload,
    /// Puts all disks, of one moment, into files.
    UploadAll,
    /// Writes a full backup, and keeps its snapshot.
    Backup,
    /// Writes what has changed since the full backup.
    Increment,
    /// Changes the power state, to end in this one.
    Power(PowerChange, VmPowerState),
    /// Halts and marks as deleted.
    SoftDelete,
    /// Takes that back.
    Restore,
    /// Gives it another size, and its disks another repository.
    Resize,
    /// Gives it a smaller root disk, which the plugins of dom0 make.
    Shrink,
    /// Keeps that.
    ConfirmResize,
    /// Takes that back.
    RevertResize,
    /// Attaches a LUN of an iSCSI target that the pool has never heard of.
    AttachVolume,
    /// Detaches it.
    DetachVolume,
    /// Puts another LUN in its place.
    SwapVolume,
    /// Spawns from a LUN as root disk.
    SpawnFromVolume,
    /// Brings it up from a rescue disk.
    Rescue,
    /// Ends that.
    Unrescue,
    /// Gives it a new root disk.
    Rebuild,
    /// Moves it to the other host with its disks, while it runs.
    LiveMigrate,
    /// Moves it to another pool with its disks, while it runs.
    MoveToPool,
    /// Brings it up on the other host when its own is dead.
    Evacuate,
    /// Puts the pool in order.
    Reconcile,
    /// Adds an interface.
    AttachInterface,
    /// Removes it.
    DetachInterface,
    /// Makes a network on a VLAN.
    EnsureNetwork,
    /// Removes it.
    RemoveNetwork,
    /// Not the driver's: the instance's host dies.
    LoseHost,
    /// A spawn fails, and nothing of it can be undone.
    LeaveSpawn,
}

/// The address of the added interface.
const MAC: &str = "02:00:00:00:11:22";
/// The name of the network that is made.
const TENANT: &str = "tenant";

const CLEAN: Shutdown = Shutdown::Clean { timeout: Duration::from_secs(5), otherwise: Otherwise::Hard };
const OFF: Step = Step::Power(PowerChange::Off(Shutdown::Hard), VmPowerState::Halted);
const PAUSE: Step = Step::Power(PowerChange::Pause, VmPowerState::Paused);
const SUSPEND: Step = Step::Power(PowerChange::Suspend, VmPowerState::Suspended);

const fn verb(name: &'static str, prepare: &'static [Step], act: Step) -> Verb {
    Verb { name, prepare, act }
}

/// All of them.
pub static VERBS: &[Verb] = &[
    verb("spawn", &[], Step::Spawn),
    verb("spawn-lvm", &[], Step::SpawnOnLvm),
    verb("spawn-set-up", &[], Step::SpawnSetUp),
    verb("spawn-dom0", &[], Step::SpawnViaDom0),
    verb("spawn-disc", &[], Step::SpawnFromDisc),
    verb("destroy", &[Step::Spawn], Step::Destroy),
    verb("snapshot", &[Step::Spawn], Step::Snapshot),
    verb("cache-image", &[], Step::CacheImage),
    verb("spawn-cloned", &[Step::CacheImage], Step::SpawnCached(Copying::Clone)),
    verb("spawn-copied", &[Step::CacheImage], Step::SpawnCached(Copying::Full)),
    verb("upload-chain", &[Step::CacheImage, Step::SpawnCached(Copying::Clone)], Step::Upload),
    verb("upload-all", &[Step::Spawn], Step::UploadAll),
    verb("backup", &[Step::Spawn], Step::Backup),
    verb("increment", &[Step::Spawn, Step::Backup], Step::Increment),
    verb("off", &[Step::Spawn], OFF),
    verb("off-clean", &[Step::Spawn], Step::Power(PowerChange::Off(CLEAN), VmPowerState::Halted)),
    verb("on", &[Step::Spawn, OFF], Step::Power(PowerChange::On, VmPowerState::Running)),
    verb("reboot", &[Step::Spawn], Step::Power(PowerChange::Reboot(CLEAN), VmPowerState::Running)),
    verb("pause", &[Step::Spawn], PAUSE),
    verb("unpause", &[Step::Spawn, PAUSE], Step::Power(PowerChange::Unpause, VmPowerState::Running)),
    verb("suspend", &[Step::Spawn], SUSPEND),
    verb("resume", &[Step::Spawn, SUSPEND], Step::Power(PowerChange::Resume, VmPowerState::Running)),
    verb("soft-delete", &[Step::Spawn], Step::SoftDelete),
    verb("restore", &[Step::Spawn, Step::SoftDelete], Step::Restore),
    verb("resize", &[Step::Spawn], Step::Resize),
    verb("confirm-resize", &[Step::Spawn, Step::Resize], Step::ConfirmResize),
    verb("revert-resize", &[Step::Spawn, Step::Resize], Step::RevertResize),
    verb("resize-down", &[Step::SpawnSetUp], Step::Shrink),
    verb("attach-volume", &[Step::Spawn], Step::AttachVolume),
    verb("detach-volume", &[Step::Spawn, Step::AttachVolume], Step::DetachVolume),
    verb("destroy-volume", &[Step::Spawn, Step::AttachVolume], Step::Destroy),
    verb("swap-volume", &[Step::Spawn, Step::AttachVolume], Step::SwapVolume),
    verb("spawn-volume", &[], Step::SpawnFromVolume),
    verb("rescue", &[Step::Spawn], Step::Rescue),
    verb("unrescue", &[Step::Spawn, Step::Rescue], Step::Unrescue),
    verb("rebuild", &[Step::Spawn], Step::Rebuild),
    verb("live-migrate", &[Step::Spawn], Step::LiveMigrate),
    verb("move-to-pool", &[Step::Spawn], Step::MoveToPool),
    verb("evacuate", &[Step::SpawnOnShared, Step::LoseHost], Step::Evacuate),
    verb("reconcile", &[Step::LeaveSpawn], Step::Reconcile),
    verb("attach-nic", &[Step::Spawn], Step::AttachInterface),
    verb("detach-nic", &[Step::Spawn, Step::AttachInterface], Step::DetachInterface),
    verb("make-network", &[], Step::EnsureNetwork),
    verb("remove-network", &[Step::EnsureNetwork], Step::RemoveNetwork),
];

impl Verb {
    /// Whether it takes the plugins of dom0.
    pub fn needs_dom0(&self) -> bool {
        matches!(self.act, Step::SpawnSetUp | Step::Shrink | Step::SpawnViaDom0)
    }

    /// How many hosts it takes.
    pub fn hosts(&self) -> usize {
        if matches!(self.act, Step::LiveMigrate | Step::Evacuate) { 2 } else { 1 }
    }
}

impl Step {
    /// Does it.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub async fn run(&self, scene: &Scene) -> Result<()> {
        let driver = &scene.pool.driver;
        let progress = Progress::none;
        match self {
            // The scene's driver writes to disks in the way that the step is called after.
            Self::Spawn | Self::SpawnViaDom0 => spawn(scene, SrChoice::default()).await,
            Self::SpawnOnLvm => spawn(scene, SrChoice::NameLabel(LVM.into())).await,
            Self::SpawnOnShared => spawn(scene, SrChoice::NameLabel(SHARED.into())).await,
            Self::SpawnFromDisc => spawn_from_disc(scene).await,
            Self::SpawnSetUp => spawn_set_up(scene).await,
            Self::SpawnCached(copying) => spawn_cached(scene, *copying).await,
            Self::SpawnFromVolume => spawn_from_volume(scene).await,
            Self::LeaveSpawn => leave_spawn(scene).await,
            Self::LoseHost => {
                scene.lose_host(scene.home);
                Ok(())
            }
            Self::Destroy => driver.destroy(scene.which(), progress()).await.map(drop),
            Self::Snapshot => {
                let path = scene.output();
                driver.snapshot(scene.which(), path, Existing::Refuse, progress()).await.map(drop)
            }
            Self::CacheImage => {
                let request = CacheRequest::new(IMAGE_ID, scene.image());
                driver.cache_image(request, progress()).await.map(drop)
            }
            Self::Upload => upload(scene).await,
            Self::UploadAll => upload_all(scene).await,
            Self::Backup => backup(scene).await,
            Self::Increment => increment(scene).await,
            Self::Power(change, _) => driver.power(scene.which(), *change, progress()).await.map(drop),
            Self::SoftDelete => driver.soft_delete(scene.which(), progress()).await,
            Self::Restore => driver.restore(scene.which(), progress()).await,
            Self::Resize => resize(scene).await,
            Self::Shrink => shrink(scene).await,
            Self::ConfirmResize => driver.confirm_resize(scene.which(), progress()).await,
            Self::RevertResize => driver.revert_resize(scene.which(), progress()).await,
            Self::AttachVolume => attach_volume(scene).await,
            Self::DetachVolume => {
                driver.detach_volume(scene.which(), scene::VOLUME, progress()).await.map(drop)
            }
            Self::SwapVolume => swap_volume(scene).await,
            Self::Rescue => driver.rescue(scene.which(), RescueOptions::with(scene.image())).await.map(drop),
            Self::Unrescue => driver.unrescue(scene.which(), progress()).await.map(drop),
            Self::Rebuild => {
                driver.rebuild(scene.which(), RebuildOptions::with(scene.image())).await.map(drop)
            }
            Self::LiveMigrate => live_migrate(scene).await,
            Self::MoveToPool => move_to_pool(scene).await,
            Self::Evacuate => {
                let (node, _) = scene.elsewhere.expect("a pool of two hosts");
                driver.evacuate(scene.which(), node, progress()).await
            }
            Self::Reconcile => reconcile(scene).await,
            Self::AttachInterface => attach_interface(scene).await,
            Self::DetachInterface => driver.detach_interface(scene.which(), MAC, progress()).await.map(drop),
            Self::EnsureNetwork => ensure_network(scene).await,
            Self::RemoveNetwork => driver.remove_network(TENANT, progress()).await,
        }
    }

    /// What takes it back.
    pub fn inverse(&self) -> Option<Self> {
        match self {
            Self::AttachVolume => Some(Self::DetachVolume),
            Self::Resize | Self::Shrink => Some(Self::RevertResize),
            Self::Rescue => Some(Self::Unrescue),
            Self::AttachInterface => Some(Self::DetachInterface),
            Self::EnsureNetwork => Some(Self::RemoveNetwork),
            _ => None,
        }
    }
}

/// The id of the cached image.
const IMAGE_ID: &str = "image-1";
/// The file of the full backup.
pub(crate) const FULL: &str = "full.vhd";

fn file(path: std::path::PathBuf) -> Arc<dyn ImageSink> {
    Arc::new(FileSink::new(path))
}

/// The instance of the scene, where it belongs.
fn spec(scene: &Scene, flavor: Flavor, image: impl Into<RootImage>) -> InstanceSpec {
    let mut spec = InstanceSpec::new("web1", flavor, image);
    (spec.uuid, spec.node) = (scene.instance, Some(scene.home));
    spec
}

async fn spawn(scene: &Scene, sr: SrChoice) -> Result<()> {
    let mut spec = spec(scene, Flavor::new(1, 512, 0), scene.image());
    spec.nics = vec![Nic::on(NETWORK)];
    spec.config_drive = Some(ConfigDrive::default());
    spec.sr = sr;
    let options = SpawnOptions { checks: Checks::AllDisks, ..SpawnOptions::default() };
    scene.pool.driver.spawn(spec, options).await.map(drop)
}

async fn spawn_from_disc(scene: &Scene) -> Result<()> {
    let spec = spec(scene, Flavor::new(1, 512, 1), scene.disc());
    let options = SpawnOptions { checks: Checks::AllDisks, ..SpawnOptions::default() };
    let spec = InstanceSpec { image_use: ImageUse::Disc, ..spec };
    scene.pool.driver.spawn(spec, options).await.map(drop)
}

async fn spawn_set_up(scene: &Scene) -> Result<()> {
    let spec = spec(scene, Flavor { swap_mib: 16, ..Flavor::new(1, 512, 2) }, scene.image());
    let disk_setup = DiskSetup { grow: Grow::Require, format_swap: true, ..DiskSetup::default() };
    scene.pool.spawn(InstanceSpec { disk_setup, ..spec }).await.map(drop)
}

async fn spawn_cached(scene: &Scene, copying: Copying) -> Result<()> {
    let image = scene.pool.driver.cached_images().await?.pop().expect("it was cached");
    let spec = spec(scene, Flavor::new(1, 512, 0), RootImage::Cached(image, copying));
    scene.pool.spawn(spec).await.map(drop)
}

/// On any host: the volume is on none yet.
async fn spawn_from_volume(scene: &Scene) -> Result<()> {
    let spec = spec(scene, Flavor::new(1, 512, 0), scene::volume());
    scene.pool.spawn(InstanceSpec { node: None, ..spec }).await.map(drop)
}

async fn leave_spawn(scene: &Scene) -> Result<()> {
    scene.refuse(&["VM.start_on", "VM.destroy", "VDI.destroy", "VBD.destroy", "VIF.destroy"]);
    let failed = spawn(scene, SrChoice::default()).await;
    scene.faults().clear();
    assert!(failed.is_err_and(|error| !error.leftovers().is_empty()), "something is left");
    Ok(())
}

async fn upload(scene: &Scene) -> Result<()> {
    let options = UploadOptions { format: UploadFormat::VhdChain, ..UploadOptions::default() };
    scene.pool.driver.upload(scene.which(), file(scene.output()), options).await.map(drop)
}

async fn upload_all(scene: &Scene) -> Result<()> {
    let output = scene.output();
    let sinks = move |disk: &InstanceDisk| {
        // The root disk's has the name that the others look for.
        let name = if disk.userdevice == "0" { output.clone() } else { output.with_extension("cd") };
        Some(file(name))
    };
    let options = UploadOptions { format: UploadFormat::Vhd, ..UploadOptions::default() };
    scene.pool.driver.upload_disks(scene.which(), sinks, options).await.map(drop)
}

async fn backup(scene: &Scene) -> Result<()> {
    let path = scene.output().with_file_name(FULL);
    scene.pool.driver.backup(scene.which(), path, BackupOptions::default()).await.map(drop)
}

async fn increment(scene: &Scene) -> Result<()> {
    let base = Some(scene.output().with_file_name(FULL));
    let options = BackupOptions { base, ..BackupOptions::default() };
    let backup = scene.pool.driver.backup(scene.which(), scene.output(), options).await?;
    scene.note_leftovers(backup.leftovers.len());
    Ok(())
}

async fn resize(scene: &Scene) -> Result<()> {
    let options = ResizeOptions {
        flavor: Some(Flavor::new(2, 1024, 1)),
        sr: Some(SrChoice::NameLabel(LVM.into())),
        shutdown: Shutdown::Hard,
        ..ResizeOptions::default()
    };
    scene.pool.driver.resize(scene.which(), options).await.map(drop)
}

async fn shrink(scene: &Scene) -> Result<()> {
    let flavor = Some(Flavor { swap_mib: 16, ..Flavor::new(1, 512, 1) });
    let options = ResizeOptions { flavor, shutdown: Shutdown::Hard, ..ResizeOptions::default() };
    scene.pool.driver.resize(scene.which(), options).await.map(drop)
}

async fn attach_volume(scene: &Scene) -> Result<()> {
    let options = AttachOptions::default();
    scene.pool.driver.attach_volume(scene.which(), scene::volume(), options).await.map(drop)
}

async fn swap_volume(scene: &Scene) -> Result<()> {
    let (old, new) = (scene::VOLUME, scene::other_volume());
    scene.pool.driver.swap_volume(scene.which(), old, new, Progress::none()).await.map(drop)
}

async fn live_migrate(scene: &Scene) -> Result<()> {
    let (node, sr) = scene.elsewhere.expect("a pool of two hosts");
    let options = MigrateOptions { sr: Some(SrChoice::Uuid(sr.to_string())), ..MigrateOptions::to(node) };
    scene.pool.driver.live_migrate(scene.which(), options).await.map(drop)
}

async fn move_to_pool(scene: &Scene) -> Result<()> {
    let (there, _) = scene.there.as_ref().expect("another pool");
    let options = PoolMigrateOptions::default();
    scene.pool.driver.migrate_to_pool(scene.which(), &there.driver, options).await.map(drop)
}

async fn reconcile(scene: &Scene) -> Result<()> {
    let options = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
    let done = scene.pool.driver.reconcile(options).await?;
    scene.note_leftovers(done.leftovers.len());
    Ok(())
}

async fn attach_interface(scene: &Scene) -> Result<()> {
    let mac = MacChoice::Given(MAC.parse().expect("an address"));
    let nic = Nic { mac, ..Nic::on(NETWORK) };
    scene.pool.driver.attach_interface(scene.which(), nic, Progress::none()).await.map(drop)
}

async fn ensure_network(scene: &Scene) -> Result<()> {
    let vlan = Some(Vlan { over: NETWORK.into(), tag: 100 });
    let spec = NetworkSpec { name: TENANT.into(), mtu: Some(1450), vlan };
    scene.pool.driver.ensure_network(spec, Progress::none()).await.map(drop)
}

/// Whether a file is a whole VHD.
pub(crate) fn is_whole_vhd(path: &std::path::Path) -> std::io::Result<bool> {
    let len = File::open(path)?.metadata()?.len();
    let bytes = std::fs::read(path)?;
    Ok(len > 1024 && bytes.starts_with(b"conectix") && bytes[bytes.len() - 512..] == bytes[..512])
}
