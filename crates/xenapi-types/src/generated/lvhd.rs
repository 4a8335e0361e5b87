//! `LVHD`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `LVHD`. Since XenServer 7.0 (dundee).
        class Lvhd;
        /// The record of a `LVHD`, as `get_record` returns it.
        "LVHD" LvhdRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `LVHD.enable_thin_provisioning`, returns `string`. Since XenServer 7.0 (dundee). Least role:
    /// pool-admin.
    "LVHD.enable_thin_provisioning" EnableThinProvisioning -> String {
        /// `host ref`
        host: Ref<Host>,
        /// `SR ref`
        sr: Ref<Sr>,
        /// `int`
        initial_allocation: i64,
        /// `int`
        allocation_quantum: i64,
    }
}

/// Names of the fields of `LVHD`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Lvhd;
        ro UUID "uuid" String;
    }
}
