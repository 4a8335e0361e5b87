//! What a client is told at its start.

use std::path::PathBuf;
use std::time::Duration;

use secret::Secret;

use crate::endpoint::{Endpoint, EndpointError};
use crate::retry::RetryPolicy;
use crate::tls::Fingerprint;

/// How to reach a host or a pool, and how patient to be.
///
/// ```
/// use xenapi_client::{Config, Trust};
///
/// let config = Config::new("https://xen1.example.org", "root", "secret")?
///     .trust(Trust::CaFile("/etc/ssl/pool-ca.pem".into()));
/// # Ok::<(), xenapi_client::EndpointError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) seeds: Vec<Endpoint>,
    pub(crate) user: String,
    pub(crate) password: Secret,
    pub(crate) originator: String,
    pub(crate) trust: Trust,
    pub(crate) encoding: Encoding,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
    pub(crate) retries: RetryPolicy,
}

/// Which server certificates are believed.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// Those that the operating system's roots vouch for, with the host's name in them.
    #[default]
    SystemRoots,
    /// Those that the certificates in this PEM file vouch for, with the host's name in them.
    CaFile(PathBuf),
    /// Those with one of these SHA-256 fingerprints, whatever their names and dates.
    ///
    /// XAPI's own certificates are self-signed and seldom carry a usable name, so this is the
    /// usual choice. Every host of a pool has its own certificate: list them all.
    Fingerprints(Vec<Fingerprint>),
    /// Trust on first use, like ssh: the first certificate that a host and port show is written into this file
    /// (`HOST:PORT FINGERPRINT` in each line, for its owner's eyes only), and from then on no other one is
    /// believed. The error about a changed certificate has both fingerprints and the line to remove.
    ///
    /// Whoever is in between at the very first contact is not noticed.
    KnownHosts(PathBuf),
    /// Any certificate at all: whoever is between client and host can read the password.
    DangerAcceptAny,
}

/// The encoding of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encoding {
    /// JSON-RPC 2.0 when the server has it, found out at log-in, or else XML-RPC.
    #[default]
    Auto,
    /// JSON-RPC 2.0 (XenServer 7.2 and later).
    JsonRpc,
    /// XML-RPC, known to every server. Map keys with `<` or `&` in them cannot be read this way:
    /// XAPI does not escape them.
    XmlRpc,
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a TCP connection and its TLS handshake. 20 seconds.
    pub connect: Duration,
    /// For a call as a whole, repetitions and log-in included. 1 hour: XAPI parks a call on a busy
    /// object for up to two, and a synchronous `VM.clean_shutdown` takes twenty minutes. Of this a host has a minute
    /// to let the client in, and less where the other seeds would have no time left.
    pub call: Duration,
    /// For any sign of life of a transfer: a byte moved or the task's progress changed. A transfer
    /// as a whole may take for ever. 20 minutes: before the first byte a host may wait minutes for
    /// its storage.
    pub stall: Duration,
    /// How long the connection of an upload stays open when everything has been sent, the host says nothing
    /// and its task makes no progress. Closing it tells a host that waits for more, as of a VHD that lacks its
    /// end, that there is no more; one that is still busy with what it has got goes on. 5 minutes.
    pub settle: Duration,
    /// For the head of the answer to an upload, which XAPI sends before it reads the body; then
    /// the body is sent anyway, for the sake of proxies that want it first. 30 seconds.
    pub upload_head: Duration,
    /// How long a task is looked for while its host does not answer. 5 minutes.
    pub reconnect: Duration,
}

/// How much of what at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Calls in flight; more wait their turn. 32. Event waits and transfers do not count.
    pub concurrent_calls: usize,
    /// The largest answer to a call that is read, in bytes. 512 MiB: `VM.get_all_records` of a
    /// large pool is tens of megabytes.
    pub response_bytes: usize,
    /// Transfers under way to one host, and as many from it; more wait their turn
    /// ([`Import::on_queue`](crate::Import::on_queue),
    /// [`Client::transfer_queues`](crate::Client::transfer_queues)). 8. Several uploads that one producer feeds
    /// in step must not be more than this: the last ones would wait for the first, and these for data.
    pub transfers_per_host: usize,
    /// Objects that a [`Cache`](crate::Cache) keeps, of all its classes; when there are more, it ends with an error. A
    /// million: the largest pools have tens of thousands, and a server could go on telling of new ones for ever.
    pub cached_objects: usize,
}

impl Config {
    /// A host or pool by its URL ([`Endpoint`]), and who logs in there.
    ///
    /// # Errors
    /// When the URL is not one of a host.
    pub fn new(
        url: &str,
        user: impl Into<String>,
        password: impl Into<Secret>,
    ) -> Result<Self, EndpointError> {
        Ok(Self {
            seeds: vec![url.parse()?],
            user: user.into(),
            password: password.into(),
            originator: "xenapi-rs".to_owned(),
            trust: Trust::default(),
            encoding: Encoding::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            retries: RetryPolicy::default(),
        })
    }

    /// Another host of the same pool, tried when the ones before it cannot be reached.
    ///
    /// # Errors
    /// When the URL is not one of a host.
    pub fn seed(mut self, url: &str) -> Result<Self, EndpointError> {
        self.seeds.push(url.parse()?);
        Ok(self)
    }

    /// Who this program is to XAPI, which allows 500 sessions to each originator and ends the
    /// oldest ones beyond. It must stay the same from run to run. `xenapi-rs` unless set.
    #[must_use]
    pub fn originator(mut self, name: impl Into<String>) -> Self {
        self.originator = name.into();
        self
    }

    /// Which certificates are believed.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// The encoding of calls.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// How long to wait for what.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// How much of what at once.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How patiently calls that failed are made again.
    #[must_use]
    pub fn retries(mut self, retries: RetryPolicy) -> Self {
        self.retries = retries;
        self
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            call: Duration::from_secs(3_600),
            stall: Duration::from_secs(1_200),
            settle: Duration::from_secs(300),
            upload_head: Duration::from_secs(30),
            reconnect: Duration::from_secs(300),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrent_calls: 32,
            response_bytes: 512 << 20,
            transfers_per_host: 8,
            cached_objects: 1_000_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_password() {
        let config = Config::new("https://h", "root", "hunter2").unwrap();
        let shown = format!("{config:?}");
        assert!(shown.contains("root") && !shown.contains("hunter2"), "{shown}");
    }
}
