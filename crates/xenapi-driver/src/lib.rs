//! Instances on XenServer and XCP-ng hosts.
//!
//! What stands so far is everything that needs no connection: [what is wanted](spec), [what there
//! is](inventory), and the [plan] that follows from both.

#[allow(dead_code, reason = "for the verbs, which come next")]
mod cancel;
pub mod inventory;
mod mac;
#[allow(dead_code, reason = "for the verbs, which come next")]
pub mod owner;
pub mod plan;
#[allow(dead_code, reason = "for the verbs, which come next")]
mod progress;
#[allow(dead_code, reason = "for the verbs, which come next")]
mod rollback;
mod size;
pub mod spec;

pub use progress::{Event, Progress, Stage, Transfer};
pub use rollback::Leftover;
