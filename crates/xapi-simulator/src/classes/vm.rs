//! `VM`.

mod attributes;
pub(crate) mod by_itself;
mod copy;
mod guests;
mod image;
mod inside;
mod lifecycle;
mod memory;
mod metadata;
pub(super) mod migrate;
pub(super) mod operations;
mod pools;
pub(super) mod power;
mod questions;
mod setters;
mod snapshot;

use std::sync::Arc;
use std::time::Duration;

use xenapi_wire::{DateTime, Failure, Value};

pub use guests::Guests;
pub(super) use lifecycle::derive;
pub(crate) use lifecycle::{destroy, new_metrics};
pub(crate) use power::{new_generation_id, power_failed};

use super::message::about_vm;
use crate::db::Tx;
use crate::dispatch::{Busy, Ctx, Router, internal_error, void};
use crate::guest::{self, Way};
use operations::Power;

pub(super) fn register(router: &mut Router) {
    router.raw("VM.create", |ctx, args| lifecycle::create(ctx, args));
    router.future("VM.destroy", |ctx, args| async move {
        let _busy = begin(&ctx, args.str(0), "destroy").await?;
        ctx.write(|tx| lifecycle::remove(tx, args.str(0)))?;
        Ok(void())
    });
    router.future("VM.start", |ctx, args| async move {
        let vm = args.str(0).to_owned();
        let _busy = begin(&ctx, &vm, "start").await?;
        start(&ctx, &vm, None, args.bool(1)).await
    });
    router.future("VM.start_on", |ctx, args| async move {
        let vm = args.str(0).to_owned();
        let _busy = begin(&ctx, &vm, "start_on").await?;
        start(&ctx, &vm, Some(args.str(1)), args.bool(2)).await
    });
    router.future("VM.resume", |ctx, args| async move {
        let vm = args.str(0).to_owned();
        let _busy = begin(&ctx, &vm, "resume").await?;
        resume(&ctx, &vm, None, args.bool(1))
    });
    router.future("VM.resume_on", |ctx, args| async move {
        let vm = args.str(0).to_owned();
        let _busy = begin(&ctx, &vm, "resume_on").await?;
        resume(&ctx, &vm, Some(args.str(1)), args.bool(2))
    });
    router.raw("VM.power_state_reset", |ctx, args| {
        ctx.write(|tx| {
            if tx.object("VM", args.str(0))?.bool("is_control_domain") {
                return Err(Failure::new("CANNOT_RESET_CONTROL_DOMAIN", [args.str(0)]));
            }
            power::halted(tx, args.str(0), &ctx.core.config().guests)
        })?;
        Ok(void())
    });
    changes_of_state(router);
    copy::register(router);
    migrate::register(router);
    snapshot::register(router);
    attributes::register(router);
    inside::register(router);
    questions::register(router);
    setters::register(router);
}

/// Calls whose only argument is the VM.
fn changes_of_state(router: &mut Router) {
    simple(router, "VM.pause", "pause", |ctx, vm| async move {
        guest::pause(&ctx, &vm).await?;
        change(&ctx, &vm, Power::Paused, "VM_PAUSED", "paused")
    });
    simple(router, "VM.unpause", "unpause", |ctx, vm| async move {
        guest::unpause(&ctx, &vm).await?;
        change(&ctx, &vm, Power::Running, "VM_UNPAUSED", "unpaused")
    });
    simple(router, "VM.clean_reboot", "clean_reboot", |ctx, vm| async move {
        reboot(&ctx, &vm, Way::Clean, "rebooted cleanly").await
    });
    simple(router, "VM.hard_reboot", "hard_reboot", |ctx, vm| async move {
        reboot(&ctx, &vm, Way::Hard, "rebooted forcibly").await
    });
    simple(router, "VM.clean_shutdown", "clean_shutdown", |ctx, vm| async move {
        shut_down(&ctx, &vm, Way::Clean, "shutdown").await
    });
    simple(router, "VM.hard_shutdown", "hard_shutdown", |ctx, vm| async move {
        shut_down(&ctx, &vm, Way::Hard, "shutdown forcibly").await?;
        ctx.cancel_points(CANCEL_POINTS_OF_HARD_SHUTDOWN);
        Ok(())
    });
    simple(router, "VM.shutdown", "shutdown", |ctx, vm| async move {
        let suspended =
            ctx.read(|view| Ok::<_, Failure>(Power::of(view.object("VM", &vm)?) == Power::Suspended))?;
        match suspended {
            true => shut_down(&ctx, &vm, Way::Hard, "shutdown forcibly").await,
            false => shut_down(&ctx, &vm, Way::Clean, "shutdown").await,
        }
    });
    simple(router, "VM.suspend", "suspend", |ctx, vm| async move { suspend(&ctx, &vm) });
}

/// Registers a call whose only argument is the VM.
fn simple<F>(
    router: &mut Router,
    method: &'static str,
    op: &'static str,
    work: impl Fn(Arc<Ctx>, String) -> F + Copy + Send + Sync + 'static,
) where
    F: Future<Output = Result<(), Failure>> + Send,
{
    router.future(method, move |ctx, args| async move {
        let _busy = begin(&ctx, args.str(0), op).await?;
        work(ctx, args.str(0).to_owned()).await?;
        Ok(void())
    });
}

/// How long XAPI lets a call wait for another one on the same object.
const PATIENCE: Duration = Duration::from_secs(2 * 60 * 60);

/// Checks an operation and announces it in `current_operations`.
///
/// While another operation is in the way the call waits, as XAPI lets it: only then, and for up to two hours.
pub(crate) async fn begin(ctx: &Arc<Ctx>, vm: &str, op: &'static str) -> Result<Busy, Failure> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut commits = ctx.core.db().subscribe();
    loop {
        commits.borrow_and_update();
        let checked = ctx.write(|tx| {
            operations::check(tx.object("VM", vm)?, op, None)?;
            tx.set_entry("VM", vm, "current_operations", &ctx.task, op)?;
            tx.leave("VM", vm);
            Ok::<_, Failure>(())
        });
        match checked {
            Ok(()) => {
                let busy = ctx.announced("VM", vm);
                // What is allowed now is a change of its own, which clients see after the announcement.
                ctx.write(|tx| {
                    tx.touch("VM", vm);
                    Ok::<_, Failure>(())
                })?;
                return Ok(busy);
            }
            Err(failure) if failure.code == "OTHER_OPERATION_IN_PROGRESS" => {
                let change = tokio::time::timeout_at(deadline, commits.changed()).await;
                if change.is_err() {
                    return Err(failure);
                }
            }
            Err(failure) => return Err(failure),
        }
    }
}

fn host_text(view: &crate::db::View, host: &str) -> Result<String, Failure> {
    let host = view.object("host", host)?;
    Ok(format!("{} (uuid: {})", host.str("name_label"), host.str("uuid")))
}

/// Recorded of a VM without devices. What each of them adds is not known, and so nothing is added.
const CANCEL_POINTS_OF_START: u32 = 5;
/// The same of a shutdown by force.
const CANCEL_POINTS_OF_HARD_SHUTDOWN: u32 = 6;

async fn start(ctx: &Ctx, vm: &str, on: Option<&str>, paused: bool) -> Result<Value, Failure> {
    if guest::is_real(&ctx.core) {
        ctx.read(|view| {
            choose_host(view, vm, on)?;
            power::assert_disks_free(view, view.object("VM", vm)?)
        })?;
    }
    let machine = guest::set_up(&ctx.core, vm).await?;
    let now = ctx.date();
    let refused = ctx.write(|tx| {
        let host = choose_host(tx, vm, on)?;
        let object = tx.object("VM", vm)?;
        power::assert_disks_free(tx, object)?;
        if let Err(failure) = power::assert_can_boot(object) {
            // By then the VM has been given to its host, and nobody takes it back.
            tx.set("VM", vm, "resident_on", host)?;
            return Ok::<_, Failure>(Some(failure));
        }
        if !tx.exists("VM_metrics", object.str("metrics")) {
            // XAPI cannot store what it hears of the domain, and so goes on to believe that there is none.
            return Ok(None);
        }
        let state = if paused { Power::Paused } else { Power::Running };
        power::started(tx, vm, &host, state, &ctx.core.config().guests, &now)?;
        let what = format!("started on host: {}", host_text(tx, &host)?);
        about_vm(tx, vm, "VM_STARTED", &what, &now)?;
        if ctx.core.config().guests.crash_at_boot {
            power::halted(tx, vm, &ctx.core.config().guests)?;
        }
        Ok(None)
    })?;
    if let Some(failure) = refused {
        return Err(failure);
    }
    machine.begin(&ctx.core, vm, paused).await?;
    ctx.cancel_points(CANCEL_POINTS_OF_START);
    Ok(void())
}

fn choose_host(view: &crate::db::View, vm: &str, on: Option<&str>) -> Result<String, Failure> {
    let vm = view.object("VM", vm)?;
    match on {
        Some(host) => power::assert_can_run_on(view, vm, host).map(|()| host.to_owned()),
        None => power::possible_hosts(view, vm)
            .into_iter()
            .next()
            .ok_or_else(|| Failure::new("NO_HOSTS_AVAILABLE", [""; 0])),
    }
}

fn change(ctx: &Ctx, vm: &str, state: Power, message: &str, what: &str) -> Result<(), Failure> {
    let now = ctx.date();
    ctx.write(|tx| {
        power::set_state(tx, vm, state)?;
        about_vm(tx, vm, message, what, &now)
    })
}

async fn reboot(ctx: &Ctx, vm: &str, way: Way, what: &str) -> Result<(), Failure> {
    let (off, guests) = (guest::switch_off(ctx, vm, way).await?, &ctx.core.config().guests);
    if let Some(off) = &off {
        off.end().await;
        if let Err(failure) = guest::start_again(&ctx.core, vm).await {
            let now = ctx.date();
            ctx.write(|tx| halted(tx, vm, "VM_SHUTDOWN", "shutdown", guests, &now))?;
            return Err(failure);
        }
    }
    let now = ctx.date();
    ctx.write(|tx| restarted(tx, vm, what, guests, &now))
}

/// The VM runs in a new domain.
fn restarted(tx: &mut Tx<'_>, vm: &str, what: &str, guests: &Guests, now: &DateTime) -> Result<(), Failure> {
    let metrics = tx.object("VM", vm)?.str("metrics").to_owned();
    if tx.exists("VM_metrics", &metrics) {
        tx.set("VM_metrics", &metrics, "start_time", Value::DateTime(now.clone()))?;
    }
    if !guests.keep_domain {
        let host = tx.object("VM", vm)?.str("resident_on").to_owned();
        let domid = power::new_domid(tx, &host, guests);
        tx.set("VM", vm, "domid", Value::Int(domid))?;
    }
    power::set_state(tx, vm, Power::Running)?;
    about_vm(tx, vm, "VM_REBOOTED", what, now)
}

async fn shut_down(ctx: &Ctx, vm: &str, way: Way, what: &str) -> Result<(), Failure> {
    let off = guest::switch_off(ctx, vm, way).await?;
    if let Some(off) = &off {
        off.end().await;
        if !by_itself::is_on(&ctx.core, vm) {
            // Somebody else was faster, by force.
            return Ok(());
        }
    }
    let now = ctx.date();
    let image = ctx.write(|tx| {
        let image = image::take_off(tx, vm)?;
        halted(tx, vm, "VM_SHUTDOWN", what, &ctx.core.config().guests, &now)?;
        Ok::<_, Failure>(image)
    })?;
    image::discard(ctx, image.as_deref());
    Ok(())
}

fn halted(
    tx: &mut Tx<'_>,
    vm: &str,
    message: &str,
    what: &str,
    guests: &Guests,
    now: &DateTime,
) -> Result<(), Failure> {
    power::halted(tx, vm, guests)?;
    about_vm(tx, vm, message, what, now)
}

fn suspend(ctx: &Ctx, vm: &str) -> Result<(), Failure> {
    lay_down(ctx, vm)?;
    let now = ctx.date();
    ctx.write(|tx| about_vm(tx, vm, "VM_SUSPENDED", "suspended", &now))
}

/// The memory goes to a disk.
fn lay_down(ctx: &Ctx, vm: &str) -> Result<(), Failure> {
    guest::assert_tools(ctx, vm)?;
    let image = image::make(ctx, vm)?;
    let laid = ctx.write(|tx| power::suspended(tx, vm, &image));
    if laid.is_err() {
        image::discard(ctx, Some(&image));
    }
    laid
}

fn resume(ctx: &Ctx, vm: &str, on: Option<&str>, paused: bool) -> Result<Value, Failure> {
    if guest::is_real(&ctx.core) {
        let text =
            "the VM was suspended where guests are not run: its memory is empty; shut it down by force";
        return Err(internal_error(text));
    }
    let now = ctx.date();
    let image = ctx.write(|tx| {
        let host = choose_host(tx, vm, on)?;
        let image = wake(tx, vm, &host, paused, &ctx.core.config().guests, &now)?;
        let what = format!("resumed on host: {}", host_text(tx, &host)?);
        about_vm(tx, vm, "VM_RESUMED", &what, &now)?;
        Ok::<_, Failure>(image)
    })?;
    image::discard(ctx, image.as_deref());
    Ok(void())
}

/// A suspended VM goes on, on this host. Gives the disk that had its memory.
fn wake(
    tx: &mut Tx<'_>,
    vm: &str,
    host: &str,
    paused: bool,
    guests: &Guests,
    now: &DateTime,
) -> Result<Option<String>, Failure> {
    let state = if paused { Power::Paused } else { Power::Running };
    power::started(tx, vm, host, state, guests, now)?;
    image::take_off(tx, vm)
}
