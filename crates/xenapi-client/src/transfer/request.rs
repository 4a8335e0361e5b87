//! A download about to be made, of whatever.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use super::import::Queued;
use super::{Export, Route};
use crate::client::Client;
use crate::error::Result;

/// A download about to be made: `.await` begins it.
///
/// Dropping the future before that closes the connection, and gives up the place in the host's queue.
#[must_use = "nothing is asked for before this is awaited"]
pub struct ExportRequest {
    client: Client,
    options: Options,
    begin: Begin,
}

/// What does not depend on what is downloaded.
#[derive(Default)]
pub(super) struct Options {
    /// The host to use.
    pub(super) route: Option<Route>,
    /// Hears where in its host's queue it is.
    pub(super) queued: Option<Queued>,
}

type Opening = Pin<Box<dyn Future<Output = Result<Export>> + Send>>;
type Begin = Box<dyn FnOnce(Client, Options) -> Opening + Send>;

impl ExportRequest {
    /// A request that `begin` carries out.
    pub(super) fn new<F>(client: &Client, begin: impl FnOnce(Client, Options) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Export>> + Send + 'static,
    {
        let begin: Begin = Box::new(move |client, options| Box::pin(begin(client, options)));
        Self { client: client.clone(), options: Options::default(), begin }
    }

    /// Asks this host instead of finding one out.
    pub fn via(mut self, route: Route) -> Self {
        self.options.route = Some(route);
        self
    }

    /// Calls `queued` with the position in the host's queue whenever it changes, from 1 for the next one, while
    /// the host has as many downloads as [`Limits::transfers_per_host`](crate::Limits::transfers_per_host) allows.
    pub fn on_queue(mut self, queued: impl FnMut(usize) + Send + 'static) -> Self {
        self.options.queued = Some(Box::new(queued));
        self
    }
}

impl IntoFuture for ExportRequest {
    type Output = Result<Export>;
    type IntoFuture = Opening;

    fn into_future(self) -> Self::IntoFuture {
        (self.begin)(self.client, self.options)
    }
}

impl fmt::Debug for ExportRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportRequest").field("route", &self.options.route).finish_non_exhaustive()
    }
}
