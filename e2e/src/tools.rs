//! Other people's tools, and what happens when one is missing.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// Whether all these programs are installed. Says so if one is not, so that the caller can skip its test.
///
/// ```
/// if !e2e::tools::present(&["qemu-img", "e2fsck"]) {
///     return;
/// }
/// ```
///
/// # Panics
///
/// If one is missing and the environment variable `CI` is `true`: there, nothing may be skipped.
#[expect(clippy::print_stderr, reason = "a skip must be seen")]
pub fn present(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| find(program).is_none()).collect();
    if missing.is_empty() {
        return true;
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "not installed: {missing:?}");
    eprintln!("skipped: not installed: {missing:?}");
    false
}

/// Whether the plugins of dom0 can work on disks here: with these programs, as root, with loop devices. Says so if not.
///
/// # Panics
///
/// As [`present`].
#[expect(clippy::print_stderr, reason = "a skip must be seen")]
pub fn can_be_dom0() -> bool {
    const TOOLS: &[&str] = &["sfdisk", "mkfs.ext4", "e2fsck", "resize2fs", "losetup", "mount", "debugfs"];
    if !present(TOOLS) {
        return false;
    }
    let is_root = run("losetup", ["--find"]).is_ok() && std::fs::create_dir_all("/dev/sm/backend").is_ok();
    if !is_root {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "this wants root and loop devices");
        eprintln!("skipped: this wants root and loop devices");
    }
    is_root
}

/// A disk of so many MiB, at least four, with one partition, an ext4 that has the file `/etc/hostname` with `web1`.
///
/// # Errors
///
/// When a tool fails.
pub fn disk_with_ext4(folder: &Path, mib: u64) -> Result<PathBuf> {
    let files = folder.join("files");
    std::fs::create_dir_all(files.join("etc"))?;
    std::fs::write(files.join("etc/hostname"), "web1\n")?;
    disk_of_files(folder, &files, mib)
}

/// As [`disk_with_ext4`], with the files of a folder.
///
/// # Errors
///
/// When a tool fails.
pub fn disk_of_files(folder: &Path, files: &Path, mib: u64) -> Result<PathBuf> {
    let (disk, part) = (folder.join("disk.raw"), folder.join("part.raw"));
    File::create(&part)?.set_len((mib - 1) << 20)?;
    run("mkfs.ext4", ["-q".as_ref(), "-d".as_ref(), files.as_os_str(), part.as_os_str()])?;
    let mut file = File::create(&disk)?;
    file.set_len(mib << 20)?;
    file.seek(SeekFrom::Start(2048 * 512))?;
    std::io::copy(&mut File::open(&part)?, &mut file)?;
    let script = folder.join("table");
    std::fs::write(&script, "2048,,83,*\n")?;
    let mut sfdisk = command("sfdisk")?;
    output(sfdisk.arg("-q").arg(&disk).stdin(File::open(script)?))?;
    Ok(disk)
}

/// Where a program is. Debian keeps file system tools in directories that a user's `PATH` may not have.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// A command that runs a program, with messages in English.
///
/// # Errors
///
/// If the program is not installed.
pub fn command(program: &str) -> Result<Command> {
    let mut command = Command::new(find(program).with_context(|| format!("{program} is not installed"))?);
    command.env("LC_ALL", "C.UTF-8");
    Ok(command)
}

/// Runs a program to its end and returns what it wrote to its standard output.
///
/// # Errors
///
/// If it cannot be started or its exit code is not 0, with all that it wrote.
pub fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Result<String> {
    output(command(program)?.args(arguments))
}

/// Runs a command to its end and returns what it wrote to its standard output.
///
/// # Errors
///
/// As [`run`].
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{text}{complaint}", output.status);
    Ok(text)
}

/// What `qemu-img info` says of an image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct QemuInfo {
    /// `raw`, `vpc`.
    pub format: String,
    /// The size of the disk, in bytes.
    pub virtual_size: u64,
    /// What the file takes, in bytes.
    pub actual_size: u64,
}

/// What `qemu-img info` says of an image, whose format it finds out by itself.
///
/// # Errors
///
/// If it cannot read the image.
pub fn qemu_img_info(image: &Path) -> Result<QemuInfo> {
    let own = [OsStr::new("info"), "--output=json".as_ref(), image.as_ref()];
    let text = run("qemu-img", own)?;
    let info: QemuInfo = serde_json::from_str(&text)?;
    if info.format != "vpc" {
        return Ok(info);
    }
    let options = options(image)?;
    let text = run("qemu-img", ["info", "--output=json", "--image-opts", &options])?;
    serde_json::from_str(&text).with_context(|| format!("qemu-img info {}: {text}", image.display()))
}

/// How QEMU is told to open an image. Before version 10, it takes the size of a VHD from the geometry unless it knows
/// the writer, and misses the disk's end.
fn options(image: &Path) -> Result<String> {
    let mut file = File::open(image).with_context(|| image.display().to_string())?;
    let mut starts_with = |at: SeekFrom, magic: &[u8]| {
        let mut bytes = vec![0; magic.len()];
        Ok::<_, anyhow::Error>(file.seek(at).is_ok() && file.read_exact(&mut bytes).is_ok() && bytes == magic)
    };
    let driver = match () {
        () if starts_with(SeekFrom::Start(0), b"conectix")? => "vpc,force_size_calc=current_size",
        () if starts_with(SeekFrom::End(-512), b"conectix")? => "vpc,force_size_calc=current_size",
        () if starts_with(SeekFrom::Start(0), b"QFI\xfb")? => "qcow2",
        () => "raw",
    };
    let path = image.to_str().context("a path of text")?.replace(',', ",,");
    Ok(format!("driver={driver},file.driver=file,file.filename={path}"))
}

/// Has qemu-img read the whole block table of a VHD.
///
/// `qemu-img check` knows no check of this format and says so with exit code 63; `qemu-img map` then goes
/// through every block.
///
/// # Errors
///
/// If it finds a fault.
pub fn qemu_img_check(vhd: &Path) -> Result<()> {
    let check = command("qemu-img")?.args(["check", "-f", "vpc"]).arg(vhd).output()?;
    let complaint = String::from_utf8_lossy(&check.stderr);
    ensure!(
        check.status.success() || check.status.code() == Some(63),
        "qemu-img check {}: {}\n{complaint}",
        vhd.display(),
        check.status
    );
    let arguments =
        [OsStr::new("map"), "--output=json".as_ref(), "-f".as_ref(), "vpc".as_ref(), vhd.as_ref()];
    run("qemu-img", arguments).map(drop)
}

/// Has qemu-img compare what two images hold, whatever their formats. A longer one may end in zeros.
///
/// # Errors
///
/// If they differ, with the offset of the first difference.
pub fn qemu_img_compare(a: &Path, b: &Path) -> Result<()> {
    run("qemu-img", ["compare", "--image-opts", &options(a)?, &options(b)?]).map(drop)
}

/// Has e2fsck look at the ext file system that begins so many bytes into a raw disk image.
///
/// # Errors
///
/// If it finds a fault.
pub fn e2fsck_clean(raw: &Path, offset_bytes: u64) -> Result<()> {
    let mut device = raw.as_os_str().to_owned();
    device.push(format!("?offset={offset_bytes}"));
    run("e2fsck", [OsStr::new("-fn"), &device]).map(drop)
}
