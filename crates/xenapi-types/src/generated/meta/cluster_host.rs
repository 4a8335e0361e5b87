// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "Cluster_host",
    life: Life { since: "lima", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("Cluster_host"),
    set_ty: Ty::Set(&Ty::Ref("Cluster_host")),
    records_ty: Ty::Map(&Ty::Ref("Cluster_host"), &Ty::Record("Cluster_host")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "cluster", db_name: "cluster", ty: Ty::Ref("Cluster"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "host", db_name: "host", ty: Ty::Ref("host"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "enabled", db_name: "enabled", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "PIF", db_name: "PIF", ty: Ty::Ref("PIF"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "joined", db_name: "joined", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(true)), set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "live", db_name: "live", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "24.3.0", prototyped: true, deprecated: None, removed: None } },
    FieldMeta { name: "last_update_live", db_name: "last_update_live", ty: Ty::DateTime, mode: Mode::Runtime, default: Some(Default::Text("19700101T00:00:00Z")), set_role: None, in_record: true, life: Life { since: "24.3.0", prototyped: true, deprecated: None, removed: None } },
    FieldMeta { name: "allowed_operations", db_name: "allowed_operations", ty: Ty::Set(&Ty::Enum("cluster_host_operation")), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "current_operations", db_name: "current_operations", ty: Ty::Map(&Ty::String, &Ty::Enum("cluster_host_operation")), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Constructor, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "disable", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Cluster_host"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &["CLUSTER_STACK_IN_USE"], hidden: false, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "force_destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Cluster_host"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &["CLUSTER_STACK_IN_USE"], hidden: false, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "enable", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Cluster_host"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &["PIF_ALLOWS_UNPLUG", "REQUIRED_PIF_IS_UNPLUGGED"], hidden: false, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Cluster_host"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &["CLUSTER_STACK_IN_USE", "CLUSTERING_DISABLED", "CLUSTER_HOST_IS_LAST"], hidden: false, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "create", params: Some(&[ParamMeta { name: "cluster", ty: Ty::Ref("Cluster"), default: None, since: None }, ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }, ParamMeta { name: "pif", ty: Ty::Ref("PIF"), default: None, since: None }]), result: Ty::Ref("Cluster_host"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &["PIF_NOT_ATTACHED_TO_HOST", "NO_CLUSTER_HOSTS_REACHABLE"], hidden: false, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "forget", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Cluster_host"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
];
