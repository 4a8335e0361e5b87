//! Makes a running instance from a disk image, on a host or on the embedded simulator.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use examples::cli::{self, Common};
use examples::options::Options;
use examples::report::Report;
use examples::ui::Ui;
use examples::world::{self, World};
use examples::{guest_image, images};
use tokio::io::{AsyncRead, AsyncReadExt};
use xenapi_driver::spec::{
    AdminPassword, AgentNeed, AgentSetup, ConfigDrive, ConfigDriveFormat, ConfigDriveLabel, ConfigDriveSize,
    Flavor, ImageFormat, ImageUse, InstanceSpec, Nic, OsType, VmMode,
};
use xenapi_driver::{AgentTimeouts, Checks, ImportVia, Instance, SpawnOptions};
use xenapi_types::{ConsoleProtocol, Vm, vm};

/// Make a running instance from a disk image.
///
/// Without --url the instance is made on a simulator inside this process, which speaks XAPI's real
/// protocol; without --image from a small disk image made for the purpose.
#[derive(Debug, Parser)]
#[command(name = "spawn", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    /// The root disk: raw, VHD or qcow2; or compressed, or a XenServer archive of VHDs, here or elsewhere (- is the
    /// standard input). Glance is found by the OS_* variables of OpenStack's own tools.
    #[arg(long, value_name = images::PLACES)]
    image: Option<String>,
    /// A digest that the image must have, such as sha256:…
    #[arg(long, value_name = "DIGEST", requires = "image")]
    image_digest: Option<image_store::Digest>,
    /// What the image is: raw, vhd, qcow2, iso (a disc to install from, beside a blank root disk), or ami (a file system,
    /// which becomes the first partition); if left out, what its place says or its name ends with, otherwise found out.
    #[arg(long, value_name = "FORMAT", value_parser = image_format)]
    image_format: Option<Format>,
    /// Size of the instance: m1.tiny to m1.xlarge, or vcpus:memory_mib:root_gib (0 keeps the image's size).
    #[arg(long, default_value = "1:512:0")]
    flavor: Flavor,
    /// Name of the instance.
    #[arg(long, default_value = "demo")]
    name: String,
    /// Uuid of the host to run on; may be left out where there is only one.
    #[arg(long, value_name = "UUID")]
    node: Option<uuid::Uuid>,
    /// Name or uuid of the storage repository; if left out, the one that the option sr_matching_filter says, which is the
    /// pool's default one.
    #[arg(long)]
    sr: Option<String>,
    /// Name, bridge or uuid of a network; once for each interface.
    #[arg(long)]
    network: Vec<String>,
    /// How the guest is virtualised: hvm, xen or pvh.
    #[arg(long)]
    vm_mode: Option<VmMode>,
    /// The kind of guest: linux or windows.
    #[arg(long)]
    os_type: Option<OsType>,
    /// A file for cloud-init.
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// No config drive, unless the option force_config_drive wants one.
    #[arg(long, conflicts_with_all = ["user_data", "ssh_key", "file"])]
    no_config_drive: bool,
    /// The file system of the config drive: iso9660 or vfat; if left out, what the option config_drive_format says.
    #[arg(long, value_name = "FORMAT")]
    config_drive_format: Option<ConfigDriveFormat>,
    /// The label of the config drive, and so its layout: config-2 (OpenStack's) or cidata (NoCloud).
    #[arg(long, value_name = "LABEL", default_value_t)]
    config_drive_label: ConfigDriveLabel,
    /// The size of the config drive: smallest, nova (64 MiB), or a number of MiB.
    #[arg(long, value_name = "MIB", default_value_t)]
    config_drive_size: ConfigDriveSize,
    /// A file for the guest, here and there; may be given several times.
    #[arg(long, value_name = "PATH=FILE", value_parser = cli::key_value)]
    file: Vec<(String, String)>,
    /// A public key, or the file that holds it; may be given several times.
    #[arg(long, value_name = "KEY|FILE")]
    ssh_key: Vec<String>,
    /// A key and value of the instance's metadata; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = cli::key_value)]
    meta: Vec<(String, String)>,
    /// How data get onto disks: through the host's import handler, or, where that cannot be used, through dom0 by the
    /// plugin (handler or dom0); if left out, what the option import_via says.
    #[arg(long, value_name = "WAY")]
    import_via: Option<ImportVia>,
    #[command(flatten)]
    options: Options,
    /// A tag of the interface with that number, by which software in the guest finds it; may be given several times.
    #[arg(long, value_name = "NUMBER=TAG", value_parser = cli::key_value)]
    nic_tag: Vec<(String, String)>,
    /// A tag of the disk at that place (0 is the root disk); may be given several times.
    #[arg(long, value_name = "DEVICE=TAG", value_parser = cli::key_value)]
    disk_tag: Vec<(String, String)>,
    /// Ask the agent in the guest, too, for what the config drive tells: key, files and network. With "required" there
    /// is no instance if it does not do it. Left out, the option use_agent_default decides.
    #[arg(long, value_enum, value_name = "HOW")]
    agent: Option<AgentUse>,
    /// Have the agent set a password that only the owner of the first --ssh-key learns: openssl pkeyutl -decrypt -inkey
    /// id_rsa opens what is printed.
    #[arg(long, requires = "agent", requires = "ssh_key")]
    agent_password: bool,
    /// Do not read the root disk back to compare it with the image.
    #[arg(long)]
    no_verify: bool,
    /// With --boot: show the guest's serial console until this text is in it, then shut the guest down. For the
    /// guest made without --image, until it is ready; otherwise until Ctrl-C, or until the guest goes off.
    #[arg(long, value_name = "TEXT", requires = "boot")]
    until: Option<String>,
}

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
    let image = match &cli.image {
        Some(place) => images::source(place, cli.image_digest.clone())?,
        None => world.demo_image(ui).await?.into(),
    };
    let by_name = || cli.image.as_deref().and_then(format_by_name);
    let mut spec = InstanceSpec::new(&*cli.name, cli.flavor.clone(), image);
    match cli.image_format.or_else(by_name) {
        Some(Format::Disk(format)) => (spec.image_format, spec.image_use) = (format, ImageUse::Disk),
        Some(Format::Other(wanted)) => spec.image_use = wanted,
        None => {}
    }
    spec.node = cli.node;
    spec.sr = cli.options.repository(cli.sr.as_deref())?;
    spec.nics = cli.network.iter().map(Nic::on).collect();
    for (number, tag) in &cli.nic_tag {
        let nic = number.parse().ok().and_then(|number: usize| spec.nics.get_mut(number));
        let nic =
            nic.with_context(|| format!("--nic-tag {number}={tag}: there is no --network with that number"))?;
        nic.tags.push(tag.clone());
    }
    for (place, tag) in &cli.disk_tag {
        spec.disk_tags.entry(place.parse()?).or_default().push(tag.clone());
    }
    spec.vm_mode = cli.vm_mode;
    spec.os_type = cli.os_type;
    spec.metadata = cli.meta.iter().cloned().collect();
    let drive = config_drive(cli)?;
    spec.agent = agent(cli, &drive)?;
    let wanted = !cli.no_config_drive || cli.options.read()?.flag("force_config_drive");
    spec.config_drive = wanted.then_some(drive);

    let checks = if cli.no_verify { Checks::ConfigDrive } else { Checks::AllDisks };
    let options = SpawnOptions { checks, progress: ui.progress() };
    let instance = ui.until_interrupted(world.driver().spawn(spec, options)).await?;
    if world.boots() {
        let made_here = cli.image.is_none().then_some(guest_image::READY);
        show_guest(world, &instance, cli.until.as_deref().or(made_here), ui).await?;
    }
    Ok(Report::of_spawn(&instance, ui))
}

/// Shows a guest's serial console for as long as is wanted, and lets it end in good order.
async fn show_guest(world: &World, instance: &Instance, until: Option<&str>, ui: &Ui) -> Result<()> {
    let client = world.driver().client();
    let vm = client.by_uuid::<Vm>(&instance.vm_uuid).await?;
    let console = client.vm_console(&vm, ConsoleProtocol::Vt100).await?;
    let is_on = tokio::select! {
        shown = show(console, until) => shown.context("the guest's console cannot be shown")?,
        _ = tokio::signal::ctrl_c() => true,
    };
    if !is_on {
        return Ok(());
    }
    ui.say("shutting the guest down; Ctrl-C pulls the plug");
    tokio::select! {
        down = client.call(vm::CleanShutdown { vm }) => Ok(down?),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// Copies a console to standard error until the text is in it (`true`), or its guest goes off (`false`).
async fn show(mut console: impl AsyncRead + Unpin, until: Option<&str>) -> io::Result<bool> {
    let (mut chunk, mut seen) = (vec![0; 4 << 10], Vec::new());
    loop {
        let len = console.read(&mut chunk).await?;
        if len == 0 {
            return Ok(false);
        }
        io::stderr().write_all(&chunk[..len])?;
        let Some(text) = until.filter(|text| !text.is_empty()) else { continue };
        seen.extend_from_slice(&chunk[..len]);
        if seen.windows(text.len()).any(|window| window == text.as_bytes()) {
            io::stderr().write_all(b"\r\n")?;
            return Ok(true);
        }
        // The text may have begun.
        seen.drain(..seen.len().saturating_sub(text.len()));
    }
}

fn config_drive(cli: &Cli) -> Result<ConfigDrive> {
    let user_data = match &cli.user_data {
        Some(path) => Some(
            std::fs::read(path)
                .with_context(|| format!("the user data file {} cannot be read", path.display()))?,
        ),
        None => None,
    };
    let mut ssh_keys = BTreeMap::new();
    for (number, key) in (0..).zip(&cli.ssh_key) {
        let text = if key.contains(' ') {
            key.clone()
        } else {
            std::fs::read_to_string(key).with_context(|| format!("the SSH key file {key} cannot be read"))?
        };
        ssh_keys.insert(format!("key{number}"), text.trim_end().to_owned());
    }
    let mut files = BTreeMap::new();
    for (path, file) in &cli.file {
        let content = std::fs::read(file).with_context(|| format!("the file {file} cannot be read"))?;
        files.insert(path.clone(), content);
    }
    Ok(ConfigDrive {
        user_data,
        ssh_keys,
        files,
        format: cli.config_drive_format.map_or_else(|| cli.options.config_drive_format(), Ok)?,
        label: cli.config_drive_label,
        size: cli.config_drive_size,
        ..ConfigDrive::default()
    })
}

/// What the agent is asked for: as the command line says, or else Nova's options.
fn agent(cli: &Cli, drive: &ConfigDrive) -> Result<Option<AgentSetup>> {
    let options = cli.options.read()?;
    let need = match (cli.agent, AgentSetup::of(&options)) {
        (Some(_), _) if options.flag("disable_agent") => bail!("--agent: the option disable_agent is set"),
        (Some(AgentUse::IfFound), _) => AgentNeed::IfFound,
        (Some(AgentUse::Required), _) => AgentNeed::Required,
        (None, Some(usual)) => usual.need,
        (None, None) => return Ok(None),
    };
    Ok(Some(AgentSetup {
        need,
        timeouts: AgentTimeouts::of(&options),
        owner_key: drive.ssh_keys.get("key0").cloned(),
        files: drive.files.clone(),
        password: cli.agent_password.then_some(AdminPassword::Generated),
        ..AgentSetup::default()
    }))
}

/// Whether there must be an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AgentUse {
    IfFound,
    Required,
}

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Disk(ImageFormat),
    Other(ImageUse),
}

/// A file that is called a VHD or qcow2 and is none is a mistake to tell of, not a raw disk.
fn format_by_name(image: &str) -> Option<Format> {
    // Of names in Glance, Glance knows better.
    let extension = Path::new(image).extension().filter(|_| !image.starts_with("glance:"))?.to_str()?;
    image_format(&extension.to_ascii_lowercase())
        .ok()
        .filter(|format| *format != Format::Disk(ImageFormat::Raw))
}

fn image_format(text: &str) -> Result<Format, String> {
    match text {
        "raw" => Ok(Format::Disk(ImageFormat::Raw)),
        "vhd" => Ok(Format::Disk(ImageFormat::Vhd)),
        "qcow2" => Ok(Format::Disk(ImageFormat::Qcow2)),
        "iso" => Ok(Format::Other(ImageUse::Disc)),
        "ami" => Ok(Format::Other(ImageUse::FileSystem)),
        _ => Err(format!("unknown image format {text:?}: use raw, vhd, qcow2, iso or ami")),
    }
}
