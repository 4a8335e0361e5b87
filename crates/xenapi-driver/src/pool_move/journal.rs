//! What a move to another pool writes down, here and there.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xenapi_client::{Client, Result};
use xenapi_types::{Ref, Vm, VmRecord};

use crate::driver::Driver;
use crate::journal::{Keys, Phase};

pub(super) const KEYS: Keys = Keys {
    text: "xenapi-rs:move",
    done: "xenapi-rs:move-done",
    confirming: "xenapi-rs:move-confirming",
    reverting: "xenapi-rs:move-reverting",
};

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

    pub(super) async fn begin(&self, client: &Client, vm: &Ref<Vm>) -> Result<()> {
        KEYS.begin(client, vm, serde_json::to_string(self).unwrap_or_default()).await
    }

    pub(super) async fn set_done(&self, client: &Client, vm: &Ref<Vm>) -> Result<()> {
        KEYS.flag(client, vm, KEYS.done).await
    }

    /// The VM that it made in the other pool, if it is still there.
    pub(super) async fn target(&self, pool: &Driver) -> Result<Option<(Ref<Vm>, VmRecord)>> {
        let operation = self.operation.to_string();
        let is_target = |vm: &VmRecord| {
            !vm.is_a_snapshot && !vm.is_a_template && vm.other_config.get(MOVED_FROM) == Some(&operation)
        };
        let all = pool.client().all_records::<Vm>().await?;
        Ok(all.into_iter().find(|(_, vm)| is_target(vm)))
    }
}
