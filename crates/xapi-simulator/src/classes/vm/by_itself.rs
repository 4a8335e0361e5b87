//! What a guest does by itself, and what becomes of its VM: `actions_after_…`.

use std::sync::Arc;

use xenapi_wire::Failure;

use super::{halted, restarted};
use crate::core::Core;

/// What a guest has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    SwitchedOff,
    Restarted,
    Crashed,
}

/// What is to happen then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    GoesOn,
    Ends,
}

/// Whether a VM is where a machine belongs to it: running, or paused.
pub(crate) fn is_on(core: &Core, vm: &str) -> bool {
    core.db().read(|view| {
        view.find("VM", vm).is_some_and(|vm| matches!(vm.str("power_state"), "Running" | "Paused"))
    })
}

/// What the VM's record wants to happen after an act.
pub(crate) fn wanted(core: &Core, vm: &str, act: Act) -> Then {
    let field = match act {
        Act::SwitchedOff => "actions_after_shutdown",
        Act::Restarted => "actions_after_reboot",
        Act::Crashed => "actions_after_crash",
    };
    let action = core.db().read(|view| view.find("VM", vm).map(|vm| vm.str(field).to_owned()));
    match action.as_deref() {
        Some("restart" | "soft_reboot" | "rename_restart" | "coredump_and_restart") => Then::GoesOn,
        _ => Then::Ends,
    }
}

/// Writes it down, with what has happened then.
///
/// # Errors
/// `HANDLE_INVALID` when the VM is gone.
pub(crate) fn write(core: &Arc<Core>, vm: &str, act: Act, then: Then) -> Result<(), Failure> {
    let now = core.clock().date();
    let guests = &core.config().guests;
    core.db().write(|tx| match (then, act) {
        (Then::GoesOn, _) => restarted(tx, vm, "rebooted from inside", guests, &now),
        (Then::Ends, Act::Crashed) => halted(tx, vm, "VM_CRASHED", "crashed", guests, &now),
        (Then::Ends, _) => halted(tx, vm, "VM_SHUTDOWN", "shutdown from inside", guests, &now),
    })
}
