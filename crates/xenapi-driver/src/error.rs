//! What can go wrong, in one sentence that says what failed, where, and what to do.

use std::fmt;

use uuid::Uuid;
use xenapi_storage::Size;
use xenapi_types::Failure;

use crate::compatibility::Incompatible;
use crate::plan::Conflicts;
use crate::progress::Stage;
use crate::rollback::Leftover;

/// The result of every verb.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A verb that failed.
///
/// Whatever it had made is gone again, except for the [leftovers](Error::leftovers).
pub struct Error(Box<Inner>);

struct Inner {
    op: Op,
    object: String,
    stage: Stage,
    cause: Cause,
    leftovers: Vec<Leftover>,
}

/// A verb of the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// `Driver::connect`.
    Connect,
    /// `Driver::nodes`.
    Nodes,
    /// `Driver::spawn`.
    Spawn,
    /// `Driver::snapshot`.
    Snapshot,
    /// `Driver::destroy`.
    Destroy,
    /// `Driver::power`.
    Power,
    /// `Driver::instances`.
    Instances,
    /// `Driver::adopt`.
    Adopt,
    /// `Driver::soft_delete`.
    SoftDelete,
    /// `Driver::restore`.
    Restore,
    /// `Driver::agent`, and what the agent is asked for.
    Agent,
    /// `Driver::work_on_disk`.
    WorkOnDisk,
    /// `Driver::compatibility`.
    Compatibility,
    /// `Driver::resize`.
    Resize,
    /// `Driver::confirm_resize`.
    ConfirmResize,
    /// `Driver::revert_resize`.
    RevertResize,
    /// `Driver::live_migrate`, `Driver::plan_live_migration`.
    LiveMigrate,
    /// `Driver::migrate_to_pool`, `Driver::plan_pool_migration`.
    MigrateToPool,
    /// `Driver::move_to_pool`.
    MoveToPool,
    /// `Driver::confirm_move`.
    ConfirmMove,
    /// `Driver::revert_move`.
    RevertMove,
    /// `Driver::reconcile`.
    Reconcile,
    /// `Driver::rescue`.
    Rescue,
    /// `Driver::unrescue`.
    Unrescue,
    /// `Driver::rebuild`.
    Rebuild,
    /// `Driver::evacuate`.
    Evacuate,
    /// `Driver::node`, `Driver::set_node_enabled`, `Driver::drain_node`, `Driver::reboot_node`,
    /// `Driver::shutdown_node`.
    Node,
    /// `Driver::join_pool`.
    JoinPool,
    /// `Driver::eject_node`.
    EjectNode,
    /// `Driver::attach_volume`.
    AttachVolume,
    /// `Driver::detach_volume`.
    DetachVolume,
    /// `Driver::extend_volume`.
    ExtendVolume,
    /// `Driver::swap_volume`.
    SwapVolume,
    /// `Driver::volumes`, `Driver::check_volumes`, `Driver::connector`.
    Volumes,
    /// `Driver::attach_interface`, `Driver::plug_port`.
    AttachInterface,
    /// `Driver::detach_interface`, `Driver::unplug_port`.
    DetachInterface,
    /// `Driver::interfaces`, `Driver::lock_interface`.
    Interfaces,
    /// `Driver::ensure_network`, `Driver::remove_network`.
    Network,
    /// `Driver::cached_images`, `Driver::cache_image`, `Driver::evict_images`.
    Images,
    /// `Driver::import_disk`.
    ImportDisk,
    /// `Driver::export_disk`.
    ExportDisk,
    /// `Driver::check_config_drive`.
    ConfigDrive,
    /// `Driver::change_metadata`, `Driver::tell_network`.
    Metadata,
    /// `Driver::console_log`, `Driver::console`, `Driver::diagnostics`, `Driver::traffic`, `Driver::events`.
    Observe,
    /// `Driver::close`.
    Close,
}

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
    #[error("the config drive cannot be built: {0}")]
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
    #[error("VM {vm} has not been resized, or that was confirmed or reverted already")]
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
    #[error("VM {vm} is not being rescued")]
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
    #[error("VM {vm} is not on its way from this pool to {pool}")]
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
    /// The disk was made for the instance and is no volume.
    #[error("disk {disk} was made for VM {vm} and is no volume of it; it ends with the instance")]
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
    #[error("disk {disk} was not made by owner {owner:?} of this driver, so it is left alone")]
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
    #[error("disk {disk} has {} and cannot shrink to {}", Size(*.have_bytes), Size(*.wanted_bytes))]
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
    /// Something beyond the host did not answer in time.
    #[error(
        "{doing}: no answer within {seconds} s; see whether the server is up and can be reached from the host"
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

impl Error {
    pub(crate) fn new(op: Op, object: impl Into<String>, stage: Stage, cause: impl Into<Cause>) -> Self {
        Self(Box::new(Inner { op, object: object.into(), stage, cause: cause.into(), leftovers: Vec::new() }))
    }

    pub(crate) fn with_leftovers(mut self, leftovers: Vec<Leftover>) -> Self {
        self.0.leftovers = leftovers;
        self
    }

    /// The verb.
    pub fn op(&self) -> Op {
        self.0.op
    }

    /// The stage at which it failed.
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// Why.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// What XAPI answered, when that is the reason.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.0.cause {
            Cause::Host { source, .. } => source.failure(),
            _ => None,
        }
    }

    /// What would have been done, of a driver that only tells it ([`Driver::rehearsing`](crate::Driver::rehearsing)).
    pub fn planned(&self) -> Option<&[String]> {
        match &self.0.cause {
            Cause::DryRun(steps) => Some(steps),
            _ => None,
        }
    }

    /// What could not be undone and is still there.
    pub fn leftovers(&self) -> &[Leftover] {
        &self.0.leftovers
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect to",
            Self::Nodes => "list the nodes of",
            Self::Spawn => "spawn",
            Self::Snapshot => "snapshot",
            Self::Destroy => "destroy",
            Self::Images => "cache",
            Self::ImportDisk => "import",
            Self::ExportDisk => "export",
            Self::Power => "change the power state of",
            Self::Instances => "list the instances of",
            Self::SoftDelete => "soft-delete",
            Self::Restore => "restore",
            Self::Agent => "guest agent",
            Self::WorkOnDisk => "work on a disk",
            Self::Compatibility => "compatibility report",
            Self::Resize => "resize",
            Self::ConfirmResize => "confirm the resize of",
            Self::RevertResize => "revert the resize of",
            Self::LiveMigrate => "migrate",
            Self::Adopt => "take over",
            Self::MigrateToPool => "move to another pool",
            Self::MoveToPool => "move to another pool, with a way back,",
            Self::ConfirmMove => "confirm the move of",
            Self::RevertMove => "revert the move of",
            Self::Reconcile => "reconcile",
            Self::Rescue => "rescue",
            Self::Unrescue => "end the rescue of",
            Self::Rebuild => "rebuild",
            Self::Evacuate => "evacuate",
            Self::Node => "look after",
            Self::JoinPool => "join the pool with",
            Self::EjectNode => "eject",
            Self::AttachVolume => "attach a volume to",
            Self::DetachVolume => "detach a volume from",
            Self::ExtendVolume => "extend a volume of",
            Self::SwapVolume => "swap a volume of",
            Self::Volumes => "look at the volumes of",
            Self::AttachInterface => "attach an interface to",
            Self::DetachInterface => "detach an interface from",
            Self::Interfaces => "look at the interfaces of",
            Self::Network => "change",
            Self::ConfigDrive => "check the config drive of",
            Self::Metadata => "change the guest's data of",
            Self::Observe => "observe",
            Self::Close => "log out from",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { op, object, stage, cause, leftovers } = &*self.0;
        match op {
            // Nothing is gained by saying at which stage of connecting one could not connect.
            Op::Connect | Op::Close => write!(f, "cannot {op} {object}: {cause}")?,
            _ => write!(f, "cannot {op} {object} (at {stage}): {cause}")?,
        }
        if !leftovers.is_empty() {
            write!(f, "; remove by hand what could not be undone: ")?;
            for (i, leftover) in leftovers.iter().enumerate() {
                write!(f, "{}{leftover}", if i == 0 { "" } else { ", " })?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { op, object, stage, cause, leftovers } = &*self.0;
        f.debug_struct("Error")
            .field("op", op)
            .field("object", object)
            .field("stage", stage)
            .field("cause", cause)
            .field("leftovers", leftovers)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The cause's own text is in ours.
        self.0.cause.source()
    }
}

/// An error with its reasons, which its own text leaves out.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut reason = self.0.source();
        while let Some(error) = reason {
            write!(f, ": {error}")?;
            reason = error.source();
        }
        Ok(())
    }
}

/// What there is instead of what was looked for.
struct Have<'a>(&'a [String]);

impl fmt::Display for Have<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("nothing is there"),
            have => write!(f, "there is: {}", have.join(", ")),
        }
    }
}

/// A client error after what was being done, with the remedy for codes that have one.
struct Told<'a> {
    doing: &'a str,
    source: &'a xenapi_client::Error,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { doing, source } = self;
        if doing.is_empty() {
            write!(f, "{source}")?;
        } else {
            write!(f, "{doing}: {source}")?;
        }
        // A diagnosis has its own remedy.
        let failure = source.failure().filter(|_| source.diagnosis().is_none());
        match failure.and_then(|failure| remedy(&failure.code)) {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// What to do about a code of XAPI that a user of this driver is likely to meet.
fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "SR_BACKEND_FAILURE_44" => "the storage repository is full: free space there or use another one",
        "SR_BACKEND_FAILURE_46" => "another host still holds the disk: detach it there",
        "SR_BACKEND_FAILURE_79" => "the storage repository cannot make a disk of this size: use another size",
        "SR_BACKEND_FAILURE_109" => {
            "the disk's chain of snapshots is too long: delete snapshots and wait until they are merged"
        }
        "SR_HAS_NO_PBDS" | "SR_NOT_ATTACHED" => "the storage repository is not attached: plug its PBD",
        "SR_BACKEND_FAILURE_68" => "check the name and the password for the storage server",
        "SR_BACKEND_FAILURE_73" | "SR_BACKEND_FAILURE_111" | "SR_BACKEND_FAILURE_141" => {
            "see whether the storage server is up, exports what was asked for, and lets the host in"
        }
        "DEVICE_DETACH_REJECTED" | "DEVICE_DETACH_TIMEOUT" => {
            "the guest does not let go of it: unmount it there, or switch the instance off"
        }
        "VIF_IN_USE" | "NETWORK_CONTAINS_VIF" => "detach the interfaces on the network first",
        "VLAN_TAG_INVALID" => "use a tag from 0 to 4094",
        "PIF_VLAN_EXISTS" => "use the network that has this tag already, or another tag",
        "VDI_IN_USE" => "the disk is in use: wait until whatever holds it is done",
        "VDI_IO_ERROR" => {
            "the host could not write or read the disk: look at the health and the free space of its \
             storage repository, then try again"
        }
        "NO_HOSTS_AVAILABLE" => "no host can run the VM now: check memory, storage and networks",
        "HOST_NOT_ENOUGH_FREE_MEMORY" => "free memory on the host or use a smaller flavor",
        "HOST_DISABLED" => "enable the host or use another one",
        "HOST_OFFLINE" => "bring the host back or use another one",
        "VM_HVM_REQUIRED" => {
            "switch the processor's virtualisation on in the host's firmware, or use mode xen"
        }
        "LICENCE_RESTRICTION" => "the host's licence does not allow it",
        "RBAC_PERMISSION_DENIED" => "use an account with the role vm-admin or higher",
        _ => return None,
    })
}
