//! `crashdump`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `crashdump`. Deprecated since XenServer 7.3 (inverness).
        class Crashdump is Listed;
        /// The record of a `crashdump`, as `get_record` returns it.
        "crashdump" CrashdumpRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `VM ref`, set by `create` only.
            1 "VM" vm: Ref<Vm>;
            /// `VDI ref`, set by `create` only.
            2 "VDI" vdi: Ref<Vdi>;
            /// `(string -> string) map`, read-write. Since XenServer 4.1 (miami).
            3 "other_config" other_config: BTreeMap<String, String>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `crashdump.destroy`, returns `void`. Least role: pool-operator.
    "crashdump.destroy" Destroy -> () {
        /// `crashdump ref`
        crashdump: Ref<Crashdump>,
    }
}

/// Names of the fields of `crashdump`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Crashdump;
        ro UUID "uuid" String;
        ro VM "VM" Ref<Vm>;
        ro VDI "VDI" Ref<Vdi>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
    }
}
