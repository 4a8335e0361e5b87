//! What there is to know of instances.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use examples::load;
use examples::report;
use examples::table::Table;
use examples::world::World;
use serde_json::{Value, json};
use xenapi_driver::observe::Lifecycle;
use xenapi_driver::{Driver, InstanceInfo, Which};
use xenapi_types::host;

#[derive(Debug, Subcommand)]
pub(crate) enum Look {
    /// All instances, halted ones too.
    List,
    /// One instance, with its interfaces and volumes.
    Show { instance: String },
    /// Print what the guest wrote to its first serial console, up to 100 KiB.
    ConsoleLog { instance: String },
    /// What its host measures of an instance.
    Diagnostics { instance: String },
    /// How busy an instance is: processors, memory, interfaces, disks.
    Load { instance: String },
    /// What its interfaces have moved lately.
    Traffic {
        instance: String,
        /// How far back, in minutes.
        #[arg(long, value_name = "MINUTES", default_value_t = 60)]
        last: u64,
    },
    /// Tell what becomes of instances, whoever does it, until Ctrl-C: each event at once, with --json as an
    /// object on a line.
    Watch {
        /// End after so many events.
        #[arg(long, value_name = "NUMBER")]
        count: Option<usize>,
    },
}

impl Look {
    pub(crate) fn instance(&self) -> Option<&str> {
        match self {
            Self::List | Self::Watch { .. } => None,
            Self::Show { instance }
            | Self::ConsoleLog { instance }
            | Self::Diagnostics { instance }
            | Self::Load { instance }
            | Self::Traffic { instance, .. } => Some(instance),
        }
    }

    pub(crate) async fn run(&self, world: &World, json: bool) -> Result<Table> {
        let driver = world.driver();
        match self {
            Self::List => list(world).await,
            Self::Show { instance } => show(world, instance).await,
            Self::ConsoleLog { instance } => {
                let log = driver.console_log(&Which::parse(instance)).await?;
                Ok(Table::of([("log", json!(log))])
                    .for_people(vec![log.strip_suffix('\n').unwrap_or(&log).to_owned()]))
            }
            Self::Diagnostics { instance } => {
                let mut table = Table::default();
                for (name, value) in driver.diagnostics(&Which::parse(instance)).await? {
                    table.row([("source", json!(name)), ("value", json!(value))]);
                }
                Ok(table)
            }
            Self::Load { instance } => {
                Ok(load::table(instance, &driver.instance_load(&Which::parse(instance)).await?))
            }
            Self::Traffic { instance, last } => traffic(world, instance, *last).await,
            Self::Watch { count } => watch(world, *count, json).await,
        }
    }
}

async fn list(world: &World) -> Result<Table> {
    let mut table = Table::default();
    for instance in world.driver().instances().await? {
        table.row([
            ("name", json!(instance.name)),
            ("instance", json!(instance.uuid.to_string())),
            ("state", json!(state(&instance))),
            ("vcpus", json!(instance.vcpus)),
            ("memory_mib", json!(instance.memory_bytes >> 20)),
            ("node", json!(instance.node)),
        ]);
        table.for_programs(states(&instance));
    }
    Ok(table)
}

/// The state of power, and what else there is to know first.
fn state(instance: &InstanceInfo) -> String {
    let state = match (instance.unfinished, instance.soft_deleted, instance.rescued, &instance.resize) {
        (true, ..) => " (unfinished)",
        (_, true, ..) => " (deleted)",
        (_, _, true, _) => " (rescued)",
        (.., Some(_)) => " (resized)",
        _ if instance.destroying => " (being destroyed)",
        _ if instance.moving.is_some() => " (moved)",
        _ => "",
    };
    format!("{}{state}", instance.power_state)
}

/// The same, each by itself.
fn states(instance: &InstanceInfo) -> [(&'static str, Value); 7] {
    [
        ("state", json!(instance.power_state.to_string())),
        ("unfinished", json!(instance.unfinished)),
        ("deleted", json!(instance.soft_deleted)),
        ("rescued", json!(instance.rescued)),
        ("resized", json!(instance.resize.is_some())),
        ("destroying", json!(instance.destroying)),
        ("moved", json!(instance.moving.is_some())),
    ]
}

async fn traffic(world: &World, instance: &str, minutes: u64) -> Result<Table> {
    let since = SystemTime::now().checked_sub(Duration::from_secs(minutes.saturating_mul(60)));
    let since = since.map_or(UNIX_EPOCH, |since| since.max(UNIX_EPOCH));
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

async fn watch(world: &World, count: Option<usize>, as_json: bool) -> Result<Table> {
    let mut events = world.driver().events().await?;
    let mut left = count.unwrap_or(usize::MAX);
    while left > 0 {
        let event = tokio::select! {
            event = events.next() => event,
            _ = tokio::signal::ctrl_c() => break,
        };
        let Some(event) = event else {
            bail!("the pool is followed no more: nothing is known of what comes now")
        };
        let (what, from, to) = told(world.driver(), &event.what).await;
        let line = match as_json {
            true => json!({
                "name": event.name, "instance": event.uuid, "vm": event.vm_uuid, "event": what, "from": from, "to": to,
            })
            .to_string(),
            false => {
                let states = [&from, &to].map(|state| state.as_deref().unwrap_or_default());
                format!("{} {}: {what} {}", event.name, event.uuid, states.join(" ")).trim_end().to_owned()
            }
        };
        report::print(&[line]).context("standard output is closed")?;
        left -= 1;
    }
    Ok(Table::default())
}

/// What happened, from where to where: states of power, or the uuid of the host.
async fn told(driver: &Driver, what: &Lifecycle) -> (&'static str, Option<String>, Option<String>) {
    match what {
        Lifecycle::Created(state) => ("created", None, Some(state.to_string())),
        Lifecycle::Power(from, to) => ("power", Some(from.to_string()), Some(to.to_string())),
        Lifecycle::Moved(host) => {
            // A host that has left meanwhile has no uuid any more.
            let uuid = driver.client().get_field(host, host::field::UUID).await;
            ("moved", None, uuid.ok())
        }
        Lifecycle::Rebooted => ("rebooted", None, None),
        Lifecycle::Removed => ("removed", None, None),
        _ => ("changed", None, None),
    }
}

async fn show(world: &World, instance: &str) -> Result<Table> {
    let which = Which::parse(instance);
    let info = world.driver().instance(&which).await?;
    let interfaces = world.driver().interfaces(&which).await?;
    let interfaces: Vec<_> = interfaces.into_iter().map(|i| format!("{} {}", i.device, i.mac)).collect();
    let volumes = world.driver().volumes(&which).await?;
    let volumes: Vec<_> = volumes.into_iter().map(|v| format!("{} {}", v.device, v.id)).collect();
    let mut table = Table::of([
        ("name", json!(info.name)),
        ("instance", json!(info.uuid.to_string())),
        ("vm", json!(info.vm_uuid)),
        ("state", json!(state(&info))),
        ("interfaces", json!(interfaces)),
        ("volumes", json!(volumes)),
    ]);
    table.for_programs(states(&info));
    Ok(table)
}
