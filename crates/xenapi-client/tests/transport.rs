//! What a network and a broken server do to calls.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::{SESSION, calls, client, config, in_process, listen, session_calls, text};
use xenapi_client::{Client, Config, Encoding, ErrorKind, Limits};
use xenapi_wire::{Failure, Value};

fn counter() -> (Arc<AtomicUsize>, impl Fn() -> usize) {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    (count, move || seen.load(Ordering::SeqCst))
}

#[tokio::test]
async fn calls_share_a_connection_and_a_session() {
    let (opened, connections) = counter();
    let (logins, seen_logins) = counter();
    let client = client(move |mut peer, _| {
        opened.fetch_add(1, Ordering::SeqCst);
        let logins = Arc::clone(&logins);
        async move {
            while let Some(head) = peer.head().await {
                assert!(head.bytes <= 1_006, "{head:?}");
                peer.answer_call(&head, |method, params| {
                    if method == "session.login_with_password" {
                        logins.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(params, [text("root"), text("hunter2"), text("1.0"), text("xenapi-rs")]);
                    }
                    session_calls(method).unwrap_or_else(|| Ok(params[0].clone()))
                })
                .await;
            }
        }
    });
    for _ in 0..5 {
        let echoed = client.call_dynamic("host.echo", &[]).await.unwrap();
        assert_eq!(echoed, text(SESSION), "the session goes before the parameters");
    }
    assert_eq!((connections(), seen_logins()), (1, 1));

    let many = (0..20).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.call_dynamic("host.echo", &[]).await })
    });
    for call in many.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    assert_eq!(seen_logins(), 1);
}

#[tokio::test]
async fn concurrent_calls_are_bounded() {
    let (now, _) = counter();
    let (most, seen_most) = counter();
    let limits = Limits { concurrent_calls: 3, ..Limits::default() };
    let script = move |mut peer: support::Peer, _| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        async move {
            while let Some(head) = peer.head().await {
                let count = now.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(count, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(10)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                peer.answer_call(&head, |method, _| session_calls(method).unwrap_or(Ok(text("")))).await;
            }
        }
    };
    let client = Client::over(config().limits(limits), in_process(script)).unwrap();
    let many: Vec<_> = (0..12)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.call_dynamic("VM.get_all", &[]).await })
        })
        .collect();
    for call in many {
        call.await.unwrap().unwrap();
    }
    assert_eq!(seen_most(), 3);
}

/// A host that loses the first answer to `method` after having read the call.
fn forgetful(method: &'static str, calls: Arc<AtomicUsize>) -> Client {
    client(move |mut peer, _| {
        let calls = Arc::clone(&calls);
        async move {
            while let Some(head) = peer.head().await {
                let mut lose = false;
                let body = peer.body(&head).await;
                let called = String::from_utf8_lossy(&body).contains(method);
                if called && calls.fetch_add(1, Ordering::SeqCst) == 0 {
                    lose = true;
                }
                if lose {
                    return;
                }
                let call = xenapi_wire::jsonrpc::decode_call(&body, &xenapi_wire::Limits::REQUEST).unwrap();
                let answer = session_calls(&call.method).unwrap_or(Ok(text("done")));
                let text =
                    xenapi_wire::jsonrpc::encode_response(call.version, &call.id, answer.as_ref()).unwrap();
                peer.answer("200 OK", "application/json", text).await;
            }
        }
    })
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_only_when_that_is_safe() {
    let (count, seen) = counter();
    let client = forgetful("VM.get_record", count);
    assert_eq!(client.call_dynamic("VM.get_record", &[]).await.unwrap(), text("done"));
    assert_eq!(seen(), 2);

    let (count, seen) = counter();
    let client = forgetful("VM.start", count);
    let error = client.call_dynamic("VM.start", &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    assert_eq!(seen(), 1, "a call that changes something must not be sent twice");
    let shown = error.to_string();
    assert!(shown.contains("VM.start") && shown.contains("http://10.0.0.1"), "{shown}");
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced_even_for_unsafe_calls() {
    let (count, seen) = counter();
    let client = client(move |mut peer, _| {
        let count = Arc::clone(&count);
        async move {
            // One answer for each connection, which then closes although it said keep-alive.
            if let Some(head) = peer.head().await {
                peer.answer_call(&head, |method, _| {
                    count.fetch_add(usize::from(method == "VM.start"), Ordering::SeqCst);
                    session_calls(method).unwrap_or(Ok(text("")))
                })
                .await;
            }
        }
    });
    for _ in 0..3 {
        client.call_dynamic("VM.start", &[]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(seen(), 3);
}

#[tokio::test]
async fn a_hanging_host_ends_with_the_deadline() {
    for (method, kind) in [("VM.get_all", ErrorKind::Timeout), ("VM.start", ErrorKind::OutcomeUnknown)] {
        let client = client(move |mut peer, _| async move {
            while let Some(head) = peer.head().await {
                let body = peer.body(&head).await;
                if String::from_utf8_lossy(&body).contains("login_with_password") {
                    let answer = format!("{{\"jsonrpc\":\"2.0\",\"result\":\"{SESSION}\",\"id\":1}}");
                    peer.answer("200 OK", "application/json", answer).await;
                } else {
                    std::future::pending::<()>().await;
                }
            }
        });
        let started = Instant::now();
        let error =
            client.with_deadline(Duration::from_millis(300)).call_dynamic(method, &[]).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(error.to_string().contains(method), "{error}");
    }
}

#[tokio::test]
async fn a_call_that_waits_for_its_turn_has_not_happened() {
    let (started, seen) = counter();
    let script = move |mut peer: support::Peer, _| {
        let started = Arc::clone(&started);
        async move {
            while let Some(head) = peer.head().await {
                let mut hang = false;
                peer.answer_call(&head, |method, _| {
                    hang = method == "session.login_with_password";
                    session_calls(method).unwrap_or_else(|| {
                        started.fetch_add(1, Ordering::SeqCst);
                        Ok(text(""))
                    })
                })
                .await;
                if hang {
                    std::future::pending::<()>().await;
                }
            }
        }
    };
    let limits = Limits { concurrent_calls: 1, ..Limits::default() };
    let client = Client::over(config().limits(limits), in_process(script)).unwrap();
    client.login().await.unwrap();
    let first = client.clone();
    let first = tokio::spawn(async move { first.call_dynamic("VM.clean_shutdown", &[]).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let second = client.with_deadline(Duration::from_millis(100));
    let error = second.call_dynamic("VM.start", &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("not the call's turn"), "{error}");
    first.abort();
    assert_eq!(seen(), 0);
}

#[tokio::test]
async fn a_server_without_json_is_spoken_to_in_xml() {
    for (status, content_type, page) in [
        ("404 Not Found", "text/html", "<html>not here</html>"),
        ("500 Internal Error", "text/html", "<html><h1>HTTP 500</h1></html>"),
        ("200 OK", "text/html", "<html>welcome</html>"),
        ("200 OK", "text/xml", "<?xml version=\"1.0\"?><methodResponse/>"),
    ] {
        let (probes, seen) = counter();
        let client = client(move |mut peer, _| {
            let probes = Arc::clone(&probes);
            async move {
                while let Some(head) = peer.head().await {
                    if head.path() == "/jsonrpc" {
                        probes.fetch_add(1, Ordering::SeqCst);
                        peer.body(&head).await;
                        peer.answer(status, content_type, page).await;
                        continue;
                    }
                    peer.answer_call(&head, |method, _| session_calls(method).unwrap_or(Ok(text("fine"))))
                        .await;
                }
            }
        });
        assert_eq!(client.call_dynamic("VM.get_x", &[]).await.unwrap(), text("fine"));
        assert_eq!(client.call_dynamic("VM.get_x", &[]).await.unwrap(), text("fine"));
        assert_eq!(seen(), 1, "it is tried once");
    }
}

async fn answered_with(
    status: &'static str,
    content_type: &'static str,
    body: &'static str,
) -> xenapi_client::Error {
    let script = move |mut peer: support::Peer, _| async move {
        let mut first = true;
        while let Some(head) = peer.head().await {
            if std::mem::take(&mut first) {
                peer.answer_call(&head, |method, _| session_calls(method).unwrap()).await;
            } else {
                peer.body(&head).await;
                peer.answer(status, content_type, body).await;
            }
        }
    };
    let client = Client::over(config(), in_process(script)).unwrap();
    client.call_dynamic("VM.get_all", &[]).await.unwrap_err()
}

#[tokio::test]
async fn what_is_no_answer_is_an_error_with_host_and_method() {
    for (status, content_type, body) in [
        ("200 OK", "text/html", "<html><body>It works!</body></html>"),
        ("200 OK", "application/json", "{\"jsonrpc\":\"2.0\",\"result\":[\"a\""),
        ("200 OK", "application/json", ""),
        ("200 OK", "application/json", "{\"jsonrpc\":\"2.0\",\"result\":\"other call\",\"id\":77}"),
        (
            "500 Internal Error",
            "text/html",
            "<html><body><h1>HTTP 500 internal server error</h1></body></html>",
        ),
        ("302 Found", "text/html", ""),
    ] {
        let error = answered_with(status, content_type, body).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{body}: {error}");
        let shown = error.to_string();
        assert!(shown.contains("VM.get_all") && shown.contains("http://10.0.0.1"), "{shown}");
        assert!(!shown.contains('<'), "{shown}");
    }
}

#[tokio::test]
async fn nesting_without_end_is_an_error() {
    let deep = format!("{{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}", "[".repeat(200_000));
    let error = answered_with("200 OK", "application/json", Box::leak(deep.into_boxed_str())).await;
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    let shown = error.to_string();
    assert!(shown.contains("VM.get_all") && shown.contains("http://10.0.0.1"), "{shown}");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let limits = Limits { response_bytes: 1 << 20, ..Limits::default() };
    let script = |mut peer: support::Peer, _| async move {
        while let Some(head) = peer.head().await {
            peer.body(&head).await;
            peer.write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n").await;
            for _ in 0..1_000 {
                peer.write([b' '; 4096]).await;
            }
        }
    };
    let client = Client::over(config().limits(limits), in_process(script)).unwrap();
    let error = client.login().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    assert!(error.to_string().contains("1048576"), "{error}");
}

#[tokio::test]
async fn calls_that_xapi_would_not_read_are_not_sent() {
    let client = client(calls(|_, _| panic!("nothing may be sent")));
    let error = client.call_dynamic("VM.set_x", &[text(&"x".repeat(400_000))]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test]
async fn unreachable_hosts() {
    let refused = {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        format!("http://127.0.0.1:{port}")
    };
    for (url, hint) in [
        (refused.as_str(), "connection refused"),
        ("http://no-such-host.invalid", "cannot be resolved"),
        ("unix:/no/such/socket", "path of the socket"),
    ] {
        let error = Client::connect(Config::new(url, "root", "hunter2").unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        let shown = error.to_string();
        assert!(shown.contains(hint) && shown.contains(url), "{shown}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("xapi");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        calls(|_, _| Ok(text("local")))(support::Peer::new(stream), String::new()).await;
    });
    let config = Config::new(&format!("unix:{}", path.display()), "root", "").unwrap();
    let client = Client::connect(config).await.unwrap();
    assert_eq!(client.call_dynamic("VM.get_x", &[]).await.unwrap(), text("local"));
}

/// Everything that is logged, at the most talkative level.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_names_the_call_and_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let client = client(calls(|method, params| match method {
        "VM.start" => Err(Failure::new("SESSION_INVALID", [params[0].as_str().unwrap()])),
        _ => Ok(text("")),
    }));
    client.call_dynamic("secret.create", &[text("other secret")]).await.unwrap();
    client.call_dynamic("VM.start", &[]).await.unwrap_err();
    client.close().await.unwrap();
    drop(guard);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for said in [
        "xenapi.call",
        "method=\"secret.create\"",
        "duration_ms=",
        "outcome=\"ok\"",
        "outcome=\"SESSION_INVALID\"",
        "http://10.0.0.1",
    ] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
    for secret in ["hunter2", "other secret", SESSION] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn what_listens_but_is_no_host() {
    let port = listen(None, |mut peer| async move {
        peer.fill().await;
        peer.write("220 mail.example.org ESMTP\r\n").await;
        peer.until_closed().await;
    })
    .await;
    let config = Config::new(&format!("http://127.0.0.1:{port}"), "root", "x").unwrap();
    let error = Client::connect(config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    assert!(error.to_string().contains("does not speak HTTP"), "{error}");

    for greeting in ["", "220 mail.example.org ESMTP\r\n"] {
        let port = listen(None, move |mut peer| async move { peer.write(greeting).await }).await;
        let config = Config::new(&format!("http://127.0.0.1:{port}"), "root", "x").unwrap();
        let error = Client::connect(config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    }
}

#[tokio::test]
async fn failures_come_through_in_both_encodings() {
    for encoding in [Encoding::JsonRpc, Encoding::XmlRpc] {
        let script =
            calls(|_, _| Err::<Value, _>(Failure::new("VM_BAD_POWER_STATE", ["r", "halted", "running"])));
        let client = Client::over(config().encoding(encoding), in_process(script)).unwrap();
        let error = client.call_dynamic("VM.start", &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failure);
        assert_eq!(error.failure().unwrap().params, ["r", "halted", "running"]);
        assert!(error.is("VM_BAD_POWER_STATE"));
    }
}

#[tokio::test]
async fn another_seed_is_tried_when_the_first_is_down() {
    let script = calls(|_, _| Ok(text("here")));
    let up = in_process(script);
    let connector = xenapi_client::private_connect_fn(move |endpoint| {
        let opening = (endpoint.host() != Some("10.0.0.1")).then(|| up.connect(endpoint));
        async move {
            match opening {
                Some(opening) => opening.await,
                None => Err(std::io::ErrorKind::HostUnreachable.into()),
            }
        }
    });
    use xenapi_client::Connect;
    let config = config().seed("http://10.0.0.2").unwrap();
    let client = Client::over(config, connector).unwrap();
    assert_eq!(client.call_dynamic("VM.get_x", &[]).await.unwrap(), text("here"));
    assert_eq!(client.endpoint().to_string(), "http://10.0.0.2");
}
