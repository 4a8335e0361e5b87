// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "vdi_nbd_server_info",
    life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None },
    objects: false,
    get_all: false,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("vdi_nbd_server_info"),
    set_ty: Ty::Set(&Ty::Ref("vdi_nbd_server_info")),
    records_ty: Ty::Map(&Ty::Ref("vdi_nbd_server_info"), &Ty::Record("vdi_nbd_server_info")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "exportname", db_name: "exportname", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "address", db_name: "address", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "port", db_name: "port", ty: Ty::Int, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "cert", db_name: "cert", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "subject", db_name: "subject", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "inverness", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
];
