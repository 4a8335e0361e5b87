//! `VGPU`: its record, enums, names of fields, and calls.
// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

pub(crate) mod types {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    record! {
        /// The class `VGPU`. Since XenServer 6.0 (boston).
        class Vgpu is Listed;
        /// The record of a `VGPU`, as `get_record` returns it.
        "VGPU" VgpuRecord {
            /// `string`, read-only. Since XenServer 6.0 (boston).
            0 "uuid" uuid: String;
            /// `VM ref`, read-only. Since XenServer 6.0 (boston).
            1 "VM" vm: Ref<Vm>;
            /// `GPU_group ref`, read-only. Since XenServer 6.0 (boston).
            2 "GPU_group" gpu_group: Ref<GpuGroup>;
            /// `string`, read-only. Since XenServer 6.0 (boston).
            3 "device" device: String = "0".into();
            /// `bool`, read-only. Since XenServer 6.0 (boston).
            4 "currently_attached" currently_attached: bool;
            /// `(string -> string) map`, read-write. Since XenServer 6.0 (boston).
            5 "other_config" other_config: BTreeMap<String, String>;
            /// `VGPU_type ref`, read-only. Since XenServer 6.2 vGPU preview (vgpu-tech-preview).
            6 "type" r#type: Ref<VgpuType>;
            /// `PGPU ref`, read-only. Since XenServer 6.2 vGPU preview (vgpu-tech-preview).
            7 "resident_on" resident_on: Ref<Pgpu>;
            /// `PGPU ref`, read-only. Since XenServer 7.0 (dundee).
            8 "scheduled_to_be_resident_on" scheduled_to_be_resident_on: Ref<Pgpu>;
            /// `(string -> string) map`, read-only. Since XenServer 7.3 (inverness).
            9 "compatibility_metadata" compatibility_metadata: BTreeMap<String, String>;
            /// `string`, read-write. Since Citrix Hypervisor 8.1 (quebec).
            10 "extra_args" extra_args: String;
            /// `PCI ref`, read-only. Since Citrix Hypervisor 8.1 (quebec).
            11 "PCI" pci: Ref<Pci>;
        }
    }
}

#[allow(unused_imports, reason = "one list for all classes")]
use crate::prelude::*;

call! {
    /// `VGPU.destroy`, returns `void`. Since XenServer 6.0 (boston). Least role: pool-operator.
    "VGPU.destroy" Destroy -> () {
        /// `VGPU ref`
        vgpu: Ref<Vgpu>,
    }
}

call! {
    /// `VGPU.create`, returns `VGPU ref`. Since XenServer 6.0 (boston). Least role: pool-operator.
    "VGPU.create" Create -> Ref<Vgpu> {
        /// `VM ref`
        vm: Ref<Vm>,
        /// `GPU_group ref`
        gpu_group: Ref<GpuGroup>,
        ;
        /// `string`, has a default on the server.
        device: String = "0".into(),
        /// `(string -> string) map`, has a default on the server.
        other_config: BTreeMap<String, String> = Default::default(),
        /// `VGPU_type ref`, has a default on the server. Since XenServer 6.2 vGPU preview
        /// (vgpu-tech-preview).
        r#type: Ref<VgpuType> = Default::default(),
    }
}

/// Names of the fields of `VGPU`, for getters and setters.
pub mod field {
    #[allow(unused_imports, reason = "one list for all classes")]
    use crate::prelude::*;

    field_names! {
        Vgpu;
        ro UUID "uuid" String;
        ro VM "VM" Ref<Vm>;
        ro GPU_GROUP "GPU_group" Ref<GpuGroup>;
        ro DEVICE "device" String;
        ro CURRENTLY_ATTACHED "currently_attached" bool;
        rw OTHER_CONFIG "other_config" BTreeMap<String, String>;
        ro TYPE "type" Ref<VgpuType>;
        ro RESIDENT_ON "resident_on" Ref<Pgpu>;
        ro SCHEDULED_TO_BE_RESIDENT_ON "scheduled_to_be_resident_on" Ref<Pgpu>;
        ro COMPATIBILITY_METADATA "compatibility_metadata" BTreeMap<String, String>;
        rw EXTRA_ARGS "extra_args" String;
        ro PCI "PCI" Ref<Pci>;
    }
}
