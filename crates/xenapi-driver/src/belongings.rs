//! The parts of a host that a guest has for itself, when it is to be on another one: whole devices, parts of GPUs and of network
//! cards. What the other host cannot give is told before the guest is stopped or moved.

use std::collections::{BTreeMap, BTreeSet};

use xenapi_client::{Client, Result};
use xenapi_types::{Host, Network as NetworkClass, Ref, Vgpu, VgpuType, Vif, VmRecord};

use crate::error::Cause;
use crate::inventory::{self, GpuOffer, Network, Node};
use crate::job::Job;
use crate::plan::{Conflict, Conflicts, devices};
use crate::ports;

/// What a guest has, and what there is of it.
struct Belongings {
    /// Addresses of devices.
    pci: Vec<String>,
    /// Uuids of the types of virtual GPUs.
    gpus: Vec<String>,
    /// Of its interfaces.
    networks: Vec<Ref<NetworkClass>>,
    pci_taken: BTreeMap<(Ref<Host>, String), String>,
    /// By host and address.
    pci_there: BTreeSet<(Ref<Host>, String)>,
    gpus_there: Vec<GpuOffer>,
    functions_free: BTreeMap<(Ref<NetworkClass>, Ref<Host>), i64>,
}

/// Sees that a host can give a guest what it has of the one where it is at home. A guest that `runs` meanwhile keeps its domain: no
/// device of a host can go along, nor a virtual function.
///
/// # Errors
///
/// [`Cause::Conflicts`] with all that is missing.
pub(crate) async fn check(
    job: &Job,
    record: &VmRecord,
    node: &Node,
    runs: bool,
) -> std::result::Result<(), Cause> {
    let home = ports::home(record);
    if *home == node.reference {
        return Ok(());
    }
    let doing = || Cause::host(format!("reading the devices of VM {}", record.uuid));
    let has = read(job.client(), record).await.map_err(doing())?;
    let mut found = Vec::new();
    let functions: Vec<_> = has
        .networks
        .iter()
        .filter(|network| has.functions_free.contains_key(&((*network).clone(), home.clone())))
        .collect();
    if runs {
        let devices = has.pci.iter().map(|address| format!("PCI device {address}"));
        let functions = (!functions.is_empty()).then(|| "a virtual function of a network card".to_owned());
        found.extend(devices.chain(functions).map(|what| Conflict::StaysWithHost { what }));
    }
    devices::pci_free(&has.pci, &has.pci_taken, node, &mut found);
    devices::pci_there(&has.pci, &has.pci_there, node, &mut found);
    devices::gpus(&has.gpus, &has.gpus_there, node, &mut found);
    if !functions.is_empty() {
        let known = inventory::read_networks(job.client()).await?;
        let of = |network: &Ref<NetworkClass>| known.iter().find(|known| known.reference == *network);
        let networks: Vec<&Network> = functions.iter().filter_map(|network| of(network)).collect();
        // A card that the host does not have has none free.
        let mut free = has.functions_free.clone();
        for network in &networks {
            free.entry((network.reference.clone(), node.reference.clone())).or_insert(0);
        }
        devices::functions_free(networks.into_iter(), &free, node, &mut found);
    }
    if found.is_empty() { Ok(()) } else { Err(Conflicts::new(found).into()) }
}

async fn read(client: &Client, record: &VmRecord) -> Result<Belongings> {
    let pci = record.other_config.get("pci").map(String::as_str).unwrap_or_default();
    let pci = pci.split(',').filter_map(|device| device.split_once('/'));
    let mut has = Belongings {
        pci: pci.map(|(_, address)| address.to_owned()).collect(),
        gpus: Vec::new(),
        networks: Vec::new(),
        pci_taken: BTreeMap::new(),
        pci_there: BTreeSet::new(),
        gpus_there: Vec::new(),
        functions_free: BTreeMap::new(),
    };
    for vgpu in &record.vgpus {
        let Some(vgpu) = client.record_opt::<Vgpu>(vgpu).await? else { continue };
        has.gpus.extend(client.record_opt::<VgpuType>(&vgpu.r#type).await?.map(|kind| kind.uuid));
    }
    for vif in &record.vifs {
        has.networks.extend(client.record_opt::<Vif>(vif).await?.map(|vif| vif.network));
    }
    if !has.pci.is_empty() {
        (has.pci_taken, has.pci_there) = inventory::devices::pci(client).await?;
    }
    if !has.gpus.is_empty() {
        has.gpus_there = inventory::devices::gpus(client).await?;
    }
    if !has.networks.is_empty() {
        has.functions_free = inventory::devices::functions(client).await?;
    }
    Ok(has)
}
