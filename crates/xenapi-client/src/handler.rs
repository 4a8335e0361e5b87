//! Requests to XAPI's HTTP handlers other than the calls.

use http::header;
use http_body::Body;
use xenapi_types::handler::{Handler, Method, Request};

use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::http::request;
use crate::session::Session;

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
