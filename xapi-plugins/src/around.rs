//! A control domain with something around it: a folder that it is all in, for tests, or a job that is told of.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::dom0::{self, Between, CommandError, Dom0, Finished, Folder, Piped};
use crate::plugins::Error;

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
    /// There once somebody wants it ended; says how.
    end: PathBuf,
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
        let job = job.filter(|_| inner.make_dir(&inner.folder(Folder::Jobs)).is_ok()).map(|job| Job {
            file: progress_of(inner, job),
            end: end_of(inner, job),
            step: RefCell::default(),
            told: Cell::default(),
        });
        let around = Self { inner, root: None, job };
        // Those of a job of this name that was killed: they would end this one, or say how far that one was.
        around.remove_files();
        around
    }

    fn remove_files(&self) {
        for file in self.job.iter().flat_map(|job| [&job.file, &job.end]) {
            let _ = self.inner.remove(file);
        }
    }

    /// Whether somebody wants the job ended, and then whether nothing of it is kept.
    fn ends(&self) -> Option<bool> {
        let text = self.inner.read_to_string(&self.job.as_ref()?.end).ok()?;
        Some(text == AT_ONCE)
    }
}

/// What says that nothing of a job that is to end is kept.
const AT_ONCE: &str = "at once";

fn progress_of(dom0: &dyn Dom0, job: &str) -> PathBuf {
    dom0.folder(Folder::Jobs).join(format!("{job}.json"))
}

fn end_of(dom0: &dyn Dom0, job: &str) -> PathBuf {
    dom0.folder(Folder::Jobs).join(format!("{job}.end"))
}

/// Has a job end, whose own call looks for that; whether there is one. `at_once` when nothing of it is kept.
pub(crate) fn cancel(dom0: &dyn Dom0, job: &str, at_once: bool) -> Result<bool, Error> {
    let (progress, end) = (progress_of(dom0, job), end_of(dom0, job));
    if !dom0.exists(&progress) {
        return Ok(false);
    }
    dom0.replace(&end, if at_once { AT_ONCE } else { "" }).map_err(|e| Error::file(&end, &e))?;
    // One that has ended meanwhile has not taken it away.
    if !dom0.exists(&progress) {
        dom0.remove(&end).map_err(|e| Error::file(&end, &e))?;
        return Ok(false);
    }
    Ok(true)
}

/// Does something as a job of this name. What fails because the job was to end says so.
pub(crate) fn as_job<T>(
    dom0: &dyn Dom0,
    job: Option<&str>,
    work: impl FnOnce(&dyn Dom0) -> Result<T, Error>,
) -> Result<T, Error> {
    let around = Around::for_job(dom0, job);
    let done = work(&around);
    done.map_err(|error| {
        if around.ends().is_some() { Error::Cancelled(job.unwrap_or_default().to_owned()) } else { error }
    })
}

/// What a program does to the disk that it works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// It is quick, and others rely on it: it is always run to its end.
    Quick,
    /// Nothing, or what is worth nothing before its end.
    None,
    /// It changes what is there.
    Changes,
}

fn effect(program: &str, args: &[&str]) -> Effect {
    let name = program.rsplit('/').next().unwrap_or(program);
    let reads = match name {
        "e2fsck" | "xfs_repair" => args.contains(&"-n"),
        "resize2fs" => args.contains(&"-P"),
        "btrfs" => args.contains(&"--readonly"),
        "mkswap" | "rsync" | "prlimit" => true,
        "xfs_growfs" => false,
        other if other.starts_with("mkfs.") => true,
        _ => return Effect::Quick,
    };
    if reads { Effect::None } else { Effect::Changes }
}

impl Drop for Around<'_> {
    fn drop(&mut self) {
        self.remove_files();
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

    fn execute_unless(
        &self,
        program: &str,
        args: &[&str],
        stdin: &str,
        limit: Duration,
        unwanted: &dyn Fn() -> bool,
    ) -> Result<Finished, CommandError> {
        self.report(program, 0, 0);
        // One with a path, such as those of SM.
        let path = match program.starts_with('/') {
            true => self.at(Path::new(program)).to_string_lossy().into_owned(),
            false => program.to_owned(),
        };
        let effect = effect(program, args);
        if self.job.is_none() || effect == Effect::Quick {
            return self.inner.execute_unless(&path, args, stdin, limit, unwanted);
        }
        if self.ends().is_some() {
            let (program, reason) = (program.to_owned(), format!("not started: {}", dom0::UNWANTED));
            return Err(CommandError { program, reason, stderr: String::new() });
        }
        let ends = || self.ends().is_some_and(|at_once| at_once || effect == Effect::None);
        self.inner.execute_unless(&path, args, stdin, limit, &|| unwanted() || ends())
    }

    fn is_unwanted(&self) -> bool {
        self.ends().is_some() || self.inner.is_unwanted()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dom0::Real;

    #[test]
    fn what_ends_with_its_job() {
        for (line, expected) in [
            ("e2fsck -f -n /dev/loop0", Effect::None),
            ("e2fsck -f -p /dev/loop0", Effect::Changes),
            ("resize2fs -P /dev/loop0", Effect::None),
            ("resize2fs /dev/loop0 4K", Effect::Changes),
            ("btrfs check --readonly /dev/loop0", Effect::None),
            ("btrfs filesystem resize max /mnt", Effect::Changes),
            ("mkfs.ext4 /dev/loop0", Effect::None),
            ("losetup -d /dev/loop0", Effect::Quick),
            ("umount /mnt", Effect::Quick),
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(effect(words[0], &words[1..]), expected, "{line}");
        }
    }

    /// What becomes of a program in a job that is ended as soon as it is there, and of the one after it.
    fn ended(at_once: bool, program: &str, args: &[&str], script: &str) -> Result<[String; 2], Error> {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let tool = root.path().join("tools").join(program);
        std::fs::create_dir(tool.parent().unwrap()).unwrap();
        std::fs::write(&tool, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (dom0, program) = (Around::in_folder(&Real, root.path()), format!("/tools/{program}"));
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| {
                let dom0 = Around::in_folder(&Real, root.path());
                while !cancel(&dom0, "a-job", at_once).unwrap() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            as_job(&dom0, Some("a-job"), |dom0| {
                let limit = Duration::from_secs(60);
                let first = dom0.run(&program, args, "", limit)?;
                // Whoever takes away what was put around a disk can still do it.
                let quick = dom0.run("echo", &["quick"], "", limit)?;
                assert!(dom0.is_unwanted());
                assert!(
                    dom0.run("e2fsck", &["-n"], "", limit).unwrap_err().reason.starts_with("not started")
                );
                Ok([first, quick])
            })
        });
        assert_eq!(std::fs::read_dir(dom0.folder(Folder::Jobs)).unwrap().count(), 0, "files of the job");
        assert_eq!(cancel(&dom0, "a-job", at_once), Ok(false));
        ended
    }

    /// A job that was killed while it was to end leaves both of its files.
    #[test]
    fn a_job_is_not_ended_by_what_was_said_to_one_before() {
        let root = tempfile::tempdir().unwrap();
        let dom0 = Around::in_folder(&Real, root.path());
        dom0.make_dir(&dom0.folder(Folder::Jobs)).unwrap();
        dom0.replace(&end_of(&dom0, "a-job"), AT_ONCE).unwrap();
        dom0.replace(&progress_of(&dom0, "a-job"), "{}").unwrap();
        let done = as_job(&dom0, Some("a-job"), |job| {
            assert!(!job.is_unwanted());
            assert_eq!(cancel(&dom0, "a-job", true), Ok(false), "it has told nobody of a step yet");
            Ok(job.run("echo", &["done"], "", Duration::from_secs(60))?)
        });
        assert_eq!(done, Ok("done\n".to_owned()));
    }

    #[test]
    fn a_job_that_nobody_wants_any_more() {
        let cancelled = Err(Error::Cancelled("a-job".to_owned()));
        assert_eq!(ended(false, "e2fsck", &["-f", "-n"], "exec sleep 600"), cancelled);
        assert_eq!(ended(true, "resize2fs", &["/dev/x"], "exec sleep 600"), cancelled);
        let whole = Ok(["whole\n".to_owned(), "quick\n".to_owned()]);
        assert_eq!(ended(false, "resize2fs", &["/dev/x"], "sleep 1; echo whole"), whole);
    }
}
