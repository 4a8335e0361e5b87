//! When to look at what one waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use xenapi_types::{EventBatch, FailureExt};

use crate::client::Client;
use crate::error::Result;
use crate::event::WAIT;
use crate::follow::{Backoff, METHOD, meaning, poll};
use crate::session::Session;

/// How often to look when the server has no `event.from`.
const POLL: Duration = Duration::from_secs(1);

/// Tells when some objects may have changed.
///
/// A token is only ever used with the session it came with: a toolstack that was restarted counts anew, and
/// would be silent until it has caught up with an older token.
pub(crate) struct Pulse {
    client: Client,
    classes: Vec<String>,
    place: Option<(Arc<Session>, String)>,
    has_events: bool,
    backoff: Backoff,
}

/// What there is to do.
pub(crate) enum Beat {
    /// Anything may have happened: look.
    Look,
    /// This has happened.
    Changes(EventBatch),
}

impl Pulse {
    pub(crate) fn new(client: &Client, classes: Vec<String>) -> Self {
        let backoff = Backoff::default();
        Self { client: client.clone(), classes, place: None, has_events: true, backoff }
    }

    /// Waits for the next reason to look: after half a minute at most there is one. What happens after the
    /// first is told. It can be dropped at any time.
    ///
    /// # Errors
    /// As [`Client::call`]. The next call goes on where this one was.
    pub(crate) async fn next(&mut self) -> Result<Beat> {
        self.backoff.pause().await;
        self.beat().await.inspect_err(|_| self.backoff.lengthen())
    }

    async fn beat(&mut self) -> Result<Beat> {
        if !self.has_events {
            tokio::time::sleep(POLL).await;
            return Ok(Beat::Look);
        }
        let session = self.client.session_now().await?;
        let known = self.place.as_ref().filter(|(of, _)| Arc::ptr_eq(of, &session));
        let (token, wait) = known.map_or(("", Duration::ZERO), |(_, token)| (token, WAIT));
        let asked = Instant::now();
        match poll::<EventBatch>(&self.client, &session, &self.classes, token, wait).await? {
            Ok(batch) => {
                self.place = Some((session, batch.token.clone()));
                if !wait.is_zero() && !batch.events.is_empty() {
                    self.backoff.ease();
                    return Ok(Beat::Changes(batch));
                }
                // Something between us and XAPI does not wait.
                if !wait.is_zero() && asked.elapsed() < wait / 10 {
                    tokio::time::sleep(POLL / 4).await;
                }
            }
            Err(failure) if failure.is_method_unknown() => self.has_events = false,
            Err(failure) if meaning(&self.client, &session, &failure).is_some() => {
                self.place = None;
                self.backoff.lengthen();
            }
            Err(failure) => return Err(self.client.refuse(METHOD, &session, failure)),
        }
        Ok(Beat::Look)
    }
}
