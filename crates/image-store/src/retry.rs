//! When to try again.

use std::time::Duration;

#[cfg(feature = "http")]
use crate::error::{Error, Result};

/// How often, and with what pauses: OpenStack Nova's schedule for Glance unless set otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts after the first one.
    pub num_retries: u32,
    /// The first pause; each is twice the one before.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for Retry {
    /// Three more attempts, after 0.5 s, 1 s and 2 s; with more of them no pause is over 15 s.
    fn default() -> Self {
        Self {
            num_retries: 3,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(15),
        }
    }
}

impl Retry {
    /// One attempt.
    pub fn never() -> Self {
        Self { num_retries: 0, ..Self::default() }
    }

    /// The pause before a further attempt, the first of them being number 1.
    pub fn pause(&self, attempt: u32) -> Duration {
        let doubled = 2u32.checked_pow(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first_pause.saturating_mul(doubled).min(self.longest_pause)
    }
}

/// Counts failed attempts.
#[cfg(feature = "http")]
#[derive(Debug, Clone)]
pub(crate) struct Attempts {
    retry: Retry,
    failed: u32,
}

#[cfg(feature = "http")]
impl Attempts {
    pub(crate) fn new(retry: Retry) -> Self {
        Self { retry, failed: 0 }
    }

    /// Starts counting anew: there was progress.
    pub(crate) fn reset(&mut self) {
        self.failed = 0;
    }

    /// Waits for the next attempt.
    ///
    /// # Errors
    /// The failure, if another attempt is useless or was one too many.
    pub(crate) async fn failed(&mut self, what: &str, error: Error) -> Result<()> {
        if !error.is_transient() {
            return Err(error);
        }
        self.failed += 1;
        if self.failed > self.retry.num_retries {
            return Err(match self.failed {
                1 => error,
                attempts => Error::GivenUp { what: what.to_owned(), attempts, source: error.into() },
            });
        }
        tokio::time::sleep(self.retry.pause(self.failed)).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_fifteen_seconds() {
        let pauses: Vec<_> = (1..9).map(|attempt| Retry::default().pause(attempt).as_secs_f32()).collect();
        assert_eq!(pauses, [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]);
        assert_eq!(Retry::default().pause(1000).as_secs(), 15);
    }
}
