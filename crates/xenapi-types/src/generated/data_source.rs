//! `data_source`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The record of a `data_source`, as results of calls hold it.
        "data_source" DataSourceRecord {
            /// `string`, read-only.
            0 "name_label" name_label: String;
            /// `string`, read-only.
            1 "name_description" name_description: String;
            /// `bool`, read-only.
            2 "enabled" enabled: bool;
            /// `bool`, read-only.
            3 "standard" standard: bool;
            /// `string`, read-only.
            4 "units" units: String;
            /// `float`, read-only.
            5 "min" min: f64;
            /// `float`, read-only.
            6 "max" max: f64;
            /// `float`, read-only.
            7 "value" value: f64;
        }
    }
}
