// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "probe_result",
    life: Life { since: "lima", prototyped: false, deprecated: None, removed: None },
    objects: false,
    get_all: false,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("probe_result"),
    set_ty: Ty::Set(&Ty::Ref("probe_result")),
    records_ty: Ty::Map(&Ty::Ref("probe_result"), &Ty::Record("probe_result")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "configuration", db_name: "configuration", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "complete", db_name: "complete", ty: Ty::Bool, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "sr", db_name: "sr", ty: Ty::Option(&Ty::Record("sr_stat")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "extra_info", db_name: "extra_info", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
];
