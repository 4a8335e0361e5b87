//! A pool with many instances, listed and then followed for long.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use jiff::Timestamp;
use uuid::Uuid;
use xapi_simulator::clock::Clock;
use xapi_simulator::{Simulator, World};
use xenapi_client::{Cache, Client, Config, private_connect_fn};
use xenapi_driver::{Driver, Settings};
use xenapi_storage::ownership::Ownership;
use xenapi_types::{Ref, Vm, VmRecord, vm};

use crate::dice::Dice;
use crate::pool::{PASSWORD, foreign};

/// What came of it.
#[derive(Debug)]
pub struct Followed {
    /// Instances in the list.
    pub listed: usize,
    /// How long it took.
    pub listing: Duration,
    /// Changes that were made while the pool was followed.
    pub changes: usize,
    /// How long it was followed, of simulated time.
    pub time: Duration,
    /// Answers with changes that the cache took.
    pub batches: u64,
    /// How often it had to read everything again.
    pub resyncs: u64,
}

impl fmt::Display for Followed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listed, listing, changes, time, batches, resyncs } = self;
        write!(
            f,
            "{listed} instances listed in {} ms; followed for {} s of simulated time over {changes} changes in \
             {batches} batches, read again {resyncs} times",
            listing.as_millis(),
            time.as_secs()
        )
    }
}

/// So much simulated time passes at once.
const TICK: Duration = Duration::from_millis(100);

pub(super) async fn run(instances: usize, time: Duration) -> Result<Followed> {
    let clock = Clock::manual(Timestamp::now());
    let simulator =
        Arc::new(Simulator::builder().world(World::demo()).clock(clock).password(PASSWORD).build().await?);
    let pool = Arc::clone(&simulator);
    let connector = private_connect_fn(move |_| {
        let stream = pool.connect();
        async move { Ok(stream) }
    });
    let client = Client::over(Config::new("http://simulator", "root", PASSWORD)?, connector)?;
    let ticking = Arc::new(AtomicBool::new(true));
    let ticker = {
        let (simulator, ticking) = (Arc::clone(&simulator), Arc::clone(&ticking));
        tokio::spawn(async move {
            while ticking.load(Ordering::Relaxed) {
                simulator.core().clock().advance(TICK);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    };
    let vms = make(&client, instances).await?;
    let driver = Driver::over(client.clone(), Settings::default());
    let begin = Instant::now();
    let listed = driver.instances().await?.len();
    let listing = begin.elapsed();
    ensure!(listed == instances, "{listed} instances are listed instead of {instances}");
    let cache = Cache::builder().watch::<Vm>().start(&client).await?;
    let (start, mut dice, mut changes) = (simulator.core().clock().now(), Dice::new(1), 0);
    let passed = || simulator.core().clock().now().duration_since(start).unsigned_abs();
    while passed() < time {
        let vm = dice.pick(&vms);
        client.set_field(vm, vm::field::NAME_DESCRIPTION, format!("changed {changes} times")).await?;
        changes += 1;
        cache.catch_up().await?;
        // Half a minute in which nothing happens.
        let until = passed() + Duration::from_secs(30);
        while passed() < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let time = passed();
    cache.catch_up().await?;
    let there: BTreeMap<Ref<Vm>, VmRecord> = client.all_records::<Vm>().await?.into_iter().collect();
    let snapshot = cache.snapshot();
    ensure!(snapshot.count::<Vm>() == there.len(), "the cache has {} VMs", snapshot.count::<Vm>());
    for (vm, record) in &there {
        let shown = snapshot.get::<Vm>(vm).map(|object| object.record().name_description.clone());
        ensure!(shown.as_ref() == Some(&record.name_description), "{vm} is shown as {shown:?}");
    }
    let counters = cache.counters();
    ticking.store(false, Ordering::Relaxed);
    ticker.await?;
    Ok(Followed { listed, listing, changes, time, batches: counters.batches, resyncs: counters.resyncs })
}

/// Instances as the driver marks them; without disks, which would only take time.
async fn make(client: &Client, instances: usize) -> Result<Vec<Ref<Vm>>> {
    let owner = Settings::default().owner;
    let mut made = Vec::with_capacity(instances);
    for n in 0..instances {
        let ownership =
            Ownership { owner: owner.clone(), instance: Uuid::new_v4(), operation: Uuid::now_v7() };
        let call = vm::Create { other_config: ownership.vm_keys(), ..foreign(format!("instance-{n}")) };
        made.push(client.call(call).await?);
    }
    Ok(made)
}
