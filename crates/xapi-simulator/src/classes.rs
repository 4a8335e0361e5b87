//! What the methods do, one file a class, each with a `register(&mut Router)`.

pub(crate) mod event;
pub(crate) mod session;
pub(crate) mod task;

use crate::db::Db;
use crate::dispatch::Router;

/// Registers the methods of every class.
pub(crate) fn register(router: &mut Router) {
    event::register(router);
    session::register(router);
    task::register(router);
}

/// Registers what computes the derived fields.
pub(crate) fn derive(_db: &mut Db) {}
