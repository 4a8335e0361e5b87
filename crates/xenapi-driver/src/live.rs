//! Moving running instances between the hosts of a pool, with their disks where that is needed.

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_storage::{DiskRequest, Place, Repository};
use xenapi_types::{Network as NetworkClass, Pif, Ref, Sr, Vdi, Vm, VmPowerState, VmRecord, host, vm};

use crate::cancel::Stop;
use crate::drive;
use crate::driver::Driver;
use crate::error::{Cause, Error, Op};
use crate::find::{self, Which};
use crate::inventory::{self, Node};
use crate::job::Job;
use crate::kernel;
use crate::licence::{self, Feature};
use crate::moving;
use crate::operation::Operation;
use crate::plan::{self, Conflict, Conflicts};
use crate::ports::{self, Ports};
use crate::power;
use crate::progress::{Progress, Stage};
use crate::rescue;
use crate::resize;
use crate::spec::SrChoice;
use crate::volume::{self, Drive, connect};

/// Where a running instance is to go.
#[derive(Debug, Clone)]
pub struct MigrateOptions {
    /// The host.
    pub node: Uuid,
    /// Where disks go that the host does not reach; without it, to the pool's default repository. Disks that
    /// it reaches stay where they are.
    pub sr: Option<SrChoice>,
    /// The network that memory and disks are sent over, by uuid, name or bridge; without it, that of the
    /// host's management interface.
    pub network: Option<String>,
    /// Who is told what happens, and how far it is.
    pub progress: Progress,
}

impl MigrateOptions {
    /// To this host, with nothing else decided.
    pub fn to(node: Uuid) -> Self {
        Self { node, sr: None, network: None, progress: Progress::none() }
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
    /// Cancelling aborts the migration: the guest goes on where it is, unless it had arrived already.
    ///
    /// # Errors
    ///
    /// Before anything is moved: [`Cause::WrongState`]; [`Cause::Conflicts`] for a host that is unknown, disabled
    /// or too small, and for repositories that do not fit; [`Cause::NotConnected`] for a volume that the
    /// host does not reach; [`Cause::ResizePending`]; [`Cause::Host`] for what XAPI's own check says. Later:
    /// [`Cause::Host`]; the guest runs on where it was. At last, [`Cause::ConfigDriveChanged`] when its config
    /// drive moved too and does not have its digest any more: then the guest has arrived.
    pub fn live_migrate(&self, which: Which, options: MigrateOptions) -> Operation<Migration> {
        let object = format!("instance {which}");
        self.verb(Op::LiveMigrate, object, options.progress.clone(), move |job, stop| {
            Box::pin(async move {
                let (vm, record) = job.stage(Stage::Find, find::ours(job, &which)).await?;
                let _gate = job.driver.0.gates.enter(&record.uuid).await;
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
            let (_, record) = find::ours(&job, which).await?;
            Ok(decide(&job, &record, options).await?.shown())
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
    let _gate = job.driver.0.gates.enter(&record.uuid).await;
    let plan = decide(job, record, options).await?;
    work(job, vm, record, &plan, stop).await
}

struct Plan {
    node: Node,
    network: Ref<NetworkClass>,
    /// Disks that move.
    moving: Vec<(Ref<Vdi>, String, Repository)>,
    /// Repositories of volumes that stay, which the host must reach.
    volume_srs: Vec<Ref<Sr>>,
}

impl Plan {
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
    if resize::state(record).is_some() {
        return Err(Cause::ResizePending { vm: record.uuid.clone() });
    }
    if rescue::is(record) {
        return Err(Cause::Rescued { vm: record.uuid.clone() });
    }
    if record.other_config.contains_key(kernel::KEY) {
        return Err(Cause::KernelStays { vm: record.uuid.clone() });
    }
    let nodes = inventory::read_nodes(job.client()).await?;
    let node = plan::choose_node_of(&nodes, Some(options.node), None).map_err(Conflicts::from)?;
    let network = transfer_network(job, node, options.network.as_deref()).await?;
    let mut plan = Plan { node: node.clone(), network, moving: Vec::new(), volume_srs: Vec::new() };
    if record.resident_on == node.reference {
        return Ok(plan);
    }
    check_node(record, node, true)?;
    ports::able(job, node).await?;
    let (repositories, default_sr) = resize::repositories(job).await?;
    let place = Place { host: &node.reference, host_name: &node.name, default_sr: &default_sr };
    for Drive { disk, vdi, is_own, .. } in volume::drives(job, record).await? {
        let here = repositories.iter().find(|sr| sr.reference == disk.sr);
        if here.is_some_and(|sr| sr.is_attached_to(&node.reference)) {
            continue;
        }
        if !is_own {
            plan.volume_srs.push(disk.sr);
            continue;
        }
        let choice = options.sr.clone().unwrap_or(SrChoice::PoolDefault);
        let sr = choice.select(&repositories, place).map_err(Conflict::from).map_err(Conflicts::from)?;
        let bytes = |n: i64| u64::try_from(n).unwrap_or(0);
        let request = DiskRequest {
            virtual_bytes: bytes(disk.virtual_size),
            data_bytes: Some(bytes(disk.physical_utilisation).min(bytes(disk.virtual_size))),
        };
        sr.check_space(&[request]).map_err(Conflict::from).map_err(Conflicts::from)?;
        plan.moving.push((vdi, disk.uuid, sr.clone()));
    }
    let needed = [Feature::LiveMigration, Feature::StorageMigration];
    licence::check(job, if plan.moving.is_empty() { &needed[..1] } else { &needed }).await?;
    Ok(plan)
}

/// Whether the node takes guests, and has the memory for one that runs.
pub(crate) fn check_node(vm: &VmRecord, node: &Node, runs: bool) -> Result<(), Cause> {
    let name = || node.name.clone();
    if !node.enabled {
        return Err(Conflicts::from(Conflict::NodeDisabled { node: name() }).into());
    }
    let needed_bytes = u64::try_from(vm.memory_dynamic_max).unwrap_or(0);
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
    for sr in &plan.volume_srs {
        connect::to_host(job, sr, &plan.node.reference, stop).await?;
    }
    stop.check()?;
    let left = Ports::of(&job.driver, record, &record.resident_on).await?;
    let host = plan.node.reference.clone();
    if plan.moving.is_empty() {
        let options = BTreeMap::from([("live".to_owned(), "true".to_owned())]);
        let call = vm::PoolMigrate { vm: vm.clone(), host, options };
        job.run(call, doing(), Stage::Migrate, stop).await?;
    } else {
        moving::begin(job, vm, record, &plan.moving, None).await?;
        send(job, vm, plan, doing, stop).await?;
    }
    arrived(job, vm, plan, stop).await?;
    left.down().await
}

async fn send(
    job: &Job,
    vm: &Ref<Vm>,
    plan: &Plan,
    doing: impl Fn() -> String,
    stop: &Stop,
) -> Result<(), Cause> {
    let client = job.client();
    let host = plan.node.reference.clone();
    let receive = host::MigrateReceive { host, network: plan.network.clone(), options: BTreeMap::new() };
    let dest = client.call(receive).await.map_err(Cause::host(doing()))?;
    let vdi_map: BTreeMap<_, _> =
        plan.moving.iter().map(|(vdi, _, sr)| (vdi.clone(), sr.reference.clone())).collect();
    let check = vm::AssertCanMigrate {
        vm: vm.clone(),
        dest: dest.clone(),
        live: true,
        vdi_map: vdi_map.clone(),
        vif_map: BTreeMap::new(),
        options: BTreeMap::new(),
        vgpu_map: None,
    };
    client.call(check).await.map_err(Cause::host(format!("{}, checked beforehand", doing())))?;
    stop.check()?;
    let call = vm::MigrateSend {
        vm: vm.clone(),
        dest,
        live: true,
        vdi_map,
        vif_map: BTreeMap::new(),
        options: BTreeMap::new(),
        vgpu_map: None,
        vdi_format_map: None,
    };
    job.run(call, doing(), Stage::Migrate, stop).await.map(drop)
}

/// The domain and the disks are others now, and the next start should not lead back.
async fn arrived(job: &Job, vm: &Ref<Vm>, plan: &Plan, stop: &Stop) -> Result<(), Cause> {
    let doing = || Cause::host("noting where the VM is now");
    let record = job.client().record(vm).await.map_err(doing())?;
    let patience = job.driver.settings().detach_timeout;
    let moved = moving::settle(job.client(), None, vm, patience).await?;
    power::begun(job, vm, stop).await?;
    let home = plan.node.reference.clone();
    job.client().set_field(vm, vm::field::AFFINITY, home).await.map_err(doing())?;
    for drive in volume::drives(job, &record).await? {
        if moved.contains(&drive.disk.uuid) && drive::is_config_drive(&drive) {
            drive::verify(job, &drive.disk, &drive.as_disk(), stop).await?;
        }
    }
    Ok(())
}
