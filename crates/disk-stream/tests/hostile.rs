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
    Consume, Declared, Error, Existing, Image, Opening, Parents, Progress, RawSink, Recode, Upload,
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
