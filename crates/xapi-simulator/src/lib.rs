//! A XAPI pool behind the real wire.
//!
//! The simulator answers XML-RPC, JSON-RPC 1.0 and 2.0 and XAPI's HTTP handlers the way a real
//! server does, its quirks included; recordings of a real server decide what is right.
//!
//! ```
//! use xapi_simulator::fault::Fault;
//! use xapi_simulator::{Simulator, World};
//! use xenapi_wire::Failure;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let simulator = Simulator::builder().world(World::demo()).password("secret").build().await?;
//! let url = simulator.listen("127.0.0.1:0").await?;
//! // Any XenAPI client can log in at this URL as root; the second VDI.create will find a full SR.
//! let full = Failure::new("SR_BACKEND_FAILURE_44", ["", "The SR is full", ""]);
//! simulator.faults().on_nth("VDI.create", 2, Fault::Failure(full));
//! let before = simulator.snapshot_of_objects();
//! // … what the client does and undoes …
//! assert_eq!(simulator.snapshot_of_objects(), before);
//! # assert!(url.starts_with("http://127.0.0.1:"));
//! # Ok(())
//! # }
//! ```
//!
//! The feature `cli`, on by default, is the program `xapi-simulator`; the library needs none of it.
//!
//! What it does not do: run guests, unless it is told to do so in QEMU; check what only a hypervisor could; or keep
//! anything but what is in its state directory.
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
//! * `process`: programs of dom0 as child processes.
//! * `transfer`: the import and export handlers.
//! * `rrd`: what hosts measure.
//! * `strange`: fields, values and classes of the future.
//! * `console`: screens and terminals of running VMs.
//! * `guest`: guests that really run, in QEMU.
//! * [`targets`]: storage servers beside the pool.
//! * [`fault`], [`link`] and [`clock`]: what tests turn.
//! * `listen`, `connections` and `toolstack`: how clients reach the pool, and when they cannot.
//! * [`world`]: what a pool holds before anybody calls.
//! * [`Personality`]: which release is played.

mod classes;
pub mod clock;
mod connections;
mod console;
pub mod core;
pub mod db;
mod disk;
pub mod dispatch;
pub mod fault;
#[doc(hidden)]
pub mod fuzzing;
mod guest;
pub mod http;
mod json;
pub mod link;
mod listen;
mod personality;
mod process;
mod rpc;
mod rrd;
pub mod schema;
mod simulator;
mod sr_types;
mod state;
mod storage;
mod strange;
pub mod targets;
mod tls;
mod toolstack;
mod transfer;
pub mod world;

pub use classes::vm::Guests;
pub use connections::{Connections, Count, Traffic};
pub use guest::{Acceleration, Qemu};
pub use listen::Listening;
pub use personality::{Personality, UnknownPersonality};
pub use simulator::{Builder, Simulator, StartError};
pub use world::World;
