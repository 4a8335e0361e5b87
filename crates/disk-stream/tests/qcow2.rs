//! qcow2 images, made by `qemu-img` in every way it knows, beside what it reads of them itself.

mod common;

use std::os::unix::fs::FileExt;

use common::{MIB, content_of, has, open, run, sample, text};
use disk_stream::{Declared, Error, Existing, Format, Image, Upload};
use vhd::zero;

/// Options of `qemu-img convert -O qcow2`, and whether it compresses.
const SUBFORMATS: &[(&str, bool)] = &[
    ("compat=1.1", false),
    ("compat=0.10", false),
    ("cluster_size=512", false),
    ("cluster_size=4k", false),
    ("cluster_size=2M", false),
    ("extended_l2=on", false),
    ("extended_l2=on,cluster_size=16k", false),
    ("preallocation=metadata", false),
    ("preallocation=falloc", false),
    ("lazy_refcounts=on", false),
    ("refcount_bits=1", false),
    ("compat=1.1", true),
    ("compat=0.10", true),
    ("cluster_size=512", true),
    ("cluster_size=2M", true),
    ("extended_l2=on", true),
    ("compression_type=zstd", true),
    ("compression_type=zstd,cluster_size=2M", true),
];

#[test]
fn all_that_qemu_writes_is_read() {
    if !has("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let raw = sample(folder.path());
    let expected = std::fs::read(&raw).unwrap();
    for (options, compressed) in SUBFORMATS {
        let path = folder.path().join("disk.qcow2");
        let mut arguments = vec!["convert", "-O", "qcow2", "-o", options];
        if *compressed {
            arguments.push("-c");
        }
        run("qemu-img", &[&arguments[..], &[text(&raw), text(&path)]].concat());
        let image = open(&path).unwrap_or_else(|error| panic!("{options}: {error:?}"));
        assert_eq!((image.format(), image.virtual_size()), (Format::Qcow2, expected.len() as u64));
        assert!(content_of(&image) == expected, "{options}, compressed: {compressed}");
        // In odd pieces, backwards.
        let mut reader = image.reader();
        let mut buffer = vec![1; 77_777];
        for at in (0..expected.len()).step_by(77_777).rev() {
            reader.read(at as u64, &mut buffer).unwrap();
            let len = buffer.len().min(expected.len() - at);
            assert!(buffer[..len] == expected[at..at + len] && zero::is_zero(&buffer[len..]), "{options}");
        }
        let vhd = folder.path().join("disk.vhd");
        image.save_vhd(&vhd, Existing::Replace, &Upload::default()).unwrap();
        run("qemu-img", &["compare", "-f", "vpc", "-F", "qcow2", text(&vhd), text(&path)]);
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn what_is_not_there_is_not_read() {
    if !has("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.qcow2");
    // Far larger than could be looked through.
    run("qemu-img", &["create", "-q", "-f", "qcow2", text(&path), "60T"]);
    let image = open(&path).unwrap();
    assert_eq!(image.virtual_size(), 60 << 40);
    assert_eq!(image.reader().next_data(0, u64::MAX).unwrap(), None);
    let error = image.save_vhd(&folder.path().join("a.vhd"), Existing::Refuse, &Upload::default());
    assert!(matches!(error, Err(Error::Layout { .. })), "{error:?}");
}

#[test]
fn parts_of_disks_are_refused_by_name() {
    if !has("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (base, leaf) = (folder.path().join("base.raw"), folder.path().join("leaf.qcow2"));
    common::raw_disk(&base, MIB, &[(0, 512)]);
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "raw", "-b", text(&base), text(&leaf)]);
    let error = open(&leaf).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("base.raw"), "{source}");
    let outside = folder.path().join("outside.qcow2");
    let option = format!("data_file={}", text(&folder.path().join("data.raw")));
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-o", &option, text(&outside), "1M"]);
    let error = open(&outside).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("data.raw"), "{source}");
    // Said to be raw, they are what they are.
    assert_eq!(Image::open_blocking(&leaf, Declared::Raw).unwrap().format(), Format::Raw);
    assert!(Image::open_blocking(&base, Declared::Qcow2).is_err());
}

#[test]
fn no_parent_of_a_vhd() {
    if !has("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let raw = sample(folder.path());
    let base = folder.path().join("base.qcow2");
    run("qemu-img", &["convert", "-O", "qcow2", text(&raw), text(&base)]);
    let disk = std::fs::File::options().write(true).open(&raw).unwrap();
    disk.write_all_at(b"changed", 5 * MIB).unwrap();
    let child = folder.path().join("child.vhd");
    let (disk, base) = (open(&raw).unwrap(), open(&base).unwrap());
    let error = disk.save_difference(&base, &child, Existing::Refuse, &Upload::default());
    assert!(matches!(error, Err(Error::Layout { .. })), "{error:?}");
    assert!(!child.exists());
    let differing = disk.differing_blocks(&base, &disk_stream::Progress::new()).unwrap();
    assert_eq!(differing.iter().collect::<Vec<_>>(), [2]);
}
