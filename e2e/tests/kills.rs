//! Some of the kills in every build; `cargo xtask kills` makes all of them.

#![allow(clippy::print_stdout, reason = "the table is what the run is for")]

use anyhow::{Result, ensure};
use e2e::kills::{self, Options};
use e2e::sweep::verb::VERBS;

/// One of each way in which a program may leave its work: with a mark, a journal, an order of its calls.
const SAMPLE: &[&str] = &[
    "spawn",
    "destroy",
    "snapshot",
    "resize",
    "unrescue",
    "soft-delete",
    "make-network",
    "remove-network",
    "cache-image",
    "swap-volume",
    "evacuate",
    "spawn-bridge",
    "migrate-bridge",
    "attach-bridge",
    "drain",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_leaves_nothing_that_a_new_one_does_not_put_in_order() -> Result<()> {
    let victim = env!("CARGO_BIN_EXE_victim").into();
    let options = Options { victim, count: Some(48), seed: 1, only: None, jobs: 4 };
    let verbs: Vec<_> = VERBS.iter().filter(|verb| SAMPLE.contains(&verb.name)).collect();
    ensure!(verbs.len() == SAMPLE.len(), "verbs of the sample are called otherwise");
    let table = kills::run(&verbs, &options).await?;
    println!("{table}");
    ensure!(table.is_clean(), "\n{table}");
    ensure!(table.kills() >= 40, "hardly any program was alive to be killed\n{table}");
    ensure!(table.rows.iter().any(|(_, row)| row.findings > 0), "there was nothing to reconcile\n{table}");
    Ok(())
}
