//! A small HTTP/1 server with control over every byte.
//!
//! XAPI's server differs from what HTTP libraries make of the standard in many ways that clients must live with: a
//! header block of 1006 bytes at most, no chunked bodies, answers sent before the request is read, error pages in the
//! middle of a body, connections reset or left open against their own announcement. All of these are decided here
//! and by the handlers, which get the connection itself.

pub(crate) mod absent;
mod auth;
mod conn;
pub(crate) mod dump;
mod head;
pub(crate) mod page;
mod serve;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub(crate) use auth::{Login, authenticate};
pub use conn::{Conn, Stream};
pub use head::{Head, Verb};
pub use page::Page;
pub(crate) use serve::serve;

use crate::core::Core;
use crate::fault::Fault;

/// A request with its connection, the body not yet read.
pub struct Exchange {
    /// The pool.
    pub core: Arc<Core>,
    /// The reference of the host whose address the client connected to.
    pub host: String,
    /// What was asked.
    pub head: Head,
    /// A fault that strikes while the request is carried out.
    pub fault: Option<Fault>,
    /// The body comes from here and the answer goes there.
    pub conn: Conn,
}

/// What becomes of the connection after a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The next bytes are the next request.
    KeepOpen,
    /// An orderly end. With unread bytes of the request left, clients see a reset, as TCP has it.
    Close,
    /// A reset in any case.
    Reset,
}

/// The future of a handler.
pub type HandlerFuture<'a> = Pin<Box<dyn Future<Output = std::io::Result<After>> + Send + 'a>>;

/// Answers the requests to a path: `|exchange| Box::pin(async move { … })`.
///
/// An error ends the connection.
pub type Handler = for<'a> fn(&'a mut Exchange) -> HandlerFuture<'a>;

/// The handlers for PUT, GET, CONNECT and POST, by the longest matching prefix of the path.
#[derive(Default)]
pub struct Handlers(Vec<(Verb, &'static str, Handler)>);

impl Handlers {
    /// Registers a handler for a path and everything below it.
    pub fn add(&mut self, verb: Verb, path: &'static str, handler: Handler) {
        self.0.push((verb, path, handler));
    }

    pub(crate) fn find(&self, verb: Verb, path: &str) -> Option<Handler> {
        self.0
            .iter()
            .filter(|(v, prefix, _)| *v == verb && path.starts_with(prefix))
            .max_by_key(|(_, prefix, _)| prefix.len())
            .map(|(_, _, handler)| *handler)
    }
}
