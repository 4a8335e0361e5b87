//! What can stand in the way of a plan, each in one sentence that says what to do.

use std::fmt;
use std::path::PathBuf;

use crate::size::Size;
use crate::spec::Mac;

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
    /// The host has not enough free memory.
    #[error(
        "host {node:?} has {} of memory free but the flavor needs {}; \
         free memory there, or use another host or a smaller flavor",
        Size(*.free_bytes), Size(*.needed_bytes)
    )]
    NotEnoughMemory {
        /// The host's name.
        node: String,
        /// What the flavor needs.
        needed_bytes: u64,
        /// What there is.
        free_bytes: u64,
    },
    /// No SR has this uuid or name.
    #[error("no storage repository has the uuid or name {wanted:?}; use one of {}", List(.have))]
    NoSuchSr {
        /// The wanted SR.
        wanted: String,
        /// Names of the SRs there are.
        have: Vec<String>,
    },
    /// Several SRs have this name.
    #[error("several storage repositories are named {wanted:?}; use a uuid instead: {}", List(.uuids))]
    AmbiguousSr {
        /// The wanted name.
        wanted: String,
        /// Who has it.
        uuids: Vec<String>,
    },
    /// The pool's default SR is not set, or does not exist any more.
    #[error("the pool has no default storage repository; set one, or name the one to use")]
    NoDefaultSr,
    /// The host does not see the SR.
    #[error(
        "storage repository {sr:?} is not attached to host {node:?}; plug its PBD there or use another one"
    )]
    SrNotAttached {
        /// The SR's name.
        sr: String,
        /// The host's name.
        node: String,
    },
    /// The SR cannot hold writable disks.
    #[error("storage repository {sr:?} of type {kind} does not hold virtual disks; use another one")]
    SrNotForDisks {
        /// The SR's name.
        sr: String,
        /// Its type.
        kind: String,
    },
    /// The SR has too little room.
    #[error(
        "storage repository {sr:?} has {} free but the disks need {}; free space there or use another one",
        Size(*.free_bytes), Size(*.needed_bytes)
    )]
    SrFull {
        /// The SR's name.
        sr: String,
        /// What the disks take.
        needed_bytes: u64,
        /// What there is.
        free_bytes: u64,
    },
    /// The SR cannot hold so large a disk.
    #[error(
        "the root disk of {} is larger than storage repository {sr:?} can hold ({}); use a smaller disk",
        Size(*.virtual_bytes), Size(*.max_bytes)
    )]
    DiskTooLarge {
        /// The SR's name.
        sr: String,
        /// The disk's size.
        virtual_bytes: u64,
        /// The largest size possible.
        max_bytes: u64,
    },
    /// The image does not fit on the flavor's disk.
    #[error(
        "image {} is a disk of {} but the flavor's root disk has only {}; \
         use a flavor with a larger root disk",
        .image.display(), Size(*.image_bytes), Size(*.root_bytes)
    )]
    ImageTooLarge {
        /// The image.
        image: PathBuf,
        /// Its virtual size.
        image_bytes: u64,
        /// The flavor's root disk.
        root_bytes: u64,
    },
    /// No network has this uuid or name.
    #[error("no network has the uuid or name {wanted:?}; use one of {}", List(.have))]
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
    /// A group address.
    #[error(
        "{0} is a multicast address, which no interface can have; clear the lowest bit of its first octet"
    )]
    MulticastMac(Mac),
    /// Two interfaces of the instance have the same address.
    #[error("two interfaces have the MAC address {0}; give each its own")]
    DuplicateMac(Mac),
    /// Another VM has the address.
    #[error("the MAC address {mac} is already in use by VM {vm:?}; choose another address")]
    MacInUse {
        /// The address.
        mac: Mac,
        /// Name of the VM that has it.
        vm: String,
    },
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
