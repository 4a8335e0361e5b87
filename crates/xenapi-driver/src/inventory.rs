//! What the endpoint has, as far as planning needs it.

pub(crate) mod devices;

use std::collections::{BTreeMap, BTreeSet};

use xenapi_client::{Client, ErrorKind};
use xenapi_storage::Repository;
use xenapi_types::query::Query;
use xenapi_types::{
    Host, HostMetrics, HostRecord, Network as NetworkClass, NetworkRecord, Pbd, Pool, Ref, Sr, Vif, Vm, host,
    vm,
};

pub(crate) use devices::given_pci;
pub use devices::{GpuInfo, GpuKind, GpuOffer};

use crate::cancel::{self, Work};
use crate::driver::Driver;
use crate::error::Cause;
use crate::ledger;
use crate::plan::Conflict;
use crate::spec::{InstanceSpec, MacChoice, Nic};

/// A picture of the pool, taken before an operation.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// The hosts.
    pub nodes: Vec<Node>,
    /// The storage repositories.
    pub srs: Vec<Repository>,
    /// The pool's default SR; may be null, or refer to one that is gone.
    pub default_sr: Ref<Sr>,
    /// The networks.
    pub networks: Vec<Network>,
    /// Uuid of the VM that has the wanted name already.
    pub name_taken_by: Option<String>,
    /// Requested MAC addresses that a VIF of the pool has already, with the VM's name.
    pub macs_taken: BTreeMap<String, String>,
    /// `Pool.restrictions`: what the edition lacks, `restrict_…` = `true`.
    pub restrictions: BTreeMap<String, String>,
    /// Virtual GPUs that there can be, when some are wanted.
    pub gpus: Vec<GpuOffer>,
    /// Free virtual functions of SR-IOV networks on each host.
    pub functions_free: BTreeMap<(Ref<NetworkClass>, Ref<Host>), i64>,
    /// Names of the VMs that have devices of a host for themselves, by host and address, when some are wanted.
    pub pci_taken: BTreeMap<(Ref<Host>, String), String>,
    /// Hosts and addresses of the devices that XAPI lists, when some are wanted.
    pub pci_there: BTreeSet<(Ref<Host>, String)>,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Its reference.
    pub reference: Ref<Host>,
    /// Its uuid: the node's name in this driver.
    pub uuid: String,
    /// `name_label`.
    pub name: String,
    /// Its address, as the pool knows it.
    pub address: String,
    /// Whether it takes new guests.
    pub enabled: bool,
    /// Whether the pool hears of it: one that is down or cut off stays enabled. One that nothing is measured of is taken for
    /// live.
    pub live: bool,
    /// What it runs, `XenServer 8.4.0`.
    pub product: String,
    /// Number of physical CPUs.
    pub cpus: u32,
    /// Memory for new guests in bytes, as XAPI computes it, without what instances that are being made were promised. None
    /// on one that is not live.
    pub memory_free_bytes: u64,
}

impl Node {
    /// What keeps new guests from it, whatever room it has.
    pub(crate) fn refusal(&self) -> Option<Conflict> {
        let node = self.name.clone();
        match (self.live, self.enabled) {
            (false, _) => Some(Conflict::NodeNotLive { node }),
            (true, false) => Some(Conflict::NodeDisabled { node }),
            (true, true) => None,
        }
    }

    /// Whether it can take guests, and its dom0 can be asked for something.
    pub(crate) fn is_usable(&self) -> bool {
        self.refusal().is_none()
    }
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Network {
    /// Its reference.
    pub reference: Ref<NetworkClass>,
    /// Its uuid.
    pub uuid: String,
    /// `name_label`.
    pub name: String,
    /// Name of its bridge in dom0, `xenbr0`.
    pub bridge: String,
    /// Its MTU.
    pub mtu: i64,
}

/// Whether the pool has given up a host, by the reference to its metrics. A host without any is taken for live.
pub(crate) async fn is_dead(client: &Client, metrics: &Ref<HostMetrics>) -> xenapi_client::Result<bool> {
    Ok(client.record_opt(metrics).await?.is_some_and(|metrics| !metrics.live))
}

/// Whether a call could not be passed on because its host is dead by the pool's account. One that has not been given up may go on
/// with all it has.
pub(crate) async fn is_cut_off(client: &Client, host: &Ref<Host>, cause: &Cause) -> bool {
    let Cause::Host { source, .. } = cause else { return false };
    if !["CANNOT_CONTACT_HOST", "HOST_OFFLINE", "HOST_NOT_LIVE"].iter().any(|code| source.is(code)) {
        return false;
    }
    let dead = async {
        let metrics = client.get_field(host, host::field::METRICS).await?;
        is_dead(client, &metrics).await
    };
    // Who cannot find out has an error already, which stays.
    dead.await.unwrap_or(false)
}

/// The hosts of the pool, in the order of their names.
pub(crate) async fn read_nodes(driver: &Driver) -> Result<Vec<Node>, Cause> {
    let client = driver.client();
    let (hosts, metrics) =
        tokio::try_join!(client.all_records::<Host>(), client.all_records::<HostMetrics>())
            .map_err(Cause::host("reading the hosts"))?;
    let nodes = hosts.into_iter().map(|(reference, record)| -> Work<'_, Cause, Node> {
        let live = metrics.get(&record.metrics).is_none_or(|metrics| metrics.live);
        Box::pin(read_node(driver, reference, record, live))
    });
    let mut nodes = cancel::all(nodes).await?;
    nodes.sort_by(|a, b| (&a.name, &a.uuid).cmp(&(&b.name, &b.uuid)));
    Ok(nodes)
}

async fn read_node(
    driver: &Driver,
    reference: Ref<Host>,
    record: HostRecord,
    live: bool,
) -> Result<Node, Cause> {
    if !live {
        // XAPI computes it from its database, where a host that has died still has all its memory.
        return Ok(node(reference, record, live, 0));
    }
    let free = driver.client().call(host::ComputeFreeMemory { host: reference.clone() }).await;
    let memory_free_bytes = match free {
        Ok(bytes) => u64::try_from(bytes).unwrap_or(0),
        // A host that is down is still a node, one without memory.
        Err(error) if error.is("HOST_OFFLINE") || error.is("HOST_NOT_LIVE") => 0,
        Err(error) => {
            let doing = format!("asking for the free memory of host {:?}", record.name_label);
            return Err(Cause::host(doing)(error));
        }
    };
    // In this order: who starts in between is counted twice rather than not at all.
    let promised = ledger::promised_bytes(driver.clock(), &record.other_config);
    let memory_free_bytes = memory_free_bytes.saturating_sub(promised);
    Ok(node(reference, record, live, memory_free_bytes))
}

fn node(reference: Ref<Host>, record: HostRecord, live: bool, memory_free_bytes: u64) -> Node {
    let version = |key: &str| record.software_version.get(key).cloned().unwrap_or_default();
    let product = format!("{} {}", version("product_brand"), version("product_version"));
    let cpus = record.cpu_info.get("cpu_count").and_then(|count| count.parse().ok()).unwrap_or(0);
    Node {
        reference,
        uuid: record.uuid,
        name: record.name_label,
        address: record.address,
        enabled: record.enabled,
        live,
        product: product.trim().to_owned(),
        cpus,
        memory_free_bytes,
    }
}

/// All that a plan for `spec` needs to know.
pub(crate) async fn read(driver: &Driver, spec: &InstanceSpec) -> Result<Inventory, Cause> {
    let client = driver.client();
    let doing = |what: &'static str| Cause::host(format!("reading the pool's {what}"));
    let wanted = &spec.hardware;
    let (
        nodes,
        srs,
        pbds,
        pools,
        networks,
        name_taken_by,
        macs_taken,
        gpus,
        functions_free,
        (pci_taken, pci_there),
    ) = tokio::try_join!(
        read_nodes(driver),
        async { client.all_records::<Sr>().await.map_err(doing("storage repositories")) },
        async { client.all_records::<Pbd>().await.map_err(doing("storage connections")) },
        async { client.all_records::<Pool>().await.map_err(doing("settings")) },
        async { client.all_records::<NetworkClass>().await.map_err(doing("networks")) },
        async { name_taken(client, &spec.name).await.map_err(doing("VM names")) },
        async { macs_taken(client, &spec.nics).await.map_err(doing("MAC addresses")) },
        if_wanted(!wanted.gpus.is_empty(), devices::gpus(client), doing("GPUs")),
        if_wanted(!spec.nics.is_empty(), devices::functions(client), doing("network cards")),
        if_wanted(!wanted.pci.is_empty(), devices::pci(client), doing("PCI devices")),
    )?;
    let (default_sr, restrictions) =
        pools.into_values().next().map_or_else(Default::default, |pool| (pool.default_sr, pool.restrictions));
    let srs = srs
        .into_iter()
        .map(|(reference, record)| Repository::new(reference, &record, pbds.values()))
        .collect();
    let networks = sorted(networks);
    Ok(Inventory {
        nodes,
        srs,
        default_sr,
        networks,
        name_taken_by,
        macs_taken,
        restrictions,
        gpus,
        functions_free,
        pci_taken,
        pci_there,
    })
}

async fn if_wanted<T: Default>(
    wanted: bool,
    read: impl Future<Output = xenapi_client::Result<T>>,
    cause: impl FnOnce(xenapi_client::Error) -> Cause,
) -> Result<T, Cause> {
    if wanted { read.await.map_err(cause) } else { Ok(T::default()) }
}

/// The networks, in the order of their names.
pub(crate) async fn read_networks(client: &Client) -> Result<Vec<Network>, Cause> {
    let networks = client.all_records::<NetworkClass>().await;
    Ok(sorted(networks.map_err(Cause::host("reading the pool's networks"))?))
}

fn sorted(networks: BTreeMap<Ref<NetworkClass>, NetworkRecord>) -> Vec<Network> {
    let network = |(reference, record): (_, NetworkRecord)| Network {
        reference,
        uuid: record.uuid,
        name: record.name_label,
        bridge: record.bridge,
        mtu: record.mtu,
    };
    let mut networks: Vec<_> = networks.into_iter().map(network).collect();
    networks.sort_by(|a, b| (&a.name, &a.uuid).cmp(&(&b.name, &b.uuid)));
    networks
}

/// Uuid of a VM with this name, if there is one: templates and snapshots count too.
async fn name_taken(client: &Client, name: &str) -> xenapi_client::Result<Option<String>> {
    let Some(vm) = client.all_by_name_label::<Vm>(name).await?.pop() else { return Ok(None) };
    match client.get_field(&vm, vm::field::UUID).await {
        Ok(uuid) => Ok(Some(uuid)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The given addresses that a VIF of the pool has already, with the name of its VM.
pub(crate) async fn macs_taken(
    client: &Client,
    nics: &[Nic],
) -> xenapi_client::Result<BTreeMap<String, String>> {
    let mut taken = BTreeMap::new();
    for nic in nics {
        let MacChoice::Given(mac) = nic.mac else { continue };
        if let Some(vm) = mac_taken(client, mac, None).await? {
            taken.insert(mac.to_string(), vm);
        }
    }
    Ok(taken)
}

/// The name of the VM that has another interface of this address than this one. Those of snapshots are on no network, and an
/// instance may get back an address that a snapshot of it remembers.
pub(crate) async fn mac_taken(
    client: &Client,
    mac: crate::spec::MacAddr,
    but_for: Option<&Ref<Vif>>,
) -> xenapi_client::Result<Option<String>> {
    let query = Query::eq("MAC", mac.to_string())?;
    let others = client.records_where::<Vif>(&query).await?;
    for (_, other) in others.into_iter().filter(|(vif, _)| Some(vif) != but_for) {
        let vm = client.record_opt(&other.vm).await?;
        if vm.as_ref().is_none_or(|vm| !vm.is_a_snapshot) {
            return Ok(Some(vm.map_or_else(String::new, |vm| vm.name_label)));
        }
    }
    Ok(None)
}
