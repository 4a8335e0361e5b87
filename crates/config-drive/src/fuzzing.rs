//! What the fuzz target and the property tests run: arbitrary files, and a reader that shares nothing
//! with the writer.

pub mod read_iso;

use std::collections::BTreeMap;
use std::io::Read;

use crate::{Error, Format, Image, ImageOptions, ImageSize, Label, Tree};

/// Makes a tree of any bytes, writes it in both formats, and reads it back.
///
/// # Panics
///
/// If what is read is not what was given, or an image breaks a rule of its format.
pub fn config_drive(bytes: &[u8]) {
    let (label, tree) = tree_from(bytes);
    check(&tree, label);
}

/// The files that arbitrary bytes stand for: of each, the length of the path, the path, the length of the
/// content (16 bits) and the byte that fills it. What the tree refuses is left out.
fn tree_from(bytes: &[u8]) -> (Label, Tree) {
    let mut rest = bytes.iter().copied();
    let label =
        if rest.next().is_some_and(|byte| byte & 1 == 1) { Label::NoCloud } else { Label::ConfigDrive };
    let mut tree = Tree::new();
    while let Some(len) = rest.next() {
        let path: Vec<u8> = rest.by_ref().take(len.into()).collect();
        let (low, high, seed) =
            (rest.next().unwrap_or(0), rest.next().unwrap_or(0), rest.next().unwrap_or(0));
        let content: Vec<u8> =
            (0..u16::from_le_bytes([low, high])).map(|i| seed.wrapping_add((i / 7) as u8)).collect();
        let _ = tree.insert(String::from_utf8_lossy(&path), content);
    }
    (label, tree)
}

/// Writes a tree in both formats and reads it back.
///
/// # Panics
///
/// As [`config_drive`].
pub fn check(tree: &Tree, label: Label) {
    let files: BTreeMap<String, Vec<u8>> =
        tree.files().map(|(path, content)| (path.to_owned(), content.to_vec())).collect();
    let options = ImageOptions { label, size: ImageSize::Smallest, format: Format::Iso9660 };
    match Image::build(tree, options) {
        Ok(image) => {
            let volume = read_iso::read(&image.to_vec()).unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!(volume.labels, [label.as_str(), label.as_str()]);
            assert!(volume.rock_ridge == files, "Rock Ridge has other files");
            assert!(volume.joliet == files, "Joliet has other files");
        }
        Err(Error::InvalidPath { path, .. }) => {
            let name_is_long = |name: &str| name.len() > 253 || name.chars().count() > 103;
            assert!(path.split('/').any(|name| name.contains(';') || name_is_long(name)), "{path:?}");
        }
        Err(error) => panic!("{error}"),
    }
    match Image::build(tree, ImageOptions { format: Format::Vfat, ..options }) {
        Ok(image) => {
            let volume =
                fatfs::FileSystem::new(std::io::Cursor::new(image.to_vec()), fatfs::FsOptions::new())
                    .expect("a FAT file system");
            assert_eq!(volume.volume_label(), label.as_str());
            for (path, content) in &files {
                let mut read = Vec::new();
                let mut file =
                    volume.root_dir().open_file(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
                file.read_to_end(&mut read).unwrap_or_else(|error| panic!("{path:?}: {error}"));
                assert!(read == *content, "{path:?} has other content");
            }
        }
        Err(error) => assert!(error.to_string().contains("short alias"), "{error}"),
    }
}
