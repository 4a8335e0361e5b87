//! The instances that there are.

use uuid::Uuid;
use xenapi_storage::ownership;
use xenapi_types::{Host, Ref, Vm, VmPowerState, VmRecord};

use crate::destroy;
use crate::driver::Driver;
use crate::error::{Cause, Error, Op, Result};
use crate::find::{self, Which};
use crate::pool_move;
use crate::progress::Stage;
use crate::rescue;
use crate::resize::{self, ResizeState};
use crate::soft_delete;

/// An instance, as it was when the host was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceInfo {
    /// The instance's uuid.
    pub uuid: Uuid,
    /// Uuid of its VM.
    pub vm_uuid: String,
    /// `name_label` of its VM.
    pub name: String,
    /// Its power state.
    pub power_state: VmPowerState,
    /// Uuid of the node it is on, or would prefer when it is halted; `None` when it has no preference.
    pub node: Option<String>,
    /// Its virtual CPUs.
    pub vcpus: u32,
    /// Its memory in bytes: what it may have at most.
    pub memory_bytes: u64,
    /// Whether it is soft-deleted: off, and kept from being started until it is restored.
    pub soft_deleted: bool,
    /// Whether it is still being made, or that broke off.
    pub unfinished: bool,
    /// Whether it is being destroyed, or that broke off: it is to be destroyed once more.
    pub destroying: bool,
    /// Whether it is being rescued.
    pub rescued: bool,
    /// How far its resize is, if there is one.
    pub resize: Option<ResizeState>,
    /// How far its move to another pool is, if there is one: [`ResizeState::Done`] is to be confirmed or reverted.
    pub moving: Option<ResizeState>,
}

impl Driver {
    /// The instances of this driver's owner, in the order of their names, halted ones too. VMs of others
    /// are not among them.
    ///
    /// # Errors
    ///
    /// When the host cannot be asked.
    pub async fn instances(&self) -> Result<Vec<InstanceInfo>> {
        let listed = async {
            let failed = || Cause::host("listing VMs");
            let vms = self.client().all_records::<Vm>().await.map_err(failed())?;
            let nodes = self.client().all_records::<Host>().await.map_err(failed())?;
            let node = |host: &Ref<Host>| nodes.get(host).map(|record| record.uuid.clone());
            let owner = &self.settings().owner;
            let mut found: Vec<InstanceInfo> = vms
                .values()
                .filter(|vm| !vm.is_a_template && !vm.is_a_snapshot && !vm.is_control_domain)
                .filter_map(|vm| {
                    let uuid = find::made_for(&vm.other_config, &vm.uuid, owner)?;
                    Some(info(uuid, vm, node(&vm.resident_on).or_else(|| node(&vm.affinity))))
                })
                .collect();
            found.sort_by(|a, b| (&a.name, &a.vm_uuid).cmp(&(&b.name, &b.vm_uuid)));
            Ok(found)
        };
        let of_whom = || format!("the instances of {}", self.endpoint());
        listed.await.map_err(|cause: Cause| Error::new(Op::Instances, of_whom(), Stage::Find, cause))
    }

    /// One instance of this driver's owner.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`] when there is none of this owner; else as [`Driver::instances`].
    pub async fn instance(&self, which: &Which) -> Result<InstanceInfo> {
        let uuid = |text: &str| text.parse::<Uuid>().ok();
        let fits = |info: &InstanceInfo| match which {
            Which::Named(name) => info.name == *name,
            Which::Instance(wanted) => info.uuid == *wanted || uuid(&info.vm_uuid) == Some(*wanted),
        };
        let mut found: Vec<InstanceInfo> = self.instances().await?.into_iter().filter(fits).collect();
        let failed = |cause| {
            Err(Error::new(
                Op::Instances,
                format!("instance {which} of {}", self.endpoint()),
                Stage::Find,
                cause,
            ))
        };
        match (found.pop(), found.is_empty()) {
            (Some(info), true) => Ok(info),
            (None, _) => failed(which.unknown()),
            (Some(last), false) => {
                let uuids = found.into_iter().map(|info| info.vm_uuid).chain([last.vm_uuid]).collect();
                failed(Cause::AmbiguousInstance { name: which.to_string(), uuids })
            }
        }
    }
}

fn info(uuid: Uuid, vm: &VmRecord, node: Option<String>) -> InstanceInfo {
    InstanceInfo {
        uuid,
        vm_uuid: vm.uuid.clone(),
        name: vm.name_label.clone(),
        power_state: vm.power_state.clone(),
        node,
        vcpus: u32::try_from(vm.vcpus_max).unwrap_or(0),
        memory_bytes: u64::try_from(vm.memory_dynamic_max).unwrap_or(0),
        soft_deleted: soft_delete::is(vm),
        unfinished: vm.other_config.contains_key(ownership::UNFINISHED),
        destroying: destroy::broken(vm).is_some(),
        rescued: rescue::is(vm),
        resize: resize::state(vm),
        moving: pool_move::state(vm),
    }
}
