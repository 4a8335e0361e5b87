//! What others have blocked on a VM, looked at before anything is done to it.

use xenapi_types::{VmOperations, VmPowerState, VmRecord};

use crate::error::Cause;
use crate::soft_delete;

/// Sees that a VM can be switched off and removed.
///
/// # Errors
///
/// [`Cause::WrongState`] with the operation that somebody has blocked (`blocked_operations`) and with their reason.
pub(crate) fn removal(vm: &VmRecord) -> Result<(), Cause> {
    let off = (vm.power_state != VmPowerState::Halted).then_some(VmOperations::HardShutdown);
    refuse(vm, off.into_iter().chain([VmOperations::Destroy]))
}

/// Sees that a VM can be brought down, if it runs, and up again.
///
/// # Errors
///
/// As [`removal`].
pub(crate) fn restart(vm: &VmRecord) -> Result<(), Cause> {
    let runs = vm.power_state == VmPowerState::Running;
    let down = [VmOperations::CleanShutdown, VmOperations::HardShutdown].into_iter().filter(|_| runs);
    refuse(vm, down.chain([VmOperations::Start, VmOperations::StartOn]))
}

fn refuse(vm: &VmRecord, mut wanted: impl Iterator<Item = VmOperations>) -> Result<(), Cause> {
    let blocked = wanted.find_map(|operation| {
        let reason = vm.blocked_operations.get(&operation)?;
        // A soft deletion keeps an instance off, and is known to those who would start it.
        (reason != soft_delete::REASON).then(|| format!("blocked from {} ({reason})", operation.as_str()))
    });
    let Some(state) = blocked else { return Ok(()) };
    let remedy = "ask who has blocked that (`xe vm-param-list`, `blocked-operations`), and try again when it is lifted";
    Err(Cause::WrongState { vm: vm.uuid.clone(), state, remedy })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_blocked_is_refused_where_it_is_needed() {
        use VmOperations::{CleanShutdown, Destroy, HardShutdown, Start, StartOn, Suspend};
        let vm = |power_state: &VmPowerState, operation| {
            let mut vm = VmRecord::default();
            vm.power_state = power_state.clone();
            vm.blocked_operations = BTreeMap::from([(operation, "the auditors look at it".to_owned())]);
            vm
        };
        let (on, off) = (VmPowerState::Running, VmPowerState::Halted);
        for (operation, state, removed, restarted) in [
            (Destroy, &on, false, true),
            (Destroy, &off, false, true),
            (HardShutdown, &on, false, false),
            (HardShutdown, &off, true, true),
            (CleanShutdown, &on, true, false),
            (CleanShutdown, &off, true, true),
            (Start, &on, true, false),
            (StartOn, &off, true, false),
            (Suspend, &on, true, true),
        ] {
            let vm = vm(state, operation.clone());
            assert_eq!(removal(&vm).is_ok(), removed, "{operation:?}, {state:?}");
            assert_eq!(restart(&vm).is_ok(), restarted, "{operation:?}, {state:?}");
        }
        let told = removal(&vm(&on, Destroy)).unwrap_err().to_string();
        assert!(told.contains("blocked from destroy (the auditors look at it)"), "{told}");
    }
}
