//! Emptying a host for its maintenance.
//!
//! What a program needs to know that finds the host later is in the host's `other_config`: a key for each
//! drain that is under way, and one that says that the host took guests before they began. Adding a key is
//! atomic in XAPI, and no two write to the same one of the first kind. The drain that ends well removes the
//! second key, so that the host stays disabled; of those that break off, the last one enables the host again,
//! by itself or when the pool is reconciled.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;
use xenapi_client::Client;
use xenapi_types::{Host, HostRecord, Ref, Vm, VmPowerState, VmRecord, host, vm};

use super::{guests, set_enabled};
use crate::cancel::Stop;
use crate::clock::Clock;
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find;
use crate::inventory::{self, Node};
use crate::job::Job;
use crate::live::{self, MigrateOptions};
use crate::operation::Operation;
use crate::progress::{Progress, Stage};
use crate::remove::{gone_is_fine, tolerate};
use crate::spec::SrChoice;

/// A drain that is under way: its owner, by operation.
const DRAIN: &str = "xenapi-rs:drain:";
/// The host took guests before it was drained: `operation/owner` of the drain that disabled it.
const TOOK_GUESTS: &str = "xenapi-rs:drain-disabled";
/// After that, a drain of another owner is that of a program that has crashed.
const LIFE: Duration = Duration::from_secs(24 * 3_600);

/// How a host is drained.
#[derive(Debug, Clone, Default)]
pub struct DrainOptions {
    /// Guests of others are moved as well.
    pub others: bool,
    /// Where disks go that the next host does not reach; without it, as [`MigrateOptions::sr`] says.
    pub sr: Option<SrChoice>,
    /// Who is told what happens.
    pub progress: Progress,
}

/// What became of the guests of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Drained {
    /// Uuids of the VMs that were moved.
    pub moved: Vec<String>,
    /// Uuids of the VMs that are still there, with the reason.
    pub stuck: Vec<(String, String)>,
    /// What attempts have left that failed, with the reason: [`Driver::reconcile`] puts it in order.
    pub left: Vec<String>,
}

impl Driver {
    /// Has a host take no new guests, and moves those that are there to other hosts of the pool, alive. What
    /// cannot be moved goes on where it is, and is told with the reason. The host stays disabled, unless the
    /// operation fails or is cancelled: then it is as before, but for the guests that had moved. After a program
    /// that ended in the middle, [`Driver::reconcile`] has the host as before. While another program drains the same
    /// host, it stays disabled until that one ends.
    ///
    /// # Errors
    ///
    /// [`Cause::Host`] when the host cannot be disabled, or the pool cannot be asked.
    pub fn drain_node(&self, node: Uuid, options: DrainOptions) -> Operation<Drained> {
        let DrainOptions { others, sr, progress } = options;
        let how = How { others, sr };
        self.verb(Op::Node, format!("node {node}"), progress, move |job, stop| {
            Box::pin(async move {
                let (reference, record) = job.stage(Stage::Find, super::host(job, node)).await?;
                if job.driver.0.rehearses {
                    let steps = job.stage(Stage::Plan, steps(job, &reference, &record, &how)).await?;
                    job.would(|| steps)?;
                }
                job.stage(Stage::Power, begin(job, &reference, &record, stop)).await?;
                let drained = job.stage(Stage::Migrate, empty(job, &reference, &how, stop)).await?;
                let noting = Cause::host(format!("noting that host {:?} is drained", record.name_label));
                let complete =
                    async { complete(job.client(), &reference, job.operation).await.map_err(noting) };
                job.stage(Stage::Power, complete).await?;
                Ok(drained)
            })
        })
    }
}

/// Notes what is about to be done to the host, and does it.
async fn begin(job: &Job, host: &Ref<Host>, record: &HostRecord, stop: &Stop) -> Result<(), Cause> {
    let (client, operation, owner) = (job.client(), job.operation, &job.driver.settings().owner);
    let doing = || Cause::host(format!("noting that host {:?} is being drained", record.name_label));
    stop.check()?;
    let (undo, of) = (job.driver.clone(), host.clone());
    job.rollback.push(format!("host {:?} takes no guests", record.name_label), async move {
        give_up(&undo, &of, &[operation]).await
    });
    let field = host::field::OTHER_CONFIG;
    client.add_to(host, field, format!("{DRAIN}{operation}"), owner.as_str()).await.map_err(doing())?;
    if record.enabled {
        let by = format!("{operation}/{owner}");
        let noted = client.add_to(host, field, TOOK_GUESTS, by).await;
        tolerate(noted, &["MAP_DUPLICATE_KEY"]).map_err(doing())?;
    }
    set_enabled(job, host, record, false, stop).await
}

/// The host is drained, and stays disabled.
async fn complete(client: &Client, host: &Ref<Host>, operation: Uuid) -> xenapi_client::Result<()> {
    settled(client, host).await?;
    gone_is_fine(client.remove_from(host, host::field::OTHER_CONFIG, format!("{DRAIN}{operation}")).await)
}

/// Whether the host takes guests is as it is meant to be: drains that break off have nothing to take back.
async fn settled(client: &Client, host: &Ref<Host>) -> xenapi_client::Result<()> {
    gone_is_fine(client.remove_from(host, host::field::OTHER_CONFIG, TOOK_GUESTS).await)
}

/// As [`settled`], because somebody said so.
pub(super) async fn decided(job: &Job, host: &Ref<Host>, record: &HostRecord) -> Result<(), Cause> {
    if !record.other_config.contains_key(TOOK_GUESTS) {
        return Ok(());
    }
    job.would(|| vec![format!("forget that a drain disabled host {:?}", record.name_label)])?;
    let doing = format!("noting that whether host {:?} takes guests was decided", record.name_label);
    settled(job.client(), host).await.map_err(Cause::host(doing))
}

/// These drains of one owner have broken off. The host is as it was before, unless another one goes on. It can be repeated.
pub(crate) async fn give_up(
    driver: &Driver,
    host: &Ref<Host>,
    operations: &[Uuid],
) -> xenapi_client::Result<()> {
    let (client, owner) = (driver.client(), &driver.settings().owner);
    let Some(record) = client.record_opt(host).await? else { return Ok(()) };
    let notes = Notes::read(&record.other_config);
    let goes_on = |(operation, of): (&Uuid, &String)| {
        !operations.contains(operation) && is_alive(driver.clock(), *operation, of, owner)
    };
    if !notes.drains.iter().any(goes_on) && notes.disabled_by.is_some() {
        if !record.enabled {
            client.call(host::Enable { host: host.clone() }).await?;
        }
        settled(client, host).await?;
    }
    // Last: as long as there is a key, somebody finds what is still to be done.
    for operation in operations {
        let key = format!("{DRAIN}{operation}");
        gone_is_fine(client.remove_from(host, host::field::OTHER_CONFIG, key).await)?;
    }
    Ok(())
}

/// Whether a drain has to be taken for one that goes on: of one's own owner, reconciling tells.
fn is_alive(clock: &Clock, operation: Uuid, of: &str, owner: &str) -> bool {
    of == owner || !clock.is_older(operation, LIFE)
}

/// What is noted of the drains of a host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// The owner of each.
    pub(crate) drains: BTreeMap<Uuid, String>,
    /// The one that disabled the host, and its owner.
    pub(crate) disabled_by: Option<(Uuid, String)>,
}

impl Notes {
    pub(crate) fn read(other_config: &BTreeMap<String, String>) -> Self {
        let drain =
            |(key, owner): (&String, &String)| Some((key.strip_prefix(DRAIN)?.parse().ok()?, owner.clone()));
        let disabled_by = other_config.get(TOOK_GUESTS).and_then(|by| by.split_once('/'));
        Self {
            drains: other_config.iter().filter_map(drain).collect(),
            disabled_by: disabled_by
                .and_then(|(operation, owner)| Some((operation.parse().ok()?, owner.to_owned()))),
        }
    }

    /// The drains of this owner that have ended without an end, if `has_ended` says so of each, and that nobody else goes on
    /// with; and whether somebody does.
    pub(crate) fn broken(
        &self,
        clock: &Clock,
        owner: &str,
        has_ended: impl Fn(Uuid) -> bool,
    ) -> (Vec<Uuid>, bool) {
        let mut broken: Vec<Uuid> =
            self.drains.iter().filter(|(_, of)| *of == owner).map(|(operation, _)| *operation).collect();
        // That of a drain whose own key is gone: two broke off at the same time, and each saw the other.
        broken.extend(self.disabled_by.iter().filter(|(_, of)| of == owner).map(|(operation, _)| *operation));
        broken.sort();
        broken.dedup();
        let is_alive = |operation: &Uuid, of: &str| is_alive(clock, *operation, of, owner);
        let others = self.drains.iter().any(|(operation, of)| of != owner && is_alive(operation, of));
        let goes_on = others || broken.iter().any(|operation| !has_ended(*operation));
        (broken, goes_on)
    }
}

/// Whose guests are moved, and where to.
struct How {
    others: bool,
    sr: Option<SrChoice>,
}

impl How {
    /// Whether a guest is moved at all, and whether it is this driver's.
    fn takes(&self, job: &Job, vm: &VmRecord) -> (bool, bool) {
        let owner = &job.driver.settings().owner;
        let is_ours = find::made_for(&vm.other_config, &vm.uuid, owner).is_some();
        (is_ours || self.others, is_ours)
    }

    fn options(&self, node: &Node) -> MigrateOptions {
        MigrateOptions { sr: self.sr.clone(), ..MigrateOptions::to(node.uuid.parse().unwrap_or_default()) }
    }
}

/// What draining would do, in words: for this driver's guests, the first host that could take each.
async fn steps(job: &Job, from: &Ref<Host>, host: &HostRecord, how: &How) -> Result<Vec<String>, Cause> {
    let disable = host.enabled.then(|| format!("have it take no new guests: host {:?}", host.name_label));
    let mut steps: Vec<String> = disable.into_iter().collect();
    for (_, record) in guests(job, from).await? {
        let uuid = &record.uuid;
        steps.extend(match how.takes(job, &record) {
            (false, _) => vec![format!("leave VM {uuid}, which is somebody else's")],
            (true, false) => vec![format!("move VM {uuid} to the host with the most room")],
            (true, true) => planned(job, &record, how)
                .await
                .unwrap_or_else(|cause| vec![format!("leave VM {uuid}: {cause}")]),
        });
    }
    Ok(steps)
}

/// How a guest of this driver would move.
async fn planned(job: &Job, record: &VmRecord, how: &How) -> Result<Vec<String>, Cause> {
    runs(record)?;
    let mut last = Cause::NoHost;
    for node in others(job, record).await? {
        match live::steps(job, record, &how.options(&node)).await {
            Ok(steps) => return Ok(steps),
            Err(cause) => last = cause,
        }
    }
    Err(last)
}

async fn empty(job: &Job, from: &Ref<Host>, how: &How, stop: &Stop) -> Result<Drained, Cause> {
    let mut drained = Drained::default();
    for (vm, record) in guests(job, from).await? {
        stop.check()?;
        let (is_taken, is_ours) = how.takes(job, &record);
        if !is_taken {
            drained.stuck.push((record.uuid, "it is somebody else's".to_owned()));
            continue;
        }
        let moved = match runs(&record) {
            Ok(()) if is_ours => move_ours(job, &vm, &record, how, &mut drained.left, stop).await,
            Ok(()) => move_theirs(job, &vm, &record, stop).await,
            Err(cause) => Err(cause),
        };
        match moved {
            Ok(()) => drained.moved.push(record.uuid),
            Err(Cause::Cancelled) => return Err(Cause::Cancelled),
            Err(cause) => drained.stuck.push((record.uuid, cause.to_string())),
        }
    }
    Ok(drained)
}

fn runs(vm: &VmRecord) -> Result<(), Cause> {
    if vm.power_state == VmPowerState::Running {
        return Ok(());
    }
    let state = vm.power_state.to_string();
    Err(Cause::WrongState { vm: vm.uuid.clone(), state, remedy: "only what runs moves alive" })
}

/// The hosts that a guest can go to, that with the most room first.
async fn others(job: &Job, vm: &VmRecord) -> Result<Vec<Node>, Cause> {
    let mut nodes = inventory::read_nodes(&job.driver).await?;
    nodes.retain(|node| node.is_usable() && node.reference != vm.resident_on);
    nodes.sort_by_key(|node| std::cmp::Reverse(node.memory_free_bytes));
    Ok(nodes)
}

/// Each attempt is a job of its own: one that fails is undone before the next one, and its undoing is not
/// forgotten when the drain goes on.
async fn move_ours(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    how: &How,
    left: &mut Vec<String>,
    stop: &Stop,
) -> Result<(), Cause> {
    let mut last = Cause::NoHost;
    for node in others(job, record).await? {
        let attempt = Job::new(job.driver.clone(), job.progress.clone());
        let Err(cause) = live::to(&attempt, vm, record, &how.options(&node), stop).await else {
            attempt.rollback.commit();
            return Ok(());
        };
        left.extend(attempt.rollback.undo(&job.progress).await.iter().map(ToString::to_string));
        // It may have failed at its very end.
        let now = job.client().record_opt(vm).await.map_err(Cause::host("asking where the guest is"))?;
        if now.is_some_and(|now| runs(&now).is_ok() && now.resident_on != record.resident_on) {
            return Ok(());
        }
        if matches!(cause, Cause::Cancelled) {
            return Err(cause);
        }
        last = cause;
    }
    Err(last)
}

async fn move_theirs(job: &Job, vm: &Ref<Vm>, record: &VmRecord, stop: &Stop) -> Result<(), Cause> {
    let mut last = Cause::NoHost;
    for node in others(job, record).await? {
        let options = [("live".to_owned(), "true".to_owned())].into();
        let call = vm::PoolMigrate { vm: vm.clone(), host: node.reference.clone(), options };
        let doing = format!("moving VM {} to host {:?}", record.uuid, node.name);
        match job.run(call, doing, Stage::Migrate, stop).await {
            Err(Cause::Cancelled) => return Err(Cause::Cancelled),
            Err(cause) => last = cause,
            Ok(()) => return Ok(()),
        }
    }
    Err(last)
}
