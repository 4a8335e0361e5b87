//! A storage repository, as decisions need it.

use std::collections::BTreeMap;

use xenapi_types::{Host, PbdRecord, Ref, Sr, SrRecord};

use crate::Facts;

/// A storage repository and how hosts reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its reference.
    pub reference: Ref<Sr>,
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
    pub host: Ref<Host>,
    /// `currently_attached`: only then can the host use the repository.
    pub attached: bool,
}

impl Repository {
    /// From the record of an SR and the records of PBDs, of which those of other SRs are passed over.
    pub fn new<'a>(
        reference: Ref<Sr>,
        record: &SrRecord,
        pbds: impl IntoIterator<Item = &'a PbdRecord>,
    ) -> Self {
        // XAPI says -1 for what it does not know; drivers of devices and shares say that they are of size 0.
        let known = |bytes: i64| u64::try_from(bytes).ok();
        let connections = pbds
            .into_iter()
            .filter(|pbd| pbd.sr == reference)
            .map(|pbd| Connection { host: pbd.host.clone(), attached: pbd.currently_attached })
            .collect();
        Self {
            uuid: record.uuid.clone(),
            name_label: record.name_label.clone(),
            sr_type: record.r#type.clone(),
            is_tools_sr: record.is_tools_sr,
            other_config: record.other_config.clone(),
            sm_config: record.sm_config.clone(),
            physical_size: known(record.physical_size).filter(|bytes| *bytes > 0),
            physical_utilisation: known(record.physical_utilisation),
            connections,
            reference,
        }
    }

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
    pub fn is_attached_to(&self, host: &Ref<Host>) -> bool {
        self.connections.iter().any(|connection| connection.host == *host && connection.attached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_records() {
        let [sr, other] = [1, 2].map(Ref::<Sr>::from_uuid_bits);
        let [a, b] = [3, 4].map(Ref::<Host>::from_uuid_bits);
        let pbd = |sr: &Ref<Sr>, host: &Ref<Host>, attached| {
            let mut pbd = PbdRecord::default();
            (pbd.sr, pbd.host, pbd.currently_attached) = (sr.clone(), host.clone(), attached);
            pbd
        };
        let pbds = [pbd(&sr, &a, true), pbd(&sr, &b, false), pbd(&other, &b, true)];
        let with_sizes = |physical_size, physical_utilisation| {
            let mut record = SrRecord::default();
            (record.physical_size, record.physical_utilisation) = (physical_size, physical_utilisation);
            Repository::new(sr.clone(), &record, &pbds)
        };
        let repository = with_sizes(100, 30);
        assert!(repository.is_attached_to(&a) && !repository.is_attached_to(&b));
        assert_eq!(repository.connections.len(), 2);
        for (size, used, free) in [
            (100, 30, Some(70)),
            (100, 0, Some(100)),
            (100, 130, Some(0)),
            (-1, -1, None),
            (0, 0, None),
            (100, -1, None),
        ] {
            assert_eq!(with_sizes(size, used).free_bytes(), free, "{size} {used}");
        }
    }
}
