//! Calls to the scripts in dom0 (`/etc/xapi.d/plugins`).

use std::collections::BTreeMap;
use std::fmt;

use xenapi_types::Host;
use xenapi_wire::{Confidential, Failure, Ref};

use crate::client::Client;
use crate::error::{Error, Result};

/// How a dom0 plugin failed: the parameters of `XENAPI_PLUGIN_FAILURE`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PluginFailure {
    /// `non-zero exit`, `signal: SIGTERM`, `failed to parse plugin output`, or `fault`.
    pub status: String,
    /// Its standard output; for a fault, the fault's code.
    pub stdout: String,
    /// Its standard error, where a Python plugin leaves its traceback; for a fault, its text.
    pub stderr: String,
}

impl PluginFailure {
    /// The plugin failure in a failure of XAPI, if it is one.
    pub fn from_failure(failure: &Failure) -> Option<Self> {
        (failure.code == "XENAPI_PLUGIN_FAILURE").then(|| Self {
            status: failure.param(0).to_owned(),
            stdout: failure.param(1).to_owned(),
            stderr: failure.param(2).to_owned(),
        })
    }
}

impl fmt::Display for PluginFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the plugin failed ({})", self.status)?;
        // A traceback says what happened in its last line.
        let last = |text: &str| text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned);
        match last(&self.stderr).or_else(|| last(&self.stdout)) {
            Some(line) => write!(f, ": {line}"),
            None => Ok(()),
        }
    }
}

impl Client {
    /// Calls a function of a plugin on a host, and gives back the text that it returns.
    ///
    /// A plugin that fails may leave things half done. Codes that a plugin chooses itself come as
    /// the [`Failure`] of the error; everything else is in
    /// [`Error::plugin_failure`](crate::Error::plugin_failure).
    ///
    /// # Errors
    /// `Failure`: with `XENAPI_MISSING_PLUGIN` when the host does not have it.
    pub async fn call_plugin(
        &self,
        host: &Ref<Host>,
        plugin: &str,
        function: &str,
        args: &BTreeMap<String, String>,
    ) -> Result<String> {
        // Plugins name their functions as XAPI does its own.
        self.check_reads(&format!("{plugin}.{function}"))?;
        let answer = self.invoke_plugin(&(host, plugin, function, Confidential(args))).await;
        answer.map_err(|error| explain(error, plugin, function))
    }
}

fn explain(error: Error, plugin: &str, function: &str) -> Error {
    let error = error.renamed(format!("plugin {plugin}, function {function}"));
    if let Some(failure) = error.failure().and_then(PluginFailure::from_failure) {
        return error.with_plugin(failure);
    }
    if error.is("XENAPI_MISSING_PLUGIN") {
        return error.remedy("install the plugin in /etc/xapi.d/plugins of every host");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_traceback_is_shown() {
        let failure = Failure::new(
            "XENAPI_PLUGIN_FAILURE",
            ["non-zero exit", "", "Traceback:\n  File x\nKeyError: 'vdi'\n\n"],
        );
        let plugin = PluginFailure::from_failure(&failure).unwrap();
        assert_eq!(plugin.to_string(), "the plugin failed (non-zero exit): KeyError: 'vdi'");
        assert!(PluginFailure::from_failure(&Failure::new("VDI_IN_USE", ["x"])).is_none());
    }
}
