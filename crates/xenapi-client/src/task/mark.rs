//! Whose a task is.
//!
//! XAPI tells nobody which session a task was made in. But it keeps headers of a request that begin with
//! `x-http-other-config-` in the task that it makes for it, from the first moment on. So a task is found again whose
//! reference was lost with an answer, and whoever puts a pool in order knows his own.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;
use xenapi_types::{Task as TaskClass, TaskRecord, task};
use xenapi_wire::Ref;

use crate::client::Client;
use crate::error::{Error, Result};

/// The header that the mark travels in.
pub(crate) const HEADER: &str = "x-http-other-config-xenapi-rs";

/// Where XAPI puts it in `other_config`.
const KEY: &str = "http:xenapi-rs";

/// Longer names are not sent: a head may have a thousand bytes only.
const MAX_OWNER: usize = 128;

/// What a call made as a task leaves in the task's `other_config`, under `http:xenapi-rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskMark {
    /// The call. Its time is in it.
    pub call: Uuid,
    /// Who made it: [`Client::with_task_owner`].
    pub owner: Option<String>,
}

impl TaskMark {
    /// The mark of a task, if a client of this kind has made it.
    pub fn of(task: &TaskRecord) -> Option<Self> {
        let text = task.other_config.get(KEY)?;
        let (call, owner) = text.split_once(' ').map_or((&**text, None), |(call, owner)| (call, Some(owner)));
        Some(Self { call: call.parse().ok()?, owner: owner.map(str::to_owned) })
    }

    fn to_header(&self) -> String {
        let owner = self.owner.as_deref().map(|owner| format!(" {owner}"));
        format!("{}{}", self.call, owner.unwrap_or_default())
    }
}

/// The calls made as tasks that somebody in this program waits for, or has not let go of.
pub(crate) type Held = Mutex<HashSet<Uuid>>;

/// Keeps a call among those that are held.
pub(super) struct Hold(Client, Uuid);

impl Drop for Hold {
    fn drop(&mut self) {
        held(&self.0).remove(&self.1);
    }
}

fn held(client: &Client) -> MutexGuard<'_, HashSet<Uuid>> {
    // A panic cannot leave the set half changed.
    client.inner.held_tasks.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    /// This client, whose calls made as tasks say whose they are ([`TaskMark::owner`]). A name that is no plain text of
    /// at most 128 characters goes without.
    #[must_use]
    pub fn with_task_owner(&self, owner: &str) -> Self {
        let is_plain = owner.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        let is_sent = is_plain && owner.trim() == owner && (1..=MAX_OWNER).contains(&owner.len());
        let mut client = self.clone();
        client.task_owner = is_sent.then(|| owner.into());
        client
    }

    /// Whether somebody in this program still has the [`Task`](crate::Task) of this call, or waits for it to begin. Of
    /// this client and its clones.
    pub fn holds_task(&self, mark: &TaskMark) -> bool {
        held(self).contains(&mark.call)
    }

    /// A mark for a call that is about to be made, which is held from now on.
    pub(super) fn mark_task(&self) -> (TaskMark, Hold) {
        let call = Uuid::now_v7();
        held(self).insert(call);
        (TaskMark { call, owner: self.task_owner.as_deref().map(str::to_owned) }, Hold(self.clone(), call))
    }

    /// This client for the one call that carries the mark.
    pub(super) fn marking(&self, mark: &TaskMark) -> Self {
        let mut client = self.clone();
        client.task_mark = Some(mark.to_header().into());
        client
    }

    /// The task of a call whose answer was lost, if the host has begun it by now.
    pub(super) async fn find_marked(&self, mark: &TaskMark, lost: Error) -> Result<Ref<TaskClass>> {
        match self.resolve_created(task::field::OTHER_CONFIG, KEY, &mark.to_header()).await {
            Ok(Some(task)) => {
                tracing::info!(error = %lost, %task, "the call has become a task all the same");
                Ok(task)
            }
            Ok(None) => Err(lost),
            Err(looking) => {
                tracing::warn!(error = %looking, "whether the call has become a task cannot be found out");
                Err(lost)
            }
        }
    }
}

/// The text of a mark, as a call carries it.
pub(crate) type Carried = Option<Arc<str>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let call = Uuid::now_v7();
        for owner in [None, Some("xenapi-rs".to_owned()), Some("two words".to_owned())] {
            let mark = TaskMark { call, owner };
            let mut task = TaskRecord::default();
            assert_eq!(TaskMark::of(&task), None);
            task.other_config.insert(KEY.to_owned(), mark.to_header());
            assert_eq!(TaskMark::of(&task), Some(mark));
        }
        let mut task = TaskRecord::default();
        task.other_config.insert(KEY.to_owned(), "of somebody else".to_owned());
        assert_eq!(TaskMark::of(&task), None);
    }
}
