//! Which operations a VM allows, and the failure when it does not.
//!
//! The order of the checks is XAPI's: blocked operations, power state, concurrency, templates, snapshots, then
//! what the guest can do.

use xenapi_wire::Failure;

use crate::db::Object;

use Power::{Halted, Paused, Running, Suspended};

/// `VM.power_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Power {
    Halted,
    Paused,
    Suspended,
    Running,
}

impl Power {
    pub(super) fn of(vm: Object<'_>) -> Self {
        match vm.str("power_state") {
            "Running" => Running,
            "Paused" => Paused,
            "Suspended" => Suspended,
            _ => Halted,
        }
    }

    /// As the field spells it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Halted => "Halted",
            Paused => "Paused",
            Suspended => "Suspended",
            Running => "Running",
        }
    }

    /// Failures spell the states in lower case, the field does not.
    pub(super) fn lower(self) -> &'static str {
        match self {
            Halted => "halted",
            Paused => "paused",
            Suspended => "suspended",
            Running => "running",
        }
    }
}

/// An operation, the states it is allowed in in the order in which failures name them, and whether
/// `allowed_operations` lists it.
struct Rule {
    op: &'static str,
    states: &'static [Power],
    listed: bool,
}

const fn rule(op: &'static str, states: &'static [Power], listed: bool) -> Rule {
    Rule { op, states, listed }
}

const ALL: &[Power] = &[Halted, Paused, Suspended, Running];
const LIVE: &[Power] = &[Paused, Suspended, Running];

/// In the order in which XAPI lists them.
const RULES: &[Rule] = &[
    rule("create_vtpm", &[Halted], true),
    rule("destroy", &[Halted, Suspended], true),
    rule("sysprep", &[Running], true),
    rule("metadata_export", ALL, true),
    rule("export", &[Halted, Suspended], true),
    rule("provision", &[Halted], true),
    rule("make_into_template", &[Halted], true),
    rule("changing_NVRAM", &[Halted], true),
    rule("changing_shadow_memory", &[Halted], true),
    rule("changing_VCPUs_live", &[Running], true),
    rule("changing_static_range", &[Halted], true),
    rule("changing_dynamic_range", &[Halted, Running], true),
    rule("migrate_send", &[Halted, Suspended, Running], true),
    rule("pool_migrate", &[Running], true),
    rule("resume_on", &[Suspended], true),
    rule("resume", &[Suspended], true),
    rule("suspend", &[Running], true),
    rule("hard_reboot", &[Paused, Running], true),
    rule("hard_shutdown", LIVE, true),
    rule("clean_reboot", &[Running], true),
    rule("clean_shutdown", &[Running], true),
    rule("unpause", &[Paused], true),
    rule("pause", &[Running], true),
    rule("start_on", &[Halted], true),
    rule("start", &[Halted], true),
    rule("revert", ALL, true),
    rule("checkpoint", LIVE, true),
    rule("copy", &[Halted], true),
    rule("clone", &[Halted], true),
    rule("snapshot", ALL, true),
    rule("shutdown", LIVE, false),
    rule("create_template", &[Halted, Suspended], false),
    rule("csvm", &[Suspended], false),
    rule("get_boot_record", LIVE, false),
    rule("send_sysrq", &[Running], false),
    rule("send_trigger", &[Running], false),
    rule("call_plugin", &[Running], false),
    rule("data_source_op", &[Running], false),
    rule("changing_memory_live", &[Running], false),
    rule("awaiting_memory_live", &[Running], false),
    rule("changing_memory_limits", &[Halted], false),
    rule("changing_shadow_memory_live", &[Running], false),
    rule("changing_VCPUs", &[Halted], false),
    rule("query_services", ALL, false),
    rule("reverting", ALL, false),
    rule("power_state_reset", ALL, false),
    rule("assert_operation_valid", ALL, false),
    rule("update_allowed_operations", ALL, false),
];

const TEMPLATE: &[&str] = &[
    "changing_dynamic_range",
    "changing_static_range",
    "changing_memory_limits",
    "changing_shadow_memory",
    "changing_VCPUs",
    "changing_NVRAM",
    "clone",
    "copy",
    "export",
    "metadata_export",
    "provision",
];
const SNAPSHOT: &[&str] =
    &["revert", "clone", "copy", "export", "destroy", "hard_shutdown", "metadata_export"];
const DOM0: &[&str] = &[
    "data_source_op",
    "metadata_export",
    "changing_dynamic_range",
    "changing_static_range",
    "changing_memory_limits",
];

fn is_default_template(vm: Object<'_>) -> bool {
    vm.bool("is_default_template") || vm.entry("other_config", "default_template") == Some("true")
}

/// Whether a VM is a template; a snapshot calls itself one, but is not.
pub(super) fn is_template(vm: Object<'_>) -> bool {
    vm.bool("is_a_template") && !vm.bool("is_a_snapshot")
}

/// Checks one operation.
///
/// `own` is the task the check is made for: an operation it has announced itself is not in its way.
///
/// # Errors
/// The failure XAPI answers for the first check that does not hold.
pub(in crate::classes) fn check(vm: Object<'_>, op: &str, own: Option<&str>) -> Result<(), Failure> {
    let reference = vm.reference();
    if let Some(reason) = vm.entry("blocked_operations", op) {
        return Err(Failure::new("OPERATION_BLOCKED", [reference, reason]));
    }
    if op == "revert" && !vm.bool("is_a_snapshot") {
        return Err(Failure::new("VM_REVERT_FAILED", [reference, crate::db::NULL]));
    }
    let power = Power::of(vm);
    // A control domain always runs; its memory and CPUs can be changed nevertheless.
    let dom0 = vm.bool("is_control_domain");
    // A checkpoint is suspended for ever, and yet copies of it can be made.
    let checkpoint = vm.bool("is_a_snapshot") && power == Suspended && matches!(op, "clone" | "copy");
    if let Some(rule) = RULES.iter().find(|rule| rule.op == op)
        && !rule.states.contains(&power)
        && !(dom0 && DOM0.contains(&op))
        && !checkpoint
    {
        let expected: Vec<&str> = rule.states.iter().map(|state| state.lower()).collect();
        return Err(Failure::new("VM_BAD_POWER_STATE", [reference, &expected.join(", "), power.lower()]));
    }
    concurrent(vm, op, own)?;
    let template = is_template(vm);
    if template {
        let allowed =
            TEMPLATE.contains(&op) || (matches!(op, "destroy" | "migrate_send") && !is_default_template(vm));
        if !allowed {
            return Err(Failure::new("VM_IS_TEMPLATE", [reference, op]));
        }
    }
    if vm.bool("is_a_snapshot") && !SNAPSHOT.contains(&op) {
        return Err(Failure::new("VM_IS_SNAPSHOT", [reference, op]));
    }
    if op == "provision" && !template {
        return Err(Failure::new("PROVISION_ONLY_ALLOWED_ON_TEMPLATE", [""; 0]));
    }
    if dom0 && !DOM0.contains(&op) {
        return Err(Failure::new("OPERATION_NOT_ALLOWED", ["This operation is not allowed on dom0"]));
    }
    Ok(())
}

/// Operations in progress may forbid a new one.
fn concurrent(vm: Object<'_>, op: &str, own: Option<&str>) -> Result<(), Failure> {
    let mut running = vm.map("current_operations").iter().filter(|(task, _)| Some(task.as_str()) != own);
    let together = |ops: &[&str]| {
        let mut all = vm.map("current_operations").values();
        ops.contains(&op)
            && all.all(|o| matches!(o, xenapi_wire::Value::String(o) if ops.contains(&o.as_str())))
    };
    let Some((task, current)) = running.next() else { return Ok(()) };
    let xenapi_wire::Value::String(current) = current else { return Ok(()) };
    let allowed = together(&["clone", "copy", "export"])
        || together(&["snapshot", "checkpoint"])
        || together(&["get_boot_record"])
        || (current == "migrate_send" && matches!(op, "metadata_export" | "clean_shutdown" | "clean_reboot"))
        || (op == "hard_shutdown" && current != "hard_shutdown")
        || (op == "hard_reboot" && !matches!(current.as_str(), "hard_shutdown" | "hard_reboot"));
    if allowed {
        return Ok(());
    }
    Err(Failure::new("OTHER_OPERATION_IN_PROGRESS", ["VM", vm.reference(), current, task]))
}

/// What `VM.allowed_operations` lists.
///
/// `features` are the guest's `feature-…` keys; without them an HVM guest is not asked to do what it cannot.
pub(super) fn allowed(vm: Object<'_>, features: &[String]) -> Vec<&'static str> {
    let has = |name: &str| features.iter().any(|feature| feature == name);
    let hvm = vm.str("domain_type") == "hvm" && matches!(Power::of(vm), Running | Paused);
    let guest_can = |op: &str| match op {
        _ if !hvm => true,
        "suspend" | "checkpoint" | "pool_migrate" | "migrate_send" => has("feature-suspend"),
        "clean_shutdown" => has("feature-shutdown") || has("feature-poweroff"),
        "clean_reboot" => has("feature-reboot") || has("feature-shutdown"),
        "changing_VCPUs_live" => has("feature-vcpu-hotplug"),
        _ => true,
    };
    // A paused guest cannot answer at all, and yet a checkpoint of it is listed.
    let guest_can = |op: &str| Power::of(vm) == Paused || guest_can(op);
    RULES
        .iter()
        .filter(|rule| rule.listed)
        .map(|rule| rule.op)
        .filter(|op| check(vm, op, None).is_ok() && guest_can(op))
        .collect()
}
