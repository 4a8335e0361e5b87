//! A daemon beside a pool: follows it by events, serves what it sees to Prometheus, and puts in order from time
//! to time what killed programs left behind.

mod serve;
mod systemd;

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use examples::cli::{self, Target};
use examples::metrics::{self, Chores};
use examples::options::Options;
use examples::report;
use examples::ui::Ui;
use examples::world::World;
use sd_notify::NotifyState;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing_subscriber::filter::LevelFilter;
use xenapi_client::Cache;
use xenapi_driver::Driver;
use xenapi_driver::reconcile::{Finding, ReconcileOptions};
use xenapi_types::{Host, HostMetrics, Sr, Vm};

/// Watch a pool, serve metrics, and reconcile on a timer.
///
/// GET /metrics is for Prometheus; GET /healthz answers 200 while the pool is followed, and else 503 with the
/// reason. It ends with 1 when the pool will not be followed again, as when the host refuses the password.
/// SIGTERM and Ctrl-C end it: what a reconciliation is doing is brought to an end first. systemd is told when
/// it is ready and, where it watches, that it answers (Type=notify, WatchdogSec).
#[derive(Debug, Parser)]
#[command(name = "agent", version)]
struct Cli {
    /// Where metrics are served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9618")]
    listen: SocketAddr,
    /// Ask the agent at this address how it is, as a health check, and end: with 0 if it follows its pool.
    #[arg(long, value_name = "ADDRESS")]
    check: Option<SocketAddr>,
    /// Seconds between two reconciliations; 0 for none.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    reconcile_every: u64,
    /// How old something must be to be reconciled, in seconds: no program may still be busy with it.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    older_than: u64,
    /// Print what a reconciliation would do now, change nothing, and end. Nothing is served.
    #[arg(long, conflicts_with = "check")]
    dry_run: bool,
    /// Print what it does as JSON, one object a line; its log goes to standard error all the same.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    options: Options,
}

impl Cli {
    fn older_than(&self) -> Duration {
        Duration::from_secs(self.older_than)
    }

    /// Tells programs what the log tells people.
    fn tell(&self, what: &serde_json::Value) {
        if self.json {
            // Nothing can be done when standard output is closed.
            let _ = writeln!(std::io::stdout(), "{what}");
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::parse::<Cli>();
    report::log_from(LevelFilter::INFO);
    let result = match cli.check {
        Some(address) => serve::check(address).await.map(|()| cli.tell(&json!({ "health": "following" }))),
        None => run(&cli).await,
    };
    report::exit(result, cli.json)
}

async fn run(cli: &Cli) -> Result<()> {
    // Who forgot to say where its pool is must not be told that it is well.
    ensure!(
        cli.target.is_meant(),
        "which pool? Name it by --url or XENAPI_URL; --simulated makes one up in this process"
    );
    let ui = Ui::new(true);
    let world = World::at_as(&cli.target, cli.options.way(&ui)?, &ui).await?;
    let result = match cli.dry_run {
        true => rehearse(cli, world.driver()).await,
        false => watch(cli, &world).await,
    };
    world.end(result, &ui).await
}

/// Tells what the next round would do, and what it would leave alone.
async fn rehearse(cli: &Cli, driver: &Driver) -> Result<()> {
    let options =
        ReconcileOptions { older_than: cli.older_than(), dry_run: true, ..ReconcileOptions::default() };
    let found = driver.reconcile(options).await?;
    let (would, too_young, unclear) = (told(&found.done), told(&found.too_young), told(&found.unclear));
    if cli.json {
        cli.tell(&json!({
            "would": would, "too_young": too_young, "unclear": unclear, "waiting": found.waiting,
        }));
        return Ok(());
    }
    let mut lines = Vec::new();
    for (what, all) in [
        ("would", &would),
        ("too young to", &too_young),
        ("somebody has to look:", &unclear),
        ("waits for a decision: VM", &found.waiting),
    ] {
        lines.extend(all.iter().map(|one| format!("{what} {one}")));
    }
    if would.is_empty() {
        lines.push("there is nothing to do".to_owned());
    }
    Ok(report::print(&lines)?)
}

fn told(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

async fn watch(cli: &Cli, world: &World) -> Result<()> {
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let classes = Cache::builder().watch::<Host>().watch::<HostMetrics>().watch::<Sr>().watch::<Vm>();
    let cache = classes.start(world.driver().client()).await?;
    let listener = TcpListener::bind(cli.listen).await;
    let listener = listener.with_context(|| format!("nothing can be served at {}", cli.listen))?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "serving /metrics and /healthz");
    cli.tell(&json!({ "serving": address.to_string() }));

    let chores = Arc::new(Chores::default());
    let serving = serve::serve(listener, cache.clone(), Arc::clone(&chores));
    systemd::tell(&[NotifyState::Ready]);
    let ended = tokio::select! {
        never = serving => match never {},
        never = reconcile(cli, world.driver(), &chores) => match never {},
        never = systemd::tell_how_it_is(address) => match never {},
        why = end(&cache) => Err(anyhow!("the pool is not followed any more, and not by waiting either: {why}")),
        _ = terminated.recv() => {
            tracing::info!("terminated");
            Ok(())
        }
        _ = interrupted.recv() => {
            tracing::info!("interrupted");
            Ok(())
        }
    };
    systemd::tell(&[NotifyState::Stopping]);
    ended
}

/// Waits until the pool is not followed any more, and why: a new password, for one, is read by who starts anew.
async fn end(cache: &Cache) -> String {
    let mut timer = interval(Duration::from_secs(1));
    loop {
        timer.tick().await;
        if let Some(why) = metrics::end(&cache.status()) {
            return why;
        }
    }
}

/// Reconciles on a timer. A run that is dropped ends by itself before its driver does.
async fn reconcile(cli: &Cli, driver: &Driver, chores: &Chores) -> std::convert::Infallible {
    let Some(mut timer) = timer(cli.reconcile_every) else { return std::future::pending().await };
    loop {
        timer.tick().await;
        let options = ReconcileOptions { older_than: cli.older_than(), ..ReconcileOptions::default() };
        let result = driver.reconcile(options).await;
        match &result {
            Ok(found) => {
                found.done.iter().for_each(|what| tracing::info!(%what, "reconciled"));
                found.leftovers.iter().for_each(|what| tracing::error!(%what, "could not be put in order"));
                found.unclear.iter().for_each(|what| tracing::warn!(%what, "nothing was done"));
                let leftovers: Vec<_> = found.leftovers.iter().map(ToString::to_string).collect();
                cli.tell(&json!({
                    "reconciled": told(&found.done), "leftovers": leftovers, "too_young": told(&found.too_young),
                    "unclear": told(&found.unclear), "waiting": found.waiting,
                }));
            }
            Err(error) => {
                tracing::error!(%error, "the pool could not be reconciled");
                cli.tell(&json!({ "error": error.to_string() }));
            }
        }
        chores.note(&result);
    }
}

fn timer(seconds: u64) -> Option<Interval> {
    let mut timer = (seconds > 0).then(|| interval(Duration::from_secs(seconds)))?;
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(timer)
}
