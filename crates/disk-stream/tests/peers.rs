//! What other libraries make of our files, and we of theirs: `dissect.hypervisor` and `libvhdi` from PyPI, and
//! `vhd-lib` of Xen Orchestra from npm (0.7.2).
//!
//! Optional: a library that is not there is a visible skip, unless it was said to be there: `DISK_PEERS_PYTHON`
//! names an interpreter that has the first two, `DISK_PEERS_NODE` a folder `node_modules` with the third.
#![allow(clippy::print_stderr)]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{Loop, MIB, content_of, open, raw_disk, sample};
use disk_stream::{Existing, Opening, Parents, Upload};
use sha2::{Digest, Sha256};

/// Prints the SHA-256 of a disk, which a parent may belong to.
const LIBVHDI: &str = "
import hashlib, sys, pyvhdi
files = [pyvhdi.file() for _ in sys.argv[1:]]
for file, path in zip(files, sys.argv[1:]):
    file.open(path)
for child, parent in zip(files, files[1:]):
    child.set_parent(parent)
left, sum = files[0].get_media_size(), hashlib.sha256()
while left:
    piece = files[0].read(min(left, 1 << 20))
    sum.update(piece)
    left -= len(piece)
print(sum.hexdigest())
";

const DISSECT: &str = "
import hashlib, sys
from dissect.hypervisor.disk.vhd import VHD
disk = VHD(open(sys.argv[1], 'rb'))
sum = hashlib.sha256()
while piece := disk.read(1 << 20):
    sum.update(piece)
print(sum.hexdigest())
";

/// Prints the SHA-256 of a disk, or writes one with pieces of 64 KiB at these places, each of one byte.
const VHD_LIB: &str = "
const fs = require('fs'), vhd = require('vhd-lib');
const files = {
  openFile: (path, flags) => fs.promises.open(path, flags),
  closeFile: file => file.close(),
  read: (file, buffer, at) => file.read(buffer, 0, buffer.length, at),
  getSize: async file => (await file.stat()).size,
};
const [path, ...places] = process.argv.slice(1);
const content = function* () {
  for (const at of places.map(Number)) yield { logicalAddressBytes: at, data: Buffer.alloc(65536, at / 65536 + 1) };
};
if (places.length === 0) {
  const sum = require('crypto').createHash('sha256');
  vhd.createContentStream(files, path).on('data', bytes => sum.update(bytes)).on('end', () => console.log(sum.digest('hex')));
} else {
  vhd.createReadableSparseStream(22 << 20, 65536, places.map(Number), content())
    .then(stream => stream.pipe(fs.createWriteStream(path)));
}
";

/// Whether a library is there; it must be if `said` says so.
fn has(what: &str, said: &str, probe: &mut Command) -> bool {
    let found = probe.output().is_ok_and(|output| output.status.success());
    if !found {
        assert!(std::env::var_os(said).is_none(), "{what} is not installed, and {said} says that it is");
        eprintln!("skipped: {what} is not installed");
    }
    found
}

fn python(script: &str) -> Command {
    let mut command = Command::new(std::env::var_os("DISK_PEERS_PYTHON").unwrap_or("python3".into()));
    command.args(["-c", script]);
    command
}

fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    if let Some(modules) = std::env::var_os("DISK_PEERS_NODE") {
        command.env("NODE_PATH", modules);
    }
    command.args(["-e", script, "--"]);
    command
}

fn said(output: &Output, what: &str) -> String {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn sha256(disk: &[u8]) -> String {
    Sha256::digest(disk).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files by name, each with the digest of its disk: dynamic, aligned, fixed; and one that was on a device, with the
/// space that was left there before its last footer.
fn files(folder: &Path) -> Vec<(&'static str, String)> {
    let image = open(&sample(folder)).unwrap();
    let aligned = Upload { aligned: true, ..Upload::default() };
    image.save_vhd(&folder.join("dynamic.vhd"), Existing::Refuse, &Upload::default()).unwrap();
    image.save_vhd(&folder.join("aligned.vhd"), Existing::Refuse, &aligned).unwrap();
    image.save_fixed_vhd(&folder.join("fixed.vhd"), Existing::Refuse, &Upload::default()).unwrap();
    let mut names = vec!["dynamic.vhd", "aligned.vhd", "fixed.vhd"];
    let backing = folder.join("device.vhd");
    std::fs::write(&backing, vec![0xa5; 30 << 20]).unwrap();
    if let Some(device) = Loop::over(&backing) {
        image.save_vhd(&device.0, Existing::Replace, &Upload::default()).unwrap();
        names.push("device.vhd");
    }
    let digest = |name| (name, sha256(&content_of(&open(&folder.join(name)).unwrap())));
    names.into_iter().map(digest).collect()
}

#[test]
fn libvhdi_reads_ours() {
    if !has("libvhdi", "DISK_PEERS_PYTHON", &mut python("import pyvhdi")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, expected) in files(folder.path()) {
        let output = python(LIBVHDI).arg(folder.path().join(name)).output().unwrap();
        assert_eq!(said(&output, name), expected, "{name}");
    }
    // A chain.
    let other = folder.path().join("other.raw");
    raw_disk(&other, 22 * MIB, &[(0, 5000), (7 * MIB, MIB)]);
    let (disk, base) = (open(&other).unwrap(), open(&folder.path().join("dynamic.vhd")).unwrap());
    let child = folder.path().join("child.vhd");
    disk.save_difference(&base, &child, Existing::Refuse, &Upload::default()).unwrap();
    let output = python(LIBVHDI).arg(&child).arg(base.path()).output().unwrap();
    let parents = Parents::Within(folder.path().to_owned());
    let opening = Opening { parents, ..Opening::default() };
    let chain = disk_stream::Image::open_with(&child, &opening).unwrap();
    assert_eq!(said(&output, "a chain"), sha256(&content_of(&chain)));
}

#[test]
fn dissect_reads_ours() {
    if !has("dissect.hypervisor", "DISK_PEERS_PYTHON", &mut python("from dissect.hypervisor.disk import vhd"))
    {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, expected) in files(folder.path()) {
        let output = python(DISSECT).arg(folder.path().join(name)).output().unwrap();
        assert_eq!(said(&output, name), expected, "{name}");
    }
}

#[test]
fn vhd_lib_reads_ours_and_we_read_its() {
    if !has("vhd-lib", "DISK_PEERS_NODE", &mut node("require('vhd-lib')")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // It reads no fixed disks.
    for (name, expected) in files(folder.path()).into_iter().filter(|(name, _)| *name != "fixed.vhd") {
        let output = node(VHD_LIB).arg(folder.path().join(name)).output().unwrap();
        assert_eq!(said(&output, name), expected, "{name}");
    }
    // Bitmaps with the written sectors only, a table that is longer than the disk, a size of whole cylinders.
    let places: [u64; 4] = [0, 65536, 4 * MIB, 9 * MIB];
    let path = folder.path().join("theirs.vhd");
    let output = node(VHD_LIB).arg(&path).args(places.map(|at| at.to_string())).output().unwrap();
    said(&output, "it writes");
    let theirs = open(&path).unwrap();
    let mut disk = vec![0; usize::try_from(theirs.virtual_size()).unwrap()];
    for at in places {
        let start = usize::try_from(at).unwrap();
        disk[start..start + 65536].fill((at / 65536 + 1) as u8);
    }
    assert!(content_of(&theirs) == disk);
    let output = node(VHD_LIB).arg(&path).output().unwrap();
    assert_eq!(said(&output, "it reads its own"), sha256(&disk));
}
