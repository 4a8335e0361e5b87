//! The parts of a host that a guest gets for itself: whole devices, parts of GPUs and of network cards, a TPM.

use std::collections::BTreeMap;

use xenapi_types::{GpuGroup, Ref, VgpuType};

use super::Conflict;
use crate::inventory::{GpuOffer, Inventory, Network, Node};
use crate::spec::{Firmware, Flavor, Hardware, InstanceSpec, Locking, Nic, VmMode};

/// A virtual GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GpuPlan {
    /// `GPU_group`.
    pub group: Ref<GpuGroup>,
    /// `type`.
    pub kind: Ref<VgpuType>,
    /// The type's `model_name`.
    pub model: String,
    /// `device`.
    pub device: usize,
}

/// What no host could give.
pub(super) fn check(spec: &InstanceSpec, inventory: &Inventory, found: &mut Vec<Conflict>) {
    let Hardware { firmware, cores_per_socket, nested, device_id, pci, tpm, gpus, vga, video_ram_mib } =
        &spec.hardware;
    let vcpus = spec.flavor.vcpus;
    if let Some(cores) = *cores_per_socket
        && (cores == 0 || !vcpus.is_multiple_of(cores))
    {
        found.push(Conflict::Cores { vcpus, cores });
    }
    if spec.kernel.is_some() && spec.vm_mode == Some(VmMode::Hvm) {
        found.push(Conflict::KernelOfHvm);
    }
    memory(&spec.flavor, found);
    let is_pv = matches!(spec.vm_mode, Some(VmMode::Pv | VmMode::Pvh)) || spec.kernel.is_some();
    if *firmware != Firmware::Bios && is_pv {
        found.push(Conflict::FirmwareOfPv);
    }
    if is_pv && (vga.is_some() || video_ram_mib.is_some()) {
        found.push(Conflict::VideoOfPv);
    }
    if let Some(mib) = video_ram_mib.filter(|mib| !(1..=256).contains(mib)) {
        found.push(Conflict::VideoRam(mib));
    }
    if let Some(id) = device_id
        && (id.len() != 4 || !id.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        found.push(Conflict::DeviceId(id.clone()));
    }
    found.extend(pci.iter().filter(|address| !is_pci(address)).map(|address| Conflict::Pci(address.clone())));
    if *tpm && *firmware == Firmware::Bios {
        found.push(Conflict::TpmOfBios);
    }
    let restriction = |feature: &str| inventory.restrictions.get(feature).map(String::as_str);
    // Hosts that do not mention it have never heard of it.
    if *tpm && restriction("restrict_vtpm") != Some("false") {
        found.push(Conflict::Restricted("virtual TPMs"));
    }
    let locks = |nic: &Nic| matches!(nic.locking, Locking::Disabled | Locking::Locked { .. });
    for (wanted, feature, what) in [
        (*nested, "restrict_nested_virt", "nested virtualisation"),
        (spec.flavor.memory_min_mib.is_some(), "restrict_dmc", "ballooning"),
        (!gpus.is_empty(), "restrict_vgpu", "virtual GPUs"),
        (spec.nics.iter().any(locks), "restrict_vif_locking", "locking of interfaces"),
    ] {
        if wanted && restriction(feature) == Some("true") {
            found.push(Conflict::Restricted(what));
        }
    }
}

/// The least may not be nothing, nor more than there is.
pub(crate) fn memory(flavor: &Flavor, found: &mut Vec<Conflict>) {
    if let Some(least_mib) = flavor.memory_min_mib.filter(|least| !(1..=flavor.memory_mib).contains(least)) {
        found.push(Conflict::Balloon { least_mib, memory_mib: flavor.memory_mib });
    }
}

/// `0000:04:00.0`: domain, bus, device and function in hexadecimal.
fn is_pci(address: &str) -> bool {
    let places: Vec<&str> = address.split([':', '.']).collect();
    let shape = address.char_indices().filter(|(_, c)| !c.is_ascii_hexdigit());
    places.iter().map(|place| place.len()).eq([4, 2, 2, 1]) && shape.eq([(4, ':'), (7, ':'), (10, '.')])
}

/// Whether a product, `XenServer 7.6.0`, has UEFI: it came with version 8, and no field of the API tells of it. Of what
/// is neither XenServer nor XCP-ng nothing is known.
fn has_uefi(product: &str) -> bool {
    let version = product.strip_prefix("XenServer ").or_else(|| product.strip_prefix("XCP-ng "));
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    major.is_none_or(|major| major >= 8)
}

/// What this host cannot give.
pub(super) fn check_on(
    spec: &InstanceSpec,
    networks: &[&Network],
    inventory: &Inventory,
    node: &Node,
    found: &mut Vec<Conflict>,
) {
    if spec.hardware.firmware != Firmware::Bios && !has_uefi(&node.product) {
        found.push(Conflict::NoUefi { node: node.name.clone(), product: node.product.clone() });
    }
    if spec.vm_mode == Some(VmMode::Pvh) && !has_uefi(&node.product) {
        found.push(Conflict::NoPvh { node: node.name.clone(), product: node.product.clone() });
    }
    for address in &spec.hardware.pci {
        if let Some(vm) = inventory.pci_taken.get(&(node.reference.clone(), address.clone())) {
            let (address, node, vm) = (address.clone(), node.name.clone(), vm.clone());
            found.push(Conflict::PciInUse { address, node, vm });
        }
    }
    let mut functions: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    for network in networks {
        let key = (network.reference.clone(), node.reference.clone());
        if let Some(free) = inventory.functions_free.get(&key) {
            functions.entry(&network.name).or_insert((0, *free)).0 += 1;
        }
    }
    for (network, (needed, free)) in functions {
        if i64::try_from(needed).is_ok_and(|needed| needed > free) {
            found.push(Conflict::FunctionsTaken {
                network: network.to_owned(),
                node: node.name.clone(),
                free,
            });
        }
    }
}

/// A place for each virtual GPU on this host.
pub(super) fn gpus(
    spec: &InstanceSpec,
    inventory: &Inventory,
    node: &Node,
    found: &mut Vec<Conflict>,
) -> Vec<GpuPlan> {
    let mut offers: Vec<GpuOffer> =
        inventory.gpus.iter().filter(|offer| offer.host == node.reference).cloned().collect();
    let mut plans = Vec::new();
    for (device, wanted) in spec.hardware.gpus.iter().enumerate() {
        let fits = |offer: &&mut GpuOffer| offer.kind_uuid == *wanted || offer.model == *wanted;
        let Some(offer) = offers.iter_mut().filter(fits).max_by_key(|offer| offer.free) else {
            let mut have: Vec<String> = offers.iter().map(|offer| offer.model.clone()).collect();
            have.dedup();
            found.push(Conflict::NoSuchGpu { wanted: wanted.clone(), node: node.name.clone(), have });
            continue;
        };
        if offer.free <= 0 {
            found.push(Conflict::GpusTaken { model: offer.model.clone(), node: node.name.clone() });
            continue;
        }
        offer.free -= 1;
        let (group, kind, model) = (offer.group.clone(), offer.kind.clone(), offer.model.clone());
        plans.push(GpuPlan { group, kind, model, device });
    }
    plans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uefi_came_with_version_8() {
        for (product, has) in [
            ("XenServer 7.0.0", false),
            ("XCP-ng 7.6.0", false),
            ("XCP-ng 8.2.1", true),
            ("XenServer 8.4.0", true),
            ("Debian 7", true),
            ("", true),
        ] {
            assert_eq!(has_uefi(product), has, "{product:?}");
        }
    }

    #[test]
    fn addresses_of_pci_devices() {
        for (address, valid) in [
            ("0000:04:00.0", true),
            ("abcd:ef:1f.7", true),
            ("04:00.0", false),
            ("0000:04.00:0", false),
            ("0000:04:00.g", false),
            ("0000:04:00.0,1", false),
            ("", false),
        ] {
            assert_eq!(is_pci(address), valid, "{address}");
        }
    }
}
