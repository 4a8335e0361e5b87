//! Requests to XAPI's HTTP handlers other than the calls.

use bytes::Bytes;
use http::{StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use xenapi_types::handler::{Handler, Method, Request};

use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{BoxError, Error, ErrorKind, Result, root_cause};
use crate::http::{Connection, Unanswered, request};
use crate::session::Session;
use crate::transfer::redirect_target;

/// How many hosts a request or a transfer is passed on to before it is called a loop.
pub(crate) const MAX_REDIRECTS: usize = 3;

/// The head of a request to a handler.
pub(crate) fn head<H: Handler, B: Body>(
    handler: &Request<H>,
    endpoint: &Endpoint,
    session: &Session,
    body: B,
) -> Result<http::Request<B>> {
    let method = match H::METHOD {
        Method::Get => http::Method::GET,
        Method::Put => http::Method::PUT,
        Method::Connect => http::Method::CONNECT,
    };
    // The session goes into a cookie: what is in a URL ends up in logs.
    let cookie = format!("session_id={}", session.reference.expose());
    request(method, endpoint, &handler.path_and_query(), &[(header::COOKIE, &cookie)], body)
}

impl Client {
    /// Gets a document that a handler gives without a task. A session that the host does not know is replaced once, and
    /// redirects are followed.
    ///
    /// # Errors
    /// `NotFound` when there is no such thing; `Failure` with the host's words when it gives none for other reasons.
    pub(crate) async fn fetch<H: Handler>(
        &self,
        handler: H,
        mut endpoint: Endpoint,
        max_bytes: usize,
    ) -> Result<Bytes> {
        let request = Request::from(handler);
        let mut is_renewed = false;
        for _ in 0..=MAX_REDIRECTS {
            let session = self.session().await?;
            let getting = self.fetch_once(&request, &endpoint, &session, max_bytes);
            let answer = tokio::time::timeout(self.deadline(), getting).await;
            let answer = answer.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "no complete answer")));
            match answer.map_err(|error| error.at(&endpoint))? {
                (StatusCode::OK, Fetched::Body(body)) => return Ok(body),
                (_, Fetched::Elsewhere(target)) => endpoint = target,
                (StatusCode::UNAUTHORIZED, _) if !is_renewed => {
                    is_renewed = true;
                    self.inner.sessions.forget(&session);
                }
                (status, Fetched::Body(page)) => {
                    let kind = if status == StatusCode::NOT_FOUND {
                        ErrorKind::NotFound
                    } else {
                        ErrorKind::Failure
                    };
                    let message =
                        format!("the host answered HTTP {status}: {}", session.secrets().page(&page));
                    return Err(Error::new(kind, message).at(&endpoint));
                }
            }
        }
        Err(Error::new(ErrorKind::Protocol, "the hosts pass the request on to each other").at(&endpoint))
    }

    async fn fetch_once<H: Handler>(
        &self,
        request: &Request<H>,
        endpoint: &Endpoint,
        session: &Session,
        max_bytes: usize,
    ) -> Result<(StatusCode, Fetched)> {
        let request = head(request, endpoint, session, Empty::<Bytes>::new())?;
        let mut connection = Connection::open(&self.inner.rpc.http.dialer, endpoint).await?;
        let response = connection.send(request).await.map_err(|unanswered| match unanswered {
            Unanswered::NotSent => Error::new(ErrorKind::Unreachable, "the connection broke at once"),
            Unanswered::Lost(error) => broken(error),
        })?;
        let status = response.status();
        if status.is_redirection() {
            let target = redirect_target(response.headers(), endpoint)?;
            return Ok((status, Fetched::Elsewhere(target)));
        }
        match Limited::new(response.into_body(), max_bytes).collect().await {
            Ok(all) => Ok((status, Fetched::Body(all.to_bytes()))),
            Err(error) if error.is::<LengthLimitError>() => {
                let message = format!("the answer is longer than {max_bytes} bytes");
                Err(Error::new(ErrorKind::Protocol, message))
            }
            Err(error) => Err(broken(error)),
        }
    }
}

enum Fetched {
    Body(Bytes),
    Elsewhere(Endpoint),
}

fn broken(error: BoxError) -> Error {
    let message = format!("the connection broke before the answer was complete ({})", root_cause(&*error));
    Error::new(ErrorKind::Unreachable, message).because(error)
}
