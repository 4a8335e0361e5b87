//! dom0 plugins for XAPI: one binary that answers to many names.
//!
//! XAPI runs `/etc/xapi.d/plugins/<name>` with one argument, an XML-RPC call, and reads one XML-RPC
//! response from its standard output. The name under which the binary was started picks the plugin,
//! so that one file and a few links serve all of them. Names and conventions are those that
//! OpenStack Nova's clients use.
//!
//! ```
//! use std::collections::BTreeMap;
//! use xenapi_wire::plugin::{PluginCall, decode_response};
//!
//! let call = PluginCall { function: "get_version".into(), session: "OpaqueRef:NULL".into(), args: BTreeMap::new() };
//! let output = xapi_plugins::respond("dom0_plugin_version.py", &call.encode()?, &xapi_plugins::dom0::Real);
//! let answer = decode_response(output.as_bytes(), &xenapi_wire::Limits::REQUEST)?;
//! assert_eq!(answer.as_deref(), Ok("V2.1\np0\n."));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it does not do: keep anything between two calls, have a shell run what it was told, or run anywhere but in dom0.

pub mod around;
#[cfg(test)]
mod bad_input;
mod confined;
pub mod convention;
mod disk;
pub mod dom0;
pub mod filesystem;
#[doc(hidden)]
pub mod fuzzing;
mod inject;
pub mod partition_table;
pub mod pickle;
pub mod plugins;
mod resize;
mod staging;
#[cfg(test)]
mod testing;
mod xapi;

use std::path::Path;
use std::process::ExitCode;

use xenapi_wire::Failure;
use xenapi_wire::plugin::{PluginCall, encode_response};

use dom0::Dom0;

/// Carries out a call and writes what the plugin prints.
pub fn respond(plugin: &str, argument: &str, dom0: &dyn Dom0) -> String {
    let result = run(plugin, argument, dom0);
    encode_response(result.as_deref()).unwrap_or_else(|error| {
        // A program wrote something that XML cannot carry; the failure says so instead.
        let failure = Failure::new("XENAPI_PLUGIN_FAILURE", [plugin, "EncodeError", &error.to_string()]);
        encode_response(Err(&failure)).unwrap_or_default()
    })
}

/// Is the program on the machine that it runs on; see [`run_as_program_on`].
pub fn run_as_program() -> ExitCode {
    run_as_program_on(&dom0::Real)
}

/// Is the program: the name under which it was started is the plugin's, its only argument the call.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "XAPI reads the answer from standard output")]
pub fn run_as_program_on(dom0: &dyn Dom0) -> ExitCode {
    let mut args = std::env::args();
    let program = args.next().unwrap_or_default();
    let name =
        Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let names = || plugins::PLUGINS.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    match args.next().as_deref() {
        Some("--names") => println!("{}", names().join("\n")),
        Some("--version") => println!("xapi-plugins {}", env!("CARGO_PKG_VERSION")),
        Some(call) => print!("{}", respond(&name, call, dom0)),
        None => {
            eprintln!("XAPI runs this as one of {} with one argument, an XML-RPC call.", names().join(", "));
            eprintln!("Install it as /etc/xapi.d/plugins/<name>.py, one link for each name: see --names.");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn run(plugin: &str, argument: &str, dom0: &dyn Dom0) -> Result<String, Failure> {
    let plugin = plugin.strip_suffix(".py").unwrap_or(plugin);
    let call = PluginCall::decode(argument).map_err(|e| plugin_failure(plugin, "ArgumentError", &e))?;
    let function = plugins::find(plugin, &call.function)
        .ok_or_else(|| Failure::new("UNKNOWN_XENAPI_PLUGIN_FUNCTION", [call.function.as_str()]))?;
    let args = function.arguments(&call.args).map(|args| args.in_session(call.session));
    let outcome = args.and_then(|args| around::as_job(dom0, args.job(), |dom0| (function.body)(dom0, &args)));
    outcome.map_or_else(|error| function.failure(plugin, &error), |value| Ok(function.result(&value)))
}

/// A failure in the shape that Python's plugins give it.
pub(crate) fn plugin_failure(function: &str, class: &str, text: &dyn std::fmt::Display) -> Failure {
    Failure::new("XENAPI_PLUGIN_FAILURE", [function, class, &text.to_string()])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use xenapi_wire::Limits;
    use xenapi_wire::plugin::decode_response;

    use super::*;
    use crate::testing::Fake;

    fn call(plugin: &str, function: &str, args: &[(&str, &str)]) -> Result<String, Failure> {
        let args: BTreeMap<_, _> = args.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let call = PluginCall { function: function.to_owned(), session: "OpaqueRef:NULL".to_owned(), args };
        let output = respond(plugin, &call.encode().unwrap(), &Fake::default());
        decode_response(output.as_bytes(), &Limits::REQUEST).unwrap()
    }

    #[test]
    fn the_name_picks_the_plugin() {
        assert_eq!(call("dom0_plugin_version", "get_version", &[]).as_deref(), Ok("V2.1\np0\n."));
        assert_eq!(call("dom0_plugin_version.py", "get_version", &[]).as_deref(), Ok("V2.1\np0\n."));
        let unknown = Failure::new("UNKNOWN_XENAPI_PLUGIN_FUNCTION", ["get_version"]);
        assert_eq!(call("config_file", "get_version", &[]), Err(unknown));
    }

    #[test]
    fn failures_have_the_shape_of_python_plugins() {
        let failure = call("partition_utils", "mkfs", &[("dev", "../sda")]).unwrap_err();
        assert_eq!(failure.code, "XENAPI_PLUGIN_FAILURE");
        assert_eq!(failure.params[..2], ["mkfs", "ArgumentError"]);
    }

    #[test]
    fn an_argument_that_is_no_call() {
        let output = respond("config_file", "<html>", &Fake::default());
        let failure = decode_response(output.as_bytes(), &Limits::REQUEST).unwrap().unwrap_err();
        assert_eq!(failure.params[..2], ["config_file", "ArgumentError"]);
    }
}
