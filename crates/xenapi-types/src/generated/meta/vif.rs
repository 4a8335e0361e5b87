// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "VIF",
    life: Life { since: "rio", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: Some(Role::VmAdmin),
    read_role: Role::ReadOnly,
    ty: Ty::Ref("VIF"),
    set_ty: Ty::Set(&Ty::Ref("VIF")),
    records_ty: Ty::Map(&Ty::Ref("VIF"), &Ty::Record("VIF")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "allowed_operations", db_name: "allowed_operations", ty: Ty::Set(&Ty::Enum("vif_operations")), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "current_operations", db_name: "current_operations", ty: Ty::Map(&Ty::String, &Ty::Enum("vif_operations")), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "device", db_name: "device", ty: Ty::String, mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "network", db_name: "network", ty: Ty::Ref("network"), mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VM", db_name: "VM", ty: Ty::Ref("VM"), mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "MAC", db_name: "MAC", ty: Ty::String, mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "MTU", db_name: "MTU", ty: Ty::Int, mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: None, set_role: Some(Role::VmAdmin), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "currently_attached", db_name: "currently_attached", ty: Ty::Bool, mode: Mode::Constructor, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "status_code", db_name: "status_code", ty: Ty::Int, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "status_detail", db_name: "status_detail", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "runtime_properties", db_name: "runtime_properties", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "qos_algorithm_type", db_name: "qos__algorithm_type", ty: Ty::String, mode: Mode::Rw, default: None, set_role: Some(Role::VmAdmin), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "qos_algorithm_params", db_name: "qos__algorithm_params", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: None, set_role: Some(Role::VmAdmin), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "qos_supported_algorithms", db_name: "qos__supported_algorithms", ty: Ty::Set(&Ty::String), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "metrics", db_name: "metrics", ty: Ty::Ref("VIF_metrics"), mode: Mode::Runtime, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: Some("tampa"), removed: Some("tampa") } },
    FieldMeta { name: "MAC_autogenerated", db_name: "MAC_autogenerated", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "george", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "locking_mode", db_name: "locking_mode", ty: Ty::Enum("vif_locking_mode"), mode: Mode::Constructor, default: Some(Default::Text("network_default")), set_role: None, in_record: true, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "ipv4_allowed", db_name: "ipv4_allowed", ty: Ty::Set(&Ty::String), mode: Mode::Constructor, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "ipv6_allowed", db_name: "ipv6_allowed", ty: Ty::Set(&Ty::String), mode: Mode::Constructor, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "ipv4_configuration_mode", db_name: "ipv4_configuration_mode", ty: Ty::Enum("vif_ipv4_configuration_mode"), mode: Mode::Runtime, default: Some(Default::Text("None")), set_role: None, in_record: true, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "ipv4_addresses", db_name: "ipv4_addresses", ty: Ty::Set(&Ty::String), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "ipv4_gateway", db_name: "ipv4_gateway", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "ipv6_configuration_mode", db_name: "ipv6_configuration_mode", ty: Ty::Enum("vif_ipv6_configuration_mode"), mode: Mode::Runtime, default: Some(Default::Text("None")), set_role: None, in_record: true, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "ipv6_addresses", db_name: "ipv6_addresses", ty: Ty::Set(&Ty::String), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "ipv6_gateway", db_name: "ipv6_gateway", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "trunks", db_name: "trunks", ty: Ty::Set(&Ty::Any), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "26.17.0", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "configure_ipv6", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VIF"), default: None }, ParamMeta { name: "mode", ty: Ty::Enum("vif_ipv6_configuration_mode"), default: None }, ParamMeta { name: "address", ty: Ty::String, default: Some(Default::Text("")) }, ParamMeta { name: "gateway", ty: Ty::String, default: Some(Default::Text("")) }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::VmOperator), errors: &[], hidden: false, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "configure_ipv4", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VIF"), default: None }, ParamMeta { name: "mode", ty: Ty::Enum("vif_ipv4_configuration_mode"), default: None }, ParamMeta { name: "address", ty: Ty::String, default: Some(Default::Text("")) }, ParamMeta { name: "gateway", ty: Ty::String, default: Some(Default::Text("")) }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::VmOperator), errors: &[], hidden: false, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "remove_ipv6_allowed", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VIF"), default: None }, ParamMeta { name: "value", ty: Ty::String, default: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "add_ipv6_allowed", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VIF"), default: None }, ParamMeta { name: "value", ty: Ty::String, default: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_ipv6_allowed", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VIF"), default: None }, ParamMeta { name: "value", ty: Ty::Set(&Ty::String), default: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "remove_ipv4_allowed", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VIF"), default: None }, ParamMeta { name: "value", ty: Ty::String, default: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "add_ipv4_allowed", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VIF"), default: None }, ParamMeta { name: "value", ty: Ty::String, default: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_ipv4_allowed", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VIF"), default: None }, ParamMeta { name: "value", ty: Ty::Set(&Ty::String), default: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_locking_mode", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VIF"), default: None }, ParamMeta { name: "value", ty: Ty::Enum("vif_locking_mode"), default: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "move", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VIF"), default: None }, ParamMeta { name: "network", ty: Ty::Ref("network"), default: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::VmAdmin), errors: &[], hidden: false, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "unplug_force", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VIF"), default: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::VmAdmin), errors: &[], hidden: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "unplug", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VIF"), default: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::VmAdmin), errors: &[], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "plug", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VIF"), default: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::VmAdmin), errors: &[], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "add_trunks", params: None, result: Ty::Void, has_async: true, needs_session: true, role: None, errors: &[], hidden: true, life: Life::UNKNOWN },
    ExplicitMeta { name: "remove_trunks", params: None, result: Ty::Void, has_async: true, needs_session: true, role: None, errors: &[], hidden: true, life: Life::UNKNOWN },
    ExplicitMeta { name: "set_trunks", params: None, result: Ty::Void, has_async: true, needs_session: true, role: None, errors: &[], hidden: true, life: Life::UNKNOWN },
];
