// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "VMSS",
    life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: Some(Role::PoolOperator),
    read_role: Role::ReadOnly,
    ty: Ty::Ref("VMSS"),
    set_ty: Ty::Set(&Ty::Ref("VMSS")),
    records_ty: Ty::Map(&Ty::Ref("VMSS"), &Ty::Record("VMSS")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "enabled", db_name: "enabled", ty: Ty::Bool, mode: Mode::Rw, default: Some(Default::Bool(true)), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "type", db_name: "type", ty: Ty::Enum("vmss_type"), mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "retained_snapshots", db_name: "retained_snapshots", ty: Ty::Int, mode: Mode::Constructor, default: Some(Default::Int(7)), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "frequency", db_name: "frequency", ty: Ty::Enum("vmss_frequency"), mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "schedule", db_name: "schedule", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Constructor, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "last_run_time", db_name: "last_run_time", ty: Ty::DateTime, mode: Mode::Runtime, default: Some(Default::Text("19700101T00:00:00Z")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VMs", db_name: "VMs", ty: Ty::Set(&Ty::Ref("VM")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "set_type", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VMSS"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Enum("vmss_type"), default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_last_run_time", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VMSS"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::DateTime, default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: None, errors: &[], hidden: false, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "remove_from_schedule", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VMSS"), default: None, since: None }, ParamMeta { name: "key", ty: Ty::String, default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "add_to_schedule", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VMSS"), default: None, since: None }, ParamMeta { name: "key", ty: Ty::String, default: None, since: None }, ParamMeta { name: "value", ty: Ty::String, default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_schedule", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VMSS"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Map(&Ty::String, &Ty::String), default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_frequency", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VMSS"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Enum("vmss_frequency"), default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_retained_snapshots", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VMSS"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Int, default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "snapshot_now", params: Some(&[ParamMeta { name: "vmss", ty: Ty::Ref("VMSS"), default: None, since: None }]), result: Ty::String, has_async: false, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
];
