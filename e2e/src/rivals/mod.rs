//! Several programs do random verbs to the same instances of one pool, and a [model] says whether what became of them can
//! be: nothing is made, fetched or removed twice, nothing is lost, nobody waits for ever.

pub mod act;
pub mod ask;
pub mod model;
pub mod rival;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use xapi_simulator::World;
use xenapi_driver::image_cache::Eviction;
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::{Progress, Which};
use xenapi_types::Sr;

use crate::pool::Pool;
use act::IMAGES;
use ask::{ASKS, Event, Seen, Told};
use rival::INSTANCES;

/// How much is tried.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program of which several run.
    pub rival: PathBuf,
    /// How many.
    pub programs: usize,
    /// How many verbs each does at a time.
    pub tasks: usize,
    /// Whether they do those only that need no journal in XAPI.
    pub calm: bool,
    /// How many verbs each of their tasks does at most.
    pub verbs: usize,
    /// How long they go on.
    pub time: Duration,
    /// Chooses what they do.
    pub seed: u64,
}

/// Somebody who says nothing for so long waits for something that does not come.
const SILENCE: Duration = Duration::from_secs(300);

/// What happened.
#[derive(Debug, Default)]
pub struct Report {
    /// All verbs.
    pub events: Vec<Event>,
    /// Images that were put into the pool.
    pub fetches: usize,
    /// What was wrong.
    pub wrong: Vec<String>,
}

/// Has them quarrel, and judges.
///
/// # Errors
///
/// When the pool or the programs cannot be run.
pub async fn run(options: &Options) -> Result<Report> {
    let pool = Pool::of(World::demo().with_hosts(2).with_all_drivers()).await?;
    pool.share(act::SHARED).await?;
    act::volumes().into_iter().for_each(|target| pool.simulator.targets().add(target));
    let folder = tempfile::tempdir()?;
    let mut image: Vec<u8> = (0..1_u32 << 20).map(|i| (i % 253) as u8).collect();
    image.resize(2 << 20, 0);
    std::fs::write(folder.path().join("image.raw"), image)?;
    // The driver's own session belongs to the pool as it was.
    pool.driver.instances().await?;
    let before = pool.census().await?;
    let sessions = pool.simulator.count_of_sessions();
    let listening = pool.simulator.listen_pool("127.0.0.1:0").await?;
    let url = listening.first().context("a coordinator")?.url.clone();
    pool.simulator.faults().record();
    let mut report = Report::default();
    let mut running = Vec::new();
    for number in 0..options.programs {
        running.push(tokio::spawn(listen(start(options, number, &url, folder.path())?)));
    }
    for (number, program) in running.into_iter().enumerate() {
        let (events, error) = program.await?;
        report.events.extend(events);
        report.wrong.extend(error.map(|error| format!("program {number}: {error:#}")));
    }
    let imports = pool.simulator.faults().recorded();
    report.fetches = imports.iter().filter(|call| call.starts_with("/import")).count();
    ensure!(!report.events.is_empty() || !report.wrong.is_empty(), "nothing happened");
    judge(&pool, &mut report).await?;
    clean(&pool, &before, sessions, &mut report).await?;
    Ok(report)
}

fn start(options: &Options, number: usize, url: &str, folder: &Path) -> Result<Child> {
    let mut command = Command::new(&options.rival);
    let time = options.time.as_secs();
    let numbers = [
        options.seed,
        number as u64,
        options.verbs as u64,
        time,
        options.tasks as u64,
        u64::from(options.calm),
    ];
    command.arg(url).arg(folder).args(numbers.map(|n| n.to_string()));
    command.stdout(Stdio::piped()).kill_on_drop(true);
    command.spawn().with_context(|| options.rival.display().to_string())
}

/// What a program tells, and why it ended if that was too early.
async fn listen(mut child: Child) -> (Vec<Event>, Option<anyhow::Error>) {
    let mut events = Vec::new();
    let Some(output) = child.stdout.take() else { return (events, None) };
    let mut lines = BufReader::new(output).lines();
    let ended = async {
        while let Some(event) = next(&mut lines).await? {
            events.push(event);
        }
        let status = child.wait().await?;
        ensure!(status.success(), "{status}");
        Ok(())
    };
    let ended = ended.await;
    (events, ended.err())
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<Option<Event>> {
    let line = tokio::time::timeout(SILENCE, lines.next_line()).await.context("it hangs")??;
    Ok(line.map(|line| serde_json::from_str(&line)).transpose()?)
}

/// Whether the histories can be, and end in what is there.
async fn judge(pool: &Pool, report: &mut Report) -> Result<()> {
    let infos = pool.driver.instances().await?;
    for instance in 0..INSTANCES {
        let uuid = rival::uuid(instance);
        let mut events: Vec<Event> =
            report.events.iter().filter(|event| event.instance == instance).cloned().collect();
        let there: Vec<_> = infos.iter().filter(|info| info.uuid == uuid).collect();
        if there.len() > 1 || there.iter().any(|info| info.unfinished) {
            report.wrong.push(format!("instance {instance} is {there:?}"));
            continue;
        }
        let end = there.first().and_then(|info| Seen::of(info));
        // A look when all is over.
        let time = events.iter().map(|event| event.end).max().unwrap_or_default() + 1;
        let outcome = Ok(Told::Seen(end));
        events.push(Event {
            client: usize::MAX,
            instance,
            ask: ask::Ask::Look,
            begin: time,
            end: time,
            outcome,
        });
        let ends = model::ends(&events);
        if ends.states.is_empty() {
            let story: Vec<String> = ends.story(&events).iter().map(|line| format!("\n    {line}")).collect();
            report.wrong.push(format!("instance {instance} cannot be explained:{}", story.concat()));
        }
    }
    if report.fetches != IMAGES.len() && report.events.iter().any(|event| event.ask == ask::Ask::Spawn) {
        report.wrong.push(format!("{} images were fetched {} times", IMAGES.len(), report.fetches));
    }
    Ok(())
}

/// Removes what is there in the usual way: then all is as it was.
async fn clean(
    pool: &Pool,
    before: &crate::pool::Census,
    sessions: usize,
    report: &mut Report,
) -> Result<()> {
    let images = pool.driver.cached_images().await?;
    let ids: BTreeSet<&str> = images.iter().map(|image| image.image_id.as_str()).collect();
    if ids.len() != images.len() {
        report.wrong.push(format!("an image is there twice: {images:?}"));
    }
    for instance in 0..INSTANCES {
        pool.driver.destroy(Which::Instance(rival::uuid(instance)), Progress::none()).await?;
    }
    let all = Eviction { older_than: Some(Duration::ZERO), ..Eviction::default() };
    pool.driver.evict_images(all, Progress::none()).await?;
    let all = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
    let done = pool.driver.reconcile(all).await?.done;
    if !done.is_empty() {
        report.wrong.push(format!("left to reconcile: {done:?}"));
    }
    // The files of LUNs are their servers': they stay when the pool forgets the repository.
    let srs = pool.client().all_records::<Sr>().await?;
    let is_known = |change: &String| match change.split_once("/disks/") {
        Some((_, path)) => srs.values().any(|sr| path.starts_with(&sr.uuid)),
        None => true,
    };
    let changes: Vec<String> =
        pool.census().await?.changes_since(before).into_iter().filter(is_known).collect();
    if !changes.is_empty() {
        report.wrong.push(format!("left in the pool: {changes:?}"));
    }
    let left = pool.simulator.count_of_sessions();
    if left != sessions {
        report.wrong.push(format!("{left} sessions instead of {sessions}"));
    }
    Ok(())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:17}{:>6}{:>9}", "verb", "done", "refused")?;
        let kinds: BTreeSet<String> = ASKS.iter().map(ToString::to_string).collect();
        for kind in kinds {
            let of = |good: bool| {
                let same = |event: &&Event| event.ask.to_string() == kind && event.outcome.is_ok() == good;
                self.events.iter().filter(same).count()
            };
            writeln!(f, "{kind:17}{:6}{:9}", of(true), of(false))?;
        }
        let overlapping =
            self.events.iter().filter(|event| self.events.iter().any(|other| other.overlaps(event)));
        writeln!(
            f,
            "{} verbs, {} of them at the same time as another on the same instance; {} images fetched",
            self.events.len(),
            overlapping.count(),
            self.fetches
        )?;
        self.wrong.iter().try_for_each(|what| writeln!(f, "wrong: {what}"))
    }
}
