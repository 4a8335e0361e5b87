//! OpenStack's image service (Glance v2), and the tokens for it (Keystone v3).
//!
//! ```no_run
//! use image_store::glance::{Credentials, Glance, GlanceSource, Keystone};
//! use image_store::{FileSink, ImageSink, ImageSource, http::Client};
//!
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! let user = Credentials::application("id of the credential", "its secret");
//! let keystone = Keystone::new(Client::default(), "https://cloud.example.org:5000/v3", user)?;
//! let source = GlanceSource::new(Glance::new(keystone), "debian-13");
//! FileSink::new("debian.raw").store(&|| source.open()).await?;
//! # Ok(()) }
//! ```

mod keystone;
mod record;
mod service;
mod sink;
mod source;

pub use keystone::{Credentials, Keystone};
pub use record::{ImageRecord, NewImage, Visibility};
pub use service::Glance;
pub use sink::GlanceSink;
pub use source::GlanceSource;
