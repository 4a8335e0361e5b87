//! What only shows with several files, a full disk or a reader that is gone: each with its verdict.
//!
//! What shows in one file or stream is in `vhd/tests/hostile.rs`, what is in an archive in `unpack.rs`,
//! where parents may be in `chain.rs`.

#![allow(clippy::print_stderr)]

mod common;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::symlink;

use common::layers::{Layer, render, uuid};
use common::*;
use disk_stream::{
    Consume, Declared, Error, Existing, Image, Inspected, Opening, Parents, Progress, RawSink, Recode,
    Upload, coalesce,
};
use tempfile::{TempDir, tempdir};
use vhd::chain::{ChainError, ChainWarning};
use vhd::format::{BLOCK_SIZE, Creator, DiskType, Footer, Timestamp};
use vhd::layout::Parent;

fn layer(size: u64, writes: Vec<(u64, u64, u8)>) -> Layer {
    Layer { block_size: BLOCK_SIZE, size, writes }
}

/// A root and a leaf of these sizes as `0.vhd` and `1.vhd`, and the disk.
fn pair(root: u64, leaf: u64) -> (TempDir, Vec<u8>) {
    let (folder, mut disk) = (tempdir().unwrap(), Vec::new());
    let parent = Parent { uuid: uuid(0), timestamp: Timestamp(0), path: "0.vhd".to_owned() };
    let root = render(&layer(root, vec![(0, 900, 1)]), 0, None, &mut disk);
    let leaf = render(&layer(leaf, vec![(7, 9, 2)]), 1, Some(&parent), &mut disk);
    std::fs::write(folder.path().join("0.vhd"), root).unwrap();
    std::fs::write(folder.path().join("1.vhd"), leaf).unwrap();
    (folder, disk)
}

fn open_chain(folder: &TempDir, parents: Parents) -> Result<Image, Error> {
    Image::open_with(&folder.path().join("1.vhd"), &Opening { parents, ..Opening::default() })
}

#[test]
fn sizes_of_leaf_and_parent() {
    for (root, leaf) in [(4 * MIB, 4 * MIB), (4 * MIB, 9 * MIB), (9 * MIB, 4 * MIB)] {
        let (folder, disk) = pair(root, leaf);
        let image = open_chain(&folder, Parents::Within(folder.path().to_owned())).unwrap();
        assert!(content_of(&image) == disk, "{root} below {leaf}");
        let smaller = ChainWarning::ChildSmaller { layer: 0, size: leaf, parent: root };
        assert_eq!(image.chain_warnings().contains(&smaller), leaf < root);
    }
}

#[test]
fn two_files_with_the_uuid_of_the_parent() {
    let (folder, _) = pair(4 * MIB, 4 * MIB);
    let at = |name: &str| folder.path().join(name);
    std::fs::copy(at("0.vhd"), at("copy.vhd")).unwrap();
    let found = open_chain(&folder, Parents::Among(vec![folder.path().to_owned()]));
    assert!(matches!(found, Err(Error::Chain { source: ChainError::Ambiguous { .. }, .. })), "{found:?}");
    // The same file by two names is no question.
    std::fs::remove_file(at("copy.vhd")).unwrap();
    symlink(at("0.vhd"), at("copy.vhd")).unwrap();
    open_chain(&folder, Parents::Among(vec![folder.path().to_owned()])).unwrap();
}

#[test]
fn what_a_guest_wrote_does_not_make_the_format() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("disk");
    let creator = Creator { application: *b"test", version: 0x0001_0000, os: [0; 4] };
    let footer = |kind| Footer::new(kind, 4 * MIB, uuid(1), Timestamp(1), creator).to_bytes();
    let guest = |start: &[u8]| {
        let mut disk = vec![7; 4 << 20];
        disk[..start.len()].copy_from_slice(start);
        disk
    };
    // A raw disk that looks like something else is raw to whom that is said, and never silently a VHD.
    for start in [&footer(DiskType::Dynamic)[..], &footer(DiskType::Differencing), b"QFI\xfb\0\0\0\x03"] {
        std::fs::write(&path, guest(start)).unwrap();
        assert!(open(&path).is_err());
        assert!(content_of(&Image::open_blocking(&path, Declared::Raw).unwrap()) == guest(start));
    }
    // A fixed VHD is one by its end. A guest that writes the beginning of another type gets nothing by it.
    let fixed = |start: &[u8]| [guest(start), footer(DiskType::Fixed).to_vec()].concat();
    for start in [&footer(DiskType::Fixed)[..], b"QFI\xfb\0\0\0\x03"] {
        std::fs::write(&path, fixed(start)).unwrap();
        let image = open(&path).unwrap();
        assert_eq!(image.map().unwrap().footer().disk_type, DiskType::Fixed);
        assert!(content_of(&image) == guest(start));
    }
    std::fs::write(&path, fixed(&footer(DiskType::Dynamic))).unwrap();
    let refused = open(&path);
    assert!(
        matches!(refused, Err(Error::Format { source: vhd::Error::FooterMismatch { .. }, .. })),
        "{refused:?}"
    );
}

#[test]
fn formats_that_are_not_read_are_no_raw_disks() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("disk");
    for (magic, what) in [
        (&b"KDMV\x03\0\0\0"[..], "a VMDK image"),
        (b"# Disk DescriptorFile\n", "a VMDK descriptor"),
        (b"vhdxfile", "a VHDX image"),
        (b"<<< Oracle VM VirtualBox Disk Image >>>\n", "a VDI of VirtualBox"),
        (b"<<< QEMU VM Virtual Disk Image >>>\n", "a VDI of VirtualBox"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\xfd7zXZ\0", "an xz stream"),
        (b"BZh9", "a bzip2 stream"),
    ] {
        let mut bytes = magic.to_vec();
        bytes.resize(1 << 20, 7);
        std::fs::write(&path, bytes).unwrap();
        let error = Image::open_blocking(&path, Declared::Unknown).unwrap_err().to_string();
        assert!(error.contains(what) && error.contains("qemu-img convert -O qcow2"), "{error}");
        // A guest may have written that: whoever knows that it is a disk says so.
        assert_eq!(Image::open_blocking(&path, Declared::Raw).unwrap().virtual_size(), 1 << 20);
    }
}

#[test]
fn a_disk_may_replace_its_own_source() {
    let (folder, disk) = pair(4 * MIB, 4 * MIB);
    let leaf = folder.path().join("1.vhd");
    let image = open_chain(&folder, Parents::Within(folder.path().to_owned())).unwrap();
    let exact = Upload { virtual_size: Some(disk.len() as u64), ..Upload::default() };
    assert!(matches!(image.save_raw(&leaf, Existing::Refuse, &exact), Err(Error::Exists { .. })));
    image.save_vhd(&leaf, Existing::Replace, &exact).unwrap();
    assert!(content_of(&open(&leaf).unwrap()) == disk);
    open(&leaf).unwrap().save_raw(&leaf, Existing::Replace, &exact).unwrap();
    assert!(std::fs::read(&leaf).unwrap() == disk);
    assert_eq!(names(folder.path()), ["0.vhd", "1.vhd"]);
}

#[test]
fn nothing_replaces_what_other_disks_stand_on() {
    let (folder, disk) = pair(4 * MIB, 4 * MIB);
    let at = |name: &str| folder.path().join(name);
    let image = open_chain(&folder, Parents::Within(folder.path().to_owned())).unwrap();
    let base = open(&at("0.vhd")).unwrap();
    std::fs::write(at("other.raw"), &disk).unwrap();
    let other = open(&at("other.raw")).unwrap();
    std::fs::hard_link(at("0.vhd"), at("linked")).unwrap();
    let (upload, replace) = (Upload::default(), Existing::Replace);
    for (what, result) in [
        ("a child onto its parent", image.save_vhd(&at("0.vhd"), replace, &upload)),
        ("by another name", image.save_raw(&at("linked"), replace, &upload)),
        ("a child onto the parent it gets", other.save_difference(&base, &at("0.vhd"), replace, &upload)),
        ("the same below it", other.save_difference(&image, &at("0.vhd"), replace, &upload)),
        ("a parent onto itself", base.save_qcow2(&at("0.vhd"), replace, &upload)),
    ] {
        assert!(matches!(&result, Err(Error::Refused { .. })), "{what}: {result:?}");
    }
    assert!(content_of(&image) == disk);
    // What stays the same disk may take the place of its leaf.
    let upload = Upload { uuid: image.layers()[0].link().uuid, ..upload };
    image.save_difference(&base, &at("1.vhd"), replace, &upload).unwrap();
    let image = open_chain(&folder, Parents::Within(folder.path().to_owned())).unwrap();
    assert!(content_of(&image) == disk);
}

/// As QEMU does for a guest that runs.
#[test]
fn what_a_guest_runs_on_is_not_written() {
    use std::io::Read;
    if !has("qemu-io") {
        return;
    }
    let (folder, disk) = pair(4 * MIB, 4 * MIB);
    let root = folder.path().join("0.vhd");
    let mut guest = std::process::Command::new("qemu-io")
        .args(["-f", "raw", "-r", text(&root)])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Its prompt: it has opened the image.
    guest.stdout.as_mut().unwrap().read_exact(&mut [0; 7]).unwrap();
    let before = std::fs::read(&root).unwrap();
    let opening = Opening { parents: Parents::Within(folder.path().to_owned()), ..Opening::default() };
    let merged = coalesce(&folder.path().join("1.vhd"), &opening, &Progress::new()).map(drop);
    let repaired = Inspected::repair(&root).map(drop);
    std::fs::write(folder.path().join("other.raw"), &disk).unwrap();
    let other = open(&folder.path().join("other.raw")).unwrap();
    let replaced = other.save_raw(&root, Existing::Replace, &Upload::default()).map(drop);
    for result in [merged, repaired] {
        assert!(matches!(&result, Err(Error::InUse { .. })), "{result:?}");
    }
    // It is another disk's parent besides, which is looked at first.
    assert!(matches!(&replaced, Err(Error::Refused { .. })), "{replaced:?}");
    let elsewhere = tempdir().unwrap();
    let alone = elsewhere.path().join("alone.vhd");
    std::fs::rename(&root, &alone).unwrap();
    let replaced = other.save_raw(&alone, Existing::Replace, &Upload::default()).map(drop);
    assert!(matches!(&replaced, Err(Error::InUse { .. })), "{replaced:?}");
    std::fs::rename(&alone, &root).unwrap();
    assert!(std::fs::read(&root).unwrap() == before);
    drop(guest.stdin.take());
    guest.wait().unwrap();
    coalesce(&folder.path().join("1.vhd"), &opening, &Progress::new()).unwrap();
}

/// A reader that goes away.
struct Gone(usize);

impl Write for Gone {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn recode(to: impl Write + Send + 'static, stream: &[u8]) -> Result<(), Error> {
    let mut recode = Recode::new(to, Upload::default());
    recode.feed(stream, &Progress::new())?;
    recode.finish().map(drop)
}

#[test]
fn an_output_that_takes_no_more() {
    let (folder, _) = pair(4 * MIB, 4 * MIB);
    let stream = std::fs::read(folder.path().join("0.vhd")).unwrap();
    for room in [0, 600, 5000, 1 << 20, (2 << 20) + 2560] {
        let kind = match recode(Gone(room), &stream) {
            Err(Error::Output(source)) => source.kind(),
            other => panic!("{other:?}"),
        };
        assert_eq!(kind, io::ErrorKind::BrokenPipe, "after {room} bytes");
    }
    recode(Gone(usize::MAX), &stream).unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let error = recode(full, &stream).unwrap_err();
    assert!(
        matches!(&error, Error::Output(source) if source.kind() == io::ErrorKind::StorageFull),
        "{error:?}"
    );
}

#[test]
fn a_file_system_that_is_full() {
    let (folder, _) = pair(4 * MIB, 4 * MIB);
    let small = folder.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "none", text(&small)])
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("skipped: nothing can be mounted here");
        return;
    }
    let root = open(&folder.path().join("0.vhd")).unwrap();
    let (vhd, raw, arriving) = (small.join("vhd"), small.join("raw"), small.join("arriving"));
    let stream = std::fs::read(root.path()).unwrap();
    let arrive = || {
        let mut sink = RawSink::of_vhd(&arriving, Existing::Refuse)?;
        sink.feed(&stream, &Progress::new())?;
        sink.finish()
    };
    let full = [
        root.save_vhd(&vhd, Existing::Refuse, &Upload::default()),
        root.save_raw(&raw, Existing::Refuse, &Upload::default()),
        arrive(),
    ];
    let left = names(&small);
    run("umount", &[text(&small)]);
    for result in full {
        assert!(matches!(&result, Err(Error::Write { .. })), "{result:?}");
    }
    assert!(left.is_empty(), "{left:?}");
}

/// What the disk has where, or where the stream is wrong and why.
type ChunkedVerdict<'a> = Result<&'a [(usize, &'a [u8])], (u64, &'a str)>;

/// Records of XAPI's chunked framing, each with its verdict, however they are cut into pieces.
#[test]
fn records_that_lie() {
    const SIZE: u64 = 5000;
    let record =
        |offset: u64, len: u32, data: &[u8]| [&offset.to_le_bytes()[..], &len.to_le_bytes(), data].concat();
    let end = record(0, 0, &[]);
    let good = record(512, 3, b"abc");
    let take = |stream: &[u8], piece: usize| {
        let folder = tempdir().unwrap();
        let path = folder.path().join("disk.raw");
        let mut sink = RawSink::of_chunked(&path, Existing::Refuse, SIZE).unwrap();
        let fed = stream.chunks(piece).try_for_each(|piece| sink.feed(piece, &Progress::new()));
        match fed.and_then(|()| sink.finish()) {
            Ok(saved) => {
                assert_eq!((saved.virtual_size, saved.stream_len), (SIZE, stream.len() as u64));
                Ok(std::fs::read(path).unwrap())
            }
            Err(Error::Chunked(error)) => {
                assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
                Err((error.at, error.why))
            }
            Err(other) => panic!("{other}"),
        }
    };
    let beyond = "goes beyond the end of the disk";
    let empty = "has no data, and does not end the stream either";
    let cut = "is cut off, or the last one is missing";
    let rows: Vec<(&str, Vec<u8>, ChunkedVerdict<'_>)> = vec![
        ("nothing", end.clone(), Ok(&[])),
        (
            "in any order",
            [record(4096, 1, b"z"), good.clone(), end.clone()].concat(),
            Ok(&[(512, b"abc"), (4096, b"z")]),
        ),
        (
            "the later one counts, zeros too",
            [good.clone(), record(513, 1, &[0]), end.clone()].concat(),
            Ok(&[(512, b"a"), (514, b"c")]),
        ),
        (
            "to the end of the last sector",
            [record(4999, 121, &[7; 121]), end.clone()].concat(),
            Ok(&[(4999, &[7])]),
        ),
        ("beyond", [good.clone(), record(5100, 21, &[7; 21]), end.clone()].concat(), Err((15, beyond))),
        ("far beyond", record(u64::MAX, 2, b"ab"), Err((0, beyond))),
        ("long", record(0, u32::MAX, b"ab"), Err((0, beyond))),
        ("without data", [good.clone(), record(512, 0, &[]), end.clone()].concat(), Err((15, empty))),
        ("without an end", good.clone(), Err((15, cut))),
        ("cut in a head", end[..7].to_vec(), Err((0, cut))),
        ("cut in its data", good[..13].to_vec(), Err((13, cut))),
        ("empty", Vec::new(), Err((0, cut))),
        (
            "more behind the end",
            [end.clone(), good.clone()].concat(),
            Err((12, "follows the one that ends it")),
        ),
    ];
    for (name, stream, verdict) in rows {
        for piece in [1, 5, 4096] {
            let mut disk = vec![0; 5000];
            let wanted = verdict.map(|parts| {
                parts.iter().for_each(|(at, bytes)| disk[*at..at + bytes.len()].copy_from_slice(bytes));
                disk
            });
            assert_eq!(take(&stream, piece), wanted, "{name}, in pieces of {piece}");
        }
    }
}
