//! Networks: plain ones inside the hosts, and VLANs on their interfaces, through XenAPI alone.

use uuid::Uuid;
use xenapi_client::{Client, ErrorKind};
use xenapi_storage::ownership::{self, Claim, Ownership};
use xenapi_types::{Network as NetworkClass, NetworkRecord, Pif, Ref, network, pool, vlan};

use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Error, Op, Result};
use crate::inventory::{self, Network};
use crate::job::Job;
use crate::licence::{self, Feature};
use crate::operation::Operation;
use crate::plan::{self, Conflicts};
use crate::progress::{Progress, Stage};
use crate::remove::gone_is_fine;

/// A network to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// `name_label`; no other network of the pool may have it.
    pub name: String,
    /// The MTU in bytes; `None` is XAPI's 1500.
    pub mtu: Option<u32>,
    /// The VLAN it is on; `None` is a network inside each host, without a way out.
    pub vlan: Option<Vlan>,
}

/// A VLAN on the same interface of every host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vlan {
    /// The network whose physical interfaces carry it: by uuid, name or bridge.
    pub over: String,
    /// The tag, from 0 to 4094.
    pub tag: u16,
}

impl Driver {
    /// The networks of the endpoint, in the order of their names.
    ///
    /// # Errors
    ///
    /// When the host cannot be asked.
    pub async fn networks(&self) -> Result<Vec<Network>> {
        let networks = inventory::read_networks(self.client()).await;
        networks.map_err(|cause| Error::new(Op::Network, self.endpoint(), Stage::Find, cause))
    }

    /// Makes a network, unless this driver has made the same one before. When it fails, nothing of it stays.
    ///
    /// # Errors
    ///
    /// [`Cause::Conflicts`] when the network for the VLAN is unknown; [`Cause::NetworkDiffers`] when there is
    /// one of this name that is not the same, or not ours; [`Cause::Host`].
    pub fn ensure_network(&self, spec: NetworkSpec, progress: Progress) -> Operation<Network> {
        let object = format!("network {:?}", spec.name);
        self.verb(Op::Network, object, progress, move |job, stop| {
            Box::pin(async move {
                let _gate = job.driver.0.gates.enter(&format!("network {}", spec.name)).await;
                let carrier = job.stage(Stage::Find, carrier(job, &spec)).await?;
                if let Some(found) = job.stage(Stage::Plan, existing(job, &spec, carrier.as_ref())).await? {
                    return Ok(found);
                }
                job.would(|| {
                    let vlan = spec
                        .vlan
                        .as_ref()
                        .map(|vlan| format!("put it on VLAN {} over {:?}", vlan.tag, vlan.over));
                    [format!("make network {:?}", spec.name)].into_iter().chain(vlan).collect::<Vec<_>>()
                })?;
                job.stage(Stage::Devices, make(job, &spec, carrier.as_ref(), stop)).await
            })
        })
    }

    /// Removes a network that this driver made, with its VLANs. That there is none is no error.
    ///
    /// # Errors
    ///
    /// [`Cause::NetworkDiffers`] when it is not ours; [`Cause::Host`] with `VIF_IN_USE` or
    /// `NETWORK_CONTAINS_VIF` while a guest uses it.
    pub fn remove_network(&self, name: impl Into<String>, progress: Progress) -> Operation<()> {
        let name = name.into();
        self.verb(Op::Network, format!("network {name:?}"), progress, move |job, stop| {
            Box::pin(async move {
                let removing = async {
                    let found = named(job, &name).await?;
                    for (reference, record) in found {
                        if !is_ours(job, &record) {
                            return Err(Cause::NetworkDiffers { name, why: "it was made by somebody else" });
                        }
                        job.would(|| vec![format!("remove network {}", record.uuid)])?;
                        stop.check()?;
                        let doing = Cause::host(format!("removing network {}", record.uuid));
                        remove(job.client(), &reference).await.map_err(doing)?;
                    }
                    Ok(())
                };
                job.stage(Stage::Remove, removing).await
            })
        })
    }
}

async fn named(job: &Job, name: &str) -> std::result::Result<Vec<(Ref<NetworkClass>, NetworkRecord)>, Cause> {
    let found = job.client().records_named::<NetworkClass>(name).await;
    Ok(found.map_err(Cause::host(format!("looking for network {name:?}")))?.into_iter().collect())
}

fn is_ours(job: &Job, record: &NetworkRecord) -> bool {
    matches!(
        Claim::read(&record.other_config, &record.uuid),
        Claim::Original(maker) | Claim::Unsealed(maker) if maker.owner == job.driver.settings().owner
    )
}

/// A physical interface of the network that carries the VLAN, with its device.
async fn carrier(job: &Job, spec: &NetworkSpec) -> std::result::Result<Option<(Ref<Pif>, String)>, Cause> {
    let Some(vlan) = &spec.vlan else { return Ok(None) };
    licence::check(job, &[Feature::Vlan]).await?;
    let networks = inventory::read_networks(job.client()).await?;
    let over = plan::choose_network(&networks, &vlan.over).map_err(Conflicts::from)?;
    let pifs =
        job.client().all_records::<Pif>().await.map_err(Cause::host("reading the interfaces of hosts"))?;
    let physical = pifs.into_iter().find(|(_, pif)| pif.network == over.reference && pif.vlan < 0);
    let Some((reference, pif)) = physical else {
        return Err(Cause::NetworkDiffers { name: over.name.clone(), why: "no physical interface is on it" });
    };
    Ok(Some((reference, pif.device)))
}

/// The network, if it is there and is the one that is meant.
async fn existing(
    job: &Job,
    spec: &NetworkSpec,
    carrier: Option<&(Ref<Pif>, String)>,
) -> std::result::Result<Option<Network>, Cause> {
    let Some((reference, record)) = named(job, &spec.name).await?.pop() else { return Ok(None) };
    let differs = |why| Err(Cause::NetworkDiffers { name: spec.name.clone(), why });
    if !is_ours(job, &record) {
        return differs("it was made by somebody else");
    }
    if spec.mtu.is_some_and(|mtu| i64::from(mtu) != record.mtu) {
        return differs("it has another MTU");
    }
    let mut tags = Vec::new();
    for pif in &record.pifs {
        let pif = job.client().record_opt(pif).await.map_err(Cause::host("reading a host's interface"))?;
        tags.extend(pif.map(|pif| (pif.device, pif.vlan)));
    }
    let wanted = spec.vlan.as_ref().zip(carrier).map(|(vlan, (_, device))| (device, i64::from(vlan.tag)));
    match wanted {
        None if !tags.is_empty() => differs("it is on a VLAN"),
        Some((device, tag)) if tags.is_empty() || tags.iter().any(|(d, t)| d != device || *t != tag) => {
            differs("it is on another VLAN, or on none")
        }
        _ => Ok(Some(shown(reference, record))),
    }
}

async fn make(
    job: &Job,
    spec: &NetworkSpec,
    carrier: Option<&(Ref<Pif>, String)>,
    stop: &Stop,
) -> std::result::Result<Network, Cause> {
    let client = job.client();
    let doing = || Cause::host(format!("making network {:?}", spec.name));
    let owner = job.driver.settings().owner.clone();
    let keys = Ownership { owner, instance: Uuid::nil(), operation: job.operation }.keys();
    stop.check()?;
    let (undo, name, operation) = (client.clone(), spec.name.clone(), job.operation);
    job.rollback.push_sweep(format!("network {name:?}"), async move { sweep(&undo, &name, operation).await });
    let call = network::Create {
        name_label: spec.name.clone(),
        mtu: spec.mtu.map_or(1500, i64::from),
        other_config: keys,
        ..network::Create::default()
    };
    let network = client.call(call).await.map_err(doing())?;
    let uuid = client.get_field(&network, network::field::UUID).await.map_err(doing())?;
    let seal = client.add_to(&network, network::field::OTHER_CONFIG, ownership::SELF, &uuid);
    seal.await.map_err(doing())?;
    if let Some((vlan, (pif, _))) = spec.vlan.as_ref().zip(carrier) {
        stop.check()?;
        let call =
            pool::CreateVlanFromPif { pif: pif.clone(), network: network.clone(), vlan: i64::from(vlan.tag) };
        client.call(call).await.map_err(doing())?;
    }
    let record = client.record(&network).await.map_err(doing())?;
    Ok(shown(network, record))
}

/// Removes what an operation made under this name.
async fn sweep(client: &Client, name: &str, operation: Uuid) -> xenapi_client::Result<()> {
    for (reference, record) in client.records_named::<NetworkClass>(name).await? {
        if record.other_config.get(ownership::OPERATION).is_some_and(|made| *made == operation.to_string()) {
            remove(client, &reference).await?;
        }
    }
    Ok(())
}

/// Removes a network with its VLANs.
pub(crate) async fn remove(client: &Client, network: &Ref<NetworkClass>) -> xenapi_client::Result<()> {
    let Some(record) = client.record_opt(network).await? else { return Ok(()) };
    for pif in &record.pifs {
        let Some(pif) = client.record_opt(pif).await? else { continue };
        if !pif.vlan_master_of.is_null() {
            gone_is_fine(client.call(vlan::Destroy { vlan: pif.vlan_master_of }).await)?;
        }
    }
    match client.destroy(network).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn shown(reference: Ref<NetworkClass>, record: NetworkRecord) -> Network {
    Network { reference, uuid: record.uuid, name: record.name_label, bridge: record.bridge, mtu: record.mtu }
}
