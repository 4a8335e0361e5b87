//! The endpoint that the checks are made against.

use std::fmt;
use std::sync::Arc;

use xenapi_client::{Client, Config, Connect, Connecting, Endpoint, Network, Trust};

/// An endpoint, and how it is reached.
#[derive(Clone)]
pub struct Target {
    pub(crate) config: Config,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) trust: Trust,
    pub(crate) connector: Shared,
}

#[derive(Clone)]
pub(crate) struct Shared(Arc<dyn Connect>);

impl Connect for Shared {
    fn connect(&self, endpoint: &Endpoint) -> Connecting {
        self.0.connect(endpoint)
    }

    fn is_private(&self) -> bool {
        self.0.is_private()
    }
}

impl Target {
    /// An endpoint on the network. `config` holds its address, user and password; the last two are
    /// given once more for the checks that log in by themselves.
    pub fn new(config: Config, user: impl Into<String>, password: impl Into<String>) -> Self {
        Self::over(config, user, password, Network)
    }

    /// An endpoint over connections of another kind, such as a simulator in this process.
    pub fn over(
        config: Config,
        user: impl Into<String>,
        password: impl Into<String>,
        connector: impl Connect,
    ) -> Self {
        let (user, password) = (user.into(), password.into());
        Self { config, user, password, trust: Trust::default(), connector: Shared(Arc::new(connector)) }
    }

    /// Which certificates of the endpoint are trusted, for the requests that checks make by hand.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.config = self.config.trust(trust.clone());
        self.trust = trust;
        self
    }

    /// Another client of it, with a session of its own. Nothing is sent yet.
    pub(crate) fn client(&self, originator: &str) -> xenapi_client::Result<Client> {
        Client::over(self.config.clone().originator(originator), self.connector.clone())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("config", &self.config).finish_non_exhaustive()
    }
}
