//! `vdi_nbd_server_info`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The record of a `vdi_nbd_server_info`, as results of calls hold it.
        "vdi_nbd_server_info" VdiNbdServerInfoRecord {
            /// `string`, read-only. Since XenServer 7.3 (inverness).
            0 "exportname" [secret] exportname: String;
            /// `string`, read-only. Since XenServer 7.3 (inverness).
            1 "address" address: String;
            /// `int`, read-only. Since XenServer 7.3 (inverness).
            2 "port" port: i64;
            /// `string`, read-only. Since XenServer 7.3 (inverness).
            3 "cert" cert: String;
            /// `string`, read-only. Since XenServer 7.3 (inverness).
            4 "subject" subject: String;
        }
    }
}
