//! The devices of hosts that guests can get for themselves. Each is asked for only when it is wanted.

use std::collections::{BTreeMap, BTreeSet};

use xenapi_client::{Client, Result};
use xenapi_types::{
    AllocationAlgorithm, GpuGroup, Host, Network, NetworkSriov, Pci, Pgpu, Pif, Ref, VgpuType, Vm, VmRecord,
    network_sriov, pgpu,
};

/// Virtual GPUs of one type that a physical one has room for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GpuOffer {
    /// The host.
    pub host: Ref<Host>,
    /// The group.
    pub group: Ref<GpuGroup>,
    /// The physical GPU, which is divided into parts of one type at a time.
    pub pgpu: Ref<Pgpu>,
    /// Whether XAPI takes the emptiest GPU of the group first, and not the fullest.
    pub spreads: bool,
    /// The type.
    pub kind: Ref<VgpuType>,
    /// The type's uuid.
    pub kind_uuid: String,
    /// The type's `model_name`.
    pub model: String,
    /// How many more there can be.
    pub free: i64,
}

/// A GPU of a host that guests may be given, whole or in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GpuInfo {
    /// Its uuid (class `PGPU`).
    pub uuid: String,
    /// The address of its PCI device: `0000:0b:00.0`.
    pub address: String,
    /// Who made it.
    pub vendor: String,
    /// Its model.
    pub device: String,
    /// The types of virtual GPUs that it is enabled for, in the order of their models.
    pub kinds: Vec<GpuKind>,
}

/// A type of virtual GPU, as one GPU offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GpuKind {
    /// The type's uuid, which [`Hardware::gpus`](crate::spec::Hardware::gpus) takes, too.
    pub uuid: String,
    /// Its `vendor_name`.
    pub vendor: String,
    /// Its `model_name`.
    pub model: String,
    /// How many more of it the GPU has room for, as long as nothing else is given of it.
    pub free: i64,
}

/// The GPUs of a host, in the order of their addresses.
pub(crate) async fn gpus_of(client: &Client, host: &Ref<Host>) -> Result<Vec<GpuInfo>> {
    let (kinds, gpus) = tokio::try_join!(client.all_records::<VgpuType>(), client.all_records::<Pgpu>())?;
    let mut found = Vec::new();
    for (pgpu, record) in gpus.into_iter().filter(|(_, gpu)| gpu.host == *host) {
        let device = client.record_opt::<Pci>(&record.pci).await?.unwrap_or_default();
        let mut offered = Vec::new();
        for vgpu_type in record.enabled_vgpu_types {
            let Some(kind) = kinds.get(&vgpu_type) else { continue };
            let call = pgpu::GetRemainingCapacity { pgpu: pgpu.clone(), vgpu_type };
            offered.push(GpuKind {
                uuid: kind.uuid.clone(),
                vendor: kind.vendor_name.clone(),
                model: kind.model_name.clone(),
                free: client.call(call).await?,
            });
        }
        offered.sort_by(|a, b| (&a.model, &a.uuid).cmp(&(&b.model, &b.uuid)));
        found.push(GpuInfo {
            uuid: record.uuid,
            address: device.pci_id,
            vendor: device.vendor_name,
            device: device.device_name,
            kinds: offered,
        });
    }
    found.sort_by(|a, b| (&a.address, &a.uuid).cmp(&(&b.address, &b.uuid)));
    Ok(found)
}

/// The types that are enabled on GPUs of the pool.
pub(crate) async fn gpus(client: &Client) -> Result<Vec<GpuOffer>> {
    let mut offers: Vec<GpuOffer> = Vec::new();
    let (kinds, groups, gpus) = tokio::try_join!(
        client.all_records::<VgpuType>(),
        client.all_records::<GpuGroup>(),
        client.all_records::<Pgpu>()
    )?;
    for (pgpu, record) in gpus {
        let group = groups.get(&record.gpu_group);
        let spreads = group.is_some_and(|g| g.allocation_algorithm == AllocationAlgorithm::BreadthFirst);
        for kind in record.enabled_vgpu_types {
            let Some(known) = kinds.get(&kind) else { continue };
            let call = pgpu::GetRemainingCapacity { pgpu: pgpu.clone(), vgpu_type: kind.clone() };
            let free = client.call(call).await?;
            offers.push(GpuOffer {
                host: record.host.clone(),
                group: record.gpu_group.clone(),
                pgpu: pgpu.clone(),
                spreads,
                kind,
                kind_uuid: known.uuid.clone(),
                model: known.model_name.clone(),
                free,
            });
        }
    }
    Ok(offers)
}

/// Free virtual functions of the networks that are parts of network cards, by network and host.
pub(crate) async fn functions(client: &Client) -> Result<BTreeMap<(Ref<Network>, Ref<Host>), i64>> {
    let cards = match client.all_records::<NetworkSriov>().await {
        // Before XenServer 7.5 there was no such class.
        Err(error) if error.is("MESSAGE_METHOD_UNKNOWN") => return Ok(BTreeMap::new()),
        cards => cards?,
    };
    let mut free = BTreeMap::new();
    for (card, record) in cards {
        let Some(pif) = client.record_opt::<Pif>(&record.logical_pif).await? else { continue };
        let call = network_sriov::GetRemainingCapacity { network_sriov: card };
        free.insert((pif.network, pif.host), client.call(call).await?);
    }
    Ok(free)
}

/// Names of the VMs that devices are given to, by host and address; of VMs that are off, by the host they prefer. And all devices
/// that XAPI lists.
pub(crate) async fn pci(
    client: &Client,
) -> Result<(BTreeMap<(Ref<Host>, String), String>, BTreeSet<(Ref<Host>, String)>)> {
    let listed = client.all_records::<Pci>().await?.into_values();
    let mut taken = BTreeMap::new();
    for vm in client.all_records::<Vm>().await?.into_values() {
        let Some((host, addresses)) = given_pci(&vm).filter(|_| !vm.is_a_template && !vm.is_a_snapshot)
        else {
            continue;
        };
        taken.extend(addresses.map(|address| ((host.clone(), address.to_owned()), vm.name_label.clone())));
    }
    Ok((taken, listed.map(|device| (device.host, device.pci_id)).collect()))
}

/// The addresses of the devices that a VM is given when it starts (`other_config:pci`), and the host where it runs or
/// that it prefers.
pub(crate) fn given_pci(vm: &VmRecord) -> Option<(Ref<Host>, impl Iterator<Item = &str>)> {
    let devices = vm.other_config.get("pci")?;
    let host = if vm.resident_on.is_null() { &vm.affinity } else { &vm.resident_on };
    let addresses = devices.split(',').filter_map(|device| device.split_once('/'));
    Some((host.clone(), addresses.map(|(_, address)| address)))
}
