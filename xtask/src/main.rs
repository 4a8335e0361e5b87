//! The one entry for chores: `cargo xtask codegen`, `cargo xtask tidy`, `cargo xtask ci`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

mod ci;
mod codegen;
mod facts;
mod names;
mod tidy;
mod ty;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask COMMAND

  codegen [--check]   write crates/xenapi-types/src/generated from xtask/datamodel, or check that it is current
  tidy                check arrows between crates, forbidden modules, lengths, lints
  ci [--list]         run, or list, the steps of .ci/run that need nothing but Rust";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["codegen"] => codegen::run(codegen::Mode::Write),
        ["codegen", "--check"] => codegen::run(codegen::Mode::Check),
        ["tidy"] => tidy::run(),
        ["ci"] => ci::run(ci::Mode::Run),
        ["ci", "--list"] => ci::run(ci::Mode::List),
        _ => bail!("{USAGE}"),
    }
}

/// The root of the checkout.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask is a folder of the workspace").to_owned()
}
