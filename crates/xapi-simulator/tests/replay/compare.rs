//! When two answers are the same.
//!
//! Exact: status, reason, header names, order and values, error codes and their parameters, the members of records
//! and all values, except:
//!
//! * references and uuids count by the name that the recording gives them; dates are any date;
//! * sets and maps have no order;
//! * live figures, identifiers of events, back traces and certificates have any value;
//! * the text of `INTERNAL_ERROR` and of error pages, the messages of storage drivers, and what roles are for;
//! * what was a race on the recorded server, each with a function that says which: either outcome will do.

use serde_json::{Map, Value as Json, json};
use sha2::Digest;
use testdata::Step;
use xenapi_wire::{Limits, Value, xmlrpc};

use crate::names::{Names, find};
use crate::transcode::outcome;
use crate::wire::Reply;
use crate::xva;

const ANY_VALUE: &[&str] = &[
    "agent_start_time",
    "backtrace",
    "certificate",
    "fingerprint",
    "fingerprint_sha1",
    "fingerprint_sha256",
    "generation_id",
    "last_booted_record",
    "mac_seed",
    "server_certificate",
    "timestamp",
    "token",
];

/// Whether a task's record says that it goes on.
pub fn is_pending(body: &[u8]) -> bool {
    match parse(body) {
        Some(json) => result(&json).is_some_and(|r| r.get("status") == Some(&json!("pending"))),
        None => false,
    }
}

fn result(json: &Json) -> Option<&Json> {
    json.get("Value").or_else(|| json.get("result"))
}

/// Finds out which of ours stands for what the recording saw first in this step.
pub fn bind(step: &Step, reply: &Reply, names: &mut Names) {
    if step.method_name.as_deref().is_some_and(|method| method.starts_with("event.")) {
        let recorded = step.response.body();
        names.bind_tokens(&String::from_utf8_lossy(&recorded), &String::from_utf8_lossy(&reply.body));
    }
    if step.binds.is_empty() {
        // Some names are given only later; what failures are about is in order.
        return bind_failure(step, reply, names);
    }
    for ((_, recorded), (_, ours)) in step.response.headers.iter().zip(&reply.headers) {
        bind_text(recorded, ours, names);
    }
    let recorded = step.response.body();
    match (parse(&recorded), parse(&reply.body)) {
        (Some(recorded), Some(ours)) => bind_tree(&recorded, &ours, names),
        _ => bind_text(&String::from_utf8_lossy(&recorded), &String::from_utf8_lossy(&reply.body), names),
    }
}

fn bind_failure(step: &Step, reply: &Reply, names: &mut Names) {
    let list = |body: &[u8]| parse(body).and_then(|json| json.get("ErrorDescription")?.as_array().cloned());
    if let (Some(recorded), Some(ours)) = (list(&step.response.body()), list(&reply.body)) {
        for (recorded, ours) in recorded.iter().zip(&ours) {
            bind_tree(recorded, ours, names);
        }
    }
}

fn bind_text(recorded: &str, ours: &str, names: &mut Names) {
    let (recorded, ours) = (find(recorded), find(ours));
    if recorded.len() == ours.len() {
        recorded.iter().zip(&ours).for_each(|(recorded, ours)| names.bind(recorded, ours));
    }
}

fn bind_tree(recorded: &Json, ours: &Json, names: &mut Names) {
    match (recorded, ours) {
        (Json::String(recorded), Json::String(ours)) => bind_text(recorded, ours, names),
        (Json::Array(recorded), Json::Array(ours)) => {
            let recorded: Vec<(&str, &Json)> =
                recorded.iter().map(|r| (r.as_str().unwrap_or(""), r)).collect();
            let ours: Vec<(&str, &Json)> = ours.iter().map(|o| (o.as_str().unwrap_or(""), o)).collect();
            bind_pairs(recorded, ours, names);
        }
        (Json::Object(recorded), Json::Object(ours)) => {
            if recorded.keys().any(|key| key.starts_with("OpaqueRef:")) {
                let recorded = recorded.iter().map(|(k, v)| (k.as_str(), v)).collect();
                let ours = ours.iter().map(|(k, v)| (k.as_str(), v)).collect();
                return bind_pairs(recorded, ours, names);
            }
            for (key, recorded) in recorded {
                if let Some(ours) = ours.get(key) {
                    bind_tree(recorded, ours, names);
                }
            }
        }
        _ => {}
    }
}

/// Pairs the members of sets and of maps by reference: those known first, then those that look alike, then the rest.
fn bind_pairs(mut recorded: Vec<(&str, &Json)>, mut ours: Vec<(&str, &Json)>, names: &mut Names) {
    let known = |names: &Names, (r, rv): &(&str, &Json), (o, ov): &(&str, &Json)| {
        let by_key = names.get(r).is_some_and(|mapped| mapped == *o);
        let by_ref = rv.get("ref").and_then(Json::as_str).zip(ov.get("ref").and_then(Json::as_str));
        by_key || by_ref.is_some_and(|(r, o)| names.get(r) == Some(o))
    };
    let alike = |_: &Names, (_, rv): &(&str, &Json), (_, ov): &(&str, &Json)| {
        let looks = looks(rv);
        looks.is_some() && looks == self::looks(ov)
    };
    let same = |_: &Names, (r, rv): &(&str, &Json), (o, ov): &(&str, &Json)| r == o && rv == ov;
    let any = |_: &Names, _: &(&str, &Json), _: &(&str, &Json)| true;
    type Test<'t> = &'t dyn Fn(&Names, &(&str, &Json), &(&str, &Json)) -> bool;
    let tests: [Test<'_>; 4] = [&same, &known, &alike, &any];
    for test in tests {
        let mut i = 0;
        while i < recorded.len() {
            match ours.iter().position(|o| test(names, &recorded[i], o)) {
                Some(j) => {
                    let ((rk, rv), (ok, ov)) = (recorded.remove(i), ours.remove(j));
                    bind_text(rk, ok, names);
                    bind_tree(rv, ov, names);
                }
                None => i += 1,
            }
        }
    }
}

/// What tells records apart when their references are new.
fn looks(value: &Json) -> Option<String> {
    let record = value.get("snapshot").unwrap_or(value).as_object()?;
    let keys = ["name_label", "device", "userdevice", "type", "bridge", "name", "number", "protocol", "cls"];
    let parts: Vec<String> =
        keys.iter().map(|key| record.get(*key).map_or_else(String::new, Json::to_string)).collect();
    let class = value.get("class").map_or_else(String::new, Json::to_string);
    let operation = value.get("operation").map_or_else(String::new, Json::to_string);
    Some(format!("{class}{operation}{}", parts.join("|")))
}

/// What is not the same, in words.
pub fn differences(step: &Step, reply: &Reply, names: &Names) -> Vec<String> {
    let expected = &step.response;
    let mut out = Vec::new();
    let mut check = |what: &str, expected: &dyn std::fmt::Debug, actual: &dyn std::fmt::Debug| {
        let (expected, actual) = (format!("{expected:?}"), format!("{actual:?}"));
        if expected != actual {
            out.push(format!("{what}: expected {expected}, got {actual}"));
        }
    };
    check("status", &expected.status, &reply.status);
    check("reason", &expected.reason, &reply.reason);
    check("version", &expected.version, &reply.version);
    if !(leaves_bytes_unread(step) && [expected.end.as_str(), reply.end] == ["fin", "rst"]) {
        check("end", &expected.end, &reply.end);
    }
    let counted = |name: &str| {
        !["task-id", "content-length", "content-disposition", "date"]
            .contains(&name.to_ascii_lowercase().as_str())
    };
    let recorded: Vec<_> = expected
        .headers
        .iter()
        .filter(|(n, _)| counted(n))
        .map(|(n, v)| (n, names.name_recorded(v)))
        .collect();
    let ours: Vec<_> =
        reply.headers.iter().filter(|(n, _)| counted(n)).map(|(n, v)| (n, names.name_ours(v))).collect();
    check("headers", &recorded, &ours);
    // Of error pages, the status is what counts; of live figures, that there is one.
    if expected.status != Some(500) && !is_live(step) {
        bodies(step, reply, names, &mut out);
    }
    out
}

/// Whether a request is longer than the server reads, by a byte. Closing a connection with a byte in it resets it; when
/// the byte is still on its way, the close comes first. The recording saw that, and a longer body reset.
fn leaves_bytes_unread(step: &Step) -> bool {
    const LIMIT: usize = 300 << 10;
    step.request.body().is_some_and(|body| body.len() == LIMIT + 1)
        || step.request.raw().is_some_and(|raw| {
            raw.windows(4)
                .position(|w| w == b"\r\n\r\n")
                .is_some_and(|head| raw.len() - head - 4 == LIMIT + 1)
        })
}

/// Whether a step reads a single field that has any value.
fn is_live(step: &Step) -> bool {
    let method = step.method_name.as_deref().unwrap_or_default();
    let getter = method.split_once(".get_").map(|(class, field)| (class.trim_start_matches("Async."), field));
    getter.is_some_and(|(class, field)| {
        ANY_VALUE.contains(&field) || class == "SR" && field.starts_with("physical_")
    })
}

fn bodies(step: &Step, reply: &Reply, names: &Names, out: &mut Vec<String>) {
    if let (Some(recorded), Some(ours)) = (xva::members(&step.response.body()), xva::members(&reply.body)) {
        let recorded = normal(&recorded, None, &|text| names.name_recorded(text));
        let ours = normal(&ours, None, &|text| names.name_ours(text));
        return diff("", &recorded, &ours, out);
    }
    if let Some(sparse) = step.response.sparse() {
        let digest: String = sha2::Sha256::digest(&reply.body).iter().map(|b| format!("{b:02x}")).collect();
        if reply.body.len() as u64 != sparse.size {
            out.push(format!("body: expected {} bytes, got {}", sparse.size, reply.body.len()));
        } else if digest != sparse.sha256 && without_stamps(&reply.body) != without_stamps(&sparse.to_vec()) {
            out.push("body: other content".into());
        }
        return;
    }
    let recorded = step.response.body();
    if let (Some(recorded), Some(ours)) = (parse(&recorded), parse(&reply.body)) {
        return answers(step, &recorded, &ours, names, out);
    }
    if without_stamps(&recorded) == without_stamps(&reply.body) {
        return;
    }
    match (std::str::from_utf8(&recorded), std::str::from_utf8(&reply.body)) {
        (Ok(recorded), Ok(ours)) => {
            // Ill-formed on purpose: the pieces count, not their order.
            let recorded = pieces(&names.name_recorded(recorded));
            let ours = pieces(&names.name_ours(ours));
            if recorded != ours {
                out.push(format!("body: expected {recorded:?}, got {ours:?}"));
            }
        }
        _ => out.push(format!("body: {} other bytes than the {} expected", reply.body.len(), recorded.len())),
    }
}

const DERIVED: [&str; 3] = ["allowed_operations", "hardware_platform_version", "memory_overhead"];

/// A client that waits for events may see a new VM before the server has filled in what follows from its record, or
/// after. Where the recording saw it before, ours may be seen after.
fn forget_derived(recorded: &[Json], ours: &mut [Json]) {
    // Numbers are text in one of the encodings.
    let is_empty = |value: &Json| value == "0" || *value == json!(0) || *value == json!([]);
    for (recorded, ours) in recorded.iter().zip(ours) {
        let is_new_vm = recorded["class"] == "vm" && recorded["operation"] == "add";
        let is_unfilled = DERIVED.iter().all(|field| is_empty(&recorded["snapshot"][field]));
        if is_new_vm && is_unfilled && recorded["ref"] == ours["ref"] {
            for field in DERIVED {
                ours["snapshot"][field] = recorded["snapshot"][field].clone();
            }
        }
    }
}

/// What is not the same in two answers that could be read.
fn answers(step: &Step, recorded: &Json, ours: &Json, names: &Names, out: &mut Vec<String>) {
    let mut recorded = normal(recorded, None, &|text| names.name_recorded(text));
    let mut ours = normal(ours, None, &|text| names.name_ours(text));
    if let (Some(recorded), Some(ours)) = (events(&mut recorded), events(&mut ours)) {
        recorded.retain(|event| !ends_a_hidden_task(event));
        ours.retain(|event| !ends_a_hidden_task(event));
        if step.read_after_step.is_some() {
            forget_derived(recorded, ours);
        }
    }
    diff("", &recorded, &ours, out);
}

/// The events of a batch.
fn events(answer: &mut Json) -> Option<&mut Vec<Json>> {
    // In XML-RPC, in JSON-RPC, and without an envelope.
    let envelope = ["Value", "result", "ok"].into_iter().find(|key| answer.get(key).is_some())?;
    answer.pointer_mut(&format!("/{envelope}/events"))?.as_array_mut()
}

/// Whether an event tells of the end of a task that no answer ever showed. The recorded server makes such tasks for
/// itself whenever it likes; its counts of tasks are left aside for the same reason.
fn ends_a_hidden_task(event: &Json) -> bool {
    event["class"] == "task" && event["operation"] == "del" && event["ref"] == "{ref}"
}

/// An error page inside a body, or text that cannot be read, in pieces.
fn pieces(text: &str) -> Vec<String> {
    let text = match text.find("<h1> Additional information </h1>") {
        Some(at) => &text[..at],
        None => text,
    };
    let mut pieces: Vec<String> =
        text.split('<').filter(|piece| !piece.starts_with("content-length:")).map(str::to_owned).collect();
    pieces.sort();
    pieces
}

/// A VHD without the time, identifier and checksum of its footers.
fn without_stamps(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for at in (0..bytes.len().saturating_sub(511)).step_by(512) {
        if bytes[at..].starts_with(b"conectix") {
            out[at + 24..at + 28].fill(0);
            out[at + 64..at + 84].fill(0);
        }
    }
    out
}

/// A body as a tree, if it is one.
pub fn parse(body: &[u8]) -> Option<Json> {
    if body.starts_with(b"{") {
        return serde_json::from_slice(body).ok();
    }
    if !body.starts_with(b"<?xml") {
        return None;
    }
    // The value inside, without the envelope's meaning: Status and ErrorDescription are compared like all else.
    let text = std::str::from_utf8(body).ok()?;
    let start = text.find("<value>")?;
    let end = text.rfind("</value>")? + "</value>".len();
    let value: Value = xmlrpc::decode_value(&text[start..end], &Limits::RESPONSE).ok()?;
    Some(tree(&value))
}

pub fn tree(value: &Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Bool(b) => json!(b),
        Value::Int(n) => json!(n),
        Value::Double(x) => json!({"double": x.to_string()}),
        Value::String(text) => json!(text),
        Value::DateTime(date) => json!(date.as_str()),
        Value::Array(items) => Json::Array(items.iter().map(tree).collect()),
        Value::Struct(map) => Json::Object(map.iter().map(|(k, v)| (k.clone(), tree(v))).collect()),
    }
}

/// The part of a value that counts.
fn normal(value: &Json, key: Option<&str>, name: &dyn Fn(&str) -> String) -> Json {
    if key.is_some_and(|key| ANY_VALUE.contains(&key)) && !value.is_object() && !value.is_array() {
        return json!("<any>");
    }
    match value {
        Json::String(text) => match saved(text) {
            Some(saved) => normal(&saved, None, name),
            None => json!(name(text)),
        },
        Json::Array(items) => {
            let mut items: Vec<Json> = items.iter().map(|item| normal(item, None, name)).collect();
            let code = items.first().and_then(Json::as_str).unwrap_or_default().to_owned();
            if code == "INTERNAL_ERROR" || code.starts_with("SR_BACKEND_FAILURE_") {
                items.truncate(1);
            }
            if !matches!(key, Some("ErrorDescription" | "error" | "error_info" | "data")) {
                items.sort_by_cached_key(Json::to_string);
            }
            Json::Array(items)
        }
        Json::Object(map) => {
            let disk = map.contains_key("physical_size");
            let mut members: Vec<(String, Json)> = Vec::new();
            for (key, value) in map {
                let value = match key.as_str() {
                    "physical_utilisation" | "physical_size" if disk => json!("<any>"),
                    "task" if map.contains_key("vbd_metrics") => json!("<any>"),
                    // What a role is for is told in words of our own.
                    "name_description" if map.contains_key("subroles") && value != "" => json!("<words>"),
                    "data" if is_internal(map) => json!("<any>"),
                    "id" if map.contains_key("operation") => json!("<any>"),
                    key => normal(value, Some(key), name),
                };
                members.push((name(key), value));
            }
            // Several references may have one name: then the records have no order either.
            members.sort_by_cached_key(|(name, value)| (name.clone(), value.to_string()));
            let mut out = Map::new();
            for (mut named, value) in members {
                while out.contains_key(&named) {
                    named.push('+');
                }
                out.insert(named, value);
            }
            Json::Object(out)
        }
        other => other.clone(),
    }
}

/// A record in the notation of XAPI's database, as `VM.snapshot_metadata` has it, as a tree.
fn saved(text: &str) -> Option<Json> {
    if !text.starts_with("(('") {
        return None;
    }
    let mut record = Map::new();
    for pair in list(text)? {
        let [key, value] = <[String; 2]>::try_from(list(&pair)?).ok()?;
        let value = saved(&value).or_else(|| list(&value).map(Json::from)).unwrap_or(Json::from(value));
        record.insert(key, value);
    }
    Some(Json::Object(record))
}

/// The members of `(...)`: texts in quotation marks, and lists as they are.
fn list(text: &str) -> Option<Vec<String>> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let (mut items, mut item, mut depth) = (Vec::new(), String::new(), 0);
    let (mut is_quoted, mut chars) = (false, inner.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let next = chars.next()?;
                if depth > 0 {
                    item.push(c);
                }
                item.push(next);
                continue;
            }
            '\'' => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => depth -= 1,
            _ => {}
        }
        match c {
            ' ' if depth == 0 && !is_quoted => items.push(std::mem::take(&mut item)),
            '\'' if depth == 0 => {}
            c => item.push(c),
        }
    }
    if !inner.is_empty() {
        items.push(item);
    }
    Some(items)
}

/// Finds out which of ours stands for what in an answer in the other encoding, and what is not the same.
pub fn values(step: &Step, reply: &Reply, names: &mut Names) -> Vec<String> {
    let recorded = step.response.body();
    names.bind_tokens(&String::from_utf8_lossy(&recorded), &String::from_utf8_lossy(&reply.body));
    let Some(recorded) = outcome(&recorded) else { return vec!["the recording has no outcome".to_owned()] };
    let Some(ours) = outcome(&reply.body) else {
        return vec![format!("no outcome, but {:?}", String::from_utf8_lossy(&reply.body))];
    };
    bind_tree(&recorded, &ours, names);
    let mut out = Vec::new();
    if !is_live(step) {
        answers(step, &recorded, &ours, names, &mut out);
    }
    out
}

fn is_internal(error: &Map<String, Json>) -> bool {
    let code = error.get("message").and_then(Json::as_str).unwrap_or_default();
    code == "INTERNAL_ERROR" || code.starts_with("SR_BACKEND_FAILURE_")
}

fn diff(path: &str, expected: &Json, actual: &Json, out: &mut Vec<String>) {
    match (expected, actual) {
        (Json::Object(expected), Json::Object(actual)) => {
            let keys: std::collections::BTreeSet<&String> = expected.keys().chain(actual.keys()).collect();
            for key in keys {
                let path = format!("{path}/{key}");
                match (expected.get(key), actual.get(key)) {
                    (Some(expected), Some(actual)) => diff(&path, expected, actual, out),
                    (Some(expected), None) => out.push(format!("{path}: missing, expected {expected}")),
                    (None, Some(actual)) => out.push(format!("{path}: too much: {actual}")),
                    (None, None) => {}
                }
            }
        }
        (Json::Array(expected), Json::Array(actual)) if expected.len() == actual.len() => {
            for (i, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                diff(&format!("{path}[{i}]"), expected, actual, out);
            }
        }
        _ if expected != actual => out.push(format!("{path}: expected {expected}, got {actual}")),
        _ => {}
    }
}
