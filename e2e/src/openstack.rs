//! A real Glance and a real Keystone, for as long as the process lives.
//!
//! `OPENSTACK_PYTHON` names the Python of an environment with both, as for the tests of `image-store`.
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use image_store::glance::{Credentials, Glance, GlanceSink, Keystone, NewImage};
use image_store::http::Client;
use image_store::{FileSource, ImageSink, ImageSource, Retry};
use serde::Deserialize;

/// Where they are.
#[derive(Debug, Deserialize)]
pub struct OpenStack {
    /// Address of Keystone.
    pub auth_url: String,
    /// Address of Glance.
    pub glance: String,
    /// The password of `admin`.
    pub password: String,
}

/// The services: they end when this process does, because that closes their standard input.
static SERVICES: Mutex<Option<(Child, BufReader<ChildStdout>)>> = Mutex::new(None);

impl OpenStack {
    /// Both, started by whoever asks first. `None` if the tests are to be skipped, which is told.
    ///
    /// # Panics
    ///
    /// If they do not start; and, where `CI` is `true`, if `OPENSTACK_PYTHON` is not set.
    pub fn get() -> Option<&'static Self> {
        static WORLD: OnceLock<Option<OpenStack>> = OnceLock::new();
        WORLD.get_or_init(start).as_ref()
    }

    /// Glance for `admin`, with this password; it is tried again without long pauses.
    ///
    /// # Panics
    ///
    /// When the address of Keystone is none.
    pub fn glance(&self, password: &str) -> Glance {
        let admin = Credentials::password("admin", password, "admin");
        let keystone = Keystone::new(Client::default(), &self.auth_url, admin).expect("an address");
        Glance::new(keystone).retry(Retry { first_pause: Duration::from_millis(1), ..Retry::default() })
    }

    /// Puts a file into Glance under its own name, and gives back the id of the image.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or Glance does not take it.
    pub async fn put(&self, path: &Path, container: &str, disk: &str) -> Result<String> {
        let name = path.file_name().context("a name")?.to_string_lossy();
        let sink = GlanceSink::new(self.glance(&self.password), NewImage::new(name, container, disk));
        let source = FileSource::new(path);
        Ok(sink.store(&|| source.open()).await?.place)
    }
}

fn start() -> Option<OpenStack> {
    let named = std::env::var_os("OPENSTACK_PYTHON");
    let Some(python) = named.clone().filter(|python| !python.is_empty()) else {
        let in_ci = std::env::var("CI").as_deref() == Ok("true");
        assert!(named.is_some() || !in_ci, "OPENSTACK_PYTHON is not set");
        eprintln!("skipped: OPENSTACK_PYTHON does not name a Python that has glance and keystone");
        return None;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/image-store/tests/openstack/serve.py");
    let mut child = Command::new(&python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", python.display()));
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("what the services say");
    assert!(!line.is_empty(), "the services did not start; what they said is above");
    *SERVICES.lock().expect("nobody panics with it") = Some((child, stdout));
    Some(serde_json::from_str(&line).expect("how to reach them"))
}
