//! Which fields are two ends of one relation.

/// A field holding one reference and the set on the other class that mirrors it.
pub(super) struct OneToMany {
    pub(super) class: &'static str,
    pub(super) field: &'static str,
    pub(super) other: &'static str,
    pub(super) set: &'static str,
}

/// Two sets that mirror each other.
pub(super) struct ManyToMany {
    pub(super) left: (&'static str, &'static str),
    pub(super) right: (&'static str, &'static str),
}

const fn one(class: &'static str, field: &'static str, other: &'static str, set: &'static str) -> OneToMany {
    OneToMany { class, field, other, set }
}

/// The left side is stored where it is written, the right side follows.
pub(super) const ONE_TO_MANY: &[OneToMany] = &[
    one("Bond", "master", "PIF", "bond_master_of"),
    one("Certificate", "host", "host", "certificates"),
    one("Cluster_host", "cluster", "Cluster", "cluster_hosts"),
    one("Driver_variant", "driver", "Host_driver", "variants"),
    one("Feature", "host", "host", "features"),
    one("PBD", "SR", "SR", "PBDs"),
    one("PBD", "host", "host", "PBDs"),
    one("PCI", "host", "host", "PCIs"),
    one("PGPU", "GPU_group", "GPU_group", "PGPUs"),
    one("PGPU", "host", "host", "PGPUs"),
    one("PIF", "bond_slave_of", "Bond", "slaves"),
    one("PIF", "host", "host", "PIFs"),
    one("PIF", "network", "network", "PIFs"),
    one("PUSB", "USB_group", "USB_group", "PUSBs"),
    one("PUSB", "host", "host", "PUSBs"),
    one("PVS_cache_storage", "site", "PVS_site", "cache_storage"),
    one("PVS_proxy", "site", "PVS_site", "proxies"),
    one("PVS_server", "site", "PVS_site", "servers"),
    one("SR", "introduced_by", "DR_task", "introduced_SRs"),
    one("VBD", "VDI", "VDI", "VBDs"),
    one("VBD", "VM", "VM", "VBDs"),
    one("VDI", "SR", "SR", "VDIs"),
    one("VDI", "snapshot_of", "VDI", "snapshots"),
    one("VGPU", "GPU_group", "GPU_group", "VGPUs"),
    one("VGPU", "VM", "VM", "VGPUs"),
    one("VGPU", "resident_on", "PGPU", "resident_VGPUs"),
    one("VGPU", "type", "VGPU_type", "VGPUs"),
    one("VIF", "VM", "VM", "VIFs"),
    one("VIF", "network", "network", "VIFs"),
    one("VLAN", "tagged_PIF", "PIF", "VLAN_slave_of"),
    one("VM", "appliance", "VM_appliance", "VMs"),
    one("VM", "parent", "VM", "children"),
    one("VM", "protection_policy", "VMPP", "VMs"),
    one("VM", "resident_on", "host", "resident_VMs"),
    one("VM", "snapshot_of", "VM", "snapshots"),
    one("VM", "snapshot_schedule", "VMSS", "VMs"),
    one("VTPM", "VM", "VM", "VTPMs"),
    one("VUSB", "USB_group", "USB_group", "VUSBs"),
    one("VUSB", "VM", "VM", "VUSBs"),
    one("console", "VM", "VM", "consoles"),
    one("crashdump", "VDI", "VDI", "crash_dumps"),
    one("crashdump", "VM", "VM", "crash_dumps"),
    one("host_cpu", "host", "host", "host_CPUs"),
    one("host_crashdump", "host", "host", "crashdumps"),
    one("host_patch", "host", "host", "patches"),
    one("host_patch", "pool_patch", "pool_patch", "host_patches"),
    one("network_sriov", "logical_PIF", "PIF", "sriov_logical_PIF_of"),
    one("network_sriov", "physical_PIF", "PIF", "sriov_physical_PIF_of"),
    one("session", "parent", "session", "children"),
    one("task", "session", "session", "tasks"),
    one("task", "subtask_of", "task", "subtasks"),
    one("tunnel", "access_PIF", "PIF", "tunnel_access_PIF_of"),
    one("tunnel", "transport_PIF", "PIF", "tunnel_transport_PIF_of"),
];

pub(super) const MANY_TO_MANY: &[ManyToMany] = &[
    ManyToMany { left: ("VM", "groups"), right: ("VM_group", "VMs") },
    ManyToMany { left: ("PGPU", "enabled_VGPU_types"), right: ("VGPU_type", "enabled_on_PGPUs") },
    ManyToMany { left: ("PGPU", "supported_VGPU_types"), right: ("VGPU_type", "supported_on_PGPUs") },
    ManyToMany { left: ("host", "updates"), right: ("pool_update", "hosts") },
    ManyToMany { left: ("Caller", "rate_limit"), right: ("Rate_limit", "callers") },
];
