//! `SR`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `SR`.
        class Sr is Listed Labelled;
        /// The record of a `SR`, as `get_record` returns it.
        "SR" SrRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `string`, set by `create` only.
            1 "name_label" name_label: String;
            /// `string`, set by `create` only.
            2 "name_description" name_description: String;
            /// `enum storage_operations set`, read-only.
            3 "allowed_operations" allowed_operations: Vec<StorageOperations>;
            /// `(string -> enum storage_operations) map`, read-only.
            4 "current_operations" current_operations: BTreeMap<String, StorageOperations>;
            /// `VDI ref set`, read-only.
            5 "VDIs" vdis: Vec<Ref<Vdi>>;
            /// `PBD ref set`, read-only.
            6 "PBDs" pbds: Vec<Ref<Pbd>>;
            /// `int`, read-only.
            7 "virtual_allocation" virtual_allocation: i64;
            /// `int`, read-only.
            8 "physical_utilisation" physical_utilisation: i64;
            /// `int`, set by `create` only.
            9 "physical_size" physical_size: i64;
            /// `string`, set by `create` only.
            10 "type" r#type: String;
            /// `string`, set by `create` only.
            11 "content_type" content_type: String;
            /// `bool`, read-only.
            12 "shared" shared: bool;
            /// `(string -> string) map`, read-write.
            13 "other_config" other_config: BTreeMap<String, String>;
            /// `string set`, read-write. Since XenServer 5.0 (orlando).
            14 "tags" tags: Vec<String>;
            /// `(string -> string) map`, read-write. Since XenServer 4.1 (miami).
            15 "sm_config" sm_config: BTreeMap<String, String>;
            /// `(string -> blob ref) map`, read-only. Since XenServer 5.0 (orlando).
            16 "blobs" blobs: BTreeMap<String, Ref<Blob>>;
            /// `bool`, read-only. Since XenServer 5.6 FP1 (cowley).
            17 "local_cache_enabled" local_cache_enabled: bool;
            /// `DR_task ref`, read-only. Since XenServer 6.0 (boston).
            18 "introduced_by" introduced_by: Ref<DrTask>;
            /// `bool`, read-only. Since XenServer 7.0 (dundee).
            19 "clustered" clustered: bool;
            /// `bool`, read-only. Since XenServer 7.0 (dundee).
            20 "is_tools_sr" is_tools_sr: bool;
        }
    }

    open_enum! {
        /// `enum storage_operations`
        StorageOperations {
            Scan "scan",
            Destroy "destroy",
            Forget "forget",
            Plug "plug",
            Unplug "unplug",
            Update "update",
            VdiCreate "vdi_create",
            VdiIntroduce "vdi_introduce",
            VdiDestroy "vdi_destroy",
            VdiResize "vdi_resize",
            VdiClone "vdi_clone",
            VdiSnapshot "vdi_snapshot",
            VdiMirror "vdi_mirror",
            VdiEnableCbt "vdi_enable_cbt",
            VdiDisableCbt "vdi_disable_cbt",
            VdiDataDestroy "vdi_data_destroy",
            VdiListChangedBlocks "vdi_list_changed_blocks",
            VdiSetOnBoot "vdi_set_on_boot",
            PbdCreate "pbd_create",
            PbdDestroy "pbd_destroy",
            VdiRevert "vdi_revert",
            VdiBlocked "vdi_blocked",
            VdiCopy "vdi_copy",
            VdiForceUnlock "vdi_force_unlock",
            VdiForget "vdi_forget",
            VdiGenerateConfig "vdi_generate_config",
            VdiResizeOnline "vdi_resize_online",
            VdiUpdate "vdi_update",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `SR.forget_data_source_archives`, returns `void`. Since XenServer 7.0 (dundee). Least role:
    /// pool-operator.
    "SR.forget_data_source_archives" ForgetDataSourceArchives [no_async] -> () {
        /// `SR ref`
        sr: Ref<Sr>,
        /// `string`
        data_source: String,
    }
}

call! {
    /// `SR.query_data_source`, returns `float`. Since XenServer 7.0 (dundee). Least role:
    /// read-only.
    "SR.query_data_source" QueryDataSource [no_async] -> f64 {
        /// `SR ref`
        sr: Ref<Sr>,
        /// `string`
        data_source: String,
    }
}

call! {
    /// `SR.record_data_source`, returns `void`. Since XenServer 7.0 (dundee). Least role:
    /// pool-operator.
    "SR.record_data_source" RecordDataSource [no_async] -> () {
        /// `SR ref`
        sr: Ref<Sr>,
        /// `string`
        data_source: String,
    }
}

call! {
    /// `SR.get_data_sources`, returns `data_source record set`. Since XenServer 7.0 (dundee). Least
    /// role: read-only.
    "SR.get_data_sources" GetDataSources [no_async] -> Vec<DataSourceRecord> {
        /// `SR ref`
        sr: Ref<Sr>,
    }
}

call! {
    /// `SR.disable_database_replication`, returns `void`. Since XenServer 6.0 (boston). Least role:
    /// pool-operator.
    "SR.disable_database_replication" DisableDatabaseReplication -> () {
        /// `SR ref`
        sr: Ref<Sr>,
    }
}

call! {
    /// `SR.enable_database_replication`, returns `void`. Since XenServer 6.0 (boston). Least role:
    /// pool-operator.
    "SR.enable_database_replication" EnableDatabaseReplication -> () {
        /// `SR ref`
        sr: Ref<Sr>,
    }
}

call! {
    /// `SR.assert_supports_database_replication`, returns `void`. Since XenServer 6.0 (boston).
    /// Least role: pool-operator.
    "SR.assert_supports_database_replication" AssertSupportsDatabaseReplication -> () {
        /// `SR ref`
        sr: Ref<Sr>,
    }
}

call! {
    /// `SR.assert_can_host_ha_statefile`, returns `void`. Since XenServer 5.0 (orlando). Least
    /// role: pool-operator.
    "SR.assert_can_host_ha_statefile" AssertCanHostHaStatefile -> () {
        /// `SR ref`
        sr: Ref<Sr>,
    }
}

call! {
    /// `SR.set_physical_size`, returns `void`. Since XenServer 4.1 (miami). Least role:
    /// pool-operator.
    "SR.set_physical_size" SetPhysicalSize [no_async] -> () {
        /// `SR ref`
        sr: Ref<Sr>,
        /// `int`
        value: i64,
    }
}

call! {
    /// `SR.create_new_blob`, returns `blob ref`. Since XenServer 5.0 (orlando). Least role:
    /// pool-operator.
    "SR.create_new_blob" CreateNewBlob -> Ref<Blob> {
        /// `SR ref`
        sr: Ref<Sr>,
        /// `string`
        name: String,
        /// `string`
        mime_type: String,
        ;
        /// `bool`, has a default on the server. Since XenServer 6.1 (tampa).
        public: bool = Default::default(),
    }
}

call! {
    /// `SR.set_name_description`, returns `void`. Least role: pool-operator.
    "SR.set_name_description" SetNameDescription -> () {
        /// `SR ref`
        sr: Ref<Sr>,
        /// `string`
        value: String,
    }
}

call! {
    /// `SR.set_name_label`, returns `void`. Least role: pool-operator.
    "SR.set_name_label" SetNameLabel -> () {
        /// `SR ref`
        sr: Ref<Sr>,
        /// `string`
        value: String,
    }
}

call! {
    /// `SR.set_shared`, returns `void`. Least role: pool-operator.
    "SR.set_shared" SetShared -> () {
        /// `SR ref`
        sr: Ref<Sr>,
        /// `bool`
        value: bool,
    }
}

call! {
    /// `SR.probe_ext`, returns `probe_result record set`. Since XenServer 7.6 (lima). Least role:
    /// pool-operator.
    "SR.probe_ext" ProbeExt -> Vec<ProbeResultRecord> {
        /// `host ref`
        host: Ref<Host>,
        /// `(string -> string) map`
        [secret] device_config: BTreeMap<String, String>,
        /// `string`
        r#type: String,
        /// `(string -> string) map`
        sm_config: BTreeMap<String, String>,
    }
}

call! {
    /// `SR.probe`, returns `string`. Since XenServer 4.1 (miami). Least role: pool-operator.
    "SR.probe" Probe -> String {
        /// `host ref`
        host: Ref<Host>,
        /// `(string -> string) map`
        [secret] device_config: BTreeMap<String, String>,
        /// `string`
        r#type: String,
        ;
        /// `(string -> string) map`, has a default on the server. Since XenServer 4.1 (miami).
        sm_config: BTreeMap<String, String> = Default::default(),
    }
}

call! {
    /// `SR.scan`, returns `void`. Least role: vm-power-admin.
    "SR.scan" Scan -> () {
        /// `SR ref`
        sr: Ref<Sr>,
    }
}

call! {
    /// `SR.get_supported_types`, returns `string set`. Least role: read-only.
    "SR.get_supported_types" GetSupportedTypes [no_async] -> Vec<String> {
    }
}

call! {
    /// `SR.update`, returns `void`. Since XenServer 4.1.1 (symc). Least role: pool-operator.
    "SR.update" Update -> () {
        /// `SR ref`
        sr: Ref<Sr>,
    }
}

call! {
    /// `SR.forget`, returns `void`. Least role: pool-operator. Fails with `SR_HAS_PBD`, among
    /// others.
    "SR.forget" Forget -> () {
        /// `SR ref`
        sr: Ref<Sr>,
    }
}

call! {
    /// `SR.destroy`, returns `void`. Least role: pool-operator. Fails with `SR_HAS_PBD`, among
    /// others.
    "SR.destroy" Destroy -> () {
        /// `SR ref`
        sr: Ref<Sr>,
    }
}

call! {
    /// `SR.make`, returns `string`. Deprecated since XenServer 4.1 (miami). Least role:
    /// pool-operator.
    "SR.make" Make -> String {
        /// `host ref`
        host: Ref<Host>,
        /// `(string -> string) map`
        [secret] device_config: BTreeMap<String, String>,
        /// `int`
        physical_size: i64,
        /// `string`
        name_label: String,
        /// `string`
        name_description: String,
        /// `string`
        r#type: String,
        /// `string`
        content_type: String,
        ;
        /// `(string -> string) map`, has a default on the server. Since XenServer 4.1 (miami).
        sm_config: BTreeMap<String, String> = Default::default(),
    }
}

call! {
    /// `SR.introduce`, returns `SR ref`. Least role: pool-operator.
    "SR.introduce" Introduce -> Ref<Sr> {
        /// `string`
        uuid: String,
        /// `string`
        name_label: String,
        /// `string`
        name_description: String,
        /// `string`
        r#type: String,
        /// `string`
        content_type: String,
        /// `bool`
        shared: bool,
        ;
        /// `(string -> string) map`, has a default on the server. Since XenServer 4.1 (miami).
        sm_config: BTreeMap<String, String> = Default::default(),
    }
}

call! {
    /// `SR.create`, returns `SR ref`. Least role: pool-operator. Fails with `SR_UNKNOWN_DRIVER`,
    /// among others.
    "SR.create" Create -> Ref<Sr> {
        /// `host ref`
        host: Ref<Host>,
        /// `(string -> string) map`
        [secret] device_config: BTreeMap<String, String>,
        /// `int`
        physical_size: i64,
        /// `string`
        name_label: String,
        /// `string`
        name_description: String,
        /// `string`
        r#type: String,
        /// `string`
        content_type: String,
        /// `bool`
        shared: bool,
        ;
        /// `(string -> string) map`, has a default on the server. Since XenServer 4.1 (miami).
        sm_config: BTreeMap<String, String> = Default::default(),
    }
}

/// Names of the fields of `SR`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Sr;
        ro UUID "uuid" String;
        ro NAME_LABEL "name_label" String;
        ro NAME_DESCRIPTION "name_description" String;
        ro ALLOWED_OPERATIONS "allowed_operations" Vec<StorageOperations>;
        ro CURRENT_OPERATIONS "current_operations" BTreeMap<String, StorageOperations>;
        ro VDIS "VDIs" Vec<Ref<Vdi>>;
        ro PBDS "PBDs" Vec<Ref<Pbd>>;
        ro VIRTUAL_ALLOCATION "virtual_allocation" i64;
        ro PHYSICAL_UTILISATION "physical_utilisation" i64;
        ro PHYSICAL_SIZE "physical_size" i64;
        ro TYPE "type" String;
        ro CONTENT_TYPE "content_type" String;
        ro SHARED "shared" bool;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        rw TAGS "tags" Vec<String>;
        rw SM_CONFIG "sm_config" BTreeMap<String, String>;
        ro BLOBS "blobs" BTreeMap<String, Ref<Blob>>;
        ro LOCAL_CACHE_ENABLED "local_cache_enabled" bool;
        ro INTRODUCED_BY "introduced_by" Ref<DrTask>;
        ro CLUSTERED "clustered" bool;
        ro IS_TOOLS_SR "is_tools_sr" bool;
    }
}
