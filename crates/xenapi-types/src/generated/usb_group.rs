//! `USB_group`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `USB_group`. Since XenServer 7.3 (inverness).
        class UsbGroup is Listed Labelled;
        /// The record of a `USB_group`, as `get_record` returns it.
        "USB_group" UsbGroupRecord {
            /// `string`, read-only. Since XenServer 7.3 (inverness).
            0 "uuid" uuid: String;
            /// `string`, read-write. Since XenServer 7.3 (inverness).
            1 "name_label" name_label: String;
            /// `string`, read-write. Since XenServer 7.3 (inverness).
            2 "name_description" name_description: String;
            /// `PUSB ref set`, read-only. Since XenServer 7.3 (inverness).
            3 "PUSBs" pusbs: Vec<Ref<Pusb>>;
            /// `VUSB ref set`, read-only. Since XenServer 7.3 (inverness).
            4 "VUSBs" vusbs: Vec<Ref<Vusb>>;
            /// `(string -> string) map`, read-write. Since XenServer 7.3 (inverness).
            5 "other_config" other_config: BTreeMap<String, String>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `USB_group.destroy`, returns `void`. Since XenServer 7.3 (inverness). Least role:
    /// pool-admin.
    "USB_group.destroy" Destroy -> () {
        /// `USB_group ref`
        usb_group: Ref<UsbGroup>,
    }
}

call! {
    /// `USB_group.create`, returns `USB_group ref`. Since XenServer 7.3 (inverness). Least role:
    /// pool-admin.
    "USB_group.create" Create -> Ref<UsbGroup> {
        ;
        /// `string`, has a default on the server.
        name_label: String = Default::default(),
        /// `string`, has a default on the server.
        name_description: String = Default::default(),
        /// `(string -> string) map`, has a default on the server.
        other_config: BTreeMap<String, String> = Default::default(),
    }
}

/// Names of the fields of `USB_group`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        UsbGroup;
        ro UUID "uuid" String;
        rw NAME_LABEL "name_label" String;
        rw NAME_DESCRIPTION "name_description" String;
        ro PUSBS "PUSBs" Vec<Ref<Pusb>>;
        ro VUSBS "VUSBs" Vec<Ref<Vusb>>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
    }
}
