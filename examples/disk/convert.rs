//! `disk convert` and `disk stream`.

use std::fs::{File, Metadata};
use std::io::{IsTerminal, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::pin::pin;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use disk_stream::{
    Arriving, Consume, Declared, Digesting, DiskBody, Error, Existing, Flat, Flatten, Image, Preview,
    Progress, RawSink, Reading, Recode, Saved, TarChecksum, Upload,
};
use http_body::Body;
use serde_json::json;
use uuid::Uuid;

use crate::chain::unreadable_name;
use crate::open::{self, Format, Input, Kept, LayerArgs, ParentArgs};
use crate::output::{Bars, Lines, Output, bytes, name};
use crate::place;

#[derive(Debug, clap::Args)]
pub(crate) struct Convert {
    /// The image; `-` is standard input: a VHD (a fixed one with --format vhd), a qcow2 image with its tables in front, an
    /// archive as XAPI exports it with `format=tar`, or raw with --format raw and, unless it is a file, --size.
    input: PathBuf,
    /// Where to write: a file, a block device (with --force), or `-`, which is standard output. On a device, the last
    /// footer of a VHD is in the device's last sector.
    pub(crate) output: PathBuf,
    /// What the input is; found out without this.
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// What to make.
    #[arg(short = 'O', long, value_enum, default_value = "vhd")]
    output_format: OutputFormat,
    /// Size of the disk in bytes: that of the image, or more. Without this, that of a dynamic VHD is rounded up to whole
    /// blocks of 2 MiB, as XenServer has it.
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
    /// Standard input is in XAPI's chunked framing (`stream -O chunked`), of a disk of --size bytes.
    #[arg(long, requires = "size", conflicts_with_all = ["format", "layer"])]
    chunked: bool,
    #[command(flatten)]
    layer: LayerArgs,
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
    #[command(flatten)]
    layer: LayerArgs,
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
    /// A fixed VHD, which no host takes.
    #[value(skip)]
    VhdFixed,
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
    if args.aligned && args.output_format != OutputFormat::Vhd {
        bail!("--aligned places the blocks of a dynamic VHD, and what is made here has none");
    }
    if args.layer.layer {
        return convert_layer(args, bars);
    }
    if args.input != Path::new("-") {
        if args.chunked {
            bail!("the chunked framing is read from standard input only");
        }
        match args.parents.open(&args.input, args.format) {
            // Taken as it would come through a pipe.
            Err(error) if matches!(error.downcast_ref(), Some(Error::ForwardOnly { .. })) => {}
            image => return convert_image(&image?, args, bars),
        }
    } else if args.parents.odd.is_asked() && !args.chunked {
        let input = Input::of(&args.input)?;
        return convert_image(&args.parents.open_input(&input, args.format)?, args, bars);
    }
    let to_pipe = args.output == Path::new("-");
    let is_raw = args.format == Some(Format::Raw);
    match args.output_format {
        OutputFormat::Raw if to_pipe && !args.chunked => flatten(args, Flat::Raw, bars),
        OutputFormat::VhdFixed if to_pipe && !args.chunked => flatten(args, Flat::FixedVhd, bars),
        OutputFormat::Raw if !to_pipe && (args.size.is_none() || args.chunked || is_raw) => {
            arrive(args, None, bars)
        }
        OutputFormat::VhdFixed if !to_pipe && !is_device(&args.output) => {
            // The size of what is raw, or in records, says where it ends.
            let virtual_size = args.size.filter(|_| !is_raw && !args.chunked);
            arrive(args, Some(Upload { virtual_size, ..Upload::default() }), bars)
        }
        OutputFormat::Vhd if to_pipe && !is_raw && !args.aligned && !args.chunked => recode(args, bars),
        _ => convert_spooled(&mut input(args)?, args, bars),
    }
}

fn convert_layer(args: &Convert, bars: &Bars) -> Result<Output> {
    if args.output_format != OutputFormat::Vhd {
        bail!("a layer alone is a VHD, and cannot be made into another format");
    }
    let input = Input::of(&args.input)?;
    let image = args.parents.open_layer(&input, args.format)?;
    let upload = Upload { virtual_size: args.size, aligned: args.aligned, ..Upload::default() };
    if args.output == Path::new("-") {
        pour_layer(&image, upload, false, bars)?;
        return Ok(poured(&image));
    }
    let progress = upload.progress.clone();
    let saved = bars.during(&progress, || image.save_layer(&args.output, args.existing(), &upload))?;
    Ok(written(&args.output, &args.input, &image, &saved))
}

fn pour_layer(image: &Image, upload: Upload, digest: bool, bars: &Bars) -> Result<Option<String>> {
    let progress = upload.progress.clone();
    pour_body(async move || image.layer_body(upload).await, &progress, digest, bars)
}

fn is_device(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device())
}

fn convert_image(image: &Image, args: &Convert, bars: &Bars) -> Result<Output> {
    let upload = Upload { virtual_size: args.size, aligned: args.aligned, ..Upload::default() };
    if args.output == Path::new("-") {
        let format = match args.output_format {
            OutputFormat::Raw => StreamFormat::Raw,
            OutputFormat::Vhd => StreamFormat::Vhd,
            OutputFormat::Qcow2 => StreamFormat::Qcow2,
            OutputFormat::VhdFixed => StreamFormat::VhdFixed,
        };
        pour(image, format, upload, false, bars)?;
        return Ok(poured(image));
    }
    let saved = bars.during(&upload.progress.clone(), || match args.output_format {
        OutputFormat::Raw => image.save_raw(&args.output, args.existing(), &upload),
        OutputFormat::Vhd => image.save_vhd(&args.output, args.existing(), &upload),
        OutputFormat::Qcow2 => image.save_qcow2(&args.output, args.existing(), &upload),
        OutputFormat::VhdFixed => image.save_fixed_vhd(&args.output, args.existing(), &upload),
    })?;
    Ok(written(&args.output, &args.input, image, &saved))
}

impl Convert {
    fn existing(&self) -> Existing {
        if self.force { Existing::Replace } else { Existing::Refuse }
    }

    /// Something that takes standard input and makes a raw disk of it.
    fn sink(&self, path: &Path, existing: Existing) -> Result<RawSink> {
        Ok(match (self.format, self.size) {
            (_, Some(size)) if self.chunked => RawSink::of_chunked(path, existing, size)?,
            (Some(Format::Raw), _) => RawSink::of_raw(path, existing, raw_size(self)?)?,
            (Some(Format::Vhd), _) => RawSink::of_vhd(path, existing)?,
            _ => RawSink::of_any(path, existing)?,
        })
    }
}

/// The size of a raw disk that comes from standard input: as it is said, or that of the file which standard input is.
fn raw_size(args: &Convert) -> Result<u64> {
    if let Some(size) = args.size {
        return Ok(size);
    }
    let mut input = input(args)?;
    let metadata = input.metadata().context("standard input is closed")?;
    if !metadata.is_file() {
        bail!("a raw disk from standard input has no end that tells it is whole: give --size");
    }
    Ok(metadata.len().saturating_sub(input.stream_position()?))
}

/// From standard input to a raw disk or a fixed VHD at once: blocks may come in any order.
fn arrive(args: &Convert, fixed: Option<Upload>, bars: &Bars) -> Result<Output> {
    let mut input = input(args)?;
    let place = |metadata: &Metadata| metadata.file_type().is_block_device().then(|| metadata.rdev());
    let from = input.metadata().ok().and_then(|metadata| place(&metadata));
    if from.is_some() && args.output.metadata().is_ok_and(|output| place(&output) == from) {
        bail!("{} is what is read; write to another device or a file", args.output.display());
    }
    let mut head = Vec::new();
    if is_device(&args.output) {
        (&mut input).take(512).read_to_end(&mut head).context("cannot read the input")?;
        // Whether it fits is known when all of it is there.
        if disk_stream::is_archive(&head) {
            return convert_spooled(&mut head.chain(input), args, bars);
        }
    }
    let mut sink = args.sink(&args.output, args.existing())?;
    if let Some(upload) = fixed {
        sink = sink.fixed_vhd(upload)?;
    }
    let sink = Digesting::new(sink);
    let progress = Progress::new();
    let arrived = bars.during(&progress, || feed_or_keep(sink, &mut head.chain(input), args, &progress))?;
    let (saved, sha256) = match arrived {
        Arrived::Whole(arrived) => arrived,
        Arrived::Kept(kept) => return convert_kept(&kept, args, bars),
    };
    let mut lines = Lines::default();
    lines.add("written", args.output.display());
    lines.add("virtual size", bytes(saved.virtual_size));
    lines.add("received", bytes(saved.stream_len));
    lines.add("sha256 received", &sha256);
    let json = json!({
        "filename": name(&args.output),
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
        match input.read(&mut buffer).context("cannot read the input")? {
            0 => return Ok(consumer.finish()?),
            len => consumer.feed(&buffer[..len], progress)?,
        }
    }
}

/// What became of a stream.
enum Arrived<T> {
    Whole(T),
    /// It is read at random: a qcow2 image that is compressed, or has tables between its data.
    Kept(Input),
}

/// As [`feed`]. Nothing is written before it is known that what comes can be read as it comes, and until then it is kept.
fn feed_or_keep<C: Consume>(
    mut consumer: C,
    input: &mut impl Read,
    args: &Convert,
    progress: &Progress,
) -> Result<Arrived<C::Output>> {
    let (mut preview, mut kept, mut buffer) = (preview(args), None, vec![0; BUFFER]);
    loop {
        let len = input.read(&mut buffer).context("cannot read the input")?;
        if len == 0 {
            return Ok(Arrived::Whole(consumer.finish()?));
        }
        let bytes = &buffer[..len];
        if preview.reading() == Reading::Unknown {
            let reading = preview.feed(bytes);
            if reading == Reading::Forward {
                kept = None;
            } else {
                let mut file = match kept.take() {
                    Some(file) => file,
                    None => Kept::new(&place::folder(&args.output, is_device(&args.output)))?,
                };
                file.add(bytes)?;
                if reading == Reading::Random {
                    return Ok(Arrived::Kept(file.rest(input)?));
                }
                kept = Some(file);
            }
        }
        consumer.feed(bytes, progress)?;
    }
}

/// Standard input without a buffer of its own, which would only be copied, or a file that is read as if it came there.
fn input(args: &Convert) -> Result<File> {
    if args.input != Path::new("-") {
        return File::open(&args.input).with_context(|| format!("cannot read {}", args.input.display()));
    }
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

/// Feeds until it is known that nothing stands in the way, or that something does by which `input` has to go through a
/// file; then it returns what was taken of it.
fn begin<C: Consume>(
    consumer: &mut C,
    input: &mut File,
    progress: &Progress,
    is_planned: impl Fn(&C) -> bool,
    by_file: impl Fn(&Error) -> bool,
) -> Result<Option<Vec<u8>>> {
    let (mut taken, mut buffer) = (Vec::new(), vec![0; BUFFER]);
    while !is_planned(consumer) {
        let len = input.read(&mut buffer).context("cannot read the input")?;
        taken.extend_from_slice(&buffer[..len]);
        match consumer.feed(&buffer[..len], progress) {
            // What is missing is told at the end.
            Ok(()) if len == 0 => return Ok(None),
            Ok(()) => {}
            Err(error) if by_file(&error) => return Ok(Some(taken)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// From standard input to standard output, a VHD as it passes. One whose blocks are not in the disk's order
/// goes through a file, as does what tells too little in advance.
fn recode(args: &Convert, bars: &Bars) -> Result<Output> {
    refuse_terminal()?;
    let upload = Upload { virtual_size: args.size, ..Upload::default() };
    let progress = upload.progress.clone();
    let mut recode = Recode::new(output()?, upload);
    let mut input = input(args)?;
    let by_file = |error: &Error| match error {
        error if error.is_not_streamable() => true,
        // A fixed one tells nothing in front.
        Error::UnknownStream => args.format == Some(Format::Vhd),
        _ => false,
    };
    let planned = |recode: &Recode<File>| recode.stream_len().is_some();
    if let Some(taken) = begin(&mut recode, &mut input, &progress, planned, by_file)? {
        return convert_spooled(&mut taken.chain(input), args, bars);
    }
    bars.during(&progress, || recode.feed_all(&input, &progress))?;
    Ok(Output::new("", json!({ "filename": "-" })))
}

/// From standard input to standard output, all bytes of the disk as they come. A VHD or qcow2 image whose blocks are not
/// in the disk's order goes through a file, which is told.
fn flatten(args: &Convert, format: Flat, bars: &Bars) -> Result<Output> {
    refuse_terminal()?;
    let (stream, virtual_size) = match args.format {
        Some(Format::Raw) => (Arriving::Raw(raw_size(args)?), None),
        Some(Format::Vhd) => (Arriving::Vhd, args.size),
        Some(Format::Qcow2) | None => (Arriving::Unknown, args.size),
    };
    let upload = Upload { virtual_size, ..Upload::default() };
    let progress = upload.progress.clone();
    let mut flatten = Flatten::new(output()?, stream, format, upload);
    let mut input = input(args)?;
    let by_file = Error::is_not_streamable;
    if let Some(taken) = begin(&mut flatten, &mut input, &progress, Flatten::is_planned, by_file)? {
        convert_spooled(&mut taken.chain(input), args, bars)?;
        let text = "the blocks came in another order than the disk's: they went through a file";
        return Ok(Output::new(text, json!({ "filename": "-", "through-file": true })));
    }
    bars.during(&progress, || feed(flatten, &mut input, &progress))?;
    Ok(Output::new("", json!({ "filename": "-" })))
}

/// By way of a sparse file: to look for zeros, or because the order of what comes is not that of the disk.
fn convert_spooled(input: &mut (impl Read + Send), args: &Convert, bars: &Bars) -> Result<Output> {
    let mut head = Vec::new();
    input.take(4).read_to_end(&mut head).context("cannot read the input")?;
    let as_it_is = preview(args).feed(&head) == Reading::Unknown;
    let input = &mut head.chain(input);
    if as_it_is {
        // It may have its tables anywhere, and takes what is packed in it.
        let kept = Kept::new(&place::folder(&args.output, is_device(&args.output)))?;
        return convert_kept(&kept.rest(input)?, args, bars);
    }
    // It has no name until all of it is there, and loses it as soon as it is open.
    let path =
        place::folder(&args.output, is_device(&args.output)).join(format!(".{}.stdin", Uuid::new_v4()));
    let sink = args.sink(&path, Existing::Refuse).map_err(|error| match error.downcast_ref() {
        Some(Error::Create { .. }) => {
            error.context("cannot keep what comes from standard input (TMPDIR says where)")
        }
        _ => error,
    })?;
    let progress = Progress::new();
    bars.during(&progress, || feed(sink, input, &progress))?;
    let image = Image::open_blocking(&path, Declared::Raw);
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    convert_image(&image?, args, bars)
}

/// What was put into a file as it came.
fn convert_kept(input: &Input, args: &Convert, bars: &Bars) -> Result<Output> {
    convert_image(&args.parents.open_input(input, args.format)?, args, bars)
}

/// Whether what comes can be read as it comes.
fn preview(args: &Convert) -> Preview {
    // In the framing, the disk's own bytes tell nothing.
    let declared = if args.chunked { Declared::Raw } else { Format::declared(args.format) };
    Preview::new(declared).up_to(u64::MAX)
}

/// What was written.
pub(crate) fn written(path: &Path, from: &Path, image: &Image, saved: &Saved) -> Output {
    written_on(None, path, from, image, saved, None)
}

/// What was written, with `base` as its parent.
pub(crate) fn written_on(
    base: Option<&Image>,
    path: &Path,
    from: &Path,
    image: &Image,
    saved: &Saved,
    warning: Option<String>,
) -> Output {
    let mut lines = Lines::default();
    lines.add("written", path.display());
    lines.add("from", format!("{} ({})", from.display(), image.format().name()));
    lines.add("virtual size", bytes(saved.virtual_size));
    lines.add("file length", bytes(saved.stream_len));
    let added = saved.virtual_size.saturating_sub(image.virtual_size());
    if added > 0 {
        lines.add(
            "note",
            format!("{added} bytes of zeros were added behind the disk (--size says how large it is to be)"),
        );
    }
    let mut warnings = open::warnings(image);
    warnings.extend(base.and_then(unreadable_name).map(str::to_owned));
    warnings.extend(warning);
    warnings.iter().for_each(|warning| lines.add("warning", warning));
    let json = json!({
        "filename": name(path),
        "virtual-size": saved.virtual_size,
        "added-bytes": added,
        "file-length": saved.stream_len,
        "blocks": saved.blocks,
        "warnings": warnings,
    });
    Output::new(lines.text(), json)
}

/// What is to be told of an image that went to standard output.
fn poured(image: &Image) -> Output {
    let warnings = open::warnings(image);
    let text: Vec<String> = warnings.iter().map(|warning| format!("warning: {warning}")).collect();
    Output::new(text.join("\n"), json!({ "filename": "-", "warnings": warnings }))
}

pub(crate) fn stream(args: &Stream, bars: &Bars) -> Result<Output> {
    let input = Input::of(&args.input)?;
    let (image, sha256) = if args.layer.layer {
        if args.output_format != StreamFormat::Vhd {
            bail!("a layer alone is a VHD, and cannot be made into another format");
        }
        let image = args.parents.open_layer(&input, args.format)?;
        let sha256 = pour_layer(&image, Upload::default(), args.digest, bars)?;
        (image, sha256)
    } else {
        let image = args.parents.open_input(&input, args.format)?;
        let sha256 = pour(&image, args.output_format, Upload::default(), args.digest, bars)?;
        (image, sha256)
    };
    let warnings = open::warnings(&image);
    let mut lines: Vec<String> = warnings.iter().map(|warning| format!("warning: {warning}")).collect();
    lines.extend(sha256.as_ref().map(|sha256| format!("sha256 {sha256}")));
    Ok(Output::new(lines.join("\n"), json!({ "sha256": sha256, "warnings": warnings })))
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
        StreamFormat::VhdFixed => image.fixed_vhd_body(upload),
        StreamFormat::Qcow2 => image.qcow2_body(upload).await,
        StreamFormat::Chunked => image.chunked_body(upload).await,
        StreamFormat::Tar => image.tar_body(upload, TarChecksum::Xxhash).await,
        StreamFormat::TarSha1 => image.tar_body(upload, TarChecksum::Sha1).await,
    };
    pour_body(make, &progress, digest, bars)
}

/// Writes what `disk` has and `base` has not to standard output.
pub(crate) fn pour_difference(disk: &Image, base: &Image, upload: Upload, bars: &Bars) -> Result<()> {
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
