//! Installs the dom0 plugins on hosts over ssh, removes them, and lists what each host has.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use examples::cli::{self, Target};
use examples::report;
use examples::ui::Ui;
use examples::world::World;
use serde_json::json;
use xenapi_config::Settings;
use xenapi_driver::compatibility::{Machine, PluginState, Strictness};

/// What runs on the host: nothing of the command line is part of it. The archive comes over standard input,
/// and its folder goes however this ends.
const INSTALL: &str = "set -e; dir=$(mktemp -d); trap 'rm -rf \"$dir\"' EXIT; \
                       tar -xzf - -C \"$dir\" --strip-components=1; sh \"$dir/install.sh\"";
const REMOVE: &str = "set -e; dir=$(mktemp -d); trap 'rm -rf \"$dir\"' EXIT; \
                      tar -xzf - -C \"$dir\" --strip-components=1; sh \"$dir/install.sh\" --remove";

/// Install, remove and list the dom0 plugins.
///
/// `cargo xtask dist-plugins` makes the archive. ssh asks for no password here: set up a key first, and
/// have the hosts' own keys known.
#[derive(Debug, Parser)]
#[command(name = "plugins", version)]
struct Cli {
    /// Print results as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install the archive on hosts, or what it has newer.
    Install(Remote),
    /// Remove what `install` has put there; plugins that it replaced come back.
    Remove(Remote),
    /// Ask each host of a pool through XAPI which plugins it has.
    List {
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Args)]
struct Remote {
    /// The hosts, as ssh takes them: root@xen1.
    #[arg(required = true, value_name = "USER@HOST")]
    hosts: Vec<String>,
    /// The archive.
    #[arg(long, value_name = "FILE")]
    archive: PathBuf,
    /// The program that connects.
    #[arg(long, value_name = "PROGRAM", default_value = "ssh")]
    ssh: PathBuf,
    /// Print the commands and run none.
    #[arg(long)]
    dry_run: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::parse::<Cli>();
    report::log();
    let text = match &cli.command {
        Verb::Install(remote) => on_each(remote, INSTALL).map(|lines| shown(&lines, cli.json)),
        Verb::Remove(remote) => on_each(remote, REMOVE).map(|lines| shown(&lines, cli.json)),
        Verb::List { target } => list(target, cli.json).await,
    };
    match text {
        Ok(text) => match report::print(&[text]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => report::exit(Err::<(), _>(error), cli.json),
    }
}

/// Runs a script on every host, also after one has failed; all failures are told.
fn on_each(remote: &Remote, script: &str) -> Result<Vec<(String, String)>> {
    for host in &remote.hosts {
        let plain = |c: char| c.is_ascii_alphanumeric() || "@.:-_%[]".contains(c);
        ensure!(host.chars().all(plain) && !host.starts_with('-'), "{host:?} is not USER@HOST");
    }
    let archive = std::fs::read(&remote.archive).with_context(|| remote.archive.display().to_string())?;
    ensure!(archive.starts_with(&[0x1f, 0x8b]), "{} is no .tar.gz", remote.archive.display());
    let (mut lines, mut failures) = (Vec::new(), Vec::new());
    for host in &remote.hosts {
        let args = ["-o", "BatchMode=yes", host, "--", script];
        if remote.dry_run {
            let (ssh, file) = (remote.ssh.display(), remote.archive.display());
            // As a shell takes it for one word.
            let script = script.replace('\'', r"'\''");
            lines.push((host.clone(), format!("{ssh} {} '{script}' < {file}", args[..4].join(" "))));
            continue;
        }
        match run(&remote.ssh, &args, &archive) {
            Ok(said) => lines.push((host.clone(), said)),
            Err(error) => failures.push(format!("{host}: {error:#}")),
        }
    }
    if !failures.is_empty() {
        let done = lines.into_iter().map(|(host, said)| format!("{host}: {said}"));
        bail!("{}", done.chain(failures).collect::<Vec<_>>().join("\n"));
    }
    Ok(lines)
}

/// What each host said, or the command for it.
fn shown(lines: &[(String, String)], as_json: bool) -> String {
    let line = |(host, said): &(String, String)| match as_json {
        true => json!({ "host": host, "said": said }).to_string(),
        false if said.contains(host.as_str()) => said.clone(),
        false => format!("{host}: {said}"),
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn run(program: &Path, args: &[&str], stdin: &[u8]) -> Result<String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| program.display().to_string())?;
    if let Some(mut pipe) = child.stdin.take() {
        // A host that does not want it says why by its exit code and its words.
        let _ = pipe.write_all(stdin);
    }
    let output = child.wait_with_output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", output.status, stderr.trim());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

async fn list(target: &Target, json: bool) -> Result<String> {
    let ui = Ui::new(json);
    let world = World::at(target, &ui).await?;
    let report = world.driver().compatibility(&Settings::new(), Strictness::Able, &Machine::default()).await;
    let report = world.end(report, &ui).await?;
    if json {
        let lines: Vec<_> = report.plugins.iter().map(|host| json!(host).to_string()).collect();
        return Ok(lines.join("\n"));
    }
    let lines = report.plugins.iter().map(|host| match &host.state {
        PluginState::Installed { version, functions } => {
            let names: Vec<&str> = functions.keys().map(String::as_str).collect();
            format!("{}: xapi-plugins {version}: {}", host.host, names.join(", "))
        }
        PluginState::Foreign { version } => format!("{}: other plugins, version {version}", host.host),
        PluginState::Missing => format!("{}: none", host.host),
        PluginState::Unknown { why } => format!("{}: cannot be asked: {why}", host.host),
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}
