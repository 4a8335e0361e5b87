//! The datamodel as tables.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

use crate::meta::{ClassMeta, EnumMeta, ReleaseMeta};

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
        since: &[],
    },
    EnumMeta { name: "allocation_algorithm", values: &["breadth_first", "depth_first"], since: &[] },
    EnumMeta { name: "bond_mode", values: &["balance-slb", "active-backup", "lacp"], since: &[] },
    EnumMeta { name: "certificate_purpose", values: &["licensing", "ldaps"], since: &[] },
    EnumMeta {
        name: "certificate_type",
        values: &["ca", "host", "host_internal", "pinned"],
        since: &[("pinned", "24.17.0")],
    },
    EnumMeta {
        name: "cls",
        values: &["VM", "Host", "SR", "Pool", "VMPP", "VMSS", "PVS_proxy", "VDI", "Certificate"],
        since: &[("Certificate", "1.313.0"), ("PVS_proxy", "ely"), ("VMSS", "falcon")],
    },
    EnumMeta { name: "cluster_host_operation", values: &["enable", "disable", "destroy"], since: &[] },
    EnumMeta {
        name: "cluster_operation",
        values: &["add", "remove", "enable", "disable", "destroy"],
        since: &[],
    },
    EnumMeta { name: "console_protocol", values: &["vt100", "rfb", "rdp"], since: &[] },
    EnumMeta { name: "domain_type", values: &["hvm", "pv", "pv_in_pvh", "pvh", "unspecified"], since: &[] },
    EnumMeta { name: "event_operation", values: &["add", "del", "mod"], since: &[] },
    EnumMeta { name: "hello_return", values: &["ok", "unknown_host", "cannot_talk_back"], since: &[] },
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
        since: &[("apply_updates", "1.301.0")],
    },
    EnumMeta {
        name: "host_display",
        values: &["enabled", "disable_on_reboot", "disabled", "enable_on_reboot"],
        since: &[],
    },
    EnumMeta { name: "host_ntp_mode", values: &["DHCP", "Custom", "Factory", "Disabled"], since: &[] },
    EnumMeta {
        name: "host_numa_affinity_policy",
        values: &["any", "best_effort", "default_policy"],
        since: &[],
    },
    EnumMeta { name: "host_sched_gran", values: &["core", "cpu", "socket"], since: &[] },
    EnumMeta { name: "ip_configuration_mode", values: &["None", "DHCP", "Static"], since: &[] },
    EnumMeta { name: "ipv6_configuration_mode", values: &["None", "DHCP", "Static", "Autoconf"], since: &[] },
    EnumMeta { name: "latest_synced_updates_applied_state", values: &["yes", "no", "unknown"], since: &[] },
    EnumMeta {
        name: "livepatch_status",
        values: &["ok_livepatch_complete", "ok_livepatch_incomplete", "ok"],
        since: &[],
    },
    EnumMeta { name: "network_default_locking_mode", values: &["unlocked", "disabled"], since: &[] },
    EnumMeta { name: "network_operations", values: &["attaching"], since: &[] },
    EnumMeta { name: "network_purpose", values: &["nbd", "insecure_nbd"], since: &[] },
    EnumMeta { name: "on_boot", values: &["reset", "persist"], since: &[] },
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
        since: &[],
    },
    EnumMeta { name: "on_normal_exit", values: &["destroy", "restart"], since: &[] },
    EnumMeta {
        name: "on_softreboot_behavior",
        values: &["soft_reboot", "destroy", "restart", "preserve"],
        since: &[],
    },
    EnumMeta { name: "origin", values: &["remote", "bundle", "remote_pool"], since: &[] },
    EnumMeta {
        name: "pci_dom0_access",
        values: &["enabled", "disable_on_reboot", "disabled", "enable_on_reboot"],
        since: &[],
    },
    EnumMeta { name: "persistence_backend", values: &["xapi"], since: &[] },
    EnumMeta {
        name: "pgpu_dom0_access",
        values: &["enabled", "disable_on_reboot", "disabled", "enable_on_reboot"],
        since: &[],
    },
    EnumMeta { name: "pif_igmp_status", values: &["enabled", "disabled", "unknown"], since: &[] },
    EnumMeta { name: "placement_policy", values: &["anti_affinity", "normal"], since: &[] },
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
        since: &[
            ("apply_updates", "1.301.0"),
            ("cert_refresh", "1.307.0"),
            ("cluster_create", "lima"),
            ("configure_repositories", "1.301.0"),
            ("copy_primary_host_certs", "1.320.0"),
            ("exchange_ca_certificates_on_join", "1.320.0"),
            ("exchange_certificates_on_join", "1.320.0"),
            ("exchange_crls_on_join", "26.13.0"),
            ("get_updates", "1.301.0"),
            ("sync_bundle", "24.23.0"),
            ("sync_updates", "1.329.0"),
            ("tls_verification_enable", "1.290.0"),
        ],
    },
    EnumMeta {
        name: "pool_guest_secureboot_readiness",
        values: &["ready", "ready_no_dbx", "not_ready"],
        since: &[],
    },
    EnumMeta { name: "primary_address_type", values: &["IPv4", "IPv6"], since: &[] },
    EnumMeta {
        name: "pvs_proxy_status",
        values: &[
            "stopped",
            "initialised",
            "caching",
            "incompatible_write_cache_mode",
            "incompatible_protocol_version",
        ],
        since: &[],
    },
    EnumMeta { name: "sdn_controller_protocol", values: &["ssl", "pssl"], since: &[] },
    EnumMeta {
        name: "sr_health",
        values: &["healthy", "recovering", "unreachable", "unavailable"],
        since: &[("unavailable", "24.17.0"), ("unreachable", "24.17.0")],
    },
    EnumMeta {
        name: "sriov_configuration_mode",
        values: &["sysfs", "modprobe", "manual", "unknown"],
        since: &[],
    },
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
        since: &[
            ("vdi_blocked", "26.16.0"),
            ("vdi_copy", "26.16.0"),
            ("vdi_data_destroy", "inverness"),
            ("vdi_disable_cbt", "inverness"),
            ("vdi_enable_cbt", "inverness"),
            ("vdi_force_unlock", "26.16.0"),
            ("vdi_forget", "26.16.0"),
            ("vdi_generate_config", "26.16.0"),
            ("vdi_list_changed_blocks", "inverness"),
            ("vdi_resize_online", "26.16.0"),
            ("vdi_revert", "26.16.0"),
            ("vdi_update", "26.16.0"),
        ],
    },
    EnumMeta { name: "task_allowed_operations", values: &["cancel", "destroy"], since: &[] },
    EnumMeta {
        name: "task_status_type",
        values: &["pending", "success", "failure", "cancelling", "cancelled"],
        since: &[],
    },
    EnumMeta { name: "telemetry_frequency", values: &["daily", "weekly", "monthly"], since: &[] },
    EnumMeta { name: "tristate_type", values: &["yes", "no", "unspecified"], since: &[] },
    EnumMeta { name: "tunnel_protocol", values: &["gre", "vxlan"], since: &[] },
    EnumMeta {
        name: "update_after_apply_guidance",
        values: &["restartHVM", "restartPV", "restartHost", "restartXAPI"],
        since: &[],
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
        since: &[],
    },
    EnumMeta { name: "update_status", values: &["yes", "no", "unspecified"], since: &[] },
    EnumMeta { name: "update_sync_frequency", values: &["daily", "weekly"], since: &[] },
    EnumMeta { name: "vbd_mode", values: &["RO", "RW"], since: &[] },
    EnumMeta {
        name: "vbd_operations",
        values: &["attach", "eject", "insert", "plug", "unplug", "unplug_force", "pause", "unpause"],
        since: &[],
    },
    EnumMeta { name: "vbd_type", values: &["CD", "Disk", "Floppy"], since: &[] },
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
        since: &[
            ("data_destroy", "inverness"),
            ("disable_cbt", "inverness"),
            ("enable_cbt", "inverness"),
            ("list_changed_blocks", "inverness"),
            ("revert_from", "26.16.0"),
            ("revert_to", "26.16.0"),
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
        since: &[("cbt_metadata", "inverness"), ("pvs_cache", "ely")],
    },
    EnumMeta {
        name: "vgpu_type_implementation",
        values: &["passthrough", "nvidia", "nvidia_sriov", "gvt_g", "mxgpu"],
        since: &[],
    },
    EnumMeta { name: "vif_ipv4_configuration_mode", values: &["None", "Static"], since: &[] },
    EnumMeta { name: "vif_ipv6_configuration_mode", values: &["None", "Static"], since: &[] },
    EnumMeta {
        name: "vif_locking_mode",
        values: &["network_default", "locked", "unlocked", "disabled"],
        since: &[],
    },
    EnumMeta { name: "vif_operations", values: &["attach", "plug", "unplug"], since: &[] },
    EnumMeta {
        name: "vm_appliance_operation",
        values: &["start", "clean_shutdown", "hard_shutdown", "shutdown"],
        since: &[],
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
        since: &[("changing_NVRAM", "naples"), ("create_vtpm", "22.26.0"), ("sysprep", "25.24.0")],
    },
    EnumMeta { name: "vm_power_state", values: &["Halted", "Paused", "Running", "Suspended"], since: &[] },
    EnumMeta {
        name: "vm_secureboot_certificates_state",
        values: &["ok", "update_available", "update_on_boot"],
        since: &[],
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
        since: &[],
    },
    EnumMeta { name: "vm_uefi_mode", values: &["setup", "user"], since: &[] },
    EnumMeta {
        name: "vmpp_archive_frequency",
        values: &["never", "always_after_backup", "daily", "weekly"],
        since: &[],
    },
    EnumMeta { name: "vmpp_archive_target_type", values: &["none", "cifs", "nfs"], since: &[] },
    EnumMeta { name: "vmpp_backup_frequency", values: &["hourly", "daily", "weekly"], since: &[] },
    EnumMeta { name: "vmpp_backup_type", values: &["snapshot", "checkpoint"], since: &[] },
    EnumMeta { name: "vmss_frequency", values: &["hourly", "daily", "weekly"], since: &[] },
    EnumMeta { name: "vmss_type", values: &["snapshot", "checkpoint", "snapshot_with_quiesce"], since: &[] },
    EnumMeta { name: "vtpm_operations", values: &["destroy"], since: &[] },
    EnumMeta { name: "vusb_operations", values: &["attach", "plug", "unplug"], since: &[] },
];

/// The releases that have code names, the oldest first.
pub static RELEASES: &[ReleaseMeta] = &[
    ReleaseMeta { name: "rio", product: "XenServer 4.0" },
    ReleaseMeta { name: "miami", product: "XenServer 4.1" },
    ReleaseMeta { name: "symc", product: "XenServer 4.1.1" },
    ReleaseMeta { name: "orlando", product: "XenServer 5.0" },
    ReleaseMeta { name: "orlando-update-1", product: "XenServer 5.0 Update 1" },
    ReleaseMeta { name: "george", product: "XenServer 5.5" },
    ReleaseMeta { name: "midnight-ride", product: "XenServer 5.6" },
    ReleaseMeta { name: "cowley", product: "XenServer 5.6 FP1" },
    ReleaseMeta { name: "boston", product: "XenServer 6.0" },
    ReleaseMeta { name: "tampa", product: "XenServer 6.1" },
    ReleaseMeta { name: "clearwater", product: "XenServer 6.2" },
    ReleaseMeta { name: "vgpu-tech-preview", product: "XenServer 6.2 vGPU preview" },
    ReleaseMeta { name: "vgpu-productisation", product: "XenServer 6.2 SP1" },
    ReleaseMeta { name: "clearwater-felton", product: "XenServer 6.2 SP1 hotfix" },
    ReleaseMeta { name: "clearwater-whetstone", product: "XenServer 6.2 SP1 hotfix" },
    ReleaseMeta { name: "creedence", product: "XenServer 6.5" },
    ReleaseMeta { name: "cream", product: "XenServer 6.5 SP1" },
    ReleaseMeta { name: "indigo", product: "XenServer 6.5 SP1 hotfix" },
    ReleaseMeta { name: "dundee", product: "XenServer 7.0" },
    ReleaseMeta { name: "ely", product: "XenServer 7.1" },
    ReleaseMeta { name: "falcon", product: "XenServer 7.2" },
    ReleaseMeta { name: "inverness", product: "XenServer 7.3" },
    ReleaseMeta { name: "jura", product: "XenServer 7.4" },
    ReleaseMeta { name: "kolkata", product: "XenServer 7.5" },
    ReleaseMeta { name: "lima", product: "XenServer 7.6" },
    ReleaseMeta { name: "naples", product: "Citrix Hypervisor 8.0" },
    ReleaseMeta { name: "quebec", product: "Citrix Hypervisor 8.1" },
    ReleaseMeta { name: "stockholm", product: "Citrix Hypervisor 8.2" },
    ReleaseMeta { name: "stockholm_psr", product: "Citrix Hypervisor 8.2 hotfix" },
];
