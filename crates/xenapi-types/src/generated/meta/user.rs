// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "user",
    life: Life { since: "rio", prototyped: false, deprecated: Some("george"), removed: None },
    objects: true,
    get_all: false,
    labelled: false,
    create: Some(Role::PoolAdmin),
    read_role: Role::ReadOnly,
    ty: Ty::Ref("user"),
    set_ty: Ty::Set(&Ty::Ref("user")),
    records_ty: Ty::Map(&Ty::Ref("user"), &Ty::Record("user")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "short_name", db_name: "short_name", ty: Ty::String, mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "fullname", db_name: "fullname", ty: Ty::String, mode: Mode::Rw, default: None, set_role: Some(Role::PoolAdmin), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolAdmin), in_record: true, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
];
