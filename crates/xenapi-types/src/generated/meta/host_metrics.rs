// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "host_metrics",
    life: Life { since: "rio", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("host_metrics"),
    set_ty: Ty::Set(&Ty::Ref("host_metrics")),
    records_ty: Ty::Map(&Ty::Ref("host_metrics"), &Ty::Record("host_metrics")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "memory_total", db_name: "memory__total", ty: Ty::Int, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "memory_free", db_name: "memory__free", ty: Ty::Int, mode: Mode::Runtime, default: Some(Default::Int(0)), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: Some("midnight-ride"), removed: Some("tampa") } },
    FieldMeta { name: "live", db_name: "live", ty: Ty::Bool, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "last_updated", db_name: "last_updated", ty: Ty::DateTime, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
];
