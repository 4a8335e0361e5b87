//! How busy a host or an instance is, as the programs print it.

use serde_json::json;
use xenapi_driver::load::Load;

use crate::table::Table;

/// A row for all of it, with its interfaces and disks in it. What is not known is `null`.
pub fn table(name: &str, load: &Load) -> Table {
    let networks = load.networks.iter().map(|network| {
        json!({"name": network.name, "received_per_second": network.received_per_second,
            "sent_per_second": network.sent_per_second})
    });
    let disks = load.disks.iter().map(|disk| {
        json!({"name": disk.name, "read_per_second": disk.read_per_second,
            "written_per_second": disk.written_per_second})
    });
    Table::of([
        ("name", json!(name)),
        ("cpu", json!(load.cpu)),
        ("cpus", json!(load.cpus)),
        ("load_average", json!(load.load_average)),
        ("memory_total_bytes", json!(load.memory_total_bytes)),
        ("memory_free_bytes", json!(load.memory_free_bytes)),
        ("networks", networks.collect()),
        ("disks", disks.collect()),
    ])
}
