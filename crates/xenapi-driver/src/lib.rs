//! Instances on XenServer and XCP-ng hosts.

mod cancel;
mod destroy;
mod drive;
mod driver;
mod error;
mod find;
pub mod inventory;
mod job;
mod mac;
mod operation;
pub mod plan;
mod progress;
mod record;
mod remove;
mod rollback;
mod snapshot;
mod spawn;
pub mod spec;
mod transfer;

pub use destroy::Destroyed;
pub use driver::{Driver, Settings};
pub use error::{Cause, Error, Op, Result};
pub use find::Which;
pub use inventory::Node;
pub use operation::Operation;
pub use progress::{Event, Progress, Stage, Transfer};
pub use rollback::Leftover;
pub use snapshot::{Existing, Snapshot};
pub use spawn::{Checks, Instance, SpawnOptions};
