//! What came of the checks.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};

/// What came of one check.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The check's area.
    pub area: &'static str,
    /// The check's name.
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// How long it took, with clearing up.
    pub took: Duration,
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The endpoint does it.
    Passed,
    /// The endpoint does something else, or the check left something behind.
    Failed(String),
    /// The endpoint lacks what the check needs.
    NotApplicable(String),
}

impl Outcome {
    /// Whether the endpoint lacked what the check needs.
    pub fn is_not_applicable(&self) -> bool {
        matches!(self.verdict, Verdict::NotApplicable(_))
    }
}

/// What came of a run. Displayed, it is a table.
#[derive(Debug)]
pub struct Report {
    /// The URL of the endpoint.
    pub endpoint: String,
    /// Its version of XAPI.
    pub xapi: String,
    /// The type of the storage that the disks were made on.
    pub storage: String,
    /// One entry a check.
    pub outcomes: Vec<Outcome>,
    /// Objects that the checks had lost and that were found and taken away at the end.
    pub left_over: Vec<String>,
    /// How long it took altogether.
    pub took: Duration,
}

impl Report {
    /// The checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Failed(_)))
    }

    /// How many checks passed, failed and were not applicable.
    pub fn counts(&self) -> [usize; 3] {
        count(self.outcomes.iter())
    }

    /// That nothing failed and nothing was left behind.
    ///
    /// # Errors
    /// With the names of the checks that failed.
    pub fn verify(&self) -> Result<()> {
        let failed: Vec<_> =
            self.failures().map(|outcome| format!("{}::{}", outcome.area, outcome.name)).collect();
        ensure!(failed.is_empty(), "{} of {} checks failed: {failed:?}", failed.len(), self.outcomes.len());
        ensure!(self.left_over.is_empty(), "left behind: {:?}", self.left_over);
        Ok(())
    }
}

fn count<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> [usize; 3] {
    let mut counts = [0; 3];
    for outcome in outcomes {
        counts[match outcome.verdict {
            Verdict::Passed => 0,
            Verdict::Failed(_) => 1,
            Verdict::NotApplicable(_) => 2,
        }] += 1;
    }
    counts
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: XAPI {}, storage {}", self.endpoint, self.xapi, self.storage)?;
        for outcome in &self.outcomes {
            let (mark, reason) = match &outcome.verdict {
                Verdict::Passed => ("ok", ""),
                Verdict::Failed(reason) => ("FAIL", reason.as_str()),
                Verdict::NotApplicable(reason) => ("n/a", reason.as_str()),
            };
            let name = outcome.name.replace('_', " ");
            let millis = outcome.took.as_millis();
            writeln!(f, "  {mark:<4}  {:<8}  {millis:>6} ms  {name}", outcome.area)?;
            if !reason.is_empty() {
                writeln!(f, "                              {reason}")?;
            }
        }
        writeln!(f, "  {:<9} {:>7} {:>7} {:>7}", "", "passed", "failed", "n/a")?;
        for outcomes in self.outcomes.chunk_by(|a, b| a.area == b.area) {
            let [passed, failed, skipped] = count(outcomes.iter());
            writeln!(f, "  {:<9} {passed:>7} {failed:>7} {skipped:>7}", outcomes[0].area)?;
        }
        let [passed, failed, skipped] = self.counts();
        writeln!(f, "  {:<9} {passed:>7} {failed:>7} {skipped:>7}  {:.1} s", "all", self.took.as_secs_f32())?;
        for object in &self.left_over {
            writeln!(f, "  left behind, taken away now: {object}")?;
        }
        Ok(())
    }
}
