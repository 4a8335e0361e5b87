//! Many spawns at once, in a process of its own so that its memory can be told.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use xenapi_client::{Client, Config};
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Nic, SrChoice};
use xenapi_driver::{Driver, Event, Progress, Settings, SpawnOptions, Stage};

use crate::pool::{EXT, NETWORK, PASSWORD};

/// What came of the spawns.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Crowd {
    /// Resident memory before, in KiB.
    pub before_kib: u64,
    /// At most, in KiB.
    pub peak_kib: u64,
    /// When each was complete, in milliseconds from the begin, in this order.
    pub finished_ms: Vec<u64>,
    /// By how many that were asked for later one was overtaken when it was let in, at most.
    pub overtaken_before: usize,
    /// By how many that were let in later one was overtaken until it was complete, at most and at the median.
    pub overtaken_after: [usize; 2],
    /// Of those that failed.
    pub errors: Vec<String>,
}

/// Spawns all at once, spread over the hosts.
///
/// # Errors
///
/// When the pool cannot be worked on at all.
pub async fn run(url: &str, image: &Path, spawns: usize) -> Result<Crowd> {
    let client = Client::new(Config::new(url, "root", PASSWORD)?)?;
    client.login().await?;
    let driver = Driver::over(client, Settings::default());
    let nodes = driver.nodes().await?;
    let mut crowd = Crowd { before_kib: memory("VmRSS")?, ..Crowd::default() };
    let begin = Instant::now();
    let (let_in, mut gate) = mpsc::unbounded_channel();
    let mut running = JoinSet::new();
    for n in 0..spawns {
        let mut spec = InstanceSpec::new(format!("load-{n}"), Flavor::new(1, 256, 0), image);
        spec.node = Some(nodes[n % nodes.len()].uuid.parse()?);
        spec.sr = SrChoice::NameLabel(EXT.into());
        spec.nics = vec![Nic::on(NETWORK)];
        spec.config_drive = Some(ConfigDrive::default());
        let let_in = let_in.clone();
        let progress = Progress::to(move |event| {
            if matches!(event, Event::Started(Stage::Image)) {
                let _ = let_in.send(n);
            }
        });
        // They are asked for here, one after the other, so that their numbers are the order.
        let spawning = driver.spawn(spec, SpawnOptions { progress, ..SpawnOptions::default() });
        running.spawn(async move { (n, spawning.await) });
    }
    let mut finished = Vec::new();
    while let Some(done) = running.join_next().await {
        match done? {
            (n, Ok(_)) => {
                finished.push(n);
                crowd.finished_ms.push(u64::try_from(begin.elapsed().as_millis())?);
            }
            (n, Err(error)) => crowd.errors.push(format!("spawn {n}: {error}")),
        }
    }
    let admitted: Vec<usize> = std::iter::from_fn(|| gate.try_recv().ok()).collect();
    crowd.overtaken_before = overtaken(&admitted).pop().unwrap_or(0);
    // Of those that are complete, the places in which they were let in.
    let places = |n: &usize| admitted.iter().position(|other| other == n);
    let after = overtaken(&finished.iter().filter_map(places).collect::<Vec<_>>());
    crowd.overtaken_after = [after.last(), after.get(after.len() / 2)].map(|n| n.copied().unwrap_or(0));
    crowd.peak_kib = memory("VmHWM")?;
    driver.close().await?;
    Ok(crowd)
}

/// By how many later ones each was overtaken that should come in the order of their numbers, the least first.
fn overtaken(order: &[usize]) -> Vec<usize> {
    let before = |(at, n): (usize, &usize)| order[..at].iter().filter(|other| *other > n).count();
    let mut all: Vec<usize> = order.iter().enumerate().map(before).collect();
    all.sort_unstable();
    all
}

/// What the kernel says of this process, in KiB.
fn memory(field: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(field)).with_context(|| field.to_owned())?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
}
