//! Moves an instance to another host of the pool, running or not.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use examples::cli::{self, Common};
use examples::table::Table;
use examples::ui::Ui;
use examples::world::{self, World};
use serde_json::json;
use uuid::Uuid;
use xenapi_driver::Which;
use xenapi_driver::live::MigrateOptions;
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::SrChoice;

/// Move an instance to another host of the pool while it runs. Ctrl-C aborts: it goes on where it is.
#[derive(Debug, Parser)]
#[command(name = "migrate", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    /// Name or uuid of the instance.
    instance: String,
    /// Uuid of the host.
    #[arg(long, value_name = "UUID")]
    to: Uuid,
    /// Name or uuid of the repository for disks that the host does not reach.
    #[arg(long, value_name = "NAME|UUID")]
    sr: Option<String>,
    /// Only tell what would be done.
    #[arg(long, conflicts_with = "cold")]
    plan: bool,
    /// Shut it down, move it, and start it again; confirm or revert with `instances`.
    #[arg(long)]
    cold: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::parse::<Cli>();
    world::program(&cli.common, async |world, ui| run(&cli, world, ui).await).await
}

async fn run(cli: &Cli, world: &World, ui: &Ui) -> Result<Table> {
    let which = Which::parse(&cli.instance);
    let sr = cli.sr.clone().map(SrChoice::Named);
    ui.begin();
    if cli.cold {
        let options =
            ResizeOptions { node: Some(cli.to), sr, progress: ui.progress(), ..ResizeOptions::default() };
        let moved = ui.until_interrupted(world.driver().resize(which, options)).await?;
        return Ok(Table::of([
            ("node", json!(moved.node_uuid)),
            ("disks", json!(moved.replaced_disks)),
            ("state", json!(moved.power_state.to_string())),
        ]));
    }
    let options = MigrateOptions { sr, progress: ui.progress(), ..MigrateOptions::to(cli.to) };
    let moved = match cli.plan {
        true => world.driver().plan_live_migration(&which, &options).await?,
        false => ui.until_interrupted(world.driver().live_migrate(which, options)).await?,
    };
    Ok(Table::of([("node", json!(moved.node_uuid)), ("disks", json!(moved.disks))]))
}
