//! A little load in every build; `cargo xtask load` has more.

#![allow(clippy::print_stdout, reason = "the figures are what the run is for")]

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::load::{self, Options};

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once() -> Result<()> {
    let options = Options {
        loader: env!("CARGO_BIN_EXE_loader").into(),
        hosts: 4,
        latency: Duration::from_millis(5),
        // More than go on at a time.
        spawns: 60,
        instances: 100,
        followed: Duration::from_secs(300),
    };
    let report = load::run(&options).await?;
    println!("{report}");
    ensure!(report.wrong.is_empty(), "\n{report}");
    ensure!(report.crowd.finished_ms.len() == 60 && report.followed.changes > 0, "\n{report}");
    Ok(())
}
