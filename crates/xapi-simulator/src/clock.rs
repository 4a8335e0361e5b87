//! Simulated time.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use xenapi_wire::DateTime;

/// The time the simulator lives in: the machine's, one that is wrong, or one that only moves when it is told to.
#[derive(Debug)]
pub struct Clock {
    manual: Option<watch::Sender<Timestamp>>,
    ahead: SignedDuration,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::ahead(SignedDuration::ZERO)
    }

    /// A clock that goes as the machine's does, but is ahead of it.
    pub fn ahead(by: SignedDuration) -> Self {
        Self { manual: None, ahead: by }
    }

    /// A clock that stands still until [`Clock::advance`].
    pub fn manual(start: Timestamp) -> Self {
        Self { manual: Some(watch::Sender::new(start)), ahead: SignedDuration::ZERO }
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        match &self.manual {
            Some(clock) => *clock.borrow(),
            None => Timestamp::now().saturating_add(self.ahead).unwrap_or(Timestamp::MAX),
        }
    }

    /// The time now as XAPI writes it.
    pub fn date(&self) -> DateTime {
        date(self.now())
    }

    /// Moves a manual clock; others move by themselves.
    pub fn advance(&self, by: Duration) {
        if let Some(clock) = &self.manual {
            clock.send_modify(|now| *now = now.checked_add(by).unwrap_or(Timestamp::MAX));
        }
    }

    /// Waits until so much time has passed on this clock.
    pub async fn sleep(&self, duration: Duration) {
        let Some(clock) = &self.manual else { return tokio::time::sleep(duration).await };
        let mut clock = clock.subscribe();
        let until = clock.borrow().checked_add(duration).unwrap_or(Timestamp::MAX);
        // The sender lives as long as this clock.
        let _ = clock.wait_for(|now| *now >= until).await;
    }
}

/// A time as XAPI writes it, `20261121T10:11:12Z`.
pub fn date(time: Timestamp) -> DateTime {
    let text = time.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H:%M:%SZ").to_string();
    text.parse().expect("any text is a date")
}
