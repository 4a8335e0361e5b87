//! The instances of a pool: list, power, resize, rescue, and order after a crash.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use examples::cli::{self, Common};
use examples::options::Options;
use examples::reconcile;
use examples::table::Table;
use examples::ui::Ui;
use examples::world::{self, World};
use serde_json::json;
use uuid::Uuid;
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::{Flavor, SrChoice};
use xenapi_driver::{LiveUpdate, PowerChange, Shutdown, Which};

/// List and change the instances of a pool.
#[derive(Debug, Parser)]
#[command(name = "instances", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    /// Take the instance over first if it is a VM that somebody else made: write xenapi-rs:owner, :instance,
    /// :operation and :self, and nova_uuid, into its other_config, and but for nova_uuid into that of the disks that
    /// it alone writes to, which end with it from then on. Without this, such a VM is never touched.
    #[arg(long, global = true)]
    adopt: bool,
    #[command(flatten)]
    options: Options,
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
        /// Do not ask the guest. Without this it has a minute, or for a reboot what the option reboot_timeout says.
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
    /// Print what the guest wrote to its first serial console, up to 100 KiB.
    ConsoleLog { instance: String },
    /// What its host measures of an instance.
    Diagnostics { instance: String },
    /// What its interfaces have moved lately.
    Traffic {
        instance: String,
        /// How far back, in minutes.
        #[arg(long, value_name = "MINUTES", default_value_t = 60)]
        last: u64,
    },
    /// Tell what becomes of instances, whoever does it, until Ctrl-C.
    Watch {
        /// End after so many events.
        #[arg(long, value_name = "NUMBER")]
        count: Option<usize>,
    },
    /// Take a VM over that somebody else made, and do nothing else with it: --adopt says what is written.
    Adopt { instance: String },
    /// Compare an instance's config drive with what was written to it.
    CheckDrive { instance: String },
    /// Remove an instance with its disks.
    Destroy { instance: String },
    /// Complete or undo what programs left that were killed.
    Reconcile {
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
    let cli = cli::parse::<Cli>();
    world::program_as(
        &cli.common,
        |ui: &Ui| cli.options.way(ui),
        async |world, ui| {
            if let Some(vm) = cli.command.changes().filter(|_| cli.adopt) {
                adopt(world, vm, ui).await?;
            }
            run(&cli, world, ui).await
        },
    )
    .await
}

impl Command {
    /// The instance that it is about.
    fn changes(&self) -> Option<&str> {
        match self {
            Self::List | Self::Watch { .. } | Self::Reconcile { .. } | Self::Adopt { .. } => None,
            Self::Show { instance }
            | Self::Power { instance, .. }
            | Self::Resize { instance, .. }
            | Self::Confirm { instance }
            | Self::Revert { instance }
            | Self::Rescue { instance, .. }
            | Self::Unrescue { instance }
            | Self::Metadata { instance, .. }
            | Self::ConsoleLog { instance }
            | Self::Diagnostics { instance }
            | Self::Traffic { instance, .. }
            | Self::CheckDrive { instance }
            | Self::Destroy { instance } => Some(instance),
        }
    }
}

/// What looks, here; what changes, in [`act`].
async fn run(cli: &Cli, world: &World, ui: &Ui) -> Result<Table> {
    let command = &cli.command;
    let driver = world.driver();
    match command {
        Command::List => list(world).await,
        Command::Show { instance } => show(world, instance).await,
        Command::Adopt { instance } => adopt(world, instance, ui).await,
        Command::ConsoleLog { instance } => {
            let log = driver.console_log(&Which::parse(instance)).await?;
            Ok(Table::of([("log", json!(log))]))
        }
        Command::Diagnostics { instance } => {
            let mut table = Table::default();
            for (name, value) in driver.diagnostics(&Which::parse(instance)).await? {
                table.row([("source", json!(name)), ("value", json!(value))]);
            }
            Ok(table)
        }
        Command::Traffic { instance, last } => traffic(world, instance, *last).await,
        Command::Watch { count } => watch(world, *count, ui).await,
        Command::Reconcile { older_than } => {
            ui.begin();
            reconcile::run(world, Duration::from_secs(*older_than), cli.common.dry_run, ui).await
        }
        _ => {
            let instance = command.changes().unwrap_or_default();
            let state = act(cli, Which::parse(instance), world, ui).await?;
            Ok(Table::of([("instance", json!(instance)), ("state", json!(state))]))
        }
    }
}

/// Changes an instance, and says what it is then.
async fn act(cli: &Cli, which: Which, world: &World, ui: &Ui) -> Result<String> {
    let driver = world.driver();
    ui.begin();
    let progress = ui.progress();
    Ok(match &cli.command {
        Command::Power { state, hard, .. } => {
            let state = driver.power(which, change(*state, *hard, &cli.options)?, progress);
            ui.until_interrupted(state).await?.to_string()
        }
        Command::Resize { flavor, node, sr, .. } => {
            let (flavor, node, sr) = (flavor.clone(), *node, sr.clone().map(SrChoice::Named));
            let options = ResizeOptions { flavor, node, sr, progress, ..ResizeOptions::default() };
            let resized = ui.until_interrupted(driver.resize(which, options)).await?;
            format!("{}, to be confirmed or reverted", resized.power_state)
        }
        Command::Confirm { .. } => {
            ui.until_interrupted(driver.confirm_resize(which, progress)).await?;
            "confirmed".to_owned()
        }
        Command::Revert { .. } => {
            ui.until_interrupted(driver.revert_resize(which, progress)).await?;
            "reverted".to_owned()
        }
        Command::Rescue { image, .. } => {
            let options = RescueOptions { progress, ..RescueOptions::with(image) };
            ui.until_interrupted(driver.rescue(which, options)).await?;
            "rescued".to_owned()
        }
        Command::Unrescue { .. } => {
            ui.until_interrupted(driver.unrescue(which, progress)).await?;
            "itself again".to_owned()
        }
        Command::Metadata { changes, .. } => {
            let changed = driver.change_metadata(which, metadata(changes), progress);
            match ui.until_interrupted(changed).await? {
                LiveUpdate::Written => "the guest finds it now",
                LiveUpdate::NotRunning => "the guest finds it when it is started",
                _ => "the guest finds it after its next boot: the host has no plugin for more",
            }
            .to_owned()
        }
        Command::CheckDrive { .. } => {
            ui.until_interrupted(driver.check_config_drive(which, progress)).await?;
            "the config drive is what was written".to_owned()
        }
        Command::Destroy { .. } => {
            ui.until_interrupted(driver.destroy(which, progress)).await?;
            "gone".to_owned()
        }
        _ => bail!("this changes no instance"),
    })
}

async fn adopt(world: &World, vm: &str, ui: &Ui) -> Result<Table> {
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

fn metadata(changes: &[String]) -> BTreeMap<String, Option<String>> {
    let change = |text: &String| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text.clone(), None),
    };
    changes.iter().map(change).collect()
}

fn change(state: State, hard: bool, options: &Options) -> Result<PowerChange> {
    let shutdown = match state {
        _ if hard => Shutdown::Hard,
        State::Reboot => options.reboot()?,
        _ => Shutdown::NOVA,
    };
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
            _ if instance.moving.is_some() => " (moved)",
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

async fn traffic(world: &World, instance: &str, minutes: u64) -> Result<Table> {
    let since = SystemTime::now() - Duration::from_secs(minutes.saturating_mul(60));
    let mut table = Table::default();
    for moved in world.driver().traffic(&Which::parse(instance), since).await? {
        table.row([
            ("device", json!(moved.device)),
            ("mac", json!(moved.mac)),
            ("received_bytes", json!(moved.received_bytes)),
            ("sent_bytes", json!(moved.sent_bytes)),
        ]);
    }
    Ok(table)
}

async fn watch(world: &World, count: Option<usize>, ui: &Ui) -> Result<Table> {
    let mut events = world.driver().events().await?;
    let mut table = Table::default();
    let mut left = count.unwrap_or(usize::MAX);
    while left > 0 {
        let event = tokio::select! {
            event = events.next() => event,
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(event) = event else { break };
        let what = format!("{:?}", event.what);
        ui.say(&format!("{} {}: {what}", event.name, event.uuid));
        let (name, uuid) = (json!(event.name), json!(event.uuid.to_string()));
        table.row([("name", name), ("instance", uuid), ("what", json!(what))]);
        left -= 1;
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
