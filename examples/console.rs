//! Lets any VNC viewer, or a terminal through netcat, at the console of a VM.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use examples::cli::{self, Target};
use examples::options::Options;
use examples::report;
use examples::ui::Ui;
use examples::world::World;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use xenapi_client::Client;
use xenapi_types::{ConsoleProtocol, OnCrashBehaviour, OnNormalExit, Vm, vm};
use xenapi_wire::Ref;

/// Bridge the console of a running VM to a local TCP port, until Ctrl-C.
///
/// Whoever connects there sees the console: keep it on this machine. Without --url and --vm, a demo VM is started on
/// the embedded simulator first.
#[derive(Debug, Parser)]
#[command(name = "console", version)]
struct Cli {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    options: Options,
    /// Name or uuid of the VM.
    #[arg(long, value_name = "NAME|UUID")]
    vm: Option<String>,
    /// The terminal (for `nc`) instead of the screen (for a VNC viewer).
    #[arg(long)]
    text: bool,
    /// Where viewers connect to; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// End when the first viewer leaves.
    #[arg(long)]
    once: bool,
    /// Print where viewers connect to as JSON, and nothing else.
    #[arg(long)]
    json: bool,
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
    let client = world.driver().client();
    let result = tokio::select! {
        result = bridge(cli, client, &ui) => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    world.end(result, &ui).await
}

async fn bridge(cli: &Cli, client: &Client, ui: &Ui) -> Result<()> {
    let vm = match &cli.vm {
        Some(name) => find(client, name).await?,
        None if cli.target.url.is_some() => bail!("which VM? Name it with --vm"),
        None => demo_vm(client).await?,
    };
    let protocol = if cli.text { ConsoleProtocol::Vt100 } else { ConsoleProtocol::Rfb };
    let listener = TcpListener::bind(&cli.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", cli.listen))?;
    let address = listener.local_addr()?;
    let hint = match cli.text {
        true => format!("nc {} {}", address.ip(), address.port()),
        false => format!("vncviewer {}::{}", address.ip(), address.port()),
    };
    ui.say(&format!("the console waits for: {hint}"));
    match cli.json {
        true => writeln!(std::io::stdout(), "{}", json!({ "address": address.to_string(), "hint": hint }))?,
        false => writeln!(std::io::stdout(), "{address}")?,
    }
    loop {
        let (viewer, from) = listener.accept().await?;
        ui.say(&format!("{from} has connected"));
        match serve(client, &vm, &protocol, viewer).await {
            Ok(()) => ui.say(&format!("{from} has left")),
            Err(error) if cli.once => return Err(error),
            Err(error) => ui.say(&format!("{from}: {error:#}")),
        }
        if cli.once {
            return Ok(());
        }
    }
}

/// One viewer after the other, each with a connection and a session of its own.
async fn serve(
    client: &Client,
    vm: &Ref<Vm>,
    protocol: &ConsoleProtocol,
    mut viewer: TcpStream,
) -> Result<()> {
    let mut console = client.vm_console(vm, protocol.clone()).await?;
    let copied = tokio::io::copy_bidirectional(&mut viewer, &mut console).await;
    console.close().await?;
    copied.context("the connection broke").map(drop)
}

async fn find(client: &Client, name: &str) -> Result<Ref<Vm>> {
    match client.by_uuid_opt::<Vm>(name).await? {
        Some(vm) => Ok(vm),
        None => Ok(client.by_name_label::<Vm>(name).await?),
    }
}

/// A VM without disks, running on the simulator.
async fn demo_vm(client: &Client) -> Result<Ref<Vm>> {
    let create = vm::Create {
        name_label: "demo".to_owned(),
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
    client.call(vm::Start { vm: vm.clone(), start_paused: false, force: false }).await?;
    Ok(vm)
}
