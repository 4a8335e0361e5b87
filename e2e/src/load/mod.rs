//! A pool of many hosts with many spawns at once, and a large one that is listed and followed: nothing fails, everybody gets
//! on, and the client's memory and connections do not grow with the work.

pub mod crowd;
mod follow;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use xapi_simulator::core::Config as Behaviour;
use xapi_simulator::{Simulator, World};

use xenapi_driver::MAX_SPAWNS;

use crate::pool::PASSWORD;
use crowd::Crowd;
pub use follow::Followed;

/// How much there is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program that spawns.
    pub loader: PathBuf,
    /// Hosts of the pool.
    pub hosts: usize,
    /// What every call and transfer waits before it is carried out.
    pub latency: Duration,
    /// Instances that are spawned at once.
    pub spawns: usize,
    /// Instances that are listed and followed.
    pub instances: usize,
    /// How long they are followed, of simulated time.
    pub followed: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// Of the spawns.
    pub crowd: Crowd,
    /// Connections to the pool's ports, at most at a time.
    pub connections: usize,
    /// Connections that a client may have at a time, by its limits.
    pub connections_allowed: usize,
    /// Resident memory that the program may have, in KiB.
    pub memory_allowed_kib: u64,
    /// Of the large pool.
    pub followed: Followed,
    /// What was wrong.
    pub wrong: Vec<String>,
}

/// What a program may take for each spawn that goes on, in KiB: a block of a VHD that is being read, one that is being
/// sent, and what stands in the queues of two connections.
const KIB_A_SPAWN: u64 = 4 << 10;

/// What it may take beside, in KiB: its code and runtime, and answers to calls.
const KIB_BESIDE: u64 = 64 << 10;

/// What each spawn may take that waits for its turn, in KiB.
const KIB_A_WAITING: u64 = 32;

/// Does all of it.
///
/// # Errors
///
/// When a pool or the program cannot be run, or a cache does not show what is there.
pub async fn run(options: &Options) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let behaviour = Behaviour { latency: options.latency, ..Behaviour::default() };
    let world = World::demo().with_hosts(options.hosts);
    let state = folder.path().join("state");
    let simulator = Simulator::builder()
        .world(world)
        .config(behaviour)
        .state_dir(&state)
        .password(PASSWORD)
        .build()
        .await?;
    let ports = simulator.listen_pool("127.0.0.1:0").await?;
    let mut image = vec![0; 4 << 20];
    image[..256 << 10].iter_mut().enumerate().for_each(|(i, byte)| *byte = (i % 251) as u8 | 1);
    let path = folder.path().join("image.raw");
    std::fs::write(&path, image)?;
    let crowd = spawned(options, &ports[0].url, &path).await?;
    let connections = simulator.connections().count().borrow().most;
    let limits = xenapi_client::Limits::default();
    // Calls, both ways of transfers to each host, a wait for events, and the one on which tasks are waited for.
    let connections_allowed = limits.concurrent_calls + 2 * limits.transfers_per_host * options.hosts + 2;
    let (going_on, spawns) = (MAX_SPAWNS.min(options.spawns) as u64, options.spawns as u64);
    let memory_allowed_kib = crowd.before_kib + KIB_BESIDE + going_on * KIB_A_SPAWN + spawns * KIB_A_WAITING;
    simulator.shutdown()?;
    let followed = follow::run(options.instances, options.followed).await?;
    let mut wrong: Vec<String> = crowd.errors.clone();
    if connections > connections_allowed {
        wrong.push(format!("{connections} connections where there may be {connections_allowed}"));
    }
    if crowd.peak_kib > memory_allowed_kib {
        let (peak, allowed) = (crowd.peak_kib >> 10, memory_allowed_kib >> 10);
        wrong.push(format!("{peak} MiB of memory where there may be {allowed}"));
    }
    // As many as go on at a time may change places, and no more: nobody waits for ever.
    let round = MAX_SPAWNS.min(options.spawns);
    if crowd.overtaken_before > round || crowd.overtaken_after[0] > 2 * round {
        wrong.push(format!("one was overtaken by more than the {round} that go on at a time"));
    }
    Ok(Report { crowd, connections, connections_allowed, memory_allowed_kib, followed, wrong })
}

async fn spawned(options: &Options, url: &str, image: &Path) -> Result<Crowd> {
    let mut command = Command::new(&options.loader);
    command.arg(url).arg(image).arg(options.spawns.to_string()).stdout(Stdio::piped()).kill_on_drop(true);
    let output = command.spawn().with_context(|| options.loader.display().to_string())?;
    let output = output.wait_with_output().await?;
    ensure!(output.status.success(), "{}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { crowd, connections, connections_allowed, memory_allowed_kib, followed, wrong } = self;
        let at = |part: usize| {
            let n = (crowd.finished_ms.len() * part / 100).min(crowd.finished_ms.len().saturating_sub(1));
            crowd.finished_ms.get(n).copied().unwrap_or(0)
        };
        writeln!(f, "{} spawned at once, {} failed", crowd.finished_ms.len(), crowd.errors.len())?;
        writeln!(f, "complete after: first {} ms, half {} ms, last {} ms", at(0), at(50), at(100))?;
        let ([most, median], until) = (crowd.overtaken_after, crowd.overtaken_before);
        writeln!(
            f,
            "overtaken until let in: at most by {until}; after that: median {median}, at most {most}"
        )?;
        let (before, peak, allowed) =
            (crowd.before_kib >> 10, crowd.peak_kib >> 10, memory_allowed_kib >> 10);
        writeln!(f, "memory: {before} MiB before, {peak} MiB at most; {allowed} allowed")?;
        writeln!(f, "connections: {connections} at most; {connections_allowed} allowed")?;
        writeln!(f, "{followed}")?;
        wrong.iter().try_for_each(|what| writeln!(f, "wrong: {what}"))
    }
}
