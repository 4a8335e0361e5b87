//! The plugins by name, and the functions of each.

mod agent;
mod bandwidth;
mod commands;
mod config_file;
mod console;
mod curl;
mod glance;
mod ipxe;
mod kernel;
mod migration;
mod network;
mod netwrap;
mod partition_utils;
mod pieces;
mod power;
mod protocol;
mod version;
mod workarounds;
mod xenhost;
mod xenstore;

use crate::convention::{Args, Function};
use crate::dom0::Dom0;

/// What a function answers: a value of its convention, or why not.
pub type Outcome = Result<crate::pickle::Pickle, Error>;

/// Why a function failed, as it reaches the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An argument that is missing or not acceptable.
    #[error("argument {name}: {reason}")]
    Argument {
        /// The argument's name.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A program failed.
    #[error(transparent)]
    Command(#[from] crate::dom0::CommandError),
    /// A guest that answers in a way that is not expected, or refuses.
    #[error(transparent)]
    Agent(#[from] guest_agent::Error),
    /// A guest that did not answer in time. Clients look for `TIMEOUT:`.
    #[error("TIMEOUT: {0}")]
    Timeout(String),
    /// A guest that went away meanwhile. Clients look for `REBOOT:` and try again with the new domain.
    #[error("REBOOT: {0}")]
    Rebooted(String),
    /// Something that the guest cannot do. Clients look for `NOT IMPLEMENTED:`.
    #[error("NOT IMPLEMENTED: {0}")]
    NotImplemented(String),
    /// A program that this host does not have.
    #[error("{0}")]
    CommandNotFound(crate::dom0::CommandError),
    /// An image that the service does not have. Clients look for just this text.
    #[error("ImageNotFound")]
    ImageNotFound,
    /// A transfer that may succeed when it is tried again, perhaps with another server.
    #[error("{0}")]
    Retryable(String),
    /// XAPI's own answer to a call of the plugin's.
    #[error("{0}")]
    Xapi(xenapi_wire::Failure),
    /// A disk that is not changed because that would not be safe, or cannot be done. It is as it was.
    #[error("{0}")]
    Refused(String),
    /// A file or folder of the control domain.
    #[error("{path}: {reason}")]
    File {
        /// Where.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// A job that nobody wants any more.
    #[error("job {0} was ended, as somebody asked for that")]
    Cancelled(String),
    /// A request of the protocol that is none, or of another version.
    #[error(transparent)]
    Protocol(#[from] dom0_protocol::ProtocolError),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Error {
    pub(crate) fn file(path: impl AsRef<std::path::Path>, error: &std::io::Error) -> Self {
        Self::File { path: path.as_ref().display().to_string(), reason: error.to_string() }
    }

    /// The class that a plugin of Nova's raises for this; what it has no class of its own for is as [`Self::class`].
    pub fn class_in(&self, plugin: &str) -> &'static str {
        match (plugin, self) {
            ("agent" | "xenstore", Self::Command(_)) => "XenstoreError",
            ("xenhost", Self::Command(_) | Self::Argument { name: "enabled", .. })
            | ("console", Self::Argument { name: "dom_id", .. })
            | ("partition_utils", Self::Argument { name: "partition_end" | "fs_type", .. }) => "PluginError",
            _ => self.class(),
        }
    }

    /// The name under which Nova's clients know this kind of failure.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Argument { .. } | Self::Protocol(_) => "ArgumentError",
            Self::Command(_) => "SubprocessException",
            Self::CommandNotFound(_) => "CommandNotFound",
            Self::ImageNotFound | Self::Xapi(_) => "Failure",
            Self::Retryable(_) => "RetryableError",
            Self::File { .. } => "IOError",
            Self::Refused(_) => "CannotResizeDisk",
            Self::Rebooted(_) => "RebootDetectedError",
            Self::NotImplemented(_) => "NotImplementedError",
            Self::Agent(_) | Self::Timeout(_) | Self::Cancelled(_) | Self::Other(_) => "PluginError",
        }
    }
}

impl Error {
    /// The failure as the protocol has it.
    pub(crate) fn to_protocol(&self) -> dom0_protocol::Failure {
        use dom0_protocol::{Failure, FailureKind};
        let kind = match self {
            Self::Protocol(_) => FailureKind::Protocol,
            Self::Argument { .. } => FailureKind::Argument,
            Self::Refused(_) => FailureKind::Refused,
            Self::Command(error) if error.is_missing() => FailureKind::MissingProgram,
            Self::Command(_) => FailureKind::Command,
            Self::CommandNotFound(_) => FailureKind::MissingProgram,
            Self::File { .. } => FailureKind::File,
            Self::Xapi(_) => FailureKind::Xapi,
            Self::Cancelled(_) => FailureKind::Cancelled,
            Self::Retryable(_) | Self::Timeout(_) | Self::Rebooted(_) => FailureKind::Retryable,
            Self::Agent(_) | Self::NotImplemented(_) | Self::ImageNotFound | Self::Other(_) => {
                FailureKind::Other
            }
        };
        let argument = match self {
            Self::Argument { name, .. } => Some((*name).to_owned()),
            _ => None,
        };
        let (program, stderr) = match self {
            Self::Command(error) | Self::CommandNotFound(error) => {
                (Some(error.program.clone()), Some(error.stderr.clone()).filter(|text| !text.is_empty()))
            }
            _ => (None, None),
        };
        Failure { argument, program, stderr, ..Failure::new(kind, self.to_string()) }
    }
}

/// All plugins, each with its functions.
pub const PLUGINS: &[(&str, &[Function])] = &[
    ("agent", agent::FUNCTIONS),
    ("bandwidth", bandwidth::FUNCTIONS),
    ("config_file", config_file::FUNCTIONS),
    ("console", console::FUNCTIONS),
    ("dom0_plugin_version", version::FUNCTIONS),
    ("dom0_protocol", protocol::FUNCTIONS),
    ("glance", glance::FUNCTIONS),
    ("ipxe", ipxe::FUNCTIONS),
    ("kernel", kernel::FUNCTIONS),
    ("migration", migration::FUNCTIONS),
    ("netwrap", netwrap::FUNCTIONS),
    ("partition_utils", partition_utils::FUNCTIONS),
    ("workarounds", workarounds::FUNCTIONS),
    ("xenhost", xenhost::FUNCTIONS),
    ("xenstore", xenstore::FUNCTIONS),
];

/// Finds a function; the plugin's name with or without the `.py` that Nova's clients append.
pub fn find(plugin: &str, function: &str) -> Option<&'static Function> {
    let name = plugin.strip_suffix(".py").unwrap_or(plugin);
    let (_, functions) = PLUGINS.iter().find(|(known, _)| *known == name)?;
    functions.iter().find(|f| f.name == function)
}

/// Whether a text is a uuid in its usual form.
pub(crate) fn is_uuid(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// The body of a function.
pub type Body = fn(&dyn Dom0, &Args) -> Outcome;

/// What functions make of a text from outside, for the fuzz target.
pub(crate) mod accepted {
    use std::path::PathBuf;

    use super::{Args, commands, curl, ipxe, kernel, partition_utils};
    use crate::staging;

    pub(crate) fn device(text: &str) -> Option<PathBuf> {
        partition_utils::device(&Args::of(&[("dev", text)]), "dev").ok()
    }

    pub(crate) fn sr(text: &str) -> Option<PathBuf> {
        staging::sr_path(&crate::dom0::Real, &Args::of(&[("sr_path", text)])).ok()
    }

    pub(crate) fn kernel(text: &str) -> bool {
        kernel::own_name(text).is_ok()
    }

    pub(crate) fn url(text: &str) -> bool {
        curl::is_url(text)
    }

    pub(crate) fn option(text: &str) -> String {
        curl::option("url", text)
    }

    pub(crate) fn header(text: &str) -> Option<String> {
        let (name, value) = text.split_once(':')?;
        curl::header("headers", name, value).ok()
    }

    pub(crate) fn boot_menu(text: &str) -> Option<String> {
        let at = ["ip_address", "netmask", "gateway", "dns"].map(|name| (name, "192.0.2.7"));
        ipxe::script(&Args::of(&[&at[..], &[("boot_menu_url", text)]].concat())).ok()
    }

    pub(crate) fn command(words: &[&str], input: &str) -> bool {
        commands::refused(words, input, |_| true).is_none()
    }
}
