//! Putting a pool in order after a program that was ended in the middle of something.
//!
//! All that is needed is in XAPI: whose an object is and which operation made it ([`xenapi_storage::ownership`]),
//! the journal of a resize, the mark of an instance that is not complete. An operation's uuid says when it
//! began, so that what may still be under way in another program is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;
use xenapi_client::Client;
use xenapi_storage::ownership::{self, Claim};
use xenapi_types::{
    Host, HostRecord, Network, NetworkRecord, Ref, Sr, SrRecord, Vbd, VbdRecord, Vdi, VdiRecord, Vif,
    VifRecord, Vm, VmPowerState, VmRecord, secret, vdi,
};

use crate::backup;
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::image_cache::{COPYING, Cloning};
use crate::job::Job;
use crate::kernel;
use crate::ledger;
use crate::moving::{self, arriving::Arriving};
use crate::network;
use crate::operation::Operation;
use crate::pool_move;
use crate::progress::{Progress, Stage};
use crate::remove::{self, Dom0, gone_is_fine, tolerate};
use crate::rescue;
use crate::resize::{self, ResizeState, restore};
use crate::rollback::Leftover;
use crate::volume::{VOLUME_KEY, release, swap};

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
    /// What may still be under way in another program.
    pub too_young: Vec<Finding>,
    /// What could not be done.
    pub leftovers: Vec<Leftover>,
    /// Instances that wait for somebody's decision: resized, or moved to another pool, and neither confirmed nor
    /// reverted.
    pub waiting: Vec<String>,
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
    /// A resize that broke off: it is reverted.
    BrokenResize,
    /// A confirmation that broke off: it is completed.
    BrokenConfirmation,
    /// A move to another pool that broke off: the instance is as it was. What is left of it there is found there.
    BrokenMove,
    /// The confirmation of such a move that broke off: it is completed.
    BrokenMoveConfirmation,
    /// A rescue that broke off: it is ended.
    BrokenRescue,
    /// A VM that never became an instance: it is removed.
    UnfinishedInstance,
    /// A migration with disks that broke off, or whose end nobody noted: disks that have arrived are marked as ours,
    /// copies that were left are removed.
    BrokenMigration,
    /// A move from another pool of which nobody knows any more, and the VM did not come: copies that were left are removed.
    LostArrival,
    /// An exchange of volumes that broke off: it is completed, or undone.
    BrokenSwap,
    /// A drive that was being attached or detached: it is removed; its disk stays.
    HalfAttachedVolume,
    /// An interface that was being attached or detached: it is removed.
    HalfAttachedInterface,
    /// A disk that a control domain still holds: it is detached there.
    HeldDisk,
    /// A snapshot that was taken on the way to something: it is removed.
    PassingSnapshot,
    /// The mark of such a snapshot on its original: it is removed.
    Mark,
    /// A disk without an instance: it is removed.
    OrphanedDisk,
    /// A repository that was introduced for volumes and that nobody uses: it is forgotten.
    UnusedRepository,
    /// A password that no connection uses: it is removed.
    UnusedSecret,
    /// A network that was being made: it is removed.
    UnfinishedNetwork,
    /// Memory that was promised to an instance that was never started: the promise is taken back.
    StalePromise,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, uuid } = self;
        match kind {
            Kind::BrokenResize => write!(f, "revert the resize of VM {uuid}"),
            Kind::BrokenConfirmation => write!(f, "complete the resize of VM {uuid}"),
            Kind::BrokenMove => write!(f, "revert the move of VM {uuid} to another pool"),
            Kind::BrokenMoveConfirmation => write!(f, "remove VM {uuid}, which is in another pool now"),
            Kind::BrokenRescue => write!(f, "end the rescue of VM {uuid}"),
            Kind::UnfinishedInstance => write!(f, "remove VM {uuid}, which never became an instance"),
            Kind::BrokenMigration => write!(f, "settle which disks VM {uuid} has, which was moved"),
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
            Kind::UnusedRepository => write!(f, "forget storage repository {uuid}, which nobody uses"),
            Kind::UnusedSecret => write!(f, "remove secret {uuid}, which nobody uses"),
            Kind::StalePromise => write!(f, "take back the memory promised to operation {uuid}"),
            Kind::UnfinishedNetwork => write!(f, "remove network {uuid}, which was being made"),
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
                let mut result = Reconciled::default();
                let mut seen = BTreeSet::new();
                // What is undone may uncover more: the disks of a VM that is removed.
                loop {
                    let pool = job.stage(Stage::Find, Pool::read(job)).await?;
                    let look = Look { job, pool: &pool, older_than };
                    result.waiting = look.waiting();
                    let found = look.all();
                    result.too_young = found.young;
                    let fresh: Vec<Found> = found
                        .due
                        .into_iter()
                        .filter(|found| seen.insert(found.finding.uuid.clone()))
                        .collect();
                    if fresh.is_empty() {
                        if !is_told && !result.done.is_empty() {
                            job.would(|| result.done.iter().map(Finding::to_string).collect())?;
                        }
                        return Ok(result);
                    }
                    for found in fresh {
                        job.stage(Stage::Remove, async { Ok(stop.check()?) }).await?;
                        let done = match dry_run {
                            true => Ok(()),
                            false => settle(job, &found).await,
                        };
                        match done {
                            Ok(()) => {
                                tracing::info!(finding = %found.finding, "reconciled");
                                result.done.push(found.finding);
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
    networks: BTreeMap<Ref<Network>, NetworkRecord>,
    hosts: BTreeMap<Ref<Host>, HostRecord>,
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
        let (vms, vdis, vbds, vifs, srs, networks, hosts, pbds) = tokio::try_join!(
            client.all_records::<Vm>(),
            client.all_records::<Vdi>(),
            client.all_records::<Vbd>(),
            client.all_records::<Vif>(),
            client.all_records::<Sr>(),
            client.all_records::<Network>(),
            client.all_records::<Host>(),
            client.all_records::<xenapi_types::Pbd>(),
        )?;
        let mut secrets = BTreeMap::new();
        for reference in client.all::<xenapi_types::Secret>().await? {
            let keys = client.get_field(&reference, secret::field::OTHER_CONFIG).await?;
            secrets.insert(client.get_field(&reference, secret::field::UUID).await?, keys);
        }
        let pool = client.all_records::<xenapi_types::Pool>().await?.into_values().next();
        let pool = pool.map(|pool| pool.other_config).unwrap_or_default();
        let configs = pbds.into_values().map(|pbd| pbd.device_config);
        let used_secrets =
            configs.flatten().filter(|(key, _)| key.ends_with("_secret")).map(|(_, uuid)| uuid).collect();
        Ok(Self { vms, vdis, vbds, vifs, srs, networks, hosts, pool, secrets, used_secrets })
    }
}

/// A finding and the object that it is about.
struct Found {
    finding: Finding,
    object: Object,
}

enum Object {
    Vm(Ref<Vm>),
    Vdi(Ref<Vdi>),
    Vbd(Ref<Vbd>),
    Vif(Ref<Vif>),
    Sr(Ref<Sr>),
    Network(Ref<Network>),
    Host(Ref<Host>),
    Secret,
    Pool,
}

#[derive(Default)]
struct All {
    due: Vec<Found>,
    young: Vec<Finding>,
}

struct Look<'a> {
    job: &'a Job,
    pool: &'a Pool,
    older_than: Duration,
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

    fn waiting(&self) -> Vec<String> {
        let done =
            |vm: &&VmRecord| [resize::state(vm), pool_move::state(vm)].contains(&Some(ResizeState::Done));
        let vms = self.pool.vms.values().filter(|vm| self.made(&vm.other_config, &vm.uuid).is_some());
        vms.filter(done).map(|vm| vm.uuid.clone()).collect()
    }

    fn all(&self) -> All {
        let mut all = All::default();
        self.vms(&mut all);
        self.drives(&mut all);
        self.disks(&mut all);
        self.rest(&mut all);
        all.due.sort_by(|a, b| (a.finding.kind, &a.finding.uuid).cmp(&(b.finding.kind, &b.finding.uuid)));
        all
    }

    /// Notes what an operation left, unless that operation may be under way.
    fn note(&self, all: &mut All, operation: Uuid, kind: Kind, uuid: &str, object: Object) {
        let finding = Finding { kind, uuid: uuid.to_owned() };
        if self.job.driver.0.active().contains(&operation) {
            return;
        }
        if is_older(operation, self.older_than) {
            all.due.push(Found { finding, object });
        } else {
            all.young.push(finding);
        }
    }

    fn vms(&self, all: &mut All) {
        for (reference, vm) in &self.pool.vms {
            let object = || Object::Vm(reference.clone());
            if let Some(operation) = mark(&vm.other_config) {
                self.note(all, operation, passing(vm.is_a_snapshot), &vm.uuid, object());
            }
            let Some((operation, _)) = self.made(&vm.other_config, &vm.uuid) else { continue };
            if vm.is_a_snapshot || vm.is_a_template {
                continue;
            }
            if vm.other_config.contains_key(ownership::UNFINISHED) {
                self.note(all, operation, Kind::UnfinishedInstance, &vm.uuid, object());
                continue;
            }
            if let Some(journal) = moving::Journal::read(vm) {
                self.note(all, journal.operation, Kind::BrokenMigration, &vm.uuid, object());
            }
            if let Some(operation) = rescue::broken(vm) {
                self.note(all, operation, Kind::BrokenRescue, &vm.uuid, object());
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
        let running = |vm: &Ref<Vm>| {
            let vm = self.pool.vms.get(vm);
            vm.is_some_and(|vm| vm.power_state == VmPowerState::Running && !vm.is_control_domain)
        };
        let swaps: BTreeSet<Uuid> =
            self.pool.vbds.values().filter_map(swap::note).map(|(operation, _)| operation).collect();
        for (reference, vbd) in &self.pool.vbds {
            let Some((operation, _)) = self.made(&vbd.other_config, &vbd.uuid) else { continue };
            if let Some((operation, _)) = swap::note(vbd) {
                self.note(all, operation, Kind::BrokenSwap, &vbd.uuid, Object::Vbd(reference.clone()));
                continue;
            }
            if swaps.contains(&operation) {
                continue;
            }
            let is_volume = vbd.other_config.contains_key(VOLUME_KEY);
            if is_volume && running(&vbd.vm) && !vbd.currently_attached {
                self.note(
                    all,
                    operation,
                    Kind::HalfAttachedVolume,
                    &vbd.uuid,
                    Object::Vbd(reference.clone()),
                );
            }
        }
        for (reference, vif) in &self.pool.vifs {
            let Some((operation, _)) = self.made(&vif.other_config, &vif.uuid) else { continue };
            // Those that came with the instance are its own to have unplugged.
            let vm = self.pool.vms.get(&vif.vm);
            let came_later =
                vm.and_then(|vm| self.made(&vm.other_config, &vm.uuid)).is_some_and(|(o, _)| o != operation);
            if came_later && running(&vif.vm) && !vif.currently_attached {
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
        let in_dom0: BTreeSet<&Ref<Vdi>> = self
            .pool
            .vbds
            .values()
            .filter(|vbd| self.pool.vms.get(&vbd.vm).is_some_and(|vm| vm.is_control_domain))
            .map(|vbd| &vbd.vdi)
            .collect();
        for (reference, vdi) in self.pool.vdis.iter().filter(|(_, vdi)| vdi.managed) {
            let object = || Object::Vdi(reference.clone());
            if let Some(cloning) = Cloning::read(&vdi.other_config) {
                let lost = cloning.is_clone(&vdi.uuid) && vdi.vbds.is_empty();
                let kind = if lost { Kind::OrphanedDisk } else { Kind::Mark };
                self.note(all, cloning.operation, kind, &vdi.uuid, object());
                continue;
            }
            let copying = vdi.other_config.keys().find_map(|key| key.strip_prefix(COPYING)?.parse().ok());
            if let Some(operation) = copying {
                self.note(all, operation, Kind::OrphanedDisk, &vdi.uuid, object());
                continue;
            }
            if let Some(operation) = mark(&vdi.other_config) {
                self.note(all, operation, passing(vdi.is_a_snapshot), &vdi.uuid, object());
                continue;
            }
            let Some((operation, instance)) = self.made(&vdi.other_config, &vdi.uuid) else { continue };
            let is_attached = vdi.vbds.iter().any(|vbd| {
                let user = self.pool.vbds.get(vbd).and_then(|vbd| self.pool.vms.get(&vbd.vm));
                user.is_some_and(|vm| !vm.is_control_domain)
            });
            if backup::is_kept(vdi) && instances.contains(&instance) {
                continue;
            }
            if vdi.is_a_snapshot {
                self.note(all, operation, Kind::PassingSnapshot, &vdi.uuid, object());
            } else if !instances.contains(&instance) && !is_attached {
                self.note(all, operation, Kind::OrphanedDisk, &vdi.uuid, object());
            } else if in_dom0.contains(reference) && vdi.current_operations.is_empty() {
                self.note(all, operation, Kind::HeldDisk, &vdi.uuid, object());
            }
        }
    }

    fn rest(&self, all: &mut All) {
        for (reference, sr) in &self.pool.srs {
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
                self.note(all, maker.operation, Kind::UnfinishedNetwork, &network.uuid, object);
            }
        }
    }
}

/// The last operation that marked an object.
fn mark(other_config: &BTreeMap<String, String>) -> Option<Uuid> {
    other_config.keys().filter_map(|key| operation_of(key)).max()
}

/// What a marked object is.
fn passing(is_a_snapshot: bool) -> Kind {
    if is_a_snapshot { Kind::PassingSnapshot } else { Kind::Mark }
}

/// The operation in a key that marks an object while something is copied from it.
pub(crate) fn operation_of(key: &str) -> Option<Uuid> {
    let rest = key.strip_prefix("xenapi-rs:snapshot:").or_else(|| key.strip_prefix("xenapi-rs:resize:"))?;
    rest.parse().ok()
}

/// Whether an operation began so long ago. Those of earlier releases do not say when they began.
pub(crate) fn is_older(operation: Uuid, than: Duration) -> bool {
    let Some((seconds, nanos)) = operation.get_timestamp().map(|time| time.to_unix()) else { return true };
    let begun = UNIX_EPOCH + Duration::new(seconds, nanos);
    SystemTime::now().duration_since(begun).is_ok_and(|age| age >= than) || than.is_zero()
}

async fn settle(job: &Job, Found { finding, object }: &Found) -> Result<(), Cause> {
    let (client, driver) = (job.client(), &job.driver);
    let patience = driver.settings().detach_timeout;
    let _gate = driver.0.gates.enter(&finding.uuid).await;
    let settled = match (object, finding.kind) {
        (Object::Vm(vm), Kind::BrokenResize) => restore::revert(driver, vm).await,
        (Object::Vm(vm), Kind::BrokenConfirmation) => restore::confirm(driver, vm).await,
        (Object::Vm(vm), Kind::BrokenMove) => pool_move::restore(driver, vm).await,
        (Object::Vm(vm), Kind::BrokenRescue) => rescue::end(driver, vm).await,
        (Object::Vm(vm), Kind::BrokenMigration) => {
            return moving::settle(client, None, vm, patience).await.map(drop);
        }
        (Object::Vm(vm), Kind::Mark) => unmark_vm(client, vm).await,
        (Object::Vm(vm), _) => {
            if let Ok(record) = client.record(vm).await
                && let Some(instance) =
                    crate::find::made_for(&record.other_config, &record.uuid, &driver.settings().owner)
            {
                kernel::forget(client, &record, instance).await?;
            }
            remove::vm(client, vm, patience).await
        }
        (Object::Vdi(vdi), Kind::HeldDisk) => remove::detach_from_dom0(client, vdi).await,
        (Object::Vdi(vdi), Kind::Mark) => unmark(client, vdi).await,
        (Object::Vdi(vdi), _) => remove::vdi(client, vdi, Dom0::Detach, patience).await,
        (Object::Vbd(vbd), Kind::BrokenSwap) => swap::settle(client, &driver.settings().owner, vbd).await,
        (Object::Vbd(vbd), _) => release::drive_of(client, vbd, true).await,
        (Object::Vif(vif), _) => {
            let unplugged = client.call(xenapi_types::vif::Unplug { vif: vif.clone() }).await;
            match tolerate(unplugged, &["DEVICE_ALREADY_DETACHED", "VM_BAD_POWER_STATE"]) {
                Ok(()) => gone_is_fine(client.destroy(vif).await),
                error => error,
            }
        }
        (Object::Sr(sr), _) => {
            release::forget_if_unused(client, &driver.settings().owner, sr).await.map(drop)
        }
        (Object::Host(host), _) => match finding.uuid.parse() {
            Ok(operation) => ledger::release(client, host, operation).await,
            Err(_) => Ok(()),
        },
        (Object::Pool, _) => match finding.uuid.parse() {
            Ok(operation) => moving::arriving::clear(client, operation, patience).await,
            Err(_) => Ok(()),
        },
        (Object::Network(network), _) => network::remove(client, network).await,
        (Object::Secret, _) => match client.by_uuid_opt::<xenapi_types::Secret>(&finding.uuid).await {
            Ok(Some(secret)) => gone_is_fine(client.destroy(&secret).await),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        },
    };
    settled.map_err(Cause::host(finding.to_string()))
}

async fn unmark(client: &Client, vdi: &Ref<Vdi>) -> xenapi_client::Result<()> {
    let Some(record) = client.record_opt(vdi).await? else { return Ok(()) };
    let is_mark = |key: &&String| operation_of(key).is_some() || *key == Cloning::KEY;
    for key in record.other_config.keys().filter(is_mark) {
        client.remove_from(vdi, vdi::field::OTHER_CONFIG, key.as_str()).await?;
    }
    Ok(())
}

async fn unmark_vm(client: &Client, vm: &Ref<Vm>) -> xenapi_client::Result<()> {
    let Some(record) = client.record_opt(vm).await? else { return Ok(()) };
    for key in record.other_config.keys().filter(|key| operation_of(key).is_some()) {
        client.remove_from(vm, xenapi_types::vm::field::OTHER_CONFIG, key.as_str()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_says_when_it_began() {
        let now = Uuid::now_v7();
        assert!(!is_older(now, Duration::from_secs(60)) && is_older(now, Duration::ZERO));
        let long_ago = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 1_500_000_000, 0));
        assert!(is_older(long_ago, Duration::from_secs(3600)));
        assert!(is_older(Uuid::new_v4(), Duration::from_secs(3600)));
    }

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
