//! When a call that failed is made again. The rules as a table: `docs/retries.md`.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use xenapi_types::{FailureExt, Retry, Safety};

use crate::error::{Error, ErrorKind};

/// How patiently calls that failed are made again. Which ones are is not for choice: see [`Error::kind`] and
/// `docs/retries.md`.
///
/// Pauses double from the first to the longest; each is made longer or shorter by up to a half, so that many
/// clients of one host do not come back together. No pause goes beyond the deadline of its call: when the
/// next one would, the call ends with the error that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often in all a call is made which XAPI turns away because it is busy, before it did anything. 10,
    /// which takes two minutes.
    pub busy_attempts: u32,
    /// How often in all a call is made for which there is no connection, or whose answer was lost although
    /// it is safe to repeat. 4. The first log-in of a client is not repeated: more likely than not its URL
    /// is wrong.
    pub network_attempts: u32,
    /// The mean of the first pause. Half a second.
    pub first_pause: Duration,
    /// The mean of the longest pause. 30 seconds.
    pub longest_pause: Duration,
}

impl RetryPolicy {
    /// Nothing is made again, except what costs nobody anything: a request of which nothing was written, a
    /// read on a connection that had been idle, a call that only needs another session or another host.
    pub const OFF: Self = Self { busy_attempts: 1, network_attempts: 1, ..Self::DEFAULT };

    const DEFAULT: Self = Self {
        busy_attempts: 10,
        network_attempts: 4,
        first_pause: Duration::from_millis(500),
        longest_pause: Duration::from_secs(30),
    };
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a call may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// XAPI turned it away.
    Busy,
    /// It did not get there, or its answer did not get back.
    Network,
}

/// Why a call that ended with this error may be made again, if it may.
fn reason(error: &Error, safety: Safety) -> Option<Reason> {
    match error.failure().map(FailureExt::retry) {
        Some(Retry::Later) => Some(Reason::Busy),
        Some(Retry::CheckState) if safety.is_repeatable() => Some(Reason::Network),
        // That its answer was lost is another kind of error, unless the call is safe to repeat.
        None if error.kind() == ErrorKind::Unreachable => Some(Reason::Network),
        _ => None,
    }
}

/// The attempts at one call.
#[derive(Debug)]
pub(crate) struct Attempts {
    policy: RetryPolicy,
    safety: Safety,
    busy: u32,
    network: u32,
}

impl Attempts {
    pub(crate) fn new(policy: RetryPolicy, safety: Safety) -> Self {
        Self { policy, safety, busy: 0, network: 0 }
    }

    /// The pause before the next attempt, after one that ended with `error`; `None` when there is none.
    pub(crate) fn pause_after(&mut self, error: &Error, left: Duration) -> Option<Duration> {
        let (made, allowed) = match reason(error, self.safety)? {
            Reason::Busy => (&mut self.busy, self.policy.busy_attempts),
            Reason::Network => (&mut self.network, self.policy.network_attempts),
        };
        *made += 1;
        let pause = jittered(mean_pause(self.policy.first_pause, self.policy.longest_pause, *made - 1));
        (*made < allowed && pause < left).then_some(pause)
    }

    /// How many have been made, when another one is about to be.
    pub(crate) fn made(&self) -> u32 {
        self.busy + self.network
    }
}

/// The pause after so many earlier ones, before chance has its say.
pub(crate) fn mean_pause(first: Duration, longest: Duration, earlier: u32) -> Duration {
    first.saturating_mul(1 << earlier.min(16)).min(longest)
}

/// A duration made longer or shorter by up to a half.
pub(crate) fn jittered(mean: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1_000;
    mean.mul_f64(0.5 + random as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use xenapi_types::ErrorCode;
    use xenapi_wire::Failure;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn failure(code: &str) -> Error {
        Error::from_failure(Failure::new(code, ["10.0.0.1"]))
    }

    #[test]
    fn attempts_and_the_deadline_bound_the_repetitions() {
        let policy = RetryPolicy::default();
        let pauses = |policy, error: &Error, left| {
            let mut attempts = Attempts::new(policy, Safety::Once);
            std::iter::from_fn(|| attempts.pause_after(error, left)).collect::<Vec<_>>()
        };
        let busy = pauses(policy, &failure("TOO_BUSY"), DAY);
        assert_eq!(busy.len(), 9);
        for (earlier, pause) in (0..).zip(&busy) {
            let mean = mean_pause(policy.first_pause, policy.longest_pause, earlier);
            assert!(*pause >= mean / 2 && *pause <= mean * 3 / 2 && mean <= policy.longest_pause);
        }
        assert!(pauses(policy, &failure("TOO_BUSY"), Duration::from_millis(1)).is_empty());
        assert!(pauses(RetryPolicy::OFF, &failure("TOO_BUSY"), DAY).is_empty());
        let unreachable = Error::new(ErrorKind::Unreachable, "x");
        assert_eq!(pauses(policy, &unreachable, DAY).len(), 3);
        assert!(pauses(policy, &Error::new(ErrorKind::OutcomeUnknown, "x"), DAY).is_empty());
    }

    /// What is done after a failure with a call of which another kind of safety is known.
    fn answer_to(code: &ErrorCode, safety: Safety) -> &'static str {
        let error = failure(code.as_str());
        match (error.failure().map(FailureExt::retry), reason(&error, safety)) {
            (_, Some(Reason::Busy)) => "again, later",
            (_, Some(Reason::Network)) => "again, soon",
            (Some(Retry::LogIn), _) => "once more, after a log-in",
            (Some(Retry::Coordinator(_)), _) => "at that host",
            (Some(Retry::Resync), _) => "not: read everything again",
            (Some(Retry::FewerParameters), _) => "not: leave out parameters",
            (Some(Retry::CheckState), _) => "not: look first",
            _ => "not",
        }
    }

    #[test]
    fn the_table_in_the_documentation_is_what_the_code_does() {
        let mut table = String::from("| Code | Reads | Idempotent | Once |\n|---|---|---|---|\n");
        for code in ErrorCode::KNOWN {
            let answers = [Safety::Reads, Safety::Idempotent, Safety::Once].map(|s| answer_to(code, s));
            if answers != ["not"; 3] {
                writeln!(table, "| `{}` | {} |", code.as_str(), answers.join(" | ")).unwrap();
            }
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/retries.md");
        let written = std::fs::read_to_string(path).unwrap();
        assert!(written.contains(&table), "{path} should have this table:\n{table}");
        for default in [
            format!("`busy_attempts` | {}", RetryPolicy::default().busy_attempts),
            format!("`network_attempts` | {}", RetryPolicy::default().network_attempts),
            format!("`first_pause` | {:?}", RetryPolicy::default().first_pause),
            format!("`longest_pause` | {:?}", RetryPolicy::default().longest_pause),
        ] {
            assert!(written.contains(&default), "{path} should say: {default}");
        }
    }
}
