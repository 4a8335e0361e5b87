//! What a client may ask about a VM.

use std::sync::Arc;

use xenapi_wire::{Failure, Value};

use super::{begin, memory, operations, power};
use crate::classes::vdi::require_plugged;
use crate::dispatch::{Args, Ctx, Router, void};

pub(super) fn register(router: &mut Router) {
    router.raw("VM.assert_operation_valid", |ctx, args| {
        ctx.read(|view| operations::check(view.object("VM", args.str(0))?, args.str(1), None))?;
        Ok(void())
    });
    router.raw("VM.update_allowed_operations", |ctx, args| {
        ctx.write(|tx| {
            tx.object("VM", args.str(0))?;
            tx.touch("VM", args.str(0));
            Ok::<_, Failure>(void())
        })
    });
    router.raw("VM.get_possible_hosts", |ctx, args| {
        ctx.read(|view| Ok(power::possible_hosts(view, view.object("VM", args.str(0))?).into()))
    });
    router.raw("VM.assert_can_boot_here", |ctx, args| {
        ctx.read(|view| power::assert_can_run_on(view, view.object("VM", args.str(0))?, args.str(1)))?;
        Ok(void())
    });
    router.raw("VM.assert_agile", assert_agile);
    router.raw("VM.get_cooperative", |ctx, args| {
        ctx.read(|view| view.object("VM", args.str(0)).map(|_| Value::Bool(true)))
    });
    router.raw("VM.compute_memory_overhead", |ctx, args| {
        ctx.read(|view| Ok(Value::Int(memory::overhead_bytes(view.object("VM", args.str(0))?))))
    });
    router.future("VM.get_boot_record", |ctx, args| async move {
        // The call is an operation of its own, and is seen in the record.
        let _busy = begin(&ctx, args.str(0), "get_boot_record").await?;
        ctx.read(|view| Ok(view.object("VM", args.str(0))?.record()))
    });
    router.raw("VM.maximise_memory", |ctx, args| {
        let vcpus = |own| if args.bool(2) { memory::MANY_VCPUS } else { own };
        ctx.read(|view| {
            let vm = view.object("VM", args.str(0))?;
            Ok(Value::Int(memory::largest_static_max(vm, vcpus(vm.int("VCPUs_max")), args.int(1))))
        })
    });
    // No workload balancing server is known here.
    router.raw("VM.retrieve_wlb_recommendations", |ctx, args| {
        ctx.read(|view| view.object("VM", args.str(0)).map(|_| ()))?;
        Err(Failure::new("WLB_NOT_INITIALIZED", [""; 0]))
    });
    recovery(router);
    router.raw("VM.get_allowed_VBD_devices", |ctx, args| {
        free_devices(ctx, args, "VBDs", "VBD", "userdevice", 254)
    });
    router
        .raw("VM.get_allowed_VIF_devices", |ctx, args| free_devices(ctx, args, "VIFs", "VIF", "device", 15));
}

/// An agile VM has all its disks where every host reaches them.
fn assert_agile(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    ctx.read(|view| {
        let vm = view.object("VM", args.str(0))?;
        for vbd in view.follow(vm, "VBDs", "VBD") {
            let Some(vdi) = vbd.ref_opt("VDI").and_then(|vdi| view.find("VDI", vdi)) else { continue };
            if view.find("SR", vdi.str("SR")).is_some_and(|sr| !sr.bool("shared")) {
                return Err(Failure::new("HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", [vdi.str("SR")]));
            }
        }
        Ok(void())
    })
}

/// Recovery of VMs from a pool that is gone.
fn recovery(router: &mut Router) {
    router.raw("VM.get_SRs_required_for_recovery", |ctx, args| {
        ctx.read(|view| {
            let vm = view.object("VM", args.str(0))?;
            let mut required: Vec<&str> = Vec::new();
            for vbd in view.follow(vm, "VBDs", "VBD") {
                let Some(vdi) = vbd.ref_opt("VDI").and_then(|vdi| view.find("VDI", vdi)) else { continue };
                // What a host sees already need not be introduced.
                let sr = vdi.str("SR");
                if require_plugged(view, sr).is_err() && !required.contains(&sr) {
                    required.push(sr);
                }
            }
            Ok(required.into())
        })
    });
    // Metadata of another pool cannot be opened here, and so there is no session to recover into.
    router.raw("VM.recover", |ctx, args| {
        ctx.read(|view| {
            view.object("VM", args.str(0))?;
            view.object("session", args.str(1)).map(|_| ())
        })?;
        Err(Failure::new("NOT_IMPLEMENTED", ["VM.recover"]))
    });
}

/// The device numbers that are free, in ascending order.
fn free_devices(
    ctx: &Ctx,
    args: &Args,
    set: &str,
    class: &'static str,
    field: &str,
    highest: u32,
) -> Result<Value, Failure> {
    ctx.read(|view| {
        let vm = view.object("VM", args.str(0))?;
        let taken: Vec<&str> = view.follow(vm, set, class).map(|device| device.str(field)).collect();
        let free = (0..=highest).map(|n| n.to_string()).filter(|n| !taken.contains(&n.as_str()));
        Ok(free.collect::<Vec<_>>().into())
    })
}
