//! `tunnel`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `tunnel`. Since XenServer 5.6 FP1 (cowley).
        class Tunnel is Listed;
        /// The record of a `tunnel`, as `get_record` returns it.
        "tunnel" TunnelRecord {
            /// `string`, read-only. Since XenServer 5.6 FP1 (cowley).
            0 "uuid" uuid: String;
            /// `PIF ref`, set by `create` only. Since XenServer 5.6 FP1 (cowley).
            1 "access_PIF" access_pif: Ref<Pif>;
            /// `PIF ref`, set by `create` only. Since XenServer 5.6 FP1 (cowley).
            2 "transport_PIF" transport_pif: Ref<Pif>;
            /// `(string -> string) map`, read-write. Since XenServer 5.6 FP1 (cowley).
            3 "status" status: BTreeMap<String, String> = BTreeMap::from([("active".into(), "false".into())]);
            /// `(string -> string) map`, read-write. Since XenServer 5.6 FP1 (cowley).
            4 "other_config" other_config: BTreeMap<String, String>;
            /// `enum tunnel_protocol`, read-write. Since XAPI 1.250.0.
            5 "protocol" [opt] protocol: Option<TunnelProtocol>;
        }
    }

    open_enum! {
        /// `enum tunnel_protocol`
        TunnelProtocol {
            Gre "gre",
            Vxlan "vxlan",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `tunnel.destroy`, returns `void`. Since XenServer 5.6 FP1 (cowley). Least role:
    /// pool-operator.
    "tunnel.destroy" Destroy -> () {
        /// `tunnel ref`
        tunnel: Ref<Tunnel>,
    }
}

call! {
    /// `tunnel.create`, returns `tunnel ref`. Since XenServer 5.6 FP1 (cowley). Least role:
    /// pool-operator. Fails with `OPENVSWITCH_NOT_ACTIVE`, `TRANSPORT_PIF_NOT_CONFIGURED`,
    /// `IS_TUNNEL_ACCESS_PIF`, among others.
    "tunnel.create" Create -> Ref<Tunnel> {
        /// `PIF ref`
        transport_pif: Ref<Pif>,
        /// `network ref`
        network: Ref<Network>,
        ;
        /// `enum tunnel_protocol`, has a default on the server. Since XAPI 1.250.0.
        protocol: TunnelProtocol = TunnelProtocol::Gre,
    }
}

/// Names of the fields of `tunnel`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Tunnel;
        ro UUID "uuid" String;
        ro ACCESS_PIF "access_PIF" Ref<Pif>;
        ro TRANSPORT_PIF "transport_PIF" Ref<Pif>;
        rw STATUS "status" BTreeMap<String, String>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        rw PROTOCOL "protocol" TunnelProtocol;
    }
}
