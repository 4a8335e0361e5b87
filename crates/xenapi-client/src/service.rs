//! Requests over a service of somebody else's instead of connections of our own.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, Uri, uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tower_service::Service;

use crate::endpoint::Endpoint;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::http::Unanswered;

/// The body of a response, wherever it comes from.
pub(crate) type Arriving = UnsyncBoxBody<Bytes, Broken>;

/// Why a response ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("the response broke")]
pub(crate) struct Broken(#[source] BoxError);

/// A response's body as the client reads it.
pub(crate) fn arriving<B>(body: B) -> Arriving
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(|error| Broken(error.into())).boxed_unsync()
}

/// The body of a request to a service. It always knows its exact length.
#[derive(Debug)]
pub struct RequestBody(UnsyncBoxBody<Bytes, BoxError>);

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// An answer to come.
type Answering = Pin<Box<dyn Future<Output = Result<Response<Arriving>, Unanswered>> + Send>>;

/// What makes an answer of a request.
pub(crate) trait Exchange: Send + Sync {
    fn exchange(&self, request: Request<RequestBody>) -> Answering;
}

/// A service; each request has a clone of its own, so that many can be under way.
pub(crate) struct Over<S>(Mutex<S>);

impl<S> Over<S> {
    pub(crate) fn new(service: S) -> Self {
        Self(Mutex::new(service))
    }
}

impl<S, B> Exchange for Over<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn exchange(&self, request: Request<RequestBody>) -> Answering {
        let mut service = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            if let Err(error) = poll_fn(|cx| service.poll_ready(cx)).await {
                let error: BoxError = error.into();
                tracing::debug!(%error, "the service takes no request");
                return Err(Unanswered::NotSent);
            }
            match service.call(request).await {
                Ok(response) => Ok(response.map(arriving)),
                Err(error) => Err(Unanswered::Lost(error.into())),
            }
        })
    }
}

/// A request as a service wants it: with the host in its URI.
pub(crate) fn addressed<B>(request: Request<B>, endpoint: &Endpoint) -> Result<Request<RequestBody>>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (mut head, body) = request.into_parts();
    if endpoint.unix_path().is_none() {
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.scheme = Some(if endpoint.is_tls() { uri::Scheme::HTTPS } else { uri::Scheme::HTTP });
        let malformed =
            |error: BoxError| Error::new(ErrorKind::Config, "the host's name makes no URI").because(error);
        parts.authority = Some(endpoint.host_header().parse().map_err(|e| malformed(Box::new(e)))?);
        head.uri = Uri::from_parts(parts).map_err(|e| malformed(Box::new(e)))?;
    }
    let body = body.map_err(Into::into).boxed_unsync();
    Ok(Request::from_parts(head, RequestBody(body)))
}
