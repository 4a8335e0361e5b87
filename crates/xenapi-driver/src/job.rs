//! What every verb that changes something works with.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OnceCell, OwnedMutexGuard};
use uuid::Uuid;
use xenapi_client::{Client, ErrorKind, Route, Task};
use xenapi_storage::{Repository, ownership};
use xenapi_types::{Call, Ref, Sr, Vdi, vdi};

use crate::cancel::{Stop, Stopped};
use crate::driver::Driver;
use crate::error::{Cause, Error, Op};
use crate::operation::Operation;
use crate::plan::DiskPlan;
use crate::power;
use crate::progress::{Event, Progress, Stage};
use crate::record;
use crate::remove::{self, Dom0};
use crate::rollback::{Leftover, Rollback};

/// One call of a verb.
pub(crate) struct Job {
    pub(crate) driver: Driver,
    pub(crate) operation: Uuid,
    pub(crate) rollback: Rollback,
    pub(crate) progress: Progress,
    /// The way to the disks of an SR, once somebody has asked.
    routes: Mutex<BTreeMap<Ref<Sr>, Arc<OnceCell<Route>>>>,
    _active: Active,
}

/// Notes, as long as it lives, that an operation is under way in this program.
pub(crate) struct Active(Driver, Uuid);

impl Active {
    pub(crate) fn new(driver: &Driver, operation: Uuid) -> Self {
        driver.0.active().insert(operation);
        Self(driver.clone(), operation)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.0.active().remove(&self.1);
    }
}

/// A stage that failed.
pub(crate) struct Failed {
    pub(crate) stage: Stage,
    pub(crate) cause: Cause,
}

/// Between two stages: while it waited for its turn.
impl From<Stopped> for Failed {
    fn from(stopped: Stopped) -> Self {
        Self { stage: Stage::Find, cause: stopped.into() }
    }
}

/// A disk that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) reference: Ref<Vdi>,
    pub(crate) sr: Ref<Sr>,
    pub(crate) uuid: String,
    /// In bytes, as the SR made it: never less than asked for.
    pub(crate) virtual_bytes: u64,
}

/// How long a cancelled task is waited for.
const GRACE: Duration = Duration::from_secs(2);

/// A future on the heap, without a place in the frame of whoever makes it: in a debug build each that is made in a
/// function has one of its own there, and a verb with all its parts would overflow the stack of a worker thread.
#[inline(never)]
pub(crate) fn heap<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::pin(make())
}

/// What a verb does, as [`Driver::verb`] takes it.
pub(crate) type Body<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failed>> + Send + 'a>>;

impl Driver {
    /// Runs a verb in a task of its own. When it fails, what is on its job's undo stack is undone.
    pub(crate) fn verb<T: Send + 'static>(
        &self,
        op: Op,
        object: String,
        progress: Progress,
        body: impl for<'a> FnOnce(&'a Job, &'a Stop) -> Body<'a, T> + Send + 'static,
    ) -> Operation<T> {
        let (job, name) = (Job::new(self.clone(), progress), object.clone());
        Operation::start(&self.0.running, op, object, move |stop| async move {
            match body(&job, &stop).await {
                Ok(value) => {
                    job.rollback.commit();
                    Ok(value)
                }
                Err(Failed { stage, cause }) => {
                    let leftovers = job.rollback.undo(&job.progress).await;
                    Err(Error::new(op, name, stage, cause).with_leftovers(leftovers))
                }
            }
        })
    }
}

/// The result of a verb that takes back what it made even when it succeeds.
pub(crate) trait Leaves {
    /// Takes what could not be taken back.
    fn leave(&mut self, leftovers: Vec<Leftover>);
}

impl Driver {
    /// As [`Driver::verb`], for what is only made on the way to the result.
    pub(crate) fn passing<T: Leaves + Send + 'static>(
        &self,
        op: Op,
        object: String,
        progress: Progress,
        body: impl for<'a> FnOnce(&'a Job, &'a Stop) -> Body<'a, T> + Send + 'static,
    ) -> Operation<T> {
        let (job, name) = (Job::new(self.clone(), progress), object.clone());
        Operation::start(&self.0.running, op, object, move |stop| async move {
            match body(&job, &stop).await {
                Ok(mut value) => {
                    value.leave(job.rollback.undo(&Progress::none()).await);
                    Ok(value)
                }
                Err(Failed { stage, cause }) => {
                    let leftovers = job.rollback.undo(&job.progress).await;
                    Err(Error::new(op, name, stage, cause).with_leftovers(leftovers))
                }
            }
        })
    }
}

/// Runs a call as a task that may take so long. After that, and when it is to stop, the task is cancelled,
/// but its end is awaited only for a moment: what it waits for may never come. One that ends well in that
/// moment has ended well.
pub(crate) async fn within<C: Call>(
    client: &Client,
    call: C,
    doing: String,
    patience: Duration,
    stop: &Stop,
) -> Result<C::Output, Cause> {
    let task = client.spawn_task(call).await.map_err(Cause::host(&*doing))?;
    let cancel = task.canceller();
    let wait = task.wait();
    tokio::pin!(wait);
    let cause = match stop.guard(tokio::time::timeout(patience, &mut wait)).await {
        Ok(Ok(Err(error))) if error.kind() == ErrorKind::OutcomeUnknown => {
            // It may go on.
            let _ = cancel.cancel().await;
            return Err(Cause::host(doing)(error));
        }
        Ok(Ok(ended)) => return ended.map_err(Cause::host(doing)),
        Ok(Err(_)) => Cause::NoAnswer { doing, seconds: patience.as_secs() },
        Err(stopped) => stopped.into(),
    };
    if let Err(error) = cancel.cancel().await {
        tracing::debug!(%error, "the task cannot be cancelled");
    }
    match tokio::time::timeout(GRACE, wait).await {
        Ok(Ok(output)) => Ok(output),
        _ => Err(cause),
    }
}

impl Job {
    pub(crate) fn new(driver: Driver, progress: Progress) -> Self {
        // Nobody is told of stages that only look.
        let progress = if driver.0.rehearses { Progress::none() } else { progress };
        // Its time is in it: reconciling leaves alone what may still be under way elsewhere.
        let operation = driver.0.clock.operation();
        let _active = Active::new(&driver, operation);
        let (rollback, routes) = (Rollback::default(), Mutex::default());
        Self { driver, operation, rollback, progress, routes, _active }
    }

    pub(crate) fn client(&self) -> &Client {
        self.driver.client()
    }

    /// Waits until no other operation of this driver is behind the gate of this name, and closes it.
    pub(crate) async fn turn(&self, name: &str, stop: &Stop) -> Result<OwnedMutexGuard<()>, Stopped> {
        stop.guard(self.driver.0.gates.enter(name)).await
    }

    /// The host that the data of an SR's disks go through: the same one in the whole job.
    pub(crate) async fn route(&self, sr: &Ref<Sr>) -> xenapi_client::Result<Route> {
        let routes = || self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = Arc::clone(routes().entry(sr.clone()).or_default());
        cell.get_or_try_init(|| self.client().route_to_sr(sr)).await.cloned()
    }

    /// Runs a part of the verb as `stage`. Its future goes to the heap: those of all stages of a verb,
    /// one inside the other, would overflow the stack of a worker thread in a debug build.
    pub(crate) async fn stage<T>(
        &self,
        stage: Stage,
        body: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, Failed> {
        self.progress.stage(stage, Box::pin(body)).await.map_err(|cause| Failed { stage, cause })
    }

    /// Runs a call that takes its time as a task, and tells how far it is. When it is to stop, the task is
    /// cancelled, and its end awaited, as nothing else can be done with its objects before; but no longer than
    /// [`Settings::detach_timeout`](crate::Settings::detach_timeout), as a host that hangs may never end it.
    pub(crate) async fn run<C: Call>(
        &self,
        call: C,
        doing: String,
        stage: Stage,
        stop: &Stop,
    ) -> Result<C::Output, Cause> {
        let task = self.client().spawn_task(call).await.map_err(Cause::host(&*doing))?;
        let cancel = Task::<()>::attach(self.client(), task.reference().clone(), C::METHOD);
        let told = |fraction: f64| self.progress.send(Event::Percent(stage, (fraction * 100.0) as u8));
        let wait = task.wait_with(told);
        tokio::pin!(wait);
        match stop.guard(&mut wait).await {
            Ok(result) => result.map_err(Cause::host(doing)),
            Err(stopped) => {
                // It may have been about to end well.
                match power::give_up(self, &cancel, wait).await {
                    Some(Ok(output)) => Ok(output),
                    _ => Err(stopped.into()),
                }
            }
        }
    }

    /// [`within`], in this job.
    pub(crate) async fn within<C: Call>(
        &self,
        call: C,
        doing: String,
        patience: Duration,
        stop: &Stop,
    ) -> Result<C::Output, Cause> {
        within(self.client(), call, doing, patience, stop).await
    }

    /// Makes a disk, to be removed again if the operation fails.
    pub(crate) async fn create_disk(
        &self,
        plan: &DiskPlan,
        sr: &Repository,
        stop: &Stop,
    ) -> Result<Disk, Cause> {
        let made = |disk: &Ref<Vdi>| self.remember_disk(disk, &plan.name_label);
        let disk = self.make_disk(plan, sr, stop, made).await?;
        self.seal(&disk).await?;
        Ok(disk)
    }

    /// Makes a disk; `made` hears of it before it is complete. Whoever else undoes it finds it by its operation.
    /// What is left to do is [`Job::seal`], which need not be done before it is filled.
    pub(crate) async fn make_disk(
        &self,
        plan: &DiskPlan,
        sr: &Repository,
        stop: &Stop,
        made: impl FnOnce(&Ref<Vdi>),
    ) -> Result<Disk, Cause> {
        let doing =
            || format!("creating disk {:?} in storage repository {:?}", plan.name_label, sr.name_label);
        stop.check()?;
        let reference =
            self.client().call(record::vdi(plan, &sr.reference)).await.map_err(Cause::host(doing()))?;
        made(&reference);
        let made = self.client().record(&reference).await.map_err(Cause::host(doing()))?;
        let virtual_bytes = u64::try_from(made.virtual_size).unwrap_or(0);
        Ok(Disk { reference, sr: made.sr, uuid: made.uuid, virtual_bytes })
    }

    /// From now on the keys are those of this very disk, and of no clone of it.
    pub(crate) async fn seal(&self, disk: &Disk) -> Result<(), Cause> {
        let (field, uuid) = (vdi::field::OTHER_CONFIG, &disk.uuid);
        let sealed = self.client().add_to(&disk.reference, field, ownership::SELF, uuid).await;
        sealed.map_err(Cause::host(format!("noting in disk {uuid} whose it is")))
    }

    /// What a disk takes in its SR, in bytes: SRs say so anew only when they are asked to. It is good to
    /// know, and no reason to fail.
    pub(crate) async fn physical_bytes(&self, vdi: &Ref<Vdi>) -> Option<u64> {
        if let Err(error) = self.client().call(vdi::Update { vdi: vdi.clone() }).await {
            tracing::debug!(%error, "what the disk takes is what was known before");
        }
        let taken = self.client().get_field(vdi, vdi::field::PHYSICAL_UTILISATION).await;
        u64::try_from(taken.ok()?).ok()
    }

    /// Has the disk removed if the operation fails.
    pub(crate) fn remember_disk(&self, vdi: &Ref<Vdi>, name: &str) {
        let (client, undo) = (self.client().clone(), vdi.clone());
        let patience = self.driver.settings().detach_timeout;
        self.rollback.push(format!("disk {name:?} ({vdi})"), async move {
            remove::vdi(&client, &undo, Dom0::Detach, patience).await
        });
    }

    /// Before anything is made: what is made although nobody heard of it is found by its operation.
    pub(crate) fn remember_lost_answers(&self, vm_name: &str, disk_names: Vec<String>) {
        let (driver, operation, vm_name) = (self.driver.clone(), self.operation, vm_name.to_owned());
        self.rollback.push_sweep(format!("whatever else operation {operation} made"), async move {
            remove::sweep(&driver, operation, &vm_name, &disk_names).await
        });
    }
}
