//! A verb is cancelled while it makes a call that changes something, or as a stage begins; then everything is as before the
//! verb or as after it, or where its documentation says that it stops.
//!
//! The verbs are those of the [table](table::TABLE), which has each of the facade. One runs to its end first,
//! to hear which calls it makes and which stages it tells. Then it is cancelled, in a sample of both; a pool
//! is used until a verb was complete.
//!
//! Verbs that take long are heard to their end, too: each says how far it is.

pub(crate) mod extra;
pub mod table;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::watch;
use xapi_simulator::fault::{Fault, Faults};
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::{Cause, Error, Event, Progress, Stage};
use xenapi_types::Safety;

use crate::pool::Pool;
use crate::sweep::portrait::Portrait;
use crate::sweep::scene::{Scene, THERE};
use table::{After, Row};

/// So long a call is under way that is cancelled in the middle.
const UNDER_WAY: Duration = Duration::from_millis(15);
/// So long the first call is under way: there is only one chance.
const FIRST_UNDER_WAY: Duration = Duration::from_millis(250);
/// A verb that has not ended by then does not end because it was cancelled.
const HANGS: Duration = Duration::from_secs(60);

/// The calls of which XAPI alone knows how far they are.
const TOLD_BY_XAPI: [&str; 3] = ["VDI.copy", "VM.migrate_send", "VM.pool_migrate"];

/// When a verb is cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Moment {
    /// While its first call is under way, before anything is changed.
    First,
    /// While this call is under way: which, and which of its kind, counted from one.
    Call(String, usize),
    /// As soon as this stage begins.
    Stage(Stage),
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("during its first call"),
            Self::Call(target, k) => write!(f, "during call {k} of {target}"),
            Self::Stage(stage) => write!(f, "at stage {stage}"),
        }
    }
}

/// What came of a row.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How often it was cancelled.
    pub cancelled: usize,
    /// How often it was done before it noticed.
    pub complete: usize,
}

/// Cancels a verb, at so many of its calls and of its stages each; with none, and if it was too fast at each of them, during
/// its first call.
///
/// # Errors
///
/// The first thing that is not as it should be.
pub async fn run(row: &'static Row, at_most: usize) -> Result<Count> {
    if at_most == 0 {
        return at_first(row).await;
    }
    let whole = Whole::of(row).await.with_context(|| format!("{}: not cancelled", row.name))?;
    let mut count = Count::default();
    let mut trial = None;
    for moment in whole.moments(at_most) {
        let ready = match trial.take() {
            Some(trial) => trial,
            None => Trial::set(row).await?,
        };
        let done = ready.cancelled(&moment, &whole).await;
        let done = done.with_context(|| format!("{}: cancelled {moment}", row.name))?;
        count.cancelled += usize::from(done != Done::Complete);
        count.complete += usize::from(done == Done::Complete);
        trial = Some(ready).filter(|_| done == Done::Undone);
    }
    if let Some(trial) = trial {
        // Where nothing is left of it, it can be done.
        trial.act(Progress::none(), watch::Sender::new(false)).await?;
        trial.is(&whole.after).await.with_context(|| format!("{}: once more, to its end", row.name))?;
    }
    if count.cancelled == 0 {
        count.cancelled = at_first(row).await?.cancelled;
    }
    Ok(count)
}

async fn at_first(row: &'static Row) -> Result<Count> {
    let noticed = Trial::set(row).await?.noticed_at_first().await;
    let noticed = noticed.with_context(|| format!("{}: cancelled {}", row.name, Moment::First))?;
    Ok(Count { cancelled: usize::from(noticed), complete: usize::from(!noticed) })
}

/// Does a verb to its end, and sees that it says how far it is.
///
/// # Errors
///
/// When it says nothing, or that it is less far than it was.
pub async fn tells(row: &'static Row) -> Result<()> {
    let trial = Trial::set(row).await?;
    let (events, begun) = (Arc::new(Mutex::new(Vec::new())), watch::Sender::new(0_usize));
    let (sink, beginning) = (Arc::clone(&events), begun.clone());
    let progress = Progress::to(move |event| {
        if matches!(event, Event::Percent(_, 0)) {
            beginning.send_modify(|times| *times += 1);
        }
        sink.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    });
    let done = tokio::time::timeout(HANGS, async {
        tokio::select! {
            biased;
            done = trial.act(progress, watch::Sender::new(false)) => done,
            never = hold(trial.scene.faults(), begun.subscribe()) => match never {},
        }
    });
    let done = done.await.with_context(|| format!("{} does not end", row.name))?;
    trial.scene.faults().clear();
    done.with_context(|| format!("{}: not cancelled", row.name))?;
    let events = events.lock().unwrap_or_else(PoisonError::into_inner).clone();
    how_far(&events).with_context(|| format!("{}: how far it is", row.name))
}

/// Holds each call of which XAPI alone knows how far it is until that has been told for the first time: it
/// might be over before anybody looks.
async fn hold(faults: &Faults, mut begun: watch::Receiver<usize>) -> Infallible {
    let mut struck = faults.struck();
    loop {
        for method in TOLD_BY_XAPI {
            faults.on(method, Fault::Stuck);
        }
        // In either order; the senders live as long as the pool and the verb.
        let _ = struck.changed().await;
        let _ = begun.changed().await;
        faults.clear();
    }
}

/// How far a stage last was by its bytes, and by what XAPI says; and whether that was the end of a disk.
type Far = [Option<(u64, bool)>; 2];

/// Sees that something is told of stages that are under way, and never less than before but for the next disk.
fn how_far(events: &[Event]) -> Result<()> {
    let (mut open, mut told) = (Vec::<(Stage, Far)>::new(), 0);
    for event in events {
        let (stage, kind, now, is_whole) = match event {
            Event::Started(stage) => {
                open.push((*stage, Far::default()));
                continue;
            }
            Event::Finished(stage, _) | Event::Failed(stage, _) => {
                open.retain(|(other, _)| other != stage);
                continue;
            }
            Event::Bytes(stage, moved) => {
                (*stage, 0, moved.wire_bytes, moved.wire_total_bytes == Some(moved.wire_bytes))
            }
            Event::Percent(stage, percent) => (*stage, 1, u64::from(*percent), *percent == 100),
            _ => continue,
        };
        let Some((_, far)) = open.iter_mut().find(|(other, _)| *other == stage) else { continue };
        if let Some((before, was_whole)) = far[kind] {
            let begins_anew = was_whole || now == 0;
            ensure!(now >= before || begins_anew, "stage {stage} was at {before}, and is at {now}");
        }
        far[kind] = Some((now, is_whole));
        told += 1;
    }
    ensure!(told > 0, "nothing is told of a stage that is under way: {events:?}");
    Ok(())
}

/// What a verb does when nobody cancels it.
struct Whole {
    calls: Vec<(String, usize)>,
    stages: Vec<Stage>,
    after: Portrait,
}

impl Whole {
    async fn of(row: &'static Row) -> Result<Self> {
        let trial = Trial::set(row).await?;
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&events);
        let lock = |events: &Mutex<Vec<Event>>| events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let progress = Progress::to(move |event| {
            sink.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        });
        trial.scene.record();
        trial.act(progress, watch::Sender::new(false)).await?;
        let calls = numbered(trial.scene.recorded());
        let stages = stages(&lock(&events))?;
        Ok(Self { calls, stages, after: Portrait::of(&trial.scene).await? })
    }

    /// The stages, and calls that are spread evenly over those that change something.
    fn moments(&self, at_most: usize) -> Vec<Moment> {
        let calls = self.calls.iter().filter(|(target, _)| changes(target));
        let calls: Vec<_> = calls.map(|(target, k)| Moment::Call(target.clone(), *k)).collect();
        let stages: Vec<_> = self.stages.iter().map(|stage| Moment::Stage(*stage)).collect();
        sample(calls, at_most).into_iter().chain(sample(stages, at_most)).collect()
    }
}

/// So many of them, the first and the last among them.
fn sample<T>(all: Vec<T>, at_most: usize) -> Vec<T> {
    let (last, steps) = (all.len().saturating_sub(1), at_most.saturating_sub(1).max(1));
    let chosen: std::collections::BTreeSet<usize> = (0..=steps).map(|n| n * last / steps).collect();
    all.into_iter().enumerate().filter(|(n, _)| chosen.contains(n)).map(|(_, one)| one).collect()
}

fn numbered(calls: Vec<String>) -> Vec<(String, usize)> {
    let mut seen = BTreeMap::new();
    let number = |call: String| {
        let k = *seen.entry(call.clone()).and_modify(|k| *k += 1).or_insert(1);
        (call, k)
    };
    calls.into_iter().map(number).collect()
}

fn changes(target: &str) -> bool {
    let called = target.strip_prefix(THERE).unwrap_or(target);
    // How often a task is looked at and when it goes depends on time.
    let passing = called.starts_with("session.") || called.starts_with("task.");
    !passing && Safety::of(called) != Safety::Reads
}

/// The stages in their order; each that began has ended, and well.
fn stages(events: &[Event]) -> Result<Vec<Stage>> {
    let (mut begun, mut open) = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Started(stage) => {
                open.push(*stage);
                if !begun.contains(stage) {
                    begun.push(*stage);
                }
            }
            Event::Finished(stage, _) => {
                let at = open.iter().position(|other| other == stage);
                open.swap_remove(at.with_context(|| format!("stage {stage} ended and did not begin"))?);
            }
            Event::Failed(stage, _) => bail!("stage {stage} failed"),
            _ => {}
        }
    }
    ensure!(open.is_empty(), "stages {open:?} did not end");
    ensure!(!begun.is_empty(), "no progress is told");
    Ok(begun)
}

#[derive(Debug, PartialEq, Eq)]
enum Done {
    /// As before.
    Undone,
    /// In between, as documented, and then finished.
    Finished,
    Complete,
}

/// A pool for one verb.
struct Trial {
    row: &'static Row,
    scene: Scene,
    before: Portrait,
    /// What reconciling would do already.
    to_do: Vec<String>,
}

impl Trial {
    async fn set(row: &'static Row) -> Result<Self> {
        let setting = async {
            let scene = Scene::set(&row.scene).await?;
            for prepare in row.prepare {
                prepare(&scene.site()).await?;
            }
            let before = Portrait::of(&scene).await?;
            let mut trial = Self { row, scene, before, to_do: Vec::new() };
            trial.to_do = trial.to_do().await?;
            anyhow::Ok(trial)
        };
        setting.await.with_context(|| format!("{}: setting the scene", row.name))
    }

    async fn act(&self, progress: Progress, cancel: watch::Sender<bool>) -> xenapi_driver::Result<()> {
        let site = self.scene.site().watched(progress, cancel);
        match self.row.act {
            Some(act) => act(&site).await,
            None => self.row.scene.act.at(&site).await,
        }
    }

    async fn cancelled(&self, moment: &Moment, whole: &Whole) -> Result<Done> {
        let outcome = tokio::time::timeout(HANGS, self.cancel(moment)).await.context("it does not end")?;
        self.quiet().await?;
        self.scene.look_at_the_foreign_instance().await?;
        let error = match outcome {
            Ok(()) => {
                self.is(&whole.after).await.context("it was done before it noticed")?;
                return Ok(Done::Complete);
            }
            Err(error) => error,
        };
        self.says(&error)?;
        let now = Portrait::of(&self.scene).await?;
        let left = now.against(&self.before);
        if left.is_empty() {
            let to_do = self.to_do().await?;
            ensure!(to_do == self.to_do, "left to reconcile: {to_do:?}");
            return Ok(Done::Undone);
        }
        ensure!(self.row.after == After::Between, "it is not as before: {left:#?}\nafter {error}");
        // Where it was left, it goes on. Files that are whole are for whoever asked for them.
        for file in [self.scene.output(), self.scene.output().with_extension("cd")] {
            if file.exists() {
                std::fs::remove_file(file)?;
            }
        }
        self.act(Progress::none(), watch::Sender::new(false)).await.context("it cannot be finished")?;
        // What nothing of the instance leads to any more is for reconciling.
        for pool in self.pools() {
            pool.driver.reconcile(everything(false)).await?;
        }
        self.is(&whole.after).await.context("finished after it was cancelled")?;
        Ok(Done::Finished)
    }

    /// Cancels it while its first call is under way, after which nothing may have changed. Says whether it has noticed.
    async fn noticed_at_first(&self) -> Result<bool> {
        let cancelling = tokio::time::timeout(HANGS, self.cancel(&Moment::First));
        let outcome = cancelling.await.context("it does not end")?;
        self.quiet().await?;
        self.scene.look_at_the_foreign_instance().await?;
        let Err(error) = outcome else { return Ok(false) };
        self.says(&error)?;
        let left = Portrait::of(&self.scene).await?.against(&self.before);
        ensure!(left.is_empty(), "it is not as before: {left:#?}\nafter {error}");
        let to_do = self.to_do().await?;
        ensure!(to_do == self.to_do, "left to reconcile: {to_do:?}");
        Ok(true)
    }

    async fn cancel(&self, moment: &Moment) -> xenapi_driver::Result<()> {
        match moment {
            Moment::First => self.cancel_during("*", 1, FIRST_UNDER_WAY).await,
            Moment::Call(target, k) => self.cancel_during(target, *k, UNDER_WAY).await,
            Moment::Stage(wanted) => {
                let cancel = watch::Sender::new(false);
                let (wanted, told) = (*wanted, cancel.clone());
                let progress = Progress::to(move |event| {
                    if matches!(event, Event::Started(stage) if stage == wanted) {
                        told.send_replace(true);
                    }
                });
                self.act(progress, cancel).await
            }
        }
    }

    /// While this call is under way, which takes so long.
    async fn cancel_during(&self, target: &str, k: usize, takes: Duration) -> xenapi_driver::Result<()> {
        let (faults, target) = self.scene.faults_at(target);
        let mut struck = faults.struck();
        faults.on_nth(target, k, Fault::Slow(takes));
        let cancel = watch::Sender::new(false);
        let act = self.act(Progress::none(), cancel.clone());
        tokio::pin!(act);
        let done = tokio::select! {
            // It may make the call fewer times than it did: then it ends by itself.
            done = &mut act => Some(done),
            _ = struck.changed() => None,
        };
        cancel.send_replace(true);
        let done = match done {
            Some(done) => done,
            None => act.await,
        };
        faults.clear();
        done
    }

    /// That it was cancelled, and nothing else, in a sentence.
    fn says(&self, error: &Error) -> Result<()> {
        ensure!(matches!(error.cause(), Cause::Cancelled), "it does not say that it was cancelled: {error}");
        ensure!(error.leftovers().is_empty(), "{error}");
        let text = error.to_string();
        ensure!(text.starts_with("cannot ") && !text.contains('\n'), "{text}");
        Ok(())
    }

    /// What reconciling would do.
    async fn to_do(&self) -> Result<Vec<String>> {
        let mut to_do = Vec::new();
        for pool in self.pools() {
            let found = pool.driver.reconcile(everything(true)).await?;
            to_do.extend(found.done.iter().map(ToString::to_string));
        }
        Ok(to_do)
    }

    async fn is(&self, wanted: &Portrait) -> Result<()> {
        let now = Portrait::of(&self.scene).await?;
        let differences = now.against(wanted);
        ensure!(differences.is_empty(), "it is not as after it: {differences:#?}");
        Ok(())
    }

    fn pools(&self) -> impl Iterator<Item = &Pool> {
        [&self.scene.pool].into_iter().chain(self.scene.there.as_ref().map(|(there, _)| there))
    }

    /// Tasks that were given up go on for a moment; XAPI removes their records by itself, later.
    async fn quiet(&self) -> Result<()> {
        for pool in self.pools() {
            crate::victim::forget_tasks(pool).await?;
        }
        Ok(())
    }
}

fn everything(dry_run: bool) -> ReconcileOptions {
    ReconcileOptions { older_than: Duration::ZERO, dry_run, ..ReconcileOptions::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_falls_is_noticed() {
        let stage = Stage::Migrate;
        let began = || vec![Event::Started(stage)];
        let percents = |all: &[u8]| all.iter().map(|n| Event::Percent(stage, *n)).collect::<Vec<_>>();
        let told = |percents: Vec<Event>| how_far(&[began(), percents].concat());
        assert!(told(percents(&[0, 10, 10, 62])).is_ok());
        assert!(told(percents(&[0, 62, 0, 9, 100, 3])).is_ok(), "of one disk after the other");
        assert!(told(percents(&[0, 62, 9])).is_err());
        assert!(told(Vec::new()).is_err());
        assert!(how_far(&percents(&[0, 62])).is_err(), "the stage has not begun");
        let over = Event::Finished(stage, Duration::ZERO);
        let twice = [began(), percents(&[62]), vec![over], began(), percents(&[9])].concat();
        assert!(how_far(&twice).is_ok(), "it has begun once more");
    }
}
