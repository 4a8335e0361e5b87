//! The one entry for chores: `cargo xtask codegen`, `cargo xtask tidy`, `cargo xtask ci`.
#![allow(clippy::print_stdout, reason = "a command-line tool")]

mod codegen;
mod facts;
mod names;
mod ty;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask COMMAND

  codegen [--check]   write crates/xenapi-types/src/generated from xtask/datamodel, or check that it is current";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["codegen"] => codegen::run(codegen::Mode::Write),
        ["codegen", "--check"] => codegen::run(codegen::Mode::Check),
        _ => bail!("{USAGE}"),
    }
}

/// The root of the checkout.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask is a folder of the workspace").to_owned()
}
