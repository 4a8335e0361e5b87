// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "host_cpu",
    life: Life { since: "rio", prototyped: false, deprecated: Some("midnight-ride"), removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("host_cpu"),
    set_ty: Ty::Set(&Ty::Ref("host_cpu")),
    records_ty: Ty::Map(&Ty::Ref("host_cpu"), &Ty::Record("host_cpu")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "host", db_name: "host", ty: Ty::Ref("host"), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "number", db_name: "number", ty: Ty::Int, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "vendor", db_name: "vendor", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "speed", db_name: "speed", ty: Ty::Int, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "modelname", db_name: "modelname", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "family", db_name: "family", ty: Ty::Int, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "model", db_name: "model", ty: Ty::Int, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "stepping", db_name: "stepping", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "flags", db_name: "flags", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "features", db_name: "features", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "utilisation", db_name: "utilisation", ty: Ty::Float, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
];
