//! Tells what works from this machine with the settings that an operator has, before anything is started.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use examples::cli::{self, Common};
use examples::options::Options;
use examples::reconcile;
use examples::report;
use examples::report::Said;
use examples::table::Table;
use examples::ui::Ui;
use examples::world::World;
use serde_json::{Map, Value, json};
use xenapi_config::{OPTIONS, Origin, Settings};
use xenapi_driver::compatibility::{
    Compatibility, HostHealth, Machine, Mode, PluginState, RepositoryHealth, Strictness,
};

/// Check settings, mode and plugins, and print every row of the independent-compute table.
///
/// Settings come from --nova-conf, then --config, then the environment (OS_XENSERVER__CHECK_HOST), then
/// --set; the last one counts. Without --url, connection_url among them says where the host is; without
/// either, a simulated pool is looked at. The exit code is 1 when the settings do not fit, or something
/// could not be put in order.
#[derive(Debug, Parser)]
#[command(name = "doctor", version)]
struct Cli {
    /// Refuse what the specification refuses, also where it could be done: --set strictness=strict.
    #[arg(long)]
    strict: bool,
    /// Then complete or undo what programs left in the pool that were killed, and tell what was done.
    #[arg(long)]
    reconcile: bool,
    /// How old such things must be, in seconds: no program may still be busy with them.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, requires = "reconcile")]
    older_than: u64,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::parse::<Cli>();
    report::log();
    let (text, code) = match run(&cli).await {
        Ok((text, true)) => (text, ExitCode::SUCCESS),
        Ok((text, false)) => (text, ExitCode::FAILURE),
        Err(error) => return report::exit(Err::<(), _>(error), cli.common.json),
    };
    match report::print(&[text]) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

/// What to print, and whether the settings fit and nothing was left that should have been put in order.
async fn run(cli: &Cli) -> Result<(String, bool)> {
    let mut settings = cli.options.read()?;
    if cli.strict {
        settings = settings.command_line([("strictness", "strict")]);
    }
    let mut common = cli.common.clone();
    let target = &mut common.target;
    let password = settings.is_set("connection_password").then(|| settings.text("connection_password"));
    if target.url.is_none()
        && !target.simulated
        && target.simulator_state.is_none()
        && settings.is_set("connection_url")
        && !settings.text("connection_url").starts_with("unix:")
    {
        target.url = Some(settings.text("connection_url"));
        target.user.get_or_insert_with(|| settings.text("connection_username"));
        target.known_password = password.filter(|_| target.password_file.is_none());
    }
    let is_simulated = target.host().is_none();
    let ui = Ui::new(common.json);
    let world = World::open(&common, &ui).await?;
    let report =
        world.driver().compatibility(&settings, Strictness::of(&settings), &Machine::default()).await;
    let reconciled = match (&report, cli.reconcile) {
        (Ok(_), true) => {
            let older_than = Duration::from_secs(cli.older_than);
            reconcile::run(&world, older_than, common.dry_run, &ui).await.map(Some)
        }
        _ => Ok(None),
    };
    let report = world.end(report, &ui).await?;
    let reconciled = reconciled?;
    // Errors are among the conflicts.
    let warnings = settings.findings().into_iter().filter(|finding| !finding.is_error);
    let mut findings: Vec<String> = warnings.map(|finding| finding.to_string()).collect();
    if is_simulated || cli.common.target.url.is_some() {
        // Where the host is was said in another way.
        findings.retain(|text| {
            !text.ends_with("it says which host to drive") && text != "connection_password is not set"
        });
    }
    let fits = report.conflicts.is_empty() && !reconciled.as_ref().is_some_and(Said::failed);
    let trust = common.target.trusts();
    let text = match common.json {
        true => as_json(&settings, &findings, &report, &trust, reconciled.as_ref())?,
        false => {
            let mut lines = vec![as_text(&settings, &findings, &report, &trust)];
            lines.extend(reconciled.iter().flat_map(|table| table.lines(false)));
            lines.join("\n")
        }
    };
    Ok((text, fits))
}

/// Options that somebody has set, with their values and origins.
fn set_options(settings: &Settings) -> impl Iterator<Item = (&'static str, String, &Origin)> {
    let set = OPTIONS.iter().filter(|option| settings.is_set(option.name));
    set.filter_map(|option| {
        Some((option.name, settings.get(option.name)?.to_string(), settings.origin(option.name)))
    })
}

fn as_json(
    settings: &Settings,
    findings: &[String],
    report: &Compatibility,
    trust: &str,
    reconciled: Option<&Table>,
) -> Result<String> {
    let options: Map<String, Value> = set_options(settings)
        .map(|(name, value, origin)| (name.to_owned(), json!({"value": value, "origin": origin.to_string()})))
        .collect();
    let mut object = serde_json::to_value(report)?;
    object["options"] = options.into();
    object["findings"] = json!(findings);
    object["trust"] = trust.into();
    object["warnings"] = json!(warnings(report));
    if let Some(table) = reconciled {
        object["reconciled"] = json!(table.programs());
    }
    Ok(object.to_string())
}

/// What an operator should do something about although it works.
fn warnings(report: &Compatibility) -> Vec<String> {
    let unplugged = |sr: &RepositoryHealth| {
        let hosts = sr.unplugged_on.join(", ");
        (!hosts.is_empty()).then(|| format!("SR {:?} is not plugged on {hosts}", sr.name))
    };
    report
        .hosts
        .iter()
        .flat_map(HostHealth::warnings)
        .chain(report.repositories.iter().filter_map(unplugged))
        .collect()
}

fn as_text(settings: &Settings, findings: &[String], report: &Compatibility, trust: &str) -> String {
    let mut lines = vec![match &report.mode {
        Mode::Independent { because } => format!("mode: independent, because {because}"),
        Mode::Inside { vm_uuid, name } => format!("mode: inside VM {name:?} ({vm_uuid}) of the endpoint"),
    }];
    lines.extend(
        set_options(settings).map(|(name, value, origin)| format!("option {name} = {value} ({origin})")),
    );
    lines.extend(findings.iter().map(|text| format!("settings: {text}")));
    lines.push(format!("trust: {trust}"));
    for sr in &report.repositories {
        let default = if sr.is_default { ", the default" } else { "" };
        let files = if sr.is_file_based { ", file-based" } else { "" };
        lines.push(format!("SR {:?}: type {}{default}{files}", sr.name, sr.sr_type));
    }
    for host in &report.hosts {
        if let Some(ahead) = host.clock_ahead_ms {
            let (seconds, within) = (ahead as f64 / 1e3, host.clock_within_ms as f64 / 1e3);
            lines.push(format!("host {}: clock {seconds:+.1} s, within {within:.1} s", host.host));
        }
        for (path, free) in &host.folders {
            let state = match free {
                Some(bytes) => format!("{} MiB free", bytes >> 20),
                None => "not there".to_owned(),
            };
            lines.push(format!("host {}: {path}: {state}", host.host));
        }
    }
    lines.extend(warnings(report).iter().map(|text| format!("warning: {text}")));
    for host in &report.plugins {
        let state = match &host.state {
            PluginState::Installed { version, functions } => {
                format!("xapi-plugins {version}, {} plugins", functions.len())
            }
            PluginState::Foreign { version } => format!("other plugins, version {version}"),
            PluginState::Missing => "no plugins".to_owned(),
            PluginState::Unknown { why } => format!("cannot be asked: {why}"),
        };
        lines.push(format!("host {}: {state}", host.host));
    }
    lines.extend(report.rows.iter().map(|row| format!("{}: {}", row.feature, row.verdict)));
    lines.extend(report.conflicts.iter().map(|text| format!("conflict: {text}")));
    lines.join("\n")
}
