// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "Observer",
    life: Life { since: "23.14.0", prototyped: true, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: Some(Role::PoolAdmin),
    read_role: Role::ReadOnly,
    ty: Ty::Ref("Observer"),
    set_ty: Ty::Set(&Ty::Ref("Observer")),
    records_ty: Ty::Map(&Ty::Ref("Observer"), &Ty::Record("Observer")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "23.14.0", prototyped: true, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolAdmin), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolAdmin), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "hosts", db_name: "hosts", ty: Ty::Set(&Ty::Ref("host")), mode: Mode::Constructor, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "23.14.0", prototyped: true, deprecated: None, removed: None } },
    FieldMeta { name: "attributes", db_name: "attributes", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Constructor, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "23.14.0", prototyped: true, deprecated: None, removed: None } },
    FieldMeta { name: "endpoints", db_name: "endpoints", ty: Ty::Set(&Ty::String), mode: Mode::Constructor, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "23.14.0", prototyped: true, deprecated: None, removed: None } },
    FieldMeta { name: "components", db_name: "components", ty: Ty::Set(&Ty::String), mode: Mode::Constructor, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "23.14.0", prototyped: true, deprecated: None, removed: None } },
    FieldMeta { name: "enabled", db_name: "enabled", ty: Ty::Bool, mode: Mode::Constructor, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "23.14.0", prototyped: true, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "set_components", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Observer"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Set(&Ty::String), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "23.14.0", prototyped: true, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_endpoints", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Observer"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Set(&Ty::String), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "23.14.0", prototyped: true, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_attributes", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Observer"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Map(&Ty::String, &Ty::String), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "23.14.0", prototyped: true, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_enabled", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Observer"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Bool, default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "23.14.0", prototyped: true, deprecated: None, removed: None } },
    ExplicitMeta { name: "set_hosts", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Observer"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Set(&Ty::Ref("host")), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "23.14.0", prototyped: true, deprecated: None, removed: None } },
    ExplicitMeta { name: "register", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Observer"), default: None, since: None }, ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: true, life: Life { since: "23.14.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "unregister", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Observer"), default: None, since: None }, ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: true, life: Life { since: "23.14.0", prototyped: false, deprecated: None, removed: None } },
];
