// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "Diagnostics",
    life: Life { since: "22.5.0", prototyped: false, deprecated: None, removed: None },
    objects: false,
    get_all: false,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("Diagnostics"),
    set_ty: Ty::Set(&Ty::Ref("Diagnostics")),
    records_ty: Ty::Map(&Ty::Ref("Diagnostics"), &Ty::Record("Diagnostics")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "gc_compact", params: Some(&[ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: true, life: Life::UNKNOWN },
    ExplicitMeta { name: "gc_stats", params: Some(&[ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }]), result: Ty::Map(&Ty::String, &Ty::String), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: true, life: Life { since: "stockholm", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "db_stats", params: Some(&[]), result: Ty::Map(&Ty::String, &Ty::String), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: true, life: Life::UNKNOWN },
    ExplicitMeta { name: "network_stats", params: Some(&[ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }, ParamMeta { name: "params", ty: Ty::Map(&Ty::String, &Ty::String), default: None, since: None }]), result: Ty::Set(&Ty::Set(&Ty::String)), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: true, life: Life { since: "stockholm", prototyped: false, deprecated: None, removed: None } },
];
