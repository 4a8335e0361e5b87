//! The datamodel as tables.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

use crate::meta::{ClassMeta, EnumMeta};

mod auth;
mod blob;
mod bond;
mod caller;
mod certificate;
mod cluster;
mod cluster_host;
mod console;
mod crashdump;
mod data_source;
mod diagnostics;
mod dr_task;
mod driver_variant;
mod event;
mod feature;
mod gpu_group;
mod host;
mod host_cpu;
mod host_crashdump;
mod host_driver;
mod host_metrics;
mod host_patch;
mod lvhd;
mod message;
mod network;
mod network_sriov;
mod observer;
mod pbd;
mod pci;
mod pgpu;
mod pif;
mod pif_metrics;
mod pool;
mod pool_patch;
mod pool_update;
mod probe_result;
mod pusb;
mod pvs_cache_storage;
mod pvs_proxy;
mod pvs_server;
mod pvs_site;
mod rate_limit;
mod repository;
mod role;
mod sdn_controller;
mod secret;
mod session;
mod sm;
mod sr;
mod sr_stat;
mod subject;
mod task;
mod tunnel;
mod usb_group;
mod user;
mod vbd;
mod vbd_metrics;
mod vdi;
mod vdi_nbd_server_info;
mod vgpu;
mod vgpu_type;
mod vif;
mod vif_metrics;
mod vlan;
mod vm;
mod vm_appliance;
mod vm_group;
mod vm_guest_metrics;
mod vm_metrics;
mod vmpp;
mod vmss;
mod vtpm;
mod vusb;

/// Every class.
pub static CLASSES: &[ClassMeta] = &[
    session::CLASS,
    auth::CLASS,
    subject::CLASS,
    role::CLASS,
    task::CLASS,
    event::CLASS,
    pool::CLASS,
    pool_patch::CLASS,
    pool_update::CLASS,
    vm::CLASS,
    vm_metrics::CLASS,
    vm_guest_metrics::CLASS,
    vmpp::CLASS,
    vmss::CLASS,
    vm_appliance::CLASS,
    dr_task::CLASS,
    host::CLASS,
    host_crashdump::CLASS,
    host_patch::CLASS,
    host_metrics::CLASS,
    host_cpu::CLASS,
    network::CLASS,
    vif::CLASS,
    vif_metrics::CLASS,
    pif::CLASS,
    pif_metrics::CLASS,
    bond::CLASS,
    vlan::CLASS,
    sm::CLASS,
    sr::CLASS,
    sr_stat::CLASS,
    probe_result::CLASS,
    lvhd::CLASS,
    vdi::CLASS,
    vbd::CLASS,
    vbd_metrics::CLASS,
    pbd::CLASS,
    crashdump::CLASS,
    vtpm::CLASS,
    console::CLASS,
    user::CLASS,
    data_source::CLASS,
    blob::CLASS,
    message::CLASS,
    secret::CLASS,
    tunnel::CLASS,
    network_sriov::CLASS,
    pci::CLASS,
    pgpu::CLASS,
    gpu_group::CLASS,
    vgpu::CLASS,
    vgpu_type::CLASS,
    pvs_site::CLASS,
    pvs_server::CLASS,
    pvs_proxy::CLASS,
    pvs_cache_storage::CLASS,
    feature::CLASS,
    sdn_controller::CLASS,
    vdi_nbd_server_info::CLASS,
    pusb::CLASS,
    usb_group::CLASS,
    vusb::CLASS,
    cluster::CLASS,
    cluster_host::CLASS,
    certificate::CLASS,
    repository::CLASS,
    observer::CLASS,
    diagnostics::CLASS,
    vm_group::CLASS,
    host_driver::CLASS,
    driver_variant::CLASS,
    rate_limit::CLASS,
    caller::CLASS,
];

/// Every enum, sorted by name.
pub static ENUMS: &[EnumMeta] = &[
    EnumMeta {
        name: "after_apply_guidance",
        values: &["restartHVM", "restartPV", "restartHost", "restartXAPI"],
    },
    EnumMeta { name: "allocation_algorithm", values: &["breadth_first", "depth_first"] },
    EnumMeta { name: "bond_mode", values: &["balance-slb", "active-backup", "lacp"] },
    EnumMeta { name: "certificate_purpose", values: &["licensing", "ldaps"] },
    EnumMeta { name: "certificate_type", values: &["ca", "host", "host_internal", "pinned"] },
    EnumMeta {
        name: "cls",
        values: &["VM", "Host", "SR", "Pool", "VMPP", "VMSS", "PVS_proxy", "VDI", "Certificate"],
    },
    EnumMeta { name: "cluster_host_operation", values: &["enable", "disable", "destroy"] },
    EnumMeta { name: "cluster_operation", values: &["add", "remove", "enable", "disable", "destroy"] },
    EnumMeta { name: "console_protocol", values: &["vt100", "rfb", "rdp"] },
    EnumMeta { name: "domain_type", values: &["hvm", "pv", "pv_in_pvh", "pvh", "unspecified"] },
    EnumMeta { name: "event_operation", values: &["add", "del", "mod"] },
    EnumMeta { name: "hello_return", values: &["ok", "unknown_host", "cannot_talk_back"] },
    EnumMeta {
        name: "host_allowed_operations",
        values: &[
            "provision",
            "evacuate",
            "shutdown",
            "reboot",
            "power_on",
            "vm_start",
            "vm_resume",
            "vm_migrate",
            "apply_updates",
            "enable",
        ],
    },
    EnumMeta {
        name: "host_display",
        values: &["enabled", "disable_on_reboot", "disabled", "enable_on_reboot"],
    },
    EnumMeta { name: "host_ntp_mode", values: &["DHCP", "Custom", "Factory", "Disabled"] },
    EnumMeta { name: "host_numa_affinity_policy", values: &["any", "best_effort", "default_policy"] },
    EnumMeta { name: "host_sched_gran", values: &["core", "cpu", "socket"] },
    EnumMeta { name: "ip_configuration_mode", values: &["None", "DHCP", "Static"] },
    EnumMeta { name: "ipv6_configuration_mode", values: &["None", "DHCP", "Static", "Autoconf"] },
    EnumMeta { name: "latest_synced_updates_applied_state", values: &["yes", "no", "unknown"] },
    EnumMeta {
        name: "livepatch_status",
        values: &["ok_livepatch_complete", "ok_livepatch_incomplete", "ok"],
    },
    EnumMeta { name: "network_default_locking_mode", values: &["unlocked", "disabled"] },
    EnumMeta { name: "network_operations", values: &["attaching"] },
    EnumMeta { name: "network_purpose", values: &["nbd", "insecure_nbd"] },
    EnumMeta { name: "on_boot", values: &["reset", "persist"] },
    EnumMeta {
        name: "on_crash_behaviour",
        values: &[
            "destroy",
            "coredump_and_destroy",
            "restart",
            "coredump_and_restart",
            "preserve",
            "rename_restart",
        ],
    },
    EnumMeta { name: "on_normal_exit", values: &["destroy", "restart"] },
    EnumMeta { name: "on_softreboot_behavior", values: &["soft_reboot", "destroy", "restart", "preserve"] },
    EnumMeta { name: "origin", values: &["remote", "bundle", "remote_pool"] },
    EnumMeta {
        name: "pci_dom0_access",
        values: &["enabled", "disable_on_reboot", "disabled", "enable_on_reboot"],
    },
    EnumMeta { name: "persistence_backend", values: &["xapi"] },
    EnumMeta {
        name: "pgpu_dom0_access",
        values: &["enabled", "disable_on_reboot", "disabled", "enable_on_reboot"],
    },
    EnumMeta { name: "pif_igmp_status", values: &["enabled", "disabled", "unknown"] },
    EnumMeta { name: "placement_policy", values: &["anti_affinity", "normal"] },
    EnumMeta {
        name: "pool_allowed_operations",
        values: &[
            "ha_enable",
            "ha_disable",
            "cluster_create",
            "designate_new_master",
            "configure_repositories",
            "sync_updates",
            "get_updates",
            "apply_updates",
            "tls_verification_enable",
            "cert_refresh",
            "exchange_certificates_on_join",
            "exchange_ca_certificates_on_join",
            "copy_primary_host_certs",
            "eject",
            "sync_bundle",
            "exchange_crls_on_join",
        ],
    },
    EnumMeta { name: "pool_guest_secureboot_readiness", values: &["ready", "ready_no_dbx", "not_ready"] },
    EnumMeta { name: "primary_address_type", values: &["IPv4", "IPv6"] },
    EnumMeta {
        name: "pvs_proxy_status",
        values: &[
            "stopped",
            "initialised",
            "caching",
            "incompatible_write_cache_mode",
            "incompatible_protocol_version",
        ],
    },
    EnumMeta { name: "sdn_controller_protocol", values: &["ssl", "pssl"] },
    EnumMeta { name: "sr_health", values: &["healthy", "recovering", "unreachable", "unavailable"] },
    EnumMeta { name: "sriov_configuration_mode", values: &["sysfs", "modprobe", "manual", "unknown"] },
    EnumMeta {
        name: "storage_operations",
        values: &[
            "scan",
            "destroy",
            "forget",
            "plug",
            "unplug",
            "update",
            "vdi_create",
            "vdi_introduce",
            "vdi_destroy",
            "vdi_resize",
            "vdi_clone",
            "vdi_snapshot",
            "vdi_mirror",
            "vdi_enable_cbt",
            "vdi_disable_cbt",
            "vdi_data_destroy",
            "vdi_list_changed_blocks",
            "vdi_set_on_boot",
            "pbd_create",
            "pbd_destroy",
            "vdi_revert",
            "vdi_blocked",
            "vdi_copy",
            "vdi_force_unlock",
            "vdi_forget",
            "vdi_generate_config",
            "vdi_resize_online",
            "vdi_update",
        ],
    },
    EnumMeta { name: "task_allowed_operations", values: &["cancel", "destroy"] },
    EnumMeta {
        name: "task_status_type",
        values: &["pending", "success", "failure", "cancelling", "cancelled"],
    },
    EnumMeta { name: "telemetry_frequency", values: &["daily", "weekly", "monthly"] },
    EnumMeta { name: "tristate_type", values: &["yes", "no", "unspecified"] },
    EnumMeta { name: "tunnel_protocol", values: &["gre", "vxlan"] },
    EnumMeta {
        name: "update_after_apply_guidance",
        values: &["restartHVM", "restartPV", "restartHost", "restartXAPI"],
    },
    EnumMeta {
        name: "update_guidances",
        values: &[
            "reboot_host",
            "reboot_host_on_livepatch_failure",
            "reboot_host_on_kernel_livepatch_failure",
            "reboot_host_on_xen_livepatch_failure",
            "restart_toolstack",
            "restart_device_model",
            "restart_vm",
        ],
    },
    EnumMeta { name: "update_status", values: &["yes", "no", "unspecified"] },
    EnumMeta { name: "update_sync_frequency", values: &["daily", "weekly"] },
    EnumMeta { name: "vbd_mode", values: &["RO", "RW"] },
    EnumMeta {
        name: "vbd_operations",
        values: &["attach", "eject", "insert", "plug", "unplug", "unplug_force", "pause", "unpause"],
    },
    EnumMeta { name: "vbd_type", values: &["CD", "Disk", "Floppy"] },
    EnumMeta {
        name: "vdi_operations",
        values: &[
            "clone",
            "copy",
            "resize",
            "resize_online",
            "snapshot",
            "mirror",
            "destroy",
            "forget",
            "update",
            "force_unlock",
            "generate_config",
            "enable_cbt",
            "disable_cbt",
            "data_destroy",
            "list_changed_blocks",
            "set_on_boot",
            "blocked",
            "revert_to",
            "revert_from",
        ],
    },
    EnumMeta {
        name: "vdi_type",
        values: &[
            "system",
            "user",
            "ephemeral",
            "suspend",
            "crashdump",
            "ha_statefile",
            "metadata",
            "redo_log",
            "rrd",
            "pvs_cache",
            "cbt_metadata",
        ],
    },
    EnumMeta {
        name: "vgpu_type_implementation",
        values: &["passthrough", "nvidia", "nvidia_sriov", "gvt_g", "mxgpu"],
    },
    EnumMeta { name: "vif_ipv4_configuration_mode", values: &["None", "Static"] },
    EnumMeta { name: "vif_ipv6_configuration_mode", values: &["None", "Static"] },
    EnumMeta { name: "vif_locking_mode", values: &["network_default", "locked", "unlocked", "disabled"] },
    EnumMeta { name: "vif_operations", values: &["attach", "plug", "unplug"] },
    EnumMeta {
        name: "vm_appliance_operation",
        values: &["start", "clean_shutdown", "hard_shutdown", "shutdown"],
    },
    EnumMeta {
        name: "vm_operations",
        values: &[
            "snapshot",
            "clone",
            "copy",
            "create_template",
            "revert",
            "checkpoint",
            "snapshot_with_quiesce",
            "provision",
            "start",
            "start_on",
            "pause",
            "unpause",
            "clean_shutdown",
            "clean_reboot",
            "hard_shutdown",
            "power_state_reset",
            "hard_reboot",
            "suspend",
            "csvm",
            "resume",
            "resume_on",
            "pool_migrate",
            "migrate_send",
            "get_boot_record",
            "send_sysrq",
            "send_trigger",
            "query_services",
            "shutdown",
            "call_plugin",
            "changing_memory_live",
            "awaiting_memory_live",
            "changing_dynamic_range",
            "changing_static_range",
            "changing_memory_limits",
            "changing_shadow_memory",
            "changing_shadow_memory_live",
            "changing_VCPUs",
            "changing_VCPUs_live",
            "changing_NVRAM",
            "assert_operation_valid",
            "data_source_op",
            "update_allowed_operations",
            "make_into_template",
            "import",
            "export",
            "metadata_export",
            "reverting",
            "destroy",
            "create_vtpm",
            "sysprep",
        ],
    },
    EnumMeta { name: "vm_power_state", values: &["Halted", "Paused", "Running", "Suspended"] },
    EnumMeta {
        name: "vm_secureboot_certificates_state",
        values: &["ok", "update_available", "update_on_boot"],
    },
    EnumMeta {
        name: "vm_secureboot_readiness",
        values: &[
            "not_supported",
            "disabled",
            "first_boot",
            "ready",
            "ready_no_dbx",
            "setup_mode",
            "certs_incomplete",
        ],
    },
    EnumMeta { name: "vm_uefi_mode", values: &["setup", "user"] },
    EnumMeta { name: "vmpp_archive_frequency", values: &["never", "always_after_backup", "daily", "weekly"] },
    EnumMeta { name: "vmpp_archive_target_type", values: &["none", "cifs", "nfs"] },
    EnumMeta { name: "vmpp_backup_frequency", values: &["hourly", "daily", "weekly"] },
    EnumMeta { name: "vmpp_backup_type", values: &["snapshot", "checkpoint"] },
    EnumMeta { name: "vmss_frequency", values: &["hourly", "daily", "weekly"] },
    EnumMeta { name: "vmss_type", values: &["snapshot", "checkpoint", "snapshot_with_quiesce"] },
    EnumMeta { name: "vtpm_operations", values: &["destroy"] },
    EnumMeta { name: "vusb_operations", values: &["attach", "plug", "unplug"] },
];
