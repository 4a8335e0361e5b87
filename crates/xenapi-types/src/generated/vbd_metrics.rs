//! `VBD_metrics`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `VBD_metrics`. Removed in XenServer 6.1 (tampa).
        class VbdMetrics is Listed;
        /// The record of a `VBD_metrics`, as `get_record` returns it.
        "VBD_metrics" VbdMetricsRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `float`, read-only. Removed in XenServer 6.1 (tampa).
            1 "io_read_kbs" io_read_kbs: f64;
            /// `float`, read-only. Removed in XenServer 6.1 (tampa).
            2 "io_write_kbs" io_write_kbs: f64;
            /// `datetime`, read-only. Removed in XenServer 6.1 (tampa).
            3 "last_updated" last_updated: DateTime;
            /// `(string -> string) map`, read-write. Since XenServer 5.0 (orlando). Removed in
            /// XenServer 6.1 (tampa).
            4 "other_config" other_config: BTreeMap<String, String>;
        }
    }
}

/// Names of the fields of `VBD_metrics`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        VbdMetrics;
        ro UUID "uuid" String;
        ro IO_READ_KBS "io_read_kbs" f64;
        ro IO_WRITE_KBS "io_write_kbs" f64;
        ro LAST_UPDATED "last_updated" DateTime;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
    }
}
