// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.

#[allow(unused_imports, reason = "one list for all classes")]
use crate::meta::{ClassMeta, Default, ExplicitMeta, FieldMeta, Life, Mode, ParamMeta, Role, Ty};

pub(super) const CLASS: ClassMeta = ClassMeta {
    name: "Certificate",
    life: Life { since: "stockholm", prototyped: false, deprecated: None, removed: None },
    objects: true,
    get_all: true,
    labelled: false,
    create: None,
    read_role: Role::ReadOnly,
    ty: Ty::Ref("Certificate"),
    set_ty: Ty::Set(&Ty::Ref("Certificate")),
    records_ty: Ty::Map(&Ty::Ref("Certificate"), &Ty::Record("Certificate")),
    fields: FIELDS,
    explicit: EXPLICIT,
};

#[rustfmt::skip]
static FIELDS: &[FieldMeta] = &[
    FieldMeta { name: "uuid", db_name: "uuid", ty: Ty::String, mode: Mode::Runtime, default: None, set_role: None, in_record: true, life: Life { since: "stockholm", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "name", db_name: "name", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "1.294.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "type", db_name: "type", ty: Ty::Enum("certificate_type"), mode: Mode::Runtime, default: Some(Default::Text("host")), set_role: None, in_record: true, life: Life { since: "1.294.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "host", db_name: "host", ty: Ty::Ref("host"), mode: Mode::Constructor, default: Some(Default::Text("OpaqueRef:NULL")), set_role: None, in_record: true, life: Life { since: "stockholm", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "not_before", db_name: "not_before", ty: Ty::DateTime, mode: Mode::Constructor, default: Some(Default::Text("19700101T00:00:00Z")), set_role: None, in_record: true, life: Life { since: "stockholm", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "not_after", db_name: "not_after", ty: Ty::DateTime, mode: Mode::Constructor, default: Some(Default::Text("19700101T00:00:00Z")), set_role: None, in_record: true, life: Life { since: "stockholm", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "fingerprint", db_name: "fingerprint", ty: Ty::String, mode: Mode::Constructor, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "stockholm", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "fingerprint_sha256", db_name: "fingerprint_sha256", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "24.20.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "fingerprint_sha1", db_name: "fingerprint_sha1", ty: Ty::String, mode: Mode::Runtime, default: Some(Default::Text("")), set_role: None, in_record: true, life: Life { since: "24.20.0", prototyped: false, deprecated: None, removed: None } },
    FieldMeta { name: "purpose", db_name: "purpose", ty: Ty::Set(&Ty::Enum("certificate_purpose")), mode: Mode::Constructor, default: Some(Default::Set(&[])), set_role: None, in_record: true, life: Life { since: "26.13.0", prototyped: false, deprecated: None, removed: None } },
];

#[rustfmt::skip]
static EXPLICIT: &[ExplicitMeta] = &[
];
