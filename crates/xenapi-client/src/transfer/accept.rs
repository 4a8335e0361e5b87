//! Finding a host that takes part in a transfer, before any byte of a body is sent.

use std::future::Future;
use std::time::Duration;

use http::{StatusCode, header};
use http_body::Body;
use xenapi_types::Task as TaskClass;
use xenapi_types::handler::{self, Handler};
use xenapi_wire::Ref;

use super::body;
use super::queue::Direction;
use super::task::TransferTask;
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::handler::MAX_REDIRECTS;
use crate::http::Connection;
use crate::service::Arriving;
use crate::session::Session;

/// A transfer that can be proposed to one host after the other.
pub(super) trait Proposal {
    /// What hyper sends.
    type Sent;

    /// Which way the data go.
    const DIRECTION: Direction;

    /// Hears where in its host's queue it is.
    fn queued(&mut self, _position: usize) {}

    /// Sends the head to one host. Only an accepted transfer may have touched its body.
    fn make(
        &mut self,
        client: &Client,
        endpoint: &Endpoint,
        session: &Session,
        task: &Ref<TaskClass>,
    ) -> impl Future<Output = Result<Reception<Self::Sent>>> + Send;
}

/// What a host makes of the head of a transfer.
pub(super) enum Reception<B> {
    Accepted(Answer<B>),
    Moved(Endpoint),
    Denied { status: StatusCode, page: String },
}

/// The body of an answer, with the connection that it comes on.
pub(super) struct Answer<B> {
    pub(super) incoming: Arriving,
    /// Dropping this closes the socket.
    pub(super) connection: Connection<B>,
}

/// A transfer under way.
pub(super) struct Accepted<B> {
    pub(super) answer: Answer<B>,
    pub(super) task: TransferTask,
    pub(super) endpoint: Endpoint,
}

/// Proposes the transfer to a host and to those that it refers to. A session that a host does not
/// know is replaced once. `endpoint` is the first host, and in the end the last. `what` is the object
/// that the transfer is of, for the task.
///
/// # Errors
/// The task's error when there is one; tasks that nobody in the host will end are ended.
pub(super) async fn negotiate<P: Proposal>(
    client: &Client,
    mut proposal: P,
    endpoint: &mut Endpoint,
    label: &str,
    what: &str,
) -> Result<Accepted<P::Sent>> {
    let description = format!("xenapi-rs: {what}");
    let mut turn = client.inner.transfers.enter(endpoint, P::DIRECTION, what);
    turn.wait(|position| {
        tracing::debug!(%endpoint, what, position, "the host has enough transfers, waiting");
        proposal.queued(position);
    })
    .await;
    let mut task = TransferTask::create(client, label, &description).await?;
    let mut renewed = false;
    let mut moved = 0;
    loop {
        let session = client.session().await?;
        task.proposed();
        match proposal.make(client, endpoint, &session, task.reference()).await {
            Ok(Reception::Accepted(answer)) => {
                task.accepted();
                task.keep(turn);
                return Ok(Accepted { answer, task, endpoint: endpoint.clone() });
            }
            Ok(Reception::Moved(target)) if moved < MAX_REDIRECTS => {
                moved += 1;
                tracing::debug!(from = %endpoint, to = %target, "the transfer is passed on to another host");
                // The host that passes it on leaves the task alone, so it is still good.
                *endpoint = target;
            }
            Ok(Reception::Moved(_)) => {
                task.abandon().await;
                let message = format!("the hosts passed the transfer on {moved} times");
                return Err(Error::new(ErrorKind::Protocol, message)
                    .remedy("check which hosts have the storage repository attached")
                    .at(endpoint));
            }
            Ok(Reception::Denied { status: StatusCode::UNAUTHORIZED, .. }) if !renewed => {
                renewed = true;
                task.abandon().await;
                client.inner.sessions.forget(&session);
                task = TransferTask::create(client, label, &description).await?;
            }
            Ok(Reception::Denied { status, page }) => {
                let error =
                    Error::new(ErrorKind::Transfer, format!("the host answered HTTP {status}: {page}"));
                return Err(task.refused(error).await.at(endpoint));
            }
            Err(error) => return Err(task.refused(error).await.at(endpoint)),
        }
    }
}

/// The head of a transfer's request.
pub(super) fn head<H: Handler, B: Body>(
    handler: H,
    endpoint: &Endpoint,
    session: &Session,
    task: &Ref<TaskClass>,
    body: B,
) -> Result<http::Request<B>> {
    let handler = handler::Request { task_id: Some(task.clone()), ..handler.into() };
    crate::handler::head(&handler, endpoint, session, body)
}

/// Reads what came back for the head.
pub(super) async fn receive<B>(
    connection: Connection<B>,
    response: http::Response<Arriving>,
    endpoint: &Endpoint,
    session: &Session,
) -> Result<Reception<B>> {
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(Reception::Accepted(Answer { incoming: response.into_body(), connection }));
    }
    if status.is_redirection() {
        return redirect_target(response.headers(), endpoint).map(Reception::Moved);
    }
    // Some of these answers have no length and stay open: what has come after a second is enough.
    let page = body::read_some(response.into_body(), Duration::from_secs(1)).await;
    drop(connection);
    Ok(Reception::Denied { status, page: session.secrets().page(&page) })
}

/// The address that a redirect names, with nothing but host and port taken from it: path and query
/// stay ours.
///
/// # Errors
/// `Protocol` when it names none; `Untrusted` when it leads from TLS to where the session could be read on the way.
pub(crate) fn redirect_target(headers: &http::HeaderMap, from: &Endpoint) -> Result<Endpoint> {
    let target = address(headers)
        .ok_or_else(|| Error::new(ErrorKind::Protocol, "a redirect without a usable Location"))?;
    if from.is_tls() && !target.is_tls() {
        let message = format!("the host sends the request on to {target}, without TLS");
        return Err(Error::new(ErrorKind::Untrusted, message)
            .remedy("use an http:// URL from the beginning if the network is trusted"));
    }
    Ok(target)
}

fn address(headers: &http::HeaderMap) -> Option<Endpoint> {
    let location = headers.get(header::LOCATION)?.to_str().ok()?.trim();
    let (scheme, rest) = location.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    format!("{scheme}://{authority}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_only_an_address() {
        let from = |from: &str, location: &str| {
            let mut headers = http::HeaderMap::new();
            headers.insert(header::LOCATION, location.parse().unwrap());
            let target = redirect_target(&headers, &from.parse().unwrap());
            target.map(|endpoint| endpoint.to_string()).map_err(|error| error.kind())
        };
        let target = |location: &str| from("http://10.0.0.1", location);
        assert_eq!(target("https://10.0.0.2/import_raw_vdi?vdi=x").as_deref(), Ok("https://10.0.0.2"));
        assert_eq!(target("https://[fd00::2]/export").as_deref(), Ok("https://[fd00::2]"));
        assert_eq!(target("http://10.0.0.2/").as_deref(), Ok("http://10.0.0.2"));
        assert_eq!(target("/elsewhere"), Err(ErrorKind::Protocol));
        assert_eq!(target("ftp://h/x"), Err(ErrorKind::Protocol));
        assert_eq!(from("https://10.0.0.1", "https://10.0.0.2").as_deref(), Ok("https://10.0.0.2"));
        assert_eq!(from("https://10.0.0.1", "http://10.0.0.2"), Err(ErrorKind::Untrusted));
    }
}
