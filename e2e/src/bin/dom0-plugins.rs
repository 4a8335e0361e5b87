//! The plugins of dom0, as a program that the tests of this package can have a simulated host run.

use std::path::Path;

use xapi_plugins::around::Around;
use xapi_plugins::dom0::Real;

/// `DOM0_ROOT`: the folder that is to hold what dom0 keeps, instead of the one of this machine.
fn main() -> std::process::ExitCode {
    match std::env::var_os("DOM0_ROOT") {
        Some(root) => xapi_plugins::run_as_program_on(&Around::in_folder(&Real, Path::new(&root))),
        None => xapi_plugins::run_as_program(),
    }
}
