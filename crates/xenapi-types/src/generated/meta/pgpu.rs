// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "PGPU",
    life: Life { since: "boston", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("PGPU"),
    set_ty: Ty::Set(&Ty::Ref("PGPU")),
    records_ty: Ty::Map(&Ty::Ref("PGPU"), &Ty::Record("PGPU")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "PCI", db_name: "PCI", ty: Ty::Ref("PCI"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "GPU_group", db_name: "GPU_group", ty: Ty::Ref("GPU_group"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "host", db_name: "host", ty: Ty::Ref("host"), mode: Mode::Runtime, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "supported_VGPU_types", db_name: "supported_VGPU_types", ty: Ty::Set(&Ty::Ref("VGPU_type")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "enabled_VGPU_types", db_name: "enabled_VGPU_types", ty: Ty::Set(&Ty::Ref("VGPU_type")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "resident_VGPUs", db_name: "resident_VGPUs", ty: Ty::Set(&Ty::Ref("VGPU")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "supported_VGPU_max_capacities", db_name: "supported_VGPU_max_capacities", ty: Ty::Map(&Ty::Ref("VGPU_type"), &Ty::Int), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "vgpu-productisation", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "dom0_access", db_name: "dom0_access", ty: Ty::Enum("pgpu_dom0_access"), mode: Mode::Runtime, default: Some(Default::Text("enabled")), set_role: None, in_record: true, life: Life { since: "cream", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "is_system_display_device", db_name: "is_system_display_device", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "cream", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "compatibility_metadata", db_name: "compatibility_metadata", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "disable_dom0_access", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("PGPU"), default: None, since: None }]), result: Ty::Enum("pgpu_dom0_access"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "cream", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "enable_dom0_access", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("PGPU"), default: None, since: None }]), result: Ty::Enum("pgpu_dom0_access"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "cream", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_remaining_capacity", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("PGPU"), default: None, since: None }, ParamMeta { name: "vgpu_type", ty: Ty::Ref("VGPU_type"), default: None, since: None }]), result: Ty::Int, has_async: true, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_GPU_group", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("PGPU"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Ref("GPU_group"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_enabled_VGPU_types", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("PGPU"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Set(&Ty::Ref("VGPU_type")), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "remove_enabled_VGPU_types", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("PGPU"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Ref("VGPU_type"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "add_enabled_VGPU_types", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("PGPU"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Ref("VGPU_type"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
];
