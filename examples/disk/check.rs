//! `disk check` and `disk repair`.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;
use disk_stream::Inspected;
use serde_json::{Value, json};
use vhd::inspect::{self, Finding, Grade, Reader, Report};

use crate::info;
use crate::open::{self, Format, Input};
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The VHD, or a tar archive of VHDs, of which each is looked at; `-` is standard input.
    file: PathBuf,
    /// What it is; found out without this. Only VHDs can be checked.
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// Read the sector bitmaps too, and look for data in sectors that are said to be absent.
    #[arg(long)]
    thorough: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Repair {
    /// The VHD. Nobody may have it open.
    file: PathBuf,
    /// Tell what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Some reader stumbles.
const DEVIATES: u8 = 2;
/// So it is, and all of it can be put right.
const REPAIRABLE: u8 = 3;
/// The number that `qemu-img check` has for this.
const NOT_CHECKED: u8 = 63;

pub(crate) fn check(args: &Check) -> Result<Output> {
    let input = Input::of(&args.file)?;
    if let Some(output) = not_checked(args, &input) {
        return Ok(output);
    }
    let reports = disk_stream::inspect(input.path(), args.thorough)?;
    let mut text = String::new();
    let mut all = Vec::new();
    for (path, report) in &reports {
        let writer = report.writer.map(|writer| writer.to_string());
        let _ =
            writeln!(text, "{}: written by {}", path.display(), writer.as_deref().unwrap_or("nobody knows"));
        report.findings.iter().for_each(|finding| describe(&mut text, finding));
        let (verdict, code) = verdict(report);
        let _ = writeln!(text, "{verdict}");
        let findings: Vec<Value> = report.findings.iter().map(to_json).collect();
        let json = json!({ "filename": path, "writer": writer, "verdict": verdict, "findings": findings });
        all.push((code, json));
    }
    // In an archive nothing is repaired.
    let archive = reports.iter().any(|(path, _)| path != input.path());
    let worst = all.iter().map(|(code, _)| if archive { DEVIATES.min(*code) } else { *code }).max();
    let json = match all.len() {
        1 => all.remove(0).1,
        _ => {
            json!({ "filename": args.file, "layers": all.into_iter().map(|(_, json)| json).collect::<Vec<_>>() })
        }
    };
    Ok(Output::new(text, json).code(worst.unwrap_or(0)))
}

/// What is no VHD, sound or not, as `qemu-img check` says of formats in which nothing can be wrong.
fn not_checked(args: &Check, input: &Input) -> Option<Output> {
    let format = match args.format {
        Some(Format::Vhd) => return None,
        Some(Format::Raw) => "raw",
        Some(Format::Qcow2) => "qcow2",
        None => match open::alone(input.path(), None).ok()?.format() {
            disk_stream::Format::Vhd(_) => return None,
            other => info::format_name(other),
        },
    };
    let mut text = format!("this is a disk in the format {format}: only VHDs are checked");
    if args.format.is_none() {
        text.push_str(" (-f vhd, if it is to be one)");
    }
    Some(
        Output::new(text, json!({ "filename": args.file, "format": format, "checked": false }))
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
        () if report.grade() == Some(Grade::Fatal) => ("not usable: restore it from a copy", DEVIATES),
        () => ("usable, but not by everybody: write it anew with disk convert", DEVIATES),
    }
}

pub(crate) fn repair(args: &Repair) -> Result<Output> {
    if args.dry_run {
        let found = Inspected::open(&args.file, false)?;
        let repairs = words(&found.report().repairs());
        let text = if repairs.is_empty() { "nothing to repair".to_owned() } else { repairs.join("\n") };
        return Ok(Output::new(text, json!({ "filename": args.file, "would": repairs })));
    }
    let done = Inspected::repair(&args.file)?;
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
        "filename": args.file,
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
