// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "PVS_site",
    life: Life { since: "ely", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("PVS_site"),
    set_ty: Ty::Set(&Ty::Ref("PVS_site")),
    records_ty: Ty::Map(&Ty::Ref("PVS_site"), &Ty::Record("PVS_site")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "PVS_uuid", db_name: "PVS_uuid", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "cache_storage", db_name: "cache_storage", ty: Ty::Set(&Ty::Ref("PVS_cache_storage")), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "servers", db_name: "servers", ty: Ty::Set(&Ty::Ref("PVS_server")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "proxies", db_name: "proxies", ty: Ty::Set(&Ty::Ref("PVS_proxy")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "set_PVS_uuid", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("PVS_site"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::String, default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "forget", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("PVS_site"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &["PVS_SITE_CONTAINS_RUNNING_PROXIES", "PVS_SITE_CONTAINS_SERVERS"], hidden: false, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "introduce", params: Some(&[ParamMeta { name: "name_label", ty: Ty::String, default: None, since: None }, ParamMeta { name: "name_description", ty: Ty::String, default: None, since: None }, ParamMeta { name: "PVS_uuid", ty: Ty::String, default: None, since: None }]), result: Ty::Ref("PVS_site"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
];
