//! Moving VMs to other pools. The VM keeps its uuid, its disks do not; nothing of either stays behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use xenapi_types::meta::Ty;
use xenapi_wire::{Failure, Value};

use super::lifecycle::{self, new_metrics};
use super::memory::footprint_bytes;
use super::operations::Power;
use super::power::{self, free_memory_bytes, sees_sr};
use crate::classes::{vdi, vif};
use crate::core::Core;
use crate::db::{NULL, Object, Tx, View, is_null};
use crate::dispatch::{Args, Ctx};

/// What a call sends where: the other pool, as its own call would see it, the host there, and what goes where.
pub(super) struct Passage {
    to: Arc<Ctx>,
    host: String,
    vdis: BTreeMap<String, String>,
    vifs: BTreeMap<String, String>,
}

impl Passage {
    /// The passage that a call asks for, unless it stays in this pool: sessions tell pools apart.
    ///
    /// # Errors
    /// `VM_MIGRATE_CONTACT_REMOTE_SERVICE_FAILED` when no pool that can be reached knows the session.
    pub(super) fn of(ctx: &Arc<Ctx>, args: &Args) -> Result<Option<Self>, Failure> {
        let text = |key: &str| args.map(1).get(key).map(View::text_of).unwrap_or_default();
        let (session, host) = (text("session_id"), text("host"));
        if session.is_empty() || ctx.read(|view| view.exists("session", &session)) {
            return Ok(None);
        }
        let knows = |core: &Arc<Core>| core.db.read(|view| view.exists("session", &session));
        let Some(core) = ctx.core.peers().into_iter().find(knows) else {
            return Err(Failure::new("VM_MIGRATE_CONTACT_REMOTE_SERVICE_FAILED", [""; 0]));
        };
        let (message, task) = (ctx.message, ctx.task.clone());
        let map =
            |n: usize| args.map(n).iter().map(|(key, value)| (key.clone(), View::text_of(value))).collect();
        let server = core.toolstack.starts();
        let to = Arc::new(Ctx { core, message, session, task, host: host.clone(), server });
        Ok(Some(Self { to, host, vdis: map(3), vifs: map(4) }))
    }

    /// Whether the VM can go.
    ///
    /// # Errors
    /// `HOST_DISABLED`, `HOST_NOT_ENOUGH_FREE_MEMORY`; `VDI_NOT_IN_MAP`, `SR_NOT_ATTACHED`; `VIF_NOT_IN_MAP`, and what
    /// a network that is not there answers; `DUPLICATE_VM` when it is there.
    pub(super) fn check(&self, ctx: &Ctx, vm: &str) -> Result<(), Failure> {
        let (uuid, needed) = ctx.read(|view| {
            let vm = view.object("VM", vm)?;
            for vbd in view.follow(vm, "VBDs", "VBD").filter(|vbd| vbd.str("type") == "Disk") {
                if !self.vdis.contains_key(vbd.str("VDI")) {
                    return Err(Failure::new("VDI_NOT_IN_MAP", [vbd.str("VDI")]));
                }
            }
            if let Some(vif) = vm.strs("VIFs").find(|vif| !self.vifs.contains_key(*vif)) {
                return Err(Failure::new("VIF_NOT_IN_MAP", [vif]));
            }
            let needed = if Power::of(vm) == Power::Running { footprint_bytes(vm) } else { 0 };
            Ok((vm.str("uuid").to_owned(), needed))
        })?;
        self.to.read(|view| {
            let host = view.object("host", &self.host)?;
            if !host.bool("enabled") {
                return Err(Failure::new("HOST_DISABLED", [host.reference()]));
            }
            if let Some(sr) = self.vdis.values().find(|sr| !sees_sr(view, &self.host, sr)) {
                return Err(Failure::new("SR_NOT_ATTACHED", [sr]));
            }
            self.vifs.values().try_for_each(|network| view.object("network", network).map(|_| ()))?;
            if view.objects("VM").any(|vm| vm.str("uuid") == uuid) {
                return Err(Failure::new("DUPLICATE_VM", [""; 0]));
            }
            let free = free_memory_bytes(view, host);
            if needed > free {
                return Err(Failure::new(
                    "HOST_NOT_ENOUGH_FREE_MEMORY",
                    [needed.to_string(), free.to_string()],
                ));
            }
            Ok(())
        })
    }

    /// The other pool.
    pub(super) fn to(&self) -> &Ctx {
        &self.to
    }

    /// Where each disk goes.
    pub(super) fn disks(&self) -> &BTreeMap<String, String> {
        &self.vdis
    }

    /// The VM is there and not here any more; its reference there.
    pub(super) fn arrive(
        &self,
        ctx: &Ctx,
        vm: &str,
        copies: &BTreeMap<String, String>,
    ) -> Result<String, Failure> {
        let moved = ctx.read(|view| Moved::read(view, vm))?;
        let now = self.to.date();
        let there = self.to.write(|tx| {
            let there = moved.write(tx, copies, &self.vifs)?;
            copies.values().try_for_each(|copy| vdi::copy::mirrored(tx, copy))?;
            if moved.runs {
                power::started(tx, &there, &self.host, Power::Running, &self.to.core.config().guests, &now)?;
            }
            Ok::<_, Failure>(there)
        })?;
        ctx.write(|tx| {
            power::halted(tx, vm, &ctx.core.config().guests)?;
            lifecycle::remove(tx, vm)
        })?;
        Ok(there)
    }
}

type Fields = Vec<(&'static str, Value)>;

/// What there is of a VM that makes sense in another pool.
struct Moved {
    vm: Fields,
    /// With the disk, if there is one.
    drives: Vec<(Fields, String)>,
    /// With the reference.
    interfaces: Vec<(Fields, String)>,
    runs: bool,
}

impl Moved {
    fn read(view: &View, vm: &str) -> Result<Self, Failure> {
        let vm = view.object("VM", vm)?;
        let drives = view.follow(vm, "VBDs", "VBD").map(|vbd| (fields(vbd), vbd.str("VDI").to_owned()));
        let interfaces = view.follow(vm, "VIFs", "VIF").map(|vif| (fields(vif), vif.reference().to_owned()));
        Ok(Self {
            vm: fields(vm),
            drives: drives.collect(),
            interfaces: interfaces.collect(),
            runs: Power::of(vm) == Power::Running,
        })
    }

    fn write(
        &self,
        tx: &mut Tx<'_>,
        disks: &BTreeMap<String, String>,
        networks: &BTreeMap<String, String>,
    ) -> Result<String, Failure> {
        let vm = tx.create("VM", self.vm.iter().cloned());
        let metrics = new_metrics(tx);
        tx.set("VM", &vm, "metrics", metrics)?;
        tx.set("VM", &vm, "power_state", "Halted")?;
        for (fields, disk) in &self.drives {
            let disk = disks.get(disk).map_or(NULL, String::as_str);
            let vbd = tx.create("VBD", fields.iter().cloned());
            tx.set("VBD", &vbd, "VM", vm.as_str())?;
            tx.set("VBD", &vbd, "VDI", disk)?;
            tx.set("VBD", &vbd, "empty", Value::Bool(is_null(disk)))?;
            tx.set("VBD", &vbd, "currently_attached", Value::Bool(false))?;
            let metrics = tx.create("VBD_metrics", [] as [(&str, Value); 0]);
            tx.set("VBD", &vbd, "metrics", metrics)?;
        }
        for (fields, reference) in &self.interfaces {
            let network = networks.get(reference).map_or(NULL, String::as_str);
            let vif = tx.create("VIF", fields.iter().cloned());
            tx.set("VIF", &vif, "VM", vm.as_str())?;
            tx.set("VIF", &vif, "network", network)?;
            vif::created(tx, &vif)?;
        }
        Ok(vm)
    }
}

/// The fields that do not refer to objects of the pool.
fn fields(object: Object<'_>) -> Fields {
    let refers = |ty: &Ty| {
        matches!(ty, Ty::Ref(_) | Ty::Set(Ty::Ref(_)) | Ty::Map(Ty::Ref(_), _) | Ty::Map(_, Ty::Ref(_)))
    };
    let all = object
        .class()
        .fields()
        .iter()
        .filter(|field| !refers(&field.ty) && field.name != "current_operations");
    all.map(|field| (field.name, object.get(field.name).clone())).collect()
}
