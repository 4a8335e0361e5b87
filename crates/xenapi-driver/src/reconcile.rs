//! Putting a pool in order after a program that was ended in the middle of something.
//!
//! All that is needed is in XAPI: whose an object is and which operation made it ([`xenapi_storage::ownership`]),
//! the journal of a resize, the mark of an instance that is not complete. An operation's uuid says when it
//! began, so that what may still be under way in another program is left alone.

mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use uuid::Uuid;
use xenapi_client::{Client, ErrorKind, TaskMark};
use xenapi_storage::ownership::{self, Claim};
use xenapi_types::{
    Host, HostRecord, Network, NetworkRecord, Pbd, PbdRecord, Ref, Sr, SrRecord, Task, TaskRecord,
    TaskStatusType, Vbd, VbdRecord, Vdi, VdiRecord, Vif, VifRecord, Vm, VmPowerState, VmRecord, secret, vdi,
};

use crate::adopt;
use crate::backup;
use crate::destroy;
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::evacuate;
use crate::half;
use crate::image_cache::{COPYING, Cloning, lock};
use crate::job::{Failed, Job};
use crate::ledger;
use crate::marks::{self, Marked};
use crate::moving::{self, arriving::Arriving};
use crate::node::drain;
use crate::operation::Operation;
use crate::pool_move;
use crate::progress::{Progress, Stage};
use crate::remove::{self};
use crate::request;
use crate::rescue;
use crate::resize::{self, ResizeState, restore};
use crate::rollback::Leftover;
use crate::soft_delete;
use crate::volume::{reach, swap};

/// How a pool is put in order.
#[derive(Debug, Clone)]
pub struct ReconcileOptions {
    /// What an operation has made is left alone until it is this old, unless it is known to have ended. The
    /// longest operation of any program of the same owner must be over by then.
    pub older_than: Duration,
    /// Only tell what would be done.
    pub dry_run: bool,
    /// Who is told what happens.
    pub progress: Progress,
}

impl Default for ReconcileOptions {
    fn default() -> Self {
        Self { older_than: Duration::from_secs(3600), dry_run: false, progress: Progress::none() }
    }
}

/// What there was to put in order.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Reconciled {
    /// What was done, or would be.
    pub done: Vec<Finding>,
    /// What may still be under way in another program; and disks that have lost their instance, which is noted on them, so that
    /// whoever removed the VM alone has so long to use them otherwise.
    pub too_young: Vec<Finding>,
    /// What could not be done.
    pub leftovers: Vec<Leftover>,
    /// Instances that wait for somebody's decision: resized, or moved to another pool, and neither confirmed nor
    /// reverted.
    pub waiting: Vec<String>,
    /// Those of them that came from another pool: [`Driver::confirm_move`] or [`Driver::revert_move`] of that pool's driver settles it,
    /// also where the VM there is gone, as a confirmation that broke off leaves it.
    pub arrived: Vec<String>,
    /// What may have been left behind or may be somebody's, so that nothing is done about it: a person has to look.
    pub unclear: Vec<Finding>,
}

/// Something that an operation left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// Its uuid.
    pub uuid: String,
}

/// What an operation can leave behind, and so what is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A guest that was asked to come down or to reboot, and has not done it: the request is cancelled, and the guest runs on.
    HungRequest,
    /// The record of a task that has ended and that nobody waits for: it is removed.
    ForgottenTask,
    /// A resize that broke off: it is reverted.
    BrokenResize,
    /// A confirmation that broke off: it is completed.
    BrokenConfirmation,
    /// A move to another pool that broke off: the instance is as it was. What is left of it there is found there.
    BrokenMove,
    /// The confirmation of such a move that broke off: it is completed.
    BrokenMoveConfirmation,
    /// A rescue that broke off, or whose end did: it is ended.
    BrokenRescue,
    /// The destruction of an instance that broke off: it is completed.
    BrokenDestruction,
    /// A soft deletion that broke off, or a restoration: it is completed.
    BrokenSoftDeletion,
    /// A VM that was being taken over: that is completed, as its owner has asked for it and nothing ends by it.
    BrokenAdoption,
    /// An instance that was being brought up on another host, because its own had died: it is started there.
    BrokenEvacuation,
    /// A VM that never became an instance: it is removed.
    UnfinishedInstance,
    /// A migration that broke off, or whose end nobody noted: disks that have arrived are marked as ours, copies that were
    /// left are removed, and the VM prefers to be where it is.
    BrokenMigration,
    /// A move from another pool of which nobody knows any more, and the VM did not come: copies that were left are removed.
    LostArrival,
    /// An exchange of volumes that broke off: it is completed, or undone.
    BrokenSwap,
    /// A drive that was being attached or detached, by its mark: it is removed; its disk stays. One that somebody has only unplugged
    /// has no mark, and is left alone.
    HalfAttachedVolume,
    /// An interface that was being attached or detached, by its mark: it is removed. One that somebody has only unplugged stays.
    HalfAttachedInterface,
    /// A disk that a control domain still holds: it is detached there.
    HeldDisk,
    /// A snapshot that was taken on the way to something: it is removed.
    PassingSnapshot,
    /// The mark of such a snapshot on its original: it is removed.
    Mark,
    /// A disk without an instance: it is removed.
    OrphanedDisk,
    /// A disk of an instance that another one has replaced, and that was held by a control domain when that was confirmed: it is
    /// removed.
    ReplacedDisk,
    /// A connection of a host to a repository, made for a guest that was to come: without one there it is removed.
    HalfConnection,
    /// A repository that was introduced for volumes and that nobody uses: it is forgotten.
    UnusedRepository,
    /// A password that no connection uses: it is removed.
    UnusedSecret,
    /// A network that was being made or removed: it is removed, unless a VM has an interface on it, in which case it is unclear.
    UnfinishedNetwork,
    /// The fetch of an image into the cache that broke off: others need not wait for it.
    StaleFetch,
    /// Memory that was promised to an instance that was never started: the promise is taken back.
    StalePromise,
    /// A host that was being drained: it takes guests again, if it did before. Those that have moved stay where they are.
    BrokenDrain,
    /// A snapshot or a clone that an operation may have made before it broke off, or somebody else at that moment.
    UnclearCopy,
    /// A VM that is marked as not complete, and of which somebody has taken a snapshot: one that was reverted to may have brought the mark
    /// back. Without the key `xenapi-rs:unfinished` in its `other_config` it is an instance.
    UnclearInstance,
    /// A disk that was made for an instance that is there, and that neither the instance nor anything that is noted of it has to
    /// do with.
    UnusedDisk,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, uuid } = self;
        match kind {
            Kind::HungRequest => write!(f, "cancel task {uuid}, in which a guest was asked to come down"),
            Kind::ForgottenTask => write!(f, "remove the record of task {uuid}, which is over"),
            Kind::BrokenResize => write!(f, "revert the resize of VM {uuid}"),
            Kind::BrokenConfirmation => write!(f, "complete the resize of VM {uuid}"),
            Kind::BrokenMove => write!(f, "revert the move of VM {uuid} to another pool"),
            Kind::BrokenMoveConfirmation => write!(f, "remove VM {uuid}, which is in another pool now"),
            Kind::BrokenDestruction => write!(f, "complete the destruction of VM {uuid}"),
            Kind::BrokenSoftDeletion => write!(f, "complete the soft deletion or restoration of VM {uuid}"),
            Kind::BrokenRescue => write!(f, "end the rescue of VM {uuid}"),
            Kind::BrokenAdoption => write!(f, "complete taking over VM {uuid}"),
            Kind::BrokenEvacuation => write!(f, "start VM {uuid}, whose host had died"),
            Kind::UnfinishedInstance => write!(f, "remove VM {uuid}, which never became an instance"),
            Kind::BrokenMigration => {
                write!(f, "settle where VM {uuid} is, which was moved, and which disks it has")
            }
            Kind::LostArrival => {
                write!(f, "remove what operation {uuid} left, which moved a VM to this pool")
            }
            Kind::BrokenSwap => write!(f, "settle which volume is behind drive {uuid}"),
            Kind::HalfAttachedVolume => {
                write!(f, "remove drive {uuid}, which was being attached or detached")
            }
            Kind::HalfAttachedInterface => {
                write!(f, "remove interface {uuid}, which was being attached or detached")
            }
            Kind::HeldDisk => write!(f, "detach disk {uuid} from dom0"),
            Kind::PassingSnapshot => write!(f, "remove snapshot {uuid}"),
            Kind::Mark => write!(f, "remove a mark from {uuid}"),
            Kind::OrphanedDisk => write!(f, "remove disk {uuid}, which has no instance"),
            Kind::ReplacedDisk => write!(f, "remove disk {uuid}, which another one has replaced"),
            Kind::HalfConnection => write!(f, "settle connection {uuid}, made for a guest that was to come"),
            Kind::UnusedRepository => write!(f, "forget storage repository {uuid}, which nobody uses"),
            Kind::UnusedSecret => write!(f, "remove secret {uuid}, which nobody uses"),
            Kind::StaleFetch => write!(f, "let others fetch the image that operation {uuid} was fetching"),
            Kind::StalePromise => write!(f, "take back the memory promised to operation {uuid}"),
            Kind::BrokenDrain => write!(f, "have host {uuid} as it was before its draining, which broke off"),
            Kind::UnfinishedNetwork => write!(f, "remove network {uuid}, which was being made or removed"),
            Kind::UnclearCopy => {
                write!(
                    f,
                    "see whether disk {uuid} is somebody's copy, or was left by an operation that broke off"
                )
            }
            Kind::UnclearInstance => {
                write!(
                    f,
                    "see whether VM {uuid} is complete, and if so remove xenapi-rs:unfinished from its other_config; else destroy it"
                )
            }
            Kind::UnusedDisk => {
                write!(
                    f,
                    "see whether disk {uuid} is still needed, which was made for an instance that does not have it"
                )
            }
        }
    }
}

impl Driver {
    /// Finds what operations of this owner have left behind that were ended in the middle, by a crash or a kill,
    /// and completes or undoes it. Objects of others are not touched, nor is anything that an operation of
    /// this driver is busy with. It can be repeated, and the second time there is nothing to do.
    ///
    /// # Errors
    ///
    /// [`Cause::Host`] when the pool cannot be looked at. What cannot be put in order is part of the result.
    pub fn reconcile(&self, options: ReconcileOptions) -> Operation<Reconciled> {
        let object = format!("the pool at {}", self.endpoint());
        let ReconcileOptions { older_than, dry_run, progress } = options;
        let (is_told, dry_run) = (dry_run, dry_run || self.0.rehearses);
        self.verb(Op::Reconcile, object, progress, move |job, stop| {
            Box::pin(async move {
                job.driver.set_clock().await;
                let mut result = Reconciled::default();
                let (mut seen, mut undone) = (BTreeSet::new(), BTreeSet::new());
                // What is undone may uncover more: the disks of a VM that is removed.
                loop {
                    let pool = job.stage(Stage::Find, Pool::read(job)).await?;
                    let look = Look { job, pool: &pool, older_than, undone: &undone };
                    (result.waiting, result.arrived) = (look.waiting(), look.arrived());
                    let found = look.all();
                    if !dry_run {
                        job.stage(Stage::Find, note_orphans(job, &found.orphans)).await?;
                    }
                    (result.too_young, result.unclear) = (found.young, found.unclear);
                    let fresh: Vec<Found> = found
                        .due
                        .into_iter()
                        // What is let go of first may have to be removed next.
                        .filter(|found| seen.insert((found.finding.kind, found.finding.uuid.clone())))
                        .collect();
                    if fresh.is_empty() {
                        if !is_told && !result.done.is_empty() {
                            job.would(|| result.done.iter().map(Finding::to_string).collect())?;
                        }
                        return Ok(result);
                    }
                    for found in fresh {
                        job.stage(Stage::Remove, async { Ok(stop.check()?) }).await?;
                        let settling = async {
                            if dry_run {
                                return Ok(true);
                            }
                            let (older_than, undone) = (older_than, &undone);
                            if !is_still_so(job, &found.finding, older_than, undone).await? {
                                return Ok(false);
                            }
                            settle::settle(job, &found, stop).await
                        };
                        match settling.await {
                            // Somebody has seen to it, or has gone on.
                            Ok(false) => {}
                            Ok(true) => {
                                if found.finding.kind == Kind::UnfinishedInstance {
                                    undone.insert(found.operation);
                                }
                                tracing::info!(finding = %found.finding, "reconciled");
                                result.done.push(found.finding);
                            }
                            Err(cause @ Cause::Cancelled) => {
                                return Err(Failed { stage: Stage::Remove, cause });
                            }
                            Err(error) => result
                                .leftovers
                                .push(Leftover { what: found.finding.to_string(), error: error.into() }),
                        }
                    }
                }
            })
        })
    }
}

/// All that there is to look at.
struct Pool {
    vms: BTreeMap<Ref<Vm>, VmRecord>,
    vdis: BTreeMap<Ref<Vdi>, VdiRecord>,
    vbds: BTreeMap<Ref<Vbd>, VbdRecord>,
    vifs: BTreeMap<Ref<Vif>, VifRecord>,
    srs: BTreeMap<Ref<Sr>, SrRecord>,
    pbds: BTreeMap<Ref<Pbd>, PbdRecord>,
    networks: BTreeMap<Ref<Network>, NetworkRecord>,
    hosts: BTreeMap<Ref<Host>, HostRecord>,
    tasks: BTreeMap<Ref<Task>, TaskRecord>,
    /// `other_config` of the pool.
    pool: BTreeMap<String, String>,
    /// Secrets by uuid, with their keys; their values are not read.
    secrets: BTreeMap<String, BTreeMap<String, String>>,
    used_secrets: BTreeSet<String>,
}

impl Pool {
    async fn read(job: &Job) -> Result<Self, Cause> {
        Self::read_from(job.client()).await.map_err(Cause::host("looking through the pool"))
    }

    async fn read_from(client: &Client) -> xenapi_client::Result<Self> {
        let (vms, vdis, vbds, vifs, srs, networks, hosts, pbds, tasks) = tokio::try_join!(
            client.all_records::<Vm>(),
            client.all_records::<Vdi>(),
            client.all_records::<Vbd>(),
            client.all_records::<Vif>(),
            client.all_records::<Sr>(),
            client.all_records::<Network>(),
            client.all_records::<Host>(),
            client.all_records::<Pbd>(),
            client.all_records::<Task>(),
        )?;
        let mut secrets = BTreeMap::new();
        for reference in client.all::<xenapi_types::Secret>().await? {
            let (keys, uuid) = tokio::join!(
                client.get_field(&reference, secret::field::OTHER_CONFIG),
                client.get_field(&reference, secret::field::UUID),
            );
            match (keys, uuid) {
                (Ok(keys), Ok(uuid)) => drop(secrets.insert(uuid, keys)),
                // Somebody lets go of a volume in this moment.
                (Err(error), _) | (_, Err(error)) if error.kind() == ErrorKind::NotFound => {}
                (Err(error), _) | (_, Err(error)) => return Err(error),
            }
        }
        let pool = client.all_records::<xenapi_types::Pool>().await?.into_values().next();
        let pool = pool.map(|pool| pool.other_config).unwrap_or_default();
        let configs = pbds.values().map(|pbd| &pbd.device_config);
        let used_secrets = configs
            .flatten()
            .filter(|(key, _)| key.ends_with("_secret"))
            .map(|(_, uuid)| uuid.clone())
            .collect();
        Ok(Self { vms, vdis, vbds, vifs, srs, pbds, networks, hosts, tasks, pool, secrets, used_secrets })
    }
}

/// A finding and the object that it is about.
struct Found {
    finding: Finding,
    object: Object,
    /// What left it.
    operation: Uuid,
}

enum Object {
    Vm(Ref<Vm>),
    Vdi(Ref<Vdi>),
    Vbd(Ref<Vbd>),
    Vif(Ref<Vif>),
    Sr(Ref<Sr>),
    Pbd(Ref<Pbd>),
    Network(Ref<Network>),
    Host(Ref<Host>),
    Task(Ref<Task>),
    /// With the operation that rescued it, which need not be that which was ending it.
    Rescued(Ref<Vm>, Uuid),
    /// With the drains that broke off.
    Drained(Ref<Host>, Vec<Uuid>),
    Secret,
    Pool,
}

#[derive(Default)]
struct All {
    due: Vec<Found>,
    young: Vec<Finding>,
    unclear: Vec<Finding>,
    /// Disks that have lost their instance, of which that is not noted yet.
    orphans: Vec<Ref<Vdi>>,
}

struct Look<'a> {
    job: &'a Job,
    pool: &'a Pool,
    older_than: Duration,
    /// The operations whose unfinished instances this one has removed: their disks need not wait.
    undone: &'a BTreeSet<Uuid>,
}

/// Since when a disk has had no instance: the operation that saw it first. Somebody may have removed the VM alone, to use its disks.
const ORPHANED: &str = "xenapi-rs:orphaned";

async fn note_orphans(job: &Job, disks: &[Ref<Vdi>]) -> Result<(), Cause> {
    for disk in disks {
        let (field, operation) = (vdi::field::OTHER_CONFIG, job.operation.to_string());
        let noted = job.client().add_to(disk, field, ORPHANED, operation).await;
        remove::tolerate(noted, &["MAP_DUPLICATE_KEY"])
            .map_err(Cause::host("noting that a disk has no instance"))?;
    }
    Ok(())
}

/// Whether a second look finds the same: the lists of the first one are of different moments, and all that was settled since
/// took time.
async fn is_still_so(
    job: &Job,
    finding: &Finding,
    older_than: Duration,
    undone: &BTreeSet<Uuid>,
) -> Result<bool, Cause> {
    // These take nothing from anybody who is alive.
    if matches!(finding.kind, Kind::ForgottenTask | Kind::StaleFetch | Kind::StalePromise | Kind::Mark) {
        return Ok(true);
    }
    let pool = Pool::read(job).await?;
    let again = Look { job, pool: &pool, older_than, undone }.all();
    Ok(again.due.iter().any(|found| found.finding == *finding))
}

impl Look<'_> {
    fn owner(&self) -> &str {
        &self.job.driver.settings().owner
    }

    /// The operation and the instance that an object of ours was made in and for. Not of copies.
    fn made(&self, keys: &BTreeMap<String, String>, uuid: &str) -> Option<(Uuid, Uuid)> {
        match Claim::read(keys, uuid) {
            Claim::Original(maker) | Claim::Unsealed(maker) if maker.owner == self.owner() => {
                Some((maker.operation, maker.instance))
            }
            _ => None,
        }
    }

    /// Whether an object was made, or copied from what was made, for another owner.
    fn is_of_others(&self, keys: &BTreeMap<String, String>, uuid: &str) -> bool {
        match Claim::read(keys, uuid) {
            Claim::Original(maker) | Claim::Unsealed(maker) | Claim::Copy(maker) => {
                maker.owner != self.owner()
            }
            Claim::None | Claim::Broken => false,
        }
    }

    /// The same of a disk with a mark: one that was made for nobody belongs to the VM that has the original.
    fn is_marked_by_others(&self, disk: &VdiRecord, key: &str) -> bool {
        if let Claim::None | Claim::Broken = Claim::read(&disk.other_config, &disk.uuid) {
            let original = disk.other_config.get(key);
            let original = self.pool.vdis.values().find(|disk| Some(&disk.uuid) == original);
            let vbds = original.iter().flat_map(|original| &original.vbds);
            let vms = vbds.filter_map(|vbd| self.pool.vms.get(&self.pool.vbds.get(vbd)?.vm));
            return vms.into_iter().any(|vm| self.is_of_others(&vm.other_config, &vm.uuid));
        }
        self.is_of_others(&disk.other_config, &disk.uuid)
    }

    fn waiting(&self) -> Vec<String> {
        let done =
            |vm: &&VmRecord| [resize::state(vm), pool_move::state(vm)].contains(&Some(ResizeState::Done));
        let vms = self.pool.vms.values().filter(|vm| self.made(&vm.other_config, &vm.uuid).is_some());
        vms.filter(|vm| done(vm) || is_arrived(vm)).map(|vm| vm.uuid.clone()).collect()
    }

    fn arrived(&self) -> Vec<String> {
        let vms = self.pool.vms.values().filter(|vm| self.made(&vm.other_config, &vm.uuid).is_some());
        vms.filter(is_arrived).map(|vm| vm.uuid.clone()).collect()
    }

    fn all(&self) -> All {
        let mut all = All::default();
        self.tasks(&mut all);
        self.vms(&mut all);
        self.drives(&mut all);
        self.disks(&mut all);
        self.rest(&mut all);
        all.due.sort_by(|a, b| (a.finding.kind, &a.finding.uuid).cmp(&(b.finding.kind, &b.finding.uuid)));
        all
    }

    fn tasks(&self, all: &mut All) {
        for (reference, task) in &self.pool.tasks {
            let object = Object::Task(reference.clone());
            if let Some(operation) = request::made(task, self.owner()).filter(|_| !is_over(task)) {
                self.note(all, operation, Kind::HungRequest, &task.uuid, object);
            } else if let Some(mark) = TaskMark::of(task)
                && mark.owner.as_deref() == Some(self.owner())
                && is_over(task)
                && !self.job.client().holds_task(&mark)
            {
                self.note(all, mark.call, Kind::ForgottenTask, &task.uuid, object);
            }
        }
    }

    fn is_old(&self, operation: Uuid) -> bool {
        self.job.driver.clock().is_older(operation, self.older_than)
    }

    /// Notes what an operation left, unless that operation may be under way.
    fn note(&self, all: &mut All, operation: Uuid, kind: Kind, uuid: &str, object: Object) {
        let finding = Finding { kind, uuid: uuid.to_owned() };
        if self.job.driver.0.active().contains(&operation) {
            return;
        }
        if self.is_old(operation) {
            all.due.push(Found { finding, object, operation });
        } else {
            all.young.push(finding);
        }
    }

    fn vms(&self, all: &mut All) {
        for (reference, vm) in &self.pool.vms {
            let object = || Object::Vm(reference.clone());
            if let Some((_, operation)) = mark(&vm.other_config)
                && !self.is_of_others(&vm.other_config, &vm.uuid)
            {
                let is_ours = vm.is_a_snapshot && remove::is_taken_by(vm, operation);
                let kind = if is_ours { Kind::PassingSnapshot } else { Kind::Mark };
                self.note(all, operation, kind, &vm.uuid, object());
            }
            if let Some(operation) = adopt::broken(vm, self.owner()) {
                self.note(all, operation, Kind::BrokenAdoption, &vm.uuid, object());
                continue;
            }
            let Some((operation, _)) = self.made(&vm.other_config, &vm.uuid) else { continue };
            if vm.is_a_snapshot || vm.is_a_template {
                continue;
            }
            if vm.other_config.contains_key(ownership::UNFINISHED) {
                // Who reverts to a snapshot that was taken before it was complete has the mark back, and an instance.
                match vm.snapshots.is_empty() && vm.parent.is_null() {
                    true => self.note(all, operation, Kind::UnfinishedInstance, &vm.uuid, object()),
                    false => self.tell(all, operation, Kind::UnclearInstance, &vm.uuid),
                }
                continue;
            }
            if let Some(operation) = destroy::broken(vm) {
                self.note(all, operation, Kind::BrokenDestruction, &vm.uuid, object());
                continue;
            }
            if let Some(operation) = soft_delete::broken(vm) {
                self.note(all, operation, Kind::BrokenSoftDeletion, &vm.uuid, object());
            }
            if let Some(journal) = moving::Journal::read(vm) {
                self.note(all, journal.operation, Kind::BrokenMigration, &vm.uuid, object());
            }
            if let Some((rescue, operation)) = rescue::broken(vm) {
                let object = Object::Rescued(reference.clone(), rescue);
                self.note(all, operation, Kind::BrokenRescue, &vm.uuid, object);
            }
            if let Some(operation) = evacuate::broken(vm) {
                self.note(all, operation, Kind::BrokenEvacuation, &vm.uuid, object());
            }
            if let Some((operation, state)) = pool_move::operation(vm).zip(pool_move::state(vm)) {
                let kind = match state {
                    ResizeState::Unfinished => Some(Kind::BrokenMove),
                    ResizeState::Confirming => Some(Kind::BrokenMoveConfirmation),
                    ResizeState::Done => None,
                };
                kind.into_iter().for_each(|kind| self.note(all, operation, kind, &vm.uuid, object()));
            }
            match resize::journal::Journal::read(vm) {
                Some((journal, resize::journal::Phase::Unfinished)) => {
                    self.note(all, journal.operation, Kind::BrokenResize, &vm.uuid, object());
                }
                Some((journal, resize::journal::Phase::Confirming)) => {
                    self.note(all, journal.operation, Kind::BrokenConfirmation, &vm.uuid, object());
                }
                _ => {}
            }
        }
    }

    fn drives(&self, all: &mut All) {
        // Only what our instances have; a copy of one has its keys, and nobody was at that.
        let can_let_go = |vm: &Ref<Vm>| {
            let vm = self.pool.vms.get(vm).filter(|vm| !vm.is_a_snapshot && !vm.is_a_template);
            vm.is_some_and(|vm| {
                matches!(vm.power_state, VmPowerState::Running | VmPowerState::Halted)
                    && self.made(&vm.other_config, &vm.uuid).is_some()
            })
        };
        let swaps: BTreeSet<Uuid> =
            self.pool.vbds.values().filter_map(swap::note).map(|(operation, _)| operation).collect();
        for (reference, vbd) in &self.pool.vbds {
            let maker = self.made(&vbd.other_config, &vbd.uuid).map(|(operation, _)| operation);
            let object = Object::Vbd(reference.clone());
            if let Some((operation, _)) = swap::note(vbd).filter(|_| maker.is_some()) {
                self.note(all, operation, Kind::BrokenSwap, &vbd.uuid, object);
            } else if let Some(operation) = half::by(&vbd.other_config, maker)
                && !maker.is_some_and(|maker| swaps.contains(&maker))
                && can_let_go(&vbd.vm)
            {
                self.note(all, operation, Kind::HalfAttachedVolume, &vbd.uuid, object);
            }
        }
        for (reference, vif) in &self.pool.vifs {
            let maker = self.made(&vif.other_config, &vif.uuid).map(|(operation, _)| operation);
            if let Some(operation) = half::by(&vif.other_config, maker)
                && can_let_go(&vif.vm)
            {
                let object = Object::Vif(reference.clone());
                self.note(all, operation, Kind::HalfAttachedInterface, &vif.uuid, object);
            }
        }
    }

    fn disks(&self, all: &mut All) {
        let instances: BTreeSet<Uuid> = self
            .pool
            .vms
            .values()
            .filter(|vm| !vm.is_a_snapshot)
            .filter_map(|vm| self.made(&vm.other_config, &vm.uuid).map(|(_, instance)| instance))
            .collect();
        let replaced: BTreeMap<&str, Uuid> = self
            .pool
            .vdis
            .values()
            .filter_map(|vdi| Some((backup::replaced(vdi)?, self.made(&vdi.other_config, &vdi.uuid)?.0)))
            .collect();
        let mentioned = self.mentioned();
        // Theirs go with them.
        let unfinished: BTreeSet<Uuid> = self
            .pool
            .vms
            .values()
            .filter(|vm| vm.other_config.contains_key(ownership::UNFINISHED))
            .filter_map(|vm| self.made(&vm.other_config, &vm.uuid).map(|(operation, _)| operation))
            .collect();
        for (reference, vdi) in self.pool.vdis.iter().filter(|(_, vdi)| vdi.managed) {
            let object = || Object::Vdi(reference.clone());
            if let Some(cloning) = Cloning::read(&vdi.other_config) {
                if cloning.is_for(self.owner()) {
                    self.cloned(all, (reference, vdi), &cloning);
                }
                continue;
            }
            let copying = vdi.other_config.keys().find_map(|key| key.strip_prefix(COPYING)?.parse().ok());
            if let Some(operation) = copying {
                if !self.is_of_others(&vdi.other_config, &vdi.uuid) {
                    self.note(all, operation, Kind::OrphanedDisk, &vdi.uuid, object());
                }
                continue;
            }
            if let Some((key, operation)) = mark(&vdi.other_config) {
                if !self.is_marked_by_others(vdi, key) {
                    self.marked(all, (reference, vdi), key, operation);
                }
                continue;
            }
            let Some((operation, instance)) = self.made(&vdi.other_config, &vdi.uuid) else { continue };
            let is_attached = vdi.vbds.iter().any(|vbd| {
                let user = self.pool.vbds.get(vbd).and_then(|vbd| self.pool.vms.get(&vbd.vm));
                user.is_some_and(|vm| !vm.is_control_domain)
            });
            if let Some(operation) = replaced.get(&*vdi.uuid) {
                self.note(all, *operation, Kind::PassingSnapshot, &vdi.uuid, object());
                continue;
            }
            if backup::is_kept(vdi) && instances.contains(&instance) {
                continue;
            }
            if vdi.is_a_snapshot {
                self.note(all, operation, Kind::PassingSnapshot, &vdi.uuid, object());
            } else if !instances.contains(&instance) && !is_attached {
                self.orphaned(all, (reference, vdi), operation);
            } else if let Some(since) = vdi.other_config.get(ORPHANED) {
                let since = since.parse().unwrap_or_default();
                self.note(all, since, Kind::Mark, &vdi.uuid, object());
            } else if let Some(holder) = self.holder(vdi, operation) {
                match holder {
                    Holder::Ended(operation) => {
                        self.note(all, operation, Kind::HeldDisk, &vdi.uuid, object());
                    }
                    Holder::Unknown => self.tell(all, operation, Kind::HeldDisk, &vdi.uuid),
                    Holder::Alive => {}
                }
            } else if let Some(operation) = restore::replaced_by(vdi).filter(|_| vdi.vbds.is_empty()) {
                self.note(all, operation, Kind::ReplacedDisk, &vdi.uuid, object());
            } else if !is_attached && !mentioned.contains(&*vdi.uuid) && !unfinished.contains(&operation) {
                self.tell(all, operation, Kind::UnusedDisk, &vdi.uuid);
            }
        }
    }

    /// A disk without an instance. What its operation left is removed; of one that was complete, somebody may have removed the VM to use
    /// the disk otherwise, and has until it has been noted for as long as all that is put in order.
    fn orphaned(&self, all: &mut All, (reference, vdi): (&Ref<Vdi>, &VdiRecord), operation: Uuid) {
        let is_sealed = matches!(Claim::read(&vdi.other_config, &vdi.uuid), Claim::Original(_));
        let since = vdi.other_config.get(ORPHANED).and_then(|since| since.parse().ok());
        let waits = is_sealed && !self.older_than.is_zero() && !self.undone.contains(&operation);
        match since {
            None if waits && self.is_old(operation) => {
                let is_active = self.job.driver.0.active().contains(&operation);
                all.orphans.extend((!is_active).then(|| reference.clone()));
                all.young.push(Finding { kind: Kind::OrphanedDisk, uuid: vdi.uuid.clone() });
            }
            _ => {
                let since = since.filter(|_| waits).unwrap_or(operation);
                self.note(all, since, Kind::OrphanedDisk, &vdi.uuid, Object::Vdi(reference.clone()));
            }
        }
    }

    /// Who has a disk attached to a control domain, if anybody has: judged by the keys of the drive, which are those of the
    /// operation that works on the disk, or name XAPI's task for a transfer.
    fn holder(&self, vdi: &VdiRecord, made_in: Uuid) -> Option<Holder> {
        let drives = vdi.vbds.iter().filter_map(|vbd| self.pool.vbds.get(vbd));
        let in_dom0 = |vbd: &&VbdRecord| self.pool.vms.get(&vbd.vm).is_some_and(|vm| vm.is_control_domain);
        let judge = |vbd: &VbdRecord| {
            if let Some((operation, _)) = self.made(&vbd.other_config, &vbd.uuid) {
                return Holder::Ended(operation);
            }
            let task = vbd.other_config.get("task_id").map(|task| Ref::<Task>::from(task.clone()));
            match task.map(|task| self.pool.tasks.get(&task)) {
                Some(Some(task)) if !is_over(task) => Holder::Alive,
                Some(_) => Holder::Ended(made_in),
                None => Holder::Unknown,
            }
        };
        let all: Vec<Holder> = drives.filter(in_dom0).map(judge).collect();
        if !vdi.current_operations.is_empty() {
            return (!all.is_empty()).then_some(Holder::Alive);
        }
        // The most careful of all.
        all.into_iter().max()
    }

    /// A cached image that is being cloned, or something with the same key: XAPI copies it.
    fn cloned(&self, all: &mut All, (reference, vdi): (&Ref<Vdi>, &VdiRecord), cloning: &Cloning) {
        let (operation, object) = (cloning.operation, Object::Vdi(reference.clone()));
        let lost = cloning.lost(&self.pool.vdis);
        match lost.iter().find(|(known, _)| *known == reference) {
            Some((_, Marked::Made)) => self.note(all, operation, Kind::OrphanedDisk, &vdi.uuid, object),
            Some((_, Marked::Unknown)) => self.tell(all, operation, Kind::UnclearCopy, &vdi.uuid),
            // That of the image goes last: by it they are known.
            None if !cloning.is_clone(&vdi.uuid) && !lost.is_empty() => {}
            _ => self.note(all, operation, Kind::Mark, &vdi.uuid, object),
        }
    }

    /// A disk that an operation has marked, or a copy of one.
    fn marked(&self, all: &mut All, (reference, vdi): (&Ref<Vdi>, &VdiRecord), key: &str, operation: Uuid) {
        let is_resized = |vm: &VmRecord| resize::journal::Journal::of(vm, operation).is_some();
        let has_passing = |vbd: &Ref<Vbd>| {
            let vm = self.pool.vbds.get(vbd).and_then(|vbd| self.pool.vms.get(&vbd.vm));
            vm.is_some_and(|vm| vm.is_a_snapshot && vm.other_config.contains_key(key))
        };
        // They go with the resize, or the snapshot of the VM.
        if self.pool.vms.values().any(is_resized) || vdi.vbds.iter().any(has_passing) {
            return;
        }
        let sorted = marks::sort(&self.pool.vdis, key, operation);
        let what = sorted.into_iter().find(|(known, ..)| *known == reference).map(|(.., what)| what);
        let object = || Object::Vdi(reference.clone());
        let has_vbds = !vdi.vbds.is_empty();
        match what {
            Some(Marked::Made) if vdi.is_a_snapshot => {
                self.note(all, operation, Kind::PassingSnapshot, &vdi.uuid, object());
            }
            Some(Marked::Made) if !has_vbds => {
                self.note(all, operation, Kind::OrphanedDisk, &vdi.uuid, object());
            }
            Some(Marked::Unknown) => self.tell(all, operation, Kind::UnclearCopy, &vdi.uuid),
            _ => self.note(all, operation, Kind::Mark, &vdi.uuid, object()),
        }
    }

    /// Tells of what an operation may have left, unless that may be under way.
    fn tell(&self, all: &mut All, operation: Uuid, kind: Kind, uuid: &str) {
        if !self.job.driver.0.active().contains(&operation) && self.is_old(operation) {
            all.unclear.push(Finding { kind, uuid: uuid.to_owned() });
        }
    }

    /// Uuids of the disks that are in what is noted of a change, which needs them.
    fn mentioned(&self) -> BTreeSet<String> {
        // More than a uuid alone.
        let is_text = |(key, text): &(&String, &String)| key.starts_with("xenapi-rs:") && text.len() > 36;
        let vms = self.pool.vms.values().flat_map(|vm| &vm.other_config);
        let vbds = self.pool.vbds.values().flat_map(|vbd| &vbd.other_config);
        let texts: Vec<&String> = vms.chain(vbds).filter(is_text).map(|(_, text)| text).collect();
        let is_noted = |vdi: &&VdiRecord| texts.iter().any(|text| text.contains(&vdi.uuid));
        let disks = self.pool.vdis.values().filter(|vdi| self.made(&vdi.other_config, &vdi.uuid).is_some());
        disks.filter(is_noted).map(|vdi| vdi.uuid.clone()).collect()
    }

    fn rest(&self, all: &mut All) {
        for (reference, sr) in &self.pool.srs {
            for operation in lock::fetches(&sr.other_config, self.owner()) {
                let object = Object::Sr(reference.clone());
                self.note(all, operation, Kind::StaleFetch, &operation.to_string(), object);
            }
            let Claim::Original(maker) = Claim::read(&sr.sm_config, &sr.uuid) else { continue };
            let used =
                sr.vdis.iter().any(|vdi| self.pool.vdis.get(vdi).is_some_and(|vdi| !vdi.vbds.is_empty()));
            if maker.owner == self.owner() && !used {
                self.note(
                    all,
                    maker.operation,
                    Kind::UnusedRepository,
                    &sr.uuid,
                    Object::Sr(reference.clone()),
                );
            }
        }
        for (reference, pbd) in self.pool.pbds.iter().filter(|(_, pbd)| reach::is_marked(pbd)) {
            if let Some((operation, _)) = self.made(&pbd.other_config, &pbd.uuid) {
                let object = Object::Pbd(reference.clone());
                self.note(all, operation, Kind::HalfConnection, &pbd.uuid, object);
            }
        }
        for (uuid, keys) in &self.pool.secrets {
            let Some((operation, _)) = self.made(keys, uuid) else { continue };
            if !self.pool.used_secrets.contains(uuid) {
                self.note(all, operation, Kind::UnusedSecret, uuid, Object::Secret);
            }
        }
        for (reference, host) in &self.pool.hosts {
            for promise in ledger::promises(&host.other_config).filter(|p| p.owner == self.owner()) {
                let (operation, object) = (promise.operation, Object::Host(reference.clone()));
                self.note(all, operation, Kind::StalePromise, &operation.to_string(), object);
            }
        }
        self.drains(all);
        for (operation, _) in Arriving::all(&self.pool.pool).filter(|(_, note)| note.owner == self.owner()) {
            let journals = self.pool.vms.values().filter_map(moving::Journal::read);
            // What has come is settled with its VM.
            if !journals.into_iter().any(|journal| journal.operation == operation) {
                self.note(all, operation, Kind::LostArrival, &operation.to_string(), Object::Pool);
            }
        }
        for (reference, network) in &self.pool.networks {
            if let Claim::Unsealed(maker) = Claim::read(&network.other_config, &network.uuid)
                && maker.owner == self.owner()
            {
                let object = Object::Network(reference.clone());
                let has = |vif| self.pool.vifs.get(vif).and_then(|vif| self.pool.vms.get(&vif.vm));
                // With it would go the interfaces of those that are off.
                match network.vifs.iter().filter_map(has).any(|vm| !vm.is_a_snapshot && !vm.is_a_template) {
                    true => self.tell(all, maker.operation, Kind::UnfinishedNetwork, &network.uuid),
                    false => self.note(all, maker.operation, Kind::UnfinishedNetwork, &network.uuid, object),
                }
            }
        }
    }

    /// As long as somebody goes on, the host is theirs.
    fn drains(&self, all: &mut All) {
        for (reference, host) in &self.pool.hosts {
            let is_active = |operation: &Uuid| self.job.driver.0.active().contains(operation);
            let has_ended = |operation| !is_active(&operation) && self.is_old(operation);
            let clock = self.job.driver.clock();
            let (broken, goes_on) =
                drain::Notes::read(&host.other_config).broken(clock, self.owner(), has_ended);
            if broken.is_empty() || broken.iter().any(is_active) {
                continue;
            }
            let finding = Finding { kind: Kind::BrokenDrain, uuid: host.uuid.clone() };
            match goes_on {
                true => all.young.push(finding),
                false => {
                    let object = Object::Drained(reference.clone(), broken);
                    all.due.push(Found { finding, object, operation: Uuid::nil() });
                }
            }
        }
    }
}

/// Who has a disk attached to a control domain, from the least careful answer to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    /// This operation, or a transfer of a disk that it made, which is over.
    Ended(Uuid),
    /// Nobody knows.
    Unknown,
    /// Somebody who is at it.
    Alive,
}

fn is_arrived(vm: &&VmRecord) -> bool {
    !vm.is_a_snapshot && !vm.is_a_template && pool_move::has_arrived(vm)
}

/// The last operation that marked an object, with the mark.
fn mark(other_config: &BTreeMap<String, String>) -> Option<(&str, Uuid)> {
    let marks = other_config.keys().filter_map(|key| Some((key.as_str(), operation_of(key)?)));
    marks.max_by_key(|(_, operation)| *operation)
}

/// The operation in a key that marks an object while something is copied from it.
pub(crate) fn operation_of(key: &str) -> Option<Uuid> {
    let rest = key.strip_prefix("xenapi-rs:snapshot:").or_else(|| key.strip_prefix("xenapi-rs:resize:"))?;
    rest.parse().ok()
}

fn is_over(task: &TaskRecord) -> bool {
    use TaskStatusType::{Cancelled, Failure, Success};
    matches!(task.status, Success | Failure | Cancelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks() {
        let uuid = Uuid::now_v7();
        assert_eq!(operation_of(&format!("xenapi-rs:snapshot:{uuid}")), Some(uuid));
        assert_eq!(operation_of(&format!("xenapi-rs:resize:{uuid}")), Some(uuid));
        for other in ["xenapi-rs:resize", "xenapi-rs:operation", "snapshot", "xenapi-rs:snapshot:7"] {
            assert_eq!(operation_of(other), None);
        }
    }
}
