// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "tunnel",
    life: Life { since: "cowley", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("tunnel"),
    set_ty: Ty::Set(&Ty::Ref("tunnel")),
    records_ty: Ty::Map(&Ty::Ref("tunnel"), &Ty::Record("tunnel")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "cowley", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "access_PIF", db_name: "access_PIF", ty: Ty::Ref("PIF"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "cowley", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "transport_PIF", db_name: "transport_PIF", ty: Ty::Ref("PIF"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "cowley", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "status", db_name: "status", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[("active", "false")])), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "cowley", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "cowley", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "protocol", db_name: "protocol", ty: Ty::Enum("tunnel_protocol"), mode: Mode::Rw, default: Some(Default::Text("gre")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "1.250.0", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("tunnel"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "cowley", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "create", params: Some(&[ParamMeta { name: "transport_PIF", ty: Ty::Ref("PIF"), default: None, since: None }, ParamMeta { name: "network", ty: Ty::Ref("network"), default: None, since: None }, ParamMeta { name: "protocol", ty: Ty::Enum("tunnel_protocol"), default: Some(Default::Text("gre")), since: Some("1.250.0") }]), result: Ty::Ref("tunnel"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &["OPENVSWITCH_NOT_ACTIVE", "TRANSPORT_PIF_NOT_CONFIGURED", "IS_TUNNEL_ACCESS_PIF"], hidden: false, life: Life { since: "cowley", prototyped: false, deprecated: None, removed: None } },
];
