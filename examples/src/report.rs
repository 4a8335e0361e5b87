//! The end of a tool: what was done, or one sentence about what was not.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Result;
use indicatif::HumanBytes;
use serde_json::{Map, Value, json};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use xenapi_driver::backup::Backup;
use xenapi_driver::image_cache::CachedImage;
use xenapi_driver::upload::Uploaded;
use xenapi_driver::{AgentReport, Instance, Leftover, Snapshot};

use crate::ui::Ui;

/// What a tool prints: text for people, an object for programs.
#[derive(Debug, Clone)]
pub struct Report {
    lines: Vec<(String, String)>,
    json: Map<String, Value>,
    /// Whether a part of it could not be done.
    failed: bool,
}

/// In characters, so that the times of many stages fit a terminal beside their name.
const TIMES_WIDTH: usize = 62;

impl Report {
    /// What `spawn` has made.
    pub fn of_spawn(instance: &Instance, ui: &Ui) -> Self {
        let mut report = Self { lines: Vec::new(), json: Map::new(), failed: false };
        report.add("instance", &instance.uuid.to_string());
        report.add("name", &instance.name);
        report.add("vm", &instance.vm_uuid);
        report.add("node", &format!("{} ({})", instance.node_uuid, instance.node_name));
        report.json.insert("node".into(), json!(instance.node_uuid));
        report.add("sr", &instance.sr_name);
        report.add("root disk", &instance.root_uuid);
        if let Some(uuid) = &instance.config_drive_uuid {
            report.add("config drive", uuid);
        }
        if !instance.macs.is_empty() {
            report.add("macs", &instance.macs.join(" "));
        }
        if let Some(why) = &instance.not_grown {
            report.add("root disk not grown", why);
        }
        if let Some(agent) = &instance.agent {
            report.add_agent(agent);
        }
        let moved = instance.root_import;
        let share = moved.wire_bytes as f64 * 100.0 / instance.root_bytes.max(1) as f64;
        let (wire, size) = (HumanBytes(moved.wire_bytes), HumanBytes(instance.root_bytes));
        report.lines.push(("on the wire".into(), format!("{wire} for a disk of {size} ({share:.1} %)")));
        report.json.insert("wire_bytes".into(), json!(moved.wire_bytes));
        report.json.insert("virtual_bytes".into(), json!(instance.root_bytes));
        if let Some(taken) = instance.root_physical_bytes {
            report.lines.push(("takes in the SR".into(), HumanBytes(taken).to_string()));
            report.json.insert("physical_bytes".into(), json!(taken));
        }
        report.json.insert("verified".into(), json!(instance.root_checked));
        let verified = match instance.root_checked {
            true => "yes: the disk read back through export equals the image",
            false => {
                "no: it was not asked for, or the disk is a volume, or dom0 copied it from a cached image"
            }
        };
        report.lines.push(("verified".into(), verified.into()));
        report.add_times(ui);
        report
    }

    /// What `snapshot` has written.
    pub fn of_snapshot(snapshot: &Snapshot, ui: &Ui) -> Self {
        let mut report = Self { lines: Vec::new(), json: Map::new(), failed: false };
        report.add("file", &snapshot.path.display().to_string());
        report.add("disk", &snapshot.disk_uuid);
        let (file, size) = (HumanBytes(snapshot.file_bytes), HumanBytes(snapshot.virtual_bytes));
        report.lines.push(("size".into(), format!("{file} for a disk of {size}")));
        report.json.insert("file_bytes".into(), json!(snapshot.file_bytes));
        report.json.insert("virtual_bytes".into(), json!(snapshot.virtual_bytes));
        report.add_leftovers(&snapshot.leftovers);
        report.add_times(ui);
        report
    }

    /// What is known of images that were uploaded.
    pub fn of_uploads(uploads: &[Uploaded], ui: &Ui) -> Self {
        let mut report = Self { lines: Vec::new(), json: Map::new(), failed: false };
        let mut images = Vec::new();
        for uploaded in uploads {
            report.add("image", &uploaded.stored.place);
            report.add("digest", &uploaded.stored.digest.to_string());
            report.add("disk", &uploaded.disk_uuid);
            let (image, size) = (HumanBytes(uploaded.stored.len), HumanBytes(uploaded.virtual_bytes));
            report.lines.push(("size".into(), format!("{image} for a disk of {size}")));
            report.json.insert("image_bytes".into(), json!(uploaded.stored.len));
            report.json.insert("virtual_bytes".into(), json!(uploaded.virtual_bytes));
            report.add_leftovers(&uploaded.leftovers);
            images.push(Value::Object(std::mem::take(&mut report.json)));
        }
        // One image is the object itself.
        report.json = match <[Value; 1]>::try_from(images) {
            Ok([Value::Object(image)]) => image,
            Ok([other]) => Map::from_iter([("images".to_owned(), json!([other]))]),
            Err(images) => Map::from_iter([("images".to_owned(), json!(images))]),
        };
        report.add_times(ui);
        report
    }

    /// What `snapshot --keep` or `--base` has written; `keep` says whether the next one was to be based on it.
    pub fn of_backup(backup: &Backup, keep: bool, ui: &Ui) -> Self {
        let mut report = Self { lines: Vec::new(), json: Map::new(), failed: false };
        report.add("file", &backup.path.display().to_string());
        report.add("disk", &backup.disk_uuid);
        report.add("snapshot", &backup.snapshot_uuid);
        let (file, size) = (HumanBytes(backup.file_bytes), HumanBytes(backup.virtual_bytes));
        report.lines.push(("size".into(), format!("{file} for a disk of {size}")));
        let kept = if backup.kept { "yes: the next file can be based on this one" } else { "no" };
        report.lines.push(("kept".into(), kept.into()));
        report.json.insert("file_bytes".into(), json!(backup.file_bytes));
        report.json.insert("virtual_bytes".into(), json!(backup.virtual_bytes));
        report.json.insert("kept".into(), json!(backup.kept));
        report.failed = keep && !backup.kept;
        report.add_leftovers(&backup.leftovers);
        report.add_times(ui);
        report
    }

    /// The images that there are, or that were fetched or removed.
    pub fn of_images(images: &[CachedImage]) -> Self {
        let line = |image: &CachedImage| {
            let (taken, size) = (HumanBytes(image.physical_bytes), HumanBytes(image.virtual_bytes));
            let used = if image.in_use { ", in use" } else { "" };
            let text = format!("disk {} in SR {}: {taken} of {size}{used}", image.uuid, image.sr_uuid);
            (image.image_id.clone(), text)
        };
        let object = |image: &CachedImage| {
            json!({
                "image_id": image.image_id, "disk": image.uuid, "sr": image.sr_uuid, "digest": image.digest,
                "cached_time": image.cached_time, "virtual_bytes": image.virtual_bytes,
                "physical_bytes": image.physical_bytes, "in_use": image.in_use,
            })
        };
        let list: Vec<_> = images.iter().map(object).collect();
        let json = Map::from_iter([("images".to_owned(), json!(list))]);
        Self { lines: images.iter().map(line).collect(), json, failed: false }
    }

    fn add_agent(&mut self, agent: &AgentReport) {
        self.add("agent", agent.version.as_deref().unwrap_or("none that answers"));
        let done: Vec<_> = agent.done.iter().map(ToString::to_string).collect();
        let faults: Vec<_> = agent.faults.iter().map(|(step, why)| format!("to {step}: {why}")).collect();
        self.lines.extend(done.iter().map(|step| ("agent has done".to_owned(), step.clone())));
        self.lines.extend(faults.iter().map(|fault| ("agent has failed".to_owned(), fault.clone())));
        self.json.insert("agent_done".into(), json!(done));
        self.json.insert("agent_faults".into(), json!(faults));
        if let Some(sealed) = &agent.sealed_password {
            self.add("sealed password", sealed);
        }
    }

    fn add_leftovers(&mut self, leftovers: &[Leftover]) {
        self.failed |= !leftovers.is_empty();
        for leftover in leftovers {
            self.lines.push(("warning".into(), format!("remove by hand: {leftover}")));
        }
        let leftovers: Vec<_> = leftovers.iter().map(ToString::to_string).collect();
        self.json.insert("leftovers".into(), json!(leftovers));
    }

    /// Adds a line, and the same to the object.
    pub fn add(&mut self, name: &str, value: &str) {
        self.lines.push((name.to_owned(), value.to_owned()));
        self.json.insert(name.replace(' ', "_"), json!(value));
    }

    fn add_times(&mut self, ui: &Ui) {
        let mut times = Map::new();
        let mut lines: Vec<String> = Vec::new();
        for (stage, seen) in ui.stages() {
            let seconds = seen.elapsed.as_secs_f64();
            times.insert(stage.label().replace(' ', "_"), json!(seconds));
            let time = format!("{stage} {seconds:.2} s");
            match lines.last_mut() {
                Some(line) if line.len() + time.len() < TIMES_WIDTH => *line += &format!(", {time}"),
                _ => lines.push(time),
            }
        }
        for (n, line) in lines.into_iter().enumerate() {
            self.lines.push((if n == 0 { "times" } else { "" }.into(), line));
        }
        self.json.insert("seconds".into(), times.into());
    }
}

/// Writes to standard error what `RUST_LOG` asks for: `RUST_LOG=xenapi_client=debug` shows every call.
pub fn log() {
    log_from(LevelFilter::OFF);
}

/// [`log`], from `level` on where `RUST_LOG` says nothing.
pub fn log_from(level: LevelFilter) {
    // Whom this machine trusts from now on is told in any case.
    let usual = format!("{level},xenapi_client::known_hosts=warn");
    let asked = std::env::var("RUST_LOG").ok().filter(|asked| !asked.is_empty());
    let filter = EnvFilter::builder().parse_lossy(asked.unwrap_or(usual));
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|plain| !plain.is_empty());
    let spans = tracing_subscriber::fmt::format::FmtSpan::CLOSE;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(spans)
        .with_ansi(std::io::stderr().is_terminal() && !is_plain)
        .with_writer(std::io::stderr)
        .init();
}

/// What a tool says at its end.
pub trait Said {
    /// Lines for people, or objects for programs, one a line.
    fn lines(&self, as_json: bool) -> Vec<String>;

    /// Whether something is in it that was not done: the tool ends with 1 then.
    fn failed(&self) -> bool {
        false
    }
}

impl Said for Report {
    fn lines(&self, as_json: bool) -> Vec<String> {
        if as_json {
            return vec![json!(self.json).to_string()];
        }
        let width = self.lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        self.lines.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect()
    }

    fn failed(&self) -> bool {
        self.failed
    }
}

impl Said for () {
    fn lines(&self, _: bool) -> Vec<String> {
        Vec::new()
    }
}

/// Prints what was done to standard output, or what would be done, or one sentence to standard error.
pub fn exit(result: Result<impl Said>, json: bool) -> ExitCode {
    let (lines, code) = match (result, json) {
        (Err(error), _) if planned(&error).is_some() => (vec![plan(&error, json)], ExitCode::SUCCESS),
        (Ok(said), _) => {
            (said.lines(json), if said.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        (Err(error), true) => (vec![parts(&error).to_string()], ExitCode::FAILURE),
        (Err(error), false) => {
            complain(&format!("error: {}", sentence(&error)));
            return ExitCode::FAILURE;
        }
    };
    match print(&lines) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Writes lines to standard output: to a terminal, [`harmless`].
///
/// # Errors
///
/// When standard output is closed.
pub fn print(lines: &[String]) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    let is_terminal = out.is_terminal();
    lines.iter().try_for_each(|line| match is_terminal {
        true => writeln!(out, "{}", harmless(line)),
        false => writeln!(out, "{line}"),
    })
}

/// Writes a line to standard error: to a terminal, [`harmless`].
pub fn complain(line: &str) {
    let mut out = std::io::stderr();
    // Nothing can be said when standard error is closed.
    let _ = match out.is_terminal() {
        true => writeln!(out, "{}", harmless(line)),
        false => writeln!(out, "{line}"),
    };
}

/// Text without what a terminal obeys: guests and other users decide what is in logs and names.
pub fn harmless(text: &str) -> String {
    let is_harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    let text = text.replace("\r\n", "\n");
    text.chars().map(|c| if is_harmless(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// What a dry run tells that a tool has put together of several verbs.
#[derive(Debug)]
pub struct Planned {
    steps: Vec<String>,
    /// Whether more follows that is not known before these are done.
    incomplete: bool,
}

impl std::fmt::Display for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a dry run: {}", self.steps.join("; "))
    }
}

impl std::error::Error for Planned {}

/// The plan of a verb that another one follows, of which nothing is known yet; other errors stay.
pub fn and_more(error: xenapi_driver::Error) -> anyhow::Error {
    match error.planned() {
        Some(steps) => Planned { steps: steps.to_vec(), incomplete: true }.into(),
        None => error.into(),
    }
}

/// The plan of a verb that this step follows; other errors stay.
pub fn and_then(error: xenapi_driver::Error, step: String) -> anyhow::Error {
    match error.planned() {
        Some(steps) => Planned { steps: [steps, &[step]].concat(), incomplete: false }.into(),
        None => error.into(),
    }
}

/// The steps of a dry run, and whether more follows.
fn planned(error: &anyhow::Error) -> Option<(&[String], bool)> {
    if let Some(plan) = error.downcast_ref::<Planned>() {
        return Some((&plan.steps, plan.incomplete));
    }
    Some((error.downcast_ref::<xenapi_driver::Error>()?.planned()?, false))
}

fn plan(error: &anyhow::Error, as_json: bool) -> String {
    let (steps, incomplete) = planned(error).unwrap_or_default();
    if as_json {
        let mut told = json!({ "would": steps });
        if incomplete {
            told["incomplete"] = true.into();
        }
        return told.to_string();
    }
    let mut lines: Vec<_> = (1..).zip(steps).map(|(number, step)| format!("{number}. {step}")).collect();
    lines.extend(incomplete.then(|| "What follows is known only when that is done.".to_owned()));
    lines.join("\n")
}

/// An error for programs: the sentence, and what the driver's errors are made of.
fn parts(error: &anyhow::Error) -> Value {
    let mut told = json!({ "error": sentence(error) });
    if let Some(error) = error.downcast_ref::<xenapi_driver::Error>() {
        let leftovers: Vec<_> = error.leftovers().iter().map(ToString::to_string).collect();
        told["verb"] = json!(error.op().to_string());
        told["object"] = json!(error.object());
        told["stage"] = json!(error.stage().label());
        told["code"] = json!(error.failure().map(|failure| &failure.code));
        told["leftovers"] = json!(leftovers);
    }
    if let Some(remedy) = remedy(error) {
        told["remedy"] = json!(remedy);
    }
    told
}

/// What to do, where the driver or its client says so.
fn remedy(error: &anyhow::Error) -> Option<String> {
    match error.downcast_ref::<xenapi_driver::Error>() {
        Some(error) => error.remedy(),
        None => Some(error.downcast_ref::<xenapi_client::Error>()?.advice()?.to_owned()),
    }
}

/// The driver's errors say everything themselves; to those of this tool belongs their reason.
pub fn sentence(error: &anyhow::Error) -> String {
    match error.downcast_ref::<xenapi_driver::Error>() {
        Some(error) => error.to_string(),
        None => format!("{error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_no_orders() {
        for (text, wanted) in [
            ("login:\r\nroot\tok", "login:\nroot\tok"),
            ("\u{1b}]0;title\u{7}", "\u{fffd}]0;title\u{fffd}"),
            ("old\rnew \u{9b}31m", "old\u{fffd}new \u{fffd}31m"),
            ("größer ✓", "größer ✓"),
        ] {
            assert_eq!(harmless(text), wanted);
        }
    }

    #[test]
    fn plans_of_two_verbs() {
        let steps = || vec!["adopt".to_owned()];
        for (incomplete, json, text) in [
            (
                true,
                r#"{"incomplete":true,"would":["adopt"]}"#,
                "1. adopt\nWhat follows is known only when that is done.",
            ),
            (false, r#"{"would":["adopt"]}"#, "1. adopt"),
        ] {
            let error = Planned { steps: steps(), incomplete }.into();
            assert_eq!((&*plan(&error, true), &*plan(&error, false)), (json, text));
        }
    }
}
