//! `subject`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `subject`. Since XenServer 5.5 (george).
        class Subject is Listed;
        /// The record of a `subject`, as `get_record` returns it.
        "subject" SubjectRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, set by `create` only. Since XenServer 5.5 (george).
            1 "subject_identifier" subject_identifier: String;
            /// `(string -> string) map`, set by `create` only. Since XenServer 5.5 (george).
            2 "other_config" other_config: BTreeMap<String, String>;
            /// `role ref set`, read-only. Since XenServer 5.6 (midnight-ride).
            3 "roles" roles: Vec<Ref<Role>>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `subject.create`: makes an object from its constructor fields. Least role: pool-admin.
    "subject.create" Create -> Ref<Subject> {
        /// `string`, has a default. Since XenServer 5.5 (george).
        0 "subject_identifier" subject_identifier: String;
        /// `(string -> string) map`, has a default. Since XenServer 5.5 (george).
        1 "other_config" other_config: BTreeMap<String, String>;
    }
}

call! {
    /// `subject.destroy`: removes an object. Least role: pool-admin.
    "subject.destroy" Destroy -> () {
        /// `subject ref`
        subject: Ref<Subject>,
    }
}

call! {
    /// `subject.get_permissions_name_label`, returns `string set`. Since XenServer 5.6
    /// (midnight-ride). Least role: read-only.
    "subject.get_permissions_name_label" GetPermissionsNameLabel [no_async] -> Vec<String> {
        /// `subject ref`
        subject: Ref<Subject>,
    }
}

call! {
    /// `subject.remove_from_roles`, returns `void`. Since XenServer 5.6 (midnight-ride). Least
    /// role: pool-admin.
    "subject.remove_from_roles" RemoveFromRoles [no_async] -> () {
        /// `subject ref`
        subject: Ref<Subject>,
        /// `role ref`
        role: Ref<Role>,
    }
}

call! {
    /// `subject.add_to_roles`, returns `void`. Since XenServer 5.6 (midnight-ride). Least role:
    /// pool-admin.
    "subject.add_to_roles" AddToRoles [no_async] -> () {
        /// `subject ref`
        subject: Ref<Subject>,
        /// `role ref`
        role: Ref<Role>,
    }
}

/// Names of the fields of `subject`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Subject;
        ro UUID "uuid" String;
        ro SUBJECT_IDENTIFIER "subject_identifier" String;
        ro OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro ROLES "roles" Vec<Ref<Role>>;
    }
}
