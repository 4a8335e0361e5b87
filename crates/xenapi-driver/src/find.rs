//! Finding an instance again.

use std::collections::BTreeMap;

use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;
use xenapi_client::Client;
use xenapi_storage::ownership::{self, Claim};
use xenapi_types::{Ref, Vbd, VbdRecord, VbdType, Vm, VmPowerState, VmRecord};

use crate::cancel::Stop;
use crate::destroy;
use crate::error::Cause;
use crate::job::{Failed, Job};
use crate::pool_move;
use crate::progress::Stage;

/// Which instance is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The instance with this uuid, or whose VM has it.
    Instance(Uuid),
    /// The VM with this `name_label`.
    Named(String),
}

impl Which {
    /// A uuid or else a name, as a person gives it.
    pub fn parse(text: &str) -> Self {
        match text.parse() {
            Ok(uuid) => Self::Instance(uuid),
            Err(_) => Self::Named(text.to_owned()),
        }
    }

    pub(crate) fn unknown(&self) -> Cause {
        Cause::NoSuchInstance(match self {
            Self::Instance(uuid) => uuid.to_string(),
            Self::Named(name) => name.clone(),
        })
    }
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Instance(uuid) => uuid.fmt(f),
            Self::Named(name) => write!(f, "{name:?}"),
        }
    }
}

/// The VM of an instance, if there is one. Templates and snapshots are none.
pub(crate) async fn vm(client: &Client, which: &Which) -> Result<Option<(Ref<Vm>, VmRecord)>, Cause> {
    let mut found: Vec<(Ref<Vm>, VmRecord)> = match which {
        Which::Named(name) => {
            let found = client.records_named::<Vm>(name).await;
            found.map_err(Cause::host(format!("looking for VM {name:?}")))?.into_iter().collect()
        }
        Which::Instance(uuid) => {
            let text = uuid.to_string();
            let all = client.all_records::<Vm>().await;
            let all = all.map_err(Cause::host(format!("looking for instance {uuid}")))?;
            all.into_iter()
                .filter(|(_, record)| names(record, &text) && (record.uuid == text || !is_copy(record)))
                .collect()
        }
    };
    found.retain(|(_, record)| !record.is_a_template && !record.is_a_snapshot && !record.is_control_domain);
    if found.len() > 1 {
        let uuids = found.into_iter().map(|(_, record)| record.uuid).collect();
        let name = match which {
            Which::Named(name) => name.clone(),
            Which::Instance(uuid) => uuid.to_string(),
        };
        return Err(Cause::AmbiguousInstance { name, uuids });
    }
    Ok(found.pop())
}

/// The VM of an instance that this driver's owner made, and that is complete: what is done to one that another program is
/// still making would have both fail.
pub(crate) async fn ours(job: &Job, which: &Which) -> Result<(Ref<Vm>, VmRecord), Cause> {
    let Some((reference, record)) = vm(job.client(), which).await? else {
        return Err(which.unknown());
    };
    is_ours(job, &record)?;
    Ok((reference, record))
}

/// [`ours`], behind its gate: no other operation of this driver changes it as long as that is held, and the
/// record is as the last one has left it.
pub(crate) async fn ours_in_turn(
    job: &Job,
    which: &Which,
    stop: &Stop,
) -> Result<(OwnedMutexGuard<()>, Ref<Vm>, VmRecord), Failed> {
    let (vm, record) = job.stage(Stage::Find, ours(job, which)).await?;
    let gate = job.turn(&record.uuid, stop).await?;
    let reading = async {
        let record = job.client().record_opt(&vm).await.map_err(Cause::host("reading the VM"))?;
        let record = record.ok_or_else(|| which.unknown())?;
        is_ours(job, &record)?;
        Ok(record)
    };
    let record = reading.await.map_err(|cause| Failed { stage: Stage::Find, cause })?;
    Ok((gate, vm, record))
}

/// As [`ours`], of one, too, that is on its way to another pool: for who only looks.
pub(crate) async fn known(job: &Job, which: &Which) -> Result<VmRecord, Cause> {
    let Some((_, record)) = vm(job.client(), which).await? else {
        return Err(which.unknown());
    };
    is_whole(job, &record)?;
    Ok(record)
}

fn is_ours(job: &Job, vm: &VmRecord) -> Result<(), Cause> {
    is_whole(job, vm)?;
    pool_move::not_leaving(vm)
}

/// Whether it is an instance of this owner that is neither being made nor being destroyed.
fn is_whole(job: &Job, vm: &VmRecord) -> Result<(), Cause> {
    let owner = &job.driver.settings().owner;
    if made_for(&vm.other_config, &vm.uuid, owner).is_none() {
        return Err(Cause::NotOurs { uuid: vm.uuid.clone(), owner: owner.clone() });
    }
    complete(vm)?;
    if destroy::broken(vm).is_some() {
        let remedy = "destroy it once more, which goes on where that ended";
        return Err(Cause::WrongState { vm: vm.uuid.clone(), state: "being destroyed".into(), remedy });
    }
    Ok(())
}

/// Makes sure that nobody is still making it.
pub(crate) fn complete(record: &VmRecord) -> Result<(), Cause> {
    if !record.other_config.contains_key(ownership::UNFINISHED) {
        return Ok(());
    }
    let remedy = "wait until it is complete, or destroy it";
    Err(Cause::WrongState { vm: record.uuid.clone(), state: "not complete".into(), remedy })
}

/// The instance that an object was made for by this owner, unless the object is a copy.
pub(crate) fn made_for(other_config: &BTreeMap<String, String>, uuid: &str, owner: &str) -> Option<Uuid> {
    match Claim::read(other_config, uuid) {
        Claim::Original(maker) | Claim::Unsealed(maker) if maker.owner == owner => Some(maker.instance),
        _ => None,
    }
}

/// Whether a VM has this uuid, or says that it is this instance.
fn names(record: &VmRecord, uuid: &str) -> bool {
    record.uuid == uuid
        || [ownership::INSTANCE, ownership::NOVA_UUID]
            .iter()
            .any(|key| record.other_config.get(*key).is_some_and(|value| value == uuid))
}

/// A clone inherits its original's keys, but not its uuid.
fn is_copy(record: &VmRecord) -> bool {
    matches!(Claim::read(&record.other_config, &record.uuid), Claim::Copy(_))
}

/// The VBDs of a VM that hold disks, in the order of their numbers. Discs are none.
pub(crate) async fn disks(client: &Client, vm: &VmRecord) -> Result<Vec<(Ref<Vbd>, VbdRecord)>, Cause> {
    let mut found = places(client, vm).await?;
    found.retain(|(_, vbd)| vbd.r#type == VbdType::Disk && !vbd.empty);
    Ok(found)
}

/// All VBDs of a VM, in the order of their numbers: also those of discs, with or without one.
pub(crate) async fn places(client: &Client, vm: &VmRecord) -> Result<Vec<(Ref<Vbd>, VbdRecord)>, Cause> {
    let mut found = Vec::new();
    for reference in &vm.vbds {
        let record = client.record_opt(reference).await;
        let record = record.map_err(Cause::host(format!("reading the disks of VM {}", vm.uuid)))?;
        found.extend(record.map(|record| (reference.clone(), record)));
    }
    found.sort_by_key(|(_, vbd)| vbd.userdevice.parse::<u32>().unwrap_or(u32::MAX));
    Ok(found)
}

/// Whether a VM's devices are plugged and unplugged as well: XAPI cannot do it in the states between.
pub(crate) fn plugs(vm: &VmRecord) -> Result<bool, Cause> {
    match vm.power_state {
        VmPowerState::Halted => Ok(false),
        VmPowerState::Running => Ok(true),
        _ => Err(Cause::WrongState {
            vm: vm.uuid.clone(),
            state: vm.power_state.to_string(),
            remedy: "bring it up or switch it off first",
        }),
    }
}
