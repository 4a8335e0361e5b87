// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "Rate_limit",
    life: Life { since: "26.17.0", prototyped: true, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: Some(Role::PoolOperator),
    read_role: Role::ReadOnly,
    ty: Ty::Ref("Rate_limit"),
    set_ty: Ty::Set(&Ty::Ref("Rate_limit")),
    records_ty: Ty::Map(&Ty::Ref("Rate_limit"), &Ty::Record("Rate_limit")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "callers", db_name: "callers", ty: Ty::Set(&Ty::Ref("Caller")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "burst_size", db_name: "burst_size", ty: Ty::Float, mode: Mode::Constructor, default: Some(Default::Float(0.0)), set_role: None, in_record: true, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "fill_rate", db_name: "fill_rate", ty: Ty::Float, mode: Mode::Constructor, default: Some(Default::Float(0.0)), set_role: None, in_record: true, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "add_caller", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Rate_limit"), default: None, since: None }, ParamMeta { name: "caller", ty: Ty::Ref("Caller"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "remove_caller", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Rate_limit"), default: None, since: None }, ParamMeta { name: "caller", ty: Ty::Ref("Caller"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_burst_size", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Rate_limit"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Float, default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_fill_rate", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Rate_limit"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Float, default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
];
