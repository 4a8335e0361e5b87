//! The pool's time. What programs on several machines note on its objects (when an operation began, until when a fetch is
//! believed) is judged by others: by clocks of their own, one that is wrong by an hour would take what is
//! under way for dead.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::{NoContext, Timestamp, Uuid};
use xenapi_client::Client;
use xenapi_types::{Host, Ref, host};

/// This machine's clock, set by the coordinator's once that was asked.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// How much the coordinator's is ahead, in milliseconds: 0 as long as the difference is no more than what asking takes.
    ahead: AtomicI64,
}

/// What a host says of its clock, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// How much it is ahead of this machine's.
    pub(crate) ahead: i64,
    /// By how much that may be wrong: the answer has whole seconds, and takes its time.
    pub(crate) within: i64,
}

impl Reading {
    /// Asks a host; nothing when it does not tell.
    pub(crate) async fn of(client: &Client, host: &Ref<Host>) -> Option<Self> {
        let before = millis(SystemTime::now());
        let told = client.call(host::GetServertime { host: host.clone() }).await;
        Some(Self::new(before, told.ok()?.unix_micros().ok()? / 1_000, millis(SystemTime::now())))
    }

    fn new(before: i64, told: i64, after: i64) -> Self {
        Self { ahead: told - before.midpoint(after), within: (after - before) / 2 + 1_000 }
    }
}

impl Clock {
    /// Asks the coordinator for the time. It is good to know, and no reason to fail.
    pub(crate) async fn set(&self, client: &Client) {
        let pools = client.all_records::<xenapi_types::Pool>().await;
        let Some((_, pool)) = pools.ok().and_then(|pools| pools.into_iter().next()) else { return };
        if let Some(reading) = Reading::of(client, &pool.master).await {
            self.take(reading);
        }
    }

    fn take(&self, Reading { ahead, within }: Reading) {
        let ahead = if ahead.abs() <= within { 0 } else { ahead };
        if ahead != 0 {
            tracing::warn!(
                seconds = -ahead / 1_000,
                "this machine's clock is ahead of the pool's, whose time is used"
            );
        }
        self.ahead.store(ahead, Ordering::Relaxed);
    }

    /// The pool's time.
    pub(crate) fn now(&self) -> SystemTime {
        let (now, ahead) = (SystemTime::now(), self.ahead.load(Ordering::Relaxed));
        let by = Duration::from_millis(ahead.unsigned_abs());
        let shifted = if ahead < 0 { now.checked_sub(by) } else { now.checked_add(by) };
        shifted.unwrap_or(now)
    }

    /// The same in whole seconds, as it is noted.
    pub(crate) fn seconds(&self) -> u64 {
        self.now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// The uuid of an operation that begins, which has its time in it.
    pub(crate) fn operation(&self) -> Uuid {
        let now = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Uuid::new_v7(Timestamp::from_unix(NoContext, now.as_secs(), now.subsec_nanos()))
    }

    /// Whether an operation began so long ago. Those of earlier releases do not say when they began.
    pub(crate) fn is_older(&self, operation: Uuid, than: Duration) -> bool {
        let Some((seconds, nanos)) = operation.get_timestamp().map(|time| time.to_unix()) else {
            return true;
        };
        let begun = UNIX_EPOCH + Duration::new(seconds, nanos);
        self.now().duration_since(begun).is_ok_and(|age| age >= than) || than.is_zero()
    }
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn what_asking_takes_is_no_difference() {
        assert_eq!(Reading::new(10_000, 12_000, 14_000), Reading { ahead: 0, within: 3_000 });
        let clock = Clock::default();
        for (ahead, taken) in [(2_900, 0), (-3_000, 0), (3_001, 3_001), (-7_200_000, -7_200_000)] {
            clock.take(Reading { ahead, within: 3_000 });
            assert_eq!(clock.ahead.load(Ordering::Relaxed), taken);
        }
    }

    #[test]
    fn age() {
        let clock = Clock::default();
        let now = clock.operation();
        assert!(!clock.is_older(now, HOUR / 60) && clock.is_older(now, Duration::ZERO));
        let long_ago = Uuid::new_v7(Timestamp::from_unix(NoContext, 1_500_000_000, 0));
        assert!(clock.is_older(long_ago, HOUR) && clock.is_older(Uuid::new_v4(), HOUR));
    }

    #[test]
    fn two_machines_with_wrong_clocks_agree() {
        let (early, late) = (Clock::default(), Clock::default());
        let three_hours = 3 * 3_600_000;
        early.take(Reading { ahead: three_hours, within: 1_000 });
        let begun = early.operation();
        assert!(late.seconds() < early.seconds() && !late.is_older(begun, HOUR));
        late.take(Reading { ahead: -three_hours, within: 1_000 });
        assert!(
            !early.is_older(late.operation(), 7 * HOUR),
            "the early one's clock is six hours ahead of the late one's"
        );
        assert!(early.is_older(late.operation(), 5 * HOUR));
    }
}
