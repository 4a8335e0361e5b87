//! Text that must not be shown: passwords and session references.

use std::fmt;

use xenapi_wire::Failure;
use zeroize::Zeroize;

/// Text that no `Debug`, log or error ever shows, overwritten when it is dropped.
///
/// There is no `Display`: whoever needs the text says so with [`Secret::expose`].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes over `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into_bytes())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Secret {
    /// A failure in which the server repeats the secret, without it.
    pub(crate) fn cut_out_of(&self, mut failure: Failure, instead: &str) -> Failure {
        let secret = self.expose();
        if !secret.is_empty() {
            for param in failure.params.iter_mut().filter(|param| param.contains(secret)) {
                *param = param.replace(secret, instead);
            }
        }
        failure
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
        assert_eq!(secret.expose(), "hunter2");
        assert!(!format!("{secret:?} {:?}", Some(&secret)).contains("hunter2"));
    }
}
