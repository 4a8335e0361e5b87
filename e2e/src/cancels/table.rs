//! Each verb of the facade, and what is there after it was cancelled.

use super::extra::{self, Act};
use crate::sweep::verb::{CLEAN, HARD, OFF, PAUSE, SUSPEND, Step, Verb};
use xenapi_driver::PowerChange::{Off, On, Pause, Reboot, Resume, Suspend, Unpause};
use xenapi_driver::image_cache::Copying;
use xenapi_types::VmPowerState::{Halted, Paused, Running, Suspended};

/// What is there after a verb was cancelled that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// What was there before.
    Before,
    /// That, or a part of what was to be done: doing it once more does the rest.
    Between,
}

/// A verb in a situation.
pub struct Row {
    /// The method of the driver.
    pub verb: &'static str,
    /// What is called so where it goes wrong.
    pub name: &'static str,
    /// Its pool, and what is done if there is no act of its own.
    pub scene: Verb,
    /// What else is done before.
    pub(super) prepare: &'static [Act],
    /// What is done instead of what the scene says.
    pub(super) act: Option<Act>,
    /// What is there afterwards.
    pub after: After,
}

const fn row(
    verb: &'static str,
    name: &'static str,
    prepare: &'static [Step],
    act: Step,
    after: After,
) -> Row {
    Row { verb, name, scene: Verb { name, prepare, act }, prepare: &[], act: None, after }
}

/// Of what the sweep has no step for.
const fn more(
    name: &'static str,
    prepare: &'static [Step],
    like: Step,
    ready: &'static [Act],
    act: Act,
    after: After,
) -> Row {
    let scene = Verb { name, prepare, act: like };
    Row { verb: name, name, scene, prepare: ready, act: Some(act), after }
}

use After::{Before, Between};
use Step::Spawn;

/// All of them.
pub static TABLE: &[Row] = &[
    row("spawn", "spawn", &[], Spawn, Before),
    row("spawn", "spawn from a volume", &[], Step::SpawnFromVolume, Before),
    row("spawn", "spawn from the cache", &[Step::CacheImage], Step::SpawnCached(Copying::Clone), Before),
    row("destroy", "destroy", &[Spawn], Step::Destroy, Between),
    row("destroy", "destroy with a volume", &[Spawn, Step::AttachVolume], Step::Destroy, Between),
    row("adopt", "adopt", &[Step::MakeTheirs], Step::Adopt, Before),
    row("rebuild", "rebuild", &[Spawn], Step::Rebuild, Before),
    row("evacuate", "evacuate", &[Step::SpawnOnShared, Step::LoseHost], Step::Evacuate, Between),
    row("power", "off", &[Spawn], OFF, Between),
    row("power", "off, cleanly", &[Spawn], Step::Power(Off(CLEAN), Halted), Between),
    row("power", "on", &[Spawn, OFF], Step::Power(On, Running), Between),
    row("power", "reboot", &[Spawn], Step::Power(Reboot(HARD), Running), Between),
    row("power", "reboot, cleanly", &[Spawn], Step::Power(Reboot(CLEAN), Running), Between),
    row("power", "pause", &[Spawn], Step::Power(Pause, Paused), Between),
    row("power", "unpause", &[Spawn, PAUSE], Step::Power(Unpause, Running), Between),
    row("power", "suspend", &[Spawn], Step::Power(Suspend, Suspended), Between),
    row("power", "resume", &[Spawn, SUSPEND], Step::Power(Resume, Running), Between),
    more("resume_guests", &[Spawn, OFF], Spawn, &[], extra::resume_guests, Between),
    row("soft_delete", "soft-delete", &[Spawn], Step::SoftDelete, Before),
    row("restore", "restore", &[Spawn, Step::SoftDelete], Step::Restore, Before),
    row("snapshot", "snapshot", &[Spawn], Step::Snapshot, Before),
    row("upload", "upload", &[Step::CacheImage, Step::SpawnCached(Copying::Clone)], Step::Upload, Before),
    row("upload_disks", "upload of all disks", &[Spawn], Step::UploadAll, Between),
    row("backup", "backup", &[Spawn], Step::Backup, Before),
    row("backup", "increment", &[Spawn, Step::Backup], Step::Increment, Before),
    row("rescue", "rescue", &[Spawn], Step::Rescue, Before),
    row("unrescue", "unrescue", &[Spawn, Step::Rescue], Step::Unrescue, Before),
    row("resize", "resize", &[Spawn], Step::Resize, Before),
    row("resize", "cold migration", &[Spawn], Step::MoveCold, Before),
    row("confirm_resize", "confirm", &[Spawn, Step::Resize], Step::ConfirmResize, Before),
    row("revert_resize", "revert", &[Spawn, Step::Resize], Step::RevertResize, Before),
    row("live_migrate", "live migration", &[Spawn], Step::LiveMigrate, Before),
    row("migrate_to_pool", "migration to a pool", &[Spawn], Step::MoveToPool, Before),
    more("move_to_pool", &[Spawn], Step::MoveToPool, &[], extra::move_to_pool, Before),
    more("confirm_move", &[Spawn], Step::MoveToPool, &[extra::move_to_pool], extra::confirm_move, Before),
    more("revert_move", &[Spawn], Step::MoveToPool, &[extra::move_to_pool], extra::revert_move, Before),
    row("attach_volume", "attach", &[Spawn], Step::AttachVolume, Before),
    row("detach_volume", "detach", &[Spawn, Step::AttachVolume], Step::DetachVolume, Before),
    row("swap_volume", "swap", &[Spawn, Step::AttachVolume], Step::SwapVolume, Before),
    more("extend_volume", &[Spawn, Step::AttachVolume], Spawn, &[], extra::extend_volume, Before),
    more("check_volumes", &[Spawn, Step::AttachVolume], Spawn, &[], extra::check_volumes, Before),
    row("attach_interface", "plug", &[Spawn], Step::AttachInterface, Before),
    row("detach_interface", "unplug", &[Spawn, Step::AttachInterface], Step::DetachInterface, Before),
    more("lock_interface", &[Spawn], Spawn, &[], extra::lock_interface, Before),
    more("tell_network", &[Spawn], Spawn, &[], extra::tell_network, Before),
    more("change_metadata", &[Spawn], Spawn, &[], extra::change_metadata, Before),
    more("check_config_drive", &[Spawn], Spawn, &[], extra::check_config_drive, Before),
    row("ensure_network", "network", &[], Step::EnsureNetwork, Before),
    row("remove_network", "network gone", &[Step::EnsureNetwork], Step::RemoveNetwork, Before),
    row("plug_port", "port", &[Step::SpawnForPort], Step::PlugPort, Before),
    row("unplug_port", "port gone", &[Step::SpawnForPort, Step::PlugPort], Step::UnplugPort, Between),
    row("import_disk", "import", &[], Step::ImportDisk, Before),
    row("export_disk", "export", &[Step::ImportDisk], Step::ExportDisk, Before),
    row("cache_image", "cache", &[], Step::CacheImage, Before),
    more("root_image", &[], Step::CacheImage, &[], extra::root_image, Before),
    more("evict_images", &[Step::CacheImage], Spawn, &[], extra::evict_images, Between),
    row("drain_node", "drain", &[Step::SpawnOnShared], Step::Drain, Between),
    more("set_node_enabled", &[], Step::LiveMigrate, &[], extra::disable, Before),
    row("reconcile", "reconcile", &[Step::LeaveSpawn], Step::Reconcile, Between),
];
