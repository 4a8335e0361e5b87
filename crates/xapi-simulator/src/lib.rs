//! A XAPI pool behind the real wire.
//!
//! The simulator answers XML-RPC, JSON-RPC 1.0 and 2.0 and XAPI's HTTP handlers the way a real
//! server does, its quirks included; recordings of a real server decide what is right.
//!
//! Modules, from the wire inwards:
//!
//! * [`http`]: a small HTTP/1 server with control over every byte.
//! * `rpc`: the spelling of calls and answers.
//! * [`dispatch`]: from a method name and untyped arguments to a handler and a typed answer.
//! * `classes`: what the methods do, one file a class.
//! * [`db`]: the objects, their relations and their history.
//! * `disk`: the contents of VDIs as sparse files.
//! * `storage`: storage repositories with their disks.
//! * `sr_types`: what storage repositories can do, by type.
//! * `transfer`: the import and export handlers.
//! * [`fault`] and [`clock`]: what tests turn.
//! * [`world`]: what a pool holds before anybody calls.

mod classes;
pub mod clock;
pub mod core;
pub mod db;
mod disk;
pub mod dispatch;
pub mod fault;
pub mod http;
mod json;
mod rpc;
pub mod schema;
mod simulator;
mod sr_types;
mod storage;
mod tls;
mod transfer;
pub mod world;

pub use classes::vm::Guests;
pub use simulator::{Builder, Simulator, StartError};
pub use world::World;
