//! `SM`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `SM`.
        class Sm is Listed Labelled;
        /// The record of a `SM`, as `get_record` returns it.
        "SM" SmRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, read-only.
            1 "name_label" name_label: String;
            /// `string`, read-only.
            2 "name_description" name_description: String;
            /// `string`, read-only.
            3 "type" r#type: String;
            /// `string`, read-only.
            4 "vendor" vendor: String;
            /// `string`, read-only.
            5 "copyright" copyright: String;
            /// `string`, read-only.
            6 "version" version: String;
            /// `string`, read-only.
            7 "required_api_version" required_api_version: String;
            /// `(string -> string) map`, read-only.
            8 "configuration" configuration: BTreeMap<String, String>;
            /// `string set`, read-only. Since XenServer 4.1 (miami). Deprecated since XenServer 6.2
            /// (clearwater).
            9 "capabilities" capabilities: Vec<String>;
            /// `(string -> int) map`, read-only. Since XenServer 6.2 (clearwater).
            10 "features" features: BTreeMap<String, i64>;
            /// `(string -> string) map`, read-write. Since XenServer 4.1 (miami).
            11 "other_config" other_config: BTreeMap<String, String>;
            /// `string`, read-only. Since XenServer 5.0 (orlando).
            12 "driver_filename" driver_filename: String;
            /// `string set`, read-only. Since XenServer 7.0 (dundee).
            13 "required_cluster_stack" required_cluster_stack: Vec<String>;
            /// `string set`, read-only. Since XAPI 26.15.0.
            14 "supported_image_formats" [opt] supported_image_formats: Option<Vec<String>>;
        }
    }
}

/// Names of the fields of `SM`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Sm;
        ro UUID "uuid" String;
        ro NAME_LABEL "name_label" String;
        ro NAME_DESCRIPTION "name_description" String;
        ro TYPE "type" String;
        ro VENDOR "vendor" String;
        ro COPYRIGHT "copyright" String;
        ro VERSION "version" String;
        ro REQUIRED_API_VERSION "required_api_version" String;
        ro CONFIGURATION "configuration" BTreeMap<String, String>;
        ro CAPABILITIES "capabilities" Vec<String>;
        ro FEATURES "features" BTreeMap<String, i64>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro DRIVER_FILENAME "driver_filename" String;
        ro REQUIRED_CLUSTER_STACK "required_cluster_stack" Vec<String>;
        ro SUPPORTED_IMAGE_FORMATS "supported_image_formats" Vec<String>;
    }
}
