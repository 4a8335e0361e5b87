//! `disk info`.

use std::path::Path;

use anyhow::Result;
use disk_stream::Layer;
use serde_json::{Value, json};
use vhd::inspect::Writer;

use crate::open::{self, ImageArgs, Input, ParentArgs};
use crate::output::{Lines, Output, bytes, name};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// Tell of every layer of its chain.
    #[arg(long)]
    backing_chain: bool,
    #[command(flatten)]
    parents: ParentArgs,
}

pub(crate) fn run(args: &Args) -> Result<Output> {
    let (input, format) = (Input::of(&args.image.file)?, args.image.format);
    let image = if args.backing_chain {
        args.parents.open_input(&input, format)?
    } else {
        open::alone(input.path(), format, &args.parents.odd)?
    };
    let mut text = String::new();
    let mut layers = Vec::new();
    for layer in image.layers() {
        if !text.is_empty() {
            text.push('\n');
        }
        // What came from standard input has no name.
        let path = if layer.path() == input.path() { input.name() } else { layer.path() };
        let (lines, json) = describe(layer, path)?;
        text.push_str(&lines.text());
        layers.push(json);
    }
    for warning in image.chain_warnings() {
        text.push_str(&format!("warning: {warning}\n"));
    }
    let warnings: Vec<String> = image.chain_warnings().iter().map(ToString::to_string).collect();
    let json = match layers.len() {
        1 => layers.remove(0),
        _ => json!({ "layers": layers, "warnings": warnings }),
    };
    Ok(Output::new(text, json))
}

fn describe(layer: &Layer, path: &Path) -> Result<(Lines, Value)> {
    let mut lines = Lines::default();
    let occupied = layer.occupied()?;
    lines.add("image", path.display());
    lines.add("file format", layer.format().name());
    lines.add("virtual size", bytes(layer.virtual_size()));
    lines.add("file length", bytes(layer.file_len()));
    lines.add("disk size", bytes(occupied));
    let mut json = json!({
        "filename": name(path),
        "format": layer.format().name(),
        "virtual-size": layer.virtual_size(),
        "file-length": layer.file_len(),
        "actual-size": occupied,
    });
    // As `qemu-img info` has it.
    if let Some(backing) = layer.backing_file() {
        json["backing-filename"] = json!(backing);
        lines.add("backing file", format!("{backing:?}, without which it is not a whole disk"));
    }
    for (name, value) in layer.details() {
        json["format-specific"][name] = json!(value);
        lines.add(name, value);
    }
    let Some(map) = layer.map() else { return Ok((lines, json)) };
    let footer = map.footer();
    let writer = Writer::of(footer.creator);
    lines.add("type", format!("{:?}", footer.disk_type).to_lowercase());
    lines.add("uuid", footer.uuid);
    lines.add("written by", writer);
    // Every date of a VHD is one of jiff's.
    let created = jiff::Timestamp::from_second(footer.timestamp.to_unix().cast_signed()).unwrap_or_default();
    lines.add("created", created);
    lines.add("geometry", footer.geometry);
    json["type"] = json!(format!("{:?}", footer.disk_type).to_lowercase());
    json["uuid"] = json!(footer.uuid.to_string());
    json["writer"] = json!(writer.to_string());
    json["created"] = json!(created.to_string());
    if let Some(header) = map.header() {
        let (have, all) = (map.allocated_blocks(), map.virtual_size().div_ceil(u64::from(header.block_size)));
        lines.add("blocks", format!("{have} of {all}, of {} each", bytes(u64::from(header.block_size))));
        json["block-size"] = json!(header.block_size);
        json["allocated-blocks"] = json!(have);
        if let Some(parent) = layer.link().parent {
            let uuid = parent.uuid.map_or_else(|| "(a raw disk)".to_owned(), |uuid| uuid.to_string());
            lines.add("parent", format!("{:?}, {uuid}", header.parent_name));
            json["parent"] =
                json!({ "name": header.parent_name, "uuid": parent.uuid.map(|u| u.to_string()) });
            for path in layer.parent_paths()? {
                lines.add("parent locator", path.as_str());
            }
        }
    }
    let warnings: Vec<String> = layer.warnings().iter().map(ToString::to_string).collect();
    json["warnings"] = json!(warnings);
    warnings.iter().for_each(|warning| lines.add("warning", warning));
    Ok((lines, json))
}
