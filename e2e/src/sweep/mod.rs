//! Every verb of the driver, with every fault at every call: whatever happens, the verb does what it says or
//! fails with one clear error, and the pool holds exactly what the outcome says.
//!
//! A verb is run once to hear which calls it makes, then once for each call and each [fault](mischief), every
//! time in a [scene] of its own with somebody else's instance beside it. What is looked at afterwards: all
//! objects, tasks, sessions and disk files of the pool, the other instance and its data, the files on our side,
//! and whether the verb can be repeated.

pub mod mischief;
pub(crate) mod outcome;
pub mod scene;
pub mod server;
pub mod verb;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use xapi_simulator::fault::Fault;

use mischief::Mischief;
use scene::Scene;
use verb::Verb;

/// Which part of the cases is run.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Every so manieth case.
    pub every: usize,
    /// The first of them, counted from zero.
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
    let calls = calls(verb).await.with_context(|| format!("{} without a fault", verb.name))?;
    let mut row = Row { calls: calls.len(), ..Row::default() };
    let jobs = Arc::new(Semaphore::new(sample.jobs));
    let mut cases = JoinSet::new();
    let mut all = mischief::cases(&calls);
    all.retain(|case| sample.faults.is_empty() || sample.faults.contains(&mischief::name(&case.fault)));
    for case in all.into_iter().skip(sample.first).step_by(sample.every.max(1)) {
        let jobs = Arc::clone(&jobs);
        cases.spawn(async move {
            let _turn = jobs.acquire().await?;
            self::case(verb, &case).await.with_context(|| format!("{}: {case}", verb.name))
        });
    }
    while let Some(done) = cases.join_next().await {
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

/// What the verb asks of the host when nothing is wrong, and how often.
async fn calls(verb: &'static Verb) -> Result<Vec<(String, usize)>> {
    let scene = Scene::set(verb).await?;
    scene.record();
    verb.act.run(&scene).await?;
    let mut counts: Vec<(String, usize)> = Vec::new();
    let mut seen = BTreeMap::new();
    for call in scene.recorded() {
        let k = seen.entry(call.clone()).and_modify(|k| *k += 1).or_insert(1);
        counts.push((call, *k));
    }
    Ok(counts)
}

/// What came of one fault.
struct Case {
    struck: bool,
    succeeded: bool,
    reconciled: usize,
    leaks: Vec<String>,
    wrong: Vec<String>,
}

async fn case(verb: &'static Verb, mischief: &Mischief) -> Result<Case> {
    let hosts = if mischief.fault == Fault::OtherMaster { 2 } else { verb.hosts() };
    let scene = match Scene::of(verb, hosts).await {
        Ok(scene) => scene,
        // On a busy machine a call may take longer than the driver waits here.
        Err(_) => Scene::of(verb, hosts).await?,
    };
    let (faults, target) = scene.faults_at(&mischief.target);
    faults.on_nth(target, mischief.k, mischief.fault.clone());
    let outcome = verb.act.run(&scene).await;
    let struck = faults.clear() == 0;
    let found = outcome::judge(&scene, verb, mischief, &outcome).await?;
    let named = |what: Vec<String>| what.into_iter().map(|what| format!("{mischief}: {what}")).collect();
    let (succeeded, reconciled) = (outcome.is_ok(), found.reconciled);
    Ok(Case { struck, succeeded, reconciled, leaks: named(found.leaks), wrong: named(found.wrong) })
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
