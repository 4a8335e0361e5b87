//! What can go wrong, in one sentence that says what failed, where, and what to do.

mod remedy;
mod told;
mod verb;

use uuid::Uuid;
use xenapi_storage::Size;

use self::told::{Chain, Have, Told};
use crate::compatibility::Incompatible;
use crate::plan::Conflicts;

pub use self::verb::{Error, Op};

/// The result of every verb.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// It cannot be done as asked for; nothing was touched.
    #[error(transparent)]
    Conflicts(#[from] Conflicts),
    /// The options do not fit where the driver runs.
    #[error(transparent)]
    Incompatible(#[from] Incompatible),
    /// It was cancelled.
    #[error("it was cancelled")]
    Cancelled,
    /// It was only to be told what would be done, and nothing was: these steps ([`Driver::rehearsing`](crate::Driver::rehearsing)).
    #[error("nothing was done, for this driver only tells what it would do: {}", .0.join("; "))]
    DryRun(Vec<String>),
    /// A call or a transfer failed.
    #[error("{}", Told { doing, source })]
    Host {
        /// What was being done, with the object's name: `creating the root disk in SR "fast"`.
        doing: String,
        /// What the client says.
        source: xenapi_client::Error,
    },
    /// The plugin in a host's dom0 did not do it.
    #[error("{doing}: {failure}")]
    Dom0 {
        /// What was being done.
        doing: String,
        /// What the plugin says.
        failure: Box<dom0_protocol::Failure>,
    },
    /// The plugin in a host's dom0 and this driver do not understand each other.
    #[error("{doing}: {source}")]
    Protocol {
        /// What was being done.
        doing: String,
        /// Why.
        source: dom0_protocol::ProtocolError,
    },
    /// The storage repository had room when it was asked, and no longer when it was needed.
    #[error(
        "SR {sr:?} ran full during the import: it has room for {} and the data of the image take {}; \
         free some space, or choose another SR",
        Size(*.room_bytes), Size(*.needed_bytes)
    )]
    SrRanFull {
        /// Its name.
        sr: String,
        /// What is free, and what the disk took until then.
        room_bytes: u64,
        /// What the disk would have taken.
        needed_bytes: u64,
    },
    /// The image cannot be used.
    #[error("{}; use an intact raw image, a VHD with all its parents, or a qcow2 file", Chain(.0))]
    Image(#[source] disk_stream::Error),
    /// A disc to install from that is none.
    #[error(
        "image {0} has no volume descriptor of ISO 9660 or UDF, so that it is no disc; give a disc that is not packed, or \
         use the image as a disk"
    )]
    NotADisc(String),
    /// The image service says that the image is of a format that is not read.
    #[error(
        "image {image} is declared as {format}, which is not read here; convert it with qemu-img convert -O qcow2, or say \
         what it is if that is wrong"
    )]
    FormatNotRead {
        /// Which one.
        image: String,
        /// The format, as the image service calls it.
        format: String,
    },
    /// The image is used as a file system for which a partition table is made, and cannot be.
    #[error("image {image} cannot be the only partition of a disk: {why}; use it as a disk")]
    NotAFileSystem {
        /// Which one.
        image: String,
        /// Why not.
        why: String,
    },
    /// The image cannot be fetched, or is not the one that is meant.
    #[error("{}", Chain(.0))]
    Source(#[source] image_store::Error),
    /// Nothing says how large the disk in the image is.
    #[error("{0} does not say how large its disk is; give the size of the disk, or a flavor with one")]
    ImageSizeUnknown(String),
    /// The config drive cannot be built.
    #[error("the config drive cannot be built: {0}; change what is to be on it")]
    ConfigDrive(#[from] config_drive::Error),
    /// What was read back is not what was written.
    #[error(
        "{disk} read back from the host differs from its source at byte {offset}; \
         do not use it, and check the health of its storage repository"
    )]
    Differs {
        /// The disk.
        disk: String,
        /// Offset of the first difference on the disk, in bytes.
        offset: u64,
    },
    /// The instance has no config drive.
    #[error("VM {0} has no config drive; make the instance with one")]
    NoConfigDrive(String),
    /// The config drive has no digest: whoever made it went away before it was written, or did not note any.
    #[error(
        "config drive {disk} of VM {vm} was never written completely; rebuild the instance with a new one"
    )]
    ConfigDriveUnwritten {
        /// The disk's uuid.
        disk: String,
        /// The VM's uuid.
        vm: String,
    },
    /// The config drive does not have the digest that was noted when it was written.
    #[error(
        "config drive {disk} is not what was written to it; rebuild the instance with a new one, and check the \
         health of its storage repository"
    )]
    ConfigDriveChanged {
        /// The disk's uuid.
        disk: String,
    },
    /// A plugin answered what cannot be read.
    #[error(
        "what plugin {plugin} answered cannot be read: {why}; is it the one that belongs to this driver?"
    )]
    PluginAnswer {
        /// The plugin.
        plugin: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such instance.
    #[error("no VM has the name or instance uuid {0:?}; check the spelling")]
    NoSuchInstance(String),
    /// The name fits several VMs.
    #[error("several VMs are named {name:?}; use the instance's uuid instead: {}", .uuids.join(", "))]
    AmbiguousInstance {
        /// The name.
        name: String,
        /// Uuids of the VMs.
        uuids: Vec<String>,
    },
    /// The VM was not made by this driver, so it is left alone.
    #[error(
        "VM {uuid} was not made by owner {owner:?} of this driver, so it is left alone; adopt it first, or use other means"
    )]
    NotOurs {
        /// The VM's uuid.
        uuid: String,
        /// Who we are.
        owner: String,
    },
    /// The VM is an instance of somebody else's driver.
    #[error("VM {vm} is an instance of owner {owner:?}; use a driver of that owner")]
    AdoptedElsewhere {
        /// Its uuid.
        vm: String,
        /// Whose it is.
        owner: String,
    },
    /// The VM is in a state from which no way leads to the one that was asked for. Nothing was done.
    #[error("VM {vm} is {state}; {remedy}")]
    WrongState {
        /// Its uuid.
        vm: String,
        /// Its power state.
        state: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The guest was asked to come down and did not; it was not to be forced.
    #[error("VM {vm} still runs, for {reason}; look at its console, or use a hard shutdown")]
    GuestStays {
        /// Its uuid.
        vm: String,
        /// What XAPI says, or how long it was waited for.
        reason: String,
    },
    /// The instance is in the middle of a resize.
    #[error("VM {vm} is in the middle of a resize; confirm or revert that first")]
    ResizePending {
        /// Its uuid.
        vm: String,
    },
    /// The instance is not in the middle of a resize.
    #[error(
        "VM {vm} has not been resized, or that was confirmed or reverted already; look at what size it has, and resize it first"
    )]
    NotResized {
        /// Its uuid.
        vm: String,
    },
    /// The instance is being rescued.
    #[error("VM {vm} is being rescued; end that first")]
    Rescued {
        /// Its uuid.
        vm: String,
    },
    /// The instance is not being rescued.
    #[error("VM {vm} is not being rescued; if it does not boot from its own disk, look at its drives")]
    NotRescued {
        /// Its uuid.
        vm: String,
    },
    /// The host of an instance is not dead.
    #[error(
        "host {host:?} is live by the pool's account, and may run the instance; shut it down, or migrate the instance"
    )]
    HostLives {
        /// Its name.
        host: String,
    },
    /// Nobody can be asked.
    #[error(
        "host {host:?} is not live by the pool's account: it is down, or cut off; bring it back, or, if it is lost, remove it from the pool"
    )]
    HostDown {
        /// Its name.
        host: String,
    },
    /// There is no such volume.
    #[error("{wanted} is not on {place}; {}", Have(.have))]
    NoSuchVolume {
        /// What was looked for.
        wanted: String,
        /// Where.
        place: String,
        /// What is there instead.
        have: Vec<String>,
    },
    /// A VM has several volumes that go by this name, or would have.
    #[error("several volumes of VM {vm} go by {name:?}; name the uuid of the one that is meant: {}", .disks.join(", "))]
    AmbiguousVolume {
        /// The id, or the place.
        name: String,
        /// The VM's uuid.
        vm: String,
        /// Uuids of the VDIs.
        disks: Vec<String>,
    },
    /// There is no such interface.
    #[error("VM {vm} has no interface {wanted:?}; {}", Have(.have))]
    NoSuchInterface {
        /// What was looked for.
        wanted: String,
        /// The VM's uuid.
        vm: String,
        /// The addresses of those that it has.
        have: Vec<String>,
    },
    /// A bridge's name that is none.
    #[error(
        "{0:?} cannot be the name of a bridge; give one of up to 15 letters, digits, and - _ . as in xapi1"
    )]
    NoBridge(String),
    /// The cut names of a port's bridge and network are those of another port.
    #[error(
        "port {port} has the same first characters as port {other}, and with them the names of its bridge and network; \
         make another port in its place"
    )]
    PortNameTaken {
        /// The port.
        port: Uuid,
        /// The port of another interface of the pool.
        other: String,
    },
    /// There is a network of this name that is not the one that is meant.
    #[error("network {name:?} is not to be used: {why}; choose another name, or change the network")]
    NetworkDiffers {
        /// Its name.
        name: String,
        /// In what way.
        why: &'static str,
    },
    /// Instances have interfaces on it, which would go with it.
    #[error("network {name:?} is used by VM {}; detach their interfaces first", .vms.join(", "))]
    NetworkInUse {
        /// Its name.
        name: String,
        /// Their uuids.
        vms: Vec<String>,
    },
    /// The place of a disk or an interface is taken.
    #[error("VM {vm} has no room at device {device}; choose another one, or none")]
    DeviceInUse {
        /// The place.
        device: String,
        /// The VM's uuid.
        vm: String,
    },
    /// Volumes do not go to another pool.
    #[error("VM {vm} has volumes, which do not go along: {}; detach them, and attach them there", .volumes.join(", "))]
    VolumesStay {
        /// The VM's uuid.
        vm: String,
        /// Uuids of the disks.
        volumes: Vec<String>,
    },
    /// They do not go along.
    #[error(
        "VM {vm} has snapshots, which do not go to another pool: {}; remove them, or shut it down and move it without them",
        .snapshots.join(", ")
    )]
    SnapshotsStay {
        /// The VM's uuid.
        vm: String,
        /// Each with its uuid and name.
        snapshots: Vec<String>,
    },
    /// The instance would be nobody's.
    #[error(
        "the other pool's driver is of owner {other:?} and this one of {owner:?}; use drivers of the same owner"
    )]
    OtherOwner {
        /// Who we are.
        owner: String,
        /// Who the other one is.
        other: String,
    },
    /// The instance is between two pools.
    #[error("VM {vm} is on its way to another pool; confirm or revert that first")]
    MovePending {
        /// Its uuid.
        vm: String,
    },
    /// The instance is not between this pool and that one.
    #[error(
        "VM {vm} is not on its way from this pool to {pool}; move it first, or ask with the driver of the pool that it came from"
    )]
    NotMoved {
        /// Its uuid.
        vm: String,
        /// The other pool's endpoint.
        pool: String,
    },
    /// What was moved is not where it went, or not complete.
    #[error("VM {vm} is not complete at {pool}, where it was moved to; revert the move")]
    NotArrived {
        /// Its uuid.
        vm: String,
        /// The other pool's endpoint.
        pool: String,
    },
    /// The other pool is this one.
    #[error("{0} is the pool that the instance is in; resize it to another host instead")]
    SamePool(String),
    /// The instance has what no other host can have.
    #[error("VM {vm} has what does not go to another pool: {}; take it from the instance first", .devices.join(", "))]
    DevicesStay {
        /// The VM's uuid.
        vm: String,
        /// What it is.
        devices: Vec<String>,
    },
    /// Somebody has the disk.
    #[error(
        "disk {disk} is attached to VM {vm}, and no two may have it at the same time; detach it there, or use another disk"
    )]
    DiskInUse {
        /// Its uuid.
        disk: String,
        /// The VM's uuid.
        vm: String,
    },
    /// The disk has a use of its own, and writing to it would ruin that.
    #[error("disk {disk} is no volume: {why}; use another disk, or a copy of this one")]
    NoVolume {
        /// Its uuid.
        disk: String,
        /// What it is.
        why: &'static str,
    },
    /// The volume is there, but not in the way that is asked for.
    #[error(
        "VM {vm} has disk {disk} at device {device} already, {access}; detach it first to have it otherwise"
    )]
    AttachedOtherwise {
        /// The disk's uuid.
        disk: String,
        /// The VM's uuid.
        vm: String,
        /// Its place.
        device: String,
        /// Whether the guest may write to it.
        access: &'static str,
    },
    /// The disk was made for the instance and is no volume.
    #[error(
        "disk {disk} was made for VM {vm} and is no volume of it; name one of its volumes, or resize the instance for another disk"
    )]
    OwnDisk {
        /// The disk's uuid.
        disk: String,
        /// The VM's uuid.
        vm: String,
    },
    /// The guest's agent did not do what it was asked for.
    #[error("the agent of VM {vm} {problem}")]
    Agent {
        /// The VM's uuid.
        vm: String,
        /// What it did not do.
        problem: crate::agent::AgentProblem,
    },
    /// The disk was not made by this driver, so it is left alone.
    #[error(
        "disk {disk} was not made by owner {owner:?} of this driver, so it is left alone; adopt the VM that has it first, or use other means"
    )]
    DiskNotOurs {
        /// The disk's uuid.
        disk: String,
        /// Who we are.
        owner: String,
    },
    /// No enabled host has the SR connected.
    #[error("SR {sr:?} is not connected on any enabled host; plug one of its PBDs, or enable that host")]
    NoHostSees {
        /// Its name.
        sr: String,
    },
    /// A disk can only grow.
    #[error(
        "disk {disk} has {} and cannot shrink to {}; ask for that size or more, or use another disk",
        Size(*.have_bytes), Size(*.wanted_bytes)
    )]
    Shrink {
        /// Its uuid.
        disk: String,
        /// Its size.
        have_bytes: u64,
        /// The size asked for.
        wanted_bytes: u64,
    },
    /// A repository that the pool has is not connected on the host.
    #[error("SR {sr:?} is not connected on host {host:?}; create a PBD for it there, or use another host")]
    NotConnected {
        /// Its name.
        sr: String,
        /// The host's name.
        host: String,
    },
    /// A disc in a drive cannot go along while the guest runs.
    #[error(
        "disc {disc}, in drive {device} of VM {vm}, is in SR {sr:?}, which {host:?} does not reach, and XAPI takes no discs \
         along; eject it (xe vbd-eject), or move the instance while it is off (migrate --cold)"
    )]
    DiscStays {
        /// Uuid of the VM.
        vm: String,
        /// Uuid of the disc.
        disc: String,
        /// The drive.
        device: String,
        /// Name of the repository.
        sr: String,
        /// Name of the host, or the other pool's endpoint.
        host: String,
    },
    /// A disk that only a dead host has.
    #[error(
        "{disk}, in drive {device} of VM {vm}, is in SR {sr:?}, which {host:?} does not reach, and its content is lost with \
         its own host until that is back; bring that one back, or, where the instance can do without this drive, remove the drive first \
         (xe vbd-destroy)"
    )]
    DiskLost {
        /// Uuid of the VM.
        vm: String,
        /// What it is, a disk or a disc, and its uuid.
        disk: String,
        /// The drive.
        device: String,
        /// Name of the repository.
        sr: String,
        /// Name of the host.
        host: String,
    },
    /// A config drive that only a dead host has.
    #[error(
        "config drive {disk} of VM {vm} is in SR {sr:?}, which {host:?} does not reach, and is lost with its own host until that is \
         back; bring that one back, or say anew what it tells the guest, which nothing else remembers: evacuate with a new config drive \
         (--new-config-drive)"
    )]
    ConfigDriveLost {
        /// Uuid of the VM.
        vm: String,
        /// Uuid of the disk.
        disk: String,
        /// Name of the repository.
        sr: String,
        /// Name of the host.
        host: String,
    },
    /// The kernel is a file of one host.
    #[error(
        "VM {vm} starts from a kernel that its host keeps and others do not have, nor is it known where to fetch it; make \
         the instance anew there"
    )]
    KernelStays {
        /// Uuid of the VM.
        vm: String,
    },
    /// A host cannot be brought down.
    #[error("host {host:?} is not to be brought down: {why}")]
    NodeBusy {
        /// Its name.
        host: String,
        /// What is in the way, and what to do.
        why: &'static str,
    },
    /// A host cannot become a member of the pool, or cannot leave it; nothing was touched.
    #[error("host {host:?} cannot {doing}: {}", .reasons.join("; "))]
    Membership {
        /// Its name.
        host: String,
        /// `join the pool`, `leave the pool`.
        doing: &'static str,
        /// All that is in the way, each with what to do.
        reasons: Vec<String>,
    },
    /// No host is enabled.
    #[error("no host of the pool takes guests; enable one")]
    NoHost,
    /// A host, or something beyond it, did not do in time what it was asked for. It may do it later.
    #[error(
        "{doing}: no answer within {seconds} s; see whether the host and the server of its storage are up and reach each other, \
         and do it once more then"
    )]
    NoAnswer {
        /// What was being done.
        doing: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The VM has no disk with userdevice 0.
    #[error("VM {0} has no root disk (a disk with userdevice 0); attach one")]
    NoRootDisk(String),
    /// A wait came to its end.
    #[error("VM {vm} is {state} and not Running {seconds} s after its start; look at its console")]
    NotRunning {
        /// Its uuid.
        vm: String,
        /// Its power state.
        state: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// What came from the host could not be kept or compared.
    #[error("{}; check the target's directory, its rights and free space", Chain(.0))]
    File(#[source] disk_stream::Error),
    /// An import cannot go on, or not be made so that it could.
    #[error("{}; import without a journal, or, if it was begun, remove journal and disk and begin anew", Chain(.0))]
    ImportJournal(#[source] disk_stream::Error),
    /// The repository has not merged what the snapshot split.
    #[error(
        "SR {sr:?} has not coalesced the chain of disk {disk} within {seconds} s; wait longer or not at all, \
         or see in SMlog on its host what its garbage collector does"
    )]
    NotCoalesced {
        /// The disk's uuid.
        disk: String,
        /// The SR's name.
        sr: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The snapshot that an earlier file was made from cannot be compared with.
    #[error("{} was made from snapshot {snapshot}, which {why}; take a full copy", base.display())]
    NoBase {
        /// The earlier file.
        base: std::path::PathBuf,
        /// The snapshot's uuid.
        snapshot: Uuid,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The task that ran the operation ended early.
    #[error(
        "the program's runtime was shut down during the operation; destroy the instance to remove what is left of it"
    )]
    Aborted,
}

impl Cause {
    /// Puts the object's name and the deed to a client error.
    pub(crate) fn host(doing: impl Into<String>) -> impl FnOnce(xenapi_client::Error) -> Self {
        let doing = doing.into();
        |source| Self::Host { doing, source }
    }
}

impl From<crate::cancel::Stopped> for Cause {
    fn from(_: crate::cancel::Stopped) -> Self {
        Self::Cancelled
    }
}

#[cfg(test)]
mod tests {
    /// What others say, each with a remedy of its own, or what needs none.
    const OF_OTHERS: &[&str] = &[
        "Conflicts",
        "Incompatible",
        "Cancelled",
        "DryRun",
        "Host",
        "Dom0",
        "Protocol",
        "Agent",
        "Source",
        "WrongState",
        "NodeBusy",
        "Membership",
    ];

    /// The text of an error is what failed, on which object, and behind a semicolon what to do.
    #[test]
    fn every_cause_says_what_to_do() {
        let source = include_str!("error.rs");
        let causes = source.split_once("pub enum Cause {").expect("the causes").1;
        let causes = causes.split_once("\nimpl Cause {").expect("their end").0;
        let (mut text, mut seen) = (String::new(), 0);
        for line in causes.lines() {
            let name: String = line.trim_start().chars().take_while(char::is_ascii_alphanumeric).collect();
            let is_variant = line.starts_with("    ") && !line.starts_with("     ") && !name.is_empty();
            if !is_variant {
                text.push_str(line);
                continue;
            }
            let texts = std::mem::take(&mut text);
            let says = texts.split_once("#[error(").map_or("", |(_, text)| text);
            seen += 1;
            let asks = says.split_once("; ").is_some_and(|(_, remedy)| remedy.len() > 8);
            assert!(asks || OF_OTHERS.contains(&&*name), "{name} does not say what to do: {says}");
        }
        assert!(seen > 60, "{seen} causes");
        let unknown = OF_OTHERS.iter().filter(|name| !causes.contains(&format!("\n    {name}")));
        assert_eq!(unknown.collect::<Vec<_>>(), [&""; 0]);
    }
}
