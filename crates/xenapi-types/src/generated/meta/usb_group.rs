// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "USB_group",
    life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("USB_group"),
    set_ty: Ty::Set(&Ty::Ref("USB_group")),
    records_ty: Ty::Map(&Ty::Ref("USB_group"), &Ty::Record("USB_group")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolAdmin), in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::PoolAdmin), in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "PUSBs", db_name: "PUSBs", ty: Ty::Set(&Ty::Ref("PUSB")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VUSBs", db_name: "VUSBs", ty: Ty::Set(&Ty::Ref("VUSB")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolAdmin), in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "destroy", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("USB_group"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "create", params: Some(&[ParamMeta { name: "name_label", ty: Ty::String, default: Some(Default::Text("")), since: None }, ParamMeta { name: "name_description", ty: Ty::String, default: Some(Default::Text("")), since: None }, ParamMeta { name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), default: Some(Default::Map(&[])), since: None }]), result: Ty::Ref("USB_group"), has_async: true, needs_session: true, role: Some(Role::PoolAdmin), errors: &[], hidden: false, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
];
