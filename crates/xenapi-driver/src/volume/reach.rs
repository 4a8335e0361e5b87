//! Having another host use a repository, and taking that back.
//!
//! A connection that is made on the way to something carries [`ownership::UNFINISHED`] until that is done.
//! What a crash leaves with the mark is judged by its use: with a guest on that host that has a disk of the
//! repository it stays, and loses the mark.

use std::collections::BTreeMap;

use uuid::Uuid;
use xenapi_client::{Client, Result};
use xenapi_storage::ownership;
use xenapi_types::query::Query;
use xenapi_types::{
    Host, Pbd, PbdRecord, Ref, Secret, Sr, SrRecord, Vdi, VmPowerState, VmRecord, pbd, secret,
};

use super::connect::keys;
use super::release;
use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::Cause;
use crate::held::Held;
use crate::job::Job;
use crate::remove::gone_is_fine;

/// How a host comes to use a repository.
enum Way {
    /// It does.
    There,
    /// It has a connection that is not plugged.
    Plug(Ref<Pbd>),
    /// As the other hosts, by this `device_config`: the driver has introduced the repository.
    Make(BTreeMap<String, String>),
}

async fn way(job: &Job, sr: &Ref<Sr>, host: &Ref<Host>) -> std::result::Result<(SrRecord, Way), Cause> {
    let client = job.client();
    let record = client.record(sr).await.map_err(Cause::host("reading a storage repository"))?;
    let doing = || Cause::host(format!("asking who uses storage repository {:?}", record.name_label));
    let mut pattern = None;
    for reference in &record.pbds {
        match client.record_opt(reference).await.map_err(doing())? {
            Some(pbd) if pbd.host == *host => {
                let way = if pbd.currently_attached { Way::There } else { Way::Plug(reference.clone()) };
                return Ok((record, way));
            }
            found => pattern = found.map(|pbd| pbd.device_config).or(pattern),
        }
    }
    let is_ours = release::introduced_by(&record, &job.driver.settings().owner);
    match pattern.filter(|_| is_ours && record.shared) {
        Some(device_config) => Ok((record, Way::Make(device_config))),
        None => {
            let host = client.record(host).await.map_err(Cause::host("reading the host"))?;
            Err(Cause::NotConnected { sr: record.name_label, host: host.name_label })
        }
    }
}

/// Whether a host uses a repository already; if not, [`to_host`] can see to it.
///
/// # Errors
///
/// [`Cause::NotConnected`] when it cannot.
pub(crate) async fn is_there(job: &Job, sr: &Ref<Sr>, host: &Ref<Host>) -> std::result::Result<bool, Cause> {
    way(job, sr, host).await.map(|(_, way)| matches!(way, Way::There))
}

/// Connections that were made for what is under way.
#[must_use = "they are removed at the next reconciling unless they are kept or used"]
pub(crate) struct Connections(Vec<Ref<Pbd>>);

impl Connections {
    /// What they were made for is done. A mark that stays is removed when the pool is put in order.
    pub(crate) async fn keep(self, client: &Client) {
        for pbd in &self.0 {
            if let Err(error) = unmark(client, pbd).await {
                tracing::warn!(%error, %pbd, "the connection stays marked as unfinished for now");
            }
        }
    }
}

/// Has a host use these repositories as well. For those that this driver introduced, the connection is made
/// as that of the other hosts; of others, it has to be there. What is made is removed again if the operation
/// fails, unless a guest has come to use it; a connection that was there and is plugged stays plugged.
pub(crate) async fn to_host(
    job: &Job,
    srs: &[Ref<Sr>],
    host: &Ref<Host>,
    stop: &Stop,
) -> std::result::Result<Connections, Cause> {
    let (client, patience) = (job.client(), job.driver.settings().storage_timeout);
    let mut made = Vec::new();
    for sr in srs {
        stop.check()?;
        let (record, way) = way(job, sr, host).await?;
        let doing = || format!("connecting storage repository {:?}", record.name_label);
        let pbd = match way {
            Way::There => continue,
            Way::Plug(pbd) => pbd,
            Way::Make(mut device_config) => {
                let (undo, sr, host, operation) =
                    (job.driver.clone(), sr.clone(), host.clone(), job.operation);
                let what = format!("connection of storage repository {:?}", record.name_label);
                let of = (sr.clone(), host.clone());
                job.rollback.push(what, async move { take_back(&undo, &of.0, &of.1, operation).await });
                own_secrets(job, &mut device_config).await.map_err(Cause::host(doing()))?;
                let mut other_config = keys(job);
                other_config.insert(ownership::UNFINISHED.to_owned(), "true".to_owned());
                let call = pbd::Create { host, sr, device_config, other_config };
                let pbd = client.call(call).await.map_err(Cause::host(doing()))?;
                made.push(pbd.clone());
                pbd
            }
        };
        job.within(pbd::Plug { pbd }, doing(), patience, stop).await?;
    }
    Ok(Connections(made))
}

/// XAPI removes a connection's secrets with it: each has one of its own.
async fn own_secrets(job: &Job, device_config: &mut BTreeMap<String, String>) -> Result<()> {
    let client = job.client();
    for (_, uuid) in device_config.iter_mut().filter(|(key, _)| key.ends_with("_secret")) {
        let old = client.by_uuid::<Secret>(uuid).await?;
        let value = client.get_field(&old, secret::field::VALUE).await?;
        let new = client.call(secret::Create { value, other_config: keys(job) }).await?;
        *uuid = client.get_field(&new, secret::field::UUID).await?;
    }
    Ok(())
}

/// Removes what an operation made to have a host use a repository, unless a guest uses it there by now.
async fn take_back(driver: &Driver, sr: &Ref<Sr>, host: &Ref<Host>, operation: Uuid) -> Result<(), Held> {
    let client = driver.client();
    for reference in client.record_opt(sr).await?.map(|sr| sr.pbds).unwrap_or_default() {
        let Some(pbd) = client.record_opt(&reference).await? else { continue };
        let is_ours = is_marked(&pbd) && release::made_by(&pbd.other_config, operation);
        // What is in use has its mark until it is known why.
        if pbd.host == *host && is_ours && !is_used(client, sr, host).await? {
            remove(driver, &reference, &pbd).await?;
        }
    }
    Ok(release::secrets(client, |keys| release::made_by(keys, operation)).await?)
}

/// Whether what the connection was made for was never completed.
pub(crate) fn is_marked(pbd: &PbdRecord) -> bool {
    pbd.other_config.contains_key(ownership::UNFINISHED)
}

/// Removes a connection that was made for something that was never completed; where a guest uses it, it is
/// one like all others. It can be repeated.
pub(crate) async fn settle(driver: &Driver, reference: &Ref<Pbd>) -> Result<(), Held> {
    let client = driver.client();
    let Some(pbd) = client.record_opt(reference).await? else { return Ok(()) };
    if is_used(client, &pbd.sr, &pbd.host).await? {
        return Ok(unmark(client, reference).await?);
    }
    remove(driver, reference, &pbd).await
}

async fn remove(driver: &Driver, reference: &Ref<Pbd>, pbd: &PbdRecord) -> Result<(), Held> {
    release::disconnect(driver, reference, pbd, &Stop::new()).await?;
    Ok(gone_is_fine(driver.client().destroy(reference).await)?)
}

async fn unmark(client: &Client, pbd: &Ref<Pbd>) -> Result<()> {
    gone_is_fine(client.remove_from(pbd, pbd::field::OTHER_CONFIG, ownership::UNFINISHED).await)
}

/// Whether a guest with a disk of the repository is on this host, is to start there, or is just being moved.
async fn is_used(client: &Client, sr: &Ref<Sr>, host: &Ref<Host>) -> Result<bool> {
    let here = |vm: &VmRecord| match vm.power_state {
        VmPowerState::Halted | VmPowerState::Suspended => vm.affinity == *host,
        _ => vm.resident_on == *host,
    };
    for vdi in client.records_where::<Vdi>(&Query::eq("SR", sr.to_string())?).await?.into_values() {
        for vbd in &vdi.vbds {
            let Some(vbd) = client.record_opt(vbd).await? else { continue };
            let Some(vm) = client.record_opt(&vbd.vm).await? else { continue };
            if here(&vm) || !vm.current_operations.is_empty() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
