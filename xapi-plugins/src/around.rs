//! A control domain with something around it: a folder that it is all in, for tests, or a job that is told of.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::dom0::{self, Between, CommandError, Dom0, Finished, Folder, Piped};

/// A job's file is not written more often than this, unless a new step begins.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Another control domain, with its own folders elsewhere, or a job whose progress is kept in a file.
pub struct Around<'a> {
    inner: &'a dyn Dom0,
    root: Option<PathBuf>,
    job: Option<Job>,
}

struct Job {
    file: PathBuf,
    step: RefCell<String>,
    told: Cell<Option<Instant>>,
}

impl<'a> Around<'a> {
    /// Keeps kernels and jobs below a folder, which tests look into. What else of dom0 is there, or has its folder there,
    /// is taken from there, XAPI's socket too; everything else is where it is.
    pub fn in_folder(inner: &'a dyn Dom0, root: &Path) -> Self {
        Self { inner, root: Some(root.to_owned()), job: None }
    }

    /// Where a path is.
    fn at(&self, path: &Path) -> PathBuf {
        let inside = self.root.as_ref().and_then(|root| Some(root.join(path.strip_prefix("/").ok()?)));
        let inside = inside.filter(|inside| inside.exists() || inside.parent().is_some_and(Path::exists));
        inside.unwrap_or_else(|| path.to_owned())
    }

    /// Tells of a job what is being done, until this goes. Where the file cannot be written, nobody is told.
    pub(crate) fn for_job(inner: &'a dyn Dom0, job: Option<&str>) -> Self {
        let file = job.map(|job| inner.folder(Folder::Jobs).join(format!("{job}.json")));
        let job = file.filter(|_| inner.make_dir(&inner.folder(Folder::Jobs)).is_ok());
        let job = job.map(|file| Job { file, step: RefCell::default(), told: Cell::default() });
        Self { inner, root: None, job }
    }
}

impl Drop for Around<'_> {
    fn drop(&mut self) {
        if let Some(job) = &self.job {
            let _ = self.inner.remove(&job.file);
        }
    }
}

impl Dom0 for Around<'_> {
    fn report(&self, step: &str, done: u64, total: u64) {
        let Some(job) = &self.job else { return self.inner.report(step, done, total) };
        let is_new = *job.step.borrow() != step;
        if is_new || job.told.get().is_none_or(|told| told.elapsed() >= REPORT_EVERY) {
            job.told.set(Some(Instant::now()));
            step.clone_into(&mut job.step.borrow_mut());
            let report = json!({"step": step, "done": done, "total": total});
            // Who asks how far it is can do without; the work goes on.
            let _ = self.inner.replace(&job.file, &report.to_string());
        }
    }

    fn folder(&self, of: Folder) -> PathBuf {
        let usual = self.inner.folder(of);
        match &self.root {
            Some(root) => root.join(usual.strip_prefix("/").unwrap_or(&usual)),
            None => usual,
        }
    }

    fn execute(
        &self,
        program: &str,
        args: &[&str],
        stdin: &str,
        limit: Duration,
    ) -> Result<Finished, CommandError> {
        self.report(program, 0, 0);
        // One with a path, such as those of SM.
        let program = match program.starts_with('/') {
            true => self.at(Path::new(program)).to_string_lossy().into_owned(),
            false => program.to_owned(),
        };
        self.inner.execute(&program, args, stdin, limit)
    }

    fn pipe(
        &self,
        first: &[&str],
        second: &[&str],
        handed: &str,
        between: &mut Between<'_>,
    ) -> Result<Piped, CommandError> {
        self.inner.pipe(first, second, handed, between)
    }

    fn exists(&self, path: &Path) -> bool {
        self.inner.exists(&self.at(path))
    }

    fn read_to_string(&self, path: &Path) -> io::Result<String> {
        self.inner.read_to_string(&self.at(path))
    }

    fn sleep(&self, time: Duration) {
        self.inner.sleep(time);
    }

    fn read_tail(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.inner.read_tail(&self.at(path), limit)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.inner.list(&self.at(path))
    }

    fn replace(&self, path: &Path, text: &str) -> io::Result<()> {
        self.inner.replace(&self.at(path), text)
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.copy(&self.at(from), &self.at(to))
    }

    fn copy_head(&self, from: &Path, to: &Path, len: u64) -> io::Result<()> {
        self.inner.copy_head(&self.at(from), &self.at(to), len)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.link(&self.at(from), &self.at(to))
    }

    fn links(&self, path: &Path) -> io::Result<u64> {
        self.inner.links(&self.at(path))
    }

    fn remove(&self, path: &Path) -> io::Result<bool> {
        self.inner.remove(&self.at(path))
    }

    fn open_disk(&self, path: &Path) -> io::Result<File> {
        self.inner.open_disk(&self.at(path))
    }

    fn lock(&self, folder: &Path) -> io::Result<File> {
        self.inner.lock(&self.at(folder))
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.make_dir(&self.at(path))
    }

    fn temp_dir(&self) -> io::Result<PathBuf> {
        self.inner.temp_dir()
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(&self.at(path))
    }

    fn xapi(&self, request: &str) -> io::Result<Vec<u8>> {
        let socket = self.at(Path::new(dom0::XAPI_SOCKET));
        match self.root.is_some() && socket.exists() {
            true => dom0::ask(&socket, request),
            false => self.inner.xapi(request),
        }
    }
}
