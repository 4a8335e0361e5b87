//! New parents, and targets that a child is applied to.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::{MIB, content_of, has, names, open, raw_disk, run, text};
use disk_stream::{Declared, Error, Existing, Image, Opening, Parents, Progress, Upload, apply, relink};
use vhd::EndFooterPolicy;
use vhd::format::Footer;

/// `base.raw`, `base.vhd` of it, `child.vhd` on that, and `disk.raw`, which the child shows.
fn chain(folder: &Path) -> Vec<u8> {
    let path = |name: &str| folder.join(name);
    raw_disk(&path("base.raw"), 20 * MIB, &[(0, MIB), (9 * MIB, 3 * MIB)]);
    std::fs::copy(path("base.raw"), path("disk.raw")).unwrap();
    let disk = File::options().write(true).open(path("disk.raw")).unwrap();
    disk.write_all_at(b"changed", 10 * MIB).unwrap();
    disk.write_all_at(b"new", 19 * MIB).unwrap();
    let upload = Upload::default();
    open(&path("base.raw")).unwrap().save_vhd(&path("base.vhd"), Existing::Refuse, &upload).unwrap();
    let (disk, base) = (open(&path("disk.raw")).unwrap(), open(&path("base.vhd")).unwrap());
    disk.save_difference(&base, &path("child.vhd"), Existing::Refuse, &upload).unwrap();
    content_of(&disk)
}

fn within(folder: &Path) -> Opening {
    Opening { parents: Parents::Within(folder.to_owned()), ..Opening::default() }
}

fn shown(folder: &Path, name: &str) -> Vec<u8> {
    content_of(&Image::open_with(&folder.join(name), &within(folder)).unwrap())
}

#[test]
fn a_parent_may_be_replaced_by_its_equal() {
    let folder = tempfile::tempdir().unwrap();
    let disk = chain(folder.path());
    let path = |name: &str| folder.path().join(name);
    let before = std::fs::read(path("child.vhd")).unwrap();
    let upload = Upload::default();
    // The same disk in another VHD, and as a raw disk.
    open(&path("base.raw")).unwrap().save_vhd(&path("other.vhd"), Existing::Refuse, &upload).unwrap();
    for base in ["other.vhd", "base.raw"] {
        let new = open(&path(base)).unwrap();
        relink(&path("child.vhd"), &new, &within(folder.path()), &Progress::new()).unwrap();
        let image = Image::open_with(&path("child.vhd"), &within(folder.path())).unwrap();
        assert_eq!(image.layers()[1].path().file_name().unwrap(), base);
        assert!(content_of(&image) == disk);
    }
    let after = std::fs::read(path("child.vhd")).unwrap();
    assert!(after.len() < before.len() + 8192, "only metadata was added");
    assert!(after[1536..before.len() - 512] == before[1536..before.len() - 512], "no block was touched");
    assert!(!names(folder.path()).iter().any(|name| name.starts_with('.')), "nothing is left beside it");
    std::fs::remove_file(path("base.vhd")).unwrap();
    std::fs::remove_file(path("other.vhd")).unwrap();
    assert!(shown(folder.path(), "child.vhd") == disk, "nothing but the new parent is needed");
    let report = disk_stream::Inspected::open(&path("child.vhd"), true).unwrap();
    assert!(report.report().findings.iter().all(|f| f.grade == vhd::inspect::Grade::Accepted));
}

#[test]
fn another_disk_is_no_parent() {
    let folder = tempfile::tempdir().unwrap();
    let disk = chain(folder.path());
    let path = |name: &str| folder.path().join(name);
    let before = std::fs::read(path("child.vhd")).unwrap();
    let file = File::options().write(true).open(path("base.raw")).unwrap();
    file.write_all_at(b"x", 15 * MIB).unwrap();
    let refused = |base: &str| {
        let base = Image::open_with(&path(base), &within(folder.path())).unwrap();
        relink(&path("child.vhd"), &base, &within(folder.path()), &Progress::new()).unwrap_err()
    };
    let error = refused("base.raw");
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("differ"), "{error}");
    assert!(matches!(refused("child.vhd"), Error::Refused { .. }), "a circle");
    let whole = open(&path("disk.raw")).unwrap();
    let error = relink(&path("base.vhd"), &whole, &within(folder.path()), &Progress::new()).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(std::fs::read(path("child.vhd")).unwrap() == before);
    assert!(shown(folder.path(), "child.vhd") == disk);
}

#[test]
fn a_torn_header_is_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let disk = chain(folder.path());
    let path = |name: &str| folder.path().join(name);
    let upload = Upload::default();
    open(&path("base.raw")).unwrap().save_vhd(&path("other.vhd"), Existing::Refuse, &upload).unwrap();
    let other = open(&path("other.vhd")).unwrap();
    let old = std::fs::read(path("child.vhd")).unwrap();
    relink(&path("child.vhd"), &other, &within(folder.path()), &Progress::new()).unwrap();
    let new = std::fs::read(path("child.vhd")).unwrap();
    // As the power leaves it: one sector of the header is new, the other is old.
    let mut torn = new.clone();
    torn[512..1024].copy_from_slice(&old[512..1024]);
    std::fs::write(path("child.vhd"), &torn).unwrap();
    let len = (new.len() as u64).to_le_bytes();
    let headers = [&old[512..1536], &new[512..1536]].concat();
    let note = [&b"xenapi-rs relink 2"[..], &512_u64.to_le_bytes(), &len, &new[..512], &headers].concat();
    std::fs::write(path(".child.vhd.relink"), &note).unwrap();
    assert!(Image::open_with(&path("child.vhd"), &within(folder.path())).is_err());
    relink(&path("child.vhd"), &other, &within(folder.path()), &Progress::new()).unwrap();
    assert!(shown(folder.path(), "child.vhd") == disk);
    assert!(!path(".child.vhd.relink").exists());
    // The new parent is not taken before it is compared: it may have changed since it was noted.
    let before = [&new[..512], &old[512..1536], &new[1536..]].concat();
    for left in [&torn, &before] {
        std::fs::write(path("child.vhd"), left).unwrap();
        std::fs::write(path(".child.vhd.relink"), &note).unwrap();
        let differs = open(&path("disk.raw")).unwrap();
        let error =
            relink(&path("child.vhd"), &differs, &within(folder.path()), &Progress::new()).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
        assert!(std::fs::read(path("child.vhd")).unwrap() == before && !path(".child.vhd.relink").exists());
    }
    // A note is for one file: another one that has its name by now is left as it is.
    open(&path("disk.raw"))
        .unwrap()
        .save_difference(&open(&path("base.vhd")).unwrap(), &path("child.vhd"), Existing::Replace, &upload)
        .unwrap();
    let written = std::fs::read(path("child.vhd")).unwrap();
    std::fs::write(path(".child.vhd.relink"), &note).unwrap();
    let error = relink(
        &path("child.vhd"),
        &open(&path("disk.raw")).unwrap(),
        &within(folder.path()),
        &Progress::new(),
    );
    assert!(matches!(error, Err(Error::Refused { .. })), "the disks differ: {error:?}");
    assert!(std::fs::read(path("child.vhd")).unwrap() == written && !path(".child.vhd.relink").exists());
    // Nor is it kept where the file is replaced.
    std::fs::write(path(".child.vhd.relink"), &note).unwrap();
    open(&path("disk.raw"))
        .unwrap()
        .save_difference(&open(&path("base.vhd")).unwrap(), &path("child.vhd"), Existing::Replace, &upload)
        .unwrap();
    assert!(!path(".child.vhd.relink").exists());
    // Rubbish in its place is nobody's note.
    std::fs::write(path(".child.vhd.relink"), b"something else").unwrap();
    let error = relink(&path("child.vhd"), &other, &within(folder.path()), &Progress::new()).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
}

#[test]
fn a_difference_is_applied_to_any_copy_of_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let disk = chain(folder.path());
    let path = |name: &str| folder.path().join(name);
    let aside = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| {
        let to = aside.path().join(to);
        std::fs::copy(path(from), &to).unwrap();
        to
    };
    let apply = |target: &Path, declared, trusted| {
        apply(&path("child.vhd"), target, declared, trusted, &Progress::new())
    };
    let raw = copy("base.raw", "a.raw");
    apply(&raw, Declared::Raw, false).unwrap();
    assert!(std::fs::read(&raw).unwrap() == disk);
    let vhd = copy("base.vhd", "a.vhd");
    apply(&vhd, Declared::Unknown, false).unwrap();
    assert!(content_of(&open(&vhd).unwrap()) == disk);
    if has("qemu-img") {
        run("qemu-img", &["compare", "-f", "vpc", "-F", "raw", text(&vhd), text(&path("disk.raw"))]);
    }
    // The same content with another name is believed only if somebody says so.
    let other = aside.path().join("other.vhd");
    open(&path("base.raw")).unwrap().save_vhd(&other, Existing::Refuse, &Upload::default()).unwrap();
    let error = apply(&other, Declared::Unknown, false).unwrap_err();
    assert!(matches!(error, Error::OtherParent { .. }), "{error:?}");
    apply(&other, Declared::Unknown, true).unwrap();
    assert!(content_of(&open(&other).unwrap()) == disk);
    // A whole disk is no difference, and beside the child, its parent has to be merged into.
    let error =
        disk_stream::apply(&path("base.vhd"), &raw, Declared::Raw, true, &Progress::new()).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(content_of(&Image::open_with(&path("child.vhd"), &within(folder.path())).unwrap()) == disk);
}

/// The footer in front is not copied to the end, which is the sound one.
#[test]
fn a_damaged_front_footer_stays_the_only_damage() {
    let folder = tempfile::tempdir().unwrap();
    let disk = chain(folder.path());
    let path = |name: &str| folder.path().join(name);
    let file = File::options().read(true).write(true).open(path("child.vhd")).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 100).unwrap();
    file.write_all_at(&[!byte[0]], 100).unwrap();
    relink(&path("child.vhd"), &open(&path("base.raw")).unwrap(), &within(folder.path()), &Progress::new())
        .unwrap();
    std::fs::remove_file(path("base.vhd")).unwrap();
    assert!(shown(folder.path(), "child.vhd") == disk);
    disk_stream::Inspected::repair(&path("child.vhd")).unwrap();
    assert!(shown(folder.path(), "child.vhd") == disk);
}

/// Of two that disagree, the one that was believed is at the new end.
#[test]
fn the_footer_that_is_believed_is_appended() {
    for policy in [EndFooterPolicy::FrontCounts, EndFooterPolicy::EndCounts] {
        let folder = tempfile::tempdir().unwrap();
        let disk = chain(folder.path());
        let path = |name: &str| folder.path().join(name);
        let file = File::options().read(true).write(true).open(path("child.vhd")).unwrap();
        let end = file.metadata().unwrap().len() - 512;
        let mut bytes = [0; 512];
        file.read_exact_at(&mut bytes, end).unwrap();
        let mut other = Footer::parse(&bytes, end, vhd::Structure::EndFooter).unwrap();
        other.current_size += 2 * MIB;
        other.geometry = vhd::format::Geometry::for_size(other.current_size);
        file.write_all_at(&other.to_bytes(), if policy == EndFooterPolicy::FrontCounts { end } else { 0 })
            .unwrap();
        let opening = Opening { end_footer: policy, ..within(folder.path()) };
        relink(&path("child.vhd"), &open(&path("base.raw")).unwrap(), &opening, &Progress::new()).unwrap();
        let opened = Image::open_with(&path("child.vhd"), &opening).unwrap();
        assert!(content_of(&opened) == disk, "{policy:?}");
        let end = file.metadata().unwrap().len() - 512;
        file.read_exact_at(&mut bytes, end).unwrap();
        assert_eq!(Footer::parse(&bytes, end, vhd::Structure::EndFooter).unwrap().current_size, 20 * MIB);
    }
}
