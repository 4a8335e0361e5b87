//! Every recorded message of a real server decodes, and goes back to what it was.

use std::collections::BTreeMap;

use testdata::{Step, scenario, scenario_names};
use xenapi_wire::{DecodeError, DecodeErrorKind, Failure, I4, Limits, Value, jsonrpc, plugin, xmlrpc};

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

/// Recorded HTTP errors that have nothing to do with the RPC body.
const NOT_THE_BODY: &[(&str, usize, &str)] = &[
    ("http_bodies", 23, "system.isAlive needs a longer name"),
    ("http_bodies", 25, "a negative Content-Length"),
    ("http_framing", 24, "no Content-Length"),
    ("http_framing", 25, "chunked, whose frame is not taken off here"),
];

/// Bodies that were sent as raw HTTP, many of them odd: taken and refused as by XAPI.
#[test]
fn odd_bodies() {
    let (mut taken, mut refused) = (0, 0);
    each(|name, index, step| {
        if step.transport != "http" || !matches!(name, "http_bodies" | "http_framing") {
            return;
        }
        let place = format!("{name} {index} ({})", step.note);
        let (path, body) = match step.request.raw() {
            Some(raw) => {
                let split = raw.windows(4).position(|w| w == b"\r\n\r\n").map_or(raw.len(), |at| at + 4);
                let head = String::from_utf8_lossy(&raw[..split]).into_owned();
                let mut words = head.split(' ');
                if words.next() != Some("POST") {
                    return;
                }
                (words.next().unwrap_or_default().to_owned(), raw[split..].to_vec())
            }
            None if step.request.method == "POST" => {
                (step.request.path.clone(), step.request.body().unwrap_or_default())
            }
            None => return,
        };
        let result = if path.starts_with("/jsonrpc") {
            jsonrpc::decode_call(&body, &Limits::REQUEST).map(drop)
        } else {
            xmlrpc::decode_call(&body, &Limits::REQUEST).map(drop)
        };
        if NOT_THE_BODY.iter().any(|(n, i, _)| *n == name && *i == index) {
            assert_eq!(step.response.status, Some(500), "{place}");
            return;
        }
        match step.response.status {
            Some(200) => {
                result.unwrap_or_else(|e| panic!("{place}: {e}"));
                taken += 1;
            }
            Some(500) => {
                result.expect_err(&place);
                refused += 1;
            }
            _ => {}
        }
    });
    assert!(taken > 25 && refused > 15, "{taken} {refused}");
}

/// The whole answer of `event.from`, to the byte: the one place where XAPI tags integers.
#[test]
fn event_batches_to_the_byte() {
    #[derive(serde::Deserialize)]
    struct Batch {
        events: Vec<Value>,
        valid_ref_counts: BTreeMap<String, I4>,
        token: String,
    }
    let mut count = 0;
    for step in &scenario("events_from").steps {
        if step.method_name.as_deref() != Some("event.from") || step.transport != "xmlrpc" {
            continue;
        }
        let body = String::from_utf8(step.response.body()).expect("XAPI sends UTF-8");
        let batch: Result<Batch, Failure> =
            xmlrpc::decode_response(body.as_bytes(), &Limits::RESPONSE).expect(&step.note);
        let Ok(batch) = batch else { continue };
        assert!(!batch.token.is_empty(), "{}", step.note);
        let events = body.matches("<name>operation</name>").count();
        assert_eq!(batch.events.len(), events, "{}", step.note);
        for (class, number) in &batch.valid_ref_counts {
            let I4(number) = number;
            let member = format!("<member><name>{class}</name><value><i4>{number}</i4></value></member>");
            assert!(body.contains(&member), "{}: {member}", step.note);
        }
        let counts = xmlrpc::encode_value(&batch.valid_ref_counts).expect(&step.note);
        assert_eq!(counts.matches("<i4>").count(), body.matches("<i4>").count(), "{}", step.note);
        count += 1;
    }
    assert!(count > 20, "{count}");
}

/// Results of tasks, which are XML-RPC inside text.
#[test]
fn results_of_tasks() {
    let mut seen = BTreeMap::new();
    for name in ["tasks", "plugins"] {
        for step in &scenario(name).steps {
            if step.method_name.as_deref() != Some("task.get_record") || step.transport != "xmlrpc" {
                continue;
            }
            let record: Result<Value, Failure> =
                xmlrpc::decode_response(&step.response.body(), &Limits::RESPONSE).expect(&step.note);
            let Ok(record) = record else { continue };
            let text = record.get("result").and_then(Value::as_str).expect("a task has a result").to_owned();
            let result: Value = xmlrpc::decode_value(&text, &Limits::RESPONSE).expect(&text);
            if text.starts_with("<value>") {
                assert_eq!(xmlrpc::encode_value(&result).expect(&text), text);
            }
            seen.insert(text, result);
        }
    }
    assert_eq!(seen.get(""), Some(&Value::from("")));
    assert_eq!(seen.get("<value></value>"), Some(&Value::from("")));
    assert_eq!(seen.get("<value>6291456</value>").and_then(Value::as_int), Some(6_291_456));
    assert_eq!(seen.get("<value><boolean>1</boolean></value>"), Some(&Value::Bool(true)));
    assert!(seen.values().any(|value| value.as_array().is_some_and(|list| list.len() == 1)));
    // A plugin's output with markup: escaped once for the fragment, once more for the record.
    assert!(seen.values().any(|value| value.as_str() == Some("a=<b>&amp;é")), "{seen:?}");
}

/// What Python's library printed in a plugin, which XAPI quotes because there was text before it.
#[test]
fn output_of_a_python_plugin() {
    let steps = scenario("plugins").steps;
    let step = steps.iter().find(|step| step.note == "noise").expect("recorded");
    let failure = xmlrpc::decode_response::<String>(&step.response.body(), &Limits::RESPONSE)
        .expect("an answer")
        .expect_err("a failure");
    assert_eq!(
        (failure.code.as_str(), failure.param(0)),
        ("XENAPI_PLUGIN_FAILURE", "failed to parse plugin output")
    );
    let output = failure.param(1);
    let error = plugin::decode_response(output.as_bytes(), &Limits::RESPONSE).expect_err("text before");
    assert!(!matches!(error.kind(), DecodeErrorKind::WrongType { .. }), "{error}");
    let (noise, output) = output.split_once('\n').expect("a line before");
    assert_eq!(noise, "hello");
    let text = plugin::decode_response(output.as_bytes(), &Limits::RESPONSE).expect(output);
    assert_eq!(text, Ok("after noise".to_owned()));
}

/// Map keys that XAPI wrote unescaped: ill-formed XML, which is read all the same.
#[test]
fn keys_that_are_not_escaped() {
    let mut found = 0;
    for step in scenario("strings_xmlrpc").steps.iter().chain(&scenario("strings_jsonrpc2").steps) {
        let body = step.response.body();
        if step.transport == "xmlrpc" && body.windows(8).any(|w| w == b"<name>k<") {
            let map: Result<BTreeMap<String, String>, Failure> =
                xmlrpc::decode_response(&body, &Limits::RESPONSE).expect(&step.note);
            assert_eq!(map.expect("a map")["k<&>\"'"], "v k<&>\"'");
            found += 1;
        }
    }
    assert_eq!(found, 2);
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
