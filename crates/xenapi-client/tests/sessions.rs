//! Logging in, staying logged in, finding the coordinator.

mod support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{client, config, in_process, session_calls, text};
use xenapi_client::{Client, ErrorKind, RetryPolicy, private_connect_fn};
use xenapi_wire::{Failure, Ref, Value};

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

/// Two hosts that take turns as coordinator of a pool.
#[derive(Default)]
struct Hosts {
    coordinator: usize,
    /// How many more connections the coordinator refuses.
    unreachable: usize,
    logins: usize,
    originators: HashSet<String>,
    sessions: HashSet<String>,
}

impl Hosts {
    /// What the host of this number answers.
    fn answer(&mut self, this: usize, method: &str, params: &[Value]) -> Result<Value, Failure> {
        if self.coordinator != this {
            let other = ["10.0.0.1", "10.0.0.2"][self.coordinator];
            return Err(Failure::new("HOST_IS_SLAVE", [other]));
        }
        let session = params[0].as_str().unwrap_or_default().to_owned();
        match method {
            "session.login_with_password" => {
                self.logins += 1;
                self.originators.insert(params[3].as_str().unwrap().to_owned());
                let session = format!("OpaqueRef:session-{}", self.logins);
                self.sessions.insert(session.clone());
                Ok(text(&session))
            }
            _ if !self.sessions.contains(&session) => Err(Failure::new("SESSION_INVALID", [session])),
            "session.logout" => {
                self.sessions.remove(&session);
                Ok(text(""))
            }
            _ => Ok(text("done")),
        }
    }
}

fn of_hosts(hosts: &Arc<Mutex<Hosts>>) -> Client {
    let pool = Arc::clone(hosts);
    let connector = private_connect_fn(move |endpoint| {
        let (pool, url) = (Arc::clone(&pool), endpoint.to_string());
        let this = usize::from(url.ends_with('2'));
        let (near, far) = tokio::io::duplex(64 << 10);
        {
            let mut pool = pool.lock().unwrap();
            if pool.coordinator == this && pool.unreachable > 0 {
                pool.unreachable -= 1;
                return std::future::ready(Err(std::io::ErrorKind::ConnectionRefused.into()));
            }
        }
        tokio::spawn(async move {
            let mut peer = support::Peer::new(far);
            // Every call is on a connection of its own.
            if let Some(head) = peer.head().await {
                peer.answer_call(&head, |method, params| pool.lock().unwrap().answer(this, method, params))
                    .await;
            }
        });
        std::future::ready(Ok(near))
    });
    Client::over(config().seed("http://10.0.0.2").unwrap(), connector).unwrap()
}

/// The hosts break connections and lose sessions, too. The pool's sessions are counted: a process that runs for a year
/// has one.
#[tokio::test]
async fn there_is_one_session_whatever_happens() {
    let hosts = Arc::new(Mutex::new(Hosts::default()));
    let client = of_hosts(&hosts);
    for round in 0..30 {
        client.call_dynamic("VM.start", &[]).await.unwrap();
        let mut pool = hosts.lock().unwrap();
        assert_eq!(pool.sessions.len(), 1, "after round {round}: {:?}", pool.sessions);
        match round % 3 {
            0 => pool.coordinator = 1 - pool.coordinator,
            1 => pool.sessions.clear(),
            _ => pool.unreachable = 1,
        }
    }
    client.call_dynamic("VM.start", &[]).await.unwrap();
    client.close().await.unwrap();
    let pool = hosts.lock().unwrap();
    assert!(pool.sessions.is_empty(), "{:?}", pool.sessions);
    assert!(pool.logins > 20, "{} log-ins", pool.logins);
    assert_eq!(pool.originators.len(), 1, "{:?}", pool.originators);
}

/// The coordinator's role has gone to a host that nobody gets through to when the client is closed.
#[tokio::test]
async fn a_session_that_was_given_up_ends_with_the_client() {
    let hosts = Arc::new(Mutex::new(Hosts::default()));
    let client = of_hosts(&hosts).with_retries(RetryPolicy::OFF);
    client.call_dynamic("VM.start", &[]).await.unwrap();
    {
        let mut pool = hosts.lock().unwrap();
        (pool.coordinator, pool.unreachable) = (1, usize::MAX);
    }
    let error = client.call_dynamic("VM.start", &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert_eq!(hosts.lock().unwrap().sessions.len(), 1);
    hosts.lock().unwrap().unreachable = 0;
    client.close().await.unwrap();
    assert!(hosts.lock().unwrap().sessions.is_empty());
}

/// One whose storage hangs takes connections and says nothing.
#[tokio::test]
async fn a_host_that_lets_nobody_in_is_passed_by() {
    let script = |mut peer: support::Peer, url: String| async move {
        while let Some(head) = peer.head().await {
            if url.ends_with('1') {
                std::future::pending::<()>().await;
            }
            peer.answer_call(&head, |method, _| session_calls(method).unwrap_or_else(|| Ok(text(&url))))
                .await;
        }
    };
    let pool = || Client::over(config().seed("http://10.0.0.2").unwrap(), in_process(script)).unwrap();
    let client = pool().with_deadline(Duration::from_secs(6));
    // Who came in meanwhile has its turn, too.
    let (first, second) =
        tokio::join!(client.call_dynamic("VM.start", &[]), client.call_dynamic("VM.start", &[]));
    assert_eq!([first.unwrap(), second.unwrap()], [(); 2].map(|()| text("http://10.0.0.2")));
    // So it is where the call as a whole has no limit of its own.
    let client = pool().with_deadline(Duration::from_secs(6));
    let blob = Ref::from_uuid_bits(7);
    let blob = client.blob(&blob);
    tokio::time::timeout(Duration::from_secs(60), blob).await.unwrap().unwrap_err();
    assert_eq!(client.endpoint().to_string(), "http://10.0.0.2");
}
