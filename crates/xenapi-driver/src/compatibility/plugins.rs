//! Which plugins the hosts have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xenapi_client::Client;
use xenapi_types::{Host, Ref};

use crate::inventory::Node;

const PLUGIN: &str = "dom0_plugin_version.py";

/// A host and its plugins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HostPlugins {
    /// `name_label` of the host.
    pub host: String,
    /// What it has.
    pub state: PluginState,
}

/// Which plugins a host has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "plugins")]
pub enum PluginState {
    /// Ours.
    Installed {
        /// Their version.
        version: String,
        /// Each plugin's functions.
        functions: BTreeMap<String, Vec<String>>,
    },
    /// Others of the same names, such as Nova's.
    Foreign {
        /// What they say of themselves.
        version: String,
    },
    /// None.
    Missing,
    /// The host could not be asked.
    Unknown {
        /// For what reason.
        why: String,
    },
}

impl PluginState {
    /// Whether it answers a request of the dom0 protocol.
    pub(super) fn has(&self, function: &str) -> bool {
        match self {
            Self::Installed { functions, .. } => {
                let plugin = dom0_protocol::PLUGIN.trim_end_matches(".py");
                functions.get(plugin).is_some_and(|names| names.iter().any(|name| name == function))
            }
            Self::Foreign { .. } | Self::Missing | Self::Unknown { .. } => false,
        }
    }
}

impl PluginState {
    /// Whether there is a plugin `agent`, ours or Nova's; `None` where that is not known.
    pub(crate) fn has_agent(&self) -> Option<bool> {
        match self {
            Self::Installed { functions, .. } => Some(functions.contains_key("agent")),
            Self::Foreign { .. } => Some(true),
            Self::Missing => Some(false),
            Self::Unknown { .. } => None,
        }
    }

    /// Which requests it does not answer, in words, or why that is not known.
    pub(crate) fn lacks(&self, functions: &[&str]) -> Option<String> {
        let lacking: Vec<&str> = functions.iter().copied().filter(|function| !self.has(function)).collect();
        match self {
            _ if lacking.is_empty() => None,
            Self::Unknown { why } => Some(why.clone()),
            _ => Some(format!("its plugins lack {}", lacking.join(", "))),
        }
    }
}

pub(super) async fn ask(client: &Client, nodes: &[Node]) -> Vec<HostPlugins> {
    let mut plugins = Vec::new();
    for node in nodes {
        plugins.push(HostPlugins { host: node.name.clone(), state: state(client, &node.reference).await });
    }
    plugins
}

pub(crate) async fn state(client: &Client, host: &Ref<Host>) -> PluginState {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "xapi-plugins")]
        version: String,
        plugins: BTreeMap<String, Vec<String>>,
    }
    let none = BTreeMap::new();
    let why = |error: xenapi_client::Error| PluginState::Unknown { why: error.to_string() };
    match client.call_plugin(host, PLUGIN, "get_functions", &none).await {
        Ok(text) => match serde_json::from_str::<Answer>(&text) {
            Ok(Answer { version, plugins }) => PluginState::Installed { version, functions: plugins },
            Err(error) => PluginState::Unknown { why: format!("{PLUGIN} answered no JSON: {error}") },
        },
        Err(error) if error.is("XENAPI_MISSING_PLUGIN") => PluginState::Missing,
        Err(error) if error.is("UNKNOWN_XENAPI_PLUGIN_FUNCTION") || error.plugin_failure().is_some() => {
            match client.call_plugin(host, PLUGIN, "get_version", &none).await {
                Ok(pickle) => PluginState::Foreign { version: version_in(&pickle) },
                Err(error) => why(error),
            }
        }
        Err(error) => why(error),
    }
}

/// The version in a pickled text, which is on its first line: `S'2.1'` or `V2.1`.
fn version_in(pickle: &str) -> String {
    let line = pickle.lines().next().unwrap_or_default();
    line.trim_matches(|c: char| !c.is_ascii_digit()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_foreign_plugins() {
        assert_eq!(version_in("S'2.1'\np1\n."), "2.1");
        assert_eq!(version_in("V1.8\np0\n."), "1.8");
        assert_eq!(version_in(""), "");
    }
}
