//! Devices of a host that guests can get for themselves.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::Seed;

/// The types of virtual GPUs, and how many of one there can be.
const GPU_TYPES: [(&str, u32); 2] = [("GRID large", 2), ("GRID small", 4)];

/// Number, address, class, the driver that dom0 has for it, and what has to go to the same guest: a GPU, a network card
/// of dom0, one for guests, and a storage controller for guests with two functions.
const PCI: [(u32, &str, &str, &str, &[u32]); 5] = [
    (1, "0000:0b:00.0", "VGA compatible controller", "nvidia", &[]),
    (4, "0000:04:00.0", "Ethernet controller", "pciback", &[]),
    (5, "0000:02:00.0", "Ethernet controller", "ixgbe", &[]),
    (6, "0000:06:00.0", "RAID bus controller", "pciback", &[7]),
    (7, "0000:06:00.1", "RAID bus controller", "pciback", &[6]),
];

/// Gives the first host a GPU and other PCI devices, and all interfaces the capability to be divided.
pub(super) fn add(objects: &mut Vec<Seed>) {
    let Some(host) = objects.iter().find(|seed| seed.class == "host").map(|seed| seed.reference.clone())
    else {
        return;
    };
    let reference = |n: u32| format!("OpaqueRef:00000000-0000-4000-8000-0000000000{n:02x}");
    for pif in objects.iter_mut().filter(|seed| seed.class == "PIF") {
        pif.fields.insert("capabilities".to_owned(), json!(["sriov"]));
        if pif.fields.get("host") == Some(&json!(host)) && pif.fields.get("device") == Some(&json!("eth0")) {
            pif.fields.insert("PCI".to_owned(), json!(reference(5)));
        }
    }
    let mut seed = |class: &str, n: u32, fields: Json| {
        let Json::Object(fields) = fields else { return };
        let mut fields: BTreeMap<String, Json> = fields.into_iter().collect();
        fields.insert("uuid".to_owned(), json!(format!("00000000-0000-4000-9000-0000000000{n:02x}")));
        objects.push(Seed { class: class.to_owned(), reference: reference(n), fields });
    };
    let kinds: Vec<String> = (10..).zip(GPU_TYPES).map(|(n, _)| reference(n)).collect();
    let most: BTreeMap<&String, u32> =
        kinds.iter().zip(GPU_TYPES).map(|(kind, (_, most))| (kind, most)).collect();
    for (n, (model, _)) in (10..).zip(GPU_TYPES) {
        let fields = json!({"vendor_name": "Simulated", "model_name": model, "implementation": "nvidia"});
        seed("VGPU_type", n, fields);
    }
    for (n, address, class, driver, together_with) in PCI {
        let together_with: Vec<String> = together_with.iter().map(|n| reference(*n)).collect();
        let fields = json!({
            "host": host, "pci_id": address, "class_name": class, "vendor_name": "Simulated", "device_name": class,
            "driver_name": driver, "dependencies": together_with,
        });
        seed("PCI", n, fields);
    }
    seed("GPU_group", 2, json!({"name_label": "Group of simulated GPUs", "GPU_types": ["10de/0ff2"]}));
    let fields = json!({
        "PCI": reference(1),
        "GPU_group": reference(2),
        "host": host,
        "supported_VGPU_types": kinds,
        "enabled_VGPU_types": kinds,
        "supported_VGPU_max_capacities": most,
    });
    seed("PGPU", 3, fields);
}
