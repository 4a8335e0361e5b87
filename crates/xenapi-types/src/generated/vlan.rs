//! `VLAN`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `VLAN`. Since XenServer 4.1 (miami).
        class Vlan is Listed;
        /// The record of a `VLAN`, as `get_record` returns it.
        "VLAN" VlanRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `PIF ref`, set by `create` only. Since XenServer 4.1 (miami).
            1 "tagged_PIF" tagged_pif: Ref<Pif>;
            /// `PIF ref`, read-only. Since XenServer 4.1 (miami).
            2 "untagged_PIF" untagged_pif: Ref<Pif>;
            /// `int`, set by `create` only. Since XenServer 4.1 (miami).
            3 "tag" tag: i64 = -1;
            /// `(string -> string) map`, read-write. Since XenServer 4.1 (miami).
            4 "other_config" other_config: BTreeMap<String, String>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `VLAN.destroy`, returns `void`. Since XenServer 4.1 (miami). Least role: pool-operator.
    "VLAN.destroy" Destroy -> () {
        /// `VLAN ref`
        vlan: Ref<Vlan>,
    }
}

call! {
    /// `VLAN.create`, returns `VLAN ref`. Since XenServer 4.1 (miami). Least role: pool-operator.
    "VLAN.create" Create -> Ref<Vlan> {
        /// `PIF ref`
        tagged_pif: Ref<Pif>,
        /// `int`
        tag: i64,
        /// `network ref`
        network: Ref<Network>,
    }
}

/// Names of the fields of `VLAN`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Vlan;
        ro UUID "uuid" String;
        ro TAGGED_PIF "tagged_PIF" Ref<Pif>;
        ro UNTAGGED_PIF "untagged_PIF" Ref<Pif>;
        ro TAG "tag" i64;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
    }
}
