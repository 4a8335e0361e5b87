// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "subject",
    life: Life { since: "george", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: Some(Role::PoolAdmin),
    read_role: Role::ReadOnly,
    ty: Ty::Ref("subject"),
    set_ty: Ty::Set(&Ty::Ref("subject")),
    records_ty: Ty::Map(&Ty::Ref("subject"), &Ty::Record("subject")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "subject_identifier", db_name: "subject_identifier", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "george", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Constructor, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "george", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "roles", db_name: "roles", ty: Ty::Set(&Ty::Ref("role")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "get_permissions_name_label", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("subject"), default: None, since: None }]), result: Ty::Set(&Ty::String), has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "remove_from_roles", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("subject"), default: None, since: None }, ParamMeta { name: "role", ty: Ty::Ref("role"), default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "add_to_roles", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("subject"), default: None, since: None }, ParamMeta { name: "role", ty: Ty::Ref("role"), default: None, since: None }]), result: Ty::Void, has_async: false, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
];
