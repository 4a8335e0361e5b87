//! Keeping a VM from being started by anybody, without touching what others have blocked.

use xenapi_client::{Client, Result};
use xenapi_types::{Ref, Vm, VmOperations, VmRecord, vm};

/// XAPI's names for what a start can be.
const STARTS: [VmOperations; 2] = [VmOperations::Start, VmOperations::StartOn];

/// Sets the lock or takes it off. `reason` is what XAPI shows with `OPERATION_BLOCKED`, and by it a lock is known for
/// this one: those that others have set stay.
pub(crate) async fn set(
    client: &Client,
    vm: &Ref<Vm>,
    record: &VmRecord,
    reason: &str,
    locked: bool,
) -> Result<()> {
    let field = vm::field::BLOCKED_OPERATIONS;
    for operation in STARTS {
        match (record.blocked_operations.get(&operation).map(String::as_str), locked) {
            (None, true) => client.add_to(vm, field, operation, reason).await?,
            (Some(held), false) if held == reason => client.remove_from(vm, field, operation).await?,
            _ => {}
        }
    }
    Ok(())
}

/// Whether a VM has the lock with this reason.
pub(crate) fn is(vm: &VmRecord, reason: &str) -> bool {
    STARTS.iter().any(|start| vm.blocked_operations.get(start).is_some_and(|held| held == reason))
}
