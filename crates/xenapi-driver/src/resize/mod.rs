//! Another size, another host of the pool, another repository: for an instance that is off while it changes.
//!
//! ```text
//! journal ─► copy ahead ─► stop ─► new disks ─► swap ─► new shape ─► start ─► done ─┬─► confirm
//!    └────────────────── revert, from wherever it broke off ◄──────────────────────┘
//! ```

pub(crate) mod disks;
mod dom0_copy;
pub(crate) mod journal;
mod rebuild;
pub(crate) mod restore;
mod shrink;

use uuid::Uuid;
use xenapi_storage::{DiskRequest, Place, Repository};
use xenapi_types::{Host, Pbd, Pool, Ref, Sr, Vm, VmPowerState, VmRecord, vm};

use crate::cancel::Stop;
use crate::drive::{self, NewDrive, Renewal};
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::{self, Which, plugs};
use crate::inventory::{self, Node};
use crate::job::{Failed, Job};
use crate::kernel;
use crate::operation::Operation;
use crate::plan::{self, Conflict, Conflicts};
use crate::ports;
use crate::power::{self, PowerChange, Shutdown};
use crate::progress::{Progress, Stage};
use crate::rescue;
use crate::spec::{Flavor, SrChoice};
use crate::volume::{self, connect};
use disks::Change;
pub use dom0_copy::CopyVia;
use dom0_copy::Way;
use journal::{Journal, Phase, Shape};
pub use rebuild::RebuildOptions;

/// What an instance is to become. What is `None` stays as it is.
#[derive(Debug, Clone)]
pub struct ResizeOptions {
    /// Its new size; 0 GiB leaves the root disk as it is. A smaller one wants the plugin `dom0_protocol` on the
    /// host, and a single partition with an ext2, ext3 or ext4 whose files fit.
    pub flavor: Option<Flavor>,
    /// The host it is to be on.
    pub node: Option<Uuid>,
    /// Where its disks go; without it they move only where the new host does not reach them, to the pool's
    /// default repository.
    pub sr: Option<SrChoice>,
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
    /// has changed since. A root disk that becomes smaller is shrunk while it is down, in dom0, as a copy. Its VM, its interfaces and its volumes stay the same.
    ///
    /// The old disks are kept until [`Driver::confirm_resize`]; [`Driver::revert_resize`] has it all as it was.
    /// When this fails or is cancelled, that happens at once. A program that ends in the middle leaves a
    /// journal in XAPI, from which any driver of the same owner can revert.
    ///
    /// # Errors
    ///
    /// Before anything is done: [`Cause::Conflicts`] for what does not fit and for a smaller root disk on a host
    /// without the plugin, [`Cause::ResizePending`], [`Cause::WrongState`] for an instance neither running nor halted,
    /// [`Cause::NotConnected`] for a volume that the host does not reach, [`Cause::KernelStays`] for a guest whose kernel
    /// the other host cannot have. Later: [`Cause::Host`],
    /// [`Cause::GuestStays`].
    pub fn resize(&self, which: Which, options: ResizeOptions) -> Operation<Resized> {
        let (object, progress) = (format!("instance {which}"), options.progress.clone());
        self.verb(Op::Resize, object, progress, move |job, stop| {
            Box::pin(async move {
                let (vm, record) = job.stage(Stage::Find, find::ours(job, &which)).await?;
                let _gate = job.driver.0.gates.enter(&record.uuid).await;
                let plan = job.stage(Stage::Plan, decide(job, &vm, &options)).await?;
                job.would(|| plan.steps(&options))?;
                work(job, &vm, plan, &options, stop).await
            })
        })
    }

    /// Keeps the new size and removes the disks of the old one. It can be repeated.
    ///
    /// # Errors
    ///
    /// [`Cause::NotResized`]; [`Cause::ResizePending`] when the resize is not complete; [`Cause::Host`].
    pub fn confirm_resize(&self, which: Which, progress: Progress) -> Operation<()> {
        self.end_resize(which, progress, true)
    }

    /// Has the instance as it was before its resize, running if it was running then. What the guest has written
    /// since to disks that were replaced is lost. It can be repeated, and works on a resize that broke off.
    ///
    /// # Errors
    ///
    /// [`Cause::NotResized`]; [`Cause::ResizePending`] when it is being confirmed already; [`Cause::Host`].
    pub fn revert_resize(&self, which: Which, progress: Progress) -> Operation<()> {
        self.end_resize(which, progress, false)
    }

    fn end_resize(&self, which: Which, progress: Progress, keep: bool) -> Operation<()> {
        let object = format!("instance {which}");
        let op = if keep { Op::ConfirmResize } else { Op::RevertResize };
        self.verb(op, object, progress, move |job, stop| {
            Box::pin(async move {
                let (vm, record) = job.stage(Stage::Find, find::ours(job, &which)).await?;
                let _gate = job.driver.0.gates.enter(&record.uuid).await;
                let ending = async {
                    stop.check()?;
                    let record = job.client().record(&vm).await.map_err(Cause::host("reading the VM"))?;
                    match (Journal::read(&record), keep) {
                        (None, _) => return Err(Cause::NotResized { vm: record.uuid }),
                        (Some((_, Phase::Unfinished)), true) | (Some((_, Phase::Confirming)), false) => {
                            return Err(Cause::ResizePending { vm: record.uuid });
                        }
                        (Some((journal, _)), _) => job.would(|| journal.steps(&record, keep))?,
                    }
                    let doing = Cause::host(format!("ending the resize of VM {}", record.uuid));
                    let ended = match keep {
                        true => restore::confirm(&job.driver, &vm).await,
                        false => restore::revert(&job.driver, &vm).await,
                    };
                    ended.map_err(doing)
                };
                job.stage(Stage::Remove, ending).await
            })
        })
    }
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
    /// Repositories of volumes, which the host must reach.
    volume_srs: Vec<Ref<Sr>>,
    /// The guest's own kernel, if it is to be on another host.
    kernel: kernel::Along,
}

impl Plan {
    fn steps(&self, options: &ResizeOptions) -> Vec<String> {
        let (node, vm) = (&self.node.name, &self.record.uuid);
        let mut inner: Vec<String> = self.changes.iter().map(Change::step).collect();
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
    plugs(&record)?;
    if Journal::read(&record).is_some() {
        return Err(Cause::ResizePending { vm: record.uuid });
    }
    if rescue::is(&record) {
        return Err(Cause::Rescued { vm: record.uuid });
    }
    let nodes = inventory::read_nodes(job.client()).await?;
    let home = [&record.resident_on, &record.affinity].into_iter().find(|host| !host.is_null()).cloned();
    let node = plan::choose_node_of(&nodes, options.node, home.as_ref()).map_err(Conflicts::from)?.clone();
    if let Some(flavor) = &options.flavor {
        plan::check_memory(flavor)?;
    }
    let shape = shape(&record, options.flavor.as_ref(), &node);
    check_node(&record, &node, &shape)?;
    ports::able(job, &node).await?;
    let (mut changes, mut volume_srs) = (Vec::new(), Vec::new());
    let (repositories, default_sr) = repositories(job).await?;
    let drives = volume::drives(job, &record).await?;
    if options.config_drive.is_some() && !drives.iter().any(drive::is_config_drive) {
        return Err(Cause::NoConfigDrive(record.uuid));
    }
    for drive in drives {
        if !drive.is_own {
            volume_srs.push(drive.disk.sr.clone());
            continue;
        }
        let place = Place { host: &node.reference, host_name: &node.name, default_sr: &default_sr };
        let present = repositories.iter().find(|sr| sr.reference == drive.disk.sr);
        let stays = options.sr.is_none() && present.is_some_and(|sr| sr.is_attached_to(&node.reference));
        let sr = match present.filter(|_| stays) {
            Some(sr) => sr,
            None => {
                let choice = options.sr.clone().unwrap_or(SrChoice::PoolDefault);
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
        let wanted_bytes = wanted.filter(|_| disks::is_root(&drive.record.userdevice)).unwrap_or(have_bytes);
        if wanted_bytes < have_bytes {
            let wanted_bytes = sr.facts().round_size(wanted_bytes).unwrap_or(wanted_bytes);
            let shrunk_on = shrink::place(job, &nodes, &node, present, sr).await?;
            changes.push(Change::shrinking(shrunk_on, drive, sr.clone(), wanted_bytes));
            continue;
        }
        if sr.reference != drive.disk.sr && job.driver.settings().copy_via == CopyVia::Dom0 {
            let way = Way::plan(job, &nodes, &node, (&drive.disk, present), sr).await?;
            changes.push(Change::sending(way, drive, sr.clone(), wanted_bytes));
        } else if wanted_bytes > have_bytes || sr.reference != drive.disk.sr {
            changes.push(Change::new(drive, sr.clone(), wanted_bytes));
        }
    }
    check_space(&changes)?;
    let kernel = kernel::along(job.client(), &record, &node).await?;
    Ok(Plan { record, node, shape, changes, volume_srs, kernel })
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
    if !node.enabled {
        return Err(Conflicts::from(Conflict::NodeDisabled { node: name() }).into());
    }
    if vm.power_state != VmPowerState::Running {
        return Ok(());
    }
    let bytes = |n: i64| u64::try_from(n).unwrap_or(0);
    // What it has there now, it gives back.
    let returned = if vm.resident_on == node.reference { bytes(vm.memory_dynamic_max) } else { 0 };
    let (needed_bytes, free_bytes) = (bytes(shape.memory[1]), node.memory_free_bytes + returned);
    if needed_bytes > free_bytes {
        return Err(
            Conflicts::from(Conflict::NotEnoughMemory { node: name(), needed_bytes, free_bytes }).into()
        );
    }
    Ok(())
}

fn check_space(changes: &[Change]) -> Result<(), Cause> {
    let mut srs: Vec<&Repository> = changes.iter().map(|change| &change.sr).collect();
    srs.dedup_by(|a, b| a.reference == b.reference);
    for sr in srs {
        let here = changes.iter().filter(|change| change.sr.reference == sr.reference);
        let requests: Vec<DiskRequest> = here
            .map(|change| {
                let used = u64::try_from(change.record.physical_utilisation).unwrap_or(0).min(change.bytes);
                let data = if change.is_copied() { used } else { 0 };
                DiskRequest { virtual_bytes: change.bytes, data_bytes: Some(data) }
            })
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
    let Plan { record, node, shape, mut changes, volume_srs, kernel } = plan;
    let instance = find::made_for(&record.other_config, &record.uuid, &job.driver.settings().owner);
    let was_running = record.power_state == VmPowerState::Running;
    let journal = Journal {
        operation: job.operation,
        was_running,
        before: Shape::of(&record),
        disks: changes.iter().map(|change| change.place.clone()).collect(),
    };
    let preparing = async {
        for sr in &volume_srs {
            connect::to_host(job, sr, &node.reference, stop).await?;
        }
        kernel.bring(job, vm, instance.unwrap_or_default(), &node.reference, stop).await?;
        let what = format!("the resize of VM {}", record.uuid);
        note(job, vm, what, &journal, stop).await?;
        for change in changes.iter_mut().filter(|change| was_running && change.is_copied()) {
            change.copy_ahead(job, &journal, stop).await?;
        }
        Ok(())
    };
    job.stage(Stage::Storage, preparing).await?;
    if was_running {
        let off = PowerChange::Off(options.shutdown);
        job.stage(Stage::Stop, power::change(job, vm, &record, off, stop)).await?;
    }
    let replacing = async {
        replace(job, vm, &record, &journal, &mut changes, stop).await?;
        let doing = format!("changing the size of VM {}", record.uuid);
        shape.apply(job.client(), vm).await.map_err(Cause::host(doing))
    };
    job.stage(Stage::RootDisk, replacing).await?;
    if was_running {
        job.stage(Stage::Start, start(job, vm, &record, &node.reference, stop)).await?;
    }
    let ending = async {
        let doing = || Cause::host("writing the journal of the resize");
        journal.set_done(job.client(), vm).await.map_err(doing())?;
        job.client().get_field(vm, vm::field::POWER_STATE).await.map_err(doing())
    };
    let power_state = job.stage(Stage::Vm, ending).await?;
    Ok(Resized { vm_uuid: record.uuid, node_uuid: node.uuid, replaced_disks: changes.len(), power_state })
}

/// From here on what is done to the VM is taken back, also by others if this program dies.
async fn note(job: &Job, vm: &Ref<Vm>, what: String, journal: &Journal, stop: &Stop) -> Result<(), Cause> {
    stop.check()?;
    let doing = Cause::host(format!("writing the journal of {what}"));
    let (driver, undo) = (job.driver.clone(), vm.clone());
    job.rollback.push_sweep(what, async move { restore::revert(&driver, &undo).await });
    journal.begin(job.client(), vm).await.map_err(doing)
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
    for change in changes.iter() {
        stop.check()?;
        if let Some(made) = change.made() {
            let put = restore::put(&job.driver, vm, record, &change.place, made, journal.operation);
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
