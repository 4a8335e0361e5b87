//! The one session that a client has, and the host that it is with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secret::Secret;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use xenapi_types::{FailureExt, Host};
use xenapi_wire::{Failure, Ref};

use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::redact::{Secrets, cut_out};

/// A session: its reference is the key to the pool, so it is kept like a password.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) endpoint: Endpoint,
    pub(crate) reference: Secret,
    /// The host that the session is with, once somebody has asked.
    pub(crate) coordinator: OnceCell<Option<Ref<Host>>>,
}

impl Session {
    pub(crate) fn new(endpoint: Endpoint, reference: String) -> Self {
        Self { endpoint, reference: reference.into(), coordinator: OnceCell::new() }
    }

    /// Whether this failure is XAPI's not knowing this session, rather than another one that a
    /// call was about.
    pub(crate) fn is_refused_by(&self, failure: &Failure) -> bool {
        failure.is_session_invalid() && failure.param(0) == self.reference.expose()
    }

    /// What a page that answers to this session may repeat.
    pub(crate) fn secrets(&self) -> Secrets {
        Secrets::default().and_session(self.reference.expose())
    }

    /// The failure without the session's reference, which XAPI puts into some.
    pub(crate) fn redact(&self, failure: Failure) -> Failure {
        cut_out(&self.reference, failure, "(this session)")
    }
}

/// The state of being logged in.
///
/// ```text
/// none --login--> current --SESSION_INVALID, HOST_IS_SLAVE, unreachable--> none
///                            (the last two: logged out after the next login)
///   \________________\____________close____________> closed
/// ```
pub(crate) struct Sessions {
    state: Mutex<State>,
    login: Semaphore,
}

struct State {
    seat: Endpoint,
    current: Option<Arc<Session>>,
    /// Sessions that were given up although XAPI may still know them.
    abandoned: Vec<Arc<Session>>,
    ever: bool,
    closed: bool,
}

impl Sessions {
    pub(crate) fn new(seat: Endpoint) -> Self {
        let state = State { seat, current: None, abandoned: Vec::new(), ever: false, closed: false };
        Self { state: Mutex::new(state), login: Semaphore::new(1) }
    }

    pub(crate) fn seat(&self) -> Endpoint {
        self.lock().seat.clone()
    }

    pub(crate) fn current(&self) -> Result<Option<Arc<Session>>> {
        let state = self.lock();
        if state.closed {
            return Err(closed());
        }
        Ok(state.current.clone())
    }

    /// Whether there has been a session: then the address and the password are right.
    pub(crate) fn was_ever_open(&self) -> bool {
        self.lock().ever
    }

    /// Waits for the turn to log in.
    pub(crate) async fn login_turn(&self) -> Result<SemaphorePermit<'_>> {
        self.login.acquire().await.map_err(|_| closed())
    }

    /// Takes a new session, or gives it back when all has ended meanwhile.
    pub(crate) fn install(&self, session: Session) -> Result<Arc<Session>, Arc<Session>> {
        let session = Arc::new(session);
        let mut state = self.lock();
        if state.closed {
            return Err(session);
        }
        state.seat = session.endpoint.clone();
        state.current = Some(Arc::clone(&session));
        state.ever = true;
        Ok(session)
    }

    /// Gives up `session`, which XAPI does not know any more, unless another one has taken its place already.
    pub(crate) fn forget(&self, session: &Arc<Session>) {
        self.lock().give_up(session);
    }

    /// Gives up `session`, which XAPI may still know: it is to be logged out when there is another one.
    pub(crate) fn abandon(&self, session: &Arc<Session>) {
        let mut state = self.lock();
        let given_up = state.give_up(session);
        state.abandoned.extend(given_up);
    }

    /// One of the sessions to log out that no call is made with any more.
    pub(crate) fn take_abandoned(&self) -> Option<Arc<Session>> {
        let abandoned = &mut self.lock().abandoned;
        let at = abandoned.iter().position(|session| Arc::strong_count(session) == 1)?;
        Some(abandoned.swap_remove(at))
    }

    /// Logs in elsewhere next time.
    pub(crate) fn move_to(&self, seat: Endpoint) {
        self.lock().seat = seat;
    }

    /// Ends it all, and gives back the session to log out.
    pub(crate) fn close(&self) -> Option<Arc<Session>> {
        self.login.close();
        let mut state = self.lock();
        state.closed = true;
        state.current.take()
    }

    /// The present session's reference, which pages may repeat.
    pub(crate) fn secrets(&self) -> Secrets {
        self.lock().current.as_ref().map_or_else(Secrets::default, |session| session.secrets())
    }

    /// A failure that came without its session at hand, without the present session in it.
    pub(crate) fn redact(&self, failure: Failure) -> Failure {
        match &self.lock().current {
            Some(session) => session.redact(failure),
            None => failure,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn give_up(&mut self, session: &Arc<Session>) -> Option<Arc<Session>> {
        self.current.take_if(|current| Arc::ptr_eq(current, session))
    }
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the client is closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_never_shows_the_session() {
        let session = Session::new("http://h".parse().unwrap(), "OpaqueRef:s".to_owned());
        let failure = Failure::new("SESSION_INVALID", ["OpaqueRef:s"]);
        assert!(session.is_refused_by(&failure));
        assert!(!session.redact(failure).to_string().contains("OpaqueRef:s"));
        assert!(!format!("{session:?}").contains("OpaqueRef:s"));
        assert!(!session.is_refused_by(&Failure::new("SESSION_INVALID", ["OpaqueRef:other"])));
    }

    #[test]
    fn only_the_present_session_is_forgotten() {
        let endpoint: Endpoint = "http://h".parse().unwrap();
        let sessions = Sessions::new(endpoint.clone());
        let old = sessions.install(Session::new(endpoint.clone(), "a".to_owned())).unwrap();
        let new = sessions.install(Session::new(endpoint, "b".to_owned())).unwrap();
        sessions.forget(&old);
        assert!(sessions.current().unwrap().is_some());
        sessions.forget(&new);
        assert!(sessions.current().unwrap().is_none());
    }
}
