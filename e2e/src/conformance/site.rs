//! What an endpoint has, found out once before the checks.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use xenapi_client::Client;
use xenapi_types::{
    Host, HostRecord, Pbd, Pool, PoolRecord, Sm, Sr, SrRecord, StorageOperations, TaskStatusType, Vm, task,
};
use xenapi_wire::Ref;

use super::expect::not_applicable;

/// A pool and what of it the checks may use.
#[derive(Debug)]
pub struct Site {
    /// The pool.
    pub pool: Ref<Pool>,
    /// Its record.
    pub pool_record: PoolRecord,
    /// The pool's coordinator.
    pub host: Ref<Host>,
    /// Its record.
    pub host_record: HostRecord,
    /// How many hosts there are.
    pub host_count: usize,
    sr: Option<(Ref<Sr>, SrRecord)>,
    features: BTreeMap<String, i64>,
    ends_tasks: bool,
}

impl Site {
    /// Looks around.
    ///
    /// # Errors
    /// When the endpoint cannot be asked, or has no pool.
    pub async fn survey(client: &Client) -> Result<Self> {
        let pools = client.all_records::<Pool>().await?;
        let (pool, pool_record) = pools.into_iter().next().context("the endpoint has no pool")?;
        let host = pool_record.master.clone();
        let hosts = client.all_records::<Host>().await?;
        let host_count = hosts.len();
        let host_record = hosts.get(&host).context("the pool's coordinator does not exist")?.clone();
        let sr = pick_sr(client, &pool_record, &host).await?;
        let mut features = BTreeMap::new();
        if let Some((_, record)) = &sr {
            let drivers = client.all_records::<Sm>().await?;
            if let Some(driver) = drivers.into_values().find(|driver| driver.r#type == record.r#type) {
                features = driver.features;
            }
        }
        let end = task::SetStatus { task: Ref::NULL, value: TaskStatusType::Success };
        let ends_tasks = !client.call(end).await.is_err_and(|e| e.is("MESSAGE_METHOD_UNKNOWN"));
        Ok(Self { pool, pool_record, host, host_record, host_count, sr, features, ends_tasks })
    }

    /// That tasks of ours can be ended, which came with XenServer 7.2: they could not be taken away.
    ///
    /// # Errors
    /// Not applicable when they cannot.
    pub fn needs_tasks(&self) -> Result<()> {
        if self.ends_tasks { Ok(()) } else { Err(not_applicable("clients' tasks cannot be ended here")) }
    }

    /// The storage repository for the checks' disks.
    ///
    /// # Errors
    /// Not applicable when there is none.
    pub fn sr(&self) -> Result<&Ref<Sr>> {
        self.sr.as_ref().map(|(sr, _)| sr).ok_or_else(|| not_applicable("no storage repository for disks"))
    }

    /// Its type: `ext`, `lvm`.
    pub fn sr_type(&self) -> &str {
        self.sr.as_ref().map_or("none", |(_, record)| &record.r#type)
    }

    /// That the driver of the storage repository can do something: `VDI_SNAPSHOT`.
    ///
    /// # Errors
    /// Not applicable when it cannot, or when there is no storage repository.
    pub fn needs_feature(&self, feature: &str) -> Result<()> {
        self.sr()?;
        if self.has_feature(feature) {
            return Ok(());
        }
        Err(not_applicable(format!("storage of type {} has no {feature}", self.sr_type())))
    }

    /// The coordinator's control domain.
    ///
    /// # Errors
    /// Not applicable when the host does not say which it is, as those before XenServer 7.2.
    pub fn dom0(&self) -> Result<&Ref<Vm>> {
        let dom0 = Some(&self.host_record.control_domain).filter(|dom0| !dom0.is_null());
        dom0.ok_or_else(|| not_applicable("hosts do not name their control domain here"))
    }

    /// Whether this is a release before XenServer 7.3, which removed what had been announced to go.
    pub fn is_before_removals(&self) -> bool {
        self.host_record.api_version_major == 2 && self.host_record.api_version_minor < 8
    }

    /// Whether the driver of the storage repository can do something.
    pub fn has_feature(&self, feature: &str) -> bool {
        self.features.contains_key(feature)
    }

    /// XAPI's own version: `26.17.0`.
    pub fn xapi_version(&self) -> String {
        let versions = &self.host_record.software_version;
        versions.get("xapi_build").or_else(|| versions.get("xapi")).cloned().unwrap_or_default()
    }
}

/// The storage repository named in `XENAPI_SR`, or the pool's default one, or the first on which the
/// coordinator can make disks.
async fn pick_sr(
    client: &Client,
    pool: &PoolRecord,
    host: &Ref<Host>,
) -> Result<Option<(Ref<Sr>, SrRecord)>> {
    let attached: Vec<_> = client.all_records::<Pbd>().await?.into_values().collect();
    let is_attached = |sr: &Ref<Sr>| {
        attached.iter().any(|pbd| pbd.sr == *sr && pbd.host == *host && pbd.currently_attached)
    };
    let mut usable: Vec<_> = client.all_records::<Sr>().await?.into_iter().collect();
    usable.retain(|(sr, record)| {
        is_attached(sr)
            && record.content_type != "iso"
            && record.allowed_operations.contains(&StorageOperations::VdiCreate)
    });
    if let Ok(wanted) = std::env::var("XENAPI_SR") {
        let found =
            usable.into_iter().find(|(_, record)| [&record.uuid, &record.name_label].contains(&&wanted));
        return found
            .with_context(|| format!("no storage repository {wanted:?} (XENAPI_SR) takes disks"))
            .map(Some);
    }
    let default = usable.iter().position(|(sr, _)| *sr == pool.default_sr);
    usable.sort_by(|(_, a), (_, b)| a.uuid.cmp(&b.uuid));
    Ok(match default {
        Some(_) => usable.into_iter().find(|(sr, _)| *sr == pool.default_sr),
        None => usable.into_iter().next(),
    })
}
