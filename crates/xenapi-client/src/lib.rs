//! A client for XenAPI, the management interface of XenServer and XCP-ng hosts.
//!
//! ```
//! use xenapi_client::{Client, Config};
//! use xenapi_types::Vm;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let pool = xapi_simulator::Simulator::builder().password("secret").build().await?;
//! # let url = pool.listen("127.0.0.1:0").await?;
//! // Of a host: https://xen1.example.org, and with a certificate of its own, Config::trust.
//! let client = Client::connect(Config::new(&url, "root", "secret")?).await?;
//! for (vm, record) in client.all_records::<Vm>().await? {
//!     println!("{vm} {} {:?}", record.name_label, record.power_state);
//! }
//! client.close().await?;
//! # Ok(()) }
//! ```
//!
//! * [`Client`]: calls, typed ([`Client::call`]) and by name ([`Client::call_dynamic`]); records and
//!   fields of any class ([`Client::record`]); one session, kept alive.
//! * [`Task`]: operations that take their time ([`Client::spawn_task`]), with their [`Task::progress`].
//! * [`Client::wait_until`], [`Client::follow`], [`Client::events_from`]: what changes in the pool.
//! * [`Cache`]: a copy of the classes one needs, kept up to date.
//! * [`Client::import_vdi`], [`Client::export_vdi`]: the content of disks. [`Client::import_vm`],
//!   [`Client::export_vm`]: whole VMs. [`Client::blob`], [`Client::put_blob`]: files that belong to objects.
//!   [`Client::export_database`], [`Client::check_database`]: the pool's database.
//! * [`Client::console`], [`Client::vm_console`]: screens and terminals of running VMs.
//! * [`Client::open_nbd`]: reads anywhere in a disk.
//! * [`Client::rrd_updates`], [`Client::vm_rrd`], [`Client::host_rrd`], [`Client::sr_rrd`]: what hosts measure.
//! * [`Client::call_plugin`]: scripts in dom0.
//! * [`Error`], whose [`ErrorKind`] tells when to try again; [`RetryPolicy`], by which the client does so
//!   itself; [`Client::create_marked`] for what must not be made twice.
//! * [`Connect`]: the seam at which the network can be replaced, by a simulator for example;
//!   [`Client::over_service`] replaces HTTP as a whole.
//!
//! What this crate does not do: it knows no disk formats, and decides nothing about where things go.

mod cache;
mod client;
mod config;
mod connect;
mod console;
mod endpoint;
mod error;
mod event;
mod follow;
#[doc(hidden)]
pub mod fuzzing;
mod handler;
mod http;
mod known_hosts;
mod nbd;
mod objects;
mod outbox;
mod outcome;
mod own_session;
mod plugin;
mod pulse;
mod redact;
mod retry;
mod rpc;
mod rrd;
mod service;
mod session;
mod task;
mod tls;
mod transfer;

pub use cache::{
    Builder as CacheBuilder, Cache, Change, Changes, Counters, Object, Snapshot, Status, Watched,
};
pub use client::Client;
pub use config::{Config, Encoding, Limits, Timeouts, Trust};
pub use connect::{Connect, Connecting, Io, Network, connect_fn, private_connect_fn};
pub use console::ConsoleStream;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{Error, ErrorKind, Result};
pub use follow::{Events, ResyncCause, Update};
pub use nbd::{NbdReader, NbdSecurity};
pub use plugin::PluginFailure;
pub use retry::RetryPolicy;
pub use rrd::{Consolidation, Rrd, RrdArchive, RrdQuery, RrdSeries, RrdSource, RrdUpdates};
pub use secret::Secret;
pub use service::RequestBody;
pub use task::{Canceller, Task, TaskMark, TaskProgress};
pub use tls::{Fingerprint, FingerprintError};
pub use transfer::{
    Cause, Diagnosis, Direction, Export, ExportFormat, ExportRequest, Exported, Import, ImportFormat,
    Imported, Redirect, Route, TransferQueue, VmExport, VmImport,
};
