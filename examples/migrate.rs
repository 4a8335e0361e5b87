//! Moves an instance to another host or to another pool, running or not.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser};
use examples::cli::{self, Common, Target};
use examples::options::Options;
use examples::table::Table;
use examples::ui::Ui;
use examples::world::{self, World};
use serde_json::json;
use uuid::Uuid;
use xenapi_driver::live::MigrateOptions;
use xenapi_driver::pool_move::MoveOptions;
use xenapi_driver::pools::{PoolMigrateOptions, PoolPlace};
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::{Flavor, SrChoice};
use xenapi_driver::{Driver, Shutdown, Which};

/// Move an instance to another host, or to another pool, while it runs. Ctrl-C aborts: it goes on where it is.
#[derive(Debug, Parser)]
#[command(name = "migrate", version)]
struct Cli {
    /// Name or uuid of the instance.
    instance: String,
    /// Uuid of the host; in another pool it may be left out where there is only one.
    #[arg(long, value_name = "UUID", required_unless_present_any = ["pool", "simulated_pool"])]
    to: Option<Uuid>,
    /// Name or uuid of the repository for disks that the host does not reach; of all disks, in another pool.
    #[arg(long, value_name = "NAME|UUID")]
    sr: Option<String>,
    /// A disk, by uuid, and the repository that it goes to, instead of --sr; may be given several times.
    #[arg(long, value_name = "UUID=NAME|UUID", value_parser = cli::key_value)]
    disk: Vec<(String, String)>,
    /// The network that memory and disks are sent over (the other pool's, if it goes there): uuid, name or
    /// bridge; that of the host's management interface otherwise.
    #[arg(long, value_name = "NETWORK", conflicts_with = "cold")]
    over: Option<String>,
    /// Only look whether it can go there while it runs, and print where each of its disks would go. (--dry-run prints the
    /// steps instead, and those of --cold too.)
    #[arg(long, conflicts_with_all = ["cold", "confirm", "revert"])]
    plan: bool,
    /// With --cold: do not ask the guest to shut down; without this it has a minute.
    #[arg(long, requires = "cold")]
    hard: bool,
    /// With --cold: the size that it is to have there: m1.small, or vcpus:memory_mib:root_gib.
    #[arg(long, requires = "cold")]
    flavor: Option<Flavor>,
    /// Shut it down, move it, and start it again. Confirm or revert it with `instances`, or, in another pool, with
    /// --confirm or --revert here: until then it is kept where it was.
    #[arg(long)]
    cold: bool,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    other: Other,
    #[command(flatten)]
    options: Options,
}

/// Another pool.
#[derive(Debug, Args)]
#[command(next_help_heading = "Another pool")]
struct Other {
    /// Its coordinator: https://HOST.
    #[arg(long, value_name = "URL", group = "elsewhere")]
    pool: Option<String>,
    /// One that is simulated like this one, as long as this runs.
    #[arg(long, group = "elsewhere", conflicts_with_all = ["confirm", "revert"])]
    simulated_pool: bool,
    /// Its user.
    #[arg(
        long,
        default_value = "root",
        value_name = "USER",
        requires = "pool",
        conflicts_with = "simulated_pool"
    )]
    pool_user: String,
    /// A file whose first line is its password; without it, it is that of this pool.
    #[arg(long, value_name = "FILE", requires = "pool", conflicts_with = "simulated_pool")]
    pool_password_file: Option<PathBuf>,
    /// A network of this pool, by uuid, and that of the other one that takes its place; else it is that of the same name.
    #[arg(long, value_name = "UUID=NAME|UUID", value_parser = cli::key_value, requires = "elsewhere")]
    network: Vec<(String, String)>,
    /// With --cold: move an instance that has snapshots without them.
    #[arg(long, requires_all = ["cold", "elsewhere"])]
    leave_snapshots: bool,
    /// Keep an instance that was moved there, and remove it here.
    #[arg(long, requires = "pool", conflicts_with_all = ["revert", "cold", "to", "sr", "disk", "over", "network"])]
    confirm: bool,
    /// Have it here as it was, and remove it there.
    #[arg(long, requires = "pool", conflicts_with_all = ["cold", "to", "sr", "disk", "over", "network"])]
    revert: bool,
}

impl Cli {
    /// How a running guest is brought down.
    fn shutdown(&self) -> Shutdown {
        if self.hard { Shutdown::Hard } else { Shutdown::NOVA }
    }

    fn disks(&self) -> BTreeMap<String, SrChoice> {
        cli::disks(&self.disk)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::parse::<Cli>();
    let way = |ui: &Ui| cli.options.way(ui);
    world::program_as(&cli.common, way, async |world, ui| run(&cli, world, ui).await).await
}

async fn run(cli: &Cli, world: &World, ui: &Ui) -> Result<Table> {
    let which = Which::parse(&cli.instance);
    let sr = cli.sr.clone().map(SrChoice::Named);
    ui.begin();
    let Some(node) = cli.to.filter(|_| cli.other.pool.is_none() && !cli.other.simulated_pool) else {
        let target = cli.other.pool.clone().map(|url| Target {
            url: Some(url),
            user: Some(cli.other.pool_user.clone()),
            password_file: cli.other.pool_password_file.clone().or(cli.common.target.password_file.clone()),
            ..cli.common.target.clone()
        });
        let pool = world.newcomer(target.as_ref()).await?;
        let moved = to_pool(cli, world.driver(), &pool, which, ui).await;
        // What became of the instance counts, also when nobody is left there to log out from.
        if let Err(error) = pool.close().await {
            ui.warn(&format!("warning: the session at the other pool stays until that ends it: {error}"));
        }
        return moved;
    };
    if cli.cold {
        let (node, flavor, shutdown) = (Some(node), cli.flavor.clone(), cli.shutdown());
        let options = ResizeOptions {
            node,
            flavor,
            sr,
            disks: cli.disks(),
            shutdown,
            progress: ui.progress(),
            ..ResizeOptions::default()
        };
        let moved = ui.until_interrupted(world.driver().resize(which, options)).await?;
        return Ok(Table::of([
            ("node", json!(moved.node_uuid)),
            ("disks", json!(moved.replaced_disks)),
            ("state", json!(format!("{}, to be confirmed or reverted", moved.power_state))),
        ]));
    }
    let network = cli.over.clone();
    let options = MigrateOptions {
        sr,
        disks: cli.disks(),
        network,
        progress: ui.progress(),
        ..MigrateOptions::to(node)
    };
    let moved = match cli.plan {
        true => world.driver().plan_live_migration(&which, &options).await?,
        false => ui.until_interrupted(world.driver().live_migrate(which, options)).await?,
    };
    Ok(Table::of([("node", json!(moved.node_uuid)), ("disks", json!(moved.disks))]))
}

async fn to_pool(cli: &Cli, driver: &Driver, pool: &Driver, which: Which, ui: &Ui) -> Result<Table> {
    let ended = |how: &str| Ok(Table::of([("instance", json!(cli.instance)), ("state", json!(how))]));
    if cli.other.confirm {
        ui.until_interrupted(driver.confirm_move(which, pool, ui.progress())).await?;
        return ended("confirmed");
    }
    if cli.other.revert {
        ui.until_interrupted(driver.revert_move(which, pool, ui.progress())).await?;
        return ended("reverted");
    }
    let place = PoolPlace {
        node: cli.to,
        sr: cli.sr.clone().map(SrChoice::Named),
        networks: cli.other.network.iter().cloned().collect(),
        disks: cli.disks(),
    };
    if !cli.cold {
        let options = PoolMigrateOptions { place, over: cli.over.clone(), progress: ui.progress() };
        let moved = match cli.plan {
            true => driver.plan_pool_migration(&which, pool, &options).await?,
            false => ui.until_interrupted(driver.migrate_to_pool(which, pool, options)).await?,
        };
        return Ok(Table::of([("node", json!(moved.node_uuid)), ("disks", json!(moved.disks))]));
    }
    let (flavor, shutdown, leave_snapshots) = (cli.flavor.clone(), cli.shutdown(), cli.other.leave_snapshots);
    let options = MoveOptions {
        place,
        flavor,
        shutdown,
        leave_snapshots,
        progress: ui.progress(),
        ..MoveOptions::default()
    };
    let moved = ui.until_interrupted(driver.move_to_pool(which, pool, options)).await?;
    Ok(Table::of([
        ("node", json!(moved.node_uuid)),
        ("vm", json!(moved.vm_uuid)),
        ("disks", json!(moved.disks)),
        ("state", json!(format!("{}, to be confirmed or reverted", moved.power_state))),
    ]))
}
