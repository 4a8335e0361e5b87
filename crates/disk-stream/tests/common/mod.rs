//! Disks to test with, and tools to ask.
#![allow(dead_code, clippy::print_stderr, reason = "each test uses a part of this; a skip is to be seen")]

pub(crate) mod archive;
pub(crate) mod layers;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use disk_stream::{Consume, Declared, Error, Image, Progress, Upload};
use http_body_util::BodyExt;
use vhd::format::Timestamp;

pub(crate) const MIB: u64 = 1 << 20;

/// A sparse file with recognisable bytes in these extents.
pub(crate) fn raw_disk(path: &Path, size: u64, extents: &[(u64, u64)]) {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (start, len) in extents {
        let data: Vec<u8> = (*start..start + len).map(content).collect();
        file.write_all_at(&data, *start).unwrap();
    }
    file.sync_all().unwrap();
}

/// Never zero, different in each sector and block.
pub(crate) fn content(at: u64) -> u8 {
    let mixed = (at / 512).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (mixed as u8).wrapping_add(at as u8) | 1
}

/// A disk of 21 MiB and some sectors with data at odd places, and a written block of zeros.
pub(crate) fn sample(folder: &Path) -> PathBuf {
    let path = folder.join("sample.raw");
    let size = 21 * MIB + 1536;
    raw_disk(&path, size, &[(0, 5000), (3 * MIB + 512, 2 * MIB), (10 * MIB, 4 * MIB), (size - 700, 700)]);
    let zeros = vec![0; 2 << 20];
    File::options().write(true).open(&path).unwrap().write_all_at(&zeros, 16 * MIB).unwrap();
    path
}

pub(crate) fn open(path: &Path) -> Result<Image, Error> {
    Image::open_blocking(path, Declared::Unknown)
}

/// The blocks in the file of a VHD, in the order of the disk.
pub(crate) fn blocks_of(image: &Image) -> impl Iterator<Item = vhd::BlockPlace> {
    let file = File::open(image.path()).unwrap();
    let read_at = move |at, bytes: &mut [u8]| file.read_exact_at(bytes, at);
    image.map().unwrap().blocks(read_at).map(|block| block.unwrap())
}

pub(crate) async fn collect<B>(body: B) -> Vec<u8>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    body.collect().await.unwrap().to_bytes().to_vec()
}

/// A writer whose bytes others can look at.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    /// What was written so far.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Feeds a stream in pieces of odd lengths.
pub(crate) fn feed<C: Consume>(
    mut consumer: C,
    stream: &[u8],
    progress: &Progress,
) -> Result<C::Output, Error> {
    stream.chunks(70_001).try_for_each(|piece| consumer.feed(piece, progress))?;
    consumer.finish()
}

/// What makes the same VHD of the same disk each time.
pub(crate) fn fixed_upload() -> Upload {
    Upload { uuid: Some(uuid::Uuid::from_u128(7)), timestamp: Some(Timestamp(5)), ..Upload::default() }
}

/// All of the disk.
pub(crate) fn content_of(image: &Image) -> Vec<u8> {
    let mut all = vec![0; usize::try_from(image.virtual_size()).unwrap()];
    image.reader().read(0, &mut all).unwrap();
    all
}

/// The files in a folder, by name.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Whether a tool is there. Where it is not, the test is skipped, but not in CI.
pub(crate) fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok();
    if !found {
        skip(&format!("{tool} is not installed"));
    }
    found
}

/// Says why a test is skipped, past the harness, which keeps to itself what a test that passes prints.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes()).unwrap();
}

/// Whether `qemu-img` is there and believes the size that a VHD states, whoever wrote it: before version 10, it takes
/// the size from the geometry unless it knows the writer.
pub(crate) fn has_qemu_of_10() -> bool {
    if !has("qemu-img") {
        return false;
    }
    let said = run("qemu-img", &["--version"]);
    let major = said.split(' ').nth(2).and_then(|version| version.split('.').next()?.parse().ok());
    let new = major.is_some_and(|major: u32| major >= 10);
    if !new {
        eprintln!("skipped: qemu-img is older than 10, and has our disks end with their last whole cylinder");
    }
    new
}

/// Runs a tool that must succeed and returns what it printed.
#[track_caller]
pub(crate) fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The most that this process has had in memory, in MiB.
pub(crate) fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// A block device over a file, if the machine allows one.
pub(crate) struct Loop(pub(crate) PathBuf);

impl Loop {
    /// Where there are none, the test is skipped, but not in CI.
    pub(crate) fn over(file: &Path) -> Option<Self> {
        let made = Command::new("losetup").args(["--find", "--show"]).arg(file).output();
        let why = match made {
            Ok(made) if made.status.success() => {
                return Some(Self(String::from_utf8(made.stdout).unwrap().trim().into()));
            }
            Ok(made) => String::from_utf8_lossy(&made.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        skip(&format!("no loop device, which root can make: losetup: {}", why.trim()));
        None
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        drop(Command::new("losetup").arg("--detach").arg(&self.0).output());
    }
}
