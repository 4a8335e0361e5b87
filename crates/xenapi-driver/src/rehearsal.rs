//! What a verb would do, told instead of done.

use std::fmt;

use crate::driver::Driver;
use crate::error::{Cause, Op, Result};
use crate::job::{Failed, Job};
use crate::operation::Operation;
use crate::progress::Stage;

/// What a verb would do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DryRun {
    /// The verb.
    pub op: Op,
    /// What it would be done to: `instance "web1"`.
    pub object: String,
    /// One sentence for each step, in the order in which they would be done. With none, nothing is to be done.
    pub steps: Vec<String>,
}

impl fmt::Display for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.object)?;
        if self.steps.is_empty() {
            return f.write_str("nothing to do");
        }
        f.write_str("would")?;
        (1..).zip(&self.steps).try_for_each(|(number, step)| write!(f, "\n  {number}. {step}"))
    }
}

impl Driver {
    /// What a verb would do with the pool as it is now; nothing is changed.
    ///
    /// ```no_run
    /// # async fn example(driver: xenapi_driver::Driver) -> xenapi_driver::Result<()> {
    /// use xenapi_driver::{Progress, Which};
    /// let plan = driver.dry_run(|driver| driver.destroy(Which::parse("web1"), Progress::none())).await?;
    /// println!("{plan}");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the verb, as far as they can be known before anything is done ([`Driver::rehearsing`]).
    pub async fn dry_run<T>(&self, verb: impl FnOnce(&Self) -> Operation<T>) -> Result<DryRun> {
        let operation = verb(&self.rehearsing());
        let (op, object) = (operation.op(), operation.object().to_owned());
        let steps = match operation.await {
            Ok(_) => Vec::new(),
            Err(error) => match error.planned() {
                Some(steps) => steps.to_vec(),
                None => return Err(error),
            },
        };
        Ok(DryRun { op, object, steps })
    }
}

/// The steps that a verb has decided upon, of a driver that only tells them.
pub(crate) struct Planned(Vec<String>);

impl Job {
    /// Ends the verb here if it is only to be told what would be done from here on: before the first change.
    pub(crate) fn would<S: Into<String>>(
        &self,
        steps: impl FnOnce() -> Vec<S>,
    ) -> std::result::Result<(), Planned> {
        match self.driver.0.rehearses {
            true => Err(Planned(steps().into_iter().map(Into::into).collect())),
            false => Ok(()),
        }
    }
}

impl From<Planned> for Cause {
    fn from(planned: Planned) -> Self {
        Self::DryRun(planned.0)
    }
}

impl From<Planned> for Failed {
    fn from(planned: Planned) -> Self {
        Self { stage: Stage::Plan, cause: planned.into() }
    }
}
