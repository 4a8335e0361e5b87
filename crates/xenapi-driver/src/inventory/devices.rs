//! The devices of hosts that guests can get for themselves. Each is asked for only when it is wanted.

use std::collections::BTreeMap;

use xenapi_client::{Client, Result};
use xenapi_types::{
    GpuGroup, Host, Network, NetworkSriov, Pgpu, Pif, Ref, VgpuType, Vm, network_sriov, pgpu,
};

/// Virtual GPUs of one type that a group of physical ones has on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GpuOffer {
    /// The host.
    pub host: Ref<Host>,
    /// The group.
    pub group: Ref<GpuGroup>,
    /// The type.
    pub kind: Ref<VgpuType>,
    /// The type's uuid.
    pub kind_uuid: String,
    /// The type's `model_name`.
    pub model: String,
    /// How many more there can be.
    pub free: i64,
}

/// The types that are enabled on GPUs of the pool.
pub(crate) async fn gpus(client: &Client) -> Result<Vec<GpuOffer>> {
    let mut offers: Vec<GpuOffer> = Vec::new();
    let kinds = client.all_records::<VgpuType>().await?;
    for (pgpu, record) in client.all_records::<Pgpu>().await? {
        for kind in record.enabled_vgpu_types {
            let Some(known) = kinds.get(&kind) else { continue };
            let call = pgpu::GetRemainingCapacity { pgpu: pgpu.clone(), vgpu_type: kind.clone() };
            let free = client.call(call).await?;
            let same =
                |o: &&mut GpuOffer| o.host == record.host && o.group == record.gpu_group && o.kind == kind;
            match offers.iter_mut().find(same) {
                Some(offer) => offer.free += free,
                None => offers.push(GpuOffer {
                    host: record.host.clone(),
                    group: record.gpu_group.clone(),
                    kind,
                    kind_uuid: known.uuid.clone(),
                    model: known.model_name.clone(),
                    free,
                }),
            }
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

/// Names of the VMs that devices are given to, by host and address; of VMs that are off, by the host they prefer.
pub(crate) async fn pci(client: &Client) -> Result<BTreeMap<(Ref<Host>, String), String>> {
    let mut taken = BTreeMap::new();
    for vm in client.all_records::<Vm>().await?.into_values() {
        let Some(devices) = vm.other_config.get("pci").filter(|_| !vm.is_a_template && !vm.is_a_snapshot)
        else {
            continue;
        };
        let host = if vm.resident_on.is_null() { vm.affinity } else { vm.resident_on };
        for address in
            devices.split(',').filter_map(|device| device.split_once('/')).map(|(_, address)| address)
        {
            taken.insert((host.clone(), address.to_owned()), vm.name_label.clone());
        }
    }
    Ok(taken)
}
