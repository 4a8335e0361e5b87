//! Looks at disk images, checks and repairs them, converts and compares them, and works on chains of
//! VHDs: what `qemu-img` and `vhd-util` do, for the VHDs that XenServer and XCP-ng really read.

mod chain;
mod check;
mod convert;
mod hint;
mod host;
mod info;
mod map;
mod open;
mod output;
mod place;
mod repository;
mod tree;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use output::Output;

/// Disk images: raw, VHD, single and in chains, and qcow2.
///
/// Exit codes: 0, it was done, and what was looked at is good; 1, it could not be done; more is told at
/// each command. Bytes for programs go to standard output, progress and errors to standard error.
#[derive(Debug, Parser)]
#[command(name = "disk", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print the result as JSON, and no progress. Where standard output has a disk, the result goes to standard error.
    #[arg(long, global = true)]
    json: bool,
    /// Tell on standard error what it took: processor time and the most memory.
    #[arg(long, global = true)]
    stats: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what an image is.
    Info(info::Args),
    /// Draw where an image has data, and where each layer of its chain has.
    Map(map::Args),
    /// Draw the VHDs of a folder, or the disks of a repository, as the trees that they are, with their health.
    ///
    /// Exit code 2: a disk has faults of its own, its parent is missing or it is its own ancestor, or several have one uuid.
    Tree(Box<tree::Args>),
    /// Look for what others will stumble over.
    ///
    /// Exit code 1: it could not be looked at, or what it is a layer on was not found, so that nobody knows whether there is a
    /// disk; 2: some reader refuses the VHD or takes it for another disk; 3: so it is, but `repair` can put all of it right
    /// without losing a byte; 63: it is no VHD, and nothing was checked.
    Check(check::Check),
    /// Put right what can be without losing a byte, and show that nothing else was touched.
    Repair(check::Repair),
    /// Write an image, or the disk that a chain makes, in another format.
    Convert(convert::Convert),
    /// Write an image to standard output as a host takes it.
    Stream(convert::Stream),
    /// Make a disk of an image in a storage repository. If that fails, no disk is left.
    Import(Box<host::Import>),
    /// Write a disk of a storage repository to a file.
    Export(Box<host::Export>),
    /// Compare two disks, byte by byte, whatever their formats. Exit code 1: they differ; 2: no answer.
    Compare(chain::Compare),
    /// Write what one disk has and another has not as a differencing VHD.
    Diff(chain::Diff),
    /// Merge a differencing VHD into its parent. Killed at any moment, it goes on where it was.
    Coalesce(chain::Coalesce),
    /// Give a differencing VHD another parent.
    Rebase(chain::Rebase),
    /// Write what a differencing VHD has onto a copy of its parent.
    Apply(chain::Apply),
}

impl Command {
    /// Whether standard output has a disk.
    fn prints_data(&self) -> bool {
        let is_pipe = |output: &Path| output == Path::new("-");
        match self {
            Self::Stream(_) => true,
            Self::Convert(args) => is_pipe(&args.output),
            Self::Export(args) => is_pipe(&args.output),
            Self::Diff(args) => is_pipe(&args.output),
            _ => false,
        }
    }
}

/// The subcommand that was called: what comes before it has no values.
fn called() -> Option<clap::Command> {
    let cli = Cli::command();
    let named = |argument: OsString| cli.get_subcommands().find(|sub| argument == sub.get_name()).cloned();
    std::env::args_os().skip(1).find_map(named)
}

fn main() -> ExitCode {
    let cli = examples::cli::parse::<Cli>();
    let json = cli.json;
    let bars = output::Bars::new(json);
    let data = cli.command.prints_data();
    let failure = if matches!(cli.command, Command::Compare(_)) { 2 } else { 1 };
    let result = match cli.command {
        Command::Info(args) => info::run(&args),
        Command::Map(args) => map::run(&args, json),
        Command::Tree(args) => tree::run(&args, json),
        Command::Check(args) => check::check(&args, &bars),
        Command::Repair(args) => check::repair(&args, &bars),
        Command::Convert(args) => convert::convert(&args, &bars),
        Command::Stream(args) => convert::stream(&args, &bars),
        Command::Import(args) => host::import(&args, json),
        Command::Export(args) => host::export(&args, json),
        Command::Compare(args) => chain::compare(&args, &bars),
        Command::Diff(args) => chain::diff(&args, &bars),
        Command::Coalesce(args) => chain::coalesce(&args, &bars),
        Command::Rebase(args) => chain::rebase(&args, &bars),
        Command::Apply(args) => chain::apply(&args, &bars),
    };
    if cli.stats {
        output::print_stats();
    }
    match result {
        Ok(output) => output.print(json, data),
        Err(error) => {
            let hint = called().and_then(|command| hint::of(&error, &command));
            Output::failed(&error, hint, json, data, failure)
        }
    }
}
