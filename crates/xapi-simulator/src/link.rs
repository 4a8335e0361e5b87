//! How fast the pool's network is.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::core::Config;

/// The network between the pool and all of its clients together. Both figures can be changed at any time.
#[derive(Debug, Default)]
pub struct Link {
    latency_micros: AtomicU64,
    /// Zero: as fast as the machine can.
    bytes_per_second: AtomicU64,
    /// When what has been sent and received so far has passed.
    free_at: Mutex<Option<Instant>>,
}

impl Link {
    pub(crate) fn new(config: &Config) -> Self {
        let link = Self::default();
        link.set_latency(config.latency);
        link.set_bandwidth(config.bandwidth);
        link
    }

    /// What every call, import and export waits before it is carried out.
    pub fn set_latency(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency_micros.store(micros, Ordering::Relaxed);
    }

    /// How many bytes pass in a second, in both directions and over all connections together; `None` for no limit.
    /// A limit of zero is one byte.
    pub fn set_bandwidth(&self, bytes_per_second: Option<u64>) {
        let limit = bytes_per_second.map_or(0, |limit| limit.max(1));
        self.bytes_per_second.store(limit, Ordering::Relaxed);
    }

    pub(crate) fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_micros.load(Ordering::Relaxed))
    }

    /// How many bytes are sent or received at once: so few that a slow link stays smooth.
    pub(crate) fn portion(&self) -> usize {
        match self.bytes_per_second.load(Ordering::Relaxed) {
            0 => usize::MAX,
            limit => usize::try_from(limit / 50).unwrap_or(usize::MAX).clamp(1, 64 << 10),
        }
    }

    /// What is to be waited for after so many bytes.
    pub(crate) fn pass(&self, bytes: usize) -> Option<Pin<Box<Sleep>>> {
        let limit = self.bytes_per_second.load(Ordering::Relaxed);
        if limit == 0 || bytes == 0 {
            return None;
        }
        let takes = Duration::from_secs_f64(bytes as f64 / limit as f64);
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = free_at.map_or_else(Instant::now, |at| at.max(Instant::now()));
        *free_at = Some(begins + takes);
        Some(Box::pin(tokio::time::sleep_until(begins + takes)))
    }
}
