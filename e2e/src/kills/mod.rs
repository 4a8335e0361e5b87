//! A program is killed (SIGKILL) at every step of a verb and in between; a new one reconciles the pool, and then
//! nothing of the broken verb is left, and nobody else's objects have changed.
//!
//! The verb runs in a process of its own ([`victim`](crate::victim)) against a simulator that listens on a port. First
//! it runs to its end, to hear which calls it makes. Then it is killed: before each call acts, after each has acted, and
//! a while after a call that is chosen by chance.

mod judge;
mod stage;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use crate::dice::Dice;
use crate::sweep::verb::{Step, Verb};
use stage::Stage;

/// What is broken off.
pub static VERBS: &[Verb] = &[
    Verb { name: "spawn", prepare: &[], act: Step::Spawn },
    Verb { name: "snapshot", prepare: &[Step::Spawn], act: Step::Snapshot },
    Verb { name: "upload", prepare: &[Step::Spawn], act: Step::Snapshot },
    Verb { name: "resize", prepare: &[Step::Spawn], act: Step::Resize },
];

/// At most so long after a call a program is killed.
const LATER_MS: usize = 60;

/// How much is tried.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program that is killed.
    pub victim: PathBuf,
    /// How often it is, all verbs together.
    pub count: usize,
    /// Chooses the cases.
    pub seed: u64,
    /// Only this case of each verb.
    pub only: Option<usize>,
    /// How many pools there are at a time.
    pub jobs: usize,
}

/// When a program is killed.
#[derive(Debug, Clone)]
struct Kill {
    case: usize,
    /// The method or path …
    target: String,
    /// … and which of its calls, counted from one.
    k: usize,
    moment: Moment,
}

#[derive(Debug, Clone, Copy)]
enum Moment {
    /// The call has arrived and does nothing.
    Before,
    /// It has been carried out, and is not answered.
    After,
    /// So long after the call has arrived.
    Later(Duration),
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, target, k, moment } = self;
        match moment {
            Moment::Before => write!(f, "case {case}: before call {k} of {target}"),
            Moment::After => write!(f, "case {case}: after call {k} of {target}"),
            Moment::Later(delay) => write!(f, "case {case}: {delay:?} after call {k} of {target}"),
        }
    }
}

/// What came of a verb.
#[derive(Debug, Default)]
pub struct Row {
    /// Calls and transfers that the verb makes.
    pub calls: usize,
    /// Kills before or after a call.
    pub at_steps: usize,
    /// Kills in between.
    pub between: usize,
    /// Those whose call was not made in that run, or was made too late to be killed at.
    pub missed: usize,
    /// How often the verb was complete all the same.
    pub complete: usize,
    /// What reconciling had to put in order.
    pub findings: usize,
    /// What was wrong afterwards.
    pub wrong: Vec<String>,
}

/// What came of a kill.
struct Outcome {
    killed: bool,
    complete: bool,
    findings: usize,
}

/// Runs a verb to its end, and kills it as often as its part of all is.
///
/// # Errors
///
/// When a pool cannot be set up. What is left behind is in the rows.
pub async fn run(verbs: &[&'static Verb], options: &Options) -> Result<Table> {
    let mut all = Vec::new();
    for verb in verbs {
        let calls = Stage::set(verb, &options.victim).await?.calls().await;
        all.push((*verb, calls.with_context(|| format!("{} without a kill", verb.name))?));
    }
    let total: usize = all.iter().map(|(_, calls)| calls.len()).sum();
    let mut table = Table { seed: options.seed, rows: Vec::new() };
    for (verb, calls) in all {
        let count = (options.count * calls.len()).div_ceil(total.max(1));
        let mut row = verb_killed(verb, plan(&calls, count, options.seed), options).await?;
        row.calls = calls.len();
        table.rows.push((verb.name, row));
    }
    Ok(table)
}

/// Half of the kills at steps, while there are any, the other half in between.
fn plan(calls: &[String], count: usize, seed: u64) -> Vec<Kill> {
    let mut seen = BTreeMap::new();
    let mut numbered = Vec::new();
    for call in calls {
        let k = seen.entry(call).and_modify(|k| *k += 1).or_insert(1);
        numbered.push((call.clone(), *k));
    }
    let both = |(target, k): &(String, usize)| {
        [Moment::Before, Moment::After].map(|moment| (target.clone(), *k, moment))
    };
    let mut steps: Vec<_> = numbered.iter().flat_map(both).collect();
    Dice::new(seed).shuffle(&mut steps);
    steps.truncate(count.div_ceil(2));
    (0..count)
        .map(|case| {
            let (target, k, moment) = steps.get(case).cloned().unwrap_or_else(|| {
                let mut dice = Dice::of_case(seed, case);
                let (target, k) = dice.pick(&numbered).clone();
                (target, k, Moment::Later(Duration::from_millis(dice.below(LATER_MS + 1) as u64)))
            });
            Kill { case, target, k, moment }
        })
        .collect()
}

async fn verb_killed(verb: &'static Verb, mut kills: Vec<Kill>, options: &Options) -> Result<Row> {
    kills.retain(|kill| options.only.is_none_or(|only| only == kill.case));
    let kills = Arc::new(Mutex::new(kills.into_iter()));
    let row = Arc::new(Mutex::new(Row::default()));
    let mut workers = JoinSet::new();
    for _ in 0..options.jobs {
        let (kills, row, victim) = (Arc::clone(&kills), Arc::clone(&row), options.victim.clone());
        workers.spawn(async move {
            // A pool is used again as long as nothing is wrong with it.
            let mut stage = None;
            loop {
                let Some(kill) = kills.lock().unwrap_or_else(PoisonError::into_inner).next() else {
                    return Ok(());
                };
                let ready = match stage.take() {
                    Some(stage) => stage,
                    None => Stage::set(verb, &victim).await?,
                };
                let outcome = ready.killed_at(&kill).await;
                let row = &mut *row.lock().unwrap_or_else(PoisonError::into_inner);
                if row.note(&kill, outcome) {
                    stage = Some(ready);
                }
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        let ended: Result<()> = worker.context("a worker panicked")?;
        ended.with_context(|| format!("setting up a pool for {}", verb.name))?;
    }
    Ok(std::mem::take(&mut *row.lock().unwrap_or_else(PoisonError::into_inner)))
}

impl Row {
    /// Whether all is well.
    fn note(&mut self, kill: &Kill, outcome: Result<Outcome>) -> bool {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                self.wrong.push(format!("{kill}: {error:#}"));
                return false;
            }
        };
        match (outcome.killed, kill.moment) {
            (false, _) => self.missed += 1,
            (true, Moment::Later(_)) => self.between += 1,
            (true, _) => self.at_steps += 1,
        }
        self.complete += usize::from(outcome.killed && outcome.complete);
        self.findings += outcome.findings;
        true
    }
}

/// The rows as a table.
#[derive(Debug)]
pub struct Table {
    /// What chose the cases.
    pub seed: u64,
    /// The verbs.
    pub rows: Vec<(&'static str, Row)>,
}

impl Table {
    /// Whether nothing was wrong.
    pub fn is_clean(&self) -> bool {
        self.rows.iter().all(|(_, row)| row.wrong.is_empty())
    }

    /// How many programs were killed.
    pub fn kills(&self) -> usize {
        self.rows.iter().map(|(_, row)| row.at_steps + row.between).sum()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "verb       calls  at steps  between  missed  complete  reconciled  wrong")?;
        for (name, row) in &self.rows {
            let Row { calls, at_steps, between, missed, complete, findings, wrong } = row;
            let wrong = wrong.len();
            writeln!(
                f,
                "{name:9}{calls:7}{at_steps:10}{between:9}{missed:8}{complete:10}{findings:12}{wrong:7}"
            )?;
        }
        for (name, row) in &self.rows {
            for what in &row.wrong {
                writeln!(f, "wrong: {name}, seed {}, {what}", self.seed)?;
            }
        }
        Ok(())
    }
}
