//! Many spawns at once, and a large pool that is listed and followed: `cargo xtask load`.
#![allow(clippy::print_stdout, reason = "a command-line tool")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use e2e::load::{self, Options};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut options = Options {
        loader: std::env::current_exe()?.with_file_name("loader"),
        hosts: 16,
        latency: Duration::from_millis(20),
        spawns: 200,
        instances: 1000,
        followed: Duration::from_secs(3600),
    };
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("--hosts", n)) => options.hosts = n.parse()?,
            Some(("--latency-ms", n)) => options.latency = Duration::from_millis(n.parse()?),
            Some(("--spawns", n)) => options.spawns = n.parse()?,
            Some(("--instances", n)) => options.instances = n.parse()?,
            _ => bail!("usage: load [--spawns=N] [--hosts=N] [--latency-ms=N] [--instances=N]"),
        }
    }
    let report = load::run(&options).await?;
    print!("{report}");
    Ok(if report.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
