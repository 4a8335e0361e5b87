//! The hosts of a pool: what they have, their maintenance, and hosts that join and leave, from outside.

mod hosts;
mod membership;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use examples::cli::{self, Common};
use examples::options::Options;
use examples::table::Table;
use examples::ui::Ui;
use examples::world::{self, World};
use serde_json::json;
use uuid::Uuid;
use xenapi_driver::membership::EjectOptions;

/// Look after the hosts of a pool, have a host join it, or take one out. What is in the way is told before anything is
/// done.
#[derive(Debug, Parser)]
#[command(name = "pool", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(flatten)]
    Hosts(hosts::Hosts),
    /// Make a host that is a pool of its own a member of this one, and wait until it takes guests.
    Join(Box<membership::Join>),
    /// Take a host out of the pool. It reboots, without guests, its local disks wiped.
    Eject {
        /// Uuid of the host.
        host: Uuid,
        /// Also when disks are on repositories that only this host has.
        #[arg(long)]
        lose_local_disks: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::parse::<Cli>();
    let way = |ui: &Ui| cli.options.way(ui);
    world::program_as(&cli.common, way, async |world, ui| run(&cli, world, ui).await).await
}

async fn run(cli: &Cli, world: &World, ui: &Ui) -> Result<Table> {
    match &cli.verb {
        Verb::Hosts(verb) => verb.run(world, ui).await,
        Verb::Join(join) => join.run(&cli.common, &cli.options, world, ui).await,
        Verb::Eject { host, lose_local_disks } => {
            let options = EjectOptions { lose_local_disks: *lose_local_disks, progress: ui.progress() };
            ui.begin();
            ui.until_interrupted(world.driver().eject_node(*host, options)).await?;
            Ok(Table::of([("ejected", json!(host))]))
        }
    }
}
