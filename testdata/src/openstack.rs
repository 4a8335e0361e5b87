//! A real Keystone and a real Glance for tests, for as long as the process lives.
//!
//! `OPENSTACK_PYTHON` names the Python of an environment with both:
//!
//! ```text
//! python3 -m venv venv && venv/bin/pip install --no-deps -r .ci/openstack.txt
//! OPENSTACK_PYTHON=$PWD/venv/bin/python cargo test -p image-store --test openstack
//! ```
//!
//! Without it the tests are skipped, or fail if `CI` is `true`; empty, it says that they are left out on purpose.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::Deserialize;

/// Where they are, and who may use them.
#[derive(Debug, Deserialize)]
pub struct OpenStack {
    /// Address of Keystone.
    pub auth_url: String,
    /// Address of Glance.
    pub glance: String,
    /// The password of `admin`.
    pub password: String,
    /// A token of `admin`.
    pub token: String,
    /// An application credential of `admin`.
    pub credential_id: String,
    /// Its secret.
    pub credential_secret: String,
}

/// The services: they end when this process does, because that closes their standard input.
static SERVICES: Mutex<Option<(Child, BufReader<ChildStdout>)>> = Mutex::new(None);

/// Both, started by whoever asks first. `None` if the tests are to be skipped, which is told.
///
/// # Panics
/// If they do not start; and, where `CI` is `true`, if `OPENSTACK_PYTHON` is not set.
pub fn get() -> Option<&'static OpenStack> {
    static WORLD: OnceLock<Option<OpenStack>> = OnceLock::new();
    WORLD.get_or_init(start).as_ref()
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn start() -> Option<OpenStack> {
    let named = std::env::var_os("OPENSTACK_PYTHON");
    let Some(python) = named.clone().filter(|python| !python.is_empty()) else {
        let in_ci = std::env::var("CI").as_deref() == Ok("true");
        assert!(named.is_some() || !in_ci, "OPENSTACK_PYTHON is not set");
        eprintln!("skipped: OPENSTACK_PYTHON does not name a Python that has glance and keystone");
        return None;
    };
    let mut child = Command::new(&python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/openstack/serve.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", python.display()));
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("what the services say");
    assert!(!line.is_empty(), "the services did not start; what they said is above");
    *SERVICES.lock().unwrap_or_else(PoisonError::into_inner) = Some((child, stdout));
    Some(serde_json::from_str(&line).expect("how to reach them"))
}
