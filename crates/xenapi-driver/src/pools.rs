//! Moving instances to other pools, running or halted, with their disks.
//!
//! XAPI moves the VM as a whole: it is in the one pool or in the other, whatever breaks off. The VM keeps its uuid;
//! its disks become others, which are marked as ours once they are there: by this verb, or after a crash by
//! [`Driver::reconcile`] on the other pool. Copies that XAPI leaves there when it fails are removed by this verb; when its
//! program ends too, by reconciling there, from a note in the pool's `other_config`.

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_storage::{DiskRequest, Place, Repository};
use xenapi_types::{
    Network as NetworkClass, Ref, Vdi, VdiRecord, Vif, VifRecord, Vm, VmPowerState, VmRecord, vm,
};

use crate::cancel::Stop;
use crate::chains::Chains;
use crate::driver::Driver;
use crate::error::{Cause, Error, Op};
use crate::find::{self, Which};
use crate::handover::Handover;
use crate::inventory::{self, Node};
use crate::job::{Active, Job};
use crate::licence::{self, Feature};
use crate::live::{self, Migration};
use crate::moving;
use crate::operation::Operation;
use crate::plan::{self, Conflict, Conflicts};
use crate::pool_move;
use crate::ports::{self, Ports};
use crate::progress::{Progress, Stage};
use crate::resize;
use crate::spec::SrChoice;
use crate::volume;

/// Where in another pool an instance is to go.
#[derive(Debug, Clone, Default)]
pub struct PoolPlace {
    /// The host; may be left out where there is only one.
    pub node: Option<Uuid>,
    /// Where its disks go; without it, to the other pool's default repository.
    pub sr: Option<SrChoice>,
    /// Where single disks go, by their uuids; they have to be the instance's own.
    pub disks: BTreeMap<String, SrChoice>,
    /// The other pool's network (by uuid, name or bridge) for each network of this one, by uuid. For those that are
    /// not named here, it is the network of the same name.
    pub networks: BTreeMap<String, String>,
}

/// How an instance goes to another pool.
#[derive(Debug, Clone, Default)]
pub struct PoolMigrateOptions {
    /// Where it goes.
    pub place: PoolPlace,
    /// The other pool's network that memory and disks are sent over; without it, that of the host's management
    /// interface.
    pub over: Option<String>,
    /// Who is told what happens, and how far it is.
    pub progress: Progress,
}

impl Driver {
    /// Moves an instance to the pool of another driver, whose own it is from then on: drivers of the same
    /// [owner](crate::Settings::owner), or it would be nobody's. A running one runs on, a halted one stays halted.
    ///
    /// Cancelling aborts it: the instance goes on where it is, unless it had arrived already.
    ///
    /// # Errors
    ///
    /// Before anything is moved: [`Cause::WrongState`]; [`Cause::VolumesStay`] when it has volumes,
    /// [`Cause::DiscStays`] when a disc is in one of its drives; [`Cause::Conflicts`] for what the other pool
    /// does not have, or has already; [`Cause::OtherOwner`]; [`Cause::SnapshotsStay`];
    /// [`Cause::ResizePending`], [`Cause::Rescued`]; [`Cause::Host`] for what XAPI's own check says. Later:
    /// [`Cause::Host`]; the instance is where it was, or, when it cannot be marked there, in the other pool,
    /// to be found by [`Driver::reconcile`].
    pub fn migrate_to_pool(
        &self,
        which: Which,
        pool: &Driver,
        options: PoolMigrateOptions,
    ) -> Operation<Migration> {
        let (object, pool) = (format!("instance {which}"), pool.clone());
        self.verb(Op::MigrateToPool, object, options.progress.clone(), move |job, stop| {
            Box::pin(async move {
                let (_gate, vm, record) = find::ours_in_turn(job, &which, stop).await?;
                let record = job.stage(Stage::Find, moving::settled(job, &vm, record)).await?;
                let plan = job.stage(Stage::Plan, decide(job, &record, &pool, &options)).await?;
                job.would(|| plan.steps(&record, &pool))?;
                let _busy = Active::new(&pool, job.operation);
                let left = Ports::of(&job.driver, &record, &record.resident_on);
                let left = job.stage(Stage::Plan, left).await?;
                let arrived = job.stage(Stage::Migrate, send(job, &vm, &record, &pool, &plan, stop)).await?;
                job.stage(Stage::Vm, welcome(&pool, &arrived, &plan)).await?;
                job.stage(Stage::Vm, left.down()).await?;
                Ok(plan.shown())
            })
        })
    }

    /// What [`Driver::migrate_to_pool`] would do; nothing is changed.
    ///
    /// # Errors
    ///
    /// As that, as far as it can be known before.
    pub async fn plan_pool_migration(
        &self,
        which: &Which,
        pool: &Driver,
        options: &PoolMigrateOptions,
    ) -> crate::Result<Migration> {
        let job = Job::new(self.clone(), Progress::none());
        let planned = async {
            let (_, record) = find::ours(&job, which).await?;
            Ok(decide(&job, &record, pool, options).await?.shown())
        };
        planned.await.map_err(|cause: Cause| {
            Error::new(Op::MigrateToPool, format!("instance {which}"), Stage::Plan, cause)
        })
    }
}

struct Plan {
    node: Node,
    over: Ref<NetworkClass>,
    disks: Vec<(Ref<Vdi>, String, Repository)>,
    vifs: BTreeMap<Ref<Vif>, Ref<NetworkClass>>,
    live: bool,
}

impl Plan {
    fn shown(&self) -> Migration {
        let disks = self.disks.iter().map(|(_, disk, sr)| (disk.clone(), sr.uuid.clone())).collect();
        Migration { node_uuid: self.node.uuid.clone(), disks }
    }

    fn steps(&self, vm: &VmRecord, pool: &Driver) -> Vec<String> {
        let disks = self.disks.iter().map(|(_, disk, sr)| {
            format!("copy disk {disk} to storage repository {:?} there, and remove it here", sr.name_label)
        });
        let how = if self.live { "while it runs" } else { "as it is, halted" };
        let go = format!("move VM {} to host {:?} of {}, {how}", vm.uuid, self.node.name, pool.endpoint());
        let marks = "mark the VM and its disks as this driver's in the other pool".to_owned();
        disks.chain([go, marks]).collect()
    }
}

async fn decide(
    job: &Job,
    record: &VmRecord,
    pool: &Driver,
    options: &PoolMigrateOptions,
) -> Result<Plan, Cause> {
    same_owner(&job.driver, pool)?;
    let live = match record.power_state {
        VmPowerState::Running => true,
        VmPowerState::Halted => false,
        _ => {
            let (vm, state) = (record.uuid.clone(), record.power_state.to_string());
            return Err(Cause::WrongState { vm, state, remedy: "bring it up or switch it off first" });
        }
    };
    live::can_leave(record)?;
    pool_move::none_pending(record)?;
    no_snapshots(job, record).await?;
    licence::check(job, &[Feature::StorageMigration]).await?;
    let there = Job::new(pool.clone(), Progress::none());
    let nodes = inventory::read_nodes(pool).await?;
    let node = plan::choose_node_of(&nodes, options.place.node, None).map_err(Conflicts::from)?;
    live::check_node(record, node, live)?;
    ports::able(&there, node).await?;
    name_is_free(pool, &record.name_label).await?;
    Ok(Plan {
        node: node.clone(),
        over: live::transfer_network(&there, node, options.over.as_deref()).await?,
        disks: disks(job, record, &there, node, &options.place).await?,
        vifs: networks(job, record, pool, &options.place)
            .await?
            .into_iter()
            .map(|(vif, _, net)| (vif, net))
            .collect(),
        live,
    })
}

pub(crate) async fn name_is_free(pool: &Driver, name: &str) -> Result<(), Cause> {
    match find::vm(pool.client(), &Which::Named(name.to_owned())).await? {
        Some((_, taken)) => {
            Err(Conflicts::from(Conflict::NameInUse { name: name.to_owned(), vm: taken.uuid }).into())
        }
        None => Ok(()),
    }
}

/// Makes sure that nothing is left behind unasked. XAPI takes one snapshot of a VM along, if it has no memory, and none of
/// single disks.
pub(crate) async fn no_snapshots(job: &Job, vm: &VmRecord) -> Result<(), Cause> {
    let client = job.client();
    let doing = || Cause::host(format!("reading the snapshots of VM {}", vm.uuid));
    let mut snapshots = Vec::new();
    for snapshot in &vm.snapshots {
        let Some(snapshot) = client.record_opt(snapshot).await.map_err(doing())? else { continue };
        snapshots.push(format!("{} {:?}", snapshot.uuid, snapshot.name_label));
    }
    for (_, drive) in find::disks(client, vm).await? {
        let Some(disk) = client.record_opt(&drive.vdi).await.map_err(doing())? else { continue };
        for snapshot in &disk.snapshots {
            let Some(snapshot) = client.record_opt(snapshot).await.map_err(doing())? else { continue };
            // Those in a VM's snapshot are named with it.
            if snapshot.is_a_snapshot && snapshot.vbds.is_empty() {
                snapshots.push(format!("{} of disk {}", snapshot.uuid, disk.uuid));
            }
        }
    }
    let vm = vm.uuid.clone();
    if snapshots.is_empty() { Ok(()) } else { Err(Cause::SnapshotsStay { vm, snapshots }) }
}

/// Of another owner's driver, an instance would be nobody's.
pub(crate) fn same_owner(here: &Driver, there: &Driver) -> Result<(), Cause> {
    let (owner, other) = (here.settings().owner.clone(), there.settings().owner.clone());
    if owner == other { Ok(()) } else { Err(Cause::OtherOwner { owner, other }) }
}

async fn disks(
    job: &Job,
    record: &VmRecord,
    there: &Job,
    node: &Node,
    place: &PoolPlace,
) -> Result<Vec<(Ref<Vdi>, String, Repository)>, Cause> {
    let drives = volume::loaded(job, record).await?;
    if let Some(disc) = drives.iter().find(|drive| drive.is_disc()) {
        return Err(live::disc_stays(job, record, disc, there.driver.endpoint().to_string()).await);
    }
    volume::all_known(record, drives.iter().filter(|drive| drive.is_own), &place.disks)?;
    let volumes: Vec<String> =
        drives.iter().filter(|drive| !drive.is_own).map(|drive| drive.disk.uuid.clone()).collect();
    if !volumes.is_empty() {
        return Err(Cause::VolumesStay { vm: record.uuid.clone(), volumes });
    }
    let chains = Chains::of(job.client(), drives.iter().map(|drive| &drive.disk)).await?;
    let copy = |disk: &VdiRecord| chains.copy(disk, bytes(disk.virtual_size));
    let records = drives.iter().map(|drive| (&drive.disk, copy(&drive.disk)));
    let repositories = repositories(there, node, place, records).await?;
    Ok(drives.into_iter().zip(repositories).map(|(drive, sr)| (drive.vdi, drive.disk.uuid, sr)).collect())
}

/// Where each disk goes, and what it takes there; each repository must have room for all that go there.
pub(crate) async fn repositories(
    there: &Job,
    node: &Node,
    place: &PoolPlace,
    disks: impl Iterator<Item = (&VdiRecord, DiskRequest)>,
) -> Result<Vec<Repository>, Cause> {
    let (repositories, default_sr) = resize::repositories(there).await?;
    let target = Place { host: &node.reference, host_name: &node.name, default_sr: &default_sr };
    let mut placed = Vec::new();
    let mut requests: BTreeMap<String, Vec<DiskRequest>> = BTreeMap::new();
    for (disk, request) in disks {
        let choice = place.disks.get(&disk.uuid).or(place.sr.as_ref()).cloned();
        let choice = choice.unwrap_or(SrChoice::PoolDefault);
        let sr = choice.select(&repositories, target).map_err(Conflict::from).map_err(Conflicts::from)?;
        let all = requests.entry(sr.uuid.clone()).or_default();
        all.push(request);
        sr.check_space(all).map_err(Conflict::from).map_err(Conflicts::from)?;
        placed.push(sr.clone());
    }
    Ok(placed)
}

fn bytes(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// The interfaces, and the other pool's network for each.
pub(crate) async fn networks(
    job: &Job,
    record: &VmRecord,
    pool: &Driver,
    place: &PoolPlace,
) -> Result<Vec<(Ref<Vif>, VifRecord, Ref<NetworkClass>)>, Cause> {
    let doing = || Cause::host("reading the interfaces of the instance");
    let there = inventory::read_networks(pool.client()).await?;
    let mut mapped = Vec::new();
    for reference in &record.vifs {
        let vif = job.client().record(reference).await.map_err(doing())?;
        let network = job.client().record(&vif.network).await.map_err(doing())?;
        let wanted = place.networks.get(&network.uuid).unwrap_or(&network.name_label);
        let network = plan::choose_network(&there, wanted).map_err(Conflicts::from)?;
        mapped.push((reference.clone(), vif, network.reference.clone()));
    }
    Ok(mapped)
}

async fn send(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    pool: &Driver,
    plan: &Plan,
    stop: &Stop,
) -> Result<Ref<Vm>, Cause> {
    let doing = || format!("moving VM {} to host {:?} of {}", record.uuid, plan.node.name, pool.endpoint());
    stop.check()?;
    let handover = Handover::ask(pool.client(), &plan.node.reference, &plan.over, &doing()).await?;
    let sent = send_with(job, vm, record, pool, plan, handover.dest(), stop).await;
    match &sent {
        Ok(()) => handover.end().await,
        Err(cause) => handover.end_after(cause, job.client(), vm).await,
    }
    sent?;
    // What the task returns is not the same in all releases; the uuid is.
    let arrived = pool.client().by_uuid::<Vm>(&record.uuid).await;
    arrived.map_err(Cause::host(format!("looking for VM {} in the other pool", record.uuid)))
}

async fn send_with(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    pool: &Driver,
    plan: &Plan,
    dest: BTreeMap<String, String>,
    stop: &Stop,
) -> Result<(), Cause> {
    let doing = || format!("moving VM {} to host {:?} of {}", record.uuid, plan.node.name, pool.endpoint());
    let vdi_map: BTreeMap<_, _> =
        plan.disks.iter().map(|(vdi, _, sr)| (vdi.clone(), sr.reference.clone())).collect();
    let check = vm::AssertCanMigrate {
        vm: vm.clone(),
        dest: dest.clone(),
        live: plan.live,
        vdi_map: vdi_map.clone(),
        vif_map: plan.vifs.clone(),
        options: BTreeMap::new(),
        vgpu_map: None,
    };
    job.client().call(check).await.map_err(Cause::host(format!("{}, checked beforehand", doing())))?;
    stop.check()?;
    let call = vm::MigrateSend {
        vm: vm.clone(),
        dest,
        live: plan.live,
        vdi_map,
        vif_map: plan.vifs.clone(),
        options: BTreeMap::new(),
        vgpu_map: None,
        vdi_format_map: None,
    };
    moving::begin(job, vm, record, &plan.node.reference, &plan.disks, Some(pool.client())).await?;
    job.run(call, doing(), Stage::Migrate, stop).await.map(drop)
}

/// What is true of the VM in its new pool is noted there.
async fn welcome(pool: &Driver, vm: &Ref<Vm>, plan: &Plan) -> Result<(), Cause> {
    let doing = || Cause::host("noting where the VM is now");
    let home = plan.node.reference.clone();
    pool.client().set_field(vm, vm::field::AFFINITY, home).await.map_err(doing())?;
    moving::settle(pool, None, vm).await.map(drop)
}
