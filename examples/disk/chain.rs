//! `disk compare`, `disk diff`, `disk coalesce` and `disk rebase`.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use disk_stream::{Coalesced, Existing, Image, Layer, Parents, Progress, Saved, Upload};
use serde_json::json;

use crate::convert;
use crate::open::{Format, Input, ParentArgs};
use crate::output::{Bars, Lines, Output, bytes, name};

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
    /// Size of the child's disk in bytes; that of the larger one of both without this.
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
    /// Place the data of its blocks at multiples of 4 KiB.
    #[arg(long)]
    aligned: bool,
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
    /// Remove the child afterwards. Its own children in its folder, whatever they are called, are given the parent first.
    #[arg(long)]
    delete: bool,
    /// Where to keep the journal of a merge into a device, to go on by after a kill: a folder that is still there when the machine
    /// is started anew; xenapi-rs/merges in $XDG_STATE_HOME, or else in /var/lib for root and in ~/.local/state, without this. The
    /// journal of a merge into a file is beside that.
    #[arg(long, value_name = "FOLDER")]
    journal_folder: Option<PathBuf>,
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

/// Of what nothing stands on any longer.
fn hidden(parent: &Layer) -> Result<Option<String>> {
    if !parent.link().hidden || !disk_stream::children_of(parent)?.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!(
        "{} is marked hidden and has no children any longer: XenServer takes it for a parent only and removes it; if its disk is \
         still wanted, convert it, which leaves the mark out",
        parent.path().display()
    )))
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
    let size = args.size.unwrap_or_else(|| disk.virtual_size().max(base.virtual_size()));
    let upload = Upload { virtual_size: Some(size), aligned: args.aligned, ..Upload::default() };
    if args.output == Path::new("-") {
        convert::pour_difference(&disk, &base, upload, bars)?;
        let warnings: Vec<&str> = unreadable_name(&base).into_iter().collect();
        let text: Vec<String> = warnings.iter().map(|warning| format!("warning: {warning}")).collect();
        return Ok(Output::new(text.join("\n"), json!({ "filename": "-", "warnings": warnings })));
    }
    let existing = if args.force { Existing::Replace } else { Existing::Refuse };
    let progress = upload.progress.clone();
    let saved = bars.during(&progress, || disk.save_difference(&base, &args.output, existing, &upload))?;
    Ok(convert::written_on(Some(&base), &args.output, &args.disk, &disk, &saved, None))
}

/// blktap writes and reads the names of parents in ASCII only.
pub(crate) fn unreadable_name(base: &Image) -> Option<&'static str> {
    let name = base.path().file_name().unwrap_or_default();
    let words = "the name of the parent has letters that are not ASCII: XenServer's blktap does not follow it; rename the parent, \
                 and make the difference anew";
    (!name.as_encoded_bytes().is_ascii()).then_some(words)
}

pub(crate) fn coalesce(args: &Coalesce, bars: &Bars) -> Result<Output> {
    let image = args.parents.open(&args.child, Some(Format::Vhd))?;
    let parents = image.layers()[1..].iter().map(|layer| layer.path().to_owned()).collect();
    let mut opening = args.parents.opening(Some(Format::Vhd), Parents::Order(parents));
    opening.journals = args.journal_folder.clone();
    let progress = Progress::new();
    let merge = if args.delete { disk_stream::coalesce_and_remove } else { disk_stream::coalesce };
    let done = bars.during(&progress, || merge(&args.child, &opening, &progress))?;
    merged(args, &image, &done)
}

/// Refuses a file that has other names: it is written anew, and they would still have the old one.
fn one_name(path: &Path) -> Result<()> {
    let names = path.metadata().with_context(|| format!("cannot open {}", path.display()))?;
    if names.is_file() && names.nlink() > 1 {
        bail!(
            "{} has {} names (hard links), of which the others would keep the disk as it was; leave it one name first",
            path.display(),
            names.nlink()
        );
    }
    Ok(())
}

fn merged(args: &Coalesce, image: &Image, done: &Coalesced) -> Result<Output> {
    let mut lines = Lines::default();
    lines.add("merged", args.child.display());
    lines.add("into", done.parent.display());
    lines.add("copied", format!("{} in {} blocks", bytes(done.copied_bytes), done.blocks));
    if done.resumed {
        lines.add("note", "an interrupted merge was completed");
    }
    if done.unhidden {
        lines.add("note", "the parent was marked hidden, and is a disk of its own now");
    }
    for path in &done.moved {
        lines.add("new parent for", path.display());
    }
    if args.delete {
        lines.add("removed", args.child.display());
    } else if disk_stream::children_of(&image.layers()[0])?.is_empty() {
        lines.add("note", "the child is still there, and can be removed");
    } else {
        lines.add("note", "the child is still there: others have it as their parent (--delete moves them)");
    }
    let mut warnings: Vec<String> = image.chain_warnings().iter().map(ToString::to_string).collect();
    // The mark of a base copy, on what has nothing on it any longer.
    if args.delete && !done.unhidden {
        warnings.extend(hidden(&image.layers()[1])?);
    }
    warnings.iter().for_each(|warning| lines.add("warning", warning));
    let json = json!({
        "child": name(&args.child),
        "parent": name(&done.parent),
        "copied-bytes": done.copied_bytes,
        "blocks": done.blocks,
        "resumed": done.resumed,
        "rebased": done.moved.iter().map(|path| name(path)).collect::<Vec<_>>(),
        "deleted": args.delete,
        "unhidden": done.unhidden,
        "warnings": warnings,
    });
    Ok(Output::new(lines.text(), json))
}

pub(crate) fn rebase(args: &Rebase, bars: &Bars) -> Result<Output> {
    if args.metadata {
        return relink(args, bars);
    }
    let image = args.parents.open(&args.child, Some(Format::Vhd))?;
    let base = args.parents.open(&args.base, None)?;
    let saved = rebase_onto(&image, &base, bars)?;
    // That folder was looked through for nothing else, and what is odd in it is no matter of this.
    let left = image.layers().get(1).and_then(|parent| hidden(parent).ok().flatten());
    Ok(convert::written_on(Some(&base), &args.child, &args.child, &image, &saved, left))
}

fn relink(args: &Rebase, bars: &Bars) -> Result<Output> {
    let base = args.parents.open(&args.base, None)?;
    // An interrupted one is completed before anybody can open the child.
    let old = args.parents.open(&args.child, Some(Format::Vhd));
    let rest = old.map(|image| image.layers()[1..].iter().map(|layer| layer.path().to_owned()).collect());
    let own = args.child.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parents = rest.map_or_else(|_| Parents::Within(own.to_owned()), Parents::Order);
    let opening = args.parents.opening(Some(Format::Vhd), parents);
    let progress = Progress::new();
    bars.during(&progress, || disk_stream::relink(&args.child, &base, &opening, &progress))?;
    let mut lines = Lines::default();
    lines.add("new parent for", args.child.display());
    lines.add("parent", args.base.display());
    let warnings: Vec<&str> = unreadable_name(&base).into_iter().collect();
    warnings.iter().for_each(|warning| lines.add("warning", warning));
    let json = json!({ "child": name(&args.child), "parent": name(&args.base), "warnings": warnings });
    Ok(Output::new(lines.text(), json))
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
        "target": name(&done.parent),
        "copied-bytes": done.copied_bytes,
        "blocks": done.blocks,
        "resumed": done.resumed,
    });
    Ok(Output::new(lines.text(), json))
}

/// Writes the child anew, as what its disk has and the base has not, and puts it in the old one's place in one
/// step. The disk that it shows does not change.
fn rebase_onto(child: &Image, base: &Image, bars: &Bars) -> Result<Saved> {
    let uuid = child.layers()[0].link().uuid;
    if base.layers().iter().any(|layer| layer.link().uuid == uuid && uuid.is_some()) {
        let (child, base) = (child.path().display(), base.path().display());
        bail!("{child} is below {base}: a disk cannot be its own ancestor");
    }
    one_name(child.path())?;
    let upload = Upload { uuid, ..Upload::default() };
    let progress = upload.progress.clone();
    Ok(bars.during(&progress, || child.save_difference(base, child.path(), Existing::Replace, &upload))?)
}
