//! Deleting an instance so that it can be had back: off, and kept from being started.

use xenapi_types::{Ref, Vm, VmOperations, VmPowerState, VmRecord, vm};

use crate::driver::Driver;
use crate::error::{Cause, Error, Op};
use crate::find::{self, Which};
use crate::job::{Failed, Job};
use crate::operation::Operation;
use crate::progress::{Progress, Stage};
use crate::remove;

/// Why a start is refused, as XAPI shows it with `OPERATION_BLOCKED`. By these words a lock is known for
/// ours: those that others have set stay.
const REASON: &str = "xenapi-rs: soft-deleted";

/// XAPI's names for what a start can be.
const STARTS: [VmOperations; 2] = [VmOperations::Start, VmOperations::StartOn];

impl Driver {
    /// Switches an instance off, hard, and keeps it from being started by anybody until it is
    /// [restored](Driver::restore) or destroyed. Its disks stay as they are.
    ///
    /// It can be repeated. Other operations that somebody has blocked on the VM stay blocked.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::NotOurs`], [`Cause::Host`].
    pub fn soft_delete(&self, which: Which, progress: Progress) -> Operation<()> {
        self.locked(Op::SoftDelete, which, progress)
    }

    /// Lets a soft-deleted instance be started again. It stays off.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::NotOurs`], [`Cause::Host`].
    pub fn restore(&self, which: Which, progress: Progress) -> Operation<()> {
        self.locked(Op::Restore, which, progress)
    }

    fn locked(&self, op: Op, which: Which, progress: Progress) -> Operation<()> {
        let object = format!("instance {which}");
        let job = Job::new(self.clone(), progress);
        let name = object.clone();
        Operation::start(&self.0.running, op, object, move |stop| async move {
            let body = async {
                let (vm, record) = job.stage(Stage::Find, find::ours(&job, &which)).await?;
                job.would(|| {
                    let (uuid, locks) = (&record.uuid, op == Op::SoftDelete);
                    let verb = if locks { "keep from being started" } else { "allow to be started again" };
                    let off = locks && record.power_state != VmPowerState::Halted;
                    let off = off.then(|| format!("switch VM {uuid} off, without asking its guest"));
                    [format!("{verb}: VM {uuid}")].into_iter().chain(off).collect()
                })?;
                // Locked first: what restarts guests that go down must not be faster.
                let lock = job.stage(Stage::Vm, set_lock(&job, &vm, &record, op == Op::SoftDelete)).await;
                lock?;
                if op == Op::SoftDelete {
                    let stopping = async {
                        stop.check()?;
                        let doing = format!("switching VM {} off", record.uuid);
                        remove::stop(job.client(), &vm, &record).await.map_err(Cause::host(doing))
                    };
                    job.stage(Stage::Stop, stopping).await?;
                }
                Ok(())
            };
            body.await.map_err(|Failed { stage, cause }| Error::new(op, name, stage, cause))
        })
    }
}

async fn set_lock(job: &Job, vm: &Ref<Vm>, record: &VmRecord, locked: bool) -> Result<(), Cause> {
    for operation in STARTS {
        let held = record.blocked_operations.get(&operation).map(String::as_str);
        let doing = format!("blocking {operation} of VM {}", record.uuid);
        let field = vm::field::BLOCKED_OPERATIONS;
        match (held, locked) {
            (None, true) => {
                job.client().add_to(vm, field, operation, REASON).await.map_err(Cause::host(doing))?;
            }
            (Some(REASON), false) => {
                job.client().remove_from(vm, field, operation).await.map_err(Cause::host(doing))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a VM is soft-deleted.
pub(crate) fn is(vm: &VmRecord) -> bool {
    STARTS.iter().any(|start| vm.blocked_operations.get(start).is_some_and(|reason| reason == REASON))
}
