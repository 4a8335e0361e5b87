//! `host_metrics`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `host_metrics`.
        class HostMetrics is Listed;
        /// The record of a `host_metrics`, as `get_record` returns it.
        "host_metrics" HostMetricsRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `int`, read-only.
            1 "memory_total" memory_total: i64;
            /// `int`, read-only. Removed in XenServer 6.1 (tampa).
            2 "memory_free" memory_free: i64;
            /// `bool`, read-only.
            3 "live" live: bool;
            /// `datetime`, read-only.
            4 "last_updated" last_updated: DateTime;
            /// `(string -> string) map`, read-write. Since XenServer 5.0 (orlando).
            5 "other_config" other_config: BTreeMap<String, String>;
        }
    }
}

/// Names of the fields of `host_metrics`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        HostMetrics;
        ro UUID "uuid" String;
        ro MEMORY_TOTAL "memory_total" i64;
        ro MEMORY_FREE "memory_free" i64;
        ro LIVE "live" bool;
        ro LAST_UPDATED "last_updated" DateTime;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
    }
}
