//! Moving running instances between the hosts of a pool, with their disks where that is needed.

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_storage::{DiskRequest, Place, Repository};
use xenapi_types::{Network as NetworkClass, Pif, Ref, Sr, Vdi, Vm, VmPowerState, VmRecord, sr, vm};

use crate::belongings;
use crate::cancel::Stop;
use crate::chains::Chains;
use crate::drive;
use crate::driver::Driver;
use crate::error::{Cause, Error, Op};
use crate::find::{self, Which};
use crate::handover::Handover;
use crate::inventory::{self, Node};
use crate::job::Job;
use crate::kernel;
use crate::licence::{self, Feature};
use crate::memory;
use crate::moving;
use crate::operation::Operation;
use crate::plan::{self, Conflict, Conflicts};
use crate::ports;
use crate::progress::{Progress, Stage};
use crate::rescue;
use crate::resize::{self, disks::is_root};
use crate::spec::SrChoice;
use crate::volume::reach::{self, Connections};
use crate::volume::{self, Drive};

/// Where a running instance is to go.
#[derive(Debug, Clone)]
pub struct MigrateOptions {
    /// The host.
    pub node: Uuid,
    /// Where disks go that the host does not reach; without it, to the repository where the root disk is or
    /// goes to, and for that itself to the pool's default repository. Disks that it reaches stay where they
    /// are.
    pub sr: Option<SrChoice>,
    /// Where single disks of the instance's own go, by their uuids: also those that the host reaches.
    pub disks: BTreeMap<String, SrChoice>,
    /// The network that memory and disks are sent over, by uuid, name or bridge; without it, that of the
    /// host's management interface.
    pub network: Option<String>,
    /// Who is told what happens, and how far it is.
    pub progress: Progress,
}

impl MigrateOptions {
    /// To this host, with nothing else decided.
    pub fn to(node: Uuid) -> Self {
        Self { node, sr: None, disks: BTreeMap::new(), network: None, progress: Progress::none() }
    }
}

/// What a live migration will do, or did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migration {
    /// Uuid of the host that it goes to.
    pub node_uuid: String,
    /// For each disk that has to move, by uuid: the uuid of its repository-to-be. With none, only memory moves.
    pub disks: BTreeMap<String, String>,
}

impl Driver {
    /// Moves a running instance to another host of the pool while it runs. An instance that is there already
    /// stays as it is.
    ///
    /// Cancelling aborts the migration: the guest goes on where it is, unless it had arrived already: then
    /// the verb ends as if it had not been cancelled.
    ///
    /// # Errors
    ///
    /// Before anything is moved: [`Cause::WrongState`]; [`Cause::Conflicts`] for a host that is unknown, disabled
    /// or too small, for repositories that do not fit, and for disks that are named and are not the instance's;
    /// [`Cause::NotConnected`] for a volume that the host does not reach, [`Cause::DiscStays`] for such a disc in a drive;
    /// [`Cause::ResizePending`]; [`Cause::Host`] for what XAPI's own check says. Later:
    /// [`Cause::Host`]; the guest runs on where it was. At last, [`Cause::ConfigDriveChanged`] when its config
    /// drive moved too and does not have its digest any more: then the guest has arrived.
    pub fn live_migrate(&self, which: Which, options: MigrateOptions) -> Operation<Migration> {
        let object = format!("instance {which}");
        self.verb(Op::LiveMigrate, object, options.progress.clone(), move |job, stop| {
            Box::pin(async move {
                let (_gate, vm, record) = find::ours_in_turn(job, &which, stop).await?;
                let record = job.stage(Stage::Find, moving::settled(job, &vm, record)).await?;
                let plan = job.stage(Stage::Plan, decide(job, &record, &options)).await?;
                if record.resident_on != plan.node.reference {
                    job.would(|| plan.steps(&record))?;
                    job.stage(Stage::Migrate, work(job, &vm, &record, &plan, stop)).await?;
                }
                Ok(plan.shown())
            })
        })
    }

    /// What [`Driver::live_migrate`] would do; nothing is changed.
    ///
    /// # Errors
    ///
    /// As that, as far as it can be known before.
    pub async fn plan_live_migration(
        &self,
        which: &Which,
        options: &MigrateOptions,
    ) -> crate::Result<Migration> {
        let job = Job::new(self.clone(), Progress::none());
        let planned = async {
            let (vm, record) = find::ours(&job, which).await?;
            let plan = decide(&job, &record, options).await?;
            if record.resident_on != plan.node.reference && plan.volume_srs.is_empty() {
                let doing = format!("moving VM {} to host {:?}", record.uuid, plan.node.name);
                if let Some(handover) = destination(&job, &vm, &plan, &doing).await? {
                    handover.end().await;
                }
            }
            Ok(plan.shown())
        };
        planned.await.map_err(|cause: Cause| {
            Error::new(Op::LiveMigrate, format!("instance {which}"), Stage::Plan, cause)
        })
    }
}

/// Moves an instance, as a part of another verb.
pub(crate) async fn to(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    options: &MigrateOptions,
    stop: &Stop,
) -> Result<(), Cause> {
    let _gate = job.turn(&record.uuid, stop).await?;
    let plan = decide(job, record, options).await?;
    work(job, vm, record, &plan, stop).await
}

/// What [`to`] would do, in words.
///
/// # Errors
///
/// Why it would not, as far as it can be known before.
pub(crate) async fn steps(
    job: &Job,
    record: &VmRecord,
    options: &MigrateOptions,
) -> Result<Vec<String>, Cause> {
    Ok(decide(job, record, options).await?.steps(record))
}

struct Plan {
    node: Node,
    network: Ref<NetworkClass>,
    /// It was asked for.
    named_network: bool,
    /// Disks that move.
    moving: Vec<(Ref<Vdi>, String, Repository)>,
    /// Repositories of volumes that stay, which the host must reach.
    volume_srs: Vec<Ref<Sr>>,
}

impl Plan {
    fn vdi_map(&self) -> BTreeMap<Ref<Vdi>, Ref<Sr>> {
        self.moving.iter().map(|(vdi, _, sr)| (vdi.clone(), sr.reference.clone())).collect()
    }

    fn shown(&self) -> Migration {
        let disks = self.moving.iter().map(|(_, disk, sr)| (disk.clone(), sr.uuid.clone())).collect();
        Migration { node_uuid: self.node.uuid.clone(), disks }
    }

    fn steps(&self, vm: &VmRecord) -> Vec<String> {
        let node = &self.node.name;
        let volumes =
            self.volume_srs.iter().map(|sr| format!("connect storage repository {sr} to host {node:?}"));
        let moving = self.moving.iter().map(|(_, disk, sr)| {
            format!("copy disk {disk} to storage repository {:?}, and remove it here", sr.name_label)
        });
        let go = format!("move VM {} to host {node:?} while it runs", vm.uuid);
        volumes.chain(moving).chain([go]).collect()
    }
}

async fn decide(job: &Job, record: &VmRecord, options: &MigrateOptions) -> Result<Plan, Cause> {
    if record.power_state != VmPowerState::Running {
        let state = record.power_state.to_string();
        return Err(Cause::WrongState {
            vm: record.uuid.clone(),
            state,
            remedy: "only what runs moves alive",
        });
    }
    can_leave(record)?;
    let nodes = inventory::read_nodes(&job.driver).await?;
    let node = plan::choose_node_of(&nodes, Some(options.node), None).map_err(Conflicts::from)?;
    let network = transfer_network(job, node, options.network.as_deref()).await?;
    let named_network = options.network.is_some();
    let (moving, volume_srs) = (Vec::new(), Vec::new());
    let mut plan = Plan { node: node.clone(), network, named_network, moving, volume_srs };
    if record.resident_on == node.reference {
        if options.disks.is_empty() {
            return Ok(plan);
        }
        let (vm, state) = (record.uuid.clone(), "on that host already".to_owned());
        return Err(Cause::WrongState { vm, state, remedy: "move disks alone with a resize" });
    }
    check_node(record, node, true)?;
    belongings::check(job, record, node, true).await?;
    ports::able(job, node).await?;
    place(job, record, options, &mut plan).await?;
    let needed = [Feature::LiveMigration, Feature::StorageMigration];
    licence::check(job, if plan.moving.is_empty() { &needed[..1] } else { &needed }).await?;
    Ok(plan)
}

/// Makes sure that nothing which is begun, or only here, keeps an instance from moving as it is.
pub(crate) fn can_leave(vm: &VmRecord) -> Result<(), Cause> {
    if resize::state(vm).is_some() {
        return Err(Cause::ResizePending { vm: vm.uuid.clone() });
    }
    if rescue::is(vm) {
        return Err(Cause::Rescued { vm: vm.uuid.clone() });
    }
    if vm.other_config.contains_key(kernel::KEY) {
        return Err(Cause::KernelStays { vm: vm.uuid.clone() });
    }
    Ok(())
}

/// Which disks stay, and where the others go: each repository must have room for all that go there.
async fn place(job: &Job, vm: &VmRecord, options: &MigrateOptions, plan: &mut Plan) -> Result<(), Cause> {
    let node = plan.node.reference.clone();
    let (repositories, default_sr) = resize::repositories(job).await?;
    let drives = volume::loaded(job, vm).await?;
    let goes = |drive: &&Drive| drive.is_own && !drive.is_disc();
    volume::all_known(vm, drives.iter().filter(goes), &options.disks)?;
    let chains = Chains::of(job.client(), drives.iter().filter(goes).map(|drive| &drive.disk)).await?;
    let mut requests: BTreeMap<String, Vec<DiskRequest>> = BTreeMap::new();
    let mut root_sr: Option<Repository> = None;
    for drive in drives {
        let is_root = !drive.is_disc() && is_root(&drive.record.userdevice);
        let here = repositories.iter().find(|sr| sr.reference == drive.disk.sr);
        let named = options.disks.get(&drive.disk.uuid);
        if here.is_some_and(|sr| sr.is_attached_to(&node)) && named.is_none() {
            root_sr = root_sr.or_else(|| here.filter(|_| is_root && drive.is_own).cloned());
            continue;
        }
        if !drive.is_own || drive.is_disc() {
            match reach::is_there(job, &drive.disk.sr, &node).await {
                Err(Cause::NotConnected { host, .. }) if drive.is_disc() => {
                    return Err(disc_stays(job, vm, &drive, host).await);
                }
                Err(cause) => return Err(cause),
                Ok(true) => {}
                Ok(false) => plan.volume_srs.push(drive.disk.sr),
            }
            continue;
        }
        let Drive { disk, vdi, .. } = drive;
        let beside = root_sr.as_ref().map_or(SrChoice::PoolDefault, |sr| SrChoice::Uuid(sr.uuid.clone()));
        let choice = named.or(options.sr.as_ref()).cloned().unwrap_or(beside);
        let target = Place { host: &node, host_name: &plan.node.name, default_sr: &default_sr };
        let sr = choice.select(&repositories, target).map_err(Conflict::from).map_err(Conflicts::from)?;
        if is_root {
            root_sr = Some(sr.clone());
        }
        if sr.reference == disk.sr {
            continue;
        }
        let all = requests.entry(sr.uuid.clone()).or_default();
        all.push(chains.copy(&disk, u64::try_from(disk.virtual_size).unwrap_or(0)));
        sr.check_space(all).map_err(Conflict::from).map_err(Conflicts::from)?;
        plan.moving.push((vdi, disk.uuid, sr.clone()));
    }
    Ok(())
}

/// A disc that is in a drive cannot go along where it is not there too: XAPI inserts discs of ISO
/// repositories only, and copies none.
pub(crate) async fn disc_stays(job: &Job, vm: &VmRecord, drive: &Drive, host: String) -> Cause {
    let sr = job.client().get_field(&drive.disk.sr, sr::field::NAME_LABEL).await;
    Cause::DiscStays {
        vm: vm.uuid.clone(),
        disc: drive.disk.uuid.clone(),
        device: drive.record.userdevice.clone(),
        sr: sr.unwrap_or_else(|_| drive.sr_uuid.clone()),
        host,
    }
}

/// Whether the node takes guests, and has the memory for one that runs.
pub(crate) fn check_node(vm: &VmRecord, node: &Node, runs: bool) -> Result<(), Cause> {
    let name = || node.name.clone();
    if let Some(refusal) = node.refusal() {
        return Err(Conflicts::from(refusal).into());
    }
    let needed_bytes = memory::taken_bytes(vm);
    let free_bytes = node.memory_free_bytes;
    if runs && needed_bytes > free_bytes {
        return Err(
            Conflicts::from(Conflict::NotEnoughMemory { node: name(), needed_bytes, free_bytes }).into()
        );
    }
    Ok(())
}

/// The network that is meant, or that of the host's management interface.
pub(crate) async fn transfer_network(
    job: &Job,
    node: &Node,
    wanted: Option<&str>,
) -> Result<Ref<NetworkClass>, Cause> {
    if let Some(wanted) = wanted {
        let networks = inventory::read_networks(job.client()).await?;
        return Ok(plan::choose_network(&networks, wanted).map_err(Conflicts::from)?.reference.clone());
    }
    let pifs =
        job.client().all_records::<Pif>().await.map_err(Cause::host("reading the hosts' interfaces"))?;
    let management = pifs.into_values().find(|pif| pif.management && pif.host == node.reference);
    Ok(management.map_or(Ref::NULL, |pif| pif.network))
}

async fn work(job: &Job, vm: &Ref<Vm>, record: &VmRecord, plan: &Plan, stop: &Stop) -> Result<(), Cause> {
    let doing = || format!("moving VM {} to host {:?}", record.uuid, plan.node.name);
    // As early as it can be: with all repositories connected, before anything is changed.
    let mut handover = match plan.volume_srs.is_empty() {
        true => destination(job, vm, plan, &doing()).await?,
        false => None,
    };
    let moved = move_with(job, vm, record, plan, &mut handover, doing(), stop).await;
    if let Some(handover) = handover {
        match &moved {
            Ok(_) => handover.end().await,
            Err(cause) => handover.end_after(cause, job.client(), vm).await,
        }
    }
    let connections = moved?;
    arrived(job, vm).await?;
    connections.keep(job.client()).await;
    Ok(())
}

/// Connects what is to be connected and moves the VM; what is then left to be confirmed.
async fn move_with(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    plan: &Plan,
    handover: &mut Option<Handover>,
    doing: String,
    stop: &Stop,
) -> Result<Connections, Cause> {
    stop.check()?;
    let connections = reach::to_host(job, &plan.volume_srs, &plan.node.reference, stop).await?;
    if !plan.volume_srs.is_empty() {
        *handover = destination(job, vm, plan, &doing).await?;
    }
    stop.check()?;
    moving::begin(job, vm, record, &plan.node.reference, &plan.moving, None).await?;
    send(job, vm, plan, handover.as_ref().map(Handover::dest), doing, stop).await?;
    Ok(connections)
}

/// Asks XAPI whether the VM can go, and gives what it is sent with, if it is. Without disks that move it is not, and
/// editions without storage migration do not even answer: then XAPI checks when it begins.
async fn destination(job: &Job, vm: &Ref<Vm>, plan: &Plan, doing: &str) -> Result<Option<Handover>, Cause> {
    let client = job.client();
    if plan.moving.is_empty() && licence::lacks(job, Feature::StorageMigration).await? {
        return Ok(None);
    }
    let handover = Handover::ask(client, &plan.node.reference, &plan.network, doing).await?;
    let check = vm::AssertCanMigrate {
        vm: vm.clone(),
        dest: handover.dest(),
        live: true,
        vdi_map: plan.vdi_map(),
        vif_map: BTreeMap::new(),
        options: BTreeMap::new(),
        vgpu_map: None,
    };
    if let Err(error) = client.call(check).await {
        handover.end().await;
        return Err(Cause::host(format!("{doing}, checked beforehand"))(error));
    }
    if plan.moving.is_empty() {
        handover.end().await;
        return Ok(None);
    }
    Ok(Some(handover))
}

/// Moves the VM: its memory alone, or with the disks that move.
async fn send(
    job: &Job,
    vm: &Ref<Vm>,
    plan: &Plan,
    dest: Option<BTreeMap<String, String>>,
    doing: String,
    stop: &Stop,
) -> Result<(), Cause> {
    let (vm, host) = (vm.clone(), plan.node.reference.clone());
    let Some(dest) = dest else {
        let mut options = BTreeMap::from([("live".to_owned(), "true".to_owned())]);
        if plan.named_network {
            options.insert("network".to_owned(), plan.network.to_string());
        }
        return job.run(vm::PoolMigrate { vm, host, options }, doing, Stage::Migrate, stop).await;
    };
    let call = vm::MigrateSend {
        vm,
        dest,
        live: true,
        vdi_map: plan.vdi_map(),
        vif_map: BTreeMap::new(),
        options: BTreeMap::new(),
        vgpu_map: None,
        vdi_format_map: None,
    };
    job.run(call, doing, Stage::Migrate, stop).await.map(drop)
}

/// The host, the domain and the disks are others now: it does not come back, whoever asks for it.
async fn arrived(job: &Job, vm: &Ref<Vm>) -> Result<(), Cause> {
    let never = Stop::new();
    let record = job.client().record(vm).await.map_err(Cause::host("reading the VM that was moved"))?;
    // With the journal goes what anybody would know of a move that broke off.
    let moved = moving::settle(&job.driver, None, vm).await?;
    for drive in volume::drives(job, &record).await? {
        if moved.contains(&drive.disk.uuid) && drive::is_config_drive(&drive) {
            drive::verify(job, &drive.disk, &drive.as_disk(), &never).await?;
        }
    }
    Ok(())
}
