//! A new root disk from an image, for the same instance.

use xenapi_storage::device::UserDevice;
use xenapi_types::{Ref, Vm, VmPowerState, VmRecord};

use super::journal::{Journal, KEYS, Replaced, Shape};
use super::restore::{self, By, OldDisks};
use crate::cancel::Stop;
use crate::coming_up;
use crate::drive::{NewDrive, Renewal};
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::{self, Which, plugs};
use crate::held::Held;
use crate::import::{self, Wanted};
use crate::job::{Failed, Job, heap};
use crate::moving;
use crate::operation::Operation;
use crate::power::{self, PowerChange, Shutdown};
use crate::progress::{Progress, Stage};
use crate::rescue;
use crate::spec::{ImageFormat, RootImage, SrChoice};
use crate::volume;

/// How an instance is rebuilt.
#[derive(Debug, Clone)]
pub struct RebuildOptions {
    /// Where the new root disk's content is.
    pub image: RootImage,
    /// What the image is, where that is known.
    pub image_format: ImageFormat,
    /// A new config drive; without it, the one that the instance has stays.
    pub config_drive: Option<NewDrive>,
    /// How a running guest is brought down.
    pub shutdown: Shutdown,
    /// Who is told what happens.
    pub progress: Progress,
}

impl RebuildOptions {
    /// With an image of unknown format; the guest is switched off hard.
    pub fn with(image: impl Into<RootImage>) -> Self {
        Self {
            image: image.into(),
            image_format: ImageFormat::Unknown,
            config_drive: None,
            shutdown: Shutdown::Hard,
            progress: Progress::none(),
        }
    }
}

impl Driver {
    /// Gives an instance a new root disk, made from an image, of the same size and on the same repository as the
    /// one it has, which is removed when the instance is up again. Its other disks, its volumes, its
    /// interfaces and its uuid stay. Its config drive stays too, unless there is a new one for it.
    ///
    /// When it fails or is cancelled before the instance is up, the instance is as it was. A replaced disk
    /// that somebody has by then is told of, and stays.
    ///
    /// # Errors
    ///
    /// As [`Driver::rescue`].
    pub fn rebuild(&self, which: Which, options: RebuildOptions) -> Operation<OldDisks> {
        let object = format!("instance {which}");
        self.verb(Op::Rebuild, object, options.progress.clone(), move |job, stop| {
            Box::pin(async move {
                let (_gate, vm, record) = find::ours_in_turn(job, &which, stop).await?;
                let record = job.stage(Stage::Find, moving::settled(job, &vm, record)).await?;
                rebuild(job, &vm, &record, options, stop).await
            })
        })
    }
}

async fn rebuild(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    options: RebuildOptions,
    stop: &Stop,
) -> Result<OldDisks, Failed> {
    let owner = &job.driver.settings().owner;
    let instance = find::made_for(&record.other_config, &record.uuid, owner).unwrap_or_default();
    let RebuildOptions { image, image_format, config_drive, shutdown, .. } = options;
    let (root, bytes, sr, renewal) =
        job.stage(Stage::Plan, decide(job, record, config_drive.as_ref())).await?;
    let (name, place) = (record.name_label.clone(), sr.clone());
    let wanted =
        Wanted { name, image, image_format, sr: SrChoice::Uuid(sr), bytes: Some(bytes), discs: false };
    let ready = heap(|| import::ready(job, record, instance, wanted, stop)).await?;
    job.would(|| {
        let new = format!("make a root disk of {bytes} bytes from the image, in storage repository {place}");
        let drive = renewal.as_ref().map(|_| "make a new config drive".to_owned());
        let swap = format!("put it in the place of disk {}", root.vdi);
        let inner = power::around(record, shutdown, vec![swap]);
        let gone = format!("remove disk {}", root.vdi);
        [new].into_iter().chain(drive).chain(inner).chain([gone]).collect::<Vec<_>>()
    })?;
    let was_running = record.power_state == VmPowerState::Running;
    let before = Shape::of(record);
    let disks = [&root].into_iter().chain(renewal.as_ref().map(|new| &new.place)).cloned().collect();
    let journal = Journal { operation: job.operation, was_running, before, disks, added: Vec::new() };
    let what = format!("the rebuilding of VM {}", record.uuid);
    job.stage(Stage::Vm, super::note(job, vm, record, what, &journal, stop)).await?;
    let (made, _) = heap(|| ready.make(job, stop)).await?;
    let mut exchanged = vec![(&root, made)];
    if let Some(new) = &renewal {
        exchanged.push((&new.place, heap(|| new.make(job, record, stop)).await?));
    }
    if was_running {
        let stopping = async {
            KEYS.goes_on(job, vm, journal.operation).await?;
            power::change(job, vm, record, PowerChange::Off(shutdown), stop).await
        };
        job.stage(Stage::Stop, stopping).await?;
    }
    let exchanging = async {
        KEYS.goes_on(job, vm, journal.operation).await?;
        for (place, disk) in &exchanged {
            stop.check()?;
            let place = place.with_own();
            let put = restore::put(&job.driver, vm, record, &place, &disk.reference, journal.operation);
            put.await.map_err(Cause::host(format!("exchanging the disks of VM {}", record.uuid)))?;
        }
        Ok(())
    };
    job.stage(Stage::Devices, exchanging).await?;
    if was_running {
        let starting = async {
            let mut off = record.clone();
            (off.affinity, off.power_state) = (record.resident_on.clone(), VmPowerState::Halted);
            power::change(job, vm, &off, PowerChange::On, stop).await?;
            power::begun(job, vm, stop).await
        };
        job.stage(Stage::Start, starting).await?;
    }
    let ending = async {
        stop.check()?;
        let doing = Held::while_doing(format!("removing the old disks of VM {}", record.uuid));
        restore::confirm(&job.driver, vm, journal.operation, By::Itself).await.map_err(doing)
    };
    job.stage(Stage::Remove, ending).await
}

/// The root disk's place, its size and its repository, and the new config drive if there is to be one.
async fn decide(
    job: &Job,
    record: &VmRecord,
    config_drive: Option<&NewDrive>,
) -> Result<(Replaced, u64, String, Option<Renewal>), Cause> {
    plugs(record)?;
    if super::state(record).is_some() {
        return Err(Cause::ResizePending { vm: record.uuid.clone() });
    }
    if rescue::is(record) {
        return Err(Cause::Rescued { vm: record.uuid.clone() });
    }
    let drives = volume::loaded(job, record).await?;
    let root = drives.iter().find(|drive| drive.record.userdevice == UserDevice::ROOT.to_string());
    let Some(root) = root.filter(|root| root.is_own) else {
        return Err(Cause::NoRootDisk(record.uuid.clone()));
    };
    if record.power_state == VmPowerState::Running {
        let srs: Vec<_> = drives.iter().map(|drive| drive.disk.sr.clone()).collect();
        coming_up::check(job, record, &record.resident_on, &srs).await?;
    }
    let renewal = match config_drive {
        Some(wanted) => Some(Renewal::in_place(job, record, wanted, &drives).await?),
        None => None,
    };
    let place = Replaced { writable: true, ..Replaced::of(root) };
    let bytes = u64::try_from(root.disk.virtual_size).unwrap_or(0);
    Ok((place, bytes, root.sr_uuid.clone(), renewal))
}
