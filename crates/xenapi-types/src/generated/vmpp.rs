//! `VMPP`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `VMPP`. Since XenServer 5.6 FP1 (cowley). Removed in XenServer 6.2
        /// (clearwater).
        class Vmpp is Listed Labelled;
        /// The record of a `VMPP`, as `get_record` returns it.
        "VMPP" VmppRecord {
            /// `string`, read-only. Since XenServer 5.6 FP1 (cowley). Removed in XenServer 6.2
            /// (clearwater).
            0 "uuid" uuid: String;
            /// `string`, read-write.
            1 "name_label" name_label: String;
            /// `string`, read-write.
            2 "name_description" name_description: String;
            /// `bool`, read-write. Since XenServer 5.6 FP1 (cowley). Removed in XenServer 6.2
            /// (clearwater).
            3 "is_policy_enabled" is_policy_enabled: bool = true;
            /// `enum vmpp_backup_type`, read-write. Since XenServer 5.6 FP1 (cowley). Removed in
            /// XenServer 6.2 (clearwater).
            4 "backup_type" backup_type: VmppBackupType = VmppBackupType::Snapshot;
            /// `int`, set by `create` only. Since XenServer 5.6 FP1 (cowley). Removed in XenServer
            /// 6.2 (clearwater).
            5 "backup_retention_value" backup_retention_value: i64 = 7;
            /// `enum vmpp_backup_frequency`, set by `create` only. Since XenServer 5.6 FP1
            /// (cowley). Removed in XenServer 6.2 (clearwater).
            6 "backup_frequency" backup_frequency: VmppBackupFrequency = VmppBackupFrequency::Daily;
            /// `(string -> string) map`, set by `create` only. Since XenServer 5.6 FP1 (cowley).
            /// Removed in XenServer 6.2 (clearwater).
            7 "backup_schedule" backup_schedule: BTreeMap<String, String>;
            /// `bool`, read-only. Since XenServer 5.6 FP1 (cowley). Removed in XenServer 6.2
            /// (clearwater).
            8 "is_backup_running" is_backup_running: bool;
            /// `datetime`, read-only. Since XenServer 5.6 FP1 (cowley). Removed in XenServer 6.2
            /// (clearwater).
            9 "backup_last_run_time" backup_last_run_time: DateTime;
            /// `enum vmpp_archive_target_type`, set by `create` only. Since XenServer 5.6 FP1
            /// (cowley). Removed in XenServer 6.2 (clearwater).
            10 "archive_target_type" archive_target_type: VmppArchiveTargetType = VmppArchiveTargetType::None;
            /// `(string -> string) map`, set by `create` only. Since XenServer 5.6 FP1 (cowley).
            /// Removed in XenServer 6.2 (clearwater).
            11 "archive_target_config" archive_target_config: BTreeMap<String, String>;
            /// `enum vmpp_archive_frequency`, set by `create` only. Since XenServer 5.6 FP1
            /// (cowley). Removed in XenServer 6.2 (clearwater).
            12 "archive_frequency" archive_frequency: VmppArchiveFrequency = VmppArchiveFrequency::Never;
            /// `(string -> string) map`, set by `create` only. Since XenServer 5.6 FP1 (cowley).
            /// Removed in XenServer 6.2 (clearwater).
            13 "archive_schedule" archive_schedule: BTreeMap<String, String>;
            /// `bool`, read-only. Since XenServer 5.6 FP1 (cowley). Removed in XenServer 6.2
            /// (clearwater).
            14 "is_archive_running" is_archive_running: bool;
            /// `datetime`, read-only. Since XenServer 5.6 FP1 (cowley). Removed in XenServer 6.2
            /// (clearwater).
            15 "archive_last_run_time" archive_last_run_time: DateTime;
            /// `VM ref set`, read-only. Since XenServer 5.6 FP1 (cowley). Removed in XenServer 6.2
            /// (clearwater).
            16 "VMs" vms: Vec<Ref<Vm>>;
            /// `bool`, set by `create` only. Since XenServer 5.6 FP1 (cowley). Removed in XenServer
            /// 6.2 (clearwater).
            17 "is_alarm_enabled" is_alarm_enabled: bool;
            /// `(string -> string) map`, set by `create` only. Since XenServer 5.6 FP1 (cowley).
            /// Removed in XenServer 6.2 (clearwater).
            18 "alarm_config" alarm_config: BTreeMap<String, String>;
            /// `string set`, read-only. Since XenServer 5.6 FP1 (cowley). Removed in XenServer 6.2
            /// (clearwater).
            19 "recent_alerts" recent_alerts: Vec<String>;
        }
    }

    open_enum! {
        /// `enum vmpp_archive_frequency`
        VmppArchiveFrequency {
            Never "never",
            AlwaysAfterBackup "always_after_backup",
            Daily "daily",
            Weekly "weekly",
        }
    }

    open_enum! {
        /// `enum vmpp_archive_target_type`
        VmppArchiveTargetType {
            None "none",
            Cifs "cifs",
            Nfs "nfs",
        }
    }

    open_enum! {
        /// `enum vmpp_backup_frequency`
        VmppBackupFrequency {
            Hourly "hourly",
            Daily "daily",
            Weekly "weekly",
        }
    }

    open_enum! {
        /// `enum vmpp_backup_type`
        VmppBackupType {
            Snapshot "snapshot",
            Checkpoint "checkpoint",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `VMPP.create`: makes an object from its constructor fields. Least role: pool-operator.
    "VMPP.create" Create -> Ref<Vmpp> {
        /// `string`, has a default.
        0 "name_label" name_label: String;
        /// `string`, has a default.
        1 "name_description" name_description: String;
        /// `bool`, has a default. Since XenServer 5.6 FP1 (cowley). Removed in XenServer 6.2
        /// (clearwater).
        2 "is_policy_enabled" is_policy_enabled: bool = true;
        /// `enum vmpp_backup_type`, has a default. Since XenServer 5.6 FP1 (cowley). Removed in
        /// XenServer 6.2 (clearwater).
        3 "backup_type" backup_type: VmppBackupType = VmppBackupType::Snapshot;
        /// `int`, has a default. Since XenServer 5.6 FP1 (cowley). Removed in XenServer 6.2
        /// (clearwater).
        4 "backup_retention_value" backup_retention_value: i64 = 7;
        /// `enum vmpp_backup_frequency`, has a default. Since XenServer 5.6 FP1 (cowley). Removed
        /// in XenServer 6.2 (clearwater).
        5 "backup_frequency" backup_frequency: VmppBackupFrequency = VmppBackupFrequency::Daily;
        /// `(string -> string) map`, has a default. Since XenServer 5.6 FP1 (cowley). Removed in
        /// XenServer 6.2 (clearwater).
        6 "backup_schedule" backup_schedule: BTreeMap<String, String>;
        /// `enum vmpp_archive_target_type`, has a default. Since XenServer 5.6 FP1 (cowley).
        /// Removed in XenServer 6.2 (clearwater).
        7 "archive_target_type" archive_target_type: VmppArchiveTargetType = VmppArchiveTargetType::None;
        /// `(string -> string) map`, has a default. Since XenServer 5.6 FP1 (cowley). Removed in
        /// XenServer 6.2 (clearwater).
        8 "archive_target_config" archive_target_config: BTreeMap<String, String>;
        /// `enum vmpp_archive_frequency`, has a default. Since XenServer 5.6 FP1 (cowley). Removed
        /// in XenServer 6.2 (clearwater).
        9 "archive_frequency" archive_frequency: VmppArchiveFrequency = VmppArchiveFrequency::Never;
        /// `(string -> string) map`, has a default. Since XenServer 5.6 FP1 (cowley). Removed in
        /// XenServer 6.2 (clearwater).
        10 "archive_schedule" archive_schedule: BTreeMap<String, String>;
        /// `bool`, has a default. Since XenServer 5.6 FP1 (cowley). Removed in XenServer 6.2
        /// (clearwater).
        11 "is_alarm_enabled" is_alarm_enabled: bool;
        /// `(string -> string) map`, has a default. Since XenServer 5.6 FP1 (cowley). Removed in
        /// XenServer 6.2 (clearwater).
        12 "alarm_config" alarm_config: BTreeMap<String, String>;
    }
}

call! {
    /// `VMPP.destroy`: removes an object. Least role: pool-operator.
    "VMPP.destroy" Destroy -> () {
        /// `VMPP ref`
        vmpp: Ref<Vmpp>,
    }
}

/// Names of the fields of `VMPP`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Vmpp;
        ro UUID "uuid" String;
        rw NAME_LABEL "name_label" String;
        rw NAME_DESCRIPTION "name_description" String;
        rw IS_POLICY_ENABLED "is_policy_enabled" bool;
        rw BACKUP_TYPE "backup_type" VmppBackupType;
        ro BACKUP_RETENTION_VALUE "backup_retention_value" i64;
        ro BACKUP_FREQUENCY "backup_frequency" VmppBackupFrequency;
        ro BACKUP_SCHEDULE "backup_schedule" BTreeMap<String, String>;
        ro IS_BACKUP_RUNNING "is_backup_running" bool;
        ro BACKUP_LAST_RUN_TIME "backup_last_run_time" DateTime;
        ro ARCHIVE_TARGET_TYPE "archive_target_type" VmppArchiveTargetType;
        ro ARCHIVE_TARGET_CONFIG "archive_target_config" BTreeMap<String, String>;
        ro ARCHIVE_FREQUENCY "archive_frequency" VmppArchiveFrequency;
        ro ARCHIVE_SCHEDULE "archive_schedule" BTreeMap<String, String>;
        ro IS_ARCHIVE_RUNNING "is_archive_running" bool;
        ro ARCHIVE_LAST_RUN_TIME "archive_last_run_time" DateTime;
        ro VMS "VMs" Vec<Ref<Vm>>;
        ro IS_ALARM_ENABLED "is_alarm_enabled" bool;
        ro ALARM_CONFIG "alarm_config" BTreeMap<String, String>;
        ro RECENT_ALERTS "recent_alerts" Vec<String>;
    }
}
