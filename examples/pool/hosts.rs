//! What the hosts have, whether they take guests, and their maintenance.

use anyhow::Result;
use clap::Subcommand;
use examples::hosts;
use examples::load;
use examples::table::Table;
use examples::ui::Ui;
use examples::world::World;
use serde_json::{Value, json};
use uuid::Uuid;
use xenapi_driver::host_boot::ResumeOptions;
use xenapi_driver::inventory::GpuInfo;
use xenapi_driver::load::LoadFrom;
use xenapi_driver::node::{DrainOptions, PciOffer};
use xenapi_driver::spec::SrChoice;

#[derive(Debug, Subcommand)]
pub(crate) enum Hosts {
    /// All hosts.
    List,
    /// One host: its processors, memory, guests, and for how long it has been up.
    Show { host: String },
    /// The storage repositories that a host is connected to.
    Storage { host: String },
    /// The PCI devices of a host, and how guests get them: by `spawn --pci`, or, GPUs, by `spawn --gpu`.
    Devices { host: String },
    /// How busy a host is: processors, memory, interfaces, repositories.
    Load {
        host: String,
        /// Ask Nova's plugin xenhost instead, which knows of memory alone.
        #[arg(long)]
        plugin: bool,
    },
    /// Have a host take new guests.
    Enable { host: String },
    /// Have a host take no new guests; those that are there stay.
    Disable { host: String },
    /// Have a host take no new guests, and move those that are there elsewhere, alive: for its maintenance. What cannot
    /// be moved is told with the reason, and goes on.
    Drain {
        host: String,
        /// Also guests that somebody else made.
        #[arg(long)]
        others: bool,
        /// Repository for disks that only this host has, by uuid or name; without it they go to the pool's
        /// default one, if the next host has that.
        #[arg(long, value_name = "SR")]
        sr: Option<String>,
    },
    /// Reboot a host that takes no guests and has none.
    Reboot { host: String },
    /// Switch a host off that takes no guests and has none.
    Shutdown { host: String },
    /// Have the guests of a host run, after it was started: those with XAPI's mark auto_poweron.
    Resume {
        host: String,
        /// These instances instead; may be given several times.
        #[arg(long, value_name = "UUID")]
        instance: Vec<Uuid>,
    },
}

impl Hosts {
    /// The host that it is about.
    fn host(&self) -> &str {
        match self {
            Self::List => "",
            Self::Show { host }
            | Self::Storage { host }
            | Self::Devices { host }
            | Self::Load { host, .. }
            | Self::Enable { host }
            | Self::Disable { host }
            | Self::Drain { host, .. }
            | Self::Reboot { host }
            | Self::Shutdown { host }
            | Self::Resume { host, .. } => host,
        }
    }

    pub(crate) async fn run(&self, world: &World, ui: &Ui) -> Result<Table> {
        if let Self::List = self {
            return list(world).await;
        }
        let (driver, progress) = (world.driver(), ui.progress());
        let node = hosts::find(driver, self.host()).await?;
        ui.begin();
        let state = match self {
            Self::List | Self::Show { .. } => return show(world, node).await,
            Self::Storage { .. } => return storage(world, node).await,
            Self::Devices { .. } => return devices(world, node).await,
            Self::Load { host, plugin } => {
                let from = if *plugin { LoadFrom::Plugin } else { LoadFrom::Measurements };
                return Ok(load::table(host, &driver.node_load(node, from).await?));
            }
            Self::Drain { others, sr, .. } => {
                let sr = sr.clone().map(SrChoice::Named);
                return drain(
                    world,
                    self.host(),
                    node,
                    DrainOptions { others: *others, sr, progress: ui.progress() },
                    ui,
                )
                .await;
            }
            Self::Resume { instance, .. } => return resume(world, node, instance, ui).await,
            Self::Enable { .. } => {
                ui.until_interrupted(driver.set_node_enabled(node, true, progress)).await?;
                "takes guests"
            }
            Self::Disable { .. } => {
                ui.until_interrupted(driver.set_node_enabled(node, false, progress)).await?;
                "takes no guests"
            }
            Self::Reboot { .. } => {
                ui.until_interrupted(driver.reboot_node(node, progress)).await?;
                "reboots"
            }
            Self::Shutdown { .. } => {
                ui.until_interrupted(driver.shutdown_node(node, progress)).await?;
                "goes off"
            }
        };
        let mut table = Table::of([("host", json!(self.host())), ("state", json!(state))]);
        table.for_programs([("host", json!(node))]);
        Ok(table)
    }
}

async fn list(world: &World) -> Result<Table> {
    let mut table = Table::default();
    for node in world.driver().nodes().await? {
        table.row([
            ("name", json!(node.name)),
            ("host", json!(node.uuid)),
            ("address", json!(node.address)),
            ("enabled", json!(node.enabled)),
            ("product", json!(node.product)),
            ("cpus", json!(node.cpus)),
            ("memory_free_mib", json!(node.memory_free_bytes >> 20)),
        ]);
    }
    Ok(table)
}

async fn show(world: &World, node: Uuid) -> Result<Table> {
    let info = world.driver().node(node).await?;
    Ok(Table::of([
        ("name", json!(info.node.name)),
        ("host", json!(info.node.uuid)),
        ("hostname", json!(info.hostname)),
        ("live", json!(info.live)),
        ("enabled", json!(info.node.enabled)),
        ("cpus", json!(info.node.cpus)),
        ("sockets", json!(info.cpu_sockets)),
        ("vcpus_used", json!(info.vcpus_used)),
        ("memory_mib", json!(info.memory_total_bytes >> 20)),
        ("memory_free_mib", json!(info.node.memory_free_bytes >> 20)),
        ("guests", json!(info.guests)),
        ("gpus", json!(info.gpus.iter().map(|gpu| &gpu.address).collect::<Vec<_>>())),
        ("vgpus_free", json!(info.gpus.iter().flat_map(vgpus).collect::<Vec<_>>())),
        ("uptime_s", json!(info.uptime.map(|uptime| uptime.as_secs()))),
        ("cpu_model", json!(info.cpu_model)),
        ("capabilities", json!(info.capabilities)),
    ]))
}

/// Types of virtual GPUs with their free places: `GRID small (Simulated): 4`.
fn vgpus(gpu: &GpuInfo) -> impl Iterator<Item = String> {
    gpu.kinds.iter().map(|kind| format!("{} ({}): {}", kind.model, kind.vendor, kind.free))
}

async fn storage(world: &World, node: Uuid) -> Result<Table> {
    let mut table = Table::default();
    for sr in world.driver().node(node).await?.storage {
        table.row([
            ("name", json!(sr.name)),
            ("sr", json!(sr.uuid)),
            ("type", json!(sr.sr_type)),
            ("shared", json!(sr.shared)),
            ("total_bytes", json!(sr.total_bytes)),
            ("used_bytes", json!(sr.used_bytes)),
            ("allocated_bytes", json!(sr.allocated_bytes)),
        ]);
    }
    Ok(table)
}

async fn devices(world: &World, node: Uuid) -> Result<Table> {
    let mut table = Table::default();
    for device in world.driver().node(node).await?.pci {
        let offer = match device.offer {
            PciOffer::Whole => "whole",
            PciOffer::Gpu => "gpu",
            PciOffer::Dom0 => "dom0 uses it",
            _ => "unknown",
        };
        let used_by: Vec<_> = device.used_by.iter().map(|user| &user.name).collect();
        table.row([
            ("address", json!(device.address)),
            ("class", json!(device.class)),
            ("vendor", json!(device.vendor)),
            ("device", json!(device.device)),
            ("offer", json!(offer)),
            ("free", json!(device.is_free())),
            ("used_by", json!(used_by)),
        ]);
    }
    Ok(table)
}

/// Tells of all guests; with some still there, or something left, it is a failure: the host is not to be rebooted.
async fn drain(world: &World, host: &str, node: Uuid, options: DrainOptions, ui: &Ui) -> Result<Table> {
    let drained = ui.until_interrupted(world.driver().drain_node(node, options)).await?;
    let mut lines: Vec<_> = drained.moved.iter().map(|vm| format!("VM {vm} has moved")).collect();
    lines.extend(drained.stuck.iter().map(|(vm, why)| format!("VM {vm} is still there, and goes on: {why}")));
    lines.extend(drained.left.iter().map(|left| format!("left, for instances reconcile to remove: {left}")));
    lines.push(format!("the host takes no guests until: pool enable {host}"));
    let failed = !drained.stuck.is_empty() || !drained.left.is_empty();
    let table = Table::of([
        ("host", json!(node)),
        ("enabled", json!(false)),
        ("moved", json!(drained.moved)),
        ("stuck", reasons(&drained.stuck)),
        ("left", json!(drained.left)),
    ]);
    Ok(table.for_people(lines).failed_if(failed))
}

async fn resume(world: &World, node: Uuid, instances: &[Uuid], ui: &Ui) -> Result<Table> {
    let instances = Some(instances.to_vec()).filter(|all| !all.is_empty());
    let options = ResumeOptions { instances, progress: ui.progress() };
    let resumed = ui.until_interrupted(world.driver().resume_guests(node, options)).await?;
    let mut lines: Vec<_> = resumed.running.iter().map(|vm| format!("VM {vm} runs")).collect();
    lines.extend(resumed.down.iter().map(|(vm, why)| format!("VM {vm} is not up: {why}")));
    let table = Table::of([
        ("host", json!(node)),
        ("running", json!(resumed.running)),
        ("down", reasons(&resumed.down)),
    ]);
    Ok(table.for_people(lines).failed_if(!resumed.down.is_empty()))
}

/// VMs with what keeps them.
fn reasons(vms: &[(String, String)]) -> Value {
    vms.iter().map(|(vm, why)| json!({ "vm": vm, "why": why })).collect()
}
