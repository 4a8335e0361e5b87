//! Cancellation that undo can rely on.
//!
//! Dropping a future cannot run asynchronous clean-up, and a call dropped half way leaves an object
//! on the host whose reference nobody ever saw. So an operation runs in a task of its own and is
//! *asked* to stop: it looks between calls, gives up long transfers at once, and then undoes what it
//! did.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use crate::job::heap;
use tokio::sync::watch;

/// A request to stop, shared by an operation and its parallel parts.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    own: watch::Sender<bool>,
    outer: Option<Arc<Stop>>,
}

/// The operation was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

impl Stop {
    pub(crate) fn new() -> Self {
        Self { own: watch::Sender::new(false), outer: None }
    }

    /// One that stops with this one, and can be stopped alone.
    pub(crate) fn child(&self) -> Self {
        Self { own: watch::Sender::new(false), outer: Some(Arc::new(self.clone())) }
    }

    pub(crate) fn stop(&self) {
        self.own.send_replace(true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.own.borrow() || self.outer.as_ref().is_some_and(|outer| outer.is_stopped())
    }

    /// Called before every step that makes something.
    pub(crate) fn check(&self) -> Result<(), Stopped> {
        if self.is_stopped() { Err(Stopped) } else { Ok(()) }
    }

    /// Runs `work`, which must be safe to drop at any point: transfers and waits, never a call that
    /// creates.
    pub(crate) async fn guard<T>(&self, work: impl IntoFuture<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            biased;
            () = self.stopped() => Err(Stopped),
            value = work.into_future() => Ok(value),
        }
    }

    fn stopped(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let mut own = self.own.subscribe();
            let own = async {
                // An error would mean that the sender is gone, but `self` holds it.
                let _ = own.wait_for(|stop| *stop).await;
            };
            match &self.outer {
                None => own.await,
                Some(outer) => tokio::select! {
                    () = own => {}
                    () = outer.stopped() => {}
                },
            }
        })
    }

    /// Runs two independent parts at the same time. When one fails the other is asked to stop and
    /// awaited, so that nothing is left half made; the error that came first is returned.
    pub(crate) async fn both<A, B, E>(
        &self,
        left: impl AsyncFnOnce(Stop) -> Result<A, E>,
        right: impl AsyncFnOnce(Stop) -> Result<B, E>,
    ) -> Result<(A, B), E> {
        let stop = self.child();
        let first_error = std::sync::Mutex::new(None);
        let keep = |error| {
            stop.stop();
            first_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
        };
        let left = async { heap(|| left(stop.clone())).await.map_err(keep).ok() };
        let right = async { heap(|| right(stop.clone())).await.map_err(keep).ok() };
        let (left, right) = tokio::join!(left, right);
        match first_error.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok((
                left.expect("the left part gave neither a value nor an error"),
                right.expect("the right part gave neither a value nor an error"),
            )),
        }
    }
}

/// Does independent things at the same time, all of them to their end; gives what they gave, or the first error.
pub(crate) async fn all<T, E>(works: impl IntoIterator<Item = Work<'_, E, T>>) -> Result<Vec<T>, E> {
    let mut works: Vec<_> = works.into_iter().map(|work| (Some(work), None)).collect();
    let mut first_error = None;
    std::future::poll_fn(|cx| {
        for (work, value) in &mut works {
            if let Some(Poll::Ready(done)) = work.as_mut().map(|work| work.as_mut().poll(cx)) {
                *work = None;
                match done {
                    Ok(done) => *value = Some(done),
                    Err(error) => first_error = first_error.take().or(Some(error)),
                }
            }
        }
        if works.iter().all(|(work, _)| work.is_none()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    match first_error {
        Some(error) => Err(error),
        None => Ok(works.into_iter().filter_map(|(_, value)| value).collect()),
    }
}

/// One of the things that [`all`] does.
pub(crate) type Work<'a, E, T = ()> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_child_stops_with_its_parent_but_not_the_other_way() {
        let parent = Stop::new();
        let (one, two) = (parent.child(), parent.child());
        one.stop();
        assert!(one.is_stopped() && !two.is_stopped() && !parent.is_stopped());
        let waiting = tokio::spawn(async move { two.guard(std::future::pending::<()>()).await });
        tokio::task::yield_now().await;
        parent.stop();
        let result = tokio::time::timeout(Duration::from_secs(5), waiting).await;
        assert_eq!(result.unwrap().unwrap(), Err(Stopped));
    }

    #[tokio::test]
    async fn everything_is_done_to_its_end_and_the_first_error_told() {
        let done = std::sync::atomic::AtomicUsize::new(0);
        let work = |turns: usize, result: Result<(), usize>| -> Work<'_, usize> {
            let done = &done;
            Box::pin(async move {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                result
            })
        };
        assert_eq!(all([work(3, Ok(())), work(2, Err(2)), work(1, Err(1))]).await, Err(1));
        assert_eq!(done.load(std::sync::atomic::Ordering::Relaxed), 3);
        assert_eq!(all([work(3, Ok(())), work(2, Ok(()))]).await, Ok(vec![(); 2]));
        assert_eq!(all::<(), ()>([]).await, Ok(vec![]));
    }

    #[tokio::test]
    async fn the_second_part_is_awaited_when_the_first_fails() {
        let stop = Stop::new();
        let cleaned = std::cell::Cell::new(false);
        let result: Result<((), ()), &str> = stop
            .both(
                async |_| Err("disk full"),
                async |stop| {
                    let stopped = stop.guard(std::future::pending::<()>()).await;
                    tokio::task::yield_now().await;
                    cleaned.set(true);
                    stopped.map_err(|Stopped| "cancelled")
                },
            )
            .await;
        assert_eq!(result, Err("disk full"));
        assert!(cleaned.get() && !stop.is_stopped());
    }
}
