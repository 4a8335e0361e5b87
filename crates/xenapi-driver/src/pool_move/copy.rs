//! A disk on its way to another pool.

use disk_stream::Sums;
use xenapi_storage::Repository;
use xenapi_storage::device::UserDevice;
use xenapi_storage::ownership::{self, Ownership};
use xenapi_types::{Ref, Vdi};

use super::{Plan, Source};
use crate::cancel::Stop;
use crate::drive;
use crate::error::Cause;
use crate::inventory::Node;
use crate::job::{Disk, Job};
use crate::plan::DiskPlan;
use crate::progress::Stage;
use crate::reconcile;
use crate::remove::{self, Dom0};
use crate::resize::shrink;
use crate::snapshot;
use crate::spawn::Checks;
use crate::transfer::{self, Relay};

/// A disk, and how much of it is there already.
pub(super) struct Copying<'a> {
    source: &'a Source,
    made: Option<Disk>,
    /// The snapshot whose content is there.
    base: Option<Disk>,
    /// Of what was written.
    sums: Sums,
}

impl<'a> Copying<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self { source, made: None, base: None, sums: Sums::new() }
    }

    /// While the guest still runs: copies a snapshot, so that only what changes meanwhile is left for the time when it
    /// does not.
    pub(super) async fn ahead(
        &mut self,
        job: &Job,
        there: &Job,
        plan: &Plan,
        stop: &Stop,
    ) -> Result<(), Cause> {
        if !self.source.ahead {
            return Ok(());
        }
        let snapshot = snapshot::take(job, &self.source.vdi, &self.source.record, stop).await?;
        self.copy((job, there), plan, (&snapshot, None), Stage::Storage, stop).await?;
        self.base = Some(snapshot);
        Ok(())
    }

    /// While it does not run: copies the rest, and reads it back.
    pub(super) async fn complete(
        &mut self,
        job: &Job,
        there: &Job,
        plan: &Plan,
        checks: Checks,
        stop: &Stop,
    ) -> Result<(), Cause> {
        let record = &self.source.record;
        let here = Disk {
            reference: self.source.vdi.clone(),
            sr: record.sr.clone(),
            uuid: record.uuid.clone(),
            virtual_bytes: u64::try_from(record.virtual_size).unwrap_or(0),
        };
        let passing = match &self.source.shrinking {
            Some(by) => Some(self.smaller(job, plan, by, stop).await?),
            None => None,
        };
        let base = self.base.take();
        let from = passing.as_ref().unwrap_or(&here);
        let from = (from, base.as_ref().map(|base| &base.reference));
        let copy = self.copy((job, there), plan, from, Stage::RootDisk, stop).await?;
        for passed in base.iter().chain(&passing) {
            let patience = job.driver.settings().detach_timeout;
            let removed = remove::vdi(job.client(), &passed.reference, Dom0::Detach, patience).await;
            removed.map_err(Cause::host(format!("removing disk {}, which was passing", passed.uuid)))?;
        }
        if checks != Checks::None {
            drive::verify(there, record, &copy, stop).await?;
        }
        if checks == Checks::AllDisks {
            transfer::compare_copy(there, &self.sums, &copy, stop).await?;
        }
        Ok(())
    }

    /// What is to go there, made here beside the disk. It has the mark of a snapshot, by which it is found as well.
    async fn smaller(
        &self,
        job: &Job,
        plan: &Plan,
        (node, sr): &(Node, Repository),
        stop: &Stop,
    ) -> Result<Disk, Cause> {
        let Source { vdi, record, .. } = self.source;
        let mut wanted = self.wanted(job, plan);
        wanted.other_config.insert(snapshot::marker(job), record.uuid.clone());
        let clone = snapshot::clone(job, vdi, record, stop).await?;
        let passing = job.create_disk(&wanted, sr, stop).await?;
        let mark = shrink::mark(job, &plan.before, job.operation);
        shrink::fill(job, node, mark, (&clone.reference, &passing.reference), &record.uuid, stop).await?;
        Ok(passing)
    }

    async fn copy(
        &mut self,
        (job, there): (&Job, &Job),
        plan: &Plan,
        (from, base): (&Disk, Option<&Ref<Vdi>>),
        stage: Stage,
        stop: &Stop,
    ) -> Result<Disk, Cause> {
        let into = match self.made.take() {
            Some(made) => made,
            None => self.target(there, plan, stop).await?,
        };
        self.made = Some(into.clone());
        let relay = Relay { from, base, into: &into, sr: &self.source.sr, sums: &self.sums, stage };
        transfer::relay(job, relay, there, stop).await?;
        Ok(into)
    }

    /// The new disk, empty. Whoever undoes the move finds it by the instance.
    async fn target(&self, there: &Job, plan: &Plan, stop: &Stop) -> Result<Disk, Cause> {
        let disk = there.make_disk(&self.wanted(there, plan), &self.source.sr, stop, |_| {}).await?;
        there.seal(&disk).await?;
        Ok(disk)
    }

    /// A disk like this one, of the size that it is to have, made by this job.
    fn wanted(&self, job: &Job, plan: &Plan) -> DiskPlan {
        let Source { record, bytes, .. } = self.source;
        let owner = job.driver.settings().owner.clone();
        let mut other_config = record.other_config.clone();
        other_config.retain(|key, _| *key != ownership::SELF && reconcile::operation_of(key).is_none());
        let ownership = Ownership { owner, instance: plan.instance, operation: job.operation };
        other_config.extend(ownership.keys());
        DiskPlan {
            name_label: record.name_label.clone(),
            name_description: record.name_description.clone(),
            virtual_bytes: *bytes,
            other_config,
            // Its place is that of its drive.
            userdevice: UserDevice::ROOT,
            bootable: false,
            writable: true,
            disc: false,
        }
    }

    /// The disk here.
    pub(super) fn vdi(&self) -> &Ref<Vdi> {
        &self.source.vdi
    }

    /// The disk there.
    pub(super) fn made(&self) -> Option<&Disk> {
        self.made.as_ref()
    }

    /// Of the disk here and of that there.
    pub(super) fn uuids(&self) -> (String, String) {
        (
            self.source.record.uuid.clone(),
            self.made.as_ref().map(|made| made.uuid.clone()).unwrap_or_default(),
        )
    }
}
