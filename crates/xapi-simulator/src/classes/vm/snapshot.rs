//! `VM.snapshot`, `VM.checkpoint` and `VM.revert`.

use std::collections::BTreeMap;
use std::sync::Arc;

use xenapi_wire::{Failure, Value};

use super::copy::{self, Identity, copy_disks, on_thread};
use super::metadata;
use super::operations::Power;
use super::power::{self, new_generation_id, refs, strings};
use super::{begin, image, wake};
use crate::classes::message::about_vm;
use crate::classes::{vbd, vdi, vif};
use crate::db::{NULL, Tx, is_null};
use crate::dispatch::{Args, Ctx, Router, void};

pub(super) fn register(router: &mut Router) {
    router.future("VM.snapshot", |ctx, args| async move {
        let _busy = begin(&ctx, args.str(0), "snapshot").await?;
        let taken = Taken::of(&ctx, &args)?;
        on_thread(&ctx, move |ctx| taken.snapshot(ctx).map(Value::from)).await
    });
    router.future("VM.checkpoint", |ctx, args| async move {
        let _busy = begin(&ctx, args.str(0), "checkpoint").await?;
        let taken = Taken::of(&ctx, &args)?;
        on_thread(&ctx, move |ctx| taken.checkpoint(ctx).map(Value::from)).await
    });
    router.future("VM.revert", |ctx, args| async move {
        let snapshot = args.str(0).to_owned();
        let _busy = begin(&ctx, &snapshot, "revert").await?;
        on_thread(&ctx, move |ctx| revert(ctx, &snapshot).map(|()| void())).await
    });
}

/// A snapshot to be made, and what the VM was like when it was asked for.
struct Taken {
    vm: String,
    name: String,
    /// Disks that are left out.
    ignored: Vec<String>,
    power: Power,
    resident_on: String,
    domid: i64,
}

impl Taken {
    fn of(ctx: &Ctx, args: &Args) -> Result<Self, Failure> {
        let (vm, name) = (args.str(0).to_owned(), args.str(1).to_owned());
        let ignored = args.strs(2).map(str::to_owned).collect();
        ctx.read(|view| {
            let object = view.object("VM", &vm)?;
            let (resident_on, domid) = (object.str("resident_on").to_owned(), object.int("domid"));
            Ok(Self { vm, name, ignored, power: Power::of(object), resident_on, domid })
        })
    }

    fn snapshot(&self, ctx: &Arc<Ctx>) -> Result<String, Failure> {
        self.record(ctx, NULL, "VM_SNAPSHOTTED", "snapshotted")
    }

    /// The disks and the memory: the VM is suspended for it, and resumed afterwards.
    fn checkpoint(&self, ctx: &Arc<Ctx>) -> Result<String, Failure> {
        if self.power != Power::Suspended {
            super::lay_down(ctx, &self.vm)?;
        }
        let image = ctx
            .read(|view| Ok::<_, Failure>(view.object("VM", &self.vm)?.str("suspend_VDI").to_owned()))
            .and_then(|image| image::copy(ctx, &image, true));
        let made = image.and_then(|image| {
            let made = self.record(ctx, image.as_deref().unwrap_or(NULL), "VM_CHECKPOINTED", "checkpointed");
            made.inspect_err(|_| image::discard(ctx, image.as_deref()))
        });
        if self.power != Power::Suspended {
            let now = ctx.date();
            let paused = self.power == Power::Paused;
            let image = ctx
                .write(|tx| wake(tx, &self.vm, &self.resident_on, paused, &ctx.core.config().guests, &now))?;
            image::discard(ctx, image.as_deref());
        }
        made
    }

    fn record(&self, ctx: &Arc<Ctx>, image: &str, message: &str, done: &str) -> Result<String, Failure> {
        let now = ctx.date();
        // What the VM is like now: suspended, for a checkpoint.
        let metadata = ctx.read(|view| {
            Ok::<_, Failure>(metadata::write(view.object("VM", &self.vm)?, &self.resident_on, self.domid))
        })?;
        let take = |disk: &str| match self.ignored.iter().any(|ignored| ignored == disk) {
            true => Ok(None),
            false => vdi::duplicate(ctx, disk, true).map(Some),
        };
        copy_disks(ctx, &self.vm, take, |tx, disks| {
            let snapshot = copy::record(tx, &self.vm, &self.name, Identity::Snapshot, disks)?;
            let parent = tx.object("VM", &self.vm)?.str("parent").to_owned();
            let info =
                [("power-state-at-snapshot", self.power.name()), ("disk-snapshot-type", "crash_consistent")];
            for (field, value) in [
                ("is_a_template", Value::Bool(true)),
                ("is_a_snapshot", Value::Bool(true)),
                ("snapshot_of", self.vm.as_str().into()),
                ("snapshot_time", now.clone().into()),
                ("snapshot_info", strings(&info)),
                ("snapshot_metadata", metadata.as_str().into()),
                ("suspend_VDI", image.into()),
                ("power_state", if is_null(image) { "Halted" } else { "Suspended" }.into()),
                ("parent", parent.into()),
            ] {
                tx.set("VM", &snapshot, field, value)?;
            }
            tx.set("VM", &self.vm, "parent", snapshot.as_str())?;
            about_vm(tx, &self.vm, message, done, &now)?;
            Ok(snapshot)
        })
    }
}

/// What a VM keeps when it is made again what it was: who it is, where it runs, and what hangs on it.
const KEPT: &[&str] = &[
    "uuid",
    "suspend_VDI",
    "power_state",
    "parent",
    "children",
    "current_operations",
    "allowed_operations",
    "metrics",
    "guest_metrics",
    "resident_on",
    "domid",
    "protection_policy",
    "snapshot_schedule",
    "scheduled_to_be_resident_on",
    "snapshots",
    "tags",
    "affinity",
    "groups",
    "consoles",
    "VBDs",
    "VIFs",
    "VGPUs",
    "VUSBs",
    "VTPMs",
    "attached_PCIs",
    "crash_dumps",
];

/// Makes a VM what it was. Its disks are replaced by clones of the snapshot's, which are made first: the VM's own
/// go only when nothing can fail any more.
fn revert(ctx: &Arc<Ctx>, snapshot: &str) -> Result<(), Failure> {
    let now = ctx.date();
    let (vm, alive, memory) = ctx.read(|view| {
        let object = view.object("VM", snapshot)?;
        let vm = object.str("snapshot_of").to_owned();
        Ok::<_, Failure>((vm.clone(), view.exists("VM", &vm), object.str("suspend_VDI").to_owned()))
    })?;
    let memory = image::copy(ctx, &memory, false)?;
    let clone = |disk: &str| vdi::duplicate(ctx, disk, false).map(Some);
    let reverted = copy_disks(ctx, snapshot, clone, |tx, disks| {
        let vm = match alive {
            true => vm,
            false => create_again(tx, snapshot)?,
        };
        let mut old_memory = None;
        if Power::of(tx.object("VM", &vm)?) != Power::Halted {
            old_memory = image::take_off(tx, &vm)?;
            power::halted(tx, &vm, &ctx.core.config().guests)?;
            about_vm(tx, &vm, "VM_SHUTDOWN", "shutdown forcibly", &now)?;
        }
        let replaced = take_off(tx, &vm, disks)?;
        put_on(tx, &vm, snapshot, disks)?;
        if let Some(memory) = &memory {
            power::suspended(tx, &vm, memory)?;
        }
        about_vm(tx, &vm, "VM_SNAPSHOT_REVERTED", "reverted", &now)?;
        Ok((replaced, old_memory))
    });
    let (replaced, old_memory) = reverted.inspect_err(|_| image::discard(ctx, memory.as_deref()))?;
    image::discard(ctx, old_memory.as_deref());
    // Nothing refers to them any more.
    replaced.iter().try_for_each(|disk| vdi::discard(ctx, disk))
}

/// Where the VM is gone, another one takes its name and uuid, and all its snapshots.
fn create_again(tx: &mut Tx<'_>, snapshot: &str) -> Result<String, Failure> {
    let object = tx.object("VM", snapshot)?;
    let gone = object.str("snapshot_of").to_owned();
    let saved = metadata::read(object.class(), object.str("snapshot_metadata"));
    let text = |field| saved.get(field).and_then(Value::as_str).unwrap_or_default();
    let vm = copy::record(tx, snapshot, text("name_label"), Identity::Snapshot, &[])?;
    if !text("uuid").is_empty() && tx.by_uuid("VM", text("uuid")).is_err() {
        tx.set("VM", &vm, "uuid", text("uuid"))?;
    }
    for vif in refs(tx, &vm, "VIFs")? {
        vif::delete(tx, &vif);
    }
    let all: Vec<String> = tx
        .objects("VM")
        .filter(|other| other.bool("is_a_snapshot") && other.str("snapshot_of") == gone)
        .map(|other| other.reference().to_owned())
        .collect();
    for other in all {
        tx.set("VM", &other, "snapshot_of", vm.as_str())?;
    }
    Ok(vm)
}

/// Takes the VM's drives and interfaces away, and lets the snapshots of its disks be those of the disks that come
/// in their place. Returns the disks that were replaced; those the snapshot does not know stay, attached to nobody.
fn take_off(tx: &mut Tx<'_>, vm: &str, disks: &[(String, String)]) -> Result<Vec<String>, Failure> {
    let mut replaced = Vec::new();
    for (drive, clone) in disks {
        let saved = tx.object("VBD", drive)?.str("VDI").to_owned();
        if is_null(&saved) || saved == *clone {
            continue;
        }
        let old = tx.object("VDI", &saved)?.str("snapshot_of").to_owned();
        let all: Vec<String> = tx
            .objects("VDI")
            .filter(|vdi| vdi.str("snapshot_of") == old && !is_null(&old))
            .map(|vdi| vdi.reference().to_owned())
            .collect();
        for vdi in all {
            tx.set("VDI", &vdi, "snapshot_of", clone.as_str())?;
        }
        replaced.push(old);
    }
    let own: Vec<String> =
        tx.follow(tx.object("VM", vm)?, "VBDs", "VBD").map(|vbd| vbd.str("VDI").to_owned()).collect();
    replaced.retain(|disk| own.contains(disk));
    for drive in refs(tx, vm, "VBDs")? {
        vbd::destroy(tx, &drive)?;
    }
    for vif in refs(tx, vm, "VIFs")? {
        vif::delete(tx, &vif);
    }
    Ok(replaced)
}

/// Gives the VM what it had when the snapshot was taken. What has happened to the snapshot's own fields since does
/// not count, unless there is no record of those days.
fn put_on(tx: &mut Tx<'_>, vm: &str, snapshot: &str, disks: &[(String, String)]) -> Result<(), Failure> {
    let source = tx.object("VM", snapshot)?;
    let class = source.class();
    let mut saved = metadata::read(class, source.str("snapshot_metadata"));
    if saved.is_empty() {
        saved = class.fields().iter().map(|field| (field.name, source.get(field.name).clone())).collect();
        saved.remove("name_label");
    }
    let never = class.index("snapshot_time").map(|index| class.defaults()[index].clone());
    for (field, value) in saved.into_iter().filter(|(field, _)| !KEPT.contains(field)) {
        tx.set("VM", vm, field, value)?;
    }
    for (field, value) in [
        ("is_a_template", Some(Value::Bool(false))),
        ("is_a_snapshot", Some(Value::Bool(false))),
        ("snapshot_of", Some(NULL.into())),
        ("snapshot_time", never),
        ("snapshot_info", Some(Value::Struct(BTreeMap::new()))),
        ("snapshot_metadata", Some("".into())),
        ("parent", Some(snapshot.into())),
        ("generation_id", Some(new_generation_id().into())),
    ] {
        if let Some(value) = value {
            tx.set("VM", vm, field, value)?;
        }
    }
    copy::metrics(tx, snapshot, vm)?;
    copy::devices(tx, snapshot, vm, disks, Identity::Snapshot)?;
    Ok(())
}
