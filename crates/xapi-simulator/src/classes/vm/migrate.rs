//! Moving running VMs between hosts, with their disks or without.

use std::collections::BTreeMap;
use std::sync::Arc;

use xenapi_wire::{Failure, Value};

use super::super::message::about_vm;
use super::super::{session, vdi};
use super::copy::on_thread;
use super::operations::Power;
use super::pools::Passage;
use super::{begin, host_text, power};
use crate::db::{Object, Tx, View};
use crate::dispatch::{Args, Ctx, Router, void};
use crate::guest;

/// A migration tells its progress in so many steps, between which it can be cancelled.
const STEPS: u32 = 10;

pub(super) fn register(router: &mut Router) {
    router.future("VM.pool_migrate", |ctx, args| async move {
        let (vm, host) = (args.str(0).to_owned(), args.str(1).to_owned());
        ctx.read(|view| assert_elsewhere(view, &vm, &host, &BTreeMap::new()))?;
        let _busy = begin(&ctx, &vm, "pool_migrate").await?;
        guest::assert_tools(&ctx, &vm)?;
        transfer_memory(&ctx).await?;
        arrive(&ctx, &vm, &host)?;
        Ok(void())
    });
    router.raw("host.migrate_receive", receive);
    router.raw("VM.assert_can_migrate", |ctx, args| {
        if let Some(passage) = Passage::of(ctx, args)? {
            passage.check(ctx, args.str(0))?;
            return Ok(void());
        }
        ctx.read(|view| {
            let host = destination(view, args)?;
            assert_elsewhere(view, args.str(0), &host, args.map(3))
        })?;
        Ok(void())
    });
    router.future("VM.migrate_send", |ctx, args| async move { send(&ctx, &args).await });
}

/// What a host is told that a VM may come with. The session in it is a new one with the caller's rights: whoever asked
/// ends it.
fn receive(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    let mut map = ctx.read(|view| {
        let host = view.object("host", args.str(0))?;
        let here = view.follow(host, "PIFs", "PIF").find(|pif| pif.str("network") == args.str(1));
        let Some(pif) = here else {
            return Err(Failure::new("CANNOT_FIND_NETWORK", [args.str(1), args.str(0)]));
        };
        if pif.str("IP").is_empty() {
            return Err(Failure::new("INTERFACE_HAS_NO_IP", [pif.reference()]));
        }
        let url = |path: &str| Value::from(format!("https://{}/{path}", pif.str("IP")));
        let map = [
            ("host", host.reference().into()),
            ("SM", url("services/SM")),
            ("xenops", url("services/xenops")),
            ("master", url("")),
        ];
        Ok(BTreeMap::from(map.map(|(key, value)| (key.to_owned(), value))))
    })?;
    let user = ctx.read(|view| {
        view.find("session", &ctx.session)
            .map_or_else(String::new, |own| own.str("auth_user_name").to_owned())
    });
    let session = session::start(&ctx.core, args.str(0), &user, "xapi", false);
    map.insert("session_id".to_owned(), session.into());
    Ok(Value::Struct(map.into_iter().collect()))
}

/// Moves a VM to another host with its disks, or to another pool.
async fn send(ctx: &Arc<Ctx>, args: &Args) -> Result<Value, Failure> {
    let vm = args.str(0).to_owned();
    if let Some(passage) = Passage::of(ctx, args)? {
        return leave(ctx, &vm, passage).await.map(Value::from);
    }
    let host = ctx.read(|view| {
        let host = destination(view, args)?;
        assert_elsewhere(view, &vm, &host, args.map(3))?;
        Ok::<_, Failure>(host)
    })?;
    let _busy = begin(ctx, &vm, "migrate_send").await?;
    guest::assert_tools(ctx, &vm)?;
    let map = leaving(ctx, args.map(3))?;
    let of = vm.clone();
    let moved = on_thread(ctx, move |ctx| copy_disks(ctx, &of, ctx, &map)).await?;
    let arrived = match transfer_memory(ctx).await {
        Ok(()) => exchange(ctx, &vm, &moved).and_then(|()| arrive(ctx, &vm, &host)),
        Err(failure) => Err(failure),
    };
    // Either the copies or the originals are not needed any more.
    let arrived_there = arrived.is_ok();
    let cleaned = on_thread(ctx, move |ctx| match arrived_there {
        true => discard_all(ctx, moved.keys()),
        false => discard_all(ctx, moved.values()),
    });
    let cleaned = cleaned.await;
    arrived?;
    cleaned?;
    Ok(vm.into())
}
/// Moves a VM to another pool.
async fn leave(ctx: &Arc<Ctx>, vm: &str, passage: Passage) -> Result<String, Failure> {
    passage.check(ctx, vm)?;
    let _busy = begin(ctx, vm, "migrate_send").await?;
    guest::assert_tools(ctx, vm)?;
    let passage = Arc::new(passage);
    let (moving, of) = (passage.clone(), vm.to_owned());
    let copies = on_thread(ctx, move |ctx| copy_disks(ctx, &of, moving.to(), moving.disks())).await?;
    let arrived = match transfer_memory(ctx).await {
        Ok(()) => passage.arrive(ctx, vm, &copies),
        Err(failure) => Err(failure),
    };
    let arrived_there = arrived.is_ok();
    on_thread(ctx, move |ctx| match arrived_there {
        true => copies.keys().try_for_each(|original| vdi::discard(ctx, original)),
        false => discard_all(passage.to(), copies.values()),
    })
    .await?;
    arrived
}

fn destination(view: &View, args: &Args) -> Result<String, Failure> {
    let host = args.map(1).get("host").map(View::text_of).unwrap_or_default();
    view.object("host", &host)?;
    Ok(host)
}

/// Whether a VM can go to a host, some of its disks going to other repositories.
///
/// # Errors
/// `VM_BAD_POWER_STATE`; `HOST_DISABLED`; `VM_MIGRATE_FAILED` when it is there already; `VDI_NOT_IN_MAP`,
/// `SR_NOT_ATTACHED`, `VM_REQUIRES_SR`; `HOST_NOT_ENOUGH_FREE_MEMORY`.
fn assert_elsewhere(view: &View, vm: &str, host: &str, map: &BTreeMap<String, Value>) -> Result<(), Failure> {
    let vm = view.object("VM", vm)?;
    if Power::of(vm) != Power::Running {
        let state = Power::of(vm).lower();
        return Err(Failure::new("VM_BAD_POWER_STATE", [vm.reference(), "running", state]));
    }
    let target = view.object("host", host)?;
    // Parts of a host's own devices do not move, unless the vendor of the GPU knows how.
    let tied = view.follow(vm, "VGPUs", "VGPU").any(|vgpu| {
        view.find("VGPU_type", vgpu.str("type")).is_none_or(|kind| kind.str("implementation") != "nvidia")
    });
    if tied {
        return Err(Failure::new("VM_HAS_VGPU", [vm.reference()]));
    }
    if super::super::sriov::has(view, vm) {
        return Err(Failure::new("VM_HAS_SRIOV_VIF", [vm.reference()]));
    }
    for vbd in view.follow(vm, "VBDs", "VBD") {
        let Some(vdi) = vbd.ref_opt("VDI").and_then(|vdi| view.find("VDI", vdi)) else { continue };
        match map.get(vdi.reference()).map(View::text_of) {
            Some(sr) if !power::sees_sr(view, host, &sr) => {
                return Err(Failure::new("SR_NOT_ATTACHED", [sr]));
            }
            None if !map.is_empty() && !power::sees_sr(view, host, vdi.str("SR")) => {
                return Err(Failure::new("VDI_NOT_IN_MAP", [vdi.reference()]));
            }
            _ => {}
        }
    }
    if vm.str("resident_on") == host && map.is_empty() {
        return Err(Failure::new("OPERATION_NOT_ALLOWED", ["the VM is on this host already"]));
    }
    if vm.str("resident_on") == host {
        return Ok(());
    }
    match power::assert_can_run_on(view, vm, target.reference()) {
        Err(failure) if failure.code == "VM_REQUIRES_SR" && !map.is_empty() => Ok(()),
        other => other,
    }
}

async fn transfer_memory(ctx: &Ctx) -> Result<(), Failure> {
    for step in 1..=STEPS {
        if ctx.is_cancelled() {
            return Err(Failure::new("TASK_CANCELLED", [ctx.task.as_str()]));
        }
        ctx.progress(f64::from(step) / f64::from(STEPS));
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// The disks that go to another repository than they are in, and where to.
fn leaving(ctx: &Ctx, map: &BTreeMap<String, Value>) -> Result<BTreeMap<String, String>, Failure> {
    let mut leaving = BTreeMap::new();
    for (vdi, sr) in map {
        let sr = View::text_of(sr);
        if ctx.read(|view| view.object("VDI", vdi).map(|vdi| vdi.str("SR") != sr))? {
            leaving.insert(vdi.clone(), sr);
        }
    }
    Ok(leaving)
}

/// Copies a VM's disks to their new repositories, in this pool or another one. Nothing is left when one fails, but
/// all that there is when the toolstack ends: nobody is there any more to clean up. Does file work.
fn copy_disks(
    ctx: &Ctx,
    vm: &str,
    to: &Ctx,
    map: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Failure> {
    let goes_on = || {
        ctx.read(|view| {
            let vm = view.find("VM", vm);
            vm.is_some_and(|vm| vm.map("current_operations").contains_key(&ctx.task))
        })
    };
    let mut copied = BTreeMap::new();
    for (vdi, sr) in map {
        let mirror = ctx.read(|view| {
            let vm = view.object("VM", vm)?;
            let mut drives = view.follow(vm, "VBDs", "VBD");
            Ok::<_, Failure>(drives.any(|vbd| vbd.str("VDI") == vdi && vbd.str("mode") == "RW"))
        })?;
        let copy = match ctx.is_cancelled() {
            true => Err(Failure::new("TASK_CANCELLED", [ctx.task.as_str()])),
            false => vdi::copy::send(ctx, vdi, to, sr, mirror, &goes_on),
        };
        match copy {
            Ok(copy) => drop(copied.insert(vdi.clone(), copy)),
            Err(failure) => {
                if goes_on() {
                    discard_all(to, copied.values())?;
                }
                return Err(failure);
            }
        }
    }
    Ok(copied)
}

fn discard_all<'a>(ctx: &Ctx, mut vdis: impl Iterator<Item = &'a String>) -> Result<(), Failure> {
    vdis.try_for_each(|vdi| vdi::discard(ctx, vdi))
}

/// Puts the copies into the VM's drives.
fn exchange(ctx: &Ctx, vm: &str, moved: &BTreeMap<String, String>) -> Result<(), Failure> {
    ctx.write(|tx| {
        for vbd in power::refs(tx, vm, "VBDs")? {
            let vdi = tx.object("VBD", &vbd)?.str("VDI").to_owned();
            if let Some(copy) = moved.get(&vdi) {
                tx.set("VBD", &vbd, "VDI", copy.as_str())?;
                vdi::copy::mirrored(tx, copy)?;
            }
        }
        Ok(())
    })
}

/// The VM runs on the other host, in a new domain.
pub(in crate::classes) fn arrive(ctx: &Ctx, vm: &str, host: &str) -> Result<(), Failure> {
    let now = ctx.date();
    ctx.write(|tx| {
        let from = host_name(tx, tx.object("VM", vm)?);
        power::moved(tx, vm, host, &ctx.core.config().guests)?;
        let what = format!("migrated from {from} to host: {}", host_text(tx, host)?);
        about_vm(tx, vm, "VM_MIGRATED", &what, &now)
    })
}

fn host_name(tx: &Tx<'_>, vm: Object<'_>) -> String {
    tx.find("host", vm.str("resident_on")).map_or_else(String::new, |host| host.str("name_label").to_owned())
}
