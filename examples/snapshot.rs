//! Writes an instance's root disk to a VHD file or puts it somewhere as an image, from a host or from the embedded
//! simulator.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use examples::cli::{self, Common};
use examples::images;
use examples::options::Options;
use examples::report::Report;
use examples::ui::Ui;
use examples::world::{self, World};
use image_store::glance::NewImage;
use uuid::Uuid;
use xenapi_driver::backup::BackupOptions;
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec};
use xenapi_driver::upload::{UploadFormat, UploadOptions};
use xenapi_driver::{Existing, InstanceDisk, SpawnOptions, Which};

/// Snapshot an instance's root disk, running or not, and write it as a dynamic VHD, or put it somewhere as an image.
///
/// Without --url and --instance, a demo instance is spawned on the embedded simulator first.
#[derive(Debug, Parser)]
#[command(name = "snapshot", version)]
struct Cli {
    /// Name or uuid of the instance.
    #[arg(long, value_name = "NAME|UUID")]
    instance: Option<String>,
    /// The VHD file to write.
    #[arg(long, short, value_name = "FILE", required_unless_present = "to")]
    output: Option<PathBuf>,
    /// Replace the file if it exists.
    #[arg(long, requires = "output")]
    force: bool,
    /// A file made before with --keep: write only what has changed since. It names the earlier file as its parent, and
    /// is restored by spawning from chain:FILE.
    #[arg(long, value_name = "FILE", requires = "output")]
    base: Option<PathBuf>,
    /// Keep the snapshot in the storage repository, so that the next file can be based on this one.
    #[arg(long, requires = "output")]
    keep: bool,
    /// Where to put an image instead. Glance is found by the OS_* variables of OpenStack's own tools.
    #[arg(long, value_name = images::PLACES, conflicts_with = "output")]
    to: Option<String>,
    /// All disks of the instance at the same moment, not only the root disk: {} in --to is the number of each.
    #[arg(long, requires = "to")]
    all: bool,
    /// What the image is: vhd-archive (a gzip tar of one VHD, as Nova's images for XenServer are), vhd-chain (the same
    /// with a layer for each earlier snapshot), vhd, raw-archive, or qcow2.
    #[arg(long, value_name = "FORMAT", default_value = "vhd-archive", value_parser = upload_format, requires = "to")]
    format: UploadFormat,
    /// gzip's level; if left out, what the option image_compression_level says.
    #[arg(long, value_name = "1-9", value_parser = clap::value_parser!(u32).range(1..=9), requires = "to")]
    compression_level: Option<u32>,
    /// Wait so long until the storage repository has merged what the snapshot has split, and fail if it has not. With
    /// options vhd_coalesce_… set, it is waited for as they say.
    #[arg(long, value_name = "SECONDS", requires = "to", conflicts_with = "all")]
    await_coalesce: Option<u64>,
    /// A property for Glance, such as os_type=linux; may be given several times. Without that one, the option
    /// default_os_type says it if it is set.
    #[arg(long, value_name = "KEY=VALUE", value_parser = cli::key_value, requires = "to")]
    property: Vec<(String, String)>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::parse::<Cli>();
    let way = |ui: &Ui| cli.options.way(ui);
    world::program_as(&cli.common, way, async |world, ui| snapshot(&cli, world, ui).await).await
}

async fn snapshot(cli: &Cli, world: &World, ui: &Ui) -> Result<Report> {
    if !cli.property.is_empty() && cli.to.as_ref().is_some_and(|place| !place.starts_with("glance:")) {
        bail!("--property is told to Glance, and the image goes elsewhere");
    }
    if cli.compression_level.is_some() && matches!(cli.format, UploadFormat::Vhd | UploadFormat::Qcow2) {
        bail!("--compression-level is that of gzip, and nothing of this format is compressed");
    }
    let which = match &cli.instance {
        Some(instance) => Which::parse(instance),
        None if cli.common.target.host().is_some() => bail!("which instance? Name it with --instance"),
        None => Which::Instance(demo_instance(world, ui).await?),
    };
    ui.begin();
    if let Some(place) = &cli.to {
        let (container, disk) = cli.format.names();
        let mut image = NewImage::new("", container, disk);
        image.properties = cli.options.properties(&cli.property)?;
        let options = UploadOptions { format: cli.format, progress: ui.progress(), ..upload_options(cli)? };
        if cli.all {
            return all(place, &image, which, options, world, ui).await;
        }
        let sink = images::sink(place, image)?;
        let uploaded = ui.until_interrupted(world.driver().upload(which, sink, options)).await?;
        return Ok(Report::of_uploads(&[uploaded], ui));
    }
    let output = cli.output.as_ref().context("which file? Name it with --output")?;
    let existing = if cli.force { Existing::Replace } else { Existing::Refuse };
    if cli.keep || cli.base.is_some() {
        let (base, keep, progress) = (cli.base.clone(), cli.keep, ui.progress());
        let options = BackupOptions { base, existing, keep, progress };
        let backup = ui.until_interrupted(world.driver().backup(which, output, options)).await?;
        return Ok(Report::of_backup(&backup, keep, ui));
    }
    let snapshot = world.driver().snapshot(which, output, existing, ui.progress());
    let snapshot = ui.until_interrupted(snapshot).await?;
    Ok(Report::of_snapshot(&snapshot, ui))
}

/// What the operator's options say, unless the command line does. Nova waits for the chain in any case; here, that has to
/// be asked for.
fn upload_options(cli: &Cli) -> Result<UploadOptions> {
    let settings = cli.options.read()?;
    let said = UploadOptions::of(&settings);
    let names = ["vhd_coalesce_max_attempts", "vhd_coalesce_poll_interval"];
    let waits = !cli.all && names.iter().any(|name| settings.is_set(name));
    let patience = said.coalesce_patience.filter(|_| waits);
    Ok(UploadOptions {
        compression_level: cli.compression_level.or(said.compression_level),
        coalesce_patience: cli.await_coalesce.map(Duration::from_secs).or(patience),
        ..said
    })
}

/// Puts each disk where the place with its number says.
async fn all(
    place: &str,
    image: &NewImage,
    which: Which,
    options: UploadOptions,
    world: &World,
    ui: &Ui,
) -> Result<Report> {
    if !place.contains("{}") {
        bail!("several disks need several places: put {{}} for their numbers into --to");
    }
    // Which numbers there will be is not known yet: what is wrong with the place shows with any of them.
    images::sink(&place.replace("{}", "0"), image.clone())?;
    let (place, image) = (place.to_owned(), image.clone());
    let sinks =
        move |disk: &InstanceDisk| images::sink(&place.replace("{}", &disk.userdevice), image.clone()).ok();
    let uploaded = ui.until_interrupted(world.driver().upload_disks(which, sinks, options)).await?;
    Ok(Report::of_uploads(&uploaded, ui))
}

fn upload_format(text: &str) -> Result<UploadFormat, String> {
    match text {
        "vhd-archive" => Ok(UploadFormat::VhdArchive),
        "vhd-chain" => Ok(UploadFormat::VhdChain),
        "vhd" => Ok(UploadFormat::Vhd),
        "raw-archive" => Ok(UploadFormat::RawArchive),
        "qcow2" => Ok(UploadFormat::Qcow2),
        _ => Err(format!("unknown format {text:?}: use vhd-archive, vhd-chain, vhd, raw-archive or qcow2")),
    }
}

/// An instance of the demo image, running on the simulator.
async fn demo_instance(world: &World, ui: &Ui) -> Result<Uuid> {
    ui.say("no --instance: spawning one");
    let image = world.demo_image(ui).await?;
    let mut spec = InstanceSpec::new("demo", Flavor::new(1, 512, 0), image);
    spec.config_drive = Some(ConfigDrive::default());
    let options = SpawnOptions { progress: ui.progress(), ..SpawnOptions::default() };
    Ok(ui.until_interrupted(world.driver().spawn(spec, options)).await?.uuid)
}
