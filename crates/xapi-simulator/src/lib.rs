//! A XAPI pool behind the real wire.
//!
//! The simulator answers XML-RPC, JSON-RPC 1.0 and 2.0 and XAPI's HTTP handlers the way a real
//! server does, its quirks included; recordings of a real server decide what is right.
//!
//! Modules, from the wire inwards:
//!
//! * `http`: a small HTTP/1 server with control over every byte.
//! * `dispatch`: from a method name and untyped arguments to a handler and a typed answer.
//! * `classes`: what the methods do, one file a class.
//! * `db`: the objects, their relations and their history.
//! * `disk`: the contents of VDIs as sparse files.
//! * `transfer`: the import and export handlers.

mod classes;
pub mod db;
mod disk;
mod json;
pub mod schema;
mod transfer;
