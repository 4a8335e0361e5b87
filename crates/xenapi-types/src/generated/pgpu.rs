//! `PGPU`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `PGPU`. Since XenServer 6.0 (boston).
        class Pgpu is Listed;
        /// The record of a `PGPU`, as `get_record` returns it.
        "PGPU" PgpuRecord {
            /// `string`, read-only. Since XenServer 6.0 (boston).
            0 "uuid" uuid: String;
            /// `PCI ref`, set by `create` only. Since XenServer 6.0 (boston).
            1 "PCI" pci: Ref<Pci>;
            /// `GPU_group ref`, set by `create` only. Since XenServer 6.0 (boston).
            2 "GPU_group" gpu_group: Ref<GpuGroup>;
            /// `host ref`, read-only. Since XenServer 6.0 (boston).
            3 "host" host: Ref<Host>;
            /// `(string -> string) map`, read-write. Since XenServer 6.0 (boston).
            4 "other_config" other_config: BTreeMap<String, String>;
            /// `VGPU_type ref set`, read-only. Since XenServer 6.2 vGPU preview
            /// (vgpu-tech-preview).
            5 "supported_VGPU_types" supported_vgpu_types: Vec<Ref<VgpuType>>;
            /// `VGPU_type ref set`, read-only. Since XenServer 6.2 vGPU preview
            /// (vgpu-tech-preview).
            6 "enabled_VGPU_types" enabled_vgpu_types: Vec<Ref<VgpuType>>;
            /// `VGPU ref set`, read-only. Since XenServer 6.2 vGPU preview (vgpu-tech-preview).
            7 "resident_VGPUs" resident_vgpus: Vec<Ref<Vgpu>>;
            /// `(VGPU_type ref -> int) map`, read-only. Since XenServer 6.2 SP1
            /// (vgpu-productisation).
            8 "supported_VGPU_max_capacities" supported_vgpu_max_capacities: BTreeMap<Ref<VgpuType>, i64>;
            /// `enum pgpu_dom0_access`, read-only. Since XenServer 6.5 SP1 (cream).
            9 "dom0_access" dom0_access: PgpuDom0Access = PgpuDom0Access::Enabled;
            /// `bool`, read-only. Since XenServer 6.5 SP1 (cream).
            10 "is_system_display_device" is_system_display_device: bool;
            /// `(string -> string) map`, read-only. Since XenServer 7.3 (inverness).
            11 "compatibility_metadata" compatibility_metadata: BTreeMap<String, String>;
        }
    }

    open_enum! {
        /// `enum pgpu_dom0_access`
        PgpuDom0Access {
            Enabled "enabled",
            DisableOnReboot "disable_on_reboot",
            Disabled "disabled",
            EnableOnReboot "enable_on_reboot",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `PGPU.disable_dom0_access`, returns `enum pgpu_dom0_access`. Since XenServer 6.5 SP1
    /// (cream). Least role: pool-operator.
    "PGPU.disable_dom0_access" DisableDom0Access -> PgpuDom0Access {
        /// `PGPU ref`
        pgpu: Ref<Pgpu>,
    }
}

call! {
    /// `PGPU.enable_dom0_access`, returns `enum pgpu_dom0_access`. Since XenServer 6.5 SP1 (cream).
    /// Least role: pool-operator.
    "PGPU.enable_dom0_access" EnableDom0Access -> PgpuDom0Access {
        /// `PGPU ref`
        pgpu: Ref<Pgpu>,
    }
}

call! {
    /// `PGPU.get_remaining_capacity`, returns `int`. Since XenServer 6.2 vGPU preview
    /// (vgpu-tech-preview). Least role: read-only.
    "PGPU.get_remaining_capacity" GetRemainingCapacity -> i64 {
        /// `PGPU ref`
        pgpu: Ref<Pgpu>,
        /// `VGPU_type ref`
        vgpu_type: Ref<VgpuType>,
    }
}

call! {
    /// `PGPU.set_GPU_group`, returns `void`. Since XenServer 6.2 vGPU preview (vgpu-tech-preview).
    /// Least role: pool-operator.
    "PGPU.set_GPU_group" SetGpuGroup -> () {
        /// `PGPU ref`
        pgpu: Ref<Pgpu>,
        /// `GPU_group ref`
        value: Ref<GpuGroup>,
    }
}

call! {
    /// `PGPU.set_enabled_VGPU_types`, returns `void`. Since XenServer 6.2 vGPU preview
    /// (vgpu-tech-preview). Least role: pool-operator.
    "PGPU.set_enabled_VGPU_types" SetEnabledVgpuTypes -> () {
        /// `PGPU ref`
        pgpu: Ref<Pgpu>,
        /// `VGPU_type ref set`
        value: Vec<Ref<VgpuType>>,
    }
}

call! {
    /// `PGPU.remove_enabled_VGPU_types`, returns `void`. Since XenServer 6.2 vGPU preview
    /// (vgpu-tech-preview). Least role: pool-operator.
    "PGPU.remove_enabled_VGPU_types" RemoveEnabledVgpuTypes -> () {
        /// `PGPU ref`
        pgpu: Ref<Pgpu>,
        /// `VGPU_type ref`
        value: Ref<VgpuType>,
    }
}

call! {
    /// `PGPU.add_enabled_VGPU_types`, returns `void`. Since XenServer 6.2 vGPU preview
    /// (vgpu-tech-preview). Least role: pool-operator.
    "PGPU.add_enabled_VGPU_types" AddEnabledVgpuTypes -> () {
        /// `PGPU ref`
        pgpu: Ref<Pgpu>,
        /// `VGPU_type ref`
        value: Ref<VgpuType>,
    }
}

/// Names of the fields of `PGPU`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Pgpu;
        ro UUID "uuid" String;
        ro PCI "PCI" Ref<Pci>;
        ro GPU_GROUP "GPU_group" Ref<GpuGroup>;
        ro HOST "host" Ref<Host>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro SUPPORTED_VGPU_TYPES "supported_VGPU_types" Vec<Ref<VgpuType>>;
        ro ENABLED_VGPU_TYPES "enabled_VGPU_types" Vec<Ref<VgpuType>>;
        ro RESIDENT_VGPUS "resident_VGPUs" Vec<Ref<Vgpu>>;
        ro SUPPORTED_VGPU_MAX_CAPACITIES "supported_VGPU_max_capacities" BTreeMap<Ref<VgpuType>, i64>;
        ro DOM0_ACCESS "dom0_access" PgpuDom0Access;
        ro IS_SYSTEM_DISPLAY_DEVICE "is_system_display_device" bool;
        ro COMPATIBILITY_METADATA "compatibility_metadata" BTreeMap<String, String>;
    }
}
