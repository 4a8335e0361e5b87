//! A disk on its way to another pool.

use disk_stream::Sums;
use xenapi_storage::device::UserDevice;
use xenapi_storage::ownership::{self, Ownership};
use xenapi_types::{Ref, Vdi};

use super::{Plan, Source};
use crate::cancel::Stop;
use crate::drive;
use crate::error::Cause;
use crate::job::{Disk, Job};
use crate::plan::DiskPlan;
use crate::reconcile;
use crate::remove::{self, Dom0};
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
        self.copy(job, there, plan, &snapshot, None, stop).await?;
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
        let base = self.base.take();
        let copy =
            self.copy(job, there, plan, &here, base.as_ref().map(|base| &base.reference), stop).await?;
        if let Some(base) = base {
            let patience = job.driver.settings().detach_timeout;
            let removed = remove::vdi(job.client(), &base.reference, Dom0::Detach, patience).await;
            removed.map_err(Cause::host(format!("removing snapshot {}", base.uuid)))?;
        }
        if checks != Checks::None {
            drive::verify(there, record, &copy, stop).await?;
        }
        if checks == Checks::AllDisks {
            transfer::compare_copy(there, &self.sums, &copy, stop).await?;
        }
        Ok(())
    }

    async fn copy(
        &mut self,
        job: &Job,
        there: &Job,
        plan: &Plan,
        from: &Disk,
        base: Option<&Ref<Vdi>>,
        stop: &Stop,
    ) -> Result<Disk, Cause> {
        let into = match self.made.take() {
            Some(made) => made,
            None => self.target(there, plan, stop).await?,
        };
        self.made = Some(into.clone());
        let relay = Relay { from, base, into: &into, sr: &self.source.sr, sums: &self.sums };
        transfer::relay(job, relay, there, stop).await?;
        Ok(into)
    }

    /// The new disk, empty. Whoever undoes the move finds it by the instance.
    async fn target(&self, there: &Job, plan: &Plan, stop: &Stop) -> Result<Disk, Cause> {
        let Source { record, sr, bytes, .. } = self.source;
        let owner = there.driver.settings().owner.clone();
        let mut other_config = record.other_config.clone();
        other_config.retain(|key, _| *key != ownership::SELF && reconcile::operation_of(key).is_none());
        let ownership = Ownership { owner, instance: plan.instance, operation: there.operation };
        other_config.extend(ownership.keys());
        let wanted = DiskPlan {
            name_label: record.name_label.clone(),
            name_description: record.name_description.clone(),
            virtual_bytes: *bytes,
            other_config,
            // Its place is that of its drive.
            userdevice: UserDevice::ROOT,
            bootable: false,
            writable: true,
            disc: false,
        };
        let disk = there.make_disk(&wanted, sr, stop, |_| {}).await?;
        there.seal(&disk).await?;
        Ok(disk)
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
