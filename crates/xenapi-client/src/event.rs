//! What changes in the pool: `event.from`, and waiting for an object to get where it should be.

use std::time::{Duration, Instant};

use xenapi_types::{EventBatch, FailureExt, Retry};
use xenapi_wire::{Class, Ref};

use crate::client::{Client, Lane};
use crate::error::{Error, ErrorKind, Result};
use crate::pulse::Pulse;
use crate::retry::{jittered, mean_pause};
use crate::rpc::Typed;

/// How long one wait for events is at most. Long ones cost nothing; short ones notice sooner what
/// XAPI sends no event for.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

impl Client {
    /// Waits for changes after `token`, up to `timeout`; then the batch may be empty. With the
    /// empty token everything that there is comes at once, as added.
    ///
    /// Several changes of one object are one event, an object that came and went is none. Sessions
    /// and tasks vanish without events when the toolstack restarts: `valid_ref_counts` tells.
    ///
    /// `classes` are names of classes, `VM/OpaqueRef:…` for one object, or `*`. A wait has a
    /// connection of its own and does not count among the concurrent calls. It can be dropped and
    /// repeated with the same token without losing anything.
    ///
    /// # Errors
    /// `EVENTS_LOST` and `EVENT_FROM_TOKEN_PARSE_FAILURE` mean: read everything again and begin
    /// with the empty token.
    pub async fn events_from(&self, classes: &[&str], token: &str, timeout: Duration) -> Result<EventBatch> {
        const METHOD: &str = "event.from";
        let patient = self.with_deadline(timeout + Duration::from_secs(60));
        let params = (classes, token, timeout.as_secs_f64());
        let course = patient.course();
        let call = patient.with_session(METHOD, &params, Typed::NEW, Lane::Wait, &course);
        patient.within(METHOD, &course, call).await
    }

    /// Waits until the record of an object fulfils a condition, and gives back that record.
    ///
    /// ```no_run
    /// # async fn example(client: xenapi_client::Client, vm: xenapi_wire::Ref<xenapi_types::Vm>) -> xenapi_client::Result<()> {
    /// use std::time::Duration;
    /// let patience = Duration::from_secs(600);
    /// let record = client.wait_until(&vm, patience, |vm| vm.resident_on.is_null()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `NotFound` when the object is gone, `Timeout` when `patience` is at its end.
    pub async fn wait_until<C: Class>(
        &self,
        object: &Ref<C>,
        patience: Duration,
        mut condition: impl FnMut(&C::Record) -> bool,
    ) -> Result<C::Record> {
        let watching = async {
            let mut watch = Watch::new(self, object.clone());
            while let Some(record) = watch.next().await? {
                if condition(&record) {
                    return Ok(record);
                }
            }
            let message = "it was destroyed while it was waited for";
            Err(Error::new(ErrorKind::NotFound, message).about(name(object)).at(&self.endpoint()))
        };
        tokio::time::timeout(patience, watching).await.unwrap_or_else(|_| {
            let message = format!("not in the state waited for after {} s", patience.as_secs_f32());
            Err(Error::new(ErrorKind::Timeout, message).about(name(object)).at(&self.endpoint()))
        })
    }
}

/// How an object is named in an error.
pub(crate) fn name<C: Class>(object: &Ref<C>) -> String {
    format!("{} {object}", C::NAME)
}

/// The records of one object, whenever it may have changed.
///
/// Events only say when to look, and the first look is before any wait: XAPI lets one wait in vain for an
/// unknown object.
struct Watch<C: Class> {
    client: Client,
    object: Ref<C>,
    pulse: Pulse,
    looked: bool,
    patience: Patience,
}

impl<C: Class> Watch<C> {
    fn new(client: &Client, object: Ref<C>) -> Self {
        let pulse = Pulse::new(client, vec![format!("{}/{object}", C::NAME)]);
        let patience = Patience::new(client);
        Self { client: client.clone(), object, pulse, looked: false, patience }
    }

    /// The record now, at once the first time; `None` when the object is gone.
    async fn next(&mut self) -> Result<Option<C::Record>> {
        if std::mem::replace(&mut self.looked, true) {
            // Trouble is a reason to look too, and the look bears it or does not.
            if let Err(error) = self.pulse.next().await {
                tracing::debug!(%error, object = name(&self.object), "its events cannot be followed");
            }
        }
        loop {
            let record = self.client.record_opt(&self.object).await;
            if let Some(record) = self.patience.with(record).await? {
                return Ok(record);
            }
        }
    }
}

/// How long trouble with the network is put up with: for
/// [`Timeouts::reconnect`](crate::Timeouts::reconnect).
pub(crate) struct Patience {
    client: Client,
    trouble_since: Option<Instant>,
    pauses: u32,
}

impl Patience {
    const FIRST_PAUSE: Duration = Duration::from_millis(250);
    const LONGEST_PAUSE: Duration = Duration::from_secs(10);

    pub(crate) fn new(client: &Client) -> Self {
        Self { client: client.clone(), trouble_since: None, pauses: 0 }
    }

    /// An answer, or `None` after a pause when it has to be asked for again.
    ///
    /// # Errors
    /// Those that do not pass, or have not passed for too long.
    pub(crate) async fn with<T>(&mut self, answer: Result<T>) -> Result<Option<T>> {
        let error = match answer {
            Ok(answer) => {
                (self.trouble_since, self.pauses) = (None, 0);
                return Ok(Some(answer));
            }
            Err(error) => error,
        };
        let passing = matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout)
            || error.failure().is_some_and(|failure| failure.retry() == Retry::Later);
        let since = *self.trouble_since.get_or_insert_with(Instant::now);
        if !passing || since.elapsed() >= self.client.inner.config.timeouts.reconnect {
            return Err(error);
        }
        tracing::debug!(%error, "the host does not answer, looking again");
        tokio::time::sleep(jittered(mean_pause(Self::FIRST_PAUSE, Self::LONGEST_PAUSE, self.pauses))).await;
        self.pauses += 1;
        Ok(None)
    }
}
