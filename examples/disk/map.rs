//! `disk map`: where the data are, drawn.

use std::fmt::Write;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write as _};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use disk_stream::{Declared, Image, Layer};
use serde_json::{Value, json};

use crate::open::{ImageArgs, Input, ParentArgs};
use crate::output::{Output, bytes, name};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// How many characters a disk is drawn with.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    width: u16,
    /// Draw it into this SVG file, too; `-` is standard output, to which nothing else is written then.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Replace the SVG file if it exists.
    #[arg(long, requires = "svg")]
    force: bool,
    #[command(flatten)]
    parents: ParentArgs,
}

/// A disk or a layer of one. Where it has data is asked as often as it is needed: there may be millions of places.
struct Row {
    name: String,
    image: Image,
    /// Of a chain, which layer; otherwise the disk.
    layer: Option<usize>,
    /// Bytes that are allocated.
    bytes: u64,
    /// How much of each cell of a drawing is, from 0 to 1: in the terminal, and as SVG.
    cells: [Vec<f64>; 2],
}

/// Cells of a drawing as SVG.
const SVG_CELLS: usize = 512;

pub(crate) fn run(args: &Args, json: bool) -> Result<Output> {
    let input = Input::of(&args.image.file)?;
    let image = args.parents.open_input(&input, args.image.format)?;
    let size = image.virtual_size();
    let cells = [usize::from(args.width), SVG_CELLS];
    let mut rows = vec![Row::of("disk".to_owned(), &image, None, cells)?];
    if image.layers().len() > 1 {
        for (number, layer) in image.layers().iter().enumerate() {
            let name = layer.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
            rows.push(Row::of(name, &image, Some(number), cells)?);
        }
    }
    if args.svg.as_deref() == Some(Path::new("-")) {
        let svg = svg(&rows, size);
        return Ok(Output::new(svg.clone(), json!({ "svg": svg })));
    }
    if let Some(path) = &args.svg {
        write_svg(path, args.force, &args.image.file, &image, &svg(&rows, size))?;
    }
    if json {
        write_json(args, size, &rows).context("cannot write to standard output")?;
        return Ok(Output::none());
    }
    let names = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in &rows {
        let cells: String = row.cells[0].iter().copied().map(shade).collect();
        let _ = writeln!(text, "{:names$} |{cells}| {}", row.name, bytes(row.bytes));
    }
    let cell = size.div_ceil(args.width.into());
    let _ = writeln!(text, "{} in all, {} each character", bytes(size), indicatif::HumanBytes(cell));
    Ok(Output::new(text, Value::Null))
}

/// One line, written as it is made.
fn write_json(args: &Args, size: u64, rows: &[Row]) -> Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    write!(out, "{{\"filename\":{},\"virtual-size\":{size},\"layers\":[", json!(name(&args.image.file)))?;
    for (i, row) in rows.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(out, "{comma}{{\"name\":{},\"bytes\":{},\"extents\":[", json!(row.name), row.bytes)?;
        let mut comma = "";
        row.extents(|extent| {
            let (start, length) = (extent.start, extent.end - extent.start);
            write!(out, "{comma}{{\"start\":{start},\"length\":{length}}}")?;
            comma = ",";
            Ok(())
        })?;
        write!(out, "]}}")?;
    }
    writeln!(out, "]}}")?;
    Ok(out.flush()?)
}

impl Row {
    fn of(name: String, image: &Image, layer: Option<usize>, cells: [usize; 2]) -> Result<Self> {
        let cells = cells.map(|cells| vec![0.0; cells]);
        let mut row = Self { name, image: image.clone(), layer, bytes: 0, cells };
        let (mut bytes, mut cells) = (0, std::mem::take(&mut row.cells));
        row.extents(|extent| {
            bytes += extent.end - extent.start;
            cells.iter_mut().for_each(|cells| shade_in(cells, &extent, image.virtual_size()));
            Ok(())
        })?;
        (row.bytes, row.cells) = (bytes, cells);
        Ok(row)
    }

    /// Each place with data, of which no two touch.
    fn extents(&self, mut each: impl FnMut(Range<u64>) -> Result<()>) -> Result<()> {
        let mut last: Option<Range<u64>> = None;
        let mut next = |extent: Range<u64>| match &mut last {
            Some(last) if last.end == extent.start => {
                last.end = extent.end;
                Ok(())
            }
            last => last.replace(extent).map_or(Ok(()), &mut each),
        };
        match self.layer.map(|layer| &self.image.layers()[layer]) {
            None => disk_extents(&self.image, &mut next)?,
            Some(layer) => layer_extents(layer, &mut next)?,
        }
        last.map_or(Ok(()), each)
    }
}

fn disk_extents(image: &Image, each: &mut impl FnMut(Range<u64>) -> Result<()>) -> Result<()> {
    let (mut reader, mut at) = (image.reader(), 0);
    while let Some(extent) = reader.next_data(at, image.virtual_size())? {
        at = extent.end;
        each(extent)?;
    }
    Ok(())
}

fn layer_extents(layer: &Layer, each: &mut impl FnMut(Range<u64>) -> Result<()>) -> Result<()> {
    match layer.map() {
        // Only the root can be something else than a VHD, and is a whole disk: what a guest wrote there makes no format.
        None => disk_extents(&Image::open_blocking(layer.path(), Declared::Raw)?, each),
        Some(map) if map.header().is_none() => each(0..map.virtual_size()),
        Some(map) => map.allocated().try_for_each(each),
    }
}

/// A drawing replaces neither the disk that it is of, nor anything else without being asked.
fn write_svg(path: &Path, force: bool, input: &Path, image: &Image, svg: &str) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let mut options = File::options();
    options.write(true);
    if force && let Ok(old) = path.metadata() {
        let is_old =
            |own: &Path| own.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (old.dev(), old.ino()));
        // What is a part of an archive, or a copy of standard input, has no file of its own.
        let input = if input == Path::new("-") { Path::new("/dev/stdin") } else { input };
        if !old.is_file() || is_old(input) || image.layers().iter().any(|layer| is_old(layer.path())) {
            bail!("{} is no file to draw into: name another one", path.display());
        }
        options.truncate(true);
    } else {
        options.create_new(true);
    }
    let mut file = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} exists already; remove it, or say --force", path.display())
        }
        other => other.with_context(failed)?,
    };
    file.write_all(svg.as_bytes()).with_context(failed)
}

/// Adds what an extent covers of each of some equal parts of the disk.
fn shade_in(cells: &mut [f64], extent: &Range<u64>, size: u64) {
    let cell = size as f64 / cells.len() as f64;
    let (start, end) = (extent.start as f64 / cell, extent.end as f64 / cell);
    let touched = (end.ceil() - start.floor()) as usize;
    for (i, share) in cells.iter_mut().enumerate().skip(start as usize).take(touched) {
        *share += (end.min(i as f64 + 1.0) - start.max(i as f64)).max(0.0);
    }
}

/// A little data is still seen, and a little hole, too.
fn shade(share: f64) -> char {
    match share {
        s if s <= 0.0 => '·',
        s if s < 0.34 => '░',
        s if s < 0.67 => '▒',
        s if s < 0.999 => '▓',
        _ => '█',
    }
}

fn svg(rows: &[Row], size: u64) -> String {
    const LABEL: usize = 200;
    const HEIGHT: usize = 24;
    let (width, height) = (LABEL + SVG_CELLS + 20, rows.len() * (HEIGHT + 8) + 30);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (i, row) in rows.iter().enumerate() {
        let y = 8 + i * (HEIGHT + 8);
        let name = row.name.replace('&', "&amp;").replace('<', "&lt;");
        let colour = if i == 0 { "#1f4e79" } else { "#6b8e23" };
        let _ = writeln!(svg, "<text x=\"8\" y=\"{}\">{name}</text>", y + 16);
        let _ = writeln!(
            svg,
            "<rect x=\"{LABEL}\" y=\"{y}\" width=\"{SVG_CELLS}\" height=\"{HEIGHT}\" fill=\"#eee\" stroke=\"#999\"/>"
        );
        for (x, share) in row.cells[1].iter().copied().enumerate().filter(|(_, share)| *share > 0.0) {
            let (x, opacity) = (LABEL + x, (0.25 + 0.75 * share).min(1.0));
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" width=\"1\" height=\"{HEIGHT}\" fill=\"{colour}\" opacity=\"{opacity:.2}\"/>"
            );
        }
    }
    let _ = writeln!(svg, "<text x=\"{LABEL}\" y=\"{}\">0 to {}</text>\n</svg>", height - 8, bytes(size));
    svg
}
