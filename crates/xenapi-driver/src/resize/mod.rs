//! Another size, another host of the pool, another repository: for an instance that is off while it changes.
//!
//! ```text
//! journal ─► copy ahead ─► stop ─► new disks ─► swap ─► new shape ─► start ─► done ─┬─► confirm
//!    └────────────────── revert, from wherever it broke off ◄──────────────────────┘
//! ```

pub(crate) mod blank;
pub(crate) mod disks;
mod dom0_copy;
pub(crate) mod journal;
mod rebuild;
pub(crate) mod restore;
pub(crate) mod shrink;

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_storage::{DiskRequest, Place, Repository};
use xenapi_types::{Host, Pbd, Pool, Ref, Sr, Vdi, Vm, VmPowerState, VmRecord, vm};

use crate::belongings;
use crate::blocked;
use crate::cancel::Stop;
use crate::chains::Chains;
use crate::coming_up;
use crate::drive::{self, NewDrive, Renewal};
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::{self, Which, plugs};
use crate::held::Held;
use crate::inventory::{self, Node};
use crate::job::{Failed, Job};
use crate::kernel;
use crate::licence::{self, Feature};
use crate::memory;
use crate::moving;
use crate::operation::Operation;
use crate::plan::{self, Conflict, Conflicts};
use crate::ports;
use crate::power::{self, PowerChange, Shutdown};
use crate::progress::{Progress, Stage};
use crate::rescue;
use crate::spec::{Flavor, SrChoice};
use crate::volume::{self, Drive, reach};
use blank::{Added, Blank};
use disks::Change;
pub use dom0_copy::CopyVia;
use dom0_copy::Way;
use journal::{Journal, KEYS, Phase, Shape};
pub use rebuild::RebuildOptions;
use restore::By;
pub use restore::OldDisks;

/// What an instance is to become. What is `None` stays as it is.
#[derive(Debug, Clone)]
pub struct ResizeOptions {
    /// Its new size; 0 leaves the root disk, the disk for swap or those that end with the instance as they
    /// are. The last two grow, or blank ones are added; they are never made smaller. A smaller root disk
    /// wants the plugin `dom0_protocol` on the host, and a single partition with an ext2, ext3 or ext4 whose
    /// files fit.
    pub flavor: Option<Flavor>,
    /// The host it is to be on.
    pub node: Option<Uuid>,
    /// Where its disks go; without it they move only where the new host does not reach them, to the pool's
    /// default repository.
    pub sr: Option<SrChoice>,
    /// Where single disks of the instance's own go, by their uuids, instead.
    pub disks: BTreeMap<String, SrChoice>,
    /// A new config drive; without it, the one that the instance has stays, or is copied and compared with its
    /// digest.
    pub config_drive: Option<NewDrive>,
    /// How a running guest is brought down.
    pub shutdown: Shutdown,
    /// Who is told what happens.
    pub progress: Progress,
}

impl Default for ResizeOptions {
    fn default() -> Self {
        Self {
            flavor: None,
            node: None,
            sr: None,
            disks: BTreeMap::new(),
            config_drive: None,
            shutdown: Shutdown::NOVA,
            progress: Progress::none(),
        }
    }
}

/// How far the resize of an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResizeState {
    /// It has its new size; confirm or revert it.
    Done,
    /// It is under way in some program, or broke off; reverting it has everything as it was before.
    Unfinished,
    /// Its old disks are being removed, or that broke off; confirming it once more removes the rest.
    Confirming,
}

/// An instance after its resize.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resized {
    /// Uuid of its VM: the same as before.
    pub vm_uuid: String,
    /// Uuid of the host that it is on, or prefers.
    pub node_uuid: String,
    /// How many of its disks were replaced; the old ones are kept until the resize is confirmed.
    pub replaced_disks: usize,
    /// Its power state.
    pub power_state: VmPowerState,
}

impl Driver {
    /// Gives an instance another size, another host, or other repositories for its disks. A running guest is
    /// brought down and up again; disks that move are copied beforehand, so that it is down only for what
    /// has changed since. A root disk that becomes smaller is shrunk while it is down, in dom0, as a copy.
    /// Its VM, its interfaces and its volumes stay the same.
    ///
    /// The old disks are kept until [`Driver::confirm_resize`]; [`Driver::revert_resize`] has it all as it was.
    /// When this fails or is cancelled, that happens at once. A program that ends in the middle leaves a
    /// journal in XAPI, from which any driver of the same owner can revert.
    ///
    /// # Errors
    ///
    /// Before anything is done: [`Cause::Conflicts`] for what does not fit, for parts of a host that the
    /// other one cannot give, and for a smaller root disk on a host without the plugin, [`Cause::Shrink`] for
    /// smaller disks for swap and data, [`Cause::ResizePending`], [`Cause::WrongState`] for an instance
    /// neither running nor halted, [`Cause::NotConnected`] for a volume that the host does not reach,
    /// [`Cause::KernelStays`] for a guest whose kernel the other host cannot have. Later: [`Cause::Host`],
    /// [`Cause::GuestStays`].
    pub fn resize(&self, which: Which, options: ResizeOptions) -> Operation<Resized> {
        let (object, progress) = (format!("instance {which}"), options.progress.clone());
        self.verb(Op::Resize, object, progress, move |job, stop| {
            Box::pin(async move {
                let (vm, record) = job.stage(Stage::Find, find::ours(job, &which)).await?;
                let _gate = job.turn(&record.uuid, stop).await?;
                let plan = job.stage(Stage::Plan, decide(job, &vm, &options)).await?;
                job.would(|| plan.steps(&options))?;
                work(job, &vm, plan, &options, stop).await
            })
        })
    }

    /// Keeps the new size and removes the disks of the old one; those that somebody has are told of, and
    /// stay. It can be repeated.
    ///
    /// It can be cancelled until it is noted on the VM that it is being confirmed; from there on it goes on
    /// to its end, whoever cancels it, and cannot be reverted any more.
    ///
    /// # Errors
    ///
    /// [`Cause::NotResized`]; [`Cause::ResizePending`] when the resize is not complete; [`Cause::Host`].
    pub fn confirm_resize(&self, which: Which, progress: Progress) -> Operation<OldDisks> {
        self.end_resize(which, progress, true, |old_disks| old_disks)
    }

    /// Has the instance as it was before its resize, running if it was running then. What the guest has written
    /// since to disks that were replaced is lost. It can be repeated, and works on a resize that broke off.
    ///
    /// It can be cancelled until it is noted on the VM that it is being reverted; from there on it goes on to
    /// its end, whoever cancels it.
    ///
    /// # Errors
    ///
    /// [`Cause::NotResized`]; [`Cause::ResizePending`] when it is being confirmed already;
    /// [`Cause::Conflicts`] when it ran before and no host takes it now; [`Cause::Host`].
    pub fn revert_resize(&self, which: Which, progress: Progress) -> Operation<()> {
        self.end_resize(which, progress, false, drop)
    }

    fn end_resize<T: Send + 'static>(
        &self,
        which: Which,
        progress: Progress,
        keep: bool,
        told: fn(OldDisks) -> T,
    ) -> Operation<T> {
        let object = format!("instance {which}");
        let op = if keep { Op::ConfirmResize } else { Op::RevertResize };
        self.verb(op, object, progress, move |job, stop| {
            Box::pin(async move {
                let (vm, record) = job.stage(Stage::Find, find::ours(job, &which)).await?;
                let _gate = job.turn(&record.uuid, stop).await?;
                let ending = async {
                    stop.check()?;
                    let record = job.client().record(&vm).await.map_err(Cause::host("reading the VM"))?;
                    let operation = match (Journal::read(&record), keep) {
                        (None, _) => return Err(Cause::NotResized { vm: record.uuid }),
                        (Some((_, Phase::Unfinished)), true) | (Some((_, Phase::Confirming)), false) => {
                            return Err(Cause::ResizePending { vm: record.uuid });
                        }
                        (Some((journal, _)), _) => {
                            if !keep {
                                let doing = Held::while_doing("looking for the disks that the VM had");
                                restore::all_there(job.client(), &record, &journal).await.map_err(doing)?;
                            }
                            if !keep && journal.was_running {
                                comes_back(job, &record, &journal).await?;
                            }
                            job.would(|| journal.steps(&record, keep))?;
                            journal.operation
                        }
                    };
                    // From the note on there is only the way forward.
                    stop.check()?;
                    let doing = Held::while_doing(format!("ending the resize of VM {}", record.uuid));
                    let ended = match keep {
                        true => restore::confirm(&job.driver, &vm, operation, By::Request).await,
                        false => {
                            let reverted = restore::revert(&job.driver, &vm, operation, By::Request).await;
                            reverted.map(|()| OldDisks::default())
                        }
                    };
                    ended.map(told).map_err(doing)
                };
                job.stage(Stage::Remove, ending).await
            })
        })
    }
}

/// Sees that the guest can come up where it was, with the disks that it had.
async fn comes_back(job: &Job, record: &VmRecord, journal: &Journal) -> Result<(), Cause> {
    let client = job.client();
    let mut drives = volume::loaded(job, record).await?;
    let old = |drive: &Drive| journal.disks.iter().any(|disk| disk.userdevice == drive.record.userdevice);
    drives.retain(|drive| !old(drive));
    let mut srs: Vec<_> = drives.into_iter().map(|drive| drive.disk.sr).collect();
    for disk in &journal.disks {
        let found = async {
            let Some(old) = client.by_uuid_opt::<Vdi>(&disk.vdi).await? else { return Ok(None) };
            Ok(client.record_opt(&old).await?.map(|old| old.sr))
        };
        srs.extend(found.await.map_err(Cause::host("reading a disk that the VM had"))?);
    }
    coming_up::check(job, record, &journal.before.affinity, &srs).await
}

/// How far the resize of a VM is, if there is one.
pub(crate) fn state(vm: &VmRecord) -> Option<ResizeState> {
    Journal::read(vm).map(|(_, phase)| phase.into())
}

impl From<Phase> for ResizeState {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Unfinished => Self::Unfinished,
            Phase::Done => Self::Done,
            Phase::Confirming => Self::Confirming,
        }
    }
}

struct Plan {
    record: VmRecord,
    node: Node,
    shape: Shape,
    changes: Vec<Change>,
    /// Disks that it has not had.
    added: Vec<Added>,
    /// Repositories of volumes, which the host must reach.
    volume_srs: Vec<Ref<Sr>>,
    /// The guest's own kernel, if it is to be on another host.
    kernel: kernel::Along,
}

impl Plan {
    fn steps(&self, options: &ResizeOptions) -> Vec<String> {
        let (node, vm) = (&self.node.name, &self.record.uuid);
        let added = self.added.iter().map(Added::step);
        let mut inner: Vec<String> = self.changes.iter().map(Change::step).chain(added).collect();
        let (shape, mib) = (&self.shape, |bytes: i64| bytes >> 20);
        if options.flavor.is_some() {
            let (vcpus, memory) = (shape.vcpus_max, mib(shape.memory[1]));
            inner.push(format!("give VM {vm} {vcpus} processors and {memory} MiB"));
        }
        let volumes =
            self.volume_srs.iter().map(|sr| format!("connect storage repository {sr} to host {node:?}"));
        let settled = format!("keep what was before until it is confirmed or reverted; host: {node:?}");
        let inner = power::around(&self.record, options.shutdown, inner);
        volumes.chain(self.kernel.steps(&self.node)).chain(inner).chain([settled]).collect()
    }
}

async fn decide(job: &Job, vm: &Ref<Vm>, options: &ResizeOptions) -> Result<Plan, Cause> {
    let record = job.client().record(vm).await.map_err(Cause::host("reading the VM"))?;
    let record = moving::settled(job, vm, record).await?;
    plugs(&record)?;
    if Journal::read(&record).is_some() {
        return Err(Cause::ResizePending { vm: record.uuid });
    }
    if rescue::is(&record) {
        return Err(Cause::Rescued { vm: record.uuid });
    }
    if record.power_state == VmPowerState::Running {
        blocked::restart(&record)?;
    }
    let nodes = inventory::read_nodes(&job.driver).await?;
    let home = [&record.resident_on, &record.affinity].into_iter().find(|host| !host.is_null()).cloned();
    let node = plan::choose_node_of(&nodes, options.node, home.as_ref()).map_err(Conflicts::from)?.clone();
    if let Some(flavor) = &options.flavor {
        plan::check_size(flavor, &record.platform)?;
        if flavor.memory_min_mib.is_some() {
            licence::check(job, &[Feature::Ballooning]).await?;
        }
    }
    let shape = shape(&record, options.flavor.as_ref(), &node);
    check_node(&record, &node, &shape)?;
    belongings::check(job, &record, &node, false).await?;
    ports::able(job, &node).await?;
    let (mut changes, mut volume_srs) = (Vec::new(), Vec::new());
    let (repositories, default_sr) = repositories(job).await?;
    let drives = volume::loaded(job, &record).await?;
    volume::all_known(&record, drives.iter().filter(|drive| drive.is_own), &options.disks)?;
    let blank = match &options.flavor {
        Some(flavor) => Blank::plan(job, (vm, &record), &drives, &repositories, flavor).await?,
        None => Blank::default(),
    };
    let mut root_sr = None;
    if options.config_drive.is_some() && !drives.iter().any(drive::is_config_drive) {
        return Err(Cause::NoConfigDrive(record.uuid));
    }
    for drive in drives {
        if !drive.is_own {
            if !reach::is_there(job, &drive.disk.sr, &node.reference).await? {
                volume_srs.push(drive.disk.sr.clone());
            }
            continue;
        }
        let place = Place { host: &node.reference, host_name: &node.name, default_sr: &default_sr };
        let present = repositories.iter().find(|sr| sr.reference == drive.disk.sr);
        let named = options.disks.get(&drive.disk.uuid).or(options.sr.as_ref());
        let stays = named.is_none() && present.is_some_and(|sr| sr.is_attached_to(&node.reference));
        let sr = match present.filter(|_| stays) {
            Some(sr) => sr,
            None => {
                let choice = named.cloned().unwrap_or(SrChoice::PoolDefault);
                choice.select(&repositories, place).map_err(Conflict::from).map_err(Conflicts::from)?
            }
        };
        if let Some(wanted) = options.config_drive.as_ref().filter(|_| drive::is_config_drive(&drive)) {
            let renewal = Renewal::plan(job, &record, wanted, &drive, sr.clone()).await?;
            changes.push(Change::renewing(renewal, drive, sr.clone()));
            continue;
        }
        let have_bytes = u64::try_from(drive.disk.virtual_size).unwrap_or(0);
        let wanted = options.flavor.as_ref().and_then(Flavor::root_bytes);
        let is_root = !drive.is_disc() && disks::is_root(&drive.record.userdevice);
        if is_root {
            root_sr = Some(sr.clone());
        }
        let larger = blank.larger.get(&drive.record.userdevice).copied();
        let wanted_bytes = wanted.filter(|_| is_root).or(larger).unwrap_or(have_bytes);
        if wanted_bytes < have_bytes {
            let shrinking = shrink::place(job, &nodes, &node, present, sr).await?;
            changes.push(Change::shrinking(shrinking, drive, sr.clone(), wanted_bytes));
            continue;
        }
        if sr.reference != drive.disk.sr && job.driver.settings().copy_via == CopyVia::Dom0 {
            let way = Way::plan(job, &nodes, &node, (&drive.disk, present), sr).await?;
            changes.push(Change::sending(way, drive, sr.clone(), wanted_bytes));
        } else if wanted_bytes > have_bytes || sr.reference != drive.disk.sr {
            changes.push(Change::new(drive, sr.clone(), wanted_bytes));
        }
    }
    let mut added = Vec::new();
    if blank.adds() {
        let place = Place { host: &node.reference, host_name: &node.name, default_sr: &default_sr };
        let choice = options.sr.clone().unwrap_or(SrChoice::PoolDefault);
        let sr = match root_sr {
            Some(sr) => sr,
            None => {
                choice.select(&repositories, place).map_err(Conflict::from).map_err(Conflicts::from)?.clone()
            }
        };
        added = blank.added(job, &record, &sr);
    }
    let chains = Chains::of(job.client(), changes.iter().map(|change| &change.record)).await?;
    check_space(&changes, &added, &chains)?;
    let kernel = kernel::along(job.client(), &record, &node).await?;
    Ok(Plan { record, node, shape, changes, added, volume_srs, kernel })
}

pub(crate) async fn repositories(job: &Job) -> Result<(Vec<Repository>, Ref<Sr>), Cause> {
    let client = job.client();
    let read = async {
        let (srs, pbds, pools) = tokio::try_join!(
            client.all_records::<Sr>(),
            client.all_records::<Pbd>(),
            client.all_records::<Pool>()
        )?;
        let default_sr = pools.into_values().next().map_or(Ref::NULL, |pool| pool.default_sr);
        let srs = srs.into_iter().map(|(sr, record)| Repository::new(sr, &record, pbds.values()));
        Ok((srs.collect(), default_sr))
    };
    read.await.map_err(Cause::host("reading the pool's storage repositories"))
}

pub(crate) fn shape(vm: &VmRecord, flavor: Option<&Flavor>, node: &Node) -> Shape {
    let before = Shape::of(vm);
    let Some(flavor) = flavor else { return Shape { affinity: node.reference.clone(), ..before } };
    let (vcpus, memory) = (i64::from(flavor.vcpus), flavor.memory_bytes() as i64);
    let least = flavor.memory_min_bytes() as i64;
    Shape {
        vcpus_max: vcpus,
        vcpus_at_startup: vcpus,
        vcpus_params: plan::vcpus_params(flavor),
        memory: [before.memory[0].min(least), memory, least, memory],
        affinity: node.reference.clone(),
    }
}

fn check_node(vm: &VmRecord, node: &Node, shape: &Shape) -> Result<(), Cause> {
    let name = || node.name.clone();
    if let Some(refusal) = node.refusal() {
        return Err(Conflicts::from(refusal).into());
    }
    if vm.power_state != VmPowerState::Running {
        return Ok(());
    }
    // What it has there now, it gives back.
    let returned = if vm.resident_on == node.reference { memory::taken_bytes(vm) } else { 0 };
    let bytes = u64::try_from(shape.memory[1]).unwrap_or(0);
    let needed_bytes = memory::needed_bytes(bytes, u32::try_from(shape.vcpus_max).unwrap_or(u32::MAX));
    let free_bytes = node.memory_free_bytes.saturating_add(returned);
    if needed_bytes > free_bytes {
        return Err(
            Conflicts::from(Conflict::NotEnoughMemory { node: name(), needed_bytes, free_bytes }).into()
        );
    }
    Ok(())
}

fn check_space(changes: &[Change], added: &[Added], chains: &Chains) -> Result<(), Cause> {
    let added_srs = added.iter().map(|added| &added.sr);
    let beside = changes.iter().filter_map(|change| change.shrinking.as_ref()?.beside.as_ref());
    let wanted = changes.iter().map(|change| &change.sr);
    let mut srs: Vec<&Repository> = wanted.chain(added_srs).chain(beside).collect();
    srs.sort_by(|a, b| a.reference.cmp(&b.reference));
    srs.dedup_by(|a, b| a.reference == b.reference);
    for sr in srs {
        let here = changes.iter().filter(|change| change.sr.reference == sr.reference);
        let blank = added
            .iter()
            .filter(|added| added.sr.reference == sr.reference)
            .map(|added| DiskRequest { virtual_bytes: added.disk.virtual_bytes, data_bytes: Some(0) });
        let requests: Vec<DiskRequest> = here
            .map(|change| match change.is_copied() {
                true => chains.copy(&change.record, change.bytes),
                false => DiskRequest { virtual_bytes: change.bytes, data_bytes: Some(0) },
            })
            .chain(blank)
            .chain(changes.iter().filter_map(|change| change.beside(sr, chains)))
            .collect();
        sr.check_space(&requests).map_err(Conflict::from).map_err(Conflicts::from)?;
    }
    Ok(())
}

async fn work(
    job: &Job,
    vm: &Ref<Vm>,
    plan: Plan,
    options: &ResizeOptions,
    stop: &Stop,
) -> Result<Resized, Failed> {
    let Plan { record, node, shape, mut changes, added, volume_srs, kernel } = plan;
    let instance = find::made_for(&record.other_config, &record.uuid, &job.driver.settings().owner);
    let was_running = record.power_state == VmPowerState::Running;
    let journal = Journal {
        operation: job.operation,
        was_running,
        before: Shape::of(&record),
        disks: changes.iter().map(|change| change.place.clone()).collect(),
        added: added.iter().map(|added| added.disk.userdevice.to_string()).collect(),
    };
    let preparing = async {
        let connections = reach::to_host(job, &volume_srs, &node.reference, stop).await?;
        kernel.bring(job, vm, instance.unwrap_or_default(), &node.reference, stop).await?;
        let what = format!("the resize of VM {}", record.uuid);
        note(job, vm, &record, what, &journal, stop).await?;
        for change in changes.iter_mut().filter(|change| was_running && change.is_copied()) {
            change.copy_ahead(job, &journal, stop).await?;
        }
        Ok(connections)
    };
    let connections = job.stage(Stage::Storage, preparing).await?;
    if was_running {
        let stopping = async {
            KEYS.goes_on(job, vm, journal.operation).await?;
            power::change(job, vm, &record, PowerChange::Off(options.shutdown), stop).await
        };
        job.stage(Stage::Stop, stopping).await?;
    }
    let replacing = async {
        replace(job, vm, &record, &journal, &mut changes, stop).await?;
        for added in &added {
            added.make(job, (vm, &record), &journal, stop).await?;
        }
        let doing = format!("changing the size of VM {}", record.uuid);
        shape.apply(job.client(), vm).await.map_err(Cause::host(doing))
    };
    job.stage(Stage::RootDisk, replacing).await?;
    if was_running {
        job.stage(Stage::Start, start(job, vm, &record, &node.reference, stop)).await?;
    }
    let ending = async {
        let doing = || Cause::host("writing the journal of the resize");
        KEYS.set_done(job, vm, journal.operation).await?;
        connections.keep(job.client()).await;
        job.client().get_field(vm, vm::field::POWER_STATE).await.map_err(doing())
    };
    let power_state = job.stage(Stage::Vm, ending).await?;
    Ok(Resized { vm_uuid: record.uuid, node_uuid: node.uuid, replaced_disks: changes.len(), power_state })
}

/// From here on what is done to the VM is taken back, also by others if this program dies.
async fn note(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    what: String,
    journal: &Journal,
    stop: &Stop,
) -> Result<(), Cause> {
    stop.check()?;
    let (driver, reverted, operation) = (job.driver.clone(), vm.clone(), journal.operation);
    let undo = async move { restore::revert(&driver, &reverted, operation, By::Itself).await };
    crate::journal::begin(job, vm, record, journal.note(what), undo).await
}

/// Makes the new disks, and puts them in the places of the old ones.
async fn replace(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    journal: &Journal,
    changes: &mut [Change],
    stop: &Stop,
) -> Result<(), Cause> {
    for change in changes.iter_mut() {
        change.make(job, record, journal, stop).await?;
    }
    KEYS.goes_on(job, vm, journal.operation).await?;
    for change in changes.iter() {
        stop.check()?;
        if let Some(made) = change.made() {
            let place = change.place.with_own();
            let put = restore::put(&job.driver, vm, record, &place, made, journal.operation);
            put.await.map_err(Cause::host(format!("exchanging the disks of VM {}", record.uuid)))?;
        }
        change.tidy(job, journal).await?;
    }
    Ok(stop.check()?)
}

pub(crate) async fn start(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    host: &Ref<Host>,
    stop: &Stop,
) -> Result<(), Cause> {
    stop.check()?;
    let doing = format!("starting VM {}", record.uuid);
    let call = vm::StartOn { vm: vm.clone(), host: host.clone(), start_paused: false, force: false };
    power::run(job, call, doing, stop).await?;
    power::begun(job, vm, stop).await
}
