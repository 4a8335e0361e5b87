//! What a resize writes down before it begins, so that anybody can finish or undo it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xenapi_client::{Client, Result};
use xenapi_storage::device::UserDevice;
use xenapi_storage::ownership;
use xenapi_types::{Host, Ref, VbdMode, VbdRecord, VbdType, Vm, VmRecord, vm};

use super::dom0_copy::Sent;
pub(crate) use crate::journal::Phase;
use crate::journal::{Keys, Note, RESIZE};
use crate::volume::{Drive, VOLUME_KEY};

pub(crate) const KEYS: Keys = Keys {
    text: RESIZE,
    done: "xenapi-rs:resize-done",
    confirming: "xenapi-rs:resize-confirming",
    reverting: None,
};
const FLAGS: [&str; 3] = KEYS.flags();

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    pub(crate) operation: Uuid,
    pub(crate) was_running: bool,
    pub(crate) before: Shape,
    pub(crate) disks: Vec<Replaced>,
    /// Where disks are added that there were not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) added: Vec<String>,
}

/// A disk that is replaced by a larger one, or one elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replaced {
    pub(crate) userdevice: String,
    pub(crate) vdi: String,
    pub(crate) bootable: bool,
    pub(crate) writable: bool,
    /// It is a disc, or the drive for one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) disc: bool,
    /// What is sent to another host from dom0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent: Option<Sent>,
    /// The keys of the drive.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) keys: BTreeMap<String, String>,
    /// How much of the storage's time it gets: `qos_algorithm_type` and `qos_algorithm_params`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) qos: Option<(String, BTreeMap<String, String>)>,
    /// The guest is not asked to let go of it while it runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stays: bool,
}

impl Replaced {
    pub(crate) fn of(drive: &Drive) -> Self {
        Self::at(&drive.record, drive.disk.uuid.clone())
    }

    /// Where nothing was, for a new disk.
    pub(crate) fn blank(place: UserDevice) -> Self {
        let (userdevice, vdi) = (place.to_string(), String::new());
        let keys = BTreeMap::new();
        Self {
            userdevice,
            vdi,
            bootable: false,
            writable: true,
            disc: false,
            sent: None,
            keys,
            qos: None,
            stays: false,
        }
    }

    /// A drive with this disk, or without one.
    pub(crate) fn at(vbd: &VbdRecord, vdi: String) -> Self {
        // The drive that is made anew has another uuid.
        let mut keys = vbd.other_config.clone();
        keys.remove(ownership::SELF);
        let qos = (vbd.qos_algorithm_type.clone(), vbd.qos_algorithm_params.clone());
        Self {
            userdevice: vbd.userdevice.clone(),
            vdi,
            bootable: vbd.bootable,
            writable: vbd.mode == VbdMode::Rw,
            disc: vbd.r#type == VbdType::Cd,
            sent: None,
            keys,
            qos: Some(qos).filter(|(algorithm, _)| !algorithm.is_empty()),
            stays: !vbd.unpluggable,
        }
    }

    /// The same place with another disk, which was made for the instance.
    pub(crate) fn with_own(&self) -> Self {
        let mut place = self.clone();
        for key in [VOLUME_KEY, ownership::OWNER, ownership::INSTANCE, ownership::OPERATION] {
            place.keys.remove(key);
        }
        place
    }
}

/// The size of a VM and where it prefers to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) vcpus_max: i64,
    pub(crate) vcpus_at_startup: i64,
    pub(crate) vcpus_params: BTreeMap<String, String>,
    /// `static_min`, `static_max`, `dynamic_min`, `dynamic_max` in bytes.
    pub(crate) memory: [i64; 4],
    pub(crate) affinity: Ref<Host>,
}

impl Journal {
    /// What ending the resize would do, in words.
    pub(crate) fn steps(&self, vm: &VmRecord, keep: bool) -> Vec<String> {
        let uuid = &vm.uuid;
        let disks = self.disks.iter();
        if keep {
            return disks.map(|old| format!("remove disk {}, which VM {uuid} had before", old.vdi)).collect();
        }
        let state = if self.was_running { "running" } else { "halted" };
        let Shape { vcpus_max, memory, .. } = &self.before;
        let shape = format!("give VM {uuid} {vcpus_max} processors and {} MiB again", memory[1] >> 20);
        let back = |old: &Replaced| format!("put disk {} back at device {}", old.vdi, old.userdevice);
        let gone = self.added.iter().map(|place| format!("remove the disk at device {place}"));
        disks.map(back).chain(gone).chain([shape, format!("leave it {state}, as it was before")]).collect()
    }

    /// The key that disks have while they are copied; copies inherit it, so that none is lost.
    pub(crate) fn marker(&self) -> String {
        format!("{}:{}", KEYS.text, self.operation)
    }

    /// The journal of a VM, if it is in the middle of a resize.
    pub(crate) fn read(vm: &VmRecord) -> Option<(Self, Phase)> {
        KEYS.read(vm)
    }

    /// The same, if it is of this operation.
    pub(crate) fn of(vm: &VmRecord, operation: Uuid) -> Option<(Self, Phase)> {
        Self::read(vm).filter(|(journal, _)| journal.operation == operation)
    }

    /// What is to be written down.
    pub(crate) fn note(&self, what: String) -> Note {
        let text = serde_json::to_string(self).unwrap_or_default();
        Note { what, key: KEYS.text, text, flags: &FLAGS }
    }

    pub(crate) async fn end(&self, client: &Client, vm: &Ref<Vm>) -> Result<()> {
        KEYS.end(client, vm, self.operation).await
    }
}

impl Shape {
    pub(crate) fn of(vm: &VmRecord) -> Self {
        Self {
            vcpus_max: vm.vcpus_max,
            vcpus_at_startup: vm.vcpus_at_startup,
            vcpus_params: vm.vcpus_params.clone(),
            memory: [
                vm.memory_static_min,
                vm.memory_static_max,
                vm.memory_dynamic_min,
                vm.memory_dynamic_max,
            ],
            affinity: vm.affinity.clone(),
        }
    }

    /// Gives a halted VM this shape.
    pub(crate) async fn apply(&self, client: &Client, vm: &Ref<Vm>) -> Result<()> {
        let Some(record) = client.record_opt(vm).await? else { return Ok(()) };
        let now = Self::of(&record);
        if now.memory != self.memory {
            let [static_min, static_max, dynamic_min, dynamic_max] = self.memory;
            let call =
                vm::SetMemoryLimits { vm: vm.clone(), static_min, static_max, dynamic_min, dynamic_max };
            client.call(call).await?;
        }
        // At no moment may a VM start with more processors than it can have.
        let max = || client.call(vm::SetVcpusMax { vm: vm.clone(), value: self.vcpus_max });
        if self.vcpus_max > now.vcpus_max {
            max().await?;
        }
        if self.vcpus_at_startup != now.vcpus_at_startup {
            client.call(vm::SetVcpusAtStartup { vm: vm.clone(), value: self.vcpus_at_startup }).await?;
        }
        if self.vcpus_max < now.vcpus_max {
            max().await?;
        }
        if self.vcpus_params != now.vcpus_params {
            client.set_field(vm, vm::field::VCPUS_PARAMS, self.vcpus_params.clone()).await?;
        }
        if self.affinity != now.affinity {
            client.set_field(vm, vm::field::AFFINITY, self.affinity.clone()).await?;
        }
        Ok(())
    }
}
