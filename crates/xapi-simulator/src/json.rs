//! Values as JSON, where their declared type says what a text means.

use serde_json::{Number, Value as Json};
use xenapi_wire::{DateTime, Value};

use xenapi_types::meta::Ty;

/// A value as plain JSON. Floats that JSON cannot hold become text, which [`decode`] reads back.
pub(crate) fn encode(value: &Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(n) => Json::from(*n),
        Value::Double(x) => Number::from_f64(*x).map_or_else(|| Json::String(x.to_string()), Json::Number),
        Value::String(text) => Json::String(text.clone()),
        Value::DateTime(date) => Json::String(date.as_str().to_owned()),
        Value::Array(items) => Json::Array(items.iter().map(encode).collect()),
        Value::Struct(map) => Json::Object(map.iter().map(|(k, v)| (k.clone(), encode(v))).collect()),
    }
}

/// JSON as a value of a type.
///
/// # Errors
/// What does not fit, in words.
pub(crate) fn decode(json: Json, ty: &Ty) -> Result<Value, String> {
    Ok(match (json, ty) {
        (Json::Null, _) => Value::Nil,
        (json, Ty::Option(inner)) => decode(json, inner)?,
        (Json::Bool(b), _) => Value::Bool(b),
        (Json::Number(n), Ty::Float) => Value::Double(n.as_f64().ok_or("a number out of range")?),
        (Json::Number(n), _) => match n.as_i64() {
            Some(n) => Value::Int(n),
            None => Value::Double(n.as_f64().ok_or("a number out of range")?),
        },
        (Json::String(text), Ty::DateTime) => {
            Value::DateTime(text.parse::<DateTime>().map_err(|e| e.to_string())?)
        }
        (Json::String(text), Ty::Float) => {
            Value::Double(text.parse().map_err(|_| format!("no number: {text:?}"))?)
        }
        (Json::String(text), Ty::Int) => {
            Value::Int(text.parse().map_err(|_| format!("no integer: {text:?}"))?)
        }
        (Json::String(text), _) => Value::String(text),
        (Json::Array(items), Ty::Set(inner)) => {
            Value::Array(items.into_iter().map(|item| decode(item, inner)).collect::<Result<_, _>>()?)
        }
        (Json::Array(items), ty) => {
            Value::Array(items.into_iter().map(|item| decode(item, ty)).collect::<Result<_, _>>()?)
        }
        (Json::Object(map), Ty::Map(_, inner)) => Value::Struct(
            map.into_iter().map(|(k, v)| Ok((k, decode(v, inner)?))).collect::<Result<_, String>>()?,
        ),
        (Json::Object(map), ty) => Value::Struct(
            map.into_iter().map(|(k, v)| Ok((k, decode(v, ty)?))).collect::<Result<_, String>>()?,
        ),
    })
}
