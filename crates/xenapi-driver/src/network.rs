//! Networks: plain ones inside the hosts, and VLANs on their interfaces, through XenAPI alone.

use std::time::{Duration, Instant};

use uuid::Uuid;
use xenapi_client::{Client, ErrorKind};
use xenapi_storage::ownership::{self, Claim, Ownership};
use xenapi_types::{Host, Network as NetworkClass, NetworkRecord, Pif, Ref, network, pool, vlan};

use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Error, Op, Result};
use crate::inventory::{self, Network};
use crate::job::{Failed, Job};
use crate::licence::{self, Feature};
use crate::operation::Operation;
use crate::plan::{self, Conflict, Conflicts};
use crate::progress::{Progress, Stage};
use crate::remove::{gone_is_fine, tolerate};

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

/// How long several programs may be about to make a network of the same name.
const CROWDED: Duration = Duration::from_secs(5);
/// How long whoever makes one may take, VLANs on many hosts included: then others complete it.
const UNDER_WAY: Duration = Duration::from_secs(15);

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
    /// [`Cause::Conflicts`] when the network for the VLAN is unknown, or the MTU is none;
    /// [`Cause::NetworkDiffers`] when there is one of this name that is not the same, or not ours;
    /// [`Cause::Host`].
    pub fn ensure_network(&self, spec: NetworkSpec, progress: Progress) -> Operation<Network> {
        let object = format!("network {:?}", spec.name);
        self.verb(Op::Network, object, progress, move |job, stop| {
            Box::pin(async move {
                let _gate = job.turn(&format!("network {}", spec.name), stop).await?;
                let carrier = job.stage(Stage::Find, carrier(job, &spec)).await?;
                let begun = Instant::now();
                loop {
                    if let Some(found) =
                        job.stage(Stage::Plan, existing(job, &spec, carrier.as_ref(), stop)).await?
                    {
                        return Ok(found);
                    }
                    job.would(|| {
                        let vlan = spec
                            .vlan
                            .as_ref()
                            .map(|vlan| format!("put it on VLAN {} over {:?}", vlan.tag, vlan.over));
                        [format!("make network {:?}", spec.name)].into_iter().chain(vlan).collect::<Vec<_>>()
                    })?;
                    let made = job.stage(Stage::Devices, make(job, &spec, carrier.as_ref(), stop)).await?;
                    if let Some(made) = made {
                        return Ok(made);
                    }
                    if begun.elapsed() > CROWDED {
                        let why = "others make one of this name, and give way, over and over; try again";
                        let cause = Cause::NetworkDiffers { name: spec.name.clone(), why };
                        return Err(Failed { stage: Stage::Devices, cause });
                    }
                    // The other one has given way as well, maybe: not both again at the same moment.
                    let pause = Duration::from_millis(50 + u64::from(Uuid::new_v4().as_bytes()[0]));
                    stop.guard(tokio::time::sleep(pause)).await?;
                }
            })
        })
    }

    /// Removes a network that this driver made, with its VLANs. That there is none is no error.
    ///
    /// # Errors
    ///
    /// [`Cause::NetworkDiffers`] when it is not ours; [`Cause::NetworkInUse`] while a VM has an interface on
    /// it, also one that is off: XAPI would remove it with the network.
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
                        let doing = || Cause::host(format!("removing network {}", record.uuid));
                        let vms = users(job.client(), &record).await.map_err(doing())?;
                        if !vms.is_empty() {
                            return Err(Cause::NetworkInUse { name, vms });
                        }
                        job.would(|| vec![format!("remove network {}", record.uuid)])?;
                        stop.check()?;
                        remove(job.client(), &reference).await.map_err(doing())?;
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

/// Uuids of the VMs that have an interface on a network. What snapshots and templates have only describes one.
async fn users(client: &Client, network: &NetworkRecord) -> xenapi_client::Result<Vec<String>> {
    let mut users = Vec::new();
    for vif in &network.vifs {
        let Some(vif) = client.record_opt(vif).await? else { continue };
        let vm = client.record_opt(&vif.vm).await?;
        users.extend(vm.filter(|vm| !vm.is_a_snapshot && !vm.is_a_template).map(|vm| vm.uuid));
    }
    users.sort();
    users.dedup();
    Ok(users)
}

/// What carries a VLAN: an interface on each host, all of one device.
struct Carrier {
    device: String,
    pifs: Vec<(Ref<Pif>, Ref<Host>)>,
}

/// The physical interfaces of the network that carries the VLAN.
async fn carrier(job: &Job, spec: &NetworkSpec) -> std::result::Result<Option<Carrier>, Cause> {
    if let Some(conflict) = plan::bad_mtu(spec.mtu) {
        return Err(Conflicts::from(conflict).into());
    }
    let Some(vlan) = &spec.vlan else { return Ok(None) };
    licence::check(job, &[Feature::Vlan]).await?;
    let networks = inventory::read_networks(job.client()).await?;
    let over = plan::choose_network(&networks, &vlan.over).map_err(Conflicts::from)?;
    let pifs =
        job.client().all_records::<Pif>().await.map_err(Cause::host("reading the interfaces of hosts"))?;
    let physical: Vec<_> =
        pifs.into_iter().filter(|(_, pif)| pif.network == over.reference && pif.vlan < 0).collect();
    let Some((_, first)) = physical.first() else {
        return Err(Cause::NetworkDiffers { name: over.name.clone(), why: "no physical interface is on it" });
    };
    let device = first.device.clone();
    let same = physical.into_iter().filter(|(_, pif)| pif.device == device);
    let pifs = same.map(|(reference, pif)| (reference, pif.host)).collect();
    Ok(Some(Carrier { device, pifs }))
}

/// The network, if it is there and is the one that is meant.
async fn existing(
    job: &Job,
    spec: &NetworkSpec,
    carrier: Option<&Carrier>,
    stop: &Stop,
) -> std::result::Result<Option<Network>, Cause> {
    let mut found = named(job, &spec.name).await?;
    // Of those that are made at the same time, all but one go; and one that another program is busy with may go yet.
    let begun = Instant::now();
    let maker = |it: &NetworkRecord| match Claim::read(&it.other_config, &it.uuid) {
        Claim::Unsealed(maker) => Some(maker.operation),
        _ => None,
    };
    let is_awaited = |found: &[(_, NetworkRecord)]| match found {
        [(_, one)] => {
            begun.elapsed() < UNDER_WAY && maker(one).is_some_and(|operation| is_under_way(job, operation))
        }
        all => begun.elapsed() < CROWDED && all.iter().any(|(_, it)| maker(it).is_some()),
    };
    while is_awaited(&found) {
        stop.guard(tokio::time::sleep(Duration::from_millis(100))).await?;
        found = named(job, &spec.name).await?;
    }
    if found.len() > 1 {
        let uuids = found.into_iter().map(|(_, record)| record.uuid).collect();
        return Err(Conflicts::from(Conflict::AmbiguousNetwork { wanted: spec.name.clone(), uuids }).into());
    }
    let Some((reference, record)) = found.pop() else { return Ok(None) };
    let differs = |why| Err(Cause::NetworkDiffers { name: spec.name.clone(), why });
    if !is_ours(job, &record) {
        return differs("it was made by somebody else");
    }
    if spec.mtu.is_some_and(|mtu| i64::from(mtu) != record.mtu) {
        return differs("it has another MTU");
    }
    let (mut tags, mut hosts) = (Vec::new(), Vec::new());
    for pif in &record.pifs {
        let pif = job.client().record_opt(pif).await.map_err(Cause::host("reading a host's interface"))?;
        if let Some(pif) = pif {
            tags.push((pif.device, pif.vlan));
            hosts.push(pif.host);
        }
    }
    let wanted = spec.vlan.as_ref().zip(carrier).map(|(vlan, carrier)| (carrier, i64::from(vlan.tag)));
    match wanted {
        None if !tags.is_empty() => differs("it is on a VLAN"),
        Some((carrier, tag))
            if tags.is_empty() || tags.iter().any(|(d, t)| *d != carrier.device || *t != tag) =>
        {
            differs("it is on another VLAN, or on none")
        }
        _ => {
            if let Some((carrier, tag)) = wanted {
                complete(job, spec, &reference, (carrier, tag), &hosts, stop).await?;
            }
            // Nobody may be left who would say that it is complete.
            if !job.driver.0.rehearses && !record.other_config.contains_key(ownership::SELF) {
                let sealed = seal(job.client(), &reference, &record).await;
                sealed.map_err(Cause::host(format!("making network {:?}", spec.name)))?;
            }
            Ok(Some(shown(reference, record)))
        }
    }
}

/// Whether an operation has begun a moment ago, by the pool's clock.
fn is_under_way(job: &Job, operation: Uuid) -> bool {
    let began = operation.get_timestamp().map(|time| time.to_unix().0);
    began.is_some_and(|began| job.driver.clock().seconds().saturating_sub(began) < UNDER_WAY.as_secs())
}

/// Puts the VLAN on the hosts that lack it, as a removal that broke off leaves them.
async fn complete(
    job: &Job,
    spec: &NetworkSpec,
    network: &Ref<NetworkClass>,
    (carrier, tag): (&Carrier, i64),
    hosts: &[Ref<Host>],
    stop: &Stop,
) -> std::result::Result<(), Cause> {
    for (pif, _) in carrier.pifs.iter().filter(|(_, host)| !hosts.contains(host)) {
        job.would(|| vec![format!("put network {:?} on VLAN {tag} of one more host", spec.name)])?;
        stop.check()?;
        let call = vlan::Create { tagged_pif: pif.clone(), tag, network: network.clone() };
        let made = tolerate(job.client().call(call).await.map(drop), &["PIF_VLAN_EXISTS"]);
        made.map_err(Cause::host(format!("completing network {:?}", spec.name)))?;
    }
    Ok(())
}

/// Makes it; `None` when somebody else has made one of this name meanwhile.
async fn make(
    job: &Job,
    spec: &NetworkSpec,
    carrier: Option<&Carrier>,
    stop: &Stop,
) -> std::result::Result<Option<Network>, Cause> {
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
    // Two at the same time both found the name free. Whoever sees the other one gives way.
    if named(job, &spec.name).await?.iter().any(|(other, _)| *other != network) {
        remove(client, &network).await.map_err(doing())?;
        return Ok(None);
    }
    if let Some((vlan, (pif, _))) = spec.vlan.as_ref().zip(carrier.and_then(|carrier| carrier.pifs.first())) {
        stop.check()?;
        let call =
            pool::CreateVlanFromPif { pif: pif.clone(), network: network.clone(), vlan: i64::from(vlan.tag) };
        client.call(call).await.map_err(doing())?;
    }
    let record = client.record(&network).await.map_err(doing())?;
    seal(client, &network, &record).await.map_err(doing())?;
    Ok(Some(shown(network, record)))
}

/// From then on it is complete.
async fn seal(
    client: &Client,
    network: &Ref<NetworkClass>,
    record: &NetworkRecord,
) -> xenapi_client::Result<()> {
    let sealed = client.add_to(network, network::field::OTHER_CONFIG, ownership::SELF, &record.uuid).await;
    tolerate(sealed, &["MAP_DUPLICATE_KEY"])
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
    // From here on it is not complete, whoever removes the rest.
    gone_is_fine(client.remove_from(network, network::field::OTHER_CONFIG, ownership::SELF).await)?;
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
