//! The driver at servers of every release, and at ones that nobody has heard of yet.
//!
//! Here, the verbs of the sweep run once each. `cargo xtask releases` runs the other tests at old releases, but those that
//! have nothing to try there, which it names with the reason.

#![allow(clippy::print_stdout, reason = "what was tried is what the run is for")]

use anyhow::{Context, Result, ensure};
use e2e::sweep::server;
use e2e::sweep::verb::{VERBS, Verb};
use tokio::task::JoinSet;
use xapi_simulator::Personality;

/// How many scenes there are at a time.
const JOBS: usize = 6;

/// Those that need no disks attached in dom0, which is this machine then: `dom0_disk` tries them, one at a time.
fn verbs() -> impl Iterator<Item = &'static Verb> {
    VERBS.iter().filter(|verb| !verb.needs_dom0())
}

/// What is tried at the releases in between. The oldest and the most common get every verb; the newest gets them in the
/// sweep.
const IMPORTANT: &[&str] =
    &["spawn", "upload-all", "resize", "live-migrate", "attach-volume", "destroy-volume", "rescue"];

#[tokio::test(flavor = "multi_thread")]
async fn verbs_at_every_release() -> Result<()> {
    let mut wrong = Vec::new();
    for personality in
        [Personality::XenServer70, Personality::XenServer76, Personality::XcpNg82, Personality::XcpNg83]
    {
        let everything = matches!(personality, Personality::XenServer70 | Personality::XcpNg82);
        let mut running = JoinSet::new();
        for verb in verbs().filter(|verb| everything || IMPORTANT.contains(&verb.name)) {
            if running.len() >= JOBS {
                wrong.extend(running.join_next().await.context("it runs")???);
            }
            running.spawn(server::of_release(verb, personality));
        }
        while let Some(done) = running.join_next().await {
            wrong.extend(done??);
        }
        println!("{personality} is done");
    }
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// One seed each: `STRANGE_SEEDS=N` tries more, from `STRANGE_FIRST` on.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_breaks_nothing() -> Result<()> {
    let number = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text}")),
        Err(_) => Ok(default),
    };
    let (first, count) = (number("STRANGE_FIRST", 1)?, number("STRANGE_SEEDS", 1)?);
    let (mut wrong, mut tried, mut struck, mut succeeded) = (Vec::new(), 0, 0, 0);
    let mut running = JoinSet::new();
    for (verb, seed) in verbs().flat_map(|verb| (first..first + count).map(move |seed| (verb, seed))) {
        if running.len() >= JOBS {
            let done: server::Future = running.join_next().await.context("it runs")???;
            struck += usize::from(done.struck);
            succeeded += usize::from(done.succeeded);
            wrong.extend(done.wrong);
        }
        tried += 1;
        running.spawn(server::of_the_future(verb, seed));
    }
    while let Some(done) = running.join_next().await {
        let done = done??;
        struck += usize::from(done.struck);
        succeeded += usize::from(done.succeeded);
        wrong.extend(done.wrong);
    }
    println!(
        "{tried} runs from seed {first} on: {struck} failures struck, {succeeded} times the verb got over it"
    );
    ensure!(wrong.is_empty(), "{wrong:#?}");
    ensure!(struck > tried / 2, "only {struck} of {tried} failures struck");
    Ok(())
}
