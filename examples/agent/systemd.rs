//! What systemd is told: that the agent is ready, how it is, and that it ends.

use std::convert::Infallible;
use std::net::SocketAddr;

use sd_notify::NotifyState;

use crate::serve;

/// Does nothing unless systemd has started it. Nothing depends on whether it hears.
pub(crate) fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told anything");
    }
}

/// Where systemd watches: asks the agent's own page, twice in the time that systemd waits. An agent that has lost its pool
/// for a while answers and says so; to start it anew would not bring the pool back. One that will not follow it again ends.
pub(crate) async fn tell_how_it_is(address: SocketAddr) -> Infallible {
    let Some(patience) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut timer = tokio::time::interval(patience / 2);
    loop {
        timer.tick().await;
        match serve::health(address).await {
            Ok(health) => {
                let status = health.unwrap_or_else(|why| format!("the pool is not followed: {why}"));
                tell(&[NotifyState::Status(&status), NotifyState::Watchdog]);
            }
            Err(error) => tracing::warn!(error = format!("{error:#}"), "the agent does not answer itself"),
        }
    }
}
