// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "VM_appliance",
    life: Life { since: "boston", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: Some(Role::PoolOperator),
    read_role: Role::ReadOnly,
    ty: Ty::Ref("VM_appliance"),
    set_ty: Ty::Set(&Ty::Ref("VM_appliance")),
    records_ty: Ty::Map(&Ty::Ref("VM_appliance"), &Ty::Record("VM_appliance")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "allowed_operations", db_name: "allowed_operations", ty: Ty::Set(&Ty::Enum("vm_appliance_operation")), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "current_operations", db_name: "current_operations", ty: Ty::Map(&Ty::String, &Ty::Enum("vm_appliance_operation")), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VMs", db_name: "VMs", ty: Ty::Set(&Ty::Ref("VM")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "recover", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VM_appliance"), default: None, since: None }, ParamMeta { name: "session_to", ty: Ty::Ref("session"), default: None, since: None }, ParamMeta { name: "force", ty: Ty::Bool, default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::ReadOnly), errors: &["VM_REQUIRES_SR"], hidden: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_SRs_required_for_recovery", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VM_appliance"), default: None, since: None }, ParamMeta { name: "session_to", ty: Ty::Ref("session"), default: None, since: None }]), result: Ty::Set(&Ty::Ref("SR")), has_async: true, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "creedence", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "assert_can_be_recovered", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VM_appliance"), default: None, since: None }, ParamMeta { name: "session_to", ty: Ty::Ref("session"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::ReadOnly), errors: &["VM_REQUIRES_SR"], hidden: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "shutdown", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VM_appliance"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &["OPERATION_PARTIALLY_FAILED"], hidden: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "hard_shutdown", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VM_appliance"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &["OPERATION_PARTIALLY_FAILED"], hidden: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "clean_shutdown", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VM_appliance"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &["OPERATION_PARTIALLY_FAILED"], hidden: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "start", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VM_appliance"), default: None, since: None }, ParamMeta { name: "paused", ty: Ty::Bool, default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &["OPERATION_PARTIALLY_FAILED"], hidden: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
];
