//! `xapi-simulator`: a XAPI pool on a port.

use std::convert::Infallible;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use sd_notify::NotifyState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use xapi_simulator::core::Config;
use xapi_simulator::{Acceleration, Personality, Qemu, Simulator, World};

/// A XenServer/XCP-ng pool to test clients against, without a hypervisor.
///
/// Speaks XML-RPC (on every path), JSON-RPC 1.0 and 2.0 (on /jsonrpc) and XAPI's import and export handlers. Disks
/// are real; guests are only bookkeeping, unless --boot runs them. Stop it with Ctrl-C or SIGTERM.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  \
        xapi-simulator                                    a pool in memory on http://127.0.0.1:8080\n  \
        xapi-simulator --state /var/tmp/pool --https      keeps its objects and disks, speaks TLS\n  \
        XAPI_SIMULATOR_LOG=debug xapi-simulator           tells every call\n\n\
        Then, in Python:\n  \
        XenAPI.Session('http://127.0.0.1:8080').login_with_password('root', 'xapi-test')"
)]
struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: String,

    /// Speak HTTPS, with a certificate made at start; its fingerprint is printed.
    #[arg(long)]
    https: bool,

    /// Serve disks over NBD there, too, as VDI.get_nbd_info says once a network has the purpose nbd.
    #[arg(long, value_name = "ADDRESS:PORT")]
    nbd: Option<String>,

    /// Keep objects and disks in this directory, or go on with what is there. Without it, everything is gone at the
    /// end.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// Start a new pool with the objects in this file instead of the built-in ones: a JSON list of
    /// {"class": ..., "ref": ..., "fields": {...}}.
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,

    /// Which server to play: xenserver-7.0, xenserver-7.6, xcp-ng-8.2, xcp-ng-8.3 or xapi-26. Classes, fields, messages
    /// and enum values that came later are not there; xenserver-7.0 has no JSON-RPC. Give the same one to go on with
    /// a state directory.
    #[arg(long, value_name = "RELEASE", env = "XAPI_SIMULATOR_RELEASE", default_value_t = Personality::default())]
    release: Personality,

    /// Put fields, enum values and classes into the answers that no client knows, as a release to come would.
    #[arg(long, value_name = "SEED")]
    strange: Option<u64>,

    /// How many hosts a new pool has. The others listen at the same port of their own addresses: 127.0.0.2,
    /// 127.0.0.3, ...
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    hosts: u8,

    /// Run the programs in this directory as plugins (host.call_plugin), as the user of the simulator. As
    /// root, they find disks that dom0 has attached under /dev.
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Run the programs in this directory as extensions (methods XAPI does not have), as the user of the simulator.
    #[arg(long, value_name = "DIRECTORY")]
    extensions: Option<PathBuf>,

    /// Really run guests, in QEMU: with KVM where that works, or without. They end with the simulator.
    #[arg(long, value_enum, value_name = "HOW")]
    boot: Option<Boot>,
    /// Record the serial consoles of guests in this directory, as UUID.log.
    #[arg(long, value_name = "DIR", requires = "boot")]
    console_logs: Option<PathBuf>,

    /// The password of root. Other users can see a command line: prefer the environment.
    #[arg(long, env = "XAPI_SIMULATOR_PASSWORD", hide_env_values = true, default_value = "xapi-test")]
    password: String,
}

/// What runs guests.
#[derive(Clone, Copy, ValueEnum)]
enum Boot {
    /// QEMU, with KVM where that works.
    Qemu,
    /// QEMU without KVM.
    QemuTcg,
}

impl Options {
    fn qemu(&self) -> Option<Qemu> {
        let acceleration = match self.boot? {
            Boot::Qemu => Acceleration::BestAvailable,
            Boot::QemuTcg => Acceleration::Software,
        };
        Some(Qemu { acceleration, console_logs: self.console_logs.clone(), ..Qemu::default() })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("XAPI_SIMULATOR_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let options = Options::parse();
    let stop = told_to_stop()?;
    let world = match &options.world {
        None => World::default(),
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            World::from_json(&text).with_context(|| format!("{} is no world", path.display()))?
        }
    };
    let config = Config {
        qemu: options.qemu(),
        password: options.password,
        plugins: options.plugins,
        extensions: options.extensions,
        personality: options.release,
        strange: options.strange,
        ..Config::default()
    };
    let mut builder = Simulator::builder().world(world.with_hosts(options.hosts.into())).config(config);
    if let Some(directory) = options.state {
        builder = builder.state_dir(directory);
    }
    let simulator = builder.build().await.context("the pool cannot be started")?;
    if let Some(address) = &options.nbd {
        simulator.listen_nbd(address).await?;
    }
    let hosts = match options.https {
        true => simulator.listen_pool_tls(&options.listen).await?,
        false => simulator.listen_pool(&options.listen).await?,
    };
    for listening in hosts {
        say(&listening.url);
        if let Some(fingerprint) = listening.fingerprint {
            say(&format!("SHA-256 fingerprint {fingerprint}"));
        }
    }
    tell_systemd(NotifyState::Ready);
    tokio::select! {
        () = stop => {}
        never = tell_that_it_answers(&simulator) => match never {},
    }
    tell_systemd(NotifyState::Stopping);
    simulator.shutdown().context("not everything reached the disk")?;
    Ok(())
}

/// The first line is the master's URL, for scripts.
#[allow(clippy::print_stdout, reason = "a command-line tool")]
fn say(text: &str) {
    println!("{text}");
}

/// Tells systemd, if that has started it. Nothing depends on whether it hears.
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd cannot be told anything");
    }
}

/// Where systemd watches: tells it, twice in the time it waits, that the pool answers.
async fn tell_that_it_answers(simulator: &Simulator) -> Infallible {
    let Some(patience) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut timer = tokio::time::interval(patience / 2);
    loop {
        timer.tick().await;
        match answers(simulator).await {
            Ok(()) => tell_systemd(NotifyState::Watchdog),
            Err(error) => tracing::warn!(%error, "the pool does not answer"),
        }
    }
}

/// Whatever it answers to: it has taken the connection, and read the request.
async fn answers(simulator: &Simulator) -> std::io::Result<()> {
    let mut connection = simulator.connect();
    connection.write_all(b"HEAD / HTTP/1.1\r\nHost: watchdog\r\nConnection: close\r\n\r\n").await?;
    connection.read_exact(&mut [0; "HTTP/1.1 200".len()]).await?;
    Ok(())
}

/// From now on SIGTERM and Ctrl-C do not end the program, but this future.
fn told_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
