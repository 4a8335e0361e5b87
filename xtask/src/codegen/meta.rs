//! The datamodel as static tables.

use anyhow::Result;
use serde_json::Value;

use super::rust::HEADER;
use crate::facts::{Class, Facts, Field, FieldMode, Life, Message};
use crate::ty::Ty;

/// `generated/meta/mod.rs`.
pub(super) fn index(facts: &Facts) -> String {
    let mut out = format!(
        "//! The datamodel as tables.\n{HEADER}use crate::meta::{{ClassMeta, EnumMeta, ReleaseMeta}};\n\n"
    );
    for class in &facts.classes {
        out += &format!("mod {};\n", class.name.to_ascii_lowercase());
    }
    out += "\n/// Every class.\npub static CLASSES: &[ClassMeta] = &[\n";
    for class in &facts.classes {
        out += &format!("    {}::CLASS,\n", class.name.to_ascii_lowercase());
    }
    out += "];\n\n/// Every enum, sorted by name.\npub static ENUMS: &[EnumMeta] = &[\n";
    for (name, e) in &facts.enums {
        let since: Vec<_> = e.since.iter().collect();
        out += &format!("    EnumMeta {{ name: {name:?}, values: &{:?}, since: &{since:?} }},\n", e.values);
    }
    out += "];\n\n/// The releases that have code names, the oldest first.\npub static RELEASES: &[ReleaseMeta] = &[\n";
    for release in &facts.releases {
        let crate::facts::Release { name, product } = release;
        out += &format!("    ReleaseMeta {{ name: {name:?}, product: {product:?} }},\n");
    }
    out + "];\n"
}

/// `generated/meta/<class>.rs`.
pub(super) fn file(class: &Class) -> Result<String> {
    let mut out = HEADER.to_owned();
    out += "#[allow(unused_imports, reason = \"one list for all classes\")]\n";
    out += "use crate::meta::{ClassMeta, FieldMeta, ExplicitMeta, Default, Life, Mode, ParamMeta, Role, Ty};\n\n";
    let name = &class.name;
    out += "pub(super) const CLASS: ClassMeta = ClassMeta {\n";
    out += &format!("    name: {name:?},\n    life: {},\n", life(&class.life));
    out += &format!("    objects: {},\n    get_all: {},\n", class.objects, class.get_all);
    out += &format!("    labelled: {},\n    create: {},\n", class.labelled, role(class.create.as_deref()));
    let read_role = class.read_role.as_deref().unwrap_or("read-only");
    out += &format!("    read_role: Role::{},\n", crate::names::camel(read_role));
    out += &format!(
        "    ty: Ty::Ref({name:?}),\n    set_ty: Ty::Set(&Ty::Ref({name:?})),\n    \
         records_ty: Ty::Map(&Ty::Ref({name:?}), &Ty::Record({name:?})),\n"
    );
    out += "    fields: FIELDS,\n    explicit: EXPLICIT,\n};\n\n";
    out += "#[rustfmt::skip]\nstatic FIELDS: &[FieldMeta] = &[\n";
    for f in &class.fields {
        out += &field(f)?;
    }
    out += "];\n\n#[rustfmt::skip]\nstatic EXPLICIT: &[ExplicitMeta] = &[\n";
    for m in &class.messages {
        out += &message(m)?;
    }
    Ok(out + "];\n")
}

fn field(f: &Field) -> Result<String> {
    let ty = Ty::parse(&f.ty)?;
    let mode = match f.mode {
        FieldMode::Rw => "Rw",
        FieldMode::Constructor => "Constructor",
        FieldMode::Runtime => "Runtime",
    };
    Ok(format!(
        "    FieldMeta {{ name: {:?}, db_name: {:?}, ty: {}, mode: Mode::{mode}, default: {}, set_role: {}, \
         in_record: {}, life: {} }},\n",
        f.name,
        f.db.as_ref().unwrap_or(&f.name),
        self::ty(&ty),
        option(f.default.as_ref().map(|d| default(&ty, d))),
        role(f.set_role.as_deref()),
        f.in_record,
        life(&f.life),
    ))
}

fn message(m: &Message) -> Result<String> {
    let params = match &m.params {
        None => "None".to_owned(),
        Some(list) => {
            let mut params = Vec::new();
            for p in list {
                let ty = Ty::parse(&p.ty)?;
                params.push(format!(
                    "ParamMeta {{ name: {:?}, ty: {}, default: {}, since: {:?} }}",
                    p.name,
                    self::ty(&ty),
                    option(p.default.as_ref().map(|d| default(&ty, d))),
                    p.since,
                ));
            }
            format!("Some(&[{}])", params.join(", "))
        }
    };
    Ok(format!(
        "    ExplicitMeta {{ name: {:?}, params: {params}, result: {}, has_async: {}, needs_session: {}, \
         role: {}, errors: &{:?}, hidden: {}, life: {} }},\n",
        m.name,
        ty(&Ty::parse(m.result.as_deref().unwrap_or("void"))?),
        m.has_async,
        m.session,
        role(m.role.as_deref()),
        m.errors,
        m.hidden,
        life(&m.life),
    ))
}

fn ty(ty: &Ty) -> String {
    let inner = |ty: &Ty| format!("&{}", self::ty(ty));
    match ty {
        Ty::String => "Ty::String".into(),
        Ty::Int => "Ty::Int".into(),
        Ty::Float => "Ty::Float".into(),
        Ty::Bool => "Ty::Bool".into(),
        Ty::DateTime => "Ty::DateTime".into(),
        Ty::Void => "Ty::Void".into(),
        Ty::Any => "Ty::Any".into(),
        Ty::EventBatch => "Ty::EventBatch".into(),
        Ty::Enum(name) => format!("Ty::Enum({name:?})"),
        Ty::Ref(class) => format!("Ty::Ref({class:?})"),
        Ty::Record(class) => format!("Ty::Record({class:?})"),
        Ty::Set(t) => format!("Ty::Set({})", inner(t)),
        Ty::Map(k, v) => format!("Ty::Map({}, {})", inner(k), inner(v)),
        Ty::Option(t) => format!("Ty::Option({})", inner(t)),
    }
}

fn default(ty: &Ty, value: &Value) -> String {
    match (ty, value) {
        (_, Value::Null) => "Default::Void".into(),
        (_, Value::Bool(b)) => format!("Default::Bool({b})"),
        (Ty::Float, Value::Number(n)) => format!("Default::Float({:?})", n.as_f64().unwrap_or_default()),
        (_, Value::Number(n)) => format!("Default::Int({n})"),
        (_, Value::String(s)) => format!("Default::Text({s:?})"),
        (Ty::Set(inner), Value::Array(list)) => {
            let items: Vec<String> = list.iter().map(|v| default(inner, v)).collect();
            format!("Default::Set(&[{}])", items.join(", "))
        }
        (_, Value::Array(_)) => "Default::Set(&[])".into(),
        (_, Value::Object(map)) => {
            let items: Vec<String> = map.iter().map(|(k, v)| format!("({k:?}, {v})")).collect();
            format!("Default::Map(&[{}])", items.join(", "))
        }
    }
}

fn life(l: &Life) -> String {
    if l.since.is_none() && l.deprecated.is_none() && l.removed.is_none() && !l.prototyped {
        return "Life::UNKNOWN".into();
    }
    format!(
        "Life {{ since: {:?}, prototyped: {}, deprecated: {:?}, removed: {:?} }}",
        l.since.as_deref().unwrap_or(""),
        l.prototyped,
        l.deprecated,
        l.removed
    )
}

fn role(role: Option<&str>) -> String {
    option(role.map(|r| format!("Role::{}", crate::names::camel(r))))
}

fn option(text: Option<String>) -> String {
    text.map_or_else(|| "None".to_owned(), |t| format!("Some({t})"))
}
