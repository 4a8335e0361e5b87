//! The driver behind a trait: the verbs of a virtualisation driver as OpenStack Nova has them, where they make sense
//! outside of it.
//!
//! | Verb | In Nova | What it does | When it is cancelled | Dry run |
//! |---|---|---|---|---|
//! | [`spawn`](ComputeDriver::spawn) | `spawn`, `prepare_for_spawn`, `failed_spawn_cleanup`, `prepare_networks_before_block_device_mapping`, `clean_networks_preparation` | Makes an instance and starts it. | undone | steps |
//! | [`destroy`](ComputeDriver::destroy) | `destroy`, `cleanup`, `delete_instance_files` | Removes an instance with the disks made for it; what is gone already is no error. | the rest stays for the next call | steps |
//! | [`adopt`](ComputeDriver::adopt) | none; the old driver took any VM of the right name for its own | Takes a VM over that somebody else made, by writing our keys. | undone | steps |
//! | [`rebuild`](ComputeDriver::rebuild) | `rebuild` | Gives an instance a new root disk from an image. | undone | steps |
//! | [`evacuate`](ComputeDriver::evacuate) | `instance_on_disk`, `check_instance_shared_storage_local`, `check_instance_shared_storage_remote`, `check_instance_shared_storage_cleanup` | Starts an instance of a dead host on another one, if that reaches its disks. | before the start | steps |
//! | [`power`](ComputeDriver::power) | `power_on`, `power_off`, `reboot`, `poll_rebooting_instances`, `pause`, `unpause`, `suspend`, `resume` | Brings an instance into a power state; one that is there already is left alone. | ends the wait for the guest | steps |
//! | [`resume_guests`](ComputeDriver::resume_guests) | `resume_state_on_host_boot` | Has the guests of a host run after it was started. | stops between two, and ends the wait for one | steps |
//! | [`soft_delete`](ComputeDriver::soft_delete) | `soft_delete`, `set_bootable` | Switches an instance off and keeps it from being started. | until the note on the VM; then it finishes | steps |
//! | [`restore`](ComputeDriver::restore) | `restore`, `set_bootable` | Lets a soft-deleted instance be started again. | until the note on the VM; then it finishes | steps |
//! | [`snapshot`](ComputeDriver::snapshot) | `snapshot` | Streams a snapshot of the root disk to an image service, a server or a file. | undone | steps |
//! | [`rescue`](ComputeDriver::rescue) | `rescue` | Boots an instance from a rescue disk. | undone | steps |
//! | [`unrescue`](ComputeDriver::unrescue) | `unrescue` | Ends that. | until its point of no return, the note on the VM; then it finishes | steps |
//! | [`resize`](ComputeDriver::resize) | `migrate_disk_and_power_off`, `finish_migration` | Another size, host or repository, for an instance that is off while it changes. | undone | steps |
//! | [`confirm_resize`](ComputeDriver::confirm_resize) | `confirm_migration` | Keeps the new size. | until the note on the VM; then it finishes | steps |
//! | [`revert_resize`](ComputeDriver::revert_resize) | `finish_revert_migration` | Has all as it was before. | until the note on the VM; then it finishes | steps |
//! | [`live_migrate`](ComputeDriver::live_migrate) | `live_migration`, `pre_live_migration`, `post_live_migration`, `post_live_migration_at_source`, `post_live_migration_at_destination`, `rollback_live_migration_at_source`, `rollback_live_migration_at_destination`, `post_claim_migrate_data` | Moves a running instance to another host, with its disks where that is needed. | aborts it: live_migration_abort | steps |
//! | [`check_live_migration`](ComputeDriver::check_live_migration) | `check_can_live_migrate_destination`, `check_can_live_migrate_source`, `cleanup_live_migration_destination_check` | What a live migration would do, or why it cannot be. | drop it | reads only |
//! | [`migrate_to_pool`](ComputeDriver::migrate_to_pool) | `live_migration` | Moves an instance to another pool by XAPI, running or halted. | aborts it | steps |
//! | [`move_to_pool`](ComputeDriver::move_to_pool) | `migrate_disk_and_power_off`, `finish_migration` | Moves an instance to another pool with a way back. | reverts it | steps |
//! | [`confirm_move`](ComputeDriver::confirm_move) | `confirm_migration` | Keeps it there. | before it begins | steps |
//! | [`revert_move`](ComputeDriver::revert_move) | `finish_revert_migration` | Has it here as it was. | before it begins | steps |
//! | [`attach_volume`](ComputeDriver::attach_volume) | `attach_volume` | Attaches a volume, on storage that the pool may never have heard of. | undone | steps |
//! | [`detach_volume`](ComputeDriver::detach_volume) | `detach_volume` | Detaches a volume; its repository is forgotten when nobody uses it. | until the guest has let go of it | steps |
//! | [`swap_volume`](ComputeDriver::swap_volume) | `swap_volume` | Puts another volume, with the same content, in the place of one. | undone until the new one is plugged | steps |
//! | [`extend_volume`](ComputeDriver::extend_volume) | `extend_volume` | Makes a volume larger, or takes over the size of its LUN. | before it begins | steps |
//! | [`volumes`](ComputeDriver::volumes) | `get_all_volume_usage`, `block_stats` | The volumes of an instance; what they move is in `diagnostics`. | drop it | reads only |
//! | [`check_volumes`](ComputeDriver::check_volumes) | none; a check that the old driver ran by itself | Whether the storage of each volume answers. | ends the looks | steps |
//! | [`volume_connector`](ComputeDriver::volume_connector) | `get_volume_connector` | What a block storage service has to know of a host. | drop it | reads only |
//! | [`attach_interface`](ComputeDriver::attach_interface) | `attach_interface`, `plug_vifs` | Gives an instance an interface, also while it runs. | undone | steps |
//! | [`detach_interface`](ComputeDriver::detach_interface) | `detach_interface`, `unplug_vifs` | Takes one from it. | before it begins | steps |
//! | [`tell_network`](ComputeDriver::tell_network) | `inject_network_info` | Tells a guest of its interfaces and addresses, in xenstore. | before it begins | steps |
//! | [`change_metadata`](ComputeDriver::change_metadata) | `change_instance_metadata` | Changes what a guest finds of its metadata, also while it runs. | before it begins | steps |
//! | [`set_admin_password`](ComputeDriver::set_admin_password) | `set_admin_password` | Has the agent in a guest set the password. | ends the wait for the guest | steps |
//! | [`inject_file`](ComputeDriver::inject_file) | `inject_file` | Has the agent write a file. | ends the wait for the guest | steps |
//! | [`reset_network`](ComputeDriver::reset_network) | `reset_network` | Has the agent configure the network anew. | ends the wait for the guest | steps |
//! | [`list_instances`](ComputeDriver::list_instances) | `list_instances`, `list_instance_uuids`, `get_num_instances`, `get_per_instance_usage` | The instances of this owner, halted ones too. | drop it | reads only |
//! | [`get_info`](ComputeDriver::get_info) | `get_info`, `instance_exists` | One of them. | drop it | reads only |
//! | [`console_log`](ComputeDriver::console_log) | `get_console_output` | What a guest wrote to its first console. | drop it | needs the plugin, whose name reads |
//! | [`console`](ComputeDriver::console) | `get_vnc_console`, `get_serial_console`, `get_console_pool_info` | The screen or the terminal of a guest, with a session of its own. | drop it | reads only |
//! | [`diagnostics`](ComputeDriver::diagnostics) | `get_diagnostics`, `get_instance_diagnostics` | What a host measures of an instance. | drop it | reads only |
//! | [`traffic`](ComputeDriver::traffic) | `get_all_bw_counters` | What its interfaces have moved. | drop it | reads only |
//! | [`instance_load`](ComputeDriver::instance_load) | `get_instance_diagnostics` | How busy an instance is: processors, memory, networks, disks. | drop it | reads only |
//! | [`events`](ComputeDriver::events) | `register_event_listener`, `emit_event` | What becomes of instances, whoever does it. | drop it | reads only |
//! | [`nodes`](ComputeDriver::nodes) | `get_available_nodes`, `node_is_available` | The hosts, each a node. | drop it | reads only |
//! | [`node`](ComputeDriver::node) | `get_available_resource`, `update_provider_tree`, `get_host_uptime`, `get_host_ip_addr` | Inventory, use and uptime of a host. | drop it | reads only |
//! | [`node_load`](ComputeDriver::node_load) | `get_host_cpu_stats` | How busy a host is, by its own measurements or by the plugin. | drop it | reads only; the plugin is refused, whose name does not say that it reads |
//! | [`set_node_enabled`](ComputeDriver::set_node_enabled) | `set_host_enabled` | Has a host take new guests, or not. | before it begins | steps |
//! | [`drain_node`](ComputeDriver::drain_node) | `host_maintenance_mode` | Moves the guests of a host elsewhere, alive. | stops; what had moved stays there | steps |
//! | [`reboot_node`](ComputeDriver::reboot_node) | `host_power_action` | Reboots a host without guests. | before it begins | steps |
//! | [`shutdown_node`](ComputeDriver::shutdown_node) | `host_power_action` | Switches a host without guests off. | before it begins | steps |
//! | [`join_pool`](ComputeDriver::join_pool) | `add_to_aggregate`, `undo_aggregate_operation` | Makes a host a member of the pool. | before the host is asked; afterwards it ends the wait | steps |
//! | [`eject_node`](ComputeDriver::eject_node) | `remove_from_aggregate` | Takes a host out of the pool. | before it begins | steps |
//! | [`cache_image`](ComputeDriver::cache_image) | `cache_image` | Sees to it that an image is in the cache. | undone | steps |
//! | [`evict_images`](ComputeDriver::evict_images) | `manage_image_cache` | Removes images from the cache that are old or too many. | stops between two | tells which |
//! | [`reconcile`](ComputeDriver::reconcile) | `init_host`, `cleanup_host`, `post_interrupted_snapshot_cleanup` | Completes or undoes what programs left that were killed. | stops between two | steps |
//!
//! Moves to another pool take the [`Driver`] of that pool. Not behind the trait is [`Driver::plug_port`], which
//! is for clouds with Neutron's agent in dom0; with [`crate::Settings::integration_bridge`] the verbs do it by themselves.
//!
//! What the interface of Nova has besides, and this one has not:
//!
//! | In Nova | Why not |
//! |---|---|
//! | `get_instance_disk_info` | live migration asks XAPI instead |
//! | `get_spice_console`, `get_rdp_console`, `get_mks_console` | the hypervisor has no such console |
//! | `quiesce`, `unquiesce` | guests are not asked before a snapshot, as Nova has it for XenServer (`vm-data/allowvssprovider`) |
//! | `volume_snapshot_create`, `volume_snapshot_delete` | for volumes that are files of the hypervisor: those of Nova on libvirt |
//! | `live_migration_force_complete` | XAPI has no such call; a guest that writes too fast is paused at the end by itself |
//! | `live_migration_abort` | `Operation::cancel` of `live_migrate` |
//! | `power_update_event`, `trigger_crash_dump` | XAPI has no such call |
//! | `network_binding_host_id`, `manages_network_binding_host_id` | of Nova and its network service |
//! | `default_root_device_name`, `default_device_names_for_instance`, `get_device_name_for_instance`, `need_legacy_block_device_info` | names are chosen by `userdevice` at the attachment |
//! | `is_supported_fs_format` | the plugin makes what the host has tools for, and says what it has not |
//! | `capabilities_as_traits` | of the placement service of Nova |
//!
//! A verb that changes something is an [`Operation`]: it gives progress through its options, and can be cancelled. A dry
//! run is the same verb of [`Driver::rehearsing`], which ends with its steps ([`crate::Error::planned`]). Questions are
//! [`Answer`]s; dropping one ends it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use config_drive::MacAddr;
use image_store::ImageSink;
use uuid::Uuid;
use xenapi_client::{ConsoleStream, Secret};
use xenapi_types::{ConsoleProtocol, VmPowerState};

use crate::evacuate::EvacuateOptions;
use crate::host_boot::{ResumeOptions, Resumed};
use crate::image_cache::{CacheRequest, CachedImage, Eviction};
use crate::interface::Interface;
use crate::live::{MigrateOptions, Migration};
use crate::load::{Load, LoadFrom};
use crate::membership::{EjectOptions, JoinOptions};
use crate::node::{DrainOptions, Drained, NodeInfo};
use crate::observe::{InstanceEvents, Traffic};
use crate::pool_move::{MoveOptions, Moved};
use crate::pools::PoolMigrateOptions;
use crate::reconcile::{ReconcileOptions, Reconciled};
use crate::rescue::RescueOptions;
use crate::resize::{OldDisks, RebuildOptions, ResizeOptions, Resized};
use crate::spec::{Address, InstanceSpec, Nic};
use crate::upload::{UploadOptions, Uploaded};
use crate::volume::{AttachOptions, AttachedVolume, Connector, Volume, VolumeHealth};
use crate::{
    Adopted, Destroyed, Driver, Instance, InstanceInfo, LiveUpdate, Node, Operation, PowerChange, Progress,
    Result, SpawnOptions, Which,
};

/// What answers a question.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// What a program needs that manages instances, without knowing what they run on: a
/// [`Driver`], or one of its own that stands in for it. See [the table](self).
///
/// Errors are those of the driver's methods of the same names.
pub trait ComputeDriver: Send + Sync {
    /// Makes an instance and starts it.
    fn spawn(&self, spec: InstanceSpec, options: SpawnOptions) -> Operation<Instance>;

    /// Removes an instance with the disks made for it; what is gone already is no error.
    fn destroy(&self, which: Which, progress: Progress) -> Operation<Destroyed>;

    /// Takes a VM over that somebody else made, by writing our keys.
    fn adopt(&self, which: Which, progress: Progress) -> Operation<Adopted>;

    /// Gives an instance a new root disk from an image.
    fn rebuild(&self, which: Which, options: RebuildOptions) -> Operation<OldDisks>;

    /// Starts an instance of a dead host on another one, if that reaches its disks.
    fn evacuate(&self, which: Which, options: EvacuateOptions) -> Operation<()>;

    /// Brings an instance into a power state; one that is there already is left alone.
    fn power(&self, which: Which, change: PowerChange, progress: Progress) -> Operation<VmPowerState>;

    /// Has the guests of a host run after it was started.
    fn resume_guests(&self, node: Uuid, options: ResumeOptions) -> Operation<Resumed>;

    /// Switches an instance off and keeps it from being started.
    fn soft_delete(&self, which: Which, progress: Progress) -> Operation<()>;

    /// Lets a soft-deleted instance be started again.
    fn restore(&self, which: Which, progress: Progress) -> Operation<()>;

    /// Streams a snapshot of the root disk to an image service, a server or a file.
    fn snapshot(&self, which: Which, sink: Arc<dyn ImageSink>, options: UploadOptions)
    -> Operation<Uploaded>;

    /// Boots an instance from a rescue disk.
    fn rescue(&self, which: Which, options: RescueOptions) -> Operation<()>;

    /// Ends that.
    fn unrescue(&self, which: Which, progress: Progress) -> Operation<()>;

    /// Another size, host or repository, for an instance that is off while it changes.
    fn resize(&self, which: Which, options: ResizeOptions) -> Operation<Resized>;

    /// Keeps the new size.
    fn confirm_resize(&self, which: Which, progress: Progress) -> Operation<OldDisks>;

    /// Has all as it was before.
    fn revert_resize(&self, which: Which, progress: Progress) -> Operation<()>;

    /// Moves a running instance to another host, with its disks where that is needed.
    fn live_migrate(&self, which: Which, options: MigrateOptions) -> Operation<Migration>;

    /// What a live migration would do, or why it cannot be.
    fn check_live_migration<'a>(
        &'a self,
        which: &'a Which,
        options: &'a MigrateOptions,
    ) -> Answer<'a, Migration>;

    /// Moves an instance to the pool of another driver by XAPI, running or halted.
    fn migrate_to_pool(
        &self,
        which: Which,
        pool: &Driver,
        options: PoolMigrateOptions,
    ) -> Operation<Migration>;

    /// Moves an instance to the pool of another driver as a copy, which is confirmed or reverted.
    fn move_to_pool(&self, which: Which, pool: &Driver, options: MoveOptions) -> Operation<Moved>;

    /// Keeps it there.
    fn confirm_move(&self, which: Which, pool: &Driver, progress: Progress) -> Operation<()>;

    /// Has it here as it was.
    fn revert_move(&self, which: Which, pool: &Driver, progress: Progress) -> Operation<()>;

    /// Attaches a volume, on storage that the pool may never have heard of.
    fn attach_volume(
        &self,
        which: Which,
        volume: Volume,
        options: AttachOptions,
    ) -> Operation<AttachedVolume>;

    /// Detaches a volume; its repository is forgotten when nobody uses it.
    fn detach_volume(&self, which: Which, volume: String, progress: Progress) -> Operation<AttachedVolume>;

    /// Puts another volume, with the same content, in the place of one.
    fn swap_volume(
        &self,
        which: Which,
        volume: String,
        new: Volume,
        progress: Progress,
    ) -> Operation<AttachedVolume>;

    /// Makes a volume larger, or takes over the size of its LUN.
    fn extend_volume(
        &self,
        which: Which,
        volume: String,
        bytes: Option<u64>,
        progress: Progress,
    ) -> Operation<AttachedVolume>;

    /// The volumes of an instance; what they move is in `diagnostics`.
    fn volumes<'a>(&'a self, which: &'a Which) -> Answer<'a, Vec<AttachedVolume>>;

    /// Whether the storage of each volume answers.
    fn check_volumes(&self, which: Which, progress: Progress) -> Operation<Vec<VolumeHealth>>;

    /// What a block storage service has to know of a host.
    fn volume_connector<'a>(&'a self, node: Uuid) -> Answer<'a, Connector>;

    /// Gives an instance an interface, also while it runs.
    fn attach_interface(&self, which: Which, nic: Nic, progress: Progress) -> Operation<Interface>;

    /// Takes one from it.
    fn detach_interface(&self, which: Which, interface: String, progress: Progress) -> Operation<Interface>;

    /// Tells a guest of its interfaces and addresses, in xenstore.
    fn tell_network(
        &self,
        which: Which,
        addresses: BTreeMap<MacAddr, Vec<Address>>,
        progress: Progress,
    ) -> Operation<LiveUpdate>;

    /// Changes what a guest finds of its metadata, also while it runs.
    fn change_metadata(
        &self,
        which: Which,
        changes: BTreeMap<String, Option<String>>,
        progress: Progress,
    ) -> Operation<LiveUpdate>;

    /// Has the agent in a guest set the password.
    fn set_admin_password(&self, which: Which, password: Secret, progress: Progress) -> Operation<()>;

    /// Has the agent write a file.
    fn inject_file(&self, which: Which, path: String, contents: Vec<u8>, progress: Progress)
    -> Operation<()>;

    /// Has the agent configure the network anew.
    fn reset_network(&self, which: Which, hostname: String, progress: Progress) -> Operation<()>;

    /// The instances of this owner, halted ones too.
    fn list_instances<'a>(&'a self) -> Answer<'a, Vec<InstanceInfo>>;

    /// One of them.
    fn get_info<'a>(&'a self, which: &'a Which) -> Answer<'a, InstanceInfo>;

    /// What a guest wrote to its first console.
    fn console_log<'a>(&'a self, which: &'a Which) -> Answer<'a, String>;

    /// The screen or the terminal of a guest, with a session of its own.
    fn console<'a>(&'a self, which: &'a Which, protocol: ConsoleProtocol) -> Answer<'a, ConsoleStream>;

    /// What a host measures of an instance.
    fn diagnostics<'a>(&'a self, which: &'a Which) -> Answer<'a, BTreeMap<String, f64>>;

    /// What its interfaces have moved.
    fn traffic<'a>(&'a self, which: &'a Which, since: SystemTime) -> Answer<'a, Vec<Traffic>>;

    /// How busy an instance is: processors, memory, networks, disks.
    fn instance_load<'a>(&'a self, which: &'a Which) -> Answer<'a, Load>;

    /// What becomes of instances, whoever does it.
    fn events<'a>(&'a self) -> Answer<'a, InstanceEvents>;

    /// The hosts, each a node.
    fn nodes<'a>(&'a self) -> Answer<'a, Vec<Node>>;

    /// Inventory, use and uptime of a host.
    fn node<'a>(&'a self, node: Uuid) -> Answer<'a, NodeInfo>;

    /// How busy a host is, by its own measurements or by the plugin.
    fn node_load<'a>(&'a self, node: Uuid, from: LoadFrom) -> Answer<'a, Load>;

    /// Has a host take new guests, or not.
    fn set_node_enabled(&self, node: Uuid, enabled: bool, progress: Progress) -> Operation<()>;

    /// Moves the guests of a host elsewhere, alive.
    fn drain_node(&self, node: Uuid, options: DrainOptions) -> Operation<Drained>;

    /// Reboots a host without guests.
    fn reboot_node(&self, node: Uuid, progress: Progress) -> Operation<()>;

    /// Switches a host without guests off.
    fn shutdown_node(&self, node: Uuid, progress: Progress) -> Operation<()>;

    /// Makes a host a member of the pool.
    fn join_pool(&self, newcomer: &Driver, options: JoinOptions) -> Operation<Node>;

    /// Takes a host out of the pool.
    fn eject_node(&self, node: Uuid, options: EjectOptions) -> Operation<()>;

    /// Sees to it that an image is in the cache.
    fn cache_image(&self, request: CacheRequest, progress: Progress) -> Operation<CachedImage>;

    /// Removes images from the cache that are old or too many.
    fn evict_images(&self, eviction: Eviction, progress: Progress) -> Operation<Vec<CachedImage>>;

    /// Completes or undoes what programs left that were killed.
    fn reconcile(&self, options: ReconcileOptions) -> Operation<Reconciled>;
}

impl ComputeDriver for Driver {
    fn spawn(&self, spec: InstanceSpec, options: SpawnOptions) -> Operation<Instance> {
        Self::spawn(self, spec, options)
    }

    fn destroy(&self, which: Which, progress: Progress) -> Operation<Destroyed> {
        Self::destroy(self, which, progress)
    }

    fn adopt(&self, which: Which, progress: Progress) -> Operation<Adopted> {
        Self::adopt(self, which, progress)
    }

    fn rebuild(&self, which: Which, options: RebuildOptions) -> Operation<OldDisks> {
        Self::rebuild(self, which, options)
    }

    fn evacuate(&self, which: Which, options: EvacuateOptions) -> Operation<()> {
        Self::evacuate(self, which, options)
    }

    fn power(&self, which: Which, change: PowerChange, progress: Progress) -> Operation<VmPowerState> {
        Self::power(self, which, change, progress)
    }

    fn resume_guests(&self, node: Uuid, options: ResumeOptions) -> Operation<Resumed> {
        Self::resume_guests(self, node, options)
    }

    fn soft_delete(&self, which: Which, progress: Progress) -> Operation<()> {
        Self::soft_delete(self, which, progress)
    }

    fn restore(&self, which: Which, progress: Progress) -> Operation<()> {
        Self::restore(self, which, progress)
    }

    fn snapshot(
        &self,
        which: Which,
        sink: Arc<dyn ImageSink>,
        options: UploadOptions,
    ) -> Operation<Uploaded> {
        Self::upload(self, which, sink, options)
    }

    fn rescue(&self, which: Which, options: RescueOptions) -> Operation<()> {
        Self::rescue(self, which, options)
    }

    fn unrescue(&self, which: Which, progress: Progress) -> Operation<()> {
        Self::unrescue(self, which, progress)
    }

    fn resize(&self, which: Which, options: ResizeOptions) -> Operation<Resized> {
        Self::resize(self, which, options)
    }

    fn confirm_resize(&self, which: Which, progress: Progress) -> Operation<OldDisks> {
        Self::confirm_resize(self, which, progress)
    }

    fn revert_resize(&self, which: Which, progress: Progress) -> Operation<()> {
        Self::revert_resize(self, which, progress)
    }

    fn live_migrate(&self, which: Which, options: MigrateOptions) -> Operation<Migration> {
        Self::live_migrate(self, which, options)
    }

    fn check_live_migration<'a>(
        &'a self,
        which: &'a Which,
        options: &'a MigrateOptions,
    ) -> Answer<'a, Migration> {
        Box::pin(Self::plan_live_migration(self, which, options))
    }

    fn migrate_to_pool(
        &self,
        which: Which,
        pool: &Driver,
        options: PoolMigrateOptions,
    ) -> Operation<Migration> {
        Self::migrate_to_pool(self, which, pool, options)
    }

    fn move_to_pool(&self, which: Which, pool: &Driver, options: MoveOptions) -> Operation<Moved> {
        Self::move_to_pool(self, which, pool, options)
    }

    fn confirm_move(&self, which: Which, pool: &Driver, progress: Progress) -> Operation<()> {
        Self::confirm_move(self, which, pool, progress)
    }

    fn revert_move(&self, which: Which, pool: &Driver, progress: Progress) -> Operation<()> {
        Self::revert_move(self, which, pool, progress)
    }

    fn attach_volume(
        &self,
        which: Which,
        volume: Volume,
        options: AttachOptions,
    ) -> Operation<AttachedVolume> {
        Self::attach_volume(self, which, volume, options)
    }

    fn detach_volume(&self, which: Which, volume: String, progress: Progress) -> Operation<AttachedVolume> {
        Self::detach_volume(self, which, volume, progress)
    }

    fn swap_volume(
        &self,
        which: Which,
        volume: String,
        new: Volume,
        progress: Progress,
    ) -> Operation<AttachedVolume> {
        Self::swap_volume(self, which, volume, new, progress)
    }

    fn extend_volume(
        &self,
        which: Which,
        volume: String,
        bytes: Option<u64>,
        progress: Progress,
    ) -> Operation<AttachedVolume> {
        Self::extend_volume(self, which, volume, bytes, progress)
    }

    fn volumes<'a>(&'a self, which: &'a Which) -> Answer<'a, Vec<AttachedVolume>> {
        Box::pin(Self::volumes(self, which))
    }

    fn check_volumes(&self, which: Which, progress: Progress) -> Operation<Vec<VolumeHealth>> {
        Self::check_volumes(self, which, progress)
    }

    fn volume_connector<'a>(&'a self, node: Uuid) -> Answer<'a, Connector> {
        Box::pin(Self::connector(self, node))
    }

    fn attach_interface(&self, which: Which, nic: Nic, progress: Progress) -> Operation<Interface> {
        Self::attach_interface(self, which, nic, progress)
    }

    fn detach_interface(&self, which: Which, interface: String, progress: Progress) -> Operation<Interface> {
        Self::detach_interface(self, which, interface, progress)
    }

    fn tell_network(
        &self,
        which: Which,
        addresses: BTreeMap<MacAddr, Vec<Address>>,
        progress: Progress,
    ) -> Operation<LiveUpdate> {
        Self::tell_network(self, which, addresses, progress)
    }

    fn change_metadata(
        &self,
        which: Which,
        changes: BTreeMap<String, Option<String>>,
        progress: Progress,
    ) -> Operation<LiveUpdate> {
        Self::change_metadata(self, which, changes, progress)
    }

    fn set_admin_password(&self, which: Which, password: Secret, progress: Progress) -> Operation<()> {
        Self::set_admin_password(self, which, password, progress)
    }

    fn inject_file(
        &self,
        which: Which,
        path: String,
        contents: Vec<u8>,
        progress: Progress,
    ) -> Operation<()> {
        Self::inject_file(self, which, path, contents, progress)
    }

    fn reset_network(&self, which: Which, hostname: String, progress: Progress) -> Operation<()> {
        Self::reset_network(self, which, hostname, progress)
    }

    fn list_instances<'a>(&'a self) -> Answer<'a, Vec<InstanceInfo>> {
        Box::pin(Self::instances(self))
    }

    fn get_info<'a>(&'a self, which: &'a Which) -> Answer<'a, InstanceInfo> {
        Box::pin(Self::instance(self, which))
    }

    fn console_log<'a>(&'a self, which: &'a Which) -> Answer<'a, String> {
        Box::pin(Self::console_log(self, which))
    }

    fn console<'a>(&'a self, which: &'a Which, protocol: ConsoleProtocol) -> Answer<'a, ConsoleStream> {
        Box::pin(Self::console(self, which, protocol))
    }

    fn diagnostics<'a>(&'a self, which: &'a Which) -> Answer<'a, BTreeMap<String, f64>> {
        Box::pin(Self::diagnostics(self, which))
    }

    fn traffic<'a>(&'a self, which: &'a Which, since: SystemTime) -> Answer<'a, Vec<Traffic>> {
        Box::pin(Self::traffic(self, which, since))
    }

    fn instance_load<'a>(&'a self, which: &'a Which) -> Answer<'a, Load> {
        Box::pin(Self::instance_load(self, which))
    }

    fn events<'a>(&'a self) -> Answer<'a, InstanceEvents> {
        Box::pin(Self::events(self))
    }

    fn nodes<'a>(&'a self) -> Answer<'a, Vec<Node>> {
        Box::pin(Self::nodes(self))
    }

    fn node<'a>(&'a self, node: Uuid) -> Answer<'a, NodeInfo> {
        Box::pin(Self::node(self, node))
    }

    fn node_load<'a>(&'a self, node: Uuid, from: LoadFrom) -> Answer<'a, Load> {
        Box::pin(Self::node_load(self, node, from))
    }

    fn set_node_enabled(&self, node: Uuid, enabled: bool, progress: Progress) -> Operation<()> {
        Self::set_node_enabled(self, node, enabled, progress)
    }

    fn drain_node(&self, node: Uuid, options: DrainOptions) -> Operation<Drained> {
        Self::drain_node(self, node, options)
    }

    fn reboot_node(&self, node: Uuid, progress: Progress) -> Operation<()> {
        Self::reboot_node(self, node, progress)
    }

    fn shutdown_node(&self, node: Uuid, progress: Progress) -> Operation<()> {
        Self::shutdown_node(self, node, progress)
    }

    fn join_pool(&self, newcomer: &Driver, options: JoinOptions) -> Operation<Node> {
        Self::join_pool(self, newcomer, options)
    }

    fn eject_node(&self, node: Uuid, options: EjectOptions) -> Operation<()> {
        Self::eject_node(self, node, options)
    }

    fn cache_image(&self, request: CacheRequest, progress: Progress) -> Operation<CachedImage> {
        Self::cache_image(self, request, progress)
    }

    fn evict_images(&self, eviction: Eviction, progress: Progress) -> Operation<Vec<CachedImage>> {
        Self::evict_images(self, eviction, progress)
    }

    fn reconcile(&self, options: ReconcileOptions) -> Operation<Reconciled> {
        Self::reconcile(self, options)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    /// The methods of Nova 21's virt driver, by their groups in its interface.
    const NOVA: &str = "init_host cleanup_host get_info get_num_instances instance_exists list_instances \
        list_instance_uuids rebuild prepare_for_spawn failed_spawn_cleanup spawn destroy cleanup reboot \
        get_console_pool_info get_console_output get_vnc_console get_spice_console get_rdp_console \
        get_serial_console get_mks_console get_diagnostics get_instance_diagnostics get_all_bw_counters \
        get_all_volume_usage get_host_ip_addr attach_volume detach_volume swap_volume extend_volume \
        prepare_networks_before_block_device_mapping clean_networks_preparation attach_interface \
        detach_interface migrate_disk_and_power_off snapshot post_interrupted_snapshot_cleanup \
        finish_migration confirm_migration finish_revert_migration pause unpause suspend resume \
        resume_state_on_host_boot rescue set_bootable unrescue power_off power_on trigger_crash_dump \
        soft_delete restore get_available_resource update_provider_tree capabilities_as_traits \
        pre_live_migration live_migration live_migration_force_complete live_migration_abort \
        rollback_live_migration_at_source rollback_live_migration_at_destination post_live_migration \
        post_live_migration_at_source post_live_migration_at_destination \
        check_instance_shared_storage_local check_instance_shared_storage_remote \
        check_instance_shared_storage_cleanup check_can_live_migrate_destination \
        cleanup_live_migration_destination_check check_can_live_migrate_source get_instance_disk_info \
        set_admin_password inject_file change_instance_metadata inject_network_info \
        poll_rebooting_instances host_power_action host_maintenance_mode set_host_enabled \
        get_host_uptime plug_vifs unplug_vifs get_host_cpu_stats block_stats add_to_aggregate \
        remove_from_aggregate undo_aggregate_operation get_volume_connector get_available_nodes \
        node_is_available get_per_instance_usage instance_on_disk register_event_listener emit_event \
        delete_instance_files manage_image_cache cache_image default_root_device_name \
        default_device_names_for_instance get_device_name_for_instance is_supported_fs_format quiesce \
        unquiesce volume_snapshot_create volume_snapshot_delete reset_network \
        need_legacy_block_device_info network_binding_host_id manages_network_binding_host_id \
        post_claim_migrate_data power_update_event";

    /// The cells of each row.
    fn rows(source: &str) -> Vec<Vec<&str>> {
        let rows = source.lines().filter_map(|line| line.strip_prefix("//! | "));
        let rows = rows.map(|row| row.trim_end_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
        rows.filter(|row| !row[0].starts_with("Verb") && !row[0].starts_with("In Nova")).collect()
    }

    fn names(cell: &str) -> Vec<&str> {
        cell.split('`').skip(1).step_by(2).collect()
    }

    #[test]
    fn the_table_is_whole() {
        let source = include_str!("compute.rs");
        let rows = rows(source);
        let body = source.split("pub trait ComputeDriver").nth(1).unwrap().split("\n}").next().unwrap();
        let methods: Vec<&str> =
            body.split("    fn ").skip(1).map(|rest| rest.split(['(', '<']).next().unwrap()).collect();
        let table: Vec<&str> = rows.iter().filter(|row| row.len() == 5).map(|row| names(row[0])[0]).collect();
        assert_eq!(table, methods, "each verb has its row, in the same order");
        assert!(rows.iter().flatten().all(|cell| !cell.is_empty()), "no cell is empty");

        let mut told: BTreeMap<&str, usize> = BTreeMap::new();
        for row in &rows {
            let cell = if row.len() == 5 { row[1] } else { row[0] };
            names(cell).into_iter().for_each(|name| *told.entry(name).or_default() += 1);
        }
        let nova: BTreeSet<&str> = NOVA.split_whitespace().collect();
        let missing: Vec<_> = nova.iter().filter(|name| !told.contains_key(*name)).collect();
        assert!(missing.is_empty(), "of Nova's there are no rows: {missing:?}");
        let unknown: Vec<_> = told.keys().filter(|name| !nova.contains(*name)).collect();
        assert!(unknown.is_empty(), "Nova has none of these: {unknown:?}");
    }

    #[test]
    fn it_can_be_stood_in_for() {
        fn takes(_: Option<std::sync::Arc<dyn super::ComputeDriver>>) {}
        takes(None);
    }
}
