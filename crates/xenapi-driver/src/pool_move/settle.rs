//! The two ways out of a move, each of which can be repeated from wherever it broke off.

use uuid::Uuid;
use xenapi_client::Client;
use xenapi_storage::ownership;
use xenapi_types::{Ref, Vm, VmPowerState, VmRecord, vm};

use super::journal::{Journal, KEYS, MOVED_FROM, REVERTING};
use super::{REASON, uuid_of};
use crate::boot_lock;
use crate::cancel::Stop;
use crate::destroy;
use crate::driver::Driver;
use crate::error::Cause;
use crate::find::{self, Which};
use crate::held::Held;
use crate::job::{Failed, Job, heap};
use crate::journal::{Phase, Way};
use crate::marks::made_by;
use crate::progress::{Progress, Stage};
use crate::remove::{self, tolerate};
use crate::resize::journal::Shape;
use crate::resize::restore::{remove_of, start};

/// The VM here, with its journal.
struct Found {
    vm: Ref<Vm>,
    record: VmRecord,
    journal: Journal,
    phase: Phase,
}

async fn find(job: &Job, which: &Which, pool: &Driver) -> Result<Option<Found>, Cause> {
    let Some((vm, record)) = find::vm(job.client(), which).await? else { return Ok(None) };
    let owner = &job.driver.settings().owner;
    if find::made_for(&record.other_config, &record.uuid, owner).is_none() {
        return Err(Cause::NotOurs { uuid: record.uuid, owner: owner.clone() });
    }
    find::complete(&record)?;
    let not_moved = Cause::NotMoved { vm: record.uuid.clone(), pool: pool.endpoint() };
    let Some((journal, phase)) = Journal::read(&record) else { return Err(not_moved) };
    if journal.pool != uuid_of(pool).await? {
        return Err(not_moved);
    }
    Ok(Some(Found { vm, record, journal, phase }))
}

pub(super) async fn confirm(job: &Job, which: &Which, pool: &Driver, stop: &Stop) -> Result<(), Failed> {
    let Some(found) = job.stage(Stage::Find, find(job, which, pool)).await? else {
        return job.stage(Stage::Vm, arrived_before(job, which, pool)).await;
    };
    let _gate = job.turn(&found.record.uuid, stop).await?;
    // Another operation of this driver may have been at it.
    let Some(found) = job.stage(Stage::Find, find(job, which, pool)).await? else {
        return job.stage(Stage::Vm, arrived_before(job, which, pool)).await;
    };
    let Found { vm, record, journal, phase } = &found;
    let pending = || Cause::MovePending { vm: record.uuid.clone() };
    let checking = async {
        let target = Journal::target_of(pool, journal.operation)
            .await
            .map_err(Cause::host("looking for the VM in the other pool"))?;
        let complete = target.filter(|(_, target)| !target.other_config.contains_key(ownership::UNFINISHED));
        match (phase, complete) {
            (Phase::Unfinished, _) => Err(pending()),
            (Phase::Done, None) => Err(Cause::NotArrived { vm: record.uuid.clone(), pool: pool.endpoint() }),
            (_, complete) => Ok(complete.map(|(target, _)| target)),
        }
    };
    let target = job.stage(Stage::Plan, checking).await?;
    job.would(|| [format!("remove VM {}, which was moved, with the disks made for it", record.uuid)].into())?;
    let noting = async {
        stop.check()?;
        let decided = KEYS.decide(job.client(), vm, Way::Forward, journal.operation).await;
        let decided = decided.map_err(Cause::host("noting that the move is being confirmed"))?;
        decided.map(drop).ok_or_else(pending)
    };
    job.stage(Stage::Vm, noting).await?;
    // From here on there is only the way forward.
    let which = Which::Instance(record.uuid.parse().unwrap_or_default());
    let never = Stop::new();
    heap(|| destroy::body(job, &which, &never)).await?;
    job.stage(Stage::Vm, async {
        match target {
            Some(target) => settled(pool.client(), &target).await,
            None => Ok(()),
        }
    })
    .await
}

/// The VM here is gone: what is left to do is done, or there was no move.
async fn arrived_before(job: &Job, which: &Which, pool: &Driver) -> Result<(), Cause> {
    match find::vm(pool.client(), which).await? {
        Some((vm, record)) if record.other_config.contains_key(MOVED_FROM) => {
            job.would(|| vec![format!("note that VM {} stays where it is", record.uuid)])?;
            settled(pool.client(), &vm).await
        }
        Some((_, record)) => Err(Cause::NotMoved { vm: record.uuid, pool: pool.endpoint() }),
        None => Err(which.unknown()),
    }
}

async fn settled(client: &Client, vm: &Ref<Vm>) -> Result<(), Cause> {
    let noted = client.remove_from(vm, vm::field::OTHER_CONFIG, MOVED_FROM).await;
    noted.map_err(Cause::host("noting that the VM stays where it is"))
}

pub(super) async fn revert_verb(job: &Job, which: &Which, pool: &Driver, stop: &Stop) -> Result<(), Failed> {
    let finding = || async {
        let found = find(job, which, pool).await?.ok_or_else(|| which.unknown())?;
        if found.phase == Phase::Confirming {
            return Err(Cause::MovePending { vm: found.record.uuid });
        }
        Ok(found)
    };
    let found = job.stage(Stage::Find, finding()).await?;
    let _gate = job.turn(&found.record.uuid, stop).await?;
    // Another operation of this driver may have been at it.
    let Found { vm, record, journal, .. } = job.stage(Stage::Plan, finding()).await?;
    job.would(|| {
        let gone = format!("remove what was moved to {}, with what was written to it", pool.endpoint());
        let up = journal.was_running.then(|| format!("start VM {}", record.uuid));
        [gone, format!("allow VM {} to be started", record.uuid)].into_iter().chain(up).collect::<Vec<_>>()
    })?;
    job.stage(Stage::Remove, async {
        stop.check()?;
        revert(&job.driver, &vm, pool, journal.operation).await
    })
    .await
}

/// Has the instance as it was before this operation moved it, which fails. Where somebody has done that
/// already, what was made there since then goes; a VM that is gone here, or about to be, was confirmed.
pub(super) async fn take_back(
    here: &Driver,
    vm: &Ref<Vm>,
    pool: &Driver,
    (operation, there): (Uuid, Uuid),
) -> Result<(), Cause> {
    let doing = || Cause::host("taking back the move of the VM");
    let record = here.client().record_opt(vm).await.map_err(doing())?;
    let is_over =
        |record: &VmRecord| Journal::of(record, operation).is_none() && destroy::broken(record).is_none();
    let Some(record) = record.filter(is_over) else { return revert(here, vm, pool, operation).await };
    if let Some((target, made)) = Journal::target_of(pool, operation).await.map_err(doing())?
        && made_by(&made.other_config, &made.uuid, there)
    {
        remove::vm(pool, &target).await.map_err(Held::while_doing("removing the VM in the other pool"))?;
    }
    remove_of(pool, &record, there).await.map_err(doing())
}

/// Has the instance as it was before this operation moved it, and removes it there.
pub(super) async fn revert(here: &Driver, vm: &Ref<Vm>, pool: &Driver, operation: Uuid) -> Result<(), Cause> {
    let client = here.client();
    let doing = || Cause::host("reverting the move of the VM");
    let held = || Held::while_doing("reverting the move of the VM");
    let Some(record) = client.record_opt(vm).await.map_err(doing())? else { return Ok(()) };
    if Journal::of(&record, operation).is_none() {
        return Ok(());
    }
    let owner = &here.settings().owner;
    let instance = find::made_for(&record.other_config, &record.uuid, owner).unwrap_or_default();
    let remove_target = || async {
        let job = Job::new(pool.clone(), Progress::none());
        let which = Which::Instance(instance);
        let never = Stop::new();
        let removed = heap(|| destroy::body(&job, &which, &never)).await;
        removed.map(drop).map_err(|failed| failed.cause)
    };
    // Before anything is done there: who has confirmed it relies on that.
    let decided = KEYS.decide(client, vm, Way::Back, operation).await.map_err(doing())?;
    let Some((_, phase)) = decided.and_then(|now| Journal::of(&now, operation)) else {
        return Err(Cause::MovePending { vm: record.uuid });
    };
    if phase == Phase::Unfinished {
        // It never ran there: what is here need not wait for the other pool.
        let removed = remove_target().await;
        restore(here, vm, operation).await.map_err(held())?;
        return removed;
    }
    let target = Journal::target_of(pool, operation).await.map_err(doing())?;
    if let Some((target, record)) = target {
        disarm(pool, &target, &record).await.map_err(held())?;
    }
    KEYS.flag(client, vm, REVERTING, operation).await.map_err(doing())?;
    remove_target().await?;
    restore(here, vm, operation).await.map_err(held())
}

/// Stops the VM there, and has it removed by whoever comes by.
async fn disarm(pool: &Driver, vm: &Ref<Vm>, record: &VmRecord) -> Result<(), Held> {
    let marked = pool.client().add_to(vm, vm::field::OTHER_CONFIG, ownership::UNFINISHED, "true").await;
    tolerate(marked, &["MAP_DUPLICATE_KEY"])?;
    remove::stop(pool, vm, record).await
}

/// The VM here is as it was, whatever there is in the other pool: nothing that runs. A move that has come to
/// its end meanwhile stays.
pub(crate) async fn restore(here: &Driver, vm: &Ref<Vm>, operation: Uuid) -> Result<(), Held> {
    let client = here.client();
    let Some(record) = remove::at_rest(here, vm).await? else { return Ok(()) };
    let Some((journal, Phase::Unfinished)) = Journal::of(&record, operation) else { return Ok(()) };
    let was_done = KEYS.is_done(&record, operation);
    let Some(now) = KEYS.decide(client, vm, Way::Back, operation).await? else { return Ok(()) };
    if !was_done && KEYS.is_done(&now, operation) {
        return Ok(KEYS.undecide(client, vm).await?);
    }
    KEYS.flag(client, vm, REVERTING, operation).await?;
    boot_lock::set(client, vm, &record, REASON, false).await?;
    let state = client.get_field(vm, vm::field::POWER_STATE).await?;
    if journal.was_running && state == VmPowerState::Halted {
        start(here, vm, &Shape::of(&record)).await?;
    }
    Ok(KEYS.end(client, vm, operation).await?)
}
