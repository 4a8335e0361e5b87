//! Disks that arrive and leave as all of their bytes in order: raw, or as fixed VHDs.

mod common;

use common::layers::{layers, render};
use common::{MIB, Shared, collect, content_of, feed, fixed_upload, names, open, raw_disk, sample};
use disk_stream::{
    Arriving, Declared, Error, Existing, Flat, Flatten, Image, Progress, RawSink, Saved, TarChecksum, Upload,
};
use proptest::prelude::*;
use tempfile::tempdir;
use vhd::format::DiskType;

fn upload(virtual_size: Option<u64>) -> Upload {
    Upload { virtual_size, ..fixed_upload() }
}

/// What is written, also where the stream is refused.
fn flatten(from: Arriving, to: Flat, size: Option<u64>, stream: &[u8]) -> (Vec<u8>, Result<Saved, Error>) {
    let output = Shared::default();
    let result = feed(Flatten::new(output.clone(), from, to, upload(size)), stream, &Progress::new());
    (output.take(), result)
}

/// The same disk in every form that can arrive: what it is said to be, and the stream.
async fn forms(image: &Image) -> Vec<(Arriving, Vec<u8>)> {
    let vhd = collect(image.vhd_body(upload(None)).await.unwrap()).await;
    vec![
        (Arriving::Raw(image.virtual_size()), collect(image.raw_body(upload(None)).unwrap()).await),
        (Arriving::Unknown, vhd.clone()),
        (Arriving::Vhd, vhd),
        (Arriving::Vhd, collect(image.fixed_vhd_body(upload(None)).unwrap()).await),
        (Arriving::Unknown, collect(image.qcow2_body(upload(None)).await.unwrap()).await),
        (Arriving::Unknown, collect(image.tar_body(upload(None), TarChecksum::Xxhash).await.unwrap()).await),
    ]
}

#[tokio::test]
async fn every_form_becomes_a_fixed_vhd_as_it_passes() {
    let folder = tempdir().unwrap();
    let image = open(&sample(folder.path())).unwrap();
    for size in [None, Some(30 * MIB)] {
        for (from, stream) in forms(&image).await {
            // A VHD of ours has whole blocks.
            let arrived = if stream.starts_with(b"conectix") { 22 * MIB } else { image.virtual_size() };
            let size = size.or(Some(arrived));
            let wanted = collect(image.fixed_vhd_body(upload(size)).unwrap()).await;
            let (written, saved) = flatten(from, Flat::FixedVhd, size, &stream);
            let saved = saved.unwrap();
            assert!(written == wanted, "{from:?}");
            assert_eq!((Some(saved.virtual_size), saved.stream_len), (size, wanted.len() as u64));
            let raw = flatten(from, Flat::Raw, size, &stream).0;
            assert!(raw == wanted[..wanted.len() - 512], "{from:?}");
            // Into a file, without the file's order mattering.
            let path = folder.path().join("sink.vhd");
            let sink = match from {
                Arriving::Unknown => RawSink::of_any(&path, Existing::Replace),
                Arriving::Vhd => RawSink::of_vhd(&path, Existing::Replace),
                Arriving::Raw(size) => RawSink::of_raw(&path, Existing::Replace, size),
            };
            let kept =
                feed(sink.unwrap().fixed_vhd(upload(size)).unwrap(), &stream, &Progress::new()).unwrap();
            assert_eq!((Some(kept.virtual_size), kept.stream_len), (size, stream.len() as u64));
            assert!(std::fs::read(&path).unwrap() == wanted, "{from:?}");
            let image = Image::open_blocking(&path, Declared::Vhd).unwrap();
            assert_eq!(image.map().unwrap().footer().disk_type, DiskType::Fixed);
        }
    }
}

#[tokio::test]
async fn what_is_cut_gets_no_footer() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("small.raw");
    raw_disk(&path, 3 * MIB, &[(5000, 700), (2 * MIB, MIB)]);
    let image = open(&path).unwrap();
    for (from, stream) in forms(&image).await {
        let wanted = flatten(from, Flat::FixedVhd, None, &stream).0;
        // An archive ends with zeros, of which nobody counts the last ones.
        let ends_in_zeros = from == Arriving::Unknown && stream.ends_with(&[0; 1024]);
        let end = if ends_in_zeros { 1024 } else { 1 };
        for len in [0, 1, 511, 600, 2000, stream.len() / 2, stream.len() - end - 512, stream.len() - end] {
            let (written, result) = flatten(from, Flat::FixedVhd, None, &stream[..len]);
            assert!(result.is_err(), "{from:?} cut at {len}");
            assert!(
                wanted.starts_with(&written) && written.len() <= wanted.len() - 512,
                "{from:?} cut at {len}"
            );
        }
        let target = folder.path().join("none.vhd");
        let sink = match from {
            Arriving::Unknown => RawSink::of_any(&target, Existing::Refuse),
            Arriving::Vhd => RawSink::of_vhd(&target, Existing::Refuse),
            Arriving::Raw(size) => RawSink::of_raw(&target, Existing::Refuse, size),
        };
        feed(sink.unwrap().fixed_vhd(upload(None)).unwrap(), &stream[..stream.len() - end], &Progress::new())
            .unwrap_err();
        assert_eq!(names(folder.path()), ["small.raw"]);
    }
}

#[tokio::test]
async fn what_stands_in_the_way_is_told_before_a_byte_is_written() {
    let folder = tempdir().unwrap();
    let image = open(&sample(folder.path())).unwrap();
    let mut vhd = collect(image.vhd_body(upload(None)).await.unwrap()).await;
    let raw = Arriving::Raw(image.virtual_size());
    let refused = |from, size, stream: &[u8]| {
        let (written, result) = flatten(from, Flat::FixedVhd, size, stream);
        assert!(written.is_empty(), "{from:?}");
        result.unwrap_err()
    };
    let small = refused(Arriving::Vhd, Some(22 * MIB - 512), &vhd);
    assert!(matches!(small, Error::DoesNotFit { asked, .. } if asked == 22 * MIB - 512), "{small:?}");
    assert!(matches!(refused(raw, Some(512), b"the first bytes"), Error::DoesNotFit { .. }));
    let large = refused(Arriving::Raw(vhd::format::MAX_VIRTUAL_SIZE + 1), None, b"the first bytes");
    assert!(matches!(large, Error::Layout { source: vhd::Error::TooLarge { .. }, .. }), "{large:?}");
    assert!(matches!(refused(Arriving::Unknown, None, &[7; 9000]), Error::UnknownStream));
    // The first two blocks change places in the file.
    let entry =
        |vhd: &[u8], at: usize| u32::from_be_bytes(vhd[at..at + 4].try_into().unwrap()) as usize * 512;
    let (first, second) = (entry(&vhd, 1536), entry(&vhd, 1540));
    (0..4).for_each(|byte| vhd.swap(1536 + byte, 1540 + byte));
    let (left, right) = vhd.split_at_mut(second);
    left[first..].swap_with_slice(&mut right[..second - first]);
    for from in [Arriving::Vhd, Arriving::Unknown] {
        assert!(matches!(refused(from, None, &vhd), Error::OutOfOrder));
    }
    // Which does not matter in a file.
    let path = folder.path().join("disk.vhd");
    let sink = RawSink::of_any(&path, Existing::Refuse).unwrap().fixed_vhd(upload(None)).unwrap();
    feed(sink, &vhd, &Progress::new()).unwrap();
    assert!(content_of(&open(&path).unwrap()).starts_with(&content_of(&image)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Of any block size, with bitmaps that are not full, and of any size of the disk.
    #[test]
    fn any_vhd_is_the_disk_and_a_footer(layer in layers().prop_map(|mut layers| layers.swap_remove(0))) {
        let mut disk = Vec::new();
        let stream = render(&layer, 0, None, &mut disk);
        // The writer has blocks in the order of its writes.
        let (written, result) = flatten(Arriving::Vhd, Flat::FixedVhd, None, &stream);
        let folder = tempdir().unwrap();
        let path = folder.path().join("disk.vhd");
        let sink = RawSink::of_vhd(&path, Existing::Refuse).unwrap().fixed_vhd(upload(None)).unwrap();
        feed(sink, &stream, &Progress::new()).unwrap();
        let kept = std::fs::read(&path).unwrap();
        disk.resize(disk.len().next_multiple_of(512), 0);
        prop_assert!(kept[..kept.len() - 512] == disk);
        match result {
            Ok(_) => prop_assert!(written == kept),
            Err(Error::OutOfOrder) => prop_assert!(written.is_empty()),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}
