//! Images to streams.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::*;
use disk_stream::{Declared, DiskBody, Error, Existing, Format, Image, Progress, Stage, Upload, Zeros};
use http_body::Body;
use http_body_util::BodyExt;
use tempfile::tempdir;
use vhd::format::{DiskType, DynamicHeader, Footer};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Collects a body and checks that its length was announced exactly.
async fn collect_exact(body: DiskBody) -> Vec<u8> {
    let len = body.stream_len();
    assert_eq!(body.size_hint().exact(), Some(len));
    let progress = body.progress();
    let virtual_size = body.virtual_size();
    let all = collect(body).await;
    assert_eq!(all.len() as u64, len);
    let end = progress.snapshot();
    assert_eq!((end.stage, end.wire_bytes, end.wire_len), (Stage::Streaming, len, len));
    assert_eq!((end.virtual_bytes, end.virtual_size), (virtual_size, virtual_size));
    all
}

#[test]
fn a_raw_image_becomes_a_vhd_of_what_it_holds() {
    let folder = tempdir().unwrap();
    let raw = sample(folder.path());
    let image = open(&raw).unwrap();
    assert_eq!(image.format(), Format::Raw);
    let stream =
        runtime().block_on(async { collect_exact(image.vhd_body(Upload::default()).await.unwrap()).await });

    let vhd = folder.path().join("disk.vhd");
    std::fs::write(&vhd, &stream).unwrap();
    let back = open(&vhd).unwrap();
    assert_eq!(back.format(), Format::Vhd(DiskType::Dynamic));
    assert_eq!(back.virtual_size(), 22 * MIB, "rounded up as a VDI is");
    // Blocks 0, 1, 2, 5, 6 and 10; not 8, which holds written zeros.
    assert_eq!(back.map().unwrap().allocated_blocks(), 6);
    let mut expected = std::fs::read(&raw).unwrap();
    expected.resize(22 << 20, 0);
    assert!(content_of(&back) == expected);

    if has_qemu_of_10() {
        let info = run("qemu-img", &["info", "-f", "vpc", "--output=json", text(&vhd)]);
        assert!(info.contains(&format!("\"virtual-size\": {}", 22 * MIB)), "{info}");
        run("qemu-img", &["compare", "-f", "vpc", "-F", "raw", text(&vhd), text(&raw)]);
        let converted = folder.path().join("converted.raw");
        run("qemu-img", &["convert", "-f", "vpc", "-O", "raw", text(&vhd), text(&converted)]);
        assert!(std::fs::read(converted).unwrap() == expected);
    }
    // The strictest of the free readers.
    if has("7zz") {
        run("7zz", &["t", "-tvhd", text(&vhd)]);
        let extracted =
            std::process::Command::new("7zz").args(["x", "-so", "-tvhd", text(&vhd)]).output().unwrap();
        assert!(extracted.status.success() && extracted.stdout == expected);
    }
}

#[test]
fn zeros_are_kept_when_asked() {
    let folder = tempdir().unwrap();
    let image = open(&sample(folder.path())).unwrap();
    let lens = runtime().block_on(async {
        let keep = Upload { zeros: Zeros::Keep, ..Upload::default() };
        let keep = image.vhd_body(keep).await.unwrap().stream_len();
        (keep, image.vhd_body(Upload::default()).await.unwrap().stream_len())
    });
    assert_eq!(lens.0 - lens.1, 2 * MIB + 512);
}

#[test]
fn vhds_of_qemu_are_read_right() {
    if !has("qemu-img") {
        return;
    }
    let folder = tempdir().unwrap();
    let raw = sample(folder.path());
    let expected = std::fs::read(&raw).unwrap();
    for subformat in ["fixed", "dynamic"] {
        for force in ["off", "on"] {
            let vhd = folder.path().join(format!("{subformat}-{force}.vhd"));
            let options = format!("subformat={subformat},force_size={force}");
            run("qemu-img", &["convert", "-f", "raw", "-O", "vpc", "-o", &options, text(&raw), text(&vhd)]);
            let image = open(&vhd).unwrap();
            let kind = if subformat == "fixed" { DiskType::Fixed } else { DiskType::Dynamic };
            assert_eq!(image.format(), Format::Vhd(kind));
            let info = run("qemu-img", &["info", "-f", "vpc", "--output=json", text(&vhd)]);
            assert!(info.contains(&format!("\"virtual-size\": {}", image.virtual_size())), "{info}");
            let mut padded = expected.clone();
            padded.resize(usize::try_from(image.virtual_size()).unwrap(), 0);
            assert!(content_of(&image) == padded, "{subformat} {force}");

            let (raw_stream, vhd_stream) = runtime().block_on(async {
                (
                    collect_exact(image.raw_body(Upload::default()).unwrap()).await,
                    collect_exact(image.vhd_body(Upload::default()).await.unwrap()).await,
                )
            });
            assert!(raw_stream == padded, "{subformat} {force}");
            let again = folder.path().join("again.vhd");
            std::fs::write(&again, vhd_stream).unwrap();
            let again = open(&again).unwrap();
            assert_eq!(again.map().unwrap().allocated_blocks(), 6, "{subformat} {force}");
            padded.resize(usize::try_from(again.virtual_size()).unwrap(), 0);
            assert!(content_of(&again) == padded, "{subformat} {force}");
        }
    }
}

#[test]
fn the_chunked_framing_carries_the_disk() {
    let folder = tempdir().unwrap();
    let raw = sample(folder.path());
    let image = open(&raw).unwrap();
    let stream = runtime()
        .block_on(async { collect_exact(image.chunked_body(Upload::default()).await.unwrap()).await });
    let mut disk = vec![0; 22 << 20];
    let mut rest = stream.as_slice();
    let mut sent = 0;
    loop {
        let (header, behind) = rest.split_first_chunk::<12>().unwrap();
        let offset = usize::try_from(u64::from_le_bytes(*header.first_chunk().unwrap())).unwrap();
        let len = u32::from_le_bytes(*header.last_chunk().unwrap()) as usize;
        if len == 0 {
            assert_eq!((offset, behind.len()), (0, 0));
            break;
        }
        assert!(offset.is_multiple_of(512) && len.is_multiple_of(512) && len <= 2 << 20);
        let (data, behind) = behind.split_at(len);
        disk[offset..offset + len].copy_from_slice(data);
        sent += len;
        rest = behind;
    }
    let mut expected = std::fs::read(&raw).unwrap();
    expected.resize(22 << 20, 0);
    assert!(disk == expected);
    assert!(sent < 7 << 20, "{sent} bytes sent for 6 MiB of data");
}

#[test]
fn the_disk_may_grow_and_not_shrink() {
    let folder = tempdir().unwrap();
    let raw = sample(folder.path());
    let image = open(&raw).unwrap();
    let sized = |size| Upload { virtual_size: Some(size), ..Upload::default() };
    runtime().block_on(async {
        let grown = collect_exact(image.vhd_body(sized(40 << 30)).await.unwrap()).await;
        let path = folder.path().join("grown.vhd");
        std::fs::write(&path, grown).unwrap();
        assert_eq!(open(&path).unwrap().virtual_size(), 40 << 30);
        let grown = collect_exact(image.raw_body(sized(23 << 20)).unwrap()).await;
        assert!(grown[..21 << 20] == std::fs::read(&raw).unwrap()[..21 << 20]);
        assert!(grown[(21 << 20) + 1536..].iter().all(|byte| *byte == 0));
        let small = image.vhd_body(sized(21 << 20)).await.unwrap_err();
        assert!(matches!(small, Error::DoesNotFit { asked, .. } if asked == 21 << 20), "{small}");
        assert!(matches!(image.raw_body(sized(1)).unwrap_err(), Error::DoesNotFit { .. }));
        let huge = image.vhd_body(sized(2041 << 30)).await.unwrap_err();
        assert!(matches!(huge, Error::Layout { source: vhd::Error::TooLarge { .. }, .. }), "{huge}");
    });
}

#[test]
fn a_changing_image_fails_the_stream() {
    let change = |raw: &Path, how: &str| {
        let file = File::options().write(true).open(raw).unwrap();
        match how {
            "write" => file.write_all_at(b"new", 100).unwrap(),
            "grow" => file.set_len(30 * MIB).unwrap(),
            _ => file.set_len(1000).unwrap(),
        }
    };
    for how in ["write", "grow", "shrink"] {
        for form in ["vhd", "raw", "chunked"] {
            let folder = tempdir().unwrap();
            let raw = sample(folder.path());
            let image = open(&raw).unwrap();
            // The file system's clock must tick for a write to show.
            std::thread::sleep(std::time::Duration::from_millis(20));
            let (error, left) = runtime().block_on(async {
                let mut body = match form {
                    "vhd" => image.vhd_body(Upload::default()).await.unwrap(),
                    "raw" => image.raw_body(Upload::default()).unwrap(),
                    _ => image.chunked_body(Upload::default()).await.unwrap(),
                };
                body.frame().await.unwrap().unwrap();
                change(&raw, how);
                loop {
                    match body.frame().await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => break (error, body.size_hint().exact().unwrap()),
                        None => panic!("{how} {form}: the stream ended well"),
                    }
                }
            });
            assert!(matches!(error, Error::Changed { .. }), "{how} {form}: {error}");
            assert!(left > 0, "{how} {form}");
        }
    }
}

#[test]
fn a_dropped_body_stops_reading() {
    let folder = tempdir().unwrap();
    let raw = folder.path().join("large.raw");
    File::create(&raw).unwrap().set_len(64 << 30).unwrap();
    let image = open(&raw).unwrap();
    let runtime = runtime();
    let progress = Progress::new();
    runtime.block_on(async {
        let upload = Upload { progress: progress.clone(), ..Upload::default() };
        let mut body = image.raw_body(upload).unwrap();
        for _ in 0..5 {
            body.frame().await.unwrap().unwrap();
        }
    });
    assert_eq!(progress.snapshot().wire_bytes, 5 * MIB);
    // The runtime waits for its blocking threads: this ends only because the reader did.
    let begun = std::time::Instant::now();
    drop(runtime);
    assert!(begun.elapsed().as_secs() < 5);
}

#[test]
fn a_dropped_scan_stops_reading() {
    let folder = tempdir().unwrap();
    let raw = folder.path().join("zeros.raw");
    // Written zeros, which only reading shows to be zeros.
    let file = File::create(&raw).unwrap();
    let zeros = vec![0; 8 << 20];
    for at in 0..64 {
        file.write_all_at(&zeros, at * 8 * MIB).unwrap();
    }
    let image = open(&raw).unwrap();
    let progress = Progress::new();
    let runtime = runtime();
    runtime.block_on(async {
        let upload = Upload { progress: progress.clone(), ..Upload::default() };
        let scanning = image.vhd_body(upload);
        let seen = async {
            while progress.snapshot().virtual_bytes == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = seen => {}
            body = scanning => panic!("{body:?} before the first piece was counted"),
        }
    });
    drop(runtime);
    let end = progress.snapshot();
    assert!(end.stage == Stage::Scanning && end.virtual_bytes < 512 * MIB, "{end:?}");
}

#[test]
fn damaged_vhds_are_refused_with_file_place_and_reason() {
    let folder = tempdir().unwrap();
    let image = open(&sample(folder.path())).unwrap();
    let path = folder.path().join("disk.vhd");
    image.save_vhd(&path, Existing::Refuse, &Upload::default()).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for cut in [600, 1536, 2000, 2560, 3 << 20, whole.len() - 512, whole.len() - 300] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let error = open(&path).unwrap_err();
        let Error::Format { source, .. } = &error else { panic!("{cut}: {error}") };
        let at_end = matches!(source,
            vhd::Error::Truncated { at, .. } | vhd::Error::MissingEndFooter { at } if *at == cut as u64);
        assert!(at_end, "{cut}: {source}");
        assert_eq!(error.to_string(), format!("{} is not a usable VHD", path.display()));
    }
    let mut damaged = whole.clone();
    damaged[1536..1540].copy_from_slice(&9_u32.to_be_bytes());
    std::fs::write(&path, &damaged).unwrap();
    let Error::Format { source, .. } = open(&path).unwrap_err() else { panic!("accepted") };
    assert!(matches!(source, vhd::Error::BlockOverlap { .. }), "{source}");
    let mut child = DynamicHeader::new(1536, 11);
    child.parent_name = "base.vhd".into();
    damaged[512..1536].copy_from_slice(&child.to_bytes());
    let mut footer = Footer::parse(whole.first_chunk().unwrap(), 0, vhd::Structure::FrontFooter).unwrap();
    footer.disk_type = DiskType::Differencing;
    damaged[1536..1540].copy_from_slice(&whole[1536..1540]);
    damaged[..512].copy_from_slice(&footer.to_bytes());
    let end = damaged.len() - 512;
    damaged[end..].copy_from_slice(&footer.to_bytes());
    std::fs::write(&path, &damaged).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(&error, Error::Differencing { parent, .. } if parent == "base.vhd"), "{error}");
}

#[test]
fn bytes_in_memory_are_a_body() {
    runtime().block_on(async {
        let body = DiskBody::from_bytes(vec![7; 1000]);
        assert_eq!(collect_exact(body).await, vec![7; 1000]);
        assert!(collect(DiskBody::from_bytes(Vec::new())).await.is_empty());
    });
}

#[test]
fn what_is_no_disk_is_named() {
    let folder = tempdir().unwrap();
    let missing = folder.path().join("missing");
    let error = open(&missing).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot open {}", missing.display()));
    assert!(matches!(open(folder.path()).unwrap_err(), Error::NotADisk { kind: "directory", .. }));
    let empty = folder.path().join("empty");
    File::create(&empty).unwrap();
    assert!(matches!(open(&empty).unwrap_err(), Error::Empty { .. }));
    let zero = Path::new("/dev/zero");
    assert!(matches!(open(zero).unwrap_err(), Error::NotADisk { kind: "character device", .. }));
}

#[test]
fn a_raw_disk_that_imitates_a_vhd_is_raw_when_declared() {
    let folder = tempdir().unwrap();
    let raw = folder.path().join("trap.raw");
    raw_disk(&raw, 2 * MIB, &[(4096, 100)]);
    File::options().write(true).open(&raw).unwrap().write_all_at(b"conectix", 0).unwrap();
    assert!(matches!(open(&raw).unwrap_err(), Error::Format { .. }));
    let declared = Image::open_blocking(&raw, Declared::Raw).unwrap();
    assert_eq!((declared.format(), declared.virtual_size()), (Format::Raw, 2 * MIB));
    let plain = folder.path().join("plain.raw");
    raw_disk(&plain, 2 * MIB, &[(4096, 100)]);
    let error = Image::open_blocking(&plain, Declared::Vhd).unwrap_err();
    assert!(matches!(error, Error::Format { source: vhd::Error::NotVhd { at: 0, .. }, .. }), "{error}");
}
