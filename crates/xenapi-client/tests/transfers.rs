//! Uploads and downloads against hosts with the order of events of a real one, and worse.

mod support;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use support::pool::{OK, PAGE, Pool, disk};
use support::{Head, Peer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use xenapi_client::{Cause, Client, Connect, ErrorKind, ExportFormat, ImportFormat, Io, private_connect_fn};

/// A body of known length in pieces of 64 KiB, which remembers whether it was touched.
struct Pieces {
    left: usize,
    announced: u64,
    touched: Arc<Mutex<bool>>,
    fails_at: Option<usize>,
}

impl Pieces {
    fn new(len: usize) -> Self {
        Self { left: len, announced: len as u64, touched: Arc::default(), fails_at: None }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        *self.touched.lock().unwrap() = true;
        if self.fails_at.is_some_and(|at| self.left <= at) {
            return Poll::Ready(Some(Err(std::io::Error::other("the image cannot be read"))));
        }
        let len = self.left.min(64 << 10);
        self.left -= len;
        Poll::Ready((len > 0).then(|| Ok(Frame::data(Bytes::from(vec![0x5a; len])))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}

/// Answers at once, reads the whole body, succeeds, closes: what XAPI does.
async fn accept(pool: Pool, mut peer: Peer, head: Head, _: String) {
    peer.write(OK).await;
    let body = peer.body(&head).await;
    pool.with(|state| state.received = body);
    pool.end_task("success", &[]);
}

#[tokio::test]
async fn an_upload_is_done_when_its_task_is() {
    let pool = Pool::new();
    let client = pool.client(accept);
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&told);
    let body = Pieces::new(1 << 20);
    let imported = client
        .import_vdi(&disk(), ImportFormat::Vhd, body)
        .on_progress(move |bytes| told.lock().unwrap().push(bytes))
        .await
        .unwrap();
    assert_eq!(imported.bytes, 1 << 20);
    assert_eq!(seen.lock().unwrap().last(), Some(&(1 << 20)));
    pool.with(|state| {
        assert!(state.received.len() == 1 << 20 && state.received.iter().all(|b| *b == 0x5a));
        assert_eq!(state.log, ["task.destroy OpaqueRef:t1"]);
    });
}

#[tokio::test]
async fn two_hundred_is_not_success() {
    let pool = Pool::new();
    let client = pool.client(|pool: Pool, mut peer: Peer, head: Head, _| async move {
        peer.write(OK).await;
        peer.body(&head).await;
        peer.write(format!("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n{PAGE}")).await;
        pool.end_task("failure", &["VDI_IO_ERROR", "Device I/O errors"]);
    });
    let error = client.import_vdi(&disk(), ImportFormat::Vhd, Pieces::new(4096)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transfer, "{error}");
    assert!(error.is("VDI_IO_ERROR"));
    let diagnosis = error.diagnosis().unwrap();
    assert_eq!((diagnosis.sent, diagnosis.total), (4096, Some(4096)));
    assert_eq!(diagnosis.cause, Cause::ContentRefused);
    let shown = error.to_string();
    assert!(
        shown.contains("import of a VHD into VDI OpaqueRef") && shown.contains("4096 of 4096"),
        "{shown}"
    );
}

#[tokio::test]
async fn the_diagnosis_finds_a_disk_that_is_too_small_and_a_full_repository() {
    for (virtual_size, sr_free, cause) in
        [(4096, 1 << 40, Cause::LongerThanDisk), (1 << 30, 0, Cause::RepositoryFull)]
    {
        let pool = Pool::new();
        pool.with(|state| (state.virtual_size, state.sr_free) = (virtual_size, sr_free));
        let client = pool.client(|pool: Pool, mut peer: Peer, _: Head, _| async move {
            peer.write(OK).await;
            peer.fill().await;
            pool.end_task("failure", &["VDI_IO_ERROR", "Device I/O errors"]);
        });
        let error = client.import_vdi(&disk(), ImportFormat::Raw, Pieces::new(1 << 20)).await.unwrap_err();
        assert_eq!(error.diagnosis().unwrap().cause, cause, "{error}");
    }
}

#[tokio::test]
async fn a_redirect_is_followed_before_the_body_is_touched() {
    let pool = Pool::new();
    let client = pool.client(|pool: Pool, mut peer: Peer, head: Head, url: String| async move {
        if url == "http://10.0.0.1" {
            peer.write(format!(
                "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: https://10.0.0.7{}\r\n\r\n",
                head.target
            ))
            .await;
            // As a real host does, it leaves the connection open and takes what comes for a request.
            assert_eq!(peer.fill().await, None, "no byte of the body may go to the wrong host");
            return;
        }
        assert_eq!(url, "https://10.0.0.7");
        assert_eq!(head.query("task_id"), Some("OpaqueRef:t1"), "the task is still good");
        accept(pool, peer, head, url).await;
    });
    let imported = client.import_vdi(&disk(), ImportFormat::Raw, Pieces::new(1 << 20)).await.unwrap();
    assert_eq!(imported.endpoint.to_string(), "https://10.0.0.7");
    pool.with(|state| assert_eq!(state.received.len(), 1 << 20));
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let pool = Pool::new();
    let client = pool.client(|_, mut peer: Peer, _, _| async move {
        peer.write("HTTP/1.1 302 Found\r\nLocation: https://10.0.0.1/import_raw_vdi\r\n\r\n").await;
    });
    let body = Pieces::new(4096);
    let touched = Arc::clone(&body.touched);
    let error = client.import_vdi(&disk(), ImportFormat::Raw, body).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    let shown = error.to_string();
    assert!(
        shown.starts_with("import of raw data into VDI") && shown.contains("https://10.0.0.1"),
        "{shown}"
    );
    assert!(!*touched.lock().unwrap());
    pool.with(|state| assert_eq!(state.log, ["task.set_status OpaqueRef:t1", "task.destroy OpaqueRef:t1"]));
}

#[tokio::test]
async fn a_refused_session_is_replaced_and_its_pending_task_removed() {
    let pool = Pool::new();
    let client = pool.client(|pool: Pool, mut peer: Peer, head: Head, url| async move {
        if head.query("task_id") == Some("OpaqueRef:t1") {
            peer.answer("401 Unauthorised", "text/html", "<html>HTTP 401 unauthorised</html>").await;
            return;
        }
        accept(pool, peer, head, url).await;
    });
    client.import_vdi(&disk(), ImportFormat::Raw, Pieces::new(4096)).await.unwrap();
    pool.with(|state| {
        assert_eq!(
            state.log,
            ["task.set_status OpaqueRef:t1", "task.destroy OpaqueRef:t1", "task.destroy OpaqueRef:t2"]
        );
    });
}

#[tokio::test]
async fn a_host_that_denies_the_transfer() {
    // The task says why.
    let pool = Pool::new();
    let client = pool.client(|pool: Pool, mut peer: Peer, _: Head, _| async move {
        pool.end_task("failure", &["RBAC_PERMISSION_DENIED", "http/put_import_raw_vdi", "UUID_INVALID"]);
        peer.answer("500 Internal Error", "text/html", "<html>HTTP 500</html>").await;
    });
    let body = Pieces::new(4096);
    let touched = Arc::clone(&body.touched);
    let error = client.import_vdi(&disk(), ImportFormat::Raw, body).await.unwrap_err();
    assert!(error.is("RBAC_PERMISSION_DENIED"), "{error}");
    assert!(!*touched.lock().unwrap());

    // Nobody says why, and the connection stays open.
    let pool = Pool::new();
    let client = pool.client(|_, mut peer: Peer, _: Head, _| async move {
        peer.write("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
        peer.until_closed().await;
    });
    let error = client.import_vdi(&disk(), ImportFormat::Raw, Pieces::new(4096)).await.unwrap_err();
    assert!(error.to_string().contains("400"), "{error}");
    pool.with(|state| assert_eq!(state.log, ["task.set_status OpaqueRef:t1", "task.destroy OpaqueRef:t1"]));
}

/// As much of it as an error has use for.
#[tokio::test]
async fn a_page_without_end_is_not_kept() {
    static PIECE: &[u8] = &[b'x'; 64 << 10];
    let sent = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&sent);
    let pool = Pool::new();
    let client = pool.client(move |_, mut peer: Peer, _: Head, _| {
        let sent = Arc::clone(&sent);
        async move {
            peer.write("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
            while *sent.lock().unwrap() < 64 << 20 && peer.try_write(PIECE).await {
                *sent.lock().unwrap() += PIECE.len();
            }
        }
    });
    let error = client.import_vdi(&disk(), ImportFormat::Raw, Pieces::new(4096)).await.unwrap_err();
    assert!(error.to_string().len() < 2_000, "{error}");
    let sent = *seen.lock().unwrap();
    assert!(sent < 4 << 20, "{sent} bytes");
}

#[tokio::test]
async fn after_a_cut_the_task_is_asked_for_the_reason() {
    let pool = Pool::new();
    let client = pool.client(|pool: Pool, mut peer: Peer, _: Head, _| async move {
        peer.write(OK).await;
        peer.fill().await;
        drop(peer);
        tokio::time::sleep(Duration::from_millis(50)).await;
        pool.end_task("failure", &["SR_BACKEND_FAILURE_44", "", "There is insufficient space", ""]);
    });
    let error = client.import_vdi(&disk(), ImportFormat::Raw, Pieces::new(1 << 20)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transfer, "{error}");
    assert!(error.is("SR_BACKEND_FAILURE_44"), "{error}");
}

#[tokio::test]
async fn a_host_that_stops_reading_is_given_up() {
    let pool = Pool::new();
    let client = pool.client(|_, mut peer: Peer, _: Head, _| async move {
        peer.write(OK).await;
        std::future::pending::<()>().await;
    });
    let error = client.import_vdi(&disk(), ImportFormat::Raw, Pieces::new(16 << 20)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transfer, "{error}");
    assert!(error.to_string().contains("nothing moved for 1 s"), "{error}");
    pool.with(|state| assert_eq!(state.log, ["task.set_status OpaqueRef:t1", "task.destroy OpaqueRef:t1"]));
}

#[tokio::test]
async fn slow_is_not_stalled_while_the_task_moves() {
    let pool = Pool::new();
    let client = pool.client(|pool: Pool, mut peer: Peer, head: Head, url| async move {
        peer.write(OK).await;
        // Longer than the stall timeout, without reading a byte.
        for step in 1..8 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            pool.with(|state| state.progress = f64::from(step) / 10.0);
        }
        let body = peer.body(&head).await;
        pool.with(|state| state.received = body);
        pool.end_task("success", &[]);
        drop(url);
    });
    client.import_vdi(&disk(), ImportFormat::Raw, Pieces::new(1 << 20)).await.unwrap();
}

#[tokio::test]
async fn the_body_itself_can_be_at_fault() {
    for (mut body, hint) in [
        (Pieces::new(1 << 20), "cannot be read"),
        (Pieces::new(4096), "longer than the 100 bytes"),
        (Pieces::new(4096), "ended after 4096 of the 9000 bytes"),
    ] {
        match hint {
            "cannot be read" => body.fails_at = Some(512 << 10),
            "longer than the 100 bytes" => body.announced = 100,
            _ => body.announced = 9_000,
        }
        let pool = Pool::new();
        let client = pool.client(|pool: Pool, mut peer: Peer, head: Head, _| async move {
            peer.write(OK).await;
            peer.body(&head).await;
            pool.end_task("failure", &["VDI_IO_ERROR", "Device I/O errors"]);
        });
        let error = client.import_vdi(&disk(), ImportFormat::Raw, body).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Body, "{error}");
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[tokio::test]
async fn a_body_longer_than_it_says_never_passes_for_a_success() {
    // The excess begins exactly where the announced length ends.
    let mut body = Pieces::new(128 << 10);
    body.announced = 64 << 10;
    let pool = Pool::new();
    let client = pool.client(accept);
    let error = client.import_vdi(&disk(), ImportFormat::Raw, body).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Body, "{error}");
}

#[tokio::test]
async fn bodies_that_cannot_be_sent() {
    let client = Pool::new().client(accept);
    let empty = http_body_util::Full::<Bytes>::default();
    let error = client.import_vdi(&disk(), ImportFormat::Raw, empty).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Body, "{error}");

    struct Endless;
    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            unreachable!("it must not be read")
        }
    }
    let error = client.import_vdi(&disk(), ImportFormat::Raw, Endless).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Body, "{error}");
}

#[tokio::test]
async fn something_that_wants_the_body_first_gets_it() {
    let pool = Pool::new();
    let client = pool.client(|pool: Pool, mut peer: Peer, head: Head, _| async move {
        let body = peer.body(&head).await;
        pool.with(|state| state.received = body);
        pool.end_task("success", &[]);
        peer.write(OK).await;
    });
    client.import_vdi(&disk(), ImportFormat::Raw, Pieces::new(1 << 20)).await.unwrap();
    pool.with(|state| assert_eq!(state.received.len(), 1 << 20));
}

#[tokio::test]
async fn dropping_an_upload_closes_the_socket_and_removes_the_task() {
    let pool = Pool::new();
    let (closed, seen) = tokio::sync::oneshot::channel();
    let closed = Arc::new(Mutex::new(Some(closed)));
    let client = pool.client(move |_, mut peer: Peer, _: Head, _| {
        let closed = Arc::clone(&closed);
        async move {
            peer.write(OK).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            peer.until_closed().await;
            closed.lock().unwrap().take().unwrap().send(()).unwrap();
        }
    });
    let vdi = disk();
    let import = client.import_vdi(&vdi, ImportFormat::Raw, Pieces::new(64 << 20));
    tokio::time::timeout(Duration::from_millis(200), import.into_future()).await.unwrap_err();
    tokio::time::timeout(Duration::from_secs(5), seen).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    pool.with(|state| assert_eq!(state.log, ["task.destroy OpaqueRef:t1"]));
}

/// A download that sends `body` and ends with the task as given.
fn exporting(pool: &Pool, body: Vec<u8>, status: &'static str, error: &'static [&'static str]) -> Client {
    pool.client(move |pool: Pool, mut peer: Peer, head: Head, _| {
        let body = body.clone();
        async move {
            assert_eq!((head.method.as_str(), head.path()), ("GET", "/export_raw_vdi"));
            peer.write(OK).await;
            peer.write(&body).await;
            pool.end_task(status, error);
        }
    })
}

async fn collect(client: &Client, format: ExportFormat) -> (usize, Result<(), xenapi_client::Error>) {
    let mut export = match client.export_vdi(&disk(), format, None).await {
        Ok(export) => export,
        Err(error) => return (0, Err(error)),
    };
    let mut bytes = 0;
    loop {
        match export.chunk().await {
            Ok(Some(data)) => bytes += data.len(),
            Ok(None) => return (bytes, export.finish().await.map(drop)),
            Err(error) => return (bytes, Err(error)),
        }
    }
}

#[tokio::test]
async fn a_download_ends_well_only_with_its_task() {
    let pool = Pool::new();
    let client = exporting(&pool, vec![7; 1 << 20], "success", &[]);
    let (bytes, result) = collect(&client, ExportFormat::Raw).await;
    result.unwrap();
    assert_eq!(bytes, 1 << 20);
    pool.with(|state| assert_eq!(state.log, ["task.destroy OpaqueRef:t1"]));

    let pool = Pool::new();
    let client = exporting(&pool, vec![7; 1 << 20], "failure", &["VDI_IO_ERROR", "Device I/O errors"]);
    let (_, result) = collect(&client, ExportFormat::Raw).await;
    let error = result.unwrap_err();
    assert!(error.is("VDI_IO_ERROR") && error.kind() == ErrorKind::Transfer, "{error}");
}

#[tokio::test]
async fn truncated_downloads_are_noticed_even_when_the_task_is_content() {
    let pool = Pool::new();
    let client = exporting(&pool, vec![7; 1000], "success", &[]);
    let (_, result) = collect(&client, ExportFormat::Raw).await;
    assert!(result.unwrap_err().to_string().contains("only 1000 of 1048576"));

    let mut vhd = vec![0; 4096];
    vhd[3584..3592].copy_from_slice(b"conectix");
    for (body, good) in [(vhd.clone(), true), (vhd[..4000].to_vec(), false), (Vec::new(), false)] {
        let client = exporting(&Pool::new(), body, "success", &[]);
        let (_, result) = collect(&client, ExportFormat::Vhd).await;
        assert_eq!(result.is_ok(), good, "{result:?}");
    }
}

#[tokio::test]
async fn an_error_page_is_not_passed_on_as_data() {
    let client = exporting(&Pool::new(), PAGE.as_bytes().to_vec(), "failure", &["VDI_IN_USE", "OpaqueRef:d"]);
    let (bytes, result) = collect(&client, ExportFormat::Raw).await;
    assert_eq!(bytes, 0);
    assert!(result.unwrap_err().is("VDI_IN_USE"));
}

#[tokio::test]
async fn a_download_that_stands_still_is_given_up() {
    let client = Pool::new().client(|_, mut peer: Peer, _: Head, _| async move {
        peer.write(OK).await;
        peer.write([1; 100]).await;
        std::future::pending::<()>().await;
    });
    let (bytes, result) = collect(&client, ExportFormat::Raw).await;
    assert_eq!(bytes, 100);
    assert!(result.unwrap_err().to_string().contains("nothing moved"));
}

/// As when an export is stuck in its storage, and the toolstack, started anew, has ended its task.
#[tokio::test]
async fn a_download_whose_task_has_ended_is_not_waited_for_for_ever() {
    let error = &["VDI_IO_ERROR", "Device I/O errors"][..];
    for (status, error, told) in [("failure", error, "VDI_IO_ERROR"), ("success", &[], "nothing moved")] {
        let client = Pool::new().client(move |pool: Pool, mut peer: Peer, _: Head, _| async move {
            peer.write(OK).await;
            peer.write([1; 100]).await;
            pool.end_task(status, error);
            std::future::pending::<()>().await;
        });
        let collected =
            tokio::time::timeout(Duration::from_secs(60), collect(&client, ExportFormat::Raw)).await;
        let (bytes, result) = collected.unwrap();
        assert_eq!(bytes, 100);
        let shown = result.unwrap_err().to_string();
        assert!(shown.contains(told), "{shown}");
    }
}

#[tokio::test]
async fn a_slow_reader_holds_the_host_back_and_is_not_a_stall() {
    let pool = Pool::new();
    pool.with(|state| state.virtual_size = 8 << 20);
    let client = exporting(&pool, vec![7; 8 << 20], "success", &[]);
    let mut export = client.export_vdi(&disk(), ExportFormat::Raw, None).await.unwrap();
    export.chunk().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(export.bytes_received() < 4 << 20, "{}", export.bytes_received());
    assert_eq!(export.finish().await.unwrap().bytes, 8 << 20);
}

#[tokio::test]
async fn a_disk_held_by_dom0_is_waited_for() {
    let pool = Pool::new();
    let client = pool.client(accept);
    pool.with(|state| state.dom0_holds = 2);
    client.wait_until_detached(&disk(), Duration::from_secs(5)).await.unwrap();
    pool.with(|state| state.dom0_holds = 1_000);
    let error = client.wait_until_detached(&disk(), Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("Control domain"), "{error}");
}

/// A stream that counts its orderly ends. With TLS, such an end is what tells the host that nothing was cut off.
struct Noted(Box<dyn Io>, Arc<AtomicUsize>);

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Noted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let ended = std::task::ready!(Pin::new(&mut self.0).poll_shutdown(cx));
        self.1.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(ended)
    }
}

#[tokio::test]
async fn a_host_that_waits_for_more_is_told_that_this_was_all() {
    let pool = Pool::new();
    let connector = pool.connector(|pool: Pool, mut peer: Peer, head: Head, _| async move {
        peer.write(OK).await;
        peer.body(&head).await;
        // As of a VHD without its last footer.
        peer.until_closed().await;
        pool.end_task("failure", &["VDI_IO_ERROR", "Device I/O errors"]);
    });
    let ends = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&ends);
    let noting = private_connect_fn(move |endpoint| {
        let (connecting, ends) = (connector.connect(endpoint), Arc::clone(&counted));
        async move { Ok(Noted(connecting.await?, ends)) }
    });
    let mut timeouts = support::timeouts();
    (timeouts.stall, timeouts.settle) = (Duration::from_secs(60), Duration::from_millis(100));
    let client = Client::over(support::config().timeouts(timeouts), noting).unwrap();
    let error = client.import_vdi(&disk(), ImportFormat::Vhd, Pieces::new(1 << 20)).await.unwrap_err();
    assert!(error.is("VDI_IO_ERROR"), "{error}");
    assert_eq!(ends.load(Ordering::Relaxed), 1);
}
