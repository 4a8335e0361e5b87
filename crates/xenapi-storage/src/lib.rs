//! XenAPI's storage as a model: decisions about disks, made from records, without a connection.
//!
//! * [`Repository`]: a storage repository (SR) as decisions need it.
//! * [`Choice`]: which repository disks go to, by uuid, by name, or with the filter that OpenStack
//!   Nova's operators know; [`Choice::select`] decides, or says of every repository why it is not the one.
//! * [`Facts`]: what differs between types of repositories, as data: rounding, limits, provisioning.
//! * [`Repository::check_space`]: whether disks fit before anything is created.
//! * [`device`]: the numbers of a VM's disks and the names guests see.
//! * [`ownership`]: the `other_config` keys that say whose an object is.
//!
//! ```
//! use std::collections::BTreeMap;
//! use xenapi_storage::device::UserDevice;
//! use xenapi_storage::{Facts, Size, VHD_MAX_BYTES};
//!
//! // In files, a disk has whole blocks of 2 MiB, and takes room as it is written.
//! let facts = Facts::of("nfs", &BTreeMap::new());
//! assert_eq!(facts.round_size(5 << 20), Ok(6 << 20));
//! assert_eq!(facts.round_size(VHD_MAX_BYTES + 1), Err(Size(VHD_MAX_BYTES)));
//! assert!(facts.initial_bytes(1 << 40) < 8 << 20);
//!
//! assert_eq!(UserDevice::CONFIG_DRIVE.linux_name(), "xvdd");
//! ```
//!
//! What it does not do: call a server, read a VHD, or choose a host.

pub mod device;
mod facts;
mod identity;
pub mod lineage;
pub mod ownership;
mod repository;
mod select;
mod size;
mod space;

pub use facts::{Allocation, Facts, Format, Holds, VHD_MAX_BYTES};
pub use identity::iscsi_sr_uuid;
pub use repository::{Connection, Repository};
pub use select::{Candidate, Choice, FilterSyntax, Place, Rejection, SelectionError};
pub use size::Size;
pub use space::{DiskRequest, SpaceError};
