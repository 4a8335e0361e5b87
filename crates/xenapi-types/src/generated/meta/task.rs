// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "task",
    life: Life { since: "rio", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("task"),
    set_ty: Ty::Set(&Ty::Ref("task")),
    records_ty: Ty::Map(&Ty::Ref("task"), &Ty::Record("task")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "allowed_operations", db_name: "allowed_operations", ty: Ty::Set(&Ty::Enum("task_allowed_operations")), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "current_operations", db_name: "current_operations", ty: Ty::Map(&Ty::String, &Ty::Enum("task_allowed_operations")), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "created", db_name: "created", ty: Ty::DateTime, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "finished", db_name: "finished", ty: Ty::DateTime, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "status", db_name: "status", ty: Ty::Enum("task_status_type"), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "resident_on", db_name: "resident_on", ty: Ty::Ref("host"), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "progress", db_name: "progress", ty: Ty::Float, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "type", db_name: "type", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "result", db_name: "result", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "error_info", db_name: "error_info", ty: Ty::Set(&Ty::String), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "subtask_of", db_name: "subtask_of", ty: Ty::Ref("task"), mode: Mode::Runtime, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "subtasks", db_name: "subtasks", ty: Ty::Set(&Ty::Ref("task")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "backtrace", db_name: "backtrace", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("()")), set_role: None, in_record: true, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "set_error_info", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("task"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Set(&Ty::String), default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "21.3.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_result", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("task"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::String, default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "21.3.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_progress", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("task"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Float, default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "stockholm", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_status", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("task"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Enum("task_status_type"), default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "cancel", params: Some(&[ParamMeta { name: "task", ty: Ty::Ref("task"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::ReadOnly), errors: &["OPERATION_NOT_ALLOWED"], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("task"), default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "create", params: Some(&[ParamMeta { name: "label", ty: Ty::String, default: None, since: None }, ParamMeta { name: "description", ty: Ty::String, default: None, since: None }]), result: Ty::Ref("task"), has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
];
