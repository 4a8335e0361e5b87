//! `host_crashdump`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `host_crashdump`.
        class HostCrashdump is Listed;
        /// The record of a `host_crashdump`, as `get_record` returns it.
        "host_crashdump" HostCrashdumpRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `host ref`, set by `create` only.
            1 "host" host: Ref<Host>;
            /// `datetime`, read-only.
            2 "timestamp" timestamp: DateTime;
            /// `int`, read-only.
            3 "size" size: i64;
            /// `(string -> string) map`, read-write. Since XenServer 4.1 (miami).
            4 "other_config" other_config: BTreeMap<String, String>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `host_crashdump.upload`, returns `void`. Least role: pool-operator.
    "host_crashdump.upload" Upload -> () {
        /// `host_crashdump ref`
        host_crashdump: Ref<HostCrashdump>,
        /// `string`
        url: String,
        /// `(string -> string) map`
        options: BTreeMap<String, String>,
    }
}

call! {
    /// `host_crashdump.destroy`, returns `void`. Least role: pool-operator.
    "host_crashdump.destroy" Destroy -> () {
        /// `host_crashdump ref`
        host_crashdump: Ref<HostCrashdump>,
    }
}

/// Names of the fields of `host_crashdump`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        HostCrashdump;
        ro UUID "uuid" String;
        ro HOST "host" Ref<Host>;
        ro TIMESTAMP "timestamp" DateTime;
        ro SIZE "size" i64;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
    }
}
