//! Moving instances to other pools with a way back: off while they move, and kept here until that is confirmed.
//!
//! ```text
//! journal ─► copy ahead ─► lock, stop ─► copy the rest ─► VM there ─► done ─► start there ─┬─► confirm
//!    └──────────────── revert, from wherever it broke off ◄────────────────────────────────┘
//! ```
//!
//! The data go through this program, from export to import: neither pool needs to reach the other, and no edition
//! lacks it. Wherever it breaks off, the instance runs in one pool at most:
//!
//! * The VM here is locked against starts before it is stopped, until it is reverted.
//! * The VM there is marked as unfinished, and not started, until the journal here says that the move is done.
//! * What reverts a move that was done notes here that it will never be confirmed, then marks the VM there as
//!   unfinished and stops it before the journal here says so.
//! * Who moves it looks whether somebody has taken the move back, between what takes long and what changes something.
//!
//! So each pool can be put in order without the other: a move that is not done ends here with the instance as it was,
//! and there with the removal of what is not finished ([`Driver::reconcile`] of each).

mod copy;
mod journal;
mod settle;
mod vm;

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_storage::{DiskRequest, Place, Repository};
use xenapi_types::{
    Network, Pool, Ref, VbdRecord, Vdi, VdiRecord, VifLockingMode, VifRecord, Vm, VmPowerState, VmRecord,
    pool,
};

use crate::blocked;
use crate::boot_lock;
use crate::cancel::Stop;
use crate::chains::Chains;
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::{self, Which, complete, plugs};
use crate::inventory::{self, Node};
use crate::job::{Failed, Job, heap};
use crate::licence::{self, Feature};
use crate::live;
use crate::moving;
use crate::operation::Operation;
use crate::plan::{self, Conflict, Conflicts};
use crate::pools::{self, PoolPlace};
use crate::power::{self, PowerChange, Shutdown};
use crate::progress::{Progress, Stage};
use crate::resize::{
    self, ResizeState,
    blank::{Added, Blank},
    disks::is_root,
    shrink,
};
use crate::spawn::Checks;
use crate::spec::{Flavor, SrChoice};
use crate::volume::{self, VOLUME_KEY};
use copy::Copying;
use journal::{Journal, KEYS};
pub(crate) use settle::restore;

/// Why the VM here is not to be started, as XAPI shows it with `OPERATION_BLOCKED`.
const REASON: &str = "xenapi-rs: moved to another pool";

/// How an instance moves to another pool.
#[derive(Debug, Clone)]
pub struct MoveOptions {
    /// Where it goes.
    pub place: PoolPlace,
    /// The size that it is to have there; 0 leaves the root disk, the disk for swap or those that end with
    /// the instance as they are. Disks grow, or for swap and data blank ones are added; of those that there
    /// are, only the root disk is made smaller, in the dom0 of a host here that has the plugin for it.
    pub flavor: Option<Flavor>,
    /// How a running guest is brought down.
    pub shutdown: Shutdown,
    /// Which disks are read back there before it is started: a config drive is compared with its digest, and with
    /// [`Checks::AllDisks`] a sum of each 2 MiB that were written, but for those that were written twice.
    pub checks: Checks,
    /// Whether an instance with snapshots is moved without them. They stay here: those that this driver keeps
    /// for backups until the move is confirmed, those of others for good.
    pub leave_snapshots: bool,
    /// Who is told what happens.
    pub progress: Progress,
}

impl Default for MoveOptions {
    fn default() -> Self {
        Self {
            place: PoolPlace::default(),
            flavor: None,
            shutdown: Shutdown::NOVA,
            checks: Checks::default(),
            leave_snapshots: false,
            progress: Progress::none(),
        }
    }
}

/// An instance after its move.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moved {
    /// Uuid of its VM in the other pool: another one than here. The instance's uuid stays.
    pub vm_uuid: String,
    /// Uuid of the host that it is on, or prefers.
    pub node_uuid: String,
    /// Its disks there, by the uuids of those here.
    pub disks: BTreeMap<String, String>,
    /// Its power state.
    pub power_state: VmPowerState,
}

impl Driver {
    /// Moves an instance to the pool of another driver of the same [owner](crate::Settings::owner). A running guest is
    /// brought down, and up there; on repositories that can tell what has changed, most is copied beforehand. Its
    /// VM and all its disks are copies: those here stay, locked, until [`Driver::confirm_move`] removes them
    /// or [`Driver::revert_move`] has the instance as it was.
    ///
    /// When this fails or is cancelled, it is reverted at once. A program that ends in the middle leaves a journal
    /// in XAPI, from which [`Driver::reconcile`] reverts it, in each pool what is there.
    ///
    /// Does not go along: snapshots, which have to be [left](MoveOptions::leave_snapshots) then, and the agent's keys. Of
    /// the firmware's texts (`bios_strings`), `oem-…` and `hp-rombios` stay behind: only a host of that make gives
    /// them, to `VM.copy_bios_strings` there.
    ///
    /// # Errors
    ///
    /// Before anything is done: [`Cause::WrongState`] for an instance neither running nor halted;
    /// [`Cause::VolumesStay`] when it has disks that were not made for it; [`Cause::DevicesStay`] for devices of
    /// its host and a virtual TPM, whose content nobody can read; [`Cause::Shrink`]; [`Cause::Conflicts`] for what the
    /// other pool does not have, or has already; [`Cause::OtherOwner`], [`Cause::SamePool`], [`Cause::SnapshotsStay`],
    /// [`Cause::ResizePending`], [`Cause::MovePending`], [`Cause::Rescued`], [`Cause::KernelStays`]. Later:
    /// [`Cause::Host`], [`Cause::GuestStays`], [`Cause::Differs`], [`Cause::ConfigDriveChanged`].
    pub fn move_to_pool(&self, which: Which, pool: &Driver, options: MoveOptions) -> Operation<Moved> {
        let (object, pool) = (format!("instance {which}"), pool.clone());
        self.verb(Op::MoveToPool, object, options.progress.clone(), move |job, stop| {
            Box::pin(async move {
                let (_gate, vm, record) = find::ours_in_turn(job, &which, stop).await?;
                let record = job.stage(Stage::Find, moving::settled(job, &vm, record)).await?;
                let there = Job::new(pool, job.progress.clone());
                let deciding = heap(|| decide(job, (&vm, &record), &there, &options));
                let plan = job.stage(Stage::Plan, deciding).await?;
                job.would(|| plan.steps(&there.driver, options.shutdown))?;
                heap(|| work(job, &vm, &there, plan, &options, stop)).await
            })
        })
    }

    /// Keeps the instance where it was moved to, and removes it here, with the disks made for it. It can be repeated.
    ///
    /// # Errors
    ///
    /// [`Cause::NotMoved`]; [`Cause::MovePending`] when the move is not done; [`Cause::NotArrived`] when the
    /// instance is not, or not complete, in the other pool; [`Cause::Host`].
    pub fn confirm_move(&self, which: Which, pool: &Driver, progress: Progress) -> Operation<()> {
        let (object, pool) = (format!("instance {which}"), pool.clone());
        self.verb(Op::ConfirmMove, object, progress, move |job, stop| {
            Box::pin(async move { heap(|| settle::confirm(job, &which, &pool, stop)).await })
        })
    }

    /// Has the instance here as it was before its move, running if it was running then, and removes it in the other
    /// pool, with what the guest has written there. It can be repeated, and works on a move that broke off.
    ///
    /// # Errors
    ///
    /// [`Cause::NotMoved`]; [`Cause::MovePending`] when it is being confirmed already; [`Cause::Host`].
    pub fn revert_move(&self, which: Which, pool: &Driver, progress: Progress) -> Operation<()> {
        let (object, pool) = (format!("instance {which}"), pool.clone());
        self.verb(Op::RevertMove, object, progress, move |job, stop| {
            Box::pin(async move { heap(|| settle::revert_verb(job, &which, &pool, stop)).await })
        })
    }
}

/// How far the move of a VM is, if there is one.
pub(crate) fn state(vm: &VmRecord) -> Option<ResizeState> {
    Journal::read(vm).map(|(_, phase)| phase.into())
}

/// The operation of the move that a VM is in the middle of.
pub(crate) fn operation(vm: &VmRecord) -> Option<Uuid> {
    Journal::read(vm).map(|(journal, _)| journal.operation)
}

/// Makes sure that an instance is not about to be elsewhere.
pub(crate) fn not_leaving(vm: &VmRecord) -> Result<(), Cause> {
    match Journal::read(vm) {
        Some(_) => Err(Cause::MovePending { vm: vm.uuid.clone() }),
        None => Ok(()),
    }
}

/// Whether a VM came from another pool, where it is not known yet that it stays.
pub(crate) fn has_arrived(vm: &VmRecord) -> bool {
    vm.other_config.contains_key(journal::MOVED_FROM) && complete(vm).is_ok()
}

/// Makes sure that nobody may want an instance back in another pool.
pub(crate) fn none_pending(vm: &VmRecord) -> Result<(), Cause> {
    match vm.other_config.contains_key(journal::MOVED_FROM) {
        true => Err(Cause::MovePending { vm: vm.uuid.clone() }),
        false => not_leaving(vm),
    }
}

/// A disk that is to be copied.
struct Source {
    vdi: Ref<Vdi>,
    record: VdiRecord,
    /// The repository there.
    sr: Repository,
    /// Its size there.
    bytes: u64,
    /// What it takes there.
    taken: DiskRequest,
    /// Whether it can be copied while it is used, and then what has changed.
    ahead: bool,
    /// The host whose dom0 makes it smaller before it goes, and the disk's repository.
    shrinking: Option<(Node, Repository)>,
}

struct Plan {
    instance: Uuid,
    /// The VM as it is here.
    before: VmRecord,
    /// The VM as it is to be there.
    after: VmRecord,
    node: Node,
    /// Uuid of the other pool.
    pool: String,
    /// Its drives, some of which are empty.
    drives: Vec<(VbdRecord, Option<Source>)>,
    /// Disks that it has not had.
    added: Vec<Added>,
    vifs: Vec<(VifRecord, Ref<Network>)>,
}

impl Plan {
    fn sources(&self) -> impl Iterator<Item = &Source> {
        self.drives.iter().filter_map(|(_, source)| source.as_ref())
    }

    fn was_running(&self) -> bool {
        self.before.power_state == VmPowerState::Running
    }

    fn steps(&self, pool: &Driver, shutdown: Shutdown) -> Vec<String> {
        let (vm, node, endpoint) = (&self.before.uuid, &self.node.name, pool.endpoint());
        let copies = self.sources().map(|source| {
            let how = match () {
                () if source.ahead => "while the guest runs, and what changes meanwhile",
                () if source.shrinking.is_some() => "made smaller in dom0 before",
                () => "as it is",
            };
            let (disk, sr) = (&source.record.uuid, &source.sr.name_label);
            format!("copy disk {disk} to storage repository {sr:?} of {endpoint}, {how}")
        });
        let down = power::around(&self.before, shutdown, vec![]);
        let lock = format!("keep VM {vm} from being started");
        let make = format!("make a VM like {vm} on host {node:?} of {endpoint}");
        let up = self.was_running().then(|| format!("start it on host {node:?}"));
        let kept = format!("keep VM {vm} and its disks until it is confirmed or reverted");
        let down = down.into_iter().take(1);
        let added = self.added.iter().map(Added::step);
        copies.chain([lock]).chain(down).chain([make]).chain(added).chain(up).chain([kept]).collect()
    }
}

async fn decide(
    job: &Job,
    (vm_ref, record): (&Ref<Vm>, &VmRecord),
    there: &Job,
    options: &MoveOptions,
) -> Result<Plan, Cause> {
    let pool = &there.driver;
    pools::same_owner(&job.driver, pool)?;
    let was_running = plugs(record)?;
    none_pending(record)?;
    live::can_leave(record)?;
    devices(record)?;
    if was_running {
        blocked::restart(record)?;
    }
    if let Some(flavor) = &options.flavor {
        plan::check_size(flavor, &record.platform)?;
    }
    if !options.leave_snapshots {
        pools::no_snapshots(job, record).await?;
    }
    let pool_uuid = uuid_of(pool).await?;
    if pool_uuid == uuid_of(&job.driver).await? {
        return Err(Cause::SamePool(pool.endpoint()));
    }
    let nodes = inventory::read_nodes(pool).await?;
    let node = plan::choose_node_of(&nodes, options.place.node, None).map_err(Conflicts::from)?;
    let after = vm::resized(record, options.flavor.as_ref(), node);
    live::check_node(&after, node, was_running)?;
    pools::name_is_free(pool, &record.name_label).await?;
    let owner = &job.driver.settings().owner;
    let instance = find::made_for(&record.other_config, &record.uuid, owner).unwrap_or_default();
    if let Some((_, taken)) = find::vm(pool.client(), &Which::Instance(instance)).await? {
        let (name, vm) = (instance.to_string(), taken.uuid);
        return Err(Conflicts::from(Conflict::NameInUse { name, vm }).into());
    }
    let vifs = pools::networks(job, record, pool, &options.place).await?;
    licence::check(there, &features(&after, vifs.iter().map(|(_, vif, _)| vif))).await?;
    let blank = blank(job, (vm_ref, record), options).await?;
    let drives = drives(job, record, there, (node, &blank), options).await?;
    Ok(Plan {
        instance,
        before: record.clone(),
        after,
        node: node.clone(),
        pool: pool_uuid,
        added: added(there, record, node, (&drives, &blank), options).await?,
        drives,
        vifs: vifs.into_iter().map(|(_, vif, network)| (vif, network)).collect(),
    })
}

/// What the other pool's edition must have for the VM to be there as it is here.
fn features<'a>(vm: &VmRecord, mut vifs: impl Iterator<Item = &'a VifRecord> + Clone) -> Vec<Feature> {
    let is_locked = |vif: &VifRecord| vif.locking_mode != VifLockingMode::NetworkDefault;
    [
        (vm.memory_dynamic_min < vm.memory_dynamic_max).then_some(Feature::Ballooning),
        vifs.clone().any(is_locked).then_some(Feature::VifLocking),
        vifs.any(|vif| !vif.qos_algorithm_type.is_empty()).then_some(Feature::Qos),
    ]
    .into_iter()
    .flatten()
    .collect()
}

async fn uuid_of(driver: &Driver) -> Result<String, Cause> {
    let asking = async {
        let all = driver.client().all::<Pool>().await?;
        let first = all.first().cloned().unwrap_or(Ref::NULL);
        driver.client().get_field(&first, pool::field::UUID).await
    };
    asking.await.map_err(Cause::host(format!("asking {} which pool it is", driver.endpoint())))
}

/// Makes sure that a VM has nothing of its host's own.
fn devices(vm: &VmRecord) -> Result<(), Cause> {
    let pci = vm.other_config.get("pci").filter(|pci| !pci.is_empty());
    let devices: Vec<String> = [
        (!vm.vtpms.is_empty()).then(|| "a virtual TPM".to_owned()),
        (!vm.vgpus.is_empty()).then(|| "a virtual GPU".to_owned()),
        (!vm.vusbs.is_empty()).then(|| "a USB device".to_owned()),
        pci.map(|pci| format!("PCI device {pci}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    if devices.is_empty() { Ok(()) } else { Err(Cause::DevicesStay { vm: vm.uuid.clone(), devices }) }
}

/// All drives of the VM with their disks, each of which must be its own; and where they go.
async fn drives(
    job: &Job,
    vm: &VmRecord,
    there: &Job,
    (node, blank): (&Node, &Blank),
    options: &MoveOptions,
) -> Result<Vec<(VbdRecord, Option<Source>)>, Cause> {
    let (client, owner) = (job.client(), &job.driver.settings().owner);
    let doing = || Cause::host(format!("reading the disks of VM {}", vm.uuid));
    let wanted_root = options.flavor.as_ref().and_then(Flavor::root_bytes);
    let (mut empty, mut found, mut volumes) = (Vec::new(), Vec::new(), Vec::new());
    let (here, _) = resize::repositories(job).await?;
    for reference in &vm.vbds {
        let vbd = client.record(reference).await.map_err(doing())?;
        if vbd.empty {
            empty.push((vbd, None));
            continue;
        }
        let disk = client.record(&vbd.vdi).await.map_err(doing())?;
        let is_own = find::made_for(&disk.other_config, &disk.uuid, owner).is_some();
        if vbd.other_config.contains_key(VOLUME_KEY) || !is_own {
            volumes.push(disk.uuid);
            continue;
        }
        let have_bytes = u64::try_from(disk.virtual_size).unwrap_or(0);
        let larger = blank.larger.get(&vbd.userdevice).copied();
        let wanted_bytes = wanted_root.filter(|_| is_root(&vbd.userdevice)).or(larger).unwrap_or(have_bytes);
        let (shrinking, bytes) = match wanted_bytes < have_bytes {
            true => shrunk(job, vm, &disk, &here, wanted_bytes).await.map(|(by, bytes)| (Some(by), bytes))?,
            false => (None, wanted_bytes),
        };
        found.push((vbd, disk, bytes, shrinking));
    }
    if !volumes.is_empty() {
        return Err(Cause::VolumesStay { vm: vm.uuid.clone(), volumes });
    }
    let chains = Chains::of(client, found.iter().map(|(_, disk, ..)| disk)).await?;
    let records = found.iter().map(|(_, disk, bytes, _)| (disk, chains.copy(disk, *bytes)));
    let targets = pools::repositories(there, node, &options.place, records).await?;
    let sources = found.into_iter().zip(targets).map(|((vbd, record, bytes, shrinking), sr)| {
        let present = here.iter().find(|sr| sr.reference == record.sr);
        let ahead =
            vm.power_state == VmPowerState::Running && present.is_some_and(|sr| sr.facts().delta_export);
        let ahead = ahead && shrinking.is_none();
        let taken = chains.copy(&record, bytes);
        let source = Source { vdi: vbd.vdi.clone(), record, sr, bytes, taken, ahead, shrinking };
        (vbd, Some(source))
    });
    Ok(sources.chain(empty).collect())
}

/// By whom and where a disk is made smaller before it goes, and how large it is then.
async fn shrunk(
    job: &Job,
    vm: &VmRecord,
    disk: &VdiRecord,
    repositories: &[Repository],
    wanted_bytes: u64,
) -> Result<((Node, Repository), u64), Cause> {
    let nodes = inventory::read_nodes(&job.driver).await?;
    let home = [&vm.resident_on, &vm.affinity]
        .into_iter()
        .find_map(|host| nodes.iter().find(|node| node.reference == *host));
    let sr = repositories.iter().find(|sr| sr.reference == disk.sr);
    let no_host = || Cause::NoHostSees { sr: sr.map(|sr| sr.name_label.clone()).unwrap_or_default() };
    let (sr, preferred) = sr.zip(home.or(nodes.first())).ok_or_else(no_host)?;
    let shrinking = shrink::place(job, &nodes, preferred, Some(sr), sr).await?;
    let bytes = shrinking.size(sr, wanted_bytes);
    let chains = Chains::of(job.client(), [disk]).await?;
    sr.check_space(&[chains.copy(disk, bytes)]).map_err(Conflict::from).map_err(Conflicts::from)?;
    Ok(((shrinking.node, sr.clone()), bytes))
}

/// What becomes of the disks for swap and data with the new size. Disks that are named to go somewhere have
/// to be among its own.
async fn blank(
    job: &Job,
    (vm, record): (&Ref<Vm>, &VmRecord),
    options: &MoveOptions,
) -> Result<Blank, Cause> {
    let loaded = volume::loaded(job, record).await?;
    volume::all_known(record, loaded.iter().filter(|drive| drive.is_own), &options.place.disks)?;
    let Some(flavor) = &options.flavor else { return Ok(Blank::default()) };
    let (here, _) = resize::repositories(job).await?;
    Blank::plan(job, (vm, record), &loaded, &here, flavor).await
}

/// The disks that are added, beside the root disk, if the repository has room for them, too.
async fn added(
    there: &Job,
    vm: &VmRecord,
    node: &Node,
    (drives, blank): (&[(VbdRecord, Option<Source>)], &Blank),
    options: &MoveOptions,
) -> Result<Vec<Added>, Cause> {
    if !blank.adds() {
        return Ok(Vec::new());
    }
    let sources = || drives.iter().filter_map(|(vbd, source)| Some((vbd, source.as_ref()?)));
    let sr = match sources().find(|(vbd, _)| is_root(&vbd.userdevice)) {
        Some((_, root)) => root.sr.clone(),
        None => {
            let (all, default_sr) = resize::repositories(there).await?;
            let place = Place { host: &node.reference, host_name: &node.name, default_sr: &default_sr };
            let choice = options.place.sr.clone().unwrap_or(SrChoice::PoolDefault);
            choice.select(&all, place).map_err(Conflict::from).map_err(Conflicts::from)?.clone()
        }
    };
    let added = blank.added(there, vm, &sr);
    let blank = added
        .iter()
        .map(|added| DiskRequest { virtual_bytes: added.disk.virtual_bytes, data_bytes: Some(0) });
    let copied = sources().filter(|(_, source)| source.sr.reference == sr.reference);
    let requests: Vec<_> = copied.map(|(_, source)| source.taken).chain(blank).collect();
    sr.check_space(&requests).map_err(Conflict::from).map_err(Conflicts::from)?;
    Ok(added)
}

async fn work(
    job: &Job,
    vm: &Ref<Vm>,
    there: &Job,
    plan: Plan,
    options: &MoveOptions,
    stop: &Stop,
) -> Result<Moved, Failed> {
    let record = &plan.before;
    let journal =
        Journal { operation: job.operation, was_running: plan.was_running(), pool: plan.pool.clone() };
    let mut copies: Vec<Copying<'_>> = plan.sources().map(Copying::new).collect();
    let preparing = async {
        stop.check()?;
        let (here, reverted, pool) = (job.driver.clone(), vm.clone(), there.driver.clone());
        let operations = (job.operation, there.operation);
        let undo = async move { settle::take_back(&here, &reverted, &pool, operations).await };
        let note = journal.note(format!("the move of VM {}", record.uuid));
        crate::journal::begin(job, vm, record, note, undo).await?;
        for copy in &mut copies {
            copy.ahead(job, there, &plan, stop).await?;
        }
        Ok(())
    };
    job.stage(Stage::Storage, heap(|| preparing)).await?;
    let stopping = async {
        stop.check()?;
        KEYS.goes_on(job, vm, journal.operation).await?;
        let locked = boot_lock::set(job.client(), vm, record, REASON, true).await;
        locked.map_err(Cause::host(format!("blocking the start of VM {}", record.uuid)))?;
        power::change(job, vm, record, PowerChange::Off(options.shutdown), stop).await
    };
    job.stage(Stage::Stop, heap(|| stopping)).await?;
    let copying = async {
        for copy in &mut copies {
            copy.complete(job, there, &plan, options.checks, stop).await?;
        }
        KEYS.goes_on(job, vm, journal.operation).await
    };
    job.stage(Stage::RootDisk, heap(|| copying)).await?;
    let made = heap(|| vm::make(there, &plan, &journal, &copies, stop));
    let (target, vm_uuid) = job.stage(Stage::Vm, made).await?;
    let settling = async {
        stop.check()?;
        KEYS.set_done(job, vm, journal.operation).await?;
        vm::complete(there, &target).await
    };
    job.stage(Stage::Vm, settling).await?;
    if journal.was_running {
        let starting = heap(|| resize::start(there, &target, &plan.after, &plan.node.reference, stop));
        job.stage(Stage::Start, starting).await?;
    }
    let disks = copies.iter().map(Copying::uuids).collect();
    let power_state = if journal.was_running { VmPowerState::Running } else { VmPowerState::Halted };
    Ok(Moved { vm_uuid, node_uuid: plan.node.uuid.clone(), disks, power_state })
}
