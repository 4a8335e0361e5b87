//! `disk convert` and `disk stream`.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use disk_stream::{Consume, DiskBody, Existing, Image, Progress, RawSink, Saved, Upload};
use http_body::Body;
use serde_json::json;
use tempfile::TempDir;

use crate::info;
use crate::open::{Format, ParentArgs};
use crate::output::{Bars, Lines, Output, bytes};

#[derive(Debug, clap::Args)]
pub(crate) struct Convert {
    /// The image; `-` is standard input: a VHD, or raw with --format raw and --size.
    input: PathBuf,
    /// Where to write; `-` is standard output.
    output: PathBuf,
    /// What the input is; found out without this.
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// What to make.
    #[arg(short = 'O', long, value_enum, default_value = "vhd")]
    output_format: OutputFormat,
    /// Size of the disk in bytes, if it is to be larger than the image.
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
    /// Place the data of a VHD's blocks at multiples of 4 KiB.
    #[arg(long)]
    aligned: bool,
    /// Replace the output if it exists.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    parents: ParentArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Stream {
    /// The image.
    input: PathBuf,
    /// What it is; found out without this.
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// What `import_raw_vdi` is told.
    #[arg(short = 'O', long, value_enum, default_value = "vhd")]
    output_format: StreamFormat,
    #[command(flatten)]
    parents: ParentArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// The disk's bytes, zeros as holes.
    Raw,
    /// A dynamic VHD.
    Vhd,
    /// A fixed VHD: the disk's bytes and a footer.
    VhdFixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StreamFormat {
    /// `format=raw`.
    Raw,
    /// `format=vhd`.
    Vhd,
    /// `format=raw&chunked=true`: only what is allocated.
    Chunked,
}

pub(crate) fn convert(args: &Convert, bars: &Bars) -> Result<Output> {
    let spool;
    let image = if args.input == Path::new("-") {
        // A VHD tells its blocks as they come, in any order: only a disk can take them. So what comes from
        // standard input goes into a sparse file first, beside the output.
        let folder =
            args.output.parent().filter(|f| !f.as_os_str().is_empty() && args.output != Path::new("-"));
        spool = match folder {
            Some(folder) => TempDir::new_in(folder),
            None if args.output == Path::new("-") => TempDir::new(),
            None => TempDir::new_in("."),
        }
        .context("cannot make a folder for what comes from standard input")?;
        let path = spool.path().join("stdin.raw");
        receive(&path, args)?;
        Image::open_blocking(&path, disk_stream::Declared::Raw)?
    } else {
        args.parents.open(&args.input, args.format)?
    };
    let upload = Upload { virtual_size: args.size, aligned: args.aligned, ..Upload::default() };
    if args.output == Path::new("-") {
        let format = match args.output_format {
            OutputFormat::Raw => StreamFormat::Raw,
            OutputFormat::Vhd => StreamFormat::Vhd,
            OutputFormat::VhdFixed => {
                bail!("a fixed VHD is written to files only; to standard output, use raw or vhd")
            }
        };
        pour(&image, format, upload, bars)?;
        return Ok(Output::new("", json!(null)));
    }
    let existing = if args.force { Existing::Replace } else { Existing::Refuse };
    let saved = bars.during(&upload.progress.clone(), || match args.output_format {
        OutputFormat::Raw => image.save_raw(&args.output, existing, &upload),
        OutputFormat::Vhd => image.save_vhd(&args.output, existing, &upload),
        OutputFormat::VhdFixed => image.save_fixed_vhd(&args.output, existing, &upload),
    })?;
    Ok(written(&args.output, &image, &saved))
}

/// What was written.
pub(crate) fn written(path: &Path, image: &Image, saved: &Saved) -> Output {
    let mut lines = Lines::default();
    lines.add("written", path.display());
    lines.add("from", format!("{} ({})", image.path().display(), info::format_name(image.format())));
    lines.add("virtual size", bytes(saved.virtual_size));
    lines.add("file length", bytes(saved.stream_len));
    let json = json!({
        "filename": path,
        "virtual-size": saved.virtual_size,
        "file-length": saved.stream_len,
        "blocks": saved.blocks,
    });
    Output::new(lines.text(), json)
}

fn receive(path: &Path, args: &Convert) -> Result<()> {
    let mut sink = match (args.format, args.size) {
        (Some(Format::Raw), Some(size)) => RawSink::of_raw(path, Existing::Refuse, size)?,
        (Some(Format::Raw), None) => {
            bail!("a raw disk from standard input has no end that tells it is whole: give --size")
        }
        _ => RawSink::of_vhd(path, Existing::Refuse)?,
    };
    let (mut input, progress) = (std::io::stdin().lock(), Progress::new());
    let mut buffer = vec![0; 256 << 10];
    loop {
        match input.read(&mut buffer).context("cannot read standard input")? {
            0 => break,
            len => sink.feed(&buffer[..len], &progress)?,
        }
    }
    sink.finish()?;
    Ok(())
}

pub(crate) fn stream(args: &Stream, bars: &Bars) -> Result<Output> {
    let image = args.parents.open(&args.input, args.format)?;
    pour(&image, args.output_format, Upload::default(), bars)?;
    Ok(Output::new("", json!(null)))
}

/// Writes a stream of exactly the length that it has to have to standard output.
fn pour(image: &Image, format: StreamFormat, upload: Upload, bars: &Bars) -> Result<()> {
    if std::io::stdout().is_terminal() {
        bail!("standard output is a terminal: send the bytes to a file or a program");
    }
    let progress = upload.progress.clone();
    bars.during(&progress, || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
        runtime.block_on(async {
            let body = match format {
                StreamFormat::Raw => image.raw_body(upload)?,
                StreamFormat::Vhd => image.vhd_body(upload).await?,
                StreamFormat::Chunked => image.chunked_body(upload).await?,
            };
            write_all(body).await
        })
    })
}

async fn write_all(body: DiskBody) -> Result<()> {
    let mut body = pin!(body);
    let mut output = std::io::stdout().lock();
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let Ok(bytes) = frame?.into_data() else { continue };
        output.write_all(&bytes).context("cannot write to standard output")?;
    }
    output.flush().context("cannot write to standard output")
}
