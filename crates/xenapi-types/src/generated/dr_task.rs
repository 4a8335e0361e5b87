//! `DR_task`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `DR_task`. Since XenServer 6.0 (boston).
        class DrTask is Listed;
        /// The record of a `DR_task`, as `get_record` returns it.
        "DR_task" DrTaskRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `SR ref set`, read-only.
            1 "introduced_SRs" introduced_srs: Vec<Ref<Sr>>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `DR_task.destroy`, returns `void`. Since XenServer 6.0 (boston). Least role: pool-operator.
    "DR_task.destroy" Destroy -> () {
        /// `DR_task ref`
        dr_task: Ref<DrTask>,
    }
}

call! {
    /// `DR_task.create`, returns `DR_task ref`. Since XenServer 6.0 (boston). Least role:
    /// pool-operator.
    "DR_task.create" Create -> Ref<DrTask> {
        /// `string`
        r#type: String,
        /// `(string -> string) map`
        [secret] device_config: BTreeMap<String, String>,
        /// `string set`
        whitelist: Vec<String>,
    }
}

/// Names of the fields of `DR_task`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        DrTask;
        ro UUID "uuid" String;
        ro INTRODUCED_SRS "introduced_SRs" Vec<Ref<Sr>>;
    }
}
