//! A program that is killed at every step of a verb, as a table: `cargo xtask kills [VERB...]`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use e2e::kills::{self, Options};
use e2e::sweep::verb::chosen;
use e2e::tools;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let victim = std::env::current_exe()?.with_file_name("victim");
    let seed = uuid::Uuid::new_v4().as_u64_pair().0 >> 32;
    let mut options = Options { victim, count: Some(1000), seed, only: None, jobs: 4 };
    let mut names = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("--count", n)) => options.count = Some(n.parse()?),
            Some(("--seed", n)) => options.seed = n.parse()?,
            Some(("--only", n)) => options.only = Some(n.parse()?),
            Some(("--jobs", n)) => options.jobs = n.parse()?,
            _ if argument == "--steps" => options.count = None,
            _ if argument.starts_with('-') => {
                bail!("usage: kills [--steps | --count=N] [--seed=N] [--only=CASE] [--jobs=N] [VERB...]")
            }
            _ => names.push(argument),
        }
    }
    let (verbs, skipped) = chosen(&names, tools::can_be_dom0())?;
    skipped.iter().for_each(|name| eprintln!("{name} is skipped"));
    let begin = Instant::now();
    eprintln!("seed {}", options.seed);
    let table = kills::run(&verbs, &options).await?;
    print!("{table}");
    println!("{} kills, seed {}, {:.0} s", table.kills(), options.seed, begin.elapsed().as_secs_f64());
    Ok(if table.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
