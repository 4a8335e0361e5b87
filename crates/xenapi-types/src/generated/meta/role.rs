// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "role",
    life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("role"),
    set_ty: Ty::Set(&Ty::Ref("role")),
    records_ty: Ty::Map(&Ty::Ref("role"), &Ty::Record("role")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "subroles", db_name: "subroles", ty: Ty::Set(&Ty::Ref("role")), mode: Mode::Constructor, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "is_internal", db_name: "is_internal", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "22.5.0", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "get_by_permission_name_label", params: Some(&[ParamMeta { name: "label", ty: Ty::String, default: None, since: None }]), result: Ty::Set(&Ty::Ref("role")), has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_by_permission", params: Some(&[ParamMeta { name: "permission", ty: Ty::Ref("role"), default: None, since: None }]), result: Ty::Set(&Ty::Ref("role")), has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_permissions_name_label", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("role"), default: None, since: None }]), result: Ty::Set(&Ty::String), has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_permissions", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("role"), default: None, since: None }]), result: Ty::Set(&Ty::Ref("role")), has_async: false, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "midnight-ride", prototyped: false, deprecated: None, removed: None } },
];
