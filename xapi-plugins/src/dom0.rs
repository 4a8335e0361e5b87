//! What a plugin may do to the machine it runs on, as a trait, so that tests run without one.

use std::fs::{File, TryLockError};
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
use rustix::process::{Pid, Signal, getpgid, kill_process_group};

mod piped;

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

    /// Waits until no other program has the lock on a folder, for a quarter of an hour at most, and takes it, until the
    /// file is closed.
    ///
    /// # Errors
    /// As opening a folder has them; `TimedOut` when another has the lock all that time.
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
            Folder::Repositories => "/run/sr-mount",
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
    /// When it cannot be started, is still running after `limit` and is killed, or says more than 16 MiB, which nobody
    /// reads to the end.
    fn execute(
        &self,
        program: &str,
        args: &[&str],
        stdin: &str,
        limit: Duration,
    ) -> Result<Finished, CommandError> {
        self.execute_unless(program, args, stdin, limit, &|| false)
    }

    /// As [`execute`](Self::execute), but a program that nobody wants any more, which `unwanted` tells again
    /// and again, is killed.
    ///
    /// # Errors
    /// As [`execute`](Self::execute), and when it was killed for that.
    fn execute_unless(
        &self,
        program: &str,
        args: &[&str],
        stdin: &str,
        limit: Duration,
        unwanted: &dyn Fn() -> bool,
    ) -> Result<Finished, CommandError>;

    /// Whether nobody wants any more what is being done.
    fn is_unwanted(&self) -> bool {
        false
    }

    /// Runs two programs at once, with `between` moving what the first writes to the second's input. The one with
    /// [`HANDED`] among its arguments finds a pipe with the text `handed` there.
    ///
    /// `between` sees an error instead of the end when the first fails. When it fails itself, or this program is killed,
    /// the second is killed too before its input ends: it never takes a part for the whole. Where the second is the one
    /// that is handed something, as it talks to a server, it must go on taking what there is for it.
    ///
    /// # Errors
    /// When either cannot be started, or says more than 16 MiB of its own.
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
    /// The SRs that are plugged, each a folder or a link to one, by uuid: SM makes them.
    Repositories,
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
    /// Whether the second was killed because there was no more for it: its own words are no reason then.
    pub is_cut: bool,
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
/// How long two programs may go on when all has been moved between them: a server may take its time to say that it has it.
const END_LIMIT: Duration = Duration::from_secs(1_800);
const NOT_STARTED: &str = "cannot be started";
/// Of a program that nobody wants any more.
pub(crate) const UNWANTED: &str = "ended, as its job was";
/// What a program may say. The rules of a large host's firewall have a tenth of it.
const MAX_OUTPUT_BYTES: usize = 16 << 20;

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
        lock_within(folder, LOCK_LIMIT)
    }

    fn make_dir(&self, path: &Path) -> std::io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn temp_dir(&self) -> std::io::Result<PathBuf> {
        let folder = std::env::temp_dir();
        remove_left(&folder)?;
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

    fn execute_unless(
        &self,
        program: &str,
        args: &[&str],
        stdin: &str,
        limit: Duration,
        unwanted: &dyn Fn() -> bool,
    ) -> Result<Finished, CommandError> {
        let mut child = start(program, Command::new(program).args(args), Stdio::piped())?;
        let out = child.stdout.take().map(drain);
        let err = child.stderr.take().map(drain);
        if let Some(mut pipe) = child.stdin.take() {
            // A program that does not want its input closes the pipe, and its exit status decides; one that does not
            // read it, and it may be more than fits into the pipe, is killed in its time.
            let stdin = stdin.to_owned();
            std::thread::spawn(move || drop(pipe.write_all(stdin.as_bytes())));
        }
        // A killed program's children may hold its pipes open: what it wrote is not waited for then.
        let status =
            end(&mut child, limit, unwanted).map_err(|reason| failed(program, reason, String::new()))?;
        let [stdout, stderr] = texts(program, [out, err])?;
        Ok(Finished { code: code(status), stdout, stderr })
    }

    fn pipe(
        &self,
        first: &[&str],
        second: &[&str],
        handed: &str,
        between: &mut Between<'_>,
    ) -> Result<Piped, CommandError> {
        piped::run(first, second, handed, between)
    }

    fn xapi(&self, request: &str) -> std::io::Result<Vec<u8>> {
        ask(Path::new(XAPI_SOCKET), request)
    }
}

/// Removes the temporary folders of calls that were killed, unless something is mounted there or in them.
fn remove_left(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(is_of_dead_call) {
            // What is not empty, or is somebody else's, stays.
            let _ = std::fs::remove_dir(folder.join(name));
        }
    }
    Ok(())
}

/// Whether a temporary folder with this name was made by a call whose process is no more.
pub(crate) fn is_of_dead_call(name: &str) -> bool {
    let process = name.strip_prefix("xapi-plugins-").and_then(|rest| rest.split_once('-'));
    let process = process.and_then(|(process, _)| process.parse::<u32>().ok());
    process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists())
}

/// Sends a request to XAPI's socket; the body of its answer.
pub(crate) fn ask(socket: &Path, request: &str) -> std::io::Result<Vec<u8>> {
    ask_for(socket, request, MAX_ANSWER_BYTES)
}

fn ask_for(socket: &Path, request: &str, max_bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(XAPI_LIMIT))?;
    let head = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", request.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    if stream.take(max_bytes + 1).read_to_end(&mut answer)? as u64 > max_bytes {
        let reason = format!("XAPI answers with more than {max_bytes} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, reason));
    }
    let body = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    body.map(|at| answer.split_off(at + 4)).ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

/// Where XAPI listens for programs of its own host.
pub(crate) const XAPI_SOCKET: &str = "/var/lib/xcp/xapi";
/// The records of a large pool.
const MAX_ANSWER_BYTES: u64 = 64 << 20;
/// A clean shutdown of a guest is what is asked for at most.
const XAPI_LIMIT: Duration = Duration::from_secs(1_800);

/// Longer than anybody who has a lock needs: to read a kernel once more.
const LOCK_LIMIT: Duration = Duration::from_secs(900);

fn lock_within(folder: &Path, limit: Duration) -> std::io::Result<File> {
    let (file, started) = (File::open(folder)?, Instant::now());
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(e)) => return Err(e),
            Err(TryLockError::WouldBlock) if started.elapsed() >= limit => {
                let reason =
                    format!("another call has had its lock for {} s; is one stuck?", limit.as_secs());
                return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, reason));
            }
            Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(50)),
        }
    }
}

/// A pipe with a text in it, and its name for programs that inherit it.
fn hand(text: &str) -> std::io::Result<(PipeReader, String)> {
    let (reader, mut writer) = std::io::pipe()?;
    rustix::io::fcntl_setfd(&reader, rustix::io::FdFlags::empty())?;
    let (name, text) = (format!("/dev/fd/{}", reader.as_raw_fd()), text.to_owned());
    // It may be more than fits into a pipe. Nobody who does not read it is waited for.
    std::thread::spawn(move || drop(writer.write_all(text.as_bytes())));
    Ok((reader, name))
}

/// Kills a program that nobody has seen end yet, with those that it has started if they are a group of their own: `timeout`
/// is no use dead when what it watches lives.
fn kill(child: &mut Child) {
    let pid = Pid::from_child(child);
    let _ = match getpgid(Some(pid)) {
        Ok(group) if group == pid => kill_process_group(group, Signal::KILL).map_err(Into::into),
        _ => child.kill(),
    };
    let _ = child.wait();
}

/// Waits for a program's end, and kills it in its time, or when it is not wanted any more.
fn end(child: &mut Child, limit: Duration, unwanted: &dyn Fn() -> bool) -> Result<ExitStatus, String> {
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if started.elapsed() > limit => {
                kill(child);
                return Err(format!("killed after {} s", limit.as_secs()));
            }
            Ok(None) if unwanted() => {
                kill(child);
                return Err(UNWANTED.to_owned());
            }
            Ok(None) => sleep(Duration::from_millis(10)),
            Err(e) => return Err(e.to_string()),
        }
    }
}

fn start(name: &str, command: &mut Command, stdin: Stdio) -> Result<Child, CommandError> {
    let child = command
        // What tools say is read here and by people far away.
        .env("LC_ALL", "C")
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    child.map_err(|e| failed(name, format!("{NOT_STARTED}: {e}"), String::new()))
}

fn failed(program: &str, reason: String, stderr: String) -> CommandError {
    CommandError { program: program.to_owned(), reason, stderr }
}

/// What a program writes, as far as it was read.
struct Drained {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// Nothing is ever sent: it is closed when nobody can write any more, or reads any more.
    ended: Receiver<()>,
}

/// Reads a program's output in a thread, so that one that writes much does not wait for a reader. One that writes too
/// much is told by a closed pipe.
fn drain(mut pipe: impl Read + Send + 'static) -> Drained {
    let (bytes, (end, ended)) = (Arc::default(), channel());
    let drained = Drained { bytes: Arc::clone(&bytes), ended };
    std::thread::spawn(move || {
        let _end = end;
        let mut part = [0; 16 << 10];
        while lock(&bytes).len() <= MAX_OUTPUT_BYTES {
            match pipe.read(&mut part) {
                Ok(len @ 1..) => lock(&bytes).extend_from_slice(&part[..len]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
    });
    drained
}

/// What a program that ended has written. All of it is in the pipes by then, so the wait is only long where it left
/// another behind that holds a pipe open, and nobody waits for that one.
fn texts<const N: usize>(program: &str, pipes: [Option<Drained>; N]) -> Result<[String; N], CommandError> {
    let until = Instant::now() + OUTPUT_LIMIT;
    let mut is_cut = false;
    let texts = pipes.map(|pipe| {
        let Some(pipe) = pipe else { return String::new() };
        let _ = pipe.ended.recv_timeout(until.saturating_duration_since(Instant::now()));
        let bytes = lock(&pipe.bytes);
        is_cut |= bytes.len() > MAX_OUTPUT_BYTES;
        String::from_utf8_lossy(if is_cut { &[] } else { &bytes }).into_owned()
    });
    match is_cut {
        true => Err(failed(program, format!("it says more than {MAX_OUTPUT_BYTES} bytes"), String::new())),
        false => Ok(texts),
    }
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
    fn no_more_than_the_limit_is_read_of_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("xapi");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let answer = b"HTTP/1.0 200 OK\r\n\r\nbody";
        let serving = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut peer, _) = listener.accept().unwrap();
                peer.read_exact(&mut [0; 16]).unwrap();
                peer.write_all(answer).unwrap();
                // Closed with bytes unread, it would be reset.
                peer.shutdown(std::net::Shutdown::Write).unwrap();
                let _ = peer.read_to_end(&mut Vec::new());
            }
        });
        let len = answer.len() as u64;
        assert_eq!(ask_for(&path, "{}", len).unwrap(), b"body");
        let error = ask_for(&path, "{}", len - 1).unwrap_err();
        assert!(error.to_string().contains("more than"), "{error}");
        serving.join().unwrap();
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
    fn a_program_that_nobody_wants_any_more_is_killed() {
        let asked = std::cell::Cell::new(0);
        let unwanted = || asked.replace(asked.get() + 1) > 3;
        let error = Real.execute_unless("sleep", &["600"], "", LIMIT, &unwanted).unwrap_err();
        assert_eq!((error.reason.as_str(), asked.get()), (UNWANTED, 5));
        assert!(Real.execute_unless("true", &[], "", LIMIT, &|| false).is_ok());
    }

    #[test]
    fn a_lock_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let held = Real.lock(folder.path()).unwrap();
        let error = lock_within(folder.path(), Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("another call"), "{error}");
        let waiting = std::thread::spawn({
            let folder = folder.path().to_owned();
            move || Real.lock(&folder).map(drop)
        });
        drop(held);
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn a_program_that_never_stops_talking() {
        let is_cut = |error: CommandError| {
            assert_eq!(error.reason, "it says more than 16777216 bytes");
            assert!(error.stderr.is_empty());
        };
        let all = MAX_OUTPUT_BYTES.to_string();
        let said = Real.run("head", &["-c", &all, "/dev/zero"], "", LIMIT).unwrap();
        assert_eq!(said.len(), MAX_OUTPUT_BYTES);
        is_cut(Real.run("yes", &[], "", LIMIT).unwrap_err());
        is_cut(Real.run("sh", &["-c", "exec yes >&2"], "", LIMIT).unwrap_err());
        let copy: &mut Between<'_> = &mut |from, to| std::io::copy(from, to).map(drop);
        for (first, second) in [("exec yes >&2", "cat"), ("echo", "exec yes"), ("echo", "exec yes >&2")] {
            is_cut(Real.pipe(&["sh", "-c", first], &["sh", "-c", second], "", copy).unwrap_err());
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
        // Nor is it where the one that wrote left it.
        let script = "sleep 600 & echo $! >&2; echo moved";
        let piped =
            Real.pipe(&["sh", "-c", script], &["cat"], "", &mut |from, to| std::io::copy(from, to).map(drop));
        let piped = piped.unwrap();
        assert_eq!(piped.second.stdout, "moved\n");
        Real.run("kill", &[piped.first.stderr.trim()], "", LIMIT).unwrap();
    }

    #[test]
    fn folders_of_the_dead_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        // No process has a number above this one's limit.
        let (dead, full) = ("xapi-plugins-4194305-0", "xapi-plugins-4194306-0/file");
        let living = format!("xapi-plugins-{}-0", std::process::id());
        for name in [dead, full, &living, "xapi-plugins-x-0", "other-4194305-0"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        remove_left(folder.path()).unwrap();
        assert!(!folder.path().join(dead).exists());
        for name in [full, &living, "xapi-plugins-x-0", "other-4194305-0"] {
            assert!(folder.path().join(name).exists(), "{name}");
        }
    }
}
