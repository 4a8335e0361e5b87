//! What the pool's edition lacks, told before anything is done: XAPI says `LICENCE_RESTRICTION` in the middle of it.

use xenapi_types::{Pool, PoolRecord};

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
    /// A range of memory instead of one size: dynamic memory control.
    Ballooning,
    /// Locking interfaces to addresses.
    VifLocking,
    /// Networks on VLANs.
    Vlan,
    /// Networks whose interfaces are parts of a network card.
    NetworkSriov,
    /// Limits of what an interface sends.
    Qos,
    /// Several hosts.
    Pooling,
}

impl Feature {
    /// Its key in `Pool.restrictions`, and its name.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::LiveMigration => ("restrict_xen_motion", "live migration"),
            Self::StorageMigration => ("restrict_storage_xen_motion", "storage migration"),
            Self::Ballooning => ("restrict_dmc", "ballooning"),
            Self::VifLocking => ("restrict_vif_locking", "locking of interfaces"),
            Self::Vlan => ("restrict_vlan", "VLANs"),
            Self::NetworkSriov => ("restrict_network_sriov", "SR-IOV networks"),
            Self::Qos => ("restrict_qos", "limits of rates (QoS)"),
            Self::Pooling => ("restrict_pooling", "pools of several hosts"),
        }
    }
}

/// Makes sure that the pool's edition has what is needed. What a release says nothing of, it has.
pub(crate) async fn check(job: &Job, needed: &[Feature]) -> Result<(), Cause> {
    let found = lacking(job, needed).await?;
    let found: Vec<_> = found.into_iter().map(|(key, what)| Conflict::Restricted { what, key }).collect();
    if found.is_empty() { Ok(()) } else { Err(Conflicts::new(found).into()) }
}

/// Whether the pool's edition lacks a feature.
pub(crate) async fn lacks(job: &Job, feature: Feature) -> Result<bool, Cause> {
    Ok(!lacking(job, &[feature]).await?.is_empty())
}

/// Those of the features that the pool's edition lacks: keys and names.
async fn lacking(job: &Job, needed: &[Feature]) -> Result<Vec<(&'static str, &'static str)>, Cause> {
    let pools =
        job.client().all_records::<Pool>().await.map_err(Cause::host("reading the pool's licence"))?;
    let mut lacking: Vec<_> = needed.iter().map(|feature| feature.names()).collect();
    lacking.retain(|(key, _)| pools.values().any(|pool| is_restricted(pool, key)));
    Ok(lacking)
}

fn is_restricted(pool: &PoolRecord, key: &str) -> bool {
    pool.restrictions.get(key).is_some_and(|set| set == "true")
}

/// What a pool's licence says against a second host, for a list of reasons.
pub(crate) fn against_pooling(pool: &PoolRecord) -> Option<String> {
    let (key, what) = Feature::Pooling.names();
    is_restricted(pool, key).then(|| format!("edition has no {what} ({key}); change its licence"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    /// The keys of `Pool.restrictions` as a real server (XAPI 26.17) answered `pool.get_all_records`. They
    /// are in no datamodel, which has the map alone.
    const RECORDED: &[&str] = &[
        "restrict_ad",
        "restrict_cbt",
        "restrict_certificate_verification",
        "restrict_checkpoint",
        "restrict_cluster_address",
        "restrict_connection",
        "restrict_corosync",
        "restrict_cpu_masking",
        "restrict_dmc",
        "restrict_dr",
        "restrict_email_alerting",
        "restrict_equalogic",
        "restrict_gpu",
        "restrict_guest_agent_auto_update",
        "restrict_guest_ip_setting",
        "restrict_historical_performance",
        "restrict_igmp_snooping",
        "restrict_integrated_gpu_passthrough",
        "restrict_intellicache",
        "restrict_internal_repo_access",
        "restrict_live_patching",
        "restrict_marathon",
        "restrict_nested_virt",
        "restrict_netapp",
        "restrict_network_sriov",
        "restrict_pci_device_for_auto_update",
        "restrict_pool_attached_storage",
        "restrict_pool_secret_rotation",
        "restrict_pool_size",
        "restrict_pooling",
        "restrict_pvs_proxy",
        "restrict_qos",
        "restrict_rbac",
        "restrict_rpu",
        "restrict_set_vcpus_number_live",
        "restrict_storage_xen_motion",
        "restrict_updates",
        "restrict_usb_passthrough",
        "restrict_vgpu",
        "restrict_vif_locking",
        "restrict_vlan",
        "restrict_vm_appliance_start",
        "restrict_vm_groups",
        "restrict_vm_start",
        "restrict_vmpr",
        "restrict_vmss",
        "restrict_vss",
        "restrict_vtpm",
        "restrict_wlb",
        "restrict_xen_motion",
        "restrict_zstd_export",
    ];

    fn named(folder: &Path, into: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                named(&path, into);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]").next().unwrap_or_default();
                let keys = text.split('"').filter(|part| part.starts_with("restrict_"));
                into.extend(keys.map(str::to_owned));
            }
        }
    }

    /// A key that no server knows would never forbid anything.
    #[test]
    fn every_key_is_one_that_a_server_tells() {
        let mut named_here = BTreeSet::new();
        named(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut named_here);
        let unknown: Vec<_> = named_here.iter().filter(|key| !RECORDED.contains(&&***key)).collect();
        assert!(unknown.is_empty(), "no server has told of {unknown:?}");
        for key in ["restrict_qos", "restrict_pooling", "restrict_vtpm"] {
            assert!(named_here.contains(key), "{key} is not asked for");
        }
    }
}
