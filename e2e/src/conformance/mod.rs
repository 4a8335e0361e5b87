//! What XAPI does, one behaviour a check, for any endpoint that says it is one.
//!
//! The checks were written from recordings of XAPI 26.17. They run against the simulator in every build
//! and can be run against a real host, so that the simulator cannot drift away from what it stands in for.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use e2e::conformance::{self, Target};
//! use xenapi_client::Config;
//!
//! let target = Target::new(Config::new("https://xen1.example.org", "root", "secret")?, "root", "secret");
//! let report = conformance::run(&target, conformance::all(), 1).await?;
//! println!("{report}");
//! # Ok(()) }
//! ```
//!
//! A check is an async function of a [`Lab`]. What it makes through the lab is taken away afterwards,
//! however the check ends; it touches nothing else. What an endpoint lacks (storage, a hypervisor, a second
//! host) makes a check 'not applicable', which is counted and shown, never silent.

pub mod events;
pub mod plugins;
pub mod pool;
pub mod records;
pub mod session;
pub mod storage;
pub mod tasks;
pub mod transfer;
pub mod vm;

mod clean;
mod expect;
mod http;
mod lab;
mod report;
mod run;
mod site;
mod target;

pub use lab::Lab;
pub use report::{Outcome, Report, Verdict};
pub use run::run;
pub use site::Site;
pub use target::Target;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// One behaviour of XAPI.
#[derive(Clone, Copy)]
pub struct Check {
    /// The file that it is in: `session`, `storage`.
    pub area: &'static str,
    /// What it states, as a name with underscores.
    pub name: &'static str,
    check: fn(Arc<Lab>) -> Running,
}

type Running = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// All checks.
pub fn all() -> Vec<Check> {
    let areas: [fn() -> Vec<Check>; 9] = [
        session::checks,
        records::checks,
        tasks::checks,
        events::checks,
        vm::checks,
        storage::checks,
        transfer::checks,
        plugins::checks,
        pool::checks,
    ];
    areas.iter().flat_map(|checks| checks()).collect()
}

/// The checks of an area, from the names of their functions.
macro_rules! checks {
    ($area:literal; $($check:ident,)*) => {
        /// The checks of this file.
        pub fn checks() -> Vec<$crate::conformance::Check> {
            vec![$($crate::conformance::Check {
                area: $area,
                name: stringify!($check),
                check: |lab| Box::pin(async move { $check(&lab).await }),
            }),*]
        }
    };
}
use checks;
