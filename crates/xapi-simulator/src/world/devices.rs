//! Devices of a host that guests can get for themselves.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::Seed;

/// The types of virtual GPUs, and how many of one there can be.
const GPU_TYPES: [(&str, u32); 2] = [("GRID large", 2), ("GRID small", 4)];

/// Gives the first host a GPU, and all interfaces the capability to be divided.
pub(super) fn add(objects: &mut Vec<Seed>) {
    let Some(host) = objects.iter().find(|seed| seed.class == "host").map(|seed| seed.reference.clone())
    else {
        return;
    };
    for pif in objects.iter_mut().filter(|seed| seed.class == "PIF") {
        pif.fields.insert("capabilities".to_owned(), json!(["sriov"]));
    }
    let reference = |n: u32| format!("OpaqueRef:00000000-0000-4000-8000-0000000000{n:02x}");
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
    seed(
        "PCI",
        1,
        json!({"host": host, "pci_id": "0000:0b:00.0", "class_name": "VGA compatible controller"}),
    );
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
