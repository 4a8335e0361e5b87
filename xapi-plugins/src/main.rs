//! The plugin binary: `<name> <call>`, as XAPI runs it.

fn main() -> std::process::ExitCode {
    xapi_plugins::run_as_program()
}
