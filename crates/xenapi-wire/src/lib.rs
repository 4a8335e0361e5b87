//! XAPI's wire encodings, for either end.
//!
//! * [`Ref`], [`Class`], [`Call`]: the grammar that typed bindings are written in.
//! * [`xmlrpc`], [`jsonrpc`]: calls and responses, for clients and for servers.
//! * [`plugin`]: how XAPI talks with plugins in dom0.
//! * [`Value`]: a value whose type is not known, in either encoding.
//! * [`Failure`]: what a server answers instead of a result.
//! * [`DateTime`]: XAPI's dates, read leniently and written back exactly.
//!
//! Types say what is read: an integer is taken from a number, from text and from a float without
//! fraction, since the encodings differ in what they send; members that a type does not know are
//! passed over without being decoded. A document cannot make a decoder use more memory than in
//! proportion to its size, nor more stack than [`Limits::max_depth`] allows.
//!
//! The feature `xmlrpc` adds conversions between [`Value`] and the value of the crate of that name.
//!
//! What it does not do: open a socket, or name a class of the API, which `xenapi-types` does.
//!
//! ```
//! use xenapi_wire::{Limits, xmlrpc};
//!
//! #[derive(serde::Deserialize)]
//! struct Vdi {
//!     name_label: String,
//!     virtual_size: i64,
//! }
//!
//! let call = xmlrpc::encode_call("VDI.get_record", Some("OpaqueRef:s"), &("OpaqueRef:v",))?;
//! assert!(call.contains("<methodName>VDI.get_record</methodName>"));
//!
//! let body = "<methodResponse><params><param><value><struct>\
//!     <member><name>Status</name><value>Success</value></member>\
//!     <member><name>Value</name><value><struct>\
//!       <member><name>name_label</name><value>root</value></member>\
//!       <member><name>virtual_size</name><value>8589934592</value></member>\
//!     </struct></value></member></struct></value></param></params></methodResponse>";
//! let vdi: Vdi = xmlrpc::decode_response(body.as_bytes(), &Limits::RESPONSE)??;
//! assert_eq!((vdi.name_label.as_str(), vdi.virtual_size), ("root", 8 << 30));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod call;
mod codec;
mod confidential;
mod datetime;
mod error;
mod failure;
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "xmlrpc")]
mod interop;
pub mod jsonrpc;
mod limits;
mod number;
pub mod plugin;
mod reference;
mod value;
pub mod xmlrpc;

pub use call::{Call, Class};
pub use confidential::{Confidential, confidential};
pub use datetime::{DateTime, DateTimeError};
pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub use failure::Failure;
pub use limits::Limits;
pub use reference::{AnyClass, Ref};
pub use value::{I4, Value};
