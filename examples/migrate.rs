//! Moves an instance to another host or to another pool, running or not.

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
use xenapi_driver::spec::SrChoice;
use xenapi_driver::{Driver, Which};

/// Move an instance to another host, or to another pool, while it runs. Ctrl-C aborts: it goes on where it is.
#[derive(Debug, Parser)]
#[command(name = "migrate", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    /// Name or uuid of the instance.
    instance: String,
    /// Uuid of the host; in another pool it may be left out where there is only one.
    #[arg(long, value_name = "UUID", required_unless_present_any = ["pool", "simulated_pool"])]
    to: Option<Uuid>,
    /// Name or uuid of the repository for disks that the host does not reach; of all disks, in another pool.
    #[arg(long, value_name = "NAME|UUID")]
    sr: Option<String>,
    /// Only tell what would be done.
    #[arg(long, conflicts_with_all = ["cold", "pool", "simulated_pool"])]
    plan: bool,
    /// Shut it down, move it, and start it again. Confirm or revert it with `instances`, or, in another pool, with
    /// --confirm or --revert here: until then it is kept where it was.
    #[arg(long)]
    cold: bool,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    other: Other,
}

/// Another pool.
#[derive(Debug, Args)]
#[command(next_help_heading = "Another pool")]
struct Other {
    /// Its master: https://HOST.
    #[arg(long, value_name = "URL")]
    pool: Option<String>,
    /// One that is simulated like this one, as long as this runs.
    #[arg(long, conflicts_with_all = ["pool", "confirm", "revert"])]
    simulated_pool: bool,
    /// Its user.
    #[arg(long, default_value = "root", value_name = "USER")]
    pool_user: String,
    /// A file whose first line is its password; without it, it is that of this pool.
    #[arg(long, value_name = "FILE")]
    pool_password_file: Option<PathBuf>,
    /// A network of this pool, by uuid, and that of the other one that takes its place; else it is that of the same name.
    #[arg(long, value_name = "UUID=NAME|UUID", value_parser = network)]
    network: Vec<(String, String)>,
    /// With --cold: move an instance that has snapshots without them.
    #[arg(long, requires = "cold")]
    leave_snapshots: bool,
    /// Keep an instance that was moved there, and remove it here.
    #[arg(long, requires = "pool", conflicts_with = "revert")]
    confirm: bool,
    /// Have it here as it was, and remove it there.
    #[arg(long, requires = "pool")]
    revert: bool,
}

fn network(text: &str) -> Result<(String, String), String> {
    let (here, there) = text.split_once('=').ok_or("write it as UUID=NAME")?;
    Ok((here.to_owned(), there.to_owned()))
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
            user: cli.other.pool_user.clone(),
            password_file: cli.other.pool_password_file.clone().or(cli.common.target.password_file.clone()),
            ..cli.common.target.clone()
        });
        let pool = world.newcomer(target.as_ref()).await?;
        let moved = to_pool(cli, world.driver(), &pool, which, ui).await;
        pool.close().await?;
        return moved;
    };
    if cli.cold {
        let options =
            ResizeOptions { node: Some(node), sr, progress: ui.progress(), ..ResizeOptions::default() };
        let moved = ui.until_interrupted(world.driver().resize(which, options)).await?;
        return Ok(Table::of([
            ("node", json!(moved.node_uuid)),
            ("disks", json!(moved.replaced_disks)),
            ("state", json!(moved.power_state.to_string())),
        ]));
    }
    let options = MigrateOptions { sr, progress: ui.progress(), ..MigrateOptions::to(node) };
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
        ..PoolPlace::default()
    };
    if !cli.cold {
        let options = PoolMigrateOptions { place, progress: ui.progress(), ..PoolMigrateOptions::default() };
        let moved = ui.until_interrupted(driver.migrate_to_pool(which, pool, options)).await?;
        return Ok(Table::of([("node", json!(moved.node_uuid)), ("disks", json!(moved.disks))]));
    }
    let leave_snapshots = cli.other.leave_snapshots;
    let options = MoveOptions { place, leave_snapshots, progress: ui.progress(), ..MoveOptions::default() };
    let moved = ui.until_interrupted(driver.move_to_pool(which, pool, options)).await?;
    Ok(Table::of([
        ("node", json!(moved.node_uuid)),
        ("vm", json!(moved.vm_uuid)),
        ("disks", json!(moved.disks)),
        ("state", json!(format!("{}, to be confirmed or reverted", moved.power_state))),
    ]))
}
