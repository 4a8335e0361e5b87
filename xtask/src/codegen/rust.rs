//! Types, defaults and documentation as Rust text.

use anyhow::{Result, bail};
use serde_json::Value;

use crate::facts::{Facts, Life};
use crate::names::{camel, variant};
use crate::ty::Ty;

/// The first lines of every generated file.
pub(super) const HEADER: &str =
    "// Made by `cargo xtask codegen` from the facts in xtask/datamodel; do not edit.\n\n";

/// The Rust type of a value.
pub(super) fn ty(ty: &Ty) -> String {
    match ty {
        Ty::String => "String".into(),
        Ty::Int => "i64".into(),
        Ty::Float => "f64".into(),
        Ty::Bool => "bool".into(),
        Ty::DateTime => "DateTime".into(),
        Ty::Void => "()".into(),
        Ty::Any => "Value".into(),
        Ty::EventBatch => "EventBatch".into(),
        Ty::Enum(name) => camel(name),
        Ty::Ref(class) => format!("Ref<{}>", camel(class)),
        Ty::Record(class) => format!("{}Record", camel(class)),
        Ty::Set(inner) => format!("Vec<{}>", self::ty(inner)),
        Ty::Map(key, value) => format!("BTreeMap<{}, {}>", self::ty(key), self::ty(value)),
        Ty::Option(inner) => format!("Option<{}>", self::ty(inner)),
    }
}

/// A default as an expression, or `None` when it is Rust's default of the type.
pub(super) fn default(ty: &Ty, value: &Value) -> Result<Option<String>> {
    let is_zero = match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => match ty {
            Ty::DateTime => s == "19700101T00:00:00Z",
            Ty::Ref(_) => s == "OpaqueRef:NULL",
            _ => s.is_empty(),
        },
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    };
    if is_zero {
        return Ok(None);
    }
    Ok(Some(match (ty, value) {
        (Ty::Bool | Ty::Int, value) => value.to_string(),
        (Ty::Float, value) => format!("{:?}", value.as_f64().unwrap_or_default()),
        (Ty::String, Value::String(s)) => format!("{s:?}.into()"),
        (Ty::Enum(name), Value::String(s)) => format!("{}::{}", camel(name), variant(s)),
        (Ty::Set(inner), Value::Array(list)) => {
            let items: Result<Vec<_>> = list.iter().map(|v| expression(inner, v)).collect();
            format!("vec![{}]", items?.join(", "))
        }
        (Ty::Map(key, inner), Value::Object(map)) => {
            let item = |(k, v): (&String, &Value)| -> Result<String> {
                Ok(format!("({}, {})", expression(key, &Value::String(k.clone()))?, expression(inner, v)?))
            };
            let items: Result<Vec<_>> = map.iter().map(item).collect();
            format!("BTreeMap::from([{}])", items?.join(", "))
        }
        _ => bail!("default {value} does not fit the type {ty:?}"),
    }))
}

/// A default as an expression, always.
pub(super) fn expression(ty: &Ty, value: &Value) -> Result<String> {
    Ok(default(ty, value)?.unwrap_or_else(|| "Default::default()".into()))
}

/// When something came and went, for a person.
pub(super) fn life(facts: &Facts, life: &Life) -> String {
    let mut text = match life.since.as_deref() {
        None | Some("rio") => String::new(),
        Some(release) => format!(" Since {}.", facts.release_text(release)),
    };
    if life.prototyped {
        text += " Prototype: may change.";
    }
    match (&life.deprecated, &life.removed) {
        (_, Some(release)) => text += &format!(" Removed in {}.", facts.release_text(release)),
        (Some(release), None) => text += &format!(" Deprecated since {}.", facts.release_text(release)),
        (None, None) => {}
    }
    text
}

/// Text as a doc comment, folded at the width of a line.
pub(super) fn doc(indent: &str, text: &str) -> String {
    let mut out = String::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && indent.len() + 4 + line.len() + 1 + word.len() > 100 {
            out += &format!("{indent}/// {line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    out += &format!("{indent}/// {line}\n");
    out
}
