// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "VUSB",
    life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("VUSB"),
    set_ty: Ty::Set(&Ty::Ref("VUSB")),
    records_ty: Ty::Map(&Ty::Ref("VUSB"), &Ty::Record("VUSB")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "allowed_operations", db_name: "allowed_operations", ty: Ty::Set(&Ty::Enum("vusb_operations")), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "current_operations", db_name: "current_operations", ty: Ty::Map(&Ty::String, &Ty::Enum("vusb_operations")), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VM", db_name: "VM", ty: Ty::Ref("VM"), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "USB_group", db_name: "USB_group", ty: Ty::Ref("USB_group"), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolAdmin), in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "currently_attached", db_name: "currently_attached", ty: Ty::Bool, mode: Mode::Runtime, default: Some(Default::Bool(false)), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VUSB"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "unplug", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("VUSB"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "create", params: Some(&[ParamMeta { name: "VM", ty: Ty::Ref("VM"), default: None, since: None }, ParamMeta { name: "USB_group", ty: Ty::Ref("USB_group"), default: None, since: None }, ParamMeta { name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), default: Some(Default::Map(&[])), since: None }]), result: Ty::Ref("VUSB"), has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
];
