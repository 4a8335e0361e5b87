//! Every recorded message of a real server decodes, and goes back to what it was.

use testdata::{Step, scenario, scenario_names};
use xenapi_wire::{DecodeError, Failure, Limits, Value, jsonrpc, xmlrpc};

/// Requests that XAPI answered with HTTP 500 because it could not parse them.
const REFUSED_REQUESTS: &[(&str, usize, &str)] = &[
    ("call_errors", 15, "no methodCall element"),
    ("numbers", 122, "an empty dateTime.iso8601"),
    ("numbers", 165, "an integer of 2^63"),
    ("numbers", 169, "an integer of 2^70"),
    ("plugins", 20, "an empty member name"),
    ("strings_xmlrpc", 118, "an empty member name"),
];

fn each(mut visit: impl FnMut(&str, usize, &Step)) {
    for name in scenario_names() {
        for (index, step) in scenario(&name).steps.iter().enumerate() {
            visit(&name, index, step);
        }
    }
}

/// A listed request is refused here as it was by XAPI; any other one is not.
fn unless_refused<T: std::fmt::Debug>(
    name: &str,
    index: usize,
    step: &Step,
    call: Result<T, DecodeError>,
) -> Option<T> {
    let listed = REFUSED_REQUESTS.iter().find(|(n, i, _)| *n == name && *i == index);
    let Some((.., why)) = listed else {
        assert_ne!(step.response.status, Some(500), "{name} {index}: XAPI refused it");
        return Some(call.unwrap_or_else(|e| panic!("{name} {index}: {e}")));
    };
    assert_eq!(step.response.status, Some(500), "{name} {index}: XAPI took it");
    let error = call.expect_err(why);
    assert!(error.offset().is_some(), "{name} {index}: {error}");
    None
}

/// Over XML-RPC every integer goes out as text.
fn ints_as_text(value: Value) -> Value {
    match value {
        Value::Int(number) => Value::String(number.to_string()),
        Value::Array(elements) => Value::Array(elements.into_iter().map(ints_as_text).collect()),
        Value::Struct(members) => members.into_iter().map(|(k, v)| (k, ints_as_text(v))).collect(),
        other => other,
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Double(a), Value::Double(b)) => a == b || a.is_nan() && b.is_nan(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Struct(a), Value::Struct(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && same(a.1, b.1))
        }
        _ => a == b,
    }
}

fn has_struct(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.iter().any(has_struct),
        Value::Struct(members) => !members.is_empty(),
        _ => false,
    }
}

fn has_int(value: &Value) -> bool {
    match value {
        Value::Int(_) => true,
        Value::Array(elements) => elements.iter().any(has_int),
        Value::Struct(members) => members.values().any(has_int),
        _ => false,
    }
}

#[test]
fn xml_requests() {
    let mut count = 0;
    each(|name, index, step| {
        if step.transport != "xmlrpc" {
            return;
        }
        let body = step.request.body().expect("an RPC has a body");
        let place = format!("{name} {index}");
        let call = xmlrpc::decode_call(&body, &Limits::REQUEST);
        let Some(call) = unless_refused(name, index, step, call) else { return };
        assert_eq!(Some(&call.method), step.method_name.as_ref(), "{place}");
        let again =
            xmlrpc::encode_call(&call.method, None, &call.params).unwrap_or_else(|e| panic!("{place}: {e}"));
        let again = xmlrpc::decode_call(again.as_bytes(), &Limits::RESPONSE).expect("what we wrote");
        let sent = ints_as_text(Value::Array(call.params));
        assert!(same(&Value::Array(again.params), &sent), "{place}");
        count += 1;
    });
    assert!(count > 2_000, "{count}");
}

#[test]
fn xml_responses() {
    let (mut count, mut exact) = (0, 0);
    each(|name, index, step| {
        let body = step.response.body();
        if step.transport != "xmlrpc" || step.response.status != Some(200) {
            return;
        }
        let place = format!("{name} {index}");
        let result: Result<Value, Failure> =
            xmlrpc::decode_response(&body, &Limits::RESPONSE).unwrap_or_else(|e| panic!("{place}: {e}"));
        let bare = step.method_name.as_deref() == Some("system.listMethods") && result.is_ok();
        let again = match &result {
            Ok(value) if bare => xmlrpc::encode_bare_response(value),
            other => xmlrpc::encode_response(other.as_ref()),
        };
        let again = again.unwrap_or_else(|e| panic!("{place}: {e}"));
        // Members are sorted here and tagged integers lose their tag: all other bytes are equal.
        if result.as_ref().map_or(true, |value| !has_struct(value) && !has_int(value)) {
            assert_eq!(again, String::from_utf8(body).expect("XAPI sends UTF-8"), "{place}");
            exact += 1;
        }
        let again: Result<Value, Failure> = xmlrpc::decode_response(again.as_bytes(), &Limits::RESPONSE)
            .unwrap_or_else(|e| panic!("{place}: {e}"));
        match (result, again) {
            (Ok(a), Ok(b)) => assert!(same(&ints_as_text(a), &b), "{place}"),
            (a, b) => assert_eq!(a, b, "{place}"),
        }
        count += 1;
    });
    assert!(count > 2_000 && exact > 1_500, "{count} {exact}");
}

#[test]
fn json_requests_and_responses() {
    let mut count = 0;
    each(|name, index, step| {
        let version = match step.transport.as_str() {
            "jsonrpc1" => jsonrpc::Version::V1,
            "jsonrpc2" => jsonrpc::Version::V2,
            _ => return,
        };
        let place = format!("{name} {index}");
        let body = step.request.body().expect("an RPC has a body");
        let call = jsonrpc::decode_call(&body, &Limits::REQUEST);
        let Some(call) = unless_refused(name, index, step, call) else { return };
        assert_eq!(Some(&call.method), step.method_name.as_ref(), "{place}");
        assert_eq!(call.version, version, "{place}");
        let again = jsonrpc::encode_call(version, &call.id, &call.method, None, &call.params).expect(&place);
        assert_eq!(jsonrpc::decode_call(again.as_bytes(), &Limits::RESPONSE).expect(&place), call, "{place}");
        let standard: serde_json::Value = serde_json::from_str(&again).expect("a client sends plain JSON");
        assert_eq!(standard, serde_json::from_slice::<serde_json::Value>(&body).expect(&place), "{place}");

        if step.response.status != Some(200) {
            return;
        }
        let body = step.response.body();
        let answer = jsonrpc::decode_response::<Value>(&body, &Limits::RESPONSE)
            .unwrap_or_else(|e| panic!("{place}: {e}"));
        assert_eq!(answer.id.as_ref(), Some(&call.id), "{place}");
        let again = jsonrpc::encode_response(version, &call.id, answer.result.as_ref()).expect(&place);
        if answer.result.as_ref().map_or(true, |value| !has_struct(value)) {
            assert_eq!(again, String::from_utf8(body).expect("XAPI sends UTF-8"), "{place}");
        }
        let again = jsonrpc::decode_response::<Value>(again.as_bytes(), &Limits::RESPONSE).expect(&place);
        match (answer.result, again.result) {
            (Ok(a), Ok(b)) => assert!(same(&a, &b), "{place}"),
            (a, b) => assert_eq!(a, b, "{place}"),
        }
        count += 1;
    });
    assert!(count > 800, "{count}");
}
