// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "PVS_cache_storage",
    life: Life { since: "ely", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: Some(Role::PoolOperator),
    read_role: Role::ReadOnly,
    ty: Ty::Ref("PVS_cache_storage"),
    set_ty: Ty::Set(&Ty::Ref("PVS_cache_storage")),
    records_ty: Ty::Map(&Ty::Ref("PVS_cache_storage"), &Ty::Record("PVS_cache_storage")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "host", db_name: "host", ty: Ty::Ref("host"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "SR", db_name: "SR", ty: Ty::Ref("SR"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "site", db_name: "site", ty: Ty::Ref("PVS_site"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "size", db_name: "size", ty: Ty::Int, mode: Mode::Constructor, default: Some(Default::Int(21474836480)), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VDI", db_name: "VDI", ty: Ty::Ref("VDI"), mode: Mode::Runtime, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
];
