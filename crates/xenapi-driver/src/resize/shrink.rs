//! A smaller root disk: a clone of the old one is made to fit in dom0, and its first bytes are copied to the new one.
//! Where no host reaches both repositories, that is done beside the old disk, and the result is copied as any
//! disk is. The old disk stays as it is.

use std::collections::BTreeSet;

use uuid::Uuid;
use xenapi_storage::Repository;
use xenapi_storage::ownership::Ownership;
use xenapi_types::{Ref, Vdi, VmRecord};

use super::disks::Change;
use super::journal::Journal;
use crate::cancel::Stop;
use crate::compatibility;
use crate::dom0_disk::{self, DiskWork, Target, Until};
use crate::error::Cause;
use crate::find;
use crate::inventory::Node;
use crate::job::Job;
use crate::plan::{Conflict, Conflicts};
use crate::progress::Stage;
use crate::remove::{self, Dom0};

/// What dom0 is asked for.
const FUNCTIONS: [&str; 2] = ["resize_down", "copy_disk"];

/// Where a disk is made smaller.
#[derive(Debug, Clone)]
pub(crate) struct Shrinking {
    /// The host whose dom0 does it.
    pub(crate) node: Node,
    /// The repository of the old disk, when that host does not reach the other one: the smaller disk is made beside the old
    /// one, and goes on from there.
    pub(crate) beside: Option<Repository>,
}

/// A host that has the plugin and reaches both repositories, or at least that of the old disk; before anything is touched.
/// The new host is preferred.
pub(crate) async fn place(
    job: &Job,
    nodes: &[Node],
    preferred: &Node,
    from: Option<&Repository>,
    to: &Repository,
) -> Result<Shrinking, Cause> {
    let reaches = |sr: &Repository, node: &Node| node.is_usable() && sr.is_attached_to(&node.reference);
    let from = from.ok_or_else(|| Cause::NoHostSees { sr: to.name_label.clone() })?;
    let all = || [preferred].into_iter().chain(nodes).filter(|node| reaches(from, node));
    let both = all().filter(|node| reaches(to, node)).map(|node| (node, None));
    let one = all().filter(|node| !reaches(to, node)).map(|node| (node, Some(from.clone())));
    let (mut asked, mut found) = (BTreeSet::new(), Vec::new());
    for (node, beside) in both.chain(one).filter(|(node, _)| asked.insert(node.reference.clone())) {
        match compatibility::state(job.client(), &node.reference).await.lacks(&FUNCTIONS) {
            None => return Ok(Shrinking { node: node.clone(), beside }),
            Some(why) => found.push(Conflict::NoPlugin { node: node.name.clone(), why }),
        }
    }
    if found.is_empty() {
        return Err(Cause::NoHostSees { sr: from.name_label.clone() });
    }
    Err(Conflicts::new(found).into())
}

impl Shrinking {
    /// How large both disks are, which may be in repositories that round otherwise.
    pub(crate) fn size(&self, to: &Repository, wanted_bytes: u64) -> u64 {
        let round = |sr: &Repository, bytes| sr.facts().round_size(bytes).unwrap_or(bytes);
        match &self.beside {
            Some(beside) => round(to, round(beside, wanted_bytes)),
            None => round(to, wanted_bytes),
        }
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
    let Some(shrinking) = change.shrinking.clone() else { return Ok(()) };
    let mark = mark(job, vm, journal.operation);
    let clone = change.clone_disk(job, journal).await?;
    let Some(beside) = &shrinking.beside else {
        let new = change.target(job, journal, stop).await?;
        return fill(job, &shrinking.node, mark, (&clone, &new), &change.record.uuid, stop).await;
    };
    let passing = change.passing(job, journal, beside, stop).await?;
    fill(job, &shrinking.node, mark, (&clone, &passing.reference), &change.record.uuid, stop).await?;
    let new = change.target(job, journal, stop).await?;
    change.copy(job, (&passing.reference, None), &new, Stage::RootDisk, stop).await?;
    remove(job, &passing.reference, &change.record.uuid).await
}

/// Whose work it is for dom0.
pub(crate) fn mark(job: &Job, vm: &VmRecord, operation: Uuid) -> Ownership {
    let owner = job.driver.settings().owner.clone();
    let instance = find::made_for(&vm.other_config, &vm.uuid, &owner).unwrap_or_default();
    Ownership { owner, instance, operation }
}

/// Makes what is on a clone of a disk fit into a smaller one, puts it there, and removes the clone.
pub(crate) async fn fill(
    job: &Job,
    node: &Node,
    mark: Ownership,
    (clone, new): (&Ref<Vdi>, &Ref<Vdi>),
    uuid: &str,
    stop: &Stop,
) -> Result<(), Cause> {
    let at = |vdi: &Ref<Vdi>| Target { vdi: vdi.clone(), host: node.reference.clone(), mark: mark.clone() };
    let record = job.client().record(new).await.map_err(Cause::host(doing(uuid)))?;
    // As the repository made it: the table's end belongs there.
    let len_bytes = u64::try_from(record.virtual_size).unwrap_or(0);
    let smaller = DiskWork::ResizeDown { len_bytes };
    dom0_disk::work(job, &at(clone), &smaller, Until::at_once(stop)).await?;
    dom0_disk::copy(job, &at(clone), &at(new), len_bytes, stop).await?;
    remove(job, clone, uuid).await
}

async fn remove(job: &Job, vdi: &Ref<Vdi>, uuid: &str) -> Result<(), Cause> {
    let patience = job.driver.settings().detach_timeout;
    remove::vdi(job.client(), vdi, Dom0::Detach, patience).await.map_err(Cause::host(doing(uuid)))
}

fn doing(uuid: &str) -> String {
    format!("making disk {uuid} smaller")
}
