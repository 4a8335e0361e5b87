//! Short quarrels in every build; `cargo xtask rivals --minutes=N` has longer ones.

#![allow(clippy::print_stdout, reason = "the table is what the run is for")]

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::rivals::{self, Options};

fn options() -> Options {
    Options {
        rival: env!("CARGO_BIN_EXE_rival").into(),
        programs: 3,
        tasks: rivals::rival::TASKS,
        calm: true,
        verbs: 20,
        time: Duration::from_secs(3600),
        seed: 1,
    }
}

async fn quarrel(options: Options) -> Result<()> {
    let report = rivals::run(&options).await?;
    println!("{report}");
    ensure!(report.wrong.is_empty(), "\n{report}");
    let verbs = options.programs * options.tasks * options.verbs;
    ensure!(report.events.len() == verbs, "verbs are missing\n{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_programs_at_the_same_instances() -> Result<()> {
    quarrel(options()).await
}

/// Nobody is in the way: each verb must do exactly what it says, whatever was done before.
#[tokio::test(flavor = "multi_thread")]
async fn one_program_with_all_verbs() -> Result<()> {
    quarrel(Options { programs: 1, tasks: 1, calm: false, verbs: 200, ..options() }).await
}
