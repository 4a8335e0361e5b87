//! A tree of files as a vfat image: the whole disk is the file system, without a partition table.
//!
//! The label is in lower case, in the boot sector and in the root directory: cloud-init accepts either
//! case, other readers only this one, and tools differ in which of the two they look at.

use std::io::{self, Read, Seek, SeekFrom, Write};

use fatfs::{Date, DateTime, Dir, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};

use crate::{Error, Image, ImageSize, Label, Tree};

pub(crate) fn build(tree: &Tree, label: Label, size: ImageSize) -> Result<Image, Error> {
    if let Some(len_bytes) = size.fixed()? {
        return try_build(tree, label, len_bytes)?.ok_or_else(|| tree.does_not_fit(len_bytes));
    }
    let mut len_bytes = tree.content_bytes().max(1).next_multiple_of(ImageSize::STEP_BYTES);
    while len_bytes <= ImageSize::MAX_BYTES {
        if let Some(image) = try_build(tree, label, len_bytes)? {
            return Ok(image);
        }
        len_bytes += ImageSize::STEP_BYTES;
    }
    Err(tree.does_not_fit(ImageSize::MAX_BYTES))
}

/// `None` if the volume is too small.
fn try_build(tree: &Tree, label: Label, len_bytes: u64) -> Result<Option<Image>, Error> {
    if tree.content_bytes() >= len_bytes {
        return Ok(None);
    }
    let mut image = Image::zeros(len_bytes);
    let written = format(&mut image, tree, label)
        .and_then(|()| write_directories(&mut image, tree))
        .and_then(|()| fix_dot_entries(&mut image).map_err(|error| failed("", &error)))
        .and_then(|()| write_files(&mut image, tree));
    match written {
        Ok(()) => Ok(Some(image)),
        // fatfs has no kind of its own for this.
        Err(Error::Vfat { message, .. }) if message.contains("No space left") => Ok(None),
        Err(error) => Err(error),
    }
}

fn format(image: &mut Image, tree: &Tree, label: Label) -> Result<(), Error> {
    let mut field = [b' '; 11];
    field[..label.as_str().len()].copy_from_slice(label.as_str().as_bytes());
    let options = FormatVolumeOptions::new().volume_label(field).volume_id(volume_id(tree));
    fatfs::format_volume(image.cursor(), options).map_err(|error| failed("", &error))
}

/// A number that differs when the content differs, as a guest may tell two drives apart by it.
fn volume_id(tree: &Tree) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for (path, content) in tree.files() {
        crc.update(&(path.len() as u64).to_le_bytes());
        crc.update(path.as_bytes());
        crc.update(&(content.len() as u64).to_le_bytes());
        crc.update(content);
    }
    crc.finalize()
}

fn write_directories(image: &mut Image, tree: &Tree) -> Result<(), Error> {
    let volume = mount(image)?;
    for path in tree.directories() {
        let (parent, name) = parent_of(&volume, path)?;
        if exists(parent.open_dir(name)) {
            return Err(alias(path));
        }
        parent.create_dir(name).map_err(|error| failed(path, &error))?;
    }
    volume.unmount().map_err(|error| failed("", &error))
}

fn write_files(image: &mut Image, tree: &Tree) -> Result<(), Error> {
    let volume = mount(image)?;
    if volume.fat_type() == FatType::Fat32 {
        // Counts the free clusters, so that the count kept on the volume is right from here on.
        volume.stats().map_err(|error| failed("", &error))?;
    }
    for (path, content) in tree.files() {
        let (parent, name) = parent_of(&volume, path)?;
        if exists(parent.open_file(name)) {
            return Err(alias(path));
        }
        let written = parent.create_file(name).and_then(|mut file| {
            file.write_all(content)?;
            file.flush()
        });
        written.map_err(|error| failed(path, &error))?;
    }
    volume.unmount().map_err(|error| failed("", &error))
}

fn mount<'a>(image: &'a mut Image) -> Result<FileSystem<impl Read + Write + Seek + 'a>, Error> {
    let options = FsOptions::new().time_provider(&FixedTime).update_accessed_date(false);
    FileSystem::new(image.cursor(), options).map_err(|error| failed("", &error))
}

/// The directory that `path` is in, and its name there.
fn parent_of<'a, 'p, T: fatfs::ReadWriteSeek>(
    volume: &'a FileSystem<T>,
    path: &'p str,
) -> Result<(Dir<'a, T>, &'p str), Error> {
    match path.rsplit_once('/') {
        None => Ok((volume.root_dir(), path)),
        Some((parent, name)) => {
            let parent = volume.root_dir().open_dir(parent).map_err(|error| failed(parent, &error))?;
            Ok((parent, name))
        }
    }
}

/// Whether there is an entry of that name already: the tree has each name once, so that it can only be the
/// short alias of another. Of whichever kind it is, opening it does not say "not found".
fn exists<T>(opened: io::Result<T>) -> bool {
    !matches!(opened, Err(error) if error.kind() == io::ErrorKind::NotFound)
}

fn alias(path: &str) -> Error {
    Error::Vfat {
        path: path.to_owned(),
        message: "the name is the short alias of a longer name in the same directory; rename it".to_owned(),
    }
}

fn failed(path: &str, error: &io::Error) -> Error {
    Error::Vfat { path: path.to_owned(), message: error.to_string() }
}

/// Every file is from the first moment a FAT directory entry can express.
#[derive(Debug)]
struct FixedTime;

impl TimeProvider for FixedTime {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

const ENTRY_BYTES: usize = 32;

/// Removes the long-name entries that fatfs 0.3 writes for `.` and `..` (rafalh/rust-fatfs#117): a checker
/// wants these two to be the first two entries of a directory, and to have short names only. In a child of
/// the root, `..` must point to cluster 0, also on FAT32, where fatfs writes the number of the root's cluster.
///
/// The volume must hold directories and no file yet: then every cluster that begins with these four
/// entries is the first cluster of a directory, and not a file that looks like one.
fn fix_dot_entries(image: &mut Image) -> io::Result<()> {
    let Geometry { root_cluster, first_cluster, cluster_bytes, end } = Geometry::read(image)?;
    let mut offset = first_cluster;
    while offset + cluster_bytes <= end {
        let mut entries = [0; 4 * ENTRY_BYTES];
        let mut cursor = image.cursor();
        cursor.seek(SeekFrom::Start(offset))?;
        cursor.read_exact(&mut entries)?;
        if is_long_name(&entries[..ENTRY_BYTES])
            && entries[ENTRY_BYTES..].starts_with(b".          ")
            && is_long_name(&entries[2 * ENTRY_BYTES..])
            && entries[3 * ENTRY_BYTES..].starts_with(b"..         ")
        {
            entries.copy_within(ENTRY_BYTES..2 * ENTRY_BYTES, 0);
            entries.copy_within(3 * ENTRY_BYTES.., ENTRY_BYTES);
            let parent = &mut entries[ENTRY_BYTES..2 * ENTRY_BYTES];
            if cluster_number(parent) == root_cluster {
                parent[20..22].fill(0);
                parent[26..28].fill(0);
            }
            for unused in [2, 3] {
                entries[unused * ENTRY_BYTES..(unused + 1) * ENTRY_BYTES].fill(0);
                entries[unused * ENTRY_BYTES] = 0xe5;
            }
            cursor.seek(SeekFrom::Start(offset))?;
            cursor.write_all(&entries)?;
        }
        offset += cluster_bytes;
    }
    Ok(())
}

fn cluster_number(entry: &[u8]) -> u32 {
    u32::from_le_bytes([entry[26], entry[27], entry[20], entry[21]])
}

fn is_long_name(entry: &[u8]) -> bool {
    entry[11] & 0x3f == 0x0f
}

/// Where the clusters are (FAT specification, "Boot Sector and BPB").
struct Geometry {
    /// On FAT32; zero elsewhere.
    root_cluster: u32,
    first_cluster: u64,
    cluster_bytes: u64,
    end: u64,
}

impl Geometry {
    fn read(image: &Image) -> io::Result<Self> {
        let mut boot = [0; 512];
        image.reader().read_exact(&mut boot)?;
        let u16_at = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let u32_at =
            |at: usize| u64::from(u32::from_le_bytes([boot[at], boot[at + 1], boot[at + 2], boot[at + 3]]));
        let sector_bytes = u16_at(11);
        let is_fat32 = u16_at(22) == 0;
        let sectors_per_fat = if is_fat32 { u32_at(36) } else { u16_at(22) };
        let sectors = if u16_at(19) == 0 { u32_at(32) } else { u16_at(19) };
        let root_bytes = u16_at(17) * ENTRY_BYTES as u64;
        let tables = u64::from(boot[16]) * sectors_per_fat;
        Ok(Self {
            root_cluster: if is_fat32 { u32_at(44) as u32 } else { 0 },
            first_cluster: (u16_at(14) + tables) * sector_bytes + root_bytes.next_multiple_of(sector_bytes),
            cluster_bytes: u64::from(boot[13]) * sector_bytes,
            end: sectors * sector_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(image: &Image, path: &str) -> Vec<u8> {
        let mut copy = image.clone();
        let volume = FileSystem::new(copy.cursor(), FsOptions::new()).unwrap();
        let mut content = Vec::new();
        volume.root_dir().open_file(path).unwrap().read_to_end(&mut content).unwrap();
        content
    }

    #[test]
    fn sizes() {
        let small = Tree::from_files([("a", "x")]).unwrap();
        let large = Tree::from_files([("a", vec![7; 5 << 20]), ("d/b", vec![8; 1 << 20])]).unwrap();
        for (tree, size, expected) in [
            (&small, ImageSize::Nova, Ok(64 << 20)),
            (&small, ImageSize::Smallest, Ok(2 << 20)),
            (&Tree::new(), ImageSize::Smallest, Ok(2 << 20)),
            (&large, ImageSize::Smallest, Ok(8 << 20)),
            (&large, ImageSize::Bytes(600 << 20), Ok(600 << 20)),
            (&large, ImageSize::Bytes(4 << 20), Err("largest file is \"a\" with 5242880 bytes")),
            (&large, ImageSize::Bytes(6 << 20), Err("does not fit")),
            (&small, ImageSize::Bytes(3 << 20), Err("multiple of 2 MiB")),
            (&small, ImageSize::Bytes(0), Err("multiple of 2 MiB")),
            (&small, ImageSize::Bytes(2 << 30), Err("multiple of 2 MiB")),
        ] {
            match (build(tree, Label::ConfigDrive, size), expected) {
                (Ok(image), Ok(len)) => {
                    assert_eq!(image.len_bytes(), len);
                    for (path, content) in tree.files() {
                        assert!(read_back(&image, path) == content[..]);
                    }
                }
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
                (result, expected) => panic!("{size:?}: {result:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn a_file_that_looks_like_a_directory_is_not_touched() {
        let mut content = vec![0; 4096];
        for (entry, name) in [(1, b".          "), (3, b"..         ")] {
            content[entry * ENTRY_BYTES..][..11].copy_from_slice(name);
            content[(entry - 1) * ENTRY_BYTES + 11] = 0x0f;
        }
        let tree = Tree::from_files([("d/trap", content.clone())]).unwrap();
        let image = build(&tree, Label::ConfigDrive, ImageSize::Nova).unwrap();
        assert!(read_back(&image, "d/trap") == content);
    }

    #[test]
    fn a_short_alias_is_not_overwritten() {
        let tree = Tree::from_files([("a long name.txt", "1"), ("b", ""), ("ALONGN~1.TXT", "2")]).unwrap();
        match build(&tree, Label::ConfigDrive, ImageSize::Smallest) {
            Ok(image) => {
                assert_eq!(read_back(&image, "a long name.txt"), b"1");
                assert_eq!(read_back(&image, "ALONGN~1.TXT"), b"2");
            }
            Err(error) => panic!("{error}"),
        }
        let tree = Tree::from_files([("Alonger name.txt", "1"), ("alonge~1.txt", "2")]).unwrap();
        let error = build(&tree, Label::ConfigDrive, ImageSize::Smallest).unwrap_err();
        assert!(error.to_string().contains("short alias"), "{error}");
    }

    #[test]
    fn memory_is_what_is_stored() {
        let image =
            build(&Tree::from_files([("a/b/c", "x")]).unwrap(), Label::ConfigDrive, ImageSize::Nova).unwrap();
        assert!(image.extents().map(|(_, bytes)| bytes.len()).sum::<usize>() <= 512 << 10);
    }
}
