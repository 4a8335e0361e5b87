//! `PIF_metrics`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `PIF_metrics`.
        class PifMetrics is Listed;
        /// The record of a `PIF_metrics`, as `get_record` returns it.
        "PIF_metrics" PifMetricsRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `float`, read-only. Removed in XenServer 6.1 (tampa).
            1 "io_read_kbs" io_read_kbs: f64;
            /// `float`, read-only. Removed in XenServer 6.1 (tampa).
            2 "io_write_kbs" io_write_kbs: f64;
            /// `bool`, read-only.
            3 "carrier" carrier: bool;
            /// `string`, read-only.
            4 "vendor_id" vendor_id: String;
            /// `string`, read-only.
            5 "vendor_name" vendor_name: String;
            /// `string`, read-only.
            6 "device_id" device_id: String;
            /// `string`, read-only.
            7 "device_name" device_name: String;
            /// `int`, read-only.
            8 "speed" speed: i64;
            /// `bool`, read-only.
            9 "duplex" duplex: bool;
            /// `string`, read-only.
            10 "pci_bus_path" pci_bus_path: String;
            /// `datetime`, read-only.
            11 "last_updated" last_updated: DateTime;
            /// `(string -> string) map`, read-write. Since XenServer 5.0 (orlando).
            12 "other_config" other_config: BTreeMap<String, String>;
        }
    }
}

/// Names of the fields of `PIF_metrics`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        PifMetrics;
        ro UUID "uuid" String;
        ro IO_READ_KBS "io_read_kbs" f64;
        ro IO_WRITE_KBS "io_write_kbs" f64;
        ro CARRIER "carrier" bool;
        ro VENDOR_ID "vendor_id" String;
        ro VENDOR_NAME "vendor_name" String;
        ro DEVICE_ID "device_id" String;
        ro DEVICE_NAME "device_name" String;
        ro SPEED "speed" i64;
        ro DUPLEX "duplex" bool;
        ro PCI_BUS_PATH "pci_bus_path" String;
        ro LAST_UPDATED "last_updated" DateTime;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
    }
}
