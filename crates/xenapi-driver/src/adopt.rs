//! Taking over a VM that somebody else made: from then on it is an instance like any other.

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_storage::ownership::{self, Claim, Ownership};
use xenapi_types::field::Settable;
use xenapi_types::{Ref, VbdMode, Vdi, VdiRecord, VmRecord, vdi, vm};

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
    /// A VM that is this owner's already is left as it is. Cancelling or failing takes back what was written.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::AmbiguousInstance`]; [`Cause::AdoptedElsewhere`] when it is an instance of another
    /// owner; [`Cause::Host`].
    pub fn adopt(&self, which: Which, progress: Progress) -> Operation<Adopted> {
        let object = format!("VM {which}");
        self.verb(Op::Adopt, object, progress, move |job, stop| {
            Box::pin(async move {
                let found = find::vm(job.client(), &which);
                let found = async { found.await?.ok_or_else(|| which.unknown()) };
                let (vm, record) = job.stage(Stage::Find, found).await?;
                let _gate = job.driver.0.gates.enter(&record.uuid).await;
                let plan = job.stage(Stage::Plan, decide(job, &record)).await?;
                if plan.is_new {
                    job.would(|| plan.steps(&record))?;
                }
                job.stage(Stage::Vm, async {
                    stop.check()?;
                    if !plan.is_new {
                        return Ok(());
                    }
                    let mut own = keys(job, plan.instance, &record.uuid);
                    own.insert(ownership::NOVA_UUID.to_owned(), plan.instance.to_string());
                    let name = format!("VM {}", record.uuid);
                    claim(job, &vm, vm::field::OTHER_CONFIG, own, &record.other_config, name).await?;
                    // Disks come last: one with our keys and without an instance is removed when a pool is put in order.
                    for (vdi, disk) in &plan.disks {
                        stop.check()?;
                        let (keys, name) =
                            (keys(job, plan.instance, &disk.uuid), format!("disk {}", disk.uuid));
                        claim(job, vdi, vdi::field::OTHER_CONFIG, keys, &disk.other_config, name).await?;
                    }
                    Ok::<_, Cause>(())
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
    /// Whether the VM is not ours yet.
    is_new: bool,
    disks: Vec<(Ref<Vdi>, VdiRecord)>,
    kept: Vec<String>,
}

impl Plan {
    fn steps(&self, vm: &VmRecord) -> Vec<String> {
        let keys = [ownership::OWNER, ownership::INSTANCE, ownership::OPERATION, ownership::SELF].join(", ");
        let disks = self.disks.iter().map(|(_, disk)| {
            format!("write {keys} to disk {}, which ends with the instance from then on", disk.uuid)
        });
        let own = format!("write {keys}, {} to VM {}", ownership::NOVA_UUID, vm.uuid);
        let kept = self.kept.iter().map(|disk| format!("leave disk {disk} as it is"));
        [own].into_iter().chain(disks).chain(kept).collect()
    }
}

async fn decide(job: &Job, vm: &VmRecord) -> Result<Plan, Cause> {
    let owner = &job.driver.settings().owner;
    if let Some(instance) = find::made_for(&vm.other_config, &vm.uuid, owner) {
        return Ok(Plan { instance, is_new: false, disks: Vec::new(), kept: Vec::new() });
    }
    // A copy of somebody's instance is not that instance; half a claim is that of a program which was ended.
    if let Claim::Original(maker) | Claim::Unsealed(maker) = Claim::read(&vm.other_config, &vm.uuid) {
        return Err(Cause::AdoptedElsewhere { vm: vm.uuid.clone(), owner: maker.owner });
    }
    let nova = vm.other_config.get(ownership::NOVA_UUID).and_then(|uuid| uuid.parse().ok());
    let is_copy = matches!(Claim::read(&vm.other_config, &vm.uuid), Claim::Copy(_));
    let instance = nova.filter(|_| !is_copy).or_else(|| vm.uuid.parse().ok()).unwrap_or_default();
    let doing = || Cause::host(format!("reading the disks of VM {}", vm.uuid));
    let (mut disks, mut kept) = (Vec::new(), Vec::new());
    for (_, vbd) in find::disks(job.client(), vm).await? {
        let disk = job.client().record(&vbd.vdi).await.map_err(doing())?;
        let is_others =
            matches!(Claim::read(&disk.other_config, &disk.uuid), Claim::Original(_) | Claim::Unsealed(_));
        let alone = disk.vbds.len() == 1 && disk.managed && !disk.sharable && !disk.is_a_snapshot;
        match alone && vbd.mode == VbdMode::Rw && !is_others {
            true => disks.push((vbd.vdi, disk)),
            false => kept.push(disk.uuid),
        }
    }
    Ok(Plan { instance, is_new: true, disks, kept })
}

/// Our keys for an object, `nova_uuid` not among them.
fn keys(job: &Job, instance: Uuid, uuid: &str) -> BTreeMap<String, String> {
    let owner = job.driver.settings().owner.clone();
    let mut keys = Ownership { owner, instance, operation: job.operation }.keys();
    keys.insert(ownership::SELF.to_owned(), uuid.to_owned());
    keys
}

/// Writes keys into an object's `other_config`; what was there before comes back if the operation fails.
async fn claim<F>(
    job: &Job,
    object: &Ref<F::Class>,
    field: F,
    keys: BTreeMap<String, String>,
    before: &BTreeMap<String, String>,
    name: String,
) -> Result<(), Cause>
where
    F: Settable<Value = BTreeMap<String, String>>,
{
    let (client, undo) = (job.client().clone(), object.clone());
    let old: Vec<_> = keys.keys().map(|key| (key.clone(), before.get(key).cloned())).collect();
    job.rollback.push_sweep(format!("our keys on {name}"), async move {
        for (key, value) in old {
            match value {
                Some(value) => client.put_in(&undo, field, key, value).await?,
                None => client.remove_from(&undo, field, key).await?,
            }
        }
        Ok::<_, xenapi_client::Error>(())
    });
    for (key, value) in keys {
        let written = job.client().put_in(object, field, key, value).await;
        written.map_err(Cause::host(format!("noting in {name} whose it is")))?;
    }
    Ok(())
}
