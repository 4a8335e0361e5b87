//! What can stand in the way of a plan, each in one sentence that says what to do.

use std::fmt;

use config_drive::MacAddr;

use xenapi_storage::device::UserDevice;
use xenapi_storage::{Choice, Rejection, SelectionError, Size, SpaceError};

/// One reason why an instance cannot be made as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// The name cannot be a VM's name.
    #[error("{0:?} cannot be the name of an instance; use at least one character, and no control characters")]
    BadName(String),
    /// Another VM has the name.
    #[error("the name {name:?} is already in use by VM {vm}; choose another name, or destroy that VM first")]
    NameInUse {
        /// The wanted name.
        name: String,
        /// Uuid of the VM that has it.
        vm: String,
    },
    /// A machine without processor or memory.
    #[error("the flavor has no vCPU or no memory; give it at least one of each")]
    EmptyFlavor,
    /// Cores that do not fill their sockets.
    #[error("{vcpus} vCPUs cannot be sockets of {cores} cores each; use a divisor of the number of vCPUs")]
    Cores {
        /// The virtual CPUs.
        vcpus: u32,
        /// The cores of each socket.
        cores: u32,
    },
    /// A paravirtual guest has no firmware.
    #[error("a guest of mode xen has no firmware; use mode hvm for UEFI")]
    FirmwareOfPv,
    /// A full virtual machine starts its own boot loader.
    #[error("a guest of mode hvm starts the kernel on its disk; use mode xen, or leave the kernel out")]
    KernelOfHvm,
    /// Not a kernel or ramdisk, most likely.
    #[error("{name} has more than {}, the most for a kernel or ramdisk; give the right image, or allow more", Size(*.max_bytes))]
    KernelTooLarge {
        /// What it is.
        name: String,
        /// The limit.
        max_bytes: u64,
    },
    /// A kernel or ramdisk without a byte.
    #[error("{0} is empty, so it is no kernel or ramdisk; give the right image")]
    KernelEmpty(String),
    /// Anybody could make something else with it, which the host would then keep for others.
    #[error("a kernel that a host fetches is checked with SHA-2, and {0} is not; give such a digest")]
    KernelDigest(image_store::Digest),
    /// No platform device has such an id.
    #[error("{0:?} is no id of a platform device; use four hexadecimal digits such as 0002")]
    DeviceId(String),
    /// No device of a host has such an address.
    #[error("{0:?} is no address of a PCI device; write it as 0000:04:00.0")]
    Pci(String),
    /// A least that is none, or more than all.
    #[error(
        "at least {least_mib} MiB of {memory_mib} MiB of memory is no range; use a least from 1 MiB to all of it"
    )]
    Balloon {
        /// The least.
        least_mib: u64,
        /// All of it.
        memory_mib: u64,
    },
    /// A paravirtualised guest has a frame buffer instead.
    #[error("a guest without emulated hardware has no graphics card; use mode hvm, or leave the card out")]
    VideoOfPv,
    /// No such memory of a card.
    #[error("{0} MiB is no memory of an emulated graphics card; use 1 to 256")]
    VideoRam(u32),
    /// Two disks cannot be in one place.
    #[error("two disks of the instance are to be device {0}; give the volume another place, or none")]
    PlaceTaken(UserDevice),
    /// Nobody to ask.
    #[error("an agent answers only in a guest that runs; have the instance started, or leave the agent out")]
    AgentOfNoGuest,
    /// The agent is asked by dom0.
    #[error(
        "host {node:?} has no plugin agent.py, through which an agent is asked; install the plugins there (example \
         `plugins`), or do without the agent"
    )]
    NoAgentPlugin {
        /// The host's name.
        node: String,
    },
    /// A password that nobody would ever know.
    #[error(
        "a generated password is told only to the owner of an ssh key of type ssh-rsa; give such a key, or a password"
    )]
    PasswordForNobody,
    /// The owner's key, or the password for him.
    #[error(transparent)]
    OwnerKey(#[from] guest_agent::OwnerKeyError),
    /// A path that old agents would take for another one.
    #[error("an agent cannot write a file {0:?}; use a path without commas and control characters")]
    AgentFile(String),
    /// Tags of a disk that is not there.
    #[error("there are tags for device {0}, where no disk of the instance is; give them to the place of one")]
    TagsOfNothing(UserDevice),
    /// What is made a copy of must not be a volume.
    #[error("the image is a volume, of which no copy is made here; give an image, or boot from the volume")]
    VolumeAsImage,
    /// A TPM is found by UEFI only.
    #[error("a virtual TPM needs UEFI firmware; use it, or do without the TPM")]
    TpmOfBios,
    /// The edition, or the release, does not have it.
    #[error("the pool's edition or release has no {what} ({key}); change its licence, or do without")]
    Restricted {
        /// What is missing.
        what: &'static str,
        /// Its key in `Pool.restrictions`.
        key: &'static str,
    },
    /// The release starts no guest in that way.
    #[error(
        "host {node:?} runs {product}, which has no PVH guests; use another mode, or a host of version 8 or later"
    )]
    NoPvh {
        /// The host's name.
        node: String,
        /// What it runs.
        product: String,
    },
    /// The release starts every guest by BIOS, whatever the record says.
    #[error("host {node:?} runs {product}, which has no UEFI; use BIOS, or a host of version 8 or later")]
    NoUefi {
        /// The host's name.
        node: String,
        /// What it runs.
        product: String,
    },
    /// Somebody has the device.
    #[error("device {address} of host {node:?} was given to VM {vm:?}; use another one")]
    PciInUse {
        /// The device's address.
        address: String,
        /// The host's name.
        node: String,
        /// The VM's name.
        vm: String,
    },
    /// The host has no such device.
    #[error("host {node:?} has no PCI device {address}; use another host")]
    NoSuchPci {
        /// The device's address.
        address: String,
        /// The host's name.
        node: String,
    },
    /// What a guest has of its host cannot go along while it runs.
    #[error(
        "the instance has {what} of its host, which a guest that runs cannot leave; resize it to the other host"
    )]
    StaysWithHost {
        /// What it has.
        what: String,
    },
    /// All virtual functions are in use.
    #[error(
        "SR-IOV network {network:?} has {free} virtual functions free on host {node:?}; use another host or network"
    )]
    FunctionsTaken {
        /// The network's name.
        network: String,
        /// The host's name.
        node: String,
        /// What there is.
        free: i64,
    },
    /// No GPU of the host has the type enabled.
    #[error("no GPU of host {node:?} has the type {wanted:?} enabled; use one of {}", List(.have))]
    NoSuchGpu {
        /// The wanted type.
        wanted: String,
        /// The host's name.
        node: String,
        /// The types there are.
        have: Vec<String>,
    },
    /// The GPUs are in use.
    #[error(
        "host {node:?} has not as many virtual GPUs of the type {model:?} free; use another host or type"
    )]
    GpusTaken {
        /// The type.
        model: String,
        /// The host's name.
        node: String,
    },
    /// A file system that dom0 does not make.
    #[error("{wanted:?} cannot be made on an ephemeral disk; use one of {}", .known.join(", "))]
    FileSystem {
        /// The one that was asked for.
        wanted: String,
        /// Those that can be made.
        known: &'static [&'static str],
    },
    /// The partitions and files of a volume, or of a disk to install on, are not worked on.
    #[error(
        "the root disk is a volume or blank, and so neither grown nor written to; leave that out, or boot from an image \
         of a disk"
    )]
    SetupOfVolume,
    /// The host's dom0 cannot work on the disks.
    #[error(
        "host {node:?} cannot do in its dom0 what is asked for: {why}; install the plugins there (example `plugins`), or do \
         without"
    )]
    NoPlugin {
        /// The host's name.
        node: String,
        /// What is missing.
        why: String,
    },
    /// What is in it cannot be sent as files.
    #[error(
        "disks of storage repository {sr:?} are no VHDs in files, which is what the plugin migration.py moves; let XAPI copy \
         them (copy_via)"
    )]
    NotOfFiles {
        /// The repository's name.
        sr: String,
    },
    /// Nothing to install on.
    #[error("image {image} is a disc to install from; use a flavor with a root disk, on which to install")]
    DiscWithoutRoot {
        /// The image.
        image: String,
    },
    /// A disc where a disk is wanted.
    #[error("image {image} is a disc to install from, and no root disk; give the image of a disk")]
    DiscAsDisk {
        /// The image.
        image: String,
    },
    /// A disk that was named to go somewhere.
    #[error("VM {vm} has no disk {wanted} that was made for it and can go elsewhere; use one of {}", List(.have))]
    NoSuchDisk {
        /// The wanted disk's uuid.
        wanted: String,
        /// Uuid of the VM.
        vm: String,
        /// Uuids of those that it has.
        have: Vec<String>,
    },
    /// Several hosts, and none named.
    #[error("the pool has several hosts; name the one to use: {}", List(.have))]
    NodeNotNamed {
        /// The hosts there are.
        have: Vec<String>,
    },
    /// No host has this uuid.
    #[error("no host of the pool has the uuid {wanted}; use one of {}", List(.have))]
    NoSuchNode {
        /// The wanted uuid.
        wanted: String,
        /// The hosts there are.
        have: Vec<String>,
    },
    /// The host takes no guests.
    #[error("host {node:?} is disabled; enable it or use another host")]
    NodeDisabled {
        /// Its name.
        node: String,
    },
    /// The pool does not hear of the host.
    #[error(
        "host {node:?} is not live by the pool's account: it is down, or cut off; bring it back, or use another host"
    )]
    NodeNotLive {
        /// Its name.
        node: String,
    },
    /// The host has not enough free memory.
    #[error(
        "host {node:?} has {} of memory free but an instance takes {} with what the host keeps for it; \
         free memory there, or use another host or a smaller flavor",
        Size(*.free_bytes), Size(*.needed_bytes)
    )]
    NotEnoughMemory {
        /// The host's name.
        node: String,
        /// What the instance takes: its memory, and what the host keeps for it.
        needed_bytes: u64,
        /// What there is.
        free_bytes: u64,
    },
    /// No storage repository can be used.
    #[error("{}{}", .0, advice(.0))]
    Sr(#[from] SelectionError),
    /// The storage repository cannot take the disks.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// The image does not fit on the flavor's disk.
    #[error(
        "image {} is a disk of {} but the flavor's root disk has only {}; \
         use a flavor with a larger root disk",
        .image, Size(*.image_bytes), Size(*.root_bytes)
    )]
    ImageTooLarge {
        /// The image.
        image: String,
        /// Its virtual size.
        image_bytes: u64,
        /// The flavor's root disk.
        root_bytes: u64,
    },
    /// No network has this uuid or name.
    #[error("no network has the uuid, name or bridge {wanted:?}; use one of {}", List(.have))]
    NoSuchNetwork {
        /// The wanted network.
        wanted: String,
        /// Names of the networks there are.
        have: Vec<String>,
    },
    /// Several networks have this name.
    #[error("several networks are named {wanted:?}; use a uuid instead: {}", List(.uuids))]
    AmbiguousNetwork {
        /// The wanted name.
        wanted: String,
        /// Who has it.
        uuids: Vec<String>,
    },
    /// Two interfaces of the instance have the same address.
    #[error("two interfaces have the MAC address {0}; give each its own")]
    DuplicateMac(MacAddr),
    /// Another VM has the address.
    #[error("the MAC address {mac} is already in use by VM {vm:?}; choose another address")]
    MacInUse {
        /// The address.
        mac: MacAddr,
        /// Name of the VM that has it.
        vm: String,
    },
    /// No link carries packets of that size.
    #[error("an MTU of {0} bytes is none; use 68 to 65535, or leave it out for the network's")]
    Mtu(u32),
    /// An interface that may send nothing.
    #[error(
        "a limit of 0 kilobytes per second leaves an interface nothing to send; give a limit, or leave it out for none"
    )]
    NoRate,
    /// Two metadata keys become the same key in xenstore.
    #[error(
        "metadata key {key:?} and another one are both written to xenstore as {written_as:?}; rename one"
    )]
    MetadataKeys {
        /// The second of the two keys.
        key: String,
        /// What both become.
        written_as: String,
    },
}

/// All conflicts of a plan; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflicts(Vec<Conflict>);

impl Conflicts {
    pub(crate) fn new(found: Vec<Conflict>) -> Self {
        debug_assert!(!found.is_empty(), "a plan fails for a reason");
        Self(found)
    }

    /// The conflicts, in the order they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Conflict> {
        self.0.iter()
    }
}

impl From<Conflict> for Conflicts {
    fn from(conflict: Conflict) -> Self {
        Self(vec![conflict])
    }
}

impl fmt::Display for Conflicts {
    /// The conflict's sentence, or all of them, numbered.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = &self.0[..] {
            return only.fmt(f);
        }
        for (number, conflict) in (1..).zip(&self.0) {
            write!(f, "{}({number}) {conflict}", if number > 1 { "; " } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Conflicts {}

/// What to do where the selection itself does not say it.
fn advice(error: &SelectionError) -> &'static str {
    match (&error.choice, error.candidates.first().map(|nearest| &nearest.rejection)) {
        (Choice::PoolDefault, Some(Rejection::NotMeant))
        | (_, Some(Rejection::SeveralOfThatName))
        | (_, None) => "",
        (_, Some(Rejection::NotAttached { .. })) => "; plug that PBD, or use another SR",
        _ => "; use another SR",
    }
}

/// Names in a sentence; the first few when there are many.
struct List<'a>(&'a [String]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        if self.0.is_empty() {
            return f.write_str("(there is none)");
        }
        f.write_str(&self.0[..self.0.len().min(SHOWN)].join(", "))?;
        if self.0.len() > SHOWN {
            write!(f, " and {} more", self.0.len() - SHOWN)?;
        }
        Ok(())
    }
}
