//! Several programs that do random verbs to the same instances: `cargo xtask rivals`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use e2e::rivals::rival::TASKS;
use e2e::rivals::{self, Options};

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let rival = std::env::current_exe()?.with_file_name("rival");
    let seed = uuid::Uuid::new_v4().as_u64_pair().0 >> 32;
    let time = Duration::from_secs(120);
    let mut options =
        Options { rival, programs: 3, tasks: TASKS, calm: false, verbs: usize::MAX, time, seed };
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("--minutes", n)) => options.time = Duration::from_secs(60 * n.parse::<u64>()?),
            Some(("--seed", n)) => options.seed = n.parse()?,
            Some(("--programs", n)) => options.programs = n.parse()?,
            None if argument == "--calm" => options.calm = true,
            Some(("--tasks", n)) => options.tasks = n.parse()?,
            _ => bail!("usage: rivals [--minutes=N] [--seed=N] [--programs=N] [--tasks=N] [--calm]"),
        }
    }
    eprintln!("seed {}", options.seed);
    let report = rivals::run(&options).await?;
    print!("{report}");
    println!("{} programs, seed {}, {} s", options.programs, options.seed, options.time.as_secs());
    Ok(if report.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
