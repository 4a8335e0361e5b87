// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "PVS_server",
    life: Life { since: "ely", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("PVS_server"),
    set_ty: Ty::Set(&Ty::Ref("PVS_server")),
    records_ty: Ty::Map(&Ty::Ref("PVS_server"), &Ty::Record("PVS_server")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "addresses", db_name: "addresses", ty: Ty::Set(&Ty::String), mode: Mode::Constructor, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "first_port", db_name: "first_port", ty: Ty::Int, mode: Mode::Constructor, default: Some(Default::Int(0)), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "last_port", db_name: "last_port", ty: Ty::Int, mode: Mode::Constructor, default: Some(Default::Int(0)), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "site", db_name: "site", ty: Ty::Ref("PVS_site"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "forget", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("PVS_server"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "introduce", params: Some(&[ParamMeta { name: "addresses", ty: Ty::Set(&Ty::String), default: None, since: None }, ParamMeta { name: "first_port", ty: Ty::Int, default: None, since: None }, ParamMeta { name: "last_port", ty: Ty::Int, default: None, since: None }, ParamMeta { name: "site", ty: Ty::Ref("PVS_site"), default: None, since: None }]), result: Ty::Ref("PVS_server"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
];
