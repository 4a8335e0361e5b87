//! `VM_guest_metrics`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `VM_guest_metrics`.
        class VmGuestMetrics is Listed;
        /// The record of a `VM_guest_metrics`, as `get_record` returns it.
        "VM_guest_metrics" VmGuestMetricsRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `(string -> string) map`, read-only.
            1 "os_version" os_version: BTreeMap<String, String>;
            /// `(string -> string) map`, read-only. Since XAPI 24.28.0.
            2 "netbios_name" [opt] netbios_name: Option<BTreeMap<String, String>>;
            /// `(string -> string) map`, read-only.
            3 "PV_drivers_version" pv_drivers_version: BTreeMap<String, String>;
            /// `bool`, read-only. Deprecated since XenServer 7.0 (dundee).
            4 "PV_drivers_up_to_date" pv_drivers_up_to_date: bool;
            /// `(string -> string) map`, read-only. Removed in XenServer 5.5 (george).
            5 "memory" memory: BTreeMap<String, String>;
            /// `(string -> string) map`, read-only. Removed in XenServer 5.0 (orlando).
            6 "disks" disks: BTreeMap<String, String>;
            /// `(string -> string) map`, read-only.
            7 "networks" networks: BTreeMap<String, String>;
            /// `(string -> string) map`, read-only.
            8 "other" other: BTreeMap<String, String>;
            /// `datetime`, read-only.
            9 "last_updated" last_updated: DateTime;
            /// `(string -> string) map`, read-write. Since XenServer 5.0 (orlando).
            10 "other_config" other_config: BTreeMap<String, String>;
            /// `bool`, read-only. Since XenServer 5.0 (orlando).
            11 "live" live: bool;
            /// `enum tristate_type`, read-only. Since XenServer 7.0 (dundee).
            12 "can_use_hotplug_vbd" can_use_hotplug_vbd: TristateType = TristateType::Unspecified;
            /// `enum tristate_type`, read-only. Since XenServer 7.0 (dundee).
            13 "can_use_hotplug_vif" can_use_hotplug_vif: TristateType = TristateType::Unspecified;
            /// `bool`, read-only. Since XenServer 7.0 (dundee).
            14 "PV_drivers_detected" pv_drivers_detected: bool;
            /// `(string -> string) map`, read-only. Since XAPI 25.15.0.
            15 "services" [opt] services: Option<BTreeMap<String, String>>;
        }
    }

    open_enum! {
        /// `enum tristate_type`
        TristateType {
            Yes "yes",
            No "no",
            Unspecified "unspecified",
        }
    }
}

/// Names of the fields of `VM_guest_metrics`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        VmGuestMetrics;
        ro UUID "uuid" String;
        ro OS_VERSION "os_version" BTreeMap<String, String>;
        ro NETBIOS_NAME "netbios_name" BTreeMap<String, String>;
        ro PV_DRIVERS_VERSION "PV_drivers_version" BTreeMap<String, String>;
        ro PV_DRIVERS_UP_TO_DATE "PV_drivers_up_to_date" bool;
        ro MEMORY "memory" BTreeMap<String, String>;
        ro DISKS "disks" BTreeMap<String, String>;
        ro NETWORKS "networks" BTreeMap<String, String>;
        ro OTHER "other" BTreeMap<String, String>;
        ro LAST_UPDATED "last_updated" DateTime;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro LIVE "live" bool;
        ro CAN_USE_HOTPLUG_VBD "can_use_hotplug_vbd" TristateType;
        ro CAN_USE_HOTPLUG_VIF "can_use_hotplug_vif" TristateType;
        ro PV_DRIVERS_DETECTED "PV_drivers_detected" bool;
        ro SERVICES "services" BTreeMap<String, String>;
    }
}
