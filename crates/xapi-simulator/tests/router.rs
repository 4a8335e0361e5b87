//! Whatever a client sends, the simulator answers or hangs up: nothing panics. Alone in its process, because a panic of
//! a task is noticed by the hook of all.

#![allow(missing_docs, reason = "a test")]

use std::sync::Mutex;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use testdata::scenario;

static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn request(bytes: &[u8]) -> Result<(), TestCaseError> {
    xapi_simulator::fuzzing::requests(bytes);
    let panics = std::mem::take(&mut *PANICS.lock().unwrap());
    prop_assert!(panics.is_empty(), "{panics:?}");
    Ok(())
}

#[test]
fn nothing_that_is_sent_makes_it_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.lock().unwrap().push(panic.to_string());
        before(panic);
    }));
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(300) });
    let any = prop::collection::vec(any::<u8>(), 0..200);
    runner.run(&any, |bytes| request(&bytes)).unwrap();

    // Recorded calls, whole and damaged: byte for byte what clients send.
    let mut sent = 0;
    for name in ["session_xmlrpc", "session_jsonrpc2", "call_errors", "where", "numbers"] {
        let calls = scenario(name).steps.into_iter().filter(|step| step.method_name.is_some());
        for (step, body) in calls.filter_map(|step| Some((step.transport, step.request.body()?))) {
            let form = if step == "xmlrpc" { 1 } else { 2 };
            let mut bytes = [vec![form], with_session(&body)].concat();
            request(&bytes).unwrap();
            let middle = bytes.len() / 2;
            request(&bytes[..middle]).unwrap();
            bytes[middle] ^= 0x15;
            request(&bytes).unwrap();
            sent += 1;
        }
    }
    assert!(sent > 20, "{sent}");
}

/// The first reference of a call is its session.
fn with_session(body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let Some(at) = text.find("OpaqueRef:") else { return body.to_vec() };
    let end = text[at..].find(['<', '"']).map_or(text.len(), |len| at + len);
    format!("{}$session{}", &text[..at], &text[end..]).into_bytes()
}
