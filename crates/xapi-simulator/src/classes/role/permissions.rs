//! What the roles permit, beside the least role that each message names.

use xenapi_types::meta::{MessageMeta, Role};

use crate::schema::Schema;

use super::reference;

/// What else than a public message a permission can be for: a path of the HTTP server, or somebody else's task.
const OTHERS: &[(Role, &[&str])] = &[
    (
        Role::PoolAdmin,
        &[
            "host.create",
            "http/connect_remotecmd",
            "http/get_config_sync",
            "http/get_enabled_repository",
            "http/get_host_backup",
            "http/get_pool_xml_db_sync",
            "http/get_services",
            "http/get_services_sm",
            "http/get_services_xenops",
            "http/host_rrd",
            "http/post_remote_db_access",
            "http/post_remote_db_access_v2",
            "http/post_services",
            "http/post_services_sm",
            "http/post_services_xenops",
            "http/put_host_restore",
            "http/put_services",
            "http/put_services_sm",
            "http/put_services_xenops",
            "http/rrd",
            "http/sr_rrd",
            "http/vm_rrd",
        ],
    ),
    (
        Role::PoolOperator,
        &[
            "http/get_host_logs_download",
            "http/get_host_updates",
            "http/get_system_status",
            "http/get_updates",
            "http/put_bundle",
            "http/put_pool_patch_upload",
            "task.destroy/any",
        ],
    ),
    (Role::VmPowerAdmin, &["http/put_blob", "http/put_messages"]),
    (
        Role::VmAdmin,
        &[
            "http/get_export",
            "http/get_export_metadata",
            "http/get_export_raw_vdi",
            "http/put_import",
            "http/put_import_metadata",
            "http/put_import_raw_vdi",
        ],
    ),
    (Role::VmOperator, &["http/connect_console", "http/connect_console_ws", "http/get_vncsnapshot"]),
    (
        Role::ReadOnly,
        &[
            "http/get_audit_log",
            "http/get_blob",
            "http/get_host_rrds",
            "http/get_pool_update_download",
            "http/get_root",
            "http/get_vm_rrds",
            "http/get_wlb_diagnostics",
            "http/get_wlb_report",
            "http/post_RPC2",
            "http/post_cli",
            "http/post_json",
            "http/post_json_options",
            "http/post_jsonrpc",
            "http/post_jsonrpc_options",
            "http/post_root",
            "http/post_root_options",
            "http/rrd_updates",
        ],
    ),
];

/// Keys of `other_config` that somebody may set who may not set the others: these, of the classes.
const KEYS: &[(&str, &[&str])] = &[
    ("folder", &["SR", "VDI", "VM", "host", "network", "pool"]),
    ("XenCenter.CustomFields.*", &["SR", "VDI", "VM", "host", "network", "pool"]),
    ("XenCenterCreateInProgress", &["network"]),
    ("EMPTY_FOLDERS", &["pool"]),
    ("applies_to", &["task"]),
];

/// Permissions of `pool-admin` in the recordings that are for none of the server's public messages: only the digests
/// of their names are known.
const NAMELESS: &[&str] = &[
    "136dc56c-fb71-d27a-6436-6c7a37831d3b",
    "1a4ff847-6d68-0713-974b-445f91e25058",
    "7a7b22ac-e5d5-cea0-a320-857896f593e4",
    "95099189-9466-a620-d7d1-455aa85aa89f",
    "96052543-180c-6280-5b15-f2cc3cc4b089",
    "99c79946-08cd-0d82-4b79-373e5ad6bfff",
    "a77f9ed8-e7f7-95ba-6c12-c799c76ade5d",
    "ab350a94-3042-f6fe-fcdc-d75b304753a4",
    "b00e5fe9-52f7-ad46-52e8-388faa61c2a3",
    "cf5ebd57-f857-4103-9e7d-9d260d88ae56",
    "eaf5e80c-79cc-aed7-f41c-23ea41568a39",
    "ebfb160d-b269-e2cd-e530-e1422739fdd4",
    "f64ba22a-a70a-57da-34a6-adde7f50b686",
    "f6d2378d-a45b-bb77-a6d6-488805be984a",
];

/// Messages for the pool's own hosts and its storage manager: no role may call them, only the superuser of a host.
const ROOT_ONLY: &[&str] = &[
    "Cluster_host.forget",
    "SR.set_physical_utilisation",
    "SR.set_virtual_allocation",
    "VDI.db_forget",
    "VDI.db_introduce",
    "VDI.set_cbt_enabled",
    "VDI.set_is_a_snapshot",
    "VDI.set_managed",
    "VDI.set_metadata_of_pool",
    "VDI.set_missing",
    "VDI.set_physical_utilisation",
    "VDI.set_snapshot_of",
    "VDI.set_snapshot_time",
    "VDI.set_virtual_size",
    "VGPU.atomic_set_resident_on",
    "VM.atomic_set_resident_on",
    "VM.hard_reboot_internal",
    "VM.set_NVRAM_EFI_variables",
    "VMPP.create_alert",
    "VMPP.set_is_archive_running",
    "VMPP.set_is_backup_running",
    "VTPM.get_contents",
    "VTPM.set_contents",
    "host.abort_new_master",
    "host.attach_static_vdis",
    "host.cert_distrib_atom",
    "host.certificate_list",
    "host.certificate_sync",
    "host.cleanup_pool_secret",
    "host.commit_new_master",
    "host.crl_install",
    "host.crl_list",
    "host.crl_uninstall",
    "host.detach_static_vdis",
    "host.disable_binary_storage",
    "host.enable_binary_storage",
    "host.get_uncooperative_domains",
    "host.ha_disable_failover_decisions",
    "host.ha_disarm_fencing",
    "host.ha_join_liveset",
    "host.ha_release_resources",
    "host.ha_stop_daemon",
    "host.ha_wait_for_shutdown_via_statefile",
    "host.install_ca_certificate",
    "host.local_assert_healthy",
    "host.notify",
    "host.notify_accept_new_pool_secret",
    "host.notify_send_new_pool_secret",
    "host.preconfigure_ha",
    "host.prepare_for_poweroff",
    "host.propose_new_master",
    "host.request_backup",
    "host.request_config_file_sync",
    "host.set_license_params",
    "host.set_localdb_key",
    "host.signal_networking_change",
    "host.tickle_heartbeat",
    "host.uninstall_ca_certificate",
    "host.update_master",
    "host.update_pool_secret",
    "host.write_uefi_certificates_to_disk",
    "pool.ha_schedule_plan_recomputation",
];

/// Whether a role may call a message.
pub(super) fn has(role: Role, message: &MessageMeta) -> bool {
    message.role.is_some_and(|least| role <= least) && !ROOT_ONLY.contains(&message.method.as_str())
}

/// The permissions that a role has, by reference.
pub(super) fn of(schema: &Schema, role: Role) -> Vec<String> {
    let messages = schema.messages().filter(|message| has(role, message));
    let messages = messages.map(|message| reference(&message.method));
    let others = OTHERS.iter().filter(|(least, _)| role <= *least);
    let others = others.flat_map(|(_, names)| names.iter().map(|name| reference(name)));
    let keys = KEYS.iter().filter(|_| role <= Role::VmOperator).flat_map(|(key, classes)| {
        let verbs = classes.iter().flat_map(|class| ["add_to", "remove_from"].map(|verb| (class, verb)));
        verbs.map(move |(class, verb)| reference(&format!("{class}.{verb}_other_config/key:{key}")))
    });
    let nameless = NAMELESS.iter().filter(|_| role == Role::PoolAdmin);
    let nameless = nameless.map(|digest| format!("OpaqueRef:{digest}"));
    messages.chain(others).chain(keys).chain(nameless).collect()
}
