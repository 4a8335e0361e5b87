//! `host_cpu`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `host_cpu`. Deprecated since XenServer 5.6 (midnight-ride).
        class HostCpu is Listed;
        /// The record of a `host_cpu`, as `get_record` returns it.
        "host_cpu" HostCpuRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `host ref`, read-only.
            1 "host" host: Ref<Host>;
            /// `int`, read-only.
            2 "number" number: i64;
            /// `string`, read-only.
            3 "vendor" vendor: String;
            /// `int`, read-only.
            4 "speed" speed: i64;
            /// `string`, read-only.
            5 "modelname" modelname: String;
            /// `int`, read-only.
            6 "family" family: i64;
            /// `int`, read-only.
            7 "model" model: i64;
            /// `string`, read-only.
            8 "stepping" stepping: String;
            /// `string`, read-only.
            9 "flags" flags: String;
            /// `string`, read-only.
            10 "features" features: String;
            /// `float`, read-only.
            11 "utilisation" utilisation: f64;
            /// `(string -> string) map`, read-write. Since XenServer 5.0 (orlando).
            12 "other_config" other_config: BTreeMap<String, String>;
        }
    }
}

/// Names of the fields of `host_cpu`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        HostCpu;
        ro UUID "uuid" String;
        ro HOST "host" Ref<Host>;
        ro NUMBER "number" i64;
        ro VENDOR "vendor" String;
        ro SPEED "speed" i64;
        ro MODELNAME "modelname" String;
        ro FAMILY "family" i64;
        ro MODEL "model" i64;
        ro STEPPING "stepping" String;
        ro FLAGS "flags" String;
        ro FEATURES "features" String;
        ro UTILISATION "utilisation" f64;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
    }
}
