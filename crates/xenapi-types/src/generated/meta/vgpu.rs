// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "VGPU",
    life: Life { since: "boston", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("VGPU"),
    set_ty: Ty::Set(&Ty::Ref("VGPU")),
    records_ty: Ty::Map(&Ty::Ref("VGPU"), &Ty::Record("VGPU")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VM", db_name: "VM", ty: Ty::Ref("VM"), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "GPU_group", db_name: "GPU_group", ty: Ty::Ref("GPU_group"), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "device", db_name: "device", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("0")), set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "currently_attached", db_name: "currently_attached", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "type", db_name: "type", ty: Ty::Ref("VGPU_type"), mode: Mode::Runtime, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "resident_on", db_name: "resident_on", ty: Ty::Ref("PGPU"), mode: Mode::Runtime, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "vgpu-tech-preview", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "scheduled_to_be_resident_on", db_name: "scheduled_to_be_resident_on", ty: Ty::Ref("PGPU"), mode: Mode::Runtime, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "compatibility_metadata", db_name: "compatibility_metadata", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "extra_args", db_name: "extra_args", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "quebec", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "PCI", db_name: "PCI", ty: Ty::Ref("PCI"), mode: Mode::Runtime, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "quebec", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VGPU"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "create", params: Some(&[ParamMeta { name: "VM", ty: Ty::Ref("VM"), default: None, since: None }, ParamMeta { name: "GPU_group", ty: Ty::Ref("GPU_group"), default: None, since: None }, ParamMeta { name: "device", ty: Ty::String, default: Some(Default::Text("0")), since: None }, ParamMeta { name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), default: Some(Default::Map(&[])), since: None }, ParamMeta { name: "type", ty: Ty::Ref("VGPU_type"), default: Some(Default::Text("OpaqueRef:NULL")), since: Some("vgpu-tech-preview") }]), result: Ty::Ref("VGPU"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "atomic_set_resident_on", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VGPU"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Ref("PGPU"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: true, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
];
