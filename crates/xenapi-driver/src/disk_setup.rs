//! What dom0 does to the disks of a new instance before its first start.

use xenapi_storage::device::UserDevice;
use xenapi_storage::ownership::{DiskUse, Ownership};

use crate::cancel::Stop;
use crate::compatibility;
use crate::dom0_disk::{self, DiskWork, Injection, Target, Until};
use crate::error::Cause;
use crate::job::{Disk, Job};
use crate::plan::{Conflict, Conflicts, DiskPlan, Plan};

/// File systems that the plugin makes.
pub(crate) const FORMATS: [&str; 5] = ["ext2", "ext3", "ext4", "xfs", "vfat"];

/// What the plugin `dom0_protocol` does to the disks of a new instance, in dom0, before its first start. Usually
/// nothing: then no plugin is needed, and guests find swap and ephemeral disks blank.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskSetup {
    /// Whether the root disk's only partition and its file system grow to the disk: Nova's `auto_disk_config`.
    pub grow: Grow,
    /// What is written into the root file system: Nova's `flat_injected`, and files of a request.
    pub injection: Option<Injection>,
    /// Whether the swap disk gets a partition with swap space.
    pub format_swap: bool,
    /// What ephemeral disks are formatted with: `ext2`, `ext3`, `ext4`, `xfs` or `vfat`. Their labels are
    /// `ephemeral`, `ephemeral1` …
    pub ephemeral_fs: Option<String>,
}

/// Whether a root disk's partition grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grow {
    /// It stays: the guest does it, or nobody.
    #[default]
    No,
    /// Where that is safe. Where it is not (several partitions, another file system, one with errors), the
    /// instance starts as it is, and [`Instance::not_grown`](crate::Instance::not_grown) says why.
    Try,
    /// Or there is no instance.
    Require,
}

impl DiskSetup {
    /// What stands in the way, as far as it is known without the hosts.
    pub(crate) fn conflicts(&self, foreign_root: bool) -> impl Iterator<Item = Conflict> {
        let unknown = self.ephemeral_fs.as_ref().filter(|fs| !FORMATS.contains(&fs.as_str()));
        let format = unknown.map(|fs| Conflict::FileSystem { wanted: fs.clone(), known: &FORMATS });
        let is_for_root = self.grow == Grow::Require || self.injected().is_some();
        format.into_iter().chain((foreign_root && is_for_root).then_some(Conflict::SetupOfVolume))
    }

    /// What is to be written, if that is anything: for nothing, no file system is mounted.
    fn injected(&self) -> Option<&Injection> {
        self.injection.as_ref().filter(|injection| **injection != Injection::default())
    }

    /// The functions of the plugin that a plan needs.
    fn functions(&self, plan: &Plan) -> Vec<&'static str> {
        let has_root = plan.import.is_some();
        let mut functions = Vec::new();
        if self.grow != Grow::No && has_root {
            functions.push("auto_configure_disk");
        }
        if self.injected().is_some() && has_root {
            functions.push("inject");
        }
        if plan.blank.iter().any(|disk| self.format_of(disk).is_some()) {
            functions.push("generate_disk");
        }
        functions
    }

    /// How a blank disk is formatted: file system and label.
    fn format_of(&self, disk: &DiskPlan) -> Option<DiskWork> {
        if disk.name_description == DiskUse::Swap.as_str() {
            let fs = "swap".to_owned();
            return self.format_swap.then(|| DiskWork::Generate { fs, label: String::new() });
        }
        // Who installs makes the partitions.
        if disk.name_description == DiskUse::User.as_str() {
            return None;
        }
        let label = match disk.userdevice.number().saturating_sub(UserDevice::FIRST_EPHEMERAL.number()) {
            0 => "ephemeral".to_owned(),
            n => format!("ephemeral{n}"),
        };
        self.ephemeral_fs.clone().map(|fs| DiskWork::Generate { fs, label })
    }
}

/// Sees that the host has what is needed, before anything is made.
pub(crate) async fn check(job: &Job, setup: &DiskSetup, plan: &Plan) -> Result<(), Cause> {
    let functions = setup.functions(plan);
    // Who wants nothing of the host does not ask it.
    if functions.is_empty() {
        return Ok(());
    }
    match compatibility::state(job.client(), &plan.node.reference).await.lacks(&functions) {
        None => Ok(()),
        Some(why) => Err(Conflicts::from(Conflict::NoPlugin { node: plan.node.name.clone(), why }).into()),
    }
}

/// Grows the root disk's file system and writes into it. Why it did not grow, if it was only to be tried.
pub(crate) async fn root(
    job: &Job,
    setup: &DiskSetup,
    plan: &Plan,
    disk: &Disk,
    stop: &Stop,
) -> Result<Option<String>, Cause> {
    let mut not_grown = None;
    if setup.grow != Grow::No {
        match work(job, plan, disk, &DiskWork::AutoConfigure, stop).await {
            Err(cause) if setup.grow == Grow::Try && dom0_disk::refusal(&cause).is_some() => {
                not_grown = dom0_disk::refusal(&cause);
            }
            done => done?,
        }
    }
    if let Some(injection) = setup.injected() {
        work(job, plan, disk, &DiskWork::Inject(injection.clone()), stop).await?;
    }
    Ok(not_grown)
}

/// Formats a blank disk, if it is to be.
pub(crate) async fn blank(
    job: &Job,
    setup: &DiskSetup,
    plan: &Plan,
    wanted: &DiskPlan,
    disk: &Disk,
    stop: &Stop,
) -> Result<(), Cause> {
    match setup.format_of(wanted) {
        Some(format) => work(job, plan, disk, &format, stop).await,
        None => Ok(()),
    }
}

async fn work(job: &Job, plan: &Plan, disk: &Disk, work: &DiskWork, stop: &Stop) -> Result<(), Cause> {
    let owner = job.driver.settings().owner.clone();
    let mark = Ownership { owner, instance: plan.instance, operation: job.operation };
    let target = Target { vdi: disk.reference.clone(), host: plan.node.reference.clone(), mark };
    dom0_disk::work(job, &target, work, Until::at_once(stop)).await
}
