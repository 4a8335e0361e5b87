//! Logging in, staying logged in, finding the coordinator.

mod support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use support::{client, config, in_process, session_calls, text};
use xenapi_client::{Client, ErrorKind, connect_fn};
use xenapi_wire::{Failure, Value};

#[tokio::test]
async fn a_wrong_password_names_user_and_host() {
    let client = client(|mut peer, _| async move {
        while let Some(head) = peer.head().await {
            peer.answer_call(&head, |_, _| {
                Err::<Value, _>(Failure::new(
                    "SESSION_AUTHENTICATION_FAILED",
                    ["root", "Authentication failure"],
                ))
            })
            .await;
        }
    });
    let error = client.login().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credentials);
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("\"root\"") && shown.contains("http://10.0.0.1"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn an_expired_session_is_replaced_once_whatever_the_call() {
    let logins = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&logins);
    let client = client(move |mut peer, _| {
        let logins = Arc::clone(&logins);
        async move {
            while let Some(head) = peer.head().await {
                peer.answer_call(&head, |method, params| match method {
                    "session.login_with_password" => {
                        Ok(text(&format!("OpaqueRef:session-{}", logins.fetch_add(1, Ordering::SeqCst))))
                    }
                    // Only the second session is known.
                    _ if params[0].as_str() == Some("OpaqueRef:session-1") => Ok(text("done")),
                    _ => Err(Failure::new("SESSION_INVALID", [params[0].as_str().unwrap()])),
                })
                .await;
            }
        }
    });
    assert_eq!(client.call_dynamic("VM.start", &[]).await.unwrap(), text("done"));
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_session_that_is_refused_again_and_again_is_an_error_without_the_session() {
    let client = client(|mut peer, _| async move {
        while let Some(head) = peer.head().await {
            peer.answer_call(&head, |method, params| {
                session_calls(method)
                    .unwrap_or_else(|| Err(Failure::new("SESSION_INVALID", [params[0].as_str().unwrap()])))
            })
            .await;
        }
    });
    let error = client.call_dynamic("VM.start", &[]).await.unwrap_err();
    assert!(error.is("SESSION_INVALID"));
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(support::SESSION), "{shown}");
}

/// A pool whose coordinator is 10.0.0.2, which every other host refers to.
fn pool(coordinator: Arc<Mutex<String>>) -> Client {
    let script = move |mut peer: support::Peer, url: String| {
        let coordinator = Arc::clone(&coordinator);
        async move {
            while let Some(head) = peer.head().await {
                let address = coordinator.lock().unwrap().clone();
                peer.answer_call(&head, |method, _| {
                    if url != format!("http://{address}") {
                        return Err(Failure::new("HOST_IS_SLAVE", [address]));
                    }
                    session_calls(method).unwrap_or_else(|| Ok(text(&url)))
                })
                .await;
            }
        }
    };
    Client::over(config(), in_process(script)).unwrap()
}

#[tokio::test]
async fn the_coordinator_is_followed_at_log_in_and_later() {
    let coordinator = Arc::new(Mutex::new("10.0.0.2".to_owned()));
    let client = pool(Arc::clone(&coordinator));
    assert_eq!(client.call_dynamic("VM.start", &[]).await.unwrap(), text("http://10.0.0.2"));
    *coordinator.lock().unwrap() = "10.0.0.3".to_owned();
    assert_eq!(client.call_dynamic("VM.start", &[]).await.unwrap(), text("http://10.0.0.3"));
    assert_eq!(client.endpoint().to_string(), "http://10.0.0.3");
}

#[tokio::test]
async fn hosts_that_refer_to_each_other_are_not_followed_for_ever() {
    let script = |mut peer: support::Peer, url: String| async move {
        while let Some(head) = peer.head().await {
            let other = if url.ends_with('1') { "10.0.0.2" } else { "10.0.0.1" };
            peer.answer_call(&head, |_, _| Err::<Value, _>(Failure::new("HOST_IS_SLAVE", [other]))).await;
        }
    };
    let client = Client::over(config(), in_process(script)).unwrap();
    let (at_log_in, of_a_call) = (client.login(), client.call_dynamic("VM.start", &[]));
    for error in [at_log_in.await.unwrap_err(), of_a_call.await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        let shown = error.to_string();
        assert!(shown.starts_with("session.login_with_password on http://10.0.0."), "{shown}");
    }
}

/// Hosts that let anybody in, and send every call to each other.
#[tokio::test]
async fn calls_are_not_sent_from_host_to_host_for_ever() {
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&asked);
    let script = move |mut peer: support::Peer, url: String| {
        let asked = Arc::clone(&asked);
        async move {
            while let Some(head) = peer.head().await {
                let other = if url.ends_with('1') { "10.0.0.2" } else { "10.0.0.1" };
                peer.answer_call(&head, |method, _| {
                    session_calls(method).unwrap_or_else(|| {
                        asked.fetch_add(1, Ordering::SeqCst);
                        Err(Failure::new("HOST_IS_SLAVE", [other]))
                    })
                })
                .await;
            }
        }
    };
    let client = Client::over(config(), in_process(script)).unwrap();
    let error = client.call_dynamic("VM.start", &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    let shown = error.to_string();
    assert!(shown.starts_with("VM.start on http://10.0.0."), "{shown}");
    assert_eq!(seen.load(Ordering::SeqCst), 5, "the first host and the four that docs/retries.md allows");
}

#[tokio::test]
async fn close_logs_out_and_ends_the_client() {
    let logouts = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&logouts);
    let client = client(move |mut peer, _| {
        let logouts = Arc::clone(&logouts);
        async move {
            while let Some(head) = peer.head().await {
                peer.answer_call(&head, |method, _| {
                    logouts.fetch_add(usize::from(method == "session.logout"), Ordering::SeqCst);
                    session_calls(method).unwrap_or(Ok(text("")))
                })
                .await;
            }
        }
    });
    client.call_dynamic("VM.start", &[]).await.unwrap();
    let clone = client.clone();
    client.close().await.unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    let error = clone.call_dynamic("VM.start", &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    clone.close().await.unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

/// Two hosts that take turns as coordinator, break connections and lose sessions. The pool's sessions are
/// counted: a process that runs for a year has one.
#[tokio::test]
async fn there_is_one_session_whatever_happens() {
    #[derive(Default)]
    struct Hosts {
        coordinator: usize,
        unreachable: bool,
        logins: usize,
        originators: HashSet<String>,
        sessions: HashSet<String>,
    }
    let hosts = Arc::new(Mutex::new(Hosts::default()));
    let pool = Arc::clone(&hosts);
    let connector = connect_fn(move |endpoint| {
        let (pool, url) = (Arc::clone(&pool), endpoint.to_string());
        let this = usize::from(url.ends_with('2'));
        let (near, far) = tokio::io::duplex(64 << 10);
        {
            let mut pool = pool.lock().unwrap();
            if pool.coordinator == this && std::mem::take(&mut pool.unreachable) {
                return std::future::ready(Err(std::io::ErrorKind::ConnectionRefused.into()));
            }
        }
        tokio::spawn(async move {
            let mut peer = support::Peer::new(far);
            // Every call is on a connection of its own.
            if let Some(head) = peer.head().await {
                peer.answer_call(&head, |method, params| {
                    let mut pool = pool.lock().unwrap();
                    if pool.coordinator != this {
                        let other = ["10.0.0.1", "10.0.0.2"][pool.coordinator];
                        return Err(Failure::new("HOST_IS_SLAVE", [other]));
                    }
                    let session = params[0].as_str().unwrap_or_default().to_owned();
                    match method {
                        "session.login_with_password" => {
                            pool.logins += 1;
                            pool.originators.insert(params[3].as_str().unwrap().to_owned());
                            let session = format!("OpaqueRef:session-{}", pool.logins);
                            pool.sessions.insert(session.clone());
                            Ok(text(&session))
                        }
                        _ if !pool.sessions.contains(&session) => {
                            Err(Failure::new("SESSION_INVALID", [session]))
                        }
                        "session.logout" => {
                            pool.sessions.remove(&session);
                            Ok(text(""))
                        }
                        _ => Ok(text("done")),
                    }
                })
                .await;
            }
        });
        std::future::ready(Ok(near))
    });
    let client = Client::over(config().seed("http://10.0.0.2").unwrap(), connector).unwrap();
    for round in 0..30 {
        client.call_dynamic("VM.start", &[]).await.unwrap();
        let mut pool = hosts.lock().unwrap();
        assert_eq!(pool.sessions.len(), 1, "after round {round}: {:?}", pool.sessions);
        match round % 3 {
            0 => pool.coordinator = 1 - pool.coordinator,
            1 => pool.sessions.clear(),
            _ => pool.unreachable = true,
        }
    }
    client.call_dynamic("VM.start", &[]).await.unwrap();
    client.close().await.unwrap();
    let pool = hosts.lock().unwrap();
    assert!(pool.sessions.is_empty(), "{:?}", pool.sessions);
    assert!(pool.logins > 20, "{} log-ins", pool.logins);
    assert_eq!(pool.originators.len(), 1, "{:?}", pool.originators);
}
