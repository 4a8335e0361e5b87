//! A verb under way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cancel::Stop;
use crate::error::{Cause, Error, Op, Result};
use crate::progress::Stage;

/// A verb under way: a future of its result.
///
/// The work runs in a task of its own. [`Operation::cancel`], or dropping this value, asks it to
/// stop: it ends its transfers at once, removes what it made, and only then is it over. Whoever
/// drops it can wait for that with [`Driver::close`](crate::Driver::close). If the program ends
/// first, [`Driver::destroy`](crate::Driver::destroy) with the instance's uuid removes what is left.
#[derive(Debug)]
#[must_use = "dropping an operation cancels it"]
pub struct Operation<T> {
    task: JoinHandle<Result<T>>,
    stop: Stop,
    op: Op,
    object: String,
}

/// Counts the operations under way, so that a driver can wait for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running(Arc<watch::Sender<usize>>);

struct Ticket(Running);

impl<T> Operation<T> {
    /// Starts `body` on the current runtime.
    pub(crate) fn start<F>(running: &Running, op: Op, object: String, body: impl FnOnce(Stop) -> F) -> Self
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let stop = Stop::new();
        let (body, ticket) = (Box::pin(body(stop.clone())), running.ticket());
        let task = tokio::spawn(async move {
            let result = body.await;
            drop(ticket);
            result
        });
        Self { task, stop, op, object }
    }

    /// The verb.
    pub fn op(&self) -> Op {
        self.op
    }

    /// What it is done to: `instance "web1"`.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// Asks the operation to stop and to undo what it did; await it to see that done. It may still
    /// succeed, when it was about to.
    pub fn cancel(&self) {
        self.stop.stop();
    }
}

impl<T> Future for Operation<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        Poll::Ready(match ready!(Pin::new(&mut self.task).poll(cx)) {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::new(self.op, &*self.object, Stage::Plan, Cause::Aborted)),
            },
        })
    }
}

impl<T> Drop for Operation<T> {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

impl Running {
    fn ticket(&self) -> Ticket {
        self.0.send_modify(|count| *count += 1);
        Ticket(self.clone())
    }

    /// Waits until no operation is under way.
    pub(crate) async fn settled(&self) {
        // The sender is held by `self`, so this cannot fail.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
