//! Any value that XAPI can carry goes out and comes in unchanged.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::de::IgnoredAny;
use xenapi_wire::{DateTime, Failure, Limits, Value, fuzzing, jsonrpc, xmlrpc};

/// Texts with a liking for what needs an escape.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[<>&\"' \r\n\ta-c\\]\\[]{0,12}",
        "\\PC{0,8}",
        "&(lt|amp|#65|x);",
        Just("</value>".to_owned()),
        "[0-9+_x-]{0,5}",
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_filter("NaN is not equal to itself", |x| !x.is_nan()).prop_map(Value::Double),
        text().prop_map(Value::String),
        (-62_167_219_200..=253_402_300_799i64).prop_map(|s| Value::DateTime(DateTime::from_unix_seconds(s))),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map(text().prop_filter("no empty key", |k| !k.is_empty()), inner, 0..6)
                .prop_map(Value::Struct),
        ]
    })
}

/// What two readers may differ in is taken out: `-0` is an integer to us and a double to serde_json, which without a
/// feature of its own is also off by one in a double's last digit.
fn comparable(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Number(number) if number.as_f64() == Some(0.0) => 0.into(),
        serde_json::Value::Number(number) if number.is_f64() => {
            format!("{:.13e}", number.as_f64().unwrap_or_default()).into()
        }
        serde_json::Value::Array(elements) => elements.into_iter().map(comparable).collect(),
        serde_json::Value::Object(members) => members.into_iter().map(|(k, v)| (k, comparable(v))).collect(),
        other => other,
    }
}

/// What arrives: XML-RPC has integers as text, JSON-RPC dates.
fn as_text(value: &Value, ints: bool) -> Value {
    match value {
        Value::Int(number) if ints => Value::String(number.to_string()),
        Value::DateTime(date) if !ints => Value::String(date.to_string()),
        Value::Array(elements) => Value::Array(elements.iter().map(|v| as_text(v, ints)).collect()),
        Value::Struct(members) => members.iter().map(|(k, v)| (k.clone(), as_text(v, ints))).collect(),
        other => other.clone(),
    }
}

/// Keys that XAPI can write without escaping them, and doubles of 16 digits.
fn plain(value: Value) -> Value {
    match value {
        Value::Double(number) => Value::Double(format!("{number:.15e}").parse().expect("a number")),
        Value::Array(elements) => elements.into_iter().map(plain).collect::<Vec<_>>().into(),
        Value::Struct(members) => {
            members.into_iter().map(|(k, v)| (k.replace("</name>", "").replace('&', "+"), plain(v))).collect()
        }
        other => other,
    }
}

proptest! {
    #[test]
    fn xml_call(method in "[A-Za-z_.]{1,20}", params in prop::collection::vec(values(), 0..4), session in text()) {
        let body = xmlrpc::encode_call(&method, Some(&session), &params).expect("encodes");
        let call = xmlrpc::decode_call(body.as_bytes(), &Limits::RESPONSE).expect("decodes");
        prop_assert_eq!(call.method, method);
        prop_assert_eq!(&call.params[0], &Value::String(session));
        let expected: Vec<_> = params.iter().map(|v| as_text(v, true)).collect();
        prop_assert_eq!(&call.params[1..], &expected[..]);
    }

    #[test]
    fn xml_value(value in values()) {
        let text = xmlrpc::encode_exact_value(&value).expect("encodes");
        let again: Value = xmlrpc::decode_value(&text, &Limits::RESPONSE).expect("decodes");
        prop_assert_eq!(again, as_text(&value, true));
        // Passing over it ends at the same place.
        xmlrpc::decode_value::<IgnoredAny>(&text, &Limits::RESPONSE).expect("is passed over");
    }

    #[test]
    fn xml_response_as_xapi_writes_it(value in values()) {
        let value = plain(value);
        let body = xmlrpc::encode_response(Ok(&value)).expect("encodes");
        let again = xmlrpc::decode_response::<Value>(body.as_bytes(), &Limits::RESPONSE).expect("decodes");
        prop_assert_eq!(again, Ok(as_text(&value, true)));
    }

    #[test]
    fn json_call_and_response(params in prop::collection::vec(values(), 0..4), session in text(), id in text()) {
        for version in [jsonrpc::Version::V1, jsonrpc::Version::V2] {
            let id = jsonrpc::Id::Text(id.clone());
            let body = jsonrpc::encode_call(version, &id, "m", Some(&session), &params).expect("encodes");
            let plain: serde_json::Value = serde_json::from_str(&body).expect("a client writes standard JSON");
            prop_assert_eq!(&plain["params"][0], &session);
            let call = jsonrpc::decode_call(body.as_bytes(), &Limits::RESPONSE).expect("decodes");
            prop_assert_eq!((call.version, &call.id), (version, &id));

            let value = Value::Array(params.clone());
            let body = jsonrpc::encode_response(version, &id, Ok(&value)).expect("encodes");
            let answer = jsonrpc::decode_response::<Value>(body.as_bytes(), &Limits::RESPONSE).expect("decodes");
            prop_assert_eq!(answer.id, Some(id));
            prop_assert_eq!(answer.result, Ok(as_text(&value, false)));
            jsonrpc::decode_response::<IgnoredAny>(body.as_bytes(), &Limits::RESPONSE).expect("is passed over");
        }
    }

    #[test]
    fn failures(code in "[A-Z_]{1,12}", params in prop::collection::vec(text(), 0..4)) {
        let failure = Failure::new(code, params);
        let body = xmlrpc::encode_response::<()>(Err(&failure)).expect("encodes");
        let again = xmlrpc::decode_response::<()>(body.as_bytes(), &Limits::RESPONSE).expect("decodes");
        prop_assert_eq!(again.as_ref(), Err(&failure));
        for version in [jsonrpc::Version::V1, jsonrpc::Version::V2] {
            let body = jsonrpc::encode_response::<()>(version, &1.into(), Err(&failure)).expect("encodes");
            let again = jsonrpc::decode_response::<()>(body.as_bytes(), &Limits::RESPONSE).expect("decodes");
            prop_assert_eq!(again.result.as_ref(), Err(&failure));
        }
    }

    /// Our scanner and serde_json agree on what is JSON and what it means.
    #[test]
    fn json_as_serde_json_reads_it(text in "([\\[\\]{},:\"0-9eE.+\\-tfnul \\\\]|\"[a-z\\\\]{0,3}\"|true|null|-?[0-9]{1,3}(\\.[0-9]{1,2})?){0,10}") {
        let body = format!("{{\"result\":[{text}],\"id\":1}}");
        let ours = jsonrpc::decode_response::<Value>(body.as_bytes(), &Limits::RESPONSE);
        let theirs = serde_json::from_str::<BTreeMap<String, serde_json::Value>>(&body);
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                let ours = serde_json::to_value(ours.result.expect("no failure")).expect("a value");
                prop_assert_eq!(comparable(ours), comparable(theirs["result"].clone()));
            }
            (Err(_), Err(_)) => {}
            // XAPI knows no integer beyond 64 bits.
            (Err(_), Ok(theirs)) => prop_assert!(theirs["result"].to_string().len() > 18, "{}", body),
            (Ok(ours), Err(e)) => prop_assert!(false, "{body}: {ours:?}, {e}"),
        }
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzzing::decode_anything(&bytes);
        fuzzing::xmlrpc_roundtrip(&bytes);
        fuzzing::jsonrpc_roundtrip(&bytes);
        fuzzing::datetime(&bytes);
        fuzzing::envelope(&bytes);
    }

    #[test]
    fn any_tags(words in prop::collection::vec(prop::sample::select(&[
        "<methodCall>", "<methodName>", "a", "</methodName>", "<params>", "<param>", "<value>", "</value>", "<int>",
        "5", "</int>", "<struct>", "<member>", "<name>", "</name>", "</member>", "</struct>", "<array>", "<data>",
        "</data>", "</array>", "</param>", "</params>", "</methodCall>", "<!--", "-->", "<![CDATA[", "]]>", "&amp;",
        "<nil/>", "<data/>", "<value/>", "<methodResponse>", "</methodResponse>", "<?", "?>", "<!DOCTYPE", ">", "\"",
    ][..]), 0..40)) {
        let text = words.concat();
        fuzzing::decode_anything(text.as_bytes());
        let call = format!("<methodCall><methodName>m</methodName><params><param><value>{text}");
        fuzzing::decode_anything(call.as_bytes());
        fuzzing::xmlrpc_roundtrip(call.as_bytes());
        let answer = format!("<methodResponse><params><param><value>{text}");
        fuzzing::envelope(answer.as_bytes());
    }

    #[test]
    fn dates(text in "[0-9]{4}-?[0-9]{2}-?[0-9]{2}T[0-9]{2}:?[0-9]{2}:?[0-9]{2}(\\.[0-9]{0,7})?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?") {
        fuzzing::datetime(text.as_bytes());
    }
}
