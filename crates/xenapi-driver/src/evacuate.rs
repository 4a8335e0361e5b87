//! Instances of a host that is dead, brought up on another one.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xenapi_client::{Client, Result};
use xenapi_storage::device::UserDevice;
use xenapi_storage::ownership;
use xenapi_types::{Host, HostMetrics, Ref, Sr, Vdi, Vm, VmPowerState, VmRecord, vdi, vm};

use crate::belongings;
use crate::cancel::Stop;
use crate::drive::{self, NewDrive, Renewal};
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::{self, Which};
use crate::held::Held;
use crate::inventory::{self, Node};
use crate::job::{Job, heap};
use crate::journal;
use crate::kernel;
use crate::ledger;
use crate::live;
use crate::memory;
use crate::operation::Operation;
use crate::plan::{self, Conflicts};
use crate::power;
use crate::progress::{Progress, Stage};
use crate::resize::journal::{Replaced, Shape};
use crate::resize::{self, restore};
use crate::volume::{self, Drive, reach};

/// What is written down before the pool is told that the instance is off.
const KEY: &str = "xenapi-rs:evacuate";

#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    operation: Uuid,
    /// Where the instance preferred to be, and where it is to be.
    before: Ref<Host>,
    target: Ref<Host>,
    /// Of a config drive that is lost, and gets a successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drive: Option<Replaced>,
}

impl Journal {
    fn read(vm: &VmRecord) -> Option<Self> {
        journal::read(vm, KEY)
    }
}

/// Where an instance is brought up, and what it gets there.
#[derive(Debug, Clone)]
pub struct EvacuateOptions {
    /// The uuid of the new host.
    pub node: Uuid,
    /// A new config drive for an instance whose own died with its host; one that the new host reaches stays
    /// as it is. It is put beside the root disk, or, where that is a volume, on the pool's default
    /// repository.
    pub config_drive: Option<NewDrive>,
    /// Who is told what happens.
    pub progress: Progress,
}

impl EvacuateOptions {
    /// With the disks that the instance has.
    pub fn to(node: Uuid) -> Self {
        Self { node, config_drive: None, progress: Progress::none() }
    }
}

impl Driver {
    /// Starts an instance on another host, whose own has died. Its disks have to be on storage that both reach, or that the
    /// driver can connect: repositories that it introduced for volumes are connected to the new host.
    ///
    /// The pool is told that the instance is off, which has to be true: a guest that runs on a host that only
    /// cannot be reached would write to its disks from two sides. A host that the pool calls live is
    /// therefore refused.
    ///
    /// When it fails or is cancelled before the pool is told, all is as it was. Later the instance is off,
    /// which it was in truth, prefers the host that it preferred before, and can be evacuated once more. A
    /// program that ends in between leaves a journal: [`Driver::reconcile`] starts the instance where it was
    /// to go, unless its new config drive is not complete: then all is as it was.
    ///
    /// A config drive on storage of the dead host is lost. Nothing but the drive remembers what it says, for
    /// that may be secret: it has to be said anew. What was lost is no longer the instance's then; once its
    /// repository is back, [`Driver::reconcile`] removes it.
    ///
    /// # Errors
    ///
    /// Before anything is done: [`Cause::HostLives`]; [`Cause::Conflicts`] for a new host that is unknown, disabled or
    /// too small; [`Cause::NotConnected`] when it cannot reach a volume, [`Cause::DiskLost`] one of the
    /// instance's own disks, [`Cause::ConfigDriveLost`] a config drive that is to have no successor;
    /// [`Cause::ConfigDrive`] for content that cannot be; [`Cause::WrongState`] for a suspended instance,
    /// which is on no host, and for one that is being evacuated; [`Cause::KernelStays`] for a guest whose
    /// kernel only the dead host has. Later: [`Cause::WrongState`] when another program has brought it up
    /// meanwhile, which stays as it is; [`Cause::Host`], [`Cause::NoAnswer`].
    pub fn evacuate(&self, which: Which, options: EvacuateOptions) -> Operation<()> {
        let object = format!("instance {which}");
        self.verb(Op::Evacuate, object, options.progress.clone(), move |job, stop| {
            Box::pin(async move {
                let (_gate, vm, record) = find::ours_in_turn(job, &which, stop).await?;
                let plan = job.stage(Stage::Plan, decide(job, &record, &options)).await?;
                job.would(|| plan.steps(&record))?;
                job.stage(Stage::Start, start(job, &vm, &record, plan, stop)).await
            })
        })
    }
}

/// The new host, what it is to be connected to, what has to come along, and what is made anew.
struct Plan {
    target: Node,
    srs: Vec<Ref<Sr>>,
    along: kernel::Along,
    drive: Option<Renewal>,
}

impl Plan {
    fn steps(&self, vm: &VmRecord) -> Vec<String> {
        let (node, uuid) = (&self.target.name, &vm.uuid);
        let connect = |sr| format!("connect storage repository {sr} to host {node:?}");
        let tell = format!("tell the pool that VM {uuid} does not run");
        let tell = (vm.power_state != VmPowerState::Halted).then_some(tell);
        let start = format!("start VM {uuid} on host {node:?}");
        let along = self.along.steps(&self.target);
        let drive = self.drive.as_ref().map(|new| {
            format!("make a new config drive, in the place of disk {}, which is lost", new.place.vdi)
        });
        self.srs.iter().map(connect).chain(along).chain(drive).chain(tell).chain([start]).collect()
    }
}

/// What is to be done, if the old host is dead and the new one will do.
async fn decide(job: &Job, record: &VmRecord, options: &EvacuateOptions) -> Result<Plan, Cause> {
    let client = job.client();
    if broken(record).is_some() {
        return Err(pending(record));
    }
    if record.power_state == VmPowerState::Suspended {
        let (vm, state) = (record.uuid.clone(), record.power_state.to_string());
        return Err(Cause::WrongState { vm, state, remedy: "it is on no host: resume it" });
    }
    // One that is off is on no host; it has died with the one that it preferred.
    let home = if record.resident_on.is_null() { &record.affinity } else { &record.resident_on };
    if !has_died(client, home).await? && record.power_state == VmPowerState::Halted {
        let (vm, state) = (record.uuid.clone(), record.power_state.to_string());
        return Err(Cause::WrongState { vm, state, remedy: "no host that has died had it: start it" });
    }
    let nodes = inventory::read_nodes(&job.driver).await?;
    let target = plan::choose_node_of(&nodes, Some(options.node), None).map_err(Conflicts::from)?.clone();
    live::check_node(record, &target, true)?;
    belongings::check(job, record, &target, false).await?;
    let (mut srs, mut renewed) = (Vec::new(), None);
    let drives = volume::loaded(job, record).await?;
    for drive in &drives {
        let sr = drive.disk.sr.clone();
        match reach::is_there(job, &sr, &target.reference).await {
            Err(Cause::NotConnected { sr, host }) if drive.is_own => match &options.config_drive {
                Some(wanted) if drive::is_config_drive(drive) => renewed = Some((wanted, drive)),
                _ => return Err(lost(record, drive, sr, host)),
            },
            there => {
                if !there? && !srs.contains(&sr) {
                    srs.push(sr);
                }
            }
        }
    }
    let along = kernel::along(client, record, &target).await?;
    let drive = match renewed {
        Some((wanted, old)) => Some(renewal(job, record, wanted, old, &drives, &target).await?),
        None => None,
    };
    Ok(Plan { target, srs, along, drive })
}

/// Whether there is such a host, which then is dead.
async fn has_died(client: &Client, home: &Ref<Host>) -> Result<bool, Cause> {
    let doing = || Cause::host("reading the host of the instance");
    let Some(host) = client.record_opt(home).await.map_err(doing())? else { return Ok(false) };
    let metrics = client.record_opt::<HostMetrics>(&host.metrics).await.map_err(doing())?;
    match metrics.is_some_and(|metrics| metrics.live) {
        true => Err(Cause::HostLives { host: host.name_label }),
        false => Ok(true),
    }
}

/// The successor of a config drive that is lost: beside the root disk, or on the pool's default repository.
async fn renewal(
    job: &Job,
    record: &VmRecord,
    wanted: &NewDrive,
    old: &Drive,
    drives: &[Drive],
    target: &Node,
) -> Result<Renewal, Cause> {
    let (repositories, default_sr) = resize::repositories(job).await?;
    let is_root = |drive: &&Drive| drive.is_own && drive.record.userdevice == UserDevice::ROOT.to_string();
    let sr = drives.iter().find(is_root).map_or(default_sr, |root| root.disk.sr.clone());
    reach::is_there(job, &sr, &target.reference).await?;
    let repository = repositories.into_iter().find(|known| known.reference == sr);
    let repository = repository.ok_or_else(|| Cause::NoHostSees { sr: sr.to_string() })?;
    Renewal::plan(job, record, wanted, old, repository).await
}

/// What was made for the instance, and only its dead host has.
fn lost(vm: &VmRecord, drive: &Drive, sr: String, host: String) -> Cause {
    let (vm, disk, device) = (vm.uuid.clone(), &drive.disk.uuid, drive.record.userdevice.clone());
    if drive::is_config_drive(drive) {
        return Cause::ConfigDriveLost { vm, disk: disk.clone(), sr, host };
    }
    let what = if drive.is_disc() { "disc" } else { "disk" };
    Cause::DiskLost { vm, disk: format!("{what} {disk}"), device, sr, host }
}

async fn start(job: &Job, vm: &Ref<Vm>, record: &VmRecord, plan: Plan, stop: &Stop) -> Result<(), Cause> {
    let Plan { target, srs, along, drive } = plan;
    let client = job.client();
    let doing = || Cause::host(format!("starting VM {} on host {:?}", record.uuid, target.name));
    let home = target.reference.clone();
    let connections = reach::to_host(job, &srs, &home, stop).await?;
    let owner = &job.driver.settings().owner;
    let instance = find::made_for(&record.other_config, &record.uuid, owner);
    along.bring(job, vm, instance.unwrap_or_default(), &home, stop).await?;
    ledger::reserve(job, &target, memory::taken_bytes(record), stop).await?;
    ledger::confirm(job, &target).await?;
    let place = drive.as_ref().map(|new| new.place.clone());
    let journal = note(job, vm, record, &home, place).await?;
    let made = match &drive {
        Some(new) => {
            Some((&new.place, heap(|| new.make(job, record, stop)).await.map_err(|failed| failed.cause)?))
        }
        None => None,
    };
    stop.check()?;
    if record.power_state != VmPowerState::Halted {
        let is_off = is_off_by_now(job, vm, record).await?;
        if !is_off {
            client.call(vm::PowerStateReset { vm: vm.clone() }).await.map_err(doing())?;
        }
    }
    if let Some((place, disk)) = &made {
        let put = restore::put(&job.driver, vm, record, place, &disk.reference, job.operation).await;
        put.map_err(Cause::host(format!("giving VM {} its new config drive", record.uuid)))?;
    }
    client.set_field(vm, vm::field::AFFINITY, home.clone()).await.map_err(doing())?;
    restart(job, vm, &record.uuid, home.clone(), stop).await?;
    connections.keep(client).await;
    if let Err(error) = ledger::release(client, &home, job.operation).await {
        // Reconciling will find it, and it lapses by itself.
        tracing::warn!(%error, "the reservation of memory stays for now");
    }
    finish(client, vm, &journal).await.map_err(doing())
}

/// Whether the pool has been told by somebody that it is off. If not, it must still be where it died: another
/// program may have brought it up elsewhere, where it runs now.
async fn is_off_by_now(job: &Job, vm: &Ref<Vm>, seen: &VmRecord) -> Result<bool, Cause> {
    let now =
        job.client().record(vm).await.map_err(Cause::host("seeing whether the instance is still dead"))?;
    let is_ours = Journal::read(&now).is_some_and(|journal| journal.operation == job.operation);
    if is_ours && now.power_state == VmPowerState::Halted {
        return Ok(true);
    }
    if !is_ours || now.resident_on != seen.resident_on || now.power_state != seen.power_state {
        return Err(journal::changed(&now));
    }
    has_died(job.client(), &now.resident_on).await.map(|_| false)
}

async fn restart(job: &Job, vm: &Ref<Vm>, uuid: &str, host: Ref<Host>, stop: &Stop) -> Result<(), Cause> {
    let call = vm::StartOn { vm: vm.clone(), host, start_paused: false, force: false };
    power::run(job, call, format!("starting VM {uuid}"), stop).await?;
    power::begun(job, vm, stop).await
}

/// From here on the instance is to be brought up there, also by others if this program dies. Of two programs
/// that do it at the same time, one has it.
async fn note(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    target: &Ref<Host>,
    drive: Option<Replaced>,
) -> Result<Journal, Cause> {
    let before = record.affinity.clone();
    let own = Journal { operation: job.operation, before, target: target.clone(), drive };
    let (driver, undo, operation) = (job.driver.clone(), vm.clone(), job.operation);
    let what = format!("the evacuation of VM {}", record.uuid);
    job.rollback.push(what, async move { take_back(&driver, &undo, operation).await });
    let text = journal::of_vm(&serde_json::to_string(&own).unwrap_or_default(), record);
    let (client, doing) = (job.client(), || Cause::host("noting the evacuation"));
    let added = client.add_to(vm, vm::field::OTHER_CONFIG, KEY, &text).await;
    if added.as_ref().is_err_and(|error| error.is("MAP_DUPLICATE_KEY")) {
        let now = client.record(vm).await.map_err(doing())?;
        // Its own, if the first answer was lost.
        return if broken(&now) == Some(job.operation) { Ok(own) } else { Err(pending(&now)) };
    }
    added.map(|()| own).map_err(doing())
}

/// Somebody else is at it, or was.
fn pending(vm: &VmRecord) -> Cause {
    let state = "being evacuated already".to_owned();
    let remedy = "wait until that has ended; where its program has ended, reconcile, which completes it";
    Cause::WrongState { vm: vm.uuid.clone(), state, remedy }
}

/// The instance is there. A disk that is lost is nobody's from now on: it is removed when its repository is back.
async fn finish(client: &Client, vm: &Ref<Vm>, own: &Journal) -> Result<()> {
    if let Some(place) = &own.drive
        && let Some(lost) = client.by_uuid_opt::<Vdi>(&place.vdi).await?
    {
        let nobody = own.operation.to_string();
        client.put_in(&lost, vdi::field::OTHER_CONFIG, ownership::INSTANCE, nobody).await?;
    }
    journal::withdraw(client, vm, KEY, own.operation).await
}

/// What did not start stays off, prefers the host that it preferred, and has the disks that it had. Where
/// another operation has gone on with it, it is that one's.
async fn take_back(driver: &Driver, vm: &Ref<Vm>, operation: Uuid) -> Result<()> {
    let client = driver.client();
    let Some(record) = client.record_opt(vm).await? else { return Ok(()) };
    let Some(journal) = Journal::read(&record).filter(|it| it.operation == operation) else { return Ok(()) };
    if record.resident_on != journal.target {
        if let Some(place) = &journal.drive {
            if let Some(lost) = client.by_uuid_opt::<Vdi>(&place.vdi).await? {
                restore::put(driver, vm, &record, place, &lost, journal.operation).await?;
            }
            restore::remove_of(driver, &record, journal.operation).await?;
        }
        if record.affinity != journal.before {
            client.set_field(vm, vm::field::AFFINITY, journal.before).await?;
        }
    }
    client.remove_from(vm, vm::field::OTHER_CONFIG, KEY).await
}

/// The operation of an evacuation that broke off.
pub(crate) fn broken(vm: &VmRecord) -> Option<Uuid> {
    Journal::read(vm).map(|journal| journal.operation)
}

/// Starts an instance whose evacuation broke off, if the pool had been told that it is off: where it was to
/// go, or, when that host takes no guests any more, wherever it can run. Without a config drive that is
/// complete it stays off, as it was.
pub(crate) async fn complete(job: &Job, vm: &Ref<Vm>) -> Result<(), Cause> {
    let client = job.client();
    let doing = || Cause::host("completing the evacuation of a VM");
    let Some(record) = client.record_opt(vm).await.map_err(doing())? else { return Ok(()) };
    let Some(journal) = Journal::read(&record) else { return Ok(()) };
    if record.power_state == VmPowerState::Halted {
        if let Some(place) = &journal.drive {
            let made = drive::written_by(client, journal.operation).await.map_err(doing())?;
            let Some(made) = made else {
                return take_back(&job.driver, vm, journal.operation).await.map_err(doing());
            };
            let put = restore::put(&job.driver, vm, &record, place, &made, journal.operation).await;
            put.map_err(doing())?;
        }
        let shape = Shape { affinity: journal.target.clone(), ..Shape::of(&record) };
        shape.apply(client, vm).await.map_err(doing())?;
        let started = restore::start(&job.driver, vm, &shape).await;
        started.map_err(Held::while_doing("completing the evacuation of a VM"))?;
        power::begun(job, vm, &Stop::new()).await?;
    } else if record.resident_on != journal.target {
        return take_back(&job.driver, vm, journal.operation).await.map_err(doing());
    }
    finish(client, vm, &journal).await.map_err(doing())
}
