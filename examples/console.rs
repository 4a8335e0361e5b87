//! Lets any VNC viewer, or a terminal through netcat, at the console of a VM.

use std::io::Write;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use examples::cli::{self, Target};
use examples::options::Options;
use examples::report;
use examples::ui::Ui;
use examples::world::World;
use rustix::fs::Mode;
use rustix::process::umask;
use serde_json::json;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use xenapi_client::Client;
use xenapi_driver::console::{ConsoleBridge, Door, Viewer};
use xenapi_driver::{Driver, Which};
use xenapi_types::{ConsoleProtocol, OnCrashBehaviour, OnNormalExit, vm};

/// Bridge the console of a running instance to a local TCP port or a Unix socket, until Ctrl-C.
///
/// Whoever connects there has the console, without a password: to a port of this machine every local user can. A socket
/// (--socket) is for its owner alone. Without --url and --vm, a demo VM is started on the embedded simulator first.
#[derive(Debug, Parser)]
#[command(name = "console", version)]
struct Cli {
    /// Name or uuid of the instance.
    #[arg(long, value_name = "NAME|UUID")]
    vm: Option<String>,
    /// Take it over first if it is a VM that somebody else made; `instances --help` says what is written. Without this, such
    /// a VM is never touched.
    #[arg(long, requires = "vm")]
    adopt: bool,
    /// The terminal (for `nc`) instead of the screen (for a VNC viewer).
    #[arg(long)]
    text: bool,
    /// Where viewers connect to; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// A Unix socket to make, that only this user can connect to, instead of a port: `vncviewer PATH`, `nc -U PATH`.
    #[arg(long, value_name = "PATH", conflicts_with = "listen")]
    socket: Option<PathBuf>,
    /// End when the first viewer leaves.
    #[arg(long)]
    once: bool,
    /// Print where viewers connect to as JSON, and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::parse::<Cli>();
    report::log();
    report::exit(run(&cli).await, cli.json)
}

async fn run(cli: &Cli) -> Result<()> {
    let ui = Ui::new(cli.json);
    let world = World::at_as(&cli.target, cli.options.way(&ui)?, &ui).await?;
    // Whoever closes the terminal or stops the service leaves no socket behind either.
    let [mut terminated, mut hung_up] = [signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
    let result = tokio::select! {
        result = bridge(cli, world.driver(), &ui) => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminated.recv() => Ok(()),
        _ = hung_up.recv() => Ok(()),
    };
    world.end(result, &ui).await
}

async fn bridge(cli: &Cli, driver: &Driver, ui: &Ui) -> Result<()> {
    let which = match &cli.vm {
        Some(name) if cli.adopt => adopt(driver, name, ui).await?,
        Some(name) => Which::parse(name),
        None if cli.target.host().is_some() => bail!("which VM? Name it with --vm"),
        None => adopt(driver, demo_vm(driver.client()).await?, ui).await?,
    };
    // Nobody is to wait at a console that there is not.
    driver.instance(&which).await?;
    let protocol = if cli.text { ConsoleProtocol::Vt100 } else { ConsoleProtocol::Rfb };
    let bridge = ConsoleBridge::new(driver, which, protocol);
    let way_in = WayIn::make(cli).await?;
    let (address, hint) = way_in.address(cli.text)?;
    ui.say(&format!("the console waits for: {hint}"));
    match cli.json {
        true => writeln!(std::io::stdout(), "{}", json!({ "address": address, "hint": hint }))?,
        false => writeln!(std::io::stdout(), "{address}")?,
    }
    // They go with this: nobody is left at a console whose door is closed.
    let mut viewers = JoinSet::new();
    loop {
        let viewer = tokio::select! {
            viewer = way_in.door.open() => viewer?,
            Some(_) = viewers.join_next() => continue,
        };
        let serving = serve(bridge.clone(), viewer, ui.clone());
        if cli.once {
            return Ok(serving.await?);
        }
        viewers.spawn(serving);
    }
}

/// Lets one viewer at the console, and tells of him.
async fn serve(bridge: ConsoleBridge, viewer: Viewer, ui: Ui) -> xenapi_driver::Result<()> {
    let from = viewer.from.clone();
    ui.say(&format!("{from} has connected"));
    let served = bridge.serve(viewer).await;
    match &served {
        Ok(()) => ui.say(&format!("{from} has left")),
        Err(error) => ui.say(&format!("{from}: {error}")),
    }
    served
}

async fn adopt(driver: &Driver, vm: &str, ui: &Ui) -> Result<Which> {
    let adopted = ui.until_interrupted(driver.adopt(Which::parse(vm), ui.progress())).await?;
    Ok(Which::Instance(adopted.instance))
}

/// Where viewers come in. A socket goes when this does.
struct WayIn {
    door: Door,
    socket: Option<PathBuf>,
}

impl WayIn {
    async fn make(cli: &Cli) -> Result<Self> {
        let Some(path) = &cli.socket else {
            let listener = TcpListener::bind(&cli.listen).await;
            let listener = listener.with_context(|| format!("cannot listen on {}", cli.listen))?;
            return Ok(Self { door: Door::Port(listener), socket: None });
        };
        // It must never be there for others, not even between two calls.
        let usual = umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        umask(usual);
        let listener = listener.with_context(|| unusable(path))?;
        Ok(Self { door: Door::Socket(listener), socket: Some(path.clone()) })
    }

    /// Where it is, and what goes there.
    fn address(&self, text: bool) -> Result<(String, String)> {
        if let Some(path) = &self.socket {
            let viewer = if text { "nc -U" } else { "vncviewer" };
            return Ok((path.display().to_string(), format!("{viewer} {}", path.display())));
        }
        let Door::Port(listener) = &self.door else { bail!("a door without an address") };
        let address = listener.local_addr()?;
        let hint = match text {
            true => format!("nc {} {}", address.ip(), address.port()),
            false => format!("vncviewer {}::{}", address.ip(), address.port()),
        };
        Ok((address.to_string(), hint))
    }
}

impl Drop for WayIn {
    fn drop(&mut self) {
        if let Some(path) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A socket that is there already may be that of a program that was killed. Who tries it out is a viewer of
/// the other one, so that a person has to know.
fn unusable(path: &Path) -> String {
    let remedy = match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            " (name another path, or remove it if the program that made it was killed)"
        }
        Ok(_) => " (name another path)",
        Err(_) => "",
    };
    format!("cannot listen on {}{remedy}", path.display())
}

/// The name of a VM without disks that runs on the simulator.
async fn demo_vm(client: &Client) -> Result<&'static str> {
    let name = "demo";
    let create = vm::Create {
        name_label: name.to_owned(),
        memory_static_max: 512 << 20,
        memory_dynamic_max: 512 << 20,
        memory_dynamic_min: 512 << 20,
        vcpus_max: 1,
        vcpus_at_startup: 1,
        actions_after_shutdown: OnNormalExit::Destroy,
        actions_after_reboot: OnNormalExit::Restart,
        actions_after_crash: OnCrashBehaviour::Restart,
        hvm_boot_policy: "BIOS order".to_owned(),
        ..vm::Create::default()
    };
    let vm = client.call(create).await?;
    client.call(vm::Start { vm, start_paused: false, force: false }).await?;
    Ok(name)
}
