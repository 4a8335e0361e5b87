//! `host`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `host`.
        class Host is Listed Labelled;
        /// The record of a `host`, as `get_record` returns it.
        "host" HostRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, read-write.
            1 "name_label" name_label: String;
            /// `string`, read-write.
            2 "name_description" name_description: String;
            /// `int`, read-only.
            3 "memory_overhead" memory_overhead: i64;
            /// `enum host_allowed_operations set`, read-only.
            4 "allowed_operations" allowed_operations: Vec<HostAllowedOperations>;
            /// `(string -> enum host_allowed_operations) map`, read-only.
            5 "current_operations" current_operations: BTreeMap<String, HostAllowedOperations>;
            /// `int`, read-only.
            6 "API_version_major" api_version_major: i64;
            /// `int`, read-only.
            7 "API_version_minor" api_version_minor: i64;
            /// `string`, read-only.
            8 "API_version_vendor" api_version_vendor: String;
            /// `(string -> string) map`, read-only.
            9 "API_version_vendor_implementation" api_version_vendor_implementation: BTreeMap<String, String>;
            /// `bool`, read-only.
            10 "enabled" enabled: bool;
            /// `(string -> string) map`, set by `create` only.
            11 "software_version" software_version: BTreeMap<String, String>;
            /// `(string -> string) map`, read-write.
            12 "other_config" other_config: BTreeMap<String, String>;
            /// `string set`, set by `create` only.
            13 "capabilities" capabilities: Vec<String>;
            /// `(string -> string) map`, read-only.
            14 "cpu_configuration" cpu_configuration: BTreeMap<String, String>;
            /// `string`, read-only.
            15 "sched_policy" sched_policy: String;
            /// `string set`, read-only.
            16 "supported_bootloaders" supported_bootloaders: Vec<String>;
            /// `VM ref set`, read-only.
            17 "resident_VMs" resident_vms: Vec<Ref<Vm>>;
            /// `(string -> string) map`, read-write.
            18 "logging" logging: BTreeMap<String, String>;
            /// `PIF ref set`, read-only.
            19 "PIFs" pifs: Vec<Ref<Pif>>;
            /// `SR ref`, read-write.
            20 "suspend_image_sr" suspend_image_sr: Ref<Sr>;
            /// `SR ref`, read-write.
            21 "crash_dump_sr" crash_dump_sr: Ref<Sr>;
            /// `host_crashdump ref set`, read-only.
            22 "crashdumps" crashdumps: Vec<Ref<HostCrashdump>>;
            /// `host_patch ref set`, read-only. Deprecated since XenServer 7.1 (ely).
            23 "patches" patches: Vec<Ref<HostPatch>>;
            /// `pool_update ref set`, read-only. Since XenServer 7.1 (ely).
            24 "updates" updates: Vec<Ref<PoolUpdate>>;
            /// `PBD ref set`, read-only.
            25 "PBDs" pbds: Vec<Ref<Pbd>>;
            /// `host_cpu ref set`, read-only.
            26 "host_CPUs" host_cpus: Vec<Ref<HostCpu>>;
            /// `(string -> string) map`, read-only. Since XenServer 5.6 (midnight-ride).
            27 "cpu_info" cpu_info: BTreeMap<String, String>;
            /// `string`, read-write.
            28 "hostname" hostname: String;
            /// `string`, read-write.
            29 "address" address: String;
            /// `host_metrics ref`, read-only.
            30 "metrics" metrics: Ref<HostMetrics>;
            /// `(string -> string) map`, read-only.
            31 "license_params" license_params: BTreeMap<String, String>;
            /// `string set`, read-only. Since XenServer 5.0 (orlando).
            32 "ha_statefiles" ha_statefiles: Vec<String>;
            /// `string set`, read-only. Since XenServer 5.0 (orlando).
            33 "ha_network_peers" ha_network_peers: Vec<String>;
            /// `(string -> blob ref) map`, read-only. Since XenServer 5.0 (orlando).
            34 "blobs" blobs: BTreeMap<String, Ref<Blob>>;
            /// `string set`, read-write. Since XenServer 5.0 (orlando).
            35 "tags" tags: Vec<String>;
            /// `string`, read-only. Since XenServer 5.5 (george).
            36 "external_auth_type" external_auth_type: String;
            /// `string`, read-only. Since XenServer 5.5 (george).
            37 "external_auth_service_name" external_auth_service_name: String;
            /// `(string -> string) map`, read-only. Since XenServer 5.5 (george).
            38 "external_auth_configuration" external_auth_configuration: BTreeMap<String, String>;
            /// `string`, read-only. Since XenServer 5.6 (midnight-ride).
            39 "edition" edition: String;
            /// `(string -> string) map`, read-write. Since XenServer 5.6 (midnight-ride).
            40 "license_server" license_server: BTreeMap<String, String> = BTreeMap::from([("address".into(), "localhost".into()), ("port".into(), "27000".into())]);
            /// `(string -> string) map`, read-only. Since XenServer 5.6 (midnight-ride).
            41 "bios_strings" bios_strings: BTreeMap<String, String>;
            /// `string`, read-only. Since XenServer 5.6 (midnight-ride).
            42 "power_on_mode" power_on_mode: String;
            /// `(string -> string) map`, read-only. Since XenServer 5.6 (midnight-ride).
            43 "power_on_config" power_on_config: BTreeMap<String, String>;
            /// `SR ref`, set by `create` only. Since XenServer 5.6 FP1 (cowley).
            44 "local_cache_sr" local_cache_sr: Ref<Sr>;
            /// `(string -> string) map`, read-only. Since XenServer 6.0 (boston).
            45 "chipset_info" chipset_info: BTreeMap<String, String>;
            /// `PCI ref set`, read-only. Since XenServer 6.0 (boston).
            46 "PCIs" pcis: Vec<Ref<Pci>>;
            /// `PGPU ref set`, read-only. Since XenServer 6.0 (boston).
            47 "PGPUs" pgpus: Vec<Ref<Pgpu>>;
            /// `PUSB ref set`, read-only. Since XenServer 7.3 (inverness).
            48 "PUSBs" pusbs: Vec<Ref<Pusb>>;
            /// `bool`, set by `create` only. Since XenServer 7.0 (dundee). Deprecated since Citrix
            /// Hypervisor 8.2 (stockholm).
            49 "ssl_legacy" ssl_legacy: bool = true;
            /// `(string -> string) map`, read-write. Since XenServer 6.1 (tampa).
            50 "guest_VCPUs_params" guest_vcpus_params: BTreeMap<String, String>;
            /// `enum host_display`, read-write. Since XenServer 6.5 SP1 (cream).
            51 "display" display: HostDisplay = HostDisplay::Enabled;
            /// `int set`, read-only. Since XenServer 6.5 SP1 (cream).
            52 "virtual_hardware_platform_versions" virtual_hardware_platform_versions: Vec<i64> = vec![Default::default()];
            /// `VM ref`, read-only. Since XenServer 7.1 (ely).
            53 "control_domain" control_domain: Ref<Vm>;
            /// `pool_update ref set`, read-only. Since XenServer 7.1 (ely).
            54 "updates_requiring_reboot" updates_requiring_reboot: Vec<Ref<PoolUpdate>>;
            /// `Feature ref set`, read-only. Since XenServer 7.2 (falcon).
            55 "features" features: Vec<Ref<Feature>>;
            /// `string`, set by `create` only. Since XenServer 7.5 (kolkata).
            56 "iscsi_iqn" iscsi_iqn: String;
            /// `bool`, set by `create` only. Since XenServer 7.5 (kolkata).
            57 "multipathing" multipathing: bool;
            /// `string`, set by `create` only. Since Citrix Hypervisor 8.1 (quebec). Deprecated
            /// since XAPI 22.16.0.
            58 "uefi_certificates" uefi_certificates: String;
            /// `Certificate ref set`, read-only. Since Citrix Hypervisor 8.2 (stockholm).
            59 "certificates" certificates: Vec<Ref<Certificate>>;
            /// `string set`, read-only. Since Citrix Hypervisor 8.2 (stockholm).
            60 "editions" editions: Vec<String>;
            /// `enum update_guidances set`, read-only. Since XAPI 1.303.0.
            61 "pending_guidances" [opt] pending_guidances: Option<Vec<UpdateGuidances>>;
            /// `bool`, read-only. Since XAPI 1.313.0.
            62 "tls_verification_enabled" [opt] tls_verification_enabled: Option<bool>;
            /// `datetime`, read-only. Since XAPI 22.20.0. Prototype: may change.
            63 "last_software_update" [opt] last_software_update: Option<DateTime>;
            /// `bool`, read-only. Since XAPI 22.27.0. Prototype: may change.
            64 "https_only" [opt] https_only: Option<bool>;
            /// `enum latest_synced_updates_applied_state`, read-only. Since XAPI 23.18.0.
            /// Prototype: may change.
            65 "latest_synced_updates_applied" [opt] latest_synced_updates_applied: Option<LatestSyncedUpdatesAppliedState>;
            /// `enum host_numa_affinity_policy`, read-only. Since XAPI 24.0.0. Prototype: may
            /// change.
            66 "numa_affinity_policy" [opt] numa_affinity_policy: Option<HostNumaAffinityPolicy>;
            /// `enum update_guidances set`, read-only. Since XAPI 24.10.0. Prototype: may change.
            67 "pending_guidances_recommended" [opt] pending_guidances_recommended: Option<Vec<UpdateGuidances>>;
            /// `enum update_guidances set`, read-only. Since XAPI 24.10.0. Prototype: may change.
            68 "pending_guidances_full" [opt] pending_guidances_full: Option<Vec<UpdateGuidances>>;
            /// `string`, read-only. Since XAPI 24.10.0. Prototype: may change.
            69 "last_update_hash" [opt] last_update_hash: Option<String>;
            /// `bool`, read-only. Since XAPI 25.21.0.
            70 "ssh_enabled" [opt] ssh_enabled: Option<bool>;
            /// `int`, read-only. Since XAPI 25.21.0.
            71 "ssh_enabled_timeout" [opt] ssh_enabled_timeout: Option<i64>;
            /// `datetime`, read-only. Since XAPI 25.21.0.
            72 "ssh_expiry" [opt] ssh_expiry: Option<DateTime>;
            /// `int`, read-only. Since XAPI 25.21.0.
            73 "console_idle_timeout" [opt] console_idle_timeout: Option<i64>;
            /// `bool`, read-only. Since XAPI 25.27.0.
            74 "ssh_auto_mode" [opt] ssh_auto_mode: Option<bool>;
            /// `string`, read-only. Since XAPI 26.0.0.
            75 "max_cstate" [opt] max_cstate: Option<String>;
            /// `bool`, read-only. Since XAPI 25.31.0.
            76 "secure_boot" [opt] secure_boot: Option<bool>;
            /// `enum host_ntp_mode`, read-only. Since XAPI 26.0.0.
            77 "ntp_mode" [opt] ntp_mode: Option<HostNtpMode>;
            /// `string set`, read-only. Since XAPI 26.0.0.
            78 "ntp_custom_servers" [opt] ntp_custom_servers: Option<Vec<String>>;
            /// `string`, read-only. Since XAPI 26.0.0.
            79 "timezone" [opt] timezone: Option<String>;
        }
    }

    open_enum! {
        /// `enum host_allowed_operations`
        HostAllowedOperations {
            Provision "provision",
            Evacuate "evacuate",
            Shutdown "shutdown",
            Reboot "reboot",
            PowerOn "power_on",
            VmStart "vm_start",
            VmResume "vm_resume",
            VmMigrate "vm_migrate",
            ApplyUpdates "apply_updates",
            Enable "enable",
        }
    }

    open_enum! {
        /// `enum host_display`
        HostDisplay {
            Enabled "enabled",
            DisableOnReboot "disable_on_reboot",
            Disabled "disabled",
            EnableOnReboot "enable_on_reboot",
        }
    }

    open_enum! {
        /// `enum host_ntp_mode`
        HostNtpMode {
            Dhcp "DHCP",
            Custom "Custom",
            Factory "Factory",
            Disabled "Disabled",
        }
    }

    open_enum! {
        /// `enum host_numa_affinity_policy`
        HostNumaAffinityPolicy {
            Any "any",
            BestEffort "best_effort",
            DefaultPolicy "default_policy",
        }
    }

    open_enum! {
        /// `enum host_sched_gran`
        HostSchedGran {
            Core "core",
            Cpu "cpu",
            Socket "socket",
        }
    }

    open_enum! {
        /// `enum latest_synced_updates_applied_state`
        LatestSyncedUpdatesAppliedState {
            Yes "yes",
            No "no",
            NotKnown "unknown",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `host.emergency_clear_mandatory_guidance`, returns `void`. Since XAPI 24.10.0. Prototype:
    /// may change.
    "host.emergency_clear_mandatory_guidance" EmergencyClearMandatoryGuidance [no_async] -> () {
    }
}

call! {
    /// `host.apply_recommended_guidances`, returns `void`. Since XAPI 23.18.0. Removed in XAPI
    /// 23.25.0. Least role: pool-operator.
    "host.apply_recommended_guidances" ApplyRecommendedGuidances -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.set_https_only`, returns `void`. Since XAPI 22.27.0. Prototype: may change. Least
    /// role: pool-operator.
    "host.set_https_only" SetHttpsOnly -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `host.apply_updates`, returns `string set set`. Since XAPI 1.301.0. Least role: client-cert.
    "host.apply_updates" ApplyUpdates -> Vec<Vec<String>> {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        hash: String,
    }
}

call! {
    /// `host.emergency_reenable_tls_verification`, returns `void`. Since XAPI 1.298.0.
    "host.emergency_reenable_tls_verification" EmergencyReenableTlsVerification [no_async] -> () {
    }
}

call! {
    /// `host.emergency_disable_tls_verification`, returns `void`. Since XAPI 1.290.0.
    "host.emergency_disable_tls_verification" EmergencyDisableTlsVerification [no_async] -> () {
    }
}

call! {
    /// `host.set_numa_affinity_policy`, returns `void`. Since XAPI 24.0.0. Prototype: may change.
    /// Least role: pool-admin.
    "host.set_numa_affinity_policy" SetNumaAffinityPolicy -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `enum host_numa_affinity_policy`
        value: HostNumaAffinityPolicy,
    }
}

call! {
    /// `host.get_sched_gran`, returns `enum host_sched_gran`. Since XAPI 1.271.0.
    "host.get_sched_gran" GetSchedGran -> HostSchedGran {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.set_sched_gran`, returns `void`. Since XAPI 1.271.0.
    "host.set_sched_gran" SetSchedGran -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `enum host_sched_gran`
        value: HostSchedGran,
    }
}

call! {
    /// `host.set_uefi_certificates`, returns `void`. Since Citrix Hypervisor 8.1 (quebec).
    /// Deprecated since XAPI 22.16.0.
    "host.set_uefi_certificates" SetUefiCertificates -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        value: String,
    }
}

call! {
    /// `host.set_multipathing`, returns `void`. Since XenServer 7.5 (kolkata). Least role:
    /// pool-operator.
    "host.set_multipathing" SetMultipathing -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `host.set_iscsi_iqn`, returns `void`. Since XenServer 7.5 (kolkata). Least role:
    /// pool-operator.
    "host.set_iscsi_iqn" SetIscsiIqn -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        value: String,
    }
}

call! {
    /// `host.set_ssl_legacy`, returns `void`. Since XenServer 7.0 (dundee). Least role:
    /// pool-operator.
    "host.set_ssl_legacy" SetSslLegacy -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `host.disable_display`, returns `enum host_display`. Since XenServer 6.5 SP1 (cream). Least
    /// role: pool-operator.
    "host.disable_display" DisableDisplay -> HostDisplay {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.enable_display`, returns `enum host_display`. Since XenServer 6.5 SP1 (cream). Least
    /// role: pool-operator.
    "host.enable_display" EnableDisplay -> HostDisplay {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.declare_dead`, returns `void`. Since XenServer 6.2 (clearwater). Least role:
    /// pool-operator.
    "host.declare_dead" DeclareDead -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.migrate_receive`, returns `(string -> string) map`. Since XenServer 6.1 (tampa). Least
    /// role: vm-power-admin.
    "host.migrate_receive" MigrateReceive -> BTreeMap<String, String> {
        /// `host ref`
        host: Ref<Host>,
        /// `network ref`
        network: Ref<Network>,
        /// `(string -> string) map`
        options: BTreeMap<String, String>,
    }
}

call! {
    /// `host.disable_local_storage_caching`, returns `void`. Since XenServer 5.6 FP1 (cowley).
    /// Least role: pool-operator.
    "host.disable_local_storage_caching" DisableLocalStorageCaching [no_async] -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.enable_local_storage_caching`, returns `void`. Since XenServer 5.6 FP1 (cowley). Least
    /// role: pool-operator.
    "host.enable_local_storage_caching" EnableLocalStorageCaching [no_async] -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `SR ref`
        sr: Ref<Sr>,
    }
}

call! {
    /// `host.set_power_on_mode`, returns `void`. Since XenServer 5.6 FP1 (cowley). Least role:
    /// pool-operator.
    "host.set_power_on_mode" SetPowerOnMode -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        power_on_mode: String,
        /// `(string -> string) map`
        power_on_config: BTreeMap<String, String>,
    }
}

call! {
    /// `host.refresh_pack_info`, returns `void`. Since XenServer 5.6 (midnight-ride). Deprecated
    /// since XenServer 7.1 (ely). Least role: pool-operator.
    "host.refresh_pack_info" RefreshPackInfo -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.apply_edition`, returns `void`. Since XenServer 5.6 (midnight-ride). Least role:
    /// pool-operator.
    "host.apply_edition" ApplyEdition [no_async] -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        edition: String,
        ;
        /// `bool`, has a default on the server. Since XenServer 6.2 (clearwater).
        force: bool = Default::default(),
    }
}

call! {
    /// `host.reset_server_certificate`, returns `void`. Since XAPI 1.290.0. Least role: pool-admin.
    "host.reset_server_certificate" ResetServerCertificate -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.emergency_reset_server_certificate`, returns `void`. Since Citrix Hypervisor 8.2
    /// (stockholm).
    "host.emergency_reset_server_certificate" EmergencyResetServerCertificate [no_async] -> () {
    }
}

call! {
    /// `host.install_server_certificate`, returns `void`. Since Citrix Hypervisor 8.2 (stockholm).
    /// Least role: pool-admin.
    "host.install_server_certificate" InstallServerCertificate -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        certificate: String,
        /// `string`
        [secret] private_key: String,
        ;
        /// `string`, has a default on the server.
        certificate_chain: String = Default::default(),
    }
}

call! {
    /// `host.refresh_server_certificate`, returns `void`. Since XAPI 1.307.0. Least role:
    /// pool-admin.
    "host.refresh_server_certificate" RefreshServerCertificate -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.get_server_certificate`, returns `string`. Since XenServer 5.5 (george). Least role:
    /// read-only.
    "host.get_server_certificate" GetServerCertificate -> String {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.retrieve_wlb_evacuate_recommendations`, returns `(VM ref -> string set) map`. Since
    /// XenServer 5.5 (george). Least role: read-only.
    "host.retrieve_wlb_evacuate_recommendations" RetrieveWlbEvacuateRecommendations -> BTreeMap<Ref<Vm>, Vec<String>> {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.disable_external_auth`, returns `void`. Since XenServer 5.5 (george). Least role:
    /// pool-admin.
    "host.disable_external_auth" DisableExternalAuth [no_async] -> () {
        /// `host ref`
        host: Ref<Host>,
        ;
        /// `(string -> string) map`, has a default on the server.
        [secret] config: BTreeMap<String, String> = Default::default(),
        /// `bool`, has a default on the server. Since XAPI 26.2.0.
        force: bool = Default::default(),
    }
}

call! {
    /// `host.enable_external_auth`, returns `void`. Since XenServer 5.5 (george). Least role:
    /// pool-admin.
    "host.enable_external_auth" EnableExternalAuth [no_async] -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `(string -> string) map`
        [secret] config: BTreeMap<String, String>,
        /// `string`
        service_name: String,
        /// `string`
        auth_type: String,
    }
}

call! {
    /// `host.get_server_localtime`, returns `datetime`. Since XenServer 5.6 FP1 (cowley). Least
    /// role: read-only.
    "host.get_server_localtime" GetServerLocaltime [no_async] -> DateTime {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.get_servertime`, returns `datetime`. Since XenServer 5.0 (orlando). Least role:
    /// read-only.
    "host.get_servertime" GetServertime [no_async] -> DateTime {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.call_extension`, returns `string`. Since XenServer 7.1 (ely). Least role: pool-admin.
    "host.call_extension" CallExtension [no_async] -> String {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        call: String,
    }
}

call! {
    /// `host.has_extension`, returns `bool`. Since XenServer 7.1 (ely). Least role: pool-admin.
    "host.has_extension" HasExtension -> bool {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        name: String,
    }
}

call! {
    /// `host.call_plugin`, returns `string`. Since XenServer 5.0 (orlando). Least role: pool-admin.
    "host.call_plugin" CallPlugin -> String {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        plugin: String,
        /// `string`
        r#fn: String,
        /// `(string -> string) map`
        [secret] args: BTreeMap<String, String>,
    }
}

call! {
    /// `host.create_new_blob`, returns `blob ref`. Since XenServer 5.0 (orlando). Least role:
    /// pool-operator.
    "host.create_new_blob" CreateNewBlob -> Ref<Blob> {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        name: String,
        /// `string`
        mime_type: String,
        ;
        /// `bool`, has a default on the server. Since XenServer 6.1 (tampa).
        public: bool = Default::default(),
    }
}

call! {
    /// `host.backup_rrds`, returns `void`. Since XenServer 5.0 (orlando). Least role: pool-admin.
    "host.backup_rrds" BackupRrds [no_async] -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `float`
        delay: f64,
    }
}

call! {
    /// `host.sync_data`, returns `void`. Since XenServer 5.0 (orlando). Least role: pool-admin.
    "host.sync_data" SyncData [no_async] -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.compute_memory_overhead`, returns `int`. Since XenServer 5.6 (midnight-ride). Least
    /// role: read-only.
    "host.compute_memory_overhead" ComputeMemoryOverhead -> i64 {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.compute_free_memory`, returns `int`. Since XenServer 5.0 (orlando). Least role:
    /// read-only.
    "host.compute_free_memory" ComputeFreeMemory -> i64 {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.set_hostname_live`, returns `void`. Since XenServer 4.1 (miami). Least role:
    /// pool-operator. Fails with `HOST_NAME_INVALID`, among others.
    "host.set_hostname_live" SetHostnameLive [no_async] -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        hostname: String,
    }
}

call! {
    /// `host.shutdown_agent`, returns `void`. Since XenServer 5.0 (orlando). Least role:
    /// pool-operator.
    "host.shutdown_agent" ShutdownAgent [no_async] -> () {
    }
}

call! {
    /// `host.restart_agent`, returns `void`. Least role: pool-operator.
    "host.restart_agent" RestartAgent -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.get_system_status_capabilities`, returns `string`. Since XenServer 4.1 (miami). Least
    /// role: read-only.
    "host.get_system_status_capabilities" GetSystemStatusCapabilities [no_async] -> String {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.get_management_interface`, returns `PIF ref`. Since XenServer 6.1 (tampa). Least role:
    /// pool-operator.
    "host.get_management_interface" GetManagementInterface -> Ref<Pif> {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.management_disable`, returns `void`. Since XenServer 4.1 (miami). Least role:
    /// pool-operator.
    "host.management_disable" ManagementDisable [no_async] -> () {
    }
}

call! {
    /// `host.local_management_reconfigure`, returns `void`. Since XenServer 4.1 (miami). Least
    /// role: pool-operator.
    "host.local_management_reconfigure" LocalManagementReconfigure [no_async] -> () {
        /// `string`
        interface: String,
    }
}

call! {
    /// `host.management_reconfigure`, returns `void`. Since XenServer 4.1 (miami). Least role:
    /// pool-operator.
    "host.management_reconfigure" ManagementReconfigure -> () {
        /// `PIF ref`
        pif: Ref<Pif>,
    }
}

call! {
    /// `host.syslog_reconfigure`, returns `void`. Since XenServer 4.1 (miami). Least role:
    /// pool-operator.
    "host.syslog_reconfigure" SyslogReconfigure -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.evacuate`, returns `void`. Since XenServer 4.1 (miami). Least role: client-cert.
    "host.evacuate" Evacuate -> () {
        /// `host ref`
        host: Ref<Host>,
        ;
        /// `network ref`, has a default on the server. Since XAPI 1.297.0.
        network: Ref<Network> = Default::default(),
        /// `int`, has a default on the server. Since XAPI 23.27.0.
        evacuate_batch_size: i64 = Default::default(),
    }
}

call! {
    /// `host.get_uncooperative_resident_VMs`, returns `VM ref set`. Since XenServer 5.6
    /// (midnight-ride). Deprecated since XenServer 6.1 (tampa). Least role: read-only.
    "host.get_uncooperative_resident_VMs" GetUncooperativeResidentVms -> Vec<Ref<Vm>> {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.get_vms_which_prevent_evacuation`, returns `(VM ref -> string set) map`. Since
    /// XenServer 5.0 (orlando). Least role: read-only.
    "host.get_vms_which_prevent_evacuation" GetVmsWhichPreventEvacuation -> BTreeMap<Ref<Vm>, Vec<String>> {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.assert_can_evacuate`, returns `void`. Since XenServer 4.1 (miami). Least role:
    /// pool-operator.
    "host.assert_can_evacuate" AssertCanEvacuate -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.forget_data_source_archives`, returns `void`. Since XenServer 5.0 (orlando). Least
    /// role: pool-operator.
    "host.forget_data_source_archives" ForgetDataSourceArchives [no_async] -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        data_source: String,
    }
}

call! {
    /// `host.query_data_source`, returns `float`. Since XenServer 5.0 (orlando). Least role:
    /// read-only.
    "host.query_data_source" QueryDataSource [no_async] -> f64 {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        data_source: String,
    }
}

call! {
    /// `host.record_data_source`, returns `void`. Since XenServer 5.0 (orlando). Least role:
    /// pool-operator.
    "host.record_data_source" RecordDataSource [no_async] -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        data_source: String,
    }
}

call! {
    /// `host.get_data_sources`, returns `data_source record set`. Since XenServer 5.0 (orlando).
    /// Least role: read-only.
    "host.get_data_sources" GetDataSources [no_async] -> Vec<DataSourceRecord> {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.emergency_ha_disable`, returns `void`. Since XenServer 5.0 (orlando). Least role:
    /// pool-operator.
    "host.emergency_ha_disable" EmergencyHaDisable [no_async] -> () {
        ;
        /// `bool`, has a default on the server. Since XenServer 7.1 (ely).
        soft: bool = Default::default(),
    }
}

call! {
    /// `host.power_on`, returns `void`. Since XenServer 5.0 (orlando). Least role: pool-operator.
    "host.power_on" PowerOn -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.destroy`, returns `void`. Least role: pool-operator.
    "host.destroy" Destroy -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.license_remove`, returns `void`. Since XenServer 6.5 SP1 hotfix (indigo). Least role:
    /// pool-operator.
    "host.license_remove" LicenseRemove -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.license_add`, returns `void`. Since XenServer 6.5 SP1 hotfix (indigo). Least role:
    /// pool-operator. Fails with `LICENSE_PROCESSING_ERROR`, among others.
    "host.license_add" LicenseAdd -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        contents: String,
    }
}

call! {
    /// `host.list_methods`, returns `string set`. Least role: read-only.
    "host.list_methods" ListMethods [no_async] -> Vec<String> {
    }
}

call! {
    /// `host.bugreport_upload`, returns `void`. Least role: pool-operator.
    "host.bugreport_upload" BugreportUpload -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        url: String,
        /// `(string -> string) map`
        options: BTreeMap<String, String>,
    }
}

call! {
    /// `host.send_debug_keys`, returns `void`. Least role: pool-admin.
    "host.send_debug_keys" SendDebugKeys -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        keys: String,
    }
}

call! {
    /// `host.get_log`, returns `string`. Least role: read-only.
    "host.get_log" GetLog -> String {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.dmesg_clear`, returns `string`. Least role: pool-operator.
    "host.dmesg_clear" DmesgClear -> String {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.dmesg`, returns `string`. Least role: pool-operator.
    "host.dmesg" Dmesg -> String {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.reboot`, returns `void`. Least role: pool-operator.
    "host.reboot" Reboot -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.shutdown`, returns `void`. Least role: pool-operator.
    "host.shutdown" Shutdown -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.enable`, returns `void`. Least role: client-cert.
    "host.enable" Enable -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.disable`, returns `void`. Least role: client-cert.
    "host.disable" Disable -> () {
        /// `host ref`
        host: Ref<Host>,
        ;
        /// `bool`, has a default on the server. Since XAPI 25.31.0.
        auto_enable: bool = true,
    }
}

call! {
    /// `host.enable_ssh`, returns `void`. Since XAPI 25.13.0. Least role: pool-admin.
    "host.enable_ssh" EnableSsh -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.disable_ssh`, returns `void`. Since XAPI 25.13.0. Least role: pool-admin.
    "host.disable_ssh" DisableSsh -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.set_ssh_enabled_timeout`, returns `void`. Since XAPI 25.21.0. Least role: pool-admin.
    "host.set_ssh_enabled_timeout" SetSshEnabledTimeout -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `host.set_console_idle_timeout`, returns `void`. Since XAPI 25.21.0. Least role: pool-admin.
    "host.set_console_idle_timeout" SetConsoleIdleTimeout -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `host.set_ssh_auto_mode`, returns `void`. Since XAPI 25.27.0. Least role: pool-admin.
    "host.set_ssh_auto_mode" SetSshAutoMode -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `host.set_max_cstate`, returns `void`. Since XAPI 26.0.0. Least role: pool-operator.
    "host.set_max_cstate" SetMaxCstate -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        value: String,
    }
}

call! {
    /// `host.set_ntp_mode`, returns `void`. Since XAPI 26.0.0. Least role: pool-operator.
    "host.set_ntp_mode" SetNtpMode -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `enum host_ntp_mode`
        value: HostNtpMode,
    }
}

call! {
    /// `host.set_ntp_custom_servers`, returns `void`. Since XAPI 26.0.0. Least role: pool-operator.
    "host.set_ntp_custom_servers" SetNtpCustomServers -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `string set`
        value: Vec<String>,
    }
}

call! {
    /// `host.get_ntp_servers_status`, returns `(string -> string) map`. Since XAPI 26.0.0. Least
    /// role: read-only.
    "host.get_ntp_servers_status" GetNtpServersStatus -> BTreeMap<String, String> {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.get_ntp_synchronized`, returns `bool`. Since XAPI 26.0.0. Least role: read-only.
    "host.get_ntp_synchronized" GetNtpSynchronized -> bool {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.set_timezone`, returns `void`. Since XAPI 26.0.0. Least role: pool-operator.
    "host.set_timezone" SetTimezone -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `string`
        value: String,
    }
}

call! {
    /// `host.list_timezones`, returns `string set`. Since XAPI 26.0.0. Least role: read-only.
    "host.list_timezones" ListTimezones -> Vec<String> {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.set_servertime`, returns `void`. Since XAPI 26.0.0. Least role: pool-operator.
    "host.set_servertime" SetServertime -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `datetime`
        value: DateTime,
    }
}

call! {
    /// `host.external_auth_set_ldaps`, returns `void`. Least role: pool-admin.
    "host.external_auth_set_ldaps" ExternalAuthSetLdaps [no_async] -> () {
        /// `host ref`
        host: Ref<Host>,
        /// `bool`
        ldaps: bool,
        ;
        /// `bool`, has a default on the server.
        force: bool = Default::default(),
    }
}

call! {
    /// `host.rescan_drivers`, returns `void`. Since XAPI 25.2.0. Least role: pool-admin.
    "host.rescan_drivers" RescanDrivers -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `host.get_tracked_user_agents`, returns `(string -> string) map`. Since XAPI 25.34.0. Least
    /// role: read-only.
    "host.get_tracked_user_agents" GetTrackedUserAgents -> BTreeMap<String, String> {
        /// `host ref`
        host: Ref<Host>,
    }
}

/// Names of the fields of `host`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Host;
        ro UUID "uuid" String;
        rw NAME_LABEL "name_label" String;
        rw NAME_DESCRIPTION "name_description" String;
        ro MEMORY_OVERHEAD "memory_overhead" i64;
        ro ALLOWED_OPERATIONS "allowed_operations" Vec<HostAllowedOperations>;
        ro CURRENT_OPERATIONS "current_operations" BTreeMap<String, HostAllowedOperations>;
        ro API_VERSION_MAJOR "API_version_major" i64;
        ro API_VERSION_MINOR "API_version_minor" i64;
        ro API_VERSION_VENDOR "API_version_vendor" String;
        ro API_VERSION_VENDOR_IMPLEMENTATION "API_version_vendor_implementation" BTreeMap<String, String>;
        ro ENABLED "enabled" bool;
        ro SOFTWARE_VERSION "software_version" BTreeMap<String, String>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro CAPABILITIES "capabilities" Vec<String>;
        ro CPU_CONFIGURATION "cpu_configuration" BTreeMap<String, String>;
        ro SCHED_POLICY "sched_policy" String;
        ro SUPPORTED_BOOTLOADERS "supported_bootloaders" Vec<String>;
        ro RESIDENT_VMS "resident_VMs" Vec<Ref<Vm>>;
        rw LOGGING "logging" BTreeMap<String, String>;
        ro PIFS "PIFs" Vec<Ref<Pif>>;
        rw SUSPEND_IMAGE_SR "suspend_image_sr" Ref<Sr>;
        rw CRASH_DUMP_SR "crash_dump_sr" Ref<Sr>;
        ro CRASHDUMPS "crashdumps" Vec<Ref<HostCrashdump>>;
        ro PATCHES "patches" Vec<Ref<HostPatch>>;
        ro UPDATES "updates" Vec<Ref<PoolUpdate>>;
        ro PBDS "PBDs" Vec<Ref<Pbd>>;
        ro HOST_CPUS "host_CPUs" Vec<Ref<HostCpu>>;
        ro CPU_INFO "cpu_info" BTreeMap<String, String>;
        rw HOSTNAME "hostname" String;
        rw ADDRESS "address" String;
        ro METRICS "metrics" Ref<HostMetrics>;
        ro LICENSE_PARAMS "license_params" BTreeMap<String, String>;
        ro HA_STATEFILES "ha_statefiles" Vec<String>;
        ro HA_NETWORK_PEERS "ha_network_peers" Vec<String>;
        ro BLOBS "blobs" BTreeMap<String, Ref<Blob>>;
        rw TAGS "tags" Vec<String>;
        ro EXTERNAL_AUTH_TYPE "external_auth_type" String;
        ro EXTERNAL_AUTH_SERVICE_NAME "external_auth_service_name" String;
        ro EXTERNAL_AUTH_CONFIGURATION "external_auth_configuration" BTreeMap<String, String>;
        ro EDITION "edition" String;
        rw LICENSE_SERVER "license_server" BTreeMap<String, String>;
        ro BIOS_STRINGS "bios_strings" BTreeMap<String, String>;
        ro POWER_ON_MODE "power_on_mode" String;
        ro POWER_ON_CONFIG "power_on_config" BTreeMap<String, String>;
        ro LOCAL_CACHE_SR "local_cache_sr" Ref<Sr>;
        ro CHIPSET_INFO "chipset_info" BTreeMap<String, String>;
        ro PCIS "PCIs" Vec<Ref<Pci>>;
        ro PGPUS "PGPUs" Vec<Ref<Pgpu>>;
        ro PUSBS "PUSBs" Vec<Ref<Pusb>>;
        ro SSL_LEGACY "ssl_legacy" bool;
        rw GUEST_VCPUS_PARAMS "guest_VCPUs_params" BTreeMap<String, String>;
        rw DISPLAY "display" HostDisplay;
        ro VIRTUAL_HARDWARE_PLATFORM_VERSIONS "virtual_hardware_platform_versions" Vec<i64>;
        ro CONTROL_DOMAIN "control_domain" Ref<Vm>;
        ro UPDATES_REQUIRING_REBOOT "updates_requiring_reboot" Vec<Ref<PoolUpdate>>;
        ro FEATURES "features" Vec<Ref<Feature>>;
        ro ISCSI_IQN "iscsi_iqn" String;
        ro MULTIPATHING "multipathing" bool;
        ro UEFI_CERTIFICATES "uefi_certificates" String;
        ro CERTIFICATES "certificates" Vec<Ref<Certificate>>;
        ro EDITIONS "editions" Vec<String>;
        ro PENDING_GUIDANCES "pending_guidances" Vec<UpdateGuidances>;
        ro TLS_VERIFICATION_ENABLED "tls_verification_enabled" bool;
        ro LAST_SOFTWARE_UPDATE "last_software_update" DateTime;
        ro HTTPS_ONLY "https_only" bool;
        ro LATEST_SYNCED_UPDATES_APPLIED "latest_synced_updates_applied" LatestSyncedUpdatesAppliedState;
        ro NUMA_AFFINITY_POLICY "numa_affinity_policy" HostNumaAffinityPolicy;
        ro PENDING_GUIDANCES_RECOMMENDED "pending_guidances_recommended" Vec<UpdateGuidances>;
        ro PENDING_GUIDANCES_FULL "pending_guidances_full" Vec<UpdateGuidances>;
        ro LAST_UPDATE_HASH "last_update_hash" String;
        ro SSH_ENABLED "ssh_enabled" bool;
        ro SSH_ENABLED_TIMEOUT "ssh_enabled_timeout" i64;
        ro SSH_EXPIRY "ssh_expiry" DateTime;
        ro CONSOLE_IDLE_TIMEOUT "console_idle_timeout" i64;
        ro SSH_AUTO_MODE "ssh_auto_mode" bool;
        ro MAX_CSTATE "max_cstate" String;
        ro SECURE_BOOT "secure_boot" bool;
        ro NTP_MODE "ntp_mode" HostNtpMode;
        ro NTP_CUSTOM_SERVERS "ntp_custom_servers" Vec<String>;
        ro TIMEZONE "timezone" String;
    }
}
