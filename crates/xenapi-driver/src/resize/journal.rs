//! What a resize writes down before it begins, so that anybody can finish or undo it.
//!
//! All of it is in the VM's `other_config`. The journal itself is written once and never changed; how far the
//! resize is, is told by keys that are added beside it: adding a key is atomic, changing one is not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xenapi_client::{Client, Result};
use xenapi_types::{Host, Ref, VbdMode, Vm, VmRecord, vm};

use crate::remove::tolerate;
use crate::volume::Drive;

/// The journal.
const KEY: &str = "xenapi-rs:resize";
/// The instance is complete in its new size, and waits for somebody's decision.
const DONE: &str = "xenapi-rs:resize-done";
/// The old size is being removed.
const CONFIRMING: &str = "xenapi-rs:resize-confirming";
/// The new size is being removed.
const REVERTING: &str = "xenapi-rs:resize-reverting";

/// How far a resize is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It was begun, or is being undone: there is only the way back.
    Unfinished,
    Done,
    /// There is only the way forward.
    Confirming,
}

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
}

impl Replaced {
    pub(crate) fn of(drive: &Drive) -> Self {
        Self {
            userdevice: drive.record.userdevice.clone(),
            vdi: drive.disk.uuid.clone(),
            bootable: drive.record.bootable,
            writable: drive.record.mode == VbdMode::Rw,
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
        format!("{KEY}:{}", self.operation)
    }

    /// The journal of a VM, if it is in the middle of a resize.
    pub(crate) fn read(vm: &VmRecord) -> Option<(Self, Phase)> {
        let has = |key: &str| vm.other_config.contains_key(key);
        let journal = serde_json::from_str(vm.other_config.get(KEY)?).ok()?;
        let phase = match () {
            () if has(REVERTING) => Phase::Unfinished,
            () if has(CONFIRMING) => Phase::Confirming,
            () if has(DONE) => Phase::Done,
            () => Phase::Unfinished,
        };
        Some((journal, phase))
    }

    /// Begins. What an earlier resize may have left beside its journal is removed first.
    pub(crate) async fn begin(&self, client: &Client, vm: &Ref<Vm>) -> Result<()> {
        for flag in [DONE, CONFIRMING, REVERTING] {
            client.remove_from(vm, vm::field::OTHER_CONFIG, flag).await?;
        }
        let text = serde_json::to_string(self).unwrap_or_default();
        client.add_to(vm, vm::field::OTHER_CONFIG, KEY, text).await
    }

    pub(crate) async fn set_done(&self, client: &Client, vm: &Ref<Vm>) -> Result<()> {
        flag(client, vm, DONE).await
    }

    pub(crate) async fn set_confirming(&self, client: &Client, vm: &Ref<Vm>) -> Result<()> {
        flag(client, vm, CONFIRMING).await
    }

    pub(crate) async fn set_reverting(&self, client: &Client, vm: &Ref<Vm>) -> Result<()> {
        flag(client, vm, REVERTING).await
    }

    /// Ends. The journal goes first: without it the other keys mean nothing.
    pub(crate) async fn end(&self, client: &Client, vm: &Ref<Vm>) -> Result<()> {
        for key in [KEY, DONE, CONFIRMING, REVERTING] {
            client.remove_from(vm, vm::field::OTHER_CONFIG, key).await?;
        }
        Ok(())
    }
}

async fn flag(client: &Client, vm: &Ref<Vm>, key: &str) -> Result<()> {
    tolerate(client.add_to(vm, vm::field::OTHER_CONFIG, key, "true").await, &["MAP_DUPLICATE_KEY"])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_follows_from_the_keys() {
        let journal = Journal {
            operation: Uuid::from_u128(7),
            was_running: true,
            before: Shape::of(&VmRecord::default()),
            disks: vec![],
        };
        let text = serde_json::to_string(&journal).unwrap();
        for (keys, phase) in [
            (&[][..], None),
            (&[DONE], None),
            (&[KEY], Some(Phase::Unfinished)),
            (&[KEY, DONE], Some(Phase::Done)),
            (&[KEY, DONE, CONFIRMING], Some(Phase::Confirming)),
            (&[KEY, DONE, REVERTING], Some(Phase::Unfinished)),
            (&[KEY, REVERTING], Some(Phase::Unfinished)),
        ] {
            let mut vm = VmRecord::default();
            vm.other_config = keys.iter().map(|key| ((*key).to_owned(), text.clone())).collect();
            assert_eq!(Journal::read(&vm), phase.map(|phase| (journal.clone(), phase)), "{keys:?}");
        }
    }
}
