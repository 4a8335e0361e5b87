//! What can go wrong with an image between its place and us.

use std::io;

use crate::digest::Digest;

/// The outcome of work with images.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure. Each names the image, or the server that was asked; addresses come without passwords and
/// without their query, which may be a signature.
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
    /// No answer, or one that broke off.
    #[error("{what}: {problem}")]
    Connection {
        /// The address.
        what: String,
        /// What happened.
        problem: String,
        /// The cause, if there is one.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The server's certificate is not believed.
    #[error(
        "{what}: the server's certificate is not trusted ({problem}); give the file of the authority that issued it"
    )]
    Untrusted {
        /// The address.
        what: String,
        /// Why not.
        problem: String,
    },
    /// There is no such image.
    #[error("{what} is not found")]
    NotFound {
        /// The image.
        what: String,
    },
    /// Name or secret are wrong, or have no right to do this.
    #[error("{what}: access is denied (HTTP {status}){hint}")]
    Denied {
        /// The address.
        what: String,
        /// 401 or 403.
        status: u16,
        /// What the server said.
        hint: String,
    },
    /// The server answered that it does not.
    #[error("{what}: HTTP {status}{hint}")]
    Status {
        /// The address.
        what: String,
        /// The status.
        status: u16,
        /// What the server said.
        hint: String,
    },
    /// An answer that makes no sense.
    #[error("{what}: {problem}")]
    Protocol {
        /// The address.
        what: String,
        /// What makes no sense.
        problem: String,
    },
    /// The content is another one than when the transfer began.
    #[error("{what} changed while it was being read: {problem}; start again")]
    Changed {
        /// The image.
        what: String,
        /// What tells.
        problem: String,
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
    /// The image's state does not allow this.
    #[error("{what} is {state}; {needed}")]
    State {
        /// The image.
        what: String,
        /// Its state.
        state: String,
        /// What it must be.
        needed: &'static str,
    },
    /// All attempts failed.
    #[error("{what}: given up after {attempts} attempts")]
    GivenUp {
        /// What was tried.
        what: String,
        /// How often.
        attempts: u32,
        /// Why the last one failed.
        source: Box<Error>,
    },
}

impl Error {
    /// Whether another attempt may have another outcome (the statuses are those that Nova tries again).
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connection { .. } => true,
            Self::Status { status, .. } => !matches!(
                status,
                100..=399 | 400..=407 | 409..=417 | 422..=424 | 426 | 501 | 505 | 510
            ),
            _ => false,
        }
    }
}
