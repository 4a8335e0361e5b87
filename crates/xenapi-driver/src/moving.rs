//! What a move of an instance that runs, or of its disks, writes down before it begins, and how it is
//! settled, whatever became of it.
//!
//! XAPI makes new disks where an instance goes to, and puts them into its drives. Nothing of the old ones' `other_config`
//! goes along (but the keys `content_id` and `config-drive`): neither whose they are nor what they are for. And where the
//! toolstack ends in between, the copies stay behind, with nobody to refer to them. The VM's own
//! `other_config` does go along; the journal is a key in it, so that whoever looks at the VM can mark what
//! has arrived and remove what has not.
//!
//! In another pool there is nobody who looks at the VM, until it arrives: there, the journal is in the pool's
//! own `other_config` as well.
//!
//! A copy that was left is known by what XAPI writes into its `sm_config`: the SR and the location of the
//! disk that it mirrors. Disks that the guest cannot write to are copied without that: theirs are known by
//! the name, description and size, if they were not there when the journal was written, nobody uses them and
//! they have no keys of ours; what users copy from our disks has those.

pub(crate) mod arriving;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xenapi_client::Client;
use xenapi_storage::Repository;
use xenapi_storage::ownership::{self, Claim};
use xenapi_types::{
    Host, Ref, Sr, VbdMode, VbdRecord, Vdi, VdiRecord, Vm, VmOperations, VmPowerState, VmRecord, vdi, vm,
};

use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::Cause;
use crate::find;
use crate::job::Job;
use crate::journal::{self, Note};
use crate::ports::Ports;
use crate::power;
use crate::remove::{self, Dom0};
use crate::volume;
use arriving::Arriving;

/// The journal.
const KEY: &str = "xenapi-rs:moving";
/// On a mirror: the SR and the location of its original.
const BASE_MIRROR: &str = "base_mirror";
/// What XAPI itself keeps of a disk, or computes anew.
const XAPIS: [&str; 2] = ["content_id", "config-drive"];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    pub(crate) operation: Uuid,
    /// Uuid of the VM: its clones inherit the journal, and have nothing to do with it.
    vm: String,
    /// Where the VM ran, and where it goes to: in another pool, that one's host.
    host: Ref<Host>,
    target: Ref<Host>,
    disks: Vec<Moving>,
}

/// A disk that is to be replaced by a copy elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Moving {
    userdevice: String,
    vdi: String,
    /// What its mirrors say of it.
    mirror: String,
    /// Uuids of its SR and of that where it goes to.
    from: String,
    to: String,
    name: String,
    description: String,
    bytes: i64,
    writable: bool,
    /// Uuids of the disks of its name that were there before.
    before: Vec<String>,
    /// Its `other_config`.
    keys: BTreeMap<String, String>,
}

impl Journal {
    /// The journal of a VM, if it was being moved.
    pub(crate) fn read(vm: &VmRecord) -> Option<Self> {
        let journal: Self = serde_json::from_str(vm.other_config.get(KEY)?).ok()?;
        (journal.vm == vm.uuid).then_some(journal)
    }

    /// Whether the VM is elsewhere than it was.
    pub(crate) fn has_left(&self, vm: &VmRecord) -> bool {
        let is_elsewhere = vm.resident_on != self.host || vm.resident_on == self.target;
        vm.power_state == VmPowerState::Running && is_elsewhere
    }

    /// Whether a disk of the VM came with the move.
    pub(crate) fn brought(&self, drive: &VbdRecord, disk: &VdiRecord) -> bool {
        self.disks.iter().any(|moving| moving.userdevice == drive.userdevice && moving.is_copy(disk))
    }
}

/// Writes down what is about to be moved, and has it settled if the operation fails. `there` is the pool that the
/// disks go to, if it is another one. Without disks only the guest's memory moves: what is noted is where it ran.
pub(crate) async fn begin(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    target: &Ref<Host>,
    moving: &[(Ref<Vdi>, String, Repository)],
    there: Option<&Client>,
) -> Result<(), Cause> {
    let client = job.client();
    let doing = || Cause::host(format!("noting in VM {} which disks are moved", record.uuid));
    let mut disks = Vec::new();
    for drive in volume::drives(job, record).await? {
        let Some((.., to)) = moving.iter().find(|(vdi, ..)| *vdi == drive.vdi) else { continue };
        let named = there.unwrap_or(client).records_named::<Vdi>(&drive.disk.name_label).await;
        let before = named.map_err(doing())?.into_values().filter(|disk| disk.sr == to.reference);
        let mut keys = drive.disk.other_config;
        keys.retain(|key, _| !XAPIS.contains(&key.as_str()));
        disks.push(Moving {
            userdevice: drive.record.userdevice,
            mirror: format!("{}/{}", drive.sr_uuid, drive.disk.location),
            vdi: drive.disk.uuid,
            from: drive.sr_uuid,
            to: to.uuid.clone(),
            name: drive.disk.name_label,
            description: drive.disk.name_description,
            bytes: drive.disk.virtual_size,
            writable: drive.record.mode == VbdMode::Rw,
            before: before.map(|disk| disk.uuid).collect(),
            keys,
        });
    }
    let (vm_uuid, host) = (record.uuid.clone(), record.resident_on.clone());
    let journal = Journal { operation: job.operation, vm: vm_uuid, host, target: target.clone(), disks };
    let what = format!("the disks of VM {} on the move", record.uuid);
    let begun = remember(job, vm, &what, there);
    if let Some(there) = there {
        let noted = Arriving::note(there, &job.driver.settings().owner, &journal).await;
        noted.map_err(Cause::host("noting in the other pool which disks are to come"))?;
    }
    let text = serde_json::to_string(&journal).unwrap_or_default();
    journal::write_down(job, vm, record, &Note { what, key: KEY, text, flags: &[] }).await?;
    begun.store(true, Ordering::Relaxed);
    Ok(())
}

/// Has the move settled if it fails, once it is told that it has begun; before, only what is noted of it is removed.
fn remember(job: &Job, vm: &Ref<Vm>, what: &str, there: Option<&Client>) -> Arc<AtomicBool> {
    let begun = Arc::new(AtomicBool::new(false));
    let (here, other, undo) = (job.driver.clone(), there.cloned(), vm.clone());
    let operation = job.operation;
    let has_begun = Arc::clone(&begun);
    job.rollback.push(what, async move {
        if has_begun.load(Ordering::Relaxed) {
            return settle_of(&here, other.as_ref(), &undo, Some(operation)).await.map(drop);
        }
        let doing = || Cause::host("removing what was noted of a move");
        journal::withdraw(here.client(), &undo, KEY, operation).await.map_err(doing())?;
        match &other {
            Some(there) => Arriving::forget(there, operation).await.map_err(doing()),
            None => Ok(()),
        }
    });
    begun
}

/// Puts a VM in order that was being moved: one that has left prefers to be where it is now, so that its next start does not
/// lead back, in a domain that is known; disks that have arrived become the instance's, copies that nobody uses
/// and originals that have been replaced are removed, its ports' bridges are where it is and not where it
/// was, and the journal ends. Returns the uuids of those that have arrived. It can be repeated; without a
/// journal there is nothing to do.
pub(crate) async fn settle(
    driver: &Driver,
    there: Option<&Client>,
    vm: &Ref<Vm>,
) -> Result<Vec<String>, Cause> {
    settle_of(driver, there, vm, None).await
}

/// As [`settle`], but only what this operation has moved.
async fn settle_of(
    driver: &Driver,
    there: Option<&Client>,
    vm: &Ref<Vm>,
    operation: Option<Uuid>,
) -> Result<Vec<String>, Cause> {
    let (here, patience) = (driver.client(), driver.settings().detach_timeout);
    let Some(record) = at_rest(here, vm, patience).await? else { return Ok(Vec::new()) };
    let Some(journal) = Journal::read(&record) else { return Ok(Vec::new()) };
    if operation.is_some_and(|operation| operation != journal.operation) {
        return Ok(Vec::new());
    }
    let doing = || Cause::host(format!("settling which disks VM {} has", record.uuid));
    let mut bridged = Ok(());
    if journal.has_left(&record) {
        note_home(here, vm, &record).await?;
        bridged = bridge(driver, &record, &journal.host).await;
    }
    let mut arrived = Vec::new();
    for (_, drive) in find::disks(here, &record).await? {
        let Some(moving) = journal.disks.iter().find(|disk| disk.userdevice == drive.userdevice) else {
            continue;
        };
        let Some(disk) = here.record_opt(&drive.vdi).await.map_err(doing())? else { continue };
        let sr = here.get_field(&disk.sr, xenapi_types::sr::field::UUID).await.map_err(doing())?;
        if sr != moving.to || !moving.is_copy(&disk) {
            continue;
        }
        let mut keys = disk.other_config;
        keys.extend(moving.keys.clone());
        keys.insert(ownership::SELF.to_owned(), disk.uuid.clone());
        here.set_field(&drive.vdi, vdi::field::OTHER_CONFIG, keys).await.map_err(doing())?;
        arrived.push((moving.vdi.clone(), disk.uuid));
    }
    let pools = [Some(here), there].into_iter().flatten();
    for client in pools.filter(|_| !journal.disks.is_empty()) {
        sweep(client, &journal, patience).await.map_err(doing())?;
        Arriving::forget(client, journal.operation).await.map_err(doing())?;
    }
    for (original, _) in &arrived {
        let Some(vdi) = here.by_uuid_opt::<Vdi>(original).await.map_err(doing())? else { continue };
        // Which of the two its guest writes to is known only of a VM that has left.
        if record.power_state == VmPowerState::Halted || record.resident_on == journal.host {
            let (vm, state) = (record.uuid.clone(), "between two hosts, with its disks on both".to_owned());
            let remedy = "look which of its disks it uses, and remove the others";
            return Err(Cause::WrongState { vm, state, remedy });
        }
        remove::vdi(here, &vdi, Dom0::Wait, patience).await.map_err(doing())?;
    }
    // Whatever its ports lack, its disks are its own.
    bridged?;
    here.remove_from(vm, vm::field::OTHER_CONFIG, KEY).await.map_err(doing())?;
    Ok(arrived.into_iter().map(|(_, copy)| copy).collect())
}

/// Where a guest that has arrived is, and in which domain.
async fn note_home(client: &Client, vm: &Ref<Vm>, record: &VmRecord) -> Result<(), Cause> {
    if record.affinity != record.resident_on {
        let noted = client.set_field(vm, vm::field::AFFINITY, record.resident_on.clone()).await;
        noted.map_err(Cause::host(format!("noting where VM {} is now", record.uuid)))?;
    }
    power::note_domid(client, vm, record.domid).await
}

/// The bridges of a guest's ports are where it is, and no more on the host that it has left.
async fn bridge(driver: &Driver, vm: &VmRecord, left: &Ref<Host>) -> Result<(), Cause> {
    Ports::of(driver, vm, &vm.resident_on).await?.up(&Stop::new()).await?;
    if vm.resident_on == *left {
        return Ok(());
    }
    Ports::of(driver, vm, left).await?.down().await
}

/// The record of a VM that no earlier move has left something of.
pub(crate) async fn settled(job: &Job, vm: &Ref<Vm>, record: VmRecord) -> Result<VmRecord, Cause> {
    if Journal::read(&record).is_none() || job.driver.0.rehearses {
        return Ok(record);
    }
    settle(&job.driver, None, vm).await?;
    job.client().record(vm).await.map_err(Cause::host(format!("reading VM {}", record.uuid)))
}

/// The VM, once XAPI does not move it any more.
pub(crate) async fn at_rest(
    client: &Client,
    vm: &Ref<Vm>,
    patience: Duration,
) -> Result<Option<VmRecord>, Cause> {
    let (begun, mut pause) = (Instant::now(), Duration::from_millis(50));
    loop {
        let record = client.record_opt(vm).await.map_err(Cause::host("reading the VM that was moved"))?;
        let Some(record) = record else { return Ok(None) };
        let moves = |operation: &VmOperations| {
            matches!(operation, VmOperations::MigrateSend | VmOperations::PoolMigrate)
        };
        if !record.current_operations.values().any(moves) {
            return Ok(Some(record));
        }
        if begun.elapsed() >= patience {
            let remedy = "wait until it has arrived, or cancel its migration";
            return Err(Cause::WrongState { vm: record.uuid, state: "still on the move".into(), remedy });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

/// Removes the copies that a move has left, and what it has made of the originals.
async fn sweep(client: &Client, journal: &Journal, patience: Duration) -> xenapi_client::Result<()> {
    let mut srs = BTreeMap::new();
    for uuid in journal.disks.iter().flat_map(|disk| [&disk.from, &disk.to]) {
        match client.by_uuid_opt::<Sr>(uuid).await? {
            Some(sr) => drop(srs.insert(sr, uuid)),
            None => tracing::debug!(sr = uuid, "of another pool, which has a note of what is to come"),
        }
    }
    for (reference, disk) in client.all_records::<Vdi>().await? {
        let Some(sr) = srs.get(&disk.sr) else { continue };
        if journal.disks.iter().any(|moving| moving.has_left(&disk, sr)) && !is_used(client, &disk).await? {
            tracing::warn!(disk = disk.uuid, "removing a copy that a migration has left");
            remove::vdi(client, &reference, Dom0::Detach, patience).await?;
        }
    }
    Ok(())
}

/// Whether a VM has the disk, other than a control domain.
async fn is_used(client: &Client, disk: &VdiRecord) -> xenapi_client::Result<bool> {
    for vbd in &disk.vbds {
        let Some(drive) = client.record_opt(vbd).await? else { continue };
        let user = client.record_opt(&drive.vm).await?;
        if user.is_none_or(|vm| !vm.is_control_domain) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Moving {
    /// Whether a disk in the place of this one can be its copy: it has none of our keys, or this one's.
    fn is_copy(&self, disk: &VdiRecord) -> bool {
        disk.uuid != self.vdi
            && match Claim::read(&disk.other_config, &disk.uuid) {
                Claim::None => true,
                Claim::Original(_) | Claim::Unsealed(_) => self.was_marked(disk),
                Claim::Copy(_) => disk.other_config.get(ownership::SELF) == Some(&self.vdi),
                Claim::Broken => false,
            }
    }

    /// Whether it has this one's keys already.
    fn was_marked(&self, disk: &VdiRecord) -> bool {
        [ownership::OWNER, ownership::INSTANCE, ownership::OPERATION]
            .iter()
            .all(|key| disk.other_config.get(*key) == self.keys.get(*key))
    }

    /// Whether a disk of the SR with this uuid was left on the way.
    fn has_left(&self, disk: &VdiRecord, sr: &str) -> bool {
        let is_new = disk.uuid != self.vdi && !self.before.contains(&disk.uuid);
        let is_nobodys = Claim::read(&disk.other_config, &disk.uuid) == Claim::None;
        let is_mirror = disk.sm_config.get(BASE_MIRROR) == Some(&self.mirror);
        let is_twin = !self.writable
            && sr == self.to
            && (&disk.name_label, &disk.name_description) == (&self.name, &self.description)
            && disk.virtual_size >= self.bytes;
        disk.managed && is_new && is_nobodys && (is_mirror || is_twin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xenapi_storage::ownership::Ownership;

    fn moving(writable: bool) -> Moving {
        let maker = Ownership { owner: "me".into(), instance: Uuid::nil(), operation: Uuid::max() };
        Moving {
            userdevice: "0".into(),
            vdi: "old".into(),
            mirror: "sr-1/old".into(),
            from: "sr-1".into(),
            to: "sr-2".into(),
            name: "web1".into(),
            description: "root".into(),
            bytes: 7,
            writable,
            before: vec!["before".into()],
            keys: maker.keys(),
        }
    }

    fn disk(change: impl FnOnce(&mut VdiRecord)) -> VdiRecord {
        let mut disk = VdiRecord::default();
        (disk.uuid, disk.managed, disk.virtual_size) = ("new".into(), true, 7);
        (disk.name_label, disk.name_description) = ("web1".into(), "root".into());
        change(&mut disk);
        disk
    }

    fn mirror(disk: &mut VdiRecord) {
        disk.sm_config.insert(BASE_MIRROR.into(), "sr-1/old".into());
    }

    /// What a move leaves is removed; whatever can be somebody's is not.
    #[test]
    fn only_what_was_left_is_taken_for_it() {
        let copied = |disk: &mut VdiRecord| {
            disk.other_config = moving(true).keys;
            disk.other_config.insert(ownership::SELF.into(), "old".into());
        };
        for (what, writable, disk, sr, left) in [
            ("a mirror", true, disk(mirror), "sr-2", true),
            ("the snapshot that it began with", true, disk(mirror), "sr-1", true),
            (
                "the mirror of another disk",
                true,
                disk(|disk| {
                    disk.sm_config.insert(BASE_MIRROR.into(), "sr-1/other".into());
                }),
                "sr-2",
                false,
            ),
            ("a disk of the same name", true, disk(|_| ()), "sr-2", false),
            ("a copy of what cannot be written", false, disk(|_| ()), "sr-2", true),
            ("one elsewhere", false, disk(|_| ()), "sr-1", false),
            ("one of another name", false, disk(|disk| disk.name_label = "web2".into()), "sr-2", false),
            (
                "one with another meaning",
                false,
                disk(|disk| disk.name_description = "".into()),
                "sr-2",
                false,
            ),
            ("a smaller one", false, disk(|disk| disk.virtual_size = 6), "sr-2", false),
            ("one that was there", false, disk(|disk| disk.uuid = "before".into()), "sr-2", false),
            ("what a user has copied", false, disk(copied), "sr-2", false),
            ("the original", true, disk(|disk| disk.uuid = "old".into()), "sr-1", false),
            ("a base copy", true, disk(|disk| (disk.managed, _) = (false, mirror(disk))), "sr-2", false),
        ] {
            assert_eq!(moving(writable).has_left(&disk, sr), left, "{what}");
        }
    }

    #[test]
    fn the_journal_is_read_as_it_was_written() {
        let mut vm = VmRecord::default();
        vm.uuid = "vm".into();
        let (operation, host, target) = (Uuid::max(), Ref::NULL, Ref::NULL);
        let journal = Journal { operation, vm: vm.uuid.clone(), host, target, disks: vec![moving(true)] };
        assert_eq!(Journal::read(&vm), None);
        vm.other_config.insert(KEY.into(), serde_json::to_string(&journal).unwrap());
        assert_eq!(Journal::read(&vm), Some(journal));
        vm.uuid = "its clone".into();
        assert_eq!(Journal::read(&vm), None);
    }
}
