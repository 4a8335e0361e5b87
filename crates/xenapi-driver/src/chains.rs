//! What copies of disks take elsewhere. XAPI tells of a disk only what is its own: of a clone of a large
//! image that has just been made next to nothing. A copy has to hold what it is built on as well.

use xenapi_client::Client;
use xenapi_storage::DiskRequest;
use xenapi_storage::lineage::{self, Disks, VHD_PARENT};
use xenapi_types::{Vdi, VdiRecord};

use crate::error::Cause;

/// What some disks are built on.
#[derive(Debug, Default)]
pub(crate) struct Chains(Disks);

impl Chains {
    /// Looks only where one of the disks is built on something.
    pub(crate) async fn of(
        client: &Client,
        disks: impl IntoIterator<Item = &VdiRecord>,
    ) -> Result<Self, Cause> {
        if !disks.into_iter().any(|disk| disk.sm_config.contains_key(VHD_PARENT)) {
            return Ok(Self::default());
        }
        let all = client.all_records::<Vdi>().await;
        all.map(Self).map_err(Cause::host("reading what the disks are built on"))
    }

    /// The room for a copy that is so large: for all of it when nobody knows how much data there are.
    pub(crate) fn copy(&self, disk: &VdiRecord, virtual_bytes: u64) -> DiskRequest {
        let data_bytes = lineage::whole_bytes(&self.0, disk).map(|bytes| bytes.min(virtual_bytes));
        DiskRequest { virtual_bytes, data_bytes }
    }
}

#[cfg(test)]
mod tests {
    use xenapi_storage::Repository;
    use xenapi_types::{Ref, SrRecord};

    use super::*;

    const MIB: i64 = 1 << 20;
    const GIB: i64 = 1 << 30;

    fn disk(uuid: &str, parent: Option<&str>, own_bytes: i64) -> VdiRecord {
        let mut record = VdiRecord::default();
        (record.uuid, record.physical_utilisation) = (uuid.to_owned(), own_bytes);
        record.sm_config.extend(parent.map(|uuid| (VHD_PARENT.to_owned(), uuid.to_owned())));
        record
    }

    #[test]
    fn room_for_copies_of_clones() {
        let mut sr = SrRecord::default();
        (sr.r#type, sr.physical_size) = ("nfs".to_owned(), 5 * GIB);
        let sr = Repository::new(Ref::from("OpaqueRef:sr"), &sr, []);
        let chains = |parent_bytes: i64| {
            Chains([(Ref::from("OpaqueRef:base"), disk("base", None, parent_bytes))].into())
        };
        let clone = disk("clone", Some("base"), 200 * MIB);
        for (chains, disk, virtual_bytes, fits) in [
            (chains(20 * GIB), &clone, 40 * GIB, false),
            (chains(GIB), &clone, 40 * GIB, true),
            (chains(20 * GIB), &clone, 4 * GIB, true),
            // What it is built on is unknown.
            (Chains::default(), &clone, 40 * GIB, false),
            (Chains::default(), &clone, 4 * GIB, true),
            (Chains::default(), &disk("alone", None, 200 * MIB), 40 * GIB, true),
        ] {
            let request = chains.copy(disk, virtual_bytes as u64);
            assert_eq!(sr.check_space(&[request]).is_ok(), fits, "{chains:?} {virtual_bytes}");
        }
    }
}
