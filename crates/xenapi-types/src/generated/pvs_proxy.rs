//! `PVS_proxy`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `PVS_proxy`. Since XenServer 7.1 (ely).
        class PvsProxy is Listed;
        /// The record of a `PVS_proxy`, as `get_record` returns it.
        "PVS_proxy" PvsProxyRecord {
            /// `string`, read-only. Since XenServer 7.1 (ely).
            0 "uuid" uuid: String;
            /// `PVS_site ref`, set by `create` only. Since XenServer 7.1 (ely).
            1 "site" site: Ref<PvsSite>;
            /// `VIF ref`, set by `create` only. Since XenServer 7.1 (ely).
            2 "VIF" vif: Ref<Vif>;
            /// `bool`, read-only. Since XenServer 7.1 (ely).
            3 "currently_attached" currently_attached: bool;
            /// `enum pvs_proxy_status`, read-only. Since XenServer 7.1 (ely).
            4 "status" status: PvsProxyStatus = PvsProxyStatus::Stopped;
        }
    }

    open_enum! {
        /// `enum pvs_proxy_status`
        PvsProxyStatus {
            Stopped "stopped",
            Initialised "initialised",
            Caching "caching",
            IncompatibleWriteCacheMode "incompatible_write_cache_mode",
            IncompatibleProtocolVersion "incompatible_protocol_version",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `PVS_proxy.destroy`, returns `void`. Since XenServer 7.1 (ely). Least role: pool-operator.
    "PVS_proxy.destroy" Destroy -> () {
        /// `PVS_proxy ref`
        pvs_proxy: Ref<PvsProxy>,
    }
}

call! {
    /// `PVS_proxy.create`, returns `PVS_proxy ref`. Since XenServer 7.1 (ely). Least role:
    /// pool-operator.
    "PVS_proxy.create" Create -> Ref<PvsProxy> {
        /// `PVS_site ref`
        site: Ref<PvsSite>,
        /// `VIF ref`
        vif: Ref<Vif>,
    }
}

/// Names of the fields of `PVS_proxy`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        PvsProxy;
        ro UUID "uuid" String;
        ro SITE "site" Ref<PvsSite>;
        ro VIF "VIF" Ref<Vif>;
        ro CURRENTLY_ATTACHED "currently_attached" bool;
        ro STATUS "status" PvsProxyStatus;
    }
}
