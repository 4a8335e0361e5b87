//! Instances on XenServer and XCP-ng hosts: made from a disk image, snapshotted, and removed again.
//!
//! ```
//! use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Nic};
//! use xenapi_driver::{Driver, Event, Progress, SpawnOptions, Which};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let world = xapi_simulator::World::demo();
//! # let pool = xapi_simulator::Simulator::builder().world(world).password("secret").build().await?;
//! # let url = pool.listen("127.0.0.1:0").await?;
//! # let files = tempfile::tempdir()?;
//! # let image = files.path().join("disk.raw");
//! # std::fs::write(&image, vec![1; 4 << 20])?;
//! // Of a host: https://xen1.example.org.
//! let config = xenapi_client::Config::new(&url, "root", "secret")?;
//! let driver = Driver::connect(config).await?;
//!
//! let mut spec = InstanceSpec::new("web1", Flavor::new(1, 256, 0), &image);
//! spec.nics = vec![Nic::on("xenbr0")];
//! spec.config_drive = Some(ConfigDrive::default());
//! let progress = Progress::to(|event| {
//!     if let Event::Finished(stage, elapsed) = event {
//!         println!("{stage}: {elapsed:?}");
//!     }
//! });
//! let options = SpawnOptions { progress, ..SpawnOptions::default() };
//! let instance = driver.spawn(spec, options).await?;
//!
//! driver.destroy(Which::Instance(instance.uuid), Progress::none()).await?;
//! driver.close().await?;
//! # Ok(()) }
//! ```
//!
//! * [`Driver`]: one for each endpoint, a host or a pool; its hosts are [nodes](Driver::nodes).
//! * [`spec`]: what is wanted. [`mod@plan`]: what will be done, decided by a pure function; everything that
//!   stands in the way is told at once, before anything is touched.
//! * [`Operation`]: a verb under way, in a task of its own. It ends well, or [`Error`] tells in one sentence
//!   what failed and what to do, and what it made is gone again. So it is when it is cancelled or dropped.
//! * [`compute::ComputeDriver`]: the same verbs behind a trait, in a table with their names in Nova.
//! * [`Progress`]: what happens, for whoever draws it.
//!
//! Everything that is made carries keys that say whose it is (`xenapi_storage::ownership`), and nothing
//! without them is ever removed. Disks go to any storage repository that can hold them, through XAPI alone:
//! no path inside a host is known here. Who asks for it has plugins in dom0 write disks ([`ImportVia::Dom0`]) or copy
//! them as files from host to host ([`resize::CopyVia::Dom0`]); only the latter names folders there, one of them
//! [`Settings::sr_base_path`].
//!
//! What this crate does not do: choose a host, or keep a database. Images come from [`spec::RootImage`]: a file, or
//! any source of `image-store`, streamed into the disk.

mod adopt;
mod agent;
pub mod backup;
mod belongings;
mod blocked;
mod boot_lock;
pub mod bridges;
mod cancel;
mod chains;
mod clock;
mod coming_up;
pub mod compatibility;
pub mod compute;
pub mod console;
mod destroy;
mod disk_setup;
pub mod disks;
mod dom0_disk;
mod dom0_write;
mod drive;
mod driver;
mod error;
pub mod evacuate;
mod find;
mod gates;
mod half;
mod handover;
mod held;
pub mod host_boot;
mod image;
pub mod image_cache;
mod import;
mod instances;
pub mod interface;
pub mod inventory;
mod job;
mod journal;
mod kernel;
mod layers;
mod ledger;
mod licence;
pub mod live;
pub mod load;
mod mac;
mod marks;
pub mod membership;
mod memory;
mod moving;
pub mod network;
pub mod node;
mod nova_plugin;
pub mod observe;
mod operation;
mod partition;
pub mod plan;
pub mod pool_move;
pub mod pools;
mod ports;
mod power;
mod progress;
pub mod reconcile;
mod record;
mod rehearsal;
mod remove;
mod request;
pub mod rescue;
pub mod resize;
mod rollback;
mod snapshot;
mod soft_delete;
mod spawn;
pub mod spec;
mod transfer;
pub mod upload;
pub mod volume;
mod xenstore;
mod zeros;

pub use adopt::Adopted;
pub use agent::{
    AdminPassword, Agent, AgentBuild, AgentNeed, AgentProblem, AgentReport, AgentSetup, AgentStep,
    AgentTimeouts,
};
pub use destroy::Destroyed;
pub use disk_setup::{DiskSetup, Grow};
pub use dom0_disk::{DiskWork, Injection};
pub use dom0_write::ImportVia;
pub use drive::NewDrive;
pub use driver::{Driver, MAX_SPAWNS, Settings};
pub use error::{Cause, Error, Op, Result};
pub use find::Which;
pub use instances::InstanceInfo;
pub use inventory::Node;
pub use operation::Operation;
pub use power::{Otherwise, PowerChange, Shutdown};
pub use progress::{Event, Progress, Stage, Transfer};
pub use rehearsal::DryRun;
pub use rollback::Leftover;
pub use snapshot::{Existing, InstanceDisk, Snapshot};
pub use spawn::{Checks, Instance, SpawnOptions};
pub use xenstore::LiveUpdate;
