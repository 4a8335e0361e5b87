//! A folder to work in, and `disk` as a user starts it.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::Result;
use examples::demo_image::DemoImage;
use serde_json::Value;
use tempfile::TempDir;

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
        let mut path = std::env::current_exe().expect("a test has a path");
        path.pop();
        path.pop();
        let mut command = Command::new(path.join("examples/disk"));
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

    #[track_caller]
    pub(crate) fn json(&self, code: i32, args: &[&str]) -> Value {
        let output = self.run(code, &[args, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Copies a disk, and changes some bytes of the copy.
    pub(crate) fn changed(&self, from: &str, to: &str, at: usize, bytes: &[u8]) -> Result<()> {
        let mut disk = fs::read(self.path(from))?;
        disk[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(fs::write(self.path(to), disk)?)
    }
}
