//! Guests that really run: a QEMU for each running VM, where the pool was started so.
//!
//! A machine is set up before its VM's record says that it runs, and has ended before the record says that it does
//! not; what the guest does by itself (it switches itself off, restarts, crashes) gets into the record as soon as QEMU
//! tells. A record that is changed by other means (a forced reset of the power state, a revert) ends the machine.
//!
//! There are no Xen tools in such a guest: it hears its power button and nothing else, and so cannot be suspended or
//! moved.

mod hardware;
mod machine;
mod qmp;
mod serial;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use xenapi_wire::Failure;

use crate::classes::vm::by_itself;
use crate::core::Core;
use crate::dispatch::{Ctx, internal_error};
use hardware::Hardware;
use machine::Machine;
use qmp::Power;

const KVM: &str = "/dev/kvm";

/// Guests are run by QEMU.
#[derive(Debug, Clone)]
pub struct Qemu {
    /// The program: a name to be looked for in `PATH`, or a path.
    pub program: PathBuf,
    /// What runs the guests' instructions.
    pub acceleration: Acceleration,
    /// Where the serial console of each VM is recorded, as `<uuid of the VM>.log`; nowhere without.
    pub console_logs: Option<PathBuf>,
    /// How long a guest may take after its power button was pressed; 20 minutes on a real host.
    pub shutdown_timeout: Duration,
}

/// What runs the instructions of guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceleration {
    /// The processor, through KVM, where this user may and it works for QEMU; otherwise QEMU itself.
    BestAvailable,
    /// QEMU itself, some ten times slower.
    Software,
}

impl Default for Qemu {
    fn default() -> Self {
        Self {
            program: "qemu-system-x86_64".into(),
            acceleration: Acceleration::BestAvailable,
            console_logs: None,
            shutdown_timeout: Duration::from_secs(20 * 60),
        }
    }
}

impl Qemu {
    /// The program's path.
    ///
    /// # Errors
    /// When it is not installed, with the package that has it.
    pub(crate) fn find(&self) -> io::Result<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = match self.program.components().count() {
            1 => std::env::split_paths(&path).map(|dir| dir.join(&self.program)).find(|path| path.is_file()),
            _ => Some(self.program.clone()).filter(|path| path.is_file()),
        };
        found.ok_or_else(|| {
            let text = format!(
                "{} is not installed: guests are run by QEMU, which is in Debian's package qemu-system-x86",
                self.program.display()
            );
            io::Error::new(io::ErrorKind::NotFound, text)
        })
    }
}

/// The machines of a pool, by the reference of their VM.
#[derive(Debug, Default)]
pub(crate) struct Machines(Mutex<HashMap<String, Arc<Machine>>>);

impl Machines {
    fn of(&self, vm: &str) -> Option<Arc<Machine>> {
        self.lock().get(vm).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Machine>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a VM's machine away, if it is still this one.
    fn take(&self, vm: &str, machine: &Arc<Machine>) {
        let mut all = self.lock();
        if all.get(vm).is_some_and(|other| Arc::ptr_eq(other, machine)) {
            all.remove(vm);
        }
    }

    /// Kills all of them.
    pub(crate) fn end(&self) {
        for (_, machine) in std::mem::take(&mut *self.lock()) {
            machine.kill();
        }
    }
}

/// A machine that is set up and waits. Dropping it ends it.
pub(crate) struct Waiting(Option<Arc<Machine>>);

/// Sets up the machine of a VM that is about to start; nothing where guests are not run.
///
/// # Errors
/// `INTERNAL_ERROR` with what QEMU complains about.
pub(crate) async fn set_up(core: &Arc<Core>, vm: &str) -> Result<Waiting, Failure> {
    let Some(qemu) = &core.config().qemu else { return Ok(Waiting(None)) };
    let hardware = core.db().read(|view| Hardware::of(view, vm))?;
    let name = format!("{}.log", hardware.uuid);
    let log = qemu.console_logs.as_ref().map(|directory| directory.join(name));
    let machine = async {
        hardware.check()?;
        let program = qemu.find()?;
        if qemu.acceleration == Acceleration::BestAvailable && Path::new(KVM).exists() {
            match Machine::new(core, &program, &hardware, "kvm", log.as_deref()).await {
                Ok(machine) => return Ok(machine),
                Err(error) => tracing::info!(%error, "without KVM, then"),
            }
        }
        Machine::new(core, &program, &hardware, "tcg", log.as_deref()).await
    };
    let machine = machine.await.map_err(|error| failed(&error))?;
    Ok(Waiting(Some(Arc::new(machine))))
}

impl Waiting {
    /// Lets it go on, unless its VM begins paused, and follows what it does.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` when QEMU refuses.
    pub(crate) async fn begin(self, core: &Arc<Core>, vm: &str, paused: bool) -> Result<(), Failure> {
        let Some(machine) = self.0 else { return Ok(()) };
        if let Some(before) = core.machines.lock().insert(vm.to_owned(), machine.clone()) {
            before.kill();
        }
        let begun = if paused { Ok(()) } else { machine.go_on().await };
        let follower = Follower { core: Arc::downgrade(core), vm: vm.to_owned(), machine };
        tokio::spawn(follower.follow(core.db().subscribe(), core.stop.subscribe()));
        begun.map_err(|error| failed(&error))
    }
}

/// Gives a VM whose machine has ended another one. In a box: those who follow machines start others, and follow them.
pub(crate) fn start_again<'a>(
    core: &'a Arc<Core>,
    vm: &'a str,
) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>> {
    Box::pin(async move { set_up(core, vm).await?.begin(core, vm, false).await })
}

fn failed(error: &io::Error) -> Failure {
    internal_error(&format!("the guest's machine: {error}"))
}

/// Whether there are machines behind VMs at all.
pub(crate) fn is_real(core: &Core) -> bool {
    core.config().qemu.is_some()
}

/// Refuses what only Xen's tools in a guest make possible.
///
/// # Errors
/// `VM_LACKS_FEATURE`.
pub(crate) fn assert_tools(ctx: &Ctx, vm: &str) -> Result<(), Failure> {
    match ctx.core.machines.of(vm) {
        Some(_) => Err(Failure::new("VM_LACKS_FEATURE", [vm])),
        None => Ok(()),
    }
}

/// Stops the clock of a VM's machine, if it has one.
///
/// # Errors
/// `INTERNAL_ERROR` when QEMU refuses.
pub(crate) async fn pause(ctx: &Ctx, vm: &str) -> Result<(), Failure> {
    let Some(machine) = ctx.core.machines.of(vm) else { return Ok(()) };
    machine.pause().await.map_err(|error| failed(&error))
}

/// Lets it go on.
///
/// # Errors
/// `INTERNAL_ERROR` when QEMU refuses.
pub(crate) async fn unpause(ctx: &Ctx, vm: &str) -> Result<(), Failure> {
    let Some(machine) = ctx.core.machines.of(vm) else { return Ok(()) };
    machine.go_on().await.map_err(|error| failed(&error))
}

/// How a guest is to go off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is asked by its power button, and given time.
    Clean,
    /// It is not asked.
    Hard,
}

/// A VM that is being switched off by a call, which writes that down.
pub(crate) struct Off {
    machine: Arc<Machine>,
    _awaiting: machine::Awaiting,
}

/// Switches a VM's machine off, if it has one. The machine stays until [`Off::end`].
///
/// # Errors
/// `VM_SHUTDOWN_TIMEOUT` when a guest does not react, `TASK_CANCELLED`, `INTERNAL_ERROR` when QEMU refuses.
pub(crate) async fn switch_off(ctx: &Ctx, vm: &str, way: Way) -> Result<Option<Off>, Failure> {
    if way == Way::Clean && ctx.core.config().guests.ignore_requests {
        return Err(ignored(ctx, vm).await);
    }
    let Some(machine) = ctx.core.machines.of(vm) else { return Ok(None) };
    let awaiting = machine.await_off();
    if way == Way::Clean {
        let limit = ctx.core.config().qemu.as_ref().map_or(Duration::MAX, |qemu| qemu.shutdown_timeout);
        tokio::select! {
            pressed = tokio::time::timeout(limit, awaiting.press_button()) => match pressed {
                Ok(off) => off.map_err(|error| failed(&error))?,
                Err(_) => {
                    let seconds = format!("{}.", limit.as_secs());
                    return Err(Failure::new("VM_SHUTDOWN_TIMEOUT", [vm, &seconds]));
                }
            },
            () = cancelled(ctx) => return Err(Failure::new("TASK_CANCELLED", [ctx.task.as_str()])),
        }
    }
    Ok(Some(Off { machine, _awaiting: awaiting }))
}

/// How long XAPI waits for a guest that was asked to come down (`domain_shutdown_total_timeout`).
const PATIENCE: Duration = Duration::from_secs(1_200);

/// The end of a request that the guest ignores: it is cancelled, by somebody or because the domain was ended
/// by force, or XAPI's patience is over.
async fn ignored(ctx: &Ctx, vm: &str) -> Failure {
    let domain = || ctx.read(|view| view.find("VM", vm).map(|vm| vm.int("domid")));
    let (asked, mut commits) = (domain(), ctx.core.db().subscribe());
    let replaced = async { while domain() == asked && commits.changed().await.is_ok() {} };
    tokio::select! {
        () = cancelled(ctx) => {}
        () = replaced => {}
        () = ctx.core.clock().sleep(PATIENCE) => {
            return Failure::new("VM_SHUTDOWN_TIMEOUT", [vm, &format!("{}.", PATIENCE.as_secs())]);
        }
    }
    Failure::new("TASK_CANCELLED", [ctx.task.as_str()])
}

/// Waits until somebody cancels the call.
async fn cancelled(ctx: &Ctx) {
    let mut commits = ctx.core.db().subscribe();
    while !ctx.is_cancelled() {
        if commits.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Off {
    /// Ends the machine.
    pub(crate) async fn end(&self) {
        self.machine.end().await;
    }
}

/// Lets somebody at a running VM's screen or terminal, if it has a machine.
pub(crate) async fn serve_console(
    core: &Core,
    vm: &str,
    is_screen: bool,
    conn: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Option<io::Result<()>> {
    let machine = core.machines.of(vm)?;
    Some(if is_screen { machine.serve_screen(conn).await } else { machine.serve_terminal(conn).await })
}

/// What QEMU says of the machine behind a VM, by its uuid.
///
/// # Errors
/// When QEMU does not answer.
pub(crate) async fn status(core: &Core, uuid: &str) -> io::Result<Option<String>> {
    let vm = core.db().read(|view| view.by_uuid("VM", uuid).map(|vm| vm.reference().to_owned()));
    match vm.ok().and_then(|vm| core.machines.of(&vm)) {
        Some(machine) => match machine.status().await {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
            told => told.map(Some),
        },
        None => Ok(None),
    }
}

/// Who keeps a VM's record and its machine together.
struct Follower {
    core: Weak<Core>,
    vm: String,
    machine: Arc<Machine>,
}

impl Follower {
    async fn follow(self, mut commits: watch::Receiver<u64>, mut stop: watch::Receiver<bool>) {
        let (mut power, mut awaited) = (self.machine.power(), self.machine.awaited());
        loop {
            let (now, is_awaited) = (*power.borrow_and_update(), *awaited.borrow_and_update() > 0);
            let Some(core) = self.core.upgrade() else { return };
            if !by_itself::is_on(&core, &self.vm) {
                core.machines.take(&self.vm, &self.machine);
                return self.machine.end().await;
            }
            if now != Power::On && !is_awaited {
                return self.acted(&core, now).await;
            }
            drop(core);
            tokio::select! {
                _ = stop.changed() => return,
                changed = commits.changed() => if changed.is_err() { return },
                _ = awaited.changed() => {}
                // The monitor tells that it is gone, and then nothing any more.
                changed = power.changed(), if now != Power::Gone => if changed.is_err() { return },
            }
        }
    }

    /// Does what the VM's record wants to happen after what the guest has done by itself, and writes it down.
    async fn acted(self, core: &Arc<Core>, now: Power) {
        let act = match now {
            Power::On => return,
            Power::Off => by_itself::Act::SwitchedOff,
            Power::Restarting => by_itself::Act::Restarted,
            Power::Gone => by_itself::Act::Crashed,
        };
        self.machine.end().await;
        core.machines.take(&self.vm, &self.machine);
        // The next call may have come in between, and have replaced the machine.
        if core.machines.of(&self.vm).is_some() {
            return;
        }
        let mut then = by_itself::wanted(core, &self.vm, act);
        if then == by_itself::Then::GoesOn
            && let Err(failure) = start_again(core, &self.vm).await
        {
            tracing::warn!(%failure, "a guest that is to be restarted cannot be");
            then = by_itself::Then::Ends;
        }
        if let Err(failure) = by_itself::write(core, &self.vm, act, then) {
            tracing::warn!(%failure, "what a guest did by itself cannot be written down");
        }
    }
}
