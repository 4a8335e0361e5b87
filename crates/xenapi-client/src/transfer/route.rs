//! Which host a disk's data go through.

use std::collections::BTreeSet;

use xenapi_types::query::Query;
use xenapi_types::{Host, HostMetrics, Pbd, Pool, Sr, Vdi, host, sr, vdi};
use xenapi_wire::Ref;

use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::event::name;

/// A host that sees a disk's storage.
///
/// Several transfers into one disk at the same time must all go through the same host: take one
/// route for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The host.
    pub host: Ref<Host>,
    /// The storage repository that the disk is in.
    pub sr: Ref<Sr>,
    pub(super) endpoint: Endpoint,
}

impl Route {
    /// The address that the transfer goes to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Client {
    /// Finds a host that sees the storage of a disk: the coordinator if it does, which is then
    /// spoken to as before, or else another one at the address that the pool knows it by, with
    /// scheme and port of this client's URL.
    ///
    /// # Errors
    /// `NotFound` when there is no such disk; `Failure` with `SR_HAS_NO_PBDS` when no host has its
    /// storage attached, with `HOST_OFFLINE` when none that has is live.
    pub async fn route_to(&self, vdi: &Ref<Vdi>) -> Result<Route> {
        let sr = self.get_field(vdi, vdi::field::SR).await?;
        self.route_to_sr(&sr).await.map_err(|error| error.renamed(name(vdi)))
    }

    /// Finds a host that sees a storage repository, as [`Client::route_to`] does.
    ///
    /// # Errors
    /// `NotFound` when there is no such repository; `Failure` with `SR_HAS_NO_PBDS` when no host has it attached, with
    /// `HOST_OFFLINE` when none that has is live.
    pub async fn route_to_sr(&self, sr: &Ref<Sr>) -> Result<Route> {
        let (hosts, coordinator) = tokio::try_join!(self.hosts_of(sr), self.coordinator())?;
        // Through the coordinator when it sees the storage: it needs no other address, and for
        // shared storage XAPI prefers it too. Else the same host each time, so that parallel
        // transfers of one disk meet. The connections of a host that has died stay as they were.
        let host = match coordinator.filter(|host| hosts.contains(host)) {
            Some(host) => Some(host),
            None => self.first_live(hosts.iter().min().into_iter().chain(&hosts)).await?,
        };
        let Some(host) = host else {
            let (message, code, remedy) = match hosts.first() {
                None => (
                    "no host has the storage repository of this disk attached",
                    xenapi_wire::Failure::new("SR_HAS_NO_PBDS", [sr.to_string()]),
                    format!("plug a PBD of {}", name(sr)),
                ),
                Some(host) => (
                    "no host that has the storage repository of this disk attached is live",
                    xenapi_wire::Failure::new("HOST_OFFLINE", [host.to_string()]),
                    format!(
                        "bring one of these back: {}",
                        hosts.iter().map(name).collect::<Vec<_>>().join(", ")
                    ),
                ),
            };
            return Err(Error::new(ErrorKind::Failure, message)
                .with_failure(Some(code))
                .remedy(remedy)
                .about(name(sr))
                .at(&self.endpoint()));
        };
        let endpoint = self.endpoint_of(&host).await?;
        Ok(Route { host, sr: sr.clone(), endpoint })
    }

    /// The first of these hosts that is live by the pool's account. One of which nothing is known counts as live.
    async fn first_live(&self, hosts: impl Iterator<Item = &Ref<Host>>) -> Result<Option<Ref<Host>>> {
        for reference in hosts {
            let Some(host) = self.record_opt(reference).await? else { continue };
            let metrics = self.record_opt::<HostMetrics>(&host.metrics).await?;
            if metrics.is_none_or(|metrics| metrics.live) {
                return Ok(Some(reference.clone()));
            }
        }
        Ok(None)
    }

    /// The hosts that have a storage repository attached, live or not.
    pub(super) async fn hosts_of(&self, sr: &Ref<Sr>) -> Result<Vec<Ref<Host>>> {
        let of_it = Query::eq("SR", sr.to_string())?.and(Query::eq("currently_attached", "true")?);
        let plugged = self.records_where::<Pbd>(&of_it).await?;
        if plugged.is_empty() {
            // No such repository is another matter than one that nobody has attached.
            self.get_field(sr, sr::field::UUID).await?;
        }
        Ok(plugged.into_values().map(|pbd| pbd.host).collect())
    }

    /// Where one of several hosts is spoken to: the coordinator if it is one of them, or if any will do.
    pub(super) async fn one_of(&self, hosts: Option<BTreeSet<Ref<Host>>>) -> Result<Endpoint> {
        let coordinator = self.coordinator().await?;
        let sees_all = |host: &Ref<Host>| hosts.as_ref().is_none_or(|hosts| hosts.contains(host));
        let is_served = coordinator.as_ref().is_some_and(sees_all);
        match self.first_live(hosts.iter().flatten().filter(|_| !is_served)).await? {
            Some(host) => self.endpoint_of(&host).await,
            // When nobody does, it has the words for that.
            _ => Ok(self.session().await?.endpoint.clone()),
        }
    }

    /// Where a host is spoken to: the coordinator as before, another one at the address that the pool
    /// knows it by, with scheme and port of this client's URL.
    pub(crate) async fn endpoint_of(&self, host: &Ref<Host>) -> Result<Endpoint> {
        if self.coordinator().await?.as_ref() == Some(host) {
            return Ok(self.session().await?.endpoint.clone());
        }
        self.member(host).await
    }

    /// It stays the same for as long as the session that was opened with it.
    async fn coordinator(&self) -> Result<Option<Ref<Host>>> {
        let session = self.session().await?;
        let asked = session.coordinator.get_or_try_init(|| async {
            let pools = self.all_records::<Pool>().await?;
            Ok::<_, Error>(pools.into_values().next().map(|pool| pool.master))
        });
        asked.await.cloned()
    }

    async fn member(&self, host: &Ref<Host>) -> Result<Endpoint> {
        let address = self.get_field(host, host::field::ADDRESS).await?;
        Ok(self.session().await?.endpoint.sibling(&address))
    }
}
