//! Makes a running instance from a disk image, on a host or on the embedded simulator.

mod agent;
mod console;
mod disks;
mod image;
mod machine;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use examples::cli::{self, Common};
use examples::drive::Drive;
use examples::guest_image;
use examples::nic;
use examples::options::Options;
use examples::report::Report;
use examples::ui::Ui;
use examples::world::{self, World};
use uuid::Uuid;
use xenapi_driver::spec::{InstanceSpec, Nic, OsType, VmMode};
use xenapi_driver::{Checks, ImportVia, SpawnOptions};

/// Make a running instance from a disk image.
///
/// Without --url the instance is made on a simulator inside this process, which speaks XAPI's real
/// protocol; without --image from a small disk image made for the purpose.
#[derive(Debug, Parser)]
#[command(name = "spawn", version)]
struct Cli {
    /// Name of the instance.
    #[arg(long, default_value = "demo")]
    name: String,
    /// Uuid of the instance; a new one if left out.
    #[arg(long)]
    uuid: Option<Uuid>,
    /// Uuid of the host to run on; may be left out where there is only one.
    #[arg(long, value_name = "UUID")]
    node: Option<Uuid>,
    /// Name or uuid of the storage repository; if left out, the one that the option sr_matching_filter says, which is the
    /// pool's default one.
    #[arg(long)]
    sr: Option<String>,
    /// An interface, once for each: the network's name, bridge or uuid, and, if wanted, mac=ADDRESS (or xensource), mtu=,
    /// qos-kbps= (kilobytes a second that the guest may send), locking=MODE (network-default, unlocked, disabled, locked),
    /// allowed=IP (which locks it), address=IP/LENGTH, gateway=IP, dns=IP, route=NETWORK/LENGTH@GATEWAY, tag=,
    /// port=UUID (of Neutron), other-config=KEY:VALUE. A comma in a name is written twice.
    #[arg(long, value_name = nic::NIC, value_parser = nic::nic)]
    network: Vec<Nic>,
    /// A tag of the interface with that number, by which software in the guest finds it; may be given several times.
    #[arg(long, value_name = "NUMBER=TAG", value_parser = cli::key_value)]
    nic_tag: Vec<(String, String)>,
    /// How the guest is virtualised: hvm, xen or pvh.
    #[arg(long)]
    vm_mode: Option<VmMode>,
    /// The kind of guest: linux or windows.
    #[arg(long)]
    os_type: Option<OsType>,
    /// A key and value of the instance's metadata; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = cli::key_value)]
    meta: Vec<(String, String)>,
    /// A tag of the VM, by which operators' tools sort VMs; may be given several times.
    #[arg(long)]
    tag: Vec<String>,
    /// No config drive, unless the option force_config_drive wants one.
    #[arg(long, conflicts_with_all = ["user_data", "ssh_key", "file"])]
    no_config_drive: bool,
    /// How data get onto disks: through the host's import handler, or, where that cannot be used, through dom0 by the
    /// plugin (handler or dom0); if left out, what the option import_via says.
    #[arg(long, value_name = "WAY")]
    import_via: Option<ImportVia>,
    /// Do not read the root disk back to compare it with the image.
    #[arg(long)]
    no_verify: bool,
    /// With --boot: show the guest's serial console until this text is in it, then shut the guest down. For the
    /// guest made without --image, until it is ready; otherwise until Ctrl-C, or until the guest goes off.
    #[arg(long, value_name = "TEXT", requires = "boot")]
    until: Option<String>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    image: image::Image,
    #[command(flatten)]
    machine: machine::Machine,
    #[command(flatten)]
    disks: disks::Disks,
    #[command(flatten)]
    drive: Drive,
    #[command(flatten)]
    agent: agent::AgentArgs,
    #[command(flatten)]
    options: Options,
}

/// What an agent in the guest can do as well.
const PASSWORD: &str = "--admin-password-file";

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::parse::<Cli>();
    let way = |ui: &Ui| {
        let mut way = cli.options.way(ui)?;
        way.settings.import_via = cli.import_via.unwrap_or(way.settings.import_via);
        Ok(way)
    };
    world::program_as(&cli.common, way, async |world, ui| spawn(&cli, world, ui).await).await
}

async fn spawn(cli: &Cli, world: &World, ui: &Ui) -> Result<Report> {
    let wanted = !cli.no_config_drive || cli.options.read()?.flag("force_config_drive");
    // Whether there will be an agent to set the password is not known yet.
    if let Some(option) = cli.drive.given().find(|option| !wanted && *option != PASSWORD) {
        bail!("{option} is of the config drive: leave it or --no-config-drive out");
    }
    let root = cli.image.root(cli.sr.as_deref(), &cli.options, world, ui).await?;
    ui.begin();
    let mut spec = InstanceSpec::new(&*cli.name, cli.machine.flavor(), root);
    describe(cli, &mut spec, wanted, &cli.image.properties().await?)?;
    let checks = if cli.no_verify { Checks::ConfigDrive } else { Checks::AllDisks };
    let options = SpawnOptions { checks, progress: ui.progress() };
    let instance = ui.until_interrupted(world.driver().spawn(spec, options)).await?;
    if world.boots() {
        let made_here = cli.image.is_demo().then_some(guest_image::READY);
        console::show_guest(world, &instance, cli.until.as_deref().or(made_here), ui).await?;
    }
    Ok(Report::of_spawn(&instance, ui))
}

/// All that the command line says of the instance besides its size and its root disk.
fn describe(
    cli: &Cli,
    spec: &mut InstanceSpec,
    with_drive: bool,
    image: &BTreeMap<String, String>,
) -> Result<()> {
    spec.uuid = cli.uuid.unwrap_or(spec.uuid);
    spec.node = cli.node;
    spec.sr = cli.options.repository(cli.sr.as_deref())?;
    spec.nics = cli.network.clone();
    for (number, tag) in &cli.nic_tag {
        let nic = number.parse().ok().and_then(|number: usize| spec.nics.get_mut(number));
        let nic =
            nic.with_context(|| format!("--nic-tag {number}={tag}: there is no --network with that number"))?;
        nic.tags.push(tag.clone());
    }
    spec.vm_mode = cli.vm_mode;
    spec.os_type = cli.os_type;
    spec.metadata = cli.meta.iter().cloned().collect();
    spec.tags.clone_from(&cli.tag);
    spec.hardware = cli.machine.hardware();
    spec.power = cli.machine.power();
    cli.image.describe(spec);
    let drive = cli.drive.content(&cli.options)?;
    cli.disks.describe(spec, &drive, &cli.options)?;
    spec.agent = cli.agent.setup(&drive, &cli.options, image)?;
    if !with_drive && drive.admin_pass.is_some() && spec.agent.is_none() {
        bail!(
            "{PASSWORD} is of the config drive or for an agent: leave it or --no-config-drive out, or add --agent"
        );
    }
    spec.config_drive = with_drive.then_some(drive);
    Ok(())
}
