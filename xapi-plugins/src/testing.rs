//! A control domain that records what it is asked to do.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use xenapi_wire::xmlrpc::{decode_call, encode_response};
use xenapi_wire::{Failure, Limits, Value};

use crate::dom0::{Between, CommandError, Dom0, Finished, Folder, Piped, Real};

type Store = BTreeMap<String, String>;
type Action = Box<dyn Fn(&mut Store)>;

#[derive(Default)]
pub(crate) struct Fake {
    files: RefCell<BTreeMap<PathBuf, String>>,
    /// What the `xenstore-*` tools work on.
    store: RefCell<Store>,
    /// What happens elsewhere while a plugin waits.
    meanwhile: Option<Action>,
    answers: BTreeMap<&'static str, Finished>,
    disks: BTreeMap<PathBuf, File>,
    failing: Option<&'static str>,
    /// How many times a disk is still in use when it is opened.
    busy: Cell<u32>,
    /// What XAPI answers to a method: a text or a failure's code; else an empty text.
    xapi: Vec<(&'static str, Result<&'static str, &'static str>)>,
    commands: RefCell<Vec<String>>,
    slept: Cell<Duration>,
}

impl Fake {
    pub(crate) fn with_file(self, path: &str, text: &str) -> Self {
        self.files.borrow_mut().insert(path.into(), text.to_owned());
        self
    }

    /// An empty disk.
    pub(crate) fn with_disk(mut self, path: &str, sectors: u64) -> Self {
        let file = tempfile::tempfile().unwrap();
        file.set_len(sectors * 512).unwrap();
        self.disks.insert(path.into(), file);
        self
    }

    /// Somebody else has every disk open, so many times.
    pub(crate) fn busy(self, times: u32) -> Self {
        self.busy.set(times);
        self
    }

    /// A file as a disk.
    pub(crate) fn with_file_as_disk(mut self, path: &str, file: &Path) -> Self {
        self.disks.insert(path.into(), File::options().read(true).write(true).open(file).unwrap());
        self
    }

    pub(crate) fn with_key(self, path: &str, value: &str) -> Self {
        self.store.borrow_mut().insert(path.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn meanwhile(mut self, action: impl Fn(&mut Store) + 'static) -> Self {
        self.meanwhile = Some(Box::new(action));
        self
    }

    /// What a program answers whatever its arguments.
    pub(crate) fn answering(mut self, program: &'static str, code: i32, stdout: &str, stderr: &str) -> Self {
        let finished = Finished { code, stdout: stdout.to_owned(), stderr: stderr.to_owned() };
        self.answers.insert(program, finished);
        self
    }

    /// What XAPI answers to a method, a text or a failure's code.
    pub(crate) fn with_xapi(
        mut self,
        method: &'static str,
        answer: Result<&'static str, &'static str>,
    ) -> Self {
        self.xapi.push((method, answer));
        self
    }

    pub(crate) fn file(&self, path: &str) -> Option<String> {
        self.files.borrow().get(Path::new(path)).cloned()
    }

    pub(crate) fn keys(&self) -> Store {
        self.store.borrow().clone()
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
        self.files.borrow().contains_key(path)
    }

    fn read_to_string(&self, path: &Path) -> io::Result<String> {
        self.files.borrow().get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read_tail(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let bytes = self.read_to_string(path)?.into_bytes();
        Ok(bytes[bytes.len().saturating_sub(limit as usize)..].to_vec())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let files = self.files.borrow();
        let names: Vec<String> = files
            .keys()
            .filter(|file| file.parent() == Some(path))
            .map(|file| file.file_name().unwrap_or_default().to_string_lossy().into_owned())
            .collect();
        if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) }
    }

    fn replace(&self, path: &Path, text: &str) -> io::Result<()> {
        self.files.borrow_mut().insert(path.into(), text.to_owned());
        Ok(())
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let text = self.read_to_string(from)?;
        self.replace(to, &text)
    }

    fn copy_head(&self, from: &Path, to: &Path, len: u64) -> io::Result<()> {
        let text = self.read_to_string(from)?;
        self.replace(to, text.get(..len as usize).ok_or(io::ErrorKind::UnexpectedEof)?)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.copy(from, to)
    }

    fn links(&self, _: &Path) -> io::Result<u64> {
        Ok(1)
    }

    fn lock(&self, _: &Path) -> io::Result<File> {
        tempfile::tempfile()
    }

    fn make_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<bool> {
        Ok(self.files.borrow_mut().remove(path).is_some())
    }

    fn open_disk(&self, path: &Path) -> io::Result<File> {
        if let Some(left) = self.busy.get().checked_sub(1) {
            self.busy.set(left);
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        self.disks.get(path).ok_or(io::ErrorKind::NotFound)?.try_clone()
    }

    fn temp_dir(&self) -> io::Result<PathBuf> {
        Ok("/tmp/fake".into())
    }

    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sleep(&self, time: Duration) {
        self.slept.set(self.slept.get() + time);
        if let Some(action) = &self.meanwhile {
            action(&mut self.store.borrow_mut());
        }
    }

    fn execute_unless(
        &self,
        program: &str,
        args: &[&str],
        stdin: &str,
        _: Duration,
        _: &dyn Fn() -> bool,
    ) -> Result<Finished, CommandError> {
        let mut line = std::iter::once(program).chain(args.iter().copied()).collect::<Vec<_>>().join(" ");
        if !stdin.is_empty() {
            line = format!("{line} < {}", stdin.trim_end());
        }
        self.commands.borrow_mut().push(line);
        if self.failing == Some(program) {
            return Ok(Finished { code: 1, stdout: String::new(), stderr: "broken".to_owned() });
        }
        if let Some(finished) = self.answers.get(program) {
            return Ok(finished.clone());
        }
        Ok(xenstore(&mut self.store.borrow_mut(), program, args))
    }

    fn pipe(&self, _: &[&str], _: &[&str], _: &str, _: &mut Between<'_>) -> Result<Piped, CommandError> {
        unreachable!("pipes are tried with real programs")
    }

    fn xapi(&self, request: &str) -> io::Result<Vec<u8>> {
        let call = decode_call(request.as_bytes(), &Limits::REQUEST).map_err(io::Error::other)?;
        let params: Vec<&str> = call.params.iter().filter_map(Value::as_str).collect();
        self.commands
            .borrow_mut()
            .push(format!("{} {}", call.method, params[1..].join(" ")).trim_end().to_owned());
        let answer = self
            .xapi
            .iter()
            .find(|(method, _)| *method == call.method)
            .map_or(Ok(""), |(_, answer)| answer.map_err(|code| Failure::new(code, ["OpaqueRef:x"])));
        encode_response(answer.as_ref().copied()).map(String::into_bytes).map_err(io::Error::other)
    }
}

/// The `xenstore-*` tools; any other program succeeds and says nothing.
fn xenstore(store: &mut Store, program: &str, args: &[&str]) -> Finished {
    let args: Vec<&str> = args.iter().copied().filter(|arg| !arg.starts_with('-')).collect();
    let done = |stdout: String| Finished { code: 0, stdout, stderr: String::new() };
    let failed = |stderr: String| Finished { code: 1, stdout: String::new(), stderr };
    match (program, args.as_slice()) {
        ("xenstore-read", [path]) => match store.get(*path) {
            Some(value) => done(format!("{value}\n")),
            None => failed(format!("xenstore-read: couldn't read path {path}")),
        },
        ("xenstore-exists", [path]) if store.contains_key(*path) => done(String::new()),
        ("xenstore-exists", _) => failed(String::new()),
        ("xenstore-write", [path, value]) => {
            store.insert((*path).to_owned(), (*value).to_owned());
            done(String::new())
        }
        ("xenstore-rm", [path]) => match store.remove(*path) {
            Some(_) => done(String::new()),
            None => failed(format!("xenstore-rm: couldn't remove path {path}")),
        },
        ("xenstore-ls", [path]) => {
            let below = store.iter().filter(|(key, _)| key.starts_with(&format!("{path}/")));
            let lines: String = below.map(|(key, value)| format!("{key} = \"{value}\"\n")).collect();
            if lines.is_empty() {
                failed("xenstore-ls: xs_directory: No such file".to_owned())
            } else {
                done(lines)
            }
        }
        _ => done(String::new()),
    }
}

/// What becomes of a program that would be started, instead of that.
type Instead<'a> = dyn Fn(&str, &[&str]) -> Option<Finished> + 'a;

/// This machine, except for some of the programs that are started.
pub(crate) struct Except<'a> {
    instead: Box<Instead<'a>>,
    repositories: Option<PathBuf>,
    /// What is started in a pipe instead of a program.
    programs: Vec<(&'static str, String)>,
}

impl<'a> Except<'a> {
    pub(crate) fn new(instead: impl Fn(&str, &[&str]) -> Option<Finished> + 'a) -> Self {
        Self { instead: Box::new(instead), repositories: None, programs: Vec::new() }
    }

    /// With another program in pipes.
    pub(crate) fn with_program(mut self, name: &'static str, path: &Path) -> Self {
        self.programs.push((name, path.to_str().unwrap().to_owned()));
        self
    }

    /// With its SRs elsewhere.
    pub(crate) fn with_repositories(self, folder: &Path) -> Self {
        Self { repositories: Some(folder.to_owned()), ..self }
    }
}

/// One of the programs that are started is killed before it does anything.
pub(crate) struct Killing {
    /// How many programs are started before that one.
    pub(crate) after: Cell<usize>,
    pub(crate) was_killed: Cell<bool>,
}

impl Killing {
    pub(crate) fn after(commands: usize) -> Self {
        Self { after: Cell::new(commands), was_killed: Cell::new(false) }
    }

    pub(crate) fn dom0(&self) -> Except<'_> {
        Except::new(|_, _| {
            match self.after.get().checked_sub(1) {
                Some(left) => self.after.set(left),
                None if self.was_killed.replace(true) => {}
                None => return Some(Finished { code: -9, stdout: String::new(), stderr: String::new() }),
            }
            None
        })
    }
}

impl Dom0 for Except<'_> {
    fn folder(&self, of: Folder) -> PathBuf {
        let own = self.repositories.as_ref().filter(|_| of == Folder::Repositories);
        own.cloned().unwrap_or_else(|| Real.folder(of))
    }

    fn exists(&self, path: &Path) -> bool {
        Real.exists(path)
    }

    fn read_to_string(&self, path: &Path) -> io::Result<String> {
        Real.read_to_string(path)
    }

    fn sleep(&self, time: Duration) {
        Real.sleep(time);
    }

    fn read_tail(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        Real.read_tail(path, limit)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        Real.list(path)
    }

    fn replace(&self, path: &Path, text: &str) -> io::Result<()> {
        Real.replace(path, text)
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.copy(from, to)
    }

    fn copy_head(&self, from: &Path, to: &Path, len: u64) -> io::Result<()> {
        Real.copy_head(from, to, len)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.link(from, to)
    }

    fn links(&self, path: &Path) -> io::Result<u64> {
        Real.links(path)
    }

    fn lock(&self, folder: &Path) -> io::Result<File> {
        Real.lock(folder)
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        Real.make_dir(path)
    }

    fn remove(&self, path: &Path) -> io::Result<bool> {
        Real.remove(path)
    }

    fn open_disk(&self, path: &Path) -> io::Result<File> {
        Real.open_disk(path)
    }

    fn temp_dir(&self) -> io::Result<PathBuf> {
        Real.temp_dir()
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        Real.remove_dir(path)
    }

    fn execute_unless(
        &self,
        program: &str,
        args: &[&str],
        stdin: &str,
        limit: Duration,
        unwanted: &dyn Fn() -> bool,
    ) -> Result<Finished, CommandError> {
        if let Some(finished) = (self.instead)(program, args) {
            return Ok(finished);
        }
        Real.execute_unless(program, args, stdin, limit, unwanted)
    }

    fn pipe(
        &self,
        first: &[&str],
        second: &[&str],
        handed: &str,
        between: &mut Between<'_>,
    ) -> Result<Piped, CommandError> {
        let with = |words: &[&'_ str]| -> Vec<String> {
            let own = |word: &str| self.programs.iter().find(|(name, _)| *name == word);
            words.iter().map(|word| own(word).map_or(*word, |(_, path)| path).to_owned()).collect()
        };
        let (first, second) = (with(first), with(second));
        let [first, second] = [&first, &second].map(|of| of.iter().map(String::as_str).collect::<Vec<_>>());
        Real.pipe(&first, &second, handed, between)
    }

    fn xapi(&self, request: &str) -> io::Result<Vec<u8>> {
        Real.xapi(request)
    }
}

/// Whether root, loop devices and the tools are here. A visible skip, unless a machine that tests for
/// others lacks them.
#[expect(clippy::print_stderr, reason = "a skip is to be seen")]
pub(crate) fn is_possible(tools: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |tool: &&str| std::env::split_paths(&path).any(|folder| folder.join(tool).is_file());
    let mut missing: Vec<&str> = tools.iter().copied().filter(|tool| !has(tool)).collect();
    if !std::process::Command::new("losetup").arg("--find").output().is_ok_and(|out| out.status.success()) {
        missing.push("loop devices (root)");
    }
    if missing.is_empty() {
        return true;
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "missing: {missing:?}");
    eprintln!("SKIPPED: missing: {missing:?}");
    false
}

/// Runs a program of this test's own. A fork of another test holds what this one has open for a moment.
#[track_caller]
pub(crate) fn run(program: &str, args: &[&str], stdin: &str) -> String {
    let mut tries = 0;
    loop {
        match Real.run(program, args, stdin, Duration::from_secs(120)) {
            Err(error) if error.stderr.contains("busy") && tries < 100 => tries += 1,
            done => return done.unwrap(),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
