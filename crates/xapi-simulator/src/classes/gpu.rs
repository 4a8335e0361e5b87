//! `VGPU`, and what is left of the GPUs that hosts have.

use xenapi_wire::{Failure, Value};

use super::change;
use crate::db::{NULL, Object, Tx, View};
use crate::dispatch::Router;

pub(super) fn register(router: &mut Router) {
    router.raw("VGPU.create", |ctx, args| {
        let fields = ["VM", "GPU_group", "device", "other_config", "type"];
        ctx.write(|tx| {
            let vgpu = tx.create("VGPU", fields.into_iter().zip(args.iter().cloned()));
            created(tx, &vgpu).map(|()| vgpu.into())
        })
    });
    change(router, "VGPU.destroy", |tx, vgpu| {
        let object = tx.object("VGPU", vgpu)?;
        if object.bool("currently_attached") {
            return Err(Failure::new("OPERATION_NOT_ALLOWED", ["vGPU currently attached to a running VM"]));
        }
        tx.delete("VGPU", vgpu);
        Ok(())
    });
    router.raw("PGPU.get_remaining_capacity", |ctx, args| {
        ctx.read(|view| Ok(Value::Int(remaining(view, view.object("PGPU", args.str(0))?, args.str(1)))))
    });
    router.raw("GPU_group.get_remaining_capacity", |ctx, args| {
        ctx.read(|view| {
            let pgpus = view.follow(view.object("GPU_group", args.str(0))?, "PGPUs", "PGPU");
            Ok(Value::Int(pgpus.map(|pgpu| remaining(view, pgpu, args.str(1))).sum()))
        })
    });
}

/// # Errors
/// `INVALID_DEVICE`, `DEVICE_ALREADY_EXISTS`, `VM_BAD_POWER_STATE`, `VGPU_TYPE_NOT_ENABLED`.
fn created(tx: &mut Tx<'_>, vgpu: &str) -> Result<(), Failure> {
    let object = tx.object("VGPU", vgpu)?;
    let device = object.str("device");
    if device.parse::<u8>().is_err() {
        return Err(Failure::new("INVALID_DEVICE", [device]));
    }
    let vm = tx.object("VM", object.str("VM"))?;
    if vm.str("power_state") != "Halted" {
        let state = vm.str("power_state").to_lowercase();
        return Err(Failure::new("VM_BAD_POWER_STATE", [vm.reference(), "halted", &state]));
    }
    if tx.follow(vm, "VGPUs", "VGPU").any(|other| other.reference() != vgpu && other.str("device") == device)
    {
        return Err(Failure::new("DEVICE_ALREADY_EXISTS", [device]));
    }
    let group = tx.object("GPU_group", object.str("GPU_group"))?;
    let kind = object.str("type");
    let enabled =
        tx.follow(group, "PGPUs", "PGPU").any(|pgpu| pgpu.strs("enabled_VGPU_types").any(|t| t == kind));
    if !enabled {
        return Err(Failure::new("VGPU_TYPE_NOT_ENABLED", [kind, ""]));
    }
    tx.set("VGPU", vgpu, "currently_attached", Value::Bool(false))?;
    tx.set("VGPU", vgpu, "resident_on", NULL)
}

/// A physical GPU is divided into parts of one type at a time.
fn remaining(view: &View, pgpu: Object<'_>, kind: &str) -> i64 {
    if !pgpu.strs("enabled_VGPU_types").any(|enabled| enabled == kind) {
        return 0;
    }
    let most = match pgpu.map("supported_VGPU_max_capacities").get(kind) {
        Some(Value::Int(most)) => *most,
        _ => 0,
    };
    let mut taken = 0;
    for resident in view.follow(pgpu, "resident_VGPUs", "VGPU") {
        if resident.str("type") != kind {
            return 0;
        }
        taken += 1;
    }
    most - taken
}

/// Whether each virtual GPU of a VM finds a physical one on a host.
///
/// # Errors
/// `VM_REQUIRES_VGPU`.
pub(in crate::classes) fn assert_room(view: &View, vm: Object<'_>, host: &str) -> Result<(), Failure> {
    let mut chosen: Vec<(String, &str)> = Vec::new();
    for vgpu in view.follow(vm, "VGPUs", "VGPU") {
        let kind = vgpu.str("type");
        let taken = |pgpu: &str| {
            let mut here = chosen.iter().filter(|(other, _)| other == pgpu).peekable();
            let is_other = here.peek().is_some_and(|(_, other)| *other != kind);
            if is_other { i64::MAX } else { here.count() as i64 }
        };
        match room(view, vgpu, host, taken) {
            Some(pgpu) => chosen.push((pgpu, kind)),
            None => {
                let group = vgpu.str("GPU_group");
                return Err(Failure::new("VM_REQUIRES_VGPU", [vm.reference(), group, kind]));
            }
        }
    }
    Ok(())
}

fn room(view: &View, vgpu: Object<'_>, host: &str, taken: impl Fn(&str) -> i64) -> Option<String> {
    let group = view.find("GPU_group", vgpu.str("GPU_group"))?;
    let mut pgpus = view.follow(group, "PGPUs", "PGPU").filter(|pgpu| pgpu.str("host") == host);
    let found = pgpus.find(|pgpu| remaining(view, *pgpu, vgpu.str("type")) > taken(pgpu.reference()));
    found.map(|pgpu| pgpu.reference().to_owned())
}

/// Gives each virtual GPU of a VM its place.
pub(in crate::classes) fn attach(tx: &mut Tx<'_>, vgpus: &[String], host: &str) -> Result<(), Failure> {
    for vgpu in vgpus {
        let object = tx.object("VGPU", vgpu)?;
        let place = room(tx, object, host, |_| 0).unwrap_or_else(|| NULL.to_owned());
        tx.set("VGPU", vgpu, "resident_on", place)?;
        tx.set("VGPU", vgpu, "currently_attached", Value::Bool(true))?;
    }
    Ok(())
}

/// Notes which devices of its host a VM has that started there: those of `other_config:pci` that XAPI lists.
pub(in crate::classes) fn attach_pci(tx: &mut Tx<'_>, vm: &str, host: &str) -> Result<(), Failure> {
    let object = tx.object("VM", vm)?;
    let wanted: Vec<&str> = object.entry("other_config", "pci").map_or(Vec::new(), |devices| {
        devices.split(',').filter_map(|device| Some(device.split_once('/')?.1)).collect()
    });
    let devices = tx.objects("PCI").filter(|device| device.str("host") == host);
    let attached = devices.filter(|device| wanted.contains(&device.str("pci_id")));
    let attached = attached.map(|device| Value::from(device.reference())).collect();
    tx.set("VM", vm, "attached_PCIs", Value::Array(attached))
}
