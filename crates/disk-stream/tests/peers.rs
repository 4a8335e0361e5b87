//! What other libraries make of our files: `dissect.hypervisor` and `libvhdi` from PyPI.
//!
//! Optional: a library that is not there is a visible skip. `DISK_PEERS=required` makes it a failure, for
//! machines on which they were installed; `DISK_PEERS_PYTHON` names another interpreter than `python3`.
#![allow(clippy::print_stderr)]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{MIB, content_of, open, raw_disk, sample};
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

/// Whether a library is there.
fn has(what: &str, probe: &mut Command) -> bool {
    let found = probe.output().is_ok_and(|output| output.status.success());
    if !found {
        assert!(std::env::var("DISK_PEERS").as_deref() != Ok("required"), "{what} is not installed");
        eprintln!("skipped: {what} is not installed");
    }
    found
}

fn python(script: &str) -> Command {
    let mut command = Command::new(std::env::var_os("DISK_PEERS_PYTHON").unwrap_or("python3".into()));
    command.args(["-c", script]);
    command
}

fn said(output: &Output, what: &str) -> String {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn sha256(disk: &[u8]) -> String {
    Sha256::digest(disk).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files by name, each with the digest of its disk: dynamic, aligned, fixed.
fn files(folder: &Path) -> Vec<(&'static str, String)> {
    let image = open(&sample(folder)).unwrap();
    let aligned = Upload { aligned: true, ..Upload::default() };
    image.save_vhd(&folder.join("dynamic.vhd"), Existing::Refuse, &Upload::default()).unwrap();
    image.save_vhd(&folder.join("aligned.vhd"), Existing::Refuse, &aligned).unwrap();
    image.save_fixed_vhd(&folder.join("fixed.vhd"), Existing::Refuse, &Upload::default()).unwrap();
    let digest = |name| (name, sha256(&content_of(&open(&folder.join(name)).unwrap())));
    ["dynamic.vhd", "aligned.vhd", "fixed.vhd"].map(digest).to_vec()
}

#[test]
fn libvhdi_reads_ours() {
    if !has("libvhdi", &mut python("import pyvhdi")) {
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
    if !has("dissect.hypervisor", &mut python("from dissect.hypervisor.disk import vhd")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, expected) in files(folder.path()) {
        let output = python(DISSECT).arg(folder.path().join(name)).output().unwrap();
        assert_eq!(said(&output, name), expected, "{name}");
    }
}
