//! XAPI's wire encodings, and nothing else: no sockets, no class of the API is named here.
//!
//! * [`Ref`], [`Class`], [`Call`]: the grammar that typed bindings are written in.
//! * [`Value`]: a value whose type is not known, in either encoding.
//! * [`Failure`]: what a server answers instead of a result.
//! * [`DateTime`]: XAPI's dates, read leniently and written back exactly.

mod call;
mod datetime;
mod failure;
mod reference;
mod value;

pub use call::{Call, Class};
pub use datetime::{DateTime, DateTimeError};
pub use failure::Failure;
pub use reference::{AnyClass, Ref};
pub use value::Value;
