//! One of the programs: verbs by chance, several at a time, told as [`Event`]s, one a line.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use uuid::Uuid;
use xenapi_client::{Client, Config};
use xenapi_driver::image_cache::{CacheRequest, Copying};
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::spec::{Flavor, InstanceSpec, RootImage};
use xenapi_driver::{Driver, Existing, PowerChange, Progress, Settings, Shutdown, SpawnOptions, Which};

use super::model::{Ask, Event};
use crate::dice::Dice;
use crate::pool::PASSWORD;
use crate::sweep::verb::is_whole_vhd;

/// How many instances they quarrel over.
pub const INSTANCES: usize = 4;
/// How many verbs each program does at a time.
pub const TASKS: usize = 2;
/// The images that instances are made of.
pub const IMAGES: [&str; 2] = ["image-a", "image-b"];

/// What a program is told.
#[derive(Debug, Clone)]
pub struct Orders {
    /// Where the pool is.
    pub url: String,
    /// Which of the programs it is.
    pub number: usize,
    /// Chooses what it does.
    pub seed: u64,
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
    for task in 0..TASKS {
        tasks.spawn(one_at_a_time(driver.clone(), Arc::clone(&orders), orders.number * TASKS + task));
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    driver.close().await?;
    Ok(())
}

async fn one_at_a_time(driver: Driver, orders: Arc<Orders>, client: usize) -> Result<()> {
    let mut dice = Dice::of_case(orders.seed, client);
    let begin = std::time::Instant::now();
    for n in 0..orders.verbs {
        if begin.elapsed().as_secs() >= orders.seconds {
            break;
        }
        let asks = [
            Ask::Spawn,
            Ask::Spawn,
            Ask::Spawn,
            Ask::Destroy,
            Ask::Destroy,
            Ask::Off,
            Ask::On,
            Ask::Reboot,
            Ask::Snapshot,
            Ask::Look,
            Ask::Look,
        ];
        let (ask, instance) = (*dice.pick(&asks), dice.below(INSTANCES));
        if dice.one_in(8) {
            // What others are busy with is too young for it.
            let found = driver.reconcile(ReconcileOptions::default()).await?;
            ensure!(found.done.is_empty() && found.leftovers.is_empty(), "reconciled: {found:?}");
        }
        let image = match ask {
            Ask::Spawn => {
                let id: &&str = dice.pick(&IMAGES);
                Some(cached(&driver, id, &orders.folder).await?)
            }
            _ => None,
        };
        let file = orders.folder.join(format!("{client}-{n}.vhd"));
        let begin = now()?;
        let outcome = act(&driver, ask, instance, image, &file).await;
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

async fn cached(driver: &Driver, id: &str, folder: &Path) -> Result<RootImage> {
    let request = CacheRequest::new(id, folder.join("image.raw"));
    let image = driver.cache_image(request, Progress::none()).await;
    Ok(RootImage::Cached(image.with_context(|| format!("caching {id}"))?, Copying::Clone))
}

async fn act(
    driver: &Driver,
    ask: Ask,
    instance: usize,
    image: Option<RootImage>,
    file: &Path,
) -> xenapi_driver::Result<bool> {
    let which = Which::Instance(uuid(instance));
    let power = async |change| driver.power(which.clone(), change, Progress::none()).await.map(|_| true);
    match ask {
        Ask::Spawn => {
            let image = image.unwrap_or_else(|| RootImage::from(file));
            let mut spec = InstanceSpec::new(format!("rival-{instance}"), Flavor::new(1, 256, 0), image);
            spec.uuid = uuid(instance);
            driver.spawn(spec, SpawnOptions::default()).await.map(|_| true)
        }
        Ask::Destroy => driver.destroy(which, Progress::none()).await.map(|_| true),
        Ask::Off => power(PowerChange::Off(Shutdown::Hard)).await,
        Ask::On => power(PowerChange::On).await,
        Ask::Reboot => power(PowerChange::Reboot(Shutdown::Hard)).await,
        Ask::Snapshot => driver.snapshot(which, file, Existing::Refuse, Progress::none()).await.map(|_| true),
        Ask::Look => {
            let all = driver.instances().await?;
            Ok(all.iter().any(|info| info.uuid == uuid(instance) && !info.unfinished))
        }
    }
}

/// All programs of a machine share this clock.
fn now() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos())?)
}
