//! `VMSS`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `VMSS`. Since XenServer 7.2 (falcon).
        class Vmss is Listed Labelled;
        /// The record of a `VMSS`, as `get_record` returns it.
        "VMSS" VmssRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, read-write.
            1 "name_label" name_label: String;
            /// `string`, read-write.
            2 "name_description" name_description: String;
            /// `bool`, read-write.
            3 "enabled" enabled: bool = true;
            /// `enum vmss_type`, set by `create` only.
            4 "type" r#type: VmssType;
            /// `int`, set by `create` only.
            5 "retained_snapshots" retained_snapshots: i64 = 7;
            /// `enum vmss_frequency`, set by `create` only.
            6 "frequency" frequency: VmssFrequency;
            /// `(string -> string) map`, set by `create` only.
            7 "schedule" schedule: BTreeMap<String, String>;
            /// `datetime`, read-only.
            8 "last_run_time" last_run_time: DateTime;
            /// `VM ref set`, read-only.
            9 "VMs" vms: Vec<Ref<Vm>>;
        }
    }

    open_enum! {
        /// `enum vmss_frequency`
        VmssFrequency {
            Hourly "hourly",
            Daily "daily",
            Weekly "weekly",
        }
    }

    open_enum! {
        /// `enum vmss_type`
        VmssType {
            Snapshot "snapshot",
            Checkpoint "checkpoint",
            SnapshotWithQuiesce "snapshot_with_quiesce",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `VMSS.create`: makes an object from its constructor fields. Least role: pool-operator.
    "VMSS.create" Create -> Ref<Vmss> {
        /// `string`, has a default.
        0 "name_label" name_label: String;
        /// `string`, has a default.
        1 "name_description" name_description: String;
        /// `bool`, has a default.
        2 "enabled" enabled: bool = true;
        /// `enum vmss_type`, required.
        3 "type" r#type: VmssType;
        /// `int`, has a default.
        4 "retained_snapshots" retained_snapshots: i64 = 7;
        /// `enum vmss_frequency`, required.
        5 "frequency" frequency: VmssFrequency;
        /// `(string -> string) map`, has a default.
        6 "schedule" schedule: BTreeMap<String, String>;
    }
}

call! {
    /// `VMSS.destroy`: removes an object. Least role: pool-operator.
    "VMSS.destroy" Destroy -> () {
        /// `VMSS ref`
        vmss: Ref<Vmss>,
    }
}

call! {
    /// `VMSS.set_type`, returns `void`. Since XenServer 7.2 (falcon). Least role: pool-operator.
    "VMSS.set_type" SetType [no_async] -> () {
        /// `VMSS ref`
        vmss: Ref<Vmss>,
        /// `enum vmss_type`
        value: VmssType,
    }
}

call! {
    /// `VMSS.set_last_run_time`, returns `void`. Since XenServer 7.2 (falcon).
    "VMSS.set_last_run_time" SetLastRunTime [no_async] -> () {
        /// `VMSS ref`
        vmss: Ref<Vmss>,
        /// `datetime`
        value: DateTime,
    }
}

call! {
    /// `VMSS.remove_from_schedule`, returns `void`. Since XenServer 7.2 (falcon). Least role:
    /// pool-operator.
    "VMSS.remove_from_schedule" RemoveFromSchedule [no_async] -> () {
        /// `VMSS ref`
        vmss: Ref<Vmss>,
        /// `string`
        key: String,
    }
}

call! {
    /// `VMSS.add_to_schedule`, returns `void`. Since XenServer 7.2 (falcon). Least role:
    /// pool-operator.
    "VMSS.add_to_schedule" AddToSchedule [no_async] -> () {
        /// `VMSS ref`
        vmss: Ref<Vmss>,
        /// `string`
        key: String,
        /// `string`
        value: String,
    }
}

call! {
    /// `VMSS.set_schedule`, returns `void`. Since XenServer 7.2 (falcon). Least role:
    /// pool-operator.
    "VMSS.set_schedule" SetSchedule [no_async] -> () {
        /// `VMSS ref`
        vmss: Ref<Vmss>,
        /// `(string -> string) map`
        value: BTreeMap<String, String>,
    }
}

call! {
    /// `VMSS.set_frequency`, returns `void`. Since XenServer 7.2 (falcon). Least role:
    /// pool-operator.
    "VMSS.set_frequency" SetFrequency [no_async] -> () {
        /// `VMSS ref`
        vmss: Ref<Vmss>,
        /// `enum vmss_frequency`
        value: VmssFrequency,
    }
}

call! {
    /// `VMSS.set_retained_snapshots`, returns `void`. Since XenServer 7.2 (falcon). Least role:
    /// pool-operator.
    "VMSS.set_retained_snapshots" SetRetainedSnapshots [no_async] -> () {
        /// `VMSS ref`
        vmss: Ref<Vmss>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `VMSS.snapshot_now`, returns `string`. Since XenServer 7.2 (falcon). Least role:
    /// pool-operator.
    "VMSS.snapshot_now" SnapshotNow [no_async] -> String {
        /// `VMSS ref`
        vmss: Ref<Vmss>,
    }
}

/// Names of the fields of `VMSS`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Vmss;
        ro UUID "uuid" String;
        rw NAME_LABEL "name_label" String;
        rw NAME_DESCRIPTION "name_description" String;
        rw ENABLED "enabled" bool;
        ro TYPE "type" VmssType;
        ro RETAINED_SNAPSHOTS "retained_snapshots" i64;
        ro FREQUENCY "frequency" VmssFrequency;
        ro SCHEDULE "schedule" BTreeMap<String, String>;
        ro LAST_RUN_TIME "last_run_time" DateTime;
        ro VMS "VMs" Vec<Ref<Vm>>;
    }
}
