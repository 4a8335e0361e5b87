//! The ISO 9660 image, as other people's tools see it.
//!
//! Needs xorriso, isoinfo (genisoimage), 7zz (7zip), bsdtar (libarchive-tools) and blkid (util-linux);
//! without one of them its test is skipped, or fails if `CI` is `true`.

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::{assert_same, collect, drive, odd_names, run, write};
use config_drive::{Error, Image, ImageOptions, ImageSize, Label, Tree};
use sha2::{Digest, Sha256};

fn iso(label: Label, size: ImageSize) -> ImageOptions {
    ImageOptions { label, size, ..ImageOptions::default() }
}

/// Long names, many files in one directory, and depth, each past a limit inside the format.
fn hard_names() -> Tree {
    let long = |c: char| c.to_string().repeat(103);
    let mut files: Vec<_> =
        odd_names().files().map(|(path, content)| (path.to_owned(), content.clone())).collect();
    files.push((format!("{}/{}", long('d'), long('f')), "long".into()));
    files.push((format!("{}/{}", long('d'), "é".repeat(103)), "long, and not ASCII".into()));
    files.push(("日".repeat(84), "253 bytes less one".into()));
    files.push((["deep"; 17].join("/"), "deep".into()));
    files.push(("a-b".into(), "1".into()));
    files.push(("a_b".into(), "2".into()));
    files.push(("big".into(), (0..300_000u32).map(|i| (i / 2048) as u8).collect::<Vec<_>>().into()));
    Tree::from_files(files).unwrap()
}

fn trees() -> [Tree; 3] {
    [drive().tree().unwrap(), hard_names(), Tree::from_files([("empty", "")]).unwrap()]
}

#[test]
fn xorriso_and_libarchive_read_every_file_back() {
    for tree in trees() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        write(&tree, ImageOptions::default(), &image);
        let image = image.to_str().unwrap();
        // By name it takes what is below /dev, where a folder for temporary files in memory is, for a drive.
        let indev = format!("stdio:{image}");
        let Some(report) = run("xorriso", &["-report_about", "NOTE", "-indev", &indev, "-toc"]) else {
            return;
        };
        assert!(!report.contains("WARNING") && !report.contains("SORRY"), "{report}");
        let out = directory.path().join("xorriso");
        let arguments = ["-osirrox", "on", "-indev", &indev, "-extract", "/", out.to_str().unwrap()];
        run("xorriso", &arguments).unwrap();
        // The files come out without the write bit, their directories too.
        run("chmod", &["-R", "u+w", out.to_str().unwrap()]).unwrap();
        assert_same(&tree, &collect(&out), "xorriso");
        for hierarchy in ["rockridge", "joliet"] {
            let out = directory.path().join(hierarchy);
            fs::create_dir(&out).unwrap();
            let options = match hierarchy {
                "rockridge" => "iso9660:!joliet",
                _ => "iso9660:!rockridge",
            };
            let arguments = ["-x", "--options", options, "-f", image, "-C", out.to_str().unwrap()];
            if run("bsdtar", &arguments).is_none() {
                break;
            }
            run("chmod", &["-R", "u+w", out.to_str().unwrap()]).unwrap();
            assert_same(&tree, &collect(&out), hierarchy);
        }
    }
}

#[test]
fn isoinfo_lists_every_file_in_both_hierarchies() {
    for tree in trees() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        write(&tree, ImageOptions::default(), &image);
        let image = image.to_str().unwrap();
        let Some(descriptor) = run("isoinfo", &["-d", "-i", image]) else { return };
        for line in
            ["Volume id: config-2", "Joliet with UCS level 3 found", "Rock Ridge signatures version 1 found"]
        {
            assert!(descriptor.contains(line), "{descriptor}");
        }
        let expected: BTreeSet<_> = tree.files().map(|(path, _)| path).chain(tree.directories()).collect();
        for hierarchy in ["-R", "-J"] {
            let listing = run("isoinfo", &[hierarchy, "-f", "-i", image]).unwrap();
            let listed: BTreeSet<_> = listing.lines().map(|line| line.trim_start_matches('/')).collect();
            if hierarchy == "-R" {
                assert_eq!(listed, expected);
                continue;
            }
            // It knows no UTF-8, and prints other characters of UCS-2 as they come.
            assert_eq!(listed.len(), expected.len());
            let ascii = expected.iter().filter(|path| path.is_ascii()).copied().collect();
            assert!(listed.is_superset(&ascii), "{listed:?} lacks some of {ascii:?}");
        }
        for (path, content) in tree.files().filter(|(_, content)| !content.is_empty()).take(20) {
            let arguments = ["-R", "-i", image, "-x", &format!("/{path}")];
            assert!(
                run("isoinfo", &arguments).unwrap().as_bytes() == String::from_utf8_lossy(content).as_bytes()
            );
        }
    }
}

#[test]
fn seven_zip_reads_every_file_back() {
    for tree in trees() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        write(&tree, ImageOptions::default(), &image);
        let out = directory.path().join("out");
        let arguments = ["x", "-tiso", image.to_str().unwrap(), &format!("-o{}", out.to_str().unwrap())];
        let Some(report) = run("7zz", &arguments) else { return };
        assert!(report.contains("Everything is Ok"), "{report}");
        assert_same(&tree, &collect(&out), "7-Zip");
    }
}

#[test]
fn the_label_is_what_guests_look_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    let tree = drive().tree().unwrap();
    for (label, text) in [(Label::ConfigDrive, "config-2"), (Label::NoCloud, "cidata")] {
        write(&tree, iso(label, ImageSize::Smallest), &path);
        let Some(report) = run("blkid", &["-p", "-o", "export", path.to_str().unwrap()]) else { return };
        for line in [format!("LABEL={text}"), "TYPE=iso9660".into(), "USAGE=filesystem".into()] {
            assert!(report.lines().any(|l| l == line), "{report}");
        }
        let image = fs::read(&path).unwrap();
        let ucs2: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert!(image[16 * 2048 + 40..].starts_with(text.as_bytes()), "the primary descriptor");
        assert!(image[17 * 2048 + 40..].starts_with(&ucs2), "Joliet's descriptor");
    }
}

#[test]
fn sizes() {
    let small = Tree::from_files([("a", "x")]).unwrap();
    let large = Tree::from_files([("a", vec![7; 5 << 20]), ("d/b", vec![8; 1 << 20])]).unwrap();
    let twice = Tree::from_files([("a", vec![7; 3 << 20]), ("b", vec![7; 3 << 20])]).unwrap();
    for (tree, size, expected) in [
        (&small, ImageSize::Nova, Ok(64 << 20)),
        (&small, ImageSize::Smallest, Ok(2 << 20)),
        (&Tree::new(), ImageSize::Smallest, Ok(2 << 20)),
        (&large, ImageSize::Smallest, Ok(8 << 20)),
        (&twice, ImageSize::Smallest, Ok(4 << 20)),
        (&large, ImageSize::Bytes(600 << 20), Ok(600 << 20)),
        (&large, ImageSize::Bytes(6 << 20), Err("largest file is \"a\" with 5242880 bytes")),
        (&small, ImageSize::Bytes(3 << 20), Err("multiple of 2 MiB")),
        (&small, ImageSize::Bytes(0), Err("multiple of 2 MiB")),
        (&small, ImageSize::Bytes(2 << 30), Err("multiple of 2 MiB")),
    ] {
        match (Image::build(tree, iso(Label::ConfigDrive, size)), expected) {
            (Ok(image), Ok(len)) => assert_eq!(image.len_bytes(), len),
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
            (result, expected) => panic!("{size:?}: {result:?} instead of {expected:?}"),
        }
    }
}

/// The nine versions of the metadata repeat their documents, which are on the drive once.
#[test]
fn equal_contents_are_stored_once() {
    let tree = drive().user_data("#".repeat(40_000)).tree().unwrap();
    let image = Image::build(&tree, ImageOptions::default()).unwrap();
    let sectors = u32::from_le_bytes(image.to_vec()[16 * 2048 + 80..][..4].try_into().unwrap());
    assert!(tree.content_bytes() > 600_000, "{}", tree.content_bytes());
    assert!(sectors * 2048 < 400_000, "{sectors} sectors");
}

#[test]
fn a_name_that_would_come_out_as_another_is_refused() {
    for name in ["x".repeat(104), "日".repeat(85), "a;1".to_owned()] {
        let tree = Tree::from_files([(name.clone(), "")]).unwrap();
        match Image::build(&tree, ImageOptions::default()) {
            Err(Error::InvalidPath { path, .. }) => assert_eq!(path, name),
            result => panic!("{result:?}"),
        }
    }
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    let sha256 = |tree: &Tree| {
        format!("{:x}", Sha256::digest(Image::build(tree, ImageOptions::default()).unwrap().to_vec()))
    };
    for tree in trees() {
        let files: Vec<_> = tree.files().map(|(path, content)| (path, content.clone())).collect();
        let reversed = Tree::from_files(files.into_iter().rev()).unwrap();
        assert_eq!(sha256(&tree), sha256(&reversed));
    }
    // Recorded, so that a change of the layout does not go unseen.
    let one = Tree::from_files([("openstack/latest/meta_data.json", "{}"), ("empty", "")]).unwrap();
    assert_eq!(sha256(&one), "7eed1e324039643e86f1eed2d5cfc58638bcdd1dc0bbe05ab6e223aec3e7490e");
}
