//! What the endpoint has, as far as planning needs it.

use std::collections::BTreeMap;

use xenapi_wire::{AnyClass, Ref};

/// A picture of the pool, taken before an operation.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// The hosts.
    pub nodes: Vec<Node>,
    /// The storage repositories.
    pub srs: Vec<Sr>,
    /// Uuid of the pool's default SR, if it has one that exists.
    pub default_sr: Option<String>,
    /// The networks.
    pub networks: Vec<Network>,
    /// Uuid of the VM that has the wanted name already.
    pub name_taken_by: Option<String>,
    /// Requested MAC addresses that a VIF of the pool has already, with the VM's name.
    pub macs_taken: BTreeMap<String, String>,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its reference.
    pub reference: Ref<AnyClass>,
    /// Its uuid: the node's name in this driver.
    pub uuid: String,
    /// `name_label`.
    pub name: String,
    /// Its address, as the pool knows it.
    pub address: String,
    /// Whether it takes new guests.
    pub enabled: bool,
    /// Memory for new guests in bytes, as XAPI computes it.
    pub memory_free_bytes: u64,
}

/// A storage repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sr {
    /// Its reference.
    pub reference: Ref<AnyClass>,
    /// Its uuid.
    pub uuid: String,
    /// `name_label`.
    pub name: String,
    /// Its type: `ext`, `lvm`.
    pub kind: String,
    /// `content_type`: `iso` for image libraries.
    pub content_type: String,
    /// `other_config`.
    pub other_config: BTreeMap<String, String>,
    /// `sm_config`.
    pub sm_config: BTreeMap<String, String>,
    /// Size in bytes; negative where it is not known.
    pub physical_size_bytes: i64,
    /// Bytes in use; negative where they are not known.
    pub physical_utilisation_bytes: i64,
    /// Uuids of the hosts that have it attached.
    pub attached_to: Vec<String>,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its reference.
    pub reference: Ref<AnyClass>,
    /// Its uuid.
    pub uuid: String,
    /// `name_label`.
    pub name: String,
    /// Its MTU.
    pub mtu: i64,
}
