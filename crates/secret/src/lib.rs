//! Text that must not be shown: passwords, tokens and session references.
//!
//! ```
//! #[derive(Debug)]
//! struct Login {
//!     user: String,
//!     password: secret::Secret,
//! }
//!
//! let login = Login { user: "root".into(), password: "hunter2".into() };
//! assert_eq!(format!("{login:?}"), r#"Login { user: "root", password: <redacted> }"#);
//! assert_eq!(login.password.expose(), "hunter2");
//! ```
//!
//! What it does not do: keep the text out of swap, or find copies that were made of it.

use std::fmt;

use zeroize::Zeroize;

/// Text that no `Debug`, log or error ever shows, overwritten when it is dropped.
///
/// There is no `Display`: whoever needs the text says so with [`Secret::expose`]. Comparing two of them takes as long as
/// their common beginning: do not decide by it who may come in.
///
/// ```
/// use secret::Secret;
///
/// let password = Secret::new("hunter2");
/// assert_eq!(password.expose(), "hunter2");
/// assert_eq!(format!("{password:?}"), "<redacted>");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes over `text`, without a copy of a `String`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_never_shown() {
        let secret = Secret::new("hunter2");
        assert!(!format!("{secret:?} {secret:#?} {:?}", Some(&secret)).contains("hunter2"));
    }

    #[test]
    fn a_string_is_not_copied() {
        let text = "hunter2".to_owned();
        let place = text.as_ptr();
        assert_eq!(Secret::from(text).expose().as_ptr(), place, "a copy would stay behind");
    }
}
