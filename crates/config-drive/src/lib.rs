//! A config drive: what OpenStack tells a guest about itself, and the small disk that carries it.
//!
//! Three steps, each usable alone, none of which touches a file, a socket or a clock:
//!
//! 1. [`ConfigDrive`] describes the instance in typed fields;
//! 2. [`Tree`] is the set of files made from it (or put together by hand);
//! 3. [`Image`] is a disk that holds the tree, in ISO 9660 or vfat as [`ImageOptions`] say.
//!
//! [`NoCloud`] makes the tree of cloud-init's other layout, for [`Label::NoCloud`].
//!
//! The same input gives the same image, byte for byte: times are fixed, the volume id of vfat is
//! derived from the content, and the only random field, [`MetaData::random_seed`], is an argument.
//!
//! ```
//! use config_drive::{ConfigDrive, Image, ImageOptions, MetaData};
//!
//! let uuid = "6f70656e-7374-4163-8b00-000000000001".parse()?;
//! let tree = ConfigDrive::new(MetaData::new(uuid, "web-1", "web-1.example.org"))
//!     .user_data("#cloud-config\nruncmd: [date]\n")
//!     .tree()?;
//! let image = Image::build(&tree, ImageOptions::default())?;
//! assert_eq!(image.len_bytes() % (2 << 20), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it does not do: import the image into a storage repository, read a drive back, or make
//! random bytes.

mod drive;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod image;
mod iso9660;
mod mac;
mod metadata;
mod nocloud;
mod options;
mod redacted;
mod tree;
mod vfat;
mod wiped;

pub use drive::ConfigDrive;
pub use error::Error;
pub use image::Image;
pub use mac::{InvalidMac, MacAddr};
pub use metadata::device::{Bus, Device, DeviceKind};
pub use metadata::ec2::Ec2MetaData;
pub use metadata::link::{BondMode, Link, LinkKind};
pub use metadata::network::{Addressing, Ipv6Mode, Network, NetworkData, Route, Service, netmask};
pub use metadata::openstack::{KeyKind, KeyPair, MetaData};
pub use nocloud::NoCloud;
pub use options::{Format, ImageOptions, ImageSize, Label};
pub use secret::Secret;
pub use tree::Tree;
