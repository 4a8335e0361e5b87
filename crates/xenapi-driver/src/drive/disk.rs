//! The disk that a config drive is on: written, read back, known by its digest, replaced by another one.

use std::collections::BTreeMap;

use config_drive::{Image, MacAddr};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use xenapi_client::Client;
use xenapi_storage::device::UserDevice;
use xenapi_storage::ownership::{DiskUse, NOVA_DISK_TYPE, OPERATION, Ownership};
use xenapi_storage::{DiskRequest, Repository};
use xenapi_types::{Ref, Vdi, VdiRecord, VmRecord, vdi};

use super::{Guest, Interface, build, vifs};
use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::{self, Which};
use crate::job::{Disk, Failed, Job};
use crate::operation::Operation;
use crate::plan::{self, Conflict, Conflicts};
use crate::progress::{Progress, Stage};
use crate::resize::{self, journal::Replaced};
use crate::spawn::Checks;
use crate::spec::{self, Address};
use crate::transfer;
use crate::volume::{self, Drive};

/// In a config drive's `other_config`, from when it has been written and compared: how many bytes were written,
/// and their SHA-256. What lies behind them is zero. Copies of the disk inherit it.
const DIGEST: &str = "xenapi-rs:config-drive-digest";

/// A config drive that takes the place of the one that an instance has. Name, uuid and interfaces are those of the
/// instance; all else is said here again, for nothing but the drive itself remembers it.
#[derive(Debug, Clone, Default)]
pub struct NewDrive {
    /// What it tells the guest.
    pub content: spec::ConfigDrive,
    /// The instance's metadata.
    pub metadata: BTreeMap<String, String>,
    /// The addresses of its interfaces; those that are not named here have DHCP.
    pub addresses: BTreeMap<MacAddr, Vec<Address>>,
    /// The tags of its interfaces.
    pub nic_tags: BTreeMap<MacAddr, Vec<String>>,
    /// The tags of its disks and volumes by their place.
    pub disk_tags: BTreeMap<UserDevice, Vec<String>>,
    /// Whether it is read back and compared with what was written.
    pub checks: Checks,
}

impl Driver {
    /// Reads an instance's config drive and compares it with the digest that was noted when it was written. The
    /// guest may run.
    ///
    /// # Errors
    ///
    /// [`Cause::NoConfigDrive`]; [`Cause::ConfigDriveUnwritten`]; [`Cause::ConfigDriveChanged`];
    /// [`Cause::NoSuchInstance`], [`Cause::NotOurs`], [`Cause::Host`].
    pub fn check_config_drive(&self, which: Which, progress: Progress) -> Operation<()> {
        self.verb(Op::ConfigDrive, format!("instance {which}"), progress, move |job, stop| {
            Box::pin(async move {
                let finding = async {
                    let (_, record) = find::ours(job, &which).await?;
                    let drives = volume::drives(job, &record).await?;
                    let drive = drives.into_iter().find(is_config_drive);
                    let drive = drive.ok_or_else(|| Cause::NoConfigDrive(record.uuid.clone()))?;
                    match drive.disk.other_config.contains_key(DIGEST) {
                        true => Ok(drive),
                        false => Err(Cause::ConfigDriveUnwritten { disk: drive.disk.uuid, vm: record.uuid }),
                    }
                };
                let drive = job.stage(Stage::Find, finding).await?;
                job.would(|| vec![format!("read disk {} and compare it with its digest", drive.disk.uuid)])?;
                let checking = verify(job, &drive.disk, &drive.as_disk(), stop).await;
                checking.map_err(|cause| Failed { stage: Stage::ConfigDriveCheck, cause })
            })
        })
    }
}

/// Writes a config drive to the disk that `making` makes.
pub(crate) async fn write(
    job: &Job,
    vm_name: &str,
    image: &Image,
    making: impl Future<Output = Result<Disk, Cause>>,
    stop: &Stop,
) -> Result<Disk, Failed> {
    let writing = async {
        let disk = making.await?;
        let import =
            async |stop: Stop| transfer::import_config_drive(job, vm_name, image, &disk, &stop).await;
        stop.both(import, async |_| job.seal(&disk).await).await?;
        Ok(disk)
    };
    job.stage(Stage::ConfigDrive, writing).await
}

/// Reads a config drive that was written back, unless that is not wanted, and notes its digest: a disk with one has
/// been written.
pub(crate) async fn check(
    job: &Job,
    image: &Image,
    disk: &Disk,
    checks: Checks,
    stop: &Stop,
) -> Result<(), Failed> {
    if checks == Checks::None {
        return job.stage(Stage::ConfigDrive, note(job, image, disk, stop)).await;
    }
    let compare = async |stop: Stop| transfer::compare_config_drive(job, image, disk, &stop).await;
    let checking = stop.both(compare, async |stop| note(job, image, disk, &stop).await);
    job.stage(Stage::ConfigDriveCheck, checking).await.map(|_| ())
}

async fn note(job: &Job, image: &Image, disk: &Disk, stop: &Stop) -> Result<(), Cause> {
    stop.check()?;
    let digest = format!("{}:{:x}", image.len_bytes(), Sha256::digest(image.to_vec()));
    let noted = job.client().add_to(&disk.reference, vdi::field::OTHER_CONFIG, DIGEST, digest).await;
    noted.map_err(Cause::host(format!("noting the digest of config drive {}", disk.uuid)))
}

/// Compares a disk with the digest in the keys of the config drive that it is, or is a copy of. One without a
/// digest passes.
pub(crate) async fn verify(job: &Job, original: &VdiRecord, disk: &Disk, stop: &Stop) -> Result<(), Cause> {
    let digest = original.other_config.get(DIGEST).and_then(|digest| digest.split_once(':'));
    let Some((left, sha256)) = digest else { return Ok(()) };
    let verifying = async {
        let mut left: u64 = left.parse().unwrap_or(0);
        let (mut hash, mut rest_is_zero) = (Sha256::new(), true);
        transfer::read_config_drive(job, disk, stop, |chunk| {
            let inside = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            hash.update(&chunk[..inside]);
            left -= inside as u64;
            rest_is_zero &= chunk[inside..].iter().all(|byte| *byte == 0);
            Ok(())
        })
        .await?;
        match left == 0 && rest_is_zero && format!("{:x}", hash.finalize()) == sha256 {
            true => Ok(()),
            false => Err(Cause::ConfigDriveChanged { disk: disk.uuid.clone() }),
        }
    };
    job.progress.stage(Stage::ConfigDriveCheck, Box::pin(verifying)).await
}

/// The config drive that an operation has made, if it is complete.
pub(crate) async fn written_by(client: &Client, operation: Uuid) -> xenapi_client::Result<Option<Ref<Vdi>>> {
    let operation = operation.to_string();
    let fits = |disk: &VdiRecord| {
        disk.other_config.get(OPERATION) == Some(&operation) && disk.other_config.contains_key(DIGEST)
    };
    let disks = client.all_records::<Vdi>().await?;
    Ok(disks.into_iter().find(|(_, disk)| fits(disk)).map(|(reference, _)| reference))
}

/// Whether this is the config drive of the VM that it is in.
pub(crate) fn is_config_drive(drive: &Drive) -> bool {
    let disk_use = drive.disk.other_config.get(NOVA_DISK_TYPE).map(String::as_str);
    drive.is_own && disk_use == Some(DiskUse::ConfigDrive.as_str())
}

/// A config drive that is to take the place of another one: built, so that nothing is wrong with it, but on no
/// disk yet.
pub(crate) struct Renewal {
    image: Image,
    label: spec::ConfigDriveLabel,
    checks: Checks,
    /// Where the other one is.
    pub(crate) place: Replaced,
    sr: Repository,
}

impl Renewal {
    /// For this drive, on `sr`.
    pub(crate) async fn plan(
        job: &Job,
        vm: &VmRecord,
        wanted: &NewDrive,
        old: &Drive,
        sr: Repository,
    ) -> Result<Self, Cause> {
        let vifs = vifs(job, vm, wanted.addresses.keys().chain(wanted.nic_tags.keys())).await?;
        if !wanted.disk_tags.is_empty() {
            let drives = volume::drives(job, vm).await?;
            let has =
                |place: &UserDevice| drives.iter().any(|one| one.record.userdevice == place.to_string());
            if let Some(place) = wanted.disk_tags.keys().find(|place| !has(place)) {
                return Err(Conflicts::from(Conflict::TagsOfNothing(*place)).into());
            }
        }
        let interfaces = vifs.iter().map(|(mac, vif)| Interface {
            tags: wanted.nic_tags.get(mac).map_or(&[], Vec::as_slice),
            ..Interface::of(*mac, vif, "", &wanted.addresses)
        });
        let guest = Guest {
            instance: find::made_for(&vm.other_config, &vm.uuid, &job.driver.settings().owner)
                .unwrap_or_default(),
            name: &vm.name_label,
            metadata: &wanted.metadata,
            interfaces: interfaces.collect(),
            disk_tags: &wanted.disk_tags,
        };
        let image = build(&guest, &wanted.content).map_err(Cause::ConfigDrive)?;
        let request = DiskRequest { virtual_bytes: image.len_bytes(), data_bytes: None };
        sr.check_space(&[request]).map_err(Conflict::from).map_err(Conflicts::from)?;
        Ok(Self { image, label: wanted.content.label, checks: wanted.checks, place: Replaced::of(old), sr })
    }

    /// For the drive of an instance that must have one, on the repository where that is.
    pub(crate) async fn in_place(
        job: &Job,
        vm: &VmRecord,
        wanted: &NewDrive,
        drives: &[Drive],
    ) -> Result<Self, Cause> {
        let old = drives
            .iter()
            .find(|drive| is_config_drive(drive))
            .ok_or_else(|| Cause::NoConfigDrive(vm.uuid.clone()))?;
        let (repositories, _) = resize::repositories(job).await?;
        let sr = repositories.into_iter().find(|sr| sr.reference == old.disk.sr);
        let sr = sr.ok_or_else(|| Cause::NoHostSees { sr: old.sr_uuid.clone() })?;
        Self::plan(job, vm, wanted, old, sr).await
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        self.image.len_bytes()
    }

    /// Makes the disk, with the keys of this operation. It is not on the undo stack: whoever asks for it finds it
    /// by its operation.
    pub(crate) async fn make(&self, job: &Job, vm: &VmRecord, stop: &Stop) -> Result<Disk, Failed> {
        let owner = job.driver.settings().owner.clone();
        let instance = find::made_for(&vm.other_config, &vm.uuid, &owner).unwrap_or_default();
        let mark = Ownership { owner, instance, operation: job.operation };
        let plan = plan::config_drive(&mark, self.label, self.image.len_bytes());
        let making = job.make_disk(&plan, &self.sr, stop, |_| {});
        let disk = write(job, &vm.name_label, &self.image, making, stop).await?;
        check(job, &self.image, &disk, self.checks, stop).await?;
        Ok(disk)
    }
}
