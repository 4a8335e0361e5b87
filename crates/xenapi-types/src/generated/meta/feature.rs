// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "Feature",
    life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("Feature"),
    set_ty: Ty::Set(&Ty::Ref("Feature")),
    records_ty: Ty::Map(&Ty::Ref("Feature"), &Ty::Record("Feature")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "enabled", db_name: "enabled", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "experimental", db_name: "experimental", ty: Ty::Bool, mode: Mode::Constructor, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "version", db_name: "version", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("1.0")), set_role: None, in_record: true, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "host", db_name: "host", ty: Ty::Ref("host"), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
];
