//! One request, one connection.
//!
//! Images are few and large: a pool of connections would save nothing, and its half-dead connections would
//! have to be told from dead servers.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use secret::Secret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::{Error, Result};
use crate::http::outgoing::Outgoing;
use crate::http::tls::{Trust, handshake_failed};

/// How long to wait for a server.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Until a connection is open, TLS included.
    pub connect: Duration,
    /// While not one byte moves in either direction.
    pub idle: Duration,
    /// For the answer to an image that has been sent: the server may have to put all of it elsewhere first.
    pub stored: Duration,
}

impl Default for Timeouts {
    /// 30 s for a connection, 90 s without a byte: what Nova allows. Half an hour for an image to be stored.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            idle: Duration::from_secs(90),
            stored: Duration::from_secs(1_800),
        }
    }
}

/// Speaks HTTP/1.1 with servers, over TLS where the address says so. Clones share what is trusted.
#[derive(Debug, Clone, Default)]
pub struct Client(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    trust: Trust,
    timeouts: Timeouts,
    config: OnceLock<Arc<ClientConfig>>,
}

/// What to ask for. Headers may hold tokens and are never shown.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Outgoing,
}

impl Request {
    pub(crate) fn new(method: Method, uri: Uri) -> Self {
        Self { method, uri, headers: HeaderMap::new(), body: Outgoing::empty() }
    }

    pub(crate) fn get(uri: Uri) -> Self {
        Self::new(Method::GET, uri)
    }

    pub(crate) fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

/// An answer whose body is still to be read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    what: String,
    body: Incoming,
    unread: Option<Bytes>,
    idle: Duration,
    /// What the request said in confidence, which some servers repeat.
    secrets: Vec<Secret>,
    _connection: Connection,
}

/// Closes the connection when it is dropped.
struct Connection(tokio::task::JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

const REDIRECTS: usize = 5;
const PAGE_BYTES: usize = 4 << 20;

impl Client {
    /// A client that believes these certificates.
    pub fn new(trust: Trust, timeouts: Timeouts) -> Self {
        Self(Arc::new(Inner { trust, timeouts, config: OnceLock::new() }))
    }

    /// Sends a request and returns the head of its answer.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer> {
        let what = shown(&request.uri);
        let connect = self.0.timeouts.connect;
        let io = tokio::time::timeout(connect, self.open(&request.uri, &what)).await.map_err(|_| {
            let problem =
                format!("no connection within {} s; check host and firewall", connect.as_secs_f32());
            Error::Unreachable { what: what.clone(), problem }
        })??;
        let broke = |error: hyper::Error| broken(&what, &error);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(io)).await.map_err(broke)?;
        let connection = Connection(tokio::spawn(async move {
            let _ = connection.await;
        }));
        let Request { method, uri, mut headers, body } = request;
        let host = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        headers.insert(header::HOST, header_value(&what, host)?);
        headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static("xenapi-rs"));
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = http::Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path
            .parse()
            .map_err(|_| Error::Invalid { what: what.clone(), problem: "its path is malformed".into() })?;
        let sensitive = headers.values().filter(|value| value.is_sensitive());
        let secrets = sensitive.filter_map(|value| value.to_str().ok().map(Secret::from)).collect();
        *request.headers_mut() = headers;
        let (moved, is_out) = (request.body().moved(), request.body().is_out());
        let failure = request.body().failure();
        let response = self.watched(&what, &moved, &is_out, sender.send_request(request)).await?;
        // What the image's own place has to say comes before the broken upload that it causes.
        if let Some(error) = failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            return Err(error);
        }
        let (parts, body) = response.map_err(broke)?.into_parts();
        let (status, headers, idle) = (parts.status, parts.headers, self.0.timeouts.idle);
        Ok(Answer { status, headers, what, body, unread: None, idle, secrets, _connection: connection })
    }

    /// As [`Client::send`] without a body, but goes where the server says. Other servers than the first one
    /// are not shown its tokens.
    pub(crate) async fn follow(&self, mut uri: Uri, mut headers: HeaderMap) -> Result<Answer> {
        for _ in 0..=REDIRECTS {
            let mut request = Request::get(uri.clone());
            request.headers = headers.clone();
            let answer = self.send(request).await?;
            if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let next = redirected(&uri, &answer)?;
            if next.authority() != uri.authority() || next.scheme() != uri.scheme() {
                headers.remove("x-auth-token");
                headers.remove(header::AUTHORIZATION);
            }
            uri = next;
        }
        Err(Error::Protocol { what: shown(&uri), problem: format!("more than {REDIRECTS} redirects") })
    }

    async fn open(&self, uri: &Uri, what: &str) -> Result<Box<dyn Io>> {
        let tls = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let failed = |error: io::Error| Error::Unreachable {
            what: what.to_owned(),
            problem: format!("cannot connect ({error}); check the address, and that the server runs"),
        };
        let stream = TcpStream::connect((host, port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        if !tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::Invalid {
            what: what.to_owned(),
            problem: "the host's name cannot be used with TLS".into(),
        })?;
        let config = match self.0.config.get() {
            Some(config) => Arc::clone(config),
            None => {
                let fresh = self.0.trust.config()?;
                Arc::clone(self.0.config.get_or_init(|| fresh))
            }
        };
        let stream = TlsConnector::from(config).connect(name, stream).await;
        Ok(Box::new(stream.map_err(|error| handshake_failed(what, &error))?))
    }

    /// Gives up when for too long no byte of the request's body has moved and no answer has come.
    async fn watched<T>(
        &self,
        what: &str,
        moved: &AtomicU64,
        is_out: &AtomicBool,
        work: impl Future<Output = T>,
    ) -> Result<T> {
        let Timeouts { idle, stored, .. } = self.0.timeouts;
        tokio::pin!(work);
        let (mut before, mut since) = (moved.load(Ordering::Relaxed), Instant::now());
        loop {
            if let Ok(done) = tokio::time::timeout(idle, &mut work).await {
                return Ok(done);
            }
            let now = moved.load(Ordering::Relaxed);
            let limit = if is_out.load(Ordering::Relaxed) { stored.max(idle) } else { idle };
            if now != before {
                (before, since) = (now, Instant::now());
            } else if since.elapsed() >= limit {
                return Err(silent(what, limit));
            }
        }
    }
}

impl Answer {
    /// The next bytes of the body, or `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if let Some(piece) = self.unread.take() {
            return Ok(Some(piece));
        }
        loop {
            let frame = tokio::time::timeout(self.idle, self.body.frame()).await;
            match frame.map_err(|_| silent(&self.what, self.idle))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(broken(&self.what, &error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Ok(Some(data)),
                    // Trailers.
                    Err(_) => {}
                },
            }
        }
    }

    /// Puts back what is to come next.
    pub(crate) fn unread(&mut self, piece: Bytes) {
        self.unread = Some(piece);
    }

    /// Has errors leave this out, which the request's body said in confidence.
    pub(crate) fn hiding(mut self, secret: &Secret) -> Self {
        self.secrets.push(secret.clone());
        self
    }

    /// The whole body of an answer that is no image.
    pub(crate) async fn page(&mut self) -> Result<Vec<u8>> {
        let mut page = Vec::new();
        while let Some(piece) = self.chunk().await? {
            if page.len() + piece.len() > PAGE_BYTES {
                let problem = format!("the answer is longer than {PAGE_BYTES} bytes");
                return Err(Error::Protocol { what: self.what.clone(), problem });
            }
            page.extend_from_slice(&piece);
        }
        Ok(page)
    }

    pub(crate) async fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T> {
        let page = self.page().await?;
        serde_json::from_slice(&page).map_err(|error| Error::Protocol {
            what: self.what.clone(),
            // Its text may quote the page, and that may hold a token.
            problem: format!("the answer is not the JSON that was expected (line {})", error.line()),
        })
    }

    /// Itself if the status is one of these.
    pub(crate) async fn expect(mut self, what: &str, wanted: &[u16]) -> Result<Self> {
        if wanted.contains(&self.status.as_u16()) {
            return Ok(self);
        }
        let page = self.page().await.unwrap_or_default();
        let mut page = String::from_utf8_lossy(&page).into_owned();
        for secret in self.secrets.iter().map(Secret::expose).filter(|secret| !secret.is_empty()) {
            page = page.replace(secret, "<a secret>");
        }
        Err(refused(what, self.status, page.as_bytes()))
    }

    pub(crate) fn text(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("what", &self.what)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// An address to use, checked.
///
/// # Errors
/// [`Error::Invalid`], which does not show an address that may hold a password.
pub(crate) fn address(text: &str) -> Result<Uri> {
    let refuse = |problem: &str| {
        let what =
            if text.contains('@') { "the address (not shown)".to_owned() } else { format!("{text:?}") };
        Err(Error::Invalid { what, problem: problem.to_owned() })
    };
    let Ok(uri) = text.parse::<Uri>() else {
        return refuse("this is not an address; give https://HOST/PATH");
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return refuse("give an address that begins with https:// or http://");
    }
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return refuse("user and password do not belong into an address");
    }
    Ok(uri)
}

/// An address without its query, which may be a signature that lets anybody in.
pub(crate) fn shown(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    format!("{}://{authority}{}", uri.scheme_str().unwrap_or_default(), uri.path())
}

fn redirected(from: &Uri, answer: &Answer) -> Result<Uri> {
    let refuse = |problem: &str| Error::Protocol { what: shown(from), problem: problem.to_owned() };
    let place = answer.text(header::LOCATION).ok_or_else(|| refuse("a redirect that says not where to"))?;
    let next = match place.strip_prefix('/') {
        Some(rest) if !rest.starts_with('/') => {
            let authority = from.authority().map_or("", http::uri::Authority::as_str);
            address(&format!("{}://{authority}{place}", from.scheme_str().unwrap_or("https")))?
        }
        _ => address(place)?,
    };
    if from.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
        return Err(refuse("it redirects from https to http, where nothing is verified"));
    }
    Ok(next)
}

pub(crate) fn header_value(what: &str, text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| Error::Invalid {
        what: what.to_owned(),
        problem: "it cannot be sent in an HTTP header: there are characters in it that are not allowed"
            .into(),
    })
}

fn silent(what: &str, idle: Duration) -> Error {
    let problem =
        format!("nothing moved for {} s; the server hangs, or a firewall is in between", idle.as_secs_f32());
    Error::Unreachable { what: what.to_owned(), problem }
}

fn broken(what: &str, error: &hyper::Error) -> Error {
    use std::error::Error as _;
    let detail = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    if error.is_parse() {
        let problem = format!("what answers there does not speak HTTP ({detail})");
        return Error::Protocol { what: what.to_owned(), problem };
    }
    Error::Unreachable { what: what.to_owned(), problem: format!("the connection broke ({detail})") }
}

/// What a status other than the wanted one means.
pub(crate) fn refused(what: &str, status: StatusCode, page: &[u8]) -> Error {
    if status == StatusCode::NOT_FOUND || status == StatusCode::GONE {
        return Error::NotFound { what: what.to_owned() };
    }
    let said = match status.as_u16() {
        401 => "not authenticated; check the credentials".to_owned(),
        403 => format!("not allowed; check the rights of the user or project{}", words(page)),
        _ => format!("{}{}", status.canonical_reason().unwrap_or_default(), words(page)),
    };
    Error::Status { what: what.to_owned(), status: status.as_u16(), said }
}

/// The readable beginning of a page.
fn words(page: &[u8]) -> String {
    let text = String::from_utf8_lossy(&page[..page.len().min(2048)]);
    let mut plain = String::new();
    let mut in_tag = false;
    for c in text.chars() {
        match c {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                plain.push(' ');
            }
            _ if in_tag => {}
            _ => plain.push(if c.is_control() { ' ' } else { c }),
        }
    }
    let words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.is_empty() {
        true => words,
        false => format!(" ({})", words.chars().take(200).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(shown(&address("https://h:8443/a/b?Signature=secret").unwrap()), "https://h:8443/a/b");
        for bad in ["", "h", "/a", "ftp://h/a", "https://user:secret@h/a", "https://"] {
            let error = address(bad).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn pages_become_one_sentence() {
        let error = refused("image x", StatusCode::SERVICE_UNAVAILABLE, b"<h1>Out</h1>\n of order");
        assert_eq!(error.to_string(), "image x: the server answered 503: Service Unavailable (Out of order)");
        assert!(error.is_transient());
        assert!(matches!(refused("x", StatusCode::NOT_FOUND, b""), Error::NotFound { .. }));
        assert!(!refused("x", StatusCode::UNAUTHORIZED, b"token gAAAA").to_string().contains("gAAAA"));
    }

    /// Gives these answers to whoever connects, one after another, and tells the heads of the requests.
    async fn server(answers: Vec<Vec<u8>>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let mut heads = Vec::new();
            for answer in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.unwrap());
                }
                heads.push(String::from_utf8(head).unwrap().to_lowercase());
                // Who has enough may go.
                let _ = socket.write_all(&answer).await;
            }
            heads
        });
        (url, serving)
    }

    fn to(place: &str) -> Vec<u8> {
        format!("HTTP/1.1 302 There\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    }

    #[tokio::test]
    async fn tokens_are_for_the_first_server_alone() {
        let done = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
        let (other, elsewhere) = server(vec![done]).await;
        let (url, here) = server(vec![to("/again"), to(&format!("{other}/image"))]).await;
        let mut headers = HeaderMap::new();
        headers.insert("x-auth-token", "s3cr3t".parse().unwrap());
        headers.insert(header::AUTHORIZATION, "s3cr3t".parse().unwrap());
        headers.insert(header::RANGE, "bytes=7-".parse().unwrap());
        let answer = Client::default().follow(url.parse().unwrap(), headers).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        let (here, elsewhere) = (here.await.unwrap(), elsewhere.await.unwrap());
        assert!(here.iter().all(|head| head.matches("s3cr3t").count() == 2), "{here:?}");
        assert!(
            elsewhere[0].contains("range: bytes=7-") && !elsewhere[0].contains("s3cr3t"),
            "{elsewhere:?}"
        );
    }

    #[tokio::test]
    async fn what_was_verified_is_not_sent_on_in_the_clear() {
        let (url, _) = server(vec![to("http://h/image")]).await;
        let answer = Client::default().send(Request::get(url.parse().unwrap())).await.unwrap();
        assert_eq!(redirected(&url.parse().unwrap(), &answer).unwrap(), "http://h/image");
        let error = redirected(&"https://h/".parse().unwrap(), &answer).unwrap_err().to_string();
        assert!(error.contains("from https to http"), "{error}");
    }

    #[tokio::test]
    async fn pages_without_end_are_not_kept() {
        let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        answer.resize(PAGE_BYTES + answer.len() + 1, b' ');
        let (url, _) = server(vec![answer]).await;
        let mut answer = Client::default().send(Request::get(url.parse().unwrap())).await.unwrap();
        let error = answer.page().await.unwrap_err().to_string();
        assert!(error.contains(&format!("longer than {PAGE_BYTES} bytes")), "{error}");
    }
}
