//! The plugin binary: `<name> <call>`, as XAPI runs it.

use std::path::Path;
use std::process::ExitCode;

use xapi_plugins::{dom0, plugins, respond};

/// XAPI passes the call as one argument.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "XAPI reads the answer from standard output")]
fn main() -> ExitCode {
    let mut args = std::env::args();
    let program = args.next().unwrap_or_default();
    let name =
        Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(call) = args.next() else {
        let names: Vec<&str> = plugins::PLUGINS.iter().map(|(name, _)| *name).collect();
        eprintln!("XAPI runs this as one of {} with one argument, an XML-RPC call.", names.join(", "));
        eprintln!("Install it as /etc/xapi.d/plugins/<name>.py, one link for each name.");
        return ExitCode::from(2);
    };
    print!("{}", respond(&name, &call, &dom0::Real));
    ExitCode::SUCCESS
}
