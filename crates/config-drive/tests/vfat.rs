//! The vfat image, as other people's tools see it.
//!
//! Needs fsck.vfat (dosfstools), mcopy, mdir and mlabel (mtools) and blkid (util-linux); without one of
//! them its test is skipped, or fails if `CI` is `true`.

mod common;

use std::fs;

use common::{assert_same, collect, drive, odd_names, run, write};
use config_drive::{Format, Image, ImageOptions, ImageSize, Label, Tree};
use sha2::{Digest, Sha256};

fn vfat(size: ImageSize) -> ImageOptions {
    ImageOptions { format: Format::Vfat, label: Label::ConfigDrive, size }
}

/// Every shape worth checking: content, size, and with it FAT12, FAT16 and FAT32.
fn images() -> Vec<(Tree, ImageSize)> {
    let sizes =
        [ImageSize::Nova, ImageSize::Smallest, ImageSize::Bytes(6 << 20), ImageSize::Bytes(600 << 20)];
    let trees = [drive().tree().unwrap(), odd_names()];
    trees.iter().flat_map(|tree| sizes.map(|size| (tree.clone(), size))).collect()
}

#[test]
fn fsck_finds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    for (tree, size) in images() {
        write(&tree, vfat(size), &path);
        let Some(report) = run("fsck.vfat", &["-n", "-v", path.to_str().unwrap()]) else { return };
        for word in [
            "Bad",
            "Wrong",
            "differs",
            "Free cluster",
            "error",
            "would",
            "Removing",
            "Auto",
            "ignored",
            "lost",
        ] {
            assert!(!report.contains(word), "{size:?}: {report}");
        }
        let files = format!("{} files", tree.files().count() + tree.directories().count() + 1);
        assert!(report.contains(&files), "{size:?}: {files} expected in {report}");
    }
}

#[test]
fn the_label_is_in_both_places_in_lower_case() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    for (tree, size) in images() {
        write(&tree, vfat(size), &path);
        let path = path.to_str().unwrap();
        let Some(report) = run("blkid", &["-p", "-o", "export", path]) else { return };
        for line in ["LABEL=config-2", "LABEL_FATBOOT=config-2", "TYPE=vfat", "USAGE=filesystem"] {
            assert!(report.lines().any(|l| l == line), "{size:?}: {report}");
        }
        let Some(label) = run("mlabel", &["-s", "-i", path, "::"]) else { return };
        assert_eq!(label.trim(), "Volume label is config-2", "{size:?}");
    }
}

#[test]
fn mtools_reads_every_file_back() {
    for (tree, size) in images() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        write(&tree, vfat(size), &image);
        let image = image.to_str().unwrap();
        let out = directory.path().join("out");
        fs::create_dir(&out).unwrap();
        if run("mcopy", &["-s", "-n", "-i", image, "::/", out.to_str().unwrap()]).is_none() {
            return;
        }
        assert_same(&tree, &collect(&out), &format!("{size:?}"));
        let listing = run("mdir", &["-/", "-b", "-i", image, "::/"]).unwrap();
        assert_eq!(listing.lines().count(), tree.files().count() + tree.directories().count(), "{listing}");
    }
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    let sha256 =
        |tree: &Tree, size| format!("{:x}", Sha256::digest(Image::build(tree, vfat(size)).unwrap().to_vec()));
    for (tree, size) in images() {
        let files: Vec<_> = tree.files().map(|(path, content)| (path, content.clone())).collect();
        let reversed = Tree::from_files(files.into_iter().rev()).unwrap();
        assert_eq!(sha256(&tree, size), sha256(&reversed, size), "{size:?}");
    }
    let one = Tree::from_files([("a", "1")]).unwrap();
    // Recorded, so that a change of the layout does not go unseen.
    assert_eq!(
        sha256(&one, ImageSize::Smallest),
        "1b2602589786c35b1a7af774ad63a862be3bb2ffa193af0f148508b6da13f5d1"
    );
    let other = Tree::from_files([("a", "2")]).unwrap();
    let serial = |tree| Image::build(tree, vfat(ImageSize::Nova)).unwrap().to_vec()[39..43].to_vec();
    assert_ne!(serial(&one), serial(&other), "the volume id follows the content");
}
