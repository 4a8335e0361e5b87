//! The PCI devices of a host, as a placement service needs them.
//!
//! XAPI lists storage, network and display controllers with their functions; what else there is in a host can be given to
//! a guest by its address all the same. Which of them are virtual functions it tells through SR-IOV networks only.

use xenapi_client::{Client, Result};
use xenapi_types::{Host, Pci, Pgpu, PgpuRecord, Pif, Ref, Vgpu, Vm, VmRecord};

use crate::inventory;

/// The driver of dom0 that keeps devices for guests, as Nova looked for it in what `lspci` lists.
const KEPT_FOR_GUESTS: &str = "pciback";

/// A PCI device of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PciDevice {
    /// Uuid of XAPI's `PCI` object.
    pub uuid: String,
    /// `0000:04:00.0`: what [`Hardware::pci`](crate::spec::Hardware::pci) wants.
    pub address: String,
    /// What it is, `Ethernet controller`.
    pub class: String,
    /// Who made it.
    pub vendor: String,
    /// Its model.
    pub device: String,
    /// The driver that it has in dom0, if one is told.
    pub driver: Option<String>,
    /// The interface that it is in dom0, `eth0`.
    pub interface: Option<String>,
    /// Addresses of the devices that have to go to the same guest: XAPI's `dependencies`.
    pub together_with: Vec<String>,
    /// How a guest gets it.
    pub offer: PciOffer,
    /// The VMs that have it, or are to have it when they start; of others, too.
    pub used_by: Vec<PciUser>,
}

/// How a guest gets a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PciOffer {
    /// By its address: dom0 keeps it for guests (driver `pciback`).
    Whole,
    /// As a virtual GPU, whole or a part: [`Hardware::gpus`](crate::spec::Hardware::gpus).
    Gpu,
    /// It should get it by no means as it is: dom0 uses it itself. It is hidden from dom0 first.
    Dom0,
    /// No driver is told: dom0 has none for it, or the host is older than XenServer 7.5, which tells none.
    Unknown,
}

/// A VM with a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct PciUser {
    /// Its uuid.
    pub vm_uuid: String,
    /// `name_label`.
    pub name: String,
    /// Whether it has it now. Else it is to have it at its next start, here if this is the host that it prefers.
    pub is_attached: bool,
}

impl PciDevice {
    /// Whether a guest can be given it by its address now.
    pub fn is_free(&self) -> bool {
        self.offer == PciOffer::Whole && self.used_by.is_empty()
    }
}

/// Those of a host, in the order of their addresses.
pub(super) async fn of(client: &Client, host: &Ref<Host>) -> Result<Vec<PciDevice>> {
    let (all, pgpus, vgpus, vms, pifs) = tokio::try_join!(
        client.all_records::<Pci>(),
        client.all_records::<Pgpu>(),
        client.all_records::<Vgpu>(),
        client.all_records::<Vm>(),
        client.all_records::<Pif>(),
    )?;
    let mut devices = Vec::new();
    for (reference, record) in all.iter().filter(|(_, device)| device.host == *host) {
        let gpu = pgpus.iter().find(|(_, gpu)| gpu.pci == *reference);
        let pif = pifs.values().find(|pif| pif.physical && pif.pci == *reference);
        let mut used_by: Vec<PciUser> =
            vms.values().filter_map(|vm| user(vm, host, reference, &record.pci_id)).collect();
        let parts = vgpus.values().filter(|part| gpu.is_some_and(|(gpu, _)| part.resident_on == *gpu));
        for part in parts {
            let Some(vm) = vms.get(&part.vm).filter(|vm| used_by.iter().all(|by| by.vm_uuid != vm.uuid))
            else {
                continue;
            };
            used_by.push(PciUser::of(vm, part.currently_attached));
        }
        used_by.sort();
        let mut together_with: Vec<String> =
            record.dependencies.iter().filter_map(|other| Some(all.get(other)?.pci_id.clone())).collect();
        together_with.sort();
        devices.push(PciDevice {
            uuid: record.uuid.clone(),
            address: record.pci_id.clone(),
            class: record.class_name.clone(),
            vendor: record.vendor_name.clone(),
            device: record.device_name.clone(),
            driver: Some(record.driver_name.clone()).filter(|driver| !driver.is_empty()),
            interface: pif.map(|pif| pif.device.clone()),
            together_with,
            offer: offer(gpu.map(|(_, gpu)| gpu), &record.driver_name, pif.is_some()),
            used_by,
        });
    }
    devices.sort_by(|a, b| (&a.address, &a.uuid).cmp(&(&b.address, &b.uuid)));
    Ok(devices)
}

fn offer(gpu: Option<&PgpuRecord>, driver: &str, is_interface: bool) -> PciOffer {
    match driver {
        // XAPI enables no type for what shows dom0's own console.
        _ if gpu.is_some_and(|gpu| !gpu.enabled_vgpu_types.is_empty()) => PciOffer::Gpu,
        KEPT_FOR_GUESTS => PciOffer::Whole,
        "" if !is_interface => PciOffer::Unknown,
        _ => PciOffer::Dom0,
    }
}

/// Whether, and how, the VM has the device.
fn user(vm: &VmRecord, host: &Ref<Host>, device: &Ref<Pci>, address: &str) -> Option<PciUser> {
    if vm.is_a_template || vm.is_a_snapshot {
        return None;
    }
    let is_attached = vm.attached_pcis.contains(device);
    let is_given = || {
        let (on, mut addresses) = inventory::given_pci(vm)?;
        (on == *host && addresses.any(|given| given == address)).then_some(())
    };
    (is_attached || is_given().is_some()).then(|| PciUser::of(vm, is_attached))
}

impl PciUser {
    fn of(vm: &VmRecord, is_attached: bool) -> Self {
        Self { vm_uuid: vm.uuid.clone(), name: vm.name_label.clone(), is_attached }
    }
}

#[cfg(test)]
mod tests {
    use xenapi_types::VgpuType;

    use super::*;

    #[test]
    fn how_a_guest_gets_it() {
        let mut gpu = PgpuRecord::default();
        assert_eq!(offer(Some(&gpu), "nouveau", false), PciOffer::Dom0, "it shows dom0's console");
        gpu.enabled_vgpu_types.push(Ref::<VgpuType>::from_uuid_bits(1));
        for (gpu, driver, is_interface, wanted) in [
            (Some(&gpu), "pciback", false, PciOffer::Gpu),
            (None, "pciback", false, PciOffer::Whole),
            (None, "ixgbe", true, PciOffer::Dom0),
            (None, "nvme", false, PciOffer::Dom0),
            (None, "", true, PciOffer::Dom0),
            (None, "", false, PciOffer::Unknown),
        ] {
            assert_eq!(offer(gpu, driver, is_interface), wanted, "{driver:?}");
        }
    }

    #[test]
    fn who_has_it() {
        let ([here, there], [device, other]) =
            ([1, 2].map(Ref::from_uuid_bits), [3, 4].map(Ref::from_uuid_bits));
        let mut vm = VmRecord::default();
        let user_of = |vm: &VmRecord| user(vm, &here, &device, "0000:04:00.0").map(|user| user.is_attached);
        assert_eq!(user_of(&vm), None);
        vm.other_config.insert("pci".to_owned(), "0/0000:03:00.0,1/0000:04:00.0".to_owned());
        assert_eq!(user_of(&vm), None, "it may start anywhere");
        vm.affinity = here.clone();
        assert_eq!(user_of(&vm), Some(false));
        (vm.resident_on, vm.attached_pcis) = (there, vec![other]);
        assert_eq!(user_of(&vm), None, "it runs elsewhere");
        (vm.resident_on, vm.attached_pcis) = (here.clone(), vec![device.clone()]);
        assert_eq!(user_of(&vm), Some(true));
        vm.is_a_snapshot = true;
        assert_eq!(user_of(&vm), None);
    }
}
