//! A whole spawn against the simulated pool: how many requests it makes, how many of them wait for each other,
//! and how long it takes on slow links and with many at once.
//!
//! The peer is the sequence that Nova's driver sends for the same instance, one request after the other, made of
//! the cheapest calls there are: a floor for any driver that works that way.

#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::target;
use tempfile::TempDir;
use tokio::task::JoinSet;
use xapi_simulator::{Simulator, World};
use xenapi_client::{Client, Config};
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Nic};
use xenapi_driver::{Driver, Settings, SpawnOptions};
use xenapi_types::{Host, host};

/// Nova's requests for one instance with a root disk, a config drive and an interface.
const NOVA_REQUESTS: u32 = 86;
/// What is to be reached is said of the last.
const LATENCIES_MS: [u64; 3] = [0, 5, SLOWEST_MS];
const SLOWEST_MS: u64 = 50;
const AT_ONCE: [usize; 3] = [1, 16, 64];
const IMAGE_BYTES: u64 = 16 << 20;
const NETWORK: &str = "Pool-wide network associated with eth0";

#[tokio::main]
async fn main() {
    let files = TempDir::new_in(scratch()).expect("a directory");
    let image = files.path().join("image.raw");
    make_image(&image);

    let pool = Pool::start(files.path()).await;
    count(&pool, &image).await;
    on_slow_links(&pool, &image).await;
    drop(pool);
    many(files.path(), &image).await;
}

/// Which requests a spawn makes.
async fn count(pool: &Pool, image: &Path) {
    println!("requests of one spawn (root disk, config drive, one interface; Nova: {NOVA_REQUESTS})");
    pool.spawn(image, "warm").await;
    pool.simulator.faults().record();
    pool.spawn(image, "counted").await;
    let requests = pool.simulator.faults().recorded();
    let mut counts = BTreeMap::new();
    for request in &requests {
        *counts.entry(request.as_str()).or_insert(0) += 1;
    }
    for (request, count) in &counts {
        println!("  {count:3} {request}");
    }
    println!("  {:3} in all", requests.len());
}

/// How long a spawn takes beside Nova's sequence, and how many of its requests wait for another one.
async fn on_slow_links(pool: &Pool, image: &Path) {
    println!(
        "\nlatency   one spawn   {NOVA_REQUESTS} requests in a row   ratio   waits on the critical path"
    );
    let mut idle = Duration::ZERO;
    for latency in LATENCIES_MS {
        pool.simulator.link().set_latency(Duration::from_millis(latency));
        let mut took = Duration::MAX;
        for round in 0..3 {
            took = took.min(pool.spawn(image, &format!("latency-{latency}-{round}")).await);
        }
        let nova = in_a_row(&pool.client).await;
        let (took_s, nova_s) = (took.as_secs_f64(), nova.as_secs_f64());
        let ratio = took_s / nova_s;
        if latency == 0 {
            idle = took;
            println!("{latency:4} ms {took_s:9.3} s {nova_s:20.3} s {ratio:10.2}");
            continue;
        }
        let waits = took.saturating_sub(idle).as_secs_f64() * 1e3 / latency as f64;
        println!("{latency:4} ms {took_s:9.3} s {nova_s:20.3} s {ratio:10.2}   {waits:.1}");
        if latency == SLOWEST_MS {
            target::at_most("to Nova's sequence", ratio, 0.25);
            target::at_most("requests that wait for another", waits, f64::from(NOVA_REQUESTS) / 3.0);
        }
    }
}

/// How long several spawns take that are asked for at once.
async fn many(files: &Path, image: &Path) {
    println!("\nat once   latency   all of them   each, if alone   ratio to one after the other");
    for latency in LATENCIES_MS {
        let mut alone = Duration::ZERO;
        for at_once in AT_ONCE {
            let pool = Pool::start(files).await;
            pool.simulator.link().set_latency(Duration::from_millis(latency));
            let took = pool.spawn_many(image, at_once).await;
            if at_once == 1 {
                alone = took;
            }
            let ratio = took.as_secs_f64() / (alone.as_secs_f64() * at_once as f64);
            println!(
                "{at_once:7} {latency:6} ms {:11.3} s {:14.3} s {ratio:10.2}",
                took.as_secs_f64(),
                alone.as_secs_f64()
            );
        }
    }
}

/// A simulated pool, and a driver whose connections go over a socket.
struct Pool {
    simulator: Arc<Simulator>,
    client: Client,
    driver: Driver,
    _state: TempDir,
}

impl Pool {
    async fn start(files: &Path) -> Self {
        let state = TempDir::new_in(files).expect("a directory");
        let builder = Simulator::builder().world(World::demo()).state_dir(state.path()).password("bench");
        let simulator = Arc::new(builder.build().await.expect("a pool"));
        let url = simulator.listen("127.0.0.1:0").await.expect("a port");
        let config = Config::new(&url, "root", "bench").expect("a configuration");
        let client = Client::connect(config).await.expect("a session");
        let driver = Driver::over(client.clone(), Settings::default());
        Self { simulator, client, driver, _state: state }
    }

    async fn spawn(&self, image: &Path, name: &str) -> Duration {
        let start = Instant::now();
        self.driver.spawn(spec(image, name), SpawnOptions::default()).await.expect("an instance");
        start.elapsed()
    }

    async fn spawn_many(&self, image: &Path, count: usize) -> Duration {
        let start = Instant::now();
        let mut spawns = JoinSet::new();
        for number in 0..count {
            let (driver, spec) = (self.driver.clone(), spec(image, &format!("many-{number}")));
            spawns.spawn(async move { driver.spawn(spec, SpawnOptions::default()).await });
        }
        while let Some(done) = spawns.join_next().await {
            done.expect("no panic").expect("an instance");
        }
        start.elapsed()
    }
}

fn spec(image: &Path, name: &str) -> InstanceSpec {
    let flavor = Flavor::new(1, 64, 0);
    let mut spec = InstanceSpec::new(name, flavor, image);
    spec.nics = vec![Nic::on(NETWORK)];
    spec.config_drive = Some(ConfigDrive::default());
    spec
}

/// Nova's way: each request waits for the one before.
async fn in_a_row(client: &Client) -> Duration {
    let hosts = client.all_records::<Host>().await.expect("hosts");
    let host = hosts.into_keys().next().expect("a host");
    let start = Instant::now();
    for _ in 0..NOVA_REQUESTS {
        client.get_field(&host, host::field::UUID).await.expect("a uuid");
    }
    start.elapsed()
}

fn make_image(path: &Path) {
    let mut file = File::create(path).expect("a file");
    let data: Vec<u8> = (0..1 << 20).map(|i: u32| (i % 251) as u8 | 1).collect();
    file.write_all(&data).expect("written");
    file.set_len(IMAGE_BYTES).expect("sized");
}

/// In memory where there is a place for it, so that no disk is measured.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}
