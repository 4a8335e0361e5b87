//! What a plugin may do to the machine it runs on, as a trait, so that tests run without one.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

/// The control domain.
pub trait Dom0 {
    /// Whether a path exists.
    fn exists(&self, path: &Path) -> bool;

    /// The text of a file.
    ///
    /// # Errors
    /// As reading a file has them.
    fn read_to_string(&self, path: &Path) -> std::io::Result<String>;

    /// Waits.
    fn sleep(&self, time: Duration);

    /// The last bytes of a file, `limit` of them at most.
    ///
    /// # Errors
    /// As reading a file has them.
    fn read_tail(&self, path: &Path, limit: u64) -> std::io::Result<Vec<u8>>;

    /// The names in a folder.
    ///
    /// # Errors
    /// As reading a folder has them.
    fn list(&self, path: &Path) -> std::io::Result<Vec<String>>;

    /// Replaces a file so that it holds either what it held or all of this, whatever happens meanwhile.
    ///
    /// # Errors
    /// As writing a file has them; the old file is still there then.
    fn replace(&self, path: &Path, text: &str) -> std::io::Result<()>;

    /// Copies a file, as a whole or not at all.
    ///
    /// # Errors
    /// As copying has them; nothing is left at `to` then.
    fn copy(&self, from: &Path, to: &Path) -> std::io::Result<()>;

    /// Removes a file; whether there was one.
    ///
    /// # Errors
    /// As removing a file has them.
    fn remove(&self, path: &Path) -> std::io::Result<bool>;

    /// Opens a disk for reading and writing, exclusively, such that programs that are started inherit it.
    ///
    /// # Errors
    /// As opening a file has them; `ResourceBusy` when the disk, or a part of it, is mounted or otherwise
    /// in use here.
    fn open_disk(&self, path: &Path) -> std::io::Result<File>;

    /// Makes an empty folder that only root may enter.
    ///
    /// # Errors
    /// As making a folder has them.
    fn temp_dir(&self) -> std::io::Result<PathBuf>;

    /// Removes an empty folder.
    ///
    /// # Errors
    /// As removing a folder has them.
    fn remove_dir(&self, path: &Path) -> std::io::Result<()>;

    /// Runs a program with the given standard input to its end.
    ///
    /// # Errors
    /// When it cannot be started, or is still running after `limit` and is killed.
    fn execute(
        &self,
        program: &str,
        args: &[&str],
        stdin: &str,
        limit: Duration,
    ) -> Result<Finished, CommandError>;

    /// Runs a program that is expected to succeed and returns its standard output.
    ///
    /// # Errors
    /// As [`execute`](Self::execute), and when it fails. The error carries what it wrote to standard error.
    fn run(
        &self,
        program: &str,
        args: &[&str],
        stdin: &str,
        limit: Duration,
    ) -> Result<String, CommandError> {
        let finished = self.execute(program, args, stdin, limit)?;
        match finished.code {
            0 => Ok(finished.stdout),
            code => Err(CommandError {
                program: program.to_owned(),
                reason: format!("exit status: {code}"),
                stderr: finished.stderr,
            }),
        }
    }
}

/// A program that ran to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit status; the negative number of the signal that killed it.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// A program that did not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{program}: {reason}{}", if .stderr.is_empty() { String::new() } else { format!(": {}", .stderr.trim()) })]
pub struct CommandError {
    /// The program.
    pub program: String,
    /// `exit status: 1`, `killed after 60 s`, `cannot be started: …`.
    pub reason: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// The machine this runs on.
pub struct Real;

impl Dom0 for Real {
    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn read_to_string(&self, path: &Path) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn sleep(&self, time: Duration) {
        sleep(time);
    }

    fn read_tail(&self, path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(limit)))?;
        let mut tail = Vec::new();
        file.take(limit).read_to_end(&mut tail)?;
        Ok(tail)
    }

    fn list(&self, path: &Path) -> std::io::Result<Vec<String>> {
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn replace(&self, path: &Path, text: &str) -> std::io::Result<()> {
        write_whole(path, |file| file.write_all(text.as_bytes()))
    }

    fn copy(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        let mut source = File::open(from)?;
        write_whole(to, |file| std::io::copy(&mut source, file).map(drop))
    }

    fn remove(&self, path: &Path) -> std::io::Result<bool> {
        match std::fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn open_disk(&self, path: &Path) -> std::io::Result<File> {
        // On a block device this flag asks for exclusive use; a plain file does not mind it.
        let exclusive = OFlags::EXCL.bits() as i32;
        let file = File::options().read(true).write(true).custom_flags(exclusive).open(path)?;
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())?;
        Ok(file)
    }

    fn temp_dir(&self) -> std::io::Result<PathBuf> {
        let folder = std::env::temp_dir();
        // `mkdir` does not follow links and fails when the name is taken, so a name can be guessed but not used.
        for attempt in 0..1_000 {
            let path = folder.join(format!("xapi-plugins-{}-{attempt}", std::process::id()));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                other => return other.map(|()| path),
            }
        }
        Err(std::io::ErrorKind::AlreadyExists.into())
    }

    fn remove_dir(&self, path: &Path) -> std::io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn execute(
        &self,
        program: &str,
        args: &[&str],
        stdin: &str,
        limit: Duration,
    ) -> Result<Finished, CommandError> {
        let failed =
            |reason: String, stderr: String| CommandError { program: program.to_owned(), reason, stderr };
        let mut child = Command::new(program)
            .args(args)
            // What tools say is read here and by people far away.
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| failed(format!("cannot be started: {e}"), String::new()))?;
        // Pipes are drained by threads, so that a program that writes much does not wait for a reader.
        let drain = |mut pipe: Box<dyn Read + Send>| {
            std::thread::spawn(move || {
                let mut all = Vec::new();
                let _ = pipe.read_to_end(&mut all);
                String::from_utf8_lossy(&all).into_owned()
            })
        };
        let out = child.stdout.take().map(|p| drain(Box::new(p)));
        let err = child.stderr.take().map(|p| drain(Box::new(p)));
        if let Some(mut pipe) = child.stdin.take() {
            // A program that does not want its input closes the pipe; its exit status decides.
            let _ = pipe.write_all(stdin.as_bytes());
        }
        let started = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break Ok(status),
                Ok(None) if started.elapsed() > limit => {
                    let _ = child.kill();
                    let _ = child.wait();
                    break Err(format!("killed after {} s", limit.as_secs()));
                }
                Ok(None) => sleep(Duration::from_millis(10)),
                Err(e) => break Err(e.to_string()),
            }
        };
        let text = |thread: Option<std::thread::JoinHandle<String>>| {
            thread.and_then(|t| t.join().ok()).unwrap_or_default()
        };
        // A killed program's children may hold its pipes open: what it wrote is not waited for then.
        let status = status.map_err(|reason| failed(reason, String::new()))?;
        let (stdout, stderr) = (text(out), text(err));
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or_default());
        Ok(Finished { code, stdout, stderr })
    }
}

/// Writes a file beside its place and moves it there when it is whole and on the disk.
fn write_whole(path: &Path, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let written = (|| {
        let mut file = File::create(&part)?;
        write(&mut file)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn output_input_and_failure() {
        assert_eq!(Real.run("cat", &[], "text", LIMIT), Ok("text".to_owned()));
        let error = Real.run("sh", &["-c", "echo no >&2; exit 3"], "", LIMIT).unwrap_err();
        assert_eq!(error.to_string(), "sh: exit status: 3: no");
        assert!(
            Real.run("no-such-program", &[], "", LIMIT).unwrap_err().reason.starts_with("cannot be started")
        );
    }

    #[test]
    fn a_hanging_program_is_killed() {
        let error = Real.run("sleep", &["600"], "", Duration::from_millis(50)).unwrap_err();
        assert!(error.reason.starts_with("killed after"), "{error}");
    }
}
