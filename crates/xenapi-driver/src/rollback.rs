//! What an operation did, and how to take it back.

use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use crate::progress::{Event, Progress};

/// The steps of an operation that can be undone, oldest first.
///
/// Parts of an operation that run at the same time share one stack. Undoing runs every step, VMs first and else
/// the last one first, whatever becomes of the others; what could not be undone is reported by name.
#[derive(Default)]
pub(crate) struct Rollback {
    steps: Mutex<Vec<Step>>,
}

struct Step {
    what: String,
    kind: Kind,
    undo: Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    One,
    /// Removes a VM, before the disks that it may have by now.
    Vm,
    /// Removes again whatever the later steps should have removed.
    Sweep,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A step that could not be undone: what it names is still there.
#[derive(Debug)]
#[non_exhaustive]
pub struct Leftover {
    /// The object, as an operator can look it up: `VDI 5b2c… "web1"`.
    pub what: String,
    /// Why it is still there.
    pub error: Box<dyn std::error::Error + Send + Sync>,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.error)
    }
}

impl Rollback {
    /// Remembers a step just after it was done. `undo` is not polled before it is needed, and must
    /// succeed when the object is already gone.
    pub(crate) fn push<E: Into<BoxError>>(
        &self,
        what: impl Into<String>,
        undo: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.push_kind(what.into(), Kind::One, undo);
    }

    /// As [`Rollback::push`], for a VM: it is removed before all disks, whichever was made first.
    pub(crate) fn push_vm<E: Into<BoxError>>(
        &self,
        what: impl Into<String>,
        undo: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.push_kind(what.into(), Kind::Vm, undo);
    }

    /// As [`Rollback::push`], before anything is done: `undo` finds by itself what there is to remove,
    /// so that nothing is left of steps that could not be undone when it succeeds.
    pub(crate) fn push_sweep<E: Into<BoxError>>(
        &self,
        what: impl Into<String>,
        undo: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.push_kind(what.into(), Kind::Sweep, undo);
    }

    fn push_kind<E: Into<BoxError>>(
        &self,
        what: String,
        kind: Kind,
        undo: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let undo = Box::pin(async move { undo.await.map_err(Into::into) });
        self.lock().push(Step { what, kind, undo });
    }

    /// The operation is complete: nothing will be undone.
    pub(crate) fn commit(self) {
        drop(self);
    }

    /// Nothing that was done so far will be undone: there is no way back behind it.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    /// Takes everything back and returns what could not be.
    pub(crate) async fn undo(self, progress: &Progress) -> Vec<Leftover> {
        let mut steps = std::mem::take(&mut *self.lock());
        steps.sort_by_key(|step| step.kind == Kind::Vm);
        progress.send(Event::Undoing { steps: steps.len() });
        let mut leftovers = Vec::new();
        for Step { what, kind, undo } in steps.into_iter().rev() {
            let result = undo.await;
            let error = result.as_ref().err().map(ToString::to_string);
            match &error {
                None => tracing::info!(what, "undone"),
                Some(error) => tracing::error!(what, error, "could not be undone"),
            }
            progress.send(Event::Undone { what: what.clone(), error });
            match result {
                Ok(()) if kind == Kind::Sweep => leftovers.clear(),
                Ok(()) => {}
                Err(error) => leftovers.push(Leftover { what, error }),
            }
        }
        leftovers
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Step>> {
        // A panic while a step is pushed leaves the list as it was.
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Rollback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().iter().map(|step| &step.what)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn every_step_is_undone_last_first_even_when_one_fails() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let rollback = Rollback::default();
        for name in ["disk", "vm", "vif"] {
            let log = Arc::clone(&log);
            rollback.push(name, async move {
                log.lock().unwrap().push(name);
                if name == "vm" { Err("host gone") } else { Ok(()) }
            });
        }
        let left = rollback.undo(&Progress::none()).await;
        assert_eq!(*log.lock().unwrap(), ["vif", "vm", "disk"]);
        assert_eq!(left.iter().map(ToString::to_string).collect::<Vec<_>>(), ["vm (host gone)"]);
    }

    #[tokio::test]
    async fn a_vm_goes_before_its_disks_whichever_was_made_first() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let rollback = Rollback::default();
        let step = |name| {
            let log = Arc::clone(&log);
            async move {
                log.lock().unwrap().push(name);
                Ok::<_, String>(())
            }
        };
        rollback.push_sweep("all", step("all"));
        rollback.push("root", step("root"));
        rollback.push_vm("vm", step("vm"));
        rollback.push("drive", step("drive"));
        assert!(rollback.undo(&Progress::none()).await.is_empty());
        assert_eq!(*log.lock().unwrap(), ["vm", "drive", "root", "all"]);
    }

    #[tokio::test]
    async fn a_sweep_makes_up_for_steps_that_failed() {
        for (swept, left) in [(Ok(()), 0), (Err("host gone"), 2)] {
            let rollback = Rollback::default();
            rollback.push_sweep("all", async move { swept });
            rollback.push("disk", async { Err("in use") });
            assert_eq!(rollback.undo(&Progress::none()).await.len(), left);
        }
    }

    #[tokio::test]
    async fn committing_undoes_nothing() {
        let touched = Arc::new(Mutex::new(false));
        let rollback = Rollback::default();
        let inner = Arc::clone(&touched);
        rollback.push("disk", async move {
            *inner.lock().unwrap() = true;
            Ok::<_, String>(())
        });
        rollback.commit();
        assert!(!*touched.lock().unwrap());
    }
}
