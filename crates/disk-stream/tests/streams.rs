//! Disks that arrive: written at once, written anew while they pass, as archives, to devices.
#![allow(clippy::print_stderr)]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::layers::{layers, render};
use common::{
    MIB, Shared, collect, content_of, feed, fixed_upload, has, names, open, raw_disk, run, sample, text,
};
use disk_stream::{
    Digesting, Error, Existing, Image, Progress, RawSink, Recode, TarChecksum, TarError, Upload, enlarge_pipe,
};
use proptest::prelude::*;

async fn vhd_of(image: &Image) -> Vec<u8> {
    collect(image.vhd_body(fixed_upload()).await.unwrap()).await
}

fn recode(stream: &[u8]) -> Result<(Vec<u8>, u64), Error> {
    let output = Shared::default();
    let saved = feed(Recode::new(output.clone(), fixed_upload()), stream, &Progress::new())?;
    Ok((output.take(), saved.stream_len))
}

/// The same by way of two pipes, or a file and a pipe, between which data go without being looked at.
fn recode_pipes(stream: &[u8], from_file: bool, large: bool) -> Result<(Vec<u8>, u64), Error> {
    let (input, mut feeder) = std::io::pipe().unwrap();
    let (mut result, output) = std::io::pipe().unwrap();
    if large {
        enlarge_pipe(&input);
        enlarge_pipe(&output);
    }
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(stream, 0).unwrap();
    let input = if from_file {
        drop(input);
        file
    } else {
        File::from(OwnedFd::from(input))
    };
    std::thread::scope(|scope| {
        // Whoever has seen enough closes its end.
        scope.spawn(move || stream.chunks(70_001).try_for_each(|piece| feeder.write_all(piece)));
        let result = scope.spawn(move || {
            let mut bytes = Vec::new();
            result.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let (input, progress) = (input, Progress::new());
        let done = Recode::new(File::from(OwnedFd::from(output)), fixed_upload()).feed_all(&input, &progress);
        drop(input);
        let bytes = result.join().unwrap();
        let now = progress.snapshot();
        done.map(|saved| {
            assert!(now.data_bytes <= now.data_size && now.virtual_bytes <= now.virtual_size, "{now:?}");
            (bytes, saved.stream_len)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_through_unseen_is_the_same(
        layer in layers().prop_map(|mut layers| layers.swap_remove(0)),
        cut in prop::option::of(any::<prop::sample::Index>()),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        from_file in any::<bool>(),
        large in any::<bool>(),
    ) {
        let mut stream = render(&layer, 0, None, &mut Vec::new());
        if let Some((place, byte)) = damage {
            *place.get_mut(&mut stream) = byte;
        }
        stream.truncate(cut.map_or(usize::MAX, |cut| cut.index(stream.len())));
        match (recode(&stream), recode_pipes(&stream, from_file, large)) {
            (Ok(seen), Ok(unseen)) => prop_assert!(seen == unseen),
            (Err(seen), Err(unseen)) => prop_assert_eq!(seen.to_string(), unseen.to_string()),
            (seen, unseen) => prop_assert!(false, "{:?}, {:?}", seen.err(), unseen.err()),
        }
    }
}

#[tokio::test]
async fn a_vhd_written_anew_is_ours() {
    let folder = tempfile::tempdir().unwrap();
    let image = open(&sample(folder.path())).unwrap();
    let vhd = vhd_of(&image).await;
    let (again, len) = recode(&vhd).unwrap();
    assert_eq!(again.len() as u64, len);
    assert!(again == vhd, "what is canonical stays as it is");
    for from_file in [false, true] {
        assert!(recode_pipes(&vhd, from_file, true).unwrap() == (again.clone(), len));
    }
    for cut in [100, 2000, vhd.len() / 2, vhd.len() - 1] {
        let output = Shared::default();
        feed(Recode::new(output.clone(), fixed_upload()), &vhd[..cut], &Progress::new()).unwrap_err();
        let written = output.take();
        assert!(written.len() < vhd.len() && vhd.starts_with(&written), "cut at {cut}: a beginning at most");
    }
}

#[test]
fn others_vhds_are_written_anew() {
    if !has("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let raw = sample(folder.path());
    let image = open(&raw).unwrap();
    let theirs = folder.path().join("theirs.vhd");
    run("qemu-img", &["convert", "-O", "vpc", "-o", "force_size=on", text(&raw), text(&theirs)]);
    let (ours, _) = recode(&std::fs::read(&theirs).unwrap()).unwrap();
    let path = folder.path().join("ours.vhd");
    std::fs::write(&path, ours).unwrap();
    assert!(content_of(&open(&path).unwrap()).starts_with(&content_of(&image)));
    // Also of a qcow2 image, and in one piece to a raw disk.
    let qcow2 = folder.path().join("disk.qcow2");
    run("qemu-img", &["convert", "-O", "qcow2", text(&raw), text(&qcow2)]);
    let streamable = in_order(&qcow2);
    let (ours, _) = recode(&streamable).unwrap();
    std::fs::write(&path, ours).unwrap();
    assert!(content_of(&open(&path).unwrap()).starts_with(&content_of(&image)));
    let back = folder.path().join("back.raw");
    let progress = Progress::new();
    feed(RawSink::of_any(&back, Existing::Refuse).unwrap(), &streamable, &progress).unwrap();
    assert!(std::fs::read(&back).unwrap() == content_of(&image));
    let now = progress.snapshot();
    assert_eq!((now.data_bytes, now.virtual_size), (now.data_size, image.virtual_size()));
}

/// A qcow2 image as XAPI orders it: all tables, then the clusters in the disk's order. Made from one by
/// `qemu-img` with one L2 table.
fn in_order(path: &Path) -> Vec<u8> {
    const CLUSTER: usize = 64 << 10;
    let file = std::fs::read(path).unwrap();
    let word = |at: usize| u64::from_be_bytes(file[at..at + 8].try_into().unwrap());
    let offset = |entry: u64| usize::try_from(entry & 0x00ff_ffff_ffff_fe00).unwrap();
    let mut out = file[..CLUSTER].to_vec();
    // Header, (no) reference counts, L1, L2, data.
    out.resize(3 * CLUSTER, 0);
    out[40..48].copy_from_slice(&(CLUSTER as u64).to_be_bytes());
    out[48..60].fill(0);
    out[CLUSTER..CLUSTER + 8].copy_from_slice(&(2 * CLUSTER as u64).to_be_bytes());
    let l2 = offset(word(offset(word(40))));
    for entry in (0..CLUSTER).step_by(8) {
        let from = word(l2 + entry);
        if offset(from) != 0 {
            let to = out.len() as u64;
            out[2 * CLUSTER + entry..2 * CLUSTER + entry + 8].copy_from_slice(&to.to_be_bytes());
            out.extend_from_slice(&file[offset(from)..][..CLUSTER]);
        }
    }
    out
}

#[tokio::test]
async fn blocks_in_any_order_make_a_raw_disk_and_no_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let image = open(&sample(folder.path())).unwrap();
    let mut vhd = vhd_of(&image).await;
    // The first two blocks change places: in the table, and in the file.
    let table = 1536;
    let entry = |vhd: &[u8], at: usize| u32::from_be_bytes(vhd[at..at + 4].try_into().unwrap());
    let (a, b) = (table, table + 4);
    assert!(entry(&vhd, a) != u32::MAX && entry(&vhd, b) != u32::MAX);
    let (first, second) = (entry(&vhd, a) as usize * 512, entry(&vhd, b) as usize * 512);
    for i in 0..4 {
        vhd.swap(a + i, b + i);
    }
    let (left, right) = vhd.split_at_mut(second);
    left[first..].swap_with_slice(&mut right[..second - first]);
    let path = folder.path().join("disk.raw");
    feed(RawSink::of_any(&path, Existing::Refuse).unwrap(), &vhd, &Progress::new()).unwrap();
    assert!(std::fs::read(&path).unwrap().starts_with(&content_of(&image)));
    let output = Shared::default();
    let error = feed(Recode::new(output.clone(), fixed_upload()), &vhd, &Progress::new()).unwrap_err();
    assert!(matches!(error, Error::OutOfOrder), "{error:?}");
    assert!(output.take().is_empty(), "nothing was written before it was known");
}

/// Behind the first chunk of 1 MiB and its checksum, of archives with chunks of that size.
const HEADER_OF_THE_SECOND: usize = 512 + MIB as usize + 2 * 512;

#[tokio::test]
async fn archives() {
    let folder = tempfile::tempdir().unwrap();
    let raw = sample(folder.path());
    let image = open(&raw).unwrap();
    for checksum in [TarChecksum::Xxhash, TarChecksum::Sha1] {
        let body = image.tar_body(Upload::default(), checksum).await.unwrap();
        let len = body.stream_len();
        let tar = collect(body).await;
        assert_eq!(tar.len() as u64, len);
        let path = folder.path().join("back.raw");
        feed(RawSink::of_any(&path, Existing::Replace).unwrap(), &tar, &Progress::new()).unwrap();
        assert!(std::fs::read(&path).unwrap() == std::fs::read(&raw).unwrap());
        // Whatever is cut off or changed is noticed, and nothing is left behind.
        std::fs::remove_file(&path).unwrap();
        let take = |stream: &[u8]| {
            feed(RawSink::of_any(&path, Existing::Refuse).unwrap(), stream, &Progress::new()).unwrap_err()
        };
        for cut in [0, 100, 512, 5000, tar.len() / 2, tar.len() - 1024, tar.len() - 512] {
            take(&tar[..cut]);
        }
        let mut wrong = tar.clone();
        wrong[600] ^= 1;
        let error = take(&wrong);
        assert!(matches!(error, Error::Tar(TarError::Checksum { .. })), "{error:?}");
        // A disk does not end where a header was lost, nor is there another one behind it.
        let mut lost = tar.clone();
        lost[HEADER_OF_THE_SECOND..][..512].fill(0);
        for stream in [lost, [&tar[..], &tar].concat(), [&tar[..], b"rest"].concat()] {
            let error = take(&stream);
            assert!(matches!(error, Error::Tar(TarError::Header { .. })), "{error:?}");
        }
        assert_eq!(names(folder.path()), ["sample.raw"]);
        if has("tar") {
            let archive = folder.path().join("disk.tar");
            std::fs::write(&archive, &tar).unwrap();
            let list = run("tar", &["-tf", text(&archive)]);
            let lines: Vec<&str> = list.lines().collect();
            assert_eq!(lines.first(), Some(&"vdi/00000000"));
            assert_eq!(lines.len() % 2, 0);
            assert!(lines[lines.len() - 2] == "vdi/00000021", "the last chunk is always there: {lines:?}");
            std::fs::remove_file(&archive).unwrap();
        }
    }
}

/// An archive by hand: names, contents, and what is said of their checksums.
fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in members {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

#[test]
fn lying_archives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.raw");
    let (none, a) = (b"EF46DB3751D8E999".as_slice(), b"D24EC4F1A98C6E5B".as_slice());
    let (first, sum) = (("Ref:1/00000000", b"a".as_slice()), ("Ref:1/00000000.xxhash", a));
    type Members<'a> = Vec<(&'a str, &'a [u8])>;
    let cases: Vec<(&str, Members, &str)> = vec![
        ("one byte", vec![first, sum], ""),
        (
            "kept alive",
            vec![
                first,
                sum,
                ("Ref:1/00000001", b""),
                ("Ref:1/00000001.xxhash", none),
                ("Ref:1/00000004", b"a"),
                ("Ref:1/00000004.xxhash", a),
            ],
            "",
        ),
        ("no checksum", vec![first], "Header"),
        ("two chunks, one checksum", vec![first, ("Ref:1/00000001", b"a")], "Member"),
        ("the checksum of another", vec![first, ("Ref:1/00000001.xxhash", a)], "Member"),
        ("a short checksum", vec![first, ("Ref:1/00000000.xxhash", b"D24E")], "Member"),
        ("backwards", vec![first, sum, first, sum], "Member"),
        ("two disks", vec![first, sum, ("Ref:2/00000001", b"a"), ("Ref:2/00000001.xxhash", a)], "Member"),
        ("longer than the first", vec![first, sum, ("Ref:1/00000001", b"ab")], "Member"),
        ("not from the start", vec![("Ref:1/00000003", b"a"), ("Ref:1/00000003.xxhash", a)], "UnknownStream"),
        (
            "a way out",
            vec![("../00000000", b"a"), ("../00000000.xxhash", a), ("/etc/passwd", b"a")],
            "Member",
        ),
        ("nothing", vec![], "UnknownStream"),
    ];
    for (name, members, expected) in cases {
        let sink = RawSink::of_any(&path, Existing::Replace).unwrap();
        let result = feed(sink, &archive(&members), &Progress::new());
        let text = format!("{:?}", result.as_ref().err());
        assert!(if expected.is_empty() { result.is_ok() } else { text.contains(expected) }, "{name}: {text}");
    }
}

#[tokio::test]
async fn digests_are_those_of_the_bytes() {
    use sha2::{Digest, Sha256};
    let folder = tempfile::tempdir().unwrap();
    let image = open(&sample(folder.path())).unwrap();
    let (body, digest) = image.vhd_body(fixed_upload()).await.unwrap().with_digest();
    let stream = collect(body).await;
    let expected: String = Sha256::digest(&stream).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest.wait().await.as_ref(), Some(&expected));
    let sink = RawSink::of_vhd(&folder.path().join("b.raw"), Existing::Refuse).unwrap();
    let (_, found) = feed(Digesting::new(sink), &stream, &Progress::new()).unwrap();
    assert_eq!(found, expected);
    // One that nobody reads to its end has none.
    let (body, digest) = image.vhd_body(fixed_upload()).await.unwrap().with_digest();
    drop(body);
    assert_eq!(digest.wait().await, None);
}

#[tokio::test]
async fn progress_counts_what_is_allocated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse.raw");
    raw_disk(&path, 900 * MIB, &[(0, 100), (800 * MIB, 3 * MIB)]);
    let image = open(&path).unwrap();
    let body = image.vhd_body(Upload::default()).await.unwrap();
    let progress = body.progress();
    collect(body).await;
    let now = progress.snapshot();
    assert_eq!((now.data_bytes, now.data_size), (6 * MIB, 6 * MIB));
    assert_eq!((now.virtual_bytes, now.virtual_size), (900 * MIB, 900 * MIB));
}
