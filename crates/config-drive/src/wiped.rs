//! Documents that may hold a password: whatever they are written in is overwritten when it goes.

use std::io::{self, Write};

use bytes::Bytes;
use serde_json::Value;
use zeroize::Zeroize;

/// The password's place in a document.
const PASSWORD: &str = "admin_pass";

/// A document as JSON. Its password is overwritten.
pub(crate) fn json(mut document: Value) -> Wiped {
    let mut text = Wiped::default();
    // Neither a document nor memory refuses to be written.
    let written = serde_json::to_writer(&mut text, &document);
    debug_assert!(written.is_ok());
    if let Some(Value::String(password)) = document.get_mut(PASSWORD) {
        password.zeroize();
    }
    text
}

/// Bytes of which no copy is left where they were, neither when they grow nor when they are dropped.
#[derive(Default)]
pub(crate) struct Wiped(Vec<u8>);

impl Wiped {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let len = self.0.len() + bytes.len();
        if len > self.0.capacity() {
            let mut larger = Vec::with_capacity(len.next_power_of_two().max(1024));
            larger.extend_from_slice(&self.0);
            self.0.zeroize();
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }
}

impl Write for Wiped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl From<Wiped> for Bytes {
    fn from(wiped: Wiped) -> Self {
        Self::from_owner(wiped)
    }
}
