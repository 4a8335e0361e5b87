//! Removing an instance with all that was made for it, and nothing else.

use std::collections::BTreeSet;

use uuid::Uuid;
use xenapi_client::ErrorKind;
use xenapi_types::{Ref, Sr, VbdRecord, Vdi, VdiRecord, Vm, VmPowerState, VmRecord, sr, vm};

use crate::backup;
use crate::blocked;
use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Error, Op};
use crate::find::{self, Which};
use crate::held::Held;
use crate::job::{Failed, Job};
use crate::kernel;
use crate::moving;
use crate::operation::Operation;
use crate::ports::{self, Ports};
use crate::progress::{Progress, Stage};
use crate::remove::{self, Dom0};
use crate::volume::VOLUME_KEY;
use crate::volume::release;

/// On the VM of an instance that is being removed: the operation that does it. From then on there is only the way
/// forward.
const DESTROYING: &str = "xenapi-rs:destroying";

/// The operation that began to remove an instance, and was to remove its VM.
pub(crate) fn broken(vm: &VmRecord) -> Option<Uuid> {
    vm.other_config.get(DESTROYING)?.parse().ok()
}

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Destroyed {
    /// Uuid of the VM, if there was one.
    pub vm_uuid: Option<String>,
    /// Uuids of the disks.
    pub disk_uuids: Vec<String>,
    /// Uuids of disks that were attached but were not made for this instance by this driver, or that
    /// another VM uses: they are still there.
    pub kept_disk_uuids: Vec<String>,
}

impl Driver {
    /// Removes an instance: its VM, stopped at once, and the disks that this driver made for it,
    /// attached or not.
    ///
    /// It can be repeated, after a crash too: what is gone already is no error. Once the VM is to be stopped there is
    /// only the way forward, which [`Driver::reconcile`] goes when nobody else does; a repository that nobody uses any
    /// more because the call broke off between the VM and it is left to that, too. Disks of others stay,
    /// copies and snapshots of the instance's disks among them, but for those that [`Driver::backup`] kept.
    /// Cancelling it leaves the rest in place for the next call.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`] when a name fits no VM (an unknown uuid is no error: nothing is
    /// left of it); [`Cause::NotOurs`] when the VM was not made by this driver's owner.
    pub fn destroy(&self, which: Which, progress: Progress) -> Operation<Destroyed> {
        let object = format!("instance {which}");
        let job = Job::new(self.clone(), progress);
        let name = object.clone();
        Operation::start(&self.0.running, Op::Destroy, object, |stop| async move {
            let result = body(&job, &which, &stop).await;
            result.map_err(|Failed { stage, cause }| Error::new(Op::Destroy, name, stage, cause))
        })
    }
}

struct Found {
    instance: Uuid,
    vm: Option<(Ref<Vm>, VmRecord)>,
    ours: Vec<(Ref<Vdi>, VdiRecord)>,
    kept_disk_uuids: Vec<String>,
    /// The repositories of the disks that are kept.
    volume_srs: BTreeSet<Ref<Sr>>,
}

impl Found {
    /// What would be done, in words.
    fn steps(&self) -> Vec<String> {
        let mut steps = Vec::new();
        if let Some((_, record)) = &self.vm {
            if record.power_state != VmPowerState::Halted {
                steps.push(format!("switch VM {} off, without asking its guest", record.uuid));
            }
            steps.push(format!("remove VM {}", record.uuid));
        }
        steps.extend(
            self.ours.iter().map(|(_, disk)| format!("remove disk {} {:?}", disk.uuid, disk.name_label)),
        );
        steps.extend(
            self.kept_disk_uuids.iter().map(|disk| format!("keep disk {disk}, which was not made for it")),
        );
        steps
    }
}

/// [`Driver::destroy`], as a part of another verb.
pub(crate) async fn body(job: &Job, which: &Which, stop: &Stop) -> Result<Destroyed, Failed> {
    let found = job.stage(Stage::Find, find(job, which)).await?;
    job.would(|| found.steps())?;
    if let Some((vm, record)) = &found.vm {
        let stopping = async {
            stop.check()?;
            let doing = format!("stopping VM {}", record.uuid);
            let (field, operation) = (vm::field::OTHER_CONFIG, job.operation.to_string());
            let noted = job.client().add_to(vm, field, DESTROYING, operation).await;
            remove::tolerate(noted, &["MAP_DUPLICATE_KEY"]).map_err(Cause::host(&*doing))?;
            remove::stop(&job.driver, vm, record).await.map_err(Held::while_doing(doing))
        };
        job.stage(Stage::Stop, stopping).await?;
    }
    tracing::info!(instance = %found.instance, disks = found.ours.len(), "destroying");
    let patience = job.driver.settings().detach_timeout;
    let had_vm = found.vm.is_some();
    let removing = async {
        let mut done = Destroyed { kept_disk_uuids: found.kept_disk_uuids, ..Destroyed::default() };
        if let Some((vm, record)) = found.vm {
            stop.check()?;
            Ports::of(&job.driver, &record, ports::home(&record)).await?.down().await?;
            kernel::forget(job.client(), &record, found.instance).await?;
            let doing = format!("removing VM {}", record.uuid);
            remove::vm(&job.driver, &vm).await.map_err(Held::while_doing(doing))?;
            done.vm_uuid = Some(record.uuid);
        }
        for (vdi, record) in found.ours {
            stop.check()?;
            let doing = format!("removing disk {} of storage repository {}", record.uuid, record.sr);
            // Somebody may have taken it meanwhile.
            let now = job.client().record_opt(&vdi).await.map_err(Cause::host(&*doing))?;
            if let Some(now) = now
                && remove::has_user(job.client(), &now, None).await.map_err(Cause::host(&*doing))?
            {
                done.kept_disk_uuids.push(record.uuid);
                continue;
            }
            // A disk that was in use by a VM may be in a backup; one that never was is the rest of a
            // spawn that broke off.
            let dom0 = if had_vm { Dom0::Wait } else { Dom0::Detach };
            let removed = remove::vdi_while(job.client(), &vdi, dom0, patience, stop).await;
            removed.map_err(|error| match stop.check() {
                Err(stopped) => stopped.into(),
                Ok(()) => Cause::host(doing)(error),
            })?;
            done.disk_uuids.push(record.uuid);
        }
        for sr in found.volume_srs {
            let doing = format!("forgetting storage repository {sr}");
            let sr_uuid = job.client().get_field(&sr, sr::field::UUID).await;
            let _gate = match sr_uuid {
                Ok(uuid) => job.turn(&uuid, stop).await?,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(Cause::host(doing)(error)),
            };
            let forgotten = release::forget_if_unused(&job.driver, &sr).await;
            forgotten.map_err(Held::while_doing(doing))?;
        }
        Ok(done)
    };
    job.stage(Stage::Remove, removing).await
}

async fn find(job: &Job, which: &Which) -> Result<Found, Cause> {
    let owner = &job.driver.settings().owner;
    let vm = find::vm(job.client(), which).await?;
    let instance = match (&vm, which) {
        (None, Which::Named(name)) => return Err(Cause::NoSuchInstance(name.clone())),
        (None, Which::Instance(uuid)) => *uuid,
        (Some((_, record)), _) => match find::made_for(&record.other_config, &record.uuid, owner) {
            Some(instance) => instance,
            None => return Err(Cause::NotOurs { uuid: record.uuid.clone(), owner: owner.clone() }),
        },
    };
    let vm = match vm {
        Some((vm, record)) => Some((vm.clone(), moving::settled(job, &vm, record).await?)),
        None => None,
    };
    if let Some((_, record)) = &vm {
        blocked::removal(record)?;
    }
    let journal = vm.as_ref().and_then(|(_, record)| moving::Journal::read(record));
    let attached = match &vm {
        Some((_, record)) => find::disks(job.client(), record).await?,
        None => Vec::new(),
    };
    let disks = job.client().all_records::<Vdi>().await;
    let disks = disks.map_err(Cause::host(format!("looking for the disks of instance {instance}")))?;
    let (mut ours, mut kept_disk_uuids, mut volume_srs) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (vdi, record) in disks {
        let drive = attached.iter().find(|(_, vbd)| vbd.vdi == vdi);
        let is_attached = drive.is_some();
        let is_volume = drive.is_some_and(|(_, vbd)| vbd.other_config.contains_key(VOLUME_KEY));
        let brought = |(_, vbd): &(_, VbdRecord)| journal.as_ref().is_some_and(|it| it.brought(vbd, &record));
        let is_moved = !is_volume && drive.is_some_and(brought);
        let shared = record.vbds.iter().any(|vbd| !attached.iter().any(|(own, _)| own == vbd));
        let is_ours = (is_moved
            || find::made_for(&record.other_config, &record.uuid, owner) == Some(instance))
            && record.managed
            && (!record.is_a_snapshot || backup::is_kept(&record));
        let is_used = async || {
            let used = remove::has_user(job.client(), &record, vm.as_ref().map(|(vm, _)| vm)).await;
            used.map_err(Cause::host(format!("looking who else uses disk {}", record.uuid)))
        };
        // dom0 may still hold a disk whose import failed; such a disk has no VBD of our VM.
        if is_ours && (!shared || !is_attached) && !is_used().await? {
            ours.push((vdi, record));
        } else if is_attached {
            kept_disk_uuids.push(record.uuid);
            volume_srs.insert(record.sr);
        } else if is_ours {
            kept_disk_uuids.push(record.uuid);
        }
    }
    ours.sort_by(|(_, a), (_, b)| a.uuid.cmp(&b.uuid));
    Ok(Found { instance, vm, ours, kept_disk_uuids, volume_srs })
}
