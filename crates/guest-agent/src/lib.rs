//! The protocol of the guest agents that OpenStack images carry: what the host writes into the
//! guest's xenstore, what the agent answers, and the key exchange that hides a password on the way.
//!
//! The control domain writes a request under [`Command::request_path`] and reads the answer under
//! [`Command::response_path`], both relative to `/local/domain/<domid>`. This crate says which path
//! and which bytes; it touches no xenstore, socket or clock. The driver starts an exchange, the dom0
//! plugin carries it, and a simulated guest can answer it with the same types.
//!
//! ```
//! use guest_agent::{Command, Digest, Offer, Reply, Request};
//!
//! // The host: 80 random bits, whose public half goes to the agent.
//! let offer = Offer::new([7; 10]);
//! let request = Command::KeyInit { public: offer.public() }.request();
//! assert_eq!(request.name, "keyinit");
//!
//! // The guest: answers with its own half.
//! let guest = Offer::new([9; 10]);
//! let reply = Reply { returncode: "D0".into(), message: guest.public() };
//!
//! // Both have the same secret now.
//! let theirs = Command::KeyInit { public: String::new() }.accept(&reply.encode())?;
//! let sealed = offer.agree(&theirs)?.seal("pa$$word", Digest::Md5);
//! let opened = guest.agree(&request.value)?.open(&sealed, Digest::Md5)?;
//! assert_eq!(opened.as_str(), "pa$$word");
//! # Ok::<(), guest_agent::Error>(())
//! ```
//!
//! What it does not do: read or write xenstore, wait for an answer, or make the exchange safer than it is.
//!
//! # How safe it is
//! Not very, and not by our choice: the agents know one exchange, Diffie-Hellman over a prime of 107
//! bits with an exponent of 80, without authentication. Whoever reads the guest's xenstore during the
//! exchange can break it. A config drive with cloud-init is the better way, and the driver's default.

mod cipher;
mod exchange;
#[doc(hidden)]
pub mod fuzzing;
mod message;
mod owner;
mod version;

pub use cipher::Digest;
pub use exchange::{Channel, Offer};
pub use message::{Command, File, Reply, Request};
pub use owner::{OwnerKey, OwnerKeyError, joined, pieces};
pub use version::is_newer;

/// Why an exchange with an agent failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the agent wrote is not the JSON that was expected.
    #[error("the agent's answer to {command} cannot be read: {reason}")]
    Unreadable {
        /// The command's name on the wire.
        command: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The agent refused.
    #[error("the agent refused {command} with code {code:?}: {message}")]
    Refused {
        /// The command's name on the wire.
        command: &'static str,
        /// Its return code.
        code: String,
        /// Its words.
        message: String,
    },
    /// The agent knows no way to write files.
    #[error(
        "the agent cannot write files: it offers {0:?}, and neither file_inject nor injectfile is among them"
    )]
    NoFiles(String),
    /// The agent's public number is none, or one that would make the secret known to everybody.
    #[error("the agent's public key {0:?} is not a number from 2 to p-2")]
    WeakKey(String),
    /// A sealed password that does not open: damaged, or sealed with another key or digest.
    #[error("the sealed password does not open: {0}")]
    Sealed(&'static str),
}
