//! What a command prints, and how it shows that it is at work.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use disk_stream::{Progress, Stage};
use examples::report::{self, complain, sentence};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

/// A result: text for people, objects for programs, one a line.
pub(crate) struct Output {
    text: String,
    json: Vec<Value>,
    code: u8,
}

impl Output {
    pub(crate) fn new(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json: vec![json], code: 0 }
    }

    /// What was printed as it was made.
    pub(crate) fn none() -> Self {
        Self { text: String::new(), json: Vec::new(), code: 0 }
    }

    /// Several results, one after the other.
    pub(crate) fn all(outputs: Vec<Self>, code: u8) -> Self {
        let texts: Vec<&str> = outputs.iter().map(|output| output.text.trim_end()).collect();
        Self {
            text: texts.join("\n"),
            json: outputs.into_iter().flat_map(|output| output.json).collect(),
            code,
        }
    }

    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.code
    }

    /// On standard output, unless that has the disk's `data`.
    pub(crate) fn print(self, json: bool, data: bool) -> ExitCode {
        let lines = || self.json.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
        let text = if json { lines() } else { self.text };
        let text = text.trim_end();
        match (text.is_empty(), data) {
            (true, _) => {}
            (false, true) => complain(text),
            (false, false) if report::print(&[text.to_owned()]).is_err() => return ExitCode::FAILURE,
            (false, false) => {}
        }
        ExitCode::from(self.code)
    }

    /// What could not be done, and the option with which it could.
    pub(crate) fn failed(
        error: &anyhow::Error,
        hint: Option<&str>,
        json: bool,
        data: bool,
        code: u8,
    ) -> ExitCode {
        let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        let said = format!("{}{hint}", sentence(error));
        if json {
            Self::new("", json!({ "error": said })).code(code).print(true, data)
        } else {
            complain(&format!("error: {said}"));
            ExitCode::from(code)
        }
    }
}

/// What this process has taken so far, as the system tells it; nothing where it does not.
pub(crate) fn print_stats() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let status = read("/proc/self/status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map(str::trim);
    // Fields 14 and 15, counted from one, in hundredths of a second; the second one is in parentheses and may
    // hold anything.
    let stat = read("/proc/self/stat");
    let ticks: Vec<f64> = stat
        .rsplit_once(')')
        .into_iter()
        .flat_map(|(_, rest)| rest.split_whitespace().skip(11).take(2))
        .filter_map(|field| field.parse().ok())
        .collect();
    if let (Some(peak), &[user, system]) = (peak, &ticks[..]) {
        let line =
            format!("memory {peak}, processor {:.2} s user, {:.2} s system", user / 100.0, system / 100.0);
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// A table of names and values.
#[derive(Default)]
pub(crate) struct Lines(Vec<(String, String)>);

impl Lines {
    pub(crate) fn add(&mut self, name: &str, value: impl Display) {
        self.0.push((name.to_owned(), value.to_string()));
    }

    pub(crate) fn text(&self) -> String {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        self.0.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
    }
}

/// What a file is called, for JSON, in which every name is Unicode.
pub(crate) fn name(path: &Path) -> Cow<'_, str> {
    path.to_string_lossy()
}

/// Bytes as people read them, and exactly.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..1024 => format!("{n} bytes"),
        _ => format!("{} ({n} bytes)", indicatif::HumanBytes(n)),
    }
}

/// A bar on a terminal.
pub(crate) struct Bars(bool);

impl Bars {
    pub(crate) fn new(json: bool) -> Self {
        Self(!json && std::io::stderr().is_terminal())
    }

    /// Does some work, and draws its progress while it lasts.
    pub(crate) fn during<T: Send>(&self, progress: &Progress, work: impl FnOnce() -> T + Send) -> T {
        if !self.0 {
            return work();
        }
        let bar = ProgressBar::new(0).with_style(
            ProgressStyle::with_template(
                "{msg:9} [{bar:40}] {bytes} of {total_bytes} at {bytes_per_sec}, {eta} left",
            )
            .expect("a valid template")
            .progress_chars("=> "),
        );
        let result = std::thread::scope(|scope| {
            let work = scope.spawn(work);
            while !work.is_finished() {
                let now = progress.snapshot();
                bar.set_message(if now.stage == Stage::Scanning { "scanning" } else { "writing" });
                // What is allocated takes the time; where that is not known, the place on the disk is told.
                let (of, at) = match now.data_size {
                    0 => (now.virtual_size, now.virtual_bytes),
                    data => (data, now.data_bytes),
                };
                bar.set_length(of);
                bar.set_position(at);
                std::thread::sleep(Duration::from_millis(50));
            }
            work.join()
        });
        bar.finish_and_clear();
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
