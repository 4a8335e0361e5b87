// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "Driver_variant",
    life: Life { since: "25.2.0", prototyped: true, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("Driver_variant"),
    set_ty: Ty::Set(&Ty::Ref("Driver_variant")),
    records_ty: Ty::Map(&Ty::Ref("Driver_variant"), &Ty::Record("Driver_variant")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name", db_name: "name", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "driver", db_name: "driver", ty: Ty::Ref("Host_driver"), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "version", db_name: "version", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "hardware_present", db_name: "hardware_present", ty: Ty::Bool, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "priority", db_name: "priority", ty: Ty::Float, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "status", db_name: "status", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "select", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Driver_variant"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
];
