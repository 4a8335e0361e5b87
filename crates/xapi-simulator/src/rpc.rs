//! RPC bodies: what is asked, and how the answer is spelled.

use serde::ser::{Serialize, SerializeMap, Serializer};
use xenapi_wire::jsonrpc::{Id, Version};
use xenapi_wire::{DecodeError, EncodeError, Failure, I4, Limits, Value, jsonrpc, xmlrpc};

/// A call as it came, whatever the encoding.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) params: Vec<Value>,
    /// What its headers have for `other_config` of its task.
    pub(crate) task_keys: Vec<(String, String)>,
}

/// What a call ended with.
pub(crate) type Outcome = Result<Answer, Failure>;

/// A result with what its encoding needs to know.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The usual kind.
    Value(Value),
    /// `system.listMethods`: XML-RPC sends it without `Status`.
    Bare(Value),
    /// The batch of `event.from`, whose counts are XAPI's only tagged integers.
    Batch(Value),
}

/// The encoding of a request, which is that of its answer.
#[derive(Debug)]
pub(crate) enum Encoding {
    Xml,
    Json(Version, Id),
}

impl Encoding {
    pub(crate) fn content_type(&self) -> &'static str {
        match self {
            Self::Xml => "text/xml",
            Self::Json(..) => "application/json",
        }
    }
}

/// Reads a call sent to a path.
pub(crate) fn decode(path: &str, body: &[u8]) -> Result<(Encoding, Request), DecodeError> {
    if path.starts_with("/jsonrpc") {
        let call = jsonrpc::decode_call(body, &Limits::REQUEST)?;
        let request = Request { method: call.method, params: call.params, task_keys: Vec::new() };
        return Ok((Encoding::Json(call.version, call.id), request));
    }
    let call = xmlrpc::decode_call(body, &Limits::REQUEST)?;
    Ok((Encoding::Xml, Request { method: call.method, params: call.params, task_keys: Vec::new() }))
}

/// Writes the answer.
pub(crate) fn encode(encoding: &Encoding, outcome: &Outcome) -> Result<String, EncodeError> {
    match (encoding, outcome) {
        (Encoding::Xml, Ok(Answer::Bare(value))) => xmlrpc::encode_bare_response(value),
        (Encoding::Xml, outcome) => xmlrpc::encode_response(outcome.as_ref()),
        (Encoding::Json(version, id), outcome) => jsonrpc::encode_response(*version, id, outcome.as_ref()),
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) | Self::Bare(value) => value.serialize(serializer),
            Self::Batch(batch) => {
                let members = batch.as_struct().into_iter().flatten();
                let mut map = serializer.serialize_map(None)?;
                for (name, value) in members {
                    match value.as_struct() {
                        Some(counts) => map.serialize_entry(name, &Counts(counts))?,
                        None => map.serialize_entry(name, value)?,
                    }
                }
                map.end()
            }
        }
    }
}

struct Counts<'a>(&'a std::collections::BTreeMap<String, Value>);

impl Serialize for Counts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let count =
            |value: &Value| I4(value.as_int().and_then(|n| i32::try_from(n).ok()).unwrap_or(i32::MAX));
        serializer.collect_map(self.0.iter().map(|(class, value)| (class, count(value))))
    }
}
