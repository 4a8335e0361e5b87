// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "SDN_controller",
    life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("SDN_controller"),
    set_ty: Ty::Set(&Ty::Ref("SDN_controller")),
    records_ty: Ty::Map(&Ty::Ref("SDN_controller"), &Ty::Record("SDN_controller")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "protocol", db_name: "protocol", ty: Ty::Enum("sdn_controller_protocol"), mode: Mode::Constructor, default: Some(Default::Text("ssl")), set_role: None, in_record: true, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "address", db_name: "address", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "port", db_name: "port", ty: Ty::Int, mode: Mode::Constructor, default: Some(Default::Int(0)), set_role: None, in_record: true, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
    ExplicitMeta { name: "forget", params: Some(&[ParamMeta { name: "self", ty: Ty::Ref("SDN_controller"), default: None, since: None }]), result: Ty::Void, has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
    ExplicitMeta { name: "introduce", params: Some(&[ParamMeta { name: "protocol", ty: Ty::Enum("sdn_controller_protocol"), default: Some(Default::Text("ssl")), since: None }, ParamMeta { name: "address", ty: Ty::String, default: Some(Default::Text("")), since: None }, ParamMeta { name: "port", ty: Ty::Int, default: Some(Default::Int(0)), since: None }]), result: Ty::Ref("SDN_controller"), has_async: true, needs_session: true, role: Some(Role::PoolOperator), errors: &[], hidden: false, life: Life { since: "falcon", prototyped: false, deprecated: None, removed: None } },
];
