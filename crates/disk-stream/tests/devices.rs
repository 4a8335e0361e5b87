//! Disks onto block devices: complete, or marked as what they are not.

mod common;

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use common::*;
use disk_stream::{
    Consume, Declared, Error, Existing, Format, Image, Inspected, Opening, Parents, Progress, RawSink,
    Upload, VhdSink,
};
use tempfile::{TempDir, tempdir};
use vhd::format::{DiskType, FOOTER_LEN, Footer};
use vhd::{Surplus, Warning};

/// A device of 30 MiB full of rubbish, and the sample.
fn device() -> Option<(TempDir, Loop, Image)> {
    let folder = tempdir().unwrap();
    let image = open(&sample(folder.path())).unwrap();
    let backing = folder.path().join("backing");
    std::fs::write(&backing, vec![0xa5; 30 << 20]).unwrap();
    Some((folder, Loop::over(&backing)?, image))
}

fn bytes_of(device: &Path, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![1; len];
    File::open(device).unwrap().read_exact_at(&mut bytes, at).unwrap();
    bytes
}

fn is_footer(device: &Path, at: u64) -> bool {
    Footer::has_cookie(&bytes_of(device, at, FOOTER_LEN))
}

/// The disk, and zeros behind it.
#[track_caller]
fn assert_shows(device: &Path, image: &Image) {
    let shown = open(device).unwrap();
    let (shown, disk) = (content_of(&shown), content_of(image));
    assert!(shown[..disk.len()] == disk && vhd::zero::is_zero(&shown[disk.len()..]));
}

#[test]
fn an_arriving_disk_is_complete_or_marked() {
    let Some((folder, device, image)) = device() else { return };
    let packed = folder.path().join("packed.vhd");
    image.save_vhd(&packed, Existing::Refuse, &Upload::default()).unwrap();
    let vhd = std::fs::read(packed).unwrap();
    let refused = RawSink::of_vhd(&device.0, Existing::Refuse).unwrap_err();
    assert!(matches!(refused, Error::Exists { .. }), "{refused:?}");
    assert_eq!(bytes_of(&device.0, 0, 4096), [0xa5; 4096]);

    let mut sink = RawSink::of_vhd(&device.0, Existing::Replace).unwrap();
    vhd.chunks(70_001).try_for_each(|piece| sink.feed(piece, &Progress::new())).unwrap();
    sink.finish().unwrap();
    assert_shows(&device.0, &image);

    // Broken off, it is marked, and nobody takes it for a disk.
    let mut sink = RawSink::of_vhd(&device.0, Existing::Replace).unwrap();
    sink.feed(&vhd[..vhd.len() / 2], &Progress::new()).unwrap();
    drop(sink);
    let error = open(&device.0).unwrap_err();
    assert!(matches!(error, Error::Incomplete { .. }), "{error:?}");

    image.save_raw(&device.0, Existing::Replace, &Upload::default()).unwrap();
    assert_shows(&device.0, &image);
}

/// As a device is that is mounted.
#[test]
fn a_device_that_somebody_uses_is_not_merged_into() {
    let Some((folder, device, image)) = device() else { return };
    image.save_raw(&device.0, Existing::Replace, &Upload::default()).unwrap();
    let opening = Opening { declared: Declared::Raw, ..Opening::default() };
    let base = Image::open_with(&device.0, &opening).unwrap();
    let now = folder.path().join("now.raw");
    image.save_raw(&now, Existing::Refuse, &Upload::default()).unwrap();
    let file = File::options().write(true).open(&now).unwrap();
    file.set_len(30 << 20).unwrap();
    file.write_all_at(&[7; 4096], 1 << 20).unwrap();
    let child = folder.path().join("child.vhd");
    let raw = Image::open_with(&now, &opening).unwrap();
    raw.save_difference(&base, &child, Existing::Refuse, &Upload::default()).unwrap();
    let order = Parents::Order(vec![device.0.clone()]);
    let opening = Opening { parents: order, journals: Some(folder.path().to_owned()), ..Opening::default() };
    let merge = || disk_stream::coalesce(&child, &opening, &Progress::new());
    let flags = rustix::fs::OFlags::EXCL.bits().cast_signed();
    let user = File::options().read(true).custom_flags(flags).open(&device.0).unwrap();
    let before = bytes_of(&device.0, 1 << 20, 4096);
    let error = merge().unwrap_err();
    assert!(matches!(error, Error::Open { .. }) && bytes_of(&device.0, 1 << 20, 4096) == before, "{error:?}");
    drop(user);
    merge().unwrap();
    assert_eq!(bytes_of(&device.0, 1 << 20, 4096), [7; 4096]);
}

#[test]
fn a_vhd_on_a_device_ends_where_the_device_does() {
    let Some((folder, device, image)) = device() else { return };
    let refused = image.save_vhd(&device.0, Existing::Refuse, &Upload::default()).unwrap_err();
    assert!(matches!(refused, Error::Exists { .. }), "{refused:?}");
    assert_eq!(bytes_of(&device.0, 0, 4096), [0xa5; 4096]);
    for aligned in [false, true] {
        let upload = Upload { aligned, ..Upload::default() };
        let saved = image.save_vhd(&device.0, Existing::Replace, &upload).unwrap();
        assert!(is_footer(&device.0, 0) && is_footer(&device.0, (30 << 20) - 512));
        assert!(!is_footer(&device.0, saved.stream_len - 512), "one footer at the end is enough");
        let shown = open(&device.0).unwrap();
        assert!(shown.map().unwrap().warnings().is_empty(), "{:?}", shown.map().unwrap().warnings());
        assert_shows(&device.0, &image);
    }
    if has("qemu-img") {
        let raw = folder.path().join("by-qemu.raw");
        let options = format!("driver=vpc,force_size_calc=current_size,file.filename={}", text(&device.0));
        run("qemu-img", &["convert", "-O", "raw", "--image-opts", &options, text(&raw)]);
        assert_shows(&raw, &image);
    }
    // As from any file, and what is written over it leaves no footer of it.
    let copy = folder.path().join("copy.vhd");
    let on_device = open(&device.0).unwrap();
    on_device.save_vhd(&copy, Existing::Refuse, &Upload::default()).unwrap();
    assert_shows(&copy, &image);
    image.save_raw(&device.0, Existing::Replace, &Upload::default()).unwrap();
    assert!(!is_footer(&device.0, (30 << 20) - 512));
    assert_shows(&device.0, &image);
}

#[test]
fn a_differencing_vhd_and_a_qcow2_image_on_a_device() {
    let Some((folder, device, image)) = device() else { return };
    let changed = folder.path().join("changed.raw");
    std::fs::copy(image.path(), &changed).unwrap();
    File::options().write(true).open(&changed).unwrap().write_all_at(&[9; 9000], 5 << 20).unwrap();
    let changed = open(&changed).unwrap();
    changed.save_difference(&image, &device.0, Existing::Replace, &Upload::default()).unwrap();
    let opening = Opening { parents: Parents::Order(vec![image.path().to_owned()]), ..Opening::default() };
    let chain = Image::open_with(&device.0, &opening).unwrap();
    assert_eq!(chain.format(), Format::Vhd(DiskType::Differencing));
    assert!(content_of(&chain)[..content_of(&changed).len()] == content_of(&changed));

    image.save_qcow2(&device.0, Existing::Replace, &Upload::default()).unwrap();
    assert_eq!(open(&device.0).unwrap().format(), Format::Qcow2);
    assert_shows(&device.0, &image);
    if has("qemu-img") {
        run("qemu-img", &["check", "-f", "qcow2", text(&device.0)]);
    }
}

#[test]
fn what_does_not_fit_on_a_device_destroys_nothing() {
    let Some((folder, device, image)) = device() else { return };
    let untouched = || assert!(bytes_of(&device.0, 0, 30 << 20).iter().all(|byte| *byte == 0xa5));
    let at = |name: &str, size: u64, data: u64| {
        let path = folder.path().join(name);
        raw_disk(&path, size, &[(0, data)]);
        open(&path).unwrap()
    };
    let (upload, to) = (Upload::default(), &device.0);
    let large = at("large", 31 * MIB, 100);
    // The disk alone would fit.
    let full = at("full", 30 * MIB, 30 * MIB);
    for result in [
        large.save_raw(to, Existing::Replace, &upload),
        full.save_vhd(to, Existing::Replace, &upload),
        full.save_qcow2(to, Existing::Replace, &upload),
        full.save_fixed_vhd(to, Existing::Replace, &upload),
    ] {
        assert!(matches!(result, Err(Error::DeviceTooSmall { .. })), "{result:?}");
        untouched();
    }
    let small = image.save_fixed_vhd(to, Existing::Replace, &upload).unwrap_err();
    assert!(small.to_string().contains("a disk of 31456768 bytes"), "{small}");
    untouched();
    let exact = Upload { virtual_size: Some(30 * MIB - 512), ..Upload::default() };
    image.save_fixed_vhd(to, Existing::Replace, &exact).unwrap();
    assert_eq!(open(to).unwrap().format(), Format::Vhd(DiskType::Fixed));
    assert_shows(to, &image);
}

/// As `dd` leaves it there, and as libvhd has it on a logical volume.
#[test]
fn a_fixed_vhd_on_a_larger_device_is_read() {
    let Some((folder, device, image)) = device() else { return };
    let fixed = folder.path().join("fixed.vhd");
    image.save_fixed_vhd(&fixed, Existing::Refuse, &Upload::default()).unwrap();
    let vhd = std::fs::read(&fixed).unwrap();
    let (disk, footer) = vhd.split_at(vhd.len() - FOOTER_LEN);
    let write = |parts: &[(u64, &[u8])]| {
        let to = File::options().write(true).open(&device.0).unwrap();
        to.write_all_at(&vec![0; 30 << 20], 0).unwrap();
        parts.iter().for_each(|(at, bytes)| to.write_all_at(bytes, *at).unwrap());
        to.sync_all().unwrap();
    };
    let read = |declared| Image::open_blocking(&device.0, declared);
    let end = (30 << 20) - FOOTER_LEN as u64;
    write(&[(0, disk), (end, footer)]);
    for declared in [Declared::Unknown, Declared::Vhd] {
        let shown = read(declared).unwrap();
        assert!(content_of(&shown) == disk, "{declared:?}");
        assert_eq!(shown.layers()[0].warnings(), [Warning::Gap(end - disk.len() as u64)]);
    }
    write(&[(0, &vhd)]);
    let shown = read(Declared::Vhd).unwrap();
    assert!(content_of(&shown) == disk);
    assert_eq!(shown.layers()[0].warnings(), [Warning::Trailing((30 << 20) - vhd.len() as u64)]);
    // Nobody said it, and neither end of the device does.
    assert_eq!(read(Declared::Unknown).unwrap().format(), Format::Raw);
    // A device cannot be cut, and is left as it is.
    let before = bytes_of(&device.0, 0, 30 << 20);
    let refused = Inspected::repair(&device.0).unwrap_err();
    assert!(matches!(&refused, Error::Refused { why, .. } if why.contains("convert")), "{refused:?}");
    assert!(bytes_of(&device.0, 0, 30 << 20) == before);
    // What was there before may lie between disk and footer; nobody can tell it from a part of the disk, unless it is said.
    write(&[(0, disk), (disk.len() as u64, &[7]), (end, footer)]);
    assert!(matches!(read(Declared::Vhd), Err(Error::Format { source: vhd::Error::FixedSize { .. }, .. })));
    let mut opening = Opening { declared: Declared::Vhd, ..Opening::default() };
    opening.limits.surplus = Surplus::Anything;
    assert!(content_of(&Image::open_with(&device.0, &opening).unwrap()) == disk);
}

/// It would be known too late whether it is one.
#[test]
fn a_fixed_vhd_that_arrives_does_not_touch_a_device() {
    let Some((folder, device, image)) = device() else { return };
    let fixed = folder.path().join("fixed.vhd");
    image.save_fixed_vhd(&fixed, Existing::Refuse, &Upload::default()).unwrap();
    let mut sink = RawSink::of_vhd(&device.0, Existing::Replace).unwrap();
    let error = sink.feed(&std::fs::read(fixed).unwrap(), &Progress::new()).unwrap_err();
    assert!(matches!(&error, Error::Refused { why, .. } if why.contains("fixed")), "{error:?}");
    drop(sink);
    assert!(bytes_of(&device.0, 0, 30 << 20).iter().all(|byte| *byte == 0xa5));
}

/// Its last footer belongs at the end of the device, where the stream does not end.
#[test]
fn a_vhd_kept_as_it_arrives_goes_to_a_file() {
    let Some((_folder, device, _)) = device() else { return };
    let error = VhdSink::create(&device.0, Existing::Replace).unwrap_err();
    assert!(matches!(&error, Error::Refused { why, .. } if why.contains("convert")), "{error:?}");
    assert!(bytes_of(&device.0, 0, 30 << 20).iter().all(|byte| *byte == 0xa5));
}

#[test]
fn a_device_is_not_written_from_itself() {
    let Some((folder, device, image)) = device() else { return };
    image.save_vhd(&device.0, Existing::Replace, &Upload::default()).unwrap();
    let other_name = folder.path().join("link");
    std::os::unix::fs::symlink(&device.0, &other_name).unwrap();
    for name in [&device.0, &other_name] {
        let error =
            open(name).unwrap().save_raw(&device.0, Existing::Replace, &Upload::default()).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    }
    assert_shows(&device.0, &image);
}

/// The footer of a device stays where it is: new blocks go before it, or nothing is written.
#[test]
fn a_merge_into_a_device_fits_or_is_refused() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let image = open(&sample(folder.path())).unwrap();
    std::fs::write(path("backing"), vec![0xa5; 18 << 20]).unwrap();
    let Some(device) = Loop::over(&path("backing")) else { return };
    image.save_vhd(&device.0, Existing::Replace, &Upload::default()).unwrap();
    let size = open(&device.0).unwrap().virtual_size();
    let child = |name: &str, runs: &[(u64, u64)]| {
        image.save_raw(&path("disk.raw"), Existing::Replace, &Upload::default()).unwrap();
        let file = File::options().write(true).open(path("disk.raw")).unwrap();
        file.set_len(size).unwrap();
        for (at, len) in runs {
            file.write_all_at(&vec![7; usize::try_from(*len).unwrap()], *at).unwrap();
        }
        let (disk, base) = (open(&path("disk.raw")).unwrap(), open(&device.0).unwrap());
        disk.save_difference(&base, &path(name), Existing::Refuse, &Upload::default()).unwrap();
        content_of(&disk)
    };
    let journals = Some(path("state"));
    let opening = Opening { parents: Parents::Order(vec![device.0.clone()]), journals, ..Opening::default() };
    let merge = |name: &str| disk_stream::coalesce(&path(name), &opening, &Progress::new());
    let disk = child("small.vhd", &[(9 * MIB, 4096)]);
    merge("small.vhd").unwrap();
    assert!(content_of(&open(&device.0).unwrap()) == disk);
    assert!(is_footer(&device.0, (18 << 20) - 512), "where XenServer looks for it");
    std::fs::remove_file(path("small.vhd")).unwrap();

    // As much as the disk has.
    child("large.vhd", &[(0, size)]);
    let before = std::fs::read(&device.0).unwrap();
    let error = merge("large.vhd").unwrap_err();
    assert!(
        matches!(&error, Error::Refused { why, .. } if why.contains("bytes more than the device has")),
        "{error}"
    );
    assert!(std::fs::read(&device.0).unwrap() == before);
    let name = device.0.file_name().unwrap().to_string_lossy();
    assert!(!device.0.with_file_name(format!(".{name}.coalesce")).exists());
    assert!(names(&path("state")).is_empty());
    // Another merge into it, of which a journal tells that is not in the folder of devices.
    std::fs::remove_file(path("large.vhd")).unwrap();
    child("other.vhd", &[(9 * MIB, 4096)]);
    let uuid = open(&device.0).unwrap().layers()[0].link().uuid.unwrap();
    let journal = path("state").join(format!("{uuid}.coalesce"));
    std::fs::write(&journal, "xenapi-rs coalesce 1\nchild 0a\n").unwrap();
    let error = merge("other.vhd").unwrap_err();
    assert!(matches!(&error, Error::Refused { why, .. } if why.contains(text(&journal))), "{error}");
    assert!(std::fs::read(&device.0).unwrap() == before);
    // A device is not removed either.
    let opening = Opening { parents: Parents::Order(vec![path("none")]), ..Opening::default() };
    assert!(disk_stream::coalesce_and_remove(&device.0, &opening, &Progress::new()).is_err());
    assert!(device.0.exists());
}
