//! JSON-RPC 1.0 and 2.0 as XAPI speaks them, at `/jsonrpc`.
//!
//! Integers are numbers with all 64 bits, floats have 17 digits and may be the words `Infinity`,
//! `-Infinity` and `NaN`, dates are text, void is `""`.

mod scan;
mod sink;

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

use self::scan::Scanner;
use self::sink::{JsonSink, Manner};
use crate::codec::{Event, Source, read, read_with, write};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::{Failure, Limits, Value};

/// The version of the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Version {
    /// Requests have no `jsonrpc` member; answers have both `result` and `error`.
    V1,
    /// Requests and answers say `"jsonrpc":"2.0"`.
    #[default]
    V2,
}

/// What connects an answer with its request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Id {
    /// A number.
    Int(i64),
    /// Text.
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl From<i64> for Id {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// A call as a server reads it.
#[derive(Clone, PartialEq)]
pub struct IncomingCall {
    /// The version that the answer must have.
    pub version: Version,
    /// The id that the answer must have.
    pub id: Id,
    /// The method, with `Async.` before it if it was there.
    pub method: String,
    /// All parameters; the session, if the method takes one, is the first. In version 2.0 an object
    /// in place of the array is one parameter, `null` or nothing is none.
    pub params: Vec<Value>,
}

impl fmt::Debug for IncomingCall {
    /// Parameters may be passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingCall")
            .field("version", &self.version)
            .field("id", &self.id)
            .field("method", &self.method)
            .field("params", &self.params.len())
            .finish()
    }
}

/// An answer as a client reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Response<T> {
    /// The id of the request, or 0 when XAPI failed before it had read one.
    pub id: Option<Id>,
    /// What the call returned, or the failure the server reports.
    pub result: Result<T, Failure>,
}

/// Writes a call. The session goes before `params`, which must serialize as a sequence.
///
/// # Errors
/// When the parameters have no form on the wire.
pub fn encode_call<P: Serialize + ?Sized>(
    version: Version,
    id: &Id,
    method: &str,
    session: Option<&str>,
    params: &P,
) -> Result<String, EncodeError> {
    let mut sink = JsonSink::new(Manner::Exact);
    sink.raw(match version {
        Version::V1 => "{\"method\":",
        Version::V2 => "{\"jsonrpc\":\"2.0\",\"method\":",
    });
    sink.quoted(method);
    sink.raw(",\"params\":");
    sink.params(session, params)?;
    finish(sink, id)
}

fn finish(mut sink: JsonSink, id: &Id) -> Result<String, EncodeError> {
    sink.raw(",\"id\":");
    match id {
        Id::Int(number) => sink.raw(&number.to_string()),
        Id::Text(text) => sink.quoted(text),
    }
    sink.raw("}");
    Ok(sink.out)
}

/// Writes an answer byte for byte as XAPI does.
///
/// # Errors
/// When the value has no form on the wire.
pub fn encode_response<T: Serialize + ?Sized>(
    version: Version,
    id: &Id,
    result: Result<&T, &Failure>,
) -> Result<String, EncodeError> {
    let mut sink = JsonSink::new(Manner::Xapi);
    match (version, result) {
        (Version::V1, Ok(value)) => {
            sink.raw("{\"result\":");
            write(value, &mut sink)?;
            sink.raw(",\"error\":null");
        }
        (Version::V1, Err(failure)) => {
            sink.raw("{\"result\":null,\"error\":");
            write(failure, &mut sink)?;
        }
        (Version::V2, Ok(value)) => {
            sink.raw("{\"jsonrpc\":\"2.0\",\"result\":");
            write(value, &mut sink)?;
        }
        (Version::V2, Err(failure)) => {
            sink.raw("{\"jsonrpc\":\"2.0\",\"error\":{\"code\":1,\"message\":");
            sink.quoted(&failure.code);
            sink.raw(",\"data\":");
            write(&failure.params, &mut sink)?;
            sink.raw("}");
        }
    }
    finish(sink, id)
}

/// Reads a call, as strictly as XAPI: what it answers with HTTP 500 is an error here.
///
/// # Errors
/// When the document is malformed or beyond the limits; when the method or the id is missing, the
/// id is neither text nor an integer, or the version is neither absent nor the text `2.0`.
pub fn decode_call(body: &[u8], limits: &Limits) -> Result<IncomingCall, DecodeError> {
    let text = limits.request_text(body)?;
    let mut scanner = Scanner::new(text, limits.max_depth);
    begin(&mut scanner, "a JSON-RPC call")?;
    let (mut version, mut id, mut method, mut params) = (Version::V1, None, None, Value::Nil);
    let mut first = true;
    while let Some(name) = scanner.key(std::mem::take(&mut first))? {
        match &*name {
            "jsonrpc" => match scanner.event()? {
                Event::Text(text) if text == "2.0" => version = Version::V2,
                _ => return Err(scanner.malformed("a version other than 2.0")),
            },
            "method" => match scanner.event()? {
                Event::Text(text) => method = Some(text.into_owned()),
                _ => return Err(scanner.malformed("a method that is not text")),
            },
            "id" => match scanner.event()? {
                Event::Text(text) => id = Some(Id::Text(text.into_owned())),
                Event::Int(number) => id = Some(Id::Int(number)),
                _ => return Err(scanner.malformed("an id that is neither text nor an integer")),
            },
            "params" => params = read(&mut scanner).map_err(|e| e.in_key("params"))?,
            _ => scanner.skip()?,
        }
    }
    scanner.end()?;
    let missing = |name: &str| DecodeError::new(DecodeErrorKind::Missing(name.to_owned()), text.len());
    let params = match (params, version) {
        (Value::Array(params), _) => params,
        (Value::Nil, Version::V2) => Vec::new(),
        (object @ Value::Struct(_), Version::V2) => vec![object],
        _ => {
            return Err(DecodeError::malformed(
                "params of a kind that the version does not have",
                text.len(),
            ));
        }
    };
    let (method, id) = (method.ok_or_else(|| missing("method"))?, id.ok_or_else(|| missing("id"))?);
    Ok(IncomingCall { version, id, method, params })
}

/// Reads an answer of either version.
///
/// The failure may be a list, as in version 1.0; an object with `message` and `data`, as in 2.0; or
/// one of the mixtures that XAPI sends in emergency mode and that its clients are tested with: a
/// list in version 2.0, a code that is text, `data` that is no list.
///
/// # Errors
/// When the body is no JSON-RPC answer, is cut off or malformed, breaks a limit, or holds a value of
/// another type.
pub fn decode_response<T: DeserializeOwned>(
    body: &[u8],
    limits: &Limits,
) -> Result<Response<T>, DecodeError> {
    decode_response_with(PhantomData, body, limits)
}

/// [`decode_response`] into what `seed` makes of the result, for those who have something at hand
/// while they read: a cache that keeps only what it does not know yet.
///
/// # Errors
/// As for [`decode_response`].
pub fn decode_response_with<T, S>(seed: S, body: &[u8], limits: &Limits) -> Result<Response<T>, DecodeError>
where
    S: for<'de> DeserializeSeed<'de, Value = T> + Copy,
{
    let text = limits.response_text(body)?;
    let mut scanner = Scanner::new(&text, limits.max_depth);
    begin(&mut scanner, "a JSON-RPC response")?;
    let (mut id, mut result, mut failure) = (None, None, None);
    let mut first = true;
    while let Some(name) = scanner.key(std::mem::take(&mut first))? {
        match &*name {
            "result" => {
                let start = scanner.mark();
                // What is no such value matters only if the call did not fail: in version 1.0 a
                // failure has a result too, null.
                result = Some(read_with(seed, &mut scanner));
                if let Some(Err(_)) = result {
                    scanner.back_to(start);
                    scanner.skip()?;
                }
            }
            "error" => match read(&mut scanner)? {
                Value::Nil => {}
                error => failure = Some(failure_of(&error)),
            },
            "id" => {
                id = match scanner.event()? {
                    Event::Text(text) => Some(Id::Text(text.into_owned())),
                    Event::Int(number) => Some(Id::Int(number)),
                    Event::Nil => None,
                    _ => return Err(scanner.malformed("an id that is neither text nor an integer")),
                }
            }
            _ => scanner.skip()?,
        }
    }
    scanner.end()?;
    let result = match (failure, result) {
        (Some(failure), _) => Err(failure),
        (None, Some(result)) => Ok(result?),
        (None, None) => {
            return Err(DecodeError::new(DecodeErrorKind::Missing("result".to_owned()), text.len()));
        }
    };
    Ok(Response { id, result })
}

fn failure_of(error: &Value) -> Failure {
    let Value::Struct(members) = error else { return Failure::from_value(error) };
    let member = |name| members.get(name).filter(|value| **value != Value::Nil);
    let text = |name| member(name).map(crate::failure::text_of);
    let params = match member("data") {
        Some(Value::Array(list)) => list.iter().map(crate::failure::text_of).collect(),
        Some(scalar) => vec![crate::failure::text_of(scalar)],
        None => Vec::new(),
    };
    Failure { code: text("message").or_else(|| text("code")).unwrap_or_default(), params }
}

/// Reads the beginning of the one object that a message is.
fn begin(scanner: &mut Scanner<'_>, expected: &'static str) -> Result<(), DecodeError> {
    if scanner.peek() == Some(b'{') {
        scanner.event()?;
        return Ok(());
    }
    let found = match scanner.peek() {
        Some(b'[') => "a JSON array",
        _ => crate::error::nature_of(scanner.rest()),
    };
    Err(DecodeError::new(DecodeErrorKind::NotRpc { expected, found }, scanner.mark().0))
}
