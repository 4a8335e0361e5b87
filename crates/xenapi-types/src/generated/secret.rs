//! `secret`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `secret`. Since XenServer 5.6 (midnight-ride).
        class Secret is Listed;
        /// The record of a `secret`, as `get_record` returns it.
        "secret" SecretRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, read-write.
            1 "value" [secret] value: String;
            /// `(string -> string) map`, read-write.
            2 "other_config" other_config: BTreeMap<String, String>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `secret.create`: makes an object from its constructor fields. Least role: pool-operator.
    "secret.create" Create -> Ref<Secret> {
        /// `string`, required.
        0 "value" [secret] value: String;
        /// `(string -> string) map`, has a default.
        1 "other_config" other_config: BTreeMap<String, String>;
    }
}

call! {
    /// `secret.destroy`: removes an object. Least role: pool-operator.
    "secret.destroy" Destroy -> () {
        /// `secret ref`
        secret: Ref<Secret>,
    }
}

/// Names of the fields of `secret`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Secret;
        ro UUID "uuid" String;
        rw VALUE "value" String;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
    }
}
