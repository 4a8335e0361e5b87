//! The one entry for chores: `cargo xtask --help` lists them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

mod advisories;
mod bench;
mod chores;
mod ci;
mod codegen;
mod dist_plugins;
mod facts;
mod features;
mod fuzz;
mod names;
mod recording;
mod releases;
mod tidy;
mod ty;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

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
    if let [name, ref arguments @ ..] = args[..]
        && !["--help", "help"].contains(&name)
        && let Some(help) = chores::check(name, arguments)?
    {
        print!("{help}");
        return Ok(());
    }
    match args[..] {
        ["codegen"] => codegen::run(codegen::Mode::Write),
        ["codegen", "--check"] => codegen::run(codegen::Mode::Check),
        ["dist-plugins"] => dist_plugins::run(),
        ["tidy"] => tidy::run(),
        ["ci"] => ci::run(ci::Mode::Run),
        ["ci", "--list"] => ci::run(ci::Mode::List),
        ["bench", ref arguments @ ..] => bench::run(arguments),
        ["features"] => features::run(),
        ["advisories", ref arguments @ ..] => advisories::run(arguments),
        ["minimal-versions"] => features::minimal_versions(),
        ["msrv"] => features::oldest_rust(),
        ["recording"] => recording::run(),
        ["faults", ref arguments @ ..] => trial("faults", arguments),
        ["kills", ref arguments @ ..] => trial("kills", arguments),
        ["rivals", ref arguments @ ..] => trial("rivals", arguments),
        ["load", ref arguments @ ..] => trial("load", arguments),
        ["fuzz", ref arguments @ ..] => fuzz::run(arguments),
        ["releases", ref names @ ..] => releases::run(names),
        ["--help" | "help", ..] => {
            print!("{}", chores::help());
            Ok(())
        }
        _ => bail!("{}", chores::help()),
    }
}

/// Long trials are programs of `e2e`, so that these chores do not take the whole workspace to build. Some of them start
/// others of its programs, which are expected beside them. With `--release` they take longer to build and a tenth of the
/// processor to run.
fn trial(name: &str, arguments: &[&str]) -> Result<()> {
    let (of_cargo, arguments): (Vec<&str>, Vec<&str>) =
        arguments.iter().partition(|given| **given == "--release");
    let of_e2e = |what: &[&str]| {
        let mut cargo = cargo();
        cargo.args(what).args(&of_cargo).args(["--quiet", "--package", "e2e"]);
        cargo
    };
    if !of_e2e(&["build"]).arg("--bins").status()?.success() {
        bail!("the programs of e2e do not build");
    }
    let mut cargo = of_e2e(&["run"]);
    // The disks of thousands of pools, which dom0's tools sync after each step: in memory that is cheap.
    let memory = Path::new("/dev/shm");
    if name == "faults" && std::env::var_os("TMPDIR").is_none() && memory.is_dir() {
        cargo.env("TMPDIR", memory);
    }
    match cargo.args(["--bin", name, "--"]).args(arguments).status()?.success() {
        true => Ok(()),
        false => bail!("something is wrong: see above"),
    }
}

/// A cargo at the root of the checkout.
fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root());
    hide_this_package(&mut cargo);
    cargo
}

/// A command that builds is not told that it runs in a program of this package: some build scripts look at that, and
/// everything would be built anew each time that a chore and a plain cargo take turns.
fn hide_this_package(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

/// The root of the checkout.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask is a folder of the workspace").to_owned()
}
