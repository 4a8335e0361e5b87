//! `PVS_cache_storage`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `PVS_cache_storage`. Since XenServer 7.1 (ely).
        class PvsCacheStorage is Listed;
        /// The record of a `PVS_cache_storage`, as `get_record` returns it.
        "PVS_cache_storage" PvsCacheStorageRecord {
            /// `string`, read-only. Since XenServer 7.1 (ely).
            0 "uuid" uuid: String;
            /// `host ref`, set by `create` only. Since XenServer 7.1 (ely).
            1 "host" host: Ref<Host>;
            /// `SR ref`, set by `create` only. Since XenServer 7.1 (ely).
            2 "SR" sr: Ref<Sr>;
            /// `PVS_site ref`, set by `create` only. Since XenServer 7.1 (ely).
            3 "site" site: Ref<PvsSite>;
            /// `int`, set by `create` only. Since XenServer 7.1 (ely).
            4 "size" size: i64 = 21474836480;
            /// `VDI ref`, read-only. Since XenServer 7.1 (ely).
            5 "VDI" vdi: Ref<Vdi>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `PVS_cache_storage.create`: makes an object from its constructor fields. Least role:
    /// pool-operator.
    "PVS_cache_storage.create" Create -> Ref<PvsCacheStorage> {
        /// `host ref`, has a default. Since XenServer 7.1 (ely).
        0 "host" host: Ref<Host>;
        /// `SR ref`, has a default. Since XenServer 7.1 (ely).
        1 "SR" sr: Ref<Sr>;
        /// `PVS_site ref`, has a default. Since XenServer 7.1 (ely).
        2 "site" site: Ref<PvsSite>;
        /// `int`, has a default. Since XenServer 7.1 (ely).
        3 "size" size: i64 = 21474836480;
    }
}

call! {
    /// `PVS_cache_storage.destroy`: removes an object. Least role: pool-operator.
    "PVS_cache_storage.destroy" Destroy -> () {
        /// `PVS_cache_storage ref`
        pvs_cache_storage: Ref<PvsCacheStorage>,
    }
}

/// Names of the fields of `PVS_cache_storage`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        PvsCacheStorage;
        ro UUID "uuid" String;
        ro HOST "host" Ref<Host>;
        ro SR "SR" Ref<Sr>;
        ro SITE "site" Ref<PvsSite>;
        ro SIZE "size" i64;
        ro VDI "VDI" Ref<Vdi>;
    }
}
