// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "network_sriov",
    life: Life { since: "kolkata", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("network_sriov"),
    set_ty: Ty::Set(&Ty::Ref("network_sriov")),
    records_ty: Ty::Map(&Ty::Ref("network_sriov"), &Ty::Record("network_sriov")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "physical_PIF", db_name: "physical_PIF", ty: Ty::Ref("PIF"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "kolkata", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "logical_PIF", db_name: "logical_PIF", ty: Ty::Ref("PIF"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "kolkata", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "requires_reboot", db_name: "requires_reboot", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "kolkata", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "configuration_mode", db_name: "configuration_mode", ty: Ty::Enum("sriov_configuration_mode"), mode: Mode::Runtime, default: Some(Default::Text("unknown")), set_role: None, in_record: true, life: Life { since: "kolkata", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "get_remaining_capacity", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("network_sriov"), default: None, since: None }]), result: Ty::Int, has_async: true, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "kolkata", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("network_sriov"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "kolkata", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "create", params: Some(&[ParamMeta { name: "pif", ty: Ty::Ref("PIF"), default: None, since: None }, ParamMeta { name: "network", ty: Ty::Ref("network"), default: None, since: None }]), result: Ty::Ref("network_sriov"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "kolkata", prototyped: false, deprecated: None, removed: None } },
];
