//! One of the programs: verbs by chance, several at a time, told as [`Event`]s, one a line.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use uuid::Uuid;
use xenapi_client::{Client, Config};
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::{Driver, Settings};

use super::act::{Deed, IMAGES};
use super::ask::{ASKS, Ask, CALM, Event};
use crate::dice::Dice;
use crate::pool::PASSWORD;
use crate::sweep::verb::is_whole_vhd;

/// How many instances they quarrel over.
pub const INSTANCES: usize = 4;
/// How many verbs each program usually does at a time.
pub const TASKS: usize = 2;

/// What a program is told.
#[derive(Debug, Clone)]
pub struct Orders {
    /// Where the pool is.
    pub url: String,
    /// Which of the programs it is.
    pub number: usize,
    /// Chooses what it does.
    pub seed: u64,
    /// How many verbs it does at a time.
    pub tasks: usize,
    /// Whether it does those only that need no journal.
    pub calm: bool,
    /// How many verbs each of its tasks does at most …
    pub verbs: usize,
    /// … and how long.
    pub seconds: u64,
    /// Where the image is, and snapshots are written to.
    pub folder: PathBuf,
}

/// An instance by its number.
pub fn uuid(instance: usize) -> Uuid {
    Uuid::from_u128(0x5eed_0000_0000_4000_8000_0000_0000_0000 + instance as u128)
}

/// Does as it is told.
///
/// # Errors
///
/// When the pool cannot be worked on, or something is found that the model does not know: a cached image that is none, a
/// snapshot that is not whole, something to reconcile.
pub async fn run(orders: Orders) -> Result<()> {
    let client = Client::new(Config::new(&orders.url, "root", PASSWORD)?)?;
    client.login().await?;
    let settings = Settings { detach_timeout: Duration::from_secs(20), ..Settings::default() };
    let driver = Driver::over(client, settings);
    let orders = Arc::new(orders);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..orders.tasks {
        tasks.spawn(one_at_a_time(driver.clone(), Arc::clone(&orders), orders.number * orders.tasks + task));
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    driver.close().await?;
    Ok(())
}

async fn one_at_a_time(driver: Driver, orders: Arc<Orders>, client: usize) -> Result<()> {
    let mut dice = Dice::of_case(orders.seed, client);
    let asks: &[Ask] = if orders.calm { &CALM } else { &ASKS };
    let begin = std::time::Instant::now();
    for n in 0..orders.verbs {
        if begin.elapsed().as_secs() >= orders.seconds {
            break;
        }
        let (ask, instance) = (*dice.pick(asks), dice.below(INSTANCES));
        if dice.one_in(8) {
            // What others are busy with is too young for it.
            let found = driver.reconcile(ReconcileOptions::default()).await?;
            ensure!(found.done.is_empty() && found.leftovers.is_empty(), "reconciled: {found:?}");
        }
        let image = dice.pick(&IMAGES);
        let file = orders.folder.join(format!("{client}-{n}.vhd"));
        let begin = now()?;
        let deed = Deed { driver: &driver, instance, image, folder: &orders.folder, file: &file };
        let outcome = deed.act(ask).await;
        let end = now()?;
        match (ask, &outcome) {
            (Ask::Snapshot, Ok(_)) => {
                ensure!(is_whole_vhd(&file)?, "a snapshot is not whole");
                std::fs::remove_file(&file)?;
            }
            _ => ensure!(!file.exists(), "a snapshot that failed has left a file"),
        }
        let outcome = outcome.map_err(|error| error.to_string());
        let event = Event { client, instance, ask, begin, end, outcome };
        tell(&serde_json::to_string(&event)?)?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "how it reports")]
fn tell(line: &str) -> Result<()> {
    println!("{line}");
    Ok(())
}

/// All programs of a machine share this clock.
fn now() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos())?)
}
