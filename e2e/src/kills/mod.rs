//! A program is killed (SIGKILL) at every step of a verb and in between; a new one reconciles the pool, and then
//! everything is as before the verb or as after it, and nobody else's objects have changed.
//!
//! The verbs are those of the [sweep](crate::sweep). One runs in a process of its own ([`victim`](crate::victim)) against
//! a simulator that listens on a port. First it runs to its end, to hear which calls it makes and to see what is there
//! then. Then it is killed: before each call that changes something acts, after each has acted, and a while after a call
//! that is chosen by chance. A pool is used until a verb was complete; whoever uses it last does the verb without
//! a kill, and removes everything.

mod judge;
mod stage;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::vec;

use anyhow::{Context, Result};
use tokio::task::JoinSet;
use xenapi_types::Safety;

use crate::dice::Dice;
use crate::sweep::scene::THERE;
use crate::sweep::verb::Verb;
use stage::{Stage, Whole};

/// At most so long after a call a program is killed.
const LATER_MS: usize = 60;

/// How much is tried.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program that is killed.
    pub victim: PathBuf,
    /// How often it is, all verbs together; without a number once at every step, and never in between.
    pub count: Option<usize>,
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
    /// Moments before and after those that change something.
    pub steps: usize,
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
        let whole = Whole::of(verb, &options.victim).await;
        let whole = whole.with_context(|| format!("{} without a kill", verb.name))?;
        let plan = Plan::of(&whole.calls);
        all.push((*verb, Arc::new(whole), plan));
    }
    let total: usize = all.iter().map(|(_, _, plan)| plan.steps.len()).sum();
    let mut table = Table { seed: options.seed, rows: Vec::new() };
    for (verb, whole, plan) in all {
        let steps = plan.steps.len();
        let kills = match options.count {
            Some(count) => Draw::of_sample(plan, (count * steps).div_ceil(total.max(1)), options.seed),
            None => Draw::all(plan.at_every_step()),
        };
        let mut row = verb_killed(verb, &whole, kills, options).await?;
        (row.calls, row.steps) = (whole.calls.len(), steps);
        table.rows.push((verb.name, row));
    }
    Ok(table)
}

/// Where a verb can be killed.
struct Plan {
    /// All its calls, each with its number among those of its method.
    calls: Vec<(String, usize)>,
    /// Before and after each that changes something: what is between others is the same.
    steps: Vec<(String, usize, Moment)>,
}

impl Plan {
    fn of(calls: &[String]) -> Self {
        let mut seen = BTreeMap::new();
        let mut numbered = Vec::new();
        for call in calls {
            let k = seen.entry(call).and_modify(|k| *k += 1).or_insert(1);
            numbered.push((call.clone(), *k));
        }
        let changing = numbered.iter().filter(|(target, _)| {
            let called = target.strip_prefix(THERE).unwrap_or(target);
            !called.starts_with("session.") && Safety::of(called) != Safety::Reads
        });
        let both = |(target, k): &(String, usize)| {
            [Moment::Before, Moment::After].map(|moment| (target.clone(), *k, moment))
        };
        let steps = changing.flat_map(both).collect();
        Self { calls: numbered, steps }
    }

    fn at_every_step(self) -> Vec<Kill> {
        let steps = self.steps.into_iter().enumerate();
        steps.map(|(case, (target, k, moment))| Kill { case, target, k, moment }).collect()
    }

    /// Half of the kills at steps, while there are any, the other half in between; and as many as `spare` in between.
    fn sample(mut self, count: usize, spare: usize, seed: u64) -> Vec<Kill> {
        Dice::new(seed).shuffle(&mut self.steps);
        self.steps.truncate(count.div_ceil(2));
        (0..count + spare)
            .map(|case| {
                let (target, k, moment) = self.steps.get(case).cloned().unwrap_or_else(|| {
                    let mut dice = Dice::of_case(seed, case);
                    let (target, k) = dice.pick(&self.calls).clone();
                    (target, k, Moment::Later(Duration::from_millis(dice.below(LATER_MS + 1) as u64)))
                });
                Kill { case, target, k, moment }
            })
            .collect()
    }
}

/// The kills that are still to come.
struct Draw {
    kills: vec::IntoIter<Kill>,
    /// How many programs are still to be killed.
    wanted: usize,
}

impl Draw {
    fn all(kills: Vec<Kill>) -> Self {
        Self { wanted: kills.len(), kills: kills.into_iter() }
    }

    /// So many that were alive: three more cases for each, for those that come too late.
    fn of_sample(plan: Plan, count: usize, seed: u64) -> Self {
        Self { wanted: count, ..Self::all(plan.sample(count, 3 * count, seed)) }
    }

    fn only(self, case: Option<usize>) -> Self {
        match case {
            Some(case) => Self::all(self.kills.filter(|kill| kill.case == case).collect()),
            None => self,
        }
    }

    fn next(&mut self) -> Option<Kill> {
        self.wanted = self.wanted.checked_sub(1)?;
        self.kills.next()
    }

    /// One that was drawn has killed nobody.
    fn missed(&mut self) {
        self.wanted += 1;
    }
}

async fn verb_killed(verb: &'static Verb, whole: &Arc<Whole>, kills: Draw, options: &Options) -> Result<Row> {
    let kills = kills.only(options.only);
    let jobs = options.jobs.min(kills.wanted);
    let kills = Arc::new(Mutex::new(kills));
    let row = Arc::new(Mutex::new(Row::default()));
    let mut workers = JoinSet::new();
    for _ in 0..jobs {
        let (kills, row, victim) = (Arc::clone(&kills), Arc::clone(&row), options.victim.clone());
        let whole = Arc::clone(whole);
        workers.spawn(async move {
            let lock = || row.lock().unwrap_or_else(PoisonError::into_inner);
            let mut stage = None;
            loop {
                let Some(kill) = kills.lock().unwrap_or_else(PoisonError::into_inner).next() else { break };
                let ready = match stage.take() {
                    Some(stage) => stage,
                    None => Stage::set(verb, &victim, Some(&whole)).await?,
                };
                let outcome = ready.killed_at(&kill).await;
                if matches!(&outcome, Ok(outcome) if !outcome.killed) {
                    kills.lock().unwrap_or_else(PoisonError::into_inner).missed();
                }
                let complete = outcome.as_ref().ok().map(|outcome| outcome.complete);
                lock().note(&kill, outcome);
                if complete == Some(true)
                    && let Err(error) = ready.end().await
                {
                    lock().wrong.push(format!("{kill}: {error:#}"));
                }
                stage = Some(ready).filter(|_| complete == Some(false));
            }
            if let Some(stage) = stage
                && let Err(error) = stage.again().await
            {
                lock().wrong.push(format!("{error:#}"));
            }
            Ok(())
        });
    }
    while let Some(worker) = workers.join_next().await {
        let ended: Result<()> = worker.context("a worker panicked")?;
        ended.with_context(|| format!("setting up a pool for {}", verb.name))?;
    }
    Ok(std::mem::take(&mut *row.lock().unwrap_or_else(PoisonError::into_inner)))
}

impl Row {
    fn note(&mut self, kill: &Kill, outcome: Result<Outcome>) {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return self.wrong.push(format!("{kill}: {error:#}")),
        };
        match (outcome.killed, kill.moment) {
            (false, _) => self.missed += 1,
            (true, Moment::Later(_)) => self.between += 1,
            (true, _) => self.at_steps += 1,
        }
        self.complete += usize::from(outcome.killed && outcome.complete);
        self.findings += outcome.findings;
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
        writeln!(f, "verb             calls  steps  at steps  between  missed  complete  reconciled  wrong")?;
        for (name, row) in &self.rows {
            let Row { calls, steps, at_steps, between, missed, complete, findings, wrong } = row;
            let wrong = wrong.len();
            write!(f, "{name:15}{calls:7}{steps:7}{at_steps:10}{between:9}")?;
            writeln!(f, "{missed:8}{complete:10}{findings:12}{wrong:7}")?;
        }
        for (name, row) in &self.rows {
            for what in &row.wrong {
                writeln!(f, "wrong: {name}, seed {}, {what}", self.seed)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    #[test]
    fn who_was_not_killed_is_not_counted() {
        let plan = || Plan::of(&["VM.start", "VM.get_record"].map(str::to_owned));
        for (count, missed) in [(1, 0), (5, 0), (5, 3), (5, 15), (5, 20)] {
            let (mut draw, mut cases, mut to_miss) = (Draw::of_sample(plan(), count, 7), Vec::new(), missed);
            while let Some(kill) = draw.next() {
                cases.push(kill.case);
                if to_miss > 0 {
                    to_miss -= 1;
                    draw.missed();
                }
            }
            assert_eq!(cases, (0..(count + missed).min(4 * count)).collect::<Vec<_>>(), "{count}, {missed}");
        }
        let mut all = Draw::all(plan().at_every_step());
        assert_eq!((all.wanted, all.next().map(|kill| kill.case)), (2, Some(0)));
        let only = |case| Draw::of_sample(plan(), 5, 7).only(Some(case)).map_cases();
        assert_eq!((only(4), only(19), only(20)), (vec![4], vec![19], vec![]));
    }

    impl Draw {
        fn map_cases(mut self) -> Vec<usize> {
            iter::from_fn(|| self.next()).map(|kill| kill.case).collect()
        }
    }
}
