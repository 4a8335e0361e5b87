// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "message",
    life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None },
    objects: false,
    get_all: false,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("message"),
    set_ty: Ty::Set(&Ty::Ref("message")),
    records_ty: Ty::Map(&Ty::Ref("message"), &Ty::Record("message")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name", db_name: "name", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "priority", db_name: "priority", ty: Ty::Int, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "cls", db_name: "cls", ty: Ty::Enum("cls"), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "obj_uuid", db_name: "obj_uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "timestamp", db_name: "timestamp", ty: Ty::DateTime, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "body", db_name: "body", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "get_all_records_where", params: Some(&[ParamMeta { name: "expr", ty: Ty::String, default: None, since: None }]), result: Ty::Map(&Ty::Ref("message"), &Ty::Record("message")), has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_all_records", params: Some(&[]), result: Ty::Map(&Ty::Ref("message"), &Ty::Record("message")), has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_by_uuid", params: Some(&[ParamMeta { name: "uuid", ty: Ty::String, default: None, since: None }]), result: Ty::Ref("message"), has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_record", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("message"), default: None, since: None }]), result: Ty::Record("message"), has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_since", params: Some(&[ParamMeta { name: "since", ty: Ty::DateTime, default: None, since: None }]), result: Ty::Map(&Ty::Ref("message"), &Ty::Record("message")), has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_all", params: Some(&[]), result: Ty::Set(&Ty::Ref("message")), has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get", params: Some(&[ParamMeta { name: "cls", ty: Ty::Enum("cls"), default: None, since: None }, ParamMeta { name: "obj_uuid", ty: Ty::String, default: None, since: None }, ParamMeta { name: "since", ty: Ty::DateTime, default: None, since: None }]), result: Ty::Map(&Ty::Ref("message"), &Ty::Record("message")), has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "destroy_many", params: Some(&[ParamMeta { name: "messages", ty: Ty::Set(&Ty::Ref("message")), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "22.19.0", prototyped: true, deprecated: None, removed: None } },
    ExplicitMeta { name: "destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("message"), default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "create", params: Some(&[ParamMeta { name: "name", ty: Ty::String, default: None, since: None }, ParamMeta { name: "priority", ty: Ty::Int, default: None, since: None }, ParamMeta { name: "cls", ty: Ty::Enum("cls"), default: None, since: None }, ParamMeta { name: "obj_uuid", ty: Ty::String, default: None, since: None }, ParamMeta { name: "body", ty: Ty::String, default: None, since: None }]), result: Ty::Ref("message"), has_async: false, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "destroy_all", params: Some(&[ParamMeta { name: "filters", ty: Ty::Map(&Ty::String, &Ty::String), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "26.6.0", prototyped: false, deprecated: None, removed: None } },
];
