//! A tree of files as an ISO 9660 image with Rock Ridge and Joliet names.
//!
//! ```text
//! sector 16  primary volume descriptor      label, root of the first hierarchy
//!        17  supplementary descriptor       label in UCS-2, root of the second hierarchy (Joliet)
//!        18  terminator
//!        19  path tables                    little and big endian, for each hierarchy
//!            directories                    each hierarchy has its own; long Rock Ridge names follow theirs
//!            files                          shared by both, equal contents stored once
//! ```
//!
//! The documents of a drive are the same for several versions of the metadata, so that storing equal
//! contents once makes the image several times smaller.
//!
//! Directories stay where they are, however deep: moving those below the eighth level aside, as the
//! standard of 1988 wants, would put a directory on the drive that nobody asked for, and no reader in use
//! needs it.

mod names;
mod record;
mod susp;
mod volume;

use std::collections::HashMap;

use names::{Names, check};
use record::{Extent, Placement};

use crate::{Error, Image, ImageSize, Label, Tree};

const SECTOR_BYTES: u64 = 2048;
const FIRST_FREE_SECTOR: u32 = 19;

/// One of the two sets of directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hierarchy {
    /// Upper-case names of at most 31 characters, with the real ones in Rock Ridge's fields.
    Primary,
    /// UCS-2 names.
    Joliet,
}

/// A directory. The root is the first, and its own parent.
struct Directory<'a> {
    parent: usize,
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    /// The name as the tree has it.
    name: &'a str,
    names: Names,
    target: Target,
}

#[derive(Clone, Copy)]
enum Target {
    Directory(usize),
    File(Content),
}

/// Where a file's content is among the contents: a sector counted from the first content, and its length.
#[derive(Clone, Copy)]
struct Content {
    sector: u32,
    len: u32,
}

pub(crate) fn build(tree: &Tree, label: Label, size: ImageSize) -> Result<Image, Error> {
    let fixed = size.fixed()?;
    let largest_allowed = fixed.unwrap_or(ImageSize::MAX_BYTES);
    check(tree)?;
    let contents = Contents::of(tree);
    let directories = directories(tree, &contents);
    let layout = Layout::new(&directories, &contents);
    let used_bytes = u64::from(layout.end) * SECTOR_BYTES;
    if used_bytes > largest_allowed {
        return Err(tree.does_not_fit(largest_allowed));
    }
    let mut image = Image::zeros(fixed.unwrap_or_else(|| used_bytes.next_multiple_of(ImageSize::STEP_BYTES)));
    layout.write(&mut image, &directories, &contents, label);
    Ok(image)
}

/// The different contents of the files, one after the other, each from the start of a sector.
struct Contents<'a> {
    places: HashMap<&'a [u8], u32>,
    sectors: u32,
}

impl<'a> Contents<'a> {
    fn of(tree: &'a Tree) -> Self {
        let mut places = HashMap::new();
        // Readers drop files that begin at sector 0, so that empty ones share a sector of their own.
        let mut sectors = u32::from(tree.files().any(|(_, content)| content.is_empty()));
        places.insert(&[][..], 0);
        for (_, content) in tree.files() {
            places.entry(&content[..]).or_insert_with(|| {
                let sector = sectors;
                // Too many to count is too many to fit: the sum is compared with the image's length.
                sectors = sectors.saturating_add(sectors_of(content.len()));
                sector
            });
        }
        Self { places, sectors }
    }

    fn get(&self, content: &[u8]) -> Content {
        Content { sector: self.places[content], len: u32::try_from(content.len()).unwrap_or(u32::MAX) }
    }
}

fn sectors_of(bytes: usize) -> u32 {
    u32::try_from((bytes as u64).div_ceil(SECTOR_BYTES)).unwrap_or(u32::MAX)
}

fn directories<'a>(tree: &'a Tree, contents: &Contents<'_>) -> Vec<Directory<'a>> {
    let mut directories = vec![Directory { parent: 0, entries: Vec::new() }];
    let mut numbers: HashMap<&str, usize> = HashMap::from([("", 0)]);
    for path in tree.directories() {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let (parent, number) = (numbers[parent], directories.len());
        directories[parent].add(name, Target::Directory(number));
        directories.push(Directory { parent, entries: Vec::new() });
        numbers.insert(path, number);
    }
    for (path, content) in tree.files() {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        directories[numbers[parent]].add(name, Target::File(contents.get(content)));
    }
    for directory in &mut directories {
        names::assign(&mut directory.entries);
    }
    directories
}

impl<'a> Directory<'a> {
    fn add(&mut self, name: &'a str, target: Target) {
        self.entries.push(Entry { name, names: Names::default(), target });
    }

    /// The number of links a POSIX file system would count: its name, its `.`, and the `..` of each child.
    fn links(&self) -> u32 {
        2 + self.children().count() as u32
    }

    fn children(&self) -> impl Iterator<Item = usize> {
        self.entries.iter().filter_map(|entry| match entry.target {
            Target::Directory(number) => Some(number),
            Target::File(_) => None,
        })
    }

    /// The entries in the order that a hierarchy wants.
    fn sorted(&self, hierarchy: Hierarchy) -> Vec<&Entry<'a>> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by(|a, b| a.names.cmp_in(&b.names, hierarchy));
        entries
    }
}

/// Which sectors everything is in.
struct Layout {
    primary: Branch,
    joliet: Branch,
    contents: u32,
    /// The first sector behind all of it.
    end: u32,
}

/// The sectors of one hierarchy.
struct Branch {
    hierarchy: Hierarchy,
    /// The directories, as numbers, in the order of the path table: by depth, parent and name.
    order: Vec<usize>,
    path_table_bytes: u32,
    little_endian_path_table: u32,
    big_endian_path_table: u32,
    /// By the number of the directory.
    extents: Vec<Extent>,
}

impl Layout {
    fn new(directories: &[Directory<'_>], contents: &Contents<'_>) -> Self {
        let mut next = FIRST_FREE_SECTOR;
        let mut primary = Branch::with_path_tables(directories, Hierarchy::Primary, &mut next);
        let mut joliet = Branch::with_path_tables(directories, Hierarchy::Joliet, &mut next);
        primary.place_directories(directories, &mut next);
        joliet.place_directories(directories, &mut next);
        Self { primary, joliet, contents: next, end: next.saturating_add(contents.sectors) }
    }

    fn write(&self, image: &mut Image, directories: &[Directory<'_>], contents: &Contents<'_>, label: Label) {
        write_sector(image, 16, &volume::primary(label, self.end, &self.primary));
        write_sector(image, 17, &volume::joliet(label, self.end, &self.joliet));
        write_sector(image, 18, &volume::terminator());
        for branch in [&self.primary, &self.joliet] {
            let (little, big) = record::path_tables(directories, branch);
            write_sector(image, branch.little_endian_path_table, &little);
            write_sector(image, branch.big_endian_path_table, &big);
            let placement = Placement { extents: &branch.extents, contents: self.contents };
            for number in 0..directories.len() {
                let bytes = record::directory(directories, number, branch.hierarchy, placement);
                write_sector(image, branch.extents[number].sector, &bytes.records);
                write_sector(image, branch.extents[number].behind(), &bytes.continuation);
            }
        }
        for (content, sector) in &contents.places {
            write_sector(image, self.contents + sector, content);
        }
    }
}

impl Branch {
    fn with_path_tables(directories: &[Directory<'_>], hierarchy: Hierarchy, next: &mut u32) -> Self {
        let mut order = vec![0];
        let mut parent = 0;
        while parent < order.len() {
            for entry in directories[order[parent]].sorted(hierarchy) {
                if let Target::Directory(number) = entry.target {
                    order.push(number);
                }
            }
            parent += 1;
        }
        let mut branch = Self {
            hierarchy,
            order,
            path_table_bytes: 0,
            little_endian_path_table: *next,
            big_endian_path_table: *next,
            extents: vec![Extent::default(); directories.len()],
        };
        let table_bytes = record::path_tables(directories, &branch).0.len();
        branch.path_table_bytes = table_bytes as u32;
        branch.big_endian_path_table += sectors_of(table_bytes);
        *next += 2 * sectors_of(table_bytes);
        branch
    }

    /// The lengths of a directory's records do not depend on where things are, so that a first writing
    /// with no places known tells how much room each needs.
    fn place_directories(&mut self, directories: &[Directory<'_>], next: &mut u32) {
        for &number in &self.order {
            let unknown = Placement { extents: &self.extents, contents: 0 };
            let bytes = record::directory(directories, number, self.hierarchy, unknown);
            self.extents[number] = Extent { sector: *next, len: bytes.records.len() as u32 };
            *next += sectors_of(bytes.records.len()) + sectors_of(bytes.continuation.len());
        }
    }
}

fn write_sector(image: &mut Image, sector: u32, bytes: &[u8]) {
    let mut offset = u64::from(sector) * SECTOR_BYTES;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = image.write_at(offset, rest);
        assert!(written > 0, "the image is as long as its layout");
        offset += written as u64;
        rest = &rest[written..];
    }
}
