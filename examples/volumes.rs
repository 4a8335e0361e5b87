//! The volumes of an instance: list, check, attach, detach, extend.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use examples::cli::{self, Common};
use examples::options::Options;
use examples::table::Table;
use examples::ui::Ui;
use examples::world::{self, World};
use serde_json::json;
use uuid::Uuid;
use xenapi_client::Secret;
use xenapi_driver::Which;
use xenapi_driver::volume::{AttachOptions, AttachedVolume, Iscsi, Nfs, Smb, Storage, Volume, VolumeDisk};

/// Attach, detach and look after the volumes of an instance.
#[derive(Debug, Parser)]
#[command(name = "volumes", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The volumes of an instance.
    List { instance: String },
    /// Whether the storage of each volume answers.
    Check { instance: String },
    /// Attach a volume, on storage that the pool has or has never heard of.
    Attach(Box<Attach>),
    /// Detach a volume, by its name, its disk's uuid or its device.
    Detach { instance: String, volume: String },
    /// Make a volume larger, or take over the size that its LUN has now.
    Extend {
        instance: String,
        volume: String,
        /// The new size.
        #[arg(long)]
        gib: Option<u64>,
    },
}

#[derive(Debug, Args)]
struct Attach {
    instance: String,
    /// A repository that the pool has.
    #[arg(long, value_name = "UUID", group = "storage")]
    sr: Option<Uuid>,
    /// An iSCSI target's address; for an --iqn without one, the options target_host and target_port say it, and for an
    /// address without a port the latter.
    #[arg(long, value_name = "ADDRESS[:PORT]", group = "storage", requires = "iqn")]
    iscsi: Option<String>,
    /// An NFS export.
    #[arg(long, value_name = "SERVER:PATH", group = "storage")]
    nfs: Option<String>,
    /// An SMB share.
    #[arg(long, value_name = "//SERVER/SHARE", group = "storage")]
    smb: Option<String>,
    /// The target's name.
    #[arg(long, conflicts_with_all = ["sr", "nfs", "smb"])]
    iqn: Option<String>,
    /// Which LUN.
    #[arg(long, group = "disk")]
    lun: Option<u32>,
    /// Which disk; without it and --lun, the only one there is.
    #[arg(long, value_name = "UUID", group = "disk")]
    vdi: Option<Uuid>,
    /// Who logs in to the storage.
    #[arg(long, requires = "login_password_file")]
    login: Option<String>,
    /// A file whose first line is the password for the storage.
    #[arg(long, value_name = "FILE")]
    login_password_file: Option<PathBuf>,
    /// What the volume is called; its disk's uuid otherwise.
    #[arg(long)]
    id: Option<String>,
    /// The place in the VM: 5, xvdf.
    #[arg(long)]
    device: Option<String>,
    /// The guest must not write to it.
    #[arg(long)]
    read_only: bool,
    /// Several instances may have the LUN at the same time. A disk of the pool says that itself.
    #[arg(long, requires = "lun")]
    shared: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::parse::<Cli>();
    let way = |ui: &Ui| cli.options.way(ui);
    world::program_as(&cli.common, way, async |world, ui| run(&cli, world, ui).await).await
}

async fn run(cli: &Cli, world: &World, ui: &Ui) -> Result<Table> {
    let driver = world.driver();
    let progress = || {
        ui.begin();
        ui.progress()
    };
    let mut table = Table::default();
    match &cli.command {
        Command::List { instance } => {
            driver.volumes(&Which::parse(instance)).await?.iter().for_each(|v| row(&mut table, v));
        }
        Command::Check { instance } => {
            for health in driver.check_volumes(&Which::parse(instance)).await? {
                table.row([("volume", json!(health.volume.id)), ("fault", json!(health.fault))]);
            }
        }
        Command::Attach(attach) => {
            let device = attach.device.as_deref().map(str::parse).transpose()?;
            let options = AttachOptions { device, read_only: attach.read_only, progress: progress() };
            let attaching =
                driver.attach_volume(Which::parse(&attach.instance), volume(attach, &cli.options)?, options);
            row(&mut table, &ui.until_interrupted(attaching).await?);
        }
        Command::Detach { instance, volume } => {
            let detaching = driver.detach_volume(Which::parse(instance), volume.clone(), progress());
            row(&mut table, &ui.until_interrupted(detaching).await?);
        }
        Command::Extend { instance, volume, gib } => {
            let bytes = gib.map(|gib| gib << 30);
            let extending = driver.extend_volume(Which::parse(instance), volume.clone(), bytes, progress());
            row(&mut table, &ui.until_interrupted(extending).await?);
        }
    }
    Ok(table)
}

fn row(table: &mut Table, volume: &AttachedVolume) {
    table.row([
        ("volume", json!(volume.id)),
        ("device", json!(volume.device)),
        ("vdi", json!(volume.vdi_uuid)),
        ("sr", json!(volume.sr_uuid)),
        ("bytes", json!(volume.virtual_bytes)),
        ("plugged", json!(volume.plugged)),
    ]);
}

fn volume(attach: &Attach, options: &Options) -> Result<Volume> {
    let login = match (&attach.login, &attach.login_password_file) {
        (Some(login), Some(path)) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("the password file {} cannot be read", path.display()))?;
            Some((login.clone(), Secret::new(text.lines().next().unwrap_or_default())))
        }
        _ => None,
    };
    let storage = match attach {
        Attach { sr: Some(uuid), .. } => Storage::Repository(*uuid),
        Attach { iscsi, iqn: Some(iqn), .. } => {
            let portal = options.portal(iscsi.as_deref())?;
            Storage::Iscsi(Iscsi { portal, iqn: iqn.clone(), chap: login })
        }
        Attach { nfs: Some(export), .. } => {
            let (server, path) = export.split_once(':').context("an NFS export is SERVER:PATH")?;
            Storage::Nfs(Nfs { server: server.into(), path: path.into(), options: None, sr_uuid: None })
        }
        Attach { smb: Some(server), .. } => {
            Storage::Smb(Smb { server: server.clone(), login, sr_uuid: None })
        }
        _ => bail!("where is the volume? Name --sr, --iqn, --nfs or --smb"),
    };
    let disk = match (attach.vdi, attach.lun) {
        (Some(uuid), _) => VolumeDisk::Uuid(uuid),
        (None, Some(lun)) => VolumeDisk::Lun(lun),
        (None, None) => VolumeDisk::Only,
    };
    Ok(Volume { id: attach.id.clone(), shared: attach.shared, ..Volume::new(storage, disk) })
}
