// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "SM",
    life: Life { since: "rio", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("SM"),
    set_ty: Ty::Set(&Ty::Ref("SM")),
    records_ty: Ty::Map(&Ty::Ref("SM"), &Ty::Record("SM")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "type", db_name: "type", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "vendor", db_name: "vendor", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "copyright", db_name: "copyright", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "version", db_name: "version", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "required_api_version", db_name: "required_api_version", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "configuration", db_name: "configuration", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "rio", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "capabilities", db_name: "capabilities", ty: Ty::Set(&Ty::String), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "miami", prototyped: false, deprecated: Some("clearwater"), removed: None } },
    FieldMeta { name: "features", db_name: "features", ty: Ty::Map(&Ty::String, &Ty::Int), mode: Mode::Runtime, default: Some(Default::Map(&[])), set_role: None, in_record: true, life: Life { since: "clearwater", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "other_config", db_name: "other_config", ty: Ty::Map(&Ty::String, &Ty::String), mode: Mode::Rw, default: Some(Default::Map(&[])), set_role: Some(Role::PoolOperator), in_record: true, life: Life { since: "miami", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "driver_filename", db_name: "driver_filename", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "orlando", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "required_cluster_stack", db_name: "required_cluster_stack", ty: Ty::Set(&Ty::String), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "dundee", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "supported_image_formats", db_name: "supported_image_formats", ty: Ty::Set(&Ty::String), mode: Mode::Runtime, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "26.15.0", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
];
