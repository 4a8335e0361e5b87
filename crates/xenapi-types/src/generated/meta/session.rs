// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "session",
    life: Life { since: "rio", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: false,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("session"),
    set_ty: Ty::Set(&Ty::Ref("session")),
    records_ty: Ty::Map(&Ty::Ref("session"), &Ty::Record("session")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "this_host", db_name: "this_host", ty: Ty::Ref("host"), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "this_user", db_name: "this_user", ty: Ty::Ref("user"), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "last_active", db_name: "last_active", ty: Ty::DateTime, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "pool", db_name: "pool", ty: Ty::Bool, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolAdmin), in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "is_local_superuser", db_name: "is_local_superuser", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "george", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "subject", db_name: "subject", ty: Ty::Ref("subject"), mode: Mode::Runtime, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "george", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "validation_time", db_name: "validation_time", ty: Ty::DateTime, mode: Mode::Runtime, default: Some(Default::Text("19700101T00:00:00Z")), set_role: None, in_record: true, life: Life { since: "george", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "auth_user_sid", db_name: "auth_user_sid", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "george", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "auth_user_name", db_name: "auth_user_name", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "rbac_permissions", db_name: "rbac_permissions", ty: Ty::Set(&Ty::String), mode: Mode::Constructor, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "tasks", db_name: "tasks", ty: Ty::Set(&Ty::Ref("task")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "parent", db_name: "parent", ty: Ty::Ref("session"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "originator", db_name: "originator", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "clearwater", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "client_certificate", db_name: "client_certificate", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "21.2.0", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "logout_subject_identifier", params: Some(&[ParamMeta { name: "subject_identifier", ty: Ty::String, default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "george", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_all_subject_identifiers", params: Some(&[]), result: Ty::Set(&Ty::String), has_async: true, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "george", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "local_logout", params: Some(&[]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "create_from_db_file", params: Some(&[ParamMeta { name: "filename", ty: Ty::String, default: None, since: None }]), result: Ty::Ref("session"), has_async: true, needs_session: true, role: None, errors: &[], hidden: false, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "slave_local_login_with_password", params: Some(&[ParamMeta { name: "uname", ty: Ty::String, default: None, since: None }, ParamMeta { name: "pwd", ty: Ty::String, default: None, since: None }]), result: Ty::Ref("session"), has_async: false, needs_session: false, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "change_password", params: Some(&[ParamMeta { name: "old_pwd", ty: Ty::String, default: None, since: None }, ParamMeta { name: "new_pwd", ty: Ty::String, default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: None, errors: &[], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "logout", params: Some(&[]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "login_with_password", params: Some(&[ParamMeta { name: "uname", ty: Ty::String, default: None, since: None }, ParamMeta { name: "pwd", ty: Ty::String, default: None, since: None }, ParamMeta { name: "version", ty: Ty::String, default: Some(Default::Text("1.1")), since: Some("miami") }, ParamMeta { name: "originator", ty: Ty::String, default: Some(Default::Text("")), since: Some("clearwater") }]), result: Ty::Ref("session"), has_async: false, needs_session: false, role: Some(Role::ReadOnly), errors: &["SESSION_AUTHENTICATION_FAILED", "HOST_IS_SLAVE"], hidden: false, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "slave_login", params: Some(&[ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }, ParamMeta { name: "psecret", ty: Ty::String, default: None, since: None }]), result: Ty::Ref("session"), has_async: false, needs_session: false, role: Some(Role::PoolAdmin), errors: &[], hidden: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "slave_local_login", params: Some(&[ParamMeta { name: "psecret", ty: Ty::String, default: None, since: None }]), result: Ty::Ref("session"), has_async: false, needs_session: false, role: Some(Role::PoolAdmin), errors: &[], hidden: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
];
