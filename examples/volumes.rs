//! The volumes of an instance: list, check, attach, detach, swap, extend.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use examples::cli::{self, Common};
use examples::hosts;
use examples::options::Options;
use examples::table::Table;
use examples::ui::Ui;
use examples::volume::Place;
use examples::world::{self, World};
use serde_json::json;
use xenapi_driver::Which;
use xenapi_driver::volume::{AttachOptions, AttachedVolume};

/// Attach, detach and look after the volumes of an instance.
#[derive(Debug, Parser)]
#[command(name = "volumes", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The volumes of an instance.
    List { instance: String },
    /// Whether the storage of each volume answers: else it ends with 1.
    Check { instance: String },
    /// Attach a volume, on storage that the pool has or has never heard of.
    Attach(Box<Attach>),
    /// Detach a volume, by its name, its disk's uuid or its device.
    Detach { instance: String, volume: String },
    /// Put another volume, with the same content, in the place of one.
    Swap {
        instance: String,
        volume: String,
        #[command(flatten)]
        place: Box<Place>,
    },
    /// Make a volume larger, or take over the size that its LUN has now.
    Extend {
        instance: String,
        volume: String,
        /// The new size.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=cli::MOST_GIB))]
        gib: Option<u64>,
    },
    /// What a block storage service has to know of a host to let it in.
    Connector {
        /// Name or uuid of the host.
        host: String,
    },
}

#[derive(Debug, Args)]
struct Attach {
    instance: String,
    #[command(flatten)]
    place: Place,
    /// The place in the VM: 5, xvdf.
    #[arg(long)]
    device: Option<String>,
    /// The guest must not write to it.
    #[arg(long)]
    read_only: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::parse::<Cli>();
    let way = |ui: &Ui| cli.options.way(ui);
    world::program_as(&cli.common, way, async |world, ui| run(&cli, world, ui).await).await
}

async fn run(cli: &Cli, world: &World, ui: &Ui) -> Result<Table> {
    let driver = world.driver();
    let progress = || {
        ui.begin();
        ui.progress()
    };
    let mut table = Table::default();
    match &cli.command {
        Command::List { instance } => {
            driver.volumes(&Which::parse(instance)).await?.iter().for_each(|v| row(&mut table, v));
        }
        Command::Check { instance } => {
            let checking = driver.check_volumes(Which::parse(instance), progress());
            let checked = ui.until_interrupted(checking).await?;
            for health in &checked {
                table.row([("volume", json!(health.volume.id)), ("fault", json!(health.fault))]);
            }
            table = table.failed_if(checked.iter().any(|health| health.fault.is_some()));
        }
        Command::Attach(attach) => {
            let device = attach.device.as_deref().map(str::parse).transpose()?;
            let options = AttachOptions { device, read_only: attach.read_only, progress: progress() };
            let volume = attach.place.volume(&cli.options)?;
            let attaching = driver.attach_volume(Which::parse(&attach.instance), volume, options);
            row(&mut table, &ui.until_interrupted(attaching).await?);
        }
        Command::Detach { instance, volume } => {
            let detaching = driver.detach_volume(Which::parse(instance), volume.clone(), progress());
            row(&mut table, &ui.until_interrupted(detaching).await?);
        }
        Command::Swap { instance, volume, place } => {
            let new = place.volume(&cli.options)?;
            let swapping = driver.swap_volume(Which::parse(instance), volume.clone(), new, progress());
            row(&mut table, &ui.until_interrupted(swapping).await?);
        }
        Command::Extend { instance, volume, gib } => {
            let bytes = gib.map(|gib| gib << 30);
            let extending = driver.extend_volume(Which::parse(instance), volume.clone(), bytes, progress());
            row(&mut table, &ui.until_interrupted(extending).await?);
        }
        Command::Connector { host } => {
            let connector = driver.connector(hosts::find(driver, host).await?).await?;
            table.row([
                ("host", json!(connector.host)),
                ("ip", json!(connector.ip)),
                ("initiator", json!(connector.initiator)),
            ]);
        }
    }
    Ok(table)
}

fn row(table: &mut Table, volume: &AttachedVolume) {
    table.row([
        ("volume", json!(volume.id)),
        ("device", json!(volume.device)),
        ("vdi", json!(volume.vdi_uuid)),
        ("sr", json!(volume.sr_uuid)),
        ("bytes", json!(volume.virtual_bytes)),
        ("plugged", json!(volume.plugged)),
    ]);
}
