//! The setters that check what they are given: memory and vCPUs.

use xenapi_wire::{Failure, Value};

use super::operations::check;
use crate::db::{NULL, Object, Tx};
use crate::dispatch::{Args, Ctx, Router, storable, void};

/// The four limits that have to stand in ascending order.
#[derive(Clone, Copy)]
struct Limits {
    static_min: i64,
    dynamic_min: i64,
    dynamic_max: i64,
    static_max: i64,
}

impl Limits {
    fn of(vm: Object<'_>) -> Self {
        Self {
            static_min: vm.int("memory_static_min"),
            dynamic_min: vm.int("memory_dynamic_min"),
            dynamic_max: vm.int("memory_dynamic_max"),
            static_max: vm.int("memory_static_max"),
        }
    }

    fn store(self, tx: &mut Tx<'_>, vm: &str) -> Result<(), Failure> {
        let ordered = self.static_min <= self.dynamic_min
            && self.dynamic_min <= self.dynamic_max
            && self.dynamic_max <= self.static_max;
        if !ordered {
            return Err(Failure::new("MEMORY_CONSTRAINT_VIOLATION_ORDER", [""; 0]));
        }
        for (field, value) in [
            ("memory_static_min", self.static_min),
            ("memory_dynamic_min", self.dynamic_min),
            ("memory_dynamic_max", self.dynamic_max),
            ("memory_static_max", self.static_max),
            // The balloon is told to give back what it can.
            ("memory_target", self.dynamic_min),
        ] {
            tx.set("VM", vm, field, Value::Int(value))?;
        }
        Ok(())
    }
}

/// Registers a setter of memory limits: which operation it is, and what it makes of the limits.
fn limits(
    router: &mut Router,
    method: &str,
    op: &'static str,
    apply: impl Fn(Limits, &Args) -> Limits + Send + Sync + 'static,
) {
    router.raw(method, move |ctx, args| {
        ctx.write(|tx| {
            let vm = tx.object("VM", args.str(0))?;
            // A control domain's memory is pinned from below and above.
            if vm.bool("is_control_domain") && op == "changing_static_range" {
                return Err(Failure::new("MEMORY_CONSTRAINT_VIOLATION_MAXPIN", ["control domain"]));
            }
            check(vm, op, None)?;
            apply(Limits::of(vm), args).store(tx, args.str(0))?;
            Ok(void())
        })
    });
}

pub(super) fn register(router: &mut Router) {
    memory_limits(router);
    router.raw("VM.set_memory_target_live", |ctx, args| {
        ctx.write(|tx| {
            check(tx.object("VM", args.str(0))?, "changing_memory_live", None)?;
            tx.set("VM", args.str(0), "memory_target", Value::Int(args.int(1)))?;
            Ok(void())
        })
    });
    // A simulated balloon is where it should be at once.
    router.raw("VM.wait_memory_target_live", |ctx, args| {
        ctx.read(|view| check(view.object("VM", args.str(0))?, "awaiting_memory_live", None))?;
        Ok(void())
    });
    nvram(router);
    router.raw("VM.set_VCPUs_max", |ctx, args| vcpus(ctx, args, "VCPUs_max"));
    router.raw("VM.set_VCPUs_at_startup", |ctx, args| vcpus(ctx, args, "VCPUs_at_startup"));
    router.raw("VM.set_VCPUs_number_live", |ctx, args| {
        ctx.write(|tx| {
            let vm = tx.object("VM", args.str(0))?;
            check(vm, "changing_VCPUs_live", None)?;
            let metrics = vm.str("metrics").to_owned();
            tx.set("VM", args.str(0), "VCPUs_at_startup", Value::Int(args.int(1)))?;
            if tx.exists("VM_metrics", &metrics) {
                tx.set("VM_metrics", &metrics, "VCPUs_number", Value::Int(args.int(1)))?;
            }
            Ok(void())
        })
    });
    router.raw("VM.set_is_a_template", |ctx, args| {
        ctx.write(|tx| set_is_a_template(tx, args.str(0), args.bool(1)))?;
        Ok(void())
    });
    router.raw("VM.set_actions_after_crash", |ctx, args| {
        ctx.write(|tx| tx.set("VM", args.str(0), "actions_after_crash", args.get(1).clone()))?;
        Ok(void())
    });
}

/// Every way of setting one or more of the four limits.
fn memory_limits(router: &mut Router) {
    const STATIC: &str = "changing_static_range";
    const DYNAMIC: &str = "changing_dynamic_range";
    limits(router, "VM.set_memory_static_max", STATIC, |l, a| Limits { static_max: a.int(1), ..l });
    limits(router, "VM.set_memory_static_min", STATIC, |l, a| Limits { static_min: a.int(1), ..l });
    limits(router, "VM.set_memory_dynamic_max", DYNAMIC, |l, a| Limits { dynamic_max: a.int(1), ..l });
    limits(router, "VM.set_memory_dynamic_min", DYNAMIC, |l, a| Limits { dynamic_min: a.int(1), ..l });
    limits(router, "VM.set_memory_dynamic_range", DYNAMIC, |l, a| Limits {
        dynamic_min: a.int(1),
        dynamic_max: a.int(2),
        ..l
    });
    limits(router, "VM.set_memory_static_range", STATIC, |l, a| Limits {
        static_min: a.int(1),
        static_max: a.int(2),
        ..l
    });
    limits(router, "VM.set_memory_limits", STATIC, |_, a| Limits {
        static_min: a.int(1),
        static_max: a.int(2),
        dynamic_min: a.int(3),
        dynamic_max: a.int(4),
    });
    limits(router, "VM.set_memory", STATIC, |l, a| Limits {
        dynamic_min: a.int(1),
        dynamic_max: a.int(1),
        static_max: a.int(1),
        ..l
    });
}

/// The firmware's variables are a map like any other, although the datamodel declares their setters by hand.
fn nvram(router: &mut Router) {
    router.raw("VM.set_NVRAM", |ctx, args| {
        storable(args.get(1))?;
        ctx.write(|tx| tx.set("VM", args.str(0), "NVRAM", args.get(1).clone()))?;
        Ok(void())
    });
    router.raw("VM.add_to_NVRAM", |ctx, args| {
        storable(args.get(2))?;
        ctx.write(|tx| tx.add_to("VM", args.str(0), "NVRAM", args.str(1), args.str(2)))?;
        Ok(void())
    });
    router.raw("VM.remove_from_NVRAM", |ctx, args| {
        ctx.write(|tx| tx.remove_from("VM", args.str(0), "NVRAM", args.str(1)))?;
        Ok(void())
    });
}

fn vcpus(ctx: &Ctx, args: &Args, field: &str) -> Result<Value, Failure> {
    ctx.write(|tx| {
        let vm = tx.object("VM", args.str(0))?;
        check(vm, "changing_VCPUs", None)?;
        let given = args.int(1);
        let (at_startup, max) = match field {
            "VCPUs_max" => (vm.int("VCPUs_at_startup"), given),
            _ => (given, vm.int("VCPUs_max")),
        };
        if at_startup < 1 || at_startup > max {
            let rule = "VCPU values must satisfy: 0 < VCPUs_at_startup ≤ VCPUs_max";
            return Err(Failure::new("INVALID_VALUE", [rule.to_owned(), given.to_string()]));
        }
        tx.set("VM", args.str(0), field, Value::Int(given))?;
        Ok(void())
    })
}

/// A VM that becomes a template loses its metrics and does not get them back.
///
/// # Errors
/// Those of the operation check; `HANDLE_INVALID` of the metrics when it was a template before.
pub(super) fn set_is_a_template(tx: &mut Tx<'_>, vm: &str, value: bool) -> Result<(), Failure> {
    let object = tx.object("VM", vm)?;
    if value {
        check(object, "make_into_template", None)?;
        let metrics = tx.object("VM_metrics", object.str("metrics"))?.reference().to_owned();
        tx.delete("VM_metrics", &metrics);
        tx.set("VM", vm, "metrics", NULL)?;
        return tx.set("VM", vm, "is_a_template", true);
    }
    tx.set("VM", vm, "is_a_template", false)?;
    // XAPI does not compute anew what is allowed.
    tx.leave("VM", vm);
    Ok(())
}
