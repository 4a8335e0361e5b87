//! Recorded calls in the encoding in which they were not made: JSON-RPC 2.0 for XML-RPC, XML-RPC for JSON-RPC.
//!
//! Answers are compared as values then: what the encodings say differently, floats and envelopes, is made alike.

use serde_json::{Map, Value as Json, json};
use testdata::Step;
use xenapi_wire::{Limits, Value, xmlrpc};

use crate::compare;

/// A call in the other encoding; nothing for steps that are about bytes, or that the other encoding cannot express.
pub fn request(step: &Step) -> Option<Vec<u8>> {
    if step.transport == "http"
        || step.pipelined
        || step.request.raw().is_some()
        || step.response.end != "keep"
    {
        return None;
    }
    outcome(&step.response.body())?;
    let body = step.request.body()?;
    let (path, body) = if body.first() == Some(&b'{') {
        ("/", to_xml(&serde_json::from_slice(&body).ok()?)?)
    } else {
        ("/jsonrpc", to_json(&body)?)
    };
    let head = format!("POST {path} HTTP/1.1\r\nHost: replay\r\nContent-Length: {}\r\n\r\n", body.len());
    Some(format!("{head}{body}").into_bytes())
}

fn to_json(body: &[u8]) -> Option<String> {
    let call = xmlrpc::decode_call(body, &Limits::REQUEST).ok()?;
    let params: Option<Vec<Json>> = call.params.iter().map(plain).collect();
    Some(json!({"jsonrpc": "2.0", "id": 1, "method": call.method, "params": params?}).to_string())
}

/// A value as a JSON client sends it.
fn plain(value: &Value) -> Option<Json> {
    Some(match value {
        // JSON has it, XML-RPC clients that send it mean something of their own.
        Value::Nil => return None,
        Value::Bool(b) => json!(b),
        Value::Int(n) => json!(n),
        Value::Double(x) if x.is_finite() => json!(x),
        Value::Double(_) => return None,
        Value::String(text) => json!(text),
        Value::DateTime(date) => json!(date.as_str()),
        Value::Array(items) => Json::Array(items.iter().map(plain).collect::<Option<_>>()?),
        Value::Struct(map) => {
            let members = map.iter().map(|(key, value)| Some((key.clone(), plain(value)?)));
            Json::Object(members.collect::<Option<Map<_, _>>>()?)
        }
    })
}

fn to_xml(call: &Json) -> Option<String> {
    // JSON-RPC has an answer for a call without a name, XML-RPC has none.
    let method = text(call.get("method")?).filter(|method| !method.is_empty())?;
    let mut xml = format!("<?xml version='1.0'?><methodCall><methodName>{method}</methodName><params>");
    for param in call.get("params").map_or(Some(&Vec::new()), Json::as_array)? {
        xml.push_str("<param>");
        element(param, &mut xml)?;
        xml.push_str("</param>");
    }
    xml.push_str("</params></methodCall>");
    Some(xml)
}

fn element(value: &Json, xml: &mut String) -> Option<()> {
    xml.push_str("<value>");
    match value {
        Json::Null => return None,
        Json::Bool(b) => xml.push_str(&format!("<boolean>{}</boolean>", u8::from(*b))),
        Json::Number(n) if n.is_f64() => xml.push_str(&format!("<double>{n}</double>")),
        Json::Number(n) => xml.push_str(&format!("<int>{n}</int>")),
        Json::String(_) => xml.push_str(&format!("<string>{}</string>", text(value)?)),
        Json::Array(items) => {
            xml.push_str("<array><data>");
            items.iter().try_for_each(|item| element(item, xml))?;
            xml.push_str("</data></array>");
        }
        Json::Object(members) => {
            xml.push_str("<struct>");
            for (key, value) in members {
                // The real server reads no empty name.
                let name = Some(text(&json!(key))?).filter(|name| !name.is_empty())?;
                xml.push_str(&format!("<member><name>{name}</name>"));
                element(value, xml)?;
                xml.push_str("</member>");
            }
            xml.push_str("</struct>");
        }
    }
    xml.push_str("</value>");
    Some(())
}

/// A text in XML, if XML can carry it and gives it back as it is.
fn text(value: &Json) -> Option<String> {
    let text = value.as_str()?;
    let carried = |c: char| (c >= ' ' || matches!(c, '\t' | '\n')) && !matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().all(carried).then(|| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

/// What an answer says, whatever its encoding: `{"ok": …}` or `{"error": [code, …]}`.
pub fn outcome(body: &[u8]) -> Option<Json> {
    let answer = compare::parse(body).or_else(|| compare::parse(&with_finite_floats(body)?))?;
    if let Some(error) = answer.get("ErrorDescription") {
        return Some(json!({"ErrorDescription": error}));
    }
    match (answer.get("Status"), answer.get("error")) {
        (Some(_), _) => Some(json!({"ok": alike(answer.get("Value")?)})),
        (None, Some(Json::Array(error))) => Some(json!({"ErrorDescription": error})),
        (None, Some(Json::Object(error))) => {
            let mut list = vec![error.get("message")?.clone()];
            list.extend(error.get("data")?.as_array()?.iter().cloned());
            Some(json!({"ErrorDescription": list}))
        }
        (None, _) if answer.is_array() => Some(json!({"ok": answer})),
        (None, _) => Some(json!({"ok": alike(answer.get("result")?)})),
    }
}

/// A JSON answer whose result is a float that JSON does not have, with a text for it.
fn with_finite_floats(body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let forms = [("-Infinity", "-inf"), ("Infinity", "inf"), ("NaN", "NaN")];
    let (name, float) = forms.into_iter().find(|(name, _)| text.contains(&format!("\"result\":{name},")))?;
    let result = json!({"double": float}).to_string();
    Some(text.replacen(&format!(":{name},"), &format!(":{result},"), 1).into_bytes())
}

/// Numbers in one form: XML-RPC sends integers as text, and fewer digits of a float.
fn alike(value: &Json) -> Json {
    let number = |x: f64| json!({"number": format!("{x:.13e}")});
    match value {
        Json::Number(n) if !n.is_f64() => json!(n.to_string()),
        Json::Number(n) => number(n.as_f64().unwrap_or(f64::NAN)),
        Json::Object(map) if map.len() == 1 && map.contains_key("double") => {
            number(map["double"].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN))
        }
        Json::Object(map) => {
            Json::Object(map.iter().map(|(key, value)| (key.clone(), alike(value))).collect())
        }
        Json::Array(items) => Json::Array(items.iter().map(alike).collect()),
        other => other.clone(),
    }
}
