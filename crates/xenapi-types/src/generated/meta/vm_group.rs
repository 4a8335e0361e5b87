// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "VM_group",
    life: Life { since: "24.19.1", prototyped: true, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: true,
    create: Some(Role::VmAdmin),
    read_role: Role::ReadOnly,
    ty: Ty::Ref("VM_group"),
    set_ty: Ty::Set(&Ty::Ref("VM_group")),
    records_ty: Ty::Map(&Ty::Ref("VM_group"), &Ty::Record("VM_group")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "24.19.1", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_label", db_name: "name__label", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::VmAdmin), in_record: true, life: Life { since: "24.19.1", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name_description", db_name: "name__description", ty: Ty::String, mode: Mode::Rw, default: Some(Default::Text("")), set_role: Some(Role::VmAdmin), in_record: true, life: Life { since: "24.19.1", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "placement", db_name: "placement", ty: Ty::Enum("placement_policy"), mode: Mode::Constructor, default: Some(Default::Text("normal")), set_role: None, in_record: true, life: Life { since: "24.19.1", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "VMs", db_name: "VMs", ty: Ty::Set(&Ty::Ref("VM")), mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "24.19.1", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
];
