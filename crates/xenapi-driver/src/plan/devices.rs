//! The parts of a host that a guest gets for itself: whole devices, parts of GPUs and of network cards, a TPM.

use std::collections::{BTreeMap, BTreeSet};

use xenapi_types::{GpuGroup, Host, Network as NetworkClass, Ref, VgpuType};

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
    sockets(&spec.flavor, *cores_per_socket, found);
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
        found.push(Conflict::Restricted { what: "virtual TPMs", key: "restrict_vtpm" });
    }
    let locks = |nic: &Nic| matches!(nic.locking, Locking::Disabled | Locking::Locked { .. });
    for (wanted, feature, what) in [
        (*nested, "restrict_nested_virt", "nested virtualisation"),
        (spec.flavor.memory_min_mib.is_some(), "restrict_dmc", "ballooning"),
        (!gpus.is_empty(), "restrict_vgpu", "virtual GPUs"),
        (spec.nics.iter().any(locks), "restrict_vif_locking", "locking of interfaces"),
        (spec.nics.iter().any(|nic| nic.limit_kbytes.is_some()), "restrict_qos", "limits of rates (QoS)"),
    ] {
        if wanted && restriction(feature) == Some("true") {
            found.push(Conflict::Restricted { what, key: feature });
        }
    }
}

/// The virtual CPUs fill their sockets.
pub(super) fn sockets(flavor: &Flavor, cores_per_socket: Option<u32>, found: &mut Vec<Conflict>) {
    let vcpus = flavor.vcpus;
    if let Some(cores) = cores_per_socket
        && (cores == 0 || !vcpus.is_multiple_of(cores))
    {
        found.push(Conflict::Cores { vcpus, cores });
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
    pci_free(&spec.hardware.pci, &inventory.pci_taken, node, found);
    pci_there(&spec.hardware.pci, &inventory.pci_there, node, found);
    let divided = |network: &&Network| {
        inventory.functions_free.contains_key(&(network.reference.clone(), node.reference.clone()))
    };
    let is_restricted = inventory.restrictions.get("restrict_network_sriov").is_some_and(|set| set == "true");
    if is_restricted && networks.iter().any(divided) {
        found.push(Conflict::Restricted { what: "SR-IOV networks", key: "restrict_network_sriov" });
    }
    functions_free(networks.iter().copied(), &inventory.functions_free, node, found);
}

/// Nobody else has the devices.
pub(crate) fn pci_free(
    wanted: &[String],
    taken: &BTreeMap<(Ref<Host>, String), String>,
    node: &Node,
    found: &mut Vec<Conflict>,
) {
    for address in wanted {
        if let Some(vm) = taken.get(&(node.reference.clone(), address.clone())) {
            let (address, node, vm) = (address.clone(), node.name.clone(), vm.clone());
            found.push(Conflict::PciInUse { address, node, vm });
        }
    }
}

/// The host has the devices, as far as that is known: XAPI lists storage, network and display controllers, and what it lists of no
/// host may be something else that this one has.
pub(crate) fn pci_there(
    wanted: &[String],
    there: &BTreeSet<(Ref<Host>, String)>,
    node: &Node,
    found: &mut Vec<Conflict>,
) {
    for address in wanted {
        let mut hosts = there.iter().filter(|(_, listed)| listed == address).map(|(host, _)| host).peekable();
        if hosts.peek().is_some() && hosts.all(|host| *host != node.reference) {
            found.push(Conflict::NoSuchPci { address: address.clone(), node: node.name.clone() });
        }
    }
}

/// There is a virtual function for each interface on networks that are parts of network cards there.
pub(crate) fn functions_free<'a>(
    networks: impl Iterator<Item = &'a Network>,
    free: &BTreeMap<(Ref<NetworkClass>, Ref<Host>), i64>,
    node: &Node,
    found: &mut Vec<Conflict>,
) {
    let mut functions: BTreeMap<&str, (usize, i64)> = BTreeMap::new();
    for network in networks {
        let key = (network.reference.clone(), node.reference.clone());
        if let Some(free) = free.get(&key) {
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

/// A place for each virtual GPU on this host: where XAPI will put them, one after the other. It divides a physical GPU into parts of
/// one type, also among those of one guest.
pub(crate) fn gpus(
    wanted: &[String],
    offers: &[GpuOffer],
    node: &Node,
    found: &mut Vec<Conflict>,
) -> Vec<GpuPlan> {
    let mut offers: Vec<GpuOffer> =
        offers.iter().filter(|offer| offer.host == node.reference).cloned().collect();
    let mut plans = Vec::new();
    for (device, wanted) in wanted.iter().enumerate() {
        let fits = |offer: &&GpuOffer| offer.kind_uuid == *wanted || offer.model == *wanted;
        let Some(known) = offers.iter().find(fits) else {
            let mut have: Vec<String> = offers.iter().map(|offer| offer.model.clone()).collect();
            have.sort();
            have.dedup();
            found.push(Conflict::NoSuchGpu { wanted: wanted.clone(), node: node.name.clone(), have });
            continue;
        };
        let Some(chosen) = choose_gpu(offers.iter().filter(fits)) else {
            found.push(Conflict::GpusTaken { model: known.model.clone(), node: node.name.clone() });
            continue;
        };
        let GpuOffer { pgpu, group, kind, model, .. } = chosen.clone();
        for offer in offers.iter_mut().filter(|offer| offer.pgpu == pgpu) {
            offer.free = if offer.kind == kind { offer.free - 1 } else { 0 };
        }
        plans.push(GpuPlan { group, kind, model, device });
    }
    plans
}

/// One of the group that has the most of the type; which of the group's, XAPI decides.
fn choose_gpu<'a>(fit: impl Iterator<Item = &'a GpuOffer>) -> Option<&'a GpuOffer> {
    let fit: Vec<&GpuOffer> = fit.filter(|offer| offer.free > 0).collect();
    let mut groups: BTreeMap<_, i64> = BTreeMap::new();
    for offer in &fit {
        *groups.entry((&offer.group, &offer.kind)).or_default() += offer.free;
    }
    let (most, _) = groups.into_iter().max_by_key(|(_, free)| *free)?;
    let of_group = fit.into_iter().filter(|offer| (&offer.group, &offer.kind) == most);
    of_group.min_by_key(|offer| if offer.spreads { -offer.free } else { offer.free })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        Node {
            reference: Ref::from("OpaqueRef:host".to_owned()),
            uuid: String::new(),
            name: "xen1".to_owned(),
            address: String::new(),
            enabled: true,
            live: true,
            product: String::new(),
            cpus: 1,
            memory_free_bytes: 0,
        }
    }

    /// Each GPU has room for two large parts or four small ones.
    #[test]
    fn a_gpu_is_divided_into_parts_of_one_type() {
        let offers = |gpus: usize, spreads| -> Vec<GpuOffer> {
            let kinds = [("large", 2), ("small", 4)];
            let each = |gpu| {
                kinds.map(|(model, free): (&str, i64)| GpuOffer {
                    host: node().reference,
                    group: Ref::from("OpaqueRef:group".to_owned()),
                    pgpu: Ref::from(format!("OpaqueRef:{gpu}")),
                    spreads,
                    kind: Ref::from(format!("OpaqueRef:{model}")),
                    kind_uuid: String::new(),
                    model: model.to_owned(),
                    free,
                })
            };
            (0..gpus).flat_map(each).collect()
        };
        for (gpus_there, spreads, wanted, refused) in [
            (1, false, &["small"; 4][..], None),
            (1, false, &["small"; 5], Some("small")),
            (1, false, &["small", "large"], Some("large")),
            (2, false, &["small", "large"], None),
            (2, false, &["small", "small", "large", "large"], None),
            // The emptiest first: each small one has a GPU of its own.
            (2, true, &["small", "small", "large"], Some("large")),
            (2, true, &["large", "small", "small"], None),
            (3, true, &["small", "small", "large"], None),
            (2, true, &["small"; 8], None),
        ] {
            let (mut found, wanted) =
                (Vec::new(), wanted.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
            let plans = gpus(&wanted, &offers(gpus_there, spreads), &node(), &mut found);
            let told = found.iter().map(|conflict| match conflict {
                Conflict::GpusTaken { model, .. } => model.as_str(),
                other => panic!("{other}"),
            });
            assert_eq!(told.collect::<Vec<_>>(), refused.into_iter().collect::<Vec<_>>(), "{wanted:?}");
            assert_eq!(plans.len() + found.len(), wanted.len());
        }
    }

    /// XAPI lists some classes of devices only: what is listed nowhere may be there.
    #[test]
    fn a_device_of_another_host() {
        let there = |host: &str, address: &str| (Ref::from(host.to_owned()), address.to_owned());
        let there = BTreeSet::from([
            there("OpaqueRef:host", "0000:04:00.0"),
            there("OpaqueRef:other", "0000:06:00.0"),
        ]);
        for (address, missing) in [("0000:04:00.0", false), ("0000:06:00.0", true), ("0000:00:14.0", false)] {
            let mut found = Vec::new();
            pci_there(&[address.to_owned()], &there, &node(), &mut found);
            let told: Vec<String> = found.iter().map(Conflict::to_string).collect();
            assert_eq!(told.len(), usize::from(missing), "{told:?}");
            let names = |text: &String| text.contains(address) && text.contains("\"xen1\"");
            assert!(told.iter().all(names), "{told:?}");
        }
    }

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
