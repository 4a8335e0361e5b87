//! What people are told when a transfer fails: for each cause a sentence that names the disk, the host, what was
//! probably wrong and what to do next. XAPI itself says `VDI_IO_ERROR` to most of these.

mod support;

use std::convert::Infallible;
use std::future::Future;
use std::io::ErrorKind::ConnectionRefused;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use support::pool::{OK, Pool, disk};
use support::{Head, Peer, in_process, listen, session_calls, text, timeouts};
use xenapi_client::{Client, Config, Endpoint, Error, ErrorKind, ImportFormat, Trust, private_connect_fn};
use xenapi_wire::Value;

const IO_ERROR: [&str; 2] = ["VDI_IO_ERROR", "Device I/O errors"];
const MIB: usize = 1 << 20;

/// A cause, and what the error says.
struct Told {
    cause: &'static str,
    error: Error,
    kind: ErrorKind,
    /// What was wrong, then what to do.
    words: [&'static str; 2],
}

/// A body in pieces of 16 KiB.
struct Pieces {
    left: usize,
    announced: usize,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = self.left.min(16 << 10);
        self.left -= len;
        Poll::Ready((len > 0).then(|| Ok(Frame::data(vec![0x5a; len].into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced as u64)
    }
}

async fn import(client: &Client, format: ImportFormat, body: usize) -> Error {
    client.import_vdi(&disk(), format, Pieces { left: body, announced: body }).await.unwrap_err()
}

/// A VHD that was looked through on this side, for a disk of 1 MiB, which the host has read all of.
async fn validated(virtual_size: usize) -> Error {
    let pool = Pool::new();
    let client = pool.client(|pool, mut peer, head, _| async move {
        peer.write(OK).await;
        reads_all(pool, peer, head).await;
    });
    let body = Pieces { left: 4096, announced: 4096 };
    let import = client.import_vdi(&disk(), ImportFormat::Vhd, body).validated(virtual_size as u64);
    import.await.unwrap_err()
}

/// The host that is asked sends the request on to another one, which fails.
async fn redirected() -> Error {
    let client = Pool::new().client(|pool, mut peer, head, url| async move {
        if url == "https://10.0.0.7" {
            peer.write(OK).await;
            return reads_all(pool, peer, head).await;
        }
        peer.write(format!("HTTP/1.1 302 Found\r\nLocation: https://10.0.0.7{}\r\n\r\n", head.target)).await;
    });
    import(&client, ImportFormat::Vhd, MIB).await
}

/// As before, but the other host has an address that is not known here.
async fn redirected_out_of_reach() -> Error {
    let pool = Pool::new();
    let connector = private_connect_fn(move |endpoint: &Endpoint| {
        let reachable = endpoint.to_string() != "https://10.0.0.7";
        let (near, far) = tokio::io::duplex(64 << 10);
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut peer = Peer::new(far);
            while let Some(head) = peer.head().await {
                if head.method != "POST" {
                    let location = format!("Location: https://10.0.0.7{}", head.target);
                    return peer.write(format!("HTTP/1.1 302 Found\r\n{location}\r\n\r\n")).await;
                }
                let answer = |method: &str, params: &[Value]| {
                    session_calls(method).unwrap_or_else(|| pool.with(|state| state.call(method, params)))
                };
                peer.answer_call(&head, answer).await;
            }
        });
        std::future::ready(if reachable { Ok(near) } else { Err(ConnectionRefused.into()) })
    });
    import(&Client::over(support::config(), connector).unwrap(), ImportFormat::Raw, MIB).await
}

/// The error of an upload to a host that answers at once, does `then` and lets the task fail.
async fn upload<F, Fut>(pool: &Pool, format: ImportFormat, body: usize, then: F) -> Error
where
    F: Fn(Pool, Peer, Head) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let client = pool.client(move |pool, mut peer, head, _| {
        let then = then.clone();
        async move {
            peer.write(OK).await;
            then(pool, peer, head).await;
        }
    });
    import(&client, format, body).await
}

async fn reads_all(pool: Pool, mut peer: Peer, head: Head) {
    peer.body(&head).await;
    pool.end_task("failure", &IO_ERROR);
}

async fn reads_little(pool: Pool, mut peer: Peer, _: Head) {
    peer.fill().await;
    pool.end_task("failure", &IO_ERROR);
}

async fn short_body() -> Error {
    let pool = Pool::new();
    let client = pool.client(|pool, mut peer, head, _| async move {
        peer.write(OK).await;
        reads_all(pool, peer, head).await;
    });
    let body = Pieces { left: 4096, announced: MIB };
    client.import_vdi(&disk(), ImportFormat::Raw, body).await.unwrap_err()
}

async fn full_repository() -> Error {
    let pool = Pool::new();
    pool.with(|state| state.sr_free = 0);
    upload(&pool, ImportFormat::Raw, MIB, reads_little).await
}

/// As full, but said by the storage backend.
async fn stated_full() -> Error {
    let backend = |pool: Pool, mut peer: Peer, _: Head| async move {
        peer.fill().await;
        pool.end_task("failure", &["SR_BACKEND_FAILURE_44", "", "There is insufficient space", ""]);
    };
    upload(&Pool::new(), ImportFormat::Vhd, MIB, backend).await
}

async fn oversized() -> Error {
    upload(&Pool::new(), ImportFormat::Raw, 2 * MIB, reads_little).await
}

async fn task_error() -> Error {
    let backend = |pool: Pool, mut peer: Peer, _: Head| async move {
        peer.fill().await;
        pool.end_task("failure", &["VDI_READONLY", "OpaqueRef:x"]);
    };
    upload(&Pool::new(), ImportFormat::Raw, MIB, backend).await
}

async fn cut_off() -> Error {
    let cut = |pool: Pool, mut peer: Peer, _: Head| async move {
        peer.fill().await;
        drop(peer);
        pool.end_task("failure", &IO_ERROR);
    };
    let pool = Pool::new();
    pool.with(|state| state.virtual_size = 16 * MIB as i64);
    upload(&pool, ImportFormat::Raw, 16 * MIB, cut).await
}

/// The connection breaks, and nobody answers from then on.
async fn host_gone() -> Error {
    let pool = Pool::new();
    let gone = Arc::new(AtomicBool::new(false));
    let (calls, transfers) = (pool.clone(), Arc::clone(&gone));
    let connector = in_process(move |mut peer: Peer, _| {
        let (pool, gone) = (calls.clone(), Arc::clone(&transfers));
        async move {
            while let Some(head) = peer.head().await {
                if gone.load(Ordering::SeqCst) {
                    return;
                }
                if head.method != "POST" {
                    peer.write(OK).await;
                    peer.fill().await;
                    return gone.store(true, Ordering::SeqCst);
                }
                let answer = |method: &str, params: &[Value]| {
                    session_calls(method).unwrap_or_else(|| pool.with(|state| state.call(method, params)))
                };
                peer.answer_call(&head, answer).await;
            }
        }
    });
    import(&Client::over(support::config(), connector).unwrap(), ImportFormat::Raw, MIB).await
}

async fn stands_still() -> Error {
    let silent = |_: Pool, peer: Peer, _: Head| async move {
        std::future::pending::<()>().await;
        drop(peer);
    };
    let pool = Pool::new();
    pool.with(|state| state.virtual_size = 16 * MIB as i64);
    upload(&pool, ImportFormat::Raw, 16 * MIB, silent).await
}

/// A host refers to one whose certificate nobody has vouched for.
async fn untrusted_redirect() -> Error {
    let certificate = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config =
            rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .unwrap();
        (config, xenapi_client::Fingerprint::of_certificate(made.cert.der()))
    };
    let (theirs, _) = certificate("stranger");
    let stranger = listen(Some(theirs), |mut peer| async move { peer.until_closed().await }).await;
    let (ours, trusted) = certificate("known");
    let pool = Pool::new();
    let port = listen(Some(ours), move |mut peer| {
        let pool = pool.clone();
        async move {
            while let Some(head) = peer.head().await {
                if head.method != "POST" {
                    let location = format!("https://127.0.0.1:{stranger}{}", head.target);
                    return peer.write(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n")).await;
                }
                peer.answer_call(&head, |method, params| match method {
                    "host.get_address" => Ok(text("127.0.0.1")),
                    _ => {
                        session_calls(method).unwrap_or_else(|| pool.with(|state| state.call(method, params)))
                    }
                })
                .await;
            }
        }
    })
    .await;
    let config = Config::new(&format!("https://127.0.0.1:{port}"), "root", "hunter2").unwrap();
    let config = config.trust(Trust::Fingerprints(vec![trusted])).timeouts(timeouts());
    import(&Client::new(config).unwrap(), ImportFormat::Raw, MIB).await
}

/// After an export, dom0 does not let go of the disk.
async fn still_held() -> Error {
    let pool = Pool::new();
    pool.with(|state| state.dom0_holds = 1_000);
    let client = pool.client(|_, _, _, _| std::future::ready(()));
    client.wait_until_detached(&disk(), Duration::from_millis(300)).await.unwrap_err()
}

#[tokio::test]
async fn each_cause_is_told_with_the_next_step() {
    use ErrorKind::{OutcomeUnknown, Timeout, Transfer, Unreachable, Untrusted};
    let told = |cause, error, kind, words| Told { cause, error, kind, words };
    let bad_vhd = async { upload(&Pool::new(), ImportFormat::Vhd, MIB, reads_all).await };
    let mut wrong = Vec::new();
    for Told { cause, error, kind, words } in [
        told(
            "short body",
            short_body().await,
            ErrorKind::Body,
            ["ended after 4096 of the 1048576 bytes", "check the source"],
        ),
        told("bad VHD", bad_vhd.await, Transfer, ["all was sent and the host refused it", "image is intact"]),
        told(
            "full repository",
            full_repository().await,
            Transfer,
            ["only 0 bytes are free", "make room there"],
        ),
        told("full, as stated", stated_full().await, Transfer, ["repository is full", "make room there"]),
        told("oversized disk", oversized().await, Transfer, ["longer than the disk", "make the disk larger"]),
        told(
            "VHD larger than the VDI",
            validated(2 * MIB).await,
            Transfer,
            ["sound here and holds a disk of 2097152 to a disk of 1048576", "make the disk larger"],
        ),
        told(
            "sound VHD that fits",
            validated(MIB).await,
            Transfer,
            ["the image is not the reason", "/var/log/SMlog"],
        ),
        told(
            "redirected to another host",
            redirected().await,
            Transfer,
            ["through https://10.0.0.7 (http://10.0.0.1 sent the request on", "image is intact"],
        ),
        told(
            "redirected out of reach",
            redirected_out_of_reach().await,
            Unreachable,
            ["through https://10.0.0.7 (http://10.0.0.1 sent the request on", "can be reached"],
        ),
        told("task error", task_error().await, Transfer, ["VDI_READONLY", "mend that"]),
        told("connection cut", cut_off().await, Transfer, ["it was broken off", "try again"]),
        told("host gone", host_gone().await, OutcomeUnknown, ["cannot be asked", "look what became of it"]),
        told(
            "no progress",
            stands_still().await,
            Transfer,
            ["nothing moved for 1 s", "look at the host's storage"],
        ),
        told("redirect", untrusted_redirect().await, Untrusted, ["certificate is not", "fingerprint"]),
        told("held by dom0", still_held().await, Timeout, ["still attached to \"Control domain\"", "unplug"]),
    ] {
        let shown = error.to_string();
        let named = ["VDI", "http"].iter().chain(&words).all(|word| shown.contains(word));
        let secrets = shown.contains(support::SESSION) || shown.contains("hunter2");
        if error.kind() != kind || !named || secrets {
            wrong.push(format!("{cause}: {:?} {shown}, and not {kind:?} with {words:?}", error.kind()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
