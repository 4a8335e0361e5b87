//! Images, and the two things one can do with the place where they are.

use std::collections::BTreeMap;
use std::fmt;

use secret::Secret;

use crate::content::{Content, Pending};
use crate::digest::Digest;
use crate::error::Result;

/// An image about to be read.
#[derive(Debug)]
pub struct Image {
    /// What its place says it is.
    pub declared: Declared,
    /// Its length in bytes, where it is known.
    pub len: Option<u64>,
    /// Its bytes, which are checked as they are read.
    pub content: Content,
}

/// What a place says of an image. It is a claim: the content may be something else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// What the disk is packed in, in Glance's words: `bare`, `ovf`, `tgz`.
    pub container: Option<String>,
    /// What the disk is, in Glance's words: `raw`, `vhd`, `iso`.
    pub disk: Option<String>,
    /// Size in GiB of the smallest disk it fits on.
    pub min_disk_gib: Option<u64>,
    /// Further properties by name.
    pub properties: BTreeMap<String, String>,
}

/// A place to read one image from.
pub trait ImageSource: fmt::Debug + Send + Sync {
    /// Opens the image. Each call reads it from the start.
    ///
    /// Dropping the future leaves nothing behind.
    fn open(&self) -> Pending<'_, Result<Image>>;
}

/// A place to write one image to.
pub trait ImageSink: fmt::Debug + Send + Sync {
    /// Writes the image: when this returns, it is complete where it belongs, and otherwise nothing that
    /// could be taken for it is there. `make` is called again for each attempt.
    ///
    /// Dropping the future stops the transfer; what a server has made of the part, it may keep.
    fn store<'a>(
        &'a self,
        make: &'a (dyn Fn() -> Pending<'a, Result<Image>> + Send + Sync),
    ) -> Pending<'a, Result<Stored>>;
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where it is: a path, an address, the id of an image.
    pub place: String,
    /// Its length in bytes.
    pub len: u64,
    /// Its SHA-512, computed on the way.
    pub digest: Digest,
}

/// An image where somebody else can fetch it: a host, say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Its address: `http://` or `https://`, without a login.
    pub url: String,
    /// Headers of the request by name, such as a token.
    pub headers: BTreeMap<String, Secret>,
    /// What it must be.
    pub digest: Digest,
}
