// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "secret",
    life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: Some(Role::PoolOperator),
    read_role: Role::PoolOperator,
    ty: Ty::Ref("secret"),
    set_ty: Ty::Set(&Ty::Ref("secret")),
    records_ty: Ty::Map(&Ty::Ref("secret"), &Ty::Record("secret")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "value", db_name: "value", ty: Ty::String, mode: Mode::Rw, default: None, set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "introduce", params: Some(&[ParamMeta { name: "uuid", ty: Ty::String, default: None, since: None }, ParamMeta { name: "value", ty: Ty::String, default: None, since: None }, ParamMeta { name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), default: Some(Default::Map(&[])), since: Some("boston") }]), result: Ty::Ref("secret"), has_async: false, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: true, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
];
