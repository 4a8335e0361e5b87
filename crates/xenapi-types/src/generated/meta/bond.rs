// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "Bond",
    life: Life { since: "miami", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("Bond"),
    set_ty: Ty::Set(&Ty::Ref("Bond")),
    records_ty: Ty::Map(&Ty::Ref("Bond"), &Ty::Record("Bond")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "master", db_name: "master", ty: Ty::Ref("PIF"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "slaves", db_name: "slaves", ty: Ty::Set(&Ty::Ref("PIF")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "primary_slave", db_name: "primary_slave", ty: Ty::Ref("PIF"), mode: Mode::Runtime, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "mode", db_name: "mode", ty: Ty::Enum("bond_mode"), mode: Mode::Runtime, default: Some(Default::Text("balance-slb")), set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "properties", db_name: "properties", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "links_up", db_name: "links_up", ty: Ty::Int, mode: Mode::Runtime, default: Some(Default::Int(0)), set_role: None, in_record: true, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "auto_update_mac", db_name: "auto_update_mac", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(true)), set_role: None, in_record: true, life: Life { since: "quebec", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "set_property", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Bond"), default: None, since: None }, ParamMeta { name: "name", ty: Ty::String, default: None, since: None }, ParamMeta { name: "value", ty: Ty::String, default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_mode", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Bond"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Enum("bond_mode"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Bond"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "create", params: Some(&[ParamMeta { name: "network", ty: Ty::Ref("network"), default: None, since: None }, ParamMeta { name: "members", ty: Ty::Set(&Ty::Ref("PIF")), default: None, since: None }, ParamMeta { name: "MAC", ty: Ty::String, default: None, since: None }, ParamMeta { name: "mode", ty: Ty::Enum("bond_mode"), default: Some(Default::Text("balance-slb")), since: Some("boston") }, ParamMeta { name: "properties", ty: Ty::Map(&Ty::String, &Ty::String), default: Some(Default::Map(&[])), since: Some("tampa") }]), result: Ty::Ref("Bond"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
];
