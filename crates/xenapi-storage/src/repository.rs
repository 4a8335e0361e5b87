//! A storage repository, as decisions need it.

use std::collections::BTreeMap;

use xenapi_wire::{AnyClass, Ref};

use crate::Facts;

/// A storage repository and how hosts reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its reference.
    pub reference: Ref<AnyClass>,
    /// Its uuid.
    pub uuid: String,
    /// `name_label`, which need not be unique.
    pub name_label: String,
    /// `type`: `ext`, `lvm`; what there is to know of it is in [`Facts`].
    pub sr_type: String,
    /// `is_tools_sr`: the repository of the guest tools' ISO.
    pub is_tools_sr: bool,
    /// `other_config`.
    pub other_config: BTreeMap<String, String>,
    /// `sm_config`.
    pub sm_config: BTreeMap<String, String>,
    /// `physical_size` in bytes, if the server knows it.
    pub physical_size: Option<u64>,
    /// `physical_utilisation` in bytes, if the server knows it.
    pub physical_utilisation: Option<u64>,
    /// How hosts reach it: one entry for each PBD.
    pub connections: Vec<Connection>,
}

/// A PBD: the connection of one host to one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The host.
    pub host: Ref<AnyClass>,
    /// `currently_attached`: only then can the host use the repository.
    pub attached: bool,
}

impl Repository {
    /// What its type and configuration imply.
    pub fn facts(&self) -> Facts {
        Facts::of(&self.sr_type, &self.sm_config)
    }

    /// Bytes that are not in use, if the server knows. On a repository that allocates thinly, disks may
    /// have been promised more than this.
    pub fn free_bytes(&self) -> Option<u64> {
        Some(self.physical_size?.saturating_sub(self.physical_utilisation?))
    }

    /// Whether the host can use it now.
    pub fn is_attached_to(&self, host: &Ref<AnyClass>) -> bool {
        self.connections.iter().any(|connection| connection.host == *host && connection.attached)
    }
}
