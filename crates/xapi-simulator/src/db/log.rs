//! Every single change in order, for as long as somebody wants to hear of each.

use std::collections::VecDeque;

use xenapi_wire::Value;

/// Older changes are dropped beyond this.
const CHANGES_KEPT: usize = 10_000;

/// One object in one commit.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Change {
    /// The commit.
    pub generation: u64,
    /// The object's class.
    pub class: &'static str,
    /// Its reference.
    pub reference: String,
    /// `add`, `mod` or `del`.
    pub operation: &'static str,
    /// Its record afterwards, or the last it had.
    pub record: Value,
}

/// The latest changes.
#[derive(Debug)]
pub(super) struct Log {
    changes: VecDeque<Change>,
    /// All changes after this generation are here.
    complete_since: u64,
}

impl Log {
    pub(super) fn new(generation: u64) -> Self {
        Self { changes: VecDeque::new(), complete_since: generation }
    }

    pub(super) fn push(&mut self, change: Change) {
        self.changes.push_back(change);
        if self.changes.len() > CHANGES_KEPT
            && let Some(dropped) = self.changes.pop_front()
        {
            self.complete_since = dropped.generation;
        }
    }

    pub(super) fn since(&self, generation: u64) -> Option<impl Iterator<Item = &Change>> {
        let later = self.changes.iter().filter(move |change| change.generation > generation);
        (generation >= self.complete_since).then_some(later)
    }
}
