//! What can go wrong, and whether to try again.

use std::borrow::Cow;
use std::fmt;

use xenapi_types::{ErrorCode, FailureExt};
use xenapi_wire::Failure;

use crate::endpoint::Endpoint;
use crate::plugin::PluginFailure;
use crate::transfer::Diagnosis;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An error with the host and the method or object that it is about.
///
/// Its text is one sentence for people, and never holds a password or a session reference. What to
/// do about it is in [`Error::kind`]; what XAPI said is in [`Error::failure`].
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    host: Option<String>,
    subject: Option<String>,
    message: Cow<'static, str>,
    remedy: Option<Cow<'static, str>>,
    failure: Option<Failure>,
    plugin: Option<PluginFailure>,
    diagnosis: Option<Diagnosis>,
    source: Option<BoxError>,
}

/// What sort of error it is, with the rule for trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration or an argument cannot work. Nothing was sent. Never retry.
    Config,
    /// No connection: name not found, refused, no route, no answer; or the answer of a call that is safe to
    /// repeat was lost. The client has tried again as its [`RetryPolicy`](crate::RetryPolicy) says. Retry
    /// when the network may have changed.
    Unreachable,
    /// The server's certificate is not believed. Nothing was sent. Never retry: a person must
    /// compare fingerprints.
    Untrusted,
    /// The host does not accept the user or the password. Never retry: accounts get locked.
    Credentials,
    /// XAPI refused the call or the operation failed: see [`Error::failure`]. Retry as
    /// [`FailureExt::retry`] says.
    Failure,
    /// What came back is not an answer of XAPI, or not of the expected type, or too long. Nothing
    /// can be said about what the host did. Do not retry.
    Protocol,
    /// No answer within the time allowed, of a call that changes nothing or was not even sent.
    /// Retry freely.
    Timeout,
    /// The connection broke or the time was up before the answer came, or a task vanished with the
    /// toolstack that ran it: the operation may or may not have been carried out. Look before
    /// retrying: [`Client::resolve_created`](crate::Client::resolve_created).
    OutcomeUnknown,
    /// The task was cancelled.
    Cancelled,
    /// A transfer of disk data failed or stood still; the target holds an unknown part of the data.
    /// See [`Error::diagnosis`]. Retry with a new body, from the beginning.
    Transfer,
    /// The body handed over for an upload failed or has another length than it said. Never retry
    /// with the same source.
    Body,
    /// There is no such object.
    NotFound,
    /// There are several such objects where one was asked for.
    Ambiguous,
    /// The client was closed.
    Closed,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            host: None,
            subject: None,
            message: message.into(),
            remedy: None,
            failure: None,
            plugin: None,
            diagnosis: None,
            source: None,
        }))
    }

    pub(crate) fn from_failure(failure: Failure) -> Self {
        let mut error = Self::new(kind_of(&failure), failure.to_string());
        error.0.failure = Some(failure);
        error
    }

    pub(crate) fn at(mut self, host: &Endpoint) -> Self {
        self.0.host.get_or_insert_with(|| host.to_string());
        self
    }

    pub(crate) fn about(mut self, subject: impl Into<String>) -> Self {
        self.0.subject.get_or_insert_with(|| subject.into());
        self
    }

    /// Names it after what the caller asked for, instead of the call that it came down to.
    pub(crate) fn renamed(mut self, subject: impl Into<String>) -> Self {
        self.0.subject = Some(subject.into());
        self
    }

    /// Replaces the sentence, in words for people.
    pub(crate) fn saying(mut self, message: String) -> Self {
        self.0.message = message.into();
        self
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Advice for those that have none yet.
    pub(crate) fn or_remedy(mut self, remedy: &'static str) -> Self {
        self.0.remedy.get_or_insert(Cow::Borrowed(remedy));
        self
    }

    /// Something more that is known, beside the sentence.
    pub(crate) fn noting(mut self, more: &str) -> Self {
        self.0.message.to_mut().push_str(&format!(" ({more})"));
        self
    }

    pub(crate) fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_failure(mut self, failure: Option<Failure>) -> Self {
        self.0.failure = failure;
        self
    }

    pub(crate) fn with_plugin(mut self, plugin: PluginFailure) -> Self {
        self.0.message = plugin.to_string().into();
        self.0.plugin = Some(plugin);
        self
    }

    pub(crate) fn with_diagnosis(mut self, diagnosis: Diagnosis) -> Self {
        self.0.diagnosis = Some(diagnosis);
        self
    }

    pub(crate) fn into_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// What sort of error it is, with the rule for trying again.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What XAPI said, when it said something.
    pub fn failure(&self) -> Option<&Failure> {
        self.0.failure.as_ref()
    }

    /// The code that XAPI answered with; [`FailureExt`] says more about the failure.
    pub fn code(&self) -> Option<ErrorCode> {
        self.failure().map(FailureExt::error_code)
    }

    /// Whether XAPI answered with this code.
    pub fn is(&self, code: &str) -> bool {
        self.failure().is_some_and(|failure| failure.code == code)
    }

    /// What a dom0 plugin wrote before it failed.
    pub fn plugin_failure(&self) -> Option<&PluginFailure> {
        self.0.plugin.as_ref()
    }

    /// What is known about a failed transfer.
    pub fn diagnosis(&self) -> Option<&Diagnosis> {
        self.0.diagnosis.as_ref()
    }

    /// What to do, if something is known that may help: the end of its sentence, behind the semicolon.
    pub fn advice(&self) -> Option<&str> {
        self.0.remedy.as_deref()
    }

    /// The URL of the host that this is about.
    pub fn host(&self) -> Option<&str> {
        self.0.host.as_deref()
    }
}

/// The kinds that XAPI's own codes stand for.
fn kind_of(failure: &Failure) -> ErrorKind {
    match failure {
        failure if failure.is_authentication_failed() => ErrorKind::Credentials,
        failure if failure.is_cancelled() => ErrorKind::Cancelled,
        _ => ErrorKind::Failure,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        if let Some(subject) = &inner.subject {
            write!(f, "{subject}")?;
            if let Some(host) = &inner.host {
                write!(f, " on {host}")?;
            }
            f.write_str(": ")?;
        } else if let Some(host) = &inner.host {
            write!(f, "{host}: ")?;
        }
        f.write_str(&inner.message)?;
        if let Some(remedy) = &inner.remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        let mut shown = f.debug_struct("Error");
        shown.field("kind", &inner.kind).field("text", &self.to_string());
        if let Some(failure) = &inner.failure {
            shown.field("failure", failure);
        }
        if let Some(diagnosis) = &inner.diagnosis {
            shown.field("diagnosis", diagnosis);
        }
        if let Some(source) = &inner.source {
            shown.field("source", source);
        }
        shown.finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// The innermost text of a chain of errors: hyper's and rustls's outer ones say little.
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
