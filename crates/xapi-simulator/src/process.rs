//! Programs of dom0 as child processes.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};

/// How much a program may write to each of its outputs before it is killed.
const MAX_OUTPUT_BYTES: u64 = 16 << 20;

/// How a program ended, and what it wrote until then.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Runs a program to its end, with this input and with nothing of the simulator's environment but `PATH`.
///
/// A program that takes longer than `limit`, or writes more than 16 MiB to one of its outputs, is killed, and so is
/// one whose call is given up. What it started itself in its process group dies with it.
///
/// # Errors
/// When it cannot be started.
pub(crate) async fn run(
    program: &Path,
    argument: impl AsRef<OsStr>,
    input: &[u8],
    limit: Duration,
) -> io::Result<Ended> {
    let mut command = Command::new(program);
    command.arg(argument).env_clear().current_dir("/");
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut group = Group(command.process_group(0).spawn()?);
    // These stay open until the program has ended: one that is to be killed shall not see a broken pipe first.
    let stdin = group.0.stdin.take();
    let (mut out, mut err) = (group.0.stdout.take(), group.0.stderr.take());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let ended = async {
        let outputs = (read(out.as_mut(), &mut stdout), read(err.as_mut(), &mut stderr));
        let (status, (), (), ()) =
            tokio::try_join!(group.0.wait(), outputs.0, outputs.1, write(stdin, input))?;
        Ok::<_, io::Error>(status)
    };
    let status = match tokio::time::timeout(limit, ended).await {
        Ok(Ok(status)) => status,
        Ok(Err(_)) | Err(_) => {
            group.kill();
            group.0.wait().await?
        }
    };
    Ok(Ended { status, stdout, stderr })
}

async fn read(output: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) -> io::Result<()> {
    let Some(output) = output else { return Ok(()) };
    match output.take(MAX_OUTPUT_BYTES).read_to_end(into).await? as u64 {
        MAX_OUTPUT_BYTES => Err(io::ErrorKind::FileTooLarge.into()),
        _ => Ok(()),
    }
}

/// Hands over the input. A program need not read it.
async fn write(stdin: Option<ChildStdin>, input: &[u8]) -> io::Result<()> {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
    }
    Ok(())
}

/// A program with those it started in its process group; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Group(pub(crate) Child);

impl Group {
    /// Ends all of them, unless the program has ended: its number may be another's by then.
    pub(crate) fn kill(&self) {
        let pid = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(pid) = pid {
            // They may just have ended.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The name of the signal that ended a program, if one did.
pub(crate) fn signal_name(status: ExitStatus) -> Option<String> {
    const NAMES: [&str; 16] = [
        "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM",
    ];
    let number = status.signal()?;
    let name = usize::try_from(number).ok().and_then(|n| NAMES.get(n));
    Some(name.map_or_else(|| number.to_string(), |name| format!("SIG{name}")))
}
