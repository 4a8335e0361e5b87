//! Disks in archives that GNU tar makes, read where they are.

mod common;

use std::path::{Path, PathBuf};

use common::layers::{Layer, render, uuid};
use common::*;
use disk_stream::{
    Declared, Error, Existing, Format, Image, Opening, Parents, Progress, Upload, apply, inspect,
};
use tempfile::{TempDir, tempdir};
use vhd::format::{BLOCK_SIZE, DiskType, Timestamp};
use vhd::inspect::Grade;
use vhd::layout::Parent;

/// A leaf, a layer between and a root as `0.vhd`, `1.vhd`, `2.vhd`, and the disk.
fn chain() -> (TempDir, Vec<u8>) {
    let (folder, mut disk) = (tempdir().unwrap(), Vec::new());
    for (number, writes) in
        [vec![(0, 900, 1)], vec![(7, 9, 2), (9000, 50, 3)], vec![(40, 4100, 4)]].into_iter().enumerate()
    {
        let parent = number.checked_sub(1).map(|below| Parent {
            uuid: uuid(below),
            timestamp: Timestamp(0),
            path: "parent.vhd".to_owned(),
        });
        let layer = Layer { block_size: BLOCK_SIZE, size: 9 * MIB, writes };
        let file = render(&layer, number, parent.as_ref(), &mut disk);
        std::fs::write(folder.path().join(format!("{}.vhd", 2 - number)), file).unwrap();
    }
    (folder, disk)
}

fn tar(folder: &Path, options: &[&str], members: &[&str]) -> PathBuf {
    let path = folder.join("disk.tar");
    run("tar", &[&["-cf", text(&path), "-C", text(folder)], options, members].concat());
    path
}

#[test]
fn layers_in_an_archive_are_a_chain() {
    let (folder, disk) = chain();
    for (options, members) in [
        (&[][..], &["0.vhd", "1.vhd", "2.vhd"][..]),
        (&["--format=posix"], &["./2.vhd", "./0.vhd", "./1.vhd"]),
        (&["--format=ustar"], &["./1.vhd", "./2.vhd", "./0.vhd"]),
    ] {
        let path = tar(folder.path(), options, members);
        let image = open(&path).unwrap();
        assert_eq!(image.format(), Format::Vhd(DiskType::Differencing));
        let layers: Vec<_> = image.layers().iter().map(|layer| layer.path().to_owned()).collect();
        assert_eq!(layers, ["0.vhd", "1.vhd", "2.vhd"].map(|name| path.join(name)));
        assert!(content_of(&image) == disk, "{members:?}");
        let (raw, vhd) = (folder.path().join("raw"), folder.path().join("vhd"));
        image.save_raw(&raw, Existing::Replace, &Upload::default()).unwrap();
        assert!(std::fs::read(raw).unwrap() == disk);
        let exact = Upload { virtual_size: Some(disk.len() as u64), ..Upload::default() };
        image.save_vhd(&vhd, Existing::Replace, &exact).unwrap();
        assert!(content_of(&open(&vhd).unwrap()) == disk);
        // The leaf alone, as one that only looks opens it.
        let opening = Opening { parents: Parents::Ignore, ..Opening::default() };
        assert_eq!(Image::open_with(&path, &opening).unwrap().layers().len(), 1);
        let reports = inspect(&path, true).unwrap();
        assert_eq!(reports.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), layers);
        // The disk has 9 MiB, and its writer promises a map that is not there.
        assert!(reports.iter().all(|(_, report)| report.grade() != Some(Grade::Fatal)));
        // Said to be raw, it is the archive.
        let raw = Image::open_blocking(&path, Declared::Raw).unwrap();
        assert_eq!(raw.virtual_size(), path.metadata().unwrap().len());
    }
}

#[test]
fn an_appliance_with_one_disk() {
    let (folder, _) = chain();
    std::fs::write(folder.path().join("box.ovf"), "<Envelope/>").unwrap();
    std::fs::write(folder.path().join("box.mf"), "SHA256(...)").unwrap();
    let path = tar(folder.path(), &["--transform=s/2.vhd/box.vhd/"], &["box.ovf", "box.mf", "2.vhd"]);
    let disk = content_of(&open(&folder.path().join("2.vhd")).unwrap());
    assert!(content_of(&open(&path).unwrap()) == disk);
    // Other archives are raw disks, as far as anybody can tell.
    std::fs::write(folder.path().join("notes"), "text").unwrap();
    assert_eq!(open(&tar(folder.path(), &[], &["notes", "2.vhd"])).unwrap().format(), Format::Raw);
}

#[test]
fn bad_archives_are_refused_by_name() {
    let (folder, _) = chain();
    std::fs::write(folder.path().join("box.ovf"), "<Envelope/>").unwrap();
    for (members, reason) in [
        (&["0.vhd", "2.vhd"][..], "no 1.vhd"),
        (&["1.vhd", "2.vhd"], "no 0.vhd"),
        (&["2.vhd", "box.ovf", "box.ovf", "2.vhd"], "several disks"),
        (&["box.ovf"], "no disk"),
    ] {
        match open(&tar(folder.path(), &["--hard-dereference"], members)) {
            Err(Error::Archive { source, .. }) => assert!(source.to_string().contains(reason), "{source}"),
            other => panic!("{members:?}: {other:?}"),
        }
    }
    let missing = open(&tar(folder.path(), &[], &["0.vhd"]));
    assert!(matches!(missing, Err(Error::Chain { .. })), "{missing:?}");
    // Cut short: in the second layer, and in its end mark.
    let path = tar(folder.path(), &[], &["0.vhd", "1.vhd", "2.vhd"]);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let first = folder.path().join("0.vhd").metadata().unwrap().len();
    for len in [first + 5000, first + 600] {
        file.set_len(len).unwrap();
        let cut = open(&path);
        assert!(matches!(cut, Err(Error::Archive { .. })), "{cut:?}");
    }
}

#[test]
fn an_archive_is_read_and_never_written() {
    let (folder, _) = chain();
    let path = tar(folder.path(), &[], &["0.vhd", "1.vhd", "2.vhd"]);
    let before = std::fs::read(&path).unwrap();
    let image = open(&path).unwrap();
    for target in ["1.vhd", ""] {
        let applied = apply(
            &folder.path().join("0.vhd"),
            &path.join(target),
            Declared::Unknown,
            true,
            &Progress::new(),
        );
        assert!(applied.is_err(), "{applied:?}");
    }
    assert!(std::fs::read(&path).unwrap() == before);
    // Changed while it is open, it is another disk.
    std::fs::write(&path, [&before[..], &[0; 512]].concat()).unwrap();
    let saved = image.save_raw(&folder.path().join("raw"), Existing::Refuse, &Upload::default());
    assert!(matches!(saved, Err(Error::Changed { .. })), "{saved:?}");
    assert!(!folder.path().join("raw").exists());
}
