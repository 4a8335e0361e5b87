//! `PVS_site`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `PVS_site`. Since XenServer 7.1 (ely).
        class PvsSite is Listed Labelled;
        /// The record of a `PVS_site`, as `get_record` returns it.
        "PVS_site" PvsSiteRecord {
            /// `string`, read-only. Since XenServer 7.1 (ely).
            0 "uuid" uuid: String;
            /// `string`, read-write. Since XenServer 7.1 (ely).
            1 "name_label" name_label: String;
            /// `string`, read-write. Since XenServer 7.1 (ely).
            2 "name_description" name_description: String;
            /// `string`, set by `create` only. Since XenServer 7.1 (ely).
            3 "PVS_uuid" pvs_uuid: String;
            /// `PVS_cache_storage ref set`, read-only. Since XenServer 7.1 (ely).
            4 "cache_storage" cache_storage: Vec<Ref<PvsCacheStorage>>;
            /// `PVS_server ref set`, read-only. Since XenServer 7.1 (ely).
            5 "servers" servers: Vec<Ref<PvsServer>>;
            /// `PVS_proxy ref set`, read-only. Since XenServer 7.1 (ely).
            6 "proxies" proxies: Vec<Ref<PvsProxy>>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `PVS_site.set_PVS_uuid`, returns `void`. Since XenServer 7.1 (ely). Least role:
    /// pool-operator.
    "PVS_site.set_PVS_uuid" SetPvsUuid -> () {
        /// `PVS_site ref`
        pvs_site: Ref<PvsSite>,
        /// `string`
        value: String,
    }
}

call! {
    /// `PVS_site.forget`, returns `void`. Since XenServer 7.1 (ely). Least role: pool-operator.
    /// Fails with `PVS_SITE_CONTAINS_RUNNING_PROXIES`, `PVS_SITE_CONTAINS_SERVERS`, among others.
    "PVS_site.forget" Forget -> () {
        /// `PVS_site ref`
        pvs_site: Ref<PvsSite>,
    }
}

call! {
    /// `PVS_site.introduce`, returns `PVS_site ref`. Since XenServer 7.1 (ely). Least role:
    /// pool-operator.
    "PVS_site.introduce" Introduce -> Ref<PvsSite> {
        /// `string`
        name_label: String,
        /// `string`
        name_description: String,
        /// `string`
        pvs_uuid: String,
    }
}

/// Names of the fields of `PVS_site`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        PvsSite;
        ro UUID "uuid" String;
        rw NAME_LABEL "name_label" String;
        rw NAME_DESCRIPTION "name_description" String;
        ro PVS_UUID "PVS_uuid" String;
        ro CACHE_STORAGE "cache_storage" Vec<Ref<PvsCacheStorage>>;
        ro SERVERS "servers" Vec<Ref<PvsServer>>;
        ro PROXIES "proxies" Vec<Ref<PvsProxy>>;
    }
}
