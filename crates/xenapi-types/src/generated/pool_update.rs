//! `pool_update`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `pool_update`. Since XenServer 7.1 (ely).
        class PoolUpdate is Listed Labelled;
        /// The record of a `pool_update`, as `get_record` returns it.
        "pool_update" PoolUpdateRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, set by `create` only.
            1 "name_label" name_label: String;
            /// `string`, set by `create` only.
            2 "name_description" name_description: String;
            /// `string`, set by `create` only. Since XenServer 7.1 (ely).
            3 "version" version: String;
            /// `int`, set by `create` only. Since XenServer 7.1 (ely).
            4 "installation_size" installation_size: i64;
            /// `string`, set by `create` only. Since XenServer 7.1 (ely).
            5 "key" key: String;
            /// `enum update_after_apply_guidance set`, set by `create` only. Since XenServer 7.1
            /// (ely).
            6 "after_apply_guidance" after_apply_guidance: Vec<UpdateAfterApplyGuidance>;
            /// `VDI ref`, set by `create` only.
            7 "vdi" vdi: Ref<Vdi>;
            /// `host ref set`, read-only. Since XenServer 7.1 (ely).
            8 "hosts" hosts: Vec<Ref<Host>>;
            /// `(string -> string) map`, read-write. Since XenServer 7.3 (inverness).
            9 "other_config" other_config: BTreeMap<String, String>;
            /// `bool`, set by `create` only. Since XenServer 7.3 (inverness).
            10 "enforce_homogeneity" enforce_homogeneity: bool;
        }
    }

    open_enum! {
        /// `enum livepatch_status`
        LivepatchStatus {
            OkLivepatchComplete "ok_livepatch_complete",
            OkLivepatchIncomplete "ok_livepatch_incomplete",
            Ok "ok",
        }
    }

    open_enum! {
        /// `enum update_after_apply_guidance`
        UpdateAfterApplyGuidance {
            RestartHvm "restartHVM",
            RestartPv "restartPV",
            RestartHost "restartHost",
            RestartXapi "restartXAPI",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `pool_update.destroy`, returns `void`. Since XenServer 7.1 (ely). Least role: pool-operator.
    "pool_update.destroy" Destroy -> () {
        /// `pool_update ref`
        pool_update: Ref<PoolUpdate>,
    }
}

call! {
    /// `pool_update.pool_clean`, returns `void`. Since XenServer 7.1 (ely). Least role:
    /// pool-operator.
    "pool_update.pool_clean" PoolClean -> () {
        /// `pool_update ref`
        pool_update: Ref<PoolUpdate>,
    }
}

call! {
    /// `pool_update.pool_apply`, returns `void`. Since XenServer 7.1 (ely). Least role:
    /// pool-operator.
    "pool_update.pool_apply" PoolApply -> () {
        /// `pool_update ref`
        pool_update: Ref<PoolUpdate>,
    }
}

call! {
    /// `pool_update.apply`, returns `void`. Since XenServer 7.1 (ely). Least role: pool-operator.
    "pool_update.apply" Apply -> () {
        /// `pool_update ref`
        pool_update: Ref<PoolUpdate>,
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `pool_update.precheck`, returns `enum livepatch_status`. Since XenServer 7.1 (ely). Least
    /// role: pool-operator.
    "pool_update.precheck" Precheck -> LivepatchStatus {
        /// `pool_update ref`
        pool_update: Ref<PoolUpdate>,
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `pool_update.introduce`, returns `pool_update ref`. Since XenServer 7.1 (ely). Least role:
    /// pool-operator.
    "pool_update.introduce" Introduce -> Ref<PoolUpdate> {
        /// `VDI ref`
        vdi: Ref<Vdi>,
    }
}

/// Names of the fields of `pool_update`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        PoolUpdate;
        ro UUID "uuid" String;
        ro NAME_LABEL "name_label" String;
        ro NAME_DESCRIPTION "name_description" String;
        ro VERSION "version" String;
        ro INSTALLATION_SIZE "installation_size" i64;
        ro KEY "key" String;
        ro AFTER_APPLY_GUIDANCE "after_apply_guidance" Vec<UpdateAfterApplyGuidance>;
        ro VDI "vdi" Ref<Vdi>;
        ro HOSTS "hosts" Vec<Ref<Host>>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro ENFORCE_HOMOGENEITY "enforce_homogeneity" bool;
    }
}
