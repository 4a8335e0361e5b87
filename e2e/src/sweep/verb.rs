//! The verbs, and what each needs.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use image_store::{FileSink, ImageSink};
use xenapi_driver::backup::BackupOptions;
use xenapi_driver::evacuate::EvacuateOptions;
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
    Checks, Existing, ImportVia, InstanceDisk, Otherwise, PowerChange, Result, Settings, Shutdown,
    SpawnOptions,
};
use xenapi_types::VmPowerState;

use crate::cancels::extra;
use crate::pool::{LVM, NETWORK};
use crate::sweep::beside;
use crate::sweep::scene::{self, SHARED, Scene};
use crate::sweep::site::Site;

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
    /// Makes a disk of an image, for no instance.
    ImportDisk,
    /// Writes it to a file.
    ExportDisk,
    /// Spawns with an interface for one of Nova's ports.
    SpawnForPort,
    /// As that, the driver connecting it to the integration bridge.
    SpawnOnBridge,
    /// Adds an interface for one of Nova's ports, the driver connecting it.
    AttachPort,
    /// Removes it.
    DetachPort,
    /// Connects it.
    PlugPort,
    /// Takes that down.
    UnplugPort,
    /// Brings it down, and up on the other host, where its disks are copied to.
    MoveCold,
    /// Moves it off its host, which takes no new ones.
    Drain,
    /// Takes over a VM that no driver made.
    Adopt,
    /// Has a volume as large as it has become.
    ExtendVolume,
    /// Brings up what a host that was started anew is to run.
    ResumeGuests,
    /// Lets nothing through an interface.
    LockInterface,
    /// Writes to an instance's metadata.
    ChangeMetadata,
    /// Removes what is in the cache.
    EvictImages,
    /// Has the other host take no guests.
    DisableNode,
    /// Has it take guests again.
    EnableNode,
    /// Not the driver's: somebody makes a VM.
    MakeTheirs,
    /// Not the driver's: the instance's host dies.
    LoseHost,
    /// A spawn fails, and nothing of it can be undone.
    LeaveSpawn,
}

/// The address of the added interface.
const MAC: &str = "02:00:00:00:11:22";
/// The name of the network that is made.
const TENANT: &str = "tenant";

pub(crate) const CLEAN: Shutdown =
    Shutdown::Clean { timeout: Duration::from_secs(5), otherwise: Otherwise::Hard };
pub(crate) const HARD: Shutdown = Shutdown::Hard;
pub(crate) const OFF: Step = Step::Power(PowerChange::Off(Shutdown::Hard), VmPowerState::Halted);
pub(crate) const PAUSE: Step = Step::Power(PowerChange::Pause, VmPowerState::Paused);
pub(crate) const SUSPEND: Step = Step::Power(PowerChange::Suspend, VmPowerState::Suspended);

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
    verb("import-disk", &[], Step::ImportDisk),
    verb("export-disk", &[Step::ImportDisk], Step::ExportDisk),
    verb("spawn-bridge", &[], Step::SpawnOnBridge),
    verb("destroy-bridge", &[Step::SpawnOnBridge], Step::Destroy),
    verb("migrate-bridge", &[Step::SpawnOnBridge], Step::LiveMigrate),
    verb("attach-bridge", &[Step::Spawn], Step::AttachPort),
    verb("detach-bridge", &[Step::Spawn, Step::AttachPort], Step::DetachPort),
    verb("plug-port", &[Step::SpawnForPort], Step::PlugPort),
    verb("unplug-port", &[Step::SpawnForPort, Step::PlugPort], Step::UnplugPort),
    verb("move-cold", &[Step::Spawn], Step::MoveCold),
    verb("confirm-move", &[Step::Spawn, Step::MoveCold], Step::ConfirmResize),
    verb("revert-move", &[Step::Spawn, Step::MoveCold], Step::RevertResize),
    verb("drain", &[Step::SpawnOnShared], Step::Drain),
    verb("adopt", &[Step::MakeTheirs], Step::Adopt),
    verb("extend-volume", &[Step::Spawn, Step::AttachVolume], Step::ExtendVolume),
    verb("resume-guests", &[Step::Spawn, OFF], Step::ResumeGuests),
    verb("lock-nic", &[Step::Spawn], Step::LockInterface),
    verb("metadata", &[Step::Spawn], Step::ChangeMetadata),
    verb("evict-images", &[Step::CacheImage], Step::EvictImages),
    verb("disable-node", &[], Step::DisableNode),
    verb("enable-node", &[Step::DisableNode], Step::EnableNode),
];

/// The verbs of these names, all of them where there are none, and the names of those that are skipped: the chosen ones
/// that take the plugins of dom0 where dom0 cannot be played.
///
/// # Errors
///
/// When no verb is called so.
pub fn chosen(names: &[String], dom0: bool) -> anyhow::Result<(Vec<&'static Verb>, Vec<&'static str>)> {
    if let Some(unknown) = names.iter().find(|name| VERBS.iter().all(|verb| verb.name != **name)) {
        let all: Vec<_> = VERBS.iter().map(|verb| verb.name).collect();
        bail!("no verb is called {unknown:?}; there are {}", all.join(", "));
    }
    let wanted = |verb: &&Verb| names.is_empty() || names.iter().any(|name| name == verb.name);
    let (skipped, chosen): (Vec<_>, Vec<_>) =
        VERBS.iter().filter(wanted).partition(|verb| verb.needs_dom0() && !dom0);
    Ok((chosen, skipped.into_iter().map(|verb| verb.name).collect()))
}

impl Verb {
    /// Whether it takes the plugins of dom0.
    pub fn needs_dom0(&self) -> bool {
        matches!(self.act, Step::SpawnSetUp | Step::Shrink | Step::SpawnViaDom0)
    }

    /// Whether the plugins of dom0 make a file system larger or smaller.
    pub(super) fn resizes_file_systems(&self) -> bool {
        self.has(&Step::SpawnSetUp)
    }

    /// How the driver behaves for it.
    pub fn settings(&self, usual: Settings) -> Settings {
        if self.act == Step::SpawnViaDom0 {
            return Settings { import_via: ImportVia::Dom0, ..usual };
        }
        if self.has(&Step::SpawnOnBridge) || self.has(&Step::AttachPort) {
            return Settings { integration_bridge: Some(beside::BRIDGE.into()), ..usual };
        }
        usual
    }

    /// How many hosts it takes.
    pub fn hosts(&self) -> usize {
        let two = [Step::LiveMigrate, Step::Evacuate, Step::MoveCold, Step::Drain, Step::DisableNode];
        if two.iter().any(|step| self.has(step)) { 2 } else { 1 }
    }

    /// Whether it takes a control domain with Nova's ports.
    pub fn has_ports(&self) -> bool {
        [Step::SpawnForPort, Step::SpawnOnBridge, Step::AttachPort].iter().any(|step| self.has(step))
    }

    fn has(&self, step: &Step) -> bool {
        self.act == *step || self.prepare.contains(step)
    }
}

impl Step {
    /// Does it.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub async fn run(&self, scene: &Scene) -> Result<()> {
        match self {
            Self::LeaveSpawn => leave_spawn(scene).await,
            Self::LoseHost => {
                scene.lose_host(scene.home);
                Ok(())
            }
            Self::MakeTheirs => {
                beside::make_theirs(scene).await.expect("nothing stands in the way yet");
                Ok(())
            }
            _ => self.at(&scene.site()).await,
        }
    }

    /// As [`Step::run`], of what takes no more than drivers.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Panics
    ///
    /// When it takes more.
    pub async fn at(&self, site: &Site) -> Result<()> {
        let driver = &site.driver;
        let progress = || site.progress();
        match self {
            // The scene's driver writes to disks in the way that the step is called after.
            Self::Spawn | Self::SpawnViaDom0 => spawn(site, SrChoice::default()).await,
            Self::SpawnOnLvm => spawn(site, SrChoice::NameLabel(LVM.into())).await,
            Self::SpawnOnShared => spawn(site, SrChoice::NameLabel(SHARED.into())).await,
            Self::SpawnFromDisc => spawn_from_disc(site).await,
            Self::SpawnSetUp => spawn_set_up(site).await,
            Self::SpawnCached(copying) => spawn_cached(site, *copying).await,
            Self::SpawnFromVolume => spawn_from_volume(site).await,
            Self::LeaveSpawn | Self::LoseHost | Self::MakeTheirs => unreachable!("it is done to the pool"),
            Self::Destroy => site.run(driver.destroy(site.which(), progress())).await.map(drop),
            Self::Snapshot => {
                let path = site.output();
                site.run(driver.snapshot(site.which(), path, Existing::Refuse, progress())).await.map(drop)
            }
            Self::CacheImage => {
                let request = CacheRequest::new(IMAGE_ID, site.image());
                site.run(driver.cache_image(request, progress())).await.map(drop)
            }
            Self::Upload => upload(site).await,
            Self::UploadAll => upload_all(site).await,
            Self::Backup => backup(site).await,
            Self::Increment => increment(site).await,
            Self::Power(change, _) => {
                site.run(driver.power(site.which(), *change, progress())).await.map(drop)
            }
            Self::SoftDelete => site.run(driver.soft_delete(site.which(), progress())).await,
            Self::Restore => site.run(driver.restore(site.which(), progress())).await,
            Self::Resize => resize(site).await,
            Self::Shrink => shrink(site).await,
            Self::ConfirmResize => site.run(driver.confirm_resize(site.which(), progress())).await.map(drop),
            Self::RevertResize => site.run(driver.revert_resize(site.which(), progress())).await,
            Self::AttachVolume => attach_volume(site).await,
            Self::DetachVolume => {
                site.run(driver.detach_volume(site.which(), scene::VOLUME, progress())).await.map(drop)
            }
            Self::SwapVolume => swap_volume(site).await,
            Self::Rescue => {
                site.run(driver.rescue(
                    site.which(),
                    RescueOptions { progress: progress(), ..RescueOptions::with(site.image()) },
                ))
                .await
            }
            Self::Unrescue => site.run(driver.unrescue(site.which(), progress())).await.map(drop),
            Self::Rebuild => site
                .run(driver.rebuild(
                    site.which(),
                    RebuildOptions { progress: progress(), ..RebuildOptions::with(site.image()) },
                ))
                .await
                .map(drop),
            Self::LiveMigrate => live_migrate(site).await,
            Self::MoveToPool => move_to_pool(site).await,
            Self::Evacuate => {
                let (node, _) = site.elsewhere();
                let options = EvacuateOptions { progress: progress(), ..EvacuateOptions::to(node) };
                site.run(driver.evacuate(site.which(), options)).await
            }
            Self::Reconcile => reconcile(site).await,
            Self::AttachInterface => attach_interface(site).await,
            Self::DetachInterface => {
                site.run(driver.detach_interface(site.which(), MAC, progress())).await.map(drop)
            }
            Self::EnsureNetwork => ensure_network(site).await,
            Self::RemoveNetwork => site.run(driver.remove_network(TENANT, progress())).await,
            Self::ImportDisk => beside::import_disk(site).await,
            Self::ExportDisk => beside::export_disk(site).await,
            Self::SpawnForPort | Self::SpawnOnBridge => beside::spawn_for_port(site).await,
            Self::AttachPort => beside::attach_port(site).await,
            Self::DetachPort => beside::detach_port(site).await,
            Self::PlugPort => beside::plug_port(site).await,
            Self::UnplugPort => beside::unplug_port(site).await,
            Self::MoveCold => move_cold(site).await,
            Self::Drain => beside::drain(site).await,
            Self::Adopt => beside::adopt(site).await,
            Self::ExtendVolume => extra::extend_volume(site).await,
            Self::ResumeGuests => extra::resume_guests(site).await,
            Self::LockInterface => extra::lock_interface(site).await,
            Self::ChangeMetadata => extra::change_metadata(site).await,
            Self::EvictImages => extra::evict_images(site).await,
            Self::DisableNode => extra::disable(site).await,
            Self::EnableNode => extra::enable(site).await,
        }
    }

    /// The method of the driver that does it; none of what is done to the pool.
    pub fn method(&self) -> Option<&'static str> {
        Some(match self {
            Self::Spawn
            | Self::SpawnOnLvm
            | Self::SpawnOnShared
            | Self::SpawnSetUp
            | Self::SpawnViaDom0
            | Self::SpawnFromDisc
            | Self::SpawnCached(_)
            | Self::SpawnFromVolume
            | Self::SpawnForPort
            | Self::SpawnOnBridge
            | Self::LeaveSpawn => "spawn",
            Self::Destroy => "destroy",
            Self::Snapshot => "snapshot",
            Self::CacheImage => "cache_image",
            Self::Upload => "upload",
            Self::UploadAll => "upload_disks",
            Self::Backup | Self::Increment => "backup",
            Self::Power(..) => "power",
            Self::SoftDelete => "soft_delete",
            Self::Restore => "restore",
            Self::Resize | Self::Shrink | Self::MoveCold => "resize",
            Self::ConfirmResize => "confirm_resize",
            Self::RevertResize => "revert_resize",
            Self::AttachVolume => "attach_volume",
            Self::DetachVolume => "detach_volume",
            Self::SwapVolume => "swap_volume",
            Self::Rescue => "rescue",
            Self::Unrescue => "unrescue",
            Self::Rebuild => "rebuild",
            Self::LiveMigrate => "live_migrate",
            Self::MoveToPool => "migrate_to_pool",
            Self::Evacuate => "evacuate",
            Self::Reconcile => "reconcile",
            Self::AttachInterface | Self::AttachPort => "attach_interface",
            Self::DetachInterface | Self::DetachPort => "detach_interface",
            Self::EnsureNetwork => "ensure_network",
            Self::RemoveNetwork => "remove_network",
            Self::ImportDisk => "import_disk",
            Self::ExportDisk => "export_disk",
            Self::PlugPort => "plug_port",
            Self::UnplugPort => "unplug_port",
            Self::Drain => "drain_node",
            Self::Adopt => "adopt",
            Self::ExtendVolume => "extend_volume",
            Self::ResumeGuests => "resume_guests",
            Self::LockInterface => "lock_interface",
            Self::ChangeMetadata => "change_metadata",
            Self::EvictImages => "evict_images",
            Self::DisableNode | Self::EnableNode => "set_node_enabled",
            Self::MakeTheirs | Self::LoseHost => return None,
        })
    }

    /// What takes it back.
    pub fn inverse(&self) -> Option<Self> {
        match self {
            Self::AttachVolume => Some(Self::DetachVolume),
            Self::Resize | Self::Shrink | Self::MoveCold => Some(Self::RevertResize),
            Self::Rescue => Some(Self::Unrescue),
            Self::AttachInterface => Some(Self::DetachInterface),
            Self::AttachPort => Some(Self::DetachPort),
            Self::EnsureNetwork => Some(Self::RemoveNetwork),
            Self::DisableNode => Some(Self::EnableNode),
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
fn spec(site: &Site, flavor: Flavor, image: impl Into<RootImage>) -> InstanceSpec {
    let mut spec = InstanceSpec::new("web1", flavor, image);
    (spec.uuid, spec.node) = (site.instance(), Some(site.home()));
    spec
}

async fn spawn(site: &Site, sr: SrChoice) -> Result<()> {
    let mut spec = spec(site, Flavor::new(1, 512, 0), site.image());
    spec.nics = vec![Nic::on(NETWORK)];
    spec.config_drive = Some(ConfigDrive::default());
    spec.sr = sr;
    let options = SpawnOptions { checks: Checks::AllDisks, ..SpawnOptions::default() };
    site.spawn_with(spec, options).await
}

async fn spawn_from_disc(site: &Site) -> Result<()> {
    let spec = spec(site, Flavor::new(1, 512, 1), site.disc());
    let options = SpawnOptions { checks: Checks::AllDisks, ..SpawnOptions::default() };
    let spec = InstanceSpec { image_use: ImageUse::Disc, ..spec };
    site.spawn_with(spec, options).await
}

async fn spawn_set_up(site: &Site) -> Result<()> {
    let spec = spec(site, Flavor { swap_mib: 16, ..Flavor::new(1, 512, 2) }, site.image());
    let disk_setup = DiskSetup { grow: Grow::Require, format_swap: true, ..DiskSetup::default() };
    site.spawn(InstanceSpec { disk_setup, ..spec }).await
}

async fn spawn_cached(site: &Site, copying: Copying) -> Result<()> {
    let image = site.driver.cached_images().await?.pop().expect("it was cached");
    let spec = spec(site, Flavor::new(1, 512, 0), RootImage::Cached(image, copying));
    site.spawn(spec).await
}

/// On any host, if there is one only: the volume is on none yet.
async fn spawn_from_volume(site: &Site) -> Result<()> {
    let spec = spec(site, Flavor::new(1, 512, 0), scene::volume());
    site.spawn(InstanceSpec { node: site.node(), ..spec }).await
}

async fn leave_spawn(scene: &Scene) -> Result<()> {
    scene.refuse(&["VM.start_on", "VM.destroy", "VDI.destroy", "VBD.destroy", "VIF.destroy"]);
    let failed = spawn(&scene.site(), SrChoice::default()).await;
    scene.faults().clear();
    assert!(failed.is_err_and(|error| !error.leftovers().is_empty()), "something is left");
    Ok(())
}

async fn upload(site: &Site) -> Result<()> {
    let options = UploadOptions {
        format: UploadFormat::VhdChain,
        progress: site.progress(),
        ..UploadOptions::default()
    };
    site.run(site.driver.upload(site.which(), file(site.output()), options)).await.map(drop)
}

async fn upload_all(site: &Site) -> Result<()> {
    let output = site.output();
    let sinks = move |disk: &InstanceDisk| {
        // The root disk's has the name that the others look for.
        let name = if disk.userdevice == "0" { output.clone() } else { output.with_extension("cd") };
        Some(file(name))
    };
    let options =
        UploadOptions { format: UploadFormat::Vhd, progress: site.progress(), ..UploadOptions::default() };
    site.run(site.driver.upload_disks(site.which(), sinks, options)).await.map(drop)
}

async fn backup(site: &Site) -> Result<()> {
    let path = site.output().with_file_name(FULL);
    let options = BackupOptions { progress: site.progress(), ..BackupOptions::default() };
    site.run(site.driver.backup(site.which(), path, options)).await.map(drop)
}

async fn increment(site: &Site) -> Result<()> {
    let base = Some(site.output().with_file_name(FULL));
    let options = BackupOptions { base, progress: site.progress(), ..BackupOptions::default() };
    let backup = site.run(site.driver.backup(site.which(), site.output(), options)).await?;
    site.note_leftovers(backup.leftovers.len());
    Ok(())
}

async fn resize(site: &Site) -> Result<()> {
    let options = ResizeOptions {
        flavor: Some(Flavor::new(2, 1024, 1)),
        sr: Some(SrChoice::NameLabel(LVM.into())),
        shutdown: Shutdown::Hard,
        progress: site.progress(),
        ..ResizeOptions::default()
    };
    site.run(site.driver.resize(site.which(), options)).await.map(drop)
}

async fn shrink(site: &Site) -> Result<()> {
    let flavor = Some(Flavor { swap_mib: 16, ..Flavor::new(1, 512, 1) });
    let options = ResizeOptions {
        flavor,
        shutdown: Shutdown::Hard,
        progress: site.progress(),
        ..ResizeOptions::default()
    };
    site.run(site.driver.resize(site.which(), options)).await.map(drop)
}

async fn attach_volume(site: &Site) -> Result<()> {
    let options = AttachOptions { progress: site.progress(), ..AttachOptions::default() };
    site.run(site.driver.attach_volume(site.which(), scene::volume(), options)).await.map(drop)
}

async fn swap_volume(site: &Site) -> Result<()> {
    let (old, new) = (scene::VOLUME, scene::other_volume());
    site.run(site.driver.swap_volume(site.which(), old, new, site.progress())).await.map(drop)
}

async fn live_migrate(site: &Site) -> Result<()> {
    let (node, sr) = site.elsewhere();
    let sr = Some(SrChoice::Uuid(sr.to_string()));
    let options = MigrateOptions { sr, progress: site.progress(), ..MigrateOptions::to(node) };
    site.run(site.driver.live_migrate(site.which(), options)).await.map(drop)
}

async fn move_cold(site: &Site) -> Result<()> {
    let (node, sr) = site.elsewhere();
    let sr = Some(SrChoice::Uuid(sr.to_string()));
    let options = ResizeOptions {
        node: Some(node),
        sr,
        shutdown: Shutdown::Hard,
        progress: site.progress(),
        ..ResizeOptions::default()
    };
    site.run(site.driver.resize(site.which(), options)).await.map(drop)
}

async fn move_to_pool(site: &Site) -> Result<()> {
    let there = site.there.as_ref().expect("another pool");
    let options = PoolMigrateOptions { progress: site.progress(), ..PoolMigrateOptions::default() };
    site.run(site.driver.migrate_to_pool(site.which(), there, options)).await.map(drop)
}

async fn reconcile(site: &Site) -> Result<()> {
    let options = ReconcileOptions {
        older_than: Duration::ZERO,
        progress: site.progress(),
        ..ReconcileOptions::default()
    };
    let done = site.run(site.driver.reconcile(options)).await?;
    site.note_leftovers(done.leftovers.len());
    Ok(())
}

async fn attach_interface(site: &Site) -> Result<()> {
    let mac = MacChoice::Given(MAC.parse().expect("an address"));
    let nic = Nic { mac, ..Nic::on(NETWORK) };
    site.run(site.driver.attach_interface(site.which(), nic, site.progress())).await.map(drop)
}

async fn ensure_network(site: &Site) -> Result<()> {
    let vlan = Some(Vlan { over: NETWORK.into(), tag: 100 });
    let spec = NetworkSpec { name: TENANT.into(), mtu: Some(1450), vlan };
    site.run(site.driver.ensure_network(spec, site.progress())).await.map(drop)
}

/// Whether a file is a whole VHD.
pub(crate) fn is_whole_vhd(path: &std::path::Path) -> std::io::Result<bool> {
    let len = File::open(path)?.metadata()?.len();
    let bytes = std::fs::read(path)?;
    Ok(len > 1024 && bytes.starts_with(b"conectix") && bytes[bytes.len() - 512..] == bytes[..512])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_dom0_is_skipped_where_there_is_none() {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let of = |all: &[&str], dom0| {
            let (verbs, skipped) = chosen(&names(all), dom0).expect("they are called so");
            (verbs.iter().map(|verb| verb.name).collect::<Vec<_>>(), skipped)
        };
        assert_eq!(of(&["spawn", "spawn-dom0"], true), (vec!["spawn", "spawn-dom0"], vec![]));
        assert_eq!(of(&["spawn", "spawn-dom0"], false), (vec!["spawn"], vec!["spawn-dom0"]));
        let (all, skipped) = of(&[], false);
        assert_eq!((all.len() + skipped.len(), skipped.len()), (VERBS.len(), 3));
        assert!(chosen(&names(&["swpan"]), true).is_err_and(|error| error.to_string().contains("swpan")));
    }
}
