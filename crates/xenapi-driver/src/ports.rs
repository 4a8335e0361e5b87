//! Nova's chains of bridges for all ports of an instance, by the verbs themselves, where
//! [`Settings::integration_bridge`](crate::Settings::integration_bridge) asks for them.
//!
//! They are made when a guest begins to run on a host, and before it does when it is spawned; they stay while it is off, and
//! go with the interface, with the instance, and when it has left the host. A host that is started anew has none: the
//! start of its guests makes them.

use uuid::Uuid;
use xenapi_client::ErrorKind;
use xenapi_types::{Host, Network, Ref, VifRecord, VmRecord};

use crate::bridges::{Chain, Port, alone, check};
use crate::cancel::Stop;
use crate::compatibility::{self, PluginState};
use crate::drive::PORT;
use crate::driver::Driver;
use crate::error::Cause;
use crate::inventory::Node;
use crate::job::Job;
use crate::plan::{Conflict, Conflicts};

/// The chains of some interfaces, on one host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ports(Vec<(Chain, String)>);

impl Ports {
    /// Those of all interfaces of a VM, as they are or would be on a host. None where nobody asks for them.
    pub(crate) async fn of(driver: &Driver, vm: &VmRecord, host: &Ref<Host>) -> Result<Self, Cause> {
        let mut ports = Self::default();
        if driver.settings().integration_bridge.is_none() || host.is_null() {
            return Ok(ports);
        }
        let doing = || Cause::host(format!("reading the interfaces of VM {}", vm.uuid));
        for vif in &vm.vifs {
            let Some(vif) = driver.client().record_opt(vif).await.map_err(doing())? else { continue };
            ports.0.extend(Self::for_one(driver, &vif, host).await?.0);
        }
        Ok(ports)
    }

    /// That of one interface, if it is for a port.
    pub(crate) async fn for_one(driver: &Driver, vif: &VifRecord, host: &Ref<Host>) -> Result<Self, Cause> {
        let id = vif.other_config.get(PORT).and_then(|id| id.parse::<Uuid>().ok());
        let Some((id, bridge)) = id.zip(driver.settings().integration_bridge.clone()) else {
            return Ok(Self::default());
        };
        let port = Port { id, integration_bridge: bridge };
        check(&port)?;
        let network = driver.client().record_opt::<Network>(&vif.network).await;
        let network = network.map_err(Cause::host("reading the network of an interface"))?;
        let chain = Chain::new(driver.client(), host, &port, network.map(|network| network.bridge));
        Ok(Self(vec![(chain, vif.mac.clone())]))
    }

    /// Has them taken down if the operation fails.
    pub(crate) fn remember(&self, job: &Job) {
        for (chain, _) in &self.0 {
            let undo = chain.clone();
            job.rollback.push_sweep(format!("the bridges of port {}", chain.port_id()), async move {
                undo.down().await
            });
        }
    }

    /// Makes them. What is there already stays.
    pub(crate) async fn up(&self, stop: &Stop) -> Result<(), Cause> {
        for (chain, mac) in &self.0 {
            chain.up(mac, stop).await?;
        }
        Ok(())
    }

    /// Takes them down, each of them, and tells the first failure. A host that is down has none, and one that
    /// the pool calls live was only not reached.
    pub(crate) async fn down(&self) -> Result<(), Cause> {
        let mut result = Ok(());
        for (chain, _) in &self.0 {
            let done = match chain.down().await {
                Err(Cause::Host { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(()),
                Err(cause) if chain.is_of_a_dead_host(&cause).await => {
                    tracing::warn!(port = %chain.port_id(), "the host of the port's bridges is dead, and has none once it is back");
                    Ok(())
                }
                done => done,
            };
            result = result.and(done);
        }
        result
    }
}

/// Sees that a host can do it, before anything is touched.
pub(crate) async fn able(job: &Job, node: &Node) -> Result<(), Cause> {
    let Some(bridge) = job.driver.settings().integration_bridge.clone() else { return Ok(()) };
    check(&Port { id: Uuid::nil(), integration_bridge: bridge })?;
    let why = match compatibility::state(job.client(), &node.reference).await {
        PluginState::Installed { functions, .. } if functions.contains_key("xenhost") => return Ok(()),
        PluginState::Foreign { .. } => return Ok(()),
        PluginState::Unknown { why } => why,
        PluginState::Installed { .. } | PluginState::Missing => "it has no xenhost.py".to_owned(),
    };
    Err(Conflicts::from(Conflict::NoPlugin { node: node.name.clone(), why }).into())
}

/// Makes sure that no other port has the same names, if the interface is for one.
pub(crate) async fn free(job: &Job, id: Option<&String>) -> Result<(), Cause> {
    let id = id.and_then(|id| id.parse::<Uuid>().ok());
    match id.zip(job.driver.settings().integration_bridge.clone()) {
        Some((id, integration_bridge)) => alone(job, &Port { id, integration_bridge }).await,
        None => Ok(()),
    }
}

/// Where a VM's bridges are: where it runs, or else where it ran and is to run again.
pub(crate) fn home(vm: &VmRecord) -> &Ref<Host> {
    if vm.resident_on.is_null() { &vm.affinity } else { &vm.resident_on }
}

/// Takes the bridges of a VM down on a host that it has left for good. What fails is logged: they are in nobody's way, and
/// [`Driver::unplug_port`] removes them.
pub(crate) async fn leave(driver: &Driver, vm: &VmRecord, host: &Ref<Host>) {
    let gone = async { Ports::of(driver, vm, host).await?.down().await };
    if let Err(error) = gone.await {
        tracing::warn!(vm = vm.uuid, %host, %error, "the bridges of a guest that has left stay");
    }
}
