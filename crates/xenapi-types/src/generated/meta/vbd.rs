// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "VBD",
    life: Life { since: "rio", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: Some(Role::VmAdmin),
    read_role: Role::ReadOnly,
    ty: Ty::Ref("VBD"),
    set_ty: Ty::Set(&Ty::Ref("VBD")),
    records_ty: Ty::Map(&Ty::Ref("VBD"), &Ty::Record("VBD")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "allowed_operations", db_name: "allowed_operations", ty: Ty::Set(&Ty::Enum("vbd_operations")), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "current_operations", db_name: "current_operations", ty: Ty::Map(&Ty::String, &Ty::Enum("vbd_operations")), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VM", db_name: "VM", ty: Ty::Ref("VM"), mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VDI", db_name: "VDI", ty: Ty::Ref("VDI"), mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "device", db_name: "device", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "userdevice", db_name: "userdevice", ty: Ty::String, mode: Mode::Rw, default: None, set_role: Some(Role::VmAdmin), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "bootable", db_name: "bootable", ty: Ty::Bool, mode: Mode::Rw, default: None, set_role: Some(Role::VmAdmin), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "mode", db_name: "mode", ty: Ty::Enum("vbd_mode"), mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "type", db_name: "type", ty: Ty::Enum("vbd_type"), mode: Mode::Rw, default: None, set_role: Some(Role::VmAdmin), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "unpluggable", db_name: "unpluggable", ty: Ty::Bool, mode: Mode::Rw, default: Some(Default::Bool(true)), set_role: Some(Role::VmAdmin), in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "storage_lock", db_name: "storage_lock", ty: Ty::Bool, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "empty", db_name: "empty", ty: Ty::Bool, mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: None, set_role: Some(Role::VmAdmin), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "currently_attached", db_name: "currently_attached", ty: Ty::Bool, mode: Mode::Constructor, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "status_code", db_name: "status_code", ty: Ty::Int, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "status_detail", db_name: "status_detail", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "runtime_properties", db_name: "runtime_properties", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "qos_algorithm_type", db_name: "qos__algorithm_type", ty: Ty::String, mode: Mode::Rw, default: None, set_role: Some(Role::VmAdmin), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "qos_algorithm_params", db_name: "qos__algorithm_params", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: None, set_role: Some(Role::VmAdmin), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "qos_supported_algorithms", db_name: "qos__supported_algorithms", ty: Ty::Set(&Ty::String), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "metrics", db_name: "metrics", ty: Ty::Ref("VBD_metrics"), mode: Mode::Runtime, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: Some("tampa"), removed: Some("tampa") } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "set_mode", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VBD"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Enum("vbd_mode"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::VmAdmin), errors: &[], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "assert_attachable", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VBD"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::VmAdmin), errors: &[], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "unplug_force", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VBD"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::VmAdmin), errors: &[], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "unplug", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VBD"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::VmAdmin), errors: &["DEVICE_DETACH_REJECTED", "DEVICE_ALREADY_DETACHED"], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "plug", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VBD"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::VmAdmin), errors: &[], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "insert", params: Some(&[ParamMeta { name: "vbd", ty: Ty::Ref("VBD"), default: None, since: None }, ParamMeta { name: "vdi", ty: Ty::Ref("VDI"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::VmOperator), errors: &["VBD_NOT_REMOVABLE_MEDIA", "VBD_NOT_EMPTY"], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "eject", params: Some(&[ParamMeta { name: "vbd", ty: Ty::Ref("VBD"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::VmOperator), errors: &["VBD_NOT_REMOVABLE_MEDIA", "VBD_IS_EMPTY"], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "pause", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VBD"), default: None, since: None }]), result: Ty::String, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "unpause", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VBD"), default: None, since: None }, ParamMeta { name: "token", ty: Ty::String, default: Some(Default::Text("")), since: Some("orlando") }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "unplug_force_no_safety_check", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VBD"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
];
