// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "PCI",
    life: Life { since: "boston", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("PCI"),
    set_ty: Ty::Set(&Ty::Ref("PCI")),
    records_ty: Ty::Map(&Ty::Ref("PCI"), &Ty::Record("PCI")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "class_name", db_name: "class_name", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "vendor_name", db_name: "vendor_name", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "device_name", db_name: "device_name", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "host", db_name: "host", ty: Ty::Ref("host"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "pci_id", db_name: "pci_id", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "dependencies", db_name: "dependencies", ty: Ty::Set(&Ty::Ref("PCI")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "subsystem_vendor_name", db_name: "subsystem_vendor_name", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "clearwater-whetstone", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "subsystem_device_name", db_name: "subsystem_device_name", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "clearwater-whetstone", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "driver_name", db_name: "driver_name", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "kolkata", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "class_id", db_name: "class_id", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "vendor_id", db_name: "vendor_id", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "device_id", db_name: "device_id", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "subsystem_vendor_id", db_name: "subsystem_vendor_id", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "subsystem_device_id", db_name: "subsystem_device_id", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: false, life: Life { since: "boston", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "enable_dom0_access", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("PCI"), default: None, since: None }]), result: Ty::Enum("pci_dom0_access"), has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "24.14.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "disable_dom0_access", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("PCI"), default: None, since: None }]), result: Ty::Enum("pci_dom0_access"), has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "24.14.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "get_dom0_access_status", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("PCI"), default: None, since: None }]), result: Ty::Enum("pci_dom0_access"), has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "24.14.0", prototyped: false, deprecated: None, removed: None } },
];
