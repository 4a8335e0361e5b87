//! `role`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `role`. Since XenServer 5.6 (midnight-ride).
        class Role is Listed Labelled;
        /// The record of a `role`, as `get_record` returns it.
        "role" RoleRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, set by `create` only. Since XenServer 5.6 (midnight-ride).
            1 "name_label" name_label: String;
            /// `string`, set by `create` only. Since XenServer 5.6 (midnight-ride).
            2 "name_description" name_description: String;
            /// `role ref set`, set by `create` only. Since XenServer 5.6 (midnight-ride).
            3 "subroles" subroles: Vec<Ref<Role>>;
            /// `bool`, read-only. Since XAPI 22.5.0.
            4 "is_internal" [opt] is_internal: Option<bool>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `role.get_by_permission_name_label`, returns `role ref set`. Since XenServer 5.6
    /// (midnight-ride). Least role: read-only.
    "role.get_by_permission_name_label" GetByPermissionNameLabel [no_async] -> Vec<Ref<Role>> {
        /// `string`
        label: String,
    }
}

call! {
    /// `role.get_by_permission`, returns `role ref set`. Since XenServer 5.6 (midnight-ride). Least
    /// role: read-only.
    "role.get_by_permission" GetByPermission [no_async] -> Vec<Ref<Role>> {
        /// `role ref`
        permission: Ref<Role>,
    }
}

call! {
    /// `role.get_permissions_name_label`, returns `string set`. Since XenServer 5.6
    /// (midnight-ride). Least role: read-only.
    "role.get_permissions_name_label" GetPermissionsNameLabel [no_async] -> Vec<String> {
        /// `role ref`
        role: Ref<Role>,
    }
}

call! {
    /// `role.get_permissions`, returns `role ref set`. Since XenServer 5.6 (midnight-ride). Least
    /// role: read-only.
    "role.get_permissions" GetPermissions [no_async] -> Vec<Ref<Role>> {
        /// `role ref`
        role: Ref<Role>,
    }
}

/// Names of the fields of `role`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Role;
        ro UUID "uuid" String;
        ro NAME_LABEL "name_label" String;
        ro NAME_DESCRIPTION "name_description" String;
        ro SUBROLES "subroles" Vec<Ref<Role>>;
        ro IS_INTERNAL "is_internal" bool;
    }
}
