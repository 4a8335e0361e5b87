//! The parts of a cause's text: the reasons behind it, what there is instead, and what to do about it.

use std::fmt;

use super::remedy;

/// An error with its reasons, which its own text leaves out.
pub(super) struct Chain<'a>(pub(super) &'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut reason = self.0.source();
        while let Some(error) = reason {
            write!(f, ": {error}")?;
            reason = error.source();
        }
        Ok(())
    }
}

/// What there is instead of what was looked for.
pub(super) struct Have<'a>(pub(super) &'a [String]);

impl fmt::Display for Have<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("nothing is there"),
            have => write!(f, "there is: {}", have.join(", ")),
        }
    }
}

/// A client error after what was being done, with the remedy for codes that have one.
pub(super) struct Told<'a> {
    pub(super) doing: &'a str,
    pub(super) source: &'a xenapi_client::Error,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { doing, source } = self;
        if doing.is_empty() {
            write!(f, "{source}")?;
        } else {
            write!(f, "{doing}: {source}")?;
        }
        match remedy::of_code(source) {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}
