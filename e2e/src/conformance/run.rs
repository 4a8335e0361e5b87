//! Running checks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::Semaphore;

use super::Check;
use super::clean::sweep;
use super::expect::NotApplicable;
use super::lab::Lab;
use super::report::{Outcome, Report, Verdict};
use super::site::Site;
use super::target::Target;

/// How long one check may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Makes the checks against an endpoint, at most `jobs` at a time, and takes away what they made.
///
/// # Errors
/// When the endpoint cannot be logged in to or looked at. What checks find is in the report.
pub async fn run(target: &Target, checks: Vec<Check>, jobs: usize) -> Result<Report> {
    let begin = Instant::now();
    let client = target.client("xenapi-conformance")?;
    client.login().await?;
    let site = Arc::new(Site::survey(&client).await.context("looking at the endpoint")?);
    let run: Arc<str> = uuid::Uuid::new_v4().simple().to_string()[..8].into();
    let (target, turns) = (Arc::new(target.clone()), Arc::new(Semaphore::new(jobs.max(1))));
    let mut running = Vec::new();
    for (number, check) in checks.into_iter().enumerate() {
        let lab = Lab::new(client.clone(), target.clone(), site.clone(), run.clone(), number);
        let turns = turns.clone();
        running.push(tokio::spawn(async move {
            let _turn = turns.acquire().await;
            run_one(check, Arc::new(lab)).await
        }));
    }
    let mut outcomes = Vec::new();
    for task in running {
        outcomes.push(task.await?);
    }
    let left_over = sweep(&client, &run).await.context("looking for what the checks left")?;
    client.close().await?;
    Ok(Report {
        endpoint: client.endpoint().to_string(),
        xapi: site.xapi_version(),
        storage: site.sr_type().to_owned(),
        outcomes,
        left_over,
        took: begin.elapsed(),
    })
}

fn is_of_later_release(error: &xenapi_client::Error) -> bool {
    error.is("MESSAGE_METHOD_UNKNOWN")
}

async fn run_one(check: Check, lab: Arc<Lab>) -> Outcome {
    let begin = Instant::now();
    // A task of its own, so that a panic is a failed check.
    let task = tokio::spawn((check.check)(lab.clone()));
    let stop = task.abort_handle();
    let mut verdict = match tokio::time::timeout(PATIENCE, task).await {
        Ok(Ok(Ok(()))) => Verdict::Passed,
        Ok(Ok(Err(error))) => match error.downcast_ref::<NotApplicable>() {
            Some(reason) => Verdict::NotApplicable(reason.to_string()),
            // Checks are of the newest release. What they expect to be unknown, they look at themselves.
            None if error.downcast_ref().is_some_and(is_of_later_release) => {
                Verdict::NotApplicable(format!("{error:#}"))
            }
            None => Verdict::Failed(format!("{error:#}")),
        },
        Ok(Err(panic)) => Verdict::Failed(panic.to_string()),
        Err(_) => {
            stop.abort();
            Verdict::Failed(format!("no end within {} s", PATIENCE.as_secs()))
        }
    };
    if let Err(error) = lab.clean().await {
        verdict = match verdict {
            Verdict::Failed(reason) => Verdict::Failed(format!("{reason}; then {error:#}")),
            _ => Verdict::Failed(format!("{error:#}")),
        };
    }
    Outcome { area: check.area, name: check.name, verdict, took: begin.elapsed() }
}
