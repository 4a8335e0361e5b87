//! What a plugin may do to the machine it runs on, as a trait, so that tests run without one.

use std::fs::File;
use std::io::{PipeReader, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

    /// Copies the first bytes of a file or a disk, all of them or none.
    ///
    /// # Errors
    /// As copying has them, and when there are fewer bytes; nothing is left at `to` then.
    fn copy_head(&self, from: &Path, to: &Path, len: u64) -> std::io::Result<()>;

    /// Gives a file another name besides its own, in place of what was there; a copy where the file system has no
    /// links.
    ///
    /// # Errors
    /// As linking and copying have them.
    fn link(&self, from: &Path, to: &Path) -> std::io::Result<()>;

    /// How many names a file has.
    ///
    /// # Errors
    /// As looking at a file has them.
    fn links(&self, path: &Path) -> std::io::Result<u64>;

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

    /// Waits until no other program has the lock on a folder, and takes it, until the file is closed.
    ///
    /// # Errors
    /// As opening a folder has them.
    fn lock(&self, folder: &Path) -> std::io::Result<File>;

    /// Sees that a folder is there.
    ///
    /// # Errors
    /// As making a folder has them.
    fn make_dir(&self, path: &Path) -> std::io::Result<()>;

    /// Where something is kept.
    fn folder(&self, of: Folder) -> PathBuf {
        PathBuf::from(match of {
            Folder::Kernels => "/boot/guest",
            Folder::Jobs => "/run/xapi-plugins",
            Folder::Images => "/images",
        })
    }

    /// Hears what is being done, and how much of it is, where that is known.
    fn report(&self, _step: &str, _done: u64, _total: u64) {}

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

    /// Runs two programs at once, with `between` moving what the first writes to the second's input. The one with
    /// [`HANDED`] among its arguments finds a pipe with the text `handed` there.
    ///
    /// # Errors
    /// When either cannot be started.
    fn pipe(
        &self,
        first: &[&str],
        second: &[&str],
        handed: &str,
        between: &mut Between<'_>,
    ) -> Result<Piped, CommandError>;

    /// Sends XAPI on this host a request, and returns the body of its answer.
    ///
    /// # Errors
    /// When it does not answer.
    fn xapi(&self, request: &str) -> std::io::Result<Vec<u8>>;

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

/// A folder of the control domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// Kernels and ramdisks of PV guests. Operators make this a link to where there is more room.
    Kernels,
    /// How far jobs are.
    Jobs,
    /// Disks on their way from host to host. Operators make this a link to where there is more room.
    Images,
}

/// Stands for the name of a pipe among the arguments of a program.
pub const HANDED: &str = "/dev/fd/HANDED";

/// Two programs that ran to their ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piped {
    /// The one that wrote.
    pub first: Finished,
    /// The one that read.
    pub second: Finished,
    /// Why moving between them ended early, unless one of the programs failed, which is then why.
    pub moved: Result<(), String>,
}

/// What stands between two programs of a pipe.
pub type Between<'a> = dyn FnMut(&mut dyn Read, &mut dyn Write) -> std::io::Result<()> + 'a;

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

impl CommandError {
    /// Whether the program is not on this host.
    pub fn is_missing(&self) -> bool {
        self.reason.starts_with(NOT_STARTED)
    }
}

/// How long the pipes of a program that has ended may stay open.
const OUTPUT_LIMIT: Duration = Duration::from_secs(5);
const NOT_STARTED: &str = "cannot be started";

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

    fn copy_head(&self, from: &Path, to: &Path, len: u64) -> std::io::Result<()> {
        let mut source = File::open(from)?.take(len);
        write_whole(to, |file| match std::io::copy(&mut source, file)? == len {
            true => Ok(()),
            false => Err(std::io::ErrorKind::UnexpectedEof.into()),
        })
    }

    fn link(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.remove(to)?;
        match std::fs::hard_link(from, to) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => self.copy(from, to),
            done => done,
        }
    }

    fn links(&self, path: &Path) -> std::io::Result<u64> {
        std::fs::symlink_metadata(path).map(|found| found.nlink())
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

    fn lock(&self, folder: &Path) -> std::io::Result<File> {
        let file = File::open(folder)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(file)
    }

    fn make_dir(&self, path: &Path) -> std::io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
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
        let command: Vec<&str> = std::iter::once(program).chain(args.iter().copied()).collect();
        let mut child = spawn(&command, Stdio::piped())?;
        let out = child.stdout.take().map(drain);
        let err = child.stderr.take().map(drain);
        if let Some(mut pipe) = child.stdin.take() {
            // A program that does not want its input closes the pipe, and its exit status decides; one that does not
            // read it, and it may be more than fits into the pipe, is killed in its time.
            let stdin = stdin.to_owned();
            std::thread::spawn(move || drop(pipe.write_all(stdin.as_bytes())));
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
        // A killed program's children may hold its pipes open: what it wrote is not waited for then.
        let status = status.map_err(|reason| failed(program, reason, String::new()))?;
        let [stdout, stderr] = texts([out, err]);
        Ok(Finished { code: code(status), stdout, stderr })
    }

    fn pipe(
        &self,
        first: &[&str],
        second: &[&str],
        handed: &str,
        between: &mut Between<'_>,
    ) -> Result<Piped, CommandError> {
        let cannot = |e: std::io::Error| failed(first[0], format!("{NOT_STARTED}: {e}"), String::new());
        let (pipe, name) = hand(handed).map_err(cannot)?;
        let with = |words: &[&'_ str]| -> Vec<String> {
            words.iter().map(|word| if *word == HANDED { name.clone() } else { (*word).to_owned() }).collect()
        };
        let mut source = spawn(&with(first), Stdio::null())?;
        let sink = spawn(&with(second), Stdio::piped());
        // Who was to have it has it.
        drop(pipe);
        let mut sink = match sink {
            Ok(sink) => sink,
            Err(e) => {
                let _ = source.kill();
                let _ = source.wait();
                return Err(e);
            }
        };
        let source_err = source.stderr.take().map(drain);
        let (sink_out, sink_err) = (sink.stdout.take().map(drain), sink.stderr.take().map(drain));
        let moved = match (source.stdout.take(), sink.stdin.take()) {
            // Both pipes are closed here, which ends a program that still waits on the other end.
            (Some(mut from), Some(mut to)) => between(&mut from, &mut to),
            _ => Ok(()),
        };
        if moved.is_err() {
            let _ = source.kill();
        }
        let ended = |program: &[&str], child: &mut Child| {
            let failed = |e: std::io::Error| failed(program[0], e.to_string(), String::new());
            child.wait().map(code).map_err(failed)
        };
        let codes = [ended(first, &mut source)?, ended(second, &mut sink)?];
        let [from_err, stdout, stderr] = texts([source_err, sink_out, sink_err]);
        let [from, to] = [
            Finished { code: codes[0], stdout: String::new(), stderr: from_err },
            Finished { code: codes[1], stdout, stderr },
        ];
        let moved = match moved {
            Err(e) if from.code == 0 && to.code == 0 => Err(e.to_string()),
            _ => Ok(()),
        };
        Ok(Piped { first: from, second: to, moved })
    }

    fn xapi(&self, request: &str) -> std::io::Result<Vec<u8>> {
        ask(Path::new(XAPI_SOCKET), request)
    }
}

/// Sends a request to XAPI's socket; the body of its answer.
pub(crate) fn ask(socket: &Path, request: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(XAPI_LIMIT))?;
    let head = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", request.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    body.map(|at| answer.split_off(at + 4)).ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

/// Where XAPI listens for programs of its own host.
pub(crate) const XAPI_SOCKET: &str = "/var/lib/xcp/xapi";
/// A clean shutdown of a guest is what is asked for at most.
const XAPI_LIMIT: Duration = Duration::from_secs(1_800);

/// A pipe with a text in it, and its name for programs that inherit it.
fn hand(text: &str) -> std::io::Result<(PipeReader, String)> {
    let (reader, mut writer) = std::io::pipe()?;
    rustix::io::fcntl_setfd(&reader, rustix::io::FdFlags::empty())?;
    let (name, text) = (format!("/dev/fd/{}", reader.as_raw_fd()), text.to_owned());
    // It may be more than fits into a pipe. Nobody who does not read it is waited for.
    std::thread::spawn(move || drop(writer.write_all(text.as_bytes())));
    Ok((reader, name))
}

fn spawn<S: AsRef<str>>(command: &[S], stdin: Stdio) -> Result<Child, CommandError> {
    let command: Vec<&str> = command.iter().map(AsRef::as_ref).collect();
    let child = Command::new(command[0])
        .args(&command[1..])
        // What tools say is read here and by people far away.
        .env("LC_ALL", "C")
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    child.map_err(|e| failed(command[0], format!("{NOT_STARTED}: {e}"), String::new()))
}

fn failed(program: &str, reason: String, stderr: String) -> CommandError {
    CommandError { program: program.to_owned(), reason, stderr }
}

/// What a program writes, as far as it was read.
struct Drained {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// Nothing is ever sent: it is closed when nobody can write any more.
    ended: Receiver<()>,
}

/// Reads a program's output in a thread, so that one that writes much does not wait for a reader.
fn drain(mut pipe: impl Read + Send + 'static) -> Drained {
    let (bytes, (end, ended)) = (Arc::default(), channel());
    let drained = Drained { bytes: Arc::clone(&bytes), ended };
    std::thread::spawn(move || {
        let _end = end;
        let mut part = [0; 16 << 10];
        loop {
            match pipe.read(&mut part) {
                Ok(len @ 1..) => lock(&bytes).extend_from_slice(&part[..len]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
    });
    drained
}

/// What programs that ended have written. All of it is in the pipes by then, so the wait is only long where one left
/// another behind that holds a pipe open, and nobody waits for that one.
fn texts<const N: usize>(pipes: [Option<Drained>; N]) -> [String; N] {
    let until = Instant::now() + OUTPUT_LIMIT;
    pipes.map(|pipe| {
        let Some(pipe) = pipe else { return String::new() };
        let _ = pipe.ended.recv_timeout(until.saturating_duration_since(Instant::now()));
        String::from_utf8_lossy(&lock(&pipe.bytes)).into_owned()
    })
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic cannot leave the bytes half written.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| -status.signal().unwrap_or_default())
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
        // With more input than a pipe holds, too.
        for stdin in [0, 1 << 20].map(|len| "x".repeat(len)) {
            let error = Real.run("sleep", &["600"], &stdin, Duration::from_millis(50)).unwrap_err();
            assert!(error.reason.starts_with("killed after"), "{error}");
        }
    }

    #[test]
    fn a_program_that_another_was_left_by_is_not_waited_for() {
        let script = "sleep 600 & echo $!; echo said >&2; exit 3";
        let finished = Real.execute("sh", &["-c", script], "", LIMIT).unwrap();
        assert_eq!((finished.code, finished.stderr.as_str()), (3, "said\n"));
        // It can only be ended because it still runs, with both pipes.
        Real.run("kill", &[finished.stdout.trim()], "", LIMIT).unwrap();
        let script = "sleep 600 >&2 & cat; echo $! >&2";
        let piped = Real.pipe(&["echo", "moved"], &["sh", "-c", script], "", &mut |from, to| {
            std::io::copy(from, to).map(drop)
        });
        let second = piped.unwrap().second;
        assert_eq!(second.stdout, "moved\n");
        Real.run("kill", &[second.stderr.trim()], "", LIMIT).unwrap();
    }
}
