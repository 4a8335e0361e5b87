//! The plugins of dom0, as a program that the tests of this package can have a simulated host run.

fn main() -> std::process::ExitCode {
    xapi_plugins::run_as_program()
}
