//! The interfaces of instances.

use std::net::IpAddr;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use examples::hosts;
use examples::nic;
use examples::table::Table;
use examples::ui::Ui;
use examples::world::World;
use serde_json::json;
use uuid::Uuid;
use xenapi_driver::bridges::Port;
use xenapi_driver::interface::Interface;
use xenapi_driver::spec::{Address, MacAddr, Nic};
use xenapi_driver::{LiveUpdate, Which};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// The interfaces of an instance.
    Interfaces { instance: String },
    /// Give an instance an interface, also while it runs.
    Attach(Box<Attach>),
    /// Take an interface from an instance: its MAC address, its number, its uuid, or the port it was made for.
    Detach { instance: String, interface: String },
    /// Say anew what an interface may send and receive.
    Lock {
        instance: String,
        interface: String,
        /// XAPI's locking mode; with --allowed it is locked, and without either as the network says.
        #[arg(long, value_enum)]
        locking: Option<nic::Mode>,
        /// An address that it may use; may be given several times.
        #[arg(long, value_name = "IP")]
        allowed: Vec<IpAddr>,
    },
    /// Tell a guest of its interfaces, in xenstore: of all that it has now.
    Tell {
        instance: String,
        /// The addresses of one: its MAC address, and address=IP/LENGTH, gateway=IP, dns=IP,
        /// route=NETWORK/LENGTH@GATEWAY; may be given several times. The others have DHCP.
        #[arg(long = "interface", value_name = "MAC,address=IP/LENGTH…", value_parser = nic::told)]
        interfaces: Vec<(MacAddr, Vec<Address>)>,
    },
    /// Connect the interface of a running instance that was made for a port of Neutron's to the integration bridge. With the
    /// option ovs_integration_bridge, all verbs do that by themselves.
    Plug {
        instance: String,
        port: Uuid,
        /// The integration bridge; what the option ovs_integration_bridge says otherwise.
        #[arg(long, value_name = "NAME")]
        bridge: Option<String>,
    },
    /// Take the bridges of a port down on a host.
    Unplug {
        /// Name or uuid of the host.
        host: String,
        port: Uuid,
        /// The integration bridge; what the option ovs_integration_bridge says otherwise.
        #[arg(long, value_name = "NAME")]
        bridge: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Attach {
    instance: String,
    /// The network's name, bridge or uuid, and what `spawn --network` has besides: mac=, mtu=, qos-kbps=, locking=,
    /// allowed=, port=, other-config=. Of its addresses, `tell` tells the guest.
    #[arg(value_name = nic::NIC, value_parser = nic::nic)]
    nic: Nic,
}

impl Verb {
    pub(crate) async fn run(&self, world: &World, ui: &Ui) -> Result<Table> {
        let (driver, progress) = (world.driver(), ui.progress());
        ui.begin();
        let mut table = Table::default();
        match self {
            Self::Interfaces { instance } => {
                driver.interfaces(&Which::parse(instance)).await?.iter().for_each(|i| row(&mut table, i));
            }
            Self::Attach(attach) => {
                let (which, nic) = (Which::parse(&attach.instance), attach.nic.clone());
                let attaching = driver.attach_interface(which, nic, progress);
                row(&mut table, &ui.until_interrupted(attaching).await?);
            }
            Self::Detach { instance, interface } => {
                let detaching = driver.detach_interface(Which::parse(instance), interface, progress);
                row(&mut table, &ui.until_interrupted(detaching).await?);
            }
            Self::Lock { instance, interface, locking, allowed } => {
                let locking = nic::locking(*locking, allowed).map_err(anyhow::Error::msg)?;
                let doing = driver.lock_interface(Which::parse(instance), interface, locking, progress);
                row(&mut table, &ui.until_interrupted(doing).await?);
            }
            Self::Tell { instance, interfaces } => {
                let addresses = interfaces.iter().cloned().collect();
                let telling = driver.tell_network(Which::parse(instance), addresses, progress);
                let state = match ui.until_interrupted(telling).await? {
                    LiveUpdate::Written => "the guest finds it now",
                    LiveUpdate::NotRunning => "the guest finds it when it is started",
                    _ => "the guest finds it after its next boot: the host has no plugin for more",
                };
                table.row([("instance", json!(instance)), ("state", json!(state))]);
            }
            Self::Plug { instance, port, bridge } => {
                let wanted = self::port(*port, bridge.as_deref(), world)?;
                ui.until_interrupted(driver.plug_port(Which::parse(instance), wanted, progress)).await?;
                table.row([("port", json!(port)), ("state", json!("connected"))]);
            }
            Self::Unplug { host, port, bridge } => {
                let wanted = self::port(*port, bridge.as_deref(), world)?;
                let node = hosts::find(driver, host).await?;
                ui.until_interrupted(driver.unplug_port(node, wanted, progress)).await?;
                table.row([("port", json!(port)), ("state", json!("taken down"))]);
            }
        }
        Ok(table)
    }
}

fn port(id: Uuid, bridge: Option<&str>, world: &World) -> Result<Port> {
    let bridge = bridge.map(str::to_owned).or_else(|| world.driver().settings().integration_bridge.clone());
    let bridge = bridge.context("which bridge? Name --bridge, or set the option ovs_integration_bridge")?;
    Ok(Port { id, integration_bridge: bridge })
}

fn row(table: &mut Table, interface: &Interface) {
    let allowed = interface.ipv4_allowed.iter().chain(&interface.ipv6_allowed).collect::<Vec<_>>();
    table.row([
        ("device", json!(interface.device)),
        ("mac", json!(interface.mac)),
        ("network", json!(interface.network_uuid)),
        ("mtu", json!(interface.mtu)),
        ("locking", json!(interface.locking_mode.to_string())),
        ("allowed", json!(allowed)),
        ("plugged", json!(interface.plugged)),
        ("vif", json!(interface.uuid)),
    ]);
}
