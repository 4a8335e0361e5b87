//! Draws an operation's events: bars on a terminal, lines elsewhere, nothing when the output is JSON.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use xenapi_driver::{Event, Operation, Progress, Stage, Transfer};

use crate::report;

/// Where events go. Everything is written to standard error: standard output is for the result.
#[derive(Clone)]
pub struct Ui(Arc<Mutex<Screen>>);

struct Screen {
    look: Look,
    stages: BTreeMap<Stage, Seen>,
}

enum Look {
    Bars(MultiProgress, BTreeMap<Stage, ProgressBar>),
    Lines,
    Silent,
}

/// What is known about a stage.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// How long it took.
    pub elapsed: Duration,
    /// The last that was heard of its transfer.
    pub transfer: Option<Transfer>,
    last_line: Option<Instant>,
}

/// Between two lines about the same transfer.
const LINE_EVERY: Duration = Duration::from_secs(5);

impl Ui {
    /// Bars when standard error is a terminal, lines when it is not, nothing for `json`.
    pub fn new(json: bool) -> Self {
        let look = if json {
            Look::Silent
        } else if std::io::stderr().is_terminal() {
            Look::Bars(MultiProgress::new(), BTreeMap::new())
        } else {
            Look::Lines
        };
        Self(Arc::new(Mutex::new(Screen { look, stages: BTreeMap::new() })))
    }

    /// The listener to give to a driver.
    pub fn progress(&self) -> Progress {
        let ui = self.clone();
        Progress::to(move |event| ui.screen().show(event))
    }

    /// A line for the reader, which bars do not overwrite.
    pub fn say(&self, text: &str) {
        self.screen().line(text);
    }

    /// A line that the reader must not miss, whatever the results are printed as.
    pub fn warn(&self, text: &str) {
        let mut screen = self.screen();
        match screen.look {
            Look::Silent => report::complain(text),
            Look::Bars(..) | Look::Lines => screen.line(text),
        }
    }

    /// The stages seen so far, with their times and transfers.
    pub fn stages(&self) -> BTreeMap<Stage, Seen> {
        self.screen().stages.clone()
    }

    /// Forgets the stages: another operation begins.
    pub fn begin(&self) {
        self.screen().stages.clear();
    }

    /// Waits for an operation. Ctrl-C cancels it, which undoes what it did; a second one changes nothing.
    ///
    /// # Errors
    ///
    /// Those of the operation.
    pub async fn until_interrupted<T: Send + 'static>(
        &self,
        mut operation: Operation<T>,
    ) -> xenapi_driver::Result<T> {
        tokio::select! {
            result = &mut operation => return result,
            _ = tokio::signal::ctrl_c() => {}
        }
        self.say("interrupted: undoing what was done");
        operation.cancel();
        operation.await
    }

    fn screen(&self) -> std::sync::MutexGuard<'_, Screen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Screen {
    fn show(&mut self, event: Event) {
        match event {
            Event::Started(stage) => {
                self.stages.insert(stage, Seen::default());
                if let Look::Bars(all, bars) = &mut self.look {
                    let bar =
                        all.add(ProgressBar::new_spinner().with_style(waiting()).with_message(stage.label()));
                    bar.enable_steady_tick(Duration::from_millis(120));
                    bars.insert(stage, bar);
                }
            }
            Event::Scanned { stage, done_bytes, total_bytes } => {
                if let Look::Bars(_, bars) = &self.look
                    && let Some(bar) = bars.get(&stage)
                {
                    let (done, total) = (HumanBytes(done_bytes), HumanBytes(total_bytes));
                    bar.set_message(format!("{stage}: {done} of {total}"));
                }
            }
            Event::Bytes(stage, transfer) => self.bytes(stage, transfer),
            Event::Finished(stage, elapsed) => self.ended(stage, elapsed, "done"),
            Event::Failed(stage, elapsed) => self.ended(stage, elapsed, "failed"),
            Event::Undoing { steps: 0 } => {}
            Event::Undoing { steps } => self.line(&format!("undoing {steps} steps")),
            Event::Undone { what, error: None } => self.line(&format!("  removed {what}")),
            Event::Undone { what, error: Some(error) } => {
                self.line(&format!("  NOT removed: {what}: {error}"));
            }
            _ => {}
        }
    }

    fn bytes(&mut self, stage: Stage, transfer: Transfer) {
        let seen = self.stages.entry(stage).or_default();
        seen.transfer = Some(transfer);
        match &mut self.look {
            Look::Bars(_, bars) => {
                let Some(bar) = bars.get(&stage) else { return };
                if let Some(total) = transfer.wire_total_bytes.filter(|_| bar.length().is_none()) {
                    bar.set_length(total);
                    bar.set_style(moving());
                }
                bar.set_position(transfer.wire_bytes);
            }
            Look::Lines => {
                if seen.last_line.is_some_and(|last| last.elapsed() < LINE_EVERY) {
                    return;
                }
                if seen.last_line.replace(Instant::now()).is_none() {
                    return;
                }
                let of = transfer.wire_total_bytes.map(|total| format!(" of {}", HumanBytes(total)));
                let text = format!("{stage}: {}{}", HumanBytes(transfer.wire_bytes), of.unwrap_or_default());
                self.line(&text);
            }
            Look::Silent => {}
        }
    }

    fn ended(&mut self, stage: Stage, elapsed: Duration, how: &str) {
        let seen = self.stages.entry(stage).or_default();
        seen.elapsed = elapsed;
        let moved = seen.transfer.map(|t| format!(", {} moved", HumanBytes(t.wire_bytes)));
        if let Look::Bars(_, bars) = &mut self.look
            && let Some(bar) = bars.remove(&stage)
        {
            bar.finish_and_clear();
        }
        self.line(&format!("{stage}: {how} in {:.1} s{}", elapsed.as_secs_f64(), moved.unwrap_or_default()));
    }

    fn line(&mut self, text: &str) {
        match &self.look {
            // Nothing can be done when standard error is closed.
            Look::Bars(all, _) => {
                let _ = all.println(report::harmless(text));
            }
            Look::Lines => report::complain(text),
            Look::Silent => {}
        }
    }
}

fn waiting() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg:20} {elapsed:>4}").expect("a valid template")
}

fn moving() -> ProgressStyle {
    ProgressStyle::with_template(
        "{spinner} {msg:20} [{bar:30}] {bytes:>10} of {total_bytes} at {bytes_per_sec:>12}, {eta} left",
    )
    .expect("a valid template")
    .progress_chars("=> ")
}
