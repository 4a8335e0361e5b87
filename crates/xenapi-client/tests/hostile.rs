//! Servers that are broken or mean harm: an error with the host and the method in it, in time, in bounded
//! memory. Nesting, pages and broken JSON are in `transport.rs`, circles of redirects in `transfers.rs` and
//! `sessions.rs`, swapped certificates in `tls.rs`.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::{SESSION, calls, config, in_process, text};
use xenapi_client::{Client, Encoding, Error, ErrorKind, Limits, fuzzing};
use xenapi_types::{Vm, vm};
use xenapi_wire::{Ref, Value};

const MIB: usize = 1 << 20;

fn names_host_and_method(error: &Error, method: &str) {
    let shown = error.to_string();
    assert!(shown.contains("http://10.0.0.1") && shown.contains(method), "{shown}");
    assert!(shown.len() < 2_000, "an error is for people: {} bytes", shown.len());
}

#[tokio::test]
async fn wrong_types_are_errors_of_the_protocol() {
    let answers = [
        Value::Int(1),
        text("text"),
        Value::Array(vec![text("a"); 3]),
        Value::Struct([("name_label".to_owned(), Value::Array(Vec::new()))].into()),
        Value::Struct([("memory_target".to_owned(), text("much"))].into()),
        Value::Nil,
    ];
    for encoding in [Encoding::JsonRpc, Encoding::XmlRpc] {
        for answer in &answers {
            let answer = answer.clone();
            let script = calls(move |_, _| Ok(answer.clone()));
            let client = Client::over(config().encoding(encoding), in_process(script)).unwrap();
            let vm = Ref::<Vm>::from("OpaqueRef:vm");
            let error = client.record(&vm).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
            names_host_and_method(&error, "VM.get_record");
            let error = client.get_field(&vm, vm::field::OTHER_CONFIG).await;
            if let Err(error) = error {
                assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
            }
        }
    }
}

/// The error of a call to a host that logs anybody in and then answers with these bytes.
async fn answered_in_xml(body: String) -> Error {
    let script = move |mut peer: support::Peer, _| {
        let body = body.clone();
        async move {
            while let Some(head) = peer.head().await {
                let call = peer.body(&head).await;
                if String::from_utf8_lossy(&call).contains("login_with_password") {
                    let answer = format!(
                        "<methodResponse><params><param><value><struct><member><name>Status</name><value>Success\
                         </value></member><member><name>Value</name><value>{SESSION}</value></member></struct>\
                         </value></param></params></methodResponse>"
                    );
                    peer.answer("200 OK", "text/xml", answer).await;
                } else {
                    peer.answer("200 OK", "text/xml", &body).await;
                }
            }
        }
    };
    let client = Client::over(config().encoding(Encoding::XmlRpc), in_process(script)).unwrap();
    client.call_dynamic("VM.get_all", &[]).await.unwrap_err()
}

#[tokio::test]
async fn broken_xml_is_an_error_of_the_protocol() {
    let begin = "<methodResponse><params><param><value><struct><member><name>Status</name><value>Success</value>\
                 </member><member><name>Value</name><value>";
    for body in [
        String::new(),
        begin.to_owned(),
        format!("{begin}<array><data>{}", "<value><array><data>".repeat(100_000)),
        format!("{begin}<i4>99999999999999999999</i4></value></member></struct></value></param></params>"),
        "<!DOCTYPE a [<!ENTITY b \"bbbbbbbb\">]><a>&b;</a>".to_owned(),
        "<html><body>It works!</body></html>".to_owned(),
        "\u{0}".repeat(1_000),
    ] {
        let error = answered_in_xml(body).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        names_host_and_method(&error, "VM.get_all");
    }
}

/// A host that sends `piece` again and again after `head`, with the number of bytes that it could send.
fn endless(head: &'static str, piece: &'static str, pause: Duration) -> (Client, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&sent);
    let script = move |mut peer: support::Peer, _| {
        let sent = Arc::clone(&sent);
        async move {
            let Some(request) = peer.head().await else { return };
            peer.body(&request).await;
            peer.write(head).await;
            while sent.load(Ordering::Relaxed) < 64 * MIB && peer.try_write(piece).await {
                sent.fetch_add(piece.len(), Ordering::Relaxed);
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
        }
    };
    let limits = Limits { response_bytes: MIB, ..Limits::default() };
    (Client::over(config().limits(limits), in_process(script)).unwrap(), seen)
}

#[tokio::test]
async fn answers_without_end_are_not_kept() {
    const BODY: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
    const CHUNKED: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    const HEADERS: &str = "HTTP/1.1 200 OK\r\n";
    let chunk: &'static str = Box::leak(format!("1000\r\n{}\r\n", " ".repeat(4096)).into_boxed_str());
    let spaces: &'static str = Box::leak(" ".repeat(4096).into_boxed_str());
    let headers: &'static str = Box::leak("x-more: and more\r\n".repeat(200).into_boxed_str());
    for (head, piece) in [(BODY, spaces), (CHUNKED, chunk), (HEADERS, headers)] {
        let (client, sent) = endless(head, piece, Duration::ZERO);
        let error = client.login().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        names_host_and_method(&error, "session.login_with_password");
        // The limit, and what fits into the buffers on the way.
        assert!(sent.load(Ordering::Relaxed) < 3 * MIB, "{} bytes", sent.load(Ordering::Relaxed));
    }
}

/// What is no answer to a call: a blob, for which there is more room.
#[tokio::test]
async fn files_without_end_are_not_kept() {
    static PIECE: &[u8] = &[b'x'; MIB];
    let sent = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&sent);
    let script = move |mut peer: support::Peer, _| {
        let sent = Arc::clone(&sent);
        async move {
            while let Some(head) = peer.head().await {
                if head.method == "POST" {
                    peer.answer_call(&head, |method, _| {
                        support::session_calls(method).unwrap_or(Ok(text("")))
                    })
                    .await;
                    continue;
                }
                peer.write("HTTP/1.1 200 OK\r\n\r\n").await;
                while sent.load(Ordering::Relaxed) < 256 * MIB && peer.try_write(PIECE).await {
                    sent.fetch_add(MIB, Ordering::Relaxed);
                }
                return;
            }
        }
    };
    let client = Client::over(config(), in_process(script)).unwrap();
    let error = client.blob(&Ref::from("OpaqueRef:blob")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    assert!(error.to_string().contains("longer than 67108864 bytes"), "{error}");
    assert!(seen.load(Ordering::Relaxed) < 68 * MIB, "{} bytes", seen.load(Ordering::Relaxed));
}

#[tokio::test]
async fn an_answer_that_trickles_ends_with_the_deadline() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
    let (client, _) = endless(head, " ", Duration::from_millis(5));
    let hurried = client.with_deadline(Duration::from_millis(300));
    let error = hurried.login().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    names_host_and_method(&error, "session.login_with_password");
}

/// Recorded answers of `event.from`, damaged in many ways.
#[test]
fn damaged_events_are_read_alike_or_not_at_all() {
    let bodies = |scenario: &str| {
        let steps = testdata::scenario(scenario).steps;
        let of_events = steps.into_iter().filter(|step| step.method_name.as_deref() == Some("event.from"));
        of_events
            .map(|step| step.response.body())
            .filter(|body| body.len() < 20_000)
            .take(12)
            .collect::<Vec<_>>()
    };
    for mut body in ["events_from", "events_from_json"].into_iter().flat_map(bodies) {
        fuzzing::events(&body);
        for at in (0..body.len()).step_by(41) {
            fuzzing::events(&body[..at]);
            for byte in [b'"', b'<', b'0', b'}'] {
                let before = std::mem::replace(&mut body[at], byte);
                fuzzing::events(&body);
                body[at] = before;
            }
        }
    }
}

/// An event that says what it is of after its record, or twice.
#[test]
fn events_in_disorder() {
    let answer = |event: &str| {
        format!(r#"{{"jsonrpc":"2.0","result":{{"events":[{{{event}}}],"token":"1,1"}},"id":1}}"#)
            .into_bytes()
    };
    let snapshot = r#""snapshot":{"uuid":"u"}"#;
    for event in [
        format!(r#""class":"vm",{snapshot},"class":"task","operation":"mod","ref":"r""#),
        format!(r#""class":"vm",{snapshot},"class":"sr","operation":"mod","ref":"r""#),
        format!(r#"{snapshot},"class":"vm","operation":"add","ref":"r""#),
        format!(r#""class":"vm",{snapshot},"operation":"del","ref":"r""#),
        format!(r#""class":"vm","operation":"del","operation":"mod","ref":"r",{snapshot},{snapshot}"#),
    ] {
        fuzzing::events(&answer(&event));
    }
}
