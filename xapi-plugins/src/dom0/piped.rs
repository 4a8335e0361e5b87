//! Two programs at once, and what is between them.

use std::cell::Cell;
use std::io::{self, Cursor, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::sleep;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process_group};

use super::{
    Between, CommandError, END_LIMIT, Finished, HANDED, NOT_STARTED, OUTPUT_LIMIT, Piped, code, drain, end,
    failed, hand, kill, start, texts,
};

/// How long a program that talks to a server may take nothing while there is more for it: what Nova allows.
const TAKE_LIMIT: Duration = Duration::from_secs(90);
/// How long what was killed is waited for, in steps.
const DEATH_POLL: Duration = Duration::from_millis(10);
const DEATH_POLLS: u32 = 500;

/// As [`Dom0::pipe`](super::Dom0::pipe).
pub(super) fn run(
    first: &[&str],
    second: &[&str],
    handed: &str,
    between: &mut Between<'_>,
) -> Result<Piped, CommandError> {
    let cannot = |e: io::Error| failed(first[0], format!("{NOT_STARTED}: {e}"), String::new());
    let (pipe, name) = hand(handed).map_err(cannot)?;
    // Each in a group of its own, so that all that it starts can be ended with it.
    let spawn = |words: &[&str], stdin| {
        let args = words[1..].iter().map(|word| if *word == HANDED { name.as_str() } else { word });
        start(words[0], Command::new(words[0]).args(args).process_group(0), stdin)
    };
    let mut source = spawn(first, Stdio::null())?;
    let sink = spawn(second, Stdio::piped());
    // Who was to have it has it.
    drop(pipe);
    let mut sink = match sink {
        Ok(sink) => sink,
        Err(e) => {
            kill(&mut source);
            return Err(e);
        }
    };
    let source_err = source.stderr.take().map(drain);
    let (sink_out, sink_err) = (sink.stdout.take().map(drain), sink.stderr.take().map(drain));
    let limit = second.contains(&HANDED).then_some(TAKE_LIMIT);
    let (moved, is_cut) = move_between(&mut source, &mut sink, limit, between);
    let source_failed = matches!(source.try_wait(), Ok(Some(status)) if !status.success());
    if moved.is_err() && matches!(source.try_wait(), Ok(None)) {
        kill(&mut source);
    }
    let ended = |program: &[&str], child: &mut Child| {
        end(child, END_LIMIT, &|| false).map(code).map_err(|reason| failed(program[0], reason, String::new()))
    };
    let [from_code, to_code] = [ended(first, &mut source), ended(second, &mut sink)];
    let (from_code, to_code) = (from_code?, to_code?);
    let [from_err] = texts(first[0], [source_err])?;
    let [stdout, stderr] = texts(second[0], [sink_out, sink_err])?;
    let [from, to] = [
        Finished { code: from_code, stdout: String::new(), stderr: from_err },
        Finished { code: to_code, stdout, stderr },
    ];
    let is_reason = match is_cut {
        true => !source_failed,
        false => from.code == 0 && to.code == 0,
    };
    let moved = moved.map_err(|e| e.to_string()).or_else(|e| if is_reason { Err(e) } else { Ok(()) });
    Ok(Piped { first: from, second: to, moved, is_cut })
}

/// Has everything moved, and whether the second program was killed because it is not to have what there is for all.
fn move_between(
    source: &mut Child,
    sink: &mut Child,
    limit: Option<Duration>,
    between: &mut Between<'_>,
) -> (io::Result<()>, bool) {
    // Both pipes are closed here, which ends a program that still waits on the other end.
    let (Some(from), Some(to)) = (source.stdout.take(), sink.stdin.take()) else { return (Ok(()), false) };
    let guard = Guard::of(sink, &to);
    let moved = guard.as_ref().map_err(|e| io::Error::new(e.kind(), format!("sh: {NOT_STARTED}: {e}")));
    let moved = moved.and_then(|_| {
        if limit.is_some() {
            fcntl_setfl(&to, OFlags::NONBLOCK)?;
        }
        let is_over = Cell::new(false);
        let mut output = Output::new(from, source, &is_over);
        between(&mut output, &mut Input { to: &to, limit, is_over: &is_over })
    });
    // Of what broke the pipe itself nobody is there who could take a part for the whole.
    let is_cut = moved.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::BrokenPipe);
    if is_cut {
        cut_off(sink);
    }
    if let Ok(guard) = guard {
        guard.release();
    }
    (moved, is_cut)
}

/// Kills a program that nobody has waited for yet, and all in its group, and sees that they are gone: then none of them
/// can notice that its input ends.
fn cut_off(child: &mut Child) {
    let group = Pid::from_child(child);
    kill(child);
    for _ in 0..DEATH_POLLS {
        if test_kill_process_group(group).is_err() {
            break;
        }
        sleep(DEATH_POLL);
    }
}

/// Keeps a program's input open, and kills the program when this one is killed: to it, its input would have come to its end.
struct Guard(Child);

impl Guard {
    fn of(program: &Child, input: &ChildStdin) -> io::Result<Self> {
        const SCRIPT: &str = r#"read -r word || kill -s KILL -- "-$1""#;
        let group = program.id().to_string();
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh", &group]).process_group(0);
        let input = Stdio::from(input.as_fd().try_clone_to_owned()?);
        command.stdin(Stdio::piped()).stdout(input).stderr(Stdio::null()).spawn().map(Self)
    }

    /// From now on the input may end.
    fn release(mut self) {
        if let Some(mut word) = self.0.stdin.take() {
            let _ = word.write_all(b"done\n");
        }
        let _ = self.0.wait();
    }
}

/// What a program writes, until it has ended: the end of its pipe is not waited for where it left another behind that holds
/// it open. What a program has written that fails is no whole.
struct Output<'a> {
    of: &'a mut Child,
    parts: Receiver<io::Result<Vec<u8>>>,
    part: Cursor<Vec<u8>>,
    is_over: &'a Cell<bool>,
}

impl<'a> Output<'a> {
    /// Reads ahead in a thread, a few parts at most.
    fn new(mut pipe: ChildStdout, of: &'a mut Child, is_over: &'a Cell<bool>) -> Self {
        let (send, parts) = sync_channel(4);
        std::thread::spawn(move || {
            loop {
                let mut part = vec![0; 64 << 10];
                let read = pipe.read(&mut part);
                let is_last = matches!(read, Ok(0) | Err(_));
                part.truncate(read.as_ref().map_or(0, |len| *len));
                // Who does not listen any more has had enough.
                if send.send(read.map(|_| part)).is_err() || is_last {
                    break;
                }
            }
        });
        Self { of, parts, part: Cursor::default(), is_over }
    }

    /// The end, if the program says so too.
    fn end(&mut self) -> io::Result<usize> {
        let ended = end(self.of, END_LIMIT, &|| false).map(code);
        let why = match ended {
            Ok(0) => return Ok(0),
            Ok(code) => format!("exit status: {code}"),
            Err(reason) => reason,
        };
        self.is_over.set(true);
        Err(io::Error::other(why))
    }
}

impl Read for Output<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let len = self.part.read(buffer)?;
            if len > 0 || buffer.is_empty() {
                return Ok(len);
            }
            // All that it wrote is in the pipe when it has ended.
            let has_ended = self.of.try_wait()?.is_some();
            match self.parts.recv_timeout(OUTPUT_LIMIT) {
                Ok(part) => self.part = Cursor::new(part?),
                Err(RecvTimeoutError::Timeout) if !has_ended => continue,
                Err(_) => return self.end(),
            }
            if self.part.get_ref().is_empty() {
                return self.end();
            }
        }
    }
}

/// A program's input.
struct Input<'a> {
    to: &'a ChildStdin,
    /// How long it may take nothing; the pipe does not block then.
    limit: Option<Duration>,
    /// Nothing more is written, whatever those say who pack: some finish their work when they are dropped.
    is_over: &'a Cell<bool>,
}

impl Write for Input<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_over.get() {
            return Err(io::Error::other("there is no more for it"));
        }
        loop {
            match (rustix::io::write(self.to, bytes), self.limit) {
                (Err(Errno::AGAIN), Some(limit)) => self.wait(limit)?,
                (done, _) => return Ok(done?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Input<'_> {
    /// Waits until it takes something again.
    fn wait(&self, limit: Duration) -> io::Result<()> {
        let time = Timespec::try_from(limit).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(self.to, PollFlags::OUT)], Some(&time)) {
            Ok(0) => {
                self.is_over.set(true);
                let why = format!("nothing could be sent for {} s", limit.as_secs_f32());
                Err(io::Error::new(io::ErrorKind::TimedOut, why))
            }
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn sh(script: &str) -> Child {
        let mut command = Command::new("timeout");
        start("timeout", command.args(["600", "sh", "-c", script]).process_group(0), Stdio::piped()).unwrap()
    }

    /// The program that reads tells by a file that it came to the end of its input.
    fn tells(folder: &std::path::Path) -> (String, std::path::PathBuf) {
        let told = folder.join("told");
        (format!("cat > /dev/null; echo end > {}", told.display()), told)
    }

    #[test]
    fn a_part_is_never_taken_for_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (script, told) = tells(folder.path());
        let pipe = |first: &str, between: &mut Between<'_>| {
            let _ = fs::remove_file(&told);
            run(&["sh", "-c", first], &["timeout", "600", "sh", "-c", &script], "", between).unwrap()
        };
        let copy: &mut Between<'_> = &mut |from, to| io::copy(from, to).map(drop);
        let whole = pipe("echo half; echo half", copy);
        assert!(told.exists() && !whole.is_cut && whole.moved.is_ok());
        let half = pipe("echo half; echo no >&2; exit 2", copy);
        assert_eq!((half.first.code, half.first.stderr.as_str()), (2, "no\n"));
        assert!(!told.exists() && half.is_cut && half.moved.is_ok());
        let refused = pipe("exec sleep 600", &mut |_, _| Err(io::Error::other("no")));
        assert!(!told.exists() && refused.is_cut);
        assert_eq!(refused.moved, Err("no".to_owned()));
    }

    #[test]
    fn the_one_that_reads_is_killed_with_this_program() {
        let folder = tempfile::tempdir().unwrap();
        let (script, told) = tells(folder.path());
        for is_killed in [true, false] {
            let mut sink = sh(&script);
            let to = sink.stdin.take().unwrap();
            let mut guard = Guard::of(&sink, &to).unwrap();
            // What is left of this program when it is killed: nothing.
            drop(to);
            match is_killed {
                true => drop(guard.0.stdin.take()),
                false => guard.release(),
            }
            let status = sink.wait().unwrap();
            assert_eq!(
                (status.signal(), told.exists()),
                if is_killed { (Some(9), false) } else { (None, true) }
            );
        }
    }

    #[test]
    fn a_server_that_takes_nothing_is_not_waited_for() {
        let mut sink = sh("exec sleep 600");
        let (to, is_over) = (sink.stdin.take().unwrap(), Cell::new(false));
        fcntl_setfl(&to, OFlags::NONBLOCK).unwrap();
        let mut input = Input { to: &to, limit: Some(Duration::from_millis(50)), is_over: &is_over };
        let error = input.write_all(&vec![0; 1 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert!(input.write(b"more").is_err() && is_over.get());
        cut_off(&mut sink);
    }
}
