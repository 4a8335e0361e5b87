//! Our decoder against another one, the `xmlrpc` crate, on what both can read.
//!
//! What differs by design is kept out: the crate turns text of white space alone into the empty
//! text, knows `int` with 32 bits only, and refuses names that XAPI did not escape.

use std::collections::BTreeMap;

use proptest::prelude::*;
use testdata::{scenario, scenario_names};
use xenapi_wire::{DateTime, Limits, Value, xmlrpc as ours};

/// Hands a finished body to the crate, which has no other way in.
struct Canned<'a>(&'a [u8]);

impl<'a> xmlrpc::Transport for Canned<'a> {
    type Stream = &'a [u8];

    fn transmit(self, _: &xmlrpc::Request<'_>) -> Result<&'a [u8], Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0)
    }
}

fn theirs(body: &[u8]) -> Result<Value, String> {
    xmlrpc::Request::new("m").call(Canned(body)).map(|value| convert(&value)).map_err(|e| e.to_string())
}

fn convert(value: &xmlrpc::Value) -> Value {
    use xmlrpc::Value as V;
    match value {
        V::Int(number) => (*number).into(),
        V::Int64(number) => (*number).into(),
        V::Bool(value) => (*value).into(),
        V::String(text) => text.as_str().into(),
        V::Double(number) => (*number).into(),
        V::DateTime(date) => seconds(&date.to_string()),
        V::Base64(_) => panic!("nothing here has base64"),
        V::Struct(members) => members.iter().map(|(name, value)| (name.clone(), convert(value))).collect(),
        V::Array(elements) => elements.iter().map(convert).collect::<Vec<_>>().into(),
        V::Nil => Value::Nil,
    }
}

/// Dates by their instant: the crate does not keep the spelling.
fn seconds(text: &str) -> Value {
    let date: DateTime = text.parse().expect("a date");
    Value::DateTime(DateTime::from_unix_seconds(date.unix_seconds().expect("a date")))
}

fn comparable(value: Value) -> Value {
    match value {
        Value::DateTime(date) => seconds(date.as_str()),
        Value::String(text) if text.trim_matches([' ', '\t', '\r', '\n']).is_empty() => "".into(),
        Value::Array(elements) => elements.into_iter().map(comparable).collect::<Vec<_>>().into(),
        Value::Struct(members) => members.into_iter().map(|(k, v)| (k, comparable(v))).collect(),
        other => other,
    }
}

fn same(a: &Value, b: &Value) -> bool {
    // Debug writes NaN as itself, and everything else so that it can be told apart.
    format!("{a:?}") == format!("{b:?}")
}

/// Recorded answers that the crate cannot read.
const ONLY_OURS: &[(&str, &str)] = &[
    ("strings_xmlrpc", "a map key with < and &, which XAPI does not escape, and one with ]]>"),
    ("strings_jsonrpc2", "the same keys; U+FFFE and U+FFFF, which XML does not allow"),
];

#[test]
fn recorded_answers() {
    let (mut count, mut refused) = (0, BTreeMap::new());
    for name in scenario_names() {
        for (index, step) in scenario(&name).steps.iter().enumerate() {
            if step.transport != "xmlrpc" || step.response.status != Some(200) {
                continue;
            }
            let body = step.response.body();
            let theirs = match theirs(&body) {
                Ok(theirs) => theirs,
                Err(_) if ONLY_OURS.iter().any(|(n, _)| *n == name) => {
                    *refused.entry(name.clone()).or_insert(0) += 1;
                    ours::decode_response::<Value>(&body, &Limits::RESPONSE)
                        .expect("read by us")
                        .expect("a result");
                    continue;
                }
                Err(e) => panic!("{name} {index}: {e}"),
            };
            let answer = ours::decode_response::<Value>(&body, &Limits::RESPONSE).expect("an answer");
            let expected = match answer {
                Ok(list @ Value::Array(_)) if theirs.get("Status").is_none() => comparable(list),
                Ok(value) => {
                    comparable([("Status", "Success".into()), ("Value", value)].into_iter().collect())
                }
                Err(failure) => {
                    let description = Value::from(Vec::from(failure));
                    [("Status", "Failure".into()), ("ErrorDescription", comparable(description))]
                        .into_iter()
                        .collect()
                }
            };
            assert!(same(&expected, &comparable(theirs)), "{name} {index}");
            count += 1;
        }
    }
    assert!(count > 2_000, "{count}");
    let expected = [("strings_jsonrpc2".to_owned(), 4), ("strings_xmlrpc".to_owned(), 2)];
    assert_eq!(refused, expected.into());
}

fn values() -> impl Strategy<Value = Value> {
    let text = || "[<>&\"' \\]a-zé😀0-9]{0,8}[a-z]";
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<f64>().prop_map(Value::Double),
        text().prop_map(Value::String),
        Just(Value::String(String::new())),
        Just(Value::Nil),
        (-62_100_000_000..=253_402_300_799i64).prop_map(|s| Value::DateTime(DateTime::from_unix_seconds(s))),
    ];
    leaf.prop_recursive(4, 30, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(text(), inner, 0..5).prop_map(Value::Struct),
        ]
    })
}

fn tagged(value: &Value) -> xmlrpc::Value {
    match value {
        Value::Nil => xmlrpc::Value::Nil,
        Value::Bool(value) => (*value).into(),
        Value::Int(number) => xmlrpc::Value::Int64(*number),
        Value::Double(number) => (*number).into(),
        Value::String(text) => text.as_str().into(),
        // Its dates cannot be made without yet another crate.
        Value::DateTime(date) => date.as_str().into(),
        Value::Array(elements) => xmlrpc::Value::Array(elements.iter().map(tagged).collect()),
        Value::Struct(members) => {
            xmlrpc::Value::Struct(members.iter().map(|(name, value)| (name.clone(), tagged(value))).collect())
        }
    }
}

proptest! {
    /// What we write, the other reads.
    #[test]
    fn written_by_us(value in values()) {
        let text = ours::encode_exact_value(&value).expect("encodes");
        let body = format!("<?xml version=\"1.0\"?><methodResponse><params><param>{text}</param></params></methodResponse>");
        let read = theirs(body.as_bytes()).expect("well-formed");
        prop_assert!(same(&comparable(read), &comparable(value)));
    }

    /// What the other writes, we read.
    #[test]
    fn written_by_them(value in values(), ints in prop::collection::vec(any::<i64>(), 0..3)) {
        let value = Value::Array(vec![value, ints.into()]);
        let tagged = tagged(&value);
        let mut body = b"<?xml version='1.0' encoding='utf-8'?><methodResponse><params><param>".to_vec();
        tagged.write_as_xml(&mut body).expect("memory does not fail");
        body.extend_from_slice(b"</param></params></methodResponse>");
        let read = ours::decode_response::<Value>(&body, &Limits::RESPONSE).expect("well-formed").expect("a value");
        prop_assert!(same(&read, &convert(&tagged)));
    }

    /// Calls as well: the crate's request is one of many spellings that a server meets.
    #[test]
    fn requests(method in "[A-Za-z_.]{1,12}", params in prop::collection::vec(values(), 0..4)) {
        let request = params.iter().fold(xmlrpc::Request::new(&method), |request, value| request.arg(tagged(value)));
        let mut body = Vec::new();
        request.write_as_xml(&mut body).expect("memory does not fail");
        let call = ours::decode_call(&body, &Limits::RESPONSE).expect("a call");
        prop_assert_eq!(call.method, method);
        let sent: Vec<_> = params.iter().map(|value| convert(&tagged(value))).collect();
        prop_assert!(same(&call.params.into(), &sent.into()));
    }
}
