//! The instances of a pool: list, power, resize, rescue, and order after a crash.

mod change;
mod guest;
mod look;
mod new_root;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use examples::cli::{self, Common};
use examples::options::Options;
use examples::reconcile;
use examples::report;
use examples::table::Table;
use examples::ui::Ui;
use examples::world::{self, World};
use serde_json::json;
use xenapi_driver::Which;

/// List and change the instances of a pool.
#[derive(Debug, Parser)]
#[command(name = "instances", version)]
struct Cli {
    /// Take the instance over first if it is a VM that somebody else made: write xenapi-rs:owner, :instance,
    /// :operation and :self, and nova_uuid, into its other_config, and but for nova_uuid into that of the disks that
    /// it alone writes to, which end with it from then on. Without this, such a VM is never touched.
    #[arg(long, global = true)]
    adopt: bool,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Look(look::Look),
    #[command(flatten)]
    Change(Box<change::Change>),
    #[command(flatten)]
    Guest(guest::Guest),
    /// Take a VM over that somebody else made, and do nothing else with it: --adopt says what is written.
    Adopt { instance: String },
    /// Complete or undo what programs left that were killed.
    Reconcile {
        /// How old something must be, in seconds: no program may still be busy with it.
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        older_than: u64,
    },
}

impl Command {
    /// The instance that it is about, if it is not to be taken over anyway.
    fn instance(&self) -> Option<&str> {
        match self {
            Self::Look(look) => look.instance(),
            Self::Change(change) => Some(change.instance()),
            Self::Guest(guest) => Some(guest.instance()),
            Self::Adopt { .. } | Self::Reconcile { .. } => None,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::parse::<Cli>();
    let way = |ui: &Ui| cli.options.way(ui);
    world::program_as(&cli.common, way, async |world, ui| run(&cli, world, ui).await).await
}

async fn run(cli: &Cli, world: &World, ui: &Ui) -> Result<Table> {
    if let Command::Change(change) = &cli.command {
        change.check()?;
    }
    if let Some(vm) = cli.command.instance().filter(|_| cli.adopt) {
        adopt(world, vm, ui).await.map_err(report::and_more)?;
    }
    match &cli.command {
        Command::Look(look) => look.run(world, cli.common.json).await,
        Command::Change(change) => change.run(&cli.options, world, ui).await,
        Command::Guest(guest) => guest.run(&cli.options, world, ui).await,
        Command::Adopt { instance } => Ok(adopt(world, instance, ui).await?),
        Command::Reconcile { older_than } => {
            ui.begin();
            reconcile::run(world, Duration::from_secs(*older_than), cli.common.dry_run, ui).await
        }
    }
}

async fn adopt(world: &World, vm: &str, ui: &Ui) -> xenapi_driver::Result<Table> {
    ui.begin();
    let adopting = world.driver().adopt(Which::parse(vm), ui.progress());
    let adopted = ui.until_interrupted(adopting).await?;
    Ok(Table::of([
        ("instance", json!(adopted.instance)),
        ("vm", json!(adopted.vm_uuid)),
        ("disks", json!(adopted.disk_uuids)),
        ("kept", json!(adopted.kept_disk_uuids)),
    ]))
}

/// What an instance is now.
fn state(instance: &str, state: &str) -> Table {
    Table::of([("instance", json!(instance)), ("state", json!(state))])
}
