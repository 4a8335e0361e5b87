//! What can go wrong with an image between its place and us.

use std::io;

use crate::digest::Digest;

/// The outcome of work with images.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure. Each names the image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was given cannot be meant.
    #[error("{what}: {problem}")]
    Invalid {
        /// The option or address.
        what: String,
        /// What is wrong with it, and what to give instead.
        problem: String,
    },
    /// A file or pipe.
    #[error("cannot {doing} {what}")]
    Io {
        /// What was done: open, read, write.
        doing: &'static str,
        /// The file.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The target is there and was not to be replaced.
    #[error("{what} exists already; remove it, or allow it to be replaced")]
    Exists {
        /// The target.
        what: String,
    },
    /// There is no such image.
    #[error("{what} is not found")]
    NotFound {
        /// The image.
        what: String,
    },
    /// The content ended too soon or goes on too long.
    #[error("{what} has {got} bytes{}, but {expected} were announced", if got > expected { " or more" } else { "" })]
    Length {
        /// The image.
        what: String,
        /// Bytes seen.
        got: u64,
        /// Bytes announced.
        expected: u64,
    },
    /// The content is not what it should be.
    #[error("{what} is damaged or not the image that is meant: its digest is {got}, expected is {expected}")]
    Digest {
        /// The image.
        what: String,
        /// What was computed.
        got: Digest,
        /// What was given.
        expected: Digest,
    },
}
