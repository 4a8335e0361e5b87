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
    /// A server cannot be reached, or the connection broke.
    #[error("{what}: {problem}")]
    Unreachable {
        /// The address.
        what: String,
        /// What happened, and where to look.
        problem: String,
    },
    /// The server's certificate is not trusted.
    #[error(
        "{what}: the server's certificate is not trusted ({problem}); name its CA file, or pin its SHA-256 fingerprint after comparing it"
    )]
    Untrusted {
        /// The address.
        what: String,
        /// Why, and where it was seen its fingerprint.
        problem: String,
    },
    /// The server answered with an error.
    #[error("{what}: the server answered {status}{}{}", if said.is_empty() { "" } else { ": " }, said)]
    Status {
        /// The address or image.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What it said of it, and what to do.
        said: String,
    },
    /// The answer cannot be understood.
    #[error("{what}: {problem}")]
    Protocol {
        /// The address.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// After a broken connection the rest cannot be had, because it is not known to belong to the beginning.
    #[error("{what} broke off after {position} bytes and cannot be resumed: {problem}")]
    NotResumable {
        /// The image.
        what: String,
        /// Bytes that had arrived.
        position: u64,
        /// Why not.
        problem: String,
    },
    /// There were enough attempts.
    #[error("{what}: given up after {attempts} attempts")]
    GivenUp {
        /// The image.
        what: String,
        /// How many.
        attempts: u32,
        /// What the last one ended with.
        source: Box<Error>,
    },
}

impl Error {
    /// Whether another attempt, maybe at another server, can end better.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504 | 507),
            _ => false,
        }
    }
}
