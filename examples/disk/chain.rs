//! `disk compare`, `disk diff`, `disk coalesce` and `disk rebase`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use disk_stream::{Coalesced, Existing, Image, Layer, Opening, Parents, Progress, Upload};
use serde_json::json;
use uuid::Uuid;

use crate::convert;
use crate::open::{self, Format, Input, ParentArgs};
use crate::output::{Bars, Lines, Output, bytes};

#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// A disk; `-` is standard input.
    first: PathBuf,
    /// Another; `-` is standard input.
    second: PathBuf,
    /// What the first is; found out without this.
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// What the second is; found out without this.
    #[arg(short = 'F', long, value_enum)]
    second_format: Option<Format>,
    /// Disks of different sizes are different, even if the rest is zero.
    #[arg(short, long)]
    strict: bool,
    #[command(flatten)]
    parents: ParentArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    /// The disk that will be the parent.
    base: PathBuf,
    /// The disk to make a child of it that shows it; `-` is standard input.
    disk: PathBuf,
    /// The child: a differencing VHD, in a folder from which the base is reached by the same way wherever
    /// both are moved. `-` is standard output, for a file in the current folder.
    pub(crate) output: PathBuf,
    /// Replace the output if it exists.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    parents: ParentArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Coalesce {
    /// The child: its parent will hold what it shows.
    child: PathBuf,
    /// Remove the child afterwards. Its own children, if they are in its folder, are given the parent first.
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    parents: ParentArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    /// A differencing VHD; `-` is standard input.
    difference: PathBuf,
    /// A disk with the content of its parent, raw or a VHD, which is written to.
    target: PathBuf,
    /// What the target is; found out without this.
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// A VHD with another uuid than the parent's has the parent's content all the same.
    #[arg(long)]
    trusted: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Rebase {
    /// The child. It shows the same disk afterwards, and keeps its uuid.
    child: PathBuf,
    /// Its new parent.
    base: PathBuf,
    /// Write the header only, which is done where old and new parent are the same disk and refused otherwise.
    #[arg(long)]
    metadata: bool,
    #[command(flatten)]
    parents: ParentArgs,
}

/// Two images, of which one may come from standard input.
fn inputs(first: &Path, second: &Path) -> Result<(Input, Input)> {
    if first == Path::new("-") && second == Path::new("-") {
        bail!("standard input is one image; name a file for the other one");
    }
    Ok((Input::of(first)?, Input::of(second)?))
}

pub(crate) fn compare(args: &Compare, bars: &Bars) -> Result<Output> {
    let (first, second) = inputs(&args.first, &args.second)?;
    let first = args.parents.open_input(&first, args.format)?;
    let second = args.parents.open_input(&second, args.second_format)?;
    let sizes = (first.virtual_size(), second.virtual_size());
    let different_sizes = sizes.0 != sizes.1;
    let (large, small) = if sizes.0 < sizes.1 { (&second, &first) } else { (&first, &second) };
    let progress = Progress::new();
    let differing = bars.during(&progress, || large.differing_blocks(small, &progress))?;
    let at = match differing.extents().next() {
        Some(extent) => Some(first_difference(large, small, extent.start)?),
        None => None,
    };
    let same = at.is_none() && !(args.strict && different_sizes);
    let mut lines = match at {
        Some(at) => format!("the disks differ at byte {at}"),
        None if same => "the disks are the same".to_owned(),
        None => "the disks differ in size".to_owned(),
    };
    if different_sizes {
        lines.push_str(&format!("\ntheir sizes are {} and {}", bytes(sizes.0), bytes(sizes.1)));
    }
    let json = json!({ "same": same, "first-difference": at, "sizes": [sizes.0, sizes.1] });
    Ok(Output::new(lines, json).code(u8::from(!same)))
}

/// In the block that begins at `from`, in which there is one.
fn first_difference(a: &Image, b: &Image, from: u64) -> Result<u64> {
    let (mut mine, mut its) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let (mut a, mut b) = (a.reader(), b.reader());
    let mut at = from;
    loop {
        a.read(at, &mut mine)?;
        b.read(at, &mut its)?;
        if let Some(i) = mine.iter().zip(&its).position(|(x, y)| x != y) {
            return Ok(at + i as u64);
        }
        at += mine.len() as u64;
        if at > a.image().virtual_size() {
            bail!("the disks changed while they were compared");
        }
    }
}

pub(crate) fn diff(args: &Diff, bars: &Bars) -> Result<Output> {
    let base = args.parents.open(&args.base, None)?;
    let disk = Input::of(&args.disk)?;
    let disk = args.parents.open_input(&disk, None)?;
    if args.output == Path::new("-") {
        convert::pour_difference(&disk, &base, bars)?;
        return Ok(Output::new("", json!({ "filename": "-" })));
    }
    let existing = if args.force { Existing::Replace } else { Existing::Refuse };
    let upload = Upload::default();
    let progress = upload.progress.clone();
    let saved = bars.during(&progress, || disk.save_difference(&base, &args.output, existing, &upload))?;
    Ok(convert::written(&args.output, &disk, &saved))
}

pub(crate) fn coalesce(args: &Coalesce, bars: &Bars) -> Result<Output> {
    let image = args.parents.open(&args.child, Some(Format::Vhd))?;
    let rest: Vec<PathBuf> = image.layers()[1..].iter().map(|layer| layer.path().to_owned()).collect();
    let uuid = image.layers()[0].link().uuid;
    let opening = Opening { parents: Parents::Order(rest), ..Opening::default() };
    let progress = Progress::new();
    let done = bars.during(&progress, || disk_stream::coalesce(&args.child, &opening, &progress))?;
    let grandchildren = children_of(&args.child, uuid)?;
    let mut moved = Vec::new();
    if args.delete {
        for path in &grandchildren {
            rebase_onto(path, &done.parent, &args.parents, bars)?;
            moved.push(path.clone());
        }
        std::fs::remove_file(&args.child)
            .with_context(|| format!("cannot remove {}", args.child.display()))?;
    }
    Ok(merged(args, &done, &grandchildren, &moved))
}

fn merged(args: &Coalesce, done: &Coalesced, grandchildren: &[PathBuf], moved: &[PathBuf]) -> Output {
    let mut lines = Lines::default();
    lines.add("merged", args.child.display());
    lines.add("into", done.parent.display());
    lines.add("copied", format!("{} in {} blocks", bytes(done.copied_bytes), done.blocks));
    if done.resumed {
        lines.add("note", "an interrupted merge was completed");
    }
    for path in moved {
        lines.add("new parent for", path.display());
    }
    if args.delete {
        lines.add("removed", args.child.display());
    } else if grandchildren.is_empty() {
        lines.add("note", "the child is still there, and can be removed");
    } else {
        lines.add("note", "the child is still there: others have it as their parent (--delete moves them)");
    }
    let json = json!({
        "child": args.child,
        "parent": done.parent,
        "copied-bytes": done.copied_bytes,
        "blocks": done.blocks,
        "resumed": done.resumed,
        "rebased": moved,
        "deleted": args.delete,
    });
    Output::new(lines.text(), json)
}

/// The VHDs beside a child that have it as their parent.
fn children_of(child: &Path, uuid: Option<Uuid>) -> Result<Vec<PathBuf>> {
    let folder = child.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let is_vhd = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("vhd"));
        // What is no VHD is nobody's child.
        let Some(image) = is_vhd.then(|| open::alone(&path, Some(Format::Vhd)).ok()).flatten() else {
            continue;
        };
        let parent = image.layers().first().map(Layer::link).and_then(|link| link.parent);
        if parent.is_some_and(|parent| parent.uuid.is_some() && parent.uuid == uuid) {
            found.push(path);
        }
    }
    Ok(found)
}

pub(crate) fn rebase(args: &Rebase, bars: &Bars) -> Result<Output> {
    if args.metadata {
        return relink(args, bars);
    }
    let (image, saved) = rebase_onto(&args.child, &args.base, &args.parents, bars)?;
    Ok(convert::written(&args.child, &image, &saved))
}

fn relink(args: &Rebase, bars: &Bars) -> Result<Output> {
    let base = args.parents.open(&args.base, None)?;
    // An interrupted one is completed before anybody can open the child.
    let old = args.parents.open(&args.child, Some(Format::Vhd));
    let rest = old.map(|image| image.layers()[1..].iter().map(|layer| layer.path().to_owned()).collect());
    let own = args.child.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parents = rest.map_or_else(|_| Parents::Within(own.to_owned()), Parents::Order);
    let opening = Opening { parents, ..Opening::default() };
    let progress = Progress::new();
    bars.during(&progress, || disk_stream::relink(&args.child, &base, &opening, &progress))?;
    let mut lines = Lines::default();
    lines.add("new parent for", args.child.display());
    lines.add("parent", args.base.display());
    Ok(Output::new(lines.text(), json!({ "child": args.child, "parent": args.base })))
}

pub(crate) fn apply(args: &Apply, bars: &Bars) -> Result<Output> {
    let progress = Progress::new();
    let declared = Format::declared(args.format);
    let difference = Input::of(&args.difference)?;
    let done = bars.during(&progress, || {
        disk_stream::apply(difference.path(), &args.target, declared, args.trusted, &progress)
    })?;
    let mut lines = Lines::default();
    lines.add("applied", args.difference.display());
    lines.add("to", done.parent.display());
    lines.add("copied", format!("{} in {} blocks", bytes(done.copied_bytes), done.blocks));
    let json = json!({
        "target": done.parent,
        "copied-bytes": done.copied_bytes,
        "blocks": done.blocks,
        "resumed": done.resumed,
    });
    Ok(Output::new(lines.text(), json))
}

/// Writes the child anew, as what its disk has and the base has not, and puts it in the old one's place in one
/// step. The disk that it shows does not change.
fn rebase_onto(
    child: &Path,
    base: &Path,
    parents: &ParentArgs,
    bars: &Bars,
) -> Result<(Image, disk_stream::Saved)> {
    let image = parents.open(child, Some(Format::Vhd))?;
    let base = parents.open(base, None)?;
    let uuid = image.layers()[0].link().uuid;
    if base.layers().iter().any(|layer| layer.link().uuid == uuid && uuid.is_some()) {
        bail!("{} is below {}: a disk cannot be its own ancestor", child.display(), base.path().display());
    }
    let upload = Upload { uuid, ..Upload::default() };
    let progress = upload.progress.clone();
    let saved = bars.during(&progress, || image.save_difference(&base, child, Existing::Replace, &upload))?;
    Ok((image, saved))
}
