//! `user`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `user`. Deprecated since XenServer 5.5 (george).
        class User;
        /// The record of a `user`, as `get_record` returns it.
        "user" UserRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, set by `create` only.
            1 "short_name" short_name: String;
            /// `string`, read-write.
            2 "fullname" fullname: String;
            /// `(string -> string) map`, read-write. Since XenServer 5.0 (orlando).
            3 "other_config" other_config: BTreeMap<String, String>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `user.create`: makes an object from its constructor fields. Least role: pool-admin.
    "user.create" Create -> Ref<User> {
        /// `string`, required.
        0 "short_name" short_name: String;
        /// `string`, required.
        1 "fullname" fullname: String;
        /// `(string -> string) map`, has a default. Since XenServer 5.0 (orlando).
        2 "other_config" other_config: BTreeMap<String, String>;
    }
}

call! {
    /// `user.destroy`: removes an object. Least role: pool-admin.
    "user.destroy" Destroy -> () {
        /// `user ref`
        user: Ref<User>,
    }
}

/// Names of the fields of `user`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        User;
        ro UUID "uuid" String;
        ro SHORT_NAME "short_name" String;
        rw FULLNAME "fullname" String;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
    }
}
