//! One machine: QEMU, and what it is connected to.
//!
//! ```text
//!   simulator ── pipe ──► sh ──► qemu-system-x86_64 ──► monitor, serial, disks (sockets on which the simulator listens)
//!                                                   ◄── vnc (a socket on which QEMU listens)
//! ```
//!
//! The shell between them waits for the end of the pipe, which nobody but the simulator holds: however the simulator
//! ends, by SIGKILL too, the pipe ends with it, the shell kills QEMU and removes its sockets. A parent-death
//! signal would have to be set between fork and exec, which is unsafe code, and hangs on one thread of the
//! parent.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::hardware::{Hardware, Sockets};
use super::qmp::{Power, Qmp};
use super::serial::Serial;
use crate::core::Core;
use crate::process::Group;
use crate::storage::Sr;
use crate::transfer::nbd::{self, Device};
use xenapi_wire::Failure;

/// How long QEMU may take for what is a matter of milliseconds: to come up, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a guest is told that its power button has been pressed: one that still boots does not notice.
const BUTTON_EVERY: Duration = Duration::from_secs(5);

/// How much of what QEMU complains about is kept.
const MAX_COMPLAINT: u64 = 16 << 10;

/// Starts the program behind the directory of its sockets in the background, kills it at the end of the standard input,
/// and removes the directory. The standard error is left to the program alone: its end is the program's.
const WATCHMAN: &str = "scratch=$1; shift; \"$@\" </dev/null & machine=$!; exec 2>&-; read -r _; \
    kill -9 \"$machine\"; wait \"$machine\"; rm -rf -- \"$scratch\"";

/// A machine; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Machine {
    qmp: Qmp,
    serial: Serial,
    /// How many calls wait for the guest to switch itself off, and will deal with it.
    awaited: watch::Sender<usize>,
    _disks: JoinSet<()>,
    // The process ends before its directory goes.
    process: Group,
    scratch: Scratch,
}

/// A directory with the machine's sockets, of which its owner alone knows.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        // Short: the paths of sockets are.
        let name = format!("xapi-vm-{:08x}", uuid::Uuid::new_v4().as_u128() as u32);
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing but sockets is left behind.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Machine {
    /// Sets a machine up, which waits to be told to go on.
    ///
    /// # Errors
    /// What QEMU has to complain about, or what cannot be made for it.
    pub(super) async fn new(
        core: &Arc<Core>,
        program: &Path,
        hardware: &Hardware,
        accelerator: &str,
        log: Option<&Path>,
    ) -> io::Result<Self> {
        let scratch = Scratch::new()?;
        let sockets = Sockets(&scratch.0);
        let listen = |name: &str| UnixListener::bind(sockets.path(name));
        let (monitor, serial, disks) = (listen("monitor")?, listen("serial")?, listen("disks")?);
        let mut serving = JoinSet::new();
        serving.spawn(serve_disks(Arc::downgrade(core), disks));
        let mut process = start(program, &hardware.arguments(&sockets, accelerator), &scratch.0)?;
        let mut complaints = process.0.stderr.take();
        let connected = async {
            let (monitor, serial) = tokio::try_join!(monitor.accept(), serial.accept())?;
            let (qmp, serial) = tokio::try_join!(Qmp::begin(monitor.0), Serial::new(serial.0, log))?;
            Ok::<_, io::Error>((qmp, serial))
        };
        let mut complaint = Vec::new();
        let set_up = tokio::select! {
            connected = connected => connected,
            () = listen_to(complaints.as_mut(), &mut complaint) => Err(io::ErrorKind::BrokenPipe.into()),
            () = tokio::time::sleep(PATIENCE) => Err(io::Error::new(io::ErrorKind::TimedOut, "QEMU does not come up")),
        };
        let (qmp, serial) = match set_up {
            Ok(both) => both,
            Err(error) => {
                // What it says comes before it hangs up, but may be read later.
                if error.kind() == io::ErrorKind::BrokenPipe {
                    listen_to(complaints.as_mut(), &mut complaint).await;
                }
                let said = String::from_utf8_lossy(&complaint);
                let said = if said.is_empty() { error.to_string() } else { said.trim().replace('\n', "; ") };
                return Err(io::Error::new(error.kind(), said));
            }
        };
        tokio::spawn(async move {
            let mut complaint = Vec::new();
            listen_to(complaints.as_mut(), &mut complaint).await;
            if !complaint.is_empty() {
                tracing::info!(said = %String::from_utf8_lossy(&complaint), "QEMU complained");
            }
        });
        let awaited = watch::Sender::new(0);
        Ok(Self { qmp, serial, awaited, _disks: serving, process, scratch })
    }

    /// Whether it is on.
    pub(super) fn power(&self) -> watch::Receiver<Power> {
        self.qmp.power()
    }

    /// Whether somebody waits for it to go off, who then deals with that.
    pub(super) fn awaited(&self) -> watch::Receiver<usize> {
        self.awaited.subscribe()
    }

    async fn command(&self, name: &str) -> io::Result<()> {
        self.qmp.command(name, json!({})).await.map(drop)
    }

    /// QEMU's name of what it is doing.
    pub(super) async fn status(&self) -> io::Result<String> {
        let status = self.qmp.command("query-status", json!({})).await?;
        Ok(status["status"].as_str().unwrap_or("unknown").to_owned())
    }

    pub(super) async fn pause(&self) -> io::Result<()> {
        self.command("stop").await
    }

    pub(super) async fn go_on(&self) -> io::Result<()> {
        self.command("cont").await
    }

    /// Announces that the caller deals with it when the guest goes off, until the guard is dropped.
    pub(super) fn await_off(self: &Arc<Self>) -> Awaiting {
        self.awaited.send_modify(|count| *count += 1);
        Awaiting(self.clone())
    }

    /// Ends it at once, and waits until nothing of it writes any more.
    pub(super) async fn end(&self) {
        let mut power = self.power();
        // It may be gone already.
        let _ = self.command("quit").await;
        let ended = tokio::time::timeout(PATIENCE, power.wait_for(|power| *power == Power::Gone)).await;
        if ended.is_err() {
            tracing::warn!("QEMU does not quit, and is killed");
            self.process.kill();
        }
    }

    /// Ends it without waiting.
    pub(super) fn kill(&self) {
        self.process.kill();
    }

    /// Lets somebody at the screen, with as much RFB as QEMU speaks.
    ///
    /// # Errors
    /// When a connection breaks.
    pub(super) async fn serve_screen(
        &self,
        conn: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut screen = UnixStream::connect(self.scratch.0.join("vnc")).await?;
        copy_bidirectional(conn, &mut screen).await.map(drop)
    }

    /// Lets somebody at the serial port.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(super) async fn serve_terminal(
        &self,
        conn: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> io::Result<()> {
        self.serial.serve(conn).await
    }
}

/// Somebody who deals with a guest that goes off.
pub(super) struct Awaiting(Arc<Machine>);

impl Awaiting {
    /// Presses the power button until the guest has switched itself off.
    ///
    /// # Errors
    /// When QEMU refuses.
    pub(super) async fn press_button(&self) -> io::Result<()> {
        let mut power = self.0.power();
        loop {
            self.0.command("system_powerdown").await?;
            let off = power.wait_for(|power| *power != Power::On);
            if tokio::time::timeout(BUTTON_EVERY, off).await.is_ok() {
                return Ok(());
            }
        }
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        self.0.awaited.send_modify(|count| *count -= 1);
    }
}

fn start(program: &Path, arguments: &[String], scratch: &Path) -> io::Result<Group> {
    let mut command = Command::new("/bin/sh");
    command.args([
        OsStr::new("-c"),
        WATCHMAN.as_ref(),
        "xapi-simulator-machine".as_ref(),
        scratch.as_os_str(),
        program.as_os_str(),
    ]);
    command.args(arguments).env_clear().current_dir("/");
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    // The pipe of the standard input stays in the child's handle until that is dropped.
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    Ok(Group(command.process_group(0).kill_on_drop(true).spawn()?))
}

/// Reads what QEMU complains about until it ends; what is too much is not kept.
async fn listen_to(output: Option<&mut (impl AsyncRead + Unpin)>, into: &mut Vec<u8>) {
    let Some(output) = output else { return };
    // What cannot be read any more was not said.
    let _ = (&mut *output).take(MAX_COMPLAINT).read_to_end(into).await;
    let _ = tokio::io::copy(output, &mut tokio::io::sink()).await;
}

/// Serves the drives of a machine as exports with the uuids of their VBDs.
///
/// The pool holds the machine, and so the machine must not hold the pool.
async fn serve_disks(core: Weak<Core>, listener: UnixListener) {
    let mut serving = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let core = core.clone();
        serving.spawn(async move {
            let ended = || Failure::new("INTERNAL_ERROR", ["the simulator ends"]);
            let find = move |vbd: &str| device(&*core.upgrade().ok_or_else(ended)?, vbd);
            if let Err(error) = nbd::serve_neighbour(stream, find).await {
                tracing::debug!(%error, "a drive is not used any more");
            }
        });
        // Those that have ended.
        while serving.try_join_next().is_some() {}
    }
}

/// The disk in a drive. Does file work.
fn device(core: &Core, vbd: &str) -> Result<Device, Failure> {
    let (sr, uuid, len, is_writable) = core.db().read(|view| {
        let vbd = view.by_uuid("VBD", vbd)?;
        let vdi = view.object("VDI", vbd.str("VDI"))?;
        let sr = Sr::of(view, vdi.str("SR"))?;
        let uuid = crate::classes::vdi::uuid_of(vdi);
        Ok::<_, Failure>((sr, uuid, vdi.int("virtual_size"), vbd.str("mode") == "RW"))
    })?;
    let disk = core.storage().open(sr)?.disk(uuid)?;
    Ok(Device { disk, len_bytes: u64::try_from(len).unwrap_or(0), is_writable })
}
