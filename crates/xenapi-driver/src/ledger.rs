//! Memory that has been promised to instances that are still being made.
//!
//! XAPI counts the memory of guests that run. Between the plan of an instance and its start lies the transfer of
//! its disks, in which others would be promised the same memory, only to fail at their start.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// What the operations of one driver have been promised, by operation. Other programs are not known of: between
/// them, the host itself decides at the start.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<HashMap<Uuid, (String, u64)>>);

impl Ledger {
    /// Promises memory on a host to an operation, until it is released.
    pub(crate) fn reserve(&self, operation: Uuid, node: &str, bytes: u64) {
        self.lock().insert(operation, (node.to_owned(), bytes));
    }

    /// Takes back what an operation was promised, if anything.
    pub(crate) fn release(&self, operation: Uuid) {
        self.lock().remove(&operation);
    }

    /// What has been promised on a host, in bytes.
    pub(crate) fn reserved_bytes(&self, node: &str) -> u64 {
        self.lock().values().filter(|(host, _)| host == node).map(|(_, bytes)| bytes).sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, (String, u64)>> {
        // A panic cannot leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_and_taken_back() {
        let ledger = Ledger::default();
        let [a, b] = [1, 2].map(Uuid::from_u128);
        ledger.reserve(a, "host-1", 5);
        ledger.reserve(b, "host-1", 7);
        assert_eq!((ledger.reserved_bytes("host-1"), ledger.reserved_bytes("host-2")), (12, 0));
        ledger.release(a);
        ledger.release(a);
        assert_eq!(ledger.reserved_bytes("host-1"), 7);
    }
}
