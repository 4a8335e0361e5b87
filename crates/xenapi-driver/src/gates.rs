//! Locks by name, for what the operations of one driver must not do at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

/// One lock for each name. A name nobody is interested in takes no space for long.
#[derive(Debug, Default)]
pub(crate) struct Gates(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Gates {
    /// Waits until nobody else is behind the gate of this name, and closes it.
    pub(crate) async fn enter(&self, name: &str) -> OwnedMutexGuard<()> {
        let gate = {
            // A panic cannot leave the map half changed.
            let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            gates.retain(|_, gate| gate.strong_count() > 0);
            match gates.get(name).and_then(Weak::upgrade) {
                Some(gate) => gate,
                None => {
                    let gate = Arc::new(tokio::sync::Mutex::new(()));
                    gates.insert(name.to_owned(), Arc::downgrade(&gate));
                    gate
                }
            }
        };
        gate.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_for_each_name() {
        let gates = Gates::default();
        let first = gates.enter("a").await;
        drop(gates.enter("b").await);
        let again = gates.enter("a");
        tokio::pin!(again);
        assert!(futures_poll(&mut again).await.is_none());
        drop(first);
        drop(again.await);
        drop(gates.enter("c").await);
        assert_eq!(gates.0.lock().unwrap().len(), 1);
    }

    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            value = future => Some(value),
            () = std::future::ready(()) => None,
        }
    }
}
