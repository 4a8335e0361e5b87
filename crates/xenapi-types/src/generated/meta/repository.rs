// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "Repository",
    life: Life { since: "1.301.0", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("Repository"),
    set_ty: Ty::Set(&Ty::Ref("Repository")),
    records_ty: Ty::Map(&Ty::Ref("Repository"), &Ty::Record("Repository")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "1.301.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::ClientCert), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::ClientCert), in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "binary_url", db_name: "binary_url", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "1.301.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "source_url", db_name: "source_url", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "1.301.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "update", db_name: "update", ty: Ty::Bool, mode: Mode::Constructor, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "1.301.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "hash", db_name: "hash", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "1.301.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "up_to_date", db_name: "up_to_date", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "1.301.0", prototyped: false, deprecated: Some("23.18.0"), removed: Some("23.18.0") } },
    FieldMeta { name: "gpgkey_path", db_name: "gpgkey_path", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "22.12.0", prototyped: true, deprecated: None, removed: None } },
    FieldMeta { name: "origin", db_name: "origin", ty: Ty::Enum("origin"), mode: Mode::Runtime, default: Some(Default::Text("remote")), set_role: None, in_record: true, life: Life { since: "24.23.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "certificate", db_name: "certificate", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "25.7.0", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "set_gpgkey_path", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Repository"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::String, default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::ClientCert), errors: &[], hidden: false, life: Life { since: "22.12.0", prototyped: true, deprecated: None, removed: None } },
    ExplicitMeta { name: "forget", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Repository"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::ClientCert), errors: &[], hidden: false, life: Life { since: "1.301.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "introduce", params: Some(&[ParamMeta { name: "name_label", ty: Ty::String, default: None, since: None }, ParamMeta { name: "name_description", ty: Ty::String, default: None, since: None }, ParamMeta { name: "binary_url", ty: Ty::String, default: None, since: None }, ParamMeta { name: "source_url", ty: Ty::String, default: None, since: None }, ParamMeta { name: "update", ty: Ty::Bool, default: None, since: None }, ParamMeta { name: "gpgkey_path", ty: Ty::String, default: Some(Default::Text("")), since: None }]), result: Ty::Ref("Repository"), has_async: true, needs_session: true, role: Some(Role::ClientCert), errors: &[], hidden: false, life: Life { since: "1.301.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "introduce_bundle", params: Some(&[ParamMeta { name: "name_label", ty: Ty::String, default: None, since: None }, ParamMeta { name: "name_description", ty: Ty::String, default: None, since: None }]), result: Ty::Ref("Repository"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "24.23.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "introduce_remote_pool", params: Some(&[ParamMeta { name: "name_label", ty: Ty::String, default: None, since: None }, ParamMeta { name: "name_description", ty: Ty::String, default: None, since: None }, ParamMeta { name: "binary_url", ty: Ty::String, default: None, since: None }, ParamMeta { name: "certificate", ty: Ty::String, default: None, since: None }]), result: Ty::Ref("Repository"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "25.7.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "apply", params: Some(&[ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::ClientCert), errors: &[], hidden: true, life: Life { since: "1.301.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "apply_livepatch", params: Some(&[ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }, ParamMeta { name: "component", ty: Ty::String, default: None, since: None }, ParamMeta { name: "base_build_id", ty: Ty::String, default: None, since: None }, ParamMeta { name: "base_version", ty: Ty::String, default: None, since: None }, ParamMeta { name: "base_release", ty: Ty::String, default: None, since: None }, ParamMeta { name: "to_version", ty: Ty::String, default: None, since: None }, ParamMeta { name: "to_release", ty: Ty::String, default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::ClientCert), errors: &[], hidden: true, life: Life { since: "22.20.0", prototyped: false, deprecated: None, removed: None } },
];
