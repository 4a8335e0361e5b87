//! Nova's chain of bridges for a port of Neutron's, in the control domain, for clouds whose agent puts its security
//! groups there. Plain XenAPI networks need none of this. Here are the verbs for a single port; with
//! [`Settings::integration_bridge`](crate::Settings::integration_bridge) those on instances do it by themselves.
//!
//! ```text
//! guest ─ interim network's bridge ─ vifP ═ tapP ─ qbrP (rules) ─ qvbP ═ qvoP ─ integration bridge
//! ```
//!
//! `P` is the port's id, each name cut to 14 characters, as the agent looks for them. Two ports whose names
//! would be the same after that are not both plugged. The plugin `xenhost.py` does it.

use uuid::Uuid;
use xenapi_client::Client;
use xenapi_types::{Failure, Host, Network, Ref, Vif, VifRecord, VmPowerState, VmRecord};

use crate::cancel::Stop;
use crate::drive::PORT;
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find::{self, Which};
use crate::inventory;
use crate::job::Job;
use crate::nova_plugin::{Arg, params};
use crate::operation::Operation;
use crate::plan::{self, Conflicts};
use crate::progress::{Progress, Stage};

const PLUGIN: &str = "xenhost.py";
/// Its function that works on devices and bridges.
const FUNCTION: &str = "network_config";

/// A port of Neutron's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its id. The interface for it has it as `other_config:neutron-port-id`.
    pub id: Uuid,
    /// The bridge of Open vSwitch in the control domain that the agent works on.
    pub integration_bridge: String,
}

/// The name of a port's own network, which its interface is on: make it with [`Driver::ensure_network`].
pub fn interim_network(port: Uuid) -> String {
    cut("net-", port)
}

/// As many characters of a name as the kernel and Nova leave.
fn cut(prefix: &str, port: Uuid) -> String {
    format!("{prefix}{port}").chars().take(14).collect()
}

impl Driver {
    /// Connects the interface of a running instance that was made for a port to the integration bridge. What is there
    /// already stays, so that it can be repeated; what fails is taken down again.
    ///
    /// A domain's bridges go with its host: after each start on another one this is to be done again, unless
    /// [`Settings::integration_bridge`](crate::Settings::integration_bridge) has the driver do it.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInterface`] when none is for the port; [`Cause::WrongState`] for an instance that does not run;
    /// [`Cause::NoBridge`] for a name that cannot be one; [`Cause::PortNameTaken`] when another interface of the pool is for
    /// a port with the same names; [`Cause::Host`], also when the host has no plugin `xenhost.py`.
    pub fn plug_port(&self, which: Which, port: Port, progress: Progress) -> Operation<()> {
        self.verb(
            Op::AttachInterface,
            format!("port {} of instance {which}", port.id),
            progress,
            move |job, stop| {
                Box::pin(async move {
                    let (_gate, _, record) = find::ours_in_turn(job, &which, stop).await?;
                    let (vif, bridge) = job.stage(Stage::Plan, decide(job, &record, &port)).await?;
                    let chain = Chain::new(job.client(), &record.resident_on, &port, Some(bridge));
                    job.would(|| chain.steps())?;
                    let undo = chain.clone();
                    job.rollback.push_sweep(format!("the bridges of port {}", port.id), async move {
                        undo.down().await
                    });
                    job.stage(Stage::Devices, chain.up(&vif.mac, stop)).await
                })
            },
        )
    }

    /// Takes the bridges of a port down on a host: after its interface has gone, or its instance elsewhere. What is not
    /// there is no error. Its network stays, for [`Driver::remove_network`].
    ///
    /// # Errors
    ///
    /// [`Cause::Conflicts`] for an unknown host; [`Cause::NoBridge`]; [`Cause::Host`].
    pub fn unplug_port(&self, node: Uuid, port: Port, progress: Progress) -> Operation<()> {
        self.verb(Op::DetachInterface, format!("port {}", port.id), progress, move |job, stop| {
            Box::pin(async move {
                let finding = async {
                    check(&port)?;
                    let nodes = inventory::read_nodes(&job.driver).await?;
                    let node = plan::choose_node_of(&nodes, Some(node), None).map_err(Conflicts::from)?;
                    let networks = inventory::read_networks(job.client()).await?;
                    let name = interim_network(port.id);
                    let bridge = networks.into_iter().find(|network| network.name == name).map(|n| n.bridge);
                    Ok(Chain::new(job.client(), &node.reference, &port, bridge))
                };
                let chain = job.stage(Stage::Find, finding).await?;
                job.would(|| vec![format!("take down bridge {:?} and its links", chain.name("qbr"))])?;
                job.stage(Stage::Devices, async {
                    stop.check()?;
                    chain.down().await
                })
                .await
            })
        })
    }
}

/// The interface, and the bridge of its network.
async fn decide(job: &Job, vm: &VmRecord, port: &Port) -> Result<(VifRecord, String), Cause> {
    check(port)?;
    if vm.power_state != VmPowerState::Running {
        let (vm, state) = (vm.uuid.clone(), vm.power_state.to_string());
        return Err(Cause::WrongState { vm, state, remedy: "start it first" });
    }
    let doing = || Cause::host(format!("reading the interfaces of VM {}", vm.uuid));
    let (wanted, mut have) = (port.id.to_string(), Vec::new());
    for vif in &vm.vifs {
        let vif = job.client().record(vif).await.map_err(doing())?;
        if vif.other_config.get(PORT) == Some(&wanted) {
            alone(job, port).await?;
            let network = job.client().record::<Network>(&vif.network).await.map_err(doing())?;
            return Ok((vif, network.bridge));
        }
        have.push(vif.mac);
    }
    Err(Cause::NoSuchInterface { wanted, vm: vm.uuid.clone(), have })
}

/// Refuses a port whose network, which leaves the fewest characters, is another one's as well.
pub(crate) async fn alone(job: &Job, port: &Port) -> Result<(), Cause> {
    let vifs = job.client().all_records::<Vif>().await;
    let vifs = vifs.map_err(Cause::host("reading the interfaces of the pool".to_owned()))?;
    let mut ids = vifs.into_values().filter_map(|mut vif| vif.other_config.remove(PORT));
    let same = |id: &String| {
        id.parse().is_ok_and(|id| id != port.id && interim_network(id) == interim_network(port.id))
    };
    match ids.find(same) {
        Some(other) => Err(Cause::PortNameTaken { port: port.id, other }),
        None => Ok(()),
    }
}

/// Names become words of commands and of a pickled text.
pub(crate) fn check(port: &Port) -> Result<(), Cause> {
    let name = &port.integration_bridge;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match !name.is_empty() && name.len() <= 15 && !name.starts_with('-') && name.bytes().all(plain) {
        true => Ok(()),
        false => Err(Cause::NoBridge(name.clone())),
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Chain {
    client: Client,
    host: Ref<Host>,
    port: Port,
    /// The bridge of the interim network; unknown when that is gone.
    bridge: Option<String>,
}

impl Chain {
    pub(crate) fn new(client: &Client, host: &Ref<Host>, port: &Port, bridge: Option<String>) -> Self {
        Self { client: client.clone(), host: host.clone(), port: port.clone(), bridge }
    }

    /// Whether a host did not answer because it is dead by the pool's account. One that is only not heard of
    /// for a moment may have the bridges.
    pub(crate) async fn is_of_a_dead_host(&self, cause: &Cause) -> bool {
        inventory::is_cut_off(&self.client, &self.host, cause).await
    }

    pub(crate) fn port_id(&self) -> Uuid {
        self.port.id
    }

    fn name(&self, prefix: &str) -> String {
        cut(prefix, self.port.id)
    }

    fn steps(&self) -> Vec<String> {
        let (qbr, qvo, vif) = (self.name("qbr"), self.name("qvo"), self.name("vif"));
        vec![
            format!("make bridge {qbr:?}"),
            format!("link it to bridge {:?} by port {qvo:?}", self.port.integration_bridge),
            format!("link it to bridge {:?} by port {vif:?}", self.bridge.as_deref().unwrap_or_default()),
        ]
    }

    /// Makes the chain. A part that is there says nothing of the steps behind it, but for the last one: the
    /// guest's link in the bridge. Until that is done, all is done once more.
    pub(crate) async fn up(&self, mac: &str, stop: &Stop) -> Result<(), Cause> {
        let [qbr, qvb, qvo, tap, vif] = ["qbr", "qvb", "qvo", "tap", "vif"].map(|prefix| self.name(prefix));
        if self.exists(&tap).await? && self.joined(&qbr, &tap).await? {
            return Ok(());
        }
        stop.check()?;
        if !self.exists(&qbr).await? {
            self.run("brctl_add_br", &[("bridge_name", &qbr)]).await?;
        }
        self.run("brctl_set_fd", &[("bridge_name", &qbr), ("fd", "0")]).await?;
        self.run("brctl_set_stp", &[("bridge_name", &qbr), ("option", "off")]).await?;
        self.run("ip_link_set_dev", &[("device_name", &qbr), ("option", "up")]).await?;
        stop.check()?;
        self.pair(&qvb, &qvo).await?;
        self.run("brctl_add_if", &[("bridge_name", &qbr), ("interface_name", &qvb)]).await?;
        let (bridge, id) = (&self.port.integration_bridge, self.port.id.to_string());
        let port =
            [("bridge", &**bridge), ("port", &qvo), ("iface-id", &id), ("mac", mac), ("status", "active")];
        self.run("ovs_create_port", &port).await?;
        stop.check()?;
        self.pair(&tap, &vif).await?;
        let bridge = self.bridge.as_deref().unwrap_or_default();
        self.run("ovs_add_port", &[("bridge_name", bridge), ("port_name", &vif)]).await?;
        self.run("brctl_add_if", &[("bridge_name", &qbr), ("interface_name", &tap)]).await
    }

    /// Whether a link was in the bridge before. No function tells, but it cannot be put there twice.
    async fn joined(&self, bridge: &str, device: &str) -> Result<bool, Cause> {
        match self.call("brctl_add_if", &[("bridge_name", bridge), ("interface_name", device)]).await {
            Ok(_) => Ok(false),
            Err(error) if error.failure().is_some_and(|failure| is_refused(failure, "already a member")) => {
                Ok(true)
            }
            // Its bridge is not there, or it is broken otherwise: it is made anew.
            Err(error) if error.failure().is_some_and(|failure| is_refused(failure, "")) => Ok(false),
            Err(error) => Err(Cause::host(format!("looking for the bridge of device {device}"))(error)),
        }
    }

    /// A pair of links. What is left of an earlier one goes first.
    async fn pair(&self, one: &str, two: &str) -> Result<(), Cause> {
        if self.exists(one).await? {
            self.run("ip_link_del_dev", &[("device_name", one)]).await?;
        }
        self.run("ip_link_add_veth_pair", &[("dev1_name", one), ("dev2_name", two)]).await?;
        for device in [one, two] {
            self.run("ip_link_set_dev", &[("device_name", device), ("option", "up")]).await?;
            self.run("ip_link_set_promisc", &[("device_name", device), ("option", "on")]).await?;
        }
        Ok(())
    }

    /// The bridge of the interim network is XAPI's own, and goes with it.
    pub(crate) async fn down(&self) -> Result<(), Cause> {
        let [qbr, qvb, qvo, tap, vif] = ["qbr", "qvb", "qvo", "tap", "vif"].map(|prefix| self.name(prefix));
        if let Some(bridge) = &self.bridge {
            self.run("ovs_del_port", &[("bridge_name", bridge), ("port_name", &vif)]).await?;
        }
        let bridge = &self.port.integration_bridge;
        self.run("ovs_del_port", &[("bridge_name", bridge), ("port_name", &qvo)]).await?;
        // With one end of a link goes the other, and with it its place in a bridge.
        for device in [&tap, &qvb] {
            if self.exists(device).await? {
                self.run("ip_link_del_dev", &[("device_name", device)]).await?;
            }
        }
        if self.exists(&qbr).await? {
            self.run("ip_link_set_dev", &[("device_name", &qbr), ("option", "down")]).await?;
            self.run("brctl_del_br", &[("bridge_name", &qbr)]).await?;
        }
        Ok(())
    }

    /// Whether there is a device of this name: the plugin's function that fails to show it says that there is none. A
    /// plugin that crashed, or was not called, says nothing: XAPI names no function then.
    async fn exists(&self, device: &str) -> Result<bool, Cause> {
        match self.call("ip_link_get_dev", &[("device_name", device)]).await {
            Ok(_) => Ok(true),
            Err(error) if error.failure().is_some_and(|failure| is_refused(failure, "")) => Ok(false),
            Err(error) => Err(Cause::host(format!("looking for device {device}"))(error)),
        }
    }

    async fn run(&self, command: &str, args: &[(&str, &str)]) -> Result<(), Cause> {
        let doing = || format!("connecting port {} ({command})", self.port.id);
        self.call(command, args).await.map(drop).map_err(Cause::host(doing()))
    }

    async fn call(&self, command: &str, args: &[(&str, &str)]) -> xenapi_client::Result<String> {
        let args: Vec<_> = args.iter().map(|(name, value)| (*name, Arg::Text(value))).collect();
        // The function has one argument, which has these.
        let call = [("cmd", Arg::Text(command)), ("args", Arg::Map(&args))];
        let params = params(&[("args", Arg::Map(&call))]);
        self.client.call_plugin(&self.host, PLUGIN, FUNCTION, &params).await
    }
}

/// Whether the plugin's function ran and failed, with such words.
fn is_refused(failure: &Failure, words: &str) -> bool {
    failure.code == "XENAPI_PLUGIN_FAILURE"
        && failure.params.first().is_some_and(|of| of == FUNCTION)
        && (words.is_empty() || failure.params.iter().any(|param| param.contains(words)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_fourteen_characters() {
        let port = "3f2504e0-4f89-11d3-9a0c-0305e82c3301".parse().unwrap();
        assert_eq!(
            (interim_network(port), cut("qbr", port)),
            ("net-3f2504e0-4".into(), "qbr3f2504e0-4f".into())
        );
    }

    #[test]
    fn what_could_be_a_command_is_no_bridge() {
        for (name, fine) in
            [("xapi1", true), ("br-int", true), ("", false), ("-f", false), ("a b", false), ("a'\n", false)]
        {
            let port = Port { id: Uuid::nil(), integration_bridge: name.to_owned() };
            assert_eq!(check(&port).is_ok(), fine, "{name:?}");
        }
    }
}
