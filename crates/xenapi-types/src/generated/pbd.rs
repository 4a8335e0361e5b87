//! `PBD`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `PBD`.
        class Pbd is Listed;
        /// The record of a `PBD`, as `get_record` returns it.
        "PBD" PbdRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `host ref`, set by `create` only.
            1 "host" host: Ref<Host>;
            /// `SR ref`, set by `create` only.
            2 "SR" sr: Ref<Sr>;
            /// `(string -> string) map`, set by `create` only.
            3 "device_config" [secret] device_config: BTreeMap<String, String>;
            /// `bool`, read-only.
            4 "currently_attached" currently_attached: bool;
            /// `(string -> string) map`, read-write. Since XenServer 4.1 (miami).
            5 "other_config" other_config: BTreeMap<String, String>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `PBD.create`: makes an object from its constructor fields. Least role: pool-operator.
    "PBD.create" Create -> Ref<Pbd> {
        /// `host ref`, required.
        0 "host" host: Ref<Host>;
        /// `SR ref`, required.
        1 "SR" sr: Ref<Sr>;
        /// `(string -> string) map`, required.
        2 "device_config" [secret] device_config: BTreeMap<String, String>;
        /// `(string -> string) map`, has a default. Since XenServer 4.1 (miami).
        3 "other_config" other_config: BTreeMap<String, String>;
    }
}

call! {
    /// `PBD.destroy`: removes an object. Least role: pool-operator.
    "PBD.destroy" Destroy -> () {
        /// `PBD ref`
        pbd: Ref<Pbd>,
    }
}

call! {
    /// `PBD.set_device_config`, returns `void`. Since XenServer 4.1 (miami). Least role:
    /// pool-operator.
    "PBD.set_device_config" SetDeviceConfig -> () {
        /// `PBD ref`
        pbd: Ref<Pbd>,
        /// `(string -> string) map`
        value: BTreeMap<String, String>,
    }
}

call! {
    /// `PBD.unplug`, returns `void`. Least role: pool-operator.
    "PBD.unplug" Unplug -> () {
        /// `PBD ref`
        pbd: Ref<Pbd>,
    }
}

call! {
    /// `PBD.plug`, returns `void`. Least role: pool-operator. Fails with `SR_UNKNOWN_DRIVER`, among
    /// others.
    "PBD.plug" Plug -> () {
        /// `PBD ref`
        pbd: Ref<Pbd>,
    }
}

/// Names of the fields of `PBD`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Pbd;
        ro UUID "uuid" String;
        ro HOST "host" Ref<Host>;
        ro SR "SR" Ref<Sr>;
        ro DEVICE_CONFIG "device_config" BTreeMap<String, String>;
        ro CURRENTLY_ATTACHED "currently_attached" bool;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
    }
}
