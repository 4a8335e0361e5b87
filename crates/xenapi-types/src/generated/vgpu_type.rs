//! `VGPU_type`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `VGPU_type`. Since XenServer 6.2 vGPU preview (vgpu-tech-preview).
        class VgpuType is Listed;
        /// The record of a `VGPU_type`, as `get_record` returns it.
        "VGPU_type" VgpuTypeRecord {
            /// `string`, read-only. Since XenServer 6.2 vGPU preview (vgpu-tech-preview).
            0 "uuid" uuid: String;
            /// `string`, set by `create` only. Since XenServer 6.2 vGPU preview
            /// (vgpu-tech-preview).
            1 "vendor_name" vendor_name: String;
            /// `string`, set by `create` only. Since XenServer 6.2 vGPU preview
            /// (vgpu-tech-preview).
            2 "model_name" model_name: String;
            /// `int`, set by `create` only. Since XenServer 6.2 vGPU preview (vgpu-tech-preview).
            3 "framebuffer_size" framebuffer_size: i64;
            /// `int`, set by `create` only. Since XenServer 6.2 vGPU preview (vgpu-tech-preview).
            4 "max_heads" max_heads: i64;
            /// `int`, set by `create` only. Since XenServer 6.2 SP1 (vgpu-productisation).
            5 "max_resolution_x" max_resolution_x: i64;
            /// `int`, set by `create` only. Since XenServer 6.2 SP1 (vgpu-productisation).
            6 "max_resolution_y" max_resolution_y: i64;
            /// `PGPU ref set`, read-only. Since XenServer 6.2 vGPU preview (vgpu-tech-preview).
            7 "supported_on_PGPUs" supported_on_pgpus: Vec<Ref<Pgpu>>;
            /// `PGPU ref set`, read-only. Since XenServer 6.2 vGPU preview (vgpu-tech-preview).
            8 "enabled_on_PGPUs" enabled_on_pgpus: Vec<Ref<Pgpu>>;
            /// `VGPU ref set`, read-only. Since XenServer 6.2 vGPU preview (vgpu-tech-preview).
            9 "VGPUs" vgpus: Vec<Ref<Vgpu>>;
            /// `GPU_group ref set`, read-only. Since XenServer 6.2 SP1 (vgpu-productisation).
            10 "supported_on_GPU_groups" supported_on_gpu_groups: Vec<Ref<GpuGroup>>;
            /// `GPU_group ref set`, read-only. Since XenServer 6.2 SP1 (vgpu-productisation).
            11 "enabled_on_GPU_groups" enabled_on_gpu_groups: Vec<Ref<GpuGroup>>;
            /// `enum vgpu_type_implementation`, set by `create` only. Since XenServer 7.0 (dundee).
            12 "implementation" implementation: VgpuTypeImplementation = VgpuTypeImplementation::Passthrough;
            /// `string`, set by `create` only. Since XenServer 7.0 (dundee).
            13 "identifier" identifier: String;
            /// `bool`, set by `create` only. Since XenServer 7.0 (dundee).
            14 "experimental" experimental: bool;
            /// `VGPU_type ref set`, read-only. Since Citrix Hypervisor 8.1 (quebec).
            15 "compatible_types_in_vm" compatible_types_in_vm: Vec<Ref<VgpuType>>;
        }
    }

    open_enum! {
        /// `enum vgpu_type_implementation`
        VgpuTypeImplementation {
            Passthrough "passthrough",
            Nvidia "nvidia",
            NvidiaSriov "nvidia_sriov",
            GvtG "gvt_g",
            Mxgpu "mxgpu",
        }
    }
}

/// Names of the fields of `VGPU_type`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        VgpuType;
        ro UUID "uuid" String;
        ro VENDOR_NAME "vendor_name" String;
        ro MODEL_NAME "model_name" String;
        ro FRAMEBUFFER_SIZE "framebuffer_size" i64;
        ro MAX_HEADS "max_heads" i64;
        ro MAX_RESOLUTION_X "max_resolution_x" i64;
        ro MAX_RESOLUTION_Y "max_resolution_y" i64;
        ro SUPPORTED_ON_PGPUS "supported_on_PGPUs" Vec<Ref<Pgpu>>;
        ro ENABLED_ON_PGPUS "enabled_on_PGPUs" Vec<Ref<Pgpu>>;
        ro VGPUS "VGPUs" Vec<Ref<Vgpu>>;
        ro SUPPORTED_ON_GPU_GROUPS "supported_on_GPU_groups" Vec<Ref<GpuGroup>>;
        ro ENABLED_ON_GPU_GROUPS "enabled_on_GPU_groups" Vec<Ref<GpuGroup>>;
        ro IMPLEMENTATION "implementation" VgpuTypeImplementation;
        ro IDENTIFIER "identifier" String;
        ro EXPERIMENTAL "experimental" bool;
        ro COMPATIBLE_TYPES_IN_VM "compatible_types_in_vm" Vec<Ref<VgpuType>>;
    }
}
