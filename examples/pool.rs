//! Has hosts join a pool and leave it, from outside.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use examples::cli::{self, Common, Target};
use examples::options::Options;
use examples::table::Table;
use examples::ui::Ui;
use examples::world::{self, World};
use serde_json::json;
use uuid::Uuid;
use xenapi_driver::membership::{EjectOptions, JoinOptions};

/// Have a host join the pool, or take one out of it. What is in the way is told before anything is done.
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
    /// Make a host that is a pool of its own a member of this one, and wait until it takes guests.
    Join(Join),
    /// Take a host out of the pool. It reboots, without guests, its local disks wiped.
    Eject {
        /// Uuid of the host.
        host: Uuid,
        /// Also when disks are on repositories that only this host has.
        #[arg(long)]
        lose_local_disks: bool,
    },
}

#[derive(Debug, Args)]
struct Join {
    /// The host that joins: https://HOST. Left out with the simulator, which makes one up.
    #[arg(required_unless_present = "simulated", env = "XENAPI_NEWCOMER_URL", value_name = "URL")]
    newcomer: Option<String>,
    /// Join a simulated host to the simulated pool.
    #[arg(long, conflicts_with = "newcomer")]
    simulated: bool,
    /// Its user.
    #[arg(long, default_value = "root", value_name = "USER")]
    newcomer_user: String,
    /// A file whose first line is its password; without it, it is that of the pool.
    #[arg(long, value_name = "FILE")]
    newcomer_password_file: Option<PathBuf>,
    /// The coordinator's address as the newcomer reaches it, if that is another one than its own record says.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Also when the processors are of another make; the option use_join_force says so too, if it is set.
    #[arg(long)]
    force: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::parse::<Cli>();
    let way = |ui: &Ui| cli.options.way(ui);
    world::program_as(&cli.common, way, async |world, ui| run(&cli, world, ui).await).await
}

async fn run(cli: &Cli, world: &World, ui: &Ui) -> Result<Table> {
    match &cli.verb {
        Verb::Join(join) => self::join(cli, join, world, ui).await,
        Verb::Eject { host, lose_local_disks } => {
            let options = EjectOptions { lose_local_disks: *lose_local_disks, progress: ui.progress() };
            ui.begin();
            ui.until_interrupted(world.driver().eject_node(*host, options)).await?;
            Ok(Table::of([("ejected", json!(host))]))
        }
    }
}

async fn join(cli: &Cli, join: &Join, world: &World, ui: &Ui) -> Result<Table> {
    let pool = &cli.common.target;
    let target = join.newcomer.clone().map(|url| Target {
        url: Some(url),
        user: join.newcomer_user.clone(),
        password_file: join.newcomer_password_file.clone().or_else(|| pool.password_file.clone()),
        ..pool.clone()
    });
    let newcomer = world.newcomer(target.as_ref()).await?;
    let mut options = JoinOptions::new(&*pool.user, world.password(pool)?);
    options.force = join.force || cli.options.joins_by_force()?;
    (options.address, options.progress) = (join.address.clone(), ui.progress());
    ui.begin();
    let joined = ui.until_interrupted(world.driver().join_pool(&newcomer, options)).await;
    // The host restarts, and knows nothing of the session any more.
    let _ = newcomer.close().await;
    let node = joined?;
    Ok(Table::of([("joined", json!(node.uuid)), ("name", json!(node.name))]))
}
