//! Certificates: XAPI's are self-signed as a rule.

mod support;

use std::future::{Ready, ready};
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use support::{listen, session_calls};
use tokio::io::{AsyncReadExt, DuplexStream};
use xenapi_client::{
    Client, Config, Connect, Connecting, Endpoint, ErrorKind, Fingerprint, Io, Trust, connect_fn,
    private_connect_fn,
};

struct Host {
    port: u16,
    fingerprint: Fingerprint,
    pem: String,
}

struct Shown {
    config: ServerConfig,
    fingerprint: Fingerprint,
    pem: String,
}

fn server_config(names: &[&str]) -> Shown {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    Shown { config, fingerprint: Fingerprint::of_certificate(cert.der()), pem: cert.pem() }
}

async fn host(names: &[&str]) -> Host {
    let Shown { config, fingerprint, pem } = server_config(names);
    let port = listen(Some(config), |mut peer| async move {
        while let Some(head) = peer.head().await {
            peer.answer_call(&head, |method, _| session_calls(method).unwrap()).await;
        }
    })
    .await;
    Host { port, fingerprint, pem }
}

impl Host {
    async fn log_in(&self, trust: Trust) -> xenapi_client::Result<Client> {
        let url = format!("https://127.0.0.1:{}", self.port);
        Client::connect(Config::new(&url, "root", "x").unwrap().trust(trust)).await
    }
}

/// What a client says first on a connection of somebody else's making.
async fn first_byte(url: &str, over: impl FnOnce(DuplexStream) -> Box<dyn Connect>) -> u8 {
    let (near, mut far) = tokio::io::duplex(64 << 10);
    let config = Config::new(url, "root", "hunter2")
        .unwrap()
        .trust(Trust::Fingerprints(vec![Fingerprint::of_certificate(b"none")]));
    let client = Client::over(config, Boxed(over(near))).unwrap();
    let login = tokio::spawn(async move { client.login().await });
    let first = far.read_u8().await.unwrap();
    login.abort();
    first
}

struct Boxed(Box<dyn Connect>);

impl Connect for Boxed {
    fn connect(&self, endpoint: &Endpoint) -> Connecting {
        self.0.connect(endpoint)
    }

    fn is_private(&self) -> bool {
        self.0.is_private()
    }
}

/// A connection to be given out once.
fn given_once(stream: DuplexStream) -> impl Fn(&Endpoint) -> Ready<io::Result<DuplexStream>> + Send + Sync {
    let stream = Mutex::new(Some(stream));
    move |_| ready(stream.lock().unwrap().take().ok_or_else(|| io::ErrorKind::ConnectionRefused.into()))
}

#[tokio::test]
async fn connections_of_ones_own_are_encrypted_unless_they_are_called_private() {
    const CLIENT_HELLO: u8 = 0x16;
    let public = |stream| -> Box<dyn Connect> { Box::new(connect_fn(given_once(stream))) };
    let private = |stream| -> Box<dyn Connect> { Box::new(private_connect_fn(given_once(stream))) };
    assert_eq!(first_byte("https://10.0.0.1", public).await, CLIENT_HELLO);
    assert_eq!(first_byte("http://10.0.0.1", public).await, b'P');
    assert_eq!(first_byte("https://10.0.0.1", private).await, b'P');
}

#[tokio::test]
async fn a_pinned_certificate_is_enough_whatever_its_name() {
    let host = host(&["xen1"]).await;
    host.log_in(Trust::Fingerprints(vec![host.fingerprint])).await.unwrap();
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_refused_with_both_fingerprints() {
    let host = host(&["127.0.0.1"]).await;
    let other = Fingerprint::of_certificate(b"another");
    let error = host.log_in(Trust::Fingerprints(vec![other])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted);
    let shown = error.to_string();
    assert!(shown.contains(&host.fingerprint.to_string()) && shown.contains(&other.to_string()), "{shown}");
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused_with_its_fingerprint_and_the_remedy() {
    let known = host(&["127.0.0.1"]).await;
    let unknown = host(&["127.0.0.1"]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &known.pem).unwrap();
    let error = unknown.log_in(Trust::CaFile(file.clone())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
    let shown = error.to_string();
    assert!(shown.contains(&unknown.fingerprint.to_string()), "{shown}");
    assert!(shown.contains("trust that fingerprint") && shown.contains("https://127.0.0.1"), "{shown}");

    known.log_in(Trust::CaFile(file)).await.unwrap();
}

#[tokio::test]
async fn a_host_is_known_by_the_certificate_it_first_showed() {
    let host = host(&["xen1"]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("known_hosts");
    let trust = || Trust::KnownHosts(file.clone());
    host.log_in(trust()).await.unwrap();
    host.log_in(trust()).await.unwrap();
    let at = format!("127.0.0.1:{}", host.port);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{at} {}\n", host.fingerprint));

    // The host that answers there now shows another certificate than the one in the file.
    let before = Fingerprint::of_certificate(b"before");
    std::fs::write(&file, format!("{at} {before}\n")).unwrap();
    let error = host.log_in(trust()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
    let shown = error.to_string();
    let parts = [&before.to_string(), &host.fingerprint.to_string(), "remove line 1", "https://127.0.0.1"];
    assert!(parts.iter().all(|part| shown.contains(part)), "{shown}");

    std::fs::write(&file, "nonsense").unwrap();
    let error = Client::new(Config::new("https://h", "root", "x").unwrap().trust(trust())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

/// A host that shows a certificate at first and another one to all who come later.
#[tokio::test]
async fn a_certificate_that_is_swapped_under_a_running_client_is_noticed() {
    let (first, second) = (server_config(&["xen1"]), server_config(&["xen1"]));
    let (honest, impostor) =
        (listen(Some(first.config), once).await, listen(Some(second.config), once).await);
    let folder = tempfile::tempdir().unwrap();
    for trust in
        [Trust::Fingerprints(vec![first.fingerprint]), Trust::KnownHosts(folder.path().join("known_hosts"))]
    {
        let port = Arc::new(AtomicU16::new(honest));
        let now = Arc::clone(&port);
        // The name stays, and what is behind it changes, as when somebody takes over an address.
        let connector = Rerouted(now);
        let config = Config::new("https://xen1", "root", "x").unwrap().trust(trust);
        let client = Client::over(config, connector).unwrap();
        client.login().await.unwrap();
        port.store(impostor, Ordering::SeqCst);
        let error = client.call_dynamic("host.get_all", &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
        let shown = error.to_string();
        let (before, now) = (first.fingerprint.to_string(), second.fingerprint.to_string());
        for part in [&before, &now, "https://xen1", "host.get_all"] {
            assert!(shown.contains(part), "{shown}");
        }
    }
}

/// Answers one call, and closes the connection.
async fn once(mut peer: support::Peer) {
    if let Some(head) = peer.head().await {
        peer.answer_call(&head, |method, _| session_calls(method).unwrap_or(Ok(support::text("")))).await;
    }
}

struct Rerouted(Arc<AtomicU16>);

impl Connect for Rerouted {
    fn connect(&self, _: &Endpoint) -> Connecting {
        let port = self.0.load(Ordering::SeqCst);
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

#[tokio::test]
async fn the_name_matters_with_a_ca() {
    let host = host(&["xen1.example.org"]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &host.pem).unwrap();
    let error = host.log_in(Trust::CaFile(file)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
    assert!(error.to_string().contains("another name"), "{error}");
}

#[tokio::test]
async fn anything_goes_only_when_asked_for() {
    let host = host(&["xen1"]).await;
    host.log_in(Trust::DangerAcceptAny).await.unwrap();
}

#[tokio::test]
async fn plain_and_tls_mixed_up() {
    let host = host(&["xen1"]).await;
    let plain = Config::new(&format!("http://127.0.0.1:{}", host.port), "root", "x").unwrap();
    let error = Client::connect(plain).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Unreachable), "{error}");

    let port = listen(None, |mut peer| async move {
        peer.fill().await;
        peer.write("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let tls = Config::new(&format!("https://127.0.0.1:{port}"), "root", "x").unwrap();
    let error = Client::connect(tls.trust(Trust::DangerAcceptAny)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}

#[test]
fn files_that_hold_no_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    for file in [empty, folder.path().join("missing.pem")] {
        let config = Config::new("https://h", "root", "x").unwrap().trust(Trust::CaFile(file.clone()));
        let error = Client::new(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    }
    let config = Config::new("https://h", "root", "x").unwrap().trust(Trust::Fingerprints(Vec::new()));
    assert_eq!(Client::new(config).unwrap_err().kind(), ErrorKind::Config);
}

/// The system's roots are those that the environment names, and that is one for all tests of a process.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_the_system_believes_in_is_accepted() {
    let (believed, unknown) = (host(&["127.0.0.1"]).await, host(&["127.0.0.1"]).await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    std::fs::write(&file, &believed.pem).unwrap();
    for (host, expected) in [(&believed, "accepted"), (&unknown, "refused")] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child
            .args(["--exact", "in_a_process_of_its_own", "--ignored"])
            .env("SSL_CERT_FILE", &file)
            .env_remove("SSL_CERT_DIR")
            .env("TEST_URL", format!("https://127.0.0.1:{}", host.port))
            .env("TEST_EXPECTED", expected);
        let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && shown.contains("1 passed"), "{expected}: {shown}");
    }
}

#[tokio::test]
#[ignore = "the other half of a_certificate_that_the_system_believes_in_is_accepted, which starts it with roots of its own"]
async fn in_a_process_of_its_own() {
    let (Ok(url), Ok(expected)) = (std::env::var("TEST_URL"), std::env::var("TEST_EXPECTED")) else { return };
    let config = Config::new(&url, "root", "x").unwrap().trust(Trust::SystemRoots);
    match Client::connect(config).await {
        Ok(_) => assert_eq!(expected, "accepted"),
        Err(error) => {
            assert_eq!((expected.as_str(), error.kind()), ("refused", ErrorKind::Untrusted), "{error}");
        }
    }
}
