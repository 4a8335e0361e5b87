// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "VTPM",
    life: Life { since: "22.26.0", prototyped: true, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("VTPM"),
    set_ty: Ty::Set(&Ty::Ref("VTPM")),
    records_ty: Ty::Map(&Ty::Ref("VTPM"), &Ty::Record("VTPM")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "allowed_operations", db_name: "allowed_operations", ty: Ty::Set(&Ty::Enum("vtpm_operations")), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "current_operations", db_name: "current_operations", ty: Ty::Map(&Ty::String, &Ty::Enum("vtpm_operations")), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VM", db_name: "VM", ty: Ty::Ref("VM"), mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "backend", db_name: "backend", ty: Ty::Ref("VM"), mode: Mode::Runtime, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "persistence_backend", db_name: "persistence_backend", ty: Ty::Enum("persistence_backend"), mode: Mode::Runtime, default: Some(Default::Text("xapi")), set_role: None, in_record: true, life: Life { since: "22.26.0", prototyped: true, deprecated: None, removed: None } },
    FieldMeta { name: "is_unique", db_name: "is_unique", ty: Ty::Bool, mode: Mode::Constructor, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "22.26.0", prototyped: true, deprecated: None, removed: None } },
    FieldMeta { name: "is_protected", db_name: "is_protected", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "22.26.0", prototyped: true, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VTPM"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::VmAdmin), errors: &[], hidden: false, life: Life { since: "22.26.0", prototyped: true, deprecated: None, removed: None } },
    ExplicitMeta { name: "create", params: Some(&[ParamMeta { name: "vM", ty: Ty::Ref("VM"), default: None, since: None }, ParamMeta { name: "is_unique", ty: Ty::Bool, default: None, since: None }]), result: Ty::Ref("VTPM"), has_async: true, needs_session: true, role: Some(Role::VmAdmin), errors: &[], hidden: false, life: Life { since: "22.26.0", prototyped: true, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_contents", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VTPM"), default: None, since: None }]), result: Ty::String, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: true, life: Life { since: "22.26.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_contents", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VTPM"), default: None, since: None }, ParamMeta { name: "contents", ty: Ty::String, default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: true, life: Life { since: "22.26.0", prototyped: false, deprecated: None, removed: None } },
];
