//! What the pool's edition lacks, told before anything is done: XAPI says `LICENCE_RESTRICTION` in the middle of it.

use xenapi_types::Pool;

use crate::error::Cause;
use crate::job::Job;
use crate::plan::{Conflict, Conflicts};

/// A feature that editions may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    /// Moving what runs to another host.
    LiveMigration,
    /// Moving the disks of a VM as well.
    StorageMigration,
    /// Locking interfaces to addresses.
    VifLocking,
    /// Networks on VLANs.
    Vlan,
}

impl Feature {
    /// Its key in `Pool.restrictions`, and its name.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::LiveMigration => ("restrict_xen_motion", "live migration"),
            Self::StorageMigration => ("restrict_storage_xen_motion", "storage migration"),
            Self::VifLocking => ("restrict_vif_locking", "locking of interfaces"),
            Self::Vlan => ("restrict_vlan", "VLANs"),
        }
    }
}

/// Makes sure that the pool's edition has what is needed. What a release says nothing of, it has.
pub(crate) async fn check(job: &Job, needed: &[Feature]) -> Result<(), Cause> {
    let pools =
        job.client().all_records::<Pool>().await.map_err(Cause::host("reading the pool's licence"))?;
    let lacks =
        |key: &str| pools.values().any(|pool| pool.restrictions.get(key).is_some_and(|v| v == "true"));
    match needed.iter().map(|feature| feature.names()).find(|(key, _)| lacks(key)) {
        Some((_, name)) => Err(Conflicts::from(Conflict::Restricted(name)).into()),
        None => Ok(()),
    }
}
