// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "LVHD",
    life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: false,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("LVHD"),
    set_ty: Ty::Set(&Ty::Ref("LVHD")),
    records_ty: Ty::Map(&Ty::Ref("LVHD"), &Ty::Record("LVHD")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "enable_thin_provisioning", params: Some(&[ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }, ParamMeta { name: "SR", ty: Ty::Ref("SR"), default: None, since: None }, ParamMeta { name: "initial_allocation", ty: Ty::Int, default: None, since: None }, ParamMeta { name: "allocation_quantum", ty: Ty::Int, default: None, since: None }]), result: Ty::String, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
];
