//! `host_patch`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `host_patch`. Deprecated since XenServer 7.1 (ely).
        class HostPatch is Listed Labelled;
        /// The record of a `host_patch`, as `get_record` returns it.
        "host_patch" HostPatchRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, set by `create` only.
            1 "name_label" name_label: String;
            /// `string`, set by `create` only.
            2 "name_description" name_description: String;
            /// `string`, set by `create` only.
            3 "version" version: String;
            /// `host ref`, set by `create` only.
            4 "host" host: Ref<Host>;
            /// `bool`, read-only.
            5 "applied" applied: bool;
            /// `datetime`, read-only.
            6 "timestamp_applied" timestamp_applied: DateTime;
            /// `int`, read-only.
            7 "size" size: i64;
            /// `pool_patch ref`, set by `create` only. Since XenServer 4.1 (miami).
            8 "pool_patch" pool_patch: Ref<PoolPatch>;
            /// `(string -> string) map`, read-write. Since XenServer 4.1 (miami).
            9 "other_config" other_config: BTreeMap<String, String>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `host_patch.apply`, returns `string`. Deprecated since XenServer 4.1 (miami). Least role:
    /// pool-operator.
    "host_patch.apply" Apply -> String {
        /// `host_patch ref`
        host_patch: Ref<HostPatch>,
    }
}

call! {
    /// `host_patch.destroy`, returns `void`. Deprecated since XenServer 4.1 (miami). Least role:
    /// pool-operator.
    "host_patch.destroy" Destroy -> () {
        /// `host_patch ref`
        host_patch: Ref<HostPatch>,
    }
}

/// Names of the fields of `host_patch`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        HostPatch;
        ro UUID "uuid" String;
        ro NAME_LABEL "name_label" String;
        ro NAME_DESCRIPTION "name_description" String;
        ro VERSION "version" String;
        ro HOST "host" Ref<Host>;
        ro APPLIED "applied" bool;
        ro TIMESTAMP_APPLIED "timestamp_applied" DateTime;
        ro SIZE "size" i64;
        ro POOL_PATCH "pool_patch" Ref<PoolPatch>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
    }
}
