//! HTTP/1.1 to XAPI: one connection, and the pool of those that calls share.
//!
//! XAPI allows 1,024 bytes of headers in all, so requests carry the few that it reads and a short
//! name of ours, always the same: newer servers keep rates by it.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use xenapi_types::Safety;

use crate::connect::Dialer;
use crate::endpoint::Endpoint;
use crate::error::{BoxError, Error, ErrorKind, Result, root_cause};
use crate::outbox::Outbox;
use crate::service::{Arriving, Exchange, addressed, arriving};

/// What the header block of a request may have, the blank line included: 1,024 bytes less what
/// XAPI's reader keeps for itself.
const MAX_HEAD_BYTES: usize = 1_006;

const USER_AGENT: &str = concat!("xenapi-rs/", env!("CARGO_PKG_VERSION"));

/// Connections older than this are not used again: something in between may have forgotten them.
const MAX_IDLE: Duration = Duration::from_secs(90);

/// One connection. Dropping it closes the socket, whatever is under way on it.
///
/// Of a service nothing is known but its answers: what becomes of a request that is dropped is its affair.
pub(crate) enum Connection<B> {
    Own { sender: http1::SendRequest<B>, driver: Driver, outbox: Outbox },
    Service { service: Arc<dyn Exchange>, endpoint: Endpoint },
}

/// What moves the bytes of a connection, until it is dropped.
pub(crate) struct Driver {
    task: tokio::task::JoinHandle<()>,
    /// Ends the connection in an orderly way.
    leave: Option<oneshot::Sender<()>>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How long an orderly end may take.
const FAREWELL: Duration = Duration::from_secs(1);

impl<B> Connection<B> {
    /// Whether all that was to be sent has left this program.
    pub(crate) fn has_sent_all(&self) -> bool {
        match self {
            Self::Own { outbox, .. } => outbox.is_empty(),
            Self::Service { .. } => true,
        }
    }

    /// Ends the connection as one that is complete: over TLS the other end is told so, and need not take what it has
    /// got for cut off. What has not been sent is lost.
    pub(crate) async fn leave(self) {
        if let Self::Own { mut driver, .. } = self
            && let Some(leave) = driver.leave.take()
            && leave.send(()).is_ok()
        {
            // A host that does not even take this is left without.
            let _ = tokio::time::timeout(FAREWELL, &mut driver.task).await;
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Own { sender, .. } => sender.is_closed(),
            Self::Service { .. } => false,
        }
    }
}

/// Why a request got no answer.
pub(crate) enum Unanswered {
    /// Nothing of it was written.
    NotSent,
    /// It may have been carried out.
    Lost(BoxError),
}

impl<B> Connection<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    pub(crate) async fn open(dialer: &Dialer, endpoint: &Endpoint) -> Result<Self> {
        if let Some(service) = &dialer.service {
            return Ok(Self::Service { service: Arc::clone(service), endpoint: endpoint.clone() });
        }
        let outbox = Outbox::default();
        let io = TokioIo::new(outbox.watch(dialer.dial(endpoint).await?));
        let (sender, connection) = http1::handshake(io).await.map_err(|e| {
            Error::new(ErrorKind::Unreachable, "the connection broke at once").because(e).at(endpoint)
        })?;
        let (leave, leaving) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut connection = connection;
            tokio::select! {
                ended = &mut connection => if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                },
                Ok(()) = leaving => {
                    // The other end may be gone already.
                    let _ = connection.into_parts().io.into_inner().shutdown().await;
                }
            }
        });
        Ok(Self::Own { sender, driver: Driver { task, leave: Some(leave) }, outbox })
    }

    pub(crate) async fn send(&mut self, request: Request<B>) -> Result<Response<Arriving>, Unanswered> {
        let sender = match self {
            Self::Own { sender, .. } => sender,
            Self::Service { service, endpoint } => {
                let request = addressed(request, endpoint).map_err(|e| Unanswered::Lost(e.into()))?;
                return service.exchange(request).await;
            }
        };
        if sender.ready().await.is_err() {
            return Err(Unanswered::NotSent);
        }
        match sender.try_send_request(request).await {
            Ok(response) => Ok(response.map(arriving)),
            Err(mut error) => Err(match error.take_message() {
                Some(_) => Unanswered::NotSent,
                None => Unanswered::Lost(error.into_error().into()),
            }),
        }
    }
}

/// A request with the headers that XAPI reads.
///
/// # Errors
/// When the head is larger than XAPI accepts.
pub(crate) fn request<B: Body>(
    method: http::Method,
    endpoint: &Endpoint,
    path_and_query: &str,
    more: &[(header::HeaderName, &str)],
    body: B,
) -> Result<Request<B>> {
    let mut builder = Request::builder()
        .method(method)
        .uri(path_and_query)
        .header(header::HOST, endpoint.host_header())
        .header(header::USER_AGENT, USER_AGENT);
    for (name, value) in more {
        let mut value = header::HeaderValue::from_str(value)
            .map_err(|e| Error::new(ErrorKind::Config, "a header cannot be sent").because(e))?;
        value.set_sensitive(*name == header::COOKIE);
        builder = builder.header(name, value);
    }
    let request = builder
        .body(body)
        .map_err(|e| Error::new(ErrorKind::Config, "the request is malformed").because(e))?;
    let head = head_len(&request);
    if head > MAX_HEAD_BYTES {
        let message = format!("the request's head has {head} bytes and XAPI accepts {MAX_HEAD_BYTES}");
        return Err(Error::new(ErrorKind::Config, message).at(endpoint));
    }
    Ok(request)
}

/// What hyper will write before the body.
fn head_len<B: Body>(request: &Request<B>) -> usize {
    let line =
        request.method().as_str().len() + " ".len() + request.uri().to_string().len() + " HTTP/1.1\r\n".len();
    let headers: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum();
    line + headers + "content-length: 18446744073709551615\r\n".len() + "\r\n".len()
}

/// A complete answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Pieces,
}

impl Reply {
    pub(crate) fn content_type_is(&self, wanted: &str) -> bool {
        self.headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.trim().to_ascii_lowercase().starts_with(wanted))
    }
}

/// The shared connections to all hosts of a pool.
pub(crate) struct Http {
    pub(crate) dialer: Dialer,
    idle: Mutex<HashMap<Endpoint, Vec<Idle>>>,
    max_response_bytes: usize,
}

struct Idle {
    connection: Connection<Full<Bytes>>,
    since: Instant,
}

impl Http {
    pub(crate) fn new(dialer: Dialer, max_response_bytes: usize) -> Self {
        Self { dialer, idle: Mutex::default(), max_response_bytes }
    }

    /// Sends a body and reads the whole answer. A broken connection is replaced when nothing of the
    /// request was written, or once when it is safe to repeat.
    pub(crate) async fn post(
        &self,
        endpoint: &Endpoint,
        path: &str,
        headers: &[(header::HeaderName, &str)],
        body: &Bytes,
        safety: Safety,
    ) -> Result<Reply> {
        let mut repeats_left = u32::from(safety.is_repeatable());
        let mut fresh_left = 3;
        loop {
            let connection = match self.take_idle(endpoint) {
                Some(connection) => connection,
                None if fresh_left == 0 => {
                    let message = "every connection ended before a request could be sent";
                    return Err(Error::new(ErrorKind::Unreachable, message)
                        .remedy("check what listens on that port, and the host's load")
                        .at(endpoint));
                }
                None => {
                    fresh_left -= 1;
                    Connection::open(&self.dialer, endpoint).await?
                }
            };
            let request = request(http::Method::POST, endpoint, path, headers, Full::new(body.clone()))?;
            match self.exchange(endpoint, connection, request).await {
                Ok(reply) => return Ok(reply),
                Err(Unread::NotSent) => {}
                Err(Unread::Failed(error)) => return Err(error.at(endpoint)),
                Err(Unread::Lost(error)) if repeats_left > 0 => {
                    repeats_left -= 1;
                    tracing::debug!(%endpoint, %error, "connection lost, the call is repeated");
                }
                Err(Unread::Lost(error)) => return Err(answer_lost(error, safety).at(endpoint)),
            }
        }
    }

    async fn exchange(
        &self,
        endpoint: &Endpoint,
        mut connection: Connection<Full<Bytes>>,
        request: Request<Full<Bytes>>,
    ) -> Result<Reply, Unread> {
        let response = match connection.send(request).await {
            Ok(response) => response,
            Err(Unanswered::NotSent) => return Err(Unread::NotSent),
            Err(Unanswered::Lost(error)) => {
                return Err(match error.downcast::<hyper::Error>() {
                    Ok(error) if error.is_parse() => Unread::Failed(not_http(*error)),
                    Ok(error) => Unread::Lost(error),
                    Err(error) => Unread::Lost(error),
                });
            }
        };
        let (parts, incoming) = response.into_parts();
        let body = whole(incoming, self.max_response_bytes).await?;
        self.put_idle(endpoint, connection);
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }

    fn take_idle(&self, endpoint: &Endpoint) -> Option<Connection<Full<Bytes>>> {
        let mut idle = self.lock();
        let list = idle.get_mut(endpoint)?;
        while let Some(candidate) = list.pop() {
            if candidate.since.elapsed() < MAX_IDLE && !candidate.connection.is_closed() {
                return Some(candidate.connection);
            }
        }
        None
    }

    fn put_idle(&self, endpoint: &Endpoint, connection: Connection<Full<Bytes>>) {
        if connection.is_closed() {
            return;
        }
        let mut idle = self.lock();
        let list = idle.entry(endpoint.clone()).or_default();
        list.retain(|old| old.since.elapsed() < MAX_IDLE && !old.connection.is_closed());
        list.push(Idle { connection, since: Instant::now() });
    }

    /// Closes the connections that nobody uses.
    pub(crate) fn close_idle(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Endpoint, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no complete answer.
enum Unread {
    /// Nothing of the request was written.
    NotSent,
    /// The request may have been carried out.
    Lost(BoxError),
    /// There is an answer, but it will not do.
    Failed(Error),
}

/// Reads a body to its end, and holds it once: what comes in one piece is not copied at all.
async fn whole(mut body: Arriving, limit: usize) -> Result<Pieces, Unread> {
    let promised = body.size_hint().exact().and_then(|len| usize::try_from(len).ok()).unwrap_or(PIECE);
    let mut pieces = Pieces::default();
    let mut len = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|broken| Unread::Lost(broken.into()))?;
        let Ok(data) = frame.into_data() else { continue };
        len += data.len();
        if len > limit {
            let error = Error::new(ErrorKind::Protocol, format!("the answer is longer than {limit} bytes"));
            let remedy = "raise Limits::response_bytes if the pool is that large";
            return Err(Unread::Failed(error.remedy(remedy)));
        }
        pieces.push(data, promised);
    }
    pieces.seal();
    Ok(pieces)
}

/// How much of an answer is in one piece. A promise costs nothing, so it is no reason to take more than this at once.
const PIECE: usize = 256 << 10;

/// A body as it is held until it has been read: in pieces that can be let go of one by one, however small those were in
/// which it came.
#[derive(Default)]
pub(crate) struct Pieces {
    full: Vec<Bytes>,
    /// The last piece, once there is more than one frame.
    open: Vec<u8>,
}

impl Pieces {
    fn push(&mut self, mut data: Bytes, promised: usize) {
        if self.full.is_empty() && self.open.is_empty() {
            return self.full.push(data);
        }
        // The first frame was kept as it came; a short one must not be a piece of its own.
        if self.open.is_empty() && self.full.len() == 1 && self.full[0].len() < PIECE {
            self.open.reserve_exact(promised.clamp(self.full[0].len(), PIECE));
            self.open.extend_from_slice(&self.full.swap_remove(0));
        }
        while !data.is_empty() {
            self.open.reserve_exact(PIECE.min(promised.max(self.open.len() + data.len())) - self.open.len());
            let fits = data.split_to(data.len().min(PIECE - self.open.len()));
            self.open.extend_from_slice(&fits);
            if self.open.len() == PIECE {
                self.seal();
            }
        }
    }

    fn seal(&mut self) {
        if !self.open.is_empty() {
            self.full.push(std::mem::take(&mut self.open).into());
        }
    }

    /// All of it in one piece.
    pub(crate) fn joined(self) -> Bytes {
        match <[Bytes; 1]>::try_from(self.full) {
            Ok([one]) => one,
            Err(pieces) => {
                let mut all = Vec::with_capacity(pieces.iter().map(Bytes::len).sum());
                pieces.into_iter().for_each(|piece| all.extend_from_slice(&piece));
                all.into()
            }
        }
    }
}

impl IntoIterator for Pieces {
    type Item = Bytes;
    type IntoIter = std::vec::IntoIter<Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.full.into_iter()
    }
}

fn answer_lost(error: BoxError, safety: Safety) -> Error {
    let what = format!("the connection broke before the answer was complete ({})", root_cause(&*error));
    let lost = if safety.is_repeatable() {
        Error::new(ErrorKind::Unreachable, what)
    } else {
        let message = format!("{what}, so the call may or may not have been carried out");
        Error::new(ErrorKind::OutcomeUnknown, message)
    };
    lost.because(error)
}

fn not_http(error: hyper::Error) -> Error {
    let detail = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    Error::new(ErrorKind::Protocol, format!("what answers there does not speak HTTP ({detail})"))
        .remedy("check the port, and whether the URL should begin with https://")
        .because(error)
}

/// The readable part of an error page, for an error's text. What the server repeats is to be [cut out](Secrets::page).
pub(crate) fn page_text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut plain = String::new();
    let mut in_tag = false;
    for c in text.chars() {
        match c {
            '<' => {
                in_tag = true;
                plain.push(' ');
            }
            '>' => in_tag = false,
            _ if !in_tag => plain.push(if c.is_control() { ' ' } else { c }),
            _ => {}
        }
    }
    let mut words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = words.char_indices().nth(300) {
        words.truncate(cut);
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_beyond_what_xapi_accepts_is_not_sent() {
        let endpoint: Endpoint = "http://h".parse().unwrap();
        let path = |len: usize| format!("/{}", "a".repeat(len));
        let build = |len| request(http::Method::PUT, &endpoint, &path(len), &[], Full::<Bytes>::default());
        assert!(build(800).is_ok());
        let error = build(1_000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }

    #[test]
    fn frames_of_any_length_become_pieces_of_one() {
        for frames in
            [&[][..], &[5], &[0, 5], &[5, 7, 9], &[PIECE], &[PIECE, 1], &[3 * PIECE + 1, 2], &[1; 2_000]]
        {
            for promised in [0, 100, PIECE, 100 * PIECE] {
                let total: usize = frames.iter().sum();
                let content: Vec<u8> = (0..total).map(|at| (at % 251) as u8).collect();
                let mut pieces = Pieces::default();
                let mut rest = Bytes::from(content.clone());
                frames.iter().for_each(|len| pieces.push(rest.split_to(*len), promised));
                pieces.seal();
                let held: usize = pieces.full.iter().map(Bytes::len).sum();
                assert_eq!(held, total);
                assert!(pieces.full.len() <= 2 + total / PIECE, "{frames:?}: {} pieces", pieces.full.len());
                assert!(pieces.joined() == content, "{frames:?}");
            }
        }
    }

    #[test]
    fn pages_are_reduced_to_their_words() {
        let page = b"<html><body><h1>HTTP 500 internal server error</h1>An unexpected\nerror</body></html>";
        assert_eq!(page_text(page), "HTTP 500 internal server error An unexpected error");
    }
}
