// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "pool_update",
    life: Life { since: "ely", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("pool_update"),
    set_ty: Ty::Set(&Ty::Ref("pool_update")),
    records_ty: Ty::Map(&Ty::Ref("pool_update"), &Ty::Record("pool_update")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "version", db_name: "version", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "installation_size", db_name: "installation_size", ty: Ty::Int, mode: Mode::Constructor, default: Some(Default::Int(0)), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "key", db_name: "key", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "after_apply_guidance", db_name: "after_apply_guidance", ty: Ty::Set(&Ty::Enum("update_after_apply_guidance")), mode: Mode::Constructor, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "vdi", db_name: "vdi", ty: Ty::Ref("VDI"), mode: Mode::Constructor, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "hosts", db_name: "hosts", ty: Ty::Set(&Ty::Ref("host")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "enforce_homogeneity", db_name: "enforce_homogeneity", ty: Ty::Bool, mode: Mode::Constructor, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("pool_update"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "pool_clean", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("pool_update"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "pool_apply", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("pool_update"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "apply", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("pool_update"), default: None, since: None }, ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "precheck", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("pool_update"), default: None, since: None }, ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }]), result: Ty::Enum("livepatch_status"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "introduce", params: Some(&[ParamMeta { name: "vdi", ty: Ty::Ref("VDI"), default: None, since: None }]), result: Ty::Ref("pool_update"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "attach", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("pool_update"), default: None, since: None }, ParamMeta { name: "use_localhost_proxy", ty: Ty::Bool, default: Some(Default::Bool(false)), since: None }]), result: Ty::String, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "detach", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("pool_update"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "resync_host", params: Some(&[ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
];
