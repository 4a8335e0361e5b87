//! Many spawns at once, in a process of its own so that its memory can be told.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use xenapi_client::{Client, Config};
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Nic, SrChoice};
use xenapi_driver::{Driver, Settings, SpawnOptions};

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
    /// By how many that were asked for later one was overtaken, at most.
    pub overtaken: usize,
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
    let image = Arc::new(image.to_owned());
    let mut crowd = Crowd { before_kib: memory("VmRSS")?, ..Crowd::default() };
    let begin = Instant::now();
    let mut running = JoinSet::new();
    for n in 0..spawns {
        let (driver, image) = (driver.clone(), Arc::clone(&image));
        let node = nodes[n % nodes.len()].uuid.parse()?;
        running.spawn(async move {
            let mut spec = InstanceSpec::new(format!("load-{n}"), Flavor::new(1, 256, 0), image.as_path());
            spec.node = Some(node);
            spec.sr = SrChoice::NameLabel(EXT.into());
            spec.nics = vec![Nic::on(NETWORK)];
            spec.config_drive = Some(ConfigDrive::default());
            (n, driver.spawn(spec, SpawnOptions::default()).await)
        });
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
    let overtaken = |(at, n): (usize, &usize)| finished[..at].iter().filter(|other| *other > n).count();
    crowd.overtaken = finished.iter().enumerate().map(overtaken).max().unwrap_or(0);
    crowd.peak_kib = memory("VmHWM")?;
    driver.close().await?;
    Ok(crowd)
}

/// What the kernel says of this process, in KiB.
fn memory(field: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(field)).with_context(|| field.to_owned())?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
}
