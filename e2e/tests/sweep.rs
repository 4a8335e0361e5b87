//! A part of the sweep in every build; `cargo xtask faults` runs all of it.

#![allow(clippy::print_stdout, reason = "the table is what the run is for")]

use anyhow::{Result, ensure};
use e2e::sweep::verb::{VERBS, Verb};
use e2e::sweep::{self, Sample, Table};
use e2e::tools;

/// One case in so many of each verb. It is no divisor of the number of faults of a call, so that all kinds come up.
const EVERY: usize = 61;

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_faults_leaves_nothing_behind() -> Result<()> {
    let mut table = Table::default();
    // Most of the time is spent on hosts that hang.
    let dom0 = tools::can_be_dom0();
    let verbs: Vec<_> = VERBS.iter().filter(|verb| dom0 || !verb.needs_dom0()).collect();
    // What works on real file systems takes seconds each time.
    let every = |verb: &Verb| if verb.needs_dom0() { 7 * EVERY } else { EVERY };
    let sample = |verb: &Verb, first| Sample { every: every(verb), first, ..Sample::all(4) };
    let runs: Vec<_> = verbs
        .iter()
        .enumerate()
        .map(|(first, verb)| tokio::spawn(sweep::run(verb, sample(verb, first))))
        .collect();
    for (verb, run) in verbs.iter().zip(runs) {
        table.0.push((verb.name, run.await??));
    }
    println!("{table}");
    ensure!(table.is_clean(), "\n{table}");
    ensure!(table.0.iter().all(|(_, row)| row.calls > 0), "a verb made no calls\n{table}");
    Ok(())
}
