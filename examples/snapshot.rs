//! Writes an instance's root disk to a VHD file, from a host or from the embedded simulator.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use examples::cli::Target;
use examples::report::{self, Report};
use examples::ui::Ui;
use examples::world::World;
use uuid::Uuid;
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec};
use xenapi_driver::{Existing, SpawnOptions, Which};

/// Snapshot an instance's root disk, running or not, and write it as a dynamic VHD.
///
/// Without --url and --instance, a demo instance is spawned on the embedded simulator first.
#[derive(Debug, Parser)]
#[command(name = "snapshot", version)]
struct Cli {
    #[command(flatten)]
    target: Target,
    /// Name or uuid of the instance.
    #[arg(long, value_name = "NAME|UUID")]
    instance: Option<String>,
    /// The file to write.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
    /// Print the result as JSON, and no progress.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    report::log();
    let json = cli.json;
    report::exit(run(cli).await, json)
}

async fn run(cli: Cli) -> Result<Report> {
    let ui = Ui::new(cli.json);
    let world = World::open(&cli.target, &ui).await?;
    let result = snapshot(&cli, &world, &ui).await;
    let closed = world.close(&ui).await;
    let report = result?;
    closed?;
    Ok(report)
}

async fn snapshot(cli: &Cli, world: &World, ui: &Ui) -> Result<Report> {
    let which = match &cli.instance {
        Some(instance) => Which::parse(instance),
        None if cli.target.url.is_some() => bail!("which instance? Name it with --instance"),
        None => Which::Instance(demo_instance(world, ui).await?),
    };
    ui.begin();
    let existing = if cli.force { Existing::Replace } else { Existing::Refuse };
    let snapshot = world.driver().snapshot(which, &cli.output, existing, ui.progress());
    let snapshot = ui.until_interrupted(snapshot).await?;
    Ok(Report::of_snapshot(&snapshot, ui))
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
