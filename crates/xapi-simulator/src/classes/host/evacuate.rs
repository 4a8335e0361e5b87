//! Where the VMs of a host could go.

use std::collections::BTreeMap;
use std::sync::Arc;

use xenapi_wire::{Failure, Value};

use crate::classes::vm::{migrate, power};
use crate::db::View;
use crate::dispatch::{Ctx, Router, void};

pub(super) fn register(router: &mut Router) {
    router.raw("host.evacuate", evacuate);
    router.raw("host.assert_can_evacuate", |ctx, args| {
        let stuck = ctx.read(|view| plan(view, args.str(0)))?.stuck;
        if stuck.is_empty() {
            return Ok(void());
        }
        let reasons: Vec<String> = stuck.into_values().map(|why| Vec::from(why).join(",")).collect();
        Err(Failure::new("CANNOT_EVACUATE_HOST", [reasons.join("|")]))
    });
    router.raw("host.get_vms_which_prevent_evacuation", |ctx, args| {
        let stuck = ctx.read(|view| plan(view, args.str(0)))?.stuck;
        Ok(Value::Struct(stuck.into_iter().map(|(vm, why)| (vm, Vec::from(why).into())).collect()))
    });
}

struct Plan {
    /// VM and the host it would go to.
    moves: Vec<(String, String)>,
    /// VMs that cannot go, with the reason.
    stuck: BTreeMap<String, Failure>,
}

fn plan(view: &View, host: &str) -> Result<Plan, Failure> {
    let mut plan = Plan { moves: Vec::new(), stuck: BTreeMap::new() };
    let host = view.object("host", host)?;
    for vm in view.follow(host, "resident_VMs", "VM").filter(|vm| !vm.bool("is_control_domain")) {
        let elsewhere = power::possible_hosts(view, vm).into_iter().find(|other| other != host.reference());
        let vm = vm.reference().to_owned();
        match elsewhere {
            Some(other) => plan.moves.push((vm, other)),
            None => {
                let why = Failure::new("NO_HOSTS_AVAILABLE", [vm.as_str()]);
                plan.stuck.insert(vm, why);
            }
        }
    }
    Ok(plan)
}

/// `host.evacuate`: each VM goes to the host with the most free memory at that moment. Those that went before one
/// that cannot go stay where they are.
fn evacuate(ctx: &Arc<Ctx>, args: &crate::dispatch::Args) -> Result<Value, Failure> {
    loop {
        let plan = ctx.read(|view| plan(view, args.str(0)))?;
        if let Some(why) = plan.stuck.into_values().next() {
            return Err(why);
        }
        match plan.moves.first() {
            Some((vm, host)) => migrate::arrive(ctx, vm, host)?,
            None => return Ok(void()),
        }
    }
}
