//! What the fuzz targets do, here so that the tests can run it too.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::de::IgnoredAny;

use crate::{DateTime, DecodeErrorKind, EncodeError, Failure, Limits, Value, jsonrpc, plugin, xmlrpc};

/// Decodes bytes in every way there is. Nothing may panic.
pub fn decode_anything(bytes: &[u8]) {
    let limits = &Limits { max_bytes: 1 << 20, max_depth: 64 };
    let _ = xmlrpc::decode_call(bytes, limits);
    let _ = xmlrpc::decode_response::<Value>(bytes, limits);
    let _ = xmlrpc::decode_response::<BTreeMap<String, IgnoredAny>>(bytes, limits);
    let _ = xmlrpc::decode_response::<BTreeMap<i64, Vec<Option<f64>>>>(bytes, limits);
    let _ = plugin::decode_response(bytes, limits);
    let _ = jsonrpc::decode_call(bytes, limits);
    let _ = jsonrpc::decode_response::<Value>(bytes, limits);
    let _ = jsonrpc::decode_response::<BTreeMap<String, IgnoredAny>>(bytes, limits);
    // The last byte decides about the pieces, so that a fuzzer can choose.
    pieces(bytes, usize::from(bytes.last().copied().unwrap_or_default()));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = xmlrpc::decode_value::<Value>(text, limits);
        let _ = plugin::PluginCall::decode(text);
    }
}

/// An answer, read in one piece and in pieces of this size: the same value or failure, and whatever is no answer the one
/// way is none the other way.
///
/// # Panics
/// When it is not so.
pub fn pieces(bytes: &[u8], size: usize) {
    let limits = &Limits { max_bytes: 1 << 26, max_depth: 64 };
    let whole = xmlrpc::decode_response::<Value>(bytes, limits);
    let parts = xmlrpc::decode_pieces_with(PhantomData::<Value>, bytes.chunks(size.max(1)), limits);
    match (whole, parts) {
        (Ok(Ok(whole)), Ok(Ok(parts))) => assert!(same(&whole, &parts), "{whole:?} in pieces is {parts:?}"),
        (Ok(Err(whole)), Ok(Err(parts))) => assert_eq!(whole, parts),
        (Err(whole), Err(parts)) => {
            // Where text is no UTF-8, it may be another part of it that is told of.
            if std::str::from_utf8(bytes).is_ok() {
                assert_eq!(whole, parts);
            }
        }
        // Outcomes that follow the first one.
        (_, Err(parts)) if *parts.kind() == DecodeErrorKind::Malformed("an answer with two outcomes") => {}
        (whole, parts) => panic!("{whole:?} in pieces is {parts:?}"),
    }
}

/// A value that came in over XML-RPC goes out and comes in as the same value.
pub fn xmlrpc_roundtrip(bytes: &[u8]) {
    let Ok(call) = xmlrpc::decode_call(bytes, &Limits::REQUEST) else { return };
    // An integer or a date that the caller tagged may be the empty text or text; all else is equal.
    let encoded =
        xmlrpc::encode_call(&call.method, None, &call.params).expect("a decoded call can be encoded");
    let again =
        xmlrpc::decode_call(encoded.as_bytes(), &Limits::RESPONSE).expect("an encoded call can be decoded");
    assert_eq!(again.method, call.method);
    assert!(same(&Value::Array(again.params), &Value::Array(call.params)), "{encoded}");
}

/// A value that came in over JSON-RPC goes out and comes in as the same value.
pub fn jsonrpc_roundtrip(bytes: &[u8]) {
    let Ok(call) = jsonrpc::decode_call(bytes, &Limits::REQUEST) else { return };
    let encoded = jsonrpc::encode_response(call.version, &call.id, Ok(&Value::Array(call.params.clone())))
        .expect("a decoded call can be encoded");
    let again = jsonrpc::decode_response::<Value>(encoded.as_bytes(), &Limits::RESPONSE)
        .expect("an encoded value can be decoded");
    assert_eq!(again.id.as_ref(), Some(&call.id));
    assert!(same(&again.result.expect("a result"), &Value::Array(call.params)), "{encoded}");
}

/// An envelope that reads is written again, and reads as the same: calls with their version and id, answers
/// with their id and result or failure, in both encodings.
pub fn envelope(bytes: &[u8]) {
    const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_depth: 64 };
    if let Ok(call) = jsonrpc::decode_call(bytes, &LIMITS)
        && let Some(text) =
            written(jsonrpc::encode_call(call.version, &call.id, &call.method, None, &call.params))
    {
        let again = jsonrpc::decode_call(text.as_bytes(), &Limits::RESPONSE).expect("what was written reads");
        assert_eq!((again.version, &again.id, &again.method), (call.version, &call.id, &call.method));
        assert!(same(&Value::Array(again.params), &Value::Array(call.params)), "{text}");
    }
    if let Ok(jsonrpc::Response { id: Some(id), result }) = jsonrpc::decode_response::<Value>(bytes, &LIMITS)
    {
        for version in [jsonrpc::Version::V1, jsonrpc::Version::V2] {
            let Some(text) = written(jsonrpc::encode_response(version, &id, result.as_ref())) else {
                continue;
            };
            let again = jsonrpc::decode_response::<Value>(text.as_bytes(), &Limits::RESPONSE);
            let again = again.expect("what was written reads");
            assert_eq!(again.id.as_ref(), Some(&id), "{text}");
            same_outcome(&again.result, &result, &text);
        }
    }
    if let Ok(result) = xmlrpc::decode_response::<Value>(bytes, &LIMITS)
        && let Some(text) = written(xmlrpc::encode_exact_response(result.as_ref()))
    {
        let again = xmlrpc::decode_response::<Value>(text.as_bytes(), &Limits::RESPONSE);
        same_outcome(&again.expect("what was written reads"), &result, &text);
    }
}

/// What was written, if there is a way to write it: answers are read with characters that XML does not have
/// and with empty names and dates, since XAPI copies what is in its database.
fn written(result: Result<String, EncodeError>) -> Option<String> {
    match result {
        Ok(text) => Some(text),
        Err(EncodeError::Character(_) | EncodeError::EmptyKey | EncodeError::EmptyDate) => None,
        Err(error) => panic!("what was read cannot be written: {error}"),
    }
}

fn same_outcome(again: &Result<Value, Failure>, before: &Result<Value, Failure>, text: &str) {
    match (again, before) {
        (Ok(again), Ok(before)) => assert!(same(again, before), "{text}"),
        _ => assert_eq!(again, before, "{text}"),
    }
}

/// A date that reads is written in XAPI's form and reads as the same second.
pub fn datetime(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(date) = text.parse::<DateTime>() else { return };
    let seconds = date.unix_seconds().expect("it was parsed");
    // A zone may carry a date out of the years that can be written.
    if (-62_167_219_200..=253_402_300_799).contains(&seconds) {
        assert_eq!(DateTime::from_unix_seconds(seconds).unix_seconds(), Ok(seconds), "{text}");
    }
}

/// Equality with NaN equal to itself, over XML-RPC an integer to its text, and over JSON-RPC a float that JSON cannot
/// have to its name.
fn same(after: &Value, before: &Value) -> bool {
    match (after, before) {
        (Value::Double(a), Value::Double(b)) => a == b || a.is_nan() && b.is_nan(),
        (Value::String(a), Value::Int(b)) => *a == b.to_string(),
        (Value::String(a), Value::Double(b)) => !b.is_finite() && *a == b.to_string().to_lowercase(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Struct(a), Value::Struct(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && same(a.1, b.1))
        }
        _ => after == before,
    }
}
