//! Every verb of the driver, with every fault at every call: whatever happens, the verb does what it says or
//! fails with one clear error, and the pool holds exactly what the outcome says.
//!
//! A verb is run once to hear which calls it makes, then once for each call and each [fault](mischief), every
//! time in a [scene] of its own with somebody else's instance beside it. What is looked at afterwards: all
//! objects, tasks, sessions and disk files of the pool, the other instance and its data, the files on our side,
//! what there is in dom0, and whether the verb can be repeated. All of it is compared with a portrait of the run
//! in which nothing went wrong: a verb that succeeds must end in the same, one that fails where it began. An
//! evacuation that fails late may end with the instance off, as it was in truth.

pub(crate) mod beside;
pub mod mischief;
pub(crate) mod outcome;
pub(crate) mod portrait;
pub mod scene;
pub mod server;
pub mod site;
pub mod verb;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use xapi_simulator::fault::Fault;
use xenapi_types::{Vm, vm};

use mischief::Mischief;
use portrait::Portrait;
use scene::Scene;
use verb::{Step, Verb};

/// Which part of the cases is run.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Every so manieth case.
    pub every: usize,
    /// The first of them, counted from zero, and from the beginning again where there are not so many.
    pub first: usize,
    /// How many at a time.
    pub jobs: usize,
    /// Only these faults, by the names of [`mischief::name`]; none for all.
    pub faults: Vec<String>,
}

impl Sample {
    /// All of them.
    pub fn all(jobs: usize) -> Self {
        Self { every: 1, first: 0, jobs, faults: Vec::new() }
    }
}

/// What came of a verb.
#[derive(Debug, Default)]
pub struct Row {
    /// Calls and transfers that the verb makes when nothing is wrong.
    pub calls: usize,
    /// Faults that struck.
    pub faults: usize,
    /// Faults whose call was not made: how often a task is looked at depends on time.
    pub missed: usize,
    /// How often the verb got over it.
    pub succeeded: usize,
    /// How often it failed, with everything as it should be then.
    pub failed: usize,
    /// Faults after which `Driver::reconcile` had to finish what was begun.
    pub reconciled: usize,
    /// What was left behind or lost.
    pub leaks: Vec<String>,
    /// Outcomes that say something else than what is.
    pub wrong: Vec<String>,
}

/// Runs the cases of a verb.
///
/// # Errors
///
/// When a scene cannot be set. What the verb does wrong is in the row.
pub async fn run(verb: &'static Verb, sample: Sample) -> Result<Row> {
    let whole = Arc::new(Whole::of(verb, verb.hosts()).await?);
    let mut row = Row { calls: whole.calls.len(), ..Row::default() };
    let mut all = mischief::cases(&whole.calls);
    all.retain(|case| sample.faults.is_empty() || sample.faults.contains(&mischief::name(&case.fault)));
    // A verb with few calls has one case at least.
    let first = sample.first % all.len().max(1);
    let cases: Vec<_> = all.into_iter().skip(first).step_by(sample.every.max(1)).collect();
    // What takes another coordinator takes another host.
    let two_hosts = cases.iter().any(|case| hosts(verb, case) != verb.hosts());
    let larger = if two_hosts { Arc::new(Whole::of(verb, 2).await?) } else { Arc::clone(&whole) };
    let jobs = Arc::new(Semaphore::new(sample.jobs));
    let mut running = JoinSet::new();
    for case in cases {
        let jobs = Arc::clone(&jobs);
        let whole = if hosts(verb, &case) == verb.hosts() { &whole } else { &larger };
        let expected = Arc::clone(&whole.expected);
        running.spawn(async move {
            let _turn = jobs.acquire().await?;
            self::case(verb, &case, expected).await.with_context(|| format!("{}: {case}", verb.name))
        });
    }
    while let Some(done) = running.join_next().await {
        let case = done.context("a case panicked")??;
        row.faults += usize::from(case.struck);
        row.missed += usize::from(!case.struck);
        row.succeeded += usize::from(case.succeeded);
        row.failed += usize::from(!case.succeeded);
        row.reconciled += usize::from(case.reconciled > 0);
        row.leaks.extend(case.leaks);
        row.wrong.extend(case.wrong);
    }
    row.leaks.sort();
    row.wrong.sort();
    Ok(row)
}

/// A verb when nothing goes wrong.
struct Whole {
    /// What it asks of the host, each with its number among the calls of its method.
    calls: Vec<(String, usize)>,
    expected: Arc<Expected>,
}

/// What everything looks like before a verb, and after it when nothing goes wrong.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) before: Portrait,
    pub(crate) after: Portrait,
    /// Another one that it may end in where it fails.
    pub(crate) failed: Option<Portrait>,
}

impl Whole {
    async fn of(verb: &'static Verb, hosts: usize) -> Result<Self> {
        Self::made(verb, hosts).await.with_context(|| format!("{} without a fault", verb.name))
    }

    async fn made(verb: &'static Verb, hosts: usize) -> Result<Self> {
        let scene = Scene::of(verb, hosts).await?;
        let before = Portrait::of(&scene).await?;
        scene.record();
        verb.act.run(&scene).await?;
        let mut calls: Vec<(String, usize)> = Vec::new();
        let mut seen = BTreeMap::new();
        for call in scene.recorded() {
            let k = seen.entry(call.clone()).and_modify(|k| *k += 1).or_insert(1);
            calls.push((call, *k));
        }
        let after = Portrait::of(&scene).await?;
        let failed = match verb.act {
            Step::Evacuate => Some(told_that_it_is_off(verb, hosts).await?),
            _ => None,
        };
        Ok(Self { calls, expected: Arc::new(Expected { before, after, failed }) })
    }
}

/// What all looks like once the pool has been told that the instance of a dead host is off, and nothing more.
async fn told_that_it_is_off(verb: &Verb, hosts: usize) -> Result<Portrait> {
    let scene = Scene::of(verb, hosts).await?;
    let instances = scene.pool.driver.instances().await.context("listing instances")?;
    let ours = instances.iter().find(|info| info.uuid == scene.instance).context("the instance")?;
    let client = scene.pool.client();
    let vm = client.by_uuid::<Vm>(&ours.vm_uuid).await?;
    client.call(vm::PowerStateReset { vm }).await?;
    Portrait::of(&scene).await
}

/// How many hosts a case takes.
fn hosts(verb: &Verb, mischief: &Mischief) -> usize {
    if mischief.fault == Fault::OtherMaster { 2 } else { verb.hosts() }
}

/// What came of one fault.
struct Case {
    struck: bool,
    succeeded: bool,
    reconciled: usize,
    leaks: Vec<String>,
    wrong: Vec<String>,
}

async fn case(verb: &'static Verb, mischief: &Mischief, expected: Arc<Expected>) -> Result<Case> {
    let hosts = hosts(verb, mischief);
    let mut scene = match Scene::of(verb, hosts).await {
        Ok(scene) => scene,
        // On a busy machine a call may take longer than the driver waits here.
        Err(_) => Scene::of(verb, hosts).await?,
    };
    scene.expected = Some(expected);
    let (faults, target) = scene.faults_at(&mischief.target);
    faults.on_nth(target, mischief.k, mischief.fault.clone());
    let outcome = verb.act.run(&scene).await;
    let struck = faults.clear() == 0;
    let found = outcome::judge(&scene, verb, mischief, &outcome).await?;
    let named = |what: Vec<String>| what.into_iter().map(|what| format!("{mischief}: {what}")).collect();
    let (succeeded, reconciled) = (outcome.is_ok(), found.reconciled);
    Ok(Case { struck, succeeded, reconciled, leaks: named(found.leaks), wrong: named(found.wrong) })
}

/// What is done in place of a verb.
pub type Act = for<'a> fn(&'a Scene) -> Pin<Box<dyn Future<Output = xenapi_driver::Result<()>> + Send + 'a>>;

/// Does something else in place of a verb, and says what the oracle has against it; whether it can see the verb at all
/// comes first: it cannot see one that ends where it began.
///
/// # Errors
///
/// When the scene cannot be set or looked at.
pub async fn instead(verb: &'static Verb, act: Act) -> Result<(bool, Vec<String>)> {
    let whole = Whole::of(verb, verb.hosts()).await?;
    let is_seen = whole.expected.before != whole.expected.after;
    let mut scene = Scene::set(verb).await?;
    scene.expected = Some(whole.expected);
    let outcome = act(&scene).await;
    scene.faults().clear();
    let nothing = Mischief { target: String::new(), k: 0, fault: Fault::Unheard };
    let found = outcome::judge(&scene, verb, &nothing, &outcome).await?;
    Ok((is_seen, found.leaks.into_iter().chain(found.wrong).collect()))
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, faults, missed, succeeded, failed, reconciled, leaks, wrong } = self;
        let (leaks, wrong) = (leaks.len(), wrong.len());
        write!(f, "{calls:7}{faults:8}{succeeded:10}{failed:8}{missed:8}{reconciled:12}{leaks:7}{wrong:7}")
    }
}

/// The rows as a table.
#[derive(Debug, Default)]
pub struct Table(pub Vec<(&'static str, Row)>);

impl Table {
    /// Whether nothing was left behind and nothing was told wrongly.
    pub fn is_clean(&self) -> bool {
        self.0.iter().all(|(_, row)| row.leaks.is_empty() && row.wrong.is_empty())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "verb             calls  faults  got over  failed  missed  reconciled  leaks  wrong")?;
        for (name, row) in &self.0 {
            writeln!(f, "{name:15}{row}")?;
        }
        for (name, row) in &self.0 {
            for (kind, all) in [("leak", &row.leaks), ("wrong", &row.wrong)] {
                for what in all {
                    writeln!(f, "{kind}: {name}: {what}")?;
                }
            }
        }
        Ok(())
    }
}
