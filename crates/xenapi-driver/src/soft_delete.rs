//! Deleting an instance so that it can be had back: off, and kept from being started.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;
use xenapi_types::{Ref, Vm, VmPowerState, VmRecord, vm};

use crate::boot_lock;
use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Error, Op};
use crate::find::{self, Which};
use crate::held::Held;
use crate::job::{Failed, Job};
use crate::operation::Operation;
use crate::progress::{Progress, Stage};
use crate::remove;

/// Why a start is refused, as XAPI shows it with `OPERATION_BLOCKED`. By these words a lock is known for
/// ours: those that others have set stay.
pub(crate) const REASON: &str = "xenapi-rs: soft-deleted";

/// How long one may take before others take it for broken off.
const TURN: Duration = Duration::from_secs(30);

/// On a VM that is being soft-deleted: the operation. It goes when all is done.
const DELETING: &str = "xenapi-rs:soft-deleting";
/// On one that is being restored.
const RESTORING: &str = "xenapi-rs:restoring";

impl Driver {
    /// Switches an instance off, hard, and keeps it from being started by anybody until it is
    /// [restored](Driver::restore) or destroyed. Its disks stay as they are.
    ///
    /// It can be repeated; one that broke off is completed by [`Driver::reconcile`]. Other operations that somebody
    /// has blocked on the VM stay blocked. It can be cancelled until it is noted on the VM, and then goes on to its end.
    /// It waits for a restoration or another deletion that began in the last half minute, here or elsewhere.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::NotOurs`], [`Cause::Host`].
    pub fn soft_delete(&self, which: Which, progress: Progress) -> Operation<()> {
        self.locked(Op::SoftDelete, which, progress)
    }

    /// Lets a soft-deleted instance be started again. It stays off. One that broke off is completed as well. It can be
    /// cancelled until it is noted on the VM, and then goes on to its end. It waits for a deletion or another restoration
    /// that began in the last half minute, here or elsewhere: what is asked for last stays.
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
                let deletes = op == Op::SoftDelete;
                let (note, other) = if deletes { (DELETING, RESTORING) } else { (RESTORING, DELETING) };
                job.stage(Stage::Vm, begin(&job, &vm, &record.uuid, (note, other), &stop)).await?;
                let doing = if deletes { "switching off" } else { "allowing the start of" };
                let doing = Held::while_doing(format!("{doing} VM {}", record.uuid));
                let completing = async { complete(&job.driver, &vm).await.map_err(doing) };
                job.stage(if deletes { Stage::Stop } else { Stage::Vm }, completing).await
            };
            let result = body.await;
            if result.is_err() {
                // Whoever asks again here need not wait for it.
                job.driver.0.given_up().insert(job.operation);
            }
            result.map_err(|Failed { stage, cause }| Error::new(op, name, stage, cause))
        })
    }
}

/// Notes on the VM what it is to be, as soon as nobody else is about it: a guest that another program is
/// about to switch off must not be restored and started meanwhile. One that began longer ago than [`TURN`]
/// has broken off, and what is asked for now takes its place.
async fn begin(
    job: &Job,
    vm: &Ref<Vm>,
    uuid: &str,
    (note, other): (&str, &str),
    stop: &Stop,
) -> Result<(), Cause> {
    let (client, field, own) = (job.client(), vm::field::OTHER_CONFIG, job.operation.to_string());
    let doing = || Cause::host(format!("noting what VM {uuid} is to be"));
    for attempt in 1.. {
        stop.check()?;
        let notes = client.get_field(vm, field).await.map_err(doing())?;
        if let Some((key, operation)) = foreign(&notes, job.operation) {
            if job.driver.clock().is_older(operation, TURN) || job.driver.0.given_up().contains(&operation) {
                client.remove_from(vm, field, key).await.map_err(doing())?;
            } else {
                stop.guard(tokio::time::sleep(pause(job.operation, 1))).await?;
            }
            continue;
        }
        let noted = client.add_to(vm, field, note, &*own).await;
        let is_taken = noted.as_ref().is_err_and(|error| error.is("MAP_DUPLICATE_KEY"));
        remove::tolerate(noted, &["MAP_DUPLICATE_KEY"]).map_err(doing())?;
        let notes = client.get_field(vm, field).await.map_err(doing())?;
        let is_ours = notes.get(note) == Some(&own);
        if is_ours && !notes.contains_key(other) {
            return Ok(());
        }
        // Two at the same moment: both give way, and come back at different times.
        if is_ours {
            client.remove_from(vm, field, note).await.map_err(doing())?;
        }
        tracing::debug!(uuid, attempt, is_taken, "somebody else is about to delete or restore it");
        stop.guard(tokio::time::sleep(pause(job.operation, attempt))).await?;
    }
    Ok(())
}

/// The note of another operation.
fn foreign(notes: &BTreeMap<String, String>, own: Uuid) -> Option<(&'static str, Uuid)> {
    let read = |key: &'static str| Some((key, notes.get(key)?.parse().unwrap_or_default()));
    [DELETING, RESTORING].into_iter().filter_map(read).find(|(_, operation)| *operation != own)
}

/// From 50 ms on, another time for each operation.
fn pause(operation: Uuid, attempt: u32) -> Duration {
    let by_chance = u64::from(operation.as_bytes()[15]);
    Duration::from_millis(50 + by_chance * u64::from(attempt.min(4)) / 2)
}

/// The soft deletion of a VM, or its restoration, that broke off.
pub(crate) fn broken(vm: &VmRecord) -> Option<Uuid> {
    [DELETING, RESTORING].iter().find_map(|key| vm.other_config.get(*key)?.parse().ok())
}

/// Does what is left of it.
pub(crate) async fn complete(driver: &Driver, vm: &Ref<Vm>) -> Result<(), Held> {
    let client = driver.client();
    let Some(record) = client.record_opt(vm).await? else { return Ok(()) };
    let has = |key: &str| record.other_config.contains_key(key);
    for (key, deletes) in [(DELETING, true), (RESTORING, false)].into_iter().filter(|(key, _)| has(key)) {
        // Locked first: what restarts guests that go down must not be faster.
        boot_lock::set(client, vm, &record, REASON, deletes).await?;
        if deletes {
            // Read after the lock, and after the starts that were faster than that.
            let Some(record) = remove::at_rest(driver, vm).await? else { return Ok(()) };
            remove::stop(driver, vm, &record).await?;
        }
        client.remove_from(vm, vm::field::OTHER_CONFIG, key).await?;
    }
    Ok(())
}

/// Whether a start was refused because the VM is soft-deleted.
pub(crate) fn keeps_off(error: &xenapi_client::Error) -> bool {
    let blocked = error.failure().filter(|failure| failure.code == "OPERATION_BLOCKED");
    blocked.is_some_and(|failure| failure.params.iter().any(|param| param == REASON))
}

/// Whether a VM is soft-deleted.
pub(crate) fn is(vm: &VmRecord) -> bool {
    boot_lock::is(vm, REASON)
}
