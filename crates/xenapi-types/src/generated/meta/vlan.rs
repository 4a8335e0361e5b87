// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "VLAN",
    life: Life { since: "miami", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("VLAN"),
    set_ty: Ty::Set(&Ty::Ref("VLAN")),
    records_ty: Ty::Map(&Ty::Ref("VLAN"), &Ty::Record("VLAN")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "tagged_PIF", db_name: "tagged_PIF", ty: Ty::Ref("PIF"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "untagged_PIF", db_name: "untagged_PIF", ty: Ty::Ref("PIF"), mode: Mode::Runtime, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "tag", db_name: "tag", ty: Ty::Int, mode: Mode::Constructor, default: Some(Default::Int(-1)), set_role: None, in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VLAN"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "create", params: Some(&[ParamMeta { name: "tagged_PIF", ty: Ty::Ref("PIF"), default: None, since: None }, ParamMeta { name: "tag", ty: Ty::Int, default: None, since: None }, ParamMeta { name: "network", ty: Ty::Ref("network"), default: None, since: None }]), result: Ty::Ref("VLAN"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "pool_introduce", params: Some(&[ParamMeta { name: "tagged_PIF", ty: Ty::Ref("PIF"), default: None, since: None }, ParamMeta { name: "untagged_PIF", ty: Ty::Ref("PIF"), default: None, since: None }, ParamMeta { name: "tag", ty: Ty::Int, default: None, since: None }, ParamMeta { name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), default: None, since: None }]), result: Ty::Ref("VLAN"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: true, life: Life::UNKNOWN },
];
