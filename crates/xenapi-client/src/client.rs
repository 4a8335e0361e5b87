//! The client: calls with a session, on whichever host answers for the pool.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Body;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tower_service::Service;
use tracing::Instrument;
use xenapi_types::{FailureExt, Safety};
use xenapi_wire::{Call, Failure, Value};

use crate::config::Config;
use crate::connect::{Connect, Dialer, Network};
use crate::endpoint::Endpoint;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::http::Http;
use crate::redact::cut_out;
use crate::retry::{Attempts, RetryPolicy};
use crate::rpc::{Caller, Read, Rpc, Typed};
use crate::service::{Exchange, Over, RequestBody};
use crate::session::{Session, Sessions, closed};
use crate::task::{Carried, Held, Tasks};
use crate::tls::Tls;
use crate::transfer::{LOOK_FOR_HOLDERS, Queues, TransferQueue};

/// How many hosts are followed from one to the next before it is called a loop.
const MAX_HOPS: usize = 4;

/// How long a host has to let the client in, or a share of the call's time where that is less and there are other hosts
/// to try. XAPI takes seconds; a host whose storage hangs takes connections and says nothing.
const LOGIN_LIMIT: Duration = Duration::from_secs(60);

/// A client of one pool (or of one host, which is a pool of one).
///
/// Cloning is cheap and clones share everything: the session, the connections, the limits. Nothing
/// is sent before the first call, which logs in; a session that XAPI has forgotten is replaced, and
/// a member of the pool that refers to its coordinator is followed. Many calls may be made at once
/// from one client.
///
/// Dropping the future of a call closes its connection and leaves the outcome of the call open.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    deadline: Duration,
    retries: RetryPolicy,
    only_reads: bool,
    pub(crate) task_owner: Option<Arc<str>>,
    /// What the calls of this clone carry.
    pub(crate) task_mark: Carried,
}

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) rpc: Rpc,
    pub(crate) sessions: Sessions,
    pub(crate) tasks: Tasks,
    pub(crate) held_tasks: Held,
    pub(crate) transfers: Queues,
    permits: Semaphore,
}

/// Which of the calls in flight are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// An ordinary call.
    Call,
    /// A wait for events: it holds a connection for long and does nothing.
    Wait,
}

/// One call from its beginning to its end, whatever is sent for it.
#[derive(Debug)]
pub(crate) struct Course {
    under_way: AtomicBool,
    until: Instant,
}

impl Course {
    /// Whether something is under way: if it is not when the time is up, nothing has happened.
    pub(crate) fn under_way(&self, is: bool) {
        self.under_way.store(is, Ordering::Relaxed);
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

impl Client {
    /// A client over the network. Reads certificate files, but sends nothing yet.
    ///
    /// # Errors
    /// `Config` when the certificates to trust cannot be read.
    pub fn new(config: Config) -> Result<Self> {
        Self::over(config, Network)
    }

    /// A client over connections of another kind: a simulator in this process, a tunnel.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn over(config: Config, connector: impl Connect) -> Result<Self> {
        let needs_tls = !connector.is_private() && config.seeds.iter().any(Endpoint::is_tls);
        let client = Self::with(config, Arc::new(connector), None);
        if needs_tls {
            client.inner.rpc.http.dialer.tls.config()?;
        }
        Ok(client)
    }

    /// A client over a service of HTTP requests: one with layers of somebody else's, a gateway, a simulator
    /// without a port. The service gets absolute URIs and opens its own connections; the client keeps
    /// sessions, retries, tasks and transfers. [`Config::trust`] and [`Timeouts::connect`](crate::Timeouts)
    /// have no meaning then, and consoles, which take a connection over, are not to be had.
    ///
    /// A request that the service cannot take yet (`poll_ready`) is put off; an error of its answer counts as
    /// a connection that broke, after which the call may or may not have been carried out. Uploads need the
    /// head of the answer before the service has read the body, as HTTP/1.1 servers give it.
    ///
    /// The simulator as such a service, without a port:
    ///
    /// ```
    /// use std::pin::Pin;
    /// use std::sync::Arc;
    /// use std::task::{Context, Poll};
    ///
    /// use http::{Request, Response};
    /// use hyper::body::Incoming;
    /// use hyper::client::conn::http1;
    /// use hyper_util::rt::TokioIo;
    /// use tower_service::Service;
    /// use xapi_simulator::{Simulator, World};
    /// use xenapi_client::{Client, Config, RequestBody};
    /// use xenapi_types::Host;
    ///
    /// #[derive(Clone)]
    /// struct InProcess(Arc<Simulator>);
    ///
    /// impl Service<Request<RequestBody>> for InProcess {
    ///     type Response = Response<Incoming>;
    ///     type Error = hyper::Error;
    ///     type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;
    ///
    ///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
    ///         Poll::Ready(Ok(()))
    ///     }
    ///
    ///     fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
    ///         let pipe = TokioIo::new(self.0.connect());
    ///         Box::pin(async move {
    ///             // Which host it is for is in the URI; a server is asked by path.
    ///             let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    ///             *request.uri_mut() = path.parse().expect("a part of a URI");
    ///             let (mut sender, connection) = http1::handshake(pipe).await?;
    ///             tokio::spawn(connection);
    ///             sender.send_request(request).await
    ///         })
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let simulator = Simulator::builder().world(World::demo()).password("secret").build().await?;
    /// let config = Config::new("http://simulator", "root", "secret")?;
    /// let client = Client::over_service(config, InProcess(Arc::new(simulator)));
    /// assert_eq!(client.all::<Host>().await?.len(), 1);
    /// client.close().await?;
    /// # Ok(()) }
    /// ```
    pub fn over_service<S, B>(config: Config, service: S) -> Self
    where
        S: Service<http::Request<RequestBody>, Response = http::Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::with(config, Arc::new(Network), Some(Arc::new(Over::new(service))))
    }

    fn with(config: Config, connector: Arc<dyn Connect>, service: Option<Arc<dyn Exchange>>) -> Self {
        let tls = Arc::new(Tls::new(config.trust.clone()));
        let dialer = Dialer { connector, tls, timeout: config.timeouts.connect, service };
        let http = Http::new(dialer, config.limits.response_bytes);
        let rpc = Rpc::new(http, &config);
        let sessions = Sessions::new(config.seeds[0].clone());
        let permits = Semaphore::new(config.limits.concurrent_calls.max(1));
        let transfers = Queues::new(config.limits.transfers_per_host);
        let (deadline, retries) = (config.timeouts.call, config.retries);
        let (tasks, held_tasks) = (Tasks::default(), Held::default());
        let inner = Arc::new(Inner { config, rpc, sessions, tasks, held_tasks, transfers, permits });
        Self { inner, deadline, retries, only_reads: false, task_owner: None, task_mark: None }
    }

    /// [`Client::new`], and logs in at once.
    ///
    /// # Errors
    /// As [`Client::new`] and [`Client::login`].
    pub async fn connect(config: Config) -> Result<Self> {
        let client = Self::new(config)?;
        client.login().await?;
        Ok(client)
    }

    /// Logs in, unless that has been done: for those who want to know now.
    ///
    /// # Errors
    /// `Unreachable`, `Untrusted`, `Credentials`.
    pub async fn login(&self) -> Result<()> {
        self.session_now().await.map(drop)
    }

    /// Logs out and closes the connections that are not in use. Calls made afterwards, on clones
    /// too, end with `Closed`; so do those under way that need the session once more.
    ///
    /// A client that is dropped without this leaves its session to XAPI, which ends it after a day.
    ///
    /// # Errors
    /// When the host does not confirm the log-out. The client is closed all the same.
    pub async fn close(&self) -> Result<()> {
        let session = self.inner.sessions.close();
        let course = self.course();
        course.under_way(true);
        let ending = async {
            let (result, endpoint) = match &session {
                Some(session) => (self.log_out(session).await, session.endpoint.clone()),
                None => (Ok(()), self.endpoint()),
            };
            self.log_out_abandoned(&endpoint).await;
            result
        };
        let result = self.within("session.logout", &course, ending).await;
        self.inner.rpc.http.close_idle();
        result
    }

    /// This client with another deadline for each call instead of
    /// [`Timeouts::call`](crate::Timeouts::call).
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// This client with another patience for calls that failed instead of [`Config::retries`].
    #[must_use]
    pub fn with_retries(&self, retries: RetryPolicy) -> Self {
        Self { retries, ..self.clone() }
    }

    /// This client, but one that changes nothing: calls that are not known to only read ([`Safety::Reads`]) end with
    /// `Config` before anything is sent, and so do transfers, which need a task, and functions of plugins unless their
    /// names begin with `get_`. Sessions are begun and ended as ever.
    #[must_use]
    pub fn reading_only(&self) -> Self {
        Self { only_reads: true, ..self.clone() }
    }

    /// Refuses what changes something, where nothing is to be changed.
    pub(crate) fn check_reads(&self, method: &str) -> Result<()> {
        if self.only_reads && Safety::of(method) != Safety::Reads {
            let text = format!("{method} is not called: this client only reads");
            return Err(Error::new(ErrorKind::Config, text));
        }
        Ok(())
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The transfers of this client and its clones, under way and waiting, by host and direction.
    pub fn transfer_queues(&self) -> Vec<TransferQueue> {
        self.inner.transfers.snapshot()
    }

    /// The host that is spoken to: the coordinator once logged in, before that the first seed.
    pub fn endpoint(&self) -> Endpoint {
        self.inner.sessions.seat()
    }

    /// Makes a call.
    ///
    /// ```no_run
    /// # async fn example(client: xenapi_client::Client, vm: xenapi_wire::Ref<xenapi_types::Vm>) -> xenapi_client::Result<()> {
    /// client.call(xenapi_types::vm::Start { vm, start_paused: false, force: false }).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Failure` when XAPI refuses; else as [`ErrorKind`] tells.
    pub async fn call<C: Call>(&self, call: C) -> Result<C::Output> {
        self.invoke_as(C::METHOD, C::NEEDS_SESSION, &call, Typed::NEW).await
    }

    /// Makes any call by its name, with parameters as plain values; the session goes before them.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call_dynamic(&self, method: &str, params: &[Value]) -> Result<Value> {
        self.invoke(method, params).await
    }

    /// Makes any call by its name, with parameters that serialize as a sequence (a tuple, a slice)
    /// without the session, and a result of the type asked for.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn invoke<P: Serialize + Sync + ?Sized, T: DeserializeOwned>(
        &self,
        method: &str,
        params: &P,
    ) -> Result<T> {
        self.invoke_with(method, params, Typed::NEW).await
    }

    /// Calls a plugin, for whom it has been looked at already whether the function only reads.
    pub(crate) async fn invoke_plugin<P: Serialize + Sync + ?Sized>(&self, params: &P) -> Result<String> {
        self.invoke_unchecked("host.call_plugin", true, params, Typed::NEW).await
    }

    /// [`Client::invoke`], with something at hand while the result is read.
    pub(crate) async fn invoke_with<P: Serialize + Sync + ?Sized, T>(
        &self,
        method: &str,
        params: &P,
        read: impl Read<T>,
    ) -> Result<T> {
        self.invoke_as(method, true, params, read).await
    }

    async fn invoke_as<P: Serialize + Sync + ?Sized, T>(
        &self,
        method: &str,
        needs_session: bool,
        params: &P,
        read: impl Read<T>,
    ) -> Result<T> {
        self.check_reads(method)?;
        self.invoke_unchecked(method, needs_session, params, read).await
    }

    async fn invoke_unchecked<P: Serialize + Sync + ?Sized, T>(
        &self,
        method: &str,
        needs_session: bool,
        params: &P,
        read: impl Read<T>,
    ) -> Result<T> {
        let course = self.course();
        // On the heap: callers have many calls in one future, and each would take its 16 KiB there.
        let call = Box::pin(async {
            if needs_session {
                return self.with_session(method, params, read, Lane::Call, &course).await;
            }
            let mut attempts = Attempts::new(self.retries, Safety::of(method));
            loop {
                let error = match self.without_session(method, params, read, &course).await {
                    Ok(value) => return Ok(value),
                    Err(error) => error,
                };
                self.pause_before_next(&mut attempts, error, &course).await?;
            }
        });
        match self.within(method, &course, call).await {
            // What only reads needs no disk, and looking who holds one only reads: this ends, whatever a server says.
            Err(error) if Safety::of(method) != Safety::Reads => {
                Err(self.say_who_holds(error, course.left().min(LOOK_FOR_HOLDERS)).await)
            }
            result => result,
        }
    }

    /// The course of a call that begins now.
    pub(crate) fn course(&self) -> Course {
        Course { under_way: AtomicBool::new(false), until: Instant::now() + self.deadline }
    }

    /// Waits until a call that ended with `error` may be made again.
    ///
    /// # Errors
    /// `error`, when it may not.
    async fn pause_before_next(&self, attempts: &mut Attempts, error: Error, course: &Course) -> Result<()> {
        let Some(pause) = attempts.pause_after(&error, course.left()) else { return Err(error) };
        tracing::debug!(%error, pause_ms = pause.as_millis(), "the call is made again after a pause");
        tracing::Span::current().record("attempts", attempts.made() + 1);
        tokio::time::sleep(pause).await;
        Ok(())
    }

    async fn without_session<P: Serialize + Sync + ?Sized, T>(
        &self,
        method: &str,
        params: &P,
        read: impl Read<T>,
        course: &Course,
    ) -> Result<T> {
        let seat = self.inner.sessions.seat();
        let _permit = self.permit(Lane::Call).await?;
        course.under_way(true);
        let answer = self.inner.rpc.exchange(&seat, method, Caller::default(), params, read).await;
        course.under_way(false);
        match answer.map_err(|error| error.about(method))? {
            Ok(value) => Ok(value),
            Err(failure) => Err(Error::from_failure(failure).about(method).at(&seat)),
        }
    }

    /// Bounds a call in time and traces it.
    pub(crate) async fn within<T>(
        &self,
        method: &str,
        course: &Course,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let span = tracing::debug_span!(
            "xenapi.call",
            method,
            host = %self.endpoint(),
            outcome = tracing::field::Empty,
            duration_ms = tracing::field::Empty,
            attempts = 1,
            otel.kind = "client",
        );
        let started = Instant::now();
        let result = match tokio::time::timeout(course.left(), call.instrument(span.clone())).await {
            Ok(result) => result,
            Err(_) => Err(self.out_of_time(Safety::of(method), course).about(method).at(&self.endpoint())),
        };
        let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        span.record("duration_ms", millis);
        match &result {
            Ok(_) => span.record("outcome", "ok"),
            Err(error) => match error.failure() {
                Some(failure) => span.record("outcome", failure.code.as_str()),
                None => span.record("outcome", tracing::field::debug(error.kind())),
            },
        };
        result
    }

    fn out_of_time(&self, safety: Safety, course: &Course) -> Error {
        let time = format!("within {} s", self.deadline.as_secs_f32());
        if !course.under_way.load(Ordering::Relaxed) {
            Error::new(ErrorKind::Timeout, format!("it was not the call's turn {time}"))
        } else if safety.is_repeatable() {
            Error::new(ErrorKind::Timeout, format!("no answer {time}"))
        } else {
            let message = format!("no answer {time}, so the call may or may not have been carried out");
            Error::new(ErrorKind::OutcomeUnknown, message)
        }
    }

    /// A call with the session, made again as the policy says.
    pub(crate) async fn with_session<P: Serialize + Sync + ?Sized, T>(
        &self,
        method: &str,
        params: &P,
        read: impl Read<T>,
        lane: Lane,
        course: &Course,
    ) -> Result<T> {
        let mut attempts = Attempts::new(self.retries, Safety::of(method));
        loop {
            let error = match self.attempt(method, params, read, lane, course).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if error.kind() == ErrorKind::Unreachable && !self.inner.sessions.was_ever_open() {
                return Err(error);
            }
            self.pause_before_next(&mut attempts, error, course).await?;
        }
    }

    /// One attempt at a call, however many times its session or its host has to be replaced.
    ///
    /// XAPI checks the session and the host's role before it does anything, so a call that these
    /// turn away can be repeated whatever it does.
    async fn attempt<P: Serialize + Sync + ?Sized, T>(
        &self,
        method: &str,
        params: &P,
        read: impl Read<T>,
        lane: Lane,
        course: &Course,
    ) -> Result<T> {
        let mut logins_left = 1;
        let mut moves_left = 1;
        let mut hops = 0;
        loop {
            let session = self.session().await?;
            let permit = self.permit(lane).await?;
            course.under_way(true);
            let answer = self.exchange(&session, method, params, read).await;
            course.under_way(false);
            drop(permit);
            match answer {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(failure)) if session.is_refused_by(&failure) && logins_left > 0 => {
                    logins_left -= 1;
                    tracing::info!(host = %session.endpoint, "the session is gone, logging in again");
                    self.inner.sessions.forget(&session);
                }
                Ok(Err(failure)) => {
                    let Some(coordinator) = failure.host_is_slave() else {
                        return Err(self.refuse(method, &session, failure));
                    };
                    hops += 1;
                    if hops > MAX_HOPS {
                        return Err(loop_of_hosts(&session.endpoint).about(method));
                    }
                    self.inner.sessions.abandon(&session);
                    self.inner.sessions.move_to(session.endpoint.sibling(coordinator));
                }
                // Nothing was sent: another host may answer for the pool by now.
                Err(error)
                    if error.kind() == ErrorKind::Unreachable
                        && moves_left > 0
                        && self.inner.config.seeds.iter().any(|seed| *seed != session.endpoint) =>
                {
                    moves_left -= 1;
                    tracing::warn!(%error, "the host cannot be reached, trying the others");
                    self.inner.sessions.abandon(&session);
                }
                Err(error) => return Err(error.about(method)),
            }
        }
    }

    /// Ends the sessions that were given up when a host could not be reached or was no coordinator any more:
    /// the pool may know them still, and a process that runs for a year must not gather them.
    async fn log_out_abandoned(&self, coordinator: &Endpoint) {
        while let Some(old) = self.inner.sessions.take_abandoned() {
            let old = Session::new(coordinator.clone(), old.reference.expose().to_owned());
            if let Err(error) = soon(LOGIN_LIMIT, coordinator, self.log_out(&old)).await {
                tracing::debug!(%error, "a session that was given up stays behind");
            }
        }
    }

    pub(crate) async fn log_out(&self, session: &Session) -> Result<()> {
        const METHOD: &str = "session.logout";
        match self
            .exchange(session, METHOD, &(), Typed::<()>::NEW)
            .await
            .map_err(|error| error.about(METHOD))?
        {
            // A session that is gone already is what was wanted.
            Err(failure) if !failure.is_session_invalid() => Err(self.refuse(METHOD, session, failure)),
            _ => Ok(()),
        }
    }

    pub(crate) async fn exchange<P: Serialize + Sync + ?Sized, T>(
        &self,
        session: &Session,
        method: &str,
        params: &P,
        read: impl Read<T>,
    ) -> Result<Result<T, Failure>> {
        let caller = Caller { session: Some(session.reference.expose()), mark: self.task_mark.as_deref() };
        self.inner.rpc.exchange(&session.endpoint, method, caller, params, read).await
    }

    pub(crate) fn refuse(&self, method: &str, session: &Session, failure: Failure) -> Error {
        Error::from_failure(session.redact(failure)).about(method).at(&session.endpoint)
    }

    async fn permit(&self, lane: Lane) -> Result<Option<tokio::sync::SemaphorePermit<'_>>> {
        match lane {
            Lane::Wait => Ok(None),
            Lane::Call => self.inner.permits.acquire().await.map(Some).map_err(|_| closed()),
        }
    }

    /// The session, logged in if there is none. One log-in at a time, whoever needs it.
    pub(crate) async fn session(&self) -> Result<Arc<Session>> {
        if let Some(session) = self.inner.sessions.current()? {
            return Ok(session);
        }
        // On the heap: each call has this in its frame, and seldom goes this way.
        Box::pin(self.log_in_anywhere()).await
    }

    async fn log_in_anywhere(&self) -> Result<Arc<Session>> {
        let _turn = self.inner.sessions.login_turn().await?;
        if let Some(session) = self.inner.sessions.current()? {
            return Ok(session);
        }
        let seat = self.inner.sessions.seat();
        let others = self.inner.config.seeds.iter().filter(|seed| **seed != seat);
        let candidates: Vec<Endpoint> = std::iter::once(&seat).chain(others).cloned().collect();
        let limit = match u32::try_from(candidates.len()) {
            Ok(1) | Err(_) => LOGIN_LIMIT,
            Ok(several) => LOGIN_LIMIT.min(self.deadline / several),
        };
        let mut first_error = None;
        for candidate in candidates {
            match soon(limit, &candidate.clone(), self.login_at(candidate)).await {
                Ok(session) => {
                    return match self.inner.sessions.install(session) {
                        Ok(session) => {
                            self.log_out_abandoned(&session.endpoint).await;
                            Ok(session)
                        }
                        Err(session) => {
                            // Closed while this went on: no session must stay behind.
                            soon(limit, &session.endpoint, self.log_out(&session)).await?;
                            self.log_out_abandoned(&session.endpoint).await;
                            Err(closed())
                        }
                    };
                }
                Err(error) if error.kind() == ErrorKind::Unreachable => {
                    tracing::warn!(%error, "log-in failed, trying the next address");
                    first_error.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(first_error.unwrap_or_else(|| Error::new(ErrorKind::Config, "no host is configured")))
    }

    pub(crate) async fn login_at(&self, first: Endpoint) -> Result<Session> {
        const METHOD: &str = "session.login_with_password";
        let config = &self.inner.config;
        let mut endpoint = first;
        for _ in 0..=MAX_HOPS {
            let params = [config.user.as_str(), config.password.expose(), "1.0", &config.originator];
            let answer: Result<String, Failure> = self
                .inner
                .rpc
                .exchange(&endpoint, METHOD, Caller::default(), &params, Typed::NEW)
                .await
                .map_err(|error| error.about(METHOD))?;
            let answer = answer.map_err(|failure| cut_out(&config.password, failure, "(the password)"));
            match answer {
                Ok(reference) => return Ok(Session::new(endpoint, reference)),
                Err(failure) if failure.host_is_slave().is_some() => {
                    let coordinator = endpoint.sibling(failure.host_is_slave().unwrap_or_default());
                    tracing::info!(member = %endpoint, %coordinator, "following to the pool's coordinator");
                    endpoint = coordinator;
                }
                Err(failure) if failure.is_authentication_failed() => {
                    return Err(Error::new(
                        ErrorKind::Credentials,
                        format!("user {:?} cannot log in: {}", config.user, failure.param(1)),
                    )
                    .remedy("check user and password")
                    .with_failure(Some(failure))
                    .at(&endpoint));
                }
                Err(failure) => {
                    let error = Error::from_failure(failure);
                    return Err(error.about(format!("log-in of user {:?}", config.user)).at(&endpoint));
                }
            }
        }
        Err(loop_of_hosts(&endpoint).about(METHOD))
    }
}

/// Something that a host does at once when it does anything.
async fn soon<T>(limit: Duration, host: &Endpoint, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let message = format!("it takes connections and does not answer within {} s", limit.as_secs_f32());
        Err(Error::new(ErrorKind::Unreachable, message)
            .remedy("check its toolstack (xapi) and storage")
            .at(host))
    })
}

fn loop_of_hosts(last: &Endpoint) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!("{MAX_HOPS} hosts in a row named another one as their coordinator"),
    )
    .remedy("check the state of the pool")
    .at(last)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint())
            .field("user", &self.inner.config.user)
            .finish_non_exhaustive()
    }
}
