//! Where disk images live, and how their bytes get from there to here and back.
//!
//! ```
//! use image_store::{FileSink, FileSource, ImageSink, ImageSource};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let files = tempfile::tempdir()?;
//! # let (here, there) = (files.path().join("here.raw"), files.path().join("there.raw"));
//! # std::fs::write(&here, "abc")?;
//! let source = FileSource::new(&here)
//!     .digest("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse()?);
//! FileSink::new(&there).store(&|| source.open()).await?;
//! assert_eq!(std::fs::read(&there)?, b"abc");
//! # Ok(()) }
//! ```
//!
//! * An [`ImageSource`] opens an [`Image`]: what it is said to be, its length, and its [`Content`], which
//!   is an [`http_body::Body`].
//! * An [`ImageSink`] keeps one.
//! * Content is verified as it passes: what ends without an error has the announced length and every
//!   digest that is known of it. What resumes after a broken connection goes on at the byte where it
//!   broke, if it is still the same content.
//!
//! The feature `http`, on by default, brings servers (`http::HttpSource`, `http::HttpSink`) and Glance
//! (`glance`); without it there are files and pipes.
//!
//! What it does not do: look into images, unpack or convert them, or know of hosts.

mod content;
mod digest;
mod draft;
mod error;
mod file;
#[cfg(feature = "http")]
pub mod glance;
#[cfg(feature = "http")]
pub mod http;
mod image;
mod retry;

pub use content::{Content, Pending};
pub use digest::{Algorithm, Digest, InvalidDigest};
pub use error::{Error, Result};
pub use file::{FileSink, FileSource, StdinSource};
pub use image::{Declared, Image, ImageSink, ImageSource, Remote, Stored};
pub use retry::Retry;
pub use secret::Secret;
