// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "Host_driver",
    life: Life { since: "25.2.0", prototyped: true, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("Host_driver"),
    set_ty: Ty::Set(&Ty::Ref("Host_driver")),
    records_ty: Ty::Map(&Ty::Ref("Host_driver"), &Ty::Record("Host_driver")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "host", db_name: "host", ty: Ty::Ref("host"), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name", db_name: "name", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "friendly_name", db_name: "friendly_name", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "variants", db_name: "variants", ty: Ty::Set(&Ty::Ref("Driver_variant")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "active_variant", db_name: "active_variant", ty: Ty::Ref("Driver_variant"), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "selected_variant", db_name: "selected_variant", ty: Ty::Ref("Driver_variant"), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "type", db_name: "type", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "description", db_name: "description", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "info", db_name: "info", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "select", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Host_driver"), default: None, since: None }, ParamMeta { name: "variant", ty: Ty::Ref("Driver_variant"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "deselect", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("Host_driver"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "rescan", params: Some(&[ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "25.2.0", prototyped: false, deprecated: None, removed: None } },
];
