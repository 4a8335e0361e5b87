//! The one entry for chores: `cargo xtask --help` lists them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

mod advisories;
mod bench;
mod ci;
mod codegen;
mod dist_plugins;
mod facts;
mod features;
mod fuzz;
mod names;
mod recording;
mod tidy;
mod ty;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask COMMAND

  codegen [--check]   write crates/xenapi-types/src/generated from xtask/datamodel, or check that it is current
  tidy                check arrows between crates, forbidden modules, lengths, lints, closed types
  dist-plugins        build the dom0 plugins and target/dist/xapi-plugins-VERSION.tar.gz, checked for old hosts
  ci [--list]         run, or list, the steps of .ci/run that need nothing but Rust
  bench [NAME...]     run the benchmarks beside their peers, which it installs, and keep what they print;
                      --plots draws docs/plots anew, --no-install leaves out what is missing
  advisories          look whether a dependency has a known vulnerability; --required: fail where nobody can tell
  features            check each published crate alone: without features, with each, and with all
  minimal-versions    check the published crates with the oldest dependencies that they allow
  recording           draw docs/spawn.svg from a real run of the README's command
  faults [VERB...]    try every fault at every call of the driver's verbs, and print the table
  kills [VERB...]     kill a program at every step of a verb, reconcile, and print the table; --count=N --seed=N
  rivals              have several programs do random verbs to the same instances; --minutes=N --seed=N
  releases [NAME...]  run the tests of the driver at servers of old releases, or these: xcp-ng-8.2
  load                spawn 200 at once on 16 hosts, list 1000 and follow them; the figures
                      (faults, kills, rivals, load: --release for long runs)
  fuzz [TARGET...]    give every parser what fuzzing thinks of, and print the table; --minutes=N --jobs=N";

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
        ["dist-plugins"] => dist_plugins::run(),
        ["tidy"] => tidy::run(),
        ["ci"] => ci::run(ci::Mode::Run),
        ["ci", "--list"] => ci::run(ci::Mode::List),
        ["bench", ref arguments @ ..] => bench::run(arguments),
        ["features"] => features::run(),
        ["advisories", ref arguments @ ..] => advisories::run(arguments),
        ["minimal-versions"] => features::minimal_versions(),
        ["recording"] => recording::run(),
        ["faults", ref arguments @ ..] => trial("faults", arguments),
        ["kills", ref arguments @ ..] => trial("kills", arguments),
        ["rivals", ref arguments @ ..] => trial("rivals", arguments),
        ["load", ref arguments @ ..] => trial("load", arguments),
        ["fuzz", ref arguments @ ..] => fuzz::run(arguments),
        ["releases", ref names @ ..] => releases(names),
        ["--help" | "help"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("{USAGE}"),
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
    match of_e2e(&["run"]).args(["--bin", name, "--"]).args(arguments).status()?.success() {
        true => Ok(()),
        false => bail!("something is wrong: see above"),
    }
}

/// Runs the tests of the driver at simulators of old releases. Left out is what does not depend on the release: the long
/// trials and what is tried against real services. The conformance suite is written for the newest.
fn releases(names: &[&str]) -> Result<()> {
    const OLD: [&str; 4] = ["xenserver-7.0", "xenserver-7.6", "xcp-ng-8.2", "xcp-ng-8.3"];
    const TESTS: [&str; 25] = [
        "agent",
        "bad_input",
        "config_drive",
        "dom0_disk",
        "hardware",
        "image_cache",
        "image_sources",
        "instance",
        "interfaces",
        "live",
        "nodes",
        "plugins",
        "pools",
        "power",
        "real_disk",
        "reconcile",
        "rescue",
        "resize",
        "resume",
        "service",
        "snapshots",
        "two_hosts",
        "undo",
        "volumes",
        "xenstore",
    ];
    let names = if names.is_empty() { &OLD[..] } else { names };
    let mut failed = Vec::new();
    for name in names {
        println!("=== {name}");
        let mut cargo = cargo();
        cargo.args(["test", "--quiet", "--package", "e2e", "--no-fail-fast"]);
        cargo.args(TESTS.iter().flat_map(|test| ["--test", test])).env("XAPI_SIMULATOR_RELEASE", name);
        if !cargo.status()?.success() {
            failed.push(*name);
        }
    }
    match failed[..] {
        [] => Ok(()),
        _ => bail!("tests fail at {}", failed.join(", ")),
    }
}

/// A cargo at the root of the checkout. It is not told that it runs in a program of this package: some build scripts look
/// at that, and everything would be built anew each time that a chore and a plain cargo take turns.
fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// The root of the checkout.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask is a folder of the workspace").to_owned()
}
