// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "PUSB",
    life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("PUSB"),
    set_ty: Ty::Set(&Ty::Ref("PUSB")),
    records_ty: Ty::Map(&Ty::Ref("PUSB"), &Ty::Record("PUSB")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "USB_group", db_name: "USB_group", ty: Ty::Ref("USB_group"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "host", db_name: "host", ty: Ty::Ref("host"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "path", db_name: "path", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "vendor_id", db_name: "vendor_id", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "vendor_desc", db_name: "vendor_desc", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "product_id", db_name: "product_id", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "product_desc", db_name: "product_desc", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "serial", db_name: "serial", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "version", db_name: "version", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "description", db_name: "description", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "passthrough_enabled", db_name: "passthrough_enabled", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolAdmin), in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "speed", db_name: "speed", ty: Ty::Float, mode: Mode::Constructor, default: Some(Default::Float(-1.0)), set_role: None, in_record: true, life: Life { since: "stockholm", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "set_passthrough_enabled", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("PUSB"), default: None, since: None }, ParamMeta { name: "value", ty: Ty::Bool, default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "scan", params: Some(&[ParamMeta { name: "host", ty: Ty::Ref("host"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
];
