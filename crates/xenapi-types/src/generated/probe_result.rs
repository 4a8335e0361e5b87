//! `probe_result`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The record of a `probe_result`, as results of calls hold it.
        "probe_result" ProbeResultRecord {
            /// `(string -> string) map`, read-only. Since XenServer 7.6 (lima).
            0 "configuration" configuration: BTreeMap<String, String>;
            /// `bool`, read-only. Since XenServer 7.6 (lima).
            1 "complete" complete: bool;
            /// `sr_stat record option`, read-only. Since XenServer 7.6 (lima).
            2 "sr" [opt] sr: Option<SrStatRecord>;
            /// `(string -> string) map`, read-only. Since XenServer 7.6 (lima).
            3 "extra_info" extra_info: BTreeMap<String, String>;
        }
    }
}
