//! `disk map`: where the data are, drawn.

use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use disk_stream::{Declared, Image, Layer};
use serde_json::json;

use crate::open::{Format, Input, ParentArgs};
use crate::output::{Output, bytes};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image; `-` is standard input.
    file: PathBuf,
    /// What it is; found out without this.
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// How many characters a disk is drawn with.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    width: u16,
    /// Draw it into this SVG file, too; `-` is standard output, to which nothing else is written then.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    parents: ParentArgs,
}

/// A disk or a layer of one, and where it has data.
struct Row {
    name: String,
    extents: Vec<Range<u64>>,
}

pub(crate) fn run(args: &Args) -> Result<Output> {
    let input = Input::of(&args.file)?;
    let image = args.parents.open_input(&input, args.format)?;
    let size = image.virtual_size();
    let mut rows = vec![Row { name: "disk".to_owned(), extents: extents_of_disk(&image)? }];
    if image.layers().len() > 1 {
        for layer in image.layers() {
            let name = layer.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
            rows.push(Row { name, extents: extents_of_layer(layer)? });
        }
    }
    let width = usize::from(args.width);
    let names = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in &rows {
        let cells: String = shares(&row.extents, size, width).into_iter().map(shade).collect();
        let _ = writeln!(text, "{:names$} |{cells}| {}", row.name, bytes(total(&row.extents)));
    }
    let cell = size.div_ceil(args.width.into());
    let _ = writeln!(text, "{} in all, {} each character", bytes(size), indicatif::HumanBytes(cell));
    if args.svg.as_deref() == Some(Path::new("-")) {
        let svg = svg(&rows, size);
        return Ok(Output::new(svg.clone(), json!({ "svg": svg })));
    }
    if let Some(path) = &args.svg {
        std::fs::write(path, svg(&rows, size)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let layers: Vec<_> = rows
        .iter()
        .map(|row| {
            let extents: Vec<_> =
                row.extents.iter().map(|e| json!({ "start": e.start, "length": e.end - e.start })).collect();
            json!({ "name": row.name, "bytes": total(&row.extents), "extents": extents })
        })
        .collect();
    Ok(Output::new(text, json!({ "filename": args.file, "virtual-size": size, "layers": layers })))
}

fn extents_of_disk(image: &Image) -> Result<Vec<Range<u64>>> {
    let mut reader = image.reader();
    let (mut extents, mut at) = (Vec::new(), 0);
    while let Some(extent) = reader.next_data(at, image.virtual_size())? {
        at = extent.end;
        push(&mut extents, extent);
    }
    Ok(extents)
}

fn extents_of_layer(layer: &Layer) -> Result<Vec<Range<u64>>> {
    match layer.map() {
        // Only the root can be something else than a VHD, and is a whole disk.
        None => extents_of_disk(&Image::open_blocking(layer.path(), Declared::Unknown)?),
        Some(map) if map.header().is_none() => Ok(std::iter::once(0..map.virtual_size()).collect()),
        Some(map) => {
            let mut extents = Vec::new();
            map.blocks().for_each(|block| push(&mut extents, block.bytes));
            Ok(extents)
        }
    }
}

/// Neighbours become one.
fn push(extents: &mut Vec<Range<u64>>, extent: Range<u64>) {
    match extents.last_mut() {
        Some(last) if last.end == extent.start => last.end = extent.end,
        _ => extents.push(extent),
    }
}

fn total(extents: &[Range<u64>]) -> u64 {
    extents.iter().map(|extent| extent.end - extent.start).sum()
}

/// How much of each of `cells` equal parts of the disk is allocated, from 0 to 1.
fn shares(extents: &[Range<u64>], size: u64, cells: usize) -> Vec<f64> {
    let cell = size as f64 / cells as f64;
    let mut shares = vec![0.0; cells];
    for extent in extents {
        let (start, end) = (extent.start as f64 / cell, extent.end as f64 / cell);
        for (i, share) in
            shares.iter_mut().enumerate().skip(start as usize).take((end.ceil() - start.floor()) as usize)
        {
            *share += (end.min(i as f64 + 1.0) - start.max(i as f64)).max(0.0);
        }
    }
    shares
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
    const CELLS: usize = 512;
    const LABEL: usize = 200;
    const HEIGHT: usize = 24;
    let (width, height) = (LABEL + CELLS + 20, rows.len() * (HEIGHT + 8) + 30);
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
            "<rect x=\"{LABEL}\" y=\"{y}\" width=\"{CELLS}\" height=\"{HEIGHT}\" fill=\"#eee\" stroke=\"#999\"/>"
        );
        for (x, share) in
            shares(&row.extents, size, CELLS).into_iter().enumerate().filter(|(_, share)| *share > 0.0)
        {
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
