//! A short quarrel in every build; `cargo xtask rivals --minutes=N` has longer ones.

#![allow(clippy::print_stdout, reason = "the table is what the run is for")]

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::rivals::{self, Options};

#[tokio::test(flavor = "multi_thread")]
async fn several_programs_at_the_same_instances() -> Result<()> {
    let options = Options {
        rival: env!("CARGO_BIN_EXE_rival").into(),
        programs: 3,
        verbs: 20,
        time: Duration::from_secs(3600),
        seed: 1,
    };
    let report = rivals::run(&options).await?;
    println!("{report}");
    ensure!(report.wrong.is_empty(), "\n{report}");
    ensure!(report.events.len() == 3 * rivals::rival::TASKS * 20, "verbs are missing\n{report}");
    Ok(())
}
