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
    ExplicitMeta { name: "gc_compact", params: None, result: Ty::Void, has_async: true, needs_session: true, role: None, errors: &[], hidden: true, life: Life::UNKNOWN },
    ExplicitMeta { name: "gc_stats", params: None, result: Ty::Void, has_async: true, needs_session: true, role: None, errors: &[], hidden: true, life: Life::UNKNOWN },
    ExplicitMeta { name: "db_stats", params: None, result: Ty::Void, has_async: true, needs_session: true, role: None, errors: &[], hidden: true, life: Life::UNKNOWN },
    ExplicitMeta { name: "network_stats", params: None, result: Ty::Void, has_async: true, needs_session: true, role: None, errors: &[], hidden: true, life: Life::UNKNOWN },
];
