//! HTTP servers: images to read, and places to write one to.

mod client;
mod outgoing;
mod resume;
mod sink;
mod source;
mod tls;

pub(crate) use client::{Answer, Request, address};
pub use client::{Client, Timeouts};
pub(crate) use outgoing::Outgoing;
pub(crate) use resume::{Fetch, Resuming};
pub use sink::HttpSink;
pub use source::HttpSource;
pub use tls::{Fingerprint, Trust};
