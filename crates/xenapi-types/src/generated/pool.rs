//! `pool`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `pool`.
        class Pool is Listed;
        /// The record of a `pool`, as `get_record` returns it.
        "pool" PoolRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, read-write.
            1 "name_label" name_label: String;
            /// `string`, read-write.
            2 "name_description" name_description: String;
            /// `host ref`, read-only.
            3 "master" master: Ref<Host>;
            /// `SR ref`, read-write.
            4 "default_SR" default_sr: Ref<Sr>;
            /// `SR ref`, read-write.
            5 "suspend_image_SR" suspend_image_sr: Ref<Sr>;
            /// `SR ref`, read-write.
            6 "crash_dump_SR" crash_dump_sr: Ref<Sr>;
            /// `(string -> string) map`, read-write.
            7 "other_config" other_config: BTreeMap<String, String>;
            /// `bool`, read-only. Since XenServer 5.0 (orlando).
            8 "ha_enabled" ha_enabled: bool;
            /// `(string -> string) map`, read-only. Since XenServer 5.0 (orlando).
            9 "ha_configuration" ha_configuration: BTreeMap<String, String>;
            /// `string set`, read-only. Since XenServer 5.0 (orlando).
            10 "ha_statefiles" ha_statefiles: Vec<String>;
            /// `int`, read-only. Since XenServer 5.0 (orlando).
            11 "ha_host_failures_to_tolerate" ha_host_failures_to_tolerate: i64;
            /// `int`, read-only. Since XenServer 5.0 (orlando).
            12 "ha_plan_exists_for" ha_plan_exists_for: i64;
            /// `bool`, read-write. Since XenServer 5.0 (orlando).
            13 "ha_allow_overcommit" ha_allow_overcommit: bool;
            /// `bool`, read-only. Since XenServer 5.0 (orlando).
            14 "ha_overcommitted" ha_overcommitted: bool;
            /// `(string -> blob ref) map`, read-only. Since XenServer 5.0 (orlando).
            15 "blobs" blobs: BTreeMap<String, Ref<Blob>>;
            /// `string set`, read-write. Since XenServer 5.0 (orlando).
            16 "tags" tags: Vec<String>;
            /// `(string -> string) map`, read-write. Since XenServer 5.0 (orlando).
            17 "gui_config" gui_config: BTreeMap<String, String>;
            /// `(string -> string) map`, read-write. Since XenServer 7.0 (dundee).
            18 "health_check_config" health_check_config: BTreeMap<String, String>;
            /// `string`, read-only. Since XenServer 5.5 (george).
            19 "wlb_url" wlb_url: String;
            /// `string`, read-only. Since XenServer 5.5 (george).
            20 "wlb_username" wlb_username: String;
            /// `bool`, read-write. Since XenServer 5.5 (george).
            21 "wlb_enabled" wlb_enabled: bool;
            /// `bool`, read-write. Since XenServer 5.5 (george). Deprecated since XAPI 1.290.0.
            22 "wlb_verify_cert" wlb_verify_cert: bool;
            /// `bool`, read-only. Since XenServer 5.6 (midnight-ride).
            23 "redo_log_enabled" redo_log_enabled: bool;
            /// `VDI ref`, read-only. Since XenServer 5.6 (midnight-ride).
            24 "redo_log_vdi" redo_log_vdi: Ref<Vdi>;
            /// `string`, read-only. Since XenServer 5.6 (midnight-ride). Deprecated since XenServer
            /// 7.2 (falcon).
            25 "vswitch_controller" vswitch_controller: String;
            /// `(string -> string) map`, read-only. Since XenServer 5.6 (midnight-ride).
            26 "restrictions" restrictions: BTreeMap<String, String>;
            /// `VDI ref set`, read-only. Since XenServer 6.0 (boston).
            27 "metadata_VDIs" metadata_vdis: Vec<Ref<Vdi>>;
            /// `string`, read-only. Since XenServer 7.0 (dundee).
            28 "ha_cluster_stack" ha_cluster_stack: String;
            /// `enum pool_allowed_operations set`, read-only.
            29 "allowed_operations" allowed_operations: Vec<PoolAllowedOperations>;
            /// `(string -> enum pool_allowed_operations) map`, read-only.
            30 "current_operations" current_operations: BTreeMap<String, PoolAllowedOperations>;
            /// `(string -> string) map`, read-only. Since XenServer 7.0 (dundee).
            31 "guest_agent_config" guest_agent_config: BTreeMap<String, String>;
            /// `(string -> string) map`, read-only. Since XenServer 7.0 (dundee).
            32 "cpu_info" cpu_info: BTreeMap<String, String>;
            /// `bool`, read-write. Since XenServer 7.0 (dundee).
            33 "policy_no_vendor_device" policy_no_vendor_device: bool;
            /// `bool`, read-write. Since XenServer 7.1 (ely).
            34 "live_patching_disabled" live_patching_disabled: bool;
            /// `bool`, read-only. Since XenServer 7.3 (inverness).
            35 "igmp_snooping_enabled" igmp_snooping_enabled: bool;
            /// `string`, set by `create` only. Since Citrix Hypervisor 8.1 (quebec).
            36 "uefi_certificates" uefi_certificates: String;
            /// `string`, set by `create` only. Since XAPI 24.0.0. Prototype: may change.
            37 "custom_uefi_certificates" [opt] custom_uefi_certificates: Option<String>;
            /// `bool`, read-write. Since Citrix Hypervisor 8.2 hotfix (stockholm_psr).
            38 "is_psr_pending" [opt] is_psr_pending: Option<bool>;
            /// `bool`, read-only. Since XAPI 1.290.0.
            39 "tls_verification_enabled" [opt] tls_verification_enabled: Option<bool>;
            /// `Repository ref set`, read-only. Since XAPI 1.301.0.
            40 "repositories" [opt] repositories: Option<Vec<Ref<Repository>>>;
            /// `bool`, read-only. Since XAPI 1.318.0.
            41 "client_certificate_auth_enabled" [opt] client_certificate_auth_enabled: Option<bool>;
            /// `string`, read-only. Since XAPI 1.318.0.
            42 "client_certificate_auth_name" [opt] client_certificate_auth_name: Option<String>;
            /// `string`, read-only. Since XAPI 21.3.0.
            43 "repository_proxy_url" [opt] repository_proxy_url: Option<String>;
            /// `string`, read-only. Since XAPI 21.3.0.
            44 "repository_proxy_username" [opt] repository_proxy_username: Option<String>;
            /// `secret ref`, read-only. Since XAPI 21.3.0.
            45 "repository_proxy_password" [opt] repository_proxy_password: Option<Ref<Secret>>;
            /// `bool`, read-write. Since XAPI 22.33.0. Prototype: may change.
            46 "migration_compression" [opt] migration_compression: Option<bool>;
            /// `bool`, read-write.
            47 "coordinator_bias" coordinator_bias: bool = true;
            /// `int`, set by `create` only. Since XAPI 23.27.0. Prototype: may change.
            48 "local_auth_max_threads" [opt] local_auth_max_threads: Option<i64>;
            /// `int`, set by `create` only. Since XAPI 23.27.0. Prototype: may change.
            49 "ext_auth_max_threads" [opt] ext_auth_max_threads: Option<i64>;
            /// `bool`, read-only. Since XAPI 24.31.0.
            50 "ext_auth_cache_enabled" [opt] ext_auth_cache_enabled: Option<bool>;
            /// `int`, read-only. Since XAPI 24.31.0.
            51 "ext_auth_cache_size" [opt] ext_auth_cache_size: Option<i64>;
            /// `int`, read-only. Since XAPI 24.31.0.
            52 "ext_auth_cache_expiry" [opt] ext_auth_cache_expiry: Option<i64>;
            /// `secret ref`, read-only. Since XAPI 23.9.0. Prototype: may change.
            53 "telemetry_uuid" [opt] telemetry_uuid: Option<Ref<Secret>>;
            /// `enum telemetry_frequency`, read-only. Since XAPI 23.9.0. Prototype: may change.
            54 "telemetry_frequency" [opt] telemetry_frequency: Option<TelemetryFrequency>;
            /// `datetime`, read-only. Since XAPI 23.9.0. Prototype: may change.
            55 "telemetry_next_collection" [opt] telemetry_next_collection: Option<DateTime>;
            /// `datetime`, read-only. Since XAPI 23.18.0. Prototype: may change.
            56 "last_update_sync" [opt] last_update_sync: Option<DateTime>;
            /// `enum update_sync_frequency`, read-only. Since XAPI 23.18.0. Prototype: may change.
            57 "update_sync_frequency" [opt] update_sync_frequency: Option<UpdateSyncFrequency>;
            /// `int`, read-only. Since XAPI 23.18.0. Prototype: may change.
            58 "update_sync_day" [opt] update_sync_day: Option<i64>;
            /// `bool`, read-only. Since XAPI 23.18.0. Prototype: may change.
            59 "update_sync_enabled" [opt] update_sync_enabled: Option<bool>;
            /// `(string -> string) map`, read-only. Since XAPI 24.19.1.
            60 "recommendations" [opt] recommendations: Option<BTreeMap<String, String>>;
            /// `(string -> string) map`, read-write. Since XAPI 25.6.0.
            61 "license_server" [opt] license_server: Option<BTreeMap<String, String>>;
            /// `bool`, read-write. Since XAPI 25.16.0.
            62 "ha_reboot_vm_on_internal_shutdown" [opt] ha_reboot_vm_on_internal_shutdown: Option<bool>;
            /// `bool`, read-write. Since XAPI 26.1.0.
            63 "limit_console_sessions" [opt] limit_console_sessions: Option<bool>;
            /// `int`, read-write. Since XAPI 26.1.0.
            64 "vm_console_idle_timeout" [opt] vm_console_idle_timeout: Option<i64>;
            /// `bool`, read-write. Since XAPI 26.16.1.
            65 "auto_update_vm_secureboot_certificates" [opt] auto_update_vm_secureboot_certificates: Option<bool>;
        }
    }

    open_enum! {
        /// `enum hello_return`
        HelloReturn {
            Ok "ok",
            UnknownHost "unknown_host",
            CannotTalkBack "cannot_talk_back",
        }
    }

    open_enum! {
        /// `enum pool_allowed_operations`
        PoolAllowedOperations {
            HaEnable "ha_enable",
            HaDisable "ha_disable",
            ClusterCreate "cluster_create",
            DesignateNewMaster "designate_new_master",
            ConfigureRepositories "configure_repositories",
            SyncUpdates "sync_updates",
            GetUpdates "get_updates",
            ApplyUpdates "apply_updates",
            TlsVerificationEnable "tls_verification_enable",
            CertRefresh "cert_refresh",
            ExchangeCertificatesOnJoin "exchange_certificates_on_join",
            ExchangeCaCertificatesOnJoin "exchange_ca_certificates_on_join",
            CopyPrimaryHostCerts "copy_primary_host_certs",
            Eject "eject",
            SyncBundle "sync_bundle",
            ExchangeCrlsOnJoin "exchange_crls_on_join",
        }
    }

    open_enum! {
        /// `enum pool_guest_secureboot_readiness`
        PoolGuestSecurebootReadiness {
            Ready "ready",
            ReadyNoDbx "ready_no_dbx",
            NotReady "not_ready",
        }
    }

    open_enum! {
        /// `enum telemetry_frequency`
        TelemetryFrequency {
            Daily "daily",
            Weekly "weekly",
            Monthly "monthly",
        }
    }

    open_enum! {
        /// `enum update_sync_frequency`
        UpdateSyncFrequency {
            Daily "daily",
            Weekly "weekly",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `pool.set_ext_auth_max_threads`, returns `void`. Since XAPI 23.27.0. Prototype: may change.
    /// Least role: pool-operator.
    "pool.set_ext_auth_max_threads" SetExtAuthMaxThreads [no_async] -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `pool.set_local_auth_max_threads`, returns `void`. Since XAPI 23.27.0. Prototype: may
    /// change. Least role: pool-operator.
    "pool.set_local_auth_max_threads" SetLocalAuthMaxThreads [no_async] -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `pool.set_update_sync_enabled`, returns `void`. Since XAPI 23.18.0. Prototype: may change.
    /// Least role: pool-operator.
    "pool.set_update_sync_enabled" SetUpdateSyncEnabled -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `pool.configure_update_sync`, returns `void`. Since XAPI 23.18.0. Prototype: may change.
    /// Least role: pool-operator.
    "pool.configure_update_sync" ConfigureUpdateSync -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `enum update_sync_frequency`
        update_sync_frequency: UpdateSyncFrequency,
        /// `int`
        update_sync_day: i64,
    }
}

call! {
    /// `pool.reset_telemetry_uuid`, returns `void`. Since XAPI 23.9.0. Prototype: may change. Least
    /// role: pool-admin.
    "pool.reset_telemetry_uuid" ResetTelemetryUuid -> () {
        /// `pool ref`
        pool: Ref<Pool>,
    }
}

call! {
    /// `pool.set_telemetry_next_collection`, returns `void`. Since XAPI 23.9.0. Prototype: may
    /// change. Least role: pool-admin.
    "pool.set_telemetry_next_collection" SetTelemetryNextCollection -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `datetime`
        value: DateTime,
    }
}

call! {
    /// `pool.set_https_only`, returns `void`. Since XAPI 22.27.0. Prototype: may change. Least
    /// role: pool-operator.
    "pool.set_https_only" SetHttpsOnly -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `pool.set_custom_uefi_certificates`, returns `void`. Since XAPI 24.0.0. Prototype: may
    /// change. Least role: pool-admin.
    "pool.set_custom_uefi_certificates" SetCustomUefiCertificates -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `string`
        value: String,
    }
}

call! {
    /// `pool.set_uefi_certificates`, returns `void`. Since XAPI 22.16.0. Deprecated since XAPI
    /// 24.0.0. Least role: pool-admin.
    "pool.set_uefi_certificates" SetUefiCertificates -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `string`
        value: String,
    }
}

call! {
    /// `pool.disable_repository_proxy`, returns `void`. Since XAPI 21.4.0. Least role: client-cert.
    "pool.disable_repository_proxy" DisableRepositoryProxy -> () {
        /// `pool ref`
        pool: Ref<Pool>,
    }
}

call! {
    /// `pool.configure_repository_proxy`, returns `void`. Since XAPI 21.3.0. Least role:
    /// client-cert.
    "pool.configure_repository_proxy" ConfigureRepositoryProxy -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `string`
        url: String,
        /// `string`
        username: String,
        /// `string`
        [secret] password: String,
    }
}

call! {
    /// `pool.disable_client_certificate_auth`, returns `void`. Since XAPI 1.318.0. Least role:
    /// client-cert.
    "pool.disable_client_certificate_auth" DisableClientCertificateAuth -> () {
        /// `pool ref`
        pool: Ref<Pool>,
    }
}

call! {
    /// `pool.enable_client_certificate_auth`, returns `void`. Since XAPI 1.318.0. Least role:
    /// client-cert.
    "pool.enable_client_certificate_auth" EnableClientCertificateAuth -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `string`
        name: String,
    }
}

call! {
    /// `pool.check_update_readiness`, returns `string set set`. Since XAPI 1.304.0. Least role:
    /// client-cert.
    "pool.check_update_readiness" CheckUpdateReadiness -> Vec<Vec<String>> {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `bool`
        requires_reboot: bool,
    }
}

call! {
    /// `pool.sync_updates`, returns `string`. Since XAPI 1.329.0. Least role: client-cert.
    "pool.sync_updates" SyncUpdates -> String {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `bool`
        force: bool,
        ;
        /// `string`, has a default on the server.
        [secret] token: String = Default::default(),
        /// `string`, has a default on the server.
        token_id: String = Default::default(),
        /// `string`, has a default on the server. Since XAPI 25.7.0.
        username: String = Default::default(),
        /// `string`, has a default on the server. Since XAPI 25.7.0.
        [secret] password: String = Default::default(),
    }
}

call! {
    /// `pool.remove_repository`, returns `void`. Since XAPI 1.301.0. Least role: client-cert.
    "pool.remove_repository" RemoveRepository -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `Repository ref`
        value: Ref<Repository>,
    }
}

call! {
    /// `pool.add_repository`, returns `void`. Since XAPI 1.301.0. Least role: client-cert.
    "pool.add_repository" AddRepository -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `Repository ref`
        value: Ref<Repository>,
    }
}

call! {
    /// `pool.set_repositories`, returns `void`. Since XAPI 1.301.0. Least role: client-cert.
    "pool.set_repositories" SetRepositories -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `Repository ref set`
        value: Vec<Ref<Repository>>,
    }
}

call! {
    /// `pool.rotate_secret`, returns `void`. Since Citrix Hypervisor 8.2 hotfix (stockholm_psr).
    /// Least role: pool-admin. Fails with `INTERNAL_ERROR`, `HOST_IS_SLAVE`, `CANNOT_CONTACT_HOST`,
    /// `HA_IS_ENABLED`, `NOT_SUPPORTED_DURING_UPGRADE`, among others.
    "pool.rotate_secret" RotateSecret -> () {
    }
}

call! {
    /// `pool.remove_from_guest_agent_config`, returns `void`. Since XenServer 7.0 (dundee). Least
    /// role: pool-admin.
    "pool.remove_from_guest_agent_config" RemoveFromGuestAgentConfig -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `string`
        key: String,
    }
}

call! {
    /// `pool.add_to_guest_agent_config`, returns `void`. Since XenServer 7.0 (dundee). Least role:
    /// pool-admin.
    "pool.add_to_guest_agent_config" AddToGuestAgentConfig -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `string`
        key: String,
        /// `string`
        value: String,
    }
}

call! {
    /// `pool.has_extension`, returns `bool`. Since XenServer 7.0 (dundee). Least role: pool-admin.
    "pool.has_extension" HasExtension -> bool {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `string`
        name: String,
    }
}

call! {
    /// `pool.set_igmp_snooping_enabled`, returns `void`. Since XenServer 7.3 (inverness). Least
    /// role: pool-operator.
    "pool.set_igmp_snooping_enabled" SetIgmpSnoopingEnabled -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `pool.disable_ssl_legacy`, returns `void`. Since XenServer 7.0 (dundee). Deprecated since
    /// Citrix Hypervisor 8.2 (stockholm). Least role: pool-operator.
    "pool.disable_ssl_legacy" DisableSslLegacy -> () {
        /// `pool ref`
        pool: Ref<Pool>,
    }
}

call! {
    /// `pool.apply_edition`, returns `void`. Since XenServer 6.2 (clearwater). Least role:
    /// pool-operator.
    "pool.apply_edition" ApplyEdition -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `string`
        edition: String,
    }
}

call! {
    /// `pool.get_license_state`, returns `(string -> string) map`. Since XenServer 6.2
    /// (clearwater). Least role: read-only.
    "pool.get_license_state" GetLicenseState -> BTreeMap<String, String> {
        /// `pool ref`
        pool: Ref<Pool>,
    }
}

call! {
    /// `pool.disable_local_storage_caching`, returns `void`. Since XenServer 5.6 FP1 (cowley).
    /// Least role: pool-operator.
    "pool.disable_local_storage_caching" DisableLocalStorageCaching -> () {
        /// `pool ref`
        pool: Ref<Pool>,
    }
}

call! {
    /// `pool.enable_local_storage_caching`, returns `void`. Since XenServer 5.6 FP1 (cowley). Least
    /// role: pool-operator.
    "pool.enable_local_storage_caching" EnableLocalStorageCaching -> () {
        /// `pool ref`
        pool: Ref<Pool>,
    }
}

call! {
    /// `pool.set_vswitch_controller`, returns `void`. Since XenServer 5.6 (midnight-ride).
    /// Deprecated since XenServer 7.2 (falcon). Least role: pool-operator.
    "pool.set_vswitch_controller" SetVswitchController -> () {
        /// `string`
        address: String,
    }
}

call! {
    /// `pool.disable_redo_log`, returns `void`. Since XenServer 5.6 (midnight-ride). Least role:
    /// pool-operator.
    "pool.disable_redo_log" DisableRedoLog -> () {
    }
}

call! {
    /// `pool.enable_redo_log`, returns `void`. Since XenServer 5.6 (midnight-ride). Least role:
    /// pool-operator.
    "pool.enable_redo_log" EnableRedoLog -> () {
        /// `SR ref`
        sr: Ref<Sr>,
    }
}

call! {
    /// `pool.enable_tls_verification`, returns `void`. Since XAPI 1.290.0. Least role: pool-admin.
    "pool.enable_tls_verification" EnableTlsVerification [no_async] -> () {
    }
}

call! {
    /// `pool.certificate_sync`, returns `void`. Since XenServer 5.5 (george). Least role:
    /// pool-operator.
    "pool.certificate_sync" CertificateSync -> () {
    }
}

call! {
    /// `pool.crl_list`, returns `string set`. Since XenServer 5.5 (george). Least role:
    /// pool-operator.
    "pool.crl_list" CrlList -> Vec<String> {
    }
}

call! {
    /// `pool.crl_uninstall`, returns `void`. Since XenServer 5.5 (george). Least role:
    /// pool-operator.
    "pool.crl_uninstall" CrlUninstall -> () {
        /// `string`
        name: String,
    }
}

call! {
    /// `pool.crl_install`, returns `void`. Since XenServer 5.5 (george). Least role: pool-operator.
    "pool.crl_install" CrlInstall -> () {
        /// `string`
        name: String,
        /// `string`
        cert: String,
    }
}

call! {
    /// `pool.uninstall_ca_certificate`, returns `void`. Since XAPI 1.290.0. Least role:
    /// client-cert.
    "pool.uninstall_ca_certificate" UninstallCaCertificate -> () {
        /// `string`
        name: String,
        ;
        /// `bool`, has a default on the server. Since XAPI 24.35.0.
        force: bool = Default::default(),
    }
}

call! {
    /// `pool.install_ca_certificate`, returns `void`. Since XAPI 1.290.0. Least role: client-cert.
    "pool.install_ca_certificate" InstallCaCertificate -> () {
        /// `string`
        name: String,
        /// `string`
        cert: String,
    }
}

call! {
    /// `pool.certificate_list`, returns `string set`. Since XenServer 5.5 (george). Deprecated
    /// since XAPI 1.290.0. Least role: pool-operator.
    "pool.certificate_list" CertificateList -> Vec<String> {
    }
}

call! {
    /// `pool.certificate_uninstall`, returns `void`. Since XenServer 5.5 (george). Deprecated since
    /// XAPI 1.290.0. Least role: pool-operator.
    "pool.certificate_uninstall" CertificateUninstall -> () {
        /// `string`
        name: String,
    }
}

call! {
    /// `pool.certificate_install`, returns `void`. Since XenServer 5.5 (george). Deprecated since
    /// XAPI 1.290.0. Least role: pool-operator.
    "pool.certificate_install" CertificateInstall -> () {
        /// `string`
        name: String,
        /// `string`
        cert: String,
    }
}

call! {
    /// `pool.send_test_post`, returns `string`. Since XenServer 5.5 (george). Least role:
    /// pool-admin.
    "pool.send_test_post" SendTestPost -> String {
        /// `string`
        host: String,
        /// `int`
        port: i64,
        /// `string`
        body: String,
    }
}

call! {
    /// `pool.retrieve_wlb_recommendations`, returns `(VM ref -> string set) map`. Since XenServer
    /// 5.5 (george). Least role: read-only.
    "pool.retrieve_wlb_recommendations" RetrieveWlbRecommendations -> BTreeMap<Ref<Vm>, Vec<String>> {
    }
}

call! {
    /// `pool.retrieve_wlb_configuration`, returns `(string -> string) map`. Since XenServer 5.5
    /// (george). Least role: read-only.
    "pool.retrieve_wlb_configuration" RetrieveWlbConfiguration -> BTreeMap<String, String> {
    }
}

call! {
    /// `pool.send_wlb_configuration`, returns `void`. Since XenServer 5.5 (george). Least role:
    /// pool-operator.
    "pool.send_wlb_configuration" SendWlbConfiguration -> () {
        /// `(string -> string) map`
        [secret] config: BTreeMap<String, String>,
    }
}

call! {
    /// `pool.deconfigure_wlb`, returns `void`. Since XenServer 5.5 (george). Least role:
    /// pool-operator.
    "pool.deconfigure_wlb" DeconfigureWlb -> () {
    }
}

call! {
    /// `pool.initialize_wlb`, returns `void`. Since XenServer 5.5 (george). Least role:
    /// pool-operator.
    "pool.initialize_wlb" InitializeWlb -> () {
        /// `string`
        wlb_url: String,
        /// `string`
        wlb_username: String,
        /// `string`
        [secret] wlb_password: String,
        /// `string`
        xenserver_username: String,
        /// `string`
        [secret] xenserver_password: String,
    }
}

call! {
    /// `pool.detect_nonhomogeneous_external_auth`, returns `void`. Since XenServer 5.5 (george).
    /// Least role: pool-operator.
    "pool.detect_nonhomogeneous_external_auth" DetectNonhomogeneousExternalAuth [no_async] -> () {
        /// `pool ref`
        pool: Ref<Pool>,
    }
}

call! {
    /// `pool.disable_external_auth`, returns `void`. Since XenServer 5.5 (george). Least role:
    /// pool-admin.
    "pool.disable_external_auth" DisableExternalAuth [no_async] -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        ;
        /// `(string -> string) map`, has a default on the server.
        [secret] config: BTreeMap<String, String> = Default::default(),
    }
}

call! {
    /// `pool.enable_external_auth`, returns `void`. Since XenServer 5.5 (george). Least role:
    /// pool-admin.
    "pool.enable_external_auth" EnableExternalAuth [no_async] -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `(string -> string) map`
        [secret] config: BTreeMap<String, String>,
        /// `string`
        service_name: String,
        /// `string`
        auth_type: String,
    }
}

call! {
    /// `pool.create_new_blob`, returns `blob ref`. Since XenServer 5.0 (orlando). Least role:
    /// pool-operator.
    "pool.create_new_blob" CreateNewBlob -> Ref<Blob> {
        /// `pool ref`
        pool: Ref<Pool>,
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
    /// `pool.set_ha_host_failures_to_tolerate`, returns `void`. Since XenServer 5.0 (orlando).
    /// Least role: pool-operator.
    "pool.set_ha_host_failures_to_tolerate" SetHaHostFailuresToTolerate -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `pool.ha_compute_vm_failover_plan`, returns `(VM ref -> (string -> string) map) map`. Since
    /// XenServer 5.0 (orlando). Least role: pool-operator.
    "pool.ha_compute_vm_failover_plan" HaComputeVmFailoverPlan [no_async] -> BTreeMap<Ref<Vm>, BTreeMap<String, String>> {
        /// `host ref set`
        failed_hosts: Vec<Ref<Host>>,
        /// `VM ref set`
        failed_vms: Vec<Ref<Vm>>,
    }
}

call! {
    /// `pool.ha_compute_hypothetical_max_host_failures_to_tolerate`, returns `int`. Since XenServer
    /// 5.0 (orlando). Least role: read-only.
    "pool.ha_compute_hypothetical_max_host_failures_to_tolerate" HaComputeHypotheticalMaxHostFailuresToTolerate [no_async] -> i64 {
        /// `(VM ref -> string) map`
        configuration: BTreeMap<Ref<Vm>, String>,
    }
}

call! {
    /// `pool.ha_compute_max_host_failures_to_tolerate`, returns `int`. Since XenServer 5.0
    /// (orlando). Least role: pool-operator.
    "pool.ha_compute_max_host_failures_to_tolerate" HaComputeMaxHostFailuresToTolerate [no_async] -> i64 {
    }
}

call! {
    /// `pool.ha_failover_plan_exists`, returns `bool`. Since XenServer 5.0 (orlando). Least role:
    /// pool-operator.
    "pool.ha_failover_plan_exists" HaFailoverPlanExists [no_async] -> bool {
        /// `int`
        n: i64,
    }
}

call! {
    /// `pool.ha_prevent_restarts_for`, returns `void`. Since XenServer 5.0 Update 1
    /// (orlando-update-1). Least role: pool-operator.
    "pool.ha_prevent_restarts_for" HaPreventRestartsFor [no_async] -> () {
        /// `int`
        seconds: i64,
    }
}

call! {
    /// `pool.designate_new_master`, returns `void`. Since XenServer 4.1 (miami). Least role:
    /// pool-operator.
    "pool.designate_new_master" DesignateNewMaster -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `pool.sync_database`, returns `void`. Least role: pool-operator.
    "pool.sync_database" SyncDatabase -> () {
    }
}

call! {
    /// `pool.disable_ha`, returns `void`. Since XenServer 4.1 (miami). Least role: client-cert.
    "pool.disable_ha" DisableHa -> () {
    }
}

call! {
    /// `pool.enable_ha`, returns `void`. Since XenServer 4.1 (miami). Least role: client-cert.
    "pool.enable_ha" EnableHa -> () {
        /// `SR ref set`
        heartbeat_srs: Vec<Ref<Sr>>,
        /// `(string -> string) map`
        configuration: BTreeMap<String, String>,
    }
}

call! {
    /// `pool.create_VLAN_from_PIF`, returns `PIF ref set`. Least role: pool-operator. Fails with
    /// `VLAN_TAG_INVALID`, among others.
    "pool.create_VLAN_from_PIF" CreateVlanFromPif -> Vec<Ref<Pif>> {
        /// `PIF ref`
        pif: Ref<Pif>,
        /// `network ref`
        network: Ref<Network>,
        /// `int`
        vlan: i64,
    }
}

call! {
    /// `pool.management_reconfigure`, returns `void`. Since XenServer 7.3 (inverness). Least role:
    /// pool-operator. Fails with `HA_IS_ENABLED`, `PIF_NOT_PRESENT`, `CANNOT_PLUG_BOND_SLAVE`,
    /// `PIF_INCOMPATIBLE_PRIMARY_ADDRESS_TYPE`, `PIF_HAS_NO_NETWORK_CONFIGURATION`,
    /// `PIF_HAS_NO_V6_NETWORK_CONFIGURATION`, among others.
    "pool.management_reconfigure" ManagementReconfigure -> () {
        /// `network ref`
        network: Ref<Network>,
    }
}

call! {
    /// `pool.create_VLAN`, returns `PIF ref set`. Least role: pool-operator. Fails with
    /// `VLAN_TAG_INVALID`, among others.
    "pool.create_VLAN" CreateVlan -> Vec<Ref<Pif>> {
        /// `string`
        device: String,
        /// `network ref`
        network: Ref<Network>,
        /// `int`
        vlan: i64,
    }
}

call! {
    /// `pool.recover_slaves`, returns `host ref set`. Least role: pool-operator.
    "pool.recover_slaves" RecoverSlaves -> Vec<Ref<Host>> {
    }
}

call! {
    /// `pool.emergency_reset_master`, returns `void`. Least role: pool-operator.
    "pool.emergency_reset_master" EmergencyResetMaster [no_async] -> () {
        /// `string`
        master_address: String,
    }
}

call! {
    /// `pool.emergency_transition_to_master`, returns `void`. Least role: pool-operator.
    "pool.emergency_transition_to_master" EmergencyTransitionToMaster [no_async] -> () {
    }
}

call! {
    /// `pool.eject`, returns `void`. Least role: pool-operator.
    "pool.eject" Eject -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `pool.join_force`, returns `void`. Least role: pool-operator.
    "pool.join_force" JoinForce -> () {
        /// `string`
        master_address: String,
        /// `string`
        master_username: String,
        /// `string`
        [secret] master_password: String,
    }
}

call! {
    /// `pool.join`, returns `void`. Least role: pool-operator. Fails with
    /// `JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS`, among others.
    "pool.join" Join -> () {
        /// `string`
        master_address: String,
        /// `string`
        master_username: String,
        /// `string`
        [secret] master_password: String,
    }
}

call! {
    /// `pool.enable_ssh`, returns `void`. Since XAPI 25.13.0. Least role: pool-admin.
    "pool.enable_ssh" EnableSsh -> () {
        /// `pool ref`
        pool: Ref<Pool>,
    }
}

call! {
    /// `pool.disable_ssh`, returns `void`. Since XAPI 25.13.0. Least role: pool-admin.
    "pool.disable_ssh" DisableSsh -> () {
        /// `pool ref`
        pool: Ref<Pool>,
    }
}

call! {
    /// `pool.set_ssh_enabled_timeout`, returns `void`. Since XAPI 25.21.0. Least role: pool-admin.
    "pool.set_ssh_enabled_timeout" SetSshEnabledTimeout -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `pool.set_console_idle_timeout`, returns `void`. Since XAPI 25.21.0. Least role: pool-admin.
    "pool.set_console_idle_timeout" SetConsoleIdleTimeout -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `pool.set_ssh_auto_mode`, returns `void`. Since XAPI 25.27.0. Least role: pool-admin.
    "pool.set_ssh_auto_mode" SetSshAutoMode -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `pool.set_ext_auth_cache_enabled`, returns `void`. Since XAPI 24.31.0. Least role:
    /// pool-operator.
    "pool.set_ext_auth_cache_enabled" SetExtAuthCacheEnabled -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `pool.set_ext_auth_cache_size`, returns `void`. Since XAPI 24.31.0. Least role:
    /// pool-operator.
    "pool.set_ext_auth_cache_size" SetExtAuthCacheSize -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `pool.set_ext_auth_cache_expiry`, returns `void`. Since XAPI 24.31.0. Least role:
    /// pool-operator.
    "pool.set_ext_auth_cache_expiry" SetExtAuthCacheExpiry -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `pool.get_guest_secureboot_readiness`, returns `enum pool_guest_secureboot_readiness`. Since
    /// XAPI 24.17.0. Least role: pool-operator.
    "pool.get_guest_secureboot_readiness" GetGuestSecurebootReadiness [no_async] -> PoolGuestSecurebootReadiness {
        /// `pool ref`
        pool: Ref<Pool>,
    }
}

call! {
    /// `pool.external_auth_set_ldaps`, returns `void`. Least role: pool-admin.
    "pool.external_auth_set_ldaps" ExternalAuthSetLdaps [no_async] -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `bool`
        ldaps: bool,
        ;
        /// `bool`, has a default on the server.
        force: bool = Default::default(),
    }
}

call! {
    /// `pool.install_trusted_certificate`, returns `void`. Since XAPI 26.13.0. Least role:
    /// client-cert.
    "pool.install_trusted_certificate" InstallTrustedCertificate -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `bool`
        ca: bool,
        /// `string`
        cert: String,
        /// `enum certificate_purpose set`
        purpose: Vec<CertificatePurpose>,
    }
}

call! {
    /// `pool.uninstall_trusted_certificate`, returns `void`. Since XAPI 26.13.0. Least role:
    /// client-cert.
    "pool.uninstall_trusted_certificate" UninstallTrustedCertificate -> () {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `Certificate ref`
        certificate: Ref<Certificate>,
    }
}

call! {
    /// `pool.sync_trusted_certificates_from`, returns `Certificate ref set`. Since XAPI 26.16.0.
    /// Least role: client-cert.
    "pool.sync_trusted_certificates_from" SyncTrustedCertificatesFrom -> Vec<Ref<Certificate>> {
        /// `pool ref`
        pool: Ref<Pool>,
        /// `string`
        remote_pool: String,
        /// `session ref`
        [secret] remote_session: Ref<Session>,
        /// `string`
        remote_certificate: String,
        /// `bool`
        ca: bool,
    }
}

/// Names of the fields of `pool`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Pool;
        ro UUID "uuid" String;
        rw NAME_LABEL "name_label" String;
        rw NAME_DESCRIPTION "name_description" String;
        ro MASTER "master" Ref<Host>;
        rw DEFAULT_SR "default_SR" Ref<Sr>;
        rw SUSPEND_IMAGE_SR "suspend_image_SR" Ref<Sr>;
        rw CRASH_DUMP_SR "crash_dump_SR" Ref<Sr>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro HA_ENABLED "ha_enabled" bool;
        ro HA_CONFIGURATION "ha_configuration" BTreeMap<String, String>;
        ro HA_STATEFILES "ha_statefiles" Vec<String>;
        ro HA_HOST_FAILURES_TO_TOLERATE "ha_host_failures_to_tolerate" i64;
        ro HA_PLAN_EXISTS_FOR "ha_plan_exists_for" i64;
        rw HA_ALLOW_OVERCOMMIT "ha_allow_overcommit" bool;
        ro HA_OVERCOMMITTED "ha_overcommitted" bool;
        ro BLOBS "blobs" BTreeMap<String, Ref<Blob>>;
        rw TAGS "tags" Vec<String>;
        rw GUI_CONFIG "gui_config" BTreeMap<String, String>;
        rw HEALTH_CHECK_CONFIG "health_check_config" BTreeMap<String, String>;
        ro WLB_URL "wlb_url" String;
        ro WLB_USERNAME "wlb_username" String;
        rw WLB_ENABLED "wlb_enabled" bool;
        rw WLB_VERIFY_CERT "wlb_verify_cert" bool;
        ro REDO_LOG_ENABLED "redo_log_enabled" bool;
        ro REDO_LOG_VDI "redo_log_vdi" Ref<Vdi>;
        ro VSWITCH_CONTROLLER "vswitch_controller" String;
        ro RESTRICTIONS "restrictions" BTreeMap<String, String>;
        ro METADATA_VDIS "metadata_VDIs" Vec<Ref<Vdi>>;
        ro HA_CLUSTER_STACK "ha_cluster_stack" String;
        ro ALLOWED_OPERATIONS "allowed_operations" Vec<PoolAllowedOperations>;
        ro CURRENT_OPERATIONS "current_operations" BTreeMap<String, PoolAllowedOperations>;
        ro GUEST_AGENT_CONFIG "guest_agent_config" BTreeMap<String, String>;
        ro CPU_INFO "cpu_info" BTreeMap<String, String>;
        rw POLICY_NO_VENDOR_DEVICE "policy_no_vendor_device" bool;
        rw LIVE_PATCHING_DISABLED "live_patching_disabled" bool;
        ro IGMP_SNOOPING_ENABLED "igmp_snooping_enabled" bool;
        ro UEFI_CERTIFICATES "uefi_certificates" String;
        ro CUSTOM_UEFI_CERTIFICATES "custom_uefi_certificates" String;
        rw IS_PSR_PENDING "is_psr_pending" bool;
        ro TLS_VERIFICATION_ENABLED "tls_verification_enabled" bool;
        ro REPOSITORIES "repositories" Vec<Ref<Repository>>;
        ro CLIENT_CERTIFICATE_AUTH_ENABLED "client_certificate_auth_enabled" bool;
        ro CLIENT_CERTIFICATE_AUTH_NAME "client_certificate_auth_name" String;
        ro REPOSITORY_PROXY_URL "repository_proxy_url" String;
        ro REPOSITORY_PROXY_USERNAME "repository_proxy_username" String;
        ro REPOSITORY_PROXY_PASSWORD "repository_proxy_password" Ref<Secret>;
        rw MIGRATION_COMPRESSION "migration_compression" bool;
        rw COORDINATOR_BIAS "coordinator_bias" bool;
        ro LOCAL_AUTH_MAX_THREADS "local_auth_max_threads" i64;
        ro EXT_AUTH_MAX_THREADS "ext_auth_max_threads" i64;
        ro EXT_AUTH_CACHE_ENABLED "ext_auth_cache_enabled" bool;
        ro EXT_AUTH_CACHE_SIZE "ext_auth_cache_size" i64;
        ro EXT_AUTH_CACHE_EXPIRY "ext_auth_cache_expiry" i64;
        ro TELEMETRY_UUID "telemetry_uuid" Ref<Secret>;
        ro TELEMETRY_FREQUENCY "telemetry_frequency" TelemetryFrequency;
        ro TELEMETRY_NEXT_COLLECTION "telemetry_next_collection" DateTime;
        ro LAST_UPDATE_SYNC "last_update_sync" DateTime;
        ro UPDATE_SYNC_FREQUENCY "update_sync_frequency" UpdateSyncFrequency;
        ro UPDATE_SYNC_DAY "update_sync_day" i64;
        ro UPDATE_SYNC_ENABLED "update_sync_enabled" bool;
        ro RECOMMENDATIONS "recommendations" BTreeMap<String, String>;
        rw LICENSE_SERVER "license_server" BTreeMap<String, String>;
        rw HA_REBOOT_VM_ON_INTERNAL_SHUTDOWN "ha_reboot_vm_on_internal_shutdown" bool;
        rw LIMIT_CONSOLE_SESSIONS "limit_console_sessions" bool;
        rw VM_CONSOLE_IDLE_TIMEOUT "vm_console_idle_timeout" i64;
        rw AUTO_UPDATE_VM_SECUREBOOT_CERTIFICATES "auto_update_vm_secureboot_certificates" bool;
    }
}
