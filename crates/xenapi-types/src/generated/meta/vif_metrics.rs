// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "VIF_metrics",
    life: Life { since: "rio", prototyped: false, deprecated: Some("tampa"), removed: Some("tampa") },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("VIF_metrics"),
    set_ty: Ty::Set(&Ty::Ref("VIF_metrics")),
    records_ty: Ty::Map(&Ty::Ref("VIF_metrics"), &Ty::Record("VIF_metrics")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "io_read_kbs", db_name: "io__read_kbs", ty: Ty::Float, mode: Mode::Runtime, default: Some(Default::Float(0.0)), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: Some("tampa"), removed: Some("tampa") } },
    FieldMeta { name: "io_write_kbs", db_name: "io__write_kbs", ty: Ty::Float, mode: Mode::Runtime, default: Some(Default::Float(0.0)), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: Some("tampa"), removed: Some("tampa") } },
    FieldMeta { name: "last_updated", db_name: "last_updated", ty: Ty::DateTime, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::VmAdmin), in_record: true, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
];
