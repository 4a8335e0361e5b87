//! Calls that reach into a running guest or its device model.

use xenapi_wire::{Failure, Value};

use super::operations::{Power, check};
use crate::dispatch::{Ctx, Router, internal_error, void};

pub(super) fn register(router: &mut Router) {
    // The toolstack behind XAPI has neither.
    for op in ["send_sysrq", "send_trigger"] {
        router.raw(&format!("VM.{op}"), move |ctx, args| {
            ctx.read(|view| check(view.object("VM", args.str(0))?, op, None))?;
            Err(Failure::new("NOT_IMPLEMENTED", [op]))
        });
    }
    // A guest that sleeps with its memory powered is still running to XAPI, which does not check its state.
    for method in ["VM.s3_suspend", "VM.s3_resume"] {
        router.raw(method, |ctx, args| {
            ctx.read(|view| {
                let vm = view.object("VM", args.str(0))?;
                if matches!(Power::of(vm), Power::Running | Power::Paused) {
                    return Ok(void());
                }
                let uuid = vm.str("uuid");
                let text = format!("Object with type VM and id {uuid}/config does not exist in xenopsd");
                Err(internal_error(&text))
            })
        });
    }
    router.raw("VM.get_data_sources", |ctx, args| {
        ctx.read(|view| check(view.object("VM", args.str(0))?, "data_source_op", None))?;
        Ok(Value::Array(Vec::new()))
    });
    // Nothing is measured here, and XAPI answers 0 for what it does not measure.
    router.raw("VM.query_data_source", |ctx, args| {
        assert_state(ctx, args.str(0), &[Power::Running, Power::Paused], "running;paused", Power::lower)?;
        Ok(Value::Double(0.0))
    });
    router.raw("VM.restart_device_models", |ctx, args| {
        assert_state(ctx, args.str(0), &[Power::Running], "Running", Power::name)?;
        Ok(void())
    });
    // The program that manages secure boot keys is no part of the simulated dom0.
    router.raw("VM.set_uefi_mode", |ctx, args| {
        ctx.read(|view| view.object("VM", args.str(0)).map(|_| ()))?;
        let program = "/usr/bin/varstore-sb-state";
        Err(internal_error(&format!("Unix.Unix_error(Unix.ENOENT, \"access\", {program:?})")))
    });
}

/// These calls check the power state themselves, each with words of its own.
fn assert_state(
    ctx: &Ctx,
    vm: &str,
    states: &[Power],
    expected: &str,
    spell: fn(Power) -> &'static str,
) -> Result<(), Failure> {
    let state = ctx.read(|view| view.object("VM", vm).map(Power::of))?;
    if states.contains(&state) {
        return Ok(());
    }
    Err(Failure::new("VM_BAD_POWER_STATE", [vm, expected, spell(state)]))
}
