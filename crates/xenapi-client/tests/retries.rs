//! What becomes of a call when there is no answer: the table in docs/retries.md, row by row.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::{Peer, config, session_calls, text};
use xenapi_client::{Client, Encoding, Error, RetryPolicy, private_connect_fn};
use xenapi_types::Safety;
use xenapi_wire::Value;

const ALWAYS: usize = usize::MAX;

/// The columns of the table.
const METHODS: [(&str, Safety); 3] =
    [("VM.get_record", Safety::Reads), ("VM.set_name_label", Safety::Idempotent), ("VM.start", Safety::Once)];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Trouble {
    /// Nobody listens any more.
    Refused,
    /// Nobody ever did.
    Nobody,
    /// The call is read and the connection closed.
    Broken,
    /// The call is read, and nothing comes.
    Silence,
    /// Something answers that is no XAPI.
    Page,
}

/// A client with one session, of a host that makes so much trouble with calls.
fn client(trouble: Trouble, times: usize) -> Client {
    let left = Arc::new(AtomicUsize::new(times));
    let logins = Arc::new(AtomicUsize::new(0));
    let now = move |left: &AtomicUsize| {
        let less = |left: usize| if left == ALWAYS { Some(ALWAYS) } else { left.checked_sub(1) };
        left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    };
    let connector = private_connect_fn(move |_| {
        let is_down = match trouble {
            Trouble::Nobody => true,
            Trouble::Refused => logins.load(Ordering::SeqCst) > 0 && now(&left),
            _ => false,
        };
        if is_down {
            return std::future::ready(Err(std::io::ErrorKind::ConnectionRefused.into()));
        }
        let (near, far) = tokio::io::duplex(64 << 10);
        let (left, logins) = (Arc::clone(&left), Arc::clone(&logins));
        tokio::spawn(async move {
            let mut peer = Peer::new(far);
            // Every call is on a connection of its own.
            let Some(head) = peer.head().await else { return };
            let is_login = logins.load(Ordering::SeqCst) == 0;
            if !is_login && trouble != Trouble::Refused && now(&left) {
                peer.body(&head).await;
                match trouble {
                    Trouble::Silence => std::future::pending().await,
                    Trouble::Page => peer.answer("200 OK", "text/html", "<html>hello</html>").await,
                    _ => {}
                }
                return;
            }
            logins.store(1, Ordering::SeqCst);
            peer.answer_call(&head, |method, _| session_calls(method).unwrap_or(Ok(text("done")))).await;
        });
        std::future::ready(Ok(near))
    });
    Client::over(config().encoding(Encoding::JsonRpc), connector).unwrap()
}

async fn call(trouble: Trouble, times: usize, retries: RetryPolicy, method: &str) -> Result<Value, Error> {
    let client = client(trouble, times);
    if trouble != Trouble::Nobody {
        client.login().await.unwrap();
    }
    let deadline = Duration::from_millis(if trouble == Trouble::Silence { 200 } else { 60_000 });
    client.with_retries(retries).with_deadline(deadline).call_dynamic(method, &[]).await
}

/// What the table has to say.
async fn outcome(trouble: Trouble, method: &str) -> String {
    let moment = Duration::from_millis(1);
    let quick = RetryPolicy { first_pause: moment, longest_pause: moment, ..RetryPolicy::default() };
    let times =
        |passing| if matches!(trouble, Trouble::Refused | Trouble::Broken) { passing } else { ALWAYS };
    let at_once = call(trouble, times(1), RetryPolicy::OFF, method).await;
    let soon = call(trouble, times(2), quick, method).await;
    match (at_once, soon) {
        (Ok(_), Ok(_)) => "again, at once, then soon".to_owned(),
        (Err(_), Ok(_)) => "again, soon".to_owned(),
        (Err(error), Err(again)) => {
            assert_eq!(error.kind(), again.kind(), "{again}");
            let shown = error.to_string();
            assert!(shown.contains("http://10.0.0.1"), "{shown}");
            format!("`{:?}`", error.kind())
        }
        (Ok(_), Err(error)) => panic!("{trouble:?} of {method}: {error}"),
    }
}

#[tokio::test]
async fn the_table_in_the_documentation_is_what_happens() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/retries.md");
    let written = std::fs::read_to_string(path).unwrap();
    for (method, safety) in METHODS {
        assert_eq!(Safety::of(method), safety, "{method}");
    }
    for (what, trouble) in [
        ("no connection, or nothing of the request was written", Trouble::Refused),
        ("the first log-in of a client finds nobody", Trouble::Nobody),
        ("the connection broke before the answer was complete", Trouble::Broken),
        ("the deadline of the call passed while it was under way", Trouble::Silence),
        ("the answer is none of XAPI's, or cannot be read", Trouble::Page),
    ] {
        let mut row = format!("| {what} |");
        for (method, _) in METHODS {
            row.push_str(&format!(" {} |", outcome(trouble, method).await));
        }
        assert!(written.contains(&row), "{path} should have this row:\n{row}");
    }
}
