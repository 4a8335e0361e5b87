//! `GPU_group`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `GPU_group`. Since XenServer 6.0 (boston).
        class GpuGroup is Listed Labelled;
        /// The record of a `GPU_group`, as `get_record` returns it.
        "GPU_group" GpuGroupRecord {
            /// `string`, read-only. Since XenServer 6.0 (boston).
            0 "uuid" uuid: String;
            /// `string`, read-write. Since XenServer 6.0 (boston).
            1 "name_label" name_label: String;
            /// `string`, read-write. Since XenServer 6.0 (boston).
            2 "name_description" name_description: String;
            /// `PGPU ref set`, read-only. Since XenServer 6.0 (boston).
            3 "PGPUs" pgpus: Vec<Ref<Pgpu>>;
            /// `VGPU ref set`, read-only. Since XenServer 6.0 (boston).
            4 "VGPUs" vgpus: Vec<Ref<Vgpu>>;
            /// `string set`, read-only. Since XenServer 6.0 (boston).
            5 "GPU_types" gpu_types: Vec<String>;
            /// `(string -> string) map`, read-write. Since XenServer 6.0 (boston).
            6 "other_config" other_config: BTreeMap<String, String>;
            /// `enum allocation_algorithm`, read-write. Since XenServer 6.2 vGPU preview
            /// (vgpu-tech-preview).
            7 "allocation_algorithm" allocation_algorithm: AllocationAlgorithm = AllocationAlgorithm::DepthFirst;
            /// `VGPU_type ref set`, read-only. Since XenServer 6.2 SP1 (vgpu-productisation).
            8 "supported_VGPU_types" supported_vgpu_types: Vec<Ref<VgpuType>>;
            /// `VGPU_type ref set`, read-only. Since XenServer 6.2 SP1 (vgpu-productisation).
            9 "enabled_VGPU_types" enabled_vgpu_types: Vec<Ref<VgpuType>>;
        }
    }

    open_enum! {
        /// `enum allocation_algorithm`
        AllocationAlgorithm {
            BreadthFirst "breadth_first",
            DepthFirst "depth_first",
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `GPU_group.get_remaining_capacity`, returns `int`. Since XenServer 6.2 vGPU preview
    /// (vgpu-tech-preview). Least role: read-only.
    "GPU_group.get_remaining_capacity" GetRemainingCapacity -> i64 {
        /// `GPU_group ref`
        gpu_group: Ref<GpuGroup>,
        /// `VGPU_type ref`
        vgpu_type: Ref<VgpuType>,
    }
}

call! {
    /// `GPU_group.destroy`, returns `void`. Since XenServer 6.0 (boston). Least role:
    /// pool-operator.
    "GPU_group.destroy" Destroy -> () {
        /// `GPU_group ref`
        gpu_group: Ref<GpuGroup>,
    }
}

call! {
    /// `GPU_group.create`, returns `GPU_group ref`. Since XenServer 6.0 (boston). Least role:
    /// pool-operator.
    "GPU_group.create" Create -> Ref<GpuGroup> {
        ;
        /// `string`, has a default on the server.
        name_label: String = Default::default(),
        /// `string`, has a default on the server.
        name_description: String = Default::default(),
        /// `(string -> string) map`, has a default on the server.
        other_config: BTreeMap<String, String> = Default::default(),
    }
}

/// Names of the fields of `GPU_group`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        GpuGroup;
        ro UUID "uuid" String;
        rw NAME_LABEL "name_label" String;
        rw NAME_DESCRIPTION "name_description" String;
        ro PGPUS "PGPUs" Vec<Ref<Pgpu>>;
        ro VGPUS "VGPUs" Vec<Ref<Vgpu>>;
        ro GPU_TYPES "GPU_types" Vec<String>;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        rw ALLOCATION_ALGORITHM "allocation_algorithm" AllocationAlgorithm;
        ro SUPPORTED_VGPU_TYPES "supported_VGPU_types" Vec<Ref<VgpuType>>;
        ro ENABLED_VGPU_TYPES "enabled_VGPU_types" Vec<Ref<VgpuType>>;
    }
}
