// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "GPU_group",
    life: Life { since: "boston", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("GPU_group"),
    set_ty: Ty::Set(&Ty::Ref("GPU_group")),
    records_ty: Ty::Map(&Ty::Ref("GPU_group"), &Ty::Record("GPU_group")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "PGPUs", db_name: "PGPUs", ty: Ty::Set(&Ty::Ref("PGPU")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VGPUs", db_name: "VGPUs", ty: Ty::Set(&Ty::Ref("VGPU")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "GPU_types", db_name: "GPU_types", ty: Ty::Set(&Ty::String), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "allocation_algorithm", db_name: "allocation_algorithm", ty: Ty::Enum("allocation_algorithm"), mode: Mode::Rw, default: Some(Default::Text("depth_first")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "supported_VGPU_types", db_name: "supported_VGPU_types", ty: Ty::Set(&Ty::Ref("VGPU_type")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "vgpu-productisation", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "enabled_VGPU_types", db_name: "enabled_VGPU_types", ty: Ty::Set(&Ty::Ref("VGPU_type")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "vgpu-productisation", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "get_remaining_capacity", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("GPU_group"), default: None, since: None }, ParamMeta { name: "vgpu_type", ty: Ty::Ref("VGPU_type"), default: None, since: None }]), result: Ty::Int, has_async: true, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("GPU_group"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "create", params: Some(&[ParamMeta { name: "name_label", ty: Ty::String, default: Some(Default::Text("")), since: None }, ParamMeta { name: "name_description", ty: Ty::String, default: Some(Default::Text("")), since: None }, ParamMeta { name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), default: Some(Default::Map(&[])), since: None }]), result: Ty::Ref("GPU_group"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "update_enabled_VGPU_types", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("GPU_group"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: true, life: Life { since: "vgpu-productisation", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "update_supported_VGPU_types", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("GPU_group"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: true, life: Life { since: "vgpu-productisation", prototyped: false, deprecated: None, removed: None } },
];
