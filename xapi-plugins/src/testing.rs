//! A control domain that records what it is asked to do.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::dom0::{CommandError, Dom0};

#[derive(Default)]
pub(crate) struct Fake {
    files: BTreeMap<PathBuf, String>,
    failing: Option<&'static str>,
    commands: RefCell<Vec<String>>,
    slept: Cell<Duration>,
}

impl Fake {
    pub(crate) fn with_file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), text.to_owned());
        self
    }

    pub(crate) fn failing(mut self, program: &'static str) -> Self {
        self.failing = Some(program);
        self
    }

    pub(crate) fn commands(&self) -> Vec<String> {
        self.commands.borrow().clone()
    }

    pub(crate) fn slept(&self) -> Duration {
        self.slept.get()
    }
}

impl Dom0 for Fake {
    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    fn read_to_string(&self, path: &Path) -> std::io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    fn sleep(&self, time: Duration) {
        self.slept.set(self.slept.get() + time);
    }

    fn run(
        &self,
        program: &str,
        args: &[&str],
        stdin: &str,
        _limit: Duration,
    ) -> Result<String, CommandError> {
        let mut line = std::iter::once(program).chain(args.iter().copied()).collect::<Vec<_>>().join(" ");
        if !stdin.is_empty() {
            line = format!("{line} < {}", stdin.trim_end());
        }
        self.commands.borrow_mut().push(line);
        if self.failing == Some(program) {
            let reason = "exit status: 1".to_owned();
            return Err(CommandError { program: program.to_owned(), reason, stderr: "broken".to_owned() });
        }
        Ok(String::new())
    }
}
