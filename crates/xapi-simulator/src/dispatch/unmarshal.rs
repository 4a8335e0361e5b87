//! Untyped arguments to typed ones, with the failures of XAPI's generated code.

use std::collections::BTreeMap;

use xenapi_types::meta::Ty;
use xenapi_wire::{DateTime, Failure, Value};

use crate::schema::{self, Schema};

/// The failure of everything unforeseen.
pub(crate) fn internal_error(text: &str) -> Failure {
    Failure::new("INTERNAL_ERROR", [text])
}

fn failure(text: &str) -> Failure {
    internal_error(&format!("Failure({text:?})"))
}

/// Gives a value its declared type.
pub(crate) fn unmarshal(schema: &Schema, value: Value, ty: &Ty) -> Result<Value, Failure> {
    let expected =
        |what: &str, value: &Value| Err(failure(&format!("Expected {what}, got '{}'", show(value))));
    match (ty, value) {
        (Ty::String | Ty::Ref(_), Value::String(text)) => Ok(Value::String(text)),
        (Ty::String | Ty::Ref(_), other) => expected("string", &other),
        (Ty::Enum(name), Value::String(text)) => match enum_value(schema, name, &text) {
            Some(value) => Ok(Value::from(value)),
            None => Err(failure("Unknown tag/contents")),
        },
        (Ty::Enum(_), _) => Err(failure("Unknown tag/contents")),
        (Ty::Int, Value::Int(n)) => Ok(Value::Int(n)),
        (Ty::Int, Value::String(text)) => {
            parse_int(&text).map(Value::Int).ok_or_else(|| failure("Int64.of_string"))
        }
        (Ty::Int, other) => expected("int64", &other),
        (Ty::Float, Value::Double(x)) => Ok(Value::Double(x)),
        (Ty::Float, Value::Int(n)) => Ok(Value::Double(n as f64)),
        (Ty::Float, Value::String(text)) => {
            parse_float(&text).map(Value::Double).ok_or_else(|| failure("float_of_string"))
        }
        (Ty::Float, other) => expected("float", &other),
        (Ty::Bool, Value::Bool(b)) => Ok(Value::Bool(b)),
        (Ty::Bool, other) => expected("bool", &other),
        (Ty::DateTime, Value::DateTime(date)) => parse_date(date.as_str()),
        (Ty::DateTime, Value::String(text)) => parse_date(&text),
        (Ty::DateTime, other) => expected("DateTime", &other),
        (Ty::Set(inner), Value::Array(items)) => items
            .into_iter()
            .map(|item| unmarshal(schema, item, inner))
            .collect::<Result<_, _>>()
            .map(Value::Array),
        (Ty::Set(_), other) => Err(failure(&format!("Expecting Rpc.Enum, but found '{}'", show(&other)))),
        (Ty::Map(keys, inner), Value::Struct(map)) => map
            .into_iter()
            .map(|(key, value)| Ok((unmarshal_key(schema, key, keys)?, unmarshal(schema, value, inner)?)))
            .collect::<Result<_, _>>()
            .map(Value::Struct),
        (Ty::Map(..), other) => Err(failure(&format!("Expecting Rpc.Dict, but found '{}'", show(&other)))),
        (Ty::Record(class), Value::Struct(map)) => record(schema, class, map).map(Value::Struct),
        (Ty::Record(_), other) => Err(failure(&format!("Expecting Rpc.Dict, but found '{}'", show(&other)))),
        (Ty::Option(_), Value::Nil) => Ok(Value::Nil),
        (Ty::Option(inner), value) => unmarshal(schema, value, inner),
        (Ty::Void | Ty::EventBatch | Ty::Any, value) => Ok(value),
    }
}

/// The key of a map, which is text whatever its type: of the typed ones, only enums are looked at.
fn unmarshal_key(schema: &Schema, key: String, ty: &Ty) -> Result<String, Failure> {
    let Ty::Enum(name) = ty else { return Ok(key) };
    enum_value(schema, name, &key).map(str::to_owned).ok_or_else(|| failure("Unknown tag/contents"))
}

/// The API's spelling of an enum's value given in any case.
fn enum_value(schema: &Schema, name: &str, text: &str) -> Option<&'static str> {
    schema.enum_values(name).find(|value| value.eq_ignore_ascii_case(text))
}

/// The members of a constructor: unknown ones are ignored, absent ones have their default.
fn record(
    schema: &Schema,
    class: &str,
    mut given: BTreeMap<String, Value>,
) -> Result<BTreeMap<String, Value>, Failure> {
    let Some(class) = schema.class(class) else { return Ok(given) };
    let mut members = BTreeMap::new();
    for field in class.meta.create_fields() {
        let known = class.has_field(field.name);
        let value = match (given.remove(field.name).filter(|_| known), &field.default) {
            (Some(value), _) => unmarshal(schema, value, &field.ty)?,
            (None, default) if default.is_some() || !known => schema::initial(class.name(), field),
            (None, _) => {
                let text = format!("Server_helpers.Dispatcher_FieldNotFound({:?})", field.name);
                return Err(internal_error(&text));
            }
        };
        members.insert(field.name.to_owned(), value);
    }
    Ok(members)
}

/// A value as XAPI prints it in its failures.
fn show(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(";");
    match value {
        Value::Nil => "N".into(),
        Value::Bool(b) => format!("B({b})"),
        Value::Int(n) => format!("I({n})"),
        Value::Double(x) => format!("F({x})"),
        Value::String(text) => format!("S({text})"),
        Value::DateTime(date) => format!("D({date})"),
        Value::Array(items) => format!("[{}]", list(items.iter().map(show).collect())),
        Value::Struct(map) => {
            format!("{{{}}}", list(map.iter().map(|(k, v)| format!("{k}:{}", show(v))).collect()))
        }
    }
}

/// An integer in OCaml's syntax: a sign, 0x, 0o, 0b, 0u, underscores between digits; no blanks.
fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits, unsigned) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..], true),
        Some("0o") => (8, &lower[2..], true),
        Some("0b") => (2, &lower[2..], true),
        Some("0u") => (10, &lower[2..], true),
        _ => (10, lower.as_str(), false),
    };
    if digits.starts_with('_') || digits.is_empty() || digits.contains(['+', '-']) {
        return None;
    }
    let magnitude = u64::from_str_radix(&digits.replace('_', ""), radix).ok()?;
    if unsigned {
        // Hexadecimal and its kin wrap around, as in OCaml.
        let value = magnitude as i64;
        return Some(if negative { value.wrapping_neg() } else { value });
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// A float in OCaml's syntax.
fn parse_float(text: &str) -> Option<f64> {
    if text.is_empty() || text.starts_with('_') || text.contains(char::is_whitespace) {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// A date in one of the forms XAPI takes, in the form it keeps.
fn parse_date(text: &str) -> Result<Value, Failure> {
    let bad = || internal_error(&format!("Invalid_argument(\"date.ml:of_iso8601: malformed date: {text}\")"));
    let (date, time) = text.split_once(['T', ' ']).ok_or_else(bad)?;
    let date: String = date.chars().filter(|c| *c != '-').collect();
    let digits = |text: &str, len: usize| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(&date, 8) {
        return Err(bad());
    }
    let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone_at);
    let clock = clock.split('.').next().unwrap_or(clock);
    let compact: String = clock.chars().filter(|c| *c != ':').collect();
    if !digits(&compact, 6) || !matches!(zone, "" | "Z") && zone.len() < 3 {
        return Err(bad());
    }
    let text = format!("{date}T{}:{}:{}{zone}", &compact[..2], &compact[2..4], &compact[4..]);
    text.parse::<DateTime>().map(Value::DateTime).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::parse_int;

    #[test]
    fn integers_in_ocaml_syntax() {
        for (text, value) in [
            ("5", Some(5)),
            ("+5", Some(5)),
            ("-5", Some(-5)),
            ("007", Some(7)),
            ("1_000", Some(1000)),
            ("0b11", Some(3)),
            ("0x10", Some(16)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            (" 5", None),
            ("1e3", None),
            ("", None),
            ("+-5", None),
        ] {
            assert_eq!(parse_int(text), value, "{text:?}");
        }
    }
}
