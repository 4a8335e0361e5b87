//! Following `event.from` for as long as a program runs.
//!
//! ```text
//!            inject                    event.from
//! Lost ───────────────► At{session, token} ───────────────► batch, At{session, next token}
//!   ▲                        │
//!   └── see ResyncCause ─────┘           connection lost, server busy: a pause, the same token again
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use xenapi_types::{EventBatch, FailureExt, Pool, Retry, event};
use xenapi_wire::{Failure, Ref};

use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::event::WAIT;
use crate::retry::{jittered, mean_pause};
use crate::rpc::Typed;
use crate::session::Session;

/// Why everything that was read from the pool may be outdated and has to be read again.
///
/// | Cause | When |
/// |---|---|
/// | `Start` | nothing has been read yet |
/// | `EventsLost` | XAPI says that it cannot tell what changed (`EVENTS_LOST`) |
/// | `TokenRefused` | XAPI does not understand the token (`EVENT_FROM_TOKEN_PARSE_FAILURE`) |
/// | `TokenAhead` | the server's database is older than the token: it would be silent until it has caught up |
/// | `SessionReplaced` | the session ended: it expired, somebody logged it out, or the toolstack was restarted, after which tasks are gone without an event and an older database may be in use |
/// | `CoordinatorChanged` | another host speaks for the pool |
/// | `Unreadable` | the events came in a form that cannot be read, or are more than [`Limits::response_bytes`](crate::Limits::response_bytes) |
///
/// A connection that breaks is no cause: sessions do not outlive the toolstack, so as long as the
/// session is valid, so is the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResyncCause {
    /// Nothing has been read yet.
    Start,
    /// XAPI says that it cannot tell what changed.
    EventsLost,
    /// XAPI does not understand the token.
    TokenRefused,
    /// The server's database is older than the token.
    TokenAhead,
    /// The session ended and was replaced.
    SessionReplaced,
    /// Another host speaks for the pool.
    CoordinatorChanged,
    /// The events cannot be read.
    Unreadable,
}

impl fmt::Display for ResyncCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "nothing has been read yet",
            Self::EventsLost => "the server lost events",
            Self::TokenRefused => "the server does not understand the token",
            Self::TokenAhead => "the server's database is older than what was read",
            Self::SessionReplaced => "the session ended, as when the toolstack restarts",
            Self::CoordinatorChanged => "another host speaks for the pool",
            Self::Unreadable => "the events cannot be read",
        })
    }
}

/// What [`Events::next`] tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// What was read before may be outdated: read again what you need. What changes from now on is
    /// told, so there is no gap between this and the reading.
    Resync(ResyncCause),
    /// What has changed.
    Changes(EventBatch),
}

/// The changes in a pool, followed across lost connections, sessions and coordinators.
///
/// ```no_run
/// # async fn example(client: xenapi_client::Client) -> xenapi_client::Result<()> {
/// use xenapi_client::Update;
/// use xenapi_types::Vm;
///
/// let mut events = client.follow(&["VM"]);
/// let mut vms = std::collections::BTreeMap::new();
/// loop {
///     match events.next().await? {
///         Update::Resync(_) => vms = client.all_records::<Vm>().await?,
///         Update::Changes(batch) => {
///             for event in batch.events {
///                 let Some(vm) = event.object::<Vm>() else { continue };
///                 match event.record::<Vm>() {
///                     Some(Ok(record)) => drop(vms.insert(vm, record)),
///                     _ => drop(vms.remove(&vm)),
///                 }
///             }
///         }
///     }
/// }
/// # }
/// ```
///
/// What [`Cache`](crate::Cache) does beyond this: it notices objects that vanished without an event,
/// among them those that were made and destroyed while the records were read.
#[derive(Debug)]
pub struct Events(Follower<EventBatch>);

impl Client {
    /// Follows the changes of classes: names of classes, `VM/OpaqueRef:…` for one object, or `*`.
    /// Nothing is sent before the first [`Events::next`].
    pub fn follow(&self, classes: &[&str]) -> Events {
        Events(Follower::new(self, classes.iter().map(|&class| class.to_owned()).collect()))
    }

    /// The session that calls are made with now.
    pub(crate) async fn session_now(&self) -> Result<Arc<Session>> {
        let course = self.course();
        course.under_way(true);
        self.within("session.login_with_password", &course, self.session()).await
    }
}

impl Events {
    /// Waits for the next changes, however long it takes; the first answer is a
    /// [`Update::Resync`]. The wait has a connection of its own and keeps the session alive.
    ///
    /// Dropping the future loses nothing: the next one goes on from the same place. Errors that may
    /// pass are waited out with growing pauses of up to half a minute; they are logged.
    ///
    /// # Errors
    /// Those that will not pass by themselves: `Closed`, `Config`, `Credentials`, `Untrusted`, and a
    /// role that does not allow the call. Calling again tries again.
    pub async fn next(&mut self) -> Result<Update> {
        loop {
            match self.0.next(WAIT).await? {
                Step::Resync(cause) => return Ok(Update::Resync(cause)),
                Step::Batch(batch) if batch.events.is_empty() => {}
                Step::Batch(batch) => return Ok(Update::Changes(batch)),
                Step::Trouble(error) => {
                    tracing::warn!(%error, "cannot follow the pool's events, trying again");
                }
            }
        }
    }
}

/// What a follower has to know of the answers it reads.
pub(crate) trait Batch: DeserializeOwned {
    fn token(&self) -> &str;
    fn is_empty(&self) -> bool;
}

impl Batch for EventBatch {
    fn token(&self) -> &str {
        &self.token
    }

    fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// One step of following.
#[derive(Debug)]
pub(crate) enum Step<B> {
    Resync(ResyncCause),
    Batch(B),
    /// Something that may pass. The next step begins with a pause.
    Trouble(Error),
}

pub(crate) struct Follower<B> {
    client: Client,
    classes: Vec<String>,
    place: Place,
    pool: Ref<Pool>,
    /// Whether to ask the server where it is before its silence is believed.
    suspicious: bool,
    /// Since when the server has been silent.
    silent_since: Instant,
    backoff: Backoff,
    batch: PhantomData<fn() -> B>,
}

enum Place {
    Lost(ResyncCause),
    At { session: Arc<Session>, token: String },
}

pub(crate) const METHOD: &str = "event.from";

/// How long an answer may take beyond the wait that was asked for.
const PATIENCE: Duration = Duration::from_secs(60);

/// After how long a silence the server is asked whether it is behind our token.
const MAX_SILENCE: Duration = Duration::from_secs(300);

impl<B: Batch> Follower<B> {
    pub(crate) fn new(client: &Client, classes: Vec<String>) -> Self {
        Self {
            client: client.clone(),
            classes,
            place: Place::Lost(ResyncCause::Start),
            pool: Ref::NULL,
            suspicious: false,
            silent_since: Instant::now(),
            backoff: Backoff::default(),
            batch: PhantomData,
        }
    }

    /// The pool, known after the first `Resync`.
    pub(crate) fn pool(&self) -> &Ref<Pool> {
        &self.pool
    }

    /// The session to which the token belongs.
    pub(crate) fn session(&self) -> Option<&Arc<Session>> {
        match &self.place {
            Place::At { session, .. } => Some(session),
            Place::Lost(_) => None,
        }
    }

    /// The next step, after at most `wait` and the pause that earlier trouble has earned. It can be
    /// dropped at any time.
    ///
    /// # Errors
    /// Those that do not pass.
    pub(crate) async fn next(&mut self, wait: Duration) -> Result<Step<B>> {
        self.backoff.pause().await;
        match self.step(wait).await {
            Ok(step) => Ok(step),
            Err(error) if is_final(&error) => Err(error),
            Err(error) => {
                self.trouble();
                Ok(Step::Trouble(error))
            }
        }
    }

    /// Makes the next step begin with a pause.
    pub(crate) fn trouble(&mut self) {
        self.suspicious = true;
        self.backoff.lengthen();
    }

    async fn step(&mut self, wait: Duration) -> Result<Step<B>> {
        let now = self.client.session_now().await?;
        let (session, token) = match &self.place {
            Place::Lost(cause) => {
                let cause = *cause;
                return self.begin(cause).await;
            }
            Place::At { session, token } if Arc::ptr_eq(session, &now) => (now, token.clone()),
            Place::At { session, .. } => {
                let cause = replaced(session, &self.client);
                return self.lose(cause).await;
            }
        };
        if self.suspicious {
            let here = self.inject().await?;
            // That call may have replaced the session, or found another host.
            if !self.is_current(&session)? {
                return self.lose(replaced(&session, &self.client)).await;
            }
            self.suspicious = false;
            self.silent_since = Instant::now();
            if here.is_some_and(|here| is_after(&token, &here)) {
                return self.lose(ResyncCause::TokenAhead).await;
            }
        }
        let asked = Instant::now();
        let batch = match poll::<B>(&self.client, &session, &self.classes, &token, wait).await {
            Ok(Ok(batch)) => batch,
            Ok(Err(failure)) => match meaning(&self.client, &session, &failure) {
                Some(cause) => return self.lose(cause).await,
                None => return Err(self.client.refuse(METHOD, &session, failure)),
            },
            Err(error) => {
                if error.kind() == ErrorKind::Protocol {
                    self.place = Place::Lost(ResyncCause::Unreadable);
                }
                return Err(error);
            }
        };
        if is_after(&token, batch.token()) {
            return self.lose(ResyncCause::TokenAhead).await;
        }
        self.place = Place::At { session, token: batch.token().to_owned() };
        if !batch.is_empty() {
            self.silent_since = Instant::now();
        } else if !wait.is_zero() && asked.elapsed() < wait / 10 {
            // Something between us and XAPI does not wait.
            self.backoff.lengthen();
        } else if self.silent_since.elapsed() > MAX_SILENCE {
            self.suspicious = true;
        }
        self.backoff.ease();
        Ok(Step::Batch(batch))
    }

    /// Begins anew, after the pause that a server needs which makes us do so again and again.
    async fn lose(&mut self, cause: ResyncCause) -> Result<Step<B>> {
        tracing::info!(%cause, host = %self.client.endpoint(), "reading the pool again");
        self.place = Place::Lost(cause);
        self.backoff.lengthen();
        self.backoff.pause().await;
        self.begin(cause).await
    }

    /// Takes a place in the server's history from which nothing will be missed.
    async fn begin(&mut self, cause: ResyncCause) -> Result<Step<B>> {
        let session = self.client.session_now().await?;
        let pools = self.client.all::<Pool>().await?;
        self.pool = pools.into_iter().next().ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the server has no pool").at(&self.client.endpoint())
        })?;
        // Without event.inject, everything comes as the first events.
        let token = self.inject().await?.unwrap_or_default();
        if !self.is_current(&session)? {
            let error = Error::new(ErrorKind::Unreachable, "the session ended at once");
            return Err(error.at(&self.client.endpoint()));
        }
        self.place = Place::At { session, token };
        self.suspicious = false;
        self.silent_since = Instant::now();
        Ok(Step::Resync(cause))
    }

    /// The server's place in its history, or `None` when it is too old to tell.
    async fn inject(&self) -> Result<Option<String>> {
        place_of(&self.client, &self.pool).await
    }

    fn is_current(&self, session: &Arc<Session>) -> Result<bool> {
        let now = self.client.inner.sessions.current()?;
        Ok(now.is_some_and(|now| Arc::ptr_eq(&now, session)))
    }
}

impl<B> fmt::Debug for Follower<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = match &self.place {
            Place::Lost(cause) => Some(cause),
            Place::At { .. } => None,
        };
        f.debug_struct("Follower")
            .field("classes", &self.classes)
            .field("lost", &lost)
            .finish_non_exhaustive()
    }
}

/// Asks for events with this session and no other: another one may be of another database.
pub(crate) async fn poll<B: DeserializeOwned>(
    client: &Client,
    session: &Session,
    classes: &[String],
    token: &str,
    wait: Duration,
) -> Result<Result<B, Failure>> {
    let patient = client.with_deadline(wait + PATIENCE);
    let params = (classes, token, wait.as_secs_f64());
    let course = patient.course();
    let answer = async {
        course.under_way(true);
        patient.exchange(session, METHOD, &params, Typed::NEW).await.map_err(|error| error.about(METHOD))
    };
    patient.within(METHOD, &course, answer).await
}

/// What a failure says about a place in the server's history, if it does.
pub(crate) fn meaning(client: &Client, session: &Arc<Session>, failure: &Failure) -> Option<ResyncCause> {
    let sessions = &client.inner.sessions;
    match failure.retry() {
        Retry::LogIn => {
            sessions.forget(session);
            Some(ResyncCause::SessionReplaced)
        }
        Retry::Coordinator(address) => {
            sessions.abandon(session);
            sessions.move_to(session.endpoint.sibling(&address));
            Some(ResyncCause::CoordinatorChanged)
        }
        Retry::Resync if failure.code == "EVENT_FROM_TOKEN_PARSE_FAILURE" => Some(ResyncCause::TokenRefused),
        Retry::Resync => Some(ResyncCause::EventsLost),
        _ => None,
    }
}

/// The server's place in its history, as a token; `None` when it has no `event.inject` (before
/// XenServer 6.1). Makes an event of the pool.
pub(crate) async fn place_of(client: &Client, pool: &Ref<Pool>) -> Result<Option<String>> {
    let inject = event::Inject { class: "pool".to_owned(), r#ref: pool.to_string() };
    match client.call(inject).await {
        Ok(token) => Ok(Some(token)),
        Err(error) if error.failure().is_some_and(FailureExt::is_method_unknown) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the first token is of a later state of the objects than the second.
///
/// Tokens are two decimal numbers, of the objects and of the messages; XAPI gives the second as zero
/// when it injects an event. Of tokens in another form nothing is claimed.
pub(crate) fn is_after(token: &str, other: &str) -> bool {
    let objects = |token: &str| token.split_once(',').and_then(|(objects, _)| objects.parse::<u64>().ok());
    matches!((objects(token), objects(other)), (Some(token), Some(other)) if token > other)
}

fn replaced(session: &Session, client: &Client) -> ResyncCause {
    if session.endpoint == client.endpoint() {
        ResyncCause::SessionReplaced
    } else {
        ResyncCause::CoordinatorChanged
    }
}

/// Whether there is no use in trying again: accounts get locked, and certificates need a person.
pub(crate) fn is_final(error: &Error) -> bool {
    use ErrorKind::{Closed, Config, Credentials, Untrusted};
    matches!(error.kind(), Closed | Config | Credentials | Untrusted)
        || error.failure().is_some_and(FailureExt::is_permission_denied)
}

/// Pauses that grow with trouble: a quarter of a second doubled up to half a minute, each made longer
/// or shorter by up to a half, so that many clients of one server do not come back together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    level: u32,
    until: Option<Instant>,
    troubled: Option<Instant>,
}

impl Backoff {
    const SHORTEST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(30);

    pub(crate) fn lengthen(&mut self) {
        let pause = jittered(self.mean());
        let now = Instant::now();
        (self.level, self.until, self.troubled) = ((self.level + 1).min(16), Some(now + pause), Some(now));
    }

    fn mean(&self) -> Duration {
        mean_pause(Self::SHORTEST, Self::LONGEST, self.level)
    }

    /// After a success: trouble counts as past when there has been none for several pauses.
    pub(crate) fn ease(&mut self) {
        if self.troubled.is_some_and(|troubled| troubled.elapsed() > self.mean() * 4) {
            *self = Self::default();
        }
    }

    /// Waits out what is left of the pause; dropped and begun again, it ends at the same moment.
    pub(crate) async fn pause(&self) {
        if let Some(until) = self.until {
            tokio::time::sleep_until(until.into()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_compared_by_their_first_number() {
        let after = |a, b| is_after(a, b);
        assert!(after(
            "00000000000000000458,00000000000000000000",
            "00000000000000000457,00000000000000000009"
        ));
        assert!(!after(
            "00000000000000000458,00000000000000000007",
            "00000000000000000458,00000000000000000000"
        ));
        assert!(after("10,0", "9,0"));
        assert!(!after("", "9,0") && !after("10,0", "") && !after("x,y", "1,0"));
    }

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        let mut backoff = Backoff::default();
        let mut pauses = Vec::new();
        for _ in 0..40 {
            backoff.lengthen();
            pauses.push(backoff.until.unwrap() - backoff.troubled.unwrap());
        }
        assert!(pauses[0] >= Backoff::SHORTEST / 2 && pauses[0] <= Backoff::SHORTEST * 3 / 2);
        assert!(pauses.iter().all(|pause| *pause <= Backoff::LONGEST * 3 / 2));
        assert!(pauses[20..].iter().all(|pause| *pause >= Backoff::LONGEST / 2));
        pauses[20..].sort_unstable();
        assert!(pauses[20] != pauses[39]);
        backoff.ease();
        assert!(backoff.level > 0);
    }
}
