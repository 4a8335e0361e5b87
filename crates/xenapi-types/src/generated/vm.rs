//! `VM`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `VM`.
        class Vm is Listed Labelled;
        /// The record of a `VM`, as `get_record` returns it.
        "VM" VmRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `enum vm_operations set`, read-only.
            1 "allowed_operations" allowed_operations: Vec<VmOperations>;
            /// `(string -> enum vm_operations) map`, read-only.
            2 "current_operations" current_operations: BTreeMap<String, VmOperations>;
            /// `string`, read-write.
            3 "name_label" name_label: String;
            /// `string`, read-write.
            4 "name_description" name_description: String;
            /// `enum vm_power_state`, set by `create` only.
            5 "power_state" power_state: VmPowerState = VmPowerState::Halted;
            /// `int`, read-write.
            6 "user_version" user_version: i64;
            /// `bool`, read-write.
            7 "is_a_template" is_a_template: bool;
            /// `bool`, read-only. Since XenServer 7.2 (falcon).
            8 "is_default_template" is_default_template: bool;
            /// `VDI ref`, set by `create` only.
            9 "suspend_VDI" suspend_vdi: Ref<Vdi>;
            /// `host ref`, read-only.
            10 "resident_on" resident_on: Ref<Host>;
            /// `host ref`, read-only.
            11 "scheduled_to_be_resident_on" scheduled_to_be_resident_on: Ref<Host>;
            /// `host ref`, read-write.
            12 "affinity" affinity: Ref<Host>;
            /// `int`, read-only.
            13 "memory_overhead" memory_overhead: i64;
            /// `int`, set by `create` only. Deprecated since XenServer 5.6 (midnight-ride).
            14 "memory_target" memory_target: i64;
            /// `int`, set by `create` only.
            15 "memory_static_max" memory_static_max: i64;
            /// `int`, set by `create` only.
            16 "memory_dynamic_max" memory_dynamic_max: i64;
            /// `int`, set by `create` only.
            17 "memory_dynamic_min" memory_dynamic_min: i64;
            /// `int`, set by `create` only.
            18 "memory_static_min" memory_static_min: i64;
            /// `(string -> string) map`, read-write.
            19 "VCPUs_params" vcpus_params: BTreeMap<String, String>;
            /// `int`, set by `create` only.
            20 "VCPUs_max" vcpus_max: i64;
            /// `int`, set by `create` only.
            21 "VCPUs_at_startup" vcpus_at_startup: i64;
            /// `enum on_softreboot_behavior`, read-write. Since XAPI 23.1.0. Prototype: may change.
            22 "actions_after_softreboot" [opt] actions_after_softreboot: Option<OnSoftrebootBehavior>;
            /// `enum on_normal_exit`, read-write.
            23 "actions_after_shutdown" actions_after_shutdown: OnNormalExit;
            /// `enum on_normal_exit`, read-write.
            24 "actions_after_reboot" actions_after_reboot: OnNormalExit;
            /// `enum on_crash_behaviour`, set by `create` only.
            25 "actions_after_crash" actions_after_crash: OnCrashBehaviour;
            /// `console ref set`, read-only.
            26 "consoles" consoles: Vec<Ref<Console>>;
            /// `VIF ref set`, read-only.
            27 "VIFs" vifs: Vec<Ref<Vif>>;
            /// `VBD ref set`, read-only.
            28 "VBDs" vbds: Vec<Ref<Vbd>>;
            /// `VUSB ref set`, read-only.
            29 "VUSBs" vusbs: Vec<Ref<Vusb>>;
            /// `crashdump ref set`, read-only.
            30 "crash_dumps" crash_dumps: Vec<Ref<Crashdump>>;
            /// `VTPM ref set`, read-only.
            31 "VTPMs" vtpms: Vec<Ref<Vtpm>>;
            /// `string`, read-write.
            32 "PV_bootloader" pv_bootloader: String;
            /// `string`, read-write.
            33 "PV_kernel" pv_kernel: String;
            /// `string`, read-write.
            34 "PV_ramdisk" pv_ramdisk: String;
            /// `string`, read-write.
            35 "PV_args" pv_args: String;
            /// `string`, read-write.
            36 "PV_bootloader_args" pv_bootloader_args: String;
            /// `string`, read-write.
            37 "PV_legacy_args" pv_legacy_args: String;
            /// `string`, set by `create` only. Deprecated since XenServer 7.5 (kolkata).
            38 "HVM_boot_policy" hvm_boot_policy: String;
            /// `(string -> string) map`, read-write.
            39 "HVM_boot_params" hvm_boot_params: BTreeMap<String, String>;
            /// `float`, set by `create` only. Since XenServer 4.1 (miami).
            40 "HVM_shadow_multiplier" hvm_shadow_multiplier: f64 = 1.0;
            /// `(string -> string) map`, read-write.
            41 "platform" platform: BTreeMap<String, String>;
            /// `string`, read-write. Deprecated since XenServer 6.0 (boston).
            42 "PCI_bus" pci_bus: String;
            /// `(string -> string) map`, read-write.
            43 "other_config" other_config: BTreeMap<String, String>;
            /// `int`, read-only.
            44 "domid" domid: i64;
            /// `string`, read-only.
            45 "domarch" domarch: String;
            /// `(string -> string) map`, set by `create` only.
            46 "last_boot_CPU_flags" last_boot_cpu_flags: BTreeMap<String, String>;
            /// `bool`, read-only.
            47 "is_control_domain" is_control_domain: bool;
            /// `VM_metrics ref`, read-only.
            48 "metrics" metrics: Ref<VmMetrics>;
            /// `VM_guest_metrics ref`, read-only.
            49 "guest_metrics" guest_metrics: Ref<VmGuestMetrics>;
            /// `string`, set by `create` only. Since XenServer 4.1 (miami).
            50 "last_booted_record" last_booted_record: String;
            /// `string`, read-write.
            51 "recommendations" recommendations: String;
            /// `(string -> string) map`, read-write. Since XenServer 4.1 (miami).
            52 "xenstore_data" xenstore_data: BTreeMap<String, String>;
            /// `bool`, set by `create` only. Since XenServer 5.0 (orlando). Deprecated since
            /// XenServer 6.0 (boston).
            53 "ha_always_run" ha_always_run: bool;
            /// `string`, set by `create` only. Since XenServer 5.0 (orlando).
            54 "ha_restart_priority" ha_restart_priority: String;
            /// `bool`, read-only. Since XenServer 5.0 (orlando).
            55 "is_a_snapshot" is_a_snapshot: bool;
            /// `VM ref`, read-only. Since XenServer 5.0 (orlando).
            56 "snapshot_of" snapshot_of: Ref<Vm>;
            /// `VM ref set`, read-only. Since XenServer 5.0 (orlando).
            57 "snapshots" snapshots: Vec<Ref<Vm>>;
            /// `datetime`, read-only. Since XenServer 5.0 (orlando).
            58 "snapshot_time" snapshot_time: DateTime;
            /// `string`, read-only. Since XenServer 5.0 (orlando).
            59 "transportable_snapshot_id" transportable_snapshot_id: String;
            /// `(string -> blob ref) map`, read-only. Since XenServer 5.0 (orlando).
            60 "blobs" blobs: BTreeMap<String, Ref<Blob>>;
            /// `string set`, read-write. Since XenServer 5.0 (orlando).
            61 "tags" tags: Vec<String>;
            /// `(enum vm_operations -> string) map`, read-write. Since XenServer 5.0 (orlando).
            62 "blocked_operations" blocked_operations: BTreeMap<VmOperations, String>;
            /// `(string -> string) map`, read-only. Since XenServer 5.6 (midnight-ride).
            63 "snapshot_info" snapshot_info: BTreeMap<String, String>;
            /// `string`, read-only. Since XenServer 5.6 (midnight-ride).
            64 "snapshot_metadata" snapshot_metadata: String;
            /// `VM ref`, read-only. Since XenServer 5.6 (midnight-ride).
            65 "parent" parent: Ref<Vm>;
            /// `VM ref set`, read-only. Since XenServer 5.6 (midnight-ride).
            66 "children" children: Vec<Ref<Vm>>;
            /// `(string -> string) map`, read-only. Since XenServer 5.6 (midnight-ride).
            67 "bios_strings" bios_strings: BTreeMap<String, String>;
            /// `VMPP ref`, set by `create` only. Since XenServer 5.6 FP1 (cowley). Deprecated since
            /// XenServer 6.2 (clearwater).
            68 "protection_policy" protection_policy: Ref<Vmpp>;
            /// `bool`, set by `create` only. Since XenServer 5.6 FP1 (cowley). Removed in XenServer
            /// 6.2 (clearwater).
            69 "is_snapshot_from_vmpp" is_snapshot_from_vmpp: bool;
            /// `VMSS ref`, set by `create` only. Since XenServer 7.2 (falcon).
            70 "snapshot_schedule" snapshot_schedule: Ref<Vmss>;
            /// `bool`, set by `create` only. Since XenServer 7.2 (falcon).
            71 "is_vmss_snapshot" is_vmss_snapshot: bool;
            /// `VM_appliance ref`, set by `create` only.
            72 "appliance" appliance: Ref<VmAppliance>;
            /// `int`, set by `create` only. Since XenServer 6.0 (boston).
            73 "start_delay" start_delay: i64;
            /// `int`, set by `create` only. Since XenServer 6.0 (boston).
            74 "shutdown_delay" shutdown_delay: i64;
            /// `int`, set by `create` only. Since XenServer 6.0 (boston).
            75 "order" order: i64;
            /// `VGPU ref set`, read-only. Since XenServer 6.0 (boston).
            76 "VGPUs" vgpus: Vec<Ref<Vgpu>>;
            /// `PCI ref set`, read-only. Since XenServer 6.0 (boston).
            77 "attached_PCIs" attached_pcis: Vec<Ref<Pci>>;
            /// `SR ref`, read-write. Since XenServer 6.0 (boston).
            78 "suspend_SR" suspend_sr: Ref<Sr>;
            /// `int`, set by `create` only. Since XenServer 6.0 (boston).
            79 "version" version: i64;
            /// `string`, set by `create` only. Since XenServer 6.2 (clearwater).
            80 "generation_id" generation_id: String = "0:0".into();
            /// `int`, read-write. Since XenServer 6.5 SP1 (cream).
            81 "hardware_platform_version" hardware_platform_version: i64;
            /// `bool`, set by `create` only. Since XenServer 7.0 (dundee).
            82 "has_vendor_device" has_vendor_device: bool;
            /// `bool`, read-only. Since XenServer 7.1 (ely).
            83 "requires_reboot" requires_reboot: bool;
            /// `string`, set by `create` only. Since XenServer 7.1 (ely).
            84 "reference_label" reference_label: String;
            /// `enum domain_type`, set by `create` only. Since XenServer 7.5 (kolkata).
            85 "domain_type" domain_type: DomainType = DomainType::Unspecified;
            /// `(string -> string) map`, set by `create` only. Since Citrix Hypervisor 8.0
            /// (naples).
            86 "NVRAM" nvram: BTreeMap<String, String>;
            /// `enum update_guidances set`, read-only. Since XAPI 1.303.0.
            87 "pending_guidances" [opt] pending_guidances: Option<Vec<UpdateGuidances>>;
            /// `enum update_guidances set`, read-only. Since XAPI 24.10.0. Prototype: may change.
            88 "pending_guidances_recommended" [opt] pending_guidances_recommended: Option<Vec<UpdateGuidances>>;
            /// `enum update_guidances set`, read-only. Since XAPI 24.10.0. Prototype: may change.
            89 "pending_guidances_full" [opt] pending_guidances_full: Option<Vec<UpdateGuidances>>;
            /// `VM_group ref set`, read-only. Since XAPI 24.19.1.
            90 "groups" [opt] groups: Option<Vec<Ref<VmGroup>>>;
            /// `enum vm_secureboot_certificates_state`, read-only. Since XAPI 26.14.0.
            91 "secureboot_certificates_state" [opt] secureboot_certificates_state: Option<VmSecurebootCertificatesState>;
        }
    }

    open_enum! {
        /// `enum domain_type`
        DomainType {
            Hvm "hvm",
            Pv "pv",
            PvInPvh "pv_in_pvh",
            Pvh "pvh",
            Unspecified "unspecified",
        }
    }

    open_enum! {
        /// `enum on_crash_behaviour`
        OnCrashBehaviour {
            Destroy "destroy",
            CoredumpAndDestroy "coredump_and_destroy",
            Restart "restart",
            CoredumpAndRestart "coredump_and_restart",
            Preserve "preserve",
            RenameRestart "rename_restart",
        }
    }

    open_enum! {
        /// `enum on_normal_exit`
        OnNormalExit {
            Destroy "destroy",
            Restart "restart",
        }
    }

    open_enum! {
        /// `enum on_softreboot_behavior`
        OnSoftrebootBehavior {
            SoftReboot "soft_reboot",
            Destroy "destroy",
            Restart "restart",
            Preserve "preserve",
        }
    }

    open_enum! {
        /// `enum update_guidances`
        UpdateGuidances {
            RebootHost "reboot_host",
            RebootHostOnLivepatchFailure "reboot_host_on_livepatch_failure",
            RebootHostOnKernelLivepatchFailure "reboot_host_on_kernel_livepatch_failure",
            RebootHostOnXenLivepatchFailure "reboot_host_on_xen_livepatch_failure",
            RestartToolstack "restart_toolstack",
            RestartDeviceModel "restart_device_model",
            RestartVm "restart_vm",
        }
    }

    open_enum! {
        /// `enum update_status`
        UpdateStatus {
            Yes "yes",
            No "no",
            Unspecified "unspecified",
        }
    }

    open_enum! {
        /// `enum vm_operations`
        VmOperations {
            Snapshot "snapshot",
            Clone "clone",
            Copy "copy",
            CreateTemplate "create_template",
            Revert "revert",
            Checkpoint "checkpoint",
            SnapshotWithQuiesce "snapshot_with_quiesce",
            Provision "provision",
            Start "start",
            StartOn "start_on",
            Pause "pause",
            Unpause "unpause",
            CleanShutdown "clean_shutdown",
            CleanReboot "clean_reboot",
            HardShutdown "hard_shutdown",
            PowerStateReset "power_state_reset",
            HardReboot "hard_reboot",
            Suspend "suspend",
            Csvm "csvm",
            Resume "resume",
            ResumeOn "resume_on",
            PoolMigrate "pool_migrate",
            MigrateSend "migrate_send",
            GetBootRecord "get_boot_record",
            SendSysrq "send_sysrq",
            SendTrigger "send_trigger",
            QueryServices "query_services",
            Shutdown "shutdown",
            CallPlugin "call_plugin",
            ChangingMemoryLive "changing_memory_live",
            AwaitingMemoryLive "awaiting_memory_live",
            ChangingDynamicRange "changing_dynamic_range",
            ChangingStaticRange "changing_static_range",
            ChangingMemoryLimits "changing_memory_limits",
            ChangingShadowMemory "changing_shadow_memory",
            ChangingShadowMemoryLive "changing_shadow_memory_live",
            ChangingVcpus "changing_VCPUs",
            ChangingVcpusLive "changing_VCPUs_live",
            ChangingNvram "changing_NVRAM",
            AssertOperationValid "assert_operation_valid",
            DataSourceOp "data_source_op",
            UpdateAllowedOperations "update_allowed_operations",
            MakeIntoTemplate "make_into_template",
            Import "import",
            Export "export",
            MetadataExport "metadata_export",
            Reverting "reverting",
            Destroy "destroy",
            CreateVtpm "create_vtpm",
            Sysprep "sysprep",
        }
    }

    open_enum! {
        /// `enum vm_power_state`
        VmPowerState {
            Halted "Halted",
            Paused "Paused",
            Running "Running",
            Suspended "Suspended",
        }
    }

    open_enum! {
        /// `enum vm_secureboot_certificates_state`
        VmSecurebootCertificatesState {
            Ok "ok",
            UpdateAvailable "update_available",
            UpdateOnBoot "update_on_boot",
        }
    }

    open_enum! {
        /// `enum vm_secureboot_readiness`
        VmSecurebootReadiness {
            NotSupported "not_supported",
            Disabled "disabled",
            FirstBoot "first_boot",
            Ready "ready",
            ReadyNoDbx "ready_no_dbx",
            SetupMode "setup_mode",
            CertsIncomplete "certs_incomplete",
        }
    }

    open_enum! {
        /// `enum vm_uefi_mode`
        VmUefiMode {
            Setup "setup",
            User "user",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `VM.create`: makes an object from its constructor fields. Least role: vm-admin.
    "VM.create" Create -> Ref<Vm> {
        /// `string`, has a default.
        0 "name_label" name_label: String;
        /// `string`, has a default.
        1 "name_description" name_description: String;
        /// `enum vm_power_state`, has a default.
        2 "power_state" power_state: VmPowerState = VmPowerState::Halted;
        /// `int`, required.
        3 "user_version" user_version: i64;
        /// `bool`, required.
        4 "is_a_template" is_a_template: bool;
        /// `VDI ref`, has a default.
        5 "suspend_VDI" suspend_vdi: Ref<Vdi>;
        /// `host ref`, required.
        6 "affinity" affinity: Ref<Host>;
        /// `int`, has a default. Deprecated since XenServer 5.6 (midnight-ride).
        7 "memory_target" memory_target: i64;
        /// `int`, required.
        8 "memory_static_max" memory_static_max: i64;
        /// `int`, required.
        9 "memory_dynamic_max" memory_dynamic_max: i64;
        /// `int`, required.
        10 "memory_dynamic_min" memory_dynamic_min: i64;
        /// `int`, required.
        11 "memory_static_min" memory_static_min: i64;
        /// `(string -> string) map`, required.
        12 "VCPUs_params" vcpus_params: BTreeMap<String, String>;
        /// `int`, required.
        13 "VCPUs_max" vcpus_max: i64;
        /// `int`, required.
        14 "VCPUs_at_startup" vcpus_at_startup: i64;
        /// `enum on_softreboot_behavior`, has a default. Since XAPI 23.1.0. Prototype: may change.
        15 "actions_after_softreboot" [opt] actions_after_softreboot: Option<OnSoftrebootBehavior>;
        /// `enum on_normal_exit`, required.
        16 "actions_after_shutdown" actions_after_shutdown: OnNormalExit;
        /// `enum on_normal_exit`, required.
        17 "actions_after_reboot" actions_after_reboot: OnNormalExit;
        /// `enum on_crash_behaviour`, required.
        18 "actions_after_crash" actions_after_crash: OnCrashBehaviour;
        /// `string`, required.
        19 "PV_bootloader" pv_bootloader: String;
        /// `string`, required.
        20 "PV_kernel" pv_kernel: String;
        /// `string`, required.
        21 "PV_ramdisk" pv_ramdisk: String;
        /// `string`, required.
        22 "PV_args" pv_args: String;
        /// `string`, required.
        23 "PV_bootloader_args" pv_bootloader_args: String;
        /// `string`, required.
        24 "PV_legacy_args" pv_legacy_args: String;
        /// `string`, required. Deprecated since XenServer 7.5 (kolkata).
        25 "HVM_boot_policy" hvm_boot_policy: String;
        /// `(string -> string) map`, required.
        26 "HVM_boot_params" hvm_boot_params: BTreeMap<String, String>;
        /// `float`, has a default. Since XenServer 4.1 (miami).
        27 "HVM_shadow_multiplier" hvm_shadow_multiplier: f64 = 1.0;
        /// `(string -> string) map`, required.
        28 "platform" platform: BTreeMap<String, String>;
        /// `string`, required. Deprecated since XenServer 6.0 (boston).
        29 "PCI_bus" pci_bus: String;
        /// `(string -> string) map`, required.
        30 "other_config" other_config: BTreeMap<String, String>;
        /// `(string -> string) map`, has a default.
        31 "last_boot_CPU_flags" last_boot_cpu_flags: BTreeMap<String, String>;
        /// `string`, has a default. Since XenServer 4.1 (miami).
        32 "last_booted_record" last_booted_record: String;
        /// `string`, required.
        33 "recommendations" recommendations: String;
        /// `(string -> string) map`, has a default. Since XenServer 4.1 (miami).
        34 "xenstore_data" xenstore_data: BTreeMap<String, String>;
        /// `bool`, has a default. Since XenServer 5.0 (orlando). Deprecated since XenServer 6.0
        /// (boston).
        35 "ha_always_run" ha_always_run: bool;
        /// `string`, has a default. Since XenServer 5.0 (orlando).
        36 "ha_restart_priority" ha_restart_priority: String;
        /// `string set`, has a default. Since XenServer 5.0 (orlando).
        37 "tags" tags: Vec<String>;
        /// `(enum vm_operations -> string) map`, has a default. Since XenServer 5.0 (orlando).
        38 "blocked_operations" blocked_operations: BTreeMap<VmOperations, String>;
        /// `VMPP ref`, has a default. Since XenServer 5.6 FP1 (cowley). Deprecated since XenServer
        /// 6.2 (clearwater).
        39 "protection_policy" protection_policy: Ref<Vmpp>;
        /// `bool`, has a default. Since XenServer 5.6 FP1 (cowley). Removed in XenServer 6.2
        /// (clearwater).
        40 "is_snapshot_from_vmpp" is_snapshot_from_vmpp: bool;
        /// `VMSS ref`, has a default. Since XenServer 7.2 (falcon).
        41 "snapshot_schedule" snapshot_schedule: Ref<Vmss>;
        /// `bool`, has a default. Since XenServer 7.2 (falcon).
        42 "is_vmss_snapshot" is_vmss_snapshot: bool;
        /// `VM_appliance ref`, has a default.
        43 "appliance" appliance: Ref<VmAppliance>;
        /// `int`, has a default. Since XenServer 6.0 (boston).
        44 "start_delay" start_delay: i64;
        /// `int`, has a default. Since XenServer 6.0 (boston).
        45 "shutdown_delay" shutdown_delay: i64;
        /// `int`, has a default. Since XenServer 6.0 (boston).
        46 "order" order: i64;
        /// `SR ref`, has a default. Since XenServer 6.0 (boston).
        47 "suspend_SR" suspend_sr: Ref<Sr>;
        /// `int`, has a default. Since XenServer 6.0 (boston).
        48 "version" version: i64;
        /// `string`, has a default. Since XenServer 6.2 (clearwater).
        49 "generation_id" generation_id: String = "0:0".into();
        /// `int`, has a default. Since XenServer 6.5 SP1 (cream).
        50 "hardware_platform_version" hardware_platform_version: i64;
        /// `bool`, has a default. Since XenServer 7.0 (dundee).
        51 "has_vendor_device" has_vendor_device: bool;
        /// `string`, has a default. Since XenServer 7.1 (ely).
        52 "reference_label" reference_label: String;
        /// `enum domain_type`, has a default. Since XenServer 7.5 (kolkata).
        53 "domain_type" domain_type: DomainType = DomainType::Unspecified;
        /// `(string -> string) map`, has a default. Since Citrix Hypervisor 8.0 (naples).
        54 "NVRAM" nvram: BTreeMap<String, String>;
    }
}

call! {
    /// `VM.destroy`: removes an object. Least role: vm-admin.
    "VM.destroy" Destroy -> () {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.restart_device_models`, returns `void`. Since XAPI 23.30.0. Prototype: may change. Least
    /// role: client-cert. Fails with `VM_BAD_POWER_STATE`, `OTHER_OPERATION_IN_PROGRESS`,
    /// `VM_IS_TEMPLATE`, `OPERATION_NOT_ALLOWED`, `VM_BAD_POWER_STATE`, among others.
    "VM.restart_device_models" RestartDeviceModels -> () {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.set_HVM_boot_policy`, returns `void`. Deprecated since XenServer 7.5 (kolkata). Least
    /// role: vm-admin.
    "VM.set_HVM_boot_policy" SetHvmBootPolicy [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        value: String,
    }
}

call! {
    /// `VM.set_domain_type`, returns `void`. Since XenServer 7.5 (kolkata). Least role: vm-admin.
    "VM.set_domain_type" SetDomainType [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `enum domain_type`
        value: DomainType,
    }
}

call! {
    /// `VM.set_actions_after_crash`, returns `void`. Least role: vm-admin.
    "VM.set_actions_after_crash" SetActionsAfterCrash -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `enum on_crash_behaviour`
        value: OnCrashBehaviour,
    }
}

call! {
    /// `VM.import`, returns `VM ref set`. Since XenServer 7.0 (dundee). Least role: pool-operator.
    "VM.import" Import -> Vec<Ref<Vm>> {
        /// `string`
        url: String,
        /// `SR ref`
        sr: Ref<Sr>,
        /// `bool`
        full_restore: bool,
        /// `bool`
        force: bool,
    }
}

call! {
    /// `VM.set_has_vendor_device`, returns `void`. Since XenServer 7.0 (dundee). Least role:
    /// vm-admin.
    "VM.set_has_vendor_device" SetHasVendorDevice -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `VM.call_plugin`, returns `string`. Since XenServer 6.5 SP1 (cream). Least role:
    /// vm-operator.
    "VM.call_plugin" CallPlugin -> String {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        plugin: String,
        /// `string`
        r#fn: String,
        /// `(string -> string) map`
        [secret] args: BTreeMap<String, String>,
    }
}

call! {
    /// `VM.query_services`, returns `(string -> string) map`. Since XenServer 6.1 (tampa). Least
    /// role: pool-admin.
    "VM.query_services" QueryServices -> BTreeMap<String, String> {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.set_appliance`, returns `void`. Since XenServer 6.0 (boston). Least role: pool-operator.
    "VM.set_appliance" SetAppliance -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `VM_appliance ref`
        value: Ref<VmAppliance>,
    }
}

call! {
    /// `VM.import_convert`, returns `void`. Since XenServer 6.1 (tampa). Least role: vm-admin.
    "VM.import_convert" ImportConvert -> () {
        /// `string`
        r#type: String,
        /// `string`
        username: String,
        /// `string`
        [secret] password: String,
        /// `SR ref`
        sr: Ref<Sr>,
        /// `(string -> string) map`
        remote_config: BTreeMap<String, String>,
    }
}

call! {
    /// `VM.recover`, returns `void`. Since XenServer 6.0 (boston). Least role: read-only.
    "VM.recover" Recover -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `session ref`
        [secret] session_to: Ref<Session>,
        /// `bool`
        force: bool,
    }
}

call! {
    /// `VM.get_SRs_required_for_recovery`, returns `SR ref set`. Since XenServer 6.5 (creedence).
    /// Least role: read-only.
    "VM.get_SRs_required_for_recovery" GetSrsRequiredForRecovery -> Vec<Ref<Sr>> {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `session ref`
        [secret] session_to: Ref<Session>,
    }
}

call! {
    /// `VM.assert_can_be_recovered`, returns `void`. Since XenServer 6.0 (boston). Least role:
    /// read-only. Fails with `VM_IS_PART_OF_AN_APPLIANCE`, `VM_REQUIRES_SR`, among others.
    "VM.assert_can_be_recovered" AssertCanBeRecovered -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `session ref`
        [secret] session_to: Ref<Session>,
    }
}

call! {
    /// `VM.set_suspend_VDI`, returns `void`. Since XenServer 6.0 (boston). Least role:
    /// pool-operator.
    "VM.set_suspend_VDI" SetSuspendVdi -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `VDI ref`
        value: Ref<Vdi>,
    }
}

call! {
    /// `VM.set_order`, returns `void`. Since XenServer 6.0 (boston). Least role: pool-operator.
    "VM.set_order" SetOrder -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `VM.set_shutdown_delay`, returns `void`. Since XenServer 6.0 (boston). Least role:
    /// pool-operator.
    "VM.set_shutdown_delay" SetShutdownDelay -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `VM.set_start_delay`, returns `void`. Since XenServer 6.0 (boston). Least role:
    /// pool-operator.
    "VM.set_start_delay" SetStartDelay -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `VM.set_snapshot_schedule`, returns `void`. Since XenServer 7.2 (falcon). Least role:
    /// pool-operator.
    "VM.set_snapshot_schedule" SetSnapshotSchedule [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `VMSS ref`
        value: Ref<Vmss>,
    }
}

call! {
    /// `VM.copy_bios_strings`, returns `void`. Since XenServer 5.6 (midnight-ride). Least role:
    /// vm-admin.
    "VM.copy_bios_strings" CopyBiosStrings -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `VM.set_bios_strings`, returns `void`. Since XenServer 7.3 (inverness). Least role:
    /// vm-admin. Fails with `VM_BIOS_STRINGS_ALREADY_SET`, `INVALID_VALUE`, among others.
    "VM.set_bios_strings" SetBiosStrings -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `(string -> string) map`
        value: BTreeMap<String, String>,
    }
}

call! {
    /// `VM.retrieve_wlb_recommendations`, returns `(host ref -> string set) map`. Since XenServer
    /// 5.5 (george). Least role: read-only.
    "VM.retrieve_wlb_recommendations" RetrieveWlbRecommendations -> BTreeMap<Ref<Host>, Vec<String>> {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.assert_agile`, returns `void`. Since XenServer 5.0 (orlando). Least role: read-only.
    "VM.assert_agile" AssertAgile -> () {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.create_new_blob`, returns `blob ref`. Since XenServer 5.0 (orlando). Least role:
    /// vm-power-admin.
    "VM.create_new_blob" CreateNewBlob -> Ref<Blob> {
        /// `VM ref`
        vm: Ref<Vm>,
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
    /// `VM.assert_can_boot_here`, returns `void`. Least role: read-only. Fails with
    /// `HOST_NOT_ENOUGH_FREE_MEMORY`, `HOST_NOT_ENOUGH_PCPUS`,
    /// `NETWORK_SRIOV_INSUFFICIENT_CAPACITY`, `HOST_NOT_LIVE`, `HOST_DISABLED`,
    /// `HOST_CANNOT_ATTACH_NETWORK`, `VM_HVM_REQUIRED`, `VM_REQUIRES_GPU`, `VM_REQUIRES_IOMMU`,
    /// `VM_REQUIRES_NETWORK`, `VM_REQUIRES_SR`, `VM_REQUIRES_VGPU`, `VM_HOST_INCOMPATIBLE_VERSION`,
    /// `VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION`, `INVALID_VALUE`,
    /// `MEMORY_CONSTRAINT_VIOLATION`, `OPERATION_NOT_ALLOWED`, `VALUE_NOT_SUPPORTED`,
    /// `VM_INCOMPATIBLE_WITH_THIS_HOST`, among others.
    "VM.assert_can_boot_here" AssertCanBootHere -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `VM.get_possible_hosts`, returns `host ref set`. Least role: read-only.
    "VM.get_possible_hosts" GetPossibleHosts -> Vec<Ref<Host>> {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.get_allowed_VIF_devices`, returns `string set`. Least role: read-only.
    "VM.get_allowed_VIF_devices" GetAllowedVifDevices [no_async] -> Vec<String> {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.get_allowed_VBD_devices`, returns `string set`. Least role: read-only.
    "VM.get_allowed_VBD_devices" GetAllowedVbdDevices [no_async] -> Vec<String> {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.update_allowed_operations`, returns `void`. Least role: pool-admin.
    "VM.update_allowed_operations" UpdateAllowedOperations -> () {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.assert_operation_valid`, returns `void`. Least role: read-only.
    "VM.assert_operation_valid" AssertOperationValid -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `enum vm_operations`
        op: VmOperations,
    }
}

call! {
    /// `VM.forget_data_source_archives`, returns `void`. Since XenServer 5.0 (orlando). Least role:
    /// vm-admin.
    "VM.forget_data_source_archives" ForgetDataSourceArchives [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        data_source: String,
    }
}

call! {
    /// `VM.query_data_source`, returns `float`. Since XenServer 5.0 (orlando). Least role:
    /// read-only.
    "VM.query_data_source" QueryDataSource [no_async] -> f64 {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        data_source: String,
    }
}

call! {
    /// `VM.record_data_source`, returns `void`. Since XenServer 5.0 (orlando). Least role:
    /// vm-admin.
    "VM.record_data_source" RecordDataSource [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        data_source: String,
    }
}

call! {
    /// `VM.get_data_sources`, returns `data_source record set`. Since XenServer 5.0 (orlando).
    /// Least role: read-only.
    "VM.get_data_sources" GetDataSources [no_async] -> Vec<DataSourceRecord> {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.get_boot_record`, returns `VM record`. Deprecated since XenServer 7.3 (inverness). Least
    /// role: read-only.
    "VM.get_boot_record" GetBootRecord [no_async] -> VmRecord {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.assert_can_migrate`, returns `void`. Since XenServer 6.1 (tampa). Least role:
    /// vm-power-admin. Fails with `LICENCE_RESTRICTION`, among others.
    "VM.assert_can_migrate" AssertCanMigrate -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `(string -> string) map`
        [secret] dest: BTreeMap<String, String>,
        /// `bool`
        live: bool,
        /// `(VDI ref -> SR ref) map`
        vdi_map: BTreeMap<Ref<Vdi>, Ref<Sr>>,
        /// `(VIF ref -> network ref) map`
        vif_map: BTreeMap<Ref<Vif>, Ref<Network>>,
        /// `(string -> string) map`
        options: BTreeMap<String, String>,
        ;
        /// `(VGPU ref -> GPU_group ref) map`, has a default on the server. Since XenServer 7.3
        /// (inverness).
        vgpu_map: BTreeMap<Ref<Vgpu>, Ref<GpuGroup>> = Default::default(),
    }
}

call! {
    /// `VM.migrate_send`, returns `VM ref`. Since XenServer 6.1 (tampa). Least role:
    /// vm-power-admin. Fails with `VM_BAD_POWER_STATE`, `LICENCE_RESTRICTION`, among others.
    "VM.migrate_send" MigrateSend -> Ref<Vm> {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `(string -> string) map`
        [secret] dest: BTreeMap<String, String>,
        /// `bool`
        live: bool,
        /// `(VDI ref -> SR ref) map`
        vdi_map: BTreeMap<Ref<Vdi>, Ref<Sr>>,
        /// `(VIF ref -> network ref) map`
        vif_map: BTreeMap<Ref<Vif>, Ref<Network>>,
        /// `(string -> string) map`
        options: BTreeMap<String, String>,
        ;
        /// `(VGPU ref -> GPU_group ref) map`, has a default on the server. Since XenServer 7.3
        /// (inverness).
        vgpu_map: BTreeMap<Ref<Vgpu>, Ref<GpuGroup>> = Default::default(),
        /// `(VDI ref -> string) map`, has a default on the server. Since XAPI 26.14.0.
        vdi_format_map: BTreeMap<Ref<Vdi>, String> = Default::default(),
    }
}

call! {
    /// `VM.maximise_memory`, returns `int`. Since XenServer 4.1 (miami). Least role: read-only.
    "VM.maximise_memory" MaximiseMemory -> i64 {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `int`
        total: i64,
        /// `bool`
        approximate: bool,
    }
}

call! {
    /// `VM.send_trigger`, returns `void`. Least role: pool-admin. Fails with `VM_BAD_POWER_STATE`,
    /// among others.
    "VM.send_trigger" SendTrigger -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        trigger: String,
    }
}

call! {
    /// `VM.send_sysrq`, returns `void`. Least role: pool-admin. Fails with `VM_BAD_POWER_STATE`,
    /// among others.
    "VM.send_sysrq" SendSysrq -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        key: String,
    }
}

call! {
    /// `VM.set_VCPUs_at_startup`, returns `void`. Since XenServer 5.6 (midnight-ride). Least role:
    /// vm-admin.
    "VM.set_VCPUs_at_startup" SetVcpusAtStartup [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `VM.set_VCPUs_max`, returns `void`. Since XenServer 5.6 (midnight-ride). Least role:
    /// vm-admin.
    "VM.set_VCPUs_max" SetVcpusMax [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `VM.set_shadow_multiplier_live`, returns `void`. Least role: vm-power-admin.
    "VM.set_shadow_multiplier_live" SetShadowMultiplierLive -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `float`
        multiplier: f64,
    }
}

call! {
    /// `VM.set_HVM_shadow_multiplier`, returns `void`. Since XenServer 5.6 (midnight-ride). Least
    /// role: vm-power-admin.
    "VM.set_HVM_shadow_multiplier" SetHvmShadowMultiplier [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `float`
        value: f64,
    }
}

call! {
    /// `VM.get_cooperative`, returns `bool`. Since XenServer 5.6 (midnight-ride). Deprecated since
    /// XenServer 6.1 (tampa). Least role: read-only.
    "VM.get_cooperative" GetCooperative -> bool {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.wait_memory_target_live`, returns `void`. Since XenServer 5.0 (orlando). Deprecated
    /// since XenServer 5.6 (midnight-ride). Least role: read-only.
    "VM.wait_memory_target_live" WaitMemoryTargetLive -> () {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.set_memory_target_live`, returns `void`. Deprecated since XenServer 5.6 (midnight-ride).
    /// Least role: vm-power-admin.
    "VM.set_memory_target_live" SetMemoryTargetLive -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `int`
        target: i64,
    }
}

call! {
    /// `VM.set_memory`, returns `void`. Since XenServer 7.1 (ely). Least role: vm-power-admin.
    "VM.set_memory" SetMemory -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `VM.set_memory_limits`, returns `void`. Since XenServer 5.6 (midnight-ride). Least role:
    /// vm-power-admin.
    "VM.set_memory_limits" SetMemoryLimits -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `int`
        static_min: i64,
        /// `int`
        static_max: i64,
        /// `int`
        dynamic_min: i64,
        /// `int`
        dynamic_max: i64,
    }
}

call! {
    /// `VM.set_memory_static_range`, returns `void`. Since XenServer 5.6 (midnight-ride). Least
    /// role: vm-power-admin.
    "VM.set_memory_static_range" SetMemoryStaticRange -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `int`
        min: i64,
        /// `int`
        max: i64,
    }
}

call! {
    /// `VM.set_memory_static_min`, returns `void`. Since XenServer 5.6 (midnight-ride). Least role:
    /// vm-power-admin.
    "VM.set_memory_static_min" SetMemoryStaticMin [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `VM.set_memory_static_max`, returns `void`. Since XenServer 5.0 (orlando). Least role:
    /// vm-power-admin. Fails with `HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN`, among others.
    "VM.set_memory_static_max" SetMemoryStaticMax [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `VM.set_memory_dynamic_range`, returns `void`. Since XenServer 5.6 (midnight-ride). Least
    /// role: vm-power-admin.
    "VM.set_memory_dynamic_range" SetMemoryDynamicRange -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `int`
        min: i64,
        /// `int`
        max: i64,
    }
}

call! {
    /// `VM.set_memory_dynamic_min`, returns `void`. Since XenServer 5.6 (midnight-ride). Least
    /// role: vm-power-admin.
    "VM.set_memory_dynamic_min" SetMemoryDynamicMin [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `VM.set_memory_dynamic_max`, returns `void`. Since XenServer 5.6 (midnight-ride). Least
    /// role: vm-power-admin.
    "VM.set_memory_dynamic_max" SetMemoryDynamicMax [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `VM.compute_memory_overhead`, returns `int`. Since XenServer 5.6 (midnight-ride). Least
    /// role: read-only.
    "VM.compute_memory_overhead" ComputeMemoryOverhead -> i64 {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.set_ha_always_run`, returns `void`. Since XenServer 5.0 (orlando). Deprecated since
    /// XenServer 6.0 (boston). Least role: pool-operator.
    "VM.set_ha_always_run" SetHaAlwaysRun [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `VM.set_ha_restart_priority`, returns `void`. Since XenServer 5.0 (orlando). Least role:
    /// pool-operator.
    "VM.set_ha_restart_priority" SetHaRestartPriority [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        value: String,
    }
}

call! {
    /// `VM.remove_from_NVRAM`, returns `void`. Since Citrix Hypervisor 8.0 (naples). Least role:
    /// vm-admin.
    "VM.remove_from_NVRAM" RemoveFromNvram [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        key: String,
    }
}

call! {
    /// `VM.add_to_NVRAM`, returns `void`. Since Citrix Hypervisor 8.0 (naples). Least role:
    /// vm-admin.
    "VM.add_to_NVRAM" AddToNvram [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        key: String,
        /// `string`
        value: String,
    }
}

call! {
    /// `VM.set_NVRAM`, returns `void`. Since Citrix Hypervisor 8.0 (naples). Least role: vm-admin.
    "VM.set_NVRAM" SetNvram [no_async] -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `(string -> string) map`
        value: BTreeMap<String, String>,
    }
}

call! {
    /// `VM.add_to_VCPUs_params_live`, returns `void`. Least role: vm-admin.
    "VM.add_to_VCPUs_params_live" AddToVcpusParamsLive -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        key: String,
        /// `string`
        value: String,
    }
}

call! {
    /// `VM.set_VCPUs_number_live`, returns `void`. Least role: vm-admin. Fails with
    /// `OPERATION_NOT_ALLOWED`, `LICENCE_RESTRICTION`, among others.
    "VM.set_VCPUs_number_live" SetVcpusNumberLive -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `int`
        nvcpu: i64,
    }
}

call! {
    /// `VM.pool_migrate`, returns `void`. Least role: client-cert. Fails with `VM_BAD_POWER_STATE`,
    /// `OTHER_OPERATION_IN_PROGRESS`, `VM_IS_TEMPLATE`, `OPERATION_NOT_ALLOWED`,
    /// `VM_BAD_POWER_STATE`, among others.
    "VM.pool_migrate" PoolMigrate -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `host ref`
        host: Ref<Host>,
        /// `(string -> string) map`
        options: BTreeMap<String, String>,
    }
}

call! {
    /// `VM.resume_on`, returns `void`. Least role: client-cert. Fails with `VM_BAD_POWER_STATE`,
    /// `OPERATION_NOT_ALLOWED`, `VM_IS_TEMPLATE`, among others.
    "VM.resume_on" ResumeOn -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `host ref`
        host: Ref<Host>,
        /// `bool`
        start_paused: bool,
        /// `bool`
        force: bool,
    }
}

call! {
    /// `VM.resume`, returns `void`. Least role: vm-operator. Fails with `VM_BAD_POWER_STATE`,
    /// `OPERATION_NOT_ALLOWED`, `VM_IS_TEMPLATE`, among others.
    "VM.resume" Resume -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `bool`
        start_paused: bool,
        /// `bool`
        force: bool,
    }
}

call! {
    /// `VM.suspend`, returns `void`. Least role: client-cert. Fails with `VM_BAD_POWER_STATE`,
    /// `OTHER_OPERATION_IN_PROGRESS`, `OPERATION_NOT_ALLOWED`, `VM_IS_TEMPLATE`, among others.
    "VM.suspend" Suspend -> () {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.hard_reboot`, returns `void`. Least role: vm-operator. Fails with `VM_BAD_POWER_STATE`,
    /// `OTHER_OPERATION_IN_PROGRESS`, `OPERATION_NOT_ALLOWED`, `VM_IS_TEMPLATE`, among others.
    "VM.hard_reboot" HardReboot -> () {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.power_state_reset`, returns `void`. Least role: pool-operator.
    "VM.power_state_reset" PowerStateReset -> () {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.hard_shutdown`, returns `void`. Least role: vm-operator. Fails with
    /// `VM_BAD_POWER_STATE`, `OTHER_OPERATION_IN_PROGRESS`, `OPERATION_NOT_ALLOWED`,
    /// `VM_IS_TEMPLATE`, among others.
    "VM.hard_shutdown" HardShutdown -> () {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.clean_reboot`, returns `void`. Least role: vm-operator. Fails with `VM_BAD_POWER_STATE`,
    /// `OTHER_OPERATION_IN_PROGRESS`, `OPERATION_NOT_ALLOWED`, `VM_IS_TEMPLATE`, among others.
    "VM.clean_reboot" CleanReboot -> () {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.shutdown`, returns `void`. Since XenServer 6.2 (clearwater). Least role: client-cert.
    /// Fails with `VM_BAD_POWER_STATE`, `OTHER_OPERATION_IN_PROGRESS`, `OPERATION_NOT_ALLOWED`,
    /// `VM_IS_TEMPLATE`, among others.
    "VM.shutdown" Shutdown -> () {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.clean_shutdown`, returns `void`. Least role: vm-operator. Fails with
    /// `VM_BAD_POWER_STATE`, `OTHER_OPERATION_IN_PROGRESS`, `OPERATION_NOT_ALLOWED`,
    /// `VM_IS_TEMPLATE`, among others.
    "VM.clean_shutdown" CleanShutdown -> () {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.unpause`, returns `void`. Least role: vm-operator. Fails with `VM_BAD_POWER_STATE`,
    /// `OPERATION_NOT_ALLOWED`, `VM_IS_TEMPLATE`, among others.
    "VM.unpause" Unpause -> () {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.pause`, returns `void`. Least role: vm-operator. Fails with `VM_BAD_POWER_STATE`,
    /// `OTHER_OPERATION_IN_PROGRESS`, `OPERATION_NOT_ALLOWED`, `VM_IS_TEMPLATE`, among others.
    "VM.pause" Pause -> () {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.start_on`, returns `void`. Least role: client-cert. Fails with `VM_BAD_POWER_STATE`,
    /// `VM_IS_TEMPLATE`, `OTHER_OPERATION_IN_PROGRESS`, `OPERATION_NOT_ALLOWED`,
    /// `BOOTLOADER_FAILED`, `UNKNOWN_BOOTLOADER`, among others.
    "VM.start_on" StartOn -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `host ref`
        host: Ref<Host>,
        /// `bool`
        start_paused: bool,
        /// `bool`
        force: bool,
    }
}

call! {
    /// `VM.start`, returns `void`. Least role: vm-operator. Fails with `VM_BAD_POWER_STATE`,
    /// `VM_HVM_REQUIRED`, `VM_IS_TEMPLATE`, `OTHER_OPERATION_IN_PROGRESS`, `OPERATION_NOT_ALLOWED`,
    /// `BOOTLOADER_FAILED`, `UNKNOWN_BOOTLOADER`, `NO_HOSTS_AVAILABLE`, `LICENCE_RESTRICTION`,
    /// among others.
    "VM.start" Start -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `bool`
        start_paused: bool,
        /// `bool`
        force: bool,
    }
}

call! {
    /// `VM.provision`, returns `void`. Least role: vm-admin. Fails with `VM_BAD_POWER_STATE`,
    /// `SR_FULL`, `OPERATION_NOT_ALLOWED`, `LICENCE_RESTRICTION`, among others.
    "VM.provision" Provision -> () {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.checkpoint`, returns `VM ref`. Since XenServer 5.6 (midnight-ride). Least role:
    /// vm-power-admin. Fails with `VM_BAD_POWER_STATE`, `SR_FULL`, `OPERATION_NOT_ALLOWED`,
    /// `VM_CHECKPOINT_SUSPEND_FAILED`, `VM_CHECKPOINT_RESUME_FAILED`, among others.
    "VM.checkpoint" Checkpoint -> Ref<Vm> {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        new_name: String,
    }
}

call! {
    /// `VM.revert`, returns `void`. Since XenServer 5.6 (midnight-ride). Least role:
    /// vm-power-admin. Fails with `VM_BAD_POWER_STATE`, `OPERATION_NOT_ALLOWED`, `SR_FULL`,
    /// `VM_REVERT_FAILED`, among others.
    "VM.revert" Revert -> () {
        /// `VM ref`
        snapshot: Ref<Vm>,
    }
}

call! {
    /// `VM.copy`, returns `VM ref`. Least role: vm-admin. Fails with `VM_BAD_POWER_STATE`,
    /// `SR_FULL`, `OPERATION_NOT_ALLOWED`, `LICENCE_RESTRICTION`, among others.
    "VM.copy" Copy -> Ref<Vm> {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        new_name: String,
        /// `SR ref`
        sr: Ref<Sr>,
    }
}

call! {
    /// `VM.clone`, returns `VM ref`. Least role: vm-admin. Fails with `VM_BAD_POWER_STATE`,
    /// `SR_FULL`, `OPERATION_NOT_ALLOWED`, `LICENCE_RESTRICTION`, among others.
    "VM.clone" Clone -> Ref<Vm> {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        new_name: String,
    }
}

call! {
    /// `VM.snapshot`, returns `VM ref`. Since XenServer 5.0 (orlando). Least role: vm-power-admin.
    /// Fails with `VM_BAD_POWER_STATE`, `SR_FULL`, `OPERATION_NOT_ALLOWED`, among others.
    "VM.snapshot" Snapshot -> Ref<Vm> {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        new_name: String,
        ;
        /// `VDI ref set`, has a default on the server. Since XAPI 21.4.0.
        ignore_vdis: Vec<Ref<Vdi>> = Default::default(),
    }
}

call! {
    /// `VM.set_groups`, returns `void`. Since XAPI 24.19.1. Least role: vm-admin.
    "VM.set_groups" SetGroups -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `VM_group ref set`
        value: Vec<Ref<VmGroup>>,
    }
}

call! {
    /// `VM.set_uefi_mode`, returns `string`. Since XAPI 24.17.0. Least role: pool-admin.
    "VM.set_uefi_mode" SetUefiMode -> String {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `enum vm_uefi_mode`
        mode: VmUefiMode,
    }
}

call! {
    /// `VM.get_secureboot_readiness`, returns `enum vm_secureboot_readiness`. Since XAPI 24.17.0.
    /// Least role: vm-admin.
    "VM.get_secureboot_readiness" GetSecurebootReadiness -> VmSecurebootReadiness {
        /// `VM ref`
        vm: Ref<Vm>,
    }
}

call! {
    /// `VM.call_host_plugin`, returns `string`. Since XAPI 25.22.0. Least role: pool-admin.
    "VM.call_host_plugin" CallHostPlugin -> String {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        plugin: String,
        /// `string`
        r#fn: String,
        /// `(string -> string) map`
        [secret] args: BTreeMap<String, String>,
    }
}

call! {
    /// `VM.sysprep`, returns `void`. Since XAPI 25.24.0. Least role: vm-admin.
    "VM.sysprep" Sysprep -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `string`
        [secret] unattend: String,
        ;
        /// `float`, has a default on the server.
        timeout: f64 = 180.0,
    }
}

call! {
    /// `VM.update_secureboot_certificates_on_boot`, returns `void`. Since XAPI 26.14.0. Least role:
    /// vm-admin.
    "VM.update_secureboot_certificates_on_boot" UpdateSecurebootCertificatesOnBoot -> () {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `bool`
        mark: bool,
    }
}

/// Names of the fields of `VM`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Vm;
        ro UUID "uuid" String;
        ro ALLOWED_OPERATIONS "allowed_operations" Vec<VmOperations>;
        ro CURRENT_OPERATIONS "current_operations" BTreeMap<String, VmOperations>;
        rw NAME_LABEL "name_label" String;
        rw NAME_DESCRIPTION "name_description" String;
        ro POWER_STATE "power_state" VmPowerState;
        rw USER_VERSION "user_version" i64;
        rw IS_A_TEMPLATE "is_a_template" bool;
        ro IS_DEFAULT_TEMPLATE "is_default_template" bool;
        ro SUSPEND_VDI "suspend_VDI" Ref<Vdi>;
        ro RESIDENT_ON "resident_on" Ref<Host>;
        ro SCHEDULED_TO_BE_RESIDENT_ON "scheduled_to_be_resident_on" Ref<Host>;
        rw AFFINITY "affinity" Ref<Host>;
        ro MEMORY_OVERHEAD "memory_overhead" i64;
        ro MEMORY_TARGET "memory_target" i64;
        ro MEMORY_STATIC_MAX "memory_static_max" i64;
        ro MEMORY_DYNAMIC_MAX "memory_dynamic_max" i64;
        ro MEMORY_DYNAMIC_MIN "memory_dynamic_min" i64;
        ro MEMORY_STATIC_MIN "memory_static_min" i64;
        rw VCPUS_PARAMS "VCPUs_params" BTreeMap<String, String>;
        ro VCPUS_MAX "VCPUs_max" i64;
        ro VCPUS_AT_STARTUP "VCPUs_at_startup" i64;
        rw ACTIONS_AFTER_SOFTREBOOT "actions_after_softreboot" OnSoftrebootBehavior;
        rw ACTIONS_AFTER_SHUTDOWN "actions_after_shutdown" OnNormalExit;
        rw ACTIONS_AFTER_REBOOT "actions_after_reboot" OnNormalExit;
        ro ACTIONS_AFTER_CRASH "actions_after_crash" OnCrashBehaviour;
        ro CONSOLES "consoles" Vec<Ref<Console>>;
        ro VIFS "VIFs" Vec<Ref<Vif>>;
        ro VBDS "VBDs" Vec<Ref<Vbd>>;
        ro VUSBS "VUSBs" Vec<Ref<Vusb>>;
        ro CRASH_DUMPS "crash_dumps" Vec<Ref<Crashdump>>;
        ro VTPMS "VTPMs" Vec<Ref<Vtpm>>;
        rw PV_BOOTLOADER "PV_bootloader" String;
        rw PV_KERNEL "PV_kernel" String;
        rw PV_RAMDISK "PV_ramdisk" String;
        rw PV_ARGS "PV_args" String;
        rw PV_BOOTLOADER_ARGS "PV_bootloader_args" String;
        rw PV_LEGACY_ARGS "PV_legacy_args" String;
        ro HVM_BOOT_POLICY "HVM_boot_policy" String;
        rw HVM_BOOT_PARAMS "HVM_boot_params" BTreeMap<String, String>;
        ro HVM_SHADOW_MULTIPLIER "HVM_shadow_multiplier" f64;
        rw PLATFORM "platform" BTreeMap<String, String>;
        rw PCI_BUS "PCI_bus" String;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro DOMID "domid" i64;
        ro DOMARCH "domarch" String;
        ro LAST_BOOT_CPU_FLAGS "last_boot_CPU_flags" BTreeMap<String, String>;
        ro IS_CONTROL_DOMAIN "is_control_domain" bool;
        ro METRICS "metrics" Ref<VmMetrics>;
        ro GUEST_METRICS "guest_metrics" Ref<VmGuestMetrics>;
        ro LAST_BOOTED_RECORD "last_booted_record" String;
        rw RECOMMENDATIONS "recommendations" String;
        rw XENSTORE_DATA "xenstore_data" BTreeMap<String, String>;
        ro HA_ALWAYS_RUN "ha_always_run" bool;
        ro HA_RESTART_PRIORITY "ha_restart_priority" String;
        ro IS_A_SNAPSHOT "is_a_snapshot" bool;
        ro SNAPSHOT_OF "snapshot_of" Ref<Vm>;
        ro SNAPSHOTS "snapshots" Vec<Ref<Vm>>;
        ro SNAPSHOT_TIME "snapshot_time" DateTime;
        ro TRANSPORTABLE_SNAPSHOT_ID "transportable_snapshot_id" String;
        ro BLOBS "blobs" BTreeMap<String, Ref<Blob>>;
        rw TAGS "tags" Vec<String>;
        rw BLOCKED_OPERATIONS "blocked_operations" BTreeMap<VmOperations, String>;
        ro SNAPSHOT_INFO "snapshot_info" BTreeMap<String, String>;
        ro SNAPSHOT_METADATA "snapshot_metadata" String;
        ro PARENT "parent" Ref<Vm>;
        ro CHILDREN "children" Vec<Ref<Vm>>;
        ro BIOS_STRINGS "bios_strings" BTreeMap<String, String>;
        ro PROTECTION_POLICY "protection_policy" Ref<Vmpp>;
        ro IS_SNAPSHOT_FROM_VMPP "is_snapshot_from_vmpp" bool;
        ro SNAPSHOT_SCHEDULE "snapshot_schedule" Ref<Vmss>;
        ro IS_VMSS_SNAPSHOT "is_vmss_snapshot" bool;
        ro APPLIANCE "appliance" Ref<VmAppliance>;
        ro START_DELAY "start_delay" i64;
        ro SHUTDOWN_DELAY "shutdown_delay" i64;
        ro ORDER "order" i64;
        ro VGPUS "VGPUs" Vec<Ref<Vgpu>>;
        ro ATTACHED_PCIS "attached_PCIs" Vec<Ref<Pci>>;
        rw SUSPEND_SR "suspend_SR" Ref<Sr>;
        ro VERSION "version" i64;
        ro GENERATION_ID "generation_id" String;
        rw HARDWARE_PLATFORM_VERSION "hardware_platform_version" i64;
        ro HAS_VENDOR_DEVICE "has_vendor_device" bool;
        ro REQUIRES_REBOOT "requires_reboot" bool;
        ro REFERENCE_LABEL "reference_label" String;
        ro DOMAIN_TYPE "domain_type" DomainType;
        ro NVRAM "NVRAM" BTreeMap<String, String>;
        ro PENDING_GUIDANCES "pending_guidances" Vec<UpdateGuidances>;
        ro PENDING_GUIDANCES_RECOMMENDED "pending_guidances_recommended" Vec<UpdateGuidances>;
        ro PENDING_GUIDANCES_FULL "pending_guidances_full" Vec<UpdateGuidances>;
        ro GROUPS "groups" Vec<Ref<VmGroup>>;
        ro SECUREBOOT_CERTIFICATES_STATE "secureboot_certificates_state" VmSecurebootCertificatesState;
    }
}
