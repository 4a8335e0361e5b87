// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "event",
    life: Life { since: "rio", prototyped: false, deprecated: None, removed: None },
    objects: false,
    get_all: false,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("event"),
    set_ty: Ty::Set(&Ty::Ref("event")),
    records_ty: Ty::Map(&Ty::Ref("event"), &Ty::Record("event")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "snapshot", db_name: "snapshot", ty: Ty::Any, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "id", db_name: "id", ty: Ty::Int, mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "timestamp", db_name: "timestamp", ty: Ty::DateTime, mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: Some("boston"), removed: None } },
    FieldMeta { name: "class", db_name: "class", ty: Ty::String, mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "operation", db_name: "operation", ty: Ty::Enum("event_operation"), mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "ref", db_name: "ref", ty: Ty::String, mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "obj_uuid", db_name: "obj_uuid", ty: Ty::String, mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: Some("boston"), removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "inject", params: Some(&[ParamMeta { name: "class", ty: Ty::String, default: None, since: None }, ParamMeta { name: "ref", ty: Ty::String, default: None, since: None }]), result: Ty::String, has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_current_id", params: Some(&[]), result: Ty::Int, has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "from", params: Some(&[ParamMeta { name: "classes", ty: Ty::Set(&Ty::String), default: None, since: None }, ParamMeta { name: "token", ty: Ty::String, default: None, since: None }, ParamMeta { name: "timeout", ty: Ty::Float, default: None, since: None }]), result: Ty::EventBatch, has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &["SESSION_NOT_REGISTERED", "EVENTS_LOST"], hidden: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "next", params: Some(&[]), result: Ty::Set(&Ty::Record("event")), has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &["SESSION_NOT_REGISTERED", "EVENTS_LOST"], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: Some("boston"), removed: None } },
    ExplicitMeta { name: "unregister", params: Some(&[ParamMeta { name: "classes", ty: Ty::Set(&Ty::String), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: Some("boston"), removed: None } },
    ExplicitMeta { name: "register", params: Some(&[ParamMeta { name: "classes", ty: Ty::Set(&Ty::String), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: Some("boston"), removed: None } },
];
