//! `SDN_controller`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `SDN_controller`. Since XenServer 7.2 (falcon).
        class SdnController is Listed;
        /// The record of a `SDN_controller`, as `get_record` returns it.
        "SDN_controller" SdnControllerRecord {
            /// `string`, read-only. Since XenServer 7.2 (falcon).
            0 "uuid" uuid: String;
            /// `enum sdn_controller_protocol`, set by `create` only. Since XenServer 7.2 (falcon).
            1 "protocol" protocol: SdnControllerProtocol = SdnControllerProtocol::Ssl;
            /// `string`, set by `create` only. Since XenServer 7.2 (falcon).
            2 "address" address: String;
            /// `int`, set by `create` only. Since XenServer 7.2 (falcon).
            3 "port" port: i64;
        }
    }

    open_enum! {
        /// `enum sdn_controller_protocol`
        SdnControllerProtocol {
            Ssl "ssl",
            Pssl "pssl",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `SDN_controller.forget`, returns `void`. Since XenServer 7.2 (falcon). Least role:
    /// pool-operator.
    "SDN_controller.forget" Forget -> () {
        /// `SDN_controller ref`
        sdn_controller: Ref<SdnController>,
    }
}

call! {
    /// `SDN_controller.introduce`, returns `SDN_controller ref`. Since XenServer 7.2 (falcon).
    /// Least role: pool-operator.
    "SDN_controller.introduce" Introduce -> Ref<SdnController> {
        ;
        /// `enum sdn_controller_protocol`, has a default on the server.
        protocol: SdnControllerProtocol = SdnControllerProtocol::Ssl,
        /// `string`, has a default on the server.
        address: String = Default::default(),
        /// `int`, has a default on the server.
        port: i64 = Default::default(),
    }
}

/// Names of the fields of `SDN_controller`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        SdnController;
        ro UUID "uuid" String;
        ro PROTOCOL "protocol" SdnControllerProtocol;
        ro ADDRESS "address" String;
        ro PORT "port" i64;
    }
}
