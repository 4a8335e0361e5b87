//! Typed bindings for the whole XenAPI: what its objects are and what can be asked of them.
//!
//! ```
//! use xenapi_types::{Call, Ref, Sr, VdiRecord, VdiType, implicit, vdi};
//!
//! let sr = Ref::<Sr>::from("OpaqueRef:8f3c1f5e-0a64-4d8e-9b1c-00112233aabb");
//! let create = vdi::Create {
//!     sr,
//!     virtual_size: 8 << 30,
//!     r#type: VdiType::User,
//!     name_label: "root".to_owned(),
//!     ..Default::default()
//! };
//! assert_eq!(vdi::Create::METHOD, "VDI.create");
//!
//! // What follows from a class and its fields is generic.
//! let rename = |vdi| implicit::add_to(vdi, vdi::field::OTHER_CONFIG, "owner".into(), "me".into());
//! # let _ = (create, rename(Ref::NULL), VdiRecord::default());
//! ```
//!
//! * Classes and their records: [`Vdi`], [`VdiRecord`]. Records are tolerant: fields that a server does
//!   not send have their default, fields that this crate does not know are skipped, and what came after
//!   XenServer 8.2 is an `Option`. Enums are open: what is not known is kept in `Unknown`.
//! * Calls, in one module a class: [`vdi::Snapshot`], [`vm::Start`]. Each is a struct that both ends of
//!   the wire share; parameters that older hosts do not know are optional and left out. [`implicit`] has
//!   those that every class has.
//! * [`ErrorCode`] and [`FailureExt`]: what a failure means, and whether the call may be made again;
//!   [`Safety`]: whether it may when there is no answer at all.
//! * [`handler`], [`chunked`], [`archive`]: the HTTP transfers. [`nbd`]: reads without HTTP. [`query`]:
//!   expressions that select objects.
//! * `meta`, which the feature `meta` brings: the datamodel as tables, for servers.
//!
//! What it does not do: open a connection or a file, for which there is `xenapi-client`. The modules of the classes are
//! generated from the facts in `xtask/datamodel`.

pub mod archive;
mod call;
pub mod chunked;
mod error;
mod event_batch;
pub mod field;
#[doc(hidden)]
pub mod fuzzing;
mod generated;
pub mod handler;
pub mod implicit;
#[cfg(feature = "meta")]
pub mod meta;
pub mod nbd;
mod open_enum;
pub mod query;
mod record;
mod safety;

pub use error::{ErrorCode, FailureExt, Retry, SrBackendFailure};
pub use event_batch::EventBatch;
pub use generated::types::*;
pub use generated::*;
pub use safety::Safety;
pub use xenapi_wire::{Call, Class, DateTime, Failure, Ref, Value};

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
