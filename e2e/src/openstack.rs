//! A real Glance and a real Keystone, for as long as the process lives.
//!
//! [`testdata::openstack`] says what has to be installed for them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use image_store::glance::{Credentials, Glance, GlanceSink, Keystone, NewImage};
use image_store::http::Client;
use image_store::{FileSource, ImageSink, ImageSource, Retry};
use testdata::openstack;

/// Where they are.
#[derive(Debug, Clone, Copy)]
pub struct OpenStack(&'static openstack::OpenStack);

impl OpenStack {
    /// Both, started by whoever asks first. `None` if the tests are to be skipped, which is told.
    ///
    /// # Panics
    ///
    /// If they do not start; and, where `CI` is `true`, if `OPENSTACK_PYTHON` is not set.
    pub fn get() -> Option<Self> {
        openstack::get().map(Self)
    }

    /// Glance for `admin`; it is tried again without long pauses.
    pub fn glance(self) -> Glance {
        self.glance_with(&self.0.password)
    }

    /// As [`OpenStack::glance`], with this password.
    ///
    /// # Panics
    ///
    /// When the address of Keystone is none.
    pub fn glance_with(self, password: &str) -> Glance {
        let admin = Credentials::password("admin", password, "admin");
        let keystone = Keystone::new(Client::default(), &self.0.auth_url, admin).expect("an address");
        Glance::new(keystone).retry(Retry { first_pause: Duration::from_millis(1), ..Retry::default() })
    }

    /// Puts a file into Glance under its own name, and gives back the id of the image.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or Glance does not take it.
    pub async fn put(self, path: &Path, container: &str, disk: &str) -> Result<String> {
        let name = path.file_name().context("a name")?.to_string_lossy();
        let sink = GlanceSink::new(self.glance(), NewImage::new(name, container, disk));
        let source = FileSource::new(path);
        Ok(sink.store(&|| source.open()).await?.place)
    }
}
