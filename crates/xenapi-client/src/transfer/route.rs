//! Which host a disk's data go through.

use xenapi_types::{Host, Pool, Sr, Vdi, host, pbd, sr, vdi};
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
    /// storage attached.
    pub async fn route_to(&self, vdi: &Ref<Vdi>) -> Result<Route> {
        let sr = self.get_field(vdi, vdi::field::SR).await?;
        let pbds = self.get_field(&sr, sr::field::PBDS).await?;
        let mut hosts = Vec::new();
        for pbd in &pbds {
            if self.get_field(pbd, pbd::field::CURRENTLY_ATTACHED).await? {
                hosts.push(self.get_field(pbd, pbd::field::HOST).await?);
            }
        }
        let coordinator = self.coordinator().await?;
        // Through the coordinator when it sees the storage: it needs no other address, and for
        // shared storage XAPI prefers it too.
        if let Some(host) = coordinator.filter(|host| hosts.contains(host)) {
            return Ok(Route { host, sr, endpoint: self.session().await?.endpoint.clone() });
        }
        // The same host each time, so that parallel transfers of one disk meet.
        hosts.sort();
        let Some(host) = hosts.into_iter().next() else {
            let message = "no host has the storage repository of this disk attached";
            return Err(Error::new(ErrorKind::Failure, message)
                .with_failure(Some(xenapi_wire::Failure::new("SR_HAS_NO_PBDS", [sr.to_string()])))
                .remedy(format!("plug a PBD of {}", name(&sr)))
                .about(name(vdi))
                .at(&self.endpoint()));
        };
        let endpoint = self.member(&host).await?;
        Ok(Route { host, sr, endpoint })
    }

    /// Where a host is spoken to: the coordinator as before, another one at the address that the pool
    /// knows it by, with scheme and port of this client's URL.
    pub(crate) async fn endpoint_of(&self, host: &Ref<Host>) -> Result<Endpoint> {
        if self.coordinator().await?.as_ref() == Some(host) {
            return Ok(self.session().await?.endpoint.clone());
        }
        self.member(host).await
    }

    async fn coordinator(&self) -> Result<Option<Ref<Host>>> {
        let pools = self.all_records::<Pool>().await?;
        Ok(pools.into_values().next().map(|pool| pool.master))
    }

    async fn member(&self, host: &Ref<Host>) -> Result<Endpoint> {
        let address = self.get_field(host, host::field::ADDRESS).await?;
        Ok(self.session().await?.endpoint.sibling(&address))
    }
}
