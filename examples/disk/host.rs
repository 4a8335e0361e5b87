//! `disk import` and `disk export`: images into a storage repository and out of it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use examples::cli::Target;
use examples::images;
use examples::options::Options;
use examples::ui::Ui;
use examples::world::World;
use image_store::Digest;
use serde_json::json;
use uuid::Uuid;
use xenapi_client::Client;
use xenapi_driver::disks::{DiskFormat, DiskImport, DiskTarget, ImportJournal};
use xenapi_driver::{Cause, Error, Existing};
use xenapi_types::Vdi;

use crate::convert;
use crate::open::Format;
use crate::output::{Lines, Output, bytes, name as file_name};

#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// The image, packed or not: a file, `chain:FILE` with those it is based on, https://…, glance:NAME, or `-` for
    /// standard input, which is read once.
    #[arg(value_name = "FILE|-")]
    image: String,
    /// Name or uuid of the storage repository; if left out, the one that the option sr_matching_filter says, which is the
    /// pool's default one.
    #[arg(long, value_name = "NAME|UUID")]
    sr: Option<String>,
    /// What the disk is called; if left out, as the file.
    #[arg(long)]
    name: Option<String>,
    /// What the image is; found out without this.
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// Size of the disk, if it is to be larger than the image, or if that does not say how large it is.
    #[arg(long, value_name = "GIB", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    gib: Option<u64>,
    /// A digest that the image must have, such as sha256:…
    #[arg(long)]
    digest: Option<Digest>,
    #[command(flatten)]
    resume: ResumeArgs,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    target: Target,
}

/// How an import goes on where it broke.
#[derive(Debug, clap::Args)]
struct ResumeArgs {
    /// Note what has arrived, and go on with what was noted: if the import fails or is interrupted, the disk stays, and the
    /// same command sends the rest, and compares the whole disk in the end.
    ///
    /// The journal is .NAME.upload beside the image, which has to be a file that is not packed. It is removed when all is
    /// done. An image or a disk that has changed meanwhile is refused.
    #[arg(long, conflicts_with = "digest")]
    resume: bool,
    /// Keep the journal in this folder.
    #[arg(long, value_name = "FOLDER", requires = "resume")]
    journal_folder: Option<PathBuf>,
    /// How much is sent at once, which is what a break costs at most; the host takes some seconds more for each.
    #[arg(long, value_name = "MIB", requires = "resume", default_value_t = 1024,
          value_parser = clap::value_parser!(u64).range(2..=1 << 20))]
    batch_mib: u64,
}

impl ResumeArgs {
    fn journal(&self, image: &str) -> Result<Option<ImportJournal>> {
        if !self.resume {
            return Ok(None);
        }
        let image = Path::new(image.strip_prefix("chain:").unwrap_or(image));
        let Some(name) = image.file_name().filter(|_| image.is_file()) else {
            bail!("--resume needs an image in a file, which can be read again: {} is none", image.display());
        };
        let folder = match &self.journal_folder {
            Some(folder) => folder.join("journal"),
            None => image.to_owned(),
        };
        let path = folder.with_file_name(format!(".{}.upload", name.to_string_lossy()));
        Ok(Some(ImportJournal { path, batch_bytes: self.batch_mib << 20 }))
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// Uuid or name of the disk, which no VM may write to meanwhile: of a running one, export a snapshot.
    #[arg(value_name = "VDI")]
    disk: String,
    /// The file, which has no name until it is complete; `-` is standard output.
    #[arg(value_name = "FILE|-")]
    pub(crate) output: PathBuf,
    /// What to make.
    #[arg(short = 'O', long, value_enum, default_value = "vhd")]
    output_format: ExportedFormat,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ExportedFormat {
    /// The disk's bytes; in a file, zeros are holes.
    Raw,
    /// A dynamic VHD.
    Vhd,
}

pub(crate) fn import(args: &Import, json: bool) -> Result<Output> {
    within(&args.target, &args.options, json, async |world, ui| {
        let request = DiskImport {
            name: args.disk_name()?,
            image: images::source(&args.image, args.digest.clone())?,
            image_format: Format::declared(args.format),
            virtual_bytes: args.gib.map(|gib| gib << 30),
            sr: args.options.repository(args.sr.as_deref())?,
            journal: args.resume.journal(&args.image)?,
        };
        let (name, journal) = (request.name.clone(), request.journal.clone());
        let importing = world.driver().import_disk(request, ui.progress());
        let made = ui.until_interrupted(importing).await.map_err(|error| kept(error, journal.as_ref()))?;
        let mut lines = Lines::default();
        lines.add("uuid", &made.uuid);
        lines.add("name", &name);
        lines.add("repository", &made.sr_uuid);
        lines.add("virtual size", bytes(made.virtual_bytes));
        let mut json = json!({
            "uuid": made.uuid,
            "name": name,
            "sr": made.sr_uuid,
            "virtual-size": made.virtual_bytes,
        });
        if let Some(resumed) = made.resumed {
            lines.add("kept", bytes(resumed.kept_bytes));
            lines.add("sent", bytes(resumed.sent_bytes));
            (json["kept"], json["sent"]) = (json!(resumed.kept_bytes), json!(resumed.sent_bytes));
        }
        Ok(Output::new(lines.text(), json))
    })
}

/// What an import that has a journal leaves when it fails.
fn kept(error: Error, journal: Option<&ImportJournal>) -> anyhow::Error {
    let refused = matches!(error.cause(), Cause::ImportJournal(_) | Cause::Differs { .. });
    match journal.filter(|journal| !refused && journal.path.exists()) {
        None => error.into(),
        Some(journal) => {
            let words = format!("{error}; what has arrived is kept, and the same command sends the rest");
            anyhow!("{words} (journal {})", journal.path.display())
        }
    }
}

impl Import {
    /// As it is said, or else the last part of where the image is, without what its format appends to it.
    fn disk_name(&self) -> Result<String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        if self.image == "-" {
            bail!("what comes from standard input has no name: give the disk one with --name");
        }
        let last = self.image.rsplit(['/', ':']).next().unwrap_or_default();
        // What follows in an address may be a secret.
        let last = last.split(['?', '#']).next().unwrap_or_default();
        let stem = last.split_once('.').map_or(last, |(stem, _)| stem);
        let name = if stem.is_empty() { last } else { stem };
        if name.is_empty() {
            bail!("{last:?} is no name for a disk: give it one with --name");
        }
        Ok(name.to_owned())
    }
}

pub(crate) fn export(args: &Export, json: bool) -> Result<Output> {
    let pipe = args.output == Path::new("-");
    if pipe {
        convert::refuse_terminal()?;
    }
    within(&args.target, &args.options, json, async |world, ui| {
        let uuid = find(world.driver().client(), &args.disk).await?;
        let target = if pipe {
            DiskTarget::Pipe(Box::new(tokio::fs::File::from_std(convert::output()?)))
        } else {
            let existing = if args.force { Existing::Replace } else { Existing::Refuse };
            DiskTarget::File(args.output.clone(), existing)
        };
        let format = match args.output_format {
            ExportedFormat::Raw => DiskFormat::Raw,
            ExportedFormat::Vhd => DiskFormat::Vhd,
        };
        let exporting = world.driver().export_disk(uuid, format, target, ui.progress());
        let exported = ui.until_interrupted(exporting).await?;
        let mut lines = Lines::default();
        lines.add("written", args.output.display());
        lines.add("disk", &exported.uuid);
        lines.add("virtual size", bytes(exported.virtual_bytes));
        lines.add("received", bytes(exported.stream_bytes));
        let json = json!({
            "filename": file_name(&args.output),
            "uuid": exported.uuid,
            "virtual-size": exported.virtual_bytes,
            "received": exported.stream_bytes,
        });
        Ok(Output::new(lines.text(), json))
    })
}

/// The one disk with this uuid or name.
async fn find(client: &Client, name: &str) -> Result<Uuid> {
    if let Ok(uuid) = name.parse::<Uuid>() {
        return Ok(uuid);
    }
    let found = client.records_named::<Vdi>(name).await?;
    let uuids: Vec<_> = found.values().map(|record| record.uuid.as_str()).collect();
    match uuids[..] {
        [] => bail!("no disk is called {name:?}"),
        [uuid] => uuid.parse().with_context(|| format!("XAPI tells a wrong uuid of the disk {name:?}")),
        _ => bail!("several disks are called {name:?}: say which by its uuid, {}", uuids.join(" or ")),
    }
}

/// Works with a host, or with the simulator in a host's place.
fn within(
    target: &Target,
    options: &Options,
    json: bool,
    work: impl AsyncFnOnce(&World, &Ui) -> Result<Output>,
) -> Result<Output> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let ui = Ui::new(json);
        let world = World::at_as(target, options.way(&ui)?, &ui).await?;
        let result = work(&world, &ui).await;
        world.end(result, &ui).await
    })
}
