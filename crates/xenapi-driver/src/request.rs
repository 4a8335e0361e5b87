//! What guests are asked for, and may never do: to come down, to reboot.
//!
//! Until the guest answers, or XAPI's own patience of twenty minutes is over, the task of the request keeps
//! others from the VM. A program that ends meanwhile leaves it behind. Therefore the task is marked, in its
//! `other_config`, with the operation and its owner, and whoever puts the pool in order cancels it.

use std::time::Duration;

use uuid::Uuid;
use xenapi_client::{Client, Task};
use xenapi_types::{Ref, TaskRecord, task};

use crate::error::Cause;
use crate::job::Job;
use crate::remove::gone_is_fine;

/// On a task: the owner, by operation.
const ASKED: &str = "xenapi-rs:asked:";

/// Marks the task of a request. Where that cannot be done, as by users who may not, only a crash would show it.
pub(crate) async fn mark(job: &Job, task: &Ref<xenapi_types::Task>) {
    let (key, owner) = (format!("{ASKED}{}", job.operation), job.driver.settings().owner.clone());
    if let Err(error) = job.client().add_to(task, task::field::OTHER_CONFIG, key, owner).await {
        tracing::warn!(%error, "if this program ends, its request to the guest stays until XAPI gives it up");
    }
}

/// The operation of this owner that made a request.
pub(crate) fn made(task: &TaskRecord, owner: &str) -> Option<Uuid> {
    let mut marks = task.other_config.iter().filter(|(_, by)| *by == owner);
    marks.find_map(|(key, _)| key.strip_prefix(ASKED)?.parse().ok())
}

/// Takes a request back whose program has ended, and sees that its task is over: only then is its VM free for others.
pub(crate) async fn take_back(
    client: &Client,
    reference: &Ref<xenapi_types::Task>,
    patience: Duration,
) -> Result<(), Cause> {
    let doing = "cancelling what a guest was asked for";
    let task = Task::<()>::attach(client, reference.clone(), doing);
    gone_is_fine(task.cancel().await).map_err(Cause::host(doing))?;
    match tokio::time::timeout(patience, task.wait()).await {
        // However it ended: the guest may have been quicker.
        Ok(_) => Ok(()),
        Err(_) => Err(Cause::NoAnswer { doing: doing.to_owned(), seconds: patience.as_secs() }),
    }
}
