//! New disks for old ones: larger ones on the same repository, copies on another, or smaller ones.

use std::collections::BTreeMap;

use xenapi_storage::ownership::{self, Ownership};
use xenapi_storage::{DiskRequest, Repository, device::UserDevice};
use xenapi_types::{Call, Ref, Vdi, VdiRecord, VmRecord, vdi};

use super::dom0_copy::Way;
use super::journal::{Journal, Replaced};
use super::shrink::{self, Shrinking};
use crate::cancel::Stop;
use crate::chains::Chains;
use crate::drive::{self, Renewal};
use crate::error::Cause;
use crate::find;
use crate::job::{Disk, Job, heap};
use crate::plan::DiskPlan;
use crate::progress::Stage;
use crate::remove::{self, Dom0};
use crate::volume::Drive;
use crate::zeros;

/// A disk to be replaced.
pub(super) struct Change {
    pub(super) place: Replaced,
    pub(super) vdi: Ref<Vdi>,
    pub(super) record: VdiRecord,
    /// The repository that the new one goes to.
    pub(super) sr: Repository,
    pub(super) bytes: u64,
    /// The new disk, once it has been made.
    made: Option<Ref<Vdi>>,
    /// What has been copied already while the guest ran.
    base: Option<Ref<Vdi>>,
    /// The snapshot from which it has been, or from which it is sent.
    snapshot: Option<Ref<Vdi>>,
    /// The new disk is not to be a copy of the old one.
    renewal: Option<Renewal>,
    /// Where it is made smaller.
    pub(super) shrinking: Option<Shrinking>,
    /// The way that it goes by dom0.
    way: Option<Way>,
}

impl Change {
    /// A larger one, or a copy elsewhere.
    pub(super) fn new(old: Drive, sr: Repository, bytes: u64) -> Self {
        let place = Replaced::of(&old);
        Self {
            place,
            vdi: old.vdi,
            record: old.disk,
            sr,
            bytes,
            made: None,
            base: None,
            snapshot: None,
            renewal: None,
            shrinking: None,
            way: None,
        }
    }

    /// A copy elsewhere, by way of the control domains.
    pub(super) fn sending(way: Way, old: Drive, sr: Repository, bytes: u64) -> Self {
        let sent = Some(way.sent.clone());
        let change = Self::new(old, sr, bytes);
        Self { place: Replaced { sent, ..change.place }, way: Some(way), ..change }
    }

    /// A config drive with another content.
    pub(super) fn renewing(renewal: Renewal, old: Drive, sr: Repository) -> Self {
        let bytes = renewal.len_bytes();
        Self { renewal: Some(renewal), ..Self::new(old, sr, bytes) }
    }

    /// A smaller one, made in the dom0 of a host.
    pub(super) fn shrinking(shrinking: Shrinking, old: Drive, sr: Repository, bytes: u64) -> Self {
        let bytes = shrinking.size(&sr, bytes);
        Self { shrinking: Some(shrinking), ..Self::new(old, sr, bytes) }
    }

    /// What becomes of the disk, in words.
    pub(super) fn step(&self) -> String {
        let (device, old, sr) = (&self.place.userdevice, &self.record.uuid, &self.sr.name_label);
        let gib = self.bytes as f64 / f64::from(1 << 30);
        let how = match () {
            () if self.renewal.is_some() => format!("with a new config drive in storage repository {sr:?}"),
            () if self.shrinking.is_some() => format!("with a smaller copy of {gib:.1} GiB, made in dom0"),
            () if self.way.is_some() => {
                format!("with a copy of {gib:.1} GiB in storage repository {sr:?}, sent from dom0 to dom0")
            }
            () if self.is_copied() => format!("with a copy of {gib:.1} GiB in storage repository {sr:?}"),
            () => format!("with a clone of {gib:.1} GiB"),
        };
        format!("replace disk {old} at device {device} {how}")
    }

    /// Whether what is on the disk moves. One that stays on its repository need not be copied: a clone shares its
    /// blocks.
    pub(super) fn is_copied(&self) -> bool {
        self.renewal.is_none() && self.shrinking.is_none() && self.sr.reference != self.record.sr
    }

    /// What it takes for a while in a repository where it is made smaller.
    pub(super) fn beside(&self, sr: &Repository, chains: &Chains) -> Option<DiskRequest> {
        let beside = self.shrinking.as_ref()?.beside.as_ref()?;
        (beside.reference == sr.reference).then(|| chains.copy(&self.record, self.bytes))
    }

    pub(super) fn made(&self) -> Option<&Ref<Vdi>> {
        self.made.as_ref()
    }

    /// While the guest still runs: copies a snapshot of the disk, so that only what changes meanwhile is left
    /// for the time when it does not.
    pub(super) async fn copy_ahead(
        &mut self,
        job: &Job,
        journal: &Journal,
        stop: &Stop,
    ) -> Result<(), Cause> {
        stop.check()?;
        let call = vdi::Snapshot { vdi: self.vdi.clone(), driver_params: None };
        let doing = format!("taking a snapshot of disk {}", self.record.uuid);
        let snapshot = self.take(job, journal, call, doing).await?;
        self.snapshot = Some(snapshot.clone());
        if let Some(way) = &mut self.way {
            return way.ahead(job, &self.vdi, stop).await;
        }
        let target = self.target(job, journal, stop).await?;
        self.copy(job, (&snapshot, None), &target, Stage::Storage, stop).await?;
        self.base = Some(snapshot);
        Ok(())
    }

    /// While the guest does not run: makes the new disk, or completes it.
    pub(super) async fn make(
        &mut self,
        job: &Job,
        vm: &VmRecord,
        journal: &Journal,
        stop: &Stop,
    ) -> Result<(), Cause> {
        stop.check()?;
        if let Some(renewal) = &self.renewal {
            let made = heap(|| renewal.make(job, vm, stop)).await.map_err(|failed| failed.cause)?;
            self.made = Some(made.reference);
            return Ok(());
        }
        if self.shrinking.is_some() {
            return shrink::make(job, vm, self, journal, stop).await;
        }
        if !self.is_copied() {
            let made = self.clone_larger(job, journal).await?;
            return self.clear_the_rest(job, made, stop).await;
        }
        let target = match &mut self.way {
            Some(way) => {
                let sent = way.complete(job, &self.vdi, &self.record, stop).await?;
                self.take_over(job, journal, &sent).await?;
                self.made = Some(sent.clone());
                sent
            }
            None => {
                let target = self.target(job, journal, stop).await?;
                self.copy(job, (&self.vdi, self.base.as_ref()), &target, Stage::RootDisk, stop).await?;
                target
            }
        };
        self.clear_the_rest(job, target.clone(), stop).await?;
        let sr = self.sr.reference.clone();
        let copy = Disk { reference: target, sr, uuid: self.record.uuid.clone(), virtual_bytes: self.bytes };
        drive::verify(job, &self.record, &copy, stop).await
    }

    /// Removes what was only needed on the way: the snapshot, and the mark of a clone.
    pub(super) async fn tidy(&self, job: &Job, journal: &Journal) -> Result<(), Cause> {
        let (client, patience) = (job.client(), job.driver.settings().detach_timeout);
        let doing = || Cause::host(format!("removing the snapshot of disk {}", self.record.uuid));
        if let Some(snapshot) = &self.snapshot {
            remove::vdi(client, snapshot, Dom0::Detach, patience).await.map_err(doing())?;
        }
        if let Some(made) = self.made.as_ref().filter(|_| self.is_clone()) {
            let unmarked = client.remove_from(made, vdi::field::OTHER_CONFIG, journal.marker()).await;
            unmarked.map_err(doing())?;
        }
        Ok(())
    }

    /// Whether the new disk is a clone of the old one.
    fn is_clone(&self) -> bool {
        self.renewal.is_none() && self.shrinking.is_none() && !self.is_copied()
    }

    /// Makes a snapshot or a clone of the disk, which has the mark as long as that takes. What is made keeps
    /// it, so that what others make in that moment is not taken for it.
    async fn take<C: Call<Output = Ref<Vdi>>>(
        &self,
        job: &Job,
        journal: &Journal,
        call: C,
        doing: String,
    ) -> Result<Ref<Vdi>, Cause> {
        let (client, field, marker) = (job.client(), vdi::field::OTHER_CONFIG, journal.marker());
        let doing = || Cause::host(&*doing);
        let marked = client.add_to(&self.vdi, field, marker.as_str(), self.record.uuid.as_str()).await;
        marked.map_err(doing())?;
        let taken = client.call(call).await.map_err(doing())?;
        client.remove_from(&self.vdi, field, marker.as_str()).await.map_err(doing())?;
        let record = client.record(&taken).await.map_err(doing())?;
        let mut keys = record.other_config;
        keys.insert(ownership::OPERATION.to_owned(), journal.operation.to_string());
        keys.insert(ownership::SELF.to_owned(), record.uuid);
        client.set_field(&taken, field, keys).await.map_err(doing())?;
        remove::unmark_others(client, &marker, journal.operation).await;
        Ok(taken)
    }

    /// What the disk has grown by shows nothing of others.
    async fn clear_the_rest(&self, job: &Job, made: Ref<Vdi>, stop: &Stop) -> Result<(), Cause> {
        let (sr, uuid) = (self.sr.reference.clone(), self.record.uuid.clone());
        let disk = Disk { reference: made, sr, uuid, virtual_bytes: self.bytes };
        let content = u64::try_from(self.record.virtual_size).unwrap_or(0);
        heap(|| zeros::fill(job, &self.sr, &disk, content, Stage::RootDisk, stop)).await
    }

    async fn clone_larger(&mut self, job: &Job, journal: &Journal) -> Result<Ref<Vdi>, Cause> {
        let clone = self.clone_disk(job, journal).await?;
        if self.bytes > u64::try_from(self.record.virtual_size).unwrap_or(0) {
            let call = vdi::Resize { vdi: clone.clone(), size: self.bytes as i64 };
            let doing = Cause::host(format!("growing a clone of disk {}", self.record.uuid));
            job.client().call(call).await.map_err(doing)?;
        }
        self.made = Some(clone.clone());
        Ok(clone)
    }

    /// A clone of the old disk, of this operation.
    pub(super) async fn clone_disk(&self, job: &Job, journal: &Journal) -> Result<Ref<Vdi>, Cause> {
        let call = vdi::Clone { vdi: self.vdi.clone(), driver_params: None };
        self.take(job, journal, call, format!("cloning disk {}", self.record.uuid)).await
    }

    /// What the old disk's `other_config` is for the new one, without its uuid.
    fn keys(&self, job: &Job, journal: &Journal) -> BTreeMap<String, String> {
        let owner = job.driver.settings().owner.clone();
        let instance =
            find::made_for(&self.record.other_config, &self.record.uuid, &owner).unwrap_or_default();
        let mut keys = self.record.other_config.clone();
        keys.remove(&journal.marker());
        keys.remove(ownership::SELF);
        keys.extend(Ownership { owner, instance, operation: journal.operation }.keys());
        keys
    }

    /// Makes a disk that the other host's repository has found the instance's own, as large as it is to be.
    async fn take_over(&self, job: &Job, journal: &Journal, sent: &Ref<Vdi>) -> Result<(), Cause> {
        let client = job.client();
        let doing = || Cause::host(format!("noting that disk {} is now another one", self.record.uuid));
        let record = client.record(sent).await.map_err(doing())?;
        let mut keys = self.keys(job, journal);
        keys.insert(ownership::SELF.to_owned(), record.uuid.clone());
        client.set_field(sent, vdi::field::OTHER_CONFIG, keys).await.map_err(doing())?;
        let (name, description) = (self.record.name_label.clone(), self.record.name_description.clone());
        client.call(vdi::SetNameLabel { vdi: sent.clone(), value: name }).await.map_err(doing())?;
        client
            .call(vdi::SetNameDescription { vdi: sent.clone(), value: description })
            .await
            .map_err(doing())?;
        let size = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        if size > record.virtual_size {
            let call = vdi::Resize { vdi: sent.clone(), size };
            client.call(call).await.map_err(Cause::host(format!("growing disk {}", record.uuid)))?;
        }
        Ok(())
    }

    /// The new disk, empty.
    pub(super) async fn target(
        &mut self,
        job: &Job,
        journal: &Journal,
        stop: &Stop,
    ) -> Result<Ref<Vdi>, Cause> {
        if let Some(made) = &self.made {
            return Ok(made.clone());
        }
        let disk = job.make_disk(&self.plan(job, journal), &self.sr, stop, |_| {}).await?;
        self.made = Some(disk.reference.clone());
        job.seal(&disk).await?;
        Ok(disk.reference)
    }

    /// A disk as the new one, but in another repository. Who undoes the resize removes it as he does the new one.
    pub(super) async fn passing(
        &self,
        job: &Job,
        journal: &Journal,
        sr: &Repository,
        stop: &Stop,
    ) -> Result<Disk, Cause> {
        let disk = job.make_disk(&self.plan(job, journal), sr, stop, |_| {}).await?;
        job.seal(&disk).await?;
        Ok(disk)
    }

    fn plan(&self, job: &Job, journal: &Journal) -> DiskPlan {
        DiskPlan {
            name_label: self.record.name_label.clone(),
            name_description: self.record.name_description.clone(),
            virtual_bytes: self.bytes,
            other_config: self.keys(job, journal),
            userdevice: self.place.userdevice.parse().unwrap_or(UserDevice::ROOT),
            bootable: self.place.bootable,
            writable: self.place.writable,
            disc: false,
        }
    }

    pub(super) async fn copy(
        &self,
        job: &Job,
        (from, base): (&Ref<Vdi>, Option<&Ref<Vdi>>),
        into: &Ref<Vdi>,
        stage: Stage,
        stop: &Stop,
    ) -> Result<(), Cause> {
        let doing = format!("copying disk {} to SR {:?}", self.record.uuid, self.sr.name_label);
        let call = vdi::Copy {
            vdi: from.clone(),
            sr: Some(Ref::NULL),
            base_vdi: Some(base.cloned().unwrap_or(Ref::NULL)),
            into_vdi: Some(into.clone()),
        };
        job.run(call, doing, stage, stop).await.map(drop)
    }
}

/// Whether this is the place of the root disk.
pub(crate) fn is_root(place: &str) -> bool {
    place == UserDevice::ROOT.to_string()
}
