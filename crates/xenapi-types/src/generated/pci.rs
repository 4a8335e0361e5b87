//! `PCI`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `PCI`. Since XenServer 6.0 (boston).
        class Pci is Listed;
        /// The record of a `PCI`, as `get_record` returns it.
        "PCI" PciRecord {
            /// `string`, read-only. Since XenServer 6.0 (boston).
            0 "uuid" uuid: String;
            /// `string`, set by `create` only. Since XenServer 6.0 (boston).
            1 "class_name" class_name: String;
            /// `string`, set by `create` only. Since XenServer 6.0 (boston).
            2 "vendor_name" vendor_name: String;
            /// `string`, set by `create` only. Since XenServer 6.0 (boston).
            3 "device_name" device_name: String;
            /// `host ref`, set by `create` only. Since XenServer 6.0 (boston).
            4 "host" host: Ref<Host>;
            /// `string`, set by `create` only. Since XenServer 6.0 (boston).
            5 "pci_id" pci_id: String;
            /// `PCI ref set`, read-only. Since XenServer 6.0 (boston).
            6 "dependencies" dependencies: Vec<Ref<Pci>>;
            /// `(string -> string) map`, read-write. Since XenServer 6.0 (boston).
            7 "other_config" other_config: BTreeMap<String, String>;
            /// `string`, set by `create` only. Since XenServer 6.2 SP1 hotfix
            /// (clearwater-whetstone).
            8 "subsystem_vendor_name" subsystem_vendor_name: String;
            /// `string`, set by `create` only. Since XenServer 6.2 SP1 hotfix
            /// (clearwater-whetstone).
            9 "subsystem_device_name" subsystem_device_name: String;
            /// `string`, set by `create` only. Since XenServer 7.5 (kolkata).
            10 "driver_name" driver_name: String;
        }
    }

    open_enum! {
        /// `enum pci_dom0_access`
        PciDom0Access {
            Enabled "enabled",
            DisableOnReboot "disable_on_reboot",
            Disabled "disabled",
            EnableOnReboot "enable_on_reboot",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `PCI.enable_dom0_access`, returns `enum pci_dom0_access`. Since XAPI 24.14.0. Least role:
    /// pool-admin.
    "PCI.enable_dom0_access" EnableDom0Access -> PciDom0Access {
        /// `PCI ref`
        pci: Ref<Pci>,
    }
}

call! {
    /// `PCI.disable_dom0_access`, returns `enum pci_dom0_access`. Since XAPI 24.14.0. Least role:
    /// pool-admin.
    "PCI.disable_dom0_access" DisableDom0Access -> PciDom0Access {
        /// `PCI ref`
        pci: Ref<Pci>,
    }
}

call! {
    /// `PCI.get_dom0_access_status`, returns `enum pci_dom0_access`. Since XAPI 24.14.0. Least
    /// role: pool-admin.
    "PCI.get_dom0_access_status" GetDom0AccessStatus -> PciDom0Access {
        /// `PCI ref`
        pci: Ref<Pci>,
    }
}

/// Names of the fields of `PCI`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Pci;
        ro UUID "uuid" String;
        ro CLASS_NAME "class_name" String;
        ro VENDOR_NAME "vendor_name" String;
        ro DEVICE_NAME "device_name" String;
        ro HOST "host" Ref<Host>;
        ro PCI_ID "pci_id" String;
        ro DEPENDENCIES "dependencies" Vec<Ref<Pci>>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro SUBSYSTEM_VENDOR_NAME "subsystem_vendor_name" String;
        ro SUBSYSTEM_DEVICE_NAME "subsystem_device_name" String;
        ro DRIVER_NAME "driver_name" String;
        ro CLASS_ID "class_id" String;
        ro VENDOR_ID "vendor_id" String;
        ro DEVICE_ID "device_id" String;
        ro SUBSYSTEM_VENDOR_ID "subsystem_vendor_id" String;
        ro SUBSYSTEM_DEVICE_ID "subsystem_device_id" String;
    }
}
