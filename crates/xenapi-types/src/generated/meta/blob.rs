// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "blob",
    life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("blob"),
    set_ty: Ty::Set(&Ty::Ref("blob")),
    records_ty: Ty::Map(&Ty::Ref("blob"), &Ty::Record("blob")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "size", db_name: "size", ty: Ty::Int, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "public", db_name: "public", ty: Ty::Bool, mode: Mode::Rw, default: Some(Default::Bool(false)), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "last_updated", db_name: "last_updated", ty: Ty::DateTime, mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "mime_type", db_name: "mime_type", ty: Ty::String, mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("blob"), default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "create", params: Some(&[ParamMeta { name: "mime_type", ty: Ty::String, default: None, since: None }, ParamMeta { name: "public", ty: Ty::Bool, default: Some(Default::Bool(false)), since: Some("tampa") }]), result: Ty::Ref("blob"), has_async: false, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
];
