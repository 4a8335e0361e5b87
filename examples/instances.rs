//! The instances of a pool: list, power, resize, rescue, and order after a crash.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use examples::cli::Target;
use examples::report;
use examples::table::Table;
use examples::ui::Ui;
use examples::world::World;
use serde_json::json;
use uuid::Uuid;
use xenapi_driver::reconcile::ReconcileOptions;
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::{Flavor, SrChoice};
use xenapi_driver::{LiveUpdate, PowerChange, Shutdown, Which};

/// List and change the instances of a pool.
#[derive(Debug, Parser)]
#[command(name = "instances", version)]
struct Cli {
    #[command(flatten)]
    target: Target,
    /// Print results as JSON, one object a line, and no progress.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All instances, halted ones too.
    List,
    /// One instance, with its interfaces and volumes.
    Show { instance: String },
    /// Bring an instance into a power state.
    Power {
        instance: String,
        state: State,
        /// Do not ask the guest.
        #[arg(long)]
        hard: bool,
    },
    /// Give an instance another size, host or repository; confirm or revert it afterwards.
    Resize {
        instance: String,
        /// m1.small, or vcpus:memory_mib:root_gib.
        #[arg(long)]
        flavor: Option<Flavor>,
        /// Uuid of the host it is to be on.
        #[arg(long, value_name = "UUID")]
        node: Option<Uuid>,
        /// Name or uuid of the repository its disks are to be in.
        #[arg(long, value_name = "NAME|UUID")]
        sr: Option<String>,
    },
    /// Keep the new size.
    Confirm { instance: String },
    /// Have the old size again.
    Revert { instance: String },
    /// Boot an instance from a rescue disk.
    Rescue {
        instance: String,
        /// The rescue disk's image.
        #[arg(long, value_name = "FILE")]
        image: PathBuf,
    },
    /// End a rescue.
    Unrescue { instance: String },
    /// Change an instance's metadata, as its guest finds it in xenstore.
    Metadata {
        instance: String,
        /// A key to set (KEY=VALUE) or to remove (KEY).
        #[arg(required = true, value_name = "KEY[=VALUE]")]
        changes: Vec<String>,
    },
    /// Compare an instance's config drive with what was written to it.
    CheckDrive { instance: String },
    /// Remove an instance with its disks.
    Destroy { instance: String },
    /// Complete or undo what programs left that were killed.
    Reconcile {
        /// Only tell what would be done.
        #[arg(long)]
        dry_run: bool,
        /// How old something must be, in seconds: no program may still be busy with it.
        #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
        older_than: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    On,
    Off,
    Reboot,
    Pause,
    Unpause,
    Suspend,
    Resume,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    report::log();
    let ui = Ui::new(cli.json);
    let result = async {
        let world = World::open(&cli.target, &ui).await?;
        let result = run(&cli.command, &world, &ui).await;
        world.end(result, &ui).await?.print(cli.json)
    };
    report::end(result.await, cli.json)
}

async fn run(command: &Command, world: &World, ui: &Ui) -> Result<Table> {
    let driver = world.driver();
    let progress = || {
        ui.begin();
        ui.progress()
    };
    let done = |instance: &str, state: String| {
        Ok(Table::of([("instance", json!(instance)), ("state", json!(state))]))
    };
    match command {
        Command::List => list(world).await,
        Command::Show { instance } => show(world, instance).await,
        Command::Power { instance, state, hard } => {
            let change = change(*state, *hard)?;
            let state = driver.power(Which::parse(instance), change, progress());
            done(instance, ui.until_interrupted(state).await?.to_string())
        }
        Command::Resize { instance, flavor, node, sr } => {
            let sr = sr.clone().map(SrChoice::Named);
            let options = ResizeOptions {
                flavor: flavor.clone(),
                node: *node,
                sr,
                progress: progress(),
                ..ResizeOptions::default()
            };
            let resized = ui.until_interrupted(driver.resize(Which::parse(instance), options)).await?;
            done(instance, format!("{}, to be confirmed or reverted", resized.power_state))
        }
        Command::Confirm { instance } => {
            ui.until_interrupted(driver.confirm_resize(Which::parse(instance), progress())).await?;
            done(instance, "confirmed".to_owned())
        }
        Command::Revert { instance } => {
            ui.until_interrupted(driver.revert_resize(Which::parse(instance), progress())).await?;
            done(instance, "reverted".to_owned())
        }
        Command::Rescue { instance, image } => {
            let options = RescueOptions { progress: progress(), ..RescueOptions::with(image) };
            ui.until_interrupted(driver.rescue(Which::parse(instance), options)).await?;
            done(instance, "rescued".to_owned())
        }
        Command::Metadata { instance, changes } => {
            let change = |text: &String| match text.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (text.clone(), None),
            };
            let changes = changes.iter().map(change).collect();
            let changed = driver.change_metadata(Which::parse(instance), changes, progress());
            let state = match ui.until_interrupted(changed).await? {
                LiveUpdate::Written => "the guest finds it now",
                LiveUpdate::NotRunning => "the guest finds it when it is started",
                _ => "the guest finds it after its next boot: the host has no plugin for more",
            };
            done(instance, state.to_owned())
        }
        Command::CheckDrive { instance } => {
            ui.until_interrupted(driver.check_config_drive(Which::parse(instance), progress())).await?;
            done(instance, "the config drive is what was written".to_owned())
        }
        Command::Unrescue { instance } => {
            ui.until_interrupted(driver.unrescue(Which::parse(instance), progress())).await?;
            done(instance, "itself again".to_owned())
        }
        Command::Destroy { instance } => {
            ui.until_interrupted(driver.destroy(Which::parse(instance), progress())).await?;
            done(instance, "gone".to_owned())
        }
        Command::Reconcile { dry_run, older_than } => {
            let older_than = Duration::from_secs(*older_than);
            let options = ReconcileOptions { older_than, dry_run: *dry_run, progress: progress() };
            reconcile(world, options, ui).await
        }
    }
}

fn change(state: State, hard: bool) -> Result<PowerChange> {
    let shutdown = if hard { Shutdown::Hard } else { Shutdown::NOVA };
    let change = match state {
        State::On => PowerChange::On,
        State::Off => PowerChange::Off(shutdown),
        State::Reboot => PowerChange::Reboot(shutdown),
        State::Pause => PowerChange::Pause,
        State::Unpause => PowerChange::Unpause,
        State::Suspend => PowerChange::Suspend,
        State::Resume => PowerChange::Resume,
    };
    if hard && !matches!(state, State::Off | State::Reboot) {
        bail!("only off and reboot can be --hard");
    }
    Ok(change)
}

async fn list(world: &World) -> Result<Table> {
    let mut table = Table::default();
    for instance in world.driver().instances().await? {
        let state = match (instance.unfinished, instance.soft_deleted, instance.rescued, instance.resize) {
            (true, ..) => " (unfinished)",
            (_, true, ..) => " (deleted)",
            (_, _, true, _) => " (rescued)",
            (.., Some(_)) => " (resized)",
            _ => "",
        };
        table.row([
            ("name", json!(instance.name)),
            ("instance", json!(instance.uuid.to_string())),
            ("state", json!(format!("{}{state}", instance.power_state))),
            ("vcpus", json!(instance.vcpus)),
            ("memory_mib", json!(instance.memory_bytes >> 20)),
            ("node", json!(instance.node)),
        ]);
    }
    Ok(table)
}

async fn show(world: &World, instance: &str) -> Result<Table> {
    let which = Which::parse(instance);
    let info = world.driver().instance(&which).await?;
    let interfaces = world.driver().interfaces(&which).await?;
    let interfaces: Vec<_> = interfaces.into_iter().map(|i| format!("{} {}", i.device, i.mac)).collect();
    let volumes = world.driver().volumes(&which).await?;
    let volumes: Vec<_> = volumes.into_iter().map(|v| format!("{} {}", v.device, v.id)).collect();
    Ok(Table::of([
        ("name", json!(info.name)),
        ("instance", json!(info.uuid.to_string())),
        ("vm", json!(info.vm_uuid)),
        ("state", json!(info.power_state.to_string())),
        ("interfaces", json!(interfaces)),
        ("volumes", json!(volumes)),
    ]))
}

async fn reconcile(world: &World, options: ReconcileOptions, ui: &Ui) -> Result<Table> {
    let verb = if options.dry_run { "would" } else { "done" };
    let result = ui.until_interrupted(world.driver().reconcile(options)).await?;
    let mut table = Table::default();
    let mut add = |what: String, how: &str| table.row([("what", json!(what)), ("how", json!(how))]);
    result.done.iter().for_each(|finding| add(finding.to_string(), verb));
    result.too_young.iter().for_each(|finding| add(finding.to_string(), "too young"));
    result.leftovers.iter().for_each(|left| add(left.to_string(), "failed"));
    result.waiting.iter().for_each(|vm| add(format!("confirm or revert the resize of VM {vm}"), "waits"));
    Ok(table)
}
