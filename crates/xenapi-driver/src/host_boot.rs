//! Guests that come up with their host.

use uuid::Uuid;
use xenapi_types::{Ref, Vm, VmPowerState, VmRecord};

use crate::cancel::Stop;
use crate::dom0_disk;
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::{self, Which};
use crate::inventory;
use crate::job::{Failed, Job};
use crate::operation::Operation;
use crate::plan::{self, Conflicts};
use crate::ports;
use crate::power::{self, PowerChange};
use crate::progress::{Progress, Stage};

/// XAPI's own key: a VM that has it, in a pool that has it, is started by the host itself.
const AUTO_POWERON: &str = "auto_poweron";

/// Which guests of a host come up.
#[derive(Debug, Clone, Default)]
pub struct ResumeOptions {
    /// These instances, as far as they are of the host: those that a cloud knows to have been running. `None` is those with
    /// `other_config:auto_poweron`, XAPI's own mark of what comes up with its host.
    pub instances: Option<Vec<Uuid>>,
    /// Who is told what happens.
    pub progress: Progress,
}

/// What came up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumed {
    /// Uuids of the VMs that run now, those too that did before.
    pub running: Vec<String>,
    /// Uuids of those that do not, each with the reason.
    pub down: Vec<(String, String)>,
}

impl Driver {
    /// Has the guests of a host run after it was started: halted ones are started, suspended ones resumed, paused ones
    /// unpaused. Where ports are [connected](crate::Settings::integration_bridge), theirs are, also of those that run
    /// already. One that does not come up does not keep the others from it. It can be repeated.
    ///
    /// Cancelling stops between two guests, and ends the wait for one that is coming up; what XAPI has begun
    /// it may carry out nevertheless.
    ///
    /// # Errors
    ///
    /// [`Cause::Conflicts`] for an unknown host; [`Cause::Host`] when the pool cannot be looked at.
    pub fn resume_guests(&self, node: Uuid, options: ResumeOptions) -> Operation<Resumed> {
        let ResumeOptions { instances, progress } = options;
        self.verb(Op::Power, format!("the guests of node {node}"), progress, move |job, stop| {
            Box::pin(async move {
                let found = job.stage(Stage::Find, find(job, node, instances.as_deref())).await?;
                job.would(|| match found.len() {
                    0 => vec!["nothing to do".to_owned()],
                    _ => found.iter().map(|(_, vm, _)| format!("have VM {} run", vm.uuid)).collect(),
                })?;
                let mut resumed = Resumed::default();
                for (vm, record, instance) in found {
                    let done = job.stage(Stage::Power, async {
                        stop.check()?;
                        Ok(one(job, &vm, instance, stop).await)
                    });
                    match done.await? {
                        Ok(()) => resumed.running.push(record.uuid),
                        Err(cause @ Cause::Cancelled) => return Err(Failed { stage: Stage::Power, cause }),
                        Err(cause) => resumed.down.push((record.uuid, cause.to_string())),
                    }
                }
                Ok(resumed)
            })
        })
    }
}

/// The instances of the host that are meant, in the order of their names.
async fn find(
    job: &Job,
    node: Uuid,
    instances: Option<&[Uuid]>,
) -> Result<Vec<(Ref<Vm>, VmRecord, Uuid)>, Cause> {
    let nodes = inventory::read_nodes(&job.driver).await?;
    let node = plan::choose_node_of(&nodes, Some(node), None).map_err(Conflicts::from)?;
    let owner = &job.driver.settings().owner;
    let all = job.client().all_records::<Vm>().await.map_err(Cause::host("looking for the host's guests"))?;
    let meant = |vm: &VmRecord, instance: &Uuid| match instances {
        Some(instances) => instances.contains(instance),
        None => vm.other_config.get(AUTO_POWERON).is_some_and(|value| value == "true"),
    };
    let mut found: Vec<_> = all
        .into_iter()
        .filter(|(_, vm)| !vm.is_a_template && !vm.is_a_snapshot && *ports::home(vm) == node.reference)
        .filter_map(|(reference, vm)| {
            let instance = find::made_for(&vm.other_config, &vm.uuid, owner)?;
            meant(&vm, &instance).then_some((reference, vm, instance))
        })
        .collect();
    found.sort_by(|(_, a, _), (_, b, _)| (&a.name_label, &a.uuid).cmp(&(&b.name_label, &b.uuid)));
    Ok(found)
}

async fn one(job: &Job, vm: &Ref<Vm>, instance: Uuid, stop: &Stop) -> Result<(), Cause> {
    let (_, record) = find::ours(job, &Which::Instance(instance)).await?;
    let _gate = job.turn(&dom0_disk::gate(&record.uuid), stop).await?;
    power::change(job, vm, &record, PowerChange::On, stop).await?;
    let state = job.client().get_field(vm, xenapi_types::vm::field::POWER_STATE).await;
    match state.map_err(Cause::host("asking for the power state"))? {
        VmPowerState::Running => power::begun(job, vm, stop).await,
        state => {
            let (vm, state) = (record.uuid, state.to_string());
            Err(Cause::WrongState { vm, state, remedy: "look at it with the host's own tools" })
        }
    }
}
