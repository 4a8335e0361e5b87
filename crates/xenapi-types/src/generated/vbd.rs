//! `VBD`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `VBD`.
        class Vbd is Listed;
        /// The record of a `VBD`, as `get_record` returns it.
        "VBD" VbdRecord {
            /// `string`, read-only.
            0 "uuid" uuid: String;
            /// `enum vbd_operations set`, read-only.
            1 "allowed_operations" allowed_operations: Vec<VbdOperations>;
            /// `(string -> enum vbd_operations) map`, read-only.
            2 "current_operations" current_operations: BTreeMap<String, VbdOperations>;
            /// `VM ref`, set by `create` only.
            3 "VM" vm: Ref<Vm>;
            /// `VDI ref`, set by `create` only.
            4 "VDI" vdi: Ref<Vdi>;
            /// `string`, set by `create` only.
            5 "device" device: String;
            /// `string`, read-write.
            6 "userdevice" userdevice: String;
            /// `bool`, read-write.
            7 "bootable" bootable: bool;
            /// `enum vbd_mode`, set by `create` only.
            8 "mode" mode: VbdMode;
            /// `enum vbd_type`, read-write.
            9 "type" r#type: VbdType;
            /// `bool`, read-write. Since XenServer 4.1 (miami).
            10 "unpluggable" unpluggable: bool = true;
            /// `bool`, read-only.
            11 "storage_lock" storage_lock: bool;
            /// `bool`, set by `create` only.
            12 "empty" empty: bool;
            /// `(string -> string) map`, read-write.
            13 "other_config" other_config: BTreeMap<String, String>;
            /// `bool`, set by `create` only.
            14 "currently_attached" currently_attached: bool;
            /// `int`, read-only.
            15 "status_code" status_code: i64;
            /// `string`, read-only.
            16 "status_detail" status_detail: String;
            /// `(string -> string) map`, read-only.
            17 "runtime_properties" runtime_properties: BTreeMap<String, String>;
            /// `string`, read-write.
            18 "qos_algorithm_type" qos_algorithm_type: String;
            /// `(string -> string) map`, read-write.
            19 "qos_algorithm_params" qos_algorithm_params: BTreeMap<String, String>;
            /// `string set`, read-only.
            20 "qos_supported_algorithms" qos_supported_algorithms: Vec<String>;
            /// `VBD_metrics ref`, read-only. Removed in XenServer 6.1 (tampa).
            21 "metrics" metrics: Ref<VbdMetrics>;
        }
    }

    open_enum! {
        /// `enum vbd_mode`
        VbdMode {
            Ro "RO",
            Rw "RW",
        }
    }

    open_enum! {
        /// `enum vbd_operations`
        VbdOperations {
            Attach "attach",
            Eject "eject",
            Insert "insert",
            Plug "plug",
            Unplug "unplug",
            UnplugForce "unplug_force",
            Pause "pause",
            Unpause "unpause",
        }
    }

    open_enum! {
        /// `enum vbd_type`
        VbdType {
            Cd "CD",
            Disk "Disk",
            Floppy "Floppy",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

create! {
    /// `VBD.create`: makes an object from its constructor fields. Least role: vm-admin.
    "VBD.create" Create -> Ref<Vbd> {
        /// `VM ref`, required.
        0 "VM" vm: Ref<Vm>;
        /// `VDI ref`, required.
        1 "VDI" vdi: Ref<Vdi>;
        /// `string`, has a default.
        2 "device" device: String;
        /// `string`, required.
        3 "userdevice" userdevice: String;
        /// `bool`, required.
        4 "bootable" bootable: bool;
        /// `enum vbd_mode`, required.
        5 "mode" mode: VbdMode;
        /// `enum vbd_type`, required.
        6 "type" r#type: VbdType;
        /// `bool`, has a default. Since XenServer 4.1 (miami).
        7 "unpluggable" unpluggable: bool = true;
        /// `bool`, required.
        8 "empty" empty: bool;
        /// `(string -> string) map`, required.
        9 "other_config" other_config: BTreeMap<String, String>;
        /// `bool`, has a default.
        10 "currently_attached" currently_attached: bool;
        /// `string`, required.
        11 "qos_algorithm_type" qos_algorithm_type: String;
        /// `(string -> string) map`, required.
        12 "qos_algorithm_params" qos_algorithm_params: BTreeMap<String, String>;
    }
}

call! {
    /// `VBD.destroy`: removes an object. Least role: vm-admin.
    "VBD.destroy" Destroy -> () {
        /// `VBD ref`
        vbd: Ref<Vbd>,
    }
}

call! {
    /// `VBD.set_mode`, returns `void`. Least role: vm-admin.
    "VBD.set_mode" SetMode -> () {
        /// `VBD ref`
        vbd: Ref<Vbd>,
        /// `enum vbd_mode`
        value: VbdMode,
    }
}

call! {
    /// `VBD.assert_attachable`, returns `void`. Least role: vm-admin.
    "VBD.assert_attachable" AssertAttachable -> () {
        /// `VBD ref`
        vbd: Ref<Vbd>,
    }
}

call! {
    /// `VBD.unplug_force`, returns `void`. Least role: vm-admin.
    "VBD.unplug_force" UnplugForce -> () {
        /// `VBD ref`
        vbd: Ref<Vbd>,
    }
}

call! {
    /// `VBD.unplug`, returns `void`. Least role: vm-admin. Fails with `DEVICE_DETACH_REJECTED`,
    /// `DEVICE_ALREADY_DETACHED`, among others.
    "VBD.unplug" Unplug -> () {
        /// `VBD ref`
        vbd: Ref<Vbd>,
    }
}

call! {
    /// `VBD.plug`, returns `void`. Least role: vm-admin.
    "VBD.plug" Plug -> () {
        /// `VBD ref`
        vbd: Ref<Vbd>,
    }
}

call! {
    /// `VBD.insert`, returns `void`. Least role: vm-operator. Fails with `VBD_NOT_REMOVABLE_MEDIA`,
    /// `VBD_NOT_EMPTY`, among others.
    "VBD.insert" Insert -> () {
        /// `VBD ref`
        vbd: Ref<Vbd>,
        /// `VDI ref`
        vdi: Ref<Vdi>,
    }
}

call! {
    /// `VBD.eject`, returns `void`. Least role: vm-operator. Fails with `VBD_NOT_REMOVABLE_MEDIA`,
    /// `VBD_IS_EMPTY`, among others.
    "VBD.eject" Eject -> () {
        /// `VBD ref`
        vbd: Ref<Vbd>,
    }
}

/// Names of the fields of `VBD`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Vbd;
        ro UUID "uuid" String;
        ro ALLOWED_OPERATIONS "allowed_operations" Vec<VbdOperations>;
        ro CURRENT_OPERATIONS "current_operations" BTreeMap<String, VbdOperations>;
        ro VM "VM" Ref<Vm>;
        ro VDI "VDI" Ref<Vdi>;
        ro DEVICE "device" String;
        rw USERDEVICE "userdevice" String;
        rw BOOTABLE "bootable" bool;
        ro MODE "mode" VbdMode;
        rw TYPE "type" VbdType;
        rw UNPLUGGABLE "unpluggable" bool;
        ro STORAGE_LOCK "storage_lock" bool;
        ro EMPTY "empty" bool;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro CURRENTLY_ATTACHED "currently_attached" bool;
        ro STATUS_CODE "status_code" i64;
        ro STATUS_DETAIL "status_detail" String;
        ro RUNTIME_PROPERTIES "runtime_properties" BTreeMap<String, String>;
        rw QOS_ALGORITHM_TYPE "qos_algorithm_type" String;
        rw QOS_ALGORITHM_PARAMS "qos_algorithm_params" BTreeMap<String, String>;
        ro QOS_SUPPORTED_ALGORITHMS "qos_supported_algorithms" Vec<String>;
        ro METRICS "metrics" Ref<VbdMetrics>;
    }
}
