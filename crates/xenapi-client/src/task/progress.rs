//! How far a task is, as a stream.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::watch::TaskWatch;
use super::{Task, is_over};

/// The progress of a task from 0.0 to 1.0, each value greater than the one before: XAPI's own numbers jump
/// back when a task goes over to its next part. See [`Task::progress`].
#[must_use = "a stream does nothing until it is polled"]
pub struct TaskProgress {
    next: Further,
    done: bool,
}

/// A step on: how far the task is now, unless it is over.
type Further = Pin<Box<dyn Future<Output = Option<(TaskWatch, f64)>> + Send>>;

impl<T> Task<T> {
    /// How far the task is, whenever it has come further. The stream ends when the task does, whatever its
    /// outcome, or when nobody can tell any more; the outcome is for [`Task::wait`] to say. That 1.0 is
    /// reached means nothing: the result may not be there yet, and failures end with it too.
    ///
    /// It shares its wait for events with all other tasks of the client. Dropping it changes nothing.
    pub fn progress(&self) -> TaskProgress {
        let watch = TaskWatch::new(&self.client, &self.reference);
        TaskProgress { next: Box::pin(further(watch, -1.0)), done: false }
    }
}

/// Waits until a task has come further than it was told before.
async fn further(mut watch: TaskWatch, told: f64) -> Option<(TaskWatch, f64)> {
    loop {
        let record = watch.next().await.ok().flatten()?;
        if is_over(&record) {
            return None;
        }
        let now = record.progress.clamp(0.0, 1.0);
        if now > told {
            return Some((watch, now));
        }
    }
}

impl Stream for TaskProgress {
    type Item = f64;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<f64>> {
        if self.done {
            return Poll::Ready(None);
        }
        match ready!(self.next.as_mut().poll(cx)) {
            Some((watch, now)) => {
                self.next = Box::pin(further(watch, now));
                Poll::Ready(Some(now))
            }
            None => {
                self.done = true;
                Poll::Ready(None)
            }
        }
    }
}

impl fmt::Debug for TaskProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskProgress").field("done", &self.done).finish_non_exhaustive()
    }
}
