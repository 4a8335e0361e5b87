//! Deleting an instance so that it can be had back: off, and kept from being started.

use xenapi_types::{VmPowerState, VmRecord};

use crate::boot_lock;
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
                let lock = async {
                    let locked = boot_lock::set(job.client(), &vm, &record, REASON, op == Op::SoftDelete);
                    locked.await.map_err(Cause::host(format!("blocking the start of VM {}", record.uuid)))
                };
                job.stage(Stage::Vm, lock).await?;
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

/// Whether a VM is soft-deleted.
pub(crate) fn is(vm: &VmRecord) -> bool {
    boot_lock::is(vm, REASON)
}
