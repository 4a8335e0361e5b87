//! What a move to another pool writes down, here and there.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xenapi_client::Result;
use xenapi_types::{Ref, Vm, VmRecord};

use crate::driver::Driver;
use crate::journal::{Keys, MOVE, Note, Phase};

pub(super) const KEYS: Keys = Keys {
    text: MOVE,
    done: "xenapi-rs:move-done",
    confirming: "xenapi-rs:move-confirming",
    reverting: Some(REVERTING),
};
const FLAGS: [&str; 3] = KEYS.flags();

/// The VM there does not run any more, and never will.
pub(super) const REVERTING: &str = "xenapi-rs:move-reverting";

/// On the VM there, until the move is confirmed: the operation that moved it.
pub(super) const MOVED_FROM: &str = "xenapi-rs:moved-from";

/// On the VM here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) operation: Uuid,
    pub(super) was_running: bool,
    /// Uuid of the other pool.
    pub(super) pool: String,
}

impl Journal {
    pub(super) fn read(vm: &VmRecord) -> Option<(Self, Phase)> {
        KEYS.read(vm)
    }

    /// The same, if it is of this operation.
    pub(super) fn of(vm: &VmRecord, operation: Uuid) -> Option<(Self, Phase)> {
        Self::read(vm).filter(|(journal, _)| journal.operation == operation)
    }

    /// What is to be written down.
    pub(super) fn note(&self, what: String) -> Note {
        let text = serde_json::to_string(self).unwrap_or_default();
        Note { what, key: KEYS.text, text, flags: &FLAGS }
    }

    /// The VM that an operation made in the other pool, if it is still there.
    pub(super) async fn target_of(pool: &Driver, operation: Uuid) -> Result<Option<(Ref<Vm>, VmRecord)>> {
        let operation = operation.to_string();
        let is_target = |vm: &VmRecord| {
            !vm.is_a_snapshot && !vm.is_a_template && vm.other_config.get(MOVED_FROM) == Some(&operation)
        };
        let all = pool.client().all_records::<Vm>().await?;
        Ok(all.into_iter().find(|(_, vm)| is_target(vm)))
    }
}
