// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "sr_stat",
    life: Life { since: "lima", prototyped: false, deprecated: None, removed: None },
    objects: false,
    get_all: false,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("sr_stat"),
    set_ty: Ty::Set(&Ty::Ref("sr_stat")),
    records_ty: Ty::Map(&Ty::Ref("sr_stat"), &Ty::Record("sr_stat")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::Option(&Ty::String), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name_label", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name_description", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "free_space", db_name: "free_space", ty: Ty::Int, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "total_space", db_name: "total_space", ty: Ty::Int, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "clustered", db_name: "clustered", ty: Ty::Bool, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "health", db_name: "health", ty: Ty::Enum("sr_health"), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
];
