//! `disk check` and `disk repair`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use disk_stream::{Inspected, Opening, Progress};
use examples::report::sentence;
use serde_json::{Value, json};
use vhd::chain::{ChainError, ChainWarning};
use vhd::format::DiskType;
use vhd::inspect::{self, Finding, Grade, Reader, Report};
use vhd::{DiskMap, EndFooterPolicy};

use crate::open::{self, ChainArgs, ClaimArgs, Format, Input, OddArgs};
use crate::output::{Bars, Output, name};

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// VHDs, or tar archives of VHDs, of which each is looked at; `-` is standard input. The exit code is that of the
    /// worst.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// What it is; found out without this. Only VHDs can be checked.
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// Read the sector bitmaps too, and look for data in sectors that are said to be absent.
    #[arg(long)]
    thorough: bool,
    /// Look at the file alone: what it is a layer on is not looked for.
    #[arg(long, conflicts_with_all = ["chain", "parents"])]
    layer: bool,
    #[command(flatten)]
    claims: ClaimArgs,
    #[command(flatten)]
    parents: ChainArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Repair {
    /// The VHD. Nobody may have it open.
    file: PathBuf,
    /// Tell what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Where two footers disagree, the one that --footer names is written in the place of the other.
    #[command(flatten)]
    claims: ClaimArgs,
}

/// It could not be looked at.
const FAILED: u8 = 1;
/// Some reader stumbles.
const DEVIATES: u8 = 2;
/// So it is, and all of it can be put right.
const REPAIRABLE: u8 = 3;
/// The number that `qemu-img check` has for this.
const NOT_CHECKED: u8 = 63;

pub(crate) fn check(args: &Check, bars: &Bars) -> Result<Output> {
    if let [file] = &args.files[..] {
        return check_one(args, file, bars);
    }
    // What cannot be looked at keeps nobody from looking at the others.
    let told = |file: &PathBuf| {
        check_one(args, file, bars).unwrap_or_else(|error| {
            let what = sentence(&error);
            let json = json!({ "filename": name(file), "error": what });
            Output::new(format!("{}: {what}", file.display()), json).code(FAILED)
        })
    };
    let outputs: Vec<Output> = args.files.iter().map(told).collect();
    let has = |code: &u8| outputs.iter().any(|output| output.exit_code() == *code);
    let worst = [FAILED, DEVIATES, REPAIRABLE, NOT_CHECKED].into_iter().find(has);
    Ok(Output::all(outputs, worst.unwrap_or(0)))
}

fn check_one(args: &Check, file: &Path, bars: &Bars) -> Result<Output> {
    let input = Input::of(file)?;
    if let Some(output) = not_checked(args.format, file, &input) {
        return Ok(output);
    }
    let progress = Progress::new();
    let look = || disk_stream::inspect_with(input.path(), args.thorough, &args.claims.opening(), &progress);
    let mut reports = bars.during(&progress, look)?;
    // Of an archive, the leaf.
    let alone = reports.first().map(|(_, report)| verdict(report));
    let below = reports.first_mut().map_or(Below::Nothing, |(_, report)| look_below(args, &input, report));
    let mut text = String::new();
    let mut all = Vec::new();
    for (number, (path, report)) in reports.iter().enumerate() {
        let path = if path == input.path() { input.name() } else { path };
        let writer = report.writer.map(|writer| writer.to_string());
        let _ =
            writeln!(text, "{}: written by {}", path.display(), writer.as_deref().unwrap_or("nobody knows"));
        report.findings.iter().for_each(|finding| describe(&mut text, finding));
        let alone = alone.filter(|_| number == 0);
        let (verdict, code) = alone.and_then(|alone| below.judge(alone)).unwrap_or_else(|| verdict(report));
        let _ = writeln!(text, "{verdict}");
        let findings: Vec<Value> = report.findings.iter().map(to_json).collect();
        let mut json =
            json!({ "filename": name(path), "writer": writer, "verdict": verdict, "findings": findings });
        if let (0, Below::Layers(layers)) = (number, &below) {
            json["layers-below"] = json!(layers);
        }
        all.push((code, json));
    }
    // In an archive nothing is repaired.
    let archive = reports.iter().any(|(path, _)| path != input.path());
    let worst = all.iter().map(|(code, _)| if archive { DEVIATES.min(*code) } else { *code }).max();
    let json = match all.len() {
        1 => all.remove(0).1,
        _ => {
            json!({ "filename": name(file), "layers": all.into_iter().map(|(_, json)| json).collect::<Vec<_>>() })
        }
    };
    Ok(Output::new(text, json).code(worst.unwrap_or(0)))
}

/// What a differencing VHD stands on.
enum Below {
    /// It is a whole disk, or no disk at all.
    Nothing,
    /// So many layers, with which it is a disk.
    Layers(usize),
    /// They are there, and make no disk with it.
    NoDisk,
    /// Nobody was to look.
    Unseen,
    Missing,
}

impl Below {
    /// The verdict on what stands on this, of which `alone` is the one on its file; nothing where the findings say it all.
    fn judge(&self, alone: (&'static str, u8)) -> Option<(&'static str, u8)> {
        match (self, alone) {
            // What is no good by itself is no better with its parents.
            (_, (words, DEVIATES)) => Some((words, DEVIATES)),
            (Self::Missing, _) => {
                Some(("not known: it is no disk without its parent, which is not found", FAILED))
            }
            (Self::NoDisk, _) => Some(("not usable: it makes no disk with its parents", DEVIATES)),
            (Self::Unseen, (_, 0)) => Some(("good as a layer; its parent was not looked at", 0)),
            _ => None,
        }
    }
}

/// Looks whether a differencing VHD makes a disk with its parents, and adds what is odd.
fn look_below(args: &Check, input: &Input, report: &mut Report) -> Below {
    let differencing = |map: &DiskMap| map.footer().disk_type == DiskType::Differencing;
    let Some(map) = report.map.as_ref().filter(|map| differencing(map)) else { return Below::Nothing };
    let named = map.header().map(|header| format!("{:?} ({})", header.parent_name, header.parent_uuid));
    let named = named.unwrap_or_default();
    if args.layer {
        let what = format!("its parent {named} was not looked at: without that it is no disk");
        report.add(Finding::new(Grade::Accepted, what));
        return Below::Unseen;
    }
    // What is odd about the file itself has been found already.
    let mut opening = Opening {
        end_footer: EndFooterPolicy::FrontSuffices,
        rules: args.parents.rules(),
        ..Opening::default()
    };
    args.claims.apply(&mut opening);
    let error = match args.parents.open_input(input, &opening) {
        Ok(image) => {
            for warning in image.chain_warnings() {
                // XenServer reads blocks of one size.
                let misread =
                    matches!(warning, ChainWarning::BlockSizes { .. } | ChainWarning::Trusted { .. });
                let grade = if misread { Grade::Misread } else { Grade::Accepted };
                // That the leaf is hidden, it says itself.
                if *warning != ChainWarning::HiddenLeaf {
                    report.add(Finding::new(grade, warning.to_string()));
                }
            }
            return Below::Layers(image.layers().len() - 1);
        }
        Err(error) => error,
    };
    let chain = error.chain().find_map(|cause| cause.downcast_ref::<ChainError>());
    let stream = error.downcast_ref::<disk_stream::Error>();
    let missing = matches!(chain, Some(ChainError::ParentMissing { .. }))
        || matches!(
            stream,
            Some(disk_stream::Error::ParentNotFound { .. } | disk_stream::Error::Open { .. })
        );
    let mut finding = if missing {
        let how = "say where it is with --chain or --parents, or look at the file alone with --layer";
        Finding::new(
            Grade::Misread,
            format!("without all of its parents it is no disk: {}; {how}", sentence(&error)),
        )
    } else {
        Finding::new(
            Grade::Misread,
            format!("with its parent {named} it makes no disk: {}", sentence(&error)),
        )
    };
    finding.refused_by = &[Reader::Tapdisk, Reader::VhdTool, Reader::XenOrchestra];
    report.add(finding);
    if missing { Below::Missing } else { Below::NoDisk }
}

/// What is no VHD, sound or not, as `qemu-img check` says of formats in which nothing can be wrong.
fn not_checked(declared: Option<Format>, file: &Path, input: &Input) -> Option<Output> {
    let format = match declared {
        Some(Format::Vhd) => return None,
        Some(Format::Raw) => "raw",
        Some(Format::Qcow2) => "qcow2",
        None => match open::alone(input.path(), None, &OddArgs::default()).ok()?.format() {
            disk_stream::Format::Vhd(_) => return None,
            other => other.name(),
        },
    };
    let mut text = format!("this is a disk in the format {format}: only VHDs are checked");
    if declared.is_none() {
        text.push_str(" (-f vhd, if it is to be one)");
    }
    Some(
        Output::new(text, json!({ "filename": name(file), "format": format, "checked": false }))
            .code(NOT_CHECKED),
    )
}

/// In words and as an exit code.
fn verdict(report: &Report) -> (&'static str, u8) {
    let serious: Vec<&Finding> = report.findings.iter().filter(|f| f.grade > Grade::Accepted).collect();
    match () {
        () if serious.is_empty() => ("good: XenServer and XCP-ng take it as it is", 0),
        () if serious.iter().all(|finding| finding.repair.is_some()) => {
            ("usable once it is repaired, which loses nothing: disk repair", REPAIRABLE)
        }
        () if report.grade() == Some(Grade::Fatal) => (hopeless(report), DEVIATES),
        () => ("usable, but not by everybody: write it anew with disk convert", DEVIATES),
    }
}

/// What is to be done with what nobody can use as it is.
fn hopeless(report: &Report) -> &'static str {
    use vhd::Error;
    match report.error {
        Some(Error::FooterMismatch { .. }) => {
            "not usable as it is: --footer front or --footer end says which footer counts, and with it disk repair writes that \
             one in the place of the other"
        }
        Some(Error::TooLarge { .. } | Error::TableTooLarge { .. }) => {
            "not looked at: --large reads a disk of up to 64 TiB, which no VHD of XenServer can have"
        }
        _ if report.encrypted => "not usable without its key: export the disk from its host",
        _ => "not usable: restore it from a copy",
    }
}

pub(crate) fn repair(args: &Repair, bars: &Bars) -> Result<Output> {
    if args.dry_run {
        let found = Inspected::open_with(&args.file, false, &args.claims.opening())?;
        found.refuse_fatal()?;
        let repairs = words(&found.report().repairs());
        let text = if repairs.is_empty() { "nothing to repair".to_owned() } else { repairs.join("\n") };
        return Ok(Output::new(text, json!({ "filename": name(&args.file), "would": repairs })));
    }
    let progress = Progress::new();
    let repair = || Inspected::repair_with(&args.file, &args.claims.opening(), &progress);
    let done = bars.during(&progress, repair)?;
    let repairs = words(&done.repairs);
    if repairs.is_empty() {
        return Ok(Output::new("nothing to repair; nothing was written", json!({ "repairs": [] })));
    }
    let mut text = repairs.join("\n");
    for range in &done.written {
        let _ = write!(text, "\nwritten: bytes {} to {}", range.start, range.end - 1);
    }
    if let Some(len) = done.truncated {
        let _ = write!(text, "\ncut to {len} bytes");
    }
    let _ = write!(text, "\nall other bytes are as before: sha256 {}", done.untouched_sha256);
    let written: Vec<_> = done.written.iter().map(|range| json!([range.start, range.end])).collect();
    let json = json!({
        "filename": name(&args.file),
        "repairs": repairs,
        "written": written,
        "truncated": done.truncated,
        "untouched-sha256": done.untouched_sha256,
    });
    Ok(Output::new(text, json))
}

fn describe(text: &mut String, finding: &Finding) {
    let _ = writeln!(text, "{}: {}", grade(finding.grade), finding.what);
    for (readers, what) in [(finding.refused_by, "refused by"), (finding.misread_by, "misread by")] {
        if !readers.is_empty() {
            let _ = writeln!(text, "    {what} {}", names(readers).join(", "));
        }
    }
    if let Some(repair) = &finding.repair {
        let _ = writeln!(text, "    repair: {}", word(repair));
    }
}

fn to_json(finding: &Finding) -> Value {
    json!({
        "grade": grade(finding.grade),
        "what": finding.what,
        "refused-by": names(finding.refused_by),
        "misread-by": names(finding.misread_by),
        "repair": finding.repair.as_ref().map(word),
    })
}

fn names(readers: &[Reader]) -> Vec<String> {
    readers.iter().map(ToString::to_string).collect()
}

pub(crate) fn grade(grade: Grade) -> &'static str {
    match grade {
        Grade::Accepted => "accepted",
        Grade::Misread => "misread",
        Grade::Fatal => "fatal",
    }
}

fn words(repairs: &[inspect::Repair]) -> Vec<String> {
    repairs.iter().map(word).collect()
}

fn word(repair: &inspect::Repair) -> String {
    use inspect::Repair;
    match repair {
        Repair::FrontFooter => "write the footer at the start anew, from the one at the end".to_owned(),
        Repair::EndFooter(at) => format!("write the footer at the end anew, at byte {at}"),
        Repair::Truncate(len) => format!("cut what follows the footer, at byte {len}"),
        Repair::Geometry => "replace the geometry by that of the disk's size".to_owned(),
        Repair::Uuid => "give the disk a uuid".to_owned(),
        Repair::Features => "set the feature bit that is always set".to_owned(),
        Repair::Timestamp(_) => "count the time of creation from 2000".to_owned(),
        other => format!("{other:?}"),
    }
}
