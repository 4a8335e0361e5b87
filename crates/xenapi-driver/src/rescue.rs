//! Booting an instance from another disk, with its own root disk beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xenapi_client::{Client, Result};
use xenapi_storage::device::UserDevice;
use xenapi_types::{Ref, Vdi, Vm, VmPowerState, VmRecord, vm};

use crate::cancel::Stop;
use crate::drive::{self, NewDrive, Renewal};
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::{self, Which, plugs};
use crate::import::{self, Wanted};
use crate::job::{Failed, Job, heap};
use crate::operation::Operation;
use crate::power::{self, PowerChange, Shutdown};
use crate::progress::{Progress, Stage};
use crate::remove::{self, gone_is_fine};
use crate::resize::journal::{Replaced, Shape};
use crate::resize::{self, restore};
use crate::spec::{ImageFormat, RootImage, SrChoice};
use crate::volume;
use crate::xenstore;

/// What is written down before anything changes.
const KEY: &str = "xenapi-rs:rescue";
/// The instance has been brought up from the rescue disk.
const DONE: &str = "xenapi-rs:rescue-done";

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
    /// Of a config drive that is replaced as long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config_drive: Option<Replaced>,
}

impl Journal {
    fn read(vm: &VmRecord) -> Option<Self> {
        serde_json::from_str(vm.other_config.get(KEY)?).ok()
    }
}

impl Driver {
    /// Boots an instance from a rescue disk, made from an image, with its own root disk at device 1. All its other
    /// disks, its volumes and its interfaces stay as they are; it may boot from a volume.
    ///
    /// When it fails or is cancelled, the instance is as it was, running if it was.
    ///
    /// # Errors
    ///
    /// [`Cause::Rescued`] when it is being rescued already; [`Cause::NoRootDisk`]; [`Cause::DeviceInUse`] when
    /// something else is at device 1; [`Cause::ResizePending`]; [`Cause::WrongState`]; [`Cause::Image`];
    /// [`Cause::Conflicts`]; [`Cause::Host`].
    pub fn rescue(&self, which: Which, options: RescueOptions) -> Operation<()> {
        let object = format!("instance {which}");
        self.verb(Op::Rescue, object, options.progress.clone(), move |job, stop| {
            Box::pin(async move {
                let (vm, record) = job.stage(Stage::Find, find::ours(job, &which)).await?;
                let _gate = job.driver.0.gates.enter(&record.uuid).await;
                rescue(job, &vm, &record, options, stop).await
            })
        })
    }

    /// Ends the rescue of an instance: it has its own root disk again, is started if it ran before, and the rescue
    /// disk is removed. It can be repeated, and ends a rescue that broke off.
    ///
    /// # Errors
    ///
    /// [`Cause::NotRescued`], [`Cause::Host`].
    pub fn unrescue(&self, which: Which, progress: Progress) -> Operation<()> {
        self.verb(Op::Unrescue, format!("instance {which}"), progress, move |job, stop| {
            Box::pin(async move {
                let (vm, record) = job.stage(Stage::Find, find::ours(job, &which)).await?;
                let _gate = job.driver.0.gates.enter(&record.uuid).await;
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
                    let doing = Cause::host(format!("ending the rescue of VM {}", record.uuid));
                    end(&job.driver, &vm).await.map_err(doing)
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

/// The operation of a rescue that broke off before the instance was up.
pub(crate) fn broken(vm: &VmRecord) -> Option<Uuid> {
    Journal::read(vm).filter(|_| !vm.other_config.contains_key(DONE)).map(|journal| journal.operation)
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
    job.would(|| steps(record, shutdown, &journal))?;
    let name = format!("{}-rescue", record.name_label);
    let wanted = Wanted { name, image, image_format, sr, bytes: None, discs: false };
    let ready = heap(|| import::ready(job, record, instance, wanted, stop)).await?;
    job.stage(Stage::Vm, note(job, vm, record, &journal, stop)).await?;
    let (rescue_disk, _) = heap(|| ready.make(job, stop)).await?;
    let new_drive = match &renewal {
        Some(renewal) => Some(heap(|| renewal.make(job, record, stop)).await?.reference),
        None => None,
    };
    if journal.was_running {
        job.stage(Stage::Stop, power::change(job, vm, record, PowerChange::Off(shutdown), stop)).await?;
    }
    let own = [(beside(&journal.root), root)];
    let others = own.into_iter().chain(journal.config_drive.clone().zip(new_drive));
    let exchanging = async {
        stop.check()?;
        let boot = Replaced {
            vdi: rescue_disk.uuid.clone(),
            bootable: true,
            writable: true,
            ..journal.root.clone()
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
    let mut inner = power::around(record, shutdown, vec![swap]);
    if !journal.was_running {
        inner.push(format!("start VM {}", record.uuid));
    }
    [new].into_iter().chain(drive).chain(inner).collect()
}

/// From here on the rescue is taken back, also by others if this program dies.
async fn note(job: &Job, vm: &Ref<Vm>, record: &VmRecord, journal: &Journal, stop: &Stop) -> Outcome<()> {
    stop.check()?;
    let (client, doing) = (job.client(), || Cause::host("noting the rescue"));
    let (driver, undo) = (job.driver.clone(), vm.clone());
    job.rollback
        .push_sweep(format!("the rescue of VM {}", record.uuid), async move { end(&driver, &undo).await });
    let text = serde_json::to_string(journal).unwrap_or_default();
    client.remove_from(vm, vm::field::OTHER_CONFIG, DONE).await.map_err(doing())?;
    client.add_to(vm, vm::field::OTHER_CONFIG, KEY, text).await.map_err(doing())
}

/// Where the own root disk is meanwhile.
fn beside(root: &Replaced) -> Replaced {
    Replaced { userdevice: UserDevice::RESCUED_ROOT.to_string(), bootable: false, ..root.clone() }
}

async fn start(job: &Job, vm: &Ref<Vm>, record: &VmRecord, instance: Uuid, stop: &Stop) -> Outcome<()> {
    stop.check()?;
    let hostname = drive::hostname(None, &record.name_label, instance);
    let told = (xenstore::HOSTNAME.to_owned(), Some(xenstore::rescue_name(record, &hostname)));
    xenstore::change(job, vm, record, &BTreeMap::from([told])).await?;
    power::change(job, vm, &halted(record), PowerChange::On, stop).await?;
    power::begun(job, vm, stop).await?;
    let noted = job.client().add_to(vm, vm::field::OTHER_CONFIG, DONE, "true").await;
    noted.map_err(Cause::host("noting the rescue"))
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
    if at(UserDevice::RESCUED_ROOT).is_some() {
        let device = UserDevice::RESCUED_ROOT.to_string();
        return Err(Cause::DeviceInUse { device, vm: record.uuid.clone() });
    }
    let renewal = match config_drive {
        Some(wanted) => Some(Renewal::in_place(job, record, wanted, &drives).await?),
        None => None,
    };
    let journal = Journal {
        operation: job.operation,
        was_running,
        root: Replaced::of(root),
        config_drive: renewal.as_ref().map(|renewal| renewal.place.clone()),
    };
    Ok((journal, root.vdi.clone(), renewal))
}

/// Has the VM boot from its own root disk again; what was made for the rescue goes.
pub(crate) async fn end(driver: &Driver, vm: &Ref<Vm>) -> Result<()> {
    let client = driver.client();
    let Some(record) = client.record_opt(vm).await? else { return Ok(()) };
    let Some(journal) = Journal::read(&record) else { return Ok(()) };
    let root = client.by_uuid_opt::<Vdi>(&journal.root.vdi).await?;
    let at = async |device: String| restore::drive_at(client, &record, &device).await;
    let here = at(journal.root.userdevice.clone()).await?.map(|(_, vdi)| vdi);
    if let Some(root) = root.filter(|root| Some(root) != here.as_ref()) {
        remove::stop(client, vm, &record).await?;
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
        remove::stop(client, vm, &record).await?;
        restore::put(driver, vm, &record, place, &own, journal.operation).await?;
    }
    restore::remove_of(driver, journal.operation).await?;
    client.remove_from(vm, vm::field::XENSTORE_DATA, xenstore::HOSTNAME).await?;
    restart(client, vm, &record, journal.was_running).await?;
    for key in [KEY, DONE] {
        client.remove_from(vm, vm::field::OTHER_CONFIG, key).await?;
    }
    Ok(())
}

async fn restart(client: &Client, vm: &Ref<Vm>, record: &VmRecord, was_running: bool) -> Result<()> {
    let state = client.get_field(vm, vm::field::POWER_STATE).await?;
    match (was_running, state) {
        (true, VmPowerState::Halted) => restore::start(client, vm, &Shape::of(record)).await,
        (false, VmPowerState::Running) => remove::stop(client, vm, record).await,
        _ => Ok(()),
    }
}
