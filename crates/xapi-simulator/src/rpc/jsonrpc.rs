//! JSON-RPC 1.0 and 2.0.

use serde_json::Value as Json;
use xenapi_wire::Value;

use super::{Answer, Malformed, Outcome, Request, significant};

/// What an answer must repeat.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Envelope {
    version_2: bool,
    id: Json,
}

/// Reads a call.
pub(crate) fn decode(body: &[u8]) -> Result<(Envelope, Request), Malformed> {
    let malformed = |text: &str| Malformed(text.to_owned());
    let json: Json = serde_json::from_slice(body).map_err(|e| Malformed(e.to_string()))?;
    let Json::Object(mut call) = json else { return Err(malformed("the call is no object")) };
    let version_2 = match call.get("jsonrpc") {
        None => false,
        Some(Json::String(version)) if version == "2.0" => true,
        Some(_) => return Err(malformed("unknown JSON-RPC version")),
    };
    let id = call.remove("id").ok_or_else(|| malformed("no id"))?;
    if !(id.is_string() || id.is_i64()) {
        return Err(malformed("the id is neither text nor integer"));
    }
    let Some(Json::String(method)) = call.remove("method") else { return Err(malformed("no method")) };
    let params = match (call.remove("params"), version_2) {
        (Some(Json::Array(params)), _) => params.into_iter().map(value).collect(),
        (None | Some(Json::Null), true) => Vec::new(),
        (Some(params @ Json::Object(_)), true) => vec![value(params)],
        _ => return Err(malformed("params is no array")),
    };
    Ok((Envelope { version_2, id }, Request { method, params }))
}

/// Untyped JSON as a value: whether a text is a date is not known here.
fn value(json: Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(b) => Value::Bool(b),
        Json::Number(n) => {
            n.as_i64().map_or_else(|| Value::Double(n.as_f64().unwrap_or(f64::NAN)), Value::Int)
        }
        Json::String(text) => Value::String(text),
        Json::Array(items) => Value::Array(items.into_iter().map(value).collect()),
        Json::Object(map) => Value::Struct(map.into_iter().map(|(k, v)| (k, value(v))).collect()),
    }
}

/// Writes the answer.
pub(crate) fn encode(envelope: &Envelope, outcome: &Outcome) -> Vec<u8> {
    let mut out = String::new();
    match (outcome, envelope.version_2) {
        (Ok(answer), true) => {
            out.push_str(r#"{"jsonrpc":"2.0","result":"#);
            push_answer(&mut out, answer);
        }
        (Ok(answer), false) => {
            out.push_str(r#"{"result":"#);
            push_answer(&mut out, answer);
            out.push_str(r#","error":null"#);
        }
        (Err(failure), true) => {
            out.push_str(r#"{"jsonrpc":"2.0","error":{"code":1,"message":"#);
            push_text(&mut out, &failure.code);
            out.push_str(r#","data":"#);
            push_list(&mut out, failure.params.iter(), |out, text| push_text(out, text));
            out.push('}');
        }
        (Err(failure), false) => {
            out.push_str(r#"{"result":null,"error":"#);
            let items = std::iter::once(&failure.code).chain(&failure.params);
            push_list(&mut out, items, |out, text| push_text(out, text));
        }
    }
    out.push_str(r#","id":"#);
    out.push_str(&envelope.id.to_string());
    out.push('}');
    out.into_bytes()
}

fn push_answer(out: &mut String, answer: &Answer) {
    let (Answer::Value(value) | Answer::Bare(value) | Answer::Batch(value)) = answer;
    push(out, value);
}

fn push(out: &mut String, value: &Value) {
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(n) => out.push_str(&n.to_string()),
        Value::Double(x) => push_float(out, *x),
        Value::String(text) => push_text(out, text),
        Value::DateTime(date) => push_text(out, date.as_str()),
        Value::Array(items) => push_list(out, items.iter(), push),
        Value::Struct(map) => {
            out.push('{');
            for (i, (key, value)) in map.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                push_text(out, key);
                out.push(':');
                push(out, value);
            }
            out.push('}');
        }
    }
}

fn push_list<T>(out: &mut String, items: impl Iterator<Item = T>, push: impl Fn(&mut String, T)) {
    out.push('[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(',');
        }
        push(out, item);
    }
    out.push(']');
}

fn push_text(out: &mut String, text: &str) {
    out.push_str(&Json::String(text.to_owned()).to_string());
}

/// Always recognisable as a float; what JSON has no word for is spelled as JavaScript does.
fn push_float(out: &mut String, x: f64) {
    if x.is_nan() {
        out.push_str("NaN");
    } else if x.is_infinite() {
        out.push_str(if x > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        let text = significant(x, 17);
        out.push_str(&text);
        if !text.contains(['.', 'e']) {
            out.push_str(".0");
        }
    }
}
