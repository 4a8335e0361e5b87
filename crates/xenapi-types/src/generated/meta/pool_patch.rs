// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "pool_patch",
    life: Life { since: "miami", prototyped: false, deprecated: Some("ely"), removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("pool_patch"),
    set_ty: Ty::Set(&Ty::Ref("pool_patch")),
    records_ty: Ty::Map(&Ty::Ref("pool_patch"), &Ty::Record("pool_patch")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "version", db_name: "version", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "size", db_name: "size", ty: Ty::Int, mode: Mode::Runtime, default: Some(Default::Int(0)), set_role: None, in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "pool_applied", db_name: "pool_applied", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "host_patches", db_name: "host_patches", ty: Ty::Set(&Ty::Ref("host_patch")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "after_apply_guidance", db_name: "after_apply_guidance", ty: Ty::Set(&Ty::Enum("after_apply_guidance")), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "pool_update", db_name: "pool_update", ty: Ty::Ref("pool_update"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "clean_on_host", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("pool_patch"), default: None, since: None }, ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "tampa", prototyped: false, deprecated: Some("ely"), removed: None } },
    ExplicitMeta { name: "destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("pool_patch"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "miami", prototyped: false, deprecated: Some("ely"), removed: None } },
    ExplicitMeta { name: "pool_clean", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("pool_patch"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "tampa", prototyped: false, deprecated: Some("ely"), removed: None } },
    ExplicitMeta { name: "clean", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("pool_patch"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "miami", prototyped: false, deprecated: Some("ely"), removed: None } },
    ExplicitMeta { name: "precheck", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("pool_patch"), default: None, since: None }, ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }]), result: Ty::String, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "miami", prototyped: false, deprecated: Some("ely"), removed: None } },
    ExplicitMeta { name: "pool_apply", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("pool_patch"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "miami", prototyped: false, deprecated: Some("ely"), removed: None } },
    ExplicitMeta { name: "apply", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("pool_patch"), default: None, since: None }, ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }]), result: Ty::String, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "miami", prototyped: false, deprecated: Some("ely"), removed: None } },
];
