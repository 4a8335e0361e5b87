//! `VUSB`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `VUSB`. Since XenServer 7.3 (inverness).
        class Vusb is Listed;
        /// The record of a `VUSB`, as `get_record` returns it.
        "VUSB" VusbRecord {
            /// `string`, read-only. Since XenServer 7.3 (inverness).
            0 "uuid" uuid: String;
            /// `enum vusb_operations set`, read-only.
            1 "allowed_operations" allowed_operations: Vec<VusbOperations>;
            /// `(string -> enum vusb_operations) map`, read-only.
            2 "current_operations" current_operations: BTreeMap<String, VusbOperations>;
            /// `VM ref`, read-only. Since XenServer 7.3 (inverness).
            3 "VM" vm: Ref<Vm>;
            /// `USB_group ref`, read-only. Since XenServer 7.3 (inverness).
            4 "USB_group" usb_group: Ref<UsbGroup>;
            /// `(string -> string) map`, read-write. Since XenServer 7.3 (inverness).
            5 "other_config" other_config: BTreeMap<String, String>;
            /// `bool`, read-only.
            6 "currently_attached" currently_attached: bool;
        }
    }

    open_enum! {
        /// `enum vusb_operations`
        VusbOperations {
            Attach "attach",
            Plug "plug",
            Unplug "unplug",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `VUSB.destroy`, returns `void`. Since XenServer 7.3 (inverness). Least role: pool-admin.
    "VUSB.destroy" Destroy -> () {
        /// `VUSB ref`
        vusb: Ref<Vusb>,
    }
}

call! {
    /// `VUSB.unplug`, returns `void`. Since XenServer 7.3 (inverness). Least role: pool-admin.
    "VUSB.unplug" Unplug -> () {
        /// `VUSB ref`
        vusb: Ref<Vusb>,
    }
}

call! {
    /// `VUSB.create`, returns `VUSB ref`. Since XenServer 7.3 (inverness). Least role: pool-admin.
    "VUSB.create" Create -> Ref<Vusb> {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `USB_group ref`
        usb_group: Ref<UsbGroup>,
        ;
        /// `(string -> string) map`, has a default on the server.
        other_config: BTreeMap<String, String> = Default::default(),
    }
}

/// Names of the fields of `VUSB`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Vusb;
        ro UUID "uuid" String;
        ro ALLOWED_OPERATIONS "allowed_operations" Vec<VusbOperations>;
        ro CURRENT_OPERATIONS "current_operations" BTreeMap<String, VusbOperations>;
        ro VM "VM" Ref<Vm>;
        ro USB_GROUP "USB_group" Ref<UsbGroup>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro CURRENTLY_ATTACHED "currently_attached" bool;
    }
}
