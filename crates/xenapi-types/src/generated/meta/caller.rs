// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "Caller",
    life: Life { since: "26.17.0", prototyped: true, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: Some(Role::PoolOperator),
    read_role: Role::ReadOnly,
    ty: Ty::Ref("Caller"),
    set_ty: Ty::Set(&Ty::Ref("Caller")),
    records_ty: Ty::Map(&Ty::Ref("Caller"), &Ty::Record("Caller")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "user_agent", db_name: "user_agent", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "client_ip", db_name: "client_ip", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "last_access", db_name: "last_access", ty: Ty::DateTime, mode: Mode::Runtime, default: Some(Default::Text("19700101T00:00:00Z")), set_role: None, in_record: true, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "groups", db_name: "groups", ty: Ty::Set(&Ty::String), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "rate_limit", db_name: "rate_limit", ty: Ty::Ref("Rate_limit"), mode: Mode::Runtime, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "auto_registered", db_name: "auto_registered", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "add_group", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Caller"), default: None, since: None }, ParamMeta { name: "group", ty: Ty::String, default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "remove_group", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Caller"), default: None, since: None }, ParamMeta { name: "group", ty: Ty::String, default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "query_token_usage", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Caller"), default: None, since: None }]), result: Ty::Float, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "26.15.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "query_call_count", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Caller"), default: None, since: None }]), result: Ty::Int, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "26.15.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "query_group_token_usage", params: Some(&[ParamMeta { name: "group", ty: Ty::String, default: None, since: None }]), result: Ty::Float, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "26.15.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "query_group_call_count", params: Some(&[ParamMeta { name: "group", ty: Ty::String, default: None, since: None }]), result: Ty::Int, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "26.15.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "query_all_usage", params: Some(&[]), result: Ty::Set(&Ty::Set(&Ty::String)), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
];
