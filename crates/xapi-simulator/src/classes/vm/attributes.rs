//! Setters of what a VM is and how it is to be started.

use xenapi_wire::{Failure, Value};

use super::operations::{Power, check};
use super::power::{GENERIC_BIOS, strings};
use super::setters::set_is_a_template;
use crate::db::Tx;
use crate::dispatch::{Args, Router, storable, void};

pub(super) fn register(router: &mut Router) {
    setter(router, "VM.set_is_default_template", set_is_default_template);
    setter(router, "VM.set_bios_strings", set_bios_strings);
    setter(router, "VM.set_domain_type", set_domain_type);
    setter(router, "VM.set_HVM_boot_policy", set_boot_policy);
    setter(router, "VM.set_ha_restart_priority", |tx, args| {
        if !matches!(args.str(1), "" | "restart" | "best-effort") {
            return Err(Failure::new("INVALID_VALUE", ["ha_restart_priority", args.str(1)]));
        }
        tx.set("VM", args.str(0), "ha_restart_priority", args.str(1))
    });
    for field in ["order", "start_delay", "shutdown_delay"] {
        setter(router, &format!("VM.set_{field}"), move |tx, args| {
            if args.int(1) < 0 {
                return Err(Failure::new("INVALID_VALUE", [field.to_owned(), args.int(1).to_string()]));
            }
            tx.set("VM", args.str(0), field, Value::Int(args.int(1)))
        });
    }
    for (method, op) in [
        ("VM.set_HVM_shadow_multiplier", "changing_shadow_memory"),
        ("VM.set_shadow_multiplier_live", "changing_shadow_memory_live"),
    ] {
        setter(router, method, move |tx, args| {
            check(tx.object("VM", args.str(0))?, op, None)?;
            if args.float(1) < 1.0 {
                return Err(Failure::new(
                    "INVALID_VALUE",
                    ["Multiplier".to_owned(), args.float(1).to_string()],
                ));
            }
            tx.set("VM", args.str(0), "HVM_shadow_multiplier", args.float(1))
        });
    }
    setter(router, "VM.set_suspend_VDI", set_suspend_vdi);
}

/// Registers a call whose first argument is the VM and whose work is one change of the database.
fn setter(
    router: &mut Router,
    method: &str,
    set: impl Fn(&mut Tx<'_>, &Args) -> Result<(), Failure> + Send + Sync + 'static,
) {
    router.raw(method, move |ctx, args| {
        ctx.write(|tx| {
            tx.object("VM", args.str(0))?;
            set(tx, args)?;
            Ok::<_, Failure>(void())
        })
    });
}

/// A default template is a template; one that is none any more stays a template.
fn set_is_default_template(tx: &mut Tx<'_>, args: &Args) -> Result<(), Failure> {
    let (vm, value) = (args.str(0), args.bool(1));
    if value && !tx.object("VM", vm)?.bool("is_a_template") {
        set_is_a_template(tx, vm, true)?;
    }
    // Old clients look at the key.
    tx.set_entry("VM", vm, "other_config", "default_template", value.to_string())?;
    tx.set("VM", vm, "is_default_template", value)
}

/// The firmware's texts that a client may choose.
const SETTABLE_BIOS: &[&str] = &[
    "bios-vendor",
    "bios-version",
    "system-manufacturer",
    "system-product-name",
    "system-version",
    "system-serial-number",
    "enclosure-asset-tag",
    "baseboard-manufacturer",
    "baseboard-product-name",
    "baseboard-version",
    "baseboard-serial-number",
    "baseboard-asset-tag",
    "baseboard-location-in-chassis",
];

/// Characters in one of the firmware's texts.
const BIOS_TEXT_LIMIT: usize = 512;

/// Once and for all: the texts that are not given are those of any VM.
///
/// # Errors
/// `VM_BIOS_STRINGS_ALREADY_SET`; `INVALID_VALUE` with the key and what is wrong with it.
fn set_bios_strings(tx: &mut Tx<'_>, args: &Args) -> Result<(), Failure> {
    if !tx.object("VM", args.str(0))?.map("bios_strings").is_empty() {
        return Err(Failure::new("VM_BIOS_STRINGS_ALREADY_SET", [""; 0]));
    }
    let Value::Struct(mut texts) = strings(GENERIC_BIOS) else { return Ok(()) };
    for (key, value) in args.map(1) {
        let text = match value {
            Value::String(text) => text.as_str(),
            _ => "",
        };
        let problem = if !SETTABLE_BIOS.contains(&key.as_str()) {
            "Unknown key".to_owned()
        } else if text.is_empty() {
            "Value provided is empty".to_owned()
        } else if text.len() > BIOS_TEXT_LIMIT {
            format!("{text} has length more than {BIOS_TEXT_LIMIT} characters")
        } else if !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            format!("{text} has non-printable ASCII characters")
        } else {
            texts.insert(key.clone(), value.clone());
            continue;
        };
        return Err(Failure::new("INVALID_VALUE", [key.clone(), problem]));
    }
    tx.set("VM", args.str(0), "bios_strings", Value::Struct(texts))
}

/// The type of the domain and the boot policy say the same in two ways: setting one sets the other.
fn set_domain_type(tx: &mut Tx<'_>, args: &Args) -> Result<(), Failure> {
    let kind = args.str(1);
    if kind == "unspecified" {
        return Err(Failure::new("INVALID_VALUE", ["domain_type", kind]));
    }
    tx.set("VM", args.str(0), "domain_type", kind)?;
    let policy = if kind == "hvm" { "BIOS order" } else { "" };
    tx.set("VM", args.str(0), "HVM_boot_policy", policy)
}

fn set_boot_policy(tx: &mut Tx<'_>, args: &Args) -> Result<(), Failure> {
    storable(args.get(1))?;
    let kind = if args.str(1).is_empty() { "pv" } else { "hvm" };
    tx.set("VM", args.str(0), "domain_type", kind)?;
    tx.set("VM", args.str(0), "HVM_boot_policy", args.str(1))
}

/// Puts another disk with the same memory in place of the one a VM was suspended to.
///
/// XAPI compares every byte; a simulated guest leaves none, so that only the length is compared here.
///
/// # Errors
/// `VM_BAD_POWER_STATE`, `SUSPEND_VDI_REPLACEMENT_IS_NOT_IDENTICAL`.
fn set_suspend_vdi(tx: &mut Tx<'_>, args: &Args) -> Result<(), Failure> {
    let (vm, vdi) = (tx.object("VM", args.str(0))?, args.str(1));
    if Power::of(vm) != Power::Suspended {
        let state = Power::of(vm).lower();
        return Err(Failure::new("VM_BAD_POWER_STATE", [args.str(0), "suspended", state]));
    }
    let before = vm.str("suspend_VDI");
    let length = |vdi: &str| tx.object("VDI", vdi).map(|vdi| vdi.int("virtual_size"));
    if length(vdi)? != length(before)? {
        return Err(Failure::new("SUSPEND_VDI_REPLACEMENT_IS_NOT_IDENTICAL", [before, vdi]));
    }
    tx.set("VM", args.str(0), "suspend_VDI", vdi)
}
