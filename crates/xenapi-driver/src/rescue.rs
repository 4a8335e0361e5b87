//! Booting an instance from another disk, with its own root disk beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xenapi_client::{Client, Result};
use xenapi_storage::device::UserDevice;
use xenapi_types::{Ref, Sr, VbdType, Vdi, Vm, VmPowerState, VmRecord, vm};

use crate::cancel::Stop;
use crate::coming_up;
use crate::drive::{self, NewDrive, Renewal};
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::{self, Which, plugs};
use crate::held::Held;
use crate::import::{self, Wanted};
use crate::job::{Failed, Job, heap};
use crate::journal::{self, Note};
use crate::moving;
use crate::operation::Operation;
use crate::power::{self, PowerChange, Shutdown};
use crate::progress::{Progress, Stage};
use crate::remove::{self, gone_is_fine};
use crate::resize::journal::{Replaced, Shape};
use crate::resize::{self, restore};
use crate::spec::{ImageFormat, RootImage, SrChoice};
use crate::volume::{self, Drive};
use crate::xenstore;

/// What is written down before anything changes.
const KEY: &str = journal::RESCUE;
/// The instance has been brought up from the rescue disk: the operation that rescued it.
const DONE: &str = "xenapi-rs:rescue-done";
/// That is being ended: the operation that rescued it, and that which does it. There is only the way back.
const ENDING: &str = "xenapi-rs:rescue-ending";

/// How an instance is rescued.
#[derive(Debug, Clone)]
pub struct RescueOptions {
    /// Where the rescue disk's content is.
    pub image: RootImage,
    /// What the image is, where that is known.
    pub image_format: ImageFormat,
    /// Where the rescue disk goes.
    pub sr: SrChoice,
    /// A config drive for the time of the rescue; without it, the guest finds the one that it has.
    pub config_drive: Option<NewDrive>,
    /// How a running guest is brought down.
    pub shutdown: Shutdown,
    /// Who is told what happens.
    pub progress: Progress,
}

impl RescueOptions {
    /// With an image of unknown format, on the pool's default repository; the guest is switched off hard.
    pub fn with(image: impl Into<RootImage>) -> Self {
        Self {
            image: image.into(),
            image_format: ImageFormat::Unknown,
            sr: SrChoice::PoolDefault,
            config_drive: None,
            shutdown: Shutdown::Hard,
            progress: Progress::none(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    operation: Uuid,
    was_running: bool,
    root: Replaced,
    /// The drive for discs that is in the way of the own root disk, and taken out as long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disc: Option<Replaced>,
    /// Of a config drive that is replaced as long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config_drive: Option<Replaced>,
}

impl Journal {
    fn read(vm: &VmRecord) -> Option<Self> {
        journal::read(vm, KEY)
    }

    /// What says that an operation is ending it.
    fn ending(&self, by: Uuid) -> String {
        format!("{} {by}", self.operation)
    }

    /// The operation that is ending it.
    fn ended_by(&self, vm: &VmRecord) -> Option<Uuid> {
        let (of, by) = vm.other_config.get(ENDING)?.split_once(' ')?;
        (of == self.operation.to_string()).then_some(by)?.parse().ok()
    }

    /// Whether the instance has been brought up.
    fn is_done(&self, vm: &VmRecord) -> bool {
        vm.other_config.get(DONE) == Some(&self.operation.to_string())
    }
}

impl Driver {
    /// Boots an instance from a rescue disk, made from an image, with its own root disk at device 1. All its other
    /// disks, its volumes and its interfaces stay as they are; it may boot from a volume. A drive for discs at device 1, as
    /// that of an instance that was installed from one, is taken out as long.
    ///
    /// When it fails or is cancelled, the instance is as it was, running if it was.
    ///
    /// # Errors
    ///
    /// [`Cause::Rescued`] when it is being rescued already; [`Cause::NoRootDisk`]; [`Cause::DeviceInUse`] when
    /// something else is at device 1; [`Cause::ResizePending`]; [`Cause::WrongState`]; [`Cause::Image`];
    /// [`Cause::Conflicts`], also when no host that takes guests reaches its disks; [`Cause::Host`].
    pub fn rescue(&self, which: Which, options: RescueOptions) -> Operation<()> {
        let object = format!("instance {which}");
        self.verb(Op::Rescue, object, options.progress.clone(), move |job, stop| {
            Box::pin(async move {
                let (_gate, vm, record) = find::ours_in_turn(job, &which, stop).await?;
                let record = job.stage(Stage::Find, moving::settled(job, &vm, record)).await?;
                rescue(job, &vm, &record, options, stop).await
            })
        })
    }

    /// Ends the rescue of an instance: it has its own root disk again, is started if it ran before, and the rescue
    /// disk is removed. It can be repeated, and ends a rescue that broke off.
    ///
    /// It can be cancelled until `xenapi-rs:rescue-ending` is noted on the VM, which then is as it was. From
    /// there on it goes on to its end, whoever cancels it.
    ///
    /// # Errors
    ///
    /// [`Cause::NotRescued`]; [`Cause::WrongState`] when its own root disk is gone: then it keeps the rescue disk;
    /// [`Cause::Conflicts`] when it ran and no host takes it now; [`Cause::Host`].
    pub fn unrescue(&self, which: Which, progress: Progress) -> Operation<()> {
        self.verb(Op::Unrescue, format!("instance {which}"), progress, move |job, stop| {
            Box::pin(async move {
                let (_gate, vm, record) = find::ours_in_turn(job, &which, stop).await?;
                let ending = async {
                    stop.check()?;
                    let Some(journal) = Journal::read(&record) else {
                        return Err(Cause::NotRescued { vm: record.uuid });
                    };
                    job.would(|| {
                        let back =
                            format!("have VM {} boot from its disk {} again", record.uuid, journal.root.vdi);
                        let state = if journal.was_running { "running" } else { "halted" };
                        vec![
                            back,
                            "remove the rescue disk".to_owned(),
                            format!("leave it {state}, as it was"),
                        ]
                    })?;
                    if journal.was_running {
                        let mut drives = volume::loaded(job, &record).await?;
                        drives.retain(|drive| drive.record.userdevice != journal.root.userdevice);
                        coming_up::check(job, &record, &record.affinity, &srs_of(&drives)).await?;
                    }
                    let doing = || format!("ending the rescue of VM {}", record.uuid);
                    // From the note on there is only the way forward.
                    stop.check()?;
                    let ending = journal.ending(job.operation);
                    journal::flag_with(job.client(), &vm, ENDING, ending)
                        .await
                        .map_err(Cause::host(doing()))?;
                    end(&job.driver, &vm, journal.operation).await.map_err(Held::while_doing(doing()))
                };
                job.stage(Stage::Remove, ending).await
            })
        })
    }
}

/// Whether an instance is being rescued.
pub(crate) fn is(vm: &VmRecord) -> bool {
    vm.other_config.contains_key(KEY)
}

/// The operation of a rescue that broke off before the instance was up, or while another operation was ending
/// it; and that which broke off.
pub(crate) fn broken(vm: &VmRecord) -> Option<(Uuid, Uuid)> {
    let journal = Journal::read(vm)?;
    let begun = Some(journal.operation).filter(|_| !journal.is_done(vm));
    Some((journal.operation, journal.ended_by(vm).or(begun)?))
}

type Outcome<T, E = Cause> = std::result::Result<T, E>;

async fn rescue(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    options: RescueOptions,
    stop: &Stop,
) -> Outcome<(), Failed> {
    let owner = &job.driver.settings().owner;
    let instance = find::made_for(&record.other_config, &record.uuid, owner).unwrap_or_default();
    let RescueOptions { image, image_format, sr, config_drive, shutdown, .. } = options;
    let (journal, root, renewal) = job.stage(Stage::Plan, decide(job, record, config_drive.as_ref())).await?;
    let name = format!("{}-rescue", record.name_label);
    let wanted = Wanted { name, image, image_format, sr, bytes: None, discs: false };
    let ready = heap(|| import::ready(job, record, instance, wanted, stop)).await?;
    job.would(|| steps(record, shutdown, &journal))?;
    job.stage(Stage::Vm, note(job, vm, record, &journal, stop)).await?;
    let (rescue_disk, _) = heap(|| ready.make(job, stop)).await?;
    let new_drive = match &renewal {
        Some(renewal) => Some(heap(|| renewal.make(job, record, stop)).await?.reference),
        None => None,
    };
    if journal.was_running {
        let stopping = async {
            goes_on(job, vm).await?;
            power::change(job, vm, record, PowerChange::Off(shutdown), stop).await
        };
        job.stage(Stage::Stop, stopping).await?;
    }
    let own = [(beside(&journal.root), root)];
    let others = own.into_iter().chain(journal.config_drive.as_ref().map(Replaced::with_own).zip(new_drive));
    let exchanging = async {
        stop.check()?;
        goes_on(job, vm).await?;
        let boot = Replaced {
            vdi: rescue_disk.uuid.clone(),
            bootable: true,
            writable: true,
            ..journal.root.with_own()
        };
        for (place, disk) in [(boot, rescue_disk.reference)].into_iter().chain(others) {
            let put = restore::put(&job.driver, vm, record, &place, &disk, journal.operation).await;
            put.map_err(Cause::host(format!("exchanging the disks of VM {}", record.uuid)))?;
        }
        Ok(())
    };
    job.stage(Stage::Devices, exchanging).await?;
    job.stage(Stage::Start, start(job, vm, record, instance, stop)).await
}

fn steps(record: &VmRecord, shutdown: Shutdown, journal: &Journal) -> Vec<String> {
    let new = "make a rescue disk from the image".to_owned();
    let drive = journal.config_drive.as_ref().map(|_| "make a config drive for the rescue".to_owned());
    let (own, beside) = (&journal.root.vdi, UserDevice::RESCUED_ROOT);
    let swap = format!("have it boot from that, with its own root disk {own} at device {beside}");
    let disc = journal.disc.as_ref().map(|_| format!("take out the drive for discs at device {beside}"));
    let mut inner = power::around(record, shutdown, disc.into_iter().chain([swap]).collect());
    if !journal.was_running {
        inner.push(format!("start VM {}", record.uuid));
    }
    [new].into_iter().chain(drive).chain(inner).collect()
}

/// From here on the rescue is taken back, also by others if this program dies.
async fn note(job: &Job, vm: &Ref<Vm>, record: &VmRecord, journal: &Journal, stop: &Stop) -> Outcome<()> {
    stop.check()?;
    let (driver, ended, operation) = (job.driver.clone(), vm.clone(), journal.operation);
    let undo = async move {
        end(&driver, &ended, operation).await?;
        // Somebody may have ended it before: what was made since then.
        let record = driver.client().record_opt(&ended).await?;
        match record.filter(|record| Journal::read(record).is_none_or(|it| it.operation != operation)) {
            Some(record) => Ok::<_, Held>(restore::remove_of(&driver, &record, operation).await?),
            None => Ok(()),
        }
    };
    let (what, text) =
        (format!("the rescue of VM {}", record.uuid), serde_json::to_string(journal).unwrap_or_default());
    journal::begin(job, vm, record, Note { what, key: KEY, text, flags: &[DONE, ENDING] }, undo).await
}

/// Makes sure that nobody has ended the rescue: between what takes long and what changes the VM.
async fn goes_on(job: &Job, vm: &Ref<Vm>) -> Outcome<()> {
    let now = job.client().record(vm).await.map_err(Cause::host("seeing whether it can go on"))?;
    let own = Journal::read(&now).filter(|journal| journal.operation == job.operation);
    match own.filter(|journal| journal.ended_by(&now).is_none()) {
        Some(_) => Ok(()),
        None => Err(journal::taken_back(&now)),
    }
}

/// Where the own root disk is meanwhile.
fn beside(root: &Replaced) -> Replaced {
    Replaced { userdevice: UserDevice::RESCUED_ROOT.to_string(), bootable: false, ..root.clone() }
}

async fn start(job: &Job, vm: &Ref<Vm>, record: &VmRecord, instance: Uuid, stop: &Stop) -> Outcome<()> {
    stop.check()?;
    goes_on(job, vm).await?;
    let hostname = drive::hostname(None, &record.name_label, instance);
    let told = (xenstore::HOSTNAME.to_owned(), Some(xenstore::rescue_name(record, &hostname)));
    xenstore::change(job, vm, record, &BTreeMap::from([told]), stop).await?;
    power::change(job, vm, &halted(record), PowerChange::On, stop).await?;
    power::begun(job, vm, stop).await?;
    let noted = journal::flag_with(job.client(), vm, DONE, job.operation.to_string()).await;
    noted.map_err(Cause::host("noting the rescue"))?;
    goes_on(job, vm).await
}

fn halted(vm: &VmRecord) -> VmRecord {
    let mut vm = vm.clone();
    vm.power_state = VmPowerState::Halted;
    vm
}

async fn decide(
    job: &Job,
    record: &VmRecord,
    config_drive: Option<&NewDrive>,
) -> Outcome<(Journal, Ref<Vdi>, Option<Renewal>)> {
    let was_running = plugs(record)?;
    if is(record) {
        return Err(Cause::Rescued { vm: record.uuid.clone() });
    }
    if resize::state(record).is_some() {
        return Err(Cause::ResizePending { vm: record.uuid.clone() });
    }
    let drives = volume::drives(job, record).await?;
    let at = |device: UserDevice| drives.iter().find(|drive| drive.record.userdevice == device.to_string());
    let Some(root) = at(UserDevice::ROOT) else { return Err(Cause::NoRootDisk(record.uuid.clone())) };
    let disc = disc_in_the_way(job, record).await?;
    // As it is started: where it prefers to be.
    let home = [&record.affinity, &record.resident_on].into_iter().find(|host| !host.is_null());
    coming_up::check(job, record, home.unwrap_or(&Ref::NULL), &srs_of(&drives)).await?;
    let renewal = match config_drive {
        Some(wanted) => Some(Renewal::in_place(job, record, wanted, &drives).await?),
        None => None,
    };
    let journal = Journal {
        operation: job.operation,
        was_running,
        root: Replaced::of(root),
        disc,
        config_drive: renewal.as_ref().map(|renewal| renewal.place.clone()),
    };
    Ok((journal, root.vdi.clone(), renewal))
}

fn srs_of(drives: &[Drive]) -> Vec<Ref<Sr>> {
    drives.iter().map(|drive| drive.disk.sr.clone()).collect()
}

/// What is where the own root disk is to be meanwhile, if it is a drive for discs.
async fn disc_in_the_way(job: &Job, record: &VmRecord) -> Outcome<Option<Replaced>> {
    let device = UserDevice::RESCUED_ROOT.to_string();
    let places = find::places(job.client(), record).await?;
    let Some((_, vbd)) = places.iter().find(|(_, vbd)| vbd.userdevice == device) else { return Ok(None) };
    if vbd.r#type != VbdType::Cd {
        return Err(Cause::DeviceInUse { device, vm: record.uuid.clone() });
    }
    let disc = job.client().record_opt(&vbd.vdi).await;
    let disc = disc.map_err(Cause::host(format!("reading the disc of VM {}", record.uuid)))?;
    Ok(Some(Replaced::at(vbd, disc.map(|disc| disc.uuid).unwrap_or_default())))
}

/// Has the VM boot from its own root disk again; what was made for the rescue by this operation goes.
pub(crate) async fn end(driver: &Driver, vm: &Ref<Vm>, operation: Uuid) -> Result<(), Held> {
    let client = driver.client();
    let Some(record) = remove::at_rest(driver, vm).await? else { return Ok(()) };
    let Some(journal) = Journal::read(&record).filter(|journal| journal.operation == operation) else {
        return Ok(forget(client, vm, &record, operation).await?);
    };
    let root = client.by_uuid_opt::<Vdi>(&journal.root.vdi).await?;
    let at = async |device: String| restore::drive_at(client, &record, &device).await;
    let here = at(journal.root.userdevice.clone()).await?.map(|(_, vdi)| vdi);
    if root.is_none() && here.is_some() {
        return Err(without_root(&record, &journal).into());
    }
    if let Some(root) = root.filter(|root| Some(root) != here.as_ref()) {
        remove::stop(driver, vm, &record).await?;
        if let Some((beside, vdi)) = at(UserDevice::RESCUED_ROOT.to_string()).await?
            && vdi == root
        {
            gone_is_fine(client.destroy(&beside).await)?;
        }
        restore::put(driver, vm, &record, &journal.root, &root, journal.operation).await?;
    }
    if let Some(place) = &journal.config_drive
        && let Some(own) = client.by_uuid_opt::<Vdi>(&place.vdi).await?
        && at(place.userdevice.clone()).await?.map(|(_, vdi)| vdi).as_ref() != Some(&own)
    {
        remove::stop(driver, vm, &record).await?;
        restore::put(driver, vm, &record, place, &own, journal.operation).await?;
    }
    if let Some(place) = &journal.disc {
        let disc = client.by_uuid_opt::<Vdi>(&place.vdi).await?.unwrap_or(Ref::NULL);
        if at(place.userdevice.clone()).await?.map(|(_, vdi)| vdi).as_ref() != Some(&disc) {
            remove::stop(driver, vm, &record).await?;
            restore::put(driver, vm, &record, place, &disc, journal.operation).await?;
        }
    }
    restore::remove_of(driver, &record, journal.operation).await?;
    client.remove_from(vm, vm::field::XENSTORE_DATA, xenstore::HOSTNAME).await?;
    restart(driver, vm, &record, journal.was_running).await?;
    let Some(now) = client.record_opt(vm).await? else { return Ok(()) };
    if Journal::read(&now).is_none_or(|journal| journal.operation != operation) {
        return Ok(forget(client, vm, &now, operation).await?);
    }
    // The text goes last: without it nobody would come for the others.
    for key in [DONE, ENDING, KEY] {
        client.remove_from(vm, vm::field::OTHER_CONFIG, key).await?;
    }
    Ok(())
}

/// What its rescue disk has is all that the instance has.
fn without_root(vm: &VmRecord, journal: &Journal) -> Cause {
    let state = format!("without its own root disk {}, which somebody has removed", journal.root.vdi);
    let remedy = "destroy the instance, or, to keep it with its rescue disk, remove the key xenapi-rs:rescue \
                  from its other_config";
    Cause::WrongState { vm: vm.uuid.clone(), state, remedy }
}

/// Removes what was noted beside a text that is not there any more: who noted it was slower than who ended it.
async fn forget(client: &Client, vm: &Ref<Vm>, record: &VmRecord, operation: Uuid) -> Result<()> {
    let operation = operation.to_string();
    for key in [DONE, ENDING] {
        if record.other_config.get(key).is_some_and(|value| value.starts_with(&operation)) {
            client.remove_from(vm, vm::field::OTHER_CONFIG, key).await?;
        }
    }
    Ok(())
}

async fn restart(driver: &Driver, vm: &Ref<Vm>, record: &VmRecord, was_running: bool) -> Result<(), Held> {
    let client = driver.client();
    let state = client.get_field(vm, vm::field::POWER_STATE).await?;
    match (was_running, state) {
        (true, VmPowerState::Halted) => restore::start(driver, vm, &Shape::of(record)).await,
        (false, VmPowerState::Running) => remove::stop(driver, vm, record).await,
        _ => Ok(()),
    }
}
