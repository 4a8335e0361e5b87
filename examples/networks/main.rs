//! The networks of a pool, and the interfaces of instances on them.

mod interfaces;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use examples::cli::{self, Common};
use examples::options::Options;
use examples::table::Table;
use examples::ui::Ui;
use examples::world::{self, World};
use serde_json::json;
use xenapi_driver::inventory::Network;
use xenapi_driver::network::{NetworkSpec, Vlan};

/// Make and remove networks, and give instances interfaces on them.
#[derive(Debug, Parser)]
#[command(name = "networks", version)]
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
    /// All networks of the pool.
    List,
    /// Make a network, unless it is there as it is wanted: inside each host, or on a VLAN.
    Make {
        name: String,
        /// The MTU in bytes; 1500 otherwise.
        #[arg(long, value_name = "BYTES")]
        mtu: Option<u32>,
        /// The tag of the VLAN that it is on, from 0 to 4094.
        #[arg(long, value_name = "TAG", requires = "over", value_parser = clap::value_parser!(u16).range(..4095))]
        vlan: Option<u16>,
        /// The network whose physical interfaces carry the VLAN: uuid, name or bridge.
        #[arg(long, value_name = "NETWORK", requires = "vlan")]
        over: Option<String>,
    },
    /// Remove a network that this driver made, with its VLANs.
    Remove { name: String },
    #[command(flatten)]
    Interfaces(interfaces::Verb),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::parse::<Cli>();
    let way = |ui: &Ui| cli.options.way(ui);
    world::program_as(&cli.common, way, async |world, ui| run(&cli.command, world, ui).await).await
}

async fn run(command: &Command, world: &World, ui: &Ui) -> Result<Table> {
    let driver = world.driver();
    let mut table = Table::default();
    match command {
        Command::List => driver.networks().await?.iter().for_each(|network| row(&mut table, network)),
        Command::Make { name, mtu, vlan, over } => {
            let vlan = vlan.zip(over.clone()).map(|(tag, over)| Vlan { over, tag });
            let spec = NetworkSpec { name: name.clone(), mtu: *mtu, vlan };
            ui.begin();
            row(&mut table, &ui.until_interrupted(driver.ensure_network(spec, ui.progress())).await?);
        }
        Command::Remove { name } => {
            ui.begin();
            ui.until_interrupted(driver.remove_network(name, ui.progress())).await?;
            table.row([("removed", json!(name))]);
        }
        Command::Interfaces(interfaces) => return interfaces.run(world, ui).await,
    }
    Ok(table)
}

fn row(table: &mut Table, network: &Network) {
    table.row([
        ("name", json!(network.name)),
        ("network", json!(network.uuid)),
        ("bridge", json!(network.bridge)),
        ("mtu", json!(network.mtu)),
    ]);
}
