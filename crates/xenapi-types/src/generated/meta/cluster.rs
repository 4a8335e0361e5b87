// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "Cluster",
    life: Life { since: "lima", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("Cluster"),
    set_ty: Ty::Set(&Ty::Ref("Cluster")),
    records_ty: Ty::Map(&Ty::Ref("Cluster"), &Ty::Record("Cluster")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "cluster_hosts", db_name: "cluster_hosts", ty: Ty::Set(&Ty::Ref("Cluster_host")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "pending_forget", db_name: "pending_forget", ty: Ty::Set(&Ty::String), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "cluster_token", db_name: "cluster_token", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "cluster_stack", db_name: "cluster_stack", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("corosync")), set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "is_quorate", db_name: "is_quorate", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "24.3.0", prototyped: true, deprecated: None, removed: None } },
    FieldMeta { name: "quorum", db_name: "quorum", ty: Ty::Int, mode: Mode::Runtime, default: Some(Default::Int(0)), set_role: None, in_record: true, life: Life { since: "24.3.0", prototyped: true, deprecated: None, removed: None } },
    FieldMeta { name: "live_hosts", db_name: "live_hosts", ty: Ty::Int, mode: Mode::Runtime, default: Some(Default::Int(0)), set_role: None, in_record: true, life: Life { since: "24.3.0", prototyped: true, deprecated: None, removed: None } },
    FieldMeta { name: "allowed_operations", db_name: "allowed_operations", ty: Ty::Set(&Ty::Enum("cluster_operation")), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "current_operations", db_name: "current_operations", ty: Ty::Map(&Ty::String, &Ty::Enum("cluster_operation")), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "pool_auto_join", db_name: "pool_auto_join", ty: Ty::Bool, mode: Mode::Constructor, default: Some(Default::Bool(true)), set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "token_timeout", db_name: "token_timeout", ty: Ty::Float, mode: Mode::Constructor, default: Some(Default::Float(20.0)), set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "token_timeout_coefficient", db_name: "token_timeout_coefficient", ty: Ty::Float, mode: Mode::Constructor, default: Some(Default::Float(1.0)), set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "cluster_config", db_name: "cluster_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Constructor, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "cluster_stack_version", db_name: "cluster_stack_version", ty: Ty::Int, mode: Mode::Runtime, default: Some(Default::Int(2)), set_role: None, in_record: true, life: Life { since: "24.15.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "expected_hosts", db_name: "expected_hosts", ty: Ty::Int, mode: Mode::Runtime, default: Some(Default::Int(0)), set_role: None, in_record: true, life: Life { since: "25.17.0", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "pool_resync", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Cluster"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "pool_destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Cluster"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &["CLUSTER_STACK_IN_USE", "CLUSTERING_DISABLED", "CLUSTER_HOST_IS_LAST"], hidden: false, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "pool_force_destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Cluster"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &["CLUSTER_FORCE_DESTROY_FAILED"], hidden: false, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "pool_create", params: Some(&[ParamMeta { name: "network", ty: Ty::Ref("network"), default: None, since: None }, ParamMeta { name: "cluster_stack", ty: Ty::String, default: None, since: None }, ParamMeta { name: "token_timeout", ty: Ty::Float, default: None, since: None }, ParamMeta { name: "token_timeout_coefficient", ty: Ty::Float, default: None, since: None }]), result: Ty::Ref("Cluster"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_network", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Cluster"), default: None, since: None }]), result: Ty::Ref("network"), has_async: true, needs_session: true, role: Some(Role::ReadOnly), errors: &[], hidden: false, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Cluster"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &["CLUSTER_DOES_NOT_HAVE_ONE_NODE", "CLUSTER_STACK_IN_USE"], hidden: false, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "create", params: Some(&[ParamMeta { name: "PIF", ty: Ty::Ref("PIF"), default: None, since: None }, ParamMeta { name: "cluster_stack", ty: Ty::String, default: None, since: None }, ParamMeta { name: "pool_auto_join", ty: Ty::Bool, default: None, since: None }, ParamMeta { name: "token_timeout", ty: Ty::Float, default: None, since: None }, ParamMeta { name: "token_timeout_coefficient", ty: Ty::Float, default: None, since: None }]), result: Ty::Ref("Cluster"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &["INVALID_CLUSTER_STACK", "INVALID_VALUE", "PIF_ALLOWS_UNPLUG", "REQUIRED_PIF_IS_UNPLUGGED"], hidden: false, life: Life { since: "lima", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "cstack_sync", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Cluster"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: true, life: Life::UNKNOWN },
];
