//! `disk convert` and `disk stream`.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::pin::pin;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use disk_stream::{
    Consume, Digesting, DiskBody, Error, Existing, Image, Progress, RawSink, Recode, Saved, TarChecksum,
    Upload,
};
use http_body::Body;
use serde_json::json;
use tempfile::TempDir;

use crate::info;
use crate::open::{Format, Input, ParentArgs};
use crate::output::{Bars, Lines, Output, bytes};

#[derive(Debug, clap::Args)]
pub(crate) struct Convert {
    /// The image; `-` is standard input: a VHD, a qcow2 image with its tables in front, an archive as XAPI
    /// exports it with `format=tar`, or raw with --format raw and --size.
    input: PathBuf,
    /// Where to write; `-` is standard output. A raw disk may be written to a block device, with --force.
    pub(crate) output: PathBuf,
    /// What the input is; found out without this.
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// What to make.
    #[arg(short = 'O', long, value_enum, default_value = "vhd")]
    output_format: OutputFormat,
    /// Size of the disk in bytes, if it is to be larger than the image.
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
    /// Standard input is in XAPI's chunked framing (`stream -O chunked`), of a disk of --size bytes.
    #[arg(long, requires = "size", conflicts_with = "format")]
    chunked: bool,
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
    /// The image; `-` is standard input, which is put into a file first.
    input: PathBuf,
    /// What it is; found out without this.
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// What `import_raw_vdi` is told.
    #[arg(short = 'O', long, value_enum, default_value = "vhd")]
    output_format: StreamFormat,
    /// Tell the SHA-256 of the stream on standard error.
    #[arg(long)]
    digest: bool,
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
    /// A qcow2 image, tables first, as XAPI wants it.
    Qcow2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StreamFormat {
    /// `format=raw`.
    Raw,
    /// `format=vhd`.
    Vhd,
    /// `format=qcow2`.
    Qcow2,
    /// `format=raw&chunked=true`: only what is allocated.
    Chunked,
    /// `format=tar`: an archive of chunks with checksums.
    Tar,
    /// The same with the checksums of old hosts.
    TarSha1,
}

pub(crate) fn convert(args: &Convert, bars: &Bars) -> Result<Output> {
    if args.input != Path::new("-") {
        if args.chunked {
            bail!("the chunked framing is read from standard input only");
        }
        let image = args.parents.open(&args.input, args.format)?;
        return convert_image(&image, args, bars);
    }
    let to_pipe = args.output == Path::new("-");
    match args.output_format {
        OutputFormat::Raw
            if !to_pipe && (args.size.is_none() || args.chunked || args.format == Some(Format::Raw)) =>
        {
            arrive(args, bars)
        }
        OutputFormat::Vhd
            if to_pipe && args.format != Some(Format::Raw) && !args.aligned && !args.chunked =>
        {
            recode(args, bars)
        }
        _ => convert_spooled(&spool(args)?, &mut input()?, args, bars),
    }
}

fn convert_image(image: &Image, args: &Convert, bars: &Bars) -> Result<Output> {
    let upload = Upload { virtual_size: args.size, aligned: args.aligned, ..Upload::default() };
    if args.output == Path::new("-") {
        let format = match args.output_format {
            OutputFormat::Raw => StreamFormat::Raw,
            OutputFormat::Vhd => StreamFormat::Vhd,
            OutputFormat::Qcow2 => StreamFormat::Qcow2,
            OutputFormat::VhdFixed => {
                bail!("a fixed VHD is written to files only; to standard output, use raw, vhd or qcow2")
            }
        };
        pour(image, format, upload, false, bars)?;
        return Ok(Output::new("", json!({ "filename": "-" })));
    }
    let saved = bars.during(&upload.progress.clone(), || match args.output_format {
        OutputFormat::Raw => image.save_raw(&args.output, args.existing(), &upload),
        OutputFormat::Vhd => image.save_vhd(&args.output, args.existing(), &upload),
        OutputFormat::Qcow2 => image.save_qcow2(&args.output, args.existing(), &upload),
        OutputFormat::VhdFixed => image.save_fixed_vhd(&args.output, args.existing(), &upload),
    })?;
    Ok(written(&args.output, image, &saved))
}

impl Convert {
    fn existing(&self) -> Existing {
        if self.force { Existing::Replace } else { Existing::Refuse }
    }

    /// Something that takes standard input and makes a raw disk of it.
    fn sink(&self, path: &Path, existing: Existing) -> Result<RawSink> {
        Ok(match (self.format, self.size) {
            (_, Some(size)) if self.chunked => RawSink::of_chunked(path, existing, size)?,
            (Some(Format::Raw), Some(size)) => RawSink::of_raw(path, existing, size)?,
            (Some(Format::Raw), None) => {
                bail!("a raw disk from standard input has no end that tells it is whole: give --size")
            }
            (Some(Format::Vhd), _) => RawSink::of_vhd(path, existing)?,
            _ => RawSink::of_any(path, existing)?,
        })
    }
}

/// From standard input to a raw disk at once: blocks may come in any order.
fn arrive(args: &Convert, bars: &Bars) -> Result<Output> {
    let sink = Digesting::new(args.sink(&args.output, args.existing())?);
    let progress = Progress::new();
    let mut input = input()?;
    let (saved, sha256) = bars.during(&progress, || feed(sink, &mut input, &progress))?;
    let mut lines = Lines::default();
    lines.add("written", args.output.display());
    lines.add("virtual size", bytes(saved.virtual_size));
    lines.add("received", bytes(saved.stream_len));
    lines.add("sha256 received", &sha256);
    let json = json!({
        "filename": args.output,
        "virtual-size": saved.virtual_size,
        "received": saved.stream_len,
        "received-sha256": sha256,
    });
    Ok(Output::new(lines.text(), json))
}

/// Gives all that `input` has to `consumer`.
fn feed<C: Consume>(mut consumer: C, input: &mut impl Read, progress: &Progress) -> Result<C::Output> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match input.read(&mut buffer).context("cannot read standard input")? {
            0 => return Ok(consumer.finish()?),
            len => consumer.feed(&buffer[..len], progress)?,
        }
    }
}

/// Standard input without a buffer of its own, which would only be copied.
fn input() -> Result<File> {
    let input = std::io::stdin().as_fd().try_clone_to_owned().context("standard input is closed")?;
    disk_stream::enlarge_pipe(&input);
    Ok(input.into())
}

/// Standard output without a buffer, which would look for ends of lines.
pub(crate) fn output() -> Result<File> {
    let output = std::io::stdout().as_fd().try_clone_to_owned().context("standard output is closed")?;
    disk_stream::enlarge_pipe(&output);
    Ok(output.into())
}

/// Bytes that are read from standard input at a time.
const BUFFER: usize = 256 << 10;

/// From standard input to standard output, a VHD as it passes. One whose blocks are not in the disk's order
/// goes through a file, as does what tells too little in advance.
fn recode(args: &Convert, bars: &Bars) -> Result<Output> {
    refuse_terminal()?;
    let upload = Upload { virtual_size: args.size, ..Upload::default() };
    let progress = upload.progress.clone();
    let mut recode = Recode::new(output()?, upload);
    let mut input = input()?;
    // What was read before it is known that nothing stands in the way.
    let mut taken = Vec::new();
    let mut buffer = vec![0; BUFFER];
    while recode.stream_len().is_none() {
        let len = input.read(&mut buffer).context("cannot read standard input")?;
        taken.extend_from_slice(&buffer[..len]);
        match recode.feed(&buffer[..len], &progress) {
            Ok(()) if len == 0 => bail!("standard input ended before the tables of the disk"),
            Ok(()) => {}
            Err(Error::OutOfOrder | Error::Unplanned) => {
                let mut all = taken.chain(input);
                return convert_spooled(&spool(args)?, &mut all, args, bars);
            }
            Err(error) => return Err(error.into()),
        }
    }
    drop((taken, buffer));
    bars.during(&progress, || recode.feed_all(&input, &progress))?;
    Ok(Output::new("", json!({ "filename": "-" })))
}

/// A folder beside the output.
fn spool(args: &Convert) -> Result<TempDir> {
    let folder = args.output.parent().filter(|f| !f.as_os_str().is_empty() && args.output != Path::new("-"));
    match folder {
        Some(folder) => TempDir::new_in(folder),
        None if args.output == Path::new("-") => TempDir::new(),
        None => TempDir::new_in("."),
    }
    .context("cannot make a folder for what comes from standard input")
}

/// By way of a sparse file: to look for zeros, or because the order of what comes is not that of the disk.
fn convert_spooled(spool: &TempDir, input: &mut impl Read, args: &Convert, bars: &Bars) -> Result<Output> {
    let path = spool.path().join("stdin.raw");
    feed(args.sink(&path, Existing::Refuse)?, input, &Progress::new())?;
    convert_image(&Image::open_blocking(&path, disk_stream::Declared::Raw)?, args, bars)
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

pub(crate) fn stream(args: &Stream, bars: &Bars) -> Result<Output> {
    let input = Input::of(&args.input)?;
    let image = args.parents.open_input(&input, args.format)?;
    let sha256 = pour(&image, args.output_format, Upload::default(), args.digest, bars)?;
    let text = sha256.as_ref().map(|sha256| format!("sha256 {sha256}")).unwrap_or_default();
    Ok(Output::new(text, json!({ "sha256": sha256 })))
}

/// Writes a stream of exactly the length that it has to have to standard output.
fn pour(
    image: &Image,
    format: StreamFormat,
    upload: Upload,
    digest: bool,
    bars: &Bars,
) -> Result<Option<String>> {
    let progress = upload.progress.clone();
    let make = async move || match format {
        StreamFormat::Raw => image.raw_body(upload),
        StreamFormat::Vhd => image.vhd_body(upload).await,
        StreamFormat::Qcow2 => image.qcow2_body(upload).await,
        StreamFormat::Chunked => image.chunked_body(upload).await,
        StreamFormat::Tar => image.tar_body(upload, TarChecksum::Xxhash).await,
        StreamFormat::TarSha1 => image.tar_body(upload, TarChecksum::Sha1).await,
    };
    pour_body(make, &progress, digest, bars)
}

/// Writes what `disk` has and `base` has not to standard output.
pub(crate) fn pour_difference(disk: &Image, base: &Image, bars: &Bars) -> Result<()> {
    let upload = Upload::default();
    let progress = upload.progress.clone();
    let make = async move || disk.difference_body(base, Path::new("./difference.vhd"), upload).await;
    pour_body(make, &progress, false, bars).map(drop)
}

fn pour_body(
    make: impl AsyncFnOnce() -> Result<DiskBody, Error> + Send,
    progress: &Progress,
    digest: bool,
    bars: &Bars,
) -> Result<Option<String>> {
    refuse_terminal()?;
    bars.during(progress, || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
        runtime.block_on(async {
            let body = make().await?;
            if !digest {
                write_all(body).await?;
                return Ok(None);
            }
            let (body, digest) = body.with_digest();
            write_all(body).await?;
            Ok(digest.wait().await)
        })
    })
}

pub(crate) fn refuse_terminal() -> Result<()> {
    if std::io::stdout().is_terminal() {
        bail!("standard output is a terminal: send the bytes to a file or a program");
    }
    Ok(())
}

async fn write_all(body: DiskBody) -> Result<()> {
    let mut body = pin!(body);
    let mut output = output()?;
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let Ok(bytes) = frame?.into_data() else { continue };
        output.write_all(&bytes).context("cannot write to standard output")?;
    }
    Ok(())
}
