// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "VM_metrics",
    life: Life { since: "rio", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("VM_metrics"),
    set_ty: Ty::Set(&Ty::Ref("VM_metrics")),
    records_ty: Ty::Map(&Ty::Ref("VM_metrics"), &Ty::Record("VM_metrics")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "memory_actual", db_name: "memory__actual", ty: Ty::Int, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VCPUs_number", db_name: "VCPUs__number", ty: Ty::Int, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VCPUs_utilisation", db_name: "VCPUs_utilisation", ty: Ty::Map(&Ty::Int, &Ty::Float), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: Some("tampa"), removed: Some("tampa") } },
    FieldMeta { name: "VCPUs_CPU", db_name: "VCPUs__CPU", ty: Ty::Map(&Ty::Int, &Ty::Int), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VCPUs_params", db_name: "VCPUs__params", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VCPUs_flags", db_name: "VCPUs__flags", ty: Ty::Map(&Ty::Int, &Ty::Set(&Ty::String)), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "state", db_name: "state", ty: Ty::Set(&Ty::String), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "start_time", db_name: "start_time", ty: Ty::DateTime, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "install_time", db_name: "install_time", ty: Ty::DateTime, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "last_updated", db_name: "last_updated", ty: Ty::DateTime, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::VmAdmin), in_record: true, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "hvm", db_name: "hvm", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "nested_virt", db_name: "nested_virt", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "nomigrate", db_name: "nomigrate", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "ely", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "current_domain_type", db_name: "current_domain_type", ty: Ty::Enum("domain_type"), mode: Mode::Runtime, default: Some(Default::Text("unspecified")), set_role: None, in_record: true, life: Life { since: "kolkata", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "numa_optimised", db_name: "numa_optimised", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "26.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "numa_nodes", db_name: "numa_nodes", ty: Ty::Int, mode: Mode::Runtime, default: Some(Default::Int(0)), set_role: None, in_record: true, life: Life { since: "26.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "numa_node_memory", db_name: "numa_node_memory", ty: Ty::Map(&Ty::Int, &Ty::Int), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "26.2.0", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
];
