//! `PUSB`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `PUSB`. Since XenServer 7.3 (inverness).
        class Pusb is Listed;
        /// The record of a `PUSB`, as `get_record` returns it.
        "PUSB" PusbRecord {
            /// `string`, read-only. Since XenServer 7.3 (inverness).
            0 "uuid" uuid: String;
            /// `USB_group ref`, set by `create` only. Since XenServer 7.3 (inverness).
            1 "USB_group" usb_group: Ref<UsbGroup>;
            /// `host ref`, set by `create` only. Since XenServer 7.3 (inverness).
            2 "host" host: Ref<Host>;
            /// `string`, set by `create` only. Since XenServer 7.3 (inverness).
            3 "path" path: String;
            /// `string`, set by `create` only. Since XenServer 7.3 (inverness).
            4 "vendor_id" vendor_id: String;
            /// `string`, set by `create` only. Since XenServer 7.3 (inverness).
            5 "vendor_desc" vendor_desc: String;
            /// `string`, set by `create` only. Since XenServer 7.3 (inverness).
            6 "product_id" product_id: String;
            /// `string`, set by `create` only. Since XenServer 7.3 (inverness).
            7 "product_desc" product_desc: String;
            /// `string`, set by `create` only. Since XenServer 7.3 (inverness).
            8 "serial" serial: String;
            /// `string`, set by `create` only. Since XenServer 7.3 (inverness).
            9 "version" version: String;
            /// `string`, set by `create` only. Since XenServer 7.3 (inverness).
            10 "description" description: String;
            /// `bool`, read-only. Since XenServer 7.3 (inverness).
            11 "passthrough_enabled" passthrough_enabled: bool;
            /// `(string -> string) map`, read-write. Since XenServer 7.3 (inverness).
            12 "other_config" other_config: BTreeMap<String, String>;
            /// `float`, set by `create` only. Since Citrix Hypervisor 8.2 (stockholm).
            13 "speed" speed: f64 = -1.0;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `PUSB.set_passthrough_enabled`, returns `void`. Since XenServer 7.3 (inverness). Least role:
    /// pool-admin.
    "PUSB.set_passthrough_enabled" SetPassthroughEnabled -> () {
        /// `PUSB ref`
        pusb: Ref<Pusb>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `PUSB.scan`, returns `void`. Since XenServer 7.3 (inverness). Least role: pool-admin.
    "PUSB.scan" Scan -> () {
        /// `host ref`
        host: Ref<Host>,
    }
}

/// Names of the fields of `PUSB`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Pusb;
        ro UUID "uuid" String;
        ro USB_GROUP "USB_group" Ref<UsbGroup>;
        ro HOST "host" Ref<Host>;
        ro PATH "path" String;
        ro VENDOR_ID "vendor_id" String;
        ro VENDOR_DESC "vendor_desc" String;
        ro PRODUCT_ID "product_id" String;
        ro PRODUCT_DESC "product_desc" String;
        ro SERIAL "serial" String;
        ro VERSION "version" String;
        ro DESCRIPTION "description" String;
        ro PASSTHROUGH_ENABLED "passthrough_enabled" bool;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro SPEED "speed" f64;
    }
}
