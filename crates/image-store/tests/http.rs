//! Images over HTTP, from and to servers that do what servers do: break off, forget ranges, replace the file,
//! refuse.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use image_store::http::{Client, HttpSink, HttpSource, Timeouts, Trust};
use image_store::{Algorithm, Content, Declared, Digest, Error, Image, ImageSink, ImageSource, Retry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// How the server behaves in one exchange.
#[derive(Debug, Clone)]
struct Turn {
    status: u16,
    etag: Option<&'static str>,
    /// The body is cut after so many bytes.
    cut: Option<usize>,
    ranges: bool,
    location: Option<String>,
    /// Another content than before.
    body: Option<Vec<u8>>,
}

const GOOD: Turn =
    Turn { status: 200, etag: Some("\"1\""), cut: None, ranges: true, location: None, body: None };

/// Heads of the requests, with the bodies behind them.
type Seen = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

struct Server {
    url: String,
    seen: Seen,
}

fn quick() -> Retry {
    Retry { first_pause: Duration::from_millis(1), ..Retry::default() }
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

impl Server {
    /// Takes these turns one after the other, then the last one for ever.
    async fn start(body: Vec<u8>, turns: Vec<Turn>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/image", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let requests = Arc::clone(&seen);
        tokio::spawn(async move {
            let mut turns = turns.into_iter();
            let mut turn = turns.next().unwrap();
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let (head, sent) = read_request(&mut socket).await;
                let (head_text, reply) = answer(&turn, &head, &body);
                requests.lock().unwrap().push((head, sent));
                let _ = socket.write_all(head_text.as_bytes()).await;
                let _ = socket.write_all(&reply[..turn.cut.unwrap_or(reply.len()).min(reply.len())]).await;
                let _ = socket.shutdown().await;
                turn = turns.next().unwrap_or(turn);
            }
        });
        Self { url, seen }
    }

    fn source(&self) -> HttpSource {
        HttpSource::new(Client::default(), &self.url).unwrap().retry(quick())
    }

    fn heads(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(head, _)| head.to_ascii_lowercase()).collect()
    }
}

async fn read_request(socket: &mut (impl AsyncReadExt + Unpin)) -> (String, Vec<u8>) {
    let mut all = Vec::new();
    let end = loop {
        if let Some(end) = all.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if socket.read_buf(&mut all).await.unwrap_or(0) == 0 {
            break all.len();
        }
    };
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let lower = head.to_ascii_lowercase();
    let len = lower.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    while all.len() < end + len.unwrap_or(0) {
        if socket.read_buf(&mut all).await.unwrap_or(0) == 0 {
            break;
        }
    }
    (head, all.split_off(end))
}

fn answer(turn: &Turn, head: &str, body: &[u8]) -> (String, Vec<u8>) {
    let body = turn.body.as_deref().unwrap_or(body);
    let lower = head.to_ascii_lowercase();
    let from =
        lower.split("range: bytes=").nth(1).and_then(|rest| rest.split('-').next()?.parse::<usize>().ok());
    let if_range = lower.split("if-range: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let same = if_range.is_none() || if_range == turn.etag;
    let mut lines = String::new();
    let (status, reply) = match from.filter(|_| turn.status == 200 && turn.ranges && same) {
        Some(from) => {
            lines += &format!("Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len());
            (206, body[from..].to_vec())
        }
        None => (turn.status, if turn.status == 200 { body.to_vec() } else { b"<p>no</p>".to_vec() }),
    };
    lines += &turn.etag.map_or(String::new(), |etag| format!("ETag: {etag}\r\n"));
    lines += &turn.location.as_ref().map_or(String::new(), |place| format!("Location: {place}\r\n"));
    (
        format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{lines}Connection: close\r\n\r\n", reply.len()),
        reply,
    )
}

/// What ends with the connection ends where the server dies, too: without a digest nobody would know.
#[tokio::test]
async fn a_content_without_length_and_end_needs_a_digest() {
    let body = content(100_000);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/image", listener.local_addr().unwrap());
    let sent = body.clone();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            read_request(&mut socket).await;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await;
            let _ = socket.write_all(&sent).await;
            let _ = socket.shutdown().await;
        }
    });
    let source = || HttpSource::new(Client::default(), &url).unwrap().retry(quick());
    let error = read(&source()).await.unwrap_err();
    assert!(error.to_string().contains("neither its length nor its end; give a digest"), "{error}");
    let digest = Digest::of(Algorithm::Sha256, &body);
    assert_eq!(read(&source().digest(digest)).await.unwrap(), body);
}

async fn read(source: &HttpSource) -> Result<Vec<u8>, Error> {
    let mut content = source.open().await?.content;
    let mut all = Vec::new();
    while let Some(piece) = content.chunk().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

#[tokio::test]
async fn a_connection_that_breaks_at_any_byte_is_resumed() {
    let body = content(300);
    let sha256 = Digest::of(Algorithm::Sha256, &body);
    for cut in 0..300 {
        let broken = Turn { cut: Some(cut), ..GOOD };
        let server = Server::start(body.clone(), vec![broken, GOOD]).await;
        assert!(read(&server.source().digest(sha256.clone())).await.unwrap() == body, "{cut}");
        let heads = server.heads();
        assert_eq!(heads.len(), 2, "{cut}");
        if cut > 0 {
            assert!(heads[1].contains(&format!("range: bytes={cut}-")), "{}", heads[1]);
            assert!(heads[1].contains("if-range: \"1\""), "{}", heads[1]);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_resumed_is_not_patched_together() {
    let body = content(1000);
    let broken = Turn { cut: Some(500), ..GOOD };
    let other = content(1001)[1..].to_vec();
    let cases = [
        // Replaced between the two requests.
        (broken.clone(), Turn { etag: Some("\"2\""), body: Some(other.clone()), ..GOOD }),
        // Nothing says that it was not.
        (Turn { etag: None, ..broken.clone() }, Turn { etag: None, ..GOOD }),
        // Its weak tag only promises the same meaning, and there is no date.
        (Turn { etag: Some("W/\"1\""), ..broken.clone() }, Turn { etag: Some("W/\"1\""), ..GOOD }),
        // Shorter now.
        (broken.clone(), Turn { status: 416, ..GOOD }),
    ];
    for (first, second) in cases {
        let server = Server::start(body.clone(), vec![first, second.clone()]).await;
        let error = read(&server.source()).await.unwrap_err();
        assert!(matches!(error, Error::NotResumable { position: 500, .. }), "{second:?}: {error}");
    }
    // A digest lets it go on without a tag, and finds what was replaced.
    let without = |turn: Turn| Turn { etag: None, ..turn };
    let digest = Digest::of(Algorithm::Md5, &body);
    let server = Server::start(body.clone(), vec![without(broken.clone()), without(GOOD)]).await;
    assert_eq!(read(&server.source().digest(digest.clone())).await.unwrap(), body);
    let replaced = Turn { body: Some(other), ..without(GOOD) };
    let server = Server::start(body, vec![without(broken), replaced]).await;
    assert!(matches!(read(&server.source().digest(digest)).await.unwrap_err(), Error::Digest { .. }));
}

#[tokio::test]
async fn a_server_without_ranges_is_read_from_the_start_again() {
    let body = content(100_000);
    let none = Turn { ranges: false, ..GOOD };
    let server = Server::start(body.clone(), vec![Turn { cut: Some(70_001), ..none.clone() }, none]).await;
    assert!(read(&server.source()).await.unwrap() == body);
}

#[tokio::test]
async fn attempts_end() {
    let refuse = |status| Turn { status, ..GOOD };
    for (status, requests) in [(404, 1), (401, 1), (403, 1), (503, 4), (500, 4), (429, 4)] {
        let server = Server::start(content(10), vec![refuse(status)]).await;
        let error = read(&server.source()).await.unwrap_err();
        assert_eq!(server.heads().len(), requests, "{status}: {error}");
        match error {
            Error::NotFound { .. } => assert_eq!(status, 404),
            Error::Status { status: seen, .. } => assert_eq!(seen, status),
            Error::GivenUp { attempts: 4, source, .. } => {
                assert!(matches!(*source, Error::Status { status: seen, .. } if seen == status));
            }
            other => panic!("{status}: {other}"),
        }
    }
    // It always gives one byte and breaks: progress, but not enough of it.
    let server = Server::start(content(1000), vec![Turn { cut: Some(1), ..GOOD }]).await;
    let error = read(&server.source()).await.unwrap_err();
    assert!(matches!(error, Error::GivenUp { attempts: 4, .. }), "{error}");
    assert_eq!(server.heads().len(), 4);
    // Nobody there.
    let source = HttpSource::new(Client::default(), "http://127.0.0.1:1/x").unwrap().retry(quick());
    assert!(matches!(read(&source).await.unwrap_err(), Error::GivenUp { attempts: 4, .. }));
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let timeouts = Timeouts { idle: Duration::from_millis(50), ..Timeouts::default() };
    let client = Client::new(Trust::SystemRoots, timeouts);
    let source = HttpSource::new(client, &url).unwrap().retry(Retry::never());
    let error = read(&source).await.unwrap_err();
    assert!(error.to_string().contains("nothing moved"), "{error}");
}

/// It moves the image to where it belongs before it says that it has it.
#[tokio::test]
async fn a_server_may_take_longer_to_store_an_image_than_to_take_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let idle = Duration::from_millis(300);
    tokio::spawn(async move {
        for is_stored in [true, false] {
            let (mut socket, _) = listener.accept().await.unwrap();
            read_request(&mut socket).await;
            match is_stored {
                true => tokio::time::sleep(idle * 5).await,
                false => std::future::pending().await,
            }
            let _ = socket.write_all(b"HTTP/1.1 201 X\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let put = async |stored| {
        let timeouts = Timeouts { idle, stored, ..Timeouts::default() };
        let client = Client::new(Trust::SystemRoots, timeouts);
        let sink = HttpSink::new(client, &url).unwrap().retry(Retry::never());
        sink.store(&|| Box::pin(async { Ok(image(content(5000), None)) })).await
    };
    assert_eq!(put(Duration::from_secs(60)).await.unwrap().len, 5000);
    let error = put(Duration::from_millis(700)).await.unwrap_err();
    assert!(error.to_string().contains("nothing moved for 0.7 s"), "{error}");
}

#[tokio::test]
async fn redirects_are_followed_but_not_for_ever() {
    let server = Server::start(content(10), vec![GOOD]).await;
    let to = |location: &str| Turn { status: 302, location: Some(location.to_owned()), ..GOOD };
    let first = Server::start(Vec::new(), vec![to(&server.url)]).await;
    assert_eq!(read(&first.source()).await.unwrap(), content(10));
    let round = Server::start(Vec::new(), vec![to("/again")]).await;
    assert!(read(&round.source()).await.unwrap_err().to_string().contains("redirects"));
}

fn image(bytes: Vec<u8>, digest: Option<Digest>) -> Image {
    let len = Some(bytes.len() as u64);
    let mut content = Content::from_bytes("the image", bytes);
    digest.into_iter().for_each(|digest| content.check(digest));
    Image { declared: Declared::default(), len, content }
}

#[tokio::test]
async fn a_put_is_repeated_and_says_what_was_stored() {
    let server =
        Server::start(Vec::new(), vec![Turn { status: 503, ..GOOD }, Turn { status: 201, ..GOOD }]).await;
    let sink = HttpSink::new(Client::default(), &server.url).unwrap().retry(quick());
    let stored = sink.store(&|| Box::pin(async { Ok(image(content(5000), None)) })).await.unwrap();
    assert_eq!((stored.len, &stored.digest), (5000, &Digest::of(Algorithm::Sha512, &content(5000))));
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert!(seen[1].1 == content(5000));
    assert!(seen[1].0.to_ascii_lowercase().contains("if-none-match: *"));
}

#[tokio::test]
async fn an_image_with_another_digest_never_arrives_whole() {
    let server = Server::start(Vec::new(), vec![Turn { status: 201, ..GOOD }]).await;
    let sink = HttpSink::replacing(Client::default(), &server.url).unwrap().retry(quick());
    let wrong = Digest::of(Algorithm::Sha256, b"another");
    let make = || image(content(5000), Some(wrong.clone()));
    let error = sink.store(&|| Box::pin(async { Ok(make()) })).await.unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    // The request may still be on its way to the list; what is in it is never the whole.
    assert!(server.seen.lock().unwrap().iter().all(|(_, body)| body.len() < 5000));
    let taken = Server::start(Vec::new(), vec![Turn { status: 412, ..GOOD }]).await;
    let sink = HttpSink::new(Client::default(), &taken.url).unwrap();
    let error = sink.store(&|| Box::pin(async { Ok(image(content(5), None)) })).await.unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
}

mod tls {
    use std::io::Write;

    use image_store::http::Fingerprint;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::{ServerConfig, pki_types::PrivateKeyDer};

    use super::*;

    /// A server with a certificate of its own for `localhost`, as PEM, and its fingerprint.
    async fn start() -> (String, String, Fingerprint) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(socket).await else { continue };
                let (head, _) = read_request(&mut stream).await;
                let (head, body) = answer(&GOOD, &head, &content(1000));
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&body).await;
                let _ = stream.shutdown().await;
            }
        });
        let fingerprint = Digest::of(Algorithm::Sha256, made.cert.der()).hex().parse().unwrap();
        (url, made.cert.pem(), fingerprint)
    }

    #[tokio::test]
    async fn certificates_are_verified() {
        let (url, pem, fingerprint) = start().await;
        let mut ca = tempfile::NamedTempFile::new().unwrap();
        ca.write_all(pem.as_bytes()).unwrap();
        let get = async |trust: Trust| {
            let client = Client::new(trust, Timeouts::default());
            read(&HttpSource::new(client, &url).unwrap().retry(quick())).await
        };
        assert!(matches!(get(Trust::SystemRoots).await.unwrap_err(), Error::Untrusted { .. }));
        assert_eq!(get(Trust::CaFile(ca.path().to_owned())).await.unwrap(), content(1000));
        assert_eq!(get(Trust::Pinned(vec![fingerprint.clone()])).await.unwrap(), content(1000));
        let error = get(Trust::Pinned(vec!["00".repeat(32).parse().unwrap()])).await.unwrap_err().to_string();
        assert!(error.contains(&fingerprint.to_string()), "{error}");
    }
}

mod glance {
    use std::collections::BTreeMap;

    use image_store::glance::{Credentials, Glance, GlanceSink, Keystone, NewImage};

    use super::*;

    /// Keystone and Glance at one port: images by id, with their content once they have any.
    #[derive(Default)]
    struct Service {
        images: BTreeMap<String, Option<Vec<u8>>>,
        created: usize,
        /// How many requests get no answer after they have been carried out, of those that make images and those that
        /// remove them.
        lost: [usize; 2],
    }

    impl Service {
        /// Status, further headers and body; `None` when the answer is lost.
        fn answer(&mut self, url: &str, head: &str, sent: Vec<u8>) -> Option<(u16, &'static str, String)> {
            let mut words = head.split(' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap());
            let id = path.split('/').nth(3).unwrap_or_default().to_owned();
            let mut is_lost = |which: usize| {
                let left = self.lost[which].checked_sub(1);
                self.lost[which] = left.unwrap_or(0);
                left.is_some()
            };
            let record = |id: &str, content: &Option<Vec<u8>>| {
                let status = if content.is_some() { "active" } else { "queued" };
                let size = content.as_ref().map(Vec::len);
                serde_json::json!({"id": id, "status": status, "size": size}).to_string()
            };
            Some(match (method, path) {
                ("POST", "/v3/auth/tokens") => {
                    let endpoint = serde_json::json!({"interface": "public", "url": url});
                    let catalog = serde_json::json!([{"type": "image", "endpoints": [endpoint]}]);
                    let granted = serde_json::json!({"token": {"catalog": catalog}});
                    (201, "X-Subject-Token: token\r\n", granted.to_string())
                }
                ("POST", _) => {
                    let asked: serde_json::Value = serde_json::from_slice(&sent).unwrap();
                    let id =
                        asked["id"].as_str().map_or_else(|| format!("own-{}", self.created), str::to_owned);
                    self.created += 1;
                    self.images.insert(id.clone(), None);
                    if is_lost(0) {
                        return None;
                    }
                    (201, "", record(&id, &None))
                }
                ("DELETE", _) => {
                    let found = self.images.contains_key(&id);
                    if is_lost(1) {
                        return None;
                    }
                    self.images.remove(&id);
                    (if found { 204 } else { 404 }, "", String::new())
                }
                ("PUT", _) => {
                    self.images.insert(id, Some(sent));
                    (204, "", String::new())
                }
                _ => match self.images.get(&id) {
                    Some(content) => (200, "", record(&id, content)),
                    None => (404, "", String::new()),
                },
            })
        }
    }

    /// A lost answer is no image less: what was made is found by its id.
    #[tokio::test]
    async fn an_image_of_whose_making_nobody_heard_is_removed() {
        // The last one is not removed before there is an image.
        for lost in [[0, 0], [1, 0], [2, 0], [1, 4]] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let service = Arc::new(Mutex::new(Service { lost, ..Service::default() }));
            let (kept, own) = (Arc::clone(&service), url.clone());
            tokio::spawn(async move {
                loop {
                    let (mut socket, _) = listener.accept().await.unwrap();
                    let (head, sent) = read_request(&mut socket).await;
                    let answer = kept.lock().unwrap().answer(&own, &head, sent);
                    let Some((status, headers, body)) = answer else { continue };
                    let len = body.len();
                    let text = format!(
                        "HTTP/1.1 {status} X\r\n{headers}Content-Length: {len}\r\nConnection: close\r\n\r\n{body}"
                    );
                    let _ = socket.write_all(text.as_bytes()).await;
                    let _ = socket.shutdown().await;
                }
            });
            let login = Credentials::password("admin", "secret", "admin");
            let keystone = Keystone::new(Client::default(), &url, login).unwrap();
            let glance = Glance::new(keystone).retry(quick());
            let sink = GlanceSink::new(glance, NewImage::new("one", "bare", "raw"));
            let stored = sink.store(&|| Box::pin(async { Ok(image(content(5000), None)) })).await.unwrap();
            let service = service.lock().unwrap();
            let left: Vec<_> = service.images.iter().map(|(id, bytes)| (id, bytes.is_some())).collect();
            assert_eq!(left, [(&stored.place, true)], "{lost:?}");
            assert_eq!(service.created, 1 + lost[0], "{lost:?}");
        }
    }
}
