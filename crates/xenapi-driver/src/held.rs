//! Why something was not let go of in time.

use crate::cancel::Stopped;
use crate::error::Cause;

/// Why a device, a connection or a host was not let go of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Held {
    /// The host refused, or could not be asked.
    #[error(transparent)]
    Host(#[from] xenapi_client::Error),
    /// What was waited for did not come; it says for what.
    #[error(transparent)]
    Waited(Box<Cause>),
}

impl From<Cause> for Held {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Host { source, .. } => Self::Host(source),
            other => Self::Waited(Box::new(other)),
        }
    }
}

impl From<Stopped> for Held {
    fn from(stopped: Stopped) -> Self {
        Self::Waited(Box::new(stopped.into()))
    }
}

impl Held {
    /// The same of a verb that was doing this.
    pub(crate) fn while_doing(doing: impl Into<String>) -> impl FnOnce(Self) -> Cause {
        |held| match held {
            Self::Host(source) => Cause::host(doing)(source),
            Self::Waited(cause) => match *cause {
                Cause::NoAnswer { doing: of, seconds } => {
                    Cause::NoAnswer { doing: format!("{}: {of}", doing.into()), seconds }
                }
                other => other,
            },
        }
    }
}

/// Takes these answers of a host for what was wanted, and that the object is gone.
pub(crate) fn tolerated(result: Result<(), Held>, codes: &[&str]) -> Result<(), Held> {
    match result {
        Err(Held::Host(error)) => Ok(crate::remove::tolerate(Err(error), codes)?),
        other => other,
    }
}
