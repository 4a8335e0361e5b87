//! Instances of a host that is dead, brought up on another one.

use uuid::Uuid;
use xenapi_types::{HostMetrics, Ref, Vm, VmPowerState, VmRecord, vm};

use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::{self, Which};
use crate::inventory::{self, Node};
use crate::job::Job;
use crate::kernel;
use crate::operation::Operation;
use crate::plan::{self, Conflict, Conflicts};
use crate::power;
use crate::progress::{Progress, Stage};
use crate::volume;

impl Driver {
    /// Starts an instance on another host, whose own has died. Its disks have to be on storage that both reach.
    ///
    /// The pool is told that the instance is off, which has to be true: a guest that runs on a host that only
    /// cannot be reached would write to its disks from two sides. A host that the pool calls live is
    /// therefore refused.
    ///
    /// # Errors
    ///
    /// [`Cause::HostLives`]; [`Cause::Conflicts`] for the new host; [`Cause::NotConnected`] before anything is done,
    /// when it does not reach a disk; [`Cause::KernelStays`] for a guest whose kernel only the dead host has; [`Cause::Host`].
    pub fn evacuate(&self, which: Which, node: Uuid, progress: Progress) -> Operation<()> {
        self.verb(Op::Evacuate, format!("instance {which}"), progress, move |job, stop| {
            Box::pin(async move {
                let (vm, record) = job.stage(Stage::Find, find::ours(job, &which)).await?;
                let _gate = job.driver.0.gates.enter(&record.uuid).await;
                let (target, along) = job.stage(Stage::Plan, decide(job, &record, node)).await?;
                job.would(|| {
                    let dead = record.power_state != VmPowerState::Halted;
                    let dead = dead.then(|| format!("tell the pool that VM {} does not run", record.uuid));
                    let start = format!("start VM {} on host {:?}", record.uuid, target.name);
                    let along = along.steps(&target);
                    dead.into_iter().chain(along).chain([start]).collect::<Vec<_>>()
                })?;
                job.stage(Stage::Start, start(job, &vm, &record, &target, along, stop)).await
            })
        })
    }
}

/// The new host, if the old one is dead and the new one will do, and what has to come along.
async fn decide(job: &Job, record: &VmRecord, node: Uuid) -> Result<(Node, kernel::Along), Cause> {
    let client = job.client();
    let doing = || Cause::host("reading the host of the instance");
    if let Some(host) = client.record_opt(&record.resident_on).await.map_err(doing())? {
        let metrics = client.record_opt::<HostMetrics>(&host.metrics).await.map_err(doing())?;
        if metrics.is_some_and(|metrics| metrics.live) {
            return Err(Cause::HostLives { host: host.name_label });
        }
    }
    let nodes = inventory::read_nodes(client).await?;
    let target = plan::choose_node_of(&nodes, Some(node), None).map_err(Conflicts::from)?;
    if !target.enabled {
        let node = target.name.clone();
        return Err(Conflicts::from(Conflict::NodeDisabled { node }).into());
    }
    for drive in volume::drives(job, record).await? {
        let sr = client.record(&drive.disk.sr).await.map_err(doing())?;
        let mut reached = false;
        for pbd in &sr.pbds {
            let pbd = client.record_opt(pbd).await.map_err(doing())?;
            reached |= pbd.is_some_and(|pbd| pbd.host == target.reference && pbd.currently_attached);
        }
        if !reached {
            return Err(Cause::NotConnected { sr: sr.name_label, host: target.name.clone() });
        }
    }
    let along = kernel::along(client, record, target).await?;
    Ok((target.clone(), along))
}

async fn start(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    target: &Node,
    along: kernel::Along,
    stop: &Stop,
) -> Result<(), Cause> {
    let client = job.client();
    let doing = || format!("starting VM {} on host {:?}", record.uuid, target.name);
    stop.check()?;
    if record.power_state != VmPowerState::Halted {
        client.call(vm::PowerStateReset { vm: vm.clone() }).await.map_err(Cause::host(doing()))?;
    }
    let home = target.reference.clone();
    let owner = &job.driver.settings().owner;
    let instance = find::made_for(&record.other_config, &record.uuid, owner);
    along.bring(job, vm, instance.unwrap_or_default(), &home, stop).await?;
    let set = client.set_field(vm, vm::field::AFFINITY, home.clone()).await;
    set.map_err(Cause::host(doing()))?;
    let call = vm::StartOn { vm: vm.clone(), host: home, start_paused: false, force: false };
    power::run(job, call, doing(), stop).await?;
    power::begun(job, vm, stop).await
}
