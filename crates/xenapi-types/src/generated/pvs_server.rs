//! `PVS_server`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `PVS_server`. Since XenServer 7.1 (ely).
        class PvsServer is Listed;
        /// The record of a `PVS_server`, as `get_record` returns it.
        "PVS_server" PvsServerRecord {
            /// `string`, read-only. Since XenServer 7.1 (ely).
            0 "uuid" uuid: String;
            /// `string set`, set by `create` only. Since XenServer 7.1 (ely).
            1 "addresses" addresses: Vec<String>;
            /// `int`, set by `create` only. Since XenServer 7.1 (ely).
            2 "first_port" first_port: i64;
            /// `int`, set by `create` only. Since XenServer 7.1 (ely).
            3 "last_port" last_port: i64;
            /// `PVS_site ref`, set by `create` only. Since XenServer 7.1 (ely).
            4 "site" site: Ref<PvsSite>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `PVS_server.forget`, returns `void`. Since XenServer 7.1 (ely). Least role: pool-operator.
    "PVS_server.forget" Forget -> () {
        /// `PVS_server ref`
        pvs_server: Ref<PvsServer>,
    }
}

call! {
    /// `PVS_server.introduce`, returns `PVS_server ref`. Since XenServer 7.1 (ely). Least role:
    /// pool-operator.
    "PVS_server.introduce" Introduce -> Ref<PvsServer> {
        /// `string set`
        addresses: Vec<String>,
        /// `int`
        first_port: i64,
        /// `int`
        last_port: i64,
        /// `PVS_site ref`
        site: Ref<PvsSite>,
    }
}

/// Names of the fields of `PVS_server`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        PvsServer;
        ro UUID "uuid" String;
        ro ADDRESSES "addresses" Vec<String>;
        ro FIRST_PORT "first_port" i64;
        ro LAST_PORT "last_port" i64;
        ro SITE "site" Ref<PvsSite>;
    }
}
