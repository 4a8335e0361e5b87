//! A smaller root disk: a clone of the old one is made to fit in dom0, and its first bytes are copied to the new one.
//! The old disk stays as it is.

use xenapi_storage::Repository;
use xenapi_storage::ownership::Ownership;
use xenapi_types::{Ref, Vdi, VmRecord};

use super::disks::Change;
use super::journal::Journal;
use crate::cancel::Stop;
use crate::compatibility;
use crate::dom0_disk::{self, DiskWork, Target};
use crate::error::Cause;
use crate::find;
use crate::inventory::Node;
use crate::job::Job;
use crate::plan::{Conflict, Conflicts};
use crate::remove::{self, Dom0};

/// What dom0 is asked for.
const FUNCTIONS: [&str; 2] = ["resize_down", "copy_disk"];

/// A host that reaches both repositories and has the plugin, before anything is touched: the new one, if it does.
pub(super) async fn place(
    job: &Job,
    nodes: &[Node],
    preferred: &Node,
    from: Option<&Repository>,
    to: &Repository,
) -> Result<Node, Cause> {
    let reaches = |node: &&Node| {
        node.enabled
            && to.is_attached_to(&node.reference)
            && from.is_some_and(|sr| sr.is_attached_to(&node.reference))
    };
    let Some(node) = [preferred].into_iter().chain(nodes).find(reaches) else {
        return Err(Cause::NoHostSees { sr: to.name_label.clone() });
    };
    let why = compatibility::state(job.client(), &node.reference).await.lacks(&FUNCTIONS);
    match why {
        None => Ok(node.clone()),
        Some(why) => Err(Conflicts::from(Conflict::NoPlugin { node: node.name.clone(), why }).into()),
    }
}

/// Makes the new disk from the old one, which no guest has in use.
pub(super) async fn make(
    job: &Job,
    vm: &VmRecord,
    change: &mut Change,
    journal: &Journal,
    stop: &Stop,
) -> Result<(), Cause> {
    let Some(node) = change.shrunk_on.clone() else { return Ok(()) };
    let owner = job.driver.settings().owner.clone();
    let instance = find::made_for(&vm.other_config, &vm.uuid, &owner).unwrap_or_default();
    let mark = Ownership { owner, instance, operation: journal.operation };
    let at = |vdi: &Ref<Vdi>| Target { vdi: vdi.clone(), host: node.reference.clone(), mark: mark.clone() };
    let doing = format!("making disk {} smaller", change.record.uuid);

    let clone = change.clone_disk(job, journal).await?;
    let new = change.target(job, journal, stop).await?;
    let record = job.client().record(&new).await.map_err(Cause::host(&*doing))?;
    // As the repository made it: the table's end belongs there.
    let len_bytes = u64::try_from(record.virtual_size).unwrap_or(0);
    dom0_disk::work(job, &at(&clone), &DiskWork::ResizeDown { len_bytes }, stop).await?;
    dom0_disk::copy(job, &at(&clone), &at(&new), len_bytes, stop).await?;
    let removed = remove::vdi(job.client(), &clone, Dom0::Detach, job.driver.settings().detach_timeout).await;
    removed.map_err(Cause::host(doing))
}
