//! `sr_stat`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The record of a `sr_stat`, as results of calls hold it.
        "sr_stat" SrStatRecord {
            /// `string option`, read-only. Since XenServer 7.6 (lima).
            0 "uuid" [opt] uuid: Option<String>;
            /// `string`, read-only. Since XenServer 7.6 (lima).
            1 "name_label" name_label: String;
            /// `string`, read-only. Since XenServer 7.6 (lima).
            2 "name_description" name_description: String;
            /// `int`, read-only. Since XenServer 7.6 (lima).
            3 "free_space" free_space: i64;
            /// `int`, read-only. Since XenServer 7.6 (lima).
            4 "total_space" total_space: i64;
            /// `bool`, read-only. Since XenServer 7.6 (lima).
            5 "clustered" clustered: bool;
            /// `enum sr_health`, read-only. Since XenServer 7.6 (lima).
            6 "health" health: SrHealth;
        }
    }

    open_enum! {
        /// `enum sr_health`
        SrHealth {
            Healthy "healthy",
            Recovering "recovering",
            Unreachable "unreachable",
            Unavailable "unavailable",
        }
    }
}
