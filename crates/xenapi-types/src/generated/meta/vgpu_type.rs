// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "VGPU_type",
    life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("VGPU_type"),
    set_ty: Ty::Set(&Ty::Ref("VGPU_type")),
    records_ty: Ty::Map(&Ty::Ref("VGPU_type"), &Ty::Record("VGPU_type")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "vendor_name", db_name: "vendor_name", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "model_name", db_name: "model_name", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "framebuffer_size", db_name: "framebuffer_size", ty: Ty::Int, mode: Mode::Constructor, default: Some(Default::Int(0)), set_role: None, in_record: true, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "max_heads", db_name: "max_heads", ty: Ty::Int, mode: Mode::Constructor, default: Some(Default::Int(0)), set_role: None, in_record: true, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "max_resolution_x", db_name: "max_resolution_x", ty: Ty::Int, mode: Mode::Constructor, default: Some(Default::Int(0)), set_role: None, in_record: true, life: Life { since: "vgpu-productisation", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "max_resolution_y", db_name: "max_resolution_y", ty: Ty::Int, mode: Mode::Constructor, default: Some(Default::Int(0)), set_role: None, in_record: true, life: Life { since: "vgpu-productisation", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "supported_on_PGPUs", db_name: "supported_on_PGPUs", ty: Ty::Set(&Ty::Ref("PGPU")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "enabled_on_PGPUs", db_name: "enabled_on_PGPUs", ty: Ty::Set(&Ty::Ref("PGPU")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VGPUs", db_name: "VGPUs", ty: Ty::Set(&Ty::Ref("VGPU")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "supported_on_GPU_groups", db_name: "supported_on_GPU_groups", ty: Ty::Set(&Ty::Ref("GPU_group")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "vgpu-productisation", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "enabled_on_GPU_groups", db_name: "enabled_on_GPU_groups", ty: Ty::Set(&Ty::Ref("GPU_group")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "vgpu-productisation", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "implementation", db_name: "implementation", ty: Ty::Enum("vgpu_type_implementation"), mode: Mode::Constructor, default: Some(Default::Text("passthrough")), set_role: None, in_record: true, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "identifier", db_name: "identifier", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "experimental", db_name: "experimental", ty: Ty::Bool, mode: Mode::Constructor, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "compatible_types_in_vm", db_name: "compatible_types_in_vm", ty: Ty::Set(&Ty::Ref("VGPU_type")), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "quebec", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
];
