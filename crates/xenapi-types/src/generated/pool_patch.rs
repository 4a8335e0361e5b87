//! `pool_patch`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `pool_patch`. Since XenServer 4.1 (miami). Deprecated since XenServer 7.1
        /// (ely).
        class PoolPatch is Listed Labelled;
        /// The record of a `pool_patch`, as `get_record` returns it.
        "pool_patch" PoolPatchRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, set by `create` only.
            1 "name_label" name_label: String;
            /// `string`, set by `create` only.
            2 "name_description" name_description: String;
            /// `string`, set by `create` only. Since XenServer 4.1 (miami).
            3 "version" version: String;
            /// `int`, read-only. Since XenServer 4.1 (miami).
            4 "size" size: i64;
            /// `bool`, read-only. Since XenServer 4.1 (miami).
            5 "pool_applied" pool_applied: bool;
            /// `host_patch ref set`, read-only. Since XenServer 4.1 (miami).
            6 "host_patches" host_patches: Vec<Ref<HostPatch>>;
            /// `enum after_apply_guidance set`, read-only. Since XenServer 4.1 (miami).
            7 "after_apply_guidance" after_apply_guidance: Vec<AfterApplyGuidance>;
            /// `pool_update ref`, set by `create` only. Since XenServer 7.1 (ely).
            8 "pool_update" pool_update: Ref<PoolUpdate>;
            /// `(string -> string) map`, read-write. Since XenServer 4.1 (miami).
            9 "other_config" other_config: BTreeMap<String, String>;
        }
    }

    open_enum! {
        /// `enum after_apply_guidance`
        AfterApplyGuidance {
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
    /// `pool_patch.clean_on_host`, returns `void`. Since XenServer 6.1 (tampa). Deprecated since
    /// XenServer 7.1 (ely). Least role: pool-operator.
    "pool_patch.clean_on_host" CleanOnHost -> () {
        /// `pool_patch ref`
        pool_patch: Ref<PoolPatch>,
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `pool_patch.destroy`, returns `void`. Since XenServer 4.1 (miami). Deprecated since
    /// XenServer 7.1 (ely). Least role: pool-operator.
    "pool_patch.destroy" Destroy -> () {
        /// `pool_patch ref`
        pool_patch: Ref<PoolPatch>,
    }
}

call! {
    /// `pool_patch.pool_clean`, returns `void`. Since XenServer 6.1 (tampa). Deprecated since
    /// XenServer 7.1 (ely). Least role: pool-operator.
    "pool_patch.pool_clean" PoolClean -> () {
        /// `pool_patch ref`
        pool_patch: Ref<PoolPatch>,
    }
}

call! {
    /// `pool_patch.clean`, returns `void`. Since XenServer 4.1 (miami). Deprecated since XenServer
    /// 7.1 (ely). Least role: pool-operator.
    "pool_patch.clean" Clean -> () {
        /// `pool_patch ref`
        pool_patch: Ref<PoolPatch>,
    }
}

call! {
    /// `pool_patch.precheck`, returns `string`. Since XenServer 4.1 (miami). Deprecated since
    /// XenServer 7.1 (ely). Least role: pool-operator.
    "pool_patch.precheck" Precheck -> String {
        /// `pool_patch ref`
        pool_patch: Ref<PoolPatch>,
        /// `host ref`
        host: Ref<Host>,
    }
}

call! {
    /// `pool_patch.pool_apply`, returns `void`. Since XenServer 4.1 (miami). Deprecated since
    /// XenServer 7.1 (ely). Least role: pool-operator.
    "pool_patch.pool_apply" PoolApply -> () {
        /// `pool_patch ref`
        pool_patch: Ref<PoolPatch>,
    }
}

call! {
    /// `pool_patch.apply`, returns `string`. Since XenServer 4.1 (miami). Deprecated since
    /// XenServer 7.1 (ely). Least role: pool-operator.
    "pool_patch.apply" Apply -> String {
        /// `pool_patch ref`
        pool_patch: Ref<PoolPatch>,
        /// `host ref`
        host: Ref<Host>,
    }
}

/// Names of the fields of `pool_patch`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        PoolPatch;
        ro UUID "uuid" String;
        ro NAME_LABEL "name_label" String;
        ro NAME_DESCRIPTION "name_description" String;
        ro VERSION "version" String;
        ro SIZE "size" i64;
        ro POOL_APPLIED "pool_applied" bool;
        ro HOST_PATCHES "host_patches" Vec<Ref<HostPatch>>;
        ro AFTER_APPLY_GUIDANCE "after_apply_guidance" Vec<AfterApplyGuidance>;
        ro POOL_UPDATE "pool_update" Ref<PoolUpdate>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
    }
}
