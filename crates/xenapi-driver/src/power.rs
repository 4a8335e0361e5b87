//! On, off, and what lies between.

use std::time::Duration;

use xenapi_client::{Client, ErrorKind, Task};
use xenapi_types::{Call, Host, Ref, Vm, VmOperations, VmPowerState, VmRecord, vm};

use crate::cancel::Stop;
use crate::dom0_disk;
use crate::driver::Driver;
use crate::error::{Cause, Error, Op};
use crate::find::{self, Which};
use crate::inventory;
use crate::job::{Failed, Job};
use crate::operation::Operation;
use crate::ports::Ports;
use crate::progress::{Progress, Stage};
use crate::remove;
use crate::request;
use crate::soft_delete;

/// What is to become of an instance's power.
///
/// Each names an end rather than a deed: an instance that is there already is left as it is, so that a
/// call can be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PowerChange {
    /// Running, whatever it is now: started, resumed or unpaused.
    On,
    /// Halted.
    Off(Shutdown),
    /// Running after a boot; a halted instance is started.
    Reboot(Shutdown),
    /// Paused: no processor time, but all its memory.
    Pause,
    /// Running again after [`PowerChange::Pause`].
    Unpause,
    /// Suspended: its memory on disk, the host free of it. The guest has to support that.
    Suspend,
    /// Running again after [`PowerChange::Suspend`], where it was.
    Resume,
}

/// How a guest is brought down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// As pulling its plug would. What the guest has not written is lost.
    Hard,
    /// The guest is asked, and has this long to do it.
    Clean {
        /// How long it may take.
        timeout: Duration,
        /// What happens when it does not do it in time, or cannot.
        otherwise: Otherwise,
    },
}

/// What happens to a guest that does not come down by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// It is left running, and the verb fails.
    Fail,
    /// [`Shutdown::Hard`].
    Hard,
}

impl Shutdown {
    /// Nova's default: a minute, then hard.
    pub const NOVA: Self = Self::Clean { timeout: Duration::from_secs(60), otherwise: Otherwise::Hard };
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Start,
    CleanShutdown,
    HardShutdown,
    CleanReboot,
    HardReboot,
    Pause,
    Unpause,
    Suspend,
    Resume,
}

impl Step {
    fn ends_the_domain(self) -> bool {
        !matches!(self, Self::Start | Self::Pause | Self::Unpause | Self::Resume)
    }

    /// What it does to a VM, in words.
    fn of(self, vm: &VmRecord) -> String {
        let what = match self {
            Self::Start => "start VM",
            Self::CleanShutdown => "have its guest shut down VM",
            Self::HardShutdown => "switch off, without asking its guest, VM",
            Self::CleanReboot => "have its guest reboot VM",
            Self::HardReboot => "reset, without asking its guest, VM",
            Self::Pause => "pause VM",
            Self::Unpause => "unpause VM",
            Self::Suspend => "suspend VM",
            Self::Resume => "resume VM",
        };
        format!("{what} {}", vm.uuid)
    }
}

/// How a VM that may run is brought down and up again around `steps`, in words.
pub(crate) fn around(vm: &VmRecord, shutdown: Shutdown, inner: Vec<String>) -> Vec<String> {
    let down = steps(vm, PowerChange::Off(shutdown)).unwrap_or_default();
    let up = if down.is_empty() { None } else { Some(format!("start VM {}", vm.uuid)) };
    down.into_iter().map(|step| step.of(vm)).chain(inner).chain(up).collect()
}

impl Driver {
    /// Brings an instance of this driver into a power state, and returns the one that it is in.
    ///
    /// A start goes to the host that the VM prefers, or to any that can run it.
    ///
    /// Cancelling ends a wait for the guest; what XAPI has begun it may carry out nevertheless. Nothing
    /// is undone.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::NotOurs`]; [`Cause::WrongState`] before anything is done, when
    /// no way leads from where the instance is (a suspended guest cannot be rebooted);
    /// [`Cause::GuestStays`] when the guest did not come down and was not to be forced; [`Cause::NoAnswer`] when the host has not
    /// switched it off or reset it within [`Settings::detach_timeout`](crate::Settings::detach_timeout), as when storage hangs: it
    /// may do so later, and the same call can be made again; [`Cause::Host`].
    pub fn power(&self, which: Which, power: PowerChange, progress: Progress) -> Operation<VmPowerState> {
        let object = format!("instance {which}");
        let job = Job::new(self.clone(), progress);
        let name = object.clone();
        Operation::start(&self.0.running, Op::Power, object, move |stop| async move {
            let result = body(&job, &which, power, &stop).await;
            result.map_err(|Failed { stage, cause }| Error::new(Op::Power, name, stage, cause))
        })
    }
}

async fn body(job: &Job, which: &Which, power: PowerChange, stop: &Stop) -> Result<VmPowerState, Failed> {
    let (vm, record) = job.stage(Stage::Find, find::ours(job, which)).await?;
    let _gate = match record.power_state {
        // XAPI would start it while its disk is worked on.
        VmPowerState::Halted | VmPowerState::Suspended => {
            Some(job.turn(&dom0_disk::gate(&record.uuid), stop).await?)
        }
        _ => None,
    };
    let steps = job.stage(Stage::Plan, async { steps(&record, power) }).await?;
    job.would(|| steps.iter().map(|step| step.of(&record)).collect())?;
    job.stage(Stage::Power, async {
        change(job, &vm, &record, power, stop).await?;
        let state = job.client().get_field(&vm, vm::field::POWER_STATE).await;
        let state =
            state.map_err(Cause::host(format!("asking for the power state of VM {}", record.uuid)))?;
        if state == VmPowerState::Running {
            begun(job, &vm, stop).await?;
        }
        Ok(state)
    })
    .await
}

/// Brings a VM from where its record says it is to where it is to be.
pub(crate) async fn change(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    power: PowerChange,
    stop: &Stop,
) -> Result<(), Cause> {
    let steps = steps(record, power)?;
    if steps.iter().any(|step| step.ends_the_domain()) {
        note_last_domain(job, vm, record).await;
    }
    for step in steps {
        stop.check()?;
        tracing::info!(vm = record.uuid, ?step, "changing power");
        take(job, vm, record, step, power, stop).await?;
    }
    Ok(())
}

/// What leads from the state that a VM is in to the one that is wanted.
fn steps(record: &VmRecord, power: PowerChange) -> Result<Vec<Step>, Cause> {
    use VmPowerState::{Halted, Paused, Running, Suspended};
    let clean = |shutdown| matches!(shutdown, Shutdown::Clean { .. });
    let may_force = |shutdown| !matches!(shutdown, Shutdown::Clean { otherwise: Otherwise::Fail, .. });
    let wrong = |remedy| {
        let state = record.power_state.to_string();
        Err(Cause::WrongState { vm: record.uuid.clone(), state, remedy })
    };
    Ok(match (power, &record.power_state) {
        (PowerChange::On, Running) | (PowerChange::Unpause | PowerChange::Resume, Running) => vec![],
        (PowerChange::Off(_), Halted) | (PowerChange::Pause, Paused) | (PowerChange::Suspend, Suspended) => {
            vec![]
        }
        (PowerChange::On | PowerChange::Reboot(_), Halted) if soft_delete::is(record) => {
            let (vm, state) = (record.uuid.clone(), "soft-deleted".to_owned());
            return Err(Cause::WrongState { vm, state, remedy: "restore it first" });
        }
        (PowerChange::On | PowerChange::Reboot(_), Halted) => vec![Step::Start],
        (PowerChange::On | PowerChange::Unpause, Paused) => vec![Step::Unpause],
        (PowerChange::On | PowerChange::Resume, Suspended) => vec![Step::Resume],
        (PowerChange::Off(shutdown), Running) if clean(shutdown) => vec![Step::CleanShutdown],
        (PowerChange::Reboot(shutdown), Running) if clean(shutdown) => vec![Step::CleanReboot],
        // A guest without processor time cannot come down by itself.
        (PowerChange::Off(shutdown), Paused | Running) if may_force(shutdown) => vec![Step::HardShutdown],
        (PowerChange::Reboot(shutdown), Paused | Running) if may_force(shutdown) => vec![Step::HardReboot],
        (PowerChange::Off(_) | PowerChange::Reboot(_), Paused) => {
            return wrong("unpause it first, or use a hard shutdown");
        }
        // Its memory would be thrown away: only when that was asked for in so many words.
        (PowerChange::Off(Shutdown::Hard), Suspended) => vec![Step::HardShutdown],
        (PowerChange::Off(_), Suspended) => {
            return wrong("resume it first, or use a hard shutdown, which throws its memory away");
        }
        (PowerChange::Reboot(_), Suspended) => return wrong("resume it first"),
        (PowerChange::Pause, Running) => vec![Step::Pause],
        (PowerChange::Suspend, Running) => vec![Step::Suspend],
        (PowerChange::Unpause, _) => return wrong("only a paused instance can be unpaused"),
        (PowerChange::Resume, _) => return wrong("only a suspended instance can be resumed"),
        (PowerChange::Pause | PowerChange::Suspend, _) => return wrong("switch it on first"),
        (_, _) => return wrong("look at it with the host's own tools"),
    })
}

async fn take(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    step: Step,
    power: PowerChange,
    stop: &Stop,
) -> Result<(), Cause> {
    let uuid = &record.uuid;
    let vm = || vm.clone();
    match step {
        Step::Start => start(job, record, vm(), stop).await,
        // Their memory takes its time.
        Step::Resume => {
            let call = vm::Resume { vm: vm(), start_paused: false, force: false };
            job.run(call, format!("resuming VM {uuid}"), Stage::Power, stop).await
        }
        Step::Suspend => {
            job.run(vm::Suspend { vm: vm() }, format!("suspending VM {uuid}"), Stage::Power, stop).await
        }
        Step::Pause => run(job, vm::Pause { vm: vm() }, format!("pausing VM {uuid}"), stop).await,
        Step::Unpause => run(job, vm::Unpause { vm: vm() }, format!("unpausing VM {uuid}"), stop).await,
        Step::HardShutdown => hard_shutdown(job, vm(), record, stop).await,
        Step::HardReboot => hard_reboot(job, vm(), record, stop).await,
        Step::CleanShutdown | Step::CleanReboot => {
            let (PowerChange::Off(Shutdown::Clean { timeout, otherwise })
            | PowerChange::Reboot(Shutdown::Clean { timeout, otherwise })) = power
            else {
                return Ok(());
            };
            let reboot = step == Step::CleanReboot;
            let asked = if reboot {
                let doing = format!("rebooting VM {uuid}");
                ask(job, vm::CleanReboot { vm: vm() }, doing, timeout, stop).await?
            } else {
                let doing = format!("shutting VM {uuid} down");
                ask(job, vm::CleanShutdown { vm: vm() }, doing, timeout, stop).await?
            };
            match (asked, otherwise) {
                (None, _) => Ok(()),
                (Some(_), Otherwise::Hard) if reboot => hard_reboot(job, vm(), record, stop).await,
                (Some(_), Otherwise::Hard) => hard_shutdown(job, vm(), record, stop).await,
                (Some(reason), Otherwise::Fail) => Err(Cause::GuestStays { vm: uuid.clone(), reason }),
            }
        }
    }
}

/// On the host that the VM prefers, if there is one that is up; else wherever XAPI finds room.
async fn start(job: &Job, record: &VmRecord, vm: Ref<Vm>, stop: &Stop) -> Result<(), Cause> {
    let doing = format!("starting VM {}", record.uuid);
    let takes_guests = match takes_guests(job.client(), &record.affinity).await {
        Ok(takes_guests) => takes_guests,
        Err(error) => return Err(Cause::host(doing)(error)),
    };
    // Who keeps it from being started means so wherever that is: only `VM.start` refuses in his words.
    if takes_guests && !record.blocked_operations.contains_key(&VmOperations::Start) {
        let host = record.affinity.clone();
        run(job, vm::StartOn { vm, host, start_paused: false, force: false }, doing, stop).await
    } else {
        run(job, vm::Start { vm, start_paused: false, force: false }, doing, stop).await
    }
}

/// Whether there is such a host, and it takes guests: one that has died stays enabled.
async fn takes_guests(client: &Client, host: &Ref<Host>) -> xenapi_client::Result<bool> {
    let Some(host) = client.record_opt(host).await?.filter(|host| host.enabled) else { return Ok(false) };
    Ok(!inventory::is_dead(client, &host.metrics).await?)
}

/// A host whose storage does not answer may wait for it for ever.
async fn hard_shutdown(job: &Job, vm: Ref<Vm>, record: &VmRecord, stop: &Stop) -> Result<(), Cause> {
    let (doing, patience) = (remove::switching_off(record), job.driver.settings().detach_timeout);
    match job.within(vm::HardShutdown { vm }, doing, patience, stop).await {
        // It came down by itself in the meantime.
        Err(cause) if is_halted(&cause) => Ok(()),
        other => other,
    }
}

async fn hard_reboot(job: &Job, vm: Ref<Vm>, record: &VmRecord, stop: &Stop) -> Result<(), Cause> {
    let (doing, patience) = (format!("resetting VM {}", record.uuid), job.driver.settings().detach_timeout);
    match job.within(vm::HardReboot { vm: vm.clone() }, doing, patience, stop).await {
        // It came down instead of coming back.
        Err(cause) if is_halted(&cause) => start(job, record, vm, stop).await,
        other => other,
    }
}

/// `VM_BAD_POWER_STATE [vm, expected, halted]`.
fn is_halted(cause: &Cause) -> bool {
    let Cause::Host { source, .. } = cause else { return false };
    source.failure().is_some_and(|failure| {
        failure.code == "VM_BAD_POWER_STATE"
            && failure.params.last().is_some_and(|state| state.eq_ignore_ascii_case("halted"))
    })
}

/// Asks the guest. `None` when it did it; else why not.
async fn ask<C: Call<Output = ()>>(
    job: &Job,
    call: C,
    doing: String,
    timeout: Duration,
    stop: &Stop,
) -> Result<Option<String>, Cause> {
    let task = match job.client().spawn_task(call).await {
        Ok(task) => task,
        Err(error) if error.kind() == ErrorKind::Failure => return Ok(Some(error.to_string())),
        Err(error) => return Err(Cause::host(doing)(error)),
    };
    let reference = task.reference().clone();
    request::mark(job, &reference).await;
    let wait = task.wait();
    tokio::pin!(wait);
    let answered = tokio::select! {
        answered = stop.guard(&mut wait) => Some(answered),
        () = tokio::time::sleep(timeout) => None,
    };
    let cancel = || Task::<()>::attach(job.client(), reference, "a clean shutdown");
    match answered {
        Some(Ok(Ok(()))) => Ok(None),
        // XAPI answered: the guest cannot, or did not within XAPI's own patience.
        Some(Ok(Err(error))) if error.kind() == ErrorKind::Failure => Ok(Some(error.to_string())),
        Some(Ok(Err(error))) => Err(Cause::host(doing)(error)),
        Some(Err(stopped)) => {
            let _ = give_up(job, &cancel(), wait).await;
            Err(stopped.into())
        }
        None => match give_up(job, &cancel(), wait).await {
            Some(Ok(())) => Ok(None),
            _ => Ok(Some(format!("it did not come down within {} s", timeout.as_secs()))),
        },
    }
}

/// Runs a call as a task to its end. When it is to stop, the task is cancelled, and its end awaited, as nothing else can be
/// done with the VM before; but not for ever, as a host that hangs may never end it.
pub(crate) async fn run<C: Call<Output = ()>>(
    job: &Job,
    call: C,
    doing: String,
    stop: &Stop,
) -> Result<(), Cause> {
    run_then(job, call, async {}, doing, stop).await
}

/// [`run`], and what comes next without a wait for the task to be tidied away.
pub(crate) async fn run_then<C: Call<Output = ()>, T>(
    job: &Job,
    call: C,
    next: impl Future<Output = T>,
    doing: String,
    stop: &Stop,
) -> Result<T, Cause> {
    let task = job.client().spawn_task(call).await.map_err(Cause::host(&*doing))?;
    let cancel = Task::<()>::attach(job.client(), task.reference().clone(), C::METHOD);
    let wait = task.wait_then(async |()| next.await);
    tokio::pin!(wait);
    match stop.guard(&mut wait).await {
        Ok(result) => result.map_err(Cause::host(doing)),
        Err(stopped) => {
            let _ = give_up(job, &cancel, wait).await;
            Err(stopped.into())
        }
    }
}

/// Cancels a task, and waits for its end as long as a host may take to let go of something: nothing when it does not end.
pub(crate) async fn give_up<T>(job: &Job, task: &Task<()>, wait: impl Future<Output = T>) -> Option<T> {
    let patience = job.driver.settings().detach_timeout;
    let ending = async {
        if let Err(error) = task.cancel().await {
            tracing::debug!(%error, "the task cannot be cancelled");
        }
        wait.await
    };
    let ended = tokio::time::timeout(patience, ending).await.ok();
    if ended.is_none() {
        tracing::warn!(task = %task.reference(), "the host goes on with what was cancelled");
    }
    ended
}

/// A guest has begun to run on a host: its domain is noted, and its ports get their bridges where that is asked for.
pub(crate) async fn begun(job: &Job, vm: &Ref<Vm>, stop: &Stop) -> Result<(), Cause> {
    note_domain(job, vm).await?;
    ports_up(job, vm, stop).await
}

/// A guest's ports get their bridges on the host where it runs, where that is asked for.
async fn ports_up(job: &Job, vm: &Ref<Vm>, stop: &Stop) -> Result<(), Cause> {
    if job.driver.settings().integration_bridge.is_none() {
        return Ok(());
    }
    let record = job.client().record(vm).await.map_err(Cause::host("asking where the guest runs"))?;
    Ports::of(&job.driver, &record, &record.resident_on).await?.up(stop).await
}

/// Console logs in dom0 are named by the domain, which is unknown once the guest has stopped.
async fn note_domain(job: &Job, vm: &Ref<Vm>) -> Result<(), Cause> {
    let domid = job.client().get_field(vm, vm::field::DOMID).await;
    note_domid(job.client(), vm, domid.map_err(Cause::host("asking for the guest's domain"))?).await
}

/// [`note_domain`], where the domain is known.
pub(crate) async fn note_domid(client: &Client, vm: &Ref<Vm>, domid: i64) -> Result<(), Cause> {
    let noted = client.put_in(vm, vm::field::OTHER_CONFIG, LAST_DOMID, &domid.to_string()).await;
    noted.map_err(Cause::host("noting the guest's domain"))
}

/// The domain of a guest that is about to have none, if nobody has noted it: it may have rebooted by itself. Its log is no reason
/// to leave it running.
async fn note_last_domain(job: &Job, vm: &Ref<Vm>, record: &VmRecord) {
    if record.domid < 0 || record.other_config.get(LAST_DOMID) == Some(&record.domid.to_string()) {
        return;
    }
    if let Err(error) = note_domid(job.client(), vm, record.domid).await {
        tracing::warn!(vm = record.uuid, %error, "its console's log will not be found once it is off");
    }
}

/// Nova's key, too.
pub(crate) const LAST_DOMID: &str = "last_dom_id";

/// [`note_domid`] of a guest that has just been made.
pub(crate) async fn note_first_domid(job: &Job, vm: &Ref<Vm>, domid: i64) -> Result<(), Cause> {
    let noted = job.client().add_to(vm, vm::field::OTHER_CONFIG, LAST_DOMID, domid.to_string()).await;
    match noted {
        // It has been started a second time already, by somebody else.
        Err(error) if error.is("MAP_DUPLICATE_KEY") => note_domid(job.client(), vm, domid).await,
        noted => noted.map_err(Cause::host("noting the guest's domain")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: Shutdown = Shutdown::Clean { timeout: Duration::from_secs(1), otherwise: Otherwise::Fail };

    #[track_caller]
    fn check(state: VmPowerState, power: PowerChange, wanted: Option<&[Step]>) {
        let mut record = VmRecord::default();
        record.power_state = state;
        let found = steps(&record, power);
        match (&found, wanted) {
            (Ok(found), Some(wanted)) => assert_eq!(found, wanted),
            (Err(Cause::WrongState { .. }), None) => {}
            _ => panic!("{found:?}, not {wanted:?}"),
        }
    }

    #[test]
    fn ways() {
        use VmPowerState::{Halted, Paused, Running, Suspended};
        for (power, halted, running, paused, suspended) in [
            (PowerChange::On, Some(Step::Start), None, Some(Step::Unpause), Some(Step::Resume)),
            (
                PowerChange::Off(Shutdown::Hard),
                None,
                Some(Step::HardShutdown),
                Some(Step::HardShutdown),
                Some(Step::HardShutdown),
            ),
        ] {
            for (state, step) in
                [(Halted, halted), (Running, running), (Paused, paused), (Suspended, suspended)]
            {
                check(state, power, Some(step.as_slice()));
            }
        }
        check(Running, PowerChange::Off(CLEAN), Some(&[Step::CleanShutdown]));
        check(Paused, PowerChange::Off(CLEAN), None);
        check(Paused, PowerChange::Off(Shutdown::NOVA), Some(&[Step::HardShutdown]));
        check(Suspended, PowerChange::Off(Shutdown::NOVA), None);
        check(Halted, PowerChange::Reboot(CLEAN), Some(&[Step::Start]));
        check(Running, PowerChange::Reboot(Shutdown::NOVA), Some(&[Step::CleanReboot]));
        check(Running, PowerChange::Reboot(Shutdown::Hard), Some(&[Step::HardReboot]));
        check(Suspended, PowerChange::Reboot(Shutdown::Hard), None);
        check(Halted, PowerChange::Pause, None);
        check(Paused, PowerChange::Pause, Some(&[]));
        check(Suspended, PowerChange::Unpause, None);
        check(Running, PowerChange::Suspend, Some(&[Step::Suspend]));
        check(Suspended, PowerChange::Suspend, Some(&[]));
        check(Halted, PowerChange::Resume, None);
    }
}
