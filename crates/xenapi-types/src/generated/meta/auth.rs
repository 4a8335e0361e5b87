// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "auth",
    life: Life { since: "george", prototyped: false, deprecated: None, removed: None },
    objects: false,
    get_all: false,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("auth"),
    set_ty: Ty::Set(&Ty::Ref("auth")),
    records_ty: Ty::Map(&Ty::Ref("auth"), &Ty::Record("auth")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "get_group_membership", params: Some(&[ParamMeta { name: "subject_identifier", ty: Ty::String, default: None, since: None }]), result: Ty::Set(&Ty::String), has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "george", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_subject_information_from_identifier", params: Some(&[ParamMeta { name: "subject_identifier", ty: Ty::String, default: None, since: None }]), result: Ty::Map(&Ty::String, &Ty::String), has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "george", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_subject_identifier", params: Some(&[ParamMeta { name: "subject_name", ty: Ty::String, default: None, since: None }]), result: Ty::String, has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "george", prototyped: false, deprecated: None, removed: None } },
];
