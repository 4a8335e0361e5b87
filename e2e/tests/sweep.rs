//! A part of the sweep in every build; `cargo xtask faults` runs all of it.

#![allow(clippy::print_stdout, reason = "the table is what the run is for")]

use anyhow::{Result, ensure};
use e2e::sweep::{self, Sample, Table, verb::VERBS};

/// One case in so many of each verb. It is no divisor of the number of faults of a call, so that all kinds come up.
const EVERY: usize = 61;

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_faults_leaves_nothing_behind() -> Result<()> {
    let mut table = Table::default();
    // Most of the time is spent on hosts that hang.
    let runs: Vec<_> = VERBS
        .iter()
        .enumerate()
        .map(|(first, verb)| tokio::spawn(sweep::run(verb, Sample { every: EVERY, first, jobs: 4 })))
        .collect();
    for (verb, run) in VERBS.iter().zip(runs) {
        table.0.push((verb.name, run.await??));
    }
    println!("{table}");
    ensure!(table.is_clean(), "\n{table}");
    ensure!(table.0.iter().all(|(_, row)| row.calls > 0), "a verb made no calls\n{table}");
    Ok(())
}
