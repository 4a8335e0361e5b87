//! Streams to files, and streams against images.

mod common;

use std::convert::Infallible;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use bytes::Bytes;
use common::*;
use disk_stream::{Consume, Error, Existing, Image, Progress, RawSink, Upload, Verifier, VhdSink, receive};
use http_body::Frame;
use http_body_util::StreamBody;
use tempfile::tempdir;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// The bytes as a body of unknown length, as an export is.
fn body(bytes: &[u8]) -> impl http_body::Body<Data = Bytes, Error = Infallible> {
    let frames: Vec<_> = bytes.chunks(50_001).map(|c| Ok(Frame::data(Bytes::copy_from_slice(c)))).collect();
    StreamBody::new(Frames(frames.into_iter()))
}

struct Frames<E = Infallible>(std::vec::IntoIter<Result<Frame<Bytes>, E>>);

impl<E: Unpin> futures_core::Stream for Frames<E> {
    type Item = Result<Frame<Bytes>, E>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

fn take<C: Consume>(stream: &[u8], consumer: Result<C, Error>) -> Result<C::Output, Error> {
    block_on(receive(body(stream), consumer?, Progress::new()))
}

fn streams(image: &Image) -> (Vec<u8>, Vec<u8>) {
    block_on(async {
        let vhd = collect(image.vhd_body(Upload::default()).await.unwrap()).await;
        (vhd, collect(image.raw_body(Upload::default()).unwrap()).await)
    })
}

#[test]
fn exports_become_files() {
    let folder = tempdir().unwrap();
    let raw = sample(folder.path());
    let (vhd, plain) = streams(&open(&raw).unwrap());
    let at = |name: &str| folder.path().join(name);

    let saved = take(&vhd, VhdSink::create(&at("a.vhd"), Existing::Refuse)).unwrap();
    assert_eq!((saved.virtual_size, saved.stream_len, saved.blocks), (22 * MIB, vhd.len() as u64, 6));
    assert!(std::fs::read(at("a.vhd")).unwrap() == vhd);

    let saved = take(&vhd, RawSink::of_vhd(&at("a.raw"), Existing::Refuse)).unwrap();
    assert_eq!(saved.virtual_size, 22 * MIB);
    let mut expected = plain.clone();
    expected.resize(22 << 20, 0);
    assert!(std::fs::read(at("a.raw")).unwrap() == expected);

    let size = plain.len() as u64;
    take(&plain, RawSink::of_raw(&at("b.raw"), Existing::Refuse, size)).unwrap();
    assert!(std::fs::read(at("b.raw")).unwrap() == plain);
    for name in ["a.vhd", "a.raw", "b.raw"] {
        let found = std::fs::metadata(at(name)).unwrap();
        let allocated = found.blocks() * 512;
        assert!(allocated < 8 * MIB, "{name}: {allocated} bytes for 6 MiB of data");
        assert_eq!(found.mode() & 0o777, 0o600, "{name}: a guest's disk is its owner's alone");
    }
    assert_eq!(names(folder.path()), ["a.raw", "a.vhd", "b.raw", "sample.raw"], "nothing is left behind");
    if has("qemu-img") {
        run("qemu-img", &["compare", "-f", "vpc", "-F", "raw", text(&at("a.vhd")), text(&raw)]);
    }
}

#[test]
fn images_are_saved_in_the_other_format() {
    let folder = tempdir().unwrap();
    let raw = sample(folder.path());
    let (vhd, back) = (folder.path().join("disk.vhd"), folder.path().join("back.raw"));
    let saved = open(&raw).unwrap().save_vhd(&vhd, Existing::Refuse, &Upload::default()).unwrap();
    assert_eq!((saved.blocks, saved.stream_len), (6, std::fs::metadata(&vhd).unwrap().len()));
    open(&vhd).unwrap().save_raw(&back, Existing::Refuse, &Upload::default()).unwrap();
    let mut expected = std::fs::read(&raw).unwrap();
    expected.resize(22 << 20, 0);
    assert!(std::fs::read(&back).unwrap() == expected);
    open(&raw).unwrap().save_raw(&back, Existing::Replace, &Upload::default()).unwrap();
    assert!(std::fs::read(&back).unwrap() == std::fs::read(&raw).unwrap());
    assert!(std::fs::metadata(&back).unwrap().blocks() * 512 < 8 * MIB);
}

#[test]
fn what_exists_is_replaced_only_when_allowed() {
    let folder = tempdir().unwrap();
    let raw = sample(folder.path());
    let (vhd, _) = streams(&open(&raw).unwrap());
    let path = folder.path().join("precious");
    std::fs::write(&path, "precious").unwrap();
    let refused = take(&vhd, VhdSink::create(&path, Existing::Refuse)).unwrap_err();
    assert!(matches!(refused, Error::Exists { .. }), "{refused}");
    let broken = take(&vhd[..vhd.len() - 1], VhdSink::create(&path, Existing::Replace)).unwrap_err();
    assert!(matches!(broken, Error::Stream(_)), "{broken}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    take(&vhd, VhdSink::create(&path, Existing::Replace)).unwrap();
    assert!(std::fs::read(&path).unwrap() == vhd);
    assert_eq!(names(folder.path()), ["precious", "sample.raw"]);
}

#[test]
fn a_stream_that_breaks_off_leaves_nothing() {
    let folder = tempdir().unwrap();
    let source = tempdir().unwrap();
    let (vhd, plain) = streams(&open(&sample(source.path())).unwrap());
    let path = folder.path().join("disk");
    for cut in [
        0,
        1,
        511,
        512,
        600,
        1535,
        1536,
        2000,
        2048,
        2300,
        2560,
        9000,
        2_099_712,
        vhd.len() - 512,
        vhd.len() - 1,
    ] {
        let part = &vhd[..cut];
        for error in [
            take(part, VhdSink::create(&path, Existing::Refuse)).unwrap_err(),
            take(part, RawSink::of_vhd(&path, Existing::Refuse)).unwrap_err(),
        ] {
            let complete = cut == vhd.len() - 512;
            let expected = match &error {
                Error::Stream(vhd::Error::Truncated { at, .. }) => !complete && *at == cut as u64,
                Error::Stream(vhd::Error::MissingEndFooter { at }) => complete && *at == cut as u64,
                _ => false,
            };
            assert!(expected, "cut at {cut}: {error:?}");
        }
    }
    let size = plain.len() as u64;
    for (part, got) in [(&plain[..1000], 1000), (&plain[..0], 0)] {
        let error = take(part, RawSink::of_raw(&path, Existing::Refuse, size)).unwrap_err();
        assert!(
            matches!(error, Error::Length { got: g, expected } if g == got && expected == size),
            "{error}"
        );
    }
    let error = take(&plain, RawSink::of_raw(&path, Existing::Refuse, size - 1)).unwrap_err();
    assert!(matches!(error, Error::Length { .. }), "{error}");
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_dropped_transfer_leaves_nothing() {
    let folder = tempdir().unwrap();
    let source = tempdir().unwrap();
    let (vhd, _) = streams(&open(&sample(source.path())).unwrap());
    let path = folder.path().join("disk");
    let sink = VhdSink::create(&path, Existing::Refuse).unwrap();
    assert!(names(folder.path()).is_empty(), "what is in the making has no name that a kill could leave");
    block_on(async {
        let (half, rest) = vhd.split_at(3 << 20);
        let frames: Vec<_> = half.chunks(65536).map(|c| Ok(Frame::data(Bytes::copy_from_slice(c)))).collect();
        assert!(!rest.is_empty());
        let never = StreamBody::new(Stalled(frames.into_iter()));
        let transfer = receive(never, sink, Progress::new());
        let late = tokio::time::timeout(std::time::Duration::from_millis(300), transfer).await;
        assert!(late.is_err());
    });
    assert!(names(folder.path()).is_empty());
}

/// Whoever waited for more of it says so, and after how much.
#[test]
fn where_a_transfer_stopped_is_told() {
    let (folder, source) = (tempdir().unwrap(), tempdir().unwrap());
    let (vhd, _) = streams(&open(&sample(source.path())).unwrap());
    let path = folder.path().join("disk");
    // In the header, in the table, in a bitmap, and in the data of a block.
    for stop in [700, 1540, 2100, (3 << 20) + 7] {
        let body = || {
            let frames =
                vhd[..stop].chunks(65536).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))));
            let late = Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
            StreamBody::new(Frames(frames.chain([late]).collect::<Vec<_>>().into_iter()))
        };
        let kept =
            block_on(receive(body(), VhdSink::create(&path, Existing::Refuse).unwrap(), Progress::new()));
        let flat =
            block_on(receive(body(), RawSink::of_vhd(&path, Existing::Refuse).unwrap(), Progress::new()));
        for error in [kept.map(drop).unwrap_err(), flat.map(drop).unwrap_err()] {
            assert!(
                matches!(error, Error::Body { position, .. } if position == stop as u64),
                "{stop}: {error:?}"
            );
            assert!(error.to_string().contains(&format!("after {stop} bytes")), "{error}");
        }
        assert!(names(folder.path()).is_empty());
    }
}

/// Frames, then silence.
struct Stalled(std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>);

impl futures_core::Stream for Stalled {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.next().map_or(std::task::Poll::Pending, |frame| std::task::Poll::Ready(Some(frame)))
    }
}

#[track_caller]
fn differs_at(image: &Path, stream: &[u8], form: &str, expected: u64) {
    let image = open(image).unwrap();
    let consumer = if form == "vhd" { Verifier::of_vhd(&image) } else { Verifier::of_raw(&image) };
    match take(stream, Ok(consumer)).unwrap_err() {
        Error::Differs { offset, .. } => assert_eq!(offset, expected),
        other => panic!("{other}"),
    }
}

#[test]
fn a_disk_is_compared_with_its_image() {
    let folder = tempdir().unwrap();
    let raw = sample(folder.path());
    let image = open(&raw).unwrap();
    let (vhd, mut plain) = streams(&image);
    let verified = take(&vhd, Ok(Verifier::of_vhd(&image))).unwrap();
    assert_eq!((verified.virtual_size, verified.compared_bytes), (22 * MIB, 12 * MIB));
    assert_eq!(take(&plain, Ok(Verifier::of_raw(&image))).unwrap().virtual_size, image.virtual_size());
    // A VDI larger than the image: zeros behind it are right, anything else is not.
    plain.resize(23 << 20, 0);
    take(&plain, Ok(Verifier::of_raw(&image))).unwrap();
    plain[(23 << 20) - 1] = 1;
    differs_at(&raw, &plain, "raw", 23 * MIB - 1);
    let short = take(&plain[..20 << 20], Ok(Verifier::of_raw(&image))).unwrap_err();
    assert!(matches!(short, Error::TooSmall { got, .. } if got == 20 * MIB), "{short}");
    // The same disk as a VHD compares with a stream of the other kind.
    let as_vhd = folder.path().join("disk.vhd");
    std::fs::write(&as_vhd, &vhd).unwrap();
    take(&plain[..22 << 20], Ok(Verifier::of_raw(&open(&as_vhd).unwrap()))).unwrap();
    take(&vhd, Ok(Verifier::of_vhd(&open(&as_vhd).unwrap()))).unwrap();
}

#[test]
fn one_wrong_byte_is_found() {
    let folder = tempdir().unwrap();
    let raw = sample(folder.path());
    let (vhd, plain) = streams(&open(&raw).unwrap());
    let file = File::options().write(true).read(true).open(&raw).unwrap();
    // In data, in a hole inside of a block, in a block that is not in the VHD at all, at the end.
    for at in [0, 4999, 5000, 3 * MIB, 11 * MIB + 77, 8 * MIB, 17 * MIB, 19 * MIB + 1, 21 * MIB + 1535] {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
        differs_at(&raw, &vhd, "vhd", at);
        differs_at(&raw, &plain, "raw", at);
        file.write_all_at(&byte, at).unwrap();
    }
}

#[test]
fn what_a_bitmap_leaves_out_must_be_zero_in_the_image() {
    let folder = tempdir().unwrap();
    let raw = sample(folder.path());
    let (mut vhd, _) = streams(&open(&raw).unwrap());
    // The bitmap of the first block: 5000 bytes of data, that is sectors 0 to 9.
    let bitmap = 2048;
    assert_eq!(vhd[bitmap..bitmap + 2], [0xff, 0xff]);
    vhd[bitmap + 1] = 0xc0;
    take(&vhd, Ok(Verifier::of_vhd(&open(&raw).unwrap()))).unwrap();
    vhd[bitmap + 1] = 0x80;
    differs_at(&raw, &vhd, "vhd", 9 * 512);
}
