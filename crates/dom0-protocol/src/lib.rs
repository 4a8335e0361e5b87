//! What drivers and the plugins in dom0 say to each other.
//!
//! A request is a [`Call`]: a struct with the parameters, the name of the plugin's function, and the type of the
//! answer. [`encode`] makes the arguments of `host.call_plugin` from it, [`Request::decode`] reads them in dom0,
//! [`Reply`] goes back.
//!
//! ```
//! use dom0_protocol::{AutoConfigureDisk, Reply, Request, Resized, encode};
//!
//! let arguments = encode(&AutoConfigureDisk { dev: "xvdb".into() }, Some("a-job"));
//! // In dom0:
//! let request: Request<AutoConfigureDisk> = Request::decode(&arguments["request"])?;
//! assert_eq!(request.params.dev, "xvdb");
//! let done = Resized { partition_start: 2048, partition_sectors: 8192, fs_type: "ext4".into(), fs_bytes: 4 << 20 };
//! let text = Reply::Answer(done.clone()).encode();
//! // In the driver:
//! assert_eq!(Reply::<Resized>::decode(&text)?, Reply::Answer(done));
//! # Ok::<(), dom0_protocol::ProtocolError>(())
//! ```
//!
//! What it does not do: carry a message, which `host.call_plugin` does, or do what it asks, which the plugin does.
//!
//! # Versions
//!
//! Both ends say theirs in each message. Another major version is refused by whoever sees it first. A minor one adds
//! requests, parameters that may be left out, and fields of answers: what is not known is not looked at, and a request
//! that is not known is XAPI's own `UNKNOWN_XENAPI_PLUGIN_FUNCTION`.
//!
//! # Progress
//!
//! Who gives a request a `job`, a name of its own, can ask the same host how far it is, [`Progress`], and
//! have it ended, [`Cancel`], which came with version 1.1.

mod calls;
mod failure;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use calls::*;
pub use failure::{Failure, FailureKind};

/// The plugin's name, as installed.
pub const PLUGIN: &str = "dom0_protocol.py";
/// The argument that carries a request.
pub const ARGUMENT: &str = "request";
/// What this crate speaks.
pub const VERSION: Version = Version { major: 1, minor: 1 };
/// The longest name of a job.
pub const MAX_JOB_LEN: usize = 64;

/// Which messages somebody understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// Another one is another protocol.
    pub major: u32,
    /// A greater one has more.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A request: what it is called, and what answers it.
pub trait Call: Serialize + DeserializeOwned {
    /// The plugin's function.
    const FUNCTION: &'static str;
    /// What comes back.
    type Answer: Serialize + DeserializeOwned;
}

/// A message that is none, or that this end does not understand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// It is not JSON of the expected form.
    #[error("not a message of the dom0 protocol: {0}")]
    Malformed(String),
    /// The other end speaks another protocol.
    #[error(
        "the other end speaks version {theirs} of the dom0 protocol, and this one {ours}; install matching ones"
    )]
    Version {
        /// This end's.
        ours: Version,
        /// The other end's.
        theirs: Version,
    },
    /// A job's name that could be mistaken for something else.
    #[error("{0:?} cannot be the name of a job: 1 to 64 letters, digits and '-'")]
    Job(String),
}

/// A request on its way, with who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request<C> {
    /// What the asking end speaks.
    pub version: Version,
    /// A name under which to tell how far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// What is asked for.
    pub params: C,
}

impl<C: DeserializeOwned> Request<C> {
    /// Reads a request. The version is looked at before anything else.
    ///
    /// # Errors
    /// When it is not one, or of another major version.
    pub fn decode(text: &str) -> Result<Self, ProtocolError> {
        check_version(text)?;
        let request: Self = from_json(text)?;
        match &request.job {
            Some(job) if !is_job(job) => Err(ProtocolError::Job(job.clone())),
            _ => Ok(request),
        }
    }
}

/// The arguments of `host.call_plugin` that ask for something.
pub fn encode<C: Call>(params: &C, job: Option<&str>) -> BTreeMap<String, String> {
    let request = Request { version: VERSION, job: job.map(str::to_owned), params };
    // Structs of texts and numbers: there is nothing that JSON cannot have.
    let text = serde_json::to_string(&request).unwrap_or_default();
    BTreeMap::from([(ARGUMENT.to_owned(), text)])
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<A> {
    /// It was done.
    Answer(A),
    /// It was not.
    Failed(Failure),
}

#[derive(Serialize, Deserialize)]
struct Message<A> {
    version: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<A>,
}

impl<A: Serialize> Reply<A> {
    /// What the plugin answers.
    pub fn encode(&self) -> String {
        let (answer, error) = match self {
            Self::Answer(answer) => (Some(answer), None),
            Self::Failed(failure) => (None, Some(failure.clone())),
        };
        serde_json::to_string(&Message { version: VERSION, error, answer }).unwrap_or_default()
    }
}

impl<A: DeserializeOwned> Reply<A> {
    /// Reads what the plugin answered.
    ///
    /// # Errors
    /// When it is no reply, or of another major version.
    pub fn decode(text: &str) -> Result<Self, ProtocolError> {
        #[derive(Deserialize)]
        struct Raw {
            error: Option<Failure>,
            #[serde(default)]
            answer: serde_json::Value,
        }
        check_version(text)?;
        let raw: Raw = from_json(text)?;
        if let Some(failure) = raw.error {
            return Ok(Self::Failed(failure));
        }
        serde_json::from_value(raw.answer).map(Self::Answer).map_err(|e| malformed(&e))
    }

    /// As a result.
    ///
    /// # Errors
    /// The failure.
    pub fn into_result(self) -> Result<A, Failure> {
        match self {
            Self::Answer(answer) => Ok(answer),
            Self::Failed(failure) => Err(failure),
        }
    }
}

/// Whether a text can be a job's name: it becomes that of a file.
pub fn is_job(text: &str) -> bool {
    (1..=MAX_JOB_LEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn check_version(text: &str) -> Result<(), ProtocolError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: Version,
    }
    let theirs = from_json::<Versioned>(text)?.version;
    if theirs.major == VERSION.major { Ok(()) } else { Err(ProtocolError::Version { ours: VERSION, theirs }) }
}

fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, ProtocolError> {
    serde_json::from_str(text).map_err(|e| malformed(&e))
}

/// Where and why; never the text, which may hold a password's hash.
fn malformed(error: &serde_json::Error) -> ProtocolError {
    let kind = match error.classify() {
        serde_json::error::Category::Data => "a field is missing or of another type",
        serde_json::error::Category::Eof => "it ends too early",
        _ => "it is not JSON",
    };
    ProtocolError::Malformed(format!("{kind} (line {}, column {})", error.line(), error.column()))
}

#[cfg(test)]
mod tests;
