//! Which operations a VDI allows, and what forbids the others.

use xenapi_wire::Failure;

use crate::db::{Object, Tx, View};
use crate::sr_types::SrType;

/// The operations that `VDI.allowed_operations` speaks of; others may be possible all the same.
const LISTED: [&str; 9] = [
    "clone",
    "copy",
    "resize",
    "resize_online",
    "snapshot",
    "destroy",
    "forget",
    "update",
    "generate_config",
];

/// Operations that do not mind the disk being in use.
const LIVE: [&str; 9] = [
    "snapshot",
    "clone",
    "resize_online",
    "blocked",
    "revert",
    "mirror",
    "enable_cbt",
    "disable_cbt",
    "data_destroy",
];

/// The driver's feature that an operation needs.
fn feature(operation: &str) -> Option<&'static str> {
    Some(match operation {
        "snapshot" => "VDI_SNAPSHOT",
        "destroy" => "VDI_DELETE",
        "resize" => "VDI_RESIZE",
        "update" => "VDI_UPDATE",
        "resize_online" => "VDI_RESIZE_ONLINE",
        "generate_config" => "VDI_GENERATE_CONFIG",
        "clone" | "revert" => "VDI_CLONE",
        "mirror" => "VDI_MIRROR",
        "enable_cbt" | "disable_cbt" | "data_destroy" | "list_changed_blocks" => "VDI_CONFIG_CBT",
        "set_on_boot" => "VDI_RESET_ON_BOOT",
        _ => return None,
    })
}

/// Whether an operation may begin, with XAPI's checks in XAPI's order.
///
/// # Errors
/// What is in the way.
pub(crate) fn check(view: &View, vdi: Object<'_>, operation: &str) -> Result<(), Failure> {
    let reference = vdi.reference();
    let current = vdi.map("current_operations").iter().map(|(task, other)| (task, View::text_of(other)));
    for (task, other) in current {
        let harmless = other == "copy" || (other == "mirror" && operation == "destroy");
        if !harmless {
            let params = ["VDI", reference, &other, task];
            return Err(Failure::new("OTHER_OPERATION_IN_PROGRESS", params));
        }
        if operation == "snapshot" {
            let text = "Snapshot operation not allowed during copy.";
            return Err(Failure::new("OPERATION_NOT_ALLOWED", [text]));
        }
    }
    let sr = vdi.str("SR");
    if operation == "resize" {
        super::require_plugged(view, sr)?;
    }
    check_users(view, vdi, operation)?;
    let sr_object = view.object("SR", sr)?;
    let kind = SrType::find(sr_object.str("type"));
    let unsupported = || Failure::new("SR_OPERATION_NOT_SUPPORTED", [sr]);
    if let Some(feature) = feature(operation)
        && !kind.is_some_and(|kind| kind.has(feature))
    {
        return Err(if operation == "destroy" && sr_object.str("type") == "udev" {
            Failure::new("VDI_IS_A_PHYSICAL_DEVICE", [reference])
        } else {
            unsupported()
        });
    }
    match operation {
        "destroy" if sr_object.bool("is_tools_sr") => Err(unsupported()),
        "destroy" if vdi.str("type") == "rrd" => Err(Failure::new("VDI_HAS_RRDS", [reference])),
        "snapshot" if vdi.bool("sharable") => Err(Failure::new("VDI_IS_SHARABLE", [reference])),
        "snapshot" | "copy" if vdi.str("on_boot") == "reset" => {
            Err(Failure::new("VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION", [] as [&str; 0]))
        }
        "revert" if !vdi.bool("is_a_snapshot") => {
            Err(Failure::new("REVERT_ONLY_ALLOWED_ON_SNAPSHOT", [] as [&str; 0]))
        }
        "enable_cbt" | "disable_cbt" if vdi.bool("is_a_snapshot") => {
            let text = format!("VDI is a snapshot: {reference}");
            Err(Failure::new("OPERATION_NOT_ALLOWED", [text]))
        }
        _ => Ok(()),
    }
}

fn check_users(view: &View, vdi: Object<'_>, operation: &str) -> Result<(), Failure> {
    if LIVE.contains(&operation) {
        return Ok(());
    }
    for vbd in view.follow(vdi, "VBDs", "VBD") {
        let reads_only = operation == "copy" && vbd.str("mode") == "RO";
        if vbd.bool("currently_attached") && !reads_only {
            return Err(Failure::new("VDI_IN_USE", [vdi.reference(), operation]));
        }
        if let Some((task, other)) = vbd.map("current_operations").iter().next() {
            let other = View::text_of(other);
            let params = ["VBD", vbd.reference(), &other, task];
            return Err(Failure::new("OTHER_OPERATION_IN_PROGRESS", params));
        }
    }
    Ok(())
}

/// Computes `allowed_operations`.
pub(crate) fn derive(tx: &mut Tx<'_>, reference: &str) {
    let Some(vdi) = tx.find("VDI", reference) else { return };
    let allowed: Vec<&str> =
        LISTED.into_iter().filter(|operation| check(tx, vdi, operation).is_ok()).collect();
    // The object was found above, so this cannot fail.
    let _ = tx.set("VDI", reference, "allowed_operations", allowed);
}
