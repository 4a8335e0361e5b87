//! XML-RPC as XAPI speaks it.
//!
//! | Type | On the wire |
//! |---|---|
//! | text, enum, reference, **integer** | `<value>text</value>`, untagged |
//! | [`I4`](crate::I4) | `<i4>` |
//! | boolean, float, date | `<boolean>1`, `<double>0.5`, `<dateTime.iso8601>20261121T10:11:12Z` |
//! | set; map and record | `<array>`; `<struct>` |
//! | void | `<value></value>` |
//!
//! Every answer but that of `system.listMethods` is a struct of `Status` and `Value` or
//! `ErrorDescription`; XAPI itself never sends `<fault>`, other servers and plugins do.

mod scan;
mod sink;
mod window;

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

use self::scan::{Reading, Scanner};
use self::sink::{Manner, XmlSink};
use self::window::Window;
use crate::codec::{Event, Source, read, read_with, write};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::{Failure, Limits, Value};

/// A call as a server reads it.
#[derive(Clone, PartialEq)]
pub struct IncomingCall {
    /// The method, with `Async.` before it if it was there.
    pub method: String,
    /// All parameters; the session, if the method takes one, is the first.
    pub params: Vec<Value>,
}

impl fmt::Debug for IncomingCall {
    /// Parameters may be passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingCall")
            .field("method", &self.method)
            .field("params", &self.params.len())
            .finish()
    }
}

/// Writes a call. The session goes before `params`, which must serialize as a sequence.
///
/// # Errors
/// Texts that XML cannot carry and map keys that XAPI cannot read are refused, since XAPI would
/// drop or change them, or answer HTTP 500.
pub fn encode_call<P: Serialize + ?Sized>(
    method: &str,
    session: Option<&str>,
    params: &P,
) -> Result<String, EncodeError> {
    let mut sink = XmlSink::for_params();
    sink.raw("<?xml version=\"1.0\"?><methodCall><methodName>");
    sink.escaped(method)?;
    sink.raw("</methodName><params>");
    if let Some(session) = session {
        sink.raw("<param><value>");
        sink.escaped(session)?;
        sink.raw("</value></param>");
    }
    sink.params(params)?;
    sink.raw("</params></methodCall>");
    Ok(sink.out)
}

/// Reads a call, as strictly as XAPI: what it answers with HTTP 500 is an error here.
///
/// Like XAPI it takes comments, CDATA sections, character references, a byte order mark, a document
/// type and text after the end; white space before the XML declaration, unknown type tags, empty
/// member names and dates, control characters and invalid UTF-8 it does not take.
///
/// # Errors
/// When the document is malformed or beyond the limits.
pub fn decode_call(body: &[u8], limits: &Limits) -> Result<IncomingCall, DecodeError> {
    let text = limits.request_text(body)?;
    let mut scanner = Scanner::new(text, limits.max_depth, Reading::Request);
    let (method, params) = call(&mut scanner)?;
    Ok(IncomingCall { method, params })
}

/// Reads a call as XAPI writes one to a plugin: leniently.
pub(crate) fn decode_call_of_xapi(text: &str, limits: &Limits) -> Result<IncomingCall, DecodeError> {
    let text = limits.request_text(text.as_bytes())?;
    let mut scanner = Scanner::new(text, limits.max_depth, Reading::Response);
    let (method, params) = call(&mut scanner)?;
    Ok(IncomingCall { method, params })
}

fn call(scanner: &mut Scanner<'_>) -> Result<(String, Vec<Value>), DecodeError> {
    root(scanner, "methodCall", "an XML-RPC call")?;
    if scanner.open("methodName", "a call without methodName")? {
        return Err(scanner.malformed("an empty methodName"));
    }
    let method = scanner.content("methodName")?;
    if method.is_empty() {
        return Err(scanner.malformed("an empty methodName"));
    }
    let mut params = Vec::new();
    if !scanner.open("params", "a call without params")? {
        while scanner.next_is("param")? {
            scanner.open("param", "a param")?;
            params.push(read(scanner).map_err(|e| e.in_element(params.len()))?);
            scanner.close("param")?;
        }
        scanner.close("params")?;
    }
    scanner.close("methodCall")?;
    Ok((method.into_owned(), params))
}

/// Reads an answer: what the call returned, or the failure the server reports.
///
/// Members that a type does not know are passed over without being decoded. A `<fault>` becomes the
/// failure `Fault [code, text]`; the bare result of `system.listMethods` is read like any other.
/// Invalid UTF-8, which XAPI copies from its database as it is, is shown as U+FFFD.
///
/// # Errors
/// When the body is no XML-RPC answer, is cut off or malformed, breaks a limit, or holds a value of
/// another type.
pub fn decode_response<T: DeserializeOwned>(
    body: &[u8],
    limits: &Limits,
) -> Result<Result<T, Failure>, DecodeError> {
    decode_response_with(PhantomData, body, limits)
}

/// [`decode_response`] into what `seed` makes of the result, for those who have something at hand
/// while they read: a cache that keeps only what it does not know yet.
///
/// # Errors
/// As for [`decode_response`].
pub fn decode_response_with<T, S>(
    seed: S,
    body: &[u8],
    limits: &Limits,
) -> Result<Result<T, Failure>, DecodeError>
where
    S: for<'de> DeserializeSeed<'de, Value = T> + Copy,
{
    Ok(match decode_answer(seed, body, limits)? {
        Answer::Returned(value) | Answer::Bare(value) => Ok(value),
        Answer::Failed(failure) => Err(failure),
        Answer::Fault { code, text } => Err(Failure::new(crate::failure::FAULT, [code, text])),
    })
}

/// What XAPI writes before the result of a call.
const SUCCESS: &str = "<?xml version=\"1.0\"?><methodResponse><params><param><value><struct><member><name>Status</name>\
                       <value>Success</value></member><member><name>Value</name>";

/// [`decode_response_with`] of an answer that came in pieces. Each piece is dropped as soon as it has been read, so that
/// text and result are not held both; small answers are read faster in one piece. An answer of another shape than XAPI's
/// successes is put together first.
///
/// # Errors
/// As for [`decode_response`].
pub fn decode_pieces_with<T, S, P>(
    seed: S,
    pieces: impl IntoIterator<Item = P>,
    limits: &Limits,
) -> Result<Result<T, Failure>, DecodeError>
where
    S: for<'de> DeserializeSeed<'de, Value = T> + Copy,
    P: AsRef<[u8]>,
{
    let pieces: VecDeque<P> = pieces.into_iter().collect();
    let size = pieces.iter().map(|piece| piece.as_ref().len()).sum();
    limits.check_size(size)?;
    let is_success = pieces.front().is_some_and(|piece| piece.as_ref().starts_with(SUCCESS.as_bytes()));
    if !is_success || pieces.len() == 1 {
        let mut body = Vec::with_capacity(size);
        pieces.into_iter().for_each(|piece| body.extend_from_slice(piece.as_ref()));
        return decode_response_with(seed, &body, limits);
    }
    let mut window = Window::new(pieces, SUCCESS.len(), 1, limits.max_depth);
    let value = read_with(seed, &mut window)?;
    while let Some(name) = window.key(false)? {
        if ["Status", "Value", "ErrorDescription"].contains(&&*name) {
            return Err(DecodeError::malformed("an answer with two outcomes", window.at()));
        }
        Source::skip(&mut window)?;
    }
    for element in ["param", "params", "methodResponse"] {
        window.step(|scanner, _| scanner.close(element))?;
    }
    window.step(|scanner, _| scanner.end())?;
    Ok(Ok(value))
}

/// What a server may answer.
pub(crate) enum Answer<T> {
    Returned(T),
    /// A value without a `Status`.
    Bare(T),
    Failed(Failure),
    Fault {
        code: String,
        text: String,
    },
}

pub(crate) fn decode_answer<T, S>(seed: S, body: &[u8], limits: &Limits) -> Result<Answer<T>, DecodeError>
where
    S: for<'de> DeserializeSeed<'de, Value = T> + Copy,
{
    let text = limits.response_text(body)?;
    let mut scanner = Scanner::new(&text, limits.max_depth, Reading::Response);
    root(&mut scanner, "methodResponse", "an XML-RPC response")?;
    let answer = if scanner.next_is("fault")? {
        scanner.open("fault", "a fault")?;
        let fault = fault(&mut scanner)?;
        scanner.close("fault")?;
        fault
    } else {
        scanner.open("params", "a response without params")?;
        scanner.open("param", "a response without a value")?;
        let answer = outcome(seed, &mut scanner)?;
        scanner.close("param")?;
        scanner.close("params")?;
        answer
    };
    scanner.close("methodResponse")?;
    scanner.end()?;
    Ok(answer)
}

/// Reads the result of a finished task: `<value>…</value>` as text, or the empty text of a task
/// that returned nothing.
///
/// Text without markup, which clients may set as a task's result, is read as text, and a fragment
/// that was escaped once too often is unescaped first.
///
/// # Errors
/// As for [`decode_response`].
pub fn decode_value<T: DeserializeOwned>(fragment: &str, limits: &Limits) -> Result<T, DecodeError> {
    let fragment = limits.request_text(fragment.as_bytes())?;
    let start = fragment.trim_ascii_start();
    if start.starts_with("&lt;value") {
        let unescaped = scan::unescape(fragment).map_err(|what| DecodeError::malformed(what, 0))?;
        return decode_value(&unescaped, limits);
    }
    if !start.starts_with("<value") {
        return Value::from(fragment).decode();
    }
    let mut scanner = Scanner::new(fragment, limits.max_depth, Reading::Response);
    scanner.skip_misc()?;
    let value = read(&mut scanner)?;
    scanner.end()?;
    Ok(value)
}

/// Writes an answer byte for byte as XAPI does.
///
/// XAPI's way has two flaws, kept here because a stand-in for XAPI must have them: member names are
/// not escaped, so that a map key with `<` or `&` makes ill-formed XML, and control characters are
/// dropped.
///
/// # Errors
/// When the value has no form on the wire.
pub fn encode_response<T: Serialize + ?Sized>(result: Result<&T, &Failure>) -> Result<String, EncodeError> {
    response(result, Manner::Xapi)
}

pub(crate) fn encode_exact_response<T: Serialize + ?Sized>(
    result: Result<&T, &Failure>,
) -> Result<String, EncodeError> {
    response(result, Manner::Exact)
}

fn response<T: Serialize + ?Sized>(
    result: Result<&T, &Failure>,
    manner: Manner,
) -> Result<String, EncodeError> {
    let mut sink = XmlSink::new(manner);
    sink.raw(
        "<?xml version=\"1.0\"?><methodResponse><params><param><value><struct><member><name>Status</name>",
    );
    match result {
        Ok(value) => {
            sink.raw("<value>Success</value></member><member><name>Value</name>");
            write(value, &mut sink)?;
        }
        Err(failure) => {
            sink.raw("<value>Failure</value></member><member><name>ErrorDescription</name>");
            write(failure, &mut sink)?;
        }
    }
    sink.raw("</member></struct></value></param></params></methodResponse>");
    Ok(sink.out)
}

/// Writes an answer that is the bare value, as XAPI answers `system.listMethods`.
///
/// # Errors
/// As for [`encode_response`].
pub fn encode_bare_response<T: Serialize + ?Sized>(value: &T) -> Result<String, EncodeError> {
    let mut sink = XmlSink::new(Manner::Xapi);
    sink.raw("<?xml version=\"1.0\"?><methodResponse><params><param>");
    write(value, &mut sink)?;
    sink.raw("</param></params></methodResponse>");
    Ok(sink.out)
}

/// Writes a `<value>` alone, as XAPI stores the result of a task.
///
/// # Errors
/// As for [`encode_response`].
pub fn encode_value<T: Serialize + ?Sized>(value: &T) -> Result<String, EncodeError> {
    let mut sink = XmlSink::new(Manner::Xapi);
    write(value, &mut sink)?;
    Ok(sink.out)
}

/// Writes a `<value>` alone, well-formed whatever it holds.
///
/// # Errors
/// As for [`encode_call`].
pub fn encode_exact_value<T: Serialize + ?Sized>(value: &T) -> Result<String, EncodeError> {
    let mut sink = XmlSink::new(Manner::Exact);
    write(value, &mut sink)?;
    Ok(sink.out)
}

/// The characters of XML 1.0, section 2.2.
fn is_char(c: char) -> bool {
    !matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

/// Reads the root's opening tag, and says what is there instead when it is another one.
fn root(scanner: &mut Scanner<'_>, name: &'static str, expected: &'static str) -> Result<(), DecodeError> {
    scanner.prolog()?;
    if scanner.next_is(name)? {
        scanner.open(name, "no root element")?;
        return Ok(());
    }
    let cut_off = scanner.malformed("no root element");
    if *cut_off.kind() == DecodeErrorKind::Truncated && scanner.rest().starts_with('<') {
        return Err(cut_off);
    }
    let found = crate::error::nature_of(scanner.rest());
    Err(DecodeError::new(DecodeErrorKind::NotRpc { expected, found }, scanner.mark().0))
}

/// Reads a value that is a struct with a `Status`, or else is the result itself.
fn outcome<'de, T, S>(seed: S, scanner: &mut Scanner<'de>) -> Result<Answer<T>, DecodeError>
where
    S: DeserializeSeed<'de, Value = T> + Copy,
{
    let start = scanner.mark();
    if scanner.event()? != Event::Struct {
        scanner.back_to(start);
        return read_with(seed, scanner).map(Answer::Bare);
    }
    let (mut status, mut value, mut failure) = (None, None, None);
    let mut first = true;
    while let Some(name) = scanner.key(std::mem::take(&mut first))? {
        let here = scanner.mark();
        match &*name {
            "Status" => status = Some(read::<String, _>(scanner)?),
            "Value" if status.as_deref() == Some("Success") => {
                value = Some(Read::Done(read_with(seed, scanner)?));
            }
            "Value" => {
                scanner.skip()?;
                value = Some(Read::At(here));
            }
            "ErrorDescription" => failure = Some(description(scanner)?),
            _ => scanner.skip()?,
        }
    }
    let end = scanner.mark();
    match (status.as_deref(), value, failure) {
        (Some("Success"), Some(Read::Done(value)), _) => Ok(Answer::Returned(value)),
        (Some("Success"), Some(Read::At(mark)), _) => {
            scanner.back_to(mark);
            let value = read_with(seed, scanner)?;
            scanner.back_to(end);
            Ok(Answer::Returned(value))
        }
        (Some("Failure"), _, Some(failure)) => Ok(Answer::Failed(failure)),
        (Some("Failure"), _, None) => Err(scanner.malformed("a failure without ErrorDescription")),
        (Some("Success"), None, _) => Err(scanner.malformed("a success without Value")),
        // A result that happens to be a struct.
        (None, None, None) => {
            scanner.back_to(start);
            read_with(seed, scanner).map(Answer::Bare)
        }
        _ => Err(scanner.malformed("a response whose Status is neither Success nor Failure")),
    }
}

enum Read<T> {
    Done(T),
    /// Met before it was known whether the call had succeeded.
    At((usize, usize)),
}

/// A list of texts; a server that tags a number or sends a single text is understood too.
fn description(scanner: &mut Scanner<'_>) -> Result<Failure, DecodeError> {
    let value: Value = read(scanner)?;
    Ok(Failure::from_value(&value))
}

fn fault<T>(scanner: &mut Scanner<'_>) -> Result<Answer<T>, DecodeError> {
    let value: Value = read(scanner)?;
    let member = |name| value.get(name).map_or_else(String::new, crate::failure::text_of);
    Ok(Answer::Fault { code: member("faultCode"), text: member("faultString") })
}
