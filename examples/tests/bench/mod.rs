//! A folder to work in, and `disk` as a user starts it.
#![allow(dead_code, clippy::print_stderr, reason = "each test uses a part of this; a skip is to be seen")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Result, ensure};
use examples::demo_image::DemoImage;
use serde_json::Value;
use tempfile::TempDir;

/// One of the examples, which Cargo builds before their tests, without what this machine's environment says to it.
pub(crate) fn program(name: &str) -> Command {
    let mut path = std::env::current_exe().expect("a test has a path");
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("examples").join(name));
    for variable in
        ["XENAPI_URL", "XENAPI_USER", "XENAPI_PASSWORD", "RUST_LOG", "NOTIFY_SOCKET", "WATCHDOG_USEC"]
    {
        command.env_remove(variable);
    }
    command
}

/// Whether `qemu-img` is here. On CI it must be.
pub(crate) fn qemu_img() -> bool {
    let here = Command::new("qemu-img").arg("--version").output().is_ok();
    assert!(here || std::env::var_os("CI").is_none(), "qemu-img is missing: apt-get install qemu-utils");
    if !here {
        eprintln!("SKIPPED: qemu-img is not installed");
    }
    here
}

pub(crate) fn qemu(folder: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new("qemu-img").args(args).current_dir(folder).output()?;
    ensure!(output.status.success(), "qemu-img {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

pub(crate) struct Bench {
    pub(crate) folder: TempDir,
}

impl Bench {
    /// A folder with a raw disk, `disk.raw`.
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        DemoImage { virtual_bytes: 64 << 20, payload_bytes: 3 << 20 }
            .write(&folder.path().join("disk.raw"))?;
        Ok(Self { folder })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn disk(&self, args: &[&str]) -> Command {
        let mut command = program("disk");
        command.current_dir(self.folder.path()).args(args).stdin(Stdio::null());
        command
    }

    /// Runs it, and looks at its exit code.
    #[track_caller]
    pub(crate) fn run(&self, code: i32, args: &[&str]) -> Output {
        let output = self.disk(args).output().expect("disk can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "disk {args:?}: {said}");
        output
    }

    /// Runs it with a file as what comes through a pipe.
    #[track_caller]
    pub(crate) fn fed(&self, code: i32, args: &[&str], file: &Path) -> Result<Output> {
        let mut cat = Command::new("cat").arg(file).stdout(Stdio::piped()).spawn()?;
        let input = cat.stdout.take().expect("a pipe");
        let output = self.disk(args).stdin(input).output()?;
        // It may have been left alone with what it had to say.
        cat.wait()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "disk {args:?}: {said}");
        Ok(output)
    }

    /// Runs it with these bytes as what comes through a pipe.
    #[track_caller]
    pub(crate) fn feed(&self, code: i32, args: &[&str], bytes: &[u8]) -> Result<Output> {
        let mut child =
            self.disk(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().expect("a pipe");
        let bytes = bytes.to_vec();
        // A tool that has seen enough closes its end.
        let feeder = std::thread::spawn(move || drop(input.write_all(&bytes)));
        let output = child.wait_with_output()?;
        feeder.join().expect("the feeder ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "disk {args:?}: {said}");
        Ok(output)
    }

    /// Says whether two images are the same disk.
    #[track_caller]
    pub(crate) fn same(&self, name: &str, as_this: &str) {
        self.run(0, &["compare", name, as_this]);
    }

    #[track_caller]
    pub(crate) fn json(&self, code: i32, args: &[&str]) -> Value {
        let output = self.run(code, &[args, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Changes bytes of a footer of a VHD, the last one or the first, and makes its checksum right.
    pub(crate) fn footer(&self, from: &str, to: &str, end: bool, at: usize, bytes: &[u8]) -> Result<()> {
        let mut file = fs::read(self.path(from))?;
        let start = if end { file.len() - 512 } else { 0 };
        file[start + at..start + at + bytes.len()].copy_from_slice(bytes);
        vhd::fuzzing::make_sum(&mut file[start..start + 512], 64);
        Ok(fs::write(self.path(to), file)?)
    }

    /// Copies a disk, and changes some bytes of the copy.
    pub(crate) fn changed(&self, from: &str, to: &str, at: usize, bytes: &[u8]) -> Result<()> {
        let mut disk = fs::read(self.path(from))?;
        disk[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(fs::write(self.path(to), disk)?)
    }
}
