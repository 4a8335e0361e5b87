//! Typed bindings for the whole XenAPI.
//!
//! * Classes and their records: [`Vdi`], [`VdiRecord`]. Records are tolerant: fields that a server
//!   does not send have their default, fields that this crate does not know are skipped, and what
//!   came after XenServer 8.2 is an `Option`.
//! * Enums are open: what is not known is kept in `Unknown`.
//! * Calls, one module a class: [`vdi::Snapshot`], [`vm::Start`]. Each is a struct that both ends of
//!   the wire share.
//!
//! Nothing here talks to a server; see `xenapi-client`.

mod call;
pub mod chunked;
mod error;
mod event_batch;
pub mod field;
mod generated;
pub mod handler;
pub mod implicit;
#[cfg(feature = "meta")]
pub mod meta;
mod open_enum;
pub mod query;
mod record;

pub use error::{ErrorCode, FailureExt, Retry, SrBackendFailure};
pub use event_batch::EventBatch;
pub use generated::types::*;
pub use generated::*;
pub use xenapi_wire::{Call, Class, Failure, Ref};

/// What the generated modules use.
mod prelude {
    pub(crate) use std::collections::BTreeMap;

    pub(crate) use xenapi_wire::{DateTime, Ref, Value};

    pub(crate) use crate::call::{call, create};
    pub(crate) use crate::event_batch::EventBatch;
    pub(crate) use crate::field::field_names;
    pub(crate) use crate::generated::types::*;
    pub(crate) use crate::open_enum::open_enum;
    pub(crate) use crate::record::record;
}
