//! Volumes: disks that outlive the instances they are attached to.

mod connect;
pub(crate) mod reach;
pub(crate) mod release;
mod source;
mod steps;
pub(crate) mod swap;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use xenapi_storage::device::{self, UserDevice};
use xenapi_storage::ownership::{self, Claim, Ownership};
use xenapi_types::{
    Host, Ref, Sr, Vbd, VbdMode, VbdRecord, VbdType, Vdi, VdiRecord, Vm, VmPowerState, VmRecord, sr, vbd, vdi,
};

pub use source::{Iscsi, Mount, Nfs, Portal, PortalError, Smb, Storage, Volume, VolumeDisk};

use crate::cancel::{self, Stop, Work};
use crate::driver::Driver;
use crate::error::{Cause, Error, Op};
use crate::find::{self, Which, plugs};
use crate::half::{self, Device};
use crate::held::Held;
use crate::image_cache;
use crate::inventory;
use crate::job::{Disk, Failed, Job};
use crate::operation::Operation;
use crate::plan::{Conflict, Conflicts};
use crate::progress::{Progress, Stage};
use crate::remove::{gone_is_fine, went_down};

/// Nova's key on the VBD of a volume. Its drivers only look whether it is there.
pub(crate) const VOLUME_KEY: &str = "osvol";

/// How a volume is attached.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// The place in the VM; `None` takes the first that is free behind those of the instance's own disks.
    pub device: Option<UserDevice>,
    /// The guest must not write to it.
    pub read_only: bool,
    /// Who is told what happens.
    pub progress: Progress,
}

/// A volume of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttachedVolume {
    /// What the block storage service calls it, or else the disk's uuid.
    pub id: String,
    /// Uuid of the disk.
    pub vdi_uuid: String,
    /// Uuid of the storage repository.
    pub sr_uuid: String,
    /// The place in the VM.
    pub device: String,
    /// Size in bytes.
    pub virtual_bytes: u64,
    /// Whether the guest must not write to it.
    pub read_only: bool,
    /// Whether the guest has it now.
    pub plugged: bool,
}

/// Whether the storage of a volume answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VolumeHealth {
    /// The volume.
    pub volume: AttachedVolume,
    /// Why it cannot be used, if it cannot.
    pub fault: Option<String>,
}

/// What a block storage service needs to know of a node to let it in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connector {
    /// The host's address.
    pub ip: String,
    /// Its iSCSI name, if it has one.
    pub initiator: Option<String>,
    /// Its host name.
    pub host: String,
}

impl Driver {
    /// Attaches a volume to an instance, running or halted. A repository that the pool does not know is
    /// introduced, and connected on the host where the instance is.
    ///
    /// It can be repeated: a volume that is attached stays as it is. When it fails or is cancelled, all that it
    /// made is removed. A server that does not answer is given up after
    /// [`Settings::storage_timeout`](crate::Settings::storage_timeout), a guest that does not take the drive after
    /// [`Settings::detach_timeout`](crate::Settings::detach_timeout).
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::NotOurs`]; [`Cause::WrongState`] for an instance that is paused or
    /// suspended; [`Cause::DeviceInUse`]; [`Cause::DiskInUse`] for one that another instance has and that is not
    /// [shared](Volume::shared); [`Cause::NoVolume`] for one that an instance may need or that images are
    /// cached in, unless it is only to be read; [`Cause::AmbiguousVolume`] when another volume of the
    /// instance has that id; [`Cause::NoSuchVolume`]; [`Cause::NoAnswer`]; [`Cause::Host`].
    pub fn attach_volume(
        &self,
        which: Which,
        volume: Volume,
        options: AttachOptions,
    ) -> Operation<AttachedVolume> {
        let object = format!("instance {which}");
        let AttachOptions { device, read_only, progress } = options;
        let job = Job::new(self.clone(), progress);
        let name = object.clone();
        Operation::start(&self.0.running, Op::AttachVolume, object, move |stop| async move {
            let found = match job.stage(Stage::Find, target(&job, &which, &volume, &stop)).await {
                // Whoever forgets the repository meanwhile would take it from under us.
                Ok(target) => match job.turn(&target.sr_uuid, &stop).await {
                    Ok(gate) => Ok((target, gate)),
                    Err(stopped) => Err(Failed::from(stopped)),
                },
                Err(failed) => Err(failed),
            };
            let result = match found {
                Ok((target, _gate)) => {
                    remember(&job, &target);
                    let result = attach(&job, &target, &Mount { volume, device, read_only }, &stop).await;
                    match result {
                        Ok(attached) => {
                            job.rollback.commit();
                            return Ok(attached);
                        }
                        Err(failed) => Err((failed, job.rollback.undo(&job.progress).await)),
                    }
                }
                Err(failed) => Err((failed, Vec::new())),
            };
            result.map_err(|(Failed { stage, cause }, leftovers)| {
                Error::new(Op::AttachVolume, name, stage, cause).with_leftovers(leftovers)
            })
        })
    }

    /// Detaches a volume from an instance, and forgets the repository if this driver introduced it and nobody
    /// uses it any more. `volume` is its name, its disk's uuid, or its place in the VM (`5`, `xvdf`).
    ///
    /// What a guest is using is not torn from it. It can be repeated: what failed half-way is finished by the next
    /// call. It names an end: one that has found the volume succeeds although somebody else takes it away at
    /// the same time. A guest or a server that does not answer is given up after
    /// [`Settings::detach_timeout`](crate::Settings::detach_timeout) for the drive and
    /// [`Settings::storage_timeout`](crate::Settings::storage_timeout) for the connection. Cancelling leaves
    /// it attached as long as the guest has it; after that, it goes on to its end.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchVolume`]; [`Cause::AmbiguousVolume`]; [`Cause::OwnDisk`] for a disk that was made for the instance;
    /// [`Cause::NoAnswer`], which names the device; else as [`Driver::attach_volume`].
    pub fn detach_volume(
        &self,
        which: Which,
        volume: impl Into<String>,
        progress: Progress,
    ) -> Operation<AttachedVolume> {
        let object = format!("instance {which}");
        let (name, volume) = (object.clone(), volume.into());
        let job = Job::new(self.clone(), progress);
        Operation::start(&self.0.running, Op::DetachVolume, object, move |stop| async move {
            let result = detach(&job, &which, &volume, &stop).await;
            result.map_err(|Failed { stage, cause }| Error::new(Op::DetachVolume, name, stage, cause))
        })
    }

    /// Makes a volume larger, or, without a size, takes over the size that its LUN has now; returns what it is
    /// then. XAPI cannot do the former while a guest uses the disk.
    ///
    /// Cancelling it before it begins leaves all as it was, and ends a scan for the new size.
    ///
    /// # Errors
    ///
    /// [`Cause::Shrink`]; [`Cause::WrongState`] when a guest has it; else as [`Driver::detach_volume`].
    pub fn extend_volume(
        &self,
        which: Which,
        volume: impl Into<String>,
        bytes: Option<u64>,
        progress: Progress,
    ) -> Operation<AttachedVolume> {
        let object = format!("instance {which}");
        let (name, volume) = (object.clone(), volume.into());
        let job = Job::new(self.clone(), progress);
        Operation::start(&self.0.running, Op::ExtendVolume, object, move |stop| async move {
            let result = extend(&job, &which, &volume, bytes, &stop).await;
            result.map_err(|Failed { stage, cause }| Error::new(Op::ExtendVolume, name, stage, cause))
        })
    }

    /// The volumes of an instance, in the order of their places.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::NotOurs`], [`Cause::Host`].
    pub async fn volumes(&self, which: &Which) -> crate::Result<Vec<AttachedVolume>> {
        let job = Job::new(self.clone(), Progress::none());
        let listed = listed(&job, which).await;
        listed.map_err(|cause| Error::new(Op::Volumes, format!("instance {which}"), Stage::Find, cause))
    }

    /// Looks whether the storage of each volume of an instance still answers; all at the same time, and no
    /// longer than [`Settings::storage_timeout`](crate::Settings::storage_timeout). Nothing is changed;
    /// cancelling ends the looks.
    ///
    /// # Errors
    ///
    /// As [`Driver::volumes`]: a volume that does not answer is part of the result.
    pub fn check_volumes(&self, which: Which, progress: Progress) -> Operation<Vec<VolumeHealth>> {
        self.verb(Op::Volumes, format!("instance {which}"), progress, move |job, stop| {
            Box::pin(async move {
                let volumes = job.stage(Stage::Find, listed(job, &which)).await?;
                job.would(|| {
                    let srs: BTreeSet<_> = volumes.iter().map(|volume| &volume.sr_uuid).collect();
                    srs.into_iter().map(|sr| format!("scan storage repository {sr}")).collect::<Vec<_>>()
                })?;
                job.stage(Stage::Storage, check(job, volumes, stop)).await
            })
        })
    }

    /// What a block storage service needs to know of the node with this uuid.
    ///
    /// # Errors
    ///
    /// When there is no such node, or it cannot be asked.
    pub async fn connector(&self, node: uuid::Uuid) -> crate::Result<Connector> {
        let asked = async {
            let host = self.client().by_uuid::<Host>(&node.to_string()).await?;
            self.client().record(&host).await
        };
        let host = asked.await.map_err(|error| {
            let cause = Cause::host("reading the host")(error);
            Error::new(Op::Volumes, format!("node {node}"), Stage::Find, cause)
        })?;
        // Before XenServer 7.5 the name was in other_config.
        let old = host.other_config.get("iscsi_iqn").cloned();
        let initiator = Some(host.iscsi_iqn).filter(|iqn| !iqn.is_empty()).or(old);
        Ok(Connector { ip: host.address, initiator, host: host.hostname })
    }
}

/// The volumes of an instance, in the order of their places.
async fn listed(job: &Job, which: &Which) -> Result<Vec<AttachedVolume>, Cause> {
    let record = find::known(job, which).await?;
    let drives = drives(job, &record).await?;
    Ok(drives.into_iter().filter(|drive| !drive.is_own).map(|drive| drive.shown()).collect())
}

/// Scans the repository of each volume, each once.
async fn check(job: &Job, volumes: Vec<AttachedVolume>, stop: &Stop) -> Result<Vec<VolumeHealth>, Cause> {
    let srs: BTreeSet<String> = volumes.iter().map(|volume| volume.sr_uuid.clone()).collect();
    let scans = srs.into_iter().map(|uuid| -> Work<'_, Cause, (String, Option<String>)> {
        Box::pin(async move {
            match scan(job, &uuid, stop).await {
                Err(Cause::Cancelled) => Err(Cause::Cancelled),
                scanned => Ok((uuid, scanned.err().map(|cause| cause.to_string()))),
            }
        })
    });
    let faults: BTreeMap<_, _> = cancel::all(scans).await?.into_iter().collect();
    let health = |volume: AttachedVolume| {
        let fault = faults.get(&volume.sr_uuid).cloned().flatten();
        VolumeHealth { volume, fault }
    };
    Ok(volumes.into_iter().map(health).collect())
}

async fn scan(job: &Job, sr_uuid: &str, stop: &Stop) -> Result<(), Cause> {
    let doing = format!("scanning storage repository {sr_uuid}");
    stop.check()?;
    let sr = job.client().by_uuid::<Sr>(sr_uuid).await.map_err(Cause::host(&*doing))?;
    let patience: Duration = job.driver.settings().storage_timeout;
    job.within(sr::Scan { sr }, doing, patience, stop).await
}

/// What a volume is to be attached to.
struct Target {
    vm: Ref<Vm>,
    record: VmRecord,
    instance: uuid::Uuid,
    hosts: Vec<Ref<Host>>,
    sr_uuid: String,
}

/// Has what an attachment makes removed if it fails.
fn remember(job: &Job, target: &Target) {
    let (driver, operation) = (job.driver.clone(), job.operation);
    let (vm, sr_uuid) = (target.vm.clone(), target.sr_uuid.clone());
    job.rollback.push_sweep(format!("what operation {operation} attached"), async move {
        release::operation(&driver, operation, &vm, &sr_uuid).await
    });
}

/// Before a VM with volumes is made: has the repositories that are introduced for it forgotten if it fails. Its
/// drives go with the VM, before.
pub(crate) fn remember_mounts(job: &Job) {
    let (driver, operation) = (job.driver.clone(), job.operation);
    job.rollback.push_sweep(format!("what operation {operation} connected"), async move {
        release::connections(&driver, operation).await
    });
}

/// Gives a VM that is being made a volume: the one that it boots from, or another one.
pub(crate) async fn mount(
    job: &Job,
    vm: &Ref<Vm>,
    instance: uuid::Uuid,
    host: &Ref<Host>,
    mount: &Mount,
    stop: &Stop,
) -> Result<AttachedVolume, Failed> {
    let finding = async {
        let record = job.client().record(vm).await.map_err(Cause::host("reading the new VM"))?;
        let sr_uuid = connect::sr_uuid(job, &mount.volume.storage, host, stop).await?;
        Ok(Target { vm: vm.clone(), record, instance, hosts: vec![host.clone()], sr_uuid })
    };
    let target = job.stage(Stage::Storage, finding).await?;
    let _gate = job.turn(&target.sr_uuid, stop).await?;
    attach(job, &target, mount, stop).await
}

async fn target(job: &Job, which: &Which, volume: &Volume, stop: &Stop) -> Result<Target, Cause> {
    let (vm, record) = find::ours(job, which).await?;
    plugs(&record)?;
    let instance = find::made_for(&record.other_config, &record.uuid, &job.driver.settings().owner);
    let hosts = hosts_of(job, &record).await?;
    if job.driver.0.rehearses {
        let steps = steps::attaching(job, &record, volume).await?;
        job.would(|| steps)?;
    }
    let sr_uuid = match hosts.first() {
        Some(host) => connect::sr_uuid(job, &volume.storage, host, stop).await?,
        None => return Err(Cause::NoHost),
    };
    Ok(Target { vm, record, instance: instance.unwrap_or_default(), hosts, sr_uuid })
}

/// Where a VM is; a halted one where it prefers to be, or wherever it may be.
async fn hosts_of(job: &Job, vm: &VmRecord) -> Result<Vec<Ref<Host>>, Cause> {
    let hosts = job.client().all_records::<Host>().await.map_err(Cause::host("reading the hosts"))?;
    let home = [&vm.resident_on, &vm.affinity].into_iter().find(|host| hosts.contains_key(*host));
    if let Some(home) = home {
        return Ok(vec![home.clone()]);
    }
    let mut able = Vec::new();
    for (reference, host) in hosts.into_iter().filter(|(_, host)| host.enabled) {
        let dead = inventory::is_dead(job.client(), &host.metrics).await;
        if !dead.map_err(Cause::host("reading the hosts"))? {
            able.push(reference);
        }
    }
    Ok(able)
}

async fn attach(job: &Job, target: &Target, mount: &Mount, stop: &Stop) -> Result<AttachedVolume, Failed> {
    let connecting = async {
        let (sr, record) =
            connect::connect(job, &mount.volume.storage, &target.sr_uuid, &target.hosts, stop).await?;
        connect::disk(job, &mount.volume, &sr, &record.name_label, stop).await
    };
    let (vdi, disk) = job.stage(Stage::Storage, connecting).await?;
    // Two at once would choose the same place.
    let _gate = job.turn(&target.record.uuid, stop).await?;
    let plugging = async {
        id_is_free(job, target, mount, &vdi, None).await?;
        plug(job, target, mount, (&vdi, &disk), stop).await
    };
    job.stage(Stage::Devices, plugging).await
}

/// Nobody could say which one is meant if two volumes of a VM had one id. That of `leaving` becomes free.
async fn id_is_free(
    job: &Job,
    target: &Target,
    mount: &Mount,
    vdi: &Ref<Vdi>,
    leaving: Option<&Drive>,
) -> Result<(), Cause> {
    let Some(id) = &mount.volume.id else { return Ok(()) };
    let stays = |drive: &Drive| drive.vdi != *vdi && leaving.is_none_or(|leaving| leaving.vdi != drive.vdi);
    let drives = drives(job, &target.record).await?;
    match drives.into_iter().find(|drive| drive.has_id(id) && stays(drive)) {
        None => Ok(()),
        Some(other) => {
            let (name, vm) = (id.clone(), target.record.uuid.clone());
            Err(Cause::AmbiguousVolume { name, vm, disks: vec![other.disk.uuid] })
        }
    }
}

async fn plug(
    job: &Job,
    target: &Target,
    mount: &Mount,
    (vdi, disk): (&Ref<Vdi>, &VdiRecord),
    stop: &Stop,
) -> Result<AttachedVolume, Cause> {
    let client = job.client();
    let id = mount.volume.id.clone().unwrap_or_else(|| disk.uuid.clone());
    let doing = || format!("attaching volume {id:?} to VM {}", target.record.uuid);
    let (drive, record) = match drives(job, &target.record).await?.into_iter().find(|drive| drive.vdi == *vdi)
    {
        Some(drive) => {
            is_as_wanted(target, mount, &drive)?;
            (drive.reference, drive.record)
        }
        None => {
            if let Some(vm) = rival(job, &target.vm, disk, mount.read_only).await?.filter(|_| !disk.sharable)
            {
                return Err(Cause::DiskInUse { disk: disk.uuid.clone(), vm });
            }
            if !mount.read_only {
                is_volume(disk)?;
            }
            let device = choose_device(job, target, mount.device).await?;
            let owner = job.driver.settings().owner.clone();
            let mark = Ownership { owner, instance: target.instance, operation: job.operation };
            let mut other_config = mark.keys();
            other_config.insert(VOLUME_KEY.to_owned(), id.clone());
            // With a VM that is not complete, its drives go too.
            if find::complete(&target.record).is_ok() {
                half::mark(&mut other_config, job.operation);
            }
            let call = vbd::Create {
                vm: target.vm.clone(),
                vdi: vdi.clone(),
                userdevice: device.to_string(),
                bootable: mount.device == Some(UserDevice::ROOT),
                mode: if mount.read_only { VbdMode::Ro } else { VbdMode::Rw },
                r#type: VbdType::Disk,
                unpluggable: true,
                empty: false,
                other_config,
                ..vbd::Create::default()
            };
            stop.check()?;
            let drive = client.call(call).await.map_err(Cause::host(doing()))?;
            let record = client.record(&drive).await.map_err(Cause::host(doing()))?;
            (drive, record)
        }
    };
    // Asked now that the drive is there: a guest that starts later has it from its start.
    let vm = client.record(&target.vm).await.map_err(Cause::host(doing()))?;
    let plugs = plugs(&vm)?;
    if plugs && !record.currently_attached {
        stop.check()?;
        let plugged = release::plug(&job.driver, &drive, stop).await;
        went_down(client, &target.vm, plugged).await.map_err(Held::while_doing(doing()))?;
    }
    if record.other_config.contains_key(ownership::UNFINISHED) {
        Device::Drive(&drive).complete(client).await.map_err(Cause::host(doing()))?;
    }
    let drive = Drive {
        plugged: plugs,
        is_own: false,
        reference: drive,
        vdi: vdi.clone(),
        disk: disk.clone(),
        sr_uuid: target.sr_uuid.clone(),
        record,
    };
    Ok(drive.shown())
}

/// A volume that is there already stays as it is, if that is what is asked for.
fn is_as_wanted(target: &Target, mount: &Mount, drive: &Drive) -> Result<(), Cause> {
    let (disk, vm) = (drive.disk.uuid.clone(), target.record.uuid.clone());
    if drive.is_own {
        return Err(Cause::OwnDisk { disk, vm });
    }
    let device = drive.record.userdevice.clone();
    let is_read_only = drive.record.mode == VbdMode::Ro;
    if is_read_only != mount.read_only || mount.device.is_some_and(|wanted| wanted.to_string() != device) {
        let access = if is_read_only { "to be read only" } else { "to be written to" };
        return Err(Cause::AttachedOtherwise { disk, vm, device, access });
    }
    Ok(())
}

/// Sees that a disk may be written to as a volume: somebody may need it although it is in no drive, as the
/// old disk of a resize that waits to be confirmed, or a cached image.
fn is_volume(disk: &VdiRecord) -> Result<(), Cause> {
    let why = match Claim::read(&disk.other_config, &disk.uuid) {
        Claim::Original(maker) | Claim::Unsealed(maker) if !maker.instance.is_nil() => {
            "it was made for an instance, and ends with it"
        }
        _ if image_cache::serves_instances(disk) => "it is a cached image, of which instances are made",
        _ => return Ok(()),
    };
    Err(Cause::NoVolume { disk: disk.uuid.clone(), why })
}

/// Uuid of another VM that has the disk, where one of the two writes to it. Control domains do not count: XAPI's own rule.
async fn rival(job: &Job, vm: &Ref<Vm>, disk: &VdiRecord, read_only: bool) -> Result<Option<String>, Cause> {
    let doing = || Cause::host(format!("looking who uses disk {}", disk.uuid));
    for vbd in &disk.vbds {
        let Some(vbd) = job.client().record_opt(vbd).await.map_err(doing())? else { continue };
        if vbd.vm == *vm || (read_only && vbd.mode == VbdMode::Ro) {
            continue;
        }
        let user = job.client().record_opt(&vbd.vm).await.map_err(doing())?;
        if let Some(user) = user.filter(|user| !user.is_control_domain && !user.is_a_snapshot) {
            return Ok(Some(user.uuid));
        }
    }
    Ok(None)
}

async fn choose_device(job: &Job, target: &Target, wanted: Option<UserDevice>) -> Result<UserDevice, Cause> {
    let doing = || Cause::host(format!("looking for a free place for a disk in VM {}", target.record.uuid));
    let call = xenapi_types::vm::GetAllowedVbdDevices { vm: target.vm.clone() };
    let allowed = job.client().call(call).await.map_err(doing())?;
    let mut taken = Vec::new();
    let vbds = job.client().get_field(&target.vm, xenapi_types::vm::field::VBDS).await.map_err(doing())?;
    for vbd in &vbds {
        taken.extend(job.client().record_opt(vbd).await.map_err(doing())?.map(|vbd| vbd.userdevice));
    }
    let free = |first| device::next_free(allowed.iter().map(|d| &**d), taken.iter().map(|d| &**d), first);
    match wanted {
        None => free(UserDevice::FIRST_EPHEMERAL)
            .ok_or_else(|| Cause::DeviceInUse { device: "every".to_owned(), vm: target.record.uuid.clone() }),
        Some(device) if free(device) == Some(device) => Ok(device),
        Some(device) => {
            Err(Cause::DeviceInUse { device: device.to_string(), vm: target.record.uuid.clone() })
        }
    }
}

/// A drive of a VM with the disk in it.
pub(crate) struct Drive {
    pub(crate) reference: Ref<Vbd>,
    pub(crate) record: VbdRecord,
    pub(crate) vdi: Ref<Vdi>,
    pub(crate) disk: VdiRecord,
    pub(crate) sr_uuid: String,
    /// The disk was made for the instance and ends with it.
    pub(crate) is_own: bool,
    plugged: bool,
}

impl Drive {
    fn shown(&self) -> AttachedVolume {
        let id = self.record.other_config.get(VOLUME_KEY).filter(|id| !id.is_empty());
        AttachedVolume {
            id: id.unwrap_or(&self.disk.uuid).clone(),
            vdi_uuid: self.disk.uuid.clone(),
            sr_uuid: self.sr_uuid.clone(),
            device: self.record.userdevice.clone(),
            virtual_bytes: u64::try_from(self.disk.virtual_size).unwrap_or(0),
            read_only: self.record.mode == VbdMode::Ro,
            plugged: self.plugged,
        }
    }

    /// Whether the guest has it as a disc, which it cannot write to.
    pub(crate) fn is_disc(&self) -> bool {
        self.record.r#type == VbdType::Cd
    }

    pub(crate) fn as_disk(&self) -> Disk {
        let virtual_bytes = u64::try_from(self.disk.virtual_size).unwrap_or(0);
        let (sr, uuid) = (self.disk.sr.clone(), self.disk.uuid.clone());
        Disk { reference: self.vdi.clone(), sr, uuid, virtual_bytes }
    }

    /// Whether the volume was attached by this id.
    fn has_id(&self, id: &str) -> bool {
        self.record.other_config.get(VOLUME_KEY).is_some_and(|own| own == id)
    }

    fn is_at(&self, name: &str) -> bool {
        let place = |text: &str| text.parse::<UserDevice>().ok();
        place(name).is_some_and(|name| place(&self.record.userdevice) == Some(name))
    }
}

/// The drives of a VM that hold disks, in the order of their places.
pub(crate) async fn drives(job: &Job, vm: &VmRecord) -> Result<Vec<Drive>, Cause> {
    let mut drives = loaded(job, vm).await?;
    drives.retain(|drive| !drive.is_disc());
    Ok(drives)
}

/// The drives of a VM that hold disks or discs, in the order of their places: all that has to be where the VM is.
pub(crate) async fn loaded(job: &Job, vm: &VmRecord) -> Result<Vec<Drive>, Cause> {
    let doing = || Cause::host(format!("reading the disks of VM {}", vm.uuid));
    let mut found = Vec::new();
    for (reference, record) in find::places(job.client(), vm).await? {
        if record.empty {
            continue;
        }
        let vdi = record.vdi.clone();
        let Some(disk) = job.client().record_opt(&vdi).await.map_err(doing())? else { continue };
        let sr_uuid = job.client().get_field(&disk.sr, sr::field::UUID).await.map_err(doing())?;
        let owner = &job.driver.settings().owner;
        let is_own = !record.other_config.contains_key(VOLUME_KEY)
            && find::made_for(&disk.other_config, &disk.uuid, owner).is_some();
        let plugged = record.currently_attached;
        found.push(Drive { reference, record, vdi, disk, sr_uuid, is_own, plugged });
    }
    Ok(found)
}

/// Sees that the disks which are named to go somewhere, by their uuids, are among those that can: one that is
/// named by mistake would else be forgotten in silence.
pub(crate) fn all_known<'a, T>(
    vm: &VmRecord,
    can_go: impl Iterator<Item = &'a Drive>,
    named: &BTreeMap<String, T>,
) -> Result<(), Cause> {
    let have: Vec<String> = can_go.map(|drive| drive.disk.uuid.clone()).collect();
    let unknown = named.keys().filter(|uuid| !have.contains(uuid)).cloned();
    let found: Vec<_> = unknown
        .map(|wanted| Conflict::NoSuchDisk { wanted, vm: vm.uuid.clone(), have: have.clone() })
        .collect();
    if found.is_empty() { Ok(()) } else { Err(Conflicts::new(found).into()) }
}

/// The volume of this name: the uuid of its VDI, its id, or its place. An id may look like another one's place.
async fn named(job: &Job, vm: &VmRecord, name: &str) -> Result<Drive, Cause> {
    let drives = drives(job, vm).await?;
    let have: Vec<String> =
        drives.iter().filter(|drive| !drive.is_own).map(|drive| drive.shown().id).collect();
    let is_uuid = drives.iter().any(|drive| drive.disk.uuid == name);
    let fits = |drive: &Drive| {
        if is_uuid { drive.disk.uuid == name } else { drive.has_id(name) || drive.is_at(name) }
    };
    let mut found: Vec<Drive> = drives.into_iter().filter(fits).collect();
    let Some(drive) = found.pop() else {
        let (wanted, place) = (format!("{name:?}"), format!("VM {}", vm.uuid));
        return Err(Cause::NoSuchVolume { wanted, place, have });
    };
    if !found.is_empty() {
        let disks = found.iter().chain([&drive]).map(|drive| drive.disk.uuid.clone()).collect();
        return Err(Cause::AmbiguousVolume { name: name.to_owned(), vm: vm.uuid.clone(), disks });
    }
    if drive.is_own {
        return Err(Cause::OwnDisk { disk: drive.disk.uuid, vm: vm.uuid.clone() });
    }
    Ok(drive)
}

async fn detach(job: &Job, which: &Which, name: &str, stop: &Stop) -> Result<AttachedVolume, Failed> {
    let finding = async {
        let (_, record) = find::ours(job, which).await?;
        let plugs = plugs(&record)?;
        Ok((named(job, &record, name).await?, plugs, record))
    };
    let (drive, plugs, record) = job.stage(Stage::Find, finding).await?;
    job.would(|| {
        let (id, vm, sr) = (drive.shown().id, &record.uuid, &drive.sr_uuid);
        let detach = format!("detach volume {id:?} from VM {vm}");
        vec![
            detach,
            format!("forget storage repository {sr}, if this driver introduced it and nobody uses it"),
        ]
    })?;
    let _gate = job.turn(&drive.sr_uuid, stop).await?;
    let releasing = async {
        stop.check()?;
        let doing = format!("detaching volume {:?} from VM {}", drive.shown().id, record.uuid);
        let (client, half) = (job.client(), Device::Drive(&drive.reference));
        // Somebody else may have taken it away in between, which is what is wanted.
        gone_is_fine(half.begin(client, job.operation).await).map_err(Cause::host(&*doing))?;
        let released = release::volume(&job.driver, &drive.reference, plugs, &drive.disk.sr, stop).await;
        if let Err(why) = &released {
            half.withdraw(client, job.operation, why).await;
        }
        released.map_err(Held::while_doing(doing))
    };
    job.stage(Stage::Storage, releasing).await?;
    Ok(AttachedVolume { plugged: false, ..drive.shown() })
}

async fn extend(
    job: &Job,
    which: &Which,
    name: &str,
    bytes: Option<u64>,
    stop: &Stop,
) -> Result<AttachedVolume, Failed> {
    let finding = async {
        let (_, record) = find::ours(job, which).await?;
        let drive = named(job, &record, name).await?;
        let have_bytes = drive.shown().virtual_bytes;
        match bytes {
            Some(wanted_bytes) if wanted_bytes < have_bytes => {
                return Err(Cause::Shrink { disk: drive.disk.uuid, have_bytes, wanted_bytes });
            }
            Some(_) if drive.plugged && record.power_state != VmPowerState::Halted => {
                return Err(Cause::WrongState {
                    vm: record.uuid,
                    state: record.power_state.to_string(),
                    remedy: "detach the volume first, or switch the instance off",
                });
            }
            _ => {}
        }
        Ok(drive)
    };
    let mut drive = job.stage(Stage::Find, finding).await?;
    job.would(|| match bytes {
        Some(bytes) => vec![format!("extend disk {} to {bytes} bytes", drive.disk.uuid)],
        None => vec![format!("scan storage repository {} for the new size of its disks", drive.sr_uuid)],
    })?;
    let growing = async {
        stop.check()?;
        let doing = || format!("extending volume {:?}", drive.shown().id);
        match bytes {
            Some(bytes) => {
                let call = vdi::Resize { vdi: drive.vdi.clone(), size: bytes as i64 };
                job.client().call(call).await.map_err(Cause::host(doing()))?;
            }
            None => {
                let patience = job.driver.settings().storage_timeout;
                job.within(sr::Scan { sr: drive.disk.sr.clone() }, doing(), patience, stop).await?;
            }
        }
        job.client().record(&drive.vdi).await.map_err(Cause::host(doing()))
    };
    drive.disk = job.stage(Stage::Storage, growing).await?;
    Ok(drive.shown())
}
