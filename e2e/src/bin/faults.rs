//! Every fault at every call of every verb, as a table: `cargo xtask faults [VERB...]`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use e2e::sweep::verb::chosen;
use e2e::sweep::{self, Sample, Table};
use e2e::tools;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut sample = Sample::all(16);
    let mut names = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("--every", n)) => sample.every = n.parse()?,
            Some(("--first", n)) => sample.first = n.parse()?,
            Some(("--jobs", n)) => sample.jobs = n.parse()?,
            Some(("--faults", all)) => sample.faults = all.split(',').map(str::to_owned).collect(),
            _ if argument.starts_with('-') => {
                bail!("usage: faults [--every=N] [--first=N] [--jobs=N] [--faults=NAME,NAME] [VERB...]")
            }
            _ => names.push(argument),
        }
    }
    let (verbs, skipped) = chosen(&names, tools::can_be_dom0())?;
    skipped.iter().for_each(|name| eprintln!("{name} is skipped"));
    let begin = Instant::now();
    let mut table = Table::default();
    for verb in verbs {
        eprintln!("{} ... ({:.0} s)", verb.name, begin.elapsed().as_secs_f64());
        let row = sweep::run(verb, sample.clone()).await?;
        eprintln!("{:15}{row}", verb.name);
        row.leaks.iter().chain(&row.wrong).for_each(|what| eprintln!("    {what}"));
        table.0.push((verb.name, row));
    }
    print!("{table}");
    println!("{:.0} s", begin.elapsed().as_secs_f64());
    Ok(if table.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
