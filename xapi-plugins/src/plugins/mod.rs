//! The plugins by name, and the functions of each.

mod config_file;
mod partition_utils;
mod version;

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
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// The name under which Nova's clients know this kind of failure.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Argument { .. } => "ArgumentError",
            Self::Command(_) => "SubprocessException",
            Self::Other(_) => "PluginError",
        }
    }
}

/// All plugins, each with its functions.
pub const PLUGINS: &[(&str, &[Function])] = &[
    ("config_file", config_file::FUNCTIONS),
    ("dom0_plugin_version", version::FUNCTIONS),
    ("partition_utils", partition_utils::FUNCTIONS),
];

/// Finds a function; the plugin's name with or without the `.py` that Nova's clients append.
pub fn find(plugin: &str, function: &str) -> Option<&'static Function> {
    let name = plugin.strip_suffix(".py").unwrap_or(plugin);
    let (_, functions) = PLUGINS.iter().find(|(known, _)| *known == name)?;
    functions.iter().find(|f| f.name == function)
}

/// The body of a function.
pub type Body = fn(&dyn Dom0, &Args) -> Outcome;
