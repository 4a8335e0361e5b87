//! From an image to a running instance.
//!
//! ```text
//! image head ─► plan ─┬─► root disk: create, import, (compare) ─┬─► devices ────────────────┬─► start
//!  + inventory        ├─► config drive: create, import ─────────┤                           │
//!  + memory           └─► VM ───────────────────────────────────┴─► config drive: (compare) ┘
//! ```

mod steps;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::unconstrained;
use uuid::Uuid;
use xenapi_client::ErrorKind;
use xenapi_storage::DiskRequest;
use xenapi_storage::device::UserDevice;
use xenapi_storage::ownership::{self, Ownership};
use xenapi_types::{Ref, Vm, VmPowerState, vdi, vm, vtpm};

use crate::agent::{Agent, AgentReport};
use crate::cancel::{self, Stop, Work};
use crate::disk_setup::{self, DiskSetup};
use crate::dom0_write;
use crate::drive::{self, PORT};
use crate::driver::Driver;
use crate::error::{Cause, Error, Op};
use crate::image_cache;
use crate::inventory;
use crate::job::{Disk, Failed, Job, heap};
use crate::kernel;
use crate::ledger;
use crate::memory;
use crate::operation::Operation;
use crate::plan::{self, Conflict, Conflicts, DiskPlan, Plan};
use crate::ports::{self, Ports};
use crate::power;
use crate::progress::{Progress, Stage, Transfer};
use crate::record;
use crate::remove;
use crate::spec::{InstanceSpec, MacChoice, Power, RootImage};
use crate::transfer::{self, Prepared, Source};
use crate::volume::{self, AttachedVolume, Mount};
use crate::xenstore;
use crate::zeros;

/// How an instance is made.
#[derive(Debug, Clone, Default)]
pub struct SpawnOptions {
    /// What is read back and compared before the VM starts.
    pub checks: Checks,
    /// Who is told what happens.
    pub progress: Progress,
}

/// Which disks are read back and compared with what was written to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checks {
    /// None.
    None,
    /// The config drive: small, and a guest with a damaged one is hard to reach.
    #[default]
    ConfigDrive,
    /// The root disk too, or the disc: it goes over the wire a second time. What is read from a file is compared with
    /// it byte by byte; of an image that came from elsewhere, a sum of each 2 MiB that were written is compared, and a
    /// disk made of a cached image with that image.
    AllDisks,
}

/// A new instance.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// The instance's uuid, as it was given.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Uuid of the VM.
    pub vm_uuid: String,
    /// Uuid of the host.
    pub node_uuid: String,
    /// Name of the host.
    pub node_name: String,
    /// Name of the SR that holds the disks.
    pub sr_name: String,
    /// Uuid of the root disk.
    pub root_uuid: String,
    /// Size of the root disk in bytes, as the SR made it.
    pub root_bytes: u64,
    /// What its import moved.
    pub root_import: Transfer,
    /// Whether the root disk was read back and found equal to the image.
    pub root_checked: bool,
    /// What the root disk takes in its SR once it was compared, in bytes, without what it shares with others; `None` where
    /// it was not, or where the SR does not tell.
    pub root_physical_bytes: Option<u64>,
    /// Why the root disk's file system did not grow, where it was to be tried ([`Grow::Try`](crate::Grow::Try)).
    pub not_grown: Option<String>,
    /// Uuid of the disc that it installs itself from, beside a blank root disk.
    pub disc_uuid: Option<String>,
    /// Uuid of the config drive.
    pub config_drive_uuid: Option<String>,
    /// MAC addresses in the order of the devices.
    pub macs: Vec<String>,
    /// What its agent did, where it was to be asked.
    pub agent: Option<AgentReport>,
}

impl Driver {
    /// Makes an instance.
    ///
    /// Everything that can be checked is checked first, and all conflicts are reported at once. A driver lets
    /// 40 spawns go on at a time, in the order in which this was called. When something fails later, or the
    /// operation is cancelled or dropped, all that was made is removed again before it ends.
    ///
    /// # Errors
    ///
    /// [`Cause::Conflicts`] when it cannot be done as asked for; [`Cause::Image`] when the image cannot be
    /// used; [`Cause::Host`] when the host fails; [`Cause::Differs`] when a disk read back is not what was
    /// written.
    pub fn spawn(&self, spec: InstanceSpec, options: SpawnOptions) -> Operation<Instance> {
        let object = format!("instance {:?}", spec.name);
        let SpawnOptions { checks, progress } = options;
        let job = Job::new(self.clone(), progress);
        let name = object.clone();
        let turn = line_up(&self.0.spawning);
        Operation::start(&self.0.running, Op::Spawn, object, |stop| async move {
            let spawned = async {
                let turn = stop.guard(turn).await;
                let _turn = turn.map_err(|stopped| Failed { stage: Stage::Image, cause: stopped.into() })?;
                heap(|| body(&job, &spec, checks, &stop)).await
            };
            match spawned.await {
                Ok(instance) => {
                    job.rollback.commit();
                    Ok(instance)
                }
                Err(Failed { stage, cause }) => {
                    let leftovers = job.rollback.undo(&job.progress).await;
                    Err(Error::new(Op::Spawn, name, stage, cause).with_leftovers(leftovers))
                }
            }
        })
    }
}

/// A place in the line of those that want to spawn: taken now, and not when it is first waited for.
fn line_up(spawning: &Arc<Semaphore>) -> impl Future<Output = Option<OwnedSemaphorePermit>> + Send + use<> {
    // Whatever its caller has done already in its time slice, it asks.
    let mut turn = Box::pin(unconstrained(Arc::clone(spawning).acquire_owned()));
    let at_once = turn.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    async move {
        let permit = match at_once {
            Poll::Ready(permit) => permit,
            Poll::Pending => turn.await,
        };
        // Nobody closes the line.
        permit.ok()
    }
}

async fn body(job: &Job, spec: &InstanceSpec, checks: Checks, stop: &Stop) -> Result<Instance, Failed> {
    let opening =
        heap(|| async { Ok((Source::open(spec, job.driver.settings()).await?, kernel::load(spec).await?)) });
    let (source, kernel) = job.stage(Stage::Image, opening).await?;
    let (plan, drive) =
        job.stage(Stage::Plan, heap(|| decide(job, spec, &source, kernel.as_ref(), stop))).await?;
    let prepared =
        job.stage(Stage::Scan, heap(|| prepare(job, &plan, &source, drive.as_ref(), stop))).await?;
    job.would(|| steps::of(spec, &plan, &source, is_compared(job, &source, checks)))?;
    remember(job, spec, &plan, &source);
    let making = heap(|| make(job, &plan, &source, prepared, drive.as_ref(), checks, stop));
    let Made { root: own_root, config_drive, vm, vm_uuid } = making.await?;
    let (own_root, root_import, root_physical_bytes) = match own_root {
        Some(Written { disk, moved, physical_bytes }) => (Some(disk), Some(moved), physical_bytes),
        None => (None, None, None),
    };
    let not_grown = heap(|| set_up(job, spec, &plan, &vm, own_root.as_ref(), kernel, stop)).await?;
    let disks = usize::from(own_root.is_some()) + usize::from(config_drive.is_some()) + plan.blank.len();
    let (blank_root, ()) = stop
        .both(
            async |stop| {
                let attaching =
                    attach(job, spec, &plan, &vm, own_root.as_ref(), config_drive.as_ref(), &stop);
                job.stage(Stage::Devices, attaching).await
            },
            async |stop| match drive.as_ref().zip(config_drive.as_ref()) {
                Some((image, disk)) => drive::check(job, image, disk, checks, &stop).await,
                None => Ok(()),
            },
        )
        .await?;
    let disc_uuid = own_root.as_ref().filter(|_| plan.root.disc).map(|disc| disc.uuid.clone());
    let own_root = blank_root.or(own_root);
    let (root_uuid, root_bytes) = match (own_root, heap(|| volumes(job, spec, &plan, &vm, stop)).await?) {
        (Some(root), _) => (root.uuid, root.virtual_bytes),
        (None, Some(volume)) => (volume.vdi_uuid, volume.virtual_bytes),
        (None, None) => unreachable!("without a disk of its own, it boots from a volume"),
    };
    let domid = match plan.power {
        Power::Off => None,
        _ => Some(job.stage(Stage::Start, heap(|| boot(job, &plan, &vm, &vm_uuid, disks, stop))).await?),
    };
    let mut agent = None;
    if let Some(setup) = &spec.agent {
        let asked = Agent::of(&job.driver, vm.clone(), vm_uuid.clone(), setup.timeouts);
        let asking = heap(|| asked.first_boot(setup, spec.os_type, stop));
        agent = Some(job.stage(Stage::Agent, asking).await?);
    }
    job.stage(Stage::Complete, complete(job, &vm, domid, stop)).await?;
    Ok(Instance {
        uuid: plan.instance,
        name: plan.vm.name_label.clone(),
        vm_uuid,
        node_uuid: plan.node.uuid.clone(),
        node_name: plan.node.name.clone(),
        sr_name: plan.sr.name_label.clone(),
        root_uuid,
        root_bytes,
        root_import: root_import.unwrap_or_default(),
        root_checked: is_compared(job, &source, checks),
        root_physical_bytes,
        not_grown,
        disc_uuid,
        config_drive_uuid: config_drive.map(|disk| disk.uuid),
        macs: plan.nics.iter().map(|nic| nic.mac.to_string()).collect(),
        agent,
    })
}

/// Has undoing find what is made without anybody hearing of it.
fn remember(job: &Job, spec: &InstanceSpec, plan: &Plan, source: &Source) {
    let disks = plan.config_drive.iter().chain([&plan.root]).chain(&plan.blank);
    let disks = disks.map(|disk| disk.name_label.clone());
    let disks = disks.chain(spec.kernel.iter().map(|_| kernel::disk_name(&plan.vm.name_label)));
    job.remember_lost_answers(&plan.vm.name_label, disks.collect());
    if matches!(source, Source::Volume(_)) || !spec.volumes.is_empty() {
        volume::remember_mounts(job);
    }
}

/// What comes to be at the same time.
struct Made {
    root: Option<Written>,
    config_drive: Option<Disk>,
    vm: Ref<Vm>,
    vm_uuid: String,
}

async fn make(
    job: &Job,
    plan: &Plan,
    source: &Source,
    prepared: Prepared,
    drive: Option<&config_drive::Image>,
    checks: Checks,
    stop: &Stop,
) -> Result<Made, Failed> {
    let disks = async |stop: Stop| {
        stop.both(
            async |stop| heap(|| root_disk(job, plan, source, prepared, checks, &stop)).await,
            async |stop| heap(|| config_drive(job, plan, drive, &stop)).await,
        )
        .await
    };
    // Its name is taken from now on: of two with the same one, the second moves no data in vain.
    let vm = async |stop: Stop| {
        let confirm = async |_| match plan.power {
            Power::Off => Ok(()),
            _ => ledger::confirm(job, &plan.node).await,
        };
        let create = stop.both(async |stop| create_vm(job, plan, &stop).await, confirm);
        Ok(job.stage(Stage::Vm, create).await?.0)
    };
    let ((root, config_drive), (vm, vm_uuid)) = stop.both(disks, vm).await?;
    Ok(Made { root, config_drive, vm, vm_uuid })
}

/// What dom0 does to the root disk before the VM has it, and the VM's own kernel. Says why the disk did not grow.
async fn set_up(
    job: &Job,
    spec: &InstanceSpec,
    plan: &Plan,
    vm: &Ref<Vm>,
    root: Option<&Disk>,
    kernel: Option<kernel::Loaded>,
    stop: &Stop,
) -> Result<Option<String>, Failed> {
    let mut not_grown = None;
    if let Some(root) = root.filter(|_| spec.disk_setup != DiskSetup::default()) {
        let setting_up = heap(|| disk_setup::root(job, &spec.disk_setup, plan, root, stop));
        not_grown = job.stage(Stage::DiskSetup, setting_up).await?;
    }
    if let Some(kernel) = kernel {
        let installing = heap(|| kernel::install(job, plan, vm, kernel, stop));
        job.stage(Stage::DiskSetup, installing).await?;
    }
    Ok(not_grown)
}

/// The plan, and the config drive that belongs to it: what is wrong with either is found before
/// anything is touched.
async fn decide(
    job: &Job,
    spec: &InstanceSpec,
    source: &Source,
    own_kernel: Option<&kernel::Loaded>,
    stop: &Stop,
) -> Result<(Plan, Option<config_drive::Image>), Cause> {
    let inventory = inventory::read(&job.driver, spec).await?;
    let owner = &job.driver.settings().owner;
    let mut plan = plan::plan(spec, &inventory, &source.facts(), owner, job.operation)?;
    if plan.import.is_some() || plan.config_drive.is_some() {
        dom0_write::check(job, &plan.sr.reference).await?;
    }
    disk_setup::check(job, &spec.disk_setup, &plan).await?;
    for nic in plan.nics.iter().filter(|nic| nic.other_config.contains_key(PORT)) {
        ports::able(job, &plan.node).await?;
        ports::free(job, nic.other_config.get(PORT)).await?;
    }
    if let Some(loaded) = own_kernel {
        kernel::check(job, &plan, loaded).await?;
        plan.vm.other_config.insert(kernel::KEY.to_owned(), loaded.noted());
    }
    if let Some(agent) = &spec.agent {
        agent.check(job, &plan).await?;
    }
    let guest = drive::Guest::planned(spec, &plan.nics);
    let drive = match spec.config_drive.as_ref().zip(plan.config_drive.as_mut()) {
        Some((wanted, disk)) => {
            let image = drive::build(&guest, wanted).map_err(Cause::ConfigDrive)?;
            disk.virtual_bytes = image.len_bytes();
            Some(image)
        }
        None => {
            drive::check_network(&guest).map_err(Cause::ConfigDrive)?;
            None
        }
    };
    if plan.power != Power::Off && !job.driver.0.rehearses {
        let bytes = memory::needed_bytes(plan.vm.memory_bytes, plan.vm.vcpus);
        ledger::reserve(job, &plan.node, bytes, stop).await?;
    }
    Ok((plan, drive))
}

/// The upload of the root disk, made ready; then it is known how much both disks really take.
async fn prepare(
    job: &Job,
    plan: &Plan,
    source: &Source,
    drive: Option<&config_drive::Image>,
    stop: &Stop,
) -> Result<Prepared, Cause> {
    let prepared = transfer::prepare(job, plan, source, stop).await?;
    let root =
        DiskRequest { virtual_bytes: plan.root.virtual_bytes, data_bytes: Some(prepared.data_bytes()) };
    let drive = drive.map(|image| DiskRequest { virtual_bytes: image.len_bytes(), data_bytes: None });
    let disks: Vec<_> = [root].into_iter().chain(drive).collect();
    plan.sr.check_space(&disks).map_err(|error| Conflicts::from(Conflict::from(error)))?;
    Ok(prepared)
}

/// A root disk with its content.
struct Written {
    disk: Disk,
    moved: Transfer,
    physical_bytes: Option<u64>,
}

async fn root_disk(
    job: &Job,
    plan: &Plan,
    source: &Source,
    prepared: Prepared,
    checks: Checks,
    stop: &Stop,
) -> Result<Option<Written>, Failed> {
    if let Source::Volume(_) = source {
        return Ok(None);
    }
    let (disk, moved) = job
        .stage(Stage::RootDisk, async {
            if let Source::Cached(image, copying) = source {
                let (mut disk, moved) = image_cache::root_disk(job, plan, image, *copying, stop).await?;
                let content = disk.virtual_bytes;
                grow(job, plan, &mut disk, stop).await?;
                zeros::fill(job, &plan.sr, &disk, content, Stage::RootDisk, stop).await?;
                return Ok((disk, moved));
            }
            let mut disk = disk_to_fill(job, &plan.root, plan, stop).await?;
            grow(job, plan, &mut disk, stop).await?;
            let import =
                async |stop: Stop| transfer::import_image(job, plan, source, prepared, &disk, &stop).await;
            let (moved, ()) = stop.both(import, async |_| job.seal(&disk).await).await?;
            Ok((disk, moved))
        })
        .await?;
    let mut physical_bytes = None;
    if is_compared(job, source, checks) {
        let check = transfer::compare_image(job, source, &disk, stop);
        job.stage(Stage::RootDiskCheck, check).await?;
        physical_bytes = job.physical_bytes(&disk.reference).await;
    }
    Ok(Some(Written { disk, moved, physical_bytes }))
}

/// Whether the root disk is compared with its image.
fn is_compared(job: &Job, source: &Source, checks: Checks) -> bool {
    checks == Checks::AllDisks && source.can_be_compared(job.driver.settings().import_via)
}

/// Makes a disk, and finds out meanwhile how data get there.
async fn disk_to_fill(job: &Job, wanted: &DiskPlan, plan: &Plan, stop: &Stop) -> Result<Disk, Cause> {
    // If there is no way, the transfer says so.
    let made = |disk: &_| job.remember_disk(disk, &wanted.name_label);
    let making = job.make_disk(wanted, &plan.sr, stop, made);
    let (disk, _) = tokio::join!(making, job.route(&plan.sr.reference));
    disk
}

/// SRs round sizes up, so that there is nothing to do; one that rounded down would lose the image's end.
pub(crate) async fn grow(job: &Job, plan: &Plan, disk: &mut Disk, stop: &Stop) -> Result<(), Cause> {
    let wanted = plan.root.virtual_bytes;
    if disk.virtual_bytes >= wanted {
        return Ok(());
    }
    stop.check()?;
    let doing = format!("growing the root disk {} to {wanted} bytes", disk.uuid);
    let call = vdi::Resize { vdi: disk.reference.clone(), size: wanted as i64 };
    job.client().call(call).await.map_err(Cause::host(doing))?;
    disk.virtual_bytes = wanted;
    Ok(())
}

async fn config_drive(
    job: &Job,
    plan: &Plan,
    image: Option<&config_drive::Image>,
    stop: &Stop,
) -> Result<Option<Disk>, Failed> {
    let Some((wanted, image)) = plan.config_drive.as_ref().zip(image) else { return Ok(None) };
    let making = heap(|| disk_to_fill(job, wanted, plan, stop));
    drive::write(job, &plan.vm.name_label, image, making, stop).await.map(Some)
}

async fn create_vm(job: &Job, plan: &Plan, stop: &Stop) -> Result<(Ref<Vm>, String), Cause> {
    let doing = || format!("creating VM {:?}", plan.vm.name_label);
    stop.check()?;
    let vm = job.client().call(record::vm(plan)).await.map_err(Cause::host(doing()))?;
    let (driver, undo) = (job.driver.clone(), vm.clone());
    job.rollback.push_vm(format!("VM {:?} ({vm})", plan.vm.name_label), async move {
        remove::vm(&driver, &undo).await
    });
    // Two at the same time both found the name free. Whoever sees the other one gives way.
    let (uuid, same_name) = tokio::join!(
        job.client().get_field(&vm, vm::field::UUID),
        job.client().all_by_name_label::<Vm>(&plan.vm.name_label)
    );
    let (uuid, same_name) = (uuid.map_err(Cause::host(doing()))?, same_name.map_err(Cause::host(doing()))?);
    // From now on the keys are those of this very VM, and of no clone of it.
    let seal = job.client().add_to(&vm, vm::field::OTHER_CONFIG, ownership::SELF, &uuid);
    seal.await.map_err(Cause::host(doing()))?;
    for other in same_name.into_iter().filter(|other| *other != vm) {
        match job.client().get_field(&other, vm::field::UUID).await {
            Ok(other) => {
                let name = plan.vm.name_label.clone();
                return Err(Conflicts::from(Conflict::NameInUse { name, vm: other }).into());
            }
            // It has given way in the meantime.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Cause::host(doing())(error)),
        }
    }
    Ok((vm, uuid))
}

/// Disks and interfaces; they go with their VM when it is removed. The blank root disk beside a disc, if there is one.
async fn attach(
    job: &Job,
    spec: &InstanceSpec,
    plan: &Plan,
    vm: &Ref<Vm>,
    root: Option<&Disk>,
    config_drive: Option<&Disk>,
    stop: &Stop,
) -> Result<Option<Disk>, Cause> {
    let owner = job.driver.settings().owner.clone();
    let keys = Ownership { owner, instance: plan.instance, operation: job.operation }.keys();
    stop.check()?;
    let plug = async |wanted: &DiskPlan, disk: &Disk| -> Result<(), Cause> {
        let doing = format!("attaching disk {:?} as device {}", wanted.name_label, wanted.userdevice);
        let call = record::vbd(wanted, vm, &disk.reference, keys.clone());
        job.client().call(call).await.map_err(Cause::host(doing))?;
        Ok(())
    };
    let made = [(Some(&plan.root), root), (plan.config_drive.as_ref(), config_drive)];
    let made = made.into_iter().filter_map(|(wanted, disk)| wanted.zip(disk));
    let made = made.map(|(wanted, disk)| -> Work<'_, Cause> { Box::pin(plug(wanted, disk)) });
    // One after the other: dom0 sets them up.
    let mut blank_root = None;
    let blank: Work<'_, Cause> = Box::pin(async {
        for wanted in &plan.blank {
            let disk = job.create_disk(wanted, &plan.sr, stop).await?;
            zeros::fill(job, &plan.sr, &disk, 0, Stage::Devices, stop).await?;
            disk_setup::blank(job, &spec.disk_setup, plan, wanted, &disk, stop).await?;
            plug(wanted, &disk).await?;
            if wanted.userdevice == UserDevice::ROOT {
                blank_root = Some(disk);
            }
        }
        Ok(())
    });
    let nics = plan.nics.iter().zip(&spec.nics).map(|(nic, wanted)| -> Work<'_, Cause> {
        Box::pin(async move {
            let attaching = format!("attaching interface {} to network {:?}", nic.device, nic.network.name);
            let doing = || Cause::host(attaching.clone());
            let made = job.client().call(record::vif(nic, vm)).await.map_err(doing())?;
            // An image was moved since it was asked who has the address. Two at the same moment both give way.
            if let MacChoice::Given(mac) = wanted.mac
                && let Some(vm) =
                    inventory::mac_taken(job.client(), mac, Some(&made)).await.map_err(doing())?
            {
                return Err(Conflicts::from(Conflict::MacInUse { mac, vm }).into());
            }
            Ok(())
        })
    });
    cancel::all(made.chain([blank]).chain(nics)).await?;
    for gpu in &plan.gpus {
        let doing = format!("giving VM {:?} a virtual GPU of type {:?}", plan.vm.name_label, gpu.model);
        stop.check()?;
        job.client().call(record::vgpu(gpu, vm, plan.instance)).await.map_err(Cause::host(doing))?;
    }
    if plan.vm.tpm {
        let doing = format!("giving VM {:?} a virtual TPM", plan.vm.name_label);
        stop.check()?;
        let call = vtpm::Create { vm: vm.clone(), is_unique: false };
        job.client().call(call).await.map_err(Cause::host(doing))?;
    }
    Ok(blank_root)
}

/// The volume that it boots from, if it does, and then the others.
async fn volumes(
    job: &Job,
    spec: &InstanceSpec,
    plan: &Plan,
    vm: &Ref<Vm>,
    stop: &Stop,
) -> Result<Option<AttachedVolume>, Failed> {
    let mount = async |wanted: &Mount| {
        volume::mount(job, vm, plan.instance, &plan.node.reference, wanted, stop).await
    };
    let root = match &spec.image {
        RootImage::Volume(volume) => {
            let device = Some(UserDevice::ROOT);
            Some(mount(&Mount { device, ..Mount::from(volume.clone()) }).await?)
        }
        _ => None,
    };
    for wanted in &spec.volumes {
        mount(wanted).await?;
    }
    Ok(root)
}

/// Starts it, paused for as long as its ports are not connected.
async fn boot(
    job: &Job,
    plan: &Plan,
    vm: &Ref<Vm>,
    vm_uuid: &str,
    disks: usize,
    stop: &Stop,
) -> Result<i64, Cause> {
    let has_ports = job.driver.settings().integration_bridge.is_some()
        && plan.nics.iter().any(|nic| nic.other_config.contains_key(PORT));
    let paused = plan.power == Power::Paused;
    let domid = start(job, plan, vm, vm_uuid, (disks, paused || has_ports), stop).await?;
    if has_ports {
        let record = job.client().record(vm).await.map_err(Cause::host("reading the new VM"))?;
        let ports = Ports::of(&job.driver, &record, &plan.node.reference).await?;
        ports.remember(job);
        ports.up(stop).await?;
        if !paused {
            let doing = format!("letting VM {vm_uuid} run");
            power::run(job, vm::Unpause { vm: vm.clone() }, doing, stop).await?;
        }
    }
    Ok(domid)
}

/// Starts it, and tells its domain. From then on nobody can remove its disks: that all are there is looked at now.
async fn start(
    job: &Job,
    plan: &Plan,
    vm: &Ref<Vm>,
    vm_uuid: &str,
    (disks, start_paused): (usize, bool),
    stop: &Stop,
) -> Result<i64, Cause> {
    let client = job.client();
    let doing = || format!("starting VM {:?} on host {:?}", plan.vm.name_label, plan.node.name);
    stop.check()?;
    let host = plan.node.reference.clone();
    let call = vm::StartOn { vm: vm.clone(), host, start_paused, force: false };
    let patience = job.driver.settings().running_timeout;
    let wanted = if start_paused { VmPowerState::Paused } else { VmPowerState::Running };
    let running = client.wait_until(vm, patience, move |vm| vm.power_state == wanted);
    // From now on the host counts its memory itself.
    let release = ledger::release(client, &plan.node.reference, job.operation);
    let started = async { tokio::join!(release, stop.guard(running)) };
    let (released, running) = power::run_then(job, call, started, doing(), stop).await?;
    if let Err(error) = released {
        // Reconciling will find it, and it lapses by itself.
        tracing::warn!(%error, "the reservation of memory stays for now");
    }
    match running? {
        Ok(record) if record.vbds.len() < disks => Err(Cause::WrongState {
            vm: vm_uuid.to_owned(),
            state: "running without a disk that it was made with".to_owned(),
            remedy: "another program has removed the instance meanwhile; make it again",
        }),
        Ok(record) => Ok(record.domid),
        Err(error) if error.kind() == ErrorKind::Timeout => {
            Err(not_running(job, vm, vm_uuid, patience).await?)
        }
        Err(error) => Err(Cause::host(doing())(error)),
    }
}

/// From here on, nobody takes it for the rest of a spawn that broke off.
async fn complete(job: &Job, vm: &Ref<Vm>, domid: Option<i64>, stop: &Stop) -> Result<(), Cause> {
    stop.check()?;
    let booted = async {
        let Some(domid) = domid else { return Ok(()) };
        // The name was for the first boot; the guest that runs still finds it.
        let told = job.client().remove_from(vm, vm::field::XENSTORE_DATA, xenstore::HOSTNAME);
        let (told, noted) = tokio::join!(told, power::note_first_domid(job, vm, domid));
        told.map_err(Cause::host("removing the host name for the first boot"))?;
        noted
    };
    booted.await?;
    // Last of all: what is complete nobody puts in order.
    let complete = job.client().remove_from(vm, vm::field::OTHER_CONFIG, ownership::UNFINISHED).await;
    complete.map_err(Cause::host("noting that the instance is complete"))
}

async fn not_running(job: &Job, vm: &Ref<Vm>, vm_uuid: &str, patience: Duration) -> Result<Cause, Cause> {
    let state = job.client().get_field(vm, vm::field::POWER_STATE).await;
    let state = state.map_err(Cause::host("asking for the VM's power state"))?;
    Ok(Cause::NotRunning { vm: vm_uuid.to_owned(), state: state.to_string(), seconds: patience.as_secs() })
}
