//! Taking over a VM that somebody else made: from then on it is an instance like any other.

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_storage::ownership::{self, Claim, Ownership};
use xenapi_types::field::Settable;
use xenapi_types::{Ref, VbdMode, Vdi, VdiRecord, Vm, VmRecord, vdi, vm};

use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::{self, Which};
use crate::job::Job;
use crate::operation::Operation;
use crate::progress::{Progress, Stage};

/// A VM that was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Adopted {
    /// The instance's uuid: Nova's for it, if the VM had one, or else the VM's.
    pub instance: Uuid,
    /// The VM's uuid.
    pub vm_uuid: String,
    /// Uuids of the disks that end with the instance from now on.
    pub disk_uuids: Vec<String>,
    /// Uuids of those that stay somebody's: they are the instance's volumes.
    pub kept_disk_uuids: Vec<String>,
}

impl Driver {
    /// Takes a VM over that no driver made. Without this, no verb touches it.
    ///
    /// What is written, and nothing else, is our keys, into `other_config`: `xenapi-rs:owner`, `xenapi-rs:instance`,
    /// `xenapi-rs:operation`, `xenapi-rs:self` (the object's own uuid), and `nova_uuid`: of the
    /// VM, and, without `nova_uuid`, of each disk that this VM alone uses and may write to. Those disks end with the
    /// instance. Discs, disks that others use, and what is read only are left as they are.
    ///
    /// What XAPI has copied of our keys into a copy of an instance goes: what was noted there of a resize, a
    /// move or the like is the original's, and so are the disks that it names.
    ///
    /// A VM that is this owner's already is left as it is, but for those of its disks that have taken the
    /// place of its own, which are no more, as `VM.revert` to a snapshot makes them: they get these keys
    /// anew. Cancelling or failing takes back what was written. While it is done, the VM has the key
    /// `xenapi-rs:adopting`: what a program that was killed has left is completed by doing it once more, or
    /// by [`Driver::reconcile`].
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::AmbiguousInstance`]; [`Cause::AdoptedElsewhere`] when it is an
    /// instance of another owner; [`Cause::Host`].
    pub fn adopt(&self, which: Which, progress: Progress) -> Operation<Adopted> {
        let object = format!("VM {which}");
        self.verb(Op::Adopt, object, progress, move |job, stop| {
            Box::pin(async move {
                let found = find::vm(job.client(), &which);
                let found = async { found.await?.ok_or_else(|| which.unknown()) };
                let (vm, record) = job.stage(Stage::Find, found).await?;
                let _gate = job.turn(&record.uuid, stop).await?;
                let plan = job.stage(Stage::Plan, decide(job, &record)).await?;
                if plan.is_new {
                    job.would(|| plan.steps(&record))?;
                }
                job.stage(Stage::Vm, async {
                    stop.check()?;
                    if !plan.is_new {
                        return Ok(());
                    }
                    remember(job, &vm, &record, &plan);
                    take(job, &vm, &record, &plan, stop).await
                })
                .await?;
                Ok(Adopted {
                    instance: plan.instance,
                    vm_uuid: record.uuid,
                    disk_uuids: plan.disks.into_iter().map(|(_, disk)| disk.uuid).collect(),
                    kept_disk_uuids: plan.kept,
                })
            })
        })
    }
}

struct Plan {
    instance: Uuid,
    /// Whether something is to be written.
    is_new: bool,
    /// Whether the VM is not ours, or not wholly, because a program was ended in the middle of this.
    claims_vm: bool,
    disks: Vec<(Ref<Vdi>, VdiRecord)>,
    kept: Vec<String>,
    /// Whether what is noted of it was, or may have been, before it was ours.
    is_foreign: bool,
}

impl Plan {
    /// Those of our keys that say something about the object that this one is a copy of.
    fn strange<'a>(&self, keys: &'a BTreeMap<String, String>) -> impl Iterator<Item = &'a String> + use<'a> {
        let own = [ownership::OWNER, ownership::INSTANCE, ownership::OPERATION, ownership::SELF, ADOPTING];
        let is_foreign = self.is_foreign;
        let is_strange = move |key: &&String| key.starts_with("xenapi-rs:") && !own.contains(&key.as_str());
        keys.keys().filter(move |key| is_foreign && is_strange(key))
    }

    fn steps(&self, vm: &VmRecord) -> Vec<String> {
        let keys = [ownership::OWNER, ownership::INSTANCE, ownership::OPERATION, ownership::SELF].join(", ");
        let disks = self.disks.iter().map(|(_, disk)| {
            format!("write {keys} to disk {}, which ends with the instance from then on", disk.uuid)
        });
        let own = format!("write {keys}, {} to VM {}", ownership::NOVA_UUID, vm.uuid);
        let kept = self.kept.iter().map(|disk| format!("leave disk {disk} as it is"));
        let strange = self.strange(&vm.other_config);
        let strange =
            strange.map(|key| format!("remove {key} from VM {}, which it was copied with", vm.uuid));
        let own = Some(own).filter(|_| self.claims_vm);
        own.into_iter().chain(strange).chain(disks).chain(kept).collect()
    }
}

async fn decide(job: &Job, vm: &VmRecord) -> Result<Plan, Cause> {
    let owner = &job.driver.settings().owner;
    let is_broken = broken(vm, owner).is_some();
    let made_for = find::made_for(&vm.other_config, &vm.uuid, owner);
    if let Some(instance) = made_for.filter(|_| !is_broken) {
        let disks = successors(job, vm, instance).await?;
        let is_new = !disks.is_empty();
        return Ok(Plan { instance, is_new, claims_vm: false, disks, kept: Vec::new(), is_foreign: false });
    }
    // A copy of somebody's instance is not that instance; half a claim is that of a program which was ended.
    if let Claim::Original(maker) | Claim::Unsealed(maker) = Claim::read(&vm.other_config, &vm.uuid)
        && !is_broken
    {
        return Err(Cause::AdoptedElsewhere { vm: vm.uuid.clone(), owner: maker.owner });
    }
    let nova = vm.other_config.get(ownership::NOVA_UUID).and_then(|uuid| uuid.parse().ok());
    let is_copy = matches!(Claim::read(&vm.other_config, &vm.uuid), Claim::Copy(_));
    let named = made_for.or(nova.filter(|_| !is_copy)).or_else(|| vm.uuid.parse().ok());
    let instance = named.unwrap_or_default();
    let doing = || Cause::host(format!("reading the disks of VM {}", vm.uuid));
    let (mut disks, mut kept) = (Vec::new(), Vec::new());
    for (_, vbd) in find::disks(job.client(), vm).await? {
        let disk = job.client().record(&vbd.vdi).await.map_err(doing())?;
        let is_others = match Claim::read(&disk.other_config, &disk.uuid) {
            Claim::Original(maker) | Claim::Unsealed(maker) => {
                maker.owner != *owner || maker.instance != instance
            }
            _ => false,
        };
        match is_alone(&disk) && vbd.mode == VbdMode::Rw && !is_others {
            true => disks.push((vbd.vdi, disk)),
            false => kept.push(disk.uuid),
        }
    }
    Ok(Plan { instance, is_new: true, claims_vm: true, disks, kept, is_foreign: made_for.is_none() })
}

/// Disks of an instance that were made from its own, which are gone: `VM.revert` has put them in their places.
async fn successors(job: &Job, vm: &VmRecord, instance: Uuid) -> Result<Vec<(Ref<Vdi>, VdiRecord)>, Cause> {
    let (client, owner) = (job.client(), &job.driver.settings().owner);
    let doing = || Cause::host(format!("reading the disks of VM {}", vm.uuid));
    let mut found = Vec::new();
    for (_, vbd) in find::disks(client, vm).await? {
        let disk = client.record(&vbd.vdi).await.map_err(doing())?;
        let Claim::Copy(maker) = Claim::read(&disk.other_config, &disk.uuid) else { continue };
        // A copy that somebody has attached is his.
        let is_place = find::made_for(&vbd.other_config, &vbd.uuid, owner) == Some(instance);
        let is_its = is_place && maker.owner == *owner && maker.instance == instance;
        if !is_its || !is_alone(&disk) {
            continue;
        }
        let own = disk.other_config.get(ownership::SELF).map_or("", String::as_str);
        if client.by_uuid_opt::<Vdi>(own).await.map_err(doing())?.is_none() {
            found.push((vbd.vdi, disk));
        }
    }
    Ok(found)
}

/// Whether one drive alone has it.
fn is_alone(disk: &VdiRecord) -> bool {
    disk.vbds.len() == 1 && disk.managed && !disk.sharable && !disk.is_a_snapshot
}

/// On a VM that is being taken over: the operation, the VM's uuid, which no copy has, and the owner.
const ADOPTING: &str = "xenapi-rs:adopting";

/// The operation that was taking the VM over for this owner.
pub(crate) fn broken(vm: &VmRecord, owner: &str) -> Option<Uuid> {
    let mut parts = vm.other_config.get(ADOPTING)?.splitn(3, '/');
    let (operation, uuid, by) = (parts.next()?, parts.next()?, parts.next()?);
    operation.parse().ok().filter(|_| uuid == vm.uuid && by == owner)
}

/// Completes what a program that has ended began to take over. The keys of a VM say whose its disks are, so that none is
/// lost whether it is completed or not.
pub(crate) async fn complete(job: &Job, vm: &Ref<Vm>) -> Result<(), Cause> {
    let doing = || Cause::host("reading a VM that is being taken over");
    let Some(record) = job.client().record_opt(vm).await.map_err(doing())? else { return Ok(()) };
    let plan = decide(job, &record).await?;
    take(job, vm, &record, &plan, &Stop::new()).await
}

/// Has what was there before written again if the operation fails.
fn remember(job: &Job, vm: &Ref<Vm>, record: &VmRecord, plan: &Plan) {
    let mark = BTreeMap::from([(ADOPTING.to_owned(), String::new())]);
    put_back(job, vm, vm::field::OTHER_CONFIG, &mark, &record.other_config, &record.uuid);
    let mut own = if plan.claims_vm { vm_keys(job, plan, record) } else { BTreeMap::new() };
    own.extend(plan.strange(&record.other_config).map(|key| (key.clone(), String::new())));
    put_back(job, vm, vm::field::OTHER_CONFIG, &own, &record.other_config, &record.uuid);
    for (vdi, disk) in &plan.disks {
        let own = keys(job, plan.instance, &disk.uuid);
        put_back(job, vdi, vdi::field::OTHER_CONFIG, &own, &disk.other_config, &disk.uuid);
    }
}

async fn take(job: &Job, vm: &Ref<Vm>, record: &VmRecord, plan: &Plan, stop: &Stop) -> Result<(), Cause> {
    let (client, name) = (job.client(), format!("VM {}", record.uuid));
    let doing = || Cause::host(format!("noting in {name} whose it is"));
    let mark = format!("{}/{}/{}", job.operation, record.uuid, job.driver.settings().owner);
    if plan.claims_vm {
        client.put_in(vm, vm::field::OTHER_CONFIG, ADOPTING, mark).await.map_err(doing())?;
    }
    for key in plan.strange(&record.other_config) {
        client.remove_from(vm, vm::field::OTHER_CONFIG, key.as_str()).await.map_err(doing())?;
    }
    let own = if plan.claims_vm { vm_keys(job, plan, record) } else { BTreeMap::new() };
    claim(job, vm, vm::field::OTHER_CONFIG, own, &record.other_config, &name).await?;
    // Disks come last: one with our keys and without an instance is removed when a pool is put in order.
    for (vdi, disk) in &plan.disks {
        stop.check()?;
        let (keys, name) = (keys(job, plan.instance, &disk.uuid), format!("disk {}", disk.uuid));
        claim(job, vdi, vdi::field::OTHER_CONFIG, keys, &disk.other_config, &name).await?;
    }
    match plan.claims_vm {
        true => client.remove_from(vm, vm::field::OTHER_CONFIG, ADOPTING).await.map_err(doing()),
        false => Ok(()),
    }
}

fn vm_keys(job: &Job, plan: &Plan, record: &VmRecord) -> BTreeMap<String, String> {
    let mut own = keys(job, plan.instance, &record.uuid);
    own.insert(ownership::NOVA_UUID.to_owned(), plan.instance.to_string());
    own
}

/// Our keys for an object, `nova_uuid` not among them.
fn keys(job: &Job, instance: Uuid, uuid: &str) -> BTreeMap<String, String> {
    let owner = job.driver.settings().owner.clone();
    let mut keys = Ownership { owner, instance, operation: job.operation }.keys();
    keys.insert(ownership::SELF.to_owned(), uuid.to_owned());
    keys
}

/// Has what was under these keys before written again if the operation fails.
fn put_back<F>(
    job: &Job,
    object: &Ref<F::Class>,
    field: F,
    keys: &BTreeMap<String, String>,
    before: &BTreeMap<String, String>,
    uuid: &str,
) where
    F: Settable<Value = BTreeMap<String, String>>,
{
    let (client, undo) = (job.client().clone(), object.clone());
    let old: Vec<_> = keys.keys().map(|key| (key.clone(), before.get(key).cloned())).collect();
    job.rollback.push_sweep(format!("our keys on {uuid}"), async move {
        for (key, value) in old {
            match value {
                Some(value) => client.put_in(&undo, field, key, value).await?,
                None => client.remove_from(&undo, field, key).await?,
            }
        }
        Ok::<_, xenapi_client::Error>(())
    });
}

/// Writes keys into an object's `other_config`. What is there as it should be is not touched: writing takes a
/// call that removes it first.
async fn claim<F>(
    job: &Job,
    object: &Ref<F::Class>,
    field: F,
    mut keys: BTreeMap<String, String>,
    before: &BTreeMap<String, String>,
    name: &str,
) -> Result<(), Cause>
where
    F: Settable<Value = BTreeMap<String, String>>,
{
    keys.retain(|key, value| before.get(key) != Some(value));
    for (key, value) in keys {
        let written = job.client().put_in(object, field, key, value).await;
        written.map_err(Cause::host(format!("noting in {name} whose it is")))?;
    }
    Ok(())
}
