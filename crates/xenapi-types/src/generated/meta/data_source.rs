// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "data_source",
    life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None },
    objects: false,
    get_all: false,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("data_source"),
    set_ty: Ty::Set(&Ty::Ref("data_source")),
    records_ty: Ty::Map(&Ty::Ref("data_source"), &Ty::Record("data_source")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "name_label", db_name: "name_label", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name_description", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "enabled", db_name: "enabled", ty: Ty::Bool, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "standard", db_name: "standard", ty: Ty::Bool, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "units", db_name: "units", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "min", db_name: "min", ty: Ty::Float, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "max", db_name: "max", ty: Ty::Float, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "value", db_name: "value", ty: Ty::Float, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
];
