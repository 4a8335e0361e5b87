//! What a resize writes down before it begins, so that anybody can finish or undo it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xenapi_client::{Client, Result};
use xenapi_types::{Host, Ref, VbdMode, Vm, VmRecord, vm};

use super::dom0_copy::Sent;
use crate::journal::Keys;
pub(crate) use crate::journal::Phase;
use crate::volume::Drive;

const KEYS: Keys = Keys {
    text: "xenapi-rs:resize",
    done: "xenapi-rs:resize-done",
    confirming: "xenapi-rs:resize-confirming",
    reverting: "xenapi-rs:resize-reverting",
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    pub(crate) operation: Uuid,
    pub(crate) was_running: bool,
    pub(crate) before: Shape,
    pub(crate) disks: Vec<Replaced>,
}

/// A disk that is replaced by a larger one, or one elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replaced {
    pub(crate) userdevice: String,
    pub(crate) vdi: String,
    pub(crate) bootable: bool,
    pub(crate) writable: bool,
    /// What is sent to another host from dom0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent: Option<Sent>,
}

impl Replaced {
    pub(crate) fn of(drive: &Drive) -> Self {
        Self {
            userdevice: drive.record.userdevice.clone(),
            vdi: drive.disk.uuid.clone(),
            bootable: drive.record.bootable,
            writable: drive.record.mode == VbdMode::Rw,
            sent: None,
        }
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
        disks.map(back).chain([shape, format!("leave it {state}, as it was before")]).collect()
    }

    /// The key that disks have while they are copied; copies inherit it, so that none is lost.
    pub(crate) fn marker(&self) -> String {
        format!("{}:{}", KEYS.text, self.operation)
    }

    /// The journal of a VM, if it is in the middle of a resize.
    pub(crate) fn read(vm: &VmRecord) -> Option<(Self, Phase)> {
        KEYS.read(vm)
    }

    pub(crate) async fn begin(&self, client: &Client, vm: &Ref<Vm>) -> Result<()> {
        KEYS.begin(client, vm, serde_json::to_string(self).unwrap_or_default()).await
    }

    pub(crate) async fn set_done(&self, client: &Client, vm: &Ref<Vm>) -> Result<()> {
        KEYS.flag(client, vm, KEYS.done).await
    }

    pub(crate) async fn set_confirming(&self, client: &Client, vm: &Ref<Vm>) -> Result<()> {
        KEYS.flag(client, vm, KEYS.confirming).await
    }

    pub(crate) async fn set_reverting(&self, client: &Client, vm: &Ref<Vm>) -> Result<()> {
        KEYS.flag(client, vm, KEYS.reverting).await
    }

    pub(crate) async fn end(&self, client: &Client, vm: &Ref<Vm>) -> Result<()> {
        KEYS.end(client, vm).await
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
