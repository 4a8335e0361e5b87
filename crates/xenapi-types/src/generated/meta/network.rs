// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "network",
    life: Life { since: "rio", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: Some(Role::VmAdmin),
    read_role: Role::ReadOnly,
    ty: Ty::Ref("network"),
    set_ty: Ty::Set(&Ty::Ref("network")),
    records_ty: Ty::Map(&Ty::Ref("network"), &Ty::Record("network")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "allowed_operations", db_name: "allowed_operations", ty: Ty::Set(&Ty::Enum("network_operations")), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "current_operations", db_name: "current_operations", ty: Ty::Map(&Ty::String, &Ty::Enum("network_operations")), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VIFs", db_name: "VIFs", ty: Ty::Set(&Ty::Ref("VIF")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "PIFs", db_name: "PIFs", ty: Ty::Set(&Ty::Ref("PIF")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "MTU", db_name: "MTU", ty: Ty::Int, mode: Mode::Rw, default: Some(Default::Int(1500)), set_role: Some(Role::VmAdmin), in_record: true, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: None, set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "bridge", db_name: "bridge", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "managed", db_name: "managed", ty: Ty::Bool, mode: Mode::Constructor, default: Some(Default::Bool(true)), set_role: None, in_record: true, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "blobs", db_name: "blobs", ty: Ty::Map(&Ty::String, &Ty::Ref("blob")), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "tags", db_name: "tags", ty: Ty::Set(&Ty::String), mode: Mode::Rw, default: Some(Default::Set(&[])), set_role: Some(Role::VmOperator), in_record: true, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "default_locking_mode", db_name: "default_locking_mode", ty: Ty::Enum("network_default_locking_mode"), mode: Mode::Runtime, default: Some(Default::Text("unlocked")), set_role: None, in_record: true, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "assigned_ips", db_name: "assigned_ips", ty: Ty::Map(&Ty::Ref("VIF"), &Ty::String), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "creedence", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "purpose", db_name: "purpose", ty: Ty::Set(&Ty::Enum("network_purpose")), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "remove_purpose", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("network"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Enum("network_purpose"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "add_purpose", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("network"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Enum("network_purpose"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &["NETWORK_INCOMPATIBLE_PURPOSES"], hidden: false, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_default_locking_mode", params: Some(&[ParamMeta { name: "network", ty: Ty::Ref("network"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Enum("network_default_locking_mode"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "create_new_blob", params: Some(&[ParamMeta { name: "network", ty: Ty::Ref("network"), default: None, since: None }, ParamMeta { name: "name", ty: Ty::String, default: None, since: None }, ParamMeta { name: "mime_type", ty: Ty::String, default: None, since: None }, ParamMeta { name: "public", ty: Ty::Bool, default: Some(Default::Bool(false)), since: Some("tampa") }]), result: Ty::Ref("blob"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "attach", params: Some(&[ParamMeta { name: "network", ty: Ty::Ref("network"), default: None, since: None }, ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "attach_for_vm", params: Some(&[ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }, ParamMeta { name: "vm", ty: Ty::Ref("VM"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: true, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "detach_for_vm", params: Some(&[ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }, ParamMeta { name: "vm", ty: Ty::Ref("VM"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: true, life: Life { since: "tampa", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "pool_introduce", params: Some(&[ParamMeta { name: "name_label", ty: Ty::String, default: None, since: None }, ParamMeta { name: "name_description", ty: Ty::String, default: None, since: None }, ParamMeta { name: "MTU", ty: Ty::Int, default: None, since: None }, ParamMeta { name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), default: None, since: None }, ParamMeta { name: "bridge", ty: Ty::String, default: None, since: None }, ParamMeta { name: "managed", ty: Ty::Bool, default: None, since: None }, ParamMeta { name: "purpose", ty: Ty::Set(&Ty::Enum("network_purpose")), default: None, since: None }]), result: Ty::Ref("network"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: true, life: Life::UNKNOWN },
];
