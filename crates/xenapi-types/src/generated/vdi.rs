//! `VDI`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `VDI`.
        class Vdi is Listed Labelled;
        /// The record of a `VDI`, as `get_record` returns it.
        "VDI" VdiRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, set by `create` only.
            1 "name_label" name_label: String;
            /// `string`, set by `create` only.
            2 "name_description" name_description: String;
            /// `enum vdi_operations set`, read-only.
            3 "allowed_operations" allowed_operations: Vec<VdiOperations>;
            /// `(string -> enum vdi_operations) map`, read-only.
            4 "current_operations" current_operations: BTreeMap<String, VdiOperations>;
            /// `SR ref`, set by `create` only.
            5 "SR" sr: Ref<Sr>;
            /// `VBD ref set`, read-only.
            6 "VBDs" vbds: Vec<Ref<Vbd>>;
            /// `crashdump ref set`, read-only.
            7 "crash_dumps" crash_dumps: Vec<Ref<Crashdump>>;
            /// `int`, set by `create` only.
            8 "virtual_size" virtual_size: i64;
            /// `int`, read-only.
            9 "physical_utilisation" physical_utilisation: i64;
            /// `enum vdi_type`, set by `create` only.
            10 "type" r#type: VdiType;
            /// `bool`, set by `create` only.
            11 "sharable" sharable: bool;
            /// `bool`, set by `create` only.
            12 "read_only" read_only: bool;
            /// `(string -> string) map`, read-write.
            13 "other_config" other_config: BTreeMap<String, String>;
            /// `bool`, read-only.
            14 "storage_lock" storage_lock: bool;
            /// `string`, read-only. Since XenServer 4.1 (miami).
            15 "location" location: String;
            /// `bool`, read-only.
            16 "managed" managed: bool;
            /// `bool`, read-only.
            17 "missing" missing: bool;
            /// `VDI ref`, read-only. Deprecated since XenServer 7.1 (ely).
            18 "parent" parent: Ref<Vdi>;
            /// `(string -> string) map`, read-write. Since XenServer 4.1 (miami).
            19 "xenstore_data" xenstore_data: BTreeMap<String, String>;
            /// `(string -> string) map`, read-write. Since XenServer 4.1 (miami).
            20 "sm_config" sm_config: BTreeMap<String, String>;
            /// `bool`, read-only. Since XenServer 5.0 (orlando).
            21 "is_a_snapshot" is_a_snapshot: bool;
            /// `VDI ref`, read-only. Since XenServer 5.0 (orlando).
            22 "snapshot_of" snapshot_of: Ref<Vdi>;
            /// `VDI ref set`, read-only. Since XenServer 5.0 (orlando).
            23 "snapshots" snapshots: Vec<Ref<Vdi>>;
            /// `datetime`, read-only. Since XenServer 5.0 (orlando).
            24 "snapshot_time" snapshot_time: DateTime;
            /// `string set`, read-write. Since XenServer 5.0 (orlando).
            25 "tags" tags: Vec<String>;
            /// `bool`, read-only. Since XenServer 5.6 FP1 (cowley).
            26 "allow_caching" allow_caching: bool;
            /// `enum on_boot`, read-only. Since XenServer 5.6 FP1 (cowley).
            27 "on_boot" on_boot: OnBoot = OnBoot::Persist;
            /// `pool ref`, read-only. Since XenServer 6.0 (boston).
            28 "metadata_of_pool" metadata_of_pool: Ref<Pool>;
            /// `bool`, read-only. Since XenServer 6.0 (boston).
            29 "metadata_latest" metadata_latest: bool;
            /// `bool`, read-only. Since XenServer 7.0 (dundee).
            30 "is_tools_iso" is_tools_iso: bool;
            /// `bool`, read-only. Since XenServer 7.3 (inverness).
            31 "cbt_enabled" cbt_enabled: bool;
        }
    }

    open_enum! {
        /// `enum on_boot`
        OnBoot {
            Reset "reset",
            Persist "persist",
        }
    }

    open_enum! {
        /// `enum vdi_operations`
        VdiOperations {
            Clone "clone",
            Copy "copy",
            Resize "resize",
            ResizeOnline "resize_online",
            Snapshot "snapshot",
            Mirror "mirror",
            Destroy "destroy",
            Forget "forget",
            Update "update",
            ForceUnlock "force_unlock",
            GenerateConfig "generate_config",
            EnableCbt "enable_cbt",
            DisableCbt "disable_cbt",
            DataDestroy "data_destroy",
            ListChangedBlocks "list_changed_blocks",
            SetOnBoot "set_on_boot",
            Blocked "blocked",
            RevertTo "revert_to",
            RevertFrom "revert_from",
        }
    }

    open_enum! {
        /// `enum vdi_type`
        VdiType {
            System "system",
            User "user",
            Ephemeral "ephemeral",
            Suspend "suspend",
            Crashdump "crashdump",
            HaStatefile "ha_statefile",
            Metadata "metadata",
            RedoLog "redo_log",
            Rrd "rrd",
            PvsCache "pvs_cache",
            CbtMetadata "cbt_metadata",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `VDI.create`: makes an object from its constructor fields. Least role: vm-admin.
    "VDI.create" Create -> Ref<Vdi> {
        /// `string`, has a default.
        0 "name_label" name_label: String;
        /// `string`, has a default.
        1 "name_description" name_description: String;
        /// `SR ref`, required.
        2 "SR" sr: Ref<Sr>;
        /// `int`, required.
        3 "virtual_size" virtual_size: i64;
        /// `enum vdi_type`, required.
        4 "type" r#type: VdiType;
        /// `bool`, required.
        5 "sharable" sharable: bool;
        /// `bool`, required.
        6 "read_only" read_only: bool;
        /// `(string -> string) map`, required.
        7 "other_config" other_config: BTreeMap<String, String>;
        /// `(string -> string) map`, has a default. Since XenServer 4.1 (miami).
        8 "xenstore_data" xenstore_data: BTreeMap<String, String>;
        /// `(string -> string) map`, has a default. Since XenServer 4.1 (miami).
        9 "sm_config" sm_config: BTreeMap<String, String>;
        /// `string set`, has a default. Since XenServer 5.0 (orlando).
        10 "tags" tags: Vec<String>;
    }
}

call! {
    /// `VDI.destroy`: removes an object. Least role: vm-admin.
    "VDI.destroy" Destroy -> () {
        /// `VDI ref`
        vdi: Ref<Vdi>,
    }
}

call! {
    /// `VDI.get_nbd_info`, returns `vdi_nbd_server_info record set`. Since XenServer 7.3
    /// (inverness). Least role: vm-admin. Fails with `VDI_INCOMPATIBLE_TYPE`, among others.
    "VDI.get_nbd_info" GetNbdInfo [no_async] -> Vec<VdiNbdServerInfoRecord> {
        /// `VDI ref`
        vdi: Ref<Vdi>,
    }
}

call! {
    /// `VDI.list_changed_blocks`, returns `string`. Since XenServer 7.3 (inverness). Least role:
    /// vm-operator. Fails with `SR_OPERATION_NOT_SUPPORTED`, `VDI_MISSING`, `SR_NOT_ATTACHED`,
    /// `SR_HAS_NO_PBDS`, `VDI_IN_USE`, among others.
    "VDI.list_changed_blocks" ListChangedBlocks -> String {
        /// `VDI ref`
        vdi_from: Ref<Vdi>,
        /// `VDI ref`
        vdi_to: Ref<Vdi>,
    }
}

call! {
    /// `VDI.data_destroy`, returns `void`. Since XenServer 7.3 (inverness). Least role: vm-admin.
    /// Fails with `SR_OPERATION_NOT_SUPPORTED`, `VDI_MISSING`, `SR_NOT_ATTACHED`, `SR_HAS_NO_PBDS`,
    /// `OPERATION_NOT_ALLOWED`, `VDI_INCOMPATIBLE_TYPE`, `VDI_NO_CBT_METADATA`, `VDI_IN_USE`,
    /// `VDI_IS_A_PHYSICAL_DEVICE`, among others.
    "VDI.data_destroy" DataDestroy -> () {
        /// `VDI ref`
        vdi: Ref<Vdi>,
    }
}

call! {
    /// `VDI.disable_cbt`, returns `void`. Since XenServer 7.3 (inverness). Least role: vm-admin.
    /// Fails with `SR_OPERATION_NOT_SUPPORTED`, `VDI_MISSING`, `SR_NOT_ATTACHED`, `SR_HAS_NO_PBDS`,
    /// `OPERATION_NOT_ALLOWED`, `VDI_INCOMPATIBLE_TYPE`,
    /// `VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION`, among others.
    "VDI.disable_cbt" DisableCbt -> () {
        /// `VDI ref`
        vdi: Ref<Vdi>,
    }
}

call! {
    /// `VDI.enable_cbt`, returns `void`. Since XenServer 7.3 (inverness). Least role: vm-admin.
    /// Fails with `SR_OPERATION_NOT_SUPPORTED`, `VDI_MISSING`, `SR_NOT_ATTACHED`, `SR_HAS_NO_PBDS`,
    /// `OPERATION_NOT_ALLOWED`, `VDI_INCOMPATIBLE_TYPE`,
    /// `VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION`, among others.
    "VDI.enable_cbt" EnableCbt -> () {
        /// `VDI ref`
        vdi: Ref<Vdi>,
    }
}

call! {
    /// `VDI.pool_migrate`, returns `VDI ref`. Since XenServer 6.1 (tampa). Least role:
    /// vm-power-admin.
    "VDI.pool_migrate" PoolMigrate -> Ref<Vdi> {
        /// `VDI ref`
        vdi: Ref<Vdi>,
        /// `SR ref`
        sr: Ref<Sr>,
        /// `(string -> string) map`
        options: BTreeMap<String, String>,
    }
}

call! {
    /// `VDI.read_database_pool_uuid`, returns `string`. Since XenServer 6.0 (boston). Least role:
    /// read-only.
    "VDI.read_database_pool_uuid" ReadDatabasePoolUuid -> String {
        /// `VDI ref`
        vdi: Ref<Vdi>,
    }
}

call! {
    /// `VDI.open_database`, returns `session ref`. Since XenServer 6.0 (boston). Least role:
    /// pool-operator.
    "VDI.open_database" OpenDatabase -> Ref<Session> {
        /// `VDI ref`
        vdi: Ref<Vdi>,
    }
}

call! {
    /// `VDI.set_allow_caching`, returns `void`. Since XenServer 5.6 FP1 (cowley). Least role:
    /// vm-admin.
    "VDI.set_allow_caching" SetAllowCaching -> () {
        /// `VDI ref`
        vdi: Ref<Vdi>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `VDI.set_on_boot`, returns `void`. Since XenServer 5.6 FP1 (cowley). Least role: vm-admin.
    "VDI.set_on_boot" SetOnBoot -> () {
        /// `VDI ref`
        vdi: Ref<Vdi>,
        /// `enum on_boot`
        value: OnBoot,
    }
}

call! {
    /// `VDI.set_name_description`, returns `void`. Least role: vm-admin.
    "VDI.set_name_description" SetNameDescription -> () {
        /// `VDI ref`
        vdi: Ref<Vdi>,
        /// `string`
        value: String,
    }
}

call! {
    /// `VDI.set_name_label`, returns `void`. Least role: vm-admin.
    "VDI.set_name_label" SetNameLabel -> () {
        /// `VDI ref`
        vdi: Ref<Vdi>,
        /// `string`
        value: String,
    }
}

call! {
    /// `VDI.set_read_only`, returns `void`. Least role: vm-admin.
    "VDI.set_read_only" SetReadOnly [no_async] -> () {
        /// `VDI ref`
        vdi: Ref<Vdi>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `VDI.set_sharable`, returns `void`. Since XenServer 5.5 (george). Least role: vm-admin.
    "VDI.set_sharable" SetSharable [no_async] -> () {
        /// `VDI ref`
        vdi: Ref<Vdi>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `VDI.forget`, returns `void`. Least role: vm-admin.
    "VDI.forget" Forget -> () {
        /// `VDI ref`
        vdi: Ref<Vdi>,
    }
}

call! {
    /// `VDI.copy`, returns `VDI ref`. Least role: vm-admin. Fails with `VDI_READONLY`,
    /// `VDI_TOO_SMALL`, `VDI_NOT_SPARSE`, among others.
    "VDI.copy" Copy -> Ref<Vdi> {
        /// `VDI ref`
        vdi: Ref<Vdi>,
        ;
        /// `SR ref`, has a default on the server.
        sr: Ref<Sr> = Default::default(),
        /// `VDI ref`, has a default on the server. Since XenServer 6.2 SP1 hotfix
        /// (clearwater-felton).
        base_vdi: Ref<Vdi> = Default::default(),
        /// `VDI ref`, has a default on the server. Since XenServer 6.2 SP1 hotfix
        /// (clearwater-felton).
        into_vdi: Ref<Vdi> = Default::default(),
    }
}

call! {
    /// `VDI.update`, returns `void`. Since XenServer 4.1.1 (symc). Least role: vm-admin. Fails with
    /// `SR_OPERATION_NOT_SUPPORTED`, among others.
    "VDI.update" Update -> () {
        /// `VDI ref`
        vdi: Ref<Vdi>,
    }
}

call! {
    /// `VDI.introduce`, returns `VDI ref`. Since XenServer 4.1 (miami). Least role: vm-admin. Fails
    /// with `SR_OPERATION_NOT_SUPPORTED`, among others.
    "VDI.introduce" Introduce -> Ref<Vdi> {
        /// `string`
        uuid: String,
        /// `string`
        name_label: String,
        /// `string`
        name_description: String,
        /// `SR ref`
        sr: Ref<Sr>,
        /// `enum vdi_type`
        r#type: VdiType,
        /// `bool`
        sharable: bool,
        /// `bool`
        read_only: bool,
        /// `(string -> string) map`
        other_config: BTreeMap<String, String>,
        /// `string`
        location: String,
        /// `(string -> string) map`
        xenstore_data: BTreeMap<String, String>,
        /// `(string -> string) map`
        sm_config: BTreeMap<String, String>,
        /// `bool`
        managed: bool,
        /// `int`
        virtual_size: i64,
        /// `int`
        physical_utilisation: i64,
        /// `pool ref`
        metadata_of_pool: Ref<Pool>,
        /// `bool`
        is_a_snapshot: bool,
        /// `datetime`
        snapshot_time: DateTime,
        /// `VDI ref`
        snapshot_of: Ref<Vdi>,
    }
}

call! {
    /// `VDI.resize`, returns `void`. Least role: vm-admin.
    "VDI.resize" Resize -> () {
        /// `VDI ref`
        vdi: Ref<Vdi>,
        /// `int`
        size: i64,
    }
}

call! {
    /// `VDI.clone`, returns `VDI ref`. Least role: vm-admin.
    "VDI.clone" Clone -> Ref<Vdi> {
        /// `VDI ref`
        vdi: Ref<Vdi>,
        ;
        /// `(string -> string) map`, has a default on the server. Since XenServer 4.1 (miami).
        driver_params: BTreeMap<String, String> = Default::default(),
    }
}

call! {
    /// `VDI.snapshot`, returns `VDI ref`. Least role: vm-admin.
    "VDI.snapshot" Snapshot -> Ref<Vdi> {
        /// `VDI ref`
        vdi: Ref<Vdi>,
        ;
        /// `(string -> string) map`, has a default on the server. Since XenServer 4.1 (miami).
        driver_params: BTreeMap<String, String> = Default::default(),
    }
}

call! {
    /// `VDI.revert`, returns `void`. Since XAPI 26.16.0. Least role: vm-power-admin.
    "VDI.revert" Revert -> () {
        /// `VDI ref`
        snapshot: Ref<Vdi>,
    }
}

/// Names of the fields of `VDI`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Vdi;
        ro UUID "uuid" String;
        ro NAME_LABEL "name_label" String;
        ro NAME_DESCRIPTION "name_description" String;
        ro ALLOWED_OPERATIONS "allowed_operations" Vec<VdiOperations>;
        ro CURRENT_OPERATIONS "current_operations" BTreeMap<String, VdiOperations>;
        ro SR "SR" Ref<Sr>;
        ro VBDS "VBDs" Vec<Ref<Vbd>>;
        ro CRASH_DUMPS "crash_dumps" Vec<Ref<Crashdump>>;
        ro VIRTUAL_SIZE "virtual_size" i64;
        ro PHYSICAL_UTILISATION "physical_utilisation" i64;
        ro TYPE "type" VdiType;
        ro SHARABLE "sharable" bool;
        ro READ_ONLY "read_only" bool;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro STORAGE_LOCK "storage_lock" bool;
        ro LOCATION "location" String;
        ro MANAGED "managed" bool;
        ro MISSING "missing" bool;
        ro PARENT "parent" Ref<Vdi>;
        rw XENSTORE_DATA "xenstore_data" BTreeMap<String, String>;
        rw SM_CONFIG "sm_config" BTreeMap<String, String>;
        ro IS_A_SNAPSHOT "is_a_snapshot" bool;
        ro SNAPSHOT_OF "snapshot_of" Ref<Vdi>;
        ro SNAPSHOTS "snapshots" Vec<Ref<Vdi>>;
        ro SNAPSHOT_TIME "snapshot_time" DateTime;
        rw TAGS "tags" Vec<String>;
        ro ALLOW_CACHING "allow_caching" bool;
        ro ON_BOOT "on_boot" OnBoot;
        ro METADATA_OF_POOL "metadata_of_pool" Ref<Pool>;
        ro METADATA_LATEST "metadata_latest" bool;
        ro IS_TOOLS_ISO "is_tools_iso" bool;
        ro CBT_ENABLED "cbt_enabled" bool;
    }
}
