//! `Feature`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `Feature`. Since XenServer 7.2 (falcon).
        class Feature is Listed Labelled;
        /// The record of a `Feature`, as `get_record` returns it.
        "Feature" FeatureRecord {
            /// `string`, read-only. Since XenServer 7.2 (falcon).
            0 "uuid" uuid: String;
            /// `string`, set by `create` only.
            1 "name_label" name_label: String;
            /// `string`, set by `create` only.
            2 "name_description" name_description: String;
            /// `bool`, read-only. Since XenServer 7.2 (falcon).
            3 "enabled" enabled: bool;
            /// `bool`, set by `create` only. Since XenServer 7.2 (falcon).
            4 "experimental" experimental: bool;
            /// `string`, set by `create` only. Since XenServer 7.2 (falcon).
            5 "version" version: String = "1.0".into();
            /// `host ref`, read-only. Since XenServer 7.2 (falcon).
            6 "host" host: Ref<Host>;
        }
    }
}

/// Names of the fields of `Feature`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Feature;
        ro UUID "uuid" String;
        ro NAME_LABEL "name_label" String;
        ro NAME_DESCRIPTION "name_description" String;
        ro ENABLED "enabled" bool;
        ro EXPERIMENTAL "experimental" bool;
        ro VERSION "version" String;
        ro HOST "host" Ref<Host>;
    }
}
